/* The executor: one loop over the steps of a plan. */
#include "runtime/executor.h"
#include "graph/base/check.h"
#include "graph/base/clock.h"
#include "graph/base/sanitize.h"

#include <math.h>
#include <string.h>

struct loaded {
    const struct plan *plan;
    struct engine *engine;
    const struct kernel **kernels; /* per step */
    struct tensor *tensors;        /* per tensor of the plan: dims of this run, address */
    struct tensor *in, *out;       /* operands of one step */
    struct region consts;
    int64_t count[PLAN_AXES_MAX];
    struct step_time *times; /* per step; NULL: not measured */
    uint32_t *last_step; /* per tensor: the last step that touches its buffer; sanitizers only */
};

/* --- loading ------------------------------------------------------------------------------ */

static const struct kernel *find_kernel(struct diags *diags, const struct engine *engine,
                                        const struct plan *plan, const struct plan_step *step)
{
    enum dtype in[1100], out[64];
    BUG_ON(step->in_count > 1100 || step->out_count > 64);
    for (uint32_t i = 0; i < step->in_count; i++)
        in[i] = step->in[i] ? plan->tensors[step->in[i]].type.dtype : DT_COUNT;
    for (uint32_t k = 0; k < step->out_count; k++)
        out[k] = plan->tensors[step->out[k]].type.dtype;
    const struct kernel *kernel =
        kernel_find(engine->isa, step->op, in, step->in_count, out, step->out_count);
    if (!kernel) {
        diag_error(diags, FAULT_CONFIG, step->span, "`%s` has no kernel for these types", step->op);
        for (uint32_t i = 0; i < step->in_count; i++)
            diag_hint(diags, "input %u is %s", i + 1,
                      in[i] == DT_COUNT ? "absent" : dtype_name(in[i]));
    }
    return kernel;
}

static void fill_const(void *at, enum dtype dtype, int64_t n, double value)
{
    for (int64_t i = 0; i < n; i++) {
        switch (dtype) {
        case DT_F32:
            ((float *)at)[i] = (float)value;
            break;
        case DT_F64:
            ((double *)at)[i] = value;
            break;
        case DT_I32:
        case DT_TOKEN:
            ((int32_t *)at)[i] = (int32_t)value;
            break;
        case DT_BOOL:
            ((uint8_t *)at)[i] = value != 0;
            break;
        default:
            BUG_ON(true);
        }
    }
}

static void fill_consts(struct loaded *l)
{
    for (uint32_t i = 0; i < l->plan->const_count; i++) {
        const struct plan_tensor *t = &l->plan->tensors[l->plan->consts[i].tensor];
        fill_const(l->consts.data + t->offset, t->type.dtype, type_count(&t->type),
                   l->plan->consts[i].value);
    }
}

static void *address(const struct loaded *l, const struct plan_tensor *t)
{
    switch (t->memory) {
    case MEMORY_ARENA:
        return l->engine->arena.data + t->offset;
    case MEMORY_STATE:
        return l->engine->state->row[t->index];
    case MEMORY_CONST:
        return l->consts.data + t->offset;
    default:
        return NULL; /* inputs come with each run */
    }
}

static void resolve(struct loaded *l)
{
    for (uint32_t i = 1; i < l->plan->tensor_count; i++) {
        const struct plan_tensor *t = &l->plan->tensors[i];
        struct tensor *at = &l->tensors[i];
        at->dtype = t->type.dtype;
        at->rank = t->type.rank;
        for (uint32_t k = 0; k < t->type.rank; k++)
            at->dim[k] = t->type.dim[k].size;
        at->data = address(l, t);
        BUG_ON(t->memory == MEMORY_STATE && !at->data);
    }
}

/* The arena grows to what the largest plan needs; plans loaded before find it again when they
 * run. */
static bool grow_arena(struct diags *diags, struct engine *engine, int64_t bytes)
{
    if ((int64_t)engine->arena.size >= bytes && engine->arena.data)
        return true;
    region_unmap(&engine->arena);
    return region_map(diags, &engine->arena, (size_t)bytes, "the arena");
}

#ifdef SANITIZED
/* Ranges of the arena that no later step reads are poisoned as soon as they are dead. */
static void find_last_steps(struct loaded *l)
{
    const struct plan *p = l->plan;
    for (uint32_t s = 0; s < p->step_count; s++) {
        for (uint32_t i = 0; i < p->steps[s].in_count; i++)
            l->last_step[p->steps[s].in[i]] = s;
        for (uint32_t k = 0; k < p->steps[s].out_count; k++)
            l->last_step[p->steps[s].out[k]] = s;
    }
    for (uint32_t i = 0; i < p->output_count; i++)
        l->last_step[p->outputs[i].tensor] = UINT32_MAX;
}

