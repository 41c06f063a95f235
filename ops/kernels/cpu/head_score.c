/* Scores of a law of the clean token; ops/head_score.c has the notation. Flat chains take two
 * passes over a row, in which u_y = stay v_y + other (sum of v); table chains products with P,
 * which is made once for rows of one sigma. All in double. */
#include "ops/kernels/cpu/law_row.h"

/* v over the states. */
static void weigh_table(const struct transition *p, const float *log_p, int32_t x, bool cavity,
                        double *v)
{
    const struct chain *chain = p->chain;
    for (int32_t y = 0; y < chain->states; y++)
        v[y] = y >= chain->tokens ? 0 : cavity ? 1 : transition_at(p, x, y);
#pragma omp simd
    for (int32_t y = 0; y < chain->states; y++)
        v[y] = v[y] > 0 ? exp((double)log_p[y]) / v[y] : 0;
}

static void score_table(const struct transition *p, const float *log_p, int32_t x, bool cavity,
                        double *rows, float *out)
{
    const int32_t n = p->chain->states;
    double *v = rows, *u = rows + n;
    weigh_table(p, log_p, x, cavity, v);
    transition_apply(p, v, u);
    double here = cavity ? log(u[x]) : 0;
    for (int32_t y = 0; y < n; y++)
        out[y] = (float)(log(u[y]) - here);
    out[x] = 0;
}

/* The rows over the states of position I of a sequence. */
static double *table_rows_of(const struct kernel_call *call, int64_t i)
{
    int64_t rows = 5 * i * call->chain->states;
    return (double *)((char *)call->workspace + transition_bytes(call->chain)) + rows;
}

/* All positions are alike, so that many rows of one position are work for all threads. */
static void score_each(const struct kernel_call *call, struct positions at, bool cavity)
{
    const int64_t n = call->chain->states;
    const float *log_p = call->in[0].data;
    const int32_t *x = call->in[1].data;
    float *out = call->out[0].data;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * n > LAW_PARALLEL)
    for (int64_t k = 0; k < at.count; k++) {
        struct transition p = transition_flat(call->chain, time_at(&call->in[2], k / at.length));
        struct flat_row flat = flat_open(&p, log_p + k * n, x[k], cavity);
        score_flat(&flat, out + k * n);
    }
}

static void score_rows(const struct kernel_call *call, struct positions at, bool cavity)
{
    const int64_t n = call->chain->states;
    const float *log_p = call->in[0].data;
    const int32_t *x = call->in[1].data;
    float *out = call->out[0].data;
    struct transition p = {.sigma = -1};
    for (int64_t row = 0; row < at.rows; row++) {
        next_transition(call, row, time_at(&call->in[2], row), &p);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * n > LAW_PARALLEL)
        for (int64_t i = 0; i < at.length; i++) {
            int64_t k = row * at.length + i;
            score_table(&p, log_p + k * n, x[k], cavity, table_rows_of(call, i), out + k * n);
        }
    }
}

static void score(const struct kernel_call *call, bool cavity)
{
    struct positions at = positions_of(&call->in[1]);
    if (call->chain->kind == CHAIN_FLAT)
        score_each(call, at, cavity);
    else
        score_rows(call, at, cavity);
}
static void posterior_score(const struct kernel_call *call)
{
    score(call, false);
}
static void cavity_score(const struct kernel_call *call)
{
    score(call, true);
}

/* What a row's gradient comes to: sums over y of slopes g_y (at x: OWN), and of g_y / u_y. */
struct flat_slopes {
    double own;     /* at x */
    double total;   /* over tokens that can be reached */
    double inverse; /* of g_y / u_y over tokens */
    double reached; /* of g_y v_y / u_y over tokens */
    double mask;    /* at the mask, 0 where there is none */
};

/* u_y of token y, but for x itself. */
static inline double reached_of(const struct flat_row *row, double e)
{
    return row->p->stay * row->weight * e + row->p->other * row->sum;
}

