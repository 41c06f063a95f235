/* What `sedge sample` shows: sequences while noise resolves into text, the text, and what was
 * done. */
#include "graph/base/clock.h"
#include "tools/classes.h"
#include "tools/json_print.h"
#include "tools/sample.h"
#include "tools/signals.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FRAME_SECONDS 0.05
#define COUNT_SECONDS 1
#define WATCHED 3 /* sequences shown at once */

/* Ids that are no token (a mask) print as a low line; newlines as they are on output, and as a
 * sign while watching, so that the lines of a frame can be counted. */
static char *decode(struct sample_job *j, struct arena *arena, const int32_t *ids, int64_t count,
                    size_t *size)
{
    return vocabulary_decode(j->p.vocabulary, arena, ids, (size_t)count, "_", size);
}

/* One sequence in at most COLUMNS columns a line and MOST lines, for what scrolls off cannot be
 * drawn over; a mask is dimmed. Returns the lines it took. */
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

/* Without --watch: where a run is that takes its time, on a line that goes when the text comes. */
static void count_turns(struct sample_job *j, int64_t turn, int64_t turns)
{
    if (!isatty(STDERR_FILENO) || clock_seconds() - j->drawn < COUNT_SECONDS)
        return;
    fprintf(stderr, "\rturn %lld of %s%lld\033[K", (long long)turn, j->loop->grid ? "" : "at most ",
            (long long)turns);
    fflush(stderr);
    j->counting = true;
    j->drawn = clock_seconds();
}

void sample_end_count(struct sample_job *j)
{
    if (j->counting)
        fputs("\r\033[K", stderr);
    j->counting = false;
}

bool sample_watch(void *context, struct looper *looper, int64_t turn, int64_t turns)
{
    struct sample_job *j = context;
    if (signals_caught())
        return false;
    if (!j->watch)
        count_turns(j, turn, turns);
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
    int64_t there = j->by_place ? turn + 1 : j->p.length; /* the others are drawn later */
    for (int64_t i = 0; i < j->count && i < WATCHED; i++)
        j->lines += draw_text(decode(j, j->frame, x + i * j->p.length, there, NULL), columns,
                              rows - j->lines);
    fputs("\033[J", stderr);
    fflush(stderr);
    j->drawn = clock_seconds();
    return true;
}

/* --- the text ----------------------------------------------------------------------------- */

/* Text that is no UTF-8, as bytes may be, is a list of ids. */
static json_t *text_json(const char *text, size_t size, const int32_t *ids, int64_t count)
{
    json_t *json = json_stringn(text, size);
    if (json)
        return json;
    json = json_array();
    for (int64_t i = 0; i < count; i++)
        json_array_append_new(json, json_integer(ids[i]));
    return json;
}

/* How many symbols of the sequence IDS come before its end. */
static int64_t shown(const struct sample_job *j, const int32_t *ids)
{
    int64_t count = 0;
    while (count < j->wanted && (j->stop < 0 || ids[count] != j->stop))
        count++;
    return count;
}

const struct grammar *sample_language(const struct sample_job *j, uint32_t k)
{
    return dataset_class_count(j->p.data) ? dataset_class_grammar(j->p.data, (int32_t)k)
                                          : dataset_grammar(j->p.data);
}

void sample_open_languages(struct sample_job *j)
{
    uint32_t classes = j->p.data ? dataset_class_count(j->p.data) : 0;
    if (j->p.data && (classes || dataset_grammar(j->p.data)))
        j->languages = classes ? classes : 1;
    j->sentences = arena_new_array(j->p.arena, struct sentence_count, j->languages + 1);
}

