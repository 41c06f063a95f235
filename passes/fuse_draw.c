/* The vocabulary head and the draw of a reverse step, or a term of the bound: from the linear map
 * that makes the logits to the tokens or the costs, under a flat chain. What is left is one op
 * (ops/head_draw.c) that never holds all logits. A draw that keeps positions or excludes the mask,
 * and one of a law that is cut or of scores that not all tokens have, stay as they are. */
#include "ops/head_draw.h"
#include "ops/kernels/attrs.h"
#include "ops/rules.h"
#include "passes/fuse.h"

#define NODES_MOST (3 + DRAW_OPS_MOST)
#define INPUTS_MOST 8

/* What was found. Values: 0 where there is none. */
struct draw_head {
    struct fuser *f;
    int step, form;
    bool law; /* what is read is a law, not scores */
    uint32_t process;
    uint32_t nodes[NODES_MOST], count; /* all of the pattern: what reads first */
    struct fuse_map map;
    uint32_t from, x, sigma, to, share, u, x0; /* FROM: what is read */
    bool scaled, projected;
};

static uint32_t input_of(const struct node *n, uint32_t i)
{
    return i && i < n->in_count ? n->in[i] : VALUE_NONE;
}

/* Inputs of the draw, by its op. False where it asks for more than the fused op does, or its chain
 * has no such step. */
static bool find_draw(struct draw_head *t, uint32_t id)
{
    const struct node *n = &t->f->g->nodes[id];
    const struct draw_places *at = &draw_steps[t->step];
    const struct chain *chain = &t->f->g->processes[n->process - 1].chain;
    const bool cavity = t->form == DRAW_BY_CAVITY;
    if (n->op != at->op || input_of(n, at->keep) || !input_of(n, at->from) ||
        chain->kind != CHAIN_FLAT)
        return false;
    t->process = n->process;
    t->law = at->law;
    t->x = n->in[0];
    t->from = n->in[at->from];
    t->sigma = input_of(n, at->sigma);
    t->to = input_of(n, at->to);
    t->share = input_of(n, at->share);
    t->u = input_of(n, at->u);
    t->nodes[t->count++] = id;
    if (t->step == DRAW_BASE)
        return chain_leaks(chain);
    if (t->step == DRAW_REVEAL) /* of sequences of one position, which has been picked */
        return t->u && graph_type(t->f->g, t->x)->rank == 1;
    if (t->step == DRAW_ANCESTRAL)
        return cavity == (n->attr[ANCESTRAL_HEAD].integer == ANCESTRAL_CAVITY);
    return t->step != DRAW_TWEEDIE || n->attr[STEP_EXCLUDE].integer != EXCLUDE_MASK;
}

/* Goes from V over OP to what that takes. False where another op, or one of other tokens or noise,
 * makes it. */
static bool pass_over(struct draw_head *t, const struct op *op, uint32_t *v)
{
    const struct node *n = fuse_maker(t->f, *v, op);
    if (!n || n->process != t->process)
        return false;
    if (op_input_count(op) > 1) {
        t->x = t->x ? t->x : n->in[1];
        t->sigma = t->sigma ? t->sigma : n->in[2];
        if (n->in[1] != t->x || n->in[2] != t->sigma)
            return false;
    }
    if (op == &op_score_output)
        t->scaled = n->attr[SCORE_OUTPUT_SCALE].flag;
    t->nodes[t->count++] = t->f->g->values[*v].node;
    *v = n->in[0];
    return true;
}

/* What makes FROM, down to the map; noise may be told there only. */
static bool find_head(struct draw_head *t)
{
    const struct draw_ops *form = &draw_forms[t->form];
    const struct op *const *ops = t->law ? form->law : form->score;
    uint32_t at = t->from;
    if (!t->law && fuse_maker(t->f, at, &op_project_score))
        t->projected = pass_over(t, &op_project_score, &at);
    for (int i = 0; i < DRAW_OPS_MOST && ops[i]; i++)
        if (!pass_over(t, ops[i], &at))
            return false;
    if (!fuse_find_map(t->f, at, &t->map))
        return false;
    t->nodes[t->count++] = t->map.node;
    return t->x && t->sigma;
}

