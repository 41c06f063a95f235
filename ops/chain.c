/* Shape rules and reference helpers shared by the diffusion families; see chain.h. */
#include "ops/chain.h"

#include "graph/base/check.h"
#include "graph/base/random.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <stdlib.h>

static const char *input_name(const struct op_call *call, uint32_t i)
{
    return call->op->inputs[i].name;
}

/* Whether the first AXES axes of inputs I and J agree, short axes included. */
static bool same_axes(const struct op_call *call, uint32_t i, uint32_t j, uint32_t axes)
{
    const struct type *a = &call->in[i], *b = &call->in[j];
    for (uint32_t k = 0; k < axes; k++)
        if (a->dim[k].size != b->dim[k].size || a->dim[k].axis != b->dim[k].axis)
            return false;
    return true;
}

bool chain_expect_tokens(const struct op_call *call, uint32_t i, uint32_t like)
{
    const struct type *type = &call->in[i];
    if (type->process != call->process)
        return op_error(call, "`%s` holds tokens of another process than the one named here",
                        input_name(call, i));
    if (type->rank == 0 || type->rank >= TENSOR_RANK_MAX)
        return op_error(call, "`%s` must be tokens [rows, length], not %s", input_name(call, i),
                        rule_print(call, i));
    if (type->rank != call->in[like].rank || !same_axes(call, i, like, type->rank))
        return op_error(call, "`%s` is %s, but `%s` is %s", input_name(call, i),
                        rule_print(call, i), input_name(call, like), rule_print(call, like));
    return true;
}

bool chain_expect_scores(const struct op_call *call, uint32_t i, uint32_t x)
{
    if (!op_has(call, i))
        return true;
    const struct type *type = &call->in[i];
    uint32_t rank = call->in[x].rank;
    if (type->rank != rank + 1 || !same_axes(call, i, x, rank))
        return op_error(call, "`%s` must have the axes of `%s` and then the states: %s against %s",
                        input_name(call, i), input_name(call, x), rule_print(call, i),
                        rule_print(call, x));
    if (type->dim[rank].size != call->chain->states)
        return op_error(call, "the last axis of `%s`, %s, must have the %d states of the process",
                        input_name(call, i), rule_print(call, i), (int)call->chain->states);
    return true;
}

bool chain_expect_times(const struct op_call *call, uint32_t i, uint32_t x)
{
    uint32_t rank = call->in[i].rank;
    if (rank == 0 || (rank == 1 && same_axes(call, i, x, 1)))
        return true;
    return op_error(call, "`%s` must be a scalar or one number a row of `%s`: %s against %s",
                    input_name(call, i), input_name(call, x), rule_print(call, i),
                    rule_print(call, x));
}

bool chain_expect_keep(const struct op_call *call, uint32_t i, uint32_t x)
{
    if (!op_has(call, i))
        return true;
    if (call->in[i].rank == call->in[x].rank && same_axes(call, i, x, call->in[x].rank))
        return true;
    return op_error(call, "`%s` must have the axes of `%s`: %s against %s", input_name(call, i),
                    input_name(call, x), rule_print(call, i), rule_print(call, x));
}

void chain_cost(const struct op_call *call, double flop, struct op_cost *out)
{
    double widest = 0, bytes = 0;
    for (uint32_t i = 0; i < call->in_count; i++)
        if (op_has(call, i)) {
            widest = fmax(widest, (double)type_count(&call->in[i]));
            bytes += (double)type_bytes(&call->in[i]);
        }
    for (uint32_t i = 0; i < call->out_count; i++) {
        widest = fmax(widest, (double)type_count(&call->out[i]));
        bytes += (double)type_bytes(&call->out[i]);
    }
    out->flop = flop * widest;
    out->bytes = bytes;
}

uint32_t emit_row_sums(struct graph *graph, uint32_t x, const struct node *like)
{
    union attr attr[] = {[REDUCE_AXIS] = {.integer = -1}, [REDUCE_KEEP] = {.flag = false}};
    while (graph_type(graph, x)->rank > 1)
        x = graph_emit(graph, &op_sum, &x, 1, attr, like);
    return x;
}

int64_t chain_workspace(const struct op_call *call)
{
    return chain_room_bytes(call->chain);
}

int64_t chain_back_workspace(const struct op_call *call)
{
    return chain_back_bytes(call->chain);
}

void *ref_room(const struct ref_call *call)
{
    int64_t bytes = chain_back_bytes(call->chain);
    void *room = bytes ? aligned_alloc(64, (size_t)bytes) : NULL;
    BUG_ON(bytes && !room);
    return room;
}

struct chain_walk ref_walk(const struct ref_tensor *x)
{
    int64_t rows = x->rank ? x->dim[0] : 1;
    return (struct chain_walk){rows, rows ? ref_size(x) / rows : 0};
}

double ref_time(const struct ref_tensor *time, int64_t row)
{
    return time->data[time->rank ? row : 0];
}

double ref_uniform(const struct ref_call *call, int64_t row, int64_t position)
{
    const struct draw *draw = &call->draw;
    return random_uniform(draw->key, draw->iteration, draw->stream, draw->sequence + (uint32_t)row,
                          (uint32_t)position);
}

bool chain_noised_from(const struct graph *graph, uint32_t x, uint32_t x0)
{
    const struct node *n = &graph->nodes[graph->values[x].node];
    while (n->op == &op_where && n->in[1] == x0) /* some positions are known, and stay */
        n = &graph->nodes[graph->values[n->in[2]].node];
    return (n->op == &op_perturb || n->op == &op_mask_exactly) && n->in[0] == x0;
}
