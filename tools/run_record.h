/* run.json and config.yaml of a run folder: what ran, and whether the same may go on. */
#ifndef SEDGE_TOOLS_RUN_RECORD_H
#define SEDGE_TOOLS_RUN_RECORD_H

#include "tools/project.h"

#include <jansson.h>

/* Files and model of the recipe under names that hold from anywhere. */
void record_pin(struct project *p);

/* Writes config.yaml, run.json and vocabulary.json; of a run that EXISTS, run.json keeps how it
 * began, and gets a line for each time it went on. False after reporting. */
bool record_write(struct project *p, struct folder *folder, bool exists);

/* The same of a run that begins with weights from elsewhere and has no data: ORIGIN is what
 * run.json says of them. config.yaml comes last: without it there is no run. */
bool record_import(struct project *p, struct folder *folder, json_t *origin);

/* Whether the run in FOLDER may be resumed as this project: same configuration but for keys that
 * change no step already done, same model, same data, same instruction set. False after reporting
 * what differs and what to do. */
bool record_matches(struct project *p, struct folder *folder);

/* The hash of the data that RUN was trained on; NULL where no record says. */
const char *record_data_hash(struct arena *arena, const char *run);

/* The symbol that ended each document of that data, and padding followed; NULL: none did. */
const char *record_document_end(struct arena *arena, const char *run);

/* Warns where the model of the finished RUN, as its files are now and whatever the command line
 * sets, is not the one that was trained. False after reporting that it can no longer be read. */
bool record_check_model(struct project *p, const char *run);

#endif
