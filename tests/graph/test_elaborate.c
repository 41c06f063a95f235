/* Elaboration: names, blocks, repeats, parameters, types, binding and wanting. */
#include "tests/graph/fixture.h"

#include "graph/base/random.h"

TestSuite(elaborate, .init = open_folder, .fini = close_folder);

#define HEAD                                                                                       \
    "sedge: 1\n"                                                                                   \
    "params: {vocab: 5, length: 3, dim: 4, layers: 2}\n"                                           \
    "process: {rate: absorb, noise: loglinear}\n"

/* The program `p`, from its `in`, nodes and `out`. */
#define PROGRAM(in, nodes, out)                                                                    \
    HEAD "programs:\n  p:\n    in: {" in "}\n    nodes:\n" nodes "    out: {" out "}\n"

static struct graph *with_request(const char *text, struct elaborate_request request)
{
    struct model *m = read_model(text);
    request.program = "p";
    return elaborate(m, &request);
}

static const struct node *node_of(const struct graph *g, const char *name)
{
    uint32_t v = graph_find(g, name);
    cr_assert_neq(v, VALUE_NONE, "%s", name);
    return &g->nodes[g->values[v].node];
}

/* --- nodes -------------------------------------------------------------------------------- */

Test(elaborate, nodes_become_a_graph)
{
    struct graph *g = read_program(PROGRAM("x: [f32, batch, dim]",
                                           "      h: {linear: x, out: 2 * dim, as: up}\n"
                                           "      a, b: {split: {gelu: h}, parts: 2}\n"
                                           "      y: {add: [{mul: [a, 0.5]}, b]}\n",
                                           "y: y, half: a"));
    cr_assert_str_eq(print_bare(g),
                     "graph p\n"
                     "process main absorb 5 -log1p(-0.999 * t)\n"
                     "axis batch 8\n"
                     "state up.weight parameter f32 [8, 4] uniform 0.5\n"
                     "state up.bias parameter f32 [8] uniform 0.5\n"
                     "%1 \"x\": f32 [batch, 4] = input\n"
                     "%2: f32 [8, 4] = state up.weight\n"
                     "%3: f32 [8] = state up.bias\n"
                     "%4 \"h\": f32 [batch, 8] = linear %1, %2, %3 {out=8}\n"
                     "%5: f32 [batch, 8] = gelu %4\n"
                     "%6 \"a\": f32 [batch, 4], %7 \"b\": f32 [batch, 4] = split %5 {parts=2}\n"
                     "%8: f32 [] = const {value=0.5}\n"
                     "%9: f32 [batch, 4] = mul %6, %8\n"
                     "%10 \"y\": f32 [batch, 4] = add %9, %7\n"
                     "input x %1\n"
                     "output y %10\n"
                     "output half %6\n");
    expect_round_trip(g);
    const struct origin *o = node_of(g, "y")->origin;
    cr_assert_str_eq(diags_file_name(diags, o->span.file), "m.yaml");
    cr_assert_eq(o->span.line, 10);
    cr_assert_eq(o->span.column, 11);
    cr_assert_null(o->caller);
    cr_assert_str_eq(o->path, "");
}

/* A number takes the type that the op asks for, else that of its neighbours, else f64. */
Test(elaborate, numbers_take_the_type_of_their_place)
{
    struct graph *g = read_program(PROGRAM("x: [f32, batch], t: [f64, batch], i: [i32, batch], "
                                           "z: [token, batch], c: [bool, batch]",
                                           "      a: {add: [x, 2]}\n"
                                           "      b: {add: [2, t]}\n"
                                           "      d: {where: [c, x, 0]}\n"
                                           "      e: {equal: [i, 3]}\n"
                                           "      f: {equal: [z, 3]}\n"
                                           "      g: {equal: [c, true]}\n"
                                           "      h: {add: [1, 2]}\n"
                                           "      j: {mul: [t, dim / 8.0]}\n",
                                           "y: a"));
    static const struct {
        const char *name;
        uint32_t input;
        enum dtype dtype;
        double value;
    } expected[] = {{"a", 1, DT_F32, 2}, {"b", 0, DT_F64, 2},  {"d", 2, DT_F32, 0},
                    {"e", 1, DT_I32, 3}, {"f", 1, DT_I32, 3},  {"g", 1, DT_BOOL, 1},
                    {"h", 0, DT_F64, 1}, {"j", 1, DT_F64, 0.5}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        uint32_t in = node_of(g, expected[i].name)->in[expected[i].input];
        cr_assert_eq(graph_type(g, in)->dtype, expected[i].dtype, "%s", expected[i].name);
        cr_assert_eq(g->nodes[g->values[in].node].attr[0].real, expected[i].value, "%s",
                     expected[i].name);
    }
}

