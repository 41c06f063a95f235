/* sedge bench: how fast a model trains here, against the matrix products of the same run. */
#include "tools/bench.h"
#include "graph/base/clock.h"
#include "ops/kernels/cpu/host_blas.h"
#include "ops/ops.h"
#include "runtime/train.h"
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
    struct session s;
    int64_t batch, length, tokens; /* TOKENS: of the alphabet without mask */
    struct plan *gradient, *update;
    struct loaded *run_gradient, *run_update;
    int64_t step;
    int32_t *x0;
    double *gradient_seconds, *update_seconds; /* per step of the plans */
    struct product products[SHAPES_MAX];
    uint32_t product_count;
    double gemm;    /* FLOP a second on these shapes */
    double seconds; /* median of a training step */
    int64_t steps;
    double model_flop; /* of one training step */
    double compile_ms;
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
    for (uint32_t i = 0; i < j->gradient->step_count; i++) {
        const struct plan_step *s = &j->gradient->steps[i];
        if (!s->in_count || !s->out_count)
            continue;
        const struct type *in = &j->gradient->tensors[s->in[0]].type;
        const struct type *out = &j->gradient->tensors[s->out[0]].type;
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
    for (uint32_t i = 0; room && i < j->product_count; i++) {
        const struct product *p = &j->products[i];
        if (p->m < 32) /* rows of the conditioning: no share of the work */
            continue;
        float *a = room, *b = a + p->m * p->k, *c = b + p->k * p->n;
        double best = 1e30;
        for (int turn = 0; turn < 7; turn++) {
            double start = clock_seconds();
            blas_sgemm(p->m, p->n, p->k, 1, (struct blas_matrix){a, p->k, false},
                       (struct blas_matrix){b, p->n, false}, 0, c, p->n, j->s.engine.threads);
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

static bool compile(struct job *j, struct command_line *line)
{
    struct model *m = j->s.model;
    struct elaborate_request q = {.program = "train"};
    struct compile_options o = {.gradients = true};
    struct update_options u = {.beta1 = 0.9,
                               .beta2 = 0.999,
                               .eps = 1e-8,
                               .clip = 1,
                               .scale = 1,
                               .ema = option_given(line, "ema") ? 0.999 : 0};
    double start = clock_seconds();
    j->gradient = session_compile(&j->s, &q, &o);
    j->update = j->gradient ? compile_graph(update_graph(m, &u), NULL) : NULL;
    j->compile_ms = 1000 * (clock_seconds() - start);
    if (!j->update)
        return false;
    uint32_t x0 = plan_input(j->gradient, "x0");
    const struct type *t = &j->gradient->tensors[x0].type;
    if (!x0 || t->rank != 2 || !m->process_count || j->gradient->input_count != 1) {
        diag_error(j->s.diags, FAULT_CONFIG, (struct span){0},
                   "`bench` runs models whose program `train` takes x0 [batch, length]");
        return false;
    }
    j->batch = t->dim[0].size;
    j->length = t->dim[1].size;
    j->tokens = m->processes[0].chain.tokens;
    return true;
}

static bool load(struct job *j)
{
    struct session *s = &j->s;
    const struct state_table *table = &s->model->states;
    bool *used = arena_new_array(s->arena, bool, table->count + 1);
    for (uint32_t r = 0; r < table->count; r++)
        used[r] = (r < j->gradient->row_count && j->gradient->reads[r]) ||
                  (r < j->update->row_count && j->update->reads[r]);
    if (!session_machine(s) || !state_open(s->diags, s->arena, table, used, &s->state))
        return false;
    s->engine.state = &s->state;
    state_init(&s->state, 1);
    j->run_gradient = executor_load(s->diags, s->arena, &s->engine, j->gradient);
    j->run_update =
        j->run_gradient ? executor_load(s->diags, s->arena, &s->engine, j->update) : NULL;
    j->x0 = arena_new_array(s->arena, int32_t, j->batch * j->length);
    j->gradient_seconds = arena_new_array(s->arena, double, j->gradient->step_count + 1);
    j->update_seconds = arena_new_array(s->arena, double, j->update->step_count + 1);
    return j->run_update != NULL;
}

static double train_step(struct job *j, bool measured)
{
    struct random_key key = random_key(1, "bench");
    double step = (double)++j->step, lr = 3e-4;
    for (int64_t i = 0; i < j->batch * j->length; i++)
        j->x0[i] = (int32_t)(random_uniform(key, (uint32_t)j->step, 0, 0, (uint32_t)i) *
                             (double)j->tokens);
    const void *data[] = {j->x0}, *scalars[2];
    for (uint32_t i = 0; i < 2; i++)
        scalars[i] = strcmp(j->update->inputs[i].name, "lr") == 0 ? &lr : &step;
    struct run gradient = {.inputs = data,
                           .key = key,
                           .iteration = (uint32_t)j->step,
                           .seconds = measured ? j->gradient_seconds : NULL};
    struct run update = {.inputs = scalars, .seconds = measured ? j->update_seconds : NULL};
    uint32_t unused;
    double start = clock_seconds();
    executor_run(j->run_gradient, &gradient, &unused);
    executor_run(j->run_update, &update, &unused);
    return clock_seconds() - start;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure_training(struct job *j, double seconds)
{
    double took[MOST_STEPS], total = 0;
    for (int i = 0; i < WARM_STEPS; i++)
        train_step(j, false);
    while (j->steps < MOST_STEPS && (j->steps < LEAST_STEPS || total < seconds) &&
           !signals_caught()) {
        took[j->steps] = train_step(j, true);
        total += took[j->steps++];
    }
    qsort(took, (size_t)j->steps, sizeof *took, compare);
    j->seconds = j->steps ? took[j->steps / 2] : 0;
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
    uint32_t n = add_totals(j->gradient, j->gradient_seconds, j->steps, out, 0);
    n = add_totals(j->update, j->update_seconds, j->steps, out, n);
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
    return (double)(j->batch * j->length) / j->seconds;
}

static double share_of_gemm(const struct job *j)
{
    return j->gemm > 0 ? j->model_flop / j->seconds / j->gemm : 0;
}

static void print_steps(const struct job *j)
{
    printf("\nslowest steps, by the line of YAML they come from\n");
    bool *shown = arena_new_array(j->s.arena, bool, j->gradient->step_count + 1);
    for (int row = 0; row < 8; row++) {
        uint32_t best = j->gradient->step_count;
        for (uint32_t i = 0; i < j->gradient->step_count; i++)
            if (!shown[i] && (best == j->gradient->step_count ||
                              j->gradient_seconds[i] > j->gradient_seconds[best]))
                best = i;
        if (best == j->gradient->step_count)
            return;
        shown[best] = true;
        const struct plan_step *s = &j->gradient->steps[best];
        printf("  %8.3f ms  %-22s %-30s %s:%u\n",
               1000 * j->gradient_seconds[best] / (double)j->steps, s->op,
               s->name ? s->name : "(a gradient)", diags_file_name(j->s.diags, s->span.file),
               s->span.line);
    }
}

static void print_text(const struct job *j)
{
    struct op_total ops[128];
    uint32_t n = op_totals(j, ops);
    bool generic;
    const char *blis = blas_name(&generic);
    printf("%s, batch %lld x %lld, %s kernels, BLIS %s%s, %d thread%s\n", j->s.model->path,
           (long long)j->batch, (long long)j->length, j->s.engine.isa, blis,
           generic ? " (portable: about three times slower; set BLIS_ARCH_TYPE)" : "",
           j->s.engine.threads, j->s.engine.threads == 1 ? "" : "s");
    printf("matrix products of these shapes: %.1f GFLOP/s\n", j->gemm / 1e9);
    printf("train: %.1f tokens/s, %.2f ms a step (median of %lld), %.0f MiB resident at most\n",
           tokens_per_s(j), 1000 * j->seconds, (long long)j->steps, peak_mib());
    printf("       %.1f GFLOP/s of the model's own work: %.1f%% of the matrix products\n",
           j->model_flop / j->seconds / 1e9, 100 * share_of_gemm(j));
    printf("       compiled in %.1f ms\n\n", j->compile_ms);
    printf("%-24s %10s %7s %10s %10s\n", "op", "ms a step", "share", "GFLOP/s", "GB/s");
    for (uint32_t i = 0; i < n && i < 24; i++)
        printf("%-24s %10.3f %6.1f%% %10.1f %10.1f\n", ops[i].op, 1000 * ops[i].seconds,
               100 * ops[i].seconds / j->seconds, ops[i].flop / ops[i].seconds / 1e9,
               ops[i].bytes / ops[i].seconds / 1e9);
    print_steps(j);
}

static void print_json(const struct job *j)
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
        j->s.model->path, "batch", (json_int_t)j->batch, "length", (json_int_t)j->length, "isa",
        j->s.engine.isa, "blis", blas_name(NULL), "threads", j->s.engine.threads, "gemm_gflops",
        j->gemm / 1e9, "compile_ms", j->compile_ms, "train", "tokens_per_s", tokens_per_s(j),
        "peak_rss_mib", peak_mib(), "share_of_gemm", share_of_gemm(j), "ms_per_step",
        1000 * j->seconds, "steps", (json_int_t)j->steps, "ops", list);
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    puts(text ? text : "{}");
    free(text);
    json_decref(o);
}

static int run(struct command_line *line)
{
    if (option_given(line, "estimators"))
        return bench_estimators(line);
    struct job *j = arena_alloc(line->arena, sizeof *j);
    const char *seconds = option_text(line, "seconds");
    struct yaml number = {.kind = YAML_SCALAR, .text = seconds};
    double limit = 5;
    if (seconds && (!yaml_real(&number, &limit) || limit <= 0 || limit > 86400)) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "--seconds is a number of seconds above 0, not `%s`", seconds);
        return 2;
    }
    if (!session_model(&j->s, line, line->positional[0]) || !compile(j, line) || !load(j))
        return diags_exit_code(line->diags);
    signals_catch(NULL);
    count_work(j);
    measure_gemm(j);
    measure_training(j, limit);
    if (signals_caught())
        return signals_exit_code();
    if (option_given(line, "json"))
        print_json(j);
    else
        print_text(j);
    state_close(&j->s.state);
    return 0;
}

const struct command command_bench = {
    .name = "bench",
    .usage = "MODEL|RUN [key=value…] [--json]",
    .doc = "measured speed, the share of the machine's peak, a profile by op",
    .detail =
        "Trains on random tokens. The peak is that of the matrix products of the model's own\n"
        "shapes, measured in the same run; the share counts only the model's own work (six FLOP\n"
        "per weight and row, and attention).",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
