/* simplify: graphs in, graphs out, as text. */
#include "tests/passes/fixture.h"

TestSuite(simplify_pass, .init = open_fixture, .fini = close_fixture);

#define HEAD "graph p\n"

/* IN becomes OUT, and OUT stays what it is. */
static void becomes(const char *in, const char *out)
{
    expect_pass(pass_simplify, in, out);
    expect_pass(pass_simplify, out, out);
}

/* --- folding ------------------------------------------------------------------------------- */

Test(simplify_pass, folds_numbers)
{
    becomes(HEAD "%1: f64 [] = const {value=3}\n"
                 "%2: f64 [] = const {value=4}\n"
                 "%3: f64 [] = mul %1, %2\n"
                 "%4: f64 [] = sub %3, %1\n"
                 "%5: f64 [] = sqrt %4\n"
                 "output y %5\n",
            HEAD "%1: f64 [] = const {value=3}\n"
                 "output y %1\n");
}

Test(simplify_pass, folds_in_the_dtype)
{
    becomes(HEAD "%1: f32 [] = const {value=1}\n"
                 "%2: f32 [] = const {value=3}\n"
                 "%3: f32 [] = div %1, %2\n"
                 "output y %3\n",
            HEAD "%1: f32 [] = const {value=0.3333333432674408}\n" /* (float)(1.0 / 3) */
                 "output y %1\n");
}

/* What is not finite stays, where the executor can name it. A tensor of equal numbers folds as
 * one. */
Test(simplify_pass, folds_no_more_than_that)
{
    becomes(HEAD "%1: f64 [] = const {value=0}\n"
                 "%2: f64 [] = log %1\n"
                 "%3: f64 [3] = const {value=2}\n"
                 "%4: f64 [3] = neg %3\n"
                 "output y %2\n"
                 "output z %4\n",
            HEAD "%1: f64 [] = const {value=0}\n"
                 "%2: f64 [] = log %1\n"
                 "%3: f64 [3] = const {value=-2}\n"
                 "output y %2\n"
                 "output z %3\n");
}

/* --- identities ----------------------------------------------------------------------------- */

Test(simplify_pass, drops_what_changes_nothing)
{
    becomes(HEAD "%1: f32 [2, 3] = input\n"
                 "%2: f32 [] = const {value=1}\n"
                 "%3: f32 [] = const {value=0}\n"
                 "%4: f32 [2, 3] = mul %1, %2\n"
                 "%5: f32 [2, 3] = mul %2, %4\n"
                 "%6: f32 [2, 3] = add %5, %3\n"
                 "%7: f32 [2, 3] = sub %6, %3\n"
                 "%8: f32 [2, 3] = div %7, %2\n"
                 "%9: f32 [2, 3] = neg %8\n"
                 "%10: f32 [2, 3] = neg %9\n"
                 "%11: f32 [2, 3] = cast %10 {to=f32}\n"
                 "%12: f32 [2, 3] = reshape %11 {shape=[2, 3]}\n"
                 "%13: f32 [2, 3] = exp %12\n"
                 "input x %1\n"
                 "output y %13\n",
            HEAD "%1: f32 [2, 3] = input\n"
                 "%2: f32 [2, 3] = exp %1\n"
                 "input x %1\n"
                 "output y %2\n");
}

Test(simplify_pass, drops_choices_that_are_known)
{
    becomes(HEAD "%1: f32 [2, 3] = input\n"
                 "%2: f32 [2, 3] = input\n"
                 "%3: bool [2, 3] = const {value=1}\n"
                 "%4: bool [2, 3] = const {value=0}\n"
                 "%5: f32 [2, 3] = where %3, %1, %2\n"
                 "%6: f32 [2, 3] = where %4, %1, %2\n"
                 "%7: f32 [2, 3] = sub %5, %6\n"
                 "input a %1\n"
                 "input b %2\n"
                 "output y %7\n",
            HEAD "%1: f32 [2, 3] = input\n"
                 "%2: f32 [2, 3] = input\n"
                 "%3: f32 [2, 3] = sub %1, %2\n"
                 "input a %1\n"
                 "input b %2\n"
                 "output y %3\n");
}

