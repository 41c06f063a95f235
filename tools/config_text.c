/* Writes a resolved recipe. Called by the command `config`, and by training for RUN/config.yaml. */
#include "tools/config_text.h"
#include "graph/process.h"
#include "graph/writer.h"
#include "tools/command.h"

#include <string.h>
#include <unistd.h>

#define COMMENT_COLUMN 44

struct resolving {
    struct arena *arena;
    const struct recipe *recipe;
    const struct model *model;
    struct config_items *out;
};

static void add(struct resolving *r, const char *key, const char *value, const char *source)
{
    struct config_items *out = r->out;
    out->items = arena_grow(r->arena, out->items, out->count, &out->capacity, sizeof *out->items);
    out->items[out->count++] = (struct config_item){key, value, source};
}

static char *text_value(struct resolving *r, const char *text)
{
    struct yaml scalar = {.kind = YAML_SCALAR, .text = text};
    return yaml_print(r->arena, &scalar);
}

/* 1e-08 as 1.0e-8, which every YAML reader takes for a number. */
static char *real_value(struct arena *arena, double value)
{
    char *text = real_print(arena, value), *e = strchr(text, 'e');
    if (!e)
        return text;
    int mantissa = (int)(e - text);
    bool point = memchr(text, '.', (size_t)mantissa) != NULL;
    return arena_printf(arena, "%.*s%se%s%s", mantissa, text, point ? "" : ".0",
                        e[1] == '-' ? "-" : "+", e + 2 + strspn(e + 2, "0"));
}

static char *number_value(struct arena *arena, struct number n)
{
    if (n.kind == NUMBER_BOOL)
        return arena_strdup(arena, n.i ? "true" : "false");
    if (n.kind == NUMBER_INT)
        return arena_printf(arena, "%lld", (long long)n.i);
    /* A real that is whole stays a real: 1.0, not 1. */
    char *text = real_value(arena, n.r);
    return strpbrk(text, ".en") ? text : arena_printf(arena, "%s.0", text);
}

/* --- files -------------------------------------------------------------------------------- */

/* A file of an installed folder is named as it is there, any other by its whole path. */
static const char *file_name(struct resolving *r, const char *path)
{
    for (const char *const *f = model_folders(r->arena); *f; f++) {
        size_t n = strlen(*f);
        if (strncmp(path, *f, n) == 0 && path[n] == '/')
            return path + n + 1;
    }
    char here[4096];
    if (path[0] == '/' || !getcwd(here, sizeof here))
        return path;
    return arena_printf(r->arena, "%s/%s", here, strncmp(path, "./", 2) == 0 ? path + 2 : path);
}

static const char *model_name(struct resolving *r)
{
    const char *name = file_name(r, r->model->path);
    return name[0] == '/' ? name : r->recipe->model;
}

/* Texts of data.files are files, names of classes are none, and a grid may be one. */
static char *texts_value(struct resolving *r, const char *key, const struct texts *texts)
{
    char *list = arena_strdup(r->arena, "[");
    for (uint32_t i = 0; i < texts->count; i++) {
        const char *text = texts->items[i];
        bool file = strcmp(key, "data.files") == 0 ||
                    (strcmp(key, "sample.grid") == 0 && access(text, F_OK) == 0);
        list = arena_printf(r->arena, "%s%s%s", list, i ? ", " : "",
                            text_value(r, file ? file_name(r, text) : text));
    }
    return arena_printf(r->arena, "%s]", list);
}

/* --- keys --------------------------------------------------------------------------------- */

/* In the largest unit of which it is a multiple. */
static char *size_value(struct arena *arena, int64_t bytes)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    uint32_t unit = 0;
    for (; unit < 4 && bytes && bytes % 1024 == 0; unit++)
        bytes /= 1024;
    return arena_printf(arena, "%lld%s", (long long)bytes, units[unit]);
}

