/* Calls, and what a call to an op makes: its parameters and its node. Calls to blocks are expanded
 * in block.c. Called by the elaborator. */
#include "graph/base/check.h"
#include "graph/base/random.h"
#include "graph/scope.h"

#include <string.h>

/* Far above any network, and far below what blocks that call each other twice can ask for. */
#define NODES_MAX 400000

/* --- parameters --------------------------------------------------------------------------- */

static bool claim(struct scope *s, uint32_t row, struct span span, bool tie)
{
    struct elaborator *e = s->e;
    for (uint32_t i = 0; i < e->owner_count; i++) {
        if (e->owners[i].row != row || tie)
            continue;
        scope_error(s, span, "parameter `%s` has two owners", e->graph->states->rows[row].name);
        diag_trail(e->graph->diags, e->owners[i].span, "the other one");
        diag_hint(e->graph->diags,
                  "give one a name of its own with `as:`, or say `tie: true` to share "
                  "the weights");
        return false;
    }
    e->owners = arena_grow(e->graph->arena, e->owners, e->owner_count, &e->owner_capacity,
                           sizeof *e->owners);
    e->owners[e->owner_count++] = (struct owner){row, span};
    return true;
}

/* The value that reads a row: one node per row and program, so that gradients meet there. */
static uint32_t read_row(struct scope *s, uint32_t row, struct span span)
{
    struct elaborator *e = s->e;
    struct graph *g = e->graph;
    if (row >= e->row_capacity) {
        uint32_t capacity = row * 2 + 64;
        uint32_t *grown = arena_new_array(g->arena, uint32_t, capacity);
        if (e->row_capacity)
            memcpy(grown, e->row_values, e->row_capacity * sizeof *grown);
        e->row_values = grown;
        e->row_capacity = capacity;
    }
    if (e->row_values[row])
        return e->row_values[row];
    struct type type = g->states->rows[row].type;
    struct node_call call = {
        .op = op_find(g->table, "state"), .types = &type, .origin = origin_at(s, span)};
    uint32_t id = graph_call(g, &call);
    if (id == NODE_NONE)
        return VALUE_NONE;
    uint32_t v = g->nodes[id].out[0];
    g->values[v].state = row + 1;
    g->values[v].name = g->states->rows[row].name;
    return e->row_values[row] = v;
}

static uint32_t parameter(struct scope *s, const char *state, const struct op_param *p,
                          struct span span, bool tie)
{
    struct graph *g = s->e->graph;
    struct state_row row = {.name = join_path(g->arena, state, p->name),
                            .class = STATE_PARAMETER,
                            .type = p->type,
                            .init = p->init,
                            .scale = p->scale,
                            .span = span};
    uint32_t at;
    if (!row.name[0]) {
        scope_error(s, span, "this parameter has no name");
        diag_hint(g->diags, "name it with `as:`");
        return VALUE_NONE;
    }
    if (!state_declare(g->states, g->arena, g->diags, &row, &at)) {
        origin_trail(g->diags, s->caller);
        return VALUE_NONE;
    }
    if (!claim(s, at, span, tie))
        return VALUE_NONE;
    if (s->e->ema) {
        struct state_row ema = row;
        ema.name = arena_printf(g->arena, "ema/%s", row.name);
        ema.class = STATE_EMA;
        ema.init = INIT_COPY;
        ema.owner = at;
        if (!state_declare(g->states, g->arena, g->diags, &ema, &at))
            return VALUE_NONE;
    }
    return read_row(s, at, span);
}

