/* One position's weights over the states, and inverse-CDF draws from them. Used by reverse.c and
 * bound.c.
 *
 * Sums run over blocks of states whose size depends on the number of states alone; a draw finds its
 * block from the sums of blocks and computes the weights of that block only once more. */
#ifndef SEDGE_CPU_LAW_H
#define SEDGE_CPU_LAW_H

#include "ops/kernels/cpu/vector.h"

#include "ops/kernels/chain_room.h"
#include "ops/kernels/kernel.h"
#include "ops/kernels/reverse_law.h"

enum { LAW_TILE = 256, LAW_BLOCKS = 1024 };

/* Positions times states below which waking the threads costs more than it saves. */
#define LAW_PARALLEL 16384

static inline bool call_has(const struct kernel_call *call, uint32_t i)
{
    return i < call->in_count && call->in[i].data;
}

/* Positions of token tensor X: rows of the first axis, and entries in each. */
struct positions {
    int64_t rows, length, count;
};
static inline struct positions positions_of(const struct tensor *x)
{
    struct positions at = {.rows = x->rank ? x->dim[0] : 1, .count = tensor_size(x)};
    at.length = at.rows ? at.count / at.rows : 0;
    return at;
}
static inline double time_at(const struct tensor *time, int64_t row)
{
    return ((const double *)time->data)[time->rank ? row : 0];
}
static inline double uniform_at(const struct kernel_call *call, int64_t row, int64_t position)
{
    return random_uniform(call->key, call->iteration, call->stream, call->sequence + (uint32_t)row,
                          (uint32_t)position);
}

/* P with all columns at SIGMA, for row ROW of a batch: P of the row before, where both share a sigma. */
static inline void next_transition(const struct kernel_call *call, int64_t row, double sigma,
                                   struct transition *p)
{
    if (row == 0 || sigma != p->sigma)
        *p = transition_make(call->chain, sigma, NULL, 0, call->workspace, call->threads);
}

/* Where weights come from: a law over a score row, or an array of either real type. */
struct weight_row {
    int64_t count;
    const float *log_score; /* with LAW */
    struct chain_law law;
    const float *f32;
    const double *f64;
};

struct block_sums {
    int64_t block; /* states in a block: a multiple of LAW_TILE */
    double sum[LAW_BLOCKS];
    double total;
    int64_t clamped; /* weights below zero */
};

static inline int64_t block_size(int64_t states)
{
    int64_t tiles = (states + LAW_TILE - 1) / LAW_TILE;
    return LAW_TILE * ((tiles + LAW_BLOCKS - 1) / LAW_BLOCKS);
}

/* Puts the weight of a state with one of its own in its place in a tile of N; returns by how much
 * that changes the number of negative weights. */
static inline int64_t place_weight(double raw, double mix, double shift, int64_t at, int64_t n,
                                   double *tile)
{
    if (at < 0 || at >= n)
        return 0;
    tile[at] = (raw > 0 ? raw : 0) + mix;
    return (raw < 0) - (shift < 0);
}

/* Clamped weights of states FIRST .. FIRST + N - 1, N at most LAW_TILE; returns how many of them were
 * negative. */
static inline int64_t weights_tile(const struct weight_row *row, int64_t first, int64_t n,
                                   double *out)
{
    int64_t clamped = 0;
    if (!row->log_score) {
        for (int64_t i = 0; i < n; i++) {
            double weight = row->f32 ? (double)row->f32[first + i] : row->f64[first + i];
            out[i] = weight > 0 ? weight : 0;
            clamped += weight < 0;
        }
        return clamped;
    }
    const struct chain_law *law = &row->law;
    const double scale = law->scale, shift = law->shift, mix = law->mix;
    const float *log_score = row->log_score + first;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = exp((double)log_score[i]);
    if (law->at >= first && law->at < first + n)
        out[law->at - first] = 0;
    if (law->mask >= first && law->mask < first + n)
        out[law->mask - first] = 0;
    double below = 0;
    if (shift < 0) {
#pragma omp simd reduction(+ : below)
        for (int64_t i = 0; i < n; i++)
            below += scale * out[i] + shift < 0 ? 1.0 : 0.0;
    }
    clamped = (int64_t)below;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double raw = scale * out[i] + shift;
        out[i] = (raw > 0 ? raw : 0) + mix * out[i];
    }
    if (law->mask >= 0)
        clamped += place_weight(law->mask_weight, 0, shift, law->mask - first, n, out);
    return clamped + place_weight(law->at_weight, law->at_mix, shift, law->at - first, n, out);
}

