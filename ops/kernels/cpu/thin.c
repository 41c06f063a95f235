/* Products of fewer rows than PRODUCT_THIN. Reading B is most of the work or much of it: what of it
 * is wanted next is asked for while this is worked on, in small portions, so that memory has no
 * pause. An element of C is summed as in product.c: parts of the depth one after the other, each
 * in the order of the depth. */
#include "ops/kernels/cpu/thin.h"

#define LINE (64 / (int64_t)sizeof(float))
#define COLS 64    /* of a task */
#define FEW_ROWS 4 /* are not worth packing columns of B for */
#define WIDE 512   /* columns of a row of B, where rows lie contiguous: short reads are slow */
#define LONG 1024  /* of these, that the processor reads ahead in faster than it can be asked */
#define SUMS 4096  /* of them, at most: half of the nearest cache */
#define DEEP 4     /* rows of B that are added at a time */

/* --- columns of B lie contiguous ------------------------------------------------------------ */

/* Columns of B that are wanted next, COUNT of them; each as long as a part of the depth. */
struct ahead {
    const float *data;
    int64_t cs, count;
};

/* Lines that begin at row K. */
static inline void ahead_at(const void *of, int64_t k)
{
    const struct ahead *next = of;
    for (int64_t i = 0; i < next->count; i++)
        __builtin_prefetch(next->data + i * next->cs + k);
}

/* The part of the depth that is COUNT parts after the one from P on of columns J on, COLS of them,
 * or of those that follow. What is no whole part, or no such many columns, is left to be read as it
 * comes. */
static struct ahead ahead_of(const struct thin *w, int64_t p, int64_t j, int64_t cols,
                             int64_t count)
{
    const int64_t parts = (w->k + w->part - 1) / w->part, next = p / w->part + count;
    p = next % parts * w->part;
    j += next / parts * cols;
    if (p + w->part > w->k || j + cols > w->n)
        return (struct ahead){0};
    return (struct ahead){matrix_at(w->b, p, j).data, w->b.cs, cols};
}

/* Of its columns, those that fall to the T-th of PARTS. */
static struct ahead ahead_share(struct ahead next, int64_t t, int64_t parts)
{
    const int64_t from = t * next.count / parts, to = (t + 1) * next.count / parts;
    return to > from ? (struct ahead){next.data + from * next.cs, next.cs, to - from}
                     : (struct ahead){0};
}

/* acc = ROWS rows of A times VEC_LANES columns of B, transposed in registers. */
static inline __attribute__((always_inline)) void columns_multiply(struct strided a, int rows,
                                                                   int64_t depth, struct strided b,
                                                                   struct ahead next, vec *acc)
{
    vec sum[FEW_ROWS] = {0};
    int64_t k = 0;
    for (; k + VEC_LANES <= depth; k += VEC_LANES) {
        vec r[VEC_LANES];
        if (k % LINE == 0)
            ahead_at(&next, k);
#pragma GCC unroll 16
        for (int i = 0; i < VEC_LANES; i++)
            r[i] = vec_load(b.data + i * b.cs + k);
        square_transpose(r);
#pragma GCC unroll 16
        for (int i = 0; i < VEC_LANES; i++)
            for (int row = 0; row < rows; row++)
                sum[row] += vec_all(a.data[row * a.rs + (k + i) * a.cs]) * r[i];
    }
    for (; k < depth; k++) {
        vec r;
        for (int i = 0; i < VEC_LANES; i++)
            r[i] = b.data[i * b.cs + k];
        for (int row = 0; row < rows; row++)
            sum[row] += vec_all(a.data[row * a.rs + k * a.cs]) * r;
    }
    memcpy(acc, sum, (size_t)rows * sizeof *acc);
}

