/* The text form: what it prints, that it reads back to the same text, what it refuses. */
#include "tests/graph/fixture.h"

#include "graph/expr.h"
#include "tests/support/op_case.h"

#include <math.h>

TestSuite(text, .init = open_fixture, .fini = close_fixture);

#define WHOLE                                                                                      \
    "graph train\n"                                                                                \
    "process main absorb 10 -log1p(-0.999 * t)\n"                                                  \
    "process other uniform 4 2.0 * t\n"                                                            \
    "axis batch 8\n"                                                                               \
    "axis some2 40 counter %6\n"                                                                   \
    "state norm.weight parameter f32 [12] uniform 0.28867513459481287\n"                           \
    "state grad/norm.weight gradient f32 [12] zero of norm.weight\n"                               \
    "%1 \"x0\": token main [batch, 5] = input\n"                                                   \
    "%2 \"fixed\": bool [batch, 5] = input @m.yaml:4:7\n"                                          \
    "%3: f32 [12] = state norm.weight\n"                                                           \
    "%4: f64 [batch] = random_uniform {shape=[batch], low=0.1} stream 0x00abcdef\n"                \
    "%5: f64 [] = const {value=0.001}\n"                                                           \
    "%6 \"rows\": i32 [some2] = nonzero %2\n"                                                      \
    "%7 \"e\": f32 [batch, 5, 12] = input @\"a file.yaml\":9:14\n"                                 \
    "%8 \"h\": f32 [batch, 5, 12], %9: f32 [batch, 5], %10: f32 [batch, 5] = layer_norm %7, %3, _" \
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

/* As printed, and as read from that: nothing is lost on the way. */
Test(text, everything_survives)
{
    struct graph *g = read_graph(WHOLE);
    cr_assert_str_eq(graph_print(arena, g), WHOLE);
    expect_round_trip(g);
    cr_assert(graph_verify(g, diags));
    expect_quiet();
}

Test(text, reads_what_it_says)
{
    struct graph *g = read_graph(WHOLE);
    cr_assert_str_eq(g->name, "train");
    cr_assert_eq(g->process_count, 2);
    cr_assert(chain_carries_over(&g->processes[0].chain));
    cr_assert_eq(g->processes[0].chain.states, 11);
    cr_assert_eq(g->processes[0].chain.mask, 10);
    cr_assert_eq(g->processes[1].chain.states, 4);
    cr_assert_eq(g->processes[1].chain.mask, -1);

    uint32_t batch = graph_axis_find(g, "batch"), some = graph_axis_find(g, "some2");
    cr_assert_eq(g->axis_count, 3);
    cr_assert_eq(g->axes[batch].size, 8);
    cr_assert_eq(g->axes[batch].counter, VALUE_NONE);
    cr_assert_eq(g->axes[some].counter, graph_find(g, "rows"));

    const struct type *x0 = graph_type(g, graph_find(g, "x0"));
    cr_assert_eq(x0->dtype, DT_TOKEN);
    cr_assert_eq(x0->process, 1);
    cr_assert_eq(x0->rank, 2);
    cr_assert_eq(x0->dim[0].axis, batch);
    cr_assert_eq(x0->dim[0].size, 8);
    cr_assert_eq(x0->dim[1].size, 5);
    cr_assert_eq(x0->dim[1].axis, 0);

    cr_assert_eq(states.count, 2);
    cr_assert_eq(states.rows[0].init, INIT_UNIFORM);
    cr_assert_eq(states.rows[0].scale, 0.28867513459481287);
    cr_assert_eq(states.rows[1].class, STATE_GRADIENT);
    cr_assert_eq(states.rows[1].owner, 0);

    const struct node *norm = &g->nodes[g->values[graph_find(g, "h")].node];
    cr_assert_eq(norm->in_count, 3);
    cr_assert_eq(norm->in[2], VALUE_NONE);
    cr_assert_eq(norm->attr[0].flag, false);
    cr_assert_eq(norm->attr[1].real, 1e-4);
    const struct node *store = &g->nodes[g->order[g->order_count - 1]];
    cr_assert_eq(g->values[store->out[0]].state, 2);
    cr_assert_eq(g->values[store->out[0]].version, 1);

    cr_assert_eq(g->input_count, 3);
    cr_assert_str_eq(g->inputs[1].name, "fixed");
    cr_assert_eq(g->inputs[1].value, graph_find(g, "fixed"));
    cr_assert_eq(g->output_count, 2);
    cr_assert_str_eq(g->outputs[1].name, "two words");
    cr_assert_eq(g->minimize, g->outputs[0].value);
    const struct span *at = &g->nodes[g->values[graph_find(g, "e")].node].origin->span;
    cr_assert_str_eq(diags_file_name(diags, at->file), "a file.yaml");
    cr_assert_eq(at->line, 9);
    cr_assert_eq(at->column, 14);
}