/* 0 - x is no identity; x * 1 is none where it makes x larger or wider. */
Test(simplify_pass, keeps_what_changes_the_type)
{
    const char *text = HEAD "%1: f32 [3] = input\n"
                            "%2: f64 [] = const {value=1}\n"
                            "%3: f32 [2, 3] = const {value=1}\n"
                            "%4: f32 [] = const {value=0}\n"
                            "%5: f64 [3] = mul %1, %2\n"
                            "%6: f32 [2, 3] = mul %1, %3\n"
                            "%7: f32 [3] = sub %4, %1\n"
                            "%8: f32 [3] = div %4, %1\n"
                            "input x %1\n"
                            "output a %5\n"
                            "output b %6\n"
                            "output c %7\n"
                            "output d %8\n";
    becomes(text, text);
}

/* x + 0 is a copy that must survive when x is a row that changes before the copy is used. */
Test(simplify_pass, keeps_copies_of_rows_that_change)
{
    const char *text = HEAD "state w constant f64 [3] zero\n"
                            "%1: f64 [3] = input\n"
                            "%2: f64 [3] = state w\n"
                            "%3: f64 [] = const {value=1}\n"
                            "%4: f64 [3] = mul %2, %3\n"
                            "%5: f64 [3] -> w v1 = store %1\n"
                            "%6: f64 [3] = sub %4, %1\n"
                            "input x %1\n"
                            "output y %6\n";
    becomes(text, text);
}

/* --- merging --------------------------------------------------------------------------------- */

Test(simplify_pass, merges_what_is_equal)
{
    becomes(HEAD "%1: f32 [2, 6] = input\n"
                 "%2: f32 [2, 3], %3: f32 [2, 3] = split %1 {parts=2}\n"
                 "%4: f32 [2, 3], %5: f32 [2, 3] = split %1 {parts=2}\n"
                 "%6: f32 [2, 3] = mul %2, %5\n"
                 "%7: f32 [2, 3] = mul %4, %3\n"
                 "%8: f32 [2, 3] = mul %3, %4\n"
                 "%9: f32 [2, 3] = sub %6, %7\n"
                 "%10: f32 [2, 3] = add %9, %8\n"
                 "input x %1\n"
                 "output y %10\n",
            HEAD "%1: f32 [2, 6] = input\n"
                 "%2: f32 [2, 3], %3: f32 [2, 3] = split %1 {parts=2}\n"
                 "%4: f32 [2, 3] = mul %2, %3\n"
                 "%5: f32 [2, 3] = mul %3, %2\n"
                 "%6: f32 [2, 3] = sub %4, %4\n"
                 "%7: f32 [2, 3] = add %6, %5\n"
                 "input x %1\n"
                 "output y %7\n");
}

/* Another attribute, another epoch, another draw, and effects are not equal. */
Test(simplify_pass, keeps_what_differs)
{
    const char *text = HEAD "%1: f32 [2, 6] = input\n"
                            "%2: f32 [2] = sum %1 {axis=1}\n"
                            "%3: f32 [2, 1] = sum %1 {axis=1, keep=true}\n"
                            "%4: f32 [2] = sum %1 {axis=1} epoch 1\n"
                            "%5: f64 [2] = random_uniform {shape=[2]} stream 0x00000007\n"
                            "%6: f64 [2] = random_uniform {shape=[2]} stream 0x00000007\n"
                            "%7: f64 [2] = add %5, %6\n"
                            "input x %1\n"
                            "output b %2\n"
                            "output c %3\n"
                            "output d %4\n"
                            "output e %7\n";
    becomes(text, text);
}

/* --- dead code ------------------------------------------------------------------------------- */

/* What nobody needs goes, also when it draws; inputs stay, as the caller supplies them, and so do
 * effects and what they need. */
Test(simplify_pass, drops_what_nobody_needs)
{
    becomes(HEAD "state w parameter f32 [3] zero\n"
                 "state grad/w gradient f32 [3] zero of w\n"
                 "%1: f32 [3] = input\n"
                 "%2: f32 [3] = input\n"
                 "%3: f32 [3] = state w\n"
                 "%4: f64 [3] = random_uniform {shape=[3]} stream 0x00000007\n"
                 "%5: f64 [3] = mul %4, %1\n"
                 "%6: f32 [3] = exp %1\n"
                 "%7: f32 [3] -> grad/w v1 = store %6\n"
                 "%8: f32 [3] = mul %3, %3\n"
                 "input x %1\n"
                 "input unused %2\n",
            HEAD "state w parameter f32 [3] zero\n"
                 "state grad/w gradient f32 [3] zero of w\n"
                 "%1: f32 [3] = input\n"
                 "%2: f32 [3] = input\n"
                 "%3: f32 [3] = exp %1\n"
                 "%4: f32 [3] -> grad/w v1 = store %3\n"
                 "input x %1\n"
                 "input unused %2\n");
}

