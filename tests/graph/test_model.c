/* Model documents: sections, includes, params and their precedence, processes, and what each
 * mistake is told. */
#include "tests/graph/fixture.h"

#include "graph/process.h"

#include <sys/stat.h>

TestSuite(model, .init = open_folder, .fini = close_folder);

static void expect_int(const struct model *m, const char *name, int64_t value, enum layer layer)
{
    const struct param *p = model_param(m, name);
    cr_assert_not_null(p, "%s", name);
    cr_assert_eq(p->value.kind, NUMBER_INT, "%s", name);
    cr_assert_eq(p->value.i, value, "%s: %lld", name, (long long)p->value.i);
    cr_assert_eq(p->layer, layer, "%s: %d", name, (int)p->layer);
}

static struct setting setting(const char *key, const char *value, enum layer layer)
{
    return (struct setting){key, yaml_read_text(diags, arena, "args", value, strlen(value)), layer};
}

/* --- params ------------------------------------------------------------------------------- */

Test(model, params_are_numbers_over_params)
{
    struct model *m = read_model("sedge: 1\n"
                                 "params: {dim: 6, wide: 4 * dim, half: dim / 2, rate: 1.0e-3,\n"
                                 "         flag: true, quoted: \"dim + 1\", power: 2 ^ 10}\n");
    expect_int(m, "wide", 24, LAYER_DEFAULT);
    expect_int(m, "half", 3, LAYER_DEFAULT);
    expect_int(m, "quoted", 7, LAYER_DEFAULT);
    expect_int(m, "power", 1024, LAYER_DEFAULT);
    cr_assert_eq(model_param(m, "rate")->value.kind, NUMBER_REAL);
    cr_assert_eq(model_param(m, "rate")->value.r, 1e-3);
    cr_assert_eq(model_param(m, "flag")->value.kind, NUMBER_BOOL);
    cr_assert_null(model_param(m, "none"));
    cr_assert_eq(m->process_count, 0);
}

/* Default, preset, recipe, data, command line; what is derived follows what was set. */
Test(model, precedence)
{
    write_file("m.yaml", "sedge: 1\n"
                         "params: {a: 1, b: 1, c: 1, d: 1, e: 1, sum: a + b + c + d + e}\n"
                         "presets: {big: {b: 2, c: 2, d: 2, e: 2}}\n");
    struct setting settings[] = {
        setting("e", "5", LAYER_COMMAND), setting("c", "3", LAYER_RECIPE),
        setting("d", "3", LAYER_RECIPE),  setting("d", "4", LAYER_DATA),
        setting("e", "4", LAYER_DATA),
    };
    struct model_request request = {
        .path = "m.yaml", .preset = "big", .settings = settings, .setting_count = 5};
    struct model *m = model_read(arena, diags, &ops_table, &request);
    expect_quiet();
    expect_int(m, "a", 1, LAYER_DEFAULT);
    expect_int(m, "b", 2, LAYER_PRESET);
    expect_int(m, "c", 3, LAYER_RECIPE);
    expect_int(m, "d", 4, LAYER_DATA);
    expect_int(m, "e", 5, LAYER_COMMAND);
    expect_int(m, "sum", 15, LAYER_DEFAULT);
    cr_assert_str_eq(diags_file_name(diags, model_param(m, "b")->span.file), "m.yaml");
    cr_assert_eq(model_param(m, "b")->span.line, 3);
}

Test(model, unknown_presets_and_settings)
{
    write_file("m.yaml", "sedge: 1\nparams: {dim: 1}\npresets: {big: {dmi: 2}}\n");
    struct setting dimm = setting("dimm", "3", LAYER_COMMAND);
    struct model_request request = {
        .path = "m.yaml", .preset = "bag", .settings = &dimm, .setting_count = 1};
    cr_assert_null(model_read(arena, diags, &ops_table, &request));
    expect("sedge: error: no preset is called `bag`\n"
           "    there are: big\n"
           "m.yaml:3:17: error: the preset sets `dmi`, which is no param\n"
           "    presets: {big: {dmi: 2}}\n"
           "                    ^~~\n"
           "    did you mean `dim`?\n"
           "args:1:1: error: the model has no param `dimm`\n"
           "    3\n"
           "    ^\n"
           "    did you mean `dim`?\n");
    request = (struct model_request){.path = "m.yaml", .preset = "big"};
    cr_assert_null(model_read(arena, diags, &ops_table, &request));
    expect("m.yaml:3:17: error: the preset sets `dmi`, which is no param\n"
           "    presets: {big: {dmi: 2}}\n"
           "                    ^~~\n"
           "    did you mean `dim`?\n");
}

