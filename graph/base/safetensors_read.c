/* Opens safetensors files: maps the file, parses the JSON header and checks every claim in it
 * before a tensor can be read. Called for checkpoints, published weights and `sedge run --in`. */
#include "graph/base/safetensors.h"

#include "graph/base/check.h"
#include "graph/base/half.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The limit of the format's reference implementation. */
#define HEADER_MAX 100000000

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensors in a file are little-endian and are used where they lie");

/* One file being opened. */
struct reader {
    struct diags *diags;
    struct arena *arena;
    struct tensor_file *file;
    const uint8_t *data; /* first byte after the header */
    int64_t data_size;
    struct range *ranges; /* one for each entry */
    bool wide;            /* half precision is read as single */
};

/* How numbers lie in the file, and as what they are read. */
struct kind {
    const char *name;
    enum dtype dtype;
    size_t size;              /* bytes of one in the file */
    float (*widen)(uint16_t); /* or NULL: as they are */
};

/* The bytes of one entry, counted from the start of the data. */
struct range {
    int64_t begin, end;
    const char *name;
    struct tensor *tensor;
    const struct kind *kind;
};

static bool fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct reader *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(r->arena, format, args);
    va_end(args);
    diag_error(r->diags, FAULT_DATA, (struct span){0}, "%s: %s", r->file->path, text);
    return false;
}

static bool map_file(struct reader *r)
{
    struct stat info;
    int fd = open(r->file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0) {
        fail(r, "%s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = false;
    if (!S_ISREG(info.st_mode)) {
        fail(r, "is not a regular file");
    } else if (info.st_size < 8) {
        fail(r, "is not a safetensors file: it is shorter than 8 bytes");
    } else {
        void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            fail(r, "%s", strerror(errno));
        } else {
            r->file->map = map;
            r->file->map_size = (size_t)info.st_size;
            ok = true;
        }
    }
    close(fd);
    return ok;
}

/* Finds the header; NULL after reporting. */
static json_t *parse_header(struct reader *r)
{
    const uint8_t *bytes = r->file->map;
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > HEADER_MAX) {
        fail(r, "is not a safetensors file: its header claims %llu bytes",
             (unsigned long long)length);
        return NULL;
    }
    if (length > r->file->map_size - 8) {
        fail(r, "is truncated: the header of %llu bytes does not fit in the file",
             (unsigned long long)length);
        return NULL;
    }
    const char *text = (const char *)bytes + 8;
    if (length == 0 || text[0] != '{') {
        fail(r, "is not a safetensors file: its header does not start with `{`");
        return NULL;
    }
    json_error_t error;
    json_t *root = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        fail(r, "the header is not valid JSON: %s (byte %d)", error.text, error.position);
    r->data = bytes + 8 + length;
    r->data_size = (int64_t)(r->file->map_size - 8 - length);
    return root;
}

static bool read_metadata(struct reader *r, json_t *object)
{
    if (!json_is_object(object))
        return fail(r, "__metadata__ is not an object");
    struct tensor_file *file = r->file;
    file->meta_keys = arena_new_array(r->arena, const char *, json_object_size(object));
    file->meta_values = arena_new_array(r->arena, const char *, json_object_size(object));
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (!json_is_string(value))
            return fail(r, "__metadata__: the value of `%s` is not a string", key);
        file->meta_keys[file->meta_count] = arena_strdup(r->arena, key);
        file->meta_values[file->meta_count++] = arena_strdup(r->arena, json_string_value(value));
    }
    return true;
}

