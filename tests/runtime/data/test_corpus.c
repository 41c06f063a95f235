/* Files as streams of tokens, and the split. */
#include "graph/base/random.h"
#include "runtime/data/corpus.h"
#include "tests/runtime/data/fixture.h"

#include <math.h>

static bool read_one(struct arena *arena, struct diags *diags, const char *path, double valid,
                     uint32_t length, struct corpus *text)
{
    struct corpus_options options = {
        .files = &path, .file_count = 1, .valid = valid, .length = length};
    return corpus_read(diags, arena, &options, text);
}

Test(corpus, the_end_is_held_out_by_position)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *path = fixture_text(arena, "abcdefghijklmnopqrst");
    struct corpus text;
    cr_assert(read_one(arena, diags, path, 0.25, 2, &text));
    cr_assert_eq(text.train.count, 15);
    cr_assert_eq(text.valid.count, 5);
    for (int i = 0; i < 15; i++)
        cr_assert_eq(text.train.ids[i], i);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(text.valid.ids[i], 15 + i);
    cr_assert_eq(text.hash, hash_bytes("abcdefghijklmnopqrst", 20));
    corpus_close(&text);
    cr_assert(read_one(arena, diags, path, 1, 2, &text));
    cr_assert_eq(text.train.count, 0);
    cr_assert_eq(text.valid.count, 20);
    corpus_close(&text);
    cr_assert(read_one(arena, diags, path, 0, 2, &text));
    cr_assert_eq(text.valid.count, 0);
    corpus_close(&text);
    unlink(path);
    arena_free(arena);
}

Test(corpus, files_follow_each_other_and_marks_are_skipped)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *files[] = {fixture_text(arena, "\xef\xbb\xbf"
                                               "aba"),
                           fixture_text(arena, "bcc")};
    const char *held = fixture_text(arena, "cab");
    struct corpus_options options = {
        .files = files, .file_count = 2, .valid_file = held, .length = 3};
    struct corpus text;
    cr_assert(corpus_read(diags, arena, &options, &text));
    static const int32_t train[] = {0, 1, 0, 1, 2, 2};
    static const int32_t valid[] = {2, 0, 1};
    cr_assert_eq(text.vocabulary->size, 3);
    cr_assert_eq(text.train.count, 6);
    cr_assert_arr_eq(text.train.ids, train, sizeof train);
    cr_assert_eq(text.valid.count, 3);
    cr_assert_arr_eq(text.valid.ids, valid, sizeof valid);
    corpus_close(&text);
    const char *strange = fixture_text(arena, "cax");
    options.valid_file = strange;
    cr_assert_not(corpus_read(diags, arena, &options, &text));
    assert_says(diags, ":1:3: error: the character `x` (U+0078) is not in the vocabulary");
    corpus_close(&text);
    unlink(files[0]);
    unlink(files[1]);
    unlink(held);
    unlink(strange);
    arena_free(arena);
}

Test(corpus, what_is_no_text_file_is_refused)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct corpus text;
    cr_assert_not(read_one(arena, diags, "/tmp/sedge-no-such-file", 0.1, 4, &text));
    cr_assert_str_eq(diags_render(diags, false), "sedge: error: cannot read "
                                                 "`/tmp/sedge-no-such-file`: No such file or "
                                                 "directory\n");
    cr_assert_not(read_one(arena, diags, "/tmp", 0.1, 4, &text));
    cr_assert_str_eq(diags_render(diags, false),
                     "sedge: error: `/tmp` is a folder, not a file\n"
                     "    name the files in it: files: [/tmp/a.txt, ...]\n");
    cr_assert_not(read_one(arena, diags, "/dev/null", 0.1, 4, &text));
    assert_says(diags, "`/dev/null` is not a regular file");
    cr_assert_eq(diags_exit_code(diags), 3);
    struct corpus_options none = {.length = 4, .valid = 0.1};
    cr_assert_not(corpus_read(diags, arena, &none, &text));
    assert_says(diags, "data.files names no file");
    static const double shares[] = {-0.1, 1.5, NAN};
    for (int i = 0; i < 3; i++) {
        cr_assert_not(read_one(arena, diags, "/dev/null", shares[i], 4, &text));
        assert_says(diags, "it is the share of the text that is held out, from 0 to 1");
    }
    arena_free(arena);
}

