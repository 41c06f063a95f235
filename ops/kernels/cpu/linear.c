/* Kernels of linear and its weight gradient. */
#include "ops/kernels/attrs.h"
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
    {"linear_weight_grad", "ff>f", weight_grad_run},
    {0},
};
