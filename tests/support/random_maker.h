/* What makes random graphs (random_graph.c) and the networks in them (random_network.c): a pool of
 * values to go on from, each with a bound of its elements. */
#ifndef SEDGE_TESTS_RANDOM_MAKER_H
#define SEDGE_TESTS_RANDOM_MAKER_H

#include "graph/base/check.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "tests/support/random_graph.h"

#define POOL 160
#define TOKENS 5  /* of the process */
#define LARGEST 8 /* bound of a value's elements; what could grow beyond is squeezed by tanh */

struct item {
    uint32_t value;
    double bound; /* of the elements' magnitude */
    uint32_t row; /* 1 + state row whose memory it is, through views; else 0 */
};

struct maker {
    struct random_graph out;
    struct arena *arena;
    struct state_table *states;
    struct graph *g;
    uint64_t state;
    struct item pool[POOL];
    uint32_t count;
    uint32_t batch;   /* axis, or 0 */
    bool doubles;     /* every leaf is f64 */
    struct item loss; /* of a vocabulary head, or none */
    uint32_t rows;
};

static inline uint32_t roll(struct maker *m, uint32_t n)
{
    return random_below(&m->state, n);
}

/* --- the pool ----------------------------------------------------------------------------- */

static inline void add_item(struct maker *m, uint32_t value, double bound, uint32_t row)
{
    if (m->count < POOL)
        m->pool[m->count++] = (struct item){value, bound, row};
    m->out.single |= graph_type(m->g, value)->dtype == DT_F32;
}

/* Recent ones more often: graphs grow deep as well as wide. */
static inline struct item *pick(struct maker *m)
{
    uint32_t from = roll(m, 2) && m->count > 6 ? m->count - 6 : 0;
    return &m->pool[from + roll(m, m->count - from)];
}

static inline struct item *pick_of(struct maker *m, enum dtype dtype)
{
    for (int i = 0; i < 20; i++) {
        struct item *it = pick(m);
        if (graph_type(m->g, it->value)->dtype == dtype)
            return it;
    }
    return NULL;
}

/* After a row was written, its older versions may not be read any more. */
static inline void forget_row(struct maker *m, uint32_t row)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->pool[i].row != row)
            m->pool[kept++] = m->pool[i];
    m->count = kept;
}

/* A node, if its op accepts the inputs; its visible results join the pool. */
static inline uint32_t try_node(struct maker *m, const struct op *op, const uint32_t *in,
                                uint32_t n, const union attr *attr, double bound)
{
    struct node_call call = {.op = op, .in = in, .in_count = n, .attr = attr};
    uint32_t id = graph_call(m->g, &call), row = 0;
    if (id == NODE_NONE)
        return VALUE_NONE;
    struct node node = m->g->nodes[id]; /* a copy: the graph may grow */
    uint32_t visible = op->visible ? op->visible : node.out_count;
    for (uint32_t i = 0; (op->flags & OP_VIEW) && i < m->count; i++)
        if (m->pool[i].value == in[0])
            row = m->pool[i].row;
    if (bound > LARGEST) {
        struct node_call squeeze = {.op = &op_tanh, .in = node.out, .in_count = 1};
        uint32_t small = graph_call(m->g, &squeeze);
        BUG_ON(small == NODE_NONE);
        add_item(m, m->g->nodes[small].out[0], 1, 0);
        return m->g->nodes[small].out[0];
    }
    for (uint32_t k = 0; k < visible; k++)
        add_item(m, node.out[k], bound, row);
    return node.out[0];
}

static const int64_t sizes[] = {1, 2, 3, 5, 7, 4, 13};

/* --- leaves ------------------------------------------------------------------------------- */

static inline uint32_t leaf(struct maker *m, const struct op *op, const struct type *type,
                            double value)
{
    union attr attr[] = {[CONST_VALUE] = {.real = value}};
    struct node_call call = {.op = op, .types = type, .attr = op == &op_const ? attr : NULL};
    uint32_t id = graph_call(m->g, &call);
    BUG_ON(id == NODE_NONE);
    return m->g->nodes[id].out[0];
}

static inline void add_input(struct maker *m, const struct type *type)
{
    uint32_t v = leaf(m, &op_input, type, 0);
    graph_input(m->g, arena_printf(m->arena, "in%u", m->g->input_count), v);
    add_item(m, v, 1, 0);
}

/* A new row of the state and its first version. */
static inline uint32_t state_value(struct maker *m, enum state_class class, const struct type *type)
{
    struct state_row row = {.name = arena_printf(m->arena, "row%u", m->rows++),
                            .class = class,
                            .type = *type,
                            .init = INIT_ZERO};
    uint32_t at;
    bool fits = state_declare(m->states, m->arena, m->g->diags, &row, &at);
    BUG_ON(!fits);
    uint32_t v = leaf(m, &op_state, type, 0);
    m->g->values[v].state = at + 1;
    return v;
}

/* --- networks ----------------------------------------------------------------------------- */

/* Layers of a transformer, or parts of them, with values inside that others read at times; then
 * perhaps a vocabulary head and its loss, or a draw of tokens. */
void add_network(struct maker *m);
void add_head(struct maker *m);
void add_draw(struct maker *m);

#endif
