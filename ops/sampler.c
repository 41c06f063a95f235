/* Shape rules and reference helpers of the samplers; see sampler.h. */
#include "ops/sampler.h"

#include "ops/ops.h"
#include "ops/rules.h"

#include "graph/base/check.h"

#include <stdlib.h>

const char *const sampler_result_x[] = {"x", NULL};

bool sampler_expect_masked(const struct op_call *call, const char *what)
{
    return chain_carries_over(call->chain) ||
           op_error(call,
                    "%s needs `rate: absorb`: a mask, and tokens that stay once they are there",
                    what);
}

bool sampler_idle(const struct graph *graph, const struct node *node, uint32_t keep,
                  struct op_idle *out)
{
    *out = (struct op_idle){.tokens = node->in[0],
                            .stays = true,
                            .keep = keep < node->in_count ? node->in[keep] : VALUE_NONE,
                            .uniform = 1 + keep + 1};
    return chain_carries_over(&graph->processes[node->process - 1].chain);
}

/* e^-s (1 - e^-(t - s)) / (1 - e^-t), with t and s the masking that has been done; a little more,
 * as a law may be a little off. The step itself has the last word. */
uint32_t sampler_reveal_chance(struct graph *g, const struct node *n)
{
    const struct node like = {.origin = n->origin};
    const double rate = g->processes[n->process - 1].chain.absorb;
    uint32_t by = emit_const(g, DT_F64, rate, &like);
    uint32_t t = emit2(g, &op_mul, n->in[2], by, &like);
    uint32_t s = emit2(g, &op_min, emit2(g, &op_mul, n->in[3], by, &like), t, &like);
    uint32_t left = emit1(g, &op_exp, emit1(g, &op_neg, s, &like), &like);
    uint32_t now = emit1(g, &op_expm1, emit2(g, &op_sub, s, t, &like), &like);
    uint32_t all = emit1(g, &op_expm1, emit1(g, &op_neg, t, &like), &like);
    uint32_t chance = emit2(g, &op_div, emit2(g, &op_mul, left, now, &like), all, &like);
    return emit2(g, &op_mul, chance, emit_const(g, DT_F64, SAMPLER_MARGIN, &like), &like);
}

struct type sampler_rows(const struct op_call *call, uint32_t x)
{
    struct type type = type_scalar(DT_F64);
    type.rank = 1;
    type.dim[0] = call->in[x].dim[0];
    return type;
}

struct transition ref_transition(const struct chain *chain, double sigma)
{
    void *room = NULL;
    int64_t bytes = transition_bytes(chain);
    BUG_ON(bytes && posix_memalign(&room, 64, (size_t)bytes));
    return transition_make(chain, sigma, NULL, 0, room, 1);
}

void ref_transition_release(struct transition *p)
{
    if (p->chain->kind == CHAIN_TABLE)
        free((void *)(uintptr_t)p->p); /* the room begins with P */
}

double ref_position_uniform(const struct ref_call *call, uint32_t u, int64_t row, int64_t position,
                            int64_t length)
{
    return ref_has(call, u) ? call->in[u].data[row * length + position]
                            : ref_uniform(call, row, position);
}

bool ref_kept(const struct ref_call *call, uint32_t keep, int64_t p)
{
    return ref_has(call, keep) && call->in[keep].data[p] != 0;
}

int32_t ref_pick(ref_weight *weight, const void *context, int32_t states, int32_t x, double u)
{
    double total = 0, sum = 0;
    int32_t last = x >= 0 ? x : 0;
    for (int32_t y = 0; y < states; y++)
        total += y == x ? 0 : weight(context, y);
    double target = u * (x >= 0 ? total + weight(context, x) : total);
    if (x >= 0 && !(target < total))
        return x;
    for (int32_t y = 0; y < states; y++) {
        double w = y == x ? 0 : weight(context, y);
        if (!(w > 0))
            continue;
        last = y;
        sum += w;
        if (sum > target)
            break;
    }
    return last;
}

static double clamped_weight(const void *context, int32_t y)
{
    double weight = ((const double *)context)[y];
    return weight > 0 ? weight : 0;
}

int32_t ref_draw(const double *weights, int32_t states, int32_t x, double u)
{
    return ref_pick(clamped_weight, weights, states, x, u);
}
