/* The projection of scores to what some law could have; ops/projection.c has the mathematics. Sums
 * over states are in double; each row is one thread's. */
#include "ops/kernels/cpu/projection_row.h"

/* The scores at the mask X, but for a factor. */
static void table_mask_scores(const struct rates *rates, int32_t x, const float *row, double *score)
{
    double most = -INFINITY;
    for (int64_t k = rates->into_start[x]; k < rates->into_start[x + 1]; k++)
        most = fmax(most, (double)row[rates->of[k]]);
    const double shift = table_shift(most);
#pragma omp simd
    for (int64_t y = 0; y < rates->states; y++)
        score[y] = exp((double)row[y] - shift);
    score[x] = 1;
}

static void table_project_row(const struct kernel_call *call, const struct transition *p,
                              int64_t slot, int32_t x, const float *row, float *out)
{
    const struct chain *chain = call->chain;
    if (chain->rates->into_start[x] == chain->rates->into_start[x + 1]) { /* nothing leads to x */
        memmove(out, row, (size_t)chain->states * sizeof *out);
        out[x] = 0;
        return;
    }
    struct table_law law = table_law_at(call, slot, row, x);
    struct total_limits limits = table_limits(p, x, law.term, law.next);
    if (x == chain->mask) {
        table_mask_scores(chain->rates, x, row, law.score);
        table_scale(chain->rates, x, limits, law.score);
    }
    table_project(chain->rates, x, law.term, law.next, limits.most, law.score);
    for (int64_t y = 0; y < chain->states; y++)
        out[y] = (float)log(law.score[y]);
    out[x] = 0;
}

static void table_project_score(const struct kernel_call *call, struct positions at)
{
    const struct chain *chain = call->chain;
    const float *log_score = call->in[0].data;
    const int32_t *x = call->in[1].data;
    float *out = call->out[0].data;
    struct transition p = {.sigma = 0};
    for (int64_t row = 0; row < at.rows; row++) {
        next_transition(call, row, time_at(&call->in[2], row), &p);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * chain->states > LAW_PARALLEL)
        for (int64_t slot = 0; slot < ROOM_SLOTS; slot++)
            for (int64_t i = row * at.length + slot; i < (row + 1) * at.length; i += ROOM_SLOTS)
                table_project_row(call, &p, slot, x[i], log_score + i * chain->states,
                                  out + i * chain->states);
    }
}

static void project_score(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const float *log_score = call->in[0].data;
    const int32_t *x = call->in[1].data;
    float *out = call->out[0].data;
    struct positions at = positions_of(&call->in[1]);
    int64_t states = chain->states;
    if (chain->raw) {
        memmove(out, log_score, (size_t)(at.count * states) * sizeof *out);
        return;
    }
    if (chain->kind == CHAIN_TABLE) {
        table_project_score(call, at);
        return;
    }
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        struct transition noise = transition_flat(chain, time_at(&call->in[2], p / at.length));
        project_row(&noise, x[p], log_score + p * states, out + p * states);
    }
}

KERNEL_LIST(projection) = {{"project_score", "ftd>f", project_score}, {0}};
