/* Writes and compares the record of a run. Called by `train`. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "tools/run_record.h"
#include "tools/config_text.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- names that hold from anywhere --------------------------------------------------------- */

static char *absolute(struct arena *arena, const char *path)
{
    char *full = realpath(path, NULL);
    char *kept = arena_strdup(arena, full ? full : path);
    free(full);
    return kept;
}

static struct yaml *scalar(struct arena *arena, const char *text)
{
    struct yaml *y = arena_alloc(arena, sizeof *y);
    y->kind = YAML_SCALAR;
    y->text = text;
    return y;
}

/* The value of a key, as `config` prints it. */
static void pin_value(struct recipe *q, const char *key, const struct yaml *value)
{
    for (uint32_t i = 0; i < recipe_key_count; i++)
        if (strcmp(recipe_keys[i].name, key) == 0)
            q->sources[i].value = value;
}

void record_pin(struct project *p)
{
    struct recipe *q = p->recipe;
    struct yaml *files = arena_alloc(p->arena, sizeof *files);
    files->kind = YAML_LIST;
    files->count = q->data.files.count;
    files->items = arena_new_array(p->arena, struct yaml *, files->count + 1);
    for (uint32_t i = 0; i < files->count; i++) {
        q->data.files.items[i] = absolute(p->arena, q->data.files.items[i]);
        files->items[i] = scalar(p->arena, q->data.files.items[i]);
    }
    pin_value(q, "data.files", files);
    if (q->data.valid_file) {
        q->data.valid_file = absolute(p->arena, q->data.valid_file);
        pin_value(q, "data.valid", scalar(p->arena, q->data.valid_file));
    }
    bool installed = model_find(p->arena, q->model, NULL, model_folders(p->arena)) != NULL &&
                     strchr(q->model, '/') == NULL;
    if (!installed) {
        q->model = absolute(p->arena, p->s.model->path);
        pin_value(q, "model", scalar(p->arena, q->model));
    }
}

/* --- run.json ----------------------------------------------------------------------------- */

static char *cpu_name(struct arena *arena)
{
    char line[512], *name = NULL;
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && !name && fgets(line, sizeof line, f)) {
        char *colon = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (colon) {
            line[strcspn(line, "\n")] = 0;
            name = arena_strdup(arena, colon + 2);
        }
    }
    if (f)
        fclose(f);
    return name ? name : arena_strdup(arena, "unknown");
}

static char *data_hash(struct project *p)
{
    return arena_printf(p->arena, "%016llx", (unsigned long long)dataset_hash(p->data));
}

