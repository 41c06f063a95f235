/* The micro kernel: a tile of C = A B held in registers while the depth runs. Products of matrices
 * (product.c, thin.c), but for those of a few rows, and those of attention are made of it.
 *
 * B comes in panels of TILE_COLS columns, packed row after row and padded with zeros, so that the
 * inner loop reads whole vectors; A in strips of TILE_ROWS rows, packed column after column, or
 * through two strides. Each element of C is summed in the order of the depth, whatever tile it
 * falls in. (The scheme: Goto, van de Geijn 2008, "Anatomy of High-Performance Matrix
 * Multiplication".) */
#ifndef SEDGE_CPU_MICRO_H
#define SEDGE_CPU_MICRO_H

#include "ops/kernels/cpu/vector.h"

#include <stdbool.h>

/* Accumulators fill 16 of 32 registers with AVX-512, 12 of 16 elsewhere: the rest hold a row of B
 * and elements of A. */
#if defined(__AVX512F__)
#define TILE_ROWS 8
#else
#define TILE_ROWS 6
#endif
#define TILE_VECS 2
#define TILE_COLS (TILE_VECS * VEC_LANES)

/* A matrix where it lies: element (i, j) is data[i * rs + j * cs]. */
struct strided {
    const float *data;
    int64_t rs, cs;
};

/* The matrix from row I and column J on, and the matrix transposed. */
static inline struct strided matrix_at(struct strided a, int64_t i, int64_t j)
{
    return (struct strided){a.data + i * a.rs + j * a.cs, a.rs, a.cs};
}
static inline struct strided transposed(struct strided a)
{
    return (struct strided){a.data, a.cs, a.rs};
}

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* Transposes a square of vectors: for each bit of the index, lanes with that bit trade places with
 * rows with that bit. */
static inline __attribute__((always_inline)) void square_transpose(vec r[VEC_LANES])
{
#if defined(__clang__) /* has shuffles by constants written out only */
    float from[VEC_LANES][VEC_LANES], to[VEC_LANES][VEC_LANES];
    memcpy(from, r, sizeof from);
    for (int i = 0; i < VEC_LANES; i++)
        for (int j = 0; j < VEC_LANES; j++)
            to[j][i] = from[i][j];
    memcpy(r, to, sizeof to);
#else
    const ivec lane = VEC_LANE_NUMBERS;
#pragma GCC unroll 4
    for (int step = 0; step < VEC_LANES_LOG2; step++) {
        const int bit = 1 << step;
        ivec has = (lane & bit) != 0;
        ivec low = lane + (has & (VEC_LANES - bit));
        ivec high = lane + ((has & VEC_LANES) | (~has & bit));
#pragma GCC unroll 16
        for (int i = 0; i < VEC_LANES; i++) {
            if (i & bit)
                continue;
            vec a = r[i], b = r[i + bit];
            r[i] = __builtin_shuffle(a, b, low);
            r[i + bit] = __builtin_shuffle(a, b, high);
        }
    }
#endif
}

/* Packs a whole panel from columns that lie contiguous: squares are read along the columns. */
static inline void panel_pack_columns(struct strided b, int64_t depth, float *panel)
{
    int64_t k = 0;
    for (; k + VEC_LANES <= depth; k += VEC_LANES)
        for (int64_t j = 0; j < TILE_COLS; j += VEC_LANES) {
            vec r[VEC_LANES];
#pragma GCC unroll 16
            for (int i = 0; i < VEC_LANES; i++)
                r[i] = vec_load(b.data + (j + i) * b.cs + k);
            square_transpose(r);
#pragma GCC unroll 16
            for (int i = 0; i < VEC_LANES; i++)
                vec_store(panel + (k + i) * TILE_COLS + j, r[i]);
        }
    for (; k < depth; k++)
        for (int64_t j = 0; j < TILE_COLS; j++)
            panel[k * TILE_COLS + j] = b.data[k + j * b.cs];
}

/* Packs DEPTH rows and COLS <= TILE_COLS columns of B as one panel. */
static inline void panel_pack(struct strided b, int64_t depth, int64_t cols, float *panel)
{
    if (b.rs == 1 && cols == TILE_COLS) {
        panel_pack_columns(b, depth, panel);
        return;
    }
    for (int64_t k = 0; k < depth; k++) {
        float *row = panel + k * TILE_COLS;
        const float *from = b.data + k * b.rs;
        for (int64_t j = 0; j < cols; j++)
            row[j] = from[j * b.cs];
        for (int64_t j = cols; j < TILE_COLS; j++)
            row[j] = 0;
    }
}

