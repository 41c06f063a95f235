/* What elaboration says about each mistake in a program: the place, the calls that led there, and
 * what to write instead. */
#include "tests/graph/fixture.h"

TestSuite(elaborate_errors, .init = open_folder, .fini = close_folder);

#define HEAD                                                                                       \
    "sedge: 1\n"                                                                                   \
    "params: {vocab: 5, length: 3, dim: 4, layers: 2}\n"                                           \
    "process: {rate: absorb, noise: loglinear}\n"

#define BLOCK                                                                                      \
    "blocks:\n"                                                                                    \
    "  b:\n"                                                                                       \
    "    in: {x: [f32, rows, n]}\n"                                                                \
    "    nodes:\n"                                                                                 \
    "      y: {linear: x, out: n}\n"                                                               \
    "    out: y\n"

static void refuse(const char *text, const char *message)
{
    cr_assert_null(try_program(text), "%s", text);
    expect(message);
    cr_assert_eq(diags_exit_code(diags), 2);
}

/* A program that returns `y`: its inputs, and lines for its nodes from line 8 on. */
static void refuse_nodes(const char *in, const char *nodes, const char *message)
{
    refuse(arena_printf(arena,
                        HEAD "programs:\n  p:\n    in: {%s}\n    nodes:\n%s    out: {y: y}\n", in,
                        nodes),
           message);
}

/* One node, of an input x: [f32, batch, dim]. */
static void refuse_node(const char *node, const char *message)
{
    refuse_nodes("x: [f32, batch, dim]", arena_printf(arena, "      %s\n", node), message);
}

/* The same behind the section `blocks`. */
static void refuse_call(const char *blocks, const char *node, const char *message)
{
    refuse(arena_printf(arena,
                        HEAD "%sprograms:\n  p:\n    in: {x: [f32, batch, dim]}\n    nodes:\n"
                             "      %s\n    out: {y: y}\n",
                        blocks, node),
           message);
}

Test(elaborate_errors, program_needs)
{
    refuse(HEAD "programs: {q: {nodes: {}, out: {}}}\n", "sedge: error: m.yaml has no program `p`\n"
                                                         "    there are: q\n");
    refuse(HEAD "programs: {p: {out: {}}}\n", "m.yaml:4:12: error: program `p` has no `nodes:`\n"
                                              "    programs: {p: {out: {}}}\n"
                                              "               ^\n");
    refuse(HEAD "programs: {p: {nodes: {}}}\n",
           "m.yaml:4:12: error: program `p` has neither `out:` nor `minimize:`\n"
           "    programs: {p: {nodes: {}}}\n"
           "               ^\n");
    refuse(HEAD "programs: {p: {nodes: {}, out: [], loss: x}}\n",
           "m.yaml:4:36: error: a program has no key `loss`\n"
           "    programs: {p: {nodes: {}, out: [], loss: x}}\n"
           "                                       ^~~~\n");
    refuse(HEAD "programs: {p: {nodes: {}, out: []}}\n",
           "m.yaml:4:32: error: out must be a mapping `{key: value}`, not a list `[…]`\n"
           "    programs: {p: {nodes: {}, out: []}}\n"
           "                                   ^\n");
    refuse(HEAD "programs: {p: {nodes: {}, out: {y: z}}}\n",
           "m.yaml:4:36: error: no value is called `z`\n"
           "    programs: {p: {nodes: {}, out: {y: z}}}\n"
           "                                       ^\n");
    refuse(HEAD "programs: {p: {nodes: {}, minimize: z}}\n",
           "m.yaml:4:37: error: no value is called `z`\n"
           "    programs: {p: {nodes: {}, minimize: z}}\n"
           "                                        ^\n");
    refuse(HEAD "programs: {p: {in: {x: [f32, batch]}, nodes: {}, minimize: x}}\n",
           "m.yaml:4:60: error: what is minimised must be one number, not f32 [batch]\n"
           "    programs: {p: {in: {x: [f32, batch]}, nodes: {}, minimize: x}}\n"
           "                                                               ^\n");
    refuse(HEAD "programs: {p: {nodes: {}, weights: best, out: {}}}\n",
           "m.yaml:4:36: error: `weights` is raw or ema\n"
           "    programs: {p: {nodes: {}, weights: best, out: {}}}\n"
           "                                       ^~~~\n");
    refuse(HEAD "programs: {p: {with: {drop: 0}, nodes: {}, out: {}}}\n",
           "m.yaml:4:23: error: the model has no param `drop`\n"
           "    programs: {p: {with: {drop: 0}, nodes: {}, out: {}}}\n"
           "                          ^~~~\n");
}

