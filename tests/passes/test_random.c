/* Random graphs through the whole pipeline: whatever the graph, the plan that comes out is proved
 * by the checker, needs at least its lower bound, and computes what the graph says. */
#include "ops/kernels/attrs.h"
#include "tests/support/random_graph.h"
#include "tests/support/rig.h"

#include "graph/base/sanitize.h"
#include "graph/text.h"
#include "graph/verify.h"
#include "ops/ops.h"
#include "passes/storage.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MADE 3000
#ifdef SANITIZED
#define GRAPHS (MADE / 3) /* they watch memory, and take their time */
#else
#define GRAPHS MADE
#endif
#define RUN_EVERY 10
#define SLICES 4 /* tests run beside each other */

/* --- compiling ---------------------------------------------------------------------------- */

/* Updates that join the program: clipped, and each on its own. */
static const struct update_options joined[2] = {{0.9, 0.99, 1e-3, 0.1, 1, 1, 0.9},
                                                {0.9, 0.99, 1e-3, 0, 0, 0.5, 0}};

/* Of those that minimise, one in three is updated where nothing else writes its rows. */
static const struct update_options *update_for(const struct random_graph *r, uint32_t seed)
{
    const struct state_table *rows = r->graph->states;
    bool fits = r->gradients && !r->updates && seed / 2 % 3 == 0;
    for (uint32_t i = 0; i < rows->count; i++)
        fits &= rows->rows[i].class != STATE_PARAMETER || rows->rows[i].type.dtype == DT_F32;
    return fits ? &joined[seed % 2] : NULL;
}

static struct compile_options options_for(const struct random_graph *r, uint32_t seed,
                                          int64_t arena_limit, bool unfused)
{
    const struct update_options *update = update_for(r, seed);
    return (struct compile_options){.gradients = r->gradients,
                                    .update = update,
                                    .grad_outputs = r->gradients && !update,
                                    .accumulate = r->gradients && !update && seed % 2,
                                    .arena_limit = arena_limit,
                                    .unfused = unfused,
                                    .verify = true};
}

static void check_certificate(const struct graph *g, const struct plan *plan)
{
    const struct certificate *c = &plan->certificate;
    cr_assert(c->checked, "%s", g->name);
    cr_assert(c->peak_bytes >= c->bound_bytes, "%s: peak %lld below the bound %lld", g->name,
              (long long)c->peak_bytes, (long long)c->bound_bytes);
    cr_assert_eq(c->peak_bytes, plan->arena_bytes);
    for (uint32_t i = 0; i < c->candidate_count; i++)
        cr_assert(c->candidates[i].bound >= c->bound_bytes, "%s: not the best order", g->name);
}

static bool computes_twice(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->step_count; i++)
        if (plan->steps[i].epoch)
            return true;
    return false;
}

/* With LITTLE memory, so little that it is out of reach: all that can be computed twice is. */
static void check_slice(uint32_t slice, bool little)
{
    int64_t reached = 0, total = 0, twice = 0;
    for (uint32_t seed = slice; seed < GRAPHS; seed += SLICES) {
        struct arena *arena = arena_new();
        struct diags *diags = diags_new(arena);
        struct state_table states = {0};
        struct random_graph r = random_graph_make(arena, diags, &states, seed);
        cr_assert(graph_verify(r.graph, diags), "%s", diags_render(diags, false));
        struct compile_options o = options_for(&r, seed, little, seed % 3 == 0);
        char *text = graph_print(arena, r.graph);
        struct plan *plan = compile_graph(r.graph, &o);
        cr_assert_not_null(plan, "%s%s", text, diags_render(diags, false));
        check_certificate(r.graph, plan);
        reached += plan->certificate.peak_bytes == plan->certificate.bound_bytes;
        total++;
        twice += computes_twice(plan);
        arena_free(arena);
    }
    /* Few of these graphs hold anything long enough. */
    cr_assert(little ? twice * 40 >= total : !twice, "%lld of %lld plans compute twice",
              (long long)twice, (long long)total);
    /* Placement is a search: it misses the bound in about one of a hundred random graphs. */
    cr_assert(reached * 100 >= total * 97, "%lld of %lld plans reach the bound", (long long)reached,
              (long long)total);
}

