/* Files that gzip compressed (RFC 1952), as a whole: the only file that knows zlib. */
#ifndef SEDGE_DATA_GZIP_H
#define SEDGE_DATA_GZIP_H

#include "runtime/data/source.h"

/* Whether SIZE bytes at TEXT begin as such a file does. */
bool gzip_recognize(const char *text, size_t size);

/* What SOURCE, a mapped file, holds compressed, in its place; several members follow each other, as
 * bgzip writes them. False after reporting FAULT_DATA: cut off, damaged, followed by something
 * else, or of nothing. SOURCE is closed with source_close either way. */
bool gzip_inflate(struct diags *diags, struct source *source);

#endif
