/* From a run folder to a measured bound. Called by the commands that evaluate. */
#include "tools/measure.h"
#include "ops/ops.h"
#include "runtime/data/source.h"
#include "tools/classes.h"
#include "tools/run_record.h"
#include "tools/signals.h"

#include <stdlib.h>
#include <string.h>

bool measure_open(struct measured *m, struct command_line *line, const char *run)
{
    struct project *p = &m->p;
    m->run = run;
    if (!project_open_run(p, line, run))
        return false;
    const char *const *files = option_list(line, "data");
    const struct texts names = p->recipe->data.classes; /* the run's, whatever is evaluated */
    if (!project_run_data(p, files) || !record_check_model(p, run))
        return false;
    p->recipe->data.classes = names;
    if (!project_tell_label(p, p->recipe->eval.label))
        return false;
    const char *then = record_data_hash(p->arena, run);
    char *now = arena_printf(p->arena, "%016llx", (unsigned long long)dataset_hash(p->data));
    /* What is held out now may have been trained on then. */
    if (!files && then && strcmp(then, now) != 0)
        diag_warning(
            p->diags, (struct span){0},
            "the data has changed since %s was trained: what is held out now may have been "
            "trained on then",
            run);
    if (dataset_valid_count(p->data) >= 2)
        return true;
    long long most = (long long)dataset_valid_count(p->data);
    diag_error(p->diags, FAULT_DATA, (struct span){0},
               "%lld held-out window%s of %lld symbols: too few to evaluate", most,
               most == 1 ? "" : "s", (long long)p->length);
    diag_hint(p->diags, "hold out more with data.valid, or give other text with --data FILE");
    return false;
}

/* --- what is given -------------------------------------------------------------------------- */

static const char *given_forms(struct project *p)
{
    return arena_printf(p->arena,
                        "say prefix:N, every:K, but-one, or name a file with a 1 (given) or 0 for "
                        "each of the %lld positions",
                        (long long)p->length);
}

static bool mask_error(struct project *p, const char *text, const char *what, int64_t n)
{
    diag_error(p->diags, FAULT_CONFIG, (struct span){0}, "eval.given `%s` %s (%lld of %lld)", text,
               what, (long long)n, (long long)p->length);
    diag_hint(p->diags, "%s", given_forms(p));
    return false;
}

/* A file with one 0 or 1 for each position; white space does not count. */
static bool read_mask(struct project *p, const char *path, bool *given)
{
    struct source s;
    int64_t n = 0;
    if (!source_open(p->diags, path, &s)) {
        diag_hint(p->diags, "%s", given_forms(p));
        return false;
    }
    for (size_t i = 0; i < s.size; i++) {
        char c = s.text[i];
        if (c == ' ' || c == '\n' || c == '\t' || c == '\r')
            continue;
        if (c != '0' && c != '1') {
            diag_error(p->diags, FAULT_DATA, source_span(p->diags, &s, i, 1),
                       "a mask of given positions holds 0 and 1 only");
            source_close(&s);
            return false;
        }
        if (n < p->length)
            given[n] = c == '1';
        n++;
    }
    source_close(&s);
    return n == p->length || mask_error(p, path, "has not one digit for each position", n);
}

/* The number after PREFIX in TEXT, or 0 where TEXT does not start so or no such number is there. */
static int64_t number_after(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    char *end;
    if (strncmp(text, prefix, n) != 0 || text[n] < '1' || text[n] > '9')
        return 0;
    long long value = strtoll(text + n, &end, 10);
    return *end || value > INT32_MAX ? 0 : value;
}

static bool *prefix_given(struct project *p, int64_t count)
{
    bool *given = arena_new_array(p->arena, bool, p->length);
    for (int64_t i = 0; i < count && i < p->length; i++)
        given[i] = true;
    return given;
}

