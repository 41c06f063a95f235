/* place: gives each arena buffer an address so that no two that live at once overlap, in as little
 * memory as it can. Several priorities are tried; the search stops when the max-live lower bound of
 * the order is reached. */
#include "graph/base/check.h"
#include "passes/storage.h"

#include <stdlib.h>
#include <string.h>

/* Of the hill climb, when no priority reaches the bound; fewer where a turn looks at many pairs. */
#define CLIMB_TURNS 200
#define CLIMB_PAIRS 20000000
#define PROMOTIONS 8 /* of each priority, before that; fewer where they look at many pairs */
#define PROMOTION_PAIRS 30000000

/* What is placed, as a look over all of them wants it: when it lives, and where. */
struct spot {
    uint32_t first, last;
    int64_t from, to;
};

struct placer {
    struct storage *s;
    uint32_t *item; /* arena buffers */
    uint32_t count;
    const int64_t *load;
    int64_t *offset;     /* per item, of the current try */
    struct spot *placed; /* so far, by offset */
    uint64_t pairs;      /* that tries looked at */
    int64_t *best;
    int64_t best_bytes;
};

static const struct buffer *item_buffer(const struct placer *p, uint32_t item)
{
    return &p->s->buffers[p->item[item]];
}

/* The smallest gap that fits among the placed buffers alive at the same time, else above them. */
static int64_t best_gap(const struct placer *p, uint32_t placed, const struct buffer *b,
                        int64_t need)
{
    int64_t end = 0, best = -1, best_size = INT64_MAX;
    for (const struct spot *o = p->placed; o < p->placed + placed; o++) {
        if (b->first > o->last || o->first > b->last)
            continue;
        int64_t gap = o->from - end;
        if (gap >= need && gap < best_size) {
            best = end;
            best_size = gap;
        }
        end = o->to > end ? o->to : end;
    }
    return best >= 0 ? best : end;
}

/* Places the items in the order of SEQUENCE; returns the bytes needed. */
static int64_t place_all(struct placer *p, const uint32_t *sequence)
{
    int64_t top = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct buffer *b = item_buffer(p, sequence[i]);
        int64_t need = aligned(b->bytes), offset = best_gap(p, i, b, need), end = offset + need;
        uint32_t at = i;
        p->offset[sequence[i]] = offset;
        for (; at && p->placed[at - 1].from > offset; at--)
            p->placed[at] = p->placed[at - 1];
        p->placed[at] = (struct spot){b->first, b->last, offset, end};
        top = end > top ? end : top;
    }
    p->pairs += (uint64_t)p->count * p->count / 2;
    if (p->best_bytes < 0 || top < p->best_bytes) {
        p->best_bytes = top;
        memcpy(p->best, p->offset, p->count * sizeof *p->best);
    }
    return top;
}

/* --- priorities --------------------------------------------------------------------------- */

struct ranked {
    uint32_t item;
    int64_t major, minor;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->major != y->major)
        return x->major > y->major ? -1 : 1;
    if (x->minor != y->minor)
        return x->minor > y->minor ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

enum priority { BY_SIZE, BY_DURATION, BY_PROGRAM, BY_AREA, BY_LOAD, BY_LOAD_AND_SIZE, PRIORITIES };
static const char *const priority_names[] = {"by size",
                                             "by duration",
                                             "in program order",
                                             "by size times duration",
                                             "by load and duration",
                                             "by load and size"};

/* Per step: bytes of the buffers that are alive at it. */
static int64_t *step_loads(const struct placer *p, struct arena *arena)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < p->count; i++)
        last = item_buffer(p, i)->last > last ? item_buffer(p, i)->last : last;
    int64_t *load = arena_new_array(arena, int64_t, last + 2);
    for (uint32_t i = 0; i < p->count; i++) {
        load[item_buffer(p, i)->first] += aligned(item_buffer(p, i)->bytes);
        load[item_buffer(p, i)->last + 1] -= aligned(item_buffer(p, i)->bytes);
    }
    for (uint32_t k = 1; k <= last; k++)
        load[k] += load[k - 1];
    return load;
}

/* The largest while B is alive. */
static int64_t life_load(const int64_t *load, const struct buffer *b)
{
    int64_t most = 0;
    for (uint32_t k = b->first; k <= b->last; k++)
        most = load[k] > most ? load[k] : most;
    return most;
}

static void rank_items(const struct placer *p, enum priority how, struct ranked *rank,
                       uint32_t *sequence)
{
    for (uint32_t i = 0; i < p->count; i++) {
        const struct buffer *b = item_buffer(p, i);
        int64_t size = aligned(b->bytes), time = (int64_t)b->last - b->first + 1;
        rank[i] = (struct ranked){i, size, time};
        if (how == BY_DURATION)
            rank[i] = (struct ranked){i, time, size};
        else if (how == BY_PROGRAM)
            rank[i] = (struct ranked){i, -(int64_t)b->first, size};
        else if (how == BY_AREA)
            rank[i] = (struct ranked){i, size * time, size};
        else if (how == BY_LOAD)
            rank[i] = (struct ranked){i, life_load(p->load, b), time};
        else if (how == BY_LOAD_AND_SIZE)
            rank[i] = (struct ranked){i, life_load(p->load, b), size};
    }
    qsort(rank, p->count, sizeof *rank, compare_ranked);
    for (uint32_t i = 0; i < p->count; i++)
        sequence[i] = rank[i].item;
}

