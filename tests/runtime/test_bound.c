/* The likelihood bound, by the programs of the shipped models, enumerated: sequences of two tokens out
 * of three, so that every expectation is a sum.
 *
 * With the exact score, base and decoder its terms are -log p0(x0) for every x0; with any weights it
 * is a bound: exp(-bound) over all x0 adds up to at most 1. */
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define TOKENS 3
#define CLEAN 9      /* sequences of real tokens */
#define NOISY_MAX 16 /* sequences of states */
#define ROWS_MAX (CLEAN * NOISY_MAX)
#define T_MIN 1e-5
#define EPS 1e-3 /* of the log-linear schedule */
#define LOW 1e-4 /* of the geometric one */
#define HIGH 20.0

struct world {
    struct rig rig;
    bool absorb;
    int states, noisy;
    double p0[CLEAN];
    int32_t x[ROWS_MAX * 2], x0[ROWS_MAX * 2]; /* row x0 * noisy + x */
    struct loaded *integrand, *base, *reconstruction;
};

/* --- the chain, written out ----------------------------------------------------------------- */

/* exp(sigma Q)[y][x]. */
static double moved(const struct world *w, double sigma, int y, int x)
{
    double stay = exp(-sigma);
    if (w->absorb) {
        bool masked = x == TOKENS;
        return y == x ? (masked ? 1 : stay) : y == TOKENS ? -expm1(-sigma) : 0;
    }
    return (y == x ? stay : 0) - expm1(-sigma) / TOKENS;
}

/* exp(sigma Q) of both positions: from the clean sequence X0 to the noisy one X. */
static double moved_pair(const struct world *w, double sigma, int x, int x0)
{
    return moved(w, sigma, x % w->states, x0 % TOKENS) *
           moved(w, sigma, x / w->states, x0 / TOKENS);
}

static double law(const struct world *w, double sigma, int x)
{
    double p = 0;
    for (int x0 = 0; x0 < CLEAN; x0++)
        p += w->p0[x0] * moved_pair(w, sigma, x, x0);
    return p;
}

static double sigma_at(const struct world *w, double t)
{
    return w->absorb ? -log1p(-(1 - EPS) * t) : LOW * pow(HIGH / LOW, t);
}

static double time_at(const struct world *w, double sigma)
{
    return w->absorb ? -expm1(-sigma) / (1 - EPS) : log(sigma / LOW) / log(HIGH / LOW);
}

static double rate_at(const struct world *w, double sigma)
{
    return w->absorb ? (1 - EPS) * exp(sigma) : sigma * log(HIGH / LOW);
}

/* --- the world ------------------------------------------------------------------------------ */

static const char *const small[] = {"dim=8",    "heads=2", "layers=1",  "cond=4",
                                    "length=2", "vocab=3", "dropout=0", NULL};

/* A law in which the two tokens depend on each other, none of them rare. */
static void set_law(struct world *w)
{
    double sum = 0;
    for (int i = 0; i < CLEAN; i++) {
        w->p0[i] = 0.3 + (i * 5 % 7) * (i % TOKENS == i / TOKENS ? 1.0 : 0.25);
        sum += w->p0[i];
    }
    for (int i = 0; i < CLEAN; i++)
        w->p0[i] /= sum;
}

/* Programs for all pairs (x0, x) at once; with SCORES the projected scores are given: the projection
 * leaves exact ones where they are (tests/ops/test_bound.c). */
static void world_open(struct world *w, bool absorb, bool scores)
{
    const char *const bind[] = {"x0", "t", "x", scores ? "log_score" : NULL, NULL};
    *w = (struct world){.absorb = absorb, .states = TOKENS + absorb};
    w->noisy = w->states * w->states;
    rig_model(&w->rig, absorb ? "models/sedd-absorb.yaml" : "models/sedd-uniform.yaml", small);
    struct rig_program integrand = {"bound_integrand", CLEAN * w->noisy, bind, NULL};
    struct rig_program reconstruction = {"bound_reconstruction", CLEAN * w->noisy, bind, NULL};
    struct rig_program base = {"bound_base", CLEAN, NULL, NULL};
    struct plan *a = rig_compile(&w->rig, &integrand, NULL);
    struct plan *b = rig_compile(&w->rig, &reconstruction, NULL);
    struct plan *c = rig_compile(&w->rig, &base, NULL);
    rig_state(&w->rig, &w->rig.model->states, 1);
    w->integrand = rig_load(&w->rig, a);
    w->reconstruction = rig_load(&w->rig, b);
    w->base = rig_load(&w->rig, c);
    for (int row = 0; row < CLEAN * w->noisy; row++) {
        int x0 = row / w->noisy, x = row % w->noisy;
        w->x0[2 * row] = x0 % TOKENS;
        w->x0[2 * row + 1] = x0 / TOKENS;
        w->x[2 * row] = x % w->states;
        w->x[2 * row + 1] = x / w->states;
    }
    set_law(w);
}

static void world_close(struct world *w)
{
    rig_quiet(&w->rig);
    rig_close(&w->rig);
}

