/* Reads the text form of a graph, line by line. Called by tests of passes and by whoever wants to
 * compile a dump. The grammar stands in graph/text.h; graph/text.c prints it. */
#include "graph/base/check.h"
#include "graph/process.h"
#include "graph/text_scan.h"

#include <string.h>

/* --- tables ------------------------------------------------------------------------------- */

/* A stretch of flow-style YAML: a word, or what brackets hold. */
static struct yaml *read_flow(struct reader *r)
{
    static const char *const words[] = {"absorb", "uniform", NULL};
    const char *from = r->at;
    int depth = 0;
    if (*r->at == '{' || *r->at == '[') {
        do {
            depth += (*r->at == '{' || *r->at == '[') - (*r->at == '}' || *r->at == ']');
        } while (*r->at++ && depth > 0);
        if (depth > 0) {
            r->at = from;
            scan_error(r, from, "this bracket is not closed");
            return NULL;
        }
    } else {
        uint32_t word;
        if (!scan_choice(r, "rate", words, &word))
            return NULL;
        return yaml_read_text(r->diags, r->arena, "rate", words[word], strlen(words[word]));
    }
    struct yaml *node = yaml_read_text(r->diags, r->arena, "rate", from, (size_t)(r->at - from));
    scan_take(r, ""); /* blanks */
    return node;
}

/* RATE TOKENS [base LAW] [raw] SIGMA: graph/process.h. */
static bool read_process(struct reader *r)
{
    struct graph *g = r->graph;
    struct process p = {.span = scan_span(r, r->at)};
    const struct yaml *rate, *base = NULL;
    int64_t tokens;
    if (!scan_name(r, &p.name))
        return false;
    struct rate_source source = {.diags = r->diags, .arena = r->arena, .span = scan_span(r, r->at)};
    const char *from = r->at;
    rate = read_flow(r);
    if (!rate)
        return false;
    if (yaml_get(rate, "hash"))
        return scan_error(r, from, "this table of rates was too large to print");
    if (!scan_int(r, 1, 1 << 24, &tokens))
        return false;
    if (scan_word(r, "base") && !(base = read_flow(r)))
        return false;
    source.tokens = (int32_t)tokens;
    bool raw = scan_word(r, "raw");
    if (!rate_read(&source, rate, base, &p.chain))
        return false;
    p.chain.raw = raw;
    char *text = arena_strndup(r->arena, r->at, strcspn(r->at, "#"));
    p.sigma = expr_parse(r->diags, r->arena, text, scan_span(r, r->at));
    r->at += strlen(text);
    struct process *all = arena_new_array(r->arena, struct process, g->process_count + 1);
    if (g->process_count)
        memcpy(all, g->processes, g->process_count * sizeof *all);
    all[g->process_count++] = p;
    g->processes = all;
    return p.sigma != NULL;
}

static bool read_axis(struct reader *r)
{
    const char *from = r->at, *name;
    int64_t size, id;
    if (!scan_name(r, &name))
        return false;
    if (graph_axis_find(r->graph, name))
        return scan_error(r, from, "the axis `%s` is there already", name);
    if (!scan_int(r, 1, SIZE_LIMIT, &size))
        return false;
    uint32_t axis = graph_axis(r->graph, name, size);
    if (!scan_word(r, "counter"))
        return true;
    from = r->at;
    if (!scan_expect(r, "%") || !scan_int(r, 1, TEXT_ID_MAX, &id))
        return false;
    r->counters = arena_grow(r->arena, r->counters, r->counter_count, &r->counter_capacity,
                             sizeof *r->counters);
    r->counters[r->counter_count++] = (struct counter){axis, (uint32_t)id, scan_span(r, from)};
    return true;
}

static bool read_row_name(struct reader *r, uint32_t *out)
{
    const char *from = r->at, *name;
    if (!scan_name(r, &name))
        return false;
    *out = state_find(r->graph->states, name);
    return *out != UINT32_MAX || scan_error(r, from, "no state row is called `%s`", name);
}

