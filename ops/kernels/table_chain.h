/* exp(sigma Q) of a chain with any rates: non-negative arithmetic only, so that every entry,
 * however small, has nearly all its digits. Used through ops/kernels/transition.h.
 *
 * Two ways, the cheaper of them by its count of operations:
 *   uniformisation    P = sum_k Poisson(k; q sigma) R^k, R = I + Q / q, q the fastest rate (Jensen
 *                     1953), by Horner's rule for each column that is asked for
 *   squaring          the same series at sigma / 2^m, then m squarings of the dense matrix, each
 *                     column divided by its sum so that errors do not double with each of them
 * Poisson weights below 1e-32 of the largest are left out: entries below 1e-30 are lost. */
#ifndef SEDGE_TABLE_CHAIN_H
#define SEDGE_TABLE_CHAIN_H

#include "graph/base/chain.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A product keeps TABLE_ROWS rows, two vectors, of TABLE_COLS columns in registers. */
#if defined(__AVX512F__)
#define TABLE_LANES 8
#elif defined(__AVX__)
#define TABLE_LANES 4
#else
#define TABLE_LANES 2
#endif
#define TABLE_ROWS (2 * TABLE_LANES)
#define TABLE_COLS 6
/* So many vectors over the states are multiplied by Q at once, [states][TABLE_SIDE]: an entry of Q
 * is then found once for all of them. */
#define TABLE_SIDE 8
typedef double table_side __attribute__((vector_size(TABLE_SIDE * sizeof(double))));

/* Doubles of a matrix with room for its last strip of rows and its last columns side by side,
 * whatever the instruction set. */
#define TABLE_ROUND 16
_Static_assert(TABLE_ROUND % TABLE_ROWS == 0 && TABLE_ROUND % TABLE_SIDE == 0,
               "matrices have room for whole strips and sides");
static inline int64_t table_packed(int64_t n)
{
    return (n + TABLE_ROUND - 1) / TABLE_ROUND * TABLE_ROUND * n;
}

/* Bytes of P and of what computing it needs: three matrices with room for packing. */
static inline int64_t table_bytes(const struct rates *rates)
{
    return 3 * table_packed(rates->states) * (int64_t)sizeof(double);
}

/* Q[y][x] by bisection in column x. */
static inline double table_rate(const struct rates *rates, int32_t y, int32_t x)
{
    if (y == x)
        return -rates->leave[x];
    int64_t low = rates->from_start[x], high = rates->from_start[x + 1];
    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        if (rates->to[mid] < y)
            low = mid + 1;
        else
            high = mid;
    }
    return low < rates->from_start[x + 1] && rates->to[low] == y ? rates->from_rate[low] : 0.0;
}

/* (Q column)[y]. */
static inline double table_slope(const struct rates *rates, const double *column, int32_t y)
{
    double sum = 0;
    for (int64_t k = rates->into_start[y]; k < rates->into_start[y + 1]; k++)
        sum += rates->into_rate[k] * column[rates->of[k]];
    return sum - rates->leave[y] * column[y];
}

/* Products with P, stored by columns. */
static inline void table_apply(const double *p, int32_t n, const double *v, double *out)
{
    for (int32_t y = 0; y < n; y++)
        out[y] = 0;
    for (int32_t x = 0; x < n; x++) {
        const double *column = p + (int64_t)x * n;
        const double weight = v[x];
        if (weight == 0)
            continue;
#pragma omp simd
        for (int32_t y = 0; y < n; y++)
            out[y] += weight * column[y];
    }
}
static inline void table_apply_transposed(const double *p, int32_t n, const double *v, double *out)
{
    for (int32_t x = 0; x < n; x++) {
        const double *column = p + (int64_t)x * n;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int32_t y = 0; y < n; y++)
            sum += column[y] * v[y];
        out[x] = sum;
    }
}

/* The state where the running sum of a law passes U, state LAST coming after all others: rare
 * states have small u where LAST is the likely one. */
static inline int32_t table_draw(const double *law, int32_t n, int32_t last, double u)
{
    double sum = 0;
    for (int32_t y = 0; y < n; y++) {
        sum += y == last ? 0 : law[y];
        if (u < sum)
            return y;
    }
    return last;
}

