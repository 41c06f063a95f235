/* sedge train: from a recipe to a run folder. */
#include "tools/progress.h"
#include "tools/run_record.h"
#include "tools/signals.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define QUICK_SEQUENCES 128 /* held-out windows of a validation while training */

static const struct option_spec options[] = {
    {"output", 'o', OPTION_TEXT, "RUN", "folder of the run (runs/<recipe>-N)", NULL},
    {"overwrite", 0, OPTION_FLAG, NULL, "start the run in that folder anew", NULL},
    {"init-from", 0, OPTION_TEXT, "RUN|FILE", "start from these weights", NULL},
    {"steps", 0, OPTION_KEY, "N", "updates", "train.steps"},
    {"minutes", 0, OPTION_KEY, "M", "stop after so long", "train.minutes"},
    {"seed", 0, OPTION_KEY, "N", "of weights, data order, noise and dropout", "train.seed"},
    {0}};

struct job {
    struct project p;
    struct folder folder;
    struct trainer trainer;
    struct train_config config;
    struct bound_plan_set bound_set;
    struct bound_plans bound;
    bool bounded; /* the model has the programs of the bound, and something is held out */
    struct progress progress;
    double valid; /* of this step's validation, NaN without one */
    int64_t saved; /* step of the newest checkpoint */
};

/* --- hooks -------------------------------------------------------------------------------- */

static void window(void *context, uint32_t iteration, uint32_t sequence, int32_t *out)
{
    struct job *j = context;
    dataset_train_window(j->p.data, random_key(j->config.seed, "data"), iteration, sequence, out);
}

static bool stop(void *context)
{
    (void)context;
    return signals_caught();
}

static bool report(void *context, const struct train_report *r)
{
    struct job *j = context;
    double length = (double)j->p.length;
    progress_step(&j->progress, r);
    char line[256];
    snprintf(line, sizeof line,
             "{\"step\": %lld, \"loss\": %.9g, \"grad_norm\": %.6g, \"lr\": %.6g, \"seconds\": %.3f}",
             (long long)r->step, r->loss / length, r->grad_norm, r->lr, r->seconds);
    return folder_metric(&j->folder, line);
}

static bool save(struct job *j, const struct train_report *r, bool best)
{
    j->folder.seconds = r->seconds;
    j->saved = r->step;
    return folder_checkpoint(&j->folder, &j->p.s.state, r->step, best);
}

static bool checkpoint(void *context, const struct train_report *r)
{
    struct job *j = context;
    return j->saved == r->step || save(j, r, false);
}

static bool validate(void *context, const struct train_report *r)
{
    struct job *j = context;
    struct arena *arena = arena_new();
    struct bound_source source = project_valid_source(&j->p);
    int64_t most = (int64_t)dataset_valid_count(j->p.data);
    const struct eval_recipe *e = &j->p.recipe->eval;
    int64_t n = e->sequences < QUICK_SEQUENCES ? e->sequences : QUICK_SEQUENCES;
    struct bound_config c = {.batch = e->batch,
                             .sequences = n < most ? n : most,
                             .times = e->times,
                             .length = j->p.length,
                             .t_min = project_t_min(&j->p),
                             .seed = (uint64_t)j->p.recipe->train.seed};
    struct bound b;
    source.stop = stop;
    bool good = bound_evaluate(j->p.diags, arena, &j->bound, &c, &source, &b);
    if (good) {
        char line[200];
        snprintf(line, sizeof line,
                 "{\"step\": %lld, \"bound\": %.9g, \"stderr\": %.6g, \"sequences\": %lld}",
                 (long long)r->step, b.nats, b.error, (long long)b.sequences);
        bool best = b.nats < j->folder.best;
        j->progress.bound = b.nats;
        if (best)
            j->folder.best = b.nats;
        progress_note(&j->progress, "step %lld  held-out bound %.4f ± %.4f nats a symbol%s%s",
                      (long long)r->step, b.nats, b.error,
                      b.known ? arena_printf(arena, ", truth %.4f", b.truth) : "",
                      best ? "  (best)" : "");
        good = folder_metric(&j->folder, line) && (!best || save(j, r, true));
    }
    arena_free(arena);
    return good || signals_caught();
}

