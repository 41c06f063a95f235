/* attention_packed and its backward op: attention whose queries, keys and values lie side by side
 * in the rows of one tensor, as the product that makes them leaves them, with the rotation of
 * queries and keys on the way. Put by the fuse pass in the place of split, rope and attention:
 * nothing is cut apart, and no rotated copy is kept.
 *
 *   qkv [rows, n, 3 dim] -> y [rows, n, dim], lse [rows, heads, n]
 *
 * Formulas: ops/attention.c, with q and k rotated first where `rope` gives a base. */
#include "graph/base/check.h"
#include "ops/kernels/attention_room.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <stdlib.h>
#include <string.h>

static const struct op_attr packed_attrs[] = {
    [ATTENTION_HEADS] = {"heads", ATTR_INT, NULL, "number of heads; divides dim", NULL},
    [ATTENTION_CAUSAL] = {"causal", ATTR_BOOL, "false", "no position sees a later one", NULL},
    [ATTENTION_ROPE] = {"rope", ATTR_REAL, "0",
                        "rotate queries and keys, with this ratio of periods; 0: do not", NULL},
    {0},
};

static const struct op_input packed_inputs[] = {
    {"qkv", IN_F32, 0, "f32 [rows, n, 3 dim]: queries, keys and values side by side", DOMAIN_ANY},
    {0},
};

static const char *const packed_results[] = {"y", "lse", NULL};

static bool check_packed(const struct op_call *call)
{
    const struct type *x = &call->in[0];
    int64_t heads = call->attr[ATTENTION_HEADS].integer;
    if (x->rank != 3 || x->dim[2].size % 3)
        return op_error(call, "`qkv` must be f32 [rows, n, 3 dim], not %s", rule_print(call, 0));
    if (heads < 1 || x->dim[2].size / 3 % heads)
        return op_error(call, "%lld heads do not divide a dim of %lld", (long long)heads,
                        (long long)x->dim[2].size / 3);
    if (call->attr[ATTENTION_ROPE].real != 0 && x->dim[2].size / 3 / heads % 2)
        return op_error(call, "heads of %lld columns cannot be rotated in pairs",
                        (long long)x->dim[2].size / 3 / heads);
    return true;
}

static struct type packed_y(const struct op_call *call)
{
    struct type y = call->in[0];
    y.dim[2].size /= 3;
    return y;
}

static struct type packed_lse(const struct op_call *call)
{
    struct type lse = call->in[0];
    lse.dim[2] = lse.dim[1];
    lse.dim[1] = (struct dim){call->attr[ATTENTION_HEADS].integer, 0};
    return lse;
}

static bool packed_shape(struct op_call *call)
{
    if (!check_packed(call))
        return false;
    call->out[0] = packed_y(call);
    call->out[1] = packed_lse(call);
    return true;
}

static void packed_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    uint32_t in[] = {n->in[0], n->out[0], n->out[1], call->dout[0]};
    call->din[0] = graph_emit(call->graph, &op_attention_packed_backward, in, 4, n->attr, n);
}

/* PRODUCTS of all queries with all keys, of which the model asks for ASKED; each row read and
 * written as often as WIDTHS says. */
static void products_cost(const struct op_call *call, double products, double asked, double widths,
                          struct op_cost *out)
{
    double y = (double)type_count(&call->in[0]) / 3, n = (double)call->in[0].dim[1].size;
    double one = 2 * y * n * (call->attr[ATTENTION_CAUSAL].flag ? 0.5 : 1);
    out->flop = products * one;
    out->model = asked * one;
    out->bytes = 4 * widths * y;
}

static void packed_cost(const struct op_call *call, struct op_cost *out)
{
    products_cost(call, 2, 2, 4, out);
}

static int64_t scratch(const struct op_call *call, struct attention_room room)
{
    const struct type *qkv = &call->in[0];
    int64_t heads = call->attr[ATTENTION_HEADS].integer;
    return attention_room_bytes(room, qkv->dim[0].size * heads, qkv->dim[1].size, qkv->dim[1].size,
                                qkv->dim[2].size / 3 / heads, call->attr[ATTENTION_ROPE].real != 0);
}

