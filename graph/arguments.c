/* Arguments and attributes of a call to an op: from YAML to values and typed attributes. */
#include "graph/base/check.h"
#include "graph/scope.h"

#include <math.h>
#include <string.h>

/* --- arguments ---------------------------------------------------------------------------- */

static bool unknown_name(struct scope *s, const struct yaml *item)
{
    const char **names = arena_new_array(s->e->graph->arena, const char *, s->name_count);
    for (uint32_t i = 0; i < s->name_count; i++)
        names[i] = s->names[i].name;
    scope_error(s, item->span, "no value or param is called `%s` here", item->text);
    const char *near = diag_nearest(item->text, names, s->name_count);
    if (near)
        diag_hint(s->e->graph->diags, "did you mean `%s`?", near);
    else
        diag_hint(s->e->graph->diags, "a name is defined before it is used");
    return false;
}

static bool is_plain_name(const char *text)
{
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")] ==
               0 &&
           !(text[0] >= '0' && text[0] <= '9') && text[0] != '.';
}

bool scope_argument(struct scope *s, const struct yaml *item, const char *path,
                    struct argument *out)
{
    *out = (struct argument){.span = item->span};
    if (item->kind == YAML_MAP) {
        uint32_t count;
        return scope_call(s, item, path, &out->value, 1, &count);
    }
    if (item->kind == YAML_LIST)
        return scope_error(s, item->span, "a single input is expected here, not a list");
    out->value = scope_find(s, item->text);
    if (out->value)
        return out->value != VALUE_FAILED;
    bool number = !is_plain_name(item->text) || strcmp(item->text, "true") == 0 ||
                  strcmp(item->text, "false") == 0 || model_param(s->e->model, item->text);
    if (!number)
        return unknown_name(s, item);
    out->literal = true;
    return scope_number(s, item, &out->number);
}

uint32_t literal_value(struct scope *s, struct number n, enum dtype dtype, struct span span)
{
    struct graph *g = s->e->graph;
    struct type type = type_scalar(dtype);
    union attr attr = {.real = number_real(n)};
    struct node_call call = {.op = op_find(g->table, "const"),
                             .attr = &attr,
                             .types = &type,
                             .origin = origin_at(s, span)};
    uint32_t id = graph_call(g, &call);
    return id == NODE_NONE ? VALUE_NONE : g->nodes[id].out[0];
}

/* A number takes the type that the op asks for, else that of its neighbours. */
static bool literal_dtype(struct scope *s, const struct op_input *spec, const struct argument *args,
                          uint32_t count, const struct argument *arg, enum dtype *out)
{
    const struct graph *g = s->e->graph;
    bool truth = arg->number.kind == NUMBER_BOOL;
    *out = spec->kind == IN_F32 ? DT_F32 : DT_F64;
    if (spec->kind == IN_BOOL) {
        *out = DT_BOOL;
        return truth || scope_error(s, arg->span, "`%s` must be true or false", spec->name);
    }
    if (spec->kind == IN_TOKEN)
        return scope_error(s, arg->span, "`%s` must be a value of type token, not a number",
                           spec->name);
    if (truth && spec->kind != IN_ANY)
        return scope_error(s, arg->span, "`%s` must be a number", spec->name);
    if (spec->kind == IN_INT || spec->kind == IN_IDS)
        *out = DT_I32;
    if (spec->kind == IN_REAL || spec->kind == IN_ANY) {
        bool found = false;
        for (uint32_t i = 0; i < count; i++) {
            if (args[i].literal || args[i].absent || !args[i].value)
                continue;
            enum dtype d = graph_type(g, args[i].value)->dtype;
            if (d == DT_BOOL && !truth)
                continue; /* the condition of `where` */
            if (d == DT_TOKEN)
                d = DT_I32; /* an id: of which process, a number does not say */
            *out = found && *out == DT_F64 ? DT_F64 : d;
            found = true;
        }
        if (!found)
            *out = truth ? DT_BOOL : DT_F64;
    }
    bool whole = arg->number.kind == NUMBER_INT || arg->number.r == floor(arg->number.r);
    if ((*out == DT_I32 || *out == DT_TOKEN) && !whole)
        return scope_error(s, arg->span, "`%s` must be a whole number", spec->name);
    return true;
}

/* The YAML items written for the positional inputs. */
static uint32_t written_items(const struct yaml *written, const struct yaml *const **items,
                              const struct yaml **single)
{
    if (written->kind == YAML_LIST) {
        *items = (const struct yaml *const *)written->items;
        return written->count;
    }
    *single = written;
    *items = single;
    return 1;
}

struct collector {
    struct scope *s;
    const char *path;
    struct argument *args;
    const struct op_input **specs;
    uint32_t count, max, nested;
};

const char *nested_path(struct scope *s, const char *path, const struct yaml *item, uint32_t *count)
{
    if (item->kind != YAML_MAP || !item->count)
        return path;
    const char *name = item->keys[0]->text;
    struct arena *a = s->e->graph->arena;
    uint32_t n = (*count)++;
    return n ? arena_printf(a, "%s.%s%u", path, name, n) : arena_printf(a, "%s.%s", path, name);
}

