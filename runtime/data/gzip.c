/* Inflates what gzip compressed. Called by source.c. */
#include "runtime/data/gzip.h"

#include "graph/base/check.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define WINDOW_BITS (15 + 16)          /* the largest window, and gzip's header and checksum */
#define FIRST_ROOM ((size_t)1 << 16)   /* bytes */
#define MOST_AT_ONCE ((size_t)1 << 30) /* zlib counts with 32 bits */
#define DEFLATE_MOST 1032              /* no byte of deflate says more (zlib's technical notes) */

bool gzip_recognize(const char *text, size_t size)
{
    return size >= 3 && memcmp(text, "\x1f\x8b\x08", 3) == 0;
}

struct inflation {
    const struct source *source;
    z_stream z;
    size_t read; /* bytes of the file that zlib was given */
    char *text;
    size_t size, room;
};

/* Where the last member says that it ends with so many bytes, they are asked for at once. */
static size_t first_room(const struct source *s)
{
    const unsigned char *end = (const unsigned char *)s->text + s->size;
    size_t said = 0;
    for (size_t i = 1; i <= 4 && i <= s->size; i++)
        said = said << 8 | end[-(ptrdiff_t)i];
    return said > FIRST_ROOM && said / DEFLATE_MOST < s->size ? said + 1 : FIRST_ROOM;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Z_OK while more is to come; Z_STREAM_END at the end of a member, Z_BUF_ERROR at that of the
 * file. */
static int go_on(struct inflation *f)
{
    if (f->size == f->room) {
        f->room *= 2;
        f->text = heap_resize(f->text, f->room, 1);
    }
    size_t in = least(f->source->size - f->read, MOST_AT_ONCE);
    size_t out = least(f->room - f->size, MOST_AT_ONCE);
    f->z.next_in = (unsigned char *)(uintptr_t)f->source->text + f->read;
    f->z.avail_in = (uInt)in;
    f->z.next_out = (unsigned char *)f->text + f->size;
    f->z.avail_out = (uInt)out;
    int code = inflate(&f->z, Z_NO_FLUSH);
    f->read += in - f->z.avail_in;
    f->size += out - f->z.avail_out;
    return code;
}

/* What follows a member: nothing, zeros that fill a block of a tape, or another member. */
static bool another(struct inflation *f)
{
    const struct source *s = f->source;
    while (f->read < s->size && s->text[f->read] == 0)
        f->read++;
    return f->read < s->size && inflateReset(&f->z) == Z_OK;
}

static bool report(struct diags *diags, const struct inflation *f, int code)
{
    struct span whole = source_whole(diags, f->source);
    if (code == Z_BUF_ERROR)
        diag_error(diags, FAULT_DATA, whole, "the gzip file ends in the middle, after %zu bytes",
                   f->read);
    else
        diag_error(diags, FAULT_DATA, whole, "the gzip file is damaged, near byte %zu: %s", f->read,
                   f->z.msg ? f->z.msg : zError(code));
    diag_hint(diags, "copy or download it again; `gzip -t %s` says whether it is whole",
              f->source->name);
    return false;
}

/* zlib's memory ends the process where there is none, as all of sedge's does. */
static void *take(void *unused, uInt count, uInt size)
{
    (void)unused;
    return heap_zeroed(count, size);
}

static void leave(void *unused, void *memory)
{
    (void)unused;
    free(memory);
}

bool gzip_inflate(struct diags *diags, struct source *source)
{
    struct inflation f = {.source = source, .z = {.zalloc = take, .zfree = leave}};
    int code = inflateInit2(&f.z, WINDOW_BITS);
    BUG_ON(code != Z_OK);
    f.room = first_room(source);
    f.text = heap_resize(NULL, f.room, 1);
    while (code == Z_OK) {
        code = go_on(&f);
        if (code == Z_STREAM_END && another(&f))
            code = Z_OK;
    }
    bool good = code == Z_STREAM_END || report(diags, &f, code);
    inflateEnd(&f.z);
    if (good && f.size == 0) {
        diag_error(diags, FAULT_DATA, source_whole(diags, source), "the gzip file holds nothing");
        good = false;
    }
    if (!good) {
        free(f.text);
        return false;
    }
    source_close(source);
    source->text = source->inflated = f.text;
    source->size = f.size;
    return true;
}
