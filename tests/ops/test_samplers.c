/* One-step laws of the samplers against their formulas, by uniforms on a fine even grid, at the
 * edges of the CDF; draws of them are in test_million.c. */
#include "tests/ops/sampler_shot.h"

/* ------------------------------------------------------------------------------- one step */

#define GRID 40000

/* Runs S, whose rows are GRID copies of one position, with the uniforms (i + 1/2) / GRID as input
 * U, and compares the share of every state with LAW (of any scale), to the grid's resolution. */
static void check_law(struct shot *s, uint32_t u, const double *law, const char *what)
{
    double total = 0;
    int64_t count[STATES] = {0};
    s->in[u] = tensor_make(DT_F64, 2, GRID, 1, 0);
    for (int i = 0; i < GRID; i++)
        ((double *)s->in[u].data)[i] = (i + 0.5) / GRID;
    fire(s);
    for (int i = 0; i < GRID; i++)
        count[((int32_t *)s->out[0].data)[i]]++;
    for (int y = 0; y < s->chain->states; y++)
        total += law[y];
    for (int y = 0; y < s->chain->states; y++)
        cr_expect(fabs((double)count[y] / GRID - law[y] / total) < 1.5 / GRID,
                  "%s: state %d has %.6f of the draws, its probability is %.6f", what, y,
                  (double)count[y] / GRID, law[y] / total);
}

/* Both heads give p(x_s | x_t) ~ P_D[x][y] (P_s p0)_y when they are exact. f32 logs are within
 * 1e-7. */
Test(samplers, ancestral_step_is_the_exact_conditional)
{
    struct small_table table;
    for (int k = 0; k < CHAINS; k++) {
        struct chain chain = chain_number(k, &table);
        double pt[STATES * STATES], ps[STATES * STATES], pd[STATES * STATES], p0[STATES],
            at_s[STATES], at_t[STATES];
        int n = chain.states;
        clean_law(&chain, p0);
        exponential(&chain, 1.1, pt);
        exponential(&chain, 0.4, ps);
        exponential(&chain, 0.7, pd);
        apply(ps, n, p0, at_s);
        apply(pt, n, p0, at_t);
        for (int x = 0; x < n; x++)
            for (int head = 0; head < 2; head++) {
                struct shot s = shot_make(&op_ancestral, &chain, GRID, 1, 2, 6);
                double law[STATES], given[STATES];
                for (int y = 0; y < n; y++) {
                    given[y] = head ? p0[y] : pt[x * n + y] * p0[y] / at_t[x];
                    law[y] = pd[x * n + y] * at_s[y];
                }
                set_rows(&s, x, given);
                set_all(&s.in[2], 1.1);
                set_all(&s.in[3], 0.4);
                s.attr[ANCESTRAL_HEAD].integer = head ? ANCESTRAL_CAVITY : ANCESTRAL_POSTERIOR;
                check_law(&s, 5, law, head ? "cavity" : "posterior");
                shot_free(&s);
            }
    }
}

/* A move of probability 1e-7 happens for uniforms on one side of the edge and not on the other. */
Test(samplers, rare_moves_have_their_edge)
{
    struct chain chain = chain_absorb(2);
    struct shot s = shot_make(&op_ancestral, &chain, 2, 1, 2, 6);
    double law[] = {0.25, 0.75, 0}, sigma_s = 1, sigma_t = 1 + 1e-7;
    double moves = (exp(-sigma_s) - exp(-sigma_t)) / -expm1(-sigma_t);
    set_rows(&s, 2, law);
    set_all(&s.in[2], sigma_t);
    set_all(&s.in[3], sigma_s);
    for (int edge = 0; edge < 2; edge++) { /* between tokens, and between moving and staying */
        s.in[5] = tensor_make(DT_F64, 2, 2, 1, 0);
        double *u = s.in[5].data, at = edge ? moves : moves * 0.25;
        u[0] = at * (1 - 1e-5);
        u[1] = at * (1 + 1e-5);
        fire(&s);
        const int32_t *y = s.out[0].data;
        cr_assert_eq(y[0], edge);
        cr_assert_eq(y[1], edge + 1);
        free(s.in[5].data);
        s.in[5].data = NULL;
    }
    shot_free(&s);
}

/* Forward plus reverse rates leave p_sigma as it is, and the op draws by them. */
Test(samplers, corrector_leaves_the_law)
{
    struct small_table table;
    for (int k = 0; k < CHAINS; k++) {
        struct chain chain = chain_number(k, &table);
        double p[STATES * STATES], p0[STATES], at[STATES], flow[STATES] = {0}, step = 0.3;
        int n = chain.states;
        clean_law(&chain, p0);
        exponential(&chain, 0.9, p);
        apply(p, n, p0, at);
        for (int x = 0; x < n; x++) {
            double law[STATES], score[STATES], rate = 0;
            for (int y = 0; y < n; y++) {
                score[y] = at[y] / at[x];
                law[y] =
                    y == x ? 0 : chain_rate(&chain, y, x) + chain_rate(&chain, x, y) * score[y];
                rate += law[y];
                flow[y] += law[y] * at[x];
            }
            flow[x] -= rate * at[x];
            law[x] = rate / expm1(rate * step);
            struct shot s = shot_make(&op_corrector, &chain, GRID, 1, 1, 5);
            set_rows(&s, x, score);
            set_all(&s.in[2], step);
            check_law(&s, 4, law, "corrector");
            shot_free(&s);
        }
        for (int y = 0; y < n; y++)
            cr_expect(fabs(flow[y]) < 1e-12, "state %d gains %g", y, flow[y]);
    }
}

