/* Reads text files into a training and a held-out stream of tokens. Called by dataset.c. */
#include "runtime/data/text.h"

#include "graph/base/check.h"

#include <math.h>
#include <string.h>

#define STREAM_WINDOW "data/window"

bool text_check_fasta(struct diags *diags, const struct source *source)
{
    if (source->size == 0 || source->text[0] != '>')
        return true;
    diag_error(diags, FAULT_DATA, source_span(diags, source, 0, 1),
               "this looks like FASTA: its first character is `>`");
    diag_hint(diags, "read as text, the header lines would be learned as well; write the letters "
                     "alone into a file:");
    diag_hint(diags, "grep -v '^>' %s | tr -d '\\n' > letters.txt", source->name);
    return false;
}

static void skip_mark(struct source *source)
{
    if (source->size >= 3 && memcmp(source->text, "\xef\xbb\xbf", 3) == 0) {
        source->text += 3;
        source->size -= 3;
    }
}

/* Opens one file and checks all that needs no vocabulary. */
static bool open_text(struct diags *diags, const char *path, enum tokenizer tokenizer,
                      struct source *out, uint64_t *hash)
{
    if (!source_open(diags, path, out))
        return false;
    *hash = hash_bytes(out->text, out->size);
    if (!tokenizer_any_bytes(tokenizer)) {
        if (!source_check_utf8(diags, out))
            return false;
        skip_mark(out);
    }
    return text_check_fasta(diags, out);
}

static const struct vocabulary *make_vocabulary(struct arena *arena, enum tokenizer tokenizer,
                                                const struct source *sources, uint32_t count)
{
    struct symbol *texts = arena_new_array(arena, struct symbol, count);
    for (uint32_t i = 0; i < count; i++)
        texts[i] = (struct symbol){.text = sources[i].text, .length = sources[i].size};
    return vocabulary_from_texts(arena, tokenizer, texts, count);
}

static bool encode_all(struct diags *diags, struct arena *arena, const struct vocabulary *v,
                       const struct source *sources, uint32_t count, int32_t **ids, size_t *total)
{
    int32_t **parts = arena_new_array(arena, int32_t *, count);
    size_t *sizes = arena_new_array(arena, size_t, count);
    *total = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!vocabulary_encode(v, diags, arena, &sources[i], EDGES_CLOSED, &parts[i], &sizes[i]))
            return false;
        *total += sizes[i];
    }
    if (count == 1) {
        *ids = parts[0];
        return true;
    }
    *ids = arena_new_array(arena, int32_t, *total);
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(*ids + at, parts[i], sizes[i] * sizeof **ids);
        at += sizes[i];
    }
    return true;
}

/* A part that is wanted must hold a window. */
static bool check_length(struct diags *diags, const struct text_options *options, const char *part,
                         size_t tokens, bool wanted)
{
    if (!wanted || tokens >= options->length)
        return true;
    const char *path = options->files[0];
    if (options->valid_file && strcmp(part, "held-out") == 0)
        path = options->valid_file;
    struct source source = {.name = path};
    diag_error(diags, FAULT_DATA, source_whole(diags, &source),
               "the %s part is shorter than one window: %zu of %u tokens", part, tokens,
               options->length);
    diag_hint(diags, "give more text, make params.length smaller, or choose another data.valid");
    return false;
}

static bool split(struct diags *diags, const struct text_options *options, struct text *out)
{
    if (!options->valid_file) {
        size_t held = (size_t)floor((double)out->train_count * options->valid);
        out->train_count -= held;
        out->valid = out->train + out->train_count;
        out->valid_count = held;
    }
    bool train = options->valid_file || options->valid < 1;
    bool valid = options->valid_file || options->valid > 0;
    return check_length(diags, options, "training", out->train_count, train) &&
           check_length(diags, options, "held-out", out->valid_count, valid);
}

static bool read_sources(struct diags *diags, struct arena *arena,
                         const struct text_options *options, struct source *sources,
                         uint32_t opened, struct text *out)
{
    uint64_t *hashes = arena_new_array(arena, uint64_t, opened);
    bool valid = true;
    for (uint32_t i = 0; i < opened; i++) {
        const char *path = i < options->file_count ? options->files[i] : options->valid_file;
        valid = open_text(diags, path, options->tokenizer, &sources[i], &hashes[i]) && valid;
    }
    if (!valid)
        return false;
    out->hash = opened == 1 ? hashes[0] : hash_bytes(hashes, opened * sizeof *hashes);
    out->vocabulary = options->vocabulary;
    if (!out->vocabulary)
        out->vocabulary = make_vocabulary(arena, options->tokenizer, sources, options->file_count);
    if (!encode_all(diags, arena, out->vocabulary, sources, options->file_count, &out->train,
                    &out->train_count))
        return false;
    return !options->valid_file ||
           encode_all(diags, arena, out->vocabulary, sources + options->file_count, 1, &out->valid,
                      &out->valid_count);
}

bool text_read(struct diags *diags, struct arena *arena, const struct text_options *options,
               struct text *out)
{
    BUG_ON(options->length == 0);
    *out = (struct text){0};
    if (options->file_count == 0) {
        diag_error(diags, FAULT_CONFIG, options->where, "data.files names no file");
        return false;
    }
    if (!options->valid_file && !(options->valid >= 0 && options->valid <= 1)) {
        diag_error(diags, FAULT_CONFIG, options->where,
                   "data.valid is %g: it is the share of the text that is held out, from 0 to 1",
                   options->valid);
        diag_hint(diags, "valid: 0.1, or the name of a file with held-out text");
        return false;
    }
    uint32_t opened = options->file_count + (options->valid_file ? 1 : 0);
    struct source *sources = arena_new_array(arena, struct source, opened);
    bool read = read_sources(diags, arena, options, sources, opened, out);
    for (uint32_t i = 0; i < opened; i++)
        source_close(&sources[i]);
    return read && split(diags, options, out);
}

size_t text_window_count(size_t tokens, uint32_t length)
{
    return tokens / length;
}

size_t text_window_start(struct random_key key, uint32_t iteration, uint32_t sequence,
                         size_t tokens, uint32_t length)
{
    BUG_ON(tokens < length);
    double starts = (double)(tokens - length + 1);
    double u = random_uniform(key, iteration, random_stream(STREAM_WINDOW), sequence, 0);
    /* The product of u < 1 and a large count may round up to the count itself. */
    size_t start = (size_t)floor(u * starts);
    return start < tokens - length ? start : tokens - length;
}
