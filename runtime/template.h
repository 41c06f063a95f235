/* What of a text is known before it is drawn: positions that hold a token, positions that may hold
 * some tokens, positions that are free. Called by `sedge sample`.
 *
 *     best of {mask:12} times      12 free positions ({mask} is one, {any:12} says the same)
 *     {set:abc}  {set:cat|dog}     a position that holds one of the symbols
 *     {not:abc}  {not:cat|dog}     a position that holds none of them
 *     {{  }}                       the braces themselves
 *
 * Symbols of a set are divided by `|` where one may have several characters (words, gpt2); else
 * each character stands for itself. */
#ifndef SEDGE_RUNTIME_TEMPLATE_H
#define SEDGE_RUNTIME_TEMPLATE_H

#include "runtime/data/vocabulary.h"

struct template_place {
    int32_t token;          /* -1: not known */
    const uint8_t *allowed; /* per symbol of the vocabulary; NULL: all */
};

struct template
{
    uint32_t count, capacity;
    struct template_place *places;
};

/* Appends what SOURCE says. EDGES as of vocabulary_encode, for the ends of the text. False after
 * reporting FAULT_DATA: a symbol outside the vocabulary, a set that leaves nothing, `____` written
 * for a mask, braces that say nothing known. */
bool template_read(struct diags *diags, struct arena *arena, const struct vocabulary *vocabulary,
                   const struct source *source, unsigned edges, struct template *out);

/* Appends COUNT free positions. */
void template_free(struct arena *arena, struct template *out, uint32_t count);

/* Whether a position is not known but has a set of its own. */
bool template_has_sets(const struct template *text);

#endif
