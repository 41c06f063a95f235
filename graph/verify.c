/* Checks a graph. Called between passes by tests and debug builds, and by tests of elaboration. */
#include "graph/verify.h"
#include "graph/op.h"

#include <string.h>

struct verifier {
    const struct graph *graph;
    struct diags *diags;
    struct arena *arena;  /* for the time of the check */
    struct graph scratch; /* in which shape rules run again */
    struct diags *refusals;
    bool *made;        /* by value: by a node that came earlier in the order */
    uint32_t *at;      /* by node: 1 + its place in the order */
    uint32_t *row;     /* by value: 1 + the state row its bytes are in (views included), or 0 */
    uint32_t *version; /* by value: of that row */
    uint32_t *now;     /* by row: the version it holds so far */
    bool good;
};

/* Reports at node ID. */
static void broken(struct verifier *v, uint32_t id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void broken(struct verifier *v, uint32_t id, const char *format, ...)
{
    const struct graph *g = v->graph;
    const struct node *n = id < g->node_count ? &g->nodes[id] : NULL;
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(v->arena, format, args);
    va_end(args);
    struct span span = n && n->origin ? n->origin->span : (struct span){0};
    const char *name = NULL;
    if (n && n->out_count && n->out[0] < g->value_count)
        name = g->values[n->out[0]].name;
    v->good = false;
    if (!n)
        diag_error(v->diags, FAULT_RUN, span, "graph `%s` is broken: %s", g->name, text);
    else
        diag_error(v->diags, FAULT_RUN, span, "graph `%s` is broken at node %u, `%s`%s%s%s: %s",
                   g->name, id, n->op->name, name ? " (" : "", name ? name : "", name ? ")" : "",
                   text);
}

/* --- the order ---------------------------------------------------------------------------- */

/* False when the order itself cannot be walked. */
static bool check_order(struct verifier *v)
{
    const struct graph *g = v->graph;
    for (uint32_t i = 0; i < g->order_count; i++) {
        uint32_t id = g->order[i];
        if (id >= g->node_count)
            broken(v, NODE_NONE, "the order names node %u of %u", id, g->node_count);
        else if (v->at[id])
            broken(v, id, "it stands in the order twice");
        else
            v->at[id] = i + 1;
        if (id < g->node_count && g->nodes[id].dead)
            broken(v, id, "it is dead but stands in the order");
    }
    for (uint32_t id = 0; id < g->node_count; id++)
        if (!g->nodes[id].dead && !v->at[id])
            broken(v, id, "it is not dead but missing in the order");
    return v->good;
}

/* --- values ------------------------------------------------------------------------------- */

/* Whether all inputs of a node can be looked at. */
static bool check_inputs(struct verifier *v, uint32_t id)
{
    const struct graph *g = v->graph;
    const struct node *n = &g->nodes[id];
    bool good = true;
    for (uint32_t i = 0; i < n->in_count; i++) {
        uint32_t in = n->in[i];
        if (in == VALUE_NONE || (in < g->value_count && v->made[in]))
            continue;
        good = false;
        if (in >= g->value_count)
            broken(v, id, "input %u is value %u of %u", i, in, g->value_count);
        else if (g->values[in].node < g->node_count && g->nodes[g->values[in].node].dead)
            broken(v, id, "input %u comes from node %u, which is dead", i, g->values[in].node);
        else
            broken(v, id, "input %u comes from node %u, which stands later in the order", i,
                   g->values[in].node);
    }
    return good;
}

static bool check_outputs(struct verifier *v, uint32_t id)
{
    const struct graph *g = v->graph;
    const struct node *n = &g->nodes[id];
    bool good = true;
    for (uint32_t k = 0; k < n->out_count; k++) {
        uint32_t out = n->out[k];
        bool known = out != VALUE_NONE && out < g->value_count;
        if (known && g->values[out].node == id && g->values[out].result == k)
            continue;
        good = false;
        if (known)
            broken(v, id, "its result %u, value %u, says that it is result %u of node %u", k, out,
                   g->values[out].result, g->values[out].node);
        else
            broken(v, id, "its result %u is value %u of %u", k, out, g->value_count);
    }
    return good;
}

/* --- types -------------------------------------------------------------------------------- */

/* The first axis is short: its size is that of the axis, and what counts it came before. */
static bool check_axis(struct verifier *v, uint32_t id, const struct dim *d)
{
    const struct graph *g = v->graph;
    if (d->axis >= g->axis_count) {
        broken(v, id, "a type names axis %u of %u", d->axis, g->axis_count);
        return false;
    }
    const struct axis *axis = &g->axes[d->axis];
    if (d->size != axis->size)
        broken(v, id, "axis `%s` is planned for %lld rows, not %lld", axis->name,
               (long long)axis->size, (long long)d->size);
    if (axis->counter && axis->counter < g->value_count && !v->made[axis->counter] &&
        g->values[axis->counter].node != id)
        broken(v, id, "axis `%s` is not counted before", axis->name);
    return true;
}

static bool check_type(struct verifier *v, uint32_t id, const struct type *t)
{
    const struct graph *g = v->graph;
    if (t->rank > TENSOR_RANK_MAX || t->dtype >= DT_COUNT) {
        broken(v, id, "a result has no valid type");
        return false;
    }
    for (uint32_t i = 0; i < t->rank; i++) {
        if (t->dim[i].size < 1) {
            broken(v, id, "a result is empty: %s", type_print(v->arena, g, t));
            return false;
        }
        if (t->dim[i].axis && i > 0) {
            broken(v, id, "axis %u of a result is short; only the first may be", i);
            return false;
        }
    }
    if (t->rank && t->dim[0].axis && !check_axis(v, id, &t->dim[0]))
        return false;
    if (t->process > g->process_count) {
        broken(v, id, "a type names process %u of %u", t->process, g->process_count);
        return false;
    }
    if ((t->dtype == DT_TOKEN) != (t->process != 0))
        broken(v, id, "a result is %s %s", dtype_name(t->dtype),
               t->process ? "but has the alphabet of a process" : "without a process");
    return true;
}

/* A rule that counts makes an axis of its own each time it runs. */
static void rename_axis(const struct verifier *v, struct type *got, const struct type *has)
{
    if (got->rank && has->rank && got->dim[0].axis >= v->graph->axis_count)
        got->dim[0].axis = has->dim[0].axis;
}

/* The shape rule in the scratch graph: whose tables are those of the graph, and whose arena and
 * diagnostics go away. */
static void check_rule(struct verifier *v, uint32_t id)
{
    const struct graph *g = v->graph;
    const struct node *n = &g->nodes[id];
    struct node_call call = {.op = n->op,
                             .in = n->in,
                             .in_count = n->in_count,
                             .attr = n->attr,
                             .origin = n->origin,
                             .process = n->process};
    if (n->op->flags & OP_LEAF)
        return;
    uint32_t copy = graph_call(&v->scratch, &call);
    if (copy == NODE_NONE) {
        char *why = diags_render(v->refusals, false);
        why[strcspn(why, "\n")] = 0;
        broken(v, id, "its rule refuses it: %s", why);
        return;
    }
    const struct node *c = &v->scratch.nodes[copy];
    if (c->out_count != n->out_count)
        broken(v, id, "it has %u results, by its rule %u", n->out_count, c->out_count);
    for (uint32_t k = 0; k < n->out_count && k < c->out_count; k++) {
        const struct type *has = &g->values[n->out[k]].type;
        struct type got = v->scratch.values[c->out[k]].type;
        if (n->op->flags & OP_COUNTS)
            rename_axis(v, &got, has);
        if (!type_equal(&got, has))
            broken(v, id, "result %u is %s, by its rule %s", k, type_print(v->arena, g, has),
                   type_print(v->arena, g, &got));
    }
    v->scratch.value_count = g->value_count;
    v->scratch.node_count = g->node_count;
    v->scratch.order_count = g->order_count;
    v->scratch.axis_count = g->axis_count;
}

static bool check_attrs(struct verifier *v, uint32_t id)
{
    const struct node *n = &v->graph->nodes[id];
    for (uint32_t i = 0; i < op_attr_count(n->op); i++) {
        const struct op_attr *spec = &n->op->attrs[i];
        int64_t count = 0;
        while (spec->kind == ATTR_CHOICE && spec->choices[count])
            count++;
        if (spec->kind != ATTR_CHOICE || (n->attr[i].integer >= 0 && n->attr[i].integer < count))
            continue;
        broken(v, id, "attribute `%s` is choice %lld of %lld", spec->name,
               (long long)n->attr[i].integer, (long long)count);
        return false;
    }
    if (n->process > v->graph->process_count) {
        broken(v, id, "it names process %u of %u", n->process, v->graph->process_count);
        return false;
    }
    if ((n->op->flags & OP_PROCESS) && !n->process) {
        broken(v, id, "it names no process");
        return false;
    }
    return true;
}

/* --- state -------------------------------------------------------------------------------- */

/* USER is what is read by: "input 2", "output `y`". */
static void check_read(struct verifier *v, uint32_t id, uint32_t value, const char *user)
{
    uint32_t row = v->row[value];
    if (row && v->version[value] != v->now[row - 1])
        broken(v, id, "%s is `%s` v%u, of which v%u was written before", user,
               v->graph->states->rows[row - 1].name, v->version[value], v->now[row - 1]);
}

static bool is_state_leaf(const struct op *op)
{
    return strcmp(op->name, "state") == 0;
}

static void check_result_row(struct verifier *v, uint32_t id, uint32_t k)
{
    const struct graph *g = v->graph;
    const struct node *n = &g->nodes[id];
    const struct value *value = &g->values[n->out[k]];
    bool must =
        is_state_leaf(n->op) || k < n->op->updates || (k == 0 && (n->op->flags & OP_EFFECT));
    if (!value->state) {
        if (must)
            broken(v, id, "result %u has no state row", k);
        return;
    }
    if (value->state > g->states->count) {
        broken(v, id, "result %u is state row %u of %u", k, value->state - 1, g->states->count);
        return;
    }
    const struct state_row *row = &g->states->rows[value->state - 1];
    if (!type_equal(&row->type, &value->type))
        broken(v, id, "result %u is %s, its row `%s` is %s", k,
               type_print(v->arena, g, &value->type), row->name,
               type_print(v->arena, g, &row->type));
    v->row[n->out[k]] = value->state;
    v->version[n->out[k]] = value->version;
    if (is_state_leaf(n->op)) {
        if (value->version)
            broken(v, id, "it reads `%s` as found, but calls it v%u", row->name, value->version);
        return;
    }
    if (k < n->op->updates && v->row[n->in[k]] != value->state)
        broken(v, id, "it writes `%s` but does not read it", row->name);
    if (value->version != v->now[value->state - 1] + 1)
        broken(v, id, "it writes `%s` v%u after v%u", row->name, value->version,
               v->now[value->state - 1]);
    v->now[value->state - 1] = value->version;
}

static void check_state(struct verifier *v, uint32_t id)
{
    const struct node *n = &v->graph->nodes[id];
    for (uint32_t i = 0; i < n->in_count; i++)
        check_read(v, id, n->in[i], arena_printf(v->arena, "input %u", i));
    for (uint32_t k = 0; k < n->out_count; k++)
        check_result_row(v, id, k);
    if ((n->op->flags & OP_VIEW) && n->in_count && n->out_count && !v->row[n->out[0]]) {
        v->row[n->out[0]] = v->row[n->in[0]];
        v->version[n->out[0]] = v->version[n->in[0]];
    }
}

/* --- the whole ---------------------------------------------------------------------------- */

static bool check_named(struct verifier *v, const char *what, const char *name, uint32_t value)
{
    const struct graph *g = v->graph;
    if (value != VALUE_NONE && value < g->value_count && v->made[value])
        return true;
    broken(v, NODE_NONE, "%s `%s` is value %u, which no live node makes", what, name, value);
    return false;
}

static void check_ends(struct verifier *v)
{
    const struct graph *g = v->graph;
    for (uint32_t i = 0; i < g->input_count; i++) {
        uint32_t value = g->inputs[i].value;
        if (value >= g->value_count)
            broken(v, NODE_NONE, "input `%s` is value %u of %u", g->inputs[i].name, value,
                   g->value_count);
        else if (v->made[value] && !(g->nodes[g->values[value].node].op->flags & OP_LEAF))
            broken(v, g->values[value].node, "it makes the input `%s` of the program",
                   g->inputs[i].name);
    }
    for (uint32_t i = 0; i < g->output_count; i++)
        if (check_named(v, "output", g->outputs[i].name, g->outputs[i].value))
            check_read(v, g->values[g->outputs[i].value].node, g->outputs[i].value,
                       arena_printf(v->arena, "output `%s`", g->outputs[i].name));
    if (!g->minimize || !check_named(v, "the loss of", "minimize", g->minimize))
        return;
    const struct type *t = graph_type(g, g->minimize);
    if (t->rank || (t->dtype != DT_F32 && t->dtype != DT_F64))
        broken(v, g->values[g->minimize].node, "it is minimised but %s",
               type_print(v->arena, g, t));
}

static void check_axes(struct verifier *v)
{
    const struct graph *g = v->graph;
    for (uint32_t i = 1; i < g->axis_count; i++) {
        const struct axis *axis = &g->axes[i];
        if (axis->size < 1)
            broken(v, NODE_NONE, "axis `%s` has size %lld", axis->name, (long long)axis->size);
        if (!axis->counter)
            continue;
        if (axis->counter >= g->value_count) {
            broken(v, NODE_NONE, "axis `%s` is counted by value %u of %u", axis->name,
                   axis->counter, g->value_count);
            continue;
        }
        const struct value *value = &g->values[axis->counter];
        if (v->made[axis->counter] && (!(g->nodes[value->node].op->flags & OP_COUNTS) ||
                                       value->type.rank == 0 || value->type.dim[0].axis != i))
            broken(v, value->node, "it is to count axis `%s` but does not", axis->name);
    }
}

static void check_nodes(struct verifier *v)
{
    const struct graph *g = v->graph;
    for (uint32_t i = 0; i < g->order_count; i++) {
        uint32_t id = g->order[i];
        const struct node *n = &g->nodes[id];
        bool inputs = check_inputs(v, id), outputs = check_outputs(v, id), types = true;
        if (outputs) {
            for (uint32_t k = 0; k < n->out_count; k++)
                types &= check_type(v, id, &g->values[n->out[k]].type);
            for (uint32_t k = 0; k < n->out_count; k++)
                v->made[n->out[k]] = true;
        }
        if (!inputs || !outputs || !types)
            continue;
        if (check_attrs(v, id))
            check_rule(v, id);
        check_state(v, id);
    }
}

bool graph_verify(const struct graph *graph, struct diags *diags)
{
    struct arena *arena = arena_new();
    struct verifier v = {.graph = graph,
                         .diags = diags,
                         .arena = arena,
                         .scratch = *graph,
                         .refusals = diags_new(arena),
                         .made = arena_new_array(arena, bool, graph->value_count),
                         .at = arena_new_array(arena, uint32_t, graph->node_count),
                         .row = arena_new_array(arena, uint32_t, graph->value_count),
                         .version = arena_new_array(arena, uint32_t, graph->value_count),
                         .now = arena_new_array(arena, uint32_t, graph->states->count),
                         .good = true};
    /* A full table is copied before it grows: the graph's own stay as they are. */
    v.scratch.arena = arena;
    v.scratch.diags = v.refusals;
    v.scratch.value_capacity = graph->value_count;
    v.scratch.node_capacity = graph->node_count;
    v.scratch.order_capacity = graph->order_count;
    v.scratch.axes = arena_new_array(arena, struct axis, graph->axis_count);
    v.scratch.axis_capacity = graph->axis_count;
    memcpy(v.scratch.axes, graph->axes, graph->axis_count * sizeof *graph->axes);
    if (check_order(&v)) {
        check_nodes(&v);
        check_axes(&v);
        check_ends(&v);
    }
    arena_free(arena);
    return v.good;
}
