/* Estimators of the likelihood bound against enumeration: sequences of two tokens out of three, a
 * network of random weights, and expectations that are sums. */
#include "runtime/evaluate.h"
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define TOKENS 3
#define CLEAN 9 /* sequences of real tokens */
#define STATES_MAX 4
#define ROWS_MAX (CLEAN * STATES_MAX * STATES_MAX)
#define T_MIN 1e-5

/* --- places --------------------------------------------------------------------------------- */

/* Averaged over draws every estimator's places are uniform: the share of them below 0.3 is 0.3. Of
 * 40000 independent draws it is so within 4 standard errors of 0.0023. */
Test(estimators, places_are_uniform)
{
    struct random_key key = random_key(3, "places");
    for (uint32_t e = 0; e < estimator_count; e++) {
        double below = 0, sum = 0;
        for (uint32_t s = 0; s < 5000; s++)
            for (int64_t k = 0; k < 8; k++) {
                double at = estimator_place(&estimators[e], key, 0, s, k, 8);
                cr_assert(at >= 0 && at < 1);
                below += at < 0.3;
                sum += at;
            }
        cr_expect_float_eq(below / 40000, 0.3, 4 * 0.0023, "%s", estimators[e].name);
        cr_expect_float_eq(sum / 40000, 0.5, 4 * 0.0015, "%s", estimators[e].name);
    }
    cr_assert_null(estimator_find("exact"));
    cr_assert_eq(estimator_find(NULL), estimator_find("stratified"));
}

static double root_share(void *context, double t)
{
    (void)context;
    return t;
}

/* The slope integrates to the range, and times rise from one end to the other. */
Test(estimators, a_clock_keeps_the_measure)
{
    double total = 0, last = 0, slope;
    struct estimate_clock clock;
    clock_init(&clock, T_MIN, root_share, NULL);
    for (int i = 0; i < 4096; i++) {
        double t = clock_time(&clock, (i + 0.5) / 4096, &slope);
        cr_assert(t > last && slope > 0);
        last = t;
        total += slope / 4096;
    }
    cr_assert_float_eq(total, 1 - T_MIN, 1e-12);
    cr_assert_float_eq(clock_time(&clock, 0, &slope), T_MIN, 1e-15);
    /* An eighth even, the rest by the root: place 1/2 is t with t / 8 + 7/8 sqrt(t) = 1/2. */
    clock_init(&clock, 0, root_share, NULL);
    cr_assert_float_eq(clock_time(&clock, 0.5, &slope), 0.2820979, 1e-7);
    clock_init(&clock, 0, NULL, NULL);
    cr_assert_float_eq(clock_time(&clock, 0.7, &slope), 0.7, 1e-9);
    cr_assert_float_eq(slope, 1, 1e-9);
}

/* Every set of two positions out of the four that are not given comes as often as any other: 6
 * sets, 6000 draws, chi-square with 5 degrees of freedom (30 is exceeded once in 70,000 tests). */
Test(estimators, hidden_positions_are_uniform)
{
    static const bool given[5] = {false, false, true, false, false};
    struct random_key key = random_key(1, "hide");
    int count[32] = {0};
    for (uint32_t s = 0; s < 6000; s++) {
        bool hidden[5];
        int set = 0;
        hide_positions(key, 2, s, 2, given, 5, hidden);
        for (int i = 0; i < 5; i++)
            set |= hidden[i] << i;
        cr_assert(__builtin_popcount((unsigned)set) == 2 && !hidden[2]);
        count[set]++;
    }
    double chi = 0;
    for (int set = 0; set < 32; set++)
        if (__builtin_popcount((unsigned)set) == 2 && !(set & 4))
            chi += (count[set] - 1000.0) * (count[set] - 1000.0) / 1000;
    cr_assert(chi < 30, "chi square %g", chi);
}

Test(estimators, shuffled_orders_are_uniform)
{
    struct random_key key = random_key(1, "shuffle");
    int count[3][3] = {{0}};
    for (uint32_t s = 0; s < 6000; s++) {
        int32_t order[3] = {0, 1, 2};
        shuffle_positions(key, 0, s, order, 3);
        cr_assert(order[0] != order[1] && order[0] + order[1] + order[2] == 3);
        count[order[0]][order[1]]++;
    }
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++)
            if (a != b) /* 1000 expected, standard deviation 29 */
                cr_expect(abs(count[a][b] - 1000) < 4 * 29, "%d %d: %d", a, b, count[a][b]);
}

