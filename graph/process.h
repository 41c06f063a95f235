/* The forward process of a model: reads `process:` into a chain and a noise expression. */
#ifndef SEDGE_GRAPH_PROCESS_H
#define SEDGE_GRAPH_PROCESS_H

#include "graph/model.h"

/* Fills in model->processes and the param `states` (of the first one), applying settings whose key
 * starts with `process.`; false after reporting. A model without a process has none. */
bool process_read(struct model *model, const struct model_request *request);

/* The keys of a process that settings `process.KEY` may give, NULL-terminated. */
extern const char *const process_settings[];

/* The total noise at T, finite on [0, 1]; false where the expression has no value there. */
bool process_sigma(const struct process *process, double t, double *sigma);

/* The rate, the real tokens, the base law where one was given, `raw` where scores are not
 * projected, and the noise: for the text form.
 *
 *     absorb 10 -log1p(-0.999 * t)
 *     {mix: {absorb: 0.9, uniform: 0.1, mask_leaves: true}} 10 5 * t
 *     {matrix: [[-1, 2], [1, -2]]} 2 base [0.5, 0.5] 5 * t
 *     uniform 10 raw 5 * t
 *
 * A table stands there whole, whatever file it came from, so that the text of a program changes
 * with it. One of more than PROCESS_TEXT_ENTRIES rates is named by its hash, which does not read
 * back. */
char *process_print(struct arena *arena, const struct process *process);
#define PROCESS_TEXT_ENTRIES (1 << 17)

/* The rate alone, as short as it was written. */
char *process_rate_print(struct arena *arena, const struct chain *chain);

/* --- parts of the reader ------------------------------------------------------------------ */

/* Where a rate is read from. */
struct rate_source {
    struct diags *diags;
    struct arena *arena;
    const struct model
        *model; /* numbers are over its params; NULL: plain numbers (the text form) */
    int32_t tokens;
    const char *const *symbols; /* by token, or NULL where no data gives them */
    struct span span;           /* of the process */
};

/* RATE and BASE (or NULL) of a process. False after reporting. */
bool rate_read(const struct rate_source *source, const struct yaml *rate, const struct yaml *base,
               struct chain *out);

/* sigma(t) as an expression; of a flat chain held back just before t = 1 where it would be infinite
 * or leave less than e^-64 there. NULL after reporting. */
const struct expr *noise_read(struct model *model, const struct yaml *noise,
                              const struct chain *chain);

#endif