/* --- includes ----------------------------------------------------------------------------- */

Test(model, includes_come_first_and_are_overridden)
{
    cr_assert_eq(mkdir("lib", 0700), 0);
    write_file("lib/a.yaml", "sedge: 1\ndoc: A\nparams: {dim: 1, wide: 2 * dim}\n"
                             "presets: {big: {dim: 3}}\nblocks: {b: {}}\n");
    write_file("b.yaml", "sedge: 1\ninclude: [lib/a]\nparams: {dim: 5}\n");
    struct model *m = read_model("sedge: 1\ndoc: M\ninclude: [b.yaml, ./b.yaml, ./lib/a.yaml]\n"
                                 "programs: {p: {}}\n");
    expect_int(m, "dim", 5, LAYER_DEFAULT);
    expect_int(m, "wide", 2, LAYER_DEFAULT); /* a number, worked out where it is written */
    cr_assert_str_eq(m->doc, "M");
    cr_assert_not_null(section_find(&m->presets, "big"));
    cr_assert_not_null(section_find(&m->blocks, "b"));
    cr_assert_not_null(section_find(&m->programs, "p"));
    cr_assert_null(section_find(&m->blocks, "p"));
    cr_assert_str_eq(section_nearest(arena, &m->presets, "bigg"), "big");
}

Test(model, includes_are_found_in_folders)
{
    cr_assert_eq(mkdir("lib", 0700), 0);
    write_file("lib/a.yaml", "sedge: 1\nparams: {dim: 1}\n");
    write_file("m.yaml", "sedge: 1\ninclude: [a]\n");
    const char *const folders[] = {"lib", NULL};
    struct model_request request = {.path = "m.yaml", .folders = folders};
    struct model *m = model_read(arena, diags, &ops_table, &request);
    expect_quiet();
    expect_int(m, "dim", 1, LAYER_DEFAULT);
    cr_assert_str_eq(model_find(arena, "a", NULL, folders), "lib/a.yaml");
    cr_assert_str_eq(model_find(arena, "m", NULL, folders), "m.yaml");
    cr_assert_str_eq(model_find(arena, "a", "lib/b.yaml", NULL), "lib/a.yaml");
    cr_assert_null(model_find(arena, "c", NULL, folders));
}

Test(model, missing_files)
{
    cr_assert_null(try_model("sedge: 1\ninclude: [a, [b]]\n"));
    expect("m.yaml:2:11: error: no file `a` beside this one or among the installed models\n"
           "    include: [a, [b]]\n"
           "              ^\n"
           "m.yaml:2:14: error: an include must be a single value, not a list `[…]`\n"
           "    include: [a, [b]]\n"
           "                 ^\n");
    struct model_request request = {.path = "none.yaml"};
    cr_assert_null(model_read(arena, diags, &ops_table, &request));
    cr_assert_eq(diags_exit_code(diags), 2);
}

Test(model, include_cycles)
{
    cr_assert_null(try_model("sedge: 1\ninclude: [m]\nblocks: {b: {}}\n"));
    expect("m.yaml:2:11: error: `./m.yaml` includes itself\n"
           "    include: [m]\n"
           "              ^\n"
           "    includes go one way: move what both need into a third file\n");
    write_file("a.yaml", "sedge: 1\ninclude: [b]\n");
    write_file("b.yaml", "sedge: 1\ninclude: [a]\n");
    cr_assert_null(try_model("sedge: 1\ninclude: [a]\n"));
    expect("./b.yaml:2:11: error: `./a.yaml` includes itself\n"
           "    include: [a]\n"
           "              ^\n"
           "    includes go one way: move what both need into a third file\n");
}

Test(model, names_are_defined_once)
{
    write_file("a.yaml", "sedge: 1\nblocks: {b: {}}\n");
    cr_assert_null(try_model("sedge: 1\ninclude: [a]\nblocks: {b: {}}\n"));
    expect("m.yaml:3:10: error: `b` is defined twice\n"
           "    blocks: {b: {}}\n"
           "             ^\n"
           "./a.yaml:2:10: first defined here\n");
}

/* --- processes ---------------------------------------------------------------------------- */