Test(elaborate_errors, names_that_do_not_exist)
{
    refuse_node("y: {liner: x, out: dim}", "m.yaml:8:11: error: no op or block is called `liner`\n"
                                           "    y: {liner: x, out: dim}\n"
                                           "        ^~~~~\n"
                                           "    did you mean `linear`?\n");
    refuse_node("y: {frobnicate: x}", "m.yaml:8:11: error: no op or block is called `frobnicate`\n"
                                      "    y: {frobnicate: x}\n"
                                      "        ^~~~~~~~~~\n"
                                      "    sedge ops lists the ops\n");
    refuse_nodes("x: [f32, batch, dim]",
                 "      hidden: {gelu: x}\n"
                 "      y: {gelu: hiden}\n",
                 "m.yaml:9:17: error: no value or param is called `hiden` here\n"
                 "    y: {gelu: hiden}\n"
                 "              ^~~~~\n"
                 "    did you mean `hidden`?\n");
    refuse_node("y: {gelu: q}", "m.yaml:8:17: error: no value or param is called `q` here\n"
                                "    y: {gelu: q}\n"
                                "              ^\n"
                                "    a name is defined before it is used\n");
    refuse_node("y: {linear: x, out: dimm}", "m.yaml:8:27: error: no number is called `dimm` here\n"
                                             "    y: {linear: x, out: dimm}\n"
                                             "                        ^~~~\n"
                                             "    did you mean `dim`?\n");
    refuse_node("y: {gelu: x, from: tanh}", "m.yaml:8:20: error: `gelu` has no attribute `from`\n"
                                            "    y: {gelu: x, from: tanh}\n"
                                            "                 ^~~~\n"
                                            "    did you mean `form`?\n");
    refuse_node("y: {gelu: x, nothing: 1}",
                "m.yaml:8:20: error: `gelu` has no attribute `nothing`\n"
                "    y: {gelu: x, nothing: 1}\n"
                "                 ^~~~~~~\n"
                "    sedge explain gelu lists what it takes\n");
    refuse_node("y: {gelu: x, form: tan}",
                "m.yaml:8:26: error: `form` is one of `tanh`, `erf`, not `tan`\n"
                "    y: {gelu: x, form: tan}\n"
                "                       ^~~\n");
    refuse_node("y: {gelu: x, form: dim}",
                "m.yaml:8:26: error: `dim` is the place of one of `tanh`, `erf`: 0 to 1, not 4\n"
                "    y: {gelu: x, form: dim}\n"
                "                       ^~~\n");
}

Test(elaborate_errors, nodes_are_calls)
{
    refuse_node("y: x", "m.yaml:8:10: error: `y` must be a call: {op: inputs, attribute: value}\n"
                        "    y: x\n"
                        "       ^\n");
    refuse_node("y: [x]", "m.yaml:8:10: error: `y` must be a call: {op: inputs, attribute: value}\n"
                          "    y: [x]\n"
                          "       ^\n");
    refuse_node("y: {}",
                "m.yaml:8:10: error: a call is expected here: {op: inputs, attribute: value}\n"
                "    y: {}\n"
                "       ^\n");
    refuse_node("2y: {gelu: x}",
                "m.yaml:8:7: error: `2y` is no name: letters, digits and _, several with commas\n"
                "    2y: {gelu: x}\n"
                "    ^~\n"
                "m.yaml:9:14: error: no value is called `y`\n"
                "    out: {y: y}\n"
                "             ^\n");
    refuse_node("a b: {gelu: x}",
                "m.yaml:8:7: error: `a b` is no name: letters, digits and _, several with commas\n"
                "    a b: {gelu: x}\n"
                "    ^~~\n"
                "m.yaml:9:14: error: no value is called `y`\n"
                "    out: {y: y}\n"
                "             ^\n");
    refuse(HEAD "programs:\n"
                "  p:\n"
                "    in: {x: [f32, batch, dim]}\n"
                "    nodes:\n"
                "      x: {gelu: x}\n"
                "    out: {y: x}\n",
           "m.yaml:8:7: error: `x` is defined twice\n"
           "    x: {gelu: x}\n"
           "    ^\n");
}

