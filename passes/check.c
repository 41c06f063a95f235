/* check: proves the plan by walking it symbolically.
 *
 * Memory is a map from byte ranges to the value they hold. Each step must read exactly the values
 * that the graph names, from wherever the plan says they lie; what it writes, and its workspace,
 * wipes out whatever overlaps. That validates order, sharing, in-place results, placement and the
 * versions of state rows together, with none of their reasoning: only the graph and the plan. */
#include "graph/base/check.h"
#include "ops/ops.h"
#include "passes/storage.h"

#include <string.h>

/* A range that holds a value; ranges of one memory do not overlap, and are sorted. */
struct range {
    int64_t from, to;
    uint32_t content; /* 0: nothing anyone may read */
};
struct space {
    struct range *ranges;
    uint32_t count, capacity;
};

struct checker {
    struct compile *c;
    struct graph *g;
    struct plan *plan;
    uint32_t *content; /* per value: what it holds, by the value that made it */
    struct space arena, consts;
    struct space *rows; /* per state row */
    struct space *inputs;
    bool good;
};

static void insert(struct checker *k, struct space *s, uint32_t at, struct range range)
{
    s->ranges = arena_grow(k->c->arena, s->ranges, s->count, &s->capacity, sizeof *s->ranges);
    if (at < s->count)
        memmove(&s->ranges[at + 1], &s->ranges[at], (s->count - at) * sizeof *s->ranges);
    s->ranges[at] = range;
    s->count++;
}

/* First range that ends after FROM. */
static uint32_t lower_bound(const struct space *s, int64_t from)
{
    uint32_t low = 0, high = s->count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (s->ranges[mid].to <= from)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Whatever touches [from, to) is gone: a value of which a byte is lost is lost. */
static void write_range(struct checker *k, struct space *s, int64_t from, int64_t to,
                        uint32_t content)
{
    uint32_t at = lower_bound(s, from), end = at;
    while (end < s->count && s->ranges[end].from < to)
        end++;
    if (end > at && end < s->count)
        memmove(&s->ranges[at], &s->ranges[end], (s->count - end) * sizeof *s->ranges);
    s->count -= end - at;
    if (content)
        insert(k, s, at, (struct range){from, to, content});
}

static bool holds(const struct space *s, int64_t from, int64_t to, uint32_t content)
{
    uint32_t at = lower_bound(s, from);
    return at < s->count && s->ranges[at].from == from && s->ranges[at].to == to &&
           s->ranges[at].content == content;
}

static struct space *space_of(struct checker *k, const struct plan_tensor *t)
{
    switch (t->memory) {
    case MEMORY_ARENA:
        return &k->arena;
    case MEMORY_CONST:
        return &k->consts;
    case MEMORY_STATE:
        return &k->rows[t->index];
    case MEMORY_INPUT:
        return &k->inputs[t->index];
    case MEMORY_NONE:
        break;
    }
    BUG_ON(true);
}

static int64_t start_of(const struct plan_tensor *t)
{
    return t->memory == MEMORY_ARENA || t->memory == MEMORY_CONST ? t->offset : 0;
}

static void fail(struct checker *k, const char *what, const struct plan_step *step,
                 const struct plan_tensor *t)
{
    if (k->good)
        diag_error(k->c->diags, FAULT_RUN, step ? step->span : t->span,
                   "the plan of `%s` is wrong (a fault in sedge, please report it): %s of value %u "
                   "by `%s`",
                   k->plan->program, what, t->value, step ? step->op : "the caller");
    k->good = false;
}

static void check_read(struct checker *k, const struct plan_step *step, uint32_t tensor,
                       uint32_t value)
{
    const struct plan_tensor *t = &k->plan->tensors[tensor];
    int64_t from = start_of(t), bytes = type_bytes(graph_type(k->g, value));
    if (!type_equal(&t->type, graph_type(k->g, value)) || t->bytes != bytes)
        fail(k, "a read as another type", step, t);
    if (!holds(space_of(k, t), from, from + bytes, k->content[value]))
        fail(k, "a read", step, t);
}

static void do_write(struct checker *k, const struct plan_step *step, uint32_t tensor,
                     uint32_t value)
{
    const struct plan_tensor *t = &k->plan->tensors[tensor];
    int64_t from = start_of(t), to = from + type_bytes(graph_type(k->g, value));
    if (t->memory == MEMORY_CONST || t->memory == MEMORY_INPUT ||
        (t->memory == MEMORY_ARENA && (from < 0 || to > k->plan->arena_bytes)))
        fail(k, "a write outside its memory", step, t);
    write_range(k, space_of(k, t), from, to, value);
}

/* --- what the graph means ----------------------------------------------------------------- */

/* A view holds what its input holds; a store what was stored; anything else is new. */
static void find_contents(struct checker *k)
{
    const struct graph *g = k->g;
    uint32_t *found = arena_new_array(k->c->arena, uint32_t, g->states->count + 1);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t r = 0; r < n->out_count; r++) {
            uint32_t v = n->out[r];
            k->content[v] = v;
            if ((n->op->flags & OP_VIEW) && r == 0)
                k->content[v] = k->content[n->in[0]];
            else if (n->op == &op_store)
                k->content[v] = k->content[n->in[0]];
            else if (n->op == &op_state) { /* all reads of a row's first version are one value */
                uint32_t row = g->values[v].state - 1;
                if (!found[row])
                    found[row] = v;
                k->content[v] = found[row];
            }
        }
    }
}

