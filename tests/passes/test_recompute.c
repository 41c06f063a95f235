/* recompute: what is dropped and computed again, and that no order undoes it. */
#include "tests/passes/fixture.h"

#include "tests/support/random_graph.h"

TestSuite(recompute, .init = open_fixture, .fini = close_fixture);

/* %2 is read before the peak and after it: at the peak, when %5 is made from the 16 KiB that %3 and
 * %4 share, it is 4 KiB that wait. */
#define WAITING                                                                                    \
    "graph p\n"                                                                                    \
    "%1: f32 [1024] = input\n"                                                                     \
    "%2: f32 [1024] = sin %1\n"                                                                    \
    "%3: f32 [4, 1024] = broadcast_to %2 {shape=[4, 1024]}\n"                                      \
    "%4: f32 [4, 1024] = exp %3\n"                                                                 \
    "%5: f32 [1024] = sum %4 {axis=0}\n"                                                           \
    "%6: f32 [1024] = mul %5, %2\n"                                                                \
    "input x %1\n"                                                                                 \
    "output y %6\n"

static struct graph *limited(const char *text, int64_t bytes)
{
    return run_pass(pass_recompute, text, (struct compile_options){.arena_limit = bytes});
}

static char *limited_text(const char *text, int64_t bytes)
{
    return graph_print(arena, limited(text, bytes));
}

/* What an order of the graph needs; the graph stays as it is. */
static int64_t bound_of(struct graph *g, const uint32_t *order, uint32_t count)
{
    struct compile c = {.arena = arena, .diags = diags, .graph = g};
    return storage_make(&c, order, count)->bound;
}

static int64_t bound_in_program_order(const char *text)
{
    struct graph *g = read_graph(text);
    return bound_of(g, g->order, g->order_count);
}

/* --- what is rewritten --------------------------------------------------------------------- */

Test(recompute, computes_again_what_waits)
{
    cr_assert_eq(bound_in_program_order(WAITING), aligned(4096) + aligned(16384) + aligned(4096));
    const char *out = "graph p\n"
                      "%1: f32 [1024] = input\n"
                      "%2: f32 [1024] = sin %1\n"
                      "%3: f32 [4, 1024] = broadcast_to %2 {shape=[4, 1024]}\n"
                      "%4: f32 [4, 1024] = exp %3\n"
                      "%5: f32 [1024] = sum %4 {axis=0}\n"
                      "%6: f32 [1024] = later %1, %5 epoch 1\n"
                      "%7: f32 [1024] = sin %6 epoch 1\n"
                      "%8: f32 [1024] = mul %5, %7\n"
                      "input x %1\n"
                      "output y %8\n";
    cr_assert_str_eq(limited_text(WAITING, 1), out);
    cr_assert_str_eq(diags_render(diags, false), "");
}

/* Within the limit, or without one, nothing changes. */
Test(recompute, leaves_what_fits)
{
    cr_assert_str_eq(limited_text(WAITING, 0), WAITING);
    cr_assert_str_eq(limited_text(WAITING, 2 * aligned(4096) + aligned(16384)), WAITING);
}

/* The clones are no common subexpressions: they read something else. */
Test(recompute, simplify_leaves_clones_apart)
{
    char *out = limited_text(WAITING, 1);
    expect_pass(pass_simplify, out, out);
}

/* Of two values of one size the cheap one goes first; a limit between stops there. The sum keeps
 * them from being made in place. */
Test(recompute, takes_the_cheapest_first)
{
    char *out = limited_text("graph p\n"
                             "state w parameter f32 [64, 64] normal 1\n"
                             "%1: f32 [64, 64] = input\n"
                             "%2: f32 [64, 64] = state w\n"
                             "%3: f32 [64, 64] = linear %1, %2 {out=64, bias=false}\n"
                             "%4: f32 [64, 64] = neg %1\n"
                             "%5: f32 [64, 64] = add %3, %4\n"
                             "%6: f32 [8, 64, 64] = broadcast_to %5 {shape=[8, 64, 64]}\n"
                             "%7: f32 [8, 64, 64] = exp %6\n"
                             "%8: f32 [64, 64] = sum %7 {axis=0}\n"
                             "%9: f32 [64, 64] = mul %8, %3\n"
                             "%10: f32 [64, 64] = mul %9, %4\n"
                             "input x %1\n"
                             "output y %10\n",
                             aligned(131072) + 2 * aligned(16384));
    cr_assert_not_null(strstr(out, "= neg %10 epoch 1"), "%s", out);
    cr_assert_null(strstr(strstr(out, "linear") + 1, "linear"), "%s", out);
}

