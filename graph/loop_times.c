/* The times of one run of a loop: its grid as it is spaced, with steps cut where its `limit` asks
 * for it. Called by `sedge sample`. */
#include "graph/loop.h"
#include "graph/process.h"

#include <math.h>

double loop_time(const struct loop *loop, int64_t index, int64_t steps)
{
    double u = (double)index / (double)steps, span = loop->from - loop->to;
    if (loop->times)
        return loop->times[index];
    if (index == steps)
        return loop->to;
    switch (loop->spacing) {
    case SPACING_LOG:
        return loop->from * pow(loop->to / loop->from, u);
    case SPACING_COSINE:
        return loop->to + span * cos(1.5707963267948966 * u);
    case SPACING_QUADRATIC:
        return loop->to + span * (1 - u) * (1 - u);
    case SPACING_UNIFORM:
        break;
    }
    return loop->from - span * u;
}

/* INFINITY where the noise has no end. */
static double sigma_at(const struct process *process, double t)
{
    double sigma;
    return process_sigma(process, t, &sigma) ? sigma : INFINITY;
}

/* The time between LOW and HIGH whose noise is SIGMA, which grows with it. */
static double time_of(const struct process *process, double sigma, double low, double high)
{
    for (int i = 0; i < 60; i++) { /* to the last bit of a double between 0 and 1 */
        double middle = (low + high) / 2;
        if (sigma_at(process, middle) < sigma)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

/* How many parts the step from NOW to NEXT is cut into: a whole number, perhaps beyond integers. */
static double parts_of(const struct loop *loop, const struct process *process, double now,
                       double next)
{
    double fall = process ? sigma_at(process, now) - sigma_at(process, next) : 0;
    if (!process || !isfinite(fall))
        return 1;
    double parts = ceil(chain_fastest(&process->chain) * fall / loop->limit);
    return parts > 1 ? parts : 1;
}

bool loop_grid(const struct model *model, const struct loop *loop, int64_t steps,
               struct loop_times *out)
{
    const struct process *process = loop->limit > 0 ? &model->processes[0] : NULL;
    int64_t count = loop->times || !steps ? loop->steps : steps, at = 0;
    double inserted = 0;
    for (int64_t i = 0; i < count; i++)
        inserted +=
            parts_of(loop, process, loop_time(loop, i, count), loop_time(loop, i + 1, count)) - 1;
    if (inserted > LOOP_INSERTED_MAX) {
        diag_error(
            model->diags, FAULT_CONFIG, loop->limit_span,
            "the limit %g of a step asks for %.10g steps beyond the grid's %lld, and at most "
            "%d are inserted",
            loop->limit, inserted, (long long)count, LOOP_INSERTED_MAX);
        return false;
    }
    int64_t total = count + (int64_t)inserted;
    double *time = arena_new_array(model->arena, double, (size_t)total + 1);
    for (int64_t i = 0; i < count; i++) {
        double now = loop_time(loop, i, count), next = loop_time(loop, i + 1, count);
        double parts = parts_of(loop, process, now, next);
        time[at++] = now;
        for (int64_t k = 1; k < (int64_t)parts; k++) {
            double high = sigma_at(process, now), low = sigma_at(process, next);
            time[at++] = time_of(process, high + (low - high) * (double)k / parts, next, now);
        }
    }
    time[total] = loop->to;
    *out = (struct loop_times){.steps = total, .inserted = total - count, .time = time};
    return true;
}
