/* What the parts of `sedge sample` share: the command (sample.c), the loop that it runs
 * (sample_loop.c), what of the text is given (sample_given.c), how far what is drawn is from a
 * known law (sample_truth.c), and what is shown (sample_show.c). */
#ifndef SEDGE_TOOLS_SAMPLE_H
#define SEDGE_TOOLS_SAMPLE_H

#include "runtime/loop.h"
#include "runtime/template.h"
#include "tools/run_record.h"

#include <jansson.h>

/* Carries that are counts of each sequence, and what is said of their sum. */
enum sample_total { TOTAL_CLAMPED, TOTAL_VIOLATIONS, TOTAL_TRUNK, TOTAL_HEAD, TOTAL_COUNT };
extern const char *const sample_totals[TOTAL_COUNT];

/* A text of which one symbol is free, in a known language. */
struct sample_hole {
    int64_t place;
    const double *law; /* of each symbol there; NULL: not such a text */
    int64_t *drawn;    /* how often it was each */
    int64_t draws;
};

/* Of such texts, those that leave a choice and those that leave one symbol: means over them. */
enum hole_kind { HOLE_CHOICE, HOLE_FORCED, HOLE_KINDS };
struct sample_truth {
    int64_t texts;
    double variation; /* total variation from the law: half the sum of |share - law| */
    double chance;    /* what as many draws by the law come to on the mean */
};

#define GIVEN_COUNT 5 /* fixed, known, allowed, label, gamma */

struct sample_job {
    struct project p;
    struct loop *loop;
    struct looper *looper;
    struct loop_times times;
    int64_t batch;
    int64_t count;  /* sequences of this batch */
    int64_t wanted; /* symbols of each, which may be more than the model's length */
    int32_t stop;   /* a sequence ends before this symbol; -1: none */

    /* What is given. Sequence i has the template i modulo their number. */
    struct template *texts;
    uint32_t text_count;
    bool held; /* some positions are known */
    bool sets; /* some positions have a set of their own */
    int64_t states;
    uint8_t *fixed, *allowed; /* [batch, length], [batch, length, states] */
    int32_t *known, *label;
    double gamma;
    bool steered;     /* the loop follows a gradient */
    bool by_event;    /* it jumps at the times of the process */
    bool by_thinning; /* which it finds below a bound of the rates */
    bool by_place;    /* it draws one symbol after the other, from left to right */
    bool by_order;    /* it chooses which masks are revealed first */
    struct loop_field fields[GIVEN_COUNT];
    const char *names[GIVEN_COUNT];
    uint32_t field_count;
    struct loop_overlay overlay;

    /* What came out. */
    int32_t *out; /* [batch, wanted] */
    double total[TOTAL_COUNT];
    int64_t finished; /* sequences that were printed: fewer than asked for after a signal */
    int64_t calls;
    int64_t lawless;                  /* numbers to draw by that are none */
    struct sentence_count *sentences; /* by each known language: LANGUAGES of them */
    uint32_t languages;
    struct sample_hole *holes; /* by text */
    json_t *json;              /* the list of texts; NULL: they are printed as they come */

    /* Watching. */
    bool watch;
    int lines;           /* drawn by the last frame */
    double drawn;        /* when */
    bool counting;       /* a line says which turn it is */
    struct arena *frame; /* text of one frame */
};

/* The known language, or that of class K. */
const struct grammar *sample_language(const struct sample_job *j, uint32_t k);

/* Opens the loop with the weights of RUN; false after reporting. */
bool sample_open_loop(struct sample_job *j, const char *run);

/* Reads the options that say what is given and how long the text is; before the loop is opened. */
bool sample_read_given(struct sample_job *j);
/* The fields of round ROUND (0: the template; later: its last symbols as context) of the batch that
 * starts at sequence FIRST; DONE symbols are drawn. */
void sample_fill_given(struct sample_job *j, int64_t first, int64_t round, int64_t done);
/* Symbols kept as context, and drawn at once, beyond the model's length. */
int64_t sample_context(const struct sample_job *j);
int64_t sample_block(const struct sample_job *j);

/* Before the first batch: the laws of texts with one free symbol. Then after each batch, which
 * starts at sequence FIRST. */
void sample_open_truth(struct sample_job *j);
void sample_count_truth(struct sample_job *j, int64_t first);
void sample_sum_truth(const struct sample_job *j, struct sample_truth out[HOLE_KINDS]);

/* The watcher of loop_run; its context is the job. */
bool sample_watch(void *context, struct looper *looper, int64_t turn, int64_t turns);
/* Before the first: the known languages that its sentences are counted by. */
void sample_open_languages(struct sample_job *j);
/* Takes away the line that says which turn it is. */
void sample_end_count(struct sample_job *j);
void sample_print_start(const struct sample_job *j);
void sample_print_batch(struct sample_job *j);
/* The last lines, or the JSON document. */
void sample_print_end(struct sample_job *j, double seconds);

#endif
