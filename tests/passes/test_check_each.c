/* The checker on a small program in text, broken in each way that a fault in order, sharing,
 * placement or lowering could break it; test_check.c does the same to plans of a whole model. */
#include "tests/support/rig.h"

#include "graph/text.h"
#include "ops/ops.h"
#include "passes/storage.h"

#include <criterion/criterion.h>
#include <string.h>

/* A program with fan-out, views, in-place chances, two versions of a row, stores, constants, and
 * scratch beside results. */
#define PROGRAM                                                                                    \
    "graph p\n"                                                                                    \
    "axis batch 4\n"                                                                               \
    "state w parameter f32 [6] zero\n"                                                             \
    "state sum constant f32 [6] zero\n"                                                            \
    "state out constant f32 [6] zero\n"                                                            \
    "%1: f32 [batch, 3, 6] = input\n"                                                              \
    "%2: f32 [batch, 3, 6] = input\n"                                                              \
    "%3: f32 [6] = state w\n"                                                                      \
    "%4: f32 [6] = state sum\n"                                                                    \
    "%5: f32 [3, 6] = const {value=2}\n"                                                           \
    "%6: f32 [3, 6] = const {value=3}\n"                                                           \
    "%7: f64 [] = const {value=1}\n"                                                               \
    "%8: f32 [batch, 3, 6] = mul %1, %5\n"                                                         \
    "%9: f32 [batch, 3, 6] = tanh %8\n"                                                            \
    "%10: f32 [batch, 3, 6] = add %8, %9\n"                                                        \
    "%11: f32 [batch, 3, 6] = rope %10 {heads=1}\n"                                                \
    "%12: f32 [batch, 18] = reshape %11 {shape=[batch, 18]}\n"                                     \
    "%13: f32 [batch, 18] = sin %12\n"                                                             \
    "%14: f32 [batch, 3, 6] = mul %11, %6\n"                                                       \
    "%15: f32 [batch, 3, 6] = sub %14, %2\n"                                                       \
    "%16: f32 [3, 6] = sum %15 {axis=0}\n"                                                         \
    "%17: f32 [6] = sum %16 {axis=0}\n"                                                            \
    "%18: f32 [6] = mul %4, %3\n"                                                                  \
    "%19: f32 [6] -> sum v1 = accumulate %4, %17, %7\n"                                            \
    "%20: f32 [6] = mul %19, %3\n"                                                                 \
    "%21: f32 [6] -> sum v2 = accumulate %19, %20, %7\n"                                           \
    "%22: f32 [6] = sub %18, %21\n"                                                                \
    "%23: f32 [6] = exp %22\n"                                                                     \
    "%24: f32 [6] -> out v1 = store %23\n"                                                         \
    "input a %1\n"                                                                                 \
    "input b %2\n"                                                                                 \
    "output s %13\n"                                                                               \
    "output d %15\n"                                                                               \
    "output e %22\n"

struct bench {
    struct arena *arena;
    struct diags *diags;
    struct state_table states;
    struct graph *graph;
    struct compile c;
    struct plan *plan;
};

static void bench_open(struct bench *b)
{
    *b = (struct bench){.arena = arena_new()};
    b->diags = diags_new(b->arena);
    b->graph =
        graph_read(b->arena, b->diags, &ops_table, &b->states, "p", PROGRAM, strlen(PROGRAM));
    cr_assert_not_null(b->graph, "%s", diags_render(b->diags, false));
    struct compile_options o = {.verify = true};
    b->plan = compile_graph(b->graph, &o);
    cr_assert_not_null(b->plan, "%s", diags_render(b->diags, false));
    b->c =
        (struct compile){.arena = b->arena, .diags = b->diags, .graph = b->graph, .plan = b->plan};
}

/* After the change the checker must refuse, and say that it is a fault of sedge. */
static void bench_refused(struct bench *b, const char *what)
{
    cr_assert(!pass_check(&b->c), "accepted: %s\n%s", what, plan_print(b->arena, b->plan));
    cr_assert(!b->plan->certificate.checked);
    cr_assert_not_null(strstr(diags_render(b->diags, false), "the plan of `p` is wrong"));
    arena_free(b->arena);
}