/* log p(y) / p(x) at each position; states that cannot be have a score of e^-50. */
static void exact_scores(const struct world *w, double sigma, float *out)
{
    for (int row = 0; row < CLEAN * w->noisy; row++)
        for (int at = 0; at < 2; at++)
            for (int y = 0; y < w->states; y++) {
                int x = row % w->noisy, unit = at ? w->states : 1;
                int to = x + (y - w->x[2 * row + at]) * unit;
                double ratio = law(w, sigma, to) / law(w, sigma, x);
                out[(2 * row + at) * w->states + y] = ratio > 0 ? (float)log(ratio) : -50;
            }
}

/* For each x0, the expectation of a program's nats over the noisy sequences at SIGMA. */
static void expect_nats(struct world *w, struct loaded *program, double sigma, bool scores,
                        double *out)
{
    static float scores_at[ROWS_MAX * 2 * (TOKENS + 1)];
    static double t[ROWS_MAX];
    struct rig_value values[] = {{"x0", w->x0}, {"x", w->x}, {"t", t}, {"log_score", scores_at}};
    for (int i = 0; i < ROWS_MAX; i++)
        t[i] = time_at(w, sigma);
    if (scores)
        exact_scores(w, sigma, scores_at);
    rig_run(program, values, 4, 0, NULL);
    struct tensor nats = rig_output(program, "nats");
    for (int x0 = 0; x0 < CLEAN; x0++) {
        out[x0] = 0;
        for (int x = 0; x < w->noisy; x++) {
            double p = moved_pair(w, sigma, x, x0);
            out[x0] += p > 0 ? p * rig_element(&nats, x0 * w->noisy + x) : 0;
        }
    }
}

/* Nodes of Gauss-Legendre quadrature with 8 points on [-1, 1] (Abramowitz and Stegun, table 25.4). */
static const double nodes[4] = {0.1834346424956498, 0.5255324099163290, 0.7966664774136267,
                                0.9602898564975363};
static const double weights[4] = {0.3626837833783620, 0.3137066458778873, 0.2223810344533745,
                                  0.1012285362903763};
#define PANELS 24

/* The integral over t in [T_MIN, 1], by panels in log sigma, where the integrand is smooth. */
static void integrate(struct world *w, bool scores, double *out)
{
    double from = log(sigma_at(w, T_MIN)), to = log(sigma_at(w, 1)), one[CLEAN];
    double half = (to - from) / (2 * PANELS);
    memset(out, 0, CLEAN * sizeof *out);
    for (int panel = 0; panel < PANELS; panel++)
        for (int k = 0; k < 8; k++) {
            double at = k % 2 ? nodes[k / 2] : -nodes[k / 2];
            double sigma = exp(from + half * (2 * panel + 1 + at));
            double dt = half * weights[k / 2] * sigma / rate_at(w, sigma);
            expect_nats(w, w->integrand, sigma, scores, one);
            for (int x0 = 0; x0 < CLEAN; x0++)
                out[x0] += dt * one[x0];
        }
}

/* --- exactness ------------------------------------------------------------------------------ */

/* KL(P_T[., x0] || p_T). */
static double exact_base(const struct world *w, int x0)
{
    double sigma = sigma_at(w, 1), sum = 0;
    for (int x = 0; x < w->noisy; x++) {
        double p = moved_pair(w, sigma, x, x0);
        sum += p > 0 ? p * log(p / law(w, sigma, x)) : 0;
    }
    return sum;
}

/* 1e-6 nats: scores rounded to single precision count to second order in the integral and with the
 * decoder's 1e-5 in the last term; both tokens at once are decoded apart from each other, of order
 * sigma_min squared; 192 nodes integrate to 1e-8. */
static void check_exactness(bool absorb)
{
    struct world w;
    double integral[CLEAN], decoder[CLEAN];
    world_open(&w, absorb, true);
    integrate(&w, true, integral);
    expect_nats(&w, w.reconstruction, sigma_at(&w, T_MIN), true, decoder);
    for (int x0 = 0; x0 < CLEAN; x0++) {
        double total = integral[x0] + exact_base(&w, x0) + decoder[x0];
        cr_assert_float_eq(total, -log(w.p0[x0]), 1e-6, "x0 %d: %.9f + %.9f + %.9f, not %.9f", x0,
                           integral[x0], exact_base(&w, x0), decoder[x0], -log(w.p0[x0]));
        cr_assert(integral[x0] > 0.1 && decoder[x0] > 0);
    }
    world_close(&w);
}

Test(bound_programs, absorb_is_exact_with_the_exact_score)
{
    check_exactness(true);
}

Test(bound_programs, uniform_is_exact_with_the_exact_score)
{
    check_exactness(false);
}

/* --- any weights ------------------------------------------------------------------------------ */