/* What a value was made from is made again as well where that is not kept, down to what is. */
Test(recompute, follows_a_chain)
{
    char *out = limited_text("graph p\n"
                             "%1: f32 [1024] = input\n"
                             "%2: f32 [1024] = sin %1\n"
                             "%3: f32 [1024] = cos %2\n"
                             "%4: f32 [2, 512] = reshape %3 {shape=[2, 512]}\n"
                             "%5: f32 [4, 2, 512] = broadcast_to %4 {shape=[4, 2, 512]}\n"
                             "%6: f32 [4, 2, 512] = exp %5\n"
                             "%7: f32 [2, 512] = sum %6 {axis=0}\n"
                             "%8: f32 [2, 512] = mul %7, %4\n"
                             "input x %1\n"
                             "output y %8\n",
                             1);
    cr_assert_not_null(strstr(out, "%8: f32 [1024] = later %1, %7 epoch 1\n"
                                   "%9: f32 [1024] = sin %8 epoch 1\n"
                                   "%10: f32 [1024] = cos %9 epoch 1\n"
                                   "%11: f32 [2, 512] = reshape %10 {shape=[2, 512]} epoch 1\n"
                                   "%12: f32 [2, 512] = mul %7, %11\n"),
                       "%s", out);
}

/* A draw keeps its stream: the clone draws the same. */
Test(recompute, draws_again_the_same)
{
    char *out = limited_text("graph p\n"
                             "%1: f32 [1024] = input\n"
                             "%2: f32 [1024] = dropout %1 {p=0.5} stream 0x0000beef\n"
                             "%3: f32 [4, 1024] = broadcast_to %2 {shape=[4, 1024]}\n"
                             "%4: f32 [4, 1024] = exp %3\n"
                             "%5: f32 [1024] = sum %4 {axis=0}\n"
                             "%6: f32 [1024] = mul %5, %2\n"
                             "input x %1\n"
                             "output y %6\n",
                             1);
    cr_assert_not_null(strstr(out, "%7: f32 [1024] = dropout %6 {p=0.5} stream 0x0000beef epoch 1"),
                       "%s", out);
}

/* --- what must stay ------------------------------------------------------------------------- */

static void stays(const char *text)
{
    cr_assert_str_eq(limited_text(text, 1), text);
}

/* An output is kept in any case. */
Test(recompute, keeps_outputs)
{
    stays(WAITING "output z %2\n");
}

/* A row that changes: read again, it would be another. */
Test(recompute, keeps_what_reads_a_row_that_changes)
{
    stays("graph p\n"
          "state w constant f32 [1024] zero\n"
          "%1: f32 [1024] = input\n"
          "%2: f32 [1024] = state w\n"
          "%3: f64 [] = const {value=1}\n"
          "%4: f32 [1024] = sin %2\n"
          "%5: f32 [4, 1024] = broadcast_to %4 {shape=[4, 1024]}\n"
          "%6: f32 [4, 1024] = exp %5\n"
          "%7: f32 [1024] = sum %6 {axis=0}\n"
          "%8: f32 [1024] -> w v1 = accumulate %2, %1, %3\n"
          "%9: f32 [1024] = mul %7, %4\n"
          "input x %1\n"
          "output y %9\n");
}

/* Which rows there are is counted once; a draw without inputs has nothing to be held back by. */
Test(recompute, keeps_counts_and_what_reads_nothing)
{
    stays("graph p\n"
          "axis some 1024 counter %2\n"
          "%1: bool [1024] = input\n"
          "%2: i32 [some] = nonzero %1\n"
          "%3: f64 [1024] = random_uniform {shape=[1024]} stream 0x00000001\n"
          "%4: f64 [8, 1024] = broadcast_to %3 {shape=[8, 1024]}\n"
          "%5: f64 [8, 1024] = exp %4\n"
          "%6: f64 [1024] = sum %5 {axis=0}\n"
          "%7: f64 [1024] = mul %6, %3\n"
          "%8: f64 [some] = gather %7, %2\n"
          "input x %1\n"
          "output y %8\n");
}

/* --- anchors -------------------------------------------------------------------------------- */

/* Twelve layers y = x + tanh(w x), each of whose tanh is read by the backward pass: under a limit
 * they are computed again. */
static const char *deep(int layers)
{
    char *text = arena_strdup(arena, "graph p\n"
                                     "state w parameter f32 [32, 32] normal 1\n"
                                     "%1: f32 [256, 32] = input\n"
                                     "%2: f32 [32, 32] = state w\n");
    uint32_t x = 1, id = 3;
    for (int i = 0; i < layers; i++, id += 3) {
        text = arena_printf(arena,
                            "%s%%%u: f32 [256, 32] = linear %%%u, %%2 {out=32, bias=false}\n"
                            "%%%u: f32 [256, 32] = tanh %%%u\n"
                            "%%%u: f32 [256, 32] = add %%%u, %%%u\n",
                            text, id, x, id + 1, id, id + 2, x, id + 1);
        x = id + 2;
    }
    return arena_printf(arena,
                        "%s%%%u: f32 [] = sum %%%u\ninput x %%1\noutput loss %%%u\n"
                        "minimize %%%u\n",
                        text, id, x, id, id);
}

