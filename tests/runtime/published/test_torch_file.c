/* Checkpoints of PyTorch: what they hold, and what nobody would like them to do. */
#include "graph/base/half.h"
#include "runtime/published/pickle.h"
#include "runtime/published/torch_file.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VIEWS "tests/golden/torch/views"

static struct arena *arena;
static struct diags *diags;
static char path[] = "/tmp/sedge-torch-XXXXXX";

static void set_up(void)
{
    arena = arena_new();
    diags = diags_new(arena);
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
}

static void tear_down(void)
{
    unlink(path);
    arena_free(arena);
}

TestSuite(torch_file, .init = set_up, .fini = tear_down);

/* --- half precision ----------------------------------------------------------------------- */

/* By the definition: (-1)^s 2^(e - 15) (1 + f / 1024), and 2^-14 f / 1024 where e is 0. */
Test(torch_file, half_precision_is_exact)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        int e = bits >> 10 & 0x1f, f = bits & 0x3ff;
        double want = e ? ldexp(1 + f / 1024.0, e - 15) : ldexp(f / 1024.0, -14);
        float got = half_to_float((uint16_t)bits);
        want = bits & 0x8000 ? -want : want;
        if (e == 0x1f)
            cr_assert(f ? isnan(got) : isinf(got) && (signbit(got) != 0) == (bits >> 15 != 0));
        else
            cr_assert(got == want && (signbit(got) != 0) == (bits >> 15 != 0), "%04x: %g, not %g",
                      bits, got, want);
    }
    cr_assert_eq(bfloat_to_float(0xc049), -3.140625f);
}

/* --- archives ----------------------------------------------------------------------------- */

/* An archive of stored entries, as torch.save makes them. */
struct zip {
    unsigned char bytes[4096], central[1024];
    size_t size, central_size;
    int count;
};

static void put(unsigned char *to, size_t *at, uint64_t value, int width)
{
    for (int i = 0; i < width; i++)
        to[(*at)++] = i < 8 ? (unsigned char)(value >> 8 * i) : 0;
}

static uint32_t crc(const unsigned char *bytes, size_t size)
{
    uint32_t c = ~0u;
    for (size_t i = 0; i < size; i++) {
        c ^= bytes[i];
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
    }
    return ~c;
}

static void zip_add(struct zip *z, const char *name, const void *bytes, size_t size)
{
    size_t start = z->size, n = strlen(name);
    put(z->bytes, &z->size, 0x04034b50, 4);
    put(z->central, &z->central_size, 0x02014b50, 4);
    put(z->central, &z->central_size, 20, 2);
    for (int i = 0; i < 2; i++) { /* the same in both places */
        unsigned char *to = i ? z->central : z->bytes;
        size_t *at = i ? &z->central_size : &z->size;
        put(to, at, 20, 2);
        put(to, at, 0, 8); /* flags, method, time */
        put(to, at, crc(bytes, size), 4);
        put(to, at, size, 4);
        put(to, at, size, 4);
        put(to, at, n, 2);
        put(to, at, 0, 2);
    }
    put(z->central, &z->central_size, 0, 10);
    put(z->central, &z->central_size, start, 4);
    memcpy(z->central + z->central_size, name, n);
    z->central_size += n;
    memcpy(z->bytes + z->size, name, n);
    memcpy(z->bytes + z->size + n, bytes, size);
    z->size += n + size;
    z->count++;
}

static void write_bytes(const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(bytes, 1, size, f) == size);
    cr_assert_eq(fclose(f), 0);
}

static void zip_write(struct zip *z)
{
    size_t central = z->size;
    memcpy(z->bytes + z->size, z->central, z->central_size);
    z->size += z->central_size;
    put(z->bytes, &z->size, 0x06054b50, 4);
    put(z->bytes, &z->size, 0, 4);
    put(z->bytes, &z->size, (uint64_t)z->count, 2);
    put(z->bytes, &z->size, (uint64_t)z->count, 2);
    put(z->bytes, &z->size, z->central_size, 4);
    put(z->bytes, &z->size, central, 4);
    put(z->bytes, &z->size, 0, 2);
    write_bytes(z->bytes, z->size);
}

/* An archive of this pickle and eight floats, 0 to 7, as memory 0. */
static struct tensor_file *open_pickle(const char *pickle, size_t size)
{
    struct zip z = {.size = 0};
    float memory[8];
    for (int i = 0; i < 8; i++)
        memory[i] = (float)i;
    zip_add(&z, "archive/data.pkl", pickle, size);
    zip_add(&z, "archive/data/0", memory, sizeof memory);
    zip_write(&z);
    return torch_file_open(diags, arena, path);
}