/* VEC_LANES columns J on, for up to FEW_ROWS rows. */
static void few_columns(const struct thin *w, int64_t j)
{
    for (int64_t p = 0; p < w->k; p += w->part) {
        const struct strided a = matrix_at(w->a, 0, p), b = matrix_at(w->b, p, j);
        const struct ahead next = ahead_of(w, p, j, VEC_LANES, 2);
        const int64_t depth = least(w->part, w->k - p);
        vec acc[FEW_ROWS];
        switch (w->m) {
        case 1:
            columns_multiply(a, 1, depth, b, next, acc);
            break;
        case 2:
            columns_multiply(a, 2, depth, b, next, acc);
            break;
        case 3:
            columns_multiply(a, 3, depth, b, next, acc);
            break;
        default:
            columns_multiply(a, FEW_ROWS, depth, b, next, acc);
        }
        for (int64_t i = 0; i < w->m; i++) {
            float *c = w->c + i * w->n + j;
            const float *old = w->add.keep || p ? c : w->add.bias ? w->add.bias + j : NULL;
            vec_store(c, (old ? vec_load(old) : (vec){0}) + acc[i]);
        }
    }
}

/* COLS <= TILE_COLS columns J on, packed; each tile asks for its share of the next. */
static void panel_columns(const struct thin *w, int64_t j, int64_t cols)
{
    float panel[TILE_COLS * DEPTH];
    const int64_t tiles = (w->m + TILE_ROWS - 1) / TILE_ROWS;
    struct addend add = addend_at(w->add, j);
    for (int64_t p = 0; p < w->k; p += w->part, add.keep = true) {
        const int64_t depth = least(w->part, w->k - p);
        const struct ahead next = ahead_of(w, p, j, cols, 1);
        panels_pack(matrix_at(w->b, p, j), depth, cols, panel);
        for (int64_t t = 0; t < tiles; t++) {
            const int64_t i = t * TILE_ROWS, rows = least(w->m - i, TILE_ROWS);
            const struct ahead share = ahead_share(next, t, tiles);
            const struct strided a = matrix_at(w->a, i, p);
            vec acc[TILE_ROWS][TILE_VECS];
            tile_multiply_ahead((struct strided){a.data, a.rs, 1}, rows, depth, panel, ahead_at,
                                &share, LINE, acc);
            tile_store(acc, rows, cols, w->c + i * w->n + j, w->n, add);
        }
    }
}

static void run_columns(const struct thin *w, int64_t j, int64_t end)
{
    for (; w->m <= FEW_ROWS && j + VEC_LANES <= end; j += VEC_LANES)
        few_columns(w, j);
    for (; j < end; j += TILE_COLS)
        panel_columns(w, j, least(end - j, TILE_COLS));
}

/* --- rows of B lie contiguous --------------------------------------------------------------- */

/* SUM and the row after it += DEEP elements each of two rows of A times COLS columns of B. */
static void add_two(struct strided a, struct strided b, int64_t cols, float *sum)
{
    const float *b0 = b.data, *b1 = b0 + b.rs, *b2 = b1 + b.rs, *b3 = b2 + b.rs;
    const float *x = a.data, *y = x + a.rs;
    const float x0 = x[0], x1 = x[a.cs], x2 = x[2 * a.cs], x3 = x[3 * a.cs];
    const float y0 = y[0], y1 = y[a.cs], y2 = y[2 * a.cs], y3 = y[3 * a.cs];
    float *other = sum + cols;
#pragma omp simd
    for (int64_t c = 0; c < cols; c++) {
        sum[c] = x3 * b3[c] + (x2 * b2[c] + (x1 * b1[c] + (x0 * b0[c] + sum[c])));
        other[c] = y3 * b3[c] + (y2 * b2[c] + (y1 * b1[c] + (y0 * b0[c] + other[c])));
    }
}

