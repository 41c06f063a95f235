/* Unigram and bigram cross-entropies. Called by dataset.c. */
#include "runtime/data/anchor.h"

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

struct anchor_model {
    uint32_t vocab;
    size_t total;
    uint64_t *count; /* of a token */
    uint64_t *first; /* of a token as the first of a pair */
    struct pairs pairs;
};

static uint64_t pair_key(const struct anchor_model *m, int32_t a, int32_t b)
{
    return (uint64_t)a * m->vocab + (uint64_t)b + 1;
}

struct anchor_model *anchor_new(struct arena *arena, uint32_t vocab)
{
    struct anchor_model *m = arena_alloc(arena, sizeof *m);
    BUG_ON(vocab == 0);
    m->vocab = vocab;
    m->pairs.arena = arena;
    m->count = arena_new_array(arena, uint64_t, vocab);
    m->first = arena_new_array(arena, uint64_t, vocab);
    pairs_resize(&m->pairs, 1024);
    return m;
}

void anchor_train(struct anchor_model *m, const int32_t *tokens, size_t count)
{
    m->total += count;
    for (size_t i = 0; i < count; i++) {
        BUG_ON(tokens[i] < 0 || (uint32_t)tokens[i] >= m->vocab);
        m->count[tokens[i]]++;
        if (i + 1 < count) {
            m->first[tokens[i]]++;
            pairs_add(&m->pairs, pair_key(m, tokens[i], tokens[i + 1]));
        }
    }
}

static double unigram_cost(const struct anchor_model *m, int32_t x)
{
    return log((double)m->total + m->vocab) - log((double)m->count[x] + 1);
}

static double bigram_cost(const struct anchor_model *m, int32_t x, int32_t y)
{
    uint32_t seen = m->pairs.counts[pair_slot(&m->pairs, pair_key(m, x, y))];
    return log((double)m->first[x] + m->vocab) - log((double)seen + 1);
}

uint32_t anchor_score(const struct anchor_model *m, const int32_t *x, const bool *given,
                      uint32_t length, double *unigram, double *bigram)
{
    uint32_t scored = 0;
    *unigram = *bigram = 0;
    for (uint32_t i = 0; i < length; i++) {
        BUG_ON(x[i] < 0 || (uint32_t)x[i] >= m->vocab);
        if (given && given[i])
            continue;
        double alone = unigram_cost(m, x[i]);
        *unigram += alone;
        *bigram += i == 0 ? alone : bigram_cost(m, x[i - 1], x[i]);
        scored++;
    }
    return scored;
}

struct anchor anchor_of(const double *costs, const double *sizes, size_t count)
{
    BUG_ON(count == 0);
    double sum = 0, size = 0, square = 0;
    for (size_t i = 0; i < count; i++) {
        sum += costs[i];
        size += sizes[i];
    }
    double mean = sum / size;
    for (size_t i = 0; i < count; i++) {
        double apart = costs[i] - mean * sizes[i];
        square += apart * apart;
    }
    double error = count < 2 ? NAN : sqrt(square * (double)count / (double)(count - 1)) / size;
    return (struct anchor){.mean = mean, .error = error};
}
