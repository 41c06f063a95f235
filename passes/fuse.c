/* fuse: replaces patterns of nodes by one op each, by a table. What a program returns, or another
 * node reads, is there after it as before: a value inside a pattern has readers inside it only. */
#include "passes/fuse.h"
#include "graph/base/check.h"
#include "ops/kernels/attrs.h"

#include <string.h>

/* When a pattern is looked for. WRITTEN: before the gradient is derived; what is put in has a
 * gradient of its own. DERIVED: after. LAST: once it is decided what is computed twice, which may
 * have taken a pattern apart. */
enum when { WRITTEN, DERIVED, LAST };

/* In the order in which they are tried. */
static const struct pattern {
    const struct op *anchor;
    pattern_rule *rule;
    enum when when;
} patterns[] = {
    {&op_attention, fuse_attention, WRITTEN},
    {&op_modulate, fuse_norm, WRITTEN},
    {&op_add, fuse_residual, DERIVED},
    {&op_cross_entropy, fuse_head, DERIVED},
    {&op_score_entropy, fuse_head, DERIVED},
    {&op_score_entropy, fuse_bound, DERIVED},
    {&op_base_cost, fuse_bound, DERIVED},
    {&op_reconstruction, fuse_bound, DERIVED},
    {&op_tweedie, fuse_draw, DERIVED},
    {&op_euler, fuse_draw, DERIVED},
    {&op_euler_linear, fuse_draw, DERIVED},
    {&op_denoise, fuse_draw, DERIVED},
    {&op_ancestral, fuse_draw, DERIVED},
    {&op_base_draw, fuse_draw, DERIVED},
    {&op_remask, fuse_draw, DERIVED},
    {&op_corrector, fuse_draw, DERIVED},
    {&op_reveal_one, fuse_draw, DERIVED},
    {&op_gelu, fuse_gelu, LAST},
    {&op_gelu_backward, fuse_gelu_backward, LAST},
    {&op_add, fuse_add, LAST},
    {&op_gated_add, fuse_gated_add, LAST},
};

/* --- what patterns ask -------------------------------------------------------------------- */

const struct node *fuse_maker(const struct fuser *f, uint32_t v, const struct op *op)
{
    const struct node *n = &f->g->nodes[f->g->values[v].node];
    return v != VALUE_NONE && n->op == op ? n : NULL;
}

uint32_t fuse_reader(const struct fuser *f, uint32_t v, uint32_t k)
{
    const struct graph *g = f->g;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        bool reads = false;
        for (uint32_t j = 0; !n->dead && j < n->in_count; j++)
            reads |= n->in[j] == v;
        if (reads && k-- == 0)
            return g->order[i];
    }
    return NODE_NONE;
}

bool fuse_find_map(const struct fuser *f, uint32_t v, struct fuse_map *out)
{
    const struct node *n = fuse_maker(f, v, &op_linear);
    if (!n || graph_type(f->g, n->in[0])->rank < 2)
        return false;
    *out = (struct fuse_map){.node = f->g->values[v].node,
                             .h = n->in[0],
                             .weight = n->in[1],
                             .bias = n->in_count > 2 ? n->in[2] : VALUE_NONE,
                             .layout = n->attr[LINEAR_LAYOUT].integer,
                             .origin = n->origin};
    return true;
}

bool fuse_is_closed(const struct fuser *f, const uint32_t *nodes, uint32_t count, uint32_t v)
{
    uint32_t uses = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct node *n = &f->g->nodes[nodes[i]];
        for (uint32_t k = 0; k < n->in_count; k++)
            uses += n->in[k] == v;
    }
    return uses == f->uses[v];
}

bool fuse_makes_only(const struct fuser *f, const uint32_t *nodes, uint32_t count,
                     const uint32_t *kept, uint32_t kept_count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct node *n = &f->g->nodes[nodes[i]];
        for (uint32_t k = 0; k < n->out_count; k++) {
            bool stays = false;
            for (uint32_t j = 0; j < kept_count; j++)
                stays |= kept[j] == n->out[k];
            if (!stays && !fuse_is_closed(f, nodes, count, n->out[k]))
                return false;
        }
    }
    return true;
}

