/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random
 * numbers: as easy as 1, 2, 3"), through the Random123 headers. There is no state: a draw is a
 * function of who asks and when, so that it depends on no thread count, batch size or order.
 *
 *   key      64 bits, from the seed and the purpose ("train", "init", "sample", …)
 *   counter  iteration, stream, global index of the sequence, block of the element
 *
 * STREAM is a hash of the name path of the node that draws, fixed before any pass. One block gives
 * four words, or two 53-bit uniforms: element e of a row uses block e / 2. */
#ifndef SEDGE_BASE_RANDOM_H
#define SEDGE_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random_key {
    uint32_t word[2];
};

struct random_key random_key(uint64_t seed, const char *purpose);
uint32_t random_stream(const char *path);
/* XXH3, 64 bits: checksums of files and state. */
uint64_t hash_bytes(const void *data, size_t size);

/* The four words at one counter. */
void random_block(struct random_key key, uint32_t iteration, uint32_t stream, uint32_t sequence,
                  uint32_t block, uint32_t out[4]);

/* Uniform in [0, 1) with 53 bits: element ELEMENT of sequence SEQUENCE. */
double random_uniform(struct random_key key, uint32_t iteration, uint32_t stream, uint32_t sequence,
                      uint32_t element);

/* COUNT words for elements FIRST.. of one sequence, four elements a block (element e is word e % 4
 * of block e / 4): what dropout and initialisers use, 32 bits each. */
void random_words(struct random_key key, uint32_t iteration, uint32_t stream, uint32_t sequence,
                  uint32_t first, uint32_t count, uint32_t *out);

#endif
