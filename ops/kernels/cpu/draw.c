/* Draws of one state a row; ops/draw.c says from what. */
#include "ops/kernels/cpu/law.h"

static void categorical(const struct kernel_call *call)
{
    const struct tensor *in = &call->in[0];
    int32_t *out = call->out[0].data;
    struct positions at = positions_of(&call->out[0]);
    int64_t count = in->dim[in->rank - 1];
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * count > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        struct weight_row weights = row_of_array(NULL, count, -1);
        if (in->dtype == DT_F32)
            weights.f32 = (const float *)in->data + p * count;
        else
            weights.f64 = (const double *)in->data + p * count;
        struct block_sums sums;
        sum_array(&weights, &sums);
        out[p] = draw_row(&weights, &sums, uniform_at(call, p / at.length, p % at.length));
    }
}

static void draw_law(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->out[0]);
    const int64_t n = call->in[0].dim[call->in[0].rank - 1];
    int32_t *out = call->out[0].data;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * n > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        const float *log_p = (const float *)call->in[0].data + p * n;
        out[p] = draw_logs(log_p, n, uniform_of(call, 1, p / at.length, p % at.length, at.length));
    }
}

KERNEL_LIST(draw) = {
    {"categorical", "f>t", categorical},
    {"categorical", "d>t", categorical},
    {"draw_law", "f*>t", draw_law},
    {0},
};
