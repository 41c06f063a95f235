/* Products of fewer rows than PRODUCT_THIN (product_room.h), for product.c. */
#ifndef SEDGE_CPU_THIN_H
#define SEDGE_CPU_THIN_H

#include "ops/kernels/cpu/product.h"

/* A part of the depth at most: a panel of B leaves some of 32 KiB to what streams past it. */
#if defined(__AVX512F__)
#define DEPTH 192
#else
#define DEPTH 384
#endif

/* A product as product.h says it, of M < PRODUCT_THIN rows and K > 0. PART: of the depth, what is
 * summed up before it is added, at most DEPTH. The bits do not depend on how many
 * rows there are: a row of any product is the same. */
struct thin {
    int64_t m, n, k, part;
    struct strided a, b;
    struct addend add;
    struct finish then;
    float *c;
};

#define product_thin KERNEL_PASTE(product_thin, SEDGE_ISA_NAME)

void product_thin(const struct thin *w, int threads);

#endif
