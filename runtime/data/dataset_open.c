/* Opens files or a known language as a dataset, by itself or in parts. Called by the training,
 * sampling and evaluation loops and by the commands. */
#include "graph/base/check.h"
#include "runtime/data/dataset_struct.h"

#include <math.h>
#include <string.h>

static bool unknown_tokenizer(struct diags *diags, const struct dataset_options *options)
{
    const char *names[TOKENIZER_COUNT];
    for (int i = 0; i < TOKENIZER_COUNT; i++)
        names[i] = tokenizer_name((enum tokenizer)i);
    diag_error(diags, FAULT_CONFIG, options->where, "there is no tokenizer `%s`",
               options->tokenizer);
    const char *near = diag_nearest(options->tokenizer, names, TOKENIZER_COUNT);
    if (near)
        diag_hint(diags, "did you mean `%s`?", near);
    else
        diag_hint(diags, "tokenizer: chars, bytes, words, gpt2:DIR or bert:DIR");
    return false;
}

/* The tokenizer that is asked for; where its symbols are those of files, they are read into
 * OPTIONS->vocabulary. False after reporting. */
static bool find_tokenizer(struct diags *diags, struct arena *arena,
                           struct dataset_options *options, enum tokenizer *out)
{
    const char *place = NULL;
    if (!options->tokenizer && options->vocabulary)
        *out = options->vocabulary->tokenizer;
    if (options->tokenizer && !tokenizer_find(options->tokenizer, out, &place))
        return unknown_tokenizer(diags, options);
    if (options->vocabulary && options->vocabulary->tokenizer != *out) {
        diag_error(diags, FAULT_CONFIG, options->where,
                   "data.tokenizer is `%s`, but the run's vocabulary is of `%s`",
                   tokenizer_name(*out), tokenizer_name(options->vocabulary->tokenizer));
        diag_hint(diags, "tokenizer: %s", tokenizer_name(options->vocabulary->tokenizer));
        return false;
    }
    if (options->vocabulary || !tokenizer_of_files(*out))
        return true;
    if (place && *place)
        return (options->vocabulary = vocabulary_open(diags, arena, *out, place)) != NULL;
    diag_error(diags, FAULT_CONFIG, options->where,
               "data.tokenizer does not say where the files of "
               "`%s` are",
               tokenizer_name(*out));
    diag_hint(diags, "tokenizer: %s:DIR", tokenizer_name(*out));
    return false;
}

static struct corpus_options corpus_options(const struct dataset_options *o,
                                            enum tokenizer tokenizer)
{
    return (struct corpus_options){
        .files = o->files,
        .file_count = o->file_count,
        .valid_file = o->valid_file,
        .valid = o->valid,
        .by_document = o->by_document,
        .tokenizer = tokenizer,
        .vocabulary = o->vocabulary,
        .format = {.format = o->format,
                   .field = o->field,
                   .letters = o->letters,
                   .levels = o->levels,
                   .any_bytes = tokenizer_any_bytes(tokenizer),
                   .vocabulary = o->vocabulary,
                   .where = o->where},
        .separator = o->separator,
        .cache = o->cache,
        .cache_from = o->cache_from,
        .length = o->length,
        .where = o->where,
    };
}

static bool open_files(struct dataset *d, struct diags *diags, struct arena *arena,
                       const struct dataset_options *options, enum tokenizer tokenizer)
{
    struct corpus_options wanted = corpus_options(options, tokenizer);
    if (!corpus_read(diags, arena, &wanted, &d->corpus))
        return false;
    d->vocabulary = d->corpus.vocabulary;
    d->hash = d->corpus.hash;
    return true;
}

/* A known language's held-out text from a file, in the language's own vocabulary. */
static bool open_valid_file(struct dataset *d, struct diags *diags, struct arena *arena,
                            const struct dataset_options *options)
{
    struct dataset_options one = *options;
    one.files = &options->valid_file;
    one.file_count = 1;
    one.valid_file = NULL;
    one.valid = 1;
    one.vocabulary = d->vocabulary;
    one.format = NULL;
    struct corpus_options wanted = corpus_options(&one, d->vocabulary->tokenizer);
    bool read = corpus_read(diags, arena, &wanted, &d->held);
    d->corpus.valid = d->held.valid;
    d->held.valid = (struct stream){0};
    uint64_t hashes[2] = {d->hash, d->held.hash};
    d->hash = hash_bytes(hashes, sizeof hashes);
    return read;
}

