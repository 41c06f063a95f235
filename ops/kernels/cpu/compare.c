/* Kernels of comparisons, logic and `where`: results that are bools or copies. */
#include "ops/kernels/cpu/walk.h"

#include <string.h>

/* What every loop here needs: where the inputs are and how they step. */
struct run {
    const struct tensor *in;
    int64_t from[WALK_INPUTS];
    int64_t step[WALK_INPUTS];
    int64_t n;
};

static double real_at(const struct tensor *x, int64_t i)
{
    return x->dtype == DT_F32 ? (double)((const float *)x->data)[i] : ((const double *)x->data)[i];
}

static bool dtype_real(enum dtype dtype)
{
    return dtype == DT_F32 || dtype == DT_F64;
}

enum compare { DO_LESS, DO_EQUAL, DO_AND, DO_OR };

static void compare_f32(enum compare what, uint8_t *out, const struct run *r)
{
    const float *a = (const float *)r->in[0].data + r->from[0];
    const float *b = (const float *)r->in[1].data + r->from[1];
    int64_t sa = r->step[0], sb = r->step[1];
    if (what == DO_LESS)
        for (int64_t i = 0; i < r->n; i++)
            out[i] = a[i * sa] < b[i * sb];
    else
        for (int64_t i = 0; i < r->n; i++)
            out[i] = a[i * sa] == b[i * sb];
}

static void compare_real(enum compare what, uint8_t *out, const struct run *r)
{
    for (int64_t i = 0; i < r->n; i++) {
        double a = real_at(&r->in[0], r->from[0] + i * r->step[0]);
        double b = real_at(&r->in[1], r->from[1] + i * r->step[1]);
        out[i] = what == DO_LESS ? a < b : a == b;
    }
}

static void compare_ids(enum compare what, uint8_t *out, const struct run *r)
{
    const int32_t *a = (const int32_t *)r->in[0].data + r->from[0];
    const int32_t *b = (const int32_t *)r->in[1].data + r->from[1];
    int64_t sa = r->step[0], sb = r->step[1];
    if (what == DO_LESS)
        for (int64_t i = 0; i < r->n; i++)
            out[i] = a[i * sa] < b[i * sb];
    else
        for (int64_t i = 0; i < r->n; i++)
            out[i] = a[i * sa] == b[i * sb];
}

static void compare_bool(enum compare what, uint8_t *out, const struct run *r)
{
    const uint8_t *a = (const uint8_t *)r->in[0].data + r->from[0];
    const uint8_t *b = (const uint8_t *)r->in[1].data + r->from[1];
    int64_t sa = r->step[0], sb = r->step[1];
    for (int64_t i = 0; i < r->n; i++) {
        uint8_t x = a[i * sa], y = b[i * sb];
        out[i] = what == DO_AND ? x & y : what == DO_OR ? x | y : what == DO_LESS ? x < y : x == y;
    }
}

static void compare_run(enum compare what, uint8_t *out, const struct run *r)
{
    enum dtype a = r->in[0].dtype, b = r->in[1].dtype;
    if (a == DT_F32 && b == DT_F32)
        compare_f32(what, out, r);
    else if (dtype_real(a))
        compare_real(what, out, r);
    else if (a == DT_BOOL)
        compare_bool(what, out, r);
    else
        compare_ids(what, out, r);
}

static void compare(const struct kernel_call *call, enum compare what)
{
    struct walk w = walk_make(call);
    uint8_t *out = call->out[0].data;
    int64_t chunks = walk_chunks(&w);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (chunks > 1)
    for (int64_t c = 0; c < chunks; c++) {
        struct run r = {.in = call->in, .step = {w.step[0][0], w.step[1][0]}};
        int64_t end = walk_end(&w, c);
        for (int64_t at = c * WALK_CHUNK; at < end; at += r.n) {
            r.n = walk_run(&w, at, end, r.from);
            compare_run(what, out + at, &r);
        }
    }
}

static void run_less(const struct kernel_call *call)
{
    compare(call, DO_LESS);
}
static void run_equal(const struct kernel_call *call)
{
    compare(call, DO_EQUAL);
}
static void run_and(const struct kernel_call *call)
{
    compare(call, DO_AND);
}
static void run_or(const struct kernel_call *call)
{
    compare(call, DO_OR);
}

/* where on elements of 4 bytes, whatever they mean. */
static void where_4(uint32_t *out, const struct run *r)
{
    const uint8_t *flag = (const uint8_t *)r->in[0].data + r->from[0];
    const uint32_t *a = (const uint32_t *)r->in[1].data + r->from[1];
    const uint32_t *b = (const uint32_t *)r->in[2].data + r->from[2];
    int64_t sf = r->step[0], sa = r->step[1], sb = r->step[2];
    if (sf && sa && sb) {
        for (int64_t i = 0; i < r->n; i++) {
            uint32_t x = a[i], y = b[i];
            out[i] = flag[i] ? x : y;
        }
        return;
    }
    for (int64_t i = 0; i < r->n; i++) {
        uint32_t x = a[i * sa], y = b[i * sb];
        out[i] = flag[i * sf] ? x : y;
    }
}

static void where_1(uint8_t *out, const struct run *r)
{
    const uint8_t *flag = (const uint8_t *)r->in[0].data + r->from[0];
    const uint8_t *a = (const uint8_t *)r->in[1].data + r->from[1];
    const uint8_t *b = (const uint8_t *)r->in[2].data + r->from[2];
    for (int64_t i = 0; i < r->n; i++)
        out[i] = flag[i * r->step[0]] ? a[i * r->step[1]] : b[i * r->step[2]];
}

static void where_real(double *out, const struct run *r)
{
    const uint8_t *flag = (const uint8_t *)r->in[0].data + r->from[0];
    for (int64_t i = 0; i < r->n; i++) {
        int k = flag[i * r->step[0]] ? 1 : 2;
        out[i] = real_at(&r->in[k], r->from[k] + i * r->step[k]);
    }
}

static void run_where(const struct kernel_call *call)
{
    struct walk w = walk_make(call);
    int64_t chunks = walk_chunks(&w);
    void *out = call->out[0].data;
    enum dtype dtype = call->out[0].dtype;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (chunks > 1)
    for (int64_t c = 0; c < chunks; c++) {
        struct run r = {.in = call->in, .step = {w.step[0][0], w.step[1][0], w.step[2][0]}};
        int64_t end = walk_end(&w, c);
        for (int64_t at = c * WALK_CHUNK; at < end; at += r.n) {
            r.n = walk_run(&w, at, end, r.from);
            if (dtype == DT_F64)
                where_real((double *)out + at, &r);
            else if (dtype == DT_BOOL)
                where_1((uint8_t *)out + at, &r);
            else
                where_4((uint32_t *)out + at, &r);
        }
    }
}

KERNEL_LIST(compare) = {
    {"less", "**>b", run_less}, {"equal", "**>b", run_equal},  {"and", "bb>b", run_and},
    {"or", "bb>b", run_or},     {"where", "b**>*", run_where}, {0},
};
