/* Reads a model document with its includes and resolves its params. Called by the commands and by
 * recipes; programs are elaborated from it in elaborate.c. */
#include "graph/model.h"
#include "graph/base/check.h"
#include "graph/op.h"
#include "graph/process.h"
#include "graph/recipe.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INCLUDE_DEPTH 16
#define FILES_MAX 64

/* A file is what it is under any path: `a.yaml` and `./a.yaml` are one. */
struct document {
    dev_t device;
    ino_t inode;
    bool open; /* being read: an include of it is a cycle; else including it again is harmless */
};

struct reader {
    struct model *model;
    const struct model_request *request;
    struct document documents[FILES_MAX];
    uint32_t document_count, depth;
    const struct yaml *params[FILES_MAX]; /* maps of params: included files first */
    uint32_t params_count;
};

/* --- finding ------------------------------------------------------------------------------ */

static char *try_path(struct arena *arena, const char *folder, const char *name)
{
    const char *dot = strrchr(name, '.');
    bool suffixed = dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
    char *path = folder ? arena_printf(arena, "%s/%s%s", folder, name, suffixed ? "" : ".yaml")
                        : arena_printf(arena, "%s%s", name, suffixed ? "" : ".yaml");
    return access(path, F_OK) == 0 ? path : NULL;
}

char *model_find(struct arena *arena, const char *name, const char *beside,
                 const char *const *folders)
{
    char *path = NULL;
    if (name[0] == '/')
        return try_path(arena, NULL, name);
    if (beside) {
        const char *slash = strrchr(beside, '/');
        char *folder = slash ? arena_strndup(arena, beside, (size_t)(slash - beside))
                             : arena_strdup(arena, ".");
        path = try_path(arena, folder, name);
    }
    if (!path && !beside)
        path = try_path(arena, NULL, name);
    for (uint32_t i = 0; !path && folders && folders[i]; i++)
        path = try_path(arena, folders[i], name);
    return path;
}

/* --- schema ------------------------------------------------------------------------------- */

bool yaml_closed(struct diags *diags, const struct yaml *map, const char *const *keys,
                 const char *what)
{
    bool good = true;
    size_t n = 0;
    while (keys[n])
        n++;
    for (uint32_t i = 0; i < map->count; i++) {
        const char *key = map->keys[i]->text;
        size_t k = 0;
        while (k < n && strcmp(keys[k], key) != 0)
            k++;
        if (k < n)
            continue;
        good = false;
        diag_error(diags, FAULT_CONFIG, map->keys[i]->span, "%s has no key `%s`", what, key);
        const char *near = diag_nearest(key, keys, n);
        if (near)
            diag_hint(diags, "did you mean `%s`?", near);
    }
    return good;
}

const struct yaml *yaml_expect(struct diags *diags, const struct yaml *node, enum yaml_kind kind,
                               const char *what)
{
    static const char *const names[] = {"a single value", "a list `[…]`",
                                        "a mapping `{key: value}`"};
    if (node->kind == kind)
        return node;
    diag_error(diags, FAULT_CONFIG, node->span, "%s must be %s, not %s", what, names[kind],
               names[node->kind]);
    const char *colon = node->kind == YAML_SCALAR && !node->quoted ? strchr(node->text, ':') : NULL;
    if (kind == YAML_MAP && colon && colon > node->text && colon[1])
        diag_hint(diags, "a space follows the colon: `%.*s: %s`", (int)(colon - node->text),
                  node->text, colon + 1);
    return NULL;
}

const struct section *section_find(const struct sections *sections, const char *name)
{
    for (uint32_t i = 0; i < sections->count; i++)
        if (strcmp(sections->items[i].name, name) == 0)
            return &sections->items[i];
    return NULL;
}

const char *section_nearest(struct arena *arena, const struct sections *sections, const char *name)
{
    const char **names = arena_new_array(arena, const char *, sections->count);
    for (uint32_t i = 0; i < sections->count; i++)
        names[i] = sections->items[i].name;
    return diag_nearest(name, names, sections->count);
}

