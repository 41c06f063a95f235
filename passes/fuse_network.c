/* What networks are made of: attention with what is around it, and a norm with its modulation.
 * Patterns of the program as written, before its gradient is derived: what they put in has
 * gradients of its own. And of the gradient: the residual path beside such a norm. */
#include "ops/kernels/attrs.h"
#include "passes/fuse.h"

/* Whether one of them lies in a row that the program writes: it is to be read where it is. */
static bool may_change(const struct fuser *f, const uint32_t *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (value_may_change(f->g, f->written, values[i]))
            return true;
    return false;
}

/* --- attention ---------------------------------------------------------------------------- */

/* Part I of a value that is split in three along its last axis, read here alone; NODE_NONE: V is
 * none. */
static uint32_t part_of(const struct fuser *f, uint32_t v, uint32_t i)
{
    const struct graph *g = f->g;
    const struct node *split = fuse_maker(f, v, &op_split);
    if (!split || split->out_count != 3 || split->out[i] != v || f->uses[v] != 1)
        return NODE_NONE;
    uint32_t rank = graph_type(g, split->in[0])->rank;
    int64_t axis = split->attr[SPLIT_AXIS].integer;
    return axis == -1 || axis == (int64_t)rank - 1 ? g->values[v].node : NODE_NONE;
}

/* The rope that makes V as attention would turn it, or NULL. */
static const struct node *turn_of(const struct fuser *f, uint32_t v, const struct node *attention)
{
    const struct node *rope = fuse_maker(f, v, &op_rope);
    bool same = rope && f->uses[v] == 1 && !rope->attr[ROPE_INVERSE].flag &&
                rope->attr[ROPE_HEADS].integer == attention->attr[ATTENTION_HEADS].integer;
    return same ? rope : NULL;
}

/* split, rope of two parts or of none, attention: one op on what was split. */
bool fuse_attention(struct fuser *f, uint32_t id)
{
    struct graph *g = f->g;
    const struct node *n = &g->nodes[id];
    const struct node *turn_q = turn_of(f, n->in[0], n), *turn_k = turn_of(f, n->in[1], n);
    if (!turn_q != !turn_k ||
        (turn_q && turn_q->attr[ROPE_BASE].real != turn_k->attr[ROPE_BASE].real))
        return false;
    uint32_t q = part_of(f, turn_q ? turn_q->in[0] : n->in[0], 0);
    uint32_t k = part_of(f, turn_k ? turn_k->in[0] : n->in[1], 1), v = part_of(f, n->in[2], 2);
    if (q == NODE_NONE || k != q || v != q || may_change(f, g->nodes[q].in, 1))
        return false;
    uint32_t dead[4] = {id, q}, count = 2;
    const uint32_t from[] = {n->out[0], n->out[1]};
    union attr attr[] = {[ATTENTION_HEADS] = n->attr[ATTENTION_HEADS],
                         [ATTENTION_CAUSAL] = n->attr[ATTENTION_CAUSAL],
                         [ATTENTION_ROPE] = {.real = 0}};
    if (turn_q) {
        attr[ATTENTION_ROPE] = turn_q->attr[ROPE_BASE];
        dead[count++] = g->values[n->in[0]].node;
        dead[count++] = g->values[n->in[1]].node;
    }
    const struct node like = *n;
    uint32_t y = graph_emit(g, &op_attention_packed, g->nodes[q].in, 1, attr, &like);
    fuse_replace(f, g->values[y].node, from, 2, dead, count);
    return true;
}

/* --- norm --------------------------------------------------------------------------------- */

/* layer_norm without bias, modulate. */
bool fuse_norm(struct fuser *f, uint32_t id)
{
    struct graph *g = f->g;
    const struct node *n = &g->nodes[id], *norm = fuse_maker(f, n->in[0], &op_layer_norm);
    if (!norm || norm->attr[NORM_BIAS].flag || f->uses[n->in[0]] != 1 || f->uses[norm->out[1]] ||
        f->uses[norm->out[2]])
        return false;
    const uint32_t in[] = {norm->in[0], n->in[1], n->in[2], norm->in[1]};
    if (may_change(f, in, 4))
        return false;
    const uint32_t from = n->out[0], dead[] = {id, g->values[n->in[0]].node};
    union attr attr[] = {[NORM_MODULATE_EPS] = norm->attr[NORM_EPS]};
    const struct node like = *n;
    uint32_t y = graph_emit(g, &op_norm_modulate, in, 4, attr, &like);
    fuse_replace(f, g->values[y].node, &from, 1, dead, 2);
    return true;
}

/* --- residual path ------------------------------------------------------------------------ */

/* The gradient of a residual path is added while that of the norm beside it is made. */
bool fuse_residual(struct fuser *f, uint32_t id)
{
    struct graph *g = f->g;
    const struct node *n = &g->nodes[id];
    for (uint32_t i = 0; i < 2; i++) {
        const struct node *back = fuse_maker(f, n->in[i], &op_norm_modulate_backward);
        uint32_t other = n->in[1 - i];
        if (!back || n->in[i] != back->out[0] || f->uses[n->in[i]] != 1 || back->in_count > 6 ||
            !type_equal(graph_type(g, n->out[0]), graph_type(g, n->in[i])) ||
            !type_equal(graph_type(g, n->out[0]), graph_type(g, other)) ||
            fuse_depends(f, other, g->values[n->in[i]].node))
            continue;
        const uint32_t in[] = {back->in[0], back->in[1], back->in[2], back->in[3],
                               back->in[4], back->in[5], other};
        if (may_change(f, in, 7))
            continue;
        const uint32_t from[] = {n->out[0], back->out[1], back->out[2], back->out[3]};
        const uint32_t dead[] = {id, g->values[n->in[i]].node};
        const struct node like = *back;
        uint32_t dx = graph_emit(g, &op_norm_modulate_backward, in, 7, NULL, &like);
        fuse_replace(f, g->values[dx].node, from, 4, dead, 2);
        return true;
    }
    return false;
}
