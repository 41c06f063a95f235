/* The row rule of each op, on its reference: moving one row of an input changes no row of a result
 * that the rule does not allow. Rows are the axes before the last of the largest tensor of the
 * case; a tensor takes part in the rows whose axes it starts with. */
#include "ops/reference.h"
#include "ops/rules.h"
#include "tests/support/op_case.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

struct trial {
    struct case_graph g;
    struct ref_tensor in[CASE_INPUTS];
};

static struct ref_tensor *run(struct trial *t)
{
    struct case_values inputs = {&t->g, t->in};
    struct reference_io io = {.supply = op_case_supply, .context = &inputs, .draw = op_case_draw()};
    struct ref_tensor *values =
        arena_new_array(t->g.arena, struct ref_tensor, t->g.graph->value_count);
    cr_assert(reference_run(t->g.graph, &io, t->g.arena, values));
    return values;
}

/* The rows of a case: axes of its largest tensor but the last; or its sequences, when that is what
 * the rule is about. */
static struct type case_rows(const struct trial *t)
{
    const struct node *node = op_case_node(&t->g);
    struct type rows = {.rank = 0};
    for (uint32_t i = 0; i < node->in_count + node->out_count; i++) {
        uint32_t v = i < node->in_count ? node->in[i] : node->out[i - node->in_count];
        bool param =
            i < node->in_count && (op_case_input(&t->g, i)->flags & (INPUT_PARAM | INPUT_SHARED));
        const struct type *type = graph_type(t->g.graph, v);
        if (v && !param &&
            (type->rank > rows.rank ||
             (type->rank == rows.rank && type_count(type) > type_count(&rows))))
            rows = *type;
    }
    if (rows.rank)
        rows.rank--;
    if (rows.rank && op_rows_of(t->g.graph, node) == ROWS_SEQUENCE)
        rows.rank = 1;
    return rows;
}

/* How many axes of ROWS a tensor starts with, or 0 when it has other axes there. */
static uint32_t shared_axes(const struct type *rows, const struct ref_tensor *t)
{
    uint32_t n = t->rank < rows->rank ? t->rank : rows->rank;
    for (uint32_t i = 0; i < n; i++)
        if (t->dim[i] != rows->dim[i].size)
            return 0;
    return n;
}

/* The same of an input, which may have one row for each sequence. */
static uint32_t input_axes(const struct trial *t, const struct type *rows, uint32_t input)
{
    struct type sequences = *rows;
    if ((op_case_input(&t->g, input)->flags & INPUT_SEQUENCE) && rows->rank)
        sequences.rank = 1;
    return shared_axes(&sequences, &t->in[input]);
}

/* Which row of the first AXES axes element AT of T lies in. */
static int64_t row_of(const struct ref_tensor *t, uint32_t axes, int64_t at)
{
    int64_t rows = ref_lead(t, axes);
    return at / (ref_size(t) / rows);
}

/* Whether row A of AXES_A axes and row B of AXES_B axes are one where they share axes. */
static bool meets(const struct type *rows, uint32_t axes_a, int64_t a, uint32_t axes_b, int64_t b)
{
    uint32_t common = axes_a < axes_b ? axes_a : axes_b;
    for (uint32_t i = common; i < axes_a; i++)
        a /= rows->dim[axes_a - 1 - (i - common)].size;
    for (uint32_t i = common; i < axes_b; i++)
        b /= rows->dim[axes_b - 1 - (i - common)].size;
    return common > 0 && a == b;
}

/* A value that differs from the one at AT and is valid in its place. */
static void move(struct trial *t, uint32_t input, int64_t at)
{
    double *x = &t->in[input].data[at];
    switch (graph_type(t->g.graph, t->g.in[input])->dtype) {
    case DT_BOOL:
        *x = *x == 0;
        break;
    case DT_I32:
    case DT_TOKEN:
        if (*x > 0)
            *x -= 1;
        else if (!t->g.graph->process_count || t->g.process.chain.states > 1)
            *x += 1; /* of one state there is no other */
        break;
    default:
        *x *= 1.25;
        *x += 0.01;
    }
}

static void compare(struct trial *t, const struct type *rows, uint32_t input, int64_t at,
                    const struct ref_tensor *before, const struct ref_tensor *after)
{
    const struct node *node = op_case_node(&t->g);
    uint32_t axes = input_axes(t, rows, input);
    int64_t row = row_of(&t->in[input], axes, at);
    for (uint32_t k = 0; k < node->out_count; k++) {
        const struct ref_tensor *y = &before[node->out[k]], *z = &after[node->out[k]];
        uint32_t own = shared_axes(rows, y);
        for (int64_t i = 0; i < ref_size(y); i++) {
            if (memcmp(&y->data[i], &z->data[i], sizeof y->data[i]) == 0 ||
                (own && meets(rows, axes, row, own, row_of(y, own, i))))
                continue;
            cr_expect(false, "%s: element %lld of input %s changes element %lld of result %s",
                      node->op->name, (long long)at, op_case_input(&t->g, input)->name,
                      (long long)i, node->op->results[k]);
            break; /* one report is enough */
        }
    }
}

static void check_case(const struct op *op, const struct op_case *c)
{
    struct trial *t = calloc(1, sizeof *t);
    cr_assert(op_case_build(&t->g, op, c, false), "%s", op_case_refusal(&t->g));
    op_case_fill(&t->g, 6, 0, t->in);
    bool any = op_rows_of(t->g.graph, op_case_node(&t->g)) == ROWS_ALL;
    struct type rows = case_rows(t);
    struct ref_tensor *before = run(t);
    for (uint32_t i = 0; i < t->g.in_count && !any; i++) {
        bool param = op_case_input(&t->g, i)->flags & (INPUT_PARAM | INPUT_SHARED);
        if (param || !t->in[i].data || !input_axes(t, &rows, i))
            continue;
        int64_t size = ref_size(&t->in[i]);
        for (int64_t e = 0; e<size; e += size> 24 ? size / 24 : 1) {
            double kept = t->in[i].data[e];
            move(t, i, e);
            compare(t, &rows, i, e, before, run(t));
            t->in[i].data[e] = kept;
        }
    }
    op_case_free(&t->g);
    free(t);
}

ParameterizedTestParameters(rows, move_only_what_the_rule_says)
{
    static uint32_t index[256];
    cr_assert(ops_table.count <= 256);
    for (uint32_t i = 0; i < ops_table.count; i++)
        index[i] = i;
    return cr_make_param_array(uint32_t, index, ops_table.count);
}

ParameterizedTest(uint32_t *index, rows, move_only_what_the_rule_says)
{
    const struct op *op = ops_table.ops[*index];
    if (!op->reference || op->rows == ROWS_NONE || (op->rows == ROWS_ALL && !op->rows_of))
        return;
    for (const struct op_case *c = op->cases; c->in; c++)
        check_case(op, c);
}
