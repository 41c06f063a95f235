/* The zip archive of a PyTorch checkpoint, and the tensors that its pickle describes. Called for
 * `sedge import`. */
#include "runtime/published/torch_file.h"
#include "graph/base/check.h"
#include "graph/base/half.h"
#include "runtime/data/source.h"
#include "runtime/published/pickle.h"

#include <minizip/unzip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 16
#define WALK_MAX (1 << 22) /* values that are looked at: what holds itself has no end */
/* Of copies, beside four times the file: views of one memory may be far more than it. */
#define COPY_MAX ((uint64_t)64 << 20)
#define PICKLE_MAX ((uint64_t)1 << 30)

struct part { /* an entry of the archive, stored as it is */
    const char *name;
    const unsigned char *bytes;
    uint64_t size;
};

struct archive {
    struct diags *diags;
    struct arena *arena;
    struct source source;
    struct part *parts;
    uint32_t count, capacity;
    struct tensor_file *file;
    uint32_t entry_capacity;
    uint32_t walked;
    uint64_t copied; /* bytes of tensors that do not lie in the file as they must in memory */
};

static bool fail(struct archive *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct archive *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(a->arena, format, args);
    va_end(args);
    diag_error(a->diags, FAULT_DATA, (struct span){0}, "%s: %s", a->source.name, text);
    return false;
}

/* --- the archive -------------------------------------------------------------------------- */

/* All lie in one folder, whatever it is called. */
static const char *short_name(const struct part *part)
{
    const char *slash = strchr(part->name, '/');
    return slash ? slash + 1 : part->name;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(short_name(a), short_name(b));
}

static int by_wanted(const void *wanted, const void *part)
{
    return strcmp(((const struct part *)wanted)->name, short_name(part));
}

/* NULL: there is none of that name. */
static const struct part *find_part(const struct archive *a, const char *name)
{
    const struct part wanted = {.name = name};
    return a->count ? bsearch(&wanted, a->parts, a->count, sizeof *a->parts, by_wanted) : NULL;
}

static bool read_part(struct archive *a, unzFile zip)
{
    char name[512];
    unz_file_info64 info;
    int method, level;
    if (unzGetCurrentFileInfo64(zip, &info, name, sizeof name, NULL, 0, NULL, 0) != UNZ_OK ||
        unzOpenCurrentFile2(zip, &method, &level, 1) != UNZ_OK)
        return fail(a, "is a damaged archive");
    uint64_t at = unzGetCurrentFileZStreamPos64(zip);
    unzCloseCurrentFile(zip);
    name[sizeof name - 1] = 0;
    if (method != 0)
        return fail(a, "its entry `%s` is compressed, and PyTorch compresses none", name);
    if (info.compressed_size != info.uncompressed_size || at > a->source.size ||
        info.uncompressed_size > a->source.size - at)
        return fail(a, "its entry `%s` goes beyond the end: the file is truncated", name);
    a->parts = arena_grow(a->arena, a->parts, a->count, &a->capacity, sizeof *a->parts);
    a->parts[a->count++] =
        (struct part){arena_strdup(a->arena, name), (const unsigned char *)a->source.text + at,
                      info.uncompressed_size};
    return true;
}

static bool read_parts(struct archive *a)
{
    unzFile zip = unzOpen64(a->source.name);
    if (!zip) {
        fail(a, "is a truncated archive, or none: the list of its entries is not at its end");
        return false;
    }
    bool good = true;
    int more = unzGoToFirstFile(zip);
    for (; good && more == UNZ_OK; more = unzGoToNextFile(zip))
        good = read_part(a, zip);
    unzClose(zip);
    if (a->count)
        qsort(a->parts, a->count, sizeof *a->parts, by_name);
    return good && (more == UNZ_END_OF_LIST_OF_FILE || fail(a, "is a damaged archive"));
}

/* --- tensors ------------------------------------------------------------------------------ */

static const struct {
    enum dtype dtype; /* in memory */
    size_t size;      /* in the file */
} kinds[] = {
    [STORED_F32] = {DT_F32, 4},  [STORED_F64] = {DT_F64, 8}, [STORED_F16] = {DT_F32, 2},
    [STORED_BF16] = {DT_F32, 2}, [STORED_I64] = {DT_I64, 8}, [STORED_I32] = {DT_I32, 4},
};

