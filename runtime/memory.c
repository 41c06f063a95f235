/* Maps the regions that state, arena and inputs live in. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "runtime/memory.h"
#include "graph/base/sanitize.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool region_map(struct diags *diags, struct region *region, size_t size, const char *what)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (size + page - 1) / page * page;
    void *at = mmap(NULL, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *region = (struct region){0};
    if (at == MAP_FAILED || mprotect((char *)at + body, page, PROT_NONE) != 0) {
        diag_error(diags, FAULT_RUN, (struct span){0}, "no memory for %s (%.1f MiB): %s", what,
                   (double)size / (1024 * 1024), strerror(errno));
        diag_hint(diags, "a smaller batch, length or preset needs less: see `sedge plan`");
        return false;
    }
    *region = (struct region){at, size, body + page};
    return true;
}

void region_unmap(struct region *region)
{
#ifdef SANITIZED
    if (region->data) /* what the executor poisoned must not outlive the mapping */
        ASAN_UNPOISON_MEMORY_REGION(region->data, region->size);
#endif
    if (region->data)
        munmap(region->data, region->mapped);
    *region = (struct region){0};
}
