/* One position's weights over the states, and inverse-CDF draws from them: what every kernel that
 * draws a state draws by.
 *
 * One 53-bit uniform a draw, sums in double. The order is that of the states, the current one last,
 * so that a rare move has a small u and a position that stays needs no second look at its row. Sums
 * run over blocks of states whose size depends on the number of states alone; a draw finds its
 * block from the sums of blocks and computes the weights of that block only once more. */
#ifndef SEDGE_CPU_LAW_H
#define SEDGE_CPU_LAW_H

#include "ops/kernels/chain_room.h"
#include "ops/kernels/cpu/position.h"
#include "ops/kernels/reverse_law.h"

enum { LAW_TILE = 256, LAW_BLOCKS = 1024 };

/* Where weights come from: a law over the COUNT real tokens of a row of logarithms, or an array of
 * either real type, for which the law says the current state alone. */
struct weight_row {
    int64_t count;
    const float *log_score;
    struct chain_law law;
    const float *f32;
    const double *f64;
};
static inline struct weight_row row_of_law(const float *log_score, int64_t tokens,
                                           struct chain_law law)
{
    return (struct weight_row){.count = tokens, .log_score = log_score, .law = law};
}
/* AT: the current state, -1 where there is none. */
static inline struct weight_row row_of_array(const double *weights, int64_t count, int32_t at)
{
    return (struct weight_row){.count = count, .f64 = weights, .law = {.at = at, .mask = -1}};
}
/* The exponential of each entry. */
static inline struct weight_row row_of_logs(const float *log_p, int64_t count)
{
    return row_of_law(log_p, count, (struct chain_law){.at = -1, .mask = -1, .scale = 1});
}

/* The current state, and the mask of a law, have weights of their own: blocks are without them. */
struct block_sums {
    int64_t block; /* states in a block: a multiple of LAW_TILE */
    double sum[LAW_BLOCKS];
    double listed;  /* of all blocks */
    double moves;   /* of all states but the current one */
    double stays;   /* the weight of that */
    double least;   /* of the scores in blocks, where a law may be negative; else INFINITY */
    double clamped; /* how many weights are below zero */
};

static inline int64_t block_size(int64_t states)
{
    int64_t tiles = (states + LAW_TILE - 1) / LAW_TILE;
    return LAW_TILE * ((tiles + LAW_BLOCKS - 1) / LAW_BLOCKS);
}
static inline int64_t block_end(const struct weight_row *row, const struct block_sums *sums,
                                int64_t b)
{
    int64_t end = (b + 1) * sums->block;
    return end < row->count ? end : row->count;
}

/* exp of N log scores from FIRST on, or entries of an array; 0 at the current state. */
static inline void entries_tile(const struct weight_row *row, int64_t first, int64_t n, double *out)
{
    const float *log_score = row->log_score;
    if (log_score) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = exp((double)log_score[first + i]);
    } else {
        for (int64_t i = 0; i < n; i++)
            out[i] = row->f32 ? (double)row->f32[first + i] : row->f64[first + i];
    }
    if (row->law.at >= first && row->law.at < first + n)
        out[row->law.at - first] = 0;
}

/* Clamped weights of states FIRST .. FIRST + N - 1, N at most LAW_TILE, 0 at the current one.
 * Returns how many were negative. */
static inline double weights_tile(const struct weight_row *row, int64_t first, int64_t n,
                                  double *out)
{
    const bool law = row->log_score;
    const double scale = law ? row->law.scale : 1, mix = law ? row->law.mix : 0;
    const double shift = law ? row->law.shift : 0;
    const double closed = row->law.closed ? 0 : -INFINITY; /* entries no greater have no shift */
    const int64_t at = row->law.at - first;
    double below = 0;
    entries_tile(row, first, n, out);
#pragma omp simd reduction(+ : below)
    for (int64_t i = 0; i < n; i++) {
        double raw = scale * out[i] + (out[i] > closed ? shift : 0);
        below += raw < 0 ? 1.0 : 0.0;
        out[i] = (raw > 0 ? raw : 0) + mix * out[i];
    }
    if (at < 0 || at >= n)
        return below;
    out[at] = 0;
    return below - (shift < 0 && !row->law.closed);
}

static inline double tile_sum(const double *tile, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += tile[i];
    return sum;
}

