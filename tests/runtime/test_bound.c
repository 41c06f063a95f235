/* The likelihood bound at the exact score, by the programs of models/: with the law that the
 * process ends in as its base, its terms are -log p0(x0) for every x0. And a reverse step of the
 * shipped models against its formula. */
#include "tests/support/little.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* --- exactness ------------------------------------------------------------------------------ */

/* A law in which the tokens depend on each other, none of them rare. */
static void set_law(const struct little *w, double *p0)
{
    double sum = 0;
    for (int i = 0; i < w->clean; i++) {
        bool alike = i % w->chain->tokens == i / w->chain->tokens % w->chain->tokens;
        p0[i] = 0.3 + (i * 5 % 7) * (alike ? 1.0 : 0.25);
        sum += p0[i];
    }
    for (int i = 0; i < w->clean; i++)
        p0[i] /= sum;
}

/* KL(P_T[., x0] || p_T). */
static double exact_base(const struct little *w, const double *p0, int x0)
{
    double last[LITTLE_NOISY], sum = 0;
    struct matrix p = exponential(w->chain, w->setup.high);
    little_noised(w, w->setup.high, p0, last);
    for (int x = 0; x < w->noisy; x++) {
        double moved = little_moved(w, &p, x, x0);
        sum += moved > 0 ? moved * log(moved / last[x]) : 0;
    }
    return sum;
}

/* The largest difference of the sum of the terms from -log p0(x0). */
static double apart(struct little *w)
{
    double integral[LITTLE_CLEAN], decoder[LITTLE_CLEAN], p0[LITTLE_CLEAN], most = 0;
    set_law(w, p0);
    little_integral(w, 24, p0, integral);
    little_expect(w, w->reconstruction, w->t_min, p0, decoder);
    for (int x0 = 0; x0 < w->clean; x0++) {
        double total = integral[x0] + exact_base(w, p0, x0) + decoder[x0];
        most = fmax(most, fabs(total + log(p0[x0])));
    }
    return most;
}

static struct little_setup setup_exact(const char *rate, int tokens, int length, double high)
{
    return (struct little_setup){.rate = rate,
                                 .tokens = tokens,
                                 .length = length,
                                 .low = 2e-5,
                                 .high = high,
                                 .scores_given = true};
}

/* 1e-6 nats: scores rounded to single precision count to second order in the integral and with the
 * decoder's 1e-5 in the last term; the tokens at once are decoded apart from each other, of order
 * sigma_min squared; 192 nodes integrate to 1e-8. */
static void check_exactness(const char *rate, const char *base, int tokens, int length, double high)
{
    struct little w;
    struct little_setup setup = setup_exact(rate, tokens, length, high);
    setup.base = base;
    little_open(&w, &setup);
    double most = apart(&w);
    cr_assert(most < 1e-6, "%s: %g nats off", rate, most);
    little_close(&w);
}

Test(bound_programs, flat_chains_are_exact_with_the_exact_score)
{
    check_exactness("absorb", NULL, 3, 2, 6.9);
    check_exactness("absorb", NULL, 2, 3, 2);
    check_exactness("uniform", NULL, 3, 2, 20);
    check_exactness("uniform", NULL, 2, 3, 1);
    check_exactness("{mix: {absorb: 0.7, uniform: 0.3, mask_leaves: true}}", NULL, 3, 2, 5);
    check_exactness("{mix: {absorb: 0.8, uniform: 0.2, mask_leaves: false}}", NULL, 3, 2, 5);
}

Test(bound_programs, tables_are_exact_with_the_exact_score)
{
    check_exactness("{band: {width: 1}}", NULL, 4, 2, 5);
    check_exactness("{band: {width: 1, ring: true}}", NULL, 5, 2, 3);
    check_exactness("{groups: [[0, 1], [2]]}", "[0.25, 0.4, 0.35]", 3, 2, 5);
    check_exactness("{matrix: [[-0.9, 0.5, 0.2], [0.6, -0.8, 1.1], [0.3, 0.3, -1.3]]}", NULL, 3, 2,
                    5);
    check_exactness("{matrix: [[-1, 0, 1], [1, -1, 0], [0, 1, -1]]}", NULL, 3, 2, 4);
    check_exactness("{matrix: [[-1.1, 0.2, 0.1], [0.3, -0.9, 0.3], [0.8, 0.7, -0.4]]}", NULL, 2, 2,
                    4);
}