Test(elaborate_errors, inputs_of_ops)
{
    refuse_node("y: {mul: x}",
                "m.yaml:8:16: error: `mul` needs the input `b`: f32 or f64, broadcast with a\n"
                "    y: {mul: x}\n"
                "             ^\n");
    refuse_node("y: {gelu: [x, x]}", "m.yaml:8:21: error: `gelu` takes 1 input, not 2\n"
                                     "    y: {gelu: [x, x]}\n"
                                     "                  ^\n");
    refuse_node("y: {gelu: [[x]]}",
                "m.yaml:8:18: error: a single input is expected here, not a list\n"
                "    y: {gelu: [[x]]}\n"
                "               ^\n");
    refuse_node("y: {gelu: true}", "m.yaml:8:17: error: `x` must be a number\n"
                                   "    y: {gelu: true}\n"
                                   "              ^~~~\n");
    refuse_node("y: {gather: [x, 1.5]}", "m.yaml:8:23: error: `index` must be a whole number\n"
                                         "    y: {gather: [x, 1.5]}\n"
                                         "                    ^~~\n");
    refuse_node("y: {where: [1, x, x]}", "m.yaml:8:19: error: `flag` must be true or false\n"
                                         "    y: {where: [1, x, x]}\n"
                                         "                ^\n");
    refuse_node("y: {gradient: x}", "m.yaml:8:11: error: `gradient` needs `of:`\n"
                                    "    y: {gradient: x}\n"
                                    "        ^~~~~~~~\n");
    refuse_node("y: {embedding: 3, out: 2}",
                "m.yaml:8:11: error: `embedding`: ids must be token, i32 or f32, not f64 []\n"
                "    y: {embedding: 3, out: 2}\n"
                "        ^~~~~~~~~\n");
}

Test(elaborate_errors, attributes_of_ops)
{
    refuse_node("y: {linear: x}",
                "m.yaml:8:11: error: `linear` needs `out:`, size of the last axis of the result\n"
                "    y: {linear: x}\n"
                "        ^~~~~~\n");
    refuse_node("y: {linear: x, out: true}", "m.yaml:8:27: error: `out` must be a number\n"
                                             "    y: {linear: x, out: true}\n"
                                             "                        ^~~~\n");
    refuse_node("y: {linear: x, out: 2.5}", "m.yaml:8:27: error: `out` must be a whole number\n"
                                            "    y: {linear: x, out: 2.5}\n"
                                            "                        ^~~\n");
    refuse_node("y: {linear: x, out: dim, bias: 1}", "m.yaml:8:38: error: `bias` is true or false\n"
                                                     "    y: {linear: x, out: dim, bias: 1}\n"
                                                     "                                   ^\n");
    refuse_node("y: {linear: x, out: [1]}",
                "m.yaml:8:27: error: out must be a single value, not a list `[…]`\n"
                "    y: {linear: x, out: [1]}\n"
                "                        ^\n");
    refuse_node(
        "y: {random_uniform: x}",
        "m.yaml:8:27: error: random_uniform must be a mapping `{key: value}`, not a single value\n"
        "    y: {random_uniform: x}\n"
        "                        ^\n");
    refuse_node("y: {random_uniform: {shape: [dim, batch]}}",
                "m.yaml:8:41: error: only the first axis may be short\n"
                "    y: {random_uniform: {shape: [dim, batch]}}\n"
                "                                      ^~~~~\n");
    refuse_node("y: {random_uniform: {shape: dim}}",
                "m.yaml:8:35: error: a shape must be a list `[…]`, not a single value\n"
                "    y: {random_uniform: {shape: dim}}\n"
                "                                ^~~\n");
    refuse_node("y: {random_uniform: {shape: [1, 1, 1, 1, 1, 1, 1]}}",
                "m.yaml:8:35: error: a shape has at most 6 axes\n"
                "    y: {random_uniform: {shape: [1, 1, 1, 1, 1, 1, 1]}}\n"
                "                                ^\n");
}

