/* The noise clock of a process. A named schedule is a template for an expression in t, so that the
 * compiler knows one form only: sigma(t), whose rate it derives itself. Each is written so that it
 * keeps its digits where sigma is small. Called by graph/process.c. */
#include "graph/process.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* A schedule of one or two numbers. */
struct schedule {
    const char *name;
    const char *keys[3];
    double defaults[2];
    double low[2], high[2]; /* each number lies strictly between them, */
    bool low_too;           /* or the first is the low end */
};
/* eps 1e-3 and sigma 1e-4 .. 20 are the values of the published configurations. A band of width 1
 * forgets where it was at some 0.7 states^2: sigma 46,000 for 256 states, 1.2e7 for 4,096. What is
 * linear has a part in 100,000 of its noise left at a t_min of 1e-5, where the decoder begins, so
 * that it goes no further than that. */
static const struct schedule schedules[] = {
    {"loglinear", {"eps", NULL, NULL}, {1e-3, 0}, {0, 0}, {1, 0}, true},
    {"geometric", {"min", "max", NULL}, {1e-4, 20}, {0, 0}, {1e9, 1e9}, false},
    {"cosine", {NULL, NULL, NULL}, {0, 0}, {0, 0}, {0, 0}, false},
    {"cosine_squared", {NULL, NULL, NULL}, {0, 0}, {0, 0}, {0, 0}, false},
    {"polynomial", {"power", NULL, NULL}, {2, 0}, {0, 0}, {100, 0}, false},
    {"linear", {"max", NULL, NULL}, {20, 0}, {0, 0}, {1e5, 0}, false},
};

static char *schedule_sigma(struct arena *arena, const struct schedule *s, const double *v)
{
    /* alpha = cos(pi t / 2) = 1 - 2 sin(pi t / 4)^2, held at t = 1 - 2^-30: nearer to 1 the sine
     * rounds to a number of which alpha, 1.5e-9 there, would not have the digits, or be zero. */
    static const char sine[] = "sin(0.78539816339744831 * min(t, 0.99999999906867743))";
    if (strcmp(s->name, "loglinear") == 0)
        return arena_printf(arena, "-log1p(-%.17g * t)", 1 - v[0]);
    if (strcmp(s->name, "cosine") == 0)
        return arena_printf(arena, "-log1p(-2 * %s * %s)", sine, sine);
    if (strcmp(s->name, "cosine_squared") == 0)
        return arena_printf(arena, "-2 * log1p(-2 * %s * %s)", sine, sine);
    if (strcmp(s->name, "polynomial") == 0) /* alpha = 1 - t^power */
        return arena_printf(arena, v[0] == 1 ? "-log1p(-t)" : "-log1p(-(t ^ %.17g))", v[0]);
    if (strcmp(s->name, "linear") == 0)
        return arena_printf(arena, "%.17g * t", v[0]);
    /* smin^(1-t) smax^t */
    double ratio = log(v[1]) - log(v[0]), start = log(v[0]);
    return arena_printf(arena, "exp(%.17g * t %s %.17g)", ratio, start < 0 ? "-" : "+",
                        fabs(start));
}

static bool in_range(const struct schedule *s, uint32_t i, double v)
{
    return (v > s->low[i] || (s->low_too && v == s->low[i])) && v < s->high[i];
}

static bool schedule_numbers(struct model *m, const struct schedule *s, const struct yaml *map,
                             double *v)
{
    v[0] = s->defaults[0];
    v[1] = s->defaults[1];
    if (!map)
        return true;
    if (!yaml_expect(m->diags, map, YAML_MAP, s->name) ||
        !yaml_closed(m->diags, map, s->keys, s->name))
        return false;
    for (uint32_t i = 0; i < 2 && s->keys[i]; i++) {
        const struct yaml *at = yaml_get(map, s->keys[i]);
        struct number n;
        if (!at)
            continue;
        if (!model_number(m, at, &n))
            return false;
        v[i] = number_real(n);
        if (!in_range(s, i, v[i])) {
            diag_error(m->diags, FAULT_CONFIG, at->span, "`%s` must be %s %g and below %g",
                       s->keys[i], s->low_too ? "at least" : "above", s->low[i], s->high[i]);
            return false;
        }
    }
    if (strcmp(s->name, "geometric") == 0 && !(v[0] < v[1])) {
        diag_error(m->diags, FAULT_CONFIG, map->span, "`min` must be smaller than `max`");
        return false;
    }
    return true;
}

