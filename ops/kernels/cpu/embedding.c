/* Kernels of embedding and one_hot. Soft rows over the alphabet are a matrix product; ids are
 * look-ups, and on the way back sums whose order is that of the ids, whatever the threads: each
 * thread owns columns of the table, not ids. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/product.h"
#include "ops/kernels/cpu/vector.h"
#include "ops/kernels/kernel.h"

static void lookup_run(const struct kernel_call *call)
{
    const struct tensor *ids = &call->in[0], *table = &call->in[1];
    const int32_t *id = ids->data;
    const float *rows = table->data;
    float *y = call->out[0].data;
    int64_t count = tensor_size(ids), size = table->dim[1];
#pragma omp parallel for schedule(static) num_threads(call->threads) if (count * size > 1 << 15)
    for (int64_t r = 0; r < count; r++) {
        if (id[r] >= 0 && id[r] < table->dim[0]) {
            memcpy(y + r * size, rows + id[r] * size, (size_t)size * sizeof *y);
            continue;
        }
        for (int64_t i = 0; i < size; i++)
            y[r * size + i] = NAN;
    }
}

static void soft_run(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *table = &call->in[1];
    int64_t rows = table->dim[0], size = table->dim[1];
    product(tensor_size(x) / rows, size, rows, (struct strided){x->data, rows, 1},
            (struct strided){table->data, size, 1}, (struct addend){0}, call->out[0].data,
            call->workspace, call->threads);
}

#define BLOCK 64 /* columns of the table that one thread sums at a time: 256 bytes of each row */

static void backward_columns(const struct kernel_call *call, int64_t from, int64_t to)
{
    const int32_t *id = call->in[0].data;
    const float *dy = call->in[1].data;
    float *dw = call->out[0].data;
    int64_t count = tensor_size(&call->in[0]);
    int64_t rows = call->out[0].dim[0], size = call->out[0].dim[1];
    for (int64_t r = 0; r < rows; r++)
        memset(dw + r * size + from, 0, (size_t)(to - from) * sizeof *dw);
    for (int64_t r = 0; r < count; r++) {
        if (id[r] < 0 || id[r] >= rows)
            continue;
        float *into = dw + id[r] * size;
#pragma omp simd
        for (int64_t i = from; i < to; i++)
            into[i] += dy[r * size + i];
    }
}

static void backward_run(const struct kernel_call *call)
{
    int64_t size = call->out[0].dim[1], blocks = (size + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(                                             \
    call->threads) if (tensor_size(&call->in[1]) + tensor_size(&call->out[0]) > 1 << 15)
    for (int64_t b = 0; b < blocks; b++)
        backward_columns(call, b * BLOCK, size < (b + 1) * BLOCK ? size : (b + 1) * BLOCK);
}

static void one_hot_run(const struct kernel_call *call)
{
    const int32_t *id = call->in[0].data;
    float *y = call->out[0].data;
    int64_t count = tensor_size(&call->in[0]), rows = call->out[0].dim[call->out[0].rank - 1];
    memset(y, 0, (size_t)(count * rows) * sizeof *y);
    for (int64_t r = 0; r < count; r++)
        if (id[r] >= 0 && id[r] < rows)
            y[r * rows + id[r]] = 1;
}

KERNEL_LIST(embedding) = {
    {"embedding", "tf>f", lookup_run},
    {"embedding", "if>f", lookup_run},
    {"embedding", "ff>f", soft_run},
    {"one_hot", "t>f", one_hot_run},
    {"one_hot", "i>f", one_hot_run},
    {"embedding_backward", "tf>f", backward_run},
    {"embedding_backward", "if>f", backward_run},
    {0},
};