/* A tensor of memory 0: its offset, two sizes and two strides are given with their opcodes. */
/* clang-format off */
#define TENSOR_OF(offset, d0, d1, s0, s1) \
    "ctorch._utils\n_rebuild_tensor_v2\n((" \
    "X\x07\0\0\0storage" \
    "ctorch\nFloatStorage\n" \
    "X\x01\0\0\0" "0" "X\x03\0\0\0cpuK\x08tQ" \
    offset d0 d1 "\x86" s0 s1 "\x86\x89" \
    "ccollections\nOrderedDict\n)RtR"
/* The pickle {'t': such a tensor}, each number one byte. */
#define TENSOR(offset, d0, d1, s0, s1) \
    "\x80\x02}X\x01\0\0\0t" TENSOR_OF("K" offset, "K" d0, "K" d1, "K" s0, "K" s1) "s."
/* clang-format on */
#define OPEN(pickle) open_pickle(pickle, sizeof(pickle) - 1)

static void assert_says(const char *text)
{
    char *all = diags_render(diags, false);
    cr_assert(strstr(all, text), "expected: %s; got: %s", text, all);
    cr_assert_eq(diags_exit_code(diags), 3);
}

/* --- tensors ------------------------------------------------------------------------------ */

/* views.safetensors holds the same tensors, written by the reference implementation. */
Test(torch_file, holds_what_pytorch_wrote)
{
    struct tensor_file *a = torch_file_open(diags, arena, VIEWS ".pth");
    struct tensor_file *b = tensor_file_open(diags, arena, VIEWS ".safetensors");
    cr_assert(a && b, "%s", diags_render(diags, false));
    cr_assert_eq(b->count, 5);
    cr_assert_eq(a->count, b->count); /* truth values are left out */
    for (uint32_t i = 0; i < b->count; i++) {
        const struct tensor *want = &b->entries[i].tensor;
        const struct tensor *got = tensor_file_get(a, b->entries[i].name);
        cr_assert(got, "%s", b->entries[i].name);
        cr_assert(got->dtype == want->dtype && got->rank == want->rank, "%s", b->entries[i].name);
        cr_assert_arr_eq(got->dim, want->dim, want->rank * sizeof *want->dim);
        cr_assert_arr_eq(got->data, want->data,
                         (size_t)tensor_size(want) * dtype_size(want->dtype));
    }
    cr_assert(torch_file_recognize(VIEWS ".pth"));
    cr_assert(!torch_file_recognize(VIEWS ".safetensors"));
    tensor_file_close(a);
    tensor_file_close(b);
}

Test(torch_file, strides_are_followed)
{
    struct tensor_file *f = OPEN(TENSOR("\x01", "\x03", "\x02", "\x01", "\x03"));
    cr_assert(f, "%s", diags_render(diags, false));
    const struct tensor *t = tensor_file_get(f, "t");
    const float want[] = {1, 4, 2, 5, 3, 6};
    cr_assert(t && t->rank == 2 && t->dim[0] == 3 && t->dim[1] == 2);
    cr_assert_arr_eq(t->data, want, sizeof want);
    tensor_file_close(f);
}

Test(torch_file, a_tensor_lies_in_its_memory)
{
    cr_assert(!OPEN(TENSOR("\x01", "\x02", "\x04", "\x04", "\x01")));
    assert_says("tensor `t` goes beyond its memory");
}

Test(torch_file, numbers_may_be_the_same_one)
{
    struct tensor_file *f = OPEN(TENSOR("\x03", "\xff", "\x02", "\0", "\x01"));
    cr_assert(f, "%s", diags_render(diags, false));
    const struct tensor *t = tensor_file_get(f, "t");
    cr_assert(t && t->dim[0] == 255 && t->dim[1] == 2);
    for (int i = 0; i < 510; i++)
        cr_assert_eq(((const float *)t->data)[i], (float)(3 + i % 2));
    tensor_file_close(f);
}

Test(torch_file, a_tensor_may_be_empty)
{
    struct tensor_file *f = OPEN(TENSOR("\0", "\0", "\xff", "\xff", "\x01"));
    cr_assert(f, "%s", diags_render(diags, false));
    cr_assert_eq(tensor_size(tensor_file_get(f, "t")), 0);
    tensor_file_close(f);
}

Test(torch_file, copies_are_not_far_larger_than_the_file)
{
    cr_assert(!OPEN(
        "\x80\x02}X\x01\0\0\0t" TENSOR_OF("K\0", "M\xff\xff", "M\xff\xff", "K\0", "K\0") "s."));
    assert_says("its tensors are far larger than the file, up to `t`");
}

Test(torch_file, names_are_different)
{
    cr_assert(!OPEN("\x80\x02}X\x01\0\0\0"
                    "0" TENSOR_OF("K\0", "K\x01", "K\x01", "K\x01", "K\x01") "sK\0" TENSOR_OF(
                        "K\0", "K\x01", "K\x01", "K\x01", "K\x01") "s."));
    assert_says("two tensors are called `0`");
}