/* --- a world to enumerate ------------------------------------------------------------------- */

struct world {
    struct rig rig;
    bool absorb;
    int states;
    bool given[2];
    struct bound_plans plans;
    struct loaded *exact_integrand, *exact_reconstruction; /* x supplied, all pairs at once */
    int32_t x[ROWS_MAX * 2], x0[ROWS_MAX * 2];
    bool fixed[ROWS_MAX * 2];
};

#define BATCH 90

static const char *const small[] = {"dim=8",    "heads=2", "layers=1",  "cond=4",
                                    "length=2", "vocab=3", "dropout=0", NULL};

static struct loaded *load(struct world *w, const char *name, int64_t batch, bool pairs)
{
    const char *bind[3] = {"fixed", pairs ? "x" : NULL, NULL};
    if (!pairs && strcmp(name, "bound_integrand") == 0)
        bind[1] = "turn";
    struct rig_program program = {name, batch, bind, NULL};
    struct plan *plan = rig_compile(&w->rig, &program, NULL);
    if (!w->rig.engine.state) {
        rig_state(&w->rig, &w->rig.model->states, 1);
        rig_fill(&w->rig, 0.4);
    }
    return rig_load(&w->rig, plan);
}

static void world_open(struct world *w, bool absorb, bool first_given)
{
    *w = (struct world){.absorb = absorb, .states = TOKENS + absorb, .given = {first_given, false}};
    int noisy = w->states * w->states;
    rig_model(&w->rig, absorb ? "models/sedd-absorb.yaml" : "models/sedd-uniform.yaml", small);
    w->plans.integrand = load(w, "bound_integrand", BATCH, false);
    w->plans.base = load(w, "bound_base", BATCH, false);
    w->plans.reconstruction = load(w, "bound_reconstruction", BATCH, false);
    w->exact_integrand = load(w, "bound_integrand", CLEAN * noisy, true);
    w->exact_reconstruction = load(w, "bound_reconstruction", CLEAN * noisy, true);
    for (int row = 0; row < CLEAN * noisy; row++) {
        int x0 = row / noisy, x = row % noisy;
        w->x0[2 * row] = x0 % TOKENS;
        w->x0[2 * row + 1] = x0 / TOKENS;
        w->x[2 * row] = first_given ? x0 % TOKENS : x % w->states;
        w->x[2 * row + 1] = x / w->states;
        w->fixed[2 * row] = first_given;
    }
}

static double sigma_at(const struct world *w, double t)
{
    return w->absorb ? -log1p(-(1 - 1e-3) * t) : 1e-4 * pow(20 / 1e-4, t);
}

/* exp(sigma Q)[y][x] of one position. */
static double moved(const struct world *w, double sigma, int y, int x)
{
    double stay = exp(-sigma);
    if (w->absorb)
        return y == x ? stay : y == TOKENS ? -expm1(-sigma) : 0;
    return (y == x ? stay : 0) - expm1(-sigma) / TOKENS;
}

/* For each x0, the expectation of a program's nats at T over what is noised. */
static void expect_nats(struct world *w, struct loaded *program, double at, double *out)
{
    static double t[ROWS_MAX];
    int noisy = w->states * w->states;
    double sigma = sigma_at(w, at);
    struct rig_value values[] = {{"x0", w->x0}, {"x", w->x}, {"t", t}, {"fixed", w->fixed}};
    for (int i = 0; i < ROWS_MAX; i++)
        t[i] = at;
    rig_run(program, values, 4, 0, NULL);
    struct tensor nats = rig_output(program, "nats");
    for (int x0 = 0; x0 < CLEAN; x0++) {
        out[x0] = 0;
        for (int x = 0; x < noisy; x++) {
            double p = moved(w, sigma, x / w->states, x0 / TOKENS);
            if (!w->given[0])
                p *= moved(w, sigma, x % w->states, x0 % TOKENS);
            else if (x % w->states != x0 % TOKENS)
                p = 0; /* counted once */
            out[x0] += p > 0 ? p * rig_element(&nats, x0 * noisy + x) : 0;
        }
    }
}

/* The integral over [low, 1] by Gauss-Legendre with two nodes in each of 60 panels: in log t for
 * absorb and in t, which is log sigma, for uniform; the integrand is smooth in both. */
