/* YAML: trees with spans, scalars as types, printing, and what each refusal says. */
#include "graph/base/yaml.h"
#include "tests/graph/base/fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(yaml, .init = open_arena, .fini = close_arena);

static struct yaml *try_read(const char *text)
{
    return yaml_read_text(diags, arena, "t.yaml", text, strlen(text));
}

static struct yaml *read_good(const char *text)
{
    struct yaml *root = try_read(text);
    cr_assert_not_null(root, "%s gave %s", text, diags_render(diags, false));
    cr_assert_eq(diags_errors(diags), 0);
    return root;
}

static void expect_span(const struct yaml *node, uint32_t line, uint32_t column, uint32_t length)
{
    cr_assert_eq(node->span.line, line, "%s: line %u", yaml_print(arena, node), node->span.line);
    cr_assert_eq(node->span.column, column, "%s: column %u", yaml_print(arena, node),
                 node->span.column);
    cr_assert_eq(node->span.length, length, "%s: length %u", yaml_print(arena, node),
                 node->span.length);
}

/* Trees. */

Test(yaml, tree_of_block_and_flow_style)
{
    struct yaml *root = read_good("sedge: 1\n"
                                  "blocks:\n"
                                  "  a:\n"
                                  "    in: {x: [f32, rows, dim]}\n"
                                  "    q, k: {split: x, parts: 2}\n"
                                  "list:\n"
                                  "- one\n"
                                  "- {two: 2}\n");
    cr_assert_eq(root->kind, YAML_MAP);
    cr_assert_eq(root->count, 3);
    const struct yaml *a = yaml_get(yaml_get(root, "blocks"), "a");
    cr_assert_str_eq(a->keys[1]->text, "q, k");
    const struct yaml *x = yaml_get(yaml_get(a, "in"), "x");
    cr_assert_eq(x->kind, YAML_LIST);
    cr_assert_eq(x->count, 3);
    cr_assert_str_eq(x->items[2]->text, "dim");
    cr_assert_null(x->text);
    const struct yaml *list = yaml_get(root, "list");
    cr_assert_eq(list->kind, YAML_LIST);
    cr_assert_eq(list->count, 2);
    cr_assert_str_eq(yaml_get(list->items[1], "two")->text, "2");
    cr_assert_null(yaml_get(root, "absent"));
    cr_assert_null(yaml_get(list, "one"));
    cr_assert_null(yaml_get(NULL, "one"));
}

Test(yaml, scalars_stay_text)
{
    struct yaml *root = read_good("[no, 012, 1e-4, ~, null, '1', \"1\", true]");
    static const char *const texts[] = {"no", "012", "1e-4", "~", "null", "1", "1", "true"};
    for (uint32_t i = 0; i < root->count; i++) {
        cr_assert_str_eq(root->items[i]->text, texts[i]);
        cr_assert_eq(root->items[i]->quoted, i == 5 || i == 6);
    }
    root = read_good("a: |\n  one\n  two\nb:\n");
    cr_assert_str_eq(root->items[0]->text, "one\ntwo\n");
    cr_assert(root->items[0]->quoted);
    cr_assert_str_eq(root->items[1]->text, "");
    cr_assert_not(root->items[1]->quoted);
}

Test(yaml, spans_count_characters_from_one)
{
    struct yaml *root = read_good("\xef\xbb\xbf"
                                  "first: {\xc3\xa4\xc3\xb6: \"\xe2\x82\xac\", n: 12}\r\n"
                                  "second:\n"
                                  "  - [x]\n"
                                  "  - long text\n"
                                  "    goes on\n"
                                  "third: |\n"
                                  "  text\n");
    expect_span(root, 1, 1, 1);
    expect_span(root->keys[0], 1, 1, 5);
    const struct yaml *first = root->items[0];
    expect_span(first, 1, 8, 1);
    expect_span(first->keys[0], 1, 9, 2);
    expect_span(first->items[0], 1, 13, 3);
    expect_span(first->items[1], 1, 21, 2);
    const struct yaml *second = root->items[1];
    expect_span(second, 3, 3, 1);
    expect_span(second->items[0], 3, 5, 1);
    expect_span(second->items[1], 4, 5, 9);
    cr_assert_str_eq(second->items[1]->text, "long text goes on");
    expect_span(root->items[2], 6, 8, 1);
}

