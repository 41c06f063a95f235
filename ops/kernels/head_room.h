/* The workspace of the fused heads (head_loss.c, head_draw.c): sums over rows of the bias gradient,
 * where there are gradients, the logits of a chunk of rows, and what products of it need. Rule and
 * kernel share it.
 *
 * A chunk has HEAD_ROWS rows, so that matrix products of it are as fast as whole ones, and what
 * they pack of the weight (and add to its gradient) is small beside their work; fewer where the
 * logits would be more than HEAD_BYTES, but no less than HEAD_ROWS_LEAST, below which the products
 * slow down. Shapes alone decide. */
#ifndef SEDGE_HEAD_ROOM_H
#define SEDGE_HEAD_ROOM_H

#include "ops/kernels/product_room.h"

#include <stdbool.h>

#define HEAD_ROWS 512
#define HEAD_ROWS_LEAST 192
#define HEAD_BYTES (50 << 20)

/* The most rows in a chunk. */
static inline int64_t head_rows_most(int64_t states)
{
    int64_t most = HEAD_BYTES / (states * (int64_t)sizeof(float));
    return most > HEAD_ROWS ? HEAD_ROWS : most < HEAD_ROWS_LEAST ? HEAD_ROWS_LEAST : most;
}

/* Rows in all chunks of ROWS but the last: as even as it goes, since a thin chunk is slow. */
static inline int64_t head_chunk(int64_t rows, int64_t states)
{
    int64_t most = head_rows_most(states), chunks = (rows + most - 1) / most;
    return chunks ? (rows + chunks - 1) / chunks : 0;
}

/* The sums come first: they do not depend on how many of the planned rows a run has. */
static inline int64_t head_sums_bytes(int64_t states)
{
    return (states * (int64_t)sizeof(double) + 63) / 64 * 64;
}

/* Logits of the largest chunk of up to ROWS rows. */
static inline int64_t head_logits_bytes(int64_t rows, int64_t states)
{
    int64_t most = head_rows_most(states);
    int64_t bytes = (rows < most ? rows : most) * states * (int64_t)sizeof(float);
    return (bytes + 63) / 64 * 64;
}

/* Of the logits, and with GRADIENTS of those of the chunk and of the weight [STATES, DIM], which is
 * made as it is stored. */
static inline int64_t head_product_bytes(int64_t rows, int64_t states, int64_t dim, bool gradients)
{
    int64_t chunk = rows < head_rows_most(states) ? rows : head_rows_most(states);
    int64_t most = product_room_bytes(chunk, states, dim);
    int64_t more[] = {product_room_bytes(chunk, dim, states),
                      product_room_bytes(states, dim, chunk),
                      product_room_bytes(dim, states, chunk)};
    for (int i = 0; i < 3 && gradients; i++)
        most = most > more[i] ? most : more[i];
    return most;
}

#endif
