/* Writes and compares the record of a run. Called by `train`; what evaluates or samples compares
 * too. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "tools/run_record.h"
#include "graph/elaborate.h"
#include "graph/process_source.h"
#include "graph/text.h"
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

/* The files of a rate or base that was set from outside: `matrix`, `groups`, or the value
 * itself. */
static void pin_table(struct project *p, struct setting *setting)
{
    struct yaml *copy = arena_alloc(p->arena, sizeof *copy);
    struct rate_source source = {.diags = p->diags, .arena = p->arena};
    *copy = *setting->value;
    struct yaml **items = arena_new_array(p->arena, struct yaml *, copy->count + 1);
    for (uint32_t i = 0; i < copy->count; i++)
        items[i] = copy->items[i];
    copy->items = items;
    for (uint32_t i = 0; i <= copy->count; i++) {
        const struct yaml *node = i < copy->count ? items[i] : copy;
        if (node->kind != YAML_SCALAR ||
            (!source_ends(node->text, ".csv") && !source_ends(node->text, ".safetensors")))
            continue;
        struct yaml *pinned = scalar(p->arena, absolute(p->arena, source_path(&source, node)));
        if (i < copy->count)
            items[i] = pinned;
        else
            copy = pinned;
    }
    setting->value = copy;
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
    if (strcmp(q->data.cache, "auto") != 0 && strcmp(q->data.cache, "off") != 0)
        pin_value(q, "data.cache", scalar(p->arena, absolute(p->arena, q->data.cache)));
    const char *colon = q->data.tokenizer ? strchr(q->data.tokenizer, ':') : NULL;
    if (colon) {
        q->data.tokenizer = arena_printf(p->arena, "%.*s:%s", (int)(colon - q->data.tokenizer),
                                         q->data.tokenizer, absolute(p->arena, colon + 1));
        pin_value(q, "data.tokenizer", scalar(p->arena, q->data.tokenizer));
    }
    for (uint32_t i = 0; i < q->setting_count; i++)
        if (strcmp(q->settings[i].key, "process.rate") == 0 ||
            strcmp(q->settings[i].key, "process.base") == 0)
            pin_table(p, &q->settings[i]);
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

/* Of what `train` computes: the text form of its program at this batch, without the places that
 * the nodes come from. */
static char *hash_model(struct arena *arena, struct model *model, int64_t batch)
{
    struct named_size dims[] = {{"batch", batch}};
    struct elaborate_request q = {.program = "train", .dims = dims, .dim_count = 1};
    struct graph *graph = elaborate(model, &q);
    if (!graph)
        return NULL;
    char *text = graph_print(arena, graph), *to = text;
    for (char *from = text; *from;) {
        size_t n = strcspn(from, "\n"), kept = n;
        for (size_t i = 0; i + 1 < n; i++)
            if (from[i] == ' ' && from[i + 1] == '@')
                kept = i;
        memmove(to, from, kept);
        to += kept;
        *to++ = '\n';
        from += n + (from[n] == '\n');
    }
    return arena_printf(arena, "%016llx",
                        (unsigned long long)hash_bytes(text, (size_t)(to - text)));
}

static char *model_hash(struct project *p)
{
    return hash_model(p->arena, p->s.model, p->recipe->train.batch);
}

static json_t *stamp_now(void)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return json_string(stamp);
}

/* One start of the command. Words that are not UTF-8 have no place in JSON. */
static void describe_start(struct project *p, json_t *o)
{
    json_t *argv = json_array();
    for (int i = 0; i < p->line->argc; i++) {
        json_t *word = json_string(p->line->argv[i]);
        json_array_append_new(argv, word ? word : json_string("?"));
    }
    json_object_set_new(o, "version", json_string(sedge_version));
    json_object_set_new(o, "commit", json_string(sedge_commit));
    json_object_set_new(o, "command", argv);
    json_object_set_new(o, "started", stamp_now());
    json_object_set_new(o, "threads", json_integer(p->s.engine.threads));
}

/* Whether steps are fused: the same mathematics, but other roundings. */
static const char *fuse_word(const struct project *p)
{
    return p->s.unfused ? "off" : "on";
}

/* How a run began. */
static json_t *describe(struct project *p)
{
    json_t *o = json_object();
    char *model = model_hash(p);
    if (!model) {
        json_decref(o);
        return NULL;
    }
    describe_start(p, o);
    json_object_set_new(o, "config", json_string("config.yaml"));
    if (p->data) {
        json_object_set_new(o, "data", json_string(dataset_description(p->data)));
        json_object_set_new(o, "data_hash", json_string(data_hash(p)));
        if (dataset_document_end(p->data))
            json_object_set_new(o, "document_end", json_string(dataset_document_end(p->data)));
    }
    json_object_set_new(o, "model_hash", json_string(model));
    json_object_set_new(o, "cpu", json_string(cpu_name(p->arena)));
    json_object_set_new(o, "isa", json_string(p->s.engine.isa));
    json_object_set_new(o, "fuse", json_string(fuse_word(p)));
    json_object_set_new(o, "seed", json_integer(p->recipe->train.seed));
    return o;
}