static bool add_parameters(struct scope *s, const struct node_call *call, const char *state,
                           struct span span, bool tie, uint32_t *in, uint32_t *count)
{
    if (!call->op->params)
        return true;
    struct graph *g = s->e->graph;
    struct type types[OP_RESULT_MAX * 8];
    for (uint32_t i = 0; i < *count; i++) {
        types[i] = g->values[in[i]].type;
        if (!in[i])
            types[i].rank = TYPE_ABSENT;
    }
    struct op_param params[8];
    struct op_call c = {.graph = g,
                        .op = call->op,
                        .in_count = *count,
                        .in = types,
                        .attr = call->attr,
                        .process = call->process,
                        .chain = call->process ? &g->processes[call->process - 1].chain : NULL,
                        .origin = call->origin};
    uint32_t before = diags_errors(g->diags), n = call->op->params(&c, params);
    if (diags_errors(g->diags) != before)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        in[*count] = parameter(s, state, &params[i], span, tie);
        if (!in[(*count)++])
            return false;
    }
    return true;
}

/* --- ops ---------------------------------------------------------------------------------- */

/* The process an op speaks of: named, else that of a token input, else the first. */
static bool find_process(struct scope *s, const struct op *op, const struct yaml *map,
                         const uint32_t *in, uint32_t count, uint32_t *out)
{
    struct model *m = s->e->model;
    const struct yaml *named = yaml_get(map, "process");
    *out = 0;
    for (uint32_t i = 0; i < m->process_count && named && named->kind == YAML_SCALAR; i++)
        if (strcmp(m->processes[i].name, named->text) == 0)
            *out = i + 1;
    if (named && !*out)
        return scope_error(s, named->span, "no process is called `%s`",
                           yaml_print(m->arena, named));
    for (uint32_t i = 0; i < count && !*out; i++)
        *out = s->e->graph->values[in[i]].type.process;
    if (!*out && (op->flags & OP_PROCESS)) {
        if (!m->process_count)
            return scope_error(s, map->keys[0]->span, "`%s` needs a `process:` in the model",
                               op->name);
        *out = 1;
    }
    return true;
}

/* `want: sigma` picks one result by name. */
static bool pick_results(struct scope *s, const struct op *op, const struct yaml *map,
                         const uint32_t *all, uint32_t visible, uint32_t *out, uint32_t max,
                         uint32_t *count)
{
    const struct yaml *want = yaml_get(map, "want");
    if (want) {
        for (uint32_t k = 0; k < visible && op->results && want->kind == YAML_SCALAR; k++) {
            if (op->results[k] && strcmp(op->results[k], want->text) == 0) {
                out[0] = all[k];
                *count = 1;
                return true;
            }
        }
        struct arena *a = s->e->graph->arena;
        char *names = arena_strdup(a, "");
        for (uint32_t k = 0; k < visible && op->results && op->results[k]; k++)
            names = arena_printf(a, "%s%s%s", names, k ? ", " : "", op->results[k]);
        scope_error(s, want->span, "`%s` has no result `%s`", op->name, yaml_print(a, want));
        diag_hint(s->e->graph->diags, "there are: %s", names);
        return false;
    }
    *count = visible < max ? visible : max;
    memcpy(out, all, *count * sizeof *out);
    return true;
}

/* The component of names that `as:` gives, and whether `tie: true` allows a second owner. */
bool call_naming(struct scope *s, const struct yaml *map, const char **as, bool *tied)
{
    const struct yaml *name = yaml_get(map, "as"), *tie = yaml_get(map, "tie");
    *as = name ? name->text : "";
    *tied = s->tie;
    if (name && !scope_expect(s, name, YAML_SCALAR, "as"))
        return false;
    if (!tie)
        return true;
    bool given;
    if (tie->kind != YAML_SCALAR || !yaml_bool(tie, &given))
        return scope_error(s, tie->span, "`tie` is true or false");
    *tied |= given;
    return true;
}

/* A hash of 32 bits can meet another one, and a nested call can have the path of a value in a
 * block: two draws of one program must never be the same. */
static uint32_t own_stream(struct scope *s, const char *path)
{
    struct graph *g = s->e->graph;
    path = join_path(g->arena, g->name, path);
    for (;;) {
        uint32_t stream = random_stream(path), n = 0;
        while (n < g->node_count &&
               !((g->nodes[n].op->flags & OP_RANDOM) && g->nodes[n].stream == stream))
            n++;
        if (n == g->node_count)
            return stream;
        path = arena_printf(g->arena, "%s'", path);
    }
}

