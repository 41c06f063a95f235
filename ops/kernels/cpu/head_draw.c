/* The vocabulary head and the draw of a reverse step, or a term of the bound, in one op, over
 * chunks of rows. Shapes and mathematics: ops/head_draw.c. Each row of a chunk of logits becomes
 * what the step or the term takes, in place, by the rows of the separate ops, and then a token or a
 * cost. */
#include "ops/kernels/cpu/cost_row.h"
#include "ops/kernels/cpu/law_row.h"
#include "ops/kernels/cpu/product.h"
#include "ops/kernels/cpu/projection_row.h"
#include "ops/kernels/cpu/score_row.h"
#include "ops/kernels/cpu/step_row.h"

#include "ops/kernels/attrs.h"
#include "ops/kernels/head_room.h"

enum { IN_X = 2, IN_SIGMA, IN_U, IN_TO, IN_BIAS, IN_SHARE };
enum { BOUND_X0 = IN_U, BOUND_BIAS };

/* The rows of a head, and what is read off them. */
struct rows {
    const struct kernel_call *call;
    const struct chain *chain;
    uint32_t bias; /* which input */
    enum draw_form form;
    enum draw_step step;  /* of a draw */
    enum bound_term term; /* of the bound */
    bool law;             /* it takes a law, not scores */
    bool scaled, projected;
    int64_t length; /* of a row of the first axis of x */
    float *logits;  /* of a chunk */
    void *room;     /* of its product */
    /* Row R, by its logits, which may be overwritten. */
    void (*read)(const struct rows *t, int64_t r, float *z);
};

/* Z of X, at noise P, becomes what the step or the term takes: scores, or a law. */
static void make_row(const struct rows *t, const struct transition *p, int32_t x, float *z)
{
    const bool cavity = t->form == DRAW_BY_CAVITY;
    if (t->form == DRAW_BY_SCORE)
        score_output_row(p, t->scaled, z, x, z);
    if (cavity)
        law_normalise(t->chain, z, z);
    else if (t->law || t->form == DRAW_BY_LAW)
        law_output_row(p, x, z, z);
    if (t->law)
        return;
    if (t->form != DRAW_BY_SCORE) {
        struct flat_row row = flat_open(p, z, x, cavity);
        score_flat(&row, z);
    }
    if (t->projected)
        project_row(p, x, z, z);
}

static void run_chunk(const struct rows *t, int64_t first, int64_t rows)
{
    const struct tensor *in = t->call->in;
    const int64_t states = t->chain->states, dim = in[0].dim[in[0].rank - 1];
    const bool out_in = t->call->attr[HEAD_DRAW_LAYOUT].integer == LAYOUT_OUT_IN;
    const float *bias = call_has(t->call, t->bias) ? in[t->bias].data : NULL;
    struct strided h = {(const float *)in[0].data + first * dim, dim, 1};
    struct strided weight = {in[1].data, out_in ? dim : states, 1};
    product(rows, states, dim, h, out_in ? transposed(weight) : weight,
            (struct addend){.bias = bias}, t->logits, t->room, t->call->threads);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(t->call->threads) if (rows * states > LAW_PARALLEL)
    for (int64_t r = 0; r < rows; r++)
        t->read(t, first + r, t->logits + r * states);
}

static struct rows rows_of(const struct kernel_call *call, uint32_t bias)
{
    const struct positions at = positions_of(&call->in[IN_X]);
    return (struct rows){.call = call,
                         .chain = call->chain,
                         .bias = bias,
                         .form = (enum draw_form)call->attr[HEAD_DRAW_FORM].integer,
                         .scaled = call->attr[HEAD_DRAW_SCALE].flag,
                         .projected = call->attr[HEAD_DRAW_PROJECT].flag && !call->chain->raw,
                         .length = at.length,
                         .logits = call->workspace,
                         .room = (char *)call->workspace +
                                 head_logits_bytes(at.count, call->chain->states)};
}

static void run(const struct rows *t)
{
    const int64_t count = tensor_size(&t->call->in[IN_X]);
    const int64_t chunk = head_chunk(count, t->chain->states);
    for (int64_t first = 0; first < count; first += chunk)
        run_chunk(t, first, count - first < chunk ? count - first : chunk);
}

/* --- draws -------------------------------------------------------------------------------- */

