/* Draws a graph in Graphviz's language. Called by `sedge plan --svg`. */
#include "graph/draw.h"
#include "graph/expr.h"
#include "graph/op.h"
#include "graph/writer.h"

#include <string.h>

/* --- colours ------------------------------------------------------------------------------ */

struct paint {
    const char *fill, *line;
};
static const struct paint paint_other = {"#f1f2f4", "#8a929c"}, paint_draw = {"#fde6cc", "#cf8a35"},
                          paint_state = {"#fff5c2", "#b59a1c"}, paint_view = {"#ffffff", "#a9afb7"},
                          paint_end = {"#ffffff", "#333333"};

/* By a word in the op's name, the first that fits; no op needs to be listed. */
static const struct {
    const char *word;
    struct paint paint;
} paints[] = {
    {"linear", {"#d8e8f8", "#4a83b8"}}, {"embedding", {"#d8e8f8", "#4a83b8"}},
    {"norm", {"#dcf0dc", "#55965a"}},   {"modulate", {"#dcf0dc", "#55965a"}},
    {"gated", {"#dcf0dc", "#55965a"}},  {"attention", {"#e7def5", "#8263b0"}},
    {"rope", {"#e7def5", "#8263b0"}},   {"softmax", {"#e7def5", "#8263b0"}},
    {"score", {"#f9d9d9", "#bb5555"}},  {"entropy", {"#f9d9d9", "#bb5555"}},
    {"cost", {"#f9d9d9", "#bb5555"}},   {"mean", {"#f9d9d9", "#bb5555"}},
    {"sum", {"#f9d9d9", "#bb5555"}},
};

static struct paint paint_of(const struct op *op)
{
    if (op->flags & OP_EFFECT)
        return paint_state;
    if (op->flags & OP_VIEW)
        return paint_view;
    for (size_t i = 0; i < sizeof paints / sizeof *paints; i++)
        if (strstr(op->name, paints[i].word))
            return paints[i].paint;
    return op->flags & OP_RANDOM ? paint_draw : paint_other;
}

/* --- clusters ----------------------------------------------------------------------------- */

/* An instance of a block, [0] being the program. Lists are linked by number, 0 or NODE_NONE ends
 * them; children and nodes come in the order of the program. */
struct cluster {
    const char *name;
    uint32_t first, last, next; /* children, sibling */
    uint32_t first_node, last_node;
};

struct drawing {
    const struct graph *graph;
    struct writer out;
    struct cluster *clusters;
    uint32_t cluster_count, cluster_capacity;
    uint32_t *in;   /* by node: its cluster */
    uint32_t *next; /* by node: the next one of its cluster */
    uint32_t *user; /* by value: 1 + the first node that reads it */
};

static uint32_t add_cluster(struct drawing *d, uint32_t parent, const char *name)
{
    d->clusters = arena_grow(d->out.arena, d->clusters, d->cluster_count, &d->cluster_capacity,
                             sizeof *d->clusters);
    uint32_t id = d->cluster_count++;
    d->clusters[id] =
        (struct cluster){.name = name, .first_node = NODE_NONE, .last_node = NODE_NONE};
    if (id == 0)
        return id;
    struct cluster *p = &d->clusters[parent];
    if (p->first)
        d->clusters[p->last].next = id;
    else
        p->first = id;
    p->last = id;
    return id;
}

/* The cluster of the value called NAME: all but the last component. */
static uint32_t cluster_of(struct drawing *d, const char *name)
{
    uint32_t at = 0;
    for (const char *dot; (dot = strchr(name, '.')); name = dot + 1) {
        size_t n = (size_t)(dot - name);
        uint32_t c = d->clusters[at].first;
        while (c && (strncmp(d->clusters[c].name, name, n) != 0 || d->clusters[c].name[n]))
            c = d->clusters[c].next;
        at = c ? c : add_cluster(d, at, arena_strndup(d->out.arena, name, n));
    }
    return at;
}

/* Values in rows of state are called after the rows, which is no place in the program. */
static const char *declared_name(const struct graph *g, const struct node *n)
{
    for (uint32_t k = 0; k < n->out_count && !(n->op->flags & OP_LEAF); k++)
        if (g->values[n->out[k]].name && !g->values[n->out[k]].state)
            return g->values[n->out[k]].name;
    return NULL;
}

static bool is_leaf(const struct node *n, const char *name)
{
    return (n->op->flags & OP_LEAF) && strcmp(n->op->name, name) == 0;
}

