/* The `sedge` command: one table of commands, each with one table of options. The tables make
 * parsing, `--help` and completion; nothing about an option is written twice. */
#ifndef SEDGE_TOOLS_COMMAND_H
#define SEDGE_TOOLS_COMMAND_H

#include "graph/base/diag.h"
#include "graph/recipe.h"

enum option_kind {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_FILE,  /* a file or folder, or a word in its place; no option is taken for its name */
    OPTION_LIST,  /* takes all words up to the next option; may be repeated */
    OPTION_FILES, /* the same, of files */
    OPTION_KEY,   /* an alias: sets the recipe key in KEY */
};

struct option_spec {
    const char *name; /* without the dashes */
    char letter;      /* or 0 */
    enum option_kind kind;
    const char *argument; /* its name in the help: "FILE" */
    const char *doc;
    const char *key;
};

#define POSITIONAL_MAX 64

struct command_line {
    struct arena *arena;
    struct diags *diags;
    const struct command *command;
    uint32_t positional_count;
    const char *positional[POSITIONAL_MAX];
    uint32_t override_count;
    struct override overrides[POSITIONAL_MAX];
    const char *text[32];  /* per option: its value, "" for a flag; NULL: not given */
    const char **list[32]; /* per option of kind LIST: NULL-terminated */
    int argc;
    char **argv; /* as typed, for run.json */
};

struct command {
    const char *name;
    const char *usage;                 /* after the name: "RECIPE [key=value…] [-o RUN]" */
    const char *doc;                   /* one line for the list */
    const char *detail;                /* what --help says below it */
    uint32_t least, most;              /* positional arguments without key=value */
    bool overrides;                    /* takes key=value */
    const struct option_spec *options; /* ends with a NULL name */
    int (*run)(
        struct command_line *line); /* returns the exit code; diagnostics are printed after it */
};

extern const struct command command_new, command_check, command_config, command_explain,
    command_plan, command_train, command_sample, command_eval, command_compare, command_run,
    command_bench, command_ops, command_tokens, command_import, command_export, command_judge;
extern const struct command *const commands[];
extern const uint32_t command_count;

/* The value of an option, or NULL when it was not given. */
const char *option_text(const struct command_line *line, const char *name);
const char *const *option_list(const struct command_line *line, const char *name);
static inline bool option_given(const struct command_line *line, const char *name)
{
    return option_text(line, name) != NULL;
}

/* Parses ARGV (its first word is the command's name). Returns -1 to go on, else an exit code:
 * --help was asked for, or something is wrong (reported). */
int command_parse(struct command_line *line, int argc, char **argv);
void command_help(const struct command *command);

/* Everything reported so far, on stderr. */
void print_diags(struct diags *diags);

/* The folders in which models, recipes and grammars are looked for by bare name, the nearest
 * first; NULL-terminated. */
const char *const *model_folders(struct arena *arena);
const char *const *recipe_folders(struct arena *arena);

extern const char sedge_version[], sedge_commit[];

#endif
