/* The chain formulas, the score entropy and Tweedie steps against matrix exponentials, for
 * references and kernels alike; and what the shape rules of the diffusion families refuse. */
#include "tests/ops/enumeration.h"

#include "ops/kernels/attrs.h"

Test(chain, transitions_are_the_matrix_exponential)
{
    for (int c = 0; c < CHAINS; c++)
        for (int k = 0; k < SIGMAS; k++) {
            struct chain chain = chain_number(c);
            struct matrix e = exponential(&chain, sigmas[k]);
            struct transition p = transition_of(&chain, sigmas[k]);
            for (int x0 = 0; x0 < chain.states; x0++) {
                double column = 0, rate = 0;
                for (int y = 0; y < chain.states; y++) {
                    double slope = 0;
                    for (int z = 0; z < chain.states; z++)
                        slope += chain_rate(&chain, y, z) * e.at[z][x0];
                    rate += chain_rate(&chain, y, x0);
                    column += transition_at(&p, y, x0);
                    cr_assert_float_eq(transition_at(&p, y, x0), e.at[y][x0], 1e-10);
                    cr_assert_float_eq(transition_slope(&p, y, x0), slope, 1e-9);
                }
                cr_assert_float_eq(rate, 0, 1e-15);
                cr_assert_float_eq(column, 1, 1e-14);
            }
        }
}

/* The transpose of a chain that is not symmetric is another chain: what confuses Q[x][y] with
 * Q[y][x] cannot pass the test above. */
Test(chain, the_transposed_cycle_is_another_chain)
{
    struct chain chain = chain_named("cycle 4");
    struct matrix e = exponential(&chain, 0.7);
    struct transition p = transition_of(&chain, 0.7);
    double difference = 0;
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 4; x++)
            difference = fmax(difference, fabs(transition_at(&p, x, y) - e.at[y][x]));
    cr_assert(difference > 0.1, "%g", difference);
}

Test(chain, products_are_those_of_the_matrix)
{
    for (int c = 0; c < CHAINS; c++) {
        struct chain chain = chain_number(c);
        struct matrix e = exponential(&chain, 0.7);
        struct transition p = transition_of(&chain, 0.7);
        double v[STATES_MAX], out[STATES_MAX], back[STATES_MAX], undone[STATES_MAX];
        for (int y = 0; y < chain.states; y++)
            v[y] = test_normal(3, (uint32_t)y);
        transition_apply(&p, v, out);
        transition_apply_transposed(&p, v, back);
        for (int y = 0; y < chain.states; y++) {
            double sum = 0, transposed = 0;
            for (int x = 0; x < chain.states; x++) {
                sum += e.at[y][x] * v[x];
                transposed += e.at[x][y] * v[x];
            }
            cr_assert_float_eq(out[y], sum, 1e-10);
            cr_assert_float_eq(back[y], transposed, 1e-10);
        }
        if (chain.kind == CHAIN_TABLE)
            continue;
        struct transition inverse = transition_back(&chain, 0.7);
        transition_apply(&inverse, out, undone);
        for (int y = 0; y < chain.states; y++)
            cr_assert_float_eq(undone[y], exp(-0.7 * transition_back_rate(&chain)) * v[y], 1e-12);
    }
}

Test(chain, ratios_are_quotients_of_transitions)
{
    for (int c = 0; c < CHAINS; c++)
        for (int k = 0; k < SIGMAS; k++) {
            struct chain chain = chain_number(c);
            struct matrix e = exponential(&chain, sigmas[k]);
            struct transition p = transition_of(&chain, sigmas[k]);
            for (int x0 = 0; x0 < chain.tokens; x0++)
                for (int x = 0; x < chain.states; x++)
                    for (int y = 0; y < chain.states; y++) {
                        if (!reachable(&chain, x, x0))
                            continue;
                        double rho = exp(transition_log_ratio(&p, y, x, x0));
                        double exact = e.at[y][x0] / e.at[x][x0];
                        cr_assert_float_eq(rho, exact, 1e-8 * (1 + exact));
                    }
        }
}

