/* The vocabulary head and its loss in one op, over chunks of rows. Shapes and mathematics:
 * ops/head_loss.c. Only a chunk of the logits is ever there: it becomes losses, and its own
 * gradient in place, before the next one is made. */
#include "ops/kernels/cpu/cavity_row.h"
#include "ops/kernels/cpu/product.h"

#include "ops/kernels/attrs.h"
#include "ops/kernels/head_room.h"

#define COLUMNS 1024 /* of the bias gradient in one task: their sums lie on the stack */

struct head {
    const struct kernel_call *call;
    int64_t rows, dim, states;
    const float *h, *bias;
    struct strided weight;       /* [states, dim], stored either way */
    const int32_t *target;       /* of each row: the clean token */
    const int32_t *x;            /* the noisy one; NULL: the loss is a plain cross entropy */
    const struct tensor *sigma;  /* of each row of x's first axis */
    int64_t length;              /* entries of x in each of those */
    int form;                    /* where there is x */
    double *loss;                /* of each row */
    const double *dloss;         /* NULL: no gradients */
    float *dh, *dweight, *dbias; /* the last may be NULL */
    float *logits;               /* of a chunk */
    void *room;                  /* of products */
    double *column;              /* sums of the bias gradient */
};

/* --- one row ------------------------------------------------------------------------------ */

/* Loss of one row Z of logits, of which N count: log sum exp Z - Z[target]. With SLOPES Z becomes G
 * times the slope. */
static double entropy_row(float *z, int64_t n, int32_t target, double g, bool slopes)
{
    bool known = target >= 0 && target < n;
    double own = known ? (double)z[target] : (double)NAN;
    float most = row_max(z, n);
    double total = slopes ? row_exp(z, n, most, z) : row_exp_sum(z, n, most);
    if (slopes) {
        row_scale(z, n, (float)(g / total));
        if (known)
            z[target] -= (float)g;
    }
    return (double)most + log(total) - own;
}

/* The same where a law of the clean token is made of the logits: at a mask, over all tokens. */
static double law_row(const struct chain *chain, float *z, int32_t target, double g, bool slopes)
{
    double loss = entropy_row(z, chain->tokens, target, g, slopes);
    if (slopes)
        z[chain->mask] = 0;
    return loss;
}

static double score_row(const struct transition *p, bool scaled, float *z, int32_t x, int32_t x0,
                        double g, bool slopes)
{
    score_output_row(p, scaled, z, x, z);
    return slopes ? flat_entropy_and_slope(p, z, g, x, x0) : flat_entropy(p, z, x, x0);
}

static double cavity_loss(const struct transition *p, float *z, int32_t x, int32_t x0, double g,
                          bool slopes)
{
    struct cavity_row row = cavity_open(p, z, x, x0);
    double loss = cavity_entropy(&row);
    if (slopes)
        cavity_slope(&row, g, x, x0);
    return loss;
}

/* A token that the reverse chain cannot move. The law says that it is itself. */
static double frozen_row(const struct head *t, int64_t r)
{
    return t->form == FORM_LAW && t->x[r] != t->target[r] ? (double)INFINITY : 0;
}

/* Row R by its form, at noise. */
static double noisy_row(const struct head *t, int64_t r, float *z, double g, bool slopes)
{
    const struct chain *chain = t->call->chain;
    int32_t x = t->x[r], x0 = t->target[r];
    if (t->form == FORM_LAW)
        return law_row(chain, z, x0, g, slopes);
    struct transition p = transition_flat(chain, time_at(t->sigma, r / t->length));
    if (t->form == FORM_SCORE)
        return score_row(&p, t->call->attr[HEAD_LOSS_SCALE].flag, z, x, x0, g, slopes);
    if (t->form == FORM_CAVITY)
        return cavity_loss(&p, z, x, x0, g, slopes);
    const struct flat_pairs q = flat_pairs(&p, x, x0);
    double scale = q.rate * q.rho0;
    return scale * law_row(chain, z, x0, g * scale, slopes);
}

/* The loss of row R; its logits Z become its gradient where that is asked for. */
static double run_row(const struct head *t, int64_t r, float *z)
{
    double g = t->dloss ? t->dloss[r] : 0, loss;
    bool frozen = t->x && chain_frozen(t->call->chain, t->x[r]), slopes = g != 0 && !frozen;
    if (frozen)
        loss = frozen_row(t, r);
    else if (t->x)
        loss = noisy_row(t, r, z, g, slopes);
    else
        loss = entropy_row(z, t->states, t->target[r], g, slopes);
    if (t->dloss && !slopes)
        memset(z, 0, (size_t)t->states * sizeof *z);
    return loss;
}

/* --- one chunk ---------------------------------------------------------------------------- */

static void run_rows(const struct head *t, int64_t first, int64_t rows)
{
#pragma omp parallel for schedule(static)                                                          \
    num_threads(t->call->threads) if (rows * t->states > LAW_PARALLEL)
    for (int64_t r = 0; r < rows; r++)
        t->loss[first + r] = run_row(t, first + r, t->logits + r * t->states);
}