Test(random_graphs, compile_0)
{
    check_slice(0, false);
    check_slice(0, true);
}

Test(random_graphs, compile_1)
{
    check_slice(1, false);
    check_slice(1, true);
}

Test(random_graphs, compile_2)
{
    check_slice(2, false);
    check_slice(2, true);
}

Test(random_graphs, compile_3)
{
    check_slice(3, false);
    check_slice(3, true);
}

/* --- any order ---------------------------------------------------------------------------- */

/* Follows views to the row that a value lies in. */
static uint32_t row_of(const struct graph *g, uint32_t v, uint32_t *version)
{
    while (g->nodes[g->values[v].node].op->flags & OP_VIEW)
        v = g->nodes[g->values[v].node].in[0];
    *version = g->values[v].version;
    return g->values[v].state;
}

/* Whether node B must come after node A: it reads what A makes, or has rows that A counts, or
 * overwrites a version of a row that A reads. */
static bool must_follow(const struct graph *g, uint32_t a, uint32_t b)
{
    const struct node *first = &g->nodes[a], *then = &g->nodes[b];
    for (uint32_t i = 0; i < then->in_count; i++)
        if (then->in[i] && g->values[then->in[i]].node == a)
            return true;
    for (uint32_t k = 0; k < then->out_count; k++) {
        const struct value *v = &g->values[then->out[k]];
        uint32_t axis = v->type.rank ? v->type.dim[0].axis : 0;
        uint32_t counter = axis ? g->axes[axis].counter : 0;
        if (a != b && counter && g->values[counter].node == a)
            return true;
        if (!v->state || (then->op->flags & OP_LEAF))
            continue;
        for (uint32_t i = 0; i < first->in_count; i++) {
            uint32_t version;
            if (first->in[i] && row_of(g, first->in[i], &version) == v->state &&
                version < v->version)
                return true;
        }
    }
    return false;
}

/* A random order of the nodes that respects all of that. */
static uint32_t *random_order(const struct graph *g, uint32_t seed)
{
    uint32_t n = g->order_count, *out = arena_new_array(g->arena, uint32_t, n + 1), count = 0;
    uint32_t *waiting = arena_new_array(g->arena, uint32_t, n + 1);
    bool *done = arena_new_array(g->arena, bool, n + 1);
    bool *edge = arena_new_array(g->arena, bool, (size_t)n *n + 1);
    uint64_t state = seed;
    for (uint32_t a = 0; a < n; a++)
        for (uint32_t b = 0; b < n; b++)
            if (a != b && must_follow(g, g->order[a], g->order[b])) {
                edge[(size_t)a * n + b] = true;
                waiting[b]++;
            }
    while (count < n) {
        uint32_t at = random_below(&state, n);
        while (done[at] || waiting[at])
            at = (at + 1) % n;
        done[at] = true;
        out[count++] = g->order[at];
        for (uint32_t b = 0; b < n; b++)
            waiting[b] -= edge[(size_t)at * n + b];
    }
    return out;
}

/* The passes from `order` on, for an order that the pass would not have chosen. */
static struct plan *compile_in_order(struct graph *g, const uint32_t *order,
                                     struct compile_options *o)
{
    struct compile c = {g->arena, g->diags, g, o, NULL, NULL};
    c.storage = storage_make(&c, order, g->order_count);
    g->order = c.storage->order;
    cr_assert(graph_verify(g, g->diags), "%s", diags_render(g->diags, false));
    cr_assert(pass_place(&c) && pass_lower(&c));
    cr_assert(pass_check(&c), "%s%s%s", graph_print(g->arena, g), plan_print(g->arena, c.plan),
              diags_render(g->diags, false));
    return c.plan;
}