Test(elaborate_errors, results)
{
    refuse_nodes("x: [f32, batch, dim]",
                 "      a, b, c: {split: x, parts: 2}\n"
                 "      y: {gelu: a}\n",
                 "m.yaml:8:7: error: 3 names for 2 results\n"
                 "    a, b, c: {split: x, parts: 2}\n"
                 "    ^~~~~~~\n");
    refuse_nodes("t: [f64, batch]", "      y: {noise: t, want: rate}\n",
                 "m.yaml:8:27: error: `noise` has no result `rate`\n"
                 "    y: {noise: t, want: rate}\n"
                 "                        ^~~~\n"
                 "    there are: sigma, dsigma\n");
    refuse_node("y, z: {gelu: x}", "m.yaml:8:7: error: 2 names for 1 result\n"
                                   "    y, z: {gelu: x}\n"
                                   "    ^~~~\n");
}

Test(elaborate_errors, types_of_inputs)
{
    refuse_nodes("x: f32", "      y: {gelu: x}\n",
                 "m.yaml:6:13: error: x must be a list `[…]`, not a single value\n"
                 "    in: {x: f32}\n"
                 "            ^~~\n"
                 "    a type is written [f32, batch, 8]; [f32] is a single number\n");
    refuse_nodes("x: []", "      y: {gelu: x}\n",
                 "m.yaml:6:13: error: a type starts with f32, f64, i32, bool or token\n"
                 "    in: {x: []}\n"
                 "            ^\n");
    refuse_nodes("x: [f16, batch]", "      y: {gelu: x}\n",
                 "m.yaml:6:14: error: a type starts with f32, f64, i32, bool or token\n"
                 "    in: {x: [f16, batch]}\n"
                 "             ^~~\n");
    refuse_nodes("x: [bf16, batch]", "      y: {gelu: x}\n",
                 "m.yaml:6:14: error: bf16 is reserved and cannot be used yet: write f32\n"
                 "    in: {x: [bf16, batch]}\n"
                 "             ^~~~\n");
    refuse_nodes("x: [f32, dim, batch]", "      y: {gelu: x}\n",
                 "m.yaml:6:24: error: `batch` is no param, and only the first axis may be a "
                 "dimension that the run binds\n"
                 "    in: {x: [f32, dim, batch]}\n"
                 "                       ^~~~~\n");
    refuse_nodes("x: [f32, 0]", "      y: {gelu: x}\n",
                 "m.yaml:6:19: error: a size must be a whole number from 1 to 2147483647, not 0\n"
                 "    in: {x: [f32, 0]}\n"
                 "                  ^\n");
    refuse_nodes("x: [f32, dim / 3]", "      y: {gelu: x}\n",
                 "m.yaml:6:19: error: 4 does not divide by 3\n"
                 "    in: {x: [f32, dim / 3]}\n"
                 "                  ^~~~~~~\n"
                 "    write one of them with a point (3.0) for a real number\n");
    refuse_nodes("x: [f32, 1, 1, 1, 1, 1, 1, 1]", "      y: {gelu: x}\n",
                 "m.yaml:6:13: error: a type has at most 6 axes\n"
                 "    in: {x: [f32, 1, 1, 1, 1, 1, 1, 1]}\n"
                 "            ^\n");
    refuse_nodes("x: {default: 1}", "      y: {gelu: x}\n",
                 "m.yaml:6:10: error: input `x` has no `type:`\n"
                 "    in: {x: {default: 1}}\n"
                 "         ^\n");
    refuse_nodes("x: {type: [f32, batch], default: true}", "      y: {gelu: x}\n",
                 "m.yaml:6:43: error: the default of f32 is a number\n"
                 "    in: {x: {type: [f32, batch], default: true}}\n"
                 "                                          ^~~~\n");
    refuse_nodes("x: {type: [bool, batch], default: 0}", "      y: {not: x}\n",
                 "m.yaml:6:44: error: the default of bool is true or false\n"
                 "    in: {x: {type: [bool, batch], default: 0}}\n"
                 "                                           ^\n");
    refuse_nodes("x: {type: [i32, batch], default: 0.5}", "      y: {cast: x, to: f32}\n",
                 "m.yaml:6:43: error: the default of i32 is a whole number\n"
                 "    in: {x: {type: [i32, batch], default: 0.5}}\n"
                 "                                          ^~~\n");
    refuse("sedge: 1\n"
           "params: {dim: 2}\n"
           "programs: {p: {in: {x: [token, batch]}, nodes: {}, out: {y: x}}}\n",
           "m.yaml:3:25: error: `token` needs a `process:` in the model\n"
           "    programs: {p: {in: {x: [token, batch]}, nodes: {}, out: {y: x}}}\n"
           "                            ^~~~~\n");
}

