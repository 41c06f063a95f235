/* What the fused heads of a draw and of a term of the bound stand for, op by op: shared by their
 * references, which run them, and by the pass that puts them in their place. */
#ifndef SEDGE_OPS_HEAD_DRAW_H
#define SEDGE_OPS_HEAD_DRAW_H

#include "graph/op.h"
#include "ops/kernels/attrs.h"

/* By enum draw_step: the draw, and which of its inputs are what. Input 0 is the tokens; 0: there is
 * no such input. */
struct draw_places {
    const struct op *op;
    bool law;
    uint32_t from; /* scores, or the law */
    uint32_t sigma, to, share, keep, u;
};
extern const struct draw_places draw_steps[DRAW_STEPS];

/* By enum bound_term: the cost of a position, and which of its inputs are what. */
struct term_places {
    const struct op *op;
    uint32_t from, x0, sigma; /* FROM: scores */
    uint32_t x;               /* where it TAKES_X: the tokens that these are of */
    bool takes_x;
};
extern const struct term_places bound_terms[BOUND_TERMS];

/* By enum draw_form: the ops that make scores, or a law, of logits, from the last on; scores may be
 * projected then. Those of more inputs than one take tokens and noise as the second and third. */
#define DRAW_OPS_MOST 2
struct draw_ops {
    const struct op *score[DRAW_OPS_MOST], *law[DRAW_OPS_MOST];
};
extern const struct draw_ops draw_forms[DRAW_FORMS];

#endif
