/* Names, numbers, dimensions and types at one place of a model. Used by the elaborator. */
#include "graph/scope.h"
#include "graph/base/check.h"

#include <string.h>

char *join_path(struct arena *arena, const char *a, const char *b)
{
    if (!*a || !*b)
        return arena_strdup(arena, *a ? a : b);
    return arena_printf(arena, "%s.%s", a, b);
}

const struct origin *origin_at(struct scope *s, struct span span)
{
    struct origin *o = arena_alloc(s->e->graph->arena, sizeof *o);
    *o = (struct origin){span, s->caller, s->path};
    return o;
}

bool scope_error(struct scope *s, struct span span, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(s->e->graph->arena, format, args);
    va_end(args);
    diag_error(s->e->graph->diags, FAULT_CONFIG, span, "%s", text);
    origin_trail(s->e->graph->diags, s->caller);
    return false;
}

const struct yaml *scope_expect(struct scope *s, const struct yaml *node, enum yaml_kind kind,
                                const char *what)
{
    if (!yaml_expect(s->e->graph->diags, node, kind, what)) {
        origin_trail(s->e->graph->diags, s->caller);
        return NULL;
    }
    return node;
}

/* --- values ------------------------------------------------------------------------------- */

uint32_t scope_find(const struct scope *s, const char *name)
{
    for (uint32_t i = 0; i < s->name_count; i++)
        if (strcmp(s->names[i].name, name) == 0)
            return s->names[i].value;
    return VALUE_NONE;
}

bool scope_lookup(struct scope *s, const struct yaml *name, uint32_t *out, const char *format, ...)
{
    *out = scope_find(s, name->text);
    if (*out == VALUE_FAILED)
        return false;
    if (*out)
        return true;
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(s->e->graph->arena, format, args);
    va_end(args);
    return scope_error(s, name->span, "%s", text);
}

static void add_name(struct scope *s, const char *name, uint32_t value)
{
    s->names = arena_grow(s->e->graph->arena, s->names, s->name_count, &s->name_capacity,
                          sizeof *s->names);
    s->names[s->name_count++] = (struct binding){name, value};
}

void scope_fail(struct scope *s, const char *name)
{
    if (!scope_find(s, name))
        add_name(s, name, VALUE_FAILED);
}

/* An input of the same type in place of VALUE, because the run supplies it. */
static uint32_t bound_input(struct scope *s, const char *full, uint32_t value, struct span span)
{
    struct graph *g = s->e->graph;
    struct type type = *graph_type(g, value);
    struct node_call call = {
        .op = op_find(g->table, "input"), .types = &type, .origin = origin_at(s, span)};
    uint32_t id = graph_call(g, &call);
    if (id == NODE_NONE)
        return VALUE_NONE;
    uint32_t axis = type.rank ? type.dim[0].axis : 0;
    if (axis && g->axes[axis].counter == value)
        g->axes[axis].counter = VALUE_NONE; /* the run supplies the count as well */
    graph_input(g, full, g->nodes[id].out[0]);
    return g->nodes[id].out[0];
}

static bool is_bound(struct scope *s, const char *full)
{
    const struct elaborate_request *q = s->e->request;
    for (uint32_t i = 0; i < q->bind_count; i++) {
        if (strcmp(q->bind[i], full) == 0) {
            s->e->bound[i] = true;
            return true;
        }
    }
    return false;
}

bool scope_define(struct scope *s, const char *name, struct span span, uint32_t value)
{
    struct graph *g = s->e->graph;
    if (scope_find(s, name))
        return scope_error(s, span, "`%s` is defined twice", name);
    char *full = join_path(g->arena, s->path, name);
    bool is_input = strcmp(g->nodes[g->values[value].node].op->name, "input") == 0;
    if (!is_input && is_bound(s, full)) {
        value = bound_input(s, full, value, span);
        if (!value)
            return false;
    }
    if (!g->values[value].name)
        g->values[value].name = full;
    add_name(s, name, value);
    graph_name(g, full, value);
    return true;
}

/* --- numbers ------------------------------------------------------------------------------ */

static const struct named_dim *find_dim(const struct scope *s, const char *name)
{
    for (uint32_t i = 0; i < s->dim_count; i++)
        if (strcmp(s->dims[i].name, name) == 0)
            return &s->dims[i];
    return NULL;
}

static bool lookup(const void *context, const char *name, struct number *out)
{
    const struct scope *s = context;
    const struct yaml *changed = yaml_get(s->e->with, name);
    if (changed)
        return model_number(s->e->model, changed, out);
    const struct param *p = model_param(s->e->model, name);
    if (p) {
        *out = p->value;
        return true;
    }
    const struct named_dim *d = find_dim(s, name);
    if (d && !d->dim.axis)
        *out = (struct number){.kind = NUMBER_INT, .i = d->dim.size};
    return d && !d->dim.axis;
}

static const char *nearest(const void *context, const char *name)
{
    const struct scope *s = context;
    const struct model *m = s->e->model;
    const char **names = arena_new_array(m->arena, const char *, m->param_count);
    for (uint32_t i = 0; i < m->param_count; i++)
        names[i] = m->params[i].name;
    return diag_nearest(name, names, m->param_count);
}

bool scope_number(struct scope *s, const struct yaml *scalar, struct number *out)
{
    if (!scope_expect(s, scalar, YAML_SCALAR, "a number"))
        return false;
    struct span span = scalar->span;
    span.column += scalar->quoted;
    const struct expr *e = expr_parse(s->e->graph->diags, s->e->graph->arena, scalar->text, span);
    struct expr_scope scope = {lookup, nearest, s};
    if (e && expr_eval(s->e->graph->diags, e, &scope, out))
        return true;
    origin_trail(s->e->graph->diags, s->caller);
    return false;
}

