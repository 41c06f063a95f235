/* Holds training to a limit of memory: what the rows of the state, inputs and literals leave is the
 * arena's. */
#include "tools/budget.h"

#include <stdlib.h>

#define SHOWN 4 /* buffers that a message names */

static struct plan_total total_with(const struct budget *budget, struct plan *plan)
{
    struct plan *before = budget->plans[0];
    struct plan_total total;
    budget->plans[0] = plan;
    plan_sum(budget->plans, budget->plan_count, &total);
    budget->plans[0] = before;
    return total;
}

int64_t budget_need(const struct budget *budget, struct plan *plan)
{
    return total_with(budget, plan).all;
}

struct plan *budget_compile(const struct budget *budget, int64_t bytes)
{
    int64_t before = budget->options->arena_limit;
    budget->options->arena_limit = bytes > 0 ? bytes : 1;
    struct elaborate_request q = *budget->request;
    struct plan *plan = session_compile(budget->s, &q, budget->options);
    budget->options->arena_limit = before;
    return plan;
}

/* --- what does not fit -------------------------------------------------------------------- */

static const struct plan *largest_arena(const struct budget *b)
{
    const struct plan *largest = b->plans[0];
    for (uint32_t i = 1; i < b->plan_count; i++)
        if (b->plans[i]->arena_bytes > largest->arena_bytes)
            largest = b->plans[i];
    return largest;
}

static int largest_first(const void *a, const void *b)
{
    const struct plan_buffer *x = *(const struct plan_buffer *const *)a,
                             *y = *(const struct plan_buffer *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* The largest buffers that live at the peak. */
static void show_peak(const struct budget *b, const struct plan *plan)
{
    struct arena *a = b->s->arena;
    const struct plan_buffer **alive =
        arena_new_array(a, const struct plan_buffer *, plan->buffer_count + 1);
    uint32_t n = 0, peak = plan->certificate.peak_step;
    for (uint32_t i = 0; i < plan->buffer_count; i++)
        if (plan->buffers[i].first <= peak && peak <= plan->buffers[i].last)
            alive[n++] = &plan->buffers[i];
    qsort(alive, n, sizeof *alive, largest_first);
    for (uint32_t i = 0; i < n && i < SHOWN; i++) {
        struct span span = plan->steps[alive[i]->first].span;
        const char *type = plan_buffer_type(a, plan, alive[i]); /* scratch has none */
        diag_hint(b->s->diags, "%s of it: %s%s%s, %s:%u", plan_size(a, alive[i]->bytes),
                  plan_buffer_name(a, plan, alive[i]), type[0] ? " " : "", type,
                  diags_file_name(b->s->diags, span.file), span.line);
    }
}

/* BYTES so that what is printed is no less than it. */
static char *size_up(struct arena *a, int64_t bytes)
{
    const int64_t unit = bytes < 10 * 1024 ? 1 : bytes < 10 * 1024 * 1024 ? 1024 : 1024 * 1024;
    return plan_size(a, bytes + unit / 20);
}

static bool too_little(const struct budget *b, int64_t memory, struct span span)
{
    struct diags *d = b->s->diags;
    struct arena *a = b->s->arena;
    const struct plan *p = largest_arena(b);
    struct plan_total n = total_with(b, b->plans[0]);
    diag_error(d, FAULT_CONFIG, span, "`memory` is %s, and no less than %s will do",
               plan_size(a, memory), size_up(a, n.all));
    diag_hint(d, "rows of the state: parameters %s%s, moments %s, averages %s",
              plan_size(a, n.state[STATE_PARAMETER]),
              n.state[STATE_GRADIENT]
                  ? arena_printf(a, ", gradients %s", plan_size(a, n.state[STATE_GRADIENT]))
                  : "",
              plan_size(a, n.state[STATE_MOMENT]), plan_size(a, n.state[STATE_EMA]));
    diag_hint(d, "the arena: %s in the program `%s`%s, where all is computed twice that helps",
              plan_size(a, n.arena), p->program, b->options->update ? " and its gradients" : "");
    show_peak(b, p);
    diag_hint(d, "a smaller batch needs less; train.accumulate keeps what an update sees");
    return false;
}

bool budget_fit(const struct budget *budget, int64_t memory, struct span span)
{
    struct plan_total n = total_with(budget, budget->plans[0]);
    /* What comes close to a limit out of reach may need a little more than the least there is. */
    const int64_t limits[] = {memory - (n.all - n.arena), 1};
    if (!memory || n.all <= memory)
        return true;
    for (int i = 0; i < 2; i++) {
        struct plan *plan = budget_compile(budget, limits[i]);
        if (!plan)
            return false;
        budget->plans[0] = plan;
        if (budget_need(budget, plan) <= memory)
            return true;
    }
    return too_little(budget, memory, span);
}
