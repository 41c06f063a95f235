/* What `sedge bench` measures besides training. */
#ifndef SEDGE_TOOLS_BENCH_H
#define SEDGE_TOOLS_BENCH_H

#include "tools/command.h"

/* The variance of the estimators of the bound of a trained run, by noise alone: the data is fixed.
 * Returns the exit code. */
int bench_estimators(struct command_line *line);

#endif
