/* Types: equality, sizes, printing. Called by everything that builds or checks a graph. */
#include "graph/base/check.h"
#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

bool type_same_shape(const struct type *a, const struct type *b)
{
    if (a->rank != b->rank)
        return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->dim[i].size != b->dim[i].size || a->dim[i].axis != b->dim[i].axis)
            return false;
    return true;
}

bool type_equal(const struct type *a, const struct type *b)
{
    return a->dtype == b->dtype && a->process == b->process && type_same_shape(a, b);
}

int64_t type_count(const struct type *type)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < type->rank; i++)
        BUG_ON(!size_mul(n, type->dim[i].size, &n));
    return n;
}

int64_t type_bytes(const struct type *type)
{
    int64_t bytes;
    BUG_ON(!size_mul(type_count(type), (int64_t)dtype_size(type->dtype), &bytes));
    return bytes;
}

struct type type_scalar(enum dtype dtype)
{
    return (struct type){.dtype = dtype};
}

char *type_print(struct arena *arena, const struct graph *graph, const struct type *type)
{
    bool several =
        graph && graph->process_count > 1 && type->process && type->process <= graph->process_count;
    char *text =
        arena_printf(arena, "%s %s%s[", dtype_name(type->dtype),
                     several ? graph->processes[type->process - 1].name : "", several ? " " : "");
    for (uint32_t i = 0; i < type->rank; i++) {
        const char *sep = i ? ", " : "";
        const struct dim *d = &type->dim[i];
        if (d->axis && graph && d->axis < graph->axis_count)
            text = arena_printf(arena, "%s%s%s", text, sep, graph->axes[d->axis].name);
        else
            text = arena_printf(arena, "%s%s%lld", text, sep, (long long)d->size);
    }
    return arena_printf(arena, "%s]", text);
}
