/* Opens models and machines for the commands. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "tools/session.h"
#include "ops/ops.h"
#include "tools/document.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 1024

static bool missing(struct command_line *line, const char *what, const char *name,
                    const char *const *folders)
{
    diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "there is no %s `%s`", what, name);
    const char *near = document_nearest(line->arena, name, folders);
    if (near)
        diag_hint(line->diags, "did you mean `%s`?", near);
    else if (folders[0])
        diag_hint(line->diags, "give a file, or the name of one in %s", folders[0]);
    else
        diag_hint(line->diags, "give a file: no installed models were found");
    return false;
}

static bool read_options(struct session *s, struct command_line *line)
{
    const char *fuse = option_text(line, "fuse");
    bool off = fuse && strcmp(fuse, "off") == 0;
    s->unfused |= off;
    if (!fuse || off || strcmp(fuse, "on") == 0)
        return true;
    diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "--fuse is on or off, not `%s`", fuse);
    return false;
}

static bool read_model(struct session *s, struct command_line *line, const char *name,
                       const char *beside, struct model_request *q)
{
    const char *const *folders = model_folders(line->arena);
    const char *path = model_find(line->arena, name, beside, folders);
    if (!path)
        return missing(line, "model", name, folders);
    q->path = path;
    q->folders = folders;
    if (s->vocabulary) {
        q->symbols = s->vocabulary->symbols;
        q->symbol_count = s->vocabulary->size;
    }
    s->arena = line->arena;
    s->diags = line->diags;
    if (!read_options(s, line))
        return false;
    s->model = model_read(line->arena, line->diags, &ops_table, q);
    return s->model != NULL;
}

static bool add_dims(struct session *s, const struct model_request *q)
{
    s->dims = arena_new_array(s->arena, struct named_size, q->setting_count + 1);
    for (uint32_t i = 0; i < q->setting_count; i++) {
        int64_t size;
        if (!q->unknown[i])
            continue;
        const struct setting *set = &q->settings[i];
        if (set->value->kind != YAML_SCALAR || !yaml_int(set->value, &size) || size < 1 ||
            size > INT32_MAX) {
            diag_error(
                s->diags, FAULT_CONFIG, set->value->span,
                "the model has no param `%s`, and a size must be a whole number from 1 to %d",
                set->key, INT32_MAX);
            return false;
        }
        s->dims[s->dim_count++] = (struct named_size){set->key, size};
    }
    return true;
}

bool session_model(struct session *s, struct command_line *line, const char *model)
{
    struct model_request q = {0};
    struct setting *settings =
        arena_new_array(line->arena, struct setting, line->override_count + 1);
    for (uint32_t i = 0; i < line->override_count; i++) {
        const struct override *o = &line->overrides[i];
        if (strcmp(o->key, "preset") == 0 && o->value->kind == YAML_SCALAR) {
            q.preset = o->value->text;
            q.preset_span = o->value->span;
            continue;
        }
        if (s->limited && strcmp(o->key, "memory") == 0) {
            if (!recipe_memory(line->diags, line->arena, o->value, &s->memory))
                return false;
            s->memory_span = o->value->span;
            continue;
        }
        const char *key = strncmp(o->key, "params.", 7) == 0 ? o->key + 7 : o->key;
        settings[q.setting_count++] = (struct setting){key, o->value, LAYER_COMMAND};
    }
    q.settings = settings;
    q.unknown = arena_new_array(line->arena, bool, q.setting_count + 1);
    return read_model(s, line, model, NULL, &q) && add_dims(s, &q);
}

bool session_recipe_model(struct session *s, struct command_line *line, const struct recipe *recipe,
                          bool without_processes)
{
    struct model_request q = {.preset = recipe->preset,
                              .preset_span = recipe->preset_span,
                              .settings = recipe->settings,
                              .setting_count = recipe->setting_count,
                              .without_processes = without_processes};
    /* A recipe's own is beside it; what is typed is here first, as are files of data. */
    bool here = recipe->model_typed && model_find(line->arena, recipe->model, NULL, NULL);
    return read_model(s, line, recipe->model, here ? NULL : recipe->path, &q);
}