static double sigma(const struct process *p, const char *t)
{
    struct model *m = read_model(arena_printf(arena, "sedge: 1\nparams: {t: %s}\n", t));
    const char *text = expr_print(arena, p->sigma);
    struct number n;
    cr_assert(model_number(m, yaml_read_text(diags, arena, "e", text, strlen(text)), &n), "%s",
              diags_render(diags, false));
    return number_real(n);
}

Test(model, process_gives_chain_noise_and_states)
{
    struct model *m = read_model("sedge: 1\nparams: {vocab: 5}\n"
                                 "process: {rate: absorb, noise: {loglinear: {eps: 1.0e-2}}}\n");
    cr_assert_eq(m->process_count, 1);
    const struct process *p = &m->processes[0];
    cr_assert_str_eq(p->name, "main");
    cr_assert(chain_carries_over(&p->chain));
    cr_assert_eq(p->chain.tokens, 5);
    cr_assert_eq(p->chain.states, 6);
    cr_assert_eq(p->chain.mask, 5);
    expect_int(m, "states", 6, LAYER_DEFAULT);
    /* -log(1 - (1 - eps) t) at t = 0.5: log(1 / 0.505). */
    cr_assert_float_eq(sigma(p, "0.5"), 0.683196849706777, 1e-15);
    cr_assert_str_eq(process_print(arena, p), "absorb 5 -log1p(-0.99 * t)");
}

Test(model, processes_may_be_several)
{
    struct model *m =
        read_model("sedge: 1\nparams: {vocab: 5}\n"
                   "process:\n"
                   "  a: {rate: uniform, noise: {geometric: {min: 0.5, max: 8}}}\n"
                   "  b: {rate: absorb, noise: {sigma: \"2 * t\"}, vocab: vocab + 2}\n");
    cr_assert_eq(m->process_count, 2);
    cr_assert_str_eq(m->processes[1].name, "b");
    cr_assert_eq(m->processes[0].chain.uniform, 1);
    cr_assert_eq(m->processes[0].chain.states, 5);
    cr_assert_eq(m->processes[0].chain.mask, -1);
    cr_assert_eq(m->processes[1].chain.states, 8);
    expect_int(m, "states", 5, LAYER_DEFAULT); /* of the first one */
    /* 0.5^(1 - t) 8^t: 0.5 4^(2 t), 2 at t = 0.5, and 0.5 at t = 0. */
    cr_assert_float_eq(sigma(&m->processes[0], "0.5"), 2.0, 1e-14);
    cr_assert_float_eq(sigma(&m->processes[0], "0.0"), 0.5, 1e-15);
    cr_assert_float_eq(sigma(&m->processes[1], "0.25"), 0.5, 1e-15);
}

/* A setting replaces the variant as a whole; its keys do not mix with the old ones. */
Test(model, settings_replace_the_process)
{
    write_file("m.yaml", "sedge: 1\nparams: {vocab: 5}\n"
                         "process: {rate: absorb, noise: {loglinear: {eps: 1.0e-2}}}\n");
    struct setting settings[] = {
        setting("process.noise", "{geometric: {min: 1, max: 2}}", LAYER_COMMAND),
        setting("process.rate", "uniform", LAYER_COMMAND)};
    struct model_request request = {.path = "m.yaml", .settings = settings, .setting_count = 2};
    struct model *m = model_read(arena, diags, &ops_table, &request);
    expect_quiet();
    cr_assert_eq(m->processes[0].chain.uniform, 1);
    expect_int(m, "states", 5, LAYER_DEFAULT);
    cr_assert_float_eq(sigma(&m->processes[0], "1.0"), 2.0, 1e-15);
    settings[0] = setting("process.nose", "1", LAYER_COMMAND);
    cr_assert_null(model_read(arena, diags, &ops_table, &request));
    expect("args:1:1: error: a process has no key `nose`\n"
           "    1\n"
           "    ^\n");
}

/* --- what each mistake is told -------------------------------------------------------------- */

static void refuse(const char *text, const char *message)
{
    cr_assert_null(try_model(text), "%s", text);
    expect(message);
    cr_assert_eq(diags_exit_code(diags), 2);
}

Test(model, needs_its_header)
{
    refuse("params: {a: 1}\n", "m.yaml:1:1: error: a model file starts with the line `sedge: 1`\n"
                               "    params: {a: 1}\n"
                               "    ^\n");
    refuse("sedge: 2\n", "m.yaml:1:8: error: a model file starts with the line `sedge: 1`\n"
                         "    sedge: 2\n"
                         "           ^\n");
    refuse("sedge: 1\n"
           "program: {}\n",
           "m.yaml:2:1: error: a model file has no key `program`\n"
           "    program: {}\n"
           "    ^~~~~~~\n"
           "    did you mean `programs`?\n");
    refuse("[1, 2]\n",
           "m.yaml:1:1: error: a model file must be a mapping `{key: value}`, not a list `[…]`\n"
           "    [1, 2]\n"
           "    ^\n");
}

