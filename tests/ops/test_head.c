/* Laws of the clean token against the scores they must come to, and the three score entropies
 * against each other, by enumeration: exact numbers are matrix exponentials of random laws. */
#include "tests/ops/enumeration.h"

#include <math.h>

/* Runs OP on one position: reference, or kernel of the plain instruction set. */
static void head_run(const struct op *op, const struct chain *chain, const float *row, int32_t x,
                     double sigma, bool kernel, double *out)
{
    struct trial trial = {.op = op, .chain = chain, .in_count = 3, .threads = 1};
    trial.in[0] = tensor_of(DT_F32, (void *)(uintptr_t)row, 3, 1, 1, chain->states);
    trial.in[1] = tensor_of(DT_TOKEN, &x, 2, 1, 1, 0);
    trial.in[2] = tensor_of(DT_F64, &sigma, 1, 1, 0, 0);
    trial.out = tensor_of(DT_F32, NULL, 3, 1, 1, chain->states);
    double *result = kernel ? run_kernel(&trial, "plain") : run_reference(&trial);
    memcpy(out, result, (size_t)chain->states * sizeof *out);
    free(result);
}

/* The two laws of x0 at a position in state X that tells nothing of the others: P0 is the cavity,
 * and the posterior is ~ P[x][x0] P0. Logarithms in single precision. */
static void laws_at(const struct matrix *e, const double *p0, int x, float *posterior,
                    float *cavity)
{
    double at_x = 0;
    for (int y = 0; y < e->n; y++)
        at_x += e->at[x][y] * p0[y];
    for (int y = 0; y < e->n; y++) {
        posterior[y] = (float)log(e->at[x][y] * p0[y] / at_x);
        cavity[y] = (float)log(p0[y]);
    }
}

/* Both heads give the exact score, on every chain, at every state and noise; either one for the
 * other does not, but where the chain is absorbing. The error is that of log p in single
 * precision. */
Test(head, laws_come_to_the_exact_score)
{
    for (int c = 0; c < CHAINS; c++)
        for (int k = 0; k < SIGMAS; k++) {
            struct chain chain = chain_number(c);
            struct matrix e = exponential(&chain, sigmas[k]);
            double p0[STATES_MAX], p[STATES_MAX], out[STATES_MAX];
            random_law(&chain, 7, p0);
            apply(&e, p0, p);
            for (int x = 0; x < chain.states; x++)
                for (int way = 0; way < 4; way++) {
                    float posterior[STATES_MAX], cavity[STATES_MAX];
                    laws_at(&e, p0, x, posterior, cavity);
                    if (chain_frozen(&chain, x))
                        continue;
                    head_run(way & 1 ? &op_cavity_score : &op_posterior_score, &chain,
                             way & 1 ? cavity : posterior, x, sigmas[k], way & 2, out);
                    for (int y = 0; y < chain.states; y++)
                        cr_assert_float_eq(exp(out[y]) * p[x] / p[y], 1, 1e-5,
                                           "chain %d, sigma %g, way %d: s(%d -> %d) %g", c,
                                           sigmas[k], way, x, y, exp(out[y]));
                }
        }
}

/* Such a score lies within the limits that a projection keeps, whatever the law is: the projection
 * gives it back, but for rounding. */
Test(head, scores_of_a_law_need_no_projection)
{
    for (int c = 0; c < CHAINS; c++)
        for (int k = 0; k < SIGMAS; k++) {
            struct chain chain = chain_number(c);
            struct matrix e = exponential(&chain, sigmas[k]);
            double p0[STATES_MAX], score[STATES_MAX], out[STATES_MAX];
            for (int x = 0; x < chain.states; x++)
                for (int way = 0; way < 2; way++) {
                    float posterior[STATES_MAX], cavity[STATES_MAX], row[STATES_MAX];
                    random_law(&chain, 11 + x, p0);
                    laws_at(&e, p0, x, posterior, cavity);
                    if (chain_frozen(&chain, x))
                        continue;
                    head_run(way ? &op_cavity_score : &op_posterior_score, &chain,
                             way ? cavity : posterior, x, sigmas[k], true, score);
                    for (int y = 0; y < chain.states; y++)
                        row[y] = (float)score[y];
                    head_run(&op_project_score, &chain, row, x, sigmas[k], true, out);
                    for (int y = 0; y < chain.states; y++)
                        cr_assert_float_eq(out[y], score[y], 2e-6 * (1 + fabs(score[y])),
                                           "chain %d, sigma %g, way %d: s(%d -> %d) %g, %g", c,
                                           sigmas[k], way, x, y, out[y], score[y]);
                }
        }
}

