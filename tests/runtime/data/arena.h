/* A suite whose tests each have an arena and diagnostics of their own. */
#ifndef SEDGE_TEST_DATA_ARENA_H
#define SEDGE_TEST_DATA_ARENA_H

#include "tests/runtime/data/fixture.h"

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

#define SUITE_WITH_ARENA(name) TestSuite(name, .init = open_arena, .fini = close_arena)

#endif
