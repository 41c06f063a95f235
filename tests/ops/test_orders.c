/* Samplers composed over many steps: how fast their law comes to the law of the process, for two
 * dependent tokens with exact scores, without draws (tests/ops/couples.h). */
#include "tests/ops/couples.h"

enum method { TWEEDIE, EULER, EULER_LINEAR, POSTERIOR, CAVITY };
static const char *const method_names[] = {"tweedie", "euler", "euler-linear", "posterior",
                                           "cavity"};

#define SIGMA_MAX 6.0
#define SIGMA_MIN 1e-2

/* What one step of METHOD from FROM to TO does, with what is exact at FROM. */
static void method_laws(const struct couple *c, enum method method, double from, double to,
                        struct place_laws *out)
{
    struct place_room room;
    struct place_laws given;
    double law[COUPLES], times[] = {from, to};
    if (method == POSTERIOR || method == CAVITY) {
        clean_laws(c, from, method == CAVITY, &given);
        struct trial trial = place_trial(c, &op_ancestral, &given, times, 2, &room);
        trial.attr[ANCESTRAL_HEAD].integer =
            method == CAVITY ? ANCESTRAL_CAVITY : ANCESTRAL_POSTERIOR;
        bisected_laws(c, &trial, run_best, &room, 36, out);
        return;
    }
    couple_law(c, from, law);
    exact_scores(c, law, &given);
    if (method == TWEEDIE) {
        struct trial trial = place_trial(c, &op_tweedie_weights, &given, times, 2, &room);
        weighed_laws(c, &trial, out);
        return;
    }
    times[0] = from - to;
    struct trial trial =
        place_trial(c, method == EULER ? &op_euler : &op_euler_weights, &given, times, 1, &room);
    if (method == EULER)
        bisected_laws(c, &trial, run_best, &room, 36, out); /* it has no op of weights */
    else
        weighed_laws(c, &trial, out);
}

/* The total variation that N steps, even in log sigma, leave at SIGMA_MIN. */
static double error_of(const struct couple *c, enum method method, int n)
{
    double law[COUPLES], exact[COUPLES];
    couple_law(c, SIGMA_MAX, law);
    couple_law(c, SIGMA_MIN, exact);
    for (int k = 0; k < n; k++) {
        struct place_laws step;
        double ratio = SIGMA_MIN / SIGMA_MAX;
        method_laws(c, method, SIGMA_MAX * pow(ratio, (double)k / n),
                    SIGMA_MAX * pow(ratio, (k + 1.0) / n), &step);
        couple_step(c, &step, law);
    }
    return apart(c, law, exact);
}

static void check_order(const char *rate, enum method method)
{
    struct couple c = couple_named(rate);
    double coarse = error_of(&c, method, 64), fine = error_of(&c, method, 128);
    double slope = log2(coarse / fine);
    cr_expect(slope > 0.85 && slope < 1.15, "%s under %s: %g at 64 steps, %g at 128: slope %.3f",
              method_names[method], rate, coarse, fine, slope);
}

Test(orders, tweedie_is_of_first_order)
{
    check_order("absorb 2", TWEEDIE);
    check_order("uniform 3", TWEEDIE);
    check_order("mix 2 0.6 0.4 0.4", TWEEDIE);
    check_order("table 3 0 1", TWEEDIE);
    check_order("cycle 3", TWEEDIE);
}
Test(orders, euler_is_of_first_order)
{
    check_order("absorb 2", EULER);
    check_order("uniform 3", EULER);
    check_order("mix 2 0.6 0.4 0.4", EULER);
    check_order("table 3 0 1", EULER);
    check_order("cycle 3", EULER);
}
Test(orders, euler_linear_is_of_first_order)
{
    check_order("absorb 2", EULER_LINEAR);
    check_order("uniform 3", EULER_LINEAR);
    check_order("mix 2 0.6 0.4 0.4", EULER_LINEAR);
    check_order("table 3 0 1", EULER_LINEAR);
    check_order("cycle 3", EULER_LINEAR);
}
Test(orders, ancestral_is_of_first_order)
{
    check_order("absorb 2", POSTERIOR);
    check_order("uniform 3", POSTERIOR);
    check_order("table 3 0 1", CAVITY);
}

/* Given what is exact, an ancestral step by either head and a Tweedie step are one law, for every
 * chain; f32 scores are within 6e-8, and what divides by them within ten times that. */