char *find_recipe(struct command_line *line, const char *name)
{
    const char *const *folders = recipe_folders(line->arena);
    char *path = model_find(line->arena, name, NULL, folders);
    if (path)
        return path;
    missing(line, "recipe", name, folders);
    if (model_find(line->arena, name, NULL, model_folders(line->arena)))
        diag_hint(line->diags, "`%s` is a model: a recipe names it, as in sedge %s text model=%s",
                  name, line->command->name, name);
    return NULL;
}

/* Cores that this process may run on: fewer than the machine has in a container or under
 * taskset. */
static long usable_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    return sysconf(_SC_NPROCESSORS_ONLN);
}

static void warn_of_threads(struct session *s, long asked, long cores)
{
    if (asked <= cores || cores <= 0)
        return;
    diag_warning(s->diags, (struct span){0},
                 "OMP_NUM_THREADS=%ld is more than the %ld core%s here: threads that wait for "
                 "one another make everything slower",
                 asked, cores, cores == 1 ? "" : "s");
    diag_hint(s->diags, "set OMP_NUM_THREADS=%ld, or leave it out", cores);
}

/* OMP_NUM_THREADS: the first of a list, one number for each level of nesting; 0 where it is not
 * set. */
static bool threads_asked(struct session *s, long *asked)
{
    const char *text = getenv("OMP_NUM_THREADS");
    char *end = NULL;
    *asked = text && text[0] ? strtol(text, &end, 10) : 0;
    while (end && *end == ' ')
        end++;
    if (!end || (*asked > 0 && (!*end || *end == ','))) {
        *asked = *asked < THREADS_MAX ? *asked : THREADS_MAX;
        return true;
    }
    diag_error(s->diags, FAULT_CONFIG, (struct span){0},
               "OMP_NUM_THREADS=%s: a number of threads is 1 or more", text);
    diag_hint(s->diags, "leave it out, and there are as many as cores");
    return false;
}

bool session_machine(struct session *s)
{
    const char *wanted = getenv("SEDGE_ISA");
    long cores = usable_cores(), asked;
    if (!threads_asked(s, &asked))
        return false;
    s->engine.threads = (int)(asked > 0 ? asked : cores > 0 ? cores : 1);
    s->engine.isa = kernel_isa(wanted && wanted[0] ? wanted : NULL);
    if (!s->engine.isa) {
        diag_error(s->diags, FAULT_CONFIG, (struct span){0},
                   "SEDGE_ISA=%s: no such instruction set here", wanted);
        diag_hint(s->diags, "this machine has %s and below, of v4, v3, v2, plain",
                  kernel_isa(NULL));
        return false;
    }
    warn_of_threads(s, asked, cores);
    return true;
}

struct plan *session_compile(struct session *s, struct elaborate_request *request,
                             struct compile_options *options)
{
    struct elaborate_request q = *request;
    struct named_size *dims =
        arena_new_array(s->arena, struct named_size, q.dim_count + s->dim_count + 1);
    for (uint32_t i = 0; i < s->dim_count; i++)
        dims[i] = s->dims[i];
    for (uint32_t i = 0; i < q.dim_count; i++)
        dims[s->dim_count + i] = q.dims[i]; /* later ones win */
    q.dims = dims;
    q.dim_count += s->dim_count;
    struct compile_options defaults = {0}, *o = options ? options : &defaults;
    o->unfused = s->unfused;
    return compile_program(s->model, &q, o);
}

uint32_t session_training(struct session *s, struct elaborate_request *request,
                          struct compile_options *options, const struct update_options *update,
                          struct plan *plans[2])
{
    struct compile_options apart = {.unfused = s->unfused};
    options->gradients = true;
    options->update = options->accumulate ? NULL : update;
    plans[0] = session_compile(s, request, options);
    if (!plans[0] || options->update)
        return plans[0] != NULL;
    plans[1] = compile_graph(update_graph(s->model, update), &apart);
    return plans[1] ? 2 : 0;
}

bool session_state(struct session *s, struct plan *const *plans, uint32_t count, uint32_t also)
{
    const struct state_table *table = &s->model->states;
    bool *used = arena_new_array(s->arena, bool, table->count + 1);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t r = 0; r < plans[i]->row_count; r++)
            used[r] |= plans[i]->reads[r];
    if (also != NO_ROW)
        used[also] = true;
    if (!state_open(s->diags, s->arena, table, used, &s->state))
        return false;
    s->engine.state = &s->state;
    return true;
}