/* Many states: the two ways of computing P, the composition of two stretches of noise, and the
 * stationary law where a band of 256 states has mixed. */
Test(chain, large_tables_compose)
{
    static const char *const rates[] = {"table 60 0 5", "band 100 1", "band 256 1", "table 37 1 6"};
    static const double at[] = {0, 0.3, 6, 900, 60000};
    for (int c = 0; c < 4; c++)
        for (int k = 0; k < 5; k++) {
            struct chain chain = chain_named(rates[c]);
            int64_t n = chain.states;
            size_t bytes = (size_t)(transition_bytes(&chain) + 63) / 64 * 64;
            void *all = aligned_alloc(64, bytes), *third = aligned_alloc(64, bytes);
            void *some = aligned_alloc(64, bytes);
            int32_t column = (int32_t)n / 3;
            struct transition p = transition_make(&chain, at[k], NULL, 0, all, 3);
            struct transition q = transition_make(&chain, at[k] / 2, NULL, 0, third, 1);
            struct transition one = transition_make(&chain, at[k], &column, 1, some, 2);
            double composed[256];
            transition_apply(&q, q.p + column * n, composed);
            for (int64_t y = 0; y < n; y++) {
                double value = p.p[column * n + y];
                cr_assert_float_eq(one.p[column * n + y], value, 1e-11 * value + 1e-28);
                cr_assert_float_eq(composed[y], value, 1e-11 * value + 1e-28);
                if (k == 4)
                    cr_assert_float_eq(value, chain.stationary[y], c == 2 ? 1e-4 : 1e-10);
            }
            free(all);
            free(third);
            free(some);
        }
}

/* A walk between reflecting ends is a sum of cosine waves: wave k has the eigenvalue
 * 2 cos(pi k / n) - 2. At sigma 1e5 that of k = 1 is 3e-7 of the law. */
Test(chain, a_wide_band_is_a_sum_of_waves)
{
    static const double at[] = {30, 2000, 46000, 1e5, 1e7};
    const int n = 256;
    struct chain chain = chain_named("band 256 1");
    size_t bytes = (size_t)(transition_bytes(&chain) + 63) / 64 * 64;
    void *room = aligned_alloc(64, bytes);
    for (int k = 0; k < 5; k++) {
        struct transition p = transition_make(&chain, at[k], NULL, 0, room, 1);
        for (int x = 0; x < n; x += 51)
            for (int y = 0; y < n; y++) {
                double sum = 1.0 / n, step = acos(-1.0) / n;
                for (int wave = 1; wave < n; wave++)
                    sum += 2.0 / n * exp(-4 * at[k] * pow(sin(wave * step / 2), 2)) *
                           cos(wave * step * (y + 0.5)) * cos(wave * step * (x + 0.5));
                /* The sum of cosines has an error of some 1e-15; squaring keeps 1e-11. */
                cr_assert_float_eq(transition_at(&p, y, x), sum, 1e-11 * sum + 1e-14,
                                   "sigma %g, %d from %d", at[k], y, x);
            }
    }
    free(room);
}

/* An entry that takes 40 jumps of a band is the Poisson probability of 40 of them, all one way, to
 * first order in sigma: it is there, with its digits, though 1e-23 times smaller than others. */
Test(chain, long_paths_are_not_lost)
{
    struct chain chain = chain_named("band 100 1");
    double sigma = 0.5, expected = 0;
    for (int k = 10; k < 40; k++) { /* sum over jumps k that end 10 to the right of 50 */
        if ((k - 10) % 2)
            continue;
        double ways = lgamma(k + 1) - lgamma((k - 10) / 2 + 1) - lgamma((k + 10) / 2 + 1);
        expected += exp(k * log(sigma) - 2 * sigma - lgamma(k + 1) + ways);
    }
    size_t bytes = (size_t)(transition_bytes(&chain) + 63) / 64 * 64;
    void *room = aligned_alloc(64, bytes);
    struct transition p = transition_make(&chain, sigma, NULL, 0, room, 1);
    cr_assert_float_eq(transition_at(&p, 60, 50) / expected, 1, 1e-9);
    free(room);
}