Test(elaborate_errors, rules_of_ops)
{
    refuse_nodes("f: [bool, batch]", "      y: {exp: f}\n",
                 "m.yaml:8:11: error: `exp`: input `x` must be f32 or f64, not bool [batch]\n"
                 "    y: {exp: f}\n"
                 "        ^~~\n");
    refuse_nodes("x: [f32, 3], z: [f32, 4]", "      y: {add: [x, z]}\n",
                 "m.yaml:8:11: error: `add`: f32 [3] and f32 [4] do not broadcast: aligned from "
                 "the last axis, sizes must be equal or 1 (`expand` inserts an axis of size 1)\n"
                 "    y: {add: [x, z]}\n"
                 "        ^~~\n");
}

Test(elaborate_errors, blocks)
{
    refuse_call("blocks:\n"
                "  b:\n"
                "    in: {x: [f32, rows, n]}\n"
                "    nodes:\n"
                "      y: {linear: x, out: n}\n"
                "    out: z\n",
                "y: {b: x}",
                "m.yaml:9:10: error: block `b` defines no `z`\n"
                "    out: z\n"
                "         ^\n"
                "m.yaml:14:11: called from here\n");
    refuse_call(BLOCK, "y: {b: [x, x]}",
                "m.yaml:14:14: error: block `b` takes 1 input, not 2\n"
                "    y: {b: [x, x]}\n"
                "           ^\n");
    refuse_call(BLOCK, "y: {b: []}",
                "m.yaml:14:11: error: block `b` needs the input `x`\n"
                "    y: {b: []}\n"
                "        ^\n");
    refuse_call(BLOCK, "y: {b: [x], x: x}",
                "m.yaml:14:22: error: the input `x` is given twice\n"
                "    y: {b: [x], x: x}\n"
                "                   ^\n");
    refuse_call(BLOCK, "y: {b: x, outt: 2}",
                "m.yaml:14:17: error: a call to `b` has no key `outt`\n"
                "    y: {b: x, outt: 2}\n"
                "              ^~~~\n");
    refuse(HEAD "blocks:\n"
                "  b:\n"
                "    in: {x: [f32, rows, n]}\n"
                "    nodes:\n"
                "      y: {linear: x, out: n}\n"
                "    out: y\n"
                "programs:\n"
                "  p:\n"
                "    in: {x: [f64, batch, dim]}\n"
                "    nodes:\n"
                "      y: {b: x}\n"
                "    out: {y: y}\n",
           "m.yaml:6:13: error: `x` is declared [f32, rows, n] but gets f64 [batch, 4]\n"
           "    in: {x: [f32, rows, n]}\n"
           "            ^\n"
           "m.yaml:14:11: called from here\n");
    refuse_call("blocks:\n"
                "  b:\n"
                "    in: {x: [f32, rows, n]}\n"
                "    nodes:\n"
                "      y: {linear: x, out: n}\n",
                "y: {b: x}",
                "m.yaml:5:3: error: block `b` has no `out:`\n"
                "    b:\n"
                "    ^\n");
    refuse_call("blocks:\n"
                "  b:\n"
                "    inn: {x: [f32, rows, n]}\n"
                "    nodes:\n"
                "      y: {linear: x, out: n}\n"
                "    out: y\n",
                "y: {b: x}",
                "m.yaml:6:5: error: a block has no key `inn`\n"
                "    inn: {x: [f32, rows, n]}\n"
                "    ^~~\n"
                "    did you mean `in`?\n");
    refuse_call("blocks:\n"
                "  b:\n"
                "    in: {x: [f32, rows, n]}\n"
                "    nodes:\n"
                "      y: {b: x}\n"
                "    out: y\n",
                "y: {b: x}",
                "m.yaml:8:11: error: block `b` calls itself\n"
                "    y: {b: x}\n"
                "        ^\n"
                "m.yaml:14:11: called from here\n");
    refuse_call("blocks:\n"
                "  b:\n"
                "    in: {x: [f32, rows, dim + 1]}\n"
                "    nodes:\n"
                "      y: {linear: x, out: n}\n"
                "    out: y\n",
                "y: {b: x}",
                "m.yaml:6:13: error: `x` is declared [f32, rows, dim + 1], here f32 [batch, 5], "
                "but gets f32 [batch, 4]\n"
                "    in: {x: [f32, rows, dim + 1]}\n"
                "            ^\n"
                "m.yaml:14:11: called from here\n");
    refuse_call(BLOCK, "y: {b: x, as: [a]}",
                "m.yaml:14:21: error: as must be a single value, not a list `[…]`\n"
                "    y: {b: x, as: [a]}\n"
                "                  ^\n");
}

