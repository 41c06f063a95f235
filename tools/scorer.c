/* Scores texts by an autoregressive run. Called by `sedge judge`. */
#include "tools/scorer.h"
#include "graph/base/check.h"
#include "runtime/data/anchor.h"
#include "tools/project_bound.h"

#include <math.h>
#include <string.h>

bool scorer_open(struct scorer *s, struct command_line *line, const char *run)
{
    static const char *const bind[] = {"scored"};
    char *weights;
    *s = (struct scorer){0};
    if (!project_open_run(&s->p, line, run))
        return false;
    if (!project_exact(&s->p)) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "%s is no judge: of its model only a bound of the likelihood is known", run);
        diag_hint(line->diags, "a run of gpt2 is one");
        return false;
    }
    s->batch = s->p.recipe->eval.batch;
    const struct plan *plan = project_plan(&s->p, "likelihood", s->batch, bind, 1);
    if (!plan || !project_state(&s->p, false) || !project_weights(&s->p, run, "last", &weights))
        return false;
    s->program = executor_load(s->p.diags, s->p.arena, &s->p.s.engine, plan);
    size_t cells = (size_t)(s->batch * s->p.length);
    s->x0 = arena_new_array(s->p.arena, int32_t, cells);
    s->scored = arena_new_array(s->p.arena, uint8_t, cells);
    s->text = arena_new_array(s->p.arena, uint32_t, (size_t)s->batch);
    return s->program != NULL;
}

void scorer_close(struct scorer *s)
{
    if (s->p.arena)
        project_close(&s->p);
}

void scorer_flush(struct scorer *s)
{
    const struct plan *plan = executor_plan(s->program);
    const void *inputs[2] = {0};
    uint32_t step;
    if (!s->rows)
        return;
    BUG_ON(plan->input_count > 2);
    for (uint32_t i = 0; i < plan->input_count; i++)
        inputs[i] = strcmp(plan->inputs[i].name, "x0") == 0 ? (const void *)s->x0 : s->scored;
    struct run run = {.inputs = inputs, .key = random_key(1, "judge")};
    for (uint32_t a = 1; a < plan->axis_count; a++)
        run.count[a] = s->rows;
    executor_run(s->program, &run, &step);
    struct tensor nats = executor_output(s->program, plan_output(plan, "nats"));
    for (int64_t i = 0; i < s->rows; i++)
        s->texts[s->text[i]].nats += ((const double *)nats.data)[i];
    s->rows = 0;
}

/* A piece; what follows it in the row is not looked at by what is before it. */
static void add_row(struct scorer *s, const int32_t *ids, int64_t count)
{
    int64_t length = s->p.length;
    int32_t *x0 = s->x0 + s->rows * length;
    uint8_t *scored = s->scored + s->rows * length;
    memset(x0, 0, (size_t)length * sizeof *x0);
    memcpy(x0, ids, (size_t)count * sizeof *x0);
    for (int64_t k = 0; k < length; k++)
        scored[k] = k > 0 && k < count;
    s->text[s->rows++] = s->count;
    s->texts[s->count].tokens += count - 1;
}

void scorer_add(struct scorer *s, const int32_t *ids, size_t count)
{
    s->texts = arena_grow(s->p.arena, s->texts, s->count, &s->capacity, sizeof *s->texts);
    s->texts[s->count] = (struct scored_text){0};
    for (size_t at = 0; at < count; at += (size_t)s->p.length) {
        int64_t left = (int64_t)(count - at);
        if (left > 1)
            add_row(s, ids + at, left < s->p.length ? left : s->p.length);
        if (s->rows == s->batch)
            scorer_flush(s);
    }
    s->count++;
}

struct score scorer_sum(const struct scorer *s, uint32_t first, uint32_t end)
{
    struct score out = {0, NAN, NAN, NAN, NAN, NAN, NAN};
    double *nats = arena_new_array(s->p.arena, double, end - first + 1);
    double *tokens = arena_new_array(s->p.arena, double, end - first + 1), sum = 0, squares = 0;
    for (uint32_t i = first; i < end; i++) {
        const struct scored_text *t = &s->texts[i];
        if (!t->tokens)
            continue;
        double own = exp(t->nats / (double)t->tokens);
        nats[out.texts] = t->nats;
        tokens[out.texts++] = (double)t->tokens;
        sum += own;
        squares += own * own;
    }
    if (!out.texts)
        return out;
    double n = out.texts, variance = (squares - sum * sum / n) / (n - 1);
    const struct anchor mean = anchor_of(nats, tokens, out.texts);
    out.nats = mean.mean;
    out.nats_error = mean.error;
    out.of_tokens = exp(mean.mean);
    out.of_tokens_error = out.of_tokens * mean.error;
    out.of_texts = sum / n;
    if (out.texts > 1)
        out.of_texts_error = variance > 0 ? sqrt(variance / n) : 0;
    return out;
}
