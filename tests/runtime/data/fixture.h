/* What the tests of this folder share: a file with given content, gone when the test is. */
#ifndef SEDGE_TEST_DATA_FIXTURE_H
#define SEDGE_TEST_DATA_FIXTURE_H

#include "graph/base/diag.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline const char *fixture_file(struct arena *arena, const void *data, size_t size)
{
    char *path = arena_strdup(arena, "/tmp/sedge-test-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    FILE *file = fdopen(fd, "wb");
    cr_assert_eq(fwrite(data, 1, size, file), size);
    fclose(file);
    return path;
}

static inline const char *fixture_text(struct arena *arena, const char *text)
{
    return fixture_file(arena, text, strlen(text));
}

static inline void assert_clean(struct diags *diags)
{
    cr_assert_eq(diags_errors(diags), 0, "%s", diags_render(diags, false));
}

static inline void assert_says(struct diags *diags, const char *part)
{
    const char *all = diags_render(diags, false);
    cr_assert(strstr(all, part) != NULL, "`%s` is not in: %s", part, all);
}

#endif
