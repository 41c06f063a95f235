/* One position of a cavity under a flat chain, from logits Z: the score entropy of the scores that
 * it comes to (cavity_output, cavity_score, score_entropy), and the slope of that. Used by the
 * fused head of head_loss.c. Sums over states are in double.
 *
 * With e = exp(z - most), T the sum of these over the tokens and q = e / T, scores are s_y = u_y /
 * u_x, u_y = stay q_y + other of tokens, u_M = masked of a mask. Of the tokens but x and x0, the
 * listed ones, all with one true ratio rho,
 *   s_y / rho = t_y = slope e_y + floor,  slope = stay / (T u_x rho),  floor = other / (u_x rho),
 * so that the loss takes one logarithm of each, and what follows for z none:
 *   d z_y = h_y - q_y sum over tokens of h,   h_y = g_y stay q_y / u_y,
 *   g_y = G Q[x][y] (s_y - rho_y) at y != x,  g_x = - sum over y != x of g_y
 * where (s_y - rho) / u_y is (1 - 1 / t_y) / u_x of the listed ones. Where other is 0, as under
 * absorption, rho is, and t infinite. */
#ifndef SEDGE_CPU_CAVITY_ROW_H
#define SEDGE_CPU_CAVITY_ROW_H

#include "ops/kernels/cpu/score_row.h"
#include "ops/kernels/cpu/softmax_row.h"

struct cavity_row {
    const struct transition *p;
    struct flat_pairs pairs;
    float *e;            /* Z itself */
    double own, known;   /* e at x, and at x0 where that is not x; 0 at a mask */
    double listed;       /* of e */
    double total;        /* T */
    double here;         /* u_x */
    double log_known;    /* log s at x0 */
    double log_mask;     /* log s at the mask */
    double slope, floor; /* of t */
    double excess, pull; /* of exp(d) - 1 - d, d = log t; of e (1 - 1 / t): listed ones */
};

/* The spans of listed tokens: SPAN of three. */
struct span {
    int64_t first, count;
};
static inline struct span listed_span(const struct flat_pairs *q, int32_t tokens, int span)
{
    const int64_t ends[] = {-1, q->low, q->high, tokens};
    return (struct span){ends[span] + 1, ends[span + 1] - ends[span] - 1};
}

/* The sum of exp(z - MOST), which Z becomes. It is in double all through: where one token is nearly
 * all, slopes are what is left of it. */
static inline double cavity_exp(float *z, int64_t n, float most)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        z[i] = expf(z[i] - most);
        sum += (double)z[i];
    }
    return sum;
}

/* The score at x0 is made of logarithms: it counts there where e has no room for it. */
static inline struct cavity_row cavity_open(const struct transition *p, float *z, int32_t x,
                                            int32_t x0)
{
    const int32_t tokens = p->chain->tokens;
    struct cavity_row row = {.p = p, .pairs = flat_pairs(p, x, x0), .e = z};
    const bool masked = x == p->chain->mask;
    const float most = row_max(z, tokens);
    const double log_own = masked ? -INFINITY : (double)z[x] - (double)most;
    const double log_known = x0 == x ? -INFINITY : (double)z[x0] - (double)most;
    for (int i = 0; i < 3; i++) {
        struct span s = listed_span(&row.pairs, tokens, i);
        row.listed += cavity_exp(z + s.first, s.count, most);
    }
    row.own = exp(log_own);
    row.known = exp(log_known);
    row.total = row.listed + row.own + row.known;
    row.here = masked ? p->masked : p->stay * row.own / row.total + p->other;
    row.log_mask = log(p->masked) - log(row.here);
    row.log_known = -log(row.here);
    row.log_known += p->other > 0 ? log(p->stay * row.known / row.total + p->other)
                                  : log(p->stay) + log_known - log(row.total);
    row.slope = p->stay / (row.total * row.here * row.pairs.rho);
    row.floor = p->other / (row.here * row.pairs.rho);
    return row;
}