/* Adds each entry of MAP; a name that is there already is an error. */
static void add_sections(struct reader *r, struct sections *to, const struct yaml *map,
                         const char *what)
{
    struct model *m = r->model;
    if (!map || !yaml_expect(m->diags, map, YAML_MAP, what))
        return;
    for (uint32_t i = 0; i < map->count; i++) {
        const char *name = map->keys[i]->text;
        const struct section *old = section_find(to, name);
        if (old) {
            diag_error(m->diags, FAULT_CONFIG, map->keys[i]->span, "`%s` is defined twice", name);
            diag_trail(m->diags, old->span, "first defined here");
            continue;
        }
        if (!yaml_expect(m->diags, map->items[i], YAML_MAP, name))
            continue;
        to->items = arena_grow(m->arena, to->items, to->count, &to->capacity, sizeof *to->items);
        to->items[to->count++] = (struct section){name, map->items[i], map->keys[i]->span};
    }
}

/* --- documents ---------------------------------------------------------------------------- */

static bool read_document(struct reader *r, const char *path, struct span where);

static void read_includes(struct reader *r, const struct yaml *list, const char *path)
{
    struct model *m = r->model;
    if (!list || !yaml_expect(m->diags, list, YAML_LIST, "include"))
        return;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct yaml *item = list->items[i];
        if (!yaml_expect(m->diags, item, YAML_SCALAR, "an include"))
            continue;
        char *found = model_find(m->arena, item->text, path, r->request->folders);
        if (!found)
            diag_error(m->diags, FAULT_CONFIG, item->span,
                       "no file `%s` beside this one or among the installed models", item->text);
        else
            read_document(r, found, item->span);
    }
}

static bool check_header(struct reader *r, const struct yaml *root)
{
    static const char *const keys[] = {"sedge",   "doc",    "include",  "params", "presets",
                                       "process", "blocks", "programs", "loops",  NULL};
    struct diags *d = r->model->diags;
    if (root->kind == YAML_MAP && yaml_get(root, "grammar")) {
        diag_error(d, FAULT_CONFIG, root->span, "this is a grammar, not a model");
        diag_hint(d, "give it as data: sedge train quickstart data.files=FILE");
        return false;
    }
    if (root->kind == YAML_MAP && yaml_get(root, "model")) {
        diag_error(d, FAULT_CONFIG, root->span, "this is a recipe, not a model");
        diag_hint(d, "name its model, or give the recipe to `sedge train` and `sedge config`");
        return false;
    }
    if (!yaml_expect(d, root, YAML_MAP, "a model file"))
        return false;
    const struct yaml *version = yaml_get(root, "sedge");
    if (!version || version->kind != YAML_SCALAR || strcmp(version->text, "1") != 0) {
        diag_error(d, FAULT_CONFIG, version ? version->span : root->span,
                   "a model file starts with the line `sedge: 1`");
        return false;
    }
    return yaml_closed(d, root, keys, "a model file");
}

static void add_processes(struct reader *r, const struct yaml *body)
{
    struct model *m = r->model;
    if (!body || !yaml_expect(m->diags, body, YAML_MAP, "process"))
        return;
    if (!yaml_get(body, "rate")) {
        add_sections(r, &m->process_bodies, body, "process");
        return;
    }
    struct sections *to = &m->process_bodies;
    if (to->count) {
        diag_error(m->diags, FAULT_CONFIG, body->span, "the process is defined twice");
        diag_trail(m->diags, to->items[0].span, "first defined here");
        diag_hint(m->diags, "a model takes the process of what it includes: move what both need "
                            "into a file without one");
        return;
    }
    to->items = arena_grow(m->arena, to->items, to->count, &to->capacity, sizeof *to->items);
    to->items[to->count++] = (struct section){"main", body, body->span};
}

