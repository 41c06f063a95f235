/* Diagnostics: the text a user sees, what is kept and counted, exit codes, near names. */
#include "graph/base/diag.h"
#include "tests/graph/base/fixture.h"

#include <signal.h>
#include <string.h>

TestSuite(diag, .init = open_arena, .fini = close_arena);

static uint32_t source(const char *name, const char *text)
{
    return diags_source(diags, name, text, strlen(text));
}

static struct span at(uint32_t file, uint32_t line, uint32_t column, uint32_t length)
{
    return (struct span){.file = file, .line = line, .column = column, .length = length};
}

static void expect(const char *text)
{
    cr_assert_str_eq(diags_render(diags, false), text);
}

Test(diag, error_with_line_caret_and_hint)
{
    uint32_t file = source("models/my.yaml", "blocks:\n  a:\n    h: {liner: x, out: dim}\n");
    diag_error(diags, FAULT_CONFIG, at(file, 3, 9, 5), "no op or block is called `%s`", "liner");
    diag_hint(diags, "did you mean `%s`?", "linear");
    expect("models/my.yaml:3:9: error: no op or block is called `liner`\n"
           "    h: {liner: x, out: dim}\n"
           "        ^~~~~\n"
           "    did you mean `linear`?\n");
}

Test(diag, command_line_has_no_place)
{
    cr_assert_str_eq(diags_file_name(diags, 0), "sedge");
    diag_error(diags, FAULT_CONFIG, at(0, 0, 0, 0), "no such command: `tain`");
    diag_hint(diags, "did you mean `train`?");
    expect("sedge: error: no such command: `tain`\n"
           "    did you mean `train`?\n");
}

/* What stands before the text counts for the caret, in characters, and no line number is given. */
Test(diag, command_line_shown_as_typed)
{
    uint32_t file = diags_typed(diags, "train.batch", "--gr\u00f6\u00dfe ", "1\u00e9x", 4);
    diag_error(diags, FAULT_CONFIG, at(file, 1, 3, 1), "no number");
    diag_error(diags, FAULT_CONFIG, at(file, 2, 1, 1), "something is missing");
    expect("sedge: error: no number\n"
           "    --gr\u00f6\u00dfe 1\u00e9x\n"
           "              ^\n"
           "sedge: error: something is missing\n"
           "    --gr\u00f6\u00dfe 1\u00e9x\n"
           "               ^\n");
    cr_assert_str_eq(diags_file_name(diags, file), "train.batch");
}

Test(diag, place_without_column_or_line)
{
    uint32_t file = source("data.txt", "first\nsecond\n");
    diag_error(diags, FAULT_DATA, at(file, 2, 0, 0), "too short");
    diag_error(diags, FAULT_DATA, at(file, 0, 0, 0), "too few lines");
    diag_error(diags, FAULT_DATA, at(file, 9, 1, 1), "no such line");
    expect("data.txt:2: error: too short\n"
           "    second\n"
           "data.txt: error: too few lines\n"
           "data.txt:9:1: error: no such line\n");
}

Test(diag, trails_follow_the_hints)
{
    uint32_t file = source("a.yaml", "block line\ncall one\ncall two\n");
    diag_error(diags, FAULT_CONFIG, at(file, 1, 1, 5), "wrong");
    diag_trail(diags, at(file, 2, 6, 3), "called from here");
    diag_trail(diags, at(file, 3, 6, 3), "called from here");
    diag_hint(diags, "one way\nor another");
    expect("a.yaml:1:1: error: wrong\n"
           "    block line\n"
           "    ^~~~~\n"
           "    one way\n"
           "    or another\n"
           "a.yaml:2:6: called from here\n"
           "a.yaml:3:6: called from here\n");
}

Test(diag, warnings_do_not_count_and_take_hints)
{
    uint32_t file = source("a.yaml", "lr: 3\n");
    diag_warning(diags, at(file, 1, 5, 1), "a learning rate of %d", 3);
    diag_hint(diags, "usual are 1.0e-4 to 1.0e-3");
    cr_assert_eq(diags_errors(diags), 0);
    cr_assert_eq(diags_exit_code(diags), 0);
    expect("a.yaml:1:5: warning: a learning rate of 3\n"
           "    lr: 3\n"
           "        ^\n"
           "    usual are 1.0e-4 to 1.0e-3\n");
}

/* The columns count characters: two-byte letters, one tab, and one byte that is no UTF-8. */
Test(diag, caret_counts_characters)
{
    uint32_t file = source("a.yaml", "\t\xc3\xa4\xc3\xb6:\tfoo\nx\xff y\n");
    diag_error(diags, FAULT_CONFIG, at(file, 1, 6, 3), "tab");
    diag_error(diags, FAULT_CONFIG, at(file, 2, 4, 1), "byte");
    expect("a.yaml:1:6: error: tab\n"
           "    \xc3\xa4\xc3\xb6: foo\n"
           "        ^~~\n"
           "a.yaml:2:4: error: byte\n"
           "    x\xef\xbf\xbd y\n"
           "       ^\n");
}

