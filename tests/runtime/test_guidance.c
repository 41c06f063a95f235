/* Guidance against its formulas in double: by a label (models/labelled.yaml) and by the gradient of
 * an energy (models/guidance.yaml), on sequences of two positions, all of them at once. */
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define TOKENS 3
#define STATES 4 /* the mask last */
#define NOISY 16 /* pairs of states */
#define MANY 20000

static double sigma_at(double t)
{
    return -log1p(-(1 - 1e-3) * t);
}

/* All pairs of states, COUNT rows in turn. */
static void all_pairs(int32_t *x, int count)
{
    for (int i = 0; i < count; i++) {
        x[2 * i] = i % STATES;
        x[2 * i + 1] = i / STATES % STATES;
    }
}

static void fill(double *values, int count, double value)
{
    for (int i = 0; i < count; i++)
        values[i] = value;
}

/* What a masked row of log scores is once it is projected: its sum is 1 / expm1(sigma). */
static void project(double *row, double sigma)
{
    double sum = 0;
    for (int y = 0; y < TOKENS; y++)
        sum += exp(row[y]);
    for (int y = 0; y < TOKENS; y++)
        row[y] -= log(sum * expm1(sigma));
}

/* Holds the masked rows of LOG_SCORE to EXPECTED [rows, 2, TOKENS], to what single precision
 * leaves. */
static void check_scores(const struct tensor *log_score, const int32_t *x, int rows,
                         double (*expected)[TOKENS], const char *what)
{
    for (int i = 0; i < 2 * rows; i++)
        for (int y = 0; y < TOKENS && x[i] == TOKENS; y++)
            cr_assert_float_eq(rig_element(log_score, i * STATES + y), expected[i][y], 2e-5,
                               "%s, row %d, token %d: %.7g, not %.7g", what, i, y,
                               rig_element(log_score, i * STATES + y), expected[i][y]);
}

/* Of COUNT draws, a share within 4.5 standard deviations of P (once in 150,000). */
static void check_share(int hits, int count, double p, const char *what)
{
    cr_expect(fabs(hits - count * p) < 4.5 * sqrt(count * p * (1 - p)), "%s: %d of %d, not %.1f",
              what, hits, count, count * p);
}

/* --- by a label ----------------------------------------------------------------------------- */

static const char *const small[] = {"dim=8",           "heads=2", "layers=1",  "cond=4",
                                    "length=2",        "vocab=3", "classes=2", "dropout=0",
                                    "label_drop=0.25", NULL};
static const char *const scores[] = {"log_score", NULL};
static const char *const told[] = {"label", "gamma", NULL};

struct labels {
    struct rig rig;
    int32_t x[2 * 2 * NOISY], label[2 * NOISY];
    double t[2 * NOISY], s[2 * NOISY];
    float all[2 * 2 * NOISY * STATES], own[2 * 2 * NOISY * STATES]; /* of all, of the label */
};
#define ROWS (2 * NOISY)

/* The output NAME, copied: the next run of any plan uses its memory. */
static void keep(const struct loaded *loaded, const char *name, float *out)
{
    struct tensor t = rig_output(loaded, name);
    for (int i = 0; i < 2 * ROWS * STATES; i++)
        out[i] = (float)rig_element(&t, i);
}

static void labels_open(struct labels *w, struct loaded **step)
{
    struct rig_program all = {"scores", ROWS, NULL, NULL};
    struct rig_program guided = {"guided_step", ROWS, told, scores};
    rig_model(&w->rig, "tests/support/labelled-scores.yaml", small);
    struct plan *plans[] = {rig_compile(&w->rig, &all, NULL), rig_compile(&w->rig, &guided, NULL)};
    rig_state(&w->rig, &w->rig.model->states, 1);
    rig_fill(&w->rig, 0.5);
    all_pairs(w->x, ROWS);
    fill(w->t, ROWS, 0.6);
    fill(w->s, ROWS, 0.4);
    for (int i = 0; i < ROWS; i++)
        w->label[i] = i / NOISY;
    struct loaded *both = rig_load(&w->rig, plans[0]);
    struct rig_value values[] = {{"x", w->x}, {"t", w->t}, {"label", w->label}};
    rig_run(both, values, 3, 0, NULL);
    keep(both, "all", w->all);
    keep(both, "own", w->own);
    *step = rig_load(&w->rig, plans[1]);
}

