/* Draws of the diffusion families against the laws they should follow, by chi-square, with the same
 * tokens from references and kernels; rare events by a test scaled to them. */
#include "tests/ops/enumeration.h"

#include "ops/kernels/attrs.h"

/* The loops of kernels are compiled here with the flags of tests, which let no call become a
 * vector. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed"
#endif
#include "ops/kernels/cpu/law.h"

#define ROWS 300
#define LENGTH 200
#define DRAWS (ROWS * LENGTH)

/* One token, score row and time at every position, so that all draws are of one law. */
struct scene {
    struct chain chain;
    int32_t *x;
    float *log_score;
    uint8_t *keep;
    double time[2];
    float row[STATES_MAX];
};

static struct scene scene_new(struct chain chain, int32_t x, uint64_t seed, double spread)
{
    struct scene scene = {.chain = chain};
    scene.x = calloc(DRAWS, sizeof *scene.x);
    scene.keep = calloc(DRAWS, sizeof *scene.keep);
    scene.log_score = calloc((size_t)(DRAWS * chain.states), sizeof *scene.log_score);
    for (int32_t y = 0; y < chain.states; y++)
        scene.row[y] = y == x ? 0 : (float)(spread * test_normal(seed, (uint32_t)y) - 1);
    for (int64_t p = 0; p < DRAWS; p++) {
        scene.x[p] = x;
        memcpy(scene.log_score + p * chain.states, scene.row,
               (size_t)chain.states * sizeof *scene.row);
    }
    return scene;
}

static void scene_free(struct scene *scene)
{
    free(scene->x);
    free(scene->keep);
    free(scene->log_score);
}

/* The usual order of inputs: x, log_score, one or two times, keep. */
static struct trial scene_trial(const struct op *op, struct scene *scene, uint32_t times)
{
    struct trial trial = {.op = op, .chain = &scene->chain, .seed = 4};
    trial.in[0] = tensor_of(DT_TOKEN, scene->x, 2, ROWS, LENGTH, 0);
    trial.in[1] = tensor_of(DT_F32, scene->log_score, 3, ROWS, LENGTH, scene->chain.states);
    for (uint32_t i = 0; i < times; i++)
        trial.in[2 + i] = tensor_of(DT_F64, &scene->time[i], 0, 0, 0, 0);
    trial.in_count = 3 + times;
    trial.in[2 + times] = tensor_of(DT_BOOL, NULL, 2, ROWS, LENGTH, 0);
    trial.out = tensor_of(DT_TOKEN, NULL, 2, ROWS, LENGTH, 0);
    return trial;
}

/* Draws by reference and by kernels at 1, 2 and 3 threads, which must agree in every token, and
 * tests them against LAW. Seeds are fixed: 4 standard deviations either hold or do not. */
static void check_draws(struct trial *trial, const double *law)
{
    double *tokens = run_both(trial, 0);
    int at = 0;
    for (const char *isa; (isa = isa_next(&at));)
        for (trial->threads = 2; trial->threads < 4; trial->threads++) {
            double *again = run_kernel(trial, isa);
            cr_assert(memcmp(tokens, again, DRAWS * sizeof *again) == 0);
            free(again);
        }
    int64_t count[STATES_MAX] = {0};
    for (int64_t p = 0; p < DRAWS; p++)
        count[(int)tokens[p]]++;
    double z = chi_square(count, law, trial->chain->states);
    cr_assert(z < 4, "%s: chi-square is %g standard deviations off", trial->op->name, z);
    free(tokens);
}

#define KINDS 6
static struct chain chain_of(int i)
{
    static const char *const rates[] = {"absorb 5",          "uniform 7", "mix 4 0.7 0.3 0",
                                        "mix 3 0.6 0.5 0.5", "band 5 1",  "table 4 1 3"};
    return chain_named(rates[i]);
}
/* The state that draws start at: a mask for absorb and one of the mixtures. */
static int32_t state_of(int i)
{
    return i == 0 ? 5 : i == 3 ? 3 : 2;
}

