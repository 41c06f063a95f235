/* sedge bench MODEL --chain RATE: what a training step costs with another rate matrix. */
#include "tools/bench.h"
#include "tools/json_print.h"
#include "tools/signals.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define LEAST_PAIRS 5
#define MOST_PAIRS 200

struct job {
    struct training t[2]; /* the model as it is, and with the other rate */
    double took[2][MOST_PAIRS];
    int64_t pairs;
    double seconds[2];  /* median step */
    double of_chain[2]; /* in ops that ask the chain, a step */
};

/* `process.rate={matrix: [[…], …]}` with random rates between all pairs of N states, each column's
 * sum of them 1. */
static char *dense_rate(struct arena *arena, int64_t n)
{
    struct random_key key = random_key(1, "dense");
    size_t room = 64 + (size_t)(n * n) * 24 + (size_t)n * 4, at = 0;
    double *q = arena_new_array(arena, double, (size_t)(n * n));
    char *text = arena_alloc(arena, room);
    for (int64_t x = 0; x < n; x++) {
        double sum = 0;
        for (int64_t y = 0; y < n; y++) {
            double u = random_uniform(key, 0, 0, (uint32_t)x, (uint32_t)y);
            q[y * n + x] = y == x ? 0 : u;
            sum += q[y * n + x];
        }
        for (int64_t y = 0; y < n; y++)
            q[y * n + x] = y == x ? -1 : q[y * n + x] / sum;
    }
    at += (size_t)snprintf(text, room, "process.rate={matrix: [");
    for (int64_t y = 0; y < n; y++)
        for (int64_t x = 0; x < n; x++)
            at += (size_t)snprintf(text + at, room - at, "%s%.12g%s",
                                   x   ? ", "
                                   : y ? ", ["
                                       : "[",
                                   q[y * n + x], x + 1 < n ? "" : "]");
    snprintf(text + at, room - at, "]}");
    return text;
}

/* The command line with one more override. */
static bool open_other(struct job *j, struct command_line *line, const char *rate)
{
    struct command_line other = *line;
    bool dense = strcmp(rate, "dense") == 0;
    int64_t states = j->t[0].tokens;
    if (dense && states > CHAIN_TABLE_STATES) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "--chain dense: %lld states are too many for a matrix of rates, which has at "
                   "most %d",
                   (long long)states, CHAIN_TABLE_STATES);
        diag_hint(line->diags, "set vocab=256, or another size");
        return false;
    }
    const char *text = dense ? dense_rate(line->arena, states)
                             : arena_printf(line->arena, "process.rate=%s", rate);
    return override_parse(line->diags, line->arena, text,
                          &other.overrides[other.override_count++]) &&
           training_open(&j->t[1], &other);
}

static bool measure(struct job *j, double seconds)
{
    double total = 0;
    for (int i = 0; i < 2 && !signals_caught(); i++)
        if (!training_step(&j->t[i], false, &j->took[i][0]))
            return false;
    while (j->pairs < MOST_PAIRS && (j->pairs < LEAST_PAIRS || total < seconds) &&
           !signals_caught()) {
        for (int i = 0; i < 2; i++) {
            if (!training_step(&j->t[i], true, &j->took[i][j->pairs]))
                return false;
            total += j->took[i][j->pairs];
        }
        j->pairs++;
    }
    for (int i = 0; i < 2; i++) {
        const struct plan *plan = j->t[i].plan;
        for (uint32_t k = 0; k < plan->step_count; k++)
            if (plan->steps[k].chain)
                j->of_chain[i] += j->t[i].times[k].seconds / (double)j->pairs;
        j->seconds[i] = bench_median(j->took[i], j->pairs);
    }
    return true;
}

static void print_text(const struct job *j, const char *const names[2])
{
    const struct training *t = &j->t[0];
    printf("%s, batch %lld x %lld, %lld states, %s kernels, %d thread%s; %lld steps of each in "
           "alternation\n\n",
           t->s.model->path, (long long)t->batch, (long long)t->length,
           (long long)t->s.model->processes[0].chain.states, t->s.engine.isa, t->s.engine.threads,
           t->s.engine.threads == 1 ? "" : "s", (long long)j->pairs);
    printf("%-30s %12s %22s\n", "process.rate", "ms a step", "of it, asking the chain");
    for (int i = 0; i < 2; i++)
        printf("%-30.30s %12.2f %22.2f\n", names[i], 1000 * j->seconds[i], 1000 * j->of_chain[i]);
    printf("\na step with %s costs %.2f times one of the model\n", names[1],
           j->seconds[1] / j->seconds[0]);
}

static void print_json(struct diags *diags, const struct job *j, const char *const names[2])
{
    json_t *o = json_pack(
        "{s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:s}", "model", j->t[0].s.model->path, "steps",
        (json_int_t)j->pairs, "ms_per_step", 1000 * j->seconds[0], "ms_of_chain",
        1000 * j->of_chain[0], "other_ms_per_step", 1000 * j->seconds[1], "other_ms_of_chain",
        1000 * j->of_chain[1], "ratio", j->seconds[1] / j->seconds[0], "other", names[1]);
    json_print(diags, o, 9);
}

int bench_chain(struct command_line *line, double seconds)
{
    struct job *j = arena_alloc(line->arena, sizeof *j);
    const char *rate = option_text(line, "chain");
    if (line->override_count == POSITIONAL_MAX) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "--chain leaves room for %d settings on the command line", POSITIONAL_MAX - 1);
        return diags_exit_code(line->diags);
    }
    j->t[0].s.unfused = j->t[1].s.unfused = true; /* so that a chain's steps are its own */
    if (!training_open(&j->t[0], line) || !open_other(j, line, rate))
        return diags_exit_code(line->diags);
    signals_catch(NULL);
    if (!measure(j, seconds))
        return diags_exit_code(line->diags);
    if (signals_caught())
        return signals_exit_code();
    const char *const names[2] = {"as the model says", rate};
    if (option_given(line, "json"))
        print_json(line->diags, j, names);
    else
        print_text(j, names);
    for (int i = 0; i < 2; i++)
        state_close(&j->t[i].s.state);
    return diags_exit_code(line->diags);
}
