/* Gathers statistics of samples. Called by `sedge judge`. */
#include "runtime/statistics.h"
#include "graph/base/arena.h"
#include "graph/base/random.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Different numbers, none of them 0. */
struct set {
    uint64_t *slots;
    size_t room, count; /* ROOM is a power of two, or 0 */
};

struct statistics {
    struct set grams[STATISTICS_GRAMS], samples, found;
    struct set own; /* n-grams of the sample at hand */
    uint64_t gram_count[STATISTICS_GRAMS], repeated, twice;
    uint64_t sample_count, tokens;
    double length_squares, entropy_sum, entropy_squares;
    int32_t *sorted; /* the sample at hand */
    size_t sorted_room;
};

/* --- sets --------------------------------------------------------------------------------- */

static bool place(uint64_t *slots, size_t room, uint64_t number)
{
    size_t at = (size_t)number & (room - 1);
    while (slots[at] && slots[at] != number)
        at = (at + 1) & (room - 1);
    bool new = !slots[at];
    slots[at] = number;
    return new;
}

static void grow(struct set *set)
{
    size_t room = set->room ? 2 * set->room : 1024;
    uint64_t *slots = heap_zeroed(room, sizeof *slots);
    for (size_t i = 0; i < set->room; i++)
        if (set->slots[i])
            place(slots, room, set->slots[i]);
    free(set->slots);
    set->slots = slots;
    set->room = room;
}

/* Whether it was not there yet. */
static bool add(struct set *set, uint64_t number)
{
    if (2 * set->count >= set->room)
        grow(set);
    bool new = place(set->slots, set->room, number ? number : 1);
    set->count += new;
    return new;
}

/* Keeps its room, unless that is of a much longer sample. */
static void clear(struct set *set)
{
    if (set->room > 16 * set->count + 1024) {
        free(set->slots);
        *set = (struct set){0};
    }
    if (set->count)
        memset(set->slots, 0, set->room * sizeof *set->slots);
    set->count = 0;
}

/* --- samples ------------------------------------------------------------------------------ */

struct statistics *statistics_new(void)
{
    return heap_zeroed(1, sizeof(struct statistics));
}

void statistics_free(struct statistics *s)
{
    for (int n = 0; n < STATISTICS_GRAMS; n++)
        free(s->grams[n].slots);
    free(s->samples.slots);
    free(s->found.slots);
    free(s->own.slots);
    free(s->sorted);
    free(s);
}

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* log n - sum c log c / n, over the counts c of the symbols. */
static double entropy(struct statistics *s, const int32_t *ids, size_t count)
{
    double sum = 0;
    if (count > s->sorted_room) {
        s->sorted = heap_resize(s->sorted, count, sizeof *s->sorted);
        s->sorted_room = count;
    }
    if (!count)
        return 0;
    memcpy(s->sorted, ids, count * sizeof *ids);
    qsort(s->sorted, count, sizeof *s->sorted, by_value);
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && s->sorted[next] == s->sorted[i];)
            next++;
        sum += (double)(next - i) * log((double)(next - i));
    }
    return log((double)count) - sum / (double)count;
}

void statistics_add(struct statistics *s, const int32_t *ids, size_t count)
{
    for (size_t n = 1; n <= STATISTICS_GRAMS && n <= count; n++)
        for (size_t i = 0; i + n <= count; i++) {
            add(&s->grams[n - 1], hash_bytes(ids + i, n * sizeof *ids));
            s->gram_count[n - 1]++;
        }
    clear(&s->own);
    for (size_t i = 0; i + STATISTICS_REPEAT <= count; i++)
        s->repeated += !add(&s->own, hash_bytes(ids + i, STATISTICS_REPEAT * sizeof *ids));
    double h = entropy(s, ids, count);
    s->twice += !add(&s->samples, hash_bytes(ids, count * sizeof *ids));
    s->entropy_sum += h;
    s->entropy_squares += h * h;
    s->length_squares += (double)count * (double)count;
    s->tokens += count;
    s->sample_count++;
}

static bool has(const struct set *set, uint64_t number)
{
    number = number ? number : 1;
    size_t at = (size_t)number & (set->room - 1);
    while (set->room && set->slots[at] && set->slots[at] != number)
        at = (at + 1) & (set->room - 1);
    return set->room && set->slots[at];
}

void statistics_find(struct statistics *s, const int32_t *ids, size_t count)
{
    uint64_t text = hash_bytes(ids, count * sizeof *ids);
    if (has(&s->samples, text))
        add(&s->found, text);
}

/* --- sums --------------------------------------------------------------------------------- */

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

/* Of COUNT numbers, from their sum and that of their squares; one has none. */
static double deviation(double sum, double squares, uint64_t count)
{
    if (count < 2)
        return NAN;
    double n = (double)count, variance = (squares - sum * sum / n) / (n - 1);
    return variance > 0 ? sqrt(variance) : 0;
}

void statistics_sum(const struct statistics *s, struct sample_statistics *out)
{
    double n = s->sample_count ? (double)s->sample_count : 1;
    *out = (struct sample_statistics){
        .samples = s->sample_count,
        .tokens = s->tokens,
        .length = (double)s->tokens / n,
        .length_deviation = deviation((double)s->tokens, s->length_squares, s->sample_count),
        .entropy = s->entropy_sum / n,
        .entropy_error = deviation(s->entropy_sum, s->entropy_squares, s->sample_count) / sqrt(n),
        .repeated = share(s->repeated, s->gram_count[STATISTICS_REPEAT - 1]),
        .twice = share(s->twice, s->sample_count),
        .found = share(s->found.count, s->samples.count)};
    for (int k = 0; k < STATISTICS_GRAMS; k++)
        out->distinct[k] = share(s->grams[k].count, s->gram_count[k]);
}
