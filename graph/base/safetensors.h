/* Reads and writes safetensors files: u64 little-endian header length, a JSON header, raw data.
 *
 * Reading maps the file and trusts nothing: the header is at most 100 MB and starts with `{`;
 * every range lies inside the file, none overlap, none leave a hole; the length equals dtype times
 * shape, computed with overflow checks. Writing goes to a temporary name beside the target, with
 * the space allocated first (a full disk fails before anything is lost), then fsync, rename, and
 * fsync of the folder: after a crash the old file or the new one is there, whole. */
#ifndef SEDGE_BASE_SAFETENSORS_H
#define SEDGE_BASE_SAFETENSORS_H

#include "graph/base/diag.h"
#include "graph/base/tensor.h"

struct tensor_entry {
    const char *name;
    struct tensor tensor; /* DATA points into the mapping: aligned to its own type only */
};

struct tensor_file {
    const char *path;
    uint32_t count; /* in the order of the header */
    struct tensor_entry *entries;
    uint32_t meta_count; /* __metadata__ */
    const char **meta_keys;
    const char **meta_values;
    void *map;
    size_t map_size;
};

/* NULL after reporting FAULT_DATA. BOOL and U8 are read as DT_BOOL (a value above 1 is an error),
 * F16 and BF16 are refused with a hint. Everything but the mapping lives in ARENA. */
struct tensor_file *tensor_file_open(struct diags *diags, struct arena *arena, const char *path);
/* The same, but F16 and BF16 become DT_F32, in ARENA. */
struct tensor_file *tensor_file_open_wide(struct diags *diags, struct arena *arena,
                                          const char *path);
void tensor_file_close(struct tensor_file *file); /* NULL is allowed */
const struct tensor *tensor_file_get(const struct tensor_file *file, const char *name);
const char *tensor_file_meta(const struct tensor_file *file, const char *key);

/* Writes COUNT tensors (DT_TOKEN as I32) and metadata pairs atomically. The data of each entry
 * starts at a multiple of 64 bytes relative to the file where sizes allow, in the order given.
 * False after reporting FAULT_RUN (folder missing, disk full, no permission); the file that was
 * there before is then untouched and the temporary one is gone. */
bool tensor_file_write(struct diags *diags, const char *path, const struct tensor_entry *entries,
                       uint32_t count, const char *const *meta_keys, const char *const *meta_values,
                       uint32_t meta_count);

/* Any small file written the same way (run.json, config.yaml). */
bool file_write_atomic(struct diags *diags, const char *path, const void *data, size_t size);

#endif