/* log s = log s_all + gamma (log s_label - log s_all), projected; and a class is not another. */
Test(guidance, by_a_label_moves_along_the_difference)
{
    static const double gammas[] = {0, 1, 2.5};
    struct labels w = {0};
    struct loaded *step;
    labels_open(&w, &step);
    for (int k = 0; k < 3; k++) {
        double expected[2 * ROWS][TOKENS], apart = 0;
        struct rig_value values[] = {
            {"x", w.x}, {"t", w.t}, {"s", w.s}, {"label", w.label}, {"gamma", &gammas[k]}};
        rig_run(step, values, 5, 0, NULL);
        struct tensor log_score = rig_output(step, "log_score");
        for (int i = 0; i < 2 * ROWS; i++) {
            for (int y = 0; y < TOKENS; y++) {
                double s = (double)w.all[i * STATES + y], c = (double)w.own[i * STATES + y];
                expected[i][y] = s + gammas[k] * (c - s);
                if (i < 2 * NOISY)
                    apart = fmax(apart, fabs(c - (double)w.own[(i + 2 * NOISY) * STATES + y]));
            }
            project(expected[i], sigma_at(0.6));
        }
        cr_assert(apart > 0.05, "the label changes scores by %g at most", apart);
        check_scores(&log_score, w.x, ROWS, expected, "label");
    }
    rig_quiet(&w.rig);
    rig_close(&w.rig);
}

/* Bounds take the same score: of the label, and of all classes where it is -1 or left out. */
Test(guidance, bounds_are_told_the_label)
{
    static const char *const bind[] = {"x", "label", NULL}, *const want[] = {"log_score", NULL};
    struct labels w = {0};
    struct loaded *step;
    int32_t none[ROWS];
    labels_open(&w, &step);
    struct rig_program bound = {"bound_integrand", ROWS, bind, want};
    struct loaded *integrand = rig_load(&w.rig, rig_compile(&w.rig, &bound, NULL));
    for (int i = 0; i < ROWS; i++)
        none[i] = -1;
    for (int k = 0; k < 2; k++) {
        double expected[2 * ROWS][TOKENS];
        struct rig_value values[] = {
            {"x", w.x}, {"x0", w.x}, {"t", w.t}, {"label", k ? none : w.label}};
        rig_run(integrand, values, 4, 0, NULL);
        const float *source = k ? w.all : w.own;
        struct tensor log_score = rig_output(integrand, "log_score");
        for (int i = 0; i < 2 * ROWS; i++) {
            for (int y = 0; y < TOKENS; y++)
                expected[i][y] = (double)source[i * STATES + y];
            project(expected[i], sigma_at(0.6));
        }
        check_scores(&log_score, w.x, ROWS, expected, k ? "none" : "own");
    }
    rig_quiet(&w.rig);
    rig_close(&w.rig);
}

/* One call of the guided chain for COUNT rows at noise T, to S (or for the decoder to data). */
struct turn {
    struct loaded *call;
    double *t, *s;
};

static struct turn turn_make(struct rig *rig, const char *program, int64_t count)
{
    static const char *const want[] = {"log_score", NULL};
    struct rig_program call = {program, count, told, want};
    struct plan *plan = rig_compile(rig, &call, NULL);
    if (!rig->engine.state) {
        rig_state(rig, &rig->model->states, 1);
        rig_fill(rig, 0.5);
    }
    return (struct turn){rig_load(rig, plan), arena_new_array(rig->arena, double, count),
                         arena_new_array(rig->arena, double, count)};
}

static void turn_run(struct turn *turn, int count, const int32_t *x, double t, double s, int turns)
{
    static const int32_t label[MANY]; /* of class 0 */
    static const double gamma = 2;
    struct run how = {.key = random_key(5, "sample"), .iteration = (uint32_t)turns};
    fill(turn->t, count, t);
    fill(turn->s, count, s);
    struct rig_value values[] = {
        {"x", x}, {"t", turn->t}, {"s", turn->s}, {"label", label}, {"gamma", &gamma}};
    rig_run(turn->call, values, 5, 0, &how);
}