static double slope_of_x(const struct flat_row *row, const float *g)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int32_t y = 0; y < row->p->chain->states; y++)
        sum += (double)g[y];
    return row->cavity ? (double)g[row->x] - sum : 0;
}

/* Absorb: u_y = stay v_y, so that g_y v_y / u_y = g_y / stay. */
static double backward_absorb(const struct flat_row *row, const float *g, float *out)
{
    const struct transition *p = row->p;
    const int32_t n = p->chain->tokens, mask = p->chain->mask;
    const double own = slope_of_x(row, g), a = p->chain->absorb;
    const double to_mask = (row->x == mask ? own : (double)g[mask]) * inverse_of(row->sum);
    const bool frozen = row->x != mask && !row->cavity; /* x0 is known */
    double total = 0;
    for (int32_t y = 0; y < n && !frozen; y++)
        total += y == row->x ? own : (double)g[y] * (row->log_p[y] > -INFINITY);
    double d_mask = a * p->stay * inverse_of(p->masked);
    double dsigma = -a * total + (row->x == mask ? own : (double)g[mask]) * d_mask;
    if (!row->cavity) /* v has 1 / P[x][x0] in it */
        dsigma -= row->x == mask ? d_mask * total : -a * (double)g[mask];
    for (int32_t y = 0; y < n; y++) {
        double v = (y == row->x ? row->own : row->weight) * exp((double)row->log_p[y]);
        double slope = y == row->x ? own : (double)g[y] * (row->log_p[y] > -INFINITY);
        out[y] = (float)((frozen ? 0 : slope) + to_mask * v);
    }
    out[mask] = 0;
    return dsigma;
}

static struct flat_slopes flat_slopes(const struct flat_row *row, const float *g)
{
    const struct transition *p = row->p;
    const int32_t n = p->chain->tokens, mask = p->chain->mask, x = row->x;
    struct flat_slopes s = {.own = slope_of_x(row, g)};
    double total = 0, inv = 0, reached = 0;
#pragma omp simd reduction(+ : total, inv, reached)
    for (int32_t y = 0; y < n; y++) {
        double e = exp((double)row->log_p[y]), h = (double)g[y] / reached_of(row, e);
        double slope = y == x ? 0.0 : (double)g[y];
        h = y == x ? 0.0 : h;
        total += slope;
        inv += h;
        reached += h * e * row->weight;
    }
    if (x < n) {
        double h = s.own / (p->stay * row->own_v + p->other * row->sum);
        total += s.own;
        inv += h;
        reached += h * row->own_v;
    }
    s.total = total;
    s.inverse = inv;
    s.reached = reached;
    if (mask >= 0)
        s.mask = x == mask ? s.own : (double)g[mask];
    return s;
}

/* d sigma: (Q u)_y / u_y summed with slopes; for a posterior less what P[x][x0] in v does. */
static double flat_dsigma(const struct flat_row *row, const struct flat_slopes *s)
{
    const struct transition *p = row->p;
    const struct chain *chain = p->chain;
    const double a = chain->absorb, u = chain->uniform, w = chain->release, n = chain->tokens;
    double tokens = (p->stay + n * p->other) * row->sum, masked = p->masked * row->sum;
    double sum = -(a + u) * s->total + (u * tokens + w * masked) / n * s->inverse;
    if (s->mask != 0)
        sum += s->mask * (a * tokens / masked - w);
    if (row->cavity)
        return sum;
    int32_t x = row->x, another = x == 0;
    if (x == chain->mask)
        return sum - transition_slope(p, x, 0) * inverse_of(p->masked) * (s->total + s->mask);
    double same = transition_slope(p, x, x) * inverse_of(p->same);
    double other = n > 1 ? transition_slope(p, x, another) * inverse_of(p->other) : 0;
    double w_sum = other * (row->sum - row->own_v) + same * row->own_v;
    sum -= p->stay * other * s->reached + p->other * w_sum * s->inverse;
    return s->mask != 0 ? sum - s->mask * w_sum / row->sum : sum;
}

