/* What can be said of samples without a model: whether they repeat themselves or each other, how
 * varied their symbols are, how long they are.
 *
 * Each is published under several definitions; those here are
 *
 *   entropy     of the histogram of one sample's symbols, in nats, mean over samples: what papers
 *               on discrete diffusion call sample entropy (Zheng et al. 2024, arXiv 2409.02908). It
 *               grows with length, so that only samples of one length compare
 *   distinct-n  different n-grams over all n-grams, of all samples together (Li et al. 2016,
 *               arXiv 1510.03055). It falls with the number of samples
 *   repeated-n  n-grams that stood earlier in the same sample over all n-grams, of all samples
 *               together (Welleck et al. 2020, arXiv 1908.04319: seq-rep-n)
 *   twice       samples that are equal to an earlier one
 *   found       different samples that are also elsewhere (statistics_find) over different samples:
 *               what is left is novelty (Polykovskiy et al. 2020, arXiv 1811.12823)
 *
 * N-grams are told apart by 64-bit hashes (XXH3): of a hundred million, two are taken for one with
 * a probability of 3 in 10,000. */
#ifndef SEDGE_RUNTIME_STATISTICS_H
#define SEDGE_RUNTIME_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

#define STATISTICS_GRAMS 4  /* 1 to 4 symbols */
#define STATISTICS_REPEAT 4 /* symbols of an n-gram that may be repeated */

struct statistics; /* being gathered */

struct sample_statistics {
    uint64_t samples, tokens;
    double length, length_deviation; /* mean and standard deviation over samples */
    double entropy, entropy_error;   /* mean, and its standard error over samples */
    double distinct[STATISTICS_GRAMS];
    double repeated;
    double twice, found;
};

struct statistics *statistics_new(void);
void statistics_free(struct statistics *statistics);
/* One sample of COUNT ids, which may be 0. */
void statistics_add(struct statistics *statistics, const int32_t *ids, size_t count);
/* A text from elsewhere, such as the data: it may be one of the samples that were added. */
void statistics_find(struct statistics *statistics, const int32_t *ids, size_t count);
/* Of what was added so far; shares of nothing are 0, and what one sample does not tell is NAN. */
void statistics_sum(const struct statistics *statistics, struct sample_statistics *out);

#endif
