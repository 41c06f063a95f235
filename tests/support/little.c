/* Enumerates models over small spaces; see little.h. */
#include "tests/support/little.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the model ---------------------------------------------------------------------------- */

/* A network that sees all tokens and the noise, and gives every position its row. */
#define NETWORK                                                                                    \
    "blocks:\n"                                                                                    \
    "  raw:\n"                                                                                     \
    "    in: {x: [token, rows, length], sigma: [f64, rows]}\n"                                     \
    "    nodes:\n"                                                                                 \
    "      e: {reshape: {embedding: x, out: 4}, shape: [rows, 4 * length]}\n"                      \
    "      noise: {cast: {expand: {log: sigma}}, to: f32}\n"                                       \
    "      h: {tanh: {linear: {concat: [e, noise]}, out: 8}}\n"                                    \
    "      y: {reshape: {linear: h, out: length * states, as: out}, shape: [rows, length, "        \
    "states]}\n"                                                                                   \
    "    out: y\n"

static const char *const heads[] = {
    "  log_score:\n"
    "    in: {x: [token, rows, length], sigma: [f64, rows]}\n"
    "    nodes: {y: {score_output: [{raw: [x, sigma]}, x, sigma]}}\n"
    "    out: y\n",
    "  log_posterior:\n"
    "    in: {x: [token, rows, length], sigma: [f64, rows]}\n"
    "    nodes: {y: {x0_output: [{raw: [x, sigma]}, x, sigma]}}\n"
    "    out: y\n",
    "  log_cavity:\n"
    "    in: {x: [token, rows, length], sigma: [f64, rows]}\n"
    "    nodes: {y: {cavity_output: {raw: [x, sigma]}}}\n"
    "    out: y\n",
};

/* Whether the forward chain ends in the mask: what a model file says by its base fragment. */
static bool ends_masked(const struct little_setup *s)
{
    return strcmp(s->rate, "absorb") == 0 || strstr(s->rate, "mask_leaves: false");
}

/* First hitting serves a normalised law under pure absorption; thinning everything else. */
static bool hits(const struct little_setup *s)
{
    return s->head == HEAD_POSTERIOR && strcmp(s->rate, "absorb") == 0;
}

static void open_own(struct little *w, const struct little_setup *s)
{
    static const char *const score_of[] = {NULL, "posterior", "cavity"};
    const char *const fragments[] = {"score-entropy",
                                     "samplers",
                                     "bound",
                                     ends_masked(s) ? "base-mask" : "base-law",
                                     hits(s) ? "samplers-masked" : "samplers-thinning",
                                     hits(s) ? "samplers-posterior" : NULL,
                                     score_of[s->head]};
    char *text, here[1024];
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cr_assert(out && getcwd(here, sizeof here));
    fputs("sedge: 1\ninclude:\n", out);
    for (size_t i = 0; i < sizeof fragments / sizeof fragments[0]; i++)
        if (fragments[i])
            fprintf(out, "  - %s/models/%s.yaml\n", here, fragments[i]);
    fprintf(out, "params: {vocab: %d, length: %d, cap: %g, dropout: 0}\n", s->tokens, s->length,
            s->raw ? 6 : 1.5);
    fprintf(out, "process:\n  rate: %s\n  project: %s\n", s->rate, s->raw ? "off" : "on");
    if (s->base)
        fprintf(out, "  base: %s\n", s->base);
    if (s->noise)
        fprintf(out, "  noise: %s\n", s->noise);
    else
        fprintf(out, "  noise: {geometric: {min: %g, max: %g}}\n", s->low, s->high);
    fprintf(out, NETWORK "%s", heads[s->head]);
    cr_assert(fclose(out) == 0);
    rig_model_text(&w->rig, text);
    free(text);
}

static void open_shipped(struct little *w, const struct little_setup *s)
{
    char path[64], vocab[32], length[32], noise[96];
    snprintf(path, sizeof path, "models/%s.yaml", s->shipped);
    snprintf(vocab, sizeof vocab, "vocab=%d", s->tokens);
    snprintf(length, sizeof length, "length=%d", s->length);
    snprintf(noise, sizeof noise, "process.noise={geometric: {min: %g, max: %g}}", s->low, s->high);
    rig_model(&w->rig, path,
              (const char *const[]){"dim=8", "heads=2", "layers=1",
                                    strcmp(s->shipped, "radd") == 0 ? "t_min=1e-5" : "cond=4",
                                    "dropout=0", vocab, length, noise, NULL});
}

