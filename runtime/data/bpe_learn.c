/* Finds the merges of a vocabulary. Called by `sedge tokens --learn`.
 *
 * Pieces are counted once; after that the work is on the different ones. Each pair knows its count
 * and the words that it may be in, so that a merge touches these words only; a heap holds pairs by
 * count, and an entry whose count has fallen since is put back where it belongs. */
#include "runtime/data/bpe_learn.h"

#include "graph/base/check.h"
#include "graph/base/random.h"
#include "runtime/data/bpe_file.h"

#include <stdlib.h>
#include <string.h>

/* --- counting pieces ------------------------------------------------------------------------ */

struct word {
    uint64_t count;
    size_t begin; /* of its symbols */
    uint32_t length;
};

/* Different pieces: as bytes while they are counted, as symbols later. */
struct words {
    struct word *items;
    size_t count, capacity;
    uint32_t *symbols;
    size_t used, room;
    uint32_t *slots; /* hash table of index + 1 */
    size_t slot_count;
};

static void words_free(struct words *w)
{
    free(w->items);
    free(w->symbols);
    free(w->slots);
}

static bool is_word(const struct words *w, uint32_t index, const uint32_t *symbols, uint32_t length)
{
    const struct word *word = &w->items[index];
    return word->length == length &&
           memcmp(w->symbols + word->begin, symbols, length * sizeof *symbols) == 0;
}

static size_t word_slot(const struct words *w, const uint32_t *symbols, uint32_t length)
{
    size_t slot = hash_bytes(symbols, length * sizeof *symbols) & (w->slot_count - 1);
    while (w->slots[slot] && !is_word(w, w->slots[slot] - 1, symbols, length))
        slot = (slot + 1) & (w->slot_count - 1);
    return slot;
}

static void words_rehash(struct words *w)
{
    w->slot_count = w->slot_count ? w->slot_count * 2 : 1024;
    free(w->slots);
    w->slots = heap_zeroed(w->slot_count, sizeof *w->slots);
    for (size_t i = 0; i < w->count; i++) {
        const struct word *word = &w->items[i];
        w->slots[word_slot(w, w->symbols + word->begin, word->length)] = (uint32_t)i + 1;
    }
}

static void words_add(struct words *w, const uint32_t *symbols, uint32_t length, uint64_t count)
{
    if (w->count >= w->slot_count / 2)
        words_rehash(w);
    size_t slot = word_slot(w, symbols, length);
    if (w->slots[slot]) {
        w->items[w->slots[slot] - 1].count += count;
        return;
    }
    BUG_ON(w->count >= UINT32_MAX - 1);
    if (w->count == w->capacity) {
        w->capacity = w->capacity ? w->capacity * 2 : 1024;
        w->items = heap_resize(w->items, w->capacity, sizeof *w->items);
    }
    while (w->used + length > w->room) {
        w->room = w->room ? w->room * 2 : 1 << 16;
        w->symbols = heap_resize(w->symbols, w->room, sizeof *w->symbols);
    }
    memcpy(w->symbols + w->used, symbols, length * sizeof *symbols);
    w->items[w->count++] = (struct word){count, w->used, length};
    w->used += length;
    w->slots[slot] = (uint32_t)w->count;
}

/* A piece as the ids of its bytes; a long one as several. */
static void count_piece(struct words *w, const uint32_t byte[256], const char *piece, size_t length)
{
    uint32_t symbols[BPE_LEARN_PIECE];
    for (size_t at = 0; at < length; at += BPE_LEARN_PIECE) {
        size_t n = length - at < BPE_LEARN_PIECE ? length - at : BPE_LEARN_PIECE;
        for (size_t i = 0; i < n; i++)
            symbols[i] = byte[(uint8_t)piece[at + i]];
        words_add(w, symbols, (uint32_t)n, 1);
    }
}

static void count_part(struct words *w, struct splitter *splitter, const uint32_t byte[256],
                       const char *text, size_t size)
{
    const char *piece;
    size_t length;
    splitter_start(splitter, text, size);
    while (splitter_next(splitter, &piece, &length))
        count_piece(w, byte, piece, length);
    BUG_ON(splitter_failed(splitter));
}

