/* sedge train: from a recipe to a run folder. */
#include "tools/progress.h"
#include "tools/project_bound.h"
#include "tools/run_record.h"
#include "tools/signals.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUICK_SEQUENCES 128 /* held-out windows of a validation while training */

static const struct option_spec options[] = {
    {"output", 'o', OPTION_FILE, "RUN", "folder of the run (runs/<recipe>-N)", NULL},
    {"overwrite", 0, OPTION_FLAG, NULL, "start the run in that folder anew", NULL},
    {"init-from", 0, OPTION_FILE, "RUN|FILE", "start from these weights", NULL},
    {"steps", 0, OPTION_KEY, "N", "updates", "train.steps"},
    {"minutes", 0, OPTION_KEY, "M", "stop after so long", "train.minutes"},
    {"seed", 0, OPTION_KEY, "N", "of weights, data order, noise and dropout", "train.seed"},
    SESSION_OPTIONS,
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
    int64_t saved; /* step of the newest checkpoint */
};

/* --- hooks -------------------------------------------------------------------------------- */

static int64_t window(void *context, uint32_t iteration, uint32_t sequence, int32_t *out)
{
    struct job *j = context;
    return dataset_train_window(j->p.data, random_key(j->config.seed, "data"), iteration, sequence,
                                out);
}

static int32_t label(void *context, uint32_t iteration, uint32_t sequence)
{
    struct job *j = context;
    return dataset_train_label(j->p.data, random_key(j->config.seed, "data"), iteration, sequence);
}

static bool stop(void *context)
{
    (void)context;
    return signals_caught();
}

static bool report(void *context, const struct train_report *r)
{
    struct job *j = context;
    progress_step(&j->progress, r);
    char line[256];
    snprintf(
        line, sizeof line,
        "{\"step\": %lld, \"loss\": %.9g, \"grad_norm\": %.6g, \"lr\": %.6g, \"seconds\": %.3f}",
        (long long)r->step, r->loss / r->symbols, r->grad_norm, r->lr, r->seconds);
    return folder_metric(&j->folder, line);
}

static bool save(struct job *j, const struct train_report *r, bool best)
{
    if (!folder_checkpoint(&j->folder, &j->p.s.state, r->step, best))
        return false;
    j->saved = r->step;
    return true;
}

static bool checkpoint(void *context, const struct train_report *r)
{
    struct job *j = context;
    return j->saved == r->step || save(j, r, false);
}

/* Writes the line, and takes the bound as the line has it: a resumed run reads it back there. */
static bool note_bound(struct job *j, const struct train_report *r, const struct bound *b)
{
    char line[200], nats[32], truth[40] = "";
    snprintf(nats, sizeof nats, "%.9g", b->nats);
    snprintf(line, sizeof line,
             "{\"step\": %lld, \"bound\": %s, \"stderr\": %.6g, \"sequences\": %lld}",
             (long long)r->step, nats, b->error, (long long)b->sequences);
    bool best = folder_validated(&j->folder, r->step, strtod(nats, NULL));
    if (b->known)
        snprintf(truth, sizeof truth, ", truth %.4f", b->truth);
    j->progress.bound = b->nats;
    if (b->known) /* that of the windows which the bound was measured on */
        j->progress.truth = b->truth;
    progress_note(&j->progress, "step %lld  held-out %s %.4f ± %.4f nats a symbol%s%s",
                  (long long)r->step, j->progress.measure, b->nats, b->error, truth,
                  best ? "  (best)" : "");
    return folder_metric(&j->folder, line) && (!best || save(j, r, true));
}

