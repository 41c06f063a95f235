/* Rate matrices of table chains: built, checked and taken apart. Called by the reader of
 * `process:`. */
#include "graph/base/rates.h"
#include "graph/base/check.h"
#include "graph/base/random.h"

#include <math.h>
#include <string.h>

/* --- storage ------------------------------------------------------------------------------ */

/* What Q holds off the diagonal: each builder has its own. */
struct source {
    double (*rate)(const struct source *source, int32_t y, int32_t x);
    int32_t states;
    const double *q;
    bool rows;
    int32_t width;
    bool ring;
    const int32_t *group, *group_size;
    bool whole; /* of struct rates */
};

struct storage {
    int64_t *from_start, *into_start;
    int32_t *to, *of;
    double *from_rate, *into_rate, *leave;
};

static void fill_columns(const struct source *s, struct storage *to)
{
    int64_t k = 0;
    for (int32_t x = 0; x < s->states; x++) {
        double sum = 0;
        to->from_start[x] = k;
        for (int32_t y = 0; y < s->states; y++) {
            double rate = y == x ? 0 : s->rate(s, y, x);
            if (rate == 0)
                continue;
            to->to[k] = y;
            to->from_rate[k++] = rate;
            sum += rate;
        }
        to->leave[x] = sum;
    }
    to->from_start[s->states] = k;
}

/* Columns are gone through in order, so that rows come out in order too. */
static void fill_rows(struct arena *arena, int32_t n, struct storage *s)
{
    int64_t *at = arena_new_array(arena, int64_t, (size_t)n + 1);
    for (int64_t k = 0; k < s->from_start[n]; k++)
        s->into_start[s->to[k] + 1]++;
    for (int32_t y = 0; y < n; y++)
        s->into_start[y + 1] += s->into_start[y];
    memcpy(at, s->into_start, (size_t)n * sizeof *at);
    for (int32_t x = 0; x < n; x++)
        for (int64_t k = s->from_start[x]; k < s->from_start[x + 1]; k++) {
            int64_t to = at[s->to[k]]++;
            s->of[to] = x;
            s->into_rate[to] = s->from_rate[k];
        }
}

static uint64_t storage_hash(const struct storage *s, int32_t n)
{
    size_t count = (size_t)s->from_start[n];
    const uint64_t parts[] = {(uint64_t)n,
                              hash_bytes(s->from_start, ((size_t)n + 1) * sizeof *s->from_start),
                              hash_bytes(s->to, count * sizeof *s->to),
                              hash_bytes(s->from_rate, count * sizeof *s->from_rate)};
    return hash_bytes(parts, sizeof parts);
}

static const struct rates *collect(struct arena *arena, const struct source *source,
                                   const char *text)
{
    int32_t n = source->states;
    int64_t count = 0;
    for (int32_t x = 0; x < n; x++)
        for (int32_t y = 0; y < n; y++)
            count += y != x && source->rate(source, y, x) != 0;
    struct storage s = {
        .from_start = arena_new_array(arena, int64_t, (size_t)n + 1),
        .into_start = arena_new_array(arena, int64_t, (size_t)n + 1),
        .to = arena_new_array(arena, int32_t, (size_t)count),
        .of = arena_new_array(arena, int32_t, (size_t)count),
        .from_rate = arena_new_array(arena, double, (size_t)count),
        .into_rate = arena_new_array(arena, double, (size_t)count),
        .leave = arena_new_array(arena, double, (size_t)n),
    };
    fill_columns(source, &s);
    fill_rows(arena, n, &s);
    struct rates *r = arena_alloc(arena, sizeof *r);
    *r = (struct rates){.states = n,
                        .count = count,
                        .from_start = s.from_start,
                        .to = s.to,
                        .from_rate = s.from_rate,
                        .into_start = s.into_start,
                        .of = s.of,
                        .into_rate = s.into_rate,
                        .leave = s.leave,
                        .text = text,
                        .whole = source->whole,
                        .hash = storage_hash(&s, n)};
    for (int32_t x = 0; x < n; x++)
        r->fastest = fmax(r->fastest, s.leave[x]);
    return r;
}

/* --- a dense matrix ----------------------------------------------------------------------- */

static double dense_rate(const struct source *s, int32_t y, int32_t x)
{
    return s->q[s->rows ? (int64_t)x * s->states + y : (int64_t)y * s->states + x];
}

