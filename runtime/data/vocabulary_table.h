/* Building a vocabulary symbol by symbol; for vocabulary.c and the files that read one only. */
#ifndef SEDGE_DATA_VOCABULARY_TABLE_H
#define SEDGE_DATA_VOCABULARY_TABLE_H

#include "runtime/data/vocabulary.h"

/* Without symbols; of `bytes` with all 256. */
struct vocabulary *vocabulary_new(struct arena *arena, enum tokenizer tokenizer);
/* Gives the next id to a copy of TEXT; false when the symbol is there already. */
bool vocabulary_add(struct vocabulary *vocabulary, struct arena *arena, const char *text,
                    size_t length);

#endif