static inline double tile_sum(const double *tile, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += tile[i];
    return sum;
}

/* Sums of the weights of ROW by blocks. */
static inline void sum_weights(const struct weight_row *row, struct block_sums *out)
{
    double tile[LAW_TILE];
    out->block = block_size(row->count);
    out->total = 0;
    out->clamped = 0;
    for (int64_t b = 0; b * out->block < row->count; b++) {
        int64_t end = (b + 1) * out->block < row->count ? (b + 1) * out->block : row->count;
        out->sum[b] = 0;
        for (int64_t first = b * out->block; first < end; first += LAW_TILE) {
            int64_t n = end - first < LAW_TILE ? end - first : LAW_TILE;
            out->clamped += weights_tile(row, first, n, tile);
            out->sum[b] += tile_sum(tile, n);
        }
        out->total += out->sum[b];
    }
}

/* The same for s_y of the tokens y != x. */
static inline struct score_sums sum_scores(const struct chain *chain, const float *log_score,
                                           int64_t x, struct block_sums *out)
{
    struct weight_row row = {.count = chain->states, .log_score = log_score};
    row.law = law_at(chain, (int32_t)x, 0);
    row.law.scale = 1;
    sum_weights(&row, out);
    double mask = row.law.mask >= 0 ? exp((double)log_score[row.law.mask]) : 0;
    return (struct score_sums){out->total, mask};
}

/* Turns the sums of scores into those of the weights of ROW. Where weights are proportional to scores
 * that takes no second pass over the states. */
static inline void sums_to_weights(const struct weight_row *row, struct block_sums *sums)
{
    const struct chain_law *law = &row->law;
    if (law->shift != 0 || law->mix != 0) {
        sum_weights(row, sums);
        return;
    }
    sums->total = 0;
    sums->clamped = (law->at_weight < 0) + (law->mask >= 0 && law->mask_weight < 0);
    for (int64_t b = 0; b * sums->block < row->count; b++) {
        sums->sum[b] *= law->scale;
        if (law->mask >= 0 && law->mask / sums->block == b)
            sums->sum[b] += law_weight(law, law->mask, 1.0);
        if (law->at / sums->block == b)
            sums->sum[b] += law_weight(law, law->at, 1.0);
        sums->total += sums->sum[b];
    }
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

/* The smallest s_y of the tokens y != x. */
static inline double least_score(const float *row, int64_t n, int64_t x)
{
    if (x >= n)
        return exp((double)least_of(row, n));
    float before = least_of(row, x), after = least_of(row + x + 1, n - x - 1);
    return exp((double)(before < after ? before : after));
}

/* Repairs a decoder, and the sums of its weights, where some token has no chance. Where weights only
 * add to scores none is without one, which spares the search for the least. */
static inline void make_positive(const struct chain *chain, double sigma, double others,
                                 struct weight_row *row, struct block_sums *sums)
{
    double least = row->law.scale > 0 && row->law.shift >= 0
                       ? INFINITY
                       : least_score(row->log_score, chain->tokens, row->law.at);
    if (law_positive(chain, &row->law, least))
        return;
    row->law = law_soften(chain, row->law, sigma, sums->total, others);
    sum_weights(row, sums);
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

/* The state where the running sum passes U times the total; OTHERWISE where no weight is positive.
 * Rounding can carry the target past the last state: then the last one of positive weight it is. */
static inline int64_t draw_weights(const struct weight_row *row, const struct block_sums *sums,
                                   double u, int64_t otherwise)
{
    double tile[LAW_TILE], target = u * sums->total, sum = 0;
    int64_t chosen = -1;
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
        return otherwise;
    int64_t last = otherwise, first = chosen * sums->block;
    int64_t end = first + sums->block < row->count ? first + sums->block : row->count;
    for (; first < end; first += LAW_TILE) {
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

#endif
