/* A resolved recipe as text. */
#ifndef SEDGE_TOOLS_CONFIG_TEXT_H
#define SEDGE_TOOLS_CONFIG_TEXT_H

#include "graph/recipe.h"

/* One setting, resolved. */
struct config_item {
    const char *key;    /* dotted path: "train.lr", "params.dim" */
    const char *value;  /* YAML on one line */
    const char *source; /* "text.yaml:9", "default", "command line", "preset tiny", "the data" */
};
struct config_items {
    struct config_item *items;
    uint32_t count, capacity;
};

/* Every key that has a value, every param, and the process where the recipe changes it. Files are
 * named so that they are found from any folder. MODEL was read with RECIPE's settings. */
void config_items(struct arena *arena, const struct recipe *recipe, const struct model *model,
                  struct config_items *out);

/* The same as a recipe that reads back to the same configuration; with COMMENTS each line ends
 * with `# <- source`. Two runs are alike when their texts without comments are. */
char *config_yaml(struct arena *arena, const struct recipe *recipe, const struct model *model,
                  bool comments);

#endif
