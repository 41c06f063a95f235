/* Networks in random graphs: parts of transformers, and vocabulary heads with their losses or their
 * draws, as models write them and as they do not. Called by random_graph.c. */
#include "ops/rules.h"
#include "tests/support/random_maker.h"

#include <math.h>

/* Inside a network nothing is squeezed: patterns of nodes are to be met as they are. */
static uint32_t emit(struct maker *m, const struct op *op, const uint32_t *in, uint32_t n,
                     const union attr *attr)
{
    struct node_call call = {
        .op = op, .in = in, .in_count = n, .attr = attr, .stream = 7 + m->g->node_count};
    call.process = (op->flags & OP_PROCESS) != 0;
    uint32_t id = graph_call(m->g, &call);
    BUG_ON(id == NODE_NONE);
    return m->g->nodes[id].out[0];
}

static uint32_t emit_input(struct maker *m, const struct type *type)
{
    uint32_t v = leaf(m, &op_input, type, 0);
    graph_input(m->g, arena_printf(m->arena, "in%u", m->g->input_count), v);
    return v;
}

static uint32_t emit_linear(struct maker *m, uint32_t x, int64_t out, bool bias)
{
    const struct type *t = graph_type(m->g, x);
    bool in_out = roll(m, 2);
    struct dim in_dim = t->dim[t->rank - 1], out_dim = {out, 0};
    struct type matrix = {.dtype = DT_F32, .rank = 2};
    struct type vector = {.dtype = DT_F32, .rank = 1, .dim = {out_dim}};
    matrix.dim[in_out] = out_dim;
    matrix.dim[!in_out] = in_dim;
    uint32_t in[] = {x, state_value(m, STATE_PARAMETER, &matrix),
                     bias ? state_value(m, STATE_PARAMETER, &vector) : VALUE_NONE};
    union attr attr[] = {[LINEAR_OUT] = {.integer = out},
                         [LINEAR_BIAS] = {.flag = bias},
                         [LINEAR_LAYOUT] = {.integer = in_out ? LAYOUT_IN_OUT : LAYOUT_OUT_IN},
                         [LINEAR_INIT] = {.integer = 0},
                         [LINEAR_STD] = {.real = 0}};
    return emit(m, &op_linear, in, bias ? 3 : 2, attr);
}

static uint32_t emit_scaled(struct maker *m, uint32_t v, double by)
{
    struct type scalar = type_scalar(DT_F64);
    const uint32_t in[] = {v, leaf(m, &op_const, &scalar, by)};
    return emit(m, &op_mul, in, 2, NULL);
}

/* At times somebody else looks at a value inside. */
static void show(struct maker *m, uint32_t v)
{
    if (roll(m, 12) == 0)
        add_item(m, emit(m, &op_tanh, &v, 1, NULL), 1, 0);
}

/* Rows of a known number: those of other axes are counted when the graph runs. */
static bool has_rows(const struct maker *m, const struct type *t, uint32_t rank)
{
    return t->rank >= rank && (!t->dim[0].axis || t->dim[0].axis == m->batch);
}

/* --- layers ------------------------------------------------------------------------------- */

struct network {
    uint32_t x;      /* f32 [rows, length, dim] */
    uint32_t vector; /* f32 [rows, n]: what modulates */
    int64_t dim;     /* even */
};

/* COUNT vectors [rows, dim]. */
static void emit_vectors(struct maker *m, const struct network *n, uint32_t count, uint32_t *out)
{
    uint32_t all = emit_linear(m, n->vector, count * n->dim, roll(m, 2));
    union attr attr[] = {[SPLIT_PARTS] = {.integer = count}, [SPLIT_AXIS] = {.integer = -1}};
    uint32_t first = emit(m, &op_split, &all, 1, attr);
    for (uint32_t i = 0; i < count; i++)
        out[i] = m->g->nodes[m->g->values[first].node].out[i];
}