Test(draw, perturb_follows_the_transition)
{
    for (int c = 0; c < KINDS; c++)
        for (int k = 0; k < 3; k++) {
            double law[STATES_MAX], at[] = {0.01, 0.7, 3};
            struct scene scene = scene_new(chain_of(c), 2, 1, 1);
            scene.time[0] = at[k];
            struct transition p = transition_of(&scene.chain, at[k]);
            struct trial trial = scene_trial(&op_perturb, &scene, 0);
            trial.in[1] = tensor_of(DT_F64, scene.time, 0, 0, 0, 0);
            trial.in_count = 2;
            for (int32_t y = 0; y < scene.chain.states; y++)
                law[y] = transition_at(&p, y, 2);
            check_draws(&trial, law);
            scene_free(&scene);
        }
}

Test(draw, stationary_is_the_limit)
{
    for (int c = 0; c < KINDS; c++) {
        double law[STATES_MAX];
        struct scene scene = scene_new(chain_of(c), 2, 1, 1);
        struct transition p = transition_of(&scene.chain, 1000);
        struct trial trial = scene_trial(&op_stationary, &scene, 0);
        trial.in_count = 0;
        for (int32_t y = 0; y < scene.chain.states; y++)
            law[y] = transition_at(&p, y, 2);
        check_draws(&trial, law);
        scene_free(&scene);
    }
}

/* A base that the process names is what sampling starts from, for flat and table chains alike. */
Test(draw, stationary_draws_the_base_that_is_named)
{
    static const double base[STATES_MAX] = {0.1, 0.3, 0.05, 0.25, 0.3};
    for (int c = 2; c < 5; c++) {
        struct scene scene = scene_new(chain_of(c == 3 ? 4 : 2), 2, 1, 1);
        scene.chain.base = base;
        struct trial trial = scene_trial(&op_stationary, &scene, 0);
        trial.in_count = 0;
        check_draws(&trial, base);
        scene_free(&scene);
    }
}

/* The reference weights at one position of the scene, clamped. */
static void weights_law(const struct op *op, struct scene *scene, uint32_t times, int exclude,
                        double *law)
{
    struct trial trial = scene_trial(op, scene, times);
    trial.in_count = 2 + times;
    trial.attr[STEP_EXCLUDE].integer = exclude;
    trial.out = tensor_of(DT_F64, NULL, 3, ROWS, LENGTH, scene->chain.states);
    double *weights = run_reference(&trial);
    for (int32_t y = 0; y < scene->chain.states; y++)
        law[y] = fmax(0, weights[y]);
    free(weights);
}

/* Scores so rough that some weights are negative: these must never be drawn. */
Test(draw, tweedie_follows_its_clamped_weights)
{
    for (int c = 0; c < KINDS; c++)
        for (int rough = 0; rough < 2; rough++)
            for (int exclude = 0; exclude < (chain_of(c).mask >= 0 ? 2 : 1); exclude++) {
                double law[STATES_MAX];
                struct scene scene = scene_new(chain_of(c), state_of(c), 2, 0.5 + 2 * rough);
                scene.time[0] = 1.3;
                scene.time[1] = 0.8;
                weights_law(&op_tweedie_weights, &scene, 2, exclude, law);
                struct trial trial = scene_trial(&op_tweedie, &scene, 2);
                trial.other = tensor_of(DT_F64, NULL, 1, ROWS, 0, 0);
                trial.attr[STEP_EXCLUDE].integer = exclude;
                check_draws(&trial, law);
                scene_free(&scene);
            }
}

/* The sum of the rates, by the definition Q[x][y] s_y. */
static double total_rate(const struct scene *scene, int32_t x)
{
    double sum = 0;
    for (int32_t y = 0; y < scene->chain.states; y++)
        if (y != x)
            sum += chain_rate(&scene->chain, x, y) * exp(scene->row[y]);
    return sum;
}

