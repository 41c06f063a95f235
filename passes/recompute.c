/* recompute: where the arena would be larger than its limit, values that wait for the backward pass
 * are dropped, and computed a second time where they are needed.
 *
 * The nodes in program order are cut at the step that needs most memory. A value made before the
 * cut and read after it can be dropped: its node, and nodes before it whose results are not kept
 * either, get clones right before the first reader behind the cut. Whole blocks are dropped in this
 * way, value by value: the cheap ones first, at last all but their inputs. What frees most bytes
 * for its cost is taken first. A clone reads one of its inputs through `later`, after a gradient
 * that its first reader needs; so no order of the nodes can bring it forward, where it would save
 * nothing.
 *
 * Every choice is judged by the memory that the rewritten graph needs in program order, and kept
 * only if that is less. When nothing at the cut helps, the graph is rewritten and cut anew: at last
 * it is a block's own backward pass that needs most, and clones themselves are dropped in it.
 *
 * The limit may be out of reach. Then the graph is left as small as this pass can make it, and the
 * caller sees so by the plan. */
#include "graph/base/check.h"
#include "ops/ops.h"
#include "passes/storage.h"

#include <string.h>

#define ROUNDS_MAX 8
#define LEAST_GAIN 0.005 /* of a round, for another one to follow */
#define REFUSALS_MAX 8   /* in a row, of choices at one cut */
#define CHAIN_MAX 64     /* nodes that one choice may add */
#define LOOK_BACK 64     /* nodes among which an anchor is looked for */

/* One cut of one graph. Places are those of its order. */
struct round {
    struct compile *c;
    struct graph *g;
    struct arena *arena;
    uint32_t split;      /* last place before the cut */
    uint32_t *at;        /* per node: its place */
    uint32_t *base;      /* per value: the one whose bytes it is (views followed) */
    bool *fixed;         /* per node: may not run twice */
    uint32_t *until;     /* per node: where a row that it reads is written, or UINT32_MAX */
    double *cost;        /* per node */
    uint32_t *last_read; /* per base: by nodes up to the cut */
    uint32_t *anchor;    /* per place behind the cut: what clones made there must follow; or 0 */
    bool *pinned;        /* per base: alive to its last reader in any case */
    bool *twice;         /* per node: chosen to be dropped and computed again */
    bool *refused;       /* per base: dropping it did not help */
    uint32_t epoch;
    /* Given these choices, per base: where it is first and last needed behind the cut. */
    uint32_t *first_need, *last_need;
};

/* --- one cut ------------------------------------------------------------------------------ */

static uint32_t maker(const struct round *r, uint32_t value)
{
    return r->g->values[value].node;
}

/* Whether a value is made before the cut and takes room in the arena. */
static bool is_kept(const struct round *r, uint32_t base)
{
    const struct node *n = &r->g->nodes[maker(r, base)];
    return base && !(n->op->flags & OP_LEAF) && !r->g->values[base].state &&
           r->at[maker(r, base)] <= r->split;
}

/* Per state row, counted from 1: the first place at which it is written, or UINT32_MAX. */
static uint32_t *find_writes(const struct round *r)
{
    const struct graph *g = r->g;
    uint32_t *write = arena_new_array(r->arena, uint32_t, g->states->count + 1);
    memset(write, 0xff, (g->states->count + 1) * sizeof *write);
    for (uint32_t i = g->order_count; i-- > 0;) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; !(n->op->flags & OP_LEAF) && k < n->out_count; k++)
            write[g->values[n->out[k]].state] = i;
    }
    write[0] = UINT32_MAX;
    return write;
}

static void find_fixed(struct round *r)
{
    const struct graph *g = r->g;
    const uint32_t *write = find_writes(r);
    for (uint32_t i = 0; i < g->order_count; i++) {
        uint32_t id = g->order[i], inputs = 0;
        const struct node *n = &g->nodes[id];
        r->fixed[id] = (n->op->flags & (OP_LEAF | OP_EFFECT | OP_COUNTS)) || n->op->updates;
        r->until[id] = UINT32_MAX;
        for (uint32_t k = 0; k < n->in_count; k++) {
            uint32_t at = write[g->values[r->base[n->in[k]]].state];
            r->until[id] = at < r->until[id] ? at : r->until[id];
            inputs += n->in[k] != VALUE_NONE;
        }
        r->fixed[id] |= inputs == 0; /* nothing could hold it back */
    }
}

