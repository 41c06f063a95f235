/* Images in LeCun's IDX files: 0, 0, the type of a number, how many dimensions; each dimension as a
 * big-endian number of 32 bits; the numbers. */
#include "runtime/data/format.h"

#include "graph/base/check.h"

#include <stdio.h>
#include <string.h>

#define UNSIGNED_BYTE 0x08
#define DIMENSIONS_MOST 8

static uint64_t big_endian(const struct source *s, size_t at)
{
    const unsigned char *b = (const unsigned char *)s->text + at;
    return (uint64_t)b[0] << 24 | (uint64_t)b[1] << 16 | (uint64_t)b[2] << 8 | b[3];
}

static bool is_idx(const struct source *source)
{
    static const char endings[] = "-idx3-ubyte .idx3-ubyte .idx .idx3";
    return source_ends_in(source, endings) ||
           (source->size >= 4 && memcmp(source->text, "\0\0\x08\x03", 4) == 0);
}

static bool fault(struct reader *r, const char *what, const char *hint)
{
    diag_error(r->diags, FAULT_DATA, source_whole(r->diags, &r->source), "%s", what);
    diag_hint(r->diags, "%s", hint);
    return false;
}

static bool check_magic(struct reader *r)
{
    const struct source *s = &r->source;
    char what[120];
    uint64_t magic = s->size >= 4 ? big_endian(s, 0) : 0;
    if (magic == (UNSIGNED_BYTE << 8 | 1))
        return fault(r, "this IDX file holds one number for each image: labels, not images",
                     "the images are in a file of their own, as t10k-images-idx3-ubyte");
    if (magic >> 8 == UNSIGNED_BYTE && (magic & 0xff) >= 2 && (magic & 0xff) <= DIMENSIONS_MOST)
        return true;
    snprintf(what, sizeof what, "this is no IDX file of images: it begins with 0x%08llx",
             (unsigned long long)magic);
    return fault(r, what, "images of bytes in two dimensions begin with 0x00000803");
}

static bool check_size(struct reader *r)
{
    const struct source *s = &r->source;
    size_t count = (size_t)(unsigned char)s->text[3], head = 4 + 4 * count;
    uint64_t pixels = 1, images = s->size >= head ? big_endian(s, 4) : 0;
    for (size_t i = 1; i < count && images; i++)
        if (__builtin_mul_overflow(pixels, big_endian(s, 4 + 4 * i), &pixels))
            pixels = UINT64_MAX;
    char what[160];
    if (images && pixels && pixels <= s->size && images == (s->size - head) / pixels &&
        (s->size - head) % pixels == 0) {
        r->sizes[0] = pixels;
        r->at = head;
        return true;
    }
    snprintf(what, sizeof what,
             "this IDX file says that it holds %llu images of %llu pixels, and has %zu bytes",
             (unsigned long long)images, (unsigned long long)pixels, s->size);
    return fault(r, what, "it is cut off or damaged: copy or download it again");
}

/* The buffer holds the alphabet, ended by a NUL, and behind it an image. */
#define ALPHABET_ROOM 64

static bool open_idx(struct reader *r)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    uint32_t levels = r->options->levels ? r->options->levels : FORMAT_LEVELS;
    bool shown = levels < FORMAT_LEVELS_BYTE;
    BUG_ON(levels < 2 || (shown && levels > FORMAT_LEVELS_MOST));
    if (!check_magic(r) || !check_size(r))
        return false;
    for (uint32_t i = 0; i < FORMAT_LEVELS_BYTE; i++)
        r->table[i] = shown ? (unsigned char)digits[i * levels / 256] : (unsigned char)i;
    char *buffer = reader_buffer(r, ALPHABET_ROOM + r->sizes[0]);
    snprintf(buffer, ALPHABET_ROOM, "%.*s", (int)levels, digits);
    r->alphabet = shown ? buffer : NULL;
    return true;
}

static bool next_idx(struct reader *r, struct document *out)
{
    if (r->at == r->source.size)
        return false;
    char *image = r->buffer + ALPHABET_ROOM;
    for (size_t i = 0; i < r->sizes[0]; i++)
        image[i] = (char)r->table[(unsigned char)r->source.text[r->at + i]];
    r->at += r->sizes[0];
    reader_give(r, image, r->sizes[0], r->line++, out);
    return true;
}

const struct format format_idx = {
    .name = "idx", .recognize = is_idx, .open = open_idx, .next = next_idx};
