/* Reads the process section: which of its keys, in which order, and the param it gives. The rate is
 * read by graph/process_rate.c, the noise by graph/process_noise.c. */
#include "graph/process.h"
#include "graph/base/check.h"
#include "graph/writer.h"

#include <string.h>

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

static bool read_tokens(struct model *m, const struct yaml *body, int32_t *out)
{
    const struct param *vocab = model_param(m, "vocab");
    int64_t tokens = vocab && vocab->value.kind == NUMBER_INT ? vocab->value.i : -1;
    const struct yaml *own = yaml_get(body, "vocab");
    struct number n;
    if (own && model_number(m, own, &n) && n.kind == NUMBER_INT)
        tokens = n.i;
    if (tokens < 2 || tokens > 1 << 24) {
        diag_error(m->diags, FAULT_CONFIG, vocab ? vocab->span : body->span,
                   "a process needs the param `vocab`: 2 to 16777216 tokens");
        return false;
    }
    *out = (int32_t)tokens;
    return true;
}

/* Whether bound and samplers take scores as the network gives them. */
static bool read_projection(struct diags *diags, const struct yaml *project, bool *raw)
{
    bool on = true;
    *raw = false;
    if (!project)
        return true;
    if (project->kind == YAML_SCALAR &&
        (strcmp(project->text, "off") == 0 || strcmp(project->text, "on") == 0))
        on = project->text[1] == 'n';
    else if (!yaml_bool(project, &on)) {
        diag_error(diags, FAULT_CONFIG, project->span, "`project` must be `on` or `off`");
        diag_hint(diags, "sedge explain process.project");
        return false;
    }
    *raw = !on;
    return true;
}

static bool read_one(struct model *m, const struct model_request *q, const struct section *s,
                     struct process *out)
{
    static const char *const keys[] = {"rate", "noise", "base", "project", "vocab", NULL};
    if (!yaml_closed(m->diags, s->body, keys, "a process"))
        return false;
    const struct yaml *own = yaml_get(s->body, "rate"), *rate = setting_or(q, "rate", own);
    const struct yaml *noise = setting_or(q, "noise", yaml_get(s->body, "noise"));
    const struct yaml *project = setting_or(q, "project", yaml_get(s->body, "project"));
    /* The base that the file gives is one of the rate that it gives. */
    const struct yaml *base = setting_or(q, "base", rate == own ? yaml_get(s->body, "base") : NULL);
    if (!rate || !noise) {
        diag_error(m->diags, FAULT_CONFIG, s->span, "a process needs `%s:`",
                   rate ? "noise" : "rate");
        return false;
    }
    out->name = s->name;
    out->span = s->span;
    struct rate_source source = {
        .diags = m->diags, .arena = m->arena, .model = m, .span = rate->span};
    if (!read_tokens(m, s->body, &source.tokens))
        return false;
    if ((int64_t)q->symbol_count == source.tokens)
        source.symbols = q->symbols;
    if (!rate_read(&source, rate, base, &out->chain) ||
        !read_projection(m->diags, project, &out->chain.raw))
        return false;
    out->sigma = noise_read(m, noise, &out->chain);
    return out->sigma != NULL;
}

const char *const process_settings[] = {"rate", "base", "noise", "project", NULL};

static bool may_be_set(const char *key)
{
    for (const char *const *own = process_settings; *own; own++)
        if (strcmp(key, *own) == 0)
            return true;
    return false;
}

static bool check_settings(struct model *model, const struct model_request *request)
{
    for (uint32_t i = 0; i < request->setting_count; i++) {
        const struct setting *s = &request->settings[i];
        if (strncmp(s->key, "process.", 8) != 0 || may_be_set(s->key + 8))
            continue;
        diag_error(model->diags, FAULT_CONFIG, s->value->span, "a process has no key `%s`",
                   s->key + 8);
        return false;
    }
    return true;
}

bool process_read(struct model *model, const struct model_request *request)
{
    uint32_t count = model->process_bodies.count;
    if (!check_settings(model, request))
        return false;
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

/* --- printing ----------------------------------------------------------------------------- */

char *process_rate_print(struct arena *arena, const struct chain *chain)
{
    if (chain->kind == CHAIN_TABLE)
        return arena_strdup(arena, chain->rates->text);
    if (chain->mask < 0)
        return arena_strdup(arena, "uniform");
    if (chain_carries_over(chain))
        return arena_strdup(arena, "absorb");
    return arena_printf(arena, "{mix: {absorb: %s, uniform: %s, mask_leaves: %s}}",
                        real_print(arena, chain->absorb), real_print(arena, chain->uniform),
                        chain->release > 0 ? "true" : "false");
}

static void write_reals(struct writer *w, const double *v, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        write_text(w, "%s%.17g", i ? ", " : "[", v[i]);
    write_text(w, "]");
}

static void write_matrix(struct writer *w, const struct rates *r)
{
    if (r->count > PROCESS_TEXT_ENTRIES) {
        write_text(w, "{hash: %016llx}", (unsigned long long)r->hash);
        return;
    }
    struct arena *work = arena_new();
    double *row = arena_new_array(work, double, (size_t)r->states);
    for (int32_t y = 0; y < r->states; y++) {
        memset(row, 0, (size_t)r->states * sizeof *row);
        row[y] = -r->leave[y];
        for (int64_t k = r->into_start[y]; k < r->into_start[y + 1]; k++)
            row[r->of[k]] = r->into_rate[k];
        write_text(w, y ? ", " : "{matrix: [");
        write_reals(w, row, r->states);
    }
    write_text(w, "]}");
    arena_free(work);
}

char *process_print(struct arena *arena, const struct process *process)
{
    const struct chain *chain = &process->chain;
    struct writer w = {.arena = arena};
    const char *rate = process_rate_print(arena, chain);
    if (chain->kind == CHAIN_TABLE && !chain->rates->whole)
        write_matrix(&w, chain->rates);
    else
        write_text(&w, "%s", rate);
    write_text(&w, " %d ", chain->tokens);
    if (chain->base) {
        write_text(&w, "base ");
        write_reals(&w, chain->base, chain->states);
        write_text(&w, " ");
    }
    write_text(&w, "%s%s", chain->raw ? "raw " : "", expr_print(arena, process->sigma));
    return w.text;
}
