/* Every kernel of every instruction set that this machine has, against the double reference of its
 * op: for each case, whole and with its first axis cut short, for 1, 2 and 3 threads, and in place
 * where the descriptor allows it. Kernels may write nothing but their results. */
#include "graph/base/check.h"
#include "ops/kernels/kernel.h"
#include "ops/reference.h"
#include "ops/rules.h"
#include "tests/support/op_case.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the largest element of a result. f32 has 6e-8 of rounding an operation; library functions
 * are within 4 ulp, and a few hundred of them are added up or cancel. f64 the same way, unless the
 * op reads f32: it may then compute in f32. */
#define TOLERANCE_F32 3e-5
#define TOLERANCE_F64 1e-12
#define GUARD 64 /* bytes behind each buffer that must stay as they are */
#define FILL 0xA5

struct trial {
    struct case_graph g;
    const char *isa;
    const char *text; /* of the case, for messages */
    struct ref_tensor in[CASE_INPUTS];
    struct ref_tensor *reference; /* values of the graph */
    int64_t count;                /* of the short axis */
    int64_t counted;              /* rows that an op with OP_COUNTS fills */
};

/* ------------------------------------------------------------------------------- reference */

static void run_reference(struct trial *t)
{
    struct graph *g = t->g.graph;
    int64_t *counts = arena_new_array(t->g.arena, int64_t, g->axis_count);
    if (t->g.axis)
        counts[t->g.axis] = t->count;
    struct case_values inputs = {&t->g, t->in};
    struct reference_io io = {
        .supply = op_case_supply, .context = &inputs, .draw = op_case_draw(), .axis_count = counts};
    t->reference = arena_new_array(t->g.arena, struct ref_tensor, g->value_count);
    cr_assert(reference_run(g, &io, t->g.arena, t->reference), "%s",
              diags_render(t->g.diags, false));
}

/* ----------------------------------------------------------------------------------- kernel */

static void put(const struct tensor *t, int64_t i, double x)
{
    switch (t->dtype) {
    case DT_F32:
        ((float *)t->data)[i] = (float)x;
        break;
    case DT_F64:
        ((double *)t->data)[i] = x;
        break;
    case DT_BOOL:
        ((uint8_t *)t->data)[i] = x != 0;
        break;
    default:
        ((int32_t *)t->data)[i] = (int32_t)x;
    }
}

static double get(const struct tensor *t, int64_t i)
{
    switch (t->dtype) {
    case DT_F32:
        return ((const float *)t->data)[i];
    case DT_F64:
        return ((const double *)t->data)[i];
    case DT_BOOL:
        return ((const uint8_t *)t->data)[i];
    default:
        return ((const int32_t *)t->data)[i];
    }
}

/* A buffer of the planned size of a value, with a guard, and the tensor of the run in it. */
static struct tensor make_tensor(const struct trial *t, uint32_t value)
{
    const struct type *type = graph_type(t->g.graph, value);
    size_t bytes = (size_t)type_bytes(type) + GUARD;
    struct tensor out = {.dtype = type->dtype, .rank = type->rank};
    for (uint32_t i = 0; i < type->rank; i++)
        out.dim[i] =
            type->dim[i].axis && type->dim[i].axis == t->g.axis ? t->count : type->dim[i].size;
    out.data = aligned_alloc(64, (bytes + 63) / 64 * 64);
    memset(out.data, FILL, (bytes + 63) / 64 * 64);
    return out;
}

struct run {
    struct tensor in[CASE_INPUTS], out[OP_RESULT_MAX];
    uint32_t out_count;
    char *workspace;
    int64_t workspace_bytes;
    uint64_t shared; /* bit k: result k lies in the memory of an input */
};

static int64_t workspace_bytes(struct trial *t)
{
    const struct node *node = op_case_node(&t->g);
    struct type in[CASE_INPUTS], out[OP_RESULT_MAX];
    if (!node->op->workspace)
        return 0;
    for (uint32_t i = 0; i < node->in_count; i++) {
        in[i] = *graph_type(t->g.graph, node->in[i]);
        if (!node->in[i])
            in[i].rank = TYPE_ABSENT;
    }
    for (uint32_t i = 0; i < node->out_count; i++)
        out[i] = *graph_type(t->g.graph, node->out[i]);
    struct op_call call = {.graph = t->g.graph,
                           .op = node->op,
                           .in_count = node->in_count,
                           .in = in,
                           .attr = node->attr,
                           .process = node->process,
                           .chain = node->process ? &t->g.process.chain : NULL,
                           .out_count = node->out_count,
                           .out = out};
    return node->op->workspace(&call);
}

/* Buffers for one run. With INPLACE = 1 + i, result 0 lies in input i; with UPDATES, results lie in
 * the rows that they are new versions of. */