/* The value of a key as YAML, or NULL where it has none. */
static char *key_value(struct resolving *r, const struct recipe_key *k)
{
    const void *at = (const char *)r->recipe + k->offset;
    const char *text = NULL;
    const double *pair = at;
    switch (k->kind) {
    case KEY_TEXT:
    case KEY_CHOICE:
        text = strcmp(k->name, "model") == 0 ? model_name(r) : *(const char *const *)at;
        return text ? text_value(r, text) : NULL;
    case KEY_INT:
        return arena_printf(r->arena, "%lld", (long long)*(const int64_t *)at);
    case KEY_SIZE:
        return size_value(r->arena, *(const int64_t *)at);
    case KEY_REAL:
        return real_value(r->arena, *pair);
    case KEY_TEXTS:
        return ((const struct texts *)at)->count ? texts_value(r, k->name, at) : NULL;
    case KEY_PAIR:
        return arena_printf(r->arena, "[%s, %s]", real_value(r->arena, pair[0]),
                            real_value(r->arena, pair[1]));
    case KEY_SHARE_OR_FILE:
        if (!r->recipe->data.valid_file)
            return real_value(r->arena, *pair);
        return yaml_print(r->arena, &(struct yaml){.kind = YAML_SCALAR,
                                                   .text = file_name(r, r->recipe->data.valid_file),
                                                   .quoted = true});
    }
    return NULL;
}

static const char *source(struct resolving *r, enum layer layer, struct span span)
{
    switch (layer) {
    case LAYER_PRESET:
        return arena_printf(r->arena, "preset %s", r->recipe->preset ? r->recipe->preset : "");
    case LAYER_DATA:
        return "the data";
    case LAYER_COMMAND:
        return "command line";
    case LAYER_DEFAULT:
    case LAYER_RECIPE:
        break;
    }
    if (!span.file)
        return "default";
    const char *path = diags_file_name(r->model->diags, span.file), *slash = strrchr(path, '/');
    return arena_printf(r->arena, "%s:%u", slash ? slash + 1 : path, span.line);
}

static void add_params(struct resolving *r)
{
    const struct model *m = r->model;
    for (uint32_t i = 0; i < m->param_count; i++) {
        const struct param *p = &m->params[i];
        if (m->process_count && strcmp(p->name, "states") == 0)
            continue; /* given by the process */
        add(r, arena_printf(r->arena, "params.%s", p->name), number_value(r->arena, p->value),
            source(r, p->layer, p->span));
    }
}

/* The last setting of each `process.…` key wins, as when the model is read. */
static void add_process(struct resolving *r)
{
    for (const char *const *own = process_settings; *own; own++) {
        const char *key = arena_printf(r->arena, "process.%s", *own);
        const struct setting *last = NULL;
        for (uint32_t i = 0; i < r->recipe->setting_count; i++)
            if (strcmp(r->recipe->settings[i].key, key) == 0)
                last = &r->recipe->settings[i];
        if (last)
            add(r, key, yaml_print(r->arena, last->value),
                source(r, last->layer, last->value->span));
    }
}

void config_items(struct arena *arena, const struct recipe *recipe, const struct model *model,
                  struct config_items *out)
{
    struct resolving r = {arena, recipe, model, out};
    *out = (struct config_items){0};
    bool params = false;
    for (uint32_t i = 0; i < recipe_key_count; i++) {
        const struct recipe_key *k = &recipe_keys[i];
        if (!params && strchr(k->name, '.')) { /* between the plain keys and the sections */
            add_params(&r);
            add_process(&r);
            params = true;
        }
        char *value = key_value(&r, k);
        const struct key_source *s = &recipe->sources[i];
        if (value)
            add(&r, k->name, value, source(&r, s->layer, s->span));
    }
}

/* --- YAML --------------------------------------------------------------------------------- */

char *config_yaml(struct arena *arena, const struct recipe *recipe, const struct model *model,
                  bool comments)
{
    struct config_items all;
    struct writer w = {.arena = arena};
    const char *section = "";
    size_t section_length = 0;
    config_items(arena, recipe, model, &all);
    write_text(&w, "sedge: 1\n");
    if (recipe->doc) {
        struct yaml doc = {.kind = YAML_SCALAR, .text = recipe->doc, .quoted = true};
        write_text(&w, "doc: %s\n", yaml_print(arena, &doc));
    }
    for (uint32_t i = 0; i < all.count; i++) {
        const struct config_item *item = &all.items[i];
        const char *dot = strchr(item->key, '.'), *name = dot ? dot + 1 : item->key;
        size_t length = dot ? (size_t)(dot - item->key) : 0;
        if (length && (length != section_length || strncmp(section, item->key, length) != 0))
            write_text(&w, "%.*s:\n", (int)length, item->key);
        section = item->key;
        section_length = length;
        size_t start = w.length;
        write_text(&w, "%s%s: %s", dot ? "  " : "", name, item->value);
        int written = (int)(w.length - start);
        if (comments)
            write_text(&w, "%*s # <- %s", written < COMMENT_COLUMN ? COMMENT_COLUMN - written : 0,
                       "", item->source);
        write_text(&w, "\n");
    }
    return w.text;
}