/* Where a position goes that holds X: a mask becomes y with probability expm1(sigma_t - sigma_s)
 * s_y, or at the end in proportion to s_y; a token stays. */
static void position_law(const struct tensor *log_score, int at, int x, double step, double *out)
{
    double left = 1;
    for (int y = 0; y < TOKENS; y++) {
        double s = exp(rig_element(log_score, at * STATES + y));
        out[y] = x == TOKENS ? step * s : x == y;
        left -= out[y];
    }
    out[TOKENS] = left;
}

/* LAW over all pairs, moved by one turn. */
static void move_law(struct turn *turn, double t, double s, double *law)
{
    int32_t x[2 * NOISY];
    double next[NOISY] = {0}, first[STATES], second[STATES];
    bool last = s == 0;
    double step = last ? expm1(sigma_at(t)) : expm1(sigma_at(t) - sigma_at(s));
    all_pairs(x, NOISY);
    turn_run(turn, NOISY, x, t, s, 0);
    struct tensor log_score = rig_output(turn->call, "log_score");
    for (int i = 0; i < NOISY; i++) {
        position_law(&log_score, 2 * i, x[2 * i], step, first);
        position_law(&log_score, 2 * i + 1, x[2 * i + 1], step, second);
        for (int y = 0; y < NOISY; y++)
            next[y] += law[i] * first[y % STATES] * second[y / STATES];
    }
    memcpy(law, next, sizeof next);
}

/* The whole chain from masks to text, two steps and the decoder: draws against the law that its
 * scores come to, by enumeration. */
Test(guidance, by_a_label_samples_the_law_of_its_scores)
{
    static const double times[] = {0.9, 0.6, 0.2, 0};
    static int32_t x[2 * MANY];
    struct rig rig = {0};
    double law[NOISY] = {[NOISY - 1] = 1};
    rig_model(&rig, "models/labelled.yaml", small);
    struct turn few[2], many[2];
    for (int last = 0; last < 2; last++) {
        const char *program = last ? "guided_denoise" : "guided_step";
        few[last] = turn_make(&rig, program, NOISY);
        many[last] = turn_make(&rig, program, MANY);
    }
    for (int i = 0; i < 2 * MANY; i++)
        x[i] = TOKENS;
    for (int k = 0; k < 3; k++) {
        move_law(&few[k == 2], times[k], times[k + 1], law);
        turn_run(&many[k == 2], MANY, x, times[k], times[k + 1], k);
        struct tensor y = rig_output(many[k == 2].call, "x");
        memcpy(x, y.data, sizeof x);
    }
    for (int pair = 0; pair < NOISY; pair++) {
        int hits = 0;
        for (int i = 0; i < MANY; i++)
            hits += x[2 * i] + STATES * x[2 * i + 1] == pair;
        if (pair % STATES == TOKENS || pair / STATES == TOKENS)
            cr_expect(hits == 0 && fabs(law[pair]) < 1e-6, "text with a mask: %g", law[pair]);
        else
            check_share(hits, MANY, law[pair], "a pair");
    }
    rig_quiet(&rig);
    rig_close(&rig);
}

/* Training leaves the label out with probability label_drop. */
Test(guidance, a_label_is_left_out_as_often_as_said)
{
    static const char *const bind[] = {"label", NULL}, *const want[] = {"told", NULL};
    static int32_t x0[2 * MANY], label[MANY];
    struct rig rig;
    struct rig_program train = {"train", MANY, bind, want};
    struct run how = {.key = random_key(5, "train")};
    rig_model(&rig, "models/labelled.yaml", small);
    struct plan *plan = rig_compile(&rig, &train, NULL);
    rig_state(&rig, &rig.model->states, 1);
    struct loaded *loaded = rig_load(&rig, plan);
    struct rig_value values[] = {{"x0", x0}, {"label", label}};
    rig_run(loaded, values, 2, 0, &how);
    struct tensor flags = rig_output(loaded, "told");
    int count = 0;
    for (int i = 0; i < MANY; i++)
        count += rig_element(&flags, i) != 0;
    check_share(count, MANY, 0.75, "told");
    rig_quiet(&rig);
    rig_close(&rig);
}

/* --- by a gradient -------------------------------------------------------------------------- */