/* Where the process says so, no score is projected. */
Test(simplify_pass, drops_projections_that_are_off)
{
#define RAW                                                                                        \
    HEAD "process main uniform 5 raw 1.0 * t\n"                                                    \
         "%1: token main [2, 3] = input\n"                                                         \
         "%2: f32 [2, 3, 5] = input\n"                                                             \
         "%3: f64 [2] = input\n"
#define RAW_INPUTS "input x %1\ninput s %2\ninput t %3\n"
    becomes(RAW "%4: f32 [2, 3, 5] = project_score %2, %1, %3 process main\n" RAW_INPUTS
                "output y %4\n",
            RAW RAW_INPUTS "output y %2\n");
}

/* The projection of a law's score is that score; at other noise it is not, nor that of what sums to
 * anything. */
Test(simplify_pass, drops_projections_of_a_law)
{
    becomes(HEAD "process main uniform 5 1.0 * t\n"
                 "%1: token main [2, 3] = input\n"
                 "%2: f32 [2, 3, 5] = input\n"
                 "%3: f64 [2] = input\n"
                 "%4: f64 [2] = input\n"
                 "%5: f32 [2, 3, 5] = x0_output %2, %1, %3 process main\n"
                 "%6: f32 [2, 3, 5] = posterior_score %5, %1, %3 process main\n"
                 "%7: f32 [2, 3, 5] = project_score %6, %1, %3 process main\n"
                 "%8: f32 [2, 3, 5] = project_score %6, %1, %4 process main\n"
                 "%9: f32 [2, 3, 5] = posterior_score %2, %1, %3 process main\n"
                 "%10: f32 [2, 3, 5] = project_score %9, %1, %3 process main\n"
                 "input x %1\n"
                 "input l %2\n"
                 "input t %3\n"
                 "input s %4\n"
                 "output y %7\n"
                 "output z %8\n"
                 "output w %10\n",
            HEAD "process main uniform 5 1.0 * t\n"
                 "%1: token main [2, 3] = input\n"
                 "%2: f32 [2, 3, 5] = input\n"
                 "%3: f64 [2] = input\n"
                 "%4: f64 [2] = input\n"
                 "%5: f32 [2, 3, 5] = x0_output %2, %1, %3 process main\n"
                 "%6: f32 [2, 3, 5] = posterior_score %5, %1, %3 process main\n"
                 "%7: f32 [2, 3, 5] = project_score %6, %1, %4 process main\n"
                 "%8: f32 [2, 3, 5] = posterior_score %2, %1, %3 process main\n"
                 "%9: f32 [2, 3, 5] = project_score %8, %1, %3 process main\n"
                 "input x %1\n"
                 "input l %2\n"
                 "input t %3\n"
                 "input s %4\n"
                 "output y %6\n"
                 "output z %7\n"
                 "output w %9\n");
}

/* Rows of a constant that are there, and views of it, hold what it holds. */
#define ROWS                                                                                       \
    HEAD "axis some 6 counter %2\n"                                                                \
         "%1: bool [2, 3] = input\n"                                                               \
         "%2: i32 [some] = nonzero %1\n"                                                           \
         "%3: f32 [some, 1, 5] = input\n"                                                          \
         "%4: f32 [some, 1, 5] = input\n"
#define ROWS_BIND "input flags %1\ninput a %3\ninput b %4\n"

Test(simplify_pass, drops_choices_by_rows_that_are_known)
{
    becomes(ROWS "%5: bool [2, 3, 5] = const {value=1}\n"
                 "%6: bool [some, 5] = gather %5, %2 {axes=2}\n"
                 "%7: bool [some, 1, 5] = expand %6 {axis=1}\n"
                 "%8: f32 [some, 1, 5] = where %7, %3, %4\n" ROWS_BIND
                 "output y %8\noutput rows %2\n",
            HEAD "axis some 6 counter %2\n"
                 "%1: bool [2, 3] = input\n"
                 "%2: i32 [some] = nonzero %1\n"
                 "%3: f32 [some, 1, 5] = input\n"
                 "%4: f32 [some, 1, 5] = input\n" ROWS_BIND "output y %3\noutput rows %2\n");
}

