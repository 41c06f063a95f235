/* The scratch of attention: what its workspace rules ask for and its kernels lay out. Angles of a
 * rotation, where there is one, come first; then a slot for each (row, head) that can be at work.
 * Sizes in floats, multiples of 64 bytes. */
#ifndef SEDGE_ATTENTION_ROOM_H
#define SEDGE_ATTENTION_ROOM_H

#include <stdbool.h>
#include <stdint.h>

/* Tiles of queries by keys. Lengths are cut in even parts, those of queries in whole rows of the
 * micro kernel; panels of any instruction set fit ATTENTION_PAD columns. Many keys at a time: what
 * is done once for a block of them, such as rotating a query, is done less often. Rows of scores
 * lie ATTENTION_STEP floats apart, so that those of one key lie in different sets of a cache. */
#define ATTENTION_SLOTS 64 /* more do not work at once */
#define ATTENTION_KEYS 256
#define ATTENTION_QUERIES 64
#define ATTENTION_ROWS 8 /* of the micro kernel, at most */
#define ATTENTION_PAD 32
#define ATTENTION_STEP (ATTENTION_KEYS + 16)

/* What a slot holds: panels of a block of keys, and of a tile of queries, with all columns of a
 * head; a strip; rows of scores; numbers a query. */
struct attention_room {
    int64_t keys, queries, scores, rows;
};
#define ATTENTION_FORWARD ((struct attention_room){3, 0, ATTENTION_ROWS, 2})
#define ATTENTION_BACKWARD                                                                         \
    ((struct attention_room){4, 2, 2 * (ATTENTION_QUERIES + ATTENTION_ROWS), 1})

static inline int64_t attention_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* Columns of a head of D, and up to KEYS keys: either may be those of a panel. It also has room for
 * the rows of a tile of queries. */
static inline int64_t attention_key_panel(int64_t d, int64_t keys)
{
    int64_t least = ATTENTION_QUERIES + ATTENTION_ROWS;
    int64_t some = attention_up(keys > least ? keys : least, ATTENTION_PAD);
    return attention_up(d, ATTENTION_PAD) * (some < ATTENTION_KEYS ? some : ATTENTION_KEYS);
}

static inline int64_t attention_query_panel(int64_t d)
{
    return attention_up(d, ATTENTION_PAD) * (ATTENTION_QUERIES + ATTENTION_ROWS);
}

static inline int64_t attention_strip(int64_t d)
{
    return attention_up(ATTENTION_ROWS * d, 16);
}

/* A cosine and a sine for each position and pair of columns. */
static inline int64_t attention_angles(int64_t positions, int64_t d)
{
    return attention_up(positions * d, 16);
}

static inline int64_t attention_slot(struct attention_room room, int64_t queries, int64_t keys,
                                     int64_t d)
{
    return room.keys * attention_key_panel(d, keys) + room.queries * attention_query_panel(d) +
           attention_strip(d) + room.scores * ATTENTION_STEP +
           room.rows * attention_up(queries, 16);
}

/* Bytes for TASKS pairs of a row and a head. */
static inline int64_t attention_room_bytes(struct attention_room room, int64_t tasks,
                                           int64_t queries, int64_t keys, int64_t d, bool turned)
{
    int64_t slots = tasks < ATTENTION_SLOTS ? tasks : ATTENTION_SLOTS;
    return 4 * (slots * attention_slot(room, queries, keys, d) +
                (turned ? attention_angles(queries, d) : 0));
}

/* Of attention to a cache, for TASKS such pairs: the scores of one query, up to LENGTH cached and
 * its own. */
static inline int64_t attention_cached_scores(int64_t length)
{
    return attention_up(length + 1, 16);
}
static inline int64_t attention_cached_slots(int64_t tasks)
{
    return tasks < ATTENTION_SLOTS ? tasks : ATTENTION_SLOTS;
}
static inline int64_t attention_cached_bytes(int64_t tasks, int64_t length)
{
    return 4 * attention_cached_slots(tasks) * attention_cached_scores(length);
}

#endif
