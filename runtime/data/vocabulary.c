/* The alphabet of a run: splitting text into symbols, ids, and back. Called by text.c, grammar.c
 * and the commands that encode prompts and print samples. vocabulary_file.c keeps it on disk. */
#include "runtime/data/vocabulary.h"

#include "graph/base/check.h"
#include "graph/base/random.h"
#include "runtime/data/bpe_file.h"
#include "runtime/data/wordpiece.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    bool any_bytes, single, of_files, wordpiece;
    const char *separator; /* NULL: a line's end */
} kinds[TOKENIZER_COUNT] = {
    [TOKENIZER_CHARS] = {.name = "chars", .single = true},
    [TOKENIZER_BYTES] = {.name = "bytes", .any_bytes = true, .single = true},
    [TOKENIZER_WORDS] = {.name = "words"},
    [TOKENIZER_GPT2] = {.name = "gpt2",
                        .any_bytes = true,
                        .of_files = true,
                        .separator = "<|endoftext|>"},
    [TOKENIZER_BERT] = {.name = "bert", .of_files = true, .wordpiece = true, .separator = "[SEP]"},
    [TOKENIZER_BERT_CASED] = {.name = "bert-cased",
                              .of_files = true,
                              .wordpiece = true,
                              .separator = "[SEP]"},
};

const char *tokenizer_name(enum tokenizer tokenizer)
{
    BUG_ON(tokenizer >= TOKENIZER_COUNT);
    return kinds[tokenizer].name;
}

bool tokenizer_find(const char *name, enum tokenizer *out, const char **place)
{
    for (int i = 0; i < TOKENIZER_COUNT; i++) {
        size_t length = strlen(kinds[i].name);
        if (strncmp(name, kinds[i].name, length) != 0)
            continue;
        if (name[length] == '\0' || (name[length] == ':' && kinds[i].of_files)) {
            *out = (enum tokenizer)i;
            *place = name[length] ? name + length + 1 : NULL;
            return true;
        }
    }
    return false;
}

bool tokenizer_any_bytes(enum tokenizer tokenizer)
{
    return kinds[tokenizer].any_bytes;
}

bool tokenizer_single(enum tokenizer tokenizer)
{
    return kinds[tokenizer].single;
}

bool tokenizer_of_files(enum tokenizer tokenizer)
{
    return kinds[tokenizer].of_files;
}

bool tokenizer_wordpiece(enum tokenizer tokenizer)
{
    return kinds[tokenizer].wordpiece;
}

