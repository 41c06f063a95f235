/* order: the candidates are the orders they say, all respect data and state, the best is taken, and
 * buffers are shared and live as long as they must. */
#include "tests/passes/fixture.h"

TestSuite(order, .init = open_fixture, .fini = close_fixture);

static struct compile ordered(const char *text)
{
    static struct compile_options none;
    struct compile c = {
        .arena = arena, .diags = diags, .graph = read_graph(text), .options = &none};
    cr_assert(pass_order(&c));
    cr_assert(graph_verify(c.graph, diags), "%s", diags_render(diags, false));
    return c;
}

/* Four large values from one input, each reduced to a number: program order keeps all four alive
 * (4 KiB each), one after the other needs one, and its number at the end. */
#define WIDE                                                                                       \
    "graph p\n"                                                                                    \
    "%1: f32 [1024] = input\n"                                                                     \
    "%2: f32 [1024] = sin %1\n"                                                                    \
    "%3: f32 [1024] = cos %1\n"                                                                    \
    "%4: f32 [1024] = exp %1\n"                                                                    \
    "%5: f32 [1024] = tanh %1\n"                                                                   \
    "%6: f32 [] = sum %2\n"                                                                        \
    "%7: f32 [] = sum %3\n"                                                                        \
    "%8: f32 [] = sum %4\n"                                                                        \
    "%9: f32 [] = sum %5\n"                                                                        \
    "%10: f32 [] = add %6, %7\n"                                                                   \
    "%11: f32 [] = add %10, %8\n"                                                                  \
    "%12: f32 [] = add %11, %9\n"                                                                  \
    "input x %1\n"                                                                                 \
    "output y %12\n"

Test(order, takes_the_candidate_that_needs_least)
{
    struct compile c = ordered(WIDE);
    const struct storage *s = c.storage;
    cr_assert_eq(s->candidate_count, 3);
    cr_assert_str_eq(s->candidates[0].name, "program order");
    cr_assert_str_eq(s->candidates[1].name, "depth first");
    cr_assert_str_eq(s->candidates[2].name, "greedy by bytes");
    /* Program order: four large ones and, when the first sum is made, its 4 bytes in 64. */
    cr_assert_eq(s->candidates[0].bound, 4 * aligned(4096) + aligned(4));
    /* Depth first: the sums so far beside one large value. Two numbers are alive at the second
     * sum. */
    cr_assert_eq(s->candidates[1].bound, aligned(4096) + 2 * aligned(4));
    uint32_t chosen = 0;
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert(s->candidates[i].bound >= s->bound);
        chosen += s->candidates[i].chosen && s->candidates[i].bound == s->bound;
    }
    cr_assert_eq(chosen, 1);
    cr_assert_eq(s->bound, aligned(4096) + 2 * aligned(4));
}

/* A constant with rows that are counted has no input to wait for: it comes after the count all the
 * same, in any order (`ordered` verifies that). */
Test(order, rows_are_counted_first)
{
    struct compile c = ordered("graph p\n"
                               "axis some 1024 counter %3\n"
                               "%1: f32 [1024] = input\n"
                               "%2: bool [1024] = input\n"
                               "%3: i32 [some] = nonzero %2\n"
                               "%4: f32 [some] = const {value=2}\n"
                               "%5: f32 [some] = gather %1, %3\n"
                               "%6: f32 [some] = mul %4, %5\n"
                               "%7: f32 [1024] = scatter_add %6, %3 {rows=[1024]}\n"
                               "%8: f32 [1024] = sin %1\n"
                               "%9: f32 [1024] = cos %1\n"
                               "%10: f32 [1024] = exp %1\n"
                               "%11: f32 [] = sum %7\n"
                               "%12: f32 [] = sum %8\n"
                               "%13: f32 [] = sum %9\n"
                               "%14: f32 [] = sum %10\n"
                               "input x %1\n"
                               "input flags %2\n"
                               "output a %11\n"
                               "output b %12\n"
                               "output c %13\n"
                               "output d %14\n");
    const struct storage *s = c.storage;
    cr_assert(s->candidates[0].bound > s->bound, "no order but that of the program is tried");
}

/* Program order wins ties. */
Test(order, keeps_the_program_where_nothing_is_gained)
{
    struct compile c = ordered("graph p\n"
                               "%1: f32 [8] = input\n"
                               "%2: f32 [8] = sin %1\n"
                               "%3: f32 [8] = cos %1\n"
                               "input x %1\n"
                               "output a %2\n"
                               "output b %3\n");
    cr_assert(c.storage->candidates[0].chosen);
}

/* Position of the node that makes the value called %ID in the text. */
static uint32_t position(const struct compile *c, uint32_t id)
{
    for (uint32_t i = 0; i < c->graph->order_count; i++)
        if (c->graph->order[i] == c->graph->values[id].node)
            return i;
    cr_assert_fail("value %u is not made", id);
    return 0;
}

