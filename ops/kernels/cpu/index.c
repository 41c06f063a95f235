/* Kernels of positions, take and put; ops/index.c says what they are. What they move is small: no
 * threads. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/kernel.h"

#include <string.h>

static void run_positions(const struct kernel_call *call)
{
    int32_t *y = call->out[0].data;
    for (int64_t i = 0; i < call->out[0].dim[0]; i++)
        y[i] = (int32_t)i;
}

/* Of a tensor with the axis: stretches of BYTES, OUTER x MID of them. */
struct stretches {
    int64_t outer, mid;
    size_t bytes;
};

static struct stretches stretches_of(const struct kernel_call *call, const struct tensor *x)
{
    int64_t axis = call->attr[INDEX_AXIS].integer;
    uint32_t at = (uint32_t)(axis < 0 ? axis + (int64_t)x->rank : axis);
    struct stretches s = {tensor_lead(x, at), x->dim[at], dtype_size(x->dtype)};
    for (uint32_t i = at + 1; i < x->rank; i++)
        s.bytes *= (size_t)x->dim[i];
    return s;
}

static void run_take(const struct kernel_call *call)
{
    struct stretches s = stretches_of(call, &call->in[0]);
    const int64_t at = *(const int32_t *)call->in[1].data;
    const char *x = call->in[0].data;
    char *y = call->out[0].data;
    if (at < 0 || at >= s.mid) {
        memset(y, 0, (size_t)s.outer * s.bytes);
        return;
    }
    for (int64_t o = 0; o < s.outer; o++)
        memcpy(y + (size_t)o * s.bytes, x + (size_t)(o * s.mid + at) * s.bytes, s.bytes);
}

static void run_put(const struct kernel_call *call)
{
    struct stretches s = stretches_of(call, &call->in[0]);
    const int64_t at = *(const int32_t *)call->in[2].data;
    const char *row = call->in[1].data;
    char *y = call->out[0].data;
    if (y != call->in[0].data)
        memcpy(y, call->in[0].data, (size_t)(s.outer * s.mid) * s.bytes);
    for (int64_t o = 0; at >= 0 && at < s.mid && o < s.outer; o++)
        memcpy(y + (size_t)(o * s.mid + at) * s.bytes, row + (size_t)o * s.bytes, s.bytes);
}

KERNEL_LIST(index) = {
    {"positions", ">i", run_positions},
    {"take", "*i>*", run_take},
    {"put", "**i>*", run_put},
    {0},
};
