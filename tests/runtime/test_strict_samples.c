/* The loop `exact` of models with any weights: how often it ends in each sequence is the law that
 * Kolmogorov's equation gives, and so at least exp(-bound). Every head under every chain that the
 * bound is tested for. Draws: a million where they cost little, 12,000 to 100,000 for each row of
 * the other closed forms, and 4,000 to 20,000 for each row of a table, whose draws are dearer:
 * those laws are told apart by a hundredth, not by a thousandth. SEDGE_DRAWS in the environment is
 * another number for all of them. No rate may be above the bound that candidates are drawn by:
 * little_histogram() asserts it. */
#include "tests/support/little.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <math.h>
#include <stdlib.h>

#define BATCH 4000

/* Batches: USUAL, or those that SEDGE_DRAWS needs. */
static int batches(int usual)
{
    const char *text = getenv("SEDGE_DRAWS");
    char *end;
    if (!text || !text[0])
        return usual;
    long draws = strtol(text, &end, 10);
    cr_assert(!end[0] && draws > 0 && draws < 1000000000, "SEDGE_DRAWS is %s", text);
    return (int)((draws + BATCH - 1) / BATCH);
}

/* USUAL x 4000 draws, unless told otherwise. Three standard errors below the bound are passed by
 * chance once in 700 where it is an equality, which with random weights it is only where all tokens
 * are groups of their own; 3.7 deviations once in 9000. */
static void check_setup(const struct little_setup *asked, int usual)
{
    struct little w;
    double bound[LITTLE_CLEAN], law[LITTLE_CLEAN], closest = INFINITY;
    int64_t count[LITTLE_CLEAN];
    const int runs = batches(usual);
    const double draws = (double)runs * BATCH;
    struct little_setup setup = *asked;
    const enum little_head head = setup.head;
    const char *rate = setup.rate;
    setup.length = 2;
    setup.low = 0.1;
    setup.batch = BATCH;
    little_open(&w, &setup);
    rig_fill(&w.rig, 0.5);
    little_bound(&w, 12, bound);
    little_law(&w, 90, law);
    little_histogram(&w, runs, count);
    for (int x0 = 0; x0 < w.clean; x0++) {
        double least = exp(-bound[x0]), error = sqrt(least * (1 - least) / draws);
        double above = ((double)count[x0] / draws - least) / error;
        closest = fmin(closest, above);
        cr_expect(above > -3, "%s, head %d: %d is %.5f of the draws, its bound %.5f", rate, head,
                  x0, (double)count[x0] / draws, least);
    }
    double apart = chi_square(count, law, w.clean);
    cr_expect(fabs(apart) < 3.7, "%s, head %d: %.1f deviations from the law", rate, head, apart);
    cr_log_info("%s, head %d, %.0f draws: %.1f standard errors or more above the bound, "
                "%.1f deviations from the law",
                rate, head, draws, closest, apart);
    little_close(&w);
}

static void check_samples(enum little_head head, const char *rate, const char *base, int tokens,
                          double high, int usual)
{
    check_setup(
        &(struct little_setup){
            .head = head, .rate = rate, .base = base, .tokens = tokens, .high = high},
        usual);
}

/* Each head under a chain, in batches of 4000 draws. */
static void check_heads(const char *rate, const char *base, int tokens, double high, int score,
                        int posterior, int cavity)
{
    check_samples(HEAD_SCORE, rate, base, tokens, high, score);
    check_samples(HEAD_POSTERIOR, rate, base, tokens, high, posterior);
    check_samples(HEAD_CAVITY, rate, base, tokens, high, cavity);
}

/* A posterior by first hitting, the others by thinning. */
Test(strict_samples, absorption_has_the_law)
{
    check_heads("absorb", NULL, 3, 3, 250, 250, 25);
}

Test(strict_samples, absorption_that_does_not_end_masked_has_the_law)
{
    check_heads("absorb", "{mask: 0.8}", 2, 1, 25, 25, 25);
}

Test(strict_samples, redrawing_has_the_law)
{
    check_samples(HEAD_SCORE, "uniform", NULL, 2, 1, 25);
    check_samples(HEAD_POSTERIOR, "uniform", NULL, 2, 1, 10);
    check_samples(HEAD_CAVITY, "uniform", NULL, 3, 2, 25);
}

Test(strict_samples, redrawing_from_a_base_has_the_law)
{
    check_heads("uniform", "[0.2, 0.3, 0.5]", 3, 1, 25, 5, 5);
}

Test(strict_samples, mixtures_have_the_law)
{
    check_heads(LITTLE_LEAVES, NULL, 2, 1, 5, 5, 15);
    check_heads(LITTLE_STAYS, NULL, 2, 1, 5, 15, 5);
}

Test(strict_samples, jumps_to_neighbours_have_the_law)
{
    check_heads("{band: {width: 1}}", NULL, 2, 0.5, 1, 4, 1);
    check_samples(HEAD_POSTERIOR, "{band: {width: 1}}", NULL, 3, 1.5, 1);
}

Test(strict_samples, a_ring_has_the_law)
{
    check_heads("{band: {width: 1, ring: true}}", NULL, 4, 0.5, 2, 1, 1);
}

Test(strict_samples, groups_have_the_law)
{
    check_heads("{groups: [[0, 1], [2]]}", "[0.25, 0.4, 0.35]", 3, 0.5, 1, 5, 1);
}

Test(strict_samples, matrices_have_the_law)
{
    check_heads(LITTLE_DENSE, NULL, 3, 1, 1, 1, 1);
    check_heads(LITTLE_CYCLE, NULL, 3, 0.5, 1, 1, 1);
    check_heads(LITTLE_MASKED, NULL, 2, 0.5, 4, 1, 1);
}

/* Scores that are not projected, whose rates stay below the bound times the cap here. */
Test(strict_samples, thinning_raw_scores_has_the_law)
{
    static const struct {
        struct little_setup setup;
        int batches;
    } raw[] = {
        {{.rate = "absorb", .raw = true, .tokens = 3, .high = 0.5}, 6},
        {{.rate = "uniform", .raw = true, .tokens = 3, .high = 1}, 6},
        {{.rate = LITTLE_LEAVES, .raw = true, .tokens = 2, .high = 1}, 3},
        {{.rate = "{band: {width: 1}}", .raw = true, .tokens = 3, .high = 1}, 1},
    };
    for (size_t i = 0; i < sizeof raw / sizeof raw[0]; i++)
        check_setup(&raw[i].setup, raw[i].batches);
}
