/* The laws that references of reverse steps draw from; see reverse.h. */
#include "ops/reverse.h"

#include <string.h>

struct score_sums ref_sums(const struct chain *chain, int32_t x, const double *log_score)
{
    struct score_sums sums = {0, 0};
    for (int32_t y = 0; y < chain->tokens; y++)
        sums.others += y == x ? 0 : exp(log_score[y]);
    if (chain->mask >= 0 && x != chain->mask)
        sums.mask = exp(log_score[chain->mask]);
    return sums;
}

struct table_law ref_table_law(const struct chain *chain, int32_t x, const double *log_score,
                               void *room)
{
    struct table_law law = {room_row(room, chain, 0, 0), room_row(room, chain, 0, 1),
                            room_row(room, chain, 0, 2), room_row(room, chain, 0, 3)};
    for (int32_t y = 0; y < chain->states; y++)
        law.score[y] = y == x ? 1 : exp(log_score[y]);
    return law;
}

struct table_law ref_back_law(const struct chain *chain, int32_t x, double delta,
                              const double *log_score, void *room)
{
    struct table_law law = ref_table_law(chain, x, log_score, room);
    struct back_group group = room_back(room, chain, 0);
    for (int i = 0; i < BACK_GROUP; i++)
        back_put(&group, i, law.score, chain->states);
    table_back(chain->rates, delta, &group);
    back_take(&group, 0, law.weights, chain->states);
    return law;
}

void ref_weights(const struct chain *chain, const struct chain_law *law, const double *log_score,
                 double *weights)
{
    for (int32_t y = 0; y < chain->states; y++)
        weights[y] = law_weight(law, y, exp(log_score[y]));
}

void ref_decoder(const struct transition *p, int32_t x, const double *log_score, void *room,
                 double *weights)
{
    const struct chain *chain = p->chain;
    if (chain->kind == CHAIN_TABLE) {
        struct table_law rows = ref_back_law(chain, x, p->sigma, log_score, room);
        table_decoder(p, x, &rows);
        memcpy(weights, rows.weights, (size_t)chain->states * sizeof *weights);
        return;
    }
    struct score_sums sums = ref_sums(chain, x, log_score);
    double least = INFINITY, total = 0;
    struct chain_law law = law_decoder(chain, x, p->sigma, sums);
    for (int32_t y = 0; y < chain->tokens; y++)
        if (y != x)
            least = fmin(least, exp(log_score[y]));
    ref_weights(chain, &law, log_score, weights);
    for (int32_t y = 0; y < chain->states; y++)
        total += weights[y];
    if (law_positive(chain, &law, least))
        return;
    law = law_soften(chain, law, p->sigma, total, sums.others);
    ref_weights(chain, &law, log_score, weights);
}
