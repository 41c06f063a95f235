/* Draws where the buffers of a plan lie and when. Called by `sedge plan --map`. */
#include "tools/plan_map.h"
#include "graph/writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEFT = 90,
    TOP = 60,
    WIDTH = 960,
    HEIGHT = 540,
    LEGEND = 230, /* right of the picture */
    BOTTOM = 60,
    GROUPS_MAX = 10, /* colours, besides those of backward steps and scratch */
    DEPTH_MAX = 6,
};

/* Paul Tol's muted colours and three more: they can be told apart by most eyes. */
static const char *const colours[GROUPS_MAX] = {"#332288", "#88ccee", "#44aa99", "#117733",
                                                "#999933", "#ddcc77", "#cc6677", "#882255",
                                                "#aa4499", "#6699cc"};
#define GRADIENT_COLOUR "#bbbbbb"
#define SCRATCH_COLOUR "#555555"

struct box {
    int64_t offset, bytes;
    uint32_t first, last;             /* steps */
    const struct plan_tensor *tensor; /* NULL: scratch of a step */
    const struct plan_step *maker;
    const char *name; /* of the value, or of the first named one that is made from it */
    bool backward;    /* no output of the program depends on it: it serves gradients */
};

struct map {
    struct arena *arena;
    const struct diags *diags;
    const struct plan *plan;
    struct box *boxes;
    uint32_t count;
    uint32_t depth; /* components of a name that tell blocks apart */
    const char *groups[GROUPS_MAX + 1];
    uint32_t group_count;
    bool gradients, scratch;
    struct writer w;
};

/* --- what a buffer is for ----------------------------------------------------------------- */

/* The first named value on the way of what is computed from TENSOR; a nested call has no name. */
static const char *name_ahead(const struct plan *p, uint32_t tensor, uint32_t from)
{
    for (uint32_t i = from; i < p->step_count && !p->tensors[tensor].name; i++) {
        const struct plan_step *s = &p->steps[i];
        bool reads = false;
        for (uint32_t k = 0; k < s->in_count; k++)
            reads |= s->in[k] == tensor;
        if (reads && s->name)
            return s->name;
        if (reads && s->out_count)
            tensor = s->out[0];
    }
    return p->tensors[tensor].name;
}

struct range {
    int64_t offset, bytes;
};

static bool meets(const struct range *r, const struct plan_tensor *t)
{
    return t->memory == MEMORY_ARENA && r->offset < t->offset + t->bytes &&
           t->offset < r->offset + r->bytes;
}

/* Which steps an output depends on: from the last step to the first, with the ranges of bytes
 * that are still wanted. A step that writes a wanted range makes what it reads wanted. */
static bool *find_forward(struct map *m)
{
    const struct plan *p = m->plan;
    bool *forward = arena_new_array(m->arena, bool, p->step_count + 1);
    struct range *wanted = NULL;
    uint32_t count = 0, capacity = 0;
    for (uint32_t i = 0; i < p->output_count; i++) {
        const struct plan_tensor *t = &p->tensors[p->outputs[i].tensor];
        wanted = arena_grow(m->arena, wanted, count, &capacity, sizeof *wanted);
        if (t->memory == MEMORY_ARENA)
            wanted[count++] = (struct range){t->offset, t->bytes};
    }
    for (uint32_t i = p->step_count; i-- > 0;) {
        const struct plan_step *s = &p->steps[i];
        uint32_t kept = 0;
        for (uint32_t r = 0; r < count; r++) {
            bool made = false;
            for (uint32_t k = 0; k < s->out_count; k++)
                made |= meets(&wanted[r], &p->tensors[s->out[k]]);
            forward[i] |= made;
            if (!made)
                wanted[kept++] = wanted[r];
        }
        count = kept;
        for (uint32_t k = 0; forward[i] && k < s->in_count; k++) {
            const struct plan_tensor *t = &p->tensors[s->in[k]];
            wanted = arena_grow(m->arena, wanted, count, &capacity, sizeof *wanted);
            if (t->memory == MEMORY_ARENA)
                wanted[count++] = (struct range){t->offset, t->bytes};
        }
    }
    return forward;
}