Test(model, is_no_recipe_and_no_grammar)
{
    refuse("grammar: {}\n", "m.yaml:1:1: error: this is a grammar, not a model\n"
                            "    grammar: {}\n"
                            "    ^\n"
                            "    give it as data: sedge train quickstart data.files=FILE\n");
    refuse("model: sedd\n",
           "m.yaml:1:1: error: this is a recipe, not a model\n"
           "    model: sedd\n"
           "    ^\n"
           "    name its model, or give the recipe to `sedge train` and `sedge config`\n");
}

Test(model, sections_are_maps)
{
    refuse("sedge: 1\n"
           "blocks: [a]\n"
           "params: 3\n",
           "m.yaml:3:9: error: params must be a mapping `{key: value}`, not a single value\n"
           "    params: 3\n"
           "            ^\n"
           "m.yaml:2:9: error: blocks must be a mapping `{key: value}`, not a list `[…]`\n"
           "    blocks: [a]\n"
           "            ^\n");
    refuse("sedge: 1\n"
           "programs: {p: 3}\n",
           "m.yaml:2:15: error: p must be a mapping `{key: value}`, not a single value\n"
           "    programs: {p: 3}\n"
           "                  ^\n");
}

Test(model, blocks_are_no_ops)
{
    refuse("sedge: 1\n"
           "blocks:\n"
           "  linear: {in: {}}\n"
           "  repeat: {in: {}}\n"
           "  input: {in: {}}\n",
           "m.yaml:3:3: error: `linear` is an op: give the block another name\n"
           "    linear: {in: {}}\n"
           "    ^~~~~~\n"
           "m.yaml:4:3: error: `repeat` is a word of the language: give the block another name\n"
           "    repeat: {in: {}}\n"
           "    ^~~~~~\n");
}

Test(model, params_refer_to_those_above)
{
    refuse("sedge: 1\n"
           "params: {a: 2 * b, b: 3}\n",
           "m.yaml:2:17: error: no number is called `b` here\n"
           "    params: {a: 2 * b, b: 3}\n"
           "                    ^\n");
    refuse("sedge: 1\n"
           "params: {lengh: 3, b: length}\n",
           "m.yaml:2:23: error: no number is called `length` here\n"
           "    params: {lengh: 3, b: length}\n"
           "                          ^~~~~~\n"
           "    did you mean `lengh`?\n");
    refuse("sedge: 1\n"
           "params: {a: 5 / 2}\n",
           "m.yaml:2:13: error: 5 does not divide by 2\n"
           "    params: {a: 5 / 2}\n"
           "                ^~~~~\n"
           "    write one of them with a point (2.0) for a real number\n");
    refuse("sedge: 1\n"
           "params: {a: \"(1\"}\n",
           "m.yaml:2:16: error: in the expression `(1`: a `)` is missing here\n"
           "    params: {a: \"(1\"}\n"
           "                   ^\n");
    refuse("sedge: 1\n"
           "params: {a: [1]}\n",
           "m.yaml:2:13: error: a number must be a single value, not a list `[…]`\n"
           "    params: {a: [1]}\n"
           "                ^\n");
}

