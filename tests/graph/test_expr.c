/* Expressions: values, precedence, exact integers, printing, emission, and what is refused. */
#include "tests/graph/fixture.h"

#include "graph/expr.h"

#include <math.h>

TestSuite(expr, .init = open_fixture, .fini = close_fixture);

/* t = 0.25, n = 6, on = true, grid.last = false. */
static bool lookup(const void *context, const char *name, struct number *out)
{
    (void)context;
    static const struct {
        const char *name;
        struct number value;
    } known[] = {{"t", {NUMBER_REAL, 0, 0.25}},
                 {"n", {NUMBER_INT, 6, 0}},
                 {"on", {NUMBER_BOOL, 1, 0}},
                 {"grid.last", {NUMBER_BOOL, 0, 0}}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0)
            return *out = known[i].value, true;
    return false;
}

static const char *nearest(const void *context, const char *name)
{
    (void)context;
    static const char *const names[] = {"t", "n", "on", "grid.last"};
    return diag_nearest(name, names, 4);
}

static const struct expr_scope scope = {lookup, nearest, NULL};

static const struct expr *parse(const char *text)
{
    uint32_t file = diags_source(diags, "e", text, strlen(text));
    return expr_parse(diags, arena, text, (struct span){file, 1, 1, (uint32_t)strlen(text)});
}

static struct number eval(const char *text)
{
    struct number n = {0};
    const struct expr *e = parse(text);
    cr_assert_not_null(e, "%s", diags_render(diags, false));
    cr_assert(expr_eval(diags, e, &scope, &n), "%s", diags_render(diags, false));
    return n;
}

/* The value, also of the text that is printed for it, which prints itself. */
static struct number eval_twice(const char *text)
{
    struct number n = eval(text);
    char *printed = expr_print(arena, parse(text));
    struct number again = eval(printed);
    cr_assert_eq(again.kind, n.kind, "%s as %s", text, printed);
    cr_assert_eq(number_real(again), number_real(n), "%s as %s", text, printed);
    cr_assert_str_eq(expr_print(arena, parse(printed)), printed);
    return n;
}

static void expect_int(const char *text, int64_t value)
{
    struct number n = eval_twice(text);
    cr_assert_eq(n.kind, NUMBER_INT, "%s", text);
    cr_assert_eq(n.i, value, "%s = %lld", text, (long long)n.i);
}

static void expect_real(const char *text, double value)
{
    struct number n = eval_twice(text);
    cr_assert_eq(n.kind, NUMBER_REAL, "%s", text);
    cr_assert_eq(n.r, value, "%s = %.17g", text, n.r);
}

static void expect_bool(const char *text, bool value)
{
    struct number n = eval_twice(text);
    cr_assert_eq(n.kind, NUMBER_BOOL, "%s", text);
    cr_assert_eq(n.i != 0, value, "%s", text);
}

Test(expr, integers_are_exact)
{
    expect_int("6 * n", 36);
    expect_int("7 - 2 - 3", 2);
    expect_int("24 / 4 / 3", 2);
    expect_int("-24 / -4", 6);
    expect_int("2 + 3 * 4", 14);
    expect_int("(2 + 3) * 4", 20);
    expect_int("max(n, 7) - min(n, 7)", 1);
    expect_int("9007199254740993 + 0", 9007199254740993); /* 2^53 + 1 is no double */
    expect_int("9223372036854775807", INT64_MAX);
    expect_int("-9223372036854775807 - 1", INT64_MIN);
    expect_int("2 ^ 62", (int64_t)1 << 62);
    expect_int("(-2) ^ 63", INT64_MIN);
    expect_int("(-1) ^ 1000000001", -1);
    expect_int("0 ^ 0", 1);
}

Test(expr, reals)
{
    expect_real("1.0e-3", 1e-3);
    expect_real("1e3", 1000);
    expect_real(".5 + 5.", 5.5);
    expect_real("n / 4.0", 1.5);
    expect_real("t * n", 1.5);
    expect_real("-log1p(-(1 - 1.0e-3) * t)", -log1p(-(1 - 1e-3) * 0.25));
    expect_real("exp(t) + log(t) + sqrt(t)", exp(0.25) + log(0.25) + 0.5);
    expect_real("expm1(t) * sin(t) * cos(t) * tanh(t)",
                expm1(0.25) * sin(0.25) * cos(0.25) * tanh(0.25));
    expect_real("pow(t, 2) + max(t, 0) + min(t, 1)", 0.0625 + 0.25 + 0.25);
    expect_real("2 ^ -1", 0.5);
    expect_real("2 ^ 0.5", sqrt(2.0));
}

