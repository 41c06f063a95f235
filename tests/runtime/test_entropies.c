/* The three score entropies as a model file writes them, on spaces that are listed: plain, implicit
 * and denoising ones differ by constants, and their gradients by nothing; neither do the updates of
 * the shipped models that train by them. */
#include "tests/ops/enumeration.h"
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH 2
#define SPACE 32 /* at most so many noisy sequences */
#define ENTRIES (SPACE * LENGTH * STATES_MAX)
#define PAIRS (SPACE * SPACE)
#define SIGMA 0.7

/* Sequences are in lexicographic order, the last position runs fastest. */
struct space {
    struct rig rig;
    const struct chain *chain;
    int clean, noisy, entries; /* entries: scores of all noisy sequences */
    double p0[SPACE], p[SPACE];
    double weight[PAIRS], sigma[PAIRS]; /* row x0 * noisy + x: P0(x0) P(x | x0) */
    int32_t x[PAIRS * LENGTH], x0[PAIRS * LENGTH];
    struct loaded *plain, *implicit, *denoising;
};

static int token(int sequence, int base, int i)
{
    return i ? sequence % base : sequence / base;
}

static void set_laws(struct space *w)
{
    struct matrix e = exponential(w->chain, SIGMA);
    double sum = 0;
    for (int x0 = 0; x0 < w->clean; x0++)
        sum += w->p0[x0] = 0.1 + test_uniform(71, (uint32_t)x0);
    for (int row = 0; row < w->clean * w->noisy; row++) {
        int x0 = row / w->noisy, x = row % w->noisy;
        w->weight[row] = w->p0[x0] / sum;
        w->sigma[row] = SIGMA;
        for (int i = 0; i < LENGTH; i++) {
            int from = token(x0, w->chain->tokens, i), to = token(x, w->chain->states, i);
            w->weight[row] *= e.at[to][from];
            w->x0[row * LENGTH + i] = from;
            w->x[row * LENGTH + i] = e.at[to][from] > 0 ? to : from; /* its weight is 0 */
        }
        w->p[x] += w->weight[row];
    }
}

static const char programs[] =
    "programs:\n"
    "  plain:\n"
    "    in: {log_score: [f32, states * states, 2, states], p: [f64, states * states]}\n"
    "    nodes:\n"
    "      loss: {plain_score_entropy: [log_score, p]}\n"
    "      slope: {gradient: loss, of: [log_score]}\n"
    "    out: {loss: loss, slope: slope}\n"
    "  implicit:\n"
    "    in: {log_score: [f32, states * states, 2, states], p: [f64, states * states]}\n"
    "    nodes:\n"
    "      loss: {implicit_score_entropy: [log_score, p]}\n"
    "      slope: {gradient: loss, of: [log_score]}\n"
    "    out: {loss: loss, slope: slope}\n"
    "  denoising:\n"
    "    in:\n"
    "      log_score: [f32, batch, 2, states]\n"
    "      x: [token, batch, 2]\n"
    "      x0: [token, batch, 2]\n"
    "      sigma: [f64, batch]\n"
    "      weight: [f64, batch]\n"
    "    nodes:\n"
    "      each: {sum: {score_entropy: [log_score, x, x0, sigma]}, axis: 1}\n"
    "      loss: {sum: {mul: [each, weight]}}\n"
    "      slope: {gradient: loss, of: [log_score]}\n"
    "    out: {loss: loss, slope: slope}\n";

