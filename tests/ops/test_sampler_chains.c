/* Samplers run to the end on two tokens with exact conditionals, by histograms against
 * distributions that are enumerated. */
#include "tests/ops/sampler_shot.h"

/* ------------------------------------------------------------- two tokens, exact conditionals */

#define ROWS 12000

/* p0 of two clean tokens. */
static void joint_law(int n, double *p0)
{
    double sum = 0;
    for (int i = 0; i < n * n; i++)
        sum += p0[i] = i / n == i % n ? 3 + i : 0.5 + 0.1 * i;
    for (int i = 0; i < n * n; i++)
        p0[i] /= sum;
}

/* p_sigma of two tokens, over states x states. */
static void joint_at(const struct chain *chain, double sigma, const double *p0, double *out)
{
    int n = chain->tokens, m = chain->states;
    double p[STATES * STATES];
    exponential(chain, sigma, p);
    for (int i = 0; i < m * m; i++) {
        out[i] = 0;
        for (int j = 0; j < n * n; j++)
            out[i] += p[i / m * m + j / n] * p[i % m * m + j % n] * p0[j];
    }
}

/* Log scores of both positions of a row at SIGMA; columns of probability 0 get -inf. */
static void joint_scores(const struct chain *chain, const double *joint, const int32_t *x,
                         float *out)
{
    int m = chain->states;
    double here = joint[x[0] * m + x[1]];
    for (int y = 0; y < m; y++) {
        out[y] = (float)log(joint[y * m + x[1]] / here);
        out[m + y] = (float)log(joint[x[0] * m + y] / here);
    }
}

static void check_histogram(const int32_t *x, int m, const double *law, const char *what)
{
    for (int k = 0; k < m * m; k++) {
        double count = 0, error = sqrt(fmax(law[k] * (1 - law[k]), 1e-12) / ROWS);
        for (int i = 0; i < ROWS; i++)
            count += x[2 * i] * m + x[2 * i + 1] == k;
        cr_expect(fabs(count / ROWS - law[k]) < 3.5 * error,
                  "%s: %d has %.4f of the draws, not %.4f", what, k, count / ROWS, law[k]);
    }
}

/* log p(x0 at position I | the other) for absorb: uncovered positions are given. */
static void masked_laws(const double *p0, int n, const int32_t *x, float *out)
{
    for (int i = 0; i < 2; i++) {
        double law[STATES] = {0}, sum = 0;
        for (int k = 0; k < n * n; k++)
            if (x[1 - i] == n || (i ? k / n : k % n) == x[1 - i])
                sum += law[i ? k % n : k / n] += p0[k];
        sum = 0;
        for (int y = 0; y < n; y++)
            sum += law[y];
        for (int y = 0; y <= n; y++)
            out[i * (n + 1) + y] = (float)log(law[y] / sum);
    }
}

/* First hitting draws p0, and its times are those of the process: the number of masks at sigma. */
Test(samplers, first_hitting_draws_the_data)
{
    struct chain chain = chain_absorb(2);
    double p0[4], full[9] = {0}, at = 0.8, early = 0;
    joint_law(2, p0);
    struct shot hit = shot_make(&op_first_hit, &chain, ROWS, 2, 0, 3);
    struct shot one = shot_make(&op_reveal_one, &chain, ROWS, 2, 0, 2);
    int32_t *x = hit.in[0].data;
    struct tensor to = hit.out[1];
    free(hit.in[1].data);
    free(hit.out[0].data);
    hit.in[1] = tensor_make(DT_F64, 1, ROWS, 0, 0);
    hit.out[0] = to;
    hit.out[1] = (struct tensor){0};
    set_all(&hit.in[0], 2);
    set_all(&hit.in[1], 40);
    for (int turn = 0; turn < 2; turn++) {
        fire(&hit);
        memcpy(hit.in[1].data, to.data, ROWS * sizeof(double));
        for (int i = 0; i < ROWS; i++) {
            masked_laws(p0, 2, x + 2 * i, (float *)one.in[1].data + 6 * i);
            if (turn == 0)
                early += ((double *)to.data)[i] > at;
        }
        memcpy(one.in[0].data, x, ROWS * 2 * sizeof *x);
        fire(&one);
        memcpy(x, one.out[0].data, ROWS * 2 * sizeof *x);
    }
    for (int k = 0; k < 4; k++)
        full[k / 2 * 3 + k % 2] = p0[k];
    check_histogram(x, 3, full, "first hitting");
    double none = -expm1(-at) * -expm1(-at); /* both still masked at `at` */
    cr_expect(fabs(early / ROWS - (1 - none)) < 3.5 * sqrt(none * (1 - none) / ROWS));
    shot_free(&hit);
    shot_free(&one);
}

