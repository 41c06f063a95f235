/* The update of parameters: the norm of all gradients, clipping, AdamW, and the average of the
 * weights. Written by passes/update.c; what updates reads state rows and makes new versions of
 * them.
 *
 * The bytes of an element: parameter, gradient and two moments are read, all but the gradient
 * written, 28; with an average 36. The norm for clipping reads the gradient before, 4. To keep of
 * the gradient of an embedding only the rows that tokens met would save making and reading the
 * others, 8; the moments of those rows decay and their parameters move all the same. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

/* sum_squares: y = sum over all elements of all inputs of x^2, in double. */
static const struct op_input sum_squares_inputs[] = {
    {"x", IN_F32, INPUT_VARIADIC, "f32 tensors of any shapes", DOMAIN_ANY},
    {0},
};

static bool sum_squares_shape(struct op_call *call)
{
    call->out[0] = type_scalar(DT_F64);
    return true;
}

static void sum_squares_cost(const struct op_call *call, struct op_cost *out)
{
    *out = (struct op_cost){0};
    for (uint32_t i = 0; i < call->in_count; i++) {
        out->flop += 2 * (double)type_count(&call->in[i]);
        out->bytes += (double)type_bytes(&call->in[i]);
    }
}

static void sum_squares_reference(const struct ref_call *call)
{
    double sum = 0;
    for (uint32_t k = 0; k < call->in_count; k++)
        for (int64_t i = 0; i < ref_size(&call->in[k]); i++)
            sum += call->in[k].data[i] * call->in[k].data[i];
    call->out[0].data[0] = sum;
}

static const struct op_case sum_squares_cases[] = {
    {"f32[3,5] f32[7] f32[]", NULL, NULL},
    {"f32[1]", NULL, NULL},
    {"f32[2,3,5] f32[67,131]", NULL, NULL},
    {"f32[131,137]", NULL, NULL},
    {0},
};

const struct op op_sum_squares = {
    .name = "sum_squares",
    .doc = "The sum of the squares of all elements of several tensors.",
    .inputs = sum_squares_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_ALL,
    .shape = sum_squares_shape,
    .cost = sum_squares_cost,
    .reference = sum_squares_reference,
    .cases = sum_squares_cases,
};

/* clip_scale: with s = SCALE (1 / batches that were added up) and the norm |g| = s sqrt(sum of
 * squares), each gradient is to be multiplied by s min(1, norm / (|g| + 1e-6)), as PyTorch's
 * clip_grad_norm_ does. Where the norm or the loss is not finite the factor is NaN, which tells
 * adamw to change nothing. */
static const struct op_input clip_inputs[] = {
    {"sum_squares", IN_F64, 0, "f64 []: of the gradients as they were added up", DOMAIN_POSITIVE},
    {"loss", IN_F64, INPUT_OPTIONAL, "f64 []: what the gradients are of", DOMAIN_ANY},
    {0},
};
static const struct op_attr clip_attrs[] = {
    [CLIP_NORM] = {"norm", ATTR_REAL, "0", "largest norm that is not scaled down; 0: any", NULL},
    [CLIP_SCALE] = {"scale", ATTR_REAL, "1", "factor on the gradients before anything else", NULL},
    {0},
};

static bool clip_shape(struct op_call *call)
{
    for (uint32_t i = 0; i < call->in_count; i++)
        if (op_has(call, i) && call->in[i].rank != 0)
            return op_error(call, "`%s` must be a scalar, not %s", call->op->inputs[i].name,
                            rule_print(call, i));
    call->out[0] = call->out[1] = type_scalar(DT_F64);
    return true;
}

static void clip_reference(const struct ref_call *call)
{
    double most = call->attr[CLIP_NORM].real, scale = call->attr[CLIP_SCALE].real;
    double norm = scale * sqrt(call->in[0].data[0]);
    double factor = most > 0 ? most / (norm + 1e-6) : 1;
    bool good = isfinite(norm) &&
                (call->in_count < 2 || !call->in[1].data || isfinite(call->in[1].data[0]));
    call->out[0].data[0] = !good ? NAN : factor > 1 ? scale : scale * factor;
    call->out[1].data[0] = norm;
}

