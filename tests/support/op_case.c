/* Reads the cases of op descriptors; see op_case.h. */
#include "tests/support/op_case.h"

#include "graph/base/check.h"
#include "graph/base/rates.h"
#include "ops/rules.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------- reading */

/* Random rates, most of them, on all pairs of states; the jump x -> x + 1 always among them, so
 * that there is one class. */
static const struct rates *random_rates(struct case_graph *g, int32_t states, int seed)
{
    struct random_key key = random_key((uint64_t)seed, "rates");
    double *q = arena_new_array(g->arena, double, (size_t)states *(size_t)states);
    for (int32_t x = 0; x < states; x++) {
        double leave = 0;
        for (int32_t y = 0; y < states; y++) {
            double u = random_uniform(key, 0, 0, (uint32_t)x, (uint32_t)y);
            bool jumps = y != x && (u > 0.3 || y == (x + 1) % states);
            q[y * states + x] = jumps ? u : 0;
            leave += q[y * states + x];
        }
        q[x * states + x] = -leave;
    }
    const struct rates *rates =
        rates_dense(g->diags, g->arena, q, states, NULL, "table", (struct span){0});
    BUG_ON(!rates);
    return rates;
}

/* x -> x + 1 at rate 1, from the last state to the first: as far from symmetric as rates can be. */
static const struct rates *cycle_rates(struct case_graph *g, int32_t states)
{
    double *q = arena_new_array(g->arena, double, (size_t)states *(size_t)states);
    for (int32_t x = 0; x < states; x++) {
        q[x * states + x] = -1;
        q[(x + 1) % states * states + x] = 1;
    }
    return rates_dense(g->diags, g->arena, q, states, NULL, "cycle", (struct span){0});
}

struct chain op_case_chain(struct case_graph *g, const char *text)
{
    char kind[16];
    int tokens, last = 0;
    double absorb, uniform, release;
    if (strncmp(text, "raw ", 4) == 0) {
        struct chain raw = op_case_chain(g, text + 4);
        raw.raw = true;
        return raw;
    }
    BUG_ON(sscanf(text, "%15s %d %d", kind, &tokens, &last) < 2);
    if (strcmp(kind, "absorb") == 0)
        return chain_absorb(tokens);
    if (strcmp(kind, "uniform") == 0)
        return chain_uniform(tokens);
    if (strcmp(kind, "mix") == 0) {
        BUG_ON(sscanf(text, "mix %d %lf %lf %lf", &tokens, &absorb, &uniform, &release) != 4);
        return chain_mix(tokens, absorb, uniform, release);
    }
    struct chain chain;
    if (strcmp(kind, "band") == 0) {
        chain = chain_table(tokens, rates_band(g->arena, tokens, last, false));
    } else if (strcmp(kind, "cycle") == 0) {
        chain = chain_table(tokens, cycle_rates(g, tokens));
    } else {
        int seed;
        BUG_ON(sscanf(text, "table %d %d %d", &tokens, &last, &seed) != 3);
        chain = chain_table(tokens, random_rates(g, tokens + last, seed));
    }
    double *law = arena_new_array(g->arena, double, (size_t)chain.states);
    rates_stationary(g->arena, chain.rates, law);
    chain.stationary = law;
    return chain;
}

/* "f32[2,3]": returns what follows it. "_" leaves rank TYPE_ABSENT. */
static const char *read_type(const char *text, bool has_process, struct type *out)
{
    *out = (struct type){.rank = TYPE_ABSENT};
    if (*text == '_')
        return text + 1;
    size_t length = strcspn(text, "[");
    out->dtype = DT_COUNT;
    for (int d = 0; d < DT_COUNT; d++)
        if (strlen(dtype_name((enum dtype)d)) == length &&
            strncmp(dtype_name((enum dtype)d), text, length) == 0)
            out->dtype = (enum dtype)d;
    BUG_ON(out->dtype == DT_COUNT || text[length] != '[');
    out->process = out->dtype == DT_TOKEN && has_process;
    out->rank = 0;
    text += length + 1;
    while (*text != ']') {
        char *end;
        BUG_ON(out->rank == TENSOR_RANK_MAX);
        out->dim[out->rank++].size = strtoll(text, &end, 10);
        BUG_ON(end == text);
        text = *end == ',' ? end + 1 : end;
    }
    return text + 1;
}

