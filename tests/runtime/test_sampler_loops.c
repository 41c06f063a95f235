/* The shipped loops of samplers, run as `sedge sample` runs them, on models whose head is exact:
 * what they draw against distributions that are known. */
#include "tests/support/play.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* -------------------------------------------------------------------------- two tokens, equal */

#define PAIRS 40000

/* The share of 01 and 10 that a loop draws of {00, 11} in STEPS steps. */
static double forbidden(const char *loop, int64_t steps)
{
    struct play p;
    double odd = 0;
    play_open(&p, "tests/support/parity.yaml", NULL, loop, PAIRS, NULL);
    memcpy(rig_row(&p.rig, "ema/given.embedding"), (float[]){0, -100, 0, -100, 0, 0, 0, 0, 0},
           9 * sizeof(float));
    const int32_t *x = play_turn(&p, steps, 0);
    for (int i = 0; i < PAIRS; i++) {
        cr_assert(x[2 * i] < 2 && x[2 * i + 1] < 2, "%s left a mask", loop);
        odd += x[2 * i] != x[2 * i + 1];
    }
    play_close(&p);
    return odd / PAIRS;
}

/* n equal steps of 1 - alpha, with both tokens revealed at once with probability 1 / n: then they
 * differ half of the time. Within 4 standard deviations of so many pairs. */
Test(sampler_loops, tokens_of_one_step_are_independent)
{
    for (int n = 2; n <= 8; n *= 2)
        for (int i = 0; i < 2; i++) {
            double law = 0.5 / n, found = forbidden(i ? "ancestral" : "tweedie", n);
            cr_expect(fabs(found - law) < 4 * sqrt(law * (1 - law) / PAIRS), "%d steps: %g", n,
                      found);
        }
}

Test(sampler_loops, one_token_at_a_time_nothing_is_forbidden)
{
    cr_expect(forbidden("exact", 0) == 0);
    cr_expect(forbidden("confidence-position", 2) == 0);
    cr_expect(forbidden("confidence-keep-best", 2) ==
              0); /* it has another law, of the same pairs */
}

/* ------------------------------------------------------------------------------ rare words */

#define WORDS 50257
#define DRAWN 512 /* a batch */
#define BATCHES 4

/* Zipf(1.2) over 50,257 words. Of words drawn from it the mean of -log p(word) has the law's
 * entropy, 5.40 nats, as its expectation and a variance that is a sum too. */
struct words {
    double law[WORDS], entropy, deviation; /* of -log p of one word */
};

static void words_set(struct words *w)
{
    double total = 0, squares = 0;
    w->entropy = 0;
    for (int y = 0; y < WORDS; y++)
        total += w->law[y] = pow(y + 1, -1.2);
    for (int y = 0; y < WORDS; y++) {
        w->law[y] /= total;
        w->entropy -= w->law[y] * log(w->law[y]);
        squares += w->law[y] * pow(log(w->law[y]), 2);
    }
    w->deviation = sqrt(squares - w->entropy * w->entropy);
}

/* How far the mean of -log p over BATCHES batches, of which SUM is the total, is from the entropy:
 * in standard errors. */
static double words_misfit(const struct words *w, double sum)
{
    const double n = DRAWN * BATCHES;
    return (sum / n - w->entropy) / (w->deviation / sqrt(n));
}

/* A model that is its bias. Step by step a mask is revealed with 1/4096 and its word with that
 * times its probability: a race of f32 numbers has lost more than one nat of the 5.4 by then. */
static void check_tail(const char *loop, int64_t steps)
{
    static struct words w;
    struct play p;
    double sum = 0;
    words_set(&w);
    play_open(&p, "tests/support/unigram.yaml", NULL, loop, DRAWN / 64, NULL);
    for (int y = 0; y < WORDS; y++)
        rig_row(&p.rig, "ema/unigram.bias")[y] = (float)log(w.law[y]);
    for (uint64_t turn = 0; turn < BATCHES; turn++) {
        const int32_t *x = play_turn(&p, steps, turn);
        for (int i = 0; i < DRAWN; i++) {
            cr_assert(x[i] >= 0 && x[i] < WORDS);
            sum -= log(w.law[x[i]]);
        }
    }
    cr_expect(fabs(words_misfit(&w, sum)) < 3, "%s, %d steps: %.2f standard errors", loop,
              (int)steps, words_misfit(&w, sum));
    play_close(&p);
}

