/* sedge bench: how fast a model trains here, against the matrix products of the same run. */
#include "tools/bench.h"
#include "graph/base/clock.h"
#include "ops/kernels/cpu/host_blas.h"
#include "ops/ops.h"
#include "runtime/train.h"
#include "tools/json_print.h"
#include "tools/session.h"
#include "tools/signals.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const struct option_spec options[] = {
    {"json", 'j', OPTION_FLAG, NULL, "the result as one JSON object", NULL},
    {"seconds", 0, OPTION_TEXT, "S", "how long to measure (5)", NULL},
    {"ema", 0, OPTION_FLAG, NULL, "keep an average of the parameters as well, as `train` does",
     NULL},
    {"estimators", 0, OPTION_FLAG, NULL,
     "of a run: how many network calls each estimator of the bound needs", NULL},
    {"sampling", 0, OPTION_FLAG, NULL,
     "of each program that loops call: the share of its time in the network", NULL},
    {"chain", 0, OPTION_TEXT, "RATE",
     "what a training step costs with this `process.rate`, or `dense`, a random one, in its place",
     NULL},
    {0}};

#define WARM_STEPS 2
#define LEAST_STEPS 5
#define MOST_STEPS 200
#define SHAPES_MAX 64

struct product { /* shape of a matrix product, and how much of a step's work has it */
    int64_t m, n, k;
    double flop;
};

struct job {
    struct training t;
    struct product products[SHAPES_MAX];
    uint32_t product_count;
    double gemm;    /* FLOP a second on these shapes */
    double seconds; /* median of a training step */
    int64_t steps;
    double model_flop; /* of one training step */
};

/* --- work --------------------------------------------------------------------------------- */

static void add_product(struct job *j, int64_t m, int64_t n, int64_t k)
{
    double flop = 2.0 * (double)m * (double)n * (double)k;
    for (uint32_t i = 0; i < j->product_count; i++) {
        if (j->products[i].m == m && j->products[i].n == n && j->products[i].k == k) {
            j->products[i].flop += flop;
            return;
        }
    }
    if (j->product_count < SHAPES_MAX)
        j->products[j->product_count++] = (struct product){m, n, k, flop};
}

static int64_t rows_of(const struct type *t)
{
    return type_count(t) / t->dim[t->rank - 1].size;
}

/* What a step must compute whatever the implementation: six FLOP per weight and row, and attention
 * forward once and backward twice. */
static void count_work(struct job *j)
{
    for (uint32_t i = 0; i < j->t.gradient->step_count; i++) {
        const struct plan_step *s = &j->t.gradient->steps[i];
        if (!s->in_count || !s->out_count)
            continue;
        const struct type *in = &j->t.gradient->tensors[s->in[0]].type;
        const struct type *out = &j->t.gradient->tensors[s->out[0]].type;
        if (strcmp(s->op, "linear") == 0) {
            add_product(j, rows_of(in), out->dim[out->rank - 1].size, in->dim[in->rank - 1].size);
            j->model_flop += s->flop;
        } else if (strcmp(s->op, "linear_weight_grad") == 0) {
            add_product(j, out->dim[0].size, out->dim[1].size, rows_of(in));
            j->model_flop += s->flop;
        } else if (strcmp(s->op, "attention") == 0) {
            j->model_flop += 3 * s->flop;
        }
    }
}

/* Products of the model's own shapes, as long as each shape's share of a step. */
static void measure_gemm(struct job *j)
{
    double flop = 0, seconds = 0;
    int64_t most = 1;
    for (uint32_t i = 0; i < j->product_count; i++) {
        const struct product *p = &j->products[i];
        int64_t room = p->m * p->k + p->k * p->n + p->m * p->n;
        most = room > most ? room : most;
    }
    float *room = calloc((size_t)most, sizeof *room);
    for (uint32_t i = 0; room && i < j->product_count && !signals_caught(); i++) {
        const struct product *p = &j->products[i];
        if (p->m < 32) /* rows of the conditioning: no share of the work */
            continue;
        float *a = room, *b = a + p->m * p->k, *c = b + p->k * p->n;
        double best = 1e30;
        for (int turn = 0; turn < 7 && !signals_caught(); turn++) {
            double start = clock_seconds();
            blas_sgemm(p->m, p->n, p->k, 1, (struct blas_matrix){a, p->k, false},
                       (struct blas_matrix){b, p->n, false}, 0, c, p->n, j->t.s.engine.threads);
            double took = clock_seconds() - start;
            best = took < best ? took : best;
        }
        flop += p->flop;
        seconds += best * p->flop / (2.0 * (double)p->m * (double)p->n * (double)p->k);
    }
    free(room);
    j->gemm = seconds > 0 ? flop / seconds : 0;
}