static uint32_t read_types(const char *text, bool has_process, struct type out[CASE_INPUTS])
{
    uint32_t count = 0;
    while (isspace((unsigned char)*text))
        text++;
    while (*text) {
        BUG_ON(count == CASE_INPUTS);
        text = read_type(text, has_process, &out[count++]);
        while (isspace((unsigned char)*text))
            text++;
    }
    return count;
}

static union attr read_dims(struct arena *arena, const char *text)
{
    struct dim *dim = arena_new_array(arena, struct dim, TENSOR_RANK_MAX);
    union attr out = {.dims = {0, dim}};
    while (*text) {
        char *end;
        BUG_ON(out.dims.count == TENSOR_RANK_MAX);
        dim[out.dims.count++].size = strtoll(text, &end, 10);
        BUG_ON(end == text);
        text = *end == ',' ? end + 1 : end;
    }
    return out;
}

static union attr read_attr(struct arena *arena, const struct op_attr *spec, const char *text)
{
    union attr out = {.integer = -1};
    char *end = NULL;
    switch (spec->kind) {
    case ATTR_INT:
        out.integer = strtoll(text, &end, 10);
        BUG_ON(*end);
        break;
    case ATTR_REAL:
        out.real = strtod(text, &end);
        BUG_ON(*end);
        break;
    case ATTR_BOOL:
        out.flag = strcmp(text, "true") == 0;
        BUG_ON(!out.flag && strcmp(text, "false") != 0);
        break;
    case ATTR_TEXT:
        out.text = text;
        break;
    case ATTR_CHOICE:
        for (int i = 0; spec->choices[i]; i++)
            if (strcmp(spec->choices[i], text) == 0)
                out.integer = i;
        BUG_ON(out.integer < 0);
        break;
    case ATTR_DIMS:
        return read_dims(arena, text);
    }
    return out;
}

static const union attr *read_attrs(struct arena *arena, const struct op *op, const char *text)
{
    union attr *attr = arena_new_array(arena, union attr, op_attr_count(op) + 1);
    bool complete = op_defaults(arena, op, attr);
    char *rest = arena_strdup(arena, text ? text : ""), *word;
    while ((word = strtok_r(rest, " ", &rest))) {
        char *equal = strchr(word, '=');
        BUG_ON(!equal);
        *equal = 0;
        uint32_t i = 0;
        while (i < op_attr_count(op) && strcmp(op->attrs[i].name, word) != 0)
            i++;
        BUG_ON(i == op_attr_count(op));
        attr[i] = read_attr(arena, &op->attrs[i], equal + 1);
    }
    BUG_ON(!complete && !text);
    return attr;
}

/* ------------------------------------------------------------------------------ building */

/* Written inputs are those that are no parameters. */
static uint32_t written_count(const struct op *op)
{
    uint32_t n = 0;
    while (n < op_input_count(op) && !(op->inputs[n].flags & INPUT_PARAM))
        n++;
    return n;
}

/* Appends the types of the parameters that the op asks for. */
static uint32_t add_params(const struct case_graph *g, const struct op *op, const union attr *attr,
                           struct type *type, uint32_t count)
{
    uint32_t written = written_count(op);
    struct op_param param[8];
    struct type out[OP_RESULT_MAX];
    if (!op->params || count > written)
        return count;
    for (; count < written; count++)
        type[count] = (struct type){.rank = TYPE_ABSENT};
    struct op_call call = {.graph = g->graph,
                           .op = op,
                           .in_count = count,
                           .in = type,
                           .attr = attr,
                           .process = g->graph->process_count && (op->flags & OP_PROCESS),
                           .chain = g->graph->process_count ? &g->process.chain : NULL,
                           .out_count = op->result_count,
                           .out = out};
    uint32_t params = op->params(&call, param);
    BUG_ON(params > 8);
    for (uint32_t i = 0; i < params; i++)
        type[count + i] = param[i].type;
    return count + params;
}