/* --- programs ----------------------------------------------------------------------------- */

static int power(int n, int k)
{
    return k ? n * power(n, k - 1) : 1;
}
static int digit(int number, int base, int i)
{
    return number / power(base, i) % base;
}

/* A pair that noise cannot make is given x = x0: it has no weight, and its loss is finite. */
static void set_pairs(struct little *w)
{
    int length = w->setup.length, rows = w->clean * w->noisy;
    w->x = arena_new_array(w->rig.arena, int32_t, (size_t)(rows * length));
    w->x0 = arena_new_array(w->rig.arena, int32_t, (size_t)(rows * length));
    w->fixed = arena_new_array(w->rig.arena, uint8_t, (size_t)(rows * length));
    w->log_score = arena_new_array(w->rig.arena, float, (size_t)(rows * length * w->chain->states));
    w->all = arena_new_array(w->rig.arena, int32_t, (size_t)(w->noisy * length));
    for (int i = 0; i < w->noisy * length; i++)
        w->all[i] = digit(i / length, w->chain->states, i % length);
    struct matrix p = exponential(w->chain, w->setup.high);
    for (int i = 0; i < rows * length; i++) {
        int x0 = digit(i / length / w->noisy, w->chain->tokens, i % length);
        int x = digit(i / length % w->noisy, w->chain->states, i % length);
        w->x0[i] = x0;
        w->fixed[i] = w->setup.first_known && i % length == 0;
        w->x[i] = p.at[x][x0] > 0 && !w->fixed[i] ? x : x0;
    }
}

static struct plan *compile(struct little *w, const char *name, int64_t batch,
                            const char *const *bind, const char *const *want)
{
    struct rig_program program = {name, batch, bind, want};
    return rig_compile(&w->rig, &program, NULL);
}

/* Training on all pairs at a given time, and its gradients. */
static struct plan *compile_train(struct little *w)
{
    static const char *const bind[] = {"x0", "x", "t", NULL};
    struct rig_program program = {"train", w->clean * w->noisy, bind, NULL};
    struct compile_options o = {.gradients = true};
    return rig_compile(&w->rig, &program, &o);
}

#define SAMPLER_PROGRAMS 4
static const char *const thinning[] = {"base", "first_noise", "thin", "denoise"};
static const char *const hitting[] = {"base", "first_noise", "hit", "ancestral_end"};

static void open_sampler(struct little *w, struct plan *const *plans, const char *const *names)
{
    struct loop_program programs[SAMPLER_PROGRAMS];
    const struct loop *loop = loop_read(w->rig.model, "exact");
    cr_assert_not_null(loop, "%s", diags_render(w->rig.diags, false));
    for (int i = 0; i < SAMPLER_PROGRAMS; i++)
        programs[i] = (struct loop_program){names[i], rig_load(&w->rig, plans[i])};
    w->looper = loop_open(w->rig.diags, w->rig.arena, loop, programs, SAMPLER_PROGRAMS, NULL, 0,
                          w->setup.batch);
    cr_assert_not_null(w->looper, "%s", diags_render(w->rig.diags, false));
}