static void copy_number(enum stored stored, const unsigned char *from, unsigned char *to)
{
    uint16_t half;
    float wide;
    if (stored != STORED_F16 && stored != STORED_BF16) {
        memcpy(to, from, kinds[stored].size);
        return;
    }
    memcpy(&half, from, sizeof half);
    wide = stored == STORED_F16 ? half_to_float(half) : bfloat_to_float(half);
    memcpy(to, &wide, sizeof wide);
}

/* Copies the numbers of T in the order of its indices. */
static void copy_numbers(const struct pickle *t, const unsigned char *store, unsigned char *out,
                         int64_t count)
{
    int64_t index[PICKLE_RANK_MAX] = {0};
    size_t from = kinds[t->stored].size, to = dtype_size(kinds[t->stored].dtype);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = t->offset;
        for (uint32_t k = 0; k < t->rank; k++)
            at += index[k] * t->stride[k];
        copy_number(t->stored, store + (size_t)at * from, out + (size_t)i * to);
        for (uint32_t k = t->rank; k-- > 0 && ++index[k] == t->dim[k];)
            index[k] = 0;
    }
}

/* How many numbers T has, and whether they are one stretch of its memory. False when they are not
 * all within the LIMIT numbers of it. Several may be the same one, at a stride of 0. */
static bool measure(const struct pickle *t, int64_t limit, int64_t *count, bool *packed)
{
    int64_t last = t->offset, n = 1;
    bool empty = false;
    *packed = true;
    for (uint32_t k = t->rank; k-- > 0;) {
        int64_t reach, dim = t->dim[k] > 0 ? t->dim[k] : 1;
        empty |= t->dim[k] == 0;
        *packed &= dim == 1 || t->stride[k] == n;
        if (!size_mul(n, dim, &n) || n > SIZE_LIMIT || !size_mul(dim - 1, t->stride[k], &reach) ||
            !size_add(last, reach, &last))
            return false;
    }
    *count = empty ? 0 : n;
    *packed |= empty;
    return t->offset >= 0 && (empty ? t->offset <= limit : last < limit);
}

static bool add_tensor(struct archive *a, const char *name, const struct pickle *t)
{
    int64_t count;
    bool packed;
    if (t->stored == STORED_OTHER || t->rank > TENSOR_RANK_MAX)
        return true;
    const struct part *part = find_part(a, arena_printf(a->arena, "data/%s", t->store->text));
    if (!part)
        return fail(a, "tensor `%s`: the archive has no memory `%s`", name, t->store->text);
    size_t size = kinds[t->stored].size;
    int64_t limit = (int64_t)(part->size / size);
    if (!measure(t, limit < t->store->integer ? limit : t->store->integer, &count, &packed))
        return fail(a, "tensor `%s` goes beyond its memory", name);
    struct tensor_file *f = a->file;
    f->entries = arena_grow(a->arena, f->entries, f->count, &a->entry_capacity, sizeof *f->entries);
    struct tensor_entry *e = &f->entries[f->count++];
    *e = (struct tensor_entry){name, {.dtype = kinds[t->stored].dtype, .rank = t->rank}};
    memcpy(e->tensor.dim, t->dim, t->rank * sizeof *t->dim);
    const unsigned char *at = part->bytes + (size_t)t->offset * size;
    if (packed && size == dtype_size(e->tensor.dtype) && (uintptr_t)at % size == 0) {
        e->tensor.data = (void *)(uintptr_t)at;
        return true;
    }
    a->copied += (uint64_t)count * dtype_size(e->tensor.dtype);
    if (a->copied > 4 * a->source.size + COPY_MAX)
        return fail(a, "its tensors are far larger than the file, up to `%s`", name);
    e->tensor.data = arena_alloc_array(a->arena, (size_t)count, dtype_size(e->tensor.dtype));
    copy_numbers(t, part->bytes, e->tensor.data, count);
    return true;
}

