/* sedge eval: the likelihood bound of a run on held-out data. */
#include "tools/json_print.h"
#include "tools/measure.h"
#include "tools/signals.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct option_spec options[] = {
    {"data", 'd', OPTION_FILES, "FILE…", "other text than the held-out part of the run's data",
     NULL},
    {"json", 'j', OPTION_FLAG, NULL, "the result as one JSON object", NULL},
    {"checkpoint", 'c', OPTION_FILE, "WHICH", "last (default), best, or a file", NULL},
    {"raw", 0, OPTION_FLAG, NULL, "the parameters themselves, not their average", NULL},
    {"sequences", 'n', OPTION_KEY, "N", "how many held-out windows", "eval.sequences"},
    {"estimator", 'e', OPTION_KEY, "NAME", "how the bound is estimated", "eval.estimator"},
    {"given", 'g', OPTION_KEY, "WHAT",
     "the bound of the rest given prefix:N, every:K, but-one, or a mask", "eval.given"},
    {"label", 0, OPTION_KEY, "CLASS", "tell one class of all windows, or none (default: its own)",
     "eval.label"},
    {"order", 0, OPTION_FILE, "ORDER", "exact likelihood of an order: left, random, or a file",
     NULL},
    {"per-sequence", 0, OPTION_FILE, "FILE", "a table of all sequences (-: to standard output)",
     NULL},
    {"per-position", 0, OPTION_FILE, "FILE", "a table of all positions (-: to standard output)",
     NULL},
    SESSION_OPTIONS,
    {0}};

struct job {
    struct measured m;
    struct anchors anchors;
    bool anchored;
};

static bool is_published(const struct measured *m)
{
    return m->estimator->published && !m->order && !m->exact;
}

static bool is_exact(const struct measured *m)
{
    return m->exact || m->order;
}

static bool evaluate(struct job *j)
{
    struct measured *m = &j->m;
    bool by_position = option_given(m->p.line, "per-position");
    if (!measure_load(m, by_position))
        return false;
    signals_catch(NULL);
    if (!measure_run(m, m->estimator, by_position, &m->b))
        return false;
    if (is_published(m) && !measure_run(m, estimator_find(NULL), false, &m->strict))
        return false;
    /* Anchors are of the symbols that the bound is of; where these move there are none. */
    j->anchored = !m->but_one && dataset_train_tokens(m->p.data) > 0 &&
                  dataset_anchors(m->p.data, measure_given(m), &j->anchors);
    return true;
}

/* --- tables --------------------------------------------------------------------------------- */

/* FILE, or standard output for `-`; NULL after reporting. */
static FILE *open_table(const struct job *j, const char *path, const char *mode)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, mode);
    if (!file)
        diag_error(j->m.p.diags, FAULT_CONFIG, (struct span){0}, "cannot write %s: %s", path,
                   strerror(errno));
    return file;
}

static bool close_table(const struct job *j, const char *path, FILE *file)
{
    if (file == stdout)
        return true;
    bool failed =
        ferror(file) != 0; /* closing may succeed all the same, and errno is of the fault */
    if (fclose(file) == 0 && !failed)
        return true;
    diag_error(j->m.p.diags, FAULT_RUN, (struct span){0}, "cannot write %s: %s", path,
               strerror(errno));
    return false;
}

/* Before minutes of work: whether the tables can be written. */
static bool check_tables(const struct job *j)
{
    static const char *const names[] = {"per-sequence", "per-position"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = option_text(j->m.p.line, names[i]);
        if (!path || strcmp(path, "-") == 0)
            continue;
        FILE *file = open_table(j, path, "a");
        if (!file)
            return false;
        fclose(file);
    }
    return true;
}

static bool write_sequences(const struct job *j)
{
    const struct bound *b = &j->m.b;
    const char *path = option_text(j->m.p.line, "per-sequence");
    FILE *file = path ? open_table(j, path, "w") : NULL;
    if (!file)
        return !path;
    fprintf(file, "index\tnats\tstderr%s\n", b->known ? "\ttruth" : "");
    for (int64_t i = 0; i < b->sequences; i++) {
        fprintf(file, "%lld\t%.9g\t%.4g", (long long)i, b->per_sequence[i],
                b->per_sequence_noise[i]);
        if (b->known)
            fprintf(file, "\t%.9g", b->truths[i]);
        fputc('\n', file);
    }
    return close_table(j, path, file);
}

