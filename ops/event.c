/* Event by event: exact samplers of the reverse process, which jump once a call.
 *
 * First hitting (Zheng et al. 2024) needs pure absorption and a normalised law of the clean token:
 * the next time then depends on the number of masks alone. Thinning (Lewis, Shedler 1979) serves
 * every chain: candidates come at a rate that the reverse rates cannot exceed, and each is a jump
 * with probability rate / bound. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/sampler_law.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

static const char *const result_sigma[] = {"sigma", NULL};
static const char *const result_chosen[] = {"chosen", NULL};
static const char *const result_candidate[] = {"sigma", "rate", NULL};
static const char *const result_jump[] = {"x", "violations", NULL};

#define INPUT_SIGMA                                                                                \
    {                                                                                              \
        "sigma", IN_F64, 0, "f64 [rows] or []: total noise now", DOMAIN_POSITIVE                   \
    }
#define INPUT_ROW_U                                                                                \
    {                                                                                              \
        "u", IN_F64, INPUT_OPTIONAL | INPUT_NAMED, "f64 [rows]: uniform numbers to draw by",       \
            DOMAIN_UNIT                                                                            \
    }

static void event_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 4, out);
}

static bool expect_row_u(const struct op_call *call, uint32_t i)
{
    if (op_has(call, i) && call->in[i].rank != 1)
        return op_error(call, "`u` must have one number a row of `x`: %s against %s",
                        rule_print(call, i), rule_print(call, 0));
    return !op_has(call, i) || rule_same_axes(call, i, 0, 1);
}

/* first_hit: with n masks at noise sigma the next one is revealed at sigma',
 *     1 - exp(-a sigma') = (1 - exp(-a sigma)) u^(1/n),   a the rate of masking;
 * 0 where no mask is left. */
static const struct op_input first_hit_inputs[] = {
    SAMPLER_INPUT_X,
    INPUT_SIGMA,
    INPUT_ROW_U,
    {0},
};

static bool first_hit_shape(struct op_call *call)
{
    call->out[0] = sampler_rows(call, 0);
    return chain_expect_tokens(call, 0, 0) && chain_expect_times(call, 1, 0) &&
           expect_row_u(call, 2) && sampler_expect_masked(call, "first hitting");
}

static double masks_of(const struct ref_call *call, int64_t row, int64_t length)
{
    double masks = 0;
    for (int64_t i = 0; i < length; i++)
        masks += call->in[0].data[row * length + i] == call->chain->mask;
    return masks;
}

static void first_hit_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[0]);
    for (int64_t row = 0; row < walk.rows; row++) {
        double n = masks_of(call, row, walk.length), a = call->chain->absorb;
        double noised = 1 - exp(-a * ref_time(&call->in[1], row));
        double u = ref_position_uniform(call, 2, row, 0, 1);
        call->out[0].data[row] = n > 0 ? -log(1 - noised * pow(u, 1 / n)) / a : 0;
    }
}

static const struct op_case first_hit_cases[] = {
    {"token[3,5] f64[3] _", NULL, "absorb 5"},
    {"token[2,1] f64[] f64[2]", NULL, "absorb 1"},
    {"token[7,11] f64[7] f64[7]", NULL, "absorb 3"},
    {0},
};

const struct op op_first_hit = {
    .name = "first_hit",
    .doc = "The noise at which the next mask of each sequence is revealed.",
    .inputs = first_hit_inputs,
    .results = result_sigma,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = first_hit_shape,
    .cost = event_cost,
    .reference = first_hit_reference,
    .cases = first_hit_cases,
};

/* reveal_one: of each sequence, one masked position, every one as likely, draws its token from
 * exp(log_p); a sequence without a mask stays. Element 0 of the row picks the position, 1 the
 * token, where u does not say by what. */
static const struct op_input reveal_one_inputs[] = {
    SAMPLER_INPUT_X,
    {"log_p", IN_F32, 0, "f32 [rows, length, states]: log law of the clean token", DOMAIN_ANY},
    {"u", IN_F64, INPUT_OPTIONAL | INPUT_NAMED,
     "f64 of the axes of x: uniform numbers to draw the token of each position by", DOMAIN_UNIT},
    {0},
};

