/* The table of estimators, and their draws. Called by the evaluation of the bound. */
#include "runtime/estimate.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* One draw in each of n equal parts. */
static double place_stratified(double u, int64_t k, int64_t n)
{
    return ((double)k + u) / (double)n;
}

/* n points at equal distances with one random shift, folded at the middle: the fold keeps the place
 * uniform and makes the integrand periodic, so that the rule's error falls with n squared
 * (Hickernell 2002, "Obtaining O(N^-2+e) convergence for lattice quadrature rules"). */
static double place_quadrature(double u, int64_t k, int64_t n)
{
    double at = ((double)k + u) / (double)n, folded = 1 - fabs(2 * at - 1);
    return folded < 1 ? folded : nextafter(1, 0);
}

static double place_random(double u, int64_t k, int64_t n)
{
    (void)k;
    (void)n;
    return u;
}

const struct estimator estimators[] = {
    {.name = "stratified", .place = place_stratified, .turned = true},
    {.name = "quadrature", .place = place_quadrature, .shared = true, .turned = true},
    {.name = "random", .place = place_random, .even = true},
    {.name = "exact-k", .place = place_stratified, .counts = true},
    {.name = "published", .place = place_random, .even = true, .published = true},
};
const uint32_t estimator_count = sizeof estimators / sizeof *estimators;

const struct estimator *estimator_find(const char *name)
{
    for (uint32_t i = 0; i < estimator_count; i++)
        if (!name || strcmp(estimators[i].name, name) == 0)
            return &estimators[i];
    return NULL;
}

/* Of the density, what is spread evenly over t: it bounds the slope, whatever the noise. */
#define EVEN_SHARE 0.125

static double clock_place(double t, double low, double root, double first, double last)
{
    double even = (t - low) / (1 - low);
    if (!(last > first))
        return even;
    return EVEN_SHARE * even + (1 - EVEN_SHARE) * (root - first) / (last - first);
}

void clock_init(struct estimate_clock *clock, double low, double (*noised)(void *context, double t),
                void *context)
{
    double first = noised ? sqrt(noised(context, low)) : 0;
    double last = noised ? sqrt(noised(context, 1)) : 0;
    clock->at[0] = low;
    for (int i = 1; i < CLOCK_PARTS; i++) {
        double from = clock->at[i - 1], to = 1;
        for (int halved = 0; halved < 50; halved++) {
            double t = (from + to) / 2, root = noised ? sqrt(noised(context, t)) : 0;
            bool before = clock_place(t, low, root, first, last) < (double)i / CLOCK_PARTS;
            *(before ? &from : &to) = t;
        }
        clock->at[i] = to;
    }
    clock->at[CLOCK_PARTS] = 1;
}

double clock_time(const struct estimate_clock *clock, double place, double *slope)
{
    int part = (int)(place * CLOCK_PARTS);
    part = part < CLOCK_PARTS ? part : CLOCK_PARTS - 1;
    double width = clock->at[part + 1] - clock->at[part];
    *slope = width * CLOCK_PARTS;
    return clock->at[part] + width * (place * CLOCK_PARTS - part);
}

double estimator_place(const struct estimator *e, struct random_key key, uint32_t replicate,
                       uint32_t sequence, int64_t k, int64_t n)
{
    uint32_t element = e->shared ? 0 : (uint32_t)k;
    double u = random_uniform(key, replicate, random_stream("bound.t"), sequence, element);
    return e->place(u, k, n);
}

void shuffle_positions(struct random_key key, uint32_t iteration, uint32_t sequence, int32_t *out,
                       int64_t count)
{
    uint32_t stream = random_stream("bound.order");
    for (int64_t i = 0; i + 1 < count; i++) {
        double u = random_uniform(key, iteration, stream, sequence, (uint32_t)i);
        int64_t j = i + (int64_t)(u * (double)(count - i));
        int32_t held = out[i];
        out[i] = out[j];
        out[j] = held;
    }
}

/* Selection sampling (Knuth, volume 2, algorithm 3.4.2S). */
void hide_positions(struct random_key key, uint32_t iteration, uint32_t sequence, int64_t count,
                    const bool *given, int64_t length, bool *hidden)
{
    uint32_t stream = random_stream("bound.hidden");
    int64_t left = 0;
    for (int64_t i = 0; i < length; i++)
        left += !given || !given[i];
    for (int64_t i = 0; i < length; i++) {
        hidden[i] = false;
        if (given && given[i])
            continue;
        double u = random_uniform(key, iteration, stream, sequence, (uint32_t)i);
        hidden[i] = u * (double)left < (double)count;
        count -= hidden[i];
        left--;
    }
}