/* Whether the node may run again at PLACE: not behind the write of a row that it reads. */
static bool may_rerun(const struct round *r, uint32_t node, uint32_t place)
{
    return !r->fixed[node] && place <= r->until[node];
}

static void find_costs(struct round *r)
{
    struct node_types *types = arena_alloc(r->arena, sizeof *types);
    for (uint32_t i = 0; i <= r->split; i++) {
        node_types_fill(r->g, r->g->order[i], types);
        struct op_cost cost = node_types_cost(types);
        r->cost[r->g->order[i]] = 1 + plan_effort(cost.flop, cost.bytes);
    }
}

/* Per node, the last place up to the cut that it depends on. */
static uint32_t *find_reach(struct round *r)
{
    const struct graph *g = r->g;
    uint32_t *reach = arena_new_array(r->arena, uint32_t, g->node_count);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        uint32_t *far = &reach[g->order[i]];
        if (n->op->flags & OP_LEAF)
            continue;
        *far = i <= r->split ? i : 0;
        for (uint32_t k = 0; k < n->in_count; k++)
            if (n->in[k] && reach[maker(r, n->in[k])] > *far)
                *far = reach[maker(r, n->in[k])];
    }
    return reach;
}

static uint32_t *find_last_readers(struct round *r)
{
    const struct graph *g = r->g;
    uint32_t *last = arena_new_array(r->arena, uint32_t, g->value_count);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->in_count; k++)
            last[r->base[n->in[k]]] = i;
    }
    return last;
}

/* Of what the node at PLACE reads, or else of what is alive there: the value made at the cut or
 * behind it that depends on most of what came before. It is a gradient, as a rule. */
static uint32_t find_anchor(const struct round *r, uint32_t place, const uint32_t *reach,
                            const uint32_t *last)
{
    const struct graph *g = r->g;
    const struct node *n = &g->nodes[g->order[place]];
    uint32_t best = VALUE_NONE;
    for (uint32_t k = 0; k < n->in_count; k++) {
        uint32_t v = n->in[k], id = maker(r, v);
        if (v && r->at[id] >= r->split && (!best || reach[id] > reach[maker(r, best)]))
            best = v;
    }
    if (best && reach[maker(r, best)])
        return best;
    best = VALUE_NONE;
    for (uint32_t i = place; i-- > r->split && place - i < LOOK_BACK;) {
        const struct node *before = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < before->out_count; k++) {
            uint32_t v = before->out[k];
            if (last[r->base[v]] >= place && reach[g->order[i]] &&
                (!best || reach[g->order[i]] > reach[maker(r, best)]))
                best = v;
        }
    }
    return best;
}

/* What is read behind the cut where nothing can hold a clone back stays, and so do outputs. */
static void find_pinned(struct round *r, const uint32_t *reach)
{
    const struct graph *g = r->g;
    for (uint32_t i = 0; i < g->output_count; i++)
        r->pinned[r->base[g->outputs[i].value]] = true;
    for (uint32_t i = r->split + 1; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->in_count; k++) {
            uint32_t b = r->base[n->in[k]];
            if (is_kept(r, b) &&
                (!r->anchor[i] || reach[maker(r, r->anchor[i])] <= r->last_read[b]))
                r->pinned[b] = true;
        }
    }
}

static void round_init(struct round *r, struct compile *c, struct arena *arena, uint32_t split)
{
    struct graph *g = c->graph;
    *r = (struct round){.c = c, .g = g, .arena = arena, .split = split};
    r->at = arena_new_array(arena, uint32_t, g->node_count);
    r->base = arena_new_array(arena, uint32_t, g->value_count);
    r->fixed = arena_new_array(arena, bool, g->node_count);
    r->until = arena_new_array(arena, uint32_t, g->node_count);
    r->cost = arena_new_array(arena, double, g->node_count);
    r->last_read = arena_new_array(arena, uint32_t, g->value_count);
    r->anchor = arena_new_array(arena, uint32_t, g->order_count);
    r->pinned = arena_new_array(arena, bool, g->value_count);
    r->twice = arena_new_array(arena, bool, g->node_count);
    r->refused = arena_new_array(arena, bool, g->value_count);
    r->first_need = arena_new_array(arena, uint32_t, g->value_count);
    r->last_need = arena_new_array(arena, uint32_t, g->value_count);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        r->at[g->order[i]] = i;
        r->epoch = n->epoch > r->epoch ? n->epoch : r->epoch;
        for (uint32_t k = 0; k < n->out_count; k++)
            r->base[n->out[k]] = (n->op->flags & OP_VIEW) && k == 0 ? r->base[n->in[0]] : n->out[k];
        for (uint32_t k = 0; k < n->in_count && i <= split; k++)
            r->last_read[r->base[n->in[k]]] = i;
    }
    r->epoch++;
    find_fixed(r);
    find_costs(r);
    const uint32_t *reach = find_reach(r), *last = find_last_readers(r);
    for (uint32_t i = split + 1; i < g->order_count; i++)
        r->anchor[i] = find_anchor(r, i, reach, last);
    find_pinned(r, reach);
}

