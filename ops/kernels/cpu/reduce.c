/* Kernels of reductions. Everything is added up in double. The order is one of the shapes: rows by
 * eight interleaved sums, columns from top to bottom, and the sum of everything as BLOCKS partial
 * sums that are then added one after the other. */
#include "ops/kernels/cpu/vector.h"

#include "ops/kernels/attrs.h"
#include "ops/kernels/kernel.h"

#define BLOCKS 64
#define COLUMNS 64   /* that one task adds up side by side */
#define SERIAL 16384 /* elements below which threads are not worth waking */
#define AXIS_ALL (-999)

/* OUTER x MID x INNER: what lies before, on and behind the axis. */
struct cut {
    int64_t outer, mid, inner;
};

static struct cut cut_axis(const struct tensor *x, int64_t axis)
{
    if (axis == AXIS_ALL)
        return (struct cut){1, tensor_size(x), 1};
    uint32_t at = (uint32_t)(axis < 0 ? axis + (int64_t)x->rank : axis);
    struct cut cut = {tensor_lead(x, at), x->dim[at], 1};
    for (uint32_t i = at + 1; i < x->rank; i++)
        cut.inner *= x->dim[i];
    return cut;
}

static double row_sum_f32(const float *x, int64_t n)
{
    double lane[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            lane[k] += (double)x[i + k];
    for (; i < n; i++)
        lane[i % 8] += (double)x[i];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static double row_sum_f64(const double *x, int64_t n)
{
    double lane[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            lane[k] += x[i + k];
    for (; i < n; i++)
        lane[i % 8] += x[i];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static double row_sum(const struct tensor *x, int64_t from, int64_t n)
{
    if (x->dtype == DT_F32)
        return row_sum_f32((const float *)x->data + from, n);
    return row_sum_f64((const double *)x->data + from, n);
}

static void put(const struct tensor *y, int64_t at, double value)
{
    if (y->dtype == DT_F32)
        ((float *)y->data)[at] = (float)value;
    else
        ((double *)y->data)[at] = value;
}

/* One number from N elements. */
static double sum_all(const struct kernel_call *call, int64_t n)
{
    const struct tensor *x = &call->in[0];
    double partial[BLOCKS], sum = 0;
    int64_t size = (n + BLOCKS - 1) / BLOCKS;
    if (n <= SERIAL)
        return row_sum(x, 0, n);
#pragma omp parallel for schedule(static) num_threads(call->threads)
    for (int64_t b = 0; b < BLOCKS; b++) {
        int64_t from = b * size < n ? b * size : n;
        partial[b] = row_sum(x, from, n - from < size ? n - from : size);
    }
    for (int b = 0; b < BLOCKS; b++)
        sum += partial[b];
    return sum;
}

/* N columns of MID rows that lie INNER apart, starting at element FROM. */
static void sum_columns(const struct tensor *x, int64_t from, struct cut cut, int64_t n,
                        double sum[COLUMNS])
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = 0;
    if (x->dtype == DT_F32) {
        const float *row = (const float *)x->data + from;
        for (int64_t m = 0; m < cut.mid; m++, row += cut.inner)
            for (int64_t i = 0; i < n; i++)
                sum[i] += (double)row[i];
    } else {
        const double *row = (const double *)x->data + from;
        for (int64_t m = 0; m < cut.mid; m++, row += cut.inner)
            for (int64_t i = 0; i < n; i++)
                sum[i] += row[i];
    }
}

/* y = sums over the axis of CUT, times 1 / DIVISOR. */
static void reduce(const struct kernel_call *call, struct cut cut, double divisor)
{
    const struct tensor *x = &call->in[0], *y = &call->out[0];
    bool small = cut.outer * cut.mid * cut.inner <= SERIAL;
    if (cut.outer == 1 && cut.inner == 1) {
        put(y, 0, sum_all(call, cut.mid) / divisor);
    } else if (cut.inner == 1) {
#pragma omp parallel for schedule(static) num_threads(call->threads) if (!small)
        for (int64_t o = 0; o < cut.outer; o++)
            put(y, o, row_sum(x, o * cut.mid, cut.mid) / divisor);
    } else {
        int64_t tiles = (cut.inner + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (!small)
        for (int64_t t = 0; t < cut.outer * tiles; t++) {
            double sum[COLUMNS];
            int64_t o = t / tiles, c = t % tiles * COLUMNS;
            int64_t n = cut.inner - c < COLUMNS ? cut.inner - c : COLUMNS;
            sum_columns(x, o * cut.mid * cut.inner + c, cut, n, sum);
            for (int64_t i = 0; i < n; i++)
                put(y, o * cut.inner + c + i, sum[i] / divisor);
        }
    }
}

static void run_sum(const struct kernel_call *call)
{
    reduce(call, cut_axis(&call->in[0], call->attr[REDUCE_AXIS].integer), 1);
}

static void run_mean(const struct kernel_call *call)
{
    struct cut cut = cut_axis(&call->in[0], call->attr[REDUCE_AXIS].integer);
    put(&call->out[1], 0, (double)cut.mid);
    reduce(call, cut, (double)cut.mid);
}

/* ------------------------------------------------------------- to and from a smaller shape */

/* The axes of LARGE merged where neighbours are all kept or all added up; axis 0 is the innermost.
 * STEP is how far SMALL moves, 0 along an axis that is added up. */
struct groups {
    uint32_t rank;
    int64_t dim[TENSOR_RANK_MAX], step[TENSOR_RANK_MAX];
};

static struct groups group_axes(const struct tensor *large, const struct tensor *small)
{
    struct groups g = {0};
    int64_t place = 1;
    for (uint32_t d = 0; d < large->rank; d++) {
        int64_t size = large->dim[large->rank - 1 - d];
        int64_t own = d < small->rank ? small->dim[small->rank - 1 - d] : 1;
        int64_t step = own == 1 ? 0 : place;
        place *= own;
        if (size == 1)
            continue;
        if (g.rank && step == (g.step[g.rank - 1] ? g.step[g.rank - 1] * g.dim[g.rank - 1] : 0)) {
            g.dim[g.rank - 1] *= size;
            continue;
        }
        g.step[g.rank] = step;
        g.dim[g.rank++] = size;
    }
    return g;
}

/* One sum whose terms are scattered: element AT of the small tensor. */
static double sum_scattered(const struct tensor *x, const struct groups *g, int64_t at)
{
    int64_t base = 0, terms = 1, place[TENSOR_RANK_MAX], stride = 1;
    for (uint32_t d = 0; d < g->rank; d++) {
        place[d] = stride;
        if (g->step[d])
            base += at / g->step[d] % g->dim[d] * stride;
        else
            terms *= g->dim[d];
        stride *= g->dim[d];
    }
    double sum = 0;
    for (int64_t t = 0; t < terms; t++) {
        int64_t from = base, rest = t;
        for (uint32_t d = 0; d < g->rank; d++) {
            if (g->step[d])
                continue;
            from += rest % g->dim[d] * place[d];
            rest /= g->dim[d];
        }
        sum += row_sum(x, from, 1);
    }
    return sum;
}

static void run_sum_to(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *y = &call->out[0];
    struct groups g = group_axes(x, y);
    int64_t size = tensor_size(y);
    bool inner_kept = g.rank && g.step[0];
    if (tensor_size(x) == size) {
        memcpy(y->data, x->data, (size_t)size * dtype_size(x->dtype));
    } else if (g.rank <= 2u + inner_kept) { /* one axis is added up, between what is kept */
        uint32_t mid = inner_kept;
        struct cut cut = {mid + 1 < g.rank ? g.dim[mid + 1] : 1, g.dim[mid],
                          inner_kept ? g.dim[0] : 1};
        reduce(call, cut, 1);
    } else {
#pragma omp parallel for schedule(static) num_threads(call->threads)
        for (int64_t i = 0; i < size; i++)
            put(y, i, sum_scattered(x, &g, i));
    }
}

/* COUNT copies of one element, or a copy of COUNT elements. */
static void stretch(char *out, const char *x, int64_t count, bool fill, size_t width)
{
    if (!fill)
        memcpy(out, x, (size_t)count * width);
    else if (width == 4)
        for (int64_t i = 0; i < count; i++)
            memcpy(out + 4 * i, x, 4);
    else
        for (int64_t i = 0; i < count; i++)
            memcpy(out + 8 * i, x, 8);
}

static void run_broadcast_to(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *y = &call->out[0];
    struct groups g = group_axes(y, x);
    size_t width = dtype_size(y->dtype);
    int64_t inner = g.rank ? g.dim[0] : 1, rows = inner ? tensor_size(y) / inner : 0;
    bool fill = !g.rank || !g.step[0];
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * inner > SERIAL)
    for (int64_t r = 0; r < rows; r++) {
        int64_t from = 0, rest = r;
        for (uint32_t d = 1; d < g.rank; d++) {
            from += rest % g.dim[d] * g.step[d];
            rest /= g.dim[d];
        }
        stretch((char *)y->data + (size_t)(r * inner) * width,
                (const char *)x->data + (size_t)from * width, inner, fill, width);
    }
}

/* --------------------------------------------------------------------------------- logsumexp */

#define TILE 16 /* a multiple of every vector's lanes; the last tile is padded with zeros */

static double exp_sum_f32(const float *x, int64_t n, float most)
{
    double lane[TILE] = {0}, sum = 0;
    for (int64_t at = 0; at < n; at += TILE) {
        float tile[TILE];
        for (int64_t i = 0; i < TILE; i++)
            tile[i] = at + i < n ? x[at + i] - most : -INFINITY;
        for (int i = 0; i < TILE; i++)
            tile[i] = expf(tile[i]);
        for (int i = 0; i < TILE; i++)
            lane[i] += (double)tile[i];
    }
    for (int i = 0; i < TILE; i++)
        sum += lane[i];
    return sum;
}

static double logsumexp_f32(const float *x, int64_t n)
{
    float most = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        most = x[i] > most || x[i] != x[i] ? x[i] : most;
    if (!(most > -INFINITY))
        return (double)most;
    return (double)most + log(exp_sum_f32(x, n, most));
}

static double logsumexp_f64(const double *x, int64_t n)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        most = x[i] > most || x[i] != x[i] ? x[i] : most;
    if (!(most > -INFINITY))
        return most;
    for (int64_t at = 0; at < n; at += TILE) {
        double tile[TILE];
        for (int64_t i = 0; i < TILE; i++)
            tile[i] = at + i < n ? x[at + i] - most : -INFINITY;
        for (int i = 0; i < TILE; i++)
            tile[i] = exp(tile[i]);
        for (int i = 0; i < TILE; i++)
            sum += tile[i];
    }
    return most + log(sum);
}

static void run_logsumexp(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *y = &call->out[0];
    struct cut cut = cut_axis(x, -1);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (cut.outer * cut.mid > 4096)
    for (int64_t o = 0; o < cut.outer; o++) {
        if (x->dtype == DT_F32)
            put(y, o, logsumexp_f32((const float *)x->data + o * cut.mid, cut.mid));
        else
            put(y, o, logsumexp_f64((const double *)x->data + o * cut.mid, cut.mid));
    }
}

KERNEL_LIST(reduce) = {
    {"sum", "f>f", run_sum},
    {"sum", "d>d", run_sum},
    {"mean", "f>ff", run_mean},
    {"mean", "d>dd", run_mean},
    {"sum_to", "f>f", run_sum_to},
    {"sum_to", "d>d", run_sum_to},
    {"broadcast_to", "f>f", run_broadcast_to},
    {"broadcast_to", "d>d", run_broadcast_to},
    {"logsumexp", "f>f", run_logsumexp},
    {"logsumexp", "d>d", run_logsumexp},
    {0},
};
