/* The bound of a project: see project_bound.h. */
#include "tools/project_bound.h"
#include "graph/process.h"
#include "tools/classes.h"

#include <math.h>
#include <string.h>

bool project_tell_label(struct project *p, const char *label)
{
    bool takes = section_find(&p->s.model->programs, "bound_integrand") &&
                 project_takes(p, "bound_integrand", "label");
    p->label = -1;
    p->told = takes && p->data && dataset_class_count(p->data) > 0;
    if (!label || strcmp(label, "none") == 0) {
        p->told &= !label;
        return true;
    }
    if (!class_find(p, "eval.label", label, &p->label))
        return false;
    p->told = takes;
    if (takes)
        return true;
    diag_error(p->diags, FAULT_CONFIG, (struct span){0},
               "eval.label %s: the bound of %s takes no label", label, p->s.model->path);
    diag_hint(p->diags, "a model whose bound does: labelled");
    return false;
}

/* One program of the bound, with what is wished of it. */
static struct plan *bound_plan(struct project *p, const char *program, int64_t batch,
                               const struct bound_wish *wish)
{
    static const char *const want[] = {"by_position"};
    const char *bind[3];
    uint32_t bind_count = 0;
    const struct section *section = section_find(&p->s.model->programs, program);
    bool step = strcmp(program, "order_step") == 0;
    bool fixed = wish->given && !step && !project_exact(p);
    if (!section) {
        diag_error(p->diags, FAULT_CONFIG, (struct span){0}, "the model %s has no program `%s`",
                   p->s.model->path, program);
        diag_hint(p->diags, step ? "exact-k and --order need it: absorbing models with a block "
                                   "`log_posterior` include bound-order.yaml"
                                 : "models that can be evaluated include bound.yaml");
        return NULL;
    }
    if (fixed && !project_takes(p, program, "fixed")) {
        diag_error(p->diags, FAULT_CONFIG, section->span,
                   "`%s` has no input `fixed`: nothing can be given to it", program);
        diag_hint(p->diags, "the programs of bound.yaml show how to leave given positions out");
        return NULL;
    }
    if (fixed)
        bind[bind_count++] = "fixed";
    if (wish->label && project_takes(p, program, "label"))
        bind[bind_count++] = "label";
    if (project_takes(p, program, "turn"))
        bind[bind_count++] = "turn";
    return project_compile(p,
                           &(struct elaborate_request){.program = program,
                                                       .bind = bind,
                                                       .bind_count = bind_count,
                                                       .want = want,
                                                       .want_count = wish->by_position},
                           batch);
}

/* The integral starts at the model's own t_min, and what lies before it is reconstruction. */
static bool check_t_min(const struct project *p)
{
    if (model_param(p->s.model, "t_min"))
        return true;
    diag_error(p->diags, FAULT_CONFIG, (struct span){0},
               "the model %s has no param `t_min`, at which the integral of its bound starts",
               p->s.model->path);
    diag_hint(p->diags, "models that can be evaluated include limits.yaml, as bound.yaml does");
    return false;
}

bool project_bound_wish(struct project *p, int64_t batch, const struct bound_wish *wish,
                        struct bound_plan_set *set)
{
    *set = (struct bound_plan_set){0};
    if (project_exact(p)) {
        set->exact = bound_plan(p, "likelihood", batch, wish);
        return set->exact != NULL;
    }
    if (wish->terms) {
        set->integrand = bound_plan(p, "bound_integrand", batch, wish);
        set->base = set->integrand ? bound_plan(p, "bound_base", batch, wish) : NULL;
        set->reconstruction = set->base ? bound_plan(p, "bound_reconstruction", batch, wish) : NULL;
        if (!set->reconstruction || !check_t_min(p))
            return false;
    }
    if (wish->conditional)
        set->conditional = bound_plan(p, "order_step", batch, wish);
    return !wish->conditional || set->conditional;
}

bool project_bound_plans(struct project *p, int64_t batch, struct bound_plan_set *set)
{
    struct bound_wish wish = {
        .terms = true, .label = p->told, .given = p->data && dataset_gives(p->data)};
    return project_bound_wish(p, batch, &wish, set);
}

uint32_t project_bound_list(const struct bound_plan_set *set, struct plan **plans)
{
    struct plan *const each[] = {set->integrand, set->base, set->reconstruction, set->conditional,
                                 set->exact};
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        if (each[i])
            plans[count++] = each[i];
    return count;
}

