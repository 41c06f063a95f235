/* The interpreter of loops. Called by sampling. */
#include "runtime/loop.h"
#include "graph/base/check.h"

#include <string.h>

struct call_input { /* of one plan input */
    uint32_t carry; /* 1 + index */
    uint32_t field; /* 1 + index */
    const struct expr *expr;
    struct region room; /* for EXPR */
    int64_t size;       /* elements of ROOM at the planned size */
};

struct call_state {
    const struct loop_call *call;
    struct loaded *loaded;
    struct call_input *inputs;
    const void **pointers;
    uint32_t *outputs; /* per SET: tensor of the plan */
};

struct looper {
    const struct loop *loop;
    int64_t batch;
    struct region *carry;
    struct call_state *calls;
    struct call_state *starts; /* per carry; LOADED NULL: none */
    uint32_t text;             /* 1 + index of the carry `x`; 0: none */
    int64_t done, lawless;
    bool cut;
};

/* Names of one moment. */
struct moment {
    const struct looper *looper;
    int64_t index, steps;
    double now, next;
};

static int64_t row_bytes(const struct loop_carry *c)
{
    int64_t n = (int64_t)dtype_size(c->dtype);
    for (uint32_t i = 0; i < c->rank; i++)
        n *= c->dim[i] < 0 ? 1 : c->dim[i];
    return n;
}

static bool is_batched(const struct loop_carry *c)
{
    return c->rank && c->dim[0] < 0;
}

/* --- opening ------------------------------------------------------------------------------ */

struct opening {
    struct diags *diags;
    struct arena *arena;
    struct looper *looper;
    const struct loop_program *programs;
    uint32_t program_count;
    const char *const *fields;
    uint32_t field_count;
};

static struct loaded *find_program(const struct opening *o, const char *name)
{
    for (uint32_t i = 0; i < o->program_count; i++)
        if (strcmp(o->programs[i].name, name) == 0)
            return o->programs[i].loaded;
    return NULL;
}

/* WITHOUT: an axis of the carry that T lacks; 0: none. */
static bool same_shape(const struct opening *o, const struct loop_carry *c, const struct type *t,
                       uint32_t without)
{
    uint32_t k = 0;
    if (t->dtype != c->dtype || t->rank != c->rank - (without != 0))
        return false;
    for (uint32_t i = 0; i < c->rank; i++) {
        if (without && i == without)
            continue;
        if (t->dim[k++].size != (c->dim[i] < 0 ? o->looper->batch : c->dim[i]))
            return false;
    }
    return true;
}

static bool type_fault(const struct opening *o, struct span span, const char *what,
                       const char *name, const struct type *t)
{
    diag_error(o->diags, FAULT_CONFIG, span, "%s `%s` is %s in the program", what, name,
               type_print(o->arena, NULL, t));
    return false;
}

static bool open_input(const struct opening *o, const struct loop_call *call,
                       const struct plan *plan, uint32_t i, struct call_input *in)
{
    const char *name = plan->inputs[i].name;
    const struct type *type = &plan->tensors[plan->inputs[i].tensor].type;
    for (uint32_t k = 0; k < call->with_count; k++) {
        const struct loop_source *s = &call->with[k];
        if (strcmp(s->input, name) != 0)
            continue;
        in->carry = s->carry;
        in->expr = s->expr;
        if (s->carry)
            return same_shape(o, &o->looper->loop->carry[s->carry - 1], type, 0) ||
                   type_fault(o, s->span, "what is carried does not fit: input", name, type);
        if (type->dtype != DT_F64 && type->dtype != DT_F32)
            return type_fault(o, s->span, "an expression is a real number, but input", name, type);
        in->size = type_count(type);
        return region_map(o->diags, &in->room, (size_t)type_bytes(type), name);
    }
    for (uint32_t k = 0; k < o->field_count; k++) {
        if (strcmp(o->fields[k], name) == 0) {
            in->field = k + 1;
            return true;
        }
    }
    diag_error(o->diags, FAULT_CONFIG, call->span, "`%s` is not given its input `%s`",
               call->program, name);
    return false;
}

