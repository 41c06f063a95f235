/* The state table in memory and as a checkpoint: initial values, saving, loading, refusals. */
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bench {
    struct rig rig;
    struct state_table table;
    char path[64];
};

static void declare(struct bench *b, const char *name, enum state_class class, enum dtype dtype,
                    int64_t rows, int64_t columns, enum init_kind init, uint32_t owner)
{
    struct state_row row = {.name = name,
                            .class = class,
                            .type = {.dtype = dtype, .rank = 2, .dim = {{rows, 0}, {columns, 0}}},
                            .init = init,
                            .scale = init == INIT_NORMAL || init == INIT_UNIFORM ? 0.5 : 0,
                            .owner = owner};
    uint32_t at;
    cr_assert(state_declare(&b->table, b->rig.arena, b->rig.diags, &row, &at));
}

/* Two parameters in the order that FLIPPED says, with everything that training keeps beside
 * them. */
static void bench_open(struct bench *b, bool flipped, uint64_t seed)
{
    *b = (struct bench){.path = "/tmp/sedge-state-XXXXXX"};
    rig_open(&b->rig);
    for (int i = 0; i < 2; i++) {
        if ((i == 1) != flipped)
            declare(b, "b", STATE_PARAMETER, DT_F32, 400, 500, INIT_NORMAL, 0);
        else
            declare(b, "a", STATE_PARAMETER, DT_F32, 3, 5, INIT_UNIFORM, 0);
    }
    uint32_t a = state_find(&b->table, "a");
    declare(b, "one", STATE_PARAMETER, DT_F32, 1, 7, INIT_ONE, 0);
    declare(b, "ema/a", STATE_EMA, DT_F32, 3, 5, INIT_COPY, a);
    declare(b, "adam_m/a", STATE_MOMENT, DT_F32, 3, 5, INIT_ZERO, a);
    declare(b, "grad/a", STATE_GRADIENT, DT_F32, 3, 5, INIT_ZERO, a);
    declare(b, "cursor/step", STATE_CURSOR, DT_I64, 1, 1, INIT_ZERO, 0);
    rig_state(&b->rig, &b->table, seed);
    int file = mkstemp(b->path);
    cr_assert_geq(file, 0);
    close(file);
}

static void bench_close(struct bench *b)
{
    unlink(b->path);
    rig_close(&b->rig);
}

static void save(struct bench *b)
{
    const char *key = "note", *value = "of a test";
    cr_assert(state_save(b->rig.diags, b->rig.arena, &b->rig.state, b->path, &key, &value, 1), "%s",
              diags_render(b->rig.diags, false));
}

/* Loads the file at PATH into B. */
static bool load(struct bench *b, const char *path, enum state_fill fill)
{
    struct tensor_file *file = tensor_file_open(b->rig.diags, b->rig.arena, path);
    cr_assert_not_null(file, "%s", diags_render(b->rig.diags, false));
    bool good = state_load(b->rig.diags, &b->rig.state, file, fill);
    tensor_file_close(file);
    return good;
}

/* --- initial values --------------------------------------------------------------------------- */

Test(state, init_is_a_function_of_seed_and_name)
{
    struct bench b, flipped, other;
    bench_open(&b, false, 5);
    bench_open(&flipped, true, 5);
    bench_open(&other, false, 6);
    size_t bytes = 400 * 500 * sizeof(float);
    cr_assert_eq(memcmp(rig_row(&b.rig, "a"), rig_row(&flipped.rig, "a"), 60), 0);
    cr_assert_eq(memcmp(rig_row(&b.rig, "b"), rig_row(&flipped.rig, "b"), bytes), 0);
    cr_assert_neq(rig_row(&b.rig, "a")[0], rig_row(&other.rig, "a")[0]);
    cr_assert_neq(rig_row(&b.rig, "b")[0], rig_row(&other.rig, "b")[0]);
    bench_close(&b);
    bench_close(&flipped);
    bench_close(&other);
}

Test(state, init_kinds)
{
    struct bench b;
    bench_open(&b, false, 5);
    const float *normal = rig_row(&b.rig, "b");
    double sum = 0, squares = 0, fourth = 0, n = 400 * 500;
    for (int i = 0; i < 400 * 500; i++) {
        sum += normal[i];
        squares += normal[i] * normal[i];
        fourth += pow(normal[i], 4);
    }
    /* Mean 0, deviation 1/2, fourth moment 3/16: four standard errors of each. */
    cr_assert(fabs(sum / n) < 4 * 0.5 / sqrt(n));
    cr_assert(fabs(squares / n - 0.25) < 4 * 0.25 * sqrt(2 / n));
    cr_assert(fabs(fourth / n - 3.0 / 16) < 4 * sqrt(96 / n) / 16);
    for (int i = 0; i < 15; i++) {
        cr_assert(fabsf(rig_row(&b.rig, "a")[i]) <= 0.5f);
        cr_assert_eq(rig_row(&b.rig, "ema/a")[i], rig_row(&b.rig, "a")[i]);
        cr_assert_eq(rig_row(&b.rig, "adam_m/a")[i], 0);
    }
    for (int i = 0; i < 7; i++)
        cr_assert_eq(rig_row(&b.rig, "one")[i], 1);
    for (uint32_t r = 0; r < b.rig.state.count; r++)
        cr_assert_eq((uintptr_t)b.rig.state.row[r] % 64, 0);
    bench_close(&b);
}

