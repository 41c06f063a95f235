/* A million draws of every op that draws, under every kind of chain, against the law it should
 * follow, by chi-square; and rare events, whose stretch of the uniform numbers is found by
 * bisection. The laws are from matrix exponentials and the definitions. */
#include "tests/ops/couples.h"

#define ROWS 1000
#define LENGTH 1000
#define DRAWS (ROWS * LENGTH)

#define KINDS 6
static struct chain chain_of(int i)
{
    static const char *const rates[] = {"absorb 5",          "uniform 7", "mix 4 0.7 0.3 0",
                                        "mix 3 0.6 0.5 0.5", "band 5 1",  "table 4 1 3"};
    return chain_named(rates[i]);
}

/* The noises of steps, and a law of clean tokens with where it is at each. */
#define SIGMA_T 1.1
#define SIGMA_S 0.4
struct setting {
    struct chain chain;
    int n, x; /* a mask, where there is one that can move */
    struct matrix to_t, to_s, between;
    double p0[STATES_MAX], at_t[STATES_MAX], at_s[STATES_MAX];
    double score[STATES_MAX], posterior[STATES_MAX];
};

static struct setting setting_of(int kind)
{
    struct setting s = {.chain = chain_of(kind)};
    s.n = s.chain.states;
    s.x = s.chain.mask >= 0 && kind != 2 ? s.chain.mask : 2;
    s.to_t = exponential(&s.chain, SIGMA_T);
    s.to_s = exponential(&s.chain, SIGMA_S);
    s.between = exponential(&s.chain, SIGMA_T - SIGMA_S);
    random_law(&s.chain, 31, s.p0);
    apply(&s.to_t, s.p0, s.at_t);
    apply(&s.to_s, s.p0, s.at_s);
    for (int y = 0; y < s.n; y++) {
        s.score[y] = s.at_t[y] / s.at_t[s.x];
        s.posterior[y] = s.to_t.at[s.x][y] * s.p0[y] / s.at_t[s.x];
    }
    return s;
}

/* x at every position, LAW as logs behind it where there is one, then TIMES numbers and ABSENT
 * inputs. */
struct crowd {
    struct trial trial;
    int32_t *x;
    float *logs;
    double time[3];
};

static void crowd_open(struct crowd *c, const struct op *op, const struct setting *s, int x,
                       const double *law, uint32_t times, const double *time, uint32_t absent)
{
    *c = (struct crowd){.trial = {.op = op, .chain = &s->chain, .seed = 6, .threads = 2}};
    struct trial *t = &c->trial;
    if (x >= 0) {
        c->x = calloc(DRAWS, sizeof *c->x);
        for (int64_t i = 0; i < DRAWS; i++)
            c->x[i] = x;
        t->in[t->in_count++] = tensor_of(DT_TOKEN, c->x, 2, ROWS, LENGTH, 0);
    }
    if (law) {
        c->logs = calloc((size_t)DRAWS * (size_t)s->n, sizeof *c->logs);
        for (int64_t i = 0; i < DRAWS * s->n; i++)
            c->logs[i] = (float)log(law[i % s->n]);
        t->in[t->in_count++] = tensor_of(DT_F32, c->logs, 3, ROWS, LENGTH, s->n);
    }
    for (uint32_t i = 0; i < times; i++) {
        c->time[i] = time[i];
        t->in[t->in_count++] = tensor_of(DT_F64, &c->time[i], 0, 0, 0, 0);
    }
    while (absent--)
        t->in[t->in_count++] = tensor_of(DT_BOOL, NULL, 2, ROWS, LENGTH, 0);
    t->out = tensor_of(DT_TOKEN, NULL, 2, ROWS, LENGTH, 0);
}

/* Draws them all and frees the crowd. Seeds are fixed: 4 standard deviations either hold or do
 * not. */
static void crowd_check(struct crowd *c, const double *law, int kind)
{
    int64_t count[STATES_MAX] = {0};
    double *y = run_best(&c->trial);
    for (int64_t i = 0; i < DRAWS; i++)
        count[(int)y[i]]++;
    double z = chi_square(count, law, c->trial.chain->states);
    cr_expect(fabs(z) < 4, "%s under chain %d is %.1f standard deviations off", c->trial.op->name,
              kind, z);
    free(y);
    free(c->x);
    free(c->logs);
}