static bool check_share(struct diags *diags, const struct dataset_options *options, size_t held)
{
    if (!(options->valid >= 0 && options->valid <= 1)) {
        diag_error(diags, FAULT_CONFIG, options->where,
                   "data.valid is %g: it is the share of the text that is held out, from 0 to 1",
                   options->valid);
        diag_hint(diags, "valid: 0.1, or the name of a file with held-out text");
        return false;
    }
    if (options->length > DATASET_GRAMMAR_TOKENS || (held > 0 && held < options->length)) {
        diag_error(diags, FAULT_CONFIG, options->where,
                   "the held-out stream is shorter than one window: %zu of %u tokens", held,
                   options->length);
        diag_hint(diags, "make params.length smaller or data.valid larger");
        return false;
    }
    return true;
}

static void draw(const struct dataset *d, struct stream *out, struct random_key key, size_t count)
{
    stream_open(out, count, 1);
    grammar_generate(d->grammar, key, out->ids, count);
    stream_add(out, count);
}

static bool open_grammar(struct dataset *d, struct diags *diags, struct arena *arena,
                         const struct dataset_options *options, enum tokenizer tokenizer)
{
    size_t held = options->valid_file ? 0 : (size_t)floor(options->valid * DATASET_GRAMMAR_TOKENS);
    if (!options->valid_file && !check_share(diags, options, held))
        return false;
    if (tokenizer_of_files(tokenizer)) {
        diag_error(diags, FAULT_CONFIG, options->where,
                   "a known language is read as chars, bytes or words, not as %s",
                   tokenizer_name(tokenizer));
        diag_hint(diags,
                  "what a text is likely to be is known of each symbol that the grammar says, "
                  "and a merged one may lie across two of its arcs");
        return false;
    }
    d->grammar = grammar_read(diags, arena, options->files[0], options->where);
    if (!d->grammar || !grammar_tokenize(diags, arena, d->grammar, tokenizer, options->vocabulary))
        return false;
    d->vocabulary = d->grammar->positions.vocabulary;
    draw(d, &d->corpus.train, random_key(options->seed, "data/train"), DATASET_GRAMMAR_TOKENS);
    if (options->valid_file)
        return open_valid_file(d, diags, arena, options);
    draw(d, &d->corpus.valid, random_key(options->seed, "data/valid"), held);
    return true;
}

/* Whether the files are a grammar, as data.format says or as they look; *HASH is that of the last
 * file looked at. False after reporting when a grammar is among several. */
static bool look(struct diags *diags, const struct dataset_options *options, bool *is_grammar,
                 uint64_t *hash)
{
    bool any = !options->format || strcmp(options->format, "auto") == 0;
    *is_grammar = !any && strcmp(options->format, "grammar") == 0;
    for (uint32_t i = 0; i < options->file_count; i++) {
        struct source source;
        if (!source_open(diags, options->files[i], &source))
            return false;
        *is_grammar = *is_grammar || (any && grammar_recognize(&source));
        *hash = *is_grammar ? hash_bytes(source.text, source.size) : 0;
        source_close(&source);
    }
    if (*is_grammar && options->file_count > 1) {
        diag_error(diags, FAULT_CONFIG, options->where,
                   "a grammar is among the data files: it must be the only one");
        diag_hint(diags, "files: [one.yaml], or only text files");
        return false;
    }
    return true;
}

/* A vocabulary that is not made from the data is a part of them. */
static uint64_t hash_data(uint64_t hash, const struct vocabulary *v)
{
    uint64_t both[2] = {hash, tokenizer_of_files(v->tokenizer) ? vocabulary_hash(v) : 0};
    return both[1] ? hash_bytes(both, sizeof both) : hash;
}

static const char *describe(struct arena *arena, const struct dataset *d)
{
    const char *kind = d->grammar ? "known language" : d->corpus.format->name;
    return arena_printf(arena,
                        "%s, %u symbols (%s), %zu training tokens, %zu held-out windows of %u",
                        kind, d->vocabulary->size, tokenizer_name(d->vocabulary->tokenizer),
                        d->corpus.train.count, dataset_valid_count(d), d->length);
}

