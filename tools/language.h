/* The words of the model format that are neither ops nor keys of recipes, each explained. */
#ifndef SEDGE_TOOLS_LANGUAGE_H
#define SEDGE_TOOLS_LANGUAGE_H

#include <stdint.h>

struct language_word {
    const char *name;
    const char *text;    /* two or three sentences, in lines of at most 80 characters */
    const char *example; /* YAML */
};
extern const struct language_word language_words[];
extern const uint32_t language_word_count;

#endif