Test(million, noising)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct setting s = setting_of(kind);
        struct crowd c;
        double law[STATES_MAX], time = SIGMA_T;
        crowd_open(&c, &op_perturb, &s, 2, NULL, 1, &time, 0);
        for (int y = 0; y < s.n; y++)
            law[y] = s.to_t.at[y][2];
        crowd_check(&c, law, kind);
        crowd_open(&c, &op_stationary, &s, -1, NULL, 0, NULL, 0);
        struct matrix late = exponential(&s.chain, 1000);
        for (int y = 0; y < s.n; y++)
            law[y] = late.at[y][0];
        crowd_check(&c, law, kind);
    }
}

Test(million, tweedie)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct setting s = setting_of(kind);
        struct crowd c;
        double law[STATES_MAX], times[] = {SIGMA_T, SIGMA_S};
        crowd_open(&c, &op_tweedie, &s, s.x, s.score, 2, times, 1);
        c.trial.other = tensor_of(DT_F64, NULL, 1, ROWS, 0, 0);
        for (int y = 0; y < s.n; y++)
            law[y] = s.between.at[s.x][y] * s.at_s[y];
        crowd_check(&c, law, kind);
    }
}

Test(million, decoder)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct setting s = setting_of(kind);
        struct crowd c;
        double time = SIGMA_T;
        crowd_open(&c, &op_denoise, &s, s.x, s.score, 1, &time, 1);
        crowd_check(&c, s.posterior, kind);
    }
}

static void check_euler(int kind, bool linear)
{
    struct setting s = setting_of(kind);
    struct crowd c;
    double law[STATES_MAX], rate[STATES_MAX], total = 0, step = 0.2;
    for (int y = 0; y < s.n; y++)
        total += rate[y] = y == s.x ? 0 : chain_rate(&s.chain, s.x, y) * s.score[y];
    double jumps = linear ? total * step : -expm1(-total * step);
    for (int y = 0; y < s.n; y++)
        law[y] = y == s.x ? 1 - jumps : jumps * rate[y] / total;
    crowd_open(&c, linear ? &op_euler_linear : &op_euler, &s, s.x, s.score, 1, &step, 1);
    if (linear)
        c.trial.other = tensor_of(DT_F64, NULL, 1, ROWS, 0, 0);
    crowd_check(&c, law, kind);
}
Test(million, euler)
{
    for (int kind = 0; kind < KINDS; kind++)
        check_euler(kind, false);
}
Test(million, euler_linear)
{
    for (int kind = 0; kind < KINDS; kind++)
        check_euler(kind, true);
}

static void check_ancestral(int kind, bool cavity)
{
    struct setting s = setting_of(kind);
    struct crowd c;
    double law[STATES_MAX], times[] = {SIGMA_T, SIGMA_S};
    crowd_open(&c, &op_ancestral, &s, s.x, cavity ? s.p0 : s.posterior, 2, times, 2);
    c.trial.attr[ANCESTRAL_HEAD].integer = cavity ? ANCESTRAL_CAVITY : ANCESTRAL_POSTERIOR;
    for (int y = 0; y < s.n; y++)
        law[y] = s.between.at[s.x][y] * s.at_s[y];
    crowd_check(&c, law, kind);
}
Test(million, ancestral_by_a_posterior)
{
    for (int kind = 0; kind < KINDS; kind++)
        check_ancestral(kind, false);
}
Test(million, ancestral_by_a_cavity)
{
    for (int kind = 0; kind < KINDS; kind++)
        check_ancestral(kind, true);
}

Test(million, corrector)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct setting s = setting_of(kind);
        struct crowd c;
        double law[STATES_MAX], total = 0, step = 0.3;
        for (int y = 0; y < s.n; y++)
            total += law[y] =
                y == s.x ? 0
                         : chain_rate(&s.chain, y, s.x) + chain_rate(&s.chain, s.x, y) * s.score[y];
        law[s.x] = total / expm1(total * step);
        crowd_open(&c, &op_corrector, &s, s.x, s.score, 1, &step, 2);
        crowd_check(&c, law, kind);
    }
}

