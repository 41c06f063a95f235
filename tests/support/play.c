#include "tests/support/play.h"

#include <criterion/criterion.h>
#include <string.h>

#define INPUTS_MAX 8

static const char *const fields[] = {"fixed", "known"};
#define FIELDS (sizeof fields / sizeof fields[0])

/* What the calls of the loop give the program NAME, and `fixed` and `known` where positions are. */
static void find_inputs(const struct play *p, const char *name, const char **bind)
{
    const struct yaml *in = yaml_get(section_find(&p->rig.model->programs, name)->body, "in");
    uint32_t n = 0;
    for (uint32_t c = 0; c < p->loop->body_count; c++)
        for (uint32_t k = 0; k < p->loop->body[c].with_count; k++)
            if (strcmp(p->loop->body[c].program, name) == 0 && n < INPUTS_MAX)
                bind[n++] = p->loop->body[c].with[k].input;
    for (size_t k = 0; p->known && k < FIELDS; k++)
        if (yaml_get(in, fields[k]))
            bind[n++] = fields[k];
    bind[n] = NULL;
}

static void add_program(struct play *p, struct plan **plans, const char *name)
{
    const char *bind[INPUTS_MAX + FIELDS + 1];
    for (uint32_t i = 0; i < p->program_count; i++)
        if (strcmp(p->programs[i].name, name) == 0)
            return;
    find_inputs(p, name, bind);
    cr_assert(p->program_count < PLAY_PROGRAMS);
    struct rig_program request = {name, p->batch, bind, NULL};
    plans[p->program_count] = rig_compile(&p->rig, &request, NULL);
    p->programs[p->program_count++].name = name;
}

void play_open(struct play *p, const char *path, const char *const *settings, const char *loop,
               int64_t batch, const struct loop_overlay *known)
{
    struct plan *plans[PLAY_PROGRAMS];
    *p = (struct play){.batch = batch, .known = known};
    rig_model(&p->rig, path, settings);
    p->loop = loop_read(p->rig.model, loop);
    cr_assert_not_null(p->loop, "%s", diags_render(p->rig.diags, false));
    for (uint32_t i = 0; i < p->loop->body_count; i++)
        add_program(p, plans, p->loop->body[i].program);
    for (uint32_t i = 0; i < p->loop->carry_count; i++)
        if (p->loop->carry[i].start == START_CALL)
            add_program(p, plans, p->loop->carry[i].program);
    rig_state(&p->rig, &p->rig.model->states, 1);
    for (uint32_t i = 0; i < p->program_count; i++)
        p->programs[i].loaded = rig_load(&p->rig, plans[i]);
    p->looper = loop_open(p->rig.diags, p->rig.arena, p->loop, p->programs, p->program_count,
                          fields, known ? FIELDS : 0, batch);
    cr_assert_not_null(p->looper, "%s", diags_render(p->rig.diags, false));
}

void play_close(struct play *p)
{
    rig_quiet(&p->rig);
    loop_close(p->looper);
    rig_close(&p->rig);
}

const int32_t *play_turn(struct play *p, int64_t steps, uint64_t turn)
{
    struct loop_field given[] = {{"fixed", p->known ? p->known->fixed : NULL},
                                 {"known", p->known ? p->known->known : NULL}};
    struct loop_request q = {.count = p->batch,
                             .key = random_key(5 + turn, "sample"),
                             .steps = steps,
                             .overlay = p->known,
                             .fields = p->known ? given : NULL};
    if (p->loop->grid) {
        cr_assert(loop_grid(p->rig.model, p->loop, steps, &p->times));
        q.steps = p->times.steps;
        q.time = p->times.time;
    }
    cr_assert(loop_run(p->looper, &q));
    return loop_carry_data(p->looper, "x");
}

double play_counted(struct play *p, const char *carry)
{
    const double *each = loop_carry_data(p->looper, carry);
    double sum = 0;
    cr_assert_not_null(each);
    for (int64_t i = 0; i < p->batch; i++)
        sum += each[i];
    return sum;
}
