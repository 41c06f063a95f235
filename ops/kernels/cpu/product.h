/* Products of matrices, for the kernels that make them: linear.c, embedding.c and the
 * fused heads. Compiled for each instruction set, in product.c. */
#ifndef SEDGE_CPU_PRODUCT_H
#define SEDGE_CPU_PRODUCT_H

#include "ops/kernels/cpu/micro.h"
#include "ops/kernels/kernel.h"

#define product KERNEL_PASTE(product, SEDGE_ISA_NAME)
#define product_then KERNEL_PASTE(product_then, SEDGE_ISA_NAME)

/* What becomes of elements of C once they are summed up, while they are in a cache: TILE is
 * handed OF and is to work on rows I on and columns J on, ROWS x COLS of them, J a multiple of
 * TILE_COLS; each element of C once, from any thread. */
struct finish {
    void (*tile)(const void *of, int64_t i, int64_t j, int64_t rows, int64_t cols);
    const void *of;
};

/* C[m, n] = A[m, k] B[k, n] + what ADD says; rows of C are N floats apart. Either rows of B lie
 * contiguous, or its columns and the rows of A. ROOM: scratch of product_room_bytes
 * (product_room.h) for at least these sizes, aligned to 64 bytes. The bits of a row of C depend on
 * N and K alone: not on THREADS, nor on how many rows there are. */
void product(int64_t m, int64_t n, int64_t k, struct strided a, struct strided b, struct addend add,
             float *c, void *room, int threads);
/* And THEN. */
void product_then(int64_t m, int64_t n, int64_t k, struct strided a, struct strided b,
                  struct addend add, struct finish then, float *c, void *room, int threads);

#endif
