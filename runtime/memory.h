/* Memory of a run: regions that are mapped once, zeroed, and followed by a page that may not be
 * touched, so that a kernel that reads past the end stops at once. They begin at a border of huge
 * pages, and ask for such: addresses of matrices many rows high are then looked up at no cost. */
#ifndef SEDGE_RUNTIME_MEMORY_H
#define SEDGE_RUNTIME_MEMORY_H

#include "graph/base/diag.h"

struct region {
    unsigned char *data; /* NULL: nothing is mapped */
    size_t size;         /* as asked for */
    size_t mapped;
};

/* False after reporting FAULT_RUN when the machine has no memory left. SIZE 0 is allowed. */
bool region_map(struct diags *diags, struct region *region, size_t size, const char *what);
void region_unmap(struct region *region);

#endif