static bool check_stride(struct diags *diags, const struct dataset_options *o)
{
    if (o->stride <= o->length)
        return true;
    diag_error(diags, FAULT_CONFIG, o->where,
               "data.stride is %u, longer than a window of %u: tokens would be left out", o->stride,
               o->length);
    return false;
}

static void lay_windows(struct dataset *d, struct arena *arena, const struct dataset_options *o)
{
    uint32_t half = o->length > 1 ? o->length / 2 : 1, step = o->length;
    bool joined = d->grammar || o->documents == DOCUMENTS_JOINED ||
                  (o->documents == DOCUMENTS_AUTO && d->corpus.format->joined);
    if (o->windows == WINDOWS_SLIDING)
        step = o->stride ? o->stride : half;
    d->drawn = o->windows == WINDOWS_RANDOM;
    d->batch = o->batch ? o->batch : 1;
    d->padding = !joined && d->corpus.separator >= 0;
    windows_open(&d->train, arena, &d->corpus.train, d->length, step, joined, d->padding);
    windows_open(&d->valid, arena, &d->corpus.valid, d->length, step, joined, d->padding);
}

static bool check_windows(const struct dataset *d, struct diags *diags,
                          const struct dataset_options *o)
{
    bool none = d->corpus.train.count && !windows_count(&d->train);
    if (!none && !(d->corpus.valid.count && !windows_count(&d->valid)))
        return true;
    diag_error(diags, FAULT_DATA, o->where,
               "no document of the %s part is as long as a window of %u tokens",
               none ? "training" : "held-out", o->length);
    diag_hint(diags, "make params.length smaller; data.separator=SYMBOL ends documents and fills "
                     "their windows up; data.documents=joined lets windows lie across them");
    return false;
}

static struct dataset *open_parts(struct diags *diags, struct arena *arena,
                                  const struct dataset_options *options, bool told);

static bool check_levels(struct diags *diags, const struct dataset_options *o)
{
    if (o->levels <= FORMAT_LEVELS_MOST || o->levels == FORMAT_LEVELS_BYTE)
        return true;
    diag_error(diags, FAULT_CONFIG, o->where,
               "data.levels is %u: up to %d have a digit each, and %d are bytes", o->levels,
               FORMAT_LEVELS_MOST, FORMAT_LEVELS_BYTE);
    return false;
}

struct dataset *dataset_open(struct diags *diags, struct arena *arena,
                             const struct dataset_options *asked)
{
    BUG_ON(asked->length == 0 || asked->levels == 1);
    if (asked->weights)
        return open_parts(diags, arena, asked, false);
    struct dataset_options options = *asked;
    struct dataset *d = arena_alloc(arena, sizeof *d);
    d->length = options.length;
    bool is_grammar;
    if (!check_levels(diags, &options) || !check_stride(diags, &options) ||
        !look(diags, &options, &is_grammar, &d->hash))
        return NULL;
    enum tokenizer tokenizer = is_grammar ? TOKENIZER_WORDS : TOKENIZER_CHARS;
    if (!find_tokenizer(diags, arena, &options, &tokenizer))
        return NULL;
    bool opened = is_grammar ? open_grammar(d, diags, arena, &options, tokenizer)
                             : open_files(d, diags, arena, &options, tokenizer);
    if (!opened) {
        dataset_close(d);
        return NULL;
    }
    lay_windows(d, arena, &options);
    if (!check_windows(d, diags, &options)) {
        dataset_close(d);
        return NULL;
    }
    d->hash = hash_data(d->hash, d->vocabulary);
    d->description = describe(arena, d);
    return d;
}

/* --- parts: classes, or files with weights --- */

/* Each file of OPTIONS opened by itself, with VOCABULARY. */
static bool open_each(struct dataset *d, struct diags *diags, struct arena *arena,
                      const struct dataset_options *options, const struct vocabulary *vocabulary)
{
    if (!d->parts)
        d->parts = arena_new_array(arena, struct dataset *, options->file_count);
    d->part_count = options->file_count;
    for (uint32_t i = 0; i < options->file_count; i++) {
        struct dataset_options one = *options;
        one.files = &options->files[i];
        one.file_count = 1;
        one.vocabulary = vocabulary;
        one.weights = NULL;
        dataset_close(d->parts[i]);
        d->parts[i] = dataset_open(diags, arena, &one);
        if (!d->parts[i])
            return false;
    }
    return true;
}

