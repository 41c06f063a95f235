/* Sharing and lifetimes: views lie in their input, updates in their row, a gradient that is stored
 * is made in its row at once, and a result may take over the memory of an input that dies. */
#include "passes/storage.h"
#include "graph/base/check.h"
#include "ops/ops.h"

#include <string.h>

struct maker {
    struct compile *c;
    struct graph *g;
    struct storage *s;
    uint32_t capacity;
    uint32_t *last_use; /* per value: last position that reads it */
    uint32_t *row_buffer;
    struct node_types *types; /* room for one node at a time */
};

void node_types_fill(struct graph *g, uint32_t node, struct node_types *t)
{
    const struct node *n = &g->nodes[node];
    t->call = (struct op_call){.graph = g,
                               .op = n->op,
                               .in_count = n->in_count,
                               .in = t->in,
                               .attr = n->attr,
                               .process = n->process,
                               .origin = n->origin,
                               .out_count = n->out_count,
                               .out = t->out};
    if (n->process)
        t->call.chain = &g->processes[n->process - 1].chain;
    for (uint32_t i = 0; i < n->in_count; i++) {
        t->in[i] = g->values[n->in[i]].type;
        if (!n->in[i])
            t->in[i].rank = TYPE_ABSENT;
    }
    for (uint32_t k = 0; k < n->out_count; k++)
        t->out[k] = g->values[n->out[k]].type;
}

struct op_cost node_types_cost(const struct node_types *types)
{
    const struct op_call *call = &types->call;
    struct op_cost cost = {0};
    for (uint32_t i = 0; i < call->in_count; i++)
        if (types->in[i].rank != TYPE_ABSENT)
            cost.bytes += (double)type_bytes(&types->in[i]);
    for (uint32_t k = 0; k < call->out_count; k++) {
        cost.bytes += (double)type_bytes(&types->out[k]);
        cost.flop += (double)type_count(&types->out[k]);
    }
    if (call->op->cost)
        call->op->cost(call, &cost);
    return cost;
}

static uint32_t add_buffer(struct maker *m, enum memory memory, uint32_t index, uint32_t value,
                           int64_t bytes, uint32_t at)
{
    struct storage *s = m->s;
    s->buffers =
        arena_grow(m->c->arena, s->buffers, s->buffer_count, &m->capacity, sizeof *s->buffers);
    s->buffers[s->buffer_count] = (struct buffer){memory, index, value, bytes, at, at, -1};
    return s->buffer_count++;
}

/* --- one node ----------------------------------------------------------------------------- */

static uint32_t row_buffer(struct maker *m, uint32_t row, uint32_t value, uint32_t at)
{
    if (!m->row_buffer[row])
        m->row_buffer[row] =
            add_buffer(m, MEMORY_STATE, row, value, type_bytes(graph_type(m->g, value)), at);
    return m->row_buffer[row];
}

static uint32_t leaf_buffer(struct maker *m, const struct node *n, uint32_t at)
{
    struct graph *g = m->g;
    uint32_t v = n->out[0];
    if (n->op == &op_state)
        return row_buffer(m, g->values[v].state - 1, v, at);
    if (n->op == &op_const)
        return add_buffer(m, MEMORY_CONST, 0, v, type_bytes(graph_type(g, v)), at);
    for (uint32_t i = 0; i < g->input_count; i++)
        if (g->inputs[i].value == v)
            return add_buffer(m, MEMORY_INPUT, i, v, type_bytes(graph_type(g, v)), at);
    BUG_ON(true);
}

/* Whether the result may take the memory of input I: it dies here, in all its values. */
static bool may_take(struct maker *m, const struct node *n, uint32_t i, uint32_t at)
{
    const struct graph *g = m->g;
    const struct storage *s = m->s;
    uint32_t v = n->in[i], b = v ? s->buffer_of[v] : 0;
    const struct type *in = graph_type(g, v), *out = graph_type(g, n->out[0]);
    if (!b || s->buffers[b].memory != MEMORY_ARENA || s->buffers[b].last > at)
        return false;
    if (in->rank == 0 || out->rank == 0 || in->dim[0].axis != out->dim[0].axis ||
        type_bytes(in) != type_bytes(out) || s->buffers[b].bytes != type_bytes(out))
        return false;
    for (uint32_t k = 0; k < n->in_count; k++)
        if (k != i && n->in[k] != v && s->buffer_of[n->in[k]] == b)
            return false;
    return true;
}

static uint32_t result_buffer(struct maker *m, const struct node *n, uint32_t k, uint32_t at)
{
    struct storage *s = m->s;
    uint32_t v = n->out[k];
    if ((n->op->flags & OP_VIEW) && k == 0)
        return s->buffer_of[n->in[0]];
    if (k < n->op->updates)
        return s->buffer_of[n->in[k]];
    if (n->op == &op_store)
        return row_buffer(m, m->g->values[v].state - 1, v, at);
    for (uint32_t i = 0; k == 0 && i < n->in_count && i < 32; i++)
        if ((n->op->inplace >> i & 1) && may_take(m, n, i, at))
            return s->buffer_of[n->in[i]];
    return add_buffer(m, MEMORY_ARENA, 0, v, type_bytes(graph_type(m->g, v)), at);
}

