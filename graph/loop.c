/* Reads the loops of a model. Called by the commands that sample, and by `check`. */
#include "graph/loop.h"
#include "graph/base/check.h"
#include "graph/model.h"

#include <string.h>

struct loop_reader {
    const struct model *model;
    struct loop *loop;
};

static bool loop_error(const struct loop_reader *r, struct span span, const char *format,
                       const char *about)
{
    diag_error(r->model->diags, FAULT_CONFIG, span, format, about);
    return false;
}

/* --- carry -------------------------------------------------------------------------------- */

static bool read_carry_dims(const struct loop_reader *r, const struct yaml *list,
                            struct loop_carry *c)
{
    if (!yaml_expect(r->model->diags, list, YAML_LIST, "a shape"))
        return false;
    c->rank = list->count;
    if (c->rank > TENSOR_RANK_MAX)
        return loop_error(r, list->span, "`%s` has too many axes", c->name);
    for (uint32_t i = 0; i < list->count; i++) {
        struct number n;
        const struct yaml *item = list->items[i];
        if (item->kind == YAML_SCALAR && strcmp(item->text, "batch") == 0 && i == 0) {
            c->dim[i] = -1;
            continue;
        }
        if (!model_number(r->model, item, &n))
            return false;
        if (n.kind != NUMBER_INT || n.i < 1)
            return loop_error(r, item->span, "a size of `%s` must be a whole number of at least 1",
                              c->name);
        c->dim[i] = n.i;
    }
    return true;
}

static bool read_start(const struct loop_reader *r, const struct yaml *start, struct loop_carry *c)
{
    double value;
    if (!start || (start->kind == YAML_SCALAR && strcmp(start->text, "zero") == 0)) {
        c->start = START_ZERO;
        return start || c->dtype != DT_TOKEN ||
               loop_error(r, c->span, "`%s` needs a `start:`: a program, or `given`", c->name);
    }
    if (!yaml_expect(r->model->diags, start, YAML_SCALAR, "start"))
        return false;
    if (yaml_real(start, &value)) {
        c->start = START_VALUE;
        c->value = value;
        return true;
    }
    if (strcmp(start->text, "given") == 0) {
        c->start = START_GIVEN;
        return true;
    }
    c->start = START_CALL;
    c->program = start->text;
    return section_find(&r->model->programs, start->text) ||
           loop_error(r, start->span, "no program is called `%s`", start->text);
}

static bool read_carry(const struct loop_reader *r, const struct yaml *map)
{
    struct loop *l = r->loop;
    if (!map || !yaml_expect(r->model->diags, map, YAML_MAP, "carry"))
        return map ? false : loop_error(r, l->span, "loop `%s` has no `carry:`", l->name);
    l->carry = arena_new_array(r->model->arena, struct loop_carry, map->count);
    for (uint32_t i = 0; i < map->count; i++) {
        struct loop_carry *c = &l->carry[l->carry_count++];
        const struct yaml *body = map->items[i], *dims = NULL;
        c->name = map->keys[i]->text;
        c->span = map->keys[i]->span;
        if (!yaml_expect(r->model->diags, body, YAML_MAP, c->name))
            return false;
        for (int d = 0; d < DT_COUNT && !dims; d++) {
            c->dtype = (enum dtype)d;
            dims = d == DT_I64 || d == DT_BF16 ? NULL : yaml_get(body, dtype_name(c->dtype));
        }
        if (!dims)
            return loop_error(r, body->span, "write the type of `%s` as {token: [batch, length]}",
                              c->name);
        if (!read_carry_dims(r, dims, c) || !read_start(r, yaml_get(body, "start"), c))
            return false;
        for (uint32_t k = 0; k < body->count; k++)
            if (body->items[k] != dims && strcmp(body->keys[k]->text, "start") != 0)
                return loop_error(r, body->keys[k]->span, "a carry has no key `%s`",
                                  body->keys[k]->text);
    }
    return true;
}

static uint32_t find_carry(const struct loop *l, const char *name)
{
    for (uint32_t i = 0; i < l->carry_count; i++)
        if (strcmp(l->carry[i].name, name) == 0)
            return i + 1;
    return 0;
}

/* --- grid --------------------------------------------------------------------------------- */

