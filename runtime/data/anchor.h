/* Anchors: what the simplest models make of the same data, so that a loss can be read. The unigram
 * is what a network reaches that ignores all context, the bigram the first real bar.
 *
 * Both are fitted on the training tokens with add-one smoothing over the V symbols,
 *
 *     p(x) = (n(x) + 1) / (n + V),    p(y | x) = (n(x, y) + 1) / (n(x, .) + V),
 *
 * and scored on held-out windows, each on its own: the first token by the unigram, the others by
 * the bigram. */
#ifndef SEDGE_DATA_ANCHOR_H
#define SEDGE_DATA_ANCHOR_H

#include <stddef.h>
#include <stdint.h>

struct anchor {
    double mean;  /* cross-entropy, nats per token */
    double error; /* standard error over windows; NaN below two windows */
};

struct anchors {
    struct anchor unigram;
    struct anchor bigram;
};

/* VALID holds WINDOWS >= 1 windows of LENGTH >= 1 tokens, side by side; all ids are below VOCAB.
 * Without training tokens both are log VOCAB. */
struct anchors anchors_measure(const int32_t *train, size_t train_count, uint32_t vocab,
                               const int32_t *valid, size_t windows, uint32_t length);

/* Mean and standard error of COUNT numbers, in their order. */
struct anchor anchor_of(const double *values, size_t count);

#endif
