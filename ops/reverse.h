/* The laws over the states that references of reverse steps draw from (reverse_reference.c); shared
 * by reverse.c and bound.c. LOG_SCORE is the score row of one position. */
#ifndef SEDGE_OPS_REVERSE_H
#define SEDGE_OPS_REVERSE_H

#include "ops/chain.h"
#include "ops/kernels/reverse_law.h"

/* Sums of a score row at x. */
struct score_sums ref_sums(const struct chain *chain, int32_t x, const double *log_score);
/* Rows for a law of a table chain in ROOM (ref_room), with the scores at X filled in. */
struct table_law ref_table_law(const struct chain *chain, int32_t x, const double *log_score,
                               void *room);
/* The same with exp(-DELTA Q) s among its weights. */
struct table_law ref_back_law(const struct chain *chain, int32_t x, double delta,
                              const double *log_score, void *room);
/* The clamped weights of LAW over all states. */
void ref_weights(const struct chain *chain, const struct chain_law *law, const double *log_score,
                 double *weights);
/* The law that `denoise` draws from: clamped, repaired, of any scale. P is that of SIGMA and in
 * ROOM (table chains). */
void ref_decoder(const struct transition *p, int32_t x, const double *log_score, void *room,
                 double *weights);

#endif
