/* What a YAML tree says: values by key, scalars as types, and a tree as text again. Called by the
 * schemas, and by messages that quote a part of a file. */
#include "graph/base/check.h"
#include "graph/base/yaml.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct yaml *yaml_get(const struct yaml *map, const char *key)
{
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i]->text, key) == 0)
            return map->items[i];
    return NULL;
}

/* Scalars as types. */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_sign(const char *at)
{
    return *at == '+' || *at == '-' ? at + 1 : at;
}

static const char *skip_digits(const char *at)
{
    while (is_digit(*at))
        at++;
    return at;
}

static bool is_scalar(const struct yaml *node)
{
    return node && node->kind == YAML_SCALAR;
}

bool yaml_int(const struct yaml *scalar, int64_t *out)
{
    if (!is_scalar(scalar))
        return false;
    const char *at = skip_sign(scalar->text);
    bool negative = scalar->text[0] == '-';
    if (!is_digit(*at))
        return false;
    int64_t value = 0;
    for (; is_digit(*at); at++) {
        int64_t digit = negative ? '0' - *at : *at - '0'; /* so that INT64_MIN can be reached */
        if (!size_mul(value, 10, &value) || !size_add(value, digit, &value))
            return false;
    }
    if (*at)
        return false;
    *out = value;
    return true;
}

/* The form is checked here because strtod also reads `0x1p3`, `inf`, `nan(1)` and leading blanks.
 */
bool yaml_real(const struct yaml *scalar, double *out)
{
    if (!is_scalar(scalar))
        return false;
    const char *whole = skip_sign(scalar->text);
    const char *at = skip_digits(whole);
    bool digits = at > whole;
    if (*at == '.') {
        const char *fraction = at + 1;
        at = skip_digits(fraction);
        digits = digits || at > fraction;
    }
    if (!digits)
        return false;
    if (*at == 'e' || *at == 'E') {
        const char *exponent = skip_sign(at + 1);
        at = skip_digits(exponent);
        if (at == exponent)
            return false;
    }
    double value = *at ? INFINITY : strtod(scalar->text, NULL);
    if (!isfinite(value))
        return false;
    *out = value;
    return true;
}

bool yaml_size(const struct yaml *scalar, int64_t *out)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"", 1},     {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
                 {"kB", 1e3}, {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
    char digits[32];
    if (!is_scalar(scalar))
        return false;
    size_t n = strspn(scalar->text, "0123456789.");
    const char *unit = scalar->text + n + strspn(scalar->text + n, " ");
    struct yaml number = *scalar;
    double value;
    if (n >= sizeof digits)
        return false;
    memcpy(digits, scalar->text, n);
    digits[n] = 0;
    number.text = digits;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(unit, units[i].name) != 0 || !yaml_real(&number, &value))
            continue;
        value *= units[i].bytes;
        *out = (int64_t)value;
        return value < 0x1p53 && (units[i].bytes > 1 || value == floor(value));
    }
    return false;
}

bool yaml_bool(const struct yaml *scalar, bool *out)
{
    if (!is_scalar(scalar))
        return false;
    bool yes = strcmp(scalar->text, "true") == 0;
    if (!yes && strcmp(scalar->text, "false") != 0)
        return false;
    *out = yes;
    return true;
}

/* Printing. */

struct printer {
    struct arena *arena;
    char *bytes;
    uint32_t count, capacity;
};

static void put_byte(struct printer *out, char byte)
{
    out->bytes = arena_grow(out->arena, out->bytes, out->count, &out->capacity, 1);
    out->bytes[out->count++] = byte;
}

static void put(struct printer *out, const char *text)
{
    for (; *text; text++)
        put_byte(out, *text);
}

/* The code points that a reader refuses raw although they are UTF-8: U+0080 to U+009F, U+2028,
 * U+2029, U+FEFF, U+FFFE and U+FFFF. Returns how many bytes of TEXT one takes, or 0. */
static size_t special(const char *text, unsigned *code)
{
    const unsigned char *at = (const unsigned char *)text;
    if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0) {
        *code = at[1];
        return 2;
    }
    if ((at[0] & 0xf0) != 0xe0 || !at[1] || !at[2])
        return 0;
    *code = (at[0] & 0x0fu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
    bool refused = *code == 0x2028 || *code == 0x2029 || *code == 0xfeff || *code >= 0xfffe;
    return refused ? 3 : 0;
}

static void put_quoted(struct printer *out, const char *text)
{
    put_byte(out, '"');
    while (*text) {
        unsigned code = 0;
        size_t size = special(text, &code);
        unsigned char byte = (unsigned char)*text;
        if (size)
            put(out, arena_printf(out->arena, "\\u%04x", code));
        else if (byte == '"' || byte == '\\')
            put(out, byte == '"' ? "\\\"" : "\\\\");
        else if (byte == '\n' || byte == '\t')
            put(out, byte == '\n' ? "\\n" : "\\t");
        else if (byte < ' ' || byte == 0x7f)
            put(out, arena_printf(out->arena, "\\x%02x", byte));
        else
            put_byte(out, *text);
        text += size ? size : 1;
    }
    put_byte(out, '"');
}

/* Whether TEXT can begin a scalar without quotes. */
static bool is_plain_start(const char *text)
{
    if (text[0] == '-' || text[0] == '.')
        return isalnum((unsigned char)text[1]) || text[1] == '(' ||
               (text[0] == '-' && text[1] == '.');
    return text[0] && !strchr("!&*|>'\"%@`#?: ", text[0]);
}

/* Whether TEXT can stand without quotes inside braces. Stricter than YAML: readers differ. */
static bool is_plain(const char *text)
{
    size_t length = strlen(text);
    unsigned code;
    if (!is_plain_start(text) || text[length - 1] == ' ' || strcmp(text, "<<") == 0)
        return false;
    for (const char *c = text; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte < ' ' || byte == 0x7f || strchr("[]{},", byte) || special(c, &code))
            return false;
        if ((byte == ':' || byte == '?') && strchr(" ?", c[1])) /* the end of TEXT included */
            return false;
        if (byte == ' ' && c[1] == '#')
            return false;
    }
    return true;
}

static void put_node(struct printer *out, const struct yaml *node)
{
    if (node->kind == YAML_SCALAR) {
        if (!node->quoted && is_plain(node->text))
            put(out, node->text);
        else
            put_quoted(out, node->text);
        return;
    }
    put_byte(out, node->kind == YAML_MAP ? '{' : '[');
    for (uint32_t i = 0; i < node->count; i++) {
        put(out, i ? ", " : "");
        if (node->kind == YAML_MAP) {
            put_node(out, node->keys[i]);
            put(out, ": ");
        }
        put_node(out, node->items[i]);
    }
    put_byte(out, node->kind == YAML_MAP ? '}' : ']');
}

char *yaml_print(struct arena *arena, const struct yaml *node)
{
    struct printer out = {.arena = arena};
    put_node(&out, node);
    put_byte(&out, '\0');
    return out.bytes;
}