static void check_thinning(const struct chain *chain, double cap, double from, double to)
{
    enum { TABLE = 500 }; /* laws are tabulated at as many noises, even in log sigma */
    int m = chain->states;
    double p0[STATES * STATES], law[STATES * STATES], most = 0;
    struct shot next = shot_make(&op_thin_next, chain, ROWS, 2, 0, 4);
    struct shot jump = shot_make(&op_thin_jump, chain, ROWS, 2, 1, 5);
    int32_t *x = next.in[0].data;
    joint_law(chain->tokens, p0);
    joint_at(chain, from, p0, law);
    free(next.in[1].data);
    free(next.out[0].data);
    next.in[1] = tensor_make(DT_F64, 1, ROWS, 0, 0);
    next.out[0] = tensor_make(DT_F64, 1, ROWS, 0, 0);
    next.attr[THIN_CAP].real = cap;
    double *sigma = next.in[1].data, *seen = next.out[0].data, *rate = next.out[1].data;
    for (int i = 0; i < ROWS; i++) {
        double u = random_uniform(random_key(3, "start"), 0, 0, 0, (uint32_t)i);
        int k = 0;
        for (; k < m * m - 1 && u >= law[k]; k++)
            u -= law[k];
        x[2 * i] = k / m;
        x[2 * i + 1] = k % m;
        sigma[i] = from;
    }
    static double tabled[TABLE + 1][STATES * STATES];
    for (int k = 0; k <= TABLE; k++)
        joint_at(chain, to * pow(from / to, (double)k / TABLE), p0, tabled[k]);
    for (int turn = 0, alive = 1; alive && turn < 400; turn++) {
        alive = 0;
        fire(&next);
        for (int i = 0; i < ROWS; i++) {
            bool ended = !(seen[i] > to);
            sigma[i] = ended ? to : seen[i];
            ((double *)jump.in[2].data)[i] = ended ? INFINITY : rate[i];
            alive += !ended;
            double place = log(sigma[i] / to) / log(from / to) * TABLE;
            int k = place < TABLE ? (int)place : TABLE - 1;
            double between[STATES * STATES];
            for (int j = 0; j < m * m; j++)
                between[j] = tabled[k][j] + (place - k) * (tabled[k + 1][j] - tabled[k][j]);
            joint_scores(chain, between, x + 2 * i, (float *)jump.in[1].data + 2 * m * i);
        }
        memcpy(jump.in[0].data, x, ROWS * 2 * sizeof *x);
        fire(&jump);
        memcpy(x, jump.out[0].data, ROWS * 2 * sizeof *x);
        for (int i = 0; i < ROWS; i++)
            most += ((double *)jump.out[1].data)[i];
    }
    cr_expect(most == 0, "%g rates above the bound", most);
    joint_at(chain, to, p0, law);
    check_histogram(x, m, law, "thinning");
    shot_free(&next);
    shot_free(&jump);
}

Test(samplers, thinning_a_uniform_chain)
{
    struct chain chain = chain_uniform(2);
    check_thinning(&chain, 0, 4, 0.02);
}
Test(samplers, thinning_a_mixture)
{
    struct chain chain = chain_mix(2, 0.6, 0.4, 0.4);
    check_thinning(&chain, 0, 3, 0.05);
}
Test(samplers, thinning_a_table)
{
    struct small_table table;
    struct chain chain = table_make(&table, 3, dense_rate);
    check_thinning(&chain, 2.5, 2, 0.1);
}

/* Data {00, 11}, n equal steps of 1 - alpha = t: two tokens that are revealed in one step disagree
 * half of the time, so P(01 or 10) = 1/(2n). */
Test(samplers, tokens_of_one_step_are_independent)
{
    struct chain chain = chain_absorb(2);
    const double p0[] = {0.5, 0, 0, 0.5};
    const int n = 4;
    struct shot s = shot_make(&op_ancestral, &chain, ROWS, 2, 2, 6);
    int32_t *x = s.in[0].data;
    double odd = 0, law = 1.0 / (2 * n);
    set_all(&s.in[0], 2);
    for (int k = n; k > 0; k--) {
        set_all(&s.in[2], k == n ? 700 : -log1p(-(double)k / n));
        set_all(&s.in[3], -log1p(-(double)(k - 1) / n));
        for (int i = 0; i < ROWS; i++)
            masked_laws(p0, 2, x + 2 * i, (float *)s.in[1].data + 6 * i);
        fire(&s);
        memcpy(x, s.out[0].data, ROWS * 2 * sizeof *x);
    }
    for (int i = 0; i < ROWS; i++) {
        cr_assert(x[2 * i] < 2 && x[2 * i + 1] < 2);
        odd += x[2 * i] != x[2 * i + 1];
    }
    cr_expect(fabs(odd / ROWS - law) < 3.5 * sqrt(law * (1 - law) / ROWS), "%.4f, not %.4f",
              odd / ROWS, law);
    shot_free(&s);
}

/* Choosing the position first and then its token is exact one at a time; drawing all and keeping
 * the likeliest is not, even with exact conditionals. */
