/* Blocks: a call to one is expanded in a scope of its own, and `repeat` is unrolled. Called by
 * scope_call. */
#include "graph/base/check.h"
#include "graph/scope.h"

#include <string.h>

#define DEPTH_MAX 32

/* --- blocks ------------------------------------------------------------------------------- */

/* An input of the block as the caller wrote it: in a list by position, or under its name. */
static const struct yaml *block_input(const struct yaml *map, uint32_t i, const char *name)
{
    const struct yaml *written = map->items[0];
    if (written->kind == YAML_LIST)
        return i < written->count ? written->items[i] : yaml_get(map, name);
    return i == 0 ? written : yaml_get(map, name);
}

static bool open_block(struct scope *s, const struct section *block, struct scope *inner,
                       const char *path, const char *state, struct span span, bool tie)
{
    if (s->depth == DEPTH_MAX)
        return scope_error(s, span, "blocks are nested too deeply");
    for (const struct scope *o = s; o; o = o->outer)
        if (o->block == block)
            return scope_error(s, span, "block `%s` calls itself", block->name);
    *inner = (struct scope){.e = s->e,
                            .path = path,
                            .state = state,
                            .caller = origin_at(s, span),
                            .outer = s,
                            .block = block,
                            .tie = tie,
                            .depth = s->depth + 1};
    return true;
}

/* An argument of a block as a value: a number takes the element type that the block declares. */
static bool argument_value(struct scope *s, const struct argument *arg, const struct yaml *type,
                           uint32_t *out)
{
    *out = arg->value;
    if (!arg->literal)
        return true;
    enum dtype dtype = arg->number.kind == NUMBER_BOOL ? DT_BOOL : DT_F64;
    if (dtype == DT_F64 && type->kind == YAML_LIST && type->count &&
        type->items[0]->kind == YAML_SCALAR) {
        if (strcmp(type->items[0]->text, "f32") == 0)
            dtype = DT_F32;
        else if (strcmp(type->items[0]->text, "i32") == 0 && arg->number.kind == NUMBER_INT)
            dtype = DT_I32;
    }
    *out = literal_value(s, arg->number, dtype, arg->span);
    return *out != VALUE_NONE;
}

static bool give_input(struct scope *inner, const char *name, const struct yaml *type,
                       uint32_t value)
{
    struct graph *g = inner->e->graph;
    struct type declared;
    if (!scope_type(inner, type, graph_type(g, value), &declared,
                    arena_printf(g->arena, "`%s`", name)))
        return false;
    inner->names = arena_grow(g->arena, inner->names, inner->name_count, &inner->name_capacity,
                              sizeof *inner->names);
    inner->names[inner->name_count++] = (struct binding){name, value};
    return true;
}

static bool check_block(struct scope *s, const struct section *block)
{
    static const char *const keys[] = {"in", "nodes", "out", "doc", NULL};
    struct diags *d = s->e->graph->diags;
    if (!yaml_closed(d, block->body, keys, "a block"))
        return false;
    for (int i = 0; i < 3; i++)
        if (!yaml_get(block->body, keys[i]))
            return scope_error(s, block->span, "block `%s` has no `%s:`", block->name, keys[i]);
    return scope_expect(s, yaml_get(block->body, "in"), YAML_MAP, "in") &&
           scope_expect(s, yaml_get(block->body, "nodes"), YAML_MAP, "nodes");
}

static bool block_results(struct scope *inner, const struct section *block, uint32_t *out,
                          uint32_t max, uint32_t *count)
{
    const struct yaml *result = yaml_get(block->body, "out");
    *count = 0;
    uint32_t n = result->kind == YAML_LIST ? result->count : 1;
    for (uint32_t i = 0; i < n && i < max; i++) {
        const struct yaml *item = result->kind == YAML_LIST ? result->items[i] : result;
        if (!scope_expect(inner, item, YAML_SCALAR, "out"))
            return false;
        if (!scope_lookup(inner, item, &out[i], "block `%s` defines no `%s`", block->name,
                          item->text))
            return false;
        (*count)++;
    }
    return true;
}

