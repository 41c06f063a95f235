/* Evaluates the bound. Called by `eval`, `compare`, and by validation while training. */
#include "runtime/evaluate.h"
#include "graph/base/check.h"
#include "runtime/data/anchor.h"

#include <math.h>
#include <string.h>

#define REPLICATES 2
#define PUBLISHED_FROM 1e-3 /* the reference's sampling_eps */

struct evaluation {
    struct diags *diags;
    const struct bound_plans *plans;
    const struct bound_config *config;
    const struct bound_source *source;
    const struct estimator *estimator;
    struct estimate_clock clock;
    struct random_key key;
    /* One batch of inputs, and how many positions of each sequence are not given. */
    int32_t *x0, *label;
    int64_t *free;
    bool *fixed, *hidden, *scored;
    double *t, *turn, *sigma, *scale;
    /* Per sequence. */
    double *integral[REPLICATES], *base, *reconstruction[REPLICATES], *truth;
    double *position;  /* sums over sequences and replicates; NULL: not asked for */
    int64_t *scorings; /* sequences in which each position is not given */
    double *symbols;   /* of each sequence, not given */
    bool known;
    bool turned;   /* draws of a sequence share the numbers that noise it */
    double *share; /* noised at the last time of each sequence of a batch */
};

static const void *input_named(const struct evaluation *e, const char *name)
{
    const struct {
        const char *name;
        const void *data;
    } inputs[] = {{"x0", e->x0},       {"t", e->t},           {"turn", e->turn},
                  {"fixed", e->fixed}, {"hidden", e->hidden}, {"scored", e->scored},
                  {"sigma", e->sigma}, {"label", e->label}};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        if (strcmp(inputs[i].name, name) == 0)
            return inputs[i].data;
    BUG_ON(true); /* who compiles the programs checks their inputs */
}

/* Adds SCALE x WEIGHT times what each sequence costs at each position. */
static void add_positions(struct evaluation *e, struct loaded *program, int64_t count,
                          double weight)
{
    uint32_t output = plan_output(executor_plan(program), "by_position");
    if (!e->position || !output)
        return;
    const double *nats = executor_output(program, output).data;
    int64_t length = e->config->length;
    for (int64_t i = 0; i < count; i++)
        for (int64_t p = 0; p < length; p++)
            e->position[p] += weight * e->scale[i] * nats[i * length + p];
}

/* Runs one program on a batch and adds its nats, times the SCALE of each sequence, to OUT. WEIGHT
 * is that of this run in the means by position. */
static void add_nats(struct evaluation *e, struct loaded *program, int64_t count, int64_t first,
                     uint32_t iteration, double weight, double *out)
{
    const struct plan *plan = executor_plan(program);
    const void *inputs[8];
    BUG_ON(plan->input_count > 8);
    for (uint32_t i = 0; i < plan->input_count; i++)
        inputs[i] = input_named(e, plan->inputs[i].name);
    struct run run = {
        .inputs = inputs, .key = e->key, .iteration = iteration, .sequence = (uint32_t)first};
    for (uint32_t a = 1; a < plan->axis_count; a++)
        run.count[a] = count;
    uint32_t step;
    executor_run(program, &run, &step);
    struct tensor nats = executor_output(program, plan_output(plan, "nats"));
    for (int64_t i = 0; i < count; i++)
        out[first + i] += e->scale[i] * ((const double *)nats.data)[i];
    add_positions(e, program, count, weight);
}

static void fill(double *values, int64_t count, double value)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = value;
}

static bool stopped(const struct evaluation *e)
{
    return e->source->stop && e->source->stop(e->source->context);
}

/* What is known of the window that was read as sequence I of the batch; of one that its language
 * does not have, nothing. */
static bool read_truth(const struct evaluation *e, int64_t i, double *nats)
{
    const struct bound_source *s = e->source;
    int64_t length = e->config->length;
    const int32_t *window = e->x0 + i * length;
    const bool *given = e->free[i] < length ? e->fixed + i * length : NULL;
    if (!e->known)
        return false;
    return (s->label ? s->class_truth(s->context, e->label[i], window, given, nats)
                     : s->truth(s->context, window, given, nats)) &&
           isfinite(*nats);
}

