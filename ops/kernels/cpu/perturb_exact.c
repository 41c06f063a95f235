/* Exactly k masks in each sequence; ops/perturb_exact.c. */
#include "ops/kernels/cpu/law.h"

static void mask_exactly(const struct kernel_call *call)
{
    const int32_t *x0 = call->in[0].data;
    int32_t *x = call->out[0].data;
    double *masked = call->out[1].data;
    struct positions at = positions_of(&call->in[0]);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (at.count > DRAW_PARALLEL)
    for (int64_t row = 0; row < at.rows; row++) {
        double k = fmin(floor(fmax(time_at(&call->in[1], row), 0)), (double)at.length);
        double left = k;
        for (int64_t i = 0; i < at.length; i++) {
            bool chosen = uniform_at(call, row, i) * (double)(at.length - i) < left;
            int64_t p = row * at.length + i;
            x[p] = chosen ? call->chain->mask : x0[p];
            left -= chosen;
        }
        masked[row] = k;
    }
}

KERNEL_LIST(perturb_exact) = {{"mask_exactly", "td>td", mask_exactly}, {0}};
