/* Where windows lie in a stream, and in which order they come. */
#include "runtime/data/windows.h"

#include <criterion/criterion.h>

static struct arena *arena;

static void open_arena(void)
{
    arena = arena_new();
}

static void close_arena(void)
{
    arena_free(arena);
}

TestSuite(windows, .init = open_arena, .fini = close_arena);

/* A stream of documents with so many tokens, up to a 0. */
static struct stream stream_of(const size_t *tokens)
{
    struct stream s;
    stream_open(&s, 1000, 20);
    for (; *tokens; tokens++)
        stream_add(&s, *tokens);
    return s;
}

static void expect(const struct windows *w, const struct window *at, size_t count)
{
    cr_assert_eq(windows_count(w), count, "%zu windows", windows_count(w));
    for (size_t i = 0; i < count; i++) {
        struct window is = windows_at(w, i);
        cr_assert(is.start == at[i].start && is.tokens == at[i].tokens && is.seen == at[i].seen,
                  "%zu: %zu %u %u", i, is.start, is.tokens, is.seen);
    }
}

#define EXPECT(w, ...)                                                                             \
    expect(w, (const struct window[]){__VA_ARGS__},                                                \
           sizeof((const struct window[]){__VA_ARGS__}) / sizeof(struct window))

Test(windows, lie_across_documents_or_within_them)
{
    struct stream s = stream_of((const size_t[]){9, 3, 4, 0});
    struct windows w;
    windows_open(&w, arena, &s, 4, 4, true, false);
    EXPECT(&w, {0, 4, 0}, {4, 4, 0}, {8, 4, 0}, {12, 4, 0});
    windows_open(&w, arena, &s, 5, 5, true, true);
    EXPECT(&w, {0, 5, 0}, {5, 5, 0}, {10, 5, 0});
    windows_open(&w, arena, &s, 4, 4, false, false);
    EXPECT(&w, {0, 4, 0}, {4, 4, 0}, {12, 4, 0});
    windows_open(&w, arena, &s, 4, 4, false, true);
    EXPECT(&w, {0, 4, 0}, {4, 4, 0}, {8, 1, 0}, {9, 3, 0}, {12, 4, 0});
    stream_close(&s);
}

/* Each token is new in one window, whatever the step. */
Test(windows, slide)
{
    struct stream s = stream_of((const size_t[]){9, 3, 4, 0});
    struct windows w;
    windows_open(&w, arena, &s, 4, 2, true, false);
    EXPECT(&w, {0, 4, 0}, {2, 4, 2}, {4, 4, 2}, {6, 4, 2}, {8, 4, 2}, {10, 4, 2}, {12, 4, 2});
    windows_open(&w, arena, &s, 4, 3, false, true);
    EXPECT(&w, {0, 4, 0}, {3, 4, 1}, {5, 4, 2}, {9, 3, 0}, {12, 4, 0});
    for (uint32_t step = 1; step <= 4; step++) {
        windows_open(&w, arena, &s, 4, step, false, true);
        size_t fresh = 0;
        for (size_t i = 0; i < windows_count(&w); i++)
            fresh += windows_at(&w, i).tokens - windows_at(&w, i).seen;
        cr_assert_eq(fresh, 16);
    }
    stream_close(&s);
}

/* 40,000 draws over 10 starts: chi-square with 9 degrees of freedom is above 33.7 with
 * probability 1e-4, and the draws are fixed. */
static void are_uniform(const struct windows *w, const size_t *starts)
{
    struct random_key key = random_key(7, "train");
    double seen[10] = {0};
    for (uint32_t iteration = 0; iteration < 10000; iteration++)
        for (uint32_t sequence = 0; sequence < 4; sequence++) {
            struct window at = windows_draw(w, key, iteration, sequence);
            cr_assert_eq(at.start, windows_draw(w, key, iteration, sequence).start);
            size_t place = 0;
            while (place < 9 && starts[place] != at.start)
                place++;
            cr_assert_eq(starts[place], at.start);
            cr_assert_eq(at.tokens, at.start == 9 && !w->joined ? 5 : 8);
            seen[place]++;
        }
    double chi = 0;
    for (int i = 0; i < 10; i++)
        chi += (seen[i] - 4000) * (seen[i] - 4000) / 4000;
    cr_assert_lt(chi, 33.7);
}

Test(windows, begin_anywhere_as_likely)
{
    struct stream s = stream_of((const size_t[]){17, 0});
    struct windows w;
    windows_open(&w, arena, &s, 8, 8, true, false);
    are_uniform(&w, (const size_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    stream_close(&s);
    s = stream_of((const size_t[]){9, 5, 14, 0});
    windows_open(&w, arena, &s, 8, 8, false, true);
    are_uniform(&w, (const size_t[]){0, 1, 9, 14, 15, 16, 17, 18, 19, 20});
    stream_close(&s);
}

/* Each comes once an epoch, for any number of windows; two epochs differ, and so do two keys. Of
 * 720 orders of six windows 36,000 epochs take each about as often: chi-square with 719 degrees of
 * freedom is above 870 with probability 1e-4. */
Test(windows, come_in_an_order_of_the_epoch)
{
    struct random_key key = random_key(3, "data");
    for (size_t count = 1; count < 300; count++) {
        bool seen[300] = {0};
        for (size_t i = 0; i < count; i++) {
            size_t at = windows_order(key, 5, i, count);
            cr_assert(at < count && !seen[at]);
            seen[at] = true;
        }
    }
    size_t same = 0, moved = 0;
    for (size_t i = 0; i < 1000; i++) {
        same += windows_order(key, 1, i, 1000) == windows_order(key, 2, i, 1000);
        moved += windows_order(key, 1, i, 1000) == windows_order(random_key(4, "data"), 1, i, 1000);
    }
    cr_assert(same < 12 && moved < 12); /* of Poisson's law with mean 1 */
    static double orders[720];
    for (uint32_t epoch = 0; epoch < 36000; epoch++) {
        size_t rank = 0, left[6] = {0, 1, 2, 3, 4, 5};
        for (size_t i = 0; i < 6; i++) {
            size_t at = windows_order(key, epoch, i, 6), k = 0;
            while (left[k] != at)
                k++;
            for (size_t m = k; m + 1 < 6 - i; m++)
                left[m] = left[m + 1];
            rank = rank * (6 - i) + k;
        }
        orders[rank]++;
    }
    double chi = 0;
    for (int i = 0; i < 720; i++)
        chi += (orders[i] - 50) * (orders[i] - 50) / 50;
    cr_assert_lt(chi, 870, "%g", chi);
}
