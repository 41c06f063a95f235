/* What a dataset answers: windows, classes, what is known and what is near. dataset_open.c makes
 * one. */
#include "graph/base/check.h"
#include "runtime/data/dataset_struct.h"

#include <math.h>
#include <string.h>

/* --- parts ---------------------------------------------------------------------------------- */

uint32_t dataset_class_count(const struct dataset *d)
{
    return d->told ? d->part_count : 0;
}

/* The part that a training window comes from. */
static uint32_t draw_part(const struct dataset *d, struct random_key key, uint32_t iteration,
                          uint32_t sequence)
{
    double u = random_uniform(key, iteration, random_stream("class"), sequence, 0);
    if (!d->share)
        return (uint32_t)(u * d->part_count);
    uint32_t part = 0;
    while (part + 1 < d->part_count && u >= d->share[part])
        part++;
    return part;
}

int32_t dataset_train_label(const struct dataset *d, struct random_key key, uint32_t iteration,
                            uint32_t sequence)
{
    return d->told ? (int32_t)draw_part(d, key, iteration, sequence) : 0;
}

/* The class that has the held-out window *INDEX, which becomes its number there; D itself where
 * there are none. */
static const struct dataset *class_of(const struct dataset *d, size_t *index, int32_t *label)
{
    *label = 0;
    for (uint32_t i = 0; i < d->part_count; i++) {
        size_t count = dataset_valid_count(d->parts[i]);
        *label = (int32_t)i;
        if (*index < count)
            return d->parts[i];
        *index -= count;
    }
    BUG_ON(d->part_count);
    return d;
}

int32_t dataset_valid_label(const struct dataset *d, size_t index)
{
    int32_t label;
    class_of(d, &index, &label);
    return label;
}

const struct grammar *dataset_class_grammar(const struct dataset *d, int32_t label)
{
    BUG_ON(label < 0 || (uint32_t)label >= d->part_count);
    return d->parts[label]->grammar;
}

bool dataset_class_truth(const struct dataset *d, int32_t label, const int32_t *window,
                         const bool *given, double *nats)
{
    BUG_ON(label < 0 || (uint32_t)label >= d->part_count);
    return dataset_truth(d->parts[label], window, given, nats);
}

static bool given_truth(const struct dataset *d, const int32_t *window, const bool *given,
                        double *nats);

static double share_of(const struct dataset *d, uint32_t part)
{
    return d->share ? d->share[part] - (part ? d->share[part - 1] : 0) : 1.0 / d->part_count;
}

/* Of a window whose part is not told: the logarithm of the mean probability, by their shares. */
static bool mixed_truth(const struct dataset *d, const int32_t *window, const bool *given,
                        double *nats)
{
    double most = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < d->part_count; i++) {
        double one;
        if (!given_truth(d->parts[i], window, given, &one))
            return false;
        one += log(share_of(d, i));
        if (one > most) {
            sum = sum * exp(most - one) + 1;
            most = one;
        } else if (one > -INFINITY) {
            sum += exp(one - most);
        }
    }
    *nats = most > -INFINITY ? most + log(sum) : most;
    return true;
}

/* The log-likelihood of the positions that are GIVEN (NULL: of all), whatever stands elsewhere. */
static bool given_truth(const struct dataset *d, const int32_t *window, const bool *given,
                        double *nats)
{
    if (d->part_count)
        return mixed_truth(d, window, given, nats);
    if (!d->grammar)
        return false;
    *nats = grammar_log_likelihood(d->grammar, window, given, d->length);
    return true;
}

/* --- asking --------------------------------------------------------------------------------- */

uint32_t dataset_vocab_size(const struct dataset *d)
{
    return d->vocabulary->size;
}

const struct vocabulary *dataset_vocabulary(const struct dataset *d)
{
    return d->vocabulary;
}

const struct grammar *dataset_grammar(const struct dataset *d)
{
    return d->grammar;
}

bool dataset_drawn(const struct dataset *d)
{
    bool drawn = d->grammar != NULL;
    for (uint32_t i = 0; i < d->part_count; i++)
        drawn |= dataset_drawn(d->parts[i]);
    return drawn;
}

size_t dataset_train_tokens(const struct dataset *d)
{
    size_t count = d->corpus.train.count;
    for (uint32_t i = 0; i < d->part_count; i++)
        count += dataset_train_tokens(d->parts[i]);
    return count;
}

/* Windows follow each other through epochs, each of which has an order of its own. */
static struct window next_window(const struct dataset *d, struct random_key key, uint32_t iteration,
                                 uint32_t sequence)
{
    uint64_t number = (uint64_t)(iteration ? iteration - 1 : 0) * d->batch + sequence;
    size_t count = windows_count(&d->train);
    uint32_t epoch = (uint32_t)(number / count);
    return windows_at(&d->train, windows_order(key, epoch, number % count, count));
}

static uint32_t fill_window(const struct dataset *d, const struct stream *stream, struct window at,
                            int32_t *out)
{
    memcpy(out, stream->ids + at.start, at.tokens * sizeof *out);
    for (uint32_t i = at.tokens; i < d->length; i++)
        out[i] = d->corpus.separator;
    return at.tokens;
}

