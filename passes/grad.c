/* grad: expands `gradient` nodes and `minimize` by a reverse walk over the graph.
 *
 * The rule of each op says what flows to its inputs; this walker decides which values need a
 * gradient at all, adds up fan-out in a fixed order, and reduces what broadcasting made larger than
 * the input. Gradients of parameters go to state rows grad/NAME. */
#include "graph/base/check.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "passes/compile.h"

#include <string.h>

struct walker {
    struct graph *g;
    bool *needed;      /* per value: depends on a target */
    uint32_t *adjoint; /* per value: gradient so far, or VALUE_NONE */
    uint32_t limit;    /* values that existed when the walk began */
};

static uint32_t const_like(struct graph *g, const struct type *type, double value,
                           const struct origin *origin)
{
    union attr attr = {.real = value};
    struct node_call call = {.op = &op_const, .attr = &attr, .types = type, .origin = origin};
    uint32_t id = graph_call(g, &call);
    BUG_ON(id == NODE_NONE);
    return g->nodes[id].out[0];
}

/* GRAD in the shape and dtype of VALUE: the reverse of broadcasting and of promotion. */
static uint32_t fit(struct graph *g, uint32_t grad, uint32_t value, const struct node *like)
{
    struct type want = *graph_type(g, value);
    if (!type_same_shape(graph_type(g, grad), &want)) {
        struct dim *dims = arena_new_array(g->arena, struct dim, want.rank);
        memcpy(dims, want.dim, want.rank * sizeof *dims);
        union attr attr = {.dims = {want.rank, dims}};
        bool shrink = type_count(graph_type(g, grad)) >= type_count(&want);
        grad = graph_emit(g, shrink ? &op_sum_to : &op_broadcast_to, &grad, 1, &attr, like);
    }
    if (graph_type(g, grad)->dtype != want.dtype)
        grad = emit_cast(g, grad, want.dtype, like);
    return grad;
}

static bool is_real(const struct graph *g, uint32_t v)
{
    enum dtype d = graph_type(g, v)->dtype;
    return d == DT_F32 || d == DT_F64;
}

/* Everything that depends on a target through nodes that pass gradients. */
static void mark_needed(struct walker *w, const uint32_t *targets, uint32_t count)
{
    struct graph *g = w->g;
    for (uint32_t i = 0; i < count; i++)
        w->needed[targets[i]] = true;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        if (n->op->flags & (OP_NO_GRAD | OP_LEAF))
            continue;
        bool any = false;
        for (uint32_t k = 0; k < n->in_count; k++)
            any |= n->in[k] && w->needed[n->in[k]];
        for (uint32_t k = 0; any && k < n->out_count; k++)
            if (is_real(g, n->out[k]))
                w->needed[n->out[k]] = true;
    }
}

static bool cannot(struct graph *g, const struct node *n)
{
    struct op_call c = {.graph = g, .op = n->op, .origin = n->origin};
    return op_error(&c, "nothing can be differentiated through it a second time");
}

static bool step_back(struct walker *w, uint32_t id)
{
    struct graph *g = w->g;
    struct node n = g->nodes[id];
    uint32_t dout[OP_RESULT_MAX];
    bool flows = false;
    for (uint32_t k = 0; k < n.out_count; k++) {
        dout[k] = w->adjoint[n.out[k]];
        flows |= dout[k] != VALUE_NONE;
    }
    if (!flows || (n.op->flags & (OP_NO_GRAD | OP_LEAF)))
        return true;
    bool *need = arena_new_array(g->arena, bool, n.in_count);
    uint32_t *din = arena_new_array(g->arena, uint32_t, n.in_count);
    bool any = false;
    for (uint32_t i = 0; i < n.in_count; i++) {
        need[i] = n.in[i] && w->needed[n.in[i]];
        any |= need[i];
    }
    if (!any)
        return true;
    if (!n.op->grad)
        return cannot(g, &n);
    struct grad_call call = {g, &n, dout, need, din};
    n.op->grad(&call);
    for (uint32_t i = 0; i < n.in_count; i++) {
        if (!need[i] || !din[i])
            continue;
        uint32_t part = fit(g, din[i], n.in[i], &n);
        uint32_t *sum = &w->adjoint[n.in[i]];
        if (*sum) {
            const uint32_t both[] = {*sum, part};
            *sum = graph_emit(g, &op_add, both, 2, NULL, &n);
        } else {
            *sum = part;
        }
    }
    return true;
}

/* GRADS[i] = d sum(y) / d targets[i], VALUE_NONE where y does not depend on it. */
static bool differentiate(struct graph *g, uint32_t y, const uint32_t *targets, uint32_t count,
                          uint32_t *grads)
{
    struct walker w = {g, arena_new_array(g->arena, bool, g->value_count),
                       arena_new_array(g->arena, uint32_t, g->value_count), g->value_count};
    mark_needed(&w, targets, count);
    uint32_t steps = g->order_count, *order = arena_new_array(g->arena, uint32_t, steps);
    memcpy(order, g->order, steps * sizeof *order);
    if (w.needed[y]) {
        const struct origin *origin = g->nodes[g->values[y].node].origin;
        w.adjoint[y] = const_like(g, &g->values[y].type, 1, origin);
    }
    for (uint32_t i = steps; i-- > 0;)
        if (!step_back(&w, order[i]))
            return false;
    for (uint32_t i = 0; i < count; i++)
        grads[i] = w.adjoint[targets[i]];
    return true;
}