Test(diag, caret_inside_the_indentation_keeps_it)
{
    uint32_t file = source("a.yaml", "  \tx: 1\n");
    diag_error(diags, FAULT_CONFIG, at(file, 1, 3, 1), "a tab");
    expect("a.yaml:1:3: error: a tab\n"
           "     x: 1\n"
           "    ^\n");
}

Test(diag, caret_past_the_end_stays_at_the_end)
{
    uint32_t file = source("a.yaml", "key:\r\nnext\rlast");
    diag_error(diags, FAULT_CONFIG, at(file, 1, 5, 1), "a value is missing");
    diag_error(diags, FAULT_CONFIG, at(file, 1, 90, 7), "far out");
    diag_error(diags, FAULT_CONFIG, at(file, 3, 1, 90), "long span");
    expect("a.yaml:1:5: error: a value is missing\n"
           "    key:\n"
           "        ^\n"
           "a.yaml:1:90: error: far out\n"
           "    key:\n"
           "        ^\n"
           "a.yaml:3:1: error: long span\n"
           "    last\n"
           "    ^~~~\n");
}

/* Character N of the line is letter N % 26, and the one at the caret is `!`. Wherever it is, the
 * shown part is 100 characters, the caret is below `!`, and cut ends are marked. */
Test(diag, long_lines_are_cut_around_the_caret)
{
    enum { LENGTH = 1000 };
    static const uint32_t columns[] = {1, 50, 76, 77, 101, 500, 950, 951, 1000};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        uint32_t column = columns[i];
        char line[LENGTH + 1] = {0};
        for (int n = 0; n < LENGTH; n++)
            line[n] = (char)('a' + n % 26);
        line[column - 1] = '!';
        uint32_t file = source("a.yaml", line);
        diag_error(diags, FAULT_CONFIG, at(file, 1, column, 1), "here");
        char *shown = strchr(diags_render(diags, false), '\n') + 1;
        char *caret = strchr(shown, '\n') + 1;
        bool before = strncmp(shown, "    …", 7) == 0;
        bool after = strncmp(caret - 4, "…", 3) == 0;
        cr_assert_eq(before, column > 76, "column %u", column);
        cr_assert_eq(after, column < 951, "column %u", column);
        size_t bytes = (size_t)(caret - shown) - 5 - (before ? 3 : 0) - (after ? 3 : 0);
        cr_assert_eq(bytes, 100, "column %u shows %zu", column, bytes);
        size_t cell = strcspn(caret, "^") + (before ? 2 : 0); /* `…` is one cell of three bytes */
        cr_assert_eq(shown[cell], '!', "column %u", column);
    }
}

Test(diag, lines_of_100_characters_are_whole)
{
    char line[101] = {0};
    memset(line, 'x', 100);
    uint32_t file = source("a.yaml", line);
    diag_error(diags, FAULT_CONFIG, at(file, 1, 100, 1), "here");
    char *shown = strchr(diags_render(diags, false), '\n') + 1;
    cr_assert_eq(strncmp(shown + 4, line, 100), 0);
    cr_assert_eq(shown[104], '\n');
}

/* A name out of a file must not be able to drive the terminal. */
Test(diag, control_characters_are_not_passed_on)
{
    uint32_t file = source("a.yaml", "x \x1b[2J \xc2\x9b y\n");
    diag_error(diags, FAULT_CONFIG, at(file, 1, 1, 1), "no op `%s`", "\x1b[2J");
    diag_hint(diags, "not `%s`", "\x07");
    expect("a.yaml:1:1: error: no op `?[2J`\n"
           "    x \xef\xbf\xbd[2J \xef\xbf\xbd y\n"
           "    ^\n"
           "    not `?`\n");
}

Test(diag, further_errors_are_counted)
{
    for (int i = 0; i < DIAG_LIMIT + 3; i++) {
        diag_error(diags, FAULT_DATA, at(0, 0, 0, 0), "number %d", i);
        diag_hint(diags, "hint %d", i);
    }
    cr_assert_eq(diags_errors(diags), DIAG_LIMIT + 3);
    char *text = diags_render(diags, false);
    cr_assert_not_null(strstr(text, "error: number 19\n    hint 19\n… and 3 more errors\n"));
    cr_assert_null(strstr(text, "hint 20"));
    expect("");
    diag_error(diags, FAULT_DATA, at(0, 0, 0, 0), "later");
    expect("sedge: error: later\n");
}

