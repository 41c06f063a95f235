/* Kernels of attention, on three tensors or on one, and of rope. A (row, head) pair is one thread's
 * work: it goes through the keys in blocks, packs each block once, and runs all queries over it, so
 * that the scores of one tile are all that ever exists of the square of the length.
 *
 * Forward, for as many queries as the micro kernel takes: their scores, the largest so far and the
 * sum of exponentials relative to it; when a block raises the largest score, what was summed is
 * scaled down. Backward: the scores again, five products a tile. Queries are scaled by 1 / sqrt d
 * (and rotated, as keys are, where that is asked for) as they are packed. All products are the
 * micro kernel's (micro.h). */
#include "ops/kernels/attention_room.h"
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/micro.h"
#include "ops/kernels/kernel.h"

#define KEYS ATTENTION_KEYS
#define QUERIES ATTENTION_QUERIES

_Static_assert(KEYS >= QUERIES + ATTENTION_ROWS && TILE_ROWS <= ATTENTION_ROWS,
               "rows of a tile of queries fit where those of a block of keys do");

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

/* y = x times SCALE, its pairs of columns COLUMN and COLUMN + HALF rotated by the angles of one
 * position; in place or not. WAY -1 rotates back. */
static void turn_row(const float *x, const float *angle, int64_t half, float way, float scale,
                     float *y)
{
    const float *cosine = angle, *sine = angle + half;
#pragma omp simd
    for (int64_t c = 0; c < half; c++) {
        float a = x[c] * scale, b = x[half + c] * scale, s = way * sine[c];
        y[c] = a * cosine[c] - b * s;
        y[half + c] = b * cosine[c] + a * s;
    }
}

static void row_multiply(const float *x, int64_t n, float factor, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * factor;
}

/* Rows of one head lie far apart: nothing but this fetches them before they are read. */
#define AHEAD 8

static void prefetch_row(const float *row, int64_t n)
{
    for (int64_t c = 0; c < n; c += 64 / (int64_t)sizeof *row)
        __builtin_prefetch(row + c);
}

/* COUNT rows of keys or queries from FROM on, times SCALE and rotated, one after the other in
 * TO. */
static struct strided take_rows(const struct head *at, struct rows x, int64_t from, int64_t count,
                                float scale, float *to)
{
    for (int64_t i = 0; i < count; i++) {
        const float *row = x.data + (from + i) * x.stride;
        prefetch_row(row + AHEAD * x.stride, at->d);
        if (at->angles)
            turn_row(row, at->angles + (from + i) * at->d, at->d / 2, 1, scale, to + i * at->d);
        else
            row_multiply(row, at->d, scale, to + i * at->d);
    }
    return (struct strided){to, at->d, 1};
}

static void turn_back(const struct head *at, struct rows x, int64_t from, int64_t count)
{
    for (int64_t i = from; at->angles && i < from + count; i++)
        turn_row(x.data + i * x.stride, at->angles + i * at->d, at->d / 2, -1, 1,
                 x.data + i * x.stride);
}

/* Rows FROM .. of a matrix, as they lie. */
static struct strided rows_of(struct rows x, int64_t from)
{
    return (struct strided){x.data + from * x.stride, x.stride, 1};
}

/* N in even parts of at most MOST, but for rounding up to whole UNITs. */
static int64_t part_of(int64_t n, int64_t most, int64_t unit)
{
    int64_t parts = (n + most - 1) / most;
    return parts ? round_up((n + parts - 1) / parts, unit) : unit;
}

/* A block of keys, and a tile of queries: some of them, or a group, as many as one strip has. */
struct tile {
    int64_t k, keys;    /* first key, how many */
    int64_t q, queries; /* first query, how many */
};

/* Keys of the tile that query I of it sees. */
static int64_t seen(const struct head *at, const struct tile *t, int64_t i)
{
    int64_t keys = t->q + i + at->ahead + 1 - t->k;
    return keys < 0 ? 0 : least(keys, t->keys);
}

