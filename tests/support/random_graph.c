/* Makes random graphs; see random_graph.h. */
#include "tests/support/random_maker.h"

#include "graph/expr.h"

#include <string.h>

uint32_t random_below(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % n);
}

void random_graph_fill(const struct type *type, uint32_t seed, void *out)
{
    uint64_t state = seed * 2654435761u + 17;
    int64_t n = type_count(type);
    for (int64_t i = 0; i < n; i++) {
        double x = random_below(&state, 20001) / 10000.0 - 1;
        if (type->dtype == DT_F32)
            ((float *)out)[i] = (float)x;
        else if (type->dtype == DT_F64)
            ((double *)out)[i] = x;
        else if (type->dtype == DT_BOOL)
            ((uint8_t *)out)[i] = x < 0;
        else if (type->dtype == DT_TOKEN)
            ((int32_t *)out)[i] = (int32_t)random_below(&state, TOKENS);
        else
            BUG_ON(true);
    }
}

/* --- leaves ------------------------------------------------------------------------------- */

static struct type random_type(struct maker *m, bool may_batch)
{
    struct type t = {.dtype = m->doubles || !roll(m, 3) ? DT_F64 : DT_F32};
    t.rank = roll(m, 4);
    for (uint32_t i = 0; i < t.rank; i++)
        t.dim[i].size = sizes[roll(m, 7)];
    if (may_batch && t.rank && m->batch && roll(m, 2))
        t.dim[0] = (struct dim){m->g->axes[m->batch].size, m->batch};
    return t;
}

static void add_leaves(struct maker *m)
{
    for (uint32_t i = 1 + roll(m, 4); i > 0; i--) {
        struct type t = random_type(m, true);
        add_input(m, &t);
    }
    if (roll(m, 2)) {
        struct type t = random_type(m, true);
        t.dtype = DT_BOOL;
        add_input(m, &t);
    }
    for (uint32_t i = roll(m, 3); i > 0; i--) {
        struct type t = random_type(m, false);
        bool trained = m->out.gradients && t.dtype == DT_F32; /* as all parameters are */
        uint32_t v = state_value(m, trained ? STATE_PARAMETER : STATE_CONSTANT, &t);
        add_item(m, v, 1, m->g->values[v].state);
    }
    for (uint32_t i = roll(m, 2); i > 0; i--) {
        struct type t = random_type(m, true);
        add_item(m, leaf(m, &op_const, &t, roll(m, 3) - 1.0), 1, 0);
    }
}

/* --- ops ---------------------------------------------------------------------------------- */

static void add_unary(struct maker *m)
{
    static const struct op *const ops[] = {&op_neg,  &op_tanh, &op_sin, &op_cos,
                                           &op_gelu, &op_silu, &op_exp, &op_cast};
    struct item *x = pick(m);
    uint32_t which = roll(m, 8);
    union attr to[] = {[CAST_TO] = {.integer = 1}};
    if (ops[which] == &op_exp && x->bound > 2)
        return;
    double bound = which == 6 ? 7.4 : which >= 1 && which <= 3 ? 1 : x->bound;
    if (graph_type(m->g, x->value)->dtype == DT_BOOL)
        try_node(m, &op_not, &x->value, 1, NULL, 1);
    else
        try_node(m, ops[which], &x->value, 1, ops[which] == &op_cast ? to : NULL, bound);
}

static void add_binary(struct maker *m)
{
    static const struct op *const ops[] = {&op_add, &op_sub, &op_mul, &op_max, &op_min};
    const struct item *x = pick(m), *y = roll(m, 8) ? pick(m) : x;
    const uint32_t in[] = {x->value, y->value};
    uint32_t which = roll(m, 5);
    double larger = x->bound > y->bound ? x->bound : y->bound;
    double bound = which < 2 ? x->bound + y->bound : which == 2 ? x->bound * y->bound : larger;
    bool flags = graph_type(m->g, x->value)->dtype == DT_BOOL;
    try_node(m, flags ? (which % 2 ? &op_and : &op_or) : ops[which], in, 2, NULL,
             flags ? 1 : bound);
}

static void add_where(struct maker *m)
{
    const struct item *flag = pick_of(m, DT_BOOL), *x = pick(m), *y = pick(m);
    if (!flag)
        return;
    const uint32_t in[] = {flag->value, x->value, y->value};
    try_node(m, &op_where, in, 3, NULL, x->bound > y->bound ? x->bound : y->bound);
}

