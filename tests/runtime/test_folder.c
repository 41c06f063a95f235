/* The folder of a run: which checkpoints stay, what becomes of metrics after a kill, and who may
 * train in it. */
#include "tests/support/rig.h"

#include "runtime/folder.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct bench {
    struct rig rig;
    struct state_table table;
    struct folder folder;
    char top[64];
};

static void bench_open(struct bench *b, int64_t keep)
{
    struct state_row row = {.name = "w",
                            .class = STATE_PARAMETER,
                            .type = {.dtype = DT_F32, .rank = 1, .dim = {{3, 0}}}};
    uint32_t at;
    *b = (struct bench){.top = "/tmp/sedge-folder-XXXXXX"};
    rig_open(&b->rig);
    cr_assert(state_declare(&b->table, b->rig.arena, b->rig.diags, &row, &at));
    rig_state(&b->rig, &b->table, 1);
    cr_assert_not_null(mkdtemp(b->top));
    cr_assert(folder_open(&b->folder, b->rig.diags, b->rig.arena,
                          arena_printf(b->rig.arena, "%s/runs/one/", b->top), keep),
              "%s", diags_render(b->rig.diags, false));
}

static void bench_close(struct bench *b)
{
    folder_close(&b->folder);
    cr_assert_eq(system(arena_printf(b->rig.arena, "rm -r '%s'", b->top)), 0);
    rig_close(&b->rig);
}