Test(elaborate_errors, errors_in_blocks_name_the_calls)
{
    refuse_call("blocks:\n"
                "  b:\n"
                "    in: {x: [f32, rows, n]}\n"
                "    nodes:\n"
                "      y: {linear: x, out: m}\n"
                "    out: y\n"
                "  c:\n"
                "    in: {x: [f32, rows, n]}\n"
                "    nodes:\n"
                "      y: {b: x, as: inner}\n"
                "    out: y\n",
                "y: {c: x}",
                "m.yaml:8:27: error: no number is called `m` here\n"
                "    y: {linear: x, out: m}\n"
                "                        ^\n"
                "m.yaml:13:11: called from here\n"
                "m.yaml:19:11: called from here\n");
}

Test(elaborate_errors, repeat)
{
    refuse_call(BLOCK, "y: {repeat: c, times: 2, carry: {x: x}}",
                "m.yaml:14:19: error: no block is called `c`\n"
                "    y: {repeat: c, times: 2, carry: {x: x}}\n"
                "                ^\n");
    refuse_call(BLOCK, "y: {repeat: b, carry: {x: x}}",
                "m.yaml:14:11: error: `repeat` needs `times:`\n"
                "    y: {repeat: b, carry: {x: x}}\n"
                "        ^~~~~~\n");
    refuse_call(BLOCK, "y: {repeat: b, times: 0, carry: {x: x}}",
                "m.yaml:14:29: error: `times` is a whole number from 1 to 10000\n"
                "    y: {repeat: b, times: 0, carry: {x: x}}\n"
                "                          ^\n");
    refuse_call(BLOCK, "y: {repeat: b, times: 2}",
                "m.yaml:14:11: error: `repeat` needs `carry: {input: start}`\n"
                "    y: {repeat: b, times: 2}\n"
                "        ^~~~~~\n");
    refuse_call(BLOCK, "y: {repeat: b, times: 2, carry: {z: x}}",
                "m.yaml:14:40: error: block `b` has no input `z`\n"
                "    y: {repeat: b, times: 2, carry: {z: x}}\n"
                "                                     ^\n");
    refuse_call(BLOCK, "y: {repeat: b, times: 2, carry: {x: x}, with: {c: x}}",
                "m.yaml:14:54: error: block `b` has no input `c`\n"
                "    y: {repeat: b, times: 2, carry: {x: x}, with: {c: x}}\n"
                "                                                   ^\n");
    refuse_call(BLOCK, "y: {repeat: b, times: 2, carry: {x: 1}}",
                "m.yaml:14:43: error: a carry starts from a value\n"
                "    y: {repeat: b, times: 2, carry: {x: 1}}\n"
                "                                        ^\n");
    refuse_call(BLOCK, "y: {repeat: b, times: 2, carry: {x: x}, tims: 2}",
                "m.yaml:14:47: error: repeat has no key `tims`\n"
                "    y: {repeat: b, times: 2, carry: {x: x}, tims: 2}\n"
                "                                            ^~~~\n"
                "    did you mean `times`?\n");
    refuse_call(
        BLOCK, "y: {repeat: b, times: 2, carry: {x: x}}",
        "m.yaml:8:11: error: parameter `weight` has two owners\n"
        "    y: {linear: x, out: n}\n"
        "        ^~~~~~\n"
        "    give one a name of its own with `as:`, or say `tie: true` to share the weights\n"
        "m.yaml:14:11: called from here\n"
        "m.yaml:8:11: the other one\n");
}

