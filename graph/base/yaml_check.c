/* What libyaml accepts and a sedge file may not contain: the traps of flow style, keys that are no
 * names, duplicate keys. Called by yaml.c for each collection that it has read.
 *
 * The traps are spellings that YAML reads as something else than what is meant:
 *
 *     {sigma: max(0, t)}    two pairs, `sigma: max(0` and `t)` without a value
 *     {q, k: c}             two pairs, `q` without a value and `k: c`
 *     {x:1}                 one pair, `x:1` without a value */
#include "graph/base/yaml_check.h"

#include <stdlib.h>
#include <string.h>

/* How far a trap is followed. Without an end a file of nothing but commas would take hours. */
#define PARTS_LIMIT 8u

bool yaml_is_empty(const struct yaml *node)
{
    return node->kind == YAML_SCALAR && !node->quoted && node->text[0] == '\0';
}

/* The traps of flow style. */

/* How many parentheses a plain text leaves open (or, when negative, closes). */
static int open_parentheses(const struct yaml *node)
{
    int open = 0;
    if (node->kind == YAML_SCALAR && !node->quoted)
        for (const char *c = node->text; *c; c++)
            open += (*c == '(') - (*c == ')');
    return open;
}

/* An expression such as `max(0, t)` was cut at its commas when FIRST leaves a parenthesis open
 * that one of REST closes: returns how many of REST belong to it, or 0. */
static uint32_t cut_expression(const struct yaml *first, struct yaml *const *rest, uint32_t count)
{
    int open = open_parentheses(first);
    if (open <= 0)
        return 0;
    if (count > PARTS_LIMIT)
        count = PARTS_LIMIT;
    for (uint32_t i = 0; i < count && rest[i]->kind == YAML_SCALAR && !rest[i]->quoted; i++) {
        open += open_parentheses(rest[i]);
        if (open <= 0)
            return i + 1;
    }
    return 0;
}

static void report_cut(struct diags *diags, struct arena *arena, const struct yaml *key,
                       const struct yaml *first, struct yaml *const *rest, uint32_t count)
{
    const char *whole = first->text;
    for (uint32_t i = 0; i < count; i++)
        whole = arena_printf(arena, "%s, %s", whole, rest[i]->text);
    struct span span = first->span, last = rest[count - 1]->span;
    if (last.line == span.line)
        span.length = last.column + last.length - span.column;
    diag_error(diags, FAULT_CONFIG, span, "the comma cuts this expression in two");
    diag_hint(diags, "inside braces and brackets quote it: %s%s\"%s\"", key ? key->text : "",
              key ? ": " : "", whole);
}

void yaml_check_list(struct diags *diags, struct arena *arena, const struct yaml *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        uint32_t left = list->count - i - 1;
        uint32_t parts = cut_expression(list->items[i], list->items + i + 1, left);
        if (parts)
            report_cut(diags, arena, NULL, list->items[i], list->items + i + 1, parts);
        i += parts;
    }
}

/* `{x:1}` has one key, `x:1`, and no value. Returns the colon, or NULL. */
static const char *unspaced_colon(const struct yaml *key)
{
    const char *colon = key->quoted ? NULL : strchr(key->text, ':');
    return colon && colon > key->text && colon[1] ? colon : NULL;
}

static void report_colon(struct diags *diags, const struct yaml *key, const char *colon)
{
    diag_error(diags, FAULT_CONFIG, key->span, "no space after the colon");
    diag_hint(diags, "write `%.*s: %s`", (int)(colon - key->text), key->text, colon + 1);
}

/* `{q, k: c}` has two keys, the first without a value: KEYS are COUNT such keys, one after the
 * other, and one more with a value unless the map ends with them (LAST). */
