/* Chains small enough to enumerate: matrix exponentials in double, laws, and all pairs of a noisy
 * and a clean token. Included by tests of the diffusion families. */
#ifndef SEDGE_TESTS_ENUMERATION_H
#define SEDGE_TESTS_ENUMERATION_H

#include "tests/ops/diffusion.h"
#include "tests/support/op_case.h"

#define STATES_MAX 8

struct matrix {
    int n;
    double at[STATES_MAX][STATES_MAX];
};

static inline struct matrix product(const struct matrix *a, const struct matrix *b)
{
    struct matrix c = {.n = a->n};
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < a->n; k++)
            for (int j = 0; j < a->n; j++)
                c.at[i][j] += a->at[i][k] * b->at[k][j];
    return c;
}

/* exp(sigma Q) by scaling, fifteen Taylor terms and squaring: |sigma Q| / 2^14 < 0.01 here, so the
 * first term left out is below 1e-44; squaring fourteen times keeps 1e-11. */
static inline struct matrix exponential(const struct chain *chain, double sigma)
{
    const int squarings = 14;
    struct matrix step = {.n = chain->states}, term = {.n = chain->states}, sum;
    for (int y = 0; y < chain->states; y++) {
        for (int x = 0; x < chain->states; x++)
            step.at[y][x] = ldexp(sigma * chain_rate(chain, y, x), -squarings);
        term.at[y][y] = 1;
    }
    sum = term;
    for (int k = 1; k <= 15; k++) {
        term = product(&term, &step);
        for (int y = 0; y < sum.n; y++)
            for (int x = 0; x < sum.n; x++) {
                term.at[y][x] /= k;
                sum.at[y][x] += term.at[y][x];
            }
    }
    for (int i = 0; i < squarings; i++)
        sum = product(&sum, &sum);
    return sum;
}

/* A law over the real tokens, none of them rare, and where it goes at noise P. */
static inline void random_law(const struct chain *chain, uint64_t seed, double *p0)
{
    double sum = 0;
    for (int y = 0; y < chain->states; y++) {
        p0[y] = y < chain->tokens ? 0.1 + test_uniform(seed, (uint32_t)y) : 0;
        sum += p0[y];
    }
    for (int y = 0; y < chain->states; y++)
        p0[y] /= sum;
}

static inline void apply(const struct matrix *p, const double *from, double *to)
{
    for (int y = 0; y < p->n; y++) {
        to[y] = 0;
        for (int x = 0; x < p->n; x++)
            to[y] += p->at[y][x] * from[x];
    }
}

/* Log of the exact score at X; states of probability 0 (a token after the mask) do not occur. */
static inline void exact_score(const double *p, int n, int x, float *log_score)
{
    for (int y = 0; y < n; y++)
        log_score[y] = y == x ? 0 : (float)log(p[y] / p[x]);
}

/* Whether noise can lead from X0 to X. */
static inline bool reachable(const struct chain *chain, int x, int x0)
{
    return chain->kind == CHAIN_TABLE || chain->uniform > 0 || x == x0 || x == chain->mask;
}

/* P of a chain; no more than four of them live at once. */
static inline struct transition transition_of(const struct chain *chain, double sigma)
{
    static _Alignas(64) char rooms[4][8192];
    static int next;
    cr_assert(chain_room_bytes(chain) == 0 || transition_bytes(chain) <= 8192);
    return transition_make(chain, sigma, NULL, 0, rooms[next++ % 4], 1);
}

static const double sigmas[] = {1e-3, 0.04, 0.7, 3, 12};
#define SIGMAS 5

/* Chains by the rate of an op case; everything lives as long as the test. */
static inline struct chain chain_named(const char *rate)
{
    static struct case_graph room;
    if (!room.arena) {
        room.arena = arena_new();
        room.diags = diags_new(room.arena);
    }
    return op_case_chain(&room, rate);
}
static inline struct chain chain_number(int i)
{
    static const char *const rates[] = {"absorb 5",        "uniform 7",         "uniform 2",
                                        "mix 4 0.7 0.3 0", "mix 3 0.6 0.5 0.5", "band 5 1",
                                        "table 4 0 1",     "table 3 1 2",       "cycle 4"};
    return chain_named(rates[i]);
}
#define CHAINS 9

/* All pairs (x, x0) of a chain as one batch of rows of length 1. */
struct pairs {
    int count;
    int32_t x[64], x0[64];
    float log_score[64 * STATES_MAX];
};

static inline void all_pairs(const struct chain *chain, uint64_t seed, double spread,
                             struct pairs *out)
{
    *out = (struct pairs){0};
    for (int x = 0; x < chain->states; x++)
        for (int x0 = 0; x0 < chain->tokens; x0++) {
            if (!reachable(chain, x, x0))
                continue;
            float *row = out->log_score + out->count * chain->states;
            for (int y = 0; y < chain->states; y++)
                row[y] = y == x
                             ? 0
                             : (float)(spread * test_normal(seed, (uint32_t)(64 * x + 8 * x0 + y)));
            out->x[out->count] = x;
            out->x0[out->count++] = x0;
        }
}

static inline struct trial pair_trial(const struct op *op, const struct chain *chain,
                                      struct pairs *pairs, double *sigma)
{
    struct trial trial = {.op = op, .chain = chain, .in_count = 4};
    int64_t n = pairs->count;
    trial.in[0] = tensor_of(DT_F32, pairs->log_score, 3, n, 1, chain->states);
    trial.in[1] = tensor_of(DT_TOKEN, pairs->x, 2, n, 1, 0);
    trial.in[2] = tensor_of(DT_TOKEN, pairs->x0, 2, n, 1, 0);
    trial.in[3] = tensor_of(DT_F64, sigma, 0, 0, 0, 0);
    trial.out = tensor_of(DT_F64, NULL, 2, n, 1, 0);
    return trial;
}

#endif
