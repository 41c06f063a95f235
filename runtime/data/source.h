/* One text as it came: a mapped file or a string from the command line, the place of a byte in it,
 * and UTF-8. Everything in this folder that reports a fault in data does it through here. */
#ifndef SEDGE_DATA_SOURCE_H
#define SEDGE_DATA_SOURCE_H

#include "graph/base/diag.h"

struct source {
    const char *name; /* the path, or the option that was given the text: "--prefix" */
    const char *text; /* SIZE bytes, no NUL after them when mapped */
    size_t size;
    bool typed;         /* NAME is an option */
    uint32_t lines;     /* TEXT is a part of more: so many lines go before it, */
    const char *before; /* and this on its first line; or NULL */
    void *map;          /* NULL when TEXT is somebody else's */
    size_t map_size;
    char *inflated; /* NULL unless TEXT was compressed */
};

/* Maps the file read-only; one that gzip compressed is read, and the text is what it holds. False
 * after reporting FAULT_DATA: missing, a folder, not a regular file, not readable, empty, broken
 * gzip. OUT borrows PATH and is closed with source_close. */
bool source_open(struct diags *diags, const char *path, struct source *out);
void source_close(struct source *source); /* also fine on {0} and when closed already */

/* The span of LENGTH characters at byte OFFSET. Registers the line with DIAGS so that the message
 * can show it, which costs memory: call it only for an error. */
struct span source_span(struct diags *diags, const struct source *source, size_t offset,
                        uint32_t length);
/* A span that names the source and no line. */
struct span source_whole(struct diags *diags, const struct source *source);

/* What a fault in the text is: the command line's where it was typed there. */
enum fault source_fault(const struct source *source);

/* False after reporting when the text is not UTF-8 or holds a NUL byte. */
bool source_check_utf8(struct diags *diags, const struct source *source);

/* The bytes of the code point that TEXT starts with, LEFT bytes being there: 1 to 4, or 0 when
 * that is not UTF-8 (overlong forms and surrogates are not). *CODE may be NULL. */
uint32_t utf8_decode(const char *text, size_t left, uint32_t *code);
/* Code points in SIZE bytes; a byte that is not UTF-8 counts as one. */
size_t utf8_count(const char *text, size_t size);

#endif
