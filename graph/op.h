/* The contract of an op: everything that the language, the passes, the tests and the reference
 * pages need to know of it, in one value. ops/<family>.c defines them; ops/table.c lists them.
 *
 * A descriptor holds no kernel: those are found by (backend, op, types) in ops/kernels/. */
#ifndef SEDGE_GRAPH_OP_H
#define SEDGE_GRAPH_OP_H

#include "graph/base/random.h"
#include "graph/graph.h"

/* What an input may be. */
enum input_kind {
    IN_REAL, /* f32 or f64 */
    IN_F32,
    IN_F64,
    IN_INT,   /* i32 */
    IN_TOKEN, /* token */
    IN_IDS,   /* token or i32 */
    IN_BOOL,
    IN_ANY,
};

enum input_flag {
    INPUT_OPTIONAL = 1,  /* may be absent; positional ones only at the end */
    INPUT_NAMED = 2,     /* written as its own key: {tweedie: [..], keep: fixed} */
    INPUT_VARIADIC = 4,  /* the last positional one: takes all that follow, at least one */
    INPUT_PARAM = 8,     /* supplied by the params rule, not written by the user */
    INPUT_SHARED = 32,   /* the same for all rows, as parameters are */
    INPUT_SEQUENCE = 16, /* one row for each sequence: [rows, ...], or [] for all (ROWS_POSITION) */
};

/* What sample values the generated tests may draw for it. */
enum input_domain {
    DOMAIN_ANY,        /* reals: normal; tokens and ids: any valid one; bools: coin */
    DOMAIN_POSITIVE,   /* in [0.3, 2.3] */
    DOMAIN_UNIT,       /* in (0.05, 0.95) */
    DOMAIN_REAL_TOKEN, /* tokens that are no mask: clean data */
    DOMAIN_INDEX,      /* i32 below the size of the first axis of input 0 */
    DOMAIN_LOG_SCORE,  /* normal, and 0 at the current token given by input 1 */
};

struct op_input {
    const char *name;
    enum input_kind kind;
    unsigned flags;
    const char *doc; /* shape and meaning: "f32 [..., in]" */
    enum input_domain domain;
};

enum attr_kind { ATTR_INT, ATTR_REAL, ATTR_BOOL, ATTR_CHOICE, ATTR_TEXT, ATTR_DIMS };

struct op_attr {
    const char *name;
    enum attr_kind kind;
    const char *value; /* the default as text; NULL: required */
    const char *doc;
    const char *const *choices; /* ATTR_CHOICE: NULL-terminated */
};

/* What a rule is told about one node. */
struct op_call {
    struct graph *graph;
    const struct op *op;
    uint32_t in_count;
    const struct type *in; /* .rank == TYPE_ABSENT where an optional input is absent */
    const union attr *attr;
    uint32_t process;          /* 1 + index, or 0 */
    const struct chain *chain; /* of that process, or NULL */
    const struct origin *origin;
    uint32_t out_count; /* set by the shape rule; starts as the op's result_count */
    struct type *out;   /* OP_RESULT_MAX entries */
};
#define TYPE_ABSENT UINT32_MAX
#define OP_RESULT_MAX 64