/* Series in sigma at little noise and many tokens, where a difference of two nearly equal numbers
 * in single precision has no digits left. */
Test(chain, ratios_hold_at_tiny_and_huge_noise)
{
    struct chain chain = chain_uniform(50257), absorb = chain_absorb(50257);
    double sigma = 1e-9;
    struct transition p = transition_of(&chain, sigma), masked = transition_of(&absorb, sigma);
    cr_assert_float_eq(transition_log_unmasked(&masked), -log(sigma) - sigma / 2, 1e-12);
    cr_assert_float_eq(p.other / p.same * 50257 / sigma, 1, 1e-8);
    cr_assert_float_eq(transition_log_ratio(&p, 1, 2, 2), log(sigma / 50257), 1e-8);
    p = transition_of(&chain, 800);
    masked = transition_of(&absorb, 800);
    cr_assert_eq(transition_log_unmasked(&masked), -800);
    cr_assert_eq(transition_log_ratio(&p, 1, 2, 2), 0);
    cr_assert_eq(p.stay, exp(-800));
}

/* exp(d) - 1 - d from both branches against the long power series. */
Test(chain, excess_has_all_digits)
{
    static const double at[] = {0, 1e-9, -1e-9, 1e-3, -1e-3, 0.0499, -0.0499, 0.0501, -0.0501, 0.9};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        double sum = 0, term = at[i];
        for (int k = 2; k < 30; k++) {
            term *= at[i] / k;
            sum += term;
        }
        cr_assert_float_eq(entropy_excess(at[i]), sum, 1e-9 * sum, "at %g", at[i]);
    }
    cr_assert_float_eq(entropy_term(-3, 0, -INFINITY), exp(-3), 1e-15);
}

/* The definition (score entropy with weights Q[x][y]), term by term as it is usually written. */
static double entropy_by_definition(const struct chain *chain, const struct matrix *p,
                                    const float *log_score, int x, int x0)
{
    double sum = 0;
    for (int y = 0; y < chain->states; y++) {
        double rate = y == x ? 0 : chain_rate(chain, x, y);
        if (rate == 0)
            continue;
        double rho = p->at[y][x0] / p->at[x][x0];
        double constant = rho > 0 ? rho * (log(rho) - 1) : 0;
        sum += rate * (exp(log_score[y]) - rho * log_score[y] + constant);
    }
    return sum;
}

Test(chain, score_entropy_is_its_definition)
{
    for (int c = 0; c < CHAINS; c++)
        for (int k = 0; k < SIGMAS; k++) {
            struct chain chain = chain_number(c);
            struct matrix p = exponential(&chain, sigmas[k]);
            double sigma = sigmas[k];
            struct pairs pairs;
            all_pairs(&chain, 11, 1, &pairs);
            struct trial trial = pair_trial(&op_score_entropy, &chain, &pairs, &sigma);
            double *loss = run_both(&trial, 1e-6);
            for (int i = 0; i < pairs.count; i++) {
                double expected = entropy_by_definition(
                    &chain, &p, pairs.log_score + i * chain.states, pairs.x[i], pairs.x0[i]);
                cr_assert_float_eq(loss[i], expected, 1e-7 * (1 + fabs(expected)));
            }
            free(loss);
        }
}

/* At the true ratio the loss is 0 to the rounding of the f32 scores (2^-24 relative, squared), and
 * not to that of the constants, which are of order 1 / E. */
