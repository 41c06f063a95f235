/* A model document: params, presets, process, blocks, programs and loops, with its includes.
 *
 * Reading checks the closed schema and resolves numbers; blocks and programs stay YAML until a
 * program is elaborated for given sizes (graph/elaborate.h). */
#ifndef SEDGE_GRAPH_MODEL_H
#define SEDGE_GRAPH_MODEL_H

#include "graph/base/yaml.h"
#include "graph/expr.h"
#include "graph/graph.h"

/* Where a number or setting came from, in order of precedence. */
enum layer { LAYER_DEFAULT, LAYER_PRESET, LAYER_RECIPE, LAYER_DATA, LAYER_COMMAND };

struct param {
    const char *name;
    struct number value;
    struct span span; /* of the value that won */
    enum layer layer;
};

/* A named piece of the document, still YAML. */
struct section {
    const char *name;
    const struct yaml *body;
    struct span span;
};
struct sections {
    struct section *items;
    uint32_t count, capacity;
};

struct carry_item {
    const char *name;
    const struct yaml *type; /* {token: [batch, length], start: base} */
    struct span span;
};

struct model {
    struct arena *arena;
    struct diags *diags;
    const struct op_table *table;
    const char *path;
    const char *doc;
    struct param *params;
    uint32_t param_count, param_capacity;
    struct sections presets, blocks, programs, loops;
    struct sections process_bodies;
    struct process *processes;
    uint32_t process_count;
    struct state_table states; /* filled while programs are elaborated */
};

/* Finds models by bare name: beside the file that names them, then in FOLDERS (NULL-terminated).
 * Returns a path in ARENA, or NULL. */
char *model_find(struct arena *arena, const char *name, const char *beside,
                 const char *const *folders);

/* One setting from outside the model: a param by name. */
struct setting {
    const char *key;
    const struct yaml *value;
    enum layer layer;
};

struct model_request {
    const char *path;
    const char *preset; /* or NULL */
    struct span preset_span;
    const char *const *folders;
    const struct setting *settings; /* params, and `process.…` paths; later ones win */
    uint32_t setting_count;
    bool *unknown; /* per setting, set where the model has no such param; NULL: that is an error */
    /* By token, the symbols of the data, which the header of a rate matrix names; NULL: unknown.
     * They are used by processes of that many tokens. */
    const char *const *symbols;
    uint32_t symbol_count;
    bool without_processes; /* leaves them out, and `states`: the data is not known yet */
};

/* Reads PATH and its includes, and resolves params. NULL after reporting all that is wrong. */
struct model *model_read(struct arena *arena, struct diags *diags, const struct op_table *table,
                         const struct model_request *request);

const struct param *model_param(const struct model *model, const char *name);
const struct section *section_find(const struct sections *sections, const char *name);
/* The nearest name for a message, or NULL. */
const char *section_nearest(struct arena *arena, const struct sections *sections, const char *name);

/* Checks that MAP holds no key outside KEYS (NULL-terminated); reports each that is. WHAT names
 * the place: "a block". */
bool yaml_closed(struct diags *diags, const struct yaml *map, const char *const *keys,
                 const char *what);
/* MAP itself if it is one, else NULL after reporting. */
const struct yaml *yaml_expect(struct diags *diags, const struct yaml *node, enum yaml_kind kind,
                               const char *what);

/* Numbers over params: a scalar of YAML as an expression. */
bool model_number(const struct model *model, const struct yaml *scalar, struct number *out);

#endif