/* --- what is needed ----------------------------------------------------------------------- */

static void need(struct round *r, uint32_t value, uint32_t place)
{
    uint32_t b = r->base[value];
    if (place < r->first_need[b])
        r->first_need[b] = place;
    if (place > r->last_need[b])
        r->last_need[b] = place;
}

/* A clone is made where the first of its results is needed, and needs its inputs there. */
static void find_needs(struct round *r)
{
    const struct graph *g = r->g;
    memset(r->first_need, 0xff, g->value_count * sizeof *r->first_need);
    memset(r->last_need, 0, g->value_count * sizeof *r->last_need);
    for (uint32_t i = r->split + 1; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->in_count; k++)
            if (is_kept(r, r->base[n->in[k]]))
                need(r, n->in[k], i);
    }
    for (uint32_t i = r->split + 1; i-- > 0;) {
        const struct node *n = &g->nodes[g->order[i]];
        uint32_t first = UINT32_MAX;
        for (uint32_t k = 0; r->twice[g->order[i]] && k < n->out_count; k++)
            first = r->first_need[n->out[k]] < first ? r->first_need[n->out[k]] : first;
        for (uint32_t k = 0; first != UINT32_MAX && k < n->in_count; k++)
            need(r, n->in[k], first);
    }
}

/* --- choices ------------------------------------------------------------------------------ */

/* Nodes that would be computed again, and what that brings. */
struct choice {
    uint32_t value; /* for whose sake; 0: none */
    uint32_t nodes[CHAIN_MAX], count;
    double score; /* bytes freed for a unit of cost */
};

/* Whether VALUE waits for a reader behind PLACE, and would not if it were dropped. */
static bool waits(const struct round *r, uint32_t value, uint32_t place)
{
    return is_kept(r, value) && !r->pinned[value] && !r->twice[maker(r, value)] &&
           r->first_need[value] != UINT32_MAX && r->first_need[value] > place &&
           r->last_read[value] < place && r->at[maker(r, value)] < place;
}

static bool holds_node(const struct choice *choice, uint32_t node)
{
    for (uint32_t i = 0; i < choice->count; i++)
        if (choice->nodes[i] == node)
            return true;
    return false;
}

/* The bytes of VALUE, by the part of the time between PLACE and its last reader that lies before
 * UNTIL: a clone that is made early and read late frees little. */
static double share(const struct round *r, uint32_t value, uint32_t place, uint32_t from,
                    uint32_t until)
{
    double bytes = (double)aligned(type_bytes(graph_type(r->g, value)));
    return bytes * (double)(until - from) / (double)(r->last_need[value] - place);
}

/* Completes the choice of dropping VALUE, which waits at PLACE: inputs of its node that are neither
 * kept nor computed again are kept from now on, or with DEEP computed again as well. */
static void complete(const struct round *r, uint32_t value, uint32_t place, bool deep,
                     struct choice *choice)
{
    const struct graph *g = r->g;
    double bytes = 0, cost = 0;
    uint32_t first = r->first_need[value];
    *choice = (struct choice){.value = value, .nodes = {maker(r, value)}, .count = 1};
    for (uint32_t i = 0; i < choice->count; i++) {
        const struct node *n = &g->nodes[choice->nodes[i]];
        cost += r->cost[choice->nodes[i]];
        for (uint32_t k = 0; k < n->out_count; k++)
            if (waits(r, n->out[k], place))
                bytes += share(r, n->out[k], place, place, r->first_need[n->out[k]]);
        for (uint32_t k = 0; k < n->in_count; k++) {
            uint32_t b = r->base[n->in[k]], id = maker(r, b);
            if (is_kept(r, b) && r->twice[id] && r->first_need[b] != UINT32_MAX &&
                r->first_need[b] > first) /* its clone would be made as early */
                bytes -= share(r, b, place, first, r->first_need[b]);
            if (!is_kept(r, b) || r->twice[id] || holds_node(choice, id) || r->pinned[b] ||
                r->first_need[b] != UINT32_MAX)
                continue;
            if (deep && may_rerun(r, id, first) && choice->count < CHAIN_MAX)
                choice->nodes[choice->count++] = id;
            else
                bytes -= (double)aligned(type_bytes(graph_type(g, b)));
        }
    }
    choice->score = bytes / cost;
}

