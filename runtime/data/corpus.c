/* Reads files into a training and a held-out stream of tokens. Called by dataset.c. */
#include "runtime/data/corpus.h"

#include "graph/base/check.h"
#include "graph/base/random.h"
#include "runtime/data/vocabulary_table.h"

#include <math.h>
#include <string.h>

struct reading {
    struct diags *diags;
    struct arena *arena;
    const struct corpus_options *options;
    struct corpus *out;
    struct source *sources; /* of files, then of the held-out file */
    const struct format **formats;
    uint32_t opened;
};

static bool open_reader(struct reading *r, uint32_t file, struct reader *reader)
{
    return reader_open(reader, r->diags, r->arena, r->formats[file], &r->sources[file],
                       &r->options->format);
}

static bool open_files(struct reading *r)
{
    const struct corpus_options *o = r->options;
    uint64_t *hashes = arena_new_array(r->arena, uint64_t, r->opened);
    for (uint32_t i = 0; i < r->opened; i++) {
        const char *path = i < o->file_count ? o->files[i] : o->valid_file;
        if (!source_open(r->diags, path, &r->sources[i]))
            continue;
        hashes[i] = hash_bytes(r->sources[i].text, r->sources[i].size);
        r->formats[i] = format_find(r->diags, &r->sources[i], &o->format);
    }
    for (uint32_t i = 0; i < r->opened; i++)
        if (!r->formats[i])
            return false;
    r->out->format = r->formats[0];
    r->out->hash = r->opened == 1 ? hashes[0] : hash_bytes(hashes, r->opened * sizeof *hashes);
    return true;
}

/* --- the vocabulary --------------------------------------------------------------------------- */

/* The symbols of a file: those that its format has, else those that are there. */
static bool add_file(struct reading *r, struct vocabulary *v, uint32_t file)
{
    struct reader reader;
    struct document d;
    bool good = open_reader(r, file, &reader);
    bool known = good && reader.alphabet && tokenizer_single(v->tokenizer);
    if (known)
        vocabulary_add_text(v, r->arena, reader.alphabet, strlen(reader.alphabet));
    while (good && !known && reader_next(&reader, &d)) {
        good = tokenizer_any_bytes(v->tokenizer) || source_check_utf8(r->diags, &d.text);
        if (good)
            vocabulary_add_text(v, r->arena, d.text.text, d.text.size);
    }
    good = good && !reader.failed;
    reader_close(&reader);
    return good;
}

static bool no_separator(const struct corpus_options *o, const struct format *format)
{
    return o->separator ? strcmp(o->separator, "none") == 0 : !format->ended;
}

static const char *separator_text(const struct corpus_options *o)
{
    return o->separator ? o->separator : tokenizer_separator(o->tokenizer);
}

static bool find_separator(struct reading *r)
{
    const struct corpus_options *o = r->options;
    const char *text = separator_text(o);
    r->out->separator = -1;
    if (no_separator(o, r->formats[0]))
        return true;
    r->out->separator = vocabulary_find(r->out->vocabulary, text, strlen(text));
    if (r->out->separator >= 0)
        return true;
    diag_error(r->diags, FAULT_CONFIG, o->where,
               "the separator `%s` is no symbol of the vocabulary (%s)",
               strcmp(text, "\n") == 0 ? "\\n" : text, tokenizer_name(o->tokenizer));
    diag_hint(r->diags, "data.separator=SYMBOL says what ends a document; none: nothing does");
    return false;
}

static bool make_vocabulary(struct reading *r)
{
    const struct corpus_options *o = r->options;
    r->out->vocabulary = o->vocabulary;
    if (o->vocabulary)
        return find_separator(r);
    struct vocabulary *v = vocabulary_new(r->arena, o->tokenizer);
    for (uint32_t i = 0; i < o->file_count; i++)
        if (!add_file(r, v, i))
            return false;
    const char *separator = separator_text(o);
    if (!no_separator(o, r->formats[0]))
        vocabulary_add_text(v, r->arena, separator, strlen(separator));
    vocabulary_sort(v, r->arena);
    r->out->vocabulary = v;
    return find_separator(r);
}

/* --- encoding --------------------------------------------------------------------------------- */

static bool encode(struct reading *r, const struct document *d, struct stream *to)
{
    const struct corpus *c = r->out;
    int32_t *ids = to->ids + to->count;
    size_t count = d->id_count;
    if (d->ids)
        memcpy(ids, d->ids, count * sizeof *ids);
    else if (!vocabulary_encode_into(c->vocabulary, r->diags, &d->text, EDGES_CLOSED, ids, &count))
        return false;
    if (count && c->separator >= 0)
        ids[count++] = c->separator;
    if (count)
        stream_add(to, count);
    return true;
}

/* Whether a document is held out: its hash, mixed once more, as a number from 0 to 1. */
static bool is_held(const struct reader *reader, const struct document *d, double share)
{
    uint64_t identity = reader_identity(reader, d);
    return ldexp((double)(hash_bytes(&identity, sizeof identity) >> 11), -53) < share;
}

static bool encode_file(struct reading *r, uint32_t file)
{
    const struct corpus_options *o = r->options;
    struct corpus *c = r->out;
    bool choose = o->by_document && !o->valid_file, held_file = file >= o->file_count;
    struct reader reader;
    struct document d;
    bool good = open_reader(r, file, &reader);
    size_t before = c->train.documents + c->valid.documents;
    while (good && reader_next(&reader, &d)) {
        bool held = held_file || (choose && is_held(&reader, &d, o->valid));
        good = encode(r, &d, held ? &c->valid : &c->train);
    }
    good = good && !reader.failed;
    reader_close(&reader);
    if (!good || c->train.documents + c->valid.documents > before)
        return good;
    diag_error(r->diags, FAULT_DATA, source_whole(r->diags, &r->sources[file]),
               "no document of the format %s is in it", r->formats[file]->name);
    return false;
}

