/* The terms at the two ends of the likelihood bound, and where sampling starts; ops/bound.c says
 * what they are. */
#include "ops/kernels/cpu/cost_row.h"
#include "ops/kernels/cpu/step_row.h"

static void base_draw(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const int32_t *x = call->in[0].data;
    const float *log_score = call_has(call, 2) ? call->in[2].data : NULL;
    int32_t *out = call->out[0].data;
    struct positions at = positions_of(&call->in[0]);
    int64_t states = chain->states;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        if (!chain_leaks(chain) || x[p] != chain->mask) {
            out[p] = x[p];
            continue;
        }
        int64_t row = p / at.length;
        out[p] = base_token(chain, time_at(&call->in[1], row), log_score + p * states,
                            uniform_of(call, 3, row, p % at.length, at.length));
    }
}

static void base_cost_table(const struct kernel_call *call, struct positions at)
{
    const int32_t *x0 = call->in[0].data;
    double *out = call->out[0].data;
    for (int64_t row = 0; row < at.rows; row++) {
        const int32_t *first = x0 + row * at.length;
        struct transition p = room_transition(call->chain, time_at(&call->in[1], row), first,
                                              at.length, call->workspace, call->threads);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * call->chain->states > LAW_PARALLEL)
        for (int64_t i = 0; i < at.length; i++)
            out[row * at.length + i] = base_divergence(&p, first[i]);
    }
}

static void base_cost(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const int32_t *x0 = call->in[0].data;
    const float *log_score = call_has(call, 2) ? call->in[2].data : NULL;
    double *out = call->out[0].data;
    struct positions at = positions_of(&call->in[0]);
    int64_t states = chain->states;
    if (chain->kind == CHAIN_TABLE) {
        base_cost_table(call, at);
        return;
    }
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        double sigma = time_at(&call->in[1], p / at.length);
        if (chain_leaks(chain)) {
            out[p] = leak_cost(chain, sigma, x0[p], log_score + p * states);
        } else {
            struct transition at_sigma = transition_flat(chain, sigma);
            out[p] = base_divergence(&at_sigma, x0[p]);
        }
    }
}

static void reconstruction_table(const struct kernel_call *call, struct positions at)
{
    const int64_t n = call->chain->states;
    const int32_t *x = call->in[0].data, *x0 = call->in[1].data;
    const float *log_score = call->in[2].data;
    double *out = call->out[0].data;
    struct transition p = {.sigma = 0};
    for (int64_t row = 0; row < at.rows; row++) {
        next_transition(call, row, time_at(&call->in[3], row), &p);
        const int64_t end = (row + 1) * at.length;
#pragma omp parallel for schedule(static, 1)                                                       \
    num_threads(call->threads) if (at.length * n > LAW_PARALLEL)
        for (int64_t slot = 0; slot < ROOM_SLOTS; slot++)
            for (int64_t i = row * at.length + slot * BACK_GROUP; i < end;
                 i += ROOM_SLOTS * BACK_GROUP) {
                int64_t count = end - i < BACK_GROUP ? end - i : BACK_GROUP;
                back_open(call, p.sigma, slot, x + i, log_score + i * n, count);
                for (int64_t k = i; k < i + count; k++) {
                    struct table_law law =
                        back_law(call, slot, (int)(k - i), log_score + k * n, x[k]);
                    table_decoder(&p, x[k], &law);
                    out[k] = -log(law.weights[x0[k]]);
                }
            }
    }
}

static void reconstruction(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const int32_t *x = call->in[0].data, *x0 = call->in[1].data;
    const float *log_score = call->in[2].data;
    double *out = call->out[0].data;
    struct positions at = positions_of(&call->in[0]);
    if (chain->kind == CHAIN_TABLE) {
        reconstruction_table(call, at);
        return;
    }
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * chain->states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++)
        out[p] = decoder_cost(chain, time_at(&call->in[3], p / at.length), x[p], x0[p],
                              log_score + p * chain->states);
}

KERNEL_LIST(bound) = {
    {"base_draw", "td**>t", base_draw},
    {"base_cost", "td*>d", base_cost},
    {"reconstruction", "ttfd>d", reconstruction},
    {0},
};