void sample_print_batch(struct sample_job *j)
{
    struct arena *arena = arena_new();
    sample_end_count(j);
    if (j->watch && j->lines && isatty(STDOUT_FILENO)) /* the frame gives way to the text */
        fprintf(stderr, "\033[%dA\r\033[J", j->lines);
    for (int64_t i = 0; i < j->count; i++) {
        const int32_t *ids = j->out + i * j->wanted;
        int64_t count = shown(j, ids);
        size_t size;
        char *text = decode(j, arena, ids, count, &size);
        if (j->json) {
            json_array_append_new(j->json, text_json(text, size, ids, count));
        } else {
            fwrite(text, 1, size, stdout);
            putchar('\n');
        }
        for (uint32_t k = 0; k < j->languages; k++) {
            struct sentence_count c =
                grammar_accepts_sentences(sample_language(j, k), ids, (size_t)count);
            j->sentences[k].total += c.total;
            j->sentences[k].accepted += c.accepted;
        }
    }
    fflush(stdout);
    arena_free(arena);
}

/* --- the end ------------------------------------------------------------------------------ */

static void say(json_t *list, const char *text)
{
    json_array_append_new(list, json_string(text));
}

static bool changes_law(const struct sample_job *j, const char *name, double neutral)
{
    const struct param *p = model_param(j->p.s.model, name);
    return p && number_real(p->value) != neutral;
}

static bool gives_tokens(const struct sample_job *j)
{
    for (uint32_t i = 0; i < j->text_count; i++)
        for (uint32_t k = 0; k < j->texts[i].count; k++)
            if (j->texts[i].places[k].token >= 0)
                return true;
    return false;
}

/* Whether each text that is asked for has its first symbol. */
static bool given_first(const struct sample_job *j)
{
    bool all = j->text_count > 0;
    for (uint32_t i = 0; i < j->text_count; i++)
        all &= j->texts[i].count > 0 && j->texts[i].places[0].token >= 0;
    return all;
}

/* Whether the sampler draws by the law of the model, the one that the bound is of, but for what is
 * asked besides. */
static void say_sampler(const struct sample_job *j, json_t *exact, json_t *heuristic)
{
    const struct chain *chain = project_chain(&j->p);
    bool proven = !j->by_thinning || (chain && chain->kind == CHAIN_FLAT && !project_raw(&j->p));
    if (j->by_place)
        say(exact, "sampler: each symbol is drawn by its law given those before it");
    else if (!j->by_event && !j->loop->grid)
        say(heuristic, "sampler: a loop of this model, of whose law nothing is known");
    else if (!j->by_event)
        say(heuristic, "steps: symbols that change in the same step do not see each other");
    else if (j->total[TOTAL_VIOLATIONS] > 0)
        say(heuristic, "sampler: rates that were above their bound were cut");
    else if (proven)
        say(exact, "sampler: each jump has its own time and law, so that no step makes an error");
    else
        say(exact, "sampler: each jump has its own time and law, as no rate that was met was above "
                   "the one that it was thinned by");
    bool surest = j->by_order && changes_law(j, "confidence_by", 3);
    if (surest)
        say(heuristic, "order: symbols come where the network is surest first, and the law of the "
                       "model is that of any order");
    if (surest && strcmp(j->loop->name, "confidence-keep-best") == 0)
        say(heuristic, "confidence-keep-best: what is drawn and then kept is likelier than the "
                       "law says");
}

/* Which parts of the request the sampler meets exactly, given the network, and which by a rule of
 * thumb; `sedge explain given` says the same. */
