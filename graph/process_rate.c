/* The rate matrix of a process, and the law that its reverse chain starts from. Called by the
 * readers of `process:` and of the text form. */
#include "graph/base/csv.h"
#include "graph/base/rates.h"
#include "graph/base/safetensors.h"
#include "graph/process.h"

#include <math.h>
#include <string.h>

static bool fail(const struct rate_source *s, struct span span, const char *message)
{
    diag_error(s->diags, FAULT_CONFIG, span, "%s", message);
    return false;
}

/* --- values ------------------------------------------------------------------------------- */

static bool read_real(const struct rate_source *s, const struct yaml *node, double *out)
{
    struct number n;
    if (s->model && node->kind == YAML_SCALAR) {
        if (!model_number(s->model, node, &n))
            return false;
        *out = number_real(n);
        return true;
    }
    return (node->kind == YAML_SCALAR && yaml_real(node, out)) ||
           fail(s, node->span, "this must be a number");
}

static bool read_flag(const struct rate_source *s, const struct yaml *map, const char *key,
                      bool *out)
{
    const struct yaml *node = yaml_get(map, key);
    return !node || yaml_bool(node, out) || fail(s, node->span, "this must be `true` or `false`");
}

/* NAME as it is, else beside the file that names it. */
static char *beside(const struct rate_source *s, const struct yaml *name)
{
    const char *from = diags_file_name(s->diags, name->span.file), *slash = strrchr(from, '/');
    if (name->text[0] == '/' || !slash)
        return arena_strdup(s->arena, name->text);
    return arena_printf(s->arena, "%.*s/%s", (int)(slash - from), from, name->text);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static const char *shown_state(const struct rate_source *s, int32_t x)
{
    if (x >= s->tokens)
        return "the mask";
    return arena_printf(s->arena, s->symbols ? "`%s`" : "%s",
                        s->symbols ? s->symbols[x] : arena_printf(s->arena, "%d", (int)x));
}

static int32_t find_symbol(const struct rate_source *s, const char *name)
{
    for (int32_t i = 0; s->symbols && i < s->tokens; i++)
        if (strcmp(s->symbols[i], name) == 0)
            return i;
    return -1;
}

/* --- CSV ---------------------------------------------------------------------------------- */

/* Which token each column of the header names; the last of one column more is the mask, whatever it
 * is called. */
static bool match_header(const struct rate_source *s, const char *const *names, int64_t count,
                         struct span span, int32_t *state)
{
    bool *taken = arena_new_array(s->arena, bool, (size_t)s->tokens);
    for (int64_t i = 0; i < count; i++) {
        if (i == s->tokens) {
            state[i] = s->tokens;
            continue;
        }
        state[i] = find_symbol(s, names[i]);
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
                          shown_state(s, x));
                break;
            }
        return false;
    }
    return true;
}

/* One number a state, in the order of the states: a row below names, or in any shape without. A title above
 * a column says nothing. */
static bool read_numbers(const struct rate_source *s, const struct yaml *name, double **out,
                         int64_t *count)
{
    struct csv *csv = csv_read_file(s->diags, s->arena, beside(s, name), 1 << 24, name->span);
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
    if (!match_header(s, csv->first, csv->columns, name->span, state))
        return false;
    *out = arena_new_array(s->arena, double, (size_t)csv->columns);
    for (int32_t i = 0; i < csv->columns; i++)
        (*out)[state[i]] = given[i];
    return true;
}

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
        if (!read_real(s, node, &part[i]))
            return false;
        if (!(part[i] >= 1e-6 && part[i] <= 1e6)) {
            diag_error(s->diags, FAULT_CONFIG, node->span, "`%s` must lie between 1e-6 and 1e6",
                       keys[i]);
            diag_hint(s->diags, "a chain without the other part is `rate: absorb` or `uniform`");
            return false;
        }
    }
    if (!yaml_get(mix, keys[2])) {
        fail(s, mix->span, "mix must say whether a mask may leave by the uniform part");
        diag_hint(s->diags, "add `mask_leaves: true` or `mask_leaves: false`");
        return false;
    }
    if (!read_flag(s, mix, keys[2], &leaves))
        return false;
    *out = chain_mix(s->tokens, part[0], part[1], leaves ? part[1] : 0);
    return true;
}

static bool check_table(const struct rate_source *s, struct span span)
{
    if (s->tokens <= CHAIN_TABLE_STATES)
        return true;
    diag_error(s->diags, FAULT_CONFIG, span,
               "%d tokens are too many for a table of rates: at most %d", (int)s->tokens,
               CHAIN_TABLE_STATES);
    return false;
}

