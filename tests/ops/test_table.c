/* A table chain that holds the rates of a flat one is the same chain: losses, gradients, weights,
 * projections and costs, for references and kernels alike. */
#include "tests/ops/enumeration.h"

#include "graph/base/rates.h"
#include "ops/kernels/attrs.h"

/* The rates of FLAT, one by one. */
static struct chain table_of(struct arena *arena, const struct chain *flat)
{
    int32_t n = flat->states;
    double *q = arena_new_array(arena, double, (size_t)(n * n));
    for (int32_t y = 0; y < n; y++)
        for (int32_t x = 0; x < n; x++)
            q[y * n + x] = chain_rate(flat, y, x);
    struct diags *diags = diags_new(arena);
    const struct rates *rates = rates_dense(diags, arena, q, n, NULL, "matrix", (struct span){0});
    cr_assert_not_null(rates, "%s", diags_render(diags, false));
    struct chain table = chain_table(flat->tokens, rates);
    double *law = arena_new_array(arena, double, (size_t)n);
    rates_stationary(arena, rates, law);
    table.stationary = law;
    return table;
}

static const char *const rates[] = {"absorb 5", "uniform 7", "mix 4 0.7 0.3 0",
                                    "mix 3 0.6 0.5 0.5"};
#define RATES 4

/* Runs TRIAL for both chains; the results must be equal to TOLERANCE, relative to 1 + |value|. */
static void check_same(struct trial *trial, const struct chain *flat, const struct chain *table,
                       double tolerance)
{
    trial->chain = flat;
    double *expected = run_both(trial, 1e-6);
    trial->chain = table;
    double *got = run_both(trial, 1e-6);
    for (int64_t i = 0; i < tensor_size(&trial->out); i++)
        cr_assert(fabs(got[i] - expected[i]) <= tolerance * (1 + fabs(expected[i])),
                  "%s at %lld: %.12g, flat %.12g", trial->op->name, (long long)i, got[i],
                  expected[i]);
    free(expected);
    free(got);
}

Test(table, losses_and_gradients_are_those_of_the_flat_chain)
{
    struct arena *arena = arena_new();
    for (int c = 0; c < RATES; c++)
        for (int k = 0; k < SIGMAS; k++) {
            struct chain flat = chain_named(rates[c]), table = table_of(arena, &flat);
            double sigma = sigmas[k], dloss[64];
            struct pairs pairs;
            all_pairs(&flat, 61, 1, &pairs);
            struct trial trial = pair_trial(&op_score_entropy, &flat, &pairs, &sigma);
            check_same(&trial, &flat, &table, 1e-9);
            for (int i = 0; i < pairs.count; i++)
                dloss[i] = 0.5 + test_uniform(62, (uint32_t)i);
            trial.op = &op_score_entropy_backward;
            trial.in[4] = tensor_of(DT_F64, dloss, 2, pairs.count, 1, 0);
            trial.in_count = 5;
            trial.out = trial.in[0];
            trial.other = trial.in[4];
            check_same(&trial, &flat, &table, 1e-9);
        }
    arena_free(arena);
}

/* The second result alone: the gradient with respect to sigma, by the reference. */
Test(table, gradients_of_sigma_are_those_of_differences)
{
    for (int c = 0; c < CHAINS; c++) {
        struct chain chain = chain_number(c);
        double sigma = 0.7, h = 1e-5, at[3] = {0};
        struct pairs pairs;
        all_pairs(&chain, 63, 1, &pairs);
        for (int side = 0; side < 3; side++) {
            double shifted = sigma + (side - 1) * h;
            struct trial trial = pair_trial(&op_score_entropy, &chain, &pairs, &shifted);
            double *loss = run_reference(&trial);
            for (int i = 0; i < pairs.count; i++)
                at[side] += loss[i];
            free(loss);
        }
        double ones[64], slope[64], *score = calloc(64 * STATES_MAX, sizeof *score), sum = 0;
        double *wide = calloc(64 * STATES_MAX, sizeof *wide), x[64], x0[64];
        for (int i = 0; i < pairs.count; i++) {
            ones[i] = 1;
            x[i] = pairs.x[i];
            x0[i] = pairs.x0[i];
        }
        for (int i = 0; i < pairs.count * chain.states; i++)
            score[i] = (double)pairs.log_score[i];
        struct ref_tensor rows = {2, {pairs.count, 1}, x}, clean = rows, one = rows, out = rows;
        clean.data = x0;
        one.data = ones;
        out.data = slope;
        struct ref_tensor in[] = {
            {3, {pairs.count, 1, chain.states}, score}, rows, clean, {.data = &sigma}, one};
        struct ref_tensor results[] = {{3, {pairs.count, 1, chain.states}, wide}, out};
        struct ref_call call = {
            .in_count = 5, .out_count = 2, .in = in, .out = results, .chain = &chain};
        op_score_entropy_backward.reference(&call);
        for (int i = 0; i < pairs.count; i++)
            sum += slope[i];
        double expected = (at[2] - at[0]) / (2 * h);
        cr_assert_float_eq(sum, expected, 1e-6 * (1 + fabs(expected)), "%s chain %d: %g, %g",
                           "sigma", c, sum, expected);
        free(score);
        free(wide);
    }
}