/* Of one vector, or of what the network says; one in eight has a bias of its own. */
static uint32_t emit_norm(struct maker *m, const struct network *n)
{
    struct type vector = {.dtype = DT_F32, .rank = 1, .dim = {{n->dim, 0}}};
    bool bias = roll(m, 8) == 0;
    union attr attr[] = {[NORM_BIAS] = {.flag = bias}, [NORM_EPS] = {.real = 0.05}};
    const uint32_t in[] = {n->x, state_value(m, STATE_PARAMETER, &vector),
                           bias ? state_value(m, STATE_PARAMETER, &vector) : VALUE_NONE};
    uint32_t h[3] = {emit(m, &op_layer_norm, in, bias ? 3 : 2, attr)};
    show(m, h[0]);
    if (roll(m, 6) == 0)
        return h[0];
    emit_vectors(m, n, 2, h + 1);
    return emit(m, &op_modulate, h, 3, NULL);
}

/* Both of them are turned, or neither; one in eight otherwise. */
static void turn(struct maker *m, int64_t heads, uint32_t *q, uint32_t *k)
{
    union attr attr[] = {[ROPE_HEADS] = {.integer = heads},
                         [ROPE_BASE] = {.real = roll(m, 2) ? 10000 : 10},
                         [ROPE_INVERSE] = {.flag = false}};
    uint32_t which = roll(m, 8);
    if (which > 1)
        *q = emit(m, &op_rope, q, 1, attr);
    if (which == 2)
        attr[ROPE_BASE].real = 100;
    if (which)
        *k = emit(m, &op_rope, k, 1, attr);
    show(m, *q);
}

static uint32_t emit_attention(struct maker *m, const struct network *n, uint32_t h)
{
    int64_t heads = n->dim % 4 == 0 && roll(m, 2) ? 2 : 1;
    uint32_t all = emit_linear(m, h, 3 * n->dim, roll(m, 2));
    union attr parts[] = {[SPLIT_PARTS] = {.integer = 3}, [SPLIT_AXIS] = {.integer = -1}};
    union attr attr[] = {
        [ATTENTION_HEADS] = {.integer = heads}, [ATTENTION_CAUSAL] = {.flag = roll(m, 2)}};
    uint32_t first = emit(m, &op_split, &all, 1, parts);
    const uint32_t *out = m->g->nodes[m->g->values[first].node].out;
    uint32_t qkv[] = {out[0], out[1], out[2]};
    show(m, qkv[roll(m, 3)]);
    if (roll(m, 4))
        turn(m, heads, &qkv[0], &qkv[1]);
    return emit(m, &op_attention, qkv, 3, attr);
}

static uint32_t emit_hidden(struct maker *m, const struct network *n, uint32_t h)
{
    union attr form[] = {[GELU_FORM] = {.integer = roll(m, 2) ? GELU_TANH : GELU_ERF}};
    h = emit_linear(m, h, n->dim + 2 * roll(m, 3), roll(m, 4));
    show(m, h);
    return roll(m, 4) ? emit(m, &op_gelu, &h, 1, form) : emit(m, &op_silu, &h, 1, NULL);
}

/* x + gate dropout(y) with a gate made before or after y, or x + y, for a map y of H. */
static void emit_residual(struct maker *m, struct network *n, uint32_t h)
{
    uint32_t in[3] = {n->x, VALUE_NONE, VALUE_NONE}, gated = roll(m, 4), late = roll(m, 2);
    union attr attr[] = {[DROPOUT_P] = {.real = roll(m, 2) ? 0 : 0.25}};
    if (gated && !late)
        emit_vectors(m, n, 1, &in[2]);
    in[1] = emit_linear(m, h, n->dim, roll(m, 2));
    show(m, in[1]);
    if (gated) {
        if (late)
            emit_vectors(m, n, 1, &in[2]);
        n->x = emit(m, &op_gated_add, in, 3, attr);
    } else {
        n->x = emit(m, &op_add, in, 2, NULL);
    }
    show(m, n->x);
}

static void emit_layer(struct maker *m, struct network *n)
{
    uint32_t h = roll(m, 8) ? emit_norm(m, n) : n->x;
    h = roll(m, 2) ? emit_attention(m, n, h) : emit_hidden(m, n, h);
    show(m, h);
    emit_residual(m, n, h);
}

