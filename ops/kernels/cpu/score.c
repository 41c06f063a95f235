/* Score networks' output, the score entropy with its gradient, and the projection. Shapes and
 * mathematics: ops/score.c. Sums over states are in double; each row is one thread's. */
#include "ops/kernels/cpu/law.h"

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
        double sigma = time_at(&call->in[2], p / at.length);
        float shift =
            scaled ? (float)(chain_noise(chain, sigma).log_e + log((double)chain->tokens)) : 0.0f;
#pragma omp simd
        for (int64_t y = 0; y < states; y++)
            out[p * states + y] = raw[p * states + y] - shift;
        out[p * states + x[p]] = 0;
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

/* Sum of s_y, of which each has a true ratio of 0. */
static double sum_scores_plain(const float *log_score, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t y = 0; y < n; y++)
        sum += (double)expf(log_score[y]);
    return sum;
}

/* Sum of exp(d) - 1 - d, d = log s_y - log rho: pairs of one common ratio, over that ratio. The
 * exponentials come first, in a loop of their own: beside a choice they would not be vectors. */
static double sum_excess(const float *log_score, int64_t n, double log_rho)
{
    double sum = 0, tile[LAW_TILE];
    for (int64_t first = 0; first < n; first += LAW_TILE) {
        const float *at = log_score + first;
        int64_t size = n - first < LAW_TILE ? n - first : LAW_TILE;
#pragma omp simd
        for (int64_t i = 0; i < size; i++)
            tile[i] = exp((double)at[i] - log_rho);
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < size; i++)
            sum += excess_of((double)at[i] - log_rho, tile[i]);
    }
    return sum;
}

static double entropy_absorb(const struct chain *chain, const struct chain_noise *noise,
                             const float *row, int32_t x0)
{
    return sum_scores_plain(row, x0) + sum_scores_plain(row + x0 + 1, chain->tokens - x0 - 1) +
           entropy_term(row[x0], noise->inv_e, -noise->log_e);
}

static double entropy_uniform(const struct chain *chain, const struct chain_noise *noise,
                              const float *row, int32_t x, int32_t x0)
{
    int64_t n = chain->tokens;
    if (x == x0) {
        double log_rho = noise->log_ratio;
        double sum = sum_excess(row, x, log_rho) + sum_excess(row + x + 1, n - x - 1, log_rho);
        return noise->ratio * sum / (double)n;
    }
    int64_t low = x < x0 ? x : x0, high = x < x0 ? x0 : x;
    double sum = sum_excess(row, low, 0) + sum_excess(row + low + 1, high - low - 1, 0) +
                 sum_excess(row + high + 1, n - high - 1, 0);
    return (sum + entropy_term(row[x0], 1 / noise->ratio, -noise->log_ratio)) / (double)n;
}

static void score_entropy(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const float *log_score = call->in[0].data;
    const int32_t *x = call->in[1].data, *x0 = call->in[2].data;
    double *out = call->out[0].data;
    struct positions at = positions_of(&call->in[1]);
    int64_t states = chain->states;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        struct chain_noise noise = chain_noise(chain, time_at(&call->in[3], p / at.length));
        const float *row = log_score + p * states;
        if (chain_frozen(chain, x[p]))
            out[p] = 0;
        else if (chain_carries_over(chain))
            out[p] = entropy_absorb(chain, &noise, row, x0[p]);
        else
            out[p] = entropy_uniform(chain, &noise, row, x[p], x0[p]);
    }
}

/* d log s_y = G s_y: where the true ratio is 0. */
static void entropy_slope_plain(const float *log_score, int64_t n, float g, float *out)
{
#pragma omp simd
    for (int64_t y = 0; y < n; y++)
        out[y] = g * expf(log_score[y]);
}

/* d log s_y = G (s_y - RHO), the difference in double. */
static void entropy_slope(const float *log_score, int64_t n, double g, double rho, float *out)
{
#pragma omp simd
    for (int64_t y = 0; y < n; y++)
        out[y] = (float)(g * (exp((double)log_score[y]) - rho));
}

static double sum_log_scores(const float *log_score, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t y = 0; y < n; y++)
        sum += (double)log_score[y];
    return sum;
}

