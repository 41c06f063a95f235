/* sedge judge: what can be said of samples, beside the same of real text. */
#define _GNU_SOURCE /* memmem */
#include "graph/base/check.h"
#include "runtime/data/format.h"
#include "runtime/data/stream.h"
#include "runtime/molecule.h"
#include "runtime/statistics.h"
#include "tools/json_print.h"
#include "tools/option_vocabulary.h"
#include "tools/scorer.h"
#include "tools/signals.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMARKABLE 0.05 /* nats by which samples must vary less than real text to be warned of */

/* The texts of a file, and what was counted of them. */
struct texts_of {
    struct stream stream; /* each a document */
    uint8_t *broken;      /* of each, whether it is malformed */
    uint32_t broken_room;
    size_t piece;        /* running text is cut into pieces of so many tokens; 0: it is not */
    size_t count, every; /* texts or pieces; of them each EVERY-th is counted */
    uint64_t malformed;
    struct statistics *gathered;
    struct sample_statistics sum;
    struct score score; /* by the judge */
};

struct judging {
    struct command_line *line;
    struct arena *arena;
    struct diags *diags;
    const struct vocabulary *vocabulary;
    struct format_options format;
    struct texts_of samples, real;
    bool any_real, molecules; /* texts are SMILES */
    struct scorer *judge;     /* NULL: none */
};

/* --- texts -------------------------------------------------------------------------------- */

/* Text, all of it: no broken UTF-8, no NUL, and no sign for what could not be read. */
static bool is_utf8(const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        uint32_t code, length = utf8_decode(text + at, size - at, &code);
        if (!length || code == 0 || code == 0xfffd)
            return false;
        at += length;
    }
    return true;
}

static bool is_well_formed(const struct judging *j, const struct source *text)
{
    return j->molecules ? molecule_is_closed(text->text, text->size)
                        : is_utf8(text->text, text->size);
}

/* The next text is of COUNT ids, which were written behind those that are there. */
static void add_text(struct judging *j, struct texts_of *t, size_t count, bool broken)
{
    t->broken = arena_grow(j->arena, t->broken, t->stream.documents, &t->broken_room, 1);
    t->broken[t->stream.documents] = broken;
    stream_add(&t->stream, count);
}

static bool read_text(struct judging *j, struct texts_of *t, const struct source *text)
{
    size_t count;
    bool good = vocabulary_encode_into(j->vocabulary, j->diags, text, EDGES_CLOSED,
                                       t->stream.ids + t->stream.count, &count);
    if (good)
        add_text(j, t, count, !is_well_formed(j, text));
    return good;
}

/* A text that `sedge sample --json` printed: a string, or ids where it is no UTF-8. */
static bool read_sample(struct judging *j, const char *path, const json_t *item)
{
    struct texts_of *t = &j->samples;
    struct source text = {.name = path, .text = json_string_value(item)};
    int32_t *ids = t->stream.ids + t->stream.count;
    size_t count = json_array_size(item);
    bool good = json_is_array(item);
    if (text.text) {
        text.size = json_string_length(item);
        return read_text(j, t, &text);
    }
    for (size_t i = 0; good && i < count; i++) {
        const json_t *id = json_array_get(item, i);
        good = json_is_integer(id) && json_integer_value(id) >= 0 &&
               json_integer_value(id) < j->vocabulary->size + (j->judge ? 0 : 1);
        ids[i] = good ? (int32_t)json_integer_value(id) : 0;
    }
    if (good)
        add_text(j, t, count, true);
    else
        diag_error(j->diags, FAULT_DATA, (struct span){0},
                   "%s: a text is no list of ids of %u symbols", path, j->vocabulary->size);
    return good;
}

/* *IS: whether SOURCE is what `sedge sample --json` printed, whole or cut short. False after
 * reporting that something in it is wrong. */