void little_open(struct little *w, const struct little_setup *setup)
{
    static const char *const score[] = {"log_score", NULL}, *const pair[] = {"x0", "t", "x", NULL};
    static const char *const pair_score[] = {"x0", "t", "x", "log_score", NULL};
    static const char *const above[] = {"violations", NULL}, *const fixed[] = {"fixed", NULL};
    static const char *const pair_known[] = {"x0", "t", "x", "fixed", NULL};
    const char *const *bind = setup->scores_given ? pair_score : pair;
    bind = setup->first_known ? pair_known : bind;
    const char *const *names = hits(setup) ? hitting : thinning;
    struct plan *plans[4], *sampler[SAMPLER_PROGRAMS];
    *w = (struct little){.setup = *setup, .t_min = 1e-5};
    if (setup->shipped)
        open_shipped(w, setup);
    else
        open_own(w, setup);
    w->chain = &w->rig.model->processes[0].chain;
    w->clean = power(setup->tokens, setup->length);
    w->noisy = power(w->chain->states, setup->length);
    cr_assert(w->clean <= LITTLE_CLEAN && w->noisy <= LITTLE_NOISY);
    set_pairs(w);
    plans[0] = compile(w, "bound_integrand", w->clean * w->noisy, bind, NULL);
    plans[1] = compile(w, "bound_reconstruction", w->clean * w->noisy, bind, NULL);
    plans[2] = compile(w, "bound_base", w->clean, setup->first_known ? fixed : NULL, NULL);
    plans[3] = compile(w, "bound_integrand", w->noisy, pair, score);
    struct plan *train = setup->train ? compile_train(w) : NULL;
    for (int i = 0; setup->batch && i < SAMPLER_PROGRAMS; i++)
        sampler[i] =
            compile(w, names[i], setup->batch, strcmp(names[i], "thin") == 0 ? above : NULL, NULL);
    rig_state(&w->rig, &w->rig.model->states, 1);
    w->integrand = rig_load(&w->rig, plans[0]);
    w->reconstruction = rig_load(&w->rig, plans[1]);
    w->base = rig_load(&w->rig, plans[2]);
    w->scores = rig_load(&w->rig, plans[3]);
    if (train)
        w->train = rig_load(&w->rig, train);
    if (setup->batch)
        open_sampler(w, sampler, names);
}

void little_close(struct little *w)
{
    rig_quiet(&w->rig);
    if (w->looper)
        loop_close(w->looper);
    rig_close(&w->rig);
}

/* --- the forward chain --------------------------------------------------------------------- */

double little_sigma(const struct little *w, double t)
{
    double sigma;
    cr_assert(process_sigma(&w->rig.model->processes[0], t, &sigma));
    return sigma;
}

double little_moved(const struct little *w, const struct matrix *p, int x, int x0)
{
    double moved = 1;
    if (w->setup.first_known && digit(x, w->chain->states, 0) != digit(x0, w->chain->tokens, 0))
        return 0;
    for (int i = w->setup.first_known; i < w->setup.length; i++)
        moved *= p->at[digit(x, w->chain->states, i)][digit(x0, w->chain->tokens, i)];
    return moved;
}

void little_noised(const struct little *w, double sigma, const double *p0, double *out)
{
    struct matrix p = exponential(w->chain, sigma);
    for (int x = 0; x < w->noisy; x++) {
        out[x] = 0;
        for (int x0 = 0; x0 < w->clean; x0++)
            out[x] += p0[x0] * little_moved(w, &p, x, x0);
    }
}

/* X with Y at position I. */
static int replaced(const struct little *w, int x, int i, int y)
{
    return x + (y - digit(x, w->chain->states, i)) * power(w->chain->states, i);
}

/* States that cannot be have a score of e^-50. */
void little_scores(struct little *w, const double *p)
{
    int length = w->setup.length, states = w->chain->states;
    for (int k = 0; k < w->clean * w->noisy * length * states; k++) {
        int x = k / states / length % w->noisy, i = k / states % length, y = k % states;
        double ratio = p[x] > 0 ? p[replaced(w, x, i, y)] / p[x] : 0;
        w->log_score[k] = digit(x, states, i) == y ? 0 : ratio > 0 ? (float)log(ratio) : -50;
    }
}

/* --- terms of the bound --------------------------------------------------------------------- */

static void run_at(struct little *w, struct loaded *program, const int32_t *x, double t)
{
    static double times[LITTLE_CLEAN * LITTLE_NOISY];
    struct rig_value values[] = {
        {"x0", w->x0}, {"x", x}, {"t", times}, {"log_score", w->log_score}, {"fixed", w->fixed}};
    for (int i = 0; i < w->clean * w->noisy; i++)
        times[i] = t;
    rig_run(program, values, 5, 0, NULL);
}

