/* The verifier: each invariant, broken by hand in a graph that was sound, is found and named. */
#include "tests/graph/fixture.h"

TestSuite(verify, .init = open_fixture, .fini = close_fixture);

/* Nodes 0 to 9 make values 1 to 10. */
#define SOUND                                                                                      \
    "graph p\n"                                                                                    \
    "process main absorb 10 t\n"                                                                   \
    "axis batch 4\n"                                                                               \
    "axis some2 12 counter %4\n"                                                                   \
    "state w parameter f32 [3] zero\n"                                                             \
    "state grad/w gradient f32 [3] zero of w\n"                                                    \
    "%1: token main [batch, 3] = input\n"                                                          \
    "%2: f32 [batch, 3] = input\n"                                                                 \
    "%3: bool [batch, 3] = equal %2, %2\n"                                                         \
    "%4 \"rows\": i32 [some2] = nonzero %3\n"                                                      \
    "%5: f32 [some2] = gather %2, %4 {axes=2}\n"                                                   \
    "%6: f32 [3] = state w\n"                                                                      \
    "%7: f32 [3, 1] = reshape %6 {shape=[3, 1]}\n"                                                 \
    "%8: f32 [] = sum %5\n"                                                                        \
    "%9: f32 [] = sum %7\n"                                                                        \
    "%10: f32 [3] -> w v1 = store %6\n"                                                            \
    "input x %1\n"                                                                                 \
    "input y %2\n"                                                                                 \
    "output loss %8\n"                                                                             \
    "minimize %8\n"

static struct graph *sound(void)
{
    struct graph *g = read_graph(SOUND);
    cr_assert(graph_verify(g, diags), "%s", diags_render(diags, false));
    expect_quiet();
    return g;
}

/* All that is said, and that it is a fault of the run: exit code 1. */
static void expect_broken(const struct graph *g, const char *text)
{
    cr_assert_not(graph_verify(g, diags));
    expect(text);
    cr_assert_eq(diags_exit_code(diags), 1);
}

Test(verify, leaves_the_graph_as_it_is)
{
    struct graph *g = sound();
    char *before = graph_print(arena, g);
    size_t used = arena_used(arena);
    cr_assert(graph_verify(g, diags));
    cr_assert_eq(arena_used(arena), used);
    cr_assert_str_eq(graph_print(arena, g), before);
    cr_assert_eq(g->axis_count, 3);
    cr_assert_eq(g->axes[2].counter, 4);
}

Test(verify, order_twice)
{
    struct graph *g = sound();
    g->order[1] = 0;
    expect_broken(g, "sedge: error: graph `p` is broken at node 0, `input`: it stands in the order "
                     "twice\n"
                     "sedge: error: graph `p` is broken at node 1, `input`: it is not dead but "
                     "missing in the order\n");
}

Test(verify, order_out_of_range)
{
    struct graph *g = sound();
    g->order[g->order_count++] = 99;
    expect_broken(g, "sedge: error: graph `p` is broken: the order names node 99 of 10\n");
}

Test(verify, dead_in_order)
{
    struct graph *g = sound();
    g->nodes[8].dead = true;
    expect_broken(g, "sedge: error: graph `p` is broken at node 8, `sum`: it is dead but stands in "
                     "the order\n");
}

Test(verify, used_before_it_is_made)
{
    struct graph *g = sound();
    uint32_t last = g->order[7];
    g->order[7] = g->order[6];
    g->order[6] = last;
    last = g->order[2];
    g->order[2] = g->order[1];
    g->order[1] = last;
    expect_broken(g,
                  "sedge: error: graph `p` is broken at node 2, `equal`: input 0 comes from node "
                  "1, which stands later in the order\n"
                  "sedge: error: graph `p` is broken at node 2, `equal`: input 1 comes from node "
                  "1, which stands later in the order\n");
}

Test(verify, made_by_a_dead_node)
{
    struct graph *g = sound();
    g->nodes[6].dead = true;
    for (uint32_t i = 6; i + 1 < g->order_count; i++)
        g->order[i] = g->order[i + 1];
    g->order_count--;
    expect_broken(g, "sedge: error: graph `p` is broken at node 8, `sum`: input 0 comes from node "
                     "6, which is dead\n");
}

Test(verify, input_out_of_range)
{
    struct graph *g = sound();
    g->nodes[8].in[0] = 400;
    expect_broken(
        g, "sedge: error: graph `p` is broken at node 8, `sum`: input 0 is value 400 of 11\n");
}

Test(verify, two_makers)
{
    struct graph *g = sound();
    g->nodes[8].out[0] = 8;
    expect_broken(g, "sedge: error: graph `p` is broken at node 8, `sum`: its result 0, value 8, "
                     "says that it is result 0 of node 7\n");
}