static void put_file(const struct bench *b, const char *name, const char *text)
{
    FILE *file = fopen(folder_file(&b->folder, name), "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static char *get_file(const struct bench *b, const char *name)
{
    char *text = arena_alloc(b->rig.arena, 4096);
    FILE *file = fopen(folder_file(&b->folder, name), "r");
    cr_assert_not_null(file, "%s", name);
    size_t n = fread(text, 1, 4095, file);
    text[n] = 0;
    fclose(file);
    return text;
}

static bool same_file(const struct bench *b, const char *one, const char *other)
{
    struct stat x, y;
    cr_assert_eq(stat(folder_file(&b->folder, one), &x), 0, "%s", one);
    cr_assert_eq(stat(folder_file(&b->folder, other), &y), 0, "%s", other);
    return x.st_ino == y.st_ino;
}

/* The weight that the checkpoint NAME holds. */
static double weight_in(struct bench *b, const char *name)
{
    struct tensor_file *file =
        tensor_file_open(b->rig.diags, b->rig.arena, folder_file(&b->folder, name));
    cr_assert_not_null(file, "%s", diags_render(b->rig.diags, false));
    double w = rig_element(tensor_file_get(file, "w"), 0);
    tensor_file_close(file);
    return w;
}

static void save(struct bench *b, int64_t step, bool best)
{
    rig_row(&b->rig, "w")[0] = (float)step;
    cr_assert(folder_checkpoint(&b->folder, &b->rig.state, step, best), "%s",
              diags_render(b->rig.diags, false));
}

/* --- checkpoints
 * -------------------------------------------------------------------------------- */

Test(folder, keeps_the_newest_the_last_and_the_best)
{
    struct bench b;
    bench_open(&b, 2);
    for (int64_t step = 10; step <= 50; step += 10)
        save(&b, step, step == 20);
    cr_assert(!folder_has(&b.folder, "step-00000010.safetensors"));
    cr_assert(!folder_has(&b.folder, "step-00000020.safetensors"));
    cr_assert(!folder_has(&b.folder, "step-00000030.safetensors"));
    cr_assert(folder_has(&b.folder, "step-00000040.safetensors"));
    cr_assert(same_file(&b, "last.safetensors", "step-00000050.safetensors"));
    cr_assert_eq(weight_in(&b, "last.safetensors"), 50);
    cr_assert_eq(weight_in(&b, "step-00000040.safetensors"), 40);
    cr_assert_eq(weight_in(&b, "best.safetensors"), 20, "the best stays when its step is dropped");
    save(&b, 60, true);
    cr_assert(same_file(&b, "best.safetensors", "last.safetensors"));
    cr_assert_eq(weight_in(&b, "best.safetensors"), 60);
    save(&b, 60, false);
    cr_assert_eq(weight_in(&b, "best.safetensors"), 60, "the same step twice");
    rig_quiet(&b.rig);
    bench_close(&b);
}

/* Resumed from step 20, the steps beyond it were another future. */
Test(folder, drops_checkpoints_of_a_run_that_went_further)
{
    struct bench b;
    bench_open(&b, 5);
    save(&b, 20, false);
    save(&b, 40, false);
    save(&b, 30, false);
    cr_assert(!folder_has(&b.folder, "step-00000040.safetensors"));
    cr_assert(folder_has(&b.folder, "step-00000020.safetensors"));
    cr_assert_eq(weight_in(&b, "last.safetensors"), 30);
    bench_close(&b);
}

Test(folder, clears_what_an_earlier_run_left)
{
    struct bench b;
    bench_open(&b, 2);
    save(&b, 20, true);
    put_file(&b, "metrics.jsonl", "{\"step\": 1}\n");
    put_file(&b, "config.yaml", "model: m\n");
    folder_clear(&b.folder);
    static const char *const gone[] = {"step-00000020.safetensors", "last.safetensors",
                                       "best.safetensors", "metrics.jsonl"};
    for (int i = 0; i < 4; i++)
        cr_assert(!folder_has(&b.folder, gone[i]), "%s", gone[i]);
    cr_assert(folder_has(&b.folder, "config.yaml"));
    bench_close(&b);
}

/* --- metrics
 * -------------------------------------------------------------------------------------- */

#define LINE(n) "{\"step\": " #n ", \"loss\": 1.5, \"seconds\": " #n ".25}\n"

/* A kill tore the last line, and the steps after the checkpoint were lost. */
Test(folder, metrics_go_back_to_the_checkpoint)
{
    struct bench b;
    bench_open(&b, 2);
    put_file(&b, "metrics.jsonl",
             LINE(1) LINE(2) "{\"step\": 2, \"bound\": 3.5}\n" LINE(3) "{\"step\": 3, \"bou");
    cr_assert(folder_metrics(&b.folder, 2));
    cr_assert_str_eq(get_file(&b, "metrics.jsonl"),
                     LINE(1) LINE(2) "{\"step\": 2, \"bound\": 3.5}\n");
    cr_assert_eq(b.folder.seconds, 2.25);
    cr_assert_eq(b.folder.best, 3.5);
    cr_assert_eq(b.folder.best_step, 2);
    cr_assert_eq(b.folder.validated, 2);
    cr_assert(folder_metric(&b.folder, "{\"step\": 3}"));
    cr_assert_str_eq(get_file(&b, "metrics.jsonl"),
                     LINE(1) LINE(2) "{\"step\": 2, \"bound\": 3.5}\n{\"step\": 3}\n");
    rig_quiet(&b.rig);
    bench_close(&b);
}

/* A torn line that happens to be whole JSON, a torn one in the middle, and one that is none. */
Test(folder, torn_lines_are_dropped)
{
    struct bench b;
    bench_open(&b, 2);
    put_file(&b, "metrics.jsonl",
             LINE(1) "{\"step\": 1, \"lo\n"
                     "[3]\n" LINE(2) "{\"step\": 2}");
    cr_assert(folder_metrics(&b.folder, 9));
    cr_assert_str_eq(get_file(&b, "metrics.jsonl"), LINE(1) LINE(2));
    rig_quiet(&b.rig);
    bench_close(&b);
}

Test(folder, metrics_start_empty)
{
    struct bench b;
    bench_open(&b, 2);
    cr_assert(folder_metrics(&b.folder, 0));
    cr_assert(isinf(b.folder.best) && b.folder.validated == 0 && b.folder.seconds == 0);
    cr_assert(folder_validated(&b.folder, 5, 2.0));
    cr_assert(!folder_validated(&b.folder, 6, 2.0), "no better");
    cr_assert(!folder_validated(&b.folder, 7, NAN));
    cr_assert(folder_validated(&b.folder, 8, 1.5));
    cr_assert_eq(b.folder.best_step, 8);
    cr_assert_eq(b.folder.validated, 8);
    cr_assert_str_eq(get_file(&b, "metrics.jsonl"), "");
    bench_close(&b);
}

/* --- the folder itself
 * ------------------------------------------------------------------------------ */

Test(folder, is_made_with_its_parents_and_swept)
{
    struct bench b;
    bench_open(&b, 2);
    cr_assert_str_eq(b.folder.path, arena_printf(b.rig.arena, "%s/runs/one", b.top));
    put_file(&b, "step-00000007.safetensors.part", "half");
    folder_close(&b.folder);
    cr_assert(folder_open(&b.folder, b.rig.diags, b.rig.arena, b.folder.path, 2));
    cr_assert(!folder_has(&b.folder, "step-00000007.safetensors.part"));
    bench_close(&b);
}

Test(folder, a_file_is_no_folder)
{
    struct bench b;
    struct folder other;
    bench_open(&b, 2);
    put_file(&b, "file", "");
    cr_assert(!folder_open(&other, b.rig.diags, b.rig.arena, folder_file(&b.folder, "file"), 2));
    rig_expect(&b.rig,
               arena_printf(b.rig.arena, "cannot use %s/runs/one/file: Not a directory", b.top));
    bench_close(&b);
}

/* Locks belong to open folders, so a second one even in this process is refused. */
Test(folder, one_process_trains_in_it)
{
    struct bench b;
    struct folder other;
    bench_open(&b, 2);
    cr_assert(!folder_open(&other, b.rig.diags, b.rig.arena, b.folder.path, 2));
    rig_expect(&b.rig, arena_printf(b.rig.arena, "another process is training %s/runs/one", b.top));
    folder_close(&other);
    bench_close(&b);
}