/* The life of a buffer ends with the last use of any value in it. */
static void extend(struct maker *m, uint32_t buffer, uint32_t value, uint32_t at)
{
    struct buffer *b = &m->s->buffers[buffer];
    uint32_t last = m->last_use[value] > at ? m->last_use[value] : at;
    if (last > b->last)
        b->last = last;
}

static void place_node(struct maker *m, uint32_t id, uint32_t at)
{
    const struct node *n = &m->g->nodes[id];
    struct storage *s = m->s;
    for (uint32_t k = 0; k < n->out_count; k++) {
        uint32_t b = (n->op->flags & OP_LEAF) ? leaf_buffer(m, n, at) : result_buffer(m, n, k, at);
        s->buffer_of[n->out[k]] = b;
        extend(m, b, n->out[k], at);
    }
    if (!n->op->workspace)
        return;
    node_types_fill(m->g, id, m->types);
    int64_t bytes = n->op->workspace(&m->types->call);
    if (bytes > 0)
        s->workspace[at] = add_buffer(m, MEMORY_ARENA, 0, 0, bytes, at);
}

/* --- stores ------------------------------------------------------------------------------- */

static bool row_is_read(const struct graph *g, uint32_t row)
{
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        if (n->op == &op_state && g->values[n->out[0]].state == row + 1)
            return true;
    }
    return false;
}

/* A stored value that lies alone in an arena buffer is made in the row instead: no copy, and the
 * buffer leaves the arena. */
static void elide_stores(struct maker *m)
{
    struct storage *s = m->s;
    struct graph *g = m->g;
    for (uint32_t at = 0; at < s->order_count; at++) {
        const struct node *n = &g->nodes[s->order[at]];
        if (n->op != &op_store)
            continue;
        uint32_t row = g->values[n->out[0]].state - 1, b = s->buffer_of[n->in[0]];
        struct buffer *from = &s->buffers[b];
        if (from->memory != MEMORY_ARENA || from->bytes != type_bytes(graph_type(g, n->out[0])) ||
            row_is_read(g, row))
            continue;
        bool alone = true; /* no view or in-place successor may change it after the store */
        for (uint32_t v = 1; v < g->value_count && alone; v++)
            alone = s->buffer_of[v] != b || v == n->in[0] || g->values[v].node == NODE_NONE ||
                    m->last_use[v] <= at;
        if (!alone)
            continue;
        from->memory = MEMORY_STATE;
        from->index = row;
        s->elided[s->order[at]] = true;
    }
}

static void find_peak(struct maker *m)
{
    struct storage *s = m->s;
    int64_t *delta = arena_new_array(m->c->arena, int64_t, s->order_count + 2), sum = 0;
    for (uint32_t b = 1; b < s->buffer_count; b++) {
        if (s->buffers[b].memory != MEMORY_ARENA)
            continue;
        delta[s->buffers[b].first] += aligned(s->buffers[b].bytes);
        delta[s->buffers[b].last + 1] -= aligned(s->buffers[b].bytes);
    }
    for (uint32_t i = 0; i < s->order_count; i++) {
        sum += delta[i];
        if (sum > s->bound) {
            s->bound = sum;
            s->peak_at = i;
        }
    }
}

struct storage *storage_make(struct compile *c, const uint32_t *order, uint32_t count)
{
    struct graph *g = c->graph;
    struct storage *s = arena_alloc(c->arena, sizeof *s);
    struct maker m = {.c = c,
                      .g = g,
                      .s = s,
                      .last_use = arena_new_array(c->arena, uint32_t, g->value_count),
                      .row_buffer = arena_new_array(c->arena, uint32_t, g->states->count + 1),
                      .types = arena_alloc(c->arena, sizeof(struct node_types))};
    s->order = arena_new_array(c->arena, uint32_t, count + 1);
    memcpy(s->order, order, count * sizeof *order);
    s->order_count = count;
    s->buffer_of = arena_new_array(c->arena, uint32_t, g->value_count);
    s->workspace = arena_new_array(c->arena, uint32_t, count + 1);
    s->elided = arena_new_array(c->arena, bool, g->node_count);
    add_buffer(&m, MEMORY_NONE, 0, 0, 0, 0);
    for (uint32_t at = 0; at < count; at++) {
        const struct node *n = &g->nodes[order[at]];
        for (uint32_t i = 0; i < n->in_count; i++)
            m.last_use[n->in[i]] = at;
        for (uint32_t k = 0; k < n->out_count; k++)
            m.last_use[n->out[k]] = at; /* it is written then, read or not */
    }
    for (uint32_t i = 0; i < g->output_count; i++)
        m.last_use[g->outputs[i].value] = count; /* after the last node, which may not take it */
    for (uint32_t at = 0; at < count; at++)
        place_node(&m, order[at], at);
    elide_stores(&m);
    find_peak(&m);
    return s;
}
