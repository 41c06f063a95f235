/* Short axes through shape rules and the reference executor: what is refused, and a graph that
 * computes on some rows only. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/reference.h"
#include "ops/rules.h"

#include <criterion/criterion.h>
#include <string.h>

static struct graph *new_graph(void)
{
    struct arena *arena = arena_new();
    struct state_table *states = arena_alloc(arena, sizeof *states);
    return graph_new(arena, diags_new(arena), &ops_table, states, "test");
}

static uint32_t leaf(struct graph *g, enum dtype dtype, uint32_t rank, const struct dim *dim)
{
    struct type type = {.dtype = dtype, .rank = rank};
    memcpy(type.dim, dim, rank * sizeof *dim);
    struct node_call call = {.op = &op_input, .types = &type};
    uint32_t node = graph_call(g, &call);
    return g->nodes[node].out[0];
}

static bool accepts(struct graph *g, const struct op *op, const uint32_t *in, uint32_t count,
                    const union attr *attr)
{
    struct node_call call = {.op = op, .in = in, .in_count = count, .attr = attr};
    return graph_call(g, &call) != NODE_NONE;
}

Test(short_axis, broadcasts_only_as_the_first)
{
    struct graph *g = new_graph();
    struct dim batch = {4, graph_axis(g, "batch", 4)}, rows = {4, graph_axis(g, "rows", 4)};
    struct dim fixed = {4, 0}, one = {1, 0};
    uint32_t matrix = leaf(g, DT_F32, 2, (struct dim[]){batch, fixed});
    uint32_t column = leaf(g, DT_F32, 2, (struct dim[]){batch, one});
    uint32_t vector = leaf(g, DT_F32, 1, &fixed), short_vector = leaf(g, DT_F32, 1, &batch);
    uint32_t other = leaf(g, DT_F32, 2, (struct dim[]){rows, fixed});
    uint32_t square = leaf(g, DT_F32, 2, (struct dim[]){fixed, fixed});
    cr_expect(accepts(g, &op_add, (uint32_t[]){matrix, vector}, 2, NULL));
    cr_expect(accepts(g, &op_add, (uint32_t[]){column, matrix}, 2, NULL));
    cr_expect(accepts(g, &op_mul, (uint32_t[]){short_vector, short_vector}, 2, NULL));
    cr_expect_eq(diags_errors(g->diags), 0);
    cr_expect_not(accepts(g, &op_add, (uint32_t[]){matrix, short_vector}, 2, NULL));
    cr_expect_not(accepts(g, &op_add, (uint32_t[]){column, short_vector}, 2, NULL));
    cr_expect_not(accepts(g, &op_add, (uint32_t[]){matrix, other}, 2, NULL));
    cr_expect_not(accepts(g, &op_add, (uint32_t[]){matrix, square}, 2, NULL));
    cr_expect_eq(diags_errors(g->diags), 4);
    cr_expect(strstr(diags_render(g->diags, false), "f32 [batch, 4] and f32 [batch] do not"));
    arena_free(g->arena);
}

Test(short_axis, stays_first_in_views_and_is_not_cut)
{
    struct graph *g = new_graph();
    struct dim batch = {6, graph_axis(g, "batch", 6)};
    uint32_t x = leaf(g, DT_F32, 2, (struct dim[]){batch, {4, 0}});
    union attr keeps[] = {rule_dims(g, (struct dim[]){batch, {2, 0}, {2, 0}}, 3)};
    union attr merges[] = {rule_dims(g, (struct dim[]){{24, 0}}, 1)};
    union attr fixes[] = {rule_dims(g, (struct dim[]){{6, 0}, {4, 0}}, 2)};
    union attr loses[] = {rule_dims(g, (struct dim[]){batch, {3, 0}}, 2)};
    cr_expect(accepts(g, &op_reshape, &x, 1, keeps));
    cr_expect_not(accepts(g, &op_reshape, &x, 1, merges));
    cr_expect_not(accepts(g, &op_reshape, &x, 1, fixes));
    cr_expect_not(accepts(g, &op_reshape, &x, 1, loses));
    union attr before[] = {[EXPAND_AXIS] = {.integer = 0}};
    cr_expect_not(accepts(g, &op_expand, &x, 1, before));
    union attr split[] = {[SPLIT_PARTS] = {.integer = 2}, [SPLIT_AXIS] = {.integer = 0}};
    cr_expect_not(accepts(g, &op_split, &x, 1, split));
    union attr join[] = {[CONCAT_AXIS] = {.integer = 0}};
    cr_expect_not(accepts(g, &op_concat, (uint32_t[]){x, x}, 2, join));
    arena_free(g->arena);
}

/* x, and flags that hold for rows 1 and 2 (of the 3 that the run has) and one more that it has
 * not. */
static bool supply(void *context, const struct graph *graph, uint32_t value,
                   const struct ref_tensor *out)
{
    static const double flags[] = {0, 1, 1, 1};
    (void)context;
    cr_expect_eq(out->dim[0], 3);
    for (int64_t i = 0; i < ref_size(out); i++)
        out->data[i] = graph_type(graph, value)->dtype == DT_BOOL ? flags[i] : (double)(i + 1);
    return true;
}

/* Squares only the flagged rows and puts them back: a graph of three kinds of sizes, fixed, set by
 * the run, and found out while running. */
Test(short_axis, of_some_rows_is_counted_while_running)
{
    struct graph *g = new_graph();
    struct dim batch = {4, graph_axis(g, "batch", 4)};
    uint32_t x = leaf(g, DT_F64, 2, (struct dim[]){batch, {2, 0}});
    uint32_t flags = leaf(g, DT_BOOL, 1, &batch);
    struct node like = {.op = NULL};
    uint32_t index = emit1(g, &op_nonzero, flags, &like);
    uint32_t some = emit2(g, &op_gather, x, index, &like);
    uint32_t squares = emit2(g, &op_mul, some, some, &like);
    union attr rows[] = {[SCATTER_ROWS] = rule_dims(g, &batch, 1)};
    uint32_t y = graph_emit(g, &op_scatter_add, (uint32_t[]){squares, index}, 2, rows, &like);
    uint32_t mean = emit1(g, &op_mean, squares, &like);
    struct reference_io io = {.supply = supply, .axis_count = (int64_t[]){0, 3, 0}};
    struct ref_tensor *values = arena_new_array(g->arena, struct ref_tensor, g->value_count);
    cr_assert(reference_run(g, &io, g->arena, values));
    cr_expect_eq(values[some].dim[0], 2);
    cr_expect_eq(values[y].dim[0], 3);
    const double expected[] = {0, 0, 9, 16, 25, 36};
    cr_expect_arr_eq(values[y].data, expected, sizeof expected);
    cr_expect_eq(values[mean].data[0], (9 + 16 + 25 + 36) / 4.0);
    arena_free(g->arena);
}

static bool supply_nothing(void *context, const struct graph *graph, uint32_t value,
                           const struct ref_tensor *out)
{
    (void)context, (void)graph, (void)value, (void)out;
    return false;
}

Test(reference, says_which_leaf_has_no_value)
{
    struct graph *g = new_graph();
    leaf(g, DT_F32, 1, (struct dim[]){{3, 0}});
    struct reference_io io = {.supply = supply_nothing};
    struct ref_tensor values[2];
    cr_expect_not(reference_run(g, &io, g->arena, values));
    cr_expect(strstr(diags_render(g->diags, false), "`input`: it was given no value"));
    arena_free(g->arena);
}