static double backward_flat(const struct flat_row *row, const float *g, float *out)
{
    const struct transition *p = row->p;
    const int32_t n = p->chain->tokens, mask = p->chain->mask, x = row->x;
    if (chain_carries_over(p->chain))
        return backward_absorb(row, g, out);
    struct flat_slopes s = flat_slopes(row, g);
    double dsigma = flat_dsigma(row, &s);
    double common = p->other * s.inverse + (s.mask != 0 ? s.mask / row->sum : 0);
    double at_x = 0;
    if (x < n)
        at_x =
            row->own_v * (p->stay * s.own / (p->stay * row->own_v + p->other * row->sum) + common);
#pragma omp simd
    for (int32_t y = 0; y < n; y++) {
        double e = exp((double)row->log_p[y]);
        double h = p->stay * (double)g[y] / reached_of(row, e);
        out[y] = (float)(row->weight * e * (h + common));
    }
    if (x < n)
        out[x] = (float)at_x;
    if (mask >= 0)
        out[mask] = 0;
    return dsigma;
}

/* ROWS: five over the states. Returns d sigma. */
static double backward_table(const struct transition *p, const float *log_p, int32_t x, bool cavity,
                             const float *g, double *rows, float *out)
{
    const struct chain *chain = p->chain;
    const int32_t n = chain->states;
    double *v = rows, *u = rows + n, *h = rows + 2 * n, *slope = rows + 3 * n,
           *moved = rows + 4 * n;
    double total = 0, dsigma = 0;
    weigh_table(p, log_p, x, cavity, v);
    transition_apply(p, v, u);
    table_multiply(chain->rates, u, slope);
    for (int32_t y = 0; y < n; y++)
        total += y == x ? 0 : (double)g[y];
    for (int32_t y = 0; y < n; y++)
        h[y] = (y != x ? (double)g[y] : cavity ? -total : 0) * inverse_of(u[y]);
    for (int32_t y = 0; y < n; y++)
        dsigma += h[y] * slope[y];
    transition_apply_transposed(p, h, moved);
    for (int32_t y = 0; y < n; y++) {
        double each = v[y] * moved[y];
        if (!cavity && each != 0)
            dsigma -= each * transition_slope(p, x, y) * inverse_of(transition_at(p, x, y));
        out[y] = y < chain->tokens ? (float)each : 0;
    }
    return dsigma;
}

static void score_backward(const struct kernel_call *call, bool cavity)
{
    const struct chain *chain = call->chain;
    const float *log_p = call->in[0].data, *g = call->in[3].data;
    const int32_t *x = call->in[1].data;
    float *out = call->out[0].data;
    double *dsigma = call->out[1].data;
    struct positions at = positions_of(&call->in[1]);
    const int64_t n = chain->states;
    struct transition p = {.sigma = -1};
    for (int64_t row = 0; row < at.rows; row++) {
        next_transition(call, row, time_at(&call->in[2], row), &p);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * n > LAW_PARALLEL)
        for (int64_t i = 0; i < at.length; i++) {
            int64_t k = row * at.length + i;
            const float *from = log_p + k * n, *slopes = g + k * n;
            if (chain->kind == CHAIN_TABLE) {
                dsigma[k] = backward_table(&p, from, x[k], cavity, slopes, table_rows_of(call, i),
                                           out + k * n);
            } else {
                struct flat_row flat = flat_open(&p, from, x[k], cavity);
                dsigma[k] = backward_flat(&flat, slopes, out + k * n);
            }
        }
    }
}
static void posterior_score_backward(const struct kernel_call *call)
{
    score_backward(call, false);
}
static void cavity_score_backward(const struct kernel_call *call)
{
    score_backward(call, true);
}

KERNEL_LIST(head_score) = {
    {"posterior_score", "ftd>f", posterior_score},
    {"cavity_score", "ftd>f", cavity_score},
    {"posterior_score_backward", "ftdf>fd", posterior_score_backward},
    {"cavity_score_backward", "ftdf>fd", cavity_score_backward},
    {0},
};
