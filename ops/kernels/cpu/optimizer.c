/* Kernels of the update: one sweep over each parameter, scalars in double and tensors in f32. */
#include "ops/kernels/cpu/vector.h"

#include "ops/kernels/attrs.h"
#include "ops/kernels/kernel.h"

#define BLOCKS 64
#define SERIAL 16384 /* elements below which threads are not worth waking */
#define CHUNK 4096   /* elements that one thread takes at a time */

/* The sum of squares of N elements as eight interleaved sums. */
static double squares(const float *x, int64_t n)
{
    double lane[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            lane[k] += (double)x[i + k] * (double)x[i + k];
    for (; i < n; i++)
        lane[i % 8] += (double)x[i] * (double)x[i];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* Of one tensor: BLOCKS partial sums, then those one after the other. */
static double tensor_squares(const struct kernel_call *call, const struct tensor *x)
{
    int64_t n = tensor_size(x), size = (n + BLOCKS - 1) / BLOCKS;
    double partial[BLOCKS], sum = 0;
    (void)call; /* clang without OpenMP does not read it */
#pragma omp parallel for schedule(static) num_threads(call->threads) if (n > SERIAL)
    for (int64_t b = 0; b < BLOCKS; b++) {
        int64_t from = b * size < n ? b * size : n;
        partial[b] = squares((const float *)x->data + from, n - from < size ? n - from : size);
    }
    for (int b = 0; b < BLOCKS; b++)
        sum += partial[b];
    return sum;
}

static void run_sum_squares(const struct kernel_call *call)
{
    double sum = 0;
    for (uint32_t k = 0; k < call->in_count; k++)
        sum += tensor_squares(call, &call->in[k]);
    *(double *)call->out[0].data = sum;
}

static double scalar(const struct kernel_call *call, uint32_t input)
{
    return *(const double *)call->in[input].data;
}

static void run_clip_scale(const struct kernel_call *call)
{
    double most = call->attr[CLIP_NORM].real, scale = call->attr[CLIP_SCALE].real;
    double norm = scale * sqrt(scalar(call, 0));
    double factor = most > 0 ? most / (norm + 1e-6) : 1;
    bool good =
        isfinite(norm) && (call->in_count < 2 || !call->in[1].data || isfinite(scalar(call, 1)));
    *(double *)call->out[0].data = !good ? NAN : factor > 1 ? scale : scale * factor;
    *(double *)call->out[1].data = norm;
}

static void run_accumulate(const struct kernel_call *call)
{
    const float *row = call->in[0].data, *value = call->in[1].data;
    float *out = call->out[0].data;
    int64_t n = tensor_size(&call->out[0]);
    bool keep = scalar(call, 2) != 0;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (n > SERIAL)
    for (int64_t from = 0; from < n; from += CHUNK) {
        int64_t to = n - from < CHUNK ? n : from + CHUNK;
        for (int64_t i = from; i < to; i++)
            out[i] = keep ? row[i] + value[i] : value[i];
    }
}

/* What one step does to every element. */
struct adamw {
    float scale, keep; /* of the gradient, of the parameter */
    float w1, b2, w2;
    float rate, root, eps;
};

/* REST: gradient, scale, rate and step, which follow the rows. */
static struct adamw adamw_of(const struct kernel_call *call, uint32_t rest)
{
    double beta1 = call->attr[ADAMW_BETA1].real, beta2 = call->attr[ADAMW_BETA2].real;
    double lr = scalar(call, rest + 2), step = scalar(call, rest + 3);
    return (struct adamw){.scale = (float)scalar(call, rest + 1),
                          .keep = (float)(1 - lr * call->attr[ADAMW_DECAY].real),
                          .w1 = (float)(1 - beta1),
                          .b2 = (float)beta2,
                          .w2 = (float)(1 - beta2),
                          .rate = (float)(lr / (1 - pow(beta1, step))),
                          .root = (float)sqrt(1 - pow(beta2, step)),
                          .eps = (float)call->attr[ADAMW_EPS].real};
}

static void adamw_rows(const struct kernel_call *call, const struct adamw *a, int64_t from,
                       int64_t to)
{
    const float *p0 = call->in[0].data, *m0 = call->in[1].data, *v0 = call->in[2].data;
    const float *grad = call->in[call->out_count].data;
    float *p = call->out[0].data, *m = call->out[1].data, *v = call->out[2].data;
    const struct adamw k = *a;
#pragma omp simd
    for (int64_t i = from; i < to; i++) {
        float g = k.scale * grad[i];
        float mi = m0[i] + k.w1 * (g - m0[i]);
        float vi = k.b2 * v0[i] + k.w2 * g * g;
        p[i] = p0[i] * k.keep - k.rate * mi / (sqrtf(vi) / k.root + k.eps);
        m[i] = mi;
        v[i] = vi;
    }
}

static void copy_rows(const struct kernel_call *call, int64_t from, int64_t to)
{
    for (uint32_t k = 0; k < call->out_count; k++)
        if (call->out[k].data != call->in[k].data)
            memcpy((float *)call->out[k].data + from, (const float *)call->in[k].data + from,
                   (size_t)(to - from) * sizeof(float));
}

static void ema_rows(const struct kernel_call *call, float share, int64_t from, int64_t to)
{
    const float *ema = call->in[3].data, *p = call->out[0].data;
    float *out = call->out[3].data;
#pragma omp simd
    for (int64_t i = from; i < to; i++)
        out[i] = ema[i] - share * (ema[i] - p[i]);
}

/* A chunk of the parameter is averaged while it is in the cache. */
static void run_adamw(const struct kernel_call *call)
{
    const struct adamw a = adamw_of(call, call->out_count);
    const bool averaged = call->out_count > 3;
    const double steps = scalar(call, call->out_count + 3), early = (1 + steps) / (10 + steps);
    const double decay = averaged ? call->attr[ADAMW_EMA].real : 0;
    const float share = (float)(1 - (early < decay ? early : decay));
    int64_t n = tensor_size(&call->out[0]);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (n > SERIAL)
    for (int64_t from = 0; from < n; from += CHUNK) {
        int64_t to = n - from < CHUNK ? n : from + CHUNK;
        if (!isfinite(a.scale)) { /* a bad gradient changes nothing */
            copy_rows(call, from, to);
            continue;
        }
        adamw_rows(call, &a, from, to);
        if (averaged)
            ema_rows(call, share, from, to);
    }
}

KERNEL_LIST(optimizer) = {
    {"sum_squares", "f+>d", run_sum_squares},  {"clip_scale", "d>dd", run_clip_scale},
    {"clip_scale", "d_>dd", run_clip_scale},   {"clip_scale", "dd>dd", run_clip_scale},
    {"accumulate", "ffd>f", run_accumulate},   {"adamw", "ffffddd>fff", run_adamw},
    {"adamw_ema", "fffffddd>ffff", run_adamw}, {0},
};
