/* The text form: what it prints, that it reads back to the same text, what it refuses. */
#include "tests/graph/fixture.h"

TestSuite(text, .init = open_fixture, .fini = close_fixture);

#define WHOLE                                                                                      \
    "graph train\n"                                                                                \
    "process main absorb 10 (-log1p((-(0.999 * t))))\n"                                            \
    "process other uniform 4 (2.0 * t)\n"                                                          \
    "axis batch 8\n"                                                                               \
    "axis some2 40 counter %6\n"                                                                   \
    "state norm.weight parameter f32 [12] one\n"                                                   \
    "state proj.weight parameter f32 [2, 12] uniform 0.28867513459481287\n"                        \
    "state grad/norm.weight gradient f32 [12] zero of norm.weight\n"                               \
    "%1 \"x0\": token main [batch, 5] = input\n"                                                   \
    "%2 \"fixed\": bool [batch, 5] = input @m.yaml:4:7\n"                                          \
    "%3: f32 [12] = state norm.weight\n"                                                           \
    "%4: f64 [batch] = random_uniform {shape=[batch], low=0.1} stream 0x00abcdef\n"                \
    "%5: f64 [] = const {value=0.001}\n"                                                           \
    "%6 \"rows\": i32 [some2] = nonzero %2\n"                                                      \
    "%7 \"e\": f32 [batch, 5, 12] = input @\"a file.yaml\":9:14\n"                                 \
    "%8 \"h\": f32 [batch, 5, 12], %9: f64 [batch, 5], %10: f64 [batch, 5] = layer_norm %7, %3, _" \
    " {bias=false, eps=0.0001}\n"                                                                  \
    "%11: f32 [batch, 5, 6], %12: f32 [batch, 5, 6] = split %8 {parts=2} epoch 2\n"                \
    "%13: f32 [some2, 6] = gather %11, %6 {axes=2}\n"                                              \
    "%14: f32 [] = sum %13\n"                                                                      \
    "%15: f32 [12] -> grad/norm.weight v1 = store %3\n"                                            \
    "input x0 %1\n"                                                                                \
    "input fixed %2\n"                                                                             \
    "input e %7\n"                                                                                 \
    "output loss %14\n"                                                                            \
    "output \"two words\" %8\n"                                                                    \
    "minimize %14\n"

Test(text, everything_survives)
{
    struct graph *g = read_graph(WHOLE);
    expect_quiet();
    printf("%s", graph_print(arena, g));
}