/* Rows that no plan uses take no memory, and an average without its owner starts as it would. */
Test(state, only_what_is_used)
{
    struct bench b;
    struct state some;
    bench_open(&b, false, 5);
    bool used[7] = {false};
    used[state_find(&b.table, "ema/a")] = true;
    cr_assert(state_open(b.rig.diags, b.rig.arena, &b.table, used, &some));
    cr_assert_eq(some.memory.size, 64);
    cr_assert_null(some.row[state_find(&b.table, "b")]);
    state_init(&some, 5);
    cr_assert_eq(memcmp(some.row[state_find(&b.table, "ema/a")], rig_row(&b.rig, "a"), 60), 0);
    state_close(&some);
    bench_close(&b);
}

/* --- checkpoints ------------------------------------------------------------------------------ */

Test(state, saves_and_loads)
{
    struct bench b, other;
    bench_open(&b, false, 5);
    bench_open(&other, true, 6);
    rig_fill(&b.rig, 0.7);
    *(int64_t *)(void *)rig_row(&b.rig, "cursor/step") = (int64_t)1 << 40;
    rig_row(&b.rig, "a")[3] = -0.0f;
    rig_row(&b.rig, "a")[4] = 1e-42f;
    save(&b);
    cr_assert_neq(state_digest(&b.rig.state), state_digest(&other.rig.state));
    rig_row(&other.rig, "grad/a")[0] = 8;
    cr_assert(load(&other, b.path, FILL_EXACT));
    rig_quiet(&other.rig);
    cr_assert_eq(state_digest(&b.rig.state), state_digest(&other.rig.state));
    for (uint32_t r = 0; r < b.table.count; r++) {
        const char *name = b.table.rows[r].name;
        size_t bytes = (size_t)type_bytes(&b.table.rows[r].type);
        bool same = memcmp(b.rig.state.row[r], rig_row(&other.rig, name), bytes) == 0;
        cr_assert_eq(same, strcmp(name, "grad/a") != 0, "%s", name);
    }
    cr_assert_eq(rig_row(&other.rig, "grad/a")[0], 8, "gradients are not in the file");
    struct tensor_file *file = tensor_file_open(b.rig.diags, b.rig.arena, b.path);
    cr_assert_str_eq(tensor_file_meta(file, "note"), "of a test");
    tensor_file_close(file);
    bench_close(&b);
    bench_close(&other);
}

Test(state, a_digest_sees_each_saved_byte)
{
    struct bench b;
    bench_open(&b, false, 5);
    uint64_t digest = state_digest(&b.rig.state);
    for (uint32_t r = 0; r < b.table.count; r++) {
        int64_t last = type_bytes(&b.table.rows[r].type) - 1;
        b.rig.state.row[r][last] ^= 1;
        bool saved = b.table.rows[r].class != STATE_GRADIENT;
        cr_assert_eq(state_digest(&b.rig.state) != digest, saved, "%s", b.table.rows[r].name);
        b.rig.state.row[r][last] ^= 1;
    }
    cr_assert_eq(state_digest(&b.rig.state), digest);
    bench_close(&b);
}

/* --- what does not fit ------------------------------------------------------------------------ */

/* A file of A with the row FROM left out, or called TO. */
static void save_as(struct bench *b, const char *from, const char *to, int64_t rows)
{
    struct tensor_entry entries[8];
    uint32_t n = 0;
    for (uint32_t r = 0; r < b->table.count; r++) {
        const char *name = b->table.rows[r].name;
        if (b->table.rows[r].class == STATE_GRADIENT || (strcmp(name, from) == 0 && !to))
            continue;
        entries[n] = (struct tensor_entry){name, rig_row_tensor(&b->rig, name)};
        if (strcmp(name, from) == 0) {
            entries[n].name = to;
            entries[n].tensor.dim[0] = rows;
        }
        n++;
    }
    cr_assert(tensor_file_write(b->rig.diags, b->path, entries, n, NULL, NULL, 0));
}