/* The first query that sees key K. */
static int64_t first_query(const struct head *at, int64_t k)
{
    return k > at->ahead ? k - at->ahead : 0;
}

/* c = the rows of a strip times panels of KEYS columns, row I of it at c + I * ATTENTION_STEP. */
static void strip_scores(const float *strip, int64_t rows, int64_t depth, const float *panels,
                         int64_t keys, float *c)
{
    for (int64_t j = 0; j < keys; j += TILE_COLS) {
        vec acc[TILE_ROWS][TILE_VECS];
        strip_multiply(strip, panels + j * depth, depth, acc);
        tile_store(acc, rows, TILE_COLS, c + j, ATTENTION_STEP, (struct addend){0});
    }
}

/* --- forward -------------------------------------------------------------------------------- */

/* s[0 .. count) become exponentials, and zeros follow up to WIDTH; *MOST and *SUM move on, and the
 * factor by which everything summed before shrinks is returned. */
static float row_softmax(float *s, int64_t count, int64_t width, float *most, float *sum)
{
    int64_t whole = round_up(count, VEC_LANES);
    if (whole < width)
        memset(s + whole, 0, (size_t)(width - whole) * sizeof *s);
    if (count == 0)
        return 1;
    for (int64_t j = count; j < whole; j++)
        s[j] = -INFINITY;
    vec largest = vec_load(s), total = {0};
    for (int64_t j = VEC_LANES; j < whole; j += VEC_LANES)
        largest = vec_max(largest, vec_load(s + j));
    float old = *most, now = vec_most(largest);
    now = now > old ? now : old;
    vec less = vec_all(now);
    for (int64_t j = 0; j < whole; j += VEC_LANES) {
        vec p = vec_exp(vec_load(s + j) - less);
        vec_store(s + j, p);
        total += p;
    }
    float shrink = expf(old - now);
    *sum = *sum * shrink + vec_sum(total);
    *most = now;
    return shrink;
}

/* The scratch of a head, forward. */
struct forward {
    float *keys, *values; /* panels of a block */
    float *rows, *strip, *scores, *most, *sum;
};

static struct forward forward_scratch(const struct head *at)
{
    int64_t panel = attention_key_panel(at->d, at->n);
    struct forward w = {.keys = at->slot, .values = at->slot + panel};
    w.rows = w.values + panel;
    w.strip = w.rows + panel;
    w.scores = w.strip + attention_strip(at->d);
    w.most = w.scores + ATTENTION_ROWS * ATTENTION_STEP;
    w.sum = w.most + round_up(at->m, 16);
    return w;
}

static void forward_group(const struct head *at, const struct tile *t, const struct forward *w)
{
    int64_t keys = seen(at, t, t->queries - 1);
    float *y = at->y.data + t->q * at->y.stride;
    if (keys == 0 && t->k > 0)
        return;
    struct strided q = take_rows(at, at->q, t->q, t->queries, at->scale, w->rows);
    strip_pack(q, t->queries, at->d, w->strip);
    strip_scores(w->strip, t->queries, at->d, w->keys, keys, w->scores);
    for (int64_t i = 0; i < t->queries; i++) {
        float shrink = row_softmax(w->scores + i * ATTENTION_STEP, seen(at, t, i), keys,
                                   w->most + t->q + i, w->sum + t->q + i);
        if (t->k > 0 && shrink != 1)
            row_multiply(y + i * at->y.stride, at->d, shrink, y + i * at->y.stride);
    }
    struct strided p = {w->scores, ATTENTION_STEP, 1};
    panels_multiply(p, t->queries, keys, w->values, t->keys * TILE_COLS, at->d, y, at->y.stride,
                    (struct addend){.keep = t->k > 0});
}