static json_t *read_record(struct project *p, const struct folder *folder)
{
    json_error_t error;
    char *path = folder_file(folder, "run.json");
    json_t *json = json_load_file(path, 0, &error);
    if (!json) {
        diag_error(p->diags, FAULT_DATA, (struct span){0}, "%s: %s", path, error.text);
        diag_hint(p->diags, "--overwrite starts the run anew");
    }
    return json;
}

/* The record of a run that goes on: as it began, and once more how it goes on. */
static json_t *describe_again(struct project *p, const struct folder *folder)
{
    json_t *o = read_record(p, folder), *again = json_object();
    json_t *list = o ? json_object_get(o, "resumed") : NULL;
    if (o && !json_is_array(list)) {
        json_object_set_new(o, "resumed", json_array());
        list = json_object_get(o, "resumed");
    }
    json_object_set_new(again, "step", json_integer(*p->step));
    describe_start(p, again);
    json_array_append_new(list, again); /* frees it when there is no list */
    return o;
}

/* Takes JSON, NULL after an error that was reported. */
static bool write_json(struct project *p, struct folder *folder, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    bool good =
        text && file_write_atomic(p->diags, folder_file(folder, "run.json"), text, strlen(text));
    free(text);
    json_decref(json);
    return good;
}

/* Takes JSON, as write_json does. */
static bool write_files(struct project *p, struct folder *folder, json_t *json)
{
    char *config = config_yaml(p->arena, p->recipe, p->s.model, false);
    return write_json(p, folder, json) &&
           vocabulary_write(p->diags, p->vocabulary, folder_file(folder, "vocabulary.json")) &&
           file_write_atomic(p->diags, folder_file(folder, "config.yaml"), config, strlen(config));
}

bool record_write(struct project *p, struct folder *folder, bool exists)
{
    const struct train_recipe *t = &p->recipe->train;
    struct train_config c = {.steps = t->steps, .minutes = t->minutes};
    if (exists && train_is_over(&c, *p->step, folder->seconds))
        return true; /* nothing goes on */
    return write_files(p, folder, exists && *p->step > 0 ? describe_again(p, folder) : describe(p));
}

bool record_import(struct project *p, struct folder *folder, json_t *origin)
{
    json_t *json = describe(p);
    if (json)
        json_object_set(json, "imported", origin);
    json_decref(origin);
    return write_files(p, folder, json);
}

/* --- comparing ---------------------------------------------------------------------------- */

/* Keys that decide when to stop, look or save, and what is computed twice: they change no step that
 * was done. */
static bool may_change(const char *key)
{
    static const char *const keys[] = {
        "train.steps", "train.minutes", "train.eval_every", "train.checkpoint_every",
        "train.keep",  "memory",        "data.cache"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return strncmp(key, "eval.", 5) == 0 || strncmp(key, "sample.", 7) == 0;
}

static char *shown(struct project *p, const struct yaml *value)
{
    return value ? yaml_print(p->arena, value) : arena_strdup(p->arena, "(not set)");
}

/* What differs between two configurations, one hint a key in DIAGS; counted when that is NULL. */
struct comparison {
    struct project *p;
    struct diags *diags;
    bool same_data; /* the same bytes under another name are the same data */
    uint32_t found;
};

static void compare_values(struct comparison *c, const char *key, const struct yaml *now,
                           const struct yaml *old)
{
    const struct recipe_key *known = recipe_key_find(key);
    /* What a run of before the key does not say is its default. */
    const char *a = shown(c->p, now);
    const char *b = !old && known && known->value ? known->value : shown(c->p, old);
    const char *of_data =
        c->same_data ? "data.files" : "params.vocab"; /* the data is told of then */
    /* A vocabulary from files is a part of the data. */
    bool moved =
        c->same_data && strcmp(key, "data.tokenizer") == 0 && strchr(a, ':') && strchr(b, ':');
    if (strcmp(a, b) == 0 || may_change(key) || strcmp(key, of_data) == 0 || moved)
        return;
    if (c->diags)
        diag_hint(c->diags, "%s: %s there, %s now", key, b, a);
    c->found++;
}

static void compare_maps(struct comparison *c, const struct yaml *now, const struct yaml *old,
                         const char *prefix)
{
    const struct yaml *sides[] = {now, old};
    for (int side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < sides[side]->count; i++) {
            const char *name = sides[side]->keys[i]->text;
            const struct yaml *a = yaml_get(now, name), *b = yaml_get(old, name);
            char *key = arena_printf(c->p->arena, "%s%s", prefix, name);
            if (side == 1 && a)
                continue; /* seen from the other side */
            if (a && b && a->kind == YAML_MAP && b->kind == YAML_MAP)
                compare_maps(c, a, b, arena_printf(c->p->arena, "%s.", key));
            else
                compare_values(c, key, a, b);
        }
    }
}

