/* Reading values for the chain of a process; see struct rate_source. What returns bool returns
 * false after reporting. Results are in the arena of the source. */
#ifndef SEDGE_PROCESS_SOURCE_H
#define SEDGE_PROCESS_SOURCE_H

#include "graph/process.h"

/* Reports MESSAGE; false. */
bool source_fail(const struct rate_source *s, struct span span, const char *message);
/* A number, over the params of the model where there is one. */
bool source_real(const struct rate_source *s, const struct yaml *node, double *out);
/* As many as LIST has. */
bool source_reals(const struct rate_source *s, const struct yaml *list, double *out);
/* KEY of MAP, where it is given. */
bool source_flag(const struct rate_source *s, const struct yaml *map, const char *key, bool *out);

/* NAME as it is, else beside the file that names it. */
char *source_path(const struct rate_source *s, const struct yaml *name);
bool source_ends(const char *text, const char *end);

/* A state as messages show it. */
const char *source_state(const struct rate_source *s, int32_t x);
/* The token that the data calls NAME; -1: none. */
int32_t source_symbol(const struct rate_source *s, const char *name);
/* Which token each column of a header names; the last of one column more is the mask, whatever it
 * is called. */
bool source_header(const struct rate_source *s, const char *const *names, int64_t count,
                   struct span span, int32_t *state);
/* The numbers of a CSV file, one a state, in the order of the states. */
bool source_numbers(const struct rate_source *s, const struct yaml *name, double **out,
                    int64_t *count);

/* BASE, or NULL, of a chain whose rates are known: sets its base or its stationary law. */
bool base_read(const struct rate_source *s, const struct yaml *base, struct chain *chain);

#endif