/* What of the sequence INDEX is given. */
static void mark_given(const struct evaluation *e, int64_t index, bool *fixed)
{
    const struct bound_config *c = e->config;
    memset(fixed, 0, (size_t)c->length * sizeof *fixed);
    if (e->source->given)
        e->source->given(e->source->context, index, fixed);
    for (int64_t p = 0; p < c->length; p++)
        fixed[p] |= c->but_one ? p != index % c->length : c->given && c->given[p];
}

static void read_batch(struct evaluation *e, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double nats;
        e->source->window(e->source->context, first + i, e->x0 + i * e->config->length);
        mark_given(e, first + i, e->fixed + i * e->config->length);
        e->free[i] = 0;
        for (int64_t p = 0; p < e->config->length; p++) {
            e->free[i] += !e->fixed[i * e->config->length + p];
            e->scorings[p] += !e->fixed[i * e->config->length + p];
        }
        e->symbols[first + i] = (double)e->free[i];
        if (e->source->label)
            e->label[i] = e->source->label(e->source->context, first + i);
        e->known = read_truth(e, i, &nats);
        if (e->known)
            e->truth[first + i] = -nats;
    }
}

/* --- by times ------------------------------------------------------------------------------- */

static void draw_times(struct evaluation *e, int64_t count, int64_t first, int r, int64_t k)
{
    const struct bound_config *c = e->config;
    for (int64_t i = 0; i < count; i++) {
        double at =
            estimator_place(e->estimator, e->key, (uint32_t)r, (uint32_t)(first + i), k, c->times);
        double slope, turn = k > 0 ? e->turn[i] - e->share[i] : 0;
        e->t[i] = clock_time(&e->clock, at, &slope);
        e->scale[i] = e->estimator->published ? 1 : slope / (double)c->times;
        e->turn[i] = turn < 0 ? turn + 1 : turn;
        e->share[i] = e->turned ? c->noised(c->noised_context, e->t[i]) : 0;
    }
}

static bool integrate_times(struct evaluation *e, int64_t first, int64_t count, int r)
{
    const struct bound_config *c = e->config;
    int64_t draws = e->estimator->published ? 1 : c->times;
    for (int64_t k = 0; k < draws; k++) {
        if (stopped(e))
            return false;
        draw_times(e, count, first, r, k);
        add_nats(e, e->plans->integrand, count, first, (uint32_t)(e->turned ? r : r * draws + k),
                 1.0 / REPLICATES, e->integral[r]);
    }
    if (e->estimator->published)
        return true;
    fill(e->scale, count, 1);
    fill(e->t, count, c->t_min);
    add_nats(e, e->plans->reconstruction, count, first, (uint32_t)r, 1.0 / REPLICATES,
             e->reconstruction[r]);
    return true;
}

static void add_base(struct evaluation *e, int64_t first, int64_t count)
{
    fill(e->scale, count, 1);
    fill(e->t, count, 1);
    add_nats(e, e->plans->base, count, first, 0, 1, e->base);
}

/* --- by counts of masked positions ---------------------------------------------------------- */

/* The noise at which a share SHARE of the positions is masked on average: what a network that asks
 * for sigma is told. Infinite where all are masked; the program limits it. */
static double sigma_of_share(double share)
{
    return -log1p(-share);
}

static void draw_counts(struct evaluation *e, int64_t count, int64_t first, int r, int64_t k)
{
    const struct bound_config *c = e->config;
    for (int64_t i = 0; i < count; i++) {
        uint32_t sequence = (uint32_t)(first + i);
        double at = estimator_place(e->estimator, e->key, (uint32_t)r, sequence, k, c->times);
        int64_t free = e->free[i], masked = 1 + (int64_t)(at * (double)free);
        masked = masked < free ? masked : free;
        hide_positions(e->key, (uint32_t)(r * c->times + k), sequence, masked,
                       e->fixed + i * c->length, c->length, e->hidden + i * c->length);
        e->sigma[i] = sigma_of_share((double)masked / (double)c->length);
        e->scale[i] = free ? (double)free / (double)masked / (double)c->times : 0;
    }
    memcpy(e->scored, e->hidden, (size_t)(count * c->length) * sizeof *e->scored);
}

