/* Products of matrices, for the kernels that make them: linear.c, embedding.c and the
 * fused heads. Compiled for each instruction set, in product.c. */
#ifndef SEDGE_CPU_PRODUCT_H
#define SEDGE_CPU_PRODUCT_H

#include "ops/kernels/cpu/micro.h"
#include "ops/kernels/kernel.h"

#define product KERNEL_PASTE(product, SEDGE_ISA_NAME)

/* C[m, n] = A[m, k] B[k, n] + what ADD says; rows of C are N floats apart. ROOM: scratch of
 * product_room_bytes (product_room.h) for at least these sizes, aligned to 64 bytes. The bits
 * depend on the sizes alone, not on THREADS. */
void product(int64_t m, int64_t n, int64_t k, struct strided a, struct strided b, struct addend add,
             float *c, void *room, int threads);

#endif
