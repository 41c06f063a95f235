/* Rate matrices: both orders of the entries, bands and groups against their definition, recurrent
 * classes against reachability by squaring, the stationary law against Q law = 0. */
#include "graph/base/random.h"
#include "graph/base/rates.h"
#include "tests/graph/base/fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(rates, .init = open_arena, .fini = close_arena);

/* Q[y][x] by columns and by rows: both must hold the same. */
static double entry(const struct rates *r, int32_t y, int32_t x)
{
    double by_column = 0, by_row = 0;
    for (int64_t k = r->from_start[x]; k < r->from_start[x + 1]; k++)
        by_column += r->to[k] == y ? r->from_rate[k] : 0;
    for (int64_t k = r->into_start[y]; k < r->into_start[y + 1]; k++)
        by_row += r->of[k] == x ? r->into_rate[k] : 0;
    cr_assert_eq(by_column, by_row, "%d <- %d", (int)y, (int)x);
    return y == x ? -r->leave[x] : by_column;
}

/* A cyclic Q: 0 -> 1 at 1, 1 -> 2 at 2, 2 -> 0 at 4. Its transpose is another chain. */
static const double cyclic[] = {-1, 0, 4, 1, -2, 0, 0, 2, -4};
static const double cyclic_rows[] = {-1, 1, 0, 0, -2, 2, 4, 0, -4};

Test(rates, dense_in_both_conventions)
{
    const struct rates *r =
        rates_dense(diags, arena, cyclic, 3, NULL, "{matrix: q}", (struct span){0});
    cr_assert_not_null(r);
    cr_assert_eq(r->count, 3);
    cr_assert_eq(r->fastest, 4);
    cr_assert_str_eq(r->text, "{matrix: q}");
    for (int32_t y = 0; y < 3; y++)
        for (int32_t x = 0; x < 3; x++)
            cr_assert_eq(entry(r, y, x), cyclic[3 * y + x]);
    const struct rates *same =
        rates_dense_rows(diags, arena, cyclic_rows, 3, NULL, "", (struct span){0});
    const struct rates *transposed =
        rates_dense_rows(diags, arena, (const double[]){-1, 0, 1, 1, -1, 0, 0, 1, -1}, 3, NULL, "",
                         (struct span){0});
    cr_assert_eq(same->hash, r->hash);
    cr_assert_neq(transposed->hash, r->hash);
}

/* What a file rounds to ten digits is taken; the diagonal then makes columns sum to zero. */
Test(rates, diagonal_is_made_exact)
{
    const double q[] = {-1.0000000001, 0.3, 1, -0.3};
    const struct rates *r = rates_dense(diags, arena, q, 2, NULL, "", (struct span){0});
    cr_assert_not_null(r);
    cr_assert_eq(r->leave[0], 1);
    cr_assert_eq(r->leave[1], 0.3);
}

static void expect_refusal(const double *q, int32_t n, bool rows, const char *message)
{
    static const char *const names[] = {"a", "b", "c"};
    cr_assert_null(
        (rows ? rates_dense_rows : rates_dense)(diags, arena, q, n, names, "", (struct span){0}));
    cr_assert_str_eq(diags_render(diags, false), message);
}

Test(rates, refusals_name_the_column)
{
    static const char signs[] = "    rates of jumps are finite and at least 0; only the diagonal, "
                                "minus the rate of leaving, is negative\n";
    char text[400];
    snprintf(text, sizeof text, "sedge: error: the rate from `b` to `a` is -1\n%s", signs);
    expect_refusal((const double[]){-1, -1, 1, 1}, 2, false, text);
    snprintf(text, sizeof text, "sedge: error: the rate from `a` to `a` is nan\n%s", signs);
    expect_refusal((const double[]){NAN, 0, 0, 0}, 2, false, text);
    expect_refusal((const double[]){-1, 2, 1, -1}, 2, false,
                   "sedge: error: the column of `b` sums to 1, not to zero\n"
                   "    a column holds the rates of leaving one state, and on the diagonal minus "
                   "their sum\n");
    expect_refusal(cyclic_rows, 3, false,
                   "sedge: error: the column of `a` sums to 3, not to zero\n"
                   "    its rows sum to zero: it seems transposed; add `rows: true`\n");
    expect_refusal(cyclic, 3, true,
                   "sedge: error: the row of `a` sums to 3, not to zero\n"
                   "    its columns sum to zero: it seems transposed; leave `rows: true` out\n");
    expect_refusal((const double[]){0, 0, 0, 0}, 2, false,
                   "sedge: error: every rate is zero: nothing would ever be noised\n");
}

