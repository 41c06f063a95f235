/* select: a row that carries no loss is not computed. Under absorption a token that is there costs
 * nothing, whatever the network says of it; so the loss, the head before it, and whatever else acts
 * on each position by itself move to a short axis of the positions that are masked.
 *
 * Which rows those are is said by the loss (`idle` in its descriptor). How far back the short axis
 * reaches is said by the row rules: up to the last op that looks at other positions, such as
 * attention. What that leaves is gathered once; the loss is scattered back, with zeros where it was
 * not computed. Runs before the gradient is derived, which is then that of the short rows. */
#include "graph/base/check.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "passes/compile.h"

#include <string.h>

struct selection {
    struct graph *g;
    uint32_t *uses;   /* per value, in the whole graph */
    uint32_t *inside; /* per value: uses by nodes that move */
    bool *moves;      /* per node */
    uint32_t *moved;  /* per value: what stands for it on the short axis, or VALUE_NONE */
    uint32_t *lent;   /* the same of values of sequences */
    uint32_t tokens;  /* whose axes are the rows */
    uint32_t index, owner;
};

/* How an input goes along. */
enum share { SHARE_NONE, SHARE_WHOLE, SHARE_ROW, SHARE_SEQUENCE };

static bool has_rows(const struct selection *s, const struct type *type)
{
    const struct type *rows = graph_type(s->g, s->tokens);
    if (type->rank < rows->rank)
        return false;
    for (uint32_t i = 0; i < rows->rank; i++)
        if (type->dim[i].size != rows->dim[i].size || type->dim[i].axis != rows->dim[i].axis)
            return false;
    return true;
}

static enum share share_of(const struct selection *s, const struct node *n, uint32_t i)
{
    const struct type *type = graph_type(s->g, n->in[i]);
    uint32_t declared = op_input_count(n->op);
    unsigned flags = n->op->inputs[i < declared ? i : declared - 1].flags;
    if (!n->in[i] || type->rank == 0 || (flags & (INPUT_PARAM | INPUT_SHARED)))
        return SHARE_WHOLE;
    if (flags & INPUT_SEQUENCE)
        return SHARE_SEQUENCE;
    /* An input of fewer axes than the result may be stretched along its first ones. */
    if (n->op->rows == ROWS_EACH && type->rank < graph_type(s->g, n->out[0])->rank)
        return SHARE_NONE;
    return has_rows(s, type) ? SHARE_ROW : SHARE_NONE;
}

static bool takes_dims(const struct op *op)
{
    for (uint32_t i = 0; i < op_attr_count(op); i++)
        if (op->attrs[i].kind == ATTR_DIMS)
            return true;
    return false;
}

/* The rows of an op are the axes before the last: whether those of the tokens are among them. */
static bool acts_by_position(const struct selection *s, const struct node *n)
{
    uint32_t rank = 0;
    for (uint32_t i = 0; i < n->in_count; i++)
        if (share_of(s, n, i) == SHARE_ROW && graph_type(s->g, n->in[i])->rank > rank)
            rank = graph_type(s->g, n->in[i])->rank;
    return rank > graph_type(s->g, s->tokens)->rank;
}

static bool can_move(const struct selection *s, const struct node *n)
{
    const unsigned fixed = OP_EFFECT | OP_COUNTS | OP_VIEW | OP_LEAF | OP_MACRO;
    bool draws = (n->op->flags & OP_RANDOM) && !(n->op->still && n->op->still(n->attr));
    if ((n->op->rows != ROWS_EACH && n->op->rows != ROWS_POSITION) || (n->op->flags & fixed) ||
        draws || n->op->updates || takes_dims(n->op) || !has_rows(s, graph_type(s->g, n->out[0])))
        return false;
    for (uint32_t i = 0; i < n->in_count; i++)
        if (share_of(s, n, i) == SHARE_NONE)
            return false;
    return acts_by_position(s, n);
}

static void count_inputs(const struct node *n, uint32_t *count)
{
    for (uint32_t i = 0; i < n->in_count; i++)
        count[n->in[i]]++;
}

static void count_uses(struct selection *s)
{
    struct graph *g = s->g;
    for (uint32_t i = 0; i < g->order_count; i++)
        count_inputs(&g->nodes[g->order[i]], s->uses);
    for (uint32_t i = 0; i < g->output_count; i++)
        s->uses[g->outputs[i].value]++;
    s->uses[g->minimize]++;
    s->uses[s->tokens]++; /* they tell which rows */
}

/* Whether all uses of all results are by nodes that move, and there are any. */
static bool serves_rows_only(const struct selection *s, const struct node *n)
{
    uint32_t uses = 0;
    for (uint32_t k = 0; k < n->out_count; k++) {
        if (s->uses[n->out[k]] != s->inside[n->out[k]])
            return false;
        uses += s->uses[n->out[k]];
    }
    return uses > 0;
}

/* Marks what moves with the loss that stands at place AT of the order. Returns whether that is
 * worth a gather: a product of matrices is among it. */
