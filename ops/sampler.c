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
                  sampler_chance *chance, struct op_idle *out)
{
    const struct chain *chain = &graph->processes[node->process - 1].chain;
    *out = (struct op_idle){.tokens = node->in[0],
                            .stays = true,
                            .keep = keep < node->in_count ? node->in[keep] : VALUE_NONE,
                            .uniform = 1 + keep + 1,
                            .chance = chain_carries_over(chain) ? chance : NULL};
    return chain_carries_over(chain) || (out->keep && chain->kind == CHAIN_FLAT);
}

/* Expressions of the masking t and s that has been done before and after the step of a node. */
struct masking {
    struct graph *g;
    struct node like;
    uint32_t t, s;
};
static struct masking masking_of(struct graph *g, const struct node *n)
{
    struct masking m = {.g = g, .like = {.origin = n->origin}};
    uint32_t by = emit_const(g, DT_F64, g->processes[n->process - 1].chain.absorb, &m.like);
    m.t = emit2(g, &op_mul, n->in[2], by, &m.like);
    m.s = emit2(g, &op_min, emit2(g, &op_mul, n->in[3], by, &m.like), m.t, &m.like);
    return m;
}
/* e^-V, and 1 - e^-V but for its sign. */
static uint32_t left_at(const struct masking *m, uint32_t v)
{
    return emit1(m->g, &op_exp, emit1(m->g, &op_neg, v, &m->like), &m->like);
}
static uint32_t gone_at(const struct masking *m, uint32_t v)
{
    return emit1(m->g, &op_expm1, emit1(m->g, &op_neg, v, &m->like), &m->like);
}

/* (e^-s (1 - e^-(t - s)) + AGAIN) / (1 - e^-t), AGAIN being what is masked in the same step, or
 * VALUE_NONE; a little more, as a law may be a little off. The step itself has the last word. */
static uint32_t chance_of(const struct masking *m, uint32_t again)
{
    struct graph *g = m->g;
    const struct node *like = &m->like;
    uint32_t now = emit1(g, &op_expm1, emit2(g, &op_sub, m->s, m->t, like), like);
    uint32_t shown = emit2(g, &op_mul, left_at(m, m->s), now, like);
    if (again)
        shown = emit2(g, &op_sub, shown, again, like);
    uint32_t chance = emit2(g, &op_div, shown, gone_at(m, m->t), like);
    return emit2(g, &op_mul, chance, emit_const(g, DT_F64, SAMPLER_MARGIN, like), like);
}

uint32_t sampler_reveal_chance(struct graph *g, const struct node *n)
{
    struct masking m = masking_of(g, n);
    return chance_of(&m, VALUE_NONE);
}

/* The bound of remask_law on r, (1 - e^-s) / e^-t, is one on r e^-t here: e^-t may be 0. */
uint32_t sampler_remask_chance(struct graph *g, const struct node *n)
{
    struct masking m = masking_of(g, n);
    const struct node *like = &m.like;
    uint32_t left = left_at(&m, m.t), none = emit_const(g, DT_F64, 0, like);
    uint32_t most = emit1(g, &op_neg, gone_at(&m, m.s), like);
    uint32_t r = emit2(g, &op_min, n->in[4], emit_const(g, DT_F64, 1, like), like);
    uint32_t again = emit2(g, &op_min, emit2(g, &op_mul, r, left, like), most, like);
    return chance_of(&m, emit2(g, &op_max, again, none, like));
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
