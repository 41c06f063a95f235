/* What gzip compressed, and what of it is broken. The bytes are those that gzip 1.12 made of
 * "abc\n", and of "defghij\n", with -n. */
#include "runtime/data/source.h"
#include "tests/runtime/data/arena.h"
#include "tests/runtime/data/fixture.h"

#define ABC "\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x4c\x4a\xe6\x02\0\x4e\x81\x88\x47\x04\0\0\0"
#define DEF                                                                                        \
    "\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x49\x4d\x4b\xcf\xc8\xcc\xe2\x02\0\0\x10\xe1\xdb\x08\0\0\0"

SUITE_WITH_ARENA(gzip);

static void holds(const char *bytes, size_t size, const char *text)
{
    const char *path = fixture_file(arena, bytes, size);
    struct source source;
    cr_assert(source_open(diags, path, &source), "%s", diags_render(diags, false));
    cr_assert_eq(source.size, strlen(text));
    cr_assert_eq(memcmp(source.text, text, source.size), 0);
    source_close(&source);
    cr_assert_null(source.text);
    unlink(path);
}

static void refuses(const char *bytes, size_t size, const char *message)
{
    const char *path = fixture_file(arena, bytes, size);
    struct source source;
    cr_assert_not(source_open(diags, path, &source));
    assert_says(diags, message);
    cr_assert_eq(diags_exit_code(diags), 3);
    cr_assert_null(source.text);
    unlink(path);
}

Test(gzip, members_follow_each_other)
{
    holds(ABC, sizeof ABC - 1, "abc\n");
    holds(ABC DEF, sizeof ABC DEF - 1, "abc\ndefghij\n");
    holds(ABC "\0\0\0\0", sizeof ABC + 3, "abc\n"); /* a tape's block is filled with zeros */
    assert_clean(diags);
}

/* A wrong number of bytes at the end is no room to ask for. */
Test(gzip, what_is_broken_is_refused)
{
    for (size_t size = 3; size < sizeof ABC - 1; size++)
        refuses(ABC, size, "the gzip file ends in the middle, after");
    static const char empty[] = "\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";
    refuses(empty, sizeof empty - 1, "the gzip file holds nothing");
    char bytes[sizeof ABC];
    memcpy(bytes, ABC, sizeof ABC);
    bytes[sizeof ABC - 3] = (char)0xff;
    refuses(bytes, sizeof ABC - 1,
            "the gzip file is damaged, near byte 24: incorrect length check");
    bytes[12] ^= 1;
    refuses(bytes, sizeof ABC - 1, "the gzip file is damaged, near byte 20: incorrect data check");
    bytes[10] = 7;
    refuses(bytes, sizeof ABC - 1, "invalid block type");
    refuses(ABC "text", sizeof ABC + 3, "incorrect header check");
}

/* A megabyte of one letter: room that grows, from a length at the end that is another member's. */
Test(gzip, room_grows)
{
    const char *path = fixture_text(arena, "");
    const char *command =
        arena_printf(arena, "(head -c 1000000 /dev/zero | gzip -n; printf x | gzip -n) > %s", path);
    cr_assert_eq(system(command), 0);
    struct source source;
    cr_assert(source_open(diags, path, &source), "%s", diags_render(diags, false));
    cr_assert_eq(source.size, 1000001);
    cr_assert_eq(source.text[999999], 0);
    cr_assert_eq(source.text[1000000], 'x');
    source_close(&source);
    unlink(path);
}
