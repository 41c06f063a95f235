/* One token drawn while the other is known, by models whose head is the exact law of the one given
 * the other (tests/support/parity.yaml, given.yaml): what the shipped loops fill in has that
 * conditional law, for each known token and at each position. */
#include "tests/ops/diffusion.h"
#include "tests/support/play.h"

#include <criterion/criterion.h>
#include <math.h>

#define TOKENS 4
#define BATCH 40000 /* 5000 draws for each known token at each position */

/* How often two tokens come together: symmetric, so that one table serves both positions. */
static const double together[TOKENS][TOKENS] = {
    {8, 1, 2, 1}, {1, 3, 1, 5}, {2, 1, 1, 4}, {1, 5, 4, 2}};

/* Row x of `given` [STATES, STATES]: the law of a token beside x; beside a mask, of any token. */
static void fill_head(float *given, int states)
{
    for (int x = 0; x < states; x++)
        for (int y = 0; y < states; y++) {
            double sum = 0;
            for (int other = 0; other < TOKENS; other++)
                sum += y < TOKENS ? together[other][y] : 0;
            given[x * states + y] =
                (float)(y >= TOKENS ? -100 : log(x < TOKENS ? together[x][y] : sum));
        }
}

/* Sequence i knows the token i / 2 mod TOKENS, at the position i mod 2. */
struct task {
    struct loop_overlay overlay;
    uint8_t fixed[2 * BATCH];
    int32_t known[2 * BATCH];
};

static void task_make(struct task *t)
{
    for (int i = 0; i < 2 * BATCH; i++) {
        t->fixed[i] = i % 2 == i / 2 % 2;
        t->known[i] = t->fixed[i] ? i / 4 % TOKENS : 0;
    }
    t->overlay = (struct loop_overlay){.fixed = t->fixed, .known = t->known, .length = 2};
}

/* LOOP of the model at PATH under RATE, a setting, and another one or NULL. Four deviations are
 * passed by chance once in 30,000. */
static void check_setting(const char *path, const char *rate, const char *noise, const char *loop,
                          int64_t steps)
{
    static struct task task;
    int64_t count[2][TOKENS][TOKENS] = {0}, all[TOKENS] = {0};
    struct play p;
    const char *const settings[] = {"vocab=4", rate, noise, NULL};
    task_make(&task);
    play_open(&p, path, settings, loop, BATCH, &task.overlay);
    fill_head(rig_row(&p.rig, "ema/given.embedding"),
              (int)model_param(p.rig.model, "states")->value.i);
    const int32_t *x = play_turn(&p, steps, 0);
    for (int i = 0; i < BATCH; i++) {
        int at = i % 2, known = x[2 * i + at], drawn = x[2 * i + 1 - at];
        cr_assert(known == i / 2 % TOKENS && drawn < TOKENS, "%s: %d beside %d", loop, drawn,
                  known);
        count[at][known][drawn]++;
        all[drawn]++;
    }
    play_close(&p);
    for (int k = 0; k < 2 * TOKENS; k++) {
        int at = k % 2, known = k / 2;
        double apart = chi_square(count[at][known], together[known], TOKENS);
        cr_expect(apart < 4, "%s, %s: %.1f deviations beside %d at %d", loop, rate, apart, known,
                  at);
    }
    /* So many draws tell it from the law that is blind to what is known. */
    for (int known = 0; known < TOKENS; known++) {
        double blind[TOKENS];
        for (int y = 0; y < TOKENS; y++)
            blind[y] = (double)all[y];
        cr_expect(chi_square(count[0][known], blind, TOKENS) > 8);
    }
}

static void check_law(const char *path, const char *rate, const char *loop, int64_t steps)
{
    check_setting(path, rate, NULL, loop, steps);
}

/* Four tenths of the tokens are still there at the start: the base draws them beside what is known,
 * as the bound of a part given the rest has it. */
Test(infill, of_an_absorbing_chain_that_leaks)
{
    static const char path[] = "tests/support/parity.yaml", rate[] = "process.rate=absorb";
    static const char noise[] = "process.noise={loglinear: {eps: 0.4}}";
    check_setting(path, rate, noise, "exact", 0);
    check_setting(path, rate, noise, "ancestral", 3);
    check_setting(path, rate, noise, "tweedie", 3);
}

Test(infill, of_an_absorbing_chain)
{
    static const char path[] = "tests/support/parity.yaml", rate[] = "process.rate=absorb";
    check_law(path, rate, "exact", 0);
    check_law(path, rate, "ancestral", 3);
    check_law(path, rate, "tweedie", 3);
    check_law(path, rate, "remask", 8);
    check_law(path, rate, "confidence-position", 2);
}

Test(infill, of_a_uniform_chain)
{
    static const char path[] = "tests/support/given.yaml", rate[] = "process.rate=uniform";
    check_law(path, rate, "exact", 0);
    check_law(path, rate, "ancestral", 3);
    check_law(path, rate, "tweedie", 3);
}

Test(infill, of_a_mixture)
{
    static const char path[] = "tests/support/given.yaml";
    static const char rate[] = "process.rate={mix: {absorb: 0.7, uniform: 0.3, mask_leaves: true}}";
    check_law(path, rate, "exact", 0);
    check_law(path, rate, "ancestral", 3);
}