static bool read_band(const struct rate_source *s, const struct yaml *band, struct chain *out)
{
    static const char *const keys[] = {"width", "ring", NULL};
    double width = 1;
    bool ring = false;
    if (!yaml_expect(s->diags, band, YAML_MAP, "band") ||
        !yaml_closed(s->diags, band, keys, "band") || !check_table(s, band->span))
        return false;
    const struct yaml *node = yaml_get(band, "width");
    if (node && !read_real(s, node, &width))
        return false;
    if (node && (width != floor(width) || width < 1 || width >= s->tokens)) {
        diag_error(s->diags, FAULT_CONFIG, node->span,
                   "`width` is a whole number from 1 to %d, the states less one",
                   (int)s->tokens - 1);
        return false;
    }
    if (!read_flag(s, band, "ring", &ring))
        return false;
    *out = chain_table(s->tokens, rates_band(s->arena, s->tokens, (int32_t)width, ring));
    return true;
}

/* --- groups ------------------------------------------------------------------------------- */

static bool read_member(const struct rate_source *s, const struct yaml *node, int32_t *out)
{
    int64_t id;
    if (node->kind == YAML_SCALAR) {
        *out = find_symbol(s, node->text);
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
                return fail(s, members->items[i]->span, "this state is in a group already");
            group[x] = (int32_t)g;
        }
    }
    for (int32_t x = 0; x < s->tokens; x++) {
        if (group[x] >= 0)
            continue;
        diag_error(s->diags, FAULT_CONFIG, list->span, "state %s is in no group",
                   shown_state(s, x));
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

static bool read_reals(const struct rate_source *s, const struct yaml *list, double *out)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (!read_real(s, list->items[i], &out[i]))
            return false;
    return true;
}

static bool read_groups(const struct rate_source *s, const struct yaml *groups, struct chain *out)
{
    if (!check_table(s, groups->span))
        return false;
    int32_t *group = arena_new_array(s->arena, int32_t, (size_t)s->tokens);
    bool good;
    if (groups->kind == YAML_LIST && groups->count && groups->items[0]->kind == YAML_LIST) {
        good = read_group_lists(s, groups, group);
    } else if (groups->kind == YAML_LIST) {
        double *v = arena_new_array(s->arena, double, groups->count);
        good = read_reals(s, groups, v) && number_groups(s, v, groups->count, groups->span, group);
    } else if (groups->kind == YAML_SCALAR && ends_with(groups->text, ".csv")) {
        double *v;
        int64_t count;
        good =
            read_numbers(s, groups, &v, &count) && number_groups(s, v, count, groups->span, group);
    } else {
        good = fail(s, groups->span, "groups is a list or a .csv file");
    }
    if (good)
        *out = chain_table(s->tokens, rates_groups(s->arena, s->tokens, group));
    return good;
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
        if (!read_reals(s, row, m->q + (int64_t)y * m->columns))
            return false;
    }
    return true;
}