/* OUT = Q V. */
static inline void table_multiply(const struct rates *rates, const double *v, double *out)
{
    for (int32_t y = 0; y < rates->states; y++)
        out[y] = table_slope(rates, v, y);
}

/* The first K past the mean LAMBDA whose Poisson weight is at most 1e-32 of the largest, and that
 * weight over the largest. */
static inline int64_t table_terms(double lambda, double *last)
{
    int64_t k = (int64_t)lambda;
    double weight = 1;
    while (weight > 1e-32)
        weight *= lambda / (double)++k;
    *last = weight;
    return k;
}

/* Whether products with R are dense ones: an entry found by its index costs three of others. */
#define TABLE_INDEXED 3.0
static inline bool table_dense(const struct rates *rates)
{
    return TABLE_INDEXED * (double)rates->count > (double)rates->states * rates->states;
}

/* How many squarings are cheapest, and whether the series is then over all columns. */
static inline int table_squarings(const struct rates *rates, double lambda, int64_t columns)
{
    double n = rates->states, last, best = INFINITY;
    double product = table_dense(rates) ? n * n : TABLE_INDEXED * ((double)rates->count + n);
    int chosen = 0;
    for (int m = 0; m < 64; m++) {
        double scaled = ldexp(lambda, -m);
        double terms = scaled > 1e7 ? scaled : (double)table_terms(scaled, &last);
        double cost = terms * product * (m > 0 ? n : (double)columns);
        if (m > 0)
            cost += n * n * (n * (m - 1) + (double)columns);
        if (cost < best) {
            best = cost;
            chosen = m;
        }
        if (scaled < 1e-3)
            break;
    }
    return chosen;
}

/* Strip S of matrix A (by columns): its rows together, column after column, zeros below the end. */
static inline void table_pack(const double *a, int64_t n, int64_t s, double *packed)
{
    int64_t first = s * TABLE_ROWS, rows = n - first < TABLE_ROWS ? n - first : TABLE_ROWS;
    packed += s * TABLE_ROWS * n;
    for (int64_t x = 0; x < n; x++) {
        for (int64_t i = 0; i < rows; i++)
            packed[x * TABLE_ROWS + i] = a[x * n + first + i];
        for (int64_t i = rows; i < TABLE_ROWS; i++)
            packed[x * TABLE_ROWS + i] = 0;
    }
}

/* Strip S of R = I + Q / q. */
static inline void table_pack_jumps(const struct rates *rates, int64_t s, double *packed)
{
    const int64_t n = rates->states, first = s * TABLE_ROWS;
    packed += s * TABLE_ROWS * n;
    for (int64_t i = 0; i < TABLE_ROWS * n; i++)
        packed[i] = 0;
    for (int64_t y = first; y < first + TABLE_ROWS && y < n; y++) {
        packed[y * TABLE_ROWS + y - first] = (rates->fastest - rates->leave[y]) / rates->fastest;
        for (int64_t k = rates->into_start[y]; k < rates->into_start[y + 1]; k++)
            packed[rates->of[k] * TABLE_ROWS + y - first] = rates->into_rate[k] / rates->fastest;
    }
}

/* OUT = A IN for TABLE_COLS columns of both; A is packed. */
static inline void table_product(const double *packed, int64_t n,
                                 const double *const in[TABLE_COLS], double *const out[TABLE_COLS])
{
    typedef double strip __attribute__((vector_size(TABLE_LANES * sizeof(double))));
    for (int64_t first = 0; first < n; first += TABLE_ROWS, packed += TABLE_ROWS * n) {
        strip sum[TABLE_COLS][2] = {{{0}}};
        for (int64_t x = 0; x < n; x++) {
            strip low, high;
            memcpy(&low, packed + x * TABLE_ROWS, sizeof low);
            memcpy(&high, packed + x * TABLE_ROWS + TABLE_LANES, sizeof high);
#pragma GCC unroll 6
            for (int c = 0; c < TABLE_COLS; c++) {
                sum[c][0] += low * in[c][x];
                sum[c][1] += high * in[c][x];
            }
        }
        int64_t rows = n - first < TABLE_ROWS ? n - first : TABLE_ROWS;
        for (int c = 0; c < TABLE_COLS; c++)
            memcpy(out[c] + first, sum[c], (size_t)rows * sizeof(double));
    }
}

