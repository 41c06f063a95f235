/* Ctrl-C and SIGTERM: remembered, and acted on between two steps. */
#ifndef SEDGE_TOOLS_SIGNALS_H
#define SEDGE_TOOLS_SIGNALS_H

#include <stdbool.h>

/* From now on the first SIGINT or SIGTERM is remembered; a second one ends the process at once. */
void signals_catch(void);
bool signals_caught(void);
/* 130 after SIGINT, 75 after SIGTERM, 0 before either. */
int signals_exit_code(void);

#endif
