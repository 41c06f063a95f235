/* sedge eval: the likelihood bound of a run on held-out data. */
#include "tools/run_record.h"
#include "tools/signals.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_spec options[] = {
    {"data", 'd', OPTION_LIST, "FILE…", "other text than the held-out part of the run's data",
     NULL},
    {"json", 'j', OPTION_FLAG, NULL, "the result as one JSON object", NULL},
    {"checkpoint", 'c', OPTION_TEXT, "WHICH", "last (default), best, or a file", NULL},
    {"raw", 0, OPTION_FLAG, NULL, "the parameters themselves, not their average", NULL},
    {"sequences", 'n', OPTION_KEY, "N", "how many held-out windows", "eval.sequences"},
    {0}};

struct job {
    struct project p;
    struct bound b;
    struct anchors anchors;
    bool anchored;
    char *weights; /* path of the checkpoint */
    bool averaged;
};

static bool stop(void *context)
{
    (void)context;
    return signals_caught();
}

/* The data as it is now. Where it has changed, what is held out may have been trained on. */
static bool open_data(struct job *j, const char *run)
{
    struct project *p = &j->p;
    const char *const *files = option_list(p->line, "data");
    if (!project_run_data(p, files))
        return false;
    const char *then = record_data_hash(p->arena, run);
    char *now = arena_printf(p->arena, "%016llx", (unsigned long long)dataset_hash(p->data));
    if (!files && then && strcmp(then, now) != 0)
        diag_warning(
            p->diags, (struct span){0},
            "the data has changed since %s was trained: what is held out now may have been "
            "trained on then",
            run);
    return true;
}

static bool evaluate(struct job *j, const char *run)
{
    struct project *p = &j->p;
    const struct eval_recipe *e = &p->recipe->eval;
    struct bound_plan_set set;
    struct bound_plans plans;
    const char *which = option_text(p->line, "checkpoint");
    int64_t most = (int64_t)dataset_valid_count(p->data);
    if (most < 2) {
        diag_error(p->diags, FAULT_DATA, (struct span){0},
                   "%lld held-out window%s of %lld symbols: too few to evaluate", (long long)most,
                   most == 1 ? "" : "s", (long long)p->length);
        diag_hint(p->diags, "hold out more with data.valid, or give other text with --data FILE");
        return false;
    }
    if (!project_bound_plans(p, e->batch, &set) || !project_state(p, false) ||
        !project_weights(p, run, which ? which : "last", &j->weights) ||
        !project_bound_load(p, &set, &plans))
        return false;
    struct bound_config c = {.batch = e->batch,
                             .sequences = e->sequences < most ? e->sequences : most,
                             .times = e->times,
                             .length = p->length,
                             .t_min = project_t_min(p),
                             .seed = (uint64_t)p->recipe->sample.seed};
    struct bound_source source = project_valid_source(p, c.sequences);
    source.stop = stop;
    signals_catch(NULL);
    if (!bound_evaluate(p->diags, p->arena, &plans, &c, &source, &j->b))
        return false;
    for (uint32_t r = 0; r < set.integrand->row_count; r++)
        j->averaged |= set.integrand->reads[r] && p->s.model->states.rows[r].class == STATE_EMA;
    j->anchored = dataset_train_tokens(p->data) > 0 && dataset_anchors(p->data, &j->anchors);
    return true;
}

static char *protocol(const struct job *j)
{
    const struct project *p = &j->p;
    return arena_printf(p->arena,
                        "%lld held-out windows of %lld, spread over all, each on its own; %lld "
                        "stratified times in two "
                        "replicates on [%g, 1]",
                        (long long)j->b.sequences, (long long)p->length,
                        (long long)p->recipe->eval.times, project_t_min(p));
}

