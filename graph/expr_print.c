/* Prints expressions and reals. Called by the text form of a graph and by reports. */
#include "graph/expr.h"
#include "graph/writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *real_print(struct arena *arena, double value)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        bool plain = fabs(value) >= 1e-4 && fabs(value) < 1e15; /* 10, not 1e+01 */
        if (strtod(text, NULL) == value && !(plain && strchr(text, 'e')))
            break;
    }
    return arena_strdup(arena, text);
}

/* How tightly a call binds, and what binds as tightly as its operands must: see expr.h. */
struct form {
    const char *op, *sign;
    int level, left, right;
};
enum { LEVEL_UNARY = 7, LEVEL_ATOM = 9 };
static const struct form forms[] = {
    {"or", " or ", 1, 1, 2},
    {"and", " and ", 2, 2, 3},
    {"not", "not ", 3, 3, 0},
    {"less", " < ", 4, 5, 5},
    {"equal", " == ", 4, 5, 5},
    {"add", " + ", 5, 5, 6},
    {"sub", " - ", 5, 5, 6},
    {"mul", " * ", 6, 6, 7},
    {"div", " / ", 6, 6, 7},
    {"neg", "-", LEVEL_UNARY, LEVEL_UNARY, 0},
    {"pow", " ^ ", 8, LEVEL_ATOM, LEVEL_UNARY},
};

static const struct form *form_of(const struct expr *e)
{
    for (size_t i = 0; e->kind == EXPR_CALL && i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].op, e->name) == 0)
            return &forms[i];
    return NULL;
}

static void put_number(struct writer *w, struct number n)
{
    if (n.kind == NUMBER_BOOL) {
        write_text(w, n.i ? "true" : "false");
    } else if (n.kind == NUMBER_INT) {
        write_text(w, "%lld", (long long)n.i);
    } else {
        char *text = real_print(w->arena, n.r);
        write_text(w, strpbrk(text, ".e") ? "%s" : "%s.0", text);
    }
}

/* In parentheses when it binds less tightly than LEVEL. */
static void put_expr(struct writer *w, const struct expr *e, int level)
{
    const struct form *f = form_of(e);
    if (e->kind == EXPR_NUMBER) {
        put_number(w, e->number);
    } else if (e->kind == EXPR_NAME) {
        write_text(w, "%s", e->name);
    } else if (f) {
        bool open = f->level < level;
        write_text(w, "%s%s", open ? "(" : "", e->count == 1 ? f->sign : "");
        put_expr(w, e->args[0], f->left);
        if (e->count == 2) {
            write_text(w, "%s", f->sign);
            put_expr(w, e->args[1], f->right);
        }
        write_text(w, "%s", open ? ")" : "");
    } else {
        write_text(w, "%s(", e->name);
        put_expr(w, e->args[0], 0);
        if (e->count == 2) {
            write_text(w, ", ");
            put_expr(w, e->args[1], 0);
        }
        write_text(w, ")");
    }
}

char *expr_print(struct arena *arena, const struct expr *expr)
{
    struct writer w = {.arena = arena};
    put_expr(&w, expr, 0);
    return w.text;
}
