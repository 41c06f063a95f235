/* A YAML document as a tree, each node with its span. Reads through libyaml's event API (this is
 * the only file that includes it) and refuses what a sedge file may not contain: anchors, aliases,
 * merge keys, tags, duplicate keys, several documents, keys that are no scalars, nesting deeper
 * than 64, and text that is not UTF-8. Each refusal says what to write instead.
 *
 * Scalars stay text until a schema asks for a type: `no`, `012` and `1e-4` are what they look
 * like. QUOTED tells '1' from 1. */
#ifndef SEDGE_BASE_YAML_H
#define SEDGE_BASE_YAML_H

#include "graph/base/diag.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml {
    enum yaml_kind kind;
    struct span span;    /* of a map or list: its first character; of a scalar: all of it */
    const char *text;    /* scalar: its value, NUL-terminated; else NULL */
    bool quoted;         /* scalar written with quotes or as a block */
    uint32_t count;      /* items of a list, pairs of a map */
    struct yaml **items; /* list items, or the values of a map */
    struct yaml **keys;  /* map: scalars */
};

/* Both return NULL after reporting. A missing or unreadable file is FAULT_CONFIG at WHERE (the
 * `include` that names it; {0} for the command line). An empty document is an error. */
struct yaml *yaml_read_file(struct diags *diags, struct arena *arena, const char *path,
                            struct span where);
struct yaml *yaml_read_text(struct diags *diags, struct arena *arena, const char *name,
                            const char *text, size_t length);
/* The value of the setting KEY in the command line, where BEFORE was typed before it
 * (diags_typed). */
struct yaml *yaml_read_typed(struct diags *diags, struct arena *arena, const char *key,
                             const char *before, const char *text);

/* The value under KEY, or NULL. MAP may be NULL or no map. */
struct yaml *yaml_get(const struct yaml *map, const char *key);

/* Scalars as types; false (nothing reported) when the text is not wholly of that form.
 * Booleans are `true` and `false` only. Integers: decimal, optional sign. Reals: what strtod
 * reads in the C locale, finite, no hexadecimal. */
bool yaml_int(const struct yaml *scalar, int64_t *out);
bool yaml_real(const struct yaml *scalar, double *out);
/* Bytes: a number of them, or a number and its unit: 400MiB, 2GiB, 1.5GB; the others are KiB, TiB,
 * kB, MB and TB. Below 2^53. */
bool yaml_size(const struct yaml *scalar, int64_t *out);
bool yaml_bool(const struct yaml *scalar, bool *out);

/* The tree as flow-style YAML on one line, for messages and `sedge config`; quotes where needed. */
char *yaml_print(struct arena *arena, const struct yaml *node);

#endif