/* A posterior taken for a cavity is wrong by more than a tenth. Uniform chain on two tokens, p0 =
 * (.7, .3) at alpha = exp(-sigma) = .4, so that a token stays with probability .7. By hand: p =
 * (.58, .42). */
Test(head, a_posterior_is_not_a_cavity)
{
    struct chain chain = chain_uniform(2);
    double sigma = -log(0.4), out[2];
    float posterior[2], wrong[2];
    const double p0[] = {0.7, 0.3}, p[] = {0.58, 0.42};
    for (int x = 0; x < 2; x++) {
        int y = 1 - x;
        for (int z = 0; z < 2; z++)
            posterior[z] = wrong[z] = (float)log((z == x ? 0.7 : 0.3) * p0[z] / p[x]);
        head_run(&op_posterior_score, &chain, posterior, x, sigma, true, out);
        cr_assert_float_eq(exp(out[y]), p[y] / p[x], 1e-6);
        head_run(&op_cavity_score, &chain, wrong, x, sigma, true, out);
        cr_assert(fabs(exp(out[y]) - p[y] / p[x]) > 0.1, "%g", exp(out[y]));
    }
}

/* Three tokens at sigma 0.8, alpha = 0.4493: p = alpha p0 + (1 - alpha) / 3 = (.3262, .2237,
 * .4501), so that at token 0 the scores are .686 and 1.380. The posterior is (.616, .050, .334);
 * taken for a cavity it gives .448 and .724. All to three digits. */
Test(head, what_a_posterior_gives_where_a_cavity_is_meant)
{
    static const double right[] = {0.686, 1.380}, wrong[] = {0.448, 0.724};
    struct chain chain = chain_uniform(3);
    struct matrix e = exponential(&chain, 0.8);
    const double p0[] = {0.31757, 0.08926, 0.59317};
    float posterior[STATES_MAX], cavity[STATES_MAX];
    double out[STATES_MAX];
    laws_at(&e, p0, 0, posterior, cavity);
    for (int y = 1; y < 3; y++) {
        head_run(&op_posterior_score, &chain, posterior, 0, 0.8, true, out);
        cr_assert_float_eq(exp(out[y]), right[y - 1], 5e-4, "%g", exp(out[y]));
        head_run(&op_cavity_score, &chain, cavity, 0, 0.8, true, out);
        cr_assert_float_eq(exp(out[y]), right[y - 1], 5e-4, "%g", exp(out[y]));
        head_run(&op_cavity_score, &chain, posterior, 0, 0.8, true, out);
        cr_assert_float_eq(exp(out[y]), wrong[y - 1], 5e-4, "%g", exp(out[y]));
    }
}

/* Score entropy of one position by its kernel. */
static double entropy_at(const struct chain *chain, const double *log_score, int32_t x, int32_t x0,
                         double sigma)
{
    float row[STATES_MAX];
    struct trial trial = {.op = &op_score_entropy, .chain = chain, .in_count = 4, .threads = 1};
    for (int y = 0; y < chain->states; y++)
        row[y] = (float)log_score[y];
    trial.in[0] = tensor_of(DT_F32, row, 3, 1, 1, chain->states);
    trial.in[1] = tensor_of(DT_TOKEN, &x, 2, 1, 1, 0);
    trial.in[2] = tensor_of(DT_TOKEN, &x0, 2, 1, 1, 0);
    trial.in[3] = tensor_of(DT_F64, &sigma, 1, 1, 0, 0);
    trial.out = tensor_of(DT_F64, NULL, 2, 1, 1, 0);
    double *result = run_kernel(&trial, "plain"), sum = result[0];
    free(result);
    return sum;
}

/* SUBS: the score entropy of a masked position is -log p(x0) / expm1(sigma). */
Test(head, masked_cross_entropy_is_score_entropy)
{
    struct chain chain = chain_absorb(5);
    for (int k = 0; k < SIGMAS; k++)
        for (int32_t x0 = 0; x0 < 5; x0++) {
            float raw[6], log_p[6];
            double law[6], log_score[6];
            for (int y = 0; y < 6; y++)
                raw[y] = (float)test_normal(5, (uint32_t)y);
            head_run(&op_x0_output, &chain, raw, 5, sigmas[k], true, law);
            cr_assert(isinf(law[5]));
            for (int y = 0; y < 6; y++)
                log_p[y] = (float)law[y];
            head_run(&op_posterior_score, &chain, log_p, 5, sigmas[k], true, log_score);
            double expected = -law[x0] / expm1(sigmas[k]);
            double found = entropy_at(&chain, log_score, 5, x0, sigmas[k]);
            cr_assert_float_eq(found, expected, 1e-5 * (1 + 1 / expm1(sigmas[k])));
        }
}