/* --- running ------------------------------------------------------------------------------ */

static void measure_training(struct job *j, double seconds)
{
    double took[MOST_STEPS], total = 0;
    for (int i = 0; i < WARM_STEPS && !signals_caught(); i++)
        training_step(&j->t, false);
    while (j->steps < MOST_STEPS && (j->steps < LEAST_STEPS || total < seconds) &&
           !signals_caught()) {
        took[j->steps] = training_step(&j->t, true);
        total += took[j->steps++];
    }
    j->seconds = bench_median(took, j->steps);
}

/* --- printing ----------------------------------------------------------------------------- */

struct op_total {
    const char *op;
    double seconds, flop, bytes;
};

static int slowest_first(const void *a, const void *b)
{
    const struct op_total *x = a, *y = b;
    return x->seconds > y->seconds ? -1 : x->seconds < y->seconds;
}

static uint32_t add_totals(const struct plan *p, const double *seconds, int64_t steps,
                           struct op_total *out, uint32_t n)
{
    for (uint32_t i = 0; i < p->step_count; i++) {
        uint32_t k = 0;
        while (k < n && strcmp(out[k].op, p->steps[i].op) != 0)
            k++;
        if (k == n)
            out[n++] = (struct op_total){.op = p->steps[i].op};
        out[k].seconds += seconds[i] / (double)steps;
        out[k].flop += p->steps[i].flop;
        out[k].bytes += p->steps[i].bytes;
    }
    return n;
}

static uint32_t op_totals(const struct job *j, struct op_total *out)
{
    uint32_t n = add_totals(j->t.gradient, j->t.gradient_seconds, j->steps, out, 0);
    n = add_totals(j->t.update, j->t.update_seconds, j->steps, out, n);
    qsort(out, n, sizeof *out, slowest_first);
    return n;
}

static double peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static double tokens_per_s(const struct job *j)
{
    return (double)(j->t.batch * j->t.length) / j->seconds;
}

static double share_of_gemm(const struct job *j)
{
    return j->gemm > 0 ? j->model_flop / j->seconds / j->gemm : 0;
}

static void print_steps(const struct job *j)
{
    printf("\nslowest steps, by the line of YAML they come from\n");
    bool *shown = arena_new_array(j->t.s.arena, bool, j->t.gradient->step_count + 1);
    for (int row = 0; row < 8; row++) {
        uint32_t best = j->t.gradient->step_count;
        for (uint32_t i = 0; i < j->t.gradient->step_count; i++)
            if (!shown[i] && (best == j->t.gradient->step_count ||
                              j->t.gradient_seconds[i] > j->t.gradient_seconds[best]))
                best = i;
        if (best == j->t.gradient->step_count)
            return;
        shown[best] = true;
        const struct plan_step *s = &j->t.gradient->steps[best];
        printf("  %8.3f ms  %-22s %-30s %s:%u\n",
               1000 * j->t.gradient_seconds[best] / (double)j->steps, s->op,
               s->name ? s->name : "(a gradient)", diags_file_name(j->t.s.diags, s->span.file),
               s->span.line);
    }
}