static bool integrate_counts(struct evaluation *e, int64_t first, int64_t count, int r)
{
    for (int64_t k = 0; k < e->config->times; k++) {
        if (stopped(e))
            return false;
        draw_counts(e, count, first, r, k);
        add_nats(e, e->plans->conditional, count, first, (uint32_t)(r * e->config->times + k),
                 1.0 / REPLICATES, e->integral[r]);
    }
    return true;
}

/* Both replicates are what came to the first: there is no noise. */
static void repeat_first(struct evaluation *e, int64_t first, int64_t count)
{
    memcpy(e->integral[1] + first, e->integral[0] + first, (size_t)count * sizeof *e->integral[1]);
}

/* --- exactly ------------------------------------------------------------------------------ */

static bool evaluate_exactly(struct evaluation *e, int64_t first, int64_t count)
{
    if (stopped(e))
        return false;
    for (int64_t i = 0; i < count * e->config->length; i++)
        e->scored[i] = !e->fixed[i];
    fill(e->scale, count, 1);
    add_nats(e, e->plans->exact, count, first, 0, 1, e->integral[0]);
    repeat_first(e, first, count);
    return true;
}

/* False when it was stopped. */
static bool evaluate_batch(struct evaluation *e, int64_t first, int64_t count)
{
    read_batch(e, first, count);
    if (e->plans->exact)
        return evaluate_exactly(e, first, count);
    for (int r = 0; r < REPLICATES; r++)
        if (!(e->estimator->counts ? integrate_counts(e, first, count, r)
                                   : integrate_times(e, first, count, r)))
            return false;
    if (!e->estimator->counts && !e->estimator->published)
        add_base(e, first, count);
    return true;
}

/* --- in a fixed order ----------------------------------------------------------------------- */

/* ORDER lists COUNTED positions; of a sequence to which some of them are given besides, the others.
 * */
static bool evaluate_ordered(struct evaluation *e, const int32_t *order, int64_t counted,
                             int64_t first, int64_t count)
{
    int64_t length = e->config->length;
    read_batch(e, first, count);
    fill(e->scale, count, 1);
    for (int64_t i = 0; i < count * length; i++)
        e->hidden[i] = !e->fixed[i];
    for (int64_t k = 0; k < counted; k++) {
        if (stopped(e))
            return false;
        memset(e->scored, 0, (size_t)(count * length) * sizeof *e->scored);
        for (int64_t i = 0; i < count; i++) {
            e->scored[i * length + order[k]] = e->hidden[i * length + order[k]];
            e->sigma[i] = sigma_of_share((double)e->free[i] / (double)length);
        }
        add_nats(e, e->plans->conditional, count, first, (uint32_t)k, 1, e->integral[0]);
        for (int64_t i = 0; i < count; i++) {
            e->free[i] -= e->hidden[i * length + order[k]];
            e->hidden[i * length + order[k]] = false;
        }
    }
    repeat_first(e, first, count);
    return true;
}

/* --- summing up ----------------------------------------------------------------------------- */

static double mean(const double *v, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += v[i];
    return sum / (double)n;
}

/* Of sum V / sum SYMBOLS; one sequence tells none. */
static double standard_error(const double *v, const double *symbols, int64_t n)
{
    return n > 1 ? anchor_of(v, symbols, (size_t)n).error : INFINITY;
}

/* Mean of the replicates of one term and its error over sequences, a symbol; the first replicate is
 * left holding the means of each sequence. *NOISE: the Monte Carlo part of the error. */
static double summarise_term(double *const replicate[REPLICATES], int64_t n, const double *symbols,
                             double *error, double *noise)
{
    double sum = 0, each = mean(symbols, n);
    for (int64_t i = 0; i < n; i++) {
        double one = replicate[0][i], two = replicate[1][i];
        replicate[0][i] = (one + two) / 2;
        sum += (one - two) * (one - two) / 4; /* variance of the mean of the two */
    }
    *noise = sqrt(sum) / (double)n / each;
    *error = standard_error(replicate[0], symbols, n);
    return mean(replicate[0], n) / each;
}

