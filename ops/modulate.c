/* modulate, gated_add, dropout and their backward ops: what adaptive layer norm does around the
 * blocks of a transformer (Peebles, Xie 2023). Called through the table in ops/table.c.
 *
 * A vector of a sequence, [rows, dim], acts on all positions of x [rows, ..., dim]. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

/* Whether input I is [rows, dim] for x = input X [rows, ..., dim]. */
static bool check_vector(const struct op_call *call, uint32_t x, uint32_t i)
{
    const struct type *a = &call->in[x], *b = &call->in[i];
    if (a->rank >= 2 && b->rank == 2 && b->dim[0].size == a->dim[0].size &&
        b->dim[0].axis == a->dim[0].axis && b->dim[1].size == a->dim[a->rank - 1].size)
        return true;
    return op_error(call, "`%s` must be [rows, dim] and `%s` [rows, ..., dim], not %s and %s",
                    call->op->inputs[i].name, call->op->inputs[x].name, rule_print(call, i),
                    rule_print(call, x));
}

static void map_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = 4 * (double)type_count(&call->in[0]);
    out->bytes = 0;
    for (uint32_t i = 0; i < call->in_count; i++)
        out->bytes += 4 * (double)type_count(&call->in[i]);
    for (uint32_t i = 0; i < call->out_count; i++)
        out->bytes += 4 * (double)type_count(&call->out[i]);
}

/* Sequences, positions of one, and columns of X. */
struct span3 {
    int64_t rows, length, dim;
};

static struct span3 span3(const struct ref_tensor *x)
{
    struct span3 s = {x->dim[0], 1, x->dim[x->rank - 1]};
    for (uint32_t i = 1; i + 1 < x->rank; i++)
        s.length *= x->dim[i];
    return s;
}

/* modulate: y = x (1 + scale) + shift.   x [rows, ..., dim], shift, scale [rows, dim]
 *   dx = dy (1 + scale),  dshift = sum over positions of dy,  dscale = sum of dy x */
static const struct op_input modulate_inputs[] = {
    {"x", IN_F32, 0, "f32 [rows, ..., dim]", DOMAIN_ANY},
    {"shift", IN_F32, INPUT_SEQUENCE, "f32 [rows, dim]", DOMAIN_ANY},
    {"scale", IN_F32, INPUT_SEQUENCE, "f32 [rows, dim]", DOMAIN_ANY},
    {0},
};

static bool modulate_shape(struct op_call *call)
{
    return check_vector(call, 0, 1) && check_vector(call, 0, 2) && rule_like_first(call);
}

static void modulate_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    uint32_t dx = emit3(call->graph, &op_modulate_backward, n->in[0], n->in[2], call->dout[0], n);
    const uint32_t *out = call->graph->nodes[call->graph->values[dx].node].out;
    for (uint32_t i = 0; i < 3; i++)
        if (call->need[i])
            call->din[i] = out[i];
}

static void modulate_reference(const struct ref_call *call)
{
    struct span3 s = span3(&call->in[0]);
    for (int64_t r = 0; r < s.rows * s.length; r++)
        for (int64_t i = 0; i < s.dim; i++) {
            int64_t at = r / s.length * s.dim + i;
            call->out[0].data[r * s.dim + i] =
                call->in[0].data[r * s.dim + i] * (1 + call->in[2].data[at]) + call->in[1].data[at];
        }
}

static const struct op_case modulate_cases[] = {
    {"f32[2,3,8] f32[2,8] f32[2,8]", NULL, NULL},
    {"f32[1,1,1] f32[1,1] f32[1,1]", NULL, NULL},
    {"f32[5,7] f32[5,7] f32[5,7]", NULL, NULL},
    {"f32[3,2,5,67] f32[3,67] f32[3,67]", NULL, NULL},
    {0},
};

const struct op op_modulate = {
    .name = "modulate",
    .doc = "x (1 + scale) + shift, with one scale and shift for each sequence.",
    .inputs = modulate_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_POSITION,
    .shape = modulate_shape,
    .grad = modulate_grad,
    .cost = map_cost,
    .inplace = 1,
    .reference = modulate_reference,
    .cases = modulate_cases,
};

/* modulate_backward: x, scale, dy -> dx, dshift, dscale. */
static const struct op_input modulate_backward_inputs[] = {
    {"x", IN_F32, 0, "f32 [rows, ..., dim]", DOMAIN_ANY},
    {"scale", IN_F32, 0, "f32 [rows, dim]", DOMAIN_ANY},
    {"dy", IN_F32, 0, "f32 [rows, ..., dim]", DOMAIN_ANY},
    {0},
};

static const char *const modulate_backward_results[] = {"dx", "dshift", "dscale", NULL};

static bool modulate_backward_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[1] = call->out[2] = call->in[1];
    return check_vector(call, 0, 1) && rule_same_axes(call, 0, 2, call->in[0].rank);
}

