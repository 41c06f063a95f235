/* Reference vectors of a model on the bench; see golden.h. */
#include "tests/support/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct tensor_file *open_file(struct diags *diags, struct arena *arena, const char *name)
{
    const char *folder = getenv("SEDGE_GOLDEN");
    struct tensor_file *file = tensor_file_open(
        diags, arena,
        arena_printf(arena, "%s/%s.safetensors", folder ? folder : "tests/golden", name));
    cr_assert_not_null(file, "%s", diags_render(diags, false));
    return file;
}

struct tensor_file *golden_file(struct arena *arena, const char *name)
{
    return open_file(diags_new(arena), arena, name);
}

const char *golden_meta(const struct tensor_file *file, const char *key)
{
    const char *text = tensor_file_meta(file, key);
    cr_assert_not_null(text, "no metadata %s", key);
    return text;
}

double golden_number(const struct tensor_file *file, const char *key)
{
    return strtod(golden_meta(file, key), NULL);
}

void golden_open(struct golden *g, const char *name, const char *path, const char *const *settings)
{
    rig_model(&g->rig, path, settings);
    g->file = open_file(g->rig.diags, g->rig.arena, name);
}

void golden_close(struct golden *g)
{
    tensor_file_close(g->file);
    rig_close(&g->rig);
}

void golden_state(struct golden *g)
{
    rig_state(&g->rig, &g->rig.model->states, 1);
    cr_assert(state_load(g->rig.diags, &g->rig.state, g->file, FILL_WEIGHTS), "%s",
              diags_render(g->rig.diags, false));
}

const struct tensor *golden_get(const struct golden *g, const char *name)
{
    const struct tensor *t = tensor_file_get(g->file, name);
    cr_assert_not_null(t, "no tensor %s", name);
    return t;
}

double golden_scalar(const struct loaded *loaded, const char *name)
{
    struct tensor t = rig_output(loaded, name);
    return rig_element(&t, 0);
}

static uint32_t parameter_count(const struct golden *g)
{
    uint32_t count = 0;
    for (uint32_t r = 0; r < g->rig.state.count; r++)
        count += g->rig.state.table->rows[r].class == STATE_PARAMETER;
    return count;
}

void golden_rows(struct golden *g, const char *prefix, const char *rows, double scale,
                 double tolerance)
{
    struct arena *arena = g->rig.arena;
    size_t n = strlen(prefix);
    uint32_t seen = 0, parameters = parameter_count(g);
    for (uint32_t e = 0; e < g->file->count; e++) {
        const char *name = g->file->entries[e].name;
        if (strncmp(name, prefix, n) != 0)
            continue;
        struct tensor ours = rig_row_tensor(&g->rig, arena_printf(arena, "%s%s", rows, name + n));
        float *scaled = arena_new_array(arena, float, (size_t)tensor_size(&ours));
        for (int64_t i = 0; i < tensor_size(&ours); i++)
            scaled[i] = (float)(scale * rig_element(&ours, i));
        ours.data = scaled;
        double apart = rig_distance(&ours, &g->file->entries[e].tensor);
        cr_expect(apart <= tolerance, "%s: off by %.3g of its norm", name, apart);
        seen++;
    }
    cr_assert_eq(seen, parameters, "%s: %u of %u parameters", prefix, seen, parameters);
}

void golden_relative(double ours, double theirs, double tolerance, const char *what)
{
    cr_assert(fabs(ours - theirs) <= tolerance * fabs(theirs), "%s is %.9g, not %.9g", what, ours,
              theirs);
}
