/* The shipped loops of samplers, run as `sedge sample` runs them, on models whose head is exact:
 * what they draw against distributions that are known. */
#include "tests/support/rig.h"

#include "runtime/loop.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define PROGRAMS_MAX 4
#define INPUTS_MAX 8

/* A loop of a model with its programs. */
struct play {
    struct rig rig;
    struct loop *loop;
    struct loop_program programs[PROGRAMS_MAX];
    uint32_t program_count;
    struct looper *looper;
    struct loop_times times;
    int64_t batch;
};

static void add_program(struct play *p, struct plan **plans, const char *name)
{
    const char *bind[INPUTS_MAX + 1] = {NULL};
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->program_count; i++)
        if (strcmp(p->programs[i].name, name) == 0)
            return;
    for (uint32_t c = 0; c < p->loop->body_count; c++)
        for (uint32_t k = 0; k < p->loop->body[c].with_count; k++)
            if (strcmp(p->loop->body[c].program, name) == 0 && n < INPUTS_MAX)
                bind[n++] = p->loop->body[c].with[k].input;
    cr_assert(p->program_count < PROGRAMS_MAX);
    struct rig_program request = {name, p->batch, bind, NULL};
    plans[p->program_count] = rig_compile(&p->rig, &request, NULL);
    p->programs[p->program_count++].name = name;
}

/* LOOP of the model at PATH for BATCH sequences; the head's row has yet to be filled. */
static void play_open(struct play *p, const char *path, const char *const *settings,
                      const char *loop, int64_t batch)
{
    struct plan *plans[PROGRAMS_MAX];
    *p = (struct play){.batch = batch};
    rig_model(&p->rig, path, settings);
    p->loop = loop_read(p->rig.model, loop);
    cr_assert_not_null(p->loop, "%s", diags_render(p->rig.diags, false));
    for (uint32_t i = 0; i < p->loop->body_count; i++)
        add_program(p, plans, p->loop->body[i].program);
    for (uint32_t i = 0; i < p->loop->carry_count; i++)
        if (p->loop->carry[i].start == START_CALL)
            add_program(p, plans, p->loop->carry[i].program);
    rig_state(&p->rig, &p->rig.model->states, 1);
    for (uint32_t i = 0; i < p->program_count; i++)
        p->programs[i].loaded = rig_load(&p->rig, plans[i]);
    p->looper = loop_open(p->rig.diags, p->rig.arena, p->loop, p->programs, p->program_count, NULL,
                          0, batch);
    cr_assert_not_null(p->looper, "%s", diags_render(p->rig.diags, false));
}

static void play_close(struct play *p)
{
    rig_quiet(&p->rig);
    loop_close(p->looper);
    rig_close(&p->rig);
}

/* Draws the batch number TURN in STEPS steps (0: as the loop says), and returns the tokens. */
static const int32_t *play_turn(struct play *p, int64_t steps, uint64_t turn)
{
    struct loop_request q = {
        .count = p->batch, .key = random_key(5 + turn, "sample"), .steps = steps};
    if (p->loop->grid) {
        loop_grid(p->rig.arena, p->rig.model, p->loop, steps, &p->times);
        q.steps = p->times.steps;
        q.time = p->times.time;
    }
    cr_assert(loop_run(p->looper, &q));
    return loop_carry_data(p->looper, "x");
}

static const int32_t *play(struct play *p, int64_t steps)
{
    return play_turn(p, steps, 0);
}

/* The sum over the sequences of what a loop counts. */
static double counted(struct play *p, const char *carry)
{
    const double *each = loop_carry_data(p->looper, carry);
    double sum = 0;
    cr_assert_not_null(each);
    for (int64_t i = 0; i < p->batch; i++)
        sum += each[i];
    return sum;
}

/* -------------------------------------------------------------------------- two tokens, equal */

#define PAIRS 40000

/* The share of 01 and 10 that a loop draws of {00, 11} in STEPS steps. */
static double forbidden(const char *loop, int64_t steps)
{
    struct play p;
    double odd = 0;
    play_open(&p, "tests/support/parity.yaml", NULL, loop, PAIRS);
    memcpy(rig_row(&p.rig, "ema/given.embedding"), (float[]){0, -100, 0, -100, 0, 0, 0, 0, 0},
           9 * sizeof(float));
    const int32_t *x = play(&p, steps);
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
    play_open(&p, "tests/support/unigram.yaml", NULL, loop, DRAWN / 64);
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
    play_open(&p, "tests/support/alone.yaml", NULL, loop, count);
    for (int y = 0; y < 4; y++)
        rig_row(&p.rig, "ema/unigram.bias")[y] = (float)log(unigram[y]);
    const int32_t *x = play(&p, steps);
    for (int i = 0; i < count * LENGTH; i++)
        found[x[i]]++;
    for (int y = 0; y < 4; y++)
        chi += pow(found[y] - draws * unigram[y], 2) / (draws * unigram[y]);
    if (carry)
        *sum = counted(&p, carry);
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