/* An index may name rows that are not there: those are zeros. */
Test(simplify_pass, keeps_choices_by_rows_of_others)
{
    static const char rows[] =
        ROWS "%5: bool [2, 2, 5] = const {value=1}\n"
             "%6: bool [some, 5] = gather %5, %2 {axes=2}\n"
             "%7: bool [some, 1, 5] = expand %6 {axis=1}\n"
             "%8: f32 [some, 1, 5] = where %7, %3, %4\n" ROWS_BIND "output y %8\n";
    becomes(rows, rows);
}

/* A law that sums to one, of which nothing is cut; any other is normalised, or cut. */
#define LAW                                                                                        \
    HEAD "process main absorb 4 1.0 * t\n"                                                         \
         "%1: token main [2, 3] = input\n"                                                         \
         "%2: f32 [2, 3, 5] = input\n"                                                             \
         "%3: f64 [2] = input\n"                                                                   \
         "%4: f32 [2, 3, 5] = x0_output %2, %1, %3 process main\n"
#define LAW_BIND "input x %1\ninput raw %2\ninput sigma %3\n"

Test(simplify_pass, drops_cuts_of_nothing)
{
    becomes(LAW "%5: bool [2, 3, 5] = const {value=1}\n"
                "%6: f32 [2, 3, 5] = restrict %4, %5\n" LAW_BIND "output y %6\n",
            LAW LAW_BIND "output y %4\n");
}

Test(simplify_pass, keeps_cuts)
{
    static const char hot[] =
        LAW "%5: f32 [2, 3, 5] = restrict %4, _ {temperature=2}\n" LAW_BIND "output y %5\n";
    static const char raw[] =
        LAW "%5: f32 [2, 3, 5] = restrict %2, _\n" LAW_BIND "output y %5\noutput law %4\n";
    static const char few[] =
        LAW "%5: f32 [2, 3, 5] = restrict %4, _ {top_k=2}\n" LAW_BIND "output y %5\n";
    static const char most[] =
        LAW "%5: f32 [2, 3, 5] = restrict %4, _ {top_p=0.5}\n" LAW_BIND "output y %5\n";
    static const char some[] =
        LAW "%5: bool [2, 3, 5] = input\n"
            "%6: f32 [2, 3, 5] = restrict %4, %5\n" LAW_BIND "input allowed %5\noutput y %6\n";
    becomes(hot, hot);
    becomes(raw, raw);
    becomes(few, few);
    becomes(most, most);
    becomes(some, some);
}

/* An optional flag that is false everywhere is as good as absent. */
Test(simplify_pass, drops_flags_that_are_false)
{
    becomes(HEAD "process main absorb 4 1.0 * t\n"
                 "%1: token main [2, 3] = input\n"
                 "%2: f32 [2, 3, 5] = input\n"
                 "%3: f64 [2] = input\n"
                 "%4: bool [2, 3] = const {value=0}\n"
                 "%5: token main [2, 3], %6: f64 [2] = tweedie %1, %2, %3, %3, %4 process main "
                 "stream 0x00000001\n"
                 "input x %1\n"
                 "input s %2\n"
                 "input t %3\n"
                 "output y %5\n",
            HEAD "process main absorb 4 1.0 * t\n"
                 "%1: token main [2, 3] = input\n"
                 "%2: f32 [2, 3, 5] = input\n"
                 "%3: f64 [2] = input\n"
                 "%4: token main [2, 3], %5: f64 [2] = tweedie %1, %2, %3, %3, _ process main "
                 "stream 0x00000001\n"
                 "input x %1\n"
                 "input s %2\n"
                 "input t %3\n"
                 "output y %4\n");
}

Test(simplify_pass, dropout_of_nothing)
{
    static const char some[] = HEAD "%1: f32 [2, 3] = input\n"
                                    "%2: f32 [2, 3] = dropout %1 {p=0.5} stream 0x00000001\n"
                                    "input x %1\noutput y %2\n";
    becomes(HEAD "%1: f32 [2, 3] = input\n"
                 "%2: f32 [2, 3] = dropout %1 {p=0} stream 0x00000001\n"
                 "%3: f32 [2, 3] = sin %2\n"
                 "input x %1\noutput y %3\n",
            HEAD "%1: f32 [2, 3] = input\n"
                 "%2: f32 [2, 3] = sin %1\n"
                 "input x %1\noutput y %2\n");
    becomes(some, some);
}
