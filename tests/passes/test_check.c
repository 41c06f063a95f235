/* The checker against plans that are wrong: a correct plan is broken in one way at a time, and each
 * must be refused. What it accepts otherwise is shown by the random graphs and the shipped
 * models. */
#include "ops/ops.h"
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <string.h>

static struct rig rig;
static struct compile c;

static const char *const small[] = {"dim=16",  "heads=2",  "layers=5",  "cond=8",
                                    "vocab=5", "length=6", "dropout=0", NULL};

/* A training step, each node a step of its own; fused; fused in the least memory there is; and a
 * fused step of a sampler. */
enum kind { UNFUSED, FUSED, RECOMPUTED, DRAWN, KINDS };
static enum kind kind;

static uint32_t count_clones(const struct plan *plan)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->step_count; i++)
        count += plan->steps[i].epoch != 0;
    return count;
}

/* The program of a small model, compiled; then its update plan where UPDATE. */
static void open_plan(bool update)
{
    rig_model(&rig, "models/sedd-absorb.yaml", small);
    struct rig_program p = {kind == DRAWN ? "step" : "train", 3, NULL, NULL};
    static struct compile_options none;
    struct compile_options gradients = {
        .gradients = kind != DRAWN, .unfused = kind == UNFUSED, .arena_limit = kind == RECOMPUTED};
    struct graph *graph = rig_elaborate(&rig, &p);
    struct plan *plan = compile_graph(graph, &gradients);
    cr_assert_not_null(plan);
    cr_assert_eq(count_clones(plan) > 0, kind == RECOMPUTED);
    if (update) {
        struct update_options o = {
            .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1, .scale = 1, .ema = 0.9};
        graph = update_graph(rig.model, &o);
        plan = compile_graph(graph, &none);
        cr_assert_not_null(plan);
    }
    c = (struct compile){
        .arena = rig.arena, .diags = rig.diags, .graph = graph, .options = &none, .plan = plan};
}

static void on_every_plan(void (*test)(void))
{
    for (kind = 0; kind < KINDS; kind++) {
        open_plan(false);
        test();
        rig_close(&rig);
    }
}

static bool accepted(void)
{
    bool good = pass_check(&c);
    cr_assert_eq(good, c.plan->certificate.checked);
    cr_assert_eq(good, diags_errors(rig.diags) == 0);
    return good;
}

static struct plan_tensor *tensor(uint32_t i)
{
    return &c.plan->tensors[i];
}

/* The first step, from FROM on, of that op. */
static uint32_t find_step(const char *op, uint32_t from)
{
    for (uint32_t i = from; i < c.plan->step_count; i++)
        if (strcmp(c.plan->steps[i].op, op) == 0)
            return i;
    cr_assert_fail("the plan has no %s", op);
    return 0;
}

/* The vocabulary head, or the op after it. */
static uint32_t find_head(void)
{
    return find_step(kind == UNFUSED ? "score_output"
                     : kind == DRAWN ? "head_draw"
                                     : "head_loss_backward",
                     0);
}

static bool reads(const struct plan_step *step, uint32_t t)
{
    bool found = false;
    for (uint32_t k = 0; k < step->in_count; k++)
        found |= step->in[k] == t;
    return found;
}

/* A tensor of the arena that was made before step AT, which does not read it, and is read later. */
static uint32_t find_live(uint32_t at)
{
    for (uint32_t i = 0; i < at; i++)
        for (uint32_t j = at + 1; j < c.plan->step_count; j++) {
            uint32_t t = c.plan->steps[i].out[0];
            if (tensor(t)->memory == MEMORY_ARENA && !reads(&c.plan->steps[at], t) &&
                reads(&c.plan->steps[j], t))
                return t;
        }
    cr_assert_fail("nothing waits for a step after %u", at);
    return 0;
}

static void accept(void)
{
    cr_assert(accepted());
}

Test(check, accepts_the_plan_itself)
{
    on_every_plan(accept);
    kind = FUSED;
    open_plan(true);
    cr_assert(accepted());
    rig_close(&rig);
}

