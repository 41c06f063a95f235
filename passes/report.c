/* The report of a plan as text: what it needs, what was tried, what is largest. Called by the
 * `plan` command; the dump of steps by `plan --dump after:lower`. */
#include "graph/base/check.h"
#include "graph/writer.h"
#include "passes/compile.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST 12

static char *human(struct arena *a, int64_t bytes)
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
    char *text = arena_printf(a, "  arena        %12s   %s\n", human(a, c->peak_bytes),
                              c->peak_bytes == c->bound_bytes
                                  ? "equal to the max-live lower bound"
                                  : arena_printf(a, "lower bound %s, missed by %.2f%%",
                                                 human(a, c->bound_bytes),
                                                 100.0 * (double)(c->peak_bytes - c->bound_bytes) /
                                                     (double)c->bound_bytes));
    for (int i = 0; i < 6; i++)
        if (c->state_bytes[i])
            text =
                arena_printf(a, "%s  %-12s %12s\n", text, classes[i], human(a, c->state_bytes[i]));
    text = arena_printf(a, "%s  %-12s %12s\n", text, "inputs", human(a, c->input_bytes));
    if (c->const_bytes)
        text = arena_printf(a, "%s  %-12s %12s\n", text, "literals", human(a, c->const_bytes));
    return text;
}

static int by_bytes(const void *a, const void *b)
{
    const struct plan_tensor *x = *(const struct plan_tensor *const *)a,
                             *y = *(const struct plan_tensor *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* What has no name, a nested call or a gradient, is called after the op that makes it. */
static const char *label(struct arena *a, const struct plan *p, const struct plan_tensor *t)
{
    if (t->name)
        return t->name;
    for (uint32_t i = 0; i < p->step_count; i++)
        for (uint32_t k = 0; k < p->steps[i].out_count; k++)
            if (&p->tensors[p->steps[i].out[k]] == t)
                return arena_printf(a, "(%s)", p->steps[i].op);
    return "(a view)";
}

static char *print_largest(struct arena *a, const struct diags *d, const struct plan *p)
{
    const struct plan_tensor **list =
        arena_new_array(a, const struct plan_tensor *, p->tensor_count);
    uint32_t n = 0;
    for (uint32_t i = 1; i < p->tensor_count; i++)
        if (p->tensors[i].memory == MEMORY_ARENA)
            list[n++] = &p->tensors[i];
    qsort(list, n, sizeof *list, by_bytes);
    char *text = arena_printf(a, "largest values in the arena\n");
    for (uint32_t i = 0; i < n && i < LARGEST; i++) {
        struct graph axes = {.axes = (struct axis *)p->axes, .axis_count = p->axis_count};
        text = arena_printf(a, "%s  %12s  %-26s %-28s %s\n", text, human(a, list[i]->bytes),
                            label(a, p, list[i]), type_print(a, &axes, &list[i]->type),
                            where(a, d, list[i]->span));
    }
    return text;
}

char *plan_report(struct arena *arena, const struct diags *diags, const struct plan *plan)
{
    const struct certificate *c = &plan->certificate;
    char *text = arena_printf(arena, "program %s (%s): %u steps, %.3f GFLOP, %.1f MiB moved\n",
                              plan->program, print_axes(arena, plan), plan->step_count,
                              c->flop / 1e9, c->bytes / (1024 * 1024));
    text = arena_printf(arena, "%smemory\n%s", text, print_memory(arena, plan));
    text = arena_printf(arena, "%sorders tried (bytes that must live at once)\n", text);
    for (uint32_t i = 0; i < c->candidate_count; i++)
        text = arena_printf(arena, "%s  %c %-16s %12s\n", text, c->candidates[i].chosen ? '*' : ' ',
                            c->candidates[i].name, human(arena, c->candidates[i].bound));
    text = arena_printf(arena, "%splaced %s; %s\n", text, c->placement,
                        c->checked ? "checked: each read sees the value the graph names"
                                   : "NOT checked");
    return arena_printf(arena, "%s%s", text, print_largest(arena, diags, plan));
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
