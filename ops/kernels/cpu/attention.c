/* Kernels of attention, on three tensors or on one, and of rope. A (row, head) pair is one thread's
 * work: it goes through the keys in blocks, packs each block once, and runs all queries over it in
 * tiles, so that the scores of one tile are all that ever exists of the square of the length.
 *
 * Forward, for each query: the largest score so far and the sum of exponentials relative to it;
 * when a block raises the largest score, what was summed is scaled down. Backward: the scores
 * again, five products a tile. All products are the micro kernel's (gemm_small.h). */
#include "ops/kernels/attention_room.h"
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/gemm_small.h"
#include "ops/kernels/kernel.h"

#define KEYS ATTENTION_KEYS
#define QUERIES ATTENTION_QUERIES

/* A matrix of D columns of one head: STRIDE floats from row to row. */
struct rows {
    float *data;
    int64_t stride;
};

/* One head of one sequence. */
struct head {
    int64_t m, n, d; /* queries, keys, columns */
    int64_t ahead;   /* causal: query i sees keys up to i + ahead; otherwise n */
    struct rows q, k, v, y, dy, dq, dk, dv;
    float *lse;
    float scale;         /* 1 / sqrt d */
    const float *angles; /* rotation of queries and keys: D floats a position; NULL: none */
    float *slot;         /* scratch */
};

/* From column FROM on of sequence ROW, in a tensor with sequences of LENGTH x STRIDE floats. */
static struct rows head_rows(const struct tensor *t, int64_t row, int64_t length, int64_t stride,
                             int64_t from)
{
    return (struct rows){(float *)t->data + row * length * stride + from, stride};
}

/* The head of task TASK, of attention on three tensors. */
static struct head head_apart(const struct kernel_call *call, int64_t task)
{
    const struct tensor *q = &call->in[0], *k = &call->in[1];
    int64_t heads = call->attr[ATTENTION_HEADS].integer, dim = q->dim[2], row = task / heads;
    struct head at = {.m = q->dim[1], .n = k->dim[1], .d = dim / heads};
    int64_t from = task % heads * at.d;
    at.q = head_rows(q, row, at.m, dim, from);
    at.k = head_rows(k, row, at.n, dim, from);
    at.v = head_rows(&call->in[2], row, at.n, dim, from);
    if (call->in_count == 3) {
        at.y = head_rows(&call->out[0], row, at.m, dim, from);
        at.lse = (float *)call->out[1].data + task * at.m;
    } else {
        at.y = head_rows(&call->in[3], row, at.m, dim, from);
        at.lse = (float *)call->in[4].data + task * at.m;
        at.dy = head_rows(&call->in[5], row, at.m, dim, from);
        at.dq = head_rows(&call->out[0], row, at.m, dim, from);
        at.dk = head_rows(&call->out[1], row, at.n, dim, from);
        at.dv = head_rows(&call->out[2], row, at.n, dim, from);
    }
    return at;
}

/* The same of attention on one tensor of queries, keys and values side by side. */
static struct head head_packed(const struct kernel_call *call, int64_t task)
{
    const struct tensor *x = &call->in[0];
    int64_t heads = call->attr[ATTENTION_HEADS].integer, n = x->dim[1], dim = x->dim[2] / 3;
    int64_t row = task / heads;
    struct head at = {.m = n, .n = n, .d = dim / heads};
    int64_t from = task % heads * at.d;
    at.q = head_rows(x, row, n, 3 * dim, from);
    at.k = head_rows(x, row, n, 3 * dim, dim + from);
    at.v = head_rows(x, row, n, 3 * dim, 2 * dim + from);
    if (call->in_count == 1) {
        at.y = head_rows(&call->out[0], row, n, dim, from);
        at.lse = (float *)call->out[1].data + task * n;
    } else {
        at.y = head_rows(&call->in[1], row, n, dim, from);
        at.lse = (float *)call->in[2].data + task * n;
        at.dy = head_rows(&call->in[3], row, n, dim, from);
        at.dq = head_rows(&call->out[0], row, n, 3 * dim, from);
        at.dk = head_rows(&call->out[0], row, n, 3 * dim, dim + from);
        at.dv = head_rows(&call->out[0], row, n, 3 * dim, 2 * dim + from);
    }
    if (call->attr[ATTENTION_ROPE].real != 0)
        at.angles = call->workspace;
    return at;
}

static bool is_packed(const struct kernel_call *call)
{
    return call->in_count == 1 || call->in_count == 4;
}

static struct head head_at(const struct kernel_call *call, int64_t task)
{
    struct head at = is_packed(call) ? head_packed(call, task) : head_apart(call, task);
    at.ahead = call->attr[ATTENTION_CAUSAL].flag ? at.n - at.m : at.n;
    at.scale = 1 / sqrtf((float)at.d);
    return at;
}