static bool reveal_one_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 0, 0) && chain_expect_scores(call, 1, 0) &&
           chain_expect_keep(call, 2, 0) &&
           sampler_expect_masked(call, "revealing one position at a time");
}

/* The position of each sequence, by the first of two numbers, and the second for each position. */
static uint32_t reveal_one_pick(struct graph *g, const struct node *n, uint32_t *numbers)
{
    const struct dim rows = graph_type(g, n->in[0])->dim[0], dims[] = {rows, {2, 0}};
    const struct type by_row = {.dtype = DT_F64, .rank = 1, .dim = {rows}};
    const struct node like = {.origin = n->origin};
    struct node draw = like, chain = like;
    draw.stream = n->stream;
    chain.process = n->process;
    const union attr shape[] = {[UNIFORM_SHAPE] = rule_dims(g, dims, 2),
                                [UNIFORM_LOW] = {.real = 0},
                                [UNIFORM_HIGH] = {.real = 1},
                                [UNIFORM_STRATIFIED] = {.flag = false}};
    union attr cut[] = {[SLICE_AXIS] = {.integer = 1},
                        [SLICE_FROM] = {.integer = 0},
                        [SLICE_SIZE] = {.integer = 1}};
    uint32_t two = graph_emit(g, &op_random_uniform, NULL, 0, shape, &draw);
    uint32_t place = graph_emit(g, &op_slice, &two, 1, cut, &like);
    place = emit_shaped(g, &op_reshape, place, &by_row, &like);
    uint32_t flags = emit2(g, &op_masked_one, n->in[0], place, &chain);
    cut[SLICE_FROM].integer = 1;
    *numbers = emit3(g, &op_where, flags, graph_emit(g, &op_slice, &two, 1, cut, &like),
                     emit_const(g, DT_F64, 0, &like), &like);
    return flags;
}

static bool reveal_one_idle(const struct graph *g, const struct node *n, struct op_idle *out)
{
    *out = (struct op_idle){
        .tokens = n->in[0], .stays = true, .uniform = 1 + 2, .pick = reveal_one_pick};
    return graph_type(g, n->in[0])->rank == 2 && (n->in_count < 3 || !n->in[2]);
}

static double clean_weight(const void *context, int32_t y)
{
    return exp(((const double *)context)[y]);
}

static void reveal_one_reference(const struct ref_call *call)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[0]);
    for (int64_t row = 0; row < walk.rows; row++) {
        double masks = masks_of(call, row, walk.length);
        double left = floor(ref_uniform(call, row, 0) * masks);
        for (int64_t i = 0; i < walk.length; i++) {
            int64_t p = row * walk.length + i;
            call->out[0].data[p] = call->in[0].data[p];
            if (call->in[0].data[p] == chain->mask && left-- == 0)
                call->out[0].data[p] =
                    ref_pick(clean_weight, call->in[1].data + p * chain->states, chain->tokens, -1,
                             ref_has(call, 2) ? call->in[2].data[p] : ref_uniform(call, row, 1));
        }
    }
}

static const struct op_case reveal_one_cases[] = {
    {"token[3,5] f32[3,5,6] _", NULL, "absorb 5"},
    {"token[2,1] f32[2,1,2] _", NULL, "absorb 1"},
    {"token[5,7] f32[5,7,602] _", NULL, "absorb 601"},
    {"token[3,5] f32[3,5,6] f64[3,5]", NULL, "absorb 5"},
    {"token[11] f32[11,4] f64[11]", NULL, "absorb 3"},
    {0},
};

const struct op op_reveal_one = {
    .name = "reveal_one",
    .doc = "Draws the token of one masked position of each sequence, chosen uniformly.",
    .inputs = reveal_one_inputs,
    .results = sampler_result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = reveal_one_shape,
    .idle = reveal_one_idle,
    .cost = event_cost,
    .inplace = 1,
    .reference = reveal_one_reference,
    .cases = reveal_one_cases,
};

/* masked_one: of each sequence one masked position, every one as likely: where reveal_one draws a
 * token when u is the element of its draw that picks the position. */
