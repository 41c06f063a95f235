/* Prints a graph. Called by `sedge plan --dump`, and by tests of passes, which compare texts.
 * graph/text_read.c reads the form back. */
#include "graph/text.h"
#include "graph/expr.h"
#include "graph/op.h"
#include "graph/process.h"
#include "graph/writer.h"

#include <string.h>

const char *const state_class_words[] = {"parameter", "moment", "ema", "gradient",
                                         "constant",  "cursor", NULL};
const char *const init_words[] = {"zero", "one", "uniform", "normal", "copy", NULL};

struct printer {
    const struct graph *graph;
    struct writer out;
    uint32_t *ids; /* by value: its number in the text, 0 for those of dead nodes */
};

const char *axis_label(struct arena *arena, const struct graph *graph, uint32_t axis)
{
    const char *name = graph->axes[axis].name;
    for (uint32_t i = 1; i < axis; i++)
        if (strcmp(graph->axes[i].name, name) == 0)
            return arena_printf(arena, "%s.%u", name, axis);
    return name;
}

static void put_value(struct printer *p, uint32_t value)
{
    if (value == VALUE_NONE)
        write_text(&p->out, "_");
    else if (value >= p->graph->value_count || !p->ids[value])
        write_text(&p->out, "%%?");
    else
        write_text(&p->out, "%%%u", p->ids[value]);
}

static void put_dims(struct printer *p, const struct dim *dims, uint32_t count)
{
    const struct graph *g = p->graph;
    write_text(&p->out, "[");
    for (uint32_t i = 0; i < count; i++) {
        const struct dim *d = &dims[i];
        bool named = d->axis && d->axis < g->axis_count;
        if (i)
            write_text(&p->out, ", ");
        if (named)
            write_name(&p->out, axis_label(p->out.arena, g, d->axis));
        if (named && g->axes[d->axis].size != d->size)
            write_text(&p->out, ":");
        if (!named || g->axes[d->axis].size != d->size)
            write_text(&p->out, "%lld", (long long)d->size);
    }
    write_text(&p->out, "]");
}

static void put_type(struct printer *p, const struct type *type)
{
    write_text(&p->out, "%s ", dtype_name(type->dtype));
    if (type->process && type->process <= p->graph->process_count) {
        write_name(&p->out, p->graph->processes[type->process - 1].name);
        write_text(&p->out, " ");
    }
    put_dims(p, type->dim, type->rank);
}

/* --- tables ------------------------------------------------------------------------------- */

/* Rows that a live value is in, and the rows that those follow. */
static bool *used_rows(const struct printer *p)
{
    const struct graph *g = p->graph;
    bool *used = arena_new_array(p->out.arena, bool, g->states->count);
    for (uint32_t v = 1; v < g->value_count; v++)
        if (p->ids[v] && g->values[v].state && g->values[v].state <= g->states->count)
            used[g->values[v].state - 1] = true;
    for (uint32_t r = g->states->count; r-- > 0;) {
        const struct state_row *row = &g->states->rows[r];
        if (used[r] && state_has_owner(row->class) && row->owner < g->states->count)
            used[row->owner] = true;
    }
    return used;
}

static void put_states(struct printer *p)
{
    const bool *used = used_rows(p);
    for (uint32_t r = 0; r < p->graph->states->count; r++) {
        const struct state_row *row = &p->graph->states->rows[r];
        if (!used[r])
            continue;
        write_text(&p->out, "state ");
        write_name(&p->out, row->name);
        write_text(&p->out, " %s ", state_class_words[row->class]);
        put_type(p, &row->type);
        write_text(&p->out, " %s", init_words[row->init]);
        if (row->scale != 0)
            write_text(&p->out, " %s", real_print(p->out.arena, row->scale));
        if (state_has_owner(row->class) && row->owner < p->graph->states->count) {
            write_text(&p->out, " of ");
            write_name(&p->out, p->graph->states->rows[row->owner].name);
        }
        write_text(&p->out, "\n");
    }
}

static void put_tables(struct printer *p)
{
    const struct graph *g = p->graph;
    write_text(&p->out, "graph ");
    write_name(&p->out, g->name);
    write_text(&p->out, "\n");
    for (uint32_t i = 0; i < g->process_count; i++) {
        write_text(&p->out, "process ");
        write_name(&p->out, g->processes[i].name);
        write_text(&p->out, " %s\n", process_print(p->out.arena, &g->processes[i]));
    }
    for (uint32_t i = 1; i < g->axis_count; i++) {
        write_text(&p->out, "axis ");
        write_name(&p->out, axis_label(p->out.arena, g, i));
        write_text(&p->out, " %lld", (long long)g->axes[i].size);
        uint32_t counter = g->axes[i].counter;
        if (counter && counter < g->value_count && p->ids[counter])
            write_text(&p->out, " counter %%%u", p->ids[counter]);
        write_text(&p->out, "\n");
    }
    put_states(p);
}

/* --- nodes -------------------------------------------------------------------------------- */

static bool attr_is(const struct op_attr *spec, const union attr *a, const union attr *b)
{
    switch (spec->kind) {
    case ATTR_INT:
    case ATTR_CHOICE:
        return a->integer == b->integer;
    case ATTR_REAL:
        return memcmp(&a->real, &b->real, sizeof a->real) == 0;
    case ATTR_BOOL:
        return a->flag == b->flag;
    case ATTR_TEXT:
        return strcmp(a->text ? a->text : "", b->text ? b->text : "") == 0;
    case ATTR_DIMS:
        return a->dims.count == b->dims.count && a->dims.count == 0;
    }
    return false;
}

