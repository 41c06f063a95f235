/* The alphabet of a run: symbols and their ids, 0 to size - 1. The id SIZE is the mask of an
 * absorbing process; no symbol has it and only decoding knows it.
 *
 *   chars   Unicode code points, in their order
 *   bytes   all 256, whatever the text
 *   words   maximal runs of characters that are no blanks (space, \t, \n, \v, \f, \r), and
 *           *separators*. One space between two words is not a symbol: decoding puts it back.
 *           Any other run of blanks (a newline, two spaces, blanks at either end of the text) is
 *           one separator symbol, and decoding puts no space beside it. Punctuation stays with
 *           its word, as written.
 *   gpt2    byte-level byte-pair encoding (bpe.h) with the symbols and merges of files; any bytes
 *           are text. Symbols that no merge makes, as <|endoftext|>, have an id and are never found
 *           in a text.
 *
 *   bert    WordPiece (wordpiece.h) by the symbols of a file, in lower case and without accents;
 *           bert-cased as written. Blanks, what is dropped and unknown words are lost: decoding
 *           gives words with one space between them.
 *
 * The symbols of chars and words are those of the data; those of gpt2 and bert are read
 * (`gpt2:DIR`). But for bert, decoding what was encoded gives the same bytes again. */
#ifndef SEDGE_DATA_VOCABULARY_H
#define SEDGE_DATA_VOCABULARY_H

#include "runtime/data/source.h"

enum tokenizer {
    TOKENIZER_CHARS,
    TOKENIZER_BYTES,
    TOKENIZER_WORDS,
    TOKENIZER_GPT2,
    TOKENIZER_BERT,
    TOKENIZER_BERT_CASED,
    TOKENIZER_COUNT
};

const char *tokenizer_name(enum tokenizer tokenizer);
/* NAME is that of a tokenizer, or `NAME:PLACE`: *PLACE is where its files are, NULL where it does
 * not say. False, nothing reported, when there is no such tokenizer. */
bool tokenizer_find(const char *name, enum tokenizer *out, const char **place);
/* Whether it reads any bytes; else a text must be UTF-8 without NULs. */
bool tokenizer_any_bytes(enum tokenizer tokenizer);
/* Whether each symbol is one character or byte. */
bool tokenizer_single(enum tokenizer tokenizer);
/* Whether its symbols are those of files, not of the data. */
bool tokenizer_of_files(enum tokenizer tokenizer);
/* Whether it is WordPiece. */
bool tokenizer_wordpiece(enum tokenizer tokenizer);
/* The symbol that ends a document, where nothing else is said. */
const char *tokenizer_separator(enum tokenizer tokenizer);

/* A text that continues where it is cut: at an open end one space is the one between two words,
 * not a separator. A prompt is open after, the text between two holes on both sides. */
enum edges { EDGES_CLOSED = 0, EDGES_OPEN_BEFORE = 1, EDGES_OPEN_AFTER = 2 };

struct symbol {
    const char *text; /* into the text that was scanned: LENGTH bytes */
    size_t length;
};

/* The next symbol of TEXT from *AT, which moves past it; false at the end. Of chars, bytes and
 * words, whose symbols a text shows by itself. */
bool tokenizer_next(enum tokenizer tokenizer, unsigned edges, const char *text, size_t size,
                    size_t *at, struct symbol *out);

struct vocabulary {
    enum tokenizer tokenizer;
    uint32_t size;
    const char **symbols; /* by id: so many bytes of LENGTHS, and a NUL */
    uint32_t *lengths;
    uint32_t *slots;       /* hash table of id + 1, 0 where free */
    uint32_t slot_count;   /* a power of two */
    const struct bpe *bpe; /* of `gpt2` */
};

/* All symbols of COUNT texts (UTF-8, checked by the caller), sorted by code point; of `bytes` all
 * 256. Lives in ARENA and refers to none of the texts. */
struct vocabulary *vocabulary_from_texts(struct arena *arena, enum tokenizer tokenizer,
                                         const struct symbol *texts, size_t count);
/* The vocabulary in the files at PLACE, of a tokenizer that has such (bpe_file.h and wordpiece.h
 * say which); NULL after reporting FAULT_DATA. */
struct vocabulary *vocabulary_open(struct diags *diags, struct arena *arena,
                                   enum tokenizer tokenizer, const char *place);

/* A JSON object: "tokenizer", and "symbols" in the order of their ids (none for `bytes`); for
 * `gpt2` also "merges" by rank and the "pattern", with bytes in the letters of bpe_letter.
 * Writing: false after reporting FAULT_RUN. Reading: NULL after reporting FAULT_DATA, also for
 * symbols that this tokenizer could not have made. */
bool vocabulary_write(struct diags *diags, const struct vocabulary *vocabulary, const char *path);
struct vocabulary *vocabulary_read(struct diags *diags, struct arena *arena, const char *path);

/* XXH3 of all that decides how a text is encoded: the same vocabulary, whatever file it is from. */
uint64_t vocabulary_hash(const struct vocabulary *vocabulary);

/* The id of a symbol, or -1. */
int32_t vocabulary_find(const struct vocabulary *vocabulary, const char *text, size_t length);

/* Ids of the whole text, in ARENA; EDGES is a union of enum edges. False after reporting
 * FAULT_DATA where the text is not UTF-8 or has a symbol that the vocabulary has not, and where the
 * pattern of its pieces gives up. */
bool vocabulary_encode(const struct vocabulary *vocabulary, struct diags *diags,
                       struct arena *arena, const struct source *source, unsigned edges,
                       int32_t **ids, size_t *count);
/* The same into IDS, which has room for as many as SOURCE has bytes. */
bool vocabulary_encode_into(const struct vocabulary *vocabulary, struct diags *diags,
                            const struct source *source, unsigned edges, int32_t *ids,
                            size_t *count);

/* The text of COUNT ids, NUL-terminated, in ARENA; an id from SIZE on reads MASK. With `bytes` and
 * `gpt2` the text is whatever the bytes are, NUL and broken UTF-8 included: *SIZE (may be NULL) is
 * its length. */
char *vocabulary_decode(const struct vocabulary *vocabulary, struct arena *arena,
                        const int32_t *ids, size_t count, const char *mask, size_t *size);

#endif