/* Given the exact law of the clean token, the marginal after the step is the process's at any r. */
Test(samplers, remasking_keeps_the_marginal)
{
    struct chain chain = chain_absorb(3);
    double p0[STATES], from = 1.3, to = 0.5, a = exp(-from), b = exp(-to);
    clean_law(&chain, p0);
    for (int k = 0; k < 3; k++) {
        double r = k == 2 ? 0.9 : 0.2 * k, bound = fmin(r, (1 - b) / a), masked = 0;
        for (int x = 0; x < 4; x++) {
            double law[STATES] = {0};
            if (x == 3) {
                for (int y = 0; y < 3; y++)
                    law[y] = p0[y] * (b - (1 - bound) * a) / (1 - a);
                law[3] = (1 - b - bound * a) / (1 - a);
            } else {
                law[x] = 1 - bound;
                law[3] = bound;
            }
            masked += law[3] * (x == 3 ? 1 - a : p0[x] * a);
            struct shot s = shot_make(&op_remask, &chain, GRID, 1, 3, 7);
            set_rows(&s, x, p0);
            set_all(&s.in[2], from);
            set_all(&s.in[3], to);
            set_all(&s.in[4], r);
            check_law(&s, 6, law, "remask");
            shot_free(&s);
        }
        cr_expect(fabs(masked - (1 - b)) < 1e-12);
    }
}

/* ------------------------------------------------------------------------------ restrictions */

static void check_restrict(double temperature, int64_t top_k, double top_p, const double *expected)
{
    const double law[] = {0.2, 0.45, 0.05, 0.3};
    struct shot s = {.op = &op_restrict, .in_count = 1, .out_count = 1};
    s.in[0] = tensor_make(DT_F32, 2, 1, 4, 0);
    s.out[0] = tensor_make(DT_F32, 2, 1, 4, 0);
    for (int i = 0; i < 4; i++)
        ((float *)s.in[0].data)[i] = (float)log(law[i]);
    s.attr[RESTRICT_TEMPERATURE].real = temperature;
    s.attr[RESTRICT_TOP_K].integer = top_k;
    s.attr[RESTRICT_TOP_P].real = top_p;
    fire(&s);
    for (int i = 0; i < 4; i++)
        cr_expect(fabs(exp((double)((float *)s.out[0].data)[i]) - expected[i]) < 1e-6,
                  "temperature %g top_k %d top_p %g: %d", temperature, (int)top_k, top_p, i);
    free(s.in[0].data);
    free(s.out[0].data);
}

Test(samplers, what_is_left_of_a_law)
{
    check_restrict(1, 0, 1, (double[]){0.2, 0.45, 0.05, 0.3});
    check_restrict(1, 2, 1, (double[]){0, 0.6, 0, 0.4});
    check_restrict(1, 0, 0.44, (double[]){0, 1, 0, 0});
    check_restrict(1, 0, 0.46, (double[]){0, 0.6, 0, 0.4}); /* the one that crosses p stays */
    check_restrict(1, 0, 0.76, (double[]){4 / 19.0, 9 / 19.0, 0, 6 / 19.0});
    check_restrict(1, 2, 0.59, (double[]){0, 1, 0, 0}); /* p of what top_k left: 0.6 and 0.4 */
    check_restrict(0.5, 2, 1, (double[]){0, 9 / 13.0, 0, 4 / 13.0});
    check_restrict(0.5, 2, 0.65, (double[]){0, 1, 0, 0}); /* the temperature comes first */
}

/* ---------------------------------------------------------------------------------- the tail */

/* A masked step of 1/T moves each token with probability p(y) / T: the law of what moves must be p
 * for any T. Zipf(1.2) over 50257 words; its entropy, by uniforms that are even on the part where
 * moves are. */
Test(samplers, the_tail_survives_many_steps)
{
    enum { WORDS = 50257, DRAWS = 120 };
    struct chain chain = chain_absorb(WORDS);
    double *law = calloc(WORDS + 1, sizeof *law), total = 0, entropy = 0;
    for (int y = 0; y < WORDS; y++)
        total += law[y] = pow(y + 1, -1.2);
    for (int y = 0; y < WORDS; y++) {
        law[y] /= total;
        entropy -= law[y] * log(law[y]);
    }
    struct shot s = shot_make(&op_ancestral, &chain, 1, 1, 2, 6);
    set_rows(&s, WORDS, law);
    s.in[5] = tensor_make(DT_F64, 2, 1, 1, 0);
    for (int steps = 16; steps <= 4096; steps *= 256) {
        double found = 0, t = 0.5, moves = 1.0 / steps / t; /* 1 - alpha = t */
        ((double *)s.in[2].data)[0] = -log1p(-t);
        ((double *)s.in[3].data)[0] = -log1p(-(t - 1.0 / steps));
        for (int i = 0; i < DRAWS; i++) {
            ((double *)s.in[5].data)[0] = moves * (i + 0.5) / DRAWS;
            fire(&s);
            int32_t y = ((int32_t *)s.out[0].data)[0];
            cr_assert(y < WORDS);
            found -= log(law[y]) / DRAWS;
        }
        cr_expect(fabs(found - entropy) < 0.05, "%d steps: %.3f nats, not %.3f", steps, found,
                  entropy);
    }
    shot_free(&s);
    free(law);
}