static bool still_read(const struct loaded *l, uint32_t dead, uint32_t step)
{
    const struct plan_tensor *d = &l->plan->tensors[dead];
    for (uint32_t t = 1; t < l->plan->tensor_count; t++) {
        const struct plan_tensor *o = &l->plan->tensors[t];
        if (o->memory == MEMORY_ARENA && o->offset == d->offset && l->last_step[t] > step &&
            o->bytes == d->bytes && o->value != d->value)
            return true; /* a view, or a result made in place, of the same buffer */
    }
    return false;
}

static void poison_dead(struct loaded *l, uint32_t step)
{
    const struct plan_step *s = &l->plan->steps[step];
    for (uint32_t i = 0; i < s->in_count; i++) {
        const struct plan_tensor *t = &l->plan->tensors[s->in[i]];
        if (t->memory == MEMORY_ARENA && l->last_step[s->in[i]] == step &&
            !still_read(l, s->in[i], step))
            ASAN_POISON_MEMORY_REGION(l->engine->arena.data + t->offset, (size_t)t->bytes);
    }
    if (s->workspace)
        ASAN_POISON_MEMORY_REGION(l->engine->arena.data + s->workspace_offset,
                                  (size_t)s->workspace);
}

static void unpoison_results(struct loaded *l, uint32_t step)
{
    const struct plan_step *s = &l->plan->steps[step];
    for (uint32_t k = 0; k < s->out_count; k++) {
        const struct plan_tensor *t = &l->plan->tensors[s->out[k]];
        if (t->memory == MEMORY_ARENA)
            ASAN_UNPOISON_MEMORY_REGION(l->engine->arena.data + t->offset, (size_t)t->bytes);
    }
    if (s->workspace)
        ASAN_UNPOISON_MEMORY_REGION(l->engine->arena.data + s->workspace_offset,
                                    (size_t)s->workspace);
}
#endif

struct loaded *executor_load(struct diags *diags, struct arena *arena, struct engine *engine,
                             const struct plan *plan)
{
    struct loaded *l = arena_alloc(arena, sizeof *l);
    uint32_t most_in = 1, most_out = 1;
    l->plan = plan;
    l->engine = engine;
    l->kernels = arena_new_array(arena, const struct kernel *, plan->step_count);
    l->tensors = arena_new_array(arena, struct tensor, plan->tensor_count);
    l->last_step = arena_new_array(arena, uint32_t, plan->tensor_count);
    if (plan->axis_count > PLAN_AXES_MAX) {
        diag_error(diags, FAULT_CONFIG, (struct span){0},
                   "program `%s` has %u short axes, and %d can be counted", plan->program,
                   plan->axis_count - 1, PLAN_AXES_MAX - 1);
        return NULL;
    }
    for (uint32_t i = 0; i < plan->step_count; i++) {
        l->kernels[i] = find_kernel(diags, engine, plan, &plan->steps[i]);
        if (!l->kernels[i])
            return NULL;
        most_in = plan->steps[i].in_count > most_in ? plan->steps[i].in_count : most_in;
        most_out = plan->steps[i].out_count > most_out ? plan->steps[i].out_count : most_out;
    }
    l->in = arena_new_array(arena, struct tensor, most_in);
    l->out = arena_new_array(arena, struct tensor, most_out);
    if (!grow_arena(diags, engine, plan->arena_bytes) ||
        !region_map(diags, &l->consts, (size_t)plan->const_bytes, "constants"))
        return NULL;
    fill_consts(l);
    resolve(l);
#ifdef SANITIZED
    find_last_steps(l);
#endif
    return l;
}

void executor_unload(struct loaded *loaded)
{
    if (loaded)
        region_unmap(&loaded->consts);
}

/* --- running ------------------------------------------------------------------------------ */

static void cut_axis(struct loaded *l, uint32_t axis, int64_t count)
{
    BUG_ON(count < 0 || count > l->plan->axes[axis].size);
    l->count[axis] = count;
    for (uint32_t i = 1; i < l->plan->tensor_count; i++)
        if (l->plan->tensors[i].type.rank && l->plan->tensors[i].type.dim[0].axis == axis)
            l->tensors[i].dim[0] = count;
}

static void prepare(struct loaded *l, const struct run *run)
{
    for (uint32_t a = 1; a < l->plan->axis_count; a++) {
        int64_t count = run->count[a] ? run->count[a] : l->plan->axes[a].size;
        if (!l->plan->axes[a].counter && count != l->count[a])
            cut_axis(l, a, count);
    }
    for (uint32_t i = 1; i < l->plan->tensor_count; i++) {
        const struct plan_tensor *t = &l->plan->tensors[i];
        if (t->memory == MEMORY_INPUT)
            l->tensors[i].data = (void *)run->inputs[t->index];
        else if (t->memory == MEMORY_ARENA) /* it may have moved since this plan was loaded */
            l->tensors[i].data = l->engine->arena.data + t->offset;
    }
#ifdef SANITIZED
    ASAN_POISON_MEMORY_REGION(l->engine->arena.data, l->engine->arena.size);
#endif
}