Test(yaml, lines_end_in_three_ways)
{
    struct yaml *root = read_good("a: 1\r\nb: 2\rc: 3\nd: 4");
    cr_assert_eq(root->count, 4);
    for (uint32_t i = 0; i < 4; i++)
        expect_span(root->items[i], i + 1, 4, 1);
}

Test(yaml, text_needs_no_end)
{
    static const char text[] = "a: 1, 2, 3";
    struct yaml *root = yaml_read_text(diags, arena, "t.yaml", text, 4);
    cr_assert_str_eq(yaml_get(root, "a")->text, "1");
}

Test(yaml, nesting_up_to_the_limit)
{
    char text[200];
    for (int depth = 64; depth <= 65; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        struct yaml *root = try_read(text);
        cr_assert_eq(root != NULL, depth == 64, "depth %d", depth);
    }
    cr_assert_not_null(strstr(diags_render(diags, false), "t.yaml:1:65: error: nested deeper"));
}

/* Neighbours do not add up: depth goes down again where a collection ends. */
Test(yaml, nesting_counts_depth_not_number)
{
    char text[1000] = "[";
    for (int i = 0; i < 100; i++)
        strcat(text, "[], {}, ");
    strcat(text, "]");
    cr_assert_eq(read_good(text)->count, 200);
}

/* Types. */

static const struct yaml *scalar(const char *text)
{
    static struct yaml node;
    node = (struct yaml){.kind = YAML_SCALAR, .text = text};
    return &node;
}

Test(yaml, integers)
{
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"12", true, 12},
        {"+12", true, 12},
        {"-12", true, -12},
        {"012", true, 12},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+-1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"0x10", false, 0},
        {"1_000", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = 0;
        cr_assert_eq(yaml_int(scalar(cases[i].text), &value), cases[i].good, "%s", cases[i].text);
        if (cases[i].good)
            cr_assert_eq(value, cases[i].value, "%s", cases[i].text);
    }
}