#define PART_SIZE ((size_t)1 << 20)

static void count_text(struct words *all, const struct pattern *pattern, const uint32_t byte[256],
                       const struct symbol *text)
{
    size_t count = 0, *begin = heap_resize(NULL, text->length / PART_SIZE + 2, sizeof *begin);
    for (size_t at = 0; at < text->length;) {
        begin[count++] = at;
        at = text->length - at > PART_SIZE
                 ? pattern_cut(pattern, text->text, text->length, at + PART_SIZE)
                 : text->length;
    }
    begin[count] = text->length;
#pragma omp parallel if (count > 1)
    {
        struct words own = {0};
        struct splitter *splitter = splitter_new(pattern);
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < count; i++)
            count_part(&own, splitter, byte, text->text + begin[i], begin[i + 1] - begin[i]);
        splitter_free(splitter);
#pragma omp critical
        for (size_t i = 0; i < own.count; i++)
            words_add(all, own.symbols + own.items[i].begin, own.items[i].length,
                      own.items[i].count);
        words_free(&own);
    }
    free(begin);
}

/* --- pairs ---------------------------------------------------------------------------------- */

struct pair {
    uint32_t left, right;
    bool merged;
    uint32_t result;
    int64_t count;
    uint32_t *words; /* in which it may be */
    uint32_t word_count, word_capacity;
};

struct entry {
    int64_t count;
    uint32_t pair;
};

struct learner {
    struct words words;
    struct pair *pairs;
    uint32_t pair_count, pair_capacity;
    uint32_t *slots; /* hash table of index + 1 */
    size_t slot_count;
    struct entry *heap;
    size_t heap_count, heap_capacity;
    uint32_t *fresh; /* pairs whose count rose in this merge */
    uint32_t fresh_count, fresh_capacity;
};

static size_t pair_slot(const struct learner *l, uint32_t left, uint32_t right)
{
    uint64_t key = ((uint64_t)left << 32 | right);
    size_t slot = (size_t)((key ^ key >> 29) * 0x9e3779b97f4a7c15u >> 20) & (l->slot_count - 1);
    for (; l->slots[slot]; slot = (slot + 1) & (l->slot_count - 1)) {
        const struct pair *p = &l->pairs[l->slots[slot] - 1];
        if (p->left == left && p->right == right)
            break;
    }
    return slot;
}

static void pairs_rehash(struct learner *l)
{
    l->slot_count = l->slot_count ? l->slot_count * 2 : 4096;
    free(l->slots);
    l->slots = heap_zeroed(l->slot_count, sizeof *l->slots);
    for (uint32_t i = 0; i < l->pair_count; i++)
        l->slots[pair_slot(l, l->pairs[i].left, l->pairs[i].right)] = i + 1;
}

static uint32_t pair_find(struct learner *l, uint32_t left, uint32_t right)
{
    if (l->pair_count >= l->slot_count / 2)
        pairs_rehash(l);
    size_t slot = pair_slot(l, left, right);
    if (l->slots[slot])
        return l->slots[slot] - 1;
    BUG_ON(l->pair_count >= UINT32_MAX - 1);
    if (l->pair_count == l->pair_capacity) {
        l->pair_capacity = l->pair_capacity ? l->pair_capacity * 2 : 4096;
        l->pairs = heap_resize(l->pairs, l->pair_capacity, sizeof *l->pairs);
    }
    l->pairs[l->pair_count++] = (struct pair){.left = left, .right = right};
    l->slots[slot] = l->pair_count;
    return l->pair_count - 1;
}

static void pair_take(struct learner *l, uint32_t left, uint32_t right, uint64_t count)
{
    l->pairs[pair_find(l, left, right)].count -= (int64_t)count;
}