static bool find_moves(struct selection *s, uint32_t at)
{
    struct graph *g = s->g;
    const struct node *loss = &g->nodes[g->order[at]];
    bool product = false;
    if (!can_move(s, loss))
        return false;
    for (uint32_t k = 1; k < loss->out_count; k++)
        if (s->uses[loss->out[k]])
            return false;
    s->moves[g->order[at]] = true;
    count_inputs(loss, s->inside);
    for (uint32_t i = at; i-- > 0;) {
        const struct node *n = &g->nodes[g->order[i]];
        if (!serves_rows_only(s, n) || !can_move(s, n))
            continue;
        s->moves[g->order[i]] = true;
        count_inputs(n, s->inside);
        product |= n->op == &op_linear;
    }
    return product;
}

/* V by an index over its first AXES axes; once for all who ask. */
static uint32_t gather(struct graph *g, uint32_t v, uint32_t index, uint32_t axes, uint32_t *made,
                       const struct node *reader)
{
    const struct node like = {.origin = reader->origin};
    union attr attr[] = {[GATHER_AXES] = {.integer = axes}};
    if (!made[v])
        made[v] = graph_emit(g, &op_gather, (uint32_t[]){v, index}, 2, attr, &like);
    return made[v];
}

static uint32_t short_input(struct selection *s, const struct node *n, uint32_t i)
{
    switch (share_of(s, n, i)) {
    case SHARE_ROW:
        return gather(s->g, n->in[i], s->index, graph_type(s->g, s->tokens)->rank, s->moved, n);
    case SHARE_SEQUENCE:
        return gather(s->g, n->in[i], s->owner, 1, s->lent, n);
    default:
        return n->in[i];
    }
}

static void move_node(struct selection *s, uint32_t id)
{
    struct graph *g = s->g;
    struct node n = g->nodes[id]; /* a copy: emitting moves the array */
    uint32_t *in = arena_new_array(g->arena, uint32_t, n.in_count);
    for (uint32_t i = 0; i < n.in_count; i++)
        in[i] = short_input(s, &n, i);
    uint32_t first = graph_emit(g, n.op, in, n.in_count, n.attr, &n);
    const uint32_t *out = g->nodes[g->values[first].node].out;
    for (uint32_t k = 0; k < n.out_count; k++) {
        s->moved[n.out[k]] = out[k];
        g->values[out[k]].name = g->values[n.out[k]].name;
        g->values[n.out[k]].name = NULL;
    }
}

/* The rows of the tokens that may move, and the sequence of each. */
static void find_rows(struct selection *s, const struct node *loss)
{
    struct graph *g = s->g;
    const struct type *rows = graph_type(g, s->tokens);
    struct node chain = *loss;
    int64_t positions = 1;
    for (uint32_t i = 1; i < rows->rank; i++)
        positions *= rows->dim[i].size;
    chain.process = rows->process;
    s->index = emit1(g, &op_nonzero, emit1(g, &op_may_move, s->tokens, &chain), loss);
    union attr attr[] = {[OWNER_OF] = {.integer = positions}};
    s->owner = graph_emit(g, &op_row_owner, &s->index, 1, attr, loss);
}

static void select_rows(struct selection *s, uint32_t at)
{
    struct graph *g = s->g;
    const struct node *n = &g->nodes[g->order[at]];
    const struct node like = {.origin = n->origin};
    const uint32_t full = n->out[0];
    const char *name = g->values[full].name;
    find_rows(s, &like);
    for (uint32_t i = 0; i <= at; i++)
        if (s->moves[g->order[i]])
            move_node(s, g->order[i]);
    const struct type *rows = graph_type(g, s->tokens);
    union attr attr[] = {[SCATTER_ROWS] = rule_dims(g, rows->dim, rows->rank)};
    const uint32_t in[] = {s->moved[full], s->index};
    uint32_t whole = graph_emit(g, &op_scatter_add, in, 2, attr, &like);
    g->values[in[0]].name = NULL;
    g->values[whole].name = name;
    graph_replace(g, &full, &whole, 1);
    for (uint32_t i = 0; i <= at; i++)
        g->nodes[g->order[i]].dead |= s->moves[g->order[i]];
    for (uint32_t i = 0; i < g->named_count; i++)
        if (g->names[i].value && g->nodes[g->values[g->names[i].value].node].dead)
            g->names[i].value = VALUE_NONE;
    graph_order(g);
}

/* Finds a loss that moves, and what moves with it; its place in the order, or the end of it. */
static uint32_t find_loss(struct compile *c, struct selection *s)
{
    struct graph *g = c->graph;
    uint32_t at = 0;
    for (; at < g->order_count; at++) {
        const struct node *n = &g->nodes[g->order[at]];
        *s = (struct selection){.g = g};
        if (!n->op->idle || !n->op->idle(g, n, &s->tokens) || graph_type(g, s->tokens)->rank < 2)
            continue; /* tokens of rank 1 are a selection already */
        s->uses = arena_new_array(c->arena, uint32_t, g->value_count);
        s->inside = arena_new_array(c->arena, uint32_t, g->value_count);
        s->moved = arena_new_array(c->arena, uint32_t, g->value_count);
        s->lent = arena_new_array(c->arena, uint32_t, g->value_count);
        s->moves = arena_new_array(c->arena, bool, g->node_count);
        count_uses(s);
        if (find_moves(s, at))
            break;
    }
    return at;
}

bool pass_select(struct compile *c)
{
    struct selection s;
    if (c->options->unfused)
        return true;
    for (uint32_t at; (at = find_loss(c, &s)) < c->graph->order_count;)
        select_rows(&s, at);
    return true;
}
