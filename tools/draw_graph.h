/* Drawing with Graphviz, which is suggested and never linked. */
#ifndef SEDGE_TOOLS_DRAW_GRAPH_H
#define SEDGE_TOOLS_DRAW_GRAPH_H

#include "graph/base/diag.h"

/* Pipes DOT through `dot -Tsvg` into PATH. Where dot is missing, says which package has it and
 * writes the text beside, so that it can be drawn later. False after reporting. */
bool draw_graph(struct diags *diags, struct arena *arena, const char *dot, const char *path);

#endif
