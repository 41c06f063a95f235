/* select: a row that carries no loss, or cannot change, is not computed. Under absorption a token
 * that is there costs nothing and stays, whatever the network says of it; so the loss or the draw,
 * the head before it, and whatever else acts on each position by itself move to a short axis of the
 * positions that are masked; or, where a draw tells beforehand which masks a step reveals, of
 * those.
 *
 * Which rows those are is said by the loss or the draw (`idle` in its descriptor). How far back the
 * short axis reaches is said by the row rules: up to the last op that looks at other positions,
 * such as attention. What that leaves is gathered once; the result is put back among zeros, or
 * among the tokens. Runs before the gradient is derived, which is then that of the short rows. */
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
    struct op_idle idle;
    uint32_t tokens; /* whose axes are the rows: those of IDLE */
    uint32_t end;    /* the node that it is of */
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

/* Whether N draws by its place among all rows, which it would lose. The end may be told its
 * numbers. */
static bool draws_by_place(const struct selection *s, const struct node *n)
{
    return (n->op->flags & OP_RANDOM) && !(n->op->still && n->op->still(n->attr)) &&
           !(s->idle.uniform && n == &s->g->nodes[s->end]);
}

static bool can_move(const struct selection *s, const struct node *n)
{
    const unsigned fixed = OP_EFFECT | OP_COUNTS | OP_VIEW | OP_LEAF | OP_MACRO;
    if ((n->op->rows != ROWS_EACH && n->op->rows != ROWS_POSITION) || (n->op->flags & fixed) ||
        draws_by_place(s, n) || n->op->updates || takes_dims(n->op) ||
        !has_rows(s, graph_type(s->g, n->out[0])))
        return false;
    for (uint32_t i = 0; i < n->in_count; i++)
        if (share_of(s, n, i) == SHARE_NONE)
            return false;
    return acts_by_position(s, n);
}

/* Uses by a node that moves of what may move with it. */
static void count_inside(struct selection *s, const struct node *n)
{
    for (uint32_t i = 0; i < n->in_count; i++)
        s->inside[n->in[i]] += share_of(s, n, i) == SHARE_ROW;
}

/* The numbers that the end is given to draw by, or VALUE_NONE. */
static uint32_t given_numbers(const struct selection *s)
{
    const struct node *end = &s->g->nodes[s->end];
    uint32_t i = s->idle.uniform;
    return i && i <= end->in_count ? end->in[i - 1] : VALUE_NONE;
}

