/* Kernels of attention and rope. A (row, head) pair is one thread's work: it goes through the keys
 * in blocks, packs each block once, and runs all queries over it in tiles, so that the scores of
 * one tile are all that ever exists of the square of the length.
 *
 * Forward, for each query: the largest score so far and the sum of exponentials relative to it;
 * when a block raises the largest score, what was summed is scaled down. Backward: the scores
 * again, five products a tile. All products are the micro kernel's (gemm_small.h). */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/gemm_small.h"
#include "ops/kernels/kernel.h"

#define KEYS ATTENTION_KEYS
#define QUERIES ATTENTION_QUERIES

/* One head of one sequence: matrices of D columns, DIM floats from row to row. */
struct head {
    int64_t m, n, d, dim; /* queries, keys */
    int64_t ahead;        /* causal: query i sees keys up to i + ahead; otherwise n */
    int64_t q_at, k_at;   /* where it starts in tensors of queries and of keys */
    int64_t lse_at;
    float scale; /* 1 / sqrt d */
    float *slot; /* scratch */
};

/* Floats that PANELS panels, TILES tiles and ROWS numbers a query take; 64-byte multiples. */
static int64_t slot_size(const struct kernel_call *call, int64_t panels, int64_t tiles,
                         int64_t rows)
{
    const struct tensor *q = &call->in[0];
    int64_t d = q->dim[2] / call->attr[ATTENTION_HEADS].integer;
    return panels * round_up(d, ATTENTION_PAD) * KEYS + tiles * QUERIES * KEYS +
           rows * round_up(q->dim[1], 16);
}

static struct head head_at(const struct kernel_call *call, int64_t task, float *slot)
{
    const struct tensor *q = &call->in[0], *k = &call->in[1];
    int64_t heads = call->attr[ATTENTION_HEADS].integer, row = task / heads;
    struct head at = {.m = q->dim[1], .n = k->dim[1], .dim = q->dim[2], .slot = slot};
    at.d = at.dim / heads;
    at.ahead = call->attr[ATTENTION_CAUSAL].flag ? at.n - at.m : at.n;
    at.q_at = row * at.m * at.dim + task % heads * at.d;
    at.k_at = row * at.n * at.dim + task % heads * at.d;
    at.lse_at = task * at.m;
    at.scale = 1 / sqrtf((float)at.d);
    return at;
}

/* Rows FROM .. of a matrix of keys or queries, as they lie and transposed. */
static struct strided rows_of(const float *x, const struct head *at, int64_t from)
{
    return (struct strided){x + from * at->dim, at->dim, 1};
}
static struct strided transposed(struct strided a)
{
    return (struct strided){a.data, a.cs, a.rs};
}

/* A block of keys and a tile of queries. */
struct tile {
    int64_t k, keys;    /* first key, how many */
    int64_t q, queries; /* first query, how many */
};

/* Keys of the tile that query I of it sees. */
static int64_t seen(const struct head *at, const struct tile *t, int64_t i)
{
    int64_t keys = t->q + i + at->ahead + 1 - t->k;
    return keys < 0 ? 0 : keys < t->keys ? keys : t->keys;
}

/* The first query, in whole tiles, that sees key K. */
static int64_t first_query(const struct head *at, int64_t k)
{
    int64_t q = k - at->ahead;
    return q > 0 ? q / QUERIES * QUERIES : 0;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* s[0 .. count) and its padding up to whole vectors: scaled, unseen keys at -INFINITY. */
static vec row_scale(float *s, int64_t count, int64_t width, float scale)
{
    for (int64_t j = count; j < width; j++)
        s[j] = -INFINITY;
    vec most = vec_all(-INFINITY);
    for (int64_t j = 0; j < width; j += VEC_LANES) {
        vec x = vec_load(s + j) * scale;
        vec_store(s + j, x);
        most = vec_max(most, x);
    }
    return most;
}

/* One row of scores becomes exponentials; *MOST and *SUM move on, and the factor by which
 * everything summed before shrinks is returned. */
static float row_softmax(float *s, int64_t count, int64_t width, float scale, float *most,
                         float *sum)
{
    float old = *most, now = vec_most(row_scale(s, count, width, scale));
    now = now > old ? now : old;
    vec total = {0}, less = vec_all(now);
    for (int64_t j = 0; j < width; j += VEC_LANES) {
        vec p = vec_exp(vec_load(s + j) - less);
        vec_store(s + j, p);
        total += p;
    }
    float shrink = expf(old - now);
    *sum = *sum * shrink + vec_sum(total);
    *most = now;
    return shrink;
}

static void row_multiply(float *x, int64_t n, float factor)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] *= factor;
}