/* The step that makes the value which the text calls %ID: values are numbered in order. */
static struct plan_step *step_of(struct bench *b, uint32_t id)
{
    for (uint32_t i = 0; i < b->plan->step_count; i++)
        for (uint32_t k = 0; k < b->plan->steps[i].out_count; k++)
            if (b->plan->tensors[b->plan->steps[i].out[k]].value == id)
                return &b->plan->steps[i];
    cr_assert_fail("no step makes value %u", id);
    return NULL;
}

static struct plan_tensor *tensor_of(struct bench *b, uint32_t id)
{
    for (uint32_t t = 1; t < b->plan->tensor_count; t++)
        if (b->plan->tensors[t].value == id)
            return &b->plan->tensors[t];
    cr_assert_fail("no tensor of value %u", id);
    return NULL;
}

static uint32_t number_of(struct bench *b, uint32_t id)
{
    return (uint32_t)(tensor_of(b, id) - b->plan->tensors);
}

static void set_input(struct plan_step *step, uint32_t i, uint32_t tensor)
{
    ((uint32_t *)(uintptr_t)step->in)[i] = tensor;
}

static void remove_step(struct bench *b, struct plan_step *step)
{
    struct plan_step *end = b->plan->steps + b->plan->step_count--;
    memmove(step, step + 1, (size_t)(end - step - 1) * sizeof *step);
}

Test(check_each, accepts_what_the_passes_make)
{
    struct bench b;
    bench_open(&b);
    cr_assert(b.plan->certificate.checked);
    b.plan->certificate.checked = false;
    cr_assert(pass_check(&b.c), "%s", diags_render(b.diags, false));
    cr_assert(b.plan->certificate.checked);
    cr_assert_gt(step_of(&b, 11)->workspace, 0, "rope has scratch");
    arena_free(b.arena);
}

/* Any two steps next to each other of which the second reads what the first makes; most of the
 * others share memory and may not trade places either. */
Test(check_each, order)
{
    struct bench b;
    uint32_t refused = 0, count;
    bench_open(&b);
    count = b.plan->step_count;
    arena_free(b.arena);
    for (uint32_t i = 0; i + 1 < count; i++) {
        bench_open(&b);
        struct plan_step *s = &b.plan->steps[i], kept = s[0];
        bool reads = false;
        for (uint32_t k = 0; k < s[1].in_count; k++)
            for (uint32_t r = 0; r < s[0].out_count; r++)
                reads |= s[1].in[k] == s[0].out[r];
        s[0] = s[1];
        s[1] = kept;
        bool good = pass_check(&b.c);
        cr_assert(!good || !reads, "steps %u and %u", i, i + 1);
        refused += !good;
        arena_free(b.arena);
    }
    cr_assert(refused >= 10, "%u", refused);
}

Test(check_each, a_buffer_over_a_live_one)
{
    struct bench b;
    bench_open(&b); /* %8 is read again by the add, after the tanh was made */
    tensor_of(&b, 9)->offset = tensor_of(&b, 8)->offset;
    bench_refused(&b, "tanh over what add reads");
    bench_open(&b); /* the output s must last to the end */
    tensor_of(&b, 13)->offset = tensor_of(&b, 15)->offset;
    bench_refused(&b, "one output over another");
    bench_open(&b);
    tensor_of(&b, 15)->offset += ALIGNMENT;
    bench_refused(&b, "half over a neighbour, or out of the arena");
}

Test(check_each, alignment_and_limits)
{
    struct bench b;
    bench_open(&b);
    for (uint32_t t = 1; t < b.plan->tensor_count; t++) /* all of them: nothing overlaps */
        if (b.plan->tensors[t].memory == MEMORY_ARENA)
            b.plan->tensors[t].offset += 4;
    b.plan->arena_bytes += ALIGNMENT;
    bench_refused(&b, "4 bytes off");
    bench_open(&b);
    b.plan->arena_bytes -= aligned(1); /* the last buffer, and the gap after it if there is one */
    bench_refused(&b, "an arena that is too small");
    bench_open(&b);
    for (uint32_t t = 1; t < b.plan->tensor_count; t++)
        if (b.plan->tensors[t].memory == MEMORY_ARENA)
            b.plan->tensors[t].offset -= ALIGNMENT;
    bench_refused(&b, "before the arena");
}