/* Sum over y != x of (log rho - log s_y) d rho / d sigma, by pairs of one ratio. */
static double entropy_time_slope(const struct chain *chain, const struct chain_noise *noise,
                                 const float *row, int32_t x, int32_t x0)
{
    if (x != x0) {
        double log_rho = chain_log_ratio(chain, noise, x0, x, x0);
        return (log_rho - row[x0]) * exp(log_rho) * chain_log_ratio_slope(chain, noise, x0, x, x0);
    }
    int64_t n = chain->tokens;
    double sum = sum_log_scores(row, x) + sum_log_scores(row + x + 1, n - x - 1);
    int32_t other = x == 0; /* any token but x */
    return ((double)(n - 1) * noise->log_ratio - sum) * noise->ratio *
           chain_log_ratio_slope(chain, noise, other, x, x0);
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
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        struct chain_noise noise = chain_noise(chain, time_at(&call->in[3], p / at.length));
        const float *row = log_score + p * states;
        float *slope = out + p * states;
        if (chain_frozen(chain, x[p]) || dloss[p] == 0) {
            memset(slope, 0, (size_t)states * sizeof *slope);
            dsigma[p] = 0;
            continue;
        }
        bool absorb = chain_carries_over(chain);
        double g = absorb ? dloss[p] : dloss[p] / chain->tokens;
        double rho0 = absorb ? noise.inv_e : 1 / noise.ratio;
        double slope0 = g * (exp((double)row[x0[p]]) - rho0);
        dsigma[p] = g * entropy_time_slope(chain, &noise, row, x[p], x0[p]);
        /* From here on the row may be overwritten. */
        if (absorb)
            entropy_slope_plain(row, states, (float)g, slope);
        else
            entropy_slope(row, states, g, x[p] == x0[p] ? noise.ratio : 1, slope);
        slope[x0[p]] = (float)slope0;
        slope[x[p]] = 0;
    }
}

static void project_absorb(const struct chain *chain, const struct chain_noise *noise,
                           const float *row, float *out)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t y = 0; y < chain->tokens; y++)
        sum += exp((double)row[y]);
    float shift = (float)(log(sum) + noise->log_e);
#pragma omp simd
    for (int64_t y = 0; y < chain->tokens; y++)
        out[y] = row[y] - shift;
}

static inline double clip(double v, double low, double high)
{
    double above = v < low ? low : v;
    return above > high ? high : above;
}

/* What one factor C makes of the entries y != x: the sum of the scores that stay above r / C, and
 * how many do not. FLOOR = log(r / C). */
static void sum_open(const float *row, int64_t n, int64_t skip, double low, double floor,
                     double *open, double *fixed)
{
    double sum = 0, count = 0, least = exp(floor), tile[LAW_TILE];
    for (int64_t first = 0; first < n; first += LAW_TILE) {
        const float *at = row + first;
        int64_t size = n - first < LAW_TILE ? n - first : LAW_TILE;
#pragma omp simd
        for (int64_t i = 0; i < size; i++)
            tile[i] = exp(clip((double)at[i], low, -low));
        if (skip >= first && skip < first + size)
            tile[skip - first] = 0;
#pragma omp simd reduction(+ : sum, count)
        for (int64_t i = 0; i < size; i++) {
            sum += tile[i] < least ? 0.0 : tile[i];
            count += tile[i] < least ? 1.0 : 0.0;
        }
    }
    *open = sum;
    *fixed = count;
}

/* Log of the factor C for which the sum over y != x of max(C s_y, r) is the limit, s_y clipped to
 * [r, 1/r]; 0 where the sum is below it. Each round fixes the entries that the last C took below
 * r, so that C only falls. */
static double project_factor(const struct chain *chain, const struct chain_noise *noise,
                             const float *row, int32_t x)
{
    double log_c = 0, limit = chain_score_limit(chain, noise);
    for (;;) {
        double open, fixed;
        sum_open(row, chain->tokens, x, noise->log_ratio, noise->log_ratio - log_c, &open, &fixed);
        double next = log((limit - (fixed - 1) * noise->ratio) / open); /* x itself is fixed */
        if (!(next < log_c - 1e-12))
            return log_c;
        log_c = next;
    }
}

static void project_uniform(const struct chain *chain, const struct chain_noise *noise, int32_t x,
                            const float *row, float *out)
{
    double log_c = project_factor(chain, noise, row, x);
    double low = noise->log_ratio, high = -low;
#pragma omp simd
    for (int64_t y = 0; y < chain->tokens; y++)
        out[y] = (float)clip(clip((double)row[y], low, high) + log_c, low, high);
}

static void project_score(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const float *log_score = call->in[0].data;
    const int32_t *x = call->in[1].data;
    float *out = call->out[0].data;
    struct positions at = positions_of(&call->in[1]);
    int64_t states = chain->states;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        struct chain_noise noise = chain_noise(chain, time_at(&call->in[2], p / at.length));
        const float *row = log_score + p * states;
        float *to = out + p * states;
        if (!chain_carries_over(chain))
            project_uniform(chain, &noise, x[p], row, to);
        else if (x[p] == chain->mask)
            project_absorb(chain, &noise, row, to);
        else if (to != row)
            memcpy(to, row, (size_t)states * sizeof *to);
        to[x[p]] = 0;
    }
}

KERNEL_LIST(score) = {
    {"score_output", "ftd>f", score_output},
    {"score_output_backward", "ft>f", score_output_backward},
    {"score_entropy", "fttd>d", score_entropy},
    {"score_entropy_backward", "fttdd>fd", score_entropy_backward},
    {"project_score", "ftd>f", project_score},
    {0},
};
