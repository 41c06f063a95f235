/* Vocabularies of byte-level BPE as files, read and checked:
 *
 *   vocab.bpe + encoder.json   GPT-2's: a line `left right` a merge, by rank, after #version: 0.2;
 *                              and an object from symbols to ids, each of 0 to size - 1 once
 *   tokenizer.json             Hugging Face's, with a model BPE and a pre_tokenizer ByteLevel, or
 *                              one that splits by a regular expression before it
 *
 * Both write bytes in the letters of bpe_letter. All 256 must be symbols; a merge joins symbols
 * that are bytes or come from earlier merges, into one that has an id. Tokens added in a
 * tokenizer.json are symbols that no text has: as text they are encoded as any other text is. */
#ifndef SEDGE_DATA_BPE_FILE_H
#define SEDGE_DATA_BPE_FILE_H

#include "runtime/data/bpe.h"
#include "runtime/data/vocabulary_table.h"

#include <jansson.h>

/* A vocabulary that is put together, from whatever file. */
struct bpe_builder {
    struct diags *diags;
    struct arena *arena;
    struct span where;           /* of faults that have no place of their own */
    const struct source *source; /* the text whose lines are the merges; NULL: no text is */
    struct vocabulary *vocabulary;
    struct bpe_merge *merges;
    uint32_t merge_count, merge_capacity;
    bool *made; /* by id: it is a byte, or comes from a merge */
};

struct bpe_builder bpe_builder_new(struct diags *diags, struct arena *arena, struct span where);
/* The next symbol: TEXT in letters, LENGTH bytes of it. False after reporting FAULT_DATA; so are
 * the others. */
bool bpe_builder_symbol(struct bpe_builder *builder, const char *text, size_t length);
/* The next symbol as its bytes are, if it is not there already. */
bool bpe_builder_special(struct bpe_builder *builder, const char *text, size_t length);
/* All symbols are there: merges follow, `left right` in letters. */
bool bpe_builder_begin(struct bpe_builder *builder);
bool bpe_builder_merge(struct bpe_builder *builder, const char *line, size_t length);
struct vocabulary *bpe_builder_end(struct bpe_builder *builder, const char *pattern);

/* PLACE is a folder with either, or a tokenizer.json. NULL after reporting FAULT_DATA. */
struct vocabulary *bpe_open(struct diags *diags, struct arena *arena, const char *place);

/* Both files of GPT-2's format, into a folder that has neither; it is made where it is not there.
 * False after reporting FAULT_RUN; then neither file is there. */
bool bpe_write(struct diags *diags, const struct vocabulary *vocabulary, const char *folder);

/* Bytes in letters, NUL-terminated, in ARENA. */
char *bpe_spell(struct arena *arena, const char *text, size_t length);
/* `left right` of a merge, the same. */
char *bpe_spell_merge(struct arena *arena, const struct vocabulary *vocabulary, uint32_t rank);

#endif