static const struct op_input masked_one_inputs[] = {
    SAMPLER_INPUT_X,
    INPUT_ROW_U,
    {0},
};

static bool masked_one_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[0].dtype = DT_BOOL;
    call->out[0].process = 0;
    return chain_expect_tokens(call, 0, 0) && expect_row_u(call, 1) &&
           sampler_expect_masked(call, "revealing one position at a time");
}

static void masked_one_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[0]);
    for (int64_t row = 0; row < walk.rows; row++) {
        double masks = masks_of(call, row, walk.length);
        double left = floor(ref_position_uniform(call, 1, row, 0, 1) * masks);
        for (int64_t p = row * walk.length; p < (row + 1) * walk.length; p++)
            call->out[0].data[p] = call->in[0].data[p] == call->chain->mask && left-- == 0;
    }
}

static const struct op_case masked_one_cases[] = {
    {"token[3,5] _", NULL, "absorb 1"},
    {"token[2,1] f64[2]", NULL, "absorb 2"},
    {"token[5,131] f64[5]", NULL, "absorb 1"},
    {0},
};

const struct op op_masked_one = {
    .name = "masked_one",
    .doc = "Flags one masked position of each sequence, chosen uniformly.",
    .inputs = masked_one_inputs,
    .results = result_chosen,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = masked_one_shape,
    .cost = event_cost,
    .reference = masked_one_reference,
    .cases = masked_one_cases,
};

/* thin_next: the next candidate below sigma, and the rate of candidates there. The bound on the
 * rate of one position is its largest over all x0: what a score has when it is a mixture of them (a
 * posterior or cavity head, a projected score).
 *   flat    in closed form at every sigma; of scores that are not projected that is no bound, and
 *           is multiplied by cap
 *   table   the bound at sigma / 2, times cap, over the whole stretch [sigma / 2, sigma]; where no
 *           candidate falls into it sigma' is sigma / 2 and the rate infinite, so that nothing
 *           jumps. The bound may be larger inside the stretch than at its end: cap is what makes up
 *           for it, and thin_jump counts where it did not. */
static const struct op_input thin_next_inputs[] = {
    SAMPLER_INPUT_X, INPUT_SIGMA, SAMPLER_INPUT_KEEP, INPUT_ROW_U, {0},
};
static const struct op_attr thin_next_attrs[] = {
    [THIN_CAP] = {"cap", ATTR_REAL, "0",
                  "what the rate bound of a table, or of scores that are not projected, is "
                  "multiplied by, from 1 on; 0: none is made up",
                  NULL},
    {0},
};

static bool thin_next_shape(struct op_call *call)
{
    double cap = call->attr[THIN_CAP].real;
    call->out[0] = sampler_rows(call, 0);
    call->out[1] = call->out[0];
    if ((!(cap >= 1) && cap != 0) || !isfinite(cap))
        return op_error(call, "cap (%g) must be 0, or a number from 1 on", cap);
    if (call->chain->kind == CHAIN_TABLE && cap == 0)
        return op_error(call, "no bound in closed form is known for the reverse rates of this "
                              "process: give `cap`, such as 2, and read the violations that are "
                              "reported");
    if (call->chain->raw && cap == 0)
        return op_error(call, "scores that are not projected have no bound (process.project: off): "
                              "give `cap`, such as 2, and read the violations that are reported");
    return chain_expect_tokens(call, 0, 0) && chain_expect_times(call, 1, 0) &&
           chain_expect_keep(call, 2, 0) && expect_row_u(call, 3);
}

static int64_t thin_next_workspace(const struct op_call *call)
{
    return call->chain->kind == CHAIN_TABLE
               ? transition_bytes(call->chain) + call->chain->states * (int64_t)sizeof(double)
               : 0;
}

/* The largest over x0 of sum_{y != x} Q[x][y] P[y][x0] / P[x][x0], by its definition. */
static double rate_limit(const struct transition *p, int32_t x)
{
    const struct chain *chain = p->chain;
    double most = 0;
    for (int32_t x0 = 0; x0 < chain->tokens; x0++) {
        double sum = 0, at = transition_at(p, x, x0);
        for (int32_t y = 0; y < chain->states; y++)
            sum += y == x ? 0 : chain_rate(chain, x, y) * transition_at(p, y, x0);
        if (at > 0)
            most = fmax(most, sum / at);
    }
    return most;
}