const char *tokenizer_separator(enum tokenizer tokenizer)
{
    return kinds[tokenizer].separator ? kinds[tokenizer].separator : "\n";
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t run_end(const char *text, size_t size, size_t at)
{
    bool blank = is_blank(text[at]);
    while (at < size && is_blank(text[at]) == blank)
        at++;
    return at;
}

bool tokenizer_next(enum tokenizer tokenizer, unsigned edges, const char *text, size_t size,
                    size_t *at, struct symbol *out)
{
    BUG_ON(tokenizer_of_files(tokenizer));
    if (*at >= size)
        return false;
    size_t begin = *at;
    size_t end = begin + 1;
    if (tokenizer == TOKENIZER_CHARS) {
        uint32_t length = utf8_decode(text + begin, size - begin, NULL);
        end = begin + (length ? length : 1);
    } else if (tokenizer == TOKENIZER_WORDS) {
        end = run_end(text, size, begin);
        bool joins = text[begin] == ' ' && end - begin == 1 &&
                     (begin > 0 || (edges & EDGES_OPEN_BEFORE)) &&
                     (end < size || (edges & EDGES_OPEN_AFTER));
        if (joins) {
            begin = end;
            if (begin == size) {
                *at = size;
                return false;
            }
            end = run_end(text, size, begin);
        }
    }
    *at = end;
    *out = (struct symbol){.text = text + begin, .length = end - begin};
    return true;
}

/* --- the table from symbols to ids --- */

static uint32_t slot_of(const struct vocabulary *v, const char *text, size_t length)
{
    uint32_t slot = (uint32_t)hash_bytes(text, length) & (v->slot_count - 1);
    while (v->slots[slot]) {
        uint32_t id = v->slots[slot] - 1;
        if (v->lengths[id] == length && memcmp(v->symbols[id], text, length) == 0)
            break;
        slot = (slot + 1) & (v->slot_count - 1);
    }
    return slot;
}

int32_t vocabulary_find(const struct vocabulary *v, const char *text, size_t length)
{
    return (int32_t)v->slots[slot_of(v, text, length)] - 1;
}

/* A table of SLOT_COUNT, and room for as many symbols as half of it and one. */
static void rehash(struct vocabulary *v, struct arena *arena, uint32_t slot_count)
{
    const struct vocabulary old = *v;
    v->slot_count = slot_count;
    v->slots = arena_new_array(arena, uint32_t, slot_count);
    v->symbols = arena_new_array(arena, const char *, slot_count / 2 + 1);
    v->lengths = arena_new_array(arena, uint32_t, slot_count / 2 + 1);
    for (uint32_t id = 0; id < v->size; id++) {
        v->symbols[id] = old.symbols[id];
        v->lengths[id] = old.lengths[id];
        v->slots[slot_of(v, v->symbols[id], v->lengths[id])] = id + 1;
    }
}

struct vocabulary *vocabulary_new(struct arena *arena, enum tokenizer tokenizer)
{
    struct vocabulary *v = arena_alloc(arena, sizeof *v);
    v->tokenizer = tokenizer;
    rehash(v, arena, 64);
    for (int i = 0; tokenizer == TOKENIZER_BYTES && i < 256; i++)
        vocabulary_add(v, arena, (const char[]){(char)i}, 1);
    return v;
}

bool vocabulary_add(struct vocabulary *v, struct arena *arena, const char *text, size_t length)
{
    uint32_t slot = slot_of(v, text, length);
    BUG_ON(length > UINT32_MAX);
    if (v->slots[slot])
        return false;
    char *symbol = arena_alloc(arena, length + 1);
    memcpy(symbol, text, length);
    v->symbols[v->size] = symbol;
    v->lengths[v->size++] = (uint32_t)length;
    v->slots[slot] = v->size;
    if (v->size > v->slot_count / 2)
        rehash(v, arena, v->slot_count * 2);
    return true;
}

uint64_t vocabulary_hash(const struct vocabulary *v)
{
    const char *name = tokenizer_name(v->tokenizer);
    uint64_t parts[4] = {hash_bytes(name, strlen(name)), v->size};
    uint64_t *symbols = heap_zeroed((size_t)v->size + 1, sizeof *symbols);
    for (uint32_t i = 0; i < v->size; i++)
        symbols[i] = hash_bytes(v->symbols[i], v->lengths[i]);
    parts[2] = hash_bytes(symbols, v->size * sizeof *symbols);
    free(symbols);
    parts[3] = v->bpe ? bpe_hash(v->bpe) : 0;
    return hash_bytes(parts, sizeof parts);
}

/* --- made from text --- */

/* In UTF-8 the order of bytes is the order of code points; strcmp compares as unsigned. */
static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void vocabulary_add_text(struct vocabulary *v, struct arena *arena, const char *text, size_t size)
{
    struct symbol symbol;
    size_t at = 0;
    while (v->tokenizer != TOKENIZER_BYTES &&
           tokenizer_next(v->tokenizer, EDGES_CLOSED, text, size, &at, &symbol))
        vocabulary_add(v, arena, symbol.text, symbol.length);
}

void vocabulary_sort(struct vocabulary *v, struct arena *arena)
{
    BUG_ON(tokenizer_of_files(v->tokenizer));
    if (v->tokenizer == TOKENIZER_BYTES)
        return;
    if (v->size)
        qsort(v->symbols, v->size, sizeof *v->symbols, by_text);
    for (uint32_t id = 0; id < v->size; id++)
        v->lengths[id] = (uint32_t)strlen(v->symbols[id]);
    rehash(v, arena, v->slot_count);
}

struct vocabulary *vocabulary_from_texts(struct arena *arena, enum tokenizer tokenizer,
                                         const struct symbol *texts, size_t count)
{
    struct vocabulary *v = vocabulary_new(arena, tokenizer);
    for (size_t i = 0; i < count; i++)
        vocabulary_add_text(v, arena, texts[i].text, texts[i].length);
    vocabulary_sort(v, arena);
    return v;
}

struct vocabulary *vocabulary_open(struct diags *diags, struct arena *arena,
                                   enum tokenizer tokenizer, const char *place)
{
    BUG_ON(!tokenizer_of_files(tokenizer));
    return tokenizer == TOKENIZER_GPT2 ? bpe_open(diags, arena, place)
                                       : wordpiece_open(diags, arena, tokenizer, place);
}

/* --- encoding --- */

static void report_unknown(const struct vocabulary *v, struct diags *diags,
                           const struct source *source, struct symbol symbol)
{
    size_t offset = (size_t)(symbol.text - source->text);
    uint32_t length = (uint32_t)utf8_count(symbol.text, symbol.length);
    struct span span = source_span(diags, source, offset, length);
    enum fault fault = source_fault(source);
    uint32_t code = 0;
    utf8_decode(symbol.text, symbol.length, &code);
    int shown = symbol.length > 60 ? 60 : (int)symbol.length;
    while (shown > 0 && (size_t)shown < symbol.length && (symbol.text[shown] & 0xc0) == 0x80)
        shown--;
    if (v->tokenizer == TOKENIZER_CHARS && code < 0x20)
        diag_error(diags, fault, span, "the character U+%04X is not in the vocabulary", code);
    else if (v->tokenizer == TOKENIZER_CHARS)
        diag_error(diags, fault, span, "the character `%.*s` (U+%04X) is not in the vocabulary",
                   shown, symbol.text, code);
    else if (is_blank(symbol.text[0]))
        diag_error(diags, fault, span,
                   "blanks other than one space between two words are not in the vocabulary here");
    else
        diag_error(diags, fault, span, "the word `%.*s` is not in the vocabulary", shown,
                   symbol.text);
    diag_hint(diags, "the vocabulary holds the %u symbols of the training data", v->size);
}

static bool encode_merged(const struct vocabulary *v, struct diags *diags,
                          const struct source *source, int32_t *ids, size_t *count)
{
    if (bpe_encode(v->bpe, source->text, source->size, ids, count))
        return true;
    diag_error(diags, source_fault(source), source_whole(diags, source),
               "the vocabulary's pattern cannot divide this text into pieces, or needs too long");
    diag_hint(diags, "%s", pattern_text(v->bpe->pattern));
    return false;
}

bool vocabulary_encode_into(const struct vocabulary *v, struct diags *diags,
                            const struct source *source, unsigned edges, int32_t *ids,
                            size_t *count)
{
    if (!tokenizer_any_bytes(v->tokenizer) && !source_check_utf8(diags, source))
        return false;
    if (v->bpe)
        return encode_merged(v, diags, source, ids, count);
    if (tokenizer_wordpiece(v->tokenizer)) {
        *count = wordpiece_encode(v, source->text, source->size, ids);
        return true;
    }
    struct symbol symbol;
    size_t at = 0;
    *count = 0;
    while (tokenizer_next(v->tokenizer, edges, source->text, source->size, &at, &symbol)) {
        ids[*count] = vocabulary_find(v, symbol.text, symbol.length);
        if (ids[(*count)++] < 0) {
            report_unknown(v, diags, source, symbol);
            return false;
        }
    }
    return true;
}

bool vocabulary_encode(const struct vocabulary *v, struct diags *diags, struct arena *arena,
                       const struct source *source, unsigned edges, int32_t **ids, size_t *count)
{
    *ids = arena_new_array(arena, int32_t, source->size); /* memory that is not used stays free */
    return vocabulary_encode_into(v, diags, source, edges, *ids, count);
}

/* --- decoding --- */

struct piece {
    const char *text;
    size_t length;
    bool space; /* comes before it */
};

static struct piece piece_at(const struct vocabulary *v, const int32_t *ids, size_t i,
                             const char *mask)
{
    int32_t id = ids[i];
    BUG_ON(id < 0);
    bool masked = (uint32_t)id >= v->size; /* the mask, or a token that no symbol has */
    struct piece piece = {.text = masked ? mask : v->symbols[id],
                          .length = masked ? strlen(mask) : v->lengths[id]};
    if (tokenizer_wordpiece(v->tokenizer) && i > 0) {
        bool goes_on = !masked && piece.length > 2 && memcmp(piece.text, "##", 2) == 0;
        piece.text += goes_on ? 2 : 0;
        piece.length -= goes_on ? 2 : 0;
        piece.space = !goes_on;
    } else if (v->tokenizer == TOKENIZER_WORDS && i > 0) {
        int32_t before = ids[i - 1];
        bool word_before = (uint32_t)before >= v->size || !is_blank(v->symbols[before][0]);
        piece.space = word_before && (masked || !is_blank(piece.text[0]));
    }
    return piece;
}

char *vocabulary_decode(const struct vocabulary *v, struct arena *arena, const int32_t *ids,
                        size_t count, const char *mask, size_t *size)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        struct piece piece = piece_at(v, ids, i, mask);
        total += piece.length + piece.space;
    }
    char *out = arena_alloc(arena, total + 1);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct piece piece = piece_at(v, ids, i, mask);
        if (piece.space)
            out[at++] = ' ';
        memcpy(out + at, piece.text, piece.length);
        at += piece.length;
    }
    if (size)
        *size = total;
    return out;
}
