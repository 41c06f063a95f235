/* order: tries several orders of the nodes and keeps the one whose buffers need the least memory at
 * the worst moment. Data decides what may go where, and so does state: whoever reads a version of a
 * row runs before the node that writes the next one; and whoever has rows that are counted runs
 * after they are. */
#include "graph/base/check.h"
#include "ops/ops.h"
#include "passes/storage.h"

#include <string.h>

struct scheduler {
    struct compile *c;
    struct graph *g;
    uint32_t *waiting;                      /* per node: predecessors that have not run */
    uint32_t *first, *next, *target, edges; /* successor lists */
    uint32_t capacity;
};

static void add_edge(struct scheduler *s, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    if (s->edges == s->capacity) {
        uint32_t grown = s->capacity * 2 + 256;
        uint32_t *next = arena_new_array(s->c->arena, uint32_t, grown);
        uint32_t *target = arena_new_array(s->c->arena, uint32_t, grown);
        if (s->edges) {
            memcpy(next, s->next, s->edges * sizeof *next);
            memcpy(target, s->target, s->edges * sizeof *target);
        }
        s->next = next;
        s->target = target;
        s->capacity = grown;
    }
    s->target[s->edges] = to;
    s->next[s->edges] = s->first[from];
    s->first[from] = s->edges++;
}

/* The row a node writes as its result K: 1 + row, or 0. */
static uint32_t written_row(const struct graph *g, const struct node *n, uint32_t k)
{
    if (k < n->op->updates || n->op == &op_store)
        return g->values[n->out[k]].state;
    return 0;
}

/* Per state row, who reads it, as lists. */
struct readers {
    uint32_t *first, *next, *node, *version, count;
};

static void add_reader(struct scheduler *s, struct readers *r, uint32_t value, uint32_t node)
{
    const struct value *v = &s->g->values[value_base(s->g, value)];
    if (!v->state)
        return;
    r->next[r->count] = r->first[v->state];
    r->node[r->count] = node;
    r->version[r->count] = v->version;
    r->first[v->state] = r->count++;
}

static void add_state_edges(struct scheduler *s)
{
    struct graph *g = s->g;
    uint32_t inputs = 0;
    for (uint32_t i = 0; i < g->order_count; i++)
        inputs += g->nodes[g->order[i]].in_count;
    struct readers r = {.first = arena_new_array(s->c->arena, uint32_t, g->states->count + 1),
                        .next = arena_new_array(s->c->arena, uint32_t, inputs + 1),
                        .node = arena_new_array(s->c->arena, uint32_t, inputs + 1),
                        .version = arena_new_array(s->c->arena, uint32_t, inputs + 1),
                        .count = 1};
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->in_count; k++)
            add_reader(s, &r, n->in[k], g->order[i]);
    }
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *w = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < w->out_count; k++) {
            uint32_t row = written_row(g, w, k);
            for (uint32_t at = row ? r.first[row] : 0; at; at = r.next[at])
                if (r.version[at] < g->values[w->out[k]].version)
                    add_edge(s, r.node[at], g->order[i]);
        }
    }
}

/* A node with a result on a short axis runs after what counts the axis: a constant has no input
 * that would see to it. */
static void add_count_edges(struct scheduler *s)
{
    struct graph *g = s->g;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->out_count; k++) {
            const struct type *type = &g->values[n->out[k]].type;
            uint32_t axis = type->rank ? type->dim[0].axis : 0;
            uint32_t counter = axis ? g->axes[axis].counter : 0;
            if (counter)
                add_edge(s, g->values[counter].node, g->order[i]);
        }
    }
}

static void scheduler_init(struct scheduler *s, struct compile *c)
{
    struct graph *g = c->graph;
    *s = (struct scheduler){.c = c, .g = g};
    s->first = arena_new_array(c->arena, uint32_t, g->node_count);
    s->waiting = arena_new_array(c->arena, uint32_t, g->node_count);
    memset(s->first, 0xff, g->node_count * sizeof *s->first);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->in_count; k++)
            if (n->in[k])
                add_edge(s, g->values[n->in[k]].node, g->order[i]);
    }
    add_state_edges(s);
    add_count_edges(s);
}