static bool read_json(struct judging *j, const struct source *source, bool *is)
{
    json_error_t error;
    bool object = source->size && source->text[0] == '{';
    json_t *json = object ? json_loadb(source->text, source->size, JSON_ALLOW_NUL, &error) : NULL;
    const json_t *texts = json_object_get(json, "texts");
    bool good = true;
    *is = json_is_array(texts);
    for (size_t i = 0; good && !signals_caught() && i < json_array_size(texts); i++)
        good = read_sample(j, source->name, json_array_get(texts, i));
    if (object && !json && memmem(source->text, source->size, "\"texts\"", 7)) {
        *is = true;
        good = false;
        diag_error(j->diags, FAULT_DATA, (struct span){0}, "%s: line %d is no JSON: %s",
                   source->name, error.line, error.text);
    }
    json_decref(json);
    return good;
}

/* The documents of SOURCE, by FORMAT. */
static bool read_documents(struct judging *j, const struct source *source,
                           const struct format *format, struct texts_of *t)
{
    struct reader reader;
    struct document document;
    bool good = reader_open(&reader, j->diags, j->arena, format, source, &j->format);
    while (good && !signals_caught() && reader_next(&reader, &document)) {
        if (!document.ids) {
            good = read_text(j, t, &document.text);
            continue;
        }
        memcpy(t->stream.ids + t->stream.count, document.ids,
               document.id_count * sizeof *document.ids);
        add_text(j, t, document.id_count, false);
    }
    good = good && !reader.failed;
    reader_close(&reader);
    return good;
}

/* --- counting ----------------------------------------------------------------------------- */

/* How many pieces a text of so many tokens has; what is left over of running text is none. */
static size_t pieces_of(const struct texts_of *t, size_t tokens)
{
    return t->piece ? tokens / t->piece : 1;
}

/* MOST texts at most, spread over all. */
static void count_texts(struct judging *j, struct texts_of *t, size_t most)
{
    const struct stream *s = &t->stream;
    size_t at = 0;
    for (size_t i = 0; i < s->documents; i++)
        t->count += pieces_of(t, (size_t)(s->starts[i + 1] - s->starts[i]));
    t->every = t->count / most > 1 ? t->count / most : 1;
    for (size_t i = 0; i < s->documents && !signals_caught(); i++) {
        size_t tokens = (size_t)(s->starts[i + 1] - s->starts[i]);
        for (size_t k = 0; k < pieces_of(t, tokens); k++, at++) {
            const int32_t *ids = s->ids + s->starts[i] + k * t->piece;
            size_t count = t->piece ? t->piece : tokens;
            if (at % t->every || at / t->every >= most)
                continue;
            statistics_add(t->gathered, ids, count);
            t->malformed += t->broken[i];
            if (j->judge)
                scorer_add(j->judge, ids, count);
        }
    }
    statistics_sum(t->gathered, &t->sum);
}

/* Samples are texts of their own, be they lines of a file that is no more than text. */
static bool count_samples(struct judging *j, const char *path)
{
    struct source source;
    bool json;
    if (!source_open(j->diags, path, &source))
        return false;
    stream_open(&j->samples.stream, source.size, source.size);
    j->molecules = j->format.format && strcmp(j->format.format, "smiles") == 0;
    bool good = read_json(j, &source, &json);
    if (good && !json) {
        const struct format *format = format_find(j->diags, &source, &j->format);
        if (format == &format_text && !j->format.format)
            format = &format_lines;
        j->molecules = format == &format_smiles;
        good = format && read_documents(j, &source, format, &j->samples);
    }
    source_close(&source);
    count_texts(j, &j->samples, SIZE_MAX);
    if (!good || signals_caught() || j->samples.count)
        return good;
    diag_error(j->diags, FAULT_DATA, (struct span){0}, "%s: holds no texts", path);
    return false;
}

