/* The loop `exact` of models with any weights: how often it ends in each sequence is the law that
 * Kolmogorov's equation gives, and so at least exp(-bound). */
#include "tests/support/little.h"

#include <criterion/criterion.h>
#include <math.h>

#define BATCH 4000

/* RUNS x 4000 draws. Three standard errors below the bound are passed by chance once in 700 where
 * it is an equality, which random weights make it nowhere; 3.7 deviations once in 9000. */
static void check_samples(enum little_head head, const char *rate, int tokens, double high,
                          int runs)
{
    struct little w;
    double bound[LITTLE_CLEAN], law[LITTLE_CLEAN];
    int64_t count[LITTLE_CLEAN];
    const double draws = (double)runs * BATCH;
    struct little_setup setup = {.head = head,
                                 .rate = rate,
                                 .tokens = tokens,
                                 .length = 2,
                                 .low = 0.1,
                                 .high = high,
                                 .batch = BATCH};
    little_open(&w, &setup);
    rig_fill(&w.rig, 0.5);
    little_bound(&w, 12, bound);
    little_law(&w, 90, law);
    little_histogram(&w, runs, count);
    for (int x0 = 0; x0 < w.clean; x0++) {
        double least = exp(-bound[x0]), error = sqrt(least * (1 - least) / draws);
        cr_assert((double)count[x0] / draws > least - 3 * error,
                  "%s, head %d: %d is %.5f of the draws, its bound %.5f", rate, head, x0,
                  (double)count[x0] / draws, least);
    }
    double apart = chi_square(count, law, w.clean);
    cr_assert(fabs(apart) < 3.7, "%s, head %d: %.1f deviations from the law", rate, head, apart);
    little_close(&w);
}

Test(strict_samples, first_hitting_has_the_law)
{
    check_samples(HEAD_POSTERIOR, "absorb", 3, 3, 100);
}

Test(strict_samples, thinning_absorption_has_the_law)
{
    check_samples(HEAD_SCORE, "absorb", 3, 3, 100);
}

Test(strict_samples, thinning_a_cavity_has_the_law)
{
    check_samples(HEAD_CAVITY, "uniform", 3, 2, 25);
}

Test(strict_samples, thinning_a_score_has_the_law)
{
    check_samples(HEAD_SCORE, "uniform", 2, 2, 25);
}

Test(strict_samples, thinning_mixtures_has_the_law)
{
    check_samples(HEAD_CAVITY, "{mix: {absorb: 0.7, uniform: 0.3, mask_leaves: true}}", 2, 2, 8);
    check_samples(HEAD_POSTERIOR, "{mix: {absorb: 0.8, uniform: 0.2, mask_leaves: false}}", 2, 2,
                  8);
}

Test(strict_samples, thinning_tables_has_the_law)
{
    check_samples(HEAD_POSTERIOR, "{band: {width: 1}}", 3, 1.5, 1);
    check_samples(HEAD_POSTERIOR,
                  "{matrix: [[-0.9, 0.5, 0.2], [0.6, -0.8, 1.1], [0.3, 0.3, -1.3]]}", 3, 1.5, 1);
}