static bool validate(void *context, const struct train_report *r)
{
    struct job *j = context;
    struct arena *arena = arena_new();
    int64_t n = j->p.recipe->eval.sequences;
    struct bound_config c = project_bound_config(&j->p, n < QUICK_SEQUENCES ? n : QUICK_SEQUENCES);
    c.seed = (uint64_t)j->p.recipe->train.seed;
    struct bound b;
    struct bound_source source = project_valid_source(&j->p, c.sequences);
    source.stop = stop;
    bool whole = bound_evaluate(j->p.diags, arena, &j->bound, &c, &source, &b);
    bool good = whole ? note_bound(j, r, &b) : signals_caught();
    arena_free(arena);
    return good;
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

/* The bound and the start of samplers, evaluated on the way or not: what `eval` and `sample` would
 * refuse when all is trained is refused before. */
static bool compile_ends(struct job *j)
{
    struct project *p = &j->p;
    const struct recipe *q = p->recipe;
    if (project_has_bound(p) && !project_bound_plans(p, q->eval.batch, &j->bound_set))
        return false;
    return !section_find(&p->s.model->programs, "base") ||
           project_plan(p, "base", q->sample.batch, NULL, 0);
}

static bool load_plans(struct job *j)
{
    struct project *p = &j->p;
    struct plan *plans[2 + BOUND_PLANS];
    uint32_t count = project_training_plans(p, plans), all = count;
    if (!count)
        return false;
    j->bounded = project_evaluates(p);
    if (!project_tell_label(p, p->recipe->eval.label))
        return false;
    if (!compile_ends(j))
        return false;
    if (j->bounded)
        all += project_bound_list(&j->bound_set, plans + all);
    if (!project_fit(p, plans, all) || !project_state(p, true))
        return false;
    struct loaded **into[] = {&j->trainer.gradient, &j->trainer.update};
    for (uint32_t i = 0; i < count; i++)
        if (!(*into[i] = executor_load(p->diags, p->arena, &p->s.engine, plans[i])))
            return false;
    j->trainer.step = p->step;
    return !j->bounded || project_bound_load(p, &j->bound_set, &j->bound);
}

/* The checkpoint of this run to go on from. */
static bool resume(struct job *j)
{
    struct project *p = &j->p;
    char *path = folder_file(&j->folder, "last.safetensors");
    struct tensor_file *file = tensor_file_open(p->diags, p->arena, path);
    bool good = file && state_load(p->diags, &p->s.state, file, FILL_EXACT);
    tensor_file_close(file);
    if (good && (*p->step < 0 || *p->step > UINT32_MAX)) {
        diag_error(p->diags, FAULT_DATA, (struct span){0}, "%s: `cursor/step` is %lld", path,
                   (long long)*p->step);
        good = false;
    }
    if (!good)
        diag_hint(p->diags, "an older step-*.safetensors copied over it resumes from there");
    return good;
}

/* The weights of another run, or of a file. */
static bool start_from(struct job *j, const char *from)
{
    struct project *p = &j->p;
    struct folder f = {.arena = p->arena, .path = from};
    char *path =
        folder_has(&f, ".") ? folder_file(&f, "last.safetensors") : arena_strdup(p->arena, from);
    struct tensor_file *file = tensor_file_open(p->diags, p->arena, path);
    bool good = file && state_load(p->diags, &p->s.state, file, FILL_WEIGHTS);
    tensor_file_close(file);
    return good;
}

/* Nothing is touched before all that is read is known to be good. */
static bool open_folder(struct job *j, const char *path)
{
    struct project *p = &j->p;
    const char *from = option_text(p->line, "init-from");
    bool anew = option_given(p->line, "overwrite");
    struct folder there = {.arena = p->arena, .path = path};
    bool exists = folder_has(&there, "config.yaml") && !anew;
    bool begun = exists && folder_has(&there, "last.safetensors");
    if (from && !begun && !start_from(j, from))
        return false;
    if (!from && !begun)
        state_init(&p->s.state, (uint64_t)p->recipe->train.seed);
    if (!folder_open(&j->folder, p->diags, p->arena, path, p->recipe->train.keep))
        return false;
    if (exists && !record_matches(p, &j->folder))
        return false;
    if (begun && !resume(j))
        return false;
    if (anew)
        folder_clear(&j->folder);
    else if (begun)
        folder_drop(&j->folder,
                    *p->step); /* a smaller train.keep makes room before the first save */
    /* The record first: by it a folder is known as a run when this one is killed. */
    return record_write(p, &j->folder, exists) && folder_metrics(&j->folder, *p->step);
}

static struct train_config make_config(const struct job *j)
{
    const struct project *p = &j->p;
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
                                 .seconds = j->folder.seconds,
                                 .validated = j->folder.validated};
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
        fprintf(stderr, "true cross-entropy of the held-out windows: %.4f nats a symbol\n",
                truth.mean);
        j->progress.truth = truth.mean;
    }
    if (*p->step)
        fprintf(stderr, "resumed at step %lld\n", (long long)*p->step);
    if (train_is_over(&j->config, *p->step, j->config.seconds))
        fprintf(stderr, "nothing is left to do: train.steps=N or train.minutes=M goes further\n");
}

