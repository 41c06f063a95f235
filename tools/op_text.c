/* Prints ops from their descriptors. Called by the commands `ops` and `explain`. */
#include "tools/op_text.h"

#include <string.h>

/* The table lists ops family by family; a family begins with its first op. An op that is added
 * inside a family needs no line here. */
static const struct family {
    const char *first, *title;
} families[] = {
    {"input", "values from outside, and gradients"},
    {"random_uniform", "random numbers"},
    {"neg", "elementwise"},
    {"add", "elementwise with broadcasting (trailing axes align)"},
    {"gelu", "activations"},
    {"sum", "reductions and broadcasts"},
    {"reshape", "layout"},
    {"nonzero", "rows picked by index"},
    {"linear", "linear maps and tables"},
    {"layer_norm", "normalisation"},
    {"softmax", "softmax and cross entropy"},
    {"attention", "attention"},
    {"modulate", "conditioning and dropout"},
    {"timestep_features", "features"},
    {"score_output", "scores and their loss"},
    {"noise", "the forward process"},
    {"tweedie", "reverse steps and draws"},
    {"base_cost", "the likelihood bound"},
    {"x0_output", "laws of the clean token, and their scores"},
    {"all_sequences", "spaces small enough to list"},
    {"sum_squares", "the optimizer"},
};

static const char *family_of(const char *name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].first, name) == 0)
            return families[i].title;
    return NULL;
}

void write_op_list(struct writer *w, const struct op_table *table, bool all)
{
    const char *title = NULL, *shown = NULL;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct op *op = table->ops[i];
        const char *begins = family_of(op->name);
        if (begins)
            title = begins;
        if ((op->flags & OP_INTERNAL) && !all)
            continue;
        if (title && title != shown)
            write_text(w, "%s%s\n", shown ? "\n" : "", title);
        shown = title;
        write_text(w, "  %-24s %s%s\n", op->name, op->doc,
                   op->flags & OP_INTERNAL ? " (passes only)" : "");
    }
}

const char *op_nearest(struct arena *arena, const struct op_table *table, const char *name)
{
    const char **names = arena_new_array(arena, const char *, table->count);
    uint32_t n = 0;
    for (uint32_t i = 0; i < table->count; i++)
        if (!(table->ops[i]->flags & OP_INTERNAL))
            names[n++] = table->ops[i]->name;
    return diag_nearest(name, names, n);
}

/* --- how it is written -------------------------------------------------------------------- */

static bool is_positional(const struct op_input *in)
{
    return !(in->flags & (INPUT_NAMED | INPUT_PARAM));
}

/* Results that the language binds. */
static uint32_t visible_results(const struct op *op)
{
    return op->visible ? op->visible : op->result_count;
}

static void write_required(struct writer *w, const struct op *op, const char *separator)
{
    for (uint32_t i = 0; i < op_attr_count(op); i++) {
        const struct op_attr *a = &op->attrs[i];
        if (a->value)
            continue;
        write_text(w, "%s%s: %s", separator, a->name, a->kind == ATTR_DIMS ? "[…]" : "…");
        separator = ", ";
    }
}

/* `y: {linear: x, out: …}` */
static void write_usage(struct writer *w, const struct op *op)
{
    uint32_t positional = 0, required = 0, n = visible_results(op);
    for (uint32_t i = 0; i < op_input_count(op); i++) {
        positional += is_positional(&op->inputs[i]);
        required += is_positional(&op->inputs[i]) && !(op->inputs[i].flags & INPUT_OPTIONAL);
    }
    for (uint32_t k = 0; k < n && op->results; k++)
        write_text(w, "%s%s", k ? ", " : "", op->results[k]);
    write_text(w, "%s: {%s: ", n && op->results ? "" : "a, b", op->name);
    if (positional == 0) {
        write_text(w, "{");
        write_required(w, op, "");
        write_text(w, "}");
    } else {
        bool list = required != 1 || (op->inputs[0].flags & INPUT_VARIADIC);
        bool first = true;
        write_text(w, list ? "[" : "");
        for (uint32_t i = 0; i < op_input_count(op); i++) {
            const struct op_input *in = &op->inputs[i];
            if (!is_positional(in) || (in->flags & INPUT_OPTIONAL))
                continue;
            write_text(w, "%s%s%s", first ? "" : ", ", in->name,
                       in->flags & INPUT_VARIADIC ? ", …" : "");
            first = false;
        }
        write_text(w, list ? "]" : "");
        write_required(w, op, ", ");
    }
    for (uint32_t i = 0; i < op_input_count(op); i++)
        if ((op->inputs[i].flags & INPUT_NAMED) && !(op->inputs[i].flags & INPUT_OPTIONAL))
            write_text(w, ", %s: %s", op->inputs[i].name, op->inputs[i].name);
    write_text(w, "}\n");
}