static bool block_keys(struct scope *s, const struct section *block, const struct yaml *map)
{
    const struct yaml *in = yaml_get(block->body, "in");
    const char *keys[64] = {"as", "tie", map->keys[0]->text};
    uint32_t n = 3;
    for (uint32_t i = 0; i < in->count && n < 63; i++)
        keys[n++] = in->keys[i]->text;
    return yaml_closed(s->e->graph->diags, map, keys,
                       arena_printf(s->e->graph->arena, "a call to `%s`", block->name));
}

bool call_block(struct scope *s, const struct section *block, const struct yaml *map,
                const char *path, uint32_t *out, uint32_t max, uint32_t *count)
{
    struct graph *g = s->e->graph;
    struct span span = map->keys[0]->span;
    const char *as;
    bool tied;
    struct scope inner;
    if (!check_block(s, block) || !block_keys(s, block, map) || !call_naming(s, map, &as, &tied) ||
        !open_block(s, block, &inner, path, join_path(g->arena, s->state, as), span, tied))
        return false;
    uint32_t nested = 0;
    const struct yaml *in = yaml_get(block->body, "in");
    if (map->items[0]->kind == YAML_LIST && map->items[0]->count > in->count)
        return scope_error(s, map->items[0]->span, "block `%s` takes %u input%s, not %u",
                           block->name, in->count, in->count == 1 ? "" : "s", map->items[0]->count);
    for (uint32_t i = 0; i < in->count; i++) {
        const char *name = in->keys[i]->text;
        const struct yaml *item = block_input(map, i, name);
        const struct yaml *again = yaml_get(map, name);
        struct argument arg;
        uint32_t value;
        if (!item)
            return scope_error(s, span, "block `%s` needs the input `%s`", block->name, name);
        if (again && again != item && again != map->items[0])
            return scope_error(s, again->span, "the input `%s` is given twice", name);
        if (!scope_argument(s, item, nested_path(s, path, item, &nested), &arg) ||
            !argument_value(s, &arg, in->items[i], &value) ||
            !give_input(&inner, name, in->items[i], value))
            return false;
    }
    return scope_nodes(&inner, yaml_get(block->body, "nodes")) &&
           block_results(&inner, block, out, max, count);
}

/* --- repeat ------------------------------------------------------------------------------- */

/* {repeat: block, times: N, carry: {x: e}, with: {c: c}, as: blocks}: the first carried inputs
 * take the block's results of the turn before, in the order of `carry`. */
struct repeat {
    const struct section *block;
    uint32_t carried[8], carry_count;
    const char *carry_names[8];
    struct binding with[32];
    uint32_t with_count;
    int64_t times;
};

/* The type that the block declares for an input, or NULL after reporting that it has none. */
static const struct yaml *repeat_type(struct scope *s, const struct repeat *r,
                                      const struct yaml *key)
{
    const struct yaml *type = yaml_get(yaml_get(r->block->body, "in"), key->text);
    if (!type)
        scope_error(s, key->span, "block `%s` has no input `%s`", r->block->name, key->text);
    return type;
}

static bool repeat_values(struct scope *s, const struct yaml *map, const char *path,
                          struct repeat *r)
{
    uint32_t nested = 0;
    const struct yaml *carry = yaml_get(map, "carry"), *with = yaml_get(map, "with");
    if (carry && !scope_expect(s, carry, YAML_MAP, "carry"))
        return false;
    if (!carry || carry->count == 0 || carry->count > 8)
        return scope_error(s, map->keys[0]->span, "`repeat` needs `carry: {input: start}`");
    for (uint32_t i = 0; i < carry->count; i++) {
        struct argument arg;
        const char *inner = nested_path(s, path, carry->items[i], &nested);
        if (!repeat_type(s, r, carry->keys[i]) || !scope_argument(s, carry->items[i], inner, &arg))
            return false;
        if (!arg.value)
            return scope_error(s, carry->items[i]->span, "a carry starts from a value");
        r->carried[r->carry_count] = arg.value;
        r->carry_names[r->carry_count++] = carry->keys[i]->text;
    }
    if (with && !scope_expect(s, with, YAML_MAP, "with"))
        return false;
    if (with && with->count > 32)
        return scope_error(s, with->span, "`with` has at most 32 inputs");
    for (uint32_t i = 0; with && i < with->count; i++) {
        struct argument arg;
        struct binding *b = &r->with[r->with_count++];
        const char *inner = nested_path(s, path, with->items[i], &nested);
        const struct yaml *type = repeat_type(s, r, with->keys[i]);
        b->name = with->keys[i]->text;
        if (!type || !scope_argument(s, with->items[i], inner, &arg) ||
            !argument_value(s, &arg, type, &b->value))
            return false;
    }
    return true;
}