static const struct expr *noise_expression(struct model *m, const struct yaml *noise)
{
    const char *name = noise->kind == YAML_SCALAR                     ? noise->text
                       : noise->kind == YAML_MAP && noise->count == 1 ? noise->keys[0]->text
                                                                      : NULL;
    const struct yaml *body = noise->kind == YAML_MAP && noise->count ? noise->items[0] : NULL;
    if (name && strcmp(name, "sigma") == 0 && body && body->kind == YAML_SCALAR) {
        struct span span = body->span;
        span.column += body->quoted;
        return expr_parse(m->diags, m->arena, body->text, span);
    }
    for (size_t i = 0; name && i < sizeof schedules / sizeof *schedules; i++) {
        double v[2];
        if (strcmp(schedules[i].name, name) != 0)
            continue;
        if (!schedule_numbers(m, &schedules[i], body, v))
            return NULL;
        return expr_parse(m->diags, m->arena, schedule_sigma(m->arena, &schedules[i], v),
                          noise->span);
    }
    diag_error(m->diags, FAULT_CONFIG, noise->span, "this is no noise schedule");
    diag_hint(m->diags, "write `loglinear: {eps: 1.0e-3}`, `geometric: {min: 1.0e-4, max: 20}`, "
                        "`cosine`, `cosine_squared`, `polynomial: {power: 2}`, `linear: {max: 20}` "
                        "or `sigma: \"…\"`, an expression in t");
    return NULL;
}

/* --- values ------------------------------------------------------------------------------- */

static bool time_lookup(const void *context, const char *name, struct number *out)
{
    if (strcmp(name, "t") != 0)
        return false;
    *out = (struct number){.kind = NUMBER_REAL, .r = *(const double *)context};
    return true;
}

static bool sigma_value(struct diags *diags, const struct expr *sigma, double t, struct number *n)
{
    struct expr_scope scope = {time_lookup, NULL, &t};
    return expr_eval(diags, sigma, &scope, n);
}

bool process_sigma(const struct process *process, double t, double *sigma)
{
    struct number n;
    if (!sigma_value(NULL, process->sigma, t, &n))
        return false;
    *sigma = number_real(n);
    return isfinite(*sigma);
}

/* sigma at some time, after the last one that was looked at. */
struct noise_point {
    double t, sigma;
};

static bool check_point(struct model *m, const struct expr *sigma, struct span span, double t,
                        struct noise_point *last)
{
    struct number n;
    if (!sigma_value(m->diags, sigma, t, &n)) {
        diag_hint(m->diags, "sigma is an expression in `t`, finite between 0 and 1");
        return false;
    }
    if (n.kind == NUMBER_BOOL) {
        diag_error(m->diags, FAULT_CONFIG, span, "sigma must be a number, not true or false");
        return false;
    }
    double now = number_real(n);
    /* Before 1e-3 a power of t may be too small for a double. */
    if (!isfinite(now) || now < last->sigma || (now <= 0 && t >= 1e-3)) {
        diag_error(m->diags, FAULT_CONFIG, span,
                   "the noise must grow with t: sigma(%.6g) = %g after sigma(%.6g) = %g", t, now,
                   last->t, last->sigma);
        return false;
    }
    *last = (struct noise_point){t, now};
    return true;
}

/* Numbers that are drawn have 53 bits: a token that moves with less chance never does. */
#define LEAST_CHANCE 0x1p-53

/* Losses hold ratios of entries of exp(sigma Q), of order 1 / sigma, and their squares: at the
 * first time FIRST these must be numbers. Under absorption only masks have such ratios, and at such
 * noise none is drawn: there sigma itself must be one. */
static bool check_least(struct model *m, struct span span, const struct chain *chain,
                        const struct noise_point *first, const struct noise_point *last)
{
    const double fastest = chain_fastest(chain);
    if (fastest * last->sigma < LEAST_CHANCE) {
        diag_error(m->diags, FAULT_CONFIG, span,
                   "this noise moves no token: it ends at sigma(1) = %g", last->sigma);
        diag_hint(m->diags,
                  "a token leaves with a chance of up to %g sigma, and what is less than "
                  "%.2g is never drawn",
                  fastest, LEAST_CHANCE);
        return false;
    }
    const bool masks = chain_carries_over(chain);
    const double least = (masks ? DBL_MIN * chain->states : sqrt(DBL_MIN)) / fastest;
    if (first->sigma >= least)
        return true;
    diag_error(m->diags, FAULT_CONFIG, span, "this noise starts with too little: sigma(%g) = %g",
               first->t, first->sigma);
    diag_hint(m->diags, "losses hold %s, which is a number from sigma = %.2g on",
              masks ? "1 / sigma" : "the square of 1 / sigma", least);
    return false;
}

