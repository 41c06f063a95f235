/* The ancestral step; ops/ancestral.c says what it is. Flat chains take one pass over the row of a
 * position, table chains a product with P_s. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/step_row.h"

static struct step_transitions step_make(const struct kernel_call *call, double from, double to)
{
    char *room = call->workspace;
    int64_t bytes = transition_bytes(call->chain);
    to = to < from ? to : from;
    return (struct step_transitions){
        transition_make(call->chain, from, NULL, 0, room, call->threads),
        transition_make(call->chain, to, NULL, 0, room + bytes, call->threads),
        transition_make(call->chain, from - to, NULL, 0, room + 2 * bytes, call->threads),
    };
}

/* V and WEIGHT: rows over the states. */
static int32_t step_table(const float *log_p, const struct step_transitions *p, int32_t x,
                          bool cavity, double u, double *v, double *weight)
{
    int32_t n = p->t.chain->states;
    for (int32_t x0 = 0; x0 < n; x0++) {
        double reach = transition_at(&p->t, x, x0);
        bool counts = x0 < p->t.chain->tokens && (cavity || reach > 0);
        v[x0] = counts ? exp((double)log_p[x0]) / (cavity ? 1 : reach) : 0;
    }
    transition_apply(&p->s, v, weight);
    for (int32_t y = 0; y < n; y++)
        weight[y] *= transition_at(&p->d, x, y);
    struct weight_row row = row_of_array(weight, n, x);
    struct block_sums sums;
    sum_array(&row, &sums);
    return draw_row(&row, &sums, u);
}

/* Position P, I of its sequence, by the transitions of its row; ROWS: two rows over the states. */
static void step_position(const struct kernel_call *call, const struct step_transitions *p,
                          int64_t row, int64_t i, int64_t length, double *rows)
{
    const struct chain *chain = call->chain;
    int64_t at = row * length + i, n = chain->states;
    int32_t x = ((const int32_t *)call->in[0].data)[at];
    const float *log_p = (const float *)call->in[1].data + at * n;
    bool cavity = call->attr[ANCESTRAL_HEAD].integer == ANCESTRAL_CAVITY;
    double u = uniform_of(call, 5, row, i, length);
    int32_t *y = (int32_t *)call->out[0].data + at;
    if (position_kept(call, 4, at) || x < 0 || x >= n || chain_frozen(chain, x))
        *y = x;
    else if (chain->kind == CHAIN_FLAT)
        *y = ancestral_draw(log_p, p, x, cavity, u);
    else
        *y = step_table(log_p, p, x, cavity, u, rows, rows + n);
}

static void ancestral_flat(const struct kernel_call *call, struct positions at)
{
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * call->chain->states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        int64_t row = p / at.length;
        struct step_transitions step =
            step_make(call, time_at(&call->in[2], row), time_at(&call->in[3], row));
        step_position(call, &step, row, p % at.length, at.length, NULL);
    }
}

/* P is dear: one for all rows that have the same times. */
static void ancestral_table(const struct kernel_call *call, struct positions at)
{
    const int64_t n = call->chain->states;
    double *rows = (double *)((char *)call->workspace + 3 * transition_bytes(call->chain));
    struct step_transitions step = {{0}, {0}, {0}};
    for (int64_t row = 0; row < at.rows; row++) {
        double from = time_at(&call->in[2], row), to = time_at(&call->in[3], row);
        if (row == 0 || from != time_at(&call->in[2], row - 1) ||
            to != time_at(&call->in[3], row - 1))
            step = step_make(call, from, to);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * n > LAW_PARALLEL)
        for (int64_t i = 0; i < at.length; i++)
            step_position(call, &step, row, i, at.length, rows + 2 * i * n);
    }
}

static void ancestral(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    if (call->chain->kind == CHAIN_FLAT)
        ancestral_flat(call, at);
    else
        ancestral_table(call, at);
}

KERNEL_LIST(ancestral) = {{"ancestral", "tfdd**>t", ancestral}, {0}};