static bool is_param(const struct op *op, uint32_t i)
{
    return i < op_input_count(op) && (op->inputs[i].flags & INPUT_PARAM);
}

/* Makes the first axis of everything that starts with BATCH short. */
static void shorten(struct case_graph *g, const struct op *op, union attr *attr, struct type *type,
                    uint32_t count)
{
    for (uint32_t i = 0; i < count && !g->batch; i++)
        if (type[i].rank != TYPE_ABSENT && type[i].rank > 0)
            g->batch = type[i].dim[0].size;
    for (uint32_t i = 0; i < op_attr_count(op) && !g->batch; i++)
        if (op->attrs[i].kind == ATTR_DIMS && attr[i].dims.count)
            g->batch = attr[i].dims.items[0].size;
    g->axis = graph_axis(g->graph, "batch", g->batch ? g->batch : 1);
    for (uint32_t i = 0; i < count; i++)
        if (!is_param(op, i) && type[i].rank != TYPE_ABSENT && type[i].rank > 0 &&
            type[i].dim[0].size == g->batch)
            type[i].dim[0].axis = g->axis;
    for (uint32_t i = 0; i < op_attr_count(op); i++)
        if (op->attrs[i].kind == ATTR_DIMS && attr[i].dims.count &&
            attr[i].dims.items[0].size == g->batch) {
            attr[i] = rule_dims(g->graph, attr[i].dims.items, attr[i].dims.count);
            ((struct dim *)(uintptr_t)attr[i].dims.items)[0].axis = g->axis;
        }
}

bool op_case_build(struct case_graph *out, const struct op *op, const struct op_case *c,
                   bool short_batch)
{
    struct type type[CASE_INPUTS];
    memset(out, 0, sizeof *out);
    out->arena = arena_new();
    out->diags = diags_new(out->arena);
    struct state_table *states = arena_alloc(out->arena, sizeof *states);
    out->graph = graph_new(out->arena, out->diags, &ops_table, states, "case");
    if (c->rate) {
        out->process.name = "process";
        out->process.chain = op_case_chain(out, c->rate);
        out->graph->processes = &out->process;
        out->graph->process_count = 1;
    }
    const union attr *attr = read_attrs(out->arena, op, c->attr);
    uint32_t count = read_types(c->in, c->rate != NULL, type);
    count = add_params(out, op, attr, type, count);
    if (short_batch)
        shorten(out, op, (union attr *)(uintptr_t)attr, type, count);
    out->in_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (type[i].rank == TYPE_ABSENT)
            continue;
        struct node_call leaf = {.op = &op_input, .types = &type[i]};
        uint32_t node = graph_call(out->graph, &leaf);
        BUG_ON(node == NODE_NONE);
        out->in[i] = out->graph->nodes[node].out[0];
    }
    struct node_call call = {
        .op = op, .in = out->in, .in_count = count, .attr = attr, .stream = 77};
    call.process = c->rate && (op->flags & OP_PROCESS);
    out->node = graph_call(out->graph, &call);
    return out->node != NODE_NONE;
}

void op_case_free(struct case_graph *g)
{
    arena_free(g->arena);
}

const char *op_case_refusal(struct case_graph *g)
{
    return diags_render(g->diags, false);
}

const struct node *op_case_node(const struct case_graph *g)
{
    return &g->graph->nodes[g->node];
}

const struct op_input *op_case_input(const struct case_graph *g, uint32_t i)
{
    const struct op *op = op_case_node(g)->op;
    uint32_t n = op_input_count(op);
    return &op->inputs[i < n ? i : n - 1];
}

