/* Tokens of documents, one after the other, in memory of their own: what a text becomes. */
#ifndef SEDGE_DATA_STREAM_H
#define SEDGE_DATA_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream {
    int32_t *ids; /* COUNT of them */
    size_t count;
    int64_t *starts; /* where each document begins, and COUNT after the last one */
    size_t documents;
    size_t id_room, start_room; /* of what was reserved; 0: somebody else's memory */
};

/* Reserves addresses for so many tokens in so many documents; memory is taken where they are
 * written. Ends the process where there are none, as an arena does. */
void stream_open(struct stream *stream, size_t tokens, size_t documents);
/* Tokens that are somebody else's, and are not written; STARTS, DOCUMENTS + 1 of them, are copied.
 * */
void stream_borrow(struct stream *stream, const int32_t *ids, size_t count, const int64_t *starts,
                   size_t documents);
/* Also fine on {0} and when closed already. */
void stream_close(struct stream *stream);

/* The next document has so many tokens, which were written behind those that are there. */
void stream_add(struct stream *stream, size_t tokens);

/* The last tokens from CUT on as a stream in TAIL, which borrows them; a document in which CUT lies
 * is two. STREAM keeps the rest. */
void stream_cut(struct stream *stream, size_t cut, struct stream *tail);

#endif