static bool read_document(struct reader *r, const char *path, struct span where)
{
    struct model *m = r->model;
    struct stat status = {0};
    bool exists = stat(path, &status) == 0; /* if not, yaml_read_file says so */
    for (uint32_t i = 0; exists && i < r->document_count; i++) {
        const struct document *d = &r->documents[i];
        if (d->device != status.st_dev || d->inode != status.st_ino)
            continue;
        if (!d->open)
            return true;
        diag_error(m->diags, FAULT_CONFIG, where, "`%s` includes itself", path);
        diag_hint(m->diags, "includes go one way: move what both need into a third file");
        return false;
    }
    if (r->depth == INCLUDE_DEPTH || r->document_count == FILES_MAX) {
        diag_error(m->diags, FAULT_CONFIG, where,
                   r->depth == INCLUDE_DEPTH ? "includes are nested too deeply"
                                             : "the model includes too many files");
        return false;
    }
    struct document *self = &r->documents[r->document_count++];
    *self = (struct document){status.st_dev, status.st_ino, true};
    r->depth++;
    const struct yaml *root = yaml_read_file(m->diags, m->arena, path, where);
    if (root && check_header(r, root)) {
        const struct yaml *doc = yaml_get(root, "doc");
        read_includes(r, yaml_get(root, "include"), path);
        if (doc && doc->kind == YAML_SCALAR)
            m->doc = doc->text;
        const struct yaml *params = yaml_get(root, "params");
        if (params && yaml_expect(m->diags, params, YAML_MAP, "params"))
            r->params[r->params_count++] = params;
        add_sections(r, &m->presets, yaml_get(root, "presets"), "presets");
        add_processes(r, yaml_get(root, "process"));
        add_sections(r, &m->blocks, yaml_get(root, "blocks"), "blocks");
        add_sections(r, &m->programs, yaml_get(root, "programs"), "programs");
        add_sections(r, &m->loops, yaml_get(root, "loops"), "loops");
    }
    r->depth--;
    self->open = false;
    return root != NULL;
}

/* --- params ------------------------------------------------------------------------------- */

const struct param *model_param(const struct model *model, const char *name)
{
    for (uint32_t i = 0; i < model->param_count; i++)
        if (strcmp(model->params[i].name, name) == 0)
            return &model->params[i];
    return NULL;
}

static bool param_lookup(const void *context, const char *name, struct number *out)
{
    const struct param *p = model_param(context, name);
    if (p)
        *out = p->value;
    return p != NULL;
}

static const char *param_nearest(const void *context, const char *name)
{
    const struct model *m = context;
    const char **names = arena_new_array(m->arena, const char *, m->param_count);
    for (uint32_t i = 0; i < m->param_count; i++)
        names[i] = m->params[i].name;
    return diag_nearest(name, names, m->param_count);
}

bool model_number(const struct model *model, const struct yaml *scalar, struct number *out)
{
    if (!yaml_expect(model->diags, scalar, YAML_SCALAR, "a number"))
        return false;
    struct span span = scalar->span;
    if (scalar->quoted)
        span.column++;
    const struct expr *e = expr_parse(model->diags, model->arena, scalar->text, span);
    struct expr_scope scope = {param_lookup, param_nearest, model};
    return e && expr_eval(model->diags, e, &scope, out);
}

static void set_param(struct model *m, const char *name, struct number value, struct span span,
                      enum layer layer)
{
    struct param *p = (struct param *)model_param(m, name);
    if (!p) {
        m->params =
            arena_grow(m->arena, m->params, m->param_count, &m->param_capacity, sizeof *m->params);
        p = &m->params[m->param_count++];
        p->name = name;
    }
    p->value = value;
    p->span = span;
    p->layer = layer;
}

/* What a setting or a preset gives for NAME, the strongest first; NULL: neither. */
static const struct yaml * override(const struct reader *r, const struct yaml *preset,
                                    const char *name, enum layer *layer)
{
    const struct model_request *q = r->request;
    const struct setting *best = NULL;
    for (uint32_t i = 0; i < q->setting_count; i++)
        if (strcmp(q->settings[i].key, name) == 0 && (!best || q->settings[i].layer >= best->layer))
            best = &q->settings[i];
    if (best) {
        *layer = best->layer;
        return best->value;
    }
    *layer = LAYER_PRESET;
    return yaml_get(preset, name);
}