static bool open_call(const struct opening *o, const struct loop_call *call, struct call_state *s)
{
    s->call = call;
    s->loaded = find_program(o, call->program);
    BUG_ON(!s->loaded);
    const struct plan *plan = executor_plan(s->loaded);
    s->inputs = arena_new_array(o->arena, struct call_input, plan->input_count + 1);
    s->pointers = arena_new_array(o->arena, const void *, plan->input_count + 1);
    s->outputs = arena_new_array(o->arena, uint32_t, call->set_count + 1);
    for (uint32_t i = 0; i < plan->input_count; i++)
        if (!open_input(o, call, plan, i, &s->inputs[i]))
            return false;
    for (uint32_t k = 0; k < call->with_count; k++) {
        if (plan_input(plan, call->with[k].input))
            continue;
        diag_error(o->diags, FAULT_CONFIG, call->with[k].span, "`%s` has no input `%s`",
                   call->program, call->with[k].input);
        return false;
    }
    for (uint32_t k = 0; k < call->set_count; k++) {
        const struct loop_target *t = &call->set[k];
        s->outputs[k] = plan_output(plan, t->output);
        if (!s->outputs[k]) {
            diag_error(o->diags, FAULT_CONFIG, t->span, "`%s` returns no `%s`", call->program,
                       t->output);
            return false;
        }
        const struct type *type = &plan->tensors[s->outputs[k]].type;
        if (!same_shape(o, &o->looper->loop->carry[t->carry], type, t->axis))
            return type_fault(o, t->span, "it does not fit what is carried:", t->output, type);
    }
    return true;
}

/* A carry that starts as the output of a program, which may take the first time as `t`. */
static bool open_start(const struct opening *o, uint32_t carry, struct call_state *s)
{
    const struct loop_carry *c = &o->looper->loop->carry[carry];
    struct loop_call *call = arena_alloc(o->arena, sizeof *call);
    struct loop_target *set = arena_alloc(o->arena, sizeof *set);
    *call = (struct loop_call){.program = c->program, .set = set, .set_count = 1, .span = c->span};
    *set = (struct loop_target){.carry = carry, .output = c->name, .span = c->span};
    const struct plan *plan = executor_plan(find_program(o, c->program));
    if (plan_input(plan, "t")) {
        struct expr *now = arena_alloc(o->arena, sizeof *now);
        call->with = arena_alloc(o->arena, sizeof *call->with);
        call->with_count = 1;
        now->kind = EXPR_NAME;
        now->name = "grid.now";
        call->with[0] = (struct loop_source){.input = "t", .expr = now, .span = c->span};
    }
    return open_call(o, call, s);
}

struct looper *loop_open(struct diags *diags, struct arena *arena, const struct loop *loop,
                         const struct loop_program *programs, uint32_t program_count,
                         const char *const *field_names, uint32_t field_count, int64_t batch)
{
    struct looper *l = arena_alloc(arena, sizeof *l);
    struct opening o = {diags, arena, l, programs, program_count, field_names, field_count};
    l->loop = loop;
    l->batch = batch;
    for (uint32_t i = 0; i < loop->carry_count; i++)
        if (strcmp(loop->carry[i].name, "x") == 0 && loop->carry[i].dtype == DT_TOKEN)
            l->text = i + 1;
    l->carry = arena_new_array(arena, struct region, loop->carry_count + 1);
    l->calls = arena_new_array(arena, struct call_state, loop->body_count + 1);
    l->starts = arena_new_array(arena, struct call_state, loop->carry_count + 1);
    bool good = true;
    for (uint32_t i = 0; good && i < loop->carry_count; i++) {
        const struct loop_carry *c = &loop->carry[i];
        int64_t bytes = row_bytes(c) * (is_batched(c) ? batch : 1);
        good = region_map(diags, &l->carry[i], (size_t)bytes, c->name);
    }
    for (uint32_t i = 0; good && i < loop->body_count; i++)
        good = open_call(&o, &loop->body[i], &l->calls[i]);
    for (uint32_t i = 0; good && i < loop->carry_count; i++)
        if (loop->carry[i].start == START_CALL)
            good = open_start(&o, i, &l->starts[i]);
    if (good)
        return l;
    loop_close(l);
    return NULL;
}

static void close_call(struct call_state *s)
{
    for (uint32_t i = 0; s->loaded && i < executor_plan(s->loaded)->input_count; i++)
        region_unmap(&s->inputs[i].room);
}

void loop_close(struct looper *looper)
{
    if (!looper)
        return;
    for (uint32_t i = 0; i < looper->loop->carry_count; i++) {
        region_unmap(&looper->carry[i]);
        close_call(&looper->starts[i]);
    }
    for (uint32_t i = 0; i < looper->loop->body_count; i++)
        close_call(&looper->calls[i]);
}

/* --- names -------------------------------------------------------------------------------- */

static struct number carried_number(const struct loop_carry *c, const void *data)
{
    switch (c->dtype) {
    case DT_BOOL:
        return (struct number){.kind = NUMBER_BOOL, .i = *(const uint8_t *)data};
    case DT_F64:
        return (struct number){.kind = NUMBER_REAL, .r = *(const double *)data};
    case DT_F32:
        return (struct number){.kind = NUMBER_REAL, .r = *(const float *)data};
    default:
        return (struct number){.kind = NUMBER_INT, .i = *(const int32_t *)data};
    }
}

