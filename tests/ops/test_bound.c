/* The projection, the decoder and the terms of the likelihood bound against enumeration: with the
 * exact score they add up to the likelihood, for references and kernels alike. */
#include "tests/ops/enumeration.h"

/* The divergence that score entropy is, of a true score A from S: sum of the pairs by rate. */
static double divergence(const struct chain *chain, const double *a, const double *log_s, int x)
{
    double sum = 0;
    for (int y = 0; y < chain->states; y++)
        if (y != x)
            sum += chain_rate(chain, x, y) * entropy_term(log_s[y], a[y], log(a[y]));
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

static struct trial projection(const struct chain *chain, float *log_score, int32_t *x,
                               double *sigma)
{
    struct trial trial = {.op = &op_project_score, .chain = chain, .in_count = 3};
    trial.in[0] = tensor_of(DT_F32, log_score, 3, 1, 1, chain->states);
    trial.in[1] = tensor_of(DT_TOKEN, x, 2, 1, 1, 0);
    trial.in[2] = tensor_of(DT_F64, sigma, 1, 1, 0, 0);
    trial.out = trial.in[0];
    return trial;
}

static double *project(const struct chain *chain, float *log_score, int32_t *x, double *sigma)
{
    struct trial trial = projection(chain, log_score, x, sigma);
    return run_both(&trial, 1e-6);
}

/* Every entry within the ratios that there are, and the total rate within the largest of theirs; at
 * a mask of a flat chain the tokens sum to what all laws give. */
static void check_bounds(const struct chain *chain, const struct matrix *p, const double *log_score,
                         int x)
{
    double rate = 0, most = 0, tokens = 0, given = 0;
    for (int y = 0; y < chain->states; y++) {
        double low = INFINITY, high = 0, score = exp(log_score[y]);
        for (int x0 = 0; x0 < chain->tokens; x0++) {
            low = fmin(low, p->at[y][x0] / p->at[x][x0]);
            high = fmax(high, p->at[y][x0] / p->at[x][x0]);
        }
        tokens += y < chain->tokens && y != x ? score : 0;
        given += y < chain->tokens && y != x ? p->at[y][0] / p->at[x][0] : 0;
        rate += y == x ? 0 : chain_rate(chain, x, y) * score;
        if (chain->kind == CHAIN_TABLE || x != chain->mask)
            cr_assert(score >= low * (1 - 1e-6) && score <= high * (1 + 1e-6));
    }
    for (int x0 = 0; x0 < chain->tokens; x0++) {
        double total = 0;
        for (int y = 0; y < chain->states; y++)
            total += y == x ? 0 : chain_rate(chain, x, y) * p->at[y][x0] / p->at[x][x0];
        most = fmax(most, total);
    }
    cr_assert(rate <= most * (1 + 1e-6), "%g above %g", rate, most);
    if (chain->kind == CHAIN_FLAT && x == chain->mask)
        cr_assert_float_eq(tokens / given, 1, 1e-6);
    cr_assert_eq(log_score[x], 0);
}

/* Random scores against random mixtures: never further away after the projection, and the score of
 * a mixture stays where it is. 1e-6 allows for scores rounded to f32. */
Test(bound, projection_is_never_looser)
{
    int moved = 0;
    for (uint32_t i = 0; i < 1800; i++) {
        struct chain chain = chain_number((int)(i % CHAINS));
        double sigma = sigmas[i / CHAINS % SIGMAS], post[STATES_MAX], truth[STATES_MAX];
        struct matrix p = exponential(&chain, sigma);
        int32_t x = (int32_t)(i / 5 % (uint32_t)chain.states);
        x = chain_carries_over(&chain) ? chain.mask : x;
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
        check_bounds(&chain, &p, after, x);
        double old = divergence(&chain, truth, before, x);
        double new = divergence(&chain, truth, after, x);
        cr_assert(new <= old + 1e-6 * (1 + old), "%g became %g", old, new);
        moved += new < old - 1e-3 * old;
        free(after);
        for (int y = 0; y < chain.states; y++)
            log_score[y] = y == x ? 0 : (float)log(truth[y]);
        after = project(&chain, log_score, &x, &sigma);
        for (int y = 0; y < chain.states; y++)
            if (y == x || chain_rate(&chain, x, y) > 0)
                cr_assert_float_eq(after[y], log_score[y], 2e-6 * (1 + fabs(log_score[y])));
        free(after);
    }
    cr_assert(moved > 300, "the projection did something in %d cases only", moved);
}

/* Scores beyond the range of exp, as a strong guidance makes them: at a mask the largest token
 * takes all of the rate, which is 1 / (e^sigma - 1). */
Test(bound, projection_of_large_scores_saturates)
{
    const float large[2][4] = {{-1e5F, 2e5F, 1e5F, 0}, {-3e5F, -1e5F, -2e5F, 0}};
    for (int i = 0; i < 2; i++) {
        struct chain chain = chain_absorb(3);
        double sigma = 0.7;
        int32_t x = chain.mask;
        float log_score[4];
        memcpy(log_score, large[i], sizeof log_score);
        double *after = project(&chain, log_score, &x, &sigma);
        cr_assert_float_eq(after[1], -log(expm1(sigma)), 1e-6);
        cr_assert_lt(after[0], -9e4);
        cr_assert_lt(after[2], -9e4);
        free(after);
    }
}

/* A network that has diverged is not hidden: what says nothing is limited to no score, so that who
 * draws by it can tell. */
Test(bound, projection_keeps_what_is_no_number)
{
    int seen = 0;
    for (int i = 0; i < CHAINS * STATES_MAX; i++) {
        struct chain chain = chain_number(i % CHAINS);
        double sigma = 0.7;
        int32_t x = i / CHAINS;
        float log_score[STATES_MAX];
        if (x >= chain.states)
            continue;
        for (int y = 0; y < chain.states; y++)
            log_score[y] = NAN;
        struct trial trial = projection(&chain, log_score, &x, &sigma);
        int at = 0;
        for (const char *isa; (isa = isa_next(&at));) {
            double *after = run_kernel(&trial, isa);
            for (int y = 0; y < chain.states; y++) {
                if (y == x || !(chain_rate(&chain, x, y) > 0))
                    continue;
                cr_assert(isnan(after[y]), "chain %d on %s: %d from %d is %g", i % CHAINS, isa, y,
                          x, after[y]);
                seen++;
            }
            free(after);
        }
    }
    cr_assert_gt(seen, 100);
}

/* exp(-reconstruction) over all x0 is a distribution, strictly positive even where Tweedie weights
 * are clamped, and the normalised Tweedie weights where they are not. */
Test(bound, decoder_is_a_positive_distribution)
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
                    if (least > 0 || chain_carries_over(&chain))
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

/* KL(P[., x0] || base), from the matrix exponential, and the base of a leak by its definition:
 * sum over y of P[y][x0] log(P[y][x0] / base[y]). */
Test(bound, base_cost_is_the_divergence_from_the_base)
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
                if (!chain_leaks(&chain))
                    trial.in[2].data = NULL;
                double *cost = run_both(&trial, 1e-9), expected = 0;
                for (int y = 0; y < chain.states; y++) {
                    double base = chain_base(&chain, y), leak = exp(-chain.absorb * sigma);
                    if (chain_leaks(&chain))
                        base = y == chain.mask ? -expm1(-chain.absorb * sigma) : leak * law[y];
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

/* With the exact score and where sampling starts from p_T, integral + KL + reconstruction is
 * -log p0(x0) for each x0 and any chain. One position. */
Test(bound, bound_is_the_likelihood_at_the_exact_score)
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
            for (int x = 0; x < chain.states; x++)
                if (p.at[x][x0] > 0)
                    bound += p.at[x][x0] * log(p.at[x][x0] / last[x]);
            cr_assert_float_eq(bound, -log(p0[x0]), 1e-6, "%g against %g", bound, -log(p0[x0]));
        }
    }
}
