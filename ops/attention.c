/* attention, its backward op, and rope. Called through the table in ops/table.c. */
#include "ops/kernels/attention_room.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

/* attention: scaled dot products, head by head; head h of dim/heads = d columns.
 *   q [rows, m, dim], k, v [rows, n, dim] -> y [rows, m, dim], lse [rows, heads, m]
 *
 *   s_ij = q_i . k_j / sqrt(d),  lse_i = log sum_j exp(s_ij),  p_ij = exp(s_ij - lse_i)
 *   y_i = sum_j p_ij v_j
 *
 * causal: query i sees keys j <= i + n - m (the last query sees all: what a cache needs).
 * Only lse is kept for the way back; the scores are made again there:
 *   dp_ij = dy_i . v_j,  D_i = dy_i . y_i,  ds_ij = p_ij (dp_ij - D_i)
 *   dq_i = sum_j ds_ij k_j / sqrt(d),  dk_j = sum_i ds_ij q_i / sqrt(d),  dv_j = sum_i p_ij dy_i
 * (Dao, Fu, Ermon, Rudra, Re 2022; the online softmax is Milakov, Gimelshein 2018.) */
static const struct op_attr attention_attrs[] = {
    [ATTENTION_HEADS] = {"heads", ATTR_INT, NULL, "number of heads; divides dim", NULL},
    [ATTENTION_CAUSAL] = {"causal", ATTR_BOOL, "false", "no position sees a later one", NULL},
    {0},
};

static const struct op_input attention_inputs[] = {
    {"q", IN_F32, 0, "f32 [rows, m, dim]", DOMAIN_ANY},
    {"k", IN_F32, 0, "f32 [rows, n, dim]", DOMAIN_ANY},
    {"v", IN_F32, 0, "f32 [rows, n, dim]", DOMAIN_ANY},
    {0},
};

static const char *const attention_results[] = {"y", "lse", NULL};

/* x is [rows, length, dim] and HEADS divides dim. */
static bool check_heads(const struct op_call *call, int64_t heads)
{
    const struct type *x = &call->in[0];
    if (x->rank != 3)
        return op_error(call, "`%s` must be f32 [rows, length, dim], not %s",
                        call->op->inputs[0].name, rule_print(call, 0));
    if (heads < 1 || x->dim[2].size % heads)
        return op_error(call, "%lld heads do not divide a dim of %lld", (long long)heads,
                        (long long)x->dim[2].size);
    return true;
}

static bool check_qkv(const struct op_call *call)
{
    const struct type *q = &call->in[0], *k = &call->in[1];
    if (!check_heads(call, call->attr[ATTENTION_HEADS].integer) || !rule_same_axes(call, 0, 1, 1))
        return false;
    if (k->rank != 3 || k->dim[2].size != q->dim[2].size || !type_same_shape(k, &call->in[2]))
        return op_error(call, "k and v must be f32 [rows, n, %lld], not %s and %s",
                        (long long)q->dim[2].size, rule_print(call, 1), rule_print(call, 2));
    if (call->attr[ATTENTION_CAUSAL].flag && q->dim[1].size > k->dim[1].size)
        return op_error(call, "causal: %lld queries cannot be the last of %lld keys",
                        (long long)q->dim[1].size, (long long)k->dim[1].size);
    return true;
}

static struct type lse_type(const struct op_call *call)
{
    struct type lse = call->in[0];
    lse.dim[2] = lse.dim[1];
    lse.dim[1] = (struct dim){call->attr[ATTENTION_HEADS].integer, 0};
    return lse;
}

static bool attention_shape(struct op_call *call)
{
    if (!check_qkv(call))
        return false;
    call->out[0] = call->in[0];
    call->out[1] = lse_type(call);
    return true;
}

static void attention_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    uint32_t in[] = {n->in[0], n->in[1], n->in[2], n->out[0], n->out[1], call->dout[0]};
    uint32_t dq = graph_emit(call->graph, &op_attention_backward, in, 6, n->attr, n);
    const uint32_t *out = call->graph->nodes[call->graph->values[dq].node].out;
    for (uint32_t i = 0; i < 3; i++)
        if (call->need[i])
            call->din[i] = out[i];
}

/* Multiplications and additions of one product of all queries with all keys. */
static double product_flop(const struct op_call *call)
{
    double pairs = (double)call->in[1].dim[1].size * (call->attr[ATTENTION_CAUSAL].flag ? 0.5 : 1);
    return 2 * (double)type_count(&call->in[0]) * pairs;
}