/* A cut never lies in a document that fits into a window. */
Test(corpus, short_documents_are_held_out_whole)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *path = fixture_text(arena, ">a\nACGTACGTNNCC\n>b\nGGG\n>c\nACGTACGT\n");
    struct corpus_options options = {.files = &path, .file_count = 1, .length = 3};
    static const struct {
        double valid;
        size_t train, documents, held;
    } cases[] = {{0.5, 13, 3, 1}, {0.6, 10, 2, 2}, {0.9, 3, 1, 4}, {0.05, 20, 4, 1}, {0, 21, 4, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct corpus c;
        options.valid = cases[i].valid;
        options.length = i == 2 ? 2 : i == 3 ? 1 : 3;
        cr_assert(corpus_read(diags, arena, &options, &c), "%s", diags_render(diags, false));
        cr_assert_eq(c.train.count, cases[i].train, "%zu: %zu", i, c.train.count);
        cr_assert_eq(c.valid.count, 21 - cases[i].train);
        cr_assert_eq(c.train.documents, cases[i].documents);
        cr_assert_eq(c.valid.documents, cases[i].held);
        cr_assert_eq(c.valid.starts[c.valid.documents], (int64_t)c.valid.count);
        cr_assert_eq(c.train.starts[c.train.documents], (int64_t)c.train.count);
        corpus_close(&c);
    }
    unlink(path);
    arena_free(arena);
}

/* Each of 400 lines comes twice, and each of 400 sequences with its other strand: both copies are
 * on one side. The share is that of 400 draws at 0.25: within five standard errors, 0.108. */
Test(corpus, the_same_document_is_on_one_side)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    char *lines = arena_alloc(arena, 1 << 16), *strands = arena_alloc(arena, 1 << 16);
    size_t line = 0, strand = 0;
    for (int i = 0; i < 800; i++) {
        char letters[9] = "";
        for (int k = 0, n = i % 400; k < 8; k++, n /= 4)
            letters[k] = "ACGT"[k < 5 ? n % 4 : k % 4];
        line += (size_t)sprintf(lines + line, "%s\n", letters);
        if (i >= 400)
            for (int k = 0; k < 4; k++) {
                char first = letters[k];
                letters[k] = "TGCA"[strchr("ACGT", letters[7 - k]) - "ACGT"];
                letters[7 - k] = "TGCA"[strchr("ACGT", first) - "ACGT"];
            }
        strand += (size_t)sprintf(strands + strand, ">%d\n%s\n", i, letters);
    }
    const char *paths[] = {fixture_text(arena, lines), fixture_text(arena, strands)};
    for (int i = 0; i < 2; i++) {
        struct corpus_options options = {.files = &paths[i],
                                         .file_count = 1,
                                         .length = 8,
                                         .valid = 0.25,
                                         .by_document = true,
                                         .format = {.format = i ? "fasta" : "lines"},
                                         .separator = "none"};
        struct corpus c;
        cr_assert(corpus_read(diags, arena, &options, &c), "%s", diags_render(diags, false));
        cr_assert_eq(c.train.documents + c.valid.documents, 800);
        cr_assert_eq(c.valid.documents % 2, 0);
        size_t half = c.valid.documents / 2;
        cr_assert(half >= 57 && half <= 143, "%zu", half);
        for (size_t k = 0; i == 0 && k < half; k++)
            cr_assert_arr_eq(c.valid.ids + 8 * k, c.valid.ids + 8 * (half + k),
                             8 * sizeof(int32_t));
        corpus_close(&c);
        unlink(paths[i]);
    }
    arena_free(arena);
}

Test(corpus, a_separator_ends_each_document)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *path = fixture_text(arena, "ab\n\nba\r\n");
    struct corpus_options options = {
        .files = &path, .file_count = 1, .length = 1, .format = {.format = "lines"}};
    static const int32_t ended[] = {1, 2, 0, 2, 1, 0}, bare[] = {0, 1, 1, 0};
    struct corpus c;
    cr_assert(corpus_read(diags, arena, &options, &c));
    cr_assert_eq(c.vocabulary->size, 3);
    cr_assert_eq(c.separator, 0);
    cr_assert_eq(c.train.count, 6);
    cr_assert_arr_eq(c.train.ids, ended, sizeof ended);
    corpus_close(&c);
    options.separator = "none";
    cr_assert(corpus_read(diags, arena, &options, &c));
    cr_assert_eq(c.separator, -1);
    cr_assert_eq(c.train.count, 4);
    cr_assert_arr_eq(c.train.ids, bare, sizeof bare);
    options.vocabulary = c.vocabulary;
    options.separator = "|";
    struct corpus none;
    cr_assert_not(corpus_read(diags, arena, &options, &none));
    assert_says(diags, "error: the separator `|` is no symbol of the vocabulary (chars)\n");
    corpus_close(&none);
    corpus_close(&c);
    unlink(path);
    arena_free(arena);
}
