/* What there is to say about an op, from its descriptor: for `sedge ops` and `sedge explain`. */
#ifndef SEDGE_TOOLS_OP_TEXT_H
#define SEDGE_TOOLS_OP_TEXT_H

#include "graph/op.h"
#include "graph/writer.h"

/* The reference of one op: how it is written, its inputs, attributes, results and properties. */
void write_op_reference(struct writer *writer, const struct op *op);
/* All ops by family, one line each; those that only passes emit with ALL. */
void write_op_list(struct writer *writer, const struct op_table *table, bool all);
/* The nearest op of the language to NAME, or NULL. */
const char *op_nearest(struct arena *arena, const struct op_table *table, const char *name);

#endif
