/* sedge sample: text from a run. The text goes to stdout, all else to stderr. */
#include "graph/base/clock.h"
#include "runtime/loop.h"
#include "tools/run_record.h"
#include "tools/signals.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const struct option_spec options[] = {
    {"count", 'n', OPTION_KEY, "N", "sequences", "sample.count"},
    {"steps", 's', OPTION_KEY, "N", "steps of the time grid", "sample.steps"},
    {"sampler", 0, OPTION_KEY, "NAME", "loop of the model: tweedie, euler, …", "sample.sampler"},
    {"seed", 0, OPTION_KEY, "N", "of the draws", "sample.seed"},
    {"watch", 'w', OPTION_FLAG, NULL, "show the first sequences while noise resolves into text",
     NULL},
    {"checkpoint", 'c', OPTION_TEXT, "WHICH", "last (default), best, or a file", NULL},
    {"raw", 0, OPTION_FLAG, NULL, "the parameters themselves, not their average", NULL},
    {0}};

#define FRAME_SECONDS 0.05
#define WATCHED 3 /* sequences shown at once */

struct job {
    struct project p;
    struct loop *loop;
    struct looper *looper;
    int64_t batch;
    bool watch;
    int lines;     /* drawn by the last frame */
    double drawn;  /* when */
    int64_t count; /* sequences of this batch */
    struct sentence_count sentences;
    struct arena *frame; /* text of one frame */
};

/* --- opening ------------------------------------------------------------------------------ */

static uint32_t inputs_given(const struct loop *l, const char *program)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->body_count; i++)
        n += strcmp(l->body[i].program, program) == 0 ? l->body[i].with_count : 0;
    return n;
}

static void add_name(const char **names, uint32_t *count, const char *name)
{
    for (uint32_t i = 0; i < *count; i++)
        if (strcmp(names[i], name) == 0)
            return;
    names[(*count)++] = name;
}

/* The programs that the loop calls, each compiled once with the inputs that it is given. */
static bool compile_calls(struct job *j, struct plan **plans, const char **names, uint32_t *count)
{
    const struct loop *l = j->loop;
    for (uint32_t i = 0; i < l->body_count + l->carry_count; i++) {
        const struct loop_call *call = i < l->body_count ? &l->body[i] : NULL;
        const struct loop_carry *carry = call ? NULL : &l->carry[i - l->body_count];
        if (carry && carry->start != START_CALL)
            continue;
        const char *program = call ? call->program : carry->program;
        bool known = false;
        for (uint32_t k = 0; k < *count; k++)
            known |= strcmp(names[k], program) == 0;
        if (known)
            continue;
        const char **bind = arena_new_array(j->p.arena, const char *, inputs_given(l, program) + 1);
        uint32_t n = 0;
        for (uint32_t c = 0; c < l->body_count; c++) /* what any of its calls gives, all must */
            for (uint32_t k = 0; k < l->body[c].with_count; k++)
                if (strcmp(l->body[c].program, program) == 0)
                    add_name(bind, &n, l->body[c].with[k].input);
        plans[*count] = project_plan(&j->p, program, j->batch, bind, n);
        if (!plans[*count])
            return false;
        names[(*count)++] = program;
    }
    return true;
}

/* Weights that are not finite draw tokens all the same, which mean nothing. */
static bool check_weights(struct job *j, const char *path)
{
    const struct state *s = &j->p.s.state;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct state_row *row = &s->table->rows[i];
        int64_t n = s->row[i] && row->type.dtype == DT_F32 ? type_count(&row->type) : 0;
        for (int64_t k = 0; k < n; k++) {
            if (isfinite(((const float *)(const void *)s->row[i])[k]))
                continue;
            diag_error(j->p.diags, FAULT_DATA, (struct span){0}, "%s: `%s` is not finite", path,
                       row->name);
            return false;
        }
    }
    return true;
}

static bool open_loop(struct job *j, const char *run)
{
    struct project *p = &j->p;
    const struct sample_recipe *q = &p->recipe->sample;
    const char *which = option_text(p->line, "checkpoint");
    uint32_t count = 0;
    char *weights;
    j->batch = q->batch < q->count ? q->batch : q->count;
    j->loop = loop_read(p->s.model, q->sampler);
    uint32_t most = j->loop ? j->loop->body_count + j->loop->carry_count : 0;
    struct plan **plans = arena_new_array(p->arena, struct plan *, most + 1);
    const char **names = arena_new_array(p->arena, const char *, most + 1);
    struct loop_program *programs = arena_new_array(p->arena, struct loop_program, most + 1);
    if (!j->loop || !compile_calls(j, plans, names, &count) || !project_state(p, false) ||
        !project_weights(p, run, which ? which : "last", &weights) || !check_weights(j, weights))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        programs[i].name = names[i];
        programs[i].loaded = executor_load(p->diags, p->arena, &p->s.engine, plans[i]);
        if (!programs[i].loaded)
            return false;
    }
    j->looper = loop_open(p->diags, p->arena, j->loop, programs, count, NULL, 0, j->batch);
    if (!j->looper)
        return false;
    for (uint32_t i = 0; i < j->loop->carry_count; i++) {
        if (j->loop->carry[i].start != START_GIVEN)
            continue;
        diag_error(p->diags, FAULT_CONFIG, j->loop->carry[i].span,
                   "loop `%s` waits for `%s` to be given, and `sample` gives nothing",
                   j->loop->name, j->loop->carry[i].name);
        return false;
    }
    if (loop_carry_data(j->looper, "x"))
        return true;
    diag_error(p->diags, FAULT_CONFIG, j->loop->span, "loop `%s` carries no `x` to print",
               j->loop->name);
    return false;
}