Test(elaborate, macros_become_ordinary_nodes)
{
    struct graph *g = read_program(PROGRAM("t: [f64, batch]",
                                           "      sigma, rate: {noise: t}\n"
                                           "      again: {noise: t, want: dsigma}\n",
                                           "y: sigma"));
    cr_assert_str_eq(node_of(g, "sigma")->op->name, "neg");
    cr_assert_str_eq(node_of(g, "rate")->op->name, "gradient");
    cr_assert_eq(node_of(g, "rate")->in[0], graph_find(g, "sigma"));
    cr_assert_str_eq(node_of(g, "again")->op->name, "gradient");
    cr_assert_null(strstr(graph_print(arena, g), "noise"));
}

/* Draws are told apart by the path of their name; what they are does not depend on the order. */
Test(elaborate, streams_come_from_names)
{
    struct graph *g =
        read_program(HEAD "blocks:\n"
                          "  two:\n"
                          "    in: {a: [f32, rows, n], b: [f32, rows, n]}\n"
                          "    nodes:\n"
                          "      dropout: {dropout: a, p: 0.5}\n"
                          "      y: {add: [dropout, b]}\n"
                          "    out: y\n"
                          "programs:\n"
                          "  p:\n"
                          "    in: {x: [f32, batch, dim]}\n"
                          "    nodes:\n"
                          "      u: {dropout: x, p: 0.5}\n"
                          "      y: {two: [{dropout: u, p: 0.5}, {dropout: x, p: 0.5}]}\n"
                          "      z: {repeat: two, times: 2, carry: {a: {dropout: y, p: 0.5}},"
                          " with: {b: {dropout: y, p: 0.5}}}\n"
                          "    out: {z: z}\n");
    uint32_t streams[16], count = 0;
    for (uint32_t n = 0; n < g->node_count; n++)
        if (g->nodes[n].op->flags & OP_RANDOM)
            streams[count++] = g->nodes[n].stream;
    cr_assert_eq(count, 8);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < i; k++)
            cr_assert_neq(streams[i], streams[k], "draws %u and %u", k, i);
    cr_assert_eq(node_of(g, "u")->stream, random_stream("p.u"));
    cr_assert_eq(node_of(g, "z.1.dropout")->stream, random_stream("p.z.1.dropout"));
}

/* --- inputs ------------------------------------------------------------------------------- */

#define DEFAULTS                                                                                   \
    PROGRAM("x: [f32, batch, dim], w: {type: [f32, batch], default: 1}, "                          \
            "keep: {type: [bool, batch], default: false}, n: {type: [i32], default: dim - 1}",     \
            "      y: {where: [keep, w, {add: [w, 1]}]}\n", "y: y, x: x, n: n")

Test(elaborate, inputs_may_have_defaults)
{
    struct graph *g = read_program(DEFAULTS);
    cr_assert_eq(g->input_count, 1);
    cr_assert_str_eq(node_of(g, "w")->op->name, "const");
    cr_assert_eq(node_of(g, "w")->attr[0].real, 1);
    cr_assert_eq(node_of(g, "n")->attr[0].real, 3);
    cr_assert_eq(graph_type(g, graph_find(g, "keep"))->dtype, DT_BOOL);
    cr_assert_eq(graph_type(g, graph_find(g, "w"))->dim[0].axis, graph_axis_find(g, "batch"));
}