/* A document has at least a byte, and with it comes at most a separator. */
static void reserve(struct reading *r, struct stream *to, uint32_t first, uint32_t end)
{
    size_t bytes = 0;
    for (uint32_t i = first; i < end; i++)
        bytes += r->sources[i].size;
    stream_open(to, 2 * bytes, bytes);
}

static bool encode_all(struct reading *r)
{
    const struct corpus_options *o = r->options;
    reserve(r, &r->out->train, 0, o->file_count);
    if (o->valid_file || o->by_document)
        reserve(r, &r->out->valid, o->valid_file ? o->file_count : 0, r->opened);
    for (uint32_t i = 0; i < r->opened; i++)
        if (!encode_file(r, i))
            return false;
    return true;
}

/* --- tokens that are there -------------------------------------------------------------------- */

/* A file of ids alone is mapped as it is: *DONE. */
static bool borrow_ids(struct reading *r, bool *done)
{
    const struct corpus_options *o = r->options;
    struct corpus *c = r->out;
    struct document d;
    *done = false;
    if (r->formats[0] != &format_tokens || r->opened > 1 || o->by_document || c->separator >= 0)
        return true;
    if (!open_reader(r, 0, &c->mapped))
        return false;
    *done = reader_next(&c->mapped, &d) && d.id_count;
    bool good = !c->mapped.failed;
    if (*done)
        stream_borrow(&c->train, d.ids, d.id_count, (const int64_t[]){0, (int64_t)d.id_count}, 1);
    else
        reader_close(&c->mapped);
    return good;
}

/* Of all that decides which tokens the streams have, in which documents. */
static uint64_t cache_key(const struct reading *r)
{
    const struct corpus_options *o = r->options;
    const struct format_options *f = &o->format;
    char *text = arena_printf(
        r->arena, "1 %016llx %016llx %d %u %d %.17g %s %s %u", (unsigned long long)r->out->hash,
        (unsigned long long)vocabulary_hash(r->out->vocabulary), r->out->separator, o->file_count,
        o->by_document, o->by_document ? o->valid : 0, f->field ? f->field : "",
        f->letters ? f->letters : "", f->levels);
    for (uint32_t i = 0; i < r->opened; i++)
        text = arena_printf(r->arena, "%s %s", text, r->formats[i]->name);
    return hash_bytes(text, strlen(text));
}

static bool get_tokens(struct reading *r)
{
    const struct corpus_options *o = r->options;
    struct corpus *c = r->out;
    size_t bytes = 0;
    bool done;
    for (uint32_t i = 0; i < r->opened; i++)
        bytes += r->sources[i].size;
    if (!borrow_ids(r, &done) || done)
        return done;
    if (!o->cache || bytes < o->cache_from)
        return encode_all(r);
    uint64_t key = cache_key(r);
    c->cache = token_cache_open(r->arena, o->cache, key, &c->train, &c->valid);
    if (c->cache)
        return true;
    if (!encode_all(r))
        return false;
    token_cache_write(r->diags, o->cache, key, &c->train, &c->valid);
    return true;
}

/* --- the split -------------------------------------------------------------------------------- */

/* A part that is wanted must hold a window. */
static bool check_length(struct diags *diags, const struct corpus_options *options,
                         const char *part, size_t tokens, bool wanted)
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

/* A document that fits into a window is not divided: the cut moves to where it ends. */
static size_t move_cut(const struct stream *s, size_t cut, uint32_t length)
{
    size_t low = 0, high = s->documents;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if ((size_t)s->starts[middle] <= cut)
            low = middle;
        else
            high = middle;
    }
    size_t start = (size_t)s->starts[low], end = (size_t)s->starts[high];
    return cut > start && end - start <= length ? end : cut;
}

static bool split(struct diags *diags, const struct corpus_options *o, struct corpus *out)
{
    if (!o->valid_file && !o->by_document) {
        size_t held = (size_t)floor((double)out->train.count * o->valid);
        size_t cut = out->train.count - held;
        if (!out->format->joined && held)
            cut = move_cut(&out->train, cut, o->length);
        stream_cut(&out->train, cut, &out->valid);
    }
    bool train = o->valid_file || o->valid < 1;
    bool valid = o->valid_file || o->valid > 0;
    return check_length(diags, o, "training", out->train.count, train) &&
           check_length(diags, o, "held-out", out->valid.count, valid);
}

bool corpus_read(struct diags *diags, struct arena *arena, const struct corpus_options *options,
                 struct corpus *out)
{
    BUG_ON(options->length == 0);
    *out = (struct corpus){.separator = -1};
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
    struct reading r = {diags,
                        arena,
                        options,
                        out,
                        NULL,
                        NULL,
                        options->file_count + (options->valid_file ? 1 : 0)};
    r.sources = arena_new_array(arena, struct source, r.opened);
    r.formats = arena_new_array(arena, const struct format *, r.opened);
    bool read = open_files(&r) && make_vocabulary(&r) && get_tokens(&r);
    for (uint32_t i = 0; i < r.opened; i++)
        source_close(&r.sources[i]);
    return read && split(diags, options, out);
}

void corpus_close(struct corpus *corpus)
{
    stream_close(&corpus->valid);
    stream_close(&corpus->train);
    tensor_file_close(corpus->cache);
    corpus->cache = NULL;
    reader_close(&corpus->mapped);
}
