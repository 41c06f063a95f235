/* Signal handling of the commands that run for long. */
#include "tools/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static const char *notice;

/* Only what may be called from a handler. */
static void remember(int signal_number)
{
    caught = signal_number;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (notice && write(STDERR_FILENO, notice, strlen(notice)) < 0)
        notice = NULL; /* nobody reads it */
}

void signals_catch(const char *said)
{
    struct sigaction action = {.sa_handler = remember, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    notice = isatty(STDERR_FILENO) ? said : NULL;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL); /* the terminal is closed: as good as a request to end */
}

void signals_ignore_limits(void)
{
    signal(SIGXFSZ, SIG_IGN);
}

bool signals_caught(void)
{
    return caught != 0;
}

int signals_exit_code(void)
{
    return caught == SIGINT ? 130 : caught ? 75 : 0;
}
