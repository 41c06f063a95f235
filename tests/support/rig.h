/* A model on the bench: read from its file with settings, compiled, given state, and run by kernels
 * or by the double references of its ops. Used by tests of passes, of the runtime and of reference
 * vectors. Every step that a test does not mean to fail is asserted. */
#ifndef SEDGE_TESTS_RIG_H
#define SEDGE_TESTS_RIG_H

#include "ops/reference.h"
#include "passes/compile.h"
#include "runtime/executor.h"

#define RIG_PLANS 32

struct rig {
    struct arena *arena;
    struct diags *diags;
    struct model *model;
    struct engine engine;
    struct state state;
    struct loaded *loaded[RIG_PLANS];
    uint32_t loaded_count;
};

/* The instruction set that tests run kernels of: what SEDGE_ISA asks for, else the best. */
const char *rig_isa(void);

/* Opens without a model: for graphs that are made by the test. */
void rig_open(struct rig *rig);
/* Reads the model at PATH. SETTINGS are `key=value` as on the command line, `preset=NAME` included;
 * they end with NULL, or are NULL. */
void rig_model(struct rig *rig, const char *path, const char *const *settings);
/* The same for a model that the test writes, called m.yaml in messages. */
void rig_model_text(struct rig *rig, const char *text);
void rig_close(struct rig *rig);

/* Asserts that nothing was reported; that exactly one fault was, with this message. */
void rig_quiet(struct rig *rig);
void rig_expect(struct rig *rig, const char *message);

/* One program for BATCH sequences (0: it has no such dimension); BIND and WANT end with NULL, or
 * are NULL. */
struct rig_program {
    const char *name;
    int64_t batch;
    const char *const *bind, *const *want;
};
struct graph *rig_elaborate(struct rig *rig, const struct rig_program *program);
/* Compiles with the verifier between passes. */
struct plan *rig_compile(struct rig *rig, const struct rig_program *program,
                         const struct compile_options *options);

/* Maps the rows of TABLE, all of them: after the last plan was compiled. */
void rig_state(struct rig *rig, const struct state_table *table, uint64_t seed);
/* Normal numbers of standard deviation SCALE in every row of reals (second moments: their squares),
 * so that no path through a network is dead. */
void rig_fill(struct rig *rig, double scale);
/* The row of that name, in floats. */
float *rig_row(const struct rig *rig, const char *name);

struct loaded *rig_load(struct rig *rig, const struct plan *plan);

/* A value for an input, in its own dtype. */
struct rig_value {
    const char *name;
    const void *data;
};
/* Runs with inputs by name and COUNT of every axis that the run supplies (0: as planned). */
void rig_run(struct loaded *loaded, const struct rig_value *values, uint32_t count, int64_t batch,
             const struct run *how);
/* The same in double: VALUES of the graph, in the rig's arena. State rows are read from the rig. */
struct ref_tensor *rig_reference(struct rig *rig, const struct graph *graph,
                                 const struct rig_value *values, uint32_t count, int64_t batch,
                                 const struct run *how);

/* An output by name, and its elements as doubles. */
struct tensor rig_output(const struct loaded *loaded, const char *name);
double rig_element(const struct tensor *t, int64_t i);
/* |a - b| / |b| in the Euclidean norm; |a - b| where b is zero. */
double rig_distance(const struct tensor *a, const struct tensor *b);
/* A tensor of floats over a row of the state. */
struct tensor rig_row_tensor(const struct rig *rig, const char *name);

#endif
