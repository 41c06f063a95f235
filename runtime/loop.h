/* Runs the loops of a model: calls loaded plans over a grid of times, and keeps what they carry.
 *
 * Carried values live here, outside every arena, and are never saved. Each call of a
 * run is an iteration of its own, so that a sequence's result depends on the seed and its own
 * global index alone. */
#ifndef SEDGE_RUNTIME_LOOP_H
#define SEDGE_RUNTIME_LOOP_H

#include "graph/loop.h"
#include "runtime/executor.h"

/* A program that the loop may call, by name. */
struct loop_program {
    const char *name;
    struct loaded *loaded;
};

/* A program input that is neither carried nor computed: the same in every call. ROWS x the
 * shape. */
struct loop_field {
    const char *name;
    const void *data;
};

struct looper;

/* Checks that each program gets the inputs it has, of the right type, and gives what is set. NULL
 * after reporting, with the span of the loop. BATCH is the most sequences of one run. */
struct looper *loop_open(struct diags *diags, struct arena *arena, const struct loop *loop,
                         const struct loop_program *programs, uint32_t program_count,
                         const char *const *field_names, uint32_t field_count, int64_t batch);
void loop_close(struct looper *looper);

/* What is known of the carry `x` before it is drawn: [count, length], [count, length, states]. */
struct loop_overlay {
    const uint8_t *fixed; /* positions that hold KNOWN after the start and after each call */
    const int32_t *known;
    const uint8_t
        *allowed; /* states a position may start in; NULL: all. Programs see to the rest */
    int64_t length, states;
    int32_t mask; /* a start outside the allowed states becomes it, or if -1 is drawn among them */
};

struct loop_request {
    int64_t count;     /* sequences, at most BATCH */
    uint32_t sequence; /* global index of the first */
    struct random_key key;
    int64_t steps; /* of the grid; 0: as the loop says */
    int64_t turns; /* of a loop without a grid, at most; 0: as the loop says */
    const double
        *time; /* STEPS + 1 times, as of loop_grid; NULL: as the loop says, without `limit` */
    const struct loop_overlay *overlay; /* NULL: none */
    const struct loop_field *fields;    /* in the order of field_names */
    /* Called after the start (turn 0) and after each turn; false stops the loop. */
    bool (*watch)(void *context, struct looper *looper, int64_t turn, int64_t turns);
    void *context;
};

/* False when the watcher stopped it. */
bool loop_run(struct looper *looper, const struct loop_request *request);

/* A carried value, with COUNT rows of the last run; NULL: no such carry. Writable before a run for
 * carries that start as given. */
void *loop_carry_data(struct looper *looper, const char *name);
int64_t loop_calls(const struct looper *looper); /* program calls of the last run */
/* Whether the last run came to the `max` of a loop without a grid before its `until` was true: what
 * it left is not finished. */
bool loop_is_cut(const struct looper *looper);
/* Of the last run: numbers that tokens were to be drawn by and that are none (NaN, +infinity). */
int64_t loop_lawless(const struct looper *looper);

#endif
