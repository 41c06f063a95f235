/* Draws where the buffers of a plan lie and when. Called by `sedge plan --map`. */
#include "tools/plan_map.h"
#include "graph/writer.h"
#include "passes/compile.h"

#include <math.h>
#include <string.h>

enum {
    LEFT = 90,
    TOP = 60,
    WIDTH = 960,
    HEIGHT = 540,
    LEGEND = 230, /* right of the picture */
    BOTTOM = 60,
    COLOURS = 10,
    GROUPS_MAX = 40, /* rows of the legend, besides those of what is paler and of scratch */
    ROW = 20,        /* of the legend, where there is room */
    DEPTH_MAX = 6,
    DISTINCT = 500, /* buffers */
};

/* Paul Tol's muted colours and one more: they can be told apart by most eyes. */
static const char *const colours[COLOURS] = {"#332288", "#88ccee", "#44aa99", "#117733", "#999933",
                                             "#ddcc77", "#cc6677", "#882255", "#aa4499", "#6699cc"};
#define SCRATCH_COLOUR "#555555"

struct map {
    struct arena *arena;
    const struct diags *diags;
    const struct plan *plan;
    const bool *forward; /* per step: an output depends on it; the others serve gradients */
    uint32_t depth;      /* components of a path that tell blocks apart */
    const char *groups[GROUPS_MAX];
    uint32_t group_count;
    bool backward, scratch; /* there are such buffers */
    struct writer w;
};

/* --- what a buffer is for ----------------------------------------------------------------- */

struct range {
    int64_t offset, bytes;
};

static bool meets(const struct range *r, const struct plan_tensor *t)
{
    return t->memory == MEMORY_ARENA && r->offset < t->offset + t->bytes &&
           t->offset < r->offset + r->bytes;
}

/* Which steps an output other than the norm of the gradients depends on: from the last step to the
 * first, with the ranges of bytes that are still wanted. A step that writes a wanted range makes
 * what it reads wanted. */
