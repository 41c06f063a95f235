/* The vocabulary head and the draw of a reverse step: from the linear map that makes the logits to
 * the tokens, where the chain does nothing but mask. What is left is one op (ops/head_draw.c) that
 * never holds all logits. A draw that makes its own numbers, keeps positions, or excludes the mask,
 * and one of a law that is cut or of scores that not all tokens have, stay as they are. */
#include "ops/kernels/attrs.h"
#include "passes/fuse.h"

/* A step, and the ops between it and the map, from it on: noisy tokens and noise are inputs 1 and 2
 * of all of them. */
static const struct shape {
    const struct op *draw;
    int step, form;
    const struct op *between[2];
} shapes[] = {
    {&op_tweedie, DRAW_TWEEDIE, FORM_SCORE, {&op_project_score, &op_score_output}},
    {&op_tweedie, DRAW_TWEEDIE, FORM_LAW, {&op_posterior_score, &op_x0_output}},
    {&op_euler, DRAW_EULER, FORM_SCORE, {&op_project_score, &op_score_output}},
    {&op_euler, DRAW_EULER, FORM_LAW, {&op_posterior_score, &op_x0_output}},
    {&op_euler_linear, DRAW_EULER_LINEAR, FORM_SCORE, {&op_project_score, &op_score_output}},
    {&op_euler_linear, DRAW_EULER_LINEAR, FORM_LAW, {&op_posterior_score, &op_x0_output}},
    {&op_denoise, DRAW_DENOISE, FORM_SCORE, {&op_project_score, &op_score_output}},
    {&op_denoise, DRAW_DENOISE, FORM_LAW, {&op_posterior_score, &op_x0_output}},
    {&op_ancestral, DRAW_ANCESTRAL, FORM_SCORE, {&op_score_posterior, &op_score_output}},
    {&op_ancestral, DRAW_ANCESTRAL, FORM_LAW, {&op_x0_output}},
    {&op_base_draw, DRAW_BASE, FORM_SCORE, {&op_score_output}},
    {&op_base_draw, DRAW_BASE, FORM_LAW, {&op_posterior_score, &op_x0_output}},
};

#define NODES_MOST 4
#define INPUTS_MOST 7

/* What was found. Values: 0 where there is none. */
struct draw_head {
    struct fuser *f;
    const struct shape *shape;
    uint32_t nodes[NODES_MOST], count; /* all of the pattern, the draw first */
    struct fuse_map map;
    uint32_t from, x, sigma, to, u; /* FROM: what is drawn from */
    bool scaled;
};

/* Inputs of the draw, by its op. False where it asks for more than the fused op does. */
static bool find_draw(struct draw_head *t, uint32_t id)
{
    const struct node *n = &t->f->g->nodes[id];
    const bool base = n->op == &op_base_draw, two = n->op == &op_tweedie || n->op == &op_ancestral;
    const bool euler = n->op == &op_euler || n->op == &op_euler_linear;
    const uint32_t keep = two ? 4 : 3, u = base ? 3 : keep + 1;
    if (n->in_count <= u || !n->in[u] || (!base && n->in[keep]))
        return false;
    t->x = n->in[0];
    t->from = n->in[base ? 2 : 1];
    t->u = n->in[u];
    if (!euler)
        t->sigma = n->in[base ? 1 : 2];
    t->to = two ? n->in[3] : euler ? n->in[2] : VALUE_NONE;
    t->nodes[t->count++] = id;
    return !(n->op == &op_tweedie && n->attr[STEP_EXCLUDE].integer == EXCLUDE_MASK) &&
           !(n->op == &op_ancestral && n->attr[ANCESTRAL_HEAD].integer == ANCESTRAL_CAVITY) &&
           chain_carries_over(&t->f->g->processes[n->process - 1].chain);
}

static bool find_between(struct draw_head *t, uint32_t process, uint32_t *logits)
{
    const struct graph *g = t->f->g;
    *logits = t->from;
    for (int i = 0; i < 2 && t->shape->between[i]; i++) {
        const struct op *op = t->shape->between[i];
        if (op == &op_project_score && g->processes[process - 1].chain.raw)
            continue; /* there is nothing to project */
        const struct node *n = fuse_maker(t->f, *logits, op);
        if (!n)
            return false;
        if (!t->sigma)
            t->sigma = n->in[2];
        if (n->process != process || n->in[1] != t->x || n->in[2] != t->sigma)
            return false;
        if (op == &op_score_output)
            t->scaled = n->attr[SCORE_OUTPUT_SCALE].flag;
        t->nodes[t->count++] = g->values[*logits].node;
        *logits = n->in[0];
    }
    return true;
}

static bool try_shape(struct fuser *f, const struct shape *shape, uint32_t node)
{
    struct graph *g = f->g;
    struct draw_head t = {.f = f, .shape = shape};
    const struct node draw = g->nodes[node];
    uint32_t logits;
    if (!find_draw(&t, node) || !find_between(&t, draw.process, &logits) ||
        !fuse_find_map(f, logits, &t.map))
        return false;
    t.nodes[t.count++] = t.map.node;
    const uint32_t in[INPUTS_MOST] = {t.map.h, t.map.weight, t.x, t.sigma, t.u, t.to, t.map.bias};
    if (!fuse_makes_only(f, t.nodes, t.count, draw.out, draw.out_count) ||
        !fuse_inputs_stay(f, in, INPUTS_MOST))
        return false;
    const union attr attr[] = {[HEAD_DRAW_LAYOUT] = {.integer = t.map.layout},
                               [HEAD_DRAW_FORM] = {.integer = shape->form},
                               [HEAD_DRAW_STEP] = {.integer = shape->step},
                               [HEAD_DRAW_SCALE] = {.flag = t.scaled}};
    const struct node like = {.origin = t.map.origin, .process = draw.process};
    uint32_t made = graph_emit(g, &op_head_draw, in, INPUTS_MOST, attr, &like);
    fuse_replace(f, g->values[made].node, draw.out, draw.out_count, t.nodes, t.count);
    return true;
}

bool fuse_draw(struct fuser *f, uint32_t node)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (shapes[i].draw == f->g->nodes[node].op && try_shape(f, &shapes[i], node))
            return true;
    return false;
}
