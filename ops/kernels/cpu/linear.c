/* Kernels of linear, of linear with what follows it, and of its weight gradient. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/gelu.h"
#include "ops/kernels/cpu/product.h"
#include "ops/kernels/kernel.h"

/* A matrix as it is stored, COLS floats a row. */
static struct strided stored(const struct tensor *t, int64_t cols)
{
    return (struct strided){t->data, cols, 1};
}

static void linear_run(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *weight = &call->in[1], *y = &call->out[0];
    const float *bias = call->in_count > 2 ? call->in[2].data : NULL;
    int64_t m = tensor_lead(x, x->rank - 1), k = x->dim[x->rank - 1], n = y->dim[y->rank - 1];
    bool out_in = call->attr[LINEAR_LAYOUT].integer == LAYOUT_OUT_IN;
    struct strided w = out_in ? transposed(stored(weight, k)) : stored(weight, n);
    product(m, n, k, stored(x, k), w, (struct addend){.bias = bias}, y->data, call->workspace,
            call->threads);
}

/* What follows a linear map, element by element. */
struct then {
    enum linear_then what;
    bool erf;
    const float *aside, *gate;
    float *z, *y;    /* one and the same where z is not kept */
    int64_t n, each; /* columns; rows that share a row of gates */
};

/* N elements of one row: Y by Z and what else there is. Y may be Z. */
static inline __attribute__((always_inline)) void then_elements(const struct then *t, int64_t n,
                                                                const float *z, const float *aside,
                                                                const float *gate, float *y)
{
    switch (t->what) {
    case THEN_GELU:
        if (t->erf) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                y[i] = gelu_erf(z[i]);
            return;
        }
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = gelu_tanh(z[i]);
        return;
    case THEN_GELU_BACKWARD:
        if (t->erf) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                y[i] = z[i] * gelu_erf_slope(aside[i]);
            return;
        }
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = z[i] * gelu_tanh_slope(aside[i]);
        return;
    case THEN_ADD:
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = aside[i] + z[i];
        return;
    case THEN_GATED_ADD:
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = aside[i] + gate[i] * z[i];
        return;
    }
}

/* What is left of the last vector, padded: all elements go through the same code. */
static void then_rest(const struct then *t, int64_t n, const float *z, const float *aside,
                      const float *gate, float *y)
{
    float part[3][GELU_LANES] = {{0}}, out[GELU_LANES];
    const float *from[] = {z, aside, gate};
    for (int i = 0; i < 3; i++)
        if (from[i])
            memcpy(part[i], from[i], (size_t)n * sizeof *y);
    then_elements(t, GELU_LANES, part[0], part[1], part[2], out);
    memcpy(y, out, (size_t)n * sizeof *y);
}

static void then_tile(const void *of, int64_t i, int64_t j, int64_t rows, int64_t cols)
{
    const struct then *t = of;
    const int64_t rest = cols % GELU_LANES, whole = cols - rest;
    for (int64_t row = i; row < i + rows; row++) {
        const int64_t at = row * t->n + j;
        const float *z = t->z + at, *aside = t->aside ? t->aside + at : NULL;
        const float *gate = t->gate ? t->gate + row / t->each * t->n + j : NULL;
        then_elements(t, whole, z, aside, gate, t->y + at);
        if (rest)
            then_rest(t, rest, z + whole, aside ? aside + whole : NULL, gate ? gate + whole : NULL,
                      t->y + at + whole);
    }
}

static void linear_then_run(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *weight = &call->in[1], *gate = &call->in[3];
    const bool keep = call->out_count > 1;
    const float *bias = call->in[4].data;
    int64_t m = tensor_lead(x, x->rank - 1), k = x->dim[x->rank - 1];
    bool out_in = call->attr[THEN_LAYOUT].integer == LAYOUT_OUT_IN;
    struct then t = {.what = (enum linear_then)call->attr[THEN_WHAT].integer,
                     .erf = call->attr[THEN_FORM].integer == GELU_ERF,
                     .aside = call->in[2].data,
                     .gate = gate->data,
                     .y = call->out[0].data,
                     .z = call->out[keep ? 1 : 0].data,
                     .n = call->out[0].dim[x->rank - 1]};
    t.each = gate->data && gate->dim[0] ? m / gate->dim[0] : 1;
    struct strided w = out_in ? transposed(stored(weight, k)) : stored(weight, t.n);
    product_then(m, t.n, k, stored(x, k), w, (struct addend){.bias = bias},
                 (struct finish){then_tile, &t}, t.z, call->workspace, call->threads);
}

static void weight_grad_run(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *dy = &call->in[1];
    bool out_in = call->attr[WEIGHT_GRAD_LAYOUT].integer == LAYOUT_OUT_IN;
    const struct tensor *down = out_in ? dy : x, *across = out_in ? x : dy;
    int64_t m = down->dim[x->rank - 1], n = across->dim[x->rank - 1];
    product(m, n, tensor_lead(x, x->rank - 1), transposed(stored(down, m)), stored(across, n),
            (struct addend){0}, call->out[0].data, call->workspace, call->threads);
}

KERNEL_LIST(linear) = {
    {"linear", "ff_>f", linear_run},
    {"linear", "fff>f", linear_run},
    {"linear_then", "ff***>f", linear_then_run},
    {"linear_then", "ff***>ff", linear_then_run},
    {"linear_weight_grad", "ff>f", weight_grad_run},
    {0},
};
