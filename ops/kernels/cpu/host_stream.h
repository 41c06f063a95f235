/* How fast memory is: what kernels that compute little are measured against. Called by sedge
 * bench. */
#ifndef SEDGE_CPU_HOST_STREAM_H
#define SEDGE_CPU_HOST_STREAM_H

#include <stdint.h>

/* One pass over arrays of N floats by THREADS threads, each of which takes a stretch of its own.
 * Arrays several times as large as the last cache measure memory. */
void stream_fill(float *a, float value, int64_t n, int threads);
/* Reads 4 N bytes and returns their sum; N is a multiple of 4 STREAM_BLOCK. Four places are read at
 * once: a core that follows one alone waits for it (0.6 of the speed on two cores of an AMD
 * EPYC). */
float stream_read(const float *a, int64_t n, int threads);
#define STREAM_BLOCK 4096
/* a += b / 2: reads 8 N bytes and writes 4 N. In place: a result elsewhere would be read before it
 * is written, which no count of bytes shows. */
void stream_update(float *a, const float *b, int64_t n, int threads);

#endif
