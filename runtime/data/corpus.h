/* Files as tokens: documents of a format (format.h), encoded, in a training and a held-out stream.
 *
 * Documents follow each other in the order of the files. A symbol, the separator, may end each.
 * What is held out is a file of its own, or a share of the rest: its end, by tokens, or,
 * BY_DOCUMENT, whole documents chosen by a hash of what they say, so that the same document, or the
 * other strand of it, is never on both sides. Nothing is shuffled: windows of neighbouring text
 * would leak. */
#ifndef SEDGE_DATA_CORPUS_H
#define SEDGE_DATA_CORPUS_H

#include "runtime/data/format.h"
#include "runtime/data/stream.h"
#include "runtime/data/token_cache.h"

struct corpus_options {
    const char *const *files;
    uint32_t file_count;
    const char *valid_file; /* the held-out text; NULL: hold VALID of FILES out */
    double valid;           /* the share that is held out, 0 to 1 */
    bool by_document;
    enum tokenizer tokenizer;
    const struct vocabulary *vocabulary; /* that is there already; NULL: made from all of FILES */
    struct format_options format;
    const char *separator; /* a symbol; "none"; NULL: the vocabulary's own where the format ends its
                            * documents (\n, <|endoftext|>, [SEP]), else none */
    const char *cache;     /* a folder where tokens are kept (token_cache.h); NULL: nowhere */
    size_t cache_from;     /* bytes of data from which on they are */
    uint32_t length;       /* of a window */
    struct span where;     /* the recipe's `data`, for faults that no file has */
};

struct corpus {
    const struct vocabulary *vocabulary;
    struct stream train, valid;
    const struct format *format; /* of the first file */
    int32_t separator;           /* the symbol that ends documents, or -1 */
    struct tensor_file *cache;   /* what TRAIN and VALID borrow from, */
    struct reader mapped;        /* or TRAIN, from a file of ids */
    uint64_t hash; /* XXH3 of the one file, or of the list of the files' hashes, valid_file last; of
                    * what a compressed file holds */
};

/* False after reporting: a file that is missing, a folder, empty, broken or of no format that is
 * known, or without a document; a symbol outside the vocabulary; a part with tokens but shorter
 * than one window; a held-out share that is not in 0..1. A share of 0 or 1 leaves one part empty
 * and that is fine. The vocabulary lives in ARENA; corpus_close is due either way. */
bool corpus_read(struct diags *diags, struct arena *arena, const struct corpus_options *options,
                 struct corpus *out);
void corpus_close(struct corpus *corpus); /* the streams; also fine on {0} */

#endif
