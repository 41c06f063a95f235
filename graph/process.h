/* The forward process of a model: reads `process:` into a chain and a noise expression. */
#ifndef SEDGE_GRAPH_PROCESS_H
#define SEDGE_GRAPH_PROCESS_H

#include "graph/model.h"

/* Fills in model->processes and the param `states` (of the first one), applying settings whose key
 * starts with `process.`; false after reporting. A model without a process has none. */
bool process_read(struct model *model, const struct model_request *request);

/* "absorb 10 -log1p(…)", the real tokens and the noise: for reports and the text form. */
char *process_print(struct arena *arena, const struct process *process);

#endif
