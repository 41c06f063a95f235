/* Kernels of layer_norm, alone and with modulate: a row at a time, read from memory once and kept
 * in the cache. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/vector.h"
#include "ops/kernels/kernel.h"

static void row_moments(const float *x, int64_t n, double eps, float *mean, float *rstd)
{
    float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    float m = sum / (float)n;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < n; i++)
        square += (x[i] - m) * (x[i] - m);
    *mean = m;
    *rstd = (float)(1 / sqrt(square / (double)n + eps));
}

static void norm_row(const float *x, const float *weight, const float *bias, int64_t n, double eps,
                     float *y, float *mean, float *rstd)
{
    float m, s;
    row_moments(x, n, eps, &m, &s);
    if (bias) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - m) * s * weight[i] + bias[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - m) * s * weight[i];
    }
    *mean = m;
    *rstd = s;
}

static void norm_run(const struct kernel_call *call)
{
    const struct tensor *t = &call->in[0];
    const float *x = t->data, *weight = call->in[1].data;
    const float *bias = call->in_count > 2 ? call->in[2].data : NULL;
    float *y = call->out[0].data, *mean = call->out[1].data, *rstd = call->out[2].data;
    int64_t n = t->dim[t->rank - 1], rows = tensor_lead(t, t->rank - 1);
    double eps = call->attr[NORM_EPS].real;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 14)
    for (int64_t r = 0; r < rows; r++)
        norm_row(x + r * n, weight, bias, n, eps, y + r * n, mean + r, rstd + r);
}

/* One row: adds to DW and DB, then writes DX, which may be the memory of X or DY. */
static void backward_row(const float *x, const float *weight, float mean, float rstd,
                         const float *dy, int64_t n, float *dx, float *dw, float *db)
{
    float g = 0, gx = 0;
#pragma omp simd reduction(+ : g, gx)
    for (int64_t i = 0; i < n; i++) {
        float xhat = (x[i] - mean) * rstd, wdy = weight[i] * dy[i];
        g += wdy;
        gx += wdy * xhat;
        dw[i] += dy[i] * xhat;
        db[i] += dy[i];
    }
    g /= (float)n;
    gx /= (float)n;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = rstd * (weight[i] * dy[i] - g - (x[i] - mean) * rstd * gx);
}

static void backward_block(const struct kernel_call *call, int64_t from, int64_t to, float *dw,
                           float *db)
{
    const struct tensor *t = &call->in[0];
    const float *x = t->data, *mean = call->in[2].data, *rstd = call->in[3].data;
    const float *dy = call->in[4].data;
    float *dx = call->out[0].data;
    int64_t n = t->dim[t->rank - 1];
    memset(dw, 0, (size_t)n * sizeof *dw);
    memset(db, 0, (size_t)n * sizeof *db);
    for (int64_t r = from; r < to; r++)
        backward_row(x + r * n, call->in[1].data, mean[r], rstd[r], dy + r * n, n, dx + r * n, dw,
                     db);
}

static void backward_run(const struct kernel_call *call)
{
    const struct tensor *t = &call->in[0];
    int64_t n = t->dim[t->rank - 1], rows = tensor_lead(t, t->rank - 1);
    int64_t each = (rows + NORM_BLOCKS - 1) / NORM_BLOCKS;
    int64_t blocks = rows ? (rows + each - 1) / each : 0;
    float *part = call->workspace, *dw = call->out[1].data, *db = call->out[2].data;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 14)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t to = (b + 1) * each < rows ? (b + 1) * each : rows;
        backward_block(call, b * each, to, part + 2 * b * n, part + (2 * b + 1) * n);
    }
    memset(dw, 0, (size_t)n * sizeof *dw);
    memset(db, 0, (size_t)n * sizeof *db);
    for (int64_t b = 0; b < blocks; b++) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            dw[i] += part[2 * b * n + i];
            db[i] += part[(2 * b + 1) * n + i];
        }
    }
}

/* --- with modulate ------------------------------------------------------------------------ */

static int64_t positions_of_sequence(const struct tensor *x)
{
    return x->dim[0] ? tensor_lead(x, x->rank - 1) / x->dim[0] : 1;
}

static void modulated_row(const float *x, const float *shift, const float *scale,
                          const float *weight, int64_t n, float mean, float rstd, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * rstd * weight[i] * (1 + scale[i]) + shift[i];
}

static void norm_modulate_run(const struct kernel_call *call)
{
    const struct tensor *t = &call->in[0];
    const float *x = t->data, *shift = call->in[1].data, *scale = call->in[2].data;
    float *y = call->out[0].data, *mean = call->out[1].data, *rstd = call->out[2].data;
    int64_t n = t->dim[t->rank - 1], rows = tensor_lead(t, t->rank - 1);
    int64_t length = positions_of_sequence(t);
    double eps = call->attr[NORM_MODULATE_EPS].real;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 14)
    for (int64_t r = 0; r < rows; r++) {
        row_moments(x + r * n, n, eps, mean + r, rstd + r);
        modulated_row(x + r * n, shift + r / length * n, scale + r / length * n, call->in[3].data,
                      n, mean[r], rstd[r], y + r * n);
    }
}

/* Sums of one run of rows of a sequence. */
struct sums {
    float *shift, *scale, *weight;
};

/* One row: adds to the sums, then writes DX, which may be the memory of X, DY or MORE (which is
 * added to it; NULL: nothing). */
