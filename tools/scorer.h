/* What texts of any length cost by an autoregressive run: what `judge` asks.
 *
 * A text longer than the model's length L is read in pieces of L tokens, each with nothing before
 * it; the first token of a piece is given, not scored, as published evaluations have it. */
#ifndef SEDGE_TOOLS_SCORER_H
#define SEDGE_TOOLS_SCORER_H

#include "tools/project.h"

struct scored_text {
    double nats;
    int64_t tokens; /* that were scored */
};

struct scorer {
    struct project p;
    struct loaded *program;
    int64_t batch, rows; /* ROWS: pieces that wait */
    int32_t *x0;         /* [batch, length] */
    uint8_t *scored;     /* [batch, length] */
    uint32_t *text;      /* of each row */
    struct scored_text *texts;
    uint32_t count, capacity;
};

/* Opens RUN with the weights that it evaluates by. False after reporting: also where its
 * likelihood is not known, as of diffusion models. */
bool scorer_open(struct scorer *scorer, struct command_line *line, const char *run);
void scorer_close(struct scorer *scorer);
/* The text of COUNT ids becomes the next of TEXTS; complete after scorer_flush. */
void scorer_add(struct scorer *scorer, const int32_t *ids, size_t count);
void scorer_flush(struct scorer *scorer);

/* Over texts that have a scored token. */
struct score {
    uint32_t texts;
    double nats, nats_error; /* a token: all nats over all tokens, with its standard error */
    /* Perplexity as it is published: exp of NATS (MDLM), and the mean over texts of
     * exp of a text's own nats a token (SEDD), each with its standard error. */
    double of_tokens, of_tokens_error, of_texts, of_texts_error;
};
/* Of TEXTS from FIRST up to before END; one text has no errors: they are NAN. */
struct score scorer_sum(const struct scorer *scorer, uint32_t first, uint32_t end);

#endif