Test(million, of_masks_alone)
{
    struct setting s = setting_of(0);
    struct crowd c;
    double law[STATES_MAX], a = exp(-SIGMA_T), b = exp(-SIGMA_S), r = 0.3;
    for (int x = 2; x <= 5; x += 3) { /* a token, and the mask */
        crowd_open(&c, &op_remask, &s, x, s.p0, 3, (double[]){SIGMA_T, SIGMA_S, r}, 2);
        for (int y = 0; y < 5; y++)
            law[y] = x < 5 ? (y == x) * (1 - r) : s.p0[y] * (b - (1 - r) * a) / (1 - a);
        law[5] = x < 5 ? r : (1 - b - r * a) / (1 - a);
        crowd_check(&c, law, 0);
    }
    crowd_open(&c, &op_draw_law, &s, -1, s.p0, 0, NULL, 1);
    crowd_check(&c, s.p0, 0);
    crowd_open(&c, &op_categorical, &s, -1, s.p0, 0, NULL, 0);
    for (int64_t i = 0; i < DRAWS * s.n; i++)
        c.logs[i] = (float)(3 * s.p0[i % s.n] - (i % s.n == 5));
    crowd_check(&c, s.p0, 0);
    crowd_open(&c, &op_base_draw, &s, 5, NULL, 1, (double[]){SIGMA_T}, 0);
    c.logs = calloc((size_t)DRAWS * 6, sizeof *c.logs);
    for (int64_t i = 0; i < DRAWS * 6; i++)
        c.logs[i] = (float)log(s.score[i % 6]);
    c.trial.in[c.trial.in_count++] = tensor_of(DT_F32, c.logs, 3, ROWS, LENGTH, 6);
    for (int y = 0; y < 5; y++)
        law[y] = a * s.p0[y];
    law[5] = 1 - a;
    crowd_check(&c, law, 0);
}

/* ------------------------------------------------------------------------- events of a sequence */

#define BINS 50

/* A million rows of one sequence of LENGTH tokens. */
static struct trial rows_trial(const struct op *op, const struct chain *chain, int length,
                               const int32_t *sequence, int32_t **x)
{
    struct trial t = {.op = op, .chain = chain, .in_count = 1, .seed = 8, .threads = 2};
    *x = calloc((size_t)(DRAWS * length), sizeof **x);
    for (int64_t i = 0; i < DRAWS * length; i++)
        (*x)[i] = sequence[i % length];
    t.in[0] = tensor_of(DT_TOKEN, *x, 2, DRAWS, length, 0);
    return t;
}

static void check_even(const int64_t *count, int bins, const char *what)
{
    double law[BINS];
    for (int i = 0; i < bins; i++)
        law[i] = 1;
    double z = chi_square(count, law, bins);
    cr_expect(fabs(z) < 4, "%s is %.1f standard deviations off", what, z);
}

/* With n masks the next is revealed at ((1 - alpha') / (1 - alpha))^n = u; then each of them alike,
 * its token by the law given. */
Test(million, first_hitting)
{
    struct chain chain = chain_absorb(3);
    const double law[] = {0.2, 0.7, 0.1, 0}, sigma = 1.7;
    int64_t count[BINS] = {0}, found[6] = {0};
    double both[6], time = sigma;
    int32_t *x;
    struct trial t = rows_trial(&op_first_hit, &chain, 3, (int32_t[]){3, 1, 3}, &x);
    t.in[1] = tensor_of(DT_F64, &time, 0, 0, 0, 0);
    t.in[2] = tensor_of(DT_F64, NULL, 1, DRAWS, 0, 0);
    t.in_count = 3;
    t.out = tensor_of(DT_F64, NULL, 1, DRAWS, 0, 0);
    double *next = run_best(&t);
    for (int64_t i = 0; i < DRAWS; i++) {
        cr_assert(next[i] > 0 && next[i] <= sigma);
        double u = pow(expm1(-next[i]) / expm1(-sigma), 2);
        count[(int)fmin(BINS - 1, u * BINS)]++;
    }
    check_even(count, BINS, "first_hit");
    float *logs = calloc((size_t)DRAWS * 12, sizeof *logs);
    for (int64_t i = 0; i < DRAWS * 12; i++)
        logs[i] = (float)log(law[i % 4]);
    t.op = &op_reveal_one;
    t.in[1] = tensor_of(DT_F32, logs, 3, DRAWS, 3, 4);
    t.in_count = 2;
    t.out = t.in[0];
    double *y = run_best(&t);
    for (int64_t i = 0; i < DRAWS; i++) {
        int first = y[3 * i] < 3, token = (int)y[3 * i + (first ? 0 : 2)];
        cr_assert(y[3 * i + 1] == 1 && token < 3 && y[3 * i + (first ? 2 : 0)] == 3);
        found[3 * first + token]++;
    }
    for (int i = 0; i < 6; i++)
        both[i] = law[i % 3];
    double z = chi_square(found, both, 6);
    cr_expect(fabs(z) < 4, "reveal_one is %.1f standard deviations off", z);
    free(next);
    free(logs);
    free(y);
    free(x);
}

/* Candidates of two tokens under the uniform chain: rate 2 [(N - 1) / N + 1 / expm1(sigma)], of
 * which the integral is 2 [(N - 1) sigma / N + log(1 - exp(-sigma))]. Then a jump takes place with
 * the share of its rate. */