/* Adds up the columns of ROWS rows of gradients. */
static void add_columns(const struct head *t, int64_t rows)
{
    const int64_t states = t->states, tiles = (states + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(t->call->threads) if (rows * states > LAW_PARALLEL)
    for (int64_t k = 0; k < tiles; k++) {
        double *sum = t->column + k * COLUMNS;
        const float *z = t->logits + k * COLUMNS;
        int64_t n = states - k * COLUMNS < COLUMNS ? states - k * COLUMNS : COLUMNS;
        for (int64_t r = 0; r < rows; r++, z += states)
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                sum[i] += (double)z[i];
    }
}

/* What the gradients Z of the logits of a chunk are to its rows and to the weight. */
static void run_products(const struct head *t, int64_t first, int64_t rows)
{
    const int threads = t->call->threads;
    const struct addend keep = {.keep = first > 0}, none = {0};
    struct strided z = {t->logits, t->states, 1};
    struct strided h = {t->h + first * t->dim, t->dim, 1};
    product(rows, t->dim, t->states, z, t->weight, none, t->dh + first * t->dim, t->room, threads);
    if (t->weight.cs == 1)
        product(t->states, t->dim, rows, transposed(z), h, keep, t->dweight, t->room, threads);
    else
        product(t->dim, t->states, rows, transposed(h), z, keep, t->dweight, t->room, threads);
}

static void run_chunk(const struct head *t, int64_t first, int64_t rows)
{
    struct strided h = {t->h + first * t->dim, t->dim, 1};
    product(rows, t->states, t->dim, h, transposed(t->weight), (struct addend){.bias = t->bias},
            t->logits, t->room, t->call->threads);
    run_rows(t, first, rows);
    if (!t->dloss)
        return;
    run_products(t, first, rows);
    if (t->dbias)
        add_columns(t, rows);
}

static void run_head(const struct head *t)
{
    const int64_t chunk = head_chunk(t->rows, t->states);
    if (t->dloss && t->rows == 0)
        memset(t->dweight, 0, (size_t)(t->states * t->dim) * sizeof *t->dweight);
    if (t->dbias)
        memset(t->column, 0, (size_t)t->states * sizeof *t->column);
    for (int64_t first = 0; first < t->rows; first += chunk)
        run_chunk(t, first, t->rows - first < chunk ? t->rows - first : chunk);
    for (int64_t i = 0; t->dbias && i < t->states; i++)
        t->dbias[i] = (float)t->column[i];
}

/* --- kernels ------------------------------------------------------------------------------ */

/* Logits from AT on, and then the room of products. */
static void set_room(struct head *t, char *at)
{
    t->logits = (float *)(void *)at;
    t->room = at + head_logits_bytes(t->rows, t->states);
}

/* What all share. BIAS: which input it is. */
static struct head head_of(const struct kernel_call *call, uint32_t bias, int64_t layout)
{
    const struct tensor *h = &call->in[0], *weight = &call->in[1];
    bool out_in = layout == LAYOUT_OUT_IN;
    struct head t = {.call = call,
                     .rows = tensor_lead(h, h->rank - 1),
                     .dim = h->dim[h->rank - 1],
                     .states = weight->dim[out_in ? 0 : 1],
                     .h = h->data,
                     .target = call->in[2].data,
                     .loss = call->out[0].data};
    struct strided stored = {weight->data, out_in ? t.dim : t.states, 1};
    t.weight = out_in ? stored : transposed(stored);
    set_room(&t, call->workspace);
    if (call_has(call, bias))
        t.bias = call->in[bias].data;
    return t;
}

/* Noisy tokens are input X; the noise of each row, or of all, is the next. */
static void add_noise(struct head *t, uint32_t x)
{
    const struct tensor *in = t->call->in;
    t->x = in[x].data;
    t->length = positions_of(&in[x]).length;
    t->sigma = call_has(t->call, x + 1) ? &in[x + 1] : NULL;
    t->form = (int)t->call->attr[HEAD_LOSS_FORM].integer;
}

static void add_gradients(struct head *t, const struct tensor *dloss)
{
    const struct kernel_call *call = t->call;
    t->dloss = dloss->data;
    t->dh = call->out[1].data;
    t->dweight = call->out[2].data;
    t->dbias = t->bias ? call->out[3].data : NULL;
    t->column = call->workspace;
    set_room(t, (char *)call->workspace + head_sums_bytes(t->states));
}

static void head_entropy(const struct kernel_call *call)
{
    struct head t = head_of(call, 3, call->attr[HEAD_ENTROPY_LAYOUT].integer);
    run_head(&t);
}

static void head_entropy_backward(const struct kernel_call *call)
{
    struct head t = head_of(call, 4, call->attr[HEAD_ENTROPY_LAYOUT].integer);
    add_gradients(&t, &call->in[3]);
    run_head(&t);
}

static void head_loss(const struct kernel_call *call)
{
    struct head t = head_of(call, 5, call->attr[HEAD_LOSS_LAYOUT].integer);
    add_noise(&t, 3);
    run_head(&t);
}

static void head_loss_backward(const struct kernel_call *call)
{
    struct head t = head_of(call, 6, call->attr[HEAD_LOSS_LAYOUT].integer);
    add_noise(&t, 4);
    add_gradients(&t, &call->in[3]);
    run_head(&t);
}

KERNEL_LIST(head_loss) = {
    {"head_entropy", "fft*>d", head_entropy},
    {"head_entropy", "ffi*>d", head_entropy},
    {"head_entropy_backward", "fftd*>dff*", head_entropy_backward},
    {"head_entropy_backward", "ffid*>dff*", head_entropy_backward},
    {"head_loss", "fftt**>d", head_loss},
    {"head_loss_backward", "fftdt**>dff*", head_loss_backward},
    {0},
};
