/* The drawing: every node and edge once, blocks as clusters, names made safe for Graphviz. */
#include "tests/graph/fixture.h"

#include "graph/draw.h"

TestSuite(draw, .init = open_fixture, .fini = close_fixture);

static uint32_t count(const char *text, const char *what)
{
    uint32_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

#define GRAPH                                                                                      \
    "graph \"a \\\"graph\\\"\"\n"                                                                  \
    "axis batch 4\n"                                                                               \
    "state blocks.0.w parameter f32 [6, 3] zero\n"                                                 \
    "state e parameter f32 [3] zero\n"                                                             \
    "%1 \"x\": f32 [batch, 3] = input\n"                                                           \
    "%2: f32 [6, 3] = state blocks.0.w\n"                                                          \
    "%3: f32 [batch, 6] = linear %1, %2, _ {out=6, bias=false}\n"                                  \
    "%4 \"h.0.p\": f32 [batch, 3], %5 \"h.0.q\": f32 [batch, 3] = split %3 {parts=2}\n"            \
    "%6 \"h.0.y\": f32 [batch, 3] = add %4, %5\n"                                                  \
    "%7: f32 [] = const {value=0.5}\n"                                                             \
    "%8 \"h.1.y\": f32 [batch, 3] = mul %6, %7\n"                                                  \
    "%9: f32 [] = sum %8\n"                                                                        \
    "%10: f32 [3] = state e\n"                                                                     \
    "%11 \"grad/a.b\": f32 [3] -> e v1 = store %10\n"                                              \
    "input \"<x> & y\" %1\n"                                                                       \
    "output loss %9\n"                                                                             \
    "output h %8\n"                                                                                \
    "minimize %9\n"

Test(draw, everything_is_drawn_once)
{
    char *dot = graph_dot(arena, read_graph(GRAPH));
    cr_assert_eq(strncmp(dot, "digraph \"a \\\"graph\\\"\" {\n", 24), 0, "%s", dot);
    cr_assert_eq(count(dot, " [label=<"), 10 + 2); /* nodes and outputs */
    cr_assert_eq(count(dot, " -> "), 9 + 2);
    cr_assert_eq(count(dot, "<b>linear</b>"), 1);
    cr_assert_eq(count(dot, "&lt;x&gt; &amp; y"), 1);
    cr_assert_eq(count(dot, "f32 [batch, 6]"), 1);
    cr_assert_eq(count(dot, "[label=\"p\"]"), 1); /* edges say which result they carry */
    cr_assert_eq(count(dot, "[label=\"q\"]"), 1);
    cr_assert_eq(count(dot, "peripheries=2"), 1); /* what is minimised */
    cr_assert_eq(count(dot, "{"), count(dot, "}"));
}

/* h holds 0 and 1; the linear and its weight, which have no name of a value, stand with the split
 * that uses them; the row's name is no place. */
Test(draw, blocks_are_clusters)
{
    char *dot = graph_dot(arena, read_graph(GRAPH));
    cr_assert_eq(count(dot, "subgraph"), 3);
    const char *h = strstr(dot, "label=\"h\""), *zero = strstr(dot, "label=\"0\""),
               *one = strstr(dot, "label=\"1\"");
    cr_assert(h && zero && one);
    cr_assert(h < zero && zero < one);
    const char *linear = strstr(dot, "<b>linear"), *row = strstr(dot, "blocks.0.w"),
               *number = strstr(dot, ">0.5<"), *sum = strstr(dot, "<b>sum");
    cr_assert(zero < linear && linear < one);
    cr_assert(zero < row && row < one);
    cr_assert(one < number);
    cr_assert(sum < h);
}
