/* sedge bench: how fast a model trains here, against the matrix products and the memory of the same
 * run. */
#include "tools/bench.h"
#include "ops/kernels/cpu/host_blas.h"
#include "tools/json_print.h"
#include "tools/signals.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static const struct option_spec options[] = {
    {"json", 'j', OPTION_FLAG, NULL, "the result as one JSON object", NULL},
    {"seconds", 0, OPTION_TEXT, "S", "how long to measure (5)", NULL},
    {"memory", 0, OPTION_KEY, "SIZE", "train within so much: what does not fit is computed twice",
     "memory"},
    {"ema", 0, OPTION_FLAG, NULL, "keep an average of the parameters as well, as `train` does",
     NULL},
    {"scaling", 0, OPTION_FLAG, NULL,
     "steps and matrix products on one thread too: how both grow with threads", NULL},
    {"estimators", 0, OPTION_FLAG, NULL,
     "of a run: how many network calls each estimator of the bound needs", NULL},
    {"sampling", 0, OPTION_FLAG, NULL,
     "of each program that loops call: the share of its time in the network, of which a draw that "
     "is one step with the head is part (--fuse off: it is not)",
     NULL},
    {"steps", 's', OPTION_TEXT, "N",
     "with --sampling: tokens a second of the whole loop, of N steps", NULL},
    {"sampler", 0, OPTION_TEXT, "NAME", "with --steps: loop of the model (tweedie)", NULL},
    {"chain", 0, OPTION_TEXT, "RATE",
     "what a training step costs with this `process.rate`, or `dense`, a random one, in its place",
     NULL},
    SESSION_OPTIONS,
    {0}};

#define WARM_STEPS 2
#define LEAST_STEPS 5
#define MOST_STEPS (RATES_MAX - 1)

struct job {
    struct training t;
    struct machine machine, one; /* ONE: on one thread */
    bool scaling;
    double seconds;  /* median of a training step */
    double products; /* FLOP that matrix products do in the time of a step, median */
    double
        growth[3];   /* from one thread: of a step, of products, of the one by the other; medians */
    double resident; /* MiB that training took, before anything else was measured */
    double model_flop; /* of one training step */
    struct plan_total planned;
};

/* --- work --------------------------------------------------------------------------------- */

/* What a step must compute whatever the implementation: six FLOP per weight and row, and attention
 * forward once and backward twice. Rows that were skipped are not counted, and what is computed a
 * second time is counted once. */
static void count_work(struct job *j)
{
    const struct plan *p = j->t.plan;
    for (uint32_t i = 0; i < p->step_count; i++)
        if (!p->steps[i].epoch)
            j->model_flop += p->steps[i].model * j->t.times[i].rows / (double)j->t.measured;
}

/* --- running ------------------------------------------------------------------------------ */