static void space_open(struct space *w, const char *rate, int tokens)
{
    char text[4096];
    *w = (struct space){0};
    snprintf(text, sizeof text,
             "sedge: 1\nparams: {vocab: %d}\n"
             "process:\n  rate: %s\n  noise: {linear: {max: 1}}\n%s",
             tokens, rate, programs);
    rig_model_text(&w->rig, text);
    w->chain = &w->rig.model->processes[0].chain;
    w->clean = tokens * tokens;
    w->noisy = w->chain->states * w->chain->states;
    w->entries = w->noisy * LENGTH * w->chain->states;
    cr_assert(w->noisy <= SPACE);
    set_laws(w);
    struct plan *a = rig_compile(&w->rig, &(struct rig_program){"plain", 0, NULL, NULL}, NULL);
    struct plan *b = rig_compile(&w->rig, &(struct rig_program){"implicit", 0, NULL, NULL}, NULL);
    struct plan *c = rig_compile(
        &w->rig, &(struct rig_program){"denoising", w->clean * w->noisy, NULL, NULL}, NULL);
    rig_state(&w->rig, &w->rig.model->states, 1);
    w->plain = rig_load(&w->rig, a);
    w->implicit = rig_load(&w->rig, b);
    w->denoising = rig_load(&w->rig, c);
}

/* Loss and gradient by the scores of the noisy sequences; of PROGRAMS that list sequences. */
static double listed(const struct space *w, struct loaded *program, const float *score,
                     double *slope)
{
    struct rig_value values[] = {{"log_score", score}, {"p", w->p}};
    rig_run(program, values, 2, 0, NULL);
    struct tensor loss = rig_output(program, "loss"), found = rig_output(program, "slope");
    for (int i = 0; i < w->entries; i++)
        slope[i] = rig_element(&found, i);
    return rig_element(&loss, 0);
}

/* The same of the denoising one, whose rows are pairs: the score of x is in all rows of it. */
static double denoised(const struct space *w, const float *score, double *slope)
{
    const int each = LENGTH * w->chain->states, pairs = w->clean * w->noisy;
    float *rows = calloc((size_t)(pairs * each), sizeof *rows);
    for (int i = 0; i < pairs * each; i++)
        rows[i] = score[i % w->entries];
    for (int i = 0; i < pairs * LENGTH; i++)
        rows[i * w->chain->states + w->x[i]] = 0; /* a score of x itself is not read */
    struct rig_value values[] = {{"log_score", rows},
                                 {"x", w->x},
                                 {"x0", w->x0},
                                 {"sigma", w->sigma},
                                 {"weight", w->weight}};
    rig_run(w->denoising, values, 5, 0, NULL);
    struct tensor loss = rig_output(w->denoising, "loss"),
                  found = rig_output(w->denoising, "slope");
    for (int i = 0; i < w->entries; i++)
        slope[i] = 0;
    for (int i = 0; i < pairs * each; i++)
        slope[i % w->entries] += w->weight[i / each] > 0 ? rig_element(&found, i) : 0;
    free(rows);
    return rig_element(&loss, 0);
}

/* Losses to 1e-6, where scores are a few nats in single precision; gradients are single
 * themselves. */
static void check_rate(const char *rate, int tokens)
{
    struct space w;
    double constant[2] = {0};
    space_open(&w, rate, tokens);
    for (uint64_t seed = 1; seed < 5; seed++) {
        static double slope[3][ENTRIES];
        float score[ENTRIES];
        double size = 0;
        for (int i = 0; i < w.entries; i++)
            score[i] = (float)test_normal(seed, (uint32_t)i);
        double plain = listed(&w, w.plain, score, slope[0]);
        double implicit = listed(&w, w.implicit, score, slope[1]);
        double denoising = denoised(&w, score, slope[2]);
        if (seed == 1) {
            constant[0] = plain - implicit;
            constant[1] = plain - denoising;
        }
        cr_assert(plain > 0 && denoising > plain, "%s: %g, %g", rate, plain, denoising);
        cr_assert_float_eq(plain - implicit, constant[0], 1e-6 * (1 + plain), "%s", rate);
        cr_assert_float_eq(plain - denoising, constant[1], 1e-6 * (1 + plain), "%s", rate);
        for (int i = 0; i < w.entries; i++) {
            cr_assert_float_eq(slope[1][i], slope[0][i], 1e-6 * (1 + fabs(slope[0][i])), "%s",
                               rate);
            cr_assert_float_eq(slope[2][i], slope[0][i], 1e-6 * (1 + fabs(slope[0][i])),
                               "%s at %d: %g, not %g", rate, i, slope[2][i], slope[0][i]);
            size = fmax(size, fabs(slope[0][i]));
        }
        cr_assert(size > 0.01);
    }
    rig_close(&w.rig);
}

