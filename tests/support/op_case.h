/* Test cases of op descriptors: makes a graph of one node from a `struct op_case`, and sample
 * values for its inputs. Used by the tests that are derived from the descriptors. */
#ifndef SEDGE_TESTS_OP_CASE_H
#define SEDGE_TESTS_OP_CASE_H

#include "ops/ops.h"
#include "ops/reference.h"

#define CASE_INPUTS 64

struct case_graph {
    struct arena *arena;
    struct diags *diags;
    struct graph *graph;
    struct process process;   /* valid when the case names a rate */
    uint32_t in[CASE_INPUTS]; /* values; VALUE_NONE where absent */
    uint32_t in_count;
    uint32_t node;
    uint32_t axis; /* the short axis, or 0 */
    int64_t batch; /* its size */
};

/* Makes the graph; everything lives in an arena of its own, which op_case_free frees. With SHORT,
 * the first axis of input 0 is short in every input that starts with an axis of that size and is no
 * parameter. False when the op refuses (op_case_refusal says how); the text of the case itself must
 * be well formed. */
bool op_case_build(struct case_graph *out, const struct op *op, const struct op_case *c,
                   bool short_batch);
void op_case_free(struct case_graph *g);
const char *op_case_refusal(struct case_graph *g);

/* The chain that a rate names, in the arena of G: "absorb N", "uniform N", "mix N ABSORB UNIFORM
 * RELEASE", "band N WIDTH" (nearest states), "cycle N" (N > 2), "table N MASK SEED" (random rates
 * on N tokens, and with MASK = 1 on a mask); after "raw " of a process whose scores are not
 * projected. */
struct chain op_case_chain(struct case_graph *g, const char *text);

const struct node *op_case_node(const struct case_graph *g);
/* The specification of input I, variadic ones included. */
const struct op_input *op_case_input(const struct case_graph *g, uint32_t i);

/* Sample values for the inputs, with COUNT of the short axis (ignored without one): VALUES[i] has
 * data in the arena, or NULL where input i is absent. They are exact in the dtype of the input. */
void op_case_fill(const struct case_graph *g, uint64_t seed, int64_t count,
                  struct ref_tensor values[CASE_INPUTS]);

/* `supply` of a reference run: inputs of the case by their values. CONTEXT: struct case_values. */
struct case_values {
    const struct case_graph *g;
    const struct ref_tensor *in;
};
bool op_case_supply(void *context, const struct graph *graph, uint32_t value,
                    const struct ref_tensor *out);

/* The draw that all derived tests use. */
struct draw op_case_draw(void);

#endif
