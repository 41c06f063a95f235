/* Reads the files of byte-level BPE: GPT-2's pair, and a tokenizer.json. Called by vocabulary.c. */
#include "runtime/data/bpe_file.h"

#include "graph/base/check.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- JSON --------------------------------------------------------------------------------- */

static bool refuse(struct bpe_builder *b, const char *what)
{
    diag_error(b->diags, FAULT_DATA, b->where, "%s", what);
    return false;
}

/* The object in a file; NULL after reporting. The builder is then at that file. */
static json_t *read_object(struct bpe_builder *b, const char *path)
{
    struct source source;
    json_error_t error;
    if (!source_open(b->diags, path, &source))
        return NULL;
    b->where = source_whole(b->diags, &source);
    json_t *root = json_loadb(source.text, source.size, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        size_t offset = error.position > 0 ? (size_t)error.position - 1 : 0;
        b->where = source_span(b->diags, &source, offset < source.size ? offset : source.size, 1);
        refuse(b, arena_printf(b->arena, "broken JSON, %s", error.text));
    }
    source_close(&source);
    if (root && !json_is_object(root)) {
        refuse(b, "it is no object");
        json_decref(root);
        return NULL;
    }
    return root;
}

/* SYMBOLS by id from {symbol: id}; NULL after reporting an id that is not one of 0 to SIZE - 1, or
 * that two symbols have. */
static const char **sort_symbols(struct bpe_builder *b, json_t *vocab, const char **symbols,
                                 size_t size)
{
    const char *key;
    json_t *value;
    json_object_foreach(vocab, key, value)
    {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || (size_t)id >= size) {
            refuse(b, arena_printf(b->arena,
                                   "the id of `%s` is not one of the whole numbers from 0 to %zu",
                                   key, size - 1));
            diag_hint(b->diags, "%zu symbols have the ids 0 to %zu, each once", size, size - 1);
            return NULL;
        }
        if (symbols[id]) {
            refuse(b, arena_printf(b->arena, "`%s` and `%s` have the same id, %lld", symbols[id],
                                   key, (long long)id));
            return NULL;
        }
        symbols[id] = key;
    }
    return symbols;
}

/* --- vocab.bpe and encoder.json ------------------------------------------------------------- */

static bool read_lines(struct bpe_builder *b, const struct source *source)
{
    size_t size;
    b->source = source;
    b->where = source_whole(b->diags, source);
    for (size_t at = 0; at < source->size; at += size + 1) {
        const char *line = source->text + at;
        const char *end = memchr(line, '\n', source->size - at);
        size = end ? (size_t)(end - line) : source->size - at;
        size_t length = size && line[size - 1] == '\r' ? size - 1 : size;
        bool head = at == 0 && length >= 8 && memcmp(line, "#version", 8) == 0;
        if (length && !head && !bpe_builder_merge(b, line, length))
            return false;
    }
    return true;
}

static bool read_encoder(struct bpe_builder *b, json_t *root)
{
    size_t size = json_object_size(root);
    const char **symbols = arena_new_array(b->arena, const char *, size);
    bool good = sort_symbols(b, root, symbols, size) != NULL;
    for (size_t i = 0; good && i < size; i++)
        good = bpe_builder_symbol(b, symbols[i], strlen(symbols[i]));
    return good && bpe_builder_begin(b);
}

static struct vocabulary *open_pair(struct bpe_builder *b, const char *encoder, const char *merges)
{
    json_t *root = read_object(b, encoder);
    bool good = root && read_encoder(b, root);
    json_decref(root);
    struct source source;
    if (!good || !source_open(b->diags, merges, &source))
        return NULL;
    good = read_lines(b, &source);
    source_close(&source);
    return good ? bpe_builder_end(b, pattern_gpt2) : NULL;
}

/* --- tokenizer.json ------------------------------------------------------------------------- */

/* Whether a setting is as it is without: not there, null, false, or an empty text. */
static bool is_off(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_string(value) && !*json_string_value(value));
}

static bool has_type(const json_t *object, const char *type)
{
    const char *its = json_string_value(json_object_get(object, "type"));
    return its && strcmp(its, type) == 0;
}

static bool check_settings(struct bpe_builder *b, const json_t *root, const json_t *model)
{
    static const char *const keys[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix",
                                       "byte_fallback", "ignore_merges"};
    if (!has_type(model, "BPE"))
        return refuse(b, "its model is not of the type BPE");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!is_off(model, keys[i]))
            return refuse(
                b, arena_printf(b->arena, "its model sets `%s`, which is not known here", keys[i]));
    return is_off(root, "normalizer") ||
           refuse(b, "it has a `normalizer`: decoding would not give the text back");
}

/* The expression of a ByteLevel, or of a Sequence of a Split and a ByteLevel that has none; NULL
 * after reporting. */