static void report_no_value(struct diags *diags, struct arena *arena, struct yaml *const *keys,
                            uint32_t count, bool last)
{
    const char *first = keys[0]->text, *names = first;
    diag_error(diags, FAULT_CONFIG, keys[0]->span, "`%s` has no value", first);
    if (last || count > PARTS_LIMIT) {
        diag_hint(diags, "write `%s: VALUE`", first);
        return;
    }
    for (uint32_t i = 1; i <= count; i++)
        names = arena_printf(arena, "%s, %s", names, keys[i]->text);
    diag_hint(diags,
              "inside braces a comma ends a pair: write `%s: VALUE`, or, for one key with several "
              "names, `\"%s\": VALUE`",
              first, names);
}

/* How many pairs from FROM on are only a name. */
static uint32_t count_names(const struct yaml *map, uint32_t from)
{
    uint32_t count = 0;
    for (uint32_t i = from; i < map->count; i++, count++)
        if (!yaml_is_empty(map->items[i]) || unspaced_colon(map->keys[i]))
            break;
    return count;
}

static void check_pairs(struct diags *diags, struct arena *arena, const struct yaml *map)
{
    for (uint32_t i = 0; i < map->count;) {
        uint32_t names = count_names(map, i);
        const char *colon = unspaced_colon(map->keys[i]);
        if (names) {
            report_no_value(diags, arena, map->keys + i, names, i + names == map->count);
            i += names;
        } else if (colon && yaml_is_empty(map->items[i])) {
            report_colon(diags, map->keys[i++], colon);
        } else {
            struct yaml **rest = map->keys + i + 1;
            uint32_t parts = cut_expression(map->items[i], rest, count_names(map, i + 1));
            if (parts)
                report_cut(diags, arena, map->keys[i], map->items[i], rest, parts);
            i += 1 + parts;
        }
    }
}

/* Keys. */

static int compare_keys(const void *a, const void *b)
{
    const struct yaml *left = *(struct yaml *const *)a, *right = *(struct yaml *const *)b;
    int order = strcmp(left->text, right->text);
    if (order)
        return order;
    if (left->span.line != right->span.line)
        return left->span.line < right->span.line ? -1 : 1;
    return (left->span.column > right->span.column) - (left->span.column < right->span.column);
}

/* Sorted, because a map may have as many keys as fit into a file. */
static void check_duplicates(struct diags *diags, struct arena *arena, const struct yaml *map)
{
    if (map->count < 2)
        return;
    struct yaml **sorted = arena_new_array(arena, struct yaml *, map->count);
    memcpy(sorted, map->keys, map->count * sizeof *sorted);
    qsort(sorted, map->count, sizeof *sorted, compare_keys);
    for (uint32_t i = 1; i < map->count; i++) {
        if (strcmp(sorted[i - 1]->text, sorted[i]->text) != 0)
            continue;
        diag_error(diags, FAULT_CONFIG, sorted[i]->span, "`%s` is here for the second time",
                   sorted[i]->text);
        diag_trail(diags, sorted[i - 1]->span, "first here");
    }
}

bool yaml_check_key(struct diags *diags, const struct yaml *key)
{
    if (key->kind != YAML_SCALAR) {
        diag_error(diags, FAULT_CONFIG, key->span, "a key must be a name, not a %s",
                   key->kind == YAML_MAP ? "map" : "list");
        diag_hint(diags, "several names are written `a, b: …`, and in braces `\"a, b\": …`");
        return false;
    }
    if (yaml_is_empty(key)) {
        diag_error(diags, FAULT_CONFIG, key->span, "a key is missing before the colon");
        return false;
    }
    if (!key->quoted && strcmp(key->text, "<<") == 0) {
        diag_error(diags, FAULT_CONFIG, key->span, "YAML's merge key is not part of sedge files");
        diag_hint(diags, "write what is used twice as a block and call it (blocks do that job)");
        return false;
    }
    return true;
}

void yaml_check_map(struct diags *diags, struct arena *arena, const struct yaml *map, bool flow)
{
    if (flow)
        check_pairs(diags, arena, map);
    check_duplicates(diags, arena, map);
}
