/* Score networks' output, and the score entropy with its gradient. Shapes and mathematics:
 * ops/score.c. Sums over states are in double; each row is one thread's. */
#include "ops/kernels/cpu/score_row.h"

#include "ops/kernels/attrs.h"

static void score_output(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const float *raw = call->in[0].data;
    const int32_t *x = call->in[1].data;
    float *out = call->out[0].data;
    struct positions at = positions_of(&call->in[1]);
    int64_t states = chain->states;
    bool scaled = call->attr[SCORE_OUTPUT_SCALE].flag;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        struct transition noise = transition_flat(chain, time_at(&call->in[2], p / at.length));
        score_output_row(&noise, scaled, raw + p * states, x[p], out + p * states);
    }
}

static void score_output_backward(const struct kernel_call *call)
{
    const float *dout = call->in[0].data;
    const int32_t *x = call->in[1].data;
    float *out = call->out[0].data;
    struct positions at = positions_of(&call->in[1]);
    int64_t states = call->chain->states;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
#pragma omp simd
        for (int64_t y = 0; y < states; y++)
            out[p * states + y] = dout[p * states + y];
        out[p * states + x[p]] = 0;
    }
}

static double table_entropy(const struct transition *p, const float *row, int32_t x, int32_t x0)
{
    const struct rates *rates = p->chain->rates;
    const double *column = p->p + (int64_t)x0 * p->chain->states;
    double sum = 0, log_at = log(column[x]);
    for (int64_t k = rates->into_start[x]; k < rates->into_start[x + 1]; k++) {
        int32_t y = rates->of[k];
        sum += rates->into_rate[k] *
               entropy_term(row[y], column[y] / column[x], log(column[y]) - log_at);
    }
    return sum;
}

static void table_score_entropy(const struct kernel_call *call, struct positions at)
{
    const struct chain *chain = call->chain;
    const float *log_score = call->in[0].data;
    const int32_t *x = call->in[1].data, *x0 = call->in[2].data;
    double *out = call->out[0].data;
    for (int64_t row = 0; row < at.rows; row++) {
        int64_t first = row * at.length;
        struct transition p = room_transition(chain, time_at(&call->in[3], row), x0 + first,
                                              at.length, call->workspace, call->threads);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * chain->states > LAW_PARALLEL)
        for (int64_t i = first; i < first + at.length; i++)
            out[i] = table_entropy(&p, log_score + i * chain->states, x[i], x0[i]);
    }
}

static void score_entropy(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const float *log_score = call->in[0].data;
    const int32_t *x = call->in[1].data, *x0 = call->in[2].data;
    double *out = call->out[0].data;
    struct positions at = positions_of(&call->in[1]);
    int64_t states = chain->states;
    if (chain->kind == CHAIN_TABLE) {
        table_score_entropy(call, at);
        return;
    }
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        struct transition noise = transition_flat(chain, time_at(&call->in[3], p / at.length));
        if (chain_frozen(chain, x[p]))
            out[p] = 0;
        else
            out[p] = flat_entropy(&noise, log_score + p * states, x[p], x0[p]);
    }
}

static double sum_log_scores(const float *log_score, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t y = 0; y < n; y++)
        sum += (double)log_score[y];
    return sum;
}

/* RATE (log rho - log s_y) d rho / d sigma of the pair (x, y). */
static double pair_time_slope(const struct transition *p, double rate, double log_score, int32_t y,
                              int32_t x, int32_t x0)
{
    double rho = transition_at(p, y, x0) / transition_at(p, x, x0);
    if (!(rho > 0))
        return 0;
    return rate * (log(rho) - log_score) * rho * transition_log_ratio_slope(p, y, x, x0);
}

/* Sum over y != x of these, by pairs of one ratio. */
static double flat_time_slope(const struct transition *p, const struct flat_pairs *q,
                              const float *row, int32_t x, int32_t x0)
{
    const struct chain *chain = p->chain;
    double sum = 0;
    int32_t others = chain->tokens - (q->high > q->low ? 2 : 1);
    int32_t other = 0; /* any token but x and x0 */
    while (other == q->low || other == q->high)
        other++;
    if (others > 0 && q->rho > 0 && (x == x0 || x == chain->mask)) {
        double logs = sum_log_scores(row, q->low) +
                      sum_log_scores(row + q->low + 1, q->high - q->low - 1) +
                      sum_log_scores(row + q->high + 1, chain->tokens - q->high - 1);
        sum = q->rate * (others * q->log_rho - logs) * q->rho *
              transition_log_ratio_slope(p, other, x, x0);
    }
    if (q->x0 >= 0)
        sum += pair_time_slope(p, q->rate, row[x0], x0, x, x0);
    if (q->mask_rate > 0)
        sum += pair_time_slope(p, q->mask_rate, row[chain->mask], chain->mask, x, x0);
    return sum;
}