bool fuse_inputs_stay(const struct fuser *f, const uint32_t *in, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (in[i] && value_may_change(f->g, f->written, in[i]))
            return false;
    return true;
}

/* --- dependence --------------------------------------------------------------------------- */

enum { FREE, DEPENDS, INSIDE };

/* The graph as it was when the search began. */
struct search {
    const struct fuser *f;
    uint32_t node_count, order_count;
    uint8_t *mark; /* per node: INSIDE the pattern, DEPENDS on what that makes, or FREE */
};

static void mark_nodes(struct search *s, const uint32_t *nodes, uint32_t count)
{
    const struct graph *g = s->f->g;
    s->node_count = g->node_count;
    s->order_count = g->order_count;
    s->mark = arena_new_array(g->arena, uint8_t, g->node_count);
    for (uint32_t i = 0; i < count; i++)
        s->mark[nodes[i]] = INSIDE;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->in_count && s->mark[g->order[i]] == FREE; k++)
            if (n->in[k] && s->mark[g->values[n->in[k]].node] != FREE)
                s->mark[g->order[i]] = DEPENDS;
    }
}

/* Into CUTS what V is made of that is told by the shapes of dependents. False where V depends on
 * what they hold. */
static bool find_cuts(const struct search *s, uint32_t v, uint32_t *cuts, uint32_t *count)
{
    const struct graph *g = s->f->g;
    bool *seen = arena_new_array(g->arena, bool, g->value_count);
    uint32_t *stack = arena_new_array(g->arena, uint32_t, g->value_count), depth = 0;
    stack[depth++] = v;
    while (depth) {
        uint32_t at = stack[--depth], node = g->values[at].node;
        const struct node *n = &g->nodes[node];
        if (s->mark[node] == INSIDE)
            return false;
        if (s->mark[node] == DEPENDS && (n->op->by_shape >> g->values[at].result & 1)) {
            cuts[(*count)++] = at;
            continue;
        }
        for (uint32_t k = 0; k < n->in_count && s->mark[node] == DEPENDS; k++)
            if (n->in[k] && !seen[n->in[k]]) {
                seen[n->in[k]] = true;
                stack[depth++] = n->in[k];
            }
    }
    return true;
}

/* The first free value of the program of the type of V, or VALUE_NONE. */
static uint32_t find_free(const struct search *s, uint32_t v)
{
    const struct graph *g = s->f->g;
    for (uint32_t i = 0; i < s->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->out_count && s->mark[g->order[i]] == FREE; k++)
            if (type_equal(graph_type(g, n->out[k]), graph_type(g, v)) &&
                !value_may_change(g, s->f->written, n->out[k]))
                return n->out[k];
    }
    return VALUE_NONE;
}

/* Zeros of the type of V; VALUE_NONE where its size is known only after some node has run. */
static uint32_t make_zeros(struct graph *g, uint32_t v, const struct origin *origin)
{
    const struct type type = *graph_type(g, v);
    union attr zero = {.real = 0};
    struct node_call call = {.op = &op_const, .attr = &zero, .types = &type, .origin = origin};
    if (type.rank && type.dim[0].axis && g->axes[type.dim[0].axis].counter)
        return VALUE_NONE;
    uint32_t node = graph_call(g, &call);
    BUG_ON(node == NODE_NONE);
    return g->nodes[node].out[0];
}

/* V, as its node makes it of other values of the same types; VALUE_NONE: there are none. */
static uint32_t make_again(const struct search *s, uint32_t v)
{
    struct graph *g = s->f->g;
    const struct node like = g->nodes[g->values[v].node];
    uint32_t *in = arena_new_array(g->arena, uint32_t, like.in_count);
    for (uint32_t k = 0; k < like.in_count; k++) {
        if (!like.in[k])
            continue;
        in[k] = find_free(s, like.in[k]);
        if (!in[k])
            in[k] = make_zeros(g, like.in[k], like.origin);
        if (!in[k])
            return VALUE_NONE;
    }
    uint32_t first = graph_emit(g, like.op, in, like.in_count, like.attr, &like);
    return g->nodes[g->values[first].node].out[g->values[v].result];
}

