/* The run folder. Called by `train`; `eval` and `sample` read it. */
#include "runtime/folder.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fault(const struct folder *f, const char *what, const char *path)
{
    diag_error(f->diags, FAULT_RUN, (struct span){0}, "%s %s: %s", what, path, strerror(errno));
    return false;
}

char *folder_file(const struct folder *folder, const char *name)
{
    return arena_printf(folder->arena, "%s/%s", folder->path, name);
}

bool folder_has(const struct folder *folder, const char *name)
{
    return access(folder_file(folder, name), F_OK) == 0;
}

static bool make_folders(const struct folder *f)
{
    char *path = arena_strdup(f->arena, f->path);
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at != 0)
            continue;
        char kept = *at;
        *at = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return fault(f, "cannot make the folder", path);
        *at = kept;
        if (!kept)
            break;
    }
    struct stat s;
    if (stat(path, &s) != 0 || !S_ISDIR(s.st_mode)) {
        errno = ENOTDIR;
        return fault(f, "cannot use", path);
    }
    return true;
}

bool folder_open(struct folder *folder, struct diags *diags, struct arena *arena, const char *path,
                 int64_t keep)
{
    char *clean = arena_strdup(arena, path);
    for (size_t n = strlen(clean); n > 1 && clean[n - 1] == '/'; n--)
        clean[n - 1] = 0;
    *folder = (struct folder){.diags = diags, .arena = arena, .path = clean, .keep = keep,
                              .best = INFINITY};
    if (!make_folders(folder))
        return false;
    if (access(clean, W_OK | X_OK) != 0)
        return fault(folder, "cannot write to", clean);
    return true;
}

void folder_close(struct folder *folder)
{
    if (folder->metrics)
        fclose(folder->metrics);
    folder->metrics = NULL;
}

/* --- metrics ------------------------------------------------------------------------------ */

/* The step of a metrics line, or -1 where it is torn (a kill in the middle of a write). */
static int64_t line_step(const char *line, size_t length)
{
    json_t *json = json_loadb(line, length, 0, NULL);
    json_t *step = json ? json_object_get(json, "step") : NULL;
    int64_t n = json_is_integer(step) ? json_integer_value(step) : -1;
    json_decref(json);
    return n;
}

static bool keep_metrics(struct folder *f, const char *path, int64_t step)
{
    FILE *in = fopen(path, "r");
    if (!in)
        return errno == ENOENT || fault(f, "cannot read", path);
    char *line = NULL, *kept = NULL;
    size_t capacity = 0, size = 0;
    FILE *out = open_memstream(&kept, &size);
    for (ssize_t n; out && (n = getline(&line, &capacity, in)) > 0;) {
        int64_t at = line[n - 1] == '\n' ? line_step(line, (size_t)n) : -1;
        if (at >= 0 && at <= step)
            fwrite(line, 1, (size_t)n, out);
    }
    free(line);
    fclose(in);
    if (!out || fclose(out) != 0) {
        free(kept);
        return fault(f, "no memory for", path);
    }
    bool good = file_write_atomic(f->diags, path, kept, size);
    free(kept);
    return good;
}

bool folder_metrics(struct folder *folder, int64_t step)
{
    char *path = folder_file(folder, "metrics.jsonl");
    if (!keep_metrics(folder, path, step))
        return false;
    folder->metrics = fopen(path, "a");
    return folder->metrics || fault(folder, "cannot write to", path);
}

bool folder_metric(struct folder *folder, const char *line)
{
    if (fprintf(folder->metrics, "%s\n", line) > 0 && fflush(folder->metrics) == 0)
        return true;
    return fault(folder, "cannot write to", folder_file(folder, "metrics.jsonl"));
}

/* --- checkpoints -------------------------------------------------------------------------- */

/* NAME becomes another name of FROM, at once: linked beside it, then renamed over the old one. */
static bool point(struct folder *f, const char *from, const char *name)
{
    char *to = folder_file(f, name), *part = folder_file(f, arena_printf(f->arena, ".%s.new", name));
    unlink(part);
    if (link(from, part) != 0 || rename(part, to) != 0)
        return fault(f, "cannot write", to);
    return true;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static char *step_file(const struct folder *f, int64_t step)
{
    return folder_file(f, arena_printf(f->arena, "step-%08lld.safetensors", (long long)step));
}

static void drop_old(struct folder *f, int64_t newest)
{
    DIR *dir = opendir(f->path);
    int64_t *steps = NULL;
    uint32_t count = 0, capacity = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char *end;
        if (strncmp(e->d_name, "step-", 5) != 0)
            continue;
        long long step = strtoll(e->d_name + 5, &end, 10);
        if (strcmp(end, ".safetensors") != 0)
            continue;
        steps = arena_grow(f->arena, steps, count, &capacity, sizeof *steps);
        steps[count++] = step;
    }
    if (dir)
        closedir(dir);
    if (count)
        qsort(steps, count, sizeof *steps, newest_first);
    int64_t kept = 0;
    for (uint32_t i = 0; i < count; i++) /* files of a run that went further are not of this one */
        if (steps[i] > newest || ++kept > f->keep)
            unlink(step_file(f, steps[i]));
}

void folder_clear(struct folder *folder)
{
    static const char *const files[] = {"last.safetensors", "best.safetensors", "metrics.jsonl",
                                        "progress.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(folder_file(folder, files[i]));
    drop_old(folder, -1);
    folder->seconds = 0;
    folder->best = INFINITY;
}

static bool write_progress(struct folder *f, int64_t step)
{
    char *best = isfinite(f->best) ? arena_printf(f->arena, "%.17g", f->best) : NULL;
    char *text = arena_printf(f->arena, "{\"step\": %lld, \"seconds\": %.3f, \"best\": %s}\n",
                              (long long)step, f->seconds, best ? best : "null");
    return file_write_atomic(f->diags, folder_file(f, "progress.json"), text, strlen(text));
}

bool folder_checkpoint(struct folder *folder, const struct state *state, int64_t step, bool best)
{
    char *path = step_file(folder, step);
    if (!state_save(folder->diags, folder->arena, state, path, NULL, NULL, 0) ||
        !point(folder, path, "last.safetensors") ||
        (best && !point(folder, path, "best.safetensors")))
        return false;
    drop_old(folder, step);
    return write_progress(folder, step);
}

bool folder_read_progress(struct folder *folder)
{
    json_error_t error;
    char *path = folder_file(folder, "progress.json");
    json_t *json = json_load_file(path, 0, &error);
    if (!json) { /* a kill between the first checkpoint and this file: nothing is lost */
        if (!folder_has(folder, "progress.json"))
            return true;
        diag_error(folder->diags, FAULT_DATA, (struct span){0}, "%s: %s", path, error.text);
        return false;
    }
    json_t *best = json_object_get(json, "best");
    folder->seconds = json_number_value(json_object_get(json, "seconds"));
    folder->best = json_is_number(best) ? json_number_value(best) : INFINITY;
    json_decref(json);
    return true;
}