/* The best thing to drop of what waits at PLACE. */
static struct choice choose(struct round *r, uint32_t place)
{
    struct choice best = {0}, other;
    find_needs(r);
    for (uint32_t i = 0; i <= r->split; i++) {
        uint32_t id = r->g->order[i];
        const struct node *n = &r->g->nodes[id];
        for (uint32_t k = 0; k < n->out_count; k++) {
            if (r->base[n->out[k]] != n->out[k] || r->refused[n->out[k]] ||
                !waits(r, n->out[k], place) || !may_rerun(r, id, r->first_need[n->out[k]]))
                continue;
            for (int deep = 0; deep < 2; deep++) {
                complete(r, n->out[k], place, deep, &other);
                if (other.score > best.score)
                    best = other;
            }
        }
    }
    return best;
}

/* --- rewriting ---------------------------------------------------------------------------- */

struct rewriting {
    const struct round *r;
    struct graph *g;            /* the one of the round, or a copy of it */
    uint32_t *clone;            /* per value: what stands for it behind the cut; 0: itself */
    bool *wanted;               /* per place: to be cloned now */
    uint32_t *order, *came_for; /* the new order; per place in it, the old place served */
    uint32_t count, capacity;
};

static bool is_dropped(const struct round *r, uint32_t value)
{
    return value && r->at[maker(r, value)] <= r->split && !r->pinned[r->base[value]] &&
           is_kept(r, r->base[value]) && r->twice[maker(r, r->base[value])];
}

static void append(struct rewriting *w, uint32_t node, uint32_t place)
{
    w->order[w->count] = node;
    w->came_for[w->count++] = place;
}

/* A clone of the node at PLACE; held back by ANCHOR unless it reads another clone. */
static void clone_node(struct rewriting *w, uint32_t place, uint32_t anchor, uint32_t reader)
{
    struct graph *g = w->g;
    const struct node n = g->nodes[g->order[place]];
    uint32_t *in = arena_new_array(g->arena, uint32_t, n.in_count), loose = n.in_count;
    bool held = false;
    for (uint32_t k = 0; k < n.in_count; k++) {
        in[k] = w->clone[n.in[k]] ? w->clone[n.in[k]] : n.in[k];
        held |= in[k] != n.in[k];
        if (n.in[k] && (loose == n.in_count || is_kept(w->r, w->r->base[n.in[k]])))
            loose = k;
    }
    if (!held) {
        const uint32_t pair[] = {in[loose], anchor};
        in[loose] = graph_emit(g, &op_later, pair, 2, NULL, &n);
        g->nodes[g->values[in[loose]].node].epoch = w->r->epoch;
        append(w, g->values[in[loose]].node, reader);
    }
    struct node_call call = {.op = n.op,
                             .in = in,
                             .in_count = n.in_count,
                             .attr = n.attr,
                             .origin = n.origin,
                             .process = n.process,
                             .stream = n.stream};
    uint32_t id = graph_call(g, &call);
    BUG_ON(id == NODE_NONE);
    g->nodes[id].epoch = w->r->epoch;
    for (uint32_t k = 0; k < n.out_count; k++) {
        w->clone[n.out[k]] = g->nodes[id].out[k];
        g->values[g->nodes[id].out[k]].name = g->values[n.out[k]].name;
    }
    append(w, id, reader);
}

/* Clones what READER needs of what was dropped. */
static void clone_for(struct rewriting *w, uint32_t reader)
{
    const struct round *r = w->r;
    uint32_t highest = 0, lowest = UINT32_MAX;
    const struct node *n = &w->g->nodes[w->g->order[reader]];
    for (uint32_t k = 0; k < n->in_count; k++) {
        if (!is_dropped(r, n->in[k]) || w->clone[n->in[k]])
            continue;
        uint32_t place = r->at[maker(r, n->in[k])];
        w->wanted[place] = true;
        highest = place > highest ? place : highest;
        lowest = place < lowest ? place : lowest;
    }
    if (lowest == UINT32_MAX)
        return;
    for (uint32_t i = highest + 1; i-- > lowest;) {
        n = &w->g->nodes[w->g->order[i]];
        for (uint32_t k = 0; w->wanted[i] && k < n->in_count; k++) {
            if (!is_dropped(r, n->in[k]) || w->clone[n->in[k]])
                continue;
            uint32_t place = r->at[maker(r, n->in[k])];
            w->wanted[place] = true;
            lowest = place < lowest ? place : lowest;
        }
    }
    for (uint32_t i = lowest; i <= highest; i++) {
        if (w->wanted[i])
            clone_node(w, i, r->anchor[reader], reader);
        w->wanted[i] = false;
    }
}

