/* What an expression comes to: a number, or nodes of a graph. Called by the model reader (params,
 * attributes, noise), the elaborator and, for conditions of loops, the runtime's loop
 * interpreter. */
#include "graph/base/check.h"
#include "graph/expr.h"
#include "graph/graph.h"
#include "graph/op.h"

#include <math.h>
#include <string.h>

/* --- evaluation --------------------------------------------------------------------------- */

static bool eval_error(struct diags *diags, const struct expr *e, const char *what)
{
    if (diags)
        diag_error(diags, FAULT_CONFIG, e->span, "%s", what);
    return false;
}

static bool eval_int(struct diags *diags, const struct expr *e, int64_t a, int64_t b,
                     struct number *out)
{
    const char *op = e->name;
    bool fits = true;
    out->kind = NUMBER_INT;
    if (strcmp(op, "add") == 0)
        fits = size_add(a, b, &out->i);
    else if (strcmp(op, "sub") == 0)
        fits = !__builtin_sub_overflow(a, b, &out->i);
    else if (strcmp(op, "mul") == 0)
        fits = size_mul(a, b, &out->i);
    else if (strcmp(op, "max") == 0)
        out->i = a > b ? a : b;
    else if (strcmp(op, "min") == 0)
        out->i = a < b ? a : b;
    else if (strcmp(op, "div") == 0) {
        if (b == 0)
            return eval_error(diags, e, "this divides by zero");
        if (b == -1)
            fits = !__builtin_sub_overflow((int64_t)0, a, &out->i);
        else if (a % b != 0) {
            if (diags) {
                diag_error(diags, FAULT_CONFIG, e->span, "%lld does not divide by %lld",
                           (long long)a, (long long)b);
                diag_hint(diags, "write one of them with a point (%lld.0) for a real number",
                          (long long)b);
            }
            return false;
        } else
            out->i = a / b;
    } else
        BUG_ON(true);
    return fits || eval_error(diags, e, "this number is too large");
}

/* a ^ b for b >= 0, exactly. */
static bool eval_power(struct diags *diags, const struct expr *e, int64_t a, int64_t b,
                       struct number *out)
{
    *out = (struct number){.kind = NUMBER_INT, .i = 1};
    if (a >= -1 && a <= 1)
        b = b < 2 ? b : 2 + b % 2; /* the powers of these repeat */
    for (; b > 0; b--)
        if (!size_mul(out->i, a, &out->i))
            return eval_error(diags, e, "this number is too large");
    return true;
}

static bool eval_real(struct diags *diags, const struct expr *e, double a, double b,
                      struct number *out)
{
    const char *op = e->name;
    out->kind = NUMBER_REAL;
    static const struct {
        const char *name;
        double (*f)(double);
    } one[] = {{"exp", exp},   {"log", log}, {"log1p", log1p}, {"expm1", expm1},
               {"sqrt", sqrt}, {"sin", sin}, {"cos", cos},     {"tanh", tanh}};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        if (strcmp(op, one[i].name) == 0) {
            out->r = one[i].f(a);
            return isfinite(out->r) || !diags ||
                   eval_error(diags, e, "this is not a finite number");
        }
    }
    out->r = strcmp(op, "add") == 0   ? a + b
             : strcmp(op, "sub") == 0 ? a - b
             : strcmp(op, "mul") == 0 ? a * b
             : strcmp(op, "div") == 0 ? a / b
             : strcmp(op, "pow") == 0 ? pow(a, b)
             : strcmp(op, "max") == 0 ? fmax(a, b)
                                      : fmin(a, b);
    return isfinite(out->r) || !diags || eval_error(diags, e, "this is not a finite number");
}