/* From loose to tight: or, and, not, comparisons, + -, * /, unary -, ^. */
Test(expr, precedence)
{
    expect_int("-2 ^ 2", -4);
    expect_int("(-2) ^ 2", 4);
    expect_int("2 ^ 3 ^ 2", 512);
    expect_int("2 ** 3 ** 2", 512);
    expect_int("2 * 3 ^ 2", 18);
    expect_int("2 * -3", -6);
    expect_int("2 - -3", 5);
    expect_int("--3", 3);
    expect_int("-n * 2 + 1", -11);
    expect_bool("1 + 1 < 3", true);
    expect_bool("not 1 > 2", true);
    expect_bool("not on or on", true);
    expect_bool("not (on or on)", false);
    expect_bool("on or on and grid.last", true);
    expect_bool("(on or on) and grid.last", false);
    expect_bool("grid.last or n == 6", true);
}

Test(expr, comparisons)
{
    static const char *const signs[] = {"<", "<=", "==", "!=", ">=", ">"};
    static const bool less[] = {true, true, false, true, false, false},
                      same[] = {false, true, true, false, true, false},
                      more[] = {false, false, false, true, true, true};
    for (size_t i = 0; i < 6; i++) {
        expect_bool(arena_printf(arena, "5 %s n", signs[i]), less[i]);
        expect_bool(arena_printf(arena, "6 %s n", signs[i]), same[i]);
        expect_bool(arena_printf(arena, "6.5 %s n", signs[i]), more[i]);
    }
    expect_bool("9007199254740993 == 9007199254740992", false); /* equal as doubles */
    expect_bool("9007199254740992 < 9007199254740993", true);
    expect_bool("on == true", true);
}

/* Words are operators only as a whole. */
Test(expr, names_may_start_like_operators)
{
    const struct expr *e = parse("not_a");
    cr_assert_eq(e->kind, EXPR_NAME);
    cr_assert_str_eq(e->name, "not_a");
    cr_assert_str_eq(parse("order")->name, "order");
    cr_assert_str_eq(parse("grid.next")->name, "grid.next");
}