static void forward_tile(const struct kernel_call *call, const struct head *at,
                         const struct tile *t, const float *keys, const float *values, float *s,
                         float *most, float *sum)
{
    struct strided q = rows_of((const float *)call->in[0].data + at->q_at, at, t->q);
    float *y = (float *)call->out[0].data + at->q_at + t->q * at->dim;
    int64_t width = round_up(t->keys, VEC_LANES);
    panels_multiply(q, t->queries, at->d, keys, t->keys, s, KEYS, 0);
    for (int64_t i = 0; i < t->queries; i++) {
        int64_t count = seen(at, t, i);
        if (count == 0) {
            memset(s + i * KEYS, 0, (size_t)width * sizeof *s);
            continue;
        }
        float shrink =
            row_softmax(s + i * KEYS, count, width, at->scale, most + t->q + i, sum + t->q + i);
        if (t->k > 0 && shrink != 1)
            row_multiply(y + i * at->dim, at->d, shrink);
    }
    struct strided p = {s, KEYS, 1};
    panels_multiply(p, t->queries, t->keys, values, at->d, y, at->dim, t->k > 0);
}

static void forward_head(const struct kernel_call *call, const struct head *at)
{
    int64_t panel = round_up(at->d, ATTENTION_PAD) * KEYS;
    float *keys = at->slot, *values = keys + panel, *s = values + panel;
    float *most = s + QUERIES * KEYS, *sum = most + round_up(at->m, 16);
    for (int64_t i = 0; i < at->m; i++) {
        most[i] = -INFINITY;
        sum[i] = 0;
    }
    for (int64_t k = 0; k < at->n; k += KEYS) {
        struct tile t = {.k = k, .keys = least(KEYS, at->n - k)};
        struct strided kt = rows_of((const float *)call->in[1].data + at->k_at, at, k);
        struct strided v = rows_of((const float *)call->in[2].data + at->k_at, at, k);
        panels_pack(transposed(kt), at->d, t.keys, keys);
        panels_pack(v, t.keys, at->d, values);
        for (t.q = first_query(at, k); t.q < at->m; t.q += QUERIES) {
            t.queries = least(QUERIES, at->m - t.q);
            forward_tile(call, at, &t, keys, values, s, most, sum);
        }
    }
    float *lse = (float *)call->out[1].data + at->lse_at;
    float *y = (float *)call->out[0].data + at->q_at;
    for (int64_t i = 0; i < at->m; i++) {
        lse[i] = most[i] + logf(sum[i]);
        row_multiply(y + i * at->dim, at->d, 1 / sum[i]);
    }
}

/* Slots go to threads in runs of tasks; which slot a task gets changes no result. */
static void each_head(const struct kernel_call *call, int64_t slot_floats,
                      void (*run)(const struct kernel_call *, const struct head *))
{
    int64_t tasks = call->in[0].dim[0] * call->attr[ATTENTION_HEADS].integer;
    int64_t slots = least(tasks, least(call->threads, ATTENTION_SLOTS));
#pragma omp parallel for schedule(static) num_threads((int)slots)
    for (int64_t slot = 0; slot < slots; slot++)
        for (int64_t t = tasks * slot / slots; t < tasks * (slot + 1) / slots; t++) {
            struct head at = head_at(call, t, (float *)call->workspace + slot * slot_floats);
            run(call, &at);
        }
}

static void attention_run(const struct kernel_call *call)
{
    each_head(call, slot_size(call, 2, 1, 2), forward_head);
}

/* What the backward pass keeps of a block of keys, packed for the products it enters. */
struct packed {
    float *kt, *vt, *k; /* keys and values transposed, keys */
    float *q, *dy;      /* of the tile of queries */
    float *p, *ds;
    float *delta; /* dy . y of each query */
};

/* p = exp(s - lse), ds = p (dp - delta) / sqrt d, over the scores and dp in place. */
static void backward_row(float *p, float *ds, int64_t count, int64_t width, float scale, float lse,
                         float delta)
{
    row_scale(p, count, width, scale);
    for (int64_t j = 0; j < width; j += VEC_LANES) {
        vec x = vec_exp(vec_load(p + j) - lse);
        vec_store(p + j, x);
        vec_store(ds + j, x * (vec_load(ds + j) - delta) * scale);
    }
}

static void backward_tile(const struct kernel_call *call, const struct head *at,
                          const struct tile *t, const struct packed *w)
{
    struct strided q = rows_of((const float *)call->in[0].data + at->q_at, at, t->q);
    struct strided dy = rows_of((const float *)call->in[5].data + at->q_at, at, t->q);
    const float *lse = (const float *)call->in[4].data + at->lse_at + t->q;
    float *dq = (float *)call->out[0].data + at->q_at + t->q * at->dim;
    float *dk = (float *)call->out[1].data + at->k_at + t->k * at->dim;
    float *dv = (float *)call->out[2].data + at->k_at + t->k * at->dim;
    int64_t width = round_up(t->keys, VEC_LANES);
    panels_multiply(q, t->queries, at->d, w->kt, t->keys, w->p, KEYS, 0);
    panels_multiply(dy, t->queries, at->d, w->vt, t->keys, w->ds, KEYS, 0);
    for (int64_t i = 0; i < t->queries; i++) {
        for (int64_t j = t->keys; j < width; j++)
            w->ds[i * KEYS + j] = 0;
        backward_row(w->p + i * KEYS, w->ds + i * KEYS, seen(at, t, i), width, at->scale, lse[i],
                     w->delta[t->q + i]);
    }
    struct strided p = {w->p, KEYS, 1}, ds = {w->ds, KEYS, 1};
    panels_pack(q, t->queries, at->d, w->q);
    panels_pack(dy, t->queries, at->d, w->dy);
    panels_multiply(transposed(p), t->keys, t->queries, w->dy, at->d, dv, at->dim, 1);
    panels_multiply(transposed(ds), t->keys, t->queries, w->q, at->d, dk, at->dim, 1);
    panels_multiply(ds, t->queries, t->keys, w->k, at->d, dq, at->dim, 1);
}

