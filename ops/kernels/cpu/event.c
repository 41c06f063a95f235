/* Samplers that jump once a call; ops/event.c says what they are. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/law.h"
#include "ops/kernels/sampler_law.h"

static double row_uniform(const struct kernel_call *call, uint32_t i, int64_t row)
{
    return uniform_of(call, i, row, 0, 1);
}

static int64_t masks_of(const struct kernel_call *call, int64_t row, int64_t length)
{
    const int32_t *x = (const int32_t *)call->in[0].data + row * length;
    int64_t masks = 0;
    for (int64_t i = 0; i < length; i++)
        masks += x[i] == call->chain->mask;
    return masks;
}

static void first_hit(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    double *out = call->out[0].data;
    const double a = call->chain->absorb;
    for (int64_t row = 0; row < at.rows; row++) {
        int64_t n = masks_of(call, row, at.length);
        double noised = -expm1(-a * time_at(&call->in[1], row));
        double share = n > 0 ? pow(row_uniform(call, 2, row), 1.0 / (double)n) : 0;
        out[row] = -log1p(-noised * share) / a;
    }
}

static void reveal_one(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    const int32_t tokens = call->chain->tokens, states = call->chain->states;
    int32_t *out = call->out[0].data;
    if (call->out[0].data != call->in[0].data)
        memcpy(out, call->in[0].data, (size_t)at.count * sizeof *out);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.rows * states > LAW_PARALLEL)
    for (int64_t row = 0; row < at.rows; row++) {
        int64_t masks = 0, p = row * at.length;
        for (int64_t i = 0; i < at.length; i++)
            masks += out[p + i] == call->chain->mask;
        if (!masks)
            continue;
        int64_t left = (int64_t)(uniform_at(call, row, 0) * (double)masks);
        while (out[p] != call->chain->mask || left-- > 0)
            p++;
        double u =
            call_has(call, 2) ? ((const double *)call->in[2].data)[p] : uniform_at(call, row, 1);
        out[p] = draw_logs((const float *)call->in[1].data + p * states, tokens, u);
    }
}

static void masked_one(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    const int32_t *x = call->in[0].data;
    uint8_t *out = call->out[0].data;
    for (int64_t row = 0; row < at.rows; row++) {
        double masks = (double)masks_of(call, row, at.length);
        int64_t left = (int64_t)(row_uniform(call, 1, row) * masks);
        for (int64_t p = row * at.length; p < (row + 1) * at.length; p++)
            out[p] = x[p] == call->chain->mask && left-- == 0;
    }
}

/* --- thinning -------------------------------------------------------------------------------- */

static struct hazard_counts count_movable(const struct kernel_call *call, int64_t row,
                                          int64_t length)
{
    const int32_t *x = call->in[0].data;
    struct hazard_counts n = {0, 0};
    for (int64_t p = row * length; p < (row + 1) * length; p++) {
        if (position_kept(call, 2, p))
            continue;
        if (x[p] == call->chain->mask)
            n.masks++;
        else
            n.tokens++;
    }
    return n;
}

static double table_limit(const struct kernel_call *call, const double *most, int64_t row,
                          int64_t length)
{
    const int32_t *x = call->in[0].data;
    double sum = 0;
    for (int64_t p = row * length; p < (row + 1) * length; p++)
        if (!position_kept(call, 2, p) && x[p] >= 0 && x[p] < call->chain->states)
            sum += most[x[p]];
    return sum;
}

static void thin_next(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    const struct chain *chain = call->chain;
    double *to = call->out[0].data, *rates = call->out[1].data;
    double *most = (double *)((char *)call->workspace + transition_bytes(chain));
    const double cap = call->attr[THIN_CAP].real, times = chain->raw ? cap : 1;
    for (int64_t row = 0; row < at.rows; row++) {
        double sigma = time_at(&call->in[1], row), target = -log1p(-row_uniform(call, 3, row));
        if (chain->kind == CHAIN_FLAT) {
            struct hazard_counts n = count_movable(call, row, at.length);
            to[row] = hazard_solve(chain, n, sigma, target / times);
            rates[row] = to[row] > 0 ? times * hazard_total(chain, n, to[row], true) : INFINITY;
            continue;
        }
        if (row == 0 || sigma != time_at(&call->in[1], row - 1)) {
            struct transition p =
                transition_make(chain, sigma / 2, NULL, 0, call->workspace, call->threads);
            table_rate_limits(&p, most);
        }
        double rate = cap * table_limit(call, most, row, at.length);
        bool inside = rate * sigma / 2 > target;
        to[row] = inside ? sigma - target / rate : sigma / 2;
        rates[row] = inside ? rate : INFINITY;
    }
}