static bool write_positions(const struct job *j)
{
    const struct measured *m = &j->m;
    const char *path = option_text(m->p.line, "per-position");
    FILE *file = path ? open_table(j, path, "w") : NULL;
    if (!file)
        return !path;
    fprintf(file, "position\tnats\n");
    for (int64_t i = 0; i < m->b.length; i++)
        if (!isnan(m->b.per_position[i])) /* else it is given in all sequences */
            fprintf(file, "%lld\t%.9g\n", (long long)i, m->b.per_position[i]);
    return close_table(j, path, file);
}

/* --- the result ----------------------------------------------------------------------------- */

static void print_bound(const char *name, const struct bound *b)
{
    printf("%-34s %9.4f ± %.4f   (noise %.4f, sequences ", name, b->nats, b->error, b->error_noise);
    if (isnan(b->error_data))
        puts("not resolved)");
    else
        printf("%.4f)\n", b->error_data);
}

static void print_terms(const struct measured *m)
{
    const struct bound *b = &m->b;
    if (is_published(m)) {
        print_bound("published protocol", b);
        printf("%-34s %9.4f ± %.4f\n", "strict bound", m->strict.nats, m->strict.error);
        double difference, error;
        bound_compare(&m->strict, b, &difference, &error);
        printf("%-34s %+9.4f ± %.4f   (paired)\n", "published - strict", difference, error);
        return;
    }
    if (is_exact(m)) {
        printf("%-34s %9.4f ± %.4f   (sequences only: there is no noise in it)\n",
               m->exact ? "-log p, exact" : "-log p in this order, exact", b->nats, b->error);
        return;
    }
    if (m->plans.base) {
        printf("%-34s %9.4f ± %.4f\n", "integral of the score entropy", b->integral,
               b->integral_error);
        printf("%-34s %9.4f ± %.4f\n", "base", b->base, b->base_error);
        printf("%-34s %9.4f ± %.4f\n", "reconstruction", b->reconstruction,
               b->reconstruction_error);
    }
    print_bound("bound on -log p", b);
}

static void print_text(const struct job *j)
{
    const struct measured *m = &j->m;
    const struct bound *b = &m->b;
    printf("%s, %s weights\n%s\n", m->weights, m->averaged ? "averaged" : "raw",
           measure_protocol(m));
    printf("%s, %lld network call%s a sequence\n", measure_estimator_name(m), (long long)b->calls,
           b->calls == 1 ? "" : "s");
    printf("\n%-34s %9s\n", "", "nats a symbol");
    print_terms(m);
    if (b->known) {
        printf("%-34s %9.4f\n", "truth", b->truth);
        printf("%-34s %9.4f ± %.4f   (paired; %+.1f%%)\n",
               is_published(m) ? "published - truth"
               : is_exact(m)   ? "-log p - truth"
                               : "bound - truth",
               b->gap, b->gap_error, 100 * b->gap / b->truth);
    }
    if (j->anchored) {
        printf("%-34s %9.4f ± %.4f\n", "bigram cross-entropy", j->anchors.bigram.mean,
               j->anchors.bigram.error);
        printf("%-34s %9.4f ± %.4f\n", "unigram cross-entropy", j->anchors.unigram.mean,
               j->anchors.unigram.error);
    }
    printf("\n%.4f bits a symbol, perplexity %s %.4g\n", b->nats / log(2),
           is_published(m) ? "by this protocol"
           : is_exact(m)   ? "exactly"
                           : "at most",
           exp(b->nats));
}

static void put(json_t *o, const char *key, double value)
{
    json_object_set_new(o, key, json_number(value));
}

static json_t *list_of(const double *values, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++)
        json_array_append_new(list, json_number(values[i]));
    return list;
}