/* Rows to start from: of a value that is there, or new. */
static uint32_t find_rows(struct maker *m)
{
    const struct item *x = pick_of(m, DT_F32);
    if (x && has_rows(m, graph_type(m->g, x->value), 3))
        return x->value;
    struct type t = {.dtype = DT_F32, .rank = 3};
    t.dim[0] = m->batch && roll(m, 3) ? (struct dim){m->g->axes[m->batch].size, m->batch}
                                      : (struct dim){sizes[roll(m, 7)], 0};
    t.dim[1].size = sizes[roll(m, 7)];
    t.dim[2].size = sizes[roll(m, 7)];
    return emit_input(m, &t);
}

void add_network(struct maker *m)
{
    if (m->doubles)
        return;
    uint32_t x = find_rows(m);
    struct type vector = {.dtype = DT_F32, .rank = 2, .dim = {graph_type(m->g, x)->dim[0]}};
    vector.dim[1].size = 1 + roll(m, 3);
    struct network n = {.dim = 2 + 2 * roll(m, 4)};
    n.x = emit_linear(m, x, n.dim, roll(m, 2));
    n.vector = emit_input(m, &vector);
    for (uint32_t i = 1 + roll(m, 3); i > 0; i--)
        emit_layer(m, &n);
    if (roll(m, 2))
        n.x = emit_norm(m, &n);
    add_item(m, emit(m, &op_tanh, &n.x, 1, NULL), 1, 0);
}

/* --- a vocabulary head -------------------------------------------------------------------- */

/* What it sees: noise, and tokens that have it. */
struct seen {
    uint32_t x0, x, sigma;
};

static struct seen emit_noise(struct maker *m, const struct type *h)
{
    struct type tokens = *h, times = {.dtype = DT_F64, .rank = roll(m, 2), .dim = {h->dim[0]}};
    tokens.dtype = DT_TOKEN;
    tokens.process = 1;
    tokens.rank--;
    struct seen s = {.x0 = emit_input(m, &tokens)};
    uint32_t given = emit_input(m, &times);
    s.sigma = emit(m, &op_exp, &given, 1, NULL);
    const uint32_t in[] = {s.x0, s.sigma};
    s.x = emit(m, &op_perturb, in, 2, NULL);
    return s;
}

/* One of the ops between logits and a loss or a draw. */
static uint32_t emit_between(struct maker *m, const struct op *op, uint32_t logits,
                             const struct seen *s, bool scaled)
{
    const union attr attr[] = {[SCORE_OUTPUT_SCALE] = {.flag = scaled}};
    const uint32_t in[] = {logits, s->x, s->sigma};
    return emit(m, op, in, op == &op_cavity_output ? 1 : 3, op == &op_score_output ? attr : NULL);
}

/* Two layers, so that there is something to train below the head; its logits are at most BOUND. */
static uint32_t emit_logits(struct maker *m, uint32_t x, double *bound)
{
    int64_t dim = 1 + roll(m, 3);
    uint32_t h = emit_linear(m, x, dim, true);
    h = emit(m, &op_tanh, &h, 1, NULL);
    *bound = (double)dim + 1;
    return emit_linear(m, h, m->g->processes[0].chain.states, roll(m, 2));
}

static bool masks(const struct maker *m)
{
    return chain_carries_over(&m->g->processes[0].chain);
}

/* What reads logits, and the ops between, from the logits on. */
struct reading {
    const struct op *op, *between[3];
};

/* The forms of a loss that fuse can know: under all chains, and those where masks alone move; of
 * either, the last has no gradient. */
static const struct reading losses[] = {
    {&op_cross_entropy, {NULL}},
    {&op_score_entropy, {&op_score_output}},
    {&op_score_entropy, {&op_cavity_output, &op_cavity_score}},
    {&op_score_entropy, {&op_cavity_output, &op_cavity_score, &op_project_score}},
};
static const struct reading losses_of_masks[] = {
    {&op_cross_entropy, {&op_x0_output}},
    {&op_cross_entropy, {&op_score_output, &op_score_posterior}},
    {&op_score_entropy, {&op_x0_output, &op_posterior_score}},
    {&op_score_entropy, {&op_score_output, &op_project_score}},
};

static const struct reading *pick_loss(struct maker *m)
{
    const uint32_t any = sizeof losses / sizeof *losses;
    const uint32_t more = sizeof losses_of_masks / sizeof *losses_of_masks;
    if (masks(m) && roll(m, 2))
        return &losses_of_masks[roll(m, more - m->out.gradients)];
    return &losses[roll(m, any - m->out.gradients)];
}

