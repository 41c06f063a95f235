/* Words of a text as symbols of BERT: the only file that knows utf8proc. Called by vocabulary.c. */
#include "runtime/data/wordpiece.h"

#include "graph/base/check.h"
#include "runtime/data/vocabulary_table.h"

#include <string.h>
#include <sys/stat.h>
#include <utf8proc.h>

#define WORD_MOST 100 /* characters; a longer word is unknown */

/* --- reading ------------------------------------------------------------------------------ */

static bool refuse(struct diags *diags, struct span span, const char *what)
{
    diag_error(diags, FAULT_DATA, span, "%s", what);
    return false;
}

static bool read_lines(struct diags *diags, struct arena *arena, const struct source *source,
                       struct vocabulary *v)
{
    size_t size;
    for (size_t at = 0; at < source->size; at += size + 1) {
        const char *line = source->text + at;
        const char *end = memchr(line, '\n', source->size - at);
        size = end ? (size_t)(end - line) : source->size - at;
        size_t length = size && line[size - 1] == '\r' ? size - 1 : size;
        struct span span = {0};
        uint32_t before = v->size;
        if (length && vocabulary_add(v, arena, line, length))
            continue;
        span = source_span(diags, source, at, (uint32_t)utf8_count(line, length));
        return refuse(
            diags, span,
            length ? arena_printf(arena, "the symbol `%.*s` is there twice", (int)length, line)
                   : arena_printf(arena, "the symbol of id %u is empty", before));
    }
    return vocabulary_find(v, WORDPIECE_UNKNOWN, strlen(WORDPIECE_UNKNOWN)) >= 0 ||
           refuse(diags, source_whole(diags, source),
                  "it has no symbol `" WORDPIECE_UNKNOWN "`, which stands for unknown words");
}

struct vocabulary *wordpiece_open(struct diags *diags, struct arena *arena,
                                  enum tokenizer tokenizer, const char *place)
{
    struct stat info;
    if (stat(place, &info) == 0 && S_ISDIR(info.st_mode))
        place = arena_printf(arena, "%s/vocab.txt", place);
    struct source source;
    if (!source_open(diags, place, &source))
        return NULL;
    struct vocabulary *v = vocabulary_new(arena, tokenizer);
    bool good = source_check_utf8(diags, &source) && read_lines(diags, arena, &source, v);
    source_close(&source);
    return good ? v : NULL;
}

/* --- characters --------------------------------------------------------------------------- */

static bool is_blank(int32_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* What is dropped: also \v, \f and U+0085, which are blanks elsewhere. */
static bool is_dropped(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    return c == 0xfffd || k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_CS || k == UTF8PROC_CATEGORY_CO;
}

/* The blocks of ideographs, as the reference lists them. */
static bool is_ideograph(int32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
           (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

/* All that ASCII prints but letters, digits and the space, and Unicode's categories P. */
static bool is_punctuation(int32_t c)
{
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
               (c >= '{' && c <= '~');
    utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

/* --- words -------------------------------------------------------------------------------- */

struct speller {
    const struct vocabulary *v;
    bool lower;
    int32_t unknown;
    int32_t *out;
    size_t count;
    char word[2 + WORD_MOST * 4]; /* after the two that `##` takes */
    uint32_t ends[WORD_MOST + 1]; /* of its characters */
    uint32_t length;              /* characters; above WORD_MOST they are no longer kept */
};

/* The word is over: its symbols. */
static void end_word(struct speller *s)
{
    size_t first = s->count;
    uint32_t done = 0, length = s->length;
    s->length = 0;
    while (done < length && length <= WORD_MOST) {
        uint32_t end = length, begin = 2 + s->ends[done];
        char kept[2];
        int32_t id = -1;
        char *from = s->word + begin - (done ? 2 : 0);
        memcpy(kept, s->word + begin - 2, 2);
        if (done)
            memcpy(from, "##", 2);
        for (; end > done; end--) {
            id = vocabulary_find(s->v, from, (size_t)(s->word + 2 + s->ends[end] - from));
            if (id >= 0)
                break;
        }
        memcpy(s->word + begin - 2, kept, 2);
        if (id < 0)
            break;
        s->out[s->count++] = id;
        done = end;
    }
    if (done < length) {
        s->count = first;
        s->out[s->count++] = s->unknown;
    }
}

static void add_plain(struct speller *s, int32_t c)
{
    bool alone = is_punctuation(c);
    if (alone)
        end_word(s);
    if (s->length < WORD_MOST) {
        uint32_t at = s->ends[s->length];
        utf8proc_uint8_t bytes[4];
        uint32_t n = (uint32_t)utf8proc_encode_char(c, bytes);
        memcpy(s->word + 2 + at, bytes, n);
        s->ends[s->length + 1] = at + n;
    }
    s->length += s->length <= WORD_MOST;
    if (alone)
        end_word(s);
}

/* Without its accents and in lower case, where that is asked for. */
static void add_character(struct speller *s, int32_t c)
{
    if (!s->lower || c < 0x80) {
        add_plain(s, s->lower && c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c);
        return;
    }
    utf8proc_int32_t parts[16];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(c, parts, 16, UTF8PROC_DECOMPOSE, &boundary);
    BUG_ON(n < 0 || n > 16);
    for (utf8proc_ssize_t i = 0; i < n; i++)
        if (utf8proc_category(parts[i]) != UTF8PROC_CATEGORY_MN)
            add_plain(s, utf8proc_tolower(parts[i]));
}

size_t wordpiece_encode(const struct vocabulary *v, const char *text, size_t size, int32_t *out)
{
    struct speller s = {.v = v, .lower = v->tokenizer == TOKENIZER_BERT, .out = out};
    s.unknown = vocabulary_find(v, WORDPIECE_UNKNOWN, strlen(WORDPIECE_UNKNOWN));
    for (size_t at = 0; at < size;) {
        uint32_t code = 0, n = utf8_decode(text + at, size - at, &code);
        BUG_ON(n == 0);
        int32_t c = (int32_t)code;
        at += n;
        if (c > ' ' && c < 0x7f) {
            add_character(&s, c);
            continue;
        }
        bool alone = is_ideograph(c);
        if (is_blank(c) || alone)
            end_word(&s);
        if (!is_blank(c) && !is_dropped(c))
            add_character(&s, c);
        if (alone)
            end_word(&s);
    }
    end_word(&s);
    return s.count;
}
