/* The vocabulary as a JSON file in a run folder. Called by training, which writes it, and by the
 * commands that read a run. */
#include "graph/base/safetensors.h"
#include "runtime/data/bpe_file.h"
#include "runtime/data/wordpiece.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void describe_merges(json_t *root, struct arena *arena, const struct vocabulary *v)
{
    json_t *merges = json_array();
    for (uint32_t i = 0; i < v->bpe->merge_count; i++)
        json_array_append_new(merges, json_string(bpe_spell_merge(arena, v, i)));
    json_object_set_new(root, "merges", merges);
    json_object_set_new(root, "pattern", json_string(pattern_text(v->bpe->pattern)));
}

bool vocabulary_write(struct diags *diags, const struct vocabulary *v, const char *path)
{
    struct arena *scratch = arena_new();
    json_t *root = json_object();
    json_object_set_new(root, "tokenizer", json_string(tokenizer_name(v->tokenizer)));
    json_t *symbols = json_array();
    for (uint32_t i = 0; v->tokenizer != TOKENIZER_BYTES && i < v->size; i++)
        json_array_append_new(
            symbols,
            json_string(v->bpe ? bpe_spell(scratch, v->symbols[i], v->lengths[i]) : v->symbols[i]));
    json_object_set_new(root, "symbols", symbols);
    if (v->bpe)
        describe_merges(root, scratch, v);
    arena_free(scratch);
    char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    if (!text) {
        diag_error(diags, FAULT_RUN, (struct span){0}, "cannot write `%s`: out of memory", path);
        return false;
    }
    bool written = file_write_atomic(diags, path, text, strlen(text));
    free(text);
    return written;
}

static struct vocabulary *refuse(struct diags *diags, struct span span, const char *what)
{
    diag_error(diags, FAULT_DATA, span, "not a vocabulary: %s", what);
    diag_hint(diags, "it reads {\"tokenizer\": \"chars\", \"symbols\": [\"a\", \"b\"]}, "
                     "as training wrote it");
    return NULL;
}

/* Whether the tokenizer could have made this symbol: it must read as exactly one. */
static bool is_symbol(enum tokenizer tokenizer, const char *text)
{
    struct symbol symbol;
    size_t at = 0;
    size_t length = strlen(text);
    if (tokenizer_wordpiece(tokenizer))
        return length > 0;
    return tokenizer_next(tokenizer, EDGES_CLOSED, text, length, &at, &symbol) &&
           symbol.length == length;
}

static struct vocabulary *read_symbols(struct diags *diags, struct arena *arena, struct span span,
                                       enum tokenizer tokenizer, const json_t *symbols)
{
    struct vocabulary *v = vocabulary_new(arena, tokenizer);
    for (size_t i = 0; i < json_array_size(symbols); i++) {
        const char *text = json_string_value(json_array_get(symbols, i));
        if (!text || !is_symbol(tokenizer, text))
            return refuse(diags, span,
                          arena_printf(arena, "entry %zu of `symbols` is no symbol of `%s`", i,
                                       tokenizer_name(tokenizer)));
        if (!vocabulary_add(v, arena, text, strlen(text)))
            return refuse(diags, span,
                          arena_printf(arena, "entry %zu of `symbols` is there twice", i));
    }
    if (tokenizer_wordpiece(tokenizer) &&
        vocabulary_find(v, WORDPIECE_UNKNOWN, strlen(WORDPIECE_UNKNOWN)) < 0)
        return refuse(diags, span, "it has no symbol `" WORDPIECE_UNKNOWN "`");
    return v;
}

/* With bytes in letters, symbols and merges as a file of BPE has them. */
static struct vocabulary *read_merged(struct diags *diags, struct arena *arena, struct span span,
                                      const json_t *root, const json_t *symbols)
{
    struct bpe_builder b = bpe_builder_new(diags, arena, span);
    const json_t *merges = json_object_get(root, "merges");
    const char *pattern = json_string_value(json_object_get(root, "pattern"));
    if (!json_is_array(merges) || !pattern)
        return refuse(diags, span, "it has no `merges` or no `pattern`");
    for (size_t i = 0; i < json_array_size(symbols); i++) {
        const char *text = json_string_value(json_array_get(symbols, i));
        if (!bpe_builder_symbol(&b, text ? text : "", text ? strlen(text) : 0))
            return NULL;
    }
    if (!bpe_builder_begin(&b))
        return NULL;
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const char *text = json_string_value(json_array_get(merges, i));
        if (!bpe_builder_merge(&b, text ? text : "", text ? strlen(text) : 0))
            return NULL;
    }
    return bpe_builder_end(&b, pattern);
}

static struct vocabulary *from_json(struct diags *diags, struct arena *arena, struct span span,
                                    const json_t *root)
{
    const json_t *name = json_object_get(root, "tokenizer");
    const json_t *symbols = json_object_get(root, "symbols");
    enum tokenizer tokenizer;
    const char *place;
    if (!json_is_string(name) || !json_is_array(symbols))
        return refuse(diags, span, "its keys are not `tokenizer` and `symbols`");
    if (!tokenizer_find(json_string_value(name), &tokenizer, &place) || place)
        return refuse(diags, span,
                      "its tokenizer is none of chars, bytes, words, gpt2, bert, bert-cased");
    if (tokenizer != TOKENIZER_GPT2 && json_object_size(root) != 2)
        return refuse(diags, span, "its keys are not `tokenizer` and `symbols`");
    size_t count = json_array_size(symbols);
    if (tokenizer == TOKENIZER_BYTES ? count != 0 : count == 0)
        return refuse(diags, span,
                      tokenizer == TOKENIZER_BYTES ? "the symbols of `bytes` are not listed"
                                                   : "it has no symbols");
    return tokenizer == TOKENIZER_GPT2 ? read_merged(diags, arena, span, root, symbols)
                                       : read_symbols(diags, arena, span, tokenizer, symbols);
}

struct vocabulary *vocabulary_read(struct diags *diags, struct arena *arena, const char *path)
{
    struct source source;
    if (!source_open(diags, path, &source))
        return NULL;
    json_error_t error;
    json_t *root = json_loadb(source.text, source.size, JSON_REJECT_DUPLICATES, &error);
    struct vocabulary *v;
    if (!root) {
        size_t offset = error.position > 0 ? (size_t)error.position - 1 : 0;
        struct span span = source_span(diags, &source, offset, 1);
        v = refuse(diags, span, arena_printf(arena, "broken JSON, %s", error.text));
    } else {
        /* Faults of content are reported at the top: jansson keeps no places after reading. */
        v = from_json(diags, arena, source_whole(diags, &source), root);
    }
    json_decref(root);
    source_close(&source);
    return v;
}