static bool lookup(const void *context, const char *name, struct number *out)
{
    const struct moment *m = context;
    const struct loop *loop = m->looper->loop;
    if (strncmp(name, "grid.", 5) == 0) {
        const char *what = name + 5;
        if (strcmp(what, "now") == 0 || strcmp(what, "next") == 0)
            *out = (struct number){.kind = NUMBER_REAL, .r = what[2] == 'w' ? m->now : m->next};
        else if (strcmp(what, "index") == 0 || strcmp(what, "steps") == 0)
            *out = (struct number){.kind = NUMBER_INT, .i = what[0] == 'i' ? m->index : m->steps};
        else
            *out = (struct number){.kind = NUMBER_BOOL,
                                   .i = what[0] == 'f' ? m->index == 0 : m->index == m->steps - 1};
        return true;
    }
    for (uint32_t i = 0; i < loop->carry_count; i++) {
        if (strcmp(loop->carry[i].name, name) != 0)
            continue;
        *out = carried_number(&loop->carry[i], m->looper->carry[i].data);
        return true;
    }
    return false;
}

static struct number evaluate(const struct moment *m, const struct expr *e)
{
    struct expr_scope scope = {lookup, NULL, m};
    struct number n = {0};
    bool known = expr_eval(NULL, e, &scope, &n);
    BUG_ON(!known); /* names were checked when the loop was read */
    return n;
}

/* --- running ------------------------------------------------------------------------------ */

static void fill_input(const struct moment *m, const struct plan *plan, uint32_t i,
                       struct call_input *in)
{
    double value = number_real(evaluate(m, in->expr));
    bool f64 = plan->tensors[plan->inputs[i].tensor].type.dtype == DT_F64;
    for (int64_t k = 0; k < in->size; k++) {
        if (f64)
            ((double *)in->room.data)[k] = value;
        else
            ((float *)in->room.data)[k] = (float)value;
    }
}

/* Known positions take their token, whatever a program drew there. */
static void hold_known(struct looper *l, const struct loop_request *q, uint32_t carry)
{
    const struct loop_overlay *o = q->overlay;
    if (!o || !o->fixed || carry + 1 != l->text)
        return;
    int32_t *x = (int32_t *)(void *)l->carry[carry].data;
    for (int64_t i = 0; i < q->count * o->length; i++)
        x[i] = o->fixed[i] ? o->known[i] : x[i];
}

/* One of the allowed states, each as likely: the uniform law given that. There is at least one. */
static int32_t draw_allowed(const uint8_t *allowed, int64_t states, double u)
{
    int64_t count = 0, last = 0;
    for (int64_t y = 0; y < states; y++)
        count += allowed[y];
    int64_t skip = (int64_t)(u * (double)count);
    for (int64_t y = 0; y < states; y++) {
        if (!allowed[y])
            continue;
        last = y;
        if (skip-- == 0)
            break;
    }
    return (int32_t)last;
}

static void start_allowed(struct looper *l, const struct loop_request *q)
{
    const struct loop_overlay *o = q->overlay;
    if (!o || !o->allowed || !l->text)
        return;
    uint32_t stream = random_stream("start.allowed");
    int32_t *x = (int32_t *)(void *)l->carry[l->text - 1].data;
    for (int64_t i = 0; i < q->count * o->length; i++) {
        const uint8_t *allowed = o->allowed + i * o->states;
        if (x[i] < o->states && allowed[x[i]])
            continue;
        double u = random_uniform(q->key, 0, stream, q->sequence + (uint32_t)(i / o->length),
                                  (uint32_t)(i % o->length));
        x[i] = o->mask >= 0 ? o->mask : draw_allowed(allowed, o->states, u);
    }
}

/* The output T becomes the carry of TARGET, or one place of it. */
static void set_carry(struct looper *l, const struct moment *m, const struct loop_target *target,
                      const struct tensor *t)
{
    const struct loop_carry *c = &l->loop->carry[target->carry];
    unsigned char *to = l->carry[target->carry].data;
    const unsigned char *from = t->data;
    size_t bytes = dtype_size(t->dtype);
    if (!target->at) {
        memcpy(to, from, (size_t)tensor_size(t) * bytes);
        return;
    }
    double at = number_real(evaluate(m, target->at));
    int64_t outer = tensor_lead(t, target->axis), places = c->dim[target->axis];
    for (uint32_t i = target->axis; i < t->rank; i++)
        bytes *= (size_t)t->dim[i];
    for (int64_t i = 0; at >= 0 && at < (double)places && i < outer; i++)
        memcpy(to + (size_t)(i * places + (int64_t)at) * bytes, from + (size_t)i * bytes, bytes);
}

