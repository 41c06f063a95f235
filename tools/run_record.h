/* run.json and config.yaml of a run folder: what ran, and whether the same may go on. */
#ifndef SEDGE_TOOLS_RUN_RECORD_H
#define SEDGE_TOOLS_RUN_RECORD_H

#include "tools/project.h"

/* Files and model of the recipe under names that hold from anywhere. */
void record_pin(struct project *p);

/* Writes config.yaml, run.json and vocabulary.json; false after reporting. */
bool record_write(struct project *p, struct folder *folder);

/* Whether the run in FOLDER may be resumed as this project: same configuration but for keys that
 * change no step already done, same data, same instruction set. False after reporting what
 * differs and what to do. */
bool record_matches(struct project *p, struct folder *folder);

#endif
