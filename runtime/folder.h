/* A run's folder: configuration, metrics and checkpoints, written so that a kill at any moment
 * leaves a run that can be resumed.
 *
 *     config.yaml          the resolved recipe
 *     run.json             what ran: version, command, data hash, machine
 *     vocabulary.json      the alphabet
 *     metrics.jsonl        one line a report
 *     last.safetensors     the newest checkpoint (the same file as the newest step-N.safetensors)
 *     best.safetensors     that with the lowest validation bound
 *     step-N.safetensors   the newest few
 *
 * What is no state is read back from the metrics: seconds trained, the best bound and when, the
 * newest validation. There is no second place that could disagree. */
#ifndef SEDGE_RUNTIME_FOLDER_H
#define SEDGE_RUNTIME_FOLDER_H

#include "runtime/state.h"

#include <dirent.h>
#include <stdio.h>

struct folder {
    struct diags *diags;
    struct arena *arena;
    const char *path;
    DIR *lock; /* the folder itself, held while it is trained in */
    FILE *metrics;
    int64_t keep;      /* numbered checkpoints that stay */
    double seconds;    /* trained, at the newest line of the metrics when they were opened */
    double best;       /* lowest validation bound; INFINITY before the first */
    int64_t best_step; /* its step */
    int64_t validated; /* step of the newest validation; 0: none */
};

/* Makes the folder (and its parents) unless it is there, locks it for this process, and removes
 * what a killed one left half-written. False after reporting. */
bool folder_open(struct folder *folder, struct diags *diags, struct arena *arena, const char *path,
                 int64_t keep);
void folder_close(struct folder *folder);
/* Removes what an earlier run left there: checkpoints and metrics. */
void folder_clear(struct folder *folder);
char *folder_file(const struct folder *folder, const char *name); /* its path, in the arena */
bool folder_has(const struct folder *folder, const char *name);

/* Opens metrics.jsonl for appending, first dropping lines of steps after STEP (they were not saved,
 * and will come again), and reads SECONDS, BEST and VALIDATED from those that stay. */
bool folder_metrics(struct folder *folder, int64_t step);
/* Appends one line; false after reporting (disk full). */
bool folder_metric(struct folder *folder, const char *line);
/* Notes a validation; true when its bound is the lowest yet. */
bool folder_validated(struct folder *folder, int64_t step, double bound);

/* Writes step-N.safetensors, makes it best.safetensors (with BEST) and last.safetensors, then drops
 * old ones. */
bool folder_checkpoint(struct folder *folder, const struct state *state, int64_t step, bool best);
/* Removes numbered checkpoints: those after NEWEST, which are of a run that went further, and all
 * but KEEP of the others. */
void folder_drop(struct folder *folder, int64_t newest);

#endif