/* --- showing ------------------------------------------------------------------------------ */

/* Ids that are no token (a mask) print as a low line; newlines as they are on output, and as a
 * sign while watching, so that the lines of a frame can be counted. */
static char *decode(struct job *j, struct arena *arena, const int32_t *ids, size_t *size)
{
    return vocabulary_decode(j->p.vocabulary, arena, ids, (size_t)j->p.length, "_", size);
}

/* One sequence in at most COLUMNS columns a line and MOST lines, for what scrolls off cannot be drawn
 * over; a mask is dimmed. Returns the lines it took. */
static int draw_text(const char *text, int columns, int most)
{
    int column = 0, lines = 1;
    if (most < 1)
        return 0;
    for (const char *at = text; *at; at++) {
        bool head = ((unsigned char)*at & 0xC0) != 0x80;
        if (head && column == columns && lines == most)
            break;
        if (head && column == columns) {
            fputs("\033[K\n", stderr);
            column = 0;
            lines++;
        }
        if (*at == '\n')
            fputs("\xE2\x8F\x8E", stderr); /* a return sign */
        else if (*at == '_')
            fputs("\033[2m_\033[22m", stderr);
        else if ((unsigned char)*at >= ' ')
            fputc(*at, stderr);
        else
            fputc(' ', stderr);
        column += head;
    }
    fputs("\033[K\n", stderr);
    return lines;
}

static bool watch(void *context, struct looper *looper, int64_t turn, int64_t turns)
{
    struct job *j = context;
    if (signals_caught())
        return false;
    if (!j->watch || (turn < turns && clock_seconds() - j->drawn < FRAME_SECONDS && turn > 0))
        return true;
    const int32_t *x = loop_carry_data(looper, "x");
    struct winsize w = {0};
    bool sized = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 8 && w.ws_row > 4;
    int columns = sized ? w.ws_col - 1 : 78, rows = sized ? w.ws_row - 1 : 23;
    arena_free(j->frame);
    j->frame = arena_new();
    if (j->lines)
        fprintf(stderr, "\033[%dA\r", j->lines);
    fprintf(stderr, "\033[1mturn %lld of %lld\033[0m\033[K\n", (long long)turn, (long long)turns);
    j->lines = 1;
    for (int64_t i = 0; i < j->count && i < WATCHED; i++)
        j->lines +=
            draw_text(decode(j, j->frame, x + i * j->p.length, NULL), columns, rows - j->lines);
    fputs("\033[J", stderr);
    fflush(stderr);
    j->drawn = clock_seconds();
    return true;
}

static void print_batch(struct job *j)
{
    const int32_t *x = loop_carry_data(j->looper, "x");
    const struct grammar *g = j->p.data ? dataset_grammar(j->p.data) : NULL;
    struct arena *arena = arena_new();
    for (int64_t i = 0; i < j->count; i++) {
        size_t size;
        char *text = decode(j, arena, x + i * j->p.length, &size);
        fwrite(text, 1, size, stdout);
        putchar('\n');
        if (!g)
            continue;
        struct sentence_count c =
            grammar_accepts_sentences(g, x + i * j->p.length, (size_t)j->p.length);
        j->sentences.total += c.total;
        j->sentences.accepted += c.accepted;
    }
    fflush(stdout);
    arena_free(arena);
}

static bool sample(struct job *j)
{
    const struct sample_recipe *q = &j->p.recipe->sample;
    struct loop_request r = {.key = random_key((uint64_t)q->seed, "sample"),
                             .steps = q->steps,
                             .watch = watch,
                             .context = j};
    for (int64_t first = 0; first < q->count; first += j->batch) {
        j->count = q->count - first < j->batch ? q->count - first : j->batch;
        j->lines = 0;
        r.count = j->count;
        r.sequence = (uint32_t)first;
        if (!loop_run(j->looper, &r))
            return false;
        if (j->watch && j->lines && isatty(STDOUT_FILENO)) /* the frame gives way to the text */
            fprintf(stderr, "\033[%dA\r\033[J", j->lines);
        print_batch(j);
    }
    return true;
}

static int run(struct command_line *line)
{
    struct job *j = arena_alloc(line->arena, sizeof *j);
    const char *folder = line->positional[0];
    if (!project_open_run(&j->p, line, folder) ||
        !project_run_grammar(&j->p, record_data_hash(line->arena, folder)) || !open_loop(j, folder))
        return diags_exit_code(line->diags);
    j->watch = option_given(line, "watch") && isatty(STDERR_FILENO);
    signals_catch(NULL);
    double start = clock_seconds();
    bool whole = sample(j);
    if (!whole)
        return signals_exit_code();
    const struct sample_recipe *q = &j->p.recipe->sample;
    fprintf(stderr, "%lld sequence%s of %lld by `%s`, %lld steps, in %.1f s\n", (long long)q->count,
            q->count == 1 ? "" : "s", (long long)j->p.length, q->sampler,
            (long long)(q->steps ? q->steps : j->loop->steps), clock_seconds() - start);
    if (j->sentences.total)
        fprintf(stderr, "the grammar accepts %u of %u whole sentences (%.1f%%)\n",
                j->sentences.accepted, j->sentences.total,
                100.0 * j->sentences.accepted / j->sentences.total);
    loop_close(j->looper);
    arena_free(j->frame);
    project_close(&j->p);
    return diags_exit_code(line->diags);
}

const struct command command_sample = {
    .name = "sample",
    .usage = "RUN [key=value…] [--count N] [--steps N] [--watch]",
    .doc = "draw text from a run",
    .detail = "The text goes to stdout, one sequence after the other; all else to stderr.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
