/* Two ways to say one process: a matrix that holds the rates of `uniform` or `absorb`, and
 * schedules that have their ends in common. Whole models with the same weights come to the same
 * numbers. */
#include "tests/support/little.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* --- a matrix of built-in rates --------------------------------------------------------------- */

static void check_gradients(const struct rig *a, const struct rig *b)
{
    int compared = 0;
    cr_assert_eq(a->state.count, b->state.count);
    for (uint32_t r = 0; r < a->state.count; r++) {
        const char *name = a->state.table->rows[r].name;
        if (strncmp(name, "grad/", 5) != 0)
            continue;
        struct tensor one = rig_row_tensor(a, name), other = rig_row_tensor(b, name);
        double apart = rig_distance(&one, &other), size = 0;
        for (int64_t i = 0; i < tensor_size(&one); i++)
            size += fabs(rig_element(&one, i));
        cr_assert(apart < 1e-5, "%s: %g apart", name, apart);
        compared += size > 1e-4;
    }
    cr_assert(compared >= 5, "only %d gradients are not zero", compared);
}

/* Losses and bounds to rounding of scores, gradients to that of sums in single precision. */
static void check_same(const char *built_in, const char *matrix, const char *base, int tokens)
{
    for (int head = HEAD_SCORE; head <= HEAD_CAVITY; head++) {
        struct little a, b;
        double one[LITTLE_CLEAN], other[LITTLE_CLEAN];
        struct little_setup setup = {.head = (enum little_head)head,
                                     .rate = built_in,
                                     .base = base,
                                     .tokens = tokens,
                                     .length = 2,
                                     .low = 0.05,
                                     .high = 3,
                                     .train = true};
        little_open(&a, &setup);
        setup.rate = matrix;
        little_open(&b, &setup);
        rig_fill(&a.rig, 0.5);
        rig_fill(&b.rig, 0.5);
        for (double t = 0.2; t < 1; t += 0.3) {
            double loss = little_train(&a, t);
            cr_assert_float_eq(little_train(&b, t), loss, 1e-6 * loss, "%s, head %d", built_in,
                               head);
            check_gradients(&a.rig, &b.rig);
        }
        little_bound(&a, 4, one);
        little_bound(&b, 4, other);
        for (int x0 = 0; x0 < a.clean; x0++)
            cr_assert_float_eq(one[x0], other[x0], 1e-6, "%s, head %d: %.9f and %.9f", built_in,
                               head, one[x0], other[x0]);
        little_close(&a);
        little_close(&b);
    }
}

Test(same_chain, a_matrix_of_uniform_rates)
{
    check_same("uniform",
               "{matrix: [[-2.0/3, 1.0/3, 1.0/3], [1.0/3, -2.0/3, 1.0/3], [1.0/3, 1.0/3, -2.0/3]]}",
               NULL, 3);
}

Test(same_chain, a_matrix_of_absorbing_rates)
{
    check_same("absorb", "{matrix: [[-1, 0, 0], [0, -1, 0], [1, 1, 0]]}", "{mask: 0.8}", 2);
}

/* --- schedules
 * ---------------------------------------------------------------------------------- */

/* The integral over t, for any weights, depends on where sigma starts and ends and not on the path:
 * here from 0.2 to 3, evenly in log sigma, in sigma, and in exp(-sigma). Each is integrated over
 * its own t. */
static void check_paths(enum little_head head, const char *rate)
{
    static const char *const noises[] = {
        "{geometric: {min: 0.2, max: 3}}", "{sigma: \"0.2 + 2.8 * t\"}",
        "{sigma: \"0.2 - log1p(-0.9391899373747821 * t)\"}"}; /* 1 - exp(-2.8) */
    double integral[3][LITTLE_CLEAN];
    for (int k = 0; k < 3; k++) {
        struct little w;
        struct little_setup setup = {.head = head,
                                     .rate = rate,
                                     .tokens = 3,
                                     .length = 2,
                                     .low = 0.2,
                                     .high = 3,
                                     .noise = noises[k]};
        little_open(&w, &setup);
        rig_fill(&w.rig, 0.5);
        w.t_min = 0;
        little_integral(&w, 16, NULL, integral[k]);
        for (int x0 = 0; x0 < w.clean; x0++) {
            cr_assert(integral[k][x0] > 0.01);
            cr_assert_float_eq(integral[k][x0], integral[0][x0], 1e-6, "%s, %s: %.9f, not %.9f",
                               rate, noises[k], integral[k][x0], integral[0][x0]);
        }
        little_close(&w);
    }
}

Test(same_chain, schedules_with_the_same_ends)
{
    check_paths(HEAD_POSTERIOR, "absorb");
    check_paths(HEAD_CAVITY, "uniform");
    check_paths(HEAD_POSTERIOR, "{matrix: [[-1, 0, 1], [1, -1, 0], [0, 1, -1]]}");
}
