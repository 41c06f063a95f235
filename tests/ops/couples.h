/* Two dependent tokens, small enough that the law of a whole sampler is a product of matrices: what
 * one step does is taken from the kernels, and composed. No draws, so no noise.
 *
 * A place is a position of one of the STATES x STATES sequences: sequence k = a STATES + b has the
 * places 2k (its token a) and 2k + 1 (b). Laws of places are rows of STATES numbers. */
#ifndef SEDGE_TESTS_COUPLES_H
#define SEDGE_TESTS_COUPLES_H

#include "tests/ops/enumeration.h"

#include "ops/kernels/attrs.h"

#define COUPLE_STATES 4
#define COUPLES (COUPLE_STATES * COUPLE_STATES)
#define PLACES (2 * COUPLES)

struct couple {
    struct chain chain;
    double p0[COUPLES]; /* over tokens x tokens */
};

struct place_laws {
    double at[PLACES][COUPLE_STATES];
};

/* Tokens that tend to be equal, by numbers that no symmetry explains. */
static inline struct couple couple_named(const char *rate)
{
    struct couple c = {.chain = chain_named(rate)};
    int n = c.chain.tokens;
    double sum = 0;
    cr_assert(c.chain.states <= COUPLE_STATES);
    for (int k = 0; k < n * n; k++)
        sum += c.p0[k] = k / n == k % n ? 3 + k : 0.5 + 0.1 * k;
    for (int k = 0; k < n * n; k++)
        c.p0[k] /= sum;
    return c;
}

/* The law of both tokens at SIGMA, over states x states. */
static inline void couple_law(const struct couple *c, double sigma, double *law)
{
    int n = c->chain.tokens, m = c->chain.states;
    struct matrix p = exponential(&c->chain, sigma);
    for (int k = 0; k < m * m; k++) {
        law[k] = 0;
        for (int j = 0; j < n * n; j++)
            law[k] += p.at[k / m][j / n] * p.at[k % m][j % n] * c->p0[j];
    }
}

static inline int place_token(const struct couple *c, int place)
{
    int m = c->chain.states;
    return place % 2 ? place / 2 % m : place / 2 / m;
}
/* The sequence of PLACE with Y in its stead. */
static inline int place_changed(const struct couple *c, int place, int y)
{
    int m = c->chain.states, k = place / 2;
    return place % 2 ? k / m * m + y : y * m + k % m;
}

/* The exact score of every place under LAW. Sequences that do not occur get ones. */
static inline void exact_scores(const struct couple *c, const double *law, struct place_laws *out)
{
    int m = c->chain.states;
    for (int i = 0; i < 2 * m * m; i++)
        for (int y = 0; y < m; y++)
            out->at[i][y] = law[i / 2] > 0 ? law[place_changed(c, i, y)] / law[i / 2] : 1;
}

/* p(x0 at the place | the sequence), or with CAVITY | the other token alone. */
static inline void clean_laws(const struct couple *c, double sigma, bool cavity,
                              struct place_laws *out)
{
    int n = c->chain.tokens, m = c->chain.states;
    struct matrix p = exponential(&c->chain, sigma);
    for (int i = 0; i < 2 * m * m; i++) {
        double sum = 0;
        int a = i / 2 / m, b = i / 2 % m;
        memset(out->at[i], 0, sizeof out->at[i]);
        for (int j = 0; j < n * n; j++) {
            double first = cavity && i % 2 == 0 ? 1 : p.at[a][j / n];
            double second = cavity && i % 2 == 1 ? 1 : p.at[b][j % n];
            double w = first * second * c->p0[j];
            out->at[i][i % 2 ? j % n : j / n] += w;
            sum += w;
        }
        for (int y = 0; y < n && sum > 0; y++)
            out->at[i][y] /= sum;
        for (int y = 0; y < n && !(sum > 0); y++)
            out->at[i][y] = 1.0 / n;
    }
}

/* One step of LAW, in which both places draw independently by STEP. */
static inline void couple_step(const struct couple *c, const struct place_laws *step, double *law)
{
    int m = c->chain.states;
    double next[COUPLES] = {0};
    for (int k = 0; k < m * m; k++)
        for (int j = 0; law[k] > 0 && j < m * m; j++)
            next[j] += law[k] * step->at[2 * k][j / m] * step->at[2 * k + 1][j % m];
    memcpy(law, next, sizeof next);
}