static void count_waiting(struct scheduler *s)
{
    memset(s->waiting, 0, s->g->node_count * sizeof *s->waiting);
    for (uint32_t e = 0; e < s->edges; e++)
        s->waiting[s->target[e]]++;
}

/* --- by priority -------------------------------------------------------------------------- */

struct heap {
    uint32_t *node, *key, count;
};

static void heap_push(struct heap *h, uint32_t node, uint32_t key)
{
    uint32_t i = h->count++;
    while (i && h->key[(i - 1) / 2] > key) {
        h->node[i] = h->node[(i - 1) / 2];
        h->key[i] = h->key[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->node[i] = node;
    h->key[i] = key;
}

static uint32_t heap_pop(struct heap *h)
{
    uint32_t top = h->node[0], node = h->node[--h->count], key = h->key[h->count], i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->key[child + 1] < h->key[child])
            child++;
        if (h->key[child] >= key)
            break;
        h->node[i] = h->node[child];
        h->key[i] = h->key[child];
        i = child;
    }
    h->node[i] = node;
    h->key[i] = key;
    return top;
}

/* The order closest to KEY (smaller first) that respects all edges. */
static uint32_t *by_priority(struct scheduler *s, const uint32_t *key)
{
    struct graph *g = s->g;
    struct arena *a = s->c->arena;
    struct heap h = {arena_new_array(a, uint32_t, g->node_count + 1),
                     arena_new_array(a, uint32_t, g->node_count + 1), 0};
    uint32_t *out = arena_new_array(a, uint32_t, g->order_count + 1), count = 0;
    count_waiting(s);
    for (uint32_t i = 0; i < g->order_count; i++)
        if (!s->waiting[g->order[i]])
            heap_push(&h, g->order[i], key[g->order[i]]);
    while (h.count) {
        uint32_t n = heap_pop(&h);
        out[count++] = n;
        for (uint32_t e = s->first[n]; e != UINT32_MAX; e = s->next[e])
            if (--s->waiting[s->target[e]] == 0)
                heap_push(&h, s->target[e], key[s->target[e]]);
    }
    BUG_ON(count != g->order_count);
    return out;
}

static uint32_t *program_key(struct scheduler *s)
{
    uint32_t *key = arena_new_array(s->c->arena, uint32_t, s->g->node_count);
    for (uint32_t i = 0; i < s->g->order_count; i++)
        key[s->g->order[i]] = i;
    return key;
}

/* --- depth first -------------------------------------------------------------------------- */

/* Post-order from the sinks, the last sink of the program first: gradients of the last layers are
 * finished before those of the first ones begin. */
static uint32_t *depth_first_key(struct scheduler *s)
{
    struct graph *g = s->g;
    struct arena *a = s->c->arena;
    uint32_t *key = arena_new_array(a, uint32_t, g->node_count), rank = 0, total = g->node_count;
    uint8_t *state = arena_new_array(a, uint8_t, g->node_count);
    for (uint32_t i = 0; i < g->order_count; i++)
        total += g->nodes[g->order[i]].in_count;
    uint32_t *stack = arena_new_array(a, uint32_t, total + 1);
    for (uint32_t i = 0; i < g->order_count; i++) {
        uint32_t root = g->order[i], depth = 0;
        if (s->first[root] != UINT32_MAX)
            continue; /* not a sink */
        stack[depth++] = root;
        while (depth) {
            uint32_t n = stack[depth - 1], before = depth;
            if (state[n] == 0) {
                state[n] = 1;
                for (uint32_t k = g->nodes[n].in_count; k-- > 0;) {
                    uint32_t v = g->nodes[n].in[k];
                    if (v && state[g->values[v].node] == 0)
                        stack[depth++] = g->values[v].node;
                }
            }
            if (depth > before)
                continue;
            depth--;
            if (state[n] == 1) {
                state[n] = 2;
                key[n] = rank++;
            }
        }
    }
    return key;
}

/* --- greedy ------------------------------------------------------------------------------- */

