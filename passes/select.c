/* select: a row that carries no loss, or cannot change, is not computed. Under absorption a token
 * that is there costs nothing and stays, whatever the network says of it; so the loss or the draw,
 * the head before it, and whatever else acts on each position by itself move to a short axis of the
 * positions that are masked; or, where a draw tells beforehand which masks a step reveals, or
 * which one a sequence does, of those.
 *
 * Which rows those are is said by the loss or the draw (`idle` in its descriptor). How far back the
 * short axis reaches is said by the row rules: up to the last op that looks at other positions,
 * such as attention. What that leaves is gathered once; the result is put back among zeros, or
 * among the tokens. Runs before the gradient is derived, which is then that of the short rows.
 *
 * A sequence of which a draw asks for no position at all needs no network: what acts on each
 * sequence by itself, up to the tokens, moves to a short axis of those that have some, and the
 * positions are gathered from these. Losses are spared that: a sequence without is rare there.
 * What a draw does to positions without a network, it still does to all of them.
 *
 * A gather of rows that a model asks for itself (`nonzero` of flags) is an end as well: what makes
 * those rows moves behind it. */
#include "graph/base/check.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "passes/compile.h"

#include <string.h>

struct selection {
    struct graph *g;
    const bool *written; /* per state row: see value_may_change */
    uint32_t *uses;      /* per value, in the whole graph */
    uint32_t *inside;    /* per value: uses by nodes that move */
    uint32_t *within;    /* per value: the same and uses by nodes that move to the sequences */
    bool *moves;         /* per node: to the rows */
    bool *parts;         /* per node: to the sequences */
    uint32_t *moved;     /* per value: what stands for it on the axis of rows, or VALUE_NONE */
    uint32_t *part;      /* the same on that of sequences */
    uint32_t *lent;      /* the same of values of sequences, one for each row */
    struct op_idle idle;
    uint32_t tokens; /* whose axes are the rows: those of IDLE, or the flags of a gather */
    uint32_t end;    /* the node that it is of */
    uint32_t which;  /* index of the sequences that have rows; VALUE_NONE: all are computed */
    uint32_t index;  /* of the rows, in these */
    uint32_t owner;  /* of each row: its sequence, among these */
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

/* An input of fewer axes than the result may be stretched along its first ones. */
static bool may_stretch(const struct selection *s, const struct node *n, uint32_t i)
{
    return op_rows_of(s->g, n) == ROWS_EACH &&
           graph_type(s->g, n->in[i])->rank < graph_type(s->g, n->out[0])->rank;
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
    return has_rows(s, type) && !may_stretch(s, n, i) ? SHARE_ROW : SHARE_NONE;
}

/* Whether the first axis is that of the sequences, and not all that there is. */
static bool has_sequences(const struct selection *s, const struct type *type)
{
    const struct dim *first = &graph_type(s->g, s->tokens)->dim[0];
    return type->rank >= 2 && type->dim[0].size == first->size && type->dim[0].axis == first->axis;
}

/* How an input goes along to the sequences. */
static enum share part_share_of(const struct selection *s, const struct node *n, uint32_t i)
{
    enum share share = share_of(s, n, i);
    if (share == SHARE_WHOLE || share == SHARE_SEQUENCE)
        return share;
    return has_sequences(s, graph_type(s->g, n->in[i])) && !may_stretch(s, n, i) ? SHARE_SEQUENCE
                                                                                 : SHARE_NONE;
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

/* Whether N does the same on any axis of its own, and at any time. */
static bool is_free(const struct selection *s, const struct node *n)
{
    const unsigned fixed = OP_EFFECT | OP_COUNTS | OP_VIEW | OP_LEAF | OP_MACRO;
    for (uint32_t i = 0; i < n->in_count; i++)
        if (n->in[i] && value_may_change(s->g, s->written, n->in[i]))
            return false;
    return !(n->op->flags & fixed) && !draws_by_place(s, n) && !n->op->updates &&
           !takes_dims(n->op);
}

static bool can_move(const struct selection *s, const struct node *n)
{
    enum op_rows rows = op_rows_of(s->g, n);
    bool alone = rows == ROWS_EACH || rows == ROWS_POSITION ||
                 (s->idle.pick && n == &s->g->nodes[s->end]); /* it has picked before */
    if (!alone || !is_free(s, n) || !has_rows(s, graph_type(s->g, n->out[0])))
        return false;
    for (uint32_t i = 0; i < n->in_count; i++)
        if (share_of(s, n, i) == SHARE_NONE)
            return false;
    return acts_by_position(s, n);
}

static bool can_part(const struct selection *s, const struct node *n)
{
    enum op_rows rows = op_rows_of(s->g, n);
    bool any = false;
    if ((rows != ROWS_EACH && rows != ROWS_POSITION && rows != ROWS_SEQUENCE) || !is_free(s, n))
        return false;
    for (uint32_t k = 0; k < n->out_count; k++)
        if (!has_sequences(s, graph_type(s->g, n->out[k])))
            return false;
    for (uint32_t i = 0; i < n->in_count; i++) {
        enum share share = part_share_of(s, n, i);
        if (share == SHARE_NONE)
            return false;
        any |= share == SHARE_SEQUENCE;
    }
    return any;
}

/* Uses by a node that moves of what may move with it. */
static void count_inside(struct selection *s, const struct node *n)
{
    for (uint32_t i = 0; i < n->in_count; i++)
        s->inside[n->in[i]] += share_of(s, n, i) == SHARE_ROW;
}

/* Uses by a node that moves, to either axis, of what may move to the sequences. */
static void count_within(struct selection *s, const struct node *n)
{
    for (uint32_t i = 0; i < n->in_count; i++)
        s->within[n->in[i]] += part_share_of(s, n, i) == SHARE_SEQUENCE;
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

/* Whether all uses of all results are those COUNTED, by nodes that move, and there are any. */
static bool serves_only(const struct selection *s, const struct node *n, const uint32_t *counted)
{
    uint32_t uses = 0;
    for (uint32_t k = 0; k < n->out_count; k++) {
        if (s->uses[n->out[k]] != counted[n->out[k]])
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

static bool is_gather(const struct selection *s)
{
    return s->g->nodes[s->end].op == &op_gather;
}

/* Whether the end itself can move to the rows: a gather need not. */
static bool end_can_move(const struct selection *s)
{
    const struct node *end = &s->g->nodes[s->end];
    if (is_gather(s))
        return true;
    for (uint32_t k = 1; k < end->out_count; k++)
        if (s->uses[end->out[k]] && !(s->idle.stays && is_sum(s, end->out[k])))
            return false;
    return can_move(s, end);
}

/* Marks what moves with the end, which stands at place AT of the order. Returns whether that is
 * worth a gather: a product of matrices is among it. */
static bool find_moves(struct selection *s, uint32_t at)
{
    struct graph *g = s->g;
    const struct node *end = &g->nodes[s->end];
    bool product = false;
    if (!end_can_move(s))
        return false;
    s->moves[s->end] = true;
    if (is_gather(s))
        s->inside[end->in[0]]++;
    else
        count_inside(s, end);
    for (uint32_t i = at; i-- > 0;) {
        const struct node *n = &g->nodes[g->order[i]];
        if (!serves_only(s, n, s->inside) || !can_move(s, n))
            continue;
        s->moves[g->order[i]] = true;
        count_inside(s, n);
        product |= n->op == &op_linear;
    }
    return product;
}

/* Marks what moves to the sequences. Returns whether that is worth it: a product of matrices over
 * positions is among it. */
static bool find_parts(struct selection *s, uint32_t at)
{
    struct graph *g = s->g;
    bool product = false;
    for (uint32_t i = 0; i <= at; i++)
        if (s->moves[g->order[i]])
            count_within(s, &g->nodes[g->order[i]]);
    for (uint32_t i = at; i-- > 0;) {
        const struct node *n = &g->nodes[g->order[i]];
        if (s->moves[g->order[i]] || !serves_only(s, n, s->within) || !can_part(s, n))
            continue;
        s->parts[g->order[i]] = true;
        count_within(s, n);
        product |= n->op == &op_linear && has_rows(s, graph_type(g, n->out[0]));
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

/* V of the sequences that are computed. */
static uint32_t part_of(struct selection *s, uint32_t v, const struct node *reader)
{
    if (!s->which)
        return v;
    if (!s->part[v])
        s->part[v] = gather(s->g, v, s->which, 1, reader);
    return s->part[v];
}

static uint32_t short_input(struct selection *s, const struct node *n, uint32_t i)
{
    const uint32_t v = n->in[i], axes = graph_type(s->g, s->tokens)->rank;
    enum share share = share_of(s, n, i);
    if (share == SHARE_WHOLE)
        return v;
    if (share == SHARE_SEQUENCE && !s->lent[v]) /* once for all who ask */
        s->lent[v] = gather(s->g, part_of(s, v, n), s->owner, 1, n);
    if (share == SHARE_ROW && !s->moved[v])
        s->moved[v] = gather(s->g, part_of(s, v, n), s->index, axes, n);
    return share == SHARE_ROW ? s->moved[v] : s->lent[v];
}

static uint32_t part_input(struct selection *s, const struct node *n, uint32_t i)
{
    return part_share_of(s, n, i) == SHARE_WHOLE ? n->in[i] : part_of(s, n->in[i], n);
}

/* What moves to the rows keeps only its last axis apart: where it names one, it is that. */
static const union attr *short_attr(struct graph *g, const struct node *n)
{
    uint32_t count = op_attr_count(n->op);
    union attr *attr = arena_new_array(g->arena, union attr, count);
    for (uint32_t i = 0; i < count; i++) {
        attr[i] = n->attr[i];
        if (strcmp(n->op->attrs[i].name, "axis") == 0)
            attr[i].integer = -1;
    }
    return attr;
}

/* Makes node ID again with ATTR, of the inputs that INPUT says; TO notes its results. */
static void move_node(struct selection *s, uint32_t id, const union attr *attr, uint32_t *to,
                      uint32_t (*input)(struct selection *, const struct node *, uint32_t))
{
    struct graph *g = s->g;
    struct node n = g->nodes[id]; /* a copy: emitting moves the array */
    uint32_t *in = arena_new_array(g->arena, uint32_t, n.in_count);
    for (uint32_t i = 0; i < n.in_count; i++)
        in[i] = input(s, &n, i);
    uint32_t first = graph_emit(g, n.op, in, n.in_count, attr, &n);
    const uint32_t *out = g->nodes[g->values[first].node].out;
    for (uint32_t k = 0; k < n.out_count; k++) {
        to[n.out[k]] = out[k];
        g->values[out[k]].name = g->values[n.out[k]].name;
        g->values[n.out[k]].name = NULL;
    }
}

/* All that moves before place AT of the order. */
static void move_nodes(struct selection *s, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        uint32_t id = s->g->order[i];
        const struct node *n = &s->g->nodes[id];
        if (s->parts[id])
            move_node(s, id, n->attr, s->part, part_input);
        else if (s->moves[id])
            move_node(s, id, short_attr(s->g, n), s->moved, short_input);
    }
}

/* --- the end ------------------------------------------------------------------------------ */

/* The numbers that the end draws by, as an input of all rows: those that it is given, or would
 * draw. */
static uint32_t uniform_numbers(struct selection *s)
{
    const struct node end = s->g->nodes[s->end]; /* a copy: emitting moves the array */
    uint32_t given = given_numbers(s);
    return given ? given : emit_uniform(s->g, s->tokens, &end);
}

/* FLAGS, and not OUT. */
static uint32_t without(struct graph *g, uint32_t flags, uint32_t out, const struct node *like)
{
    return emit2(g, &op_and, flags, emit1(g, &op_not, out, like), like);
}

/* The sequence of each row. */
static uint32_t find_owner(const struct selection *s, const struct node *like)
{
    const struct type *rows = graph_type(s->g, s->tokens);
    int64_t positions = 1;
    for (uint32_t i = 1; i < rows->rank; i++)
        positions *= rows->dim[i].size;
    union attr attr[] = {[OWNER_OF] = {.integer = positions}};
    return graph_emit(s->g, &op_row_owner, &s->index, 1, attr, like);
}

/* The sequences that have any of FLAGS. */
static uint32_t find_which(struct graph *g, uint32_t flags, const struct node *like)
{
    union attr along[] = {[REDUCE_AXIS] = {.integer = 1}, [REDUCE_KEEP] = {.flag = false}};
    uint32_t count = emit_cast(g, flags, DT_F64, like);
    while (graph_type(g, count)->rank > 1)
        count = graph_emit(g, &op_sum, &count, 1, along, like);
    return emit1(g, &op_nonzero, emit2(g, &op_less, emit_const(g, DT_F64, 0, like), count, like),
                 like);
}

/* Which rows are to be computed, and the numbers that the end draws by there. */
static uint32_t find_flags(struct selection *s, uint32_t *numbers)
{
    struct graph *g = s->g;
    const struct node end = g->nodes[s->end], like = {.origin = end.origin};
    const struct type *rows = graph_type(g, s->tokens);
    struct node chain = like;
    const uint32_t axes = rows->rank;
    if (s->idle.pick)
        return s->idle.pick(g, &end, numbers);
    *numbers = s->idle.uniform ? uniform_numbers(s) : VALUE_NONE;
    chain.process = rows->process;
    uint32_t flags = emit1(g, &op_may_move, s->tokens, &chain);
    if (s->idle.keep)
        flags = without(g, flags, s->idle.keep, &like);
    if (s->idle.chance) {
        uint32_t chance = s->idle.chance(g, &end);
        for (uint32_t rank; (rank = graph_type(g, chance)->rank) && rank < axes;)
            chance = emit_expand(g, chance, rank, &like);
        flags = without(g, flags, emit2(g, &op_less, chance, *numbers, &like), &like);
    }
    return flags;
}

/* The rows that FLAGS say, and the sequence of each; SOME: of the sequences that have any. */
static void find_rows(struct selection *s, uint32_t flags, bool some)
{
    struct graph *g = s->g;
    const struct node like = {.origin = g->nodes[s->end].origin};
    if (some) {
        s->which = find_which(g, flags, &like);
        flags = gather(g, flags, s->which, 1, &like);
    }
    s->index = emit1(g, &op_nonzero, flags, &like);
    s->owner = find_owner(s, &like);
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
    if (uniform && s->which)
        uniform = gather(g, uniform, s->which, 1, &end);
    if (uniform)
        in[s->idle.uniform - 1] =
            gather(g, uniform, s->index, graph_type(g, s->tokens)->rank, &end);
    return graph_emit(g, end.op, in, count, end.attr, &end);
}

/* PART, of an axis of rows that INDEX places among others, added up over those: COUNT axes of
 * DIMS. */
static uint32_t scatter(struct graph *g, uint32_t part, uint32_t index, const struct dim *dims,
                        uint32_t count, const struct node *like)
{
    union attr attr[] = {[SCATTER_ROWS] = rule_dims(g, dims, count)};
    return graph_emit(g, &op_scatter_add, (uint32_t[]){part, index}, 2, attr, like);
}

/* What stands for result K of the end: PART, of the short axis, put back in its place; among OTHER
 * tokens, where these stay. */
static uint32_t put_back(struct selection *s, uint32_t k, uint32_t part, uint32_t other,
                         const struct node *like)
{
    struct graph *g = s->g;
    const struct type rows = *graph_type(g, s->tokens);
    if (k == 0 && s->idle.stays) {
        bool own = !s->which || other == s->tokens;
        uint32_t some = own ? part_of(s, other, like) : gather(g, other, s->which, 1, like);
        uint32_t all = emit3(g, &op_replace, some, part, s->index, like);
        return s->which ? emit3(g, &op_replace, other, all, s->which, like) : all;
    }
    if (s->which) { /* a sum */
        const struct dim some = graph_type(g, s->which)->dim[0];
        part = scatter(g, part, s->owner, &some, 1, like);
        return scatter(g, part, s->which, rows.dim, 1, like);
    }
    return scatter(g, part, k ? s->owner : s->index, rows.dim, k ? 1 : rows.rank, like);
}

/* What has moved is gone, with its names. */
static void drop_moved(struct selection *s, uint32_t at)
{
    struct graph *g = s->g;
    for (uint32_t i = 0; i <= at; i++)
        g->nodes[g->order[i]].dead |= s->moves[g->order[i]] || s->parts[g->order[i]];
    for (uint32_t i = 0; i < g->named_count; i++)
        if (g->names[i].value && g->nodes[g->values[g->names[i].value].node].dead)
            g->names[i].value = VALUE_NONE;
    graph_order(g);
}

static void select_rows(struct selection *s, uint32_t at)
{
    struct graph *g = s->g;
    const struct node end = g->nodes[s->end], like = {.origin = end.origin};
    bool some = s->idle.stays && g->axis_count + 1 < PLAN_AXES_MAX && find_parts(s, at);
    if (!some)
        memset(s->parts, 0, g->node_count * sizeof *s->parts);
    uint32_t uniform = VALUE_NONE, flags = find_flags(s, &uniform);
    find_rows(s, flags, some);
    move_nodes(s, at);
    uint32_t first = move_end(s, uniform), part = g->values[first].node;
    uint32_t other = s->idle.otherwise ? s->idle.otherwise(g, &end, uniform) : s->tokens;
    for (uint32_t k = 0; k < end.out_count; k++) {
        if (k > 0 && !s->uses[end.out[k]])
            continue;
        uint32_t whole = put_back(s, k, g->nodes[part].out[k], other, &like);
        g->values[whole].name = g->values[end.out[k]].name;
        graph_replace(g, &end.out[k], &whole, 1);
    }
    drop_moved(s, at);
}

/* The end is a gather: what it reads is made of gathered rows. */
static void select_gathered(struct selection *s, uint32_t at)
{
    struct graph *g = s->g;
    const struct node end = g->nodes[s->end], like = {.origin = end.origin};
    s->owner = find_owner(s, &like);
    move_nodes(s, at);
    g->values[s->moved[end.in[0]]].name = g->values[end.out[0]].name;
    graph_replace(g, &end.out[0], &s->moved[end.in[0]], 1);
    drop_moved(s, at);
}

/* Whether N gathers rows, of several axes, by flags of theirs: no row twice, and none that is not
 * there. */
static bool gathers_rows(struct selection *s, const struct node *n)
{
    const struct graph *g = s->g;
    if (n->op != &op_gather)
        return false;
    const struct node *index = &g->nodes[g->values[n->in[1]].node];
    if (index->op != &op_nonzero)
        return false;
    s->tokens = index->in[0];
    s->index = n->in[1];
    return n->attr[GATHER_AXES].integer == (int64_t)graph_type(g, s->tokens)->rank &&
           graph_type(g, s->tokens)->rank >= 2 && has_rows(s, graph_type(g, n->in[0]));
}

/* Whether rows of N can be selected: they are not a selection already, by a run-time count. */
static bool has_idle_rows(struct selection *s, const struct node *n)
{
    const struct graph *g = s->g;
    if (!n->op->idle || !n->op->idle(g, n, &s->idle))
        return gathers_rows(s, n);
    const struct type *rows = graph_type(g, s->idle.tokens);
    s->tokens = s->idle.tokens;
    return rows->rank >= 2 && !g->axes[rows->dim[0].axis].counter;
}

/* Finds an end that moves, and what moves with it; its place in the order, or the end of
 * it. */
static uint32_t find_end(struct compile *c, struct selection *s)
{
    struct graph *g = c->graph;
    const bool *written = graph_written_rows(g);
    uint32_t at = 0;
    for (; at < g->order_count; at++) {
        *s = (struct selection){.g = g, .written = written, .end = g->order[at]};
        if (!has_idle_rows(s, &g->nodes[s->end]))
            continue;
        s->inside = arena_new_array(c->arena, uint32_t, g->value_count);
        s->within = arena_new_array(c->arena, uint32_t, g->value_count);
        s->moved = arena_new_array(c->arena, uint32_t, g->value_count);
        s->part = arena_new_array(c->arena, uint32_t, g->value_count);
        s->lent = arena_new_array(c->arena, uint32_t, g->value_count);
        s->moves = arena_new_array(c->arena, bool, g->node_count);
        s->parts = arena_new_array(c->arena, bool, g->node_count);
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
    /* Each selection has axes of its own, of which a plan can count so many. */
    for (uint32_t at;
         c->graph->axis_count < PLAN_AXES_MAX && (at = find_end(c, &s)) < c->graph->order_count;) {
        if (is_gather(&s))
            select_gathered(&s, at);
        else
            select_rows(&s, at);
    }
    return true;
}