static inline bool op_has(const struct op_call *call, uint32_t input)
{
    return input < call->in_count && call->in[input].rank != TYPE_ABSENT;
}
/* Reports at the node, naming the op; always returns false, so that a rule can return it. */
bool op_error(const struct op_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Attaches the calls that led to a place to what was reported last: the innermost few. */
void origin_trail(struct diags *diags, const struct origin *caller);

/* A parameter that an op owns: asked for before the shape rule, appended to the inputs. */
struct op_param {
    const char *name; /* component of the row's name: "weight"; "" for none of its own */
    struct type type;
    enum init_kind init;
    double scale;
};

/* What a gradient rule is told. It emits ordinary nodes (graph_emit, like = node) and fills in
 * DIN[i] for the inputs with NEED[i]; leave VALUE_NONE where the gradient is zero. The walker adds
 * up fan-out, and reduces a gradient that is larger than its input (broadcasting). */
struct grad_call {
    struct graph *graph;
    const struct node *node; /* copy: valid while the rule emits */
    const uint32_t *dout;    /* per result; VALUE_NONE: nothing flows back through it */
    const bool *need;        /* per input */
    uint32_t *din;           /* per input */
};

/* C[m, n] = A[m, k] B[k, n]. */
struct op_product {
    int64_t m, n, k;
};
#define OP_PRODUCTS_MAX 3

struct op_cost {
    double flop;
    double bytes; /* read and written, at the planned sizes */
    double model; /* of FLOP: what any implementation of the model must do; `sedge bench` */
    uint32_t product_count;
    struct op_product product[OP_PRODUCTS_MAX]; /* of matrices, as wholes */
};

/* Which rows of the inputs a row of the results depends on. A row is an index into the axes that
 * come before the last one (linear: [rows, length, dim] has rows x length of them). */
enum op_rows {
    ROWS_NONE,     /* no inputs with rows: leaves, scalars, updates of state */
    ROWS_EACH,     /* the same row only: may run on any subset of rows */
    ROWS_POSITION, /* the same row, and of inputs with INPUT_SEQUENCE that of its sequence: may run
                      on any subset of rows, each of which is then a sequence of its own */
    ROWS_SEQUENCE, /* the rows of its sequence (first axis): may run on any subset of sequences */
    ROWS_ALL,      /* any: reductions over the batch, gathers */
};

/* Tensors of the double-precision reference: every dtype as double. Dims are those of the run. */
struct ref_tensor {
    uint32_t rank;
    int64_t dim[TENSOR_RANK_MAX];
    double *data; /* NULL: absent */
};
struct draw {
    struct random_key key;
    uint32_t iteration;
    uint32_t stream;
    uint32_t sequence;  /* global index of the first sequence (row of the first axis) */
    uint32_t sequences; /* in one iteration, over all its batches: what `stratified` divides by */
};
struct ref_call {
    uint32_t in_count, out_count;
    const struct ref_tensor *in;
    struct ref_tensor *out;
    const enum dtype *out_dtype;
    const union attr *attr;
    const struct chain *chain;
    struct draw draw;
    int64_t *count; /* ops with OP_COUNTS: how many rows of the result are filled */
};

/* One test case: types of the inputs in order ("_" for absent), and attributes as `key=value`
 * separated by blanks. A short axis is not written: batch sizes vary by themselves. */
struct op_case {
    const char *in;   /* "f32[2,3,8] f32[8]" ; "token[3,5]" ; "f64[]" is a scalar */
    const char *attr; /* "out=7 bias=false", or NULL */
    const char *rate; /* for ops that name a process: "absorb 5" or "uniform 4" (tokens) */
};

enum op_flag {
    OP_PROCESS = 1,           /* names a process; its chain reaches rules and kernels */
    OP_RANDOM = 2,            /* draws: never merged, stream from its name path */
    OP_VIEW = 4,              /* result 0 is the same bytes as input 0: no buffer, no kernel */
    OP_LEAF = 8,              /* input, state, const: no kernel; told its type */
    OP_MACRO = 16,            /* expanded before planning: no kernel, no reference */
    OP_COUNTS = 32,           /* sets the count of the short first axis of its result */
    OP_EFFECT = 64,           /* writes state: never dead */
    OP_INTERNAL = 128,        /* emitted by passes only; no name in the language */
    OP_NO_GRAD = 256,         /* nothing flows back: draws, comparisons, ids */
    OP_ZERO_GRAD_TWICE = 512, /* a backward op: has no rule of its own and says so when asked */
};

/* Rows that need not be computed: those at which the reverse chain cannot move the tokens
 * (may_move), at which tokens are kept, or at which a draw that the network has no part in says
 * that nothing moves; or all that a draw does not pick. What the result is there: zero, or the
 * token. */
struct op_idle {
    uint32_t tokens; /* value, of the axes of result 0 */
    bool stays;      /* the result is the token, or what OTHERWISE says; else zero */
    uint32_t keep;   /* value: positions that keep their token, or VALUE_NONE */
    /* 1 + the input of numbers that the node draws by, one a position (absent: it draws them
     * itself); 0: it draws nothing. */
    uint32_t uniform;
    /* Emits the chance, f64 [rows], that a token moves at all: those whose number is above it stay.
     * NULL: that depends on the network. */
    uint32_t (*chance)(struct graph *graph, const struct node *node);
    /* Emits the tokens that come out where the network is not asked, by the numbers UNIFORM. NULL:
     * those that were there. */
    uint32_t (*otherwise)(struct graph *graph, const struct node *node, uint32_t uniform);
    /* Emits which positions the node asks the network of, flags of the axes of TOKENS, where it
     * picks them among others by numbers of its own; and the NUMBERS that it draws by there, of
     * these axes, for UNIFORM. Asked of such a position alone, the node must do what it does to it
     * among the others. NULL: it picks none. */
    uint32_t (*pick)(struct graph *graph, const struct node *node, uint32_t *numbers);
};

struct op {
    const char *name;
    const char *doc; /* one sentence for `sedge ops`; mathematics stand in the comment above */
    const struct op_input *inputs; /* ends with a NULL name */
    const struct op_attr *attrs;   /* ends with a NULL name; NULL: none */
    const char *const *results;    /* names; the language binds the first VISIBLE of them */
    uint32_t result_count;         /* 0: the shape rule decides (split) */
    uint32_t visible;              /* results beyond it are for the gradient rule; 0: all */
    unsigned flags;
    enum op_rows rows;

    /* Parameters owned, given the types of the written inputs; returns their number. May be
     * NULL. */
    uint32_t (*params)(const struct op_call *call, struct op_param *out);
    /* Fills call->out; false after op_error. */
    bool (*shape)(struct op_call *call);
    /* OP_MACRO only: makes ordinary nodes and fills in the results. */
    bool (*expand)(const struct op_call *call, const uint32_t *in, uint32_t *out);
    /* NULL only with OP_NO_GRAD, OP_ZERO_GRAD_TWICE, OP_LEAF, OP_MACRO. */
    void (*grad)(struct grad_call *call);
    void (*cost)(const struct op_call *call, struct op_cost *out); /* NULL: one flop per element */
    /* Bit i: result 0 may lie in the memory of input i, when that dies here and has as many
     * bytes. */
    uint32_t inplace;
    /* Bit k: result k is told by the shapes of the inputs, whatever they hold. */
    uint32_t by_shape;
    /* The first UPDATES results are new versions of the state rows read by as many first inputs. */
    uint32_t updates;
    /* OP_RANDOM: whether with these attributes nothing is drawn. NULL: it always draws. */
    bool (*still)(const union attr *attr);
    /* The row rule of a node, where its attributes decide; NULL: it is ROWS. */
    enum op_rows (*rows_of)(const struct graph *graph, const struct node *node);
    /* Which rows of result 0 are known without what a network said; NULL: none. False where this
     * node has no such rows. */
    bool (*idle)(const struct graph *graph, const struct node *node, struct op_idle *out);
    /* Bytes of scratch a kernel needs, from shapes alone; NULL: none. */
    int64_t (*workspace)(const struct op_call *call);
    void (*reference)(const struct ref_call *call);
    const struct op_case *cases; /* ends with a NULL in */
};

static inline enum op_rows op_rows_of(const struct graph *graph, const struct node *node)
{
    return node->op->rows_of ? node->op->rows_of(graph, node) : node->op->rows;
}

/* The table, in ops/table.c; graph/ and passes/ are handed it. */
struct op_table {
    const struct op *const *ops;
    uint32_t count;
};
const struct op *op_find(const struct op_table *table, const char *name);
uint32_t op_attr_count(const struct op *op);
uint32_t op_input_count(const struct op *op); /* declared, params included */
/* Default attributes of an op, in ARENA; false after reporting a required one that has none. */
bool op_defaults(struct arena *arena, const struct op *op, union attr *out);

#endif