/* From the last node back, so that the cluster of a user is known. */
static void place_nodes(struct drawing *d)
{
    const struct graph *g = d->graph;
    for (uint32_t i = g->order_count; i-- > 0;)
        for (uint32_t k = 0; k < g->nodes[g->order[i]].in_count; k++)
            d->user[g->nodes[g->order[i]].in[k]] = g->order[i] + 1;
    for (uint32_t i = 0; i < g->order_count; i++) { /* in program order, for the numbering */
        const char *name = declared_name(g, &g->nodes[g->order[i]]);
        if (name)
            d->in[g->order[i]] = cluster_of(d, name);
    }
    for (uint32_t i = g->order_count; i-- > 0;) {
        const struct node *n = &g->nodes[g->order[i]];
        uint32_t user = NODE_NONE;
        for (uint32_t k = 0; k < n->out_count; k++)
            if (d->user[n->out[k]] && d->user[n->out[k]] - 1 < user)
                user = d->user[n->out[k]] - 1;
        if (user != NODE_NONE && !declared_name(g, n) && !is_leaf(n, "input"))
            d->in[g->order[i]] = d->in[user];
    }
    for (uint32_t i = 0; i < g->order_count; i++) {
        struct cluster *c = &d->clusters[d->in[g->order[i]]];
        d->next[g->order[i]] = NODE_NONE;
        if (c->first_node == NODE_NONE)
            c->first_node = g->order[i];
        else
            d->next[c->last_node] = g->order[i];
        c->last_node = g->order[i];
    }
}

/* --- writing ------------------------------------------------------------------------------ */

static void put_escaped(struct drawing *d, const char *text)
{
    for (; *text; text++) {
        const char *entity = *text == '&'   ? "&amp;"
                             : *text == '<' ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        if (entity)
            write_text(&d->out, "%s", entity);
        else if ((unsigned char)*text >= ' ')
            write_text(&d->out, "%c", *text);
    }
}

static void put_small(struct drawing *d, const char *text)
{
    write_text(&d->out, "<font point-size=\"9\" color=\"#5a626b\">");
    put_escaped(d, text);
    write_text(&d->out, "</font>");
}

static void put_type(struct drawing *d, uint32_t value)
{
    put_small(d, type_print(d->out.arena, d->graph, graph_type(d->graph, value)));
}

static void put_paint(struct drawing *d, struct paint p, const char *more)
{
    write_text(&d->out, ">, fillcolor=\"%s\", color=\"%s\"%s];\n", p.fill, p.line, more);
}

static const char *name_of_input(const struct graph *g, uint32_t value)
{
    for (uint32_t i = 0; i < g->input_count; i++)
        if (g->inputs[i].value == value)
            return g->inputs[i].name;
    return "?";
}

static void put_leaf(struct drawing *d, const struct node *n)
{
    const struct graph *g = d->graph;
    uint32_t v = n->out[0];
    if (is_leaf(n, "const")) {
        write_text(&d->out, "<font point-size=\"9\">%s</font>",
                   real_print(d->out.arena, n->attr[0].real));
        write_text(&d->out, ">, shape=plaintext, style=\"\", margin=0.03];\n");
        return;
    }
    if (is_leaf(n, "state")) {
        uint32_t row = g->values[v].state;
        write_text(&d->out, "<font point-size=\"9\">");
        put_escaped(d, row && row <= g->states->count ? g->states->rows[row - 1].name : "?");
        write_text(&d->out, "</font><br/>");
        put_type(d, v);
        put_paint(d, paint_state, ", style=filled, margin=\"0.06,0.03\"");
        return;
    }
    write_text(&d->out, "<b>");
    put_escaped(d, name_of_input(g, v));
    write_text(&d->out, "</b><br/>");
    put_type(d, v);
    put_paint(d, paint_end, ", penwidth=1.6");
}