/* Which samples are real texts, where these are whole. */
static void find_samples(struct judging *j)
{
    const struct stream *s = &j->real.stream;
    for (size_t i = 0; i < s->documents; i++)
        statistics_find(j->samples.gathered, s->ids + s->starts[i],
                        (size_t)(s->starts[i + 1] - s->starts[i]));
    statistics_sum(j->samples.gathered, &j->samples.sum);
}

/* As many real texts as there are samples, and running text cut as long as samples are: what is
 * counted depends on both. */
static bool count_real(struct judging *j, const char *path)
{
    struct source source;
    struct texts_of *t = &j->real;
    if (!source_open(j->diags, path, &source))
        return false;
    stream_open(&t->stream, source.size, source.size);
    const struct format *format = format_find(j->diags, &source, &j->format);
    bool good = format && read_documents(j, &source, format, t);
    source_close(&source);
    if (!good)
        return false;
    if (format->ended)
        find_samples(j);
    else
        t->piece = (size_t)fmax(1, rint(j->samples.sum.length));
    count_texts(j, t, j->samples.count);
    if (signals_caught() || t->sum.samples)
        return true;
    diag_error(j->diags, FAULT_DATA, (struct span){0}, "%s: is shorter than a sample", path);
    return false;
}

/* What the judge says of the texts that were added since FIRST. */
static struct score judged(const struct judging *j, uint32_t first)
{
    if (!j->judge)
        return (struct score){0};
    scorer_flush(j->judge);
    return scorer_sum(j->judge, first, j->judge->count);
}

static bool count_all(struct judging *j, const char *samples, const char *real)
{
    if (!count_samples(j, samples))
        return false;
    j->samples.score = judged(j, 0);
    uint32_t first = j->judge ? j->judge->count : 0;
    if (real && !count_real(j, real))
        return false;
    if (real)
        j->real.score = judged(j, first);
    return true;
}

/* --- what is said ------------------------------------------------------------------------- */

/* Figures with their errors: what there is none of is a dash. */
static void print_row(const struct judging *j, const char *name, const char *format,
                      const double *samples, const double *real)
{
    printf("%-26s", name);
    for (int i = 0; i < 1 + j->any_real; i++) {
        char text[64] = "-";
        const double *v = i ? real : samples;
        if (isfinite(v[0]) && isfinite(v[1]))
            snprintf(text, sizeof text, format, v[0], v[1]);
        else if (isfinite(v[0]))
            snprintf(text, sizeof text, "%.4f ± -", v[0]);
        printf("  %20s", text);
    }
    putchar('\n');
}

/* Of pieces of running text nothing is said. */
static double malformed(const struct texts_of *t)
{
    if (t->piece)
        return NAN;
    return t->sum.samples ? (double)t->malformed / (double)t->sum.samples : 0;
}

static void print_judged(const struct judging *j)
{
    const struct score *s = &j->samples.score, *r = &j->real.score;
#define ROW(name, first, second)                                                                   \
    print_row(j, name, "%.4f ± %.4f", (const double[]){s->first, s->second},                       \
              (const double[]){r->first, r->second})
    ROW("nats a token, ± error", nats, nats_error);
    ROW("perplexity, of tokens", of_tokens, of_tokens_error);
    ROW("perplexity, mean of texts", of_texts, of_texts_error);
#undef ROW
}