/* --- setting up ---------------------------------------------------------------------------- */

static const char *free_folder(struct command_line *line, const char *name)
{
    for (int n = 1;; n++) {
        char *path = arena_printf(line->arena, "runs/%s-%d", name, n);
        if (access(path, F_OK) != 0)
            return path;
    }
}

static bool has_bound(const struct model *m)
{
    return section_find(&m->programs, "bound_integrand") &&
           section_find(&m->programs, "bound_base") &&
           section_find(&m->programs, "bound_reconstruction");
}

static bool load_plans(struct job *j)
{
    struct project *p = &j->p;
    struct plan *gradient, *update;
    if (!project_training_plans(p, &gradient, &update))
        return false;
    j->bounded = p->recipe->train.eval_every > 0 && has_bound(p->s.model) &&
                 dataset_valid_count(p->data) >= 2;
    if (j->bounded && !project_bound_plans(p, p->recipe->eval.batch, &j->bound_set))
        return false;
    if (!project_state(p, true))
        return false;
    j->trainer.gradient = executor_load(p->diags, p->arena, &p->s.engine, gradient);
    j->trainer.update =
        j->trainer.gradient ? executor_load(p->diags, p->arena, &p->s.engine, update) : NULL;
    j->trainer.step = p->step;
    return j->trainer.update && (!j->bounded || project_bound_load(p, &j->bound_set, &j->bound));
}

/* A checkpoint of this run to go on from, or nothing. */
static bool resume(struct job *j)
{
    struct project *p = &j->p;
    char *path = folder_file(&j->folder, "last.safetensors");
    if (!folder_has(&j->folder, "last.safetensors"))
        return true;
    struct tensor_file *file = tensor_file_open(p->diags, p->arena, path);
    bool good = file && state_load(p->diags, &p->s.state, file, FILL_EXACT);
    tensor_file_close(file);
    if (!good)
        diag_hint(p->diags, "an older step-*.safetensors copied to last.safetensors resumes from there");
    return good && folder_read_progress(&j->folder);
}

static bool start_from(struct job *j, const char *from)
{
    struct project *p = &j->p;
    struct folder f = {.arena = p->arena, .path = from};
    char *path = folder_has(&f, "last.safetensors") ? folder_file(&f, "last.safetensors")
                                                     : arena_strdup(p->arena, from);
    struct tensor_file *file = tensor_file_open(p->diags, p->arena, path);
    bool good = file && state_load(p->diags, &p->s.state, file, FILL_WEIGHTS);
    tensor_file_close(file);
    return good;
}

static bool open_folder(struct job *j, const char *path)
{
    struct project *p = &j->p;
    struct command_line *line = p->line;
    const char *from = option_text(line, "init-from");
    if (!folder_open(&j->folder, p->diags, p->arena, path, p->recipe->train.keep))
        return false;
    bool exists = folder_has(&j->folder, "config.yaml") && !option_given(line, "overwrite");
    if (exists && !record_matches(p, &j->folder))
        return false;
    if (!exists && option_given(line, "overwrite"))
        folder_clear(&j->folder);
    if (exists && from && folder_has(&j->folder, "last.safetensors"))
        from = NULL; /* the run has begun from there already */
    if (exists && !from && !resume(j))
        return false;
    if (from && !start_from(j, from))
        return false;
    return record_write(p, &j->folder) && folder_metrics(&j->folder, *p->step);
}

static struct train_config make_config(const struct project *p, double seconds)
{
    const struct train_recipe *t = &p->recipe->train;
    enum lr_schedule schedule = strcmp(t->schedule, "cosine") == 0   ? LR_COSINE
                                : strcmp(t->schedule, "linear") == 0 ? LR_LINEAR
                                                                     : LR_CONSTANT;
    return (struct train_config){.steps = t->steps,
                                 .minutes = t->minutes,
                                 .batch = t->batch,
                                 .accumulate = t->accumulate,
                                 .length = p->length,
                                 .lr = t->lr,
                                 .warmup = t->warmup,
                                 .schedule = schedule,
                                 .eval_every = t->eval_every,
                                 .checkpoint_every = t->checkpoint_every,
                                 .seed = (uint64_t)t->seed,
                                 .seconds = seconds};
}

