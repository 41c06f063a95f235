/* What `check` says of a process: its chain, its noise drawn over t, and what sampling starts
 * from. */
#ifndef SEDGE_TOOLS_PROCESS_SHOW_H
#define SEDGE_TOOLS_PROCESS_SHOW_H

#include "graph/process.h"
#include "graph/writer.h"

/* SYMBOLS: names of the tokens, NULL where no data gives them. BASE_PROGRAM: the model has a
 * program `bound_base`, which draws a leak from the network. */
void process_show(struct writer *w, const struct process *process, const char *const *symbols,
                  bool base_program);

#endif
