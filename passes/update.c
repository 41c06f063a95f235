/* The optimizer: clipping, AdamW and the average are ops on state rows like any other.
 *
 * It joins the program that makes the gradients (the pass `update`): they are then values like any
 * other, in the arena for as long as somebody reads them. Where the gradients of several batches
 * are added up they are rows of the state, and the update is a program of its own (update_graph).
 *
 * Clipping asks for the norm of all gradients, so all of them wait for the last one. Without it
 * each is consumed as soon as it is made and nothing reads the parameter as it was any more. */
#include "graph/base/check.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "passes/compile.h"

#include "ops/kernels/attrs.h"

#include <string.h>

struct updater {
    struct graph *g;
    const struct update_options *o;
    uint32_t lr, step;
    uint32_t squares;     /* sum over the gradients so far */
    uint32_t loss;        /* f64 [] where the program makes it, else VALUE_NONE */
    const uint32_t *leaf; /* per state row below ROWS: the value that reads it, or VALUE_NONE */
    uint32_t rows;
};

struct gradient {
    uint32_t row; /* the parameter */
    uint32_t value;
    uint32_t place;   /* in program order: what consumes it may follow the node there */
    struct node like; /* nodes about it have the origin of this one */
};

static uint32_t leaf(struct graph *g, const struct op *op, const struct type *type)
{
    struct node_call call = {.op = op, .types = type};
    uint32_t id = graph_call(g, &call);
    BUG_ON(id == NODE_NONE);
    return g->nodes[id].out[0];
}

static uint32_t row_value(const struct updater *u, uint32_t row)
{
    struct graph *g = u->g;
    if (row < u->rows && u->leaf[row])
        return u->leaf[row];
    uint32_t v = leaf(g, &op_state, &g->states->rows[row].type);
    g->values[v].state = row + 1;
    g->values[v].name = g->states->rows[row].name;
    return v;
}

static uint32_t scalar_input(struct graph *g, const char *name)
{
    struct type type = type_scalar(DT_F64);
    uint32_t v = leaf(g, &op_input, &type);
    graph_input(g, name, v);
    g->values[v].name = name;
    return v;
}

static void add_inputs(struct updater *u)
{
    u->lr = scalar_input(u->g, "lr");
    u->step = scalar_input(u->g, "step");
}

/* The row PREFIX/NAME beside parameter ROW. */
static uint32_t companion(struct graph *g, uint32_t row, const char *prefix, enum state_class class,
                          enum init_kind init)
{
    struct state_row add = g->states->rows[row];
    uint32_t at;
    add.name = arena_printf(g->arena, "%s/%s", prefix, add.name);
    add.class = class;
    add.init = init;
    add.scale = class == STATE_EMA ? add.scale : 0;
    add.owner = row;
    bool fits = state_declare(g->states, g->arena, g->diags, &add, &at);
    BUG_ON(!fits);
    return at;
}

/* The node that says how far gradients of that sum of squares are scaled, clipped to NORM. */
static const struct node *scale_node(const struct updater *u, uint32_t squares, double norm)
{
    const uint32_t in[] = {squares, u->loss};
    const union attr attr[] = {[CLIP_NORM] = {.real = norm}, [CLIP_SCALE] = {.real = u->o->scale}};
    uint32_t scale = graph_emit(u->g, &op_clip_scale, in, 2, attr, NULL);
    return &u->g->nodes[u->g->values[scale].node];
}

static void update_row(const struct updater *u, const struct gradient *x, uint32_t scale)
{
    struct graph *g = u->g;
    const struct update_options *o = u->o;
    uint32_t first = companion(g, x->row, "adam_m", STATE_MOMENT, INIT_ZERO);
    uint32_t second = companion(g, x->row, "adam_v", STATE_MOMENT, INIT_ZERO);
    uint32_t in[8] = {row_value(u, x->row), row_value(u, first), row_value(u, second)}, n = 3;
    const union attr attr[] = {[ADAMW_BETA1] = {.real = o->beta1},
                               [ADAMW_BETA2] = {.real = o->beta2},
                               [ADAMW_EPS] = {.real = o->eps},
                               [ADAMW_DECAY] = {.real = o->weight_decay},
                               [ADAMW_EMA] = {.real = o->ema}};
    if (o->ema > 0)
        in[n++] = row_value(u, companion(g, x->row, "ema", STATE_EMA, INIT_COPY));
    in[n++] = x->value;
    in[n++] = scale;
    in[n++] = u->lr;
    in[n++] = u->step;
    uint32_t v = graph_emit(g, o->ema > 0 ? &op_adamw_ema : &op_adamw, in, n, attr, &x->like);
    g->values[v].name = g->states->rows[x->row].name;
}

/* What can be done as soon as a gradient is made: its share of the norm, while it is in a cache,
 * and the update where that asks for no other gradient. */
static void take(struct updater *u, const struct gradient *x)
{
    const uint32_t squares = graph_emit(u->g, &op_sum_squares, &x->value, 1, NULL, &x->like);
    const uint32_t both[] = {u->squares, squares};
    u->squares = u->squares ? graph_emit(u->g, &op_add, both, 2, NULL, &x->like) : squares;
    if (u->o->clip <= 0)
        update_row(u, x, scale_node(u, squares, 0)->out[0]);
}

/* The norm of all gradients, and what waits for it. */
static void finish(const struct updater *u, const struct gradient *list, uint32_t count)
{
    const struct node *n = scale_node(u, u->squares, u->o->clip);
    const uint32_t scale = n->out[0], norm = n->out[1];
    graph_output(u->g, OUTPUT_GRAD_NORM, norm);
    for (uint32_t i = 0; u->o->clip > 0 && i < count; i++)
        update_row(u, &list[i], scale);
}

