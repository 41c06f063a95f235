/* Parses a command line by the option table of its command, and prints --help from it. */
#include "tools/command.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIRST_LONG 256 /* above all letters */

static uint32_t option_count(const struct command *command)
{
    uint32_t n = 0;
    while (command->options && command->options[n].name)
        n++;
    return n;
}

static int find_option(const struct command_line *line, const char *name)
{
    for (uint32_t i = 0; i < option_count(line->command); i++)
        if (strcmp(line->command->options[i].name, name) == 0)
            return (int)i;
    return -1;
}

const char *option_text(const struct command_line *line, const char *name)
{
    int i = find_option(line, name);
    return i < 0 ? NULL : line->text[i];
}

const char *const *option_list(const struct command_line *line, const char *name)
{
    int i = find_option(line, name);
    return i < 0 ? NULL : line->list[i];
}

/* --- help --------------------------------------------------------------------------------- */

void command_help(const struct command *command)
{
    printf("usage: sedge %s %s\n\n%s\n", command->name, command->usage, command->doc);
    if (command->detail)
        printf("\n%s\n", command->detail);
    printf("\noptions:\n");
    for (uint32_t i = 0; i < option_count(command); i++) {
        const struct option_spec *o = &command->options[i];
        char left[64];
        snprintf(left, sizeof left, "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
                 o->argument ? " " : "", o->argument ? o->argument : "");
        printf("  %-28s %s", left, o->doc);
        if (o->key)
            printf(" (the key %s)", o->key);
        printf("\n");
    }
    printf("  -h, --help                   this text\n");
}

/* --- parsing ------------------------------------------------------------------------------ */

static bool usage_error(struct command_line *line, const char *what, const char *about)
{
    diag_error(line->diags, FAULT_CONFIG, (struct span){0}, what, about);
    diag_hint(line->diags, "usage: sedge %s %s", line->command->name, line->command->usage);
    return false;
}

static void append_list(struct command_line *line, int i, const char *word)
{
    uint32_t n = 0;
    while (line->list[i] && line->list[i][n])
        n++;
    const char **grown = arena_new_array(line->arena, const char *, n + 2);
    for (uint32_t k = 0; k < n; k++)
        grown[k] = line->list[i][k];
    grown[n] = word;
    line->list[i] = grown;
}

static bool add_override(struct command_line *line, const char *text)
{
    if (line->override_count == POSITIONAL_MAX)
        return usage_error(line, "too many settings: %s", text);
    return override_parse(line->diags, line->arena, text, &line->overrides[line->override_count++]);
}

static bool add_option_override(struct command_line *line, const struct option_spec *o,
                                const char *value)
{
    const char *before = arena_printf(line->arena, "--%s ", o->name);
    if (line->override_count == POSITIONAL_MAX)
        return usage_error(line, "too many settings: %s", before);
    return override_option(line->diags, line->arena, o->key, before, value,
                           &line->overrides[line->override_count++]);
}

/* `--per-position --json` means two options, of which the first lacks its file. */
static bool check_file(struct command_line *line, const struct option_spec *o, const char *value)
{
    if (!value[0]) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "`--%s` needs %s, not an empty name", o->name, o->argument);
        return false;
    }
    if (value[0] != '-' || !value[1])
        return true;
    diag_error(line->diags, FAULT_CONFIG, (struct span){0},
               "`--%s` needs %s, and `%s` looks like an option", o->name, o->argument, value);
    diag_hint(line->diags, "what has that name is written ./%s", value);
    return false;
}

static bool is_list(const struct option_spec *o)
{
    return o->kind == OPTION_LIST || o->kind == OPTION_FILES;
}

static bool set_option(struct command_line *line, uint32_t i, const char *value)
{
    const struct option_spec *o = &line->command->options[i];
    if ((o->kind == OPTION_FILE || o->kind == OPTION_FILES) && !check_file(line, o, value))
        return false;
    line->text[i] = value ? value : "";
    if (is_list(o))
        append_list(line, (int)i, value);
    return o->kind != OPTION_KEY || add_option_override(line, o, value);
}

/* key=value, and no path that happens to hold an `=`. */
static bool is_setting(const struct command_line *line, const char *word)
{
    return line->command->overrides && strchr(word, '=') && word[0] != '/' && word[0] != '.';
}

static bool add_word(struct command_line *line, const char *word)
{
    if (is_setting(line, word))
        return add_override(line, word);
    if (line->positional_count == line->command->most)
        return usage_error(line, "`%s` is one argument too many", word);
    line->positional[line->positional_count++] = word;
    return true;
}

static void unknown_option(struct command_line *line, const char *word)
{
    const char *names[32];
    uint32_t n = option_count(line->command);
    for (uint32_t i = 0; i < n; i++)
        names[i] = line->command->options[i].name;
    diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "`sedge %s` has no option `%s`",
               line->command->name, word);
    while (*word == '-')
        word++;
    const char *near = diag_nearest(word, names, n);
    if (near)
        diag_hint(line->diags, "did you mean --%s?", near);
    else
        diag_hint(line->diags, "sedge %s --help lists them", line->command->name);
}

/* Words after an option of kind LIST belong to it until the next option. */
static bool take_list(struct command_line *line, uint32_t i, int argc, char **argv)
{
    while (optind < argc && argv[optind][0] != '-' && !is_setting(line, argv[optind]))
        if (!set_option(line, i, argv[optind++]))
            return false;
    return true;
}

int command_parse(struct command_line *line, int argc, char **argv)
{
    struct option longs[34] = {0};
    char shorts[80] = "-:h";
    uint32_t n = option_count(line->command);
    for (uint32_t i = 0; i < n; i++) {
        const struct option_spec *o = &line->command->options[i];
        bool value = o->kind != OPTION_FLAG;
        longs[i] = (struct option){o->name, value ? required_argument : no_argument, NULL,
                                   FIRST_LONG + (int)i};
        if (o->letter)
            snprintf(shorts + strlen(shorts), 4, "%c%s", o->letter, value ? ":" : "");
    }
    longs[n] = (struct option){"help", no_argument, NULL, 'h'};
    opterr = 0;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (c == 'h') {
            command_help(line->command);
            return 0;
        }
        if (c == '?' || c == ':') {
            if (c == ':')
                usage_error(line, "`%s` needs a value", argv[optind - 1]);
            else
                unknown_option(line, argv[optind - 1]);
            return 2;
        }
        if (c == 1) { /* a word between options */
            if (!add_word(line, optarg))
                return 2;
            continue;
        }
        uint32_t i = 0;
        while (i < n && FIRST_LONG + (int)i != c && line->command->options[i].letter != c)
            i++;
        if (!set_option(line, i, optarg) ||
            (is_list(&line->command->options[i]) && !take_list(line, i, argc, argv)))
            return 2;
    }
    while (optind < argc)
        if (!add_word(line, argv[optind++]))
            return 2;
    if (line->positional_count < line->command->least) {
        usage_error(line, "`sedge %s` needs more arguments", line->command->name);
        return 2;
    }
    return -1;
}