Test(yaml, reals)
{
    static const struct {
        const char *text;
        bool good;
        double value;
    } cases[] = {
        {"0", true, 0.0},       {"12", true, 12.0},       {"1.0e-3", true, 1.0e-3},
        {"1e-4", true, 1e-4},   {"-.5", true, -0.5},      {"+2.", true, 2.0},
        {"1E+3", true, 1000.0}, {"012", true, 12.0},      {"5e-324", true, 5e-324},
        {"1e308", true, 1e308}, {"1e309", false, 0.0},    {"-1e999", false, 0.0},
        {"inf", false, 0.0},    {"-nan", false, 0.0},     {".inf", false, 0.0},
        {"0x10", false, 0.0},   {"0x1p3", false, 0.0},    {"1e", false, 0.0},
        {"1e+", false, 0.0},    {".", false, 0.0},        {"", false, 0.0},
        {"-", false, 0.0},      {"e5", false, 0.0},       {" 1", false, 0.0},
        {"1 ", false, 0.0},     {"1.0.0", false, 0.0},    {"1,5", false, 0.0},
        {"1f", false, 0.0},     {"infinity", false, 0.0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double value = 0;
        cr_assert_eq(yaml_real(scalar(cases[i].text), &value), cases[i].good, "%s", cases[i].text);
        if (cases[i].good)
            cr_assert_eq(value, cases[i].value, "%s", cases[i].text);
    }
}

Test(yaml, booleans)
{
    bool value = false;
    cr_assert(yaml_bool(scalar("true"), &value) && value);
    cr_assert(yaml_bool(scalar("false"), &value) && !value);
    static const char *const others[] = {"yes", "no", "True", "1", "0", "", "truer"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_assert_not(yaml_bool(scalar(others[i]), &value), "%s", others[i]);
}

Test(yaml, only_scalars_have_types)
{
    struct yaml *list = read_good("[1]");
    int64_t integer;
    double real;
    bool boolean;
    cr_assert_not(yaml_int(list, &integer));
    cr_assert_not(yaml_real(list, &real));
    cr_assert_not(yaml_bool(list, &boolean));
    cr_assert_not(yaml_int(NULL, &integer));
}

/* Printing. */

Test(yaml, print_is_one_line_of_flow_style)
{
    struct yaml *root = read_good("a: {b: [1, two, '3', -4, -x]}\n"
                                  "q, k: 1.0e-3\n"
                                  "text: |\n"
                                  "  one\n"
                                  "  \"two\"\n"
                                  "none:\n"
                                  "e: []\n"
                                  "path: data/a.txt\n");
    cr_assert_str_eq(yaml_print(arena, root),
                     "{a: {b: [1, two, \"3\", -4, -x]}, \"q, k\": 1.0e-3, "
                     "text: \"one\\n\\\"two\\\"\\n\", none: \"\", e: [], path: data/a.txt}");
}

static bool same(const struct yaml *a, const struct yaml *b)
{
    if (a->kind != b->kind || a->count != b->count)
        return false;
    if (a->kind == YAML_SCALAR && strcmp(a->text, b->text) != 0)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!same(a->items[i], b->items[i]) ||
            (a->kind == YAML_MAP && !same(a->keys[i], b->keys[i])))
            return false;
    return true;
}

/* 20,000 random texts of what YAML gives a meaning to, unquoted at first; printed inside a list, as
 * a key and alone, each must come back as it was. */
Test(yaml, printed_texts_read_back)
{
    static const char *const parts[] = {
        "a",
        "0",
        "-",
        "?",
        ":",
        ",",
        "[",
        "]",
        "{",
        "}",
        "#",
        "&",
        "*",
        "!",
        "|",
        ">",
        "'",
        "\"",
        "%",
        "@",
        "`",
        " ",
        "\n",
        "\t",
        "\\",
        "~",
        "<<",
        "---",
        "...",
        ".",
        "\x7f",
        "\x01",
        "\r",
        "\xc3\xa4",
        "\xc2\x85",
        "\xe2\x80\xa8",
        "\xef\xbb\xbf",
        "\xef\xbf\xbe",
        "\xf0\x9f\x98\x80",
        "=",
        "(",
        ")",
    };
    uint32_t state = 1;
    for (int round = 0; round < 20000; round++) {
        char text[64] = "";
        for (uint32_t i = 0, n = 1 + round % 5; i < n; i++) {
            state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
            strcat(text, parts[(state >> 16) % (sizeof parts / sizeof *parts)]);
        }
        struct yaml one = {.kind = YAML_SCALAR, .text = text};
        struct yaml number = {.kind = YAML_SCALAR, .text = "1"};
        struct yaml *keys[] = {&one}, *values[] = {&number}, *items[] = {&one, &one};
        struct yaml map = {.kind = YAML_MAP, .count = 1, .keys = keys, .items = values};
        struct yaml list = {.kind = YAML_LIST, .count = 2, .items = items};
        const struct yaml *trees[] = {&one, &map, &list};
        struct arena *scratch = arena_new();
        for (int i = 0; i < 3; i++) {
            struct diags *own = diags_new(scratch);
            char *printed = yaml_print(scratch, trees[i]);
            cr_assert_null(strchr(printed, '\n'));
            struct yaml *back = yaml_read_text(own, scratch, "t", printed, strlen(printed));
            cr_assert(back && same(back, trees[i]), "%s: %s", printed, diags_render(own, false));
        }
        arena_free(scratch);
    }
}

/* Refusals: each text gives this one diagnostic, at this place, with this part of a hint. */

struct refusal {
    const char *text;
    const char *says; /* how the rendered text starts after `t.yaml:` */
    const char *hint; /* what it contains as well, or NULL */
};

static void expect_refusals(const struct refusal *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        diags = diags_new(arena);
        cr_assert_null(try_read(cases[i].text), "%s was read", cases[i].text);
        char *told = diags_render(diags, false);
        cr_assert_eq(diags_errors(diags), 1, "%s", told);
        cr_assert_eq(diags_exit_code(diags), 2);
        char *start = arena_printf(arena, "t.yaml:%s", cases[i].says);
        cr_assert_eq(strncmp(told, start, strlen(start)), 0, "%s gave %s", cases[i].text, told);
        if (cases[i].hint)
            cr_assert_not_null(strstr(told, cases[i].hint), "%s gave %s", cases[i].text, told);
    }
}