/* Numbers of values, attributes in another order, comments and blanks are free; printing is not. */
Test(text, is_printed_one_way)
{
    struct graph *g =
        read_graph("# a comment\n"
                   "   graph   p # another\r\n"
                   "\n"
                   "%70:f32[2,3]=input\n"
                   "%5  \"y\" :  f32 [2, 1]  = slice %70 { size = 1 , axis=1,from=2 }\n"
                   "output y %5");
    cr_assert_str_eq(graph_print(arena, g), "graph p\n"
                                            "%1: f32 [2, 3] = input\n"
                                            "%2 \"y\": f32 [2, 1] = slice %1 {axis=1, from=2, "
                                            "size=1}\n"
                                            "output y %2\n");
    expect_round_trip(g);
}

Test(text, names_need_no_care)
{
    struct graph *g = graph_new(arena, diags, &ops_table, &states, "a \"b\"\\\n\x01é");
    struct type type = type_scalar(DT_F64);
    struct node_call call = {.op = &op_input, .types = &type};
    uint32_t id = graph_call(g, &call);
    graph_input(g, "", g->nodes[id].out[0]);
    graph_output(g, "= # {", g->nodes[id].out[0]);
    cr_assert_str_eq(graph_print(arena, g), "graph \"a \\\"b\\\"\\\\\\x0a\\x01é\"\n"
                                            "%1: f64 [] = input\n"
                                            "input \"\" %1\n"
                                            "output \"= # {\" %1\n");
    expect_round_trip(g);
    struct graph *again = read_graph(graph_print(arena, g));
    cr_assert_str_eq(again->name, g->name);
}

/* Reals come back bit for bit: the shortest decimal, denormals, infinities. */
Test(text, reals_come_back)
{
    static const double values[] = {0.1,      1.0 / 3, -0.0,    1e-310, 1.7976931348623157e308,
                                    INFINITY, 1e22,    -2.5e-8, 50257,  0.99899999999999999};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct graph *g = graph_new(arena, diags, &ops_table, &states, "p");
        struct type type = type_scalar(DT_F64);
        union attr attr = {.real = values[i]};
        struct node_call call = {.op = &op_const, .types = &type, .attr = &attr};
        cr_assert_neq(graph_call(g, &call), NODE_NONE);
        struct graph *again = read_graph(graph_print(arena, g));
        cr_assert_eq(memcmp(&again->nodes[0].attr[0].real, &values[i], sizeof(double)), 0, "%a",
                     values[i]);
    }
    cr_assert_str_eq(real_print(arena, 0.1), "0.1");
    cr_assert_str_eq(real_print(arena, 0.999), "0.999");
    cr_assert_str_eq(real_print(arena, 1.0 / 3), "0.3333333333333333");
}

/* Two axes may have one name: the text gives the second its number. */
Test(text, axes_are_told_apart)
{
    struct graph *g = graph_new(arena, diags, &ops_table, &states, "p");
    for (int64_t i = 0; i < 2; i++) {
        struct type type = {.dtype = DT_F32, .rank = 1, .dim = {{4, graph_axis(g, "n", 4)}}};
        struct node_call call = {.op = &op_input, .types = &type};
        cr_assert_neq(graph_call(g, &call), NODE_NONE);
    }
    cr_assert_str_eq(graph_print(arena, g), "graph p\n"
                                            "axis n 4\n"
                                            "axis n.2 4\n"
                                            "%1: f32 [n] = input\n"
                                            "%2: f32 [n.2] = input\n");
    expect_round_trip(g);
}

/* Dead nodes are not shown; a dead input keeps its place among the inputs. */
Test(text, dead_nodes_are_gone)
{
    struct graph *g = read_graph("%1: f32 [2] = input\n"
                                 "%2: f32 [2] = input\n"
                                 "%3: f32 [2] = exp %1\n"
                                 "%4: f32 [2] = exp %2\n"
                                 "input a %1\n"
                                 "input b %2\n"
                                 "output y %4\n");
    g->nodes[0].dead = g->nodes[2].dead = true;
    graph_order(g);
    cr_assert_str_eq(graph_print(arena, g), "graph \"\"\n"
                                            "%1: f32 [2] = input\n"
                                            "%2: f32 [2] = exp %1\n"
                                            "input a _\n"
                                            "input b %1\n"
                                            "output y %2\n");
    expect_round_trip(g);
}

/* --- every op ------------------------------------------------------------------------------- */

/* What an op updates or stores to are rows of state: makes the leaves that read them, and declares
 * the row of a result that has none yet. */
