/* Text files as tokens: a training part, and a held-out part that is cut into windows. The parts
 * are split by position, never shuffled: windows of neighbouring text would leak into each other.
 *
 * Several files are one stream in the order given; each is encoded on its own. With a tokenizer
 * that does not read any bytes a UTF-8 byte-order mark at the start of a file is skipped. */
#ifndef SEDGE_DATA_TEXT_H
#define SEDGE_DATA_TEXT_H

#include "graph/base/random.h"
#include "runtime/data/vocabulary.h"

struct text_options {
    const char *const *files;
    uint32_t file_count;
    const char *valid_file; /* the held-out text; NULL: cut VALID off the end of FILES */
    double valid;           /* the share of the tokens that is held out, 0 to 1 */
    enum tokenizer tokenizer;
    const struct vocabulary *vocabulary; /* that is there already; NULL: made from all of FILES */
    uint32_t length;                     /* of a window */
    struct span where;                   /* the recipe's `data`, for faults that no file has */
};

struct text {
    const struct vocabulary *vocabulary;
    int32_t *train;
    size_t train_count;
    int32_t *valid;
    size_t valid_count;
    uint64_t hash; /* XXH3 of the one file, or of the list of the files' hashes, valid_file last */
};

/* False after reporting: a file that is missing, a folder, empty, not UTF-8 or FASTA; a symbol
 * outside the vocabulary; a part with tokens but shorter than one window, or a held-out share
 * that is not in 0..1. A share of 0 or 1 leaves one part empty and that is fine. Everything lives
 * in ARENA; no file stays open. */
bool text_read(struct diags *diags, struct arena *arena, const struct text_options *options,
               struct text *out);

/* Reports FAULT_DATA and returns false for a file that starts with `>` (FASTA). */
bool text_check_fasta(struct diags *diags, const struct source *source);

/* How many windows of LENGTH tokens fit into the held-out part without overlap. */
size_t text_window_count(size_t tokens, uint32_t length);

/* The start of a training window in a stream of TOKENS >= LENGTH: uniform over all starts, and a
 * function of its arguments alone. */
size_t text_window_start(struct random_key key, uint32_t iteration, uint32_t sequence,
                         size_t tokens, uint32_t length);

#endif
