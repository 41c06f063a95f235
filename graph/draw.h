/* A drawing of a graph, as text for Graphviz (`dot -Tsvg`): what `sedge plan --svg` shows.
 *
 * Instances of blocks are boxes around their nodes, found by the names of values ("blocks.0.h" is
 * in "0" in "blocks"); what has no name stands with its first user. A node shows its op, its name
 * and its types; its colour says what kind of work it is; parameters are small boxes. */
#ifndef SEDGE_GRAPH_DRAW_H
#define SEDGE_GRAPH_DRAW_H

#include "graph/graph.h"

char *graph_dot(struct arena *arena, const struct graph *graph);

#endif
