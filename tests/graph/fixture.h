/* What tests of this folder share: an arena with diagnostics, graphs from text, models from YAML in
 * files of their own folder, and the text that a user would see. */
#ifndef SEDGE_TESTS_GRAPH_FIXTURE_H
#define SEDGE_TESTS_GRAPH_FIXTURE_H

#include "graph/elaborate.h"
#include "graph/text.h"
#include "graph/verify.h"
#include "ops/ops.h"
#include "tests/graph/base/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct state_table states;

static inline void open_fixture(void)
{
    open_arena();
    states = (struct state_table){0};
}

static inline void close_fixture(void)
{
    close_arena();
}

/* Exactly TEXT was reported since the last call. */
static inline void expect(const char *text)
{
    cr_assert_str_eq(diags_render(diags, false), text);
}

/* Nothing was. */
static inline void expect_quiet(void)
{
    expect("");
}

static inline struct graph *try_graph(const char *text)
{
    return graph_read(arena, diags, &ops_table, &states, "t", text, strlen(text));
}

static inline struct graph *read_graph(const char *text)
{
    struct graph *g = try_graph(text);
    cr_assert_not_null(g, "%s", diags_render(diags, false));
    return g;
}

/* Prints, reads into a table of its own and prints again: the texts must agree. */
static inline void expect_round_trip(const struct graph *graph)
{
    struct state_table own = {0};
    char *first = graph_print(arena, graph);
    struct graph *again = graph_read(arena, diags, &ops_table, &own, "again", first, strlen(first));
    cr_assert_not_null(again, "%s%s", first, diags_render(diags, false));
    cr_assert_str_eq(graph_print(arena, again), first);
    cr_assert(graph_verify(again, diags), "%s%s", first, diags_render(diags, false));
}

/* --- models ------------------------------------------------------------------------------- */

/* Each test has a folder of its own and works inside it, so that messages name short paths. */
static char folder[] = "/tmp/sedge-test-XXXXXX";

static inline void open_folder(void)
{
    open_fixture();
    strcpy(strrchr(folder, '-') + 1, "XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static inline void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

/* The names of files that tests of this folder write. */
static inline void close_folder(void)
{
    static const char *const names[] = {"m.yaml", "a.yaml", "b.yaml", "c.yaml", "lib/a.yaml"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(names[i]);
    rmdir("lib");
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(rmdir(folder), 0, "a test left a file behind");
    close_fixture();
}

static inline struct model *try_model(const char *text)
{
    write_file("m.yaml", text);
    struct model_request request = {.path = "m.yaml"};
    return model_read(arena, diags, &ops_table, &request);
}

static inline struct model *read_model(const char *text)
{
    struct model *m = try_model(text);
    cr_assert_not_null(m, "%s", diags_render(diags, false));
    return m;
}

/* The program `p` of a model. */
static inline struct graph *try_program(const char *text)
{
    struct model *m = read_model(text);
    struct elaborate_request request = {.program = "p"};
    return elaborate(m, &request);
}

static inline struct graph *read_program(const char *text)
{
    struct graph *g = try_program(text);
    cr_assert_not_null(g, "%s", diags_render(diags, false));
    cr_assert(graph_verify(g, diags), "%s", diags_render(diags, false));
    return g;
}

/* The graph without the places that nodes came from: those depend on the layout of the YAML. */
static inline char *print_bare(const struct graph *graph)
{
    char *text = graph_print(arena, graph), *to = text, *from = text;
    while (*from) {
        if (from[0] == ' ' && from[1] == '@')
            from += strcspn(from, "\n");
        *to++ = *from++;
    }
    *to = 0;
    return text;
}

#endif