static void print_text(const struct job *j)
{
    const struct bound *b = &j->b;
    printf("%s, %s weights\n%s\n", j->weights, j->averaged ? "averaged" : "raw", protocol(j));
    printf("\n%-34s %9s\n", "", "nats a symbol");
    printf("%-34s %9.4f\n", "integral of the score entropy", b->integral);
    printf("%-34s %9.4f\n", "base", b->base);
    printf("%-34s %9.4f\n", "reconstruction", b->reconstruction);
    printf("%-34s %9.4f ± %.4f   (noise %.4f, sequences %.4f)\n", "bound on -log p", b->nats,
           b->error, b->error_noise, b->error_data);
    if (b->known) {
        printf("%-34s %9.4f\n", "truth", b->truth);
        printf("%-34s %9.4f ± %.4f   (paired; %+.1f%%)\n", "bound - truth", b->gap, b->gap_error,
               100 * b->gap / b->truth);
    }
    if (j->anchored) {
        printf("%-34s %9.4f ± %.4f\n", "bigram cross-entropy", j->anchors.bigram.mean,
               j->anchors.bigram.error);
        printf("%-34s %9.4f ± %.4f\n", "unigram cross-entropy", j->anchors.unigram.mean,
               j->anchors.unigram.error);
    }
    printf("\n%.4f bits a symbol, perplexity at most %.4g\n", b->nats / log(2), exp(b->nats));
}

static void put(json_t *o, const char *key, double value)
{
    json_object_set_new(o, key, isfinite(value) ? json_real(value) : json_null());
}

static void print_json(const struct job *j)
{
    const struct bound *b = &j->b;
    json_t *o = json_object();
    put(o, "nats_per_symbol", b->nats);
    put(o, "stderr", b->error);
    put(o, "stderr_noise", b->error_noise);
    put(o, "stderr_sequences", b->error_data);
    put(o, "integral", b->integral);
    put(o, "base", b->base);
    put(o, "reconstruction", b->reconstruction);
    put(o, "bits_per_symbol", b->nats / log(2));
    put(o, "perplexity", exp(b->nats));
    if (b->known) {
        put(o, "truth", b->truth);
        put(o, "gap", b->gap);
        put(o, "gap_stderr", b->gap_error);
    }
    if (j->anchored) {
        put(o, "bigram", j->anchors.bigram.mean);
        put(o, "unigram", j->anchors.unigram.mean);
    }
    json_object_set_new(o, "sequences", json_integer(b->sequences));
    json_object_set_new(o, "length", json_integer(b->length));
    json_object_set_new(o, "checkpoint", json_string(j->weights));
    json_object_set_new(o, "weights", json_string(j->averaged ? "ema" : "raw"));
    json_object_set_new(o, "protocol", json_string(protocol(j)));
    json_object_set_new(o, "data_hash",
                        json_string(arena_printf(j->p.arena, "%016llx",
                                                 (unsigned long long)dataset_hash(j->p.data))));
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    puts(text);
    free(text);
    json_decref(o);
}

static int run(struct command_line *line)
{
    struct job *j = arena_alloc(line->arena, sizeof *j);
    const char *folder = line->positional[0];
    if (!project_open_run(&j->p, line, folder) || !open_data(j, folder) || !evaluate(j, folder))
        return signals_caught() ? signals_exit_code() : diags_exit_code(line->diags);
    if (option_given(line, "json"))
        print_json(j);
    else
        print_text(j);
    project_close(&j->p);
    return 0;
}

const struct command command_eval = {
    .name = "eval",
    .usage = "RUN [key=value…] [--data FILE…] [--json]",
    .doc = "the likelihood bound of a run, with all its terms and errors",
    .detail = "The bound holds for the reverse process in continuous time, from the base that "
              "`sedge sample`\n"
              "starts from, with the same projected scores and decoder; a sampler with many steps "
              "comes close\n"
              "to it. On average over data it is never below the true entropy. Errors: `noise` is "
              "what more noise draws on the\n"
              "same sequences would remove, `sequences` what more sequences would.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
