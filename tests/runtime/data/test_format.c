/* Documents of each format, and how a format is found. */
#include "graph/recipe.h"
#include "runtime/data/format.h"
#include "tests/runtime/data/arena.h"
#include "tests/runtime/data/fixture.h"

SUITE_WITH_ARENA(format);

static struct source source_of(const char *name, const char *text, size_t size)
{
    return (struct source){.name = name, .text = text, .size = size};
}

/* All documents, each ended by a bar, and with the number of its line before it. */
static const char *read_all(const struct source *source, const struct format_options *o)
{
    const struct format *format = format_find(diags, source, o);
    struct reader reader;
    struct document d;
    char *all = arena_strdup(arena, "");
    cr_assert_not_null(format);
    if (reader_open(&reader, diags, arena, format, source, o))
        while (reader_next(&reader, &d))
            all = arena_printf(arena, "%s%u:%.*s|", all, d.text.lines + 1, (int)d.text.size,
                               d.text.text);
    reader_close(&reader);
    return all;
}

static void reads(const char *name, const char *text, const char *documents)
{
    struct source source = source_of(name, text, strlen(text));
    cr_assert_str_eq(read_all(&source, &(struct format_options){0}), documents);
    assert_clean(diags);
}

Test(format, is_found_by_name_or_content)
{
    static const struct {
        const char *name, *text, *format;
    } cases[] = {{"a.txt", "text", "text"},
                 {"a.JSONL", "text", "jsonl"},
                 {"a.ndjson.gz", "{}", "jsonl"},
                 {"a.smi", "C", "smiles"},
                 {"a.txt", ">x\nACGT", "fasta"},
                 {"a.fastq.gz", "@x", "fastq"},
                 {"a.txt", "@x", "text"},
                 {"train-images-idx3-ubyte", "x", "idx"},
                 {"a", "\x10\x01\1\1\0\0\0\0{\"", "text"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct source s = source_of(cases[i].name, cases[i].text, strlen(cases[i].text));
        const struct format *f = format_find(diags, &s, &(struct format_options){0});
        cr_assert_str_eq(f->name, cases[i].format, "%s", cases[i].name);
    }
    struct source idx = source_of("a", "\0\0\x08\x03", 4);
    cr_assert_eq(format_find(diags, &idx, &(struct format_options){0}), &format_idx);
    struct source ids = source_of("a", "\x40\0\0\0\0\0\0\0{\"", 10);
    cr_assert_eq(format_find(diags, &ids, &(struct format_options){.format = "auto"}),
                 &format_tokens);
    cr_assert_eq(format_find(diags, &ids, &(struct format_options){.format = "lines"}),
                 &format_lines);
    cr_assert_null(format_find(diags, &ids, &(struct format_options){.format = "jsonlines"}));
    assert_says(diags, "error: there is no format `jsonlines` of data\n");
}

/* What a recipe may ask for is there. */
Test(format, each_choice_is_one)
{
    struct source s = source_of("a", "x", 1);
    uint32_t count = 0;
    char *choices = arena_strdup(arena, recipe_key_find("data.format")->choices);
    for (char *name = strtok(choices, " "); name; name = strtok(NULL, " ")) {
        if (strcmp(name, "auto") == 0 || strcmp(name, "grammar") == 0)
            continue;
        const struct format *f = format_find(diags, &s, &(struct format_options){.format = name});
        cr_assert_str_eq(f->name, name);
        count++;
    }
    cr_assert_eq(count, 8);
}

Test(format, text_is_one_document)
{
    reads("a", "one\r\ntwo\n", "1:one\r\ntwo\n|");
    reads("a", "\xef\xbb\xbfone", "1:one|");
    struct source marked = source_of("a", "\xef\xbb\xbfone", 6);
    cr_assert_str_eq(read_all(&marked, &(struct format_options){.any_bytes = true}),
                     "1:\xef\xbb\xbfone|");
}

Test(format, lines_end_in_any_way)
{
    struct source s = source_of("a", "\xef\xbb\xbfone\r\n\r\n\n two\n\nthree", 22);
    cr_assert_str_eq(read_all(&s, &(struct format_options){.format = "lines"}),
                     "1:one|4: two|6:three|");
    reads("a.smi", "CC\tethane\r\n\n \nN#N nitrogen\n[H][H]", "1:CC|4:N#N|5:[H][H]|");
}

Test(format, json_lines_have_a_field)
{
    reads("a.jsonl",
          "\xef\xbb\xbf{\"text\": \"a\\nb\\u00e4\"}\r\n \n{\"n\": 1, \"text\": \"\"}\n"
          "{\"text\": \"z\"}",
          "1:a\nb\xc3\xa4|3:|4:z|");
    struct source s = source_of("a.jsonl", "{\"b\": \"x\"}\n", 11);
    cr_assert_str_eq(read_all(&s, &(struct format_options){.field = "b"}), "1:x|");
    /* A NUL is a character of JSON; what it is to a tokenizer is for that to say. */
    struct source nul = source_of("a.jsonl", "{\"text\": \"a\\u0000b\"}", 20);
    struct format_options options = {0};
    struct reader reader;
    struct document d;
    cr_assert(reader_open(&reader, diags, arena, &format_jsonl, &nul, &options));
    cr_assert(reader_next(&reader, &d));
    cr_assert_eq(d.text.size, 3);
    cr_assert_eq(memcmp(d.text.text, "a\0b", 3), 0);
    cr_assert_not(reader_next(&reader, &d));
    reader_close(&reader);
}

Test(format, sequences_are_divided_at_uncertain_letters)
{
    reads("a.fa", ">x one\r\nACgt\r\nacNNNT\n\n>empty\n>y\n;old\nNNRTT A\nC",
          "2:ACGTAC|3:T|8:TTAC|");
    reads("a.fq", "@r1\nACNGT\n+\n!!!!!\n@r2 x\r\nGG\r\n+r2\r\n@@\r\n@r3\nNN\n+\n##\n",
          "2:AC|2:GT|6:GG|");
    struct source s = source_of("a.fa", ">p\nMKVxLa*W\n", 12);
    cr_assert_str_eq(read_all(&s, &(struct format_options){.letters = "protein"}),
                     "2:MKV|2:LA|2:W|");
    struct source rna = source_of("a.fa", ">p\nacguU\n", 9);
    cr_assert_str_eq(read_all(&rna, &(struct format_options){.letters = "rna"}), "2:ACGUU|");
}

/* A sequence in lines of WIDTH letters, at last on one: its documents are the runs between the Ns,
 * each at the line of its first letter. */
Test(format, sequences_are_divided_alike_on_lines_of_any_width)
{
    char sequence[120];
    const uint32_t size = sizeof sequence;
    uint32_t state = 1;
    for (uint32_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        sequence[i] = "ACGTNN"[(state >> 16) % 6];
    }
    for (uint32_t width = 1; width <= size; width++) {
        char text[4 + 2 * sizeof sequence] = ">x\n", *at = text + 3;
        char *documents = arena_strdup(arena, "");
        for (uint32_t i = 0; i < size; i++) {
            bool begins = i == 0 || sequence[i - 1] == 'N';
            *at++ = sequence[i];
            if ((i + 1) % width == 0)
                *at++ = '\n';
            if (sequence[i] == 'N')
                continue;
            if (begins)
                documents = arena_printf(arena, "%s%u:", documents, 2 + i / width);
            documents = arena_printf(arena, "%s%c%s", documents, sequence[i],
                                     i + 1 == size || sequence[i + 1] == 'N' ? "|" : "");
        }
        *at = 0;
        reads("a.fa", text, documents);
    }
}

/* Two images of 2 x 3: levels are equal parts of 0 to 255. */
Test(format, images_are_digits)
{
    static const char idx[] = "\0\0\x08\x03\0\0\0\2\0\0\0\2\0\0\0\3"
                              "\x00\x0f\x10\x7f\x80\xff\xff\x01\xef\xf0\x40\x3f";
    struct source s = source_of("a", idx, sizeof idx - 1);
    cr_assert_str_eq(read_all(&s, &(struct format_options){0}), "1:00178f|2:f0ef43|");
    cr_assert_str_eq(read_all(&s, &(struct format_options){.levels = 2}), "1:000011|2:101100|");
    cr_assert_str_eq(read_all(&s, &(struct format_options){.levels = 36}), "1:022hiz|2:z0xx98|");
    struct reader reader;
    struct document d;
    cr_assert(reader_open(&reader, diags, arena, &format_idx, &s,
                          &(struct format_options){.levels = 256}));
    cr_assert_null(reader.alphabet);
    cr_assert(reader_next(&reader, &d));
    cr_assert_eq(memcmp(d.text.text, idx + 16, 6), 0);
    reader_close(&reader);
    cr_assert(
        reader_open(&reader, diags, arena, &format_idx, &s, &(struct format_options){.levels = 4}));
    cr_assert_str_eq(reader.alphabet, "0123");
    reader_close(&reader);
}

static void refuses(const char *name, const char *text, size_t size, const char *message)
{
    struct source source = source_of(name, text, size);
    read_all(&source, &(struct format_options){0});
    assert_says(diags, message);
}

/* Faults that need bytes which are no text; those of text are in tests/bad/data. */
Test(format, images_that_are_none)
{
    refuses("a.idx", "\0\0\x08\x01\0\0\0\2\1\2", 10,
            "this IDX file holds one number for each image: labels, not images");
    refuses("a.idx", "\0\0\x0d\x03\0\0\0\2\0\0\0\1\0\0\0\1\1\2\3", 19,
            "this is no IDX file of images: it begins with 0x00000d03");
    refuses("a.idx", "\0\0", 2,
            "this is no IDX file of images: it begins with 0x00000000\n"
            "    images of bytes in two dimensions begin with 0x00000803\n");
    static const char two[] = "\0\0\x08\x03\0\0\0\2\0\0\0\1\0\0\0\3abcdef";
    for (size_t size = 4; size < sizeof two - 1; size++)
        refuses("a.idx", two, size, "this IDX file says that it holds ");
    refuses("a.idx", two, sizeof two,
            "this IDX file says that it holds 2 images of 3 pixels, and has 23 bytes\n"
            "    it is cut off or damaged: copy or download it again\n");
    static const char huge[] =
        "\0\0\x08\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    refuses("a.idx", huge, sizeof huge - 1,
            "this IDX file says that it holds 4294967295 images of ");
}