static const char *state_name(struct arena *arena, const char *const *names, int32_t x)
{
    return names ? names[x] : arena_printf(arena, "%d", (int)x);
}

/* The sum of column X, and the largest entry in it. */
static double column_sum(const struct source *s, int32_t x, double *largest)
{
    double sum = 0;
    *largest = 0;
    for (int32_t y = 0; y < s->states; y++) {
        double rate = dense_rate(s, y, x);
        sum += rate;
        *largest = fmax(*largest, fabs(rate));
    }
    return sum;
}

static bool sums_to_zero(const struct source *s, int32_t x)
{
    double largest, sum = column_sum(s, x, &largest);
    return fabs(sum) <= 1e-9 * largest; /* what rounding to ten digits in a file may leave */
}

static bool all_sum_to_zero(const struct source *s)
{
    for (int32_t x = 0; x < s->states; x++)
        if (!sums_to_zero(s, x))
            return false;
    return true;
}

static bool check_signs(struct diags *diags, struct arena *arena, const struct source *s,
                        const char *const *names, struct span span)
{
    for (int32_t x = 0; x < s->states; x++)
        for (int32_t y = 0; y < s->states; y++) {
            double rate = dense_rate(s, y, x);
            if (isfinite(rate) && (y == x || rate >= 0))
                continue;
            diag_error(diags, FAULT_CONFIG, span, "the rate from `%s` to `%s` is %g",
                       state_name(arena, names, x), state_name(arena, names, y), rate);
            diag_hint(diags,
                      "rates of jumps are finite and at least 0; only the diagonal, minus the "
                      "rate of leaving, is negative");
            return false;
        }
    return true;
}

static bool check_sums(struct diags *diags, struct arena *arena, const struct source *s,
                       const char *const *names, struct span span)
{
    const char *line = s->rows ? "row" : "column";
    for (int32_t x = 0; x < s->states; x++) {
        if (sums_to_zero(s, x))
            continue;
        double largest, sum = column_sum(s, x, &largest);
        struct source other = *s;
        other.rows = !s->rows;
        diag_error(diags, FAULT_CONFIG, span, "the %s of `%s` sums to %g, not to zero", line,
                   state_name(arena, names, x), sum);
        if (all_sum_to_zero(&other))
            diag_hint(diags,
                      s->rows
                          ? "its columns sum to zero: it seems transposed; leave `rows: true` out"
                          : "its rows sum to zero: it seems transposed; add `rows: true`");
        else
            diag_hint(
                diags,
                "a %s holds the rates of leaving one state, and on the diagonal minus their sum",
                line);
        return false;
    }
    return true;
}

static const struct rates *read_dense(struct diags *diags, struct arena *arena,
                                      const struct source *source, const char *const *names,
                                      const char *text, struct span span)
{
    if (!check_signs(diags, arena, source, names, span) ||
        !check_sums(diags, arena, source, names, span))
        return NULL;
    const struct rates *r = collect(arena, source, text);
    if (r->count > 0)
        return r;
    diag_error(diags, FAULT_CONFIG, span, "every rate is zero: nothing would ever be noised");
    return NULL;
}

const struct rates *rates_dense(struct diags *diags, struct arena *arena, const double *q,
                                int32_t states, const char *const *names, const char *text,
                                struct span span)
{
    struct source source = {.rate = dense_rate, .states = states, .q = q};
    return read_dense(diags, arena, &source, names, text, span);
}

const struct rates *rates_dense_rows(struct diags *diags, struct arena *arena, const double *q,
                                     int32_t states, const char *const *names, const char *text,
                                     struct span span)
{
    struct source source = {.rate = dense_rate, .states = states, .q = q, .rows = true};
    return read_dense(diags, arena, &source, names, text, span);
}

/* --- bands and groups --------------------------------------------------------------------- */

static double band_rate(const struct source *s, int32_t y, int32_t x)
{
    int32_t apart = y > x ? y - x : x - y;
    if (s->ring && s->states - apart < apart)
        apart = s->states - apart;
    return apart <= s->width ? 1 : 0;
}

const struct rates *rates_band(struct arena *arena, int32_t states, int32_t width, bool ring)
{
    BUG_ON(width < 1 || width >= states);
    struct source source = {
        .rate = band_rate, .states = states, .width = width, .ring = ring, .whole = true};
    return collect(
        arena, &source,
        arena_printf(arena, "{band: {width: %d, ring: %s}}", (int)width, ring ? "true" : "false"));
}