static void resolve_params(struct reader *r, const struct yaml *preset)
{
    struct model *m = r->model;
    for (uint32_t k = 0; k < r->params_count; k++) {
        const struct yaml *map = r->params[k];
        for (uint32_t i = 0; i < map->count; i++) {
            const char *name = map->keys[i]->text;
            enum layer layer;
            const struct yaml *over = override(r, preset, name, &layer);
            const struct yaml *from = over ? over : map->items[i];
            struct number value = {.kind = NUMBER_INT, .i = 1};
            model_number(m, from, &value); /* after a fault the name is still a param's */
            set_param(m, name, value, from->span, over ? layer : LAYER_DEFAULT);
        }
    }
}

static const struct yaml *find_preset(struct reader *r)
{
    struct model *m = r->model;
    const char *name = r->request->preset;
    if (!name)
        return NULL;
    const struct section *s = section_find(&m->presets, name);
    if (s)
        return s->body;
    diag_error(m->diags, FAULT_CONFIG, r->request->preset_span, "no preset is called `%s`", name);
    char *all = arena_strdup(m->arena, "");
    for (uint32_t i = 0; i < m->presets.count; i++)
        all = arena_printf(m->arena, "%s%s%s", all, i ? ", " : "", m->presets.items[i].name);
    diag_hint(m->diags, m->presets.count ? "there are: %s" : "this model has none%s", all);
    return NULL;
}

static void hint_param(struct model *m, const char *name)
{
    const char *near = param_nearest(m, name);
    if (near)
        diag_hint(m->diags, "did you mean `%s`?", near);
}

/* Presets, the chosen one and the others, and settings may only name params that exist. */
static void check_names(struct reader *r)
{
    struct model *m = r->model;
    for (uint32_t i = 0; i < m->presets.count; i++) {
        const struct yaml *preset = m->presets.items[i].body;
        for (uint32_t k = 0; k < preset->count; k++) {
            const char *name = preset->keys[k]->text;
            if (model_param(m, name))
                continue;
            diag_error(m->diags, FAULT_CONFIG, preset->keys[k]->span,
                       "the preset sets `%s`, which is no param", name);
            hint_param(m, name);
        }
    }
    for (uint32_t i = 0; i < r->request->setting_count; i++) {
        const struct setting *s = &r->request->settings[i];
        if (strncmp(s->key, "process.", 8) == 0 || model_param(m, s->key))
            continue;
        if (r->request->unknown) {
            r->request->unknown[i] = true;
            continue;
        }
        diag_error(m->diags, FAULT_CONFIG, s->value->span, "the model has no param `%s`", s->key);
        const char *key = recipe_key_ending(s->key); /* `lr` for train.lr */
        if (key)
            diag_hint(m->diags, "did you mean `%s`?", key);
        else
            hint_param(m, s->key);
    }
}

/* A call names an op or a block: one name cannot be both. */
static void check_blocks(struct model *m)
{
    for (uint32_t i = 0; i < m->blocks.count; i++) {
        const struct section *b = &m->blocks.items[i];
        const struct op *op = op_find(m->table, b->name);
        bool repeat = strcmp(b->name, "repeat") == 0;
        if (repeat || (op && !(op->flags & OP_INTERNAL)))
            diag_error(m->diags, FAULT_CONFIG, b->span, "`%s` is %s: give the block another name",
                       b->name, repeat ? "a word of the language" : "an op");
    }
}

struct model *model_read(struct arena *arena, struct diags *diags, const struct op_table *table,
                         const struct model_request *request)
{
    struct model *m = arena_alloc(arena, sizeof *m);
    m->arena = arena;
    m->diags = diags;
    m->table = table;
    m->path = arena_strdup(arena, request->path);
    struct reader r = {.model = m, .request = request};
    uint32_t before = diags_errors(diags);
    if (!read_document(&r, m->path, (struct span){0}))
        return NULL;
    check_blocks(m);
    const struct yaml *preset = find_preset(&r);
    resolve_params(&r, preset);
    check_names(&r);
    if (diags_errors(diags) == before && !request->without_processes)
        process_read(m, request);
    return diags_errors(diags) == before ? m : NULL;
}
