/* The scratch of attention: what its workspace rules ask for and its kernels lay out. Angles of a
 * rotation, where there is one, come first; then a slot for each (row, head) that can be at work.
 * Sizes in floats, multiples of 64 bytes. */
#ifndef SEDGE_ATTENTION_ROOM_H
#define SEDGE_ATTENTION_ROOM_H

#include <stdbool.h>
#include <stdint.h>

/* Tiles of queries by keys. Panels of any instruction set fit ATTENTION_PAD columns. */
#define ATTENTION_SLOTS 64 /* more do not work at once */
#define ATTENTION_QUERIES 64
#define ATTENTION_KEYS 64
#define ATTENTION_PAD 32

/* What a slot holds: packed panels of a head, tiles, numbers a query. */
struct attention_room {
    int64_t panels, tiles, rows;
};
#define ATTENTION_FORWARD ((struct attention_room){2, 1, 2})
#define ATTENTION_BACKWARD ((struct attention_room){5, 2, 1})

static inline int64_t attention_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* A panel of a head of D columns. */
static inline int64_t attention_panel(int64_t d)
{
    return attention_up(d, ATTENTION_PAD) * ATTENTION_KEYS;
}

/* A cosine and a sine for each position and pair of columns. */
static inline int64_t attention_angles(int64_t positions, int64_t d)
{
    return attention_up(positions * d, 16);
}

/* Where rows are rotated two panels more. */
static inline int64_t attention_slot(struct attention_room room, int64_t queries, int64_t d,
                                     bool turned)
{
    return (room.panels + (turned ? 2 : 0)) * attention_panel(d) +
           room.tiles * ATTENTION_QUERIES * ATTENTION_KEYS + room.rows * attention_up(queries, 16);
}

/* Bytes for TASKS pairs of a row and a head. */
static inline int64_t attention_room_bytes(struct attention_room room, int64_t tasks,
                                           int64_t queries, int64_t d, bool turned)
{
    int64_t slots = tasks < ATTENTION_SLOTS ? tasks : ATTENTION_SLOTS;
    return 4 * (slots * attention_slot(room, queries, d, turned) +
                (turned ? attention_angles(queries, d) : 0));
}

#endif
