/* A loop of a model on the bench, run as `sedge sample` runs it. Used by tests of samplers. */
#ifndef SEDGE_TESTS_PLAY_H
#define SEDGE_TESTS_PLAY_H

#include "runtime/loop.h"
#include "tests/support/rig.h"

#define PLAY_PROGRAMS 4

struct play {
    struct rig rig;
    struct loop *loop;
    struct loop_program programs[PLAY_PROGRAMS];
    uint32_t program_count;
    struct looper *looper;
    struct loop_times times;
    const struct loop_overlay *known;
    int64_t batch;
};

/* LOOP of the model at PATH for BATCH sequences; the rows of its state have yet to be filled.
 * KNOWN: positions that are given in each turn, of which `fixed` and `known` are read; or NULL. */
void play_open(struct play *p, const char *path, const char *const *settings, const char *loop,
               int64_t batch, const struct loop_overlay *known);
void play_close(struct play *p);

/* Draws the batch number TURN in STEPS steps (0: as the loop says), and returns the tokens. */
const int32_t *play_turn(struct play *p, int64_t steps, uint64_t turn);
/* The sum over the sequences of what the loop counts in CARRY. */
double play_counted(struct play *p, const char *carry);

#endif
