/* Samplers of a time-free network that ask it only where a mask is revealed, against those that ask
 * for every position at every step: the same tokens after each turn, and as many sequences and
 * positions asked for as the tokens say that masks were revealed. And the samplers of all networks
 * as passes leave them, which ask for less and draw from logits at once, against each node of a
 * program as a step of its own. */
#include "tests/support/rig.h"

#include "runtime/loop.h"

#include <criterion/criterion.h>
#include <string.h>

#define TURNS_MAX 80
#define PLACES_MAX 64
#define BATCH_MAX 5

struct setup {
    const char *loop;
    int64_t batch, length, vocab, steps;
    const char *const *settings; /* beyond sizes */
    bool known, allowed;         /* some positions are known; have sets of their own */
    bool all;                    /* every position is known */
    const double *time;          /* STEPS + 1 times; NULL: those of the loop */
    bool unfused;                /* each node of a program is a step of its own */
};

/* What came out, turn by turn; turn 0 is the start. */
struct history {
    int32_t x[TURNS_MAX][BATCH_MAX * PLACES_MAX];
    double trunk[TURNS_MAX][BATCH_MAX], head[TURNS_MAX][BATCH_MAX], clamped[TURNS_MAX][BATCH_MAX];
    int64_t turns;
    const struct setup *setup;
};

static void note_numbers(struct looper *looper, const char *name, int64_t batch, double *out)
{
    const double *numbers = loop_carry_data(looper, name);
    for (int64_t row = 0; row < batch; row++)
        out[row] = numbers ? numbers[row] : 0;
}

static bool note(void *context, struct looper *looper, int64_t turn, int64_t turns)
{
    struct history *h = context;
    int64_t batch = h->setup->batch;
    cr_assert(turn < TURNS_MAX && turns >= turn);
    memcpy(h->x[turn], loop_carry_data(looper, "x"),
           (size_t)(batch * h->setup->length) * sizeof **h->x);
    note_numbers(looper, "trunk_calls", batch, h->trunk[turn]);
    note_numbers(looper, "head_rows", batch, h->head[turn]);
    note_numbers(looper, "clamped", batch, h->clamped[turn]);
    h->turns = turn;
    return true;
}

/* The optional inputs of a program that the loop, or the run, gives it; BIND ends with NULL. */
static void find_given(const struct rig *rig, const char *program, const char **bind)
{
    static const char *const names[] = {"clamped", "trunk_calls", "head_rows",
                                        "fixed",   "known",       "allowed"};
    const struct yaml *in = yaml_get(section_find(&rig->model->programs, program)->body, "in");
    for (int i = 0; i < 6; i++)
        if (yaml_get(in, names[i]))
            *bind++ = names[i];
    *bind = NULL;
}

/* Programs of the loop, each once. */
static uint32_t load_programs(struct rig *rig, const struct loop *loop, const struct setup *s,
                              struct loop_program *out)
{
    const struct compile_options options = {.unfused = s->unfused};
    struct plan *plans[16];
    uint32_t count = 0;
    for (uint32_t i = 0; i < loop->body_count + loop->carry_count; i++) {
        const char *name = i < loop->body_count ? loop->body[i].program
                                                : loop->carry[i - loop->body_count].program;
        bool again = !name;
        for (uint32_t k = 0; !again && k < count; k++)
            again = strcmp(out[k].name, name) == 0;
        if (again)
            continue;
        const char *bind[7];
        find_given(rig, name, bind);
        struct rig_program p = {name, s->batch, bind, NULL};
        plans[count] = rig_compile(rig, &p, &options);
        out[count++].name = name;
    }
    rig_state(rig, &rig->model->states, 7);
    rig_fill(rig, 0.5);
    for (uint32_t i = 0; i < count; i++)
        out[i].loaded = rig_load(rig, plans[i]);
    return count;
}