double bench_resident(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_median(double *numbers, int64_t count)
{
    qsort(numbers, (size_t)count, sizeof *numbers, compare);
    return count ? numbers[count / 2] : 0;
}

/* Of one turn: seconds of a step, and the rate of matrix products before it and after it. */
struct turns {
    double seconds[MOST_STEPS];
    int64_t count;
    struct machine *machine;
};

static bool take_turn(struct job *j, struct turns *t, bool measured)
{
    j->t.s.engine.threads = t->machine->threads;
    return training_step(&j->t, measured, &t->seconds[t->count++]) &&
           machine_measure_products(t->machine, j->t.s.diags);
}

/* Around step I. */
static double rate_around(const struct turns *t, int64_t i)
{
    return (t->machine->rates[i] + t->machine->rates[i + 1]) / 2;
}

static void sum_up(struct job *j, struct turns *all, struct turns *one)
{
    double products[MOST_STEPS], growth[3][MOST_STEPS];
    for (int64_t i = 0; i < all->count; i++)
        products[i] = all->seconds[i] * rate_around(all, i);
    for (int64_t i = 0; i < one->count; i++) {
        growth[0][i] = one->seconds[i] / all->seconds[i];
        growth[1][i] = rate_around(all, i) / rate_around(one, i);
        growth[2][i] = growth[0][i] / growth[1][i];
    }
    for (int k = 0; k < 3; k++)
        j->growth[k] = bench_median(growth[k], one->count);
    j->products = bench_median(products, all->count);
    j->seconds = bench_median(all->seconds, all->count);
}

/* Steps and matrix products take turns: what else runs on the machine comes and goes, and falls on
 * both. With SCALING the same on one thread after each step. */
static bool measure_steps(struct job *j, double seconds)
{
    struct turns all = {.machine = &j->machine}, one = {.machine = &j->one};
    struct diags *diags = j->t.s.diags;
    double total = 0;
    if (!machine_measure_products(all.machine, diags) ||
        (j->scaling && !machine_measure_products(one.machine, diags)))
        return false;
    while (all.count < MOST_STEPS && (all.count < LEAST_STEPS || total < seconds) &&
           !signals_caught()) {
        if (!take_turn(j, &all, true) || (j->scaling && !take_turn(j, &one, false)))
            return false;
        total += all.seconds[all.count - 1];
    }
    sum_up(j, &all, &one);
    return true;
}

static bool measure(struct job *j, double seconds)
{
    double unused;
    for (int i = 0; i < WARM_STEPS && !signals_caught(); i++)
        if (!training_step(&j->t, false, &unused))
            return false;
    j->resident = bench_resident();
    if (!machine_warn(j->t.s.diags) || !machine_measure_memory(&j->machine, j->t.s.diags) ||
        !measure_steps(j, seconds) || !machine_measure_memory(&j->machine, j->t.s.diags))
        return false;
    count_work(j);
    return true;
}

/* --- printing ----------------------------------------------------------------------------- */

static double tokens_per_s(const struct job *j)
{
    return (double)(j->t.batch * j->t.length) / j->seconds;
}

static double share_of_gemm(const struct job *j)
{
    return j->products > 0 ? j->model_flop / j->products : 0;
}

static struct profile profile_of(const struct job *j)
{
    return (struct profile){.arena = j->t.s.arena,
                            .diags = j->t.s.diags,
                            .plans = &j->t.plan,
                            .times = &j->t.times,
                            .count = 1,
                            .turns = (double)j->t.measured,
                            .turn = "step"};
}

static void print_text(const struct job *j)
{
    const struct machine *m = &j->machine;
    printf("%s, batch %lld x %lld, %s kernels, BLIS %s, %d thread%s\n", j->t.s.model->path,
           (long long)j->t.batch, (long long)j->t.length, j->t.s.engine.isa, blas_name(NULL),
           m->threads, m->threads == 1 ? "" : "s");
    machine_print(m);
    printf("train: %.1f tokens/s, %.2f ms a step (median of %lld), %.0f MiB resident at most, "
           "%.0f planned\n",
           tokens_per_s(j), 1000 * j->seconds, (long long)j->t.measured, j->resident,
           (double)j->planned.all / (1 << 20));
    printf("       %.1f GFLOP/s of the model's own work: %.1f%% of the matrix products\n",
           j->model_flop / j->seconds / 1e9, 100 * share_of_gemm(j));
    if (j->scaling)
        printf("       %.2f times the speed of one thread; matrix products %.2f times: %.2f of "
               "that\n",
               j->growth[0], j->growth[1], j->growth[2]);
    printf("       compiled in %.1f ms\n\n", j->t.compile_ms);
    struct profile profile = profile_of(j);
    work_print(&profile, m);
}

static void print_json(struct diags *diags, const struct job *j)
{
    json_t *train =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "tokens_per_s", tokens_per_s(j),
                  "ms_per_step", 1000 * j->seconds, "peak_rss_mib", j->resident, "planned_mib",
                  (double)j->planned.all / (1 << 20), "flop", j->model_flop, "gflops",
                  j->model_flop / j->seconds / 1e9, "share_of_gemm", share_of_gemm(j), "steps",
                  (json_int_t)j->t.measured);
    json_t *o = json_pack("{s:s, s:I, s:I, s:s, s:s, s:i, s:f, s:o, s:o}", "model",
                          j->t.s.model->path, "batch", (json_int_t)j->t.batch, "length",
                          (json_int_t)j->t.length, "isa", j->t.s.engine.isa, "blis",
                          blas_name(NULL), "threads", j->machine.threads, "compile_ms",
                          j->t.compile_ms, "machine", machine_json(&j->machine), "train", train);
    if (j->scaling)
        json_object_set_new(o, "scaling",
                            json_pack("{s:f, s:f, s:f}", "step", j->growth[0], "gemm", j->growth[1],
                                      "share_of_gemm", j->growth[2]));
    struct profile profile = profile_of(j);
    work_json(&profile, &j->machine, o);
    json_print(diags, o, 9);
}

