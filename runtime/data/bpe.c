/* Encoding by merges. Called by vocabulary.c; bpe_learn.c finds merges, bpe_file.c reads them. */
#include "runtime/data/bpe.h"

#include "graph/base/check.h"
#include "graph/base/random.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define NOTHING UINT64_MAX /* a slot without a pair */

/* A text is divided into parts about so long, at places where a piece surely begins. */
#define PART_SIZE ((size_t)1 << 18)

/* --- the alphabet of files ---------------------------------------------------------------- */

static bool is_printed(uint32_t byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

uint32_t bpe_letter(uint8_t byte)
{
    uint32_t before = 0; /* bytes below it that are written otherwise */
    if (is_printed(byte))
        return byte;
    for (uint32_t i = 0; i < byte; i++)
        before += !is_printed(i);
    return 0x100 + before;
}

int bpe_letter_byte(uint32_t code)
{
    if (code < 0x100)
        return is_printed(code) ? (int)code : -1;
    for (int i = 0; i < 0x100; i++)
        if (!is_printed((uint32_t)i) && code-- == 0x100)
            return i;
    return -1;
}

/* --- ranks of pairs ----------------------------------------------------------------------- */

struct bpe_slot {
    uint64_t pair;
    uint32_t rank;
};

static uint64_t pair_of(uint32_t left, uint32_t right)
{
    return (uint64_t)left << 32 | right;
}

static struct bpe_slot *slot_of(const struct bpe *bpe, uint64_t pair)
{
    /* Fibonacci hashing (Knuth, TAOCP 3, 6.4), after the high word is mixed into the low one. */
    uint64_t hash = (pair ^ pair >> 29) * 0x9e3779b97f4a7c15u;
    size_t mask = ((size_t)1 << bpe->slot_bits) - 1;
    size_t at = (size_t)(hash >> (64 - bpe->slot_bits));
    while (bpe->slots[at].pair != NOTHING && bpe->slots[at].pair != pair)
        at = (at + 1) & mask;
    return &bpe->slots[at];
}

uint32_t bpe_rank(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    return slot_of(bpe, pair_of(left, right))->rank;
}

struct bpe *bpe_new(struct arena *arena, const uint32_t byte[256], const struct bpe_merge *merges,
                    uint32_t count, const uint32_t *lengths, const struct pattern *pattern)
{
    struct bpe *bpe = arena_alloc(arena, sizeof *bpe);
    memcpy(bpe->byte, byte, sizeof bpe->byte);
    bpe->merges = merges;
    bpe->merge_count = count;
    bpe->lengths = lengths;
    bpe->pattern = pattern;
    bpe->window = BPE_WINDOW;
    bpe->slot_bits = 8;
    while ((size_t)1 << bpe->slot_bits < (size_t)count * 2)
        bpe->slot_bits++;
    size_t slots = (size_t)1 << bpe->slot_bits;
    bpe->slots = arena_new_array(arena, struct bpe_slot, slots);
    for (size_t i = 0; i < slots; i++)
        bpe->slots[i] = (struct bpe_slot){NOTHING, NONE};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t pair = pair_of(merges[i].left, merges[i].right);
        struct bpe_slot *slot = slot_of(bpe, pair);
        BUG_ON(slot->pair == pair);
        *slot = (struct bpe_slot){pair, i};
    }
    return bpe;
}

uint64_t bpe_hash(const struct bpe *bpe)
{
    const char *pattern = pattern_text(bpe->pattern);
    uint64_t parts[2] = {hash_bytes(bpe->merges, bpe->merge_count * sizeof *bpe->merges),
                         hash_bytes(pattern, strlen(pattern))};
    return hash_bytes(parts, sizeof parts);
}

/* --- merging at most a window of bytes ------------------------------------------------------ */

/* What one thread works with. */
struct merger {
    const struct bpe *bpe;
    uint32_t room;           /* bytes at once */
    uint32_t *id;            /* of the symbol that begins at a byte */
    uint32_t *before, *next; /* where its neighbours begin; the last one's next is the end */
    uint32_t *rank;          /* of it and the next one; NONE also where no symbol begins */
    uint64_t *heap;          /* rank and place of pairs, the lowest first; some are gone since */
    size_t heap_count;
    struct known *known;
};

