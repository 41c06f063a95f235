/* A linear map with what follows it element by element, done to each tile of the result while it is
 * in a cache. Emitted by passes/fuse_linear.c.
 *
 *   z = x W^T + b, and then
 *   gelu             y = gelu(z)
 *   gelu_backward    y = z gelu'(aside)      (z is the gradient that reaches the result of a gelu)
 *   add              y = aside + z
 *   gated_add        y = aside + gate z, with one gate for each sequence
 *
 * Where somebody else reads z, it is a second result. */
#include "ops/head_rows.h"
#include "ops/kernels/attrs.h"
#include "ops/kernels/product_room.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <stdlib.h>

static const char *const whats[] = {"gelu", "gelu_backward", "add", "gated_add", NULL};
static const char *const results[] = {"y", "z", NULL};

static const struct op_attr then_attrs[] = {
    [THEN_LAYOUT] = {"layout", ATTR_CHOICE, "out_in", "as of the linear map", rule_layouts},
    [THEN_WHAT] = {"then", ATTR_CHOICE, "gelu", "what follows", whats},
    [THEN_FORM] = {"form", ATTR_CHOICE, "tanh", "as of gelu", rule_gelu_forms},
    [THEN_KEEP] = {"keep", ATTR_BOOL, "false", "z is a result as well", NULL},
    {0},
};

enum { IN_ASIDE = 2, IN_GATE, IN_BIAS };

static const struct op_input then_inputs[] = {
    {"x", IN_F32, 0, "f32 [..., in]", DOMAIN_ANY},
    {"weight", IN_F32, INPUT_SHARED, "f32 [out, in], or [in, out]", DOMAIN_ANY},
    [IN_ASIDE] = {"aside", IN_F32, INPUT_OPTIONAL, "f32 [..., out]: of all but gelu", DOMAIN_ANY},
    [IN_GATE] = {"gate", IN_F32, INPUT_OPTIONAL | INPUT_SEQUENCE, "f32 [rows, out]: of gated_add",
                 DOMAIN_ANY},
    [IN_BIAS] = {"bias", IN_F32, INPUT_OPTIONAL | INPUT_SHARED, "f32 [out]", DOMAIN_ANY},
    {0},
};

static bool then_shape(struct op_call *call)
{
    const struct type *x = &call->in[0], *w = &call->in[1], *gate = &call->in[IN_GATE];
    bool out_in = call->attr[THEN_LAYOUT].integer == LAYOUT_OUT_IN;
    int64_t what = call->attr[THEN_WHAT].integer;
    bool fits = x->rank >= 2 && w->rank == 2 && w->dim[out_in ? 1 : 0].size == rule_last(x) &&
                op_has(call, IN_ASIDE) == (what != THEN_GELU) &&
                op_has(call, IN_GATE) == (what == THEN_GATED_ADD);
    struct type y = *x;
    if (fits)
        y.dim[x->rank - 1] = (struct dim){w->dim[out_in ? 0 : 1].size, 0};
    if (fits && op_has(call, IN_ASIDE))
        fits = type_same_shape(&call->in[IN_ASIDE], &y);
    if (fits && op_has(call, IN_GATE))
        fits = gate->rank == 2 && gate->dim[0].size == x->dim[0].size &&
               gate->dim[0].axis == x->dim[0].axis && rule_last(gate) == rule_last(&y);
    if (fits && op_has(call, IN_BIAS))
        fits = call->in[IN_BIAS].rank == 1 && rule_last(&call->in[IN_BIAS]) == rule_last(&y);
    if (!fits)
        return op_error(call, "no %s after a linear map: x %s, weight %s, aside %s", whats[what],
                        rule_print(call, 0), rule_print(call, 1), rule_print(call, IN_ASIDE));
    call->out_count = call->attr[THEN_KEEP].flag ? 2 : 1;
    call->out[0] = call->out[1] = y;
    return true;
}