/* --- running ------------------------------------------------------------------------------ */

struct trial {
    struct rig rig;
    struct state_table states;
    struct random_graph reference, compiled;
    struct plan *plan;
    struct rig_value values[64];
    uint32_t value_count;
    double keep; /* of gradients: whether they add to what the rows hold */
};

static void trial_open(struct trial *t, uint32_t seed, bool shuffled, bool little, bool unfused)
{
    *t = (struct trial){0};
    rig_open(&t->rig);
    struct arena *a = t->rig.arena;
    t->reference = random_graph_make(a, t->rig.diags, &t->states, seed);
    t->compiled = random_graph_make(a, t->rig.diags, &t->states, seed);
    struct compile_options o = options_for(&t->compiled, seed, little, unfused);
    t->compiled.single |= o.update != NULL; /* gradients of parameters are */
    struct compile grad = {a, t->rig.diags, t->reference.graph, &o, NULL, NULL};
    cr_assert(pass_grad(&grad) && pass_update(&grad));
    t->plan = compile_graph(t->compiled.graph, &o);
    cr_assert_not_null(t->plan, "%s", diags_render(t->rig.diags, false));
    if (shuffled)
        t->plan = compile_in_order(t->compiled.graph, random_order(t->compiled.graph, seed), &o);
    rig_state(&t->rig, &t->states, 1);
    for (uint32_t i = 0; i < t->plan->input_count; i++) {
        const struct plan_binding *in = &t->plan->inputs[i];
        const struct type *type = &t->plan->tensors[in->tensor].type;
        void *data = arena_alloc(a, (size_t)type_bytes(type));
        random_graph_fill(type, seed + i, data);
        if (strcmp(in->name, "accumulate.keep") == 0)
            *(double *)data = t->keep = seed % 4 == 1;
        if (strcmp(in->name, "lr") == 0)
            *(double *)data = 1e-2;
        if (strcmp(in->name, "step") == 0)
            *(double *)data = 3;
        t->values[t->value_count++] = (struct rig_value){in->name, data};
    }
}

static void fill_rows(struct trial *t, uint32_t seed)
{
    for (uint32_t r = 0; r < t->rig.state.count; r++) {
        random_graph_fill(&t->states.rows[r].type, seed + 31 * r, t->rig.state.row[r]);
        float *v = (float *)(void *)t->rig.state.row[r];
        bool squares = strncmp(t->states.rows[r].name, "adam_v/", 7) == 0;
        for (int64_t i = 0; squares && i < type_count(&t->states.rows[r].type); i++)
            v[i] = fabsf(v[i]);
    }
}

/* Values are of order one. In single precision some tens of ops, each off by a few 2^-24 of its
 * largest operand, and sums of up to a few thousand terms; gradients pass through twice as many.
 * Where all is double, the same with 2^-53. Tokens are the same: a draw so close to a border that
 * it could fall on either side is not among these graphs. */
static void compare(const struct trial *t, const char *name, const struct tensor *ours,
                    const struct ref_tensor *theirs)
{
    bool single = t->compiled.single || ours->dtype == DT_F32;
    double most = 1, unit = single ? 1e-4 : 1e-11;
    for (int64_t i = 0; i < tensor_size(ours); i++)
        most = fmax(most, fabs(theirs->data[i]));
    for (int64_t i = 0; i < tensor_size(ours); i++) {
        double x = rig_element(ours, i), y = theirs->data[i];
        double allowed = ours->dtype == DT_BOOL ? 0 : unit * most;
        /* a mean of no rows is not a number for either */
        cr_assert(fabs(x - y) <= allowed || (isnan(x) && isnan(y)),
                  "%s, %s[%lld]: %.9g by kernels, %.9g in double\n%s", t->compiled.graph->name,
                  name, (long long)i, x, y, graph_print(t->rig.arena, t->compiled.graph));
    }
}