Test(entropies, agree_up_to_constants_and_in_gradients)
{
    check_rate("absorb", 3);
    check_rate("uniform", 4);
    check_rate("{mix: {absorb: 0.7, uniform: 0.3, mask_leaves: true}}", 3);
    check_rate("{mix: {absorb: 0.8, uniform: 0.2, mask_leaves: false}}", 3);
    check_rate("{band: {width: 1}}", 5);
    check_rate("{matrix: [[-0.9, 0.5, 0.2], [0.6, -0.8, 1.1], [0.3, 0.3, -1.3]]}", 3);
    check_rate("{matrix: [[-1, 0, 1], [1, -1, 0], [0, 1, -1]]}", 3);
    check_rate("{matrix: [[-1.1, 0.2, 0.1], [0.3, -0.9, 0.3], [0.8, 0.7, -0.4]]}", 2);
}

/* --- shipped models ----------------------------------------------------------------------- */

#define BATCH 5
#define T 0.6

static const char *const shipped_rates[] = {
    "process.rate={matrix: [[-0.9, 0.5, 0.2], [0.6, -0.8, 1.1], [0.3, 0.3, -1.3]]}",
    "process.rate=uniform",
    "process.rate=absorb",
    "process.rate={mix: {absorb: 0.7, uniform: 0.3, mask_leaves: true}}",
};

/* `train` of a shipped model with its gradients, at a time that the test gives. */
struct shipped {
    struct rig rig;
    const struct chain *chain;
    struct loaded *train;
};

static void shipped_open(struct shipped *m, const char *path, const char *rate,
                         const char *implicit, const struct rig_program *program)
{
    const char *settings[] = {
        "dim=8",    "heads=2", "layers=1",  "cond=4",
        "length=2", rate,      "dropout=0", "process.noise={geometric: {min: 1.0e-2, max: 3}}",
        implicit,   NULL};
    struct compile_options o = {.gradients = true, .grad_outputs = true};
    *m = (struct shipped){0};
    rig_model(&m->rig, path, settings);
    m->chain = &m->rig.model->processes[0].chain;
    struct plan *plan = rig_compile(&m->rig, program, &o);
    rig_state(&m->rig, &m->rig.model->states, 1);
    rig_fill(&m->rig, 0.4); /* by the names of the rows: the same in all models */
    m->train = rig_load(&m->rig, plan);
}

/* Every noisy sequence of every row of X0, weighted by how likely it is. */
static void run_denoising(struct shipped *m, const int32_t *x0)
{
    static int32_t pair_x0[BATCH * SPACE * LENGTH], pair_x[BATCH * SPACE * LENGTH];
    static float weight[BATCH * SPACE * LENGTH];
    static double t[BATCH * SPACE];
    const int states = m->chain->states, noisy = states * states;
    struct matrix e = exponential(m->chain, 1e-2 * pow(300, T));
    for (int row = 0; row < BATCH * noisy; row++) {
        double p = 1;
        t[row] = T;
        for (int i = 0; i < LENGTH; i++) {
            int from = x0[row / noisy * LENGTH + i], to = token(row % noisy, states, i);
            p *= e.at[to][from];
            pair_x0[row * LENGTH + i] = from;
            pair_x[row * LENGTH + i] = e.at[to][from] > 0 ? to : from; /* its weight is 0 */
        }
        for (int i = 0; i < LENGTH; i++)
            weight[row * LENGTH + i] = (float)(noisy * p);
    }
    struct rig_value values[] = {{"x0", pair_x0}, {"x", pair_x}, {"t", t}, {"weight", weight}};
    rig_run(m->train, values, 4, 0, NULL);
}