Test(expr, is_printed_with_few_parentheses)
{
    cr_assert_str_eq(expr_print(arena, parse("-log1p(-(1 - 1.0e-3) * t)")),
                     "-log1p(-(1 - 0.001) * t)");
    cr_assert_str_eq(expr_print(arena, parse("-2 ^ 2")), "-2 ^ 2");
    cr_assert_str_eq(expr_print(arena, parse("(-2) ^ 2")), "(-2) ^ 2");
    cr_assert_str_eq(expr_print(arena, parse("a >= 1.0 and not b")), "not a < 1.0 and not b");
    cr_assert_str_eq(expr_print(arena, parse("max(a, 1e22)")), "max(a, 1e+22)");
    static const char *const same[] = {
        "a - b - c",     "a - (b - c)",    "a / (b * c)",   "(a + b) * c",  "a ^ b ^ c",
        "(a ^ b) ^ c",   "-(a + b)",       "--a",           "a - -b",       "2 ^ -a",
        "not (a and b)", "(a or b) and c", "a or (b or c)", "(a < b) == c", "(-a) ^ b * c"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        cr_assert_str_eq(expr_print(arena, parse(same[i])), same[i]);
}

/* --- emission ----------------------------------------------------------------------------- */

Test(expr, becomes_nodes_of_one_value)
{
    struct graph *g = read_graph("axis batch 4\n%1: f64 [batch] = input\n");
    struct origin o = {0};
    uint32_t v = expr_emit(g, parse("-log1p(-0.5 * t) + t ^ 2"), "t", 1, &o);
    cr_assert_neq(v, VALUE_NONE);
    cr_assert_str_eq(graph_print(arena, g), "graph \"\"\n"
                                            "axis batch 4\n"
                                            "%1: f64 [batch] = input\n"
                                            "%2: f64 [] = const {value=0.5}\n"
                                            "%3: f64 [] = neg %2\n"
                                            "%4: f64 [batch] = mul %3, %1\n"
                                            "%5: f64 [batch] = log1p %4\n"
                                            "%6: f64 [batch] = neg %5\n"
                                            "%7: f64 [] = const {value=2}\n"
                                            "%8: f64 [batch] = pow %1, %7\n"
                                            "%9: f64 [batch] = add %6, %8\n");
    cr_assert_eq(v, 9);
    cr_assert_eq(expr_emit(g, parse("t"), "t", 1, &o), 1);
    cr_assert_eq(expr_emit(g, parse("exp(s)"), "t", 1, &o), VALUE_NONE);
    expect("e:1:5: error: `s` is unknown here: only `t` is given\n"
           "    exp(s)\n"
           "        ^\n");
}

/* --- refusals ----------------------------------------------------------------------------- */

static void refuse_text(const char *text, uint32_t column, uint32_t length, const char *message)
{
    char carets[80] = "^";
    for (uint32_t i = 1; i < length; i++)
        strcat(carets, "~");
    cr_assert_null(parse(text), "%s", text);
    expect(arena_printf(arena, "e:1:%u: error: in the expression `%s`: %s\n    %s\n    %*s%s\n",
                        column, text, message, text, (int)column - 1, "", carets));
}

Test(expr, refuses_what_it_cannot_read)
{
    cr_assert_null(parse(""));
    expect("e:1:1: error: in the expression ``: it ends too early\n");
    refuse_text("1 +", 4, 1, "it ends too early");
    refuse_text("(1 + 2", 7, 1, "a `)` is missing here");
    refuse_text("1 + 2)", 6, 1, "this `)` has no `(`");
    refuse_text("1 2", 3, 1, "an operator is missing here");
    refuse_text("2 * * 3", 5, 1, "a number or a name is missing here");
    refuse_text("a = b", 3, 1, "an operator is missing here");
    refuse_text("foo(1)", 1, 1,
                "there is no such function; there are exp log log1p expm1 sqrt sin cos tanh max "
                "min pow");
    refuse_text("max(1)", 6, 1, "this function takes two arguments");
    refuse_text("exp(1, 2)", 6, 1, "a `)` is missing here");
    refuse_text("9223372036854775808", 1, 1, "the number is too large");
    refuse_text("a.", 2, 1, "an operator is missing here");
    cr_assert_null(parse("\xc3\xa9"));
    cr_assert(strstr(diags_render(diags, false), "a number or a name is missing here"));
}

/* Deep and long expressions would exhaust the stack of whoever walks them. */
Test(expr, refuses_what_is_too_deep_or_too_long)
{
    char *deep = arena_new_array(arena, char, 100001), *sum = arena_new_array(arena, char, 200002);
    memset(deep, '(', 100000);
    cr_assert_null(parse(deep));
    cr_assert(strstr(diags_render(diags, false), "it is nested too deeply"));
    memset(deep, '-', 100000);
    cr_assert_null(parse(deep));
    cr_assert(strstr(diags_render(diags, false), "it is nested too deeply"));
    for (int i = 0; i < 100000; i++)
        memcpy(sum + 2 * i, "1+", 2);
    sum[200000] = '1';
    cr_assert_null(parse(sum));
    cr_assert(strstr(diags_render(diags, false), "it is too long"));
    sum[2 * 900 - 1] = 0;
    expect_int(sum, 900);
}

static void refuse_value(const char *text, const char *message)
{
    struct number n;
    const struct expr *e = parse(text);
    cr_assert_not_null(e, "%s", text);
    cr_assert_not(expr_eval(diags, e, &scope, &n), "%s", text);
    expect(message);
    cr_assert_not(expr_eval(NULL, e, &(struct expr_scope){lookup, NULL, NULL}, &n) &&
                  isfinite(number_real(n)));
    expect_quiet();
}

Test(expr, refuses_numbers_that_are_none)
{
    refuse_value("n / 4", "e:1:1: error: 6 does not divide by 4\n"
                          "    n / 4\n"
                          "    ^~~~~\n"
                          "    write one of them with a point (4.0) for a real number\n");
    refuse_value("1 + n / 0", "e:1:5: error: this divides by zero\n"
                              "    1 + n / 0\n"
                              "        ^~~~~\n");
    refuse_value("1.0 / 0", "e:1:1: error: this is not a finite number\n"
                            "    1.0 / 0\n"
                            "    ^~~~~~~\n");
    refuse_value("2 * log(-1)", "e:1:5: error: this is not a finite number\n"
                                "    2 * log(-1)\n"
                                "        ^~~~~~~\n");
    static const char *const large[] = {
        "9223372036854775807 + 1",     "-9223372036854775807 - 2",        "4611686018427387904 * 2",
        "-(-9223372036854775807 - 1)", "(-9223372036854775807 - 1) / -1", "2 ^ 63"};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        struct number n;
        cr_assert_not(expr_eval(diags, parse(large[i]), &scope, &n), "%s", large[i]);
        cr_assert(strstr(diags_render(diags, false), "error: this number is too large\n"));
    }
}

Test(expr, refuses_truth_for_numbers_and_numbers_for_truth)
{
    refuse_value("1 + on", "e:1:5: error: this must be a number\n"
                           "    1 + on\n"
                           "        ^~\n");
    refuse_value("n and on", "e:1:1: error: this must be true or false\n"
                             "    n and on\n"
                             "    ^\n");
    refuse_value("not t", "e:1:5: error: this must be true or false\n"
                          "    not t\n"
                          "        ^\n");
    refuse_value("-on", "e:1:2: error: this must be a number\n"
                        "    -on\n"
                        "     ^~\n");
}

Test(expr, refuses_unknown_names)
{
    refuse_value("2 * gird.last", "e:1:5: error: no number is called `gird.last` here\n"
                                  "    2 * gird.last\n"
                                  "        ^~~~~~~~~\n"
                                  "    did you mean `grid.last`?\n");
}
