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
    static const int64_t sizes[][3] = {
        {1, 1, 1},        {31, 67, 385},    {32, 33, 769}, {173, 129, 401}, {337, 257, 97},
        {40, 1031, 2111}, {33, 12301, 385}, {0, 70, 70},   {9, 37, 801},    {20, 1101, 100}};
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes && kernel_isa(sets[s]); i++)
            for (int out_in = 0; out_in < 2; out_in++)
                try_linear(sets[s], sizes[i][0], sizes[i][1], sizes[i][2], out_in);
}

/* --- and what follows it -------------------------------------------------------------------- */

/* A kernel without a workspace on COUNT tensors. */
static void run_alone(const char *isa, const char *op, const union attr *attr, struct tensor *in,
                      uint32_t count, struct tensor out)
{
    const enum dtype f[] = {DT_F32, DT_F32};
    const struct kernel *kernel = kernel_find(isa, op, f, count, f, 1);
    struct kernel_call call = {
        .in_count = count, .out_count = 1, .in = in, .out = &out, .attr = attr, .threads = 2};
    cr_assert(kernel, "%s on %s", op, isa);
    kernel->run(&call);
}

/* WHAT after x w^T, Z with it where that is not NULL. */
static void run_then(const char *isa, int64_t m, int64_t n, int64_t k, const union attr *attr,
                     float *x, float *w, float *aside, float *y, float *z)
{
    const enum dtype in_types[] = {DT_F32, DT_F32, aside ? DT_F32 : DT_COUNT, DT_COUNT, DT_COUNT};
    const enum dtype out_types[] = {DT_F32, DT_F32};
    struct tensor in[5] = {matrix(x, m, k), matrix(w, n, k)};
    struct tensor out[] = {matrix(y, m, n), matrix(z, m, n)};
    const uint32_t outs = z ? 2 : 1;
    const struct kernel *kernel = kernel_find(isa, "linear_then", in_types, 5, out_types, outs);
    int64_t bytes = product_room_bytes(m, n, k);
    struct kernel_call call = {
        .in_count = 5, .out_count = outs, .in = in, .out = out, .attr = attr, .threads = 3};
    if (aside)
        in[2] = matrix(aside, m, n);
    call.workspace = aligned_alloc(64, ((size_t)bytes + 64) / 64 * 64);
    cr_assert(kernel, "linear_then on %s", isa);
    kernel->run(&call);
    free(call.workspace);
}

/* Each element is finished once, and to the bits of the ops that are alone: what is computed twice
 * is computed by those. */
static void try_then(const char *isa, int64_t m, int64_t n, int64_t k, int64_t form)
{
    const size_t bytes = (size_t)(m * n) * sizeof(float);
    float *x = numbers(m * k, 1), *w = numbers(n * k, 2), *aside = numbers(m * n, 3);
    float *z = numbers(m * n, 4), *y = numbers(m * n, 5), *a = numbers(m * n, 6);
    float *kept = numbers(m * n, 7);
    union attr linear_attr[LINEAR_STD + 1] = {{0}}, gelu[] = {[GELU_FORM] = {.integer = form}};
    union attr attr[] = {[THEN_LAYOUT] = {.integer = LAYOUT_OUT_IN},
                         [THEN_WHAT] = {.integer = THEN_GELU},
                         [THEN_FORM] = {.integer = form},
                         [THEN_KEEP] = {.flag = false}};
    struct tensor in[] = {matrix(x, m, k), matrix(w, n, k)};
    struct tensor back[] = {matrix(aside, m, n), matrix(z, m, n)};
    run(isa, "linear", linear_attr, in, 2, matrix(z, m, n), k, 1);

    run_alone(isa, "gelu", gelu, &back[1], 1, matrix(a, m, n));
    run_then(isa, m, n, k, attr, x, w, NULL, y, NULL);
    cr_assert_eq(memcmp(y, a, bytes), 0, "gelu");
    attr[THEN_KEEP].flag = true;
    run_then(isa, m, n, k, attr, x, w, NULL, y, kept);
    cr_assert_eq(memcmp(y, a, bytes), 0, "gelu beside z");
    cr_assert_eq(memcmp(kept, z, bytes), 0, "z");

    attr[THEN_KEEP].flag = false;
    attr[THEN_WHAT].integer = THEN_GELU_BACKWARD;
    run_alone(isa, "gelu_backward", gelu, back, 2, matrix(a, m, n));
    run_then(isa, m, n, k, attr, x, w, aside, y, NULL);
    cr_assert_eq(memcmp(y, a, bytes), 0, "gelu_backward");

    attr[THEN_WHAT].integer = THEN_ADD;
    for (int64_t i = 0; i < m * n; i++)
        a[i] = aside[i] + z[i];
    run_then(isa, m, n, k, attr, x, w, aside, y, NULL);
    cr_assert_eq(memcmp(y, a, bytes), 0, "add");
    free(x), free(w), free(aside), free(z), free(y), free(a), free(kept);
}

Test(product, what_follows_across_blocks)
{
    static const int64_t sizes[][3] = {{1, 67, 385}, {17, 33, 67},    {33, 66, 5},
                                       {33, 36, 0},  {173, 129, 401}, {40, 1031, 2111}};
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes && kernel_isa(sets[s]); i++)
            try_then(sets[s], sizes[i][0], sizes[i][1], sizes[i][2], i % 2 ? GELU_ERF : GELU_TANH);
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