/* The law of a masked position, the worth of each state, and the energy's slope at X. */
struct energy {
    double law[TOKENS];
    const float *worth;
    double bend;
};

static void energy_read(const struct rig *rig, double bend, struct energy *e)
{
    const float *law = rig_row(rig, "ema/law.embedding") + TOKENS * STATES;
    double sum = 0;
    for (int y = 0; y < TOKENS; y++)
        sum += exp(law[y]);
    for (int y = 0; y < TOKENS; y++)
        e->law[y] = exp(law[y]) / sum;
    e->worth = rig_row(rig, "ema/worth.embedding");
    e->bend = bend;
}

static double energy_of(const struct energy *e, int a, int b)
{
    double u = (double)e->worth[a] + e->worth[b];
    return u + e->bend * u * u;
}

/* With E = u + bend u^2, u the summed worth of the tokens, dE/dw_y = (1 + 2 bend u) worth_y. */
Test(guidance, by_a_gradient_is_the_formula_of_first_order)
{
    static const char *const want[] = {"log_score", NULL}, *const bind[] = {"gamma", NULL};
    static const char *const bent[] = {"bend=0.7", NULL};
    static const double gamma = 1.5;
    struct rig rig;
    struct energy e;
    int32_t x[2 * NOISY];
    double t[NOISY], s[NOISY], expected[2 * NOISY][TOKENS], off = 0;
    struct rig_program program = {"guided_step", NOISY, bind, want};
    rig_model(&rig, "tests/support/energy.yaml", bent);
    struct plan *plan = rig_compile(&rig, &program, NULL);
    rig_state(&rig, &rig.model->states, 1);
    rig_fill(&rig, 0.6);
    struct loaded *step = rig_load(&rig, plan);
    all_pairs(x, NOISY);
    fill(t, NOISY, 0.6);
    fill(s, NOISY, 0.4);
    struct rig_value values[] = {{"x", x}, {"t", t}, {"s", s}, {"gamma", &gamma}};
    rig_run(step, values, 4, 0, NULL);
    energy_read(&rig, 0.7, &e);
    for (int i = 0; i < 2 * NOISY; i++) {
        int here = x[i], other = x[i ^ 1];
        double slope = 1 + 2 * e.bend * ((double)e.worth[here] + e.worth[other]);
        for (int y = 0; y < TOKENS; y++) {
            double first = slope * ((double)e.worth[y] - e.worth[here]);
            expected[i][y] = log(e.law[y]) + gamma * first;
            off = fmax(off, fabs(energy_of(&e, y, other) - energy_of(&e, here, other) - first));
        }
        project(expected[i], sigma_at(0.6));
    }
    cr_assert(off > 0.1, "a bent energy is not linear: %g", off);
    struct tensor log_score = rig_output(step, "log_score");
    check_scores(&log_score, x, NOISY, expected, "energy");
    rig_quiet(&rig);
    rig_close(&rig);
}

/* Where any token may become any other: s_y of the posterior p(. | x), r = P[y][x] / P[x][x] of two
 * tokens that differ, times exp(gamma (dE/dw_y - dE/dw_x)), within [r, 1 / r]. With two tokens that
 * is all that projection does. */
