/* The data of a run, whatever it is: the one front that training, sampling and evaluation use.
 *
 * The files hold documents (format.h), or one of them is a grammar (a file whose top-level keys
 * include `grammar:`); then it must be the only one, and the data is a *known language*: a training
 * and a held-out stream are drawn from it, apart from each other, and the probability of each
 * held-out window is known.
 *
 * Everything is a function of the files and the options: the same windows come again on any
 * machine, in any order, from any thread. After dataset_open a dataset is only read. */
#ifndef SEDGE_DATA_DATASET_H
#define SEDGE_DATA_DATASET_H

#include "runtime/data/anchor.h"
#include "runtime/data/grammar.h"
#include "runtime/data/vocabulary.h"

#define DATASET_GRAMMAR_TOKENS 2000000 /* of the training stream of a known language */

/* Whether windows lie across documents (joined) or each is cut by itself; auto: as the format is.
 * */
enum documents { DOCUMENTS_AUTO, DOCUMENTS_JOINED, DOCUMENTS_APART };

/* RANDOM: training windows begin anywhere, each place as likely. CHUNKED: they follow each other
 * without overlap, SLIDING: by STRIDE; each comes once an epoch, in an order of the epoch. Held-out
 * windows follow each other; where they slide, what a window shows again is given. */
enum window_kind { WINDOWS_RANDOM, WINDOWS_CHUNKED, WINDOWS_SLIDING };

struct dataset_options {
    const char *const *files; /* data.files, as to be opened from here */
    uint32_t file_count;
    const double *weights; /* data.weights, above 0: training windows come from each file as often;
                             * NULL: all are one stream */
    const char *format;    /* data.format: auto, grammar, or as format.h says; NULL: auto */
    const char *field;     /* data.field, data.letters, data.levels: of format.h */
    const char *letters;
    uint32_t levels;
    enum documents documents; /* data.documents */
    enum window_kind windows; /* data.windows */
    uint32_t stride;          /* data.stride: of WINDOWS_SLIDING, at most LENGTH; 0: half of it */
    uint32_t batch;           /* training windows of an iteration; 0: one */
    const char *separator;    /* data.separator: of corpus.h */
    const char *cache;        /* data.cache: a folder where tokens are kept, or NULL; */
    size_t cache_from;        /* from so many bytes of data on */
    const char *tokenizer;    /* data.tokenizer, as `gpt2:DIR` with a folder to be opened from here;
                             * NULL: `words` for a grammar, else `chars` */
    double valid;             /* data.valid as a share; of a known language, the held-out stream is
                             * that share of DATASET_GRAMMAR_TOKENS, drawn in addition */
    bool by_document;         /* data.split: VALID is a share of documents (corpus.h) */
    const char *valid_file;   /* data.valid as a file with the held-out text; NULL: use VALID */
    uint64_t seed;            /* of a known language's streams; runs that are compared share it */
    uint32_t length;          /* of a window, at least 1 */
    const struct vocabulary *vocabulary; /* of the run that is evaluated; NULL: as TOKENIZER says */
    struct span where;                   /* the recipe's `data` section */
};

struct dataset;

/* Data in classes: each file of OPTIONS, text or grammar, is a class of its own, and all share one
 * vocabulary. Training windows come from each class alike often; held-out windows class by class.
 * What is known of a window without its class is the mean of the classes' laws, where all are known
 * languages. NULL after reporting; there must be no valid_file, as with weights. */
struct dataset *dataset_open_classes(struct diags *diags, struct arena *arena,
                                     const struct dataset_options *options);
/* 0: the data has no classes. */
uint32_t dataset_class_count(const struct dataset *dataset);
/* The class, from 0, of the training window of these arguments; 0 where there are none. */
int32_t dataset_train_label(const struct dataset *dataset, struct random_key key,
                            uint32_t iteration, uint32_t sequence);
/* That of a held-out window. */
int32_t dataset_valid_label(const struct dataset *dataset, size_t index);
/* The known language of a class, over the vocabulary of all; or NULL. */
const struct grammar *dataset_class_grammar(const struct dataset *dataset, int32_t label);

/* NULL after reporting what is wrong. No file stays open, and all lives in ARENA but the tokens,
 * which dataset_close gives back; OPTIONS is not kept, but a vocabulary given in it is. */
struct dataset *dataset_open(struct diags *diags, struct arena *arena,
                             const struct dataset_options *options);
void dataset_close(struct dataset *dataset); /* NULL is allowed */

uint32_t dataset_vocab_size(const struct dataset *dataset);
const struct vocabulary *dataset_vocabulary(const struct dataset *dataset);
/* The known language, or NULL. */
const struct grammar *dataset_grammar(const struct dataset *dataset);
/* Whether any of it is drawn from a known language, and so depends on the seed. */
bool dataset_drawn(const struct dataset *dataset);
size_t dataset_train_tokens(const struct dataset *dataset);

/* One training window of the dataset's length, a function of KEY, ITERATION (from 1) and SEQUENCE
 * (below the batch) alone. Returns how many tokens there are: what follows them is padding, that is
 * the separator, and counts for nothing. There must be training tokens. */
uint32_t dataset_train_window(const struct dataset *dataset, struct random_key key,
                              uint32_t iteration, uint32_t sequence, int32_t *out);
/* The symbol that ends each document, where documents are cut by themselves and padding follows it;
 * else NULL. */
const char *dataset_document_end(const struct dataset *dataset);
/* Whether there may be padding. */
bool dataset_pads(const struct dataset *dataset);

/* Held-out windows come in the order of the text. */
size_t dataset_valid_count(const struct dataset *dataset);
/* Whether some of a held-out window may be given: padding, and what the one before it has counted.
 * */
bool dataset_gives(const struct dataset *dataset);
void dataset_valid_given(const struct dataset *dataset, size_t index, bool *given);
void dataset_valid_window(const struct dataset *dataset, size_t index, int32_t *out);

/* Whether the law of a window is known; then *NATS is its log-likelihood, -INFINITY when the
 * language has no such window. With GIVEN, that of the other positions given those. */
bool dataset_truth(const struct dataset *dataset, const int32_t *window, const bool *given,
                   double *nats);
/* The same given its class. */
bool dataset_class_truth(const struct dataset *dataset, int32_t label, const int32_t *window,
                         const bool *given, double *nats);
/* Its cross-entropy over all held-out windows, in nats per token, beside the anchors: what no
 * model can beat. False when it is not known or nothing is held out. */
bool dataset_truth_mean(const struct dataset *dataset, struct anchor *out);
/* Of what neither GIVEN [length] (NULL: nothing) nor the window itself gives, so that they stand
 * beside a bound of the same symbols. False when nothing is held out. Counts all training tokens at
 * each call. */
bool dataset_anchors(const struct dataset *dataset, const bool *given, struct anchors *out);

/* Of the files' bytes: XXH3 of the one file, or of the list of the files' XXH3 in order, the
 * held-out file last; together with that of the vocabulary where it is read from files as well. */
uint64_t dataset_hash(const struct dataset *dataset);
/* One line: "text, 65 symbols (chars), 1003854 training tokens, 871 held-out windows of 128". */
const char *dataset_description(const struct dataset *dataset);

#endif
