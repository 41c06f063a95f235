/* The second executor: runs a whole graph on the double-precision references of its ops, in program
 * order, with no plan and no kernels. Tests judge gradient rules, kernels, passes and whole models
 * by it. It is as slow as it is simple. */
#ifndef SEDGE_OPS_REFERENCE_H
#define SEDGE_OPS_REFERENCE_H

#include "graph/op.h"

struct reference_io {
    /* Fills OUT (dims of the run, row major) with the value of a leaf: an input, or a state row as
     * found when the program starts. False: it has none, and the run stops. */
    bool (*supply)(void *context, const struct graph *graph, uint32_t value,
                   const struct ref_tensor *out);
    void *context;
    struct draw draw; /* stream is overwritten by that of each node */
    /* Per axis of the graph, how much of it there is; NULL: all of each. Axes with a counter are
     * set while running. */
    const int64_t *axis_count;
    bool round; /* values of dtype f32 are rounded to float when they are made */
};

/* Fills VALUES[0 .. graph->value_count - 1], in memory of ARENA; entries of values that no live
 * node makes have .data NULL. False after reporting a leaf without a value or a node that has no
 * reference (a macro that was not expanded). */
bool reference_run(const struct graph *graph, const struct reference_io *io, struct arena *arena,
                   struct ref_tensor *values);

#endif