static bool collect(struct collector *c, const struct op_input *spec, const struct yaml *item)
{
    struct scope *s = c->s;
    if (c->count == c->max)
        return scope_error(s, item->span, "too many inputs: at most %u", c->max);
    c->specs[c->count] = spec;
    return scope_argument(s, item, nested_path(s, c->path, item, &c->nested), &c->args[c->count++]);
}

static bool collect_named(struct collector *c, const struct op_input *spec, const struct yaml *map)
{
    const struct yaml *item = yaml_get(map, spec->name);
    if (!item) {
        if (!(spec->flags & INPUT_OPTIONAL))
            return scope_error(c->s, map->keys[0]->span, "`%s` needs `%s:`", map->keys[0]->text,
                               spec->name);
        c->specs[c->count] = spec;
        c->args[c->count++] = (struct argument){.absent = true};
        return true;
    }
    if (!(spec->flags & INPUT_VARIADIC) || item->kind != YAML_LIST)
        return collect(c, spec, item);
    for (uint32_t i = 0; i < item->count; i++)
        if (!collect(c, spec, item->items[i]))
            return false;
    return true;
}

static bool collect_all(struct collector *c, const struct op *op, const struct yaml *map)
{
    const struct yaml *const *items = NULL, *single = NULL;
    uint32_t count = 0, used = 0, declared = op_input_count(op), positional = 0;
    for (uint32_t i = 0; i < declared; i++)
        positional += !(op->inputs[i].flags & (INPUT_NAMED | INPUT_PARAM));
    if (positional)
        count = written_items(map->items[0], &items, &single);
    for (uint32_t i = 0; i < declared; i++) {
        const struct op_input *spec = &op->inputs[i];
        if (spec->flags & INPUT_PARAM)
            continue;
        if (spec->flags & INPUT_NAMED) {
            if (!collect_named(c, spec, map))
                return false;
            continue;
        }
        bool many = spec->flags & INPUT_VARIADIC;
        if (used == count && !(spec->flags & INPUT_OPTIONAL))
            return scope_error(c->s, map->items[0]->span, "`%s` needs the input `%s`: %s", op->name,
                               spec->name, spec->doc);
        if (used == count) {
            c->specs[c->count] = spec;
            c->args[c->count++] = (struct argument){.absent = true};
        }
        for (bool first = true; used < count && (first || many); first = false)
            if (!collect(c, spec, items[used++]))
                return false;
    }
    if (used < count)
        return scope_error(c->s, items[used]->span, "`%s` takes %u input%s, not %u", op->name,
                           positional, positional == 1 ? "" : "s", count);
    return true;
}

bool op_arguments(struct scope *s, const struct op *op, const struct yaml *map, const char *path,
                  uint32_t *in, uint32_t *count)
{
    uint32_t max = op_input_count(op) + map->count;
    for (uint32_t i = 0; i < map->count; i++)
        max += map->items[i]->kind == YAML_LIST ? map->items[i]->count : 0;
    max = max < OP_RESULT_MAX * 8 ? max : OP_RESULT_MAX * 8;
    struct argument *args = arena_new_array(s->e->graph->arena, struct argument, max);
    struct collector c = {.s = s, .path = path, .args = args, .max = max};
    const struct op_input **specs = c.specs =
        arena_new_array(s->e->graph->arena, const struct op_input *, max);
    if (!collect_all(&c, op, map))
        return false;
    for (uint32_t i = 0; i < c.count; i++) {
        enum dtype dtype;
        in[i] = args[i].value;
        if (!args[i].literal)
            continue;
        if (!literal_dtype(s, specs[i], args, c.count, &args[i], &dtype))
            return false;
        in[i] = literal_value(s, args[i].number, dtype, args[i].span);
        if (!in[i])
            return false;
    }
    *count = c.count;
    return true;
}

/* --- attributes --------------------------------------------------------------------------- */

/* By its name, or by a param that holds its place among them, counted from 0. */
static bool read_choice(struct scope *s, const struct op_attr *spec, const struct yaml *item,
                        union attr *out)
{
    struct number place;
    size_t n = 0;
    for (; spec->choices[n]; n++) {
        if (strcmp(spec->choices[n], item->text) == 0) {
            out->integer = (int64_t)n;
            return true;
        }
    }
    char *all = arena_strdup(s->e->graph->arena, "");
    for (size_t i = 0; i < n; i++)
        all = arena_printf(s->e->graph->arena, "%s%s`%s`", all, i ? ", " : "", spec->choices[i]);
    if (!model_param(s->e->model, item->text))
        return scope_error(s, item->span, "`%s` is one of %s, not `%s`", spec->name, all,
                           item->text);
    if (!scope_number(s, item, &place))
        return false;
    out->integer = place.i;
    return (place.kind == NUMBER_INT && place.i >= 0 && (size_t)place.i < n) ||
           scope_error(s, item->span, "`%s` is the place of one of %s: 0 to %zu, not %g",
                       item->text, all, n - 1, number_real(place));
}

