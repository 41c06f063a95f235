/* Where windows lie in a stream. Called by dataset.c. */
#include "runtime/data/windows.h"

#include "graph/base/check.h"

#include <math.h>

/* --- of one document -------------------------------------------------------------------------- */

static uint64_t count_cut(const struct windows *w, uint64_t tokens)
{
    if (tokens < w->length)
        return w->padding && tokens > 0;
    uint64_t whole = 1 + (tokens - w->length) / w->step;
    bool left = (tokens - w->length) % w->step != 0;
    return whole + (left && (w->step < w->length || w->padding));
}

static uint64_t count_begun(const struct windows *w, uint64_t tokens)
{
    return tokens < w->length ? w->padding && tokens > 0 : tokens - w->length + 1;
}

static struct window window_at(const struct windows *w, uint64_t tokens, uint64_t index)
{
    uint64_t start = index * w->step;
    if (w->step < w->length && start + w->length > tokens)
        start = tokens < w->length ? 0 : tokens - w->length;
    uint64_t left = tokens - start, before = index ? (index - 1) * w->step + w->length : 0;
    return (struct window){.start = start,
                           .tokens = left < w->length ? (uint32_t)left : w->length,
                           .seen = before > start ? (uint32_t)(before - start) : 0};
}

/* --- of a stream ------------------------------------------------------------------------------ */

static uint64_t document_start(const struct windows *w, size_t document)
{
    return w->joined ? 0 : (uint64_t)w->stream->starts[document];
}

static uint64_t document_tokens(const struct windows *w, size_t document)
{
    return w->joined ? w->stream->count
                     : (uint64_t)(w->stream->starts[document + 1] - w->stream->starts[document]);
}

void windows_open(struct windows *w, struct arena *arena, const struct stream *stream,
                  uint32_t length, uint32_t step, bool joined, bool padding)
{
    BUG_ON(step < 1 || step > length);
    *w = (struct windows){.stream = stream,
                          .length = length,
                          .step = step,
                          .joined = joined,
                          .padding = padding && !joined,
                          .documents = joined ? 1 : stream->documents};
    uint64_t *cut = arena_new_array(arena, uint64_t, w->documents + 1);
    uint64_t *begun = arena_new_array(arena, uint64_t, w->documents + 1);
    for (size_t i = 0; i < w->documents; i++) {
        cut[i + 1] = cut[i] + count_cut(w, document_tokens(w, i));
        begun[i + 1] = begun[i] + count_begun(w, document_tokens(w, i));
    }
    w->cut = cut;
    w->begun = begun;
}

/* The document in which number INDEX is, by what is before each. */
static size_t find(const uint64_t *before, size_t documents, uint64_t index)
{
    size_t low = 0, high = documents;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (before[middle] <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

size_t windows_count(const struct windows *w)
{
    return w->cut[w->documents];
}

struct window windows_at(const struct windows *w, size_t index)
{
    BUG_ON(index >= windows_count(w));
    size_t document = find(w->cut, w->documents, index);
    struct window at = window_at(w, document_tokens(w, document), index - w->cut[document]);
    at.start += document_start(w, document);
    return at;
}

struct window windows_draw(const struct windows *w, struct random_key key, uint32_t iteration,
                           uint32_t sequence)
{
    uint64_t places = w->begun[w->documents];
    BUG_ON(places == 0);
    double u = random_uniform(key, iteration, random_stream("data/window"), sequence, 0);
    /* The product of u < 1 and a large count may round up to the count itself. */
    uint64_t place = (uint64_t)floor(u * (double)places);
    place = place < places - 1 ? place : places - 1;
    size_t document = find(w->begun, w->documents, place);
    uint64_t tokens = document_tokens(w, document);
    return (struct window){.start = document_start(w, document) + place - w->begun[document],
                           .tokens = tokens < w->length ? (uint32_t)tokens : w->length};
}

/* --- order ------------------------------------------------------------------------------------ */

/* Enough for any count: orders of six windows are then even to what 36,000 of them show, which the
 * tests do; large counts need fewer. */
#define ROUNDS 64

/* Swap or not (Hoang, Morris, Rogaway 2012): each round pairs all places by a random turn, and
 * swaps the two of each pair or leaves them by a bit of its own. */
size_t windows_order(struct random_key key, uint32_t epoch, size_t at, size_t count)
{
    BUG_ON(at >= count);
    uint32_t turn = random_stream("data/order"), swap = random_stream("data/order/swap");
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t words[4];
        random_block(key, epoch, turn, 0, round, words);
        size_t shift = (size_t)(((uint64_t)words[0] << 32 | words[1]) % count);
        size_t other = shift >= at ? shift - at : shift + count - at;
        size_t pair = other > at ? other : at;
        random_block(key, epoch, swap + (uint32_t)((uint64_t)pair >> 32), (uint32_t)pair, round,
                     words);
        if (words[0] & 1)
            at = other;
    }
    return at;
}