static void put_terms(json_t *o, const struct measured *m)
{
    const struct bound *b = &m->b;
    if (is_published(m)) {
        double difference, error;
        bound_compare(&m->strict, b, &difference, &error);
        put(o, "strict", m->strict.nats);
        put(o, "strict_stderr", m->strict.error);
        put(o, "published_minus_strict", difference);
        put(o, "published_minus_strict_stderr", error);
    }
    put(o, "integral", b->integral);
    put(o, "integral_stderr", b->integral_error);
    put(o, "integral_stderr_noise", b->integral_noise);
    if (!m->plans.base || is_published(m))
        return;
    put(o, "base", b->base);
    put(o, "base_stderr", b->base_error);
    put(o, "reconstruction", b->reconstruction);
    put(o, "reconstruction_stderr", b->reconstruction_error);
}

static void put_run(json_t *o, const struct job *j)
{
    const struct measured *m = &j->m;
    const struct bound *b = &m->b;
    json_object_set_new(o, "estimator", json_string(measure_estimator_name(m)));
    json_object_set_new(o, "calls_per_sequence", json_integer(b->calls));
    if (m->given || m->but_one)
        json_object_set_new(o, "given", json_string(m->p.recipe->eval.given));
    json_object_set_new(o, "sequences", json_integer(b->sequences));
    json_object_set_new(o, "length", json_integer(b->length));
    json_object_set_new(o, "symbols_per_sequence", json_real(b->free));
    json_object_set_new(o, "checkpoint", json_string(m->weights));
    json_object_set_new(o, "weights", json_string(m->averaged ? "ema" : "raw"));
    json_object_set_new(o, "protocol", json_string(measure_protocol(m)));
    json_object_set_new(o, "data_hash",
                        json_string(arena_printf(m->p.arena, "%016llx",
                                                 (unsigned long long)dataset_hash(m->p.data))));
    if (option_given(m->p.line, "per-sequence")) {
        json_object_set_new(o, "per_sequence", list_of(b->per_sequence, b->sequences));
        json_object_set_new(o, "per_sequence_stderr", list_of(b->per_sequence_noise, b->sequences));
    }
    if (b->per_position)
        json_object_set_new(o, "per_position", list_of(b->per_position, b->length));
}

static void print_json(const struct job *j)
{
    const struct bound *b = &j->m.b;
    json_t *o = json_object();
    put(o, "nats_per_symbol", b->nats);
    put(o, "stderr", b->error);
    put(o, "stderr_noise", b->error_noise);
    put(o, "stderr_sequences", b->error_data);
    put_terms(o, &j->m);
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
    put_run(o, j);
    json_print(j->m.p.line->diags, o, 12);
}

static int run(struct command_line *line)
{
    struct job *j = arena_alloc(line->arena, sizeof *j);
    if (!measure_open(&j->m, line, line->positional[0]) || !check_tables(j) || !evaluate(j))
        return signals_caught() ? signals_exit_code() : diags_exit_code(line->diags);
    if (option_given(line, "json"))
        print_json(j);
    else
        print_text(j);
    if (write_sequences(j))
        write_positions(j);
    project_close(&j->m.p);
    return diags_exit_code(line->diags);
}

const struct command command_eval = {
    .name = "eval",
    .usage = "RUN [key=value…] [--data FILE…] [--json]",
    .doc = "the likelihood bound of a run, with all its terms and errors",
    .detail =
        "The bound holds for the reverse process in continuous time, from the base that "
        "`sedge sample`\n"
        "starts from, with the same scores and decoder (process.project); a sampler with "
        "many steps "
        "comes close\n"
        "to it. On average over data it is never below the true entropy. Errors: `noise` is "
        "what more noise draws on the\n"
        "same sequences would remove, `sequences` what more sequences would (not resolved:\n"
        "noise hides it, see eval.times).\n"
        "Of an autoregressive model it is the exact likelihood of all but the first symbol of "
        "a window.\n"
        "Estimators: stratified, quadrature, random (of the same integral); exact-k (numbers "
        "of masks,\n"
        "absorbing processes); published (the reference's protocol, which is no bound).",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
