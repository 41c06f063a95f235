/* sedge sample: text from a run. The text goes to stdout, all else to stderr. */
#include "tools/sample.h"
#include "graph/base/clock.h"
#include "tools/signals.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct option_spec options[] = {
    {"count", 'n', OPTION_KEY, "N", "sequences", "sample.count"},
    {"steps", 's', OPTION_KEY, "N", "steps of the time grid", "sample.steps"},
    {"sampler", 0, OPTION_KEY, "NAME", "loop of the model: tweedie, euler, …", "sample.sampler"},
    {"seed", 0, OPTION_KEY, "N", "of the draws", "sample.seed"},
    {"prefix", 0, OPTION_TEXT, "TEXT", "how each sequence begins", NULL},
    {"suffix", 0, OPTION_TEXT, "TEXT", "how each sequence ends", NULL},
    {"infill", 0, OPTION_TEXT, "TEXT", "text with holes: 'best of {mask:12} times'", NULL},
    {"template", 0, OPTION_FILE, "FILE", "many such texts, one a line", NULL},
    {"length", 0, OPTION_KEY, "N", "symbols; beyond the model's length, by blocks",
     "sample.length"},
    {"stop", 0, OPTION_TEXT, "SYMBOL",
     "end a sequence before it (the end of a document, where each is a row of its own)", NULL},
    {"temperature", 0, OPTION_KEY, "X", "below 1: likelier tokens more often",
     "params.temperature"},
    {"top-p", 0, OPTION_KEY, "P", "only the likeliest tokens of mass P", "params.top_p"},
    {"top-k", 0, OPTION_KEY, "N", "only the N likeliest tokens", "params.top_k"},
    {"label", 0, OPTION_TEXT, "CLASS", "class of a model with classes, by name or number", NULL},
    {"gamma", 0, OPTION_TEXT, "G", "strength of guidance towards it; 1: none beyond it", NULL},
    {"grid", 0, OPTION_KEY, "TIMES", "[1, 0.5, 0.1], a file, or uniform, log, cosine, quadratic",
     "sample.grid"},
    {"json", 'j', OPTION_FLAG, NULL, "the texts and how they were drawn, as JSON", NULL},
    {"watch", 'w', OPTION_FLAG, NULL, "show the first sequences while noise resolves into text",
     NULL},
    {"checkpoint", 'c', OPTION_FILE, "WHICH", "last (default), best, or a file", NULL},
    {"raw", 0, OPTION_FLAG, NULL, "the parameters themselves, not their average", NULL},
    SESSION_OPTIONS,
    {0}};

/* What a sampler counted in the carry NAME, over the sequences of the last run. */
static double carried_total(struct sample_job *j, const char *name)
{
    const double *counts = loop_carry_data(j->looper, name);
    double total = 0;
    for (int64_t i = 0; counts && i < j->count; i++)
        total += counts[i];
    return total;
}

static bool all_stopped(const struct sample_job *j, int64_t done)
{
    for (int64_t i = 0; i < j->count; i++) {
        bool stopped = false;
        for (int64_t k = 0; k < done && !stopped; k++)
            stopped = j->out[i * j->wanted + k] == j->stop;
        if (!stopped)
            return false;
    }
    return true;
}

static void hint_why(struct sample_job *j)
{
    if (j->gamma != 1)
        diag_hint(j->p.diags, "--gamma %g may be too far from 1", j->gamma);
    else if (j->lawless)
        diag_hint(j->p.diags, "the network gives values that are not finite: its weights may have "
                              "grown too large");
    else
        diag_hint(j->p.diags, "the last call of a loop must leave no mask, as `denoise` does");
}

/* A mask is no text: where one is left after the last step, no token had a weight to be drawn by.
 * Without a mask nothing shows that a token had no law, so what was drawn by is looked at. */
static bool check_drawn(struct sample_job *j)
{
    int64_t left = 0;
    for (int64_t i = 0; i < j->count * j->wanted; i++)
        left += j->overlay.mask >= 0 && j->out[i] == j->overlay.mask;
    if (!left && !j->lawless)
        return true;
    if (left)
        diag_error(
            j->p.diags, FAULT_RUN, j->loop->span,
            "the sampler `%s` left %lld of %lld symbols undrawn: no token has a positive, finite "
            "weight there",
            j->loop->name, (long long)left, (long long)(j->count * j->wanted));
    else
        diag_error(j->p.diags, FAULT_RUN, j->loop->span,
                   "the sampler `%s` was to draw by %lld weights that are not finite",
                   j->loop->name, (long long)j->lawless);
    hint_why(j);
    return false;
}

/* A loop that stops for itself is through when it does, not where it is cut. */
static bool check_through(const struct sample_job *j)
{
    if (!loop_is_cut(j->looper))
        return true;
    diag_error(
        j->p.diags, FAULT_RUN, j->loop->span,
        "the sampler `%s` is not through after %lld turns, the `max` of its loop: noise is left",
        j->loop->name, (long long)j->loop->max);
    diag_hint(j->p.diags, "raise what `max` is made of, or take a sampler in steps");
    return false;
}

