/* sedge bench RUN --estimators: how many network calls each estimator of the bound needs. */
#include "tools/bench.h"
#include "tools/json_print.h"
#include "tools/measure.h"
#include "tools/signals.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define ESTIMATORS_MAX 8

struct job {
    struct measured m;
    uint32_t count;
    const struct estimator *estimator[ESTIMATORS_MAX];
    struct bound b[ESTIMATORS_MAX];
    const struct bound *random; /* of independent random times, as many */
};

static bool measure_each(struct job *j)
{
    const struct estimator *random = estimator_find("random");
    for (uint32_t i = 0; i < estimator_count; i++) {
        const struct estimator *e = &estimators[i];
        if (e->published || (e->counts && !j->m.plans.conditional))
            continue;
        struct bound *b = &j->b[j->count];
        if (!measure_run(&j->m, e, false, b))
            return false;
        if (e == random)
            j->random = b;
        j->estimator[j->count++] = e;
    }
    return true;
}

static void print_text(const struct job *j)
{
    const struct bound *b = &j->b[0];
    printf("%s, %lld windows of %lld, %lld draws each in two replicates; the data is fixed\n\n",
           j->m.weights, (long long)b->sequences, (long long)b->length,
           (long long)j->m.p.recipe->eval.times);
    printf("%-20s %14s %12s %33s\n", "estimator", "integral", "noise",
           "calls for the noise of random");
    for (uint32_t i = 0; i < j->count; i++) {
        double error, share = bound_share_of_calls(&j->b[i], j->random, &error);
        printf("%-20s %14.4f %12.5f", measure_rule_name(&j->m, j->estimator[i]), j->b[i].integral,
               j->b[i].integral_noise);
        if (&j->b[i] == j->random)
            printf(" %26.0f%%\n", 100 * share);
        else
            printf(" %26.0f%% ± %3.0f%%\n", 100 * share, 100 * error);
    }
}

static void print_json(const struct job *j)
{
    json_t *o = json_object();
    for (uint32_t i = 0; i < j->count; i++) {
        double error, share = bound_share_of_calls(&j->b[i], j->random, &error);
        json_object_set_new(o, j->estimator[i]->name,
                            json_pack("{s:o, s:o, s:o, s:o}", "integral",
                                      json_number(j->b[i].integral), "stderr_noise",
                                      json_number(j->b[i].integral_noise), "share_of_calls",
                                      json_number(share), "share_stderr", json_number(error)));
    }
    json_print(j->m.p.line->diags, o, 9);
}

int bench_estimators(struct command_line *line)
{
    struct job *j = arena_alloc(line->arena, sizeof *j);
    j->m.all = true;
    if (!measure_open(&j->m, line, line->positional[0]) || !measure_load(&j->m, false))
        return diags_exit_code(line->diags);
    signals_catch(NULL);
    if (!measure_each(j))
        return signals_caught() ? signals_exit_code() : diags_exit_code(line->diags);
    if (option_given(line, "json"))
        print_json(j);
    else
        print_text(j);
    project_close(&j->m.p);
    return diags_exit_code(line->diags);
}
