/* Kernel of timestep_features. In double: sigma reaches 20, where an f32 may be off by 1e-6. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/vector.h"
#include "ops/kernels/kernel.h"

static void features_run(const struct kernel_call *call)
{
    const double *sigma = call->in[0].data;
    float *y = call->out[0].data;
    int64_t rows = call->out[0].dim[0], size = call->out[0].dim[1], half = size / 2;
    double step = -log(call->attr[FEATURES_PERIOD].real) / (double)half;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * size > 1 << 12)
    for (int64_t r = 0; r < rows; r++) {
        float *row = y + r * size;
#pragma omp simd
        for (int64_t i = 0; i < half; i++) {
            double angle = sigma[r] * exp(step * (double)i);
            row[i] = (float)cos(angle);
            row[half + i] = (float)sin(angle);
        }
    }
}

KERNEL_LIST(features) = {
    {"timestep_features", "d>f", features_run},
    {0},
};