static void integrate(struct world *w, double low, double *out)
{
    double one[CLEAN], from = w->absorb ? log(low) : low, to = w->absorb ? 0 : 1;
    double half = (to - from) / 120;
    memset(out, 0, CLEAN * sizeof *out);
    for (int node = 0; node < 120; node++) {
        double at = from + half * (2 * (node / 2) + 1 + (node % 2 ? 1 : -1) / sqrt(3));
        double t = w->absorb ? exp(at) : at;
        expect_nats(w, w->exact_integrand, t, one);
        for (int x0 = 0; x0 < CLEAN; x0++)
            out[x0] += half * (w->absorb ? t : 1) * one[x0];
    }
}

static void world_close(struct world *w)
{
    rig_quiet(&w->rig);
    rig_close(&w->rig);
}

static void window(void *context, int64_t index, int32_t *out)
{
    (void)context;
    out[0] = (int32_t)(index % CLEAN % TOKENS);
    out[1] = (int32_t)(index % CLEAN / TOKENS);
}

static const struct bound_source all = {.window = window};

static double noised(void *context, double t)
{
    return -expm1(-sigma_at(context, t));
}

/* Checks that the means over REPEATS evaluations of each sequence are EXPECTED within 4 standard
 * errors (once in 16,000 for one of nine), and returns the mean of their squares of error. */
#define REPEATS 400
static void check_means(const char *name, const double *per_sequence, const double *expected)
{
    for (int x0 = 0; x0 < CLEAN; x0++) {
        double sum = 0, squares = 0;
        for (int r = 0; r < REPEATS; r++)
            sum += per_sequence[r * CLEAN + x0];
        double m = sum / REPEATS;
        for (int r = 0; r < REPEATS; r++)
            squares += (per_sequence[r * CLEAN + x0] - m) * (per_sequence[r * CLEAN + x0] - m);
        double error = sqrt(squares / (REPEATS - 1) / REPEATS);
        cr_expect(fabs(m - expected[x0]) <= 4 * error + 1e-4 * expected[x0],
                  "%s, x0 %d: %g ± %g, not %g", name, x0, m, error, expected[x0]);
        cr_expect(error < 0.2 * expected[x0], "%s: %g ± %g shows nothing", name, m, error);
    }
}

/* Checks that the stated Monte Carlo error is that of repeated evaluations: the mean of its squares
 * against the variance, both over REPEATS of each sequence and added up, within 25%, three standard
 * errors of a ratio of two such variances of the heaviest tail here. */
static void check_noise(const char *name, const struct bound *b)
{
    double stated = 0, spread = 0;
    for (int x0 = 0; x0 < CLEAN; x0++) {
        double sum = 0, squares = 0;
        for (int r = 0; r < REPEATS; r++) {
            double nats = b->per_sequence[r * CLEAN + x0];
            double noise = b->per_sequence_noise[r * CLEAN + x0];
            sum += nats;
            squares += nats * nats;
            stated += noise * noise / REPEATS;
        }
        spread += (squares - sum * sum / REPEATS) / (REPEATS - 1);
    }
    cr_expect(fabs(stated / spread - 1) < 0.25, "%s: variance %g is said to be %g", name, spread,
              stated);
}

/* --- by times ------------------------------------------------------------------------------- */

static void expected_bound(struct world *w, double *out)
{
    double decoder[CLEAN], t[CLEAN];
    int32_t clean[2 * CLEAN];
    bool fixed[2 * CLEAN] = {false};
    integrate(w, T_MIN, out);
    expect_nats(w, w->exact_reconstruction, T_MIN, decoder);
    for (int x0 = 0; x0 < CLEAN; x0++) {
        window(NULL, x0, clean + 2 * x0);
        fixed[2 * x0] = w->given[0];
        t[x0] = 1;
    }
    struct rig_value values[] = {{"x0", clean}, {"t", t}, {"fixed", fixed}};
    rig_run(w->plans.base, values, 3, CLEAN, NULL);
    struct tensor base = rig_output(w->plans.base, "nats");
    for (int x0 = 0; x0 < CLEAN; x0++)
        out[x0] += decoder[x0] + rig_element(&base, x0);
}