Test(elaborate_errors, parameters_have_one_owner)
{
    refuse_nodes(
        "x: [f32, batch, dim]",
        "      a: {linear: x, out: dim, as: w}\n"
        "      y: {linear: a, out: dim, as: w}\n",
        "m.yaml:9:11: error: parameter `w.weight` has two owners\n"
        "    y: {linear: a, out: dim, as: w}\n"
        "        ^~~~~~\n"
        "    give one a name of its own with `as:`, or say `tie: true` to share the weights\n"
        "m.yaml:8:11: the other one\n");
    refuse_nodes(
        "x: [f32, batch, dim]",
        "      a: {linear: x, out: 3, as: w, tie: true}\n"
        "      y: {linear: x, out: dim, as: w, tie: true}\n",
        "m.yaml:9:11: error: parameter `w.weight` is f32 [4, 4] here and f32 [3, 4] elsewhere\n"
        "    y: {linear: x, out: dim, as: w, tie: true}\n"
        "        ^~~~~~\n"
        "    one name is one parameter: give one of them another name with `as:`\n"
        "m.yaml:8:11: first used here\n");
    refuse_node("y: {linear: x, out: dim, as: w, tie: maybe}",
                "m.yaml:8:44: error: `tie` is true or false\n"
                "    y: {linear: x, out: dim, as: w, tie: maybe}\n"
                "                                         ^~~~~\n");
    refuse_nodes("x: [f32, batch, dim]",
                 "      a: {linear: x, out: dim, as: w}\n"
                 "      y: {linear: a, out: dim, as: w, init: zeros, tie: true}\n",
                 "m.yaml:9:11: error: parameter `w.weight` is initialised in two ways\n"
                 "    y: {linear: a, out: dim, as: w, init: zeros, tie: true}\n"
                 "        ^~~~~~\n"
                 "m.yaml:8:11: first used here\n");
}

Test(elaborate_errors, processes)
{
    refuse("sedge: 1\n"
           "params: {dim: 2}\n"
           "programs:\n"
           "  p:\n"
           "    in: {t: [f64, batch]}\n"
           "    nodes:\n"
           "      y: {noise: t}\n"
           "    out: {y: y}\n",
           "m.yaml:7:11: error: `noise` needs a `process:` in the model\n"
           "    y: {noise: t}\n"
           "        ^~~~~\n");
    refuse_nodes("t: [f64, batch]", "      y: {noise: t, process: other}\n",
                 "m.yaml:8:30: error: no process is called `other`\n"
                 "    y: {noise: t, process: other}\n"
                 "                           ^~~~~\n");
}

Test(elaborate_errors, every_error_is_reported_once)
{
    refuse_nodes("x: [f32, batch, dim]",
                 "      a: {liner: x}\n"
                 "      b: {gelu: a}\n"
                 "      c: {gelu: [b, a]}\n"
                 "      d: {gelu: nope}\n"
                 "      y: {add: [c, d]}\n",
                 "m.yaml:8:11: error: no op or block is called `liner`\n"
                 "    a: {liner: x}\n"
                 "        ^~~~~\n"
                 "    did you mean `linear`?\n"
                 "m.yaml:11:17: error: no value or param is called `nope` here\n"
                 "    d: {gelu: nope}\n"
                 "              ^~~~\n"
                 "    a name is defined before it is used\n");
}