/* The loss of each position; logits are at most BOUND. *MOST: a bound of the loss. */
static uint32_t emit_loss(struct maker *m, uint32_t logits, double bound, double *most)
{
    struct seen s = emit_noise(m, graph_type(m->g, logits));
    const struct reading *form = pick_loss(m);
    bool scaled = masks(m) && roll(m, 2);
    for (uint32_t i = 0; i < 3 && form->between[i]; i++)
        logits = emit_between(m, form->between[i], logits, &s, scaled);
    const uint32_t entropy[] = {logits, s.x0}, score[] = {logits, s.x, s.x0, s.sigma};
    bool crossed = form->op == &op_cross_entropy;
    *most = crossed ? 2 * bound + 2 : 4 * TOKENS * exp(bound);
    return emit(m, form->op, crossed ? entropy : score, crossed ? 2 : 4, NULL);
}

/* A head and its loss, of order one. */
void add_head(struct maker *m)
{
    const struct item *x = pick_of(m, DT_F32);
    if (m->loss.value || !x || !has_rows(m, graph_type(m->g, x->value), 2))
        return;
    double bound, most;
    uint32_t logits = emit_logits(m, x->value, &bound);
    uint32_t loss = emit_loss(m, logits, bound, &most);
    m->loss = (struct item){emit_scaled(m, loss, LARGEST / most), LARGEST, 0};
    add_item(m, m->loss.value, LARGEST, 0);
    if (!m->out.gradients && roll(m, 2))
        graph_output(m->g, "loss", m->loss.value);
    if (roll(m, 4) == 0)
        add_item(m, logits, bound, 0); /* somebody else may look at them */
}

/* --- draws -------------------------------------------------------------------------------- */

static const struct reading drawings[] = {
    {&op_tweedie, {&op_score_output, &op_project_score}},
    {&op_tweedie, {&op_x0_output, &op_posterior_score}},
    {&op_euler, {&op_score_output, &op_project_score}},
    {&op_euler, {&op_x0_output, &op_posterior_score}},
    {&op_euler_linear, {&op_score_output, &op_project_score}},
    {&op_euler_linear, {&op_x0_output, &op_posterior_score}},
    {&op_denoise, {&op_score_output, &op_project_score}},
    {&op_denoise, {&op_x0_output, &op_posterior_score}},
    {&op_ancestral, {&op_x0_output}},
    {&op_tweedie, {&op_cavity_output, &op_cavity_score}},
    {&op_euler, {&op_cavity_output, &op_cavity_score}},
    {&op_euler_linear, {&op_cavity_output, &op_cavity_score}},
    {&op_denoise, {&op_cavity_output, &op_cavity_score}},
    {&op_ancestral, {&op_cavity_output}},
    {&op_corrector, {&op_score_output, &op_project_score}},
    {&op_corrector, {&op_x0_output, &op_posterior_score}},
    {&op_corrector, {&op_cavity_output, &op_cavity_score}},
    {&op_score_entropy, {&op_score_output, &op_project_score}},
    {&op_score_entropy, {&op_x0_output, &op_posterior_score, &op_project_score}},
    {&op_reconstruction, {&op_score_output}},
    {&op_reconstruction, {&op_x0_output, &op_posterior_score}},
    {&op_reconstruction, {&op_cavity_output, &op_cavity_score}},
};
/* And where masks alone move. */
static const struct reading of_masks[] = {
    {&op_ancestral, {&op_score_output, &op_score_posterior}},
    {&op_base_draw, {&op_score_output}},
    {&op_base_draw, {&op_x0_output, &op_posterior_score}},
    {&op_base_draw, {&op_cavity_output, &op_cavity_score}},
    {&op_remask, {&op_x0_output}},
    {&op_remask, {&op_score_output, &op_score_posterior}},
    {&op_remask, {&op_cavity_output}},
    {&op_reveal_one, {&op_x0_output}},
    {&op_reveal_one, {&op_score_output, &op_score_posterior}},
    {&op_reveal_one, {&op_cavity_output}},
    {&op_base_cost, {&op_score_output}},
    {&op_base_cost, {&op_x0_output, &op_posterior_score}},
    {&op_base_cost, {&op_cavity_output, &op_cavity_score}},
};