Test(orders, exact_heads_and_scores_step_alike)
{
    static const char *const rates[] = {
        "absorb 2",    "uniform 3",   "mix 2 0.7 0.3 0", "mix 3 0.6 0.5 0.5",
        "table 3 0 1", "table 2 1 2", "cycle 4"};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        struct couple c = couple_named(rates[r]);
        struct place_laws by[5];
        double law[COUPLES];
        couple_law(&c, 1.3, law);
        for (int method = 0; method < 5; method++)
            method_laws(&c, (enum method)method, 1.3, 0.8, &by[method]);
        for (int i = 0; i < 2 * c.chain.states * c.chain.states; i++)
            for (int y = 0; law[i / 2] > 0 && y < c.chain.states; y++) {
                cr_expect(fabs(by[POSTERIOR].at[i][y] - by[TWEEDIE].at[i][y]) < 2e-6, "%s",
                          rates[r]);
                cr_expect(fabs(by[CAVITY].at[i][y] - by[TWEEDIE].at[i][y]) < 2e-6, "%s", rates[r]);
            }
    }
}

/* One token, or tokens that know nothing of each other: Tweedie steps are exact, however few. */
Test(orders, tweedie_is_exact_for_independent_tokens)
{
    static const char *const rates[] = {"absorb 3", "uniform 4", "mix 3 0.6 0.4 0.4",
                                        "table 3 0 1"};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        struct couple c = couple_named(rates[r]);
        double p0[STATES_MAX], dependent = error_of(&c, TWEEDIE, 16);
        int n = c.chain.tokens;
        random_law(&c.chain, 5, p0);
        for (int k = 0; k < n * n; k++)
            c.p0[k] = p0[k / n] * p0[k % n];
        double error = error_of(&c, TWEEDIE, 16);
        cr_expect(error < 2e-6 && dependent > 1e-2, "%s: %g, of dependent tokens %g", rates[r],
                  error, dependent);
    }
}

/* ------------------------------------------------------------------------------ absorb alone */

/* The total variation after N steps of ReMDM, even in t = 1 - alpha, with ETA / N of the tokens
 * masked again at each, or ETA. */
static double remasking_error(double eta, bool by_step, int n)
{
    struct couple c = couple_named("absorb 2");
    const double first = 1 - 1e-3, last = 1e-3;
    double law[COUPLES], exact[COUPLES];
    couple_law(&c, -log1p(-first), law);
    couple_law(&c, -log1p(-last), exact);
    for (int k = 0; k < n; k++) {
        struct place_room room;
        struct place_laws given, step;
        double t = first + (last - first) * k / n, s = first + (last - first) * (k + 1) / n;
        double times[] = {-log1p(-t), -log1p(-s), by_step ? eta * (t - s) : eta};
        clean_laws(&c, times[0], false, &given);
        struct trial trial = place_trial(&c, &op_remask, &given, times, 3, &room);
        bisected_laws(&c, &trial, run_best, &room, 36, &step);
        couple_step(&c, &step, law);
    }
    return apart(&c, law, exact);
}

Test(orders, remasking_by_a_rate_is_of_first_order)
{
    double coarse = remasking_error(5, true, 128), fine = remasking_error(5, true, 256);
    double slope = log2(coarse / fine);
    cr_expect(slope > 0.85 && slope < 1.15, "%g and %g: slope %.3f", coarse, fine, slope);
}
Test(orders, remasking_a_constant_share_is_of_half_order)
{
    double coarse = remasking_error(0.1, false, 256), fine = remasking_error(0.1, false, 1024);
    double slope = log2(coarse / fine) / 2;
    cr_expect(slope > 0.45 && slope < 0.55, "%g and %g: slope %.3f", coarse, fine, slope);
}

/* Data {00, 11} and N equal steps of 1 - alpha: tokens revealed in one step disagree half of the
 * time, so 01 and 10 together have 1 / (2 N). The last step is down to no noise. */
static double forbidden(enum method method, int n)
{
    struct couple c = couple_named("absorb 2");
    double law[COUPLES] = {[8] = 1};
    memcpy(c.p0, (double[]){0.5, 0, 0, 0.5}, 4 * sizeof(double));
    for (int k = n; k > 0; k--) {
        struct place_laws step;
        method_laws(&c, method, k == n ? 40 : -log1p(-(double)k / n), -log1p(-(k - 1.0) / n),
                    &step);
        couple_step(&c, &step, law);
    }
    return law[1] + law[3];
}

