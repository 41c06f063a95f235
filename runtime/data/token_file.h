/* A text as ids in a file, so that it is encoded once: safetensors with one tensor, `tokens`, int32
 * [n], and in the metadata
 *
 *   tokenizer    its name (gpt2)
 *   vocabulary   vocabulary_hash, 16 hexadecimal digits
 *   symbols      how many there are; each id is below
 *
 * Any program that reads safetensors reads it, mapped, without a copy. */
#ifndef SEDGE_DATA_TOKEN_FILE_H
#define SEDGE_DATA_TOKEN_FILE_H

#include "runtime/data/vocabulary.h"

/* Whole or not at all; false after reporting FAULT_RUN. */
bool token_file_write(struct diags *diags, const char *path, const struct vocabulary *vocabulary,
                      const int32_t *ids, size_t count);

/* Whether a text begins as such a file does. */
bool token_file_recognize(const struct source *source);
/* *IDS in ARENA, of the file that SOURCE names. False after reporting FAULT_DATA: it is compressed,
 * is of another vocabulary, or has an id without a symbol. */
bool token_file_read(struct diags *diags, struct arena *arena, const struct source *source,
                     const struct vocabulary *vocabulary, int32_t **ids, size_t *count);

/* Ids as numbers with blanks between them; false after reporting FAULT_DATA. */
bool token_text_read(struct diags *diags, struct arena *arena, const struct source *source,
                     const struct vocabulary *vocabulary, int32_t **ids, size_t *count);

#endif
