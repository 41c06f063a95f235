/* From a program of a model to a graph. Called by the compile step of every command. */
#include "graph/elaborate.h"
#include "graph/base/check.h"
#include "graph/scope.h"

#include <string.h>

/* --- nodes -------------------------------------------------------------------------------- */

/* "shift_a, scale_a" into names in ARENA; the number of them, or 0 after reporting. */
static uint32_t split_names(struct scope *s, const struct yaml *key, const char **names,
                            uint32_t max)
{
    struct arena *a = s->e->graph->arena;
    const char *at = key->text;
    uint32_t n = 0;
    for (;;) {
        at += strspn(at, " ");
        size_t length =
            strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        if (length == 0 || (at[0] >= '0' && at[0] <= '9') || n == max) {
            scope_error(s, key->span, "`%s` is no name: letters, digits and _, several with commas",
                        key->text);
            return 0;
        }
        names[n++] = arena_strndup(a, at, length);
        at += length;
        at += strspn(at, " ");
        if (!*at)
            return n;
        if (*at++ != ',') {
            scope_error(s, key->span, "`%s` is no name: letters, digits and _, several with commas",
                        key->text);
            return 0;
        }
    }
}

static bool define_all(struct scope *s, const struct yaml *key, const struct yaml *call,
                       const char *const *names, uint32_t n)
{
    struct graph *g = s->e->graph;
    uint32_t values[OP_RESULT_MAX], count = 0;
    if (call->kind != YAML_MAP)
        return scope_error(s, call->span, "`%s` must be a call: {op: inputs, attribute: value}",
                           names[0]);
    char *path = join_path(g->arena, s->path, names[0]);
    if (!scope_call(s, call, path, values, OP_RESULT_MAX, &count))
        return false;
    if (n > count || (n > 1 && n != count))
        return scope_error(s, key->span, "%u names for %u result%s", n, count,
                           count == 1 ? "" : "s");
    for (uint32_t k = 0; k < n; k++)
        if (!scope_define(s, names[k], key->span, values[k]))
            return false;
    return true;
}

/* Goes on after a node that fails: its names then stand for values that failed. */
bool scope_nodes(struct scope *s, const struct yaml *nodes)
{
    bool good = true;
    for (uint32_t i = 0; i < nodes->count; i++) {
        const char *names[OP_RESULT_MAX];
        uint32_t n = split_names(s, nodes->keys[i], names, OP_RESULT_MAX);
        if (n && define_all(s, nodes->keys[i], nodes->items[i], names, n))
            continue;
        good = false;
        for (uint32_t k = 0; k < n; k++)
            scope_fail(s, names[k]);
    }
    return good;
}

/* --- programs ----------------------------------------------------------------------------- */

static bool check_program(struct elaborator *e, const struct section *p)
{
    static const char *const keys[] = {"in",  "with", "weights",  "nodes",
                                       "out", "doc",  "minimize", NULL};
    struct diags *d = e->graph->diags;
    if (!yaml_closed(d, p->body, keys, "a program"))
        return false;
    const struct yaml *nodes = yaml_get(p->body, "nodes"), *in = yaml_get(p->body, "in"),
                      *with = yaml_get(p->body, "with");
    if (!nodes) {
        diag_error(d, FAULT_CONFIG, p->span, "program `%s` has no `nodes:`", p->name);
        return false;
    }
    if (!yaml_expect(d, nodes, YAML_MAP, "nodes") || (in && !yaml_expect(d, in, YAML_MAP, "in")) ||
        (with && !yaml_expect(d, with, YAML_MAP, "with")))
        return false;
    for (uint32_t i = 0; with && i < with->count; i++) {
        if (model_param(e->model, with->keys[i]->text))
            continue;
        diag_error(d, FAULT_CONFIG, with->keys[i]->span, "the model has no param `%s`",
                   with->keys[i]->text);
        return false;
    }
    return true;
}

static bool read_weights(struct elaborator *e, const struct section *p)
{
    const struct yaml *w = yaml_get(p->body, "weights");
    bool ema = w && w->kind == YAML_SCALAR && strcmp(w->text, "ema") == 0;
    if (w && !ema && (w->kind != YAML_SCALAR || strcmp(w->text, "raw") != 0)) {
        diag_error(e->graph->diags, FAULT_CONFIG, w->span, "`weights` is raw or ema");
        return false;
    }
    e->ema = e->request->weights == WEIGHTS_DECLARED ? ema : e->request->weights == WEIGHTS_EMA;
    return true;
}