static void summarise_sequences(struct evaluation *e, struct arena *arena, struct bound *b)
{
    int64_t n = b->sequences;
    double noise = 0;
    b->per_sequence = arena_new_array(arena, double, n);
    b->per_sequence_noise = arena_new_array(arena, double, n);
    b->integral_squares = arena_new_array(arena, double, n);
    b->truths = e->truth;
    double *gap = arena_new_array(arena, double, n);
    for (int64_t i = 0; i < n; i++) {
        double one = e->integral[0][i] + e->reconstruction[0][i];
        double two = e->integral[1][i] + e->reconstruction[1][i];
        b->per_sequence[i] = (one + two) / 2 + e->base[i];
        b->per_sequence_noise[i] = fabs(one - two) / 2;
        double apart = (e->integral[0][i] - e->integral[1][i]) / 2;
        b->integral_squares[i] = apart * apart;
        gap[i] = b->per_sequence[i] - e->truth[i];
        noise += b->per_sequence_noise[i] * b->per_sequence_noise[i];
    }
    b->error = standard_error(b->per_sequence, b->symbols, n);
    b->error_noise = sqrt(noise) / (double)n / b->free;
    double rest = b->error * b->error - b->error_noise * b->error_noise;
    b->error_data = rest >= 0 ? sqrt(rest) : NAN;
    if (!b->known)
        return;
    b->truth = mean(e->truth, n) / b->free;
    b->gap = mean(gap, n) / b->free;
    b->gap_error = standard_error(gap, b->symbols, n);
}

static void summarise(struct evaluation *e, struct arena *arena, struct bound *b)
{
    const struct bound_config *c = e->config;
    double unused;
    *b = (struct bound){.sequences = c->sequences,
                        .length = c->length,
                        .free = mean(e->symbols, c->sequences),
                        .symbols = e->symbols,
                        .known = e->known,
                        .per_position = e->position};
    summarise_sequences(e, arena, b);
    b->integral = summarise_term(e->integral, c->sequences, e->symbols, &b->integral_error,
                                 &b->integral_noise);
    b->reconstruction = summarise_term(e->reconstruction, c->sequences, e->symbols,
                                       &b->reconstruction_error, &unused);
    b->base = mean(e->base, c->sequences) / b->free;
    b->base_error = standard_error(e->base, e->symbols, c->sequences);
    b->nats = b->integral + b->base + b->reconstruction;
    for (int64_t p = 0; e->position && p < c->length; p++)
        e->position[p] = e->scorings[p] ? e->position[p] / (double)e->scorings[p] : NAN;
}

bool bound_may_turn(const struct bound_plans *plans)
{
    return !plans->integrand || plan_input(executor_plan(plans->integrand), "turn");
}

static void evaluation_init(struct evaluation *e, struct arena *arena)
{
    const struct bound_config *c = e->config;
    int64_t tokens = c->batch * c->length;
    e->estimator = c->estimator ? c->estimator : &estimators[0];
    clock_init(&e->clock, e->estimator->published ? PUBLISHED_FROM : c->t_min,
               e->estimator->even || c->evenly ? NULL : c->noised, c->noised_context);
    e->turned = e->estimator->turned && c->noised && e->plans->integrand && !c->apart &&
                bound_may_turn(e->plans);
    e->key = random_key(c->seed, "eval");
    e->x0 = arena_new_array(arena, int32_t, tokens);
    e->label = arena_new_array(arena, int32_t, c->batch);
    e->fixed = arena_new_array(arena, bool, tokens);
    e->hidden = arena_new_array(arena, bool, tokens);
    e->scored = arena_new_array(arena, bool, tokens);
    e->t = arena_new_array(arena, double, c->batch);
    e->turn = arena_new_array(arena, double, c->batch);
    e->share = arena_new_array(arena, double, c->batch);
    e->sigma = arena_new_array(arena, double, c->batch);
    e->scale = arena_new_array(arena, double, c->batch);
    e->free = arena_new_array(arena, int64_t, c->batch);
    e->symbols = arena_new_array(arena, double, c->sequences);
    e->base = arena_new_array(arena, double, c->sequences);
    e->truth = arena_new_array(arena, double, c->sequences);
    e->position = c->by_position ? arena_new_array(arena, double, c->length) : NULL;
    e->scorings = arena_new_array(arena, int64_t, c->length);
    e->known = e->source->label ? e->source->class_truth != NULL : e->source->truth != NULL;
    BUG_ON(e->plans->exact && !(c->given && c->given[0]));
    for (int r = 0; r < REPLICATES; r++) {
        e->integral[r] = arena_new_array(arena, double, c->sequences);
        e->reconstruction[r] = arena_new_array(arena, double, c->sequences);
    }
}

