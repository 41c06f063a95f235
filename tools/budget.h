/* How training is made to need no more memory than it may. Shared by the commands that train, plan
 * and measure. */
#ifndef SEDGE_TOOLS_BUDGET_H
#define SEDGE_TOOLS_BUDGET_H

#include "tools/session.h"

/* A program and the plans that run in turns with it. What they need together (plan_sum) is what is
 * limited: rows of the state, the largest arena, inputs and literals. */
struct budget {
    struct session *s;
    const struct elaborate_request *request;
    struct compile_options *options;
    struct plan **plans; /* the program's is the first */
    uint32_t plan_count;
};
/* Bytes that all of them need, with PLAN as the program's. */
int64_t budget_need(const struct budget *budget, struct plan *plan);
/* Compiles the program again with an arena of at most BYTES, as far as that is possible; NULL after
 * reporting. */
struct plan *budget_compile(const struct budget *budget, int64_t bytes);
/* Makes all plans fit in MEMORY bytes (0: any number do): the first was compiled without a limit,
 * and is replaced where it must be. False after reporting, at SPAN, that so little will not do, and
 * what makes it. */
bool budget_fit(const struct budget *budget, int64_t memory, struct span span);

#endif
