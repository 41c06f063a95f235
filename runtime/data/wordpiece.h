/* WordPiece, the tokens of BERT (Devlin et al. 2019), by a vocab.txt: a symbol a line, its id the
 * line's number from 0; symbols that go on with a word begin with `##`.
 *
 * A text is first made plain: control characters are dropped; with lower case, characters are
 * decomposed and lose their accents (category Mn). Words end at blanks; punctuation and ideographs
 * are words by themselves. Of each word the longest symbol that it begins with is taken, then of
 * the rest; a word of more than 100 characters, or with a rest that no symbol begins, is [UNK]. So
 * decoding gives no text back but what is left of it, with one space between words.
 *
 * [CLS], [SEP] and the like are not added, and as text they are text. Ids are those of Hugging
 * Face's BertNormalizer, BertPreTokenizer and WordPiece, but where two marks that are not dropped
 * would change places when decomposed; categories are those of utf8proc's version of Unicode, which
 * is newer than theirs. */
#ifndef SEDGE_DATA_WORDPIECE_H
#define SEDGE_DATA_WORDPIECE_H

#include "runtime/data/vocabulary.h"

#define WORDPIECE_UNKNOWN "[UNK]"

/* PLACE is a folder with a vocab.txt, or that file. NULL after reporting FAULT_DATA. */
struct vocabulary *wordpiece_open(struct diags *diags, struct arena *arena,
                                  enum tokenizer tokenizer, const char *place);

/* Ids of UTF-8 text into OUT, which has room for one a byte; returns how many. */
size_t wordpiece_encode(const struct vocabulary *vocabulary, const char *text, size_t size,
                        int32_t *out);

#endif