/* Adds what N listed tokens from E on come to. */
static inline void cavity_add(struct cavity_row *row, const float *e, int64_t n)
{
    const double slope = row->slope, floor = row->floor;
    double excess = 0, pull = 0, ratio[LAW_TILE], logs[LAW_TILE];
    for (int64_t first = 0; first < n; first += LAW_TILE) {
        const float *at = e + first;
        int64_t size = n - first < LAW_TILE ? n - first : LAW_TILE;
#pragma omp simd
        for (int64_t i = 0; i < size; i++) {
            ratio[i] = slope * (double)at[i] + floor;
            logs[i] = log(ratio[i]);
        }
#pragma omp simd reduction(+ : excess, pull)
        for (int64_t i = 0; i < size; i++) {
            excess += excess_of(logs[i], ratio[i]);
            pull += (double)at[i] * ((ratio[i] - 1) / ratio[i]);
        }
    }
    row->excess += excess;
    row->pull += pull;
}

static inline double cavity_entropy(struct cavity_row *row)
{
    const struct flat_pairs *q = &row->pairs;
    for (int i = 0; i < 3 && q->rho > 0; i++) {
        struct span s = listed_span(q, row->p->chain->tokens, i);
        cavity_add(row, row->e + s.first, s.count);
    }
    if (q->rho > 0)
        return whole_entropy(q, q->rho * row->excess, row->log_known, row->log_mask);
    row->pull = row->listed;
    return whole_entropy(q, row->p->stay * row->listed / (row->total * row->here), row->log_known,
                         row->log_mask);
}

/* E (F (1 - 1 / t) - LESS), in place. */
static inline void cavity_slopes(const struct cavity_row *row, double f, double less)
{
    const double slope = row->slope, floor = row->floor;
    for (int i = 0; i < 3; i++) {
        struct span s = listed_span(&row->pairs, row->p->chain->tokens, i);
        float *e = row->e + s.first;
        if (row->pairs.rho > 0) {
#pragma omp simd
            for (int64_t k = 0; k < s.count; k++) {
                double ratio = slope * (double)e[k] + floor;
                e[k] = (float)((double)e[k] * (f * ((ratio - 1) / ratio) - less));
            }
        } else {
            row_scale(e, s.count, (float)(f - less));
        }
    }
}

/* Sum over y != x of Q[x][y] (s_y - rho_y); KNOWN of it at x0. */
static inline double cavity_change(const struct cavity_row *row, double known)
{
    const struct transition *p = row->p;
    const struct flat_pairs *q = &row->pairs;
    const int32_t count = p->chain->tokens - (q->low == q->high ? 1 : 2);
    double sum = p->stay * row->listed / (row->total * row->here);
    sum = q->rate * (sum + count * (p->other / row->here - q->rho)) + known;
    if (q->mask_rate > 0)
        sum += q->mask_rate * (p->masked / row->here - q->mask_rho);
    return sum;
}

/* Z, of which cavity_entropy was taken, becomes G times its slope. */
static inline void cavity_slope(const struct cavity_row *row, double g, int32_t x, int32_t x0)
{
    const struct transition *p = row->p;
    const struct flat_pairs *q = &row->pairs;
    const double q_own = row->own / row->total, q_known = row->known / row->total;
    const double share = p->other > 0 ? p->stay * q_known / (p->stay * q_known + p->other) : 1;
    const double known = x0 == x ? 0 : q->rate * (exp(row->log_known) - q->rho0);
    const double f = g * q->rate * p->stay / (row->total * row->here);
    const double at_known = g * known * share;
    const double at_own = -g * cavity_change(row, known) * p->stay * q_own / row->here;
    const double listed = f * row->pull;
    cavity_slopes(row, f, (listed + at_known + at_own) / row->total);
    /* Of what is nearly all, the rest is summed by itself. */
    row->e[x0] =
        (float)(at_known * (row->listed + row->own) / row->total - q_known * (listed + at_own));
    if (x != p->chain->mask)
        row->e[x] =
            (float)(at_own * (row->listed + row->known) / row->total - q_own * (listed + at_known));
    if (p->chain->mask >= 0)
        row->e[p->chain->mask] = 0;
}

#endif
