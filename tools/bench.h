/* What the files of `sedge bench` share. */
#ifndef SEDGE_TOOLS_BENCH_H
#define SEDGE_TOOLS_BENCH_H

#include "runtime/train.h"
#include "tools/session.h"

#include <jansson.h>

/* --- training on random tokens (bench_train.c) ---------------------------------------------- */

struct training {
    struct session s;
    struct update_options update;
    struct plan *plan; /* gradients and update */
    struct trainer trainer;
    int64_t batch, length, tokens; /* TOKENS: of the alphabet without mask */
    int64_t step, measured;        /* done; of these, measured */
    struct step_time *times;       /* of measured steps */
    double compile_ms;
};
/* Opens the model of the command line; false after reporting. Close the state when done. */
bool training_open(struct training *t, struct command_line *line);
/* One step and its seconds; false after reporting a loss that is not finite. */
bool training_step(struct training *t, bool measured, double *seconds);

/* --- the machine (bench_machine.c) ------------------------------------------------------------ */

#define SHAPES_MAX 64

#define RATES_MAX 201 /* measurements of products: one more than steps */

struct product { /* shape of a matrix product, and how much of a step's work has it */
    struct op_product of;
    double flop, best; /* BEST: the least seconds of one such product */
};

/* What a model asks of a machine, and what the machine can do. */
struct machine {
    int threads;
    struct product products[SHAPES_MAX];
    uint32_t product_count;
    /* FLOP a second on these shapes, each weighted by its share of the work: of each measurement
     * the best of some turns, in order, and their median. */
    double gemm, rates[RATES_MAX];
    uint32_t rate_count; /* what follows the last that there is room for is not kept */
    double read, update; /* bytes a second from and to memory, the best of all measurements */
};
/* Adds what the steps of PLAN multiply. */
void machine_add_plan(struct machine *m, const struct plan *plan);
/* Warns where BLIS runs portable kernels: it is no measure then of what the processor can do. False
 * after reporting that it is told to run what the processor cannot. */
bool machine_warn(struct diags *diags);
/* Each measures, on memory as a run has it, and adds to what was measured before: other work on the
 * machine comes and goes, so that what is held against a rate had best be measured between two
 * measurements of it. False after reporting. */
bool machine_measure_products(struct machine *m, struct diags *diags);
bool machine_measure_memory(struct machine *m, struct diags *diags);
/* The most bytes a second of either measurement. */
double machine_bandwidth(const struct machine *m);
void machine_print(const struct machine *m);
json_t *machine_json(const struct machine *m);

/* --- the roofline (bench_roofline.c) ---------------------------------------------------------- */

/* Plans that ran some number of times, in a training step or in the whole of a loop. */
struct profile {
    struct arena *arena;
    const struct diags *diags; /* names files */
    struct plan *const *plans;
    struct step_time *const *times;
    uint32_t count;
    double turns;     /* over which TIMES are added up */
    const char *turn; /* "step", "run" */
};
/* Both by op and by the slowest steps of the plans, with the lines of YAML they come from. */
void work_print(const struct profile *p, const struct machine *m);
/* Bytes that the steps read and write in a turn, by their ops. */
double work_bytes(const struct profile *profile);
/* The lists "ops" and "slowest". */
void work_json(const struct profile *p, const struct machine *m, json_t *into);

/* --- questions ------------------------------------------------------------------------------ */

/* Sorts the numbers. 0 where there are none. */
double bench_median(double *numbers, int64_t count);
/* The most memory that the process has had, in MiB. */
double bench_resident(void);

/* Each measures, prints and returns the exit code; SECONDS is about how long to measure. */

/* The variance of the estimators of the bound of a trained run, by noise alone: the data is
 * fixed. */
int bench_estimators(struct command_line *line);
/* How much of each program that loops call is the network, and how much the sampler. */
int bench_sampling(struct command_line *line, double seconds);
/* Speed of a loop, from its start to the last token. */
int bench_loop(struct command_line *line, double seconds);
/* What a training step costs with another rate matrix. */
int bench_chain(struct command_line *line, double seconds);

#endif
