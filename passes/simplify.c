/* simplify: folds what is known, merges what is equal, drops what nobody needs. Runs before and
 * after the gradient is derived. */
#include "graph/base/check.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "passes/compile.h"

#include <math.h>
#include <string.h>

/* --- constants ---------------------------------------------------------------------------- */

static bool const_value(const struct graph *g, uint32_t v, double *out)
{
    const struct node *n = &g->nodes[g->values[v].node];
    if (v == VALUE_NONE || n->op != &op_const)
        return false;
    *out = n->attr[0].real;
    return true;
}

static bool is_const(const struct graph *g, uint32_t v, double what)
{
    double c = 0;
    return const_value(g, v, &c) && c == what;
}

/* Whether N takes rows that are there: those of flags, over the same axes. */
static bool takes_own_rows(const struct graph *g, const struct node *n)
{
    if (n->op != &op_gather)
        return false;
    const struct node *index = &g->nodes[g->values[n->in[1]].node];
    if (index->op != &op_nonzero)
        return false;
    const struct type *x = graph_type(g, n->in[0]), *flags = graph_type(g, index->in[0]);
    bool same = n->attr[GATHER_AXES].integer == (int64_t)flags->rank;
    for (uint32_t i = 0; same && i < flags->rank; i++)
        same = x->dim[i].size == flags->dim[i].size && x->dim[i].axis == flags->dim[i].axis;
    return same;
}

/* Whether all elements of V are WHAT: a constant, a view of one, or rows of one. */
static bool is_all(const struct graph *g, uint32_t v, double what)
{
    const struct node *n = &g->nodes[g->values[v].node];
    while (v != VALUE_NONE && ((n->op->flags & OP_VIEW) || takes_own_rows(g, n))) {
        v = n->in[0];
        n = &g->nodes[g->values[v].node];
    }
    return is_const(g, v, what);
}

static uint32_t make_const(struct graph *g, const struct type *type, double value,
                           const struct origin *origin)
{
    union attr attr = {.real = value};
    struct node_call call = {.op = &op_const, .attr = &attr, .types = type, .origin = origin};
    uint32_t id = graph_call(g, &call);
    BUG_ON(id == NODE_NONE);
    return g->nodes[id].out[0];
}

/* Ops that act on each element alone: on constants of one value they give one value. */
static bool is_pointwise(const struct op *op)
{
    static const struct op *const ops[] = {
        &op_neg,  &op_exp, &op_log,  &op_log1p, &op_expm1, &op_sqrt, &op_sin,   &op_cos,
        &op_tanh, &op_not, &op_cast, &op_add,   &op_sub,   &op_mul,  &op_div,   &op_pow,
        &op_max,  &op_min, &op_less, &op_equal, &op_and,   &op_or,   &op_where, &op_broadcast_to};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (ops[i] == op)
            return true;
    return false;
}

/* A node on constants, computed by its own reference on single numbers. */
static uint32_t fold(struct graph *g, const struct node *n)
{
    struct ref_tensor in[4], out;
    double values[4], result = 0;
    const struct type *type = graph_type(g, n->out[0]);
    bool pointwise = is_pointwise(n->op);
    if (n->in_count == 0 || n->in_count > 4 || n->out_count != 1 ||
        (type->rank != 0 && !pointwise) || (n->op->flags & ~(unsigned)(OP_NO_GRAD | OP_INTERNAL)) ||
        !n->op->reference)
        return VALUE_NONE;
    for (uint32_t i = 0; i < n->in_count; i++) {
        if (!const_value(g, n->in[i], &values[i]) ||
            (graph_type(g, n->in[i])->rank != 0 && !pointwise))
            return VALUE_NONE;
        in[i] = (struct ref_tensor){.data = &values[i]};
    }
    out = (struct ref_tensor){.data = &result};
    struct ref_call call = {.in_count = n->in_count,
                            .out_count = 1,
                            .in = in,
                            .out = &out,
                            .out_dtype = &type->dtype,
                            .attr = n->attr};
    n->op->reference(&call);
    if (!isfinite(result))
        return VALUE_NONE; /* leave it where a message can name it */
    if (type->dtype == DT_F32)
        result = (float)result;
    return make_const(g, type, result, n->origin);
}

/* --- identities --------------------------------------------------------------------------- */

static uint32_t same_type(const struct graph *g, const struct node *n, uint32_t v)
{
    return type_equal(graph_type(g, n->out[0]), graph_type(g, v)) ? v : VALUE_NONE;
}

/* The score that a posterior comes to lies within the limits of scores already: it is the mean of
 * what they are the extremes of, over the x0 that can lead to x. Of a law that sums to one, as
 * x0_output makes it. A cavity may hold x0 that cannot lead to x (of another group), and its score
 * is then beyond them. */
