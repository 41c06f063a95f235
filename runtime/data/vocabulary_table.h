/* Building a vocabulary symbol by symbol; for what reads or makes one only. */
#ifndef SEDGE_DATA_VOCABULARY_TABLE_H
#define SEDGE_DATA_VOCABULARY_TABLE_H

#include "runtime/data/vocabulary.h"

/* Without symbols; of `bytes` with all 256. */
struct vocabulary *vocabulary_new(struct arena *arena, enum tokenizer tokenizer);
/* Gives the next id to a copy of TEXT; false when the symbol is there already. */
bool vocabulary_add(struct vocabulary *vocabulary, struct arena *arena, const char *text,
                    size_t length);
/* The symbols of a text that are not there yet, where a text shows them; those of `bytes` are. */
void vocabulary_add_text(struct vocabulary *vocabulary, struct arena *arena, const char *text,
                         size_t size);
/* Ids in the order of code points, when all symbols are there. */
void vocabulary_sort(struct vocabulary *vocabulary, struct arena *arena);

#endif
