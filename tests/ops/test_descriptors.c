/* Every descriptor in the table is complete: documented, with a rule, a reference and cases where
 * its flags ask for them. */
#include "tests/support/op_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void check_names(const struct op *op)
{
    cr_expect(op->name && op->name[0], "an op has no name");
    cr_expect(op->doc && strlen(op->doc) > 10 && op->doc[strlen(op->doc) - 1] == '.',
              "%s: its doc must be a sentence", op->name);
    for (uint32_t i = 0; i < op_input_count(op); i++)
        cr_expect(op->inputs[i].doc && op->inputs[i].doc[0], "%s: input %s has no doc", op->name,
                  op->inputs[i].name);
    for (uint32_t i = 0; i < op_attr_count(op); i++) {
        cr_expect(op->attrs[i].doc && op->attrs[i].doc[0], "%s: attribute %s has no doc", op->name,
                  op->attrs[i].name);
        cr_expect_eq(op->attrs[i].kind == ATTR_CHOICE, op->attrs[i].choices != NULL,
                     "%s: choices of attribute %s", op->name, op->attrs[i].name);
    }
    cr_expect(op->results && op->results[0], "%s: results have no names", op->name);
    for (uint32_t i = 0; i < op->result_count; i++)
        cr_assert(op->results && op->results[i], "%s: result %u has no name", op->name, i);
    cr_expect(op->visible <= op->result_count, "%s: more visible results than there are", op->name);
}

static void check_parts(const struct op *op)
{
    bool silent = op->flags & (OP_NO_GRAD | OP_ZERO_GRAD_TWICE | OP_LEAF | OP_MACRO);
    cr_expect(op->shape, "%s: no shape rule", op->name);
    cr_expect(silent ? !op->grad : op->grad != NULL, "%s: a gradient rule or a flag, not both",
              op->name);
    cr_expect_eq((op->flags & OP_MACRO) || (op->flags & OP_LEAF), op->reference == NULL,
                 "%s: a reference, unless it is a leaf or a macro", op->name);
    cr_expect(!(op->flags & OP_ZERO_GRAD_TWICE) || (op->flags & OP_INTERNAL),
              "%s: a backward op is internal", op->name);
    cr_expect(!(op->flags & OP_RANDOM) || op->reference, "%s: a draw has a reference", op->name);
    cr_expect(!op->still || (op->flags & OP_RANDOM), "%s: only what draws may be still", op->name);
    cr_expect(op->updates <= op->result_count && (!op->updates || (op->flags & OP_EFFECT)),
              "%s: an op that updates rows has an effect", op->name);
}

/* Flags of inputs stand in an order that a reader of the language can follow. */
static void check_inputs(const struct op *op)
{
    bool optional = false, params = false;
    for (uint32_t i = 0; i < op_input_count(op); i++) {
        unsigned flags = op->inputs[i].flags;
        bool last = i + 1 == op_input_count(op);
        cr_expect(!(flags & INPUT_VARIADIC) || last, "%s: only the last input can be variadic",
                  op->name);
        cr_expect(!(flags & INPUT_SEQUENCE) || op->rows == ROWS_POSITION,
                  "%s: a row for each sequence is for ops by position", op->name);
        cr_expect(!params || (flags & INPUT_PARAM), "%s: parameters come last", op->name);
        cr_expect(!optional || (flags & (INPUT_OPTIONAL | INPUT_NAMED | INPUT_PARAM)),
                  "%s: positional inputs after an optional one are optional", op->name);
        optional |= (flags & INPUT_OPTIONAL) && !(flags & INPUT_NAMED);
        params |= (flags & INPUT_PARAM) != 0;
    }
    cr_expect_eq(params, op->params != NULL, "%s: a params rule for parameter inputs", op->name);
}

static void check_cases(const struct op *op)
{
    uint32_t count = 0;
    bool odd = false;
    if (op->flags & OP_LEAF)
        return;
    cr_assert(op->cases, "%s: no cases", op->name);
    for (const struct op_case *c = op->cases; c->in; c++, count++) {
        struct case_graph g;
        cr_expect(!(op->flags & OP_PROCESS) || c->rate, "%s: case %u names no rate", op->name,
                  count);
        bool accepted = op_case_build(&g, op, c, false);
        cr_expect(accepted, "%s refuses its case \"%s\" \"%s\":\n%s", op->name, c->in,
                  c->attr ? c->attr : "", accepted ? "" : op_case_refusal(&g));
        odd |= strpbrk(c->in, "1357") || (c->attr && strpbrk(c->attr, "1357"));
        op_case_free(&g);
    }
    cr_expect(count >= 3, "%s: %u cases; at least 3", op->name, count);
    /* Scalars alone have no odd sizes. */
    cr_expect(odd || op_input_count(op) == 0 || strcmp(op->cases[0].in, "f64[]") == 0,
              "%s: no case has an odd size", op->name);
}

Test(descriptors, are_complete)
{
    for (uint32_t i = 0; i < ops_table.count; i++) {
        const struct op *op = ops_table.ops[i];
        check_names(op);
        check_parts(op);
        check_inputs(op);
        check_cases(op);
    }
}

Test(descriptors, have_names_of_their_own)
{
    for (uint32_t i = 0; i < ops_table.count; i++)
        cr_expect_eq(op_find(&ops_table, ops_table.ops[i]->name), ops_table.ops[i],
                     "two ops are called %s", ops_table.ops[i]->name);
    cr_expect_null(op_find(&ops_table, "no such op"));
}

/* In the language attributes and named inputs are keys of one mapping. */
Test(descriptors, have_keys_of_their_own)
{
    for (uint32_t i = 0; i < ops_table.count; i++) {
        const struct op *op = ops_table.ops[i];
        for (uint32_t a = 0; a < op_attr_count(op); a++)
            for (uint32_t b = 0; b < op_input_count(op); b++)
                cr_expect((op->inputs[b].flags & INPUT_PARAM) ||
                              strcmp(op->attrs[a].name, op->inputs[b].name) != 0,
                          "%s: `%s` is an attribute and an input", op->name, op->attrs[a].name);
    }
}