/* A parameter that nothing depends on is gone before gradients are made; its gradient is zero. */
static bool is_unused_gradient(const struct trial *t, const char *name,
                               const struct ref_tensor *theirs)
{
    if (strncmp(name, "grad/", 5) != 0 || plan_output(t->plan, name))
        return false;
    int64_t n = 1;
    for (uint32_t k = 0; k < theirs->rank; k++)
        n *= theirs->dim[k];
    for (int64_t i = 0; t->keep == 0 && i < n; i++)
        cr_assert_eq(theirs->data[i], 0, "%s: no %s", t->compiled.graph->name, name);
    return true;
}

/* Outputs, and the newest version of each row that the plan writes. */
static void compare_all(struct trial *t, const struct loaded *loaded,
                        const struct ref_tensor *theirs)
{
    const struct graph *g = t->reference.graph;
    for (uint32_t i = 0; i < g->output_count; i++) {
        const struct binding *out = &g->outputs[i];
        if (is_unused_gradient(t, out->name, &theirs[out->value]))
            continue;
        struct tensor ours = rig_output(loaded, out->name);
        compare(t, out->name, &ours, &theirs[out->value]);
    }
    for (uint32_t r = 0; r < t->states.count; r++) {
        uint32_t newest = 0;
        for (uint32_t v = 1; v < g->value_count; v++)
            if (g->values[v].state == r + 1 && theirs[v].data &&
                (!newest || g->values[v].version > g->values[newest].version))
                newest = v;
        struct tensor row = rig_row_tensor(&t->rig, t->states.rows[r].name);
        if (newest && r < t->plan->row_count && t->plan->writes[r])
            compare(t, t->states.rows[r].name, &row, &theirs[newest]);
    }
}

static void run_trial(struct trial *t, uint32_t seed)
{
    struct loaded *loaded = rig_load(&t->rig, t->plan);
    int64_t most = t->plan->axis_count > 1 ? t->plan->axes[1].size : 1;
    bool cut = graph_axis_find(t->compiled.graph, "batch") && most > 1;
    for (int64_t batch = cut ? 1 + seed % (most - 1) : 0;; batch = 0) {
        fill_rows(t, seed);
        struct ref_tensor *theirs =
            rig_reference(&t->rig, t->reference.graph, t->values, t->value_count, batch, NULL);
        rig_run(loaded, t->values, t->value_count, batch, NULL);
        compare_all(t, loaded, theirs);
        if (batch == 0)
            break;
    }
    rig_quiet(&t->rig);
}

/* Fused, and each node a step of its own. */
static void run_graph(uint32_t seed, bool shuffled)
{
    for (int unfused = 0; unfused < 2; unfused++) {
        struct trial t;
        trial_open(&t, seed, shuffled, false, unfused);
        run_trial(&t, seed);
        rig_close(&t.rig);
    }
}

Test(random_graphs, plans_compute_what_the_references_do)
{
    for (uint32_t seed = 0; seed < GRAPHS; seed += RUN_EVERY)
        run_graph(seed, false);
}

Test(random_graphs, any_order_computes_the_same)
{
    for (uint32_t seed = 5; seed < GRAPHS; seed += RUN_EVERY)
        run_graph(seed, true);
}

/* All those in which something is computed twice, half of them in an order that the pass would not
 * have chosen. */
Test(random_graphs, what_is_computed_twice_is_the_same)
{
    uint32_t twice = 0;
    for (uint32_t seed = 0; seed < GRAPHS; seed++) {
        struct trial t;
        trial_open(&t, seed, twice % 2, true, seed % 3 == 0);
        if (computes_twice(t.plan)) {
            run_trial(&t, seed);
            twice++;
        }
        rig_close(&t.rig);
    }
    cr_assert(twice >= 75, "%u graphs", twice);
}

/* --- patterns ----------------------------------------------------------------------------- */

