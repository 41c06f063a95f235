/* sedge compare: bounds of several runs on the same windows with the same noise. */
#include "tools/json_print.h"
#include "tools/measure.h"
#include "tools/signals.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const struct option_spec options[] = {
    {"data", 'd', OPTION_FILES, "FILE…", "other text than the held-out part of the runs' data",
     NULL},
    {"json", 'j', OPTION_FLAG, NULL, "the result as one JSON object", NULL},
    {"checkpoint", 'c', OPTION_FILE, "WHICH", "last (default) or best", NULL},
    {"raw", 0, OPTION_FLAG, NULL, "the parameters themselves, not their average", NULL},
    {"sequences", 'n', OPTION_KEY, "N", "how many held-out windows", "eval.sequences"},
    {"estimator", 'e', OPTION_KEY, "NAME", "how the bounds are estimated", "eval.estimator"},
    {"given", 'g', OPTION_KEY, "WHAT",
     "the bound of the rest given prefix:N, every:K, but-one, or a mask", "eval.given"},
    {"label", 0, OPTION_KEY, "CLASS", "tell one class of all windows, or none", "eval.label"},
    {0}};

struct job {
    struct measured *runs;
    uint32_t count;
};

/* --- whether they can be compared ----------------------------------------------------------- */

static bool refuse(const struct measured *a, const struct measured *b, const char *what,
                   const char *hint)
{
    diag_error(b->p.diags, FAULT_DATA, (struct span){0}, "%s and %s differ in %s", a->run, b->run,
               what);
    diag_hint(b->p.diags, "%s", hint);
    return false;
}

/* Held-out windows are the same where the files, what is held out of them, the tokenizer and the
 * length are. */
static bool comparable(const struct measured *a, const struct measured *b)
{
    const struct project *p = &a->p, *q = &b->p;
    const struct eval_recipe *e = &p->recipe->eval, *f = &q->recipe->eval;
    if (vocabulary_hash(p->vocabulary) != vocabulary_hash(q->vocabulary))
        return refuse(a, b, "their tokenizer: nats a symbol are then of different symbols",
                      "train both with the same data.tokenizer and alphabet");
    if (p->length != q->length)
        return refuse(a, b, "length: a window says more where it is longer",
                      "train both with the same `length`");
    if (dataset_hash(p->data) != dataset_hash(q->data) ||
        dataset_valid_count(p->data) != dataset_valid_count(q->data) ||
        (dataset_drawn(p->data) && p->recipe->train.seed != q->recipe->train.seed))
        return refuse(a, b, "their held-out data",
                      "give both the same text with --data FILE (a known language: train both with "
                      "the same train.seed)");
    if (project_exact(p) != project_exact(q) && !e->given)
        return refuse(a, b,
                      "what they are asked for: of an autoregressive model the first symbol "
                      "of a window is given",
                      "give both as much with eval.given=prefix:1");
    if (e->sequences != f->sequences || e->times != f->times ||
        p->recipe->sample.seed != q->recipe->sample.seed ||
        strcmp(e->estimator, f->estimator) != 0 ||
        strcmp(e->given ? e->given : "", f->given ? f->given : "") != 0 ||
        strcmp(e->label ? e->label : "", f->label ? f->label : "") != 0)
        return refuse(a, b, "how they are evaluated",
                      "give eval.sequences, eval.times, eval.estimator, eval.given, "
                      "eval.label or "
                      "sample.seed here: it holds for all");
    return true;
}

/* Noise is the same for all only where draws of a sequence share theirs in all runs, or in none. */
static void share_alike(struct job *j)
{
    bool apart = false;
    for (uint32_t i = 0; i < j->count; i++)
        apart |= !bound_may_turn(&j->runs[i].plans);
    for (uint32_t i = 0; i < j->count; i++)
        j->runs[i].apart = apart;
}

static bool measure_all(struct job *j, struct command_line *line)
{
    for (uint32_t i = 0; i < j->count; i++)
        if (!measure_open(&j->runs[i], line, line->positional[i]))
            return false;
    for (uint32_t i = 1; i < j->count; i++)
        if (!comparable(&j->runs[0], &j->runs[i]))
            return false;
    for (uint32_t i = 0; i < j->count; i++)
        if (!measure_load(&j->runs[i], false))
            return false;
    share_alike(j);
    signals_catch(NULL);
    for (uint32_t i = 0; i < j->count; i++)
        if (!measure_run(&j->runs[i], j->runs[i].estimator, false, &j->runs[i].b))
            return false;
    return true;
}

