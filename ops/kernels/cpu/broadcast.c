/* Kernels of arithmetic on two tensors that broadcast. */
#include "ops/kernels/cpu/vector.h"
#include "ops/kernels/cpu/walk.h"

#include "ops/kernels/kernel.h"

enum binary { DO_ADD, DO_SUB, DO_MUL, DO_DIV, DO_POW, DO_MAX, DO_MIN };
#define INLINE static inline __attribute__((always_inline))

INLINE float add_f32(float a, float b)
{
    return a + b;
}
INLINE float sub_f32(float a, float b)
{
    return a - b;
}
INLINE float mul_f32(float a, float b)
{
    return a * b;
}
INLINE float div_f32(float a, float b)
{
    return a / b;
}
INLINE float max_f32(float a, float b)
{
    return a < b || b != b ? b : a;
}
INLINE float min_f32(float a, float b)
{
    return b < a || b != b ? b : a;
}
INLINE double add_f64(double a, double b)
{
    return a + b;
}
INLINE double sub_f64(double a, double b)
{
    return a - b;
}
INLINE double mul_f64(double a, double b)
{
    return a * b;
}
INLINE double div_f64(double a, double b)
{
    return a / b;
}
INLINE double max_f64(double a, double b)
{
    return a < b || b != b ? b : a;
}
INLINE double min_f64(double a, double b)
{
    return b < a || b != b ? b : a;
}

/* F is a constant where this is inlined, and so becomes part of the loops. */
INLINE void pairs_f32(float (*f)(float, float), float *out, const float *a, int64_t sa,
                      const float *b, int64_t sb, int64_t n)
{
    if (sa && sb) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = f(a[i], b[i]);
    } else if (sa) {
        float y = b[0];
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = f(a[i], y);
    } else {
        float x = a[0];
        for (int64_t i = 0; i < n; i++)
            out[i] = f(x, b[i * sb]);
    }
}
INLINE void pairs_f64(double (*f)(double, double), double *out, const double *a, int64_t sa,
                      const double *b, int64_t sb, int64_t n)
{
    if (sa && sb) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = f(a[i], b[i]);
    } else if (sa) {
        double y = b[0];
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = f(a[i], y);
    } else {
        double x = a[0];
        for (int64_t i = 0; i < n; i++)
            out[i] = f(x, b[i * sb]);
    }
}

#define LANES 16

/* Whole vectors only, the last one padded, as in elementwise.c. */
static void pow_f32(float *out, const float *a, int64_t sa, const float *b, int64_t sb, int64_t n)
{
    for (int64_t at = 0; at < n; at += LANES) {
        float x[LANES], y[LANES];
        int64_t some = n - at < LANES ? n - at : LANES;
        for (int64_t i = 0; i < LANES; i++) {
            x[i] = i < some ? a[(at + i) * sa] : 1;
            y[i] = i < some ? b[(at + i) * sb] : 1;
        }
        for (int64_t i = 0; i < LANES; i++)
            x[i] = powf(x[i], y[i]);
        memcpy(out + at, x, (size_t)some * sizeof *out);
    }
}
static void pow_f64(double *out, const double *a, int64_t sa, const double *b, int64_t sb,
                    int64_t n)
{
    for (int64_t at = 0; at < n; at += LANES) {
        double x[LANES], y[LANES];
        int64_t some = n - at < LANES ? n - at : LANES;
        for (int64_t i = 0; i < LANES; i++) {
            x[i] = i < some ? a[(at + i) * sa] : 1;
            y[i] = i < some ? b[(at + i) * sb] : 1;
        }
        for (int64_t i = 0; i < LANES; i++)
            x[i] = pow(x[i], y[i]);
        memcpy(out + at, x, (size_t)some * sizeof *out);
    }
}

static void run_f32(enum binary what, float *out, const float *a, int64_t sa, const float *b,
                    int64_t sb, int64_t n)
{
    switch (what) {
    case DO_ADD:
        pairs_f32(add_f32, out, a, sa, b, sb, n);
        return;
    case DO_SUB:
        pairs_f32(sub_f32, out, a, sa, b, sb, n);
        return;
    case DO_MUL:
        pairs_f32(mul_f32, out, a, sa, b, sb, n);
        return;
    case DO_DIV:
        pairs_f32(div_f32, out, a, sa, b, sb, n);
        return;
    case DO_POW:
        pow_f32(out, a, sa, b, sb, n);
        return;
    case DO_MAX:
        pairs_f32(max_f32, out, a, sa, b, sb, n);
        return;
    case DO_MIN:
        pairs_f32(min_f32, out, a, sa, b, sb, n);
        return;
    }
}
static void run_f64(enum binary what, double *out, const double *a, int64_t sa, const double *b,
                    int64_t sb, int64_t n)
{
    switch (what) {
    case DO_ADD:
        pairs_f64(add_f64, out, a, sa, b, sb, n);
        return;
    case DO_SUB:
        pairs_f64(sub_f64, out, a, sa, b, sb, n);
        return;
    case DO_MUL:
        pairs_f64(mul_f64, out, a, sa, b, sb, n);
        return;
    case DO_DIV:
        pairs_f64(div_f64, out, a, sa, b, sb, n);
        return;
    case DO_POW:
        pow_f64(out, a, sa, b, sb, n);
        return;
    case DO_MAX:
        pairs_f64(max_f64, out, a, sa, b, sb, n);
        return;
    case DO_MIN:
        pairs_f64(min_f64, out, a, sa, b, sb, n);
        return;
    }
}