uint32_t dataset_train_window(const struct dataset *d, struct random_key key, uint32_t iteration,
                              uint32_t sequence, int32_t *out)
{
    if (d->part_count) {
        uint32_t part = draw_part(d, key, iteration, sequence);
        return dataset_train_window(d->parts[part], key, iteration, sequence, out);
    }
    struct window at = d->drawn ? windows_draw(&d->train, key, iteration, sequence)
                                : next_window(d, key, iteration, sequence);
    return fill_window(d, &d->corpus.train, at, out);
}

size_t dataset_valid_count(const struct dataset *d)
{
    size_t count = d->part_count ? 0 : windows_count(&d->valid);
    for (uint32_t i = 0; i < d->part_count; i++)
        count += dataset_valid_count(d->parts[i]);
    return count;
}

void dataset_valid_window(const struct dataset *d, size_t index, int32_t *out)
{
    int32_t label;
    d = class_of(d, &index, &label);
    fill_window(d, &d->corpus.valid, windows_at(&d->valid, index), out);
}

void dataset_valid_given(const struct dataset *d, size_t index, bool *given)
{
    int32_t label;
    d = class_of(d, &index, &label);
    struct window at = windows_at(&d->valid, index);
    for (uint32_t i = 0; i < d->length; i++)
        given[i] = i < at.seen || i >= at.tokens;
}

const char *dataset_document_end(const struct dataset *d)
{
    const struct dataset *one = d->part_count ? d->parts[0] : d;
    return one->padding ? d->vocabulary->symbols[one->corpus.separator] : NULL;
}

bool dataset_pads(const struct dataset *d)
{
    bool pads = d->padding;
    for (uint32_t i = 0; i < d->part_count; i++)
        pads |= dataset_pads(d->parts[i]);
    return pads;
}

bool dataset_gives(const struct dataset *d)
{
    bool gives = d->padding || (!d->part_count && d->valid.step < d->length);
    for (uint32_t i = 0; i < d->part_count; i++)
        gives |= dataset_gives(d->parts[i]);
    return gives;
}

bool dataset_truth(const struct dataset *d, const int32_t *window, const bool *given, double *nats)
{
    double known = 0;
    if (!given_truth(d, window, NULL, nats) || (given && !given_truth(d, window, given, &known)))
        return false;
    if (*nats > -INFINITY)
        *nats -= known;
    return true;
}

bool dataset_truth_mean(const struct dataset *d, struct anchor *out)
{
    size_t count = dataset_valid_count(d);
    if (!d->grammar || count == 0 || dataset_gives(d))
        return false;
    struct arena *scratch = arena_new();
    double *costs = arena_new_array(scratch, double, count);
    double *sizes = arena_new_array(scratch, double, count);
    for (size_t i = 0; i < count; i++) {
        const int32_t *window = d->corpus.valid.ids + windows_at(&d->valid, i).start;
        costs[i] = -grammar_log_likelihood(d->grammar, window, NULL, d->length);
        sizes[i] = d->length;
    }
    *out = anchor_of(costs, sizes, count);
    arena_free(scratch);
    return true;
}

/* Pairs of tokens are counted where a window could hold both. */
static void train_anchors(const struct dataset *d, struct anchor_model *model)
{
    const struct stream *s = &d->corpus.train;
    for (uint32_t i = 0; i < d->part_count; i++)
        train_anchors(d->parts[i], model);
    if (d->part_count || d->train.joined)
        anchor_train(model, s->ids, s->count);
    else
        for (size_t i = 0; i < s->documents; i++)
            anchor_train(model, s->ids + s->starts[i], (size_t)(s->starts[i + 1] - s->starts[i]));
}

bool dataset_anchors(const struct dataset *d, const bool *given, struct anchors *out)
{
    size_t count = dataset_valid_count(d);
    if (count == 0)
        return false;
    struct arena *scratch = arena_new();
    struct anchor_model *model = anchor_new(scratch, d->vocabulary->size);
    double *unigram = arena_new_array(scratch, double, count);
    double *bigram = arena_new_array(scratch, double, count);
    double *sizes = arena_new_array(scratch, double, count);
    int32_t *window = arena_new_array(scratch, int32_t, d->length);
    bool *known = arena_new_array(scratch, bool, d->length);
    train_anchors(d, model);
    for (size_t i = 0; i < count; i++) {
        dataset_valid_window(d, i, window);
        dataset_valid_given(d, i, known);
        for (uint32_t p = 0; given && p < d->length; p++)
            known[p] |= given[p];
        sizes[i] = anchor_score(model, window, known, d->length, &unigram[i], &bigram[i]);
    }
    *out = (struct anchors){anchor_of(unigram, sizes, count), anchor_of(bigram, sizes, count)};
    arena_free(scratch);
    return true;
}

uint64_t dataset_hash(const struct dataset *d)
{
    return d->hash;
}

const char *dataset_description(const struct dataset *d)
{
    return d->description;
}