/* --- printing ------------------------------------------------------------------------------- */

static int widest(const struct job *j)
{
    size_t most = 3;
    for (uint32_t i = 0; i < j->count; i++)
        most = strlen(j->runs[i].run) > most ? strlen(j->runs[i].run) : most;
    return (int)most;
}

/* Whether run I is told the class and not all are. */
static bool told_apart(const struct job *j, uint32_t i)
{
    bool all = true;
    for (uint32_t k = 0; k < j->count; k++)
        all &= j->runs[k].p.told;
    return j->runs[i].p.told && !all;
}

static void print_text(const struct job *j)
{
    const struct measured *a = &j->runs[0];
    int width = widest(j);
    printf("%s\n%s, %lld network call%s a sequence; the same noise for all\n\n",
           measure_protocol(a), measure_estimator_name(a), (long long)a->b.calls,
           a->b.calls == 1 ? "" : "s");
    printf("%-*s  %18s  %28s\n", width, "run", "bound, nats/symbol", "less the first (paired)");
    for (uint32_t i = 0; i < j->count; i++) {
        const struct bound *b = &j->runs[i].b;
        double difference, error;
        printf("%-*s  %9.4f ± %.4f", width, j->runs[i].run, b->nats, b->error);
        bound_compare(&a->b, b, &difference, &error);
        if (i > 0)
            printf("  %+17.4f ± %.4f", difference, error);
        printf("%s\n", told_apart(j, i) ? "  told the class" : "");
    }
    if (a->b.known)
        printf("%-*s  %9.4f\n", width, "truth", a->b.truth);
    printf("\nto paste (markdown):\n");
    for (uint32_t i = 0; i < j->count; i++) {
        const struct bound *b = &j->runs[i].b;
        double difference, error;
        bound_compare(&a->b, b, &difference, &error);
        printf("| %s | %s | %.4f ± %.4f |", j->runs[i].run, j->runs[i].p.recipe->model, b->nats,
               b->error);
        if (i == 0)
            printf(" |\n");
        else
            printf(" %+.4f ± %.4f |\n", difference, error);
    }
}

static void print_json(const struct job *j)
{
    const struct measured *a = &j->runs[0];
    json_t *list = json_array();
    for (uint32_t i = 0; i < j->count; i++) {
        const struct bound *b = &j->runs[i].b;
        double difference, error;
        bound_compare(&a->b, b, &difference, &error);
        json_array_append_new(
            list, json_pack("{s:s, s:b, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "run", j->runs[i].run,
                            "told", (int)j->runs[i].p.told, "model", j->runs[i].p.recipe->model,
                            "checkpoint", j->runs[i].weights, "nats_per_symbol",
                            json_number(b->nats), "stderr", json_number(b->error), "stderr_noise",
                            json_number(b->error_noise), "difference", json_number(difference),
                            "difference_stderr", json_number(error)));
    }
    json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "protocol", measure_protocol(a),
                          "estimator", measure_estimator_name(a), "calls_per_sequence",
                          (json_int_t)a->b.calls, "sequences", (json_int_t)a->b.sequences, "length",
                          (json_int_t)a->b.length, "runs", list);
    if (a->b.known)
        json_object_set_new(o, "truth", json_number(a->b.truth));
    json_print(j->runs[0].p.line->diags, o, 12);
}

static int run(struct command_line *line)
{
    struct job j = {.count = line->positional_count};
    j.runs = arena_new_array(line->arena, struct measured, j.count);
    if (!measure_all(&j, line))
        return signals_caught() ? signals_exit_code() : diags_exit_code(line->diags);
    if (option_given(line, "json"))
        print_json(&j);
    else
        print_text(&j);
    for (uint32_t i = 0; i < j.count; i++)
        project_close(&j.runs[i].p);
    return diags_exit_code(line->diags);
}

const struct command command_compare = {
    .name = "compare",
    .usage = "RUN RUN… [key=value…] [--data FILE…] [--json]",
    .doc = "the bounds of several runs with the same noise, and what they differ by",
    .detail = "All runs see the same windows and the same noise, so that the error of a difference "
              "(paired) is\n"
              "smaller than those of the bounds. Runs must share data, tokenizer and length.",
    .least = 2,
    .most = 16,
    .overrides = true,
    .options = options,
    .run = run,
};