static void attention_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = out->model = 2 * product_flop(call);
    out->bytes = 8 * (double)(type_count(&call->in[0]) + type_count(&call->in[1]));
}

static int64_t scratch(const struct op_call *call, struct attention_room room)
{
    const struct type *q = &call->in[0], *k = &call->in[1];
    int64_t heads = call->attr[ATTENTION_HEADS].integer;
    return attention_room_bytes(room, q->dim[0].size * heads, q->dim[1].size, k->dim[1].size,
                                q->dim[2].size / heads, false);
}

static int64_t attention_workspace(const struct op_call *call)
{
    return scratch(call, ATTENTION_FORWARD);
}

/* One head of one sequence, of the reference. */
struct head {
    int64_t m, n, dim, d, base_q, base_k; /* lengths, widths, offsets of the first elements */
    bool causal;
};

static struct head head_at(const struct ref_call *call, int64_t row, int64_t h)
{
    const struct ref_tensor *q = &call->in[0], *k = &call->in[1];
    struct head at = {.m = q->dim[1], .n = k->dim[1], .dim = q->dim[2]};
    at.d = at.dim / call->attr[ATTENTION_HEADS].integer;
    at.base_q = row * at.m * at.dim + h * at.d;
    at.base_k = row * at.n * at.dim + h * at.d;
    at.causal = call->attr[ATTENTION_CAUSAL].flag;
    return at;
}

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* s_ij, or -INFINITY where j is not seen. */
static double score(const struct ref_call *call, const struct head *at, int64_t i, int64_t j)
{
    if (at->causal && j > i + at->n - at->m)
        return -INFINITY;
    return dot(call->in[0].data + at->base_q + i * at->dim,
               call->in[1].data + at->base_k + j * at->dim, at->d) /
           sqrt((double)at->d);
}

static double head_lse(const struct ref_call *call, const struct head *at, int64_t i)
{
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < at->n; j++)
        most = fmax(most, score(call, at, i, j));
    for (int64_t j = 0; j < at->n; j++)
        sum += exp(score(call, at, i, j) - most);
    return most + log(sum);
}

static void attention_reference(const struct ref_call *call)
{
    int64_t heads = call->attr[ATTENTION_HEADS].integer;
    for (int64_t t = 0; t < call->in[0].dim[0] * heads; t++) {
        struct head at = head_at(call, t / heads, t % heads);
        for (int64_t i = 0; i < at.m; i++) {
            double *y = call->out[0].data + at.base_q + i * at.dim;
            double lse = head_lse(call, &at, i);
            call->out[1].data[t * at.m + i] = lse;
            for (int64_t c = 0; c < at.d; c++)
                y[c] = 0;
            for (int64_t j = 0; j < at.n; j++)
                for (int64_t c = 0; c < at.d; c++)
                    y[c] += exp(score(call, &at, i, j) - lse) *
                            call->in[2].data[at.base_k + j * at.dim + c];
        }
    }
}

static const struct op_case attention_cases[] = {
    {"f32[2,5,8] f32[2,5,8] f32[2,5,8]", "heads=2", NULL},
    {"f32[1,1,1] f32[1,1,1] f32[1,1,1]", "heads=1", NULL},
    {"f32[2,3,7] f32[2,5,7] f32[2,5,7]", "heads=1 causal=true", NULL},
    {"f32[3,7,9] f32[3,11,9] f32[3,11,9]", "heads=3", NULL},
    {"f32[2,67,4] f32[2,67,4] f32[2,67,4]", "heads=4 causal=true", NULL},
    {"f32[1,131,35] f32[1,131,35] f32[1,131,35]", "heads=1", NULL},
    {"f32[1,67,4] f32[1,331,4] f32[1,331,4]", "heads=2 causal=true", NULL},
    {"f32[1,301,3] f32[1,301,3] f32[1,301,3]", "heads=1", NULL},
    {0},
};

const struct op op_attention = {
    .name = "attention",
    .doc = "Softmax attention by heads, in memory linear in the length.",
    .inputs = attention_inputs,
    .attrs = attention_attrs,
    .results = attention_results,
    .result_count = 2,
    .visible = 1,
    .rows = ROWS_SEQUENCE,
    .shape = attention_shape,
    .grad = attention_grad,
    .cost = attention_cost,
    .workspace = attention_workspace,
    .reference = attention_reference,
    .cases = attention_cases,
};