Test(chain, score_entropy_vanishes_at_the_truth)
{
    for (int c = 1; c < CHAINS; c++)
        for (int k = 0; k < SIGMAS; k++) {
            struct chain chain = chain_number(c);
            struct transition p = transition_of(&chain, sigmas[k]);
            double sigma = sigmas[k];
            struct pairs pairs;
            all_pairs(&chain, 12, 1, &pairs);
            for (int i = 0; i < pairs.count; i++)
                for (int y = 0; y < chain.states; y++)
                    pairs.log_score[i * chain.states + y] =
                        (float)transition_log_ratio(&p, y, pairs.x[i], pairs.x0[i]);
            struct trial trial = pair_trial(&op_score_entropy, &chain, &pairs, &sigma);
            double *loss = run_both(&trial, 1e-12);
            for (int i = 0; i < pairs.count; i++)
                cr_assert(loss[i] >= 0 && loss[i] < 1e-8, "%g", loss[i]);
            free(loss);
        }
}

/* The shape at which single precision gives NaN: many tokens, little noise. */
static void check_large_vocabulary(struct chain chain, int32_t x, int32_t x0)
{
    float *row = calloc((size_t)chain.states, sizeof *row);
    double sigma = 1e-4, dloss = 0.5;
    for (int32_t y = 0; y < chain.states; y++)
        row[y] = y == x ? 0 : (float)(0.5 * test_normal(13, (uint32_t)y) - 8);
    struct trial trial = {.op = &op_score_entropy, .chain = &chain, .in_count = 5, .threads = 2};
    trial.in[0] = tensor_of(DT_F32, row, 3, 1, 1, chain.states);
    trial.in[1] = tensor_of(DT_TOKEN, &x, 2, 1, 1, 0);
    trial.in[2] = tensor_of(DT_TOKEN, &x0, 2, 1, 1, 0);
    trial.in[3] = tensor_of(DT_F64, &sigma, 1, 1, 0, 0);
    trial.in[4] = tensor_of(DT_F64, &dloss, 2, 1, 1, 0);
    trial.out = tensor_of(DT_F64, NULL, 2, 1, 1, 0);
    trial.in_count = 4;
    double *loss = run_both(&trial, 1e-6);
    cr_assert(isfinite(loss[0]) && loss[0] > 0);
    free(loss);
    trial.op = &op_score_entropy_backward;
    trial.in_count = 5;
    trial.out = trial.in[0];
    trial.other = trial.in[4];
    free(run_both(&trial, 1e-6));
    free(row);
}

Test(chain, score_entropy_is_finite_for_many_tokens_and_little_noise)
{
    check_large_vocabulary(chain_uniform(50257), 40000, 40000);
    check_large_vocabulary(chain_uniform(50257), 50256, 3);
    check_large_vocabulary(chain_absorb(50257), 50257, 50256);
    check_large_vocabulary(chain_absorb(50257), 50257, 0);
}

/* With the exact score, p_s(y) P_D[x][y] / p_t(x): Bayes' rule for x_s given x_t. */
Test(chain, tweedie_weights_are_bayes_rule)
{
    for (int c = 0; c < CHAINS; c++) {
        struct chain chain = chain_number(c);
        double p0[STATES_MAX], ps[STATES_MAX], pt[STATES_MAX], sigma_t = 1.3, sigma_s = 0.8;
        random_law(&chain, 21, p0);
        struct matrix to_t = exponential(&chain, sigma_t), to_s = exponential(&chain, sigma_s);
        struct matrix between = exponential(&chain, sigma_t - sigma_s);
        apply(&to_t, p0, pt);
        apply(&to_s, p0, ps);
        float log_score[STATES_MAX * STATES_MAX];
        int32_t x[STATES_MAX];
        for (int i = 0; i < chain.states; i++) {
            x[i] = i;
            exact_score(pt, chain.states, i, log_score + i * chain.states);
        }
        struct trial trial = {.op = &op_tweedie_weights, .chain = &chain, .in_count = 4};
        trial.in[0] = tensor_of(DT_TOKEN, x, 2, 1, chain.states, 0);
        trial.in[1] = tensor_of(DT_F32, log_score, 3, 1, chain.states, chain.states);
        trial.in[2] = tensor_of(DT_F64, &sigma_t, 0, 0, 0, 0);
        trial.in[3] = tensor_of(DT_F64, &sigma_s, 0, 0, 0, 0);
        trial.out = tensor_of(DT_F64, NULL, 3, 1, chain.states, chain.states);
        double *weights = run_both(&trial, 1e-12);
        for (int i = 0; i < chain.states; i++)
            for (int y = 0; y < chain.states; y++) {
                double exact = ps[y] * between.at[i][y] / pt[i];
                cr_assert_float_eq(weights[i * chain.states + y], exact, 1e-6,
                                   "x %d y %d: %g against %g", i, y, weights[i * chain.states + y],
                                   exact);
            }
        free(weights);
    }
}