/* A network of random weights; SPREAD says how wild. */
static void check_bound(bool absorb, double spread)
{
    struct world w;
    double integral[CLEAN], decoder[CLEAN], t[CLEAN], total = 0;
    world_open(&w, absorb, false);
    rig_fill(&w.rig, spread);
    integrate(&w, false, integral);
    expect_nats(&w, w.reconstruction, sigma_at(&w, T_MIN), false, decoder);
    int32_t clean[2 * CLEAN];
    for (int x0 = 0; x0 < CLEAN; x0++) {
        clean[2 * x0] = x0 % TOKENS;
        clean[2 * x0 + 1] = x0 / TOKENS;
        t[x0] = 1;
    }
    struct rig_value values[] = {{"x0", clean}, {"t", t}};
    rig_run(w.base, values, 2, 0, NULL);
    struct tensor base = rig_output(w.base, "nats");
    for (int x0 = 0; x0 < CLEAN; x0++) {
        double nats = integral[x0] + rig_element(&base, x0) + decoder[x0];
        cr_assert(isfinite(nats) && nats > 0);
        total += exp(-nats);
    }
    cr_assert(total <= 1 + 1e-6, "spread %g: the law adds up to %.9f", spread, total);
    cr_assert(total > 0.01, "spread %g: %.9f shows nothing", spread, total);
    world_close(&w);
}

Test(bound_programs, a_bound_for_any_weights)
{
    static const double spreads[] = {0.05, 0.4, 0.8};
    for (int i = 0; i < 3; i++) {
        check_bound(true, spreads[i]);
        check_bound(false, spreads[i]);
    }
}

/* --- one reverse step ------------------------------------------------------------------------- */

#define DRAWS 20000
#define BATCH 1000

/* Tweedie from sigma_t to sigma_s at X with the score S: (exp(-d Q) s)_y exp(d Q)[x][y], clamped at
 * 0 and normalised, d = sigma_t - sigma_s (Lou, Meng, Ermon 2024, equation 19). */
static void tweedie_law(const struct world *w, double d, const float *log_s, int x, double *out)
{
    double sum = 0;
    for (int y = 0; y < w->states; y++) {
        double back = 0;
        for (int z = 0; z < w->states; z++)
            back += moved(w, -d, y, z) * exp((double)log_s[z]);
        out[y] = fmax(0, back * moved(w, d, x, y));
        sum += out[y];
    }
    for (int y = 0; y < w->states; y++)
        out[y] /= sum;
}

/* The statistic of Pearson's test of COUNT against LAW; a state of probability zero must not occur. */
static double chi_square(const int *count, const double *p, int n)
{
    double sum = 0;
    for (int y = 0; y < n; y++) {
        double expected = p[y] * DRAWS;
        cr_assert(p[y] > 0 || count[y] == 0);
        sum += expected > 0 ? (count[y] - expected) * (count[y] - expected) / expected : 0;
    }
    return sum;
}

/* Every noisy sequence: 20000 draws of each position against the law of the formula. With up to 3
 * degrees of freedom, 33 is exceeded once in three million tests. */
static void check_step(bool absorb)
{
    static const char *const want[] = {"log_score", NULL};
    static int32_t x[BATCH * 2];
    static double t[BATCH], s[BATCH];
    struct world w;
    world_open(&w, absorb, false);
    struct rig_program step = {"step", BATCH, NULL, want};
    struct plan *plan = rig_compile(&w.rig, &step, NULL);
    rig_fill(&w.rig, 0.4);
    struct loaded *loaded = rig_load(&w.rig, plan);
    struct rig_value values[] = {{"x", x}, {"t", t}, {"s", s}};
    for (int from = 0; from < w.noisy; from++) {
        int count[2][TOKENS + 1] = {{0}};
        float scores[2 * (TOKENS + 1)];
        for (int i = 0; i < BATCH; i++) {
            x[2 * i] = from % w.states;
            x[2 * i + 1] = from / w.states;
            t[i] = absorb ? 0.7 : 0.8;
            s[i] = absorb ? 0.3 : 0.65;
        }
        for (uint32_t turn = 0; turn < DRAWS / BATCH; turn++) {
            struct run how = {.key = random_key(4, "step"),
                              .iteration = turn,
                              .sequence = (uint32_t)from * BATCH};
            rig_run(loaded, values, 3, 0, &how);
            struct tensor y = rig_output(loaded, "x"), score = rig_output(loaded, "log_score");
            memcpy(scores, score.data, 2 * (size_t)w.states * sizeof *scores);
            for (int i = 0; i < 2 * BATCH; i++)
                count[i % 2][(int)rig_element(&y, i)]++;
        }
        double d = sigma_at(&w, t[0]) - sigma_at(&w, s[0]), p[TOKENS + 1];
        for (int at = 0; at < 2; at++) {
            tweedie_law(&w, d, scores + at * w.states, x[at], p);
            double found = chi_square(count[at], p, w.states);
            cr_assert(found < 33, "from %d, position %d: chi square %g", from, at, found);
        }
    }
    world_close(&w);
}

Test(bound_programs, a_step_draws_from_the_tweedie_law)
{
    check_step(true);
    check_step(false);
}
