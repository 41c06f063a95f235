/* Anchors: what the simplest models make of the same data, so that a loss can be read. The unigram
 * is what a network reaches that ignores all context, the bigram the first real bar.
 *
 * Both are fitted on the training tokens with add-one smoothing over the V symbols,
 *
 *     p(x) = (n(x) + 1) / (n + V),    p(y | x) = (n(x, y) + 1) / (n(x, .) + V),
 *
 * and scored on held-out windows, each on its own: the first token by the unigram, the others by
 * the bigram. What is given of a window is not scored. */
#ifndef SEDGE_DATA_ANCHOR_H
#define SEDGE_DATA_ANCHOR_H

#include "graph/base/arena.h"

#include <stdbool.h>
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

struct anchor_model;

/* Without training tokens, where both cost log VOCAB. */
struct anchor_model *anchor_new(struct arena *arena, uint32_t vocab);
/* COUNT tokens that follow each other, ids below VOCAB. */
void anchor_train(struct anchor_model *model, const int32_t *tokens, size_t count);
/* Nats of what is not GIVEN (NULL: of all) of a window, in *UNIGRAM and *BIGRAM; returns how many
 * tokens that are. */
uint32_t anchor_score(const struct anchor_model *model, const int32_t *window, const bool *given,
                      uint32_t length, double *unigram, double *bigram);

/* The sum of COUNT costs over that of what they are costs of, and its standard error: to first
 * order, from how each cost differs from the mean times its size. */
struct anchor anchor_of(const double *costs, const double *sizes, size_t count);

#endif
