/* The arena: zeroed and aligned memory that never moves, growing arrays, texts. */
#include "graph/base/arena.h"
#include "graph/base/check.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static struct arena *arena;

static void open_arena(void)
{
    arena = arena_new();
}

static void close_arena(void)
{
    arena_free(arena);
}

TestSuite(arena, .init = open_arena, .fini = close_arena);

/* Sizes below, at and above the size of a block, in an order that makes blocks be left and
 * oversized ones be put beside the one in use. Each piece is filled with its number; a piece that
 * overlaps another, or is not zero at first, shows. */
Test(arena, pieces_are_zero_aligned_and_apart)
{
    static const size_t sizes[] = {1, 0, 15, 16, 17, 100, 65520, 8, 65536, 3, 300000, 31, 20000};
    enum { ROUNDS = 20, COUNT = sizeof sizes / sizeof *sizes };
    unsigned char *pieces[ROUNDS * COUNT];
    size_t total = 0;
    for (size_t i = 0; i < ROUNDS * COUNT; i++) {
        size_t size = sizes[i % COUNT];
        pieces[i] = arena_alloc(arena, size);
        total += size;
        cr_assert_not_null(pieces[i]);
        cr_assert_eq((uintptr_t)pieces[i] % 16, 0);
        for (size_t j = 0; j < size; j++)
            cr_assert_eq(pieces[i][j], 0, "piece %zu, byte %zu", i, j);
        memset(pieces[i], (int)(i % 255) + 1, size);
    }
    for (size_t i = 0; i < ROUNDS * COUNT; i++)
        for (size_t j = 0; j < sizes[i % COUNT]; j++)
            cr_assert_eq(pieces[i][j], i % 255 + 1, "piece %zu, byte %zu", i, j);
    cr_assert_eq(arena_used(arena), total);
}

Test(arena, grow_keeps_items_and_zeroes_the_rest)
{
    uint32_t *items = NULL, capacity = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t before = capacity, *old = items;
        items = arena_grow(arena, items, i, &capacity, sizeof *items);
        cr_assert_gt(capacity, i);
        cr_assert_eq(items[i], 0);
        if (i < before)
            cr_assert_eq(items, old, "moved without need");
        items[i] = i + 7;
    }
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_eq(items[i], i + 7);
}

Test(arena, arrays_have_all_their_elements)
{
    int64_t *numbers = arena_new_array(arena, int64_t, 1000);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(numbers[i], 0);
    cr_assert_eq(arena_used(arena), 8000);
}

Test(arena, texts_are_copies)
{
    char source[] = "absorb";
    char *whole = arena_strdup(arena, source);
    char *part = arena_strndup(arena, source, 2);
    char *short_text = arena_strndup(arena, source, 100);
    source[0] = 'X';
    cr_assert_str_eq(whole, "absorb");
    cr_assert_str_eq(part, "ab");
    cr_assert_str_eq(short_text, "absorb");
    cr_assert_str_eq(arena_printf(arena, "%s-%d", whole, 42), "absorb-42");
    cr_assert_str_eq(arena_printf(arena, "%s", ""), "");
}

/* Longer than a block: the length comes from the text, not from a buffer. */
Test(arena, printf_has_no_limit)
{
    size_t length = 200000;
    char *padded = arena_printf(arena, "%*d", (int)length, 5);
    cr_assert_eq(strlen(padded), length);
    cr_assert_eq(padded[length - 1], '5');
}

Test(arena, free_of_nothing)
{
    arena_free(NULL);
    struct arena *empty = arena_new();
    cr_assert_eq(arena_used(empty), 0);
    arena_free(empty);
}

Test(arena, overflowing_array_is_a_bug, .signal = SIGABRT)
{
    arena_alloc_array(arena, SIZE_MAX / 4, 8);
}

Test(arena, overfull_array_is_a_bug, .signal = SIGABRT)
{
    int items[4];
    uint32_t capacity = 4;
    arena_grow(arena, items, 5, &capacity, sizeof *items);
}

Test(arena, no_memory_ends_the_process, .exit_code = 1)
{
    arena_alloc(arena, SIZE_MAX - 8);
}

Test(check, sizes_that_do_not_fit)
{
    int64_t out;
    cr_assert(size_mul(INT64_MAX / 2, 2, &out));
    cr_assert_eq(out, INT64_MAX - 1);
    cr_assert_not(size_mul(INT64_MAX / 2 + 1, 2, &out));
    cr_assert_not(size_mul(INT64_MIN, -1, &out));
    cr_assert(size_add(INT64_MAX - 1, 1, &out));
    cr_assert_eq(out, INT64_MAX);
    cr_assert_not(size_add(INT64_MAX, 1, &out));
}

Test(check, true_condition_stops, .signal = SIGABRT)
{
    BUG_ON(arena_new() != NULL);
}

Test(check, false_condition_goes_on)
{
    int value = 1;
    BUG_ON(value != 1);
    cr_assert_eq(value, 1);
}