static void say_how(const struct sample_job *j, json_t *exact, json_t *heuristic)
{
    const struct chain *chain = project_chain(&j->p);
    bool absorb = chain && chain_carries_over(chain);
    say_sampler(j, exact, heuristic);
    bool given = gives_tokens(j); /* by the request: the context of a block is spoken of below */
    if (j->by_place && !given_first(j))
        say(heuristic, "first symbol: any, each as likely, for the model says nothing of it");
    if (given && j->by_place)
        say(exact, "known positions: what follows is drawn given them");
    else if (given && absorb && project_time_free(&j->p))
        say(exact, "known positions: a time-free network under absorption conditions on them");
    else if (given && absorb)
        say(heuristic, "known positions: the share of masks no longer fits the noise level that "
                       "the network is told");
    else if (given)
        say(heuristic, "known positions: they are put back after each step, and the network was "
                       "trained on noise at every position");
    if (j->sets)
        say(heuristic, "allowed sets: each step draws among what is allowed, one position at a "
                       "time");
    if (j->steered && j->gamma != 0)
        say(heuristic, "guidance: to first order, by the gradient of the energy at the noisy "
                       "tokens; exact only where the energy is linear in them and gamma is 1");
    else if (j->label && j->gamma == 1)
        say(exact, "label: the score is the one that was trained with it");
    else if (j->label && j->gamma != 0)
        say(heuristic, "guidance: scores are sharpened by gamma, which is no law of the data");
    else if (j->label)
        say(exact, "label: at gamma 0 it is not used, and what is drawn is of all classes");
    if (changes_law(j, "temperature", 1) || changes_law(j, "top_p", 1) ||
        changes_law(j, "top_k", 0))
        say(heuristic, "temperature, top-p, top-k: the law of each token is changed");
    if (j->wanted > j->p.length)
        say(heuristic, "length: each block sees only the context before it");
}

/* Of the run's language; or of each class an entry of its own. */
static void put_sentences(const struct sample_job *j, json_t *all)
{
    bool classes = j->p.data && dataset_class_count(j->p.data);
    json_t *each = json_object();
    for (uint32_t k = 0; k < j->languages; k++) {
        json_t *o = classes ? json_object() : all;
        if (!classes && !j->sentences[k].total)
            continue;
        json_object_set_new(o, "sentences", json_integer(j->sentences[k].total));
        json_object_set_new(o, "sentences_accepted", json_integer(j->sentences[k].accepted));
        if (classes)
            json_object_set_new(each, class_name(&j->p, (int32_t)k), o);
    }
    if (classes)
        json_object_set(all, "classes", each);
    json_decref(each);
}

static const char *const hole_names[HOLE_KINDS] = {"one_free", "one_free_forced"};

static void put_truth(const struct sample_job *j, json_t *all)
{
    struct sample_truth truth[HOLE_KINDS];
    sample_sum_truth(j, truth);
    for (int k = 0; k < HOLE_KINDS; k++)
        if (truth[k].texts)
            json_object_set_new(all, hole_names[k],
                                json_pack("{s:I, s:f, s:f}", "texts", (json_int_t)truth[k].texts,
                                          "total_variation", truth[k].variation, "by_chance",
                                          truth[k].chance));
}

static void print_json(const struct sample_job *j, double seconds)
{
    const struct sample_recipe *q = &j->p.recipe->sample;
    json_t *exact = json_array(), *heuristic = json_array();
    say_how(j, exact, heuristic);
    json_t *all = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:o}", "sampler",
                            j->loop->name, "steps", (json_int_t)j->times.steps, "steps_inserted",
                            (json_int_t)j->times.inserted, "program_calls", (json_int_t)j->calls,
                            "seed", (json_int_t)q->seed, "sequences", (json_int_t)j->finished,
                            "length", (json_int_t)j->wanted, "seconds", seconds, "exact", exact,
                            "heuristic", heuristic);
    for (int i = 0; i < TOTAL_COUNT; i++)
        if (loop_carry_data(j->looper, sample_totals[i]))
            json_object_set_new(all, sample_totals[i], json_real(j->total[i]));
    if (project_raw(&j->p))
        json_object_set_new(all, "project", json_string("off"));
    if (j->label) {
        json_object_set_new(all, "label", json_string(class_name(&j->p, j->label[0])));
        json_object_set_new(all, "gamma", json_real(j->gamma));
    }
    put_sentences(j, all);
    put_truth(j, all);
    json_object_set(all, "texts", j->json);
    json_print(j->p.line->diags, all, 0);
}

const char *const sample_totals[TOTAL_COUNT] = {
    [TOTAL_CLAMPED] = "clamped",
    [TOTAL_VIOLATIONS] = "violations",
    [TOTAL_TRUNK] = "trunk_calls",
    [TOTAL_HEAD] = "head_rows",
};