static double row_limit(const struct ref_call *call, int64_t row, int64_t length, double sigma)
{
    struct transition p = ref_transition(call->chain, sigma);
    double sum = 0;
    for (int64_t i = 0; i < length; i++) {
        int32_t x = (int32_t)call->in[0].data[row * length + i];
        if (!ref_kept(call, 2, row * length + i) && !chain_frozen(call->chain, x))
            sum += rate_limit(&p, x);
    }
    ref_transition_release(&p);
    return sum;
}

/* The integral of the row's bound over [low, high] in log sigma, by Simpson's rule. */
static double row_hazard(const struct ref_call *call, int64_t row, int64_t length, double low,
                         double high)
{
    const int parts = 400;
    double width = (log(high) - log(low)) / parts, sum = 0;
    for (int k = 0; k <= parts; k++) {
        double sigma = low * exp(k * width);
        double weight = k == 0 || k == parts ? 1 : k % 2 ? 4 : 2;
        sum += weight * sigma * row_limit(call, row, length, sigma);
    }
    return sum * width / 3;
}

static double flat_candidate(const struct ref_call *call, int64_t row, int64_t length, double sigma,
                             double target)
{
    double low = sigma, high = sigma, passed = 0;
    if (!(row_limit(call, row, length, sigma) > 0))
        return 0;
    for (;;) {
        low = high / 2;
        double more = row_hazard(call, row, length, low, high);
        if (passed + more >= target || low < 1e-300)
            break;
        passed += more;
        high = low;
    }
    double top = high;
    for (int i = 0; i < 60; i++) {
        double mid = (low + high) / 2;
        if (passed + row_hazard(call, row, length, mid, top) < target)
            high = mid;
        else
            low = mid;
    }
    return high;
}

static void thin_next_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[0]);
    double cap = call->attr[THIN_CAP].real;
    for (int64_t row = 0; row < walk.rows; row++) {
        double sigma = ref_time(&call->in[1], row);
        double target = -log1p(-ref_position_uniform(call, 3, row, 0, 1)),
               *to = &call->out[0].data[row];
        if (call->chain->kind == CHAIN_FLAT) {
            double times = call->chain->raw ? cap : 1;
            *to = flat_candidate(call, row, walk.length, sigma, target / times);
            call->out[1].data[row] =
                *to > 0 ? times * row_limit(call, row, walk.length, *to) : INFINITY;
            continue;
        }
        double rate = cap * row_limit(call, row, walk.length, sigma / 2);
        bool inside = rate * sigma / 2 > target;
        *to = inside ? sigma - target / rate : sigma / 2;
        call->out[1].data[row] = inside ? rate : INFINITY;
    }
}

static const struct op_case thin_next_cases[] = {
    {"token[3,2] f64[3] _ _", NULL, "uniform 3"},
    {"token[2,3] f64[] bool[2,3] f64[2]", "cap=2", "uniform 2"},
    {"token[3,2] f64[3] bool[3,2] _", NULL, "absorb 3"},
    {"token[3,2] f64[3] _ f64[3]", NULL, "mix 3 0.7 0.3 0"},
    {"token[3,2] f64[3] _ _", "cap=1.5", "mix 3 0.7 0.3 0.3"},
    {"token[3,2] f64[3] _ f64[3]", "cap=3", "raw uniform 3"},
    {"token[3,5] f64[3] _ _", "cap=2", "table 5 0 3"},
    {"token[3,5] f64[] bool[3,5] f64[3]", "cap=3", "table 5 1 4"},
    {"token[2,3] f64[2] _ _", "cap=2", "band 5 1"},
    {0},
};

const struct op op_thin_next = {
    .name = "thin_next",
    .doc = "The noise of the next candidate for a jump, and the rate at which candidates come.",
    .inputs = thin_next_inputs,
    .attrs = thin_next_attrs,
    .results = result_candidate,
    .result_count = 2,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = thin_next_shape,
    .cost = event_cost,
    .workspace = thin_next_workspace,
    .reference = thin_next_reference,
    .cases = thin_next_cases,
};