/* WORD has the pair COUNT times more. */
static void pair_give(struct learner *l, uint32_t left, uint32_t right, uint64_t count,
                      uint32_t word)
{
    uint32_t index = pair_find(l, left, right);
    struct pair *p = &l->pairs[index];
    p->count += (int64_t)count;
    if (p->word_count && p->words[p->word_count - 1] == word)
        return;
    if (p->word_count == p->word_capacity) {
        p->word_capacity = p->word_capacity ? p->word_capacity * 2 : 4;
        p->words = heap_resize(p->words, p->word_capacity, sizeof *p->words);
    }
    p->words[p->word_count++] = word;
    if (l->fresh_count == l->fresh_capacity) {
        l->fresh_capacity = l->fresh_capacity ? l->fresh_capacity * 2 : 1024;
        l->fresh = heap_resize(l->fresh, l->fresh_capacity, sizeof *l->fresh);
    }
    l->fresh[l->fresh_count++] = index;
}

/* --- the pair to merge next ------------------------------------------------------------------- */

static bool comes_before(const struct learner *l, struct entry a, struct entry b)
{
    const struct pair *p = &l->pairs[a.pair], *q = &l->pairs[b.pair];
    if (a.count != b.count)
        return a.count > b.count;
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static void heap_push(struct learner *l, struct entry entry)
{
    if (l->heap_count == l->heap_capacity) {
        l->heap_capacity = l->heap_capacity ? l->heap_capacity * 2 : 4096;
        l->heap = heap_resize(l->heap, l->heap_capacity, sizeof *l->heap);
    }
    size_t i = l->heap_count++;
    for (; i > 0 && comes_before(l, entry, l->heap[(i - 1) / 2]); i = (i - 1) / 2)
        l->heap[i] = l->heap[(i - 1) / 2];
    l->heap[i] = entry;
}

static struct entry heap_pop(struct learner *l)
{
    struct entry top = l->heap[0], last = l->heap[--l->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < l->heap_count; i = child) {
        child += child + 1 < l->heap_count && comes_before(l, l->heap[child + 1], l->heap[child]);
        if (!comes_before(l, l->heap[child], last))
            break;
        l->heap[i] = l->heap[child];
    }
    l->heap[i] = last;
    return top;
}

/* A pair that is a merge already, and is there again because another merge makes one of its parts,
 * comes before all: so it is when a text is encoded. */
static void push_fresh(struct learner *l)
{
    for (uint32_t i = 0; i < l->fresh_count; i++) {
        const struct pair *p = &l->pairs[l->fresh[i]];
        if (p->count > 0)
            heap_push(l, (struct entry){p->merged ? INT64_MAX : p->count, l->fresh[i]});
    }
    l->fresh_count = 0;
}

/* False when no pair is left that occurs twice. */
static bool next_pair(struct learner *l, uint32_t *pair)
{
    while (l->heap_count) {
        struct entry top = heap_pop(l);
        int64_t now = l->pairs[top.pair].count;
        *pair = top.pair;
        if (now > 0 && (l->pairs[top.pair].merged || now == top.count))
            return now > 1 || l->pairs[top.pair].merged;
        if (now > 0 && now < top.count)
            heap_push(l, (struct entry){now, top.pair});
    }
    return false;
}

/* --- merging ---------------------------------------------------------------------------------- */

static void merge_word(struct learner *l, uint32_t index, uint32_t left, uint32_t right,
                       uint32_t result)
{
    struct word *w = &l->words.items[index];
    uint32_t *s = l->words.symbols + w->begin, n = 0;
    for (uint32_t i = 0; i < w->length; i++) {
        if (i + 1 == w->length || s[i] != left || s[i + 1] != right) {
            s[n++] = s[i];
            continue;
        }
        if (n) {
            pair_take(l, s[n - 1], left, w->count);
            pair_give(l, s[n - 1], result, w->count, index);
        }
        if (i + 2 < w->length) {
            pair_take(l, right, s[i + 2], w->count);
            pair_give(l, result, s[i + 2], w->count, index);
        }
        s[n++] = result;
        i++;
    }
    w->length = n;
}

static void merge_pair(struct learner *l, uint32_t index, uint32_t result)
{
    struct pair *p = &l->pairs[index];
    uint32_t left = p->left, right = p->right, count = p->word_count, *words = p->words;
    p->merged = true;
    p->result = result;
    p->words = NULL;
    p->word_count = p->word_capacity = 0;
    for (uint32_t i = 0; i < count; i++)
        merge_word(l, words[i], left, right, result);
    free(words);
    l->pairs[index].count = 0;
    push_fresh(l);
}

static void count_pairs(struct learner *l)
{
    for (size_t i = 0; i < l->words.count; i++) {
        const struct word *w = &l->words.items[i];
        const uint32_t *s = l->words.symbols + w->begin;
        for (uint32_t k = 0; k + 1 < w->length; k++)
            pair_give(l, s[k], s[k + 1], w->count, (uint32_t)i);
    }
    /* Once each, with the count that it has come to. */
    l->fresh_count = 0;
    for (uint32_t i = 0; i < l->pair_count; i++)
        heap_push(l, (struct entry){l->pairs[i].count, i});
}

static void learner_free(struct learner *l)
{
    words_free(&l->words);
    for (uint32_t i = 0; i < l->pair_count; i++)
        free(l->pairs[i].words);
    free(l->pairs);
    free(l->slots);
    free(l->heap);
    free(l->fresh);
}

/* --- the vocabulary --------------------------------------------------------------------------- */

/* The id of the symbol that a pair makes: a new one, but where another pair has made the same. */
static uint32_t join(struct bpe_builder *b, const struct pair *p)
{
    struct vocabulary *v = b->vocabulary;
    size_t left = v->lengths[p->left], right = v->lengths[p->right];
    char joined[BPE_LEARN_PIECE];
    memcpy(joined, v->symbols[p->left], left);
    memcpy(joined + left, v->symbols[p->right], right);
    vocabulary_add(v, b->arena, joined, left + right);
    return (uint32_t)vocabulary_find(v, joined, left + right);
}

static void add_merge(struct bpe_builder *b, const struct pair *p, uint32_t result)
{
    b->merges =
        arena_grow(b->arena, b->merges, b->merge_count, &b->merge_capacity, sizeof *b->merges);
    b->merges[b->merge_count++] = (struct bpe_merge){p->left, p->right, result};
}

static void find_merges(struct learner *l, struct bpe_builder *b, uint32_t symbols)
{
    uint32_t index;
    while (next_pair(l, &index)) {
        const struct pair *p = &l->pairs[index];
        uint32_t result = p->result;
        if (!p->merged) {
            if (b->vocabulary->size == symbols)
                return;
            result = join(b, p);
            add_merge(b, p, result);
        }
        merge_pair(l, index, result);
    }
}

/* The bytes in the order of their letters. */
static void add_bytes(struct bpe_builder *b, uint32_t byte[256])
{
    for (uint32_t code = 0; code < 0x200; code++) {
        int value = bpe_letter_byte(code);
        if (value < 0)
            continue;
        byte[value] = b->vocabulary->size;
        vocabulary_add(b->vocabulary, b->arena, (const char[]){(char)value}, 1);
    }
}

struct vocabulary *bpe_learn(struct arena *arena, const struct symbol *texts, size_t count,
                             uint32_t size)
{
    static const char end[] = "<|endoftext|>";
    BUG_ON(size < BPE_LEARN_LEAST);
    struct diags *diags = diags_new(arena);
    struct bpe_builder b = bpe_builder_new(diags, arena, (struct span){0});
    struct learner l = {0};
    struct pattern *pattern = pattern_new(diags, arena, pattern_gpt2, (struct span){0});
    uint32_t byte[256];
    add_bytes(&b, byte);
    for (size_t i = 0; i < count; i++)
        count_text(&l.words, pattern, byte, &texts[i]);
    count_pairs(&l);
    find_merges(&l, &b, size - 1);
    learner_free(&l);
    vocabulary_add(b.vocabulary, arena, end, sizeof end - 1);
    return bpe_builder_end(&b, pattern_gpt2);
}
