/* What rates and bases are read from: numbers, states by name, files. Used by process_rate.c and
 * process_base.c. */
#include "graph/process_source.h"
#include "graph/base/csv.h"

#include <string.h>

bool source_fail(const struct rate_source *s, struct span span, const char *message)
{
    diag_error(s->diags, FAULT_CONFIG, span, "%s", message);
    return false;
}

bool source_real(const struct rate_source *s, const struct yaml *node, double *out)
{
    struct number n;
    if (s->model && node->kind == YAML_SCALAR) {
        if (!model_number(s->model, node, &n))
            return false;
        *out = number_real(n);
        return true;
    }
    return (node->kind == YAML_SCALAR && yaml_real(node, out)) ||
           source_fail(s, node->span, "this must be a number");
}

bool source_flag(const struct rate_source *s, const struct yaml *map, const char *key, bool *out)
{
    const struct yaml *node = yaml_get(map, key);
    return !node || yaml_bool(node, out) ||
           source_fail(s, node->span, "this must be `true` or `false`");
}

bool source_reals(const struct rate_source *s, const struct yaml *list, double *out)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (!source_real(s, list->items[i], &out[i]))
            return false;
    return true;
}

char *source_path(const struct rate_source *s, const struct yaml *name)
{
    const char *from = diags_file_name(s->diags, name->span.file), *slash = strrchr(from, '/');
    if (name->text[0] == '/' || !slash)
        return arena_strdup(s->arena, name->text);
    return arena_printf(s->arena, "%.*s/%s", (int)(slash - from), from, name->text);
}

bool source_ends(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

const char *source_state(const struct rate_source *s, int32_t x)
{
    if (x >= s->tokens)
        return "the mask";
    return arena_printf(s->arena, s->symbols ? "`%s`" : "%s",
                        s->symbols ? s->symbols[x] : arena_printf(s->arena, "%d", (int)x));
}

int32_t source_symbol(const struct rate_source *s, const char *name)
{
    for (int32_t i = 0; s->symbols && i < s->tokens; i++)
        if (strcmp(s->symbols[i], name) == 0)
            return i;
    return -1;
}

/* --- CSV ---------------------------------------------------------------------------------- */

bool source_header(const struct rate_source *s, const char *const *names, int64_t count,
                   struct span span, int32_t *state)
{
    bool *taken = arena_new_array(s->arena, bool, (size_t)s->tokens);
    for (int64_t i = 0; i < count; i++) {
        if (i == s->tokens) {
            state[i] = s->tokens;
            continue;
        }
        state[i] = source_symbol(s, names[i]);
        if (state[i] >= 0 && !taken[state[i]]) {
            taken[state[i]] = true;
            continue;
        }
        diag_error(s->diags, FAULT_CONFIG, span,
                   state[i] < 0 ? "the header names `%s`, which is no symbol of the data"
                                : "the header names `%s` twice",
                   names[i]);
        for (int32_t x = 0; x < s->tokens; x++)
            if (state[i] < 0 && !taken[x]) {
                diag_hint(s->diags, "each symbol has a column: %s is without one so far",
                          source_state(s, x));
                break;
            }
        return false;
    }
    return true;
}

/* One number a state, in the order of the states: a row below names, or in any shape without. A
 * title above a column says nothing. */
bool source_numbers(const struct rate_source *s, const struct yaml *name, double **out,
                    int64_t *count)
{
    struct csv *csv = csv_read_file(s->diags, s->arena, source_path(s, name), 1 << 24, name->span);
    if (!csv)
        return false;
    bool digits =
        !csv->header && csv->rows == 2 && csv->columns >= s->tokens; /* names 0, 1, 2, … */
    int32_t rows = csv->rows - digits;
    *out = csv->values + (digits ? csv->columns : 0);
    *count = (int64_t)rows * csv->columns;
    if (!(csv->header || digits) || csv->columns == 1 || !s->symbols)
        return true;
    if (rows != 1 || csv->columns < s->tokens || csv->columns > s->tokens + 1) {
        diag_error(s->diags, FAULT_CONFIG, name->span,
                   "below the names of %d states there must be one row of numbers, not %d",
                   (int)s->tokens, (int)rows);
        return false;
    }
    double *given = *out;
    int32_t *state = arena_new_array(s->arena, int32_t, (size_t)csv->columns);
    if (!source_header(s, csv->first, csv->columns, name->span, state))
        return false;
    *out = arena_new_array(s->arena, double, (size_t)csv->columns);
    for (int32_t i = 0; i < csv->columns; i++)
        (*out)[state[i]] = given[i];
    return true;
}
