/* place: no two buffers that live at once overlap, the bound is reached where that can be known,
 * and the same graph is placed the same way each time. Buffers are made here, without a graph. */
#include "tests/passes/fixture.h"

#include "tests/support/random_graph.h"

TestSuite(place, .init = open_fixture, .fini = close_fixture);

/* BYTES, FIRST and LAST of one buffer. */
struct spec {
    int64_t bytes;
    uint32_t first, last;
};

static int64_t live_bound(const struct spec *spec, uint32_t count)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < count; i++) { /* the most lives where some buffer begins */
        int64_t sum = 0;
        for (uint32_t k = 0; k < count; k++)
            if (spec[k].first <= spec[i].first && spec[i].first <= spec[k].last)
                sum += aligned(spec[k].bytes);
        most = sum > most ? sum : most;
    }
    return most;
}

/* Places them and checks that the result is one. */
static struct storage *placed(const struct spec *spec, uint32_t count)
{
    struct storage *s = arena_alloc(arena, sizeof *s);
    struct compile c = {.arena = arena, .diags = diags, .storage = s};
    s->buffers = arena_new_array(arena, struct buffer, count + 1);
    s->buffer_count = count + 1;
    s->bound = live_bound(spec, count);
    for (uint32_t i = 0; i < count; i++)
        s->buffers[i + 1] =
            (struct buffer){MEMORY_ARENA, 0, i + 1, spec[i].bytes, spec[i].first, spec[i].last, -1};
    cr_assert(pass_place(&c));
    for (uint32_t i = 1; i <= count; i++) {
        const struct buffer *a = &s->buffers[i];
        cr_assert(a->offset >= 0 && a->offset % ALIGNMENT == 0);
        cr_assert(a->offset + a->bytes <= s->arena_bytes);
        for (uint32_t k = 1; k < i; k++) {
            const struct buffer *b = &s->buffers[k];
            bool meet = a->first <= b->last && b->first <= a->last;
            bool apart = a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset;
            cr_assert(!meet || apart, "buffers %u and %u", k, i);
        }
    }
    cr_assert(s->arena_bytes >= s->bound);
    return s;
}

Test(place, nothing_takes_nothing)
{
    cr_assert_eq(placed(NULL, 0)->arena_bytes, 0);
}

Test(place, one_after_the_other_share)
{
    static const struct spec spec[] = {{100, 0, 1}, {128, 2, 3}, {1, 4, 9}};
    cr_assert_eq(placed(spec, 3)->arena_bytes, aligned(128));
}

/* Ends are inclusive: what is last read where another begins still needs its own place. */
Test(place, ends_are_inclusive)
{
    static const struct spec spec[] = {{64, 0, 2}, {64, 2, 3}};
    cr_assert_eq(placed(spec, 2)->arena_bytes, 2 * aligned(64));
}

Test(place, sizes_are_rounded_up)
{
    static const struct spec spec[] = {{1, 0, 1}, {65, 0, 1}, {64, 1, 1}};
    cr_assert_eq(aligned(1), aligned(64));
    cr_assert_eq(aligned(65), aligned(64) + ALIGNMENT);
    cr_assert_eq(placed(spec, 3)->arena_bytes, aligned(1) + aligned(65) + aligned(64));
}

/* A chain in which program order leaves a hole that is too small: large ones first do better. */
Test(place, finds_the_bound_where_first_fit_does_not)
{
    static const struct spec spec[] = {{64, 0, 1}, {128, 0, 2}, {192, 2, 4},
                                       {64, 3, 5}, {256, 5, 6}, {128, 4, 5}};
    struct storage *s = placed(spec, 6);
    cr_assert_eq(s->arena_bytes, s->bound, "%lld, bound %lld (%s)", (long long)s->arena_bytes,
                 (long long)s->bound, s->placement);
}

/* Only the arena is placed. */
Test(place, other_memory_is_left_alone)
{
    struct storage s = {.buffer_count = 3, .bound = aligned(64)};
    struct buffer buffers[3] = {{.memory = MEMORY_NONE},
                                {.memory = MEMORY_STATE, .bytes = 640, .offset = -1},
                                {.memory = MEMORY_ARENA, .bytes = 64, .offset = -1}};
    struct compile c = {.arena = arena, .diags = diags, .storage = &s};
    s.buffers = buffers;
    cr_assert(pass_place(&c));
    cr_assert_eq(buffers[1].offset, -1);
    cr_assert_eq(buffers[2].offset, 0);
    cr_assert_eq(s.arena_bytes, aligned(64));
}

/* Random lives, of the shapes that programs have: many short ones, some long. The worst miss of the
 * bound is 12%, and most reach it. */
Test(place, random_lives)
{
    uint64_t state = 1;
    uint32_t reached = 0;
    for (int turn = 0; turn < 400; turn++) {
        struct spec spec[60];
        uint32_t count = 2 + random_below(&state, 58);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t first = random_below(&state, 100);
            uint32_t life = random_below(&state, random_below(&state, 4) ? 6 : 80);
            spec[i] = (struct spec){1 + random_below(&state, 2000), first, first + life};
        }
        struct storage *s = placed(spec, count);
        struct storage *again = placed(spec, count);
        cr_assert_eq(s->arena_bytes, again->arena_bytes);
        for (uint32_t i = 1; i <= count; i++)
            cr_assert_eq(s->buffers[i].offset, again->buffers[i].offset);
        cr_assert(s->arena_bytes * 100 <= s->bound * 112, "turn %d: %lld, bound %lld", turn,
                  (long long)s->arena_bytes, (long long)s->bound);
        reached += s->arena_bytes == s->bound;
    }
    cr_assert(reached > 300, "%u of 400 reach the bound", reached);
}
