/* A linear map and what follows it element by element: gelu, the gradient of gelu, a residual path,
 * with a gate or without. Patterns that come last: gelu alone is cheap to compute a second time,
 * and recompute would not see it inside of another op. It asks these patterns what its graphs come
 * to, for they may need some memory more than what they replace: a result beside the workspace of
 * the product, and what is placed otherwise. What would wait for long is left alone. */
#include "ops/kernels/attrs.h"
#include "passes/fuse.h"

struct follow {
    enum linear_then what;
    int64_t form;
    uint32_t z, aside, gate; /* of the node that follows */
};

/* Whether V is there after NODE in any case. */
static bool stays(const struct fuser *f, uint32_t v, uint32_t node)
{
    const struct graph *g = f->g;
    if ((g->nodes[g->values[v].node].op->flags & OP_LEAF) || g->values[v].state)
        return true;
    uint32_t i = g->order_count;
    while (g->order[i - 1] != node) {
        const struct node *n = &g->nodes[g->order[--i]];
        for (uint32_t k = 0; k < n->in_count; k++)
            if (n->in[k] == v)
                return true;
    }
    return false;
}

/* Whether V (VALUE_NONE: yes) is at NODE already, and what it is later. */
static bool is_there(const struct fuser *f, uint32_t v, uint32_t node)
{
    const struct graph *g = f->g;
    bool before = v == VALUE_NONE;
    for (uint32_t i = 0; i < g->order_count && g->order[i] != node; i++)
        before |= g->order[i] == g->values[v].node;
    return before && fuse_inputs_stay(f, &v, 1);
}

/* Whether NEXT follows NODE in the order of the program, with nothing in between but leaves. */
static bool is_next(const struct fuser *f, uint32_t node, uint32_t next)
{
    const struct graph *g = f->g;
    uint32_t i = 0;
    while (g->order[i] != node)
        i++;
    do
        i++;
    while (g->order[i] != next && (g->nodes[g->order[i]].op->flags & (OP_LEAF | OP_VIEW)));
    return g->order[i] == next;
}

static bool try_follow(struct fuser *f, uint32_t id, const struct follow *t)
{
    struct graph *g = f->g;
    struct fuse_map map;
    if (!fuse_find_map(f, t->z, &map) ||
        !type_equal(graph_type(g, g->nodes[id].out[0]), graph_type(g, t->z)))
        return false;
    const bool keep = f->uses[t->z] > 1;
    /* With z there is one more result while the inputs are still there. */
    if (keep && (!is_next(f, map.node, id) || !stays(f, map.h, id) ||
                 (t->aside && !stays(f, t->aside, id))))
        return false;
    if (!is_there(f, t->aside, map.node) || !is_there(f, t->gate, map.node))
        return false;
    const uint32_t in[] = {map.h, map.weight, t->aside, t->gate, map.bias};
    const uint32_t from[] = {g->nodes[id].out[0], t->z};
    const union attr attr[] = {[THEN_LAYOUT] = {.integer = map.layout},
                               [THEN_WHAT] = {.integer = t->what},
                               [THEN_FORM] = {.integer = t->form},
                               [THEN_KEEP] = {.flag = keep}};
    const struct node like = g->nodes[map.node];
    uint32_t y = graph_emit(g, &op_linear_then, in, sizeof in / sizeof *in, attr, &like);
    g->nodes[g->values[y].node].epoch = like.epoch;
    fuse_put(f, g->values[y].node, from, keep ? 2 : 1, map.node, id);
    return true;
}

bool fuse_gelu(struct fuser *f, uint32_t id)
{
    const struct node *n = &f->g->nodes[id];
    struct follow t = {THEN_GELU, n->attr[GELU_FORM].integer, n->in[0], VALUE_NONE, VALUE_NONE};
    return try_follow(f, id, &t);
}

bool fuse_gelu_backward(struct fuser *f, uint32_t id)
{
    const struct node *n = &f->g->nodes[id];
    struct follow t = {THEN_GELU_BACKWARD, n->attr[GELU_FORM].integer, n->in[1], n->in[0],
                       VALUE_NONE};
    return try_follow(f, id, &t);
}

/* Of two maps that are added it is the later one whose tiles the other is added to. */
bool fuse_add(struct fuser *f, uint32_t id)
{
    const struct node *n = &f->g->nodes[id];
    if (!type_equal(graph_type(f->g, n->in[0]), graph_type(f->g, n->in[1])))
        return false;
    struct follow first = {THEN_ADD, 0, n->in[0], n->in[1], VALUE_NONE};
    struct follow second = {THEN_ADD, 0, n->in[1], n->in[0], VALUE_NONE};
    return try_follow(f, id, &second) || try_follow(f, id, &first);
}

/* What is dropped at random is drawn over a whole sequence, not by tiles. */
bool fuse_gated_add(struct fuser *f, uint32_t id)
{
    const struct node *n = &f->g->nodes[id];
    struct follow t = {THEN_GATED_ADD, 0, n->in[1], n->in[0], n->in[2]};
    return n->attr[DROPOUT_P].real == 0 && try_follow(f, id, &t);
}
