/* The projection of scores to what some law could have; ops/projection.c has the mathematics. Sums
 * over states are in double; each row is one thread's. */
#include "ops/kernels/cpu/law_row.h"

#include "ops/kernels/projection.h"

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
            tile[i] = exp(limited((double)at[i], low, -low));
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

/* Log of the factor C for which the total rate is at its limit, entries of max(C s_y, low) with s_y
 * clipped; 0 where it is below it. Each round fixes the entries that the last C took below their
 * least, so that C only falls. MASK: the clipped log score of the mask. */
static double project_factor(const struct chain *chain, const struct score_limits *limits,
                             const float *row, int32_t x, double mask)
{
    double log_c = 0;
    for (;;) {
        double open, fixed;
        sum_open(row, chain->tokens, x, limits->low, limits->low - log_c, &open, &fixed);
        fixed = limits->rate * (fixed - 1) * exp(limits->low); /* x itself is among them */
        open *= limits->rate;
        if (limits->mask_rate > 0 && mask + log_c < limits->mask_low)
            fixed += limits->mask_rate * exp(limits->mask_low);
        else if (limits->mask_rate > 0)
            open += limits->mask_rate * exp(mask);
        double next = log((limits->total - fixed) / open);
        if (!(next < log_c - 1e-12))
            return log_c;
        log_c = next;
    }
}

static void project_token(const struct transition *p, int32_t x, const float *row, float *out)
{
    const struct chain *chain = p->chain;
    const struct score_limits limits = flat_limits(p);
    double mask = 0;
    if (chain->mask >= 0)
        mask = limited((double)row[chain->mask], limits.mask_low, limits.mask_high);
    double log_c = project_factor(chain, &limits, row, x, mask);
    double low = limits.low, high = limits.high;
    if (chain->mask >= 0) {
        double scaled = limits.mask_rate > 0 ? mask + log_c : mask;
        out[chain->mask] = (float)limited(scaled, limits.mask_low, limits.mask_high);
    }
#pragma omp simd
    for (int64_t y = 0; y < chain->tokens; y++)
        out[y] = (float)limited(limited((double)row[y], low, high) + log_c, low, high);
}

/* The scores at the mask X, but for a factor. */
static void table_mask_scores(const struct rates *rates, int32_t x, const float *row, double *score)
{
    double most = -INFINITY;
    for (int64_t k = rates->into_start[x]; k < rates->into_start[x + 1]; k++)
        most = fmax(most, (double)row[rates->of[k]]);
    const double shift = table_shift(most);
#pragma omp simd
    for (int64_t y = 0; y < rates->states; y++)
        score[y] = exp((double)row[y] - shift);
    score[x] = 1;
}

static void table_project_row(const struct kernel_call *call, const struct transition *p,
                              int64_t slot, int32_t x, const float *row, float *out)
{
    const struct chain *chain = call->chain;
    if (chain->rates->into_start[x] == chain->rates->into_start[x + 1]) { /* nothing leads to x */
        memmove(out, row, (size_t)chain->states * sizeof *out);
        out[x] = 0;
        return;
    }
    struct table_law law = table_law_at(call, slot, row, x);
    struct total_limits limits = table_limits(p, x, law.term, law.next);
    if (x == chain->mask) {
        table_mask_scores(chain->rates, x, row, law.score);
        table_scale(chain->rates, x, limits, law.score);
    }
    table_project(chain->rates, x, law.term, law.next, limits.most, law.score);
    for (int64_t y = 0; y < chain->states; y++)
        out[y] = (float)log(law.score[y]);
    out[x] = 0;
}

static void table_project_score(const struct kernel_call *call, struct positions at)
{
    const struct chain *chain = call->chain;
    const float *log_score = call->in[0].data;
    const int32_t *x = call->in[1].data;
    float *out = call->out[0].data;
    struct transition p = {.sigma = 0};
    for (int64_t row = 0; row < at.rows; row++) {
        next_transition(call, row, time_at(&call->in[2], row), &p);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * chain->states > LAW_PARALLEL)
        for (int64_t slot = 0; slot < ROOM_SLOTS; slot++)
            for (int64_t i = row * at.length + slot; i < (row + 1) * at.length; i += ROOM_SLOTS)
                table_project_row(call, &p, slot, x[i], log_score + i * chain->states,
                                  out + i * chain->states);
    }
}

static void project_score(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const float *log_score = call->in[0].data;
    const int32_t *x = call->in[1].data;
    float *out = call->out[0].data;
    struct positions at = positions_of(&call->in[1]);
    int64_t states = chain->states;
    if (chain->raw) {
        memmove(out, log_score, (size_t)(at.count * states) * sizeof *out);
        return;
    }
    if (chain->kind == CHAIN_TABLE) {
        table_project_score(call, at);
        return;
    }
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        struct transition noise = transition_flat(chain, time_at(&call->in[2], p / at.length));
        const float *row = log_score + p * states;
        float *to = out + p * states;
        if (x[p] == chain->mask)
            project_masked(&noise, row, to);
        else if (!chain_frozen(chain, x[p]))
            project_token(&noise, x[p], row, to);
        else if (to != row)
            memcpy(to, row, (size_t)states * sizeof *to);
        to[x[p]] = 0;
    }
}

KERNEL_LIST(projection) = {{"project_score", "ftd>f", project_score}, {0}};
