/* Kernels of elementwise ops with one input. Work is cut into tiles, the last one padded to whole
 * vectors, so that every element goes through the same code: its bits do not depend on where in a
 * tensor it stands. */
#include "ops/kernels/cpu/vector.h"

#include "ops/kernels/attrs.h"
#include "ops/kernels/kernel.h"

#define TILE 512
#define LANES 16    /* a multiple of those of every vector */
#define SERIAL 8192 /* elements below which threads are not worth waking */

enum unary { DO_NEG, DO_EXP, DO_LOG, DO_LOG1P, DO_EXPM1, DO_SQRT, DO_SIN, DO_COS, DO_TANH };

/* In place on a tile of its own: the compiler then knows that nothing overlaps. N is a multiple of
 * LANES. */
static void tile_f32(enum unary what, float *x, int64_t n)
{
    switch (what) {
    case DO_NEG:
        for (int64_t i = 0; i < n; i++)
            x[i] = -x[i];
        return;
    case DO_EXP:
        for (int64_t i = 0; i < n; i++)
            x[i] = expf(x[i]);
        return;
    case DO_LOG:
        for (int64_t i = 0; i < n; i++)
            x[i] = logf(x[i]);
        return;
    case DO_LOG1P:
        for (int64_t i = 0; i < n; i++)
            x[i] = log1pf(x[i]);
        return;
    case DO_EXPM1:
        for (int64_t i = 0; i < n; i++)
            x[i] = expm1f(x[i]);
        return;
    case DO_SQRT:
        for (int64_t i = 0; i < n; i++)
            x[i] = sqrtf(x[i]);
        return;
    case DO_SIN:
        for (int64_t i = 0; i < n; i++)
            x[i] = sinf(x[i]);
        return;
    case DO_COS:
        for (int64_t i = 0; i < n; i++)
            x[i] = cosf(x[i]);
        return;
    case DO_TANH:
        for (int64_t i = 0; i < n; i++)
            x[i] = tanhf(x[i]);
        return;
    }
}

static void tile_f64(enum unary what, double *x, int64_t n)
{
    switch (what) {
    case DO_NEG:
        for (int64_t i = 0; i < n; i++)
            x[i] = -x[i];
        return;
    case DO_EXP:
        for (int64_t i = 0; i < n; i++)
            x[i] = exp(x[i]);
        return;
    case DO_LOG:
        for (int64_t i = 0; i < n; i++)
            x[i] = log(x[i]);
        return;
    case DO_LOG1P:
        for (int64_t i = 0; i < n; i++)
            x[i] = log1p(x[i]);
        return;
    case DO_EXPM1:
        for (int64_t i = 0; i < n; i++)
            x[i] = expm1(x[i]);
        return;
    case DO_SQRT:
        for (int64_t i = 0; i < n; i++)
            x[i] = sqrt(x[i]);
        return;
    case DO_SIN:
        for (int64_t i = 0; i < n; i++)
            x[i] = sin(x[i]);
        return;
    case DO_COS:
        for (int64_t i = 0; i < n; i++)
            x[i] = cos(x[i]);
        return;
    case DO_TANH:
        for (int64_t i = 0; i < n; i++)
            x[i] = tanh(x[i]);
        return;
    }
}

/* One tile of the result, padded with ones. */
static void run_f32(enum unary what, float *out, const float *x, int64_t n)
{
    float tile[TILE];
    int64_t whole = (n + LANES - 1) / LANES * LANES;
    memcpy(tile, x, (size_t)n * sizeof *x);
    for (int64_t i = n; i < whole; i++)
        tile[i] = 1;
    tile_f32(what, tile, whole);
    memcpy(out, tile, (size_t)n * sizeof *x);
}

static void run_f64(enum unary what, double *out, const double *x, int64_t n)
{
    double tile[TILE];
    int64_t whole = (n + LANES - 1) / LANES * LANES;
    memcpy(tile, x, (size_t)n * sizeof *x);
    for (int64_t i = n; i < whole; i++)
        tile[i] = 1;
    tile_f64(what, tile, whole);
    memcpy(out, tile, (size_t)n * sizeof *x);
}

static void unary(const struct kernel_call *call, enum unary what)
{
    int64_t size = tensor_size(&call->out[0]), tiles = (size + TILE - 1) / TILE;
    bool wide = call->out[0].dtype == DT_F64;
    const void *x = call->in[0].data;
    void *out = call->out[0].data;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (size > SERIAL)
    for (int64_t t = 0; t < tiles; t++) {
        int64_t at = t * TILE, n = size - at < TILE ? size - at : TILE;
        if (wide)
            run_f64(what, (double *)out + at, (const double *)x + at, n);
        else
            run_f32(what, (float *)out + at, (const float *)x + at, n);
    }
}

