/* Runs dot as a child. Called by `sedge plan --svg`. */
#include "tools/draw_graph.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_FOUND 127 /* the exit status that a shell gives, too */

static bool write_error(struct diags *diags, const char *path)
{
    diag_error(diags, FAULT_RUN, (struct span){0}, "cannot write `%s`: %s", path, strerror(errno));
    return false;
}

/* False when the child stopped reading; its exit status says why. */
static bool feed(int to, const char *text)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGPIPE, &ignore, &before);
    size_t left = strlen(text);
    while (left) {
        ssize_t n = write(to, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        text += n;
        left -= (size_t)n;
    }
    sigaction(SIGPIPE, &before, NULL);
    return left == 0;
}

static void child(const int *pipe_ends, int out)
{
    dup2(pipe_ends[0], STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    close(out);
    execlp("dot", "dot", "-Tsvg", (char *)NULL);
    _exit(NOT_FOUND);
}

/* The exit status of dot, or -1 after reporting. */
static int run_dot(struct diags *diags, const char *dot, int out)
{
    int ends[2], status = 0;
    if (pipe(ends) != 0) {
        diag_error(diags, FAULT_RUN, (struct span){0}, "no pipe: %s", strerror(errno));
        return -1;
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        child(ends, out);
    close(ends[0]);
    if (pid > 0)
        feed(ends[1], dot);
    close(ends[1]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        diag_error(diags, FAULT_RUN, (struct span){0}, "cannot run dot: %s", strerror(errno));
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static bool keep_text(struct diags *diags, struct arena *arena, const char *dot, const char *path)
{
    char *beside = arena_printf(arena, "%s.dot", path);
    FILE *file = fopen(beside, "w");
    bool good = file && fputs(dot, file) != EOF;
    if (file && fclose(file) != 0)
        good = false;
    if (!good)
        return write_error(diags, beside);
    diag_error(diags, FAULT_RUN, (struct span){0}, "`dot` is missing: it is in Debian's graphviz");
    diag_hint(diags, "the graph was written as text; to draw it: dot -Tsvg %s -o %s", beside, path);
    return false;
}

bool draw_graph(struct diags *diags, struct arena *arena, const char *dot, const char *path)
{
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (out < 0)
        return write_error(diags, path);
    int status = run_dot(diags, dot, out);
    if (close(out) != 0 && status == 0)
        return write_error(diags, path);
    if (status == 0)
        return true;
    unlink(path);
    if (status == NOT_FOUND)
        return keep_text(diags, arena, dot, path);
    if (status > 0)
        diag_error(diags, FAULT_RUN, (struct span){0}, "dot failed with status %d", status);
    return false;
}
