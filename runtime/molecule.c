/* Reads SMILES as far as brackets, rings and bonds go. Called by `sedge judge`. */
#include "runtime/molecule.h"

#include <stdint.h>
#include <string.h>

#define RINGS 100 /* %00 to %99; a digit is one of the first ten */
#define DEPTH_MAX 512

/* What the text was just at. */
enum at { AT_START, AT_ATOM, AT_BOND, AT_OPEN };

struct molecule {
    const char *text, *end;
    bool rings[RINGS];
    enum at at;
    int depth, open_rings;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* An atom without brackets: those of organic chemistry, aromatic or not, and *. */
static bool take_atom(struct molecule *m)
{
    char c = *m->text;
    if (!c || !strchr("BCNOPSFIbcnops*", c))
        return false;
    bool two = m->text + 1 < m->end &&
               ((c == 'C' && m->text[1] == 'l') || (c == 'B' && m->text[1] == 'r'));
    m->text += 1 + two;
    m->at = AT_ATOM;
    return true;
}

static bool take_bracket(struct molecule *m)
{
    const char *close = memchr(m->text, ']', (size_t)(m->end - m->text));
    if (!close || close == m->text + 1 || memchr(m->text + 1, '[', (size_t)(close - m->text - 1)))
        return false;
    m->text = close + 1;
    m->at = AT_ATOM;
    return true;
}

/* A digit, or % and two: opens a ring, or closes it. A bond may stand before it. */
static bool take_ring(struct molecule *m)
{
    int number;
    if (*m->text == '%') {
        if (m->end - m->text < 3 || !is_digit(m->text[1]) || !is_digit(m->text[2]))
            return false;
        number = 10 * (m->text[1] - '0') + m->text[2] - '0';
        m->text += 3;
    } else {
        number = *m->text++ - '0';
    }
    m->rings[number] = !m->rings[number];
    m->open_rings += m->rings[number] ? 1 : -1;
    bool good = m->at == AT_ATOM || m->at == AT_BOND;
    m->at = AT_ATOM;
    return good;
}

static bool take_sign(struct molecule *m)
{
    char c = *m->text++;
    enum at before = m->at;
    switch (c) {
    case '(':
        m->at = AT_OPEN;
        return before == AT_ATOM && m->depth++ < DEPTH_MAX;
    case ')':
        m->at = AT_ATOM;
        return before == AT_ATOM && m->depth-- > 0;
    case '.': /* another part; it begins as the first did */
        m->at = AT_START;
        return before == AT_ATOM || before == AT_OPEN;
    case '-':
    case '=':
    case '#':
    case '$':
    case ':':
    case '/':
    case '\\':
        m->at = AT_BOND;
        return before == AT_ATOM || before == AT_OPEN;
    default:
        return false;
    }
}

bool molecule_is_closed(const char *text, size_t size)
{
    struct molecule m = {.text = text, .end = text + size, .at = AT_START};
    while (m.text < m.end) {
        bool good = *m.text == '['                        ? take_bracket(&m)
                    : *m.text == '%' || is_digit(*m.text) ? take_ring(&m)
                    : take_atom(&m)                       ? true
                                                          : take_sign(&m);
        if (!good)
            return false;
    }
    return m.at == AT_ATOM && m.depth == 0 && m.open_rings == 0;
}