/* Known tokens, and sets of two tokens and the mask, at positions that differ from row to row. */
static void fill_given(const struct setup *s, uint8_t *fixed, int32_t *known, uint8_t *allowed)
{
    int64_t states = s->vocab + 1;
    for (int64_t i = 0; i < s->batch * s->length; i++) {
        fixed[i] = s->all || (s->known && i % 5 < 2);
        known[i] = (int32_t)(i % s->vocab);
        for (int64_t y = 0; y < states; y++)
            allowed[i * states + y] =
                !s->allowed || i % 3 || y == s->vocab || (y + i) % s->vocab < 2;
    }
}

static void sample(const char *model, const struct setup *s, struct history *out)
{
    static uint8_t fixed[BATCH_MAX * PLACES_MAX], allowed[BATCH_MAX * PLACES_MAX * 16];
    static int32_t known[BATCH_MAX * PLACES_MAX];
    static const char *const names[] = {"fixed", "allowed", "known"};
    struct loop_field fields[] = {{"fixed", fixed}, {"allowed", allowed}, {"known", known}};
    const char *settings[16] = {"dim=8", "heads=2", "layers=1"};
    struct loop_program programs[16];
    struct rig rig;
    struct arena *arena = arena_new();
    settings[3] = arena_printf(arena, "vocab=%lld", (long long)s->vocab);
    settings[4] = arena_printf(arena, "length=%lld", (long long)s->length);
    for (int i = 0; s->settings && s->settings[i]; i++)
        settings[5 + i] = s->settings[i];
    rig_model(&rig, model, settings);
    struct loop *loop = loop_read(rig.model, s->loop);
    cr_assert_not_null(loop, "%s", diags_render(rig.diags, false));
    uint32_t count = load_programs(&rig, loop, s, programs);
    struct looper *l = loop_open(rig.diags, rig.arena, loop, programs, count, names, 3, s->batch);
    cr_assert_not_null(l, "%s", diags_render(rig.diags, false));
    fill_given(s, fixed, known, allowed);
    struct loop_overlay overlay = {fixed,     known,        allowed,
                                   s->length, s->vocab + 1, (int32_t)s->vocab};
    struct loop_request q = {.count = s->batch,
                             .key = random_key(11, "sample"),
                             .steps = s->steps,
                             .time = s->time,
                             .overlay = &overlay,
                             .fields = fields,
                             .watch = note,
                             .context = out};
    out->setup = s;
    cr_assert(loop_run(l, &q));
    loop_close(l);
    rig_close(&rig);
    arena_free(arena);
}

/* How many masks ROW has after turn TURN, and how many of them the turn after it reveals. */
static int masks(const struct history *h, int64_t turn, int64_t row)
{
    int count = 0;
    for (int64_t p = row * h->setup->length; p < (row + 1) * h->setup->length; p++)
        count += h->x[turn][p] == h->setup->vocab;
    return count;
}
static int revealed(const struct history *h, int64_t turn, int64_t row)
{
    int count = 0;
    for (int64_t p = row * h->setup->length; p < (row + 1) * h->setup->length; p++)
        count += h->x[turn][p] == h->setup->vocab && h->x[turn + 1][p] != h->setup->vocab;
    return count;
}

static bool is_by_score(const struct setup *s)
{
    return strcmp(s->loop, "tweedie") == 0 || strcmp(s->loop, "euler") == 0 ||
           strcmp(s->loop, "euler-linear") == 0;
}

/* The last turn takes two calls of programs, so that one look at its tokens cannot tell a sequence
 * that was asked for once from one that was asked for twice. Scores that are cut to allowed states
 * make a step less likely than what decides who is asked: more are asked then. An order needs the
 * law at all masks of a sequence of which it reveals any. */
