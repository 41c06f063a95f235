/* The rate matrix of a process. Called by the readers of `process:` and of the text form. */
#include "graph/base/csv.h"
#include "graph/base/rates.h"
#include "graph/base/safetensors.h"
#include "graph/process_source.h"

#include <math.h>
#include <string.h>

/* --- mixtures and bands ------------------------------------------------------------------- */

static bool read_mix(const struct rate_source *s, const struct yaml *mix, struct chain *out)
{
    static const char *const keys[] = {"absorb", "uniform", "mask_leaves", NULL};
    double part[2];
    bool leaves;
    if (!yaml_expect(s->diags, mix, YAML_MAP, "mix") || !yaml_closed(s->diags, mix, keys, "mix"))
        return false;
    for (int i = 0; i < 2; i++) {
        const struct yaml *node = yaml_get(mix, keys[i]);
        if (!node) {
            diag_error(s->diags, FAULT_CONFIG, mix->span, "mix needs `%s:`, a rate", keys[i]);
            return false;
        }
        if (!source_real(s, node, &part[i]))
            return false;
        if (!(part[i] >= 1e-6 && part[i] <= 1e6)) {
            diag_error(s->diags, FAULT_CONFIG, node->span, "`%s` must lie between 1e-6 and 1e6",
                       keys[i]);
            diag_hint(s->diags, "a chain without the other part is `rate: absorb` or `uniform`");
            return false;
        }
    }
    if (!yaml_get(mix, keys[2])) {
        source_fail(s, mix->span, "mix must say whether a mask may leave by the uniform part");
        diag_hint(s->diags, "add `mask_leaves: true` or `mask_leaves: false`");
        return false;
    }
    if (!source_flag(s, mix, keys[2], &leaves))
        return false;
    *out = chain_mix(s->tokens, part[0], part[1], leaves ? part[1] : 0);
    return true;
}

static bool check_table(const struct rate_source *s, int64_t states, struct span span)
{
    if (states <= CHAIN_TABLE_STATES)
        return true;
    diag_error(s->diags, FAULT_CONFIG, span,
               "%lld states are too many for a table of rates: at most %d", (long long)states,
               CHAIN_TABLE_STATES);
    return false;
}

static bool read_band(const struct rate_source *s, const struct yaml *band, struct chain *out)
{
    static const char *const keys[] = {"width", "ring", NULL};
    double width = 1;
    bool ring = false;
    if (!yaml_expect(s->diags, band, YAML_MAP, "band") ||
        !yaml_closed(s->diags, band, keys, "band") || !check_table(s, s->tokens, band->span))
        return false;
    const struct yaml *node = yaml_get(band, "width");
    if (node && !source_real(s, node, &width))
        return false;
    if (node && (width != floor(width) || width < 1 || width >= s->tokens)) {
        diag_error(s->diags, FAULT_CONFIG, node->span,
                   "`width` is a whole number from 1 to %d, the states less one",
                   (int)s->tokens - 1);
        return false;
    }
    if (!source_flag(s, band, "ring", &ring))
        return false;
    *out = chain_table(s->tokens, rates_band(s->arena, s->tokens, (int32_t)width, ring));
    return true;
}

/* --- groups ------------------------------------------------------------------------------- */

static bool read_member(const struct rate_source *s, const struct yaml *node, int32_t *out)
{
    int64_t id;
    if (node->kind == YAML_SCALAR) {
        *out = source_symbol(s, node->text);
        if (*out >= 0)
            return true;
        if (yaml_int(node, &id) && !node->quoted && id >= 0 && id < s->tokens) {
            *out = (int32_t)id;
            return true;
        }
    }
    diag_error(s->diags, FAULT_CONFIG, node->span,
               s->symbols
                   ? "this is no symbol of the data, and no id below %d"
                   : "this is no id below %d, and the symbols of the data are not known here",
               (int)s->tokens);
    return false;
}

/* [[a, b], [c]]: each state in one group. */
static bool read_group_lists(const struct rate_source *s, const struct yaml *list, int32_t *group)
{
    for (int32_t x = 0; x < s->tokens; x++)
        group[x] = -1;
    for (uint32_t g = 0; g < list->count; g++) {
        const struct yaml *members = list->items[g];
        if (!yaml_expect(s->diags, members, YAML_LIST, "a group"))
            return false;
        for (uint32_t i = 0; i < members->count; i++) {
            int32_t x;
            if (!read_member(s, members->items[i], &x))
                return false;
            if (group[x] >= 0)
                return source_fail(s, members->items[i]->span, "this state is in a group already");
            group[x] = (int32_t)g;
        }
    }
    for (int32_t x = 0; x < s->tokens; x++) {
        if (group[x] >= 0)
            continue;
        diag_error(s->diags, FAULT_CONFIG, list->span, "state %s is in no group",
                   source_state(s, x));
        return false;
    }
    return true;
}