/* Where in SEQUENCE the buffer stands that ended highest in the last try. */
static uint32_t find_top(const struct placer *p, const uint32_t *sequence)
{
    uint32_t top = 0;
    int64_t most = -1;
    for (uint32_t i = 0; i < p->count; i++) {
        int64_t end = p->offset[sequence[i]] + aligned(item_buffer(p, sequence[i])->bytes);
        top = end > most ? i : top;
        most = end > most ? end : most;
    }
    return top;
}

static void move_item(uint32_t *sequence, uint32_t from, uint32_t to)
{
    uint32_t item = sequence[from];
    if (to <= from)
        memmove(&sequence[to + 1], &sequence[to], (from - to) * sizeof *sequence);
    else
        memmove(&sequence[from], &sequence[from + 1], (to - from) * sizeof *sequence);
    sequence[to] = item;
}

/* Moves what ended highest in the last try to the front, again and again. Leaves the best sequence
 * in BEST, if any is better than all before. */
static bool promote(struct placer *p, uint32_t *sequence, uint32_t *best)
{
    int64_t first = p->best_bytes;
    for (int turn = 0;
         turn < PROMOTIONS && p->best_bytes > p->s->bound && p->pairs < PROMOTION_PAIRS; turn++) {
        move_item(sequence, find_top(p, sequence), 0);
        int64_t before = p->best_bytes;
        if (place_all(p, sequence) < before)
            memcpy(best, sequence, p->count * sizeof *best);
    }
    return p->best_bytes < first;
}

/* Seeded, so that a plan is the same each time: moves one buffer further to the front of the
 * sequence, in turn the one that is in the way and any. */
static void climb(struct placer *p, uint32_t *sequence, int64_t bytes)
{
    uint64_t seed = 0x9E3779B97F4A7C15u;
    uint64_t pairs = (uint64_t)p->count * p->count + 1, most = CLIMB_PAIRS / pairs;
    uint64_t turns = most < CLIMB_TURNS ? most : CLIMB_TURNS;
    for (uint64_t turn = 0; turn < turns && p->best_bytes > p->s->bound; turn++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t any = (uint32_t)((seed >> 33) % p->count);
        uint32_t from = turn % 2 ? any : find_top(p, sequence);
        uint32_t to = (uint32_t)((seed >> 20) % (from + 1));
        move_item(sequence, from, to);
        int64_t now = place_all(p, sequence);
        if (now <= bytes) {
            bytes = now;
            continue;
        }
        move_item(sequence, to, from);
    }
}

bool pass_place(struct compile *c)
{
    struct storage *s = c->storage;
    struct arena *a = c->arena;
    struct placer p = {.s = s,
                       .item = arena_new_array(a, uint32_t, s->buffer_count),
                       .offset = arena_new_array(a, int64_t, s->buffer_count),
                       .placed = arena_new_array(a, struct spot, s->buffer_count),
                       .best = arena_new_array(a, int64_t, s->buffer_count),
                       .best_bytes = -1};
    for (uint32_t b = 1; b < s->buffer_count; b++)
        if (s->buffers[b].memory == MEMORY_ARENA)
            p.item[p.count++] = b;
    p.load = step_loads(&p, a);
    struct ranked *rank = arena_new_array(a, struct ranked, p.count + 1);
    uint32_t *sequence = arena_new_array(a, uint32_t, p.count + 1);
    uint32_t *best = arena_new_array(a, uint32_t, p.count + 1);
    s->placement = priority_names[0];
    for (int how = 0; how < PRIORITIES && p.best_bytes != s->bound; how++) {
        int64_t before = p.best_bytes;
        rank_items(&p, (enum priority)how, rank, sequence);
        place_all(&p, sequence);
        if (before < 0 || p.best_bytes < before) {
            s->placement = priority_names[how];
            memcpy(best, sequence, p.count * sizeof *best);
        }
    }
    for (int how = 0; how < PRIORITIES && p.best_bytes > s->bound && p.pairs < PROMOTION_PAIRS;
         how++) {
        rank_items(&p, (enum priority)how, rank, sequence);
        place_all(&p, sequence);
        if (promote(&p, sequence, best))
            s->placement = "the highest first, time and again";
    }
    if (p.best_bytes > s->bound) {
        int64_t before = p.best_bytes;
        climb(&p, best, before);
        if (p.best_bytes < before)
            s->placement = "by a hill climb";
    }
    for (uint32_t i = 0; i < p.count; i++)
        s->buffers[p.item[i]].offset = p.best[i];
    s->arena_bytes = p.count ? p.best_bytes : 0;
    return true;
}
