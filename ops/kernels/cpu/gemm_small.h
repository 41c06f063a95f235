/* The micro kernel: a tile of C = A B held in registers while the depth runs. Attention builds its
 * products from it, and so does linear where a matrix is too thin for BLIS (host_blas.h).
 *
 * B comes in panels of TILE_COLS columns, packed row after row and padded with zeros, so that the
 * inner loop reads whole vectors; A is read where it lies, through two strides. Each element of C
 * is summed in the order of the depth, whatever tile it falls in. */
#ifndef SEDGE_CPU_GEMM_SMALL_H
#define SEDGE_CPU_GEMM_SMALL_H

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
    if (b.cs == 1 && cols == TILE_COLS) {
        for (int64_t k = 0; k < depth; k++)
            for (int v = 0; v < TILE_VECS; v++)
                vec_store(panel + k * TILE_COLS + v * VEC_LANES,
                          vec_load(b.data + k * b.rs + v * VEC_LANES));
        return;
    }
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

/* Packs DEPTH rows and COLS columns as COLS / TILE_COLS panels, one after the other. */
static inline void panels_pack(struct strided b, int64_t depth, int64_t cols, float *panels)
{
    for (int64_t j = 0; j < cols; j += TILE_COLS) {
        int64_t width = cols - j < TILE_COLS ? cols - j : TILE_COLS;
        struct strided part = {b.data + j * b.cs, b.rs, b.cs};
        panel_pack(part, depth, width, panels + j * depth);
    }
}

/* acc = A panel, over ROWS <= TILE_ROWS rows of A; missing rows repeat the last one. */
static inline __attribute__((always_inline)) void tile_multiply(struct strided a, int64_t rows,
                                                                int64_t depth, const float *panel,
                                                                vec acc[TILE_ROWS][TILE_VECS])
{
    const float *row[TILE_ROWS];
    vec sum[TILE_ROWS][TILE_VECS];
    for (int i = 0; i < TILE_ROWS; i++) {
        row[i] = a.data + (i < rows ? i : rows - 1) * a.rs;
        for (int v = 0; v < TILE_VECS; v++)
            sum[i][v] = (vec){0};
    }
    for (int64_t k = 0; k < depth; k++) {
        vec b[TILE_VECS];
        for (int v = 0; v < TILE_VECS; v++)
            b[v] = vec_load(panel + k * TILE_COLS + v * VEC_LANES);
        for (int i = 0; i < TILE_ROWS; i++) {
            vec x = vec_all(row[i][k * a.cs]);
            for (int v = 0; v < TILE_VECS; v++)
                sum[i][v] += x * b[v];
        }
    }
    memcpy(acc, sum, sizeof sum);
}

/* C = acc, or C += acc, in its upper left ROWS x COLS. */
static inline void tile_store(vec acc[TILE_ROWS][TILE_VECS], int64_t rows, int64_t cols, float *c,
                              int64_t ldc, int add)
{
    for (int64_t i = 0; i < rows; i++) {
        float *to = c + i * ldc;
        if (cols == TILE_COLS) {
            for (int v = 0; v < TILE_VECS; v++) {
                vec old = add ? vec_load(to + v * VEC_LANES) : (vec){0};
                vec_store(to + v * VEC_LANES, old + acc[i][v]);
            }
            continue;
        }
        float row[TILE_COLS];
        memcpy(row, acc[i], sizeof row);
        for (int64_t j = 0; j < cols; j++)
            to[j] = (add ? to[j] : 0) + row[j];
    }
}

/* C[rows, cols] = or += A[rows, depth] times packed panels. */
static inline void panels_multiply(struct strided a, int64_t rows, int64_t depth,
                                   const float *panels, int64_t cols, float *c, int64_t ldc,
                                   int add)
{
    for (int64_t j = 0; j < cols; j += TILE_COLS) {
        int64_t width = cols - j < TILE_COLS ? cols - j : TILE_COLS;
        for (int64_t i = 0; i < rows; i += TILE_ROWS) {
            int64_t height = rows - i < TILE_ROWS ? rows - i : TILE_ROWS;
            struct strided part = {a.data + i * a.rs, a.rs, a.cs};
            vec acc[TILE_ROWS][TILE_VECS];
            if (a.cs == 1) {
                struct strided unit = {part.data, a.rs, 1};
                tile_multiply(unit, height, depth, panels + j * depth, acc);
            } else {
                tile_multiply(part, height, depth, panels + j * depth, acc);
            }
            tile_store(acc, height, width, c + i * ldc + j, ldc, add);
        }
    }
}

/* What a product is added to: nothing, a bias for each column, or what C holds. */
struct addend {
    const float *bias;
    bool keep;
};

/* C[m, n] = A[m, k] B[k, n] + what ADD says, row-major C: for matrices with a thin side. Parallel
 * over panels of columns; the depth in blocks that fit on the stack. */
#define SMALL_DEPTH 256

static inline void small_panel(struct strided a, struct strided b, int64_t m, int64_t k,
                               int64_t cols, struct addend add, float *c, int64_t ldc)
{
    float panel[SMALL_DEPTH * TILE_COLS];
    for (int64_t i = 0; i < m && !add.keep; i++)
        for (int64_t j = 0; j < cols; j++)
            c[i * ldc + j] = add.bias ? add.bias[j] : 0;
    for (int64_t p = 0; p < k; p += SMALL_DEPTH) {
        int64_t depth = k - p < SMALL_DEPTH ? k - p : SMALL_DEPTH;
        struct strided above = {b.data + p * b.rs, b.rs, b.cs};
        struct strided left = {a.data + p * a.cs, a.rs, a.cs};
        panel_pack(above, depth, cols, panel);
        panels_multiply(left, m, depth, panel, cols, c, ldc, 1);
    }
}

/* What ADD says of the columns from J on. */
static inline struct addend addend_at(struct addend add, int64_t j)
{
    return (struct addend){add.bias ? add.bias + j : NULL, add.keep};
}

static inline void small_gemm(struct strided a, struct strided b, int64_t m, int64_t n, int64_t k,
                              struct addend add, float *c, int64_t ldc, int threads)
{
    int64_t panels = (n + TILE_COLS - 1) / TILE_COLS;
#pragma omp parallel for schedule(static) num_threads(threads) if (m * n * k > 1 << 16)
    for (int64_t p = 0; p < panels; p++) {
        int64_t j = p * TILE_COLS;
        int64_t cols = n - j < TILE_COLS ? n - j : TILE_COLS;
        struct strided right = {b.data + j * b.cs, b.rs, b.cs};
        small_panel(a, right, m, k, cols, addend_at(add, j), c + j, ldc);
    }
}

#endif