/* log s = raw - log E - log N for absorb; the entry at the current token is 0. */
Test(chain, score_output_takes_off_the_scale)
{
    struct chain chain = chain_absorb(3);
    float raw[] = {0.5f, -1, 2, 7, 1, 2, 3, 4};
    int32_t x[] = {3, 1};
    double sigma = 0.25, shift = log(expm1(0.25)) + log(3);
    struct trial trial = {.op = &op_score_output, .chain = &chain, .in_count = 3};
    trial.in[0] = tensor_of(DT_F32, raw, 3, 1, 2, 4);
    trial.in[1] = tensor_of(DT_TOKEN, x, 2, 1, 2, 0);
    trial.in[2] = tensor_of(DT_F64, &sigma, 0, 0, 0, 0);
    trial.out = trial.in[0];
    trial.attr[SCORE_OUTPUT_SCALE].flag = true;
    double *out = run_both(&trial, 1e-6);
    for (int i = 0; i < 8; i++) {
        bool current = i % 4 == x[i / 4];
        cr_assert_float_eq(out[i], current ? 0 : raw[i] - shift, 1e-12);
    }
    free(out);
}

/* What a model file can get wrong is refused with words that name it. */
Test(chain, wrong_inputs_are_refused)
{
    static const struct {
        const struct op *op;
        struct op_case wrong;
        const char *says;
    } cases[] = {
        {&op_score_output,
         {"f32[2,3,5] token[2,3] f64[2]", "scale_by_sigma=true", "uniform 5"},
         "absorbing process only"},
        {&op_score_output, {"f32[2,3,5] token[2,3] f64[2]", NULL, "absorb 5"}, "the 6 states"},
        {&op_score_entropy,
         {"f32[2,3,5] token[2,3] token[2,1] f64[2]", NULL, "uniform 5"},
         "`x0` is"},
        {&op_score_entropy,
         {"f32[2,4,5] token[2,3] token[2,3] f64[2]", NULL, "uniform 5"},
         "the axes of `x`"},
        {&op_perturb, {"token[2,3] f64[3]", NULL, "absorb 5"}, "one number a row"},
        {&op_perturb, {"token[] f64[]", NULL, "absorb 5"}, "[rows, length]"},
        {&op_tweedie,
         {"token[2,3] f32[2,3,5] f64[2] f64[2] _", "exclude=mask", "uniform 5"},
         "has a mask"},
        {&op_denoise, {"token[2,3] f32[2,3,5] f64[2] bool[3,2]", NULL, "uniform 5"}, "`keep`"},
        {&op_base_draw, {"token[2,3] f64[2] _", NULL, "absorb 5"}, "`log_score`"},
        {&op_categorical, {"f32[2,3,8]", NULL, "uniform 7"}, "1 to 7 entries"},
        {&op_categorical, {"f32[3]", NULL, "uniform 7"}, "[rows, length, n]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct case_graph g;
        bool accepted = op_case_build(&g, cases[i].op, &cases[i].wrong, false);
        cr_assert(!accepted, "%s takes %s", cases[i].op->name, cases[i].wrong.in);
        const char *text = op_case_refusal(&g);
        cr_assert(strstr(text, cases[i].says), "%s: \"%s\" is not in:\n%s", cases[i].op->name,
                  cases[i].says, text);
        op_case_free(&g);
    }
}