Test(verify, result_out_of_range)
{
    struct graph *g = sound();
    g->nodes[8].out[0] = 0;
    expect_broken(
        g, "sedge: error: graph `p` is broken at node 8, `sum`: its result 0 is value 0 of 11\n");
}

Test(verify, type_is_not_the_rules)
{
    struct graph *g = sound();
    g->values[9].type.dtype = DT_F64;
    expect_broken(g, "sedge: error: graph `p` is broken at node 8, `sum`: result 0 is f64 [], by "
                     "its rule f32 []\n");
}

Test(verify, rule_refuses)
{
    struct graph *g = sound();
    g->nodes[8].in[0] = 3;
    expect_broken(g, "sedge: error: graph `p` is broken at node 8, `sum`: its rule refuses it: "
                     "sedge: error: `sum`: input `x` must be f32 or f64, not bool [batch, 3]\n");
}

Test(verify, names_the_place_and_the_value)
{
    struct graph *g = sound();
    struct origin o = {.span = {diags_source(diags, "m.yaml", "h: x\n", 5), 1, 1, 1}};
    g->nodes[3].origin = &o;
    g->values[4].type.dtype = DT_F64;
    cr_assert_not(graph_verify(g, diags));
    cr_assert(strstr(diags_render(diags, false),
                     "m.yaml:1:1: error: graph `p` is broken at node 3, `nonzero` (rows): result 0 "
                     "is f64 [some2], by its rule i32 [some2]\n"
                     "    h: x\n"
                     "    ^\n"));
}

Test(verify, only_first_axes_are_short)
{
    struct graph *g = sound();
    g->values[2].type.dim[1].axis = 1;
    cr_assert_not(graph_verify(g, diags));
    cr_assert(strstr(diags_render(diags, false),
                     "at node 1, `input`: axis 1 of a result is short; only the first may be\n"));
}

Test(verify, empty_type)
{
    struct graph *g = sound();
    g->values[2].type.dim[1].size = 0;
    cr_assert_not(graph_verify(g, diags));
    cr_assert(strstr(diags_render(diags, false),
                     "at node 1, `input`: a result is empty: f32 [batch, 0]\n"));
}

Test(verify, axis_size_and_number)
{
    struct graph *g = sound();
    g->values[1].type.dim[0].size = 5;
    expect_broken(g,
                  "sedge: error: graph `p` is broken at node 0, `input`: axis `batch` is planned "
                  "for 4 rows, not 5\n");
    g->values[1].type.dim[0] = (struct dim){4, 9};
    expect_broken(
        g, "sedge: error: graph `p` is broken at node 0, `input`: a type names axis 9 of 3\n");
}

Test(verify, axis_without_its_counter)
{
    struct graph *g = sound();
    g->axes[2].counter = 8;
    cr_assert_not(graph_verify(g, diags));
    cr_assert(strstr(diags_render(diags, false),
                     "at node 7, `sum`: it is to count axis `some2` but "
                     "does not\n"));
    g->axes[2] = (struct axis){"some2", 12, 77};
    cr_assert_not(graph_verify(g, diags));
    expect("sedge: error: graph `p` is broken: axis `some2` is counted by value 77 of 11\n");
}

/* An axis is used before the node that counts it. */
Test(verify, counted_too_late)
{
    struct graph *g = read_graph("axis batch 4\n"
                                 "axis some2 4 counter %3\n"
                                 "%1: f32 [some2] = input\n"
                                 "%2: bool [batch] = input\n"
                                 "%3: i32 [some2] = nonzero %2\n");
    expect_broken(g, "sedge: error: graph `` is broken at node 0, `input`: axis `some2` is not "
                     "counted before\n");
}

Test(verify, tokens_have_a_process)
{
    struct graph *g = sound();
    g->values[1].type.process = 0;
    expect_broken(g, "sedge: error: graph `p` is broken at node 0, `input`: a result is token "
                     "without a process\n");
    g->values[1].type.process = 2;
    expect_broken(
        g, "sedge: error: graph `p` is broken at node 0, `input`: a type names process 2 of 1\n");
    g->values[1].type.process = 1;
    g->values[2].type.process = 1;
    cr_assert_not(graph_verify(g, diags));
    cr_assert(strstr(diags_render(diags, false), "at node 1, `input`: a result is f32 but has the "
                                                 "alphabet of a process\n"));
}

Test(verify, process_of_a_node)
{
    struct graph *g = read_graph("process main absorb 10 t\n"
                                 "%1: f64 [2] = input\n"
                                 "%2: f64 [2], %3: f64 [2] = noise %1 process main\n");
    cr_assert(graph_verify(g, diags)); /* a macro may stand here */
    g->nodes[1].process = 0;
    expect_broken(g, "sedge: error: graph `` is broken at node 1, `noise`: it names no process\n");
    g->nodes[1].process = 7;
    expect_broken(g,
                  "sedge: error: graph `` is broken at node 1, `noise`: it names process 7 of 1\n");
}

