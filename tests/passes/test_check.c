/* The checker against plans that are wrong: a correct plan is broken in one way at a time, and each
 * must be refused. What it accepts otherwise is shown by the random graphs and the shipped
 * models. */
#include "ops/ops.h"
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <string.h>

static struct rig rig;
static struct compile c;

static const char *const small[] = {"dim=16",  "heads=2",  "layers=2",  "cond=8",
                                    "vocab=5", "length=6", "dropout=0", NULL};

/* The training step of a small model, compiled; then its update plan where UPDATE. */
static void open_plan(bool update)
{
    rig_model(&rig, "models/sedd-absorb.yaml", small);
    struct rig_program p = {"train", 3, NULL, NULL};
    static struct compile_options gradients = {.gradients = true, .unfused = true}, none;
    struct graph *graph = rig_elaborate(&rig, &p);
    struct plan *plan = compile_graph(graph, &gradients);
    cr_assert_not_null(plan);
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

Test(check, accepts_the_plan_itself)
{
    open_plan(false);
    cr_assert(accepted());
    rig_close(&rig);
    open_plan(true);
    cr_assert(accepted());
    rig_close(&rig);
}

/* Each pair of neighbours of which the second reads what the first makes, exchanged. */
Test(check, steps_in_the_wrong_order)
{
    open_plan(false);
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
    rig_close(&rig);
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

Test(check, a_buffer_moved_onto_a_live_one)
{
    open_plan(false);
    /* What the loss's backward reads of the last norm is alive while the head runs. */
    uint32_t head = find_step("score_output", 0);
    uint32_t live = c.plan->steps[find_step("attention_backward", 0)].in[0];
    cr_assert_eq(tensor(live)->memory, MEMORY_ARENA);
    int64_t result = tensor(c.plan->steps[head].out[0])->offset;
    cr_assert_neq(result, tensor(live)->offset);
    move_buffer(result, tensor(live)->offset);
    cr_assert_not(accepted());
    rig_close(&rig);
}

Test(check, a_buffer_past_the_end_of_the_arena)
{
    open_plan(false);
    uint32_t head = find_step("score_output", 0);
    move_buffer(tensor(c.plan->steps[head].out[0])->offset, c.plan->arena_bytes);
    cr_assert_not(accepted());
    rig_close(&rig);
}

Test(check, each_single_tensor_moved)
{
    open_plan(false);
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
        i += 6; /* a sample of the steps: each trial walks the whole plan */
    }
    cr_assert(moved > 20);
    cr_assert(pass_check(&c), "the plan was put back");
    rig_close(&rig);
}

Test(check, an_input_exchanged_for_another)
{
    open_plan(false);
    uint32_t i = find_step("add", 0);
    uint32_t *in = (uint32_t *)c.plan->steps[i].in;
    cr_assert_neq(in[0], in[1]);
    in[0] = in[1];
    cr_assert_not(accepted());
    rig_close(&rig);
}

/* A result laid over an input where the op may still read it. */
Test(check, a_result_over_an_input)
{
    open_plan(false);
    uint32_t i = find_step("linear", 0);
    while (tensor(c.plan->steps[i].in[0])->memory != MEMORY_ARENA)
        i = find_step("linear", i + 1);
    cr_assert_eq(op_linear.inplace & 1, 0);
    move_buffer(tensor(c.plan->steps[i].out[0])->offset, tensor(c.plan->steps[i].in[0])->offset);
    cr_assert_not(accepted());
    rig_close(&rig);
}

Test(check, scratch_over_an_input)
{
    open_plan(false);
    uint32_t i = 0;
    while (!c.plan->steps[i].workspace || tensor(c.plan->steps[i].in[0])->memory != MEMORY_ARENA)
        i++;
    c.plan->steps[i].workspace_offset = tensor(c.plan->steps[i].in[0])->offset;
    cr_assert_not(accepted());
    rig_close(&rig);
}

Test(check, scratch_past_the_end)
{
    open_plan(false);
    uint32_t i = 0;
    while (!c.plan->steps[i].workspace)
        i++;
    c.plan->steps[i].workspace_offset = c.plan->arena_bytes;
    cr_assert_not(accepted());
    rig_close(&rig);
}

Test(check, literals_that_overlap)
{
    open_plan(false);
    cr_assert(c.plan->const_count >= 2);
    tensor(c.plan->consts[1].tensor)->offset = tensor(c.plan->consts[0].tensor)->offset;
    cr_assert_not(accepted());
    rig_close(&rig);
}

Test(check, a_row_exchanged_for_another)
{
    open_plan(true);
    uint32_t a = find_step("adamw_ema", 0), b = find_step("adamw_ema", a + 1);
    tensor(c.plan->steps[a].in[0])->index = tensor(c.plan->steps[b].in[0])->index;
    cr_assert_not(accepted());
    rig_close(&rig);
}

Test(check, an_output_that_is_overwritten)
{
    open_plan(false);
    uint32_t loss = plan_output(c.plan, "loss");
    cr_assert_neq(loss, 0);
    uint32_t last = c.plan->step_count - 1;
    while (tensor(c.plan->steps[last].out[0])->memory != MEMORY_ARENA)
        last--;
    move_buffer(tensor(loss)->offset, tensor(c.plan->steps[last].out[0])->offset);
    cr_assert_not(accepted());
    rig_close(&rig);
}
