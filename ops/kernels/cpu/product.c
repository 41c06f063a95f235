/* Products of matrices.
 *
 * B is packed once for all rows, in blocks of at most PRODUCT_ROOM, by all threads together. Then
 * tiles of C are shared out: whoever makes one packs its rows of A, a depth of DEPTH at a time,
 * and holds them in its second-level cache while panels of B go by, each from the first level.
 * Packing costs that of B once and that of A once for each tile of a row; C is read and written
 * once for each DEPTH. So each element of C is summed in blocks of depth that follow from K
 * alone, and tiles may follow the number of threads.
 *
 * Where there are few rows packing B would be most of the work: each thread packs some panels for
 * itself and goes through them while they are in a near cache. Up to FEW_ROWS rows read B where it
 * lies. */
#include "ops/kernels/cpu/product.h"

#include "ops/kernels/product_room.h"

/* A panel of B leaves some of 32 KiB to what streams past it. */
#if defined(__AVX512F__)
#define DEPTH 192
#else
#define DEPTH 384
#endif
/* Strips of A are at most a quarter MiB. A multiple of any TILE_ROWS. */
#define BLOCK_ROWS 168
/* A tile is no smaller, and there are no more for each thread than keep it from waiting. */
#define TILES_A_THREAD 4
#define ROWS_LEAST 48
#define COLS_LEAST (4 * TILE_COLS)
#define GROUP_COLS (8 * TILE_COLS) /* packed at a time: some lines of the cache of each row */

/* Few rows: columns of a task, and those packed at a time. */
#define THIN_COLS 64
#define PANEL_COLS (2 * TILE_COLS)
#define FEW_ROWS 4   /* are not worth packing for */
#define FEW_COLS 512 /* of a row of B, at most: short reads far apart do not reach memory's speed */

/* The depth in even parts of at most DEPTH. */
static int64_t depth_part(int64_t k)
{
    int64_t parts = (k + DEPTH - 1) / DEPTH;
    return parts ? (k + parts - 1) / parts : 0;
}

/* A product, and the part of it that is being made: B from row P and column J on. */
struct work {
    int64_t m, n, k;
    struct strided a, b;
    struct addend add;
    struct finish then;
    float *c, *room;
    int threads;
    int64_t part;     /* depth_part of k */
    int64_t p, depth; /* a multiple of PART, or what is left */
    int64_t j, cols;
    int64_t rows, width, down, tiles; /* of a tile; tiles in a column, and in all */
};

/* Where the panel of columns J on begins, of the part of the depth that begins at P; both from the
 * block's own corner. Parts follow each other, each of all its panels. */
static float *packed(const struct work *w, int64_t p, int64_t j)
{
    return w->room + p * round_up(w->cols, TILE_COLS) + j * least(w->part, w->depth - p);
}

static void pack_block(const struct work *w)
{
    int64_t parts = (w->depth + w->part - 1) / w->part;
    int64_t groups = (w->cols + GROUP_COLS - 1) / GROUP_COLS;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < parts * groups; t++) {
        int64_t p = t / groups * w->part, j = t % groups * GROUP_COLS;
        panels_pack(matrix_at(w->b, w->p + p, w->j + j), least(w->part, w->depth - p),
                    least(w->cols - j, GROUP_COLS), packed(w, p, j));
    }
}

/* Lines of ROWS rows of a tile of a matrix as wide as C, to be written. */
static inline void fetch_tile(const struct work *w, const float *tile, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++)
        __builtin_prefetch(tile + r * w->n, 1);
}

/* Rows I on and columns J on (of the block) of C, for the part of the depth from P on. */
static void run_part(const struct work *w, int64_t i, int64_t j, int64_t p, float *strips)
{
    int64_t rows = least(w->m - i, w->rows), end = least(w->cols, j + w->width);
    int64_t depth = least(w->part, w->depth - p);
    struct addend add = addend_at(w->add, w->j + j);
    add.keep = add.keep || w->p + p > 0;
    strips_pack(matrix_at(w->a, i, w->p + p), rows, depth, strips);
    for (int64_t from = j; j < end; j += TILE_COLS) {
        const float *panel = packed(w, p, j);
        int64_t cols = least(end - j, TILE_COLS);
        for (int64_t s = 0; s < rows; s += TILE_ROWS) {
            int64_t height = least(rows - s, TILE_ROWS), at = (i + s) * w->n + w->j + j;
            vec acc[TILE_ROWS][TILE_VECS];
            if (add.keep)
                fetch_tile(w, w->c + at, height);
            strip_multiply(strips + s * depth, panel, depth, acc);
            tile_store(acc, height, cols, w->c + at, w->n, addend_at(add, j - from));
        }
    }
}

