/* The score entropy of one pair, in a form without cancellation. In double; the kernel and the
 * reference share this one copy.
 *
 * s - rho log s + rho (log rho - 1) = rho (exp(d) - 1 - d), d = log s - log rho (Lou, Meng, Ermon
 * 2024, whose three pieces are each huge where noise is little). */
#ifndef SEDGE_SCORE_ENTROPY_H
#define SEDGE_SCORE_ENTROPY_H

#include <math.h>

/* exp(d) - 1 - d, never negative, with exp(d) handed in. Below 0.05 the power series: its first
 * missing term is 1.3e-10 of the sum there, while the difference would lose half its digits. */
static inline double excess_of(double d, double exp_d)
{
    double series = d * d * (1.0 / 2 + d * (1.0 / 6 + d * (1.0 / 24 + d * (1.0 / 120 + d / 720))));
    double direct = exp_d - 1.0 - d;
    return fabs(d) < 0.05 ? series : direct;
}
static inline double entropy_excess(double d)
{
    return excess_of(d, exp(d));
}

/* The score entropy of one pair at the true ratio RHO. */
static inline double entropy_term(double log_score, double rho, double log_rho)
{
    return rho > 0.0 ? rho * entropy_excess(log_score - log_rho) : exp(log_score);
}

#endif
