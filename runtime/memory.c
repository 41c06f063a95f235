/* Maps the regions that state, arena and inputs live in. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, madvise */
#include "runtime/memory.h"
#include "graph/base/sanitize.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* Maps SIZE bytes from a border of huge pages on: what is cut off before it goes back. */
static void *map_aligned(size_t size)
{
    unsigned char *at =
        mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return at;
    size_t before = (HUGE_PAGE - (uintptr_t)at % HUGE_PAGE) % HUGE_PAGE;
    if (before)
        munmap(at, before);
    munmap(at + before + size, HUGE_PAGE - before);
    return at + before;
}

bool region_map(struct diags *diags, struct region *region, size_t size, const char *what)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (size + page - 1) / page * page;
    unsigned char *at = map_aligned(body + page);
    *region = (struct region){0};
    if (at == MAP_FAILED || mprotect(at + body, page, PROT_NONE) != 0) {
        diag_error(diags, FAULT_RUN, (struct span){0}, "no memory for %s (%.1f MiB): %s", what,
                   (double)size / (1024 * 1024), strerror(errno));
        diag_hint(diags, "a smaller batch, length or preset needs less: see `sedge plan`");
        return false;
    }
#ifdef MADV_HUGEPAGE
    madvise(at, body, MADV_HUGEPAGE); /* a wish: where it is not granted all is as it was */
#endif
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