static void add_reduction(struct maker *m)
{
    static const struct op *const ops[] = {&op_sum, &op_mean, &op_logsumexp, &op_softmax};
    const struct item *x = pick(m);
    const struct type *t = graph_type(m->g, x->value);
    uint32_t which = roll(m, 4);
    int64_t axis = roll(m, 3) && t->rank ? (int64_t)roll(m, t->rank) : -999;
    union attr attr[] = {[REDUCE_AXIS] = {.integer = axis}, [REDUCE_KEEP] = {.flag = roll(m, 2)}};
    double n = (double)type_count(t);
    double bound = which == 0   ? n * x->bound
                   : which == 3 ? 1
                   : which == 2 ? x->bound + 8
                                : x->bound;
    try_node(m, ops[which], &x->value, 1, which < 2 ? attr : NULL, bound);
}

/* A view with the first axis kept, and what follows in one or two axes. */
static void add_reshape(struct maker *m)
{
    const struct item *x = pick(m);
    struct type t = *graph_type(m->g, x->value);
    struct dim *dims = arena_new_array(m->arena, struct dim, 3);
    uint32_t rank = 0;
    int64_t left = type_count(&t);
    if (t.rank && (t.dim[0].axis || roll(m, 2))) {
        dims[rank++] = t.dim[0];
        left /= t.dim[0].size;
    }
    if (roll(m, 2))
        dims[rank++].size = 1;
    if (left > 1 || rank == 0 || roll(m, 2))
        dims[rank++].size = left;
    union attr attr[] = {[SHAPE_DIMS] = {.dims = {rank, dims}}};
    try_node(m, &op_reshape, &x->value, 1, attr, x->bound);
}

static void add_cut(struct maker *m)
{
    const struct item *x = pick(m);
    const struct type *t = graph_type(m->g, x->value);
    if (t->rank == 0)
        return;
    uint32_t axis = roll(m, t->rank);
    uint32_t size = (uint32_t)t->dim[axis].size, from = roll(m, size);
    union attr slice[] = {[SLICE_AXIS] = {.integer = axis},
                          [SLICE_FROM] = {.integer = from},
                          [SLICE_SIZE] = {.integer = 1 + roll(m, size - from)}};
    union attr split[] = {
        [SPLIT_PARTS] = {.integer = size % 2 ? size : 2}, [SPLIT_AXIS] = {.integer = axis}};
    if (roll(m, 2))
        try_node(m, &op_slice, &x->value, 1, slice, x->bound);
    else if (size > 1)
        try_node(m, &op_split, &x->value, 1, split, x->bound);
}

static void add_concat(struct maker *m)
{
    const struct item *x = pick(m), *y = roll(m, 2) ? x : pick(m);
    const struct type *t = graph_type(m->g, x->value);
    if (t->rank == 0 || type_count(t) > 500)
        return;
    union attr attr[] = {[CONCAT_AXIS] = {.integer = roll(m, t->rank)}};
    const uint32_t in[] = {x->value, y->value};
    try_node(m, &op_concat, in, 2, attr, x->bound > y->bound ? x->bound : y->bound);
}

static void add_expand(struct maker *m)
{
    const struct item *x = pick(m);
    union attr attr[] = {[EXPAND_AXIS] = {.integer = -1}};
    if (graph_type(m->g, x->value)->rank < 3)
        try_node(m, &op_expand, &x->value, 1, attr, x->bound);
}