static void check_counts(const struct history *h)
{
    bool remasks = strcmp(h->setup->loop, "remask") == 0;
    bool orders = strncmp(h->setup->loop, "confidence", 10) == 0;
    if (h->setup->allowed && is_by_score(h->setup))
        return;
    for (int64_t row = 0; row < h->setup->batch; row++) {
        double trunk = 0, head = 0;
        for (int64_t turn = 1; turn <= h->turns; turn++) {
            int now = revealed(h, turn - 1, row);
            trunk += now > 0;
            head += orders && now ? masks(h, turn - 1, row) : now;
            if (turn < h->turns) {
                cr_expect_eq(h->trunk[turn][row], trunk, "row %d, turn %d", (int)row, (int)turn);
                cr_expect_eq(h->head[turn][row], head, "row %d, turn %d", (int)row, (int)turn);
            }
        }
        double more = h->trunk[h->turns][row] - trunk;
        cr_expect(more == 0 || more == 1, "row %d: %g against %g", (int)row,
                  h->trunk[h->turns][row], trunk);
        cr_expect(h->head[h->turns][row] == head || remasks, "row %d", (int)row);
    }
}

/* A predictor and a corrector are two programs a turn, and what one reveals the other may mask
 * again: tokens say the least that was asked for. */
static void check_least(const struct history *h)
{
    for (int64_t turn = 1; turn <= h->turns; turn++)
        for (int64_t row = 0; row < h->setup->batch; row++) {
            double calls = h->trunk[turn][row] - h->trunk[turn - 1][row];
            double positions = h->head[turn][row] - h->head[turn - 1][row];
            int now = revealed(h, turn - 1, row);
            cr_expect(calls >= (now > 0) && calls <= (turn < h->turns ? 2 : 3));
            cr_expect(positions >= now && positions >= calls);
        }
}

static double total(const struct history *h, const double (*counts)[BATCH_MAX])
{
    double sum = 0;
    for (int64_t row = 0; row < h->setup->batch; row++)
        sum += counts[h->turns][row];
    return sum;
}

/* The same tokens, and counts of clamped weights, after each turn. */
static void compare_histories(const struct setup *s, const struct history *all,
                              const struct history *some)
{
    cr_assert_eq(all->turns, some->turns);
    for (int64_t turn = 0; turn <= all->turns; turn++) {
        cr_expect_arr_eq(all->x[turn], some->x[turn],
                         (size_t)(s->batch * s->length) * sizeof(int32_t), "%s, turn %d", s->loop,
                         (int)turn);
        cr_expect_arr_eq(all->clamped[turn], some->clamped[turn], (size_t)s->batch * sizeof(double),
                         "%s, turn %d", s->loop, (int)turn);
    }
}

static void compare_loops(const struct setup *s, struct history *some)
{
    static struct history all;
    sample("tests/support/radd-plain.yaml", s, &all);
    sample("models/radd.yaml", s, some);
    compare_histories(s, &all, some);
}

static void compare(const struct setup *s, struct history *some)
{
    compare_loops(s, some);
    check_counts(some);
}

static struct history some;

Test(time_free, steps_give_the_tokens_of_the_plain_loop)
{
    struct setup s = {.loop = "ancestral", .batch = 5, .length = 11, .vocab = 7, .steps = 9};
    compare(&s, &some);
    cr_expect_eq(total(&some, some.head), 55, "each position once");
}

Test(time_free, tweedie_gives_the_tokens_of_the_plain_loop)
{
    struct setup s = {.loop = "tweedie", .batch = 5, .length = 11, .vocab = 7, .steps = 40};
    compare(&s, &some);
    cr_expect_eq(total(&some, some.head), 55, "each position once");
    s.known = s.allowed = true;
    compare(&s, &some);
}

Test(time_free, steps_of_frozen_rates_give_the_tokens_of_the_plain_loop)
{
    static const char *const loops[] = {"euler", "euler-linear"};
    for (int i = 0; i < 2; i++) {
        struct setup s = {.loop = loops[i], .batch = 5, .length = 11, .vocab = 7, .steps = 40};
        compare(&s, &some);
        cr_expect_eq(total(&some, some.head), 55, "each position once");
        s.steps = 2;
        compare(&s, &some);
        cr_expect_eq(total(&some, some.head), 55, "each position once");
        s.steps = 13;
        s.known = s.allowed = true;
        compare(&s, &some);
    }
}