static bool *find_forward(struct map *m)
{
    const struct plan *p = m->plan;
    bool *forward = arena_new_array(m->arena, bool, p->step_count + 1);
    struct range *wanted = NULL;
    uint32_t count = 0, capacity = 0;
    for (uint32_t i = 0; i < p->output_count; i++) {
        const struct plan_tensor *t = &p->tensors[p->outputs[i].tensor];
        wanted = arena_grow(m->arena, wanted, count, &capacity, sizeof *wanted);
        if (t->memory == MEMORY_ARENA && strcmp(p->outputs[i].name, OUTPUT_GRAD_NORM) != 0)
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

/* --- groups ------------------------------------------------------------------------------- */

/* The block in which a buffer was made: its path, cut to DEPTH components. */
static const char *block_of(const struct map *m, const struct plan_buffer *b, uint32_t depth)
{
    const char *path = m->plan->steps[b->first].block, *end = path;
    if (!path || !*path)
        return "the program itself";
    for (uint32_t i = 0; i < depth && end; i++)
        end = strchr(end + (end > path), '.');
    return end ? arena_strndup(m->arena, path, (size_t)(end - path)) : path;
}

static uint32_t find_group(const struct map *m, const char *name)
{
    uint32_t g = 0;
    while (g < m->group_count && strcmp(m->groups[g], name) != 0)
        g++;
    return g;
}

/* The blocks in the order in which they run. False when there are too many for the legend. */
static bool find_groups(struct map *m, uint32_t depth)
{
    m->depth = depth;
    m->group_count = 0;
    for (uint32_t i = 0; i < m->plan->buffer_count; i++) {
        const struct plan_buffer *b = &m->plan->buffers[i];
        m->scratch |= !b->tensor;
        m->backward |= b->tensor && !m->forward[b->first];
        const char *block = block_of(m, b, depth);
        if (!b->tensor || find_group(m, block) < m->group_count)
            continue;
        if (m->group_count == GROUPS_MAX)
            return false;
        m->groups[m->group_count++] = block;
    }
    return true;
}

/* A few blocks have colours of their own; many go through the hues, light and dark in turn, so that
 * neighbours differ. */
static const char *group_colour(struct map *m, uint32_t group)
{
    if (m->group_count <= COLOURS)
        return colours[group];
    return arena_printf(m->arena, "hsl(%u,50%%,%u%%)", 320 * group / m->group_count,
                        group % 2 ? 62 : 40);
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

static void draw_box(struct map *m, const struct plan_buffer *b)
{
    struct writer *w = &m->w;
    const struct plan_step *maker = &m->plan->steps[b->first];
    double x = x_of(m, b->first), y = y_of(m, (double)(b->offset + b->bytes));
    write_text(w, "<rect x='%.2f' y='%.2f' width='%.2f' height='%.2f' fill='%s'%s><title>", x, y,
               x_of(m, b->last + 1.0) - x, y_of(m, (double)b->offset) - y,
               b->tensor ? group_colour(m, find_group(m, block_of(m, b, m->depth)))
                         : SCRATCH_COLOUR,
               b->tensor && !m->forward[b->first] ? " fill-opacity='.5'" : "");
    write_escaped(w, plan_buffer_name(m->arena, m->plan, b));
    write_text(w, " ");
    write_escaped(w, plan_buffer_type(m->arena, m->plan, b));
    write_text(w, "\n%lld bytes at %lld, steps %u to %u\nmade by %s", (long long)b->bytes,
               (long long)b->offset, b->first, b->last, maker->op);
    if (maker->span.file) {
        write_text(w, " at ");
        write_escaped(w, diags_file_name(m->diags, maker->span.file));
        write_text(w, ":%u", maker->span.line);
    }
    if (maker->block && *maker->block) {
        write_text(w, "\nin ");
        write_escaped(w, maker->block);
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

/* How much, and when. */
static void draw_peak(struct map *m)
{
    struct writer *w = &m->w;
    const struct certificate *c = &m->plan->certificate;
    double y = y_of(m, (double)c->peak_bytes);
    write_text(w,
               "<path class='peak' d='M%d %.1fh%d'/><text class='peak-text' x='%d' y='%.1f' "
               "text-anchor='end'>peak %.2f MiB",
               LEFT, y, WIDTH, LEFT + WIDTH, y - 5, (double)c->peak_bytes / (1 << 20));
    if (m->plan->step_count) {
        write_text(w, " at step %u, ", c->peak_step);
        write_escaped(w, m->plan->steps[c->peak_step].op);
    }
    if (c->peak_bytes == c->bound_bytes)
        write_text(w, "; equal to the lower bound</text>\n");
    else
        write_text(w, "; lower bound %.2f MiB</text>\n<path class='bound' d='M%d %.1fh%d'/>\n",
                   (double)c->bound_bytes / (1 << 20), LEFT, y_of(m, (double)c->bound_bytes),
                   WIDTH);
    if (m->plan->step_count)
        write_text(w, "<path class='peak' d='M%.1f %dv%d'/>\n", x_of(m, c->peak_step + 0.5), TOP,
                   HEIGHT);
}

static void draw_entry(struct map *m, uint32_t row, uint32_t rows, const char *fill,
                       const char *more, const char *text)
{
    double pitch = fmin(ROW, (double)HEIGHT / rows), y = TOP + 4 + pitch * row;
    write_text(&m->w,
               "<rect x='%d' y='%.1f' width='12' height='%.1f' fill='%s'%s/>"
               "<text x='%d' y='%.1f'>",
               LEFT + WIDTH + 20, y, fmin(12, pitch - 1), fill, more, LEFT + WIDTH + 38, y + 10);
    write_escaped(&m->w, text);
    write_text(&m->w, "</text>\n");
}

static void draw_legend(struct map *m)
{
    uint32_t rows = m->group_count + m->backward + m->scratch, row = 0;
    while (row < m->group_count) {
        draw_entry(m, row, rows, group_colour(m, row), "", m->groups[row]);
        row++;
    }
    if (m->backward)
        draw_entry(m, row++, rows, group_colour(m, 0), " fill-opacity='.5'",
                   "paler: of the backward pass");
    if (m->scratch)
        draw_entry(m, row, rows, SCRATCH_COLOUR, "", "scratch of a step");
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
    write_text(&m->w, ": %u buffers over %u steps</text>\n", p->buffer_count, p->step_count);
}

char *plan_map(struct arena *arena, const struct diags *diags, const struct plan *plan)
{
    struct map m = {.arena = arena, .diags = diags, .plan = plan, .w = {.arena = arena}};
    m.forward = find_forward(&m);
    for (uint32_t depth = DEPTH_MAX; depth > 0 && !find_groups(&m, depth);)
        depth--;
    /* Lines between buffers, where there are not so many that nothing else would be left. */
    double line = plan->buffer_count <= DISTINCT ? 0.2 : 0;
    write_text(&m.w,
               "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' "
               "height='%d'>\n<style>text{font:12px sans-serif}.title{font-size:16px}"
               "rect{stroke:#fff;stroke-width:%g}.tick{stroke:#ddd}"
               ".peak{stroke:#c00;stroke-width:1.5;stroke-dasharray:6 3}"
               ".bound{stroke:#c00;stroke-dasharray:1 3}.peak-text{fill:#c00}</style>\n"
               "<rect width='100%%' height='100%%' fill='#fff'/>\n",
               LEFT + WIDTH + LEGEND, TOP + HEIGHT + BOTTOM, LEFT + WIDTH + LEGEND,
               TOP + HEIGHT + BOTTOM, line);
    draw_title(&m);
    draw_axes(&m);
    for (uint32_t i = 0; i < plan->buffer_count; i++)
        draw_box(&m, &plan->buffers[i]);
    draw_peak(&m);
    draw_legend(&m);
    write_text(&m.w, "</svg>\n");
    return m.w.text;
}
