/* Where a text has one free symbol and the language is known: how far what is drawn there is from
 * the law that the grammar has for it. Called by `sedge sample`. */
#include "tools/classes.h"
#include "tools/sample.h"

#include <math.h>
#include <string.h>

/* The only free place of a text; -1: it has none, several, or one that is held to a set. */
static int64_t only_hole(const struct sample_job *j, const struct template *text)
{
    int64_t hole = -1;
    if (text->count != j->wanted || j->wanted > j->p.length || template_has_sets(text))
        return -1;
    for (uint32_t k = 0; k < text->count; k++) {
        if (text->places[k].token >= 0)
            continue;
        if (hole >= 0)
            return -1;
        hole = k;
    }
    return hole;
}

/* The language that a text is held against: of several, that of the class that is asked for. */
static const struct grammar *language_of(const struct sample_job *j)
{
    uint32_t classes = j->p.data ? dataset_class_count(j->p.data) : 0;
    bool told = j->label && j->label[0] >= 0 && (uint32_t)j->label[0] < classes;
    if (!j->p.data || (classes && !told))
        return NULL;
    return sample_language(j, told ? (uint32_t)j->label[0] : 0);
}

/* The law of what stands in the hole; NULL: the language has no text with the rest. */
static double *hole_law(const struct sample_job *j, const struct grammar *g,
                        const struct template *text, int64_t place)
{
    const uint32_t n = (uint32_t)j->p.vocabulary->size;
    int32_t *ids = arena_new_array(j->p.arena, int32_t, text->count);
    bool *given = arena_new_array(j->p.arena, bool, text->count);
    double *law = arena_new_array(j->p.arena, double, n);
    for (uint32_t k = 0; k < text->count; k++) {
        ids[k] = text->places[k].token;
        given[k] = k != place;
    }
    double rest = grammar_log_likelihood(g, ids, given, text->count);
    if (!(rest > -INFINITY))
        return NULL;
    for (uint32_t y = 0; y < n; y++) {
        ids[place] = (int32_t)y;
        law[y] = exp(grammar_log_likelihood(g, ids, NULL, text->count) - rest);
    }
    return law;
}

void sample_open_truth(struct sample_job *j)
{
    const struct grammar *g = language_of(j);
    const int64_t drawn = j->p.recipe->sample.count; /* texts beyond are not */
    j->holes = arena_new_array(j->p.arena, struct sample_hole, j->text_count + 1);
    for (uint32_t i = 0; g && i < j->text_count && i < drawn; i++) {
        struct sample_hole *h = &j->holes[i];
        h->place = only_hole(j, &j->texts[i]);
        h->law = h->place < 0 ? NULL : hole_law(j, g, &j->texts[i], h->place);
        if (h->law)
            h->drawn = arena_new_array(j->p.arena, int64_t, j->p.vocabulary->size);
    }
}

void sample_count_truth(struct sample_job *j, int64_t first)
{
    for (int64_t i = 0; j->text_count && i < j->count; i++) {
        struct sample_hole *h = &j->holes[(first + i) % j->text_count];
        if (!h->law)
            continue;
        int32_t y = j->out[i * j->wanted + h->place];
        h->draws++;
        if (y >= 0 && y < (int32_t)j->p.vocabulary->size)
            h->drawn[y]++;
    }
}

/* E|X - np| of a binomial X (de Moivre 1730): 2 m C(n, m) p^m (1 - p)^(n - m + 1), m the first
 * whole number above np. */
static double binomial_deviation(int64_t n, double p)
{
    double m = floor((double)n * p) + 1, all = (double)n;
    if (!(p > 0) || m > all)
        return 0;
    double choose = lgamma(all + 1) - lgamma(m + 1) - lgamma(all - m + 1);
    return 2 * m * exp(choose + m * log(p) + (all - m + 1) * log1p(-p));
}

/* Adds a text to those of its kind. */
static void add_hole(const struct sample_job *j, const struct sample_hole *h,
                     struct sample_truth *out)
{
    double apart = 0, chance = 0;
    int64_t other = h->draws;
    int words = 0;
    for (int32_t y = 0; y < (int32_t)j->p.vocabulary->size; y++) {
        apart += fabs((double)h->drawn[y] / (double)h->draws - h->law[y]) / 2;
        chance += binomial_deviation(h->draws, h->law[y]) / (double)h->draws / 2;
        other -= h->drawn[y];
        words += h->law[y] > 0;
    }
    out += words > 1 ? HOLE_CHOICE : HOLE_FORCED;
    out->texts++;
    out->variation += apart + (double)other / (double)h->draws / 2; /* what is no symbol */
    out->chance += chance;
}

void sample_sum_truth(const struct sample_job *j, struct sample_truth out[HOLE_KINDS])
{
    memset(out, 0, HOLE_KINDS * sizeof *out);
    for (uint32_t i = 0; i < j->text_count; i++)
        if (j->holes[i].law && j->holes[i].draws)
            add_hole(j, &j->holes[i], out);
    for (int k = 0; k < HOLE_KINDS; k++)
        if (out[k].texts) {
            out[k].variation /= (double)out[k].texts;
            out[k].chance /= (double)out[k].texts;
        }
}
