/* The autoregressive model: what its loops draw against the law that its likelihood gives, listed
 * for a small alphabet, whole and cut; the cache against none; and the likelihood itself. */
#include "tests/ops/diffusion.h"
#include "tests/support/play.h"

#include "runtime/evaluate.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 4
#define LENGTH 4
#define ALL 256 /* TOKENS ^ LENGTH: sequences */
#define CACHED "left-to-right"
#define UNCACHED "left-to-right-uncached"

static const char path[] = "models/gpt2.yaml";
static const char *const sizes[] = {"dim=8",    "heads=2",     "layers=2",  "vocab=4",
                                    "length=4", "positions=4", "dropout=0", NULL};

/* The sequence number I, its first token most significant. */
static void list_sequence(int i, int32_t *x)
{
    for (int k = LENGTH - 1; k >= 0; k--, i /= TOKENS)
        x[k] = i % TOKENS;
}

/* Logits of the token after each of the first three places, of all sequences. */
struct logits {
    float at[ALL][LENGTH - 1][TOKENS];
};

static void read_logits(struct logits *out)
{
    static const char *const bind[] = {"x0", "scored", NULL}, *const want[] = {"logits", NULL};
    static const bool scored[ALL * LENGTH];
    struct rig rig;
    int32_t x[ALL * LENGTH];
    for (int i = 0; i < ALL; i++)
        list_sequence(i, x + i * LENGTH);
    rig_model(&rig, path, sizes);
    struct rig_program p = {"likelihood", ALL, bind, want};
    struct plan *plan = rig_compile(&rig, &p, NULL);
    rig_state(&rig, &rig.model->states, 1);
    rig_fill(&rig, 0.5);
    struct loaded *loaded = rig_load(&rig, plan);
    struct rig_value values[] = {{"x0", x}, {"scored", scored}};
    rig_run(loaded, values, 2, 0, NULL);
    struct tensor logits = rig_output(loaded, "logits");
    cr_assert_eq(tensor_size(&logits), ALL * (LENGTH - 1) * TOKENS);
    memcpy(out->at, logits.data, sizeof out->at);
    rig_close(&rig);
}

/* --- laws ----------------------------------------------------------------------------------- */

struct cut {
    double temperature, top_p;
    int top_k;
};

/* The share of TOKEN in the law of LOGITS, cut: by ranks, as the papers have it. */
static double cut_share(const float *logits, const struct cut *c, int token)
{
    double p[TOKENS], kept = 0, before[TOKENS] = {0};
    int rank[TOKENS] = {0};
    for (int y = 0; y < TOKENS; y++)
        p[y] = exp((double)logits[y] / c->temperature);
    for (int y = 0; y < TOKENS; y++)
        for (int z = 0; z < TOKENS; z++)
            rank[y] += p[z] > p[y];
    double most = 0; /* of what the first cut leaves */
    for (int y = 0; y < TOKENS; y++)
        most += !c->top_k || rank[y] < c->top_k ? p[y] : 0;
    for (int y = 0; y < TOKENS; y++)
        for (int z = 0; z < TOKENS; z++)
            before[y] += p[z] > p[y] ? p[z] / most : 0;
    for (int y = 0; y < TOKENS; y++) {
        bool stays = (!c->top_k || rank[y] < c->top_k) && before[y] < c->top_p;
        p[y] = stays ? p[y] : 0;
        kept += p[y];
    }
    return p[token] / kept;
}

/* Of each sequence, the first token being any, each as likely. */
static void list_law(const struct logits *logits, const struct cut *c, double law[ALL])
{
    for (int i = 0; i < ALL; i++) {
        int32_t x[LENGTH];
        list_sequence(i, x);
        law[i] = 1.0 / TOKENS;
        for (int k = 1; k < LENGTH; k++)
            law[i] *= cut_share(logits->at[i][k - 1], c, x[k]);
    }
}