static void run_neg(const struct kernel_call *call)
{
    unary(call, DO_NEG);
}
static void run_exp(const struct kernel_call *call)
{
    unary(call, DO_EXP);
}
static void run_log(const struct kernel_call *call)
{
    unary(call, DO_LOG);
}
static void run_log1p(const struct kernel_call *call)
{
    unary(call, DO_LOG1P);
}
static void run_expm1(const struct kernel_call *call)
{
    unary(call, DO_EXPM1);
}
static void run_sqrt(const struct kernel_call *call)
{
    unary(call, DO_SQRT);
}
static void run_sin(const struct kernel_call *call)
{
    unary(call, DO_SIN);
}
static void run_cos(const struct kernel_call *call)
{
    unary(call, DO_COS);
}
static void run_tanh(const struct kernel_call *call)
{
    unary(call, DO_TANH);
}

static void run_not(const struct kernel_call *call)
{
    int64_t size = tensor_size(&call->out[0]);
    const uint8_t *x = call->in[0].data;
    uint8_t *out = call->out[0].data;
    for (int64_t i = 0; i < size; i++)
        out[i] = !x[i];
}

/* Casts go through a tile of doubles, which hold every f32, i32 and bool exactly. */
static void cast_load(double *tile, const struct tensor *x, int64_t at, int64_t n)
{
    switch (x->dtype) {
    case DT_F32:
        for (int64_t i = 0; i < n; i++)
            tile[i] = ((const float *)x->data)[at + i];
        return;
    case DT_F64:
        memcpy(tile, (const double *)x->data + at, (size_t)n * sizeof *tile);
        return;
    case DT_BOOL:
        for (int64_t i = 0; i < n; i++)
            tile[i] = ((const uint8_t *)x->data)[at + i];
        return;
    default: /* i32 and token */
        for (int64_t i = 0; i < n; i++)
            tile[i] = ((const int32_t *)x->data)[at + i];
        return;
    }
}

/* Towards zero, held within the range; NaN gives 0. */
static int32_t cast_int(double x)
{
    if (!(x == x))
        return 0;
    if (x <= INT32_MIN)
        return INT32_MIN;
    return x >= INT32_MAX ? INT32_MAX : (int32_t)x;
}

static void cast_store(const struct tensor *y, int64_t at, const double *tile, int64_t n)
{
    switch (y->dtype) {
    case DT_F32:
        for (int64_t i = 0; i < n; i++)
            ((float *)y->data)[at + i] = (float)tile[i];
        return;
    case DT_F64:
        memcpy((double *)y->data + at, tile, (size_t)n * sizeof *tile);
        return;
    case DT_BOOL:
        for (int64_t i = 0; i < n; i++)
            ((uint8_t *)y->data)[at + i] = tile[i] != 0;
        return;
    default:
        for (int64_t i = 0; i < n; i++)
            ((int32_t *)y->data)[at + i] = cast_int(tile[i]);
        return;
    }
}

static void run_cast(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0], *y = &call->out[0];
    int64_t size = tensor_size(y), tiles = (size + TILE - 1) / TILE;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (size > SERIAL)
    for (int64_t t = 0; t < tiles; t++) {
        double tile[TILE];
        int64_t at = t * TILE, n = size - at < TILE ? size - at : TILE;
        cast_load(tile, x, at, n);
        cast_store(y, at, tile, n);
    }
}

KERNEL_LIST(elementwise) = {
    {"neg", "f>f", run_neg},     {"neg", "d>d", run_neg},     {"exp", "f>f", run_exp},
    {"exp", "d>d", run_exp},     {"log", "f>f", run_log},     {"log", "d>d", run_log},
    {"log1p", "f>f", run_log1p}, {"log1p", "d>d", run_log1p}, {"expm1", "f>f", run_expm1},
    {"expm1", "d>d", run_expm1}, {"sqrt", "f>f", run_sqrt},   {"sqrt", "d>d", run_sqrt},
    {"sin", "f>f", run_sin},     {"sin", "d>d", run_sin},     {"cos", "f>f", run_cos},
    {"cos", "d>d", run_cos},     {"tanh", "f>f", run_tanh},   {"tanh", "d>d", run_tanh},
    {"not", "b>b", run_not},     {"cast", "*>*", run_cast},   {0},
};
