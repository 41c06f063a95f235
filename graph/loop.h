/* A loop of a model: what lives between calls of its programs, over which times it runs, and which
 * program is called when. Data, interpreted by runtime/loop.h; nothing of it is code.
 *
 *     loops:
 *       tweedie:
 *         carry: {x: {token: [batch, length], start: base}}
 *         grid: {from: 1, to: t_min, steps: 128, spacing: uniform}
 *         body:
 *           - {call: step, with: {x: x, t: grid.now, s: grid.next}, set: {x: x}}
 *           - {call: denoise, when: grid.last, with: {x: x, t: grid.next}, set: {x: x}} */
#ifndef SEDGE_GRAPH_LOOP_H
#define SEDGE_GRAPH_LOOP_H

#include "graph/base/tensor.h"
#include "graph/expr.h"

struct model;

enum carry_start {
    START_ZERO,  /* also of f64, i32, bool: zeros */
    START_VALUE, /* a number everywhere */
    START_CALL,  /* the output of that name of a program, called once before the loop */
    START_GIVEN, /* supplied by the run */
};

struct loop_carry {
    const char *name;
    enum dtype dtype;
    uint32_t rank;
    int64_t dim[TENSOR_RANK_MAX]; /* -1: the run's batch, the first axis only */
    enum carry_start start;
    double value; /* START_VALUE */
    /* START_CALL: its input t, if it has one, is the grid's `from`; 1 without a grid. */
    const char *program;
    struct span span;
};

/* `with: {input: source}`: a carry, or an expression over grid.now, grid.next, … and params. */
struct loop_source {
    const char *input;
    uint32_t carry; /* 1 + index, or 0 */
    const struct expr *expr;
    struct span span;
};
/* `set: {carry: output}`, or `set: {carry: {put: output, at: place, axis: 1}}`: then the output,
 * which lacks the axis, becomes that place of it, as by the op `put`; nothing does where there is
 * no such place. */
struct loop_target {
    uint32_t carry;
    const char *output;
    const struct expr *at; /* NULL: the output is the carry */
    uint32_t axis;         /* with AT: not the first */
    struct span span;
};
struct loop_call {
    const char *program;
    const struct expr *when; /* NULL: always */
    struct loop_source *with;
    uint32_t with_count;
    struct loop_target *set;
    uint32_t set_count;
    struct span span;
};

/* How the times of a grid lie between `from` and `to`, with u = 0 .. 1 over the steps:
 *   uniform    from + (to - from) u
 *   log        from (to / from)^u
 *   cosine     to + (from - to) cos(pi u / 2): short steps at the start, long ones at the end
 *   quadratic  to + (from - to) (1 - u)^2: long steps at the start, short ones at the end */
enum loop_spacing { SPACING_UNIFORM, SPACING_LOG, SPACING_COSINE, SPACING_QUADRATIC };
#define SPACING_COUNT 4
extern const char *const loop_spacings[SPACING_COUNT + 1]; /* by enum, then NULL */

struct loop {
    const char *name;
    struct loop_carry *carry;
    uint32_t carry_count;
    bool grid; /* else `max` turns, or `until` before */
    double from, to;
    int64_t steps;
    enum loop_spacing spacing;
    const double *times; /* STEPS + 1, falling, in place of a spacing; NULL: none */
    double limit;        /* of (fastest rate) x (step of sigma); 0: none */
    struct span limit_span;
    struct loop_call *body;
    uint32_t body_count;
    const struct expr *until; /* checked after each turn; NULL: never */
    int64_t max;              /* turns; 0: as the grid says, and there must be one */
    struct span span;
};

/* NULL after reporting. */
struct loop *loop_read(const struct model *model, const char *name);
/* Whether the carry NAME is made place by place, by a call that puts one. */
bool loop_puts(const struct loop *loop, const char *name);
/* Reports that a sampler has no grid of times, with what to do; returns false. */
bool loop_no_grid(struct diags *diags, const struct loop *loop, const char *hint);
/* The sampler of a model where none is named: `tweedie`, or the first loop; NULL: it has none. */
const char *loop_default(const struct model *model);
/* "tweedie, euler", in the model's arena: for messages. */
char *loop_names(const struct model *model);

/* A program that a loop calls, and the inputs that its calls give: those that it takes from the
 * caller even where they have a default. */
struct loop_need {
    const char *program;
    const char **inputs;
    uint32_t input_count;
};
/* Each program once, those of the body first; returns their number. */
uint32_t loop_needs(struct arena *arena, const struct loop *loop, struct loop_need **out);

/* Replaces the loop's times by COUNT falling ones, kept by reference; false after reporting where
 * they are fewer than two, do not fall, or are no times above 0, at most 1. */
bool loop_set_times(struct diags *diags, struct loop *loop, const double *times, int64_t count,
                    struct span span);

/* Time number INDEX of 0 .. STEPS, where no time is inserted. */
double loop_time(const struct loop *loop, int64_t index, int64_t steps);

/* The times of one run. */
struct loop_times {
    int64_t steps;      /* one less than there are times */
    int64_t inserted;   /* how many of them the loop's `limit` asked for */
    const double *time; /* in the arena */
};
/* STEPS: 0, or what the run says in place of the loop. Where the loop has a `limit`, a step over
 * which (fastest rate) x (sigma's fall) is larger is cut into equal parts of sigma; a step from
 * infinite noise stays whole. False after reporting that this takes more than LOOP_INSERTED_MAX
 * times, each of which is a call of the network. */
bool loop_grid(const struct model *model, const struct loop *loop, int64_t steps,
               struct loop_times *out);
#define LOOP_INSERTED_MAX 1000000

/* Names that conditions and sources may use: grid.now, grid.next, grid.index, grid.steps,
 * grid.first, grid.last, and carries that are single numbers. */
#define LOOP_NAMES "grid.now, grid.next, grid.index, grid.steps, grid.first, grid.last"

#endif
