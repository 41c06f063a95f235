/* Runs a graph on the references of its ops; see reference.h. Called by tests. */
#include "ops/reference.h"

#include "graph/base/check.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <string.h>

struct reference_state {
    const struct graph *graph;
    const struct reference_io *io;
    struct arena *arena;
    struct ref_tensor *values;
    int64_t *axis_count;
};

/* A tensor for value V, at the dims of the run. */
static struct ref_tensor make_tensor(const struct reference_state *run, uint32_t v)
{
    const struct type *type = graph_type(run->graph, v);
    struct ref_tensor t = {.rank = type->rank};
    for (uint32_t i = 0; i < type->rank; i++) {
        uint32_t axis = type->dim[i].axis;
        t.dim[i] = axis ? run->axis_count[axis] : type->dim[i].size;
    }
    t.data = arena_new_array(run->arena, double, (size_t)ref_size(&t));
    return t;
}

static void round_value(const struct reference_state *run, uint32_t v)
{
    struct ref_tensor *t = &run->values[v];
    if (!run->io->round || graph_type(run->graph, v)->dtype != DT_F32)
        return;
    for (int64_t i = 0; i < ref_size(t); i++)
        t->data[i] = (double)(float)t->data[i];
}

static bool stop(const struct reference_state *run, const struct node *node, const char *why)
{
    struct span span = node->origin ? node->origin->span : (struct span){0};
    diag_error(run->graph->diags, FAULT_RUN, span, "the reference cannot run `%s`: %s",
               node->op->name, why);
    return false;
}

static bool run_leaf(const struct reference_state *run, const struct node *node)
{
    uint32_t v = node->out[0];
    struct ref_tensor *t = &run->values[v];
    *t = make_tensor(run, v);
    if (node->op == &op_const)
        for (int64_t i = 0; i < ref_size(t); i++)
            t->data[i] = node->attr[CONST_VALUE].real;
    else if (!run->io->supply || !run->io->supply(run->io->context, run->graph, v, t))
        return stop(run, node, "it was given no value");
    round_value(run, v);
    return true;
}

static bool run_node(const struct reference_state *run, const struct node *node)
{
    if (!node->op->reference)
        return stop(run, node, "it has no reference");
    struct ref_tensor *in = arena_new_array(run->arena, struct ref_tensor, node->in_count);
    struct ref_tensor *out = arena_new_array(run->arena, struct ref_tensor, node->out_count);
    enum dtype *dtype = arena_new_array(run->arena, enum dtype, node->out_count);
    int64_t count = -1;
    for (uint32_t i = 0; i < node->in_count; i++)
        in[i] = run->values[node->in[i]];
    for (uint32_t i = 0; i < node->out_count; i++) {
        out[i] = make_tensor(run, node->out[i]);
        dtype[i] = graph_type(run->graph, node->out[i])->dtype;
    }
    struct ref_call call = {.in_count = node->in_count,
                            .out_count = node->out_count,
                            .in = in,
                            .out = out,
                            .out_dtype = dtype,
                            .attr = node->attr,
                            .draw = run->io->draw,
                            .count = &count};
    call.draw.stream = node->stream;
    if (node->process)
        call.chain = &run->graph->processes[node->process - 1].chain;
    node->op->reference(&call);
    if (node->op->flags & OP_COUNTS) {
        BUG_ON(count < 0 || count > out[0].dim[0]);
        run->axis_count[graph_type(run->graph, node->out[0])->dim[0].axis] = count;
        out[0].dim[0] = count;
    }
    for (uint32_t i = 0; i < node->out_count; i++) {
        run->values[node->out[i]] = out[i];
        round_value(run, node->out[i]);
    }
    return true;
}

bool reference_run(const struct graph *graph, const struct reference_io *io, struct arena *arena,
                   struct ref_tensor *values)
{
    struct reference_state run = {graph, io, arena, values,
                                  arena_new_array(arena, int64_t, graph->axis_count)};
    memset(values, 0, graph->value_count * sizeof *values);
    for (uint32_t i = 1; i < graph->axis_count; i++) {
        bool given = io->axis_count && !graph->axes[i].counter;
        run.axis_count[i] = given ? io->axis_count[i] : graph->axes[i].size;
    }
    for (uint32_t i = 0; i < graph->order_count; i++) {
        const struct node *node = &graph->nodes[graph->order[i]];
        if (node->dead)
            continue;
        if (node->op->flags & OP_LEAF ? !run_leaf(&run, node) : !run_node(&run, node))
            return false;
    }
    return true;
}