static bool read_time(const struct loop_reader *r, const struct yaml *grid, const char *key,
                      double *out)
{
    const struct yaml *at = yaml_get(grid, key);
    struct number n;
    if (!at)
        return loop_error(r, grid->span, "the grid needs `%s:`", key);
    if (!model_number(r->model, at, &n))
        return false;
    *out = number_real(n);
    return (*out > 0 && *out <= 1) ||
           loop_error(r, at->span, "`%s` is a time above 0, at most 1", key);
}

const char *const loop_spacings[SPACING_COUNT + 1] = {"uniform", "log", "cosine", "quadratic",
                                                      NULL};

bool loop_set_times(struct diags *diags, struct loop *loop, const double *times, int64_t count,
                    struct span span)
{
    if (count < 2) {
        diag_error(diags, FAULT_CONFIG, span, "a grid has at least two times, the last the end");
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        if (!(times[i] > 0 && times[i] <= 1)) {
            diag_error(diags, FAULT_CONFIG, span, "%g is no time: above 0, at most 1", times[i]);
            return false;
        }
        if (i && times[i] >= times[i - 1]) {
            diag_error(diags, FAULT_CONFIG, span, "the times of a grid fall, but %g follows %g",
                       times[i], times[i - 1]);
            return false;
        }
    }
    loop->grid = true;
    loop->times = times;
    loop->steps = count - 1;
    loop->from = times[0];
    loop->to = times[count - 1];
    return true;
}

static bool read_times(const struct loop_reader *r, const struct yaml *grid,
                       const struct yaml *list)
{
    if (!yaml_expect(r->model->diags, list, YAML_LIST, "times"))
        return false;
    if (yaml_get(grid, "from") || yaml_get(grid, "to") || yaml_get(grid, "steps") ||
        yaml_get(grid, "spacing"))
        return loop_error(r, grid->span, "%s",
                          "`times:` are all of a grid's times: no from, to, steps, spacing");
    double *times = arena_new_array(r->model->arena, double, list->count + 1);
    for (uint32_t i = 0; i < list->count; i++) {
        struct number n;
        if (!model_number(r->model, list->items[i], &n))
            return false;
        times[i] = number_real(n);
    }
    return loop_set_times(r->model->diags, r->loop, times, list->count, list->span);
}

/* Of `limit` and `table_limit` the smaller holds; of a chain that is not stiff only the first. */
static bool read_limit(const struct loop_reader *r, const struct yaml *grid, const char *key)
{
    const struct yaml *limit = yaml_get(grid, key);
    const struct model *m = r->model;
    struct number n;
    if (!limit)
        return true;
    if (!model_number(m, limit, &n))
        return false;
    double most = number_real(n);
    if (!(most > 0))
        return loop_error(r, limit->span, "`%s` is a number above 0", key);
    if (!m->process_count)
        return loop_error(r, limit->span, "`%s` needs a process, whose steps of noise it bounds",
                          key);
    bool holds = strcmp(key, "limit") == 0 || chain_is_stiff(&m->processes[0].chain);
    if (!holds || (r->loop->limit > 0 && r->loop->limit < most))
        return true;
    r->loop->limit = most;
    r->loop->limit_span = limit->span;
    return true;
}

static bool read_grid(const struct loop_reader *r, const struct yaml *grid)
{
    static const char *const keys[] = {"from",  "to",    "steps",       "spacing",
                                       "times", "limit", "table_limit", NULL};
    struct loop *l = r->loop;
    struct number n;
    if (!grid)
        return true;
    if (!yaml_expect(r->model->diags, grid, YAML_MAP, "grid") ||
        !yaml_closed(r->model->diags, grid, keys, "a grid") || !read_limit(r, grid, "limit") ||
        !read_limit(r, grid, "table_limit"))
        return false;
    if (yaml_get(grid, "times"))
        return read_times(r, grid, yaml_get(grid, "times"));
    if (!read_time(r, grid, "from", &l->from) || !read_time(r, grid, "to", &l->to))
        return false;
    const struct yaml *steps = yaml_get(grid, "steps"), *spacing = yaml_get(grid, "spacing");
    l->grid = true;
    l->steps = 128;
    if (steps && !model_number(r->model, steps, &n))
        return false;
    if (steps && (n.kind != NUMBER_INT || n.i < 1))
        return loop_error(r, steps->span, "`%s` is a whole number of at least 1", "steps");
    if (steps)
        l->steps = n.i;
    if (l->from <= l->to)
        return loop_error(r, grid->span, "the grid runs down in time: `%s` is above `to`", "from");
    if (!spacing)
        return true;
    for (int i = 0; spacing->kind == YAML_SCALAR && i < SPACING_COUNT; i++) {
        l->spacing = (enum loop_spacing)i;
        if (strcmp(spacing->text, loop_spacings[i]) == 0)
            return true;
    }
    return loop_error(r, spacing->span, "`%s` is uniform, log, cosine or quadratic", "spacing");
}

