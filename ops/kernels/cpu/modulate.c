/* Kernels of modulate, gated_add and dropout: a vector of each sequence acts on all its positions.
 * Sums over positions are made in the order of the positions, a sequence at a time. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/vector.h"
#include "ops/kernels/kernel.h"

#include <Random123/philox.h>

/* Sequences, positions of one, columns. */
struct span3 {
    int64_t rows, length, dim;
};

static struct span3 span3(const struct tensor *x)
{
    struct span3 s = {x->dim[0], 1, x->dim[x->rank - 1]};
    for (uint32_t i = 1; i + 1 < x->rank; i++)
        s.length *= x->dim[i];
    return s;
}

static void modulate_run(const struct kernel_call *call)
{
    struct span3 s = span3(&call->in[0]);
    const float *x = call->in[0].data, *shift = call->in[1].data, *scale = call->in[2].data;
    float *y = call->out[0].data;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (s.rows * s.length * s.dim > 1 << 14)
    for (int64_t r = 0; r < s.rows * s.length; r++) {
        const float *b = shift + r / s.length * s.dim, *a = scale + r / s.length * s.dim;
        const float *from = x + r * s.dim;
        float *to = y + r * s.dim;
#pragma omp simd
        for (int64_t i = 0; i < s.dim; i++)
            to[i] = from[i] * (1 + a[i]) + b[i];
    }
}

/* Columns that a thread sums at a time: whole rows, or parts where there are few sequences. */
static int64_t column_block(struct span3 s)
{
    return s.rows >= 16 || s.dim <= 64 ? s.dim : 64;
}

static void modulate_backward_block(const struct kernel_call *call, int64_t row, int64_t from,
                                    int64_t size)
{
    struct span3 s = span3(&call->in[0]);
    int64_t first = row * s.length * s.dim + from, at = row * s.dim + from;
    const float *x = (const float *)call->in[0].data + first;
    const float *dy = (const float *)call->in[2].data + first;
    const float *scale = (const float *)call->in[1].data + at;
    float *dx = (float *)call->out[0].data + first;
    float *dshift = (float *)call->out[1].data + at, *dscale = (float *)call->out[2].data + at;
    memset(dshift, 0, (size_t)size * sizeof *dshift);
    memset(dscale, 0, (size_t)size * sizeof *dscale);
    for (int64_t l = 0; l < s.length; l++, x += s.dim, dy += s.dim, dx += s.dim) {
#pragma omp simd
        for (int64_t i = 0; i < size; i++) {
            float d = dy[i];
            dshift[i] += d;
            dscale[i] += d * x[i];
            dx[i] = d * (1 + scale[i]);
        }
    }
}

static void modulate_backward_run(const struct kernel_call *call)
{
    struct span3 s = span3(&call->in[0]);
    int64_t block = column_block(s), blocks = (s.dim + block - 1) / block;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (s.rows * s.length * s.dim > 1 << 14)
    for (int64_t t = 0; t < s.rows * blocks; t++) {
        int64_t from = t % blocks * block;
        modulate_backward_block(call, t / blocks, from,
                                s.dim - from < block ? s.dim - from : block);
    }
}

/* The words random_words would give from element FIRST of a sequence on, four to a block; FIRST is
 * the first of its block. Four separate stores let the loop over blocks become vector code. */
static void draw_blocks(const struct kernel_call *call, int64_t row, int64_t first, int64_t blocks,
                        uint32_t *word)
{
    const philox4x32_key_t key = {{call->key.word[0], call->key.word[1]}};
    const uint32_t iteration = call->iteration, stream = call->stream;
    const uint32_t sequence = call->sequence + (uint32_t)row, from = (uint32_t)(first / 4);
#pragma omp simd
    for (int64_t b = 0; b < blocks; b++) {
        philox4x32_ctr_t counter = {{iteration, stream, sequence, from + (uint32_t)b}};
        philox4x32_ctr_t out = philox4x32_R(10, counter, key);
        word[4 * b] = out.v[0];
        word[4 * b + 1] = out.v[1];
        word[4 * b + 2] = out.v[2];
        word[4 * b + 3] = out.v[3];
    }
}

/* The factors of dropout for a stretch of one sequence; p is not 0. */
#define DRAWS 1024 /* at most this many */