static json_t *describe(struct project *p)
{
    json_t *o = json_object(), *argv = json_array();
    char stamp[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    for (int i = 0; i < p->line->argc; i++)
        json_array_append_new(argv, json_string(p->line->argv[i]));
    json_object_set_new(o, "version", json_string(sedge_version));
    json_object_set_new(o, "commit", json_string(sedge_commit));
    json_object_set_new(o, "command", argv);
    json_object_set_new(o, "started", json_string(stamp));
    json_object_set_new(o, "config", json_string("config.yaml"));
    json_object_set_new(o, "data", json_string(dataset_description(p->data)));
    json_object_set_new(o, "data_hash", json_string(data_hash(p)));
    json_object_set_new(o, "cpu", json_string(cpu_name(p->arena)));
    json_object_set_new(o, "isa", json_string(p->s.engine.isa));
    json_object_set_new(o, "threads", json_integer(p->s.engine.threads));
    json_object_set_new(o, "seed", json_integer(p->recipe->train.seed));
    return o;
}

bool record_write(struct project *p, struct folder *folder)
{
    char *config = config_yaml(p->arena, p->recipe, p->s.model, false);
    json_t *json = describe(p);
    char *text = json_dumps(json, JSON_INDENT(2));
    bool good = text && file_write_atomic(p->diags, folder_file(folder, "run.json"), text, strlen(text));
    free(text);
    json_decref(json);
    return good &&
           vocabulary_write(p->diags, p->vocabulary, folder_file(folder, "vocabulary.json")) &&
           file_write_atomic(p->diags, folder_file(folder, "config.yaml"), config, strlen(config));
}

/* --- comparing ---------------------------------------------------------------------------- */

/* Keys that decide when to stop, look or save: they change no step that was done. */
static bool may_change(const char *key)
{
    static const char *const keys[] = {"train.steps",     "train.minutes",   "train.eval_every",
                                       "train.checkpoint_every", "train.keep"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return strncmp(key, "eval.", 5) == 0 || strncmp(key, "sample.", 7) == 0;
}

static char *shown(struct project *p, const struct yaml *value)
{
    return value ? yaml_print(p->arena, value) : arena_strdup(p->arena, "(not set)");
}

/* Reports each key of section MAP (or of the root) whose value differs from the old one. */
static void compare_maps(struct project *p, const struct yaml *now, const struct yaml *old,
                         const char *prefix, uint32_t *found)
{
    const struct yaml *sides[] = {now, old};
    for (int side = 0; side < 2; side++) {
        for (uint32_t i = 0; sides[side] && i < sides[side]->count; i++) {
            const char *name = sides[side]->keys[i]->text;
            const struct yaml *a = yaml_get(now, name), *b = yaml_get(old, name);
            char *key = prefix[0] ? arena_printf(p->arena, "%s.%s", prefix, name)
                                  : arena_strdup(p->arena, name);
            if (side == 1 && a)
                continue; /* seen from the other side */
            if (a && b && a->kind == YAML_MAP && b->kind == YAML_MAP) {
                compare_maps(p, a, b, key, found);
                continue;
            }
            if (may_change(key) || strcmp(shown(p, a), shown(p, b)) == 0)
                continue;
            diag_hint(p->diags, "%s: %s there, %s now", key, shown(p, b), shown(p, a));
            (*found)++;
        }
    }
}

static bool same_config(struct project *p, struct folder *folder)
{
    struct diags *quiet = p->diags;
    char *path = folder_file(folder, "config.yaml");
    char *text = config_yaml(p->arena, p->recipe, p->s.model, false);
    const struct yaml *old = yaml_read_file(quiet, p->arena, path, (struct span){0});
    const struct yaml *now = yaml_read_text(quiet, p->arena, "this configuration", text, strlen(text));
    if (!old || !now)
        return false;
    struct diags *trial = diags_new(p->arena);
    struct project probe = *p;
    uint32_t found = 0;
    probe.diags = trial;
    diag_error(trial, FAULT_CONFIG, (struct span){0}, "probe");
    compare_maps(&probe, now, old, "", &found);
    if (!found)
        return true;
    diag_error(p->diags, FAULT_CONFIG, (struct span){0},
               "%s is a run of another configuration", folder->path);
    compare_maps(p, now, old, "", &found);
    diag_hint(p->diags, "--overwrite starts it anew; -o OTHER --init-from %s starts from its weights",
              folder->path);
    return false;
}

static bool same_text(struct project *p, json_t *json, const char *key, const char *now,
                      const char *what, const char *hint)
{
    const char *old = json_string_value(json_object_get(json, key));
    if (old && strcmp(old, now) == 0)
        return true;
    diag_error(p->diags, FAULT_DATA, (struct span){0}, "%s (%s then, %s now): it would not be the same run",
               what, old ? old : "nothing", now);
    diag_hint(p->diags, "%s", hint);
    return false;
}

bool record_matches(struct project *p, struct folder *folder)
{
    if (!same_config(p, folder))
        return false;
    json_error_t error;
    char *path = folder_file(folder, "run.json");
    json_t *json = json_load_file(path, 0, &error);
    if (!json) {
        diag_error(p->diags, FAULT_DATA, (struct span){0}, "%s: %s", path, error.text);
        diag_hint(p->diags, "--overwrite starts the run anew");
        return false;
    }
    bool good =
        same_text(p, json, "data_hash", data_hash(p), "the data has changed",
                  "bring the old data back, or start another run with --init-from") &&
        same_text(p, json, "isa", p->s.engine.isa, "the instruction set differs",
                  "set SEDGE_ISA to the old one, or start another run with --init-from");
    json_decref(json);
    return good;
}