/* linear or layer_norm, with parameters of their own. */
static void add_layer(struct maker *m)
{
    const struct item *x = pick_of(m, DT_F32);
    if (!x || graph_type(m->g, x->value)->rank == 0)
        return;
    const struct type *t = graph_type(m->g, x->value);
    int64_t n = t->dim[t->rank - 1].size, out = sizes[roll(m, 7)];
    bool linear = roll(m, 2), bias = roll(m, 2), batched = t->rank == 1 && t->dim[0].axis;
    if (batched)
        return; /* its last axis is short */
    double bound = linear ? x->bound * (double)n + 1 : 2 * LARGEST;
    struct type matrix = {.dtype = DT_F32, .rank = 2, .dim = {{out, 0}, {n, 0}}};
    struct type vector = {.dtype = DT_F32, .rank = 1, .dim = {{linear ? out : n, 0}}};
    uint32_t in[] = {x->value, state_value(m, STATE_PARAMETER, linear ? &matrix : &vector),
                     VALUE_NONE};
    if (bias)
        in[2] = state_value(m, STATE_PARAMETER, &vector);
    union attr on_linear[] = {[LINEAR_OUT] = {.integer = out},
                              [LINEAR_BIAS] = {.flag = bias},
                              [LINEAR_LAYOUT] = {.integer = LAYOUT_OUT_IN},
                              [LINEAR_INIT] = {.integer = 0},
                              [LINEAR_STD] = {.real = 0}};
    union attr on_norm[] = {[NORM_BIAS] = {.flag = bias}, [NORM_EPS] = {.real = 0.05}};
    try_node(m, linear ? &op_linear : &op_layer_norm, in, bias ? 3 : 2,
             linear ? on_linear : on_norm, bound);
}

static void add_rope(struct maker *m)
{
    const struct item *x = pick_of(m, DT_F32);
    union attr attr[] = {[ROPE_HEADS] = {.integer = 1},
                         [ROPE_BASE] = {.real = 10000},
                         [ROPE_INVERSE] = {.flag = false}};
    if (x && graph_type(m->g, x->value)->rank == 3)
        try_node(m, &op_rope, &x->value, 1, attr, 1.5 * x->bound);
}

static void add_process(struct maker *m)
{
    struct process *p = arena_alloc(m->arena, sizeof *p);
    uint32_t which = roll(m, 4);
    p->name = "noise";
    p->sigma = expr_parse(m->g->diags, m->arena, "2 * t", (struct span){0});
    p->chain = which < 2    ? chain_absorb(TOKENS)
               : which == 2 ? chain_uniform(TOKENS)
                            : chain_mix(TOKENS, 0.7, 0.3, roll(m, 2) ? 0.3 : 0);
    m->g->processes = p;
    m->g->process_count = 1;
}

/* Rows where a flag holds, computed upon and put back. */
static void add_rows(struct maker *m)
{
    const struct item *flag = pick_of(m, DT_BOOL), *x = pick(m);
    const struct type *t = graph_type(m->g, x->value);
    if (!flag || t->rank == 0 || m->g->axis_count > 4)
        return;
    struct type f = *graph_type(m->g, flag->value);
    if (f.rank != 1 || f.dim[0].size != t->dim[0].size || f.dim[0].axis != t->dim[0].axis)
        return;
    struct dim *dims = arena_new_array(m->arena, struct dim, 1);
    dims[0] = t->dim[0];
    union attr one[] = {[GATHER_AXES] = {.integer = 1}};
    union attr rows[] = {[SCATTER_ROWS] = {.dims = {1, dims}}};
    double bound = x->bound;
    uint32_t value = x->value;
    struct node_call call = {.op = &op_nonzero, .in = &flag->value, .in_count = 1};
    uint32_t id = graph_call(m->g, &call);
    if (id == NODE_NONE)
        return;
    uint32_t index = m->g->nodes[id].out[0];
    const uint32_t in[] = {value, index};
    uint32_t some = try_node(m, &op_gather, in, 2, one, bound);
    const uint32_t back[] = {some, index};
    if (some)
        try_node(m, &op_scatter_add, back, 2, rows, bound);
}

/* --- state -------------------------------------------------------------------------------- */

static bool is_short(const struct type *t)
{
    return t->rank && t->dim[0].axis;
}

/* A value becomes a row, which others may have read before. */
static void add_store(struct maker *m)
{
    const struct item *x = pick(m);
    struct type t = *graph_type(m->g, x->value);
    uint32_t value = x->value, row;
    if (is_short(&t))
        return;
    if (roll(m, 2) && !m->out.gradients) {
        uint32_t old = state_value(m, STATE_CONSTANT, &t);
        row = m->g->values[old].state;
        add_item(m, old, 1, row);
        add_unary(m); /* may read it */
        add_binary(m);
        forget_row(m, row);
        m->out.updates = true;
    } else {
        struct state_row add = {.name = arena_printf(m->arena, "row%u", m->rows++),
                                .class = STATE_CONSTANT,
                                .type = t,
                                .init = INIT_ZERO};
        bool fits = state_declare(m->states, m->arena, m->g->diags, &add, &row);
        BUG_ON(!fits);
        row++;
    }
    struct node_call call = {.op = &op_store, .in = &value, .in_count = 1};
    uint32_t id = graph_call(m->g, &call);
    BUG_ON(id == NODE_NONE);
    uint32_t stored = m->g->nodes[id].out[0];
    m->g->values[stored].state = row;
    m->g->values[stored].version = 1;
}