static void call_program(struct looper *l, struct call_state *s, const struct loop_request *q,
                         const struct moment *m, uint32_t iteration)
{
    const struct plan *plan = executor_plan(s->loaded);
    for (uint32_t i = 0; i < plan->input_count; i++) {
        struct call_input *in = &s->inputs[i];
        if (in->expr)
            fill_input(m, plan, i, in);
        s->pointers[i] = in->expr    ? (const void *)in->room.data
                         : in->carry ? l->carry[in->carry - 1].data
                                     : q->fields[in->field - 1].data;
    }
    struct run run = {.inputs = s->pointers,
                      .key = q->key,
                      .iteration = iteration,
                      .sequence = q->sequence,
                      .lawless = &l->lawless};
    for (uint32_t a = 1; a < plan->axis_count; a++)
        run.count[a] = strcmp(plan->axes[a].name, "batch") == 0 ? q->count : 0;
    uint32_t step;
    executor_run(s->loaded, &run, &step);
    for (uint32_t k = 0; k < s->call->set_count; k++) {
        struct tensor t = executor_output(s->loaded, s->outputs[k]);
        set_carry(l, m, &s->call->set[k], &t);
        hold_known(l, q, s->call->set[k].carry);
    }
    l->done++;
}

static void start(struct looper *l, const struct loop_request *q, const struct moment *m)
{
    for (uint32_t i = 0; i < l->loop->carry_count; i++) {
        const struct loop_carry *c = &l->loop->carry[i];
        int64_t n = row_bytes(c) * (is_batched(c) ? l->batch : 1) / (int64_t)dtype_size(c->dtype);
        if (c->start == START_ZERO)
            memset(l->carry[i].data, 0, l->carry[i].size);
        for (int64_t k = 0; c->start == START_VALUE && k < n; k++) {
            if (c->dtype == DT_F64)
                ((double *)l->carry[i].data)[k] = c->value;
            else if (c->dtype == DT_F32)
                ((float *)l->carry[i].data)[k] = (float)c->value;
            else if (c->dtype == DT_BOOL)
                ((uint8_t *)l->carry[i].data)[k] = c->value != 0;
            else
                ((int32_t *)l->carry[i].data)[k] = (int32_t)c->value;
        }
        if (c->start == START_CALL)
            call_program(l, &l->starts[i], q, m, 0);
    }
    start_allowed(l, q);
    if (l->text)
        hold_known(l, q, l->text - 1);
}

bool loop_run(struct looper *looper, const struct loop_request *request)
{
    struct looper *l = looper;
    const struct loop *loop = l->loop;
    BUG_ON(request->count < 1 || request->count > l->batch);
    bool own = !request->steps || (loop->times && !request->time);
    int64_t steps = own ? loop->steps : request->steps;
    int64_t turns = loop->grid ? steps : loop->max;
    int64_t most = loop->grid ? loop->max : request->turns;
    if (most && most < turns)
        turns = most;
    struct moment m = {.looper = l, .steps = turns, .now = loop->from, .next = loop->from};
    l->done = l->lawless = 0;
    l->cut = false;
    start(l, request, &m);
    if (request->watch && !request->watch(request->context, l, 0, turns))
        return false;
    for (m.index = 0; m.index < turns; m.index++) {
        if (loop->grid) {
            const double *time = request->time ? request->time + m.index : NULL;
            m.now = time ? time[0] : loop_time(loop, m.index, steps);
            m.next = time ? time[1] : loop_time(loop, m.index + 1, steps);
        }
        for (uint32_t i = 0; i < loop->body_count; i++) {
            const struct expr *when = loop->body[i].when;
            if (!when || evaluate(&m, when).i)
                call_program(l, &l->calls[i], request, &m,
                             (uint32_t)(m.index * loop->body_count + i + 1));
        }
        if (request->watch && !request->watch(request->context, l, m.index + 1, turns))
            return false;
        l->cut = loop->until && !evaluate(&m, loop->until).i;
        if (loop->until && !l->cut)
            break;
    }
    l->cut = l->cut && !loop->grid; /* the end of a grid is an end */
    return true;
}

void *loop_carry_data(struct looper *looper, const char *name)
{
    for (uint32_t i = 0; i < looper->loop->carry_count; i++)
        if (strcmp(looper->loop->carry[i].name, name) == 0)
            return looper->carry[i].data;
    return NULL;
}

int64_t loop_calls(const struct looper *looper)
{
    return looper->done;
}

bool loop_is_cut(const struct looper *looper)
{
    return looper->cut;
}

int64_t loop_lawless(const struct looper *looper)
{
    return looper->lawless;
}