/* attention_backward: q, k, v, y, lse, dy -> dq, dk, dv, by the formulas above. */
static const struct op_input backward_inputs[] = {
    {"q", IN_F32, 0, "f32 [rows, m, dim]", DOMAIN_ANY},
    {"k", IN_F32, 0, "f32 [rows, n, dim]", DOMAIN_ANY},
    {"v", IN_F32, 0, "f32 [rows, n, dim]", DOMAIN_ANY},
    {"y", IN_F32, 0, "f32 [rows, m, dim]", DOMAIN_ANY},
    {"lse", IN_F32, 0, "f32 [rows, heads, m]", DOMAIN_POSITIVE},
    {"dy", IN_F32, 0, "f32 [rows, m, dim]", DOMAIN_ANY},
    {0},
};

static const char *const backward_results[] = {"dq", "dk", "dv", NULL};

static bool backward_shape(struct op_call *call)
{
    struct type lse = lse_type(call);
    if (!check_qkv(call) || !rule_same_axes(call, 0, 3, 3) || !rule_same_axes(call, 0, 5, 3))
        return false;
    if (!type_same_shape(&call->in[4], &lse))
        return op_error(call, "lse must be f32 [rows, heads, m], not %s", rule_print(call, 4));
    for (uint32_t i = 0; i < 3; i++)
        call->out[i] = call->in[i];
    return true;
}

static void backward_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = 5 * product_flop(call);
    out->model = 4 * product_flop(call); /* one makes again what was not kept */
    out->bytes = 16 * (double)(type_count(&call->in[0]) + type_count(&call->in[1]));
}

static int64_t backward_workspace(const struct op_call *call)
{
    return scratch(call, ATTENTION_BACKWARD);
}

static void backward_pair(const struct ref_call *call, const struct head *at, int64_t i, int64_t j,
                          double lse, double delta)
{
    int64_t a = at->base_q + i * at->dim, b = at->base_k + j * at->dim;
    const double *q = call->in[0].data + a, *k = call->in[1].data + b, *v = call->in[2].data + b;
    const double *dy = call->in[5].data + a;
    double p = exp(score(call, at, i, j) - lse);
    double ds = p * (dot(dy, v, at->d) - delta) / sqrt((double)at->d);
    for (int64_t c = 0; c < at->d; c++) {
        call->out[0].data[a + c] += ds * k[c];
        call->out[1].data[b + c] += ds * q[c];
        call->out[2].data[b + c] += p * dy[c];
    }
}

static void backward_reference(const struct ref_call *call)
{
    int64_t heads = call->attr[ATTENTION_HEADS].integer;
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < ref_size(&call->out[k]); i++)
            call->out[k].data[i] = 0;
    for (int64_t t = 0; t < call->in[0].dim[0] * heads; t++) {
        struct head at = head_at(call, t / heads, t % heads);
        for (int64_t i = 0; i < at.m; i++) {
            int64_t a = at.base_q + i * at.dim;
            double delta = dot(call->in[3].data + a, call->in[5].data + a, at.d);
            for (int64_t j = 0; j < at.n; j++)
                backward_pair(call, &at, i, j, call->in[4].data[t * at.m + i], delta);
        }
    }
}

static const struct op_case backward_cases[] = {
    {"f32[2,5,8] f32[2,5,8] f32[2,5,8] f32[2,5,8] f32[2,2,5] f32[2,5,8]", "heads=2", NULL},
    {"f32[1,1,1] f32[1,1,1] f32[1,1,1] f32[1,1,1] f32[1,1,1] f32[1,1,1]", "heads=1", NULL},
    {"f32[2,3,7] f32[2,5,7] f32[2,5,7] f32[2,3,7] f32[2,1,3] f32[2,3,7]", "heads=1 causal=true",
     NULL},
    {"f32[3,7,9] f32[3,11,9] f32[3,11,9] f32[3,7,9] f32[3,3,7] f32[3,7,9]", "heads=3", NULL},
    {"f32[2,67,4] f32[2,67,4] f32[2,67,4] f32[2,67,4] f32[2,4,67] f32[2,67,4]",
     "heads=4 causal=true", NULL},
    {"f32[1,67,4] f32[1,331,4] f32[1,331,4] f32[1,67,4] f32[1,2,67] f32[1,67,4]",
     "heads=2 causal=true", NULL},
    {"f32[1,301,3] f32[1,301,3] f32[1,301,3] f32[1,301,3] f32[1,1,301] f32[1,301,3]", "heads=1",
     NULL},
    {0},
};

