/* Losses over all sequences of a small space, and their gradient; ops/enumerated.c. The spaces are
 * toys: one loop over pairs, on one thread. */
#include "ops/kernels/cpu/vector.h"

#include "ops/kernels/enumerated_pairs.h"
#include "ops/kernels/kernel.h"

static void loss(const struct kernel_call *call, pair_term *term)
{
    const float *log_score = call->in[0].data;
    const int64_t entries = tensor_size(&call->in[0]);
    struct pair pair = {.chain = call->chain, .length = call->in[0].dim[1]};
    double sum = 0;
    for (int64_t i = 0; i < entries; i++)
        if (pair_at(&pair, i, call->in[1].data))
            sum += term(&pair, (double)log_score[i]);
    *(double *)call->out[0].data = sum;
}
static void plain(const struct kernel_call *call)
{
    loss(call, pair_plain);
}
static void implicit(const struct kernel_call *call)
{
    loss(call, pair_implicit);
}

static void backward(const struct kernel_call *call, bool ratio)
{
    const float *log_score = call->in[0].data;
    const int64_t entries = tensor_size(&call->in[0]), rows = tensor_size(&call->in[1]);
    const double g = *(const double *)call->in[2].data;
    struct pair pair = {.chain = call->chain, .length = call->in[0].dim[1]};
    float *out = call->out[0].data;
    double *dp = call->out[1].data;
    for (int64_t i = 0; i < rows; i++)
        dp[i] = 0;
    for (int64_t i = 0; i < entries; i++) {
        double log_s = (double)log_score[i];
        out[i] = 0;
        if (!pair_at(&pair, i, call->in[1].data))
            continue;
        out[i] = (float)(g * pair_slope(&pair, log_s));
        dp[pair.x] += g * pair.rate * (exp(log_s) - (ratio ? pair.py / pair.px : 0));
        dp[pair.y] += g * pair.rate * ((ratio ? log(pair.py / pair.px) : 0) - log_s);
    }
}
static void plain_backward(const struct kernel_call *call)
{
    backward(call, true);
}
static void implicit_backward(const struct kernel_call *call)
{
    backward(call, false);
}

KERNEL_LIST(enumerated) = {
    {"plain_score_entropy", "fd>d", plain},
    {"implicit_score_entropy", "fd>d", implicit},
    {"plain_score_entropy_backward", "fdd>fd", plain_backward},
    {"implicit_score_entropy_backward", "fdd>fd", implicit_backward},
    {0},
};
