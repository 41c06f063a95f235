/* The pipeline: every pass, in order. `sedge plan --dump after:NAME` prints what stands between two
 * of them. */
#include "graph/base/check.h"
#include "graph/base/sanitize.h"
#include "graph/text.h"
#include "graph/verify.h"
#include "passes/compile.h"

#include <string.h>

/* Debug and sanitizer builds verify between all passes. */
#if defined(SANITIZED) || !defined(__OPTIMIZE__)
#define ALWAYS_VERIFY true
#else
#define ALWAYS_VERIFY false
#endif

const struct pass pipeline[] = {
    {"elaborate", "the program as written, blocks expanded", NULL},
    {"simplify", "fold, merge, drop", pass_simplify},
    {"select", "only rows that carry loss", pass_select},
    {"fuse", "patterns of the program as written, by one op each", pass_fuse_written},
    {"grad", "gradient nodes and minimize by a reverse walk", pass_grad},
    {"simplify.2", "what the gradients left over", pass_simplify},
    {"fuse.2", "patterns that gradients are part of", pass_fuse},
    {"update", "the optimizer, where it joins the program", pass_update},
    {"recompute", "under a limit of memory: values dropped and computed twice", pass_recompute},
    {"fuse.3", "what follows a linear map, in its tiles", pass_fuse_last},
    {"order", "several orders, lowest peak", pass_order},
    {"place", "addresses in the arena", pass_place},
    {"lower", "steps with addresses", pass_lower},
    {"check", "each read sees the value the graph names", pass_check},
};
const uint32_t pipeline_count = sizeof pipeline / sizeof *pipeline;

static void dump(struct compile *c, const char *pass)
{
    if (!c->options->dump_after || strcmp(c->options->dump_after, pass) != 0)
        return;
    c->options->dump = c->plan ? plan_print(c->arena, c->plan) : graph_print(c->arena, c->graph);
}

struct plan *compile_graph(struct graph *graph, struct compile_options *options)
{
    struct compile_options none = {0};
    struct compile c = {.arena = graph->arena,
                        .diags = graph->diags,
                        .graph = graph,
                        .options = options ? options : &none};
    for (uint32_t i = 0; i < pipeline_count; i++) {
        if (pipeline[i].run && !pipeline[i].run(&c))
            return NULL;
        if ((c.options->verify || ALWAYS_VERIFY) && !c.plan && !graph_verify(graph, c.diags))
            return NULL;
        dump(&c, pipeline[i].name);
    }
    return c.plan;
}

struct plan *compile_program(struct model *model, const struct elaborate_request *request,
                             struct compile_options *options)
{
    struct graph *g = elaborate(model, request);
    return g ? compile_graph(g, options) : NULL;
}