static void put_attr(struct printer *p, const struct op_attr *spec, const union attr *attr)
{
    write_text(&p->out, "%s=", spec->name);
    switch (spec->kind) {
    case ATTR_INT:
        write_text(&p->out, "%lld", (long long)attr->integer);
        break;
    case ATTR_REAL:
        write_text(&p->out, "%s", real_print(p->out.arena, attr->real));
        break;
    case ATTR_BOOL:
        write_text(&p->out, attr->flag ? "true" : "false");
        break;
    case ATTR_CHOICE:
        write_name(&p->out, spec->choices[attr->integer]);
        break;
    case ATTR_TEXT:
        write_name(&p->out, attr->text ? attr->text : "");
        break;
    case ATTR_DIMS:
        put_dims(p, attr->dims.items, attr->dims.count);
        break;
    }
}

static void put_attrs(struct printer *p, const struct node *n)
{
    uint32_t count = op_attr_count(n->op), shown = 0;
    union attr *defaults = arena_new_array(p->out.arena, union attr, count);
    op_defaults(p->out.arena, n->op, defaults);
    for (uint32_t i = 0; i < count; i++) {
        const struct op_attr *spec = &n->op->attrs[i];
        if (spec->value && attr_is(spec, &n->attr[i], &defaults[i]))
            continue;
        write_text(&p->out, shown++ ? ", " : " {");
        put_attr(p, spec, &n->attr[i]);
    }
    if (shown)
        write_text(&p->out, "}");
}

static const char *row_name(const struct graph *g, const struct value *v)
{
    return v->state && v->state <= g->states->count ? g->states->rows[v->state - 1].name : NULL;
}

/* A leaf that reads a row is named after it, and its row stands behind the op. */
static bool reads_row(const struct node *n)
{
    return strcmp(n->op->name, "state") == 0;
}

static void put_results(struct printer *p, const struct node *n)
{
    const struct graph *g = p->graph;
    for (uint32_t k = 0; k < n->out_count; k++) {
        const struct value *v = &g->values[n->out[k]];
        const char *row = row_name(g, v);
        write_text(&p->out, k ? ", " : "");
        put_value(p, n->out[k]);
        if (v->name && !(reads_row(n) && row && strcmp(row, v->name) == 0)) {
            write_text(&p->out, " ");
            write_quoted(&p->out, v->name);
        }
        write_text(&p->out, ": ");
        put_type(p, &v->type);
        if (row && !reads_row(n)) {
            write_text(&p->out, " -> ");
            write_name(&p->out, row);
            write_text(&p->out, " v%u", v->version);
        }
    }
}

static void put_origin(struct printer *p, const struct origin *o)
{
    if (!o || !o->span.file)
        return;
    write_text(&p->out, " @");
    write_name(&p->out, diags_file_name(p->graph->diags, o->span.file));
    write_text(&p->out, ":%u:%u", o->span.line, o->span.column);
}

static void put_node(struct printer *p, const struct node *n)
{
    const struct graph *g = p->graph;
    put_results(p, n);
    write_text(&p->out, "%s= %s", n->out_count ? " " : "", n->op->name);
    if (reads_row(n) && n->out_count) {
        const struct value *v = &g->values[n->out[0]];
        const char *row = row_name(g, v);
        write_text(&p->out, " ");
        write_name(&p->out, row ? row : "");
        if (v->version)
            write_text(&p->out, " v%u", v->version);
    }
    for (uint32_t i = 0; i < n->in_count; i++) {
        write_text(&p->out, i ? ", " : " ");
        put_value(p, n->in[i]);
    }
    put_attrs(p, n);
    if (n->process && n->process <= g->process_count) {
        write_text(&p->out, " process ");
        write_name(&p->out, g->processes[n->process - 1].name);
    }
    if (n->stream && (n->op->flags & (OP_RANDOM | OP_MACRO)))
        write_text(&p->out, " stream 0x%08x", n->stream);
    if (n->epoch)
        write_text(&p->out, " epoch %u", n->epoch);
    put_origin(p, n->origin);
    write_text(&p->out, "\n");
}

static void put_bindings(struct printer *p, const char *word, const struct binding *items,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        write_text(&p->out, "%s ", word);
        write_name(&p->out, items[i].name);
        write_text(&p->out, " ");
        uint32_t v = items[i].value;
        put_value(p, v < p->graph->value_count && p->ids[v] ? v : VALUE_NONE);
        write_text(&p->out, "\n");
    }
}

char *graph_print(struct arena *arena, const struct graph *graph)
{
    struct printer p = {.graph = graph,
                        .out = {.arena = arena},
                        .ids = arena_new_array(arena, uint32_t, graph->value_count)};
    uint32_t next = 1;
    for (uint32_t i = 0; i < graph->order_count; i++) {
        const struct node *n = &graph->nodes[graph->order[i]];
        for (uint32_t k = 0; k < n->out_count; k++)
            p.ids[n->out[k]] = next++;
    }
    put_tables(&p);
    for (uint32_t i = 0; i < graph->order_count; i++)
        put_node(&p, &graph->nodes[graph->order[i]]);
    put_bindings(&p, "input", graph->inputs, graph->input_count);
    put_bindings(&p, "output", graph->outputs, graph->output_count);
    if (graph->minimize) {
        write_text(&p.out, "minimize ");
        put_value(&p, graph->minimize);
        write_text(&p.out, "\n");
    }
    return p.out.text;
}