Test(sampler_loops, the_tail_survives_few_steps)
{
    check_tail("ancestral", 16);
    check_tail("tweedie", 16);
}
Test(sampler_loops, the_tail_survives_many_steps)
{
    check_tail("ancestral", 4096);
}
Test(sampler_loops, the_tail_survives_many_steps_by_the_score)
{
    check_tail("tweedie", 4096);
}

/* So many words tell the law from the one without its rarest 5%: drawn by inverse CDF, those
 * fail. */
Test(sampler_loops, a_tail_that_is_cut_is_seen)
{
    static struct words w;
    static double until[WORDS];
    words_set(&w);
    for (int y = 0; y < WORDS; y++)
        until[y] = w.law[y] + (y ? until[y - 1] : 0);
    for (int cut = 0; cut < 2; cut++) {
        double sum = 0;
        for (uint32_t i = 0; i < DRAWN * BATCHES; i++) {
            double u = random_uniform(random_key(4, "words"), 0, 0, 0, i) * (cut ? 0.95 : 1);
            int low = 0, high = WORDS - 1;
            while (low < high) {
                int middle = (low + high) / 2;
                *(u < until[middle] ? &high : &low) = u < until[middle] ? middle : middle + 1;
            }
            sum -= log(w.law[low]);
        }
        double apart = words_misfit(&w, sum);
        cr_expect(cut ? apart < -3 : fabs(apart) < 3, "cut %d: %.2f standard errors", cut, apart);
    }
}

/* ---------------------------------------------------------------------- tokens that are alone */

#define LENGTH 8
static const double unigram[] = {0.55, 0.1, 0.05, 0.3};

/* What LOOP draws of COUNT sequences of independent tokens, against their law: standard deviations
 * of chi-square (Wilson, Hilferty 1931). SUM: what it counted in CARRY. */
static double unigram_misfit(const char *loop, int64_t steps, int64_t count, const char *carry,
                             double *sum)
{
    struct play p;
    double found[4] = {0}, chi = 0, draws = (double)count * LENGTH, ratio = 2.0 / 27;
    play_open(&p, "tests/support/alone.yaml", NULL, loop, count, NULL);
    for (int y = 0; y < 4; y++)
        rig_row(&p.rig, "ema/unigram.bias")[y] = (float)log(unigram[y]);
    const int32_t *x = play_turn(&p, steps, 0);
    for (int i = 0; i < count * LENGTH; i++)
        found[x[i]]++;
    for (int y = 0; y < 4; y++)
        chi += pow(found[y] - draws * unigram[y], 2) / (draws * unigram[y]);
    if (carry)
        *sum = play_counted(&p, carry);
    play_close(&p);
    return (cbrt(chi / 3) - (1 - ratio)) / sqrt(ratio);
}

/* Rates up to 4 over a sigma of 12: in two steps exp(-D Q) has no digit of the f32 scores left,
 * nearly every position has weights set to zero, and the law is lost. Cut into steps of (rate x
 * sigma) 1/2 nothing is clamped and the law is exact, as of one token it should be. */
Test(sampler_loops, steps_of_a_stiff_chain_are_limited)
{
    double wild, tame;
    double lost = unigram_misfit("tweedie", 2, 500, "clamped", &wild);
    double kept = unigram_misfit("limited", 2, 500, "clamped", &tame);
    cr_expect(wild > 500 * LENGTH && lost > 10, "%g clamped, %g standard deviations", wild, lost);
    cr_expect(tame == 0 && fabs(kept) < 4, "%g clamped, %g standard deviations", tame, kept);
}

Test(sampler_loops, a_cavity_takes_any_step)
{
    double z = unigram_misfit("ancestral", 2, 500, NULL, NULL);
    cr_expect(fabs(z) < 4, "%g standard deviations", z);
}

Test(sampler_loops, thinning_is_exact_under_any_rates)
{
    double above, z = unigram_misfit("exact", 0, 100, "violations", &above);
    cr_expect(above == 0 && fabs(z) < 4, "%g above the bound, %g standard deviations", above, z);
}
