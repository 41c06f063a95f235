/* The report of a plan as text: what it needs, what was tried, what is largest. Called by the
 * `plan` command; the dump of steps by `plan --dump after:lower`. */
#include "graph/base/check.h"
#include "graph/writer.h"
#include "passes/compile.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST 12

char *plan_size(struct arena *a, int64_t bytes)
{
    if (bytes < 10 * 1024)
        return arena_printf(a, "%lld B", (long long)bytes);
    if (bytes < 10 * 1024 * 1024)
        return arena_printf(a, "%.1f KiB", (double)bytes / 1024);
    return arena_printf(a, "%.1f MiB", (double)bytes / (1024 * 1024));
}

static char *where(struct arena *a, const struct diags *d, struct span span)
{
    if (!span.file)
        return arena_strdup(a, "");
    return arena_printf(a, "%s:%u", diags_file_name(d, span.file), span.line);
}

static char *print_axes(struct arena *a, const struct plan *p)
{
    char *text = arena_strdup(a, "");
    for (uint32_t i = 1; i < p->axis_count; i++)
        text = arena_printf(a, "%s%s%s <= %lld", text, i > 1 ? ", " : "", p->axes[i].name,
                            (long long)p->axes[i].size);
    return text;
}

static char *print_memory(struct arena *a, const struct plan *p)
{
    const struct certificate *c = &p->certificate;
    static const char *const classes[] = {"parameters", "moments",   "averages",
                                          "gradients",  "constants", "cursors"};
    char *text = arena_printf(a, "  arena        %12s   %s\n", plan_size(a, c->peak_bytes),
                              c->peak_bytes == c->bound_bytes
                                  ? "equal to the max-live lower bound"
                                  : arena_printf(a, "lower bound %s, missed by %.2f%%",
                                                 plan_size(a, c->bound_bytes),
                                                 100.0 * (double)(c->peak_bytes - c->bound_bytes) /
                                                     (double)c->bound_bytes));
    for (int i = 0; i < 6; i++)
        if (c->state_bytes[i])
            text = arena_printf(a, "%s  %-12s %12s\n", text, classes[i],
                                plan_size(a, c->state_bytes[i]));
    text = arena_printf(a, "%s  %-12s %12s\n", text, "inputs", plan_size(a, c->input_bytes));
    if (c->const_bytes)
        text = arena_printf(a, "%s  %-12s %12s\n", text, "literals", plan_size(a, c->const_bytes));
    return text;
}

