/* The graph: typed values and the nodes that make them, in an order in which each value is made
 * before it is used.
 *
 * Values and nodes are numbered and never move: a pass that drops a node marks it dead, a pass that
 * adds one appends and then calls graph_order. Value 0 is "none" (an absent optional input).
 * Everything lives in the arena of the graph. */
#ifndef SEDGE_GRAPH_H
#define SEDGE_GRAPH_H

#include "graph/base/attr.h"
#include "graph/base/chain.h"
#include "graph/base/diag.h"
#include "graph/base/tensor.h"

struct op;
struct op_table;
struct expr;

#define VALUE_NONE 0u
#define NODE_NONE UINT32_MAX

/* The type of a value. PROCESS says whose alphabet a DT_TOKEN is of: 1 + index, else 0. */
struct type {
    enum dtype dtype;
    uint32_t rank;
    uint32_t process;
    struct dim dim[TENSOR_RANK_MAX];
};

/* Where something was written, and the calls (blocks, repeats) that led there. */
struct origin {
    struct span span;
    const struct origin *caller;
    const char *path; /* of the block instance, "" in the program itself; NULL: not known */
};

/* A forward process (compile-time): a chain and its noise clock sigma(t), t in [0, 1]. */
struct process {
    const char *name;
    struct chain chain;
    const struct expr *sigma; /* total noise as an expression in t; finite on (0, 1) */
    struct span span;
};

/* A row of the state table: memory that outlives a step. One name is one row in all programs. */
enum state_class {
    STATE_PARAMETER,
    STATE_MOMENT,   /* of the optimizer */
    STATE_EMA,      /* average of a parameter, named ema/NAME */
    STATE_GRADIENT, /* named grad/NAME; the only class that is never saved */
    STATE_CONSTANT,
    STATE_CURSOR, /* where a run stands */
};
enum init_kind {
    INIT_ZERO,
    INIT_ONE,
    INIT_UNIFORM, /* on [-scale, scale] */
    INIT_NORMAL,  /* mean 0, standard deviation scale */
    INIT_COPY,    /* of the parameter that an ema row follows */
};
struct state_row {
    const char *name;
    enum state_class class;
    struct type type;
    enum init_kind init;
    double scale;
    struct span span;
    uint32_t owner; /* moment, ema, gradient: the row of their parameter */
};
struct state_table {
    struct state_row *rows;
    uint32_t count, capacity;
};

/* The row called NAME, or UINT32_MAX. */
uint32_t state_find(const struct state_table *table, const char *name);
/* Adds a row, or finds the one of that name and checks that type and initialiser agree; false
 * after reporting the difference with both places. */
bool state_declare(struct state_table *table, struct arena *arena, struct diags *diags,
                   const struct state_row *row, uint32_t *out);

struct value {
    struct type type;
    const char *name; /* declared path such as "blocks.0.h", or NULL */
    uint32_t node;    /* the node that makes it */
    uint32_t result;  /* as which of its results */
    uint32_t state;   /* 1 + row whose memory it is, or 0 */
    uint32_t version; /* of that row: 0 as found when the program starts */
};

struct node {
    const struct op *op;
    uint32_t in_count, out_count;
    uint32_t *in;  /* values; VALUE_NONE where an optional input is absent */
    uint32_t *out; /* values */
    const union attr *attr;
    const struct origin *origin;
    uint32_t process; /* 1 + index, for ops that name one, else 0 */
    uint32_t stream;  /* random ops: hash of the declared name path; clones keep it */
    uint32_t epoch;   /* clones of one node differ in it, so that CSE cannot merge them */
    bool dead;
};

struct axis {
    const char *name;
    int64_t size;     /* the most it is planned for */
    uint32_t counter; /* value whose node sets the count while running, or 0: the run supplies it */
};

struct binding {
    const char *name;
    uint32_t value;
};

struct graph {
    const char *name; /* of the program */
    struct arena *arena;
    struct diags *diags;
    const struct op_table *table; /* what a node can be */
    struct state_table *states;
    const struct process *processes;
    uint32_t process_count;

    struct value *values; /* [0] is none */
    uint32_t value_count, value_capacity;
    struct node *nodes;
    uint32_t node_count, node_capacity;
    uint32_t *order; /* live nodes in program order */
    uint32_t order_count, order_capacity;

    struct axis *axes; /* [0] is unused */
    uint32_t axis_count, axis_capacity;
    struct binding *inputs; /* named values the run supplies */
    uint32_t input_count, input_capacity;
    struct binding *outputs; /* named values the run gets back; nothing fuses them away */
    uint32_t output_count, output_capacity;
    struct binding *names; /* every declared name, aliases included; only elaboration needs it */
    uint32_t named_count, named_capacity;
    uint32_t minimize; /* value, or 0 */
};

struct graph *graph_new(struct arena *arena, struct diags *diags, const struct op_table *table,
                        struct state_table *states, const char *name);

/* Adds an axis (returns its number) and looks one up (0: none). */
uint32_t graph_axis(struct graph *graph, const char *name, int64_t size);
uint32_t graph_axis_find(const struct graph *graph, const char *name);

/* Appends a node and its results: checks inputs and attributes against the op's contract, runs its
 * shape rule. IN holds IN_COUNT values, ATTR one entry per attribute of the op (NULL: all
 * defaults). Returns its number, or NODE_NONE after reporting at ORIGIN. */
struct node_call {
    const struct op *op;
    const uint32_t *in;
    uint32_t in_count;
    const union attr *attr;
    const struct origin *origin;
    uint32_t process;
    uint32_t stream;
    const struct type *types; /* leaves (input, state, const) are told their type */
};
uint32_t graph_call(struct graph *graph, const struct node_call *call);

/* The same for passes and gradient rules: the first result; a refusal is a fault of ours. */
uint32_t graph_emit(struct graph *graph, const struct op *op, const uint32_t *in, uint32_t in_count,
                    const union attr *attr, const struct node *like);

void graph_input(struct graph *graph, const char *name, uint32_t value);
void graph_output(struct graph *graph, const char *name, uint32_t value);
/* Declares NAME (a path such as "blocks.0.h") for VALUE; one value may have several. */
void graph_name(struct graph *graph, const char *name, uint32_t value);
/* The value with that declared name, or VALUE_NONE. */
uint32_t graph_find(const struct graph *graph, const char *name);

/* Makes every use of value FROM[i] one of TO[i] (outputs and minimize included). */
void graph_replace(struct graph *graph, const uint32_t *from, const uint32_t *to, uint32_t count);
/* Marks as dead what no output, input, effect or update needs; graph_order then drops it. */
void graph_sweep(struct graph *graph);
/* Rebuilds ORDER from the nodes that are not dead: those that were in it keep their places, new
 * ones follow in order of need. */
void graph_order(struct graph *graph);

static inline const struct type *graph_type(const struct graph *graph, uint32_t value)
{
    return &graph->values[value].type;
}

/* Types. type_bytes is of the planned (largest) size. */
bool type_equal(const struct type *a, const struct type *b);
bool type_same_shape(const struct type *a, const struct type *b);
int64_t type_count(const struct type *type);
int64_t type_bytes(const struct type *type);
struct type type_scalar(enum dtype dtype);
/* "f32 [batch, 128, 64]"; GRAPH names short axes, and processes where there are several, and may
 * be NULL. */
char *type_print(struct arena *arena, const struct graph *graph, const struct type *type);

#endif
