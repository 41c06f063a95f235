/* Files of ids. Called by `sedge tokens`, and as data by corpus.c. */
#include "runtime/data/token_file.h"

#include "graph/base/safetensors.h"
#include "runtime/data/format.h"

#include <string.h>

static bool fault(struct diags *diags, struct span span, const char *what)
{
    diag_error(diags, FAULT_DATA, span, "%s", what);
    return false;
}

bool token_file_write(struct diags *diags, const char *path, const struct vocabulary *v,
                      const int32_t *ids, size_t count)
{
    static const char *const keys[] = {"tokenizer", "vocabulary", "symbols"};
    struct arena *scratch = arena_new();
    const char *values[] = {
        tokenizer_name(v->tokenizer),
        arena_printf(scratch, "%016llx", (unsigned long long)vocabulary_hash(v)),
        arena_printf(scratch, "%u", v->size)};
    struct tensor_entry entry = {
        .name = "tokens",
        .tensor = {
            .dtype = DT_I32, .rank = 1, .dim = {(int64_t)count}, .data = (void *)(uintptr_t)ids}};
    bool good = tensor_file_write(diags, path, &entry, 1, keys, values, 3);
    arena_free(scratch);
    return good;
}

bool token_file_recognize(const struct source *source)
{
    /* The header is below 100 MB long: of its length the high bytes are 0; then it begins. */
    return source->size > 9 && memcmp(source->text + 4, "\0\0\0\0{", 5) == 0;
}

static bool check_id(struct diags *diags, struct span span, const struct vocabulary *v, int64_t id,
                     size_t at, struct arena *arena)
{
    return (id >= 0 && id < v->size) ||
           fault(diags, span,
                 arena_printf(arena, "id %lld, number %zu, is not one of the %u symbols",
                              (long long)id, at, v->size));
}

static bool check_vocabulary(struct diags *diags, struct arena *arena, struct span span,
                             const struct tensor_file *file, const struct vocabulary *v)
{
    const char *then = tensor_file_meta(file, "vocabulary");
    const char *now = arena_printf(arena, "%016llx", (unsigned long long)vocabulary_hash(v));
    if (!then || strcmp(then, now) == 0)
        return true;
    fault(diags, span, "its ids are of another vocabulary");
    diag_hint(diags, "its hash is %s there, and %s of the one given", then, now);
    return false;
}

/* The ids, mapped; NULL after reporting. *FILE, NULL where there is none, is to be closed. */
static const struct tensor *open_ids(struct diags *diags, struct arena *arena,
                                     const struct source *source, const struct vocabulary *v,
                                     struct tensor_file **file)
{
    struct span span = source_whole(diags, source);
    *file = NULL;
    if (source->inflated) {
        fault(diags, span, "ids are read as they lie on the disk, and this file is compressed");
        diag_hint(diags, "gunzip it first");
        return NULL;
    }
    *file = tensor_file_open(diags, arena, source->name);
    const struct tensor *tokens = *file ? tensor_file_get(*file, "tokens") : NULL;
    bool good = tokens && tokens->dtype == DT_I32 && tokens->rank == 1;
    if (*file && !good)
        fault(diags, span, "it has no tensor `tokens` of type I32 and rank 1");
    good = good && check_vocabulary(diags, arena, span, *file, v);
    const int32_t *ids = good ? tokens->data : NULL;
    for (int64_t i = 0; good && i < tokens->dim[0]; i++)
        good = check_id(diags, span, v, ids[i], (size_t)i, arena);
    return good ? tokens : NULL;
}

bool token_file_read(struct diags *diags, struct arena *arena, const struct source *source,
                     const struct vocabulary *v, int32_t **ids, size_t *count)
{
    struct tensor_file *file;
    const struct tensor *tokens = open_ids(diags, arena, source, v, &file);
    if (tokens) {
        *count = (size_t)tokens->dim[0];
        *ids = arena_new_array(arena, int32_t, *count);
        if (*count)
            memcpy(*ids, tokens->data, *count * sizeof **ids);
    }
    tensor_file_close(file);
    return tokens != NULL;
}

bool token_text_read(struct diags *diags, struct arena *arena, const struct source *source,
                     const struct vocabulary *v, int32_t **ids, size_t *count)
{
    *ids = arena_new_array(arena, int32_t, source->size / 2 + 1);
    *count = 0;
    for (size_t at = 0; at < source->size;) {
        size_t begin = at;
        int64_t id = 0;
        for (; at < source->size && source->text[at] >= '0' && source->text[at] <= '9'; at++)
            id = id > v->size ? id : id * 10 + (source->text[at] - '0');
        if (at > begin) {
            struct span span = {0};
            if (id >= v->size)
                span = source_span(diags, source, begin, (uint32_t)(at - begin));
            if (!check_id(diags, span, v, id, *count, arena))
                return false;
            (*ids)[(*count)++] = (int32_t)id;
        } else if (!strchr(" \t\r\n", source->text[at]) || !source->text[at]) {
            return fault(diags, source_span(diags, source, at, 1),
                         "ids are whole numbers with blanks between them");
        } else {
            at++;
        }
    }
    return true;
}

/* --- as data ---------------------------------------------------------------------------------- */

struct opened {
    struct tensor_file *file;
    const struct tensor *tokens;
};

static bool open_tokens(struct reader *r)
{
    const struct vocabulary *v = r->options->vocabulary;
    if (!v) {
        fault(r->diags, source_whole(r->diags, &r->source),
              "these are ids, and nothing says which symbols they are of");
        diag_hint(r->diags, "data.tokenizer=gpt2:DIR, the vocabulary that they were made by");
        return false;
    }
    struct opened *o = arena_alloc(r->arena, sizeof *o);
    r->held = o;
    o->tokens = open_ids(r->diags, r->arena, &r->source, v, &o->file);
    return o->tokens != NULL;
}

static bool next_tokens(struct reader *r, struct document *out)
{
    const struct opened *o = r->held;
    if (r->sizes[0]++)
        return false;
    out->ids = o->tokens->data;
    out->id_count = (size_t)o->tokens->dim[0];
    return true;
}

static void close_tokens(struct reader *r)
{
    struct opened *o = r->held;
    if (o)
        tensor_file_close(o->file);
}

const struct format format_tokens = {.name = "tokens",
                                     .recognize = token_file_recognize,
                                     .open = open_tokens,
                                     .next = next_tokens,
                                     .close = close_tokens,
                                     .joined = true};
