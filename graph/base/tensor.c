/* Sizes and names of the element types. Called wherever a tensor is measured or named. */
#include "graph/base/tensor.h"

#include "graph/base/check.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[DT_COUNT] = {
    [DT_F32] = {"f32", 4},   [DT_F64] = {"f64", 8},   [DT_I32] = {"i32", 4},
    [DT_I64] = {"i64", 8},   [DT_BOOL] = {"bool", 1}, [DT_TOKEN] = {"token", 4},
    [DT_BF16] = {"bf16", 2},
};

size_t dtype_size(enum dtype dtype)
{
    BUG_ON((unsigned)dtype >= DT_COUNT);
    return dtypes[dtype].size;
}

const char *dtype_name(enum dtype dtype)
{
    BUG_ON((unsigned)dtype >= DT_COUNT);
    return dtypes[dtype].name;
}