#define EXPECT_REFUSALS(cases) expect_refusals(cases, sizeof(cases) / sizeof *(cases))

Test(yaml, refuses_what_blocks_do)
{
    static const struct refusal cases[] = {
        {"a: &x 1", "1:4: error: `&` starts a YAML anchor", "blocks do that job"},
        {"a: &x {b: 1}", "1:4: error: `&` starts a YAML anchor", "needs quotes"},
        {"a: &x [1]", "1:4: error: `&` starts a YAML anchor", NULL},
        {"a: & x", "1:4: error: `&` starts a YAML anchor", "needs quotes"},
        {"a: *x", "1:4: error: `*` starts a YAML alias", "blocks do that job"},
        {"a: * x", "1:4: error: `*` starts a YAML alias", "needs quotes"},
        {"<<: {a: 1}", "1:1: error: YAML's merge key", "blocks do that job"},
        {"a: !x 1", "1:4: error: `!` starts a YAML tag", "needs quotes"},
        {"a: !!str 1", "1:4: error: `!` starts a YAML tag", NULL},
        {"a: ! x", "1:4: error: `!` starts a YAML tag", NULL},
        {"a: !b!c x", "1:4: error: `!` starts a YAML tag", "needs quotes"},
        {"{a: !x}", "1:5: error: `!` starts a YAML tag", NULL},
        {"!", "1:1: error: `!` starts a YAML tag", NULL},
        {"a: 1\n---\nb: 2\n", "2:1: error: a second document", "file of its own"},
        {"", " error: there is nothing in it", NULL},
        {"# only this\n", " error: there is nothing in it", NULL},
        {"---\n...\n", " error: there is nothing in it", NULL},
    };
    EXPECT_REFUSALS(cases);
}

Test(yaml, refuses_keys_that_are_no_names)
{
    static const struct refusal cases[] = {
        {"a: 1\nb: 2\na: 3\n", "3:1: error: `a` is here for the second time", "t.yaml:1:1: first"},
        {"{b: 1, \"b\": 2}", "1:8: error: `b` is here for the second time", "t.yaml:1:2: first"},
        {"{[a]: b}", "1:2: error: a key must be a name, not a list", "\"a, b\""},
        {"? {a: 1}\n: b", "1:3: error: a key must be a name, not a map", NULL},
        {": b", "1:1: error: a key is missing", NULL},
        {"{: b}", "1:2: error: a key is missing", NULL},
        {"?\n: b", "1:2: error: a key is missing", NULL},
    };
    EXPECT_REFUSALS(cases);
}

Test(yaml, explains_flow_traps)
{
    static const struct refusal cases[] = {
        {"{sigma: max(0, t), x: 1}", "1:9: error: the comma cuts", "sigma: \"max(0, t)\""},
        {"{sigma: max(0, min(a, t))}", "1:9: error: the comma cuts", "\"max(0, min(a, t))\""},
        {"n: [f32, min(a, b, c), d]", "1:10: error: the comma cuts", " \"min(a, b, c)\"\n"},
        {"{q, k: c}", "1:2: error: `q` has no value", "\"q, k\""},
        {"{q, k, v: c}", "1:2: error: `q` has no value", "\"q, k, v\""},
        {"{a: 1, b}", "1:8: error: `b` has no value", "`b: VALUE`"},
        {"{a: 1, b: }", "1:8: error: `b` has no value", NULL},
        {"{x:1}", "1:2: error: no space after the colon", "`x: 1`"},
        {"{a: 2, x:y}", "1:8: error: no space after the colon", "`x: y`"},
        {"a: {y:[1]}", "1:6: error: no space after the colon", NULL},
        {"a: 1\nxyz:1\nb: 2\n", "2:1: error: no space after the colon", "`xyz: …`"},
        {"a: 1\nxyz:1\n", "2:1: error: no space after the colon", NULL},
    };
    EXPECT_REFUSALS(cases);
}