Test(elaborate, given_inputs_have_none)
{
    const char *const bind[] = {"w"};
    struct graph *g =
        with_request(DEFAULTS, (struct elaborate_request){.bind = bind, .bind_count = 1});
    cr_assert_eq(g->input_count, 2);
    cr_assert_str_eq(g->inputs[1].name, "w");
    cr_assert_str_eq(node_of(g, "w")->op->name, "input");
    cr_assert_str_eq(node_of(g, "keep")->op->name, "const");
    g = with_request(DEFAULTS, (struct elaborate_request){.all_inputs = true});
    cr_assert_eq(g->input_count, 4);
    const char **names = program_inputs(read_model(DEFAULTS), "p");
    cr_assert_str_eq(names[0], "x");
    cr_assert_str_eq(names[3], "n");
    cr_assert_null(names[4]);
}

Test(elaborate, dimensions_come_from_the_run)
{
    const char *text = PROGRAM("x: [f32, batch, dim], y: [f32, batch], z: [f32, other], s: [f64]",
                               "      h: {gelu: x}\n", "h: h");
    struct named_size dims[] = {{"batch", 6}, {"bacth", 2}};
    struct graph *g = with_request(text, (struct elaborate_request){.dims = dims, .dim_count = 1});
    uint32_t batch = graph_axis_find(g, "batch"), other = graph_axis_find(g, "other");
    cr_assert_eq(g->axis_count, 3);
    cr_assert_eq(g->axes[batch].size, 6);
    cr_assert_eq(g->axes[other].size, DIM_DEFAULT);
    cr_assert_eq(graph_type(g, graph_find(g, "h"))->dim[0].axis, batch);
    cr_assert_eq(graph_type(g, graph_find(g, "h"))->dim[0].size, 6);
    cr_assert_eq(graph_type(g, graph_find(g, "y"))->dim[0].axis, batch);
    cr_assert_eq(graph_type(g, graph_find(g, "z"))->dim[0].axis, other);
    cr_assert_eq(graph_type(g, graph_find(g, "s"))->rank, 0);
    cr_assert_null(with_request(text, (struct elaborate_request){.dims = dims, .dim_count = 2}));
    expect("sedge: error: there is no param `bacth`, nor such a dimension in program `p`\n"
           "    did you mean `batch`?\n");
    dims[0].size = 0;
    cr_assert_null(with_request(text, (struct elaborate_request){.dims = dims, .dim_count = 1}));
    expect("sedge: error: `batch` must be at least 1\n");
}

/* --- blocks ------------------------------------------------------------------------------- */

#define NETWORK                                                                                    \
    "blocks:\n"                                                                                    \
    "  layer:\n"                                                                                   \
    "    in: {x: [f32, rows, n], c: [f32, rows, m]}\n"                                             \
    "    nodes:\n"                                                                                 \
    "      f: {linear: x, out: n, bias: false, as: mlp.0}\n"                                       \
    "      y: {add: [f, {linear: c, out: n, bias: false, as: cond}]}\n"                            \
    "    out: y\n"                                                                                 \
    "  trunk:\n"                                                                                   \
    "    in: {x: [f32, rows, n], c: [f32, rows, m]}\n"                                             \
    "    nodes:\n"                                                                                 \
    "      h: {repeat: layer, times: layers, carry: {x: x}, with: {c: c}, as: blocks}\n"           \
    "    out: [h, c]\n"                                                                            \
    "programs:\n"                                                                                  \
    "  p:\n"                                                                                       \
    "    in: {x: [f32, batch, dim], c: [f32, batch, 3]}\n"                                         \
    "    nodes:\n"                                                                                 \
    "      a, b: {trunk: [x, {gelu: c}], as: net}\n"                                               \
    "      y: {linear: a, out: 2, bias: false, as: head}\n"                                        \
    "    out: {y: y}\n"

