/* attention_cached: one query a sequence against the keys and values of the positions before it,
 * which earlier calls made and a loop keeps (a cache), and its own.
 *
 *   q, k, v [rows, dim], keys, values [rows, layers x heads, length, d], layer [], at []
 *   -> y [rows, dim],   heads = dim / d
 *
 * Head h of the query reads head layer x heads + h of the cache, n = at positions of it:
 *   s_j = q . k_j / sqrt(d) for j < n, s_n = q . k / sqrt(d),  p = softmax(s)
 *   y = sum over j < n of p_j v_j + p_n v
 * What causal `attention` gives at position n. Positions of one head lie side by side, so that a
 * call reads what it needs of the cache once, from end to end. A cache holds numbers of other
 * calls: there is no gradient. */
#include "graph/base/check.h"
#include "ops/kernels/attention_room.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>
#include <stdlib.h>

static const struct op_input cached_inputs[] = {
    {"q", IN_F32, 0, "f32 [rows, dim]", DOMAIN_ANY},
    {"k", IN_F32, 0, "f32 [rows, dim]", DOMAIN_ANY},
    {"v", IN_F32, 0, "f32 [rows, dim]", DOMAIN_ANY},
    {"keys", IN_F32, 0, "f32 [rows, layers x heads, length, d]", DOMAIN_ANY},
    {"values", IN_F32, 0, "f32 [rows, layers x heads, length, d]", DOMAIN_ANY},
    {"layer", IN_INT, INPUT_SHARED, "i32 []: whose heads, from 0; the last, where it is beyond",
     DOMAIN_ANY},
    {"at", IN_INT, INPUT_SHARED, "i32 []: how many positions come before", DOMAIN_ANY},
    {0},
};

static bool cached_shape(struct op_call *call)
{
    const struct type *q = &call->in[0], *keys = &call->in[3];
    if (q->rank != 2 || !type_same_shape(q, &call->in[1]) || !type_same_shape(q, &call->in[2]))
        return op_error(call, "q, k and v must be f32 [rows, dim], not %s, %s and %s",
                        rule_print(call, 0), rule_print(call, 1), rule_print(call, 2));
    if (keys->rank != 4 || !type_same_shape(keys, &call->in[4]))
        return op_error(call,
                        "keys and values must be f32 [rows, layers x heads, length, d], not %s "
                        "and %s",
                        rule_print(call, 3), rule_print(call, 4));
    int64_t dim = q->dim[1].size, d = keys->dim[3].size;
    if (!rule_same_axes(call, 0, 3, 1))
        return false;
    if (dim % d || keys->dim[1].size % (dim / d))
        return op_error(call, "%lld columns in heads of %lld do not go into the %lld of the cache",
                        (long long)dim, (long long)d, (long long)keys->dim[1].size);
    if (call->in[5].rank || call->in[6].rank)
        return op_error(call, "`layer` and `at` must be one i32 each, not %s and %s",
                        rule_print(call, 5), rule_print(call, 6));
    return rule_like_first(call);
}

/* On the mean over a run from an empty cache to a full one. */
static void cached_cost(const struct op_call *call, struct op_cost *out)
{
    double cells = (double)type_count(&call->in[0]), length = (double)call->in[3].dim[2].size;
    out->flop = out->model = 2 * cells * length;
    out->bytes = 4 * cells * (length + 4);
}

static int64_t cached_workspace(const struct op_call *call)
{
    const struct type *keys = &call->in[3];
    return attention_cached_bytes(keys->dim[0].size * (call->in[0].dim[1].size / keys->dim[3].size),
                                  keys->dim[2].size);
}

static int64_t clamp(double x, int64_t most)
{
    return x < 0 ? 0 : x < (double)most ? (int64_t)x : most;
}

/* One head: N cached rows of D columns and the own ones. */
static void attend(const double *q, const double *keys, const double *values, const double *k,
                   const double *v, int64_t n, int64_t d, double *y)
{
    double *p = malloc((size_t)(n + 1) * sizeof *p), most = -INFINITY, sum = 0;
    BUG_ON(!p);
    for (int64_t j = 0; j <= n; j++) {
        const double *row = j < n ? keys + j * d : k;
        p[j] = 0;
        for (int64_t c = 0; c < d; c++)
            p[j] += q[c] * row[c] / sqrt((double)d);
        most = fmax(most, p[j]);
    }
    for (int64_t j = 0; j <= n; j++)
        sum += p[j] = exp(p[j] - most);
    for (int64_t c = 0; c < d; c++) {
        y[c] = 0;
        for (int64_t j = 0; j <= n; j++)
            y[c] += p[j] / sum * (j < n ? values[j * d + c] : v[c]);
    }
    free(p);
}

static void cached_reference(const struct ref_call *call)
{
    const struct ref_tensor *q = &call->in[0], *keys = &call->in[3];
    int64_t dim = q->dim[1], all = keys->dim[1], length = keys->dim[2], d = keys->dim[3];
    int64_t heads = dim / d, layer = clamp(call->in[5].data[0], all / heads - 1);
    int64_t n = clamp(call->in[6].data[0], length);
    for (int64_t r = 0; r < q->dim[0]; r++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t own = r * dim + h * d, at = ((r * all + layer * heads + h) * length) * d;
            attend(q->data + own, keys->data + at, call->in[4].data + at, call->in[1].data + own,
                   call->in[2].data + own, n, d, call->out[0].data + own);
        }
}

static const struct op_case cached_cases[] = {
    {"f32[2,8] f32[2,8] f32[2,8] f32[2,4,5,4] f32[2,4,5,4] i32[] i32[]", NULL, NULL},
    {"f32[1,1] f32[1,1] f32[1,1] f32[1,1,1,1] f32[1,1,1,1] i32[] i32[]", NULL, NULL},
    {"f32[3,9] f32[3,9] f32[3,9] f32[3,3,2,9] f32[3,3,2,9] i32[] i32[]", NULL, NULL},
    {"f32[3,21] f32[3,21] f32[3,21] f32[3,6,7,7] f32[3,6,7,7] i32[] i32[]", NULL, NULL},
    {"f32[2,70] f32[2,70] f32[2,70] f32[2,2,13,35] f32[2,2,13,35] i32[] i32[]", NULL, NULL},
    {"f32[5,402] f32[5,402] f32[5,402] f32[5,6,4,67] f32[5,6,4,67] i32[] i32[]", NULL, NULL},
    {"f32[1,262] f32[1,262] f32[1,262] f32[1,2,3,131] f32[1,2,3,131] i32[] i32[]", NULL, NULL},
    {0},
};

const struct op op_attention_cached = {
    .name = "attention_cached",
    .doc = "Attention of one query a sequence to the positions before it, kept in a cache, and "
           "itself.",
    .inputs = cached_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = cached_shape,
    .cost = cached_cost,
    .workspace = cached_workspace,
    .reference = cached_reference,
    .cases = cached_cases,
};
