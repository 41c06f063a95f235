/* Philox through Random123, and hashing through xxHash. Called by the references of ops that draw,
 * by initialisers, by data loaders that shuffle, and for checksums of files and state. Kernels draw
 * whole tiles with a loop of their own; a test holds them to these functions. */
#include "graph/base/random.h"

#include <Random123/philox.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct random_key random_key(uint64_t seed, const char *purpose)
{
    uint64_t hash = XXH3_64bits_withSeed(purpose, strlen(purpose), seed);
    return (struct random_key){{(uint32_t)hash, (uint32_t)(hash >> 32)}};
}

uint32_t random_stream(const char *path)
{
    return (uint32_t)XXH3_64bits(path, strlen(path));
}

uint64_t hash_bytes(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

void random_block(struct random_key key, uint32_t iteration, uint32_t stream, uint32_t sequence,
                  uint32_t block, uint32_t out[4])
{
    philox4x32_ctr_t counter = {{iteration, stream, sequence, block}};
    philox4x32_key_t philox_key = {{key.word[0], key.word[1]}};
    philox4x32_ctr_t words = philox4x32_R(10, counter, philox_key);
    memcpy(out, words.v, sizeof words.v);
}

double random_uniform(struct random_key key, uint32_t iteration, uint32_t stream, uint32_t sequence,
                      uint32_t element)
{
    uint32_t word[4];
    random_block(key, iteration, stream, sequence, element / 2, word);
    const uint32_t *pair = word + 2 * (element % 2);
    uint64_t bits = (uint64_t)pair[0] << 32 | pair[1];
    return (double)(bits >> 11) * 0x1.0p-53;
}

void random_words(struct random_key key, uint32_t iteration, uint32_t stream, uint32_t sequence,
                  uint32_t first, uint32_t count, uint32_t *out)
{
    while (count > 0) {
        uint32_t word[4];
        random_block(key, iteration, stream, sequence, first / 4, word);
        uint32_t skip = first % 4;
        uint32_t take = 4 - skip < count ? 4 - skip : count;
        memcpy(out, word + skip, take * sizeof *out);
        out += take;
        first += take;
        count -= take;
    }
}