Test(million, thinning)
{
    enum { N = 4 };
    struct chain chain = chain_uniform(N);
    const double sigma = 2, score[] = {1, 0.4, 2.5, 1.3};
    int64_t count[BINS] = {0}, found[2 * N + 1] = {0};
    double law[2 * N + 1], time = sigma;
    int32_t *x, sequence[] = {0, 2};
    struct trial t = rows_trial(&op_thin_next, &chain, 2, sequence, &x);
    t.in[1] = tensor_of(DT_F64, &time, 0, 0, 0, 0);
    t.in[2] = tensor_of(DT_BOOL, NULL, 2, DRAWS, 2, 0);
    t.in[3] = tensor_of(DT_F64, NULL, 1, DRAWS, 0, 0);
    t.in_count = 4;
    t.out = t.other = tensor_of(DT_F64, NULL, 1, DRAWS, 0, 0);
    double *next = run_best(&t);
    for (int64_t i = 0; i < DRAWS; i++) {
        double u =
            exp(-2 * ((N - 1.0) / N * (sigma - next[i]) + log(expm1(-sigma) / expm1(-next[i]))));
        count[(int)fmin(BINS - 1, u * BINS)]++;
    }
    check_even(count, BINS, "thin_next");
    float *logs = calloc((size_t)DRAWS * 2 * N, sizeof *logs);
    for (int64_t i = 0; i < DRAWS * 2; i++)
        for (int y = 0; y < N; y++)
            logs[i * N + y] = (float)log(y == sequence[i % 2] ? 1 : score[y]);
    double rate = 4;
    law[2 * N] = rate;
    for (int i = 0; i < 2 * N; i++)
        law[2 * N] -= law[i] = i % N == sequence[i / N] ? 0 : score[i % N] / N;
    t.op = &op_thin_jump;
    t.in[1] = tensor_of(DT_F32, logs, 3, DRAWS, 2, N);
    t.in[2] = tensor_of(DT_F64, &rate, 0, 0, 0, 0);
    t.in[3] = tensor_of(DT_BOOL, NULL, 2, DRAWS, 2, 0);
    t.in[4] = tensor_of(DT_F64, NULL, 1, DRAWS, 0, 0);
    t.in_count = 5;
    t.out = t.in[0];
    double *y = run_best(&t);
    for (int64_t i = 0; i < DRAWS; i++) {
        int a = (int)y[2 * i], b = (int)y[2 * i + 1];
        cr_assert(a == sequence[0] || b == sequence[1], "two jumps at once");
        found[a != sequence[0] ? a : b != sequence[1] ? N + b : 2 * N]++;
    }
    double z = chi_square(found, law, 2 * N + 1);
    cr_expect(fabs(z) < 4, "thin_jump is %.1f standard deviations off", z);
    free(next);
    free(logs);
    free(y);
    free(x);
}

/* Each choice of 2 positions of 5 is as likely as any other. */
Test(million, masks_of_a_count)
{
    struct chain chain = chain_absorb(3);
    int64_t count[10] = {0};
    int32_t *x;
    double k = 2;
    struct trial t = rows_trial(&op_mask_exactly, &chain, 5, (int32_t[]){0, 1, 2, 0, 1}, &x);
    t.in[1] = tensor_of(DT_F64, &k, 0, 0, 0, 0);
    t.in_count = 2;
    t.out = t.in[0];
    t.other = tensor_of(DT_F64, NULL, 1, DRAWS, 0, 0);
    double *y = run_best(&t);
    for (int64_t i = 0; i < DRAWS; i++) {
        int at[2] = {0}, masks = 0;
        for (int j = 0; j < 5; j++)
            if (y[5 * i + j] == 3)
                at[masks++ % 2] = j;
        cr_assert_eq(masks, 2);
        count[at[1] * (at[1] - 1) / 2 + at[0]]++;
    }
    check_even(count, 10, "mask_exactly");
    free(y);
    free(x);
}

/* --------------------------------------------------------------------------------- rare events */

/* Over a step of 1e-7 whatever moves is rare. Its stretch of the uniform numbers, found by
 * bisection, has the length it should to 1e-5: f32 logs are within 1e-6 here. */
static void check_rare(const struct couple *c, struct trial *t, struct place_room *room,
                       const struct place_laws *law, const char *what)
{
    struct place_laws found;
    int m = c->chain.states;
    bisected_laws(c, t, run_best, room, 54, &found);
    for (int i = 0; i < 2 * m * m; i++)
        for (int y = 0; y < m; y++)
            cr_expect(fabs(found.at[i][y] - law->at[i][y]) <= 1e-5 * law->at[i][y] + 1e-15,
                      "%s under %d states: place %d to %d has %.9g, not %.9g", what, m, i, y,
                      found.at[i][y], law->at[i][y]);
}

