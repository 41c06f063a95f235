/* Windows over a stream: which tokens a row of a batch holds.
 *
 * JOINED, the stream is one text and windows lie across documents; else each document is cut by
 * itself, and what is left of it is a row that PADDING fills, or dropped without.
 *
 * Cut windows begin STEP tokens after each other: at LENGTH they divide the stream or document;
 * below it each shows LENGTH - STEP tokens that the one before it has, and the last one is moved
 * back until it ends where its text ends. Drawn windows begin anywhere. */
#ifndef SEDGE_DATA_WINDOWS_H
#define SEDGE_DATA_WINDOWS_H

#include "graph/base/arena.h"
#include "graph/base/random.h"
#include "runtime/data/stream.h"

struct windows {
    const struct stream *stream;
    uint32_t length, step; /* 1 <= step <= length */
    bool joined, padding;
    /* Before each document, and after the last: cut windows, and places where one can begin. */
    const uint64_t *cut, *begun; /* documents + 1 (joined: 2) */
    size_t documents;
};

struct window {
    size_t start;    /* in the stream */
    uint32_t tokens; /* there are; what is missing to LENGTH is padding */
    uint32_t seen;   /* the first so many were in the window before this one */
};

/* STREAM is borrowed. */
void windows_open(struct windows *windows, struct arena *arena, const struct stream *stream,
                  uint32_t length, uint32_t step, bool joined, bool padding);

/* Cut windows, in the order of the text. */
size_t windows_count(const struct windows *windows);
struct window windows_at(const struct windows *windows, size_t index);

/* A window that begins anywhere, each place as likely: a function of the arguments alone. There
 * must be windows. */
struct window windows_draw(const struct windows *windows, struct random_key key, uint32_t iteration,
                           uint32_t sequence);

/* Which of COUNT windows comes at place AT of an epoch: for each EPOCH an order of its own, in
 * which each comes once; a function of the arguments alone. */
size_t windows_order(struct random_key key, uint32_t epoch, size_t at, size_t count);

#endif