/* What a pattern of nodes leaves in a plan: a step of OP with at least so many inputs, of one value
 * of an attribute (NULL: any). */
struct trace {
    const char *op, *attr;
    int64_t value;
    uint32_t inputs;
};

static bool is_trace(const struct trace *t, const struct plan_step *step)
{
    uint32_t k;
    const struct op *op = op_find(&ops_table, step->op);
    if (strcmp(step->op, t->op) != 0 || step->in_count < t->inputs)
        return false;
    for (k = 0; t->attr && k < op_attr_count(op); k++)
        if (strcmp(op->attrs[k].name, t->attr) == 0)
            break;
    if (!t->attr)
        return true;
    cr_assert(k < op_attr_count(op), "%s has no %s", t->op, t->attr);
    const union attr *attr = &step->attr[k];
    return op->attrs[k].kind == ATTR_BOOL   ? attr->flag == (t->value != 0)
           : op->attrs[k].kind == ATTR_REAL ? attr->real == (double)t->value
                                            : attr->integer == t->value;
}

/* Every pattern of fuse.c is met by graphs that are run, forward and, where it has gradients, in
 * them; of these also in plans that compute something twice. */
static const struct trace traces[] = {
    {"attention_packed", "rope", 0, 0},
    {"attention_packed", "rope", 10, 0},
    {"attention_packed", "causal", false, 0},
    {"attention_packed", "causal", true, 0},
    {"attention_packed_backward", NULL, 0, 0},
    {"norm_modulate", NULL, 0, 0},
    {"norm_modulate_backward", NULL, 0, 0},
    {"norm_modulate_backward", NULL, 0, 7}, /* with the residual path */
    {"head_entropy", NULL, 0, 0},
    {"head_entropy_backward", NULL, 0, 0},
    {"head_loss", "form", FORM_SCORE, 0},
    {"head_loss", "form", FORM_LAW, 0},
    {"head_loss", "form", FORM_LAW_SCORE, 0},
    {"head_loss", "form", FORM_CAVITY, 0},
    {"head_loss_backward", "form", FORM_SCORE, 0},
    {"head_loss_backward", "form", FORM_LAW, 0},
    {"head_loss_backward", "form", FORM_LAW_SCORE, 0},
    {"head_loss_backward", "form", FORM_CAVITY, 0},
    {"head_draw", "form", DRAW_BY_SCORE, 0},
    {"head_draw", "form", DRAW_BY_LAW, 0},
    {"head_draw", "form", DRAW_BY_CAVITY, 0},
    {"head_draw", "step", DRAW_TWEEDIE, 0},
    {"head_draw", "step", DRAW_EULER, 0},
    {"head_draw", "step", DRAW_EULER_LINEAR, 0},
    {"head_draw", "step", DRAW_DENOISE, 0},
    {"head_draw", "step", DRAW_ANCESTRAL, 0},
    {"head_draw", "step", DRAW_REMASK, 0},
    {"head_draw", "step", DRAW_CORRECT, 0},
    {"head_draw", "step", DRAW_BASE, 0},
    {"head_draw", "step", DRAW_REVEAL, 0},
    {"head_bound", "form", DRAW_BY_SCORE, 0},
    {"head_bound", "form", DRAW_BY_LAW, 0},
    {"head_bound", "form", DRAW_BY_CAVITY, 0},
    {"head_bound", "term", TERM_ENTROPY, 0},
    {"head_bound", "term", TERM_BASE, 0},
    {"head_bound", "term", TERM_RECONSTRUCTION, 0},
    {"linear_then", "then", THEN_GELU, 0},
    {"linear_then", "then", THEN_GELU_BACKWARD, 0},
    {"linear_then", "then", THEN_ADD, 0},
    {"linear_then", "then", THEN_GATED_ADD, 0},
    {"linear_then", "keep", true, 0},
};
#define TRACES (sizeof traces / sizeof *traces)