/* What memory holds before the first step. A row may be read through views alone, and then has no
 * tensor of its own in the plan. */
static void fill_leaves(struct checker *k)
{
    const struct graph *g = k->g;
    struct plan *p = k->plan;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        const struct value *v = &g->values[n->out_count ? n->out[0] : VALUE_NONE];
        if (n->op == &op_state)
            write_range(k, &k->rows[v->state - 1], 0, type_bytes(&v->type), k->content[n->out[0]]);
    }
    for (uint32_t t = 1; t < p->tensor_count; t++) {
        const struct plan_tensor *tensor = &p->tensors[t];
        const struct node *n = &g->nodes[g->values[tensor->value].node];
        if (!(n->op->flags & OP_LEAF))
            continue;
        int64_t from = start_of(tensor);
        struct space *s = space_of(k, tensor);
        if (tensor->memory == MEMORY_CONST && s->count && lower_bound(s, from) < s->count &&
            s->ranges[lower_bound(s, from)].from < from + tensor->bytes)
            fail(k, "constants overlap: a write", NULL, tensor);
        write_range(k, s, from, from + tensor->bytes, k->content[tensor->value]);
    }
}

/* While a kernel runs it may still read any input: a result may lie over one only where the op
 * says so, and then exactly. */
static void check_overlay(struct checker *k, const struct plan_step *step, const struct node *n,
                          uint32_t r)
{
    const struct plan_tensor *out = &k->plan->tensors[step->out[r]];
    for (uint32_t i = 0; i < n->in_count; i++) {
        if (!n->in[i])
            continue;
        const struct plan_tensor *in = &k->plan->tensors[step->in[i]];
        int64_t a = start_of(out), b = start_of(in);
        if (in->memory != out->memory || in->index != out->index || a >= b + in->bytes ||
            b >= a + out->bytes)
            continue;
        bool allowed =
            (r == 0 && i < 32 && (n->op->inplace >> i & 1)) || (r < n->op->updates && i == r);
        for (uint32_t j = 0; j < n->in_count && !allowed; j++) /* the same value given twice */
            allowed = r == 0 && n->in[j] == n->in[i] && j < 32 && (n->op->inplace >> j & 1);
        if (!allowed || a != b || in->bytes != out->bytes)
            fail(k, "a write over an input", step, out);
    }
}

/* Scratch lies in the arena and is written while results are: it may touch none of them. */
static void check_workspace(struct checker *k, const struct plan_step *step)
{
    int64_t from = step->workspace_offset, to = from + step->workspace;
    const struct plan_tensor *first = &k->plan->tensors[step->out[0]];
    if (from < 0 || to > k->plan->arena_bytes || from % ALIGNMENT != 0)
        fail(k, "scratch outside the arena or not aligned", step, first);
    for (uint32_t r = 0; r < step->out_count; r++) {
        const struct plan_tensor *out = &k->plan->tensors[step->out[r]];
        if (out->memory == MEMORY_ARENA && out->offset < to && from < out->offset + out->bytes)
            fail(k, "scratch over a result", step, out);
    }
}

