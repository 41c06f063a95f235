/* The builder: values, nodes, axes, and the edits that passes make. Called by the elaborator, the
 * text reader, gradient rules and passes. */
#include "graph/graph.h"
#include "graph/base/check.h"
#include "graph/op.h"

#include <string.h>

struct graph *graph_new(struct arena *arena, struct diags *diags, const struct op_table *table,
                        struct state_table *states, const char *name)
{
    struct graph *g = arena_alloc(arena, sizeof *g);
    g->arena = arena;
    g->diags = diags;
    g->table = table;
    g->states = states;
    g->name = name;
    g->values = arena_grow(arena, NULL, 0, &g->value_capacity, sizeof *g->values);
    g->value_count = 1;
    g->axes = arena_grow(arena, NULL, 0, &g->axis_capacity, sizeof *g->axes);
    g->axis_count = 1;
    return g;
}

uint32_t graph_axis(struct graph *graph, const char *name, int64_t size)
{
    graph->axes = arena_grow(graph->arena, graph->axes, graph->axis_count, &graph->axis_capacity,
                             sizeof *graph->axes);
    graph->axes[graph->axis_count] = (struct axis){arena_strdup(graph->arena, name), size, 0};
    return graph->axis_count++;
}

uint32_t graph_axis_find(const struct graph *graph, const char *name)
{
    for (uint32_t i = 1; i < graph->axis_count; i++)
        if (strcmp(graph->axes[i].name, name) == 0)
            return i;
    return 0;
}

/* --- calls -------------------------------------------------------------------------------- */

static const struct op_input *input_spec(const struct op *op, uint32_t i)
{
    uint32_t n = op_input_count(op);
    BUG_ON(n == 0);
    return &op->inputs[i < n ? i : n - 1];
}

static const char *kind_name(enum input_kind kind)
{
    static const char *const names[] = {"f32 or f64", "f32",          "f64",  "i32",
                                        "token",      "token or i32", "bool", "anything"};
    return names[kind];
}

static bool kind_accepts(enum input_kind kind, enum dtype dtype)
{
    switch (kind) {
    case IN_REAL:
        return dtype == DT_F32 || dtype == DT_F64;
    case IN_F32:
        return dtype == DT_F32;
    case IN_F64:
        return dtype == DT_F64;
    case IN_INT:
        return dtype == DT_I32;
    case IN_TOKEN:
        return dtype == DT_TOKEN;
    case IN_IDS:
        return dtype == DT_TOKEN || dtype == DT_I32;
    case IN_BOOL:
        return dtype == DT_BOOL;
    case IN_ANY:
        return true;
    }
    return false;
}

/* Whether the inputs are of the kinds that the op names. */
static bool inputs_fit(const struct op_call *c)
{
    uint32_t declared = op_input_count(c->op);
    bool variadic = declared && (c->op->inputs[declared - 1].flags & INPUT_VARIADIC);
    if (c->in_count > declared && !variadic)
        return op_error(c, "takes %u inputs, not %u", declared, c->in_count);
    for (uint32_t i = 0; i < declared; i++) {
        if (op_has(c, i) || (c->op->inputs[i].flags & INPUT_OPTIONAL))
            continue;
        return op_error(c, "input `%s` is missing: %s", c->op->inputs[i].name,
                        c->op->inputs[i].doc);
    }
    for (uint32_t i = 0; i < c->in_count; i++) {
        const struct op_input *spec = input_spec(c->op, i);
        if (op_has(c, i) && !kind_accepts(spec->kind, c->in[i].dtype))
            return op_error(c, "input `%s` must be %s, not %s", spec->name, kind_name(spec->kind),
                            type_print(c->graph->arena, c->graph, &c->in[i]));
    }
    return true;
}

static bool result_fits(const struct op_call *c, const struct type *t)
{
    int64_t bytes = (int64_t)dtype_size(t->dtype);
    for (uint32_t i = 0; i < t->rank; i++) {
        BUG_ON(i > 0 && t->dim[i].axis);
        if (t->dim[i].size < 1)
            return op_error(c, "the result would be empty: %s",
                            type_print(c->graph->arena, c->graph, t));
        if (t->dim[i].size > AXIS_LIMIT)
            return op_error(c, "an axis of %lld is too long: it is numbered up to %d",
                            (long long)t->dim[i].size, AXIS_LIMIT);
        if (!size_mul(bytes, t->dim[i].size, &bytes) || bytes > SIZE_LIMIT)
            return op_error(c, "the result is too large to address");
    }
    int64_t drawn = t->rank ? bytes / (int64_t)dtype_size(t->dtype) / t->dim[0].size : 1;
    bool draws = (c->op->flags & OP_RANDOM) && !(c->op->still && c->op->still(c->attr));
    if (draws && drawn > UINT32_MAX)
        return op_error(c, "%lld draws for each sequence are too many: they are numbered up to %u",
                        (long long)drawn, UINT32_MAX);
    return true;
}

