/* The limits of the language and of the text form, each passed by one. */
#include "tests/graph/fixture.h"

TestSuite(limits, .init = open_folder, .fini = close_folder);

static void write_format(char **text, const char *format, int i)
{
    char part[200];
    snprintf(part, sizeof part, format, i, i + 1);
    *text = arena_printf(arena, "%s%s", *text, part);
}

static void says(const char *part)
{
    const char *all = diags_render(diags, false);
    cr_assert(strstr(all, part), "`%s` is not in: %s", part, all);
    cr_assert_eq(diags_exit_code(diags), 2);
}

/* Files 0.yaml to COUNT.yaml, each the first include of the one before. */
static void chain(int count)
{
    for (int i = 1; i <= count; i++)
        write_file(arena_printf(arena, "%d.yaml", i),
                   arena_printf(arena, "sedge: 1\ninclude: [%d.yaml]\n", i + 1));
}

static void remove_files(int count)
{
    for (int i = 1; i <= count; i++)
        unlink(arena_printf(arena, "%d.yaml", i));
}

Test(limits, includes_in_includes)
{
    chain(20);
    cr_assert_null(try_model("sedge: 1\ninclude: [1.yaml]\n"));
    says("15.yaml:2:11: error: includes are nested too deeply\n");
    remove_files(20);
}

Test(limits, included_files)
{
    char *list = arena_strdup(arena, "sedge: 1\ninclude:\n");
    for (int i = 1; i <= 64; i++) {
        write_file(arena_printf(arena, "%d.yaml", i), "sedge: 1\n");
        write_format(&list, "  - %d.yaml\n", i);
    }
    cr_assert_null(try_model(list));
    says("m.yaml:66:5: error: the model includes too many files\n");
    remove_files(64);
}

Test(limits, blocks_in_blocks)
{
    char *text = arena_strdup(arena, "sedge: 1\nblocks:\n");
    for (int i = 0; i < 40; i++)
        write_format(&text, "  b%d: {in: {x: [f32, n]}, nodes: {y: {b%d: x}}, out: y}\n", i);
    write_format(&text,
                 "  b40: {in: {x: [f32, n]}, nodes: {y: {gelu: x}}, out: y}\n"
                 "programs: {p: {in: {x: [f32, batch]}, nodes: {y: {b0: x}}, out: {y: y}}}\n",
                 0);
    cr_assert_null(try_program(text));
    says("error: blocks are nested too deeply\n");
}

Test(limits, inputs_of_a_repeat)
{
    char *in = arena_strdup(arena, "x: [f32, n]"), *with = arena_strdup(arena, "i0: x");
    for (int i = 0; i < 33; i++)
        write_format(&in, ", i%d: [f32, n]", i);
    for (int i = 1; i < 33; i++)
        write_format(&with, ", i%d: x", i);
    char *text = arena_printf(arena,
                              "sedge: 1\nblocks:\n  b: {in: {%s}, nodes: {y: {gelu: x}}, out: y}\n"
                              "programs: {p: {in: {x: [f32, batch]}, nodes: {y: {repeat: b, times: "
                              "2, carry: {x: x}, with: {%s}}}, out: {y: y}}}\n",
                              in, with);
    cr_assert_null(try_program(text));
    says("error: `with` has at most 32 inputs\n");
}

/* Sparse, so that 16 MiB cost nothing. */
Test(limits, size_of_a_file)
{
    write_file("m.yaml", "");
    cr_assert_eq(truncate("m.yaml", (16 << 20) + 1), 0);
    cr_assert_null(yaml_read_file(diags, arena, "m.yaml", (struct span){0}));
    says("error: `m.yaml` is larger than 16 MiB\n");
}

Test(limits, size_of_a_text)
{
    size_t size = (16 << 20) + 1;
    char *text = calloc(1, size);
    cr_assert_null(yaml_read_text(diags, arena, "key", text, size));
    free(text);
    says("error: `key` is larger than 16 MiB\n");
}

static void refuse_graph(const char *text, const char *part)
{
    cr_assert_null(try_graph(text));
    says(part);
}

Test(limits, numbers_of_the_text_form)
{
    refuse_graph("axis n x\n", "t:1:8: error: a whole number is missing here\n");
    refuse_graph("%1: f32 [2] = random_uniform {shape=[2]} stream 0x123456789\n",
                 "error: this number has more than 32 bits\n");
    refuse_graph("state w parameter f32 [2] uniform x\n", "error: a number is missing here\n");
    refuse_graph("axis n 4\n%1: f64 [2, n] = random_uniform {shape=[2, n]}\n",
                 "error: only the first axis may be short\n");
}

Test(limits, inputs_and_results_of_the_text_form)
{
    char *in = arena_strdup(arena, "%1: f32 [2] = input\n%2: f32 [2] = concat %1");
    char *out = arena_strdup(arena, "%1: f32 [2]");
    for (int i = 0; i < 1100; i++)
        write_format(&in, ", %%1", i);
    for (int i = 2; i < 80; i++)
        write_format(&out, ", %%%d: f32 [2]", i);
    refuse_graph(in, "error: too many inputs\n");
    refuse_graph(arena_printf(arena, "%s = input\n", out), "error: too many results\n");
}