static void open_loop(struct play *p, const char *loop, const struct cut *c, int64_t batch,
                      const struct loop_overlay *known)
{
    const char *settings[16];
    struct arena *arena = arena_new();
    int n = 0;
    for (; sizes[n]; n++)
        settings[n] = sizes[n];
    settings[n++] = arena_printf(arena, "temperature=%g", c->temperature);
    settings[n++] = arena_printf(arena, "top_k=%d", c->top_k);
    settings[n++] = arena_printf(arena, "top_p=%g", c->top_p);
    settings[n] = NULL;
    play_open(p, path, settings, loop, batch, known);
    rig_fill(&p->rig, 0.5);
    arena_free(arena);
}

static const struct cut cuts[] = {{1, 1, 0}, {0.7, 1, 0}, {1, 1, 2}, {1, 0.75, 0}, {1.5, 0.6, 3}};

/* All 256 sequences, 40,000 draws: what a cut leaves out is never drawn, and the others as often as
 * the law says. */
static void check_law(const char *loop)
{
    enum { DRAWS = 40000 };
    static struct logits logits;
    double law[ALL], left = 0;
    read_logits(&logits);
    for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
        struct play p;
        int64_t count[ALL] = {0};
        list_law(&logits, &cuts[k], law);
        open_loop(&p, loop, &cuts[k], DRAWS, NULL);
        const int32_t *x = play_turn(&p, 0, k);
        for (int i = 0; i < DRAWS; i++, x += LENGTH)
            count[((x[0] * TOKENS + x[1]) * TOKENS + x[2]) * TOKENS + x[3]]++;
        for (int i = 0; i < ALL; i++) {
            left += law[i] == 0;
            cr_assert(law[i] > 0 || count[i] == 0, "%s, cut %d: sequence %d is cut and drawn", loop,
                      (int)k, i);
        }
        cr_expect(chi_square(count, law, ALL) < 4, "%s, cut %d: %g", loop, (int)k,
                  chi_square(count, law, ALL));
        play_close(&p);
    }
    cr_assert(left > 100, "%g sequences are cut: that shows nothing", left);
}

Test(left_to_right, draws_by_the_law_with_a_cache)
{
    check_law(CACHED);
}

Test(left_to_right, draws_by_the_law_without)
{
    check_law(UNCACHED);
}

/* --- the same draws ----------------------------------------------------------------------- */

enum { MANY = 60 };

/* MANY sequences in batches of BATCH by THREADS, those with an even number after 2 1. */
static void draw(const char *loop, const struct cut *c, int64_t batch, int threads,
                 int32_t out[MANY * LENGTH])
{
    static const int32_t known[MANY * LENGTH] = {2, 1};
    uint8_t fixed[MANY * LENGTH] = {0};
    int32_t prompts[MANY * LENGTH];
    struct play p;
    struct loop_overlay given = {.fixed = fixed, .known = prompts, .length = LENGTH, .mask = -1};
    open_loop(&p, loop, c, batch, &given);
    p.rig.engine.threads = threads;
    for (int64_t from = 0; from < MANY; from += batch) {
        struct loop_request q = {.count = MANY - from < batch ? MANY - from : batch,
                                 .sequence = (uint32_t)from,
                                 .key = random_key(3, "sample"),
                                 .overlay = &given};
        struct loop_field none[] = {{"fixed", fixed}, {"known", prompts}};
        q.fields = none;
        for (int64_t i = 0; i < q.count; i++) {
            bool even = (from + i) % 2 == 0;
            memcpy(prompts + i * LENGTH, known, LENGTH * sizeof *known);
            fixed[i * LENGTH] = fixed[i * LENGTH + 1] = even;
        }
        cr_assert(loop_run(p.looper, &q));
        memcpy(out + from * LENGTH, loop_carry_data(p.looper, "x"),
               (size_t)(q.count * LENGTH) * sizeof *out);
    }
    play_close(&p);
}