static void draw_factors(const struct kernel_call *call, int64_t row, int64_t first, int64_t count,
                         float *factor)
{
    uint32_t word[DRAWS + 8];
    double p = call->attr[DROPOUT_P].real;
    uint32_t last_dropped = (uint32_t)(ceil(p * 4294967296.0) - 1);
    float scale = (float)(1 / (1 - p));
    int64_t skip = first % 4;
    draw_blocks(call, row, first - skip, (skip + count + 3) / 4, word);
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        factor[i] = word[skip + i] > last_dropped ? scale : 0;
}

/* Runs of elements with one row of factors: DRAWS at most, and never across two sequences. */
static void dropout_run(const struct kernel_call *call)
{
    const float *x = call->in[0].data;
    float *y = call->out[0].data;
    int64_t rows = call->in[0].dim[0], size = rows ? tensor_size(&call->in[0]) / rows : 0;
    int64_t runs = (size + DRAWS - 1) / DRAWS;
    if (call->attr[DROPOUT_P].real == 0) {
        if (x != y)
            memcpy(y, x, (size_t)(rows * size) * sizeof *y);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * size > 1 << 13)
    for (int64_t t = 0; t < rows * runs; t++) {
        int64_t row = t / runs, first = t % runs * DRAWS;
        int64_t count = size - first < DRAWS ? size - first : DRAWS;
        float factor[DRAWS];
        draw_factors(call, row, first, count, factor);
        const float *from = x + row * size + first;
        float *to = y + row * size + first;
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = from[i] * factor[i];
    }
}

/* The factors of columns FROM .. FROM + COUNT - 1 at one position; ones without dropout. */
static void position_factors(const struct kernel_call *call, int64_t row, int64_t first,
                             int64_t count, float *factor)
{
    if (call->attr[DROPOUT_P].real > 0)
        draw_factors(call, row, first, count, factor);
    else
        for (int64_t i = 0; i < count; i++)
            factor[i] = 1;
}

static void gated_run(const struct kernel_call *call)
{
    struct span3 s = span3(&call->in[0]);
    const float *x = call->in[0].data, *y = call->in[1].data, *gate = call->in[2].data;
    float *out = call->out[0].data;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (s.rows * s.length * s.dim > 1 << 13)
    for (int64_t r = 0; r < s.rows * s.length; r++)
        for (int64_t from = 0; from < s.dim; from += DRAWS) {
            int64_t count = s.dim - from < DRAWS ? s.dim - from : DRAWS, at = r * s.dim + from;
            const float *g = gate + r / s.length * s.dim + from;
            float factor[DRAWS];
            position_factors(call, r / s.length, r % s.length * s.dim + from, count, factor);
#pragma omp simd
            for (int64_t i = 0; i < count; i++)
                out[at + i] = x[at + i] + g[i] * (factor[i] * y[at + i]);
        }
}

static void gated_backward_block(const struct kernel_call *call, int64_t row, int64_t from,
                                 int64_t size)
{
    struct span3 s = span3(&call->in[0]);
    const float *gate = (const float *)call->in[1].data + row * s.dim + from;
    float *dgate = (float *)call->out[1].data + row * s.dim + from;
    memset(dgate, 0, (size_t)size * sizeof *dgate);
    for (int64_t l = 0; l < s.length; l++) {
        int64_t at = (row * s.length + l) * s.dim + from;
        const float *y = (const float *)call->in[0].data + at;
        const float *dout = (const float *)call->in[2].data + at;
        float *dy = (float *)call->out[0].data + at, factor[DRAWS];
        position_factors(call, row, l * s.dim + from, size, factor);
#pragma omp simd
        for (int64_t i = 0; i < size; i++) {
            float d = factor[i] * dout[i];
            dgate[i] += d * y[i];
            dy[i] = d * gate[i];
        }
    }
}

static void gated_backward_run(const struct kernel_call *call)
{
    struct span3 s = span3(&call->in[0]);
    int64_t block = column_block(s);
    block = block < DRAWS ? block : DRAWS;
    int64_t blocks = (s.dim + block - 1) / block;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (s.rows * s.length * s.dim > 1 << 13)
    for (int64_t t = 0; t < s.rows * blocks; t++) {
        int64_t from = t % blocks * block;
        gated_backward_block(call, t / blocks, from, s.dim - from < block ? s.dim - from : block);
    }
}

KERNEL_LIST(modulate) = {
    {"modulate", "fff>f", modulate_run},
    {"modulate_backward", "fff>fff", modulate_backward_run},
    {"dropout", "f>f", dropout_run},
    {"gated_add", "fff>f", gated_run},
    {"gated_add_backward", "fff>ff", gated_backward_run},
    {0},
};