/* Each pair of neighbours of which the second reads what the first makes, exchanged. */
static void exchange_steps(void)
{
    uint32_t tried = 0;
    for (uint32_t i = 0; i + 1 < c.plan->step_count; i++) {
        struct plan_step *a = &c.plan->steps[i], *b = a + 1, kept = *a;
        bool needs = false;
        for (uint32_t k = 0; k < b->in_count; k++)
            for (uint32_t r = 0; r < a->out_count; r++)
                needs |= b->in[k] == a->out[r];
        if (!needs)
            continue;
        *a = *b;
        *b = kept;
        cr_expect_not(pass_check(&c), "steps %u and %u", i, i + 1);
        *b = *a;
        *a = kept;
        tried++;
    }
    cr_assert(tried > 50);
    cr_assert(pass_check(&c), "the plan was put back");
}

Test(check, steps_in_the_wrong_order)
{
    on_every_plan(exchange_steps);
}

/* Every buffer of the arena, moved by one alignment up or down, or past the end: wherever a
 * neighbour lives at that time it must be seen. Moving all tensors of a buffer together keeps it
 * consistent. */
static void move_buffer(int64_t offset, int64_t to)
{
    for (uint32_t i = 1; i < c.plan->tensor_count; i++)
        if (tensor(i)->memory == MEMORY_ARENA && tensor(i)->offset == offset)
            tensor(i)->offset = to;
}

static void move_onto_a_live_one(void)
{
    uint32_t head = find_head(), live = find_live(head);
    int64_t result = tensor(c.plan->steps[head].out[0])->offset;
    cr_assert_neq(result, tensor(live)->offset);
    move_buffer(result, tensor(live)->offset);
    cr_assert_not(accepted());
}

Test(check, a_buffer_moved_onto_a_live_one)
{
    on_every_plan(move_onto_a_live_one);
}

static void move_past_the_end(void)
{
    uint32_t head = find_head();
    move_buffer(tensor(c.plan->steps[head].out[0])->offset, c.plan->arena_bytes);
    cr_assert_not(accepted());
}

Test(check, a_buffer_past_the_end_of_the_arena)
{
    on_every_plan(move_past_the_end);
}

static void move_each_tensor(void)
{
    uint32_t moved = 0;
    for (uint32_t i = 0; i < c.plan->step_count; i++) {
        for (uint32_t k = 0; k < c.plan->steps[i].in_count; k++) {
            struct plan_tensor *t = tensor(c.plan->steps[i].in[k]);
            if (t->memory != MEMORY_ARENA)
                continue;
            /* Its maker and its readers name one tensor: give this reader an offset of its own. */
            struct plan_tensor kept = *t;
            uint32_t *in = (uint32_t *)c.plan->steps[i].in, old = in[k];
            struct plan_tensor *copy =
                arena_new_array(rig.arena, struct plan_tensor, c.plan->tensor_count + 1);
            memcpy(copy, c.plan->tensors, c.plan->tensor_count * sizeof *copy);
            struct plan_tensor *before = c.plan->tensors;
            copy[c.plan->tensor_count] = kept;
            copy[c.plan->tensor_count].offset += 64;
            c.plan->tensors = copy;
            in[k] = c.plan->tensor_count++;
            cr_expect_not(pass_check(&c), "step %u input %u", i, k);
            c.plan->tensor_count--;
            c.plan->tensors = before;
            in[k] = old;
            moved++;
        }
    }
    cr_assert(moved > 100);
    cr_assert(pass_check(&c), "the plan was put back");
}

Test(check, each_single_tensor_moved)
{
    on_every_plan(move_each_tensor);
}

static void exchange_inputs(void)
{
    uint32_t i = find_step("gated_add", 0);
    uint32_t *in = (uint32_t *)c.plan->steps[i].in;
    cr_assert_neq(in[0], in[1]);
    in[0] = in[1];
    cr_assert_not(accepted());
}

Test(check, an_input_exchanged_for_another)
{
    on_every_plan(exchange_inputs);
}

/* A result laid over an input where the op may still read it. */
static void move_result_over_input(void)
{
    uint32_t i = find_step("linear", 0);
    while (tensor(c.plan->steps[i].in[0])->memory != MEMORY_ARENA)
        i = find_step("linear", i + 1);
    cr_assert_eq(op_linear.inplace & 1, 0);
    move_buffer(tensor(c.plan->steps[i].out[0])->offset, tensor(c.plan->steps[i].in[0])->offset);
    cr_assert_not(accepted());
}

Test(check, a_result_over_an_input)
{
    on_every_plan(move_result_over_input);
}

static void move_scratch_over_input(void)
{
    uint32_t i = 0;
    while (!c.plan->steps[i].workspace || tensor(c.plan->steps[i].in[0])->memory != MEMORY_ARENA)
        i++;
    c.plan->steps[i].workspace_offset = tensor(c.plan->steps[i].in[0])->offset;
    cr_assert_not(accepted());
}

