/* The chain and the loss against the reference implementation (tests/golden/README.md says what the
 * files hold and where they come from). Reads the folder $SEDGE_GOLDEN, or tests/golden.
 *
 * The reference works in single precision throughout, so each tolerance allows for its largest
 * intermediate: weights are compared relative to the largest of their row, and losses with an
 * allowance for the constants that the reference's form of the loss adds and takes away. */
#include "tests/ops/diffusion.h"

#include "graph/base/safetensors.h"
#include "ops/kernels/attrs.h"

#include <stdio.h>

struct vectors {
    struct arena *arena;
    struct tensor_file *file;
    struct chain chain;
    int64_t rows, length;
};

static struct vectors vectors_open(const char *name)
{
    const char *folder = getenv("SEDGE_GOLDEN");
    struct vectors v = {.arena = arena_new()};
    struct diags *diags = diags_new(v.arena);
    char *path = arena_printf(v.arena, "%s/%s.safetensors", folder ? folder : "tests/golden", name);
    v.file = tensor_file_open(diags, v.arena, path);
    cr_assert_not_null(v.file, "%s", diags_render(diags, false));
    int32_t tokens = atoi(tensor_file_meta(v.file, "tokens"));
    bool absorb = strstr(name, "absorb") != NULL;
    v.chain = absorb ? chain_absorb(tokens) : chain_uniform(tokens);
    return v;
}

static void vectors_close(struct vectors *v)
{
    tensor_file_close(v->file);
    arena_free(v->arena);
}

static const struct tensor *get(const struct vectors *v, const char *name)
{
    const struct tensor *t = tensor_file_get(v->file, name);
    cr_assert_not_null(t, "no tensor %s", name);
    return t;
}

/* A tensor of the file as input: i32 becomes tokens, and a [rows] of f32 times becomes f64. Batched
 * ones, one axis longer than RANK, are cut to batch 0. */
static struct tensor input(const struct vectors *v, const char *name, uint32_t rank)
{
    struct tensor t = *get(v, name);
    if (t.rank == rank + 1) {
        memmove(t.dim, t.dim + 1, rank * sizeof t.dim[0]);
        t.rank = rank;
    }
    int64_t n = tensor_size(&t);
    void *copy = arena_alloc(v->arena, (size_t)n * sizeof(double));
    if (rank == 1) {
        for (int64_t i = 0; i < n; i++)
            ((double *)copy)[i] = tensor_at(&t, i);
        t.dtype = DT_F64;
    } else {
        memcpy(copy, t.data, (size_t)n * 4);
        if (t.dtype == DT_I32)
            t.dtype = DT_TOKEN;
    }
    t.data = copy;
    return t;
}

static const char *const ctmc[] = {"ctmc_absorb", "ctmc_uniform"};

/* Largest |OURS - THEIRS| in row ROW of both, relative to the largest entry there. */
static double row_error(const double *ours, int64_t our_stride, const struct tensor *theirs,
                        int64_t row)
{
    int64_t n = theirs->dim[theirs->rank - 1];
    double error = 0, scale = 1;
    for (int64_t y = 0; y < n; y++) {
        double expected = tensor_at(theirs, row * n + y);
        error = fmax(error, fabs(ours[row * our_stride + y] - expected));
        scale = fmax(scale, fabs(expected));
    }
    return error / scale;
}

static void check_rows(const double *ours, int64_t our_stride, const struct tensor *theirs,
                       double tolerance, const char *what)
{
    int64_t rows = tensor_size(theirs) / theirs->dim[theirs->rank - 1];
    for (int64_t row = 0; row < rows; row++) {
        double error = row_error(ours, our_stride, theirs, row);
        cr_assert(error <= tolerance, "%s, row %lld: error %g", what, (long long)row, error);
    }
}

/* What single precision does to the constant of the reference's loss. Absorb: (log E + 1) / E.
 * Uniform: (|log r| + 1) / (r N) with r = 1 - N / (E + N), a difference that is off by 2^-24, so
 * that its reciprocal and its logarithm are off by 2^-24 / r relatively: 5e-5 at sigma = 0.012. */
static double reference_rounding(const struct chain *chain, double sigma)
{
    struct transition p = transition_flat(chain, sigma);
    if (chain_carries_over(chain)) {
        double log_e = -transition_log_unmasked(&p);
        return 0x1p-22 * (1 + exp(-log_e) * (fabs(log_e) + 1));
    }
    double ratio = p.other / p.same;
    return 0x1p-23 * (1 + (1 - log(ratio)) / (ratio * ratio * chain->tokens));
}

