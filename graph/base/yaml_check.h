/* What can be wrong with a collection although libyaml accepts it: for yaml.c only. */
#ifndef SEDGE_BASE_YAML_CHECK_H
#define SEDGE_BASE_YAML_CHECK_H

#include "graph/base/yaml.h"

/* A scalar of which nothing is written, as the value of `key:`. */
bool yaml_is_empty(const struct yaml *node);

/* Reports what cannot be a key; false when its pair has to be left out. */
bool yaml_check_key(struct diags *diags, const struct yaml *key);

/* Both report the traps of flow style (a list is checked only when written in brackets, a map with
 * FLOW only when written in braces); a map also for duplicate keys. */
void yaml_check_list(struct diags *diags, struct arena *arena, const struct yaml *list);
void yaml_check_map(struct diags *diags, struct arena *arena, const struct yaml *map, bool flow);

#endif
