/* The verifier: what every pass may rely on, and must leave as it found it. Runs between passes in
 * tests and debug builds.
 *
 * A broken invariant is a fault of sedge, reported as FAULT_RUN at the place in the model that the
 * node came from, with the node's number, op and name. Checked are: the order (live nodes, each
 * once, after what they read), who makes which value, types (by running each shape rule again; only
 * first axes short, sizes as the axis says, counters first, tokens with a process), state rows (a
 * version is read before the next is written, versions follow each other, types agree), attributes
 * that are positions in a list, and that outputs and what is minimised exist. Macros may stand in
 * the graph: whether they still may is for the list of passes to say. Time is linear in the graph;
 * nothing is left in the graph's arena. */
#ifndef SEDGE_GRAPH_VERIFY_H
#define SEDGE_GRAPH_VERIFY_H

#include "graph/graph.h"

/* False after reporting what is broken, into DIAGS. */
bool graph_verify(const struct graph *graph, struct diags *diags);

#endif