/* Only `as:` names parameters; calls name values. */
Test(elaborate, blocks_and_repeats_are_unrolled)
{
    struct graph *g = read_program(HEAD NETWORK);
    cr_assert_str_eq(print_bare(g),
                     "graph p\n"
                     "process main absorb 5 -log1p(-0.999 * t)\n"
                     "axis batch 8\n"
                     "state net.blocks.0.mlp.0.weight parameter f32 [4, 4] uniform 0.5\n"
                     "state net.blocks.0.cond.weight parameter f32 [4, 3] uniform "
                     "0.5773502691896258\n"
                     "state net.blocks.1.mlp.0.weight parameter f32 [4, 4] uniform 0.5\n"
                     "state net.blocks.1.cond.weight parameter f32 [4, 3] uniform "
                     "0.5773502691896258\n"
                     "state head.weight parameter f32 [2, 4] uniform 0.5\n"
                     "%1 \"x\": f32 [batch, 4] = input\n"
                     "%2 \"c\": f32 [batch, 3] = input\n"
                     "%3 \"b\": f32 [batch, 3] = gelu %2\n"
                     "%4: f32 [4, 4] = state net.blocks.0.mlp.0.weight\n"
                     "%5 \"a.h.0.f\": f32 [batch, 4] = linear %1, %4 {out=4, bias=false}\n"
                     "%6: f32 [4, 3] = state net.blocks.0.cond.weight\n"
                     "%7: f32 [batch, 4] = linear %3, %6 {out=4, bias=false}\n"
                     "%8 \"a.h.0.y\": f32 [batch, 4] = add %5, %7\n"
                     "%9: f32 [4, 4] = state net.blocks.1.mlp.0.weight\n"
                     "%10 \"a.h.1.f\": f32 [batch, 4] = linear %8, %9 {out=4, bias=false}\n"
                     "%11: f32 [4, 3] = state net.blocks.1.cond.weight\n"
                     "%12: f32 [batch, 4] = linear %3, %11 {out=4, bias=false}\n"
                     "%13 \"a.h.1.y\": f32 [batch, 4] = add %10, %12\n"
                     "%14: f32 [2, 4] = state head.weight\n"
                     "%15 \"y\": f32 [batch, 2] = linear %13, %14 {out=2, bias=false}\n"
                     "input x %1\n"
                     "input c %2\n"
                     "output y %15\n");
    /* One value may have several names. */
    cr_assert_eq(graph_find(g, "a"), graph_find(g, "a.h"));
    cr_assert_eq(graph_find(g, "a"), graph_find(g, "a.h.1.y"));
    /* The trail of calls: the line in the block, in the repeat, in the program. */
    const struct origin *o = node_of(g, "a.h.0.f")->origin;
    cr_assert_eq(o->span.line, 8);
    cr_assert_eq(o->caller->span.line, 14);
    cr_assert_eq(o->caller->caller->span.line, 20);
    cr_assert_null(o->caller->caller->caller);
    cr_assert_str_eq(o->path, "a.h.0");
    cr_assert_str_eq(o->caller->path, "a");
}

Test(elaborate, block_inputs_are_given_by_place_or_by_name)
{
    static const char *const calls[] = {"{sub2: [x, z]}", "{sub2: x, b: z}", "{sub2: [x], b: z}",
                                        "{sub2: {neg: {neg: x}}, b: z}"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct graph *g =
            read_program(arena_printf(arena,
                                      HEAD "blocks:\n"
                                           "  sub2:\n"
                                           "    in: {a: [f32, rows], b: [f32, rows]}\n"
                                           "    nodes:\n"
                                           "      y: {sub: [a, b]}\n"
                                           "    out: y\n"
                                           "programs:\n"
                                           "  p:\n"
                                           "    in: {x: [f32, batch], z: [f32, batch]}\n"
                                           "    nodes:\n"
                                           "      y: %s\n"
                                           "    out: {y: y}\n",
                                      calls[i]));
        const struct node *n = node_of(g, "y");
        cr_assert_str_eq(n->op->name, "sub");
        cr_assert_eq(n->in[1], graph_find(g, "z"));
    }
}

/* A number given to a block takes the element type that the block declares. */
Test(elaborate, numbers_given_to_blocks)
{
    struct graph *g =
        read_program(HEAD "blocks:\n"
                          "  scale:\n"
                          "    in: {x: [f32, rows], by: [f32], to: [i32], c: [bool]}\n"
                          "    nodes:\n"
                          "      s: {where: [c, {mul: [x, by]}, x]}\n"
                          "      t: {equal: [to, to]}\n"
                          "    out: s\n"
                          "programs:\n"
                          "  p:\n"
                          "    in: {x: [f32, batch]}\n"
                          "    nodes:\n"
                          "      y: {scale: [x, 2, 3, true]}\n"
                          "      z: {repeat: scale, times: 1, carry: {x: y}, with: "
                          "{by: 0.5, to: dim, c: false}}\n"
                          "    out: {y: z}\n");
    cr_assert(strstr(graph_print(arena, g), ": f32 [] = const {value=0.5}"));
    cr_assert(strstr(graph_print(arena, g), ": i32 [] = const {value=4}"));
    cr_assert(strstr(graph_print(arena, g), ": bool [] = const {value=0}"));
}

