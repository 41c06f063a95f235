/* The law that the reverse chain of a process starts from. Called by process_rate.c. */
#include "graph/base/rates.h"
#include "graph/process_source.h"

#include <math.h>
#include <string.h>

/* A law over all states, made to sum to one. */
static bool check_law(const struct rate_source *s, const double *given, int64_t count,
                      const struct chain *chain, struct span span, double *law)
{
    double sum = 0;
    if (count != chain->states) {
        diag_error(s->diags, FAULT_CONFIG, span, "base has %lld numbers for %d states",
                   (long long)count, (int)chain->states);
        return false;
    }
    for (int64_t y = 0; y < count; y++) {
        if (!(given[y] > 0)) {
            diag_error(s->diags, FAULT_CONFIG, span, "base gives state %s the probability %g",
                       source_state(s, (int32_t)y), given[y]);
            diag_hint(s->diags,
                      "every state must be possible, else the bound on the likelihood is infinite");
            return false;
        }
        sum += given[y];
    }
    if (!(fabs(sum - 1) <= 1e-6)) {
        diag_error(s->diags, FAULT_CONFIG, span, "base sums to %.9g, not to 1", sum);
        return false;
    }
    for (int64_t y = 0; y < count; y++)
        law[y] = given[y] / sum;
    return true;
}

/* {mask: p}: the rest is shared by the tokens. */
static bool read_mask_base(const struct rate_source *s, const struct yaml *base,
                           const struct chain *chain, double *law)
{
    static const char *const keys[] = {"mask", NULL};
    const struct yaml *node = yaml_get(base, "mask");
    double p;
    if (!yaml_closed(s->diags, base, keys, "base"))
        return false;
    if (!node || chain->mask < 0)
        return source_fail(s, base->span,
                           node ? "this chain has no mask" : "base needs `mask:`, a probability");
    if (!source_real(s, node, &p))
        return false;
    if (!(p > 0 && p < 1))
        return source_fail(s, node->span, "the probability of the mask must lie between 0 and 1");
    for (int32_t y = 0; y < chain->states; y++)
        law[y] = y == chain->mask ? p : (1 - p) / chain->tokens;
    return true;
}

static bool read_base(const struct rate_source *s, const struct yaml *base,
                      const struct chain *chain, double *law)
{
    if (base->kind == YAML_MAP)
        return read_mask_base(s, base, chain, law);
    if (base->kind == YAML_LIST) {
        double *v = arena_new_array(s->arena, double, base->count);
        return source_reals(s, base, v) && check_law(s, v, base->count, chain, base->span, law);
    }
    if (source_ends(base->text, ".csv")) {
        double *v;
        int64_t count;
        return source_numbers(s, base, &v, &count) &&
               check_law(s, v, count, chain, base->span, law);
    }
    if (strcmp(base->text, "uniform") != 0) {
        source_fail(s, base->span, "this is no base");
        diag_hint(s->diags, "write `uniform`, a list of numbers, a .csv file or `{mask: 0.99}`");
        return false;
    }
    for (int32_t y = 0; y < chain->states; y++)
        law[y] = 1.0 / chain->states;
    return true;
}

/* Without a base, the chain must forget where it started and be able to be anywhere. */
static bool find_stationary(const struct rate_source *s, struct chain *chain)
{
    int32_t n = chain->states;
    int32_t *class_of = arena_new_array(s->arena, int32_t, (size_t)n), second = 0, passing = 0;
    int32_t classes = rates_classes(s->arena, chain->rates, class_of);
    if (classes == 1) {
        double *law = arena_new_array(s->arena, double, (size_t)n);
        rates_stationary(s->arena, chain->rates, law);
        chain->stationary = law;
    }
    while (second < n && class_of[second] != 2)
        second++;
    while (passing < n && class_of[passing] != 0)
        passing++;
    if (chain->base || (classes == 1 && passing == n))
        return true;
    if (classes > 1) {
        int32_t first = 0;
        while (class_of[first] != 1)
            first++;
        diag_error(s->diags, FAULT_CONFIG, s->span,
                   "the chain ends in one of %d parts that it never leaves (with %s, with %s)",
                   (int)classes, source_state(s, first), source_state(s, second));
    } else {
        diag_error(s->diags, FAULT_CONFIG, s->span,
                   "state %s is left for good, so that the end of the chain never holds it",
                   source_state(s, passing));
    }
    diag_hint(s->diags, classes > 1
                            ? "say which law sampling starts from: `base: uniform` or a list"
                            : "the base term of the bound would be infinite: say `base: "
                              "uniform`, a list, or with a mask `base: {mask: 0.99}`");
    return false;
}

bool base_read(const struct rate_source *s, const struct yaml *base, struct chain *chain)
{
    if (base) {
        double *law = arena_new_array(s->arena, double, (size_t)chain->states);
        if (!read_base(s, base, chain, law))
            return false;
        chain->base = law;
    }
    return chain->kind == CHAIN_FLAT || find_stationary(s, chain);
}