/* Packs DEPTH rows and COLS columns as COLS / TILE_COLS panels, one after the other. Rows that lie
 * contiguous are read once for all panels: reading a panel alone would jump from row to row for a
 * line of the cache each. */
static inline void panels_pack(struct strided b, int64_t depth, int64_t cols, float *panels)
{
    int64_t j = b.cs == 1 ? cols / TILE_COLS * TILE_COLS : 0;
    for (int64_t k = 0; k < depth && j; k++)
        for (int64_t c = 0; c < j; c += TILE_COLS)
            for (int v = 0; v < TILE_VECS; v++)
                vec_store(panels + c * depth + k * TILE_COLS + v * VEC_LANES,
                          vec_load(b.data + k * b.rs + c + v * VEC_LANES));
    for (; j < cols; j += TILE_COLS)
        panel_pack(matrix_at(b, 0, j), depth, least(cols - j, TILE_COLS), panels + j * depth);
}

/* Packs TILE_ROWS rows that lie contiguous: squares are read along the rows, and written over each
 * other's ends, for a strip is narrower than a vector. */
static inline void strip_pack_rows(struct strided a, int64_t depth, float *strip)
{
    int64_t k = 0;
#if TILE_ROWS <= VEC_LANES
    for (; k + 2 * VEC_LANES <= depth; k += VEC_LANES) {
        vec r[VEC_LANES];
#pragma GCC unroll 16
        for (int i = 0; i < VEC_LANES; i++)
            r[i] = vec_load(a.data + (i < TILE_ROWS ? i : 0) * a.rs + k);
        square_transpose(r);
#pragma GCC unroll 16
        for (int i = 0; i < VEC_LANES; i++)
            vec_store(strip + (k + i) * TILE_ROWS, r[i]);
    }
#endif
    for (; k < depth; k++)
        for (int i = 0; i < TILE_ROWS; i++)
            strip[k * TILE_ROWS + i] = a.data[i * a.rs + k];
}

/* Packs ROWS <= TILE_ROWS rows and DEPTH columns of A as one strip; missing rows are zeros. */
static inline void strip_pack(struct strided a, int64_t rows, int64_t depth, float *strip)
{
    if (a.cs == 1 && rows == TILE_ROWS) {
        strip_pack_rows(a, depth, strip);
        return;
    }
    for (int64_t k = 0; k < depth; k++)
        for (int64_t i = 0; i < TILE_ROWS; i++)
            strip[k * TILE_ROWS + i] = i < rows ? a.data[i * a.rs + k * a.cs] : 0;
}

/* Columns that lie contiguous are taken some at a time: what a strip leaves of a line of the cache
 * is still there for the next, and the lines of the next columns are on their way. */
#define STRIP_COLUMNS 16

static inline void strips_pack_columns(struct strided a, int64_t rows, int64_t depth, float *strips)
{
    for (int64_t from = 0; from < depth; from += STRIP_COLUMNS) {
        int64_t to = least(depth, from + STRIP_COLUMNS);
        for (int64_t k = to; k < least(depth, to + STRIP_COLUMNS); k++)
            for (int64_t i = 0; i < rows; i += 64 / (int64_t)sizeof *strips)
                __builtin_prefetch(a.data + k * a.cs + i);
        for (int64_t i = 0; i < rows; i += TILE_ROWS)
            for (int64_t k = from; k < to; k++)
                memcpy(strips + i * depth + k * TILE_ROWS, a.data + k * a.cs + i,
                       TILE_ROWS * sizeof *strips);
    }
}

/* Packs ROWS rows and DEPTH columns as ROWS / TILE_ROWS strips, one after the other. */
static inline void strips_pack(struct strided a, int64_t rows, int64_t depth, float *strips)
{
    int64_t i = a.rs == 1 ? rows / TILE_ROWS * TILE_ROWS : 0;
    strips_pack_columns(a, i, depth, strips);
    for (; i < rows; i += TILE_ROWS)
        strip_pack(matrix_at(a, i, 0), least(rows - i, TILE_ROWS), depth, strips + i * depth);
}

/* acc = a strip times a panel. */
static inline __attribute__((always_inline)) void
strip_multiply(const float *strip, const float *panel, int64_t depth, vec acc[TILE_ROWS][TILE_VECS])
{
    vec sum[TILE_ROWS][TILE_VECS];
    for (int i = 0; i < TILE_ROWS; i++)
        for (int v = 0; v < TILE_VECS; v++)
            sum[i][v] = (vec){0};
#pragma GCC unroll 4
    for (int64_t k = 0; k < depth; k++, strip += TILE_ROWS, panel += TILE_COLS) {
        vec b[TILE_VECS];
        for (int v = 0; v < TILE_VECS; v++)
            b[v] = vec_load(panel + v * VEC_LANES);
        for (int i = 0; i < TILE_ROWS; i++) {
            vec x = vec_all(strip[i]);
            for (int v = 0; v < TILE_VECS; v++)
                sum[i][v] += x * b[v];
        }
    }
    memcpy(acc, sum, sizeof sum);
}

