/* A known language: a weighted finite automaton whose arcs say text.
 *
 *     grammar: 1
 *     doc: what it is
 *     start: S
 *     states:
 *       S: [{say: "the ", go: noun, weight: 2}, {say: "all ", go: nouns}]
 *
 * From a state an arc is taken with probability weight / sum of weights (weight 1 when not
 * given). Read as tokens, every arc is a path of *positions*, one per token, and the language is
 * a stationary Markov chain over positions that shows one token at each. The law of any window of
 * tokens is therefore known exactly, also of one that begins inside an arc: the forward algorithm
 * started in the stationary law of the positions,
 *
 *     pi(arc, k)  =  nu(from) p(arc) / sum over arcs of nu(from) p(arc) length(arc)
 *
 * where nu is the stationary law of the states per arc taken. */
#ifndef SEDGE_DATA_GRAMMAR_H
#define SEDGE_DATA_GRAMMAR_H

#include "graph/base/random.h"
#include "runtime/data/vocabulary.h"

#define GRAMMAR_STATES_MAX 1024 /* the stationary law is solved densely */

struct grammar_arc {
    uint32_t from, to;
    const char *say; /* not empty, no NUL inside */
    double probability;
    struct span span; /* of `say` */
    uint32_t first;   /* positions FIRST to FIRST + LENGTH - 1, after grammar_tokenize */
    uint32_t length;
};

struct grammar_state {
    const char *name;
    struct span span;
    uint32_t first_arc;
    uint32_t arc_count;
    double visits; /* nu */
};

/* The chain over positions: what grammar_tokenize makes. */
struct grammar_positions {
    const struct vocabulary *vocabulary;
    uint32_t count;
    int32_t *token;       /* what a position shows */
    uint32_t *arc;        /* which arc it is in */
    double *stationary;   /* pi */
    uint32_t *of_token;   /* positions sorted by the token they show */
    uint32_t *token_from; /* those of token x: of_token[token_from[x]] to [token_from[x + 1]] */
    /* A sentence ends where the last END_LENGTH tokens are END, or, where END_LENGTH is 0,
     * where the last token is marked in END_TOKEN. SENTENCES is false where that happens inside
     * a sentence as well, so that a text cannot be split. */
    bool sentences;
    uint32_t end_length;
    const int32_t *end;
    const bool *end_token;
};

struct grammar {
    const char *path;
    const char *doc; /* "" when not given */
    uint32_t start;
    uint32_t state_count;
    struct grammar_state *states;
    uint32_t arc_count;
    struct grammar_arc *arcs; /* those of a state side by side, in the order of the file */
    struct grammar_positions positions;
};

/* Whether the file reads like a grammar: among its first lines at column 1, comments aside, all
 * are keys and one is `grammar:`. Nothing is reported. */
bool grammar_recognize(const struct source *source);

/* NULL after reporting FAULT_CONFIG: everything that can be wrong in the file, states that cannot
 * be reached and states from which the start cannot be reached included. */
struct grammar *grammar_read(struct diags *diags, struct arena *arena, const char *path,
                             struct span where);

/* Expands the arcs into positions. VOCABULARY is an earlier run's, or NULL: it is made from the
 * grammar, all its symbols even if rare. With `words` each text must be words with one blank
 * after each. False after reporting FAULT_CONFIG (such a text) or FAULT_DATA (a symbol that
 * VOCABULARY has not). */
bool grammar_tokenize(struct diags *diags, struct arena *arena, struct grammar *grammar,
                      enum tokenizer tokenizer, const struct vocabulary *vocabulary);

/* COUNT tokens from the stationary language: a function of KEY alone, and a shorter stream is the
 * beginning of a longer one. */
void grammar_generate(const struct grammar *grammar, struct random_key key, int32_t *out,
                      size_t count);

/* The probability of exactly these tokens as a window, log, in nats; -INFINITY when the language
 * has no such window. 0 for an empty one. With GIVEN, that of the tokens where it is true, whatever
 * stands elsewhere: the law of the rest given these is a difference of two. */
double grammar_log_likelihood(const struct grammar *grammar, const int32_t *tokens,
                              const bool *given, size_t count);

struct sentence_count {
    uint32_t total;
    uint32_t accepted;
};

/* Splits TOKENS at sentence ends and counts the sentences between the first end and the last,
 * and those of them that are a path from the start back to the start. Ids outside the vocabulary
 * (a mask) are allowed and accepted nowhere. {0, 0} when the language has no clear ends. */
struct sentence_count grammar_accepts_sentences(const struct grammar *grammar,
                                                const int32_t *tokens, size_t count);

#endif
