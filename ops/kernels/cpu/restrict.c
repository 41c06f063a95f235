/* Temperature, top-k and top-p; ops/restrict.c says what they are. Rows are not sorted: the entry
 * that the cut goes through is found by bisection over the order of floats, in 32 passes. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/law.h"

/* Entries by their order: greater floats have greater keys. */
static inline uint32_t key_of(float x)
{
    uint32_t bits;
    x += 0.0f; /* -0 is 0 */
    memcpy(&bits, &x, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* What is summed: entries, or their shares relative to the largest. */
struct cut {
    const float *row;
    int64_t n;
    double largest, inverse; /* share = exp((x - largest) inverse) */
    bool shares;
    uint32_t least; /* keys below were cut before */
    int64_t equals; /* how many of those with key LEAST stay, in order */
};

static double share_of(const struct cut *cut, float x)
{
    return cut->shares ? exp(((double)x - cut->largest) * cut->inverse) : 1;
}

/* The sum over all entries whose key is at least LEAST, but what was cut before. */
static double sum_above(const struct cut *cut, uint32_t least)
{
    double sum = 0;
    int64_t equals = 0;
    for (int64_t i = 0; i < cut->n; i++) {
        uint32_t key = key_of(cut->row[i]);
        if (key < cut->least || (key == cut->least && equals++ >= cut->equals))
            continue;
        if (key >= least)
            sum += share_of(cut, cut->row[i]);
    }
    return sum;
}

/* Cuts to the smallest set of largest entries whose sum is at least WANTED. */
static void cut_to(struct cut *cut, double wanted)
{
    uint32_t low = cut->least, high = 0xFFFFFFFFu; /* sum_above(low) >= wanted > sum_above(high) */
    if (!(sum_above(cut, low) > wanted))
        return;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (sum_above(cut, mid) >= wanted)
            low = mid;
        else
            high = mid;
    }
    double sum = sum_above(cut, high), each = 0;
    int64_t equals = 0, limit = low == cut->least ? cut->equals : cut->n;
    for (int64_t i = 0; i < cut->n && each == 0; i++)
        if (key_of(cut->row[i]) == low)
            each = share_of(cut, cut->row[i]);
    while (sum < wanted && equals < limit && each > 0) {
        sum += each;
        equals++;
    }
    cut->least = low;
    cut->equals = equals;
}

static void restrict_row(const float *row, float *out, int64_t n, double temperature, int64_t top_k,
                         double top_p)
{
    struct cut cut = {.row = row, .n = n, .inverse = 1 / temperature, .equals = n};
    float largest = row[0];
    for (int64_t i = 1; i < n; i++)
        largest = row[i] > largest ? row[i] : largest;
    cut.largest = (double)largest;
    if (largest == -INFINITY) {
        memcpy(out, row, (size_t)n * sizeof *out);
        return;
    }
    if (top_k > 0 && top_k < n)
        cut_to(&cut, (double)top_k);
    cut.shares = true;
    if (top_p < 1)
        cut_to(&cut, top_p * sum_above(&cut, 0));
    double sum = log(sum_above(&cut, 0));
    int64_t equals = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t key = key_of(row[i]);
        bool kept = key > cut.least || (key == cut.least && equals++ < cut.equals);
        out[i] = kept ? (float)(((double)row[i] - cut.largest) * cut.inverse - sum) : -INFINITY;
    }
}

/* ROW with -inf where ALLOWED says no, in OUT, which may be ROW. */
static const float *allow_row(const float *row, const uint8_t *allowed, float *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = allowed[i] ? row[i] : -INFINITY;
    return out;
}

static void run_restrict(const struct kernel_call *call)
{
    const struct tensor *x = &call->in[0];
    const int64_t n = x->dim[x->rank - 1], rows = n ? tensor_size(x) / n : 0;
    const float *in = x->data;
    const uint8_t *allowed = call_has(call, 1) ? call->in[1].data : NULL;
    float *out = call->out[0].data;
    double temperature = call->attr[RESTRICT_TEMPERATURE].real;
    int64_t top_k = call->attr[RESTRICT_TOP_K].integer;
    double top_p = call->attr[RESTRICT_TOP_P].real;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > LAW_PARALLEL)
    for (int64_t row = 0; row < rows; row++)
        restrict_row(allowed ? allow_row(in + row * n, allowed + row * n, out + row * n, n)
                             : in + row * n,
                     out + row * n, n, temperature, top_k, top_p);
}

KERNEL_LIST(restrict) = {{"restrict", "f*>f", run_restrict}, {0}};