static const struct kind *read_dtype(struct reader *r, const char *name, json_t *value)
{
    static const struct kind known[] = {
        {"F32", DT_F32, 4, NULL},          {"F64", DT_F64, 8, NULL},
        {"I32", DT_I32, 4, NULL},          {"I64", DT_I64, 8, NULL},
        {"BOOL", DT_BOOL, 1, NULL},        {"U8", DT_BOOL, 1, NULL},
        {"F16", DT_F32, 2, half_to_float}, {"BF16", DT_F32, 2, bfloat_to_float}};
    const char *text = json_string_value(value);
    const struct kind *kind = NULL;
    for (size_t i = 0; text && i < sizeof known / sizeof *known; i++)
        if (strcmp(text, known[i].name) == 0)
            kind = &known[i];
    if (kind && (!kind->widen || r->wide))
        return kind;
    if (!text) {
        fail(r, "tensor `%s`: dtype is missing or not a string", name);
        return NULL;
    }
    fail(r, "tensor `%s`: dtype %s is not supported", name, text);
    if (kind)
        diag_hint(r->diags, "sedge computes in f32: convert the file to F32");
    return NULL;
}

/* The size of the tensor is checked with its zero axes counted as 1, so that no product of some of
 * the axes overflows later either. */
static bool read_shape(struct reader *r, const char *name, json_t *value, struct tensor *out)
{
    if (!json_is_array(value))
        return fail(r, "tensor `%s`: shape is missing or not a list", name);
    if (json_array_size(value) > TENSOR_RANK_MAX)
        return fail(r, "tensor `%s`: more than %d axes", name, TENSOR_RANK_MAX);
    out->rank = (uint32_t)json_array_size(value);
    int64_t size = (int64_t)dtype_size(out->dtype);
    for (uint32_t i = 0; i < out->rank; i++) {
        json_t *item = json_array_get(value, i);
        int64_t dim = json_integer_value(item);
        if (!json_is_integer(item) || dim < 0)
            return fail(r, "tensor `%s`: axis %u is not a size", name, i);
        if (!size_mul(size, dim > 0 ? dim : 1, &size) || size > SIZE_LIMIT)
            return fail(r, "tensor `%s`: is too large", name);
        out->dim[i] = dim;
    }
    return true;
}

static bool read_range(struct reader *r, const char *name, json_t *value, struct range *out)
{
    json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return fail(r, "tensor `%s`: data_offsets are not two numbers", name);
    out->begin = json_integer_value(begin);
    out->end = json_integer_value(end);
    if (out->begin < 0 || out->begin > out->end)
        return fail(r, "tensor `%s`: data_offsets are not a range", name);
    if (out->end > r->data_size)
        return fail(r, "tensor `%s`: ends at byte %lld of %lld: the file is truncated", name,
                    (long long)out->end, (long long)r->data_size);
    return true;
}

static void widen(struct reader *r, struct tensor *t, const struct kind *kind, const uint8_t *bytes)
{
    int64_t count = tensor_size(t);
    float *to = arena_new_array(r->arena, float, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        to[i] = kind->widen(half);
    }
    t->data = to;
}

/* Points the tensor at its bytes, or at a copy where they are not aligned to their type: the format
 * promises no alignment. */
static bool place_data(struct reader *r, const struct range *range)
{
    const char *name = range->name;
    const struct kind *kind = range->kind;
    struct tensor *t = range->tensor;
    const uint8_t *bytes = r->data + range->begin;
    size_t size = (size_t)tensor_size(t) * dtype_size(t->dtype);
    if (kind->widen) {
        widen(r, t, kind, bytes);
        return true;
    }
    if (t->dtype == DT_BOOL) {
        for (size_t i = 0; i < size; i++)
            if (bytes[i] > 1)
                return fail(r, "tensor `%s`: element %zu is %d, which is no truth value", name, i,
                            bytes[i]);
    }
    if ((uintptr_t)bytes % dtype_size(t->dtype) == 0) {
        t->data = (void *)(uintptr_t)bytes;
    } else {
        t->data = arena_alloc(r->arena, size);
        memcpy(t->data, bytes, size);
    }
    return true;
}