static void head_zero(float *x, const struct head *at, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++)
        memset(x + i * at->dim, 0, (size_t)at->d * sizeof *x);
}

static void backward_delta(const struct kernel_call *call, const struct head *at, float *delta)
{
    const float *y = (const float *)call->in[3].data + at->q_at;
    const float *dy = (const float *)call->in[5].data + at->q_at;
    for (int64_t i = 0; i < at->m; i++) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < at->d; c++)
            sum += y[i * at->dim + c] * dy[i * at->dim + c];
        delta[i] = sum;
    }
}

static void backward_head(const struct kernel_call *call, const struct head *at)
{
    int64_t panel = round_up(at->d, ATTENTION_PAD) * KEYS;
    float *slot = at->slot;
    struct packed w = {
        slot, slot + panel, slot + 2 * panel, slot + 3 * panel, slot + 4 * panel, slot + 5 * panel,
        NULL, NULL};
    w.ds = w.p + QUERIES * KEYS;
    w.delta = w.ds + QUERIES * KEYS;
    backward_delta(call, at, w.delta);
    head_zero((float *)call->out[0].data + at->q_at, at, at->m);
    head_zero((float *)call->out[1].data + at->k_at, at, at->n);
    head_zero((float *)call->out[2].data + at->k_at, at, at->n);
    for (int64_t k = 0; k < at->n; k += KEYS) {
        struct tile t = {.k = k, .keys = least(KEYS, at->n - k)};
        struct strided key = rows_of((const float *)call->in[1].data + at->k_at, at, k);
        struct strided value = rows_of((const float *)call->in[2].data + at->k_at, at, k);
        panels_pack(transposed(key), at->d, t.keys, w.kt);
        panels_pack(transposed(value), at->d, t.keys, w.vt);
        panels_pack(key, t.keys, at->d, w.k);
        for (t.q = first_query(at, k); t.q < at->m; t.q += QUERIES) {
            t.queries = least(QUERIES, at->m - t.q);
            backward_tile(call, at, &t, &w);
        }
    }
}

static void attention_backward_run(const struct kernel_call *call)
{
    each_head(call, slot_size(call, 5, 2, 1), backward_head);
}

/* rope. The angles of all positions come first, in double: position times frequency is thousands of
 * radians, of which f32 keeps three digits. */
static void rope_row(const float *x, const float *cosine, const float *sine, int64_t half, float *y)
{
#pragma omp simd
    for (int64_t c = 0; c < half; c++) {
        float a = x[c], b = x[half + c];
        y[c] = a * cosine[c] - b * sine[c];
        y[half + c] = b * cosine[c] + a * sine[c];
    }
}

static void rope_angles(const struct kernel_call *call, int64_t position, int64_t half, float *to)
{
    double step = -log(call->attr[ROPE_BASE].real) / (double)half;
    double way = call->attr[ROPE_INVERSE].flag ? -1 : 1;
#pragma omp simd
    for (int64_t c = 0; c < half; c++) {
        double angle = (double)position * exp(step * (double)c);
        to[c] = (float)cos(angle);
        to[half + c] = (float)(way * sin(angle));
    }
}

static void rope_run(const struct kernel_call *call)
{
    const struct tensor *t = &call->in[0];
    const float *x = t->data;
    float *y = call->out[0].data, *table = call->workspace;
    int64_t heads = call->attr[ROPE_HEADS].integer, length = t->dim[1], dim = t->dim[2];
    int64_t d = dim / heads, rows = t->dim[0] * length;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (length * d > 1 << 12)
    for (int64_t p = 0; p < length; p++)
        rope_angles(call, p, d / 2, table + p * d);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * dim > 1 << 14)
    for (int64_t r = 0; r < rows; r++) {
        const float *angle = table + r % length * d;
        for (int64_t c = 0; c < dim; c += d)
            rope_row(x + r * dim + c, angle, angle + d / 2, d / 2, y + r * dim + c);
    }
}

KERNEL_LIST(attention) = {
    {"attention", "fff>ff", attention_run},
    {"attention_backward", "ffffff>fff", attention_backward_run},
    {"rope", "f>f", rope_run},
    {0},
};