static bool finish(struct evaluation *e, struct arena *arena, int64_t calls, struct bound *out)
{
    summarise(e, arena, out);
    out->calls = calls;
    if (out->free == 0) {
        diag_error(e->diags, FAULT_DATA, (struct span){0},
                   "every symbol of the %lld held-out windows is given: nothing is left to score",
                   (long long)out->sequences);
        diag_hint(e->diags, "give less with eval.given, or hold out longer documents; of an "
                            "autoregressive model the first symbol of a window is given");
        return false;
    }
    if (isfinite(out->nats))
        return true;
    diag_error(e->diags, FAULT_RUN, (struct span){0}, "the %s is not finite (%s)",
               e->plans->exact ? "likelihood" : "bound",
               isnan(out->nats) ? "not a number" : "infinite");
    diag_hint(e->diags, "the weights may hold values that are not finite, or a symbol that the "
                        "model gives no probability");
    return false;
}

bool bound_evaluate(struct diags *diags, struct arena *arena, const struct bound_plans *plans,
                    const struct bound_config *config, const struct bound_source *source,
                    struct bound *out)
{
    struct evaluation e = {.diags = diags, .plans = plans, .config = config, .source = source};
    evaluation_init(&e, arena);
    for (int64_t at = 0; at < config->sequences; at += config->batch) {
        int64_t left = config->sequences - at;
        if (!evaluate_batch(&e, at, left < config->batch ? left : config->batch))
            return false;
    }
    if (plans->exact)
        return finish(&e, arena, 1, out);
    int64_t draws = e.estimator->published ? 1 : config->times;
    bool whole = !e.estimator->counts && !e.estimator->published;
    return finish(&e, arena, REPLICATES * (draws + whole), out);
}

bool order_evaluate(struct diags *diags, struct arena *arena, const struct bound_plans *plans,
                    const struct bound_config *config, const int32_t *order,
                    const struct bound_source *source, struct bound *out)
{
    struct evaluation e = {.diags = diags, .plans = plans, .config = config, .source = source};
    int64_t counted = 0;
    evaluation_init(&e, arena);
    for (int64_t p = 0; p < config->length; p++)
        counted += !config->given || !config->given[p];
    for (int64_t at = 0; at < config->sequences; at += config->batch) {
        int64_t left = config->sequences - at;
        if (!evaluate_ordered(&e, order, counted, at, left < config->batch ? left : config->batch))
            return false;
    }
    return finish(&e, arena, counted, out);
}

void bound_compare(const struct bound *a, const struct bound *b, double *difference, double *error)
{
    double sum = 0, squares = 0, n = (double)a->sequences;
    BUG_ON(a->sequences != b->sequences || a->free != b->free);
    for (int64_t i = 0; i < a->sequences; i++)
        sum += b->per_sequence[i] - a->per_sequence[i];
    for (int64_t i = 0; i < a->sequences; i++) {
        double off = b->per_sequence[i] - a->per_sequence[i] - sum / n * (a->symbols[i] / a->free);
        squares += off * off;
    }
    *difference = sum / n / a->free;
    *error = n > 1 ? sqrt(squares / (n - 1) / n) / a->free : INFINITY;
}

double bound_share_of_calls(const struct bound *a, const struct bound *b, double *error)
{
    const int64_t n = a->sequences;
    double share = mean(a->integral_squares, n) / mean(b->integral_squares, n), sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double off = a->integral_squares[i] - share * b->integral_squares[i];
        sum += off * off;
    }
    *error = n > 1 ? sqrt(sum / (double)(n - 1) / (double)n) / mean(b->integral_squares, n) : NAN;
    return share;
}