static const char *const clip_results[] = {"scale", "grad_norm", NULL};
static const struct op_case clip_cases[] = {
    {"f64[]", NULL, NULL},
    {"f64[]", "norm=1 scale=0.25", NULL},
    {"f64[] f64[]", "norm=0.1", NULL},
    {0},
};

const struct op op_clip_scale = {
    .name = "clip_scale",
    .doc = "The factor that clips gradients to a global norm, and that norm.",
    .inputs = clip_inputs,
    .attrs = clip_attrs,
    .results = clip_results,
    .result_count = 2,
    .flags = OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_ALL,
    .shape = clip_shape,
    .reference = clip_reference,
    .cases = clip_cases,
};

/* adamw (Loshchilov, Hutter 2019, as PyTorch computes it), at step t = 1, 2, …, with g = scale
 * grad:
 *   p := p (1 - lr decay)
 *   m := m + (1 - b1) (g - m),  v := b2 v + (1 - b2) g^2
 *   p := p - lr / (1 - b1^t)  m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 * Where scale is not finite nothing changes. */
#define INPUTS_ROWS                                                                                \
    {"param", IN_F32, 0, "f32 of any shape: the parameter", DOMAIN_ANY},                           \
        {"m", IN_F32, 0, "f32 of that shape: average of the gradient", DOMAIN_ANY},                \
    {                                                                                              \
        "v", IN_F32, 0, "f32 of that shape: average of its square", DOMAIN_POSITIVE                \
    }
#define INPUTS_STEP                                                                                \
    {"grad", IN_F32, 0, "f32 of that shape", DOMAIN_ANY},                                          \
        {"scale", IN_F64, 0, "f64 []: factor on the gradient", DOMAIN_POSITIVE},                   \
        {"lr", IN_F64, 0, "f64 []: learning rate", DOMAIN_UNIT},                                   \
    {                                                                                              \
        "step", IN_F64, 0, "f64 []: number of this step, counted from 1", DOMAIN_POSITIVE          \
    }
#define ATTRS_ADAMW                                                                                \
    [ADAMW_BETA1] = {"beta1", ATTR_REAL, "0.9", "decay of the average gradient", NULL},            \
    [ADAMW_BETA2] = {"beta2", ATTR_REAL, "0.999", "decay of its square", NULL},                    \
    [ADAMW_EPS] = {"eps", ATTR_REAL, "1e-8", "added to the root of the square", NULL},             \
    [ADAMW_DECAY] = {"decay", ATTR_REAL, "0", "weight decay, times the learning rate", NULL}

static const struct op_input adamw_inputs[] = {INPUTS_ROWS, INPUTS_STEP, {0}};
static const struct op_attr adamw_attrs[] = {ATTRS_ADAMW, {0}};

/* The results are new versions of the first inputs, which have one shape with the gradient behind
 * them; the others are scalars. */
static bool update_shape(struct op_call *call)
{
    uint32_t rows = call->op->updates;
    for (uint32_t i = 1; i < call->in_count; i++) {
        const struct type *x = &call->in[i];
        if (i <= rows ? !type_same_shape(x, &call->in[0]) : x->rank != 0)
            return op_error(call, "input `%s` cannot be %s beside a parameter %s",
                            call->op->inputs[i].name, rule_print(call, i), rule_print(call, 0));
    }
    for (uint32_t i = 0; i < rows; i++)
        call->out[i] = call->in[i];
    return true;
}

/* Every row is read and written, the gradient is read. */
static void update_cost(const struct op_call *call, struct op_cost *out)
{
    uint32_t rows = call->op->updates;
    out->flop = 5 * rows * (double)type_count(&call->in[0]);
    out->bytes = (2 * rows + 1) * (double)type_bytes(&call->in[0]);
}

/* What follows the rows: gradient, scale, rate and step. */
static void adamw_reference(const struct ref_call *call)
{
    const struct ref_tensor *rest = call->in + call->out_count;
    double b1 = call->attr[ADAMW_BETA1].real, b2 = call->attr[ADAMW_BETA2].real;
    double scale = rest[1].data[0], lr = rest[2].data[0], t = rest[3].data[0];
    double c1 = 1 - pow(b1, t), c2 = 1 - pow(b2, t);
    for (int64_t i = 0; i < ref_size(&call->in[0]); i++) {
        double g = scale * rest[0].data[i];
        double m = call->in[1].data[i] + (1 - b1) * (g - call->in[1].data[i]);
        double v = b2 * call->in[2].data[i] + (1 - b2) * g * g;
        double p = call->in[0].data[i] * (1 - lr * call->attr[ADAMW_DECAY].real);
        if (!isfinite(scale)) {
            for (int k = 0; k < 3; k++)
                call->out[k].data[i] = call->in[k].data[i];
            continue;
        }
        call->out[0].data[i] = p - lr / c1 * m / (sqrt(v) / sqrt(c2) + call->attr[ADAMW_EPS].real);
        call->out[1].data[i] = m;
        call->out[2].data[i] = v;
    }
}

