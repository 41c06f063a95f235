/* Keeps tokens on disk. Called by corpus.c. */
#include "runtime/data/token_cache.h"

#include "graph/base/random.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRAIN, TRAIN_STARTS, VALID, VALID_STARTS, PARTS };
static const char *const names[PARTS] = {"train", "train_starts", "valid", "valid_starts"};

static char *place(struct arena *arena, const char *folder, uint64_t key)
{
    return arena_printf(arena, "%s/%016llx.safetensors", folder, (unsigned long long)key);
}

/* Of the key and of all tensors, as hexadecimal digits. */
static char *digest(struct arena *arena, uint64_t key, const struct tensor_entry *parts)
{
    uint64_t hashes[PARTS + 1] = {[PARTS] = key};
    for (int i = 0; i < PARTS; i++) {
        const struct tensor *t = &parts[i].tensor;
        hashes[i] = hash_bytes(t->data, (size_t)t->dim[0] * dtype_size(t->dtype));
    }
    return arena_printf(arena, "%016llx", (unsigned long long)hash_bytes(hashes, sizeof hashes));
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool find_parts(const struct tensor_file *file, struct tensor_entry *parts)
{
    for (int i = 0; i < PARTS; i++) {
        bool starts = i == TRAIN_STARTS || i == VALID_STARTS;
        const struct tensor *t = tensor_file_get(file, names[i]);
        if (!t || t->rank != 1 || t->dtype != (starts ? DT_I64 : DT_I32) || t->dim[0] < starts)
            return false;
        parts[i].tensor = *t;
    }
    return true;
}

struct tensor_file *token_cache_open(struct arena *arena, const char *folder, uint64_t key,
                                     struct stream *train, struct stream *valid)
{
    struct diags *unsaid = diags_new(arena); /* what is wrong with it is nobody's fault to mend */
    const char *path = place(arena, folder, key);
    struct tensor_entry part[PARTS];
    struct tensor_file *file =
        access(path, F_OK) == 0 ? tensor_file_open(unsaid, arena, path) : NULL;
    const char *said = file ? tensor_file_meta(file, "digest") : NULL;
    if (!said || !find_parts(file, part) || strcmp(said, digest(arena, key, part)) != 0) {
        tensor_file_close(file);
        return NULL;
    }
    stream_borrow(train, part[TRAIN].tensor.data, (size_t)part[TRAIN].tensor.dim[0],
                  part[TRAIN_STARTS].tensor.data, (size_t)part[TRAIN_STARTS].tensor.dim[0] - 1);
    stream_borrow(valid, part[VALID].tensor.data, (size_t)part[VALID].tensor.dim[0],
                  part[VALID_STARTS].tensor.data, (size_t)part[VALID_STARTS].tensor.dim[0] - 1);
    return file;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* False after reporting. */
static bool make_folder(struct diags *diags, const char *folder)
{
    struct arena *scratch = arena_new();
    char *path = arena_printf(scratch, "%s/", folder);
    bool good = true;
    for (char *slash = strchr(path + 1, '/'); slash && good; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        good = mkdir(path, 0777) == 0 || errno == EEXIST;
        if (!good)
            diag_error(diags, FAULT_RUN, (struct span){0}, "%s: cannot make the folder: %s", path,
                       strerror(errno));
        *slash = '/';
    }
    arena_free(scratch);
    return good;
}

/* What would end the process waits: a file that was begun would stay half-written. */
static void hold_signals(sigset_t *before)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &held, before);
}

void token_cache_write(struct diags *diags, const char *folder, uint64_t key,
                       const struct stream *train, const struct stream *valid)
{
    static const char *const keys[] = {"digest"};
    static const int64_t none[] = {0};
    const struct stream *streams[] = {train, valid};
    struct tensor_entry parts[PARTS];
    struct arena *scratch = arena_new();
    for (int i = 0; i < PARTS; i++) {
        const struct stream *s = streams[i / 2];
        bool starts = i == TRAIN_STARTS || i == VALID_STARTS;
        const void *begins = s->starts ? s->starts : none, *data = starts ? begins : s->ids;
        int64_t count = (int64_t)(starts ? s->documents + 1 : s->count);
        parts[i] = (struct tensor_entry){.name = names[i],
                                         .tensor = {.dtype = starts ? DT_I64 : DT_I32,
                                                    .rank = 1,
                                                    .dim = {count},
                                                    .data = (void *)(uintptr_t)data}};
    }
    const char *value = digest(scratch, key, parts);
    struct diags *said = diags_new(scratch); /* as errors: what cannot be kept is none */
    sigset_t before;
    hold_signals(&before);
    if (!make_folder(said, folder) ||
        !tensor_file_write(said, place(scratch, folder, key), parts, PARTS, keys, &value, 1)) {
        diag_warning(diags, (struct span){0}, "the tokens cannot be kept: %s", diags_last(said));
        diag_hint(diags, "data.cache=FOLDER says where else; data.cache=off keeps none");
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    arena_free(scratch);
}