static void run_block(const struct work *w)
{
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < w->tiles; t++) {
        _Alignas(64) float strips[BLOCK_ROWS * DEPTH];
        for (int64_t p = 0; p < w->depth; p += w->part)
            run_part(w, t % w->down * w->rows, t / w->down * w->width, p, strips);
        if (w->then.tile && w->p + w->depth == w->k) {
            int64_t i = t % w->down * w->rows, j = t / w->down * w->width;
            w->then.tile(w->then.of, i, w->j + j, least(w->m - i, w->rows),
                         least(w->cols - j, w->width));
        }
    }
}

/* Tiles as wide as the block, since each packs its rows of A again for columns of its own, and so
 * many down that no thread waits long for the last; cut across only where rows are too few. */
static void set_tiles(struct work *w)
{
    const int64_t wanted = TILES_A_THREAD * w->threads, most = w->m / ROWS_LEAST;
    int64_t down = (w->m + BLOCK_ROWS - 1) / BLOCK_ROWS, across = 1;
    if (down < wanted && down < most)
        down = least(wanted, most);
    if (round_up(down, w->threads) <= most)
        down = round_up(down, w->threads);
    while (down * across % w->threads && down * across < 2 * wanted &&
           w->cols >= 2 * across * COLS_LEAST)
        across++;
    w->rows = round_up((w->m + down - 1) / down, TILE_ROWS);
    w->width = round_up((w->cols + across - 1) / across, TILE_COLS);
    w->down = (w->m + w->rows - 1) / w->rows;
    w->tiles = w->down * ((w->cols + w->width - 1) / w->width);
}

/* The sizes of a block of B: all columns where that leaves a part of the depth at least, since rows
 * of A are packed again for each block of columns. Even blocks: a narrow one is slow. */
static void block_sizes(const struct work *w, int64_t *depth, int64_t *cols)
{
    const int64_t most = PRODUCT_ROOM / 4, wide = round_up(w->n, TILE_COLS);
    int64_t parts = most / (w->part * wide);
    *depth = least(w->k, (parts > 1 ? parts : 1) * w->part);
    int64_t fit = most / *depth / TILE_COLS * TILE_COLS, blocks = (w->n + fit - 1) / fit;
    *cols = round_up((w->n + blocks - 1) / blocks, TILE_COLS);
}

static void run_wide(struct work w)
{
    int64_t depth, cols;
    block_sizes(&w, &depth, &cols);
#pragma omp parallel num_threads(w.threads) firstprivate(w)
    for (w.p = 0; w.p < w.k; w.p += depth)
        for (w.j = 0; w.j < w.n; w.j += cols) {
            w.depth = least(depth, w.k - w.p);
            w.cols = least(cols, w.n - w.j);
            set_tiles(&w);
            pack_block(&w);
            run_block(&w);
        }
}

/* --- up to FEW_ROWS rows: reading B is most of the work: it is used up where it is read ------ */

/* acc = ROWS rows of A times TILE_COLS columns of B that lie contiguous, transposed in
 * registers. */
static inline __attribute__((always_inline)) void columns_multiply(struct strided a, int rows,
                                                                   int64_t depth, struct strided b,
                                                                   vec acc[TILE_ROWS][TILE_VECS])
{
    vec sum[FEW_ROWS][TILE_VECS] = {0};
    int64_t k = 0;
    for (; k + VEC_LANES <= depth; k += VEC_LANES)
        for (int v = 0; v < TILE_VECS; v++) {
            vec r[VEC_LANES];
#pragma GCC unroll 16
            for (int i = 0; i < VEC_LANES; i++)
                r[i] = vec_load(b.data + (v * VEC_LANES + i) * b.cs + k);
            square_transpose(r);
#pragma GCC unroll 16
            for (int i = 0; i < VEC_LANES; i++)
                for (int row = 0; row < rows; row++)
                    sum[row][v] += vec_all(a.data[row * a.rs + (k + i) * a.cs]) * r[i];
        }
    for (; k < depth; k++)
        for (int v = 0; v < TILE_VECS; v++) {
            vec r;
            for (int i = 0; i < VEC_LANES; i++)
                r[i] = b.data[(v * VEC_LANES + i) * b.cs + k];
            for (int row = 0; row < rows; row++)
                sum[row][v] += vec_all(a.data[row * a.rs + k * a.cs]) * r;
        }
    memcpy(acc, sum, (size_t)rows * sizeof sum[0]);
}

/* Of a part of the depth, the columns from J on. */
static void few_columns(const struct work *w, struct strided a, struct strided b, int64_t depth,
                        int64_t j, struct addend add)
{
    vec acc[TILE_ROWS][TILE_VECS] = {0};
    switch (w->m) {
    case 1:
        columns_multiply(a, 1, depth, b, acc);
        break;
    case 2:
        columns_multiply(a, 2, depth, b, acc);
        break;
    case 3:
        columns_multiply(a, 3, depth, b, acc);
        break;
    default:
        columns_multiply(a, FEW_ROWS, depth, b, acc);
    }
    tile_store(acc, w->m, TILE_COLS, w->c + j, w->n, add);
}

