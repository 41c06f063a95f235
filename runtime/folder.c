/* The run folder. Called by `train`; `eval` and `sample` read it. */
#define _DEFAULT_SOURCE /* flock */
#include "runtime/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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

/* The lock goes with the process, however it ends. A file system without locks has none to
 * offer. */
static bool lock(struct folder *f)
{
    f->lock = opendir(f->path);
    if (!f->lock)
        return fault(f, "cannot open the folder", f->path);
    if (flock(dirfd(f->lock), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return true;
    diag_error(f->diags, FAULT_RUN, (struct span){0}, "another process is training %s", f->path);
    diag_hint(f->diags, "wait for it, stop it, or choose another folder with -o");
    return false;
}

/* Whether NAME is that of a file of a run which was being written: NAME.PID-N.part, or the second
 * name of a checkpoint before it takes its place, NAME.part. */
static bool is_part(const char *name)
{
    static const char *const bases[] = {"config.yaml",   "run.json",         "vocabulary.json",
                                        "metrics.jsonl", "last.safetensors", "best.safetensors",
                                        "step-"};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        size_t n = strlen(bases[i]), m = strlen(name);
        if (strncmp(name, bases[i], n) == 0 && m >= n + 5 && strcmp(name + m - 5, ".part") == 0)
            return true;
    }
    return false;
}

/* Removes what a kill in the middle of a write left behind; only the owner of the lock may. A
 * folder that holds other things and no run is somebody else's, and is left alone. */
static bool sweep(struct folder *f)
{
    bool run = folder_has(f, "config.yaml") || folder_has(f, "run.json");
    for (struct dirent *e; (e = readdir(f->lock));) {
        if (is_part(e->d_name)) {
            unlink(folder_file(f, e->d_name));
        } else if (!run && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            diag_error(f->diags, FAULT_CONFIG, (struct span){0},
                       "%s is no run and is not empty: it holds %s", f->path, e->d_name);
            diag_hint(f->diags, "choose another folder with -o");
            return false;
        }
    }
    return true;
}

bool folder_open(struct folder *folder, struct diags *diags, struct arena *arena, const char *path,
                 int64_t keep)
{
    char *clean = arena_strdup(arena, path);
    for (size_t n = strlen(clean); n > 1 && clean[n - 1] == '/'; n--)
        clean[n - 1] = 0;
    *folder = (struct folder){
        .diags = diags, .arena = arena, .path = clean, .keep = keep, .best = INFINITY};
    if (!make_folders(folder))
        return false;
    if (access(clean, W_OK | X_OK) != 0)
        return fault(folder, "cannot write to", clean);
    if (!lock(folder))
        return false;
    return sweep(folder);
}

void folder_close(struct folder *folder)
{
    if (folder->metrics)
        fclose(folder->metrics);
    if (folder->lock)
        closedir(folder->lock);
    folder->metrics = NULL;
    folder->lock = NULL;
}

/* --- metrics ------------------------------------------------------------------------------ */

/* Takes in what a line of metrics tells of a run that is at STEP. False when the line is torn (a
 * kill in the middle of a write) or of a later step, and shall go. */
static bool take_line(struct folder *f, const char *line, size_t length, int64_t step)
{
    json_t *json = line[length - 1] == '\n' ? json_loadb(line, length, 0, NULL) : NULL;
    json_t *at = json ? json_object_get(json, "step") : NULL;
    int64_t n = json_is_integer(at) ? json_integer_value(at) : -1;
    bool kept = n >= 0 && n <= step;
    json_t *bound = kept ? json_object_get(json, "bound") : NULL;
    json_t *seconds = kept ? json_object_get(json, "seconds") : NULL;
    if (json_is_number(bound))
        folder_validated(f, n, json_number_value(bound));
    if (json_is_number(seconds))
        f->seconds = json_number_value(seconds);
    json_decref(json);
    return kept;
}

/* Lines are dropped by writing the file anew; where none is, it is left alone. */
static bool keep_metrics(struct folder *f, const char *path, int64_t step)
{
    FILE *in = fopen(path, "r");
    if (!in)
        return errno == ENOENT || fault(f, "cannot read", path);
    char *line = NULL, *kept = NULL;
    size_t capacity = 0, size = 0;
    bool whole = true;
    FILE *out = open_memstream(&kept, &size);
    for (ssize_t n; out && (n = getline(&line, &capacity, in)) > 0;) {
        if (take_line(f, line, (size_t)n, step))
            fwrite(line, 1, (size_t)n, out);
        else
            whole = false;
    }
    free(line);
    fclose(in);
    if (!out || fclose(out) != 0) {
        free(kept);
        return fault(f, "no memory for", path);
    }
    bool good = whole || file_write_atomic(f->diags, path, kept, size);
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

bool folder_validated(struct folder *folder, int64_t step, double bound)
{
    folder->validated = step;
    if (!(bound < folder->best)) /* also when it is not a number */
        return false;
    folder->best = bound;
    folder->best_step = step;
    return true;
}

/* Metrics reach the disk before the checkpoint that counts on them. */
static bool sync_metrics(struct folder *f)
{
    if (!f->metrics || fsync(fileno(f->metrics)) == 0 || errno == EINVAL)
        return true;
    return fault(f, "cannot write to", folder_file(f, "metrics.jsonl"));
}

/* --- checkpoints -------------------------------------------------------------------------- */

static bool save(struct folder *f, const struct state *state, const char *path)
{
    const char *keys[] = {"digest"};
    const char *values[] = {
        arena_printf(f->arena, "%016llx", (unsigned long long)state_digest(state))};
    return state_save(f->diags, f->arena, state, path, keys, values, 1);
}

/* NAME becomes another name of the file FROM, at once: linked beside it, then renamed over the old
 * one. A file system without links gets a copy. */
static bool point(struct folder *f, const struct state *state, const char *from, const char *name)
{
    char *to = folder_file(f, name),
         *part = folder_file(f, arena_printf(f->arena, "%s.part", name));
    unlink(part);
    if (link(from, part) != 0) {
        bool linkless = errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK;
        return linkless ? save(f, state, to) : fault(f, "cannot write", to);
    }
    if (rename(part, to) != 0)
        return fault(f, "cannot write", to);
    unlink(part); /* it is still there when both were the same file */
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

void folder_drop(struct folder *folder, int64_t newest)
{
    DIR *dir = opendir(folder->path);
    int64_t *steps = NULL;
    uint32_t count = 0, capacity = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char *end;
        if (strncmp(e->d_name, "step-", 5) != 0)
            continue;
        long long step = strtoll(e->d_name + 5, &end, 10);
        if (strcmp(end, ".safetensors") != 0)
            continue;
        steps = arena_grow(folder->arena, steps, count, &capacity, sizeof *steps);
        steps[count++] = step;
    }
    if (dir)
        closedir(dir);
    if (count)
        qsort(steps, count, sizeof *steps, newest_first);
    int64_t kept = 0;
    for (uint32_t i = 0; i < count; i++) /* files of a run that went further are not of this one */
        if (steps[i] > newest || ++kept > folder->keep)
            unlink(step_file(folder, steps[i]));
}

void folder_clear(struct folder *folder)
{
    static const char *const files[] = {"last.safetensors", "best.safetensors", "metrics.jsonl"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(folder_file(folder, files[i]));
    folder_drop(folder, -1);
}

/* The newest name comes last: until then a kill leaves the checkpoint before, and what it is
 * followed by is done again in the same way. */
bool folder_checkpoint(struct folder *folder, const struct state *state, int64_t step, bool best)
{
    struct folder f = *folder;
    f.arena = arena_new(); /* what a checkpoint needs is gone after it */
    char *path = step_file(&f, step);
    bool good = sync_metrics(&f) && save(&f, state, path) &&
                (!best || point(&f, state, path, "best.safetensors")) &&
                point(&f, state, path, "last.safetensors");
    if (good)
        folder_drop(&f, step);
    arena_free(f.arena);
    return good;
}