Test(orders, parity_fails_once_in_twice_the_steps)
{
    for (int n = 1; n <= 64; n *= 4)
        for (enum method method = TWEEDIE; method <= POSTERIOR; method += POSTERIOR - TWEEDIE) {
            double odd = forbidden(method, n);
            cr_expect(fabs(odd - 0.5 / n) < 1e-7, "%s, %d steps: %.9f", method_names[method], n,
                      odd);
        }
}

/* -------------------------------------------------------------------- orders by confidence */

/* The law of both tokens when one mask is revealed, then the other by its exact conditional: which
 * comes first is what the kernels say to each pair of drawn tokens. KEEP: the confidence is that of
 * the token drawn. */
static void ordered_law(const struct couple *c, int64_t by, bool keep, double *law)
{
    int n = c->chain.tokens, rows = n * n, m = n + 1;
    int32_t masks[2 * COUPLES], drawn[2 * COUPLES];
    float logs[2 * COUPLES * COUPLE_STATES];
    double alone[2][COUPLE_STATES] = {{0}}, left = 1;
    for (int k = 0; k < rows; k++) {
        alone[0][k / n] += c->p0[k];
        alone[1][k % n] += c->p0[k];
    }
    for (int i = 0; i < 2 * rows; i++) {
        masks[i] = n;
        drawn[i] = i % 2 ? i / 2 % n : i / 2 / n;
        for (int y = 0; y < m; y++)
            logs[i * m + y] = (float)log(alone[i % 2][y]);
    }
    struct trial trial = {.op = &op_confidence, .chain = &c->chain, .in_count = 3, .seed = 2};
    trial.in[0] = tensor_of(DT_TOKEN, masks, 2, rows, 2, 0);
    trial.in[1] = tensor_of(DT_F32, logs, 3, rows, 2, m);
    trial.in[2] = tensor_of(DT_TOKEN, keep ? drawn : NULL, 2, rows, 2, 0);
    trial.out = tensor_of(DT_F64, NULL, 2, rows, 2, 0);
    trial.attr[CONFIDENCE_BY].integer = by;
    double *sure = run_best(&trial);
    struct trial show = {.op = &op_reveal, .chain = &c->chain, .in_count = 4};
    show.in[0] = trial.in[0];
    show.in[1] = tensor_of(DT_TOKEN, drawn, 2, rows, 2, 0);
    show.in[2] = tensor_of(DT_F64, sure, 2, rows, 2, 0);
    show.in[3] = tensor_of(DT_F64, &left, 0, 0, 0, 0);
    show.out = tensor_of(DT_TOKEN, NULL, 2, rows, 2, 0);
    double *x = run_best(&show);
    memset(law, 0, COUPLES * sizeof *law);
    for (int k = 0; k < rows; k++) {
        int first = x[2 * k] < n ? 0 : 1, y = drawn[2 * k + first];
        double chance = alone[0][drawn[2 * k]] * alone[1][drawn[2 * k + 1]];
        cr_assert(x[2 * k + first] == y && x[2 * k + 1 - first] == n);
        for (int z = 0; z < n; z++) {
            int both = first ? z * n + y : y * n + z;
            law[both] += chance * c->p0[both] / alone[first][y];
        }
    }
    free(sure);
    free(x);
}

/* Total variation from the data. */
static double ordered_error(const struct couple *c, int64_t by, bool keep)
{
    double law[COUPLES], sum = 0;
    ordered_law(c, by, keep, law);
    for (int k = 0; k < c->chain.tokens * c->chain.tokens; k++)
        sum += fabs(law[k] - c->p0[k]) / 2;
    return sum;
}

Test(orders, a_position_chosen_before_its_token_is_exact)
{
    struct couple c = couple_named("absorb 3");
    for (int64_t by = BY_PROBABILITY; by < BY_RANDOM; by++)
        cr_expect(ordered_error(&c, by, false) < 1e-12, "by %d", (int)by);
}

/* Of 00 with probability 0.65 and 11 else, a 0 is kept wherever one was drawn: 00 has 1 -
 * 0.35^2. */
Test(orders, the_best_of_what_was_drawn_is_not)
{
    struct couple c = couple_named("absorb 2");
    memcpy(c.p0, (double[]){0.65, 0, 0, 0.35}, 4 * sizeof(double));
    cr_expect(fabs(ordered_error(&c, BY_PROBABILITY, true) - (0.35 - 0.35 * 0.35)) < 1e-12);
    cr_expect(ordered_error(&c, BY_PROBABILITY, false) < 1e-12);
}