static void make_run(struct trial *t, struct run *r, uint32_t inplace, bool updates)
{
    const struct node *node = op_case_node(&t->g);
    memset(r, 0, sizeof *r);
    r->out_count = node->out_count;
    for (uint32_t i = 0; i < node->in_count; i++) {
        if (!node->in[i])
            continue;
        r->in[i] = make_tensor(t, node->in[i]);
        for (int64_t e = 0; e < tensor_size(&r->in[i]); e++)
            put(&r->in[i], e, t->in[i].data[e]);
    }
    for (uint32_t k = 0; k < node->out_count; k++) {
        r->out[k] = make_tensor(t, node->out[k]);
        uint32_t from = updates && k < node->op->updates ? 1 + k : k == 0 ? inplace : 0;
        if (from) {
            free(r->out[k].data);
            r->out[k].data = r->in[from - 1].data;
            r->shared |= (uint64_t)1 << k;
        }
    }
    r->workspace_bytes = workspace_bytes(t);
    r->workspace = aligned_alloc(64, ((size_t)r->workspace_bytes + GUARD + 63) / 64 * 64);
    memset(r->workspace, FILL, (size_t)r->workspace_bytes + GUARD);
}

static void free_run(struct run *r)
{
    for (uint32_t i = 0; i < CASE_INPUTS; i++)
        free(r->in[i].data);
    for (uint32_t k = 0; k < r->out_count; k++)
        if (!(r->shared >> k & 1))
            free(r->out[k].data);
    free(r->workspace);
}

static const struct kernel *find(const struct trial *t, const struct run *r)
{
    enum dtype in[CASE_INPUTS], out[OP_RESULT_MAX];
    for (uint32_t i = 0; i < t->g.in_count; i++)
        in[i] = r->in[i].data ? r->in[i].dtype : DT_COUNT;
    for (uint32_t k = 0; k < r->out_count; k++)
        out[k] = r->out[k].dtype;
    return kernel_find(t->isa, op_case_node(&t->g)->op->name, in, t->g.in_count, out, r->out_count);
}

static void run_kernel(struct trial *t, struct run *r, const struct kernel *kernel, int threads)
{
    const struct node *node = op_case_node(&t->g);
    struct draw draw = op_case_draw();
    struct kernel_call call = {.in_count = node->in_count,
                               .out_count = node->out_count,
                               .in = r->in,
                               .out = r->out,
                               .attr = node->attr,
                               .chain = node->process ? &t->g.process.chain : NULL,
                               .workspace = r->workspace,
                               .threads = threads,
                               .key = draw.key,
                               .iteration = draw.iteration,
                               .stream = node->stream,
                               .sequence = draw.sequence,
                               .sequences = draw.sequences,
                               .count = &t->counted};
    t->counted = -1;
    kernel->run(&call);
}

/* --------------------------------------------------------------------------------- judgement */

static bool untouched(const void *data, int64_t from, int64_t to)
{
    const uint8_t *byte = data;
    for (int64_t i = from; i < to; i++)
        if (byte[i] != FILL)
            return false;
    return true;
}

static void check_guards(struct trial *t, const struct run *r)
{
    const struct node *node = op_case_node(&t->g);
    for (uint32_t k = 0; k < node->out_count; k++) {
        int64_t used = tensor_size(&r->out[k]) * (int64_t)dtype_size(r->out[k].dtype);
        int64_t end = type_bytes(graph_type(t->g.graph, node->out[k])) + GUARD;
        cr_expect((r->shared >> k & 1) || untouched(r->out[k].data, used, end),
                  "%s %s %s: writes behind result %u", node->op->name, t->isa, t->text, k);
    }
    cr_expect(untouched(r->workspace, r->workspace_bytes, r->workspace_bytes + GUARD),
              "%s %s %s: writes behind its workspace", node->op->name, t->isa, t->text);
    for (uint32_t i = 0; i < node->in_count; i++) {
        bool shared = false;
        for (uint32_t k = 0; k < node->out_count; k++)
            shared |= r->out[k].data == r->in[i].data;
        for (int64_t e = 0; !shared && r->in[i].data && e < tensor_size(&r->in[i]); e++)
            cr_assert(get(&r->in[i], e) == t->in[i].data[e], "%s %s %s: writes to input %u",
                      node->op->name, t->isa, t->text, i);
    }
}

static double tolerance(const struct run *r, uint32_t k)
{
    if (!dtype_real(r->out[k].dtype))
        return 0;
    bool narrow = r->out[k].dtype == DT_F32;
    for (uint32_t i = 0; i < CASE_INPUTS; i++)
        narrow |= r->in[i].data && r->in[i].dtype == DT_F32;
    return narrow ? TOLERANCE_F32 : TOLERANCE_F64;
}

static bool near(double found, double expected, double error)
{
    if (isnan(expected))
        return isnan(found);
    return found == expected || fabs(found - expected) <= error;
}

static void check_result(struct trial *t, const struct run *r, uint32_t k)
{
    const struct node *node = op_case_node(&t->g);
    const struct ref_tensor *expected = &t->reference[node->out[k]];
    const struct tensor *found = &r->out[k];
    double most = 1e-30;
    for (int64_t i = 0; i < ref_size(expected); i++)
        if (isfinite(expected->data[i]))
            most = fmax(most, fabs(expected->data[i]));
    double error = tolerance(r, k) * most;
    for (int64_t i = 0; i < ref_size(expected); i++) {
        if (near(get(found, i), expected->data[i], error))
            continue;
        cr_expect(false, "%s %s %s, %lld rows: result %u[%lld] is %.9g, the reference says %.9g",
                  node->op->name, t->isa, t->text, (long long)t->count, k, (long long)i,
                  get(found, i), expected->data[i]);
        break; /* one report is enough */
    }
}