static void forward_head(const struct head *at)
{
    const struct forward w = forward_scratch(at);
    int64_t part = part_of(at->n, KEYS, 1);
    for (int64_t i = 0; i < at->m; i++) {
        w.most[i] = -INFINITY;
        w.sum[i] = 0;
    }
    for (int64_t k = 0; k < at->n; k += part) {
        struct tile t = {.k = k, .keys = least(part, at->n - k)};
        struct strided keys = take_rows(at, at->k, k, t.keys, 1, w.rows);
        panels_pack(transposed(keys), at->d, t.keys, w.keys);
        panels_pack(rows_of(at->v, k), t.keys, at->d, w.values);
        for (t.q = 0; t.q < at->m; t.q += TILE_ROWS) {
            t.queries = least(TILE_ROWS, at->m - t.q);
            forward_group(at, &t, &w);
        }
    }
    for (int64_t i = 0; i < at->m; i++) {
        float *y = at->y.data + i * at->y.stride;
        at->lse[i] = w.most[i] + logf(w.sum[i]);
        row_multiply(y, at->d, 1 / w.sum[i], y);
    }
}

/* --- backward ------------------------------------------------------------------------------- */

/* The scratch of a head, backward. Panels of a block of keys: keys and values transposed, and keys
 * times 1 / sqrt d; of a tile of queries: queries and dy. */
struct backward {
    float *kt, *vt, *k, *q, *dy;
    float *rows, *strip;
    float *p, *ds;
    float *delta; /* dy . y of each query */
};

static struct backward backward_scratch(const struct head *at)
{
    int64_t panel = attention_key_panel(at->d, at->n), some = attention_query_panel(at->d);
    int64_t scores = (QUERIES + ATTENTION_ROWS) * ATTENTION_STEP;
    struct backward w = {.kt = at->slot};
    w.vt = w.kt + panel;
    w.k = w.vt + panel;
    w.rows = w.k + panel;
    w.q = w.rows + panel;
    w.dy = w.q + some;
    w.strip = w.dy + some;
    w.p = w.strip + attention_strip(at->d);
    w.ds = w.p + scores;
    w.delta = w.ds + scores;
    return w;
}

/* p = exp(s - lse) and ds = p (dp - delta), over s and dp in place; zeros from COUNT to WIDTH. */
static void backward_row(float *p, float *ds, int64_t count, int64_t width, float lse, float delta)
{
    for (int64_t j = 0; j < count; j += VEC_LANES) {
        vec x = vec_exp(vec_load(p + j) - lse);
        vec_store(p + j, x);
        vec_store(ds + j, x * (vec_load(ds + j) - delta));
    }
    if (count < width) {
        memset(p + count, 0, (size_t)(width - count) * sizeof *p);
        memset(ds + count, 0, (size_t)(width - count) * sizeof *ds);
    }
}

/* Both squares of a group of queries, ROW of the tile on. Q holds its rows, rotated and scaled. */
static void backward_group(const struct head *at, const struct tile *t, struct strided q,
                           int64_t row, const struct backward *w)
{
    int64_t rows = least(TILE_ROWS, t->queries - row), keys = seen(at, t, row + rows - 1);
    float *p = w->p + row * ATTENTION_STEP, *ds = w->ds + row * ATTENTION_STEP;
    strip_pack(matrix_at(q, row, 0), rows, at->d, w->strip);
    strip_scores(w->strip, rows, at->d, w->kt, keys, p);
    strip_pack(rows_of(at->dy, t->q + row), rows, at->d, w->strip);
    strip_scores(w->strip, rows, at->d, w->vt, keys, ds);
    for (int64_t i = 0; i < rows; i++)
        backward_row(p + i * ATTENTION_STEP, ds + i * ATTENTION_STEP, seen(at, t, row + i), t->keys,
                     at->lse[t->q + row + i], w->delta[t->q + row + i]);
}

/* dq of a group of queries, of the keys that its last one sees. */
static void backward_queries(const struct head *at, const struct tile *t, int64_t row,
                             const struct backward *w)
{
    int64_t rows = least(TILE_ROWS, t->queries - row);
    struct strided ds = {w->ds + row * ATTENTION_STEP, ATTENTION_STEP, 1};
    panels_multiply(ds, rows, seen(at, t, row + rows - 1), w->k, t->keys * TILE_COLS, at->d,
                    at->dq.data + (t->q + row) * at->dq.stride, at->dq.stride,
                    (struct addend){.keep = t->k > 0});
}

