/* Byte-level byte-pair encoding (Sennrich, Haddow, Birch 2016; over bytes: Radford et al. 2019). A
 * text is cut into pieces (pattern.h); each begins as its bytes, and of all pairs of neighbours the
 * one of lowest rank is merged, the leftmost first, until no pair has a rank.
 *
 * Every byte is a symbol, so that any text has ids and they decode to the same bytes. Ids are a
 * function of the text alone: never of how it is divided among threads. Work is n log n in the
 * length of a piece, and memory beside the ids is the same for any text. */
#ifndef SEDGE_DATA_BPE_H
#define SEDGE_DATA_BPE_H

#include "runtime/data/pattern.h"

#define BPE_SYMBOL_MAX 4096 /* bytes of a symbol */
#define BPE_WINDOW 32768    /* bytes merged at once, of a piece that is longer */

struct bpe_merge {
    uint32_t left, right, result; /* ids */
};

struct bpe {
    uint32_t byte[256]; /* ids of the bytes */
    uint32_t merge_count;
    const struct bpe_merge *merges; /* by rank */
    const struct pattern *pattern;
    uint32_t window;         /* BPE_WINDOW; tests take less */
    const uint32_t *lengths; /* in bytes, of symbols by id: at most BPE_SYMBOL_MAX */
    struct bpe_slot *slots;  /* from pairs to ranks: a hash table, a power of two */
    uint32_t slot_bits;
};

/* MERGES, LENGTHS and PATTERN are kept. A part of a merge is a byte or the result of an earlier
 * one; no pair is there twice. Both are the caller's to check. */
struct bpe *bpe_new(struct arena *arena, const uint32_t byte[256], const struct bpe_merge *merges,
                    uint32_t count, const uint32_t *lengths, const struct pattern *pattern);

/* The rank of a pair, or UINT32_MAX. */
uint32_t bpe_rank(const struct bpe *bpe, uint32_t left, uint32_t right);

/* XXH3 of merges and pattern. */
uint64_t bpe_hash(const struct bpe *bpe);

/* Ids of a text into OUT, which has room for one a byte; *COUNT of them. False where the pattern
 * fails on the text. */
bool bpe_encode(const struct bpe *bpe, const char *text, size_t size, int32_t *out, size_t *count);

/* The alphabet in which files write bytes: the printable ones of Latin-1 as themselves, the others
 * as the characters from U+0100 on, in their order. */
uint32_t bpe_letter(uint8_t byte);
/* -1: no byte is written so. */
int bpe_letter_byte(uint32_t code);

#endif