#define PAIRS 4
Test(guidance, by_a_gradient_under_the_uniform_chain)
{
    static const char *const want[] = {"log_score", NULL}, *const bind[] = {"gamma", NULL};
    static const char *const settings[] = {"bend=0.7", "process.rate=uniform", "vocab=2", NULL};
    static const double gamma = 1.5;
    struct rig rig;
    int32_t x[2 * NOISY] = {0};
    double t[NOISY], s[NOISY], e = expm1(sigma_at(0.1)), r = e / (e + 2);
    int clipped = 0, free = 0;
    struct rig_program program = {"guided_step", NOISY, bind, want};
    rig_model(&rig, "tests/support/energy.yaml", settings);
    struct plan *plan = rig_compile(&rig, &program, NULL);
    rig_state(&rig, &rig.model->states, 1);
    rig_fill(&rig, 0.4);
    struct loaded *step = rig_load(&rig, plan);
    for (int i = 0; i < PAIRS; i++) {
        x[2 * i] = i % 2;
        x[2 * i + 1] = i / 2;
    }
    fill(t, NOISY, 0.1);
    fill(s, NOISY, 0.05);
    struct rig_value values[] = {{"x", x}, {"t", t}, {"s", s}, {"gamma", &gamma}};
    rig_run(step, values, 4, 0, NULL);
    struct tensor log_score = rig_output(step, "log_score");
    const float *law = rig_row(&rig, "ema/law.embedding");
    const float *worth = rig_row(&rig, "ema/worth.embedding");
    for (int i = 0; i < 2 * PAIRS; i++) {
        const float *row = law + x[i] * 2;
        double slope = 1 + 1.4 * ((double)worth[x[i]] + worth[x[i ^ 1]]), sum = 0;
        for (int y = 0; y < 2; y++)
            sum += exp(row[y]);
        for (int y = 0; y < 2; y++) {
            double here = exp(row[x[i]]) / sum, there = exp(row[y]) / sum;
            double score = log(here * r + there / r + 1 - here - there);
            double push = gamma * slope * ((double)worth[y] - worth[x[i]]);
            double expected = y == x[i] ? 0 : fmin(fmax(score + push, log(r)), -log(r));
            clipped += y != x[i] && expected != score + push;
            free += y != x[i] && expected == score + push;
            cr_assert_float_eq(rig_element(&log_score, i * 2 + y), expected, 2e-5,
                               "row %d, token %d", i, y);
        }
    }
    cr_assert(clipped > 0 && free > 2, "%d clipped, %d not", clipped, free);
    rig_quiet(&rig);
    rig_close(&rig);
}

/* A linear energy: the first order is all there is, and what is sampled is p0 exp(gamma E). */
Test(guidance, a_linear_energy_tilts_what_is_sampled)
{
    static const char *const bind[] = {"gamma", NULL};
    static int32_t x[2 * MANY];
    static double t[MANY], s[MANY];
    static const double gamma = 2, times[] = {1, 0.7, 0.4, 0.1};
    struct rig rig;
    struct energy e;
    struct rig_program programs[] = {{"guided_step", MANY, bind, NULL},
                                     {"guided_denoise", MANY, bind, NULL}};
    rig_model(&rig, "tests/support/energy.yaml", NULL);
    struct plan *plans[] = {rig_compile(&rig, &programs[0], NULL),
                            rig_compile(&rig, &programs[1], NULL)};
    rig_state(&rig, &rig.model->states, 2);
    rig_fill(&rig, 0.6);
    struct loaded *step = rig_load(&rig, plans[0]), *denoise = rig_load(&rig, plans[1]);
    for (int i = 0; i < 2 * MANY; i++)
        x[i] = TOKENS;
    for (int k = 0; k < 4; k++) {
        struct loaded *call = k < 3 ? step : denoise;
        struct run how = {.key = random_key(5, "sample"), .iteration = (uint32_t)k};
        struct rig_value values[] = {{"x", x}, {"t", t}, {"s", s}, {"gamma", &gamma}};
        fill(t, MANY, times[k]);
        fill(s, MANY, k < 3 ? times[k + 1] : 0);
        rig_run(call, values, 4, 0, &how);
        struct tensor y = rig_output(call, "x");
        for (int i = 0; i < 2 * MANY; i++)
            x[i] = (int32_t)rig_element(&y, i);
    }
    energy_read(&rig, 0, &e);
    double tilted[TOKENS], sum = 0, moved = 0;
    for (int y = 0; y < TOKENS; y++)
        sum += tilted[y] = e.law[y] * exp(gamma * e.worth[y]);
    for (int y = 0; y < TOKENS; y++)
        moved += fabs(tilted[y] / sum - e.law[y]);
    cr_assert(moved > 0.1, "the energy moves %g of the law", moved);
    for (int pair = 0; pair < TOKENS * TOKENS; pair++) {
        int hits = 0;
        for (int i = 0; i < MANY; i++)
            hits += x[2 * i] == pair % TOKENS && x[2 * i + 1] == pair / TOKENS;
        check_share(hits, MANY, tilted[pair % TOKENS] * tilted[pair / TOKENS] / (sum * sum),
                    "a pair");
    }
    rig_quiet(&rig);
    rig_close(&rig);
}