static void print_text(const struct job *j)
{
    struct op_total ops[128];
    uint32_t n = op_totals(j, ops);
    bool generic;
    const char *blis = blas_name(&generic);
    printf("%s, batch %lld x %lld, %s kernels, BLIS %s%s, %d thread%s\n", j->t.s.model->path,
           (long long)j->t.batch, (long long)j->t.length, j->t.s.engine.isa, blis,
           generic ? " (portable: about three times slower; set BLIS_ARCH_TYPE)" : "",
           j->t.s.engine.threads, j->t.s.engine.threads == 1 ? "" : "s");
    printf("matrix products of these shapes: %.1f GFLOP/s\n", j->gemm / 1e9);
    printf("train: %.1f tokens/s, %.2f ms a step (median of %lld), %.0f MiB resident at most\n",
           tokens_per_s(j), 1000 * j->seconds, (long long)j->steps, peak_mib());
    printf("       %.1f GFLOP/s of the model's own work: %.1f%% of the matrix products\n",
           j->model_flop / j->seconds / 1e9, 100 * share_of_gemm(j));
    printf("       compiled in %.1f ms\n\n", j->t.compile_ms);
    printf("%-24s %10s %7s %10s %10s\n", "op", "ms a step", "share", "GFLOP/s", "GB/s");
    for (uint32_t i = 0; i < n && i < 24; i++)
        printf("%-24s %10.3f %6.1f%% %10.1f %10.1f\n", ops[i].op, 1000 * ops[i].seconds,
               100 * ops[i].seconds / j->seconds, ops[i].flop / ops[i].seconds / 1e9,
               ops[i].bytes / ops[i].seconds / 1e9);
    print_steps(j);
}

static void print_json(struct diags *diags, const struct job *j)
{
    struct op_total ops[128];
    uint32_t n = op_totals(j, ops);
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f}", "op", ops[i].op, "ms",
                                              1000 * ops[i].seconds, "flop", ops[i].flop, "bytes",
                                              ops[i].bytes));
    json_t *o = json_pack(
        "{s:s, s:I, s:I, s:s, s:s, s:i, s:f, s:f, s:{s:f, s:f, s:f, s:f, s:I}, s:o}", "model",
        j->t.s.model->path, "batch", (json_int_t)j->t.batch, "length", (json_int_t)j->t.length,
        "isa", j->t.s.engine.isa, "blis", blas_name(NULL), "threads", j->t.s.engine.threads,
        "gemm_gflops", j->gemm / 1e9, "compile_ms", j->t.compile_ms, "train", "tokens_per_s",
        tokens_per_s(j), "peak_rss_mib", peak_mib(), "share_of_gemm", share_of_gemm(j),
        "ms_per_step", 1000 * j->seconds, "steps", (json_int_t)j->steps, "ops", list);
    json_print(diags, o, 9);
}

static int run(struct command_line *line)
{
    static const char *const questions[] = {"estimators", "sampling", "chain"};
    struct job *j = arena_alloc(line->arena, sizeof *j);
    const char *seconds = option_text(line, "seconds");
    struct yaml number = {.kind = YAML_SCALAR, .text = seconds};
    double limit = 5;
    int asked = 0;
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        asked += option_given(line, questions[i]);
    if (asked > 1) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "--estimators, --sampling and --chain exclude each other");
        diag_hint(line->diags, "ask one after the other: each is a measurement of its own");
        return 2;
    }
    if (seconds && (!yaml_real(&number, &limit) || limit <= 0 || limit > 86400)) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "--seconds is a number of seconds above 0, not `%s`", seconds);
        return 2;
    }
    if (option_given(line, "estimators"))
        return bench_estimators(line);
    if (option_given(line, "sampling"))
        return bench_sampling(line, limit);
    if (option_given(line, "chain"))
        return bench_chain(line, limit);
    if (!training_open(&j->t, line))
        return diags_exit_code(line->diags);
    signals_catch(NULL);
    count_work(j);
    measure_gemm(j);
    measure_training(j, limit);
    if (signals_caught())
        return signals_exit_code();
    if (option_given(line, "json"))
        print_json(line->diags, j);
    else
        print_text(j);
    state_close(&j->t.s.state);
    return diags_exit_code(line->diags);
}

const struct command command_bench = {
    .name = "bench",
    .usage = "MODEL|RUN [key=value…] [--json]",
    .doc = "measured speed, the share of the machine's peak, a profile by op",
    .detail =
        "Trains on random tokens. The peak is that of the matrix products of the model's own\n"
        "shapes, measured in the same run; the share counts only the model's own work (six FLOP\n"
        "per weight and row, and attention).\n\n"
        "Three questions of their own: `bench RUN --estimators`, `bench MODEL --sampling` and\n"
        "`bench MODEL --chain RATE`. With --chain steps of both chains alternate. `dense` is a\n"
        "matrix of random rates between any two states, each state left at rate 1.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