/* --- body --------------------------------------------------------------------------------- */

static bool known_name(const struct loop_reader *r, const struct expr *e)
{
    static const char *const names[] = {"grid.now",   "grid.next",  "grid.index",
                                        "grid.steps", "grid.first", "grid.last"};
    if (e->kind == EXPR_CALL) {
        for (uint32_t i = 0; i < e->count; i++)
            if (!known_name(r, e->args[i]))
                return false;
        return true;
    }
    if (e->kind == EXPR_NUMBER)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], e->name) == 0)
            return true;
    uint32_t c = find_carry(r->loop, e->name);
    if (c && r->loop->carry[c - 1].rank == 0)
        return true;
    loop_error(r, e->span, "`%s` is neither " LOOP_NAMES " nor a carry that is a single number",
               e->name);
    return false;
}

/* Params are numbers by now: they are written into the expression. */
static const struct expr *substitute(const struct loop_reader *r, const struct expr *e)
{
    struct expr *copy = arena_alloc(r->model->arena, sizeof *copy);
    *copy = *e;
    for (uint32_t i = 0; e->kind == EXPR_CALL && i < e->count; i++)
        copy->args[i] = substitute(r, e->args[i]); /* an array of the copy's own */
    const struct param *p = e->kind == EXPR_NAME ? model_param(r->model, e->name) : NULL;
    if (p && !find_carry(r->loop, e->name)) {
        copy->kind = EXPR_NUMBER;
        copy->number = p->value;
    }
    return copy;
}

/* Whether E is true or false rather than a number. */
static bool is_truth(const struct loop_reader *r, const struct expr *e)
{
    static const char *const ops[] = {"less", "equal", "and", "or", "not"};
    if (e->kind == EXPR_NUMBER)
        return e->number.kind == NUMBER_BOOL;
    if (e->kind == EXPR_NAME) {
        uint32_t c = find_carry(r->loop, e->name);
        return c ? r->loop->carry[c - 1].dtype == DT_BOOL
                 : strcmp(e->name, "grid.first") == 0 || strcmp(e->name, "grid.last") == 0;
    }
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (strcmp(ops[i], e->name) == 0)
            return true;
    return false;
}

/* An expression over the loop's names: a condition (TRUTH) or a number. */
static const struct expr *read_expression(const struct loop_reader *r, const struct yaml *scalar,
                                          bool truth)
{
    if (!yaml_expect(r->model->diags, scalar, YAML_SCALAR, truth ? "a condition" : "a source"))
        return NULL;
    struct span span = scalar->span;
    span.column += scalar->quoted;
    const struct expr *e = expr_parse(r->model->diags, r->model->arena, scalar->text, span);
    if (!e)
        return NULL;
    e = substitute(r, e);
    if (!known_name(r, e))
        return NULL;
    if (is_truth(r, e) == truth)
        return e;
    loop_error(r, scalar->span,
               truth ? "`%s` is a number, not a condition: compare it with something"
                     : "`%s` is true or false, and an input needs a number",
               scalar->text);
    return NULL;
}

static bool read_with(const struct loop_reader *r, const struct yaml *map, struct loop_call *call)
{
    if (!map)
        return true;
    if (!yaml_expect(r->model->diags, map, YAML_MAP, "with"))
        return false;
    call->with = arena_new_array(r->model->arena, struct loop_source, map->count);
    for (uint32_t i = 0; i < map->count; i++) {
        struct loop_source *s = &call->with[call->with_count++];
        s->input = map->keys[i]->text;
        s->span = map->items[i]->span;
        if (map->items[i]->kind == YAML_SCALAR)
            s->carry = find_carry(r->loop, map->items[i]->text);
        if (!s->carry && !(s->expr = read_expression(r, map->items[i], false)))
            return false;
    }
    return true;
}

