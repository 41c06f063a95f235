/* The state of a run: the rows of the state table in memory, and as a checkpoint.
 *
 * All of it exists before the first step, so that a resumed run is the same run. A checkpoint is a
 * safetensors file: parameters under their own names, `ema/NAME`, `adam_m/NAME`, `adam_v/NAME`,
 * `cursor/NAME`; gradients are never saved. */
#ifndef SEDGE_RUNTIME_STATE_H
#define SEDGE_RUNTIME_STATE_H

#include "graph/base/random.h"
#include "graph/base/safetensors.h"
#include "passes/plan.h"
#include "runtime/memory.h"

struct state {
    const struct state_table *table;
    struct region memory;
    unsigned char **row; /* address of each row, aligned to 64 bytes */
    uint32_t count;
};

/* Maps memory for the rows with USED[row] (NULL: all). False after reporting. */
bool state_open(struct diags *diags, struct arena *arena, const struct state_table *table,
                const bool *used, struct state *out);
void state_close(struct state *state);

/* Initial values: each row a function of (seed, its name). Rows of class EMA copy their owner. */
void state_init(struct state *state, uint64_t seed);

/* Writes every row that is saved, with COUNT pairs of metadata. */
bool state_save(struct diags *diags, struct arena *arena, const struct state *state,
                const char *path, const char *const *keys, const char *const *values,
                uint32_t count);

enum state_fill {
    FILL_EXACT, /* a checkpoint: every saved row must be there, nothing else */
    /* Weights from outside: parameters must all be there; an ema row takes its own tensor or its
     * owner's; moments and cursors stay; names may start with `param/`. */
    FILL_WEIGHTS,
};
/* False after reporting FAULT_DATA: the lists of missing, extra and misshapen tensors, or that the
 * file is not what its own metadata `digest` says (where it has one); nothing is changed then. */
bool state_load(struct diags *diags, struct state *state, const struct tensor_file *file,
                enum state_fill fill);
/* A row that is in use and holds a single-precision number that is not finite; NULL: there is
 * none. */
const struct state_row *state_not_finite(const struct state *state);

/* From the XXH3 of names and bytes of the saved rows: equal states have equal digests. */
uint64_t state_digest(const struct state *state);
/* The same of the tensors of a file: what its metadata `digest` should say, as 16 digits. */
uint64_t state_file_digest(const struct tensor_file *file);

#endif
