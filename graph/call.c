/* Calls: to an op (with the parameters it owns), to a block (expanded), and `repeat` (unrolled). */
#include "graph/base/check.h"
#include "graph/base/random.h"
#include "graph/scope.h"

#include <string.h>

#define DEPTH_MAX 32

/* --- parameters --------------------------------------------------------------------------- */

static bool claim(struct scope *s, uint32_t row, struct span span, bool tie)
{
    struct elaborator *e = s->e;
    for (uint32_t i = 0; i < e->owner_count; i++) {
        if (e->owners[i].row != row || tie)
            continue;
        scope_error(s, span, "parameter `%s` has two owners", e->graph->states->rows[row].name);
        diag_trail(e->graph->diags, e->owners[i].span, "the other one");
        diag_hint(e->graph->diags, "give one a name of its own with `as:`, or say `tie: true` to share "
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
    struct node_call call = {.op = op_find(g->table, "state"),
                             .types = &type,
                             .origin = origin_at(s, span)};
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
    if (!state_declare(g->states, g->arena, g->diags, &row, &at) || !claim(s, at, span, tie))
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
        return scope_error(s, named->span, "no process of that name");
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
        return scope_error(s, want->span, "`%s` has no such result", op->name);
    }
    *count = visible < max ? visible : max;
    memcpy(out, all, *count * sizeof *out);
    return true;
}

/* The component of names that `as:` gives, and whether `tie: true` allows a second owner. */
static bool read_naming(struct scope *s, const struct yaml *map, const char **as, bool *tied)
{
    struct diags *d = s->e->graph->diags;
    const struct yaml *name = yaml_get(map, "as"), *tie = yaml_get(map, "tie");
    *as = name ? name->text : "";
    *tied = s->tie;
    if (name && !yaml_expect(d, name, YAML_SCALAR, "as"))
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
        while (n < g->node_count && !((g->nodes[n].op->flags & OP_RANDOM) &&
                                      g->nodes[n].stream == stream))
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
        !read_naming(s, map, &as, &tied) ||
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

/* --- blocks ------------------------------------------------------------------------------- */

/* An input of the block as the caller wrote it: in a list by position, or under its name. */
static const struct yaml *block_input(const struct yaml *map, uint32_t i, const char *name)
{
    const struct yaml *written = map->items[0];
    if (written->kind == YAML_LIST)
        return i < written->count ? written->items[i] : yaml_get(map, name);
    return i == 0 ? written : yaml_get(map, name);
}

static bool open_block(struct scope *s, const struct section *block, struct scope *inner,
                       const char *path, const char *state, struct span span, bool tie)
{
    if (s->depth == DEPTH_MAX) {
        scope_error(s, span, "blocks are nested too deeply: does `%s` call itself?", block->name);
        return false;
    }
    *inner = (struct scope){.e = s->e,
                            .path = path,
                            .state = state,
                            .caller = origin_at(s, span),
                            .tie = tie,
                            .depth = s->depth + 1};
    return true;
}

/* An argument of a block as a value: a number takes the element type that the block declares. */
static bool argument_value(struct scope *s, const struct argument *arg, const struct yaml *type,
                           uint32_t *out)
{
    *out = arg->value;
    if (!arg->literal)
        return true;
    enum dtype dtype = arg->number.kind == NUMBER_BOOL ? DT_BOOL : DT_F64;
    if (dtype == DT_F64 && type->kind == YAML_LIST && type->count &&
        type->items[0]->kind == YAML_SCALAR) {
        if (strcmp(type->items[0]->text, "f32") == 0)
            dtype = DT_F32;
        else if (strcmp(type->items[0]->text, "i32") == 0 && arg->number.kind == NUMBER_INT)
            dtype = DT_I32;
    }
    *out = literal_value(s, arg->number, dtype, arg->span);
    return *out != VALUE_NONE;
}

static bool give_input(struct scope *inner, const char *name, const struct yaml *type,
                       uint32_t value)
{
    struct graph *g = inner->e->graph;
    struct type declared;
    if (!scope_type(inner, type, graph_type(g, value), &declared, arena_printf(g->arena, "`%s`", name)))
        return false;
    inner->names = arena_grow(g->arena, inner->names, inner->name_count, &inner->name_capacity,
                              sizeof *inner->names);
    inner->names[inner->name_count++] = (struct binding){name, value};
    return true;
}

static bool check_block(struct scope *s, const struct section *block)
{
    static const char *const keys[] = {"in", "nodes", "out", "doc", NULL};
    struct diags *d = s->e->graph->diags;
    if (!yaml_closed(d, block->body, keys, "a block"))
        return false;
    for (int i = 0; i < 3; i++)
        if (!yaml_get(block->body, keys[i]))
            return scope_error(s, block->span, "block `%s` has no `%s:`", block->name, keys[i]);
    return yaml_expect(d, yaml_get(block->body, "in"), YAML_MAP, "in") &&
           yaml_expect(d, yaml_get(block->body, "nodes"), YAML_MAP, "nodes");
}

static bool block_results(struct scope *inner, const struct section *block, uint32_t *out,
                          uint32_t max, uint32_t *count)
{
    const struct yaml *result = yaml_get(block->body, "out");
    *count = 0;
    uint32_t n = result->kind == YAML_LIST ? result->count : 1;
    for (uint32_t i = 0; i < n && i < max; i++) {
        const struct yaml *item = result->kind == YAML_LIST ? result->items[i] : result;
        if (!yaml_expect(inner->e->graph->diags, item, YAML_SCALAR, "out"))
            return false;
        if (!scope_lookup(inner, item, &out[i], "block `%s` defines no `%s`", block->name,
                          item->text))
            return false;
        (*count)++;
    }
    return true;
}

static bool block_keys(struct scope *s, const struct section *block, const struct yaml *map)
{
    const struct yaml *in = yaml_get(block->body, "in");
    const char *keys[64] = {"as", "tie", map->keys[0]->text};
    uint32_t n = 3;
    for (uint32_t i = 0; i < in->count && n < 63; i++)
        keys[n++] = in->keys[i]->text;
    return yaml_closed(s->e->graph->diags, map, keys,
                       arena_printf(s->e->graph->arena, "a call to `%s`", block->name));
}

static bool call_block(struct scope *s, const struct section *block, const struct yaml *map,
                       const char *path, uint32_t *out, uint32_t max, uint32_t *count)
{
    struct graph *g = s->e->graph;
    struct span span = map->keys[0]->span;
    const char *as;
    bool tied;
    struct scope inner;
    if (!check_block(s, block) || !block_keys(s, block, map) || !read_naming(s, map, &as, &tied) ||
        !open_block(s, block, &inner, path, join_path(g->arena, s->state, as), span, tied))
        return false;
    uint32_t nested = 0;
    const struct yaml *in = yaml_get(block->body, "in");
    if (map->items[0]->kind == YAML_LIST && map->items[0]->count > in->count)
        return scope_error(s, map->items[0]->span, "block `%s` takes %u inputs, not %u", block->name,
                           in->count, map->items[0]->count);
    for (uint32_t i = 0; i < in->count; i++) {
        const char *name = in->keys[i]->text;
        const struct yaml *item = block_input(map, i, name);
        const struct yaml *again = yaml_get(map, name);
        struct argument arg;
        uint32_t value;
        if (!item)
            return scope_error(s, span, "block `%s` needs the input `%s`", block->name, name);
        if (again && again != item && again != map->items[0])
            return scope_error(s, again->span, "the input `%s` is given twice", name);
        if (!scope_argument(s, item, nested_path(s, path, item, &nested), &arg) ||
            !argument_value(s, &arg, in->items[i], &value) ||
            !give_input(&inner, name, in->items[i], value))
            return false;
    }
    return scope_nodes(&inner, yaml_get(block->body, "nodes")) &&
           block_results(&inner, block, out, max, count);
}

/* --- repeat ------------------------------------------------------------------------------- */

/* {repeat: block, times: N, carry: {x: e}, with: {c: c}, as: blocks}: the first carried inputs
 * take the block's results of the turn before, in the order of `carry`. */
struct repeat {
    const struct section *block;
    uint32_t carried[8], carry_count;
    const char *carry_names[8];
    struct binding with[32];
    uint32_t with_count;
    int64_t times;
};

/* The type that the block declares for an input, or NULL after reporting that it has none. */
static const struct yaml *repeat_type(struct scope *s, const struct repeat *r,
                                      const struct yaml *key)
{
    const struct yaml *type = yaml_get(yaml_get(r->block->body, "in"), key->text);
    if (!type)
        scope_error(s, key->span, "block `%s` has no input `%s`", r->block->name, key->text);
    return type;
}

static bool repeat_values(struct scope *s, const struct yaml *map, const char *path,
                          struct repeat *r)
{
    struct diags *d = s->e->graph->diags;
    uint32_t nested = 0;
    const struct yaml *carry = yaml_get(map, "carry"), *with = yaml_get(map, "with");
    if (!carry || !yaml_expect(d, carry, YAML_MAP, "carry") || carry->count == 0 || carry->count > 8)
        return scope_error(s, map->keys[0]->span, "`repeat` needs `carry: {input: start}`");
    for (uint32_t i = 0; i < carry->count; i++) {
        struct argument arg;
        const char *inner = nested_path(s, path, carry->items[i], &nested);
        if (!repeat_type(s, r, carry->keys[i]) || !scope_argument(s, carry->items[i], inner, &arg))
            return false;
        if (!arg.value)
            return scope_error(s, carry->items[i]->span, "a carry starts from a value");
        r->carried[r->carry_count] = arg.value;
        r->carry_names[r->carry_count++] = carry->keys[i]->text;
    }
    if (with && (!yaml_expect(d, with, YAML_MAP, "with") || with->count > 32))
        return false;
    for (uint32_t i = 0; with && i < with->count; i++) {
        struct argument arg;
        struct binding *b = &r->with[r->with_count++];
        const char *inner = nested_path(s, path, with->items[i], &nested);
        const struct yaml *type = repeat_type(s, r, with->keys[i]);
        b->name = with->keys[i]->text;
        if (!type || !scope_argument(s, with->items[i], inner, &arg) ||
            !argument_value(s, &arg, type, &b->value))
            return false;
    }
    return true;
}

static bool repeat_turn(struct scope *s, struct repeat *r, const struct yaml *map, const char *path,
                        const char *state, bool tie)
{
    struct scope inner;
    const struct yaml *in = yaml_get(r->block->body, "in");
    if (!open_block(s, r->block, &inner, path, state, map->keys[0]->span, tie))
        return false;
    for (uint32_t i = 0; i < in->count; i++) {
        const char *name = in->keys[i]->text;
        uint32_t value = VALUE_NONE;
        for (uint32_t k = 0; k < r->carry_count; k++)
            if (strcmp(r->carry_names[k], name) == 0)
                value = r->carried[k];
        for (uint32_t k = 0; k < r->with_count; k++)
            if (strcmp(r->with[k].name, name) == 0)
                value = r->with[k].value;
        if (!value)
            return scope_error(s, map->keys[0]->span, "block `%s` needs the input `%s`",
                               r->block->name, name);
        if (!give_input(&inner, name, in->items[i], value))
            return false;
    }
    uint32_t count;
    if (!scope_nodes(&inner, yaml_get(r->block->body, "nodes")) ||
        !block_results(&inner, r->block, r->carried, r->carry_count, &count))
        return false;
    return count == r->carry_count ||
           scope_error(s, map->keys[0]->span, "block `%s` returns %u values for %u carried ones",
                       r->block->name, count, r->carry_count);
}

static bool call_repeat(struct scope *s, const struct yaml *map, const char *path, uint32_t *out,
                        uint32_t max, uint32_t *count)
{
    static const char *const keys[] = {"repeat", "times", "carry", "with", "as", "tie", NULL};
    struct graph *g = s->e->graph;
    struct repeat r = {0};
    struct number times;
    const struct yaml *n = yaml_get(map, "times");
    const char *as;
    bool tied;
    if (!yaml_closed(g->diags, map, keys, "repeat") || !read_naming(s, map, &as, &tied) ||
        !yaml_expect(g->diags, map->items[0], YAML_SCALAR, "repeat"))
        return false;
    r.block = section_find(&s->e->model->blocks, map->items[0]->text);
    if (!r.block)
        return scope_error(s, map->items[0]->span, "no block is called `%s`", map->items[0]->text);
    if (!n)
        return scope_error(s, map->keys[0]->span, "`repeat` needs `times:`");
    if (!check_block(s, r.block) || !scope_number(s, n, &times))
        return false;
    if (times.kind != NUMBER_INT || times.i < 1 || times.i > 10000)
        return scope_error(s, n->span, "`times` is a whole number from 1 to 10000");
    if (!repeat_values(s, map, path, &r))
        return false;
    for (int64_t i = 0; i < times.i; i++) {
        char *turn = arena_printf(g->arena, "%s.%lld", path, (long long)i);
        char *state = *as ? arena_printf(g->arena, "%s.%lld", as, (long long)i)
                          : arena_strdup(g->arena, "");
        if (!repeat_turn(s, &r, map, turn, join_path(g->arena, s->state, state), tied))
            return false;
    }
    *count = r.carry_count < max ? r.carry_count : max;
    memcpy(out, r.carried, *count * sizeof *out);
    return true;
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