static bool read_entry(struct reader *r, const char *key, json_t *value)
{
    struct tensor_entry *entry = &r->file->entries[r->file->count];
    struct range *range = &r->ranges[r->file->count];
    entry->name = arena_strdup(r->arena, key);
    if (!json_is_object(value))
        return fail(r, "tensor `%s`: is not described by an object", key);
    const struct kind *kind = read_dtype(r, entry->name, json_object_get(value, "dtype"));
    if (!kind)
        return false;
    *range = (struct range){.name = entry->name, .tensor = &entry->tensor, .kind = kind};
    entry->tensor.dtype = kind->dtype;
    if (!read_shape(r, entry->name, json_object_get(value, "shape"), &entry->tensor) ||
        !read_range(r, entry->name, json_object_get(value, "data_offsets"), range))
        return false;
    int64_t size = tensor_size(&entry->tensor) * (int64_t)kind->size;
    if (range->end - range->begin != size)
        return fail(r, "tensor `%s`: has %lld bytes, but its shape and dtype need %lld", key,
                    (long long)(range->end - range->begin), (long long)size);
    r->file->count++;
    return true;
}

static int compare_ranges(const void *left, const void *right)
{
    const struct range *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

/* The ranges cover the data exactly: sorted, each starts where the one before ends. */
static bool check_cover(struct reader *r)
{
    qsort(r->ranges, r->file->count, sizeof *r->ranges, compare_ranges);
    int64_t end = 0;
    for (uint32_t i = 0; i < r->file->count; i++) {
        const struct range *range = &r->ranges[i];
        if (range->begin < end)
            return fail(r, "tensors `%s` and `%s` overlap", r->ranges[i - 1].name, range->name);
        if (range->begin > end)
            return fail(r, "%lld bytes before tensor `%s` belong to none",
                        (long long)(range->begin - end), range->name);
        end = range->end;
    }
    if (end != r->data_size)
        return fail(r, "%lld bytes at the end belong to no tensor",
                    (long long)(r->data_size - end));
    return true;
}

static bool read_header(struct reader *r, json_t *root)
{
    size_t count = json_object_size(root);
    r->file->entries = arena_new_array(r->arena, struct tensor_entry, count);
    r->ranges = arena_new_array(r->arena, struct range, count);
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        bool ok =
            strcmp(key, "__metadata__") == 0 ? read_metadata(r, value) : read_entry(r, key, value);
        if (!ok)
            return false;
    }
    if (!check_cover(r))
        return false;
    for (uint32_t i = 0; i < r->file->count; i++)
        if (!place_data(r, &r->ranges[i]))
            return false;
    return true;
}

static struct tensor_file *open_file(struct diags *diags, struct arena *arena, const char *path,
                                     bool wide)
{
    struct tensor_file *file = arena_alloc(arena, sizeof *file);
    struct reader r = {.diags = diags, .arena = arena, .file = file, .wide = wide};
    file->path = arena_strdup(arena, path);
    if (!map_file(&r))
        return NULL;
    json_t *root = parse_header(&r);
    bool ok = root != NULL && read_header(&r, root);
    json_decref(root);
    if (!ok) {
        tensor_file_close(file);
        return NULL;
    }
    return file;
}

struct tensor_file *tensor_file_open(struct diags *diags, struct arena *arena, const char *path)
{
    return open_file(diags, arena, path, false);
}

struct tensor_file *tensor_file_open_wide(struct diags *diags, struct arena *arena,
                                          const char *path)
{
    return open_file(diags, arena, path, true);
}

void tensor_file_close(struct tensor_file *file)
{
    if (file == NULL || file->map == NULL)
        return;
    munmap(file->map, file->map_size);
    file->map = NULL;
}

const struct tensor *tensor_file_get(const struct tensor_file *file, const char *name)
{
    for (uint32_t i = 0; i < file->count; i++)
        if (strcmp(file->entries[i].name, name) == 0)
            return &file->entries[i].tensor;
    return NULL;
}

const char *tensor_file_meta(const struct tensor_file *file, const char *key)
{
    for (uint32_t i = 0; i < file->meta_count; i++)
        if (strcmp(file->meta_keys[i], key) == 0)
            return file->meta_values[i];
    return NULL;
}