static bool repeat_turn(struct scope *s, struct repeat *r, const struct yaml *map, const char *path,
                        const char *state, bool tie)
{
    struct scope inner;
    const struct yaml *in = yaml_get(r->block->body, "in");
    if (!open_block(s, r->block, &inner, path, state, map->keys[0]->span, tie))
        return false;
    for (uint32_t i = 0; i < in->count; i++) {
        const char *name = in->keys[i]->text;
        uint32_t value = VALUE_NONE;
        for (uint32_t k = 0; k < r->carry_count; k++)
            if (strcmp(r->carry_names[k], name) == 0)
                value = r->carried[k];
        for (uint32_t k = 0; k < r->with_count; k++)
            if (strcmp(r->with[k].name, name) == 0)
                value = r->with[k].value;
        if (!value)
            return scope_error(s, map->keys[0]->span, "block `%s` needs the input `%s`",
                               r->block->name, name);
        if (!give_input(&inner, name, in->items[i], value))
            return false;
    }
    uint32_t count;
    if (!scope_nodes(&inner, yaml_get(r->block->body, "nodes")) ||
        !block_results(&inner, r->block, r->carried, r->carry_count, &count))
        return false;
    return count == r->carry_count ||
           scope_error(s, map->keys[0]->span,
                       "block `%s` returns %u of the %u values that are carried", r->block->name,
                       count, r->carry_count);
}

bool call_repeat(struct scope *s, const struct yaml *map, const char *path, uint32_t *out,
                 uint32_t max, uint32_t *count)
{
    static const char *const keys[] = {"repeat", "times", "carry", "with", "as", "tie", NULL};
    struct graph *g = s->e->graph;
    struct repeat r = {0};
    struct number times;
    const struct yaml *n = yaml_get(map, "times");
    const char *as;
    bool tied;
    if (!yaml_closed(g->diags, map, keys, "repeat") || !call_naming(s, map, &as, &tied) ||
        !scope_expect(s, map->items[0], YAML_SCALAR, "repeat"))
        return false;
    r.block = section_find(&s->e->model->blocks, map->items[0]->text);
    if (!r.block) {
        scope_error(s, map->items[0]->span, "no block is called `%s`", map->items[0]->text);
        const char *near = section_nearest(g->arena, &s->e->model->blocks, map->items[0]->text);
        if (near)
            diag_hint(g->diags, "did you mean `%s`?", near);
        return false;
    }
    if (!n)
        return scope_error(s, map->keys[0]->span, "`repeat` needs `times:`");
    if (!check_block(s, r.block) || !scope_number(s, n, &times))
        return false;
    if (times.kind != NUMBER_INT || times.i < 1 || times.i > 10000)
        return scope_error(s, n->span, "`times` is a whole number from 1 to 10000");
    if (!repeat_values(s, map, path, &r))
        return false;
    for (int64_t i = 0; i < times.i; i++) {
        char *turn = arena_printf(g->arena, "%s.%lld", path, (long long)i);
        char *state =
            *as ? arena_printf(g->arena, "%s.%lld", as, (long long)i) : arena_strdup(g->arena, "");
        if (!repeat_turn(s, &r, map, turn, join_path(g->arena, s->state, state), tied))
            return false;
    }
    *count = r.carry_count < max ? r.carry_count : max;
    memcpy(out, r.carried, *count * sizeof *out);
    return true;
}
