/* Reads the contract of an op: counts, defaults, errors. Called by the graph builder, the
 * elaborator and the text reader. */
#include "graph/op.h"
#include "graph/base/check.h"

#include <stdlib.h>
#include <string.h>

const struct op *op_find(const struct op_table *table, const char *name)
{
    for (uint32_t i = 0; i < table->count; i++)
        if (strcmp(table->ops[i]->name, name) == 0)
            return table->ops[i];
    return NULL;
}

uint32_t op_attr_count(const struct op *op)
{
    uint32_t n = 0;
    if (op->attrs)
        while (op->attrs[n].name)
            n++;
    return n;
}

uint32_t op_input_count(const struct op *op)
{
    uint32_t n = 0;
    if (op->inputs)
        while (op->inputs[n].name)
            n++;
    return n;
}

static void default_value(const struct op_attr *spec, union attr *out)
{
    const char *text = spec->value;
    switch (spec->kind) {
    case ATTR_INT:
        out->integer = strtoll(text, NULL, 10);
        break;
    case ATTR_REAL:
        out->real = strtod(text, NULL);
        break;
    case ATTR_BOOL:
        out->flag = strcmp(text, "true") == 0;
        break;
    case ATTR_TEXT:
        out->text = text;
        break;
    case ATTR_CHOICE:
        out->integer = -1;
        for (int i = 0; spec->choices[i]; i++)
            if (strcmp(spec->choices[i], text) == 0)
                out->integer = i;
        BUG_ON(out->integer < 0);
        break;
    case ATTR_DIMS:
        out->dims.count = 0;
        out->dims.items = NULL;
        break;
    }
}

bool op_defaults(struct arena *arena, const struct op *op, union attr *out)
{
    (void)arena;
    bool complete = true;
    for (uint32_t i = 0; i < op_attr_count(op); i++) {
        if (op->attrs[i].value)
            default_value(&op->attrs[i], &out[i]);
        else
            complete = false;
    }
    return complete;
}

#define TRAIL_MAX 8

void origin_trail(struct diags *diags, const struct origin *caller)
{
    for (int i = 0; caller && i < TRAIL_MAX; i++, caller = caller->caller)
        diag_trail(diags, caller->span, "called from here");
}

bool op_error(const struct op_call *call, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct graph *g = call->graph;
    char *text = arena_vprintf(g->arena, format, args);
    va_end(args);
    const struct origin *o = call->origin;
    diag_error(g->diags, FAULT_CONFIG, o ? o->span : (struct span){0}, "`%s`: %s", call->op->name,
               text);
    origin_trail(g->diags, o ? o->caller : NULL);
    return false;
}
