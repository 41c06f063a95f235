/* Builds and checks the rate matrix of a table chain. Called by the reader of `process:`.
 *
 * Convention: Q[y][x] is the rate of x -> y. A state is named in messages by NAMES where given (the
 * header of a CSV file), else by its number. */
#ifndef SEDGE_BASE_RATES_H
#define SEDGE_BASE_RATES_H

#include "graph/base/arena.h"
#include "graph/base/chain.h"
#include "graph/base/diag.h"

/* From a dense matrix, Q[y][x] at q[y * states + x]. Reports and returns NULL where an entry off
 * the diagonal is negative or not finite, a column does not sum to zero (to 1e-9 of its largest
 * entry), or nothing ever jumps; a matrix that is right in the other convention is told so. The
 * diagonal is then taken as minus the sum of the rest of its column, so that columns sum to zero
 * exactly. */
const struct rates *rates_dense(struct diags *diags, struct arena *arena, const double *q,
                                int32_t states, const char *const *names, const char *text,
                                struct span span);

/* The same in the other convention, Q[y][x] at q[x * states + y]: rows sum to zero. */
const struct rates *rates_dense_rows(struct diags *diags, struct arena *arena, const double *q,
                                     int32_t states, const char *const *names, const char *text,
                                     struct span span);

/* Nearest-neighbour jumps on states 0 .. states-1: rate 1 to each state at a distance of at most
 * WIDTH. Past an end there is nothing (reflecting), or with RING the other end. 1 <= WIDTH <
 * STATES. */
const struct rates *rates_band(struct arena *arena, int32_t states, int32_t width, bool ring);

/* Jumps inside groups: GROUP[x] is the group of state x, 0 .. states-1; from a state of a group of
 * g states each of the g states (itself included, which is no jump) is drawn at rate 1 / g, as
 * `uniform` does. */
const struct rates *rates_groups(struct arena *arena, int32_t states, const int32_t *group);

/* The recurrent classes: CLASS_OF[x] is 0 where x is transient (left for good, sooner or later),
 * else 1 .. the number returned. Strongly connected components (Tarjan 1972) without a way out. */
int32_t rates_classes(struct arena *arena, const struct rates *rates, int32_t *class_of);

/* The stationary law of a chain with one recurrent class, by the elimination of Grassmann, Taksar
 * and Heyman (1985), which subtracts nothing; transient states get 0. O(states^3), but O(count)
 * where all states are recurrent and Q is symmetric: the law is uniform then. */
void rates_stationary(struct arena *arena, const struct rates *rates, double *law);

#endif