static bool is_given(struct elaborator *e, const char *name, bool optional)
{
    const struct elaborate_request *q = e->request;
    bool given = !optional || q->all_inputs;
    for (uint32_t i = 0; i < q->bind_count; i++)
        if (strcmp(q->bind[i], name) == 0)
            given = e->bound[i] = true;
    return given;
}

static bool fits_default(struct scope *s, const struct yaml *item, enum dtype dtype,
                         struct number n)
{
    if ((dtype == DT_BOOL) != (n.kind == NUMBER_BOOL))
        return scope_error(s, item->span, "the default of %s %s", dtype_name(dtype),
                           dtype == DT_BOOL ? "is true or false" : "is a number");
    if ((dtype == DT_I32 || dtype == DT_TOKEN) && n.kind != NUMBER_INT)
        return scope_error(s, item->span, "the default of %s is a whole number", dtype_name(dtype));
    return true;
}

static bool program_input(struct scope *s, const struct yaml *key, const struct yaml *body)
{
    static const char *const keys[] = {"type", "default", "doc", NULL};
    struct graph *g = s->e->graph;
    const struct yaml *type = body, *otherwise = NULL;
    struct number n;
    if (body->kind == YAML_MAP) {
        if (!yaml_closed(g->diags, body, keys, "an input"))
            return false;
        type = yaml_get(body, "type");
        otherwise = yaml_get(body, "default");
        if (!type)
            return scope_error(s, key->span, "input `%s` has no `type:`", key->text);
    }
    struct type t;
    if (!scope_type(s, type, NULL, &t, key->text))
        return false;
    bool given = is_given(s->e, key->text, otherwise != NULL);
    union attr attr = {0};
    struct node_call call = {.op = op_find(g->table, given ? "input" : "const"),
                             .types = &t,
                             .origin = origin_at(s, key->span)};
    if (!given) {
        if (!scope_number(s, otherwise, &n) || !fits_default(s, otherwise, t.dtype, n))
            return false;
        attr.real = number_real(n);
        call.attr = &attr;
    }
    uint32_t id = graph_call(g, &call);
    if (id == NODE_NONE)
        return false;
    uint32_t value = g->nodes[id].out[0];
    if (given)
        graph_input(g, key->text, value);
    return scope_define(s, key->text, key->span, value);
}

static bool program_results(struct scope *s, const struct section *p)
{
    struct graph *g = s->e->graph;
    const struct yaml *out = yaml_get(p->body, "out"), *minimize = yaml_get(p->body, "minimize");
    if (!out && !minimize)
        return scope_error(s, p->span, "program `%s` has neither `out:` nor `minimize:`", p->name);
    if (minimize) {
        if (!yaml_expect(g->diags, minimize, YAML_SCALAR, "minimize"))
            return false;
        if (!scope_lookup(s, minimize, &g->minimize, "no value is called `%s`", minimize->text))
            return false;
        const struct type *t = graph_type(g, g->minimize);
        if (t->rank != 0 || (t->dtype != DT_F32 && t->dtype != DT_F64))
            return scope_error(s, minimize->span, "what is minimised must be one number, not %s",
                               type_print(g->arena, g, t));
        graph_output(g, minimize->text, g->minimize);
    }
    if (out && !yaml_expect(g->diags, out, YAML_MAP, "out"))
        return false;
    for (uint32_t i = 0; out && i < out->count; i++) {
        if (!yaml_expect(g->diags, out->items[i], YAML_SCALAR, "out"))
            return false;
        uint32_t v;
        if (!scope_lookup(s, out->items[i], &v, "no value is called `%s`", out->items[i]->text))
            return false;
        if (minimize && strcmp(out->keys[i]->text, minimize->text) == 0) {
            if (v == g->minimize)
                continue;
            return scope_error(s, out->keys[i]->span, "`%s` is what the program minimises",
                               minimize->text);
        }
        graph_output(g, out->keys[i]->text, v);
    }
    return true;
}

const char *graph_nearest_name(const struct graph *graph, const char *name)
{
    const char **names = arena_new_array(graph->arena, const char *, graph->named_count);
    for (uint32_t i = 0; i < graph->named_count; i++)
        names[i] = graph->names[i].name;
    return diag_nearest(name, names, graph->named_count);
}

static bool unmet(struct graph *g, const char *name, const char *what)
{
    diag_error(g->diags, FAULT_CONFIG, (struct span){0}, "program `%s` has no value `%s` to %s",
               g->name, name, what);
    const char *near = graph_nearest_name(g, name);
    if (near)
        diag_hint(g->diags, "did you mean `%s`?", near);
    return false;
}

