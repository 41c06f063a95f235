/* Products of matrices.
 *
 * B is packed once for all rows, in blocks of at most PRODUCT_ROOM, by all threads together. Then
 * tiles of C are shared out: whoever makes one packs its rows of A, a depth of DEPTH at a time,
 * and holds them in its second-level cache while panels of B go by, each from the first level.
 * Packing costs that of B once and that of A once for each tile of a row; C is read and written
 * once for each DEPTH. So each element of C is summed in blocks of depth that follow from K
 * alone, and tiles may follow the number of threads.
 *
 * Few rows (thin.c) are not worth packing B for. */
#include "ops/kernels/cpu/thin.h"
#include "ops/kernels/product_room.h"

/* Strips of A are at most a quarter MiB. A multiple of any TILE_ROWS. */
#define BLOCK_ROWS 168
/* A tile is no smaller, and there are no more for each thread than keep it from waiting. */
#define TILES_A_THREAD 4
#define ROWS_LEAST 48
#define COLS_LEAST (4 * TILE_COLS)
#define GROUP_COLS (8 * TILE_COLS) /* packed at a time: some lines of the cache of each row */

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
        product_thin(&(struct thin){m, n, k, w.part, a, b, add, then, c}, threads);
    else
        run_wide(w);
}
