/* Ctrl-C and SIGTERM: remembered, and acted on between two steps. */
#ifndef SEDGE_TOOLS_SIGNALS_H
#define SEDGE_TOOLS_SIGNALS_H

#include <stdbool.h>

/* From now on the first SIGINT or SIGTERM is remembered; a second one ends the process at once. On
 * a terminal the handler says SAID (NULL: nothing), for a step may take a while. */
void signals_catch(const char *said);
bool signals_caught(void);
/* 130 after SIGINT, 75 after SIGTERM, 0 before either. */
int signals_exit_code(void);

/* A file that grows past `ulimit -f` is then an error of the write, as a full disk is. */
void signals_ignore_limits(void);

#endif