bool project_exact(const struct project *p)
{
    return section_find(&p->s.model->programs, "likelihood") != NULL;
}

bool project_has_bound(const struct project *p)
{
    const struct sections *programs = &p->s.model->programs;
    return project_exact(p) ||
           (section_find(programs, "bound_integrand") && section_find(programs, "bound_base") &&
            section_find(programs, "bound_reconstruction"));
}

bool project_evaluates(const struct project *p)
{
    return p->recipe->train.eval_every > 0 && project_has_bound(p) && p->data &&
           dataset_valid_count(p->data) >= 2;
}

bool project_bound_load(struct project *p, const struct bound_plan_set *set,
                        struct bound_plans *out)
{
    const struct {
        const struct plan *plan;
        struct loaded **loaded;
    } each[] = {{set->integrand, &out->integrand},
                {set->base, &out->base},
                {set->reconstruction, &out->reconstruction},
                {set->conditional, &out->conditional},
                {set->exact, &out->exact}};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        struct loaded **loaded = each[i].loaded;
        *loaded = NULL;
        if (!each[i].plan)
            continue;
        *loaded = executor_load(p->diags, p->arena, &p->s.engine, each[i].plan);
        if (!*loaded)
            return false;
    }
    return true;
}

double project_t_min(const struct project *p)
{
    const struct param *t = model_param(p->s.model, "t_min");
    return t ? number_real(t->value) : 0;
}

/* The share of tokens that noise has reached at time T. */
static double noised_share(void *context, double t)
{
    const struct project *p = context;
    const struct process *process = &p->s.model->processes[0];
    double sigma;
    if (!process_sigma(process, t, &sigma))
        return 1; /* only past the end of the noise */
    return -expm1(-sigma * chain_fastest(&process->chain));
}

bool project_has_clock(const struct project *p)
{
    const struct model *model = p->s.model;
    return model->process_count == 1 && chain_forgets_alike(&model->processes[0].chain);
}

/* The first of LENGTH positions. */
static const bool *first_given(struct project *p)
{
    bool *given = arena_new_array(p->arena, bool, p->length);
    given[0] = true;
    return given;
}

struct bound_config project_bound_config(struct project *p, int64_t sequences)
{
    const struct eval_recipe *e = &p->recipe->eval;
    int64_t most = (int64_t)dataset_valid_count(p->data);
    return (struct bound_config){.batch = e->batch,
                                 .sequences = sequences < most ? sequences : most,
                                 .times = e->times,
                                 .length = p->length,
                                 .given = project_exact(p) ? first_given(p) : NULL,
                                 .t_min = project_t_min(p),
                                 .noised = noised_share,
                                 .noised_context = p,
                                 .evenly = !project_has_clock(p)};
}

/* --- held-out data ------------------------------------------------------------------------ */

static size_t spread_window(const struct project *p, int64_t index)
{
    return (size_t)(index * (int64_t)dataset_valid_count(p->data) / p->spread);
}

static void valid_window(void *context, int64_t index, int32_t *out)
{
    struct project *p = context;
    dataset_valid_window(p->data, spread_window(p, index), out);
}

static void valid_given(void *context, int64_t index, bool *given)
{
    struct project *p = context;
    dataset_valid_given(p->data, spread_window(p, index), given);
}

static int32_t valid_label(void *context, int64_t index)
{
    struct project *p = context;
    return p->label >= 0 ? p->label : dataset_valid_label(p->data, spread_window(p, index));
}

static bool valid_truth(void *context, const int32_t *window, const bool *given, double *nats)
{
    struct project *p = context;
    return dataset_truth(p->data, window, given, nats);
}

static bool class_truth(void *context, int32_t label, const int32_t *window, const bool *given,
                        double *nats)
{
    struct project *p = context;
    return dataset_class_count(p->data) ? dataset_class_truth(p->data, label, window, given, nats)
                                        : dataset_truth(p->data, window, given, nats);
}

struct bound_source project_valid_source(struct project *p, int64_t count)
{
    p->spread = count;
    return (struct bound_source){.window = valid_window,
                                 .truth = valid_truth,
                                 .context = p,
                                 .label = p->told ? valid_label : NULL,
                                 .class_truth = class_truth,
                                 .given = dataset_gives(p->data) ? valid_given : NULL};
}
