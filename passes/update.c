/* The optimizer as a graph: clipping, AdamW and the average are ops on state rows like any other.
 * Called by training, after the gradient plan has declared the rows grad/NAME. */
#include "graph/base/check.h"
#include "ops/ops.h"
#include "passes/compile.h"

#include "ops/kernels/attrs.h"

static uint32_t leaf(struct graph *g, const struct op *op, const struct type *type)
{
    struct node_call call = {.op = op, .types = type};
    uint32_t id = graph_call(g, &call);
    BUG_ON(id == NODE_NONE);
    return g->nodes[id].out[0];
}

static uint32_t row_value(struct graph *g, uint32_t row)
{
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

/* The row PREFIX/NAME beside parameter ROW. */
static uint32_t companion(struct model *m, uint32_t row, const char *prefix, enum state_class class,
                          enum init_kind init)
{
    struct state_row add = m->states.rows[row];
    uint32_t at;
    add.name = arena_printf(m->arena, "%s/%s", prefix, add.name);
    add.class = class;
    add.init = init;
    add.scale = class == STATE_EMA ? add.scale : 0;
    add.owner = row;
    bool fits = state_declare(&m->states, m->arena, m->diags, &add, &at);
    BUG_ON(!fits);
    return at;
}

struct shared {
    uint32_t scale, lr, step;
};

static void update_row(struct model *m, struct graph *g, uint32_t row, uint32_t grad,
                       const struct shared *s, const struct update_options *o)
{
    uint32_t first = companion(m, row, "adam_m", STATE_MOMENT, INIT_ZERO);
    uint32_t second = companion(m, row, "adam_v", STATE_MOMENT, INIT_ZERO);
    uint32_t in[8] = {row_value(g, row), row_value(g, first), row_value(g, second)}, n = 3;
    union attr attr[] = {[ADAMW_BETA1] = {.real = o->beta1},
                         [ADAMW_BETA2] = {.real = o->beta2},
                         [ADAMW_EPS] = {.real = o->eps},
                         [ADAMW_DECAY] = {.real = o->weight_decay},
                         [ADAMW_EMA] = {.real = o->ema}};
    if (o->ema > 0)
        in[n++] = row_value(g, companion(m, row, "ema", STATE_EMA, INIT_COPY));
    in[n++] = grad;
    in[n++] = s->scale;
    in[n++] = s->lr;
    in[n++] = s->step;
    graph_emit(g, o->ema > 0 ? &op_adamw_ema : &op_adamw, in, n, attr, NULL);
}

/* The sum of squares over all gradients, a group at a time: an op takes so many inputs. */
static uint32_t all_squares(struct graph *g, const uint32_t *grads, uint32_t count)
{
    enum { GROUP = 64 };
    uint32_t sum = VALUE_NONE;
    for (uint32_t at = 0; at < count; at += GROUP) {
        uint32_t n = count - at < GROUP ? count - at : GROUP;
        uint32_t part = graph_emit(g, &op_sum_squares, grads + at, n, NULL, NULL);
        const uint32_t both[] = {sum, part};
        sum = sum ? graph_emit(g, &op_add, both, 2, NULL, NULL) : part;
    }
    return sum;
}

struct graph *update_graph(struct model *model, const struct update_options *options)
{
    struct graph *g = graph_new(model->arena, model->diags, model->table, &model->states, "update");
    uint32_t rows = model->states.count, count = 0;
    uint32_t *grads = arena_new_array(model->arena, uint32_t, rows + 1);
    uint32_t *owners = arena_new_array(model->arena, uint32_t, rows + 1);
    for (uint32_t r = 0; r < rows; r++) {
        if (model->states.rows[r].class != STATE_GRADIENT)
            continue;
        owners[count] = model->states.rows[r].owner;
        grads[count++] = row_value(g, r);
    }
    struct shared s = {0, scalar_input(g, "lr"), scalar_input(g, "step")};
    uint32_t squares = all_squares(g, grads, count);
    union attr clip[2];
    clip[CLIP_NORM].real = options->clip;
    clip[CLIP_SCALE].real = options->scale;
    s.scale = graph_emit(g, &op_clip_scale, &squares, 1, clip, NULL);
    graph_output(g, "grad_norm", g->nodes[g->values[s.scale].node].out[1]);
    for (uint32_t i = 0; i < count; i++)
        update_row(model, g, owners[i], grads[i], &s, options);
    graph_order(g);
    return g;
}