/* Uses by the graph, and by the selection itself of what tells which rows. */
static void count_uses(struct selection *s)
{
    s->uses = graph_uses(s->g);
    s->uses[s->tokens]++;
    s->uses[s->idle.keep]++;
    s->uses[given_numbers(s)]++;
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

/* A further result of a draw: a number for each sequence, which is a sum over its rows. */
static bool is_sum(const struct selection *s, uint32_t v)
{
    const struct type *type = graph_type(s->g, v), *rows = graph_type(s->g, s->tokens);
    return type->dtype == DT_F64 && type->rank == 1 && type->dim[0].size == rows->dim[0].size &&
           type->dim[0].axis == rows->dim[0].axis;
}

/* Marks what moves with the end, which stands at place AT of the order. Returns whether that is
 * worth a gather: a product of matrices is among it. */
static bool find_moves(struct selection *s, uint32_t at)
{
    struct graph *g = s->g;
    const struct node *end = &g->nodes[s->end];
    bool product = false;
    if (!can_move(s, end))
        return false;
    for (uint32_t k = 1; k < end->out_count; k++)
        if (s->uses[end->out[k]] && !(s->idle.stays && is_sum(s, end->out[k])))
            return false;
    s->moves[s->end] = true;
    count_inside(s, end);
    for (uint32_t i = at; i-- > 0;) {
        const struct node *n = &g->nodes[g->order[i]];
        if (!serves_rows_only(s, n) || !can_move(s, n))
            continue;
        s->moves[g->order[i]] = true;
        count_inside(s, n);
        product |= n->op == &op_linear;
    }
    return product;
}

/* V by an index over its first AXES axes. */
static uint32_t gather(struct graph *g, uint32_t v, uint32_t index, uint32_t axes,
                       const struct node *reader)
{
    const struct node like = {.origin = reader->origin};
    union attr attr[] = {[GATHER_AXES] = {.integer = axes}};
    return graph_emit(g, &op_gather, (uint32_t[]){v, index}, 2, attr, &like);
}

static uint32_t short_input(struct selection *s, const struct node *n, uint32_t i)
{
    const uint32_t v = n->in[i], axes = graph_type(s->g, s->tokens)->rank;
    enum share share = share_of(s, n, i);
    if (share == SHARE_WHOLE)
        return v;
    if (share == SHARE_SEQUENCE && !s->lent[v]) /* once for all who ask */
        s->lent[v] = gather(s->g, v, s->owner, 1, n);
    if (share == SHARE_ROW && !s->moved[v])
        s->moved[v] = gather(s->g, v, s->index, axes, n);
    return share == SHARE_ROW ? s->moved[v] : s->lent[v];
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

/* --- the end ------------------------------------------------------------------------------ */

/* The numbers that the end draws by, as an input of all rows: those that it is given, or would
 * draw. */
static uint32_t uniform_numbers(struct selection *s)
{
    struct graph *g = s->g;
    const struct node end = g->nodes[s->end];
    const struct type *rows = graph_type(g, s->tokens);
    if (given_numbers(s))
        return given_numbers(s);
    union attr attr[] = {[UNIFORM_SHAPE] = rule_dims(g, rows->dim, rows->rank),
                         [UNIFORM_LOW] = {.real = 0},
                         [UNIFORM_HIGH] = {.real = 1},
                         [UNIFORM_STRATIFIED] = {.flag = false}};
    const struct node like = {.origin = end.origin, .stream = end.stream};
    return graph_emit(g, &op_random_uniform, NULL, 0, attr, &like);
}

/* FLAGS, and not OUT. */
static uint32_t without(struct graph *g, uint32_t flags, uint32_t out, const struct node *like)
{
    return emit2(g, &op_and, flags, emit1(g, &op_not, out, like), like);
}

/* The rows to be computed, and the sequence of each. */
static void find_rows(struct selection *s, uint32_t uniform)
{
    struct graph *g = s->g;
    const struct node end = g->nodes[s->end], like = {.origin = end.origin};
    const struct type *rows = graph_type(g, s->tokens);
    struct node chain = like;
    const uint32_t axes = rows->rank;
    int64_t positions = 1;
    for (uint32_t i = 1; i < rows->rank; i++)
        positions *= rows->dim[i].size;
    chain.process = rows->process;
    uint32_t flags = emit1(g, &op_may_move, s->tokens, &chain);
    if (s->idle.keep)
        flags = without(g, flags, s->idle.keep, &like);
    if (s->idle.chance) {
        uint32_t chance = s->idle.chance(g, &end);
        for (uint32_t rank; (rank = graph_type(g, chance)->rank) && rank < axes;)
            chance = emit_expand(g, chance, rank, &like);
        flags = without(g, flags, emit2(g, &op_less, chance, uniform, &like), &like);
    }
    s->index = emit1(g, &op_nonzero, flags, &like);
    union attr attr[] = {[OWNER_OF] = {.integer = positions}};
    s->owner = graph_emit(g, &op_row_owner, &s->index, 1, attr, &like);
}

/* The end on its short axis, told the numbers of its rows; positions that keep their token are not
 * among them. */
static uint32_t move_end(struct selection *s, uint32_t uniform)
{
    struct graph *g = s->g;
    const struct node end = g->nodes[s->end];
    uint32_t count = end.in_count > s->idle.uniform ? end.in_count : s->idle.uniform;
    uint32_t *in = arena_new_array(g->arena, uint32_t, count);
    for (uint32_t i = 0; i < end.in_count; i++)
        in[i] = end.in[i] == s->idle.keep ? VALUE_NONE : short_input(s, &end, i);
    if (uniform)
        in[s->idle.uniform - 1] =
            gather(g, uniform, s->index, graph_type(g, s->tokens)->rank, &end);
    return graph_emit(g, end.op, in, count, end.attr, &end);
}

/* What stands for result K of the end: PART, of the short axis, put back in its place. */
static uint32_t put_back(struct selection *s, uint32_t k, uint32_t part, const struct node *like)
{
    struct graph *g = s->g;
    const struct type *rows = graph_type(g, s->tokens);
    const uint32_t in[] = {part, k ? s->owner : s->index};
    if (k == 0 && s->idle.stays)
        return emit3(g, &op_replace, s->tokens, part, s->index, like);
    union attr attr[] = {[SCATTER_ROWS] = rule_dims(g, rows->dim, k ? 1 : rows->rank)};
    return graph_emit(g, &op_scatter_add, in, 2, attr, like);
}

static void select_rows(struct selection *s, uint32_t at)
{
    struct graph *g = s->g;
    const struct node end = g->nodes[s->end], like = {.origin = end.origin};
    uint32_t uniform = s->idle.uniform ? uniform_numbers(s) : VALUE_NONE;
    find_rows(s, uniform);
    for (uint32_t i = 0; i < at; i++)
        if (s->moves[g->order[i]])
            move_node(s, g->order[i]);
    uint32_t first = move_end(s, uniform), part = g->values[first].node;
    for (uint32_t k = 0; k < end.out_count; k++) {
        if (k > 0 && !s->uses[end.out[k]])
            continue;
        uint32_t whole = put_back(s, k, g->nodes[part].out[k], &like);
        g->values[whole].name = g->values[end.out[k]].name;
        graph_replace(g, &end.out[k], &whole, 1);
    }
    for (uint32_t i = 0; i <= at; i++)
        g->nodes[g->order[i]].dead |= s->moves[g->order[i]];
    for (uint32_t i = 0; i < g->named_count; i++)
        if (g->names[i].value && g->nodes[g->values[g->names[i].value].node].dead)
            g->names[i].value = VALUE_NONE;
    graph_order(g);
}

/* Whether rows of N can be selected: they are not a selection already, by a run-time count. */
static bool has_idle_rows(struct selection *s, const struct node *n)
{
    const struct graph *g = s->g;
    if (!n->op->idle || !n->op->idle(g, n, &s->idle))
        return false;
    const struct type *rows = graph_type(g, s->idle.tokens);
    s->tokens = s->idle.tokens;
    return rows->rank >= 2 && !g->axes[rows->dim[0].axis].counter;
}

/* Finds a loss or a draw that moves, and what moves with it; its place in the order, or the end of
 * it. */
static uint32_t find_end(struct compile *c, struct selection *s)
{
    struct graph *g = c->graph;
    uint32_t at = 0;
    for (; at < g->order_count; at++) {
        *s = (struct selection){.g = g, .end = g->order[at]};
        if (!has_idle_rows(s, &g->nodes[s->end]))
            continue;
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
    /* Each selection has an axis of its own, of which a plan can count so many. */
    for (uint32_t at;
         c->graph->axis_count < PLAN_AXES_MAX && (at = find_end(c, &s)) < c->graph->order_count;)
        select_rows(&s, at);
    return true;
}
