/* What the files of `sedge bench` share. */
#ifndef SEDGE_TOOLS_BENCH_H
#define SEDGE_TOOLS_BENCH_H

#include "tools/session.h"

/* A model that trains on random tokens. */
struct training {
    struct session s;
    int64_t batch, length, tokens; /* TOKENS: of the alphabet without mask */
    struct plan *gradient, *update;
    struct loaded *run_gradient, *run_update;
    int64_t step;
    int32_t *x0;
    double *gradient_seconds, *update_seconds; /* per step of the plans, of measured steps */
    double compile_ms;
};
/* Opens the model of the command line; false after reporting. Close the state when done. */
bool training_open(struct training *t, struct command_line *line);
/* One step; returns its seconds. */
double training_step(struct training *t, bool measured);

/* Sorts the numbers. 0 where there are none. */
double bench_median(double *seconds, int64_t count);

/* Each measures, prints and returns the exit code; SECONDS is about how long to measure. */

/* The variance of the estimators of the bound of a trained run, by noise alone: the data is
 * fixed. */
int bench_estimators(struct command_line *line);
/* How much of each program that loops call is the network, and how much the sampler. */
int bench_sampling(struct command_line *line, double seconds);
/* What a training step costs with another rate matrix. */
int bench_chain(struct command_line *line, double seconds);

#endif
