/* Evaluates the bound. Called by `eval` and by validation while training. */
#include "runtime/evaluate.h"
#include "graph/base/check.h"

#include <math.h>
#include <string.h>

#define REPLICATES 2

struct evaluation {
    struct diags *diags;
    const struct bound_plans *plans;
    const struct bound_config *config;
    const struct bound_source *source;
    struct random_key key;
    int32_t *x0; /* one batch */
    double *t;
    double *integral[REPLICATES]; /* per sequence */
    double *base, *reconstruction[REPLICATES], *truth;
    bool known;
};

/* Runs one program on a batch and adds its nats to OUT. */
static void add_nats(struct evaluation *e, struct loaded *program, int64_t count, int64_t first,
                     uint32_t iteration, double scale, double *out)
{
    const struct plan *plan = executor_plan(program);
    const void *inputs[4];
    BUG_ON(plan->input_count > 4);
    for (uint32_t i = 0; i < plan->input_count; i++)
        inputs[i] = strcmp(plan->inputs[i].name, "x0") == 0 ? (const void *)e->x0 : e->t;
    struct run run = {
        .inputs = inputs, .key = e->key, .iteration = iteration, .sequence = (uint32_t)first};
    for (uint32_t a = 1; a < plan->axis_count && a < 16; a++)
        run.count[a] = count;
    uint32_t step;
    executor_run(program, &run, &step);
    struct tensor nats = executor_output(program, plan_output(plan, "nats"));
    for (int64_t i = 0; i < count; i++)
        out[first + i] += scale * ((const double *)nats.data)[i];
}

static void fill_times(struct evaluation *e, int64_t count, double value)
{
    for (int64_t i = 0; i < count; i++)
        e->t[i] = value;
}

/* One time in part K of [t_min, 1] for each sequence, by its own uniform. */
static void draw_times(struct evaluation *e, int64_t count, int64_t first, int replicate, int64_t k)
{
    const struct bound_config *c = e->config;
    uint32_t stream = random_stream("bound.t");
    for (int64_t i = 0; i < count; i++) {
        double u =
            random_uniform(e->key, (uint32_t)replicate, stream, (uint32_t)(first + i), (uint32_t)k);
        e->t[i] = c->t_min + (1 - c->t_min) * ((double)k + u) / (double)c->times;
    }
}

static bool stopped(const struct evaluation *e)
{
    return e->source->stop && e->source->stop(e->source->context);
}

/* False when it was stopped. */
static bool evaluate_batch(struct evaluation *e, int64_t first, int64_t count)
{
    const struct bound_config *c = e->config;
    for (int64_t i = 0; i < count; i++) {
        int32_t *window = e->x0 + i * c->length;
        double nats;
        e->source->window(e->source->context, first + i, window);
        if (!e->source->truth || !e->source->truth(e->source->context, window, &nats))
            e->known = false;
        else
            e->truth[first + i] = -nats;
    }
    for (int r = 0; r < REPLICATES; r++) {
        for (int64_t k = 0; k < c->times; k++) {
            if (stopped(e))
                return false;
            draw_times(e, count, first, r, k);
            add_nats(e, e->plans->integrand, count, first, (uint32_t)(r * c->times + k),
                     (1 - c->t_min) / (double)c->times, e->integral[r]);
        }
        fill_times(e, count, c->t_min);
        add_nats(e, e->plans->reconstruction, count, first, (uint32_t)r, 1, e->reconstruction[r]);
    }
    fill_times(e, count, 1);
    add_nats(e, e->plans->base, count, first, 0, 1, e->base);
    return true;
}

static double mean(const double *v, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += v[i];
    return sum / (double)n;
}

static double standard_error(const double *v, int64_t n)
{
    double m = mean(v, n), sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (v[i] - m) * (v[i] - m);
    return n > 1 ? sqrt(sum / (double)(n - 1) / (double)n) : INFINITY;
}

static void summarise(struct evaluation *e, struct arena *arena, struct bound *b)
{
    const struct bound_config *c = e->config;
    int64_t n = c->sequences;
    double symbols = (double)c->length, noise = 0;
    double *total = arena_new_array(arena, double, n), *gap = arena_new_array(arena, double, n);
    *b = (struct bound){
        .sequences = n, .length = c->length, .known = e->known, .per_sequence = total};
    for (int64_t i = 0; i < n; i++) {
        double one = e->integral[0][i] + e->reconstruction[0][i];
        double two = e->integral[1][i] + e->reconstruction[1][i];
        total[i] = (one + two) / 2 + e->base[i];
        gap[i] = total[i] - e->truth[i];
        noise += (one - two) * (one - two) / 4; /* variance of the mean of the two */
    }
    b->integral = (mean(e->integral[0], n) + mean(e->integral[1], n)) / 2 / symbols;
    b->reconstruction =
        (mean(e->reconstruction[0], n) + mean(e->reconstruction[1], n)) / 2 / symbols;
    b->base = mean(e->base, n) / symbols;
    b->nats = b->integral + b->base + b->reconstruction;
    b->error = standard_error(total, n) / symbols;
    b->error_noise = sqrt(noise) / (double)n / symbols;
    double rest = b->error * b->error - b->error_noise * b->error_noise;
    b->error_data = rest > 0 ? sqrt(rest) : 0;
    if (!e->known)
        return;
    b->truth = mean(e->truth, n) / symbols;
    b->gap = mean(gap, n) / symbols;
    b->gap_error = standard_error(gap, n) / symbols;
}

bool bound_evaluate(struct diags *diags, struct arena *arena, const struct bound_plans *plans,
                    const struct bound_config *config, const struct bound_source *source,
                    struct bound *out)
{
    struct evaluation e = {.diags = diags,
                           .plans = plans,
                           .config = config,
                           .source = source,
                           .key = random_key(config->seed, "eval"),
                           .x0 = arena_new_array(arena, int32_t, config->batch * config->length),
                           .t = arena_new_array(arena, double, config->batch),
                           .base = arena_new_array(arena, double, config->sequences),
                           .truth = arena_new_array(arena, double, config->sequences),
                           .known = source->truth != NULL};
    for (int r = 0; r < REPLICATES; r++) {
        e.integral[r] = arena_new_array(arena, double, config->sequences);
        e.reconstruction[r] = arena_new_array(arena, double, config->sequences);
    }
    for (int64_t at = 0; at < config->sequences; at += config->batch) {
        int64_t left = config->sequences - at;
        if (!evaluate_batch(&e, at, left < config->batch ? left : config->batch))
            return false;
    }
    summarise(&e, arena, out);
    if (isfinite(out->nats))
        return true;
    diag_error(diags, FAULT_RUN, (struct span){0}, "the bound is not finite (%g nats a symbol)",
               out->nats);
    diag_hint(diags, "the weights may hold values that are not finite, or a symbol that the model "
                     "gives no probability");
    return false;
}