Test(model, process_needs_rate_noise_and_vocab)
{
    refuse("sedge: 1\n"
           "params: {vocab: 5}\n"
           "process: {rate: absorb}\n",
           "m.yaml:3:10: error: a process needs `noise:`\n"
           "    process: {rate: absorb}\n"
           "             ^\n");
    refuse("sedge: 1\n"
           "params: {vocab: 5}\n"
           "process: {main: {noise: loglinear}}\n",
           "m.yaml:3:11: error: a process needs `rate:`\n"
           "    process: {main: {noise: loglinear}}\n"
           "              ^~~~\n");
    refuse("sedge: 1\n"
           "process: {rate: absorb, noise: loglinear}\n",
           "m.yaml:2:10: error: a process needs the param `vocab`: 2 to 16777216 tokens\n"
           "    process: {rate: absorb, noise: loglinear}\n"
           "             ^\n");
    refuse("sedge: 1\n"
           "params: {vocab: 1}\n"
           "process: {rate: absorb, noise: loglinear}\n",
           "m.yaml:2:17: error: a process needs the param `vocab`: 2 to 16777216 tokens\n"
           "    params: {vocab: 1}\n"
           "                    ^\n");
    refuse(
        "sedge: 1\n"
        "params: {vocab: 5}\n"
        "process: {rate: cyclic, noise: loglinear}\n",
        "m.yaml:3:17: error: this is no rate matrix\n"
        "    process: {rate: cyclic, noise: loglinear}\n"
        "                    ^~~~~~\n"
        "    write `absorb`, `uniform`, `{mix: …}`, `{band: …}`, `{groups: …}` or `{matrix: …}`: "
        "sedge explain process.rate\n");
    refuse("sedge: 1\n"
           "params: {vocab: 5}\n"
           "process: {rate: absorb, noise: loglinear, nose: 1}\n",
           "m.yaml:3:43: error: a process has no key `nose`\n"
           "    process: {rate: absorb, noise: loglinear, nose: 1}\n"
           "                                              ^~~~\n"
           "    did you mean `noise`?\n");
    refuse("sedge: 1\n"
           "params: {vocab: 5, states: 6}\n"
           "process: {rate: absorb, noise: loglinear}\n",
           "m.yaml:2:28: error: `states` is given by the process: vocab, and the mask for absorb\n"
           "    params: {vocab: 5, states: 6}\n"
           "                               ^\n");
}

Test(model, noise_is_a_schedule_that_grows)
{
    refuse("sedge: 1\n"
           "params: {vocab: 5}\n"
           "process: {rate: absorb, noise: cosinus}\n",
           "m.yaml:3:32: error: this is no noise schedule\n"
           "    process: {rate: absorb, noise: cosinus}\n"
           "                                   ^~~~~~~\n"
           "    write `loglinear: {eps: 1.0e-3}`, `geometric: {min: 1.0e-4, max: 20}`, `cosine`, "
           "`cosine_squared`, `polynomial: {power: 2}`, `linear: {max: 20}` or `sigma: \"…\"`, an "
           "expression in t\n");
    refuse("sedge: 1\n"
           "params: {vocab: 5}\n"
           "process: {rate: absorb, noise: {loglinear: {eps: 2}}}\n",
           "m.yaml:3:50: error: `eps` must be at least 0 and below 1\n"
           "    process: {rate: absorb, noise: {loglinear: {eps: 2}}}\n"
           "                                                     ^\n");
    refuse("sedge: 1\n"
           "params: {vocab: 5}\n"
           "process: {rate: absorb, noise: {loglinear: {esp: 0.1}}}\n",
           "m.yaml:3:45: error: loglinear has no key `esp`\n"
           "    process: {rate: absorb, noise: {loglinear: {esp: 0.1}}}\n"
           "                                                ^~~\n"
           "    did you mean `eps`?\n");
    refuse("sedge: 1\n"
           "params: {vocab: 5}\n"
           "process: {rate: absorb, noise: {geometric: {min: 3, max: 2}}}\n",
           "m.yaml:3:44: error: `min` must be smaller than `max`\n"
           "    process: {rate: absorb, noise: {geometric: {min: 3, max: 2}}}\n"
           "                                               ^\n");
    refuse("sedge: 1\n"
           "params: {vocab: 5}\n"
           "process: {rate: absorb, noise: {sigma: \"1 - t\"}}\n",
           "m.yaml:3:32: error: the noise must grow with t: sigma(0.001) = 0.999 after "
           "sigma(1e-05) = 0.99999\n"
           "    process: {rate: absorb, noise: {sigma: \"1 - t\"}}\n"
           "                                   ^\n");
    refuse("sedge: 1\n"
           "params: {vocab: 5}\n"
           "process: {rate: absorb, noise: {sigma: \"s\"}}\n",
           "m.yaml:3:41: error: no number is called `s` here\n"
           "    process: {rate: absorb, noise: {sigma: \"s\"}}\n"
           "                                            ^\n"
           "    sigma is an expression in `t`, finite between 0 and 1\n");
    refuse("sedge: 1\n"
           "params: {vocab: 5}\n"
           "process: {rate: absorb, noise: {sigma: \"log(t - 0.5)\"}}\n",
           "m.yaml:3:41: error: this is not a finite number\n"
           "    process: {rate: absorb, noise: {sigma: \"log(t - 0.5)\"}}\n"
           "                                            ^~~~~~~~~~~~\n"
           "    sigma is an expression in `t`, finite between 0 and 1\n");
}
