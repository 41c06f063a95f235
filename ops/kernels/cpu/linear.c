/* Kernels of linear and its weight gradient. BLIS does the work, except where a matrix is too thin
 * for it: those go to the micro kernel of gemm_small.h. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/gemm_small.h"
#include "ops/kernels/cpu/host_blas.h"
#include "ops/kernels/kernel.h"

/* Rows of a result that get their bias at a time: they are still in the cache when the product is
 * added to them. */
#define BIAS_ROWS 512

static struct strided as_strided(struct blas_matrix a)
{
    return (struct strided){a.data, a.transpose ? 1 : a.stride, a.transpose ? a.stride : 1};
}

/* Whether BLIS would spend its time on packing and on tiles that are mostly edge. */
static bool thin(int64_t m, int64_t n, int64_t k)
{
    return m < 32 || (n <= TILE_COLS && k <= 1 << 12) || k < 8;
}

static void bias_fill(const float *bias, int64_t rows, int64_t n, float *c, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads) if (rows * n > 1 << 15)
    for (int64_t i = 0; i < rows; i++)
        memcpy(c + i * n, bias, (size_t)n * sizeof *c);
}

/* C[m, n] = A[m, k] B[k, n] (+ bias). */
static void product(int64_t m, int64_t n, int64_t k, struct blas_matrix a, struct blas_matrix b,
                    const float *bias, float *c, int threads)
{
    if (thin(m, n, k)) {
        small_gemm(as_strided(a), as_strided(b), m, n, k, bias, c, n, threads);
        return;
    }
    if (!bias) {
        blas_sgemm(m, n, k, 1, a, b, 0, c, n, threads);
        return;
    }
    for (int64_t i = 0; i < m; i += BIAS_ROWS) {
        int64_t rows = m - i < BIAS_ROWS ? m - i : BIAS_ROWS;
        struct blas_matrix part = {a.data + (a.transpose ? i : i * a.stride), a.stride,
                                   a.transpose};
        bias_fill(bias, rows, n, c + i * n, threads);
        blas_sgemm(rows, n, k, 1, part, b, 1, c + i * n, n, threads);
    }
}

static void linear_run(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *y = &call->out[0];
    const float *bias = call->in_count > 2 ? call->in[2].data : NULL;
    int64_t m = tensor_lead(x, x->rank - 1), k = x->dim[x->rank - 1], n = y->dim[y->rank - 1];
    bool out_in = call->attr[LINEAR_LAYOUT].integer == LAYOUT_OUT_IN;
    struct blas_matrix a = {x->data, k, false};
    struct blas_matrix w = {call->in[1].data, out_in ? k : n, out_in};
    product(m, n, k, a, w, bias, y->data, call->threads);
}

static void weight_grad_run(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *dy = &call->in[1];
    int64_t rows = tensor_lead(x, x->rank - 1);
    int64_t in = x->dim[x->rank - 1], out = dy->dim[dy->rank - 1];
    if (call->attr[WEIGHT_GRAD_LAYOUT].integer == LAYOUT_OUT_IN) {
        struct blas_matrix a = {dy->data, out, true}, b = {x->data, in, false};
        product(out, in, rows, a, b, NULL, call->out[0].data, call->threads);
    } else {
        struct blas_matrix a = {x->data, in, true}, b = {dy->data, out, false};
        product(in, out, rows, a, b, NULL, call->out[0].data, call->threads);
    }
}

KERNEL_LIST(linear) = {
    {"linear", "ff_>f", linear_run},
    {"linear", "fff>f", linear_run},
    {"linear_weight_grad", "ff>f", weight_grad_run},
    {0},
};