/* A read of a row comes before its next version, whatever else would be cheaper: by updates and by
 * stores alike, and through views. */
Test(order, reads_come_before_writes)
{
    struct compile c = ordered("graph p\n"
                               "state s constant f32 [512] zero\n"
                               "state r constant f32 [512] zero\n"
                               "%1: f32 [512] = input\n"
                               "%2: f32 [512] = state s\n"
                               "%3: f32 [512] = state r\n"
                               "%4: f64 [] = const {value=1}\n"
                               "%5: f32 [2, 256] = reshape %2 {shape=[2, 256]}\n"
                               "%6: f32 [2, 256] = exp %5\n"
                               "%7: f32 [512] = sin %3\n"
                               "%8: f32 [512] -> s v1 = accumulate %2, %1, %4\n"
                               "%9: f32 [512] = cos %8\n"
                               "%10: f32 [512] -> s v2 = accumulate %8, %1, %4\n"
                               "%11: f32 [512] -> r v1 = store %1\n"
                               "input x %1\n"
                               "output a %6\n"
                               "output b %7\n"
                               "output c %9\n");
    cr_assert_lt(position(&c, 6), position(&c, 8));
    cr_assert_lt(position(&c, 9), position(&c, 10));
    cr_assert_lt(position(&c, 7), position(&c, 11));
}

/* --- sharing ---------------------------------------------------------------------------------- */

static const struct buffer *buffer_of(const struct compile *c, uint32_t id)
{
    return &c->storage->buffers[c->storage->buffer_of[id]];
}

/* A view shares its source's memory; an op that may work in place takes what dies, but never what
 * is read again, an output, or an input of the caller. */
Test(order, shares_memory_of_what_dies)
{
    struct compile c = ordered("graph p\n"
                               "%1: f32 [8] = input\n"
                               "%2: f32 [8] = sin %1\n" /* not over the caller's x */
                               "%3: f32 [2, 4] = reshape %2 {shape=[2, 4]}\n"
                               "%4: f32 [2, 4] = tanh %3\n" /* over the view, which dies */
                               "%5: f32 [2, 4] = exp %4\n"  /* not over %4, which is read again */
                               "%6: f32 [2, 4] = add %4, %5\n"
                               "%7: f32 [2, 4] = neg %6\n" /* not over the output %6 */
                               "input x %1\n"
                               "output a %6\n"
                               "output b %7\n");
    cr_assert_eq(buffer_of(&c, 1)->memory, MEMORY_INPUT);
    cr_assert_eq(buffer_of(&c, 2)->memory, MEMORY_ARENA);
    cr_assert_eq(buffer_of(&c, 3), buffer_of(&c, 2));
    cr_assert_eq(buffer_of(&c, 4), buffer_of(&c, 3));
    cr_assert_neq(buffer_of(&c, 5), buffer_of(&c, 4));
    cr_assert(buffer_of(&c, 6) == buffer_of(&c, 4) || buffer_of(&c, 6) == buffer_of(&c, 5));
    cr_assert_neq(buffer_of(&c, 7), buffer_of(&c, 6));
    cr_assert_geq(buffer_of(&c, 6)->last, c.graph->order_count, "outputs outlive the last node");
}

/* An in-place op on the very last node may not take an output either. */
Test(order, the_last_node_spares_outputs)
{
    struct compile c = ordered("graph p\n"
                               "%1: f32 [8] = input\n"
                               "%2: f32 [8] = sin %1\n"
                               "%3: f32 [8] = neg %2\n"
                               "input x %1\n"
                               "output a %2\n"
                               "output b %3\n");
    cr_assert_neq(buffer_of(&c, 2), buffer_of(&c, 3));
}

/* A stored value is made in its row, unless the row is read, or the value changes afterwards. */
Test(order, stores_without_a_copy)
{
    struct compile c = ordered("graph p\n"
                               "state r constant f32 [8] zero\n"
                               "state s constant f32 [8] zero\n"
                               "%1: f32 [8] = input\n"
                               "%2: f32 [8] = state s\n"
                               "%3: f32 [8] = sin %1\n"
                               "%4: f32 [8] -> r v1 = store %3\n"
                               "%5: f32 [8] = cos %2\n"
                               "%6: f32 [8] -> s v1 = store %5\n"
                               "input x %1\n");
    cr_assert_eq(buffer_of(&c, 3)->memory, MEMORY_STATE);
    cr_assert(c.storage->elided[c.graph->values[4].node]);
    cr_assert_eq(buffer_of(&c, 5)->memory, MEMORY_ARENA);
    cr_assert(!c.storage->elided[c.graph->values[6].node]);
}