Test(torch_file, what_holds_itself_has_an_end)
{
    cr_assert(!OPEN("\x80\x02]q\0h\0a."));
    assert_says("too deep or has no end");
}

Test(torch_file, what_is_shared_has_an_end)
{
    char pickle[400] = "\x80\x02", *at = pickle + 2; /* lists of the same list, eight times each */
    memcpy(at, "]q\0", 3);
    at += 3;
    for (int depth = 1; depth < 12; depth++) {
        *at++ = ']';
        *at++ = '(';
        for (int i = 0; i < 8; i++) {
            *at++ = 'h';
            *at++ = (char)(depth - 1);
        }
        *at++ = 'e';
        *at++ = 'q';
        *at++ = (char)depth;
    }
    *at++ = '.';
    cr_assert(!open_pickle(pickle, (size_t)(at - pickle)));
    assert_says("too deep or has no end");
}

/* --- archives that are something else ----------------------------------------------------- */

/* One with an entry more, after a good pickle (of an empty dictionary) or without one. */
static void assert_archive(const char *pickle, const char *name, const char *text, const char *says)
{
    struct zip z = {.size = 0};
    if (pickle)
        zip_add(&z, "archive/data.pkl", pickle, 4);
    zip_add(&z, name, text, strlen(text));
    zip_write(&z);
    cr_assert(!torch_file_open(diags, arena, path));
    assert_says(says);
}

Test(torch_file, an_archive_of_something_else)
{
    assert_archive(NULL, "word/document.xml", "<w/>",
                   "is an archive, but none that PyTorch wrote: it has no data.pkl");
}

Test(torch_file, another_order_of_bytes)
{
    assert_archive("\x80\x02}.", "archive/byteorder", "big",
                   "was written on a machine with another order of bytes");
}

Test(torch_file, a_compressed_entry)
{
    struct zip z = {.size = 0};
    zip_add(&z, "archive/data.pkl", "\x80\x02}.", 4);
    z.bytes[8] = z.central[10] = 8; /* deflate */
    zip_write(&z);
    cr_assert(!torch_file_open(diags, arena, path));
    assert_says("its entry `archive/data.pkl` is compressed, and PyTorch compresses none");
}

Test(torch_file, memory_that_is_not_there)
{
    struct zip z = {.size = 0};
    const char pickle[] = TENSOR("\0", "\x01", "\x01", "\x01", "\x01");
    zip_add(&z, "archive/data.pkl", pickle, sizeof pickle - 1);
    zip_write(&z);
    cr_assert(!torch_file_open(diags, arena, path));
    assert_says("tensor `t`: the archive has no memory `0`");
}

Test(torch_file, a_list_of_entries_that_is_none)
{
    struct zip z = {.size = 0};
    zip_add(&z, "archive/data.pkl", "\x80\x02}.", 4);
    memcpy(z.bytes, "none", 4); /* the entry itself, not the list */
    zip_write(&z);
    cr_assert(!torch_file_open(diags, arena, path));
    assert_says("is a damaged archive");
}

Test(torch_file, what_was_cut_off)
{
    write_bytes("PK\3\4 and so on", 14);
    cr_assert(!torch_file_open(diags, arena, path));
    assert_says("is a truncated archive, or none: the list of its entries is not at its end");
}

Test(torch_file, before_there_were_archives)
{
    write_bytes("\x80\x02\x8a\nl\xfc\x9c"
                "F\xf9 j\xa8P\x19.",
                15);
    cr_assert(torch_file_recognize(path));
    cr_assert(!torch_file_open(diags, arena, path));
    assert_says("is a checkpoint from before PyTorch 1.6");
}

/* --- pickles ------------------------------------------------------------------------------ */

#define READ(text)                                                                                 \
    pickle_read(diags, arena, "file", (const unsigned char *)(text), sizeof(text) - 1)

Test(torch_file, runs_nothing)
{
    cr_assert(!READ("\x80\x02"
                    "cos\nsystem\nX\x02\0\0\0ls\x85R."));
    assert_says("its pickle asks for `os.system`, which is nothing that tensors are made of");
}

Test(torch_file, runs_nothing_by_another_opcode)
{
    cr_assert(!READ("\x80\x04\x8c\x08"
                    "builtins\x8c\x04"
                    "eval\x93."));
    assert_says("`builtins.eval`");
}

Test(torch_file, runs_no_old_opcode)
{
    cr_assert(!READ("(S'ls'\nios\nsystem\n.")); /* INST */
    assert_says("the operation 0x53");
}