/* thin_jump: the candidate at noise sigma', to which the scores belong, is a jump with probability
 * R / rate, R = sum over positions and y != x of Q[x][y] s_y; position and token in proportion to
 * their rates. One uniform for both. violations is 1 where R > rate, by more than rounding: the
 * sampler is then not exact. */
static const struct op_input thin_jump_inputs[] = {
    SAMPLER_INPUT_X,
    {"log_score", IN_F32, 0, "f32 [rows, length, states]: log scores at x", DOMAIN_ANY},
    {"rate", IN_F64, 0, "f64 [rows] or []: rate of candidates; infinite: none", DOMAIN_POSITIVE},
    SAMPLER_INPUT_KEEP,
    INPUT_ROW_U,
    {0},
};

static bool thin_jump_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[1] = sampler_rows(call, 0);
    return chain_expect_tokens(call, 0, 0) && chain_expect_scores(call, 1, 0) &&
           chain_expect_times(call, 2, 0) && chain_expect_keep(call, 3, 0) && expect_row_u(call, 4);
}

/* One double for each position of a sequence. */
static int64_t thin_jump_workspace(const struct op_call *call)
{
    const struct type *x = &call->in[0];
    return type_count(x) / (x->dim[0].size ? x->dim[0].size : 1) * (int64_t)sizeof(double);
}

static double jump_rate(const struct ref_call *call, int64_t p, int32_t y)
{
    int32_t x = (int32_t)call->in[0].data[p], n = call->chain->states;
    return y == x || ref_kept(call, 3, p)
               ? 0
               : chain_rate(call->chain, x, y) * exp(call->in[1].data[p * n + y]);
}

static void thin_jump_reference(const struct ref_call *call)
{
    int32_t states = call->chain->states;
    struct chain_walk walk = ref_walk(&call->in[0]);
    for (int64_t row = 0; row < walk.rows; row++) {
        int64_t first = row * walk.length;
        double total = 0, sum = 0, rate = ref_time(&call->in[2], row);
        for (int64_t i = 0; i < walk.length; i++) {
            call->out[0].data[first + i] = call->in[0].data[first + i];
            for (int32_t y = 0; y < states; y++)
                total += jump_rate(call, first + i, y);
        }
        double target = ref_position_uniform(call, 4, row, 0, 1) * fmax(rate, total);
        call->out[1].data[row] = total > rate * VIOLATION;
        for (int64_t i = 0; i < walk.length && target < total && sum <= target; i++)
            for (int32_t y = 0; y < states && sum <= target; y++) {
                sum += jump_rate(call, first + i, y);
                if (sum > target)
                    call->out[0].data[first + i] = y;
            }
    }
}

static const struct op_case thin_jump_cases[] = {
    {"token[3,5] f32[3,5,7] f64[3] _ _", NULL, "uniform 7"},
    {"token[5,2] f32[5,2,2] f64[] bool[5,2] f64[5]", NULL, "uniform 2"},
    {"token[5,3] f32[5,3,4] f64[5] _ _", NULL, "absorb 3"},
    {"token[3,2] f32[3,2,602] f64[3] _ _", NULL, "mix 601 0.7 0.3 0.3"},
    {"token[7,2] f32[7,2,5] f64[7] bool[7,2] _", NULL, "table 5 0 3"},
    {"token[7,2] f32[7,2,6] f64[7] _ f64[7]", NULL, "table 5 1 4"},
    {"token[5,3] f32[5,3,5] f64[5] _ _", NULL, "band 5 1"},
    {0},
};

const struct op op_thin_jump = {
    .name = "thin_jump",
    .doc = "Accepts a candidate of thin_next as a jump, or not; counts rates above the bound.",
    .inputs = thin_jump_inputs,
    .results = result_jump,
    .result_count = 2,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = thin_jump_shape,
    .cost = event_cost,
    .inplace = 1,
    .workspace = thin_jump_workspace,
    .reference = thin_jump_reference,
    .cases = thin_jump_cases,
};