/* Adds the steps of the plan of SEED; AGAIN: of those, what is computed twice. */
static void count_traces(uint32_t seed, bool little, uint32_t *count, uint32_t *again)
{
    struct arena *arena = arena_new();
    struct state_table states = {0};
    struct random_graph r = random_graph_make(arena, diags_new(arena), &states, seed);
    struct compile_options o = options_for(&r, seed, little, false);
    const struct plan *plan = compile_graph(r.graph, &o);
    cr_assert_not_null(plan);
    for (uint32_t i = 0; i < plan->step_count && (!little || computes_twice(plan)); i++)
        for (size_t k = 0; k < TRACES; k++)
            if (is_trace(&traces[k], &plan->steps[i])) {
                count[k]++;
                again[k] += plan->steps[i].epoch != 0;
            }
    arena_free(arena);
}

Test(random_graphs, meet_every_pattern)
{
    uint32_t count[TRACES] = {0}, again[TRACES] = {0};
    for (uint32_t seed = 0; seed < MADE; seed += RUN_EVERY / 2) /* those that are run */
        count_traces(seed, false, count, again);
    for (size_t k = 0; k < TRACES; k++) {
        cr_log_info("%4u %s %s %lld", count[k], traces[k].op, traces[k].attr ? traces[k].attr : "",
                    (long long)traces[k].value);
        cr_expect(count[k] >= 3, "%u of %s, %s %lld", count[k], traces[k].op,
                  traces[k].attr ? traces[k].attr : "-", (long long)traces[k].value);
        cr_assert_eq(again[k], 0);
    }
}

/* Some ops that patterns leave are computed twice themselves. */
Test(random_graphs, compute_patterns_twice)
{
    uint32_t count[TRACES] = {0}, again[TRACES] = {0}, attention = 0, norms = 0;
    for (uint32_t seed = 0; seed < MADE; seed++)
        if (seed % 3) /* those that are run fused */
            count_traces(seed, true, count, again);
    for (size_t k = 0; k < TRACES; k++) {
        bool backward = strstr(traces[k].op, "backward") != NULL;
        cr_log_info("%4u, %u twice: %s", count[k], again[k], traces[k].op);
        cr_expect(!backward || count[k] >= 3, "%u of %s", count[k], traces[k].op);
        attention += strcmp(traces[k].op, "attention_packed") == 0 ? again[k] : 0;
        norms += strcmp(traces[k].op, "norm_modulate") == 0 ? again[k] : 0;
    }
    cr_expect(attention >= 3 && norms >= 3, "%u and %u", attention, norms);
}

/* The generator does make what these tests are about. */
Test(random_graphs, are_varied)
{
    uint32_t gradients = 0, updates = 0, joins = 0, doubles = 0, nodes = 0, kinds = 0;
    bool *seen = calloc(ops_table.count, sizeof *seen);
    for (uint32_t seed = 0; seed < 400; seed++) {
        struct arena *arena = arena_new();
        struct state_table states = {0};
        struct random_graph r = random_graph_make(arena, diags_new(arena), &states, seed);
        gradients += r.gradients;
        updates += r.updates;
        joins += update_for(&r, seed) != NULL;
        doubles += !r.single;
        nodes += r.graph->order_count;
        for (uint32_t i = 0; i < r.graph->order_count; i++)
            for (uint32_t k = 0; k < ops_table.count; k++)
                seen[k] |= ops_table.ops[k] == r.graph->nodes[r.graph->order[i]].op;
        arena_free(arena);
    }
    for (uint32_t k = 0; k < ops_table.count; k++)
        kinds += seen[k];
    free(seen);
    cr_assert(gradients > 80 && updates > 80 && joins > 20 && doubles > 40, "%u %u %u %u",
              gradients, updates, joins, doubles);
    cr_assert(nodes > 400 * 20, "%u", nodes);
    cr_assert(kinds >= 30, "%u kinds of ops", kinds);
}