/* ---------------------------------------------------------------------------- sample values */

bool op_case_supply(void *context, const struct graph *graph, uint32_t value,
                    const struct ref_tensor *out)
{
    const struct case_values *c = context;
    (void)graph;
    for (uint32_t i = 0; i < c->g->in_count; i++)
        if (c->g->in[i] == value)
            memcpy(out->data, c->in[i].data, (size_t)ref_size(out) * sizeof *out->data);
    return true;
}

struct draw op_case_draw(void)
{
    return (struct draw){random_key(20, "test"), 3, 77, 11, 64};
}

struct sampler {
    struct random_key key;
    uint32_t input, element;
};

static double uniform(struct sampler *s)
{
    return random_uniform(s->key, 0, s->input, 0, s->element++);
}

static double normal(struct sampler *s)
{
    double r = sqrt(-2 * log(1 - uniform(s)));
    return r * cos(2 * 3.14159265358979323846 * uniform(s));
}

static double sample_id(const struct case_graph *g, struct sampler *s, const struct op_input *spec,
                        const struct ref_tensor *first)
{
    const struct chain *chain = g->graph->process_count ? &g->process.chain : NULL;
    int64_t most = chain ? chain->states : 5;
    if (spec->domain == DOMAIN_REAL_TOKEN && chain)
        most = chain->tokens;
    if (spec->domain == DOMAIN_INDEX)
        most = first->dim[0] > 0 ? first->dim[0] : 1;
    return floor(uniform(s) * (double)most);
}

static double sample(const struct case_graph *g, struct sampler *s, uint32_t i,
                     const struct ref_tensor *first)
{
    const struct op_input *spec = op_case_input(g, i);
    enum dtype dtype = graph_type(g->graph, g->in[i])->dtype;
    double x;
    if (dtype == DT_BOOL)
        return uniform(s) < 0.5;
    if (dtype == DT_I32 || dtype == DT_TOKEN)
        return sample_id(g, s, spec, first);
    switch (spec->domain) {
    case DOMAIN_POSITIVE:
        x = 0.3 + 2 * uniform(s);
        break;
    case DOMAIN_UNIT:
        x = 0.05 + 0.9 * uniform(s);
        break;
    default:
        x = normal(s);
    }
    return dtype == DT_F32 ? (double)(float)x : x;
}

/* log p(y)/p(x) is 0 at y = x. */
static void zero_at_current(struct ref_tensor *score, const struct ref_tensor *x)
{
    int64_t states = score->dim[score->rank - 1];
    for (int64_t i = 0; i < ref_size(x); i++)
        if (x->data[i] < (double)states)
            score->data[i * states + (int64_t)x->data[i]] = 0;
}

void op_case_fill(const struct case_graph *g, uint64_t seed, int64_t count,
                  struct ref_tensor values[CASE_INPUTS])
{
    struct sampler s = {.key = random_key(seed, "case")};
    memset(values, 0, CASE_INPUTS * sizeof *values);
    for (uint32_t i = 0; i < g->in_count; i++) {
        if (g->in[i] == VALUE_NONE)
            continue;
        const struct type *type = graph_type(g->graph, g->in[i]);
        values[i].rank = type->rank;
        for (uint32_t d = 0; d < type->rank; d++)
            values[i].dim[d] = type->dim[d].axis ? count : type->dim[d].size;
        values[i].data = arena_new_array(g->arena, double, (size_t)ref_size(&values[i]));
        s.input = i;
        s.element = 0;
        for (int64_t e = 0; e < ref_size(&values[i]); e++)
            values[i].data[e] = sample(g, &s, i, &values[0]);
    }
    for (uint32_t i = 0; i < g->in_count; i++)
        if (values[i].data && op_case_input(g, i)->domain == DOMAIN_LOG_SCORE && values[1].data)
            zero_at_current(&values[i], &values[1]);
}