static bool read_state(struct reader *r)
{
    struct state_row row = {.span = scan_span(r, r->at)};
    uint32_t at, word;
    if (!scan_name(r, &row.name) || !scan_choice(r, "a class", state_class_words, &word))
        return false;
    row.class = (enum state_class)word;
    if (!scan_type(r, &row.type) || !scan_choice(r, "an initialiser", init_words, &word))
        return false;
    row.init = (enum init_kind)word;
    if (!scan_end(r) && strncmp(r->at, "of ", 3) != 0 && !scan_real(r, &row.scale))
        return false;
    if (state_has_owner(row.class) && scan_word(r, "of") && !read_row_name(r, &row.owner))
        return false;
    return state_declare(r->graph->states, r->arena, r->diags, &row, &at);
}

/* --- nodes -------------------------------------------------------------------------------- */

static bool read_value(struct reader *r, uint32_t *out)
{
    const char *from = r->at;
    int64_t id;
    *out = VALUE_NONE;
    if (scan_word(r, "_"))
        return true;
    if (!scan_expect(r, "%") || !scan_int(r, 1, TEXT_ID_MAX, &id))
        return false;
    if (id < r->id_capacity)
        *out = r->ids[id];
    return *out || scan_error(r, from, "%%%lld is not defined above", (long long)id);
}

/* What is written left of the `=`, once for each result. */
struct result {
    struct span span, type_span;
    uint32_t id;
    const char *name;
    struct type type;
    bool has_row;
    uint32_t row, version;
};

static bool read_version(struct reader *r, uint32_t *out)
{
    int64_t version;
    if (!scan_expect(r, "v") || !scan_int(r, 0, UINT32_MAX, &version))
        return false;
    *out = (uint32_t)version;
    return true;
}

static bool read_result(struct reader *r, struct result *out)
{
    int64_t id;
    const char *from = r->at;
    *out = (struct result){0};
    if (!scan_expect(r, "%") || !scan_int(r, 1, TEXT_ID_MAX, &id))
        return false;
    out->id = (uint32_t)id;
    out->span = scan_span(r, from);
    if (out->id < r->id_capacity && r->ids[out->id])
        return scan_error(r, from, "%%%u is defined twice", out->id);
    if (*r->at == '"' && !scan_name(r, &out->name))
        return false;
    if (!scan_expect(r, ":"))
        return false;
    from = r->at;
    if (!scan_type(r, &out->type))
        return false;
    out->type_span = scan_span(r, from);
    out->has_row = scan_take(r, "->");
    return !out->has_row || (read_row_name(r, &out->row) && read_version(r, &out->version));
}

static bool read_attr(struct reader *r, const struct op_attr *spec, union attr *out)
{
    const char *from = r->at, *word;
    uint32_t choice;
    struct dim dims[TENSOR_RANK_MAX], *items;
    switch (spec->kind) {
    case ATTR_INT:
        return scan_int(r, INT64_MIN, INT64_MAX, &out->integer);
    case ATTR_REAL:
        return scan_real(r, &out->real);
    case ATTR_TEXT:
        return scan_name(r, &out->text);
    case ATTR_BOOL:
        if (!scan_name(r, &word))
            return false;
        out->flag = strcmp(word, "true") == 0;
        return out->flag || strcmp(word, "false") == 0 ||
               scan_error(r, from, "`%s` is true or false", spec->name);
    case ATTR_CHOICE:
        if (!scan_choice(r, spec->name, spec->choices, &choice))
            return false;
        out->integer = choice;
        return true;
    case ATTR_DIMS:
        if (!scan_dims(r, dims, &choice))
            return false;
        items = arena_new_array(r->arena, struct dim, choice);
        memcpy(items, dims, choice * sizeof *items);
        out->dims.count = choice;
        out->dims.items = items;
        return true;
    }
    return false;
}

static bool read_attrs(struct reader *r, const struct op *op, union attr *attr)
{
    uint32_t count = op_attr_count(op);
    bool *given = arena_new_array(r->arena, bool, count);
    const char *start = r->at, *from, *name;
    op_defaults(r->arena, op, attr);
    bool open = scan_take(r, "{");
    for (bool first = true; open && !scan_take(r, "}"); first = false) {
        if (!first && !scan_expect(r, ","))
            return false;
        from = r->at;
        if (!scan_name(r, &name) || !scan_expect(r, "="))
            return false;
        uint32_t i = 0;
        while (i < count && strcmp(op->attrs[i].name, name) != 0)
            i++;
        if (i == count)
            return scan_error(r, from, "`%s` has no attribute `%s`", op->name, name);
        if (given[i])
            return scan_error(r, from, "`%s` is given twice", name);
        if (!read_attr(r, &op->attrs[i], &attr[i]))
            return false;
        given[i] = true;
    }
    for (uint32_t i = 0; i < count; i++)
        if (!op->attrs[i].value && !given[i])
            return scan_error(r, start, "`%s` needs the attribute `%s`", op->name,
                              op->attrs[i].name);
    return true;
}