static double flat_slope(const struct transition *p, const float *row, double g, int32_t x,
                         int32_t x0, float *slope)
{
    const struct flat_pairs q = flat_pairs(p, x, x0);
    double dsigma = g * flat_time_slope(p, &q, row, x, x0);
    flat_entropy_slope(p, row, g, x, x0, slope); /* which may overwrite the row */
    return dsigma;
}

/* MOVED: column X0 of dP / dsigma. The row of the scores may be that of the slopes: it is read into
 * SCORE first. */
static double table_slopes(const struct transition *p, const double *moved, const float *row,
                           double g, int32_t x, int32_t x0, double *score, float *slope)
{
    const struct chain *chain = p->chain;
    const struct rates *rates = chain->rates;
    const double *column = p->p + (int64_t)x0 * chain->states;
    double sum = 0, at_x = moved[x] / column[x];
    for (int32_t y = 0; y < chain->states; y++) {
        score[y] = (double)row[y];
        slope[y] = 0;
    }
    for (int64_t k = rates->into_start[x]; k < rates->into_start[x + 1]; k++) {
        int32_t y = rates->of[k];
        double rate = rates->into_rate[k], rho = column[y] / column[x];
        slope[y] = (float)(g * rate * (exp(score[y]) - rho));
        if (rho > 0)
            sum += rate * (log(rho) - score[y]) * rho * (moved[y] / column[y] - at_x);
    }
    return g * sum;
}

static void table_entropy_backward(const struct kernel_call *call, struct positions at)
{
    const struct chain *chain = call->chain;
    const float *log_score = call->in[0].data;
    const int32_t *x = call->in[1].data, *x0 = call->in[2].data;
    const double *dloss = call->in[4].data;
    float *out = call->out[0].data;
    double *dsigma = call->out[1].data;
    int64_t states = chain->states;
    for (int64_t row = 0; row < at.rows; row++) {
        int64_t first = row * at.length;
        struct transition p = room_transition(chain, time_at(&call->in[3], row), x0 + first,
                                              at.length, call->workspace, call->threads);
        const double *moved =
            room_slopes(&p, x0 + first, at.length, call->workspace, call->threads);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * states > LAW_PARALLEL)
        for (int64_t slot = 0; slot < ROOM_SLOTS; slot++)
            for (int64_t i = first + slot; i < first + at.length; i += ROOM_SLOTS)
                dsigma[i] = table_slopes(
                    &p, moved + x0[i] * states, log_score + i * states, dloss[i], x[i], x0[i],
                    room_row(call->workspace, chain, slot, 0), out + i * states);
    }
}

static void score_entropy_backward(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const float *log_score = call->in[0].data;
    const int32_t *x = call->in[1].data, *x0 = call->in[2].data;
    const double *dloss = call->in[4].data;
    float *out = call->out[0].data;
    double *dsigma = call->out[1].data;
    struct positions at = positions_of(&call->in[1]);
    int64_t states = chain->states;
    if (chain->kind == CHAIN_TABLE) {
        table_entropy_backward(call, at);
        return;
    }
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        float *slope = out + p * states;
        if (chain_frozen(chain, x[p]) || dloss[p] == 0) {
            memset(slope, 0, (size_t)states * sizeof *slope);
            dsigma[p] = 0;
            continue;
        }
        struct transition noise = transition_flat(chain, time_at(&call->in[3], p / at.length));
        dsigma[p] = flat_slope(&noise, log_score + p * states, dloss[p], x[p], x0[p], slope);
    }
}

static void may_move(const struct kernel_call *call)
{
    const int32_t *x = call->in[0].data;
    uint8_t *out = call->out[0].data;
    for (int64_t i = 0; i < tensor_size(&call->in[0]); i++)
        out[i] = !chain_frozen(call->chain, x[i]);
}

KERNEL_LIST(score) = {
    {"score_output", "ftd>f", score_output},
    {"score_output_backward", "ft>f", score_output_backward},
    {"score_entropy", "fttd>d", score_entropy},
    {"score_entropy_backward", "fttdd>fd", score_entropy_backward},
    {"may_move", "t>b", may_move},
    {0},
};