/* acc = A panel, over ROWS <= TILE_ROWS rows of A; missing rows repeat the last one. AHEAD, where
 * it is not NULL, is handed OF before each EVERY rows of the panel, and the first of them. */
static inline __attribute__((always_inline)) void
tile_multiply_ahead(struct strided a, int64_t rows, int64_t depth, const float *panel,
                    void (*ahead)(const void *of, int64_t k), const void *of, int64_t every,
                    vec acc[TILE_ROWS][TILE_VECS])
{
    const float *row[TILE_ROWS];
    vec sum[TILE_ROWS][TILE_VECS];
    for (int i = 0; i < TILE_ROWS; i++) {
        row[i] = a.data + (i < rows ? i : rows - 1) * a.rs;
        for (int v = 0; v < TILE_VECS; v++)
            sum[i][v] = (vec){0};
    }
    for (int64_t k = 0; k < depth;) {
        const int64_t end = ahead ? least(depth, k + every) : depth;
        if (ahead)
            ahead(of, k);
        for (; k < end; k++) {
            vec b[TILE_VECS];
            for (int v = 0; v < TILE_VECS; v++)
                b[v] = vec_load(panel + k * TILE_COLS + v * VEC_LANES);
            for (int i = 0; i < TILE_ROWS; i++) {
                vec x = vec_all(row[i][k * a.cs]);
                for (int v = 0; v < TILE_VECS; v++)
                    sum[i][v] += x * b[v];
            }
        }
    }
    memcpy(acc, sum, sizeof sum);
}

static inline __attribute__((always_inline)) void tile_multiply(struct strided a, int64_t rows,
                                                                int64_t depth, const float *panel,
                                                                vec acc[TILE_ROWS][TILE_VECS])
{
    tile_multiply_ahead(a, rows, depth, panel, NULL, NULL, 0, acc);
}

/* What a product is added to: what C holds, or a bias for each column, or (NULL) nothing. */
struct addend {
    const float *bias;
    bool keep;
};

/* What ADD says of the columns from J on. */
static inline struct addend addend_at(struct addend add, int64_t j)
{
    return (struct addend){add.bias ? add.bias + j : NULL, add.keep};
}

/* C = acc + what ADD says, in its upper left ROWS x COLS. Whole tiles go straight from
 * registers. */
static inline __attribute__((always_inline)) void tile_store(vec acc[TILE_ROWS][TILE_VECS],
                                                             int64_t rows, int64_t cols, float *c,
                                                             int64_t ldc, struct addend add)
{
    if (rows == TILE_ROWS && cols == TILE_COLS) {
#pragma GCC unroll 16
        for (int i = 0; i < TILE_ROWS; i++, c += ldc)
            for (int v = 0; v < TILE_VECS; v++) {
                const float *old = add.keep ? c : add.bias;
                vec more = old ? vec_load(old + v * VEC_LANES) : (vec){0};
                vec_store(c + v * VEC_LANES, more + acc[i][v]);
            }
        return;
    }
    for (int64_t i = 0; i < rows; i++, c += ldc) {
        const float *old = add.keep ? c : add.bias;
        float row[TILE_COLS];
        memcpy(row, acc[i], sizeof row);
        for (int64_t j = 0; j < cols; j++)
            c[j] = (old ? old[j] : 0) + row[j];
    }
}

/* C[rows, cols] = A[rows, depth] times packed panels + what ADD says. Panels lie STEP floats apart:
 * those of more depth than this can be given from some row on. */
static inline void panels_multiply(struct strided a, int64_t rows, int64_t depth,
                                   const float *panels, int64_t step, int64_t cols, float *c,
                                   int64_t ldc, struct addend add)
{
    for (int64_t j = 0; j < cols; j += TILE_COLS, panels += step)
        for (int64_t i = 0; i < rows; i += TILE_ROWS) {
            int64_t height = least(rows - i, TILE_ROWS);
            struct strided part = matrix_at(a, i, 0);
            vec acc[TILE_ROWS][TILE_VECS];
            if (a.cs == 1)
                tile_multiply((struct strided){part.data, a.rs, 1}, height, depth, panels, acc);
            else
                tile_multiply(part, height, depth, panels, acc);
            tile_store(acc, height, least(cols - j, TILE_COLS), c + i * ldc + j, ldc,
                       addend_at(add, j));
        }
}

#endif
