/* Products of matrices across the borders of their blocks: more depth than one block of it, more of
 * B than the room holds, tiles at every edge, few rows and many. Held to sums in double, on every
 * instruction set here; and to themselves: the bits of a row depend neither on threads nor on how
 * many rows there are. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/kernel.h"
#include "ops/kernels/product_room.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const sets[] = {"plain", "v2", "v3", "v4"};

/* Numbers in [-1, 1] that look random. */
static float *numbers(int64_t n, uint32_t seed)
{
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 63) / 64 * 64);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (float)(1 << 23) - 1;
    }
    return x;
}

static struct tensor matrix(float *data, int64_t rows, int64_t cols)
{
    return (struct tensor){.dtype = DT_F32, .rank = 2, .dim = {rows, cols}, .data = data};
}

/* Runs OP on A and B, with room of exactly what its rule says, M x N products over K. */
static void run(const char *isa, const char *op, const union attr *attr, struct tensor *in,
                uint32_t in_count, struct tensor out, int64_t k, int threads)
{
    const enum dtype f[] = {DT_F32, DT_F32, DT_F32};
    const struct kernel *kernel = kernel_find(isa, op, f, in_count, f, 1);
    int64_t bytes = product_room_bytes(out.dim[0], out.dim[1], k);
    struct kernel_call call = {.in_count = in_count,
                               .out_count = 1,
                               .in = in,
                               .out = &out,
                               .attr = attr,
                               .threads = threads};
    call.workspace = aligned_alloc(64, ((size_t)bytes + 64) / 64 * 64);
    cr_assert(kernel, "%s on %s", op, isa);
    kernel->run(&call);
    free(call.workspace);
}

/* y = x w^T + b, rows of y against sums in double at some places: an element of K terms up to 1
 * has about sqrt K / 3 of them at random, and rounding of each sum. */
static void hold(const float *x, const float *w, int64_t step, int64_t next, const float *bias,
                 const float *y, int64_t m, int64_t n, int64_t k)
{
    for (int64_t t = 0; t < 400 && m; t++) {
        int64_t i = t == 0 ? 0 : t * 7919 % m, j = t == 0 ? n - 1 : t * 104729 % n;
        double sum = bias ? (double)bias[j] : 0, size = 1;
        for (int64_t p = 0; p < k; p++) {
            double term = (double)x[i * k + p] * (double)w[j * step + p * next];
            sum += term;
            size += fabs(term);
        }
        cr_assert_float_eq(y[i * n + j], sum, 4e-7 * size, "(%d, %d): %g, not %g", (int)i, (int)j,
                           (double)y[i * n + j], sum);
    }
}

static void linear(const char *isa, int64_t m, int64_t n, int64_t k, bool out_in, float *x,
                   float *w, float *bias, float *y, int threads)
{
    union attr attr[LINEAR_STD + 1] = {
        [LINEAR_LAYOUT] = {.integer = out_in ? LAYOUT_OUT_IN : LAYOUT_IN_OUT}};
    struct tensor in[] = {matrix(x, m, k), out_in ? matrix(w, n, k) : matrix(w, k, n),
                          matrix(bias, n, 1)};
    in[2].rank = 1;
    run(isa, "linear", attr, in, 3, matrix(y, m, n), k, threads);
}

static void try_linear(const char *isa, int64_t m, int64_t n, int64_t k, bool out_in)
{
    float *x = numbers(m * k, 1), *w = numbers(n * k, 2), *bias = numbers(n, 3);
    float *y = numbers(m * n, 4), *again = numbers(m * n, 5);
    linear(isa, m, n, k, out_in, x, w, bias, y, 1);
    hold(x, w, out_in ? k : 1, out_in ? 1 : n, bias, y, m, n, k);
    linear(isa, m, n, k, out_in, x, w, bias, again, 3);
    cr_assert_eq(memcmp(y, again, (size_t)(m * n) * sizeof *y), 0, "threads change bits");
    for (int64_t few = 1; few <= (m < 5 ? m : 5); few++) { /* the last rows, alone */
        int64_t from = m - few;
        linear(isa, few, n, k, out_in, x + from * k, w, bias, again, 2);
        cr_assert_eq(memcmp(y + from * n, again, (size_t)(few * n) * sizeof *y), 0,
                     "how many rows there are changes bits");
    }
    free(x), free(w), free(bias), free(y), free(again);
}

Test(product, linear_across_blocks)
{
    static const int64_t sizes[][3] = {{1, 1, 1},        {31, 67, 385},  {32, 33, 769},
                                       {173, 129, 401},  {337, 257, 97}, {40, 1031, 2111},
                                       {33, 12301, 385}, {0, 70, 70}};
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes && kernel_isa(sets[s]); i++)
            for (int out_in = 0; out_in < 2; out_in++)
                try_linear(sets[s], sizes[i][0], sizes[i][1], sizes[i][2], out_in);
}

/* dW = dy^T x: both operands lie the other way. X is [k, n], dy [k, m]. */
static void try_gradient(const char *isa, int64_t m, int64_t n, int64_t k)
{
    union attr attr[] = {[WEIGHT_GRAD_LAYOUT] = {.integer = LAYOUT_OUT_IN}};
    float *x = numbers(k * n, 1), *dy = numbers(k * m, 2), *turned = numbers(m * k, 3);
    float *dw = numbers(m * n, 4), *again = numbers(m * n, 5);
    struct tensor in[] = {matrix(x, k, n), matrix(dy, k, m)};
    run(isa, "linear_weight_grad", attr, in, 2, matrix(dw, m, n), k, 1);
    for (int64_t i = 0; i < m; i++)
        for (int64_t p = 0; p < k; p++)
            turned[i * k + p] = dy[p * m + i];
    hold(turned, x, 1, n, NULL, dw, m, n, k);
    run(isa, "linear_weight_grad", attr, in, 2, matrix(again, m, n), k, 3);
    cr_assert_eq(memcmp(dw, again, (size_t)(m * n) * sizeof *dw), 0, "threads change bits");
    free(x), free(dy), free(turned), free(dw), free(again);
}

Test(product, weight_gradient_across_blocks)
{
    static const int64_t sizes[][3] = {{1, 1, 1},        {31, 70, 401},    {173, 129, 785},
                                       {40, 1031, 2111}, {33, 12301, 385}, {70, 70, 0}};
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes && kernel_isa(sets[s]); i++)
            try_gradient(sets[s], sizes[i][0], sizes[i][1], sizes[i][2]);
}