static void modulated_row_back(const float *x, const float *weight, float mean, float rstd,
                               const float *scale, const float *dy, const float *more, int64_t n,
                               struct sums sums, float *dx)
{
    float g = 0, gx = 0;
#pragma omp simd reduction(+ : g, gx)
    for (int64_t i = 0; i < n; i++) {
        float xhat = (x[i] - mean) * rstd, e = dy[i] * (1 + scale[i]);
        g += weight[i] * e;
        gx += weight[i] * e * xhat;
        sums.shift[i] += dy[i];
        sums.scale[i] += dy[i] * weight[i] * xhat;
        sums.weight[i] += e * xhat;
    }
    g /= (float)n;
    gx /= (float)n;
    if (more) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = rstd * (weight[i] * (dy[i] * (1 + scale[i])) - g - (x[i] - mean) * rstd * gx) +
                    more[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = rstd * (weight[i] * (dy[i] * (1 + scale[i])) - g - (x[i] - mean) * rstd * gx);
    }
}

/* How the rows are shared out: each sequence in PARTS runs of EACH rows, the runs of all sequences
 * in blocks of GROUP. A run has sums over its positions, a block one over its rows. */
struct shares {
    int64_t length, parts, each, runs, group, blocks;
};

static struct shares shares_of(const struct tensor *x)
{
    int64_t sequences = x->dim[0];
    struct shares s = {.length = positions_of_sequence(x), .parts = 1};
    if (sequences && sequences < NORM_BLOCKS)
        s.parts = NORM_BLOCKS / sequences;
    s.each = (s.length + s.parts - 1) / s.parts;
    s.parts = s.each ? (s.length + s.each - 1) / s.each : 1;
    s.runs = sequences * s.parts;
    s.group = (s.runs + NORM_BLOCKS - 1) / NORM_BLOCKS;
    s.blocks = s.runs ? (s.runs + s.group - 1) / s.group : 0;
    return s;
}

/* Sums over the rows of a block, of the positions of a run: in the workspace where several runs or
 * blocks are still to be added up. */
static struct sums sums_at(const struct kernel_call *call, const struct shares *s, int64_t run)
{
    const struct tensor *t = &call->in[0];
    int64_t n = t->dim[t->rank - 1];
    float *room = call->workspace;
    struct sums sums = {.weight = room + run / s->group * n};
    if (s->parts == 1) {
        sums.shift = (float *)call->out[1].data + run * n;
        sums.scale = (float *)call->out[2].data + run * n;
    } else {
        sums.shift = room + NORM_BLOCKS * n + 2 * run * n;
        sums.scale = sums.shift + n;
    }
    return sums;
}

static void modulated_block_back(const struct kernel_call *call, const struct shares *s,
                                 int64_t block)
{
    const struct tensor *t = &call->in[0];
    const float *x = t->data, *mean = call->in[2].data, *rstd = call->in[3].data;
    const float *scale = call->in[4].data, *dy = call->in[5].data;
    const float *more = call->in_count > 6 ? call->in[6].data : NULL;
    float *dx = call->out[0].data;
    int64_t n = t->dim[t->rank - 1], first = block * s->group;
    int64_t end = first + s->group < s->runs ? first + s->group : s->runs;
    memset(sums_at(call, s, first).weight, 0, (size_t)n * sizeof *dx);
    for (int64_t run = first; run < end; run++) {
        struct sums sums = sums_at(call, s, run);
        int64_t sequence = run / s->parts, from = run % s->parts * s->each;
        int64_t to = from + s->each < s->length ? from + s->each : s->length;
        memset(sums.shift, 0, (size_t)n * sizeof *dx);
        memset(sums.scale, 0, (size_t)n * sizeof *dx);
        for (int64_t p = from; p < to; p++) {
            int64_t r = sequence * s->length + p, at = r * n;
            modulated_row_back(x + at, call->in[1].data, mean[r], rstd[r], scale + sequence * n,
                               dy + at, more ? more + at : NULL, n, sums, dx + at);
        }
    }
}

static void add_row(float *to, const float *from, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
}

static void norm_modulate_backward_run(const struct kernel_call *call)
{
    const struct tensor *t = &call->in[0];
    int64_t n = t->dim[t->rank - 1];
    const struct shares s = shares_of(t);
    float *dshift = call->out[1].data, *dscale = call->out[2].data, *dw = call->out[3].data;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (s.runs * s.each * n > 1 << 14)
    for (int64_t block = 0; block < s.blocks; block++)
        modulated_block_back(call, &s, block);
    memset(dw, 0, (size_t)n * sizeof *dw);
    for (int64_t block = 0; block < s.blocks; block++)
        add_row(dw, (float *)call->workspace + block * n, n);
    for (int64_t run = 0; run < s.runs && s.parts > 1; run++) {
        struct sums sums = sums_at(call, &s, run);
        float *shift = dshift + run / s.parts * n, *scale = dscale + run / s.parts * n;
        if (run % s.parts == 0) {
            memset(shift, 0, (size_t)n * sizeof *shift);
            memset(scale, 0, (size_t)n * sizeof *scale);
        }
        add_row(shift, sums.shift, n);
        add_row(scale, sums.scale, n);
    }
}

KERNEL_LIST(norm) = {
    {"layer_norm", "ff_>fff", norm_run},
    {"layer_norm", "fff>fff", norm_run},
    {"layer_norm_backward", "fffff>fff", backward_run},
    {"norm_modulate", "ffff>fff", norm_modulate_run},
    {"norm_modulate_backward", "ffffff_>ffff", norm_modulate_backward_run},
    {"norm_modulate_backward", "fffffff>ffff", norm_modulate_backward_run},
    {0},
};
