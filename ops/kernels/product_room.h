/* The workspace of a product of matrices C[m, n] = A[m, k] B[k, n]: a block of B, packed, that all
 * threads read. What has fewer than PRODUCT_THIN rows needs none. Workspace rules and kernels
 * (cpu/product.h) share it. */
#ifndef SEDGE_PRODUCT_ROOM_H
#define SEDGE_PRODUCT_ROOM_H

#include <stdint.h>

#define PRODUCT_THIN 32
#define PRODUCT_ROOM (6 << 20) /* bytes at most: within the last cache of most machines */
#define PRODUCT_PAD 32         /* columns: panels of any instruction set divide it */

/* Bytes for products of up to M rows. */
static inline int64_t product_room_bytes(int64_t m, int64_t n, int64_t k)
{
    int64_t whole = 4 * k * ((n + PRODUCT_PAD - 1) / PRODUCT_PAD * PRODUCT_PAD);
    return m < PRODUCT_THIN ? 0 : whole < PRODUCT_ROOM ? whole : PRODUCT_ROOM;
}

#endif
