/* What tests of passes share: text in, pass, text out. */
#ifndef SEDGE_TESTS_PASSES_FIXTURE_H
#define SEDGE_TESTS_PASSES_FIXTURE_H

#include "graph/text.h"
#include "graph/verify.h"
#include "ops/ops.h"
#include "passes/storage.h"

#include <criterion/criterion.h>
#include <string.h>

static struct arena *arena;
static struct diags *diags;

static inline void open_fixture(void)
{
    arena = arena_new();
    diags = diags_new(arena);
}

static inline void close_fixture(void)
{
    arena_free(arena);
}

/* A graph with a state table of its own, valid. */
static inline struct graph *read_graph(const char *text)
{
    struct state_table *states = arena_alloc(arena, sizeof *states);
    struct graph *g = graph_read(arena, diags, &ops_table, states, "t", text, strlen(text));
    cr_assert_not_null(g, "%s", diags_render(diags, false));
    cr_assert(graph_verify(g, diags), "%s", diags_render(diags, false));
    return g;
}

/* Runs one pass on the graph IN with options; it must leave a valid graph, which is returned. */
static inline struct graph *run_pass(bool (*pass)(struct compile *), const char *in,
                                     struct compile_options options)
{
    struct compile c = {
        .arena = arena, .diags = diags, .graph = read_graph(in), .options = &options};
    cr_assert(pass(&c), "%s", diags_render(diags, false));
    cr_assert(graph_verify(c.graph, diags), "%s%s", graph_print(arena, c.graph),
              diags_render(diags, false));
    return c.graph;
}

static inline void expect_pass(bool (*pass)(struct compile *), const char *in, const char *out)
{
    struct graph *g = run_pass(pass, in, (struct compile_options){0});
    cr_assert_str_eq(graph_print(arena, g), out);
    cr_assert_str_eq(diags_render(diags, false), "");
}

#endif