static bool add_wanted(struct graph *g, const struct elaborate_request *q)
{
    bool good = true;
    for (uint32_t i = 0; i < q->want_count; i++) {
        uint32_t v = graph_find(g, q->want[i]);
        bool already = false;
        for (uint32_t k = 0; k < g->output_count; k++)
            already |= strcmp(g->outputs[k].name, q->want[i]) == 0;
        if (!v)
            good = unmet(g, q->want[i], "return");
        else if (!already)
            graph_output(g, q->want[i], v);
    }
    return good;
}

static bool check_sizes(struct elaborator *e)
{
    const struct elaborate_request *q = e->request;
    for (uint32_t i = 0; i < q->dim_count; i++) {
        if (q->dims[i].size >= 1)
            continue;
        diag_error(e->graph->diags, FAULT_CONFIG, (struct span){0}, "`%s` must be at least 1",
                   q->dims[i].name);
        return false;
    }
    return true;
}

/* A dimension that the caller set must exist: `bacth=8` would otherwise go unnoticed. */
static bool check_dims(struct elaborator *e)
{
    struct graph *g = e->graph;
    const struct elaborate_request *q = e->request;
    for (uint32_t i = 0; i < q->dim_count; i++) {
        const char *name = q->dims[i].name, *names[64];
        uint32_t n = 0;
        if (graph_axis_find(g, name))
            continue;
        diag_error(g->diags, FAULT_CONFIG, (struct span){0},
                   "there is no param `%s`, nor such a dimension in program `%s`", name, g->name);
        for (uint32_t k = 1; k < g->axis_count && n < 8; k++)
            names[n++] = g->axes[k].name;
        for (uint32_t k = 0; k < e->model->param_count && n < 64; k++)
            names[n++] = e->model->params[k].name;
        const char *near = diag_nearest(name, names, n);
        if (near)
            diag_hint(g->diags, "did you mean `%s`?", near);
        return false;
    }
    return true;
}

static const struct section *find_program(struct model *m, const char *name)
{
    const struct section *p = section_find(&m->programs, name);
    if (p)
        return p;
    diag_error(m->diags, FAULT_CONFIG, (struct span){0}, "%s has no program `%s`", m->path, name);
    const char *near = section_nearest(m->arena, &m->programs, name);
    char *all = arena_strdup(m->arena, "");
    for (uint32_t i = 0; i < m->programs.count; i++)
        all = arena_printf(m->arena, "%s%s%s", all, i ? ", " : "", m->programs.items[i].name);
    if (near)
        diag_hint(m->diags, "did you mean `%s`?", near);
    else
        diag_hint(m->diags, m->programs.count ? "there are: %s" : "it has none%s", all);
    return NULL;
}

struct graph *elaborate(struct model *model, const struct elaborate_request *request)
{
    const struct section *p = find_program(model, request->program);
    if (!p)
        return NULL;
    struct graph *g = graph_new(model->arena, model->diags, model->table, &model->states, p->name);
    g->processes = model->processes;
    g->process_count = model->process_count;
    struct elaborator e = {.model = model,
                           .graph = g,
                           .request = request,
                           .bound = arena_new_array(model->arena, bool, request->bind_count)};
    struct scope s = {.e = &e, .path = "", .state = ""};
    if (!check_program(&e, p) || !read_weights(&e, p) || !check_sizes(&e))
        return NULL;
    e.with = yaml_get(p->body, "with");
    const struct yaml *in = yaml_get(p->body, "in");
    bool sound = true;
    for (uint32_t i = 0; in && i < in->count; i++) {
        if (program_input(&s, in->keys[i], in->items[i]))
            continue;
        scope_fail(&s, in->keys[i]->text);
        sound = false;
    }
    sound &= scope_nodes(&s, yaml_get(p->body, "nodes"));
    sound &= program_results(&s, p);
    if (!sound)
        return NULL;
    bool good = check_dims(&e) && add_wanted(g, request);
    for (uint32_t i = 0; i < request->bind_count; i++)
        if (!e.bound[i])
            good = unmet(g, request->bind[i], "bind");
    graph_order(g);
    return good ? g : NULL;
}

const char **program_inputs(struct model *model, const char *program)
{
    const struct section *p = section_find(&model->programs, program);
    const struct yaml *in = p ? yaml_get(p->body, "in") : NULL;
    uint32_t n = in && in->kind == YAML_MAP ? in->count : 0;
    const char **names = arena_new_array(model->arena, const char *, n + 1);
    for (uint32_t i = 0; i < n; i++)
        names[i] = in->keys[i]->text;
    return names;
}
