/* Runs one kernel of a sampler on plain tensors, and small chains with their matrix exponentials.
 * Included by test_samplers.c and test_sampler_chains.c. */
#ifndef SEDGE_TESTS_SAMPLER_SHOT_H
#define SEDGE_TESTS_SAMPLER_SHOT_H

#include "ops/kernels/attrs.h"
#include "ops/kernels/kernel.h"
#include "ops/kernels/sampler_law.h"
#include "ops/ops.h"
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define STATES 6

/* ------------------------------------------------------------------------------- running ops */

struct shot {
    const struct op *op;
    const struct chain *chain;
    struct tensor in[7], out[2];
    uint32_t in_count, out_count;
    union attr attr[3];
    uint32_t turn; /* the iteration of its draws */
    void *workspace;
};

static inline struct tensor tensor_make(enum dtype dtype, uint32_t rank, int64_t a, int64_t b,
                                        int64_t c)
{
    struct tensor t = {dtype, rank, {a, b, c}, NULL};
    t.data = calloc((size_t)tensor_size(&t) + 1, sizeof(double));
    cr_assert_not_null(t.data);
    return t;
}

static inline void fire(struct shot *s)
{
    enum dtype in[7], out[2];
    for (uint32_t i = 0; i < s->in_count; i++)
        in[i] = s->in[i].data ? s->in[i].dtype : DT_COUNT;
    for (uint32_t i = 0; i < s->out_count; i++)
        out[i] = s->out[i].dtype;
    const struct kernel *kernel =
        kernel_find(rig_isa(), s->op->name, in, s->in_count, out, s->out_count);
    cr_assert_not_null(kernel, "no kernel of %s", s->op->name);
    struct kernel_call call = {.in_count = s->in_count,
                               .out_count = s->out_count,
                               .in = s->in,
                               .out = s->out,
                               .attr = s->attr,
                               .chain = s->chain,
                               .workspace = s->workspace,
                               .threads = 2,
                               .key = random_key(11, "test"),
                               .iteration = s->turn++,
                               .stream = random_stream(s->op->name),
                               .sequences = 1 << 20};
    kernel->run(&call);
}

/* x, log_p or log_score, and TIMES numbers, each one for a row; then COUNT inputs in all. */
static inline struct shot shot_make(const struct op *op, const struct chain *chain, int64_t rows,
                                    int64_t length, uint32_t times, uint32_t count)
{
    struct shot s = {.op = op, .chain = chain, .in_count = count, .out_count = op->result_count};
    s.in[0] = tensor_make(DT_TOKEN, 2, rows, length, 0);
    s.in[1] = tensor_make(DT_F32, 3, rows, length, chain->states);
    for (uint32_t i = 0; i < times; i++)
        s.in[2 + i] = tensor_make(DT_F64, 1, rows, 0, 0);
    s.out[0] = tensor_make(DT_TOKEN, 2, rows, length, 0);
    s.out[1] = tensor_make(DT_F64, 1, rows, 0, 0);
    int64_t bytes = 3 * transition_bytes(chain) + (2 * length + 2) * chain->states * 8;
    cr_assert(posix_memalign(&s.workspace, 64, (size_t)bytes) == 0);
    return s;
}

static inline void shot_free(struct shot *s)
{
    for (uint32_t i = 0; i < 7; i++)
        free(s->in[i].data);
    free(s->out[0].data);
    free(s->out[1].data);
    free(s->workspace);
}

static inline void set_all(struct tensor *t, double value)
{
    for (int64_t i = 0; i < tensor_size(t); i++)
        if (t->dtype == DT_F64)
            ((double *)t->data)[i] = value;
        else
            ((int32_t *)t->data)[i] = (int32_t)value;
}

/* ----------------------------------------------------------------------------------- chains */

/* A table from a small dense Q, whose diagonal is not read. */
struct small_table {
    struct rates rates;
    int64_t from_start[STATES + 1], into_start[STATES + 1];
    int32_t to[STATES * STATES], of[STATES * STATES];
    double from_rate[STATES * STATES], into_rate[STATES * STATES], leave[STATES];
};

