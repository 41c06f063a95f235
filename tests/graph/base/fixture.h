/* An arena with diagnostics, made anew for each test. */
#ifndef SEDGE_TESTS_GRAPH_BASE_FIXTURE_H
#define SEDGE_TESTS_GRAPH_BASE_FIXTURE_H

#include "graph/base/arena.h"
#include "graph/base/diag.h"

#include <criterion/criterion.h>

static struct arena *arena;
static struct diags *diags;

static inline void open_arena(void)
{
    arena = arena_new();
    diags = diags_new(arena);
}
static inline void close_arena(void)
{
    arena_free(arena);
}

#endif