static bool read_dims(struct scope *s, const struct yaml *list, union attr *out)
{
    if (!scope_expect(s, list, YAML_LIST, "a shape"))
        return false;
    struct dim *dims = arena_new_array(s->e->graph->arena, struct dim, list->count);
    if (list->count > TENSOR_RANK_MAX)
        return scope_error(s, list->span, "a shape has at most %d axes", TENSOR_RANK_MAX);
    for (uint32_t i = 0; i < list->count; i++) {
        if (!scope_dim(s, list->items[i], &dims[i]))
            return false;
        if (i && dims[i].axis)
            return scope_error(s, list->items[i]->span, "only the first axis may be short");
    }
    out->dims.count = list->count;
    out->dims.items = dims;
    return true;
}

static bool read_attr(struct scope *s, const struct op_attr *spec, const struct yaml *item,
                      union attr *out)
{
    struct number n;
    if (spec->kind == ATTR_DIMS)
        return read_dims(s, item, out);
    if (!scope_expect(s, item, YAML_SCALAR, spec->name))
        return false;
    if (spec->kind == ATTR_TEXT) {
        out->text = item->text;
        return true;
    }
    if (spec->kind == ATTR_CHOICE)
        return read_choice(s, spec, item, out);
    if (!scope_number(s, item, &n))
        return false;
    if (spec->kind == ATTR_BOOL) {
        out->flag = n.i != 0;
        return n.kind == NUMBER_BOOL ||
               scope_error(s, item->span, "`%s` is true or false", spec->name);
    }
    if (n.kind == NUMBER_BOOL)
        return scope_error(s, item->span, "`%s` must be a number", spec->name);
    if (spec->kind == ATTR_REAL) {
        out->real = number_real(n);
        return true;
    }
    out->integer = n.i;
    return n.kind == NUMBER_INT ||
           scope_error(s, item->span, "`%s` must be a whole number", spec->name);
}

static const struct op_attr *find_attr(const struct op *op, const char *name, uint32_t *index)
{
    for (uint32_t i = 0; i < op_attr_count(op); i++) {
        *index = i;
        if (strcmp(op->attrs[i].name, name) == 0)
            return &op->attrs[i];
    }
    return NULL;
}

/* Keys that every call to an op may have besides its attributes and named inputs. */
static bool is_common_key(const char *key)
{
    return strcmp(key, "as") == 0 || strcmp(key, "tie") == 0 || strcmp(key, "want") == 0 ||
           strcmp(key, "process") == 0;
}

static bool unknown_key(struct scope *s, const struct op *op, const struct yaml *key)
{
    const char *names[128];
    size_t n = 0;
    for (uint32_t i = 0; i < op_attr_count(op) && n < 100; i++)
        names[n++] = op->attrs[i].name;
    for (uint32_t i = 0; i < op_input_count(op) && n < 100; i++)
        if (op->inputs[i].flags & INPUT_NAMED)
            names[n++] = op->inputs[i].name;
    names[n++] = "as";
    names[n++] = "want";
    scope_error(s, key->span, "`%s` has no attribute `%s`", op->name, key->text);
    const char *near = diag_nearest(key->text, names, n);
    if (near)
        diag_hint(s->e->graph->diags, "did you mean `%s`?", near);
    else
        diag_hint(s->e->graph->diags, "sedge explain %s lists what it takes", op->name);
    return false;
}

static bool read_attrs(struct scope *s, const struct op *op, const struct yaml *map, uint32_t first,
                       bool *given, union attr *out)
{
    for (uint32_t i = first; i < map->count; i++) {
        uint32_t index;
        const char *key = map->keys[i]->text;
        const struct op_attr *spec = find_attr(op, key, &index);
        if (spec) {
            if (!read_attr(s, spec, map->items[i], &out[index]))
                return false;
            given[index] = true;
            continue;
        }
        bool named = false;
        for (uint32_t k = 0; k < op_input_count(op); k++)
            named |= (op->inputs[k].flags & INPUT_NAMED) && strcmp(op->inputs[k].name, key) == 0;
        if (!named && !is_common_key(key))
            return unknown_key(s, op, map->keys[i]);
    }
    return true;
}

bool op_attributes(struct scope *s, const struct op *op, const struct yaml *map, union attr *out)
{
    bool given[64] = {false};
    uint32_t positional = 0;
    op_defaults(s->e->graph->arena, op, out);
    for (uint32_t i = 0; i < op_input_count(op); i++)
        positional += !(op->inputs[i].flags & (INPUT_NAMED | INPUT_PARAM));
    if (!positional) { /* {random_uniform: {shape: [batch]}} */
        if (!scope_expect(s, map->items[0], YAML_MAP, op->name) ||
            !read_attrs(s, op, map->items[0], 0, given, out))
            return false;
    }
    if (!read_attrs(s, op, map, 1, given, out))
        return false;
    for (uint32_t i = 0; i < op_attr_count(op); i++)
        if (!op->attrs[i].value && !given[i])
            return scope_error(s, map->keys[0]->span, "`%s` needs `%s:`, %s", op->name,
                               op->attrs[i].name, op->attrs[i].doc);
    return true;
}
