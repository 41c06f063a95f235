/* Random graphs for tests of the passes: seeded, with values that stay of order one, so that single
 * and double precision can be compared. Two graphs of one seed are equal, node by node. */
#ifndef SEDGE_TESTS_RANDOM_GRAPH_H
#define SEDGE_TESTS_RANDOM_GRAPH_H

#include "graph/op.h"

struct random_graph {
    struct graph *graph;
    bool gradients; /* it minimises something that depends on parameters */
    bool single;    /* there are values of f32 */
    bool updates;   /* it makes new versions of state rows */
};

/* Elementwise, reducing, layout, linear and norm ops on shapes with ones and primes; random
 * fan-out, views, stores, updates, a short batch axis, rows picked by a flag; parts of
 * transformers, and vocabulary heads with their losses or their draws. Rows join STATES. */
struct random_graph random_graph_make(struct arena *arena, struct diags *diags,
                                      struct state_table *states, uint32_t seed);

/* N random integers: a number below N at each call, from a state that the caller owns. */
uint32_t random_below(uint64_t *state, uint32_t n);

/* Sample values for the inputs, by name, and for the rows of the state. */
void random_graph_fill(const struct type *type, uint32_t seed, void *out);

#endif
