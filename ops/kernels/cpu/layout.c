/* Kernels that move elements: cutting, joining, and rows picked by index. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/kernel.h"

#include <string.h>

#define SERIAL 65536 /* bytes below which threads are not worth waking */
#define COLUMNS 64   /* of scatter_add that one task adds up */

/* OUTER x MID x INNER: what lies before, on and behind the axis. */
struct cut {
    int64_t outer, mid, inner;
};

static struct cut cut_axis(const struct tensor *x, int64_t axis)
{
    uint32_t at = (uint32_t)(axis < 0 ? axis + (int64_t)x->rank : axis);
    struct cut cut = {tensor_lead(x, at), x->dim[at], 1};
    for (uint32_t i = at + 1; i < x->rank; i++)
        cut.inner *= x->dim[i];
    return cut;
}

/* Copies OUTER stretches of BYTES, which lie TO_STEP and FROM_STEP bytes apart. */
static void copy_rows(const struct kernel_call *call, char *to, int64_t to_step, const char *from,
                      int64_t from_step, int64_t outer, int64_t bytes)
{
    (void)call; /* clang without OpenMP does not read it */
#pragma omp parallel for schedule(static) num_threads(call->threads) if (outer * bytes > SERIAL)
    for (int64_t o = 0; o < outer; o++)
        memcpy(to + o * to_step, from + o * from_step, (size_t)bytes);
}

static void run_split(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0];
    struct cut cut = cut_axis(x, call->attr[SPLIT_AXIS].integer);
    int64_t row = cut.mid * cut.inner * (int64_t)dtype_size(x->dtype);
    int64_t part = row / call->out_count;
    for (uint32_t k = 0; k < call->out_count; k++)
        copy_rows(call, call->out[k].data, part, (const char *)x->data + k * part, row, cut.outer,
                  part);
}

static void run_slice(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0];
    struct cut cut = cut_axis(x, call->attr[SLICE_AXIS].integer);
    int64_t element = cut.inner * (int64_t)dtype_size(x->dtype);
    int64_t part = call->attr[SLICE_SIZE].integer * element;
    copy_rows(call, call->out[0].data, part,
              (const char *)x->data + call->attr[SLICE_FROM].integer * element, cut.mid * element,
              cut.outer, part);
}

static void run_concat(const struct kernel_call *call)
{
    int64_t axis = call->attr[CONCAT_AXIS].integer, at = 0;
    struct cut to = cut_axis(&call->out[0], axis);
    int64_t element = to.inner * (int64_t)dtype_size(call->out[0].dtype);
    for (uint32_t k = 0; k < call->in_count; k++) {
        int64_t part = cut_axis(&call->in[k], axis).mid * element;
        copy_rows(call, (char *)call->out[0].data + at, to.mid * element, call->in[k].data, part,
                  to.outer, part);
        at += part;
    }
}

static void run_store(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0];
    if (call->out[0].data != x->data)
        memcpy(call->out[0].data, x->data, (size_t)tensor_size(x) * dtype_size(x->dtype));
}

static void run_nonzero(const struct kernel_call *call)
{
    const uint8_t *flags = call->in[0].data;
    int32_t *index = call->out[0].data;
    int64_t size = tensor_size(&call->in[0]), count = 0;
    for (int64_t i = 0; i < size; i++)
        if (flags[i])
            index[count++] = (int32_t)i;
    *call->count = count;
}

static void run_gather(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0];
    const int32_t *index = call->in[1].data;
    char *out = call->out[0].data;
    uint32_t axes = (uint32_t)call->attr[GATHER_AXES].integer;
    int64_t rows = tensor_lead(x, axes), count = call->in[1].dim[0];
    int64_t bytes = (int64_t)dtype_size(x->dtype);
    for (uint32_t i = axes; i < x->rank; i++)
        bytes *= x->dim[i];
#pragma omp parallel for schedule(static) num_threads(call->threads) if (count * bytes > SERIAL)
    for (int64_t k = 0; k < count; k++) {
        if (index[k] >= 0 && index[k] < rows)
            memcpy(out + k * bytes, (const char *)x->data + index[k] * bytes, (size_t)bytes);
        else
            memset(out + k * bytes, 0, (size_t)bytes);
    }
}

/* Adds columns FROM .. FROM + N - 1 of all rows of x, in order, so that rows which meet are added
 * in one order whatever the threads do. */
static void scatter_columns(const struct kernel_call *call, int64_t rows, int64_t width,
                            int64_t from, int64_t n)
{
    const struct tensor *x = &call->in[0];
    const int32_t *index = call->in[1].data;
    for (int64_t r = 0; r < rows; r++)
        memset((char *)call->out[0].data + (size_t)(r * width + from) * dtype_size(x->dtype), 0,
               (size_t)n * dtype_size(x->dtype));
    for (int64_t k = 0; k < x->dim[0]; k++) {
        if (index[k] < 0 || index[k] >= rows)
            continue;
        int64_t to = index[k] * width + from, at = k * width + from;
        if (x->dtype == DT_F32)
            for (int64_t i = 0; i < n; i++)
                ((float *)call->out[0].data)[to + i] += ((const float *)x->data)[at + i];
        else
            for (int64_t i = 0; i < n; i++)
                ((double *)call->out[0].data)[to + i] += ((const double *)x->data)[at + i];
    }
}

static void run_scatter_add(const struct kernel_call *call)
{
    uint32_t axes = call->attr[SCATTER_ROWS].dims.count;
    const struct tensor *y = &call->out[0];
    int64_t rows = tensor_lead(y, axes), width = 1;
    for (uint32_t i = axes; i < y->rank; i++)
        width *= y->dim[i];
    int64_t tiles = (width + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * width > SERIAL)
    for (int64_t t = 0; t < tiles; t++) {
        int64_t from = t * COLUMNS, n = width - from < COLUMNS ? width - from : COLUMNS;
        scatter_columns(call, rows, width, from, n);
    }
}

static void run_row_owner(const struct kernel_call *call)
{
    const int32_t *index = call->in[0].data;
    int32_t *out = call->out[0].data;
    int32_t of = (int32_t)call->attr[OWNER_OF].integer;
    for (int64_t k = 0; k < call->in[0].dim[0]; k++)
        out[k] = index[k] / of;
}

/* In order, so that of rows which meet the last one stays. */
static void run_replace(const struct kernel_call *call)
{
    const struct tensor *base = &call->in[0], *x = &call->in[1];
    const int32_t *index = call->in[2].data;
    char *out = call->out[0].data;
    int64_t rows = tensor_lead(base, base->rank - x->rank + 1),
            bytes = (int64_t)dtype_size(x->dtype);
    for (uint32_t i = 1; i < x->rank; i++)
        bytes *= x->dim[i];
    if (out != base->data)
        memcpy(out, base->data, (size_t)(rows * bytes));
    for (int64_t k = 0; k < x->dim[0]; k++)
        if (index[k] >= 0 && index[k] < rows)
            memcpy(out + index[k] * bytes, (const char *)x->data + k * bytes, (size_t)bytes);
}

KERNEL_LIST(layout) = {
    {"split", "*>*+", run_split},
    {"slice", "*>*", run_slice},
    {"concat", "*+>*", run_concat},
    {"store", "*>*", run_store},
    {"nonzero", "b>i", run_nonzero},
    {"gather", "*i>*", run_gather},
    {"scatter_add", "fi>f", run_scatter_add},
    {"scatter_add", "di>d", run_scatter_add},
    {"row_owner", "i>i", run_row_owner},
    {"replace", "tti>t", run_replace},
    {"replace", "iii>i", run_replace},
    {0},
};
