/* The entry of the command: finds the subcommand, runs it, prints diagnostics, returns the exit
 * code: 0 done, 1 failed, 2 usage or config, 3 bad data or checkpoint, 75 stopped by SIGTERM with a
 * checkpoint saved, 130 by Ctrl-C likewise. */
#include "tools/command.h"
#include "tools/signals.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct command *const commands[] = {
    &command_new,     &command_check,  &command_config, &command_explain,
    &command_plan,    &command_train,  &command_sample, &command_eval,
    &command_compare, &command_run,    &command_bench,  &command_ops,
    &command_tokens,  &command_import, &command_export, &command_judge,
};
const uint32_t command_count = sizeof commands / sizeof *commands;

void print_diags(struct diags *diags)
{
    bool colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR");
    fputs(diags_render(diags, colour), stderr);
}

static void print_help(void)
{
    printf("sedge %s: discrete diffusion models from YAML, compiled\n\n"
           "usage: sedge COMMAND [arguments]\n\n",
           sedge_version);
    for (uint32_t i = 0; i < command_count; i++)
        printf("  %-9s %s\n", commands[i]->name, commands[i]->doc);
    printf("\nsedge COMMAND --help says more; sedge --version prints the version.\n"
           "A first run: sedge train quickstart -o runs/quickstart\n");
}

static int unknown_command(struct diags *diags, const char *name)
{
    const char *names[32];
    for (uint32_t i = 0; i < command_count; i++)
        names[i] = commands[i]->name;
    diag_error(diags, FAULT_CONFIG, (struct span){0}, "there is no command `%s`", name);
    const char *near = diag_nearest(name, names, command_count);
    if (near)
        diag_hint(diags, "did you mean `sedge %s`?", near);
    else
        diag_hint(diags, "sedge --help lists the commands");
    return 2;
}

static int dispatch(struct arena *arena, struct diags *diags, int argc, char **argv)
{
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 && argc > 2) {
        argv[1] = argv[2];
        argv[2] = (char *)"--help";
        return dispatch(arena, diags, 3, argv);
    }
    for (uint32_t i = 0; i < command_count; i++) {
        if (strcmp(commands[i]->name, name) != 0)
            continue;
        struct command_line *line = arena_alloc(arena, sizeof *line);
        line->arena = arena;
        line->diags = diags;
        line->command = commands[i];
        line->argc = argc;
        line->argv = argv;
        int code = command_parse(line, argc - 1, argv + 1);
        return code >= 0 ? code : commands[i]->run(line);
    }
    return unknown_command(diags, name);
}

/* Output that was lost (a full disk, a closed pipe) must not look like success. */
static int finish_output(struct diags *diags, int code)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        diag_error(diags, FAULT_RUN, (struct span){0}, "standard output could not be written");
        return code ? code : 1;
    }
    return code;
}

/* A standard stream that came closed is held open where nothing can be written: else the next file
 * would take its number, and receive what is printed. */
static void hold_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
            abort();
}

static bool is_word(const char *typed, const char *word, const char *option, const char *letter)
{
    return strcmp(typed, word) == 0 || strcmp(typed, option) == 0 || strcmp(typed, letter) == 0;
}

static int run_command(struct arena *arena, struct diags *diags, int argc, char **argv)
{
    if (argc < 2 ||
        (is_word(argv[1], "help", "--help", "-h") && (argc == 2 || argv[1][0] == '-'))) {
        print_help();
        return argc < 2 ? 2 : 0;
    }
    if (is_word(argv[1], "version", "--version", "-V")) {
        printf("sedge %s%s%s\n", sedge_version, sedge_commit[0] ? " " : "", sedge_commit);
        return 0;
    }
    return dispatch(arena, diags, argc, argv);
}

int main(int argc, char **argv)
{
    hold_streams();
    signals_ignore_limits();
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    int code = finish_output(diags, run_command(arena, diags, argc, argv));
    print_diags(diags);
    arena_free(arena);
    return code;
}