static bool read_given(struct measured *m)
{
    struct project *p = &m->p;
    const char *text = p->recipe->eval.given;
    if (!text)
        return true;
    m->but_one = strcmp(text, "but-one") == 0;
    if (m->but_one)
        return p->length > 1 || mask_error(p, text, "gives nothing", 0);
    int64_t prefix = number_after(text, "prefix:");
    bool *given = prefix_given(p, prefix);
    int64_t every = number_after(text, "every:");
    bool ruled = strncmp(text, "prefix:", 7) == 0 || strncmp(text, "every:", 6) == 0;
    for (int64_t i = 0; i < p->length; i++)
        given[i] |= every && i % every == 0;
    if (ruled && !prefix && !every)
        return mask_error(p, text, "has no whole number above 0", 0);
    if (!ruled && !read_mask(p, text, given))
        return false;
    int64_t count = 0;
    for (int64_t i = 0; i < p->length; i++)
        count += given[i];
    if (count == p->length)
        return mask_error(p, text, "leaves nothing to predict", count);
    m->given = given;
    return true;
}

/* --- the order ------------------------------------------------------------------------------ */

static const char order_forms[] =
    "say left, random, or name a file that lists each position that is "
    "not given once, counted from 0";

static bool order_error(struct project *p, const char *text, const char *what, long long at)
{
    diag_error(p->diags, FAULT_DATA, (struct span){0}, "--order %s: position %lld %s", text, at,
               what);
    diag_hint(p->diags, "%s", order_forms);
    return false;
}

/* Numbers of positions, as text. */
static bool read_order_file(struct measured *m, const char *path, int32_t *order, int64_t count)
{
    struct project *p = &m->p;
    struct source s;
    if (!source_open(p->diags, path, &s)) {
        diag_hint(p->diags, "%s", order_forms);
        return false;
    }
    char *text = arena_printf(p->arena, "%.*s", (int)s.size, s.text), *end;
    source_close(&s);
    bool *seen = arena_new_array(p->arena, bool, p->length);
    int64_t n = 0;
    for (char *at = text; *(at += strspn(at, " \t\r\n,")); at = end) {
        long long position = strtoll(at, &end, 10);
        if (end == at || position < 0 || position >= p->length)
            return order_error(p, path, "is not among those of a window", end == at ? n : position);
        if (seen[position] || (m->given && m->given[position]))
            return order_error(p, path, seen[position] ? "comes twice" : "is given", position);
        seen[position] = true;
        order[n++] = (int32_t)position;
    }
    for (int32_t i = 0; i < p->length && n < count; i++)
        if (!seen[i] && !(m->given && m->given[i]))
            return order_error(p, path, "is missing", i);
    return true;
}

static bool read_order(struct measured *m)
{
    struct project *p = &m->p;
    const char *text = option_text(p->line, "order");
    if (!text)
        return true;
    if (m->but_one) {
        diag_error(p->diags, FAULT_CONFIG, (struct span){0},
                   "--order %s: with eval.given but-one a single position is left, which has no "
                   "order",
                   text);
        diag_hint(p->diags,
                  "leave --order out; of a masking model eval.estimator=exact-k is exact");
        return false;
    }
    int32_t *order = arena_new_array(p->arena, int32_t, p->length);
    int64_t count = 0;
    for (int32_t i = 0; i < p->length; i++)
        if (!m->given || !m->given[i])
            order[count++] = i;
    m->order = order;
    if (strcmp(text, "left") == 0)
        return true;
    if (strcmp(text, "random") != 0)
        return read_order_file(m, text, order, count);
    shuffle_positions(random_key((uint64_t)p->recipe->sample.seed, "eval"), 0, 0, order, count);
    return true;
}

/* --- likelihoods that are known ------------------------------------------------------------- */

static bool exact_fault(const struct measured *m, const char *what, const char *why,
                        const char *hint)
{
    diag_error(m->p.diags, FAULT_CONFIG, (struct span){0},
               "%s: the likelihood of %s is exact, by its tokens from left to right%s", what,
               m->p.s.model->path, why);
    diag_hint(m->p.diags, "%s", hint);
    return false;
}