static void print_text(const struct judging *j)
{
    const struct sample_statistics *s = &j->samples.sum, *r = &j->real.sum;
    printf("%-26s  %20s%s\n", "", "samples", j->any_real ? "             real text" : "");
#define ROW(name, format, first, second)                                                           \
    print_row(j, name, format, (const double[]){s->first, s->second},                              \
              (const double[]){r->first, r->second})
    print_row(j, "texts", "%.0f", (const double[]){(double)s->samples, 0},
              (const double[]){(double)r->samples, 0});
    ROW("symbols, ± deviation", "%.1f ± %.1f", length, length_deviation);
    if (j->judge)
        print_judged(j);
    ROW("entropy, nats, ± error", "%.4f ± %.4f", entropy, entropy_error);
    ROW("distinct-1, -2", "%.4f, %.4f", distinct[0], distinct[1]);
    ROW("distinct-3, -4", "%.4f, %.4f", distinct[2], distinct[3]);
    ROW("repeated 4-grams", "%.4f", repeated, repeated);
    ROW("equal to an earlier text", "%.4f", twice, twice);
#undef ROW
    if (j->any_real && !j->real.piece)
        printf("%-26s  %20.4f\n", "of different, also real", s->found);
    const double of_samples[] = {malformed(&j->samples), 0}, of_real[] = {malformed(&j->real), 0};
    print_row(j, "malformed", "%.4f", of_samples, of_real);
    if (j->real.piece)
        printf("\nreal text: %zu pieces of %zu symbols, of which one in %zu is taken\n",
               j->real.count, j->real.piece, j->real.every);
}

static json_t *sum_json(const struct texts_of *t)
{
    const struct sample_statistics *s = &t->sum;
    json_t *distinct = json_array();
    for (int n = 0; n < STATISTICS_GRAMS; n++)
        json_array_append_new(distinct, json_real(s->distinct[n]));
    json_t *o =
        json_pack("{s:I, s:I, s:f, s:o, s:f, s:o, s:o, s:f, s:f, s:o}", "texts",
                  (json_int_t)s->samples, "symbols", (json_int_t)s->tokens, "length", s->length,
                  "length_deviation", json_number(s->length_deviation), "entropy", s->entropy,
                  "entropy_error", json_number(s->entropy_error), "distinct", distinct, "repeated",
                  s->repeated, "twice", s->twice, "malformed", json_number(malformed(t)));
    if (t->score.texts)
        json_object_set_new(
            o, "judged",
            json_pack("{s:I, s:f, s:o, s:f, s:o, s:f, s:o}", "texts", (json_int_t)t->score.texts,
                      "nats", t->score.nats, "nats_error", json_number(t->score.nats_error),
                      "perplexity_of_tokens", t->score.of_tokens, "perplexity_of_tokens_error",
                      json_number(t->score.of_tokens_error), "perplexity_of_texts",
                      t->score.of_texts, "perplexity_of_texts_error",
                      json_number(t->score.of_texts_error)));
    return o;
}

static void print_json(const struct judging *j)
{
    json_t *all = json_pack("{s:o}", "samples", sum_json(&j->samples));
    if (j->any_real && !j->real.piece)
        json_object_set_new(all, "found", json_real(j->samples.sum.found));
    if (j->judge)
        json_object_set_new(all, "judge", json_string(option_text(j->line, "by")));
    if (j->any_real)
        json_object_set_new(all, "real", sum_json(&j->real));
    json_print(j->diags, all, 9);
}

/* A model that repeats itself finds itself likely: that is no quality. */
static void warn(const struct judging *j)
{
    const struct sample_statistics *s = &j->samples.sum, *r = &j->real.sum;
    double error = sqrt(s->entropy_error * s->entropy_error + r->entropy_error * r->entropy_error);
    if (!j->any_real || !(r->entropy - s->entropy >= fmax(REMARKABLE, 3 * error)))
        return; /* also where one text has no error */
    diag_warning(j->diags, (struct span){0},
                 "the samples vary less than real text (entropy %.2f, not %.2f nats): a low "
                 "perplexity of theirs is bought with repetition",
                 s->entropy, r->entropy);
    diag_hint(j->diags, "compare at equal entropy: more steps, or a temperature nearer to 1");
}

/* --- the command -------------------------------------------------------------------------- */

