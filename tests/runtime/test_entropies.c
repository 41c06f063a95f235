/* The three score entropies as a model file writes them, on spaces that are listed: plain, implicit
 * and denoising ones differ by constants, and their gradients by nothing. */
#include "tests/ops/enumeration.h"
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

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