/* With its gradients, ready for `recompute`. */
static struct graph *deep_gradient(int layers, int64_t limit)
{
    static struct compile_options options;
    options = (struct compile_options){.gradients = true, .arena_limit = limit};
    struct compile c = {
        .arena = arena, .diags = diags, .graph = read_graph(deep(layers)), .options = &options};
    cr_assert(pass_simplify(&c) && pass_grad(&c) && pass_simplify(&c) && pass_recompute(&c));
    cr_assert(graph_verify(c.graph, diags), "%s", diags_render(diags, false));
    return c.graph;
}

static uint32_t clones(const struct graph *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->order_count; i++)
        n += g->nodes[g->order[i]].epoch && !(g->nodes[g->order[i]].op->flags & OP_VIEW);
    return n;
}

static const struct storage *ordered(struct graph *g)
{
    static struct compile_options none;
    struct compile c = {.arena = arena, .diags = diags, .graph = g, .options = &none};
    cr_assert(pass_order(&c));
    return c.storage;
}

/* Each order that is tried needs less with clones than without. */
Test(recompute, lowers_the_peak_of_each_order)
{
    const struct storage *all = ordered(deep_gradient(12, 0));
    struct graph *g = deep_gradient(12, all->bound / 2);
    cr_assert(clones(g) >= 6, "%u", clones(g));
    const struct storage *less = ordered(g);
    cr_assert(less->bound <= all->bound / 2, "%lld of %lld", (long long)less->bound,
              (long long)all->bound);
    for (uint32_t i = 0; i < less->candidate_count; i++)
        cr_assert(less->candidates[i].bound < all->candidates[i].bound, "%s: %lld, then %lld",
                  all->candidates[i].name, (long long)all->candidates[i].bound,
                  (long long)less->candidates[i].bound);
}

static uint32_t place_of(const struct graph *g, const uint32_t *order, uint32_t value)
{
    uint32_t at = 0;
    while (order[at] != g->values[value].node)
        at++;
    return at;
}

/* An order in which each node comes as early as it can: what may be brought forward, is. */
static uint32_t *earliest(struct graph *g)
{
    uint32_t *order = arena_new_array(arena, uint32_t, g->order_count), count = 0;
    bool *made = arena_new_array(arena, bool, g->value_count), *done;
    done = arena_new_array(arena, bool, g->node_count);
    made[0] = true;
    while (count < g->order_count) {
        uint32_t before = count;
        for (uint32_t pick = 0; pick < 2 && count == before; pick++) /* clones first */
            for (uint32_t i = 0; i < g->order_count && count == before; i++) {
                const struct node *n = &g->nodes[g->order[i]];
                bool ready = !done[g->order[i]] && (pick || n->epoch);
                for (uint32_t k = 0; k < n->in_count; k++)
                    ready &= made[n->in[k]];
                if (!ready)
                    continue;
                for (uint32_t k = 0; k < n->out_count; k++)
                    made[n->out[k]] = true;
                done[g->order[i]] = true;
                order[count++] = g->order[i];
            }
        cr_assert(count > before);
    }
    return order;
}

/* Even the order that is keenest on clones cannot make one before what it must follow; and without
 * `later` it would make all of them in the forward pass, and save nothing. */
Test(recompute, no_order_brings_clones_forward)
{
    struct graph *all = deep_gradient(12, 0);
    int64_t whole = bound_of(all, all->order, all->order_count);
    struct graph *g = deep_gradient(12, whole / 2);
    uint32_t *held = earliest(g);
    int64_t with = bound_of(g, held, g->order_count);
    uint32_t anchors = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct node *n = &g->nodes[g->order[i]];
        if (n->op != &op_later)
            continue;
        anchors++;
        cr_assert_lt(place_of(g, held, n->in[1]), place_of(g, held, n->out[0]));
    }
    cr_assert_gt(anchors, 0);
    for (uint32_t i = 0; i < g->order_count; i++) {
        struct node *n = &g->nodes[g->order[i]];
        if (n->op == &op_later)
            n->in[1] = n->in[0];
    }
    int64_t without = bound_of(g, earliest(g), g->order_count);
    cr_assert(with < whole && without >= whole, "%lld held back, %lld free, %lld before",
              (long long)with, (long long)without, (long long)whole);
}

/* A smaller limit never ends in more memory; the cost of it shows in the number of clones. */
Test(recompute, comes_as_close_as_asked)
{
    struct graph *all = deep_gradient(16, 0);
    int64_t whole = bound_of(all, all->order, all->order_count), last = whole;
    uint32_t before = 0;
    for (int eighth = 7; eighth >= 5; eighth--) {
        struct graph *g = deep_gradient(16, whole * eighth / 8);
        int64_t now = ordered(g)->bound;
        cr_assert(now <= whole * eighth / 8, "%d/8: %lld of %lld", eighth, (long long)now,
                  (long long)whole);
        cr_assert(now < last && clones(g) > before);
        last = now;
        before = clones(g);
    }
}