static bool eval_call(struct diags *diags, const struct expr *e, const struct number *v,
                      struct number *out)
{
    const char *op = e->name;
    bool integers = v[0].kind == NUMBER_INT && (e->count == 1 || v[1].kind == NUMBER_INT);
    bool truth = strcmp(op, "and") == 0 || strcmp(op, "or") == 0 || strcmp(op, "not") == 0;
    for (uint32_t i = 0; i < e->count; i++)
        if ((v[i].kind == NUMBER_BOOL) != truth && strcmp(op, "equal") != 0)
            return eval_error(diags, e->args[i],
                              truth ? "this must be true or false" : "this must be a number");
    if (truth || strcmp(op, "less") == 0 || strcmp(op, "equal") == 0) {
        double a = number_real(v[0]), b = e->count > 1 ? number_real(v[1]) : 0;
        out->kind = NUMBER_BOOL;
        if (integers && !truth) {
            out->i = strcmp(op, "less") == 0 ? v[0].i < v[1].i : v[0].i == v[1].i;
            return true;
        }
        out->i = strcmp(op, "and") == 0    ? v[0].i && v[1].i
                 : strcmp(op, "or") == 0   ? v[0].i || v[1].i
                 : strcmp(op, "not") == 0  ? !v[0].i
                 : strcmp(op, "less") == 0 ? a < b
                                           : a == b;
        return true;
    }
    if (strcmp(op, "neg") == 0) {
        *out = v[0];
        if (integers && __builtin_sub_overflow((int64_t)0, v[0].i, &out->i))
            return eval_error(diags, e, "this number is too large");
        out->r = -v[0].r;
        return true;
    }
    if (integers && strcmp(op, "pow") == 0 && v[1].i >= 0)
        return eval_power(diags, e, v[0].i, v[1].i, out);
    if (integers && e->count == 2 && strcmp(op, "pow") != 0)
        return eval_int(diags, e, v[0].i, v[1].i, out);
    return eval_real(diags, e, number_real(v[0]), e->count > 1 ? number_real(v[1]) : 0, out);
}

bool expr_eval(struct diags *diags, const struct expr *expr, const struct expr_scope *scope,
               struct number *out)
{
    struct number v[2] = {0};
    switch (expr->kind) {
    case EXPR_NUMBER:
        *out = expr->number;
        return true;
    case EXPR_NAME:
        if (scope->lookup(scope->context, expr->name, out))
            return true;
        if (diags) {
            diag_error(diags, FAULT_CONFIG, expr->span, "no number is called `%s` here",
                       expr->name);
            const char *near = scope->nearest ? scope->nearest(scope->context, expr->name) : NULL;
            if (near)
                diag_hint(diags, "did you mean `%s`?", near);
        }
        return false;
    case EXPR_CALL:
        for (uint32_t i = 0; i < expr->count; i++)
            if (!expr_eval(diags, expr->args[i], scope, &v[i]))
                return false;
        return eval_call(diags, expr, v, out);
    }
    return false;
}

/* --- emission ----------------------------------------------------------------------------- */

uint32_t expr_emit(struct graph *graph, const struct expr *expr, const char *name, uint32_t value,
                   const struct origin *origin)
{
    if (expr->kind == EXPR_NAME) {
        if (strcmp(expr->name, name) == 0)
            return value;
        diag_error(graph->diags, FAULT_CONFIG, expr->span,
                   "`%s` is unknown here: only `%s` is given", expr->name, name);
        return VALUE_NONE;
    }
    struct node_call call = {.origin = origin};
    struct type scalar = type_scalar(DT_F64);
    union attr number;
    uint32_t in[2];
    if (expr->kind == EXPR_NUMBER) {
        number.real = number_real(expr->number);
        call.op = op_find(graph->table, "const");
        call.attr = &number;
        call.types = &scalar;
    } else {
        for (uint32_t i = 0; i < expr->count; i++) {
            in[i] = expr_emit(graph, expr->args[i], name, value, origin);
            if (!in[i])
                return VALUE_NONE;
        }
        call.op = op_find(graph->table, expr->name);
        call.in = in;
        call.in_count = expr->count;
    }
    BUG_ON(!call.op);
    uint32_t id = graph_call(graph, &call);
    return id == NODE_NONE ? VALUE_NONE : graph->nodes[id].out[0];
}
