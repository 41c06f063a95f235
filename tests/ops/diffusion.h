/* Runs an op of the diffusion families on plain tensors: its double reference, and its kernel for
 * any instruction set. Included by the tests of chains, draws and reference vectors. */
#ifndef SEDGE_TESTS_DIFFUSION_H
#define SEDGE_TESTS_DIFFUSION_H

#include "ops/kernels/chain_room.h"
#include "ops/kernels/kernel.h"
#include "ops/kernels/reverse_law.h"
#include "ops/kernels/score_entropy.h"
#include "ops/ops.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define INPUTS_MAX 7

struct trial {
    const struct op *op;
    const struct chain *chain;
    struct tensor in[INPUTS_MAX];
    uint32_t in_count;
    struct tensor out;   /* its data are not used */
    struct tensor other; /* a second result, made but not looked at; rank 0: none */
    union attr attr[3];
    uint64_t seed;
    int threads;
};

static inline struct tensor tensor_of(enum dtype dtype, void *data, uint32_t rank, int64_t a,
                                      int64_t b, int64_t c)
{
    return (struct tensor){dtype, rank, {a, b, c}, data};
}

static inline double tensor_at(const struct tensor *t, int64_t i)
{
    switch (t->dtype) {
    case DT_F32:
        return ((const float *)t->data)[i];
    case DT_F64:
        return ((const double *)t->data)[i];
    case DT_BOOL:
        return ((const uint8_t *)t->data)[i];
    default:
        return ((const int32_t *)t->data)[i];
    }
}

static inline double *tensor_doubles(const struct tensor *t)
{
    int64_t n = tensor_size(t);
    double *out = calloc((size_t)n + 1, sizeof *out);
    for (int64_t i = 0; i < n; i++)
        out[i] = tensor_at(t, i);
    return out;
}

/* Both return the result as doubles, to be freed. */
static inline double *run_reference(const struct trial *trial)
{
    struct ref_tensor in[INPUTS_MAX] = {{0}}, out = {.rank = trial->out.rank};
    for (uint32_t i = 0; i < trial->in_count; i++) {
        in[i].rank = trial->in[i].rank;
        memcpy(in[i].dim, trial->in[i].dim, sizeof in[i].dim);
        in[i].data = trial->in[i].data ? tensor_doubles(&trial->in[i]) : NULL;
    }
    memcpy(out.dim, trial->out.dim, sizeof out.dim);
    out.data = calloc((size_t)tensor_size(&trial->out) + 1, sizeof *out.data);
    struct ref_tensor results[2] = {out, {.rank = trial->other.rank}};
    memcpy(results[1].dim, trial->other.dim, sizeof out.dim);
    results[1].data = calloc((size_t)tensor_size(&trial->other) + 1, sizeof(double));
    struct ref_call call = {.in_count = trial->in_count,
                            .out_count = trial->other.rank ? 2 : 1,
                            .in = in,
                            .out = results,
                            .out_dtype = (enum dtype[]){trial->out.dtype, trial->other.dtype},
                            .attr = trial->attr,
                            .chain = trial->chain};
    call.draw = (struct draw){random_key(trial->seed, "test"), 3, 77, 5, 1000};
    trial->op->reference(&call);
    for (uint32_t i = 0; i < trial->in_count; i++)
        free(in[i].data);
    free(results[1].data);
    return out.data;
}

/* More than any op of these families works in: P three times, two rows over the states a
 * position. */
static inline size_t trial_room(const struct trial *trial)
{
    const struct tensor *x = &trial->in[0];
    int64_t length = x->rank > 1 ? x->dim[1] : 1;
    int64_t bytes = chain_back_bytes(trial->chain) + 3 * transition_bytes(trial->chain) +
                    2 * (length + 1) * trial->chain->states * (int64_t)sizeof(double);
    return (size_t)(bytes + 127) / 64 * 64;
}