/* Before anything is drawn: there may be very many of them. */
void sample_print_start(const struct sample_job *j)
{
    if (j->times.inserted)
        fprintf(stderr, "%lld steps were inserted to keep each below the grid's limit\n",
                (long long)j->times.inserted);
}

/* What else was drawn than is printed, and what the sampler had to correct. */
static void print_notes(const struct sample_job *j)
{
    if (j->wanted < j->p.length && !j->by_place)
        fprintf(stderr, "of the model's %lld symbols, the %lld after the text were left free\n",
                (long long)j->p.length, (long long)(j->p.length - j->wanted));
    if (j->total[TOTAL_CLAMPED] > 0)
        fprintf(stderr, "%.0f negative weights were set to zero\n", j->total[TOTAL_CLAMPED]);
    if (j->total[TOTAL_VIOLATIONS] > 0)
        fprintf(stderr, "%.0f times a rate was above its bound and was cut\n",
                j->total[TOTAL_VIOLATIONS]);
    if (loop_carry_data(j->looper, sample_totals[TOTAL_TRUNK]))
        fprintf(stderr,
                "after the start the network was asked for %.0f sequences and %.0f of their "
                "positions\n",
                j->total[TOTAL_TRUNK], j->total[TOTAL_HEAD]);
}

/* A text without a whole sentence says nothing. */
static void print_sentences(const struct sample_job *j)
{
    bool classes = j->p.data && dataset_class_count(j->p.data);
    for (uint32_t k = 0; k < j->languages; k++) {
        const struct sentence_count *c = &j->sentences[k];
        if (!c->total && !classes)
            continue;
        fprintf(stderr, "the grammar%s%s%s accepts %u of %u whole sentences",
                classes ? " of `" : "", classes ? class_name(&j->p, (int32_t)k) : "",
                classes ? "`" : "", c->accepted, c->total);
        if (c->total)
            fprintf(stderr, " (%.1f%%)", 100.0 * c->accepted / c->total);
        fputc('\n', stderr);
    }
}

/* How far what was drawn in the place of one free symbol is from the law that the language has. */
static void print_truth(const struct sample_job *j)
{
    struct sample_truth truth[HOLE_KINDS];
    sample_sum_truth(j, truth);
    for (int k = 0; k < HOLE_KINDS; k++)
        if (truth[k].texts)
            fprintf(stderr,
                    "%lld text%s with one free symbol%s: total variation %.3f from the grammar's "
                    "law, by chance %.3f\n",
                    (long long)truth[k].texts, truth[k].texts == 1 ? "" : "s",
                    k == HOLE_FORCED ? ", of which one is right" : "", truth[k].variation,
                    truth[k].chance);
}

/* What of the request is exact and what is not, a line each. */
static void print_how(const struct sample_job *j)
{
    json_t *list[] = {json_array(), json_array()};
    say_how(j, list[0], list[1]);
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < json_array_size(list[i]); k++)
            fprintf(stderr, "%s: %s\n", i ? "heuristic" : "exact",
                    json_string_value(json_array_get(list[i], k)));
        json_decref(list[i]);
    }
}

void sample_print_end(struct sample_job *j, double seconds)
{
    bool grid = j->loop->grid;
    long long turns = (long long)(grid ? j->times.steps : j->calls);
    fprintf(stderr, "%lld sequence%s of %lld by `%s`, %lld %s%s, in %.1f s%s\n",
            (long long)j->finished, j->finished == 1 ? "" : "s", (long long)j->wanted,
            j->loop->name, turns, grid ? "step" : "program call", turns == 1 ? "" : "s", seconds,
            project_raw(&j->p) ? ", scores not projected" : "");
    print_notes(j);
    print_how(j);
    print_sentences(j);
    print_truth(j);
    if (j->json)
        print_json(j, seconds);
}
