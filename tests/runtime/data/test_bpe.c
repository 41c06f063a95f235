/* Byte-level BPE against vectors of other implementations, on any bytes, and learned. */
#include "runtime/data/bpe_file.h"
#include "runtime/data/bpe_learn.h"
#include "tests/runtime/data/arena.h"
#include "tests/runtime/data/fixture.h"

#include <criterion/criterion.h>
#include <omp.h>

#define SMALL "tests/golden/bpe"
#define PUBLISHED "../shared/data/gpt2-bpe"

SUITE_WITH_ARENA(bpe);

static struct vocabulary *read_vocabulary(const char *place)
{
    struct vocabulary *v = vocabulary_open(diags, arena, TOKENIZER_GPT2, place);
    assert_clean(diags);
    return v;
}

static int32_t *encode(const struct vocabulary *v, const char *text, size_t size, size_t *count)
{
    struct source source = {.name = "text", .text = text, .size = size};
    int32_t *ids;
    cr_assert(vocabulary_encode(v, diags, arena, &source, EDGES_CLOSED, &ids, count));
    return ids;
}

static void assert_decodes(const struct vocabulary *v, const int32_t *ids, size_t count,
                           const char *text, size_t size)
{
    size_t length;
    const char *back = vocabulary_decode(v, arena, ids, count, "_", &length);
    cr_assert_eq(length, size);
    cr_assert_arr_eq(back, text, size);
}

/* Lines {"text": …, "ids": […]}. Returns how many. */
static int compare_vectors(const struct vocabulary *v, const char *path)
{
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    json_error_t error;
    int lines = 0;
    for (json_t *o; (o = json_loadf(file, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &error));) {
        const json_t *text = json_object_get(o, "text"), *expected = json_object_get(o, "ids");
        size_t count, size = json_string_length(text);
        int32_t *ids = encode(v, json_string_value(text), size, &count);
        cr_expect_eq(count, json_array_size(expected), "case %d of %s", lines, path);
        for (size_t i = 0; i < count && i < json_array_size(expected); i++)
            cr_expect_eq(ids[i], json_integer_value(json_array_get(expected, i)),
                         "case %d of %s, id %zu", lines, path, i);
        assert_decodes(v, ids, count, json_string_value(text), size);
        json_decref(o);
        lines++;
    }
    cr_assert(feof(file), "%s: %s", path, error.text);
    fclose(file);
    return lines;
}

/* --- other implementations ------------------------------------------------------------------ */

Test(bpe, ids_are_those_of_the_reference)
{
    cr_assert_eq(compare_vectors(read_vocabulary(SMALL), SMALL "/vectors.jsonl"), 137);
}

Test(bpe, a_tokenizer_json_is_the_same_vocabulary)
{
    struct vocabulary *pair = read_vocabulary(SMALL);
    struct vocabulary *one = read_vocabulary(SMALL "/tokenizer.json");
    cr_assert_eq(one->size, 640);
    cr_assert_eq(vocabulary_hash(one), vocabulary_hash(pair));
}

/* A pattern of its own, as later models have: words take one character before them of whatever
 * kind, numbers three digits, lines their ends. */
Test(bpe, a_tokenizer_json_with_its_own_pieces)
{
    static const char pieces[] =
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
        "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|"
        " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
        "\"behavior\":\"Isolated\",\"invert\":false},"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}";
    struct source source;
    cr_assert(source_open(diags, SMALL "/tokenizer.json", &source));
    const char *text = arena_strndup(arena, source.text, source.size);
    source_close(&source);
    const char *before = strstr(text, "{\"type\":\"ByteLevel\""), *after = strstr(text, ",\"post_");
    const char *path = fixture_text(
        arena, arena_printf(arena, "%.*s%s%s", (int)(before - text), text, pieces, after));
    cr_assert_eq(compare_vectors(read_vocabulary(path), SMALL "/split.jsonl"), 42);
    unlink(path);
}

Test(bpe, learning_finds_the_merges_of_the_reference)
{
    struct vocabulary *known = read_vocabulary(SMALL);
    struct source source;
    cr_assert(source_open(diags, SMALL "/text.txt", &source));
    struct symbol halves[2] = {{source.text, source.size}, {source.text, 0}};
    struct vocabulary *v = bpe_learn(arena, halves, 1, known->size);
    cr_assert_eq(v->bpe->merge_count, 383);
    for (uint32_t i = 0; i < v->bpe->merge_count; i++)
        cr_expect_str_eq(bpe_spell_merge(arena, v, i), bpe_spell_merge(arena, known, i), "%u", i);
    cr_assert_eq(vocabulary_hash(v), vocabulary_hash(known));
    /* The order of texts does not count; they meet between two pieces. */
    size_t half = 0;
    while (half < source.size / 2 || source.text[half] != '\n' || source.text[half + 1] == '\n')
        half++;
    halves[1] = (struct symbol){source.text, half};
    halves[0] = (struct symbol){source.text + half, source.size - half};
    cr_assert_eq(vocabulary_hash(bpe_learn(arena, halves, 2, known->size)), vocabulary_hash(known));
    source_close(&source);
}

