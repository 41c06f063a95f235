/* Tokenizers, ids and back, and the file in a run folder. */
#include "runtime/data/vocabulary.h"
#include "tests/runtime/data/fixture.h"

static struct vocabulary *from(struct arena *arena, enum tokenizer tokenizer, const char *text)
{
    struct symbol all = {.text = text, .length = strlen(text)};
    return vocabulary_from_texts(arena, tokenizer, &all, 1);
}

static size_t encode(struct arena *arena, struct diags *diags, const struct vocabulary *v,
                     const char *text, unsigned edges, int32_t **ids)
{
    struct source source = {.name = "--prefix", .text = text, .size = strlen(text)};
    size_t count = 0;
    cr_assert(vocabulary_encode(v, diags, arena, &source, edges, ids, &count), "%s",
              diags_render(diags, false));
    return count;
}

Test(vocabulary, decoding_what_was_encoded_gives_the_same_bytes)
{
    static const char *const texts[] = {
        "the cat sees the dog.",
        " leading, two  spaces, a tab\t, and a trailing ",
        "lines\nand\n\n  indented\r\nlines\n",
        "na\xc3\xafve caf\xc3\xa9 \xe2\x96\x81 \xf0\x9f\x8c\xb1 end",
        " ",
        "  ",
        "x",
        "\n",
        "",
    };
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    for (int t = 0; t < TOKENIZER_GPT2; t++)
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            struct vocabulary *v = from(arena, (enum tokenizer)t, texts[i]);
            int32_t *ids;
            size_t count = encode(arena, diags, v, texts[i], EDGES_CLOSED, &ids);
            size_t size;
            char *back = vocabulary_decode(v, arena, ids, count, "_", &size);
            cr_assert_str_eq(back, texts[i]);
            cr_assert_eq(size, strlen(texts[i]));
        }
    arena_free(arena);
}

Test(vocabulary, bytes_keep_what_is_no_text)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct vocabulary *v = from(arena, TOKENIZER_BYTES, "");
    cr_assert_eq(v->size, 256);
    static const char raw[] = {'a', 0, (char)0xff, '\n'};
    struct source source = {.name = "raw", .text = raw, .size = sizeof raw};
    int32_t *ids;
    size_t count, size;
    cr_assert(vocabulary_encode(v, diags, arena, &source, EDGES_CLOSED, &ids, &count));
    cr_assert_eq(count, 4);
    cr_assert_eq(ids[2], 255);
    char *back = vocabulary_decode(v, arena, ids, count, "_", &size);
    cr_assert_eq(size, 4);
    cr_assert_arr_eq(back, raw, 4);
    arena_free(arena);
}

Test(vocabulary, characters_are_sorted_by_code_point)
{
    struct arena *arena = arena_new();
    /* U+1F331, U+00E9, U+2581 and ASCII, each more than once. */
    struct vocabulary *v = from(arena, TOKENIZER_CHARS,
                                "b\xf0\x9f\x8c\xb1"
                                "a\xc3\xa9 \xe2\x96\x81 \n\xf0\x9f\x8c\xb1"
                                "ab");
    static const char *const sorted[] = {
        "\n", " ", "a", "b", "\xc3\xa9", "\xe2\x96\x81", "\xf0\x9f\x8c\xb1"};
    cr_assert_eq(v->size, 7);
    for (int i = 0; i < 7; i++) {
        cr_assert_str_eq(v->symbols[i], sorted[i]);
        cr_assert_eq(vocabulary_find(v, sorted[i], strlen(sorted[i])), i);
    }
    cr_assert_eq(vocabulary_find(v, "c", 1), -1);
    arena_free(arena);
}

Test(vocabulary, words_keep_punctuation_and_separators_are_symbols)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct vocabulary *v = from(arena, TOKENIZER_WORDS, "a bird.\n\na bird  flies ");
    static const char *const sorted[] = {"\n\n", " ", "  ", "a", "bird", "bird.", "flies"};
    cr_assert_eq(v->size, 7);
    for (int i = 0; i < 7; i++)
        cr_assert_str_eq(v->symbols[i], sorted[i]);
    int32_t *ids;
    size_t count = encode(arena, diags, v, "a bird.\n\na  flies", EDGES_CLOSED, &ids);
    static const int32_t expected[] = {3, 5, 0, 3, 2, 6};
    cr_assert_eq(count, 6);
    cr_assert_arr_eq(ids, expected, sizeof expected);
    arena_free(arena);
}

Test(vocabulary, an_open_edge_takes_one_space)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct vocabulary *v = from(arena, TOKENIZER_WORDS, "best of times");
    int32_t *ids;
    cr_assert_eq(encode(arena, diags, v, "best of ", EDGES_OPEN_AFTER, &ids), 2);
    cr_assert_eq(encode(arena, diags, v, " times", EDGES_OPEN_BEFORE, &ids), 1);
    cr_assert_eq(encode(arena, diags, v, " ", EDGES_OPEN_BEFORE | EDGES_OPEN_AFTER, &ids), 0);
    struct source closed = {.name = "--prefix", .text = "best of ", .size = 8};
    size_t count;
    cr_assert_not(vocabulary_encode(v, diags, arena, &closed, EDGES_CLOSED, &ids, &count));
    arena_free(arena);
}