void little_expect(struct little *w, struct loaded *program, double t, const double *p0,
                   double *out)
{
    double sigma = little_sigma(w, t);
    struct matrix p = exponential(w->chain, sigma);
    if (w->setup.scores_given) {
        double noised[LITTLE_NOISY];
        little_noised(w, sigma, p0, noised);
        little_scores(w, noised);
    }
    run_at(w, program, w->x, t);
    struct tensor nats = rig_output(program, "nats");
    for (int x0 = 0; x0 < w->clean; x0++) {
        out[x0] = 0;
        for (int x = 0; x < w->noisy; x++) {
            double moved = little_moved(w, &p, x, x0);
            out[x0] += moved > 0 ? moved * rig_element(&nats, x0 * w->noisy + x) : 0;
        }
    }
}

double little_train(struct little *w, double t)
{
    run_at(w, w->train, w->x, t);
    struct tensor loss = rig_output(w->train, "loss");
    return rig_element(&loss, 0);
}

/* Nodes of Gauss-Legendre quadrature with 8 points on [-1, 1] (Abramowitz and Stegun, table
 * 25.4). */
static const double nodes[4] = {0.1834346424956498, 0.5255324099163290, 0.7966664774136267,
                                0.9602898564975363};
static const double weights[4] = {0.3626837833783620, 0.3137066458778873, 0.2223810344533745,
                                  0.1012285362903763};

void little_integral(struct little *w, int panels, const double *p0, double *out)
{
    double half = (1 - w->t_min) / (2 * panels), one[LITTLE_CLEAN];
    memset(out, 0, (size_t)w->clean * sizeof *out);
    for (int k = 0; k < 8 * panels; k++) {
        double at = k % 2 ? nodes[k % 8 / 2] : -nodes[k % 8 / 2];
        little_expect(w, w->integrand, w->t_min + half * (2 * (k / 8) + 1 + at), p0, one);
        for (int x0 = 0; x0 < w->clean; x0++)
            out[x0] += half * weights[k % 8 / 2] * one[x0];
    }
}

void little_bound(struct little *w, int panels, double *out)
{
    double decoder[LITTLE_CLEAN], t[LITTLE_CLEAN];
    int32_t clean[LITTLE_CLEAN * 8];
    little_integral(w, panels, NULL, out);
    little_expect(w, w->reconstruction, w->t_min, NULL, decoder);
    for (int i = 0; i < w->clean * w->setup.length; i++)
        clean[i] = digit(i / w->setup.length, w->chain->tokens, i % w->setup.length);
    for (int x0 = 0; x0 < w->clean; x0++)
        t[x0] = 1;
    struct rig_value values[] = {{"x0", clean}, {"t", t}, {"fixed", w->fixed}};
    rig_run(w->base, values, 3, 0, NULL);
    struct tensor base = rig_output(w->base, "nats");
    for (int x0 = 0; x0 < w->clean; x0++)
        out[x0] += decoder[x0] + rig_element(&base, x0);
}

/* --- the law of the sampler ----------------------------------------------------------------- */

struct reverse_rates {
    double from[LITTLE_NOISY][LITTLE_NOISY]; /* from[x][y]: of the jump x -> y, a unit of t */
    float log_score[LITTLE_NOISY * 8 * STATES_MAX];
};

static void rates_at(struct little *w, double t, struct reverse_rates *out)
{
    double slope = little_sigma(w, t) * log(w->setup.high / w->setup.low); /* d sigma / d t */
    int length = w->setup.length, states = w->chain->states;
    run_at(w, w->scores, w->all, t);
    struct tensor score = rig_output(w->scores, "log_score");
    memcpy(out->log_score, score.data, (size_t)(w->noisy * length * states) * sizeof(float));
    memset(out->from, 0, sizeof out->from);
    for (int k = 0; k < w->noisy * length * states; k++) {
        int x = k / states / length, i = k / states % length, y = k % states;
        int here = digit(x, states, i);
        double rate = y == here ? 0 : slope * chain_rate(w->chain, here, y);
        if (rate > 0)
            out->from[x][replaced(w, x, i, y)] = rate * exp((double)out->log_score[k]);
    }
}

