/* All sequences of a small space and their probabilities, losses over them, and their gradient;
 * ops/enumerated.c. The spaces are toys: one loop over rows or pairs, on one thread. */
#include "ops/kernels/cpu/position.h"

#include "ops/kernels/attrs.h"
#include "ops/kernels/enumerated_pairs.h"

static void all_sequences(const struct kernel_call *call)
{
    const int64_t rows = call->out[0].dim[0], length = call->out[0].dim[1];
    const int64_t states = call->chain->states;
    int32_t *x = call->out[0].data;
    double *sigma = call->out[1].data;
    for (int64_t row = 0; row < rows; row++) {
        int64_t rest = row;
        for (int64_t i = length - 1; i >= 0; i--, rest /= states)
            x[row * length + i] = (int32_t)(rest % states);
        sigma[row] = time_at(&call->in[0], row);
    }
}

static double reach(const struct transition *p, const int32_t *x, const int32_t *x0, int64_t length)
{
    double product = 1;
    for (int64_t i = 0; i < length; i++)
        product *= transition_at(p, x[i], x0[i]);
    return product;
}

static void noised_law(const struct kernel_call *call)
{
    const int32_t *x = call->in[0].data, *x0 = call->in[1].data;
    const int64_t rows = call->in[0].dim[0], length = call->in[0].dim[1];
    const int64_t batch = call->in[1].dim[0];
    double *out = call->out[0].data;
    struct transition p = {.sigma = 0};
    for (int64_t row = 0; row < rows; row++) {
        double sum = 0;
        next_transition(call, row, time_at(&call->in[2], row), &p);
        for (int64_t k = 0; k < batch; k++)
            sum += reach(&p, x + row * length, x0 + k * length, length);
        out[row] = batch ? sum / (double)batch : 0;
    }
}

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
    {"all_sequences", "d>td", all_sequences},
    {"noised_law", "ttd>d", noised_law},
    {"plain_score_entropy", "fd>d", plain},
    {"implicit_score_entropy", "fd>d", implicit},
    {"plain_score_entropy_backward", "fdd>fd", plain_backward},
    {"implicit_score_entropy_backward", "fdd>fd", implicit_backward},
    {0},
};
