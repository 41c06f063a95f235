/* How references draw from a law over the states; shared by reverse.c and bound.c. LOG_SCORE is the
 * score row of one position. */
#ifndef SEDGE_OPS_REVERSE_H
#define SEDGE_OPS_REVERSE_H

#include "ops/kernels/chain_math.h"

/* Sum of s_y over the real tokens y != x. */
double ref_others(const struct chain *chain, int32_t x, const double *log_score);
/* Sum of the clamped weights of all states. */
double ref_total(const struct chain *chain, const struct chain_law *law, const double *log_score);
/* Inverse CDF at U; OTHERWISE where no weight is positive. */
int32_t ref_law_draw(const struct chain *chain, const struct chain_law *law,
                     const double *log_score, double u, int32_t otherwise);
/* The law that `denoise` draws from. */
struct chain_law ref_decoder(const struct chain *chain, int32_t x, double sigma,
                             const double *log_score);

#endif
