/* The vocabulary head and the draw of a reverse step: from the linear map that makes the logits to
 * the tokens, under a flat chain. What is left is one op (ops/head_draw.c) that never holds all
 * logits. A draw that keeps positions or excludes the mask, and one of a law that is cut or of
 * scores that not all tokens have, stay as they are. */
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
    uint32_t process;
    uint32_t nodes[NODES_MOST], count; /* all of the pattern, the draw first */
    struct fuse_map map;
    uint32_t from, x, sigma, to, share, u; /* FROM: what is drawn from */
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
    t->x = n->in[0];
    t->from = n->in[at->from];
    t->sigma = input_of(n, at->sigma);
    t->to = input_of(n, at->to);
    t->share = input_of(n, at->share);
    t->u = input_of(n, at->u);
    t->nodes[t->count++] = id;
    if (t->step == DRAW_BASE)
        return chain_leaks(chain);
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

static bool find_between(struct draw_head *t, uint32_t *logits)
{
    const struct draw_ops *form = &draw_forms[t->form];
    const bool law = draw_steps[t->step].law;
    const struct op *const *ops = law ? form->law : form->score;
    *logits = t->from;
    if (!law && fuse_maker(t->f, *logits, &op_project_score))
        t->projected = pass_over(t, &op_project_score, logits);
    for (int i = 0; i < DRAW_OPS_MOST && ops[i]; i++)
        if (!pass_over(t, ops[i], logits))
            return false;
    return true;
}

static bool try_form(struct fuser *f, int step, int form, uint32_t node)
{
    struct graph *g = f->g;
    struct draw_head t = {.f = f, .step = step, .form = form};
    const struct node draw = g->nodes[node];
    uint32_t logits;
    if (!find_draw(&t, node) || !find_between(&t, &logits) || !fuse_find_map(f, logits, &t.map))
        return false;
    t.nodes[t.count++] = t.map.node;
    uint32_t in[INPUTS_MOST] = {t.map.h, t.map.weight, t.x,        t.sigma,
                                t.u,     t.to,         t.map.bias, t.share};
    if (!t.sigma || !fuse_makes_only(f, t.nodes, t.count, draw.out, draw.out_count) ||
        !fuse_inputs_stay(f, in, INPUTS_MOST))
        return false;
    if (!t.u)
        in[4] = emit_uniform(g, t.x, &draw);
    const union attr attr[] = {[HEAD_DRAW_LAYOUT] = {.integer = t.map.layout},
                               [HEAD_DRAW_FORM] = {.integer = form},
                               [HEAD_DRAW_STEP] = {.integer = step},
                               [HEAD_DRAW_SCALE] = {.flag = t.scaled},
                               [HEAD_DRAW_PROJECT] = {.flag = t.projected}};
    const struct node like = {.origin = t.map.origin, .process = draw.process};
    const uint32_t count = t.share ? INPUTS_MOST : INPUTS_MOST - 1;
    uint32_t made = graph_emit(g, &op_head_draw, in, count, attr, &like);
    fuse_replace(f, g->values[made].node, draw.out, draw.out_count, t.nodes, t.count);
    return true;
}

bool fuse_draw(struct fuser *f, uint32_t node)
{
    for (int step = 0; step < DRAW_STEPS; step++)
        for (int form = 0; form < DRAW_FORMS; form++)
            if (try_form(f, step, form, node))
                return true;
    return false;
}