static int64_t packed_workspace(const struct op_call *call)
{
    return scratch(call, ATTENTION_FORWARD);
}

/* --- the reference: cut apart, rotate, attend ----------------------------------------------- */

struct parts {
    struct ref_tensor q, k, v, y; /* [rows, n, dim] each, in one block of memory */
    double *room;
};

static struct parts parts_new(const struct ref_tensor *qkv)
{
    struct ref_tensor part = *qkv;
    part.dim[2] /= 3;
    int64_t size = ref_size(&part);
    double *room = calloc((size_t)(4 * size) + 1, sizeof *room);
    BUG_ON(!room);
    struct parts p = {part, part, part, part, room};
    p.q.data = room;
    p.k.data = room + size;
    p.v.data = room + 2 * size;
    p.y.data = room + 3 * size;
    return p;
}

/* Copies column part I of QKV to PART, or back. */
static void move_part(const struct ref_tensor *qkv, int64_t i, struct ref_tensor *part, bool back)
{
    int64_t dim = part->dim[2], rows = part->dim[0] * part->dim[1];
    for (int64_t r = 0; r < rows; r++) {
        double *packed = qkv->data + (3 * r + i) * dim, *own = part->data + r * dim;
        memcpy(back ? packed : own, back ? own : packed, (size_t)dim * sizeof *own);
    }
}

static void turn(const struct ref_call *call, struct ref_tensor *x, bool inverse)
{
    const double base = call->attr[ATTENTION_ROPE].real;
    union attr attr[] = {[ROPE_HEADS] = call->attr[ATTENTION_HEADS],
                         [ROPE_BASE] = {.real = base},
                         [ROPE_INVERSE] = {.flag = inverse}};
    struct parts copy =
        parts_new(&(struct ref_tensor){.rank = 3, .dim = {x->dim[0], x->dim[1], 3 * x->dim[2]}});
    struct ref_call rope = {.in_count = 1, .out_count = 1, .in = &copy.q, .out = x, .attr = attr};
    memcpy(copy.q.data, x->data, (size_t)ref_size(x) * sizeof *x->data);
    if (base != 0)
        op_rope.reference(&rope);
    free(copy.room);
}

static struct parts cut_apart(const struct ref_call *call)
{
    struct parts p = parts_new(&call->in[0]);
    move_part(&call->in[0], 0, &p.q, false);
    move_part(&call->in[0], 1, &p.k, false);
    move_part(&call->in[0], 2, &p.v, false);
    turn(call, &p.q, false);
    turn(call, &p.k, false);
    return p;
}

static void packed_reference(const struct ref_call *call)
{
    struct parts p = cut_apart(call);
    struct ref_call inner = *call;
    inner.in_count = 3;
    inner.in = &p.q;
    op_attention.reference(&inner);
    free(p.room);
}

static const struct op_case packed_cases[] = {
    {"f32[2,5,24]", "heads=2 rope=1e4", NULL},
    {"f32[1,1,6]", "heads=1 rope=100", NULL},
    {"f32[2,3,21]", "heads=1 causal=true", NULL},
    {"f32[3,7,27]", "heads=3", NULL},
    {"f32[2,67,24]", "heads=4 causal=true rope=1e4", NULL},
    {"f32[1,131,102]", "heads=1 rope=10", NULL},
    {"f32[1,301,12]", "heads=2 causal=true rope=100", NULL},
    {0},
};

const struct op op_attention_packed = {
    .name = "attention_packed",
    .doc = "Attention of queries, keys and values that lie side by side, rotated on the way.",
    .inputs = packed_inputs,
    .attrs = packed_attrs,
    .results = packed_results,
    .result_count = 2,
    .visible = 1,
    .flags = OP_INTERNAL,
    .rows = ROWS_SEQUENCE,
    .shape = packed_shape,
    .grad = packed_grad,
    .cost = packed_cost,
    .workspace = packed_workspace,
    .reference = packed_reference,
    .cases = packed_cases,
};

