/* The state table: one row per name over all programs of a model. Called while programs are
 * elaborated, and by the passes that add gradients, moments and averages. */
#include "graph/base/check.h"
#include "graph/graph.h"

#include <string.h>

/* Rows are few thousand at most, and found by name only while compiling. */
uint32_t state_find(const struct state_table *table, const char *name)
{
    for (uint32_t i = 0; i < table->count; i++)
        if (strcmp(table->rows[i].name, name) == 0)
            return i;
    return UINT32_MAX;
}

bool state_declare(struct state_table *table, struct arena *arena, struct diags *diags,
                   const struct state_row *row, uint32_t *out)
{
    uint32_t at = state_find(table, row->name);
    if (at != UINT32_MAX) {
        const struct state_row *old = &table->rows[at];
        if (!type_equal(&old->type, &row->type)) {
            diag_error(diags, FAULT_CONFIG, row->span, "parameter `%s` is %s here and %s elsewhere",
                       row->name, type_print(arena, NULL, &row->type),
                       type_print(arena, NULL, &old->type));
            diag_trail(diags, old->span, "first used here");
            diag_hint(diags, "one name is one parameter: give one of them another name with `as:`");
            return false;
        }
        if (old->class != row->class) {
            diag_error(diags, FAULT_CONFIG, row->span,
                       "`%s` is a parameter here and something else elsewhere", row->name);
            diag_trail(diags, old->span, "first used here");
            diag_hint(diags, "give the parameter another name with `as:`");
            return false;
        }
        bool scaled = row->init == INIT_UNIFORM || row->init == INIT_NORMAL;
        if (old->init != row->init || (scaled && old->scale != row->scale)) {
            diag_error(diags, FAULT_CONFIG, row->span, "parameter `%s` is initialised in two ways",
                       row->name);
            diag_trail(diags, old->span, "first used here");
            return false;
        }
        *out = at;
        return true;
    }
    table->rows =
        arena_grow(arena, table->rows, table->count, &table->capacity, sizeof *table->rows);
    table->rows[table->count] = *row;
    table->rows[table->count].name = arena_strdup(arena, row->name);
    *out = table->count++;
    return true;
}
