/* Where models, recipes and grammars are looked for: beside the binary in a checkout, in
 * ../share/sedge when it is installed, and in the prefix it was built for. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "tools/command.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SEDGE_PREFIX_MODELS
#define SEDGE_PREFIX_MODELS "/usr/local/share/sedge/models"
#endif

static char *binary_folder(struct arena *arena)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return arena_strdup(arena, ".");
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = 0;
    return arena_strdup(arena, path);
}

static const char *const *folders(struct arena *arena, const char *const *below, uint32_t count)
{
    char *at = binary_folder(arena);
    const char *roots[] = {
        arena_printf(arena, "%s/models", at), arena_printf(arena, "%s/../../models", at),
        arena_printf(arena, "%s/../share/sedge/models", at), SEDGE_PREFIX_MODELS};
    const char **list = arena_new_array(arena, const char *, 4 * count + 1);
    uint32_t n = 0;
    for (int i = 0; i < 4; i++) {
        if (access(roots[i], F_OK) != 0)
            continue;
        char *clean = realpath(roots[i], NULL); /* messages show these paths */
        for (uint32_t k = 0; k < count; k++)
            list[n++] = arena_printf(arena, "%s%s", clean ? clean : roots[i], below[k]);
        free(clean);
    }
    return list;
}

const char *const *model_folders(struct arena *arena)
{
    static const char *const below[] = {"", "/grammars"};
    return folders(arena, below, 2);
}

const char *const *recipe_folders(struct arena *arena)
{
    static const char *const below[] = {"/recipes"};
    return folders(arena, below, 1);
}