/* What the reverse jumps do to P in a unit of t. */
static void flow(const struct little *w, const struct reverse_rates *r, const double *p,
                 double *out)
{
    memset(out, 0, LITTLE_NOISY * sizeof *out);
    for (int x = 0; x < w->noisy; x++)
        for (int y = 0; y < w->noisy; y++) {
            out[y] += r->from[x][y] * p[x];
            out[x] -= r->from[x][y] * p[x];
        }
}

/* P over a stretch STEP of t, with the rates at its start, middle and end. */
static void advance(const struct little *w, const struct reverse_rates *r, double step, double *p)
{
    static const double reach[] = {0, 0.5, 0.5, 1}, share[] = {1, 2, 2, 1};
    double slope[LITTLE_NOISY] = {0}, sum[LITTLE_NOISY] = {0}, at[LITTLE_NOISY];
    for (int k = 0; k < 4; k++) {
        for (int x = 0; x < w->noisy; x++)
            at[x] = p[x] + reach[k] * step * slope[x];
        flow(w, &r[(k + 1) / 2], at, slope);
        for (int x = 0; x < w->noisy; x++)
            sum[x] += share[k] / 6 * step * slope[x];
    }
    for (int x = 0; x < w->noisy; x++)
        p[x] += sum[x];
}

/* Where a position starts: the mask, and with what has not come there the scores of a sequence of
 * masks, normalised; or the base. */
static void base_law(const struct little *w, const struct reverse_rates *last, double *p)
{
    int length = w->setup.length, states = w->chain->states, tokens = w->chain->tokens;
    double leak = chain_leaks(w->chain) ? exp(-w->chain->absorb * w->setup.high) : 0;
    for (int x = 0; x < w->noisy; x++)
        p[x] = 1;
    for (int i = 0; i < length; i++) {
        const float *row = last->log_score + ((w->noisy - 1) * length + i) * states;
        double sum = 0;
        for (int y = 0; y < tokens; y++)
            sum += exp((double)row[y]);
        for (int x = 0; x < w->noisy; x++) {
            int y = digit(x, states, i);
            double share = y < tokens ? exp((double)row[y]) / sum : 0;
            p[x] *= (1 - leak) * chain_base(w->chain, y) + leak * share;
        }
    }
}

/* The decoder leads from x to x0 only where noise leads from x0 to x. */
static void decode(struct little *w, const double *p, double *out)
{
    struct matrix noise = exponential(w->chain, w->setup.high);
    run_at(w, w->reconstruction, w->x, w->t_min);
    struct tensor nats = rig_output(w->reconstruction, "nats");
    for (int x0 = 0; x0 < w->clean; x0++) {
        out[x0] = 0;
        for (int x = 0; x < w->noisy; x++)
            if (little_moved(w, &noise, x, x0) > 0)
                out[x0] += p[x] * exp(-rig_element(&nats, x0 * w->noisy + x));
    }
}

void little_law(struct little *w, int steps, double *out)
{
    static struct reverse_rates r[3];
    double step = (1 - w->t_min) / steps, p[LITTLE_NOISY];
    rates_at(w, 1, &r[0]);
    base_law(w, &r[0], p);
    for (int k = 0; k < steps; k++) {
        rates_at(w, 1 - step * (k + 0.5), &r[1]);
        rates_at(w, 1 - step * (k + 1), &r[2]);
        advance(w, r, step, p);
        r[0] = r[2];
    }
    decode(w, p, out);
}

void little_histogram(struct little *w, int runs, int64_t *count)
{
    memset(count, 0, (size_t)w->clean * sizeof *count);
    for (int run = 0; run < runs; run++) {
        struct loop_request q = {.count = w->setup.batch,
                                 .sequence = (uint32_t)run * (uint32_t)w->setup.batch,
                                 .key = random_key(17, "exact")};
        cr_assert(loop_run(w->looper, &q));
        const int32_t *x = loop_carry_data(w->looper, "x");
        const double *above = hits(&w->setup) ? NULL : loop_carry_data(w->looper, "violations");
        for (int64_t row = 0; row < w->setup.batch; row++) {
            int x0 = 0;
            for (int i = w->setup.length - 1; i >= 0; i--)
                x0 = x0 * w->chain->tokens + x[row * w->setup.length + i];
            count[x0]++;
            cr_assert(!above || above[row] == 0, "a rate above the bound");
        }
    }
}