/* --- gradient nodes ----------------------------------------------------------------------- */

static bool expand_gradient(struct compile *c, uint32_t id)
{
    struct graph *g = c->graph;
    struct node n = g->nodes[id];
    uint32_t count = n.in_count - 1, *grads = arena_new_array(c->arena, uint32_t, count);
    if (!differentiate(g, n.in[0], n.in + 1, count, grads))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!grads[i])
            grads[i] = const_like(g, graph_type(g, n.in[i + 1]), 0, n.origin);
    g->nodes[id].dead = true;
    graph_replace(g, n.out, grads, count);
    graph_order(g);
    return true;
}

/* The first in program order each time: its own y may hold results of earlier ones only. */
static bool expand_all(struct compile *c)
{
    for (bool found = true; found;) {
        found = false;
        for (uint32_t i = 0; i < c->graph->order_count && !found; i++) {
            uint32_t id = c->graph->order[i];
            if (c->graph->nodes[id].op != &op_gradient || c->graph->nodes[id].dead)
                continue;
            found = true;
            if (!expand_gradient(c, id))
                return false;
        }
    }
    return true;
}

/* --- minimize ----------------------------------------------------------------------------- */

static uint32_t read_state(struct graph *g, uint32_t row)
{
    struct type type = g->states->rows[row].type;
    struct node_call call = {.op = &op_state, .types = &type};
    uint32_t id = graph_call(g, &call);
    BUG_ON(id == NODE_NONE);
    uint32_t v = g->nodes[id].out[0];
    g->values[v].state = row + 1;
    g->values[v].name = g->states->rows[row].name;
    return v;
}

/* Writes GRAD to the row of gradients that belongs to PARAMETER, or adds it when accumulating. */
static bool store_gradient(struct compile *c, uint32_t parameter, uint32_t grad, uint32_t keep)
{
    struct graph *g = c->graph;
    uint32_t owner = g->values[parameter].state - 1, row;
    const struct state_row *p = &g->states->rows[owner];
    struct state_row add = {.name = arena_printf(c->arena, "grad/%s", p->name),
                            .class = STATE_GRADIENT,
                            .type = p->type,
                            .init = INIT_ZERO,
                            .span = p->span,
                            .owner = owner};
    const struct node like = g->nodes[g->values[parameter].node];
    if (!state_declare(g->states, c->arena, c->diags, &add, &row))
        return false;
    if (!grad)
        grad = const_like(g, graph_type(g, parameter), 0, like.origin);
    uint32_t stored;
    if (keep) {
        const uint32_t in[] = {read_state(g, row), grad, keep};
        stored = graph_emit(g, &op_accumulate, in, 3, NULL, &like);
    } else {
        stored = graph_emit(g, &op_store, &grad, 1, NULL, &like);
        g->values[stored].state = row + 1;
        g->values[stored].version = 1;
    }
    g->values[stored].name = g->states->rows[row].name;
    if (c->options->grad_outputs)
        graph_output(g, g->states->rows[row].name, stored);
    return true;
}

static uint32_t keep_input(struct graph *g)
{
    struct type scalar = type_scalar(DT_F64);
    struct node_call call = {.op = &op_input, .types = &scalar};
    uint32_t id = graph_call(g, &call);
    BUG_ON(id == NODE_NONE);
    graph_input(g, "accumulate.keep", g->nodes[id].out[0]);
    return g->nodes[id].out[0];
}

static bool minimize(struct compile *c)
{
    struct graph *g = c->graph;
    uint32_t *targets = arena_new_array(c->arena, uint32_t, g->order_count), count = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        if (n->op == &op_state &&
            g->states->rows[g->values[n->out[0]].state - 1].class == STATE_PARAMETER)
            targets[count++] = n->out[0];
    }
    if (!count) {
        const struct origin *o = g->nodes[g->values[g->minimize].node].origin;
        diag_error(c->diags, FAULT_CONFIG, o ? o->span : (struct span){0},
                   "program `%s` has no parameter to be trained", g->name);
        return false;
    }
    uint32_t *grads = arena_new_array(c->arena, uint32_t, count + 1);
    if (!differentiate(g, g->minimize, targets, count, grads))
        return false;
    uint32_t keep = c->options->accumulate ? keep_input(g) : VALUE_NONE;
    for (uint32_t i = 0; i < count; i++)
        if (!store_gradient(c, targets[i], grads[i], keep))
            return false;
    graph_order(g);
    return true;
}

bool pass_grad(struct compile *c)
{
    if (!expand_all(c))
        return false;
    if (c->options->gradients && c->graph->minimize)
        return minimize(c);
    return true;
}