/* The reverse rates of a position of a flat chain, and their sums. */
static struct weight_row position_law(const struct chain *chain, int32_t x, const float *log_score,
                                      struct block_sums *sums)
{
    double mask = chain->mask >= 0 ? exp((double)log_score[chain->mask]) : 0;
    struct weight_row row = row_of_law(log_score, chain->tokens, rates_law(chain, x, mask));
    sum_law(&row, sums);
    return row;
}

/* The total reverse rate of a position. */
static double position_rate(const struct chain *chain, int32_t x, const float *log_score)
{
    if (x < 0 || x >= chain->states || chain_frozen(chain, x))
        return 0;
    if (chain->kind == CHAIN_FLAT) {
        struct block_sums sums;
        position_law(chain, x, log_score, &sums);
        return sums.moves;
    }
    const struct rates *r = chain->rates;
    double sum = 0;
    for (int64_t k = r->into_start[x]; k < r->into_start[x + 1]; k++)
        sum += r->into_rate[k] * exp((double)log_score[r->of[k]]);
    return sum;
}

/* The state where the running sum of the rates of a position passes TARGET. */
static int32_t position_jump(const struct chain *chain, int32_t x, const float *log_score,
                             double target)
{
    if (chain->kind == CHAIN_FLAT) {
        struct block_sums sums;
        struct weight_row row = position_law(chain, x, log_score, &sums);
        return draw_at(&row, &sums, target);
    }
    const struct rates *r = chain->rates;
    double sum = 0;
    int32_t last = x;
    for (int64_t k = r->into_start[x]; k < r->into_start[x + 1] && sum <= target; k++) {
        last = r->of[k];
        sum += r->into_rate[k] * exp((double)log_score[last]);
    }
    return last;
}

static void thin_jump_row(const struct kernel_call *call, int64_t row, int64_t length)
{
    const struct chain *chain = call->chain;
    int64_t first = row * length, states = chain->states, chosen = -1;
    const int32_t *x = (const int32_t *)call->in[0].data + first;
    const float *log_score = (const float *)call->in[1].data + first * states;
    int32_t *out = (int32_t *)call->out[0].data + first;
    double *each = call->workspace, total = 0, sum = 0, rate = time_at(&call->in[2], row);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (length * states > LAW_PARALLEL)
    for (int64_t i = 0; i < length; i++) {
        each[i] = position_kept(call, 3, first + i)
                      ? 0
                      : position_rate(chain, x[i], log_score + i * states);
        out[i] = x[i];
    }
    for (int64_t i = 0; i < length; i++)
        total += each[i];
    ((double *)call->out[1].data)[row] = total > rate * VIOLATION;
    double target = row_uniform(call, 4, row) * (rate > total ? rate : total);
    if (!(target < total))
        return;
    for (int64_t i = 0; i < length; i++) {
        if (!(each[i] > 0))
            continue;
        if (chosen >= 0)
            sum += each[chosen];
        chosen = i;
        if (sum + each[i] > target)
            break;
    }
    if (chosen >= 0)
        out[chosen] = position_jump(chain, x[chosen], log_score + chosen * states, target - sum);
}

static void thin_jump(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    for (int64_t row = 0; row < at.rows; row++)
        thin_jump_row(call, row, at.length);
}

KERNEL_LIST(event) = {
    {"first_hit", "td*>d", first_hit},    {"reveal_one", "tf*>t", reveal_one},
    {"masked_one", "t*>b", masked_one},   {"thin_next", "td**>dd", thin_next},
    {"thin_jump", "tfd**>td", thin_jump}, {0},
};
