/* Text files as token streams, the split, and where windows start. */
#include "runtime/data/text.h"
#include "tests/runtime/data/fixture.h"

#include <math.h>

static bool read_one(struct arena *arena, struct diags *diags, const char *path, double valid,
                     uint32_t length, struct text *text)
{
    struct text_options options = {
        .files = &path, .file_count = 1, .valid = valid, .length = length};
    return text_read(diags, arena, &options, text);
}

Test(text, the_end_is_held_out_by_position)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *path = fixture_text(arena, "abcdefghijklmnopqrst");
    struct text text;
    cr_assert(read_one(arena, diags, path, 0.25, 2, &text));
    cr_assert_eq(text.train_count, 15);
    cr_assert_eq(text.valid_count, 5);
    for (int i = 0; i < 15; i++)
        cr_assert_eq(text.train[i], i);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(text.valid[i], 15 + i);
    cr_assert_eq(text_window_count(text.valid_count, 2), 2);
    cr_assert_eq(text.hash, hash_bytes("abcdefghijklmnopqrst", 20));
    cr_assert(read_one(arena, diags, path, 1, 2, &text));
    cr_assert_eq(text.train_count, 0);
    cr_assert_eq(text.valid_count, 20);
    cr_assert(read_one(arena, diags, path, 0, 2, &text));
    cr_assert_eq(text.valid_count, 0);
    unlink(path);
    arena_free(arena);
}

Test(text, files_follow_each_other_and_marks_are_skipped)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *files[] = {fixture_text(arena, "\xef\xbb\xbf"
                                               "aba"),
                           fixture_text(arena, "bcc")};
    const char *held = fixture_text(arena, "cab");
    struct text_options options = {
        .files = files, .file_count = 2, .valid_file = held, .length = 3};
    struct text text;
    cr_assert(text_read(diags, arena, &options, &text));
    static const int32_t train[] = {0, 1, 0, 1, 2, 2};
    static const int32_t valid[] = {2, 0, 1};
    cr_assert_eq(text.vocabulary->size, 3);
    cr_assert_eq(text.train_count, 6);
    cr_assert_arr_eq(text.train, train, sizeof train);
    cr_assert_eq(text.valid_count, 3);
    cr_assert_arr_eq(text.valid, valid, sizeof valid);
    const char *strange = fixture_text(arena, "cax");
    options.valid_file = strange;
    cr_assert_not(text_read(diags, arena, &options, &text));
    assert_says(diags, ":1:3: error: the character `x` (U+0078) is not in the vocabulary");
    unlink(files[0]);
    unlink(files[1]);
    unlink(held);
    unlink(strange);
    arena_free(arena);
}

Test(text, what_is_no_text_file_is_refused)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct text text;
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
    struct text_options none = {.length = 4, .valid = 0.1};
    cr_assert_not(text_read(diags, arena, &none, &text));
    assert_says(diags, "data.files names no file");
    static const double shares[] = {-0.1, 1.5, NAN};
    for (int i = 0; i < 3; i++) {
        cr_assert_not(read_one(arena, diags, "/dev/null", shares[i], 4, &text));
        assert_says(diags, "it is the share of the text that is held out, from 0 to 1");
    }
    arena_free(arena);
}

/* 40,000 draws over 10 starts: chi-square with 9 degrees of freedom is above 33.7 with
 * probability 1e-4, and the draws are fixed. */
Test(text, window_starts_are_uniform_and_repeatable)
{
    struct random_key key = random_key(7, "train");
    double seen[10] = {0};
    for (uint32_t iteration = 0; iteration < 10000; iteration++)
        for (uint32_t sequence = 0; sequence < 4; sequence++) {
            size_t start = text_window_start(key, iteration, sequence, 17, 8);
            cr_assert_lt(start, 10);
            cr_assert_eq(start, text_window_start(key, iteration, sequence, 17, 8));
            seen[start]++;
        }
    double chi = 0;
    for (int i = 0; i < 10; i++)
        chi += (seen[i] - 4000) * (seen[i] - 4000) / 4000;
    cr_assert_lt(chi, 33.7);
    cr_assert_eq(text_window_start(key, 3, 1, 8, 8), 0);
}