/* What reads Q[x][y] for Q[y][x] cannot pass the test above: the programs of a cycle are no bound
 * for the cycle that turns the other way. */
Test(bound_programs, the_transposed_cycle_fails)
{
    struct little w, turned;
    struct little_setup setup =
        setup_exact("{matrix: [[-1, 0, 1], [1, -1, 0], [0, 1, -1]]}", 3, 2, 4);
    little_open(&w, &setup);
    setup.rate = "{matrix: [[-1, 0, 1], [1, -1, 0], [0, 1, -1]], rows: true}";
    little_open(&turned, &setup);
    turned.chain = w.chain;
    double most = apart(&turned);
    cr_assert(most > 0.1, "%g", most);
    little_close(&turned);
    little_close(&w);
}

/* --- one reverse step ------------------------------------------------------------------------- */

#define DRAWS 20000
#define BATCH 1000

/* Tweedie from sigma_t to sigma_s at X with the score S: (exp(-d Q) s)_y exp(d Q)[x][y], clamped at
 * 0 and normalised, d = sigma_t - sigma_s (Lou, Meng, Ermon 2024, equation 19). */
static void tweedie_law(const struct chain *chain, double d, const float *log_s, int x, double *out)
{
    struct matrix undo = exponential(chain, -d), step = exponential(chain, d);
    double sum = 0;
    for (int y = 0; y < chain->states; y++) {
        double back = 0;
        for (int z = 0; z < chain->states; z++)
            back += undo.at[y][z] * exp((double)log_s[z]);
        out[y] = fmax(0, back * step.at[x][y]);
        sum += out[y];
    }
    for (int y = 0; y < chain->states; y++)
        out[y] /= sum;
}

/* Every noisy sequence: 20000 draws of each position against the law of the formula. 4.5
 * deviations are exceeded once in three hundred thousand tests. */
static void check_step(const char *path)
{
    static const char *const small[] = {"dim=8",    "heads=2", "layers=1",  "cond=4",
                                        "length=2", "vocab=3", "dropout=0", NULL};
    static const char *const want[] = {"log_score", NULL};
    static int32_t x[BATCH * 2];
    static double t[BATCH], s[BATCH];
    struct rig rig;
    rig_model(&rig, path, small);
    struct rig_program step = {"step", BATCH, NULL, want};
    struct plan *plan = rig_compile(&rig, &step, NULL);
    rig_state(&rig, &rig.model->states, 1);
    rig_fill(&rig, 0.4);
    struct loaded *loaded = rig_load(&rig, plan);
    struct rig_value values[] = {{"x", x}, {"t", t}, {"s", s}};
    const struct process *process = &rig.model->processes[0];
    const int states = process->chain.states;
    for (int from = 0; from < states * states; from++) {
        int64_t count[2][STATES_MAX] = {{0}};
        float scores[2 * STATES_MAX];
        for (int i = 0; i < BATCH; i++) {
            x[2 * i] = from % states;
            x[2 * i + 1] = from / states;
            t[i] = 0.75;
            s[i] = 0.6;
        }
        for (uint32_t turn = 0; turn < DRAWS / BATCH; turn++) {
            struct run how = {.key = random_key(4, "step"),
                              .iteration = turn,
                              .sequence = (uint32_t)from * BATCH};
            rig_run(loaded, values, 3, 0, &how);
            struct tensor y = rig_output(loaded, "x"), score = rig_output(loaded, "log_score");
            memcpy(scores, score.data, 2 * (size_t)states * sizeof *scores);
            for (int i = 0; i < 2 * BATCH; i++)
                count[i % 2][(int)rig_element(&y, i)]++;
        }
        double high, low, p[STATES_MAX];
        cr_assert(process_sigma(process, t[0], &high) && process_sigma(process, s[0], &low));
        for (int at = 0; at < 2; at++) {
            tweedie_law(&process->chain, high - low, scores + at * states, x[at], p);
            double found = chi_square(count[at], p, states);
            cr_assert(found < 4.5, "from %d, position %d: %.1f deviations", from, at, found);
        }
    }
    rig_quiet(&rig);
    rig_close(&rig);
}

Test(bound_programs, a_step_draws_from_the_tweedie_law)
{
    check_step("models/sedd-absorb.yaml");
    check_step("models/sedd-uniform.yaml");
}