Test(check_each, versions_of_a_row)
{
    struct bench b;
    bench_open(&b);
    struct plan_step *one = step_of(&b, 19), *two = step_of(&b, 21), kept = *one;
    *one = *two;
    *two = kept;
    bench_refused(&b, "the second update before the first");
    bench_open(&b); /* where v0 is read: after the update */
    struct plan_step *read = step_of(&b, 18), *end = step_of(&b, 21), moved = *read;
    memmove(read, read + 1, (size_t)(end - read) * sizeof *read);
    *end = moved;
    bench_refused(&b, "a read of v0 after v2 was written");
    bench_open(&b);
    remove_step(&b, step_of(&b, 21));
    bench_refused(&b, "the last update is missing");
}

Test(check_each, a_store_must_reach_its_row)
{
    struct bench b;
    bench_open(&b);
    struct plan_tensor *made = tensor_of(&b, 23);
    cr_assert_eq(made->memory, MEMORY_STATE, "exp is made in the row itself");
    made->index = state_find(&b.states, "w");
    bench_refused(&b, "another row");
    bench_open(&b);
    remove_step(&b, step_of(&b, 23));
    bench_refused(&b, "never made");
}

/* A result over an input that its op cannot compute in place. */
Test(check_each, in_place)
{
    struct bench b;
    bench_open(&b);
    struct plan_step *sum = step_of(&b, 17);
    tensor_of(&b, 17)->offset = tensor_of(&b, 16)->offset;
    cr_assert_str_eq(sum->op, "sum");
    bench_refused(&b, "sum over what it reads");
    bench_open(&b); /* the right op, but shifted */
    struct plan_tensor *x = tensor_of(&b, 14), *y = tensor_of(&b, 15);
    cr_assert_eq(x->offset, y->offset, "sub is made in place");
    y->offset += ALIGNMENT;
    b.plan->arena_bytes += ALIGNMENT;
    bench_refused(&b, "a shifted overlay");
}

Test(check_each, scratch)
{
    struct bench b;
    bench_open(&b);
    struct plan_step *rope = step_of(&b, 11);
    rope->workspace_offset = b.plan->tensors[rope->out[0]].offset;
    bench_refused(&b, "scratch over the result");
    bench_open(&b);
    rope = step_of(&b, 11);
    b.plan->tensors[rope->in[0]].offset = 0;
    rope->workspace_offset = 0;
    bench_refused(&b, "scratch over an input");
    bench_open(&b);
    step_of(&b, 11)->workspace_offset = b.plan->arena_bytes;
    bench_refused(&b, "scratch outside");
    bench_open(&b);
    step_of(&b, 11)->workspace_offset += 8;
    b.plan->arena_bytes += ALIGNMENT;
    bench_refused(&b, "scratch not aligned");
}

Test(check_each, constants)
{
    struct bench b;
    bench_open(&b);
    tensor_of(&b, 6)->offset = tensor_of(&b, 5)->offset;
    bench_refused(&b, "one over another");
    bench_open(&b);
    set_input(step_of(&b, 8), 1, number_of(&b, 6));
    bench_refused(&b, "the wrong one");
    bench_open(&b);
    *tensor_of(&b, 9) = *tensor_of(&b, 5);
    tensor_of(&b, 5)->value = 9;
    bench_refused(&b, "written to");
}

Test(check_each, operands)
{
    struct bench b;
    bench_open(&b);
    set_input(step_of(&b, 15), 1, number_of(&b, 1));
    bench_refused(&b, "the other input");
    bench_open(&b);
    struct plan_step *sub = step_of(&b, 15);
    uint32_t first = sub->in[0];
    set_input(sub, 0, sub->in[1]);
    set_input(sub, 1, first);
    bench_refused(&b, "exchanged");
    bench_open(&b); /* the same bytes, but not the same shape */
    set_input(step_of(&b, 13), 0, number_of(&b, 11));
    bench_refused(&b, "a view's source");
    bench_open(&b);
    b.plan->outputs[0].tensor = b.plan->outputs[1].tensor;
    bench_refused(&b, "an output");
    bench_open(&b);
    b.plan->inputs[0].tensor = b.plan->inputs[1].tensor;
    bench_refused(&b, "an input's name");
}

Test(check_each, steps_are_their_nodes)
{
    struct bench b;
    bench_open(&b);
    step_of(&b, 10)->op = "sub";
    bench_refused(&b, "another op");
    bench_open(&b);
    step_of(&b, 17)->attr = step_of(&b, 11)->attr;
    bench_refused(&b, "other attributes");
    bench_open(&b);
    step_of(&b, 10)->in_count = 1;
    bench_refused(&b, "an operand less");
}
