/* Reads the process section. A named noise schedule is a template for an expression in t, so that
 * the compiler knows one form only: sigma(t), whose rate it derives itself. */
#include "graph/process.h"
#include "graph/base/check.h"

#include <math.h>
#include <string.h>

/* A schedule of one or two numbers. */
struct schedule {
    const char *name;
    const char *keys[3];
    double defaults[2];
    double low[2], high[2]; /* each number lies strictly between them */
};
/* eps 1e-3 and sigma 1e-4 .. 20 are the values of the published configurations. */
static const struct schedule schedules[] = {
    {"loglinear", {"eps", NULL, NULL}, {1e-3, 0}, {0, 0}, {1, 0}},
    {"geometric", {"min", "max", NULL}, {1e-4, 20}, {0, 0}, {1e3, 1e3}},
};

static char *schedule_sigma(struct arena *arena, const struct schedule *s, const double *v)
{
    if (strcmp(s->name, "loglinear") == 0)
        return arena_printf(arena, "-log1p(-%.17g * t)", 1 - v[0]);
    /* smin^(1-t) smax^t */
    double ratio = log(v[1]) - log(v[0]), start = log(v[0]);
    return arena_printf(arena, "exp(%.17g * t %s %.17g)", ratio, start < 0 ? "-" : "+",
                        fabs(start));
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
        if (!(v[i] > s->low[i] && v[i] < s->high[i])) {
            diag_error(m->diags, FAULT_CONFIG, at->span, "`%s` must lie between %g and %g",
                       s->keys[i], s->low[i], s->high[i]);
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
    diag_hint(m->diags, "write `loglinear: {eps: 1.0e-3}`, `geometric: {min: 1.0e-4, max: 20}` or "
                        "`sigma: \"…\"`, an expression in t");
    return NULL;
}

static bool time_lookup(const void *context, const char *name, struct number *out)
{
    if (strcmp(name, "t") != 0)
        return false;
    *out = (struct number){.kind = NUMBER_REAL, .r = *(const double *)context};
    return true;
}

/* sigma must grow with t and stay finite and positive on (0, 1]: samplers and bounds start at 1. */
static bool check_noise(struct model *m, const struct expr *sigma, struct span span)
{
    double last = 0;
    for (int i = 1; i <= 1000; i++) {
        double t = i / 1000.0;
        struct expr_scope scope = {time_lookup, NULL, &t};
        struct number n;
        if (!expr_eval(m->diags, sigma, &scope, &n)) {
            diag_hint(m->diags, "sigma is an expression in `t`, finite between 0 and 1");
            return false;
        }
        if (n.kind == NUMBER_BOOL) {
            diag_error(m->diags, FAULT_CONFIG, span, "sigma must be a number, not true or false");
            return false;
        }
        double now = number_real(n);
        if (!isfinite(now) || now <= 0 || now < last) {
            diag_error(m->diags, FAULT_CONFIG, span,
                       "the noise must grow with t: sigma(%g) = %g after sigma(%g) = %g", t, now,
                       t - 1e-3, last);
            return false;
        }
        last = now;
    }
    return true;
}

/* What a setting `process.KEY` replaces, else what the file says. */
static const struct yaml *setting_or(const struct model_request *q, const char *key,
                                     const struct yaml *otherwise)
{
    for (uint32_t i = q->setting_count; i-- > 0;)
        if (strncmp(q->settings[i].key, "process.", 8) == 0 &&
            strcmp(q->settings[i].key + 8, key) == 0)
            return q->settings[i].value;
    return otherwise;
}

static bool read_chain(struct model *m, const struct yaml *rate, const struct yaml *body,
                       struct chain *out)
{
    const struct param *vocab = model_param(m, "vocab");
    int64_t tokens = vocab && vocab->value.kind == NUMBER_INT ? vocab->value.i : -1;
    const struct yaml *own = yaml_get(body, "vocab");
    struct number n;
    if (own && model_number(m, own, &n) && n.kind == NUMBER_INT)
        tokens = n.i;
    if (tokens < 2 || tokens > 1 << 24) {
        diag_error(m->diags, FAULT_CONFIG, vocab ? vocab->span : body->span,
                   "a process needs the param `vocab`: at least 2 tokens");
        return false;
    }
    if (rate->kind == YAML_SCALAR && strcmp(rate->text, "absorb") == 0)
        *out = chain_absorb((int32_t)tokens);
    else if (rate->kind == YAML_SCALAR && strcmp(rate->text, "uniform") == 0)
        *out = chain_uniform((int32_t)tokens);
    else {
        diag_error(m->diags, FAULT_CONFIG, rate->span, "this is no rate matrix");
        diag_hint(m->diags, "write `absorb` or `uniform`");
        return false;
    }
    return true;
}

static bool read_one(struct model *m, const struct model_request *q, const struct section *s,
                     struct process *out)
{
    static const char *const keys[] = {"rate", "noise", "vocab", NULL};
    if (!yaml_closed(m->diags, s->body, keys, "a process"))
        return false;
    const struct yaml *rate = setting_or(q, "rate", yaml_get(s->body, "rate"));
    const struct yaml *noise = setting_or(q, "noise", yaml_get(s->body, "noise"));
    if (!rate || !noise) {
        diag_error(m->diags, FAULT_CONFIG, s->span, "a process needs `%s:`",
                   rate ? "noise" : "rate");
        return false;
    }
    out->name = s->name;
    out->span = s->span;
    if (!read_chain(m, rate, s->body, &out->chain))
        return false;
    out->sigma = noise_expression(m, noise);
    return out->sigma && check_noise(m, out->sigma, noise->span);
}

bool process_read(struct model *model, const struct model_request *request)
{
    uint32_t count = model->process_bodies.count;
    static const char *const settable[] = {"process.rate", "process.noise"};
    for (uint32_t i = 0; i < request->setting_count; i++) {
        const struct setting *s = &request->settings[i];
        if (strncmp(s->key, "process.", 8) == 0 && strcmp(s->key, settable[0]) != 0 &&
            strcmp(s->key, settable[1]) != 0) {
            diag_error(model->diags, FAULT_CONFIG, s->value->span, "a process has no key `%s`",
                       s->key + 8);
            return false;
        }
    }
    model->processes = arena_new_array(model->arena, struct process, count);
    for (uint32_t i = 0; i < count; i++)
        if (!read_one(model, request, &model->process_bodies.items[i], &model->processes[i]))
            return false;
    model->process_count = count;
    if (count == 0)
        return true;
    if (model_param(model, "states")) {
        diag_error(model->diags, FAULT_CONFIG, model_param(model, "states")->span,
                   "`states` is given by the process: vocab, and the mask for absorb");
        return false;
    }
    model->params = arena_grow(model->arena, model->params, model->param_count,
                               &model->param_capacity, sizeof *model->params);
    model->params[model->param_count++] =
        (struct param){"states",
                       {.kind = NUMBER_INT, .i = model->processes[0].chain.states},
                       model->processes[0].span,
                       LAYER_DEFAULT};
    return true;
}

char *process_print(struct arena *arena, const struct process *process)
{
    return arena_printf(arena, "%s %d %s",
                        chain_carries_over(&process->chain) ? "absorb" : "uniform",
                        process->chain.tokens, expr_print(arena, process->sigma));
}