/* OUT = (Q V)[y], with DIAGONAL for that of Q. */
static inline void table_side_product(const struct rates *rates, const double *v, int32_t y,
                                      double diagonal, table_side *out)
{
    table_side at, sum;
    memcpy(&at, v + (int64_t)y * TABLE_SIDE, sizeof at);
    sum = diagonal * at;
    for (int64_t k = rates->into_start[y]; k < rates->into_start[y + 1]; k++) {
        memcpy(&at, v + (int64_t)rates->of[k] * TABLE_SIDE, sizeof at);
        sum += rates->into_rate[k] * at;
    }
    *out = sum;
}

/* Divides a column by its sum, which is 1 but for rounding and for the scale of the weights. */
static inline void table_normalise(double *column, int64_t n)
{
    double sum = 0;
    for (int64_t y = 0; y < n; y++)
        sum += column[y];
    for (int64_t y = 0; y < n; y++)
        column[y] /= sum;
}

/* What one call of table_exponential works on: columns at I x states in two matrices, of which one
 * is read and the other written, and which columns. */
struct table_work {
    const struct rates *rates;
    double *from, *to, *packed; /* table_packed doubles each */
    const int32_t *columns;
    int64_t count;
    int threads;
};

/* Columns FIRST .. of the work, WIDTH of them: past the end the last one again. Returns how many
 * there are before the end. */
static inline int table_group(const struct table_work *w, int64_t first, int width, int32_t *at)
{
    int filled = 0;
    for (int c = 0; c < width; c++) {
        int64_t i = first + c < w->count ? first + c : w->count - 1;
        filled += first + c < w->count;
        at[c] = w->columns ? w->columns[i] : (int32_t)i;
    }
    return filled;
}

static inline void table_group_product(const struct table_work *w, const int32_t at[TABLE_COLS],
                                       const double *from, double *to)
{
    int64_t n = w->rates->states;
    const double *in[TABLE_COLS];
    double *out[TABLE_COLS];
    for (int c = 0; c < TABLE_COLS; c++) { /* a column that is there twice is written twice alike */
        in[c] = from + at[c] * n;
        out[c] = to + at[c] * n;
    }
    table_product(w->packed, n, in, out);
}

/* Horner's rule: S = w_k I + R S, from the last weight to w_0; the result is in TO. Columns are
 * each by themselves. This one is for an R of which most entries count. */
static inline void table_series_dense(const struct table_work *w, double lambda, int64_t terms,
                                      double last)
{
    const int64_t n = w->rates->states, strips = (n + TABLE_ROWS - 1) / TABLE_ROWS;
#pragma omp parallel for schedule(static) num_threads(w->threads) if (n > 64)
    for (int64_t s = 0; s < strips; s++)
        table_pack_jumps(w->rates, s, w->packed);
#pragma omp parallel for schedule(static) num_threads(w->threads) if (n > 64)
    for (int64_t first = 0; first < w->count; first += TABLE_COLS) {
        int32_t at[TABLE_COLS];
        int filled = table_group(w, first, TABLE_COLS, at);
        double *from = terms & 1 ? w->from : w->to, *to = terms & 1 ? w->to : w->from;
        double weight = last;
        for (int c = 0; c < filled; c++) {
            for (int64_t y = 0; y < n; y++)
                from[at[c] * n + y] = 0;
            from[at[c] * n + at[c]] = weight;
        }
        for (int64_t k = terms; k > 0; k--) {
            weight *= (double)k / lambda;
            table_group_product(w, at, from, to);
            for (int c = 0; c < filled; c++)
                to[at[c] * n + at[c]] += weight;
            double *swap = from;
            from = to;
            to = swap;
        }
        for (int c = 0; c < filled; c++)
            table_normalise(from + at[c] * n, n);
    }
}

