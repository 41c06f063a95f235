/* Puts vocabularies of byte-level BPE together, and writes them. Called by vocabulary.c,
 * vocabulary_file.c and `sedge tokens --learn`; bpe_open.c reads the files. */
#include "runtime/data/bpe_file.h"

#include "graph/base/check.h"
#include "graph/base/safetensors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- letters ------------------------------------------------------------------------------ */

char *bpe_spell(struct arena *arena, const char *text, size_t length)
{
    char *out = arena_alloc(arena, 2 * length + 1), *to = out;
    for (size_t i = 0; i < length; i++) {
        uint32_t code = bpe_letter((uint8_t)text[i]);
        if (code >= 0x80)
            *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(code >= 0x80 ? 0x80 | (code & 0x3f) : code);
    }
    return out;
}

/* The bytes that LETTERS stand for, into OUT, which has room for as many as letters; false where
 * one stands for none. */
static bool unspell(const char *letters, size_t size, char *out, size_t *length)
{
    *length = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code = 0, n = utf8_decode(letters + at, size - at, &code);
        int byte = n ? bpe_letter_byte(code) : -1;
        if (byte < 0)
            return false;
        out[(*length)++] = (char)byte;
        at += n;
    }
    return *length > 0;
}

char *bpe_spell_merge(struct arena *arena, const struct vocabulary *v, uint32_t rank)
{
    const struct bpe_merge *m = &v->bpe->merges[rank];
    return arena_printf(arena, "%s %s", bpe_spell(arena, v->symbols[m->left], v->lengths[m->left]),
                        bpe_spell(arena, v->symbols[m->right], v->lengths[m->right]));
}

/* --- putting together --------------------------------------------------------------------- */

static bool refuse(struct bpe_builder *b, struct span span, const char *what)
{
    diag_error(b->diags, FAULT_DATA, span, "%s", what);
    return false;
}

struct bpe_builder bpe_builder_new(struct diags *diags, struct arena *arena, struct span where)
{
    return (struct bpe_builder){.diags = diags,
                                .arena = arena,
                                .where = where,
                                .vocabulary = vocabulary_new(arena, TOKENIZER_GPT2)};
}

bool bpe_builder_special(struct bpe_builder *b, const char *text, size_t length)
{
    if (length == 0 || length > BPE_SYMBOL_MAX)
        return refuse(b, b->where,
                      arena_printf(b->arena,
                                   "the symbol of id %u has %zu bytes: 1 to %d are allowed",
                                   b->vocabulary->size, length, BPE_SYMBOL_MAX));
    vocabulary_add(b->vocabulary, b->arena, text, length);
    return true;
}

bool bpe_builder_symbol(struct bpe_builder *b, const char *text, size_t size)
{
    char *bytes = arena_alloc(b->arena, size + 1);
    size_t length;
    uint32_t id = b->vocabulary->size;
    if (!unspell(text, size, bytes, &length))
        return refuse(b, b->where,
                      arena_printf(b->arena,
                                   "the symbol `%s` of id %u is not written in the letters "
                                   "that stand for bytes",
                                   text, id));
    if (!bpe_builder_special(b, bytes, length))
        return false;
    return b->vocabulary->size > id ||
           refuse(b, b->where, arena_printf(b->arena, "the symbol `%s` is there twice", text));
}

bool bpe_builder_begin(struct bpe_builder *b)
{
    b->made = arena_new_array(b->arena, bool, b->vocabulary->size);
    for (int i = 0; i < 256; i++) {
        const char byte[1] = {(char)i};
        int32_t id = vocabulary_find(b->vocabulary, byte, 1);
        if (id < 0)
            return refuse(b, b->where,
                          arena_printf(b->arena,
                                       "no symbol is the byte 0x%02x (written `%s`): all 256 bytes "
                                       "must be symbols",
                                       (unsigned)i, bpe_spell(b->arena, byte, 1)));
        b->made[id] = true;
    }
    return true;
}

/* Of the merge LINE. */
static bool refuse_merge(struct bpe_builder *b, const char *line, size_t length, const char *what)
{
    if (b->source)
        return refuse(b,
                      source_span(b->diags, b->source, (size_t)(line - b->source->text),
                                  (uint32_t)utf8_count(line, length)),
                      what);
    refuse(b, b->where, what);
    diag_hint(b->diags, "it is merge %u: `%.*s`", b->merge_count, (int)length, line);
    return false;
}

/* The id of the part TEXT of a merge, or -1 after reporting. */
static int64_t part_of(struct bpe_builder *b, const char *line, size_t length, const char *text,
                       size_t size)
{
    struct vocabulary *v = b->vocabulary;
    char *bytes = arena_alloc(b->arena, size + 1);
    size_t n;
    int32_t id = unspell(text, size, bytes, &n) ? vocabulary_find(v, bytes, n) : -1;
    if (id >= 0 && b->made[id])
        return id;
    refuse_merge(b, line, length,
                 arena_printf(b->arena,
                              id < 0 ? "a merge of `%.*s`, which is no symbol"
                                     : "a merge of `%.*s`, which no earlier merge makes",
                              (int)size, text));
    return -1;
}

