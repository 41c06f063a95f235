/* The workspace of an op that names a process: room for P of a table chain, for which columns of it
 * are needed, and for rows of doubles over the states. Flat chains need none. */
#ifndef SEDGE_CHAIN_ROOM_H
#define SEDGE_CHAIN_ROOM_H

#include "ops/kernels/reverse_law.h"

/* So many positions at most are worked on at once; each has so many rows. */
#define ROOM_SLOTS 64
#define ROOM_ROWS 4

static inline int64_t room_round(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}
static inline int64_t chain_room_bytes(const struct chain *chain)
{
    if (chain->kind == CHAIN_FLAT)
        return 0;
    int64_t row = room_round(chain->states * (int64_t)sizeof(double));
    return room_round(transition_bytes(chain)) +
           room_round(2 * chain->states * (int64_t)sizeof(int32_t)) + ROOM_SLOTS * ROOM_ROWS * row;
}
/* With a group of positions for each slot as well. */
static inline int64_t chain_back_bytes(const struct chain *chain)
{
    if (chain->kind == CHAIN_FLAT)
        return 0;
    return chain_room_bytes(chain) +
           ROOM_SLOTS * 3 * BACK_GROUP * chain->states * (int64_t)sizeof(double);
}

/* Row I of slot SLOT. */
static inline double *room_row(void *room, const struct chain *chain, int64_t slot, int i)
{
    int64_t row = room_round(chain->states * (int64_t)sizeof(double));
    return (double *)((char *)room + room_round(transition_bytes(chain)) +
                      room_round(2 * chain->states * (int64_t)sizeof(int32_t)) +
                      (slot * ROOM_ROWS + i) * row);
}

/* That of slot SLOT, in room of chain_back_bytes. */
static inline struct back_group room_back(void *room, const struct chain *chain, int64_t slot)
{
    int64_t each = (int64_t)BACK_GROUP * chain->states;
    double *first = (double *)((char *)room + chain_room_bytes(chain)) + slot * 3 * each;
    return (struct back_group){first, first + each, first + 2 * each};
}

/* The states among the COUNT of X0, ascending, in room of a table chain; returns how many. */
static inline int32_t room_columns(const struct chain *chain, const int32_t *x0, int64_t count,
                                   void *room, int32_t **columns)
{
    int32_t *list = (int32_t *)((char *)room + room_round(transition_bytes(chain)));
    int32_t *found = list + chain->states, n = 0;
    memset(found, 0, (size_t)chain->states * sizeof *found);
    for (int64_t i = 0; i < count; i++)
        found[x0[i]] = 1;
    for (int32_t y = 0; y < chain->states; y++)
        if (found[y])
            list[n++] = y;
    *columns = list;
    return n;
}

/* P at SIGMA, with the columns of the COUNT states of X0 (NULL: with all). */
static inline struct transition room_transition(const struct chain *chain, double sigma,
                                                const int32_t *x0, int64_t count, void *room,
                                                int threads)
{
    if (chain->kind == CHAIN_FLAT || !x0)
        return transition_make(chain, sigma, NULL, 0, room, threads);
    int32_t *columns, n = room_columns(chain, x0, count, room, &columns);
    return transition_make(chain, sigma, columns, n, room, threads);
}

/* d P / d sigma = Q P in the same columns, where a table transition has room to spare: [y] at
 * [x0 * states + y]. A position by itself would multiply by Q once more for every state it has. */
static inline const double *room_slopes(const struct transition *p, const int32_t *x0,
                                        int64_t count, void *room, int threads)
{
    const struct chain *chain = p->chain;
    int32_t *columns, n = room_columns(chain, x0, count, room, &columns);
#pragma omp parallel for schedule(static) num_threads(threads) if (n > 64)
    for (int32_t c = 0; c < n; c++) {
        int64_t at = (int64_t)columns[c] * chain->states;
        table_multiply(chain->rates, p->p + at, p->scratch + at);
    }
    return p->scratch;
}

#endif
