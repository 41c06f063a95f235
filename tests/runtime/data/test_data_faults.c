/* The broken inputs of tests/bad/data and tests/bad/grammar against the messages beside them. The
 * tests run from the root of the repository. */
#include "runtime/data/dataset.h"
#include "tests/runtime/data/fixture.h"

#include <glob.h>

static char *read_all(struct arena *arena, const char *path)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s is missing", path);
    char *text = arena_alloc(arena, 1 << 16);
    cr_assert_lt(fread(text, 1, (1 << 16) - 1, file), (1 << 16) - 1);
    fclose(file);
    return text;
}

static void read_grammar(struct diags *diags, struct arena *arena, const char *path)
{
    struct grammar *g = grammar_read(diags, arena, path, (struct span){0});
    cr_assert_not(g && grammar_tokenize(diags, arena, g, TOKENIZER_WORDS, NULL), "%s", path);
}

static void read_data(struct diags *diags, struct arena *arena, const char *path)
{
    struct dataset_options options = {
        .files = &path, .file_count = 1, .tokenizer = "chars", .valid = 0.1, .length = 16};
    cr_assert_null(dataset_open(diags, arena, &options), "%s", path);
}

static void read_vocabulary(struct diags *diags, struct arena *arena, const char *path)
{
    cr_assert_null(vocabulary_read(diags, arena, path), "%s", path);
}

static void check_all(const char *pattern,
                      void (*read)(struct diags *, struct arena *, const char *))
{
    glob_t found;
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0, "nothing matches %s", pattern);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct arena *arena = arena_new();
        struct diags *diags = diags_new(arena);
        const char *path = found.gl_pathv[i];
        read(diags, arena, path);
        int stem = (int)(strrchr(path, '.') - path);
        char *expected = read_all(arena, arena_printf(arena, "%.*s.expect", stem, path));
        cr_assert_str_eq(diags_render(diags, false), expected, "%s", path);
        arena_free(arena);
    }
    globfree(&found);
}

Test(data_faults, grammars)
{
    check_all("tests/bad/grammar/*.yaml", read_grammar);
}

Test(data_faults, texts)
{
    check_all("tests/bad/data/*.txt", read_data);
}

Test(data_faults, vocabularies)
{
    check_all("tests/bad/data/*.json", read_vocabulary);
}
