/* Signal handling of the commands that run for long. */
#include "tools/signals.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t caught;

static void remember(int signal)
{
    caught = signal;
}

void signals_catch(void)
{
    struct sigaction action = {.sa_handler = remember, .sa_flags = SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool signals_caught(void)
{
    return caught != 0;
}

int signals_exit_code(void)
{
    return caught == SIGINT ? 130 : caught == SIGTERM ? 75 : 0;
}
