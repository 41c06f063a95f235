/* Tensor files: what is written is read back, what is corrupt is refused by name, and a failed
 * write leaves the file that was there. */
#include "graph/base/safetensors.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static char path[96];
static struct arena *arena;
static struct diags *diags;

static void set_up(void)
{
    strcpy(folder, "/tmp/sedge-test-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    arena = arena_new();
    diags = diags_new(arena);
}

/* How many files there are: a temporary one that stays behind shows. */
static int count_files(void)
{
    int count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void tear_down(void)
{
    unlink(path);
    rmdir(folder);
    arena_free(arena);
}

TestSuite(safetensors, .init = set_up, .fini = tear_down);

static void write_raw(uint64_t header_length, const char *header, size_t header_size,
                      const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    for (int i = 0; i < 8; i++)
        fputc((int)(header_length >> 8 * i & 0xff), file);
    fwrite(header, 1, header_size, file);
    fwrite(data, 1, size, file);
    cr_assert_eq(fclose(file), 0);
}

static void expect_refused(const char *message)
{
    cr_assert_null(tensor_file_open(diags, arena, path), "accepted, but expected: %s", message);
    cr_assert_eq(diags_errors(diags), 1);
    cr_assert_eq(diags_exit_code(diags), 3);
    const char *text = diags_render(diags, false);
    cr_assert_not_null(strstr(text, message), "expected: %s\ngot: %s", message, text);
    cr_assert_not_null(strstr(text, path), "the file is not named: %s", text);
}

Test(safetensors, round_trip)
{
    float weights[6] = {1.5f, -2, 0, 1e-30f, 3e38f, -0.0f};
    double sums[2] = {0.1, -1e300};
    int32_t tokens[3] = {0, 50257, -1};
    int64_t cursor = INT64_MAX;
    uint8_t flags[5] = {0, 1, 1, 0, 1};
    struct tensor_entry entries[] = {
        {"wte.weight", {DT_F32, 2, {2, 3}, weights}},
        {"sums", {DT_F64, 1, {2}, sums}},
        {"x0", {DT_TOKEN, 1, {3}, tokens}},
        {"none", {DT_F32, 2, {0, 7}, NULL}},
        {"flags", {DT_BOOL, 1, {5}, flags}},
        {"cursor \"\xc3\xa9\"", {DT_I64, 0, {0}, &cursor}},
    };
    const char *keys[] = {"step", "config"}, *values[] = {"12", "a: \"b\"\nc: \xe2\x82\xac\n"};
    cr_assert(tensor_file_write(diags, path, entries, 6, keys, values, 2));

    struct tensor_file *file = tensor_file_open(diags, arena, path);
    cr_assert_not_null(file, "%s", diags_render(diags, false));
    cr_assert_eq(file->count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        const struct tensor *want = &entries[i].tensor, *got = &file->entries[i].tensor;
        cr_assert_str_eq(file->entries[i].name, entries[i].name);
        cr_assert_eq(tensor_file_get(file, entries[i].name), got);
        cr_assert_eq(got->dtype, want->dtype == DT_TOKEN ? DT_I32 : want->dtype);
        cr_assert_eq(got->rank, want->rank);
        for (uint32_t d = 0; d < want->rank; d++)
            cr_assert_eq(got->dim[d], want->dim[d]);
        size_t size = (size_t)tensor_size(want) * dtype_size(want->dtype);
        cr_assert(size == 0 || memcmp(got->data, want->data, size) == 0, "%s", entries[i].name);
        cr_assert_eq((uintptr_t)got->data % dtype_size(got->dtype), 0, "%s", entries[i].name);
    }
    /* The first tensor starts at a multiple of 64 in the file, and so in its mapping. */
    cr_assert_eq((uintptr_t)file->entries[0].tensor.data % 64, 0);
    cr_assert_eq(file->meta_count, 2);
    cr_assert_str_eq(tensor_file_meta(file, "step"), "12");
    cr_assert_str_eq(tensor_file_meta(file, "config"), values[1]);
    cr_assert_null(tensor_file_meta(file, "stepp"));
    cr_assert_null(tensor_file_get(file, "wte"));
    tensor_file_close(file);
    cr_assert_eq(count_files(), 1);
}

Test(safetensors, empty_file_round_trip)
{
    cr_assert(tensor_file_write(diags, path, NULL, 0, NULL, NULL, 0));
    struct tensor_file *file = tensor_file_open(diags, arena, path);
    cr_assert_not_null(file);
    cr_assert_eq(file->count, 0);
    cr_assert_eq(file->meta_count, 0);
    tensor_file_close(file);
}

/* A file of another writer: header not padded, tensors out of order, U8, data not aligned. */
Test(safetensors, unaligned_data_is_copied)
{
    const char *header = "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]},"
                         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}   ";
    float number = 2.5f;
    uint8_t data[5] = {1};
    memcpy(data + 1, &number, sizeof number);
    for (size_t padding = 0; padding < 4; padding++) {
        size_t length = strlen(header) - padding % 4;
        write_raw(length, header, length, data, sizeof data);
        struct tensor_file *file = tensor_file_open(diags, arena, path);
        cr_assert_not_null(file, "%s", diags_render(diags, false));
        cr_assert_str_eq(file->entries[0].name, "b");
        const float *b = tensor_file_get(file, "b")->data;
        cr_assert_eq((uintptr_t)b % 4, 0);
        cr_assert_eq(*b, 2.5f);
        cr_assert_eq(tensor_file_get(file, "a")->dtype, DT_BOOL);
        cr_assert_eq(*(uint8_t *)tensor_file_get(file, "a")->data, 1);
        tensor_file_close(file);
    }
}

#define ENTRY(name, dtype, shape, offsets)                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define FILE_OF(entries) "{" entries "}"
#define ONE(dtype, shape, offsets) FILE_OF(ENTRY("w", dtype, shape, offsets))

/* Headers that lie, each with the bytes of data behind it and what must be said. The first of these
 * bytes is 2, the others are 0. */
static const struct {
    const char *header;
    size_t data_size;
    const char *message;
} hostile[] = {
    {"", 0, "does not start with `{`"},
    {"[]", 0, "does not start with `{`"},
    {" {}", 0, "does not start with `{`"},
    {"{", 0, "not valid JSON"},
    {"{}x", 0, "not valid JSON"},
    {"{} {}", 0, "not valid JSON"},
    {"{\"\xff\":1}", 0, "not valid JSON"},
    {"{\"a\\u0000b\":1}", 0, "not valid JSON"},
    {FILE_OF(ENTRY("w", "F32", "[1]", "[0,4]") "," ENTRY("w", "F32", "[1]", "[4,8]")), 8,
     "duplicate object key"},
    {"{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
     "duplicate object key"},
    {"{\"w\":[]}", 0, "`w`: is not described by an object"},
    {"{\"w\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4, "dtype is missing"},
    {"{\"w\":{\"dtype\":3,\"shape\":[],\"data_offsets\":[0,4]}}", 4, "dtype is missing"},
    {"{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape is missing"},
    {"{\"w\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, "shape is missing"},
    {"{\"w\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, "data_offsets are not two numbers"},
    {ONE("F32", "[]", "[0]"), 4, "data_offsets are not two numbers"},
    {ONE("F32", "[]", "[0,4,4]"), 4, "data_offsets are not two numbers"},
    {ONE("F32", "[]", "[0,4.0]"), 4, "data_offsets are not two numbers"},
    {ONE("F32", "[]", "[4,0]"), 4, "data_offsets are not a range"},
    {ONE("F32", "[]", "[-4,0]"), 4, "data_offsets are not a range"},
    {ONE("F32", "[2]", "[0,8]"), 7, "ends at byte 8 of 7: the file is truncated"},
    {ONE("F32", "[1]", "[0,8]"), 8, "has 8 bytes, but its shape and dtype need 4"},
    {ONE("F32", "[2]", "[0,4]"), 4, "has 4 bytes, but its shape and dtype need 8"},
    {ONE("F32", "[0]", "[0,4]"), 4, "has 4 bytes, but its shape and dtype need 0"},
    {ONE("F16", "[2]", "[0,4]"), 4, "convert the file to F32"},
    {ONE("BF16", "[2]", "[0,4]"), 4, "convert the file to F32"},
    {ONE("F8_E4M3", "[4]", "[0,4]"), 4, "dtype F8_E4M3 is not supported"},
    {ONE("f32", "[1]", "[0,4]"), 4, "dtype f32 is not supported"},
    {ONE("F32", "[-1]", "[0,4]"), 4, "axis 0 is not a size"},
    {ONE("F32", "[1,1.0]", "[0,4]"), 4, "axis 1 is not a size"},
    {ONE("F32", "[1,\"1\"]", "[0,4]"), 4, "axis 1 is not a size"},
    {ONE("F32", "[1,1,1,1,1,1,1]", "[0,4]"), 4, "more than 6 axes"},
    /* 2^32 * 2^32 and 2^62 * 4 are 0 in 64 bits; 2^63 is no int64; the last is above the limit. */
    {ONE("F32", "[4294967296,4294967296]", "[0,0]"), 0, "`w`: is too large"},
    {ONE("F32", "[4611686018427387904]", "[0,0]"), 0, "`w`: is too large"},
    {ONE("F32", "[9223372036854775808]", "[0,0]"), 0, "too big integer"},
    {ONE("F32", "[0,4294967296,4294967296]", "[0,0]"), 0, "`w`: is too large"},
    {ONE("F32", "[70368744177664]", "[0,4]"), 4, "`w`: is too large"},
    {ONE("F32", "[1]", "[0,9223372036854775807]"), 4, "the file is truncated"},
    {ONE("BOOL", "[2]", "[0,2]"), 2, "element 0 is 2, which is no truth value"},
    {FILE_OF(ENTRY("a", "F32", "[2]", "[0,8]") "," ENTRY("b", "F32", "[2]", "[4,12]")), 12,
     "`a` and `b` overlap"},
    {FILE_OF(ENTRY("a", "F32", "[1]", "[0,4]") "," ENTRY("b", "F32", "[1]", "[0,4]")), 4,
     "overlap"},
    {FILE_OF(ENTRY("a", "F32", "[1]", "[0,4]") "," ENTRY("b", "F32", "[1]", "[8,12]")), 12,
     "4 bytes before tensor `b` belong to none"},
    {ONE("F32", "[1]", "[4,8]"), 8, "4 bytes before tensor `w` belong to none"},
    {ONE("F32", "[1]", "[0,4]"), 5, "1 bytes at the end belong to no tensor"},
    {"{}", 1, "1 bytes at the end belong to no tensor"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"step\":12}}", 0, "the value of `step` is not a string"},
};

Test(safetensors, hostile_headers)
{
    uint8_t data[16] = {2};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        size_t length = strlen(hostile[i].header);
        diags = diags_new(arena);
        write_raw(length, hostile[i].header, length, data, hostile[i].data_size);
        expect_refused(hostile[i].message);
    }
}

/* Deeper than any stack that a recursive parser may use. */
Test(safetensors, deep_header)
{
    size_t depth = 1000000, length = 5 + depth;
    char *header = malloc(length);
    memcpy(header, "{\"w\":", 5);
    memset(header + 5, '[', depth);
    write_raw(length, header, length, "", 0);
    free(header);
    expect_refused("maximum parsing depth");
}

Test(safetensors, header_lengths)
{
    static const struct {
        uint64_t length;
        const char *message;
    } cases[] = {
        {3, "the header of 3 bytes does not fit"},
        {100000000, "the header of 100000000 bytes does not fit"},
        {100000001, "its header claims 100000001 bytes"},
        {UINT64_MAX, "its header claims 18446744073709551615 bytes"},
        {UINT64_MAX - 7, "its header claims 18446744073709551608 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        diags = diags_new(arena);
        write_raw(cases[i].length, "{}", 2, "", 0);
        expect_refused(cases[i].message);
    }
}

Test(safetensors, no_tensor_file)
{
    expect_refused("No such file");
    for (size_t size = 0; size < 8; size++) {
        FILE *file = fopen(path, "wb");
        fwrite("\2\0\0\0\0\0\0", 1, size, file);
        fclose(file);
        diags = diags_new(arena);
        expect_refused("shorter than 8 bytes");
    }
    unlink(path);
    cr_assert_eq(mkdir(path, 0700), 0);
    diags = diags_new(arena);
    expect_refused("not a regular file");
    rmdir(path);
}

/* Every truncation of a good file is refused. */
Test(safetensors, truncations)
{
    float weights[4] = {1, 2, 3, 4};
    struct tensor_entry entry = {"w", {DT_F32, 1, {4}, weights}};
    cr_assert(tensor_file_write(diags, path, &entry, 1, NULL, NULL, 0));
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    for (off_t size = info.st_size - 1; size >= 0; size--) {
        cr_assert_eq(truncate(path, size), 0);
        cr_assert_null(tensor_file_open(diags_new(arena), arena, path), "%lld bytes accepted",
                       (long long)size);
    }
}

static void expect_write_failed(const char *message)
{
    cr_assert_eq(diags_errors(diags), 1);
    cr_assert_eq(diags_exit_code(diags), 1);
    const char *text = diags_render(diags, false);
    cr_assert_not_null(strstr(text, message), "expected: %s\ngot: %s", message, text);
}

static void expect_content(const char *content)
{
    char found[64] = "";
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    size_t size = fread(found, 1, sizeof found - 1, file);
    fclose(file);
    cr_assert_eq(size, strlen(content));
    cr_assert_str_eq(found, content);
}

Test(safetensors, small_file_is_replaced)
{
    cr_assert(file_write_atomic(diags, path, "first version", 13));
    cr_assert(file_write_atomic(diags, path, "second", 6));
    expect_content("second");
    cr_assert(file_write_atomic(diags, path, NULL, 0));
    expect_content("");
    cr_assert_eq(count_files(), 1);
}

Test(safetensors, missing_folder)
{
    char inside[128];
    snprintf(inside, sizeof inside, "%s/none/run.json", folder);
    cr_assert_not(file_write_atomic(diags, inside, "x", 1));
    expect_write_failed("cannot open its folder: No such file or directory");
}

/* A folder in the way can be written beside, but not replaced: the last step fails. */
Test(safetensors, target_is_a_folder)
{
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_not(file_write_atomic(diags, path, "x", 1));
    expect_write_failed("cannot replace it");
    cr_assert_eq(count_files(), 1);
    rmdir(path);
}

/* A limit on the size of files stands in for a full disk: both fail when space is allocated. */
Test(safetensors, full_disk_leaves_the_old_file)
{
    static float weights[4096];
    struct tensor_entry entry = {"w", {DT_F32, 1, {4096}, weights}};
    struct rlimit limit = {8192, 8192};
    cr_assert(file_write_atomic(diags, path, "old", 3));
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_not(tensor_file_write(diags, path, &entry, 1, NULL, NULL, 0));
    expect_write_failed("cannot make room for it: File too large");
    expect_content("old");
    cr_assert_eq(count_files(), 1);
}

Test(safetensors, text_that_is_not_utf8)
{
    float weight = 1;
    struct tensor_entry entry = {"w\xff", {DT_F32, 0, {0}, &weight}};
    const char *key = "note", *value = "\xc3(";
    cr_assert_not(tensor_file_write(diags, path, &entry, 1, NULL, NULL, 0));
    expect_write_failed("is not UTF-8 text");
    diags = diags_new(arena);
    entry.name = "w";
    cr_assert_not(tensor_file_write(diags, path, &entry, 1, &key, &value, 1));
    expect_write_failed("`note` is not UTF-8 text");
    cr_assert_eq(count_files(), 0);
}