static void add_results(struct graph *g, uint32_t id, const struct op_call *c)
{
    struct node *n = &g->nodes[id];
    n->out_count = c->out_count;
    n->out = arena_new_array(g->arena, uint32_t, c->out_count);
    for (uint32_t k = 0; k < c->out_count; k++) {
        g->values =
            arena_grow(g->arena, g->values, g->value_count, &g->value_capacity, sizeof *g->values);
        struct value *v = &g->values[g->value_count];
        *v = (struct value){.type = c->out[k], .node = id, .result = k};
        if (k < c->op->updates) {
            const struct value *old = &g->values[n->in[k]];
            v->state = old->state;
            v->version = old->version + 1;
        }
        n->out[k] = g->value_count++;
    }
}

static uint32_t add_node(struct graph *g, const struct node_call *call, const union attr *attr)
{
    g->nodes = arena_grow(g->arena, g->nodes, g->node_count, &g->node_capacity, sizeof *g->nodes);
    struct node *n = &g->nodes[g->node_count];
    *n = (struct node){.op = call->op,
                       .in_count = call->in_count,
                       .attr = attr,
                       .origin = call->origin,
                       .process = call->process,
                       .stream = call->stream};
    n->in = arena_new_array(g->arena, uint32_t, call->in_count);
    if (call->in_count)
        memcpy(n->in, call->in, call->in_count * sizeof *n->in);
    g->order = arena_grow(g->arena, g->order, g->order_count, &g->order_capacity, sizeof *g->order);
    g->order[g->order_count++] = g->node_count;
    return g->node_count++;
}

uint32_t graph_call(struct graph *graph, const struct node_call *call)
{
    const struct op *op = call->op;
    struct type in_types[OP_RESULT_MAX * 16], out_types[OP_RESULT_MAX] = {0};
    struct op_call c = {.graph = graph,
                        .op = op,
                        .in_count = call->in_count,
                        .in = in_types,
                        .process = call->process,
                        .origin = call->origin,
                        .out_count = op->result_count,
                        .out = out_types};
    if (call->in_count > OP_RESULT_MAX * 16) {
        op_error(&c, "too many inputs");
        return NODE_NONE;
    }
    for (uint32_t i = 0; i < call->in_count; i++) {
        in_types[i] = graph->values[call->in[i]].type;
        if (call->in[i] == VALUE_NONE)
            in_types[i].rank = TYPE_ABSENT;
    }
    if (call->process)
        c.chain = &graph->processes[call->process - 1].chain;
    uint32_t attrs = op_attr_count(op);
    union attr *attr = arena_new_array(graph->arena, union attr, attrs);
    if (call->attr)
        memcpy(attr, call->attr, attrs * sizeof *attr);
    else
        op_defaults(graph->arena, op, attr);
    c.attr = attr;
    if ((op->flags & OP_LEAF) && call->types) {
        c.out_count = 1;
        out_types[0] = *call->types;
    } else if (!inputs_fit(&c) || !op->shape(&c)) {
        return NODE_NONE;
    }
    for (uint32_t k = 0; k < c.out_count; k++)
        if (!result_fits(&c, &out_types[k]))
            return NODE_NONE;
    uint32_t id = add_node(graph, call, attr);
    add_results(graph, id, &c);
    if (op->flags & OP_COUNTS)
        graph->axes[out_types[0].dim[0].axis].counter = graph->nodes[id].out[0];
    return id;
}

uint32_t graph_emit(struct graph *graph, const struct op *op, const uint32_t *in, uint32_t in_count,
                    const union attr *attr, const struct node *like)
{
    struct node_call call = {.op = op, .in = in, .in_count = in_count, .attr = attr};
    if (like) {
        call.origin = like->origin;
        call.process = like->process;
        call.stream = like->stream;
    }
    uint32_t id = graph_call(graph, &call);
    BUG_ON(id == NODE_NONE);
    return graph->nodes[id].out[0];
}

/* --- names -------------------------------------------------------------------------------- */

void graph_input(struct graph *graph, const char *name, uint32_t value)
{
    graph->inputs = arena_grow(graph->arena, graph->inputs, graph->input_count,
                               &graph->input_capacity, sizeof *graph->inputs);
    graph->inputs[graph->input_count++] = (struct binding){arena_strdup(graph->arena, name), value};
}

void graph_output(struct graph *graph, const char *name, uint32_t value)
{
    graph->outputs = arena_grow(graph->arena, graph->outputs, graph->output_count,
                                &graph->output_capacity, sizeof *graph->outputs);
    graph->outputs[graph->output_count++] =
        (struct binding){arena_strdup(graph->arena, name), value};
}