static inline double *run_kernel(const struct trial *trial, const char *isa)
{
    enum dtype in[INPUTS_MAX], dtypes[] = {trial->out.dtype, trial->other.dtype};
    uint32_t out_count = trial->other.rank ? 2 : 1;
    for (uint32_t i = 0; i < trial->in_count; i++)
        in[i] = trial->in[i].data ? trial->in[i].dtype : DT_COUNT;
    const struct kernel *kernel =
        kernel_find(isa, trial->op->name, in, trial->in_count, dtypes, out_count);
    cr_assert_not_null(kernel, "no kernel of %s for %s", trial->op->name, isa);
    struct tensor out[] = {trial->out, trial->other};
    for (uint32_t i = 0; i < 2; i++)
        out[i].data = calloc((size_t)tensor_size(&out[i]) + 1, sizeof(double));
    void *workspace = aligned_alloc(64, trial_room(trial));
    struct kernel_call call = {.in_count = trial->in_count,
                               .out_count = out_count,
                               .workspace = workspace,
                               .in = trial->in,
                               .out = out,
                               .attr = trial->attr,
                               .chain = trial->chain,
                               .threads = trial->threads ? trial->threads : 1,
                               .key = random_key(trial->seed, "test"),
                               .iteration = 3,
                               .stream = 77,
                               .sequence = 5,
                               .sequences = 1000};
    kernel->run(&call);
    free(workspace);
    double *result = tensor_doubles(&out[0]);
    free(out[0].data);
    free(out[1].data);
    return result;
}

/* The instruction sets of this machine, one after the other; NULL after the last. */
static inline const char *isa_next(int *at)
{
    static const char *const names[] = {"plain", "v2", "v3", "v4"};
    while (*at < 4) {
        const char *name = names[(*at)++];
        if (kernel_isa(name))
            return name;
    }
    return NULL;
}

/* Asserts that kernel and reference agree to TOLERANCE, relative to 1 + |value|, and returns what
 * the reference gave. */
static inline double *run_both(const struct trial *trial, double tolerance)
{
    double *expected = run_reference(trial);
    int at = 0;
    for (const char *isa; (isa = isa_next(&at));) {
        double *got = run_kernel(trial, isa);
        for (int64_t i = 0; i < tensor_size(&trial->out); i++)
            cr_assert(got[i] == expected[i] ||
                          fabs(got[i] - expected[i]) <= tolerance * (1 + fabs(expected[i])),
                      "%s on %s at %lld: %.17g, reference %.17g", trial->op->name, isa,
                      (long long)i, got[i], expected[i]);
        free(got);
    }
    return expected;
}

/* Numbers for tests: uniform on [0, 1) and normal (Box, Muller), a function of (seed, index). */
static inline double test_uniform(uint64_t seed, uint32_t index)
{
    return random_uniform(random_key(seed, "numbers"), 0, 0, 0, index);
}
static inline double test_normal(uint64_t seed, uint32_t index)
{
    double radius = sqrt(-2 * log(1 - test_uniform(seed, 2 * index)));
    return radius * cos(6.283185307179586 * test_uniform(seed, 2 * index + 1));
}

/* How many standard deviations the chi-square of COUNT against LAW (any scale) lies above what is
 * expected (Wilson, Hilferty 1931). Classes that expect under 5 are joined; a count where the law
 * is 0 is a failure. */
static inline double chi_square(const int64_t *count, const double *law, int64_t classes)
{
    double total = 0, draws = 0, chi = 0, rest_law = 0, rest_count = 0;
    int64_t degrees = -1;
    for (int64_t i = 0; i < classes; i++) {
        cr_assert(law[i] > 0 || count[i] == 0, "state %lld of weight 0 was drawn", (long long)i);
        total += law[i];
        draws += (double)count[i];
    }
    for (int64_t i = 0; i < classes; i++) {
        double expected = draws * law[i] / total;
        if (expected < 5) {
            rest_law += expected;
            rest_count += (double)count[i];
            continue;
        }
        chi += (count[i] - expected) * (count[i] - expected) / expected;
        degrees++;
    }
    if (rest_law > 0) {
        chi += (rest_count - rest_law) * (rest_count - rest_law) / fmax(rest_law, 1);
        degrees++;
    }
    if (degrees < 1)
        return 0;
    double ratio = 2.0 / (9.0 * degrees);
    return (cbrt(chi / degrees) - (1 - ratio)) / sqrt(ratio);
}

#endif