static int bench_training(struct command_line *line, double seconds)
{
    struct job *j = arena_alloc(line->arena, sizeof *j);
    if (!training_open(&j->t, line))
        return diags_exit_code(line->diags);
    signals_catch(NULL);
    j->scaling = option_given(line, "scaling");
    plan_sum(&j->t.plan, 1, &j->planned);
    machine_add_plan(&j->machine, j->t.plan);
    j->one = j->machine;
    j->machine.threads = j->t.s.engine.threads;
    j->one.threads = 1;
    if (!measure(j, seconds))
        return diags_exit_code(line->diags);
    if (signals_caught())
        return signals_exit_code();
    if (option_given(line, "json"))
        print_json(line->diags, j);
    else
        print_text(j);
    state_close(&j->t.s.state);
    return diags_exit_code(line->diags);
}

/* --- the command -------------------------------------------------------------------------- */

static bool read_seconds(struct command_line *line, double *seconds)
{
    const char *text = option_text(line, "seconds");
    struct yaml number = {.kind = YAML_SCALAR, .text = text};
    if (!text || (yaml_real(&number, seconds) && *seconds > 0 && *seconds <= 86400))
        return true;
    diag_error(line->diags, FAULT_CONFIG, (struct span){0},
               "--seconds is a number of seconds above 0, not `%s`", text);
    return false;
}

static int run(struct command_line *line)
{
    static const char *const questions[] = {"estimators", "sampling", "chain"};
    double seconds = 5;
    int asked = 0;
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        asked += option_given(line, questions[i]);
    if (asked > 1) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "--estimators, --sampling and --chain exclude each other");
        diag_hint(line->diags, "ask one after the other: each is a measurement of its own");
        return 2;
    }
    if (!read_seconds(line, &seconds))
        return 2;
    if (option_given(line, "estimators"))
        return bench_estimators(line);
    if (option_given(line, "steps") || option_given(line, "sampler"))
        return bench_loop(line, seconds);
    if (option_given(line, "sampling"))
        return bench_sampling(line, seconds);
    if (option_given(line, "chain"))
        return bench_chain(line, seconds);
    return bench_training(line, seconds);
}

const struct command command_bench = {
    .name = "bench",
    .usage = "MODEL|RUN [key=value…] [--json]",
    .doc = "measured speed, the share of the machine's peak, a profile by op",
    .detail =
        "Trains on random tokens. The peak is that of the matrix products of the model's own\n"
        "shapes, measured in the same run; the share counts only the model's own work (six FLOP\n"
        "per weight and row that is computed, and attention). Each op stands beside what bounds\n"
        "it, the rate of these products or that of memory, and the share of this bound that it\n"
        "reaches; above 100% its data came from a cache.\n\n"
        "Questions of their own: `bench RUN --estimators`, `bench MODEL --sampling`, the same\n"
        "with `--steps N`, which draws whole sequences, and `bench MODEL --chain RATE`. With\n"
        "--chain steps of both chains alternate. `dense` is a matrix of random rates between any\n"
        "two states, each state left at rate 1.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