static int by_bytes(const void *a, const void *b)
{
    const struct plan_buffer *x = *(const struct plan_buffer *const *)a,
                             *y = *(const struct plan_buffer *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

char *plan_buffer_name(struct arena *a, const struct plan *p, const struct plan_buffer *b)
{
    const char *op = p->steps[b->first].op;
    if (!b->tensor)
        return arena_printf(a, "scratch of %s", op);
    const char *name = p->tensors[b->tensor].name;
    return name ? arena_strdup(a, name) : arena_printf(a, "(%s)", op);
}

char *plan_buffer_type(struct arena *a, const struct plan *p, const struct plan_buffer *b)
{
    struct graph axes = {.axes = (struct axis *)p->axes, .axis_count = p->axis_count};
    return b->tensor ? type_print(a, &axes, &p->tensors[b->tensor].type) : arena_strdup(a, "");
}

static char *print_buffers(struct arena *a, const struct diags *d, const struct plan *p, bool all)
{
    const struct plan_buffer **list =
        arena_new_array(a, const struct plan_buffer *, p->buffer_count + 1);
    uint32_t shown = all || p->buffer_count < LARGEST ? p->buffer_count : LARGEST;
    struct writer w = {.arena = a};
    for (uint32_t i = 0; i < p->buffer_count; i++)
        list[i] = &p->buffers[i];
    qsort(list, p->buffer_count, sizeof *list, by_bytes);
    write_text(&w, "buffers of the arena, the largest %u of %u; steps, + at the peak\n", shown,
               p->buffer_count);
    for (uint32_t i = 0; i < shown; i++) {
        const struct plan_buffer *b = list[i];
        bool peak = b->first <= p->certificate.peak_step && p->certificate.peak_step <= b->last;
        write_text(&w, "  %12s %c %-11s  %-26s %-28s %s\n", plan_size(a, b->bytes),
                   peak ? '+' : ' ', arena_printf(a, "%u to %u", b->first, b->last),
                   plan_buffer_name(a, p, b), plan_buffer_type(a, p, b),
                   where(a, d, p->steps[b->first].span));
    }
    return w.text;
}

/* The moment that decides how much memory is needed. */
static char *print_peak(struct arena *a, const struct diags *d, const struct plan *p)
{
    if (!p->step_count)
        return arena_strdup(a, "");
    const struct plan_step *s = &p->steps[p->certificate.peak_step];
    return arena_printf(a, "  peak at step %u, %s%s%s %s\n", p->certificate.peak_step, s->op,
                        s->name ? " " : "", s->name ? s->name : "", where(a, d, s->span));
}

void plan_sum(struct plan *const *plans, uint32_t count, struct plan_total *out)
{
    const struct state_table *rows = plans[0]->states;
    *out = (struct plan_total){0};
    for (uint32_t r = 0; r < rows->count; r++) {
        bool used = false;
        for (uint32_t i = 0; i < count; i++)
            used |= r < plans[i]->row_count && plans[i]->reads[r];
        if (used)
            out->state[rows->rows[r].class] += type_bytes(&rows->rows[r].type);
    }
    for (uint32_t i = 0; i < count; i++) {
        out->arena = plans[i]->arena_bytes > out->arena ? plans[i]->arena_bytes : out->arena;
        out->inputs += plans[i]->certificate.input_bytes;
        out->literals += plans[i]->const_bytes;
    }
    out->all = out->arena + out->inputs + out->literals;
    for (int i = 0; i < 6; i++)
        out->all += out->state[i];
}

char *plan_report(struct arena *arena, const struct diags *diags, const struct plan *plan, bool all)
{
    const struct certificate *c = &plan->certificate;
    char *text = arena_printf(arena, "program %s (%s): %u steps, %.3f GFLOP, %.1f MiB moved\n",
                              plan->program, print_axes(arena, plan), plan->step_count,
                              c->flop / 1e9, c->bytes / (1024 * 1024));
    text = arena_printf(arena, "%smemory\n%s%s", text, print_memory(arena, plan),
                        print_peak(arena, diags, plan));
    text = arena_printf(arena, "%sorders tried (bytes that must live at once)\n", text);
    for (uint32_t i = 0; i < c->candidate_count; i++)
        text = arena_printf(arena, "%s  %c %-16s %12s\n", text, c->candidates[i].chosen ? '*' : ' ',
                            c->candidates[i].name, plan_size(arena, c->candidates[i].bound));
    if (c->again_flop > 0)
        text = arena_printf(arena, "%scomputed twice, as memory is short: %.3f GFLOP\n", text,
                            c->again_flop / 1e9);
    text = arena_printf(arena, "%splaced %s; %s\n", text, c->placement,
                        c->checked ? "checked: each read sees the value the graph names"
                                   : "NOT checked");
    return arena_printf(arena, "%s%s", text, print_buffers(arena, diags, plan, all));
}

/* --- steps -------------------------------------------------------------------------------- */

static char *print_place(struct arena *a, const struct plan *p, uint32_t tensor)
{
    const struct plan_tensor *t = &p->tensors[tensor];
    switch (t->memory) {
    case MEMORY_ARENA:
        return arena_printf(a, "a%lld", (long long)t->offset);
    case MEMORY_CONST:
        return arena_printf(a, "c%lld", (long long)t->offset);
    case MEMORY_STATE:
        return arena_printf(a, "%s", p->states->rows[t->index].name);
    case MEMORY_INPUT:
        return arena_printf(a, "<%s>", p->inputs[t->index].name);
    case MEMORY_NONE:
        break;
    }
    return arena_strdup(a, "_");
}

char *plan_print(struct arena *arena, const struct plan *plan)
{
    struct writer w = {.arena = arena};
    write_text(&w, "plan %s arena %lld\n", plan->program, (long long)plan->arena_bytes);
    struct graph axes = {.axes = (struct axis *)plan->axes, .axis_count = plan->axis_count};
    for (uint32_t i = 0; i < plan->step_count; i++) {
        const struct plan_step *s = &plan->steps[i];
        write_text(&w, "%4u %s", i, s->op);
        for (uint32_t k = 0; k < s->in_count; k++)
            write_text(&w, " %s", print_place(arena, plan, s->in[k]));
        write_text(&w, " ->");
        for (uint32_t k = 0; k < s->out_count; k++)
            write_text(&w, " %s: %s", print_place(arena, plan, s->out[k]),
                       type_print(arena, &axes, &plan->tensors[s->out[k]].type));
        if (s->workspace)
            write_text(&w, " scratch a%lld+%lld", (long long)s->workspace_offset,
                       (long long)s->workspace);
        write_text(&w, "%s%s\n", s->name ? "   # " : "", s->name ? s->name : "");
    }
    return w.text;
}
