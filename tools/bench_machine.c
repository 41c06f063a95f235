/* What the machine can do: matrix products of a model's shapes, and passes over memory. Called by
 * sedge bench. */
#include "graph/base/clock.h"
#include "ops/kernels/cpu/host_blas.h"
#include "ops/kernels/cpu/host_stream.h"
#include "runtime/memory.h"
#include "tools/bench.h"
#include "tools/signals.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURNS 7
#define LONG 1 /* seconds: what takes longer has LEAST_TURNS */
#define LEAST_TURNS 3
#define STREAM_FLOATS (24 << 20) /* of each array: 96 MiB, more than the last cache of most */

static double product_flop(const struct op_product *of)
{
    return 2 * (double)of->m * (double)of->n * (double)of->k;
}

static void add_product(struct machine *m, const struct op_product *of)
{
    for (uint32_t i = 0; i < m->product_count; i++) {
        const struct op_product *old = &m->products[i].of;
        if (old->m == of->m && old->n == of->n && old->k == of->k) {
            m->products[i].flop += product_flop(of);
            return;
        }
    }
    if (m->product_count < SHAPES_MAX)
        m->products[m->product_count++] = (struct product){*of, product_flop(of), INFINITY};
}

void machine_add_plan(struct machine *m, const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->step_count; i++)
        for (uint32_t k = 0; k < plan->steps[i].product_count; k++)
            add_product(m, &plan->steps[i].products[k]);
}

/* From how many rows on a product says how fast they are: those of a few rows, such as of the
 * conditioning, are no share of the work, unless there are no others. */
static int64_t rows_that_count(const struct machine *m)
{
    for (uint32_t i = 0; i < m->product_count; i++)
        if (m->products[i].of.m >= 32)
            return 32;
    return 1;
}

/* The least seconds of some turns. */
static double measure_product(const struct machine *m, const struct product *p, float *room)
{
    const struct op_product of = p->of;
    float *a = room, *b = a + of.m * of.k, *c = b + of.k * of.n;
    double took = 0, best = INFINITY;
    for (int turn = 0; turn < (took < LONG ? TURNS : LEAST_TURNS) && !signals_caught(); turn++) {
        double start = clock_seconds();
        blas_sgemm(of.m, of.n, of.k, 1, (struct blas_matrix){a, of.k, false},
                   (struct blas_matrix){b, of.n, false}, 0, c, of.n, m->threads);
        double seconds = clock_seconds() - start;
        best = fmin(best, seconds);
        took += seconds;
    }
    return best;
}

static void add_rate(struct machine *m, double rate)
{
    double sorted[RATES_MAX];
    if (m->rate_count < RATES_MAX)
        m->rates[m->rate_count++] = rate;
    memcpy(sorted, m->rates, m->rate_count * sizeof *sorted);
    m->gemm = bench_median(sorted, m->rate_count);
}

bool machine_measure_products(struct machine *m, struct diags *diags)
{
    double flop = 0, seconds = 0;
    int64_t most = 1, rows = rows_that_count(m);
    for (uint32_t i = 0; i < m->product_count; i++) {
        const struct op_product *of = &m->products[i].of;
        int64_t room = of->m * of->k + of->k * of->n + of->m * of->n;
        most = of->m >= rows && room > most ? room : most;
    }
    struct region region;
    if (!region_map(diags, &region, (size_t)most * sizeof(float), "matrix products"))
        return false;
    float *room = (float *)region.data;
    stream_fill(room, 1, most, m->threads); /* what was never written is no memory yet */
    for (uint32_t i = 0; i < m->product_count; i++) {
        struct product *p = &m->products[i];
        if (p->of.m < rows)
            continue;
        double best = measure_product(m, p, room);
        p->best = fmin(p->best, best);
        flop += p->flop;
        seconds += best * p->flop / product_flop(&p->of);
    }
    region_unmap(&region);
    add_rate(m, seconds > 0 ? flop / seconds : 0);
    return true;
}

bool machine_measure_memory(struct machine *m, struct diags *diags)
{
    const int64_t n = STREAM_FLOATS;
    struct region region;
    volatile float sum;
    if (!region_map(diags, &region, 2 * (size_t)n * sizeof(float), "passes over memory"))
        return false;
    float *a = (float *)region.data;
    stream_fill(a, 1, 2 * n, m->threads);
    for (int turn = 0; turn < TURNS && !signals_caught(); turn++) {
        double start = clock_seconds();
        stream_update(a, a + n, n, m->threads);
        double between = clock_seconds();
        sum = stream_read(a, 2 * n, m->threads);
        (void)sum;
        double end = clock_seconds();
        m->update = fmax(m->update, 12 * (double)n / (between - start));
        m->read = fmax(m->read, 8 * (double)n / (end - between));
    }
    region_unmap(&region);
    return true;
}

bool machine_warn(struct diags *diags)
{
    const char *wanted = getenv("BLIS_ARCH_TYPE"), *better;
    int number = blas_advice(&better);
    if (wanted && !blas_can(wanted)) {
        diag_error(diags, FAULT_CONFIG, (struct span){0},
                   "BLIS_ARCH_TYPE is `%s`: no number of kernels that this processor can run",
                   wanted);
        diag_hint(diags, "leave it out, and BLIS takes what suits the processor");
        return false;
    }
    bool portable;
    const char *name = blas_name(&portable);
    if (!portable)
        return true;
    diag_warning(
        diags, (struct span){0},
        "BLIS, whose matrix products are what speed is held against, runs its `%s` kernels: "
        "about three times slower than those for a processor that it knows",
        name);
    if (number >= 0)
        diag_hint(diags, "set BLIS_ARCH_TYPE=%d (%s), which this processor can run", number,
                  better);
    else
        diag_hint(diags, "set BLIS_ARCH_TYPE to the number of kernels that this processor can run, "
                         "if BLIS has any");
    return true;
}

double machine_bandwidth(const struct machine *m)
{
    return fmax(m->read, m->update);
}

void machine_print(const struct machine *m)
{
    printf("matrix products of these shapes: %.1f GFLOP/s; memory: %.1f GB/s read, %.1f update\n",
           m->gemm / 1e9, m->read / 1e9, m->update / 1e9);
}

json_t *machine_json(const struct machine *m)
{
    json_t *products = json_array();
    for (uint32_t i = 0; i < m->product_count; i++) {
        const struct product *p = &m->products[i];
        if (!isfinite(p->best))
            continue; /* too few rows to be measured */
        json_array_append_new(products,
                              json_pack("{s:I, s:I, s:I, s:f, s:f}", "m", (json_int_t)p->of.m, "n",
                                        (json_int_t)p->of.n, "k", (json_int_t)p->of.k, "flop",
                                        p->flop, "gflops", product_flop(&p->of) / p->best / 1e9));
    }
    return json_pack("{s:f, s:f, s:f, s:o}", "gemm_gflops", m->gemm / 1e9, "read_gbs",
                     m->read / 1e9, "update_gbs", m->update / 1e9, "products", products);
}