static void then_cost(const struct op_call *call, struct op_cost *out)
{
    bool gelu = call->attr[THEN_WHAT].integer <= THEN_GELU_BACKWARD;
    double y = (double)type_count(&call->out[0]);
    cost_product(out, type_count(&call->in[0]) / rule_last(&call->in[0]), rule_last(&call->out[0]),
                 rule_last(&call->in[0]));
    out->flop = out->model + (gelu ? GELU_FLOP : 2) * y;
    out->bytes = 4 * y * call->out_count;
    for (uint32_t i = 0; i < call->in_count; i++)
        if (op_has(call, i))
            out->bytes += 4 * (double)type_count(&call->in[i]);
}

static int64_t then_workspace(const struct op_call *call)
{
    const struct type *x = &call->in[0];
    return product_room_bytes(type_count(x) / rule_last(x), rule_last(&call->out[0]), rule_last(x));
}

static void then_reference(const struct ref_call *call)
{
    struct head t = head_open(call, call->attr[THEN_LAYOUT].integer, IN_BIAS, false);
    const double *aside = call->in[IN_ASIDE].data, *gate = call->in[IN_GATE].data;
    int64_t each = gate && t.rows ? t.rows / call->in[IN_GATE].dim[0] : 1;
    for (int64_t i = 0; i < t.rows * t.states; i++) {
        int64_t row = i / t.states, j = i % t.states;
        double *y = &call->out[0].data[i], slope, phi;
        if (j == 0)
            head_logits(&t, row);
        double z = t.z[j];
        switch (call->attr[THEN_WHAT].integer) {
        case THEN_GELU:
            *y = z * gelu_phi(z, call->attr[THEN_FORM].integer, &slope);
            break;
        case THEN_GELU_BACKWARD:
            phi = gelu_phi(aside[i], call->attr[THEN_FORM].integer, &slope);
            *y = z * (phi + aside[i] * slope);
            break;
        case THEN_ADD:
            *y = aside[i] + z;
            break;
        default:
            *y = aside[i] + gate[row / each * t.states + j] * z;
        }
        if (call->out_count > 1)
            call->out[1].data[i] = z;
    }
    free(t.z);
}

static const struct op_case then_cases[] = {
    {"f32[2,3,8] f32[7,8] _ _ f32[7]", "keep=true", NULL},
    {"f32[1,1] f32[1,1] _ _ _", "form=erf", NULL},
    {"f32[2,5] f32[5,131] _ _ f32[131]", "layout=in_out keep=true", NULL},
    {"f32[3,13,31] f32[67,31] _ _ f32[67]", "form=erf keep=true", NULL},
    {"f32[3,13,31] f32[31,67] _ _ _", "layout=in_out", NULL},
    {"f32[3,13,31] f32[31,67] f32[3,13,67] _ _", "layout=in_out then=gelu_backward", NULL},
    {"f32[2,3,8] f32[7,8] f32[2,3,7] _ _", "then=gelu_backward form=erf", NULL},
    {"f32[1,5] f32[37,5] f32[1,37] _ f32[37]", "then=gelu_backward", NULL},
    {"f32[3,13,31] f32[67,31] f32[3,13,67] _ f32[67]", "then=add", NULL},
    {"f32[2,7] f32[3,7] f32[2,3] _ _", "then=add keep=true", NULL},
    {"f32[3,13,31] f32[67,31] f32[3,13,67] f32[3,67] f32[67]", "then=gated_add keep=true", NULL},
    {"f32[5,7] f32[7,18] f32[5,18] f32[5,18] f32[18]", "then=gated_add layout=in_out", NULL},
    {"f32[2,41,5] f32[301,5] f32[2,41,301] f32[2,301] _", "then=gated_add", NULL},
    {0},
};

const struct op op_linear_then = {
    .name = "linear_then",
    .doc = "A linear map, and what follows it element by element.",
    .inputs = then_inputs,
    .attrs = then_attrs,
    .results = results,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_POSITION,
    .shape = then_shape,
    .cost = then_cost,
    .workspace = then_workspace,
    .reference = then_reference,
    .cases = then_cases,
};
