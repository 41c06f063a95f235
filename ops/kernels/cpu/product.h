/* Products of matrices, for the kernels that make them: linear.c, head_loss.c. BLIS does the work,
 * except where a matrix is too thin for it: those go to the micro kernel of gemm_small.h. */
#ifndef SEDGE_CPU_PRODUCT_H
#define SEDGE_CPU_PRODUCT_H

#include "ops/kernels/cpu/gemm_small.h"
#include "ops/kernels/cpu/host_blas.h"

#include <omp.h>

static inline struct strided as_strided(struct blas_matrix a)
{
    return (struct strided){a.data, a.transpose ? 1 : a.stride, a.transpose ? a.stride : 1};
}

/* Results of fewer rows are left to the micro kernel: BLIS would pack all of B for them. */
#define THIN 32

/* A result is made in tiles, each one call to BLIS with one thread. BLIS's own threads wait for
 * each other at every packed block, which costs a machine that runs anything else most of its
 * speed. Tiles pack some things more than once: of 768 that costs 1 to 2%, of 384 about 6% where
 * the depth is thousands. Smaller ones are made only where there would be too few to share out. The
 * bits are the same for any tiles and threads, since BLIS sums over the depth in one order. */
#define TILE_MOST 768
#define TILE_LEAST 192
#define TILES_WANTED 4

struct grid {
    int64_t rows, cols;    /* of a tile */
    int64_t across, tiles; /* tiles in a row of tiles, and in all */
};

static inline struct grid grid_for(int64_t m, int64_t n)
{
    int64_t down = (m + TILE_MOST - 1) / TILE_MOST, across = (n + TILE_MOST - 1) / TILE_MOST;
    while (down * across < TILES_WANTED) {
        bool tall = m * across >= n * down; /* a tile has more rows than columns */
        if ((tall ? m / down : n / across) < 2 * TILE_LEAST)
            break;
        *(tall ? &down : &across) *= 2;
    }
    struct grid g = {.rows = round_up((m + down - 1) / down, 6), /* of BLIS's own tiles, 6 x 16 */
                     .cols = round_up((n + across - 1) / across, 16)};
    g.across = (n + g.cols - 1) / g.cols;
    g.tiles = g.across * ((m + g.rows - 1) / g.rows);
    return g;
}

/* The matrix from row I and column J on. */
static inline struct blas_matrix matrix_at(struct blas_matrix a, int64_t i, int64_t j)
{
    a.data += a.transpose ? j * a.stride + i : i * a.stride + j;
    return a;
}

/* Makes one tile, ROWS x COLS of a C with rows of N. It gets its bias first, and still has it in
 * the cache when the product is added. */
static inline void tile_run(struct blas_matrix a, struct blas_matrix b, struct addend add, float *c,
                            int64_t n, int64_t rows, int64_t cols, int64_t k, int threads)
{
    for (int64_t r = 0; add.bias && r < rows; r++)
        memcpy(c + r * n, add.bias, (size_t)cols * sizeof *c);
    blas_sgemm(rows, cols, k, 1, a, b, add.bias || add.keep ? 1 : 0, c, n, threads);
}

/* C[m, n] = A[m, k] B[k, n] + what ADD says. */
static inline void product(int64_t m, int64_t n, int64_t k, struct blas_matrix a,
                           struct blas_matrix b, struct addend add, float *c, int threads)
{
    if (m < THIN) {
        small_gemm(as_strided(a), as_strided(b), m, n, k, add, c, n, threads);
        return;
    }
    struct grid g = grid_for(m, n);
    /* More cores than tiles: BLIS can use them all. Not more threads than cores: BLIS waits by
     * spinning, and stalls when one of its threads does not run. */
    int usable = threads < omp_get_num_procs() ? threads : omp_get_num_procs();
    if (g.tiles < usable) {
        tile_run(a, b, add, c, n, m, n, k, usable);
        return;
    }
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t t = 0; t < g.tiles; t++) {
        int64_t i = t / g.across * g.rows, j = t % g.across * g.cols;
        int64_t rows = m - i < g.rows ? m - i : g.rows, cols = n - j < g.cols ? n - j : g.cols;
        tile_run(matrix_at(a, i, 0), matrix_at(b, 0, j), addend_at(add, j), c + i * n + j, n, rows,
                 cols, k, 1);
    }
}

#endif
