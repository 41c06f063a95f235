/* The arena: a list of zeroed blocks, cut from the front. Called by everything that reads or
 * compiles a model; graph/ and passes/ get all their memory here.
 *
 * Blocks come from calloc and are never used twice, so that memory is zero without a memset. A
 * request that would waste most of a block gets a block of its own, and the block in use stays in
 * use. In builds with the address sanitizer the rest of a block is poisoned, with a gap after each
 * piece: a write past a piece is caught although both neighbours are in one block. */
#include "graph/base/arena.h"
#include "graph/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#endif

#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
#define GAP ((size_t)16)
#define poison(memory, size) ASAN_POISON_MEMORY_REGION((memory), (size))
#define unpoison(memory, size) ASAN_UNPOISON_MEMORY_REGION((memory), (size))
#else
#define GAP ((size_t)0)
#define poison(memory, size) ((void)(memory), (void)(size))
#define unpoison(memory, size) ((void)(memory), (void)(size))
#endif

#define ALIGNMENT ((size_t)16)
#define BLOCK_SIZE ((size_t)64 << 10)
#define FIRST_CAPACITY 8u

_Static_assert(_Alignof(max_align_t) >= 16, "calloc must return memory aligned to 16 bytes");

struct block {
    struct block *next;
    size_t size;
    size_t used; /* always a multiple of ALIGNMENT */
    _Alignas(16) unsigned char bytes[];
};

struct arena {
    struct block *blocks; /* the first one is the one in use */
    size_t used;
};

_Noreturn static void no_memory(size_t size)
{
    fprintf(stderr, "sedge: error: out of memory (%zu bytes asked for)\n", size);
    exit(EXIT_FAILURE);
}

void *heap_resize(void *memory, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        no_memory(SIZE_MAX);
    memory = realloc(memory, bytes ? bytes : 1);
    if (!memory)
        no_memory(bytes);
    return memory;
}

void *heap_zeroed(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory)
        no_memory(size && count > SIZE_MAX / size ? SIZE_MAX : count * size);
    return memory;
}

struct arena *arena_new(void)
{
    struct arena *arena = calloc(1, sizeof *arena);
    if (!arena)
        no_memory(sizeof *arena);
    return arena;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    for (struct block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        unpoison(block->bytes, block->size);
        free(block);
    }
    free(arena);
}

static struct block *block_new(size_t size)
{
    struct block *block = calloc(1, sizeof *block + size);
    if (!block)
        no_memory(size);
    block->size = size;
    poison(block->bytes, size);
    return block;
}

/* A block with room for NEED bytes: the one in use, a new one, or one just for this request. */
static struct block *block_for(struct arena *arena, size_t need)
{
    struct block *first = arena->blocks;
    if (first && first->size - first->used >= need)
        return first;
    if (first && need > BLOCK_SIZE / 4) {
        struct block *own = block_new(need);
        own->next = first->next;
        first->next = own;
        return own;
    }
    struct block *block = block_new(need > BLOCK_SIZE ? need : BLOCK_SIZE);
    block->next = first;
    arena->blocks = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        no_memory(size);
    size_t need = ((size ? size : 1) + GAP + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct block *block = block_for(arena, need);
    void *memory = block->bytes + block->used;
    block->used += need;
    arena->used += size;
    unpoison(memory, size);
    return memory;
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t size)
{
    size_t total;
    BUG_ON(__builtin_mul_overflow(count, size, &total));
    return arena_alloc(arena, total);
}

void *arena_grow(struct arena *arena, void *items, size_t count, uint32_t *capacity, size_t size)
{
    BUG_ON(count > *capacity);
    if (count < *capacity)
        return items;
    BUG_ON(*capacity > UINT32_MAX / 2);
    uint32_t wanted = *capacity ? *capacity * 2 : FIRST_CAPACITY;
    void *larger = arena_alloc_array(arena, wanted, size);
    if (count)
        memcpy(larger, items, count * size);
    *capacity = wanted;
    return larger;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

/* As strndup: at most LENGTH bytes, fewer when TEXT ends before. */
char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
    length = strnlen(text, length);
    char *copy = arena_alloc(arena, length + 1);
    memcpy(copy, text, length);
    return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

char *arena_vprintf(struct arena *arena, const char *format, va_list args)
{
    BUG_ON(!format);
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    BUG_ON(length < 0);
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, args);
    return text;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}
