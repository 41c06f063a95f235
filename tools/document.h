/* What a file given on the command line is: commands that take a model or a recipe ask here. */
#ifndef SEDGE_TOOLS_DOCUMENT_H
#define SEDGE_TOOLS_DOCUMENT_H

#include "tools/project.h"

enum document { DOCUMENT_MODEL, DOCUMENT_RECIPE, DOCUMENT_GRAMMAR };

/* Finds NAME as a path, then by bare name among recipes, models and grammars, and says which it
 * is; NULL after reporting. */
char *document_find(struct command_line *line, const char *name, enum document *kind);

/* Reads the recipe at PATH with its data and model. Where its data files are missing the model's
 * own `vocab` is taken: with EXCUSE under a warning, else under an error (true all the same: there
 * is a model to look at). False after reporting anything else. */
bool document_recipe(struct project *p, struct command_line *line, const char *path, bool excuse);

/* The name most like NAME among the YAML files in FOLDERS, without suffix; NULL: none is. */
const char *document_nearest(struct arena *arena, const char *name, const char *const *folders);

/* The file's name without its folder. */
const char *document_base(const char *path);

#endif
