/* The progress line of `train`. */
#include "tools/progress.h"
#include "graph/base/clock.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LIVE_SECONDS 0.2
#define PLAIN_SECONDS 10.0

void progress_open(struct progress *p)
{
    p->live = isatty(STDERR_FILENO) != 0;
    p->bound = p->truth = NAN;
    p->started = clock_seconds();
    p->shown = p->started;
}

static void clear_line(const struct progress *p)
{
    if (p->live)
        fputs("\r\033[K", stderr);
}

static void duration(double seconds, char *out, size_t size)
{
    if (!(seconds < 360000))
        snprintf(out, size, "-");
    else if (seconds >= 3600)
        snprintf(out, size, "%d:%02d:%02d", (int)seconds / 3600, (int)seconds / 60 % 60,
                 (int)seconds % 60);
    else
        snprintf(out, size, "%d:%02d", (int)seconds / 60, (int)seconds % 60);
}

static double seconds_left(const struct progress *p, const struct train_report *r, double rate)
{
    double by_steps = p->steps && rate > 0 ? (double)(p->steps - r->step) / rate : INFINITY;
    double by_time = p->minutes > 0 ? 60 * p->minutes - r->seconds : INFINITY;
    double left = by_steps < by_time ? by_steps : by_time;
    return left > 0 ? left : 0;
}

static void show(struct progress *p, const struct train_report *r)
{
    char line[256], left[32], steps[32] = "", bound[80] = "";
    double elapsed = clock_seconds() - p->started;
    double rate = elapsed > 0 ? (double)(r->step - p->first_step) / elapsed : 0;
    duration(seconds_left(p, r, rate), left, sizeof left);
    if (p->steps)
        snprintf(steps, sizeof steps, "/%lld", (long long)p->steps);
    if (isfinite(p->bound) && isfinite(p->truth))
        snprintf(bound, sizeof bound, "  %s %.3f (truth %.3f)", p->measure, p->bound, p->truth);
    else if (isfinite(p->bound))
        snprintf(bound, sizeof bound, "  %s %.3f", p->measure, p->bound);
    snprintf(line, sizeof line, "step %lld%s  loss %.3f%s  %.0f tokens/s  %s left",
             (long long)r->step, steps, p->losses ? p->loss / (double)p->losses : r->loss, bound,
             rate * p->symbols, left);
    struct winsize w;
    if (p->live && ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 8 &&
        strlen(line) >= w.ws_col)
        line[w.ws_col - 1] = 0; /* a wrapped line could not be overwritten */
    clear_line(p);
    fprintf(stderr, p->live ? "%s" : "%s\n", line);
    fflush(stderr);
    p->shown = clock_seconds();
    p->loss = 0;
    p->losses = 0;
}

void progress_step(struct progress *p, const struct train_report *report)
{
    p->loss += report->loss / report->symbols;
    p->losses++;
    if (clock_seconds() - p->shown >= (p->live ? LIVE_SECONDS : PLAIN_SECONDS))
        show(p, report);
}

void progress_note(struct progress *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    clear_line(p);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

void progress_close(struct progress *p)
{
    clear_line(p);
    fflush(stderr);
}