static bool is_within_limits(const struct graph *g, const struct node *project)
{
    const struct node *score = &g->nodes[g->values[project->in[0]].node];
    if (score->op != &op_posterior_score || score->process != project->process ||
        score->in[1] != project->in[1] || score->in[2] != project->in[2])
        return false;
    return g->nodes[g->values[score->in[0]].node].op == &op_x0_output;
}

/* Laws that are normalised, of which nothing is cut. */
static bool restricts_nothing(const struct graph *g, const struct node *n)
{
    const struct op *law = g->nodes[g->values[n->in[0]].node].op;
    if (law != &op_x0_output && law != &op_score_posterior && law != &op_cavity_output)
        return false;
    return n->attr[RESTRICT_TEMPERATURE].real == 1 && n->attr[RESTRICT_TOP_K].integer == 0 &&
           n->attr[RESTRICT_TOP_P].real == 1 &&
           (n->in_count < 2 || !n->in[1] || is_all(g, n->in[1], 1));
}

static uint32_t identity(const struct graph *g, const struct node *n)
{
    const struct op *op = n->op;
    if (op == &op_project_score &&
        (is_within_limits(g, n) || g->processes[n->process - 1].chain.raw))
        return n->in[0];
    if (op == &op_mul && is_const(g, n->in[1], 1))
        return same_type(g, n, n->in[0]);
    if (op == &op_mul && is_const(g, n->in[0], 1))
        return same_type(g, n, n->in[1]);
    if (op == &op_div && is_const(g, n->in[1], 1))
        return same_type(g, n, n->in[0]);
    if ((op == &op_add || op == &op_sub) && is_const(g, n->in[1], 0))
        return same_type(g, n, n->in[0]);
    if (op == &op_add && is_const(g, n->in[0], 0))
        return same_type(g, n, n->in[1]);
    if (op == &op_cast || op == &op_sum_to || op == &op_broadcast_to || op == &op_reshape)
        return same_type(g, n, n->in[0]);
    if (op == &op_where && is_all(g, n->in[0], 1))
        return same_type(g, n, n->in[1]);
    if (op == &op_where && is_all(g, n->in[0], 0))
        return same_type(g, n, n->in[2]);
    if ((op == &op_restrict && restricts_nothing(g, n)) ||
        (op == &op_dropout && n->attr[DROPOUT_P].real == 0))
        return n->in[0];
    if (op == &op_neg && g->nodes[g->values[n->in[0]].node].op == &op_neg)
        return g->nodes[g->values[n->in[0]].node].in[0];
    return VALUE_NONE;
}

/* An optional input of truth values is false where it is absent (the contract of ops). */
static void drop_false_options(struct graph *g, struct node *n)
{
    for (uint32_t i = 0; i < n->in_count && i < op_input_count(n->op); i++) {
        const struct op_input *spec = &n->op->inputs[i];
        if ((spec->flags & INPUT_OPTIONAL) && spec->kind == IN_BOOL && is_all(g, n->in[i], 0))
            n->in[i] = VALUE_NONE;
    }
}

/* --- common subexpressions ---------------------------------------------------------------- */

static bool same_attrs(const struct op *op, const union attr *a, const union attr *b)
{
    for (uint32_t i = 0; i < op_attr_count(op); i++) {
        switch (op->attrs[i].kind) {
        case ATTR_INT:
        case ATTR_CHOICE:
            if (a[i].integer != b[i].integer)
                return false;
            break;
        case ATTR_REAL:
            if (memcmp(&a[i].real, &b[i].real, sizeof a[i].real) != 0)
                return false;
            break;
        case ATTR_BOOL:
            if (a[i].flag != b[i].flag)
                return false;
            break;
        case ATTR_TEXT:
            if (strcmp(a[i].text, b[i].text) != 0)
                return false;
            break;
        case ATTR_DIMS:
            if (a[i].dims.count != b[i].dims.count)
                return false;
            for (uint32_t k = 0; k < a[i].dims.count; k++)
                if (a[i].dims.items[k].size != b[i].dims.items[k].size ||
                    a[i].dims.items[k].axis != b[i].dims.items[k].axis)
                    return false;
            break;
        }
    }
    return true;
}

static bool mergeable(const struct node *n)
{
    if (n->op == &op_const)
        return true;
    return !(n->op->flags & (OP_RANDOM | OP_LEAF | OP_EFFECT | OP_COUNTS)) && !n->op->updates;
}

