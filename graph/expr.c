/* Parses expressions; expr_eval.c evaluates and emits them, expr_print.c prints them. Called by the
 * model reader (params, attributes, noise) and the readers of loops. */
#include "graph/expr.h"
#include "graph/base/check.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64
#define SHOWN_MAX 60   /* bytes of an expression that a message repeats */
#define CALLS_MAX 1000 /* a long sum is a deep tree, walked by recursion */

struct parser {
    struct diags *diags;
    struct arena *arena;
    const char *text, *at;
    struct span span;
    int depth, calls;
    bool failed;
};

static struct span span_at(const struct parser *p, const char *from, const char *to)
{
    struct span s = p->span;
    s.column += (uint32_t)(from - p->text);
    s.length = to > from ? (uint32_t)(to - from) : 1;
    return s;
}

static const struct expr *fail(struct parser *p, const char *from, const char *what)
{
    int shown = SHOWN_MAX;
    if (strnlen(p->text, SHOWN_MAX + 1) > SHOWN_MAX)
        while (shown && (p->text[shown] & 0xc0) == 0x80) /* not within a character */
            shown--;
    if (!p->failed)
        diag_error(p->diags, FAULT_CONFIG, span_at(p, from, from + 1),
                   "in the expression `%.*s%s`: %s", shown, p->text,
                   strlen(p->text) > SHOWN_MAX ? "…" : "", what);
    p->failed = true;
    return NULL;
}

static void skip_blanks(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n')
        p->at++;
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Takes TOKEN if it comes next; a word must not go on with a letter. */
static bool take(struct parser *p, const char *token)
{
    skip_blanks(p);
    size_t n = strlen(token);
    if (strncmp(p->at, token, n) != 0)
        return false;
    if (is_name(token[0]) && is_name(p->at[n]))
        return false;
    p->at += n;
    return true;
}

static const struct expr *parse_or(struct parser *p);

static const struct expr *make(struct parser *p, const char *op, const char *from,
                               const struct expr *a, const struct expr *b)
{
    if (!a || p->failed)
        return NULL;
    if (++p->calls > CALLS_MAX)
        return fail(p, from, "it is too long");
    struct expr *e = arena_alloc(p->arena, sizeof *e);
    e->kind = EXPR_CALL;
    e->span = span_at(p, from, p->at);
    e->name = op;
    e->args[0] = a;
    e->args[1] = b;
    e->count = b ? 2 : 1;
    return e;
}

static const struct expr *parse_number(struct parser *p)
{
    const char *from = p->at;
    bool integer = true;
    while (isdigit((unsigned char)*p->at))
        p->at++;
    if (*p->at == '.') {
        integer = false;
        p->at++;
        while (isdigit((unsigned char)*p->at))
            p->at++;
    }
    if ((*p->at == 'e' || *p->at == 'E') &&
        (isdigit((unsigned char)p->at[1]) ||
         ((p->at[1] == '-' || p->at[1] == '+') && isdigit((unsigned char)p->at[2])))) {
        integer = false;
        p->at += 2;
        while (isdigit((unsigned char)*p->at))
            p->at++;
    }
    struct expr *e = arena_alloc(p->arena, sizeof *e);
    e->kind = EXPR_NUMBER;
    e->span = span_at(p, from, p->at);
    char *text = arena_strndup(p->arena, from, (size_t)(p->at - from));
    if (integer) {
        e->number.kind = NUMBER_INT;
        for (const char *c = text; *c; c++)
            if (!size_mul(e->number.i, 10, &e->number.i) ||
                !size_add(e->number.i, *c - '0', &e->number.i))
                return fail(p, from, "the number is too large");
    } else {
        e->number.kind = NUMBER_REAL;
        e->number.r = strtod(text, NULL);
    }
    return e;
}

/* One-argument functions, and the two-argument max, min and pow. */
static const char *function(const char *name, uint32_t *args)
{
    static const char *const one[] = {"exp", "log", "log1p", "expm1", "sqrt", "sin", "cos", "tanh"};
    static const char *const two[] = {"max", "min", "pow"};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        if (strcmp(one[i], name) == 0)
            return *args = 1, one[i];
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (strcmp(two[i], name) == 0)
            return *args = 2, two[i];
    return NULL;
}

static const struct expr *parse_name(struct parser *p)
{
    const char *from = p->at;
    while (is_name(*p->at) || (*p->at == '.' && is_name(p->at[1])))
        p->at++;
    char *name = arena_strndup(p->arena, from, (size_t)(p->at - from));
    if (take(p, "(")) {
        uint32_t want;
        const char *op = function(name, &want);
        if (!op)
            return fail(p, from,
                        "there is no such function; there are exp log log1p expm1 sqrt sin "
                        "cos tanh max min pow");
        const struct expr *a = parse_or(p), *b = NULL;
        if (want == 2) {
            if (a && !take(p, ","))
                return fail(p, p->at, "this function takes two arguments");
            b = a ? parse_or(p) : NULL;
            if (!b)
                return NULL;
        }
        if (a && !take(p, ")"))
            return fail(p, p->at, "a `)` is missing here");
        return make(p, op, from, a, b);
    }
    struct expr *e = arena_alloc(p->arena, sizeof *e);
    e->span = span_at(p, from, from + strlen(name));
    if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0) {
        e->kind = EXPR_NUMBER;
        e->number = (struct number){.kind = NUMBER_BOOL, .i = name[0] == 't'};
    } else {
        e->kind = EXPR_NAME;
        e->name = name;
    }
    return e;
}