/* Elements FROM .. of X at STEP as doubles; *STEP becomes that of the tile. */
#define TILE 256
static void widen(double *tile, const struct tensor *x, int64_t from, int64_t step, int64_t n)
{
    const float *f = x->data;
    const double *d = x->data;
    n = step ? n : 1;
    for (int64_t i = 0; i < n; i++)
        tile[i] = x->dtype == DT_F32 ? (double)f[from + i] : d[from + i];
}

/* One run where the dtypes differ, in doubles. */
static void run_mixed(const struct kernel_call *call, enum binary what, double *out,
                      const int64_t *from, const struct walk *w, int64_t n)
{
    double a[TILE], b[TILE];
    int64_t sa = w->step[0][0], sb = w->step[1][0];
    for (int64_t at = 0; at < n; at += TILE) {
        int64_t some = n - at < TILE ? n - at : TILE;
        widen(a, &call->in[0], from[0] + at * sa, sa, some);
        widen(b, &call->in[1], from[1] + at * sb, sb, some);
        run_f64(what, out + at, a, sa, b, sb, some);
    }
}

static void binary(const struct kernel_call *call, enum binary what)
{
    struct walk w = walk_make(call);
    int64_t chunks = walk_chunks(&w);
    const void *a = call->in[0].data, *b = call->in[1].data;
    void *out = call->out[0].data;
    bool mixed = call->in[0].dtype != call->in[1].dtype;
    bool wide = call->out[0].dtype == DT_F64;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (chunks > 1)
    for (int64_t c = 0; c < chunks; c++) {
        int64_t end = walk_end(&w, c), n;
        for (int64_t at = c * WALK_CHUNK; at < end; at += n) {
            int64_t from[WALK_INPUTS];
            n = walk_run(&w, at, end, from);
            if (mixed)
                run_mixed(call, what, (double *)out + at, from, &w, n);
            else if (wide)
                run_f64(what, (double *)out + at, (const double *)a + from[0], w.step[0][0],
                        (const double *)b + from[1], w.step[1][0], n);
            else
                run_f32(what, (float *)out + at, (const float *)a + from[0], w.step[0][0],
                        (const float *)b + from[1], w.step[1][0], n);
        }
    }
}

static void run_add(const struct kernel_call *call)
{
    binary(call, DO_ADD);
}
static void run_sub(const struct kernel_call *call)
{
    binary(call, DO_SUB);
}
static void run_mul(const struct kernel_call *call)
{
    binary(call, DO_MUL);
}
static void run_div(const struct kernel_call *call)
{
    binary(call, DO_DIV);
}
static void run_pow(const struct kernel_call *call)
{
    binary(call, DO_POW);
}
static void run_max(const struct kernel_call *call)
{
    binary(call, DO_MAX);
}
static void run_min(const struct kernel_call *call)
{
    binary(call, DO_MIN);
}

KERNEL_LIST(broadcast) = {
    {"add", "ff>f", run_add},
    {"add", "dd>d", run_add},
    {"add", "fd>d", run_add},
    {"add", "df>d", run_add},
    {"sub", "ff>f", run_sub},
    {"sub", "dd>d", run_sub},
    {"sub", "fd>d", run_sub},
    {"sub", "df>d", run_sub},
    {"mul", "ff>f", run_mul},
    {"mul", "dd>d", run_mul},
    {"mul", "fd>d", run_mul},
    {"mul", "df>d", run_mul},
    {"div", "ff>f", run_div},
    {"div", "dd>d", run_div},
    {"div", "fd>d", run_div},
    {"div", "df>d", run_div},
    {"pow", "ff>f", run_pow},
    {"pow", "dd>d", run_pow},
    {"pow", "fd>d", run_pow},
    {"pow", "df>d", run_pow},
    {"max", "ff>f", run_max},
    {"max", "dd>d", run_max},
    {"max", "fd>d", run_max},
    {"max", "df>d", run_max},
    {"min", "ff>f", run_min},
    {"min", "dd>d", run_min},
    {"min", "fd>d", run_min},
    {"min", "df>d", run_min},
    {0},
};
