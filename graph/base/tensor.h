/* Tensors in memory: the one form in which kernels, references, files and tests pass them. */
#ifndef SEDGE_BASE_TENSOR_H
#define SEDGE_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_RANK_MAX 6

/* DT_TOKEN is stored as int32_t, DT_BOOL as uint8_t (0 or 1). DT_BF16 is reserved for a compute
 * copy beside an f32 master and refused everywhere else. */
enum dtype { DT_F32, DT_F64, DT_I32, DT_I64, DT_BOOL, DT_TOKEN, DT_BF16, DT_COUNT };

size_t dtype_size(enum dtype dtype);
const char *dtype_name(enum dtype dtype); /* "f32", "token", … */

/* Row major, contiguous, no strides. DATA is aligned to 64 bytes when the executor made it. */
struct tensor {
    enum dtype dtype;
    uint32_t rank;
    int64_t dim[TENSOR_RANK_MAX];
    void *data;
};

/* Product of the first COUNT dims; of all of them with tensor_size. */
static inline int64_t tensor_lead(const struct tensor *t, uint32_t count)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < count; i++)
        n *= t->dim[i];
    return n;
}
static inline int64_t tensor_size(const struct tensor *t)
{
    return tensor_lead(t, t->rank);
}

#endif
