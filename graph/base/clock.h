/* Elapsed time, for reports and limits. */
#ifndef SEDGE_BASE_CLOCK_H
#define SEDGE_BASE_CLOCK_H

#include <time.h>

/* Seconds on a clock that only goes forward; its zero means nothing. */
static inline double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
