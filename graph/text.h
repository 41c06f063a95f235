/* The text form of a graph: what `sedge plan --dump` shows, and what tests of passes are written
 * in.
 *
 *     graph train
 *     process main absorb 10 -log1p(-0.999 * t)
 *     axis batch 8
 *     state norm.weight parameter f32 [12] one
 *     %1 "x0": token main [batch, 5] = input
 *     %2: f32 [12] = state norm.weight
 *     %6 "h": f32 [batch, 5, 12] = layer_norm %5, %2 {bias=false} @models/m.yaml:9:14
 *     %7 "q": f32 [batch, 5, 6], %8 "k": f32 [batch, 5, 6] = split %6 {parts=2}
 *     %9: f32 [12] -> norm.weight v1 = store %3
 *     input x0 %1
 *     output loss %12
 *     minimize %12
 *
 * One item a line; `#` starts a comment. Values are numbered as the program makes them, so that two
 * dumps can be compared. Each result is written with its type and, when its memory is a row of the
 * state table, `-> row vN`; `_` is an absent input. Attributes are written when they differ from
 * their default, `process P`, `stream 0x…` (of ops that draw) and `epoch N` when they are set. An
 * axis whose count a node sets says so: `axis some1 40 counter %6`. Only state rows that the graph
 * uses are printed. Of an origin its innermost place survives, of names those shown. */
#ifndef SEDGE_GRAPH_TEXT_H
#define SEDGE_GRAPH_TEXT_H

#include "graph/graph.h"

char *graph_print(struct arena *arena, const struct graph *graph);

/* Reads TEXT, called NAME in messages; rows join STATES. Every node passes the rules of its op, and
 * the types written must be those that the rules give. NULL after reporting the first fault. */
struct graph *graph_read(struct arena *arena, struct diags *diags, const struct op_table *table,
                         struct state_table *states, const char *name, const char *text,
                         size_t length);

/* Words of the text form by enum state_class and enum init_kind; they end with NULL. */
extern const char *const state_class_words[];
extern const char *const init_words[];

/* Whether rows of a class follow a parameter, their owner. */
static inline bool state_has_owner(enum state_class class)
{
    return class == STATE_MOMENT || class == STATE_EMA || class == STATE_GRADIENT;
}

/* The name of an axis; with its number when an earlier axis has the same. */
const char *axis_label(struct arena *arena, const struct graph *graph, uint32_t axis);

#endif
