/* Arena: memory that is made piece by piece and freed at once.
 *
 * Everything that reading and compiling a model creates lives in one arena; nothing in graph/ and
 * passes/ is freed by itself. An arena is not shared between threads. When the machine has no
 * memory left the process stops with one message: nothing a caller could do would help. */
#ifndef SEDGE_BASE_ARENA_H
#define SEDGE_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena); /* NULL is allowed */

/* realloc and calloc that end the process as the arena does where there is no memory: for what
 * grows much or is given back early, and with free. */
void *heap_resize(void *memory, size_t count, size_t size);
void *heap_zeroed(size_t count, size_t size);

/* Zeroed memory, aligned to 16 bytes, valid until arena_free. A size of 0 gives a valid pointer. */
void *arena_alloc(struct arena *arena, size_t size);

/* COUNT elements of TYPE, zeroed; stops at BUG_ON when the product overflows. */
#define arena_new_array(arena, type, count)                                                        \
    ((type *)arena_alloc_array((arena), (count), sizeof(type)))
void *arena_alloc_array(struct arena *arena, size_t count, size_t size);

/* Makes room for one more element in a growing array: returns ITEMS or a copy twice as large, and
 * updates *CAPACITY. Use:
 *     v->items = arena_grow(a, v->items, v->count, &v->capacity, sizeof *v->items) */
void *arena_grow(struct arena *arena, void *items, size_t count, uint32_t *capacity, size_t size);

char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *format, va_list args);

/* Bytes handed out so far, for tests and reports. */
size_t arena_used(const struct arena *arena);

#endif