/* The same for one row of A, of which LEFT elements are left. */
static void add_one(struct strided a, struct strided b, int64_t left, int64_t cols, float *sum)
{
    const float *b0 = b.data, *x = a.data;
    if (left >= DEEP) {
        const float *b1 = b0 + b.rs, *b2 = b1 + b.rs, *b3 = b2 + b.rs;
        const float x0 = x[0], x1 = x[a.cs], x2 = x[2 * a.cs], x3 = x[3 * a.cs];
#pragma omp simd
        for (int64_t c = 0; c < cols; c++)
            sum[c] = x3 * b3[c] + (x2 * b2[c] + (x1 * b1[c] + (x0 * b0[c] + sum[c])));
        return;
    }
    for (; left > 0; left--, x += a.cs, b0 += b.rs) {
#pragma omp simd
        for (int64_t c = 0; c < cols; c++)
            sum[c] += *x * b0[c];
    }
}

/* Whether B is read by one row of A alone, from end to end or in long stretches: what is asked for
 * passes through the nearest cache, which holds fewer requests than the processor's own. */
static bool reads_on(const struct thin *w, int64_t cols)
{
    return w->m == 1 && (cols >= LONG || cols == w->n);
}

/* All rows of A, LEFT elements of each at most, times the rows of B that B begins with; the DEEP
 * rows after those are asked for, some columns of them with each row of A. */
static void rows_deep(const struct thin *w, struct strided a, struct strided b, int64_t left,
                      int64_t cols, float *sum)
{
    const int64_t runs = left > DEEP && !reads_on(w, cols) ? least(left - DEEP, DEEP) : 0;
    const int64_t share = round_up((2 * cols + w->m - 1) / w->m, LINE); /* two may go at a time */
    for (int64_t i = 0, from = 0; i < w->m;) {
        for (int64_t end = least(cols, from + share); from < end; from += LINE)
            for (int64_t run = 0; run < runs; run++)
                __builtin_prefetch(b.data + (DEEP + run) * b.rs + from);
        const bool two = left >= DEEP && i + 2 <= w->m;
        if (two)
            add_two(matrix_at(a, i, 0), b, cols, sum + i * cols);
        else
            add_one(matrix_at(a, i, 0), b, left, cols, sum + i * cols);
        i += two ? 2 : 1;
    }
}

static void run_rows(const struct thin *w, int64_t j, int64_t end)
{
    const int64_t cols = end - j;
    struct addend add = addend_at(w->add, j);
    float sum[SUMS];
    for (int64_t p = 0; p < w->k; p += w->part, add.keep = true) {
        int64_t depth = least(w->part, w->k - p);
        memset(sum, 0, (size_t)(w->m * cols) * sizeof *sum);
        for (int64_t k = 0; k < depth; k += DEEP)
            rows_deep(w, matrix_at(w->a, 0, p + k), matrix_at(w->b, p + k, j), depth - k, cols,
                      sum);
        for (int64_t i = 0; i < w->m; i++) {
            float *c = w->c + i * w->n + j;
            const float *old = add.keep ? c : add.bias;
            for (int64_t x = 0; x < cols; x++)
                c[x] = (old ? old[x] : 0) + sum[i * cols + x];
        }
    }
}

/* --- both ----------------------------------------------------------------------------------- */

void product_thin(const struct thin *w, int threads)
{
    const bool columns = w->b.cs != 1;
    int64_t width = COLS;
    if (!columns)
        width = least(round_up((w->n + threads - 1) / threads, COLS),
                      w->m == 1 ? SUMS : least(WIDE, SUMS / w->m / COLS * COLS));
    int64_t tasks = (w->n + width - 1) / width;
#pragma omp parallel for schedule(static) num_threads(threads) if (w->m * w->n * w->k > 1 << 16)
    for (int64_t t = 0; t < tasks; t++) {
        int64_t j = t * width, end = least(w->n, j + width);
        if (columns)
            run_columns(w, j, end);
        else
            run_rows(w, j, end);
        if (w->then.tile)
            w->then.tile(w->then.of, 0, j, w->m, end - j);
    }
}
