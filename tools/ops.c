/* sedge ops: what a node can be, from the op descriptors. */
#include "ops/ops.h"
#include "tools/command.h"
#include "tools/op_text.h"

#include <stdio.h>

static const struct option_spec options[] = {
    {"all", 'a', OPTION_FLAG, NULL, "also the ops that only passes emit", NULL}, {0}};

static int run(struct command_line *line)
{
    struct writer w = {.arena = line->arena};
    if (!line->positional_count) {
        write_op_list(&w, &ops_table, option_given(line, "all"));
        printf("%s\nsedge ops NAME says more about one.\n", w.text);
        return 0;
    }
    const char *name = line->positional[0];
    const struct op *op = op_find(&ops_table, name);
    if (!op) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "no op is called `%s`", name);
        const char *near = op_nearest(line->arena, &ops_table, name);
        if (near)
            diag_hint(line->diags, "did you mean `%s`?", near);
        else
            diag_hint(line->diags, "sedge ops lists them");
        return diags_exit_code(line->diags);
    }
    write_op_reference(&w, op);
    fputs(w.text, stdout);
    return 0;
}

const struct command command_ops = {
    .name = "ops",
    .usage = "[NAME] [--all]",
    .doc = "the ops that a model can be built from",
    .detail = "Without NAME all ops by family; with NAME its inputs, attributes and results.",
    .least = 0,
    .most = 1,
    .options = options,
    .run = run,
};