Test(draw, euler_jumps_with_the_exact_probability)
{
    for (int c = 0; c < KINDS; c++)
        for (int k = 0; k < 2; k++) {
            double law[STATES_MAX], step = k == 0 ? 0.1 : 1.5;
            int32_t x = state_of(c);
            struct scene scene = scene_new(chain_of(c), x, 3, 1.5);
            scene.time[0] = step;
            double total = total_rate(&scene, x);
            for (int32_t y = 0; y < scene.chain.states; y++)
                law[y] = y == x ? exp(-total * step)
                                : -expm1(-total * step) * chain_rate(&scene.chain, x, y) *
                                      exp(scene.row[y]) / total;
            struct trial trial = scene_trial(&op_euler, &scene, 1);
            check_draws(&trial, law);
            for (int32_t y = 0; y < scene.chain.states; y++)
                law[y] = y == x ? fmax(0, 1 - total * step)
                                : chain_rate(&scene.chain, x, y) * exp(scene.row[y]) * step;
            trial.op = &op_euler_linear;
            trial.other = tensor_of(DT_F64, NULL, 1, ROWS, 0, 0);
            check_draws(&trial, law);
            scene_free(&scene);
        }
}

/* denoise draws x0 with the probability whose -log reconstruction reports. */
Test(draw, denoise_is_what_reconstruction_costs)
{
    for (int c = 0; c < KINDS; c++)
        for (int rough = 0; rough < 2; rough++) {
            double law[STATES_MAX] = {0};
            struct scene scene = scene_new(chain_of(c), state_of(c), 5, 0.5 + 2 * rough);
            scene.time[0] = 0.6;
            struct trial trial = scene_trial(&op_denoise, &scene, 1);
            for (int32_t x0 = 0; x0 < scene.chain.tokens; x0++) {
                struct trial cost = {.op = &op_reconstruction, .chain = &scene.chain};
                cost.in_count = 4;
                cost.in[0] = tensor_of(DT_TOKEN, scene.x, 2, 1, 1, 0);
                cost.in[1] = tensor_of(DT_TOKEN, &x0, 2, 1, 1, 0);
                cost.in[2] = tensor_of(DT_F32, scene.row, 3, 1, 1, scene.chain.states);
                cost.in[3] = trial.in[2];
                cost.out = tensor_of(DT_F64, NULL, 2, 1, 1, 0);
                double *result = run_both(&cost, 1e-9);
                law[x0] = exp(-result[0]);
                free(result);
            }
            check_draws(&trial, law);
            scene_free(&scene);
        }
}

Test(draw, base_draw_mixes_the_score_row_into_the_mask)
{
    double law[STATES_MAX] = {0}, sum = 0, alpha = 0.3;
    struct scene scene = scene_new(chain_absorb(5), 5, 6, 1);
    scene.time[0] = -log(alpha);
    for (int32_t y = 0; y < 5; y++)
        sum += exp(scene.row[y]);
    for (int32_t y = 0; y < 5; y++)
        law[y] = alpha * exp(scene.row[y]) / sum;
    law[5] = 1 - alpha;
    struct trial trial = scene_trial(&op_base_draw, &scene, 0);
    trial.in[2] = trial.in[1];
    trial.in[1] = tensor_of(DT_F64, scene.time, 0, 0, 0, 0);
    check_draws(&trial, law);
    scene_free(&scene);
}

Test(draw, categorical_ignores_negative_weights)
{
    double law[STATES_MAX] = {0.2, 0, 1.5, 0, 3e-3, 0.7};
    double weights[6] = {0.2, -1, 1.5, 0, 3e-3, 0.7};
    struct scene scene = scene_new(chain_uniform(7), 0, 7, 1);
    double *all = calloc(DRAWS * 6, sizeof *all);
    for (int64_t p = 0; p < DRAWS; p++)
        memcpy(all + p * 6, weights, sizeof weights);
    struct trial trial = scene_trial(&op_categorical, &scene, 0);
    trial.in[0] = tensor_of(DT_F64, all, 3, ROWS, LENGTH, 6);
    trial.in_count = 1;
    check_draws(&trial, law);
    for (int64_t i = 0; i < DRAWS * 6; i++)
        ((float *)all)[i] = (float)weights[i % 6];
    trial.in[0].dtype = DT_F32;
    check_draws(&trial, law);
    free(all);
    scene_free(&scene);
}