static bool call_op(struct scope *s, const struct op *op, const struct yaml *map, const char *path,
                    uint32_t *out, uint32_t max, uint32_t *count)
{
    struct graph *g = s->e->graph;
    struct span span = map->keys[0]->span;
    uint32_t in[OP_RESULT_MAX * 8 + 8], in_count = 0, results[OP_RESULT_MAX];
    union attr *attr = arena_new_array(g->arena, union attr, op_attr_count(op));
    const char *as;
    bool tied;
    struct node_call call = {.op = op, .attr = attr, .origin = origin_at(s, span)};

    if (!op_attributes(s, op, map, attr) || !op_arguments(s, op, map, path, in, &in_count) ||
        !find_process(s, op, map, in, in_count, &call.process) ||
        !call_naming(s, map, &as, &tied) ||
        !add_parameters(s, &call, join_path(g->arena, s->state, as), span, tied, in, &in_count))
        return false;
    call.in = in;
    call.in_count = in_count;
    call.stream = op->flags & OP_RANDOM ? own_stream(s, path)
                                        : random_stream(join_path(g->arena, g->name, path));
    uint32_t id = graph_call(g, &call);
    if (id == NODE_NONE)
        return false;
    uint32_t visible = op->visible ? op->visible : g->nodes[id].out_count;
    memcpy(results, g->nodes[id].out, g->nodes[id].out_count * sizeof *results);
    if (op->expand) {
        struct op_call c = {.graph = g,
                            .op = op,
                            .in_count = in_count,
                            .attr = attr,
                            .process = call.process,
                            .origin = call.origin};
        g->nodes[id].dead = true;
        if (!op->expand(&c, in, results))
            return false;
    }
    return pick_results(s, op, map, results, visible, out, max, count);
}

/* --- one call ----------------------------------------------------------------------------- */

static bool unknown_op(struct scope *s, const struct yaml *key)
{
    const struct op_table *t = s->e->graph->table;
    const struct sections *blocks = &s->e->model->blocks;
    const char **names =
        arena_new_array(s->e->graph->arena, const char *, t->count + blocks->count + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (!(t->ops[i]->flags & OP_INTERNAL))
            names[n++] = t->ops[i]->name;
    for (uint32_t i = 0; i < blocks->count; i++)
        names[n++] = blocks->items[i].name;
    names[n++] = "repeat";
    scope_error(s, key->span, "no op or block is called `%s`", key->text);
    const char *near = diag_nearest(key->text, names, n);
    if (near)
        diag_hint(s->e->graph->diags, "did you mean `%s`?", near);
    else
        diag_hint(s->e->graph->diags, "sedge ops lists the ops");
    return false;
}

bool scope_call(struct scope *s, const struct yaml *map, const char *path, uint32_t *out,
                uint32_t max, uint32_t *count)
{
    if (map->kind != YAML_MAP || map->count == 0)
        return scope_error(s, map->span, "a call is expected here: {op: inputs, attribute: value}");
    const struct yaml *key = map->keys[0];
    if (s->e->graph->node_count > NODES_MAX) {
        bool told = s->e->full;
        s->e->full = true;
        return !told && scope_error(s, key->span, "the program has more than %d nodes", NODES_MAX);
    }
    if (strcmp(key->text, "repeat") == 0)
        return call_repeat(s, map, path, out, max, count);
    const struct section *block = section_find(&s->e->model->blocks, key->text);
    if (block)
        return call_block(s, block, map, path, out, max, count);
    const struct op *op = op_find(s->e->graph->table, key->text);
    if (!op || (op->flags & (OP_INTERNAL | OP_LEAF)))
        return unknown_op(s, key);
    return call_op(s, op, map, path, out, max, count);
}
