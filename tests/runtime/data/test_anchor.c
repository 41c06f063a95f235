/* Anchors against counts made by hand. */
#include "runtime/data/anchor.h"

#include <criterion/criterion.h>
#include <math.h>

#define CLOSE 1e-14 /* a few roundings of numbers near 1 */

/* Of WINDOWS windows side by side; GIVEN in each, or NULL. */
static struct anchors measure(const int32_t *train, size_t count, uint32_t vocab,
                              const int32_t *valid, size_t windows, uint32_t length,
                              const bool *given)
{
    struct arena *arena = arena_new();
    struct anchor_model *m = anchor_new(arena, vocab);
    double *unigram = arena_new_array(arena, double, windows), *sizes;
    double *bigram = arena_new_array(arena, double, windows);
    sizes = arena_new_array(arena, double, windows);
    anchor_train(m, train, count);
    for (size_t i = 0; i < windows; i++)
        sizes[i] = anchor_score(m, valid + i * length, given ? given + i * length : NULL, length,
                                &unigram[i], &bigram[i]);
    struct anchors a = {anchor_of(unigram, sizes, windows), anchor_of(bigram, sizes, windows)};
    arena_free(arena);
    return a;
}

/* Training text 0 1 0 1 1, three symbols. Counts: n(0) = 2, n(1) = 3, n(2) = 0, of 5.
 * Pairs: 01 twice, 10 once, 11 once; as the first of a pair, 0 twice and 1 twice.
 * With add-one smoothing: p(0) = 3/8, p(1) = 4/8, p(2) = 1/8;
 * p(.|0) = 1/5 3/5 1/5, p(.|1) = 2/5 2/5 1/5, p(.|2) = 1/3 each. */
Test(anchor, counts_by_hand)
{
    static const int32_t train[] = {0, 1, 0, 1, 1};
    static const int32_t valid[] = {0, 1, 1, 2, 2, 0};
    struct anchors a = measure(train, 5, 3, valid, 2, 3, NULL);
    double u1 = -(log(3.0 / 8) + log(4.0 / 8) + log(4.0 / 8)) / 3;
    double u2 = -(log(1.0 / 8) + log(1.0 / 8) + log(3.0 / 8)) / 3;
    double b1 = -(log(3.0 / 8) + log(3.0 / 5) + log(2.0 / 5)) / 3;
    double b2 = -(log(1.0 / 8) + log(1.0 / 3) + log(1.0 / 3)) / 3;
    cr_assert_float_eq(a.unigram.mean, (u1 + u2) / 2, CLOSE);
    cr_assert_float_eq(a.bigram.mean, (b1 + b2) / 2, CLOSE);
    /* Of two numbers the standard error of the mean is half their distance. */
    cr_assert_float_eq(a.unigram.error, fabs(u1 - u2) / 2, CLOSE);
    cr_assert_float_eq(a.bigram.error, fabs(b1 - b2) / 2, CLOSE);
}

Test(anchor, one_window_has_no_error_and_no_training_is_uniform)
{
    static const int32_t valid[] = {3, 0, 6, 6};
    struct anchors a = measure(NULL, 0, 7, valid, 1, 4, NULL);
    cr_assert_float_eq(a.unigram.mean, log(7), CLOSE);
    cr_assert_float_eq(a.bigram.mean, log(7), CLOSE);
    cr_assert(isnan(a.bigram.error));
}

/* The counts of above, where the first window gives its first token and the second its last two. A
 * token that is given is a context all the same. The means are those of the four that are left. */
Test(anchor, what_is_given_is_not_scored)
{
    static const int32_t train[] = {0, 1, 0, 1, 1};
    static const int32_t valid[] = {0, 1, 1, 2, 2, 0};
    static const bool given[] = {1, 0, 0, 0, 1, 1};
    struct anchors a = measure(train, 5, 3, valid, 2, 3, given);
    double u1 = -2 * log(4.0 / 8), u2 = -log(1.0 / 8), u = (u1 + u2) / 3;
    double b1 = -log(3.0 / 5) - log(2.0 / 5), b2 = -log(1.0 / 8);
    cr_assert_float_eq(a.unigram.mean, u, CLOSE);
    cr_assert_float_eq(a.bigram.mean, (b1 + b2) / 3, CLOSE);
    double square = (u1 - 2 * u) * (u1 - 2 * u) + (u2 - u) * (u2 - u);
    cr_assert_float_eq(a.unigram.error, sqrt(square / 1 / 2) / 1.5, CLOSE);
}

/* Against a dense table: many symbols, so that the sparse one grows and collides. */
Test(anchor, sparse_counts_equal_dense_ones)
{
    enum { VOCAB = 300, COUNT = 20000, LENGTH = 50 };
    static int32_t text[COUNT];
    static double pair[VOCAB][VOCAB], first[VOCAB], count[VOCAB];
    uint32_t state = 1;
    for (int i = 0; i < COUNT; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        text[i] = (int32_t)((state >> 16) % VOCAB);
        count[text[i]]++;
        if (i > 0) {
            pair[text[i - 1]][text[i]]++;
            first[text[i - 1]]++;
        }
    }
    double sum = 0;
    for (int i = 0; i < COUNT; i++)
        sum -= i % LENGTH == 0
                   ? log((count[text[i]] + 1) / (COUNT + VOCAB))
                   : log((pair[text[i - 1]][text[i]] + 1) / (first[text[i - 1]] + VOCAB));
    struct anchors a = measure(text, COUNT, VOCAB, text, COUNT / LENGTH, LENGTH, NULL);
    cr_assert_float_eq(a.bigram.mean, sum / COUNT, 1e-12); /* 20,000 roundings, summed two ways */
}

Test(anchor, mean_and_error)
{
    static const double values[] = {1, 2, 3, 6}, sizes[] = {1, 1, 1, 1};
    struct anchor a = anchor_of(values, sizes, 4);
    cr_assert_float_eq(a.mean, 3, CLOSE);
    cr_assert_float_eq(a.error, sqrt(14.0 / 3 / 4), CLOSE);
}