/* {put: output, at: place, axis: 1} */
static bool read_put(const struct loop_reader *r, const struct yaml *map, struct loop_target *t)
{
    static const char *const keys[] = {"put", "at", "axis", NULL};
    const struct loop_carry *c = &r->loop->carry[t->carry];
    const struct yaml *put = yaml_get(map, "put"), *at = yaml_get(map, "at"),
                      *axis = yaml_get(map, "axis");
    struct number n = {.kind = NUMBER_INT, .i = 1};
    if (!yaml_closed(r->model->diags, map, keys, "what is set"))
        return false;
    if (!put || !at)
        return loop_error(r, map->span, "write %s as {put: output, at: grid.index}",
                          "an output that becomes one place of a carry");
    if (!yaml_expect(r->model->diags, put, YAML_SCALAR, "put") ||
        !(t->at = read_expression(r, at, false)) || (axis && !model_number(r->model, axis, &n)))
        return false;
    if (n.kind != NUMBER_INT || n.i < 1 || n.i >= (int64_t)c->rank)
        return loop_error(r, axis ? axis->span : map->span,
                          "`%s` has no such axis behind that of the batch", c->name);
    t->output = put->text;
    t->axis = (uint32_t)n.i;
    return true;
}

static bool read_set(const struct loop_reader *r, const struct yaml *map, struct loop_call *call)
{
    if (!map)
        return true;
    if (!yaml_expect(r->model->diags, map, YAML_MAP, "set"))
        return false;
    call->set = arena_new_array(r->model->arena, struct loop_target, map->count);
    for (uint32_t i = 0; i < map->count; i++) {
        struct loop_target *t = &call->set[call->set_count++];
        uint32_t carry = find_carry(r->loop, map->keys[i]->text);
        if (!carry)
            return loop_error(r, map->keys[i]->span, "`%s` is no carry of this loop",
                              map->keys[i]->text);
        const struct yaml *from = map->items[i];
        *t = (struct loop_target){.carry = carry - 1, .output = from->text, .span = from->span};
        if (from->kind == YAML_MAP ? !read_put(r, from, t)
                                   : !yaml_expect(r->model->diags, from, YAML_SCALAR, "set"))
            return false;
    }
    return true;
}

static bool read_call(const struct loop_reader *r, const struct yaml *map, struct loop_call *call)
{
    static const char *const keys[] = {"call", "with", "set", "when", NULL};
    if (!yaml_expect(r->model->diags, map, YAML_MAP, "a call of the body") ||
        !yaml_closed(r->model->diags, map, keys, "a call of the body"))
        return false;
    const struct yaml *program = yaml_get(map, "call"), *when = yaml_get(map, "when");
    if (!program || program->kind != YAML_SCALAR)
        return loop_error(r, map->span, "this needs `%s:`, a program", "call");
    call->program = program->text;
    call->span = program->span;
    if (!section_find(&r->model->programs, program->text)) {
        loop_error(r, program->span, "no program is called `%s`", program->text);
        const char *near = section_nearest(r->model->arena, &r->model->programs, program->text);
        if (near)
            diag_hint(r->model->diags, "did you mean `%s`?", near);
        return false;
    }
    if (when && !(call->when = read_expression(r, when, true)))
        return false;
    return read_with(r, yaml_get(map, "with"), call) && read_set(r, yaml_get(map, "set"), call);
}

static bool read_body(const struct loop_reader *r, const struct yaml *list)
{
    struct loop *l = r->loop;
    if (!list || !yaml_expect(r->model->diags, list, YAML_LIST, "body") || !list->count)
        return list ? false : loop_error(r, l->span, "loop `%s` has no `body:`", l->name);
    l->body = arena_new_array(r->model->arena, struct loop_call, list->count);
    l->body_count = list->count;
    for (uint32_t i = 0; i < list->count; i++)
        if (!read_call(r, list->items[i], &l->body[i]))
            return false;
    return true;
}