static void modulate_backward_reference(const struct ref_call *call)
{
    struct span3 s = span3(&call->in[0]);
    double *dshift = call->out[1].data, *dscale = call->out[2].data;
    for (int64_t i = 0; i < s.rows * s.dim; i++)
        dshift[i] = dscale[i] = 0;
    for (int64_t r = 0; r < s.rows * s.length; r++)
        for (int64_t i = 0; i < s.dim; i++) {
            int64_t at = r / s.length * s.dim + i;
            double dy = call->in[2].data[r * s.dim + i];
            call->out[0].data[r * s.dim + i] = dy * (1 + call->in[1].data[at]);
            dshift[at] += dy;
            dscale[at] += dy * call->in[0].data[r * s.dim + i];
        }
}

static const struct op_case modulate_backward_cases[] = {
    {"f32[2,3,8] f32[2,8] f32[2,3,8]", NULL, NULL},
    {"f32[1,1,1] f32[1,1] f32[1,1,1]", NULL, NULL},
    {"f32[5,7] f32[5,7] f32[5,7]", NULL, NULL},
    {"f32[3,41,67] f32[3,67] f32[3,41,67]", NULL, NULL},
    {0},
};

const struct op op_modulate_backward = {
    .name = "modulate_backward",
    .doc = "Gradients of modulate.",
    .inputs = modulate_backward_inputs,
    .results = modulate_backward_results,
    .result_count = 3,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_SEQUENCE,
    .shape = modulate_backward_shape,
    .cost = map_cost,
    .inplace = 1 | 4,
    .reference = modulate_backward_reference,
    .cases = modulate_backward_cases,
};

/* Dropout (Srivastava et al. 2014), inverted: an element is kept with probability 1 - p and then
 * divided by it. Element e of a sequence is kept when its random word is at least p 2^32; the way
 * back makes the same draws again. With p = 0 nothing is drawn. */
static const struct op_attr dropout_attrs[] = {
    [DROPOUT_P] = {"p", ATTR_REAL, NULL, "probability of dropping an element", NULL},
    {0},
};

static const struct op_attr gated_attrs[] = {
    [DROPOUT_P] = {"dropout", ATTR_REAL, "0", "probability of dropping an element of y", NULL},
    {0},
};

static bool check_p(const struct op_call *call)
{
    double p = call->attr[DROPOUT_P].real;
    if (p >= 0 && p < 1)
        return true;
    return op_error(call, "dropout must be in [0, 1), not %g", p);
}

static bool keeps_all(const union attr *attr)
{
    return attr[DROPOUT_P].real == 0;
}

/* The factor of element E of sequence ROW: 0 or 1 / (1 - p). */
static double kept(const struct ref_call *call, int64_t row, int64_t e)
{
    double p = call->attr[DROPOUT_P].real;
    const struct draw *d = &call->draw;
    uint32_t word;
    if (p == 0)
        return 1;
    random_words(d->key, d->iteration, d->stream, d->sequence + (uint32_t)row, (uint32_t)e, 1,
                 &word);
    return (double)word >= p * 4294967296.0 ? 1 / (1 - p) : 0;
}

static const struct op_input dropout_inputs[] = {
    {"x", IN_F32, 0, "f32 [rows, ...]", DOMAIN_ANY},
    {0},
};

static bool dropout_shape(struct op_call *call)
{
    if (call->in[0].rank == 0)
        return op_error(call, "x must have an axis of sequences, not be a scalar");
    return check_p(call) && rule_like_first(call);
}

/* The same draws, since the stream comes from the node: dx = dropout(dy). */
static void dropout_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    call->din[0] = graph_emit(call->graph, &op_dropout, &call->dout[0], 1, n->attr, n);
}

static void dropout_reference(const struct ref_call *call)
{
    int64_t n = ref_size(&call->in[0]), size = n ? n / call->in[0].dim[0] : 1;
    for (int64_t i = 0; i < n; i++)
        call->out[0].data[i] = call->in[0].data[i] * kept(call, i / size, i % size);
}

static const struct op_case dropout_cases[] = {
    {"f32[2,3,8]", "p=0.5", NULL},
    {"f32[3,1]", "p=0", NULL},
    {"f32[7]", "p=0.25", NULL},
    {"f32[3,5,263]", "p=0.1", NULL},
    {0},
};

const struct op op_dropout = {
    .name = "dropout",
    .doc = "Sets random elements to zero and scales the others up.",
    .inputs = dropout_inputs,
    .attrs = dropout_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_RANDOM,
    .rows = ROWS_EACH,
    .still = keeps_all,
    .shape = dropout_shape,
    .grad = dropout_grad,
    .cost = map_cost,
    .inplace = 1,
    .reference = dropout_reference,
    .cases = dropout_cases,
};

/* gated_add: out = x + gate drop(y).   x, y [rows, ..., dim], gate [rows, dim]
 *   dx = dout,  dy = gate drop(dout),  dgate = sum over positions of drop(y) dout */
