/* Unigram and bigram cross-entropies. Called by dataset.c. */
#include "runtime/data/anchor.h"

#include "graph/base/arena.h"
#include "graph/base/check.h"

#include <math.h>

/* Counts of pairs in an open hash table: as large as the pairs that occur, not V squared. */
struct pairs {
    struct arena *arena;
    uint64_t *keys; /* pair + 1; 0 where free */
    uint32_t *counts;
    size_t size; /* a power of two */
    size_t used;
};

static size_t pair_slot(const struct pairs *t, uint64_t key)
{
    /* Multiplying by 2^64 over the golden ratio and keeping the high bits (Knuth, TAOCP 3, 6.4). */
    size_t slot = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & (t->size - 1);
    while (t->keys[slot] != 0 && t->keys[slot] != key)
        slot = (slot + 1) & (t->size - 1);
    return slot;
}

static void pairs_resize(struct pairs *t, size_t size)
{
    struct pairs old = *t;
    t->size = size;
    t->keys = arena_new_array(t->arena, uint64_t, size);
    t->counts = arena_new_array(t->arena, uint32_t, size);
    for (size_t i = 0; i < old.size; i++)
        if (old.keys[i]) {
            size_t slot = pair_slot(t, old.keys[i]);
            t->keys[slot] = old.keys[i];
            t->counts[slot] = old.counts[i];
        }
}

static void pairs_add(struct pairs *t, uint64_t key)
{
    if (t->used >= t->size / 2)
        pairs_resize(t, t->size * 2);
    size_t slot = pair_slot(t, key);
    t->used += t->keys[slot] == 0;
    t->keys[slot] = key;
    t->counts[slot]++;
}

struct model {
    uint32_t vocab;
    size_t total;
    uint64_t *count; /* of a token */
    uint64_t *first; /* of a token as the first of a pair */
    struct pairs pairs;
};

static uint64_t pair_key(const struct model *m, int32_t a, int32_t b)
{
    return (uint64_t)a * m->vocab + (uint64_t)b + 1;
}

static struct model fit(struct arena *arena, const int32_t *train, size_t count, uint32_t vocab)
{
    struct model m = {.vocab = vocab, .total = count, .pairs = {.arena = arena}};
    m.count = arena_new_array(arena, uint64_t, vocab);
    m.first = arena_new_array(arena, uint64_t, vocab);
    pairs_resize(&m.pairs, 1024);
    for (size_t i = 0; i < count; i++) {
        BUG_ON(train[i] < 0 || (uint32_t)train[i] >= vocab);
        m.count[train[i]]++;
        if (i + 1 < count) {
            m.first[train[i]]++;
            pairs_add(&m.pairs, pair_key(&m, train[i], train[i + 1]));
        }
    }
    return m;
}

static double unigram_cost(const struct model *m, int32_t x)
{
    return log((double)m->total + m->vocab) - log((double)m->count[x] + 1);
}

static double bigram_cost(const struct model *m, int32_t x, int32_t y)
{
    uint32_t seen = m->pairs.counts[pair_slot(&m->pairs, pair_key(m, x, y))];
    return log((double)m->first[x] + m->vocab) - log((double)seen + 1);
}

struct anchor anchor_of(const double *values, size_t count)
{
    BUG_ON(count == 0);
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    double mean = sum / (double)count;
    double square = 0;
    for (size_t i = 0; i < count; i++)
        square += (values[i] - mean) * (values[i] - mean);
    double error = count < 2 ? NAN : sqrt(square / (double)(count - 1) / (double)count);
    return (struct anchor){.mean = mean, .error = error};
}

struct anchors anchors_measure(const int32_t *train, size_t train_count, uint32_t vocab,
                               const int32_t *valid, size_t windows, uint32_t length)
{
    BUG_ON(windows == 0 || length == 0 || vocab == 0);
    struct arena *arena = arena_new();
    struct model m = fit(arena, train, train_count, vocab);
    double *unigram = arena_new_array(arena, double, windows);
    double *bigram = arena_new_array(arena, double, windows);
    for (size_t w = 0; w < windows; w++) {
        const int32_t *x = valid + w * length;
        for (uint32_t i = 0; i < length; i++) {
            BUG_ON(x[i] < 0 || (uint32_t)x[i] >= vocab);
            double alone = unigram_cost(&m, x[i]);
            unigram[w] += alone / length;
            bigram[w] += (i == 0 ? alone : bigram_cost(&m, x[i - 1], x[i])) / length;
        }
    }
    struct anchors anchors = {.unigram = anchor_of(unigram, windows),
                              .bigram = anchor_of(bigram, windows)};
    arena_free(arena);
    return anchors;
}