/* --- its parts ---------------------------------------------------------------------------- */

static void write_inputs(struct writer *w, const struct op *op, bool params)
{
    static const char *const kinds[] = {"f32 or f64", "f32",          "f64",  "i32",
                                        "token",      "token or i32", "bool", "any type"};
    bool head = false;
    for (uint32_t i = 0; i < op_input_count(op); i++) {
        const struct op_input *in = &op->inputs[i];
        if (!(in->flags & INPUT_PARAM) == params)
            continue;
        if (!head)
            write_text(w, params ? "\nparameters that it owns\n" : "\ninputs\n");
        head = true;
        write_text(w, "  %-14s %s", in->name, in->doc);
        if (!params)
            write_text(w, " [%s%s%s%s]", kinds[in->kind],
                       in->flags & INPUT_OPTIONAL ? ", optional" : "",
                       in->flags & INPUT_NAMED ? ", under its name" : "",
                       in->flags & INPUT_VARIADIC ? ", one or more" : "");
        write_text(w, "\n");
    }
}

static void write_attrs(struct writer *w, const struct op *op)
{
    static const char *const kinds[] = {"whole number", "number", "true or false",
                                        "one of",       "text",   "shape"};
    if (!op_attr_count(op))
        return;
    write_text(w, "\nattributes\n");
    for (uint32_t i = 0; i < op_attr_count(op); i++) {
        const struct op_attr *a = &op->attrs[i];
        write_text(w, "  %-14s %s [%s", a->name, a->doc, kinds[a->kind]);
        for (uint32_t k = 0; a->kind == ATTR_CHOICE && a->choices[k]; k++)
            write_text(w, "%s%s", k ? ", " : " ", a->choices[k]);
        if (a->value)
            write_text(w, ", default %s]\n", a->value[0] ? a->value : "none");
        else
            write_text(w, ", required]\n");
    }
}

static void write_results(struct writer *w, const struct op *op)
{
    uint32_t n = visible_results(op);
    write_text(w, "\nresults\n");
    if (!n)
        write_text(w, "  as many as its attributes say\n");
    for (uint32_t k = 0; k < n && op->results; k++)
        write_text(w, "  %s%s\n", op->results[k], op->result_count == 0 ? ", and so on" : "");
}

static void write_properties(struct writer *w, const struct op *op)
{
    static const struct {
        unsigned flag;
        const char *text;
    } flags[] = {
        {OP_PROCESS, "speaks of a process: that of its tokens, or the one named by `process:`"},
        {OP_RANDOM,
         "draws random numbers: by seed, name and sequence, so never merged with another"},
        {OP_VIEW, "costs nothing: the result is the same memory as the input"},
        {OP_MACRO, "is replaced by ordinary nodes before planning"},
        {OP_COUNTS, "sets how many rows of its result are filled"},
        {OP_EFFECT, "writes state"},
        {OP_INTERNAL, "is emitted by passes only: the language has no such name"},
        {OP_NO_GRAD, "lets no gradient through"},
        {OP_ZERO_GRAD_TWICE, "is a gradient itself and has none"},
    };
    static const char *const rows[] = {
        [ROWS_EACH] = "each row depends on the same row of its inputs only",
        [ROWS_POSITION] = "each row depends on the same row of its inputs, and on what its "
                          "sequence is told",
        [ROWS_SEQUENCE] = "each sequence depends on itself only",
        [ROWS_ALL] = "a result may depend on every row",
    };
    write_text(w, "\nproperties\n");
    if (rows[op->rows])
        write_text(w, "  %s\n", rows[op->rows]);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (op->flags & flags[i].flag)
            write_text(w, "  %s\n", flags[i].text);
    if (op->inplace)
        write_text(w, "  may write over an input that is not used again\n");
    if (op->workspace)
        write_text(w, "  needs scratch memory while it runs\n");
}

void write_op_reference(struct writer *w, const struct op *op)
{
    write_text(w, "%s: %s\n", op->name, op->doc);
    if (!(op->flags & OP_INTERNAL)) {
        write_text(w, "\n  ");
        write_usage(w, op);
    }
    write_inputs(w, op, false);
    write_attrs(w, op);
    write_inputs(w, op, true);
    write_results(w, op);
    write_properties(w, op);
    if (!(op->flags & OP_INTERNAL))
        write_text(
            w, "\nEvery call also takes `as:` (its component of parameters' names), `want:` (one "
               "result),\n`process:`, and `tie: true` (shares parameters with another "
               "owner).\n");
}