/* row := row + value, once or twice. */
static void add_update(struct maker *m)
{
    if (m->out.gradients)
        return;
    const struct item *x = pick_of(m, DT_F32);
    if (!x || is_short(graph_type(m->g, x->value)))
        return;
    struct type t = *graph_type(m->g, x->value), scalar = type_scalar(DT_F64);
    uint32_t value = x->value, keep = leaf(m, &op_const, &scalar, 1);
    uint32_t row = state_value(m, STATE_CONSTANT, &t);
    double bound = 1 + x->bound;
    for (uint32_t turns = 1 + roll(m, 2); turns > 0; turns--) {
        add_item(m, row, bound, m->g->values[row].state);
        add_unary(m);
        add_binary(m);
        forget_row(m, m->g->values[row].state);
        const uint32_t in[] = {row, value, keep};
        struct node_call call = {.op = &op_accumulate, .in = in, .in_count = 3};
        uint32_t id = graph_call(m->g, &call);
        BUG_ON(id == NODE_NONE);
        row = m->g->nodes[id].out[0];
        bound += bound;
    }
    m->out.updates = true;
    add_item(m, row, bound, m->g->values[row].state);
}

/* --- the whole ---------------------------------------------------------------------------- */

static void add_minimize(struct maker *m)
{
    const struct item *x = m->loss.value && roll(m, 6) ? &m->loss : pick(m);
    enum dtype d = graph_type(m->g, x->value)->dtype;
    if (d != DT_F32 && d != DT_F64) {
        m->out.gradients = false;
        return;
    }
    struct type scalar = type_scalar(DT_F32);
    uint32_t value = x->value, mean = try_node(m, &op_mean, &value, 1, NULL, 1);
    BUG_ON(!mean);
    const uint32_t in[] = {mean, state_value(m, STATE_PARAMETER, &scalar)};
    uint32_t loss = try_node(m, &op_mul, in, 2, NULL, 1); /* there is always something to train */
    BUG_ON(!loss);
    m->g->minimize = loss;
    graph_output(m->g, "loss", loss);
}

static void add_outputs(struct maker *m)
{
    for (uint32_t i = 1 + roll(m, 3); i > 0; i--)
        graph_output(m->g, arena_printf(m->arena, "out%u", i), pick(m)->value);
    if (m->out.gradients)
        add_minimize(m);
}

struct random_graph random_graph_make(struct arena *arena, struct diags *diags,
                                      struct state_table *states, uint32_t seed)
{
    static void (*const add[])(struct maker *) = {
        add_unary, add_unary,  add_binary, add_binary, add_binary, add_where,   add_reduction,
        add_layer, add_layer,  add_cut,    add_concat, add_rope,   add_rows,    add_reshape,
        add_store, add_update, add_expand, add_head,   add_draw,   add_network, add_network};
    struct maker *m = arena_alloc(arena, sizeof *m);
    struct arena *scratch = arena_new();
    m->arena = arena;
    m->states = states;
    m->state = seed * 0x9E3779B97F4A7C15u + 1;
    m->g = m->out.graph =
        graph_new(arena, diags_new(scratch), &ops_table, states, arena_printf(arena, "g%u", seed));
    m->doubles = !roll(m, 4);
    m->out.gradients = !roll(m, 3);
    if (roll(m, 3))
        m->batch = graph_axis(m->g, "batch", 2 + roll(m, 6));
    add_process(m);
    add_leaves(m);
    for (uint32_t i = 4 + roll(m, 30); i > 0; i--)
        add[roll(m, sizeof add / sizeof *add)](m);
    add_outputs(m);
    m->g->diags = diags; /* refusals of ops that did not fit are forgotten */
    arena_free(scratch);
    return m->out;
}