/* dx += square^T PANELS for a group of keys from KEY on, over the queries that see its first. */
static void backward_keys(const struct head *at, const struct tile *t, int64_t key,
                          const float *square, const float *panels, struct rows dx)
{
    int64_t from = first_query(at, t->k + key) - t->q;
    from = from > 0 ? least(from, t->queries) : 0;
    struct strided a = {square + from * ATTENTION_STEP + key, 1, ATTENTION_STEP};
    panels_multiply(a, least(TILE_ROWS, t->keys - key), t->queries - from,
                    panels + from * TILE_COLS, t->queries * TILE_COLS, at->d,
                    dx.data + (t->k + key) * dx.stride, dx.stride, (struct addend){.keep = true});
}

static void backward_tile(const struct head *at, const struct tile *t, const struct backward *w)
{
    struct strided q = take_rows(at, at->q, t->q, t->queries, at->scale, w->rows);
    panels_pack(q, t->queries, at->d, w->q);
    panels_pack(rows_of(at->dy, t->q), t->queries, at->d, w->dy);
    for (int64_t row = 0; row < t->queries; row += TILE_ROWS) {
        backward_group(at, t, q, row, w);
        backward_queries(at, t, row, w);
    }
    for (int64_t key = 0; key < t->keys; key += TILE_ROWS) {
        backward_keys(at, t, key, w->p, w->dy, at->dv);
        backward_keys(at, t, key, w->ds, w->q, at->dk);
    }
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
    const struct backward w = backward_scratch(at);
    int64_t keys = part_of(at->n, KEYS, 1), queries = part_of(at->m, QUERIES, TILE_ROWS);
    backward_delta(at, w.delta);
    head_zero(at->dk, at->n, at->d);
    head_zero(at->dv, at->n, at->d);
    for (int64_t k = 0; k < at->n; k += keys) {
        struct tile t = {.k = k, .keys = least(keys, at->n - k)};
        struct strided key = take_rows(at, at->k, k, t.keys, 1, w.rows);
        panels_pack(transposed(key), at->d, t.keys, w.kt);
        panels_pack(transposed(rows_of(at->v, k)), at->d, t.keys, w.vt);
        key = take_rows(at, at->k, k, t.keys, at->scale, w.rows);
        panels_pack(key, t.keys, at->d, w.k);
        for (t.q = 0; t.q < at->m; t.q += queries) {
            t.queries = least(queries, at->m - t.q);
            if (k == 0 || t.q + t.queries > first_query(at, k))
                backward_tile(at, &t, &w);
        }
        turn_back(at, at->dk, k, t.keys);
    }
    turn_back(at, at->dq, 0, at->m);
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
    if (tasks == 0)
        return;
#pragma omp parallel for schedule(static) num_threads((int)slots)
    for (int64_t slot = 0; slot < slots; slot++)
        for (int64_t t = tasks * slot / slots; t < tasks * (slot + 1) / slots; t++) {
            struct head at = head_at(call, t);
            bool turned = at.angles != NULL;
            at.slot = (float *)call->workspace + (turned ? attention_angles(at.n, at.d) : 0) +
                      slot * attention_slot(room, at.m, at.n, at.d);
            run(&at);
        }
}

static void attention_run(const struct kernel_call *call)
{
    each_head(call, ATTENTION_FORWARD, forward_head);
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
            turn_row(x + r * dim + c, table + r % length * d, d / 2, way, 1, y + r * dim + c);
}

KERNEL_LIST(attention) = {
    {"attention", "fff>ff", attention_run},
    {"attention_backward", "ffffff>fff", attention_backward_run},
    {"attention_packed", "f>ff", packed_run},
    {"attention_packed_backward", "ffff>f", packed_backward_run},
    {"rope", "f>f", rope_run},
    {0},
};