/* SUM += four elements of a row of A, or the LEFT of them, times COLS columns of as many rows of B
 * that lie contiguous. */
static void add_rows(struct strided a, struct strided b, int64_t left, int64_t cols, float *sum)
{
    const float *b0 = b.data, *b1 = b0 + b.rs, *b2 = b1 + b.rs, *b3 = b2 + b.rs, *x = a.data;
    if (left >= 4) {
        float x0 = x[0], x1 = x[a.cs], x2 = x[2 * a.cs], x3 = x[3 * a.cs];
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

static void few_rows(const struct work *w, struct strided a, struct strided b, int64_t depth,
                     int64_t j, int64_t cols, struct addend add)
{
    float sum[FEW_ROWS][FEW_COLS] = {{0}};
    for (int64_t k = 0; k < depth; k += 4)
        for (int64_t i = 0; i < w->m; i++)
            add_rows(matrix_at(a, i, k), matrix_at(b, k, 0), depth - k, cols, sum[i]);
    for (int64_t i = 0; i < w->m; i++) {
        float *c = w->c + i * w->n + j;
        const float *old = add.keep ? c : add.bias;
        for (int64_t x = 0; x < cols; x++)
            c[x] = (old ? old[x] : 0) + sum[i][x];
    }
}

/* Columns J on, COLS of them. */
static void run_few(const struct work *w, int64_t j, int64_t cols)
{
    struct addend add = addend_at(w->add, j);
    for (int64_t p = 0; p < w->k; p += w->part, add.keep = true) {
        int64_t depth = least(w->part, w->k - p);
        struct strided a = matrix_at(w->a, 0, p), b = matrix_at(w->b, p, j);
        if (w->b.cs != 1)
            few_columns(w, a, b, depth, j, add);
        else
            few_rows(w, a, b, depth, j, cols, add);
    }
}

/* --- few rows ------------------------------------------------------------------------------- */

static void thin_panels(const struct work *w, int64_t j, int64_t cols)
{
    float panels[PANEL_COLS * DEPTH];
    struct addend add = w->add;
    for (int64_t p = 0; p < w->k; p += w->part, add.keep = true) {
        int64_t depth = least(w->part, w->k - p);
        panels_pack(matrix_at(w->b, p, j), depth, cols, panels);
        panels_multiply(matrix_at(w->a, 0, p), w->m, depth, panels, depth * TILE_COLS, cols,
                        w->c + j, w->n, addend_at(add, j));
    }
}

/* Columns J on of a thin product, WIDTH of them. */
static void thin_columns(const struct work *w, int64_t j, int64_t width)
{
    int64_t first = j, end = least(w->n, j + width);
    if (w->m <= FEW_ROWS && w->b.cs == 1) {
        run_few(w, j, end - j);
        j = end;
    }
    for (; w->m <= FEW_ROWS && w->b.rs == 1 && j + TILE_COLS <= end; j += TILE_COLS)
        run_few(w, j, TILE_COLS);
    for (; j < end; j += PANEL_COLS)
        thin_panels(w, j, least(end - j, PANEL_COLS));
    if (w->then.tile)
        w->then.tile(w->then.of, 0, first, w->m, end - first);
}

static void run_thin(const struct work *w)
{
    int64_t width = THIN_COLS;
    if (w->m <= FEW_ROWS && w->b.cs == 1)
        width = least(round_up((w->n + w->threads - 1) / w->threads, THIN_COLS), FEW_COLS);
    int64_t tasks = (w->n + width - 1) / width;
#pragma omp parallel for schedule(static) num_threads(w->threads) if (w->m * w->n * w->k > 1 << 16)
    for (int64_t t = 0; t < tasks; t++)
        thin_columns(w, t * width, width);
}

/* Of an empty sum: what it is added to. */
static void run_empty(const struct work *w)
{
    for (int64_t i = 0; i < w->m && !w->add.keep; i++)
        for (int64_t j = 0; j < w->n; j++)
            w->c[i * w->n + j] = w->add.bias ? w->add.bias[j] : 0;
    if (w->then.tile)
        w->then.tile(w->then.of, 0, 0, w->m, w->n);
}

void product(int64_t m, int64_t n, int64_t k, struct strided a, struct strided b, struct addend add,
             float *c, void *room, int threads)
{
    product_then(m, n, k, a, b, add, (struct finish){0}, c, room, threads);
}

void product_then(int64_t m, int64_t n, int64_t k, struct strided a, struct strided b,
                  struct addend add, struct finish then, float *c, void *room, int threads)
{
    if (m == 0 || n == 0)
        return;
    struct work w = {.m = m, .n = n, .k = k, .a = a, .b = b, .add = add, .c = c};
    w.then = then;
    w.room = room;
    w.threads = threads;
    w.part = depth_part(k);
    if (k == 0)
        run_empty(&w);
    else if (m < PRODUCT_THIN)
        run_thin(&w);
    else
        run_wide(w);
}