static void check_times(bool absorb, bool first_given)
{
    static const char *const names[] = {"stratified", "quadrature", "random", "published"};
    struct world w;
    double strict[CLEAN], published[CLEAN];
    world_open(&w, absorb, first_given);
    expected_bound(&w, strict);
    integrate(&w, 1e-3, published);
    for (int x0 = 0; x0 < CLEAN; x0++)
        published[x0] /= 1 - 1e-3; /* a mean over times, not an integral */
    for (int i = 0; i < 4; i++) {
        struct bound b;
        struct bound_config c = {.batch = BATCH,
                                 .sequences = CLEAN * REPEATS,
                                 .times = 4,
                                 .length = 2,
                                 .t_min = T_MIN,
                                 .seed = 5,
                                 .estimator = estimator_find(names[i]),
                                 .given = first_given ? w.given : NULL,
                                 .noised = noised,
                                 .noised_context = &w};
        cr_assert(bound_evaluate(w.rig.diags, w.rig.arena, &w.plans, &c, &all, &b));
        check_means(names[i], b.per_sequence, i == 3 ? published : strict);
        check_noise(names[i], &b);
        cr_expect_eq(b.free, first_given ? 1 : 2);
        cr_expect_eq(b.calls, i == 3 ? 2 : 10);
        cr_expect(!b.known && b.integral_error > 0 && b.integral_noise > 0);
    }
    world_close(&w);
}

Test(estimators, means_under_absorb_are_the_enumerated_bound)
{
    check_times(true, false);
}

Test(estimators, means_under_uniform_are_the_enumerated_bound)
{
    check_times(false, false);
}

/* Of every third sequence the first token, and of one of them all is given. */
static void thirds(void *context, int64_t index, bool *given)
{
    (void)context;
    given[0] |= index % 3 == 0;
    given[1] |= index == 6;
}

/* What is given from sequence to sequence costs what it costs where it is given to all, with the
 * same noise; means are sums over the symbols that are counted, whatever the batch. */
static void check_thirds(bool absorb)
{
    struct world w;
    struct bound all_free, all_given, b, one;
    world_open(&w, absorb, true);
    struct bound_config c = {.batch = BATCH,
                             .sequences = 4 * CLEAN,
                             .times = 4,
                             .length = 2,
                             .t_min = T_MIN,
                             .seed = 5,
                             .noised = noised,
                             .noised_context = &w};
    struct bound_source source = {.window = window, .given = thirds};
    cr_assert(bound_evaluate(w.rig.diags, w.rig.arena, &w.plans, &c, &all, &all_free));
    cr_assert(bound_evaluate(w.rig.diags, w.rig.arena, &w.plans, &c, &source, &b));
    c.batch = 7;
    cr_assert(bound_evaluate(w.rig.diags, w.rig.arena, &w.plans, &c, &source, &one));
    c.given = w.given;
    cr_assert(bound_evaluate(w.rig.diags, w.rig.arena, &w.plans, &c, &all, &all_given));
    double sum = 0, symbols = 0;
    for (int i = 0; i < 4 * CLEAN; i++) {
        const struct bound *like = i % 3 ? &all_free : &all_given;
        cr_expect_eq(b.symbols[i], i == 6 ? 0 : i % 3 ? 2 : 1);
        cr_expect_eq(b.per_sequence[i], i == 6 ? 0 : like->per_sequence[i], "%d", i);
        cr_expect_eq(one.per_sequence[i], b.per_sequence[i]);
        sum += b.per_sequence[i];
        symbols += b.symbols[i];
    }
    cr_expect_float_eq(b.nats, sum / symbols, 1e-12 * b.nats); /* sums of 36 numbers */
    cr_expect_eq(one.nats, b.nats);
    cr_expect_float_eq(b.free, symbols / (4 * CLEAN), 1e-12);
    /* A sum over symbols is off by how each sequence differs from its part of it. */
    double squares = 0;
    for (int i = 0; i < 4 * CLEAN; i++)
        squares += pow(b.per_sequence[i] - sum / symbols * b.symbols[i], 2);
    double error = sqrt(squares / (4 * CLEAN - 1) * 4 * CLEAN) / symbols;
    cr_expect_float_eq(b.error, error, 1e-9 * error);
    world_close(&w);
}

Test(estimators, what_is_given_may_differ_from_sequence_to_sequence)
{
    check_thirds(true);
    check_thirds(false);
}

/* Given the first token, the means are those of the bound of the second, and over all second tokens
 * the law that the bound promises adds up to at most 1, for each first one. */
static void check_given(bool absorb)
{
    struct world w;
    double nats[CLEAN];
    check_times(absorb, true);
    world_open(&w, absorb, true);
    expected_bound(&w, nats);
    for (int first = 0; first < TOKENS; first++) {
        double total = 0;
        for (int second = 0; second < TOKENS; second++)
            total += exp(-nats[first + TOKENS * second]);
        cr_expect(total <= 1 + 1e-4 && total > 0.05, "%s, given %d: %.6f",
                  absorb ? "absorb" : "uniform", first, total);
    }
    world_close(&w);
}