/* None of these is a trap: parentheses that are whole, quoted, or never closed; a key in quotes. */
Test(yaml, accepts_what_only_looks_like_a_trap)
{
    static const char *const texts[] = {
        "{a: f(x) * (y), b: 1}",
        "{sigma: \"max(0, t)\"}",
        "[(, a]",
        "{say: (, go: x}",
        "a: max(0, t)",
        "q, k: 1",
        "[12:30]",
        "{\"q, k\": c}",
        "a:\nb: 1",
        "{a: \"\"}",
        "a: x:1",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        read_good(texts[i]);
}

Test(yaml, several_faults_are_told_at_once)
{
    cr_assert_null(try_read("{a: &x 1, b: *x, q, k: {y:2}, a: 3}"));
    cr_assert_eq(diags_errors(diags), 5, "%s", diags_render(diags, false));
}

Test(yaml, explains_libyaml)
{
    static const struct refusal cases[] = {
        {"a:\n\tb: 1\n", "2:1: error: a tab in the indentation", "spaces"},
        {"a:\n  b: 1\n  \tc: 2\n", "3:3: error: a tab in the indentation", "spaces"},
        {"- \tx: 1\n", "1:3: error: a tab in the indentation", "spaces"},
        {"a: @x", "1:4: error: no text can start with this", "'@' needs quotes"},
        {"a: `x`", "1:4: error: no text can start with this", "'`' needs quotes"},
        {"a: %x", "1:4: error: no text can start with this", "'%' needs quotes"},
        {"[>x]", "1:2: error: no text can start with this", "'>' needs quotes"},
        {"%x: 1", "1:1: error: `%` starts a YAML directive", "needs quotes"},
        {"a: 'xy\nb: 1\n", "1:4: error: this quote is never closed", NULL},
        {"a: {b: [1, 2]\n", "1:4: error: this `{` is never closed", NULL},
        {"a: {b: [1, 2}", "1:13: error: a comma or `]` is missing", "t.yaml:1:8: opened here"},
        {"a: {b: \"c\" d}", "1:12: error: a comma or `}` is missing", "t.yaml:1:4: opened here"},
        {"a: b: c", "1:5: error: a second `key: value`", "`: ` in it needs quotes"},
        {"a:\n  b: 1\n c: 2\n", "3:2: error: no key of the map", "same column"},
        {"a: 1\nb\nc: 2\n", "2:1: error: this is no `key: value`", NULL},
        {"- a\nb: 1\n", "2:1: error: no item of the list", "`- `"},
        {"a: \"\\q\"", "1:5: error: an unknown escape", "backslash"},
        {"a: ]", "1:4: error: a value is missing", NULL},
        {"a: - b", "1:4: error: no list item", NULL},
        {"a: \"\\0\"", "1:4: error: a text cannot hold a NUL", NULL},
    };
    EXPECT_REFUSALS(cases);
}

Test(yaml, refuses_bytes_that_are_no_text)
{
    static const struct refusal cases[] = {
        {"a: 1\nb: \xc3\xa4 \xff", "2:6: error: byte 0xff here is not UTF-8",
         "save the file as UTF-8"},
        {"\xff\xfe"
         "a",
         "1:1: error: byte 0xff here is not UTF-8", "UTF-16"},
        {"a: \xc0\x80", "1:4: error: byte 0xc0", NULL},         /* overlong */
        {"a: \xe0\x80\x80", "1:4: error: byte 0xe0", NULL},     /* overlong */
        {"a: \xed\xa0\x80", "1:4: error: byte 0xed", NULL},     /* a surrogate */
        {"a: \xf4\x90\x80\x80", "1:4: error: byte 0xf4", NULL}, /* above U+10FFFF */
        {"a: \xe2\x82", "1:4: error: byte 0xe2", NULL},         /* cut short */
        {"a: \x1b[2J", "1:4: error: the character U+001B", "`\\u001b`"},
        {"a: \xe2\x80\xa8", "1:4: error: the character U+2028", "`\\u2028`"},
    };
    EXPECT_REFUSALS(cases);
    diags = diags_new(arena);
    cr_assert_null(yaml_read_text(diags, arena, "t.yaml", "a: 1\n\0", 6));
    char *told = diags_render(diags, false);
    cr_assert_not_null(strstr(told, "t.yaml:2:1: error: a NUL byte"), "%s", told);
}

/* Inputs that would take minutes if any check were quadratic: 300,000 equal keys, names without
 * values, and open parentheses. */
Test(yaml, hostile_maps_take_linear_time, .timeout = 20)
{
    static const char *const pieces[] = {"a: 1, ", "a, ", "(, ", "x:1, ", "a: (, "};
    enum { COUNT = 300000 };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        size_t size = strlen(pieces[i]);
        char *text = arena_alloc(arena, COUNT * size + 2);
        text[0] = '{';
        for (size_t j = 0; j < COUNT; j++)
            memcpy(text + 1 + j * size, pieces[i], size);
        text[1 + COUNT * size] = '}';
        struct arena *own = arena_new();
        struct diags *told = diags_new(own);
        cr_assert_null(yaml_read_text(told, own, "t.yaml", text, COUNT * size + 2));
        cr_assert_gt(diags_errors(told), DIAG_LIMIT);
        arena_free(own);
    }
}

