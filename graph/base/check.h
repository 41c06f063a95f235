/* Programmer faults, and sizes that cannot overflow unnoticed. */
#ifndef SEDGE_BASE_CHECK_H
#define SEDGE_BASE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

/* Stops the process with file, line and the condition: a fault in sedge, never in its input. */
_Noreturn void bug(const char *file, int line, const char *what);
#define BUG_ON(condition)                                                                          \
    do {                                                                                           \
        if (condition)                                                                             \
            bug(__FILE__, __LINE__, #condition);                                                   \
    } while (0)

/* Each returns false when the result does not fit; *OUT is then unspecified. */
static inline bool size_mul(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool size_add(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* The largest tensor sedge accepts, in bytes: far above any machine, far below an overflow. */
#define SIZE_LIMIT ((int64_t)1 << 46)
/* The longest axis: what lies along it, tokens and positions, is numbered with 32 bits. */
#define AXIS_LIMIT INT32_MAX

#endif
