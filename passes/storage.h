/* Which values share memory, and for how long: made by `order`, given addresses by `place`, turned
 * into tensors by `lower`. Private to passes/. */
#ifndef SEDGE_STORAGE_H
#define SEDGE_STORAGE_H

#include "graph/base/sanitize.h"
#include "graph/op.h"
#include "passes/compile.h"

#define ALIGNMENT 64

/* A stretch of memory that holds one value after the other (views, in-place results, versions). */
struct buffer {
    enum memory memory;
    uint32_t index;       /* STATE: row; INPUT: number */
    uint32_t value;       /* first one it holds; 0: workspace of a step */
    int64_t bytes;        /* as asked for; placed at multiples of ALIGNMENT */
    uint32_t first, last; /* positions in the order, both inclusive; outputs last one longer */
    int64_t offset;
};

struct storage {
    uint32_t *order; /* nodes */
    uint32_t order_count;
    uint32_t *buffer_of;    /* per value; 0: none */
    uint32_t *workspace;    /* per position: buffer, or 0 */
    bool *elided;           /* per node: a store whose value was made in the row itself */
    struct buffer *buffers; /* [0] is none */
    uint32_t buffer_count;
    int64_t bound;    /* largest sum of arena buffers alive at one position */
    uint32_t peak_at; /* the first such position */
    struct plan_candidate candidates[4];
    uint32_t candidate_count;
    int64_t arena_bytes; /* set by place */
    const char *placement;
};

/* Under a sanitizer buffers are kept apart, and the executor poisons what lies between: a kernel
 * that runs over its end is seen, which a guard page after the arena cannot do. */
#ifdef SANITIZED
#define GAP ALIGNMENT
#else
#define GAP 0
#endif

static inline int64_t aligned(int64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + GAP;
}

/* Sharing and lifetimes for one order of the nodes. */
struct storage *storage_make(struct compile *c, const uint32_t *order, uint32_t count);

/* What the rules of an op are told about a node of the graph. */
struct node_types {
    struct op_call call;
    struct type in[OP_RESULT_MAX * 16];
    struct type out[OP_RESULT_MAX];
};
void node_types_fill(struct graph *g, uint32_t node, struct node_types *out);
/* FLOP and bytes: by the op's own rule, else one operation an element. */
struct op_cost node_types_cost(const struct node_types *types);

#endif