static void check_entropy(const struct vectors *v)
{
    struct trial trial = {.op = &op_score_entropy, .chain = &v->chain, .in_count = 4};
    trial.in[0] = input(v, "log_score", 3);
    trial.in[1] = input(v, "xt", 2);
    trial.in[2] = input(v, "x0", 2);
    trial.in[3] = input(v, "sigma", 1);
    trial.out = trial.in[1];
    trial.out.dtype = DT_F64;
    double *loss = run_both(&trial, 1e-6);
    const struct tensor *theirs = get(v, "score_entropy");
    int64_t length = trial.out.dim[1];
    for (int64_t p = 0; p < tensor_size(&trial.out); p++) {
        double expected = tensor_at(theirs, p);
        double allowed = 1e-5 * fabs(expected) +
                         reference_rounding(&v->chain, tensor_at(&trial.in[3], p / length));
        cr_assert(fabs(loss[p] - expected) <= allowed, "%s, position %lld: %.9g against %.9g",
                  v->file->path, (long long)p, loss[p], expected);
    }
    free(loss);
}

Test(golden, score_entropy)
{
    static const char *const names[] = {"ctmc_absorb", "ctmc_uniform", "sedd_absorb",
                                        "sedd_uniform"};
    for (int i = 0; i < 4; i++) {
        struct vectors v = vectors_open(names[i]);
        check_entropy(&v);
        vectors_close(&v);
    }
}

/* Column x and row x of Q, and the reverse rates out of x: Q[x][y] s_y, minus their sum at x. */
Test(golden, rates)
{
    for (int i = 0; i < 2; i++) {
        struct vectors v = vectors_open(ctmc[i]);
        struct tensor x = input(&v, "xt", 2), score = input(&v, "log_score", 3);
        int32_t states = v.chain.states;
        const struct tensor *out = get(&v, "rate"), *in = get(&v, "transp_rate");
        double *reverse = arena_new_array(v.arena, double, (size_t)tensor_size(&score));
        for (int64_t p = 0; p < tensor_size(&x); p++) {
            int32_t from = (int32_t)tensor_at(&x, p);
            double *row = reverse + p * states;
            for (int32_t y = 0; y < states; y++) {
                cr_assert_float_eq(tensor_at(out, p * states + y), chain_rate(&v.chain, y, from),
                                   1e-7);
                cr_assert_float_eq(tensor_at(in, p * states + y), chain_rate(&v.chain, from, y),
                                   1e-7);
                if (y == from)
                    continue;
                row[y] = chain_rate(&v.chain, from, y) * exp(tensor_at(&score, p * states + y));
                row[from] -= row[y];
            }
        }
        check_rows(reverse, states, get(&v, "reverse_rate"), 1e-6, "reverse rates");
        vectors_close(&v);
    }
}

static struct trial weights_trial(const struct vectors *v, const struct op *op)
{
    struct trial trial = {.op = op, .chain = &v->chain};
    trial.in[0] = input(v, "xt", 2);
    trial.in[1] = input(v, "log_score", 3);
    trial.out = trial.in[1];
    trial.out.dtype = DT_F64;
    return trial;
}

/* A step of the reference is step_size in t: times dsigma/dt, it is ours, a stretch of sigma. */
Test(golden, euler_weights)
{
    for (int i = 0; i < 2; i++) {
        struct vectors v = vectors_open(ctmc[i]);
        struct trial trial = weights_trial(&v, &op_euler_weights);
        double size = strtod(tensor_file_meta(v.file, "step_size"), NULL);
        trial.in[2] = input(&v, "dsigma", 1);
        trial.in_count = 3;
        for (int64_t r = 0; r < trial.in[2].dim[0]; r++)
            ((double *)trial.in[2].data)[r] *= size;
        double *weights = run_both(&trial, 1e-12);
        check_rows(weights, v.chain.states, get(&v, "euler_weights"), 1e-6, "euler");
        free(weights);
        vectors_close(&v);
    }
}

Test(golden, analytic_weights)
{
    for (int i = 0; i < 2; i++) {
        struct vectors v = vectors_open(ctmc[i]);
        struct trial trial = weights_trial(&v, &op_tweedie_weights);
        trial.in[2] = input(&v, "sigma", 1);
        trial.in[3] = input(&v, "next_sigma", 1);
        trial.in_count = 4;
        double *weights = run_both(&trial, 1e-12);
        check_rows(weights, v.chain.states, get(&v, "analytic_weights"), 2e-6, "analytic");
        free(weights);
        vectors_close(&v);
    }
}

/* Down to sigma = 0; the reference drops the column of the mask, where ours is zero. */
Test(golden, denoise_weights)
{
    for (int i = 0; i < 2; i++) {
        struct vectors v = vectors_open(ctmc[i]);
        struct trial trial = weights_trial(&v, &op_tweedie_weights);
        double zero = 0;
        trial.in[2] = input(&v, "sigma", 1);
        trial.in[3] = tensor_of(DT_F64, &zero, 0, 0, 0, 0);
        trial.in_count = 4;
        bool absorb = chain_carries_over(&v.chain);
        trial.attr[STEP_EXCLUDE].integer = absorb ? EXCLUDE_MASK : EXCLUDE_NONE;
        double *weights = run_both(&trial, 1e-12);
        check_rows(weights, v.chain.states, get(&v, "denoise_weights"), 2e-6, "denoise");
        for (int64_t p = 0; absorb && p < tensor_size(&trial.in[0]); p++)
            cr_assert_eq(weights[p * v.chain.states + v.chain.mask], 0);
        free(weights);
        vectors_close(&v);
    }
}
