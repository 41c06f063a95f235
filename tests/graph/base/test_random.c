/* Counter-based random numbers: known answers, agreement of the ways to draw, uniformity. */
#include "graph/base/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* Known answers of philox4x32 with 10 rounds, from tests/kat_vectors of Random123 1.14.0. */
static const struct {
    uint32_t counter[4], key[2], words[4];
} known_answers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

Test(random, known_answers)
{
    for (size_t i = 0; i < sizeof known_answers / sizeof *known_answers; i++) {
        const uint32_t *c = known_answers[i].counter, *k = known_answers[i].key;
        uint32_t out[4];
        random_block((struct random_key){{k[0], k[1]}}, c[0], c[1], c[2], c[3], out);
        for (int j = 0; j < 4; j++)
            cr_assert_eq(out[j], known_answers[i].words[j], "vector %zu, word %d: %08x", i, j,
                         out[j]);
    }
}

/* The first three words of the zero vector above, put together by hand as random.h says. */
Test(random, uniform_takes_53_bits_of_two_words)
{
    struct random_key key = {{0, 0}};
    double first = (double)(0x6627e8d5e169c58dULL >> 11) / 9007199254740992.0;
    double second = (double)(0xbc57ac4c9b00dbd8ULL >> 11) / 9007199254740992.0;
    cr_assert_eq(random_uniform(key, 0, 0, 0, 0), first);
    cr_assert_eq(random_uniform(key, 0, 0, 0, 1), second);
}

Test(random, uniform_element_names_the_block)
{
    struct random_key key = random_key(7, "train");
    uint32_t out[4];
    random_block(key, 3, 4, 5, 6, out);
    uint64_t bits = (uint64_t)out[2] << 32 | out[3];
    cr_assert_eq(random_uniform(key, 3, 4, 5, 13), (double)(bits >> 11) * 0x1.0p-53);
}

Test(random, words_do_not_depend_on_where_a_call_starts)
{
    struct random_key key = random_key(1, "init");
    uint32_t whole[32];
    for (uint32_t block = 0; block < 8; block++)
        random_block(key, 9, 8, 7, block, whole + 4 * block);
    for (uint32_t first = 0; first < 16; first++) {
        for (uint32_t count = 0; count <= 16; count++) {
            uint32_t part[17];
            memset(part, 0xee, sizeof part);
            random_words(key, 9, 8, 7, first, count, part);
            cr_assert_eq(memcmp(part, whole + first, count * sizeof *part), 0, "first %u count %u",
                         first, count);
            cr_assert_eq(part[count], 0xeeeeeeee, "first %u count %u writes past its end", first,
                         count);
        }
    }
}

Test(random, keys_and_streams_differ)
{
    struct random_key a = random_key(1, "train"), b = random_key(1, "sample");
    struct random_key c = random_key(2, "train"), d = random_key(1, "train");
    cr_assert_neq(memcmp(&a, &b, sizeof a), 0);
    cr_assert_neq(memcmp(&a, &c, sizeof a), 0);
    cr_assert_eq(memcmp(&a, &d, sizeof a), 0);
    cr_assert_neq(random_stream("train.x"), random_stream("train.t"));
}

/* XXH3 of nothing, and of one zero byte, from the self-test of xxHash 0.8.1 (xsum_sanity_check.c).
 */
Test(random, hash_is_xxh3)
{
    cr_assert_eq(hash_bytes("", 0), 0x2D06800538D394C2ULL);
    cr_assert_eq(hash_bytes("\0", 1), 0xC44BDFF4074EECDBULL);
}

#define BINS 256
#define DRAWS 65536

/* Chi-square of the counts against equal ones. With 255 degrees of freedom a right generator leaves
 * [179, 348] in one of 5000 seeds (quantiles 1e-4 and 1 - 1e-4, Wilson and Hilferty); the seed is
 * fixed, so this passes always or never. */
static void check_counts(const uint32_t counts[BINS], const char *what)
{
    double expected = (double)DRAWS / BINS, sum = 0;
    for (int i = 0; i < BINS; i++)
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    cr_assert(sum > 179 && sum < 348, "%s: chi-square %g", what, sum);
}

/* Draws run along each part of the counter in turn, the others standing still. */
Test(random, uniform_along_every_axis)
{
    static const char *const axes[] = {"iteration", "stream", "sequence", "element"};
    struct random_key key = random_key(20240607, "test");
    for (int axis = 0; axis < 4; axis++) {
        uint32_t high[BINS] = {0}, low[BINS] = {0}, at[4] = {1, 2, 3, 4};
        for (uint32_t i = 0; i < DRAWS; i++) {
            at[axis] = i;
            double u = random_uniform(key, at[0], at[1], at[2], at[3]);
            cr_assert(u >= 0 && u < 1);
            high[(int)(u * BINS)]++;
            /* The lowest 8 of the 53 bits. */
            low[(uint64_t)ldexp(u, 53) % BINS]++;
        }
        check_counts(high, axes[axis]);
        check_counts(low, axes[axis]);
    }
}

/* Pairs of neighbours in a 16 by 16 grid: an even marginal does not make draws independent. */
Test(random, neighbours_are_independent)
{
    struct random_key key = random_key(5, "test");
    uint32_t counts[BINS] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        double u = random_uniform(key, 0, 0, 0, i), v = random_uniform(key, 0, 0, 1, i);
        counts[(int)(u * 16) * 16 + (int)(v * 16)]++;
    }
    check_counts(counts, "pairs");
}