static const char *find_pattern(struct bpe_builder *b, const json_t *pre)
{
    const json_t *steps = json_object_get(pre, "pretokenizers");
    bool two = has_type(pre, "Sequence") && json_array_size(steps) == 2;
    const json_t *split = two ? json_array_get(steps, 0) : NULL;
    const json_t *level = two ? json_array_get(steps, 1) : pre;
    const char *pattern =
        two ? json_string_value(json_object_get(json_object_get(split, "pattern"), "Regex"))
            : pattern_gpt2;
    const char *behavior = json_string_value(json_object_get(split, "behavior"));
    bool own = !json_is_false(json_object_get(level, "use_regex"));
    bool isolated = !two || (has_type(split, "Split") && behavior &&
                             strcmp(behavior, "Isolated") == 0 && is_off(split, "invert"));
    if (!has_type(level, "ByteLevel") || !isolated || !pattern || own == two) {
        refuse(b, "its `pre_tokenizer` is neither ByteLevel nor a Split by a Regex, Isolated, and "
                  "ByteLevel");
        return NULL;
    }
    if (!is_off(level, "add_prefix_space")) {
        refuse(b, "its `pre_tokenizer` adds a space before the text: decoding would not give the "
                  "text back");
        return NULL;
    }
    return pattern;
}

/* Symbols of the model, with those added, by id. */
static bool read_vocab(struct bpe_builder *b, json_t *vocab, const json_t *added)
{
    size_t of_model = json_object_size(vocab), most = of_model + json_array_size(added), index;
    const char **symbols = arena_new_array(b->arena, const char *, most);
    const char **specials = arena_new_array(b->arena, const char *, most);
    json_t *one;
    size_t size = of_model;
    json_array_foreach((json_t *)added, index, one)
    {
        const json_t *id = json_object_get(one, "id");
        const char *content = json_string_value(json_object_get(one, "content"));
        json_int_t place = json_is_integer(id) ? json_integer_value(id) : -1;
        if (!content || place < 0 || (size_t)place >= most || specials[place])
            return refuse(b, arena_printf(b->arena,
                                          "entry %zu of `added_tokens` has no `content` or no `id` "
                                          "of its own below %zu",
                                          index, most));
        specials[place] = content;
        size += !json_object_get(vocab, content);
    }
    if (!sort_symbols(b, vocab, symbols, size))
        return false;
    for (size_t i = 0; i < size; i++) {
        const char *text = specials[i] ? specials[i] : symbols[i];
        if (!text)
            return refuse(b, arena_printf(b->arena, "no symbol has the id %zu, of %zu", i, size));
        if (!(specials[i] ? bpe_builder_special(b, text, strlen(text))
                          : bpe_builder_symbol(b, text, strlen(text))))
            return false;
        if (b->vocabulary->size != i + 1)
            return refuse(b, arena_printf(b->arena, "the symbol `%s` is there twice", text));
    }
    return bpe_builder_begin(b);
}

/* A text `left right`, or a list of both. */
static bool read_merge(struct bpe_builder *b, const json_t *merge)
{
    const char *text = json_string_value(merge);
    const char *left = json_string_value(json_array_get(merge, 0));
    const char *right = json_string_value(json_array_get(merge, 1));
    if (json_array_size(merge) == 2 && left && right)
        text = arena_printf(b->arena, "%s %s", left, right);
    if (!text)
        return refuse(b, arena_printf(b->arena, "merge %u is no text", b->merge_count));
    return bpe_builder_merge(b, text, strlen(text));
}

static struct vocabulary *read_tokenizer(struct bpe_builder *b, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const json_t *merges = json_object_get(model, "merges");
    json_t *vocab = json_object_get(model, "vocab");
    if (!check_settings(b, root, model))
        return NULL;
    const char *pattern = find_pattern(b, json_object_get(root, "pre_tokenizer"));
    if (!pattern)
        return NULL;
    if (!json_is_object(vocab) || !json_is_array(merges)) {
        refuse(b, "its model has no `vocab` or no `merges`");
        return NULL;
    }
    bool good = read_vocab(b, vocab, json_object_get(root, "added_tokens"));
    for (size_t i = 0; good && i < json_array_size(merges); i++)
        good = read_merge(b, json_array_get(merges, i));
    return good ? bpe_builder_end(b, pattern) : NULL;
}

static struct vocabulary *open_tokenizer(struct bpe_builder *b, const char *path)
{
    json_t *root = read_object(b, path);
    struct vocabulary *v = root ? read_tokenizer(b, root) : NULL;
    json_decref(root);
    return v;
}

/* --- which of them -------------------------------------------------------------------------- */

struct vocabulary *bpe_open(struct diags *diags, struct arena *arena, const char *place)
{
    struct bpe_builder b = bpe_builder_new(diags, arena, (struct span){0});
    struct stat info;
    if (stat(place, &info) == 0 && !S_ISDIR(info.st_mode))
        return open_tokenizer(&b, place);
    const char *encoder = arena_printf(arena, "%s/encoder.json", place);
    const char *merges = arena_printf(arena, "%s/vocab.bpe", place);
    const char *tokenizer = arena_printf(arena, "%s/tokenizer.json", place);
    if (access(encoder, F_OK) == 0 || access(merges, F_OK) == 0)
        return open_pair(&b, encoder, merges);
    if (access(tokenizer, F_OK) == 0)
        return open_tokenizer(&b, tokenizer);
    refuse(&b, arena_printf(arena, "`%s` holds no vocabulary of byte-level BPE", place));
    diag_hint(diags,
              "a folder with vocab.bpe and encoder.json or with tokenizer.json; sedge tokens "
              "--learn N -o DIR FILE makes one");
    return NULL;
}