static bool read_csv(const struct rate_source *s, const struct yaml *name, struct matrix *m)
{
    struct csv *csv =
        csv_read_file(s->diags, s->arena, beside(s, name), CHAIN_TABLE_STATES, name->span);
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
    struct tensor_file *file = tensor_file_open(s->diags, s->arena, beside(s, name));
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
    return good ||
           fail(s, name->span, "the file must hold one matrix, f32 or f64, of at most 4096 states");
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
    if (!match_header(s, m->names, m->rows, span, state))
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
    if (!read_flag(s, rate, "rows", &rows) || !check_table(s, from->span))
        return false;
    if (from->kind == YAML_LIST)
        good = read_inline(s, from, &m);
    else if (from->kind == YAML_SCALAR && ends_with(from->text, ".csv"))
        good = read_csv(s, from, &m);
    else if (from->kind == YAML_SCALAR && ends_with(from->text, ".safetensors"))
        good = read_tensor(s, from, &m);
    else
        good = fail(s, from->span, "matrix is a list of rows, or a .csv or .safetensors file");
    if (!good || !check_shape(s, &m, from->span) || !order_states(s, &m, from->span))
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

/* --- the base ----------------------------------------------------------------------------- */

/* A law over all states, made to sum to one. */
static bool check_law(const struct rate_source *s, const double *given, int64_t count,
                      const struct chain *chain, struct span span, double *law)
{
    double sum = 0;
    if (count != chain->states) {
        diag_error(s->diags, FAULT_CONFIG, span, "base has %lld numbers for %d states",
                   (long long)count, (int)chain->states);
        return false;
    }
    for (int64_t y = 0; y < count; y++) {
        if (!(given[y] > 0)) {
            diag_error(s->diags, FAULT_CONFIG, span, "base gives state %s the probability %g",
                       shown_state(s, (int32_t)y), given[y]);
            diag_hint(s->diags,
                      "every state must be possible, else the bound on the likelihood is infinite");
            return false;
        }
        sum += given[y];
    }
    if (!(fabs(sum - 1) <= 1e-6)) {
        diag_error(s->diags, FAULT_CONFIG, span, "base sums to %.9g, not to 1", sum);
        return false;
    }
    for (int64_t y = 0; y < count; y++)
        law[y] = given[y] / sum;
    return true;
}

/* {mask: p}: the rest is shared by the tokens. */
static bool read_mask_base(const struct rate_source *s, const struct yaml *base,
                           const struct chain *chain, double *law)
{
    static const char *const keys[] = {"mask", NULL};
    const struct yaml *node = yaml_get(base, "mask");
    double p;
    if (!yaml_closed(s->diags, base, keys, "base"))
        return false;
    if (!node || chain->mask < 0)
        return fail(s, base->span,
                    node ? "this chain has no mask" : "base needs `mask:`, a probability");
    if (!read_real(s, node, &p))
        return false;
    if (!(p > 0 && p < 1))
        return fail(s, node->span, "the probability of the mask must lie between 0 and 1");
    for (int32_t y = 0; y < chain->states; y++)
        law[y] = y == chain->mask ? p : (1 - p) / chain->tokens;
    return true;
}

static bool read_base(const struct rate_source *s, const struct yaml *base,
                      const struct chain *chain, double *law)
{
    if (base->kind == YAML_MAP)
        return read_mask_base(s, base, chain, law);
    if (base->kind == YAML_LIST) {
        double *v = arena_new_array(s->arena, double, base->count);
        return read_reals(s, base, v) && check_law(s, v, base->count, chain, base->span, law);
    }
    if (ends_with(base->text, ".csv")) {
        double *v;
        int64_t count;
        return read_numbers(s, base, &v, &count) && check_law(s, v, count, chain, base->span, law);
    }
    if (strcmp(base->text, "uniform") != 0) {
        fail(s, base->span, "this is no base");
        diag_hint(s->diags, "write `uniform`, a list of numbers, a .csv file or `{mask: 0.99}`");
        return false;
    }
    for (int32_t y = 0; y < chain->states; y++)
        law[y] = 1.0 / chain->states;
    return true;
}

/* Without a base, the chain must forget where it started and be able to be anywhere. */
static bool find_stationary(const struct rate_source *s, struct chain *chain)
{
    int32_t n = chain->states;
    int32_t *class_of = arena_new_array(s->arena, int32_t, (size_t)n), second = 0, passing = 0;
    int32_t classes = rates_classes(s->arena, chain->rates, class_of);
    if (classes == 1) {
        double *law = arena_new_array(s->arena, double, (size_t)n);
        rates_stationary(s->arena, chain->rates, law);
        chain->stationary = law;
    }
    while (second < n && class_of[second] != 2)
        second++;
    while (passing < n && class_of[passing] != 0)
        passing++;
    if (chain->base || (classes == 1 && passing == n))
        return true;
    if (classes > 1) {
        int32_t first = 0;
        while (class_of[first] != 1)
            first++;
        diag_error(s->diags, FAULT_CONFIG, s->span,
                   "the chain ends in one of %d parts that it never leaves (with %s, with %s)",
                   (int)classes, shown_state(s, first), shown_state(s, second));
    } else {
        diag_error(s->diags, FAULT_CONFIG, s->span,
                   "state %s is left for good, so that the end of the chain never holds it",
                   shown_state(s, passing));
    }
    diag_hint(s->diags, classes > 1
                            ? "say which law sampling starts from: `base: uniform` or a list"
                            : "the base term of the bound would be infinite: say `base: "
                              "uniform`, a list, or with a mask `base: {mask: 0.99}`");
    return false;
}

/* --- the rate ----------------------------------------------------------------------------- */

static bool no_rate(const struct rate_source *s, const struct yaml *rate)
{
    fail(s, rate->span, "this is no rate matrix");
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
    if (base) {
        double *law = arena_new_array(source->arena, double, (size_t)out->states);
        if (!read_base(source, base, out, law))
            return false;
        out->base = law;
    }
    return out->kind == CHAIN_FLAT || find_stationary(source, out);
}