static bool read_inputs(struct reader *r, uint32_t *in, uint32_t max, uint32_t *count)
{
    *count = 0;
    if (*r->at != '%' && !(*r->at == '_' && !writer_bare(r->at[1])))
        return true;
    do {
        if (*count == max)
            return scan_error(r, r->at, "too many inputs");
        if (!read_value(r, &in[(*count)++]))
            return false;
    } while (scan_take(r, ","));
    return true;
}

/* What follows inputs and attributes: process, stream, epoch, the place in the model. */
static bool read_tail(struct reader *r, struct node_call *call, uint32_t *epoch,
                      const struct origin **origin)
{
    int64_t number;
    *epoch = 0;
    *origin = NULL;
    if (scan_word(r, "process")) {
        const char *from = r->at, *name;
        if (!scan_name(r, &name))
            return false;
        call->process = scan_find_process(r, name);
        if (!call->process)
            return scan_error(r, from, "no process is called `%s`", name);
    }
    if (scan_word(r, "stream")) {
        if (!scan_hex(r, &call->stream))
            return false;
    }
    if (scan_word(r, "epoch")) {
        if (!scan_int(r, 0, UINT32_MAX, &number))
            return false;
        *epoch = (uint32_t)number;
    }
    if (scan_take(r, "@") && !scan_origin(r, origin))
        return false;
    return scan_end(r) || scan_error(r, r->at, "the line should end here");
}

/* The rule of an op that counts made an axis for its results: it is the one written. */
static void adopt_axis(struct reader *r, struct node *n, const struct result *first,
                       uint32_t axes_before)
{
    struct graph *g = r->graph;
    uint32_t made = g->values[n->out[0]].type.dim[0].axis, axis = first->type.dim[0].axis;
    if (made < axes_before || made + 1 != g->axis_count || !axis ||
        g->axes[made].size != g->axes[axis].size)
        return;
    for (uint32_t k = 0; k < n->out_count; k++) {
        struct type *t = &g->values[n->out[k]].type;
        if (t->rank && t->dim[0].axis == made)
            t->dim[0].axis = axis;
    }
    g->axes[axis].counter = n->out[0];
    g->axis_count--;
}

static bool add_result(struct reader *r, const struct result *result, uint32_t v)
{
    struct graph *g = r->graph;
    struct value *value = &g->values[v];
    if (!type_equal(&value->type, &result->type))
        return scan_error_at(r, result->type_span, "the rule of `%s` gives %s",
                             g->nodes[value->node].op->name, type_print(r->arena, g, &value->type));
    if (result->name) {
        value->name = result->name;
        graph_name(g, result->name, v);
    }
    if (result->has_row) {
        value->state = result->row + 1;
        value->version = result->version;
    }
    if (result->id >= r->id_capacity) {
        uint32_t capacity = result->id * 2 + 64;
        uint32_t *ids = arena_new_array(r->arena, uint32_t, capacity);
        if (r->id_capacity)
            memcpy(ids, r->ids, r->id_capacity * sizeof *ids);
        r->ids = ids;
        r->id_capacity = capacity;
    }
    r->ids[result->id] = v;
    return true;
}

static bool add_node(struct reader *r, struct node_call *call, struct result *results,
                     uint32_t count, uint32_t epoch, const struct origin *origin)
{
    struct graph *g = r->graph;
    struct origin here = {.span = results[0].span};
    uint32_t axes_before = g->axis_count;
    call->origin = &here;
    if (call->op->flags & OP_LEAF)
        call->types = &results[0].type;
    uint32_t id = graph_call(g, call);
    if (id == NODE_NONE)
        return false;
    struct node *n = &g->nodes[id];
    n->epoch = epoch;
    n->origin = origin;
    if (n->out_count != count)
        return scan_error_at(r, results[0].span, "`%s` has %u results here, not %u", call->op->name,
                             n->out_count, count);
    if (call->op->flags & OP_COUNTS)
        adopt_axis(r, n, &results[0], axes_before);
    for (uint32_t k = 0; k < count; k++)
        if (!add_result(r, &results[k], n->out[k]))
            return false;
    return true;
}