/* The integrand of UDLM (Schiff et al. 2024, eq. 17) as they write it, over -alpha' = alpha: with b
 * = N alpha onehot(x0) + 1 - alpha, b_theta the same of the cavity, and z the noisy token. */
static double udlm_integrand(int n, const double *cavity, int z, int x0, double sigma)
{
    double alpha = exp(-sigma), sum = 0;
    double bz = n * alpha * (z == x0) + 1 - alpha, tz = n * alpha * cavity[z] + 1 - alpha;
    for (int j = 0; j < n; j++) {
        double bj = n * alpha * (j == x0) + 1 - alpha, tj = n * alpha * cavity[j] + 1 - alpha;
        sum += bj / bz * log(tz * bj / (tj * bz));
    }
    return (n / tz - n / bz + sum) / n;
}

/* The same numbers by the double references alone: score of a cavity, then its entropy. */
static double reference_entropy(const struct chain *chain, double *log_p, int32_t z, int32_t x0,
                                double sigma)
{
    struct trial score = {.op = &op_cavity_score, .chain = chain, .in_count = 3};
    score.in[0] = tensor_of(DT_F64, log_p, 3, 1, 1, chain->states);
    score.in[1] = tensor_of(DT_TOKEN, &z, 2, 1, 1, 0);
    score.in[2] = tensor_of(DT_F64, &sigma, 1, 1, 0, 0);
    score.out = tensor_of(DT_F64, NULL, 3, 1, 1, chain->states);
    double *log_score = run_reference(&score);
    struct trial entropy = {.op = &op_score_entropy, .chain = chain, .in_count = 4};
    entropy.in[0] = tensor_of(DT_F64, log_score, 3, 1, 1, chain->states);
    entropy.in[1] = score.in[1];
    entropy.in[2] = tensor_of(DT_TOKEN, &x0, 2, 1, 1, 0);
    entropy.in[3] = score.in[2];
    entropy.out = tensor_of(DT_F64, NULL, 2, 1, 1, 0);
    double *result = run_reference(&entropy), sum = result[0];
    free(log_score);
    free(result);
    return sum;
}

/* To 1e-12 in double; by the kernels to the rounding of log scores in single precision, 6e-8 of a
 * few nats, which ratios of up to 1 / E multiply. */
Test(head, the_integrand_of_udlm_is_score_entropy_of_a_cavity)
{
    struct chain chain = chain_uniform(5);
    double cavity[STATES_MAX], log_score[5], log_p[5];
    float single[5];
    random_law(&chain, 3, cavity);
    for (int y = 0; y < 5; y++) {
        log_p[y] = log(cavity[y]);
        single[y] = (float)log_p[y];
    }
    for (int k = 1; k < 4; k++)
        for (int z = 0; z < 5; z++)
            for (int x0 = 0; x0 < 5; x0++) {
                double expected = udlm_integrand(5, cavity, z, x0, sigmas[k]);
                double found = reference_entropy(&chain, log_p, z, x0, sigmas[k]);
                cr_assert_float_eq(found, expected, 1e-12 * (1 + 1 / expm1(sigmas[k])));
                head_run(&op_cavity_score, &chain, single, z, sigmas[k], true, log_score);
                found = entropy_at(&chain, log_score, z, x0, sigmas[k]);
                cr_assert_float_eq(found, expected, 1e-6 * (1 + fabs(expected)));
            }
}

/* --- plain, implicit and denoising score entropy ------------------------------------------- */

/* One position. Row x of SCORE, all of it random. Plain and implicit ones by their references. */
static double enumerated(const struct op *op, const struct chain *chain, const float *score,
                         const double *p)
{
    struct trial trial = {.op = op, .chain = chain, .in_count = 2, .threads = 1};
    trial.in[0] = tensor_of(DT_F32, (void *)(uintptr_t)score, 3, chain->states, 1, chain->states);
    trial.in[1] = tensor_of(DT_F64, (void *)(uintptr_t)p, 1, chain->states, 0, 0);
    trial.out = tensor_of(DT_F64, NULL, 0, 0, 0, 0);
    double *result = run_kernel(&trial, "plain"), sum = result[0];
    free(result);
    return sum;
}