/* Bytes that running node N would add, given how many readers of each value are left. */
static int64_t growth(const struct graph *g, uint32_t id, const uint32_t *readers)
{
    const struct node *n = &g->nodes[id];
    int64_t bytes = 0;
    if (n->op->flags & OP_LEAF)
        return INT64_MIN; /* costs nothing: first */
    for (uint32_t k = 0; k < n->out_count; k++)
        if (!(n->op->flags & OP_VIEW) && !g->values[n->out[k]].state)
            bytes += type_bytes(graph_type(g, n->out[k]));
    for (uint32_t i = 0; i < n->in_count; i++) {
        uint32_t v = n->in[i];
        bool again = false;
        for (uint32_t j = 0; j < i; j++)
            again |= n->in[j] == v;
        if (v && !again && readers[v] == 1 &&
            !(g->nodes[g->values[v].node].op->flags & (OP_LEAF | OP_VIEW)) && !g->values[v].state)
            bytes -= type_bytes(graph_type(g, v));
    }
    return bytes;
}

static void count_readers(const struct graph *g, uint32_t *readers)
{
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t k = 0; k < n->in_count; k++) {
            bool again = false;
            for (uint32_t j = 0; j < k; j++)
                again |= n->in[j] == n->in[k];
            readers[n->in[k]] += !again;
        }
    }
    for (uint32_t i = 0; i < g->output_count; i++)
        readers[g->outputs[i].value]++;
}

static uint32_t *greedy(struct scheduler *s, const uint32_t *key)
{
    struct graph *g = s->g;
    struct arena *a = s->c->arena;
    uint32_t *ready = arena_new_array(a, uint32_t, g->order_count + 1), ready_count = 0;
    uint32_t *out = arena_new_array(a, uint32_t, g->order_count + 1), count = 0;
    uint32_t *readers = arena_new_array(a, uint32_t, g->value_count);
    count_readers(g, readers);
    count_waiting(s);
    for (uint32_t i = 0; i < g->order_count; i++)
        if (!s->waiting[g->order[i]])
            ready[ready_count++] = g->order[i];
    while (ready_count) {
        uint32_t best = 0;
        int64_t least = INT64_MAX;
        for (uint32_t i = 0; i < ready_count; i++) {
            int64_t bytes = growth(g, ready[i], readers);
            if (bytes < least || (bytes == least && key[ready[i]] < key[ready[best]])) {
                least = bytes;
                best = i;
            }
        }
        uint32_t id = ready[best];
        const struct node *n = &g->nodes[id];
        ready[best] = ready[--ready_count];
        out[count++] = id;
        for (uint32_t k = 0; k < n->in_count; k++) {
            bool again = false;
            for (uint32_t j = 0; j < k; j++)
                again |= n->in[j] == n->in[k];
            readers[n->in[k]] -= !again;
        }
        for (uint32_t e = s->first[id]; e != UINT32_MAX; e = s->next[e])
            if (--s->waiting[s->target[e]] == 0)
                ready[ready_count++] = s->target[e];
    }
    BUG_ON(count != g->order_count);
    return out;
}

/* --- the pass ----------------------------------------------------------------------------- */

bool pass_order(struct compile *c)
{
    struct scheduler s;
    scheduler_init(&s, c);
    uint32_t *program = program_key(&s), count = c->graph->order_count;
    const struct {
        const char *name;
        uint32_t *order;
    } tries[] = {{"program order", by_priority(&s, program)},
                 {"depth first", by_priority(&s, depth_first_key(&s))},
                 {"greedy by bytes", greedy(&s, program)}};
    struct plan_candidate found[3];
    uint32_t best = 0;
    for (uint32_t i = 0; i < 3; i++) {
        struct storage *made = storage_make(c, tries[i].order, count);
        found[i] = (struct plan_candidate){tries[i].name, made->bound, false};
        if (i == 0 || made->bound < found[best].bound) {
            c->storage = made;
            best = i;
        }
    }
    found[best].chosen = true;
    memcpy(c->storage->candidates, found, sizeof found);
    c->storage->candidate_count = 3;
    c->graph->order = c->storage->order;
    c->graph->order_count = c->graph->order_capacity = c->storage->order_count;
    return true;
}
