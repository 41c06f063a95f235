/* Building a vocabulary symbol by symbol; for vocabulary.c and vocabulary_file.c only. */
#ifndef SEDGE_DATA_VOCABULARY_TABLE_H
#define SEDGE_DATA_VOCABULARY_TABLE_H

#include "runtime/data/vocabulary.h"

/* Without symbols, or with all 256 bytes. */
struct vocabulary *vocabulary_new(struct arena *arena, enum tokenizer tokenizer);
/* Gives the next id to a copy of TEXT; false when the symbol is there already. *CAPACITY starts
 * at 0 and is the caller's to keep. */
bool vocabulary_add(struct vocabulary *vocabulary, struct arena *arena, uint32_t *capacity,
                    const char *text, size_t length);

#endif