/* Numbers of groups, one a state, as 0 .. in order of their first state. */
static bool number_groups(const struct rate_source *s, const double *v, int64_t count,
                          struct span span, int32_t *group)
{
    int32_t groups = 0;
    if (count != s->tokens) {
        diag_error(s->diags, FAULT_CONFIG, span, "%lld groups for %d states", (long long)count,
                   (int)s->tokens);
        diag_hint(s->diags,
                  "give the number of each state's group, or lists of the states in each");
        return false;
    }
    for (int32_t x = 0; x < s->tokens; x++) {
        int32_t same = 0;
        while (same < x && v[same] != v[x])
            same++;
        group[x] = same < x ? group[same] : groups++;
    }
    return true;
}

static bool read_groups(const struct rate_source *s, const struct yaml *groups, struct chain *out)
{
    if (!check_table(s, s->tokens, groups->span))
        return false;
    int32_t *group = arena_new_array(s->arena, int32_t, (size_t)s->tokens);
    bool good;
    if (groups->kind == YAML_LIST && groups->count && groups->items[0]->kind == YAML_LIST) {
        good = read_group_lists(s, groups, group);
    } else if (groups->kind == YAML_LIST) {
        double *v = arena_new_array(s->arena, double, groups->count);
        good =
            source_reals(s, groups, v) && number_groups(s, v, groups->count, groups->span, group);
    } else if (groups->kind == YAML_SCALAR && source_ends(groups->text, ".csv")) {
        double *v;
        int64_t count;
        good = source_numbers(s, groups, &v, &count) &&
               number_groups(s, v, count, groups->span, group);
    } else {
        good = source_fail(s, groups->span, "groups is a list or a .csv file");
    }
    if (!good)
        return false;
    *out = chain_table(s->tokens, rates_groups(s->arena, s->tokens, group));
    if (out->rates->count)
        return true;
    diag_error(s->diags, FAULT_CONFIG, groups->span,
               "no group has two states: no token would ever move");
    return false;
}

/* --- matrices ----------------------------------------------------------------------------- */

/* A square matrix as it stands in the file. */
struct matrix {
    int64_t rows, columns;
    double *q;
    const char **names; /* or NULL */
};

static bool read_inline(const struct rate_source *s, const struct yaml *list, struct matrix *m)
{
    m->rows = list->count;
    for (uint32_t y = 0; y < list->count; y++) {
        const struct yaml *row = list->items[y];
        if (!yaml_expect(s->diags, row, YAML_LIST, "a row of the matrix"))
            return false;
        if (y == 0) {
            m->columns = row->count;
            m->q = arena_new_array(s->arena, double, (size_t)row->count * list->count);
        }
        if (row->count != m->columns) {
            diag_error(s->diags, FAULT_CONFIG, row->span, "this row has %u numbers, the first %lld",
                       row->count, (long long)m->columns);
            return false;
        }
        if (!source_reals(s, row, m->q + (int64_t)y * m->columns))
            return false;
    }
    return true;
}

static bool read_csv(const struct rate_source *s, const struct yaml *name, struct matrix *m)
{
    struct csv *csv =
        csv_read_file(s->diags, s->arena, source_path(s, name), CHAIN_TABLE_STATES, name->span);
    if (!csv)
        return false;
    *m = (struct matrix){csv->rows, csv->columns, csv->values, csv->header ? csv->first : NULL};
    if (!csv->header && csv->rows == csv->columns + 1) { /* states that are called 0, 1, 2, … */
        m->names = csv->first;
        m->q += m->columns;
        m->rows--;
    }
    return true;
}

static bool read_tensor(const struct rate_source *s, const struct yaml *name, struct matrix *m)
{
    struct tensor_file *file = tensor_file_open(s->diags, s->arena, source_path(s, name));
    if (!file)
        return false;
    const struct tensor *t = file->count ? &file->entries[0].tensor : NULL;
    bool good = file->count == 1 && t->rank == 2 && t->dim[0] <= CHAIN_TABLE_STATES &&
                t->dim[1] <= CHAIN_TABLE_STATES && (t->dtype == DT_F32 || t->dtype == DT_F64);
    if (good) {
        int64_t count = tensor_size(t);
        *m = (struct matrix){t->dim[0], t->dim[1], arena_new_array(s->arena, double, (size_t)count),
                             NULL};
        for (int64_t i = 0; i < count; i++)
            m->q[i] = t->dtype == DT_F64 ? ((const double *)t->data)[i]
                                         : (double)((const float *)t->data)[i];
    }
    tensor_file_close(file);
    return good || source_fail(s, name->span,
                               "the file must hold one matrix, f32 or f64, of at most 4096 states");
}