Test(torch_file, numbers_and_texts)
{
    struct pickle *p = READ("\x80\x02(J\xfe\xff\xff\xffM\x01\x02\x8a\x01\xffG\x3f\xf8\0\0\0\0\0\0"
                            "NX\x02\0\0\0ab\x88t.");
    cr_assert(p, "%s", diags_render(diags, false));
    cr_assert(p->kind == PICKLE_LIST && p->count == 7);
    cr_assert_eq(p->items[0]->integer, -2);
    cr_assert_eq(p->items[1]->integer, 0x201);
    cr_assert_eq(p->items[2]->integer, -1);
    cr_assert_eq(p->items[3]->real, 1.5);
    cr_assert_eq(p->items[4]->kind, PICKLE_NONE);
    cr_assert_str_eq(p->items[5]->text, "ab");
    cr_assert(p->items[6]->kind == PICKLE_BOOL && p->items[6]->integer == 1);
}

/* Each byte asks for one more value, or for sixteen million places of the memo. */
Test(torch_file, no_more_than_checkpoints_have)
{
    static unsigned char many[5000001];
    memset(many, ')', sizeof many - 1);
    many[sizeof many - 1] = '.';
    cr_assert(!pickle_read(diags, arena, "file", many, sizeof many));
    assert_says("it describes more than checkpoints have");
    cr_assert(!READ("Nr\0\0\0\x01."));
    assert_says("what it keeps has no place");
}

/* Seeds of 64 bits, and bytes: nothing of a tensor. */
Test(torch_file, what_is_no_tensor_is_left)
{
    struct pickle *p = READ("\x80\x02\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\0C\x02\0a\x86.");
    cr_assert(p && p->count == 2, "%s", diags_render(diags, false));
    cr_assert(p->items[0]->kind == PICKLE_NONE && p->items[1]->kind == PICKLE_NONE);
}

Test(torch_file, broken_pickles)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"", 0},
        {".", 1},
        {"t.", 2},
        {"(.", 2},
        {"]a.", 3},
        {"Na.", 3},
        {"}Ns.", 4},
        {"}(Nu.", 5},
        {"h\x05.", 3},
        {"Nr\xff\xff\xff\xff.", 7},
        {"NR.", 3},
        {"\x93.", 2},
        {"X\xff\xff\xff\xff.", 6},
        {"\x85.", 2},
        {"NNb.", 4},
        {"Q.", 2},
        {"NQ.", 3},
        {"\x8a\x09.", 3},
        {"cos", 3},
        {"ctorch\nFloatStorage\n)R.", 23},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct diags *d = diags_new(arena);
        cr_assert(
            !pickle_read(d, arena, "file", (const unsigned char *)cases[i].bytes, cases[i].size),
            "case %zu", i);
        cr_assert(strstr(diags_render(d, false), "file: its pickle is broken at byte "), "%zu", i);
    }
}

/* --- damage ------------------------------------------------------------------------------- */

static size_t read_views(unsigned char *bytes, size_t room)
{
    FILE *f = fopen(VIEWS ".pth", "rb");
    size_t size = f ? fread(bytes, 1, room, f) : 0;
    cr_assert(size > 1000 && size < room);
    fclose(f);
    return size;
}

/* Whatever is cut off: a message and no tensor, but for the last bytes, which say again where the
 * list of entries is: that much is never asked for. */
Test(torch_file, truncated_anywhere)
{
    unsigned char bytes[8192];
    size_t size = read_views(bytes, sizeof bytes);
    for (size_t cut = 1; cut < size; cut++) {
        struct arena *own = arena_new();
        struct diags *d = diags_new(own);
        write_bytes(bytes, cut);
        struct tensor_file *f = torch_file_open(d, own, path);
        cr_assert_eq(diags_errors(d), f ? 0 : 1, "%zu bytes", cut);
        cr_assert(!f || (cut >= size - 24 && f->count == 5), "%zu bytes", cut);
        tensor_file_close(f);
        arena_free(own);
    }
}

/* Each byte changed: what is accepted lies within the file, what is not has a message. */
Test(torch_file, damaged_anywhere)
{
    unsigned char bytes[8192];
    size_t size = read_views(bytes, sizeof bytes);
    volatile double sum = 0;
    for (size_t at = 0; at < size; at++) {
        struct arena *own = arena_new();
        struct diags *d = diags_new(own);
        bytes[at] ^= 0x55;
        write_bytes(bytes, size);
        struct tensor_file *f = torch_file_open(d, own, path);
        cr_assert_eq(f == NULL, diags_errors(d) > 0, "byte %zu", at);
        for (uint32_t i = 0; f && i < f->count; i++) {
            const struct tensor *t = &f->entries[i].tensor;
            for (size_t k = 0; k < (size_t)tensor_size(t) * dtype_size(t->dtype); k++)
                sum = sum + ((const unsigned char *)t->data)[k];
        }
        tensor_file_close(f);
        arena_free(own);
        bytes[at] ^= 0x55;
    }
}