static const char *last_component(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

static void put_node(struct drawing *d, uint32_t id)
{
    const struct graph *g = d->graph;
    const struct node *n = &g->nodes[id];
    const char *name = declared_name(g, n);
    write_text(&d->out, "n%u [label=<", id);
    if (n->op->flags & OP_LEAF) {
        put_leaf(d, n);
        return;
    }
    write_text(&d->out, "<b>");
    put_escaped(d, n->op->name);
    write_text(&d->out, "</b>");
    if (name && (n->out_count == 1 || n->op->visible == 1)) { /* else the edges are named */
        write_text(&d->out, " ");
        put_escaped(d, last_component(name));
    }
    for (uint32_t k = 0; k < n->out_count; k++) {
        bool first = k == 0 || !type_equal(graph_type(g, n->out[k]), graph_type(g, n->out[k - 1]));
        if (!first)
            continue;
        write_text(&d->out, "<br/>");
        put_type(d, n->out[k]);
    }
    put_paint(d, paint_of(n->op), n->op->flags & OP_VIEW ? ", style=\"rounded,dashed\"" : "");
}

static void put_cluster(struct drawing *d, uint32_t id)
{
    const struct cluster *c = &d->clusters[id];
    if (id) {
        write_text(&d->out, "subgraph cluster_%u {\nlabel=", id);
        write_quoted(&d->out, c->name);
        write_text(&d->out, ";\n");
    }
    for (uint32_t n = c->first_node; n != NODE_NONE; n = d->next[n])
        put_node(d, n);
    for (uint32_t k = c->first; k; k = d->clusters[k].next)
        put_cluster(d, k);
    if (id)
        write_text(&d->out, "}\n");
}

/* Which result an edge carries, where the op has several that one may name. */
static const char *edge_label(struct drawing *d, const struct value *v)
{
    const struct node *n = &d->graph->nodes[v->node];
    if (n->out_count == 1 || (n->op->visible == 1 && v->result == 0))
        return NULL;
    if (v->name)
        return last_component(v->name);
    return n->op->result_count > 1 ? n->op->results[v->result]
                                   : arena_printf(d->out.arena, "%u", v->result);
}

static void put_edges(struct drawing *d, uint32_t id)
{
    const struct graph *g = d->graph;
    const struct node *n = &g->nodes[id];
    for (uint32_t i = 0; i < n->in_count; i++) {
        if (n->in[i] == VALUE_NONE)
            continue;
        const struct value *v = &g->values[n->in[i]];
        const struct node *from = &g->nodes[v->node];
        const char *label = edge_label(d, v);
        write_text(&d->out, "n%u -> n%u", v->node, id);
        if (from->op->flags & OP_LEAF)
            write_text(&d->out, " [color=\"#c3c8ce\"]");
        else if (label) {
            write_text(&d->out, " [label=");
            write_quoted(&d->out, label);
            write_text(&d->out, "]");
        }
        write_text(&d->out, ";\n");
    }
}

static void put_outputs(struct drawing *d)
{
    const struct graph *g = d->graph;
    for (uint32_t i = 0; i < g->output_count; i++) {
        bool loss = g->outputs[i].value == g->minimize;
        write_text(&d->out, "out%u [label=<<b>", i);
        put_escaped(d, g->outputs[i].name);
        write_text(&d->out, "</b>%s", loss ? "<br/><font point-size=\"9\">minimised</font>" : "");
        put_paint(d, paint_end, loss ? ", penwidth=1.6, peripheries=2" : ", penwidth=1.6");
        write_text(&d->out, "n%u -> out%u;\n", g->values[g->outputs[i].value].node, i);
    }
}

char *graph_dot(struct arena *arena, const struct graph *graph)
{
    struct drawing d = {.graph = graph,
                        .out = {.arena = arena},
                        .in = arena_new_array(arena, uint32_t, graph->node_count),
                        .next = arena_new_array(arena, uint32_t, graph->node_count),
                        .user = arena_new_array(arena, uint32_t, graph->value_count)};
    add_cluster(&d, 0, graph->name);
    place_nodes(&d);
    write_text(&d.out, "digraph ");
    write_quoted(&d.out, graph->name);
    write_text(&d.out,
               " {\n"
               "graph [bgcolor=white, fontname=Helvetica, fontsize=11, fontcolor=\"#5a626b\", "
               "color=\"#c9ced4\", style=rounded, labeljust=l, nodesep=0.25, ranksep=0.35];\n"
               "node [shape=box, style=\"rounded,filled\", fontname=Helvetica, fontsize=11, "
               "height=0.1, margin=\"0.12,0.06\"];\n"
               "edge [fontname=Helvetica, fontsize=8, fontcolor=\"#5a626b\", color=\"#8a929c\", "
               "arrowsize=0.6];\n");
    put_cluster(&d, 0);
    for (uint32_t i = 0; i < graph->order_count; i++)
        put_edges(&d, graph->order[i]);
    put_outputs(&d);
    write_text(&d.out, "}\n");
    return d.out.text;
}
