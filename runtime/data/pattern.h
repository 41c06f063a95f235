/* Where a text may be cut before its symbols are looked for: a regular expression whose matches are
 * the *pieces*, within which byte-level BPE merges and across which it never does.
 *
 * The expression is read by PCRE2 with Unicode properties; `\s` and `\S` in it mean Unicode's
 * White_Space, as in the implementations that vocabularies were made with, and not PCRE2's own.
 * What lies between two matches is a piece as well, and so is each byte that is no UTF-8: pieces
 * side by side are the text again, whatever its bytes. Which characters are letters is said by the
 * Unicode version of PCRE2 (10.42: Unicode 14); later letters are "others" there. */
#ifndef SEDGE_DATA_PATTERN_H
#define SEDGE_DATA_PATTERN_H

#include "graph/base/diag.h"

/* That of GPT-2 (Radford et al. 2019, `encoder.py`): English contractions, then words, numbers and
 * others, each with the one space before it, then blanks. */
extern const char pattern_gpt2[];

struct pattern;

/* NULL after reporting FAULT_DATA at WHERE when TEXT is no expression. Lives in ARENA and may be
 * shared between threads. */
struct pattern *pattern_new(struct diags *diags, struct arena *arena, const char *text,
                            struct span where);
const char *pattern_text(const struct pattern *pattern);

/* The first place from AT on where a piece surely begins, whatever comes before and after it; SIZE
 * where none is known. Between such places a text is cut the same alone and in one. */
size_t pattern_cut(const struct pattern *pattern, const char *text, size_t size, size_t at);

/* One pass over a text; of one thread. */
struct splitter;

struct splitter *splitter_new(const struct pattern *pattern);
void splitter_free(struct splitter *splitter);
void splitter_start(struct splitter *splitter, const char *text, size_t size);
/* The next piece: true with its place in the text. False at the end, and where the expression
 * needs more work or memory for a match than it is given: splitter_failed tells. */
bool splitter_next(struct splitter *splitter, const char **piece, size_t *length);
bool splitter_failed(const struct splitter *splitter);

#endif