Test(vocabulary, the_mask_is_shown_and_joined_like_a_word)
{
    struct arena *arena = arena_new();
    struct vocabulary *words = from(arena, TOKENIZER_WORDS, "cat the");
    static const int32_t ids[] = {2, 0, 2, 2};
    cr_assert_str_eq(vocabulary_decode(words, arena, ids, 4, "\xe2\x96\x81", NULL),
                     "\xe2\x96\x81 cat \xe2\x96\x81 \xe2\x96\x81");
    struct vocabulary *chars = from(arena, TOKENIZER_CHARS, "ab");
    cr_assert_str_eq(vocabulary_decode(chars, arena, ids, 4, "_", NULL), "_a__");
    arena_free(arena);
}

Test(vocabulary, an_unknown_symbol_is_named_with_its_place)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct vocabulary *v = from(arena, TOKENIZER_CHARS, "abc \n\xc3\xa9");
    struct source source = {.name = "new.txt", .text = "abc\n\xc3\xa9 z", .size = 8};
    int32_t *ids;
    size_t count;
    cr_assert_not(vocabulary_encode(v, diags, arena, &source, EDGES_CLOSED, &ids, &count));
    cr_assert_str_eq(diags_render(diags, false),
                     "new.txt:2:3: error: the character `z` (U+007A) is not in the vocabulary\n"
                     "    \xc3\xa9 z\n"
                     "      ^\n"
                     "    the vocabulary holds the 6 symbols of the training data\n");
    cr_assert_eq(diags_exit_code(diags), 3);
    v = from(arena, TOKENIZER_WORDS, "the cat");
    source = (struct source){.name = "new.txt", .text = "the dog cat", .size = 11};
    cr_assert_not(vocabulary_encode(v, diags, arena, &source, EDGES_CLOSED, &ids, &count));
    assert_says(diags, "new.txt:1:5: error: the word `dog` is not in the vocabulary\n"
                       "    the dog cat\n"
                       "        ^~~\n");
    source = (struct source){.name = "--prefix", .text = "the \xff", .size = 5};
    cr_assert_not(vocabulary_encode(v, diags, arena, &source, EDGES_CLOSED, &ids, &count));
    assert_says(diags, "--prefix:1:5: error: not UTF-8: byte 0xff at offset 4");
    arena_free(arena);
}

Test(vocabulary, a_file_gives_the_same_ids_again)
{
    static const char *const texts[TOKENIZER_GPT2] = {"\xc3\xa9\"\\\n a\x01", "",
                                                      "a \"b\"\n\t c\xe2\x96\x81  "};
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *path = fixture_text(arena, "old");
    for (int t = 0; t < TOKENIZER_GPT2; t++) {
        struct vocabulary *v = from(arena, (enum tokenizer)t, texts[t]);
        cr_assert(vocabulary_write(diags, v, path));
        struct vocabulary *back = vocabulary_read(diags, arena, path);
        assert_clean(diags);
        cr_assert_eq(back->tokenizer, v->tokenizer);
        cr_assert_eq(back->size, v->size);
        for (uint32_t i = 0; i < v->size; i++) {
            cr_assert_str_eq(back->symbols[i], v->symbols[i]);
            size_t length = t == TOKENIZER_BYTES ? 1 : strlen(v->symbols[i]);
            cr_assert_eq(vocabulary_find(back, v->symbols[i], length), (int32_t)i);
        }
    }
    unlink(path);
    cr_assert_null(vocabulary_read(diags, arena, path));
    assert_says(diags, "No such file");
    arena_free(arena);
}

/* The table of the Unicode standard (3.9, table 3-7): the edges of each row, and beside them. */
Test(vocabulary, utf8_is_what_the_standard_says)
{
    static const char *const valid[] = {"\x7f",         "\xc2\x80",         "\xdf\xbf",
                                        "\xe0\xa0\x80", "\xed\x9f\xbf",     "\xee\x80\x80",
                                        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const broken[] = {"\x80",
                                         "\xc1\xbf",
                                         "\xc2",
                                         "\xe0\x9f\xbf",
                                         "\xed\xa0\x80",
                                         "\xe1\x80",
                                         "\xf0\x8f\xbf\xbf",
                                         "\xf4\x90\x80\x80",
                                         "\xf5\x80\x80\x80",
                                         "\xff",
                                         "\xc2\x41"};
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++)
        cr_assert_eq(utf8_decode(valid[i], strlen(valid[i]), NULL), strlen(valid[i]), "%zu", i);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        cr_assert_eq(utf8_decode(broken[i], strlen(broken[i]), NULL), 0, "%zu", i);
}
