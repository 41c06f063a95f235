/* The vocabulary head and its loss, with their gradients where the program has them: from the
 * linear map that makes the logits to the loss of each position, and from the gradient of that loss
 * back to those of the map. What is left is one op (ops/head_loss.c) that never holds all logits.
 */
#include "graph/base/check.h"
#include "ops/kernels/attrs.h"
#include "passes/fuse.h"

#include <string.h>

#define BETWEEN_MOST 3

/* The ops between the map and the loss, from the loss back, and the backward ops of all of them:
 * without, the program must not want the gradient. Noisy tokens and noise are inputs 1 and 2 of the
 * ops between, but for that of a cavity, which takes neither. */
static const struct shape {
    const struct op *loss, *between[BETWEEN_MOST];
    const struct op *loss_back, *between_back[BETWEEN_MOST];
    int form;
    bool masks; /* only where the chain does nothing but mask */
} shapes[] = {
    {&op_cross_entropy, {NULL}, &op_cross_entropy_backward, {NULL}, 0, false},
    {&op_cross_entropy,
     {&op_x0_output},
     &op_cross_entropy_backward,
     {&op_x0_output_backward},
     FORM_LAW,
     true},
    {&op_score_entropy,
     {&op_score_output},
     &op_score_entropy_backward,
     {&op_score_output_backward},
     FORM_SCORE,
     false},
    {&op_score_entropy,
     {&op_cavity_score, &op_cavity_output},
     &op_score_entropy_backward,
     {&op_cavity_score_backward, &op_x0_output_backward},
     FORM_CAVITY,
     false},
    /* The scores of a law lie within the limits of such scores. */
    {&op_score_entropy,
     {&op_project_score, &op_cavity_score, &op_cavity_output},
     NULL,
     {NULL},
     FORM_CAVITY,
     false},
    /* At a mask the law does not change when all its logits are moved alike, so that the scale of a
     * score does not matter; and projected, a score is that of the law. */
    {&op_cross_entropy,
     {&op_score_posterior, &op_score_output},
     &op_cross_entropy_backward,
     {&op_x0_output_backward, &op_score_output_backward},
     FORM_LAW,
     true},
    {&op_score_entropy,
     {&op_posterior_score, &op_x0_output},
     &op_score_entropy_backward,
     {&op_posterior_score_backward, &op_x0_output_backward},
     FORM_LAW_SCORE,
     true},
    {&op_score_entropy, {&op_project_score, &op_score_output}, NULL, {NULL}, FORM_LAW_SCORE, true},
};

#define NODES_MOST (5 + 2 * (1 + BETWEEN_MOST))
#define INPUTS_MOST 7

/* What was found. Values: 0 where there is none. */
struct head {
    struct fuser *f;
    const struct shape *shape;
    uint32_t nodes[NODES_MOST], count; /* all of the pattern: the loss, the ops between, the map */
    uint32_t logits;
    struct fuse_map map; /* that makes them */
    uint32_t last;       /* what the loss is of: the logits, or what the ops between made of them */
    uint32_t x0, x, sigma, process;
    uint32_t loss, dloss, dlogits, dh, dweight, dbias;
    bool scaled;
};

static const struct node *add_node(struct head *t, uint32_t id)
{
    BUG_ON(t->count == NODES_MOST);
    t->nodes[t->count++] = id;
    return &t->f->g->nodes[id];
}

/* The node that makes V joins, if it is one of OP. */
static const struct node *add_maker(struct head *t, uint32_t v, const struct op *op)
{
    return fuse_maker(t->f, v, op) ? add_node(t, t->f->g->values[v].node) : NULL;
}

/* The first node of OP that reads V joins. */
static const struct node *add_reader(struct head *t, uint32_t v, const struct op *op)
{
    uint32_t id;
    for (uint32_t k = 0; (id = fuse_reader(t->f, v, k)) != NODE_NONE; k++)
        if (t->f->g->nodes[id].op == op)
            return add_node(t, id);
    return NULL;
}

/* --- forward ------------------------------------------------------------------------------ */

/* Whether N, op I of those between, takes the tokens and the noise of the loss. Where nothing but
 * masks counts, it does not matter at which noise what the loss normalises was made. */
static bool belongs(const struct head *t, const struct node *n, int i)
{
    const bool noise = t->sigma && (i == 0 || !t->shape->masks);
    return n->process == t->process &&
           (n->in_count == 1 || (n->in[1] == t->x && (!noise || n->in[2] == t->sigma)));
}

static bool find_between(struct head *t)
{
    const struct graph *g = t->f->g;
    t->logits = t->last;
    for (int i = 0; i < BETWEEN_MOST && t->shape->between[i]; i++) {
        const struct node *n = add_maker(t, t->logits, t->shape->between[i]);
        if (!n)
            return false;
        if (i == 0 && !t->process) { /* a cross entropy names none */
            t->process = n->process;
            t->x = n->in[1];
        }
        if (!belongs(t, n, i))
            return false;
        if (n->op == &op_score_output)
            t->scaled = n->attr[SCORE_OUTPUT_SCALE].flag;
        t->logits = n->in[0];
    }
    const struct type *x = graph_type(g, t->x), *x0 = graph_type(g, t->x0);
    return !t->process || (x0->process == t->process && type_same_shape(x, x0));
}

static bool find_forward(struct head *t, uint32_t loss)
{
    const struct node *n = add_node(t, loss);
    t->last = n->in[0];
    t->loss = n->out[0];
    if (n->op == &op_score_entropy) {
        t->x = n->in[1];
        t->x0 = n->in[2];
        t->sigma = n->in[3];
        t->process = n->process;
    } else {
        t->x0 = n->in[1];
    }
    if (!find_between(t) || !fuse_find_map(t->f, t->logits, &t->map))
        return false;
    add_node(t, t->map.node);
    const struct chain *chain = t->process ? &t->f->g->processes[t->process - 1].chain : NULL;
    return !chain || (t->shape->masks ? chain_carries_over(chain) : chain->kind == CHAIN_FLAT);
}

