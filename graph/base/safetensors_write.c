/* Writes files whole or not at all, safetensors files among them. Called for checkpoints, the
 * outputs of `sedge run`, and the small files of a run. */
#include "graph/base/safetensors.h"

#include "graph/base/check.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the data of a file starts: a multiple of this, as kernels like it. */
#define DATA_ALIGN 64
/* Linux writes at most 2 GiB less a page at once. */
#define WRITE_MAX ((size_t)1 << 30)

/* A stretch of memory that goes into a file. */
struct piece {
    const void *data;
    size_t size;
};

/* A file being written: under a temporary name until it is complete. */
struct writer {
    struct diags *diags;
    struct arena *arena;
    const char *path;
    const char *temporary;
    int fd;
    int folder;
};

static bool fail(struct writer *w, const char *what, int error)
{
    diag_error(w->diags, FAULT_RUN, (struct span){0}, "%s: cannot %s: %s", w->path, what,
               strerror(error));
    return false;
}

/* The folder is opened first: it is synced last, and by then nothing may fail for want of
 * rights. */
static bool open_folder(struct writer *w)
{
    const char *slash = strrchr(w->path, '/');
    const char *folder = ".";
    if (slash != NULL)
        folder =
            slash == w->path ? "/" : arena_strndup(w->arena, w->path, (size_t)(slash - w->path));
    w->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return w->folder >= 0 || fail(w, "open its folder", errno);
}

/* The temporary name is new, whatever a crash or another process left in the folder. */
static bool open_temporary(struct writer *w)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        w->temporary = arena_printf(w->arena, "%s.%ld-%d.part", w->path, (long)getpid(), attempt);
        w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd >= 0)
            return true;
        if (errno != EEXIST)
            break;
    }
    return fail(w, "create a file beside it", errno);
}

/* A file system that cannot allocate ahead says so; then the writes themselves find a full disk. */
static bool allocate(struct writer *w, off_t size)
{
    int error;
    if (size == 0)
        return true;
    do
        error = posix_fallocate(w->fd, 0, size);
    while (error == EINTR);
    if (error == 0 || error == EINVAL || error == EOPNOTSUPP || error == ENODEV)
        return true;
    return fail(w, "make room for it", error);
}

static bool write_piece(struct writer *w, struct piece piece)
{
    const char *data = piece.data;
    while (piece.size > 0) {
        ssize_t done = write(w->fd, data, piece.size < WRITE_MAX ? piece.size : WRITE_MAX);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail(w, "write it", errno);
        data += done;
        piece.size -= (size_t)done;
    }
    return true;
}

static bool write_temporary(struct writer *w, const struct piece *pieces, uint32_t count)
{
    off_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += (off_t)pieces[i].size;
    bool ok = allocate(w, size);
    for (uint32_t i = 0; ok && i < count; i++)
        ok = write_piece(w, pieces[i]);
    if (ok && fsync(w->fd) != 0)
        ok = fail(w, "write it to the disk", errno);
    if (close(w->fd) != 0 && ok)
        ok = fail(w, "write it to the disk", errno);
    return ok;
}

static bool write_whole(struct writer *w, const struct piece *pieces, uint32_t count)
{
    if (!open_folder(w))
        return false;
    struct stat there;
    if (lstat(w->path, &there) == 0 && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode)) {
        close(w->folder);
        diag_error(w->diags, FAULT_RUN, (struct span){0},
                   "%s: is no regular file, and is left as it is", w->path);
        return false;
    }
    if (!open_temporary(w)) {
        close(w->folder);
        return false;
    }
    bool ok = write_temporary(w, pieces, count);
    if (ok && rename(w->temporary, w->path) != 0)
        ok = fail(w, "replace it", errno);
    if (!ok)
        unlink(w->temporary);
    /* Some file systems cannot sync a folder; they answer EINVAL. */
    if (ok && fsync(w->folder) != 0 && errno != EINVAL)
        ok = fail(w, "write its folder to the disk", errno);
    close(w->folder);
    return ok;
}

