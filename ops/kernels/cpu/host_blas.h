/* The gate to BLIS: single-precision products of row-major matrices, as a measure of the machine
 * for `sedge bench`. Kernels make their own products (product.h). The only way in, so that threads,
 * detection and BLIS's unsafe paths are decided in one place. */
#ifndef SEDGE_CPU_HOST_BLAS_H
#define SEDGE_CPU_HOST_BLAS_H

#include <stdbool.h>
#include <stdint.h>

struct blas_matrix {
    const float *data;
    int64_t stride; /* between rows as stored */
    bool transpose; /* use it transposed: element (i, j) is data[j * stride + i] */
};

/* C[m, n] = alpha A[m, k] B[k, n] + beta C, rows of C LDC apart; with beta 0 C is not read. The
 * bits do not depend on THREADS. Slow where m is below 32. */
void blas_sgemm(int64_t m, int64_t n, int64_t k, float alpha, struct blas_matrix a,
                struct blas_matrix b, float beta, float *c, int64_t ldc, int threads);

/* The kernel set that BLIS runs on this machine, such as "zen3" or "skx". GENERIC (may be NULL):
 * whether it is the portable one, about three times slower, which deserves a warning. */
const char *blas_name(bool *generic);

/* Whether WANTED, a value of BLIS_ARCH_TYPE, is the number of kernels that this processor can run:
 * BLIS takes what is no number for 0, runs what it is told, and aborts where it has no such. */
bool blas_can(const char *wanted);

/* The number for BLIS_ARCH_TYPE of the fastest kernel set that this processor can run, by its
 * features, and its name; -1 where none is known. */
int blas_advice(const char **name);

#endif
