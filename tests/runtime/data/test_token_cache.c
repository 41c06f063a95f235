/* Tokens that were kept: found again, made anew where they are broken, and never what they are not.
 * */
#include "graph/base/random.h"
#include "runtime/data/corpus.h"
#include "runtime/data/token_file.h"
#include "tests/runtime/data/fixture.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct arena *arena;
static struct diags *diags;
static char *folder;

static void open_arena(void)
{
    arena = arena_new();
    diags = diags_new(arena);
    folder = arena_strdup(arena, "/tmp/sedge-cache-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void close_arena(void)
{
    cr_assert_eq(system(arena_printf(arena, "rm -rf %s", folder)), 0);
    arena_free(arena);
}

TestSuite(token_cache, .init = open_arena, .fini = close_arena);

/* The one file of the folder. */
static char *kept(void)
{
    DIR *d = opendir(folder);
    char *found = NULL;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') {
            cr_assert_null(found, "%s and %s", found, e->d_name);
            found = arena_printf(arena, "%s/%s", folder, e->d_name);
        }
    closedir(d);
    return found;
}

static struct corpus read_corpus(const struct corpus_options *options)
{
    struct corpus c;
    cr_assert(corpus_read(diags, arena, options, &c), "%s", diags_render(diags, false));
    return c;
}

static uint64_t tokens_of(const struct corpus *c)
{
    const struct stream *each[] = {&c->train, &c->valid};
    uint64_t hashes[4];
    for (int i = 0; i < 2; i++) {
        hashes[2 * i] = hash_bytes(each[i]->ids, each[i]->count * sizeof(int32_t));
        hashes[2 * i + 1] = hash_bytes(each[i]->starts, (each[i]->documents + 1) * sizeof(int64_t));
    }
    return hash_bytes(hashes, sizeof hashes);
}

static const char *lines(void)
{
    char *text = arena_strdup(arena, "");
    for (int i = 0; i < 200; i++)
        text = arena_printf(arena, "%sline %d\n", text, i);
    return fixture_text(arena, text);
}

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    cr_assert(f && fseek(f, at, at < 0 ? SEEK_END : SEEK_SET) == 0);
    int byte = fgetc(f);
    fseek(f, -1, SEEK_CUR);
    fputc(byte ^ 1, f);
    fclose(f);
}

static void check_broken(bool by_document)
{
    const char *path = lines();
    struct corpus_options o = {.files = &path,
                               .file_count = 1,
                               .valid = 0.3,
                               .by_document = by_document,
                               .length = 4,
                               .format = {.format = "lines"}};
    struct corpus plain = read_corpus(&o);
    uint64_t tokens = tokens_of(&plain);
    corpus_close(&plain);
    o.cache = arena_printf(arena, "%s/in/here", folder);
    folder = arena_strdup(arena, o.cache);
    struct corpus first = read_corpus(&o);
    cr_assert_null(first.cache);
    cr_assert_eq(tokens_of(&first), tokens);
    corpus_close(&first);
    struct stat whole, again;
    cr_assert_eq(stat(kept(), &whole), 0);
    for (long at = 0; at < (long)whole.st_size; at += at < 700 ? 7 : 401) {
        struct corpus there = read_corpus(&o);
        cr_assert_not_null(there.cache);
        cr_assert_eq(tokens_of(&there), tokens);
        corpus_close(&there);
        flip(kept(), at);
        struct corpus anew = read_corpus(&o);
        cr_assert_eq(tokens_of(&anew), tokens, "byte %ld", at);
        corpus_close(&anew);
    }
    for (long size = 0; size < (long)whole.st_size; size += 997) {
        cr_assert_eq(truncate(kept(), size), 0);
        struct corpus anew = read_corpus(&o);
        cr_assert_null(anew.cache);
        cr_assert_eq(tokens_of(&anew), tokens, "%ld bytes", size);
        corpus_close(&anew);
        cr_assert(stat(kept(), &again) == 0 && again.st_size == whole.st_size);
    }
    assert_clean(diags);
    unlink(path);
}

Test(token_cache, a_broken_one_is_made_anew)
{
    check_broken(false);
}

Test(token_cache, a_broken_one_of_chosen_documents_is_made_anew)
{
    check_broken(true);
}