bool file_write_atomic(struct diags *diags, const char *path, const void *data, size_t size)
{
    struct arena *arena = arena_new();
    struct writer w = {.diags = diags, .arena = arena, .path = path};
    bool ok = write_whole(&w, &(struct piece){data, size}, 1);
    arena_free(arena);
    return ok;
}

static const char *format_dtype(enum dtype dtype)
{
    switch (dtype) {
    case DT_F32:
        return "F32";
    case DT_F64:
        return "F64";
    case DT_I32:
    case DT_TOKEN:
        return "I32";
    case DT_I64:
        return "I64";
    case DT_BOOL:
        return "BOOL";
    default:
        bug(__FILE__, __LINE__, "a type that files do not hold");
    }
}

static json_t *describe_tensor(const struct tensor *tensor, int64_t begin, int64_t end)
{
    json_t *shape = json_array();
    for (uint32_t i = 0; i < tensor->rank; i++)
        json_array_append_new(shape, json_integer(tensor->dim[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", format_dtype(tensor->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* Adds VALUE under KEY; false when one of them is not UTF-8, which JSON cannot hold. */
static bool add(struct writer *w, json_t *object, const char *key, json_t *value)
{
    BUG_ON(json_object_get(object, key) != NULL);
    if (value != NULL && json_object_set_new(object, key, value) == 0)
        return true;
    diag_error(w->diags, FAULT_RUN, (struct span){0}, "%s: `%s` is not UTF-8 text", w->path, key);
    return false;
}

static bool describe_all(struct writer *w, json_t *root, const struct tensor_entry *entries,
                         uint32_t count, struct piece *pieces)
{
    int64_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct tensor *tensor = &entries[i].tensor;
        int64_t begin = end, size;
        BUG_ON(strcmp(entries[i].name, "__metadata__") == 0);
        BUG_ON(!size_mul(tensor_size(tensor), (int64_t)dtype_size(tensor->dtype), &size));
        BUG_ON(!size_add(begin, size, &end));
        if (!add(w, root, entries[i].name, describe_tensor(tensor, begin, end)))
            return false;
        pieces[i] = (struct piece){tensor->data, (size_t)size};
    }
    return true;
}

static bool describe_metadata(struct writer *w, json_t *root, const char *const *keys,
                              const char *const *values, uint32_t count)
{
    if (count == 0)
        return true;
    json_t *metadata = json_object();
    if (!add(w, root, "__metadata__", metadata))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!add(w, metadata, keys[i], json_string(values[i])))
            return false;
    return true;
}

/* The length and the JSON, padded with spaces so that the data is aligned. */
static struct piece format_header(struct writer *w, const json_t *root)
{
    char *text = json_dumps(root, JSON_COMPACT);
    BUG_ON(text == NULL);
    size_t length = strlen(text);
    size_t total = (8 + length + DATA_ALIGN - 1) / DATA_ALIGN * DATA_ALIGN;
    uint8_t *bytes = arena_alloc(w->arena, total);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)(total - 8) >> 8 * i);
    memcpy(bytes + 8, text, length);
    memset(bytes + 8 + length, ' ', total - 8 - length);
    free(text);
    return (struct piece){bytes, total};
}

bool tensor_file_write(struct diags *diags, const char *path, const struct tensor_entry *entries,
                       uint32_t count, const char *const *meta_keys, const char *const *meta_values,
                       uint32_t meta_count)
{
    struct arena *arena = arena_new();
    struct writer w = {.diags = diags, .arena = arena, .path = path};
    struct piece *pieces = arena_new_array(arena, struct piece, (size_t)count + 1);
    json_t *root = json_object();
    bool ok = describe_metadata(&w, root, meta_keys, meta_values, meta_count) &&
              describe_all(&w, root, entries, count, pieces + 1);
    if (ok) {
        pieces[0] = format_header(&w, root);
        ok = write_whole(&w, pieces, count + 1);
    }
    json_decref(root);
    arena_free(arena);
    return ok;
}