/* What belongs to bounds, or to models of any order. */
static bool check_exact(const struct measured *m)
{
    const struct project *p = &m->p;
    const bool *given = m->given;
    if (!project_exact(p))
        return true;
    if (m->all)
        return exact_fault(m, "--estimators", ", and is not estimated",
                           "estimators are of the bounds of diffusion models");
    if (recipe_typed(p->recipe, "eval.estimator") || recipe_typed(p->recipe, "eval.times"))
        return exact_fault(m,
                           recipe_typed(p->recipe, "eval.times") ? "eval.times" : "eval.estimator",
                           ", and is not estimated", "leave it out");
    if (m->order)
        return exact_fault(m, "--order", ", and has no other order", "leave it out");
    bool prefix = !m->but_one && (!given || given[0]);
    for (int64_t i = 1; given && i < p->length; i++)
        prefix &= given[i - 1] || !given[i];
    return prefix || exact_fault(m, "eval.given", ": only what comes before the rest can be given",
                                 "say prefix:N");
}

/* --- compiling and running ------------------------------------------------------------------ */

static bool is_masking(const struct model *model)
{
    return model->process_count == 1 && chain_carries_over(&model->processes[0].chain);
}

/* Counting masks needs a chain that masks and does nothing else. */
static bool check_counts(const struct measured *m, const char *what)
{
    const struct project *p = &m->p;
    const struct model *model = p->s.model;
    if (is_masking(model))
        return true;
    diag_error(p->diags, FAULT_CONFIG, (struct span){0},
               "%s counts masked positions, and the process of %s does more than mask", what,
               model->path);
    char *names = "";
    for (uint32_t i = 0; i < estimator_count; i++)
        if (!estimators[i].counts)
            names = arena_printf(p->arena, "%s%s%s", names, *names ? ", " : "", estimators[i].name);
    diag_hint(p->diags, "estimators for any process are: %s", names);
    return false;
}

/* Scores that are not projected are no law of the clean token: one taken out of them is another
 * model's. */
static bool lacks_law(const struct project *p)
{
    return project_raw(p) && project_mentions(p, "order_step", op_score_posterior.name, NULL);
}

static bool check_scores(const struct measured *m)
{
    const struct project *p = &m->p;
    if (!lacks_law(p))
        return true;
    const struct section *step = section_find(&p->s.model->programs, "order_step");
    diag_error(p->diags, FAULT_CONFIG, step->span,
               "%s asks for a law of the clean token, which scores that are not projected "
               "(process.project: off) do not give",
               m->order ? "--order" : "exact-k");
    diag_hint(p->diags, "set process.project=on, or take another estimator");
    return false;
}

/* An order is an exact likelihood only where the answer depends on what is masked and nothing else;
 * with sigma_k that is so too, as k is the number of masks. */
bool measure_load(struct measured *m, bool by_position)
{
    struct project *p = &m->p;
    struct bound_plan_set set;
    const char *which = option_text(p->line, "checkpoint");
    m->estimator = estimator_find(p->recipe->eval.estimator);
    m->time_free = project_time_free(p);
    if (!read_given(m) || !read_order(m) || !check_exact(m))
        return false;
    m->exact = project_exact(p);
    bool counts = !m->exact && (m->estimator->counts || m->order);
    if (counts && !check_counts(m, m->order ? "--order" : m->estimator->name))
        return false;
    bool both = m->all && is_masking(p->s.model) &&
                section_find(&p->s.model->programs, "order_step") && !lacks_law(p);
    struct bound_wish wish = {.terms = !counts || m->all,
                              .conditional = counts || both,
                              .given = m->given || m->but_one || dataset_gives(p->data),
                              .label = p->told,
                              .by_position = by_position};
    if ((counts && !check_scores(m)) ||
        !project_bound_wish(p, p->recipe->eval.batch, &wish, &set) || !project_state(p, false) ||
        !project_weights(p, m->run, which ? which : "last", &m->weights) ||
        !project_bound_load(p, &set, &m->plans))
        return false;
    const struct plan *read = m->exact ? set.exact : counts ? set.conditional : set.integrand;
    for (uint32_t r = 0; r < read->row_count; r++)
        m->averaged |= read->reads[r] && p->s.model->states.rows[r].class == STATE_EMA;
    return true;
}

