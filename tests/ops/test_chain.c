/* The chain formulas, the score entropy, Tweedie steps, the projection and the terms of the bound
 * against matrix exponentials computed here in double, for references and kernels alike. */
#include "tests/ops/diffusion.h"

#include "ops/kernels/attrs.h"

#define STATES_MAX 8

struct matrix {
    int n;
    double at[STATES_MAX][STATES_MAX];
};

static struct matrix product(const struct matrix *a, const struct matrix *b)
{
    struct matrix c = {.n = a->n};
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < a->n; k++)
            for (int j = 0; j < a->n; j++)
                c.at[i][j] += a->at[i][k] * b->at[k][j];
    return c;
}

/* exp(sigma Q) by scaling, fifteen Taylor terms and squaring: |sigma Q| / 2^14 < 0.01 here, so the
 * first term left out is below 1e-44; squaring fourteen times keeps 1e-11. */
static struct matrix exponential(const struct chain *chain, double sigma)
{
    const int squarings = 14;
    struct matrix step = {.n = chain->states}, term = {.n = chain->states}, sum;
    for (int y = 0; y < chain->states; y++) {
        for (int x = 0; x < chain->states; x++)
            step.at[y][x] = ldexp(sigma * chain_rate(chain, y, x), -squarings);
        term.at[y][y] = 1;
    }
    sum = term;
    for (int k = 1; k <= 15; k++) {
        term = product(&term, &step);
        for (int y = 0; y < sum.n; y++)
            for (int x = 0; x < sum.n; x++) {
                term.at[y][x] /= k;
                sum.at[y][x] += term.at[y][x];
            }
    }
    for (int i = 0; i < squarings; i++)
        sum = product(&sum, &sum);
    return sum;
}

/* A law over the real tokens, none of them rare, and where it goes at noise P. */
static void random_law(const struct chain *chain, uint64_t seed, double *p0)
{
    double sum = 0;
    for (int y = 0; y < chain->states; y++) {
        p0[y] = y < chain->tokens ? 0.1 + test_uniform(seed, (uint32_t)y) : 0;
        sum += p0[y];
    }
    for (int y = 0; y < chain->states; y++)
        p0[y] /= sum;
}

static void apply(const struct matrix *p, const double *from, double *to)
{
    for (int y = 0; y < p->n; y++) {
        to[y] = 0;
        for (int x = 0; x < p->n; x++)
            to[y] += p->at[y][x] * from[x];
    }
}

/* Log of the exact score at X; states of probability 0 (a token after the mask) do not occur. */
static void exact_score(const double *p, int n, int x, float *log_score)
{
    for (int y = 0; y < n; y++)
        log_score[y] = y == x ? 0 : (float)log(p[y] / p[x]);
}

/* Whether noise can lead from X0 to X. */
static bool reachable(const struct chain *chain, int x, int x0)
{
    return chain->kind == CHAIN_UNIFORM || x == x0 || x == chain->mask;
}

static const double sigmas[] = {1e-3, 0.04, 0.7, 3, 12};
#define SIGMAS 5

static struct chain chain_number(int i)
{
    return i == 0 ? chain_absorb(5) : i == 1 ? chain_uniform(7) : chain_uniform(2);
}
#define CHAINS 3

Test(chain, transitions_are_the_matrix_exponential)
{
    for (int c = 0; c < CHAINS; c++)
        for (int k = 0; k < SIGMAS; k++) {
            struct chain chain = chain_number(c);
            struct matrix p = exponential(&chain, sigmas[k]);
            struct chain_noise noise = chain_noise(&chain, sigmas[k]);
            for (int x0 = 0; x0 < chain.states; x0++) {
                double column = 0;
                for (int y = 0; y < chain.states; y++) {
                    double rate = 0, move = chain_move(&chain, &noise, y, x0);
                    for (int z = 0; z < chain.states; z++)
                        rate += chain_rate(&chain, z, x0);
                    cr_assert_float_eq(rate, 0, 1e-15);
                    cr_assert_float_eq(move, p.at[y][x0], 1e-10);
                    column += move;
                }
                cr_assert_float_eq(column, 1, 1e-14);
            }
        }
}