/* Every byte brings in one pair, and every merge two. */
static void merger_room(struct merger *m, size_t room)
{
    BUG_ON(room >= NONE);
    if (room <= m->room)
        return;
    m->room = (uint32_t)room;
    m->id = heap_resize(m->id, room, sizeof *m->id);
    m->before = heap_resize(m->before, room, sizeof *m->before);
    m->next = heap_resize(m->next, room, sizeof *m->next);
    m->rank = heap_resize(m->rank, room, sizeof *m->rank);
    m->heap = heap_resize(m->heap, 3 * room, sizeof *m->heap);
}

static void heap_push(struct merger *m, uint32_t rank, uint32_t at)
{
    uint64_t entry = (uint64_t)rank << 32 | at;
    size_t i = m->heap_count++;
    for (; i > 0 && m->heap[(i - 1) / 2] > entry; i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = entry;
}

static uint64_t heap_pop(struct merger *m)
{
    uint64_t top = m->heap[0], last = m->heap[--m->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < m->heap_count; i = child) {
        child += child + 1 < m->heap_count && m->heap[child + 1] < m->heap[child];
        if (last <= m->heap[child])
            break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = last;
    return top;
}

/* The pair that begins at AT is a new one. */
static void rank_pair(struct merger *m, uint32_t at, uint32_t size)
{
    m->rank[at] = m->next[at] < size ? bpe_rank(m->bpe, m->id[at], m->id[m->next[at]]) : NONE;
    if (m->rank[at] != NONE)
        heap_push(m, m->rank[at], at);
}

/* The symbol at AT takes in the next one. */
static void merge_at(struct merger *m, uint32_t at, uint32_t size)
{
    uint32_t gone = m->next[at];
    m->id[at] = m->bpe->merges[m->rank[at]].result;
    m->rank[gone] = NONE;
    m->next[at] = m->next[gone];
    if (m->next[at] < size)
        m->before[m->next[at]] = at;
    rank_pair(m, at, size);
    if (at > 0)
        rank_pair(m, m->before[at], size);
}

/* Ids of SIZE bytes into OUT; returns how many. */
static size_t merge_window(struct merger *m, const char *text, size_t size, uint32_t *out)
{
    merger_room(m, size);
    uint32_t n = (uint32_t)size;
    m->heap_count = 0;
    for (uint32_t i = 0; i < n; i++) {
        m->id[i] = m->bpe->byte[(uint8_t)text[i]];
        m->before[i] = i - 1;
        m->next[i] = i + 1;
    }
    for (uint32_t i = 0; i < n; i++)
        rank_pair(m, i, n);
    while (m->heap_count) {
        uint64_t top = heap_pop(m);
        uint32_t at = (uint32_t)top;
        if (m->rank[at] == top >> 32)
            merge_at(m, at, n);
    }
    size_t count = 0;
    for (uint32_t at = 0; at < n; at = m->next[at])
        out[count++] = m->id[at];
    return count;
}

/* --- a piece of any length ------------------------------------------------------------------ */

/* Whether the symbols LEFT and RIGHT, which meet at TEXT, stay two when they are merged as one. */
static bool joins(struct merger *m, const char *text, uint32_t left, uint32_t right)
{
    uint32_t out[2 * BPE_SYMBOL_MAX];
    size_t before = m->bpe->lengths[left], after = m->bpe->lengths[right];
    return merge_window(m, text - before, before + after, out) == 2 && out[0] == left &&
           out[1] == right;
}

/* Window by window. Which merges cross the place between two symbols is decided by these two alone:
 * a row of symbols is the encoding of its text exactly when any two neighbours are the encoding of
 * theirs. So a window may begin where one of the symbols before it ended, and what comes out is
 * right if its first symbol stays apart from that one; else it begins a symbol earlier, and reaches
 * twice as far. */
static size_t merge_piece(struct merger *m, const char *text, size_t size, uint32_t *out)
{
    const uint32_t *lengths = m->bpe->lengths;
    size_t count = 0, at = 0, window = m->bpe->window;
    for (;;) {
        size_t take = size - at < window ? size - at : window;
        size_t n = merge_window(m, text + at, take, out + count);
        if (count && !joins(m, text + at, out[count - 1], out[count])) {
            at -= lengths[out[--count]];
            window *= 2;
            continue;
        }
        if (at + take == size)
            return count + n;
        /* The symbols near its end may be others once more of the text is seen. */
        size_t kept = 0;
        while (kept + lengths[out[count]] <= take - take / 4)
            kept += lengths[out[count++]];
        at += kept;
        window = kept ? window : window * 2;
    }
}

/* --- pieces that come again ----------------------------------------------------------------- */

#define KNOWN_BITS 15
#define KNOWN_BYTES 23
#define KNOWN_IDS 9

/* A short piece and its ids: each place of the table keeps the last piece that fell on it. */
struct known {
    uint64_t text[3]; /* its bytes and zeros; the last byte is its length */
    uint32_t count;   /* 0: none */
    uint32_t ids[KNOWN_IDS];
};
_Static_assert(sizeof(struct known) == 64, "one to a cache line");

static size_t encode_piece(struct merger *m, const char *text, size_t size, uint32_t *out)
{
    if (size > KNOWN_BYTES)
        return merge_piece(m, text, size, out);
    unsigned char padded[24] = {0};
    uint64_t key[3];
    memcpy(padded, text, size);
    padded[KNOWN_BYTES] = (unsigned char)size;
    memcpy(key, padded, sizeof key);
    uint64_t hash = (key[0] ^ key[1] * 0xff51afd7ed558ccdu ^ key[2] * 0xc4ceb9fe1a85ec53u);
    hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
    struct known *known = &m->known[hash >> (64 - KNOWN_BITS)];
    if (known->count && memcmp(known->text, key, sizeof key) == 0) {
        memcpy(out, known->ids, known->count * sizeof *out);
        return known->count;
    }
    size_t count = merge_piece(m, text, size, out);
    if (count <= KNOWN_IDS) {
        memcpy(known->text, key, sizeof key);
        memcpy(known->ids, out, count * sizeof *out);
        known->count = (uint32_t)count;
    }
    return count;
}

/* --- a text --------------------------------------------------------------------------------- */

struct part {
    size_t begin, end; /* bytes; its ids lie from BEGIN of the output on */
    size_t count;
};

static struct merger *merger_new(const struct bpe *bpe)
{
    struct merger *m = heap_zeroed(1, sizeof *m);
    m->bpe = bpe;
    m->known = heap_zeroed((size_t)1 << KNOWN_BITS, sizeof *m->known);
    return m;
}

static void merger_free(struct merger *m)
{
    free(m->id);
    free(m->before);
    free(m->next);
    free(m->rank);
    free(m->heap);
    free(m->known);
    free(m);
}

static bool encode_part(struct merger *m, struct splitter *splitter, const char *text,
                        struct part *part, uint32_t *out)
{
    const char *piece;
    size_t length;
    splitter_start(splitter, text + part->begin, part->end - part->begin);
    while (splitter_next(splitter, &piece, &length))
        part->count += encode_piece(m, piece, length, out + part->begin + part->count);
    return !splitter_failed(splitter);
}

static size_t divide(const struct bpe *bpe, const char *text, size_t size, struct part *parts)
{
    size_t count = 0;
    for (size_t at = 0; at < size; count++) {
        size_t end =
            size - at > PART_SIZE ? pattern_cut(bpe->pattern, text, size, at + PART_SIZE) : size;
        parts[count] = (struct part){.begin = at, .end = end};
        at = end;
    }
    return count;
}

bool bpe_encode(const struct bpe *bpe, const char *text, size_t size, int32_t *out, size_t *count)
{
    struct arena *scratch = arena_new();
    struct part *parts = arena_new_array(scratch, struct part, size / PART_SIZE + 1);
    size_t part_count = divide(bpe, text, size, parts);
    bool good = true;
#pragma omp parallel if (part_count > 1)
    {
        struct merger *m = merger_new(bpe);
        struct splitter *splitter = splitter_new(bpe->pattern);
#pragma omp for schedule(dynamic) reduction(&& : good)
        for (size_t i = 0; i < part_count; i++)
            good = encode_part(m, splitter, text, &parts[i], (uint32_t *)out) && good;
        splitter_free(splitter);
        merger_free(m);
    }
    *count = 0;
    for (size_t i = 0; i < part_count; i++) {
        memmove(out + *count, out + parts[i].begin, parts[i].count * sizeof *out);
        *count += parts[i].count;
    }
    arena_free(scratch);
    return good;
}
