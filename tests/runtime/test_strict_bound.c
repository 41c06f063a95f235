/* The likelihood bound of models with any weights, by the programs of models/: it is never below
 * the cost -log p_theta(x0) of the law that the sampler of the same scores draws from, so that
 * exp(-bound) over all x0 adds up to at most 1. That law is enumerated, by Kolmogorov's
 * equation. */
#include "tests/support/little.h"

#include <criterion/criterion.h>
#include <math.h>

#define STEPS 90
#define STEPS_RAW 1200 /* scores of 1 where they should be e^-40: the equation is stiff */

/* Scores that are not projected, beside the heads. */
#define RAW 3

/* EXACT: the heads, as bits, whose weights of zero mean one law of the clean sequences at every
 * noise: there the bound is the cost itself. */
static const struct {
    const char *rate, *base;
    int tokens, length;
    double high;
    unsigned exact;
} cases[] = {
    {"absorb", NULL, 3, 2, 40, 7},
    {"absorb", NULL, 3, 2, 2, 7}, /* e^-2 of the tokens are still there: the leak */
    {"absorb", NULL, 2, 3, 4, 7},
    {"absorb", "{mask: 0.8}", 3, 2, 2, 0},
    {"uniform", NULL, 3, 2, 9, 13},
    {"uniform", NULL, 2, 3, 9, 13},
    {"uniform", "[0.2, 0.3, 0.5]", 3, 2, 3, 0},
    {LITTLE_LEAVES, NULL, 3, 2, 9, 4},
    {LITTLE_STAYS, NULL, 3, 2, 6, 5},
    {LITTLE_STAYS, NULL, 2, 3, 3, 5},
    {"{band: {width: 1}}", NULL, 3, 2, 9, 13},
    {"{band: {width: 1, ring: true}}", NULL, 5, 2, 8, 13},
    {"{groups: [[0, 1], [2]]}", "[0.25, 0.4, 0.35]", 3, 2, 6, 0},
    {LITTLE_DENSE, NULL, 3, 2, 9, 4},
    {LITTLE_CYCLE, NULL, 3, 2, 9, 13},
    {LITTLE_MASKED, NULL, 2, 2, 9, 4},
};
#define CASES (sizeof cases / sizeof cases[0])

/* The quadrature is run again with twice the points, and what that moves is counted against the
 * claim. A millionth of a nat, relative to the law, is left for scores in single precision and for
 * the steps of Kolmogorov's equation. */
static void check_strict(struct little *w, double spread, bool exact)
{
    double once[LITTLE_CLEAN], bound[LITTLE_CLEAN], law[LITTLE_CLEAN];
    double total = 0, moved = 0, mass = 0;
    int panels = w->setup.head == HEAD_SCORE ? 12 : 6; /* the projection of a score has corners */
    rig_fill(&w->rig, spread);
    little_bound(w, panels, once);
    little_bound(w, 2 * panels, bound);
    little_law(w, w->setup.raw ? STEPS_RAW : STEPS, law);
    for (int x0 = 0; x0 < w->clean; x0++) {
        double apart = fabs(bound[x0] - once[x0]), cost = -log(law[x0]);
        cr_assert(bound[x0] - apart > cost - 1e-6,
                  "%s, head %d, spread %g: %d costs %.9f, not %.9f", w->setup.rate, w->setup.head,
                  spread, x0, cost, bound[x0]);
        total += exp(-bound[x0]);
        moved += fabs(exp(-bound[x0]) - exp(-once[x0]));
        mass += law[x0];
    }
    /* One row of a batch and another that holds the same may differ by the rounding of their
     * scores. */
    cr_assert_float_eq(mass, 1, 1e-8, "%s: the law adds up to %.12f", w->setup.rate, mass);
    cr_assert(moved < 1e-3, "%s: the quadrature is off by %g", w->setup.rate, moved);
    if (exact)
        cr_assert_float_eq(total, 1, 1e-6, "%s, head %d: %.9f", w->setup.rate, w->setup.head,
                           total);
    else
        cr_assert(total + moved < 1, "%s, head %d: %.9f", w->setup.rate, w->setup.head, total);
}