/* The files of GPT-2 may not be copied into the project: they are read where they are. */
Test(bpe, gpt2_itself)
{
    if (access(PUBLISHED "/vocab.bpe", R_OK) != 0)
        cr_skip_test(PUBLISHED " is not here");
    struct vocabulary *v = read_vocabulary(PUBLISHED);
    cr_assert_eq(v->size, 50257);
    cr_assert_eq(compare_vectors(v, PUBLISHED "/gpt2_vectors.jsonl"), 49);
    cr_assert_eq(compare_vectors(v, PUBLISHED "/random_vectors.jsonl"), 300);
}

/* --- any bytes ------------------------------------------------------------------------------ */

/* SIZE bytes of the first LETTERS ones of ALPHABET, the same ones each time. */
static char *draw(const char *alphabet, size_t letters, size_t size)
{
    char *text = arena_alloc(arena, size + 1);
    uint64_t state = 7;
    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint8_t byte = (uint8_t)(state >> 33);
        text[i] = alphabet ? alphabet[byte % letters] : (char)byte;
    }
    return text;
}

Test(bpe, any_bytes_come_back)
{
    struct vocabulary *v = read_vocabulary(SMALL);
    size_t count;
    char *text = draw(NULL, 0, 70000);
    int32_t *ids = encode(v, text, 70000, &count);
    assert_decodes(v, ids, count, text, 70000);
}

/* A byte that is no UTF-8 stands alone: what is beside it is encoded as if it were not there. */
Test(bpe, a_broken_byte_is_a_symbol_by_itself)
{
    struct vocabulary *v = read_vocabulary(SMALL);
    size_t count, whole;
    int32_t *one = encode(v, " training", 9, &count);
    int32_t *ids = encode(v, " training\xff\xc3 training\0 training", 30, &whole);
    cr_assert_eq(ids[count], vocabulary_find(v, "\xff", 1));
    cr_assert_eq(ids[count + 1], vocabulary_find(v, "\xc3", 1));
    cr_assert_eq(ids[2 * count + 2], vocabulary_find(v, "\0", 1));
    cr_assert_eq(whole, 3 * count + 3);
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(ids[i], one[i]);
        cr_expect_eq(ids[count + 2 + i], one[i]);
        cr_expect_eq(ids[2 * count + 3 + i], one[i]);
    }
}

/* Merges cross the places where windows meet as if there were none. */
Test(bpe, a_long_piece_is_merged_in_windows)
{
    static const struct {
        const char *letters;
        size_t count;
    } kinds[] = {{"the", 3}, {"a", 1}, {"ainroegst", 9}, {"          t", 11}, {"--=", 3}};
    struct vocabulary *v = read_vocabulary(SMALL);
    struct bpe narrow = *v->bpe, wide = *v->bpe;
    wide.window = 1 << 20;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (uint32_t window = 2; window < 200; window = window * 3 / 2 + 1) {
            enum { SIZE = 3000 };
            char *text = draw(kinds[k].letters, kinds[k].count, SIZE);
            int32_t *a = arena_new_array(arena, int32_t, SIZE);
            int32_t *b = arena_new_array(arena, int32_t, SIZE);
            size_t n, m;
            narrow.window = window;
            cr_assert(bpe_encode(&narrow, text, SIZE, a, &n) &&
                      bpe_encode(&wide, text, SIZE, b, &m));
            cr_assert_eq(n, m, "%s, window %u", kinds[k].letters, window);
            cr_assert_arr_eq(a, b, n * sizeof *a);
        }
}

