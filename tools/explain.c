/* sedge explain: what a key of a recipe, a word of the model format, or an op means. */
#include "ops/ops.h"
#include "tools/command.h"
#include "tools/language.h"
#include "tools/op_text.h"

#include <stdio.h>
#include <string.h>

/* --- keys of recipes ---------------------------------------------------------------------- */

static bool in_section(const struct recipe_key *k, const char *section)
{
    size_t n = strlen(section);
    return strncmp(k->name, section, n) == 0 && k->name[n] == '.';
}

static const char *key_type(const struct recipe_key *k)
{
    static const char *const types[] = {"text",
                                        "whole number",
                                        "number",
                                        "list of texts (or one text)",
                                        "two numbers",
                                        "one of",
                                        "share below 1, or a file",
                                        "size: 400MiB, 2GiB, 1.5GB, or bytes"};
    if (strcmp(k->name, "sample.grid") == 0) /* read as texts: two of its three forms are */
        return "list of numbers, a file, or a spacing";
    return types[k->kind];
}

/* A value that could be written: the default, else something of its kind. */
static const char *key_example(const struct recipe_key *k, struct arena *arena)
{
    static const struct {
        const char *key, *value;
    } own[] = {{"model", "sedd-absorb"},   {"preset", "tiny"},
               {"memory", "4GiB"},         {"data.classes", "[letters, news]"},
               {"data.weights", "[3, 1]"}, {"data.field", "text"},
               {"data.separator", "none"}, {"sample.grid", "[1, 0.5, 0.1]"}};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(k->name, own[i].key) == 0)
            return own[i].value;
    if (k->kind == KEY_TEXTS)
        return "[my.txt]";
    if (k->value)
        return k->value;
    size_t n = k->choices ? strcspn(k->choices, " ") : 0;
    return n ? arena_strndup(arena, k->choices, n) : "…";
}

static void explain_key(const struct recipe_key *k, struct arena *arena)
{
    const char *dot = strchr(k->name, '.'), *value = key_example(k, arena);
    printf("%s: %s\n\n", k->name, k->doc);
    printf("  type     %s", key_type(k));
    if (k->choices)
        printf(": %s", k->choices);
    printf("\n  default  %s\n", k->value ? k->value : "none");
    if (k->kind == KEY_INT || k->kind == KEY_REAL || k->kind == KEY_PAIR ||
        k->kind == KEY_SHARE_OR_FILE)
        printf("  range    %.12g to %.12g\n", k->low, k->high);
    if (dot)
        printf("\n  %.*s: {%s: %s}\n", (int)(dot - k->name), k->name, dot + 1, value);
    else
        printf("\n  %s: %s\n", k->name, value);
    printf("  sedge train RECIPE '%s=%s'\n", k->name, value);
}

static bool explain_section(const char *name)
{
    bool found = false;
    for (uint32_t i = 0; i < recipe_key_count; i++) {
        const struct recipe_key *k = &recipe_keys[i];
        if (!in_section(k, name))
            continue;
        if (!found)
            printf("%s: a section of a recipe\n\n", name);
        found = true;
        printf("  %-24s %-12s %s\n", k->name, k->value ? k->value : "-", k->doc);
    }
    if (found)
        printf("\nThe second column is the default. sedge explain KEY says more about one.\n");
    return found;
}

/* --- words and all ------------------------------------------------------------------------ */

static bool explain_word(const char *name)
{
    for (uint32_t i = 0; i < language_word_count; i++) {
        const struct language_word *w = &language_words[i];
        if (strcmp(w->name, name) != 0)
            continue;
        printf("%s\n\n%s\n\n", w->name, w->text);
        for (const char *at = w->example; *at; at = strchr(at, '\n') + 1)
            printf("  %.*s\n", (int)strcspn(at, "\n"), at);
        return true;
    }
    return false;
}

static const char *nearest(struct arena *arena, const char *name)
{
    uint32_t n = 0, most = recipe_key_count * 2 + language_word_count + ops_table.count;
    const char **names = arena_new_array(arena, const char *, most);
    for (uint32_t i = 0; i < recipe_key_count; i++)
        names[n++] = recipe_keys[i].name;
    for (uint32_t i = 0; i < language_word_count; i++)
        names[n++] = language_words[i].name;
    for (uint32_t i = 0; i < ops_table.count; i++)
        if (!(ops_table.ops[i]->flags & OP_INTERNAL))
            names[n++] = ops_table.ops[i]->name;
    for (uint32_t i = 0; i < n; i++) { /* `lr` for `train.lr` */
        const char *dot = strchr(names[i], '.');
        if (dot && strcmp(dot + 1, name) == 0)
            return names[i];
    }
    return diag_nearest(name, names, n);
}

static void list_all(void)
{
    printf("keys of a recipe\n");
    for (uint32_t i = 0; i < recipe_key_count; i++)
        printf("  %-24s %s\n", recipe_keys[i].name, recipe_keys[i].doc);
    printf("\nwords of a model\n ");
    for (uint32_t i = 0; i < language_word_count; i++)
        printf(" %s", language_words[i].name);
    printf("\n\nsedge explain NAME says more about one; sedge ops lists the ops.\n");
}

static int run(struct command_line *line)
{
    if (!line->positional_count) {
        list_all();
        return 0;
    }
    const char *name = line->positional[0];
    const struct recipe_key *key = recipe_key_find(name);
    const struct op *op = op_find(&ops_table, name);
    if (key)
        explain_key(key, line->arena);
    bool found = key != NULL;
    found |= !found && explain_section(name);
    bool word = explain_word(name);
    if (!word && op) {
        struct writer w = {.arena = line->arena};
        write_op_reference(&w, op);
        printf("%s%s", found ? "\n" : "", w.text);
        if (strcmp(name, "noise") == 0)
            printf("\nsedge explain process.noise: the schedules.\n");
    }
    if (found || word || op)
        return 0;
    diag_error(line->diags, FAULT_CONFIG, (struct span){0},
               "`%s` is no key of a recipe, word of a model, or op", name);
    const char *near = nearest(line->arena, name);
    if (near)
        diag_hint(line->diags, "did you mean `%s`?", near);
    else
        diag_hint(line->diags, "sedge explain lists the keys and words, sedge ops the ops");
    return diags_exit_code(line->diags);
}

const struct command command_explain = {
    .name = "explain",
    .usage = "[KEY|WORD|OP]",
    .doc = "what a key, a word of the format, or an op means",
    .detail = "KEY is a recipe's (train.lr) or a section of it (train), WORD one of a model file\n"
              "(process.noise, repeat), OP an op. Without an argument: all keys and words.",
    .least = 0,
    .most = 1,
    .options = NULL,
    .run = run,
};
