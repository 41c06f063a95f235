/* Elaboration: one program of a model, for given sizes, as a graph.
 *
 * Blocks are expanded, repeats unrolled, parameters named and entered in the model's state table,
 * macros (noise) replaced by ordinary nodes. Binding and wanting happen here, before any pass: a
 * bound value becomes an input, with no gradient through it; a wanted one becomes an output. */
#ifndef SEDGE_GRAPH_ELABORATE_H
#define SEDGE_GRAPH_ELABORATE_H

#include "graph/model.h"

struct named_size {
    const char *name;
    int64_t size;
};

enum weights { WEIGHTS_DECLARED, WEIGHTS_RAW, WEIGHTS_EMA };

struct elaborate_request {
    const char *program;
    const struct named_size *dims; /* dimensions of the run: batch; others default to DIM_DEFAULT */
    uint32_t dim_count;
    const char *const *bind; /* names that the caller supplies: inputs and any named value */
    uint32_t bind_count;
    bool all_inputs;         /* take every input from the caller, also those with a default */
    const char *const *want; /* names to return besides the program's `out` */
    uint32_t want_count;
    enum weights weights; /* which rows the program reads; DECLARED: as its `weights:` says */
};
#define DIM_DEFAULT 8

/* NULL after reporting. Outputs are the program's `out` (or what it minimises), then WANT. */
struct graph *elaborate(struct model *model, const struct elaborate_request *request);

/* Names of a program's inputs, for messages and for feeding fields of data: NULL-terminated. */
const char **program_inputs(struct model *model, const char *program);

/* What a name meant in the program that was elaborated: values and their aliases. */
const char *graph_nearest_name(const struct graph *graph, const char *name);

#endif
