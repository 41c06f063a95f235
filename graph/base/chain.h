/* A Markov chain over one position's states, as data that kernels can read.
 *
 * Convention (math.md, and Lou, Meng, Ermon 2024): Q[y][x] is the rate of the jump x -> y, columns
 * sum to zero, and P_sigma = exp(sigma Q) has column x0 = p(x_sigma = . | x0). */
#ifndef SEDGE_BASE_CHAIN_H
#define SEDGE_BASE_CHAIN_H

#include <stdint.h>

enum chain_kind {
    CHAIN_ABSORB,  /* Q[mask][x] = 1, Q[x][x] = -1 for x != mask, column mask = 0 */
    CHAIN_UNIFORM, /* Q = 11^T / N - I */
};

struct chain {
    enum chain_kind kind;
    int32_t tokens; /* real tokens, N: ids 0 .. N-1 */
    int32_t states; /* N, or N + 1 with the mask as last state */
    int32_t mask;   /* N for absorb, -1 where there is none */
};

#endif