Test(estimators, a_part_given_the_rest_under_absorb)
{
    check_given(true);
}

Test(estimators, a_part_given_the_rest_under_uniform)
{
    check_given(false);
}

/* --- counts and orders ---------------------------------------------------------------------- */

static void counts_open(struct rig *rig, struct bound_plans *plans)
{
    struct rig_program program = {"order_step", BATCH, NULL, NULL};
    rig_model(rig, "tests/support/counts.yaml", NULL);
    struct plan *plan = rig_compile(rig, &program, NULL);
    rig_state(rig, &rig->model->states, 1);
    rig_fill(rig, 0.8);
    *plans = (struct bound_plans){.conditional = rig_load(rig, plan)};
}

/* An order's likelihoods are a law: they add up to 1, to the rounding of single precision; and two
 * orders are two laws. With counts of masks the expectation is the mean over all orders. */
Test(estimators, an_order_is_a_law_and_counts_are_the_mean_of_orders)
{
    static const int32_t orders[2][2] = {{0, 1}, {1, 0}};
    struct rig rig;
    struct bound_plans plans;
    struct bound b;
    double mean[CLEAN] = {0}, apart = 0;
    counts_open(&rig, &plans);
    struct bound_config c = {.batch = BATCH, .sequences = CLEAN, .times = 2, .length = 2};
    for (int i = 0; i < 2; i++) {
        double total = 0;
        cr_assert(order_evaluate(rig.diags, rig.arena, &plans, &c, orders[i], &all, &b));
        for (int x0 = 0; x0 < CLEAN; x0++) {
            total += exp(-b.per_sequence[x0]);
            apart += fabs(mean[x0] - b.per_sequence[x0] / 2) * i;
            mean[x0] += b.per_sequence[x0] / 2;
        }
        cr_assert_float_eq(total, 1, 1e-5, "order %d adds up to %.7f", i, total);
        cr_assert(b.calls == 2 && b.error_noise == 0);
    }
    cr_assert(apart > 0.05, "the two orders hardly differ: %g", apart);
    c.sequences = CLEAN * REPEATS;
    c.estimator = estimator_find("exact-k");
    cr_assert(bound_evaluate(rig.diags, rig.arena, &plans, &c, &all, &b));
    check_means("exact-k", b.per_sequence, mean);
    check_noise("exact-k", &b);
    cr_assert(b.calls == 4 && b.base == 0 && b.reconstruction == 0);
    rig_quiet(&rig);
    rig_close(&rig);
}

/* Given one position, both are the one conditional that is left. */
Test(estimators, an_order_given_a_position)
{
    static const int32_t order[1] = {1};
    static const bool given[2] = {true, false};
    struct rig rig;
    struct bound_plans plans;
    struct bound b, k;
    counts_open(&rig, &plans);
    struct bound_config c = {
        .batch = BATCH, .sequences = CLEAN, .times = 2, .length = 2, .given = given};
    cr_assert(order_evaluate(rig.diags, rig.arena, &plans, &c, order, &all, &b));
    c.estimator = estimator_find("exact-k");
    cr_assert(bound_evaluate(rig.diags, rig.arena, &plans, &c, &all, &k));
    for (int first = 0; first < TOKENS; first++) {
        double total = 0;
        for (int second = 0; second < TOKENS; second++)
            total += exp(-b.per_sequence[first + TOKENS * second]);
        cr_assert_float_eq(total, 1, 1e-5);
    }
    for (int x0 = 0; x0 < CLEAN; x0++)
        cr_assert_float_eq(b.per_sequence[x0], k.per_sequence[x0], 1e-9);
    rig_quiet(&rig);
    rig_close(&rig);
}

struct conditionals {
    double nats[CLEAN][2]; /* of either token given the other */
};

static bool token_given_other(void *context, const int32_t *window, const bool *given, double *nats)
{
    const struct conditionals *c = context;
    cr_assert(given && given[0] != given[1]);
    *nats = -c->nats[window[0] + TOKENS * window[1]][given[0] ? 1 : 0];
    return true;
}

static void clean_window(void *context, int64_t index, int32_t *out)
{
    (void)context;
    all.window(all.context, index / 2, out); /* each twice, so that either token is left out once */
}

/* All but one token is given, another one in the next sequence. Held against the law that the model
 * itself has of that token, nothing is missing; the law is of each position by its own order. */
