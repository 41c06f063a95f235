/* What a training says on stderr: one live line on a terminal, plain lines otherwise. */
#ifndef SEDGE_TOOLS_PROGRESS_H
#define SEDGE_TOOLS_PROGRESS_H

#include "runtime/train.h"

struct progress {
    bool live;     /* stderr is a terminal */
    int64_t steps; /* of the whole run; 0: by time */
    double minutes;
    double symbols;            /* a step */
    const char *measure;       /* what is validated: "bound", or "-log p" */
    double bound, bound_error; /* of the last validation, nats a symbol; NaN before it */
    double truth;              /* NaN where it is not known */
    double loss;               /* mean since the last line, nats a symbol */
    int64_t losses;
    double shown, started; /* monotonic seconds */
    int64_t first_step;    /* done before this start */
};

void progress_open(struct progress *p);
/* Takes a step in; shows it when it is time to. */
void progress_step(struct progress *p, const struct train_report *report);
/* A line that stays, such as a validation; the live line goes on below it. */
void progress_note(struct progress *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void progress_close(struct progress *p);

#endif