/* The text of a key; NULL: such a key names nothing. */
static const char *key_text(struct archive *a, const struct pickle *key)
{
    return key->kind == PICKLE_TEXT  ? key->text
           : key->kind == PICKLE_INT ? arena_printf(a->arena, "%lld", (long long)key->integer)
                                     : NULL;
}

static bool endless(struct archive *a)
{
    return fail(a, "what its pickle describes is too deep or has no end");
}

static bool walk(struct archive *a, const char *path, const struct pickle *p, uint32_t depth)
{
    if (depth > DEPTH_MAX)
        return endless(a);
    if (p->kind == PICKLE_TENSOR)
        return add_tensor(a, path, p);
    if (p->kind != PICKLE_DICT && p->kind != PICKLE_LIST)
        return true;
    uint32_t step = p->kind == PICKLE_DICT ? 2 : 1;
    for (uint32_t i = 0; i + step <= p->count; i += step) {
        const struct pickle *item = p->items[i + step - 1];
        if (a->walked++ > WALK_MAX)
            return endless(a);
        const char *key = step == 2 ? key_text(a, p->items[i]) : "";
        if (item->kind != PICKLE_TENSOR && item->kind != PICKLE_DICT && item->kind != PICKLE_LIST)
            continue;
        if (step == 1)
            key = arena_printf(a->arena, "%u", i);
        if (key &&
            !walk(a, *path ? arena_printf(a->arena, "%s.%s", path, key) : key, item, depth + 1))
            return false;
    }
    return true;
}

static int by_entry(const void *a, const void *b)
{
    return strcmp((*(const struct tensor_entry *const *)a)->name,
                  (*(const struct tensor_entry *const *)b)->name);
}

/* Keys of several kinds may come to one name. */
static bool check_names(struct archive *a)
{
    uint32_t n = a->file->count;
    const struct tensor_entry **sorted =
        arena_new_array(a->arena, const struct tensor_entry *, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++)
        sorted[i] = &a->file->entries[i];
    if (n)
        qsort(sorted, n, sizeof *sorted, by_entry);
    for (uint32_t i = 1; i < n; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            return fail(a, "two tensors are called `%s`", sorted[i]->name);
    return true;
}

/* --- opening ------------------------------------------------------------------------------ */

bool torch_file_recognize(const char *path)
{
    char head[4] = {0};
    struct stat info;
    FILE *f = stat(path, &info) == 0 && S_ISREG(info.st_mode) ? fopen(path, "rb") : NULL;
    bool whole = f && fread(head, 1, sizeof head, f) == sizeof head;
    if (f)
        fclose(f);
    return whole && (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "\x80\2\x8a\n", 4) == 0);
}

/* What torch.save wrote before there was an archive: pickles, one after the other. */
static bool is_legacy(const struct archive *a)
{
    return a->source.size > 0 && (unsigned char)a->source.text[0] == 0x80;
}

static bool read_all(struct archive *a)
{
    if (is_legacy(a)) {
        fail(a, "is a checkpoint from before PyTorch 1.6");
        diag_hint(a->diags, "save it again, by torch.save(torch.load(FILE), OTHER)");
        return false;
    }
    if (!read_parts(a))
        return false;
    const struct part *pickle = find_part(a, "data.pkl"), *order = find_part(a, "byteorder");
    if (!pickle || pickle->size > PICKLE_MAX)
        return fail(a, "is an archive, but none that PyTorch wrote: it has no data.pkl");
    if (order && (order->size < 6 || memcmp(order->bytes, "little", 6) != 0))
        return fail(a, "was written on a machine with another order of bytes");
    struct pickle *root =
        pickle_read(a->diags, a->arena, a->source.name, pickle->bytes, (size_t)pickle->size);
    return root && walk(a, "", root, 0) && check_names(a);
}

struct tensor_file *torch_file_open(struct diags *diags, struct arena *arena, const char *path)
{
    struct archive a = {.diags = diags, .arena = arena};
    a.file = arena_alloc(arena, sizeof *a.file);
    a.file->path = arena_strdup(arena, path);
    if (!source_open(diags, a.file->path, &a.source))
        return NULL;
    if (!read_all(&a)) {
        source_close(&a.source);
        return NULL;
    }
    a.file->map = a.source.map;
    a.file->map_size = a.source.map_size;
    return a.file;
}
