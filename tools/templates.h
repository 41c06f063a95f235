/* The files that `sedge new` writes. */
#ifndef SEDGE_TOOLS_TEMPLATES_H
#define SEDGE_TOOLS_TEMPLATES_H

#include <stddef.h>
#include <stdint.h>

#define TEMPLATE_FILES 2

struct template
{
    const char *name, *doc;
    struct template_file {
        const char *path; /* in the folder */
        const char *text;
    } files[TEMPLATE_FILES]; /* the recipe first; unused ones have a NULL path */
    const char *data; /* text file that the recipe reads and that is made if missing, or NULL */
};
extern const struct template templates[];
extern const uint32_t template_count;

#endif
