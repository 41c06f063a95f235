/* A Markov chain over one position's states, as data that kernels can read.
 *
 * Convention (Lou, Meng, Ermon 2024): Q[y][x] is the rate of the jump x -> y, columns sum to zero,
 * and P_sigma = exp(sigma Q) has column x0 = p(x_sigma = . | x0).
 *
 * There are two kinds. In a *flat* chain all real tokens are alike: a token is masked at one rate
 * and redrawn from all tokens at another, a mask is redrawn at a third. Its P_sigma has five
 * different entries, in closed form, at any number of states. A *table* chain has any rates;
 * they are stored sparsely, and P_sigma is computed. ops/kernels/transition.h holds what both
 * mean, and says which code besides has a form for each kind. */
#ifndef SEDGE_BASE_CHAIN_H
#define SEDGE_BASE_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

enum chain_kind { CHAIN_FLAT, CHAIN_TABLE };

/* The largest number of states of a table chain. */
#define CHAIN_TABLE_STATES 4096

/* Q of a table chain: the entries off the diagonal that are not zero, by column (what a state
 * jumps to) and by row (what jumps to a state). Made by graph/base/rates.h; never changed. */
struct rates {
    int32_t states;
    int64_t count;             /* entries */
    const int64_t *from_start; /* states + 1: jumps x -> to[k], k in from_start[x] .. [x + 1] */
    const int32_t *to;         /* ascending in each column */
    const double *from_rate;   /* Q[to[k]][x] */
    const int64_t *into_start; /* states + 1: jumps of[k] -> y, k in into_start[y] .. [y + 1] */
    const int32_t *of;         /* ascending in each row */
    const double *into_rate;   /* Q[y][of[k]] */
    const double *leave;       /* -Q[x][x] */
    double fastest;            /* the largest of them */
    const char *text;          /* the rate as a model file would say it in one line */
    bool whole;                /* it says all the rates; a matrix may be named by its file */
    uint64_t hash;             /* of states and entries: two tables are the same chain or not */
};

struct chain {
    enum chain_kind kind;
    int32_t tokens; /* real tokens, N: ids 0 .. N-1; clean data holds no other */
    int32_t states; /* N, or N + 1 with the mask as last state */
    int32_t mask;   /* N where there is a mask, else -1 */
    /* Flat: rates of a token's masking, of its redrawing over all N tokens (itself included), and
     * of a mask's redrawing over all N. absorb: 1 0 0. uniform: 0 1 0. */
    double absorb, uniform, release;
    const struct rates *rates; /* table */
    /* Where reverse chains start: a law over the states, all positive; NULL: the stationary law,
     * or where the mask is final the mask, less the share exp(-absorb sigma) that is not there
     * yet. */
    const double *base;
    const double *stationary; /* table: the stationary law; NULL where there is more than one */
    bool raw; /* scores are used as the network gives them: `project: off` */
};

static inline struct chain chain_absorb(int32_t tokens)
{
    return (struct chain){.tokens = tokens, .states = tokens + 1, .mask = tokens, .absorb = 1};
}
static inline struct chain chain_uniform(int32_t tokens)
{
    return (struct chain){.tokens = tokens, .states = tokens, .mask = -1, .uniform = 1};
}
/* ABSORB, UNIFORM > 0. RELEASE is 0 where a mask is final, else UNIFORM. */
static inline struct chain chain_mix(int32_t tokens, double absorb, double uniform, double release)
{
    struct chain chain = chain_absorb(tokens);
    chain.absorb = absorb;
    chain.uniform = uniform;
    chain.release = release;
    return chain;
}
/* Without a mask STATES is TOKENS, with one it is one more. */
static inline struct chain chain_table(int32_t tokens, const struct rates *rates)
{
    return (struct chain){.kind = CHAIN_TABLE,
                          .tokens = tokens,
                          .states = rates->states,
                          .mask = rates->states > tokens ? tokens : -1,
                          .rates = rates};
}

/* Whether a token that is not the mask never moves in the reverse chain: pure absorption. */
static inline bool chain_carries_over(const struct chain *chain)
{
    return chain->kind == CHAIN_FLAT && chain->absorb > 0 && chain->uniform == 0 &&
           chain->release == 0;
}
/* Whether the forward chain ends in the mask and never leaves it, so that at finite noise a share
 * exp(-absorb sigma) of the positions is not there yet (the leak). */
static inline bool chain_leaks(const struct chain *chain)
{
    return chain->kind == CHAIN_FLAT && chain->absorb > 0 && chain->release == 0 && !chain->base;
}
/* Whether all tokens forget where they were at one rate, so that sigma alone says what share of
 * them has. A table may forget slowly long after every token has moved. */
static inline bool chain_forgets_alike(const struct chain *chain)
{
    return chain->kind == CHAIN_FLAT;
}
/* Whether exp(-D Q), which reverse steps by scores apply, grows with D until a long step loses the
 * law: of a flat chain it is in closed form. */
static inline bool chain_is_stiff(const struct chain *chain)
{
    return chain->kind == CHAIN_TABLE;
}
/* The largest rate of leaving a state. */
static inline double chain_fastest(const struct chain *chain)
{
    if (chain->kind == CHAIN_TABLE)
        return chain->rates->fastest;
    double token = chain->absorb + chain->uniform * (chain->tokens - 1) / chain->tokens;
    return token > chain->release ? token : chain->release;
}

#endif