/* The sum of the entries of block B, or of its weights. */
static inline double sum_entries(const struct weight_row *row, const struct block_sums *sums,
                                 int64_t b)
{
    double tile[LAW_TILE], sum = 0;
    int64_t end = block_end(row, sums, b);
    for (int64_t first = b * sums->block; first < end; first += LAW_TILE) {
        int64_t n = end - first < LAW_TILE ? end - first : LAW_TILE;
        entries_tile(row, first, n, tile);
        sum += tile_sum(tile, n);
    }
    return sum;
}
static inline double sum_weights(const struct weight_row *row, struct block_sums *sums, int64_t b)
{
    double tile[LAW_TILE], sum = 0;
    int64_t end = block_end(row, sums, b);
    for (int64_t first = b * sums->block; first < end; first += LAW_TILE) {
        int64_t n = end - first < LAW_TILE ? end - first : LAW_TILE;
        sums->clamped += weights_tile(row, first, n, tile);
        sum += tile_sum(tile, n);
    }
    return sum;
}

/* The sums of the scores of a law's row, of which all but the current state and the mask need be
 * known. A law that has no use for them reads none. */
static inline struct score_sums sum_scores(const struct weight_row *row, struct block_sums *sums)
{
    const bool used = row->law.scale != 0 || row->law.mix != 0;
    sums->block = block_size(row->count);
    sums->listed = 0;
    for (int64_t b = 0; b * sums->block < row->count; b++) {
        sums->sum[b] = used ? sum_entries(row, sums, b) : 0;
        sums->listed += sums->sum[b];
    }
    double mask = row->law.mask >= 0 ? exp((double)row->log_score[row->law.mask]) : 0;
    return (struct score_sums){sums->listed, mask};
}

/* The smallest of N numbers. */
static inline float least_of(const float *row, int64_t n)
{
    vec most = vec_all(-INFINITY);
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        most = vec_max(most, -vec_load(row + i));
    float least = -vec_most(most);
    for (; i < n; i++)
        least = row[i] < least ? row[i] : least;
    return least;
}

/* The smallest score in block B but for that of the current state. */
static inline double block_least(const struct weight_row *row, const struct block_sums *sums,
                                 int64_t b)
{
    int64_t first = b * sums->block, end = block_end(row, sums, b), at = row->law.at;
    if (at < first || at >= end)
        return exp((double)least_of(row->log_score + first, end - first));
    float before = least_of(row->log_score + first, at - first);
    float after = least_of(row->log_score + at + 1, end - at - 1);
    return exp((double)(before < after ? before : after));
}

/* Turns the sums of the scores of ROW into those of its weights. Where none of a block is below
 * zero that takes no second pass over the exponentials. */
static inline void sums_to_weights(const struct weight_row *row, struct block_sums *sums)
{
    const struct chain_law *law = &row->law;
    const double own = law->at_weight, mask = law->mask >= 0 ? law->mask_weight : 0;
    sums->listed = 0;
    sums->least = INFINITY;
    sums->clamped = (own < 0) + (mask < 0);
    for (int64_t b = 0; b * sums->block < row->count; b++) {
        int64_t first = b * sums->block, count = block_end(row, sums, b) - first;
        count -= law->at >= first && law->at < first + count;
        double least = INFINITY;
        if (law->shift < 0 || (law->shift > 0 && law->closed))
            least = block_least(row, sums, b);
        sums->least = least < sums->least ? least : sums->least;
        if (law->scale * least + law->shift < 0 || (law->closed && least == 0))
            sums->sum[b] = sum_weights(row, sums, b);
        else
            sums->sum[b] = (law->scale + law->mix) * sums->sum[b] + law->shift * (double)count;
        sums->listed += sums->sum[b];
    }
    sums->moves = sums->listed + (mask > 0 ? mask : 0);
    sums->stays = (own > 0 ? own : 0) + law->at_mix;
}

/* The sums of a law that needs to know no others first. */
static inline void sum_law(const struct weight_row *row, struct block_sums *sums)
{
    sum_scores(row, sums);
    sums_to_weights(row, sums);
}

/* The sums of an array. */
static inline void sum_array(const struct weight_row *row, struct block_sums *sums)
{
    const int32_t at = row->law.at;
    sums->block = block_size(row->count);
    sums->listed = sums->stays = sums->clamped = 0;
    sums->least = INFINITY;
    for (int64_t b = 0; b * sums->block < row->count; b++) {
        sums->sum[b] = sum_weights(row, sums, b);
        sums->listed += sums->sum[b];
    }
    if (at >= 0) {
        double own = row->f32 ? (double)row->f32[at] : row->f64[at];
        sums->stays = own > 0 ? own : 0;
        sums->clamped += own < 0;
    }
    sums->moves = sums->listed;
}