/* Inputs are copied before they are changed: graphs of several tries share them. */
static void redirect(struct rewriting *w, uint32_t node)
{
    struct node *n = &w->g->nodes[node];
    bool any = false;
    for (uint32_t k = 0; k < n->in_count; k++)
        any |= w->clone[n->in[k]] != VALUE_NONE;
    if (!any)
        return;
    uint32_t *in = arena_new_array(w->g->arena, uint32_t, n->in_count);
    for (uint32_t k = 0; k < n->in_count; k++)
        in[k] = w->clone[n->in[k]] ? w->clone[n->in[k]] : n->in[k];
    n->in = in;
}

/* Rewrites G; *CAME_FOR then tells of each place of its new order which old one it serves. */
static void rewrite(const struct round *r, struct graph *g, uint32_t **came_for)
{
    uint32_t old_count = r->g->order_count;
    struct rewriting w = {.r = r,
                          .g = g,
                          .clone = arena_new_array(g->arena, uint32_t, g->value_count),
                          .wanted = arena_new_array(g->arena, bool, old_count),
                          .order = arena_new_array(g->arena, uint32_t, 3 * old_count),
                          .came_for = arena_new_array(g->arena, uint32_t, 3 * old_count)};
    uint32_t *old = g->order;
    g->order = arena_new_array(g->arena, uint32_t, 4 * old_count); /* calls append to it */
    memcpy(g->order, old, old_count * sizeof *old);
    g->order_capacity = 4 * old_count;
    for (uint32_t i = 0; i < old_count; i++) {
        if (i > r->split && r->anchor[i]) {
            clone_for(&w, i);
            redirect(&w, g->order[i]);
        }
        append(&w, g->order[i], i);
    }
    g->order = w.order;
    g->order_count = w.count;
    g->order_capacity = 3 * old_count;
    graph_sweep(g);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w.count; i++) {
        if (g->nodes[w.order[i]].dead)
            continue;
        w.order[kept] = w.order[i];
        w.came_for[kept++] = w.came_for[i];
    }
    g->order_count = kept;
    *came_for = w.came_for;
}

/* --- judging ------------------------------------------------------------------------------ */

struct need_of {
    int64_t bytes;
    uint32_t place; /* of the graph before it was rewritten */
};

/* A copy to be rewritten and thrown away; tables that rewriting leaves alone are shared. */
static struct graph copy_graph(const struct graph *g, struct arena *arena)
{
    struct graph copy = *g;
    copy.arena = arena;
    copy.nodes = arena_new_array(arena, struct node, g->node_count);
    memcpy(copy.nodes, g->nodes, g->node_count * sizeof *g->nodes);
    copy.node_capacity = g->node_count;
    copy.values = arena_new_array(arena, struct value, g->value_count);
    memcpy(copy.values, g->values, g->value_count * sizeof *g->values);
    copy.value_capacity = g->value_count;
    copy.names = NULL;
    copy.named_count = copy.named_capacity = 0;
    return copy;
}

/* And a copy of what passes change in place. */
static struct graph copy_whole(const struct graph *g, struct arena *arena)
{
    struct graph copy = copy_graph(g, arena);
    for (uint32_t i = 0; i < g->node_count; i++) {
        struct node *n = &copy.nodes[i];
        n->in = arena_new_array(arena, uint32_t, n->in_count);
        memcpy(n->in, g->nodes[i].in, n->in_count * sizeof *n->in);
    }
    copy.order = arena_new_array(arena, uint32_t, g->order_count);
    memcpy(copy.order, g->order, g->order_count * sizeof *g->order);
    copy.order_capacity = g->order_count;
    copy.outputs = arena_new_array(arena, struct binding, g->output_count);
    memcpy(copy.outputs, g->outputs, g->output_count * sizeof *g->outputs);
    return copy;
}

