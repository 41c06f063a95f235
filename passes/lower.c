/* lower: the plan from the ordered graph and its placed buffers. Leaves, views and stores whose
 * value was made in place have no step. */
#include "graph/base/check.h"
#include "ops/ops.h"
#include "passes/storage.h"

#include <string.h>

struct lowering {
    struct compile *c;
    struct graph *g;
    struct storage *s;
    struct plan *plan;
    uint32_t *tensor_of; /* per value */
    uint32_t *steps_at;  /* per position of the order: steps before it */
    uint32_t tensor_capacity, const_capacity;
};

static uint32_t add_tensor(struct lowering *l, uint32_t v)
{
    struct plan *p = l->plan;
    const struct value *value = &l->g->values[v];
    const struct buffer *b = &l->s->buffers[l->s->buffer_of[v]];
    BUG_ON(!l->s->buffer_of[v]);
    p->tensors = arena_grow(l->c->arena, p->tensors, p->tensor_count, &l->tensor_capacity,
                            sizeof *p->tensors);
    const struct origin *o = l->g->nodes[value->node].origin;
    p->tensors[p->tensor_count] = (struct plan_tensor){.memory = b->memory,
                                                       .index = b->index,
                                                       .offset = b->offset,
                                                       .bytes = type_bytes(&value->type),
                                                       .type = value->type,
                                                       .value = v,
                                                       .name = value->name,
                                                       .span = o ? o->span : (struct span){0}};
    return l->tensor_of[v] = p->tensor_count++;
}

static uint32_t tensor_for(struct lowering *l, uint32_t v)
{
    if (v == VALUE_NONE)
        return 0;
    return l->tensor_of[v] ? l->tensor_of[v] : add_tensor(l, v);
}

/* Constants are few and small: each gets its own aligned place. */
static void place_consts(struct lowering *l)
{
    struct storage *s = l->s;
    for (uint32_t b = 1; b < s->buffer_count; b++) {
        struct buffer *buffer = &s->buffers[b];
        if (buffer->memory != MEMORY_CONST)
            continue;
        buffer->offset = l->plan->const_bytes;
        l->plan->const_bytes += aligned(buffer->bytes);
        struct plan *p = l->plan;
        p->consts = arena_grow(l->c->arena, p->consts, p->const_count, &l->const_capacity,
                               sizeof *p->consts);
        const struct node *n = &l->g->nodes[l->g->values[buffer->value].node];
        p->consts[p->const_count++] =
            (struct plan_const){tensor_for(l, buffer->value), n->attr[0].real};
    }
}

static const char *step_name(struct lowering *l, const struct node *n)
{
    for (uint32_t k = 0; k < n->out_count; k++)
        if (l->g->values[n->out[k]].name)
            return l->g->values[n->out[k]].name;
    return NULL;
}

/* What the step costs, and which products it is. */
static void add_cost(struct lowering *l, struct node_types *types, struct plan_step *step)
{
    struct op_cost cost = node_types_cost(types);
    struct op_product *products =
        arena_new_array(l->c->arena, struct op_product, cost.product_count);
    memcpy(products, cost.product, cost.product_count * sizeof *products);
    step->flop = cost.flop;
    step->bytes = cost.bytes;
    step->model = cost.model;
    step->product_count = cost.product_count;
    step->products = products;
}

static void add_step(struct lowering *l, uint32_t at, struct node_types *types)
{
    struct graph *g = l->g;
    uint32_t id = l->s->order[at];
    const struct node *n = &g->nodes[id];
    struct plan_step *step = &l->plan->steps[l->plan->step_count++];
    uint32_t *in = arena_new_array(l->c->arena, uint32_t, n->in_count);
    uint32_t *out = arena_new_array(l->c->arena, uint32_t, n->out_count);
    for (uint32_t i = 0; i < n->in_count; i++)
        in[i] = tensor_for(l, n->in[i]);
    for (uint32_t k = 0; k < n->out_count; k++)
        out[k] = tensor_for(l, n->out[k]);
    *step = (struct plan_step){.op = n->op->name,
                               .node = id,
                               .in_count = n->in_count,
                               .out_count = n->out_count,
                               .in = in,
                               .out = out,
                               .attr = n->attr,
                               .stream = n->stream,
                               .epoch = n->epoch,
                               .name = step_name(l, n)};
    if (n->process)
        step->chain = &g->processes[n->process - 1].chain;
    if (n->origin) {
        step->span = n->origin->span;
        step->block = n->origin->path;
    }
    if (n->op->flags & OP_COUNTS)
        step->counts = graph_type(g, n->out[0])->dim[0].axis;
    uint32_t workspace = l->s->workspace[at];
    if (workspace) {
        step->workspace = l->s->buffers[workspace].bytes;
        step->workspace_offset = l->s->buffers[workspace].offset;
    }
    node_types_fill(g, id, types);
    add_cost(l, types, step);
}

/* The buffers of the arena by steps instead of positions: leaves, views and elided stores have
 * none, and make no buffer of the arena either. */
