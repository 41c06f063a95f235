/* The end of the road for programmer faults: called through BUG_ON from everywhere.
 *
 * With arena.c this is the only place below tools/ that prints or stops the process: there is no
 * caller left that could do better. */
#include "graph/base/check.h"

#include <stdio.h>
#include <stdlib.h>

void bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "sedge: bug at %s:%d: %s\n", file, line, what);
    fflush(stderr);
    abort();
}