/* sigma must grow with t and stay finite and positive on (0, 1]: samplers and bounds start at 1.
 * Looked at for round times first, which read well in messages, then for a prime number of them,
 * whose distance no period divides. */
static bool check_noise(struct model *m, const struct expr *sigma, struct span span,
                        const struct chain *chain)
{
    static const int counts[] = {1000, 4001};
    struct noise_point first = {0}, last = {0};
    if (!check_point(m, sigma, span, 1e-5, &first))
        return false;
    for (int pass = 0; pass < 2; pass++) {
        last = first;
        for (int i = 1; i <= counts[pass]; i++)
            if (!check_point(m, sigma, span, (double)i / counts[pass], &last))
                return false;
    }
    if (last.sigma > first.sigma)
        return check_least(m, span, chain, &first, &last);
    diag_error(m->diags, FAULT_CONFIG, span, "the noise must grow with t: sigma is %g throughout",
               last.sigma);
    return false;
}

/* --- the end ------------------------------------------------------------------------------ */

/* The last double below 1. */
#define LAST_TIME (1 - 0x1p-53)

/* Whether T is a time by which sigma is past LIMIT or has no value. */
static bool is_past(const struct expr *sigma, double t, double limit)
{
    struct number n;
    return !sigma_value(NULL, sigma, t, &n) || !(number_real(n) <= limit);
}

/* `t` becomes min(t, END): the rate of the noise is then exactly zero behind END, while a minimum
 * of sigma itself would multiply the infinite slope at t = 1 by zero. */
static const struct expr *hold_time(struct arena *arena, const struct expr *e, double end)
{
    struct expr *copy = arena_alloc(arena, sizeof *copy);
    *copy = *e;
    if (e->kind == EXPR_NAME && strcmp(e->name, "t") == 0) {
        struct expr *number = arena_alloc(arena, sizeof *number);
        *number = (struct expr){
            .kind = EXPR_NUMBER, .span = e->span, .number = {.kind = NUMBER_REAL, .r = end}};
        *copy = (struct expr){
            .kind = EXPR_CALL, .span = e->span, .name = "min", .count = 2, .args = {e, number}};
    }
    for (uint32_t i = 0; e->kind == EXPR_CALL && i < e->count; i++)
        copy->args[i] = hold_time(arena, e->args[i], end);
    return copy;
}

/* Cosine, polynomial and loglinear with eps = 0 reach infinity at t = 1, and no chain needs noise
 * that leaves less than e^-64 = 2e-28. The end is found by bisection. */
static const struct expr *hold_end(struct model *m, const struct expr *sigma,
                                   const struct chain *chain)
{
    double limit = 64 / (chain->absorb + chain->uniform), low = 1e-3, high = 1;
    if (!is_past(sigma, 1, limit) || is_past(sigma, low, limit))
        return sigma; /* nothing to hold, or no schedule: the check says what is wrong */
    if (!is_past(sigma, LAST_TIME, limit))
        return hold_time(m->arena, sigma, LAST_TIME);
    for (int i = 0; i < 60; i++) {
        double mid = 0.5 * (low + high);
        if (is_past(sigma, mid, limit))
            high = mid;
        else
            low = mid;
    }
    return hold_time(m->arena, sigma, low);
}

/* A table's end is not held: how fast it forgets is not known. Of an expression its value says
 * so. */
static bool check_end(struct model *m, const struct yaml *noise, const struct expr *sigma)
{
    if (yaml_get(noise, "sigma") || !is_past(sigma, 1, DBL_MAX))
        return true;
    diag_error(m->diags, FAULT_CONFIG, noise->span,
               "this noise is infinite at t = 1, and `band`, `groups` and `matrix` need an end");
    diag_hint(m->diags, "finite are `loglinear` with `eps` above 0, `geometric`, `cosine`, "
                        "`cosine_squared` and `linear`");
    return false;
}

const struct expr *noise_read(struct model *model, const struct yaml *noise,
                              const struct chain *chain)
{
    const struct expr *sigma = noise_expression(model, noise);
    if (sigma && chain->kind == CHAIN_FLAT)
        sigma = hold_end(model, sigma, chain);
    else if (sigma && !check_end(model, noise, sigma))
        return NULL;
    return sigma && check_noise(model, sigma, noise->span, chain) ? sigma : NULL;
}