/* `state NAME v1`: the row that the result reads, and whose name it has. */
static bool read_leaf_row(struct reader *r, struct result *result)
{
    const char *from = r->at;
    if (!read_row_name(r, &result->row))
        return false;
    const struct state_row *row = &r->graph->states->rows[result->row];
    result->has_row = true;
    if (!type_equal(&row->type, &result->type))
        return scan_error(r, from, "this row is %s", type_print(r->arena, r->graph, &row->type));
    if (!result->name)
        result->name = row->name;
    return *r->at != 'v' || read_version(r, &result->version);
}

static bool read_node(struct reader *r)
{
    struct result results[OP_RESULT_MAX];
    uint32_t count = 0, in[OP_RESULT_MAX * 16], epoch;
    const char *from, *name;
    const struct origin *origin;
    do {
        if (count == OP_RESULT_MAX)
            return scan_error(r, r->at, "too many results");
        if (!read_result(r, &results[count++]))
            return false;
    } while (scan_take(r, ","));
    if (!scan_expect(r, "="))
        return false;
    from = r->at;
    if (!scan_name(r, &name))
        return false;
    struct node_call call = {.op = op_find(r->graph->table, name), .in = in};
    if (!call.op)
        return scan_error(r, from, "no op is called `%s`", name);
    if (strcmp(name, "state") == 0 && !read_leaf_row(r, &results[0]))
        return false;
    union attr *attr = arena_new_array(r->arena, union attr, op_attr_count(call.op));
    call.attr = attr;
    return read_inputs(r, in, OP_RESULT_MAX * 16, &call.in_count) && read_attrs(r, call.op, attr) &&
           read_tail(r, &call, &epoch, &origin) &&
           add_node(r, &call, results, count, epoch, origin);
}

/* --- lines -------------------------------------------------------------------------------- */

static bool read_binding(struct reader *r, void (*bind)(struct graph *, const char *, uint32_t))
{
    const char *name;
    uint32_t value;
    if (!scan_name(r, &name) || !read_value(r, &value))
        return false;
    bind(r->graph, name, value);
    return true;
}

static bool read_item(struct reader *r)
{
    if (*r->at == '%')
        return read_node(r);
    if (scan_word(r, "process"))
        return read_process(r);
    if (scan_word(r, "axis"))
        return read_axis(r);
    if (scan_word(r, "state"))
        return read_state(r);
    if (scan_word(r, "input"))
        return read_binding(r, graph_input);
    if (scan_word(r, "output"))
        return read_binding(r, graph_output);
    if (scan_word(r, "minimize"))
        return read_value(r, &r->graph->minimize);
    if (scan_word(r, "graph"))
        return scan_name(r, &r->graph->name);
    return scan_error(r, r->at,
                      "a line starts with graph, process, axis, state, input, output, "
                      "minimize or a value such as %%1");
}

static bool read_counters(struct reader *r)
{
    for (uint32_t i = 0; i < r->counter_count; i++) {
        const struct counter *c = &r->counters[i];
        if (c->id >= r->id_capacity || !r->ids[c->id]) {
            diag_error(r->diags, FAULT_CONFIG, c->span, "%%%u is not defined below", c->id);
            return false;
        }
        r->graph->axes[c->axis].counter = r->ids[c->id];
    }
    return true;
}

struct graph *graph_read(struct arena *arena, struct diags *diags, const struct op_table *table,
                         struct state_table *states, const char *name, const char *text,
                         size_t length)
{
    struct reader r = {.arena = arena,
                       .diags = diags,
                       .file = diags_source(diags, name, text, length),
                       .graph = graph_new(arena, diags, table, states, "")};
    while (scan_line(&r, &text, &length)) {
        if (scan_end(&r))
            continue;
        if (!read_item(&r))
            return NULL;
        if (!scan_end(&r)) {
            scan_error(&r, r.at, "the line should end here");
            return NULL;
        }
    }
    return !r.failed && read_counters(&r) ? r.graph : NULL;
}
