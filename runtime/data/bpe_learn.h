/* Learning a vocabulary of byte-level BPE from texts (Sennrich, Haddow, Birch 2016): of all pairs
 * of neighbouring symbols within pieces, the one that occurs most often becomes a symbol, again and
 * again. Of pairs that occur equally often the one whose left symbol has the lower id is taken,
 * then the one whose right has. So the result is a function of the texts and the size: of neither
 * their order nor the number of threads.
 *
 * Ids are laid out as GPT-2's: the bytes in the order of their letters, then what merges make, in
 * the order in which they were found, then <|endoftext|>. */
#ifndef SEDGE_DATA_BPE_LEARN_H
#define SEDGE_DATA_BPE_LEARN_H

#include "runtime/data/vocabulary.h"

#define BPE_LEARN_LEAST 257 /* symbols: the bytes and <|endoftext|> */
#define BPE_LEARN_MOST 10000000
/* A piece that is longer is learned from as several: no symbol becomes longer. */
#define BPE_LEARN_PIECE 1024

/* SIZE symbols from the pieces of COUNT texts by GPT-2's pattern. Fewer when no pair is left that
 * occurs twice. Lives in ARENA and refers to none of the texts. */
struct vocabulary *bpe_learn(struct arena *arena, const struct symbol *texts, size_t count,
                             uint32_t size);

#endif
