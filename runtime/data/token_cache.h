/* Tokens of a corpus that were kept, so that a text is encoded once: safetensors in a folder, named
 * by a KEY, with the streams of the corpus before the split (`train`, `valid`, int32, and where
 * their documents begin, int64) and a digest of all of it.
 *
 * A cache is never trusted: one that is broken, or of another key, is none, and is made anew. It is
 * mapped, so that a text larger than memory can be learned from once it was encoded. */
#ifndef SEDGE_DATA_TOKEN_CACHE_H
#define SEDGE_DATA_TOKEN_CACHE_H

#include "graph/base/safetensors.h"
#include "runtime/data/stream.h"

/* The streams of KEY, which borrow their tokens until the file is closed (tensor_file_close); NULL,
 * and nothing reported, where they are not there whole. */
struct tensor_file *token_cache_open(struct arena *arena, const char *folder, uint64_t key,
                                     struct stream *train, struct stream *valid);

/* Keeps them, whole or not at all, in a folder that is made if need be. Where that cannot be, a
 * warning says so. */
void token_cache_write(struct diags *diags, const char *folder, uint64_t key,
                       const struct stream *train, const struct stream *valid);

#endif
