/* What the descriptors of several families share: shape rules, nodes that gradient rules emit, and
 * indexing for references. */
#ifndef SEDGE_OPS_RULES_H
#define SEDGE_OPS_RULES_H

#include "graph/op.h"

#define AXIS_ALL (-999) /* default of an axis attribute that means "over everything" */

/* Result names of the many ops that have just one. */
extern const char *const rule_result_y[];
/* How the weight of a linear map is stored, and the forms of gelu: choices of attributes. */
extern const char *const rule_layouts[], *const rule_gelu_forms[];
#define GELU_FLOP 25 /* of an element: a tanh or an exp, and the polynomial around it */
/* The inputs of an op that has none. */
extern const struct op_input rule_no_inputs[];

static inline bool dtype_real(enum dtype dtype)
{
    return dtype == DT_F32 || dtype == DT_F64;
}

/* Shape rules. The result has the type of input 0. */
bool rule_like_first(struct op_call *call);
/* Turns an axis attribute (negative: from the end) into one of 0 .. RANK - 1. */
bool rule_axis(const struct op_call *call, int64_t axis, uint32_t rank, uint32_t *out);
/* Sets the shape (not the dtype) of result 0 to that of inputs FIRST .. FIRST + COUNT - 1 broadcast
 * together: trailing axes align, an axis of size 1 stretches. The leading axis may be short. */
bool rule_broadcast(struct op_call *call, uint32_t first, uint32_t count);
/* Inputs I and J agree in their first AXES axes, short axes included. */
bool rule_same_axes(const struct op_call *call, uint32_t i, uint32_t j, uint32_t axes);
/* Removes axis AXIS of TYPE, or leaves it with size 1. */
void rule_drop_axis(struct type *type, uint32_t axis, bool keep);
/* The size of the last axis of TYPE, which has one. */
int64_t rule_last(const struct type *type);
/* The type of input I, for messages. */
const char *rule_print(const struct op_call *call, uint32_t i);

/* Emission for gradient rules and expansions: graph_emit for ops without attributes to set. */
uint32_t emit1(struct graph *graph, const struct op *op, uint32_t a, const struct node *like);
uint32_t emit2(struct graph *graph, const struct op *op, uint32_t a, uint32_t b,
               const struct node *like);
uint32_t emit3(struct graph *graph, const struct op *op, uint32_t a, uint32_t b, uint32_t c,
               const struct node *like);
/* X as another dtype: f32, f64, i32 or bool. */
uint32_t emit_cast(struct graph *graph, uint32_t x, enum dtype to, const struct node *like);
/* A scalar, and a tensor of one number. */
uint32_t emit_const(struct graph *graph, enum dtype dtype, double value, const struct node *like);
uint32_t emit_full(struct graph *graph, const struct type *type, double value,
                   const struct node *like);
/* reshape, broadcast_to or sum_to X to the shape of TYPE. */
uint32_t emit_shaped(struct graph *graph, const struct op *op, uint32_t x, const struct type *type,
                     const struct node *like);
/* X with an axis of size 1 inserted before AXIS. */
uint32_t emit_expand(struct graph *graph, uint32_t x, uint32_t axis, const struct node *like);
/* The numbers that the node DRAW would draw by itself, one for each of TOKENS, as a value. */
uint32_t emit_uniform(struct graph *graph, uint32_t tokens, const struct node *draw);
/* An attribute that holds a copy of COUNT dims. */
union attr rule_dims(struct graph *graph, const struct dim *items, uint32_t count);

/* Adds a product of matrices to the work that the model asks for. */
void cost_product(struct op_cost *cost, int64_t m, int64_t n, int64_t k);

/* References. Product of the first COUNT dims, and of all. */
int64_t ref_lead(const struct ref_tensor *t, uint32_t count);
int64_t ref_size(const struct ref_tensor *t);
/* Phi(x) of gelu in one of its forms, and its derivative (activation.c). */
double gelu_phi(double x, int64_t form, double *slope);
/* Where element AT (row major) of OUT finds its operand in IN, which broadcasts to it. */
int64_t ref_broadcast_at(const struct ref_tensor *out, const struct ref_tensor *in, int64_t at);
/* OUTER x MID x INNER: what lies before, on and behind AXIS. */
struct ref_cut {
    int64_t outer, mid, inner;
};
struct ref_cut ref_cut(const struct ref_tensor *t, int64_t axis);

#endif