Test(diag, one_more_error)
{
    for (int i = 0; i < DIAG_LIMIT + 1; i++)
        diag_error(diags, FAULT_DATA, at(0, 0, 0, 0), "number %d", i);
    cr_assert_not_null(strstr(diags_render(diags, false), "… and 1 more error\n"));
}

Test(diag, rendering_shows_what_is_new)
{
    expect("");
    diag_error(diags, FAULT_RUN, at(0, 0, 0, 0), "one");
    expect("sedge: error: one\n");
    diag_warning(diags, at(0, 0, 0, 0), "two");
    cr_assert_str_eq(diags_last(diags), "two");
    expect("sedge: warning: two\n");
    expect("");
    cr_assert_eq(diags_errors(diags), 1);
}

Test(diag, exit_code_is_that_of_the_first_error)
{
    cr_assert_eq(diags_exit_code(diags), 0);
    diag_error(diags, FAULT_DATA, at(0, 0, 0, 0), "data");
    diag_error(diags, FAULT_CONFIG, at(0, 0, 0, 0), "config");
    cr_assert_eq(diags_exit_code(diags), 3);
    struct diags *second = diags_new(arena), *third = diags_new(arena);
    diag_error(second, FAULT_CONFIG, at(0, 0, 0, 0), "config");
    cr_assert_eq(diags_exit_code(second), 2);
    diag_error(third, FAULT_RUN, at(0, 0, 0, 0), "run");
    cr_assert_eq(diags_exit_code(third), 1);
}

Test(diag, colour_adds_only_escapes)
{
    uint32_t file = source("a.yaml", "x: y\n");
    struct diags *plain = diags_new(arena);
    diags_source(plain, "a.yaml", "x: y\n", 5);
    diag_error(diags, FAULT_CONFIG, at(file, 1, 4, 1), "wrong");
    diag_error(plain, FAULT_CONFIG, at(file, 1, 4, 1), "wrong");
    char *coloured = diags_render(diags, true), *to = coloured;
    cr_assert_not_null(strstr(coloured, "\x1b[31merror:\x1b[0m"));
    for (char *from = coloured; *from;) {
        if (*from == '\x1b')
            from += strcspn(from, "m") + 1;
        else
            *to++ = *from++;
    }
    *to = '\0';
    cr_assert_str_eq(coloured, diags_render(plain, false));
}

Test(diag, sources_are_copied)
{
    char name[] = "a.yaml", text[] = "good\n";
    uint32_t file = diags_source(diags, name, text, 5);
    memset(name, 'X', 6);
    memset(text, 'X', 5);
    diag_error(diags, FAULT_CONFIG, at(file, 1, 1, 4), "wrong");
    cr_assert_str_eq(diags_file_name(diags, file), "a.yaml");
    expect("a.yaml:1:1: error: wrong\n    good\n    ^~~~\n");
}

Test(diag, hint_without_an_error_is_a_bug, .signal = SIGABRT)
{
    diag_hint(diags, "about nothing");
}

Test(diag, span_of_an_unknown_file_is_a_bug, .signal = SIGABRT)
{
    diag_error(diags, FAULT_CONFIG, at(7, 1, 1, 1), "nowhere");
}

Test(diag, nearest_name)
{
    static const char *const names[] = {"linear", "layer_norm", "gelu", "t", "attention", "add"};
    static const struct {
        const char *name, *nearest;
    } cases[] = {
        {"liner", "linear"},
        {"lienar", "linear"},
        {"linear", "linear"},
        {"atention", "attention"},
        {"ad", "add"},
        {"layernorm", "layer_norm"},
        {"gleu", "gelu"},
        {"layer", NULL},
        {"x", NULL},
        {"", NULL},
        {"softmax", NULL},
        {"attnetoin", "attention"},
        {"atxxxtion", "attention"},
        {"atxxxxion", NULL},
        {"ts", "t"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *nearest = diag_nearest(cases[i].name, names, sizeof names / sizeof *names);
        if (cases[i].nearest)
            cr_assert(nearest && strcmp(nearest, cases[i].nearest) == 0, "%s gave %s",
                      cases[i].name, nearest ? nearest : "nothing");
        else
            cr_assert_null(nearest, "%s gave %s", cases[i].name, nearest);
    }
    cr_assert_null(diag_nearest("linear", names, 0));
}

Test(diag, nearest_name_prefers_the_nearer_and_survives_long_names)
{
    char endless[1000] = {0};
    memset(endless, 'a', sizeof endless - 1);
    const char *const names[] = {"stepping", endless, "steps", "step"};
    cr_assert_str_eq(diag_nearest("step", names, 4), "step");
    cr_assert_str_eq(diag_nearest("stes", names, 4), "steps");
    cr_assert_null(diag_nearest(endless, names, 4));
}