static double denoising(const struct chain *chain, const struct matrix *e, const float *score,
                        const double *p0, double sigma)
{
    double sum = 0;
    for (int32_t x0 = 0; x0 < chain->tokens; x0++)
        for (int32_t x = 0; x < chain->states; x++) {
            double row[STATES_MAX];
            for (int y = 0; y < chain->states; y++)
                row[y] = y == x ? 0 : (double)score[x * chain->states + y];
            if (e->at[x][x0] > 0)
                sum += p0[x0] * e->at[x][x0] * entropy_at(chain, row, x, x0, sigma);
        }
    return sum;
}

static void random_scores(const struct chain *chain, uint64_t seed, float *score)
{
    for (int i = 0; i < chain->states * chain->states; i++)
        score[i] = (float)test_normal(seed, (uint32_t)i);
}

/* The three differ by constants: from one random score to another all of them change alike. As that
 * holds for any pair of scores, their gradients agree as well. */
Test(head, three_score_entropies_differ_by_constants)
{
    for (int c = 0; c < CHAINS; c++)
        for (int k = 1; k < 4; k++) {
            struct chain chain = chain_number(c);
            struct matrix e = exponential(&chain, sigmas[k]);
            double p0[STATES_MAX], p[STATES_MAX], first[3] = {0};
            random_law(&chain, 11, p0);
            apply(&e, p0, p);
            for (uint64_t seed = 0; seed < 8; seed++) {
                float score[STATES_MAX * STATES_MAX];
                random_scores(&chain, seed, score);
                double of[] = {enumerated(&op_plain_score_entropy, &chain, score, p),
                               enumerated(&op_implicit_score_entropy, &chain, score, p),
                               denoising(&chain, &e, score, p0, sigmas[k])};
                cr_assert(of[0] > 0 && of[2] > of[0] - 1e-6);
                if (seed == 0)
                    memcpy(first, of, sizeof first);
                for (int i = 1; i < 3; i++)
                    cr_assert_float_eq(of[i] - first[i], of[0] - first[0], 1e-5 * (1 + of[0]),
                                       "chain %d, sigma %g: %g and %g", c, sigmas[k],
                                       of[i] - first[i], of[0] - first[0]);
            }
        }
}

/* --- exactly k ------------------------------------------------------------------------------ */

static int bits(int set)
{
    int count = 0;
    for (; set; set &= set - 1)
        count++;
    return count;
}

/* All choices of 2 of 5 positions come up alike: 10 of them, chi-square with 9 degrees of freedom
 * is below 33.7 with probability 1 - 1e-4. */
Test(head, exactly_k_masks_are_any_k)
{
    enum { ROWS = 20000 };
    struct chain chain = chain_absorb(3);
    int32_t *x0 = calloc(ROWS * 5, sizeof *x0);
    double k = 2.9, chi = 0;
    int seen[32] = {0};
    struct trial trial = {.op = &op_mask_exactly, .chain = &chain, .in_count = 2, .threads = 2};
    trial.in[0] = tensor_of(DT_TOKEN, x0, 2, ROWS, 5, 0);
    trial.in[1] = tensor_of(DT_F64, &k, 0, 0, 0, 0);
    trial.out = tensor_of(DT_TOKEN, NULL, 2, ROWS, 5, 0);
    trial.other = tensor_of(DT_F64, NULL, 1, ROWS, 0, 0);
    double *x = run_kernel(&trial, "plain");
    for (int r = 0; r < ROWS; r++) {
        int set = 0;
        for (int i = 0; i < 5; i++)
            set |= (x[r * 5 + i] == 3) << i;
        cr_assert_eq(bits(set), 2);
        seen[set]++;
    }
    for (int set = 0; set < 32; set++)
        if (bits(set) == 2)
            chi += pow(seen[set] - ROWS / 10.0, 2) / (ROWS / 10.0);
    cr_assert(chi < 33.7, "chi-square %g", chi);
    free(x);
    free(x0);
}

/* As many tokens as a language has: chains without a table have any number of states. */
Test(head, laws_over_a_large_vocabulary)
{
    struct chain chain = chain_uniform(50257);
    size_t states = (size_t)chain.states;
    float *row = malloc(states * sizeof *row);
    double *out = malloc(states * sizeof *out), sum = 0;
    for (size_t y = 0; y < states; y++) {
        row[y] = (float)sin((double)y);
        sum += exp((double)row[y]);
    }
    for (int way = 0; way < 3; way++) {
        head_run(way == 2 ? &op_cavity_output : &op_x0_output, &chain, row, 7, 0.5, way == 0, out);
        for (size_t y = 0; y < states; y++)
            cr_assert_float_eq(out[y], (double)row[y] - log(sum), 1e-5, "way %d, token %zu: %g",
                               way, y, out[y]);
    }
    free(row);
    free(out);
}