/* Total variation. */
static inline double apart(const struct couple *c, const double *a, const double *b)
{
    double sum = 0;
    for (int k = 0; k < c->chain.states * c->chain.states; k++)
        sum += fabs(a[k] - b[k]) / 2;
    return sum;
}

/* ------------------------------------------------------------------- what one kernel draws by */

/* All places as one row of positions, with LOGS of LAWS; TIMES numbers behind them, COUNT
 * inputs. */
struct place_room {
    int32_t x[PLACES];
    float logs[PLACES * COUPLE_STATES];
    double exact[PLACES * COUPLE_STATES]; /* the same for references, in double */
    double time[3], u[PLACES];
};

static inline struct trial place_trial(const struct couple *c, const struct op *op,
                                       const struct place_laws *laws, const double *time,
                                       uint32_t times, struct place_room *room)
{
    int m = c->chain.states, places = 2 * m * m;
    struct trial trial = {.op = op, .chain = &c->chain, .in_count = 2 + times};
    for (int i = 0; i < places; i++) {
        room->x[i] = place_token(c, i);
        for (int y = 0; y < m; y++)
            room->logs[i * m + y] = (float)(room->exact[i * m + y] = log(laws->at[i][y]));
    }
    trial.in[0] = tensor_of(DT_TOKEN, room->x, 2, 1, places, 0);
    trial.in[1] = tensor_of(DT_F32, room->logs, 3, 1, places, m);
    for (uint32_t i = 0; i < times; i++) {
        room->time[i] = time[i];
        trial.in[2 + i] = tensor_of(DT_F64, &room->time[i], 0, 0, 0, 0);
    }
    trial.out = tensor_of(DT_TOKEN, NULL, 2, 1, places, 0);
    return trial;
}

static inline const char *best_isa(void)
{
    const char *best = NULL, *isa;
    for (int at = 0; (isa = isa_next(&at));)
        best = isa;
    return best;
}
static inline double *run_best(const struct trial *trial)
{
    return run_kernel(trial, best_isa());
}

/* The law that an op with a uniform as last input draws by, its inputs in place_trial's order, then
 * `keep`, then the uniform: the edges between states are found by bisecting that uniform, to
 * 2^-HALVINGS. States lie in ascending order, the current one last. RUN: run_kernel on the best
 * instruction set, or the reference. */
static inline void bisected_laws(const struct couple *c, struct trial *trial,
                                 double *(*run)(const struct trial *), struct place_room *room,
                                 int halvings, struct place_laws *out)
{
    int m = c->chain.states, places = 2 * m * m;
    double before[PLACES] = {0};
    trial->in[trial->in_count++] = tensor_of(DT_BOOL, NULL, 2, 1, places, 0);
    trial->in[trial->in_count++] = tensor_of(DT_F64, room->u, 2, 1, places, 0);
    for (int rank = 0; rank < m; rank++) {
        double low[PLACES], high[PLACES];
        for (int i = 0; i < places; i++) {
            low[i] = rank < m - 1 ? before[i] : 1;
            high[i] = 1;
        }
        for (int h = 0; h < halvings && rank < m - 1; h++) {
            for (int i = 0; i < places; i++)
                room->u[i] = (low[i] + high[i]) / 2;
            double *y = run(trial);
            for (int i = 0; i < places; i++) {
                int x = room->x[i], state = (int)y[i];
                int found = state == x ? m - 1 : state - (state > x);
                *(found <= rank ? &low[i] : &high[i]) = room->u[i];
            }
            free(y);
        }
        for (int i = 0; i < places; i++) {
            int x = room->x[i], state = rank == m - 1 ? x : rank + (rank >= x);
            out->at[i][state] = high[i] - before[i];
            before[i] = high[i];
        }
    }
    trial->in_count -= 2;
}

/* The clamped and normalised weights that an op of weights gives. */
static inline void weighed_laws(const struct couple *c, struct trial *trial, struct place_laws *out)
{
    int m = c->chain.states, places = 2 * m * m;
    trial->out = tensor_of(DT_F64, NULL, 3, 1, places, m);
    double *weights = run_best(trial);
    for (int i = 0; i < places; i++) {
        double sum = 0;
        for (int y = 0; y < m; y++)
            sum += out->at[i][y] = fmax(0, weights[i * m + y]);
        for (int y = 0; y < m; y++)
            out->at[i][y] /= sum;
    }
    free(weights);
}

#endif