/* The same by the entries of Q, for columns side by side: FROM and PACKED are room. */
static inline void table_series_sparse(const struct table_work *w, double lambda, int64_t terms,
                                       double last)
{
    const struct rates *rates = w->rates;
    const int64_t n = rates->states;
    const double fastest = rates->fastest, scale = 1 / fastest;
#pragma omp parallel for schedule(static) num_threads(w->threads) if (n > 64)
    for (int64_t first = 0; first < w->count; first += TABLE_SIDE) {
        int32_t at[TABLE_SIDE];
        int filled = table_group(w, first, TABLE_SIDE, at);
        double *from = w->from + first * n, *to = w->packed + first * n, weight = last;
        memset(from, 0, (size_t)n * sizeof(table_side));
        for (int c = 0; c < TABLE_SIDE; c++)
            from[(int64_t)at[c] * TABLE_SIDE + c] = weight;
        for (int64_t k = terms; k > 0; k--) {
            weight *= (double)k / lambda;
            for (int32_t y = 0; y < n; y++) {
                table_side sum;
                table_side_product(rates, from, y, fastest - rates->leave[y], &sum);
                sum *= scale;
                memcpy(to + (int64_t)y * TABLE_SIDE, &sum, sizeof sum);
            }
            for (int c = 0; c < TABLE_SIDE; c++)
                to[(int64_t)at[c] * TABLE_SIDE + c] += weight;
            double *swap = from;
            from = to;
            to = swap;
        }
        for (int c = 0; c < filled; c++) {
            double *column = w->to + at[c] * n;
            for (int64_t y = 0; y < n; y++)
                column[y] = from[y * TABLE_SIDE + c];
            table_normalise(column, n);
        }
    }
}

/* TO = FROM FROM in the columns of the work. */
static inline void table_square(const struct table_work *w)
{
    const int64_t n = w->rates->states, strips = (n + TABLE_ROWS - 1) / TABLE_ROWS;
#pragma omp parallel for schedule(static) num_threads(w->threads) if (n > 64)
    for (int64_t s = 0; s < strips; s++)
        table_pack(w->from, n, s, w->packed);
#pragma omp parallel for schedule(static) num_threads(w->threads) if (n > 64)
    for (int64_t first = 0; first < w->count; first += TABLE_COLS) {
        int32_t at[TABLE_COLS];
        int filled = table_group(w, first, TABLE_COLS, at);
        table_group_product(w, at, w->from, w->to);
        for (int c = 0; c < filled; c++)
            table_normalise(w->to + at[c] * n, n);
    }
}

/* Writes P into ROOM (table_bytes) and returns what of ROOM is free afterwards (states x states
 * doubles). COLUMNS: which x0 are needed, ascending; NULL: all. Where SIGMA is no noise at all, or
 * not a number, P is the identity. */
static inline double *table_exponential(const struct rates *rates, double sigma,
                                        const int32_t *columns, int32_t column_count, void *room,
                                        int threads)
{
    const int64_t n = rates->states, asked = columns ? column_count : n;
    double *p = room, *other = p + table_packed(n), last = 1;
    double lambda = sigma > 0 ? fmin(sigma * rates->fastest, 1e18) : 0;
    int squarings = lambda > 0 ? table_squarings(rates, lambda, asked) : 0;
    lambda = ldexp(lambda, -squarings);
    int64_t terms = lambda > 0 ? table_terms(lambda, &last) : 0;
    struct table_work w = {.rates = rates, .packed = other + table_packed(n), .threads = threads};
    w.from = squarings & 1 ? p : other; /* so that the last product lands in P */
    w.to = squarings & 1 ? other : p;
    w.columns = squarings ? NULL : columns;
    w.count = squarings ? n : asked;
    if (table_dense(rates))
        table_series_dense(&w, lambda, terms, last);
    else
        table_series_sparse(&w, lambda, terms, last);
    for (int m = squarings; m > 0; m--) {
        double *swap = w.from;
        w.from = w.to;
        w.to = swap;
        w.columns = m > 1 ? NULL : columns;
        w.count = m > 1 ? n : asked;
        table_square(&w);
    }
    return other;
}

#endif
