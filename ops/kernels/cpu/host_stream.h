/* How fast memory is: what kernels that compute little are measured against. Called by sedge
 * bench. */
#ifndef SEDGE_CPU_HOST_STREAM_H
#define SEDGE_CPU_HOST_STREAM_H

#include <stdint.h>

/* One pass over arrays of N floats by THREADS threads, each of which takes a stretch of its own.
 * Arrays several times as large as the last cache measure memory. */
void stream_fill(float *a, float value, int64_t n, int threads);
float stream_read(const float *a, int64_t n, int threads); /* reads 4 N bytes; their sum */
/* c = a + 3 b, the triad of McCalpin's STREAM: reads 8 N bytes and writes 4 N. */
void stream_triad(float *c, const float *a, const float *b, int64_t n, int threads);

#endif