static void give_rows(struct case_graph *c)
{
    struct graph *g = c->graph;
    const struct node *n = op_case_node(c);
    for (uint32_t k = 0; k < n->out_count; k++) {
        bool updates = k < n->op->updates;
        uint32_t row;
        struct state_row r = {.name = arena_printf(c->arena, "row%u", k),
                              .class = STATE_PARAMETER,
                              .type = *graph_type(g, n->out[k])};
        if (!updates && (k > 0 || !(n->op->flags & OP_EFFECT)))
            continue;
        cr_assert(state_declare(g->states, c->arena, c->diags, &r, &row));
        g->values[n->out[k]].state = row + 1;
        g->values[n->out[k]].version = 1;
        if (updates) {
            g->nodes[g->values[n->in[k]].node].op = &op_state;
            g->values[n->in[k]].state = row + 1;
        }
    }
}

/* False where a case cannot have a short axis, since it names its sizes. */
static bool case_survives(const struct op *op, const struct op_case *c, bool short_batch)
{
    struct case_graph g;
    bool built = op_case_build(&g, op, c, short_batch);
    cr_assert(built || short_batch, "%s", op_case_refusal(&g));
    if (built) {
        g.process.sigma = expr_parse(diags, arena, "-log1p(-0.999 * t)", (struct span){0});
        give_rows(&g);
        cr_assert(graph_verify(g.graph, diags), "%s %s: %s", op->name, c->in,
                  diags_render(diags, false));
        expect_round_trip(g.graph);
    }
    op_case_free(&g);
    return built;
}

Test(text, every_case_of_every_op_survives)
{
    uint32_t whole = 0, cut = 0;
    for (uint32_t i = 0; i < ops_table.count; i++) {
        const struct op *op = ops_table.ops[i];
        for (const struct op_case *c = op->cases; c && c->in; c++) {
            whole += case_survives(op, c, false);
            if (!(op->flags & OP_EFFECT)) /* rows of state have no short axis */
                cut += case_survives(op, c, true);
        }
    }
    cr_assert_geq(whole, 3 * (ops_table.count - 3), "%u cases", whole); /* leaves have none */
    cr_assert_geq(cut, whole / 2, "%u of %u cases with a short axis", cut, whole);
}

/* --- what it refuses ------------------------------------------------------------------------ */

static void expect_refusal(const char *text, const char *message)
{
    struct state_table own = {0};
    cr_assert_null(graph_read(arena, diags, &ops_table, &own, "t", text, strlen(text)), "%s", text);
    expect(message);
}

Test(text, refuses_lines_it_does_not_know)
{
    expect_refusal("grahp p\n",
                   "t:1:1: error: a line starts with graph, process, axis, state, input, output, "
                   "minimize or a value such as %1\n"
                   "    grahp p\n"
                   "    ^\n");
    expect_refusal("graph p q\n", "t:1:9: error: the line should end here\n"
                                  "    graph p q\n"
                                  "            ^\n");
    expect_refusal("graph \"p\n", "t:1:7: error: this quote is not closed\n"
                                  "    graph \"p\n"
                                  "          ^~\n");
    expect_refusal("graph \"\\n\"\n",
                   "t:1:8: error: only \\\", \\\\ and \\xNN are known behind a backslash\n"
                   "    graph \"\\n\"\n"
                   "           ^\n");
    struct state_table own = {0};
    cr_assert_null(graph_read(arena, diags, &ops_table, &own, "t", "graph p\n\n%1\0", 12));
    cr_assert(strstr(diags_render(diags, false), "t:3:3: error: a NUL byte stands here\n"));
}

Test(text, refuses_wrong_tables)
{
    expect_refusal("axis n 4\naxis n 4\n", "t:2:6: error: the axis `n` is there already\n"
                                           "    axis n 4\n"
                                           "         ^\n");
    expect_refusal("axis n 0\n", "t:1:8: error: this number must be from 1 to 70368744177664\n"
                                 "    axis n 0\n"
                                 "           ^\n");
    expect_refusal("axis n 4 counter %3\n", "t:1:18: error: %3 is not defined below\n"
                                            "    axis n 4 counter %3\n"
                                            "                     ^~\n");
    expect_refusal("process main cyclic 4 t\n", "t:1:14: error: rate is never `cyclic`\n"
                                                "    process main cyclic 4 t\n"
                                                "                 ^~~~~~\n");
    expect_refusal("process main absorb 4 (t\n",
                   "t:1:25: error: in the expression `(t`: a `)` is missing here\n"
                   "    process main absorb 4 (t\n"
                   "                            ^\n");
    expect_refusal("state w param f32 [2] zero\n", "t:1:9: error: a class is never `param`\n"
                                                   "    state w param f32 [2] zero\n"
                                                   "            ^~~~~\n");
    expect_refusal("state w ema f32 [2] copy of v\n", "t:1:29: error: no state row is called `v`\n"
                                                      "    state w ema f32 [2] copy of v\n"
                                                      "                                ^\n");
}

