/* What the patterns of fuse.c look at and change a graph with. A pattern is anchored at one op: it
 * is asked of every node of that op, in program order, and either replaces what it finds around it
 * or leaves everything as it is. */
#ifndef SEDGE_FUSE_H
#define SEDGE_FUSE_H

#include "ops/ops.h"
#include "passes/compile.h"

struct fuser {
    struct graph *g;
    uint32_t *uses; /* per value: inputs that read it, and outputs */
    const bool
        *written; /* per state row: see value_may_change. What reads such a row is not moved */
};

/* True when it replaced something. NODE is alive. */
typedef bool pattern_rule(struct fuser *f, uint32_t node);

/* The node that makes V, if it is one of OP; else NULL. Nodes move when one is added. */
const struct node *fuse_maker(const struct fuser *f, uint32_t v, const struct op *op);

/* The K-th live node that reads V (the order is that of the program), or NODE_NONE. */
uint32_t fuse_reader(const struct fuser *f, uint32_t v, uint32_t k);

/* Whether V depends on what NODE makes. */
bool fuse_depends(const struct fuser *f, uint32_t v, uint32_t node);

/* The linear map that makes V, of rows. */
struct fuse_map {
    uint32_t node, h, weight, bias; /* BIAS: VALUE_NONE where there is none */
    int64_t layout;
    const struct origin *origin; /* most of the work of a head, and its weight, are there */
};
bool fuse_find_map(const struct fuser *f, uint32_t v, struct fuse_map *out);

/* Whether all readers of V are among NODES. */
bool fuse_is_closed(const struct fuser *f, const uint32_t *nodes, uint32_t count, uint32_t v);

/* Whether of all that NODES make only the KEPT values are read outside of them. */
bool fuse_makes_only(const struct fuser *f, const uint32_t *nodes, uint32_t count,
                     const uint32_t *kept, uint32_t kept_count);

/* Whether values (VALUE_NONE: none) are what they are at any time: what reads them may be moved. */
bool fuse_inputs_stay(const struct fuser *f, const uint32_t *in, uint32_t count);

/* Makes V one that does not depend on NODES: what is told by the shapes of values that do is taken
 * from others of these types. False, and nothing is changed, where V depends on more of them. */
bool fuse_detach(struct fuser *f, uint32_t v, const uint32_t *nodes, uint32_t count);

/* Makes COUNT results of the new node NODE stand for the values FROM (VALUE_NONE: for none), which
 * keep their names; the nodes DEAD are gone. */
void fuse_replace(struct fuser *f, uint32_t node, const uint32_t *from, uint32_t count,
                  const uint32_t *dead, uint32_t dead_count);

/* For patterns that come last, when the order of the program tells which version of a row a node
 * reads. Makes the first COUNT results of NODE, which was just emitted, stand for the values FROM,
 * in the place of AT, whose rows it reads; AT and OTHER are gone. */
void fuse_put(struct fuser *f, uint32_t node, const uint32_t *from, uint32_t count, uint32_t at,
              uint32_t other);

/* The patterns. fuse_head.c, fuse_draw.c, fuse_network.c, fuse_linear.c: */
pattern_rule fuse_head, fuse_draw, fuse_bound;
pattern_rule fuse_attention, fuse_norm, fuse_residual;
pattern_rule fuse_gelu, fuse_gelu_backward, fuse_add, fuse_gated_add;

#endif