static bool same_node(const struct graph *g, const struct node *a, const struct node *b)
{
    if (a->op != b->op || a->in_count != b->in_count || a->process != b->process ||
        a->epoch != b->epoch || a->out_count != b->out_count)
        return false;
    if (a->in_count && memcmp(a->in, b->in, a->in_count * sizeof *a->in) != 0)
        return false;
    for (uint32_t k = 0; k < a->out_count; k++)
        if (!type_equal(graph_type(g, a->out[k]), graph_type(g, b->out[k])))
            return false;
    return same_attrs(a->op, a->attr, b->attr);
}

static uint32_t node_hash(const struct node *n, uint32_t mask)
{
    uint64_t h = (uintptr_t)n->op / 16 + n->in_count * 31u;
    for (uint32_t i = 0; i < n->in_count; i++)
        h = (h ^ n->in[i]) * 0x9E3779B97F4A7C15u;
    if (n->op == &op_const) {
        uint64_t bits;
        memcpy(&bits, &n->attr[0].real, sizeof bits);
        h ^= bits * 0x9E3779B97F4A7C15u;
    }
    return (uint32_t)(h >> 32) & mask;
}

/* --- state -------------------------------------------------------------------------------- */

bool *graph_written_rows(const struct graph *g)
{
    bool *written = arena_new_array(g->arena, bool, g->states->count + 1);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->out_count; k++)
            written[g->values[n->out[k]].state] |= !(n->op->flags & OP_LEAF);
    }
    written[0] = false;
    return written;
}

uint32_t value_base(const struct graph *g, uint32_t v)
{
    while (v && (g->nodes[g->values[v].node].op->flags & OP_VIEW))
        v = g->nodes[g->values[v].node].in[0];
    return v;
}

/* A copy of such a value may be needed after it has changed, and must stay a copy. */
bool value_may_change(const struct graph *g, const bool *written, uint32_t v)
{
    return written[g->values[value_base(g, v)].state];
}

/* --- uses --------------------------------------------------------------------------------- */

uint32_t *graph_uses(const struct graph *g)
{
    uint32_t *uses = arena_new_array(g->arena, uint32_t, g->value_count);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->in_count; k++)
            uses[n->in[k]]++;
    }
    for (uint32_t i = 0; i < g->output_count; i++)
        uses[g->outputs[i].value]++;
    uses[g->minimize]++;
    return uses;
}

/* --- the pass ----------------------------------------------------------------------------- */

/* MAP sends each value to what stands for it now; walks in order, so one walk settles all. */
static void walk(struct graph *g, uint32_t *map)
{
    uint32_t size = 64;
    while (size < g->order_count * 2)
        size *= 2;
    uint32_t *table = arena_new_array(g->arena, uint32_t, size); /* node + 1 */
    uint32_t count = g->order_count;
    const bool *written = graph_written_rows(g);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = g->order[i];
        struct node *n = &g->nodes[id];
        if (n->dead)
            continue;
        for (uint32_t k = 0; k < n->in_count; k++)
            n->in[k] = map[n->in[k]];
        drop_false_options(g, n);
        uint32_t value = identity(g, n);
        if (value && value_may_change(g, written, value))
            value = VALUE_NONE;
        if (!value)
            value = fold(g, n);
        n = &g->nodes[id]; /* folding may move the array */
        if (value) {
            map[n->out[0]] = value;
            n->dead = true;
            continue;
        }
        if (!mergeable(n))
            continue;
        uint32_t at = node_hash(n, size - 1);
        while (table[at] && !same_node(g, &g->nodes[table[at] - 1], n))
            at = (at + 1) & (size - 1);
        if (!table[at]) {
            table[at] = id + 1;
            continue;
        }
        const struct node *twin = &g->nodes[table[at] - 1];
        for (uint32_t k = 0; k < n->out_count; k++) {
            map[n->out[k]] = twin->out[k];
            if (!g->values[twin->out[k]].name)
                g->values[twin->out[k]].name = g->values[n->out[k]].name;
        }
        n->dead = true;
    }
}

bool pass_simplify(struct compile *c)
{
    struct graph *g = c->graph;
    uint32_t limit = g->value_count + g->order_count; /* folding makes one value a node at most */
    uint32_t *map = arena_new_array(c->arena, uint32_t, limit + 1);
    for (uint32_t v = 0; v <= limit; v++)
        map[v] = v;
    walk(g, map);
    for (uint32_t i = 0; i < g->output_count; i++)
        g->outputs[i].value = map[g->outputs[i].value];
    for (uint32_t i = 0; i < g->named_count; i++)
        g->names[i].value = map[g->names[i].value];
    g->minimize = map[g->minimize];
    graph_order(g);
    graph_sweep(g);
    graph_order(g);
    return true;
}
