/* The noise clock of a process, as ordinary nodes of t. */
#include "graph/expr.h"
#include "ops/ops.h"

/* --- noise --------------------------------------------------------------------------------
 *
 * sigma(t), the total noise, from the process's expression, and its rate
 *
 *     dsigma = g(t) = d sigma / d t
 *
 * which the compiler derives itself. Everything in f64: 1 - (1 - eps) t in f32 is wrong by 6e-5
 * near t = 1, where the log-linear schedule needs it most. */

static const struct op_input noise_inputs[] = {
    {"t", IN_F64, 0, "f64 [rows]: times in (0, 1]", DOMAIN_UNIT}, {0}};
static const char *const noise_results[] = {"sigma", "dsigma", NULL};

/* The schedule of the process is given by the test: sigma is any expression in t. */
static const struct op_case noise_cases[] = {
    {"f64[3]", NULL, "absorb 5"}, {"f64[1]", NULL, "uniform 4"}, {"f64[]", NULL, "absorb 2"}, {0}};

static bool noise_shape(struct op_call *c)
{
    c->out[0] = c->out[1] = c->in[0];
    return true;
}

static bool noise_expand(const struct op_call *c, const uint32_t *in, uint32_t *out)
{
    struct graph *g = c->graph;
    const struct process *p = &g->processes[c->process - 1];
    out[0] = expr_emit(g, p->sigma, "t", in[0], c->origin);
    if (!out[0])
        return false;
    const uint32_t of[] = {out[0], in[0]};
    struct node like = {.origin = c->origin};
    out[1] = graph_emit(g, &op_gradient, of, 2, NULL, &like);
    return true;
}

const struct op op_noise = {
    .name = "noise",
    .doc = "Total noise sigma(t) of the process and its rate d sigma / d t.",
    .inputs = noise_inputs,
    .results = noise_results,
    .result_count = 2,
    .flags = OP_PROCESS | OP_MACRO,
    .rows = ROWS_EACH,
    .shape = noise_shape,
    .expand = noise_expand,
    .cases = noise_cases,
};