/* Kept positions stay, and under absorb so does whatever is not masked; the other draws are those
 * that are made without `keep`. */
Test(draw, kept_positions_stand)
{
    struct scene scene = scene_new(chain_absorb(5), 5, 8, 1);
    scene.time[0] = 0.6;
    for (int64_t p = 0; p < DRAWS; p += 3)
        scene.x[p] = (int32_t)(p % 5);
    struct trial trial = scene_trial(&op_denoise, &scene, 1);
    double *open = run_both(&trial, 0);
    for (int64_t p = 0; p < DRAWS; p++)
        scene.keep[p] = p % 7 == 0;
    trial.in[3].data = scene.keep;
    double *held = run_both(&trial, 0);
    for (int64_t p = 0; p < DRAWS; p++) {
        cr_assert_eq(held[p], p % 7 == 0 ? scene.x[p] : open[p]);
        if (p % 3 == 0)
            cr_assert_eq(open[p], scene.x[p]);
    }
    free(open);
    free(held);
    scene_free(&scene);
}

/* A cluster of eight states of probability 1e-9 to 8e-9 among five thousand: uniforms spread over
 * just the stretch that belongs to the cluster hit each in proportion. */
Test(draw, rare_events_keep_their_probability)
{
    enum { STATES = 5000, FIRST = 3333, CLUSTER = 8, TRIES = 20000 };
    static double weights[STATES];
    double before = 0, width = 0, law[CLUSTER];
    int64_t count[CLUSTER] = {0};
    for (int i = 0; i < STATES; i++)
        weights[i] = (1 - 36e-9) / (STATES - CLUSTER);
    for (int i = 0; i < CLUSTER; i++)
        width += law[i] = weights[FIRST + i] = (i + 1) * 1e-9;
    for (int i = 0; i < FIRST; i++)
        before += weights[i];
    struct weight_row row = row_of_array(weights, STATES, -1);
    struct block_sums sums;
    sum_array(&row, &sums);
    cr_assert_float_eq(sums.moves, 1, 1e-12);
    for (uint32_t i = 0; i < TRIES; i++) {
        /* 1e-4 of the stretch is left out at both ends: 53 bits round the sums there. */
        double v = 1e-4 + (1 - 2e-4) * test_uniform(9, i);
        int64_t y = draw_row(&row, &sums, (before + v * width) / sums.moves);
        cr_assert(y >= FIRST && y < FIRST + CLUSTER, "drew %lld", (long long)y);
        count[y - FIRST]++;
    }
    cr_assert(chi_square(count, law, CLUSTER) < 4);
}

/* In a masked step of 1/4096 over a Zipf law of 50257 words, a race of single-precision Gumbel
 * numbers never draws a word below 2.5e-4 and loses 2.8 nats of entropy. Here the words revealed
 * follow the law: uniforms are scaled to the stretch of revealing, words grouped by rank octave. */
Test(draw, small_masked_steps_keep_the_tail)
{
    enum { WORDS = 50257, OCTAVES = 16, TRIES = 20000 };
    struct chain chain = chain_absorb(WORDS);
    float *log_score = calloc(WORDS + 1, sizeof *log_score);
    double norm = 0, law[OCTAVES] = {0}, delta = log1p(1.0 / 4095);
    int64_t count[OCTAVES] = {0};
    for (int y = 0; y < WORDS; y++)
        norm += 1.0 / (y + 1);
    for (int y = 0; y < WORDS; y++) {
        log_score[y] = (float)(-log(norm * (y + 1)));
        law[(int)log2(y + 1)] += 1 / (norm * (y + 1));
    }
    struct block_sums sums;
    struct weight_row row = row_of_law(log_score, WORDS, law_at_each(&chain, chain.mask));
    struct score_sums scores = sum_scores(&row, &sums);
    row.law = law_tweedie(&chain, chain.mask, delta, scores, false);
    sums_to_weights(&row, &sums);
    double revealed = sums.moves / (sums.moves + sums.stays);
    cr_assert_float_eq(revealed * 4095, 1, 1e-3);
    for (uint32_t i = 0; i < TRIES; i++) {
        int64_t y = draw_row(&row, &sums, test_uniform(10, i) * revealed);
        cr_assert(y >= 0 && y < WORDS);
        count[(int)log2((double)y + 1)]++;
    }
    cr_assert(chi_square(count, law, OCTAVES) < 4);
    free(log_score);
}