static bool read_end(const struct loop_reader *r, const struct yaml *body)
{
    struct loop *l = r->loop;
    const struct yaml *until = yaml_get(body, "until"), *max = yaml_get(body, "max");
    struct number n;
    if (until && !(l->until = read_expression(r, until, true)))
        return false;
    if (max && !model_number(r->model, max, &n))
        return false;
    if (max && (n.kind != NUMBER_INT || n.i < 1))
        return loop_error(r, max->span, "`%s` is a whole number of at least 1", "max");
    l->max = max ? n.i : 0;
    return l->grid || l->max ||
           loop_error(r, l->span, "loop `%s` has no end: give it a `grid:` or a `max:`", l->name);
}

static void add_name(const char **names, uint32_t *count, const char *name)
{
    for (uint32_t i = 0; i < *count; i++)
        if (strcmp(names[i], name) == 0)
            return;
    names[(*count)++] = name;
}

/* What any call of the program gives, all must. */
static void find_inputs(struct arena *arena, const struct loop *loop, struct loop_need *need)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < loop->body_count; i++)
        most += loop->body[i].with_count;
    need->inputs = arena_new_array(arena, const char *, most + 1);
    for (uint32_t i = 0; i < loop->body_count; i++)
        for (uint32_t k = 0; k < loop->body[i].with_count; k++)
            if (strcmp(loop->body[i].program, need->program) == 0)
                add_name(need->inputs, &need->input_count, loop->body[i].with[k].input);
}

uint32_t loop_needs(struct arena *arena, const struct loop *loop, struct loop_need **out)
{
    uint32_t most = loop->body_count + loop->carry_count, count = 0;
    const char **names = arena_new_array(arena, const char *, most + 1);
    for (uint32_t i = 0; i < loop->body_count; i++)
        add_name(names, &count, loop->body[i].program);
    for (uint32_t i = 0; i < loop->carry_count; i++)
        if (loop->carry[i].start == START_CALL)
            add_name(names, &count, loop->carry[i].program);
    *out = arena_new_array(arena, struct loop_need, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        (*out)[i].program = names[i];
        find_inputs(arena, loop, &(*out)[i]);
    }
    return count;
}

bool loop_puts(const struct loop *loop, const char *name)
{
    for (uint32_t i = 0; i < loop->body_count; i++)
        for (uint32_t k = 0; k < loop->body[i].set_count; k++) {
            const struct loop_target *t = &loop->body[i].set[k];
            if (t->at && strcmp(loop->carry[t->carry].name, name) == 0)
                return true;
        }
    return false;
}

bool loop_no_grid(struct diags *diags, const struct loop *loop, const char *hint)
{
    diag_error(diags, FAULT_CONFIG, loop->span, "the sampler `%s` goes from %s: it has no grid",
               loop->name, loop_puts(loop, "x") ? "symbol to symbol" : "event to event");
    diag_hint(diags, "%s", hint);
    return false;
}

const char *loop_default(const struct model *model)
{
    if (section_find(&model->loops, "tweedie"))
        return "tweedie";
    return model->loops.count ? model->loops.items[0].name : NULL;
}

char *loop_names(const struct model *model)
{
    char *text = arena_strdup(model->arena, model->loops.count ? "" : "none");
    for (uint32_t i = 0; i < model->loops.count; i++)
        text =
            arena_printf(model->arena, "%s%s%s", text, i ? ", " : "", model->loops.items[i].name);
    return text;
}

struct loop *loop_read(const struct model *model, const char *name)
{
    static const char *const keys[] = {"carry", "grid", "body", "until", "max", "doc", NULL};
    const struct section *s = section_find(&model->loops, name);
    if (!s) {
        diag_error(model->diags, FAULT_CONFIG, (struct span){0}, "%s has no loop `%s`", model->path,
                   name);
        const char *near = section_nearest(model->arena, &model->loops, name);
        if (near)
            diag_hint(model->diags, "did you mean `%s`?", near);
        else
            diag_hint(model->diags, "its loops: %s", loop_names(model));
        return NULL;
    }
    struct loop *l = arena_alloc(model->arena, sizeof *l);
    struct loop_reader r = {model, l};
    l->name = s->name;
    l->span = s->span;
    l->from = 1; /* where reverse chains start, which a loop without a grid does too */
    bool good = yaml_closed(model->diags, s->body, keys, "a loop") &&
                read_carry(&r, yaml_get(s->body, "carry")) &&
                read_grid(&r, yaml_get(s->body, "grid")) &&
                read_body(&r, yaml_get(s->body, "body")) && read_end(&r, s->body);
    return good ? l : NULL;
}
