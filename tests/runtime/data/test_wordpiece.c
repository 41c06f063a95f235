/* WordPiece against vectors of another implementation. */
#include "runtime/data/vocabulary.h"
#include "tests/runtime/data/fixture.h"

#include <jansson.h>

#define SMALL "tests/golden/wordpiece"

/* Lines {"text": …, "bert": […], "bert-cased": […]}. */
static void compare(enum tokenizer tokenizer)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct vocabulary *v = vocabulary_open(diags, arena, tokenizer, SMALL);
    assert_clean(diags);
    FILE *file = fopen(SMALL "/vectors.jsonl", "r");
    cr_assert_not_null(file);
    json_error_t error;
    int lines = 0;
    for (json_t *o; (o = json_loadf(file, JSON_DISABLE_EOF_CHECK, &error)); lines++) {
        const json_t *text = json_object_get(o, "text");
        const json_t *expected = json_object_get(o, tokenizer_name(tokenizer));
        struct source source = {
            .name = "text", .text = json_string_value(text), .size = json_string_length(text)};
        int32_t *ids;
        size_t count;
        cr_assert(vocabulary_encode(v, diags, arena, &source, EDGES_CLOSED, &ids, &count));
        cr_expect_eq(count, json_array_size(expected), "case %d: %zu", lines, count);
        for (size_t i = 0; i < count && i < json_array_size(expected); i++)
            cr_expect_eq(ids[i], json_integer_value(json_array_get(expected, i)),
                         "case %d, id %zu: %d", lines, i, ids[i]);
        json_decref(o);
    }
    cr_assert_eq(lines, 74, "%s", error.text);
    fclose(file);
    arena_free(arena);
}

Test(wordpiece, ids_are_those_of_the_reference)
{
    compare(TOKENIZER_BERT);
    compare(TOKENIZER_BERT_CASED);
}

Test(wordpiece, decoding_joins_words_and_loses_blanks)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct vocabulary *v = vocabulary_open(diags, arena, TOKENIZER_BERT, SMALL);
    struct source source = {
        .name = "--prefix", .text = "The\n\tTRAINING,  caf\xc3\xa9", .size = 21};
    int32_t *ids;
    size_t count;
    cr_assert(vocabulary_encode(v, diags, arena, &source, EDGES_CLOSED, &ids, &count));
    cr_assert_str_eq(vocabulary_decode(v, arena, ids, count, "_", NULL), "the training , cafe");
    ids[1] = (int32_t)v->size; /* the mask is a word */
    cr_assert_str_eq(vocabulary_decode(v, arena, ids, 2, "_", NULL), "the _");
    /* A run keeps it. */
    const char *path = fixture_text(arena, "old");
    cr_assert(vocabulary_write(diags, v, path));
    cr_assert_eq(vocabulary_hash(vocabulary_read(diags, arena, path)), vocabulary_hash(v));
    cr_assert_neq(vocabulary_hash(vocabulary_open(diags, arena, TOKENIZER_BERT_CASED, SMALL)),
                  vocabulary_hash(v));
    unlink(path);
    arena_free(arena);
}
