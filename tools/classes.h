/* The classes of a run's data, by the names that its recipe gives them. */
#ifndef SEDGE_TOOLS_CLASSES_H
#define SEDGE_TOOLS_CLASSES_H

#include "tools/project.h"

/* The class that TEXT, the value of OPTION, means: a name of data.classes, or its number. A model
 * without the param `classes` takes any number. False after reporting. */
bool class_find(struct project *p, const char *option, const char *text, int32_t *label);
/* Its name, or its number as text. */
const char *class_name(const struct project *p, int32_t label);
/* "harbour, letters", or "0 to 1" where no names are known. */
const char *class_list(const struct project *p);

#endif