/* What decides the tokens decides the name: each of these has a file of its own. */
Test(token_cache, belongs_to_what_it_was_made_from)
{
    const char *path = lines();
    struct corpus_options o = {
        .files = &path, .file_count = 1, .valid = 0.3, .length = 4, .cache = folder};
    for (int i = 0; i < 6; i++) {
        if (i == 1)
            o.format.format = "lines";
        else if (i == 2)
            o.separator = "none";
        else if (i == 3)
            o.tokenizer = TOKENIZER_BYTES;
        else if (i == 4)
            o.by_document = true;
        else if (i == 5)
            o.valid = 0.2;
        struct corpus c = read_corpus(&o), again = read_corpus(&o);
        cr_assert(!c.cache && again.cache, "%d", i);
        cr_assert_eq(tokens_of(&c), tokens_of(&again));
        corpus_close(&c);
        corpus_close(&again);
    }
    /* Where the end is held out, how much does not: the split comes after. */
    o.by_document = false;
    struct corpus c = read_corpus(&o);
    o.valid = 0.5;
    struct corpus half = read_corpus(&o);
    cr_assert(half.cache && half.valid.count > c.valid.count);
    corpus_close(&c);
    corpus_close(&half);
    o.cache_from = 1 << 20;
    struct corpus little = read_corpus(&o);
    cr_assert_null(little.cache);
    corpus_close(&little);
    unlink(path);
}

Test(token_cache, a_folder_that_cannot_be_is_a_warning)
{
    const char *path = lines();
    struct corpus_options o = {.files = &path, .file_count = 1, .valid = 0.3, .length = 4};
    o.cache = arena_printf(arena, "%s/below", path);
    struct corpus c = read_corpus(&o);
    cr_assert_eq(diags_errors(diags), 0);
    assert_says(diags,
                arena_printf(arena,
                             "warning: the tokens cannot be kept: %s: cannot make the folder: Not "
                             "a directory\n    data.cache=FOLDER says where else",
                             o.cache));
    cr_assert_gt(c.train.count, 0);
    corpus_close(&c);
    unlink(path);
}

/* A limit on the size of files stands in for a full disk; the folder is there. */
Test(token_cache, a_full_disk_is_a_warning)
{
    const char *path = lines();
    struct corpus_options o = {
        .files = &path, .file_count = 1, .valid = 0.3, .length = 4, .cache = folder};
    struct rlimit limit = {1024, 1024};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct corpus c = read_corpus(&o);
    cr_assert_eq(diags_errors(diags), 0);
    assert_says(diags, ".safetensors: cannot make room for it: File too large\n");
    cr_assert_gt(c.train.count, 0);
    cr_assert_null(kept());
    corpus_close(&c);
    unlink(path);
}

/* A file of ids alone is no copy. */
Test(token_cache, ids_are_mapped)
{
    struct vocabulary *v = vocabulary_from_texts(arena, TOKENIZER_BYTES, NULL, 0);
    int32_t ids[100];
    for (int i = 0; i < 100; i++)
        ids[i] = i;
    char *path = arena_printf(arena, "%s/ids.safetensors", folder);
    cr_assert(token_file_write(diags, path, v, ids, 100));
    struct corpus_options o = {.files = (const char *const[]){path},
                               .file_count = 1,
                               .valid = 0.25,
                               .tokenizer = TOKENIZER_BYTES,
                               .vocabulary = v,
                               .format = {.vocabulary = v},
                               .length = 4};
    struct corpus c = read_corpus(&o);
    cr_assert(c.train.id_room == 0 && c.train.count == 75 && c.valid.count == 25);
    cr_assert_arr_eq(c.train.ids, ids, 75 * sizeof *ids);
    cr_assert_arr_eq(c.valid.ids, ids + 75, 25 * sizeof *ids);
    corpus_close(&c);
    o.by_document = true;
    o.valid = 1;
    c = read_corpus(&o);
    cr_assert(c.valid.count == 100 && c.valid.id_room > 0);
    corpus_close(&c);
    o.by_document = false;
    cr_assert(token_file_write(diags, path, v, ids, 0));
    cr_assert_not(corpus_read(diags, arena, &o, &c));
    assert_says(diags, "ids.safetensors: error: no document of the format tokens is in it\n");
    corpus_close(&c);
}