static double group_rate(const struct source *s, int32_t y, int32_t x)
{
    return s->group[y] == s->group[x] ? 1.0 / s->group_size[s->group[x]] : 0;
}

const struct rates *rates_groups(struct arena *arena, int32_t states, const int32_t *group)
{
    int32_t *size = arena_new_array(arena, int32_t, (size_t)states);
    for (int32_t x = 0; x < states; x++) {
        BUG_ON(group[x] < 0 || group[x] >= states);
        size[group[x]]++;
    }
    size_t room = 16 + 12 * (size_t)states, length = 0;
    char *text = arena_alloc(arena, room);
    static const char head[] = "{groups: [", tail[] = "]}";
    memcpy(text, head, length = sizeof head - 1);
    for (int32_t x = 0; x < states; x++) {
        const char *number = arena_printf(arena, x ? ", %d" : "%d", (int)group[x]);
        memcpy(text + length, number, strlen(number));
        length += strlen(number);
    }
    memcpy(text + length, tail, sizeof tail);
    struct source source = {
        .rate = group_rate, .states = states, .group = group, .group_size = size, .whole = true};
    return collect(arena, &source, text);
}

/* --- recurrent classes -------------------------------------------------------------------- */

/* Tarjan's search, with its own stack: a band of 4096 states is that deep. */
struct search {
    const struct rates *rates;
    int32_t *order, *low, *component; /* order: 1 + when a state was found; component from 1 */
    int32_t *stack, *path;
    int64_t *edge; /* of each state on the path, the next jump to follow */
    int32_t found, stacked, components;
};

static void close_component(struct search *s, int32_t x)
{
    int32_t y;
    s->components++;
    do {
        y = s->stack[--s->stacked];
        s->component[y] = s->components;
    } while (y != x);
}

static void find_state(struct search *s, int32_t x)
{
    s->order[x] = s->low[x] = ++s->found;
    s->stack[s->stacked++] = x;
    s->edge[x] = s->rates->from_start[x];
}

static void search_from(struct search *s, int32_t root)
{
    int32_t depth = 0;
    find_state(s, root);
    s->path[depth++] = root;
    while (depth > 0) {
        int32_t x = s->path[depth - 1];
        if (s->edge[x] < s->rates->from_start[x + 1]) {
            int32_t y = s->rates->to[s->edge[x]++];
            if (!s->order[y]) {
                find_state(s, y);
                s->path[depth++] = y;
            } else if (!s->component[y] && s->order[y] < s->low[x]) {
                s->low[x] = s->order[y];
            }
            continue;
        }
        if (s->low[x] == s->order[x])
            close_component(s, x);
        depth--;
        if (depth > 0 && s->low[x] < s->low[s->path[depth - 1]])
            s->low[s->path[depth - 1]] = s->low[x];
    }
}

int32_t rates_classes(struct arena *arena, const struct rates *rates, int32_t *class_of)
{
    size_t n = (size_t)rates->states;
    struct search s = {.rates = rates,
                       .order = arena_new_array(arena, int32_t, n),
                       .low = arena_new_array(arena, int32_t, n),
                       .component = arena_new_array(arena, int32_t, n),
                       .stack = arena_new_array(arena, int32_t, n),
                       .path = arena_new_array(arena, int32_t, n),
                       .edge = arena_new_array(arena, int64_t, n)};
    for (int32_t x = 0; x < rates->states; x++)
        if (!s.order[x])
            search_from(&s, x);
    bool *left = arena_new_array(arena, bool, (size_t)s.components + 1);
    for (int32_t x = 0; x < rates->states; x++)
        for (int64_t k = rates->from_start[x]; k < rates->from_start[x + 1]; k++)
            left[s.component[x]] |= s.component[rates->to[k]] != s.component[x];
    int32_t *number = arena_new_array(arena, int32_t, (size_t)s.components + 1), classes = 0;
    for (int32_t x = 0; x < rates->states; x++) {
        int32_t c = s.component[x];
        if (!left[c] && !number[c])
            number[c] = ++classes;
        class_of[x] = number[c];
    }
    return classes;
}

/* --- the stationary law ------------------------------------------------------------------- */

static bool symmetric(const struct rates *r)
{
    size_t count = (size_t)r->count;
    return memcmp(r->from_start, r->into_start, ((size_t)r->states + 1) * sizeof *r->from_start) ==
               0 &&
           memcmp(r->to, r->of, count * sizeof *r->to) == 0 &&
           memcmp(r->from_rate, r->into_rate, count * sizeof *r->from_rate) == 0;
}

