/* The gate to BLIS 0.9: called by `sedge bench`, for how fast products are and what runs them.
 *
 * Three things are decided here. Each call carries its own thread count, since BLIS runs one thread
 * unless told. The small/skinny (`sup`) path is off: it reads past its operands. And where BLIS
 * does not know the processor, it is told the nearest one it does know. */
#include "ops/kernels/cpu/host_blas.h"

/* Its inline functions are many and unused, with parameters likewise. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wtype-limits"
#include <blis.h>
#pragma GCC diagnostic pop
#include <pthread.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* BLIS 0.9 matches AMD processors by family, up to 19h (Zen 4). From 1Ah (Zen 5) on it would fall
 * back to portable code; its Zen 3 kernels need AVX2 and FMA only. */
static bool newer_amd(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx)
        return false;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return false;
    unsigned family = (a >> 8 & 15) + (a >> 20 & 255);
    return family > 0x19 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int best_set(void)
{
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return BLIS_ARCH_SKX;
    if (avx2)
        return BLIS_ARCH_HASWELL;
    return __builtin_cpu_supports("avx") ? BLIS_ARCH_SANDYBRIDGE : -1;
}

static bool can_run(long set)
{
    switch (set) {
    case BLIS_ARCH_SKX:
        return best_set() == BLIS_ARCH_SKX;
    case BLIS_ARCH_HASWELL:
    case BLIS_ARCH_ZEN:
    case BLIS_ARCH_ZEN2:
    case BLIS_ARCH_ZEN3:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case BLIS_ARCH_SANDYBRIDGE:
        return __builtin_cpu_supports("avx");
    default: /* others need what few processors had */
        return set == BLIS_ARCH_PENRYN || set == BLIS_ARCH_GENERIC;
    }
}
#else
static bool newer_amd(void)
{
    return false;
}

static int best_set(void)
{
    return -1;
}

static bool can_run(long set)
{
    return set >= 0 && set < BLIS_NUM_ARCHS;
}
#endif

bool blas_can(const char *wanted)
{
    char *end;
    long set = strtol(wanted, &end, 10);
    return end != wanted && *end == '\0' && can_run(set);
}

/* BLIS keeps global state, made once; a choice by the user in BLIS_ARCH_TYPE stands. */
static void start(void)
{
    if (newer_amd()) {
        char number[16];
        snprintf(number, sizeof number, "%d", (int)BLIS_ARCH_ZEN3);
        setenv("BLIS_ARCH_TYPE", number, 0);
    }
    bli_init();
}

static void start_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
}

const char *blas_name(bool *generic)
{
    start_once();
    arch_t id = bli_arch_query_id();
    if (generic)
        *generic = id == BLIS_ARCH_GENERIC;
    return bli_arch_string(id);
}

int blas_advice(const char **name)
{
    int set = best_set();
    *name = set < 0 ? NULL : bli_arch_string((arch_t)set);
    return set;
}

/* A packed-storage product needs no copy for a transpose: rows and columns swap strides. */
void blas_sgemm(int64_t m, int64_t n, int64_t k, float alpha, struct blas_matrix a,
                struct blas_matrix b, float beta, float *c, int64_t ldc, int threads)
{
    start_once();
    rntm_t rntm = BLIS_RNTM_INITIALIZER;
    bli_rntm_set_num_threads(threads, &rntm);
    bli_rntm_disable_l3_sup(&rntm);
    bli_sgemm_ex(BLIS_NO_TRANSPOSE, BLIS_NO_TRANSPOSE, m, n, k, &alpha, (float *)a.data,
                 a.transpose ? 1 : a.stride, a.transpose ? a.stride : 1, (float *)b.data,
                 b.transpose ? 1 : b.stride, b.transpose ? b.stride : 1, &beta, c, ldc, 1, NULL,
                 &rntm);
}