/* Token for token, whatever the batches and the threads are; and a prompt stays. */
Test(left_to_right, a_cache_changes_nothing)
{
    static const struct {
        const char *loop;
        int64_t batch;
        int threads;
    } ways[] = {{CACHED, 7, 1},   {CACHED, 1, 2},   {CACHED, MANY, 3},
                {UNCACHED, 7, 1}, {UNCACHED, 1, 3}, {UNCACHED, MANY, 2}};
    for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
        int32_t one[MANY * LENGTH], other[MANY * LENGTH];
        draw(CACHED, &cuts[k], MANY, 1, one);
        for (int i = 0; i < MANY; i += 2)
            cr_assert(one[i * LENGTH] == 2 && one[i * LENGTH + 1] == 1);
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            draw(ways[w].loop, &cuts[k], ways[w].batch, ways[w].threads, other);
            cr_expect(memcmp(one, other, sizeof one) == 0, "cut %d, %s by %d", (int)k, ways[w].loop,
                      (int)ways[w].batch);
        }
    }
}

/* --- the likelihood ------------------------------------------------------------------------- */

static void every_window(void *context, int64_t index, int32_t *out)
{
    (void)context;
    list_sequence((int)index, out);
}

/* All sequences, GIVEN positions given, in batches of BATCH. */
static void evaluate(int64_t batch, int given, struct rig *rig, struct bound *b)
{
    static const char *const bind[] = {"x0", "scored", NULL}, *const want[] = {"by_position", NULL};
    bool *mask;
    rig_model(rig, path, sizes);
    mask = arena_new_array(rig->arena, bool, LENGTH);
    for (int i = 0; i < given; i++)
        mask[i] = true;
    struct rig_program p = {"likelihood", batch, bind, want};
    struct plan *plan = rig_compile(rig, &p, NULL);
    rig_state(rig, &rig->model->states, 1);
    rig_fill(rig, 0.5);
    struct bound_plans plans = {.exact = rig_load(rig, plan)};
    struct bound_config config = {.batch = batch,
                                  .sequences = ALL,
                                  .length = LENGTH,
                                  .times = 2,
                                  .given = mask,
                                  .by_position = true};
    struct bound_source source = {.window = every_window};
    cr_assert(bound_evaluate(rig->diags, rig->arena, &plans, &config, &source, b), "%s",
              diags_render(rig->diags, false));
}

/* What follows adds up to 1, given one symbol or two; and it is what the logits say. */
Test(left_to_right, likelihoods_are_a_law)
{
    static struct logits logits;
    const struct cut none = {1, 1, 0};
    read_logits(&logits);
    for (int given = 1; given < 3; given++) {
        struct rig rig;
        struct bound b;
        double sum[16] = {0}, mean = 0;
        evaluate(ALL, given, &rig, &b);
        for (int i = 0; i < ALL; i++) {
            int32_t x[LENGTH];
            double nats = 0;
            list_sequence(i, x);
            for (int k = given; k < LENGTH; k++)
                nats -= log(cut_share(logits.at[i][k - 1], &none, x[k]));
            cr_assert_float_eq(b.per_sequence[i], nats, 1e-5, "sequence %d: %.9g, not %.9g", i,
                               b.per_sequence[i], nats);
            sum[i / (given == 1 ? 64 : 16)] += exp(-b.per_sequence[i]);
            mean += nats / ALL / (LENGTH - given);
        }
        for (int i = 0; i < (given == 1 ? 4 : 16); i++)
            cr_expect_float_eq(sum[i], 1, 1e-5, "given %d: %.9g", i, sum[i]);
        cr_expect_float_eq(b.nats, mean, 1e-6);
        cr_expect(b.free == LENGTH - given && b.error_noise == 0 && b.calls == 1);
        for (int k = 0; k < LENGTH; k++)
            cr_expect(isnan(b.per_position[k]) == (k < given));
        rig_close(&rig);
    }
}

Test(left_to_right, batches_do_not_matter)
{
    struct rig one, other;
    struct bound a, b;
    evaluate(1, 1, &one, &a);
    evaluate(7, 1, &other, &b);
    for (int i = 0; i < ALL; i++)
        cr_assert_float_eq(a.per_sequence[i], b.per_sequence[i], 1e-9);
    cr_expect_float_eq(a.nats, b.nats, 1e-9);
    rig_close(&one);
    rig_close(&other);
}
