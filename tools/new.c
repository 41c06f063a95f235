/* sedge new: writes commented files to start from, and says what to type next. */
#include "runtime/data/dataset.h"
#include "tools/command.h"
#include "tools/templates.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORY_WORDS 4000 /* enough for windows of 128 characters in the held-out tenth */

static const struct option_spec options[] = {{0}};

struct creation {
    struct command_line *line;
    const struct template *template;
    const char *folder; /* ends with a slash, or is empty */
    const char *recipe; /* file name of the recipe in it */
};

static bool run_error(struct creation *c, const char *path)
{
    diag_error(c->line->diags, FAULT_RUN, (struct span){0}, "cannot write `%s`: %s", path,
               strerror(errno));
    return false;
}

static char *place(struct creation *c, uint32_t i)
{
    const char *name = i == 0 ? c->recipe : c->template->files[i].path;
    return arena_printf(c->line->arena, "%s%s", c->folder, name);
}

/* FILE.yaml is the recipe's own name, anything else a folder. */
static void find_place(struct creation *c, const char *argument)
{
    c->recipe = c->template->files[0].path;
    c->folder = "";
    if (!argument)
        return;
    const char *slash = strrchr(argument, '/'), *dot = strrchr(argument, '.');
    bool file = dot && (!slash || dot > slash) && strcmp(dot, ".yaml") == 0;
    if (!file) {
        size_t n = strlen(argument);
        c->folder =
            n && argument[n - 1] == '/' ? argument : arena_printf(c->line->arena, "%s/", argument);
        return;
    }
    c->recipe = slash ? slash + 1 : argument;
    if (slash)
        c->folder = arena_strndup(c->line->arena, argument, (size_t)(slash + 1 - argument));
}

/* All or nothing: each file must be new before the first is written. */
static bool check_new(struct creation *c)
{
    bool good = true;
    for (uint32_t i = 0; i < TEMPLATE_FILES && c->template->files[i].path; i++) {
        char *path = place(c, i);
        if (i && strcmp(c->recipe, c->template->files[i].path) == 0) {
            diag_error(c->line->diags, FAULT_CONFIG, (struct span){0},
                       "`%s` is what the file beside the recipe is called: choose another name",
                       c->recipe);
            return false;
        }
        if (access(path, F_OK) != 0)
            continue;
        diag_error(c->line->diags, FAULT_CONFIG, (struct span){0},
                   "`%s` is there already, and is left as it is", path);
        diag_hint(c->line->diags, "name another place: sedge new %s FOLDER", c->template->name);
        good = false;
    }
    return good;
}

static bool make_folder(struct creation *c)
{
    char *path = arena_strdup(c->line->arena, c->folder);
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (path[0] && mkdir(path, 0777) != 0 && errno != EEXIST)
            return run_error(c, path);
        *slash = '/';
    }
    return true;
}

static bool write_new(struct creation *c, const char *path, const char *text)
{
    int out = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    FILE *file = out < 0 ? NULL : fdopen(out, "w");
    bool good = file && fputs(text, file) != EOF;
    if (file && fclose(file) != 0)
        good = false;
    return good || run_error(c, path);
}

/* Text to try the recipe on, from the known language of the quickstart; NULL after reporting. */
static char *story(struct creation *c)
{
    struct arena *arena = c->line->arena;
    const char *path = NULL;
    for (const char *const *f = model_folders(arena); *f && !path; f++) {
        path = arena_printf(arena, "%s/grammars/quickstart.yaml", *f);
        path = access(path, F_OK) == 0 ? path : NULL;
    }
    if (!path) {
        diag_error(c->line->diags, FAULT_CONFIG, (struct span){0},
                   "put your text into `%s%s` first: the grammars that come with sedge are missing",
                   c->folder, c->template->data);
        return NULL;
    }
    struct dataset_options o = {.files = &path, .file_count = 1, .seed = 1, .length = STORY_WORDS};
    struct dataset *data = dataset_open(c->line->diags, arena, &o);
    if (!data)
        return NULL;
    int32_t *ids = arena_new_array(arena, int32_t, STORY_WORDS);
    dataset_train_window(data, random_key(1, "new"), 0, 0, ids);
    char *text = vocabulary_decode(dataset_vocabulary(data), arena, ids, STORY_WORDS, "", NULL);
    dataset_close(data);
    uint32_t column = 0;
    for (char *at = text; *at; at++)
        if (++column > 80 && *at == ' ') {
            *at = '\n';
            column = 0;
        }
    return text;
}

static bool add_data(struct creation *c)
{
    char *path = arena_printf(c->line->arena, "%s%s", c->folder, c->template->data);
    if (access(path, F_OK) == 0) {
        printf("found  %s\n", path);
        return true;
    }
    char *text = story(c);
    if (!text || !write_new(c, path, text))
        return false;
    printf("wrote  %s: a text to try it on; put your own in its place\n", path);
    return true;
}

static int create(struct creation *c)
{
    struct diags *d = c->line->diags;
    if (!check_new(c) || !make_folder(c) || (c->template->data && !add_data(c)))
        return diags_exit_code(d);
    for (uint32_t i = 0; i < TEMPLATE_FILES && c->template->files[i].path; i++) {
        if (!write_new(c, place(c, i), c->template->files[i].text))
            return diags_exit_code(d);
        printf("wrote  %s\n", place(c, i));
    }
    const char *recipe = place(c, 0);
    printf("\nnext:\n  sedge check %s\n  sedge train %s -o %sruns/first\n"
           "  sedge sample %sruns/first\n",
           recipe, recipe, c->folder, c->folder);
    return 0;
}

static int run(struct command_line *line)
{
    struct creation c = {.line = line};
    const char *names[8], *name = line->positional[0];
    for (uint32_t i = 0; i < template_count; i++) {
        names[i] = templates[i].name;
        if (strcmp(names[i], name) == 0)
            c.template = &templates[i];
    }
    if (c.template) {
        find_place(&c, line->positional_count > 1 ? line->positional[1] : NULL);
        return create(&c);
    }
    diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "`%s` is nothing to start from", name);
    const char *near = diag_nearest(name, names, template_count);
    if (near)
        diag_hint(line->diags, "did you mean `sedge new %s`?", near);
    else
        diag_hint(line->diags, "there are: text, grammar, model");
    return diags_exit_code(line->diags);
}

const struct command command_new = {
    .name = "new",
    .usage = "text|grammar|model [FOLDER|FILE.yaml]",
    .doc = "write a commented recipe, grammar or model to start from",
    .detail =
        "  text     my.yaml: a recipe that learns my.txt, a sample of which is made if missing\n"
        "  grammar  my-grammar.yaml, a known language, and my.yaml, a recipe that learns it\n"
        "  model    my-model.yaml, a small network, and my.yaml, a recipe that trains it\n"
        "Files go to FOLDER (default: here); FILE.yaml names the recipe itself. Nothing that is\n"
        "there is overwritten.",
    .least = 1,
    .most = 2,
    .options = options,
    .run = run,
};
