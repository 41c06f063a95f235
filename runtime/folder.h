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
 *     progress.json        seconds trained, best bound: what is no state */
#ifndef SEDGE_RUNTIME_FOLDER_H
#define SEDGE_RUNTIME_FOLDER_H

#include "runtime/state.h"

#include <stdio.h>

struct folder {
    struct diags *diags;
    struct arena *arena;
    const char *path;
    FILE *metrics;
    int64_t keep; /* numbered checkpoints that stay */
    double seconds, best; /* of progress.json; BEST is INFINITY before the first validation */
};

/* Makes the folder (and its parents) unless it is there. False after reporting. */
bool folder_open(struct folder *folder, struct diags *diags, struct arena *arena, const char *path,
                 int64_t keep);
void folder_close(struct folder *folder);
/* Removes what an earlier run left there: checkpoints, metrics, progress. */
void folder_clear(struct folder *folder);
char *folder_file(const struct folder *folder, const char *name); /* its path, in the arena */
bool folder_has(const struct folder *folder, const char *name);

/* Opens metrics.jsonl for appending, first dropping lines of steps after STEP: they were not
 * saved, and will come again. */
bool folder_metrics(struct folder *folder, int64_t step);
/* Appends one line; false after reporting (disk full). */
bool folder_metric(struct folder *folder, const char *line);

/* Writes step-N.safetensors, makes it last.safetensors (and best.safetensors with BEST), drops old
 * ones, then writes progress.json. */
bool folder_checkpoint(struct folder *folder, const struct state *state, int64_t step, bool best);
bool folder_read_progress(struct folder *folder);

#endif
