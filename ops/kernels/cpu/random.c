/* Kernel of random_uniform: each number from its own counter, so that rows run in any order. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/kernel.h"

static double stratum(const struct kernel_call *call, uint32_t sequence, double u)
{
    if (!call->attr[UNIFORM_STRATIFIED].flag)
        return u;
    return (sequence % call->sequences + u) / call->sequences;
}

static void run_random_uniform(const struct kernel_call *call)
{
    const struct tensor *y = &call->out[0];
    double *out = y->data;
    double low = call->attr[UNIFORM_LOW].real;
    double width = call->attr[UNIFORM_HIGH].real - low;
    int64_t rows = y->rank ? y->dim[0] : 1;
    int64_t size = rows ? tensor_size(y) / rows : 0;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * size > 4096)
    for (int64_t row = 0; row < rows; row++) {
        uint32_t sequence = call->sequence + (uint32_t)row;
        for (int64_t i = 0; i < size; i++) {
            double u =
                random_uniform(call->key, call->iteration, call->stream, sequence, (uint32_t)i);
            out[row * size + i] = low + width * stratum(call, sequence, u);
        }
    }
}

KERNEL_LIST(random) = {{"random_uniform", ">d", run_random_uniform}, {0}};
