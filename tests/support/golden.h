/* Reference vectors of a model (tests/golden/README.md) on the bench: the file, the model at its
 * hyperparameters, and what is held against it. Reads the folder $SEDGE_GOLDEN, or tests/golden. */
#ifndef SEDGE_TESTS_GOLDEN_H
#define SEDGE_TESTS_GOLDEN_H

#include "tests/support/rig.h"

#include "graph/base/safetensors.h"

struct golden {
    struct rig rig;
    struct tensor_file *file;
};

/* Only the file NAME.safetensors, in ARENA: what its model needs to be told is in its metadata. */
struct tensor_file *golden_file(struct arena *arena, const char *name);
/* A metadata value; as a number. */
const char *golden_meta(const struct tensor_file *file, const char *key);
double golden_number(const struct tensor_file *file, const char *key);

/* Opens the file NAME and the model at PATH with SETTINGS. */
void golden_open(struct golden *g, const char *name, const char *path, const char *const *settings);
void golden_close(struct golden *g);
/* The rows of all programs compiled so far, with the parameters of the file. */
void golden_state(struct golden *g);

const struct tensor *golden_get(const struct golden *g, const char *name);
/* An output of one number. */
double golden_scalar(const struct loaded *loaded, const char *name);
/* Every tensor PREFIX/NAME of the file against the row ROWS NAME, times SCALE, within TOLERANCE of
 * its norm; there must be one for each parameter. */
void golden_rows(struct golden *g, const char *prefix, const char *rows, double scale,
                 double tolerance);
void golden_relative(double ours, double theirs, double tolerance, const char *what);

#endif