/* A jump of probability 1e-9: uniforms on twice that stretch move half of the time. */
Test(draw, rare_jumps_keep_their_probability)
{
    enum { TRIES = 20000 };
    struct chain chain = chain_uniform(7);
    struct transition p = transition_flat(&chain, 1e-9);
    double law[] = {1, 1, 8, 1, 1, 1, 1}; /* half stay at 2, half go anywhere, 2 included */
    int64_t count[7] = {0};
    for (uint32_t i = 0; i < TRIES; i++)
        count[transition_draw(&p, 2, 2e-9 * test_uniform(11, i))]++;
    cr_assert(chi_square(count, law, 7) < 4);
}

/* The ends of [0, 1): the first and the last state of positive weight, never one of weight 0. */
Test(draw, ends_of_the_interval_draw_positive_weights)
{
    static double weights[700];
    for (int i = 300; i < 600; i++)
        weights[i] = i % 3 == 0 ? 0.1 : 0;
    weights[10] = -1;
    struct weight_row row = row_of_array(weights, 700, -1);
    struct block_sums sums;
    sum_array(&row, &sums);
    cr_assert_eq(draw_row(&row, &sums, 0), 300);
    cr_assert_eq(draw_row(&row, &sums, 1 - 0x1p-53), 597);
    row.law.at = 330;
    sum_array(&row, &sums);
    cr_assert_eq(draw_row(&row, &sums, 0), 300);
    cr_assert_eq(draw_row(&row, &sums, 1 - 0x1p-53), 330);
    memset(weights, 0, sizeof weights);
    sum_array(&row, &sums);
    cr_assert_eq(draw_row(&row, &sums, 0.5), 330);
}

/* A law whose blocks need no second pass and one whose blocks do, of the same row: sums, counts and
 * draws at the edges of the CDF are those of the weights one by one. */
Test(draw, sums_of_a_law_are_those_of_its_weights)
{
    enum { WORDS = 3000 };
    struct chain chain = chain_mix(WORDS, 0.6, 0.4, 0.4);
    float *log_score = calloc(WORDS + 1, sizeof *log_score);
    for (int y = 0; y <= WORDS; y++)
        log_score[y] = y % 97 || y > 1000 ? (float)(0.5 * test_normal(13, (uint32_t)y)) : -INFINITY;
    for (int k = 0; k < 8; k++) {
        struct chain_law law = law_at_each(&chain, 700);
        law.shift = k % 4 == 0 ? 0.25 : -0.3 * (k % 4);
        law.at_weight = 2;
        law.mask_weight = k % 4 == 2 ? -1 : 3;
        law.mix = k % 4 == 3 ? 0.1 : 0;
        law.closed = k >= 4;
        struct weight_row row = row_of_law(log_score, WORDS, law);
        struct block_sums sums;
        sum_law(&row, &sums);
        double total = 0, below = law.mask_weight < 0;
        for (int y = 0; y <= WORDS; y++) {
            double score = exp((double)log_score[y]);
            below += y != 700 && y < WORDS && law_raw(&law, y, score) < 0;
            total += y == 700 ? 0 : law_weight(&law, y, score);
        }
        cr_assert_float_eq(sums.moves, total, 1e-9 * total);
        cr_assert_eq(sums.clamped, below);
        double passed = 0;
        for (int y = 0; y <= WORDS; y++) {
            double weight = y == 700 ? 0 : law_weight(&law, y, exp((double)log_score[y]));
            if (weight > 1e-6) {
                cr_assert_eq(draw_at(&row, &sums, passed + 1e-7 * weight), y);
                cr_assert_eq(draw_at(&row, &sums, passed + (1 - 1e-7) * weight), y);
            }
            passed += weight;
        }
        cr_assert_eq(draw_at(&row, &sums, total + 1), 700);
    }
    free(log_score);
}