/* --- lifetimes ---------------------------------------------------------------------------- */

static void touch(struct box *of, uint32_t tensor, uint32_t step)
{
    struct box *b = &of[tensor];
    if (b->first == UINT32_MAX)
        b->first = step;
    if (b->last < step)
        b->last = step;
}

static int by_place(const void *a, const void *b)
{
    const struct box *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Values that follow one another in the same bytes (made in place, or views) are one buffer. */
static void merge(struct map *m)
{
    uint32_t kept = 0;
    qsort(m->boxes, m->count, sizeof *m->boxes, by_place);
    for (uint32_t i = 0; i < m->count; i++) {
        struct box *last = kept ? &m->boxes[kept - 1] : NULL;
        const struct box *b = &m->boxes[i];
        if (last && last->tensor && b->tensor && last->offset == b->offset &&
            last->bytes == b->bytes && b->first <= last->last) {
            last->last = b->last > last->last ? b->last : last->last;
            continue;
        }
        m->boxes[kept++] = *b;
    }
    m->count = kept;
}

static void find_boxes(struct map *m)
{
    const struct plan *p = m->plan;
    struct box *of = arena_new_array(m->arena, struct box, p->tensor_count);
    const bool *forward = find_forward(m);
    m->boxes = arena_new_array(m->arena, struct box, p->tensor_count + p->step_count);
    for (uint32_t t = 0; t < p->tensor_count; t++)
        of[t].first = UINT32_MAX;
    for (uint32_t i = 0; i < p->step_count; i++) {
        const struct plan_step *s = &p->steps[i];
        for (uint32_t k = 0; k < s->in_count; k++)
            touch(of, s->in[k], i);
        for (uint32_t k = 0; k < s->out_count; k++) {
            touch(of, s->out[k], i);
            if (!of[s->out[k]].maker)
                of[s->out[k]].maker = s;
        }
        if (s->workspace)
            m->boxes[m->count++] = (struct box){.offset = s->workspace_offset,
                                                .bytes = s->workspace,
                                                .first = i,
                                                .last = i,
                                                .maker = s};
    }
    for (uint32_t i = 0; i < p->output_count; i++) /* read by the caller, after the last step */
        touch(of, p->outputs[i].tensor, p->step_count ? p->step_count - 1 : 0);
    for (uint32_t t = 1; t < p->tensor_count; t++) {
        const struct plan_tensor *tensor = &p->tensors[t];
        struct box *b = &of[t];
        if (tensor->memory != MEMORY_ARENA || b->first == UINT32_MAX)
            continue;
        b->offset = tensor->offset;
        b->bytes = tensor->bytes;
        b->tensor = tensor;
        b->backward = b->maker && !forward[b->maker - p->steps];
        b->name = b->backward ? NULL : name_ahead(p, t, b->first);
        m->boxes[m->count++] = *b;
    }
    merge(m);
}

/* --- groups ------------------------------------------------------------------------------- */

/* The block that a name is in: its path without the last component, cut to DEPTH components. */
static const char *block_of(struct map *m, const char *name, uint32_t depth)
{
    const char *end = name;
    for (uint32_t i = 0; i < depth; i++) {
        const char *dot = strchr(end == name ? name : end + 1, '.');
        if (!dot)
            break;
        end = dot;
    }
    return end == name ? "the program itself" : arena_strndup(m->arena, name, (size_t)(end - name));
}

static uint32_t find_group(const struct map *m, const char *name)
{
    uint32_t g = 0;
    while (g < m->group_count && strcmp(m->groups[g], name) != 0)
        g++;
    return g;
}

/* False when there are more groups than colours; then all later ones share the last colour. */
static bool find_groups(struct map *m, uint32_t depth)
{
    m->depth = depth;
    m->group_count = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        const char *name = m->boxes[i].name;
        m->scratch |= !m->boxes[i].tensor;
        m->gradients |= m->boxes[i].tensor && !name;
        if (!name)
            continue;
        const char *block = block_of(m, name, depth);
        if (find_group(m, block) < m->group_count)
            continue;
        if (m->group_count == GROUPS_MAX)
            return false;
        m->groups[m->group_count++] = block;
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *colour(struct map *m, const struct box *b)
{
    const char *name = b->name;
    if (!name)
        return b->tensor ? GRADIENT_COLOUR : SCRATCH_COLOUR;
    uint32_t g = find_group(m, block_of(m, name, m->depth));
    return colours[g < GROUPS_MAX ? g : GROUPS_MAX - 1];
}

/* --- drawing ------------------------------------------------------------------------------ */

static double x_of(const struct map *m, double step)
{
    return LEFT + WIDTH * step / (m->plan->step_count ? m->plan->step_count : 1);
}

static double y_of(const struct map *m, double address)
{
    return TOP + HEIGHT * (1 - address / (double)(m->plan->arena_bytes ? m->plan->arena_bytes : 1));
}

static void write_escaped(struct writer *w, const char *text)
{
    for (; *text; text++) {
        const char *as = *text == '<'   ? "&lt;"
                         : *text == '>' ? "&gt;"
                         : *text == '&' ? "&amp;"
                                        : NULL;
        if (as)
            write_text(w, "%s", as);
        else
            write_text(w, "%c", *text);
    }
}

static void draw_box(struct map *m, const struct box *b)
{
    struct writer *w = &m->w;
    const struct plan *p = m->plan;
    struct graph axes = {.axes = (struct axis *)p->axes, .axis_count = p->axis_count};
    double x = x_of(m, b->first), y = y_of(m, (double)(b->offset + b->bytes));
    write_text(w, "<rect x='%.2f' y='%.2f' width='%.2f' height='%.2f' fill='%s'><title>", x, y,
               x_of(m, b->last + 1.0) - x, y_of(m, (double)b->offset) - y, colour(m, b));
    write_escaped(w, b->name ? b->name : b->tensor ? "backward" : "scratch");
    if (b->tensor) {
        write_text(w, " ");
        write_escaped(w, type_print(m->arena, &axes, &b->tensor->type));
    }
    write_text(w, "\n%lld bytes at %lld, steps %u to %u", (long long)b->bytes, (long long)b->offset,
               b->first, b->last);
    if (b->maker) {
        write_text(w, "\nmade by %s", b->maker->op);
        if (b->maker->span.file) {
            write_text(w, " at ");
            write_escaped(w, diags_file_name(m->diags, b->maker->span.file));
            write_text(w, ":%u", b->maker->span.line);
        }
    }
    write_text(w, "</title></rect>\n");
}

/* 1, 2 or 5 times a power of ten, so that SPAN has about eight of it. */
static double nice_step(double span)
{
    double raw = span / 8, power = pow(10, floor(log10(raw > 0 ? raw : 1))), unit = raw / power;
    return power * (unit <= 1 ? 1 : unit <= 2 ? 2 : unit <= 5 ? 5 : 10);
}

static void draw_axes(struct map *m)
{
    struct writer *w = &m->w;
    const struct plan *p = m->plan;
    bool large = p->arena_bytes >= 4 << 20;
    double unit = large ? 1 << 20 : 1 << 10, most = (double)p->arena_bytes / unit;
    double step = nice_step(most);
    for (double v = 0; most > 0 && v <= most; v += step)
        write_text(w,
                   "<path class='tick' d='M%d %.1fh%d'/><text x='%d' y='%.1f' "
                   "text-anchor='end'>%g</text>\n",
                   LEFT, y_of(m, v * unit), WIDTH, LEFT - 6, y_of(m, v * unit) + 4, v);
    step = fmax(1, nice_step(p->step_count));
    for (double v = 0; v <= p->step_count; v += step)
        write_text(w, "<text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n", x_of(m, v),
                   TOP + HEIGHT + 18, v);
    write_text(w, "<text x='%d' y='%d' text-anchor='middle'>step</text>\n", LEFT + WIDTH / 2,
               TOP + HEIGHT + 42);
    write_text(w,
               "<text transform='translate(24,%d) rotate(-90)' text-anchor='middle'>address in the "
               "arena (%s)</text>\n",
               TOP + HEIGHT / 2, large ? "MiB" : "KiB");
}

static void draw_peak(struct map *m)
{
    struct writer *w = &m->w;
    const struct certificate *c = &m->plan->certificate;
    write_text(w,
               "<path class='peak' d='M%d %.1fh%d'/><text class='peak-text' x='%d' y='%.1f' "
               "text-anchor='end'>peak %.2f MiB",
               LEFT, y_of(m, (double)c->peak_bytes), WIDTH, LEFT + WIDTH,
               y_of(m, (double)c->peak_bytes) - 5, (double)c->peak_bytes / (1 << 20));
    if (c->peak_bytes == c->bound_bytes)
        write_text(w, ", equal to the lower bound</text>\n");
    else
        write_text(w, ", lower bound %.2f MiB</text>\n<path class='bound' d='M%d %.1fh%d'/>\n",
                   (double)c->bound_bytes / (1 << 20), LEFT, y_of(m, (double)c->bound_bytes),
                   WIDTH);
}

static void draw_entry(struct map *m, uint32_t *row, const char *fill, const char *text)
{
    int y = TOP + 10 + 20 * (int)(*row)++;
    write_text(&m->w, "<rect x='%d' y='%d' width='12' height='12' fill='%s'/><text x='%d' y='%d'>",
               LEFT + WIDTH + 20, y, fill, LEFT + WIDTH + 38, y + 10);
    write_escaped(&m->w, text);
    write_text(&m->w, "</text>\n");
}

static void draw_legend(struct map *m)
{
    uint32_t row = 0;
    for (uint32_t g = 0; g < m->group_count; g++)
        draw_entry(m, &row, colours[g], m->groups[g]);
    if (m->gradients)
        draw_entry(m, &row, GRADIENT_COLOUR, "backward");
    if (m->scratch)
        draw_entry(m, &row, SCRATCH_COLOUR, "scratch of a step");
}

static void draw_title(struct map *m)
{
    const struct plan *p = m->plan;
    write_text(&m->w, "<text class='title' x='%d' y='26'>Memory of program ", LEFT);
    write_escaped(&m->w, p->program);
    for (uint32_t i = 1; i < p->axis_count; i++) {
        write_text(&m->w, ", ");
        write_escaped(&m->w, p->axes[i].name);
        write_text(&m->w, " %lld", (long long)p->axes[i].size);
    }
    write_text(&m->w, ": %u buffers over %u steps</text>\n", m->count, p->step_count);
}

char *plan_map(struct arena *arena, const struct diags *diags, const struct plan *plan)
{
    struct map m = {.arena = arena, .diags = diags, .plan = plan, .w = {.arena = arena}};
    find_boxes(&m);
    for (uint32_t depth = DEPTH_MAX; depth > 0 && !find_groups(&m, depth);)
        depth--;
    qsort(m.groups, m.group_count, sizeof *m.groups, by_name);
    write_text(&m.w,
               "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' "
               "height='%d'>\n<style>text{font:12px sans-serif}.title{font-size:16px}"
               "rect{stroke:#fff;stroke-width:.2}.tick{stroke:#ddd}"
               ".peak{stroke:#c00;stroke-width:1.5;stroke-dasharray:6 3}"
               ".bound{stroke:#c00;stroke-dasharray:1 3}.peak-text{fill:#c00}</style>\n"
               "<rect width='100%%' height='100%%' fill='#fff'/>\n",
               LEFT + WIDTH + LEGEND, TOP + HEIGHT + BOTTOM, LEFT + WIDTH + LEGEND,
               TOP + HEIGHT + BOTTOM);
    draw_title(&m);
    draw_axes(&m);
    for (uint32_t i = 0; i < m.count; i++)
        draw_box(&m, &m.boxes[i]);
    draw_peak(&m);
    draw_legend(&m);
    write_text(&m.w, "</svg>\n");
    return m.w.text;
}