/* --- parameters --------------------------------------------------------------------------- */

/* With `tie: true` one row has two owners, and one node reads it. */
Test(elaborate, ties_share_a_row)
{
    struct graph *g =
        read_program(PROGRAM("x: [f32, batch, dim]",
                             "      a: {linear: x, out: dim, bias: false, as: w}\n"
                             "      y: {linear: a, out: dim, bias: false, as: w, tie: true}\n",
                             "y: y"));
    cr_assert_eq(g->states->count, 1);
    cr_assert_eq(node_of(g, "a")->in[1], node_of(g, "y")->in[1]);
}

#define RAW_OR_EMA                                                                                 \
    PROGRAM("x: [f32, batch, dim]", "      y: {linear: x, out: dim, bias: false, as: w}\n",        \
            "y: y")                                                                                \
    "    weights: ema\n"

/* Programs share rows; the average is a row beside its parameter. */
Test(elaborate, weights_are_raw_or_averaged)
{
    struct model *m = read_model(RAW_OR_EMA);
    struct elaborate_request request = {.program = "p", .weights = WEIGHTS_RAW};
    struct graph *raw = elaborate(m, &request);
    cr_assert_eq(m->states.count, 1);
    request.weights = WEIGHTS_DECLARED;
    struct graph *ema = elaborate(m, &request);
    cr_assert_eq(m->states.count, 2);
    cr_assert_str_eq(m->states.rows[1].name, "ema/w.weight");
    cr_assert_eq(m->states.rows[1].class, STATE_EMA);
    cr_assert_eq(m->states.rows[1].init, INIT_COPY);
    cr_assert_eq(m->states.rows[1].owner, 0);
    cr_assert_eq(raw->values[node_of(raw, "y")->in[1]].state, 1);
    cr_assert_eq(ema->values[node_of(ema, "y")->in[1]].state, 2);
    request.weights = WEIGHTS_EMA;
    cr_assert_not_null(elaborate(m, &request));
    cr_assert_eq(m->states.count, 2);
    expect_round_trip(ema);
}

Test(elaborate, one_name_is_one_parameter_in_all_programs)
{
    struct model *m =
        read_model(HEAD "programs:\n"
                        "  p: {in: {x: [f32, batch, 4]}, nodes: {y: {linear: x, out: 2, "
                        "as: w}}, out: {y: y}}\n"
                        "  q: {in: {x: [f32, batch, 4]}, nodes: {y: {linear: x, out: 3, "
                        "as: w}}, out: {y: y}}\n");
    struct elaborate_request request = {.program = "p"};
    cr_assert_not_null(elaborate(m, &request));
    request.program = "q";
    cr_assert_null(elaborate(m, &request));
    expect(
        "m.yaml:6:45: error: parameter `w.weight` is f32 [3, 4] here and f32 [2, 4] elsewhere\n"
        "    q: {in: {x: [f32, batch, 4]}, nodes: {y: {linear: x, out: 3, as: w}}, out: {y: y}}\n"
        "                                              ^~~~~~\n"
        "    one name is one parameter: give one of them another name with `as:`\n"
        "m.yaml:5:45: first used here\n");
}

/* A program changes params for itself. */
Test(elaborate, with_changes_params)
{
    struct graph *g =
        read_program(PROGRAM("x: [f32, batch, 2]", "      y: {linear: x, out: dim, as: w}\n",
                             "y: y") "    with: {dim: layers + 5}\n");
    cr_assert_eq(graph_type(g, graph_find(g, "y"))->dim[1].size, 7);
}

/* --- binding and wanting -------------------------------------------------------------------- */