static const struct reading *pick_drawing(struct maker *m)
{
    const uint32_t any = sizeof drawings / sizeof *drawings;
    uint32_t i = roll(m, any + (masks(m) ? sizeof of_masks / sizeof *of_masks : 0));
    return i < any ? &drawings[i] : &of_masks[i - any];
}

/* Numbers to draw by, for each token: given, or left to the op. */
static uint32_t emit_numbers(struct maker *m, uint32_t tokens)
{
    const struct node like = {.stream = 7 + m->g->node_count};
    return roll(m, 2) ? emit_uniform(m->g, tokens, &like) : VALUE_NONE;
}

static uint32_t emit_keep(struct maker *m, uint32_t tokens)
{
    struct type flags = *graph_type(m->g, tokens);
    flags.dtype = DT_BOOL;
    flags.process = 0;
    return roll(m, 3) ? VALUE_NONE : emit_input(m, &flags);
}

static uint32_t emit_draw(struct maker *m, const struct reading *d, uint32_t from,
                          const struct seen *s)
{
    const struct op *op = d->op;
    bool cavity = d->between[0] == &op_cavity_output;
    union attr excluded[] = {[STEP_EXCLUDE] = {.integer = EXCLUDE_NONE}};
    union attr given[] = {
        [ANCESTRAL_HEAD] = {.integer = cavity ? ANCESTRAL_CAVITY : ANCESTRAL_POSTERIOR}};
    bool base = op == &op_base_draw, again = op == &op_remask, one = op == &op_reveal_one;
    bool by_length = op == &op_euler || op == &op_euler_linear || op == &op_corrector;
    uint32_t in[7] = {s->x}, n = 1;
    if (base)
        in[n++] = s->sigma;
    in[n++] = from;
    if (!base && !one && !by_length)
        in[n++] = s->sigma;
    if (op == &op_tweedie || op == &op_ancestral || again || by_length)
        in[n++] = emit_scaled(m, s->sigma, 0.4);
    if (again)
        in[n++] = emit_scaled(m, s->sigma, 0.2);
    if (!base && !one)
        in[n++] = emit_keep(m, s->x);
    in[n++] = one ? VALUE_NONE : emit_numbers(m, s->x);
    return emit(m, op, in, n, op == &op_tweedie ? excluded : op == &op_ancestral ? given : NULL);
}

/* A term of the likelihood bound. */
static uint32_t emit_term(struct maker *m, const struct op *op, uint32_t from, const struct seen *s)
{
    const uint32_t entropy[] = {from, s->x, s->x0, s->sigma}, base[] = {s->x0, s->sigma, from};
    const uint32_t last[] = {s->x, s->x0, from, s->sigma};
    if (op == &op_base_cost)
        return emit(m, op, base, 3, NULL);
    return emit(m, op, op == &op_score_entropy ? entropy : last, 4, NULL);
}

static bool is_term(const struct op *op)
{
    return op == &op_base_cost || op == &op_reconstruction || op == &op_score_entropy;
}

/* A head and what is read off it: tokens that are drawn, or a term of the bound. */
void add_draw(struct maker *m)
{
    const struct item *h = pick_of(m, DT_F32);
    if (!h || !has_rows(m, graph_type(m->g, h->value), 3) || graph_type(m->g, h->value)->rank != 3)
        return;
    double bound;
    const struct reading *d = pick_drawing(m);
    uint32_t logits = emit_logits(m, h->value, &bound), from = logits;
    struct seen s = emit_noise(m, graph_type(m->g, logits));
    bool scaled = masks(m) && roll(m, 2);
    for (uint32_t i = 0; i < 3 && d->between[i]; i++)
        from = emit_between(m, d->between[i], from, &s, scaled);
    uint32_t read = is_term(d->op) ? emit_term(m, d->op, from, &s) : emit_draw(m, d, from, &s);
    const struct node *n = &m->g->nodes[m->g->values[read].node];
    for (uint32_t k = 0; k < n->out_count; k++)
        graph_output(m->g, arena_printf(m->arena, "drawn%u", m->g->output_count), n->out[k]);
    if (roll(m, 6) == 0)
        add_item(m, logits, bound, 0);
}