/* States are taken out GTH_PANEL at a time, and of the others GTH_TILE columns are gone through for
 * all of a panel, so that its rows stay in the cache: 4096 states are 128 MiB. */
enum { GTH_PANEL = 32, GTH_TILE = 512 };

/* Adds to columns FROM .. TO of ROW what went through states LOW .. HIGH; FACTOR has the shares of
 * it. Those of four states are added at once. */
static void go_through(const double *a, int32_t n, double *row, const double *factor, int32_t low,
                       int32_t high, int32_t from, int32_t to)
{
    int32_t k = high;
    for (; k - low >= 4; k -= 4) {
        const double *p = a + (int64_t)(k - 1) * n, *q = p - n, *r = q - n, *s = r - n;
        const double f = factor[k - 1], g = factor[k - 2], h = factor[k - 3], e = factor[k - 4];
        for (int32_t j = from; j < to; j++)
            row[j] += f * p[j] + g * q[j] + h * r[j] + e * s[j];
    }
    for (; k > low; k--) {
        const double *p = a + (int64_t)(k - 1) * n, f = factor[k - 1];
        for (int32_t j = from; j < to; j++)
            row[j] += f * p[j];
    }
}

/* Takes states LOW .. HIGH - 1 out, the last one first: their own rows, and in all rows their own
 * columns, which become shares of what leaves each state. */
static void take_out(double *a, int32_t n, int32_t low, int32_t high)
{
    for (int32_t k = high - 1; k >= low; k--) {
        const double *out = a + (int64_t)k * n;
        double sum = 0;
        for (int32_t j = 0; j < k; j++)
            sum += out[j];
        for (int32_t i = 0; i < k; i++) {
            double *row = a + (int64_t)i * n;
            row[k] /= sum;
            /* The diagonal is never read. */
            go_through(a, n, row, row, k, k + 1, i < low ? low : 0, k);
        }
    }
}

/* A[i][j], the rate i -> j among the N states of the class: takes the last state out, one after the
 * other, adding to the others what went through it. LAW gets the law of the first state as 1. */
static void eliminate(double *a, int32_t n, double *law)
{
    for (int32_t high = n; high > 1;) {
        int32_t low = high - GTH_PANEL > 1 ? high - GTH_PANEL : 1;
        take_out(a, n, low, high);
        for (int32_t from = 0; from < low; from += GTH_TILE)
            for (int32_t i = 0; i < low; i++) {
                double *row = a + (int64_t)i * n;
                go_through(a, n, row, row, low, high, from,
                           from + GTH_TILE < low ? from + GTH_TILE : low);
            }
        high = low;
    }
    law[0] = 1;
    for (int32_t k = 1; k < n; k++) {
        law[k] = 0;
        for (int32_t i = 0; i < k; i++)
            law[k] += law[i] * a[(int64_t)i * n + k];
    }
}

void rates_stationary(struct arena *arena, const struct rates *rates, double *law)
{
    int32_t states = rates->states, n = 0;
    int32_t *class_of = arena_new_array(arena, int32_t, (size_t)states);
    int32_t *at = arena_new_array(arena, int32_t, (size_t)states); /* place within the class */
    BUG_ON(rates_classes(arena, rates, class_of) != 1);
    for (int32_t x = 0; x < states; x++) {
        at[x] = class_of[x] ? n++ : -1;
        law[x] = 0;
    }
    if (n == states && symmetric(rates)) {
        for (int32_t x = 0; x < states; x++)
            law[x] = 1.0 / states;
        return;
    }
    struct arena *work = arena_new();
    double *a = arena_new_array(work, double, (size_t)n *(size_t)n);
    double *part = arena_new_array(work, double, (size_t)n), sum = 0;
    for (int32_t x = 0; x < states; x++)
        for (int64_t k = rates->from_start[x]; at[x] >= 0 && k < rates->from_start[x + 1]; k++)
            a[(int64_t)at[x] * n + at[rates->to[k]]] = rates->from_rate[k];
    eliminate(a, n, part);
    for (int32_t i = 0; i < n; i++)
        sum += part[i];
    for (int32_t x = 0; x < states; x++)
        law[x] = at[x] >= 0 ? part[at[x]] / sum : 0;
    arena_free(work);
}