static void refused(struct bench *b, enum state_fill fill, const char *message)
{
    uint64_t before = state_digest(&b->rig.state);
    cr_assert(!load(b, b->path, fill), "%s", message);
    cr_assert_eq(diags_exit_code(b->rig.diags), 3);
    rig_expect(&b->rig,
               arena_printf(b->rig.arena, "%s does not fit this model: %s", b->path, message));
    cr_assert_eq(state_digest(&b->rig.state), before, "nothing may change");
}

Test(state, a_checkpoint_fits_exactly)
{
    struct bench b;
    bench_open(&b, false, 5);
    save_as(&b, "a", NULL, 0);
    refused(&b, FILL_EXACT, "1 tensor differs: missing a");
    save_as(&b, "a", "c", 3);
    refused(&b, FILL_EXACT, "2 tensors differ: missing a, extra c");
    save_as(&b, "a", "a", 2);
    refused(&b, FILL_EXACT, "1 tensor differs: misshapen a");
    save_as(&b, "adam_m/a", NULL, 0);
    refused(&b, FILL_EXACT, "1 tensor differs: missing adam_m/a");
    save_as(&b, "ema/a", NULL, 0);
    refused(&b, FILL_EXACT, "1 tensor differs: missing ema/a");
    bench_close(&b);
}

/* Weights from outside: an average may take its owner's, moments and cursors stay. */
Test(state, weights_fill_what_they_can)
{
    struct bench b, other;
    bench_open(&b, false, 5);
    bench_open(&other, false, 6);
    save_as(&b, "one", NULL, 0);
    unlink(other.path);
    strcpy(other.path, b.path);
    refused(&other, FILL_WEIGHTS, "1 tensor differs: missing one");
    save_as(&b, "one", "two", 1);
    refused(&other, FILL_WEIGHTS, "2 tensors differ: missing one, extra two");
    rig_row(&b.rig, "ema/a")[2] = 5;
    rig_row(&b.rig, "adam_m/a")[2] = 5;
    save_as(&b, "cursor/step", NULL, 0);
    cr_assert(load(&other, b.path, FILL_WEIGHTS));
    cr_assert_eq(rig_row(&other.rig, "ema/a")[2], 5);
    cr_assert_eq(rig_row(&other.rig, "adam_m/a")[2], 0);
    save_as(&b, "ema/a", NULL, 0);
    cr_assert(load(&other, b.path, FILL_WEIGHTS));
    cr_assert_eq(rig_row(&other.rig, "ema/a")[2], rig_row(&b.rig, "a")[2]);
    rig_quiet(&other.rig);
    bench_close(&b);
    bench_close(&other);
}

/* Names that start with param/, as in files of reference vectors, which hold other things too. */
Test(state, weights_with_a_prefix)
{
    struct bench b;
    bench_open(&b, false, 5);
    float rows[3][400 * 500] = {{0}};
    struct tensor_entry entries[] = {
        {"loss", {DT_F32, 1, {4}, rows[0]}},
        {"param/a", {DT_F32, 2, {3, 5}, rows[0]}},
        {"param/b", {DT_F32, 2, {400, 500}, rows[1]}},
        {"param/one", {DT_F32, 2, {1, 7}, rows[2]}},
    };
    rows[0][14] = 2;
    cr_assert(tensor_file_write(b.rig.diags, b.path, entries, 4, NULL, NULL, 0));
    cr_assert(load(&b, b.path, FILL_WEIGHTS), "%s", diags_render(b.rig.diags, false));
    cr_assert_eq(rig_row(&b.rig, "a")[14], 2);
    cr_assert_eq(rig_row(&b.rig, "ema/a")[14], 2);
    cr_assert_eq(rig_row(&b.rig, "one")[0], 0);
    bench_close(&b);
}

/* A checkpoint that carries its digest is held to it. */
Test(state, a_damaged_checkpoint_is_refused)
{
    struct bench b;
    bench_open(&b, false, 5);
    const char *key = "digest";
    const char *value =
        arena_printf(b.rig.arena, "%016llx", (unsigned long long)state_digest(&b.rig.state));
    cr_assert(state_save(b.rig.diags, b.rig.arena, &b.rig.state, b.path, &key, &value, 1));
    cr_assert(load(&b, b.path, FILL_EXACT));
    FILE *file = fopen(b.path, "r+");
    cr_assert(file && fseek(file, -5, SEEK_END) == 0 && fputc(0x55, file) != EOF);
    cr_assert_eq(fclose(file), 0);
    cr_assert(!load(&b, b.path, FILL_EXACT));
    char *text = diags_render(b.rig.diags, false);
    cr_assert_not_null(
        strstr(text, arena_printf(b.rig.arena, "%s is damaged: its digest is ", b.path)));
    cr_assert_not_null(strstr(text, arena_printf(b.rig.arena, ", and %s was written", value)));
    bench_close(&b);
}