static inline struct chain table_make(struct small_table *t, int32_t n,
                                      double (*rate)(int y, int x))
{
    int64_t from = 0, into = 0;
    memset(t, 0, sizeof *t);
    for (int32_t x = 0; x < n; x++) {
        for (int32_t y = 0; y < n; y++) {
            if (y != x && rate(y, x) > 0) {
                t->to[from] = y;
                t->from_rate[from++] = rate(y, x);
                t->leave[x] += rate(y, x);
            }
            if (y != x && rate(x, y) > 0) {
                t->of[into] = y;
                t->into_rate[into++] = rate(x, y);
            }
        }
        t->from_start[x + 1] = from;
        t->into_start[x + 1] = into;
        t->rates.fastest = fmax(t->rates.fastest, t->leave[x]);
    }
    t->rates.states = n;
    t->rates.count = from;
    t->rates.from_start = t->from_start;
    t->rates.to = t->to;
    t->rates.from_rate = t->from_rate;
    t->rates.into_start = t->into_start;
    t->rates.of = t->of;
    t->rates.into_rate = t->into_rate;
    t->rates.leave = t->leave;
    t->rates.text = "test";
    return chain_table(n, &t->rates);
}

static inline double cyclic_rate(int y, int x)
{
    return y == (x + 1) % 3 ? 1.0 : 0.0;
}
static inline double dense_rate(int y, int x)
{
    return 0.1 + 0.13 * ((3 * y + 5 * x) % 7);
}

#define CHAINS 6
static inline struct chain chain_number(int i, struct small_table *table)
{
    switch (i) {
    case 0:
        return chain_absorb(3);
    case 1:
        return chain_uniform(4);
    case 2:
        return chain_mix(3, 0.7, 0.3, 0);
    case 3:
        return chain_mix(3, 0.6, 0.4, 0.4);
    case 4:
        return table_make(table, 3, cyclic_rate); /* its transpose is another chain */
    default:
        return table_make(table, 4, dense_rate);
    }
}

/* exp(sigma Q), P[y * n + x], by twenty Taylor terms at sigma / 2^12 and squaring. */
static inline void exponential(const struct chain *chain, double sigma, double *p)
{
    int n = chain->states;
    double step[STATES * STATES], term[STATES * STATES], next[STATES * STATES];
    for (int i = 0; i < n * n; i++) {
        step[i] = ldexp(sigma * chain_rate(chain, i / n, i % n), -12);
        p[i] = term[i] = i / n == i % n;
    }
    for (int k = 1; k < 32; k++) { /* 1 .. 19: terms; then squarings */
        const double *a = k < 20 ? term : p, *b = k < 20 ? step : p;
        for (int i = 0; i < n * n; i++) {
            next[i] = 0;
            for (int j = 0; j < n; j++)
                next[i] += a[i / n * n + j] * b[j * n + i % n];
        }
        for (int i = 0; i < n * n; i++) {
            if (k < 20)
                p[i] += term[i] = next[i] / k;
            else
                p[i] = next[i];
        }
    }
}

/* The law of a clean token, and where it is at SIGMA. */
static inline void clean_law(const struct chain *chain, double *law)
{
    double sum = 0;
    for (int y = 0; y < chain->states; y++)
        sum += law[y] = y < chain->tokens ? 1 + 0.7 * y * y : 0;
    for (int y = 0; y < chain->states; y++)
        law[y] /= sum;
}
static inline void apply(const double *p, int n, const double *from, double *to)
{
    for (int y = 0; y < n; y++) {
        to[y] = 0;
        for (int x = 0; x < n; x++)
            to[y] += p[y * n + x] * from[x];
    }
}

static inline void set_rows(struct shot *s, int32_t x, const double *law)
{
    float *row = s->in[1].data;
    set_all(&s->in[0], x);
    for (int64_t i = 0; i < tensor_size(&s->in[1]); i++)
        row[i] = (float)log(law[i % s->chain->states]);
}

#endif