/* What the choices so far come to, in program order. */
static struct need_of judge(const struct round *r)
{
    struct arena *arena = arena_new();
    struct graph copy = copy_graph(r->g, arena);
    uint32_t *came_for;
    rewrite(r, &copy, &came_for);
    struct compile c = {.arena = arena, .graph = &copy, .options = r->c->options};
    const struct storage *s = storage_make(&c, copy.order, copy.order_count);
    struct need_of found = {s->bound, came_for[s->peak_at]};
    arena_free(arena);
    return found;
}

/* --- one round ---------------------------------------------------------------------------- */

/* Makes up to COUNT choices for PLACE; returns how many, and the last one. */
static uint32_t choose_some(struct round *r, uint32_t place, uint32_t count, struct choice *last)
{
    uint32_t made = 0;
    for (; made < count; made++) {
        struct choice choice = choose(r, place);
        if (!choice.value)
            break;
        for (uint32_t i = 0; i < choice.count; i++)
            r->twice[choice.nodes[i]] = true;
        *last = choice;
    }
    return made;
}

/* Chooses until the graph needs no more than TARGET in program order, or nothing helps: several at
 * a time and ever more as long as that falls short, fewer once it went too far. NEED is what the
 * graph needs, before and after. */
static bool choose_all(struct round *r, int64_t target, struct need_of *now)
{
    uint32_t step = 1, refusals = 0;
    size_t bytes = r->g->node_count * sizeof *r->twice;
    bool *before = arena_new_array(r->arena, bool, r->g->node_count), any = false, near = false;
    while (now->bytes > target && refusals < REFUSALS_MAX) {
        struct choice last;
        memcpy(before, r->twice, bytes);
        uint32_t made = choose_some(r, now->place, step, &last);
        if (!made)
            break;
        struct need_of then = judge(r);
        bool helps =
            then.bytes < now->bytes || (then.bytes == now->bytes && then.place != now->place);
        bool too_far = helps && then.bytes <= target && made > 1;
        if (helps && !too_far) {
            *now = then;
            any = true;
            refusals = 0;
            step = near ? (step + 1) / 2 : step * 2;
            continue;
        }
        memcpy(r->twice, before, bytes);
        near |= too_far;
        if (made == 1) {
            r->refused[last.value] = true;
            refusals++;
        }
        step = too_far ? made / 2 : 1;
    }
    return any;
}

/* Cuts at the peak and rewrites the graph; false when that brought nothing. */
static bool run_round(struct compile *c, int64_t target, struct need_of *now)
{
    struct arena *arena = arena_new();
    struct round r;
    int64_t before = now->bytes;
    uint32_t *unused;
    round_init(&r, c, arena, now->place);
    bool any = choose_all(&r, target, now) && now->bytes < before;
    if (any)
        rewrite(&r, c->graph, &unused);
    arena_free(arena);
    return any;
}

/* --- the pass ----------------------------------------------------------------------------- */

static struct need_of need_now(struct compile *c)
{
    struct arena *arena = arena_new();
    struct compile try = {.arena = arena, .graph = c->graph, .options = c->options};
    const struct storage *s = storage_make(&try, c->graph->order, c->graph->order_count);
    struct need_of now = {s->bound, s->peak_at};
    arena_free(arena);
    return now;
}

/* The arena that the passes after this one will come to. */
static int64_t arena_of(struct compile *c)
{
    struct arena *arena = arena_new();
    struct graph copy = copy_whole(c->graph, arena);
    struct compile try = {.arena = arena, .graph = &copy, .options = c->options};
    bool good = pass_fuse_last(&try) && pass_order(&try) && pass_place(&try);
    BUG_ON(!good);
    int64_t bytes = try.storage->arena_bytes;
    arena_free(arena);
    return bytes;
}

bool pass_recompute(struct compile *c)
{
    int64_t limit = c->options->arena_limit, slack = 0;
    if (!limit)
        return true;
    for (int rounds = 0; rounds < ROUNDS_MAX;) {
        struct need_of now = need_now(c);
        /* Another order may need less than that of the program, and placement may need more. */
        if (now.bytes <= limit - slack || rounds == 0) {
            int64_t arena = arena_of(c);
            if (arena <= limit)
                return true;
            slack = arena - now.bytes;
        }
        while (now.bytes > limit - slack) {
            int64_t before = now.bytes;
            if (rounds++ == ROUNDS_MAX || !run_round(c, limit - slack, &now) ||
                (double)(before - now.bytes) < LEAST_GAIN * (double)before)
                return true;
            now = need_now(c);
        }
    }
    return true;
}