Test(check, scratch_over_an_input)
{
    on_every_plan(move_scratch_over_input);
}

static void move_scratch_past_the_end(void)
{
    uint32_t i = 0;
    while (!c.plan->steps[i].workspace)
        i++;
    c.plan->steps[i].workspace_offset = c.plan->arena_bytes;
    cr_assert_not(accepted());
}

Test(check, scratch_past_the_end)
{
    on_every_plan(move_scratch_past_the_end);
}

static void overlap_literals(void)
{
    cr_assert(c.plan->const_count >= 2);
    tensor(c.plan->consts[1].tensor)->offset = tensor(c.plan->consts[0].tensor)->offset;
    cr_assert_not(accepted());
}

Test(check, literals_that_overlap)
{
    on_every_plan(overlap_literals);
}

Test(check, a_row_exchanged_for_another)
{
    kind = FUSED;
    open_plan(true);
    uint32_t a = find_step("adamw_ema", 0), b = find_step("adamw_ema", a + 1);
    tensor(c.plan->steps[a].in[0])->index = tensor(c.plan->steps[b].in[0])->index;
    cr_assert_not(accepted());
    rig_close(&rig);
}

static void overwrite_output(void)
{
    uint32_t loss = plan_output(c.plan, kind == DRAWN ? "x" : "loss");
    cr_assert_neq(loss, 0);
    uint32_t last = c.plan->step_count - 1;
    while (tensor(c.plan->steps[last].out[0])->memory != MEMORY_ARENA)
        last--;
    move_buffer(tensor(loss)->offset, tensor(c.plan->steps[last].out[0])->offset);
    cr_assert_not(accepted());
}

Test(check, an_output_that_is_overwritten)
{
    on_every_plan(overwrite_output);
}

/* --- what is computed a second time -------------------------------------------------------- */

/* Each step of the second time left out: nothing that was dropped is still there. */
Test(check, a_second_time_left_out)
{
    kind = RECOMPUTED;
    open_plan(false);
    struct plan *plan = c.plan;
    for (uint32_t i = 0; i < plan->step_count; i++) {
        struct plan_step *at = &plan->steps[i], kept = *at;
        size_t behind = (size_t)(plan->step_count - i - 1) * sizeof *at;
        if (!at->epoch)
            continue;
        memmove(at, at + 1, behind);
        plan->step_count--;
        cr_expect_not(pass_check(&c), "without step %u, %s", i, kept.op);
        plan->step_count++;
        memmove(at + 1, at, behind);
        *at = kept;
    }
    cr_assert(pass_check(&c), "the plan was put back");
    rig_close(&rig);
}

/* What step AT computes a second time, as it was made by the same node of the same block; 0: not
 * found. */
static uint32_t find_first_time(uint32_t at)
{
    const struct plan_step *again = &c.plan->steps[at];
    for (uint32_t i = 0; i < at; i++) {
        const struct plan_step *s = &c.plan->steps[i];
        if (!s->epoch && strcmp(s->op, again->op) == 0 && s->block && again->block &&
            strcmp(s->block, again->block) == 0 && s->span.line == again->span.line &&
            s->span.column == again->span.column)
            return s->out[0];
    }
    return 0;
}

/* What was dropped read where the second one should be: its memory has been given to others. */
Test(check, the_first_time_read_for_the_second)
{
    uint32_t tried = 0;
    kind = RECOMPUTED;
    open_plan(false);
    for (uint32_t i = 0; i < c.plan->step_count; i++) {
        uint32_t first = c.plan->steps[i].epoch ? find_first_time(i) : 0;
        if (first && tensor(first)->offset == tensor(c.plan->steps[i].out[0])->offset)
            continue; /* the second one lies where the first one did */
        for (uint32_t j = i + 1; first && j < c.plan->step_count; j++) {
            uint32_t *in = (uint32_t *)c.plan->steps[j].in, again = c.plan->steps[i].out[0];
            for (uint32_t k = 0; k < c.plan->steps[j].in_count; k++) {
                if (in[k] != again)
                    continue;
                in[k] = first;
                cr_expect_not(pass_check(&c), "step %u input %u", j, k);
                in[k] = again;
                tried++;
            }
        }
    }
    cr_assert(tried > 10, "%u", tried);
    cr_assert(pass_check(&c), "the plan was put back");
    rig_close(&rig);
}
