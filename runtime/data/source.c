/* Mapped text files, places in them, and UTF-8. Called by the other files of this folder. */
#include "runtime/data/source.h"

#include "graph/base/check.h"
#include "runtime/data/gzip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Characters of a line that are kept after the place reported: a genome is often one line of
 * millions of letters, of which the message shows a window. */
#define EXCERPT_TAIL 120

static const struct span nowhere = {0};

static bool report_open(struct diags *diags, const char *path, int fd)
{
    diag_error(diags, FAULT_DATA, nowhere, "cannot read `%s`: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return false;
}

static bool report_kind(struct diags *diags, const char *path, const struct stat *info)
{
    if (S_ISDIR(info->st_mode)) {
        diag_error(diags, FAULT_DATA, nowhere, "`%s` is a folder, not a file", path);
        diag_hint(diags, "name the files in it: files: [%s%sa.txt, ...]", path,
                  path[strlen(path) - 1] == '/' ? "" : "/");
    } else if (!S_ISREG(info->st_mode)) {
        diag_error(diags, FAULT_DATA, nowhere, "`%s` is not a regular file", path);
        diag_hint(diags, "data is read more than once: write it to a file first");
    } else {
        diag_error(diags, FAULT_DATA, nowhere, "`%s` is empty", path);
    }
    return false;
}

bool source_open(struct diags *diags, const char *path, struct source *out)
{
    *out = (struct source){.name = path};
    /* O_NONBLOCK so that naming a pipe is an error and not a wait. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return report_open(diags, path, -1);
    struct stat info;
    if (fstat(fd, &info) != 0)
        return report_open(diags, path, fd);
    if (!S_ISREG(info.st_mode) || info.st_size == 0) {
        close(fd);
        return report_kind(diags, path, &info);
    }
    size_t size = (size_t)info.st_size;
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return report_open(diags, path, fd);
    close(fd);
    out->text = map;
    out->size = size;
    out->map = map;
    out->map_size = size;
    if (!gzip_recognize(out->text, size) || gzip_inflate(diags, out))
        return true;
    source_close(out);
    return false;
}

void source_close(struct source *source)
{
    if (source->map)
        munmap(source->map, source->map_size);
    free(source->inflated);
    source->map = NULL;
    source->inflated = NULL;
    source->text = NULL;
    source->size = 0;
}

uint32_t utf8_decode(const char *text, size_t left, uint32_t *code)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (left == 0)
        return 0;
    uint32_t first = byte[0];
    uint32_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length == 0 || first > 0xf4 || length > left)
        return 0;
    uint32_t value = length == 1 ? first : first & (0x7fu >> length);
    for (uint32_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (byte[i] & 0x3f);
    }
    if ((length == 3 && (value < 0x800 || (value >= 0xd800 && value < 0xe000))) ||
        (length == 4 && (value < 0x10000 || value > 0x10ffff)))
        return 0;
    if (code)
        *code = value;
    return length;
}

size_t utf8_count(const char *text, size_t size)
{
    size_t count = 0;
    for (size_t at = 0; at < size; count++) {
        uint32_t length = utf8_decode(text + at, size - at, NULL);
        at += length ? length : 1;
    }
    return count;
}

/* Copies up to LIMIT characters of the line at BEGIN. What is no character, and what would end a
 * line for diag.c only (\r), becomes U+FFFD, so that the columns agree. */
static size_t copy_line(const struct source *source, size_t begin, size_t limit, char *out)
{
    size_t size = 0;
    size_t at = begin;
    for (size_t i = 0; i < limit && at < source->size && source->text[at] != '\n'; i++) {
        uint32_t length = utf8_decode(source->text + at, source->size - at, NULL);
        bool shown = length && (unsigned char)source->text[at] >= 0x20;
        memcpy(out + size, shown ? source->text + at : "\xef\xbf\xbd", shown ? length : 3);
        size += shown ? length : 3;
        at += length ? length : 1;
    }
    return size;
}

struct span source_span(struct diags *diags, const struct source *source, size_t offset,
                        uint32_t length)
{
    BUG_ON(offset > source->size);
    uint32_t line = source->lines + 1;
    size_t begin = 0;
    for (size_t i = 0; i < offset; i++)
        if (source->text[i] == '\n') {
            line++;
            begin = i + 1;
        }
    const char *before = begin == 0 && source->before ? source->before : "";
    size_t ahead = strlen(before);
    uint32_t column = (uint32_t)utf8_count(source->text + begin, offset - begin) + 1;

    /* The lines before are left empty: only this one is shown, and it keeps its number. */
    struct arena *scratch = arena_new();
    size_t limit = (size_t)column + EXCERPT_TAIL;
    char *excerpt = arena_alloc(scratch, line - 1 + ahead + limit * 4);
    memset(excerpt, '\n', line - 1);
    memcpy(excerpt + line - 1, before, ahead);
    size_t size = line - 1 + ahead;
    size += copy_line(source, begin, limit, excerpt + size);
    uint32_t file = source->typed
                        ? diags_typed(diags, source->name,
                                      arena_printf(scratch, "%s ", source->name), excerpt, size)
                        : diags_source(diags, source->name, excerpt, size);
    arena_free(scratch);
    column += (uint32_t)utf8_count(before, ahead);
    return (struct span){.file = file, .line = line, .column = column, .length = length};
}

struct span source_whole(struct diags *diags, const struct source *source)
{
    return (struct span){.file = diags_source(diags, source->name, "", 0)};
}

enum fault source_fault(const struct source *source)
{
    return source->typed ? FAULT_CONFIG : FAULT_DATA;
}

bool source_check_utf8(struct diags *diags, const struct source *source)
{
    size_t at = 0;
    while (at < source->size && source->text[at] != '\0') {
        uint32_t length = utf8_decode(source->text + at, source->size - at, NULL);
        if (length == 0)
            break;
        at += length;
    }
    if (at == source->size)
        return true;
    unsigned char byte = (unsigned char)source->text[at];
    diag_error(diags, source_fault(source), source_span(diags, source, at, 1),
               byte ? "not UTF-8: byte 0x%02x at offset %zu" : "a NUL byte (0x%02x) at offset %zu",
               byte, at);
    unsigned char head[2] = {(unsigned char)source->text[0],
                             source->size > 1 ? (unsigned char)source->text[1] : 0};
    if ((head[0] == 0xff && head[1] == 0xfe) || (head[0] == 0xfe && head[1] == 0xff) || byte == 0)
        diag_hint(diags, "it may be UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`, "
                         "or use tokenizer: bytes");
    else
        diag_hint(diags, "convert it with `iconv -f LATIN1 -t UTF-8` (or whatever it is in), "
                         "or use tokenizer: bytes");
    return false;
}