/* A judge reads texts by its own tokenizer, as it was trained. */
static bool find_vocabulary(struct judging *j, struct scorer *judge)
{
    const char *by = option_text(j->line, "by");
    if (by && option_given(j->line, "tokenizer")) {
        diag_error(j->diags, FAULT_CONFIG, (struct span){0},
                   "--by and --tokenizer exclude each other: a judge has its own tokenizer");
        return false;
    }
    if (!by && j->line->override_count) {
        diag_error(j->diags, FAULT_CONFIG, (struct span){0},
                   "`%s` is a key of a judge, and there is none: --by names it",
                   j->line->overrides[0].key);
        return false;
    }
    if (by && !scorer_open(judge, j->line, by))
        return false;
    if (by) {
        j->judge = judge;
        j->vocabulary = judge->p.vocabulary;
    } else {
        j->vocabulary = option_given(j->line, "tokenizer")
                            ? option_vocabulary(j->line)
                            : vocabulary_from_texts(j->arena, TOKENIZER_BYTES, NULL, 0);
    }
    j->format.vocabulary = j->vocabulary;
    return j->vocabulary != NULL;
}

static int run(struct command_line *line)
{
    const char *real = option_text(line, "real");
    struct scorer judge = {0};
    struct judging j = {.line = line,
                        .arena = line->arena,
                        .diags = line->diags,
                        .format = {.format = option_text(line, "format"), .any_bytes = true},
                        .any_real = real != NULL};
    j.samples.gathered = statistics_new();
    j.real.gathered = statistics_new();
    signals_catch(NULL);
    if (find_vocabulary(&j, &judge) && count_all(&j, line->positional[0], real) &&
        !signals_caught()) {
        if (option_given(line, "json"))
            print_json(&j);
        else
            print_text(&j);
        warn(&j);
    }
    scorer_close(&judge);
    stream_close(&j.samples.stream);
    stream_close(&j.real.stream);
    statistics_free(j.samples.gathered);
    statistics_free(j.real.gathered);
    return signals_caught() ? signals_exit_code() : diags_exit_code(line->diags);
}

static const struct option_spec options[] = {
    {"by", 'b', OPTION_FILE, "RUN", "an autoregressive run (gpt2), to say what the texts cost",
     NULL},
    {"real", 'r', OPTION_FILE, "FILE", "real text, to say the same of", NULL},
    OPTION_TOKENIZER,
    {"format", 0, OPTION_TEXT, "NAME",
     "what the files are, as the key data.format says (samples: lines)", NULL},
    {"json", 'j', OPTION_FLAG, NULL, "the result as one JSON object", NULL},
    {"raw", 0, OPTION_FLAG, NULL, "the judge's parameters themselves, not their average", NULL},
    SESSION_OPTIONS,
    {0}};

const struct command command_judge = {
    .name = "judge",
    .usage = "SAMPLES [--by RUN] [--real FILE] [key=value…]",
    .doc = "what samples are worth: by a judge, and how varied they are",
    .detail =
        "SAMPLES is what `sedge sample --json` printed, or a file of texts, one a line. Symbols\n"
        "are bytes unless --tokenizer or the judge's own says otherwise. A judge is told nothing\n"
        "before the first token, which is not scored; longer texts than it reads are cut.\n\n"
        "  perplexity  of tokens: exp of all nats over all tokens (as MDLM has it); mean of "
        "texts:\n"
        "              of exp of each text's nats a token (as SEDD has it)\n"
        "  entropy     of the histogram of one text's symbols, mean over texts\n"
        "  distinct-n  different n-grams over all n-grams, of all texts together\n"
        "  repeated    4-grams that stood earlier in the same text\n"
        "  also real   of the different texts, those that are in FILE too: the rest are new\n"
        "  malformed   texts with broken UTF-8, a NUL or U+FFFD; of SMILES those with brackets, "
        "rings\n"
        "              or bonds that are not closed\n\n"
        "All of these depend on length and some on the number of texts: compare at equal both.\n"
        "MAUVE is not offered: it depends on a large network's features and on how they are\n"
        "clustered.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