Test(table, steps_and_costs_are_those_of_the_flat_chain)
{
    struct arena *arena = arena_new();
    for (int c = 0; c < RATES; c++) {
        struct chain flat = chain_named(rates[c]), table = table_of(arena, &flat);
        double sigma = 0.8, later = 0.3, step = 0.2;
        struct pairs pairs;
        all_pairs(&flat, 64, 0.3, &pairs);
        for (int i = 1; i < pairs.count; i++) /* one score row for each x */
            if (pairs.x[i] == pairs.x[i - 1])
                memcpy(pairs.log_score + i * flat.states, pairs.log_score + (i - 1) * flat.states,
                       (size_t)flat.states * sizeof(float));
        struct trial pair = pair_trial(&op_score_entropy, &flat, &pairs, &sigma);
        struct trial trial = {.op = &op_tweedie_weights, .in_count = 4};
        trial.in[0] = pair.in[1];
        trial.in[1] = pair.in[0];
        trial.in[2] = pair.in[3];
        trial.in[3] = tensor_of(DT_F64, &later, 0, 0, 0, 0);
        trial.out = tensor_of(DT_F64, NULL, 3, pairs.count, 1, flat.states);
        check_same(&trial, &flat, &table, 1e-9);
        trial.op = &op_euler_weights;
        trial.in[2] = tensor_of(DT_F64, &step, 0, 0, 0, 0);
        trial.in_count = 3;
        check_same(&trial, &flat, &table, 1e-12);
        trial.op = &op_reconstruction;
        trial.in[1] = pair.in[2];
        trial.in[2] = pair.in[0];
        trial.in[3] = pair.in[3];
        trial.in_count = 4;
        trial.out = pair.out;
        check_same(&trial, &flat, &table, 1e-9);
        if (chain_leaks(&flat)) /* a table has no base that depends on the score */
            continue;
        trial.op = &op_base_cost;
        trial.in[0] = pair.in[2];
        trial.in[1] = pair.in[3];
        trial.in[2].data = NULL;
        trial.in_count = 3;
        check_same(&trial, &flat, &table, 1e-9);
    }
    arena_free(arena);
}

/* At every state under absorption; in mixtures where no mask is the current state, because there a
 * flat chain scales a mask's scores and a table clips them too. */
Test(table, projections_are_those_of_the_flat_chain)
{
    struct arena *arena = arena_new();
    for (int c = 0; c < RATES; c++)
        for (int k = 1; k < SIGMAS; k++) {
            struct chain flat = chain_named(rates[c]), table = table_of(arena, &flat);
            double sigma = sigmas[k];
            struct pairs pairs;
            all_pairs(&flat, 65, 2, &pairs);
            int all = pairs.count;
            pairs.count = 0;
            while (pairs.count < all && (c == 0 || pairs.x[pairs.count] < flat.tokens))
                pairs.count++;
            struct trial trial = pair_trial(&op_project_score, &flat, &pairs, &sigma);
            trial.in[2] = trial.in[3];
            trial.in_count = 3;
            trial.out = trial.in[0];
            check_same(&trial, &flat, &table, 1e-5);
        }
    arena_free(arena);
}

/* Scores beyond the range of exp, as a strong guidance makes them: at a mask the largest token
 * takes all of the rate, which is 1 / (e^sigma - 1), as for the flat chain. */
Test(table, large_scores_at_a_mask_saturate)
{
    static const float large[][4] = {
        {-1e5F, 2e5F, 1e5F, 0}, {-3e5F, -1e5F, -2e5F, 0}, {100, 800, 300, 0}};
    struct arena *arena = arena_new();
    struct chain flat = chain_named("absorb 3"), table = table_of(arena, &flat);
    for (int i = 0; i < 3; i++) {
        double sigma = 0.7;
        float row[4];
        memcpy(row, large[i], sizeof row);
        struct trial trial = {.op = &op_project_score, .chain = &table, .in_count = 3};
        trial.in[0] = tensor_of(DT_F32, row, 3, 1, 1, 4);
        trial.in[1] = tensor_of(DT_TOKEN, &table.mask, 2, 1, 1, 0);
        trial.in[2] = tensor_of(DT_F64, &sigma, 1, 1, 0, 0);
        trial.out = trial.in[0];
        double *after = run_both(&trial, 1e-6);
        cr_assert_float_eq(after[1], -log(expm1(sigma)), 1e-6);
        cr_assert_lt(after[0], -400);
        cr_assert_lt(after[2], -400);
        free(after);
    }
    arena_free(arena);
}

/* Where a wild score leaves the decoder no positive weight, what repairs it is all of the law, and
 * the costs of the tokens are still those of one law. */
Test(table, decoders_of_wild_scores_are_those_of_the_flat_chain)
{
    struct arena *arena = arena_new();
    for (int c = 0; c < RATES; c++)
        for (uint32_t seed = 0; seed < 40; seed++) {
            struct chain flat = chain_named(rates[c]), table = table_of(arena, &flat);
            double sigma = 1.5;
            struct pairs pairs;
            all_pairs(&flat, 70 + seed, 4, &pairs);
            struct trial pair = pair_trial(&op_score_entropy, &flat, &pairs, &sigma);
            struct trial trial = {.op = &op_reconstruction, .in_count = 4, .out = pair.out};
            trial.in[0] = pair.in[1];
            trial.in[1] = pair.in[2];
            trial.in[2] = pair.in[0];
            trial.in[3] = pair.in[3];
            check_same(&trial, &flat, &table, 1e-6);
        }
    arena_free(arena);
}