Test(text, refuses_wrong_types)
{
    expect_refusal("%1: f16 [2] = input\n", "t:1:5: error: `f16` is no element type\n"
                                            "    %1: f16 [2] = input\n"
                                            "        ^~~\n");
    expect_refusal("%1: f32 [n] = input\n", "t:1:10: error: no axis is called `n`\n"
                                            "    %1: f32 [n] = input\n"
                                            "             ^\n");
    expect_refusal("%1: token main [2] = input\n", "t:1:11: error: no process is called `main`\n"
                                                   "    %1: token main [2] = input\n"
                                                   "              ^~~~\n");
    expect_refusal("axis n 4\n%1: f32 [2, n] = input\n",
                   "t:2:11: error: only the first axis may be short\n"
                   "    %1: f32 [2, n] = input\n"
                   "              ^~~\n");
    expect_refusal("%1: f32 [1, 2, 3, 4, 5, 6, 7] = input\n",
                   "t:1:26: error: a shape has at most 6 axes\n"
                   "    %1: f32 [1, 2, 3, 4, 5, 6, 7] = input\n"
                   "                             ^\n");
    expect_refusal("%1: f32 [3] = input\n%2: f32 [4] = exp %1\n",
                   "t:2:5: error: the rule of `exp` gives f32 [3]\n"
                   "    %2: f32 [4] = exp %1\n"
                   "        ^~~~~~~\n");
}

Test(text, refuses_wrong_nodes)
{
    expect_refusal("%1: f32 [2] = exp %2\n", "t:1:19: error: %2 is not defined above\n"
                                             "    %1: f32 [2] = exp %2\n"
                                             "                      ^~\n");
    expect_refusal("%1: f32 [2] = input\n%1: f32 [2] = input\n",
                   "t:2:1: error: %1 is defined twice\n"
                   "    %1: f32 [2] = input\n"
                   "    ^~\n");
    expect_refusal("%1: f32 [2] = expp\n", "t:1:15: error: no op is called `expp`\n"
                                           "    %1: f32 [2] = expp\n"
                                           "                  ^~~~\n");
    expect_refusal("%1: f32 [2] = state w\n", "t:1:21: error: no state row is called `w`\n"
                                              "    %1: f32 [2] = state w\n"
                                              "                        ^\n");
    expect_refusal("state w parameter f32 [3] one\n%1: f32 [2] = state w\n",
                   "t:2:21: error: this row is f32 [3]\n"
                   "    %1: f32 [2] = state w\n"
                   "                        ^\n");
    expect_refusal("%1: f32 [2] = input\n%2: f32 [2], %3: f32 [2] = exp %1\n",
                   "t:2:1: error: `exp` has 1 results here, not 2\n"
                   "    %2: f32 [2], %3: f32 [2] = exp %1\n"
                   "    ^~\n");
    expect_refusal("%1: f32 [] = const\n", "t:1:19: error: `const` needs the attribute `value`\n"
                                           "    %1: f32 [] = const\n"
                                           "                      ^\n");
    expect_refusal("%1: f32 [] = const {valeu=1}\n",
                   "t:1:21: error: `const` has no attribute `valeu`\n"
                   "    %1: f32 [] = const {valeu=1}\n"
                   "                        ^~~~~~\n");
    expect_refusal("%1: f32 [] = const {value=1, value=2}\n",
                   "t:1:30: error: `value` is given twice\n"
                   "    %1: f32 [] = const {value=1, value=2}\n"
                   "                                 ^~~~~~\n");
    expect_refusal("%1: f32 [] = const {value=1} stream 9\n",
                   "t:1:37: error: a number such as 0x1f is missing here\n"
                   "    %1: f32 [] = const {value=1} stream 9\n"
                   "                                        ^\n");
    expect_refusal("%1: f32 [2] = input\n%2: f32 [2] = gelu %1 {form=exact}\n",
                   "t:2:29: error: form is never `exact`\n"
                   "    %2: f32 [2] = gelu %1 {form=exact}\n"
                   "                                ^~~~~\n");
    expect_refusal("%9999999: f32 [2] = input\n",
                   "t:1:2: error: this number must be from 1 to 1000000\n"
                   "    %9999999: f32 [2] = input\n"
                   "     ^~~~~~~\n");
}

/* What the rule of an op says is reported at the line. */
Test(text, refuses_what_the_op_refuses)
{
    expect_refusal("%1: bool [2] = input\n%2: bool [2] = exp %1\n",
                   "t:2:1: error: `exp`: input `x` must be f32 or f64, not bool [2]\n"
                   "    %2: bool [2] = exp %1\n"
                   "    ^~\n");
}