void graph_name(struct graph *graph, const char *name, uint32_t value)
{
    graph->names = arena_grow(graph->arena, graph->names, graph->named_count,
                              &graph->named_capacity, sizeof *graph->names);
    graph->names[graph->named_count++] = (struct binding){arena_strdup(graph->arena, name), value};
}

uint32_t graph_find(const struct graph *graph, const char *name)
{
    for (uint32_t i = 0; i < graph->named_count; i++)
        if (strcmp(graph->names[i].name, name) == 0)
            return graph->names[i].value;
    return VALUE_NONE;
}

/* --- edits -------------------------------------------------------------------------------- */

void graph_replace(struct graph *graph, const uint32_t *from, const uint32_t *to, uint32_t count)
{
    if (count == 0)
        return;
    uint32_t *map = arena_new_array(graph->arena, uint32_t, graph->value_count);
    for (uint32_t i = 0; i < count; i++)
        map[from[i]] = to[i];
    for (uint32_t n = 0; n < graph->node_count; n++)
        for (uint32_t i = 0; i < graph->nodes[n].in_count; i++)
            if (map[graph->nodes[n].in[i]])
                graph->nodes[n].in[i] = map[graph->nodes[n].in[i]];
    for (uint32_t i = 0; i < graph->output_count; i++)
        if (map[graph->outputs[i].value])
            graph->outputs[i].value = map[graph->outputs[i].value];
    for (uint32_t i = 0; i < graph->named_count; i++)
        if (map[graph->names[i].value])
            graph->names[i].value = map[graph->names[i].value];
    if (map[graph->minimize])
        graph->minimize = map[graph->minimize];
}

void graph_sweep(struct graph *graph)
{
    uint8_t *live = arena_new_array(graph->arena, uint8_t, graph->node_count);
    for (uint32_t i = 0; i < graph->output_count; i++)
        live[graph->values[graph->outputs[i].value].node] = 1;
    if (graph->minimize)
        live[graph->values[graph->minimize].node] = 1;
    for (uint32_t i = 0; i < graph->input_count; i++)
        live[graph->values[graph->inputs[i].value].node] = 1; /* the caller supplies it anyhow */
    for (uint32_t i = graph->order_count; i-- > 0;) {
        uint32_t id = graph->order[i];
        struct node *n = &graph->nodes[id];
        if (n->dead)
            continue;
        if (!live[id] && !(n->op->flags & OP_EFFECT) && !n->op->updates) {
            n->dead = true;
            continue;
        }
        for (uint32_t k = 0; k < n->in_count; k++)
            if (n->in[k])
                live[graph->values[n->in[k]].node] = 1;
    }
    for (uint32_t i = 0; i < graph->named_count; i++)
        if (graph->names[i].value && graph->nodes[graph->values[graph->names[i].value].node].dead)
            graph->names[i].value = VALUE_NONE;
}

struct ordering {
    struct graph *graph;
    uint8_t *seen;
    uint32_t *out, count;
};

/* Depth-first without recursion: a 24-layer model is thousands of nodes deep. */
static void order_from(struct ordering *o, uint32_t root, uint32_t *stack)
{
    struct graph *g = o->graph;
    uint32_t depth = 0;
    stack[depth++] = root;
    while (depth) {
        uint32_t n = stack[depth - 1];
        if (o->seen[n] == 2) {
            depth--;
            continue;
        }
        uint32_t waiting = depth;
        if (o->seen[n] == 0) {
            o->seen[n] = 1;
            for (uint32_t i = g->nodes[n].in_count; i-- > 0;) {
                uint32_t v = g->nodes[n].in[i];
                uint32_t p = v ? g->values[v].node : n;
                if (v && o->seen[p] == 0)
                    stack[depth++] = p;
                BUG_ON(v && g->nodes[p].dead);
            }
        }
        if (depth == waiting) {
            o->seen[n] = 2;
            o->out[o->count++] = n;
            depth--;
        }
    }
}

void graph_order(struct graph *graph)
{
    uint32_t edges = graph->node_count;
    for (uint32_t n = 0; n < graph->node_count; n++)
        edges += graph->nodes[n].in_count;
    struct ordering o = {graph, arena_new_array(graph->arena, uint8_t, graph->node_count),
                         arena_new_array(graph->arena, uint32_t, graph->node_count), 0};
    uint32_t *stack = arena_new_array(graph->arena, uint32_t, edges + 1);
    for (uint32_t i = 0; i < graph->order_count; i++) {
        uint32_t n = graph->order[i];
        if (!graph->nodes[n].dead && o.seen[n] == 0)
            order_from(&o, n, stack);
    }
    graph->order = o.out;
    graph->order_count = o.count;
    graph->order_capacity = graph->node_count;
}