Test(rates, bands)
{
    const struct rates *line = rates_band(arena, 6, 2, false),
                       *ring = rates_band(arena, 6, 2, true);
    for (int32_t y = 0; y < 6; y++)
        for (int32_t x = 0; x < 6; x++) {
            int32_t apart = abs(y - x), round = 6 - apart < apart ? 6 - apart : apart;
            if (y == x)
                continue;
            cr_assert_eq(entry(line, y, x), apart <= 2);
            cr_assert_eq(entry(ring, y, x), round <= 2);
        }
    cr_assert_eq(line->leave[0], 2);
    cr_assert_eq(line->fastest, 4);
    cr_assert_eq(ring->leave[0], 4);
    cr_assert_str_eq(ring->text, "{band: {width: 2, ring: true}}");
    /* On a ring of 4 the state across is met from both sides, and counts once. */
    cr_assert_eq(entry(rates_band(arena, 4, 2, true), 2, 0), 1);
}

Test(rates, groups)
{
    const int32_t group[] = {0, 1, 0, 2, 0};
    const struct rates *r = rates_groups(arena, 5, group);
    for (int32_t y = 0; y < 5; y++)
        for (int32_t x = 0; x < 5; x++)
            if (y != x)
                cr_assert_eq(entry(r, y, x), group[y] == group[x] ? 1.0 / 3 : 0);
    cr_assert_eq(r->leave[1], 0);
    cr_assert_float_eq(r->leave[0], 2.0 / 3, 1e-15);
    cr_assert_str_eq(r->text, "{groups: [0, 1, 0, 2, 0]}");
}

/* --- classes ------------------------------------------------------------------------------ */

#define STATES 9

static const struct rates *sparse_chain(uint32_t seed, double density)
{
    double q[STATES * STATES] = {0};
    struct random_key key = random_key(seed, "rates");
    for (uint32_t i = 0; i < STATES * STATES; i++) {
        int32_t y = (int32_t)i / STATES, x = (int32_t)i % STATES;
        if (y != x && random_uniform(key, 0, 0, 0, i) < density)
            q[i] = 1 + random_uniform(key, 0, 0, 1, i);
    }
    q[STATES] = 1; /* 0 -> 1, so that there is a jump */
    for (int32_t x = 0; x < STATES; x++)
        for (int32_t y = 0; y < STATES; y++)
            q[x * STATES + x] -= y == x ? 0 : q[y * STATES + x];
    return rates_dense(diags, arena, q, STATES, NULL, "", (struct span){0});
}

