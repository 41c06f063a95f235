/* The memory map of a plan as a drawing. */
#ifndef SEDGE_TOOLS_PLAN_MAP_H
#define SEDGE_TOOLS_PLAN_MAP_H

#include "passes/plan.h"

/* SVG: steps from left to right, addresses of the arena upwards, one rectangle for each buffer
 * over the steps in which its bytes are needed, coloured by the block that made it. DIAGS names
 * the files of spans. */
char *plan_map(struct arena *arena, const struct diags *diags, const struct plan *plan);

#endif