/* Takes back what was made since the search began. */
static void forget(const struct search *s)
{
    struct graph *g = s->f->g;
    g->order_count = s->order_count;
    for (uint32_t i = s->node_count; i < g->node_count; i++)
        g->nodes[i].dead = true;
}

bool fuse_depends(const struct fuser *f, uint32_t v, uint32_t node)
{
    struct search s = {.f = f};
    mark_nodes(&s, &node, 1);
    return s.mark[f->g->values[v].node] != FREE;
}

bool fuse_detach(struct fuser *f, uint32_t v, const uint32_t *nodes, uint32_t count)
{
    struct graph *g = f->g;
    struct search s = {.f = f};
    uint32_t *cuts = arena_new_array(g->arena, uint32_t, g->value_count), found = 0;
    mark_nodes(&s, nodes, count);
    if (!find_cuts(&s, v, cuts, &found))
        return false;
    uint32_t *instead = arena_new_array(g->arena, uint32_t, found + 1);
    for (uint32_t i = 0; i < found; i++) {
        instead[i] = make_again(&s, cuts[i]);
        if (!instead[i]) {
            forget(&s);
            return false;
        }
    }
    graph_replace(g, cuts, instead, found);
    return true;
}

/* --- what they change --------------------------------------------------------------------- */

/* Results of NODE stand for the values FROM, and have their names. */
static void stand_for(struct graph *g, uint32_t node, const uint32_t *from, uint32_t count)
{
    const uint32_t *to = g->nodes[node].out;
    BUG_ON(count > g->nodes[node].out_count);
    for (uint32_t k = 0; k < count; k++) {
        if (!from[k])
            continue;
        BUG_ON(!type_equal(graph_type(g, from[k]), graph_type(g, to[k])));
        g->values[to[k]].name = g->values[from[k]].name;
        graph_replace(g, &from[k], &to[k], 1);
    }
}

void fuse_replace(struct fuser *f, uint32_t node, const uint32_t *from, uint32_t count,
                  const uint32_t *dead, uint32_t dead_count)
{
    struct graph *g = f->g;
    stand_for(g, node, from, count);
    for (uint32_t i = 0; i < dead_count; i++)
        g->nodes[dead[i]].dead = true;
    graph_order(g);
    graph_sweep(g);
    graph_order(g);
    f->uses = graph_uses(g);
}

void fuse_put(struct fuser *f, uint32_t node, const uint32_t *from, uint32_t count, uint32_t at,
              uint32_t other)
{
    struct graph *g = f->g;
    uint32_t kept = 0;
    BUG_ON(g->order[g->order_count - 1] != node);
    stand_for(g, node, from, count);
    g->nodes[at].dead = g->nodes[other].dead = true;
    for (uint32_t i = 0; i + 1 < g->order_count; i++) {
        uint32_t id = g->order[i] == at ? node : g->order[i];
        if (id != other)
            g->order[kept++] = id;
    }
    g->order_count = kept;
    f->uses = graph_uses(g);
}

/* Whether a pattern that is anchored at the op of NODE replaced something. */
static bool try_patterns(struct fuser *f, uint32_t node, enum when when)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (patterns[i].anchor == f->g->nodes[node].op && patterns[i].when == when &&
            patterns[i].rule(f, node))
            return true;
    return false;
}

static bool fuse(struct compile *c, enum when when)
{
    struct fuser f = {.g = c->graph, .written = graph_written_rows(c->graph)};
    if (c->options->unfused)
        return true;
    f.uses = graph_uses(c->graph);
    uint32_t count = c->graph->order_count;
    uint32_t *nodes = arena_new_array(c->arena, uint32_t, count);
    memcpy(nodes, c->graph->order, count * sizeof *nodes);
    for (uint32_t i = 0; i < count; i++)
        if (!c->graph->nodes[nodes[i]].dead)
            try_patterns(&f, nodes[i], when);
    return true;
}

bool pass_fuse_written(struct compile *c)
{
    return fuse(c, WRITTEN);
}

bool pass_fuse(struct compile *c)
{
    return fuse(c, DERIVED);
}

bool pass_fuse_last(struct compile *c)
{
    return fuse(c, LAST);
}