static int32_t draw_state(const struct rows *t, int64_t row, int32_t x, const float *z, double u,
                          double *clamped)
{
    const struct chain *chain = t->chain;
    const struct kernel_call *call = t->call;
    const double sigma = time_at(&call->in[IN_SIGMA], row);
    const double to = call_has(call, IN_TO) ? time_at(&call->in[IN_TO], row) : 0;
    const double end = to < sigma ? to : sigma;
    const double time = t->step == DRAW_TWEEDIE   ? sigma - end
                        : t->step == DRAW_DENOISE ? sigma
                                                  : to;
    if (t->step == DRAW_BASE)
        return base_token(chain, sigma, z, u);
    if (t->step == DRAW_CORRECT)
        return corrector_draw(chain, z, x, to, u);
    if (t->step == DRAW_REVEAL)
        return draw_logs(z, chain->tokens, u);
    if (!t->law)
        return step_draw(chain, t->step, time, false, x, z, u, clamped);
    struct step_transitions p = {transition_flat(chain, sigma), transition_flat(chain, end),
                                 transition_flat(chain, sigma - end)};
    if (t->step == DRAW_REMASK)
        return remask_draw(z, &p, x, time_at(&call->in[IN_SHARE], row), u);
    return ancestral_draw(z, &p, x, t->form == DRAW_BY_CAVITY, u);
}

/* Whether X stays, whatever the network says. What is no state does, and names no logit. */
static bool stays(const struct rows *t, int32_t x)
{
    if (x < 0 || x >= t->chain->states)
        return true;
    if (t->step == DRAW_REMASK || t->step == DRAW_CORRECT)
        return false;
    return t->step == DRAW_BASE ? x != t->chain->mask : chain_frozen(t->chain, x);
}

/* Numbers to draw by that are none. */
static int64_t count_lawless(const float *z, int64_t n)
{
    int64_t found = 0;
    for (int64_t y = 0; y < n; y++)
        found += z[y] < INFINITY ? 0 : 1;
    return found;
}

/* Row R, by its logits. Counts are whole numbers, so that threads may add them in any order. */
static void draw_row_of(const struct rows *t, int64_t r, float *z)
{
    const struct kernel_call *call = t->call;
    const int32_t x = ((const int32_t *)call->in[IN_X].data)[r];
    const int64_t row = r / t->length;
    double clamped = 0;
    ((int32_t *)call->out[0].data)[r] = x;
    if (stays(t, x))
        return;
    struct transition p = transition_flat(t->chain, time_at(&call->in[IN_SIGMA], row));
    make_row(t, &p, x, z);
    int64_t lawless = call->lawless ? count_lawless(z, t->chain->states) : 0;
    double u = ((const double *)call->in[IN_U].data)[r];
    ((int32_t *)call->out[0].data)[r] = draw_state(t, row, x, z, u, &clamped);
    if (lawless)
#pragma omp atomic
        *call->lawless += lawless;
    if (call->out_count > 1 && clamped > 0) {
        double *count = (double *)call->out[1].data + row;
#pragma omp atomic
        *count += clamped;
    }
}

static void head_draw(const struct kernel_call *call)
{
    struct rows t = rows_of(call, IN_BIAS);
    t.step = (enum draw_step)call->attr[HEAD_DRAW_STEP].integer;
    t.law = t.step == DRAW_ANCESTRAL || t.step == DRAW_REMASK || t.step == DRAW_REVEAL;
    t.read = draw_row_of;
    for (int64_t row = 0; call->out_count > 1 && row < call->out[1].dim[0]; row++)
        ((double *)call->out[1].data)[row] = 0;
    run(&t);
}

/* --- terms of the bound ------------------------------------------------------------------- */

static void cost_of(const struct rows *t, int64_t r, float *z)
{
    const struct kernel_call *call = t->call;
    const struct chain *chain = t->chain;
    const int32_t x = ((const int32_t *)call->in[IN_X].data)[r];
    const int32_t x0 = ((const int32_t *)call->in[BOUND_X0].data)[r];
    struct transition p = transition_flat(chain, time_at(&call->in[IN_SIGMA], r / t->length));
    double *cost = (double *)call->out[0].data + r;
    make_row(t, &p, x, z);
    if (t->term == TERM_BASE)
        *cost = leak_cost(chain, p.sigma, x0, z);
    else if (t->term == TERM_RECONSTRUCTION)
        *cost = decoder_cost(chain, p.sigma, x, x0, z);
    else
        *cost = chain_frozen(chain, x) ? 0 : flat_entropy(&p, z, x, x0);
}

static void head_bound(const struct kernel_call *call)
{
    struct rows t = rows_of(call, BOUND_BIAS);
    t.term = (enum bound_term)call->attr[HEAD_BOUND_TERM].integer;
    t.read = cost_of;
    run(&t);
}

KERNEL_LIST(head_draw) = {
    {"head_draw", "fftdd***>td", head_draw},
    {"head_draw", "fftdd***>t", head_draw},
    {"head_bound", "fftdt*>d", head_bound},
    {0},
};