Test(chain, ratios_are_quotients_of_transitions)
{
    for (int c = 0; c < CHAINS; c++)
        for (int k = 0; k < SIGMAS; k++) {
            struct chain chain = chain_number(c);
            struct matrix p = exponential(&chain, sigmas[k]);
            struct chain_noise noise = chain_noise(&chain, sigmas[k]);
            for (int x0 = 0; x0 < chain.tokens; x0++)
                for (int x = 0; x < chain.states; x++)
                    for (int y = 0; y < chain.states; y++) {
                        if (!reachable(&chain, x, x0))
                            continue;
                        double rho = exp(chain_log_ratio(&chain, &noise, y, x, x0));
                        double exact = p.at[y][x0] / p.at[x][x0];
                        cr_assert_float_eq(rho, exact, 1e-8 * (1 + exact));
                    }
        }
}

/* In single precision r = 1 - N / (E + N) is 0 below sigma = 0.002 at this N, and its logarithm
 * infinite; what is compared with are the first terms of the series in sigma. */
Test(chain, ratios_hold_at_tiny_and_huge_noise)
{
    struct chain chain = chain_uniform(50257);
    double sigma = 1e-9;
    struct chain_noise noise = chain_noise(&chain, sigma);
    cr_assert_float_eq(noise.log_e, log(sigma) + sigma / 2, 1e-12);
    cr_assert_float_eq(noise.ratio * 50257 / sigma, 1, 1e-8);
    cr_assert_float_eq(noise.log_ratio, log(sigma / 50257), 1e-8);
    noise = chain_noise(&chain, 800);
    cr_assert_eq(noise.log_e, 800);
    cr_assert_eq(noise.ratio, 1);
    cr_assert_eq(noise.log_ratio, 0);
    cr_assert_eq(noise.alpha, exp(-800));
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

/* All pairs (x, x0) of a chain as one batch of rows of length 1. */
struct pairs {
    int count;
    int32_t x[64], x0[64];
    float log_score[64 * STATES_MAX];
};

static void all_pairs(const struct chain *chain, uint64_t seed, double spread, struct pairs *out)
{
    *out = (struct pairs){0};
    for (int x = 0; x < chain->states; x++)
        for (int x0 = 0; x0 < chain->tokens; x0++) {
            if (!reachable(chain, x, x0))
                continue;
            float *row = out->log_score + out->count * chain->states;
            for (int y = 0; y < chain->states; y++)
                row[y] = y == x
                             ? 0
                             : (float)(spread * test_normal(seed, (uint32_t)(64 * x + 8 * x0 + y)));
            out->x[out->count] = x;
            out->x0[out->count++] = x0;
        }
}

static struct trial pair_trial(const struct op *op, const struct chain *chain, struct pairs *pairs,
                               double *sigma)
{
    struct trial trial = {.op = op, .chain = chain, .in_count = 4};
    int64_t n = pairs->count;
    trial.in[0] = tensor_of(DT_F32, pairs->log_score, 3, n, 1, chain->states);
    trial.in[1] = tensor_of(DT_TOKEN, pairs->x, 2, n, 1, 0);
    trial.in[2] = tensor_of(DT_TOKEN, pairs->x0, 2, n, 1, 0);
    trial.in[3] = tensor_of(DT_F64, sigma, 0, 0, 0, 0);
    trial.out = tensor_of(DT_F64, NULL, 2, n, 1, 0);
    return trial;
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
            struct chain_noise noise = chain_noise(&chain, sigmas[k]);
            double sigma = sigmas[k];
            struct pairs pairs;
            all_pairs(&chain, 12, 1, &pairs);
            for (int i = 0; i < pairs.count; i++)
                for (int y = 0; y < chain.states; y++)
                    pairs.log_score[i * chain.states + y] =
                        (float)chain_log_ratio(&chain, &noise, y, pairs.x[i], pairs.x0[i]);
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

/* The divergence that score entropy is, of a true score A from S: sum of A-weighted pairs. */
static double divergence(const double *a, const double *log_s, int n, int x)
{
    double sum = 0;
    for (int y = 0; y < n; y++)
        if (y != x)
            sum += entropy_term(log_s[y], a[y], log(a[y]));
    return sum;
}

/* The score of a mixture over x0 with the posterior weights POST, at X (absorb: X is the mask). */
static void mixture_score(const struct chain *chain, const struct matrix *p, const double *post,
                          int x, double *score)
{
    for (int y = 0; y < chain->states; y++) {
        score[y] = 0;
        for (int x0 = 0; x0 < chain->tokens; x0++)
            score[y] += post[x0] * p->at[y][x0] / p->at[x][x0];
    }
}

static double *project(const struct chain *chain, float *log_score, int32_t *x, double *sigma)
{
    struct trial trial = {.op = &op_project_score, .chain = chain, .in_count = 3};
    trial.in[0] = tensor_of(DT_F32, log_score, 3, 1, 1, chain->states);
    trial.in[1] = tensor_of(DT_TOKEN, x, 2, 1, 1, 0);
    trial.in[2] = tensor_of(DT_F64, sigma, 1, 1, 0, 0);
    trial.out = trial.in[0];
    return run_both(&trial, 1e-6);
}

static void check_bounds(const struct chain *chain, double sigma, const double *log_score, int x)
{
    struct chain_noise noise = chain_noise(chain, sigma);
    double sum = 0;
    for (int y = 0; y < chain->tokens; y++) {
        sum += y == x ? 0 : exp(log_score[y]);
        if (chain->kind == CHAIN_UNIFORM)
            cr_assert(fabs(log_score[y]) <= -noise.log_ratio + 1e-6);
    }
    if (chain->kind == CHAIN_ABSORB)
        cr_assert_float_eq(sum * expm1(sigma), 1, 1e-6);
    else
        cr_assert(sum <= (1 / noise.ratio + chain->tokens - 2) * (1 + 1e-9));
    cr_assert_eq(log_score[x], 0);
}

/* Random scores against random mixtures: never further away after the projection, and the score of
 * a mixture stays where it is. 1e-6 allows for scores rounded to f32. */
Test(chain, projection_is_never_looser)
{
    int moved = 0;
    for (uint32_t i = 0; i < 900; i++) {
        struct chain chain = chain_number((int)(i % CHAINS));
        double sigma = sigmas[i / CHAINS % SIGMAS], post[STATES_MAX], truth[STATES_MAX];
        struct matrix p = exponential(&chain, sigma);
        int32_t x = chain.mask >= 0 ? chain.mask : (int32_t)(i % (uint32_t)chain.tokens);
        random_law(&chain, 1000 + i, post);
        mixture_score(&chain, &p, post, x, truth);
        float log_score[STATES_MAX];
        double before[STATES_MAX];
        for (int y = 0; y < chain.states; y++) {
            double noise = (i % 7) * 0.5 * test_normal(2000 + i, (uint32_t)y) + (i % 3) - 0.5;
            log_score[y] = y == x ? 0 : (float)(log(truth[y]) + noise);
            before[y] = log_score[y];
        }
        double *after = project(&chain, log_score, &x, &sigma);
        check_bounds(&chain, sigma, after, x);
        double old = divergence(truth, before, chain.states, x);
        double new = divergence(truth, after, chain.states, x);
        cr_assert(new <= old + 1e-6 * (1 + old), "%g became %g", old, new);
        moved += new < old - 1e-3 * old;
        free(after);
        for (int y = 0; y < chain.states; y++)
            log_score[y] = y == x ? 0 : (float)log(truth[y]);
        after = project(&chain, log_score, &x, &sigma);
        for (int y = 0; y < chain.tokens; y++)
            cr_assert_float_eq(after[y], log_score[y], 2e-6);
        free(after);
    }
    cr_assert(moved > 300, "the projection did something in %d cases only", moved);
}

/* exp(-reconstruction) over all x0 is a distribution, strictly positive even where Tweedie weights
 * are clamped, and the normalised Tweedie weights where they are not. */
Test(chain, decoder_is_a_positive_distribution)
{
    int repaired = 0;
    for (int c = 0; c < CHAINS; c++)
        for (int k = 0; k < SIGMAS - 1; k++)
            for (int spread = 0; spread < 3; spread++) {
                struct chain chain = chain_number(c);
                double sigma = sigmas[k], zero = 0, total[STATES_MAX] = {0};
                struct pairs pairs;
                all_pairs(&chain, 31, 1.5 * spread, &pairs);
                /* One score row for each x: that of its first pair. */
                for (int i = 1; i < pairs.count; i++)
                    if (pairs.x[i] == pairs.x[i - 1])
                        memcpy(pairs.log_score + i * chain.states,
                               pairs.log_score + (i - 1) * chain.states,
                               (size_t)chain.states * sizeof(float));
                struct trial trial = pair_trial(&op_reconstruction, &chain, &pairs, &sigma);
                struct tensor scores = trial.in[0];
                trial.in[0] = trial.in[1];
                trial.in[1] = trial.in[2];
                trial.in[2] = scores;
                double *cost = run_both(&trial, 1e-9);
                struct trial weigh = {.op = &op_tweedie_weights, .chain = &chain, .in_count = 4};
                weigh.in[0] = trial.in[0];
                weigh.in[1] = scores;
                weigh.in[2] = trial.in[3];
                weigh.in[3] = tensor_of(DT_F64, &zero, 0, 0, 0, 0);
                weigh.out = tensor_of(DT_F64, NULL, 3, pairs.count, 1, chain.states);
                double *weights = run_both(&weigh, 1e-9);
                for (int i = 0; i < pairs.count; i++) {
                    const double *row = weights + i * chain.states;
                    double sum = 0, least = INFINITY;
                    for (int y = 0; y < chain.tokens; y++) {
                        sum += fmax(0, row[y]);
                        least = fmin(least, row[y]);
                    }
                    cr_assert(isfinite(cost[i]));
                    total[pairs.x[i]] += exp(-cost[i]);
                    if (least > 0 || chain.kind == CHAIN_ABSORB)
                        cr_assert_float_eq(exp(-cost[i]), row[pairs.x0[i]] / sum, 1e-9);
                    else
                        repaired++;
                }
                for (int x = 0; x < chain.states; x++)
                    cr_assert_float_eq(total[x], 1, 1e-9);
                free(cost);
                free(weights);
            }
    cr_assert(repaired > 20, "only %d weights were repaired", repaired);
}

/* KL(P[., x0] || uniform), from the matrix exponential, and the absorbing base by its definition:
 * sum over y of P[y][x0] log(P[y][x0] / base[y]). */
Test(chain, base_cost_is_the_divergence_from_the_base)
{
    for (int c = 0; c < CHAINS; c++)
        for (int k = 0; k < SIGMAS; k++) {
            struct chain chain = chain_number(c);
            struct matrix p = exponential(&chain, sigmas[k]);
            double sigma = sigmas[k], law[STATES_MAX];
            random_law(&chain, 41, law);
            float log_score[STATES_MAX] = {0};
            for (int y = 0; y < chain.tokens; y++)
                log_score[y] = (float)(log(law[y]) + 2); /* need not be normalised */
            for (int32_t x0 = 0; x0 < chain.tokens; x0++) {
                struct trial trial = {.op = &op_base_cost, .chain = &chain, .in_count = 3};
                trial.in[0] = tensor_of(DT_TOKEN, &x0, 2, 1, 1, 0);
                trial.in[1] = tensor_of(DT_F64, &sigma, 0, 0, 0, 0);
                trial.in[2] = tensor_of(DT_F32, log_score, 3, 1, 1, chain.states);
                trial.out = tensor_of(DT_F64, NULL, 2, 1, 1, 0);
                if (chain.kind == CHAIN_UNIFORM)
                    trial.in[2].data = NULL;
                double *cost = run_both(&trial, 1e-9), expected = 0;
                for (int y = 0; y < chain.states; y++) {
                    double base = chain.kind == CHAIN_UNIFORM ? 1.0 / chain.tokens
                                  : y == chain.mask           ? -expm1(-sigma)
                                                              : exp(-sigma) * law[y];
                    if (p.at[y][x0] > 0)
                        expected += p.at[y][x0] * log(p.at[y][x0] / base);
                }
                cr_assert_float_eq(cost[0], expected, 1e-6 * (1 + expected));
                free(cost);
            }
        }
}

/* Nodes and weights of the Gauss-Legendre rule on [-1, 1], by Newton on P_n. */
static void legendre(int n, double *node, double *weight)
{
    for (int i = 0; i < n; i++) {
        double z = cos(3.141592653589793 * (i + 0.75) / (n + 0.5)), slope = 1;
        for (int round = 0; round < 50; round++) {
            double p = 1, before = 0;
            for (int j = 1; j <= n; j++) {
                double older = before;
                before = p;
                p = ((2 * j - 1) * z * before - (j - 1) * older) / j;
            }
            slope = n * (z * p - before) / (z * z - 1);
            z -= p / slope;
        }
        node[i] = z;
        weight[i] = 2 / ((1 - z * z) * slope * slope);
    }
}

/* E over x ~ P[., x0] of the reference of OP (score_entropy or reconstruction) at the exact score
 * of law P0 and noise SIGMA. */
static double expectation(const struct op *op, const struct chain *chain, const double *p0,
                          double sigma, int32_t x0)
{
    struct matrix p = exponential(chain, sigma);
    double pt[STATES_MAX], sum = 0;
    apply(&p, p0, pt);
    for (int32_t x = 0; x < chain->states; x++) {
        if (!reachable(chain, x, x0))
            continue;
        double log_score[STATES_MAX], at_x = x, at_x0 = x0, result = 0;
        for (int y = 0; y < chain->states; y++)
            log_score[y] = y == x ? 0 : log(pt[y] / pt[x]);
        struct ref_tensor score = {3, {1, 1, chain->states}, log_score};
        struct ref_tensor noisy = {2, {1, 1}, &at_x}, clean = {2, {1, 1}, &at_x0};
        struct ref_tensor time = {.data = &sigma}, out = {2, {1, 1}, &result};
        bool entropy = op == &op_score_entropy;
        struct ref_tensor in[] = {entropy ? score : noisy, entropy ? noisy : clean,
                                  entropy ? clean : score, time};
        struct ref_call call = {
            .in_count = 4, .out_count = 1, .in = in, .out = &out, .chain = chain};
        op->reference(&call);
        sum += p.at[x][x0] * result;
    }
    return sum;
}

/* With the exact score, integral + base + reconstruction is -log p0(x0) for each x0; the uniform
 * base misses it by the mean of log(p_T / pi), which is added here. One position. */
Test(chain, bound_is_the_likelihood_at_the_exact_score)
{
    enum { NODES = 96 };
    double node[NODES], weight[NODES], least = 1e-3, most = 6;
    legendre(NODES, node, weight);
    for (int c = 0; c < CHAINS; c++) {
        struct chain chain = chain_number(c);
        double p0[STATES_MAX], last[STATES_MAX], half = log(most / least) / 2;
        random_law(&chain, 51, p0);
        struct matrix p = exponential(&chain, most);
        apply(&p, p0, last);
        for (int32_t x0 = 0; x0 < chain.tokens; x0 += 2) {
            double bound = 0;
            for (int i = 0; i < NODES; i++) {
                double sigma = least * exp(half * (node[i] + 1));
                bound += weight[i] * half * sigma *
                         expectation(&op_score_entropy, &chain, p0, sigma, x0);
            }
            bound += expectation(&op_reconstruction, &chain, p0, least, x0);
            if (chain.kind == CHAIN_ABSORB) {
                bound -= exp(-most) * log(p0[x0]);
            } else {
                struct chain_noise noise = chain_noise(&chain, most);
                bound += chain_uniform_divergence(&chain, &noise);
                for (int x = 0; x < chain.states; x++)
                    bound -= p.at[x][x0] * log(last[x] * chain.tokens);
            }
            cr_assert_float_eq(bound, -log(p0[x0]), 1e-6, "%g against %g", bound, -log(p0[x0]));
        }
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