static bool is_step_of(const struct compile *c, const struct plan_step *step, const struct node *n)
{
    return strcmp(step->op, n->op->name) == 0 && step->attr == n->attr &&
           step->stream == n->stream && step->in_count == n->in_count &&
           step->out_count == n->out_count &&
           step->chain == (n->process ? &c->graph->processes[n->process - 1].chain : NULL);
}

/* Values read and written must be those of the node, one after the other. */
static void check_step(struct checker *k, const struct plan_step *step)
{
    const struct node *n = &k->g->nodes[step->node];
    if (!is_step_of(k->c, step, n)) {
        fail(k, "a step unlike its node: the result", step, &k->plan->tensors[step->out[0]]);
        return;
    }
    if (step->workspace)
        write_range(k, &k->arena, step->workspace_offset, step->workspace_offset + step->workspace,
                    0);
    for (uint32_t i = 0; i < n->in_count; i++)
        if (n->in[i])
            check_read(k, step, step->in[i], n->in[i]);
    for (uint32_t r = 0; r < n->out_count; r++)
        check_overlay(k, step, n, r);
    for (uint32_t r = 0; r < n->out_count; r++)
        do_write(k, step, step->out[r], k->content[n->out[r]]);
    /* A result must not have wiped out another one. */
    for (uint32_t r = 0; r < n->out_count; r++)
        check_read(k, step, step->out[r], n->out[r]);
    if (step->workspace)
        check_workspace(k, step);
}

/* After the run: outputs are where the plan says, and each row holds its newest version. */
static void check_end(struct checker *k)
{
    const struct graph *g = k->g;
    for (uint32_t i = 0; i < k->plan->output_count; i++)
        check_read(k, NULL, k->plan->outputs[i].tensor, g->outputs[i].value);
    uint32_t *newest = arena_new_array(k->c->arena, uint32_t, g->states->count + 1);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        for (uint32_t r = 0; r < n->out_count; r++) {
            const struct value *v = &g->values[n->out[r]];
            uint32_t *last = &newest[v->state];
            if (v->state && (!*last || g->values[*last].version < v->version))
                *last = n->out[r];
        }
    }
    for (uint32_t row = 0; row < g->states->count; row++) {
        uint32_t v = newest[row + 1];
        struct plan_tensor where = {.memory = MEMORY_STATE, .value = v};
        if (v && !holds(&k->rows[row], 0, type_bytes(graph_type(g, v)), k->content[v]))
            fail(k, "a lost write", NULL, &where);
    }
}

/* The caller's buffers are told apart by number: each name must have its own. */
static void check_inputs(struct checker *k)
{
    const struct plan *p = k->plan;
    for (uint32_t i = 0; i < p->input_count; i++) {
        const struct plan_tensor *t = &p->tensors[p->inputs[i].tensor];
        if (t->value != k->g->inputs[i].value || t->memory != MEMORY_INPUT || t->index != i)
            fail(k, "an input in the place", NULL, t);
    }
}

/* Every tensor starts where kernels may load vectors from, inside its memory. */
static void check_places(struct checker *k)
{
    const struct plan *p = k->plan;
    for (uint32_t i = 1; i < p->tensor_count; i++) {
        const struct plan_tensor *t = &p->tensors[i];
        int64_t room = t->memory == MEMORY_ARENA ? p->arena_bytes : p->const_bytes;
        bool placed = t->memory == MEMORY_ARENA || t->memory == MEMORY_CONST;
        if (placed && (t->offset < 0 || t->offset % ALIGNMENT || t->offset + t->bytes > room))
            fail(k, "the place", NULL, t);
    }
}

bool pass_check(struct compile *c)
{
    struct graph *g = c->graph;
    struct checker k = {.c = c,
                        .g = g,
                        .plan = c->plan,
                        .content = arena_new_array(c->arena, uint32_t, g->value_count),
                        .rows = arena_new_array(c->arena, struct space, g->states->count + 1),
                        .inputs = arena_new_array(c->arena, struct space, g->input_count + 1),
                        .good = true};
    find_contents(&k);
    check_places(&k);
    check_inputs(&k);
    fill_leaves(&k);
    for (uint32_t i = 0; i < c->plan->step_count; i++)
        check_step(&k, &c->plan->steps[i]);
    check_end(&k);
    c->plan->certificate.checked = k.good;
    return k.good;
}