Test(samplers, confidence_orders_are_two)
{
    struct chain chain = chain_absorb(2);
    double p0[] = {0.6, 0.05, 0.05, 0.3}, full[9] = {0}, kept = 0;
    for (int k = 0; k < 4; k++)
        full[k / 2 * 3 + k % 2] = p0[k];
    for (int best = 0; best < 2; best++) {
        struct shot draw = shot_make(&op_draw_law, &chain, ROWS, 2, 0, 2);
        struct shot sure = shot_make(&op_confidence, &chain, ROWS, 2, 0, 3);
        struct shot show = shot_make(&op_reveal, &chain, ROWS, 2, 2, 4);
        int32_t *x = show.in[0].data;
        free(draw.in[0].data);
        draw.in[0] = draw.in[1];
        draw.in[1] = (struct tensor){0};
        free(sure.out[0].data);
        sure.out[0] = tensor_make(DT_F64, 2, ROWS, 2, 0);
        free(show.in[1].data);
        free(show.in[2].data);
        show.in[1] = tensor_make(DT_TOKEN, 2, ROWS, 2, 0);
        show.in[2] = tensor_make(DT_F64, 2, ROWS, 2, 0);
        sure.in[2] = best ? tensor_make(DT_TOKEN, 2, ROWS, 2, 0) : (struct tensor){0};
        set_all(&show.in[0], 2);
        for (int left = 1; left >= 0; left--) {
            for (int i = 0; i < ROWS; i++)
                masked_laws(p0, 2, x + 2 * i, (float *)draw.in[0].data + 6 * i);
            fire(&draw);
            memcpy(sure.in[0].data, x, ROWS * 2 * sizeof *x);
            memcpy(sure.in[1].data, draw.in[0].data, ROWS * 6 * sizeof(float));
            memcpy(show.in[1].data, draw.out[0].data, ROWS * 2 * sizeof *x);
            if (best)
                memcpy(sure.in[2].data, draw.out[0].data, ROWS * 2 * sizeof *x);
            fire(&sure);
            memcpy(show.in[2].data, sure.out[0].data, ROWS * 2 * sizeof(double));
            set_all(&show.in[3], left);
            fire(&show);
            memcpy(x, show.out[0].data, ROWS * 2 * sizeof *x);
        }
        if (!best)
            check_histogram(x, 3, full, "position first");
        for (int i = 0; best && i < ROWS; i++)
            kept += x[2 * i] == 0 && x[2 * i + 1] == 0;
        shot_free(&draw);
        shot_free(&sure);
        shot_free(&show);
    }
    /* P(00) when the likelier of the two drawn tokens is kept: a 0 is drawn somewhere with
     * 1 - 0.35^2, and the other token is then 0 with 0.6 / 0.65. */
    double law = (1 - 0.35 * 0.35) * 0.6 / 0.65;
    cr_expect(fabs(kept / ROWS - law) < 3.5 * sqrt(law * (1 - law) / ROWS), "%.4f, not %.4f",
              kept / ROWS, law);
}

/* Two of four masks beside a token: each pair of them is as likely as the others. */
Test(samplers, a_random_order_takes_each_set_of_masks_as_often)
{
    struct chain chain = chain_absorb(2);
    struct shot sure = shot_make(&op_confidence, &chain, ROWS, 5, 0, 2);
    struct shot show = shot_make(&op_reveal, &chain, ROWS, 5, 2, 4);
    double count[32] = {0}, chi = 0, expected = ROWS / 6.0;
    free(sure.out[0].data);
    sure.out[0] = tensor_make(DT_F64, 2, ROWS, 5, 0);
    sure.attr[CONFIDENCE_BY].integer = BY_RANDOM;
    free(show.in[1].data);
    free(show.in[2].data);
    show.in[1] = tensor_make(DT_TOKEN, 2, ROWS, 5, 0);
    show.in[2] = tensor_make(DT_F64, 2, ROWS, 5, 0);
    for (int i = 0; i < ROWS * 5; i++)
        ((int32_t *)sure.in[0].data)[i] = i % 5 == 2 ? 1 : 2;
    memcpy(show.in[0].data, sure.in[0].data, ROWS * 5 * sizeof(int32_t));
    set_all(&show.in[3], 2);
    fire(&sure);
    memcpy(show.in[2].data, sure.out[0].data, ROWS * 5 * sizeof(double));
    fire(&show);
    const int32_t *x = show.out[0].data;
    for (int row = 0; row < ROWS; row++) {
        int shown = 0;
        for (int i = 0; i < 5; i++)
            shown |= (i != 2 && x[5 * row + i] == 0) << i;
        cr_assert(x[5 * row + 2] == 1);
        count[shown]++;
    }
    for (int i = 0; i < 5; i++)
        for (int j = i + 1; j < 5; j++)
            if (i != 2 && j != 2)
                chi += pow(count[1 << i | 1 << j] - expected, 2) / expected;
    /* 5 degrees of freedom; another set than a pair is missing among the pairs. */
    cr_expect(chi < 20.5, "chi-square %.1f: 20.5 is passed once in a thousand", chi);
    shot_free(&sure);
    shot_free(&show);
}
