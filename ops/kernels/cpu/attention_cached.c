/* The kernel of attention_cached; ops/attention_cached.c says what it is. A (row, head) pair is one
 * thread's work: all scores, their softmax, then the sum of values, so that keys and values are
 * read once each, in the order in which they lie. */
#include "ops/kernels/attention_room.h"
#include "ops/kernels/cpu/vector.h"
#include "ops/kernels/kernel.h"

#define KEYS_AT_ONCE 4 /* sums side by side: one alone would wait for the adder */
#define VALUE_VECS 8   /* columns of values that are summed up in registers */

/* One head of one sequence: N cached positions of D columns, and the own key and value. */
struct query {
    const float *q, *k, *v, *keys, *values;
    float *y, *p; /* P: N + 1 scores, padded to whole vectors */
    int64_t n, d;
};

/* q . key for COUNT keys of D columns, times SCALE. */
static inline __attribute__((always_inline)) void
scores(const float *q, const float *keys, int count, int64_t d, float scale, float *s)
{
    vec sum[KEYS_AT_ONCE] = {0};
    float rest[KEYS_AT_ONCE] = {0};
    int64_t c = 0;
    for (; c + VEC_LANES <= d; c += VEC_LANES)
        for (int j = 0; j < count; j++)
            sum[j] += vec_load(q + c) * vec_load(keys + j * d + c);
    for (; c < d; c++)
        for (int j = 0; j < count; j++)
            rest[j] += q[c] * keys[j * d + c];
    for (int j = 0; j < count; j++)
        s[j] = (vec_sum(sum[j]) + rest[j]) * scale;
}

static void all_scores(const struct query *at)
{
    const float scale = 1 / sqrtf((float)at->d);
    int64_t j = 0;
    for (; j + KEYS_AT_ONCE <= at->n; j += KEYS_AT_ONCE)
        scores(at->q, at->keys + j * at->d, KEYS_AT_ONCE, at->d, scale, at->p + j);
    for (; j < at->n; j++)
        scores(at->q, at->keys + j * at->d, 1, at->d, scale, at->p + j);
    scores(at->q, at->k, 1, at->d, scale, at->p + at->n);
}

/* p becomes exponentials relative to the largest; returns 1 / their sum. */
static float exponentials(const struct query *at)
{
    const int64_t whole = (at->n + VEC_LANES) / VEC_LANES * VEC_LANES;
    for (int64_t j = at->n + 1; j < whole; j++)
        at->p[j] = -INFINITY;
    vec most = vec_load(at->p), sum = {0};
    for (int64_t j = VEC_LANES; j < whole; j += VEC_LANES)
        most = vec_max(most, vec_load(at->p + j));
    most = vec_all(vec_most(most));
    for (int64_t j = 0; j < whole; j += VEC_LANES) {
        vec e = vec_exp(vec_load(at->p + j) - most);
        vec_store(at->p + j, e);
        sum += e;
    }
    return 1 / vec_sum(sum);
}

/* VECS vectors of columns C on. */
static inline __attribute__((always_inline)) void values_sum(const struct query *at, int64_t c,
                                                             int vecs, float factor)
{
    vec sum[VALUE_VECS];
    for (int i = 0; i < vecs; i++)
        sum[i] = at->p[at->n] * vec_load(at->v + c + i * VEC_LANES);
    for (int64_t j = 0; j < at->n; j++)
        for (int i = 0; i < vecs; i++)
            sum[i] += at->p[j] * vec_load(at->values + j * at->d + c + i * VEC_LANES);
    for (int i = 0; i < vecs; i++)
        vec_store(at->y + c + i * VEC_LANES, sum[i] * factor);
}

static void all_values(const struct query *at, float factor)
{
    int64_t c = 0;
    for (; c + VALUE_VECS * VEC_LANES <= at->d; c += VALUE_VECS * VEC_LANES)
        values_sum(at, c, VALUE_VECS, factor);
    for (; c + 4 * VEC_LANES <= at->d; c += 4 * VEC_LANES)
        values_sum(at, c, 4, factor);
    for (; c + VEC_LANES <= at->d; c += VEC_LANES)
        values_sum(at, c, 1, factor);
    for (; c < at->d; c++) {
        float sum = at->p[at->n] * at->v[c];
        for (int64_t j = 0; j < at->n; j++)
            sum += at->p[j] * at->values[j * at->d + c];
        at->y[c] = sum * factor;
    }
}

static int64_t clamp(int64_t x, int64_t most)
{
    return x < 0 ? 0 : x < most ? x : most;
}

/* The head of task TASK: each row has as many as go into its columns. */
static struct query query_at(const struct kernel_call *call, int64_t task)
{
    const struct tensor *q = &call->in[0], *keys = &call->in[3];
    const int64_t all = keys->dim[1], length = keys->dim[2], d = keys->dim[3];
    const int64_t heads = q->dim[1] / d, own = task * d;
    const int64_t layer = clamp(*(const int32_t *)call->in[5].data, all / heads - 1);
    const int64_t head = task / heads * all + layer * heads + task % heads;
    return (struct query){.q = (const float *)q->data + own,
                          .k = (const float *)call->in[1].data + own,
                          .v = (const float *)call->in[2].data + own,
                          .keys = (const float *)keys->data + head * length * d,
                          .values = (const float *)call->in[4].data + head * length * d,
                          .y = (float *)call->out[0].data + own,
                          .n = clamp(*(const int32_t *)call->in[6].data, length),
                          .d = d};
}

/* Which slot of scratch a task gets changes no result. */
static void attention_cached(const struct kernel_call *call)
{
    const struct tensor *q = &call->in[0], *keys = &call->in[3];
    const int64_t tasks = q->dim[0] * (q->dim[1] / keys->dim[3]);
    const int64_t slots = attention_cached_slots(tasks < call->threads ? tasks : call->threads);
    if (tasks == 0)
        return;
#pragma omp parallel for schedule(static) num_threads((int)slots)
    for (int64_t slot = 0; slot < slots; slot++)
        for (int64_t t = tasks * slot / slots; t < tasks * (slot + 1) / slots; t++) {
            struct query at = query_at(call, t);
            at.p = (float *)call->workspace + slot * attention_cached_scores(keys->dim[2]);
            all_scores(&at);
            all_values(&at, exponentials(&at));
        }
}

KERNEL_LIST(attention_cached) = {
    {"attention_cached", "fffffii>f", attention_cached},
    {0},
};