Test(verify, choice_out_of_range)
{
    struct graph *g = read_graph("%1: f32 [2] = input\n%2: f32 [2] = gelu %1 {form=erf}\n");
    union attr *attr = (union attr *)g->nodes[1].attr;
    attr[0].integer = 2;
    expect_broken(g, "sedge: error: graph `` is broken at node 1, `gelu`: attribute `form` is "
                     "choice 2 of 2\n");
}

/* The row is read, also through a view, after its next version is written. */
Test(verify, row_read_too_late)
{
    struct graph *g = sound();
    uint32_t store = g->order[9];
    g->order[9] = g->order[8];
    g->order[8] = store;
    expect_broken(g, "sedge: error: graph `p` is broken at node 8, `sum`: input 0 is `w` v0, of "
                     "which v1 was written before\n");
}

Test(verify, row_returned_after_its_next_version)
{
    struct graph *g = sound();
    graph_output(g, "old", 6);
    expect_broken(
        g, "sedge: error: graph `p` is broken at node 5, `state` (w): output `old` is `w` v0, "
           "of which v1 was written before\n");
}

Test(verify, versions_follow_each_other)
{
    struct graph *g = sound();
    g->values[10].version = 2;
    expect_broken(g, "sedge: error: graph `p` is broken at node 9, `store`: it writes `w` v2 after "
                     "v0\n");
}

Test(verify, rows_of_results)
{
    struct graph *g = sound();
    g->values[10].state = 0;
    expect_broken(
        g, "sedge: error: graph `p` is broken at node 9, `store`: result 0 has no state row\n");
    g->values[10].state = 9;
    expect_broken(
        g, "sedge: error: graph `p` is broken at node 9, `store`: result 0 is state row 8 of 2\n");
    g->values[10].state = 1;
    g->values[6].version = 3;
    cr_assert_not(graph_verify(g, diags));
    cr_assert(strstr(diags_render(diags, false),
                     "at node 5, `state` (w): it reads `w` as found, but "
                     "calls it v3\n"));
}

Test(verify, row_and_value_have_one_type)
{
    struct graph *g = sound();
    states.rows[0].type.dim[0].size = 5;
    cr_assert_not(graph_verify(g, diags));
    cr_assert(strstr(diags_render(diags, false),
                     "at node 9, `store`: result 0 is f32 [3], its row `w` is f32 [5]\n"));
}

/* accumulate writes the row that its first input reads. */
Test(verify, updates_write_what_they_read)
{
    struct graph *g = read_graph("state w parameter f32 [3] zero\n"
                                 "state a gradient f32 [3] zero of w\n"
                                 "state b gradient f32 [3] zero of w\n"
                                 "%1: f32 [3] = input\n"
                                 "%2: f32 [3] = state a\n"
                                 "%3: f64 [] = const {value=1}\n"
                                 "%4: f32 [3] -> a v1 = accumulate %2, %1, %3\n"
                                 "%5: f32 [3] -> a v2 = accumulate %4, %1, %3\n");
    cr_assert(graph_verify(g, diags));
    g->values[5].state = state_find(&states, "b") + 1;
    g->values[5].version = 1;
    expect_broken(g, "sedge: error: graph `` is broken at node 4, `accumulate`: it writes `b` but "
                     "does not read it\n");
}

Test(verify, outputs_exist)
{
    struct graph *g = sound();
    g->outputs[0].value = VALUE_NONE;
    expect_broken(g, "sedge: error: graph `p` is broken: output `loss` is value 0, which no live "
                     "node makes\n");
    g->outputs[0].value = 55;
    expect_broken(g, "sedge: error: graph `p` is broken: output `loss` is value 55, which no live "
                     "node makes\n");
    g->outputs[0].value = 8;
    g->minimize = 55;
    expect_broken(g, "sedge: error: graph `p` is broken: the loss of `minimize` is value 55, which "
                     "no live node makes\n");
    g->minimize = 5;
    expect_broken(g, "sedge: error: graph `p` is broken at node 4, `gather`: it is minimised but "
                     "f32 [some2]\n");
}

Test(verify, inputs_are_leaves)
{
    struct graph *g = sound();
    g->inputs[0].value = 3;
    expect_broken(g, "sedge: error: graph `p` is broken at node 2, `equal`: it makes the input `x` "
                     "of the program\n");
    g->inputs[0].value = 33;
    expect_broken(g, "sedge: error: graph `p` is broken: input `x` is value 33 of 11\n");
}
