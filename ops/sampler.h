/* What the descriptors of samplers (reverse, ancestral, event, corrector, reveal) share. */
#ifndef SEDGE_OPS_SAMPLER_H
#define SEDGE_OPS_SAMPLER_H

#include "ops/chain.h"
#include "ops/kernels/transition.h"

extern const char *const sampler_result_x[];
#define SAMPLER_INPUT_X                                                                            \
    {                                                                                              \
        "x", IN_TOKEN, 0, "token [rows, length]: tokens at the start of the step", DOMAIN_ANY      \
    }
#define SAMPLER_INPUT_KEEP                                                                         \
    {                                                                                              \
        "keep", IN_BOOL, INPUT_OPTIONAL | INPUT_NAMED,                                             \
            "bool [rows, length]: positions that keep their token", DOMAIN_ANY                     \
    }
#define SAMPLER_INPUT_U                                                                            \
    {                                                                                              \
        "u", IN_F64, INPUT_OPTIONAL | INPUT_NAMED,                                                 \
            "f64 of the axes of x: uniform numbers to draw by, where rows are not those of the "   \
            "batch",                                                                               \
            DOMAIN_UNIT                                                                            \
    }

/* By how much a law may be off, in single precision, where a chance is told before it is known. */
#define SAMPLER_MARGIN 1.00001

/* The chance of struct op_idle. */
typedef uint32_t sampler_chance(struct graph *graph, const struct node *node);
/* That of a mask which is revealed by a law that sums to one: inputs 2 and 3 of the node are the
 * noise before and after the step. And where a share of the tokens, input 4, is masked again. */
sampler_chance sampler_reveal_chance, sampler_remask_chance;

/* The rule of rows that need not be computed (struct op_idle) of a step whose inputs are tokens, a
 * score or a law, times, and last keep and u: input KEEP is keep. CHANCE is that of a mask under
 * absorption; NULL: it depends on the network. Tables have no such rows: P would be made for each,
 * not for sequences. */
bool sampler_idle(const struct graph *graph, const struct node *node, uint32_t keep,
                  sampler_chance *chance, struct op_idle *out);

/* Pure absorption, or an error that names the op and what it needs the mask for. */
bool sampler_expect_masked(const struct op_call *call, const char *what);
/* An f64 [rows] that goes with the rows of input X. */
struct type sampler_rows(const struct op_call *call, uint32_t x);

/* A transition for a reference; to be released. */
struct transition ref_transition(const struct chain *chain, double sigma);
void ref_transition_release(struct transition *p);

/* The uniform of position P: input U where it is given, else drawn. */
double ref_position_uniform(const struct ref_call *call, uint32_t u, int64_t row, int64_t position,
                            int64_t length);
/* Whether input KEEP holds position P back. */
bool ref_kept(const struct ref_call *call, uint32_t keep, int64_t p);

/* A draw over the states by their weights: ascending, the current state X last (-1: none). */
typedef double ref_weight(const void *context, int32_t y);
int32_t ref_pick(ref_weight *weight, const void *context, int32_t states, int32_t x, double u);
/* The same of an array, of which negative weights count as zero. */
int32_t ref_draw(const double *weights, int32_t states, int32_t x, double u);

#endif