static void run_enumerated(struct shipped *m, const int32_t *x0)
{
    const double t = T;
    struct rig_value values[] = {{"x0", x0}, {"t", &t}};
    rig_run(m->train, values, 2, 0, NULL);
}

/* Rows in lexicographic order, and the probability of each when one row of X0 is noised. */
static void check_law(const struct shipped *m, const int32_t *x0)
{
    struct matrix e = exponential(m->chain, 1e-2 * pow(300, T));
    struct tensor x = rig_output(m->train, "x"), p = rig_output(m->train, "p");
    const int states = m->chain->states;
    cr_assert_eq(p.dim[0], states * states);
    for (int row = 0; row < states * states; row++) {
        double expected = 0;
        for (int k = 0; k < BATCH; k++)
            expected +=
                e.at[row / states][x0[k * LENGTH]] * e.at[row % states][x0[k * LENGTH + 1]] / BATCH;
        cr_assert_eq(rig_element(&x, row * LENGTH), row / states);
        cr_assert_eq(rig_element(&x, row * LENGTH + 1), row % states);
        cr_assert_float_eq(rig_element(&p, row), expected, 1e-11, "%d: %.15g, not %.15g", row,
                           rig_element(&p, row), expected);
    }
}

/* Gradients of parameters, which are sums of some hundred single-precision numbers. */
static void check_same_gradients(const struct shipped *a, const struct shipped *b, const char *what)
{
    const struct state_table *table = a->rig.state.table;
    int compared = 0;
    for (uint32_t r = 0; r < table->count; r++) {
        const char *name = table->rows[r].name;
        if (strncmp(name, "grad/", 5) != 0)
            continue;
        struct tensor left = rig_output(a->train, name), right = rig_output(b->train, name);
        double distance = rig_distance(&left, &right);
        cr_assert(distance < 2e-5, "%s, %s: %g", what, name, distance);
        compared++;
    }
    cr_assert(compared > 10);
}

/* One batch, one time: an update by plain or implicit score entropy goes where the one by denoising
 * score entropy would go on average. */
Test(entropies, updates_of_shipped_models_agree)
{
    static const int32_t x0[BATCH * LENGTH] = {0, 1, 2, 2, 0, 1, 1, 0, 2, 1};
    for (size_t i = 0; i < sizeof shipped_rates / sizeof shipped_rates[0]; i++) {
        const char *const t[] = {"t", NULL}, *const x_t[] = {"x", "t", "weight", NULL};
        const char *const law[] = {"x", "p", NULL};
        const int states = 3 + (i > 1);
        struct rig_program listed = {"train", BATCH, t, law},
                           pairs = {"train", BATCH * states * states, x_t, NULL};
        struct shipped plain, implicit, denoising;
        shipped_open(&plain, "models/enumerated.yaml", shipped_rates[i], "implicit=0", &listed);
        shipped_open(&implicit, "models/enumerated.yaml", shipped_rates[i], "implicit=1", &listed);
        shipped_open(&denoising, "models/three-states.yaml", shipped_rates[i], "vocab=3", &pairs);
        run_enumerated(&plain, x0);
        run_enumerated(&implicit, x0);
        run_denoising(&denoising, x0);
        check_law(&plain, x0);
        check_same_gradients(&plain, &denoising, shipped_rates[i]);
        check_same_gradients(&implicit, &denoising, shipped_rates[i]);
        struct tensor a = rig_output(plain.train, "loss"), b = rig_output(implicit.train, "loss");
        cr_assert(rig_element(&a, 0) > 0 && rig_element(&a, 0) != rig_element(&b, 0));
        rig_close(&plain.rig);
        rig_close(&implicit.rig);
        rig_close(&denoising.rig);
    }
}
