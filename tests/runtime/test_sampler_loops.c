/* The shipped loops of samplers, run as `sedge sample` runs them, on models whose head is exact: what they
 * draw against distributions that are known. */
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

/* Draws a batch in STEPS steps (0: as the loop says), and returns the tokens. */
static const int32_t *play(struct play *p, int64_t steps)
{
    struct loop_request q = {.count = p->batch, .key = random_key(5, "sample"), .steps = steps};
    if (p->loop->grid) {
        loop_grid(p->rig.arena, p->rig.model, p->loop, steps, &p->times);
        q.steps = p->times.steps;
        q.time = p->times.time;
    }
    cr_assert(loop_run(p->looper, &q));
    return loop_carry_data(p->looper, "x");
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

/* n equal steps of 1 - alpha, with both tokens revealed at once with probability 1 / n: then they differ half
 * of the time. Within 4 standard deviations of so many pairs. */
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
#define DRAWN 512 /* a whole batch */

/* Entropy of the histogram of words, in nats. */
static double histogram_entropy(const int32_t *word, int32_t *count)
{
    double sum = 0;
    memset(count, 0, WORDS * sizeof *count);
    for (int i = 0; i < DRAWN; i++)
        count[word[i]]++;
    for (int i = 0; i < DRAWN; i++) /* each word as often as it occurs */
        sum -= log((double)count[word[i]] / DRAWN) / DRAWN;
    return sum;
}

/* Mean and standard deviation of the same for exact draws of LAW, by inverse CDF. */
static void exact_entropy(const double *law, int32_t *count, double *mean, double *deviation)
{
    enum { TIMES = 200 };
    static double until[WORDS];
    double sum = 0, squares = 0;
    for (int y = 0; y < WORDS; y++)
        until[y] = law[y] + (y ? until[y - 1] : 0);
    for (uint32_t turn = 0; turn < TIMES; turn++) {
        int32_t word[DRAWN];
        for (uint32_t i = 0; i < DRAWN; i++) {
            double u = random_uniform(random_key(4, "words"), turn, 0, 0, i);
            int low = 0, high = WORDS - 1;
            while (low < high) {
                int middle = (low + high) / 2;
                *(u < until[middle] ? &high : &low) = u < until[middle] ? middle : middle + 1;
            }
            word[i] = low;
        }
        double entropy = histogram_entropy(word, count);
        sum += entropy;
        squares += entropy * entropy;
    }
    *mean = sum / TIMES;
    *deviation = sqrt(squares / TIMES - *mean * *mean);
}

/* Zipf(1.2) over 50,257 words, by a model that is its bias. Step by step a mask is revealed with 1/4096 and its word with that
 * times its probability: a race of f32 numbers has lost more than one nat of the 5.4 by then. Histograms of few draws
 * have less entropy than the law; so they are held against histograms of as many exact draws. */
static void check_tail(int64_t steps)
{
    struct play p;
    static double law[WORDS];
    static int32_t count[WORDS];
    double total = 0, mean, deviation;
    play_open(&p, "tests/support/unigram.yaml", NULL, "ancestral", DRAWN / 64);
    for (int y = 0; y < WORDS; y++)
        total += law[y] = pow(y + 1, -1.2);
    for (int y = 0; y < WORDS; y++) {
        law[y] /= total;
        rig_row(&p.rig, "ema/unigram.bias")[y] = (float)log(law[y]);
    }
    const int32_t *x = play(&p, steps);
    for (int i = 0; i < DRAWN; i++)
        cr_assert(x[i] < WORDS);
    double found = histogram_entropy(x, count);
    exact_entropy(law, count, &mean, &deviation);
    cr_expect(fabs(found - mean) < 3 * deviation,
              "%d steps: %.3f nats, of exact draws %.3f +- %.3f", (int)steps, found, mean,
              deviation);
    play_close(&p);
}
Test(sampler_loops, the_tail_survives_few_steps)
{
    check_tail(16);
}
Test(sampler_loops, the_tail_survives_many_steps)
{
    check_tail(4096);
}

/* ---------------------------------------------------------------------- tokens that are alone */

#define LENGTH 8
static const double unigram[] = {0.55, 0.1, 0.05, 0.3};

/* What LOOP draws of COUNT sequences of independent tokens, against their law: standard deviations of
 * chi-square (Wilson, Hilferty 1931). SUM: what it counted in CARRY. */
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

/* Rates up to 4 over a sigma of 12: in two steps exp(-D Q) has no digit of the f32 scores left, nearly every
 * position has weights set to zero, and the law is lost. Cut into steps of (rate x sigma) 1/2 nothing
 * is clamped and the law is exact, as of one token it should be. */
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
