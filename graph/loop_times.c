/* The times of one run of a loop: its grid as it is spaced, with steps cut where its `limit` asks
 * for it. Called by the commands that sample, and by the check that a step is not too long. */
#include "graph/loop.h"
#include "graph/model.h"

#include <math.h>
#include <string.h>

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

static bool time_name(const void *context, const char *name, struct number *out)
{
    *out = (struct number){.kind = NUMBER_REAL, .r = *(const double *)context};
    return strcmp(name, "t") == 0;
}

/* INFINITY where the noise has no end. */
static double sigma_at(const struct process *process, double t)
{
    struct expr_scope scope = {time_name, NULL, &t};
    struct number n;
    double sigma = expr_eval(NULL, process->sigma, &scope, &n) ? number_real(n) : INFINITY;
    return isfinite(sigma) ? sigma : INFINITY;
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

static int64_t parts_of(const struct loop *loop, const struct process *process, double now,
                        double next)
{
    double fall = sigma_at(process, now) - sigma_at(process, next);
    double parts = ceil(chain_fastest(&process->chain) * fall / loop->limit);
    if (!isfinite(parts) || parts < 1)
        return 1;
    return parts < LOOP_PARTS_MAX ? (int64_t)parts : LOOP_PARTS_MAX;
}

void loop_grid(struct arena *arena, const struct model *model, const struct loop *loop,
               int64_t steps, struct loop_times *out)
{
    const struct process *process = loop->limit > 0 ? &model->processes[0] : NULL;
    int64_t count = loop->times || !steps ? loop->steps : steps, total = 0, at = 0;
    for (int64_t i = 0; i < count; i++)
        total += process ? parts_of(loop, process, loop_time(loop, i, count),
                                    loop_time(loop, i + 1, count))
                         : 1;
    double *time = arena_new_array(arena, double, (size_t)total + 1);
    for (int64_t i = 0; i < count; i++) {
        double now = loop_time(loop, i, count), next = loop_time(loop, i + 1, count);
        int64_t parts = process ? parts_of(loop, process, now, next) : 1;
        time[at++] = now;
        for (int64_t k = 1; k < parts; k++) {
            double high = sigma_at(process, now), low = sigma_at(process, next);
            time[at++] =
                time_of(process, high + (low - high) * (double)k / (double)parts, next, now);
        }
    }
    time[total] = loop->to;
    *out = (struct loop_times){.steps = total, .inserted = total - count, .time = time};
}