bool bpe_builder_merge(struct bpe_builder *b, const char *line, size_t length)
{
    struct vocabulary *v = b->vocabulary;
    const char *space = memchr(line, ' ', length);
    size_t left = space ? (size_t)(space - line) : 0, right = space ? length - left - 1 : 0;
    if (!left || !right || memchr(space + 1, ' ', right))
        return refuse_merge(b, line, length, "a merge is two symbols with a space between them");
    int64_t first = part_of(b, line, length, line, left);
    int64_t second = first < 0 ? -1 : part_of(b, line, length, space + 1, right);
    if (second < 0)
        return false;
    size_t size = (size_t)v->lengths[first] + v->lengths[second];
    char *joined = arena_alloc(b->arena, size + 1);
    memcpy(joined, v->symbols[first], v->lengths[first]);
    memcpy(joined + v->lengths[first], v->symbols[second], v->lengths[second]);
    int32_t id = vocabulary_find(v, joined, size);
    if (id < 0)
        return refuse_merge(b, line, length,
                            arena_printf(b->arena, "a merge into `%s`, which is no symbol",
                                         bpe_spell(b->arena, joined, size)));
    b->made[id] = true;
    b->merges =
        arena_grow(b->arena, b->merges, b->merge_count, &b->merge_capacity, sizeof *b->merges);
    b->merges[b->merge_count++] =
        (struct bpe_merge){(uint32_t)first, (uint32_t)second, (uint32_t)id};
    return true;
}

static int by_pair(const void *a, const void *b)
{
    const struct bpe_merge *m = a, *n = b;
    if (m->left != n->left)
        return m->left < n->left ? -1 : 1;
    return m->right < n->right ? -1 : m->right > n->right;
}

static bool check_pairs(struct bpe_builder *b)
{
    size_t size = b->merge_count * sizeof *b->merges;
    struct bpe_merge *sorted = arena_alloc(b->arena, size);
    if (size)
        memcpy(sorted, b->merges, size);
    qsort(sorted, b->merge_count, sizeof *sorted, by_pair);
    for (uint32_t i = 1; i < b->merge_count; i++)
        if (by_pair(&sorted[i - 1], &sorted[i]) == 0) {
            const struct vocabulary *v = b->vocabulary;
            uint32_t id = sorted[i].result;
            return refuse(b, b->where,
                          arena_printf(b->arena, "the merge into `%s` is there twice",
                                       bpe_spell(b->arena, v->symbols[id], v->lengths[id])));
        }
    return true;
}

struct vocabulary *bpe_builder_end(struct bpe_builder *b, const char *pattern)
{
    struct vocabulary *v = b->vocabulary;
    uint32_t byte[256];
    struct pattern *p = pattern_new(b->diags, b->arena, pattern, b->where);
    if (!p || !check_pairs(b))
        return NULL;
    for (int i = 0; i < 256; i++)
        byte[i] = (uint32_t)vocabulary_find(v, (const char[]){(char)i}, 1);
    v->bpe = bpe_new(b->arena, byte, b->merges, b->merge_count, v->lengths, p);
    return v;
}

/* --- writing ------------------------------------------------------------------------------ */

static bool fail(struct diags *diags, const char *path, const char *what)
{
    diag_error(diags, FAULT_RUN, (struct span){0}, "%s: %s", path, what);
    return false;
}

static char *encoder_json(struct arena *arena, const struct vocabulary *v)
{
    json_t *root = json_object();
    for (uint32_t i = 0; i < v->size; i++)
        json_object_set_new(root, bpe_spell(arena, v->symbols[i], v->lengths[i]), json_integer(i));
    char *text = json_dumps(root, JSON_ENSURE_ASCII);
    json_decref(root);
    BUG_ON(!text);
    return text;
}

/* In one piece: the merges of a large vocabulary are many short lines. */
static char *vocab_bpe(struct arena *arena, const struct vocabulary *v, size_t *size)
{
    static const char head[] = "#version: 0.2\n";
    *size = sizeof head - 1;
    for (uint32_t i = 0; i < v->bpe->merge_count; i++)
        *size += 2 * (size_t)v->lengths[v->bpe->merges[i].result] + 2;
    char *text = arena_alloc(arena, *size + 1), *to = text + sizeof head - 1;
    memcpy(text, head, sizeof head - 1);
    for (uint32_t i = 0; i < v->bpe->merge_count; i++) {
        const char *line = bpe_spell_merge(arena, v, i);
        size_t length = strlen(line);
        memcpy(to, line, length);
        to[length] = '\n';
        to += length + 1;
    }
    *size = (size_t)(to - text);
    return text;
}

bool bpe_write(struct diags *diags, const struct vocabulary *v, const char *folder)
{
    struct arena *arena = arena_new();
    const char *encoder = arena_printf(arena, "%s/encoder.json", folder);
    const char *merges = arena_printf(arena, "%s/vocab.bpe", folder);
    bool good = true;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        good = fail(diags, folder,
                    arena_printf(arena, "cannot make this folder: %s", strerror(errno)));
    for (int i = 0; good && i < 2; i++)
        if (access(i ? merges : encoder, F_OK) == 0) {
            good = fail(diags, i ? merges : encoder, "is there already, and is left as it is");
            diag_hint(diags, "name another folder, or remove the vocabulary in this one first");
        }
    if (good) {
        size_t size;
        char *text = encoder_json(arena, v);
        const char *lines = vocab_bpe(arena, v, &size);
        good = file_write_atomic(diags, encoder, text, strlen(text));
        free(text);
        if (good && !file_write_atomic(diags, merges, lines, size)) {
            unlink(encoder);
            good = false;
        }
    }
    arena_free(arena);
    return good;
}