Test(rates, classes_are_those_of_reachability)
{
    int32_t transient = 0, several = 0;
    for (uint32_t seed = 0; seed < 200; seed++) {
        const struct rates *r = sparse_chain(seed, 0.05 + 0.001 * seed);
        bool reach[STATES][STATES];
        for (int32_t x = 0; x < STATES; x++)
            for (int32_t y = 0; y < STATES; y++)
                reach[x][y] = x == y || entry(r, y, x) > 0;
        for (int32_t k = 0; k < STATES; k++)
            for (int32_t x = 0; x < STATES; x++)
                for (int32_t y = 0; y < STATES; y++)
                    reach[x][y] |= reach[x][k] && reach[k][y];
        int32_t class_of[STATES], classes = rates_classes(arena, r, class_of), largest = 0;
        for (int32_t x = 0; x < STATES; x++) {
            bool back = true;
            for (int32_t y = 0; y < STATES; y++)
                back &= !reach[x][y] || reach[y][x];
            cr_assert_eq(class_of[x] != 0, back, "seed %u state %d", seed, (int)x);
            for (int32_t y = 0; y < STATES; y++)
                if (class_of[x] && class_of[y])
                    cr_assert_eq(class_of[x] == class_of[y], reach[x][y], "seed %u", seed);
            largest = class_of[x] > largest ? class_of[x] : largest;
            transient += class_of[x] == 0;
        }
        cr_assert_eq(classes, largest);
        several += classes > 1;
    }
    cr_assert_gt(transient, 100); /* the chains were no trivial ones */
    cr_assert_gt(several, 20);
}

/* --- the stationary law ------------------------------------------------------------------- */

Test(rates, stationary_law_is_kept_by_q)
{
    int32_t tried = 0;
    for (uint32_t seed = 0; seed < 200; seed++) {
        const struct rates *r = sparse_chain(seed, 0.3);
        int32_t class_of[STATES];
        double law[STATES], sum = 0;
        if (rates_classes(arena, r, class_of) != 1)
            continue;
        tried++;
        rates_stationary(arena, r, law);
        for (int32_t y = 0; y < STATES; y++) {
            double slope = 0;
            for (int32_t x = 0; x < STATES; x++)
                slope += entry(r, y, x) * law[x];
            cr_assert_float_eq(slope, 0, 1e-14, "seed %u: %g", seed, slope);
            cr_assert_eq(law[y] > 0, class_of[y] == 1);
            sum += law[y];
        }
        cr_assert_float_eq(sum, 1, 1e-15);
    }
    cr_assert_gt(tried, 50);
}

/* More states than are taken out or gone through at once, by a number that divides into neither. */
Test(rates, stationary_law_of_many_states)
{
    enum { MANY = 701 };
    struct random_key key = random_key(4, "many");
    double *q = arena_new_array(arena, double, MANY *MANY);
    double *law = arena_new_array(arena, double, MANY), sum = 0;
    for (uint32_t x = 0; x < MANY; x++) {
        double leave = 0;
        for (uint32_t y = 0; y < MANY; y++)
            leave += q[y * MANY + x] = y == x ? 0 : random_uniform(key, 0, 0, x, y);
        q[x * MANY + x] = -leave;
    }
    rates_stationary(arena, rates_dense(diags, arena, q, MANY, NULL, "", (struct span){0}), law);
    for (int y = 0; y < MANY; y++) {
        double slope = 0;
        for (int x = 0; x < MANY; x++)
            slope += q[y * MANY + x] * law[x];
        cr_assert_float_eq(slope, 0, 1e-12 * law[y] * -q[y * MANY + y]);
        sum += law[y];
    }
    cr_assert_float_eq(sum, 1, 1e-13);
}

/* Of the cyclic chain in proportion to 1 / rate of leaving; of a band uniform. */
Test(rates, stationary_laws_that_are_known)
{
    const struct rates *r = rates_dense(diags, arena, cyclic, 3, NULL, "", (struct span){0});
    double law[8];
    rates_stationary(arena, r, law);
    cr_assert_float_eq(law[0], 4.0 / 7, 1e-15);
    cr_assert_float_eq(law[1], 2.0 / 7, 1e-15);
    cr_assert_float_eq(law[2], 1.0 / 7, 1e-15);
    rates_stationary(arena, rates_band(arena, 8, 1, false), law);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(law[i], 0.125);
    /* Rates twenty orders apart keep their digits: nothing is subtracted. */
    const double q[] = {-1e-10, 1e10, 1e-10, -1e10};
    rates_stationary(arena, rates_dense(diags, arena, q, 2, NULL, "", (struct span){0}), law);
    cr_assert_float_eq(law[1] * 1e20, 1, 1e-12);
}