static bool stop(void *context)
{
    (void)context;
    return signals_caught();
}

const bool *measure_given(struct measured *m)
{
    return m->given ? m->given : project_bound_config(&m->p, 0).given;
}

bool measure_run(struct measured *m, const struct estimator *estimator, bool by_position,
                 struct bound *out)
{
    struct project *p = &m->p;
    struct bound_config c = project_bound_config(p, p->recipe->eval.sequences);
    c.seed = (uint64_t)p->recipe->sample.seed;
    c.estimator = estimator;
    c.given = measure_given(m);
    c.but_one = m->but_one;
    c.by_position = by_position;
    c.apart = m->apart;
    struct bound_source source = project_valid_source(p, c.sequences);
    source.stop = stop;
    if (m->order)
        return order_evaluate(p->diags, p->arena, &m->plans, &c, m->order, &source, out);
    return bound_evaluate(p->diags, p->arena, &m->plans, &c, &source, out);
}

const char *measure_rule_name(const struct measured *m, const struct estimator *estimator)
{
    return estimator->counts && !m->time_free ? "exact-k (sigma_k)" : estimator->name;
}

const char *measure_estimator_name(const struct measured *m)
{
    if (m->exact)
        return "exact";
    if (m->order)
        return arena_printf(m->p.arena, "order %s", option_text(m->p.line, "order"));
    return measure_rule_name(m, m->estimator);
}

char *measure_protocol(const struct measured *m)
{
    const struct project *p = &m->p;
    const long long times = (long long)p->recipe->eval.times;
    char *windows =
        arena_printf(p->arena, "%lld held-out windows of %lld, spread over all, each on its own",
                     (long long)m->b.sequences, (long long)p->length);
    if (m->given || m->but_one)
        windows = arena_printf(p->arena, "%s, given %s", windows,
                               m->but_one ? "all but one position" : p->recipe->eval.given);
    else if (m->exact && !dataset_gives(p->data))
        windows = arena_printf(p->arena, "%s, given its first symbol", windows);
    if (dataset_gives(p->data))
        windows = arena_printf(p->arena, "%s, %.1f symbols of each counted", windows, m->b.free);
    if (p->told)
        windows = arena_printf(
            p->arena, "%s, told %s", windows,
            p->label < 0 ? "the class of each"
                         : arena_printf(p->arena, "the class %s", class_name(p, p->label)));
    if (project_raw(p))
        windows = arena_printf(p->arena, "%s, scores not projected", windows);
    if (m->exact)
        return arena_printf(p->arena, "%s; exact, each symbol given those before it", windows);
    if (m->order)
        return arena_printf(p->arena, "%s; exact, revealed in the order %s", windows,
                            option_text(p->line, "order"));
    if (m->estimator->published)
        return arena_printf(p->arena, "%s; one time on [0.001, 1], in two replicates", windows);
    if (m->estimator->counts)
        return arena_printf(p->arena, "%s; %lld stratified numbers of masks in two replicates%s",
                            windows, times,
                            m->time_free ? "" : ", sigma at which as many are masked");
    return arena_printf(p->arena, "%s; %lld %s times%s in two replicates on [%g, 1]", windows,
                        times, m->estimator->shared ? "shifted equidistant" : m->estimator->name,
                        m->estimator->even || !project_has_clock(p)
                            ? ""
                            : " (by t and the root of the noised share)",
                        project_t_min(p));
}
