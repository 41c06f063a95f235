/* The corrector on two dependent tokens, with exact scores: which law its jumps leave alone, and to
 * which order in their length (tests/ops/couples.h). */
#include "tests/ops/couples.h"

static const char *const rates[] = {
    "absorb 2",    "uniform 3",   "mix 2 0.7 0.3 0", "mix 3 0.6 0.5 0.5",
    "table 3 0 1", "table 2 1 2", "cycle 4"};
#define RATES (sizeof rates / sizeof *rates)
#define SIGMA 0.9

/* What the op draws by over STEP at SIGMA, by its kernel or, to all digits, by its reference. */
static void corrector_laws(const struct couple *c, double step, bool reference,
                           struct place_laws *out)
{
    struct place_room room;
    struct place_laws score;
    double law[COUPLES];
    couple_law(c, SIGMA, law);
    exact_scores(c, law, &score);
    struct trial trial = place_trial(c, &op_corrector, &score, &step, 1, &room);
    if (reference)
        trial.in[1] = tensor_of(DT_F64, room.exact, 3, 1, 2 * c->chain.states * c->chain.states,
                                c->chain.states);
    bisected_laws(c, &trial, reference ? run_reference : run_best, &room, reference ? 53 : 40, out);
}

/* The rates of its jumps, from a law that is 1 - exp(-R) in all, to each state in proportion. */
static void corrector_rates(const struct couple *c, struct place_laws *out)
{
    int m = c->chain.states;
    corrector_laws(c, 1, true, out);
    for (int i = 0; i < 2 * m * m; i++) {
        int x = place_token(c, i);
        double stay = out->at[i][x], total = -log(stay);
        for (int y = 0; y < m; y++)
            out->at[i][y] *= y == x || !(stay < 1) ? 0 : total / (1 - stay);
        out->at[i][x] = -total;
    }
}

/* d law / d time where place SIDE, or both (2), jump at these rates. */
static void flow_of(const struct couple *c, const struct place_laws *rate, int side,
                    const double *law, double *flow)
{
    int m = c->chain.states;
    memset(flow, 0, COUPLES * sizeof *flow);
    for (int i = 0; i < 2 * m * m; i++)
        for (int y = 0; (side == 2 || i % 2 == side) && y < m; y++)
            flow[place_changed(c, i, y)] += rate->at[i][y] * law[i / 2];
}

Test(corrector, its_rates_leave_the_law)
{
    for (size_t r = 0; r < RATES; r++) {
        struct couple c = couple_named(rates[r]);
        struct place_laws rate;
        double law[COUPLES], flow[COUPLES];
        couple_law(&c, SIGMA, law);
        corrector_rates(&c, &rate);
        for (int i = 0; i < 2 * c.chain.states * c.chain.states; i++) {
            int x = place_token(&c, i), other = x ? 0 : 1;
            double score = law[place_changed(&c, i, other)] / law[i / 2];
            double formula =
                chain_rate(&c.chain, other, x) + chain_rate(&c.chain, x, other) * score;
            cr_expect(fabs(rate.at[i][other] - formula) < 1e-12 * (1 + formula));
        }
        flow_of(&c, &rate, 2, law, flow);
        for (int k = 0; k < c.chain.states * c.chain.states; k++)
            cr_expect(fabs(flow[k]) < 1e-12, "%s: sequence %d gains %g", rates[r], k, flow[k]);
    }
}

/* Linear steps of one token after the other, however long: p + h (generator p), which is p. */
Test(corrector, one_token_at_a_time_keeps_the_law)
{
    for (size_t r = 0; r < RATES; r++) {
        struct couple c = couple_named(rates[r]);
        struct place_laws rate;
        double law[COUPLES], exact[COUPLES], flow[COUPLES];
        couple_law(&c, SIGMA, exact);
        memcpy(law, exact, sizeof law);
        corrector_rates(&c, &rate);
        for (int turn = 0; turn < 100; turn++) {
            flow_of(&c, &rate, turn % 2, law, flow);
            for (int k = 0; k < c.chain.states * c.chain.states; k++)
                law[k] += 0.1 * flow[k];
        }
        cr_expect(apart(&c, law, exact) < 1e-12, "%s: %g", rates[r], apart(&c, law, exact));
    }
}

/* As the op does it, both tokens at once and by jumps, what is lost falls with the square of the
 * step. */
Test(corrector, together_it_is_of_second_order)
{
    for (size_t r = 0; r < RATES; r++) {
        struct couple c = couple_named(rates[r]);
        double law[COUPLES], exact[COUPLES], error[2];
        couple_law(&c, SIGMA, exact);
        for (int k = 0; k < 2; k++) {
            struct place_laws step;
            memcpy(law, exact, sizeof law);
            corrector_laws(&c, k ? 0.01 : 0.02, false, &step);
            couple_step(&c, &step, law);
            error[k] = apart(&c, law, exact);
        }
        double slope = log2(error[0] / error[1]);
        cr_expect(slope > 1.9 && slope < 2.1, "%s: %g and %g: slope %.3f", rates[r], error[0],
                  error[1], slope);
    }
}