struct graph *update_graph(struct model *model, const struct update_options *options)
{
    struct graph *g = graph_new(model->arena, model->diags, model->table, &model->states, "update");
    uint32_t rows = model->states.count, count = 0;
    struct gradient *list = arena_new_array(model->arena, struct gradient, rows + 1);
    struct updater u = {.g = g, .o = options};
    add_inputs(&u);
    for (uint32_t r = 0; r < rows; r++) {
        if (model->states.rows[r].class != STATE_GRADIENT)
            continue;
        list[count] =
            (struct gradient){.row = model->states.rows[r].owner, .value = row_value(&u, r)};
        take(&u, &list[count++]);
    }
    finish(&u, list, count);
    return g;
}

/* --- the pass ----------------------------------------------------------------------------- */

/* The gradients that the program stores, by their rows. */
static uint32_t find_gradients(const struct graph *g, struct gradient *list)
{
    uint32_t count = 0, *store = arena_new_array(g->arena, uint32_t, g->states->count + 1);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        if (n->op == &op_store)
            store[g->values[n->out[0]].state] = g->order[i] + 1;
    }
    for (uint32_t r = 0; r < g->states->count; r++) {
        const struct state_row *row = &g->states->rows[r];
        if (row->class != STATE_GRADIENT || !store[r + 1])
            continue;
        struct node *n = &g->nodes[store[r + 1] - 1];
        struct value *v = &g->values[n->in[0]];
        n->dead = true;
        v->name = v->name ? v->name : row->name;
        list[count++] = (struct gradient){.row = row->owner, .value = n->in[0], .like = *n};
    }
    return count;
}

static uint32_t later_of(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Where in program order each gradient may be consumed: behind its node, and where that updates the
 * parameter behind all that read it and behind the loss. */
static void find_places(const struct updater *u, struct gradient *list, uint32_t count)
{
    const struct graph *g = u->g;
    uint32_t *at = arena_new_array(g->arena, uint32_t, g->node_count);
    uint32_t *read = arena_new_array(g->arena, uint32_t, g->states->count + 1);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        at[g->order[i]] = i;
        for (uint32_t k = 0; k < n->in_count; k++)
            read[g->values[value_base(g, n->in[k])].state] = i;
    }
    for (uint32_t i = 0; i < count; i++) {
        list[i].place = at[g->values[list[i].value].node];
        if (u->o->clip <= 0)
            list[i].place = later_of(later_of(list[i].place, read[list[i].row + 1]),
                                     at[g->values[g->minimize].node]);
    }
}

/* The loss in double: the update looks at it, as a step with a bad loss changes nothing. */
static uint32_t loss_value(struct graph *g)
{
    uint32_t v = g->minimize;
    return graph_type(g, v)->dtype == DT_F64 ? v : emit_cast(g, v, DT_F64, NULL);
}

/* A parameter that the program returns is the one that it found: a copy. */
static void copy_output(struct graph *g, const struct gradient *list, uint32_t count, uint32_t i)
{
    uint32_t v = g->outputs[i].value, row = g->values[value_base(g, v)].state;
    for (uint32_t k = 0; k < count; k++)
        if (list[k].row + 1 == row)
            g->outputs[i].value = emit_cast(g, v, graph_type(g, v)->dtype, NULL);
}

/* A gradient that is a parameter, as that of a b by a is b, is the one that was found: a copy. */
static void copy_gradient(struct graph *g, struct gradient *of)
{
    if (g->values[value_base(g, of->value)].state)
        of->value = emit_cast(g, of->value, graph_type(g, of->value)->dtype, NULL);
}

static void append(struct graph *g, uint32_t node)
{
    g->order = arena_grow(g->arena, g->order, g->order_count, &g->order_capacity, sizeof *g->order);
    g->order[g->order_count++] = node;
}

/* The value that reads each row as the program finds it. */
static const uint32_t *find_leaves(const struct graph *g)
{
    uint32_t *leaves = arena_new_array(g->arena, uint32_t, g->states->count + 1);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        if (n->op == &op_state)
            leaves[g->values[n->out[0]].state - 1] = n->out[0];
    }
    return leaves;
}

/* Writes the order of the program anew, with what is new in its place. */
static void join(struct updater *u, struct gradient *list, uint32_t count)
{
    struct graph *g = u->g;
    const uint32_t *old = g->order, old_count = g->order_count;
    const uint32_t loss = g->values[g->minimize].node, outputs = g->output_count;
    find_places(u, list, count);
    g->order = NULL;
    g->order_count = g->order_capacity = 0;
    add_inputs(u);
    for (uint32_t i = 0; i < old_count; i++) {
        append(g, old[i]);
        if (old[i] == loss)
            u->loss = loss_value(g);
        for (uint32_t k = 0; k < outputs; k++)
            if (g->values[g->outputs[k].value].node == old[i])
                copy_output(g, list, count, k);
        for (uint32_t k = 0; k < count; k++)
            if (g->values[list[k].value].node == old[i])
                copy_gradient(g, &list[k]);
        for (uint32_t k = 0; k < count; k++)
            if (list[k].place == i)
                take(u, &list[k]);
    }
    finish(u, list, count);
}

bool pass_update(struct compile *c)
{
    struct graph *g = c->graph;
    if (!c->options->update || !g->minimize)
        return true;
    BUG_ON(c->options->accumulate || c->options->grad_outputs);
    struct gradient *list = arena_new_array(c->arena, struct gradient, g->states->count + 1);
    uint32_t count = find_gradients(g, list);
    graph_order(g); /* without the stores */
    struct updater u = {
        .g = g, .o = c->options->update, .leaf = find_leaves(g), .rows = g->states->count};
    join(&u, list, count);
    return true;
}