/* --- backward ----------------------------------------------------------------------------- */

/* What the linear map's own gradient rule made of the gradient of the logits. */
static bool find_map_gradients(struct head *t)
{
    const struct graph *g = t->f->g;
    const struct node *dh = add_reader(t, t->dlogits, &op_linear);
    const struct node *dweight = add_reader(t, t->dlogits, &op_linear_weight_grad);
    const struct node *dbias = t->map.bias ? add_reader(t, t->dlogits, &op_sum_to) : NULL;
    if (!dh || !dweight || (t->map.bias && !dbias))
        return false;
    if (dh->in[0] != t->dlogits || dh->in[1] != t->map.weight || dh->attr[LINEAR_BIAS].flag ||
        dh->attr[LINEAR_LAYOUT].integer == t->map.layout)
        return false;
    if (dweight->in[0] != t->map.h || dweight->in[1] != t->dlogits ||
        dweight->attr[WEIGHT_GRAD_LAYOUT].integer != t->map.layout)
        return false;
    if (dbias && !type_same_shape(graph_type(g, dbias->out[0]), graph_type(g, t->map.bias)))
        return false;
    t->dh = dh->out[0];
    t->dweight = dweight->out[0];
    t->dbias = dbias ? dbias->out[0] : VALUE_NONE;
    return true;
}

/* Whether BACK takes what node NODE read or made, and else the gradient D alone. */
static bool is_backward_of(const struct graph *g, const struct node *back, uint32_t node,
                           uint32_t d)
{
    const struct node *n = &g->nodes[node];
    for (uint32_t i = 0; i < back->in_count; i++) {
        bool known = back->in[i] == d;
        for (uint32_t k = 0; k < n->in_count; k++)
            known |= back->in[i] == n->in[k];
        for (uint32_t k = 0; k < n->out_count; k++)
            known |= back->in[i] == n->out[k];
        if (!known)
            return false;
    }
    return true;
}

/* False where there is a gradient that does not fit; a program without one has no DLOSS. */
static bool find_backward(struct head *t)
{
    const struct graph *g = t->f->g;
    const struct shape *s = t->shape;
    const struct node *back = s->loss_back ? add_reader(t, t->last, s->loss_back) : NULL;
    if (!back)
        return true;
    t->dloss = back->in[back->in_count - 1];
    if (!is_backward_of(g, back, t->nodes[0], t->dloss))
        return false;
    t->dlogits = back->out[0];
    for (int i = 0; i < BETWEEN_MOST && s->between_back[i]; i++) {
        const struct node *n = add_reader(t, t->dlogits, s->between_back[i]);
        if (!n || !is_backward_of(g, n, t->nodes[1 + i], t->dlogits))
            return false;
        t->dlogits = n->out[0];
    }
    return find_map_gradients(t);
}

/* --- the whole ---------------------------------------------------------------------------- */

/* The inputs of the op, in its order; their number. */
static uint32_t list_inputs(const struct head *t, uint32_t in[INPUTS_MOST])
{
    uint32_t n = 0;
    in[n++] = t->map.h;
    in[n++] = t->map.weight;
    in[n++] = t->x0;
    if (t->dloss)
        in[n++] = t->dloss;
    if (t->process) {
        in[n++] = t->x;
        in[n++] = t->shape->form == FORM_LAW ? VALUE_NONE : t->sigma;
    }
    in[n++] = t->map.bias;
    return n;
}

static uint32_t emit_head(const struct head *t)
{
    struct graph *g = t->f->g;
    const union attr entropy[] = {[HEAD_ENTROPY_LAYOUT] = {.integer = t->map.layout}};
    const union attr loss[] = {
        [HEAD_LOSS_LAYOUT] = {.integer = t->map.layout},
        [HEAD_LOSS_FORM] = {.integer = t->shape->form},
        [HEAD_LOSS_SCALE] = {.flag = t->shape->form == FORM_SCORE && t->scaled}};
    struct node like = {.origin = t->map.origin, .process = t->process};
    uint32_t in[INPUTS_MOST], n = list_inputs(t, in);
    const struct op *op = t->dloss ? &op_head_entropy_backward : &op_head_entropy;
    if (t->process)
        op = t->dloss ? &op_head_loss_backward : &op_head_loss;
    uint32_t v = graph_emit(g, op, in, n, t->process ? loss : entropy, &like);
    return g->values[v].node;
}

static bool try_shape(struct fuser *f, const struct shape *shape, uint32_t node)
{
    struct head t = {.f = f, .shape = shape};
    uint32_t in[INPUTS_MOST];
    if (!find_forward(&t, node) || !find_backward(&t))
        return false;
    const uint32_t kept[] = {t.loss, t.dh, t.dweight, t.dbias};
    const uint32_t results = t.dloss ? (t.map.bias ? 4 : 3) : 1;
    if (!fuse_makes_only(f, t.nodes, t.count, kept, results) ||
        !fuse_inputs_stay(f, in, list_inputs(&t, in)))
        return false;
    /* What the losses count for must be known before they are. */
    if (t.dloss && !fuse_detach(f, t.dloss, t.nodes, t.count))
        return false;
    fuse_replace(f, emit_head(&t), kept, results, t.nodes, t.count);
    return true;
}

bool fuse_head(struct fuser *f, uint32_t node)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (shapes[i].loss == f->g->nodes[node].op && try_shape(f, &shapes[i], node))
            return true;
    return false;
}