/* --- dimensions and types ------------------------------------------------------------------ */

bool scope_bind_dim(struct scope *s, const char *name, struct dim dim)
{
    s->dims =
        arena_grow(s->e->graph->arena, s->dims, s->dim_count, &s->dim_capacity, sizeof *s->dims);
    s->dims[s->dim_count++] = (struct named_dim){name, dim};
    return true;
}

static bool plain_name(const char *text)
{
    if (!*text || (*text >= '0' && *text <= '9'))
        return false;
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] ==
           0;
}

/* Whether ITEM names a dimension rather than a number; *OUT NULL when it is not bound yet. */
static bool is_dimension(struct scope *s, const struct yaml *item, const struct named_dim **out)
{
    struct number n;
    *out = NULL;
    if (!plain_name(item->text) || model_param(s->e->model, item->text) ||
        yaml_get(s->e->with, item->text))
        return false;
    *out = find_dim(s, item->text);
    return *out || !lookup(s, item->text, &n);
}

static bool number_dim(struct scope *s, const struct yaml *item, struct dim *out)
{
    struct number n;
    if (!scope_number(s, item, &n))
        return false;
    if (n.kind != NUMBER_INT || n.i < 1 || n.i > AXIS_LIMIT)
        return scope_error(s, item->span, "a size must be a whole number from 1 to %d, not %s",
                           AXIS_LIMIT,
                           n.kind == NUMBER_INT
                               ? arena_printf(s->e->graph->arena, "%lld", (long long)n.i)
                               : item->text);
    *out = (struct dim){n.i, 0};
    return true;
}

bool scope_dim(struct scope *s, const struct yaml *item, struct dim *out)
{
    const struct named_dim *known;
    if (!scope_expect(s, item, YAML_SCALAR, "a size"))
        return false;
    if (is_dimension(s, item, &known)) {
        if (!known) {
            scope_error(s, item->span, "no param or dimension is called `%s`", item->text);
            const char *near = nearest(s, item->text);
            if (near)
                diag_hint(s->e->graph->diags, "did you mean `%s`?", near);
            return false;
        }
        *out = known->dim;
        return true;
    }
    return number_dim(s, item, out);
}

static bool type_dtype(struct scope *s, const struct yaml *item, enum dtype *out)
{
    if (item->kind == YAML_SCALAR) {
        for (int d = 0; d < DT_COUNT; d++) {
            if (d == DT_I64 || strcmp(item->text, dtype_name((enum dtype)d)) != 0)
                continue;
            *out = (enum dtype)d;
            return d != DT_BF16 ||
                   scope_error(s, item->span, "bf16 is reserved and cannot be used yet: write f32");
        }
    }
    return scope_error(s, item->span, "a type starts with f32, f64, i32, bool or token");
}

/* The size of axis I of a declared type, bound to or compared with ACTUAL's. */
static bool type_dim(struct scope *s, const struct yaml *item, uint32_t i,
                     const struct type *actual, struct dim *out)
{
    struct elaborator *e = s->e;
    const struct named_dim *known;
    if (!scope_expect(s, item, YAML_SCALAR, "a size"))
        return false;
    if (!is_dimension(s, item, &known))
        return number_dim(s, item, out);
    if (known) {
        *out = known->dim;
    } else if (actual) {
        *out = actual->dim[i];
        scope_bind_dim(s, item->text, *out);
    } else { /* an input of the program: the run binds the dimension */
        int64_t size = DIM_DEFAULT;
        for (uint32_t k = 0; k < e->request->dim_count; k++)
            if (strcmp(e->request->dims[k].name, item->text) == 0)
                size = e->request->dims[k].size;
        *out = (struct dim){size, graph_axis(e->graph, item->text, size)};
        scope_bind_dim(s, item->text, *out);
    }
    if (out->axis && i > 0)
        return scope_error(s, item->span,
                           "`%s` is no param, and only the first axis may be a dimension that the "
                           "run binds",
                           item->text);
    return true;
}

bool scope_type(struct scope *s, const struct yaml *list, const struct type *actual,
                struct type *out, const char *what)
{
    struct graph *g = s->e->graph;
    if (!scope_expect(s, list, YAML_LIST, what)) {
        diag_hint(g->diags, "a type is written [f32, batch, 8]; [f32] is a single number");
        return false;
    }
    if (list->count == 0)
        return scope_error(s, list->span, "a type starts with f32, f64, i32, bool or token");
    *out = (struct type){0};
    if (!type_dtype(s, list->items[0], &out->dtype))
        return false;
    out->rank = list->count - 1;
    if (out->rank > TENSOR_RANK_MAX)
        return scope_error(s, list->span, "a type has at most %d axes", TENSOR_RANK_MAX);
    if (actual && (actual->rank != out->rank || actual->dtype != out->dtype))
        return scope_error(s, list->span, "%s is declared %s but gets %s", what,
                           yaml_print(g->arena, list), type_print(g->arena, g, actual));
    for (uint32_t i = 0; i < out->rank; i++)
        if (!type_dim(s, list->items[i + 1], i, actual, &out->dim[i]))
            return false;
    if (actual && !type_same_shape(actual, out))
        return scope_error(s, list->span, "%s is declared %s, here %s, but gets %s", what,
                           yaml_print(g->arena, list), type_print(g->arena, g, out),
                           type_print(g->arena, g, actual));
    if (out->dtype == DT_TOKEN) {
        if (!s->e->model->process_count)
            return scope_error(s, list->items[0]->span, "`token` needs a `process:` in the model");
        out->process = actual ? actual->process : 1;
    }
    return true;
}