static bool same_config(struct project *p, struct folder *folder, bool same_data)
{
    char *path = folder_file(folder, "config.yaml");
    char *text = config_yaml(p->arena, p->recipe, p->s.model, false);
    const struct yaml *old = yaml_read_file(p->diags, p->arena, path, (struct span){0});
    const struct yaml *now =
        yaml_read_text(p->diags, p->arena, "this configuration", text, strlen(text));
    struct comparison c = {.p = p, .same_data = same_data};
    if (!old || !now || old->kind != YAML_MAP)
        return false;
    compare_maps(&c, now, old, "");
    if (!c.found)
        return true;
    diag_error(p->diags, FAULT_CONFIG, (struct span){0}, "%s is a run of another configuration",
               folder->path);
    c.diags = p->diags;
    compare_maps(&c, now, old, "");
    diag_hint(p->diags,
              "--overwrite starts it anew; -o OTHER --init-from %s starts from its weights",
              folder->path);
    return false;
}

/* A key of the record that must be as it was. */
static bool same_text(struct project *p, json_t *json, const char *key, const char *now,
                      const char *what)
{
    const char *old = json_string_value(json_object_get(json, key));
    if (old && strcmp(old, now) == 0)
        return true;
    diag_error(p->diags, FAULT_DATA, (struct span){0},
               "%s (%s then, %s now): it would not be the same run", what, old ? old : "nothing",
               now);
    return false;
}

static bool same_record(struct project *p, struct folder *folder, json_t *json)
{
    static const char other[] = "or start another run with --init-from";
    const char *isa = json_string_value(json_object_get(json, "isa"));
    char *model = model_hash(p);
    if (!model)
        return false;
    if (!same_text(p, json, "data_hash", data_hash(p), "the data has changed")) {
        diag_hint(p->diags, "bring the old data back, %s %s", other, folder->path);
        return false;
    }
    if (!same_text(p, json, "model_hash", model, "the program `train` of the model has changed")) {
        diag_hint(p->diags, "bring the old model back, %s %s", other, folder->path);
        return false;
    }
    if (!same_text(p, json, "isa", p->s.engine.isa, "the instruction set differs")) {
        diag_hint(p->diags, "set SEDGE_ISA=%s to go on, %s %s", isa ? isa : "…", other,
                  folder->path);
        return false;
    }
    if (!json_object_get(json, "fuse")) /* from before there was a choice */
        json_object_set_new(json, "fuse", json_string("off"));
    const char *fuse = json_string_value(json_object_get(json, "fuse"));
    if (!same_text(p, json, "fuse", fuse_word(p), "the fusion of steps differs")) {
        diag_hint(p->diags, "give --fuse %s to go on, %s %s", fuse ? fuse : "off", other,
                  folder->path);
        return false;
    }
    return true;
}

bool record_matches(struct project *p, struct folder *folder)
{
    json_t *json = read_record(p, folder);
    if (!json)
        return false;
    const char *data = json_string_value(json_object_get(json, "data_hash"));
    bool same_data = data && strcmp(data, data_hash(p)) == 0;
    bool good = same_config(p, folder, same_data) && same_record(p, folder, json);
    json_decref(json);
    return good;
}

static const char *recorded(struct arena *arena, const char *run, const char *key)
{
    json_t *json = json_load_file(arena_printf(arena, "%s/run.json", run), 0, NULL);
    const char *text = json_string_value(json_object_get(json, key));
    char *kept = text ? arena_strdup(arena, text) : NULL;
    json_decref(json);
    return kept;
}

const char *record_data_hash(struct arena *arena, const char *run)
{
    return recorded(arena, run, "data_hash");
}

const char *record_document_end(struct arena *arena, const char *run)
{
    return recorded(arena, run, "document_end");
}

bool record_check_model(struct project *p, const char *run)
{
    const char *then = recorded(p->arena, run, "model_hash");
    struct recipe *recipe = p->recipe;
    struct session s = {.vocabulary = p->vocabulary};
    if (!then)
        return true;
    /* What the command line changes is meant to differ. */
    if (p->line->override_count) {
        recipe = recipe_read(p->arena, p->diags, recipe->path, NULL, 0);
        if (!recipe || !session_recipe_model(&s, p->line, recipe, false))
            return false;
    }
    struct model *model = p->line->override_count ? s.model : p->s.model;
    const char *now = hash_model(p->arena, model, recipe->train.batch);
    if (!now)
        return false;
    if (strcmp(then, now) != 0) {
        diag_warning(p->diags, (struct span){0},
                     "the model has changed since %s was trained: its program `train`, or a table "
                     "that its process reads, is another",
                     run);
        diag_hint(p->diags, "bring the old files back, or train anew: the weights learned the old "
                            "ones");
    }
    return true;
}