const struct op op_attention_backward = {
    .name = "attention_backward",
    .doc = "Gradients of attention, from its result and the saved log-sum-exp.",
    .inputs = backward_inputs,
    .attrs = attention_attrs,
    .results = backward_results,
    .result_count = 3,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_SEQUENCE,
    .shape = backward_shape,
    .cost = backward_cost,
    .workspace = backward_workspace,
    .reference = backward_reference,
    .cases = backward_cases,
};

/* rope: rotary positions (Su et al. 2021), each head of d = 2 e columns by itself; column c is
 * paired with c + e ("half-split", as in GPT-NeoX and the score network of Lou, Meng, Ermon 2024).
 *   x [rows, length, dim] -> y of the same shape
 *
 *   a = position base^(-c/e)
 *   y_c = x_c cos a - x_(c+e) sin a,  y_(c+e) = x_(c+e) cos a + x_c sin a
 *
 * A rotation: its gradient is the inverse one, -a. */
static const struct op_attr rope_attrs[] = {
    [ROPE_HEADS] = {"heads", ATTR_INT, NULL, "number of heads; divides dim into even parts", NULL},
    [ROPE_BASE] = {"base", ATTR_REAL, "1e4", "ratio of the longest period to the shortest", NULL},
    [ROPE_INVERSE] = {"inverse", ATTR_BOOL, "false", "rotate back", NULL},
    {0},
};

static const struct op_input rope_inputs[] = {
    {"x", IN_F32, 0, "f32 [rows, length, dim]", DOMAIN_ANY},
    {0},
};

static bool rope_shape(struct op_call *call)
{
    int64_t heads = call->attr[ROPE_HEADS].integer;
    if (!check_heads(call, heads))
        return false;
    if (call->in[0].dim[2].size / heads % 2)
        return op_error(call,
                        "heads of %lld columns cannot be rotated in pairs: their size must "
                        "be even",
                        (long long)(call->in[0].dim[2].size / heads));
    if (!(call->attr[ROPE_BASE].real > 0))
        return op_error(call, "base must be positive, not %g", call->attr[ROPE_BASE].real);
    return rule_like_first(call);
}

static void rope_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    union attr attr[] = {n->attr[ROPE_HEADS], n->attr[ROPE_BASE], n->attr[ROPE_INVERSE]};
    attr[ROPE_INVERSE].flag = !attr[ROPE_INVERSE].flag;
    call->din[0] = graph_emit(call->graph, &op_rope, &call->dout[0], 1, attr, n);
}

static void rope_cost(const struct op_call *call, struct op_cost *out)
{
    double n = (double)type_count(&call->in[0]);
    out->flop = 3 * n;
    out->bytes = 8 * n;
}

/* A cosine and a sine for each position and pair. */
static int64_t rope_workspace(const struct op_call *call)
{
    const struct type *x = &call->in[0];
    return 4 * attention_angles(x->dim[1].size, x->dim[2].size / call->attr[ROPE_HEADS].integer);
}

static void rope_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0];
    int64_t dim = x->dim[2], d = dim / call->attr[ROPE_HEADS].integer, e = d / 2;
    double way = call->attr[ROPE_INVERSE].flag ? -1 : 1;
    for (int64_t r = 0; r < x->dim[0] * x->dim[1]; r++)
        for (int64_t c = 0; c < dim; c++) {
            if (c % d >= e)
                continue;
            double place = (double)(r % x->dim[1]);
            double a = way * place * pow(call->attr[ROPE_BASE].real, -(double)(c % d) / (double)e);
            const double *from = x->data + r * dim + c;
            double *to = call->out[0].data + r * dim + c;
            to[0] = from[0] * cos(a) - from[e] * sin(a);
            to[e] = from[e] * cos(a) + from[0] * sin(a);
        }
}

static const struct op_case rope_cases[] = {
    {"f32[2,5,8]", "heads=2", NULL},
    {"f32[1,1,2]", "heads=1", NULL},
    {"f32[3,7,18]", "heads=3 inverse=true", NULL},
    {"f32[2,131,70]", "heads=1 base=100", NULL},
    {0},
};

const struct op op_rope = {
    .name = "rope",
    .doc = "Rotates pairs of columns by angles that grow with the position.",
    .inputs = rope_inputs,
    .attrs = rope_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_SEQUENCE,
    .shape = rope_shape,
    .grad = rope_grad,
    .cost = rope_cost,
    .inplace = 1,
    .workspace = rope_workspace,
    .reference = rope_reference,
    .cases = rope_cases,
};
