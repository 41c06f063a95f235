/* What a caller forbids is never drawn: a token of score 0 by steps that go by scores, an entry
 * that is not allowed by laws of a clean token. Laws of what is left are those of the formulas. */
#include "tests/ops/sampler_shot.h"

#include "ops/kernels/chain_room.h"

#define GRID 4000
#define BARRED 1 /* a real token of every chain */

/* OP on GRID copies of a position at X, by the uniforms (i + 1/2) / GRID, at COUNT numbers TIMES;
 * how often each state comes, into DRAWN. */
static void draw_grid(const struct op *op, const struct chain *chain, int32_t x,
                      const float *log_score, const double *times, uint32_t count, int64_t *drawn)
{
    struct shot s = shot_make(op, chain, GRID, 1, count, 4 + count);
    free(s.workspace);
    s.workspace = aligned_alloc(64, (size_t)room_round(chain_back_bytes(chain) + 64));
    cr_assert_not_null(s.workspace);
    set_all(&s.in[0], x);
    for (int64_t i = 0; i < GRID * chain->states; i++)
        ((float *)s.in[1].data)[i] = log_score[i % chain->states];
    for (uint32_t k = 0; k < count; k++)
        set_all(&s.in[2 + k], times[k]);
    s.in[3 + count] = tensor_make(DT_F64, 2, GRID, 1, 0);
    for (int i = 0; i < GRID; i++)
        ((double *)s.in[3 + count].data)[i] = (i + 0.5) / GRID;
    fire(&s);
    memset(drawn, 0, STATES * sizeof *drawn);
    for (int i = 0; i < GRID; i++)
        drawn[((int32_t *)s.out[0].data)[i]]++;
    shot_free(&s);
}

/* Scores of some size at X, 1 there and that of BARRED by its logarithm. */
static void scores_at(const struct chain *chain, int32_t x, float barred, float *log_score)
{
    for (int32_t y = 0; y < chain->states; y++)
        log_score[y] = y == x ? 0 : y == BARRED ? barred : (float)log(0.4 + 0.5 * y);
}

Test(sets, no_step_goes_to_a_score_of_zero)
{
    static const struct {
        const struct op *op;
        uint32_t times;
    } step[] = {{&op_tweedie, 2},
                {&op_denoise, 1},
                {&op_euler, 1},
                {&op_euler_linear, 1},
                {&op_corrector, 1}};
    static const double time[][2] = {{0.05, 0}, {0.8, 0.1}, {4, 0}};
    struct small_table table;
    for (int k = 0; k < CHAINS * 5 * 3 * 2; k++) {
        int at = k % 5, when = k / 5 % 3;
        struct chain chain = chain_number(k / 30, &table);
        for (int32_t x = 0; x < chain.states; x++) {
            float log_score[STATES];
            int64_t drawn[STATES];
            if (x == BARRED)
                continue;
            scores_at(&chain, x, k / 15 % 2 ? -INFINITY : -1e30f, log_score);
            draw_grid(step[at].op, &chain, x, log_score, time[when], step[at].times, drawn);
            cr_expect_eq(drawn[BARRED], 0, "%s of chain %d at %d, time %g: %d of %d",
                         step[at].op->name, k / 30, x, time[when][0], (int)drawn[BARRED], GRID);
        }
    }
}

static void check_shares(const struct chain *chain, const double *weight, const int64_t *drawn,
                         const char *what)
{
    double total = 0;
    for (int32_t y = 0; y < chain->states; y++)
        total += weight[y];
    for (int32_t y = 0; y < chain->states; y++)
        cr_expect(fabs((double)drawn[y] / GRID - weight[y] / total) < 1.5 / GRID,
                  "%s of %d states: %d has %.5f of the draws, not %.5f", what, chain->states, y,
                  (double)drawn[y] / GRID, weight[y] / total);
}

/* [exp(-D Q) s]_y P_D[x][y], and forward plus reverse rates, of all states but the barred one. */
Test(sets, what_is_left_has_the_law_of_the_formula)
{
    struct small_table table;
    for (int k = 0; k < CHAINS; k++) {
        struct chain chain = chain_number(k, &table);
        const int n = chain.states;
        double to[STATES * STATES], back[STATES * STATES], delta = 0.7;
        exponential(&chain, delta, to);
        exponential(&chain, -delta, back);
        for (int32_t x = 0; x < n; x++) {
            float log_score[STATES];
            double score[STATES], tweedie[STATES], rate[STATES], sum = 0;
            int64_t drawn[STATES];
            if (x == BARRED)
                continue;
            scores_at(&chain, x, -INFINITY, log_score);
            for (int y = 0; y < n; y++)
                score[y] = exp((double)log_score[y]);
            apply(back, n, score, tweedie);
            for (int y = 0; y < n; y++) {
                tweedie[y] = y == BARRED ? 0 : fmax(0, tweedie[y]) * to[x * n + y];
                rate[y] = y == BARRED || y == x
                              ? 0
                              : chain_rate(&chain, y, x) + chain_rate(&chain, x, y) * score[y];
                sum += rate[y];
            }
            rate[x] = sum > 0 ? sum / expm1(sum * delta) : 1;
            draw_grid(&op_tweedie, &chain, x, log_score, (double[]){delta, 0}, 2, drawn);
            check_shares(&chain, tweedie, drawn, "tweedie");
            draw_grid(&op_corrector, &chain, x, log_score, &delta, 1, drawn);
            check_shares(&chain, rate, drawn, "corrector");
        }
    }
}

/* At any temperature, and where more entries are asked for than are allowed. */
Test(sets, a_law_keeps_what_is_allowed)
{
    static const double temperature[] = {1e-30, 1, 1e30};
    static const float row[] = {-1, -0.5f, -3, -1, -2, -0.1f};
    static const uint8_t allowed[] = {1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    for (int k = 0; k < 3 * 3; k++) {
        struct shot s = {.op = &op_restrict, .in_count = 2, .out_count = 1};
        s.in[0] = tensor_make(DT_F32, 2, 2, 6, 0);
        s.in[1] = tensor_make(DT_BOOL, 2, 2, 6, 0);
        s.out[0] = tensor_make(DT_F32, 2, 2, 6, 0);
        for (int i = 0; i < 12; i++)
            ((float *)s.in[0].data)[i] = row[i % 6];
        memcpy(s.in[1].data, allowed, sizeof allowed);
        s.attr[RESTRICT_TEMPERATURE].real = temperature[k % 3];
        s.attr[RESTRICT_TOP_K].integer = k / 3 == 1 ? 4 : 0;
        s.attr[RESTRICT_TOP_P].real = k / 3 == 2 ? 0.999 : 1;
        fire(&s);
        const float *out = s.out[0].data;
        double t = temperature[k % 3], first = 1 / (1 + exp(-2 / t));
        cr_expect_float_eq(exp((double)out[0]), first, 1e-6);
        cr_expect_float_eq(exp((double)out[2]), 1 - first, 1e-6);
        for (int i = 0; i < 12; i++)
            cr_expect(allowed[i] || out[i] == -INFINITY, "temperature %g: %d has %g", t, i,
                      (double)out[i]);
        for (int i = 0; i < 2; i++)
            free(s.in[i].data);
        free(s.out[0].data);
    }
}