/* Files. */

static void expect_unreadable(const char *path, const char *part)
{
    diags = diags_new(arena);
    uint32_t file = diags_source(diags, "model.yaml", "include: [x]\n", 13);
    struct span where = {.file = file, .line = 1, .column = 11, .length = 1};
    cr_assert_null(yaml_read_file(diags, arena, path, where));
    cr_assert_eq(diags_exit_code(diags), 2);
    char *told = diags_render(diags, false);
    cr_assert_eq(strncmp(told, "model.yaml:1:11: error: ", 24), 0, "%s", told);
    cr_assert_not_null(strstr(told, part), "%s", told);
}

Test(yaml, files_that_cannot_be_read)
{
    expect_unreadable("no-such-file.yaml", "there is no file `no-such-file.yaml`");
    expect_unreadable("/", "cannot read `/`: it is a folder");
    expect_unreadable("/dev/null/x", strerror(ENOTDIR));
    expect_unreadable("/dev/zero", "larger than 16 MiB");
}

Test(yaml, files)
{
    char path[] = "/tmp/test_yaml_XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    FILE *file = fdopen(fd, "w");
    fputs("# padding, so that it does not fit into one read\n", file);
    for (int i = 0; i < 20000; i++)
        fprintf(file, "key%d: %d\n", i, i);
    fclose(file);
    struct yaml *root = yaml_read_file(diags, arena, path, (struct span){0});
    unlink(path);
    cr_assert_not_null(root, "%s", diags_render(diags, false));
    cr_assert_eq(root->count, 20000);
    cr_assert_str_eq(root->items[19999]->text, "19999");
    expect_span(root->keys[19999], 20001, 1, 8);
    cr_assert_str_eq(diags_file_name(diags, root->span.file), path);
}

Test(yaml, limit_of_the_size)
{
    size_t limit = (size_t)16 << 20;
    char *text = arena_alloc(arena, limit + 1);
    memset(text, '#', limit + 1);
    memcpy(text, "a: 1\n", 5);
    cr_assert_not_null(yaml_read_text(diags, arena, "t.yaml", text, limit));
    cr_assert_null(yaml_read_text(diags, arena, "t.yaml", text, limit + 1));
    cr_assert_not_null(strstr(diags_render(diags, false), "larger than 16 MiB"));
}
