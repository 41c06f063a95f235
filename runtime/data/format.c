/* Finds the format of a file, and reads documents by it; text and its lines. Called by corpus.c. */
#include "runtime/data/format.h"

#include "graph/base/check.h"
#include "graph/base/random.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Those that a file shows come first; text is what the rest is. */
static const struct format *const formats[] = {&format_tokens, &format_idx,   &format_fasta,
                                               &format_fastq,  &format_jsonl, &format_smiles,
                                               &format_lines,  &format_text};
#define FORMAT_COUNT (sizeof formats / sizeof *formats)

static const struct format *unknown_format(struct diags *diags, const struct format_options *o)
{
    const char *names[FORMAT_COUNT];
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        names[i] = formats[i]->name;
    diag_error(diags, FAULT_CONFIG, o->where, "there is no format `%s` of data", o->format);
    const char *near = diag_nearest(o->format, names, FORMAT_COUNT);
    diag_hint(diags, "format: %s", near ? near : "auto, or leave it out");
    return NULL;
}

const struct format *format_find(struct diags *diags, const struct source *source,
                                 const struct format_options *o)
{
    bool any = !o->format || strcmp(o->format, "auto") == 0;
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const struct format *f = formats[i];
        if (any ? f->recognize && f->recognize(source) : strcmp(f->name, o->format) == 0)
            return f;
    }
    return any ? &format_text : unknown_format(diags, o);
}

bool source_ends_in(const struct source *source, const char *endings)
{
    size_t size = strlen(source->name);
    if (size > 3 && strcasecmp(source->name + size - 3, ".gz") == 0)
        size -= 3;
    for (const char *end = endings; *end; end += strspn(end, " ")) {
        size_t n = strcspn(end, " ");
        if (size > n && strncasecmp(source->name + size - n, end, n) == 0)
            return true;
        end += n;
    }
    return false;
}

/* --- reading ---------------------------------------------------------------------------------- */

bool reader_open(struct reader *reader, struct diags *diags, struct arena *arena,
                 const struct format *format, const struct source *source,
                 const struct format_options *options)
{
    *reader = (struct reader){
        .diags = diags, .arena = arena, .format = format, .options = options, .source = *source};
    reader->failed = format->open && !format->open(reader);
    return !reader->failed;
}

bool reader_next(struct reader *reader, struct document *out)
{
    *out = (struct document){0};
    return !reader->failed && reader->format->next(reader, out);
}

uint64_t reader_identity(const struct reader *reader, const struct document *document)
{
    if (reader->format->identity)
        return reader->format->identity(reader, document);
    return document->ids ? hash_bytes(document->ids, document->id_count * sizeof *document->ids)
                         : hash_bytes(document->text.text, document->text.size);
}

void reader_close(struct reader *reader)
{
    if (reader->format && reader->format->close)
        reader->format->close(reader);
    free(reader->buffer);
    *reader = (struct reader){0};
}

bool reader_line(struct reader *r, const char **text, size_t *size)
{
    size_t left = r->source.size - r->at;
    if (left == 0)
        return false;
    *text = r->source.text + r->at;
    const char *end = memchr(*text, '\n', left);
    *size = end ? (size_t)(end - *text) : left;
    r->at += *size + (end != NULL);
    r->line++;
    if (*size && (*text)[*size - 1] == '\r')
        --*size;
    return true;
}

char *reader_buffer(struct reader *r, size_t size)
{
    if (size > r->room) {
        r->room = size > r->room * 2 ? size : r->room * 2;
        r->buffer = heap_resize(r->buffer, r->room, 1);
    }
    return r->buffer;
}

void reader_give(const struct reader *r, const char *text, size_t size, uint32_t lines,
                 struct document *out)
{
    out->text = (struct source){
        .name = r->source.name, .text = text, .size = size, .lines = r->source.lines + lines};
}

bool reader_fault(struct reader *r, size_t offset, uint32_t length, const char *what)
{
    diag_error(r->diags, FAULT_DATA, source_span(r->diags, &r->source, offset, length), "%s", what);
    r->failed = true;
    return false;
}

void reader_skip_mark(struct reader *r)
{
    if (r->source.size - r->at >= 3 && memcmp(r->source.text + r->at, "\xef\xbb\xbf", 3) == 0)
        r->at += 3;
}

/* --- text ------------------------------------------------------------------------------------- */

static bool open_text(struct reader *r)
{
    if (!r->options->any_bytes)
        reader_skip_mark(r);
    return true;
}

static bool next_text(struct reader *r, struct document *out)
{
    if (r->sizes[0]++)
        return false;
    reader_give(r, r->source.text + r->at, r->source.size - r->at, 0, out);
    return true;
}

const struct format format_text = {
    .name = "text", .open = open_text, .next = next_text, .joined = true};

static bool open_lines(struct reader *r)
{
    reader_skip_mark(r);
    return true;
}

static bool next_lines(struct reader *r, struct document *out)
{
    const char *text;
    size_t size;
    while (reader_line(r, &text, &size)) {
        if (size == 0)
            continue;
        reader_give(r, text, size, r->line - 1, out);
        return true;
    }
    return false;
}

const struct format format_lines = {
    .name = "lines", .open = open_lines, .next = next_lines, .joined = true, .ended = true};

static bool is_smiles(const struct source *source)
{
    return source_ends_in(source, ".smi .smiles");
}

static bool next_smiles(struct reader *r, struct document *out)
{
    while (next_lines(r, out)) {
        const char *text = out->text.text;
        size_t begin = 0, end, size = out->text.size;
        while (begin < size && (text[begin] == ' ' || text[begin] == '\t'))
            begin++;
        for (end = begin; end < size && text[end] != ' ' && text[end] != '\t';)
            end++;
        if (end == begin)
            continue;
        reader_give(r, text + begin, end - begin, r->line - 1, out);
        return true;
    }
    return false;
}

const struct format format_smiles = {.name = "smiles",
                                     .recognize = is_smiles,
                                     .open = open_lines,
                                     .next = next_smiles,
                                     .ended = true};