/* All symbols of all classes; NULL after reporting where they are of different tokenizers. */
static const struct vocabulary *join_vocabularies(const struct dataset *d, struct diags *diags,
                                                  struct arena *arena, struct span where)
{
    const struct vocabulary *first = d->parts[0]->vocabulary;
    size_t count = 0, at = 0;
    for (uint32_t i = 0; i < d->part_count; i++) {
        count += d->parts[i]->vocabulary->size;
        if (d->parts[i]->vocabulary->tokenizer == first->tokenizer)
            continue;
        diag_error(diags, FAULT_CONFIG, where, "one class is in %s, another in %s",
                   tokenizer_name(first->tokenizer),
                   tokenizer_name(d->parts[i]->vocabulary->tokenizer));
        diag_hint(diags, "tokenizer: words, for all of them");
        return NULL;
    }
    if (first->tokenizer == TOKENIZER_BYTES || tokenizer_of_files(first->tokenizer))
        return first;
    struct symbol *symbols = arena_new_array(arena, struct symbol, count);
    for (uint32_t i = 0; i < d->part_count; i++) {
        const struct vocabulary *v = d->parts[i]->vocabulary;
        for (uint32_t k = 0; k < v->size; k++)
            symbols[at++] = (struct symbol){v->symbols[k], v->lengths[k]};
    }
    return vocabulary_from_texts(arena, first->tokenizer, symbols, count);
}

static void join_hashes(struct dataset *d, struct arena *arena)
{
    uint64_t *hashes = arena_new_array(arena, uint64_t, d->part_count);
    for (uint32_t i = 0; i < d->part_count; i++)
        hashes[i] = d->parts[i]->hash;
    d->hash = hash_bytes(hashes, d->part_count * sizeof *hashes);
}

static const double *shares(struct arena *arena, const struct dataset_options *o)
{
    double *share = arena_new_array(arena, double, o->file_count), sum = 0;
    for (uint32_t i = 0; i < o->file_count; i++)
        share[i] = sum += o->weights[i];
    for (uint32_t i = 0; i < o->file_count; i++)
        share[i] /= sum;
    return share;
}

static struct dataset *open_parts(struct diags *diags, struct arena *arena,
                                  const struct dataset_options *options, bool told)
{
    BUG_ON(options->valid_file || options->file_count == 0);
    if (options->windows != WINDOWS_RANDOM) {
        diag_error(diags, FAULT_CONFIG, options->where,
                   "from several files by weight or class, training windows begin anywhere: there "
                   "is no epoch of all of them");
        diag_hint(diags, "data.windows=random");
        return NULL;
    }
    struct dataset *d = arena_alloc(arena, sizeof *d);
    d->length = options->length;
    d->vocabulary = options->vocabulary;
    d->told = told;
    d->share = options->weights ? shares(arena, options) : NULL;
    bool opened = d->vocabulary ||
                  (open_each(d, diags, arena, options, NULL) &&
                   (d->vocabulary = join_vocabularies(d, diags, arena, options->where)) != NULL);
    if (!opened || !open_each(d, diags, arena, options, d->vocabulary)) {
        dataset_close(d);
        return NULL;
    }
    join_hashes(d, arena);
    d->description = arena_printf(
        arena, "%u %s, %u symbols (%s), %zu training tokens, %zu held-out windows of %u",
        d->part_count, told ? "classes" : "files by weight", d->vocabulary->size,
        tokenizer_name(d->vocabulary->tokenizer), dataset_train_tokens(d), dataset_valid_count(d),
        d->length);
    return d;
}

struct dataset *dataset_open_classes(struct diags *diags, struct arena *arena,
                                     const struct dataset_options *options)
{
    return open_parts(diags, arena, options, true);
}

void dataset_close(struct dataset *d)
{
    for (uint32_t i = 0; d && i < d->part_count; i++)
        dataset_close(d->parts[i]);
    if (d) {
        corpus_close(&d->corpus);
        corpus_close(&d->held);
        d->part_count = 0;
    }
}
