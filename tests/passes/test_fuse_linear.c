/* fuse, at last: what follows a linear map goes into its tiles, where nothing waits for long. What
 * it computes is held against the references by test_models.c and, op by op, by test_kernels.c. */
#include "tests/passes/fixture.h"

TestSuite(fuse_linear, .init = open_fixture, .fini = close_fixture);

#define HEAD                                                                                       \
    "graph p\n"                                                                                    \
    "state w parameter f32 [4, 3] zero\n"                                                          \
    "%1: f32 [2, 5, 3] = input\n"                                                                  \
    "%2: f32 [2, 5, 4] = input\n"                                                                  \
    "%3: f32 [2, 4] = input\n"                                                                     \
    "%4: f32 [4] = input\n"                                                                        \
    "%5: f32 [4, 3] = state w\n"
#define ENDS "input x %1\ninput aside %2\ninput gate %3\ninput bias %4\n"
#define MAP "%6: f32 [2, 5, 4] = linear %1, %5, %4 {out=4}\n"

static void becomes(const char *in, const char *out)
{
    expect_pass(pass_fuse_last, in, out);
    expect_pass(pass_fuse_last, out, out);
}

static void stays(const char *text)
{
    expect_pass(pass_fuse_last, text, text);
}

Test(fuse_linear, gelu)
{
    becomes(HEAD MAP "%7 \"y\": f32 [2, 5, 4] = gelu %6 {form=erf}\n" ENDS "output y %7\n",
            HEAD "%6 \"y\": f32 [2, 5, 4] = linear_then %1, %5, _, _, %4 {form=erf}\n" ENDS
                 "output y %6\n");
}

/* What the gradient reads of the map is a result as well. */
Test(fuse_linear, gelu_of_what_is_read_again)
{
    becomes(HEAD MAP "%7: f32 [2, 5, 4] = gelu %6\n"
                     "%8: f32 [2, 5, 4] = mul %7, %2\n"
                     "%9: f32 [2, 5, 4] = gelu_backward %6, %8\n"
                     "%10: f32 [4, 3] = linear_weight_grad %1, %9\n" ENDS "output dw %10\n",
            HEAD "%6: f32 [2, 5, 4], %7: f32 [2, 5, 4] = linear_then %1, %5, _, _, %4 {keep=true}\n"
                 "%8: f32 [2, 5, 4] = mul %6, %2\n"
                 "%9: f32 [2, 5, 4] = gelu_backward %7, %8\n"
                 "%10: f32 [4, 3] = linear_weight_grad %1, %9\n" ENDS "output dw %10\n");
}

Test(fuse_linear, gradient_of_gelu)
{
    becomes(HEAD "%6: f32 [2, 5, 4] = linear %1, %5 {out=4, bias=false}\n"
                 "%7: f32 [2, 5, 4] = gelu_backward %2, %6\n" ENDS "output dx %7\n",
            HEAD "%6: f32 [2, 5, 4] = linear_then %1, %5, %2, _, _ {then=gelu_backward}\n" ENDS
                 "output dx %6\n");
}

/* On either side of the sum. */
Test(fuse_linear, residual_path)
{
    static const char out[] =
        HEAD "%6: f32 [2, 5, 4] = linear_then %1, %5, %2, _, %4 {then=add}\n" ENDS "output y %6\n";
    becomes(HEAD MAP "%7: f32 [2, 5, 4] = add %2, %6\n" ENDS "output y %7\n", out);
    becomes(HEAD MAP "%7: f32 [2, 5, 4] = add %6, %2\n" ENDS "output y %7\n", out);
}

/* Of two maps it is the later one, for the other is there by then. */
Test(fuse_linear, sum_of_two_maps)
{
    becomes(HEAD MAP "%7: f32 [2, 5, 4] = linear %1, %5 {out=4, bias=false}\n"
                     "%8: f32 [2, 5, 4] = add %7, %6\n" ENDS "output y %8\n",
            HEAD MAP "%7: f32 [2, 5, 4] = linear_then %1, %5, %6, _, _ {then=add}\n" ENDS
                     "output y %7\n");
}

Test(fuse_linear, gated_path)
{
    becomes(HEAD MAP "%7: f32 [2, 5, 4] = gated_add %2, %6, %3 stream 0x00000001\n" ENDS
                     "output y %7\n",
            HEAD "%6: f32 [2, 5, 4] = linear_then %1, %5, %2, %3, %4 {then=gated_add}\n" ENDS
                 "output y %6\n");
    stays(HEAD MAP "%7: f32 [2, 5, 4] = gated_add %2, %6, %3 {dropout=0.5} stream 0x00000001\n" ENDS
                   "output y %7\n");
}

/* What the map alone read would have to wait until it has two results. */
Test(fuse_linear, not_at_the_cost_of_memory)
{
    stays(HEAD "%6: f32 [2, 5, 3] = exp %1\n"
               "%7: f32 [2, 5, 4] = linear %6, %5, %4 {out=4}\n"
               "%8: f32 [2, 5, 4] = gelu %7\n" ENDS "output y %8\noutput z %7\n");
    stays(HEAD MAP "%7: f32 [2, 5, 4] = exp %2\n"
                   "%8: f32 [2, 5, 4] = gated_add %7, %6, %3 stream 0x00000001\n" ENDS
                   "output y %8\noutput z %6\n");
}

/* What is added is made after the map. */
Test(fuse_linear, not_before_what_it_reads)
{
    stays(HEAD MAP "%7: f32 [2, 5, 4] = exp %2\n"
                   "%8: f32 [2, 5, 4] = gelu_backward %7, %6\n" ENDS "output y %8\n");
}

/* A sum that stretches the map, or is stretched by it. */
Test(fuse_linear, not_of_another_type)
{
    stays(HEAD MAP "%7: f32 [2, 5, 4] = add %6, %4\n" ENDS "output y %7\n");
    stays(HEAD MAP "%7: f32 [6, 2, 5, 4] = broadcast_to %2 {shape=[6, 2, 5, 4]}\n"
                   "%8: f32 [6, 2, 5, 4] = add %7, %6\n" ENDS "output y %8\n");
}

#define ROWS                                                                                       \
    "graph p\n"                                                                                    \
    "state b parameter f32 [4] zero\n"                                                             \
    "state w parameter f32 [4, 3] zero\n"                                                          \
    "%1: f32 [2, 5, 3] = input\n"                                                                  \
    "%2: f32 [4] = input\n"                                                                        \
    "%3: f32 [4, 3] = state w\n"                                                                   \
    "%4: f32 [4] = state b\n"

/* A row that is written between the two is read before that, as it was. */
Test(fuse_linear, reads_rows_where_the_map_did)
{
    becomes(ROWS "%5: f32 [2, 5, 4] = linear %1, %3, %4 {out=4}\n"
                 "%6: f32 [4] -> b v1 = store %2\n"
                 "%7: f32 [2, 5, 4] = gelu %5\n"
                 "%8: f32 [2, 5, 4] = sin %7\n"
                 "input x %1\ninput new %2\noutput y %8\n",
            ROWS "%5: f32 [2, 5, 4] = linear_then %1, %3, _, _, %4\n"
                 "%6: f32 [4] -> b v1 = store %2\n"
                 "%7: f32 [2, 5, 4] = sin %5\n"
                 "input x %1\ninput new %2\noutput y %7\n");
}
