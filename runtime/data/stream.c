/* Memory of tokens. Called by corpus.c. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */
#include "runtime/data/stream.h"

#include "graph/base/arena.h"
#include "graph/base/check.h"

#include <string.h>
#include <sys/mman.h>

/* Not all that is reserved is used: memory is not promised for it. */
static void *reserve(size_t count, size_t size)
{
    size_t bytes;
    BUG_ON(__builtin_mul_overflow(count, size, &bytes));
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? heap_resize(NULL, SIZE_MAX, 1) : at; /* which says so, and ends */
}

void stream_open(struct stream *s, size_t tokens, size_t documents)
{
    *s = (struct stream){.id_room = tokens + 1, .start_room = documents + 2};
    s->ids = reserve(s->id_room, sizeof *s->ids);
    s->starts = reserve(s->start_room, sizeof *s->starts);
}

void stream_borrow(struct stream *s, const int32_t *ids, size_t count, const int64_t *starts,
                   size_t documents)
{
    *s = (struct stream){.ids = (int32_t *)(uintptr_t)ids,
                         .count = count,
                         .documents = documents,
                         .start_room = documents + 2};
    s->starts = reserve(s->start_room, sizeof *s->starts);
    memcpy(s->starts, starts, (documents + 1) * sizeof *starts);
}

void stream_close(struct stream *s)
{
    if (s->id_room)
        munmap(s->ids, s->id_room * sizeof *s->ids);
    if (s->start_room)
        munmap(s->starts, s->start_room * sizeof *s->starts);
    *s = (struct stream){0};
}

void stream_add(struct stream *s, size_t tokens)
{
    s->count += tokens;
    s->documents++;
    BUG_ON(s->count >= s->id_room || s->documents >= s->start_room);
    s->starts[s->documents] = (int64_t)s->count;
}

void stream_cut(struct stream *s, size_t cut, struct stream *tail)
{
    BUG_ON(cut > s->count);
    size_t first = 0; /* documents that begin before CUT */
    while (first < s->documents && (size_t)s->starts[first] < cut)
        first++;
    bool divided = first > 0 && (size_t)s->starts[first] > cut;
    size_t kept = first - divided; /* whole */
    *tail = (struct stream){.ids = s->ids + cut,
                            .count = s->count - cut,
                            .documents = s->documents - kept,
                            .start_room = s->documents - kept + 1};
    tail->starts = reserve(tail->start_room, sizeof *tail->starts);
    for (size_t i = divided; i <= tail->documents; i++)
        tail->starts[i] = s->starts[kept + i] - (int64_t)cut;
    s->count = cut;
    s->documents = first;
    s->starts[first] = (int64_t)cut;
}