static const char *const adamw_results[] = {"param", "m", "v", NULL};
static const struct op_case adamw_cases[] = {
    {"f32[3,5] f32[3,5] f32[3,5] f32[3,5] f64[] f64[] f64[]", NULL, NULL},
    {"f32[17] f32[17] f32[17] f32[17] f64[] f64[] f64[]", "decay=0.1 beta2=0.95", NULL},
    {"f32[1,1] f32[1,1] f32[1,1] f32[1,1] f64[] f64[] f64[]", "beta1=0 eps=1e-3", NULL},
    {"f32[131,137] f32[131,137] f32[131,137] f32[131,137] f64[] f64[] f64[]", "decay=0.01", NULL},
    {0},
};

const struct op op_adamw = {
    .name = "adamw",
    .doc = "One step of AdamW on a parameter and its two moments.",
    .inputs = adamw_inputs,
    .attrs = adamw_attrs,
    .results = adamw_results,
    .result_count = 3,
    .flags = OP_EFFECT | OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_ALL,
    .shape = update_shape,
    .cost = update_cost,
    .inplace = 1,
    .updates = 3,
    .reference = adamw_reference,
    .cases = adamw_cases,
};

/* adamw_ema: the same, and in the same sweep the average of the parameter: after n updates, d =
 * min(decay, (1 + n) / (10 + n)) and s := s - (1 - d) (s - p), p as updated. */
static const struct op_input adamw_ema_inputs[] = {
    INPUTS_ROWS,
    {"ema", IN_F32, 0, "f32 of that shape: the average of the parameter", DOMAIN_ANY},
    INPUTS_STEP,
    {0}};
static const struct op_attr adamw_ema_attrs[] = {
    ATTRS_ADAMW,
    [ADAMW_EMA] = {"ema_decay", ATTR_REAL, "0.9999", "share of the old average that is kept", NULL},
    {0}};

static void adamw_ema_reference(const struct ref_call *call)
{
    double n = call->in[7].data[0];
    double decay =
        isfinite(call->in[5].data[0]) ? fmin(call->attr[ADAMW_EMA].real, (1 + n) / (10 + n)) : 1;
    adamw_reference(call);
    for (int64_t i = 0; i < ref_size(&call->in[0]); i++) {
        double s = call->in[3].data[i];
        call->out[3].data[i] = s - (1 - decay) * (s - call->out[0].data[i]);
    }
}

static const char *const adamw_ema_results[] = {"param", "m", "v", "ema", NULL};
static const struct op_case adamw_ema_cases[] = {
    {"f32[3,5] f32[3,5] f32[3,5] f32[3,5] f32[3,5] f64[] f64[] f64[]", NULL, NULL},
    {"f32[17] f32[17] f32[17] f32[17] f32[17] f64[] f64[] f64[]", "decay=0.1 ema_decay=0.05", NULL},
    {"f32[1,1] f32[1,1] f32[1,1] f32[1,1] f32[1,1] f64[] f64[] f64[]", "eps=1e-3 ema_decay=0.999",
     NULL},
    {"f32[131,137] f32[131,137] f32[131,137] f32[131,137] f32[131,137] f64[] f64[] f64[]",
     "decay=0.01", NULL},
    {0},
};

const struct op op_adamw_ema = {
    .name = "adamw_ema",
    .doc = "One step of AdamW on a parameter, its two moments and its running average.",
    .inputs = adamw_ema_inputs,
    .attrs = adamw_ema_attrs,
    .results = adamw_ema_results,
    .result_count = 4,
    .flags = OP_EFFECT | OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_ALL,
    .shape = update_shape,
    .cost = update_cost,
    .inplace = 1,
    .updates = 4,
    .reference = adamw_ema_reference,
    .cases = adamw_ema_cases,
};
