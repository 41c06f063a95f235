/* Kernels of linear and its weight gradient. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/product.h"
#include "ops/kernels/kernel.h"

static void linear_run(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *y = &call->out[0];
    const float *bias = call->in_count > 2 ? call->in[2].data : NULL;
    int64_t m = tensor_lead(x, x->rank - 1), k = x->dim[x->rank - 1], n = y->dim[y->rank - 1];
    bool out_in = call->attr[LINEAR_LAYOUT].integer == LAYOUT_OUT_IN;
    struct blas_matrix a = {x->data, k, false};
    struct blas_matrix w = {call->in[1].data, out_in ? k : n, out_in};
    product(m, n, k, a, w, (struct addend){.bias = bias}, y->data, call->threads);
}

static void weight_grad_run(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *dy = &call->in[1];
    int64_t rows = tensor_lead(x, x->rank - 1);
    int64_t in = x->dim[x->rank - 1], out = dy->dim[dy->rank - 1];
    if (call->attr[WEIGHT_GRAD_LAYOUT].integer == LAYOUT_OUT_IN) {
        struct blas_matrix a = {dy->data, out, true}, b = {x->data, in, false};
        product(out, in, rows, a, b, (struct addend){0}, call->out[0].data, call->threads);
    } else {
        struct blas_matrix a = {x->data, in, true}, b = {dy->data, out, false};
        product(in, out, rows, a, b, (struct addend){0}, call->out[0].data, call->threads);
    }
}

KERNEL_LIST(linear) = {
    {"linear", "ff_>f", linear_run},
    {"linear", "fff>f", linear_run},
    {"linear_weight_grad", "ff>f", weight_grad_run},
    {0},
};