/* --- what is said ------------------------------------------------------------------------- */

static double parameters(const struct project *p)
{
    double n = 0;
    for (uint32_t i = 0; i < p->s.model->states.count; i++)
        if (p->s.model->states.rows[i].class == STATE_PARAMETER)
            n += (double)type_count(&p->s.model->states.rows[i].type);
    return n;
}

static void introduce(struct job *j)
{
    struct project *p = &j->p;
    struct anchor truth;
    fprintf(stderr, "%s: %s, %.2f million parameters, %s on %d thread%s\n", j->folder.path,
            p->recipe->model, parameters(p) / 1e6, p->s.engine.isa, p->s.engine.threads,
            p->s.engine.threads == 1 ? "" : "s");
    fprintf(stderr, "data: %s\n", dataset_description(p->data));
    if (dataset_truth_mean(p->data, &truth)) {
        fprintf(stderr, "true cross-entropy of the held-out windows: %.4f nats a symbol\n", truth.mean);
        j->progress.truth = truth.mean;
    }
    if (*p->step)
        fprintf(stderr, "resumed at step %lld\n", (long long)*p->step);
}

static int finish(struct job *j, enum train_end end)
{
    struct project *p = &j->p;
    progress_close(&j->progress);
    if (end == TRAIN_FAILED)
        return diags_exit_code(p->diags) ? diags_exit_code(p->diags) : 1;
    fprintf(stderr, "step %lld, state digest %016llx\n", (long long)*p->step,
            (unsigned long long)state_digest(&p->s.state));
    if (end == TRAIN_STOPPED) {
        fprintf(stderr, "stopped with a checkpoint saved; the same command goes on from there\n");
        return signals_exit_code();
    }
    fprintf(stderr, "next: sedge eval %s; sedge sample %s --watch\n", j->folder.path, j->folder.path);
    return 0;
}

static int train(struct job *j)
{
    struct project *p = &j->p;
    const struct train_recipe *t = &p->recipe->train;
    j->config = make_config(p, j->folder.seconds);
    j->progress = (struct progress){.steps = t->steps,
                                    .minutes = t->minutes,
                                    .length = (double)p->length,
                                    .symbols = (double)(t->batch * t->accumulate * p->length),
                                    .first_step = *p->step};
    progress_open(&j->progress);
    introduce(j);
    struct train_hooks hooks = {j, window, report, j->bounded ? validate : NULL, checkpoint, stop};
    j->saved = *p->step;
    signals_catch();
    return finish(j, train_run(p->diags, p->arena, &j->trainer, &j->config, &hooks));
}

static int run(struct command_line *line)
{
    struct job *j = arena_alloc(line->arena, sizeof *j);
    struct project *p = &j->p;
    char *recipe = find_recipe(line, line->positional[0]);
    if (!recipe || !project_open(p, line, recipe, NULL, false))
        return diags_exit_code(line->diags);
    const char *out = option_text(line, "output");
    if (!out)
        out = free_folder(line, p->recipe->name);
    record_pin(p);
    int code = load_plans(j) && open_folder(j, out) ? train(j) : diags_exit_code(line->diags);
    folder_close(&j->folder);
    project_close(p);
    return code;
}

const struct command command_train = {
    .name = "train",
    .usage = "RECIPE [key=value…] [-o RUN]",
    .doc = "train a model by a recipe; the same command resumes a run",
    .detail = "RECIPE is a file or the name of an installed recipe (quickstart, text, …). On an existing\n"
              "run with the same configuration it resumes; otherwise it says what differs.\n"
              "Ctrl-C and SIGTERM save a checkpoint first.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
