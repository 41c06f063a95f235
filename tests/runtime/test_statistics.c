/* Statistics of samples, against counting by hand and by comparing every pair. */
#include "graph/base/random.h"
#include "runtime/statistics.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct statistics *statistics;

static void set_up(void)
{
    statistics = statistics_new();
}

static void tear_down(void)
{
    statistics_free(statistics);
}

TestSuite(statistics, .init = set_up, .fini = tear_down);

static void assert_near(double got, double want)
{
    cr_assert(fabs(got - want) <= 1e-12 * (1 + fabs(want)), "%.17g, not %.17g", got, want);
}

Test(statistics, by_hand)
{
    const int32_t a[] = {1, 2, 1, 2, 1, 2, 1}, b[] = {5}, c[] = {1, 2, 3, 4};
    struct sample_statistics s;
    statistics_add(statistics, a, 7);
    statistics_add(statistics, b, 1);
    statistics_add(statistics, c, 4);
    statistics_add(statistics, b, 1);
    statistics_sum(statistics, &s);
    cr_assert(s.samples == 4 && s.tokens == 13);
    assert_near(s.length, 13 / 4.0);
    assert_near(s.length_deviation, sqrt((67 - 169 / 4.0) / 3)); /* 49 + 1 + 16 + 1 = 67 */
    double ha = -(4 / 7.0 * log(4 / 7.0) + 3 / 7.0 * log(3 / 7.0)), hc = log(4), sum = ha + hc;
    assert_near(s.entropy, sum / 4);
    assert_near(s.entropy_error, sqrt((ha * ha + hc * hc - sum * sum / 4) / 3 / 4));
    assert_near(s.distinct[0], 5 / 13.0); /* 1 2 3 4 5 */
    assert_near(s.distinct[1], 4 / 9.0);  /* 12 21 23 34 of 6 + 3 */
    assert_near(s.distinct[3], 3 / 5.0);  /* 1212 2121 1234 of 4 + 1 */
    assert_near(s.repeated, 2 / 5.0);     /* 1212 and 2121 once more */
    assert_near(s.twice, 1 / 4.0);
}

Test(statistics, found_elsewhere)
{
    const int32_t a[] = {1, 2}, b[] = {1, 2, 3}, c[] = {2, 1};
    struct sample_statistics s;
    statistics_find(statistics, a, 2);
    statistics_add(statistics, a, 2);
    statistics_add(statistics, a, 2);
    statistics_add(statistics, b, 3);
    statistics_find(statistics, c, 2);
    statistics_sum(statistics, &s);
    cr_assert(s.found == 0); /* what came before there was a sample is not looked at */
    statistics_find(statistics, a, 2);
    statistics_find(statistics, a, 2);
    statistics_sum(statistics, &s);
    assert_near(s.found, 0.5);
}

Test(statistics, of_nothing)
{
    struct sample_statistics s;
    statistics_sum(statistics, &s);
    cr_assert(s.samples == 0 && s.length == 0 && s.entropy == 0 && s.distinct[0] == 0);
    statistics_add(statistics, NULL, 0);
    statistics_add(statistics, NULL, 0);
    statistics_sum(statistics, &s);
    cr_assert(s.samples == 2 && s.length == 0 && s.entropy == 0 && s.repeated == 0);
    assert_near(s.twice, 0.5);
}

enum { SAMPLES = 40, LENGTH = 37, SYMBOLS = 3 };

static bool same(const int32_t *a, const int32_t *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* More n-grams than a set has room for at first, each compared with all before it. */
Test(statistics, by_pairs)
{
    static int32_t ids[SAMPLES][LENGTH];
    struct random_key key = random_key(1, "statistics");
    for (uint32_t i = 0; i < SAMPLES; i++) {
        for (uint32_t k = 0; k < LENGTH; k++)
            ids[i][k] = (int32_t)(random_uniform(key, 0, 0, i, k) * SYMBOLS);
        statistics_add(statistics, ids[i], LENGTH);
    }
    struct sample_statistics s;
    statistics_sum(statistics, &s);
    for (size_t n = 1; n <= STATISTICS_GRAMS; n++) {
        const size_t places = LENGTH - n + 1;
        size_t first = 0, repeated = 0;
        for (size_t i = 0; i < SAMPLES * places; i++) {
            const int32_t *gram = ids[i / places] + i % places;
            bool known = false, own = false;
            for (size_t k = 0; k < i; k++)
                if (same(ids[k / places] + k % places, gram, n)) {
                    known = true;
                    own |= k / places == i / places;
                }
            first += !known;
            repeated += own;
        }
        assert_near(s.distinct[n - 1], (double)first / (double)(SAMPLES * places));
        if (n == STATISTICS_REPEAT)
            assert_near(s.repeated, (double)repeated / (double)(SAMPLES * places));
    }
}