/* Rows FROM .. of a matrix of keys or queries, as they lie and transposed. */
static struct strided rows_of(struct rows x, int64_t from)
{
    return (struct strided){x.data + from * x.stride, x.stride, 1};
}
static struct strided transposed(struct strided a)
{
    return (struct strided){a.data, a.cs, a.rs};
}

/* Rotates pairs of columns, COLUMN and COLUMN + HALF, by the angles of one position; in place or
 * not. WAY -1 rotates back. */
static void turn_row(const float *x, const float *angle, int64_t half, float way, float *y)
{
    const float *cosine = angle, *sine = angle + half;
#pragma omp simd
    for (int64_t c = 0; c < half; c++) {
        float a = x[c], b = x[half + c], s = way * sine[c];
        y[c] = a * cosine[c] - b * s;
        y[half + c] = b * cosine[c] + a * s;
    }
}

/* COUNT rows from FROM on: where they lie, or rotated, in TO. */
static struct strided turned_rows(const struct head *at, struct rows x, int64_t from, int64_t count,
                                  float *to)
{
    if (!at->angles)
        return rows_of(x, from);
    for (int64_t i = 0; i < count; i++)
        turn_row(x.data + (from + i) * x.stride, at->angles + (from + i) * at->d, at->d / 2, 1,
                 to + i * at->d);
    return (struct strided){to, at->d, 1};
}

static void turn_back(const struct head *at, struct rows x, int64_t from, int64_t count)
{
    for (int64_t i = from; at->angles && i < from + count; i++)
        turn_row(x.data + i * x.stride, at->angles + i * at->d, at->d / 2, -1,
                 x.data + i * x.stride);
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

static void forward_tile(const struct head *at, const struct tile *t, struct strided q,
                         const float *keys, const float *values, float *s, float *most, float *sum)
{
    float *y = at->y.data + t->q * at->y.stride;
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
            row_multiply(y + i * at->y.stride, at->d, shrink);
    }
    struct strided p = {s, KEYS, 1};
    panels_multiply(p, t->queries, t->keys, values, at->d, y, at->y.stride, t->k > 0);
}

static void forward_head(const struct head *at)
{
    int64_t panel = attention_panel(at->d);
    float *keys = at->slot, *values = keys + panel, *s = values + panel;
    float *most = s + QUERIES * KEYS, *sum = most + round_up(at->m, 16);
    float *turned_q = sum + round_up(at->m, 16), *turned_k = turned_q + panel;
    for (int64_t i = 0; i < at->m; i++) {
        most[i] = -INFINITY;
        sum[i] = 0;
    }
    for (int64_t k = 0; k < at->n; k += KEYS) {
        struct tile t = {.k = k, .keys = least(KEYS, at->n - k)};
        panels_pack(transposed(turned_rows(at, at->k, k, t.keys, turned_k)), at->d, t.keys, keys);
        panels_pack(rows_of(at->v, k), t.keys, at->d, values);
        for (t.q = first_query(at, k); t.q < at->m; t.q += QUERIES) {
            t.queries = least(QUERIES, at->m - t.q);
            struct strided q = turned_rows(at, at->q, t.q, t.queries, turned_q);
            forward_tile(at, &t, q, keys, values, s, most, sum);
        }
    }
    for (int64_t i = 0; i < at->m; i++) {
        at->lse[i] = most[i] + logf(sum[i]);
        row_multiply(at->y.data + i * at->y.stride, at->d, 1 / sum[i]);
    }
}

static int64_t task_count(const struct kernel_call *call)
{
    return call->in[0].dim[0] * call->attr[ATTENTION_HEADS].integer;
}

/* Slots go to threads in runs of tasks; which slot a task gets changes no result. Angles, where
 * there are any, come before the slots. */
static void each_head(const struct kernel_call *call, struct attention_room room,
                      void (*run)(const struct head *))
{
    int64_t tasks = task_count(call);
    int64_t slots = least(tasks, least(call->threads, ATTENTION_SLOTS));
#pragma omp parallel for schedule(static) num_threads((int)slots)
    for (int64_t slot = 0; slot < slots; slot++)
        for (int64_t t = tasks * slot / slots; t < tasks * (slot + 1) / slots; t++) {
            struct head at = head_at(call, t);
            bool turned = at.angles != NULL;
            at.slot = (float *)call->workspace + (turned ? attention_angles(at.n, at.d) : 0) +
                      slot * attention_slot(room, at.m, at.d, turned);
            run(&at);
        }
}