Test(estimators, a_missing_token_by_its_own_law)
{
    static const int32_t order[2] = {0, 1};
    struct rig rig;
    struct bound_plans plans;
    struct bound b;
    struct conditionals truth;
    counts_open(&rig, &plans);
    struct bound_config c = {.batch = BATCH, .sequences = CLEAN, .times = 2, .length = 2};
    for (int free = 0; free < 2; free++) {
        bool given[2] = {free != 0, free != 1};
        c.given = given;
        cr_assert(order_evaluate(rig.diags, rig.arena, &plans, &c, order + free, &all, &b));
        for (int x0 = 0; x0 < CLEAN; x0++)
            truth.nats[x0][free] = b.per_sequence[x0];
    }
    struct bound_source source = {
        .window = clean_window, .truth = token_given_other, .context = &truth};
    c.given = NULL;
    c.but_one = true;
    c.sequences = 2 * CLEAN;
    c.estimator = estimator_find("exact-k");
    cr_assert(bound_evaluate(rig.diags, rig.arena, &plans, &c, &source, &b));
    cr_assert(b.known && b.free == 1 && b.error_noise == 0);
    for (int i = 0; i < 2 * CLEAN; i++) /* two programs: floats, of logs of about 10, ulp 1e-6 */
        cr_assert_float_eq(b.per_sequence[i], truth.nats[i / 2][i % 2], 1e-5);
    cr_assert_float_eq(b.gap, 0, 1e-5);
    cr_assert_float_eq(b.gap_error, 0, 1e-5);
    cr_assert(b.truth > 0.5, "%g nats", b.truth);
    rig_quiet(&rig);
    rig_close(&rig);
}

/* --- comparing ------------------------------------------------------------------------------ */

Test(estimators, a_paired_difference)
{
    double one[4] = {1, 2, 3, 6}, two[4] = {2, 3, 4, 9}, symbols[4] = {2, 2, 2, 2};
    double difference, error;
    struct bound a = {.sequences = 4, .free = 2, .per_sequence = one, .symbols = symbols};
    struct bound b = {.sequences = 4, .free = 2, .per_sequence = two, .symbols = symbols};
    bound_compare(&a, &b, &difference, &error);
    /* Differences 1 1 1 3: mean 1.5, variance 1, standard error 1/2; two symbols a sequence. */
    cr_assert_float_eq(difference, 0.75, 1e-12);
    cr_assert_float_eq(error, 0.25, 1e-12);
}

/* --- shares of calls ------------------------------------------------------------------------ */

#define SHARE_SEQUENCES 400
#define SHARE_RUNS 1000

/* By Box and Muller. */
static double normal(struct random_key key, uint32_t run, uint32_t stream, uint32_t i)
{
    double u = random_uniform(key, run, stream, i, 0), v = random_uniform(key, run, stream, i, 1);
    return sqrt(-2 * log1p(-u)) * cos(2 * acos(-1.0) * v);
}

/* Noise of a third and of one, partly the same. How far the share of calls is off one ninth over
 * many runs is its standard error, 8%, and is itself known to a 45th of it. A ratio of means is
 * 0.3% too large; four errors of its mean over the runs are 1.0%. */
Test(estimators, a_share_of_calls_is_as_far_off_as_it_says)
{
    struct random_key key = random_key(5, "shares");
    double of[SHARE_SEQUENCES], to[SHARE_SEQUENCES], sum = 0, squares = 0, said = 0;
    struct bound a = {.sequences = SHARE_SEQUENCES, .integral_squares = of};
    struct bound b = {.sequences = SHARE_SEQUENCES, .integral_squares = to};
    for (uint32_t run = 0; run < SHARE_RUNS; run++) {
        double error;
        for (uint32_t i = 0; i < SHARE_SEQUENCES; i++) {
            double own = normal(key, run, 0, i), both = normal(key, run, 1, i);
            of[i] = (0.8 * own + 0.6 * both) * (0.8 * own + 0.6 * both) / 9;
            to[i] = both * both;
        }
        double share = bound_share_of_calls(&a, &b, &error);
        sum += share;
        squares += share * share;
        said += error * error;
    }
    double mean = sum / SHARE_RUNS, spread = sqrt(squares / SHARE_RUNS - mean * mean);
    said = sqrt(said / SHARE_RUNS);
    cr_expect_float_eq(mean * 9, 1.003, 0.01, "a share of %g", mean);
    cr_expect_float_eq(said / spread, 1, 4.0 / 45, "%g said, %g seen", said, spread);
}