static bool is_finite(const struct tensor *t)
{
    int64_t n = tensor_size(t);
    for (int64_t i = 0; i < n; i++) {
        if (t->dtype == DT_F32 && !isfinite(((const float *)t->data)[i]))
            return false;
        if (t->dtype == DT_F64 && !isfinite(((const double *)t->data)[i]))
            return false;
    }
    return true;
}

static bool makes_tokens(const struct loaded *l, const struct plan_step *s)
{
    for (uint32_t k = 0; k < s->out_count; k++)
        if (l->tensors[s->out[k]].dtype == DT_TOKEN)
            return true;
    return false;
}

/* Of the floats that step S draws tokens by. One that reads parameters has a network's last map in
 * it, and counts its own. -infinity is the logarithm of an impossible token. */
static int64_t count_lawless(const struct loaded *l, const struct plan_step *s)
{
    int64_t found = 0;
    for (uint32_t k = 0; makes_tokens(l, s) && k < s->in_count; k++) {
        const struct tensor *t = &l->tensors[s->in[k]];
        if (!s->in[k] || t->dtype != DT_F32)
            continue;
        if (l->plan->tensors[s->in[k]].memory == MEMORY_STATE)
            return 0;
        const float *v = t->data;
        int64_t n = tensor_size(t);
        for (int64_t i = 0; i < n; i++)
            found += v[i] < INFINITY ? 0 : 1;
    }
    return found;
}

/* How many sequences there are: rows of the first axis that the run supplies, and not a step. */
static uint32_t sequences_of_run(const struct loaded *l)
{
    for (uint32_t a = 1; a < l->plan->axis_count; a++)
        if (!l->plan->axes[a].counter)
            return (uint32_t)l->count[a];
    return 1;
}

static void run_step(struct loaded *l, uint32_t i, const struct run *run)
{
    const struct plan_step *s = &l->plan->steps[i];
    int64_t count = 0;
    for (uint32_t k = 0; k < s->in_count; k++)
        l->in[k] = l->tensors[s->in[k]]; /* [0] stays empty: an absent input */
    for (uint32_t k = 0; k < s->out_count; k++)
        l->out[k] = l->tensors[s->out[k]];
    struct kernel_call call = {.in_count = s->in_count,
                               .out_count = s->out_count,
                               .in = l->in,
                               .out = l->out,
                               .attr = s->attr,
                               .chain = s->chain,
                               .workspace = l->engine->arena.data + s->workspace_offset,
                               .threads = l->engine->threads,
                               .key = run->key,
                               .iteration = run->iteration,
                               .stream = s->stream,
                               .sequence = run->sequence,
                               .sequences = run->sequences,
                               .count = &count,
                               .lawless = run->lawless};
    if (!call.sequences)
        call.sequences = sequences_of_run(l);
    l->kernels[i]->run(&call);
    if (s->counts)
        cut_axis(l, s->counts, count);
}

/* Of the planned rows: the least share of any operand with a short axis. */
static double share_of_rows(const struct loaded *l, const struct plan_step *s)
{
    double least = 1;
    for (uint32_t k = 0; k < s->in_count + s->out_count; k++) {
        uint32_t t = k < s->in_count ? s->in[k] : s->out[k - s->in_count];
        const struct type *planned = &l->plan->tensors[t].type;
        if (planned->rank && planned->dim[0].axis)
            least = fmin(least, (double)l->tensors[t].dim[0] / (double)planned->dim[0].size);
    }
    return least;
}

void executor_measure(struct loaded *loaded, struct step_time *times)
{
    loaded->times = times;
}

bool executor_run(struct loaded *loaded, const struct run *run, uint32_t *step)
{
    struct loaded *l = loaded;
    prepare(l, run);
    for (uint32_t i = 0; i < l->plan->step_count; i++) {
        double start = l->times ? clock_seconds() : 0;
#ifdef SANITIZED
        unpoison_results(l, i);
#endif
        if (run->lawless)
            *run->lawless += count_lawless(l, &l->plan->steps[i]);
        run_step(l, i, run);
        if (l->times) {
            l->times[i].seconds += clock_seconds() - start;
            l->times[i].rows += share_of_rows(l, &l->plan->steps[i]);
        }
        for (uint32_t k = 0; run->checked && k < l->plan->steps[i].out_count; k++) {
            if (is_finite(&l->tensors[l->plan->steps[i].out[k]]))
                continue;
            *step = i;
            return false;
        }
#ifdef SANITIZED
        poison_dead(l, i);
#endif
    }
    return true;
}

struct tensor executor_output(const struct loaded *loaded, uint32_t tensor)
{
    struct tensor t = loaded->tensors[tensor];
#ifdef SANITIZED
    ASAN_UNPOISON_MEMORY_REGION(t.data, (size_t)loaded->plan->tensors[tensor].bytes);
#endif
    return t;
}

const struct plan *executor_plan(const struct loaded *loaded)
{
    return loaded->plan;
}