static void attention_run(const struct kernel_call *call)
{
    each_head(call, ATTENTION_FORWARD, forward_head);
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

static void backward_tile(const struct head *at, const struct tile *t, struct strided q,
                          const struct packed *w)
{
    struct strided dy = rows_of(at->dy, t->q);
    const float *lse = at->lse + t->q;
    float *dq = at->dq.data + t->q * at->dq.stride;
    float *dk = at->dk.data + t->k * at->dk.stride;
    float *dv = at->dv.data + t->k * at->dv.stride;
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
    panels_multiply(transposed(p), t->keys, t->queries, w->dy, at->d, dv, at->dv.stride, 1);
    panels_multiply(transposed(ds), t->keys, t->queries, w->q, at->d, dk, at->dk.stride, 1);
    panels_multiply(ds, t->queries, t->keys, w->k, at->d, dq, at->dq.stride, 1);
}

static void head_zero(struct rows x, int64_t rows, int64_t d)
{
    for (int64_t i = 0; i < rows; i++)
        memset(x.data + i * x.stride, 0, (size_t)d * sizeof *x.data);
}

static void backward_delta(const struct head *at, float *delta)
{
    for (int64_t i = 0; i < at->m; i++) {
        const float *y = at->y.data + i * at->y.stride, *dy = at->dy.data + i * at->dy.stride;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < at->d; c++)
            sum += y[c] * dy[c];
        delta[i] = sum;
    }
}

static void backward_head(const struct head *at)
{
    int64_t panel = attention_panel(at->d);
    float *slot = at->slot;
    struct packed w = {
        slot, slot + panel, slot + 2 * panel, slot + 3 * panel, slot + 4 * panel, slot + 5 * panel,
        NULL, NULL};
    w.ds = w.p + QUERIES * KEYS;
    w.delta = w.ds + QUERIES * KEYS;
    float *turned_q = w.delta + round_up(at->m, 16), *turned_k = turned_q + panel;
    backward_delta(at, w.delta);
    head_zero(at->dq, at->m, at->d);
    head_zero(at->dk, at->n, at->d);
    head_zero(at->dv, at->n, at->d);
    for (int64_t k = 0; k < at->n; k += KEYS) {
        struct tile t = {.k = k, .keys = least(KEYS, at->n - k)};
        struct strided key = turned_rows(at, at->k, k, t.keys, turned_k);
        panels_pack(transposed(key), at->d, t.keys, w.kt);
        panels_pack(transposed(rows_of(at->v, k)), at->d, t.keys, w.vt);
        panels_pack(key, t.keys, at->d, w.k);
        for (t.q = first_query(at, k); t.q < at->m; t.q += QUERIES) {
            t.queries = least(QUERIES, at->m - t.q);
            backward_tile(at, &t, turned_rows(at, at->q, t.q, t.queries, turned_q), &w);
        }
        turn_back(at, at->dk, k, t.keys);
    }
    turn_back(at, at->dq, 0, at->m);
}

static void attention_backward_run(const struct kernel_call *call)
{
    each_head(call, ATTENTION_BACKWARD, backward_head);
}

/* The angles of all positions, in double: position times frequency is thousands of radians, of
 * which f32 keeps three digits. D floats each, cosines and then sines, at TABLE. */
static void make_angles(const struct kernel_call *call, int64_t length, int64_t d, double base,
                        float *table)
{
    double step = -log(base) / (double)(d / 2);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (length * d > 1 << 12)
    for (int64_t p = 0; p < length; p++) {
        float *to = table + p * d;
#pragma omp simd
        for (int64_t c = 0; c < d / 2; c++) {
            double angle = (double)p * exp(step * (double)c);
            to[c] = (float)cos(angle);
            to[d / 2 + c] = (float)sin(angle);
        }
    }
}

static void make_packed_angles(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0];
    double base = call->attr[ATTENTION_ROPE].real;
    if (base != 0)
        make_angles(call, x->dim[1], x->dim[2] / 3 / call->attr[ATTENTION_HEADS].integer, base,
                    call->workspace);
}

static void packed_run(const struct kernel_call *call)
{
    make_packed_angles(call);
    each_head(call, ATTENTION_FORWARD, forward_head);
}

static void packed_backward_run(const struct kernel_call *call)
{
    make_packed_angles(call);
    each_head(call, ATTENTION_BACKWARD, backward_head);
}

static void rope_run(const struct kernel_call *call)
{
    const struct tensor *t = &call->in[0];
    const float *x = t->data;
    float *y = call->out[0].data, *table = call->workspace;
    int64_t heads = call->attr[ROPE_HEADS].integer, length = t->dim[1], dim = t->dim[2];
    int64_t d = dim / heads, rows = t->dim[0] * length;
    float way = call->attr[ROPE_INVERSE].flag ? -1 : 1;
    make_angles(call, length, d, call->attr[ROPE_BASE].real, table);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * dim > 1 << 14)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < dim; c += d)
            turn_row(x + r * dim + c, table + r % length * d, d / 2, way, y + r * dim + c);
}

KERNEL_LIST(attention) = {
    {"attention", "fff>ff", attention_run},
    {"attention_backward", "ffffff>fff", attention_backward_run},
    {"attention_packed", "f>ff", packed_run},
    {"attention_packed_backward", "ffff>f", packed_backward_run},
    {"rope", "f>f", rope_run},
    {0},
};