Test(bpe, threads_do_not_change_ids)
{
    enum { COPIES = 200 };
    struct vocabulary *v = read_vocabulary(SMALL);
    struct source source;
    cr_assert(source_open(diags, SMALL "/text.txt", &source));
    size_t size = source.size * COPIES, n, m;
    char *text = arena_alloc(arena, size);
    for (int i = 0; i < COPIES; i++)
        memcpy(text + source.size * (size_t)i, source.text, source.size);
    omp_set_num_threads(1);
    int32_t *one = encode(v, text, size, &n);
    omp_set_num_threads(3);
    int32_t *three = encode(v, text, size, &m);
    cr_assert_eq(n, m);
    cr_assert_arr_eq(one, three, n * sizeof *one);
    /* And as if it were not divided at all: no piece spans a place where it is cut. */
    struct vocabulary *whole = read_vocabulary(SMALL);
    struct bpe serial = *whole->bpe;
    serial.pattern =
        pattern_new(diags, arena, arena_printf(arena, "%s|x{0}y", pattern_gpt2), (struct span){0});
    cr_assert_eq(pattern_cut(serial.pattern, text, size, 1000), size);
    cr_assert(bpe_encode(&serial, text, size, three, &m));
    cr_assert_eq(n, m);
    cr_assert_arr_eq(one, three, n * sizeof *one);
    source_close(&source);
}

/* --- files ---------------------------------------------------------------------------------- */

Test(bpe, a_run_keeps_its_vocabulary)
{
    struct vocabulary *v = read_vocabulary(SMALL);
    const char *path = fixture_text(arena, "old");
    cr_assert(vocabulary_write(diags, v, path));
    struct vocabulary *back = vocabulary_read(diags, arena, path);
    assert_clean(diags);
    cr_assert_eq(back->tokenizer, TOKENIZER_GPT2);
    cr_assert_eq(vocabulary_hash(back), vocabulary_hash(v));
    cr_assert_eq(vocabulary_find(back, "<|endoftext|>", 13), 639);
    cr_assert_eq(compare_vectors(back, SMALL "/vectors.jsonl"), 137);
    unlink(path);
}

Test(bpe, what_was_learned_is_read_again)
{
    char folder[] = "/tmp/sedge-test-XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    struct symbol text = {"aaaa aaaa aaaa abab abab abab", 29};
    struct vocabulary *v = bpe_learn(arena, &text, 1, 300);
    cr_assert(bpe_write(diags, v, folder));
    cr_assert_eq(vocabulary_hash(read_vocabulary(folder)), vocabulary_hash(v));
    cr_assert_not(bpe_write(diags, v, folder));
    assert_says(diags, "encoder.json: is there already, and is left as it is");
    unlink(arena_printf(arena, "%s/encoder.json", folder));
    unlink(arena_printf(arena, "%s/vocab.bpe", folder));
    rmdir(folder);
}

/* Counted by hand: the pieces are aaaa once, _aaaa twice, _abab three times (_ is a space). Pairs:
 * aa 9, ab 6, _a 5, ba 3. After aa, ab is next with 6. Then (aa, aa), (ab, ab) and (_, ab) occur
 * three times: the ids of aa and ab are 256 and 257, that of the space 220, so _ab comes first. It
 * leaves (aa, aa) and (_ab, ab) with three, in this order, and at last (_, aaaa) with two. */
Test(bpe, ties_go_to_the_lower_ids)
{
    static const char *const expected[] = {
        "a a",
        "a b",
        "\xc4\xa0 ab",
        "aa aa",
        "\xc4\xa0\141b ab", /* a in octal: an x takes all digits */
        "\xc4\xa0 aaaa"};
    struct symbol text = {"aaaa aaaa aaaa abab abab abab", 29};
    struct vocabulary *v = bpe_learn(arena, &text, 1, 300);
    cr_assert_eq(v->bpe->merge_count, 6);
    cr_assert_eq(v->size, 263);
    for (uint32_t i = 0; i < 6; i++)
        cr_assert_str_eq(bpe_spell_merge(arena, v, i), expected[i]);
}

/* An expression from a file that takes exponentially long is given up, and so is one whose matches
 * begin and end where the piece before ended: PCRE2 refuses \\K in a lookbehind, but not in a group
 * that one calls. */
Test(bpe, a_pattern_may_not_take_forever)
{
    static const char *const patterns[] = {"(a+)+(?!a|$)\\d", "(?:(\\Ka)){0}(?<=(?1))"};
    struct vocabulary *v = read_vocabulary(SMALL);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct bpe slow = *v->bpe;
        slow.pattern = pattern_new(diags, arena, patterns[i], (struct span){0});
        cr_assert_not_null(slow.pattern);
        struct vocabulary with = *v;
        with.bpe = &slow;
        char *text = draw("a", 1, 4000);
        struct source source = {.name = "text", .text = text, .size = 4000};
        int32_t *ids;
        size_t count;
        cr_assert_not(vocabulary_encode(&with, diags, arena, &source, EDGES_CLOSED, &ids, &count));
        assert_says(diags, "the vocabulary's pattern cannot divide this text into pieces, or needs "
                           "too long");
    }
}