static const struct expr *parse_atom(struct parser *p)
{
    skip_blanks(p);
    if (take(p, "(")) {
        const struct expr *e = parse_or(p);
        if (e && !take(p, ")"))
            return fail(p, p->at, "a `)` is missing here");
        return e;
    }
    if (isdigit((unsigned char)*p->at) || (*p->at == '.' && isdigit((unsigned char)p->at[1])))
        return parse_number(p);
    if (isalpha((unsigned char)*p->at) || *p->at == '_')
        return parse_name(p);
    return fail(p, p->at, *p->at ? "a number or a name is missing here" : "it ends too early");
}

static const struct expr *parse_unary(struct parser *p);

static const struct expr *parse_power(struct parser *p)
{
    const char *from = p->at;
    const struct expr *a = parse_atom(p);
    if (a && (take(p, "**") || take(p, "^"))) {
        const struct expr *b = parse_unary(p);
        return b ? make(p, "pow", from, a, b) : NULL;
    }
    return a;
}

static const struct expr *parse_unary(struct parser *p)
{
    skip_blanks(p);
    const char *from = p->at;
    if (++p->depth > DEPTH_MAX)
        return fail(p, from, "it is nested too deeply");
    const struct expr *e =
        take(p, "-") ? make(p, "neg", from, parse_unary(p), NULL) : parse_power(p);
    p->depth--;
    return e;
}

/* Left-associative levels; OPS and NAMES are parallel and end with NULL. */
static const struct expr *parse_level(struct parser *p, const char *const *ops,
                                      const char *const *names,
                                      const struct expr *(*next)(struct parser *))
{
    skip_blanks(p);
    const char *from = p->at;
    const struct expr *a = next(p);
    for (bool more = true; a && more;) {
        more = false;
        for (int i = 0; ops[i] && !more; i++) {
            if (!take(p, ops[i]))
                continue;
            const struct expr *b = next(p);
            a = b ? make(p, names[i], from, a, b) : NULL;
            more = true;
        }
    }
    return a;
}

static const struct expr *parse_product(struct parser *p)
{
    static const char *const ops[] = {"*", "/", NULL}, *const names[] = {"mul", "div"};
    return parse_level(p, ops, names, parse_unary);
}

static const struct expr *parse_sum(struct parser *p)
{
    static const char *const ops[] = {"+", "-", NULL}, *const names[] = {"add", "sub"};
    return parse_level(p, ops, names, parse_product);
}

static const struct expr *parse_comparison(struct parser *p)
{
    skip_blanks(p);
    const char *from = p->at;
    const struct expr *a = parse_sum(p);
    if (!a)
        return NULL;
    /* Only less and equal exist; the others are written with them. */
    static const struct {
        const char *text, *op;
        bool swap, negate;
    } forms[] = {{"<=", "less", true, true},    {">=", "less", false, true},
                 {"==", "equal", false, false}, {"!=", "equal", false, true},
                 {"<", "less", false, false},   {">", "less", true, false}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (!take(p, forms[i].text))
            continue;
        const struct expr *b = parse_sum(p);
        if (!b)
            return NULL;
        const struct expr *e =
            make(p, forms[i].op, from, forms[i].swap ? b : a, forms[i].swap ? a : b);
        return forms[i].negate ? make(p, "not", from, e, NULL) : e;
    }
    return a;
}

static const struct expr *parse_not(struct parser *p)
{
    skip_blanks(p);
    const char *from = p->at;
    if (++p->depth > DEPTH_MAX)
        return fail(p, from, "it is nested too deeply");
    const struct expr *e =
        take(p, "not") ? make(p, "not", from, parse_not(p), NULL) : parse_comparison(p);
    p->depth--;
    return e;
}

static const struct expr *parse_and(struct parser *p)
{
    static const char *const ops[] = {"and", NULL};
    return parse_level(p, ops, ops, parse_not);
}

static const struct expr *parse_or(struct parser *p)
{
    static const char *const ops[] = {"or", NULL};
    return parse_level(p, ops, ops, parse_and);
}

const struct expr *expr_parse(struct diags *diags, struct arena *arena, const char *text,
                              struct span span)
{
    struct parser p = {.diags = diags, .arena = arena, .text = text, .at = text, .span = span};
    const struct expr *e = parse_or(&p);
    skip_blanks(&p);
    if (e && *p.at)
        return fail(&p, p.at, *p.at == ')' ? "this `)` has no `(`" : "an operator is missing here");
    return e;
}