#define DRAWS                                                                                      \
    PROGRAM("x0: [token, batch, length]",                                                          \
            "      t: {random_uniform: {shape: [batch], low: 0.1}}\n"                              \
            "      sigma, dsigma: {noise: t}\n"                                                    \
            "      x: {perturb: [x0, sigma]}\n"                                                    \
            "      e: {embedding: x, out: dim, as: e}\n"                                           \
            "      n: {nonzero: {equal: [x, 5]}}\n"                                                \
            "      r: {gather: [e, n], axes: 2}\n"                                                 \
            "      y: {sum: r}\n",                                                                 \
            "y: y")

/* What is bound is an input from there on, of the same type; the program's outputs stay. */
Test(elaborate, bound_values_become_inputs)
{
    const char *const bind[] = {"x0", "t", "x"}, *const want[] = {"sigma", "r", "y"};
    struct graph *g = with_request(
        DRAWS,
        (struct elaborate_request){.bind = bind, .bind_count = 3, .want = want, .want_count = 3});
    cr_assert_not_null(g);
    expect_quiet();
    cr_assert(graph_verify(g, diags));
    cr_assert_eq(g->input_count, 3);
    cr_assert_str_eq(g->inputs[1].name, "t");
    cr_assert_eq(g->inputs[1].value, graph_find(g, "t"));
    cr_assert_str_eq(node_of(g, "t")->op->name, "input");
    cr_assert_eq(graph_type(g, graph_find(g, "t"))->dim[0].axis, graph_axis_find(g, "batch"));
    cr_assert_str_eq(node_of(g, "x")->op->name, "input");
    cr_assert_eq(graph_type(g, graph_find(g, "x"))->process, 1);
    cr_assert_eq(node_of(g, "e")->in[0], graph_find(g, "x"));
    cr_assert_eq(g->output_count, 3); /* y was one already */
    cr_assert_str_eq(g->outputs[1].name, "sigma");
    cr_assert_eq(g->outputs[2].value, graph_find(g, "r"));
}

/* The count of rows comes with them. */
Test(elaborate, bound_rows_bring_their_count)
{
    const char *const bind[] = {"n"};
    struct graph *g =
        with_request(DRAWS, (struct elaborate_request){.bind = bind, .bind_count = 1});
    cr_assert_not_null(g);
    uint32_t axis = graph_type(g, graph_find(g, "n"))->dim[0].axis;
    cr_assert_neq(axis, 0);
    cr_assert_eq(g->axes[axis].counter, VALUE_NONE);
    g = with_request(DRAWS, (struct elaborate_request){.program = "p"});
    axis = graph_type(g, graph_find(g, "n"))->dim[0].axis;
    cr_assert_eq(g->axes[axis].counter, graph_find(g, "n"));
}

Test(elaborate, unknown_names_are_not_bound_nor_wanted)
{
    const char *const bind[] = {"tt"}, *const want[] = {"sigm"};
    cr_assert_null(with_request(
        DRAWS,
        (struct elaborate_request){.bind = bind, .bind_count = 1, .want = want, .want_count = 1}));
    expect("sedge: error: program `p` has no value `sigm` to return\n"
           "    did you mean `sigma`?\n"
           "sedge: error: program `p` has no value `tt` to bind\n"
           "    did you mean `t`?\n");
}

Test(elaborate, minimised_values_are_outputs)
{
    struct graph *g = read_program(HEAD "programs:\n"
                                        "  p:\n"
                                        "    in: {x: [f32, batch]}\n"
                                        "    nodes:\n"
                                        "      loss: {mean: x}\n"
                                        "      y: {neg: x}\n"
                                        "    minimize: loss\n"
                                        "    out: {y: y, loss: loss}\n");
    cr_assert_eq(g->minimize, graph_find(g, "loss"));
    cr_assert_eq(g->output_count, 2);
    cr_assert_str_eq(g->outputs[0].name, "loss");
    cr_assert_null(try_program(HEAD "programs:\n"
                                    "  p:\n"
                                    "    in: {x: [f32, batch]}\n"
                                    "    nodes: {loss: {mean: x}}\n"
                                    "    minimize: loss\n"
                                    "    out: {loss: x}\n"));
    expect("m.yaml:9:11: error: `loss` is what the program minimises\n"
           "    out: {loss: x}\n"
           "          ^~~~\n");
}
