/* Tells models, recipes and grammars apart. Called by `check`, `config` and `plan`. */
#include "tools/document.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

const char *document_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *document_nearest(struct arena *arena, const char *name, const char *const *folders)
{
    const char *names[256];
    size_t n = 0;
    for (; *folders; folders++) {
        DIR *folder = opendir(*folders);
        for (struct dirent *e; folder && n < 256 && (e = readdir(folder));) {
            const char *dot = strrchr(e->d_name, '.');
            if (dot && strcmp(dot, ".yaml") == 0)
                names[n++] = arena_strndup(arena, e->d_name, (size_t)(dot - e->d_name));
        }
        if (folder)
            closedir(folder);
    }
    const char *base = document_base(name), *dot = strrchr(base, '.');
    return diag_nearest(dot ? arena_strndup(arena, base, (size_t)(dot - base)) : base, names, n);
}

static void missing(struct command_line *line, const char *name, const char *const *recipes,
                    const char *const *models)
{
    diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "there is no model or recipe `%s`",
               name);
    const char *near = document_nearest(line->arena, name, recipes);
    if (!near)
        near = document_nearest(line->arena, name, models);
    if (near)
        diag_hint(line->diags, "did you mean `%s`?", near);
    else if (models[0])
        diag_hint(line->diags, "give a file, or the name of one in %s", models[0]);
    else
        diag_hint(line->diags, "give a file: no installed models were found");
}

char *document_find(struct command_line *line, const char *name, enum document *kind)
{
    const char *const *recipes = recipe_folders(line->arena), *const *models =
                                                                  model_folders(line->arena);
    char *path = model_find(line->arena, name, NULL, recipes);
    if (!path)
        path = model_find(line->arena, name, NULL, models);
    if (!path) {
        missing(line, name, recipes, models);
        return NULL;
    }
    /* A file with a fault in it is read as a model or recipe again, which reports it. */
    struct diags *aside = diags_new(line->arena);
    const struct yaml *root = yaml_read_file(aside, line->arena, path, (struct span){0});
    *kind = DOCUMENT_MODEL;
    if (!root || root->kind != YAML_MAP)
        return path;
    bool model =
        yaml_get(root, "programs") || yaml_get(root, "blocks") || yaml_get(root, "presets");
    if (yaml_get(root, "grammar"))
        *kind = DOCUMENT_GRAMMAR;
    else if (!model &&
             (yaml_get(root, "model") || yaml_get(root, "data") || yaml_get(root, "train")))
        *kind = DOCUMENT_RECIPE;
    return path;
}

/* Whether the recipe's data files are there; what is wrong in the recipe is left to its reader. */
static bool data_exists(struct command_line *line, const char *path)
{
    struct project p = {.arena = line->arena};
    p.recipe = recipe_read(line->arena, diags_new(line->arena), path, line->overrides,
                           line->override_count);
    bool found = p.recipe && p.recipe->data.files.count;
    for (uint32_t i = 0; found && i < p.recipe->data.files.count; i++)
        found = access(project_data_file(&p, p.recipe->data.files.items[i]), R_OK) == 0;
    return found || !p.recipe;
}

bool document_recipe(struct project *p, struct command_line *line, const char *path, bool excuse)
{
    if (!excuse || data_exists(line, path)) {
        if (project_open(p, line, path, NULL, false))
            return true;
        return !excuse && p->recipe && p->s.model && !p->data &&
               diags_exit_code(line->diags) == 3 &&
               session_recipe_model(&p->s, line, p->recipe, false);
    }
    *p = (struct project){.line = line, .arena = line->arena, .diags = line->diags};
    p->recipe = recipe_read(line->arena, line->diags, path, line->overrides, line->override_count);
    if (!p->recipe || !session_recipe_model(&p->s, line, p->recipe, false) ||
        !session_machine(&p->s))
        return false;
    diag_warning(line->diags, (struct span){0},
                 "the data is not there: `vocab` is the model's own");
    return true;
}