/* One batch, from sequence R->sequence: the model's length, then block after block. */
static bool sample_batch(struct sample_job *j, struct loop_request *r)
{
    for (int64_t done = 0, round = 0; done < j->wanted; round++) {
        int64_t context = round ? sample_context(j) : 0;
        int64_t fresh = round ? sample_block(j) : j->p.length;
        if (fresh > j->wanted - done)
            fresh = j->wanted - done;
        const char *purpose =
            round ? arena_printf(j->p.arena, "sample/block%lld", (long long)round) : "sample";
        r->key = random_key((uint64_t)j->p.recipe->sample.seed, purpose);
        if (j->by_place) /* what comes after has no part in it */
            r->turns = context + fresh - 1;
        sample_fill_given(j, r->sequence, round, done);
        if (!loop_run(j->looper, r) || !check_through(j))
            return false;
        const int32_t *x = loop_carry_data(j->looper, "x");
        for (int64_t i = 0; i < j->count; i++)
            memcpy(j->out + i * j->wanted + done, x + i * j->p.length + context,
                   (size_t)fresh * sizeof *x);
        j->calls += loop_calls(j->looper);
        j->lawless += loop_lawless(j->looper);
        for (int i = 0; i < TOTAL_COUNT; i++)
            j->total[i] += carried_total(j, sample_totals[i]);
        done += fresh;
        if (j->stop < 0 || !all_stopped(j, done))
            continue;
        for (int64_t i = 0; i < j->count; i++)
            for (int64_t k = done; k < j->wanted; k++)
                j->out[i * j->wanted + k] = j->stop;
        break;
    }
    return check_drawn(j);
}

static bool sample(struct sample_job *j)
{
    const struct sample_recipe *q = &j->p.recipe->sample;
    struct loop_request r = {.steps = j->times.steps,
                             .time = j->times.time,
                             .fields = j->fields,
                             .overlay = &j->overlay,
                             .watch = sample_watch,
                             .context = j};
    for (int64_t first = 0; first < q->count; first += j->batch) {
        j->count = q->count - first < j->batch ? q->count - first : j->batch;
        j->lines = 0;
        r.count = j->count;
        r.sequence = (uint32_t)first;
        if (!sample_batch(j, &r))
            return false;
        sample_count_truth(j, first);
        sample_print_batch(j);
        j->finished += j->count;
    }
    return true;
}

static bool number_fault(struct command_line *line, const char *option, const char *what)
{
    diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "--%s is %s, not `%s`", option, what,
               option_text(line, option));
    return false;
}

/* What is typed for the law of a token, before the model takes it for an expression. */
static bool check_numbers(struct command_line *line)
{
    struct yaml text = {.kind = YAML_SCALAR};
    double real;
    int64_t whole;
    if ((text.text = option_text(line, "temperature")) && !(yaml_real(&text, &real) && real > 0))
        return number_fault(line, "temperature", "a number above 0");
    if ((text.text = option_text(line, "top-p")) &&
        !(yaml_real(&text, &real) && real > 0 && real <= 1))
        return number_fault(line, "top-p", "a number above 0, at most 1");
    if ((text.text = option_text(line, "top-k")) && !(yaml_int(&text, &whole) && whole >= 0))
        return number_fault(line, "top-k", "a whole number of tokens, 0 for all");
    return true;
}

/* A text of a run whose rows are documents ends where the document does. */
static void stop_at_end(struct sample_job *j, const char *folder)
{
    const char *end = record_document_end(j->p.arena, folder);
    if (end && !option_given(j->p.line, "stop"))
        j->stop = vocabulary_find(j->p.vocabulary, end, strlen(end));
}

/* The run's model and what is given; false after reporting. */
static bool open_job(struct sample_job *j, struct command_line *line, const char *folder)
{
    if (!project_open_run(&j->p, line, folder)) {
        if (option_given(line, "temperature") || option_given(line, "top-p") ||
            option_given(line, "top-k"))
            diag_hint(line->diags, "temperature, top-p and top-k change the law of a token: models "
                                   "with a posterior head have them, such as mdlm and radd");
        return false;
    }
    if (!record_check_model(&j->p, folder) ||
        !project_run_grammar(&j->p, record_data_hash(line->arena, folder)) || !sample_read_given(j))
        return false;
    stop_at_end(j, folder);
    return sample_open_loop(j, folder);
}

static int run(struct command_line *line)
{
    struct sample_job *j = arena_alloc(line->arena, sizeof *j);
    if (!check_numbers(line) || !open_job(j, line, line->positional[0]))
        return diags_exit_code(line->diags);
    j->watch = option_given(line, "watch") && isatty(STDERR_FILENO);
    j->json = option_given(line, "json") ? json_array() : NULL;
    sample_open_languages(j);
    sample_open_truth(j);
    signals_catch(NULL);
    sample_print_start(j);
    double start = j->drawn = clock_seconds();
    bool whole = sample(j);
    sample_end_count(j);
    if (whole || signals_caught())
        sample_print_end(j, clock_seconds() - start);
    json_decref(j->json);
    if (!whole)
        return signals_caught() ? signals_exit_code() : diags_exit_code(line->diags);
    loop_close(j->looper);
    arena_free(j->frame);
    project_close(&j->p);
    return diags_exit_code(line->diags);
}

const struct command command_sample = {
    .name = "sample",
    .usage = "RUN [key=value…] [--count N] [--steps N] [--infill TEXT] [--watch]",
    .doc = "draw text from a run",
    .detail = "The text goes to stdout, one sequence after the other; all else to stderr.\n"
              "In --prefix, --suffix, --infill and --template: {mask:12} is 12 free symbols, "
              "{set:abc} one of them,\n{not:abc} another one ({set:cat|dog} for words), {{ and }} "
              "the braces.\n"
              "What of a request is met exactly and what by a heuristic is said at the end, and "
              "by\nsedge explain given.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