static void check_head(enum little_head head, bool raw)
{
    static const double spreads[] = {0, 0.5};
    for (size_t i = 0; i < CASES; i++) {
        struct little w;
        struct little_setup setup = {.head = head,
                                     .raw = raw,
                                     .rate = cases[i].rate,
                                     .base = cases[i].base,
                                     .tokens = cases[i].tokens,
                                     .length = cases[i].length,
                                     .low = 0.02,
                                     .high = cases[i].high};
        little_open(&w, &setup);
        for (int k = 0; k < 2; k++)
            check_strict(&w, spreads[k], k == 0 && cases[i].exact >> (raw ? RAW : head) & 1);
        little_close(&w);
    }
}

Test(strict_bound, holds_for_scores)
{
    check_head(HEAD_SCORE, false);
}

/* Scores that no law of the clean token has: they are rates all the same, and a law is drawn by
 * them. */
Test(strict_bound, holds_for_scores_that_are_not_projected)
{
    check_head(HEAD_SCORE, true);
}

Test(strict_bound, holds_for_posteriors)
{
    check_head(HEAD_POSTERIOR, false);
}

Test(strict_bound, holds_for_cavities)
{
    check_head(HEAD_CAVITY, false);
}

/* The files as they are shipped, with their networks. */
Test(strict_bound, holds_for_shipped_models)
{
    static const struct {
        const char *name, *rate;
        enum little_head head;
        double high;
    } shipped[] = {
        {"sedd-absorb", "absorb", HEAD_SCORE, 5}, {"sedd-uniform", "uniform", HEAD_SCORE, 6},
        {"mdlm", "absorb", HEAD_POSTERIOR, 5},    {"radd", "absorb", HEAD_POSTERIOR, 5},
        {"udlm", "uniform", HEAD_CAVITY, 6},      {"mix", "mix", HEAD_CAVITY, 6},
        {"ordinal", "band", HEAD_POSTERIOR, 6},
    };
    for (size_t i = 0; i < sizeof shipped / sizeof shipped[0]; i++) {
        struct little w;
        struct little_setup setup = {.shipped = shipped[i].name,
                                     .head = shipped[i].head,
                                     .rate = shipped[i].rate,
                                     .tokens = 3,
                                     .length = 2,
                                     .low = 0.02,
                                     .high = shipped[i].high};
        little_open(&w, &setup);
        check_strict(&w, 0.3, false);
        little_close(&w);
    }
}

/* The bound of the second token given the first: for each first token, exp(-bound) adds up to at
 * most 1 over the second, and to 1 where the weights are zero. */
static void check_given(enum little_head head, const char *rate, double high)
{
    struct little w;
    struct little_setup setup = {.head = head,
                                 .rate = rate,
                                 .tokens = 3,
                                 .length = 2,
                                 .low = 0.02,
                                 .high = high,
                                 .first_known = true};
    little_open(&w, &setup);
    for (int k = 0; k < 2; k++) {
        double bound[LITTLE_CLEAN], total[3] = {0};
        rig_fill(&w.rig, k * 0.5);
        little_bound(&w, 12, bound);
        for (int x0 = 0; x0 < w.clean; x0++)
            total[x0 % 3] += exp(-bound[x0]);
        for (int first = 0; first < 3; first++) {
            cr_assert(total[first] > 0.1 && total[first] < 1 + 1e-6, "%s: %g", rate, total[first]);
            if (k == 0)
                cr_assert_float_eq(total[first], 1, 1e-6, "%s: %.9f", rate, total[first]);
        }
    }
    little_close(&w);
}

Test(strict_bound, holds_for_a_part_given_the_rest)
{
    check_given(HEAD_POSTERIOR, "absorb", 2);
    check_given(HEAD_SCORE, "absorb", 4);
    check_given(HEAD_CAVITY, "uniform", 9);
    check_given(HEAD_CAVITY, LITTLE_STAYS, 6);
    check_given(HEAD_CAVITY, LITTLE_CYCLE, 9);
}