static bool check_shape(const struct rate_source *s, const struct matrix *m, struct span span)
{
    if (m->rows != m->columns) {
        diag_error(s->diags, FAULT_CONFIG, span,
                   "the matrix is not square: %lld rows, %lld columns", (long long)m->rows,
                   (long long)m->columns);
        return false;
    }
    if (m->rows == s->tokens || m->rows == (int64_t)s->tokens + 1)
        return true;
    diag_error(s->diags, FAULT_CONFIG, span,
               "the matrix has %lld states, but there are %d tokens (`vocab`)", (long long)m->rows,
               (int)s->tokens);
    diag_hint(s->diags, "a state each, or one more, the mask, as the last");
    return false;
}

static bool order_states(const struct rate_source *s, struct matrix *m, struct span span)
{
    size_t n = (size_t)m->rows;
    if (!m->names || !s->symbols)
        return true;
    int32_t *state = arena_new_array(s->arena, int32_t, n);
    if (!source_header(s, m->names, m->rows, span, state))
        return false;
    double *q = arena_new_array(s->arena, double, n *n);
    const char **names = arena_new_array(s->arena, const char *, n);
    for (size_t i = 0; i < n; i++) {
        names[state[i]] = m->names[i];
        for (size_t k = 0; k < n; k++)
            q[(size_t)state[i] * n + (size_t)state[k]] = m->q[i * n + k];
    }
    m->q = q;
    m->names = names;
    return true;
}

static bool read_matrix(const struct rate_source *s, const struct yaml *rate, struct chain *out)
{
    const struct yaml *from = yaml_get(rate, "matrix");
    struct matrix m = {0};
    bool rows = false, good;
    if (!source_flag(s, rate, "rows", &rows) || !check_table(s, s->tokens, from->span))
        return false;
    if (from->kind == YAML_LIST)
        good = read_inline(s, from, &m);
    else if (from->kind == YAML_SCALAR && source_ends(from->text, ".csv"))
        good = read_csv(s, from, &m);
    else if (from->kind == YAML_SCALAR && source_ends(from->text, ".safetensors"))
        good = read_tensor(s, from, &m);
    else
        good =
            source_fail(s, from->span, "matrix is a list of rows, or a .csv or .safetensors file");
    if (!good || !check_shape(s, &m, from->span) || !check_table(s, m.rows, from->span) ||
        !order_states(s, &m, from->span))
        return false;
    const char *text =
        from->kind == YAML_LIST
            ? arena_printf(s->arena, "{matrix: %s%s}", yaml_print(s->arena, from),
                           rows ? ", rows: true" : "")
            : arena_printf(s->arena, "{matrix: %s%s}", from->text, rows ? ", rows: true" : "");
    const struct rates *r = (rows ? rates_dense_rows : rates_dense)(
        s->diags, s->arena, m.q, (int32_t)m.rows, (const char *const *)m.names, text, from->span);
    if (r)
        *out = chain_table(s->tokens, r);
    return r != NULL;
}

/* --- the rate ----------------------------------------------------------------------------- */

static bool no_rate(const struct rate_source *s, const struct yaml *rate)
{
    source_fail(s, rate->span, "this is no rate matrix");
    diag_hint(s->diags, "write `absorb`, `uniform`, `{mix: …}`, `{band: …}`, `{groups: …}` or "
                        "`{matrix: …}`: sedge explain process.rate");
    return false;
}

static bool read_map(const struct rate_source *s, const struct yaml *rate, struct chain *out)
{
    const char *key = rate->count ? rate->keys[0]->text : "";
    if (yaml_get(rate, "matrix")) {
        static const char *const keys[] = {"matrix", "rows", NULL};
        return yaml_closed(s->diags, rate, keys, "a rate with a matrix") &&
               read_matrix(s, rate, out);
    }
    if (rate->count == 1 && strcmp(key, "mix") == 0)
        return read_mix(s, rate->items[0], out);
    if (rate->count == 1 && strcmp(key, "band") == 0)
        return read_band(s, rate->items[0], out);
    if (rate->count == 1 && strcmp(key, "groups") == 0)
        return read_groups(s, rate->items[0], out);
    return no_rate(s, rate);
}

bool rate_read(const struct rate_source *source, const struct yaml *rate, const struct yaml *base,
               struct chain *out)
{
    bool word = rate->kind == YAML_SCALAR;
    if (word && strcmp(rate->text, "absorb") == 0)
        *out = chain_absorb(source->tokens);
    else if (word && strcmp(rate->text, "uniform") == 0)
        *out = chain_uniform(source->tokens);
    else if (!word && rate->kind == YAML_MAP) {
        if (!read_map(source, rate, out))
            return false;
    } else {
        return no_rate(source, rate);
    }
    return base_read(source, base, out);
}