static void check_rare_ancestral(const struct couple *c, bool cavity)
{
    const double from = 0.8, to = 0.8 - 1e-7;
    struct matrix p = exponential(&c->chain, from), q = exponential(&c->chain, to),
                  d = exponential(&c->chain, from - to);
    struct place_laws clean, law = {0};
    struct place_room room;
    int m = c->chain.states;
    clean_laws(c, from, cavity, &clean);
    for (int i = 0; i < 2 * m * m; i++) {
        int x = place_token(c, i);
        double sum = 0;
        for (int y = 0; y < m; y++) {
            for (int x0 = 0; x0 < c->chain.tokens; x0++)
                if (p.at[x][x0] > 0)
                    law.at[i][y] +=
                        d.at[x][y] * q.at[y][x0] * clean.at[i][x0] / (cavity ? 1 : p.at[x][x0]);
            sum += law.at[i][y];
        }
        for (int y = 0; y < m; y++)
            law.at[i][y] /= sum;
    }
    struct trial t = place_trial(c, &op_ancestral, &clean, (double[]){from, to}, 2, &room);
    t.attr[ANCESTRAL_HEAD].integer = cavity ? ANCESTRAL_CAVITY : ANCESTRAL_POSTERIOR;
    check_rare(c, &t, &room, &law, cavity ? "cavity" : "posterior");
}

static void check_rare_corrector(const struct couple *c)
{
    double at[COUPLES], step = 1e-7;
    struct place_laws score, law;
    struct place_room room;
    int m = c->chain.states;
    couple_law(c, 0.8, at);
    exact_scores(c, at, &score);
    for (int i = 0; i < 2 * m * m; i++) {
        int x = place_token(c, i);
        double total = 0;
        for (int y = 0; y < m; y++)
            total += law.at[i][y] =
                y == x ? 0
                       : chain_rate(&c->chain, y, x) + chain_rate(&c->chain, x, y) * score.at[i][y];
        for (int y = 0; y < m; y++)
            law.at[i][y] *= total > 0 ? -expm1(-total * step) / total : 0;
        law.at[i][x] = exp(-total * step);
    }
    struct trial t = place_trial(c, &op_corrector, &score, &step, 1, &room);
    check_rare(c, &t, &room, &law, "corrector");
}

Test(million, rare_moves_have_their_stretch)
{
    static const char *const rates[] = {"absorb 3",          "uniform 4", "mix 3 0.7 0.3 0",
                                        "mix 3 0.6 0.5 0.5", "band 4 1",  "table 3 1 3"};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        struct couple c = couple_named(rates[r]);
        check_rare_ancestral(&c, false);
        check_rare_ancestral(&c, true);
        check_rare_corrector(&c);
    }
}

/* Where the stretch of state Y that begins at LOW ends. */
static double stretch_end(const struct transition *p, int x0, int y, double low)
{
    double width = 1e-12, high;
    while (low + width < 1 && transition_draw(p, x0, low + width) == y)
        width *= 2;
    high = fmin(1, low + width);
    if (high == 1 && transition_draw(p, x0, 1 - 0x1p-53) == y)
        return 1;
    for (double middle; (middle = (low + high) / 2) > low && middle < high;)
        *(transition_draw(p, x0, middle) == y ? &low : &high) = middle;
    return high;
}

/* The same for noising, by a column of P at 1e-7; a token that is redrawn as itself has two
 * stretches. */
Test(million, rare_noise_has_its_stretch)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct chain chain = chain_of(kind);
        struct transition p = transition_of(&chain, 1e-7);
        struct matrix e = exponential(&chain, 1e-7);
        for (int x0 = 0; x0 < chain.tokens; x0++) {
            double share[STATES_MAX] = {0}, at = 0;
            for (int pieces = 0; at < 1; pieces++) {
                int y = transition_draw(&p, x0, at);
                double end = stretch_end(&p, x0, y, at);
                cr_assert(pieces < 2 * chain.states);
                share[y] += end - at;
                at = end;
            }
            for (int y = 0; y < chain.states; y++)
                cr_expect(fabs(share[y] - e.at[y][x0]) <= 1e-6 * e.at[y][x0] + 1e-15,
                          "chain %d: %d to %d has %.12g, not %.12g", kind, x0, y, share[y],
                          e.at[y][x0]);
        }
    }
}