/* From 1e-7 to next to nothing in one step all masks jump: with half of them the rounding of their
 * scores to single precision takes the weight of staying below zero. */
Test(time_free, weights_below_zero_are_counted_alike)
{
    static const double time[] = {1e-7, 1e-15};
    struct setup s = {.loop = "euler-linear", .batch = 5, .length = 11, .vocab = 7, .steps = 1};
    s.time = time;
    compare(&s, &some);
    double clamped = total(&some, some.clamped);
    cr_expect(clamped > 0 && clamped < 55, "%g", clamped);
    cr_expect_eq(total(&some, some.trunk), 5);
}

/* The law of a token adds up to 1 as the network gives it. */
Test(time_free, scores_that_are_not_projected_are_asked_for_alike)
{
    static const char *const raw[] = {"process.project=off", "corrector_step=0", NULL};
    static const char *const loops[] = {"tweedie", "euler", "euler-linear", "predictor-corrector"};
    for (int i = 0; i < 4; i++) {
        struct setup s = {.loop = loops[i], .batch = 5, .length = 11, .vocab = 7, .steps = 13};
        s.settings = raw;
        compare(&s, &some);
        cr_expect_eq(total(&some, some.head), 55, "each position once");
    }
}

Test(time_free, correctors_ask_for_masks_that_they_reveal)
{
    static const char *const none[] = {"corrector_step=0", NULL};
    static const char *const long_step[] = {"corrector_step=2", NULL};
    struct setup s = {.loop = "predictor-corrector", .batch = 5, .length = 11, .vocab = 7};
    s.steps = 29;
    compare_loops(&s, &some);
    check_least(&some);
    cr_expect(total(&some, some.head) > 55, "some are revealed twice");
    cr_expect(total(&some, some.trunk) < 5 * (2 * 29 + 1));
    s.known = s.allowed = true;
    s.settings = long_step;
    compare_loops(&s, &some);
    check_least(&some);
    s.settings = none;
    s.known = s.allowed = false;
    compare(&s, &some);
    cr_expect_eq(total(&some, some.head), 55, "the predictor alone");
}

Test(time_free, orders_ask_for_sequences_of_which_they_reveal_a_mask)
{
    static const char *const loops[] = {"confidence-position", "confidence-keep-best"};
    static const char *const by[][2] = {{"confidence_by=0", NULL},
                                        {"confidence_by=1", NULL},
                                        {"confidence_by=2", NULL},
                                        {"confidence_by=3", NULL}};
    static const char *const cut[] = {"temperature=0.7", "top_k=3", "top_p=0.9", NULL};
    for (int i = 0; i < 8; i++) {
        struct setup s = {.loop = loops[i / 4], .batch = 5, .length = 11, .vocab = 7, .steps = 9};
        s.settings = by[i % 4];
        compare(&s, &some);
        s.steps = 31;
        compare(&s, &some);
        cr_expect(total(&some, some.trunk) <= 55, "at most one call a position");
        s.known = s.allowed = true;
        compare(&s, &some);
    }
    for (int i = 0; i < 2; i++) {
        struct setup s = {loops[i], 4, 13, 6, 17, cut, true, true, false, NULL, false};
        compare(&s, &some);
    }
}

Test(time_free, many_steps_ask_for_few_sequences)
{
    static const char *const loops[] = {
        "ancestral",           "tweedie", "euler", "euler-linear", "confidence-position",
        "confidence-keep-best"};
    for (int i = 0; i < 6; i++) {
        struct setup s = {.loop = loops[i], .batch = 3, .length = 6, .vocab = 5, .steps = 70};
        compare(&s, &some);
        cr_expect(total(&some, some.trunk) <= 18, "%s: at most one call a position", loops[i]);
    }
}