/* Repairs a decoder, and the sums of its weights, where some token has no chance. OTHERS: the sum
 * of the scores but the current one. */
static inline void make_positive(const struct chain *chain, double sigma, double others,
                                 struct weight_row *row, struct block_sums *sums)
{
    if (law_positive(chain, &row->law, sums->least))
        return;
    double total = sums->moves + sums->stays;
    row->law = law_soften(chain, row->law, sigma, total, others);
    sum_scores(row, sums);
    sums_to_weights(row, sums);
}

/* Rows of slot SLOT for a law of a table chain, with the scores at X filled in. */
static inline struct table_law table_law_at(const struct kernel_call *call, int64_t slot,
                                            const float *log_score, int32_t x)
{
    const struct chain *chain = call->chain;
    struct table_law law = {
        room_row(call->workspace, chain, slot, 0), room_row(call->workspace, chain, slot, 1),
        room_row(call->workspace, chain, slot, 2), room_row(call->workspace, chain, slot, 3)};
#pragma omp simd
    for (int64_t y = 0; y < chain->states; y++)
        law.score[y] = exp((double)log_score[y]);
    law.score[x] = 1;
    return law;
}

/* Makes exp(-delta Q) s of COUNT positions, at most BACK_GROUP, in the group of slot SLOT. X and
 * LOG_SCORE are those of the first. */
static inline void back_open(const struct kernel_call *call, double delta, int64_t slot,
                             const int32_t *x, const float *log_score, int64_t count)
{
    const struct chain *chain = call->chain;
    struct back_group group = room_back(call->workspace, chain, slot);
    struct table_law law;
    for (int i = 0; i < BACK_GROUP; i++) { /* past the end the last one again */
        int64_t at = i < count ? i : count - 1;
        law = table_law_at(call, slot, log_score + at * chain->states, x[at]);
        back_put(&group, i, law.score, chain->states);
    }
    table_back(chain->rates, delta, &group);
}

/* The rows of position I of an open group, those results among its weights. */
static inline struct table_law back_law(const struct kernel_call *call, int64_t slot, int i,
                                        const float *log_score, int32_t x)
{
    struct back_group group = room_back(call->workspace, call->chain, slot);
    struct table_law law = table_law_at(call, slot, log_score, x);
    back_take(&group, i, law.weights, call->chain->states);
    return law;
}

/* The listed state where the running sum passes TARGET; where rounding carries it past the last
 * one, the last of positive weight; -1 where none has any. */
static inline int64_t draw_listed(const struct weight_row *row, const struct block_sums *sums,
                                  double target)
{
    double tile[LAW_TILE], sum = 0;
    int64_t chosen = -1, last = -1;
    for (int64_t b = 0; b * sums->block < row->count; b++) {
        if (!(sums->sum[b] > 0))
            continue;
        if (chosen >= 0)
            sum += sums->sum[chosen];
        chosen = b;
        if (sum + sums->sum[b] > target)
            break;
    }
    if (chosen < 0)
        return -1;
    int64_t end = block_end(row, sums, chosen);
    for (int64_t first = chosen * sums->block; first < end; first += LAW_TILE) {
        int64_t n = end - first < LAW_TILE ? end - first : LAW_TILE;
        weights_tile(row, first, n, tile);
        for (int64_t i = 0; i < n; i++) {
            if (!(tile[i] > 0))
                continue;
            last = first + i;
            sum += tile[i];
            if (sum > target)
                return last;
        }
    }
    return last;
}

/* The state where the running sum of the weights passes TARGET: states in their order, the current
 * one last. Where no weight is positive the current one, or state 0. */
static inline int32_t draw_at(const struct weight_row *row, const struct block_sums *sums,
                              double target)
{
    const struct chain_law *law = &row->law;
    if (law->at >= 0 && !(target < sums->moves))
        return law->at;
    if (law->mask >= 0 && law->mask_weight > 0 && target >= sums->listed)
        return law->mask;
    int64_t y = draw_listed(row, sums, target);
    return y >= 0 ? (int32_t)y : law->at >= 0 ? law->at : 0;
}
static inline int32_t draw_row(const struct weight_row *row, const struct block_sums *sums,
                               double u)
{
    return draw_at(row, sums, u * (sums->moves + sums->stays));
}

/* A draw from COUNT log probabilities. */
static inline int32_t draw_logs(const float *log_p, int64_t count, double u)
{
    struct weight_row row = row_of_logs(log_p, count);
    struct block_sums sums;
    sum_law(&row, &sums);
    return draw_row(&row, &sums, u);
}

#endif