/* A word as a shell takes it. */
static char *quoted(struct arena *arena, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./=,:+@%";
    if (word[0] && !word[strspn(word, plain)])
        return arena_strdup(arena, word);
    char *text = arena_strdup(arena, "'");
    for (; *word; word++)
        text = *word == '\'' ? arena_printf(arena, "%s'\\''", text)
                             : arena_printf(arena, "%s%c", text, *word);
    return arena_printf(arena, "%s'", text);
}

/* The command that goes on with this run: as typed, with the folder it was given. */
static char *same_command(const struct job *j)
{
    struct command_line *line = j->p.line;
    char *text = arena_strdup(line->arena, "");
    for (int i = 0; i < line->argc; i++)
        if (strcmp(line->argv[i], "--overwrite") != 0)
            text = arena_printf(line->arena, "%s%s%s", text, i ? " " : "",
                                quoted(line->arena, line->argv[i]));
    if (option_given(line, "output"))
        return text;
    return arena_printf(line->arena, "%s -o %s", text, quoted(line->arena, j->folder.path));
}

static int fail(struct job *j, enum train_end end)
{
    struct diags *diags = j->p.diags;
    if (j->saved)
        diag_hint(diags, "the checkpoint of step %lld is kept in %s", (long long)j->saved,
                  j->folder.path);
    if (end == TRAIN_NOT_FINITE) {
        diag_hint(diags, "try a train.lr below %g, or train.clip=1, in another run%s%s",
                  j->config.lr, j->saved ? " with --init-from " : "",
                  j->saved ? j->folder.path : "");
    } else if (j->saved) {
        diag_hint(diags, "%s", same_command(j));
        diag_hint(diags, "goes on from there");
    }
    return diags_exit_code(diags) ? diags_exit_code(diags) : 1;
}

static int finish(struct job *j, enum train_end end)
{
    struct project *p = &j->p;
    const struct folder *f = &j->folder;
    long long step = (long long)*p->step;
    progress_close(&j->progress);
    if (end == TRAIN_FAILED || end == TRAIN_NOT_FINITE)
        return fail(j, end);
    if (step == 0) {
        fprintf(stderr, "stopped before the first step\n");
        return signals_exit_code();
    }
    if (isfinite(f->best))
        fprintf(stderr, "lowest held-out %s: %.4f nats a symbol, at step %lld\n",
                j->progress.measure, f->best, (long long)f->best_step);
    fprintf(stderr, "step %lld, state digest %016llx\n", step,
            (unsigned long long)state_digest(&p->s.state));
    if (end == TRAIN_STOPPED) {
        fprintf(stderr, "stopped, with a checkpoint saved; this goes on from there:\n  %s\n",
                same_command(j));
        return signals_exit_code();
    }
    char *name = quoted(p->arena, f->path);
    fprintf(stderr, "next: sedge eval %s; sedge sample %s --watch\n", name, name);
    return 0;
}

static int train(struct job *j)
{
    struct project *p = &j->p;
    const struct train_recipe *t = &p->recipe->train;
    j->config = make_config(j);
    j->progress = (struct progress){.steps = t->steps,
                                    .measure = project_exact(p) ? "-log p" : "bound",
                                    .minutes = t->minutes,
                                    .symbols = (double)(t->batch * t->accumulate * p->length),
                                    .first_step = *p->step};
    progress_open(&j->progress);
    introduce(j);
    struct train_hooks hooks = {j,          window, report, j->bounded ? validate : NULL,
                                checkpoint, stop,   label};
    j->saved = *p->step;
    signals_catch("\r\033[Ksaving a checkpoint after this step; Ctrl-C again ends at once\n");
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
    .detail = "RECIPE is a file or the name of an installed recipe (quickstart, text, …). On an "
              "existing\n"
              "run with the same configuration it resumes; otherwise it says what differs.\n"
              "Ctrl-C and SIGTERM save a checkpoint first.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