Test(time_free, first_hitting_asks_for_one_position_a_turn)
{
    struct setup s = {.loop = "exact", .batch = 5, .length = 7, .vocab = 5};
    compare(&s, &some);
    cr_expect_eq(total(&some, some.trunk), 35);
    cr_expect_eq(total(&some, some.head), 35);
}

Test(time_free, remasking_asks_for_masks_that_are_revealed)
{
    static const char *const share[] = {"remask_share=0.2", NULL};
    struct setup s = {"remask", 5, 11, 7, 20, share, true, true, false, NULL, false};
    compare(&s, &some);
    cr_expect(total(&some, some.head) > 55, "some are revealed twice");
}

Test(time_free, known_positions_sets_and_cut_laws)
{
    static const char *const cut[] = {"temperature=0.7", "top_k=3", "top_p=0.9", NULL};
    struct setup s = {"ancestral", 4, 13, 6, 12, cut, true, true, false, NULL, false};
    compare(&s, &some);
    s.loop = "exact";
    s.steps = 0;
    compare(&s, &some);
    for (int64_t p = 0; p < 4 * 13; p++)
        cr_expect(p % 5 >= 2 || some.x[some.turns][p] == p % 6, "position %d", (int)p);
}

static const char *const all_loops[] = {"ancestral",
                                        "exact",
                                        "tweedie",
                                        "remask",
                                        "euler",
                                        "euler-linear",
                                        "confidence-position",
                                        "confidence-keep-best",
                                        "predictor-corrector",
                                        NULL};

static int64_t steps_of(const char *loop, int64_t steps)
{
    return strcmp(loop, "exact") == 0 ? 0 : steps;
}

Test(time_free, one_sequence_one_position_two_tokens)
{
    static const char *const no_more[] = {"corrector_step=0", "remask_share=0", NULL};
    for (int i = 0; all_loops[i]; i++) {
        struct setup s = {.loop = all_loops[i], .batch = 1, .length = 1, .vocab = 2};
        s.steps = steps_of(s.loop, 8);
        s.settings = no_more;
        compare(&s, &some);
        cr_expect_eq(total(&some, some.trunk), 1, "%s", s.loop);
        s.settings = NULL;
        compare_loops(&s, &some);
    }
}

Test(time_free, where_all_is_known_nothing_is_asked)
{
    for (int i = 0; all_loops[i]; i++) {
        struct setup s = {.loop = all_loops[i], .batch = 3, .length = 5, .vocab = 4, .all = true};
        s.steps = steps_of(s.loop, 6);
        compare(&s, &some);
        cr_expect_eq(total(&some, some.trunk), 0, "%s", s.loop);
        cr_expect_eq(total(&some, some.head), 0, "%s", s.loop);
    }
}

/* --- fused and not ------------------------------------------------------------------------- */

static void compare_fused(const char *model, struct setup s)
{
    static struct history apart;
    struct setup unfused = s;
    unfused.unfused = true;
    sample(model, &unfused, &apart);
    sample(model, &s, &some);
    compare_histories(&s, &apart, &some);
}

Test(time_free, fused_samplers_give_the_tokens_of_their_nodes)
{
    static const char *const models[] = {"models/sedd-absorb.yaml", "models/mdlm.yaml",
                                         "models/radd.yaml"};
    static const char *const raw[] = {"process.project=off", NULL};
    for (int m = 0; m < 3; m++)
        for (int i = 0; all_loops[i]; i++) {
            struct setup s = {.loop = all_loops[i], .batch = 5, .length = 11, .vocab = 7};
            s.steps = steps_of(s.loop, 12);
            compare_fused(models[m], s);
            s.settings = raw;
            compare_fused(models[m], s);
            s.settings = NULL;
            s.known = s.allowed = true;
            compare_fused(models[m], s);
        }
}