/* The bits of A and B are the same, NaN included. */
static void check_same(struct trial *t, const struct run *a, const struct run *b, const char *what)
{
    for (uint32_t k = 0; k < a->out_count; k++) {
        size_t rows = op_case_node(&t->g)->op->flags & OP_COUNTS ? (size_t)t->counted
                                                                 : (size_t)tensor_size(&a->out[k]);
        cr_expect(memcmp(a->out[k].data, b->out[k].data, rows * dtype_size(a->out[k].dtype)) == 0,
                  "%s %s %s: result %u differs %s", op_case_node(&t->g)->op->name, t->isa, t->text,
                  k, what);
    }
}

static void check_variant(struct trial *t, const struct run *first, const struct kernel *kernel,
                          int threads, uint32_t inplace, bool updates, const char *what)
{
    struct run r;
    make_run(t, &r, inplace, updates);
    run_kernel(t, &r, kernel, threads);
    check_guards(t, &r);
    check_same(t, first, &r, what);
    free_run(&r);
}

static void check_run(struct trial *t)
{
    const struct node *node = op_case_node(&t->g);
    struct run r;
    op_case_fill(&t->g, 7, t->count, t->in);
    run_reference(t);
    make_run(t, &r, 0, false);
    const struct kernel *kernel = find(t, &r);
    cr_expect(kernel, "%s %s: no kernel for %s", node->op->name, t->isa, t->text);
    if (kernel) {
        run_kernel(t, &r, kernel, 1);
        check_guards(t, &r);
        if (node->op->flags & OP_COUNTS)
            cr_assert_eq(t->counted, t->reference[node->out[0]].dim[0], "%s %s: counts %lld rows",
                         node->op->name, t->isa, (long long)t->counted);
        for (uint32_t k = 0; k < node->out_count; k++)
            check_result(t, &r, k);
        check_variant(t, &r, kernel, 2, 0, false, "with 2 threads");
        check_variant(t, &r, kernel, 3, 0, false, "with 3 threads");
        for (uint32_t i = 0; i < node->in_count; i++)
            if ((node->op->inplace >> i & 1) && node->in[i] &&
                type_bytes(graph_type(t->g.graph, node->in[i])) ==
                    type_bytes(graph_type(t->g.graph, node->out[0])))
                check_variant(t, &r, kernel, 2, 1 + i, false, "in place");
        if (node->op->updates)
            check_variant(t, &r, kernel, 2, 0, true, "as an update of its rows");
    }
    free_run(&r);
}

/* One case at full size, and if the op takes its first axis short, with less of it. Returns whether
 * it does. */
static bool check_case(const struct op *op, const struct op_case *c, const char *isa)
{
    struct trial *t = calloc(1, sizeof *t);
    t->isa = isa;
    cr_assert(op_case_build(&t->g, op, c, false), "%s", op_case_refusal(&t->g));
    t->text = arena_printf(t->g.arena, "\"%s\" \"%s\"", c->in, c->attr ? c->attr : "");
    check_run(t);
    op_case_free(&t->g);
    bool accepts = op_case_build(&t->g, op, c, true) && t->g.batch;
    if (accepts) {
        t->text = arena_printf(t->g.arena, "\"%s\" \"%s\" short", c->in, c->attr ? c->attr : "");
        /* A vector may be one of features, of which there is at least one. */
        bool vector = t->g.in_count && graph_type(t->g.graph, t->g.in[0])->rank == 1;
        for (t->count = vector; t->count <= t->g.batch; t->count++)
            if (t->count < 2 || t->count + 1 >= t->g.batch)
                check_run(t);
    }
    op_case_free(&t->g);
    free(t);
    return accepts;
}

static bool has_kernel(const struct op *op)
{
    return !(op->flags & (OP_LEAF | OP_MACRO | OP_VIEW));
}

ParameterizedTestParameters(kernels, agree_with_the_reference)
{
    static uint32_t index[256];
    cr_assert(ops_table.count <= 256);
    for (uint32_t i = 0; i < ops_table.count; i++)
        index[i] = i;
    return cr_make_param_array(uint32_t, index, ops_table.count);
}

ParameterizedTest(uint32_t *index, kernels, agree_with_the_reference)
{
    const struct op *op = ops_table.ops[*index];
    static const char *const isas[] = {"plain", "v2", "v3", "v4"};
    uint32_t shortened = 0;
    if (!has_kernel(op))
        return;
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (kernel_isa(isas[i]))
            for (const struct op_case *c = op->cases; c->in; c++)
                shortened += check_case(op, c, isas[i]);
    cr_expect(shortened || op->rows == ROWS_NONE || op->rows == ROWS_ALL,
              "%s: no case runs with a short first axis", op->name);
}