/* Whether OP may stand for all that was found, of which READS has the results. */
static bool may_stand(const struct draw_head *t, const struct node *reads, const uint32_t *in,
                      uint32_t count)
{
    return fuse_makes_only(t->f, t->nodes, t->count, reads->out, reads->out_count) &&
           fuse_inputs_stay(t->f, in, count);
}

/* OP stands for it. WHAT: of the steps of a draw, or of the terms. */
static void put_head(const struct draw_head *t, const struct op *op, int what,
                     const struct node *reads, const uint32_t *in, uint32_t count)
{
    struct graph *g = t->f->g;
    const union attr attr[] = {[HEAD_DRAW_LAYOUT] = {.integer = t->map.layout},
                               [HEAD_DRAW_FORM] = {.integer = t->form},
                               [HEAD_DRAW_STEP] = {.integer = what},
                               [HEAD_DRAW_SCALE] = {.flag = t->scaled},
                               [HEAD_DRAW_PROJECT] = {.flag = t->projected}};
    const struct node like = {.origin = t->map.origin, .process = t->process};
    uint32_t made = graph_emit(g, op, in, count, attr, &like);
    fuse_replace(t->f, g->values[made].node, reads->out, reads->out_count, t->nodes, t->count);
}

/* --- draws -------------------------------------------------------------------------------- */

static bool try_step(struct fuser *f, int step, int form, uint32_t node)
{
    struct draw_head t = {.f = f, .step = step, .form = form};
    const struct node draw = f->g->nodes[node];
    if (!find_draw(&t, node) || !find_head(&t))
        return false;
    uint32_t in[INPUTS_MOST] = {t.map.h, t.map.weight, t.x,        t.sigma,
                                t.u,     t.to,         t.map.bias, t.share};
    if (!may_stand(&t, &draw, in, INPUTS_MOST))
        return false;
    if (!t.u)
        in[4] = emit_uniform(f->g, t.x, &draw);
    put_head(&t, &op_head_draw, step, &draw, in, t.share ? INPUTS_MOST : INPUTS_MOST - 1);
    return true;
}

bool fuse_draw(struct fuser *f, uint32_t node)
{
    for (int step = 0; step < DRAW_STEPS; step++)
        for (int form = 0; form < DRAW_FORMS; form++)
            if (try_step(f, step, form, node))
                return true;
    return false;
}

/* --- terms of the bound ------------------------------------------------------------------- */

static bool find_term(struct draw_head *t, int term, uint32_t id)
{
    const struct node *n = &t->f->g->nodes[id];
    const struct term_places *at = &bound_terms[term];
    const struct chain *chain = &t->f->g->processes[n->process - 1].chain;
    if (n->op != at->op || chain->kind != CHAIN_FLAT || (term == TERM_BASE && !chain_leaks(chain)))
        return false;
    t->process = n->process;
    t->x = at->takes_x ? n->in[at->x] : VALUE_NONE;
    t->x0 = n->in[at->x0];
    t->sigma = n->in[at->sigma];
    t->from = n->in[at->from];
    t->nodes[t->count++] = id;
    return true;
}

static bool try_term(struct fuser *f, int term, int form, uint32_t node)
{
    struct draw_head t = {.f = f, .form = form};
    const struct node cost = f->g->nodes[node];
    if (!find_term(&t, term, node) || !find_head(&t))
        return false;
    const uint32_t in[] = {t.map.h, t.map.weight, t.x, t.sigma, t.x0, t.map.bias};
    const uint32_t count = sizeof in / sizeof *in;
    if (!may_stand(&t, &cost, in, count))
        return false;
    put_head(&t, &op_head_bound, term, &cost, in, count);
    return true;
}

bool fuse_bound(struct fuser *f, uint32_t node)
{
    for (int term = 0; term < BOUND_TERMS; term++)
        for (int form = 0; form < DRAW_FORMS; form++)
            if (try_term(f, term, form, node))
                return true;
    return false;
}