static const struct op_input gated_inputs[] = {
    {"x", IN_F32, 0, "f32 [rows, ..., dim]", DOMAIN_ANY},
    {"y", IN_F32, 0, "f32 [rows, ..., dim]", DOMAIN_ANY},
    {"gate", IN_F32, INPUT_SEQUENCE, "f32 [rows, dim]", DOMAIN_ANY},
    {0},
};

static const char *const gated_results[] = {"out", NULL};

static bool gated_shape(struct op_call *call)
{
    return check_p(call) && rule_same_axes(call, 0, 1, call->in[0].rank) &&
           rule_same_axes(call, 1, 0, call->in[1].rank) && check_vector(call, 0, 2) &&
           rule_like_first(call);
}

static void gated_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    if (call->need[0])
        call->din[0] = call->dout[0];
    if (!call->need[1] && !call->need[2])
        return;
    uint32_t in[] = {n->in[1], n->in[2], call->dout[0]};
    uint32_t dy = graph_emit(call->graph, &op_gated_add_backward, in, 3, n->attr, n);
    const uint32_t *out = call->graph->nodes[call->graph->values[dy].node].out;
    for (uint32_t i = 1; i < 3; i++)
        if (call->need[i])
            call->din[i] = out[i - 1];
}

static void gated_reference(const struct ref_call *call)
{
    struct span3 s = span3(&call->in[0]);
    for (int64_t i = 0; i < s.rows * s.length * s.dim; i++) {
        int64_t row = i / (s.length * s.dim), e = i % (s.length * s.dim);
        double gate = call->in[2].data[row * s.dim + i % s.dim];
        call->out[0].data[i] =
            call->in[0].data[i] + gate * kept(call, row, e) * call->in[1].data[i];
    }
}

static const struct op_case gated_cases[] = {
    {"f32[2,3,8] f32[2,3,8] f32[2,8]", "dropout=0.5", NULL},
    {"f32[1,1,1] f32[1,1,1] f32[1,1]", NULL, NULL},
    {"f32[5,7] f32[5,7] f32[5,7]", "dropout=0.25", NULL},
    {"f32[3,5,67] f32[3,5,67] f32[3,67]", "dropout=0.1", NULL},
    {0},
};

const struct op op_gated_add = {
    .name = "gated_add",
    .doc = "x + gate dropout(y), with one gate for each sequence.",
    .inputs = gated_inputs,
    .attrs = gated_attrs,
    .results = gated_results,
    .result_count = 1,
    .flags = OP_RANDOM,
    .rows = ROWS_POSITION,
    .still = keeps_all,
    .shape = gated_shape,
    .grad = gated_grad,
    .cost = map_cost,
    .inplace = 1 | 2,
    .reference = gated_reference,
    .cases = gated_cases,
};

/* gated_add_backward: y, gate, dout -> dy, dgate, with the draws of the node it is for. */
static const struct op_input gated_backward_inputs[] = {
    {"y", IN_F32, 0, "f32 [rows, ..., dim]", DOMAIN_ANY},
    {"gate", IN_F32, 0, "f32 [rows, dim]", DOMAIN_ANY},
    {"dout", IN_F32, 0, "f32 [rows, ..., dim]", DOMAIN_ANY},
    {0},
};

static const char *const gated_backward_results[] = {"dy", "dgate", NULL};

static bool gated_backward_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[1] = call->in[1];
    return check_p(call) && check_vector(call, 0, 1) &&
           rule_same_axes(call, 0, 2, call->in[0].rank);
}

static void gated_backward_reference(const struct ref_call *call)
{
    struct span3 s = span3(&call->in[0]);
    for (int64_t i = 0; i < s.rows * s.dim; i++)
        call->out[1].data[i] = 0;
    for (int64_t i = 0; i < s.rows * s.length * s.dim; i++) {
        int64_t row = i / (s.length * s.dim), at = row * s.dim + i % s.dim;
        double dout = call->in[2].data[i] * kept(call, row, i % (s.length * s.dim));
        call->out[1].data[at] += dout * call->in[0].data[i];
        call->out[0].data[i] = dout * call->in[1].data[at];
    }
}

static const struct op_case gated_backward_cases[] = {
    {"f32[2,3,8] f32[2,8] f32[2,3,8]", "dropout=0.5", NULL},
    {"f32[1,1,1] f32[1,1] f32[1,1,1]", NULL, NULL},
    {"f32[5,7] f32[5,7] f32[5,7]", "dropout=0.25", NULL},
    {"f32[3,41,67] f32[3,67] f32[3,41,67]", "dropout=0.1", NULL},
    {0},
};

const struct op op_gated_add_backward = {
    .name = "gated_add_backward",
    .doc = "Gradients of gated_add.",
    .inputs = gated_backward_inputs,
    .attrs = gated_attrs,
    .results = gated_backward_results,
    .result_count = 2,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE | OP_RANDOM,
    .rows = ROWS_SEQUENCE,
    .still = keeps_all,
    .shape = gated_backward_shape,
    .cost = map_cost,
    .inplace = 1 | 4,
    .reference = gated_backward_reference,
    .cases = gated_backward_cases,
};