static void list_buffers(struct lowering *l)
{
    struct plan *p = l->plan;
    const struct storage *s = l->s;
    p->buffers = arena_new_array(l->c->arena, struct plan_buffer, s->buffer_count);
    for (uint32_t b = 1; b < s->buffer_count; b++) {
        const struct buffer *from = &s->buffers[b];
        uint32_t end = from->last < s->order_count ? from->last + 1 : s->order_count;
        if (from->memory != MEMORY_ARENA)
            continue;
        p->buffers[p->buffer_count++] = (struct plan_buffer){.offset = from->offset,
                                                             .bytes = from->bytes,
                                                             .first = l->steps_at[from->first],
                                                             .last = l->steps_at[end] - 1,
                                                             .tensor = tensor_for(l, from->value)};
    }
}

/* The first step at which the buffers alive come to the bound. */
static uint32_t find_peak(const struct lowering *l)
{
    const struct plan *p = l->plan;
    int64_t *change = arena_new_array(l->c->arena, int64_t, p->step_count + 1), sum = 0;
    for (uint32_t b = 0; b < p->buffer_count; b++) {
        change[p->buffers[b].first] += aligned(p->buffers[b].bytes);
        change[p->buffers[b].last + 1] -= aligned(p->buffers[b].bytes);
    }
    for (uint32_t i = 0; i < p->step_count; i++) {
        sum += change[i];
        if (sum == l->s->bound)
            return i;
    }
    BUG_ON(p->step_count);
    return 0;
}

static void bind_names(struct lowering *l)
{
    struct graph *g = l->g;
    struct plan *p = l->plan;
    p->inputs = arena_new_array(l->c->arena, struct plan_binding, g->input_count);
    p->outputs = arena_new_array(l->c->arena, struct plan_binding, g->output_count);
    for (uint32_t i = 0; i < g->input_count; i++)
        p->inputs[p->input_count++] =
            (struct plan_binding){g->inputs[i].name, tensor_for(l, g->inputs[i].value)};
    for (uint32_t i = 0; i < g->output_count; i++)
        p->outputs[p->output_count++] =
            (struct plan_binding){g->outputs[i].name, tensor_for(l, g->outputs[i].value)};
}

static void certify(struct lowering *l)
{
    struct plan *p = l->plan;
    struct certificate *cert = &p->certificate;
    cert->peak_bytes = l->s->arena_bytes;
    cert->bound_bytes = l->s->bound;
    cert->placement = l->s->placement;
    cert->peak_step = find_peak(l);
    cert->candidate_count = l->s->candidate_count;
    memcpy(cert->candidates, l->s->candidates, sizeof cert->candidates);
    cert->const_bytes = p->const_bytes;
    for (uint32_t i = 0; i < p->input_count; i++)
        cert->input_bytes += p->tensors[p->inputs[i].tensor].bytes;
    for (uint32_t i = 0; i < p->step_count; i++) {
        cert->flop += p->steps[i].flop;
        cert->again_flop += p->steps[i].epoch ? p->steps[i].flop : 0;
        cert->bytes += p->steps[i].bytes;
    }
    for (uint32_t t = 1; t < p->tensor_count; t++)
        if (p->tensors[t].memory == MEMORY_STATE)
            p->reads[p->tensors[t].index] = true;
    for (uint32_t r = 0; r < p->states->count; r++)
        if (p->reads[r])
            cert->state_bytes[p->states->rows[r].class] += type_bytes(&p->states->rows[r].type);
}

bool pass_lower(struct compile *c)
{
    struct graph *g = c->graph;
    struct plan *p = arena_alloc(c->arena, sizeof *p);
    struct lowering l = {.c = c,
                         .g = g,
                         .s = c->storage,
                         .plan = p,
                         .tensor_of = arena_new_array(c->arena, uint32_t, g->value_count)};
    c->plan = p;
    p->program = g->name;
    p->axes = g->axes;
    p->axis_count = g->axis_count;
    p->states = g->states;
    p->arena_bytes = c->storage->arena_bytes;
    p->tensors = arena_grow(c->arena, NULL, 0, &l.tensor_capacity, sizeof *p->tensors);
    p->tensor_count = 1;
    p->steps = arena_new_array(c->arena, struct plan_step, c->storage->order_count);
    p->row_count = g->states->count;
    p->reads = arena_new_array(c->arena, bool, g->states->count + 1);
    p->writes = arena_new_array(c->arena, bool, g->states->count + 1);
    l.steps_at = arena_new_array(c->arena, uint32_t, c->storage->order_count + 1);
    place_consts(&l);
    struct node_types *types = arena_alloc(c->arena, sizeof *types);
    for (uint32_t at = 0; at < c->storage->order_count; at++) {
        uint32_t id = c->storage->order[at];
        const struct node *n = &g->nodes[id];
        for (uint32_t k = 0; k < n->out_count; k++)
            if (g->values[n->out[k]].state && !(n->op->flags & OP_LEAF))
                p->writes[g->values[n->out[k]].state - 1] = true;
        if (!(n->op->flags & (OP_LEAF | OP_VIEW)) && !c->storage->elided[id])
            add_step(&l, at, types);
        l.steps_at[at + 1] = p->step_count;
    }
    list_buffers(&l);
    bind_names(&l);
    certify(&l);
    return true;
}

static uint32_t find_binding(const struct plan_binding *list, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].tensor;
    return 0;
}

uint32_t plan_input(const struct plan *plan, const char *name)
{
    return find_binding(plan->inputs, plan->input_count, name);
}

uint32_t plan_output(const struct plan *plan, const char *name)
{
    return find_binding(plan->outputs, plan->output_count, name);
}