/* attention_packed_backward: qkv, y, lse, dy -> dqkv. */
static const struct op_input packed_backward_inputs[] = {
    {"qkv", IN_F32, 0, "f32 [rows, n, 3 dim]", DOMAIN_ANY},
    {"y", IN_F32, 0, "f32 [rows, n, dim]", DOMAIN_ANY},
    {"lse", IN_F32, 0, "f32 [rows, heads, n]", DOMAIN_POSITIVE},
    {"dy", IN_F32, 0, "f32 [rows, n, dim]", DOMAIN_ANY},
    {0},
};

static const char *const packed_backward_results[] = {"dqkv", NULL};

static bool packed_backward_shape(struct op_call *call)
{
    if (!check_packed(call))
        return false;
    struct type y = packed_y(call), lse = packed_lse(call);
    if (!type_same_shape(&call->in[1], &y) || !type_same_shape(&call->in[3], &y))
        return op_error(call, "`y` and `dy` must be f32 [rows, n, dim], not %s and %s",
                        rule_print(call, 1), rule_print(call, 3));
    if (!type_same_shape(&call->in[2], &lse))
        return op_error(call, "lse must be f32 [rows, heads, n], not %s", rule_print(call, 2));
    return rule_like_first(call);
}

static void packed_backward_cost(const struct op_call *call, struct op_cost *out)
{
    products_cost(call, 5, 4, 8, out); /* one makes again what was not kept */
}

static int64_t packed_backward_workspace(const struct op_call *call)
{
    return scratch(call, ATTENTION_BACKWARD);
}

static void packed_backward_reference(const struct ref_call *call)
{
    struct parts p = cut_apart(call), d = parts_new(&call->in[0]);
    const struct ref_tensor in[] = {p.q, p.k, p.v, call->in[1], call->in[2], call->in[3]};
    struct ref_call inner = *call;
    inner.in_count = 6;
    inner.in = in;
    inner.out_count = 3;
    inner.out = &d.q;
    op_attention_backward.reference(&inner);
    turn(call, &d.q, true);
    turn(call, &d.k, true);
    move_part(&call->out[0], 0, &d.q, true);
    move_part(&call->out[0], 1, &d.k, true);
    move_part(&call->out[0], 2, &d.v, true);
    free(p.room);
    free(d.room);
}

static const struct op_case packed_backward_cases[] = {
    {"f32[2,5,24] f32[2,5,8] f32[2,2,5] f32[2,5,8]", "heads=2 rope=1e4", NULL},
    {"f32[1,1,6] f32[1,1,2] f32[1,1,1] f32[1,1,2]", "heads=1 rope=100", NULL},
    {"f32[2,3,21] f32[2,3,7] f32[2,1,3] f32[2,3,7]", "heads=1 causal=true", NULL},
    {"f32[3,7,27] f32[3,7,9] f32[3,3,7] f32[3,7,9]", "heads=3", NULL},
    {"f32[2,67,24] f32[2,67,8] f32[2,4,67] f32[2,67,8]", "heads=4 causal=true rope=1e4", NULL},
    {"f32[1,301,12] f32[1,301,4] f32[1,2,301] f32[1,301,4]", "heads=2 rope=100", NULL},
    {0},
};

const struct op op_attention_packed_backward = {
    .name = "attention_packed_backward",
    .doc = "Gradient of attention_packed, from its result and the saved log-sum-exp.",
    .inputs = packed_backward_inputs,
    .attrs = packed_attrs,
    .results = packed_backward_results,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_SEQUENCE,
    .shape = packed_backward_shape,
    .cost = packed_backward_cost,
    .workspace = packed_backward_workspace,
    .reference = packed_backward_reference,
    .cases = packed_backward_cases,
};
