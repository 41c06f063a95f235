/* Sharper laws of the clean token: temperature, top-k, top-p. */
#include "graph/base/check.h"
#include "ops/chain.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>
#include <stdlib.h>

/* restrict, in this order, each on what the one before left, and normalised at the end:
 *   allowed      entries that are not allowed are left out, at any temperature
 *   temperature  log p / temperature
 *   top_k        the k largest; 0: all
 *   top_p        the smallest set of largest ones whose share is at least p: the one that crosses p
 *                is kept (Holtzman et al. 2020)
 * Of equals the first ones are taken. What is left out gets -inf, and so do all entries of a row of
 * which nothing is left. */
static const struct op_input restrict_inputs[] = {
    {"log_p", IN_F32, 0, "f32 [..., n]: log laws", DOMAIN_ANY},
    {"allowed", IN_BOOL, INPUT_OPTIONAL | INPUT_NAMED,
     "bool, the shape of log_p: entries that may stay", DOMAIN_ANY},
    {0},
};
static const struct op_attr restrict_attrs[] = {
    [RESTRICT_TEMPERATURE] = {"temperature", ATTR_REAL, "1", "what log p is divided by", NULL},
    [RESTRICT_TOP_K] = {"top_k", ATTR_INT, "0", "how many of the largest stay; 0: all", NULL},
    [RESTRICT_TOP_P] = {"top_p", ATTR_REAL, "1", "the share that the largest must have together",
                        NULL},
    {0},
};

static bool restrict_shape(struct op_call *call)
{
    double temperature = call->attr[RESTRICT_TEMPERATURE].real;
    double top_p = call->attr[RESTRICT_TOP_P].real;
    int64_t top_k = call->attr[RESTRICT_TOP_K].integer;
    if (!(temperature > 0) || !isfinite(temperature))
        return op_error(call, "temperature (%g) must be positive", temperature);
    if (!(top_p > 0) || top_p > 1)
        return op_error(call, "top_p (%g) must be in (0, 1]", top_p);
    if (top_k < 0)
        return op_error(call, "top_k (%lld) must be 0 (all) or more", (long long)top_k);
    if (call->in[0].rank == 0)
        return op_error(call, "a scalar has no rows");
    return rule_like_first(call) && chain_expect_keep(call, 1, 0);
}

static void restrict_cost(const struct op_call *call, struct op_cost *out)
{
    double n = (double)type_count(&call->in[0]);
    out->flop = 60 * n;
    out->bytes = 8 * n;
}

struct ranked {
    double log_p;
    int64_t at;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->log_p != y->log_p)
        return x->log_p > y->log_p ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* How many of the N ranked ones stay. */
static int64_t kept_count(const struct ranked *r, int64_t n, int64_t top_k, double top_p)
{
    int64_t most = top_k > 0 && top_k < n ? top_k : n, kept = 0;
    double total = 0, sum = 0;
    for (int64_t i = 0; i < most; i++)
        total += exp(r[i].log_p - r[0].log_p);
    while (top_p < 1 && kept < most && sum < top_p * total)
        sum += exp(r[kept++].log_p - r[0].log_p);
    return top_p < 1 ? kept : most;
}

static void restrict_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0];
    int64_t n = x->dim[x->rank - 1], rows = n ? ref_size(x) / n : 0;
    double temperature = call->attr[RESTRICT_TEMPERATURE].real;
    struct ranked *r = malloc((size_t)(n + 1) * sizeof *r);
    BUG_ON(!r);
    for (int64_t row = 0; row < rows; row++) {
        double sum = 0, *out = call->out[0].data + row * n;
        for (int64_t i = 0; i < n; i++)
            r[i] = (struct ranked){!ref_has(call, 1) || call->in[1].data[row * n + i] != 0
                                       ? x->data[row * n + i] / temperature
                                       : -INFINITY,
                                   i};
        qsort(r, (size_t)n, sizeof *r, compare_ranked);
        int64_t kept =
            kept_count(r, n, call->attr[RESTRICT_TOP_K].integer, call->attr[RESTRICT_TOP_P].real);
        for (int64_t i = 0; i < kept; i++)
            sum += exp(r[i].log_p - r[0].log_p);
        for (int64_t i = 0; i < n; i++)
            out[r[i].at] =
                i < kept && r[i].log_p > -INFINITY ? r[i].log_p - r[0].log_p - log(sum) : -INFINITY;
    }
    free(r);
}

static const struct op_case restrict_cases[] = {
    {"f32[3,5,7] _", NULL, NULL},
    {"f32[3,5,7] _", "temperature=0.7", NULL},
    {"f32[11,13] _", "top_k=4", NULL},
    {"f32[11,13] _", "top_p=0.8", NULL},
    {"f32[2,3,601] _", "temperature=1.3 top_k=50 top_p=0.9", NULL},
    {"f32[5,1] _", "top_k=1 top_p=0.5", NULL},
    {"f32[5] _", "top_k=9", NULL},
    {"f32[3,5,7] bool[3,5,7]", "temperature=1e30", NULL},
    {"f32[11,3] bool[11,3]", "top_k=2 top_p=0.9", NULL},
    {0},
};

const struct op op_restrict = {
    .name = "restrict",
    .doc = "Log laws at a temperature, cut to their largest entries (top_k, top_p), normalised.",
    .inputs = restrict_inputs,
    .attrs = restrict_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = restrict_shape,
    .cost = restrict_cost,
    .inplace = 1,
    .reference = restrict_reference,
    .cases = restrict_cases,
};
