/* Where the time of a training step or of a loop goes, and what the machine would allow: each step
 * of the plans against the roofline (Williams, Waterman, Patterson 2009), which takes the longer of
 * FLOP at the rate of matrix products and bytes at the rate of memory. Called by sedge bench. */
#include "graph/base/check.h"
#include "tools/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPS_MAX 128
#define SHOWN_OPS 24
#define SHOWN_STEPS 12

/* Steps of plans that are shown as one: those of one op, or a single one. */
struct work {
    const char *op, *name;
    struct span span;
    double seconds, flop, bytes;  /* of a turn */
    double by_compute, by_memory; /* seconds at the machine's FLOP, at its bytes */
    double bound;                 /* at the longer of both, step by step */
};

static struct work work_of(const struct profile *p, const struct machine *m, uint32_t plan,
                           uint32_t i)
{
    const struct plan_step *s = &p->plans[plan]->steps[i];
    const struct step_time *t = &p->times[plan][i];
    struct work w = {.op = s->op,
                     .name = s->name,
                     .span = s->span,
                     .seconds = t->seconds / p->turns,
                     .flop = t->rows / p->turns * s->flop,
                     .bytes = t->rows / p->turns * s->bytes};
    w.by_compute = m->gemm > 0 ? w.flop / m->gemm : 0;
    w.by_memory = machine_bandwidth(m) > 0 ? w.bytes / machine_bandwidth(m) : 0;
    w.bound = fmax(w.by_compute, w.by_memory);
    return w;
}

static void add_work(struct work *to, const struct work *w)
{
    to->seconds += w->seconds;
    to->flop += w->flop;
    to->bytes += w->bytes;
    to->by_compute += w->by_compute;
    to->by_memory += w->by_memory;
    to->bound += w->bound;
}

static int slowest_first(const void *a, const void *b)
{
    const struct work *x = a, *y = b;
    return x->seconds > y->seconds ? -1 : x->seconds < y->seconds;
}

/* By op, the slowest first. */
static uint32_t work_by_op(const struct profile *p, const struct machine *m, struct work **out)
{
    struct work *list = arena_new_array(p->arena, struct work, OPS_MAX);
    uint32_t n = 0;
    for (uint32_t plan = 0; plan < p->count; plan++)
        for (uint32_t i = 0; i < p->plans[plan]->step_count; i++) {
            struct work w = work_of(p, m, plan, i);
            uint32_t k = 0;
            while (k < n && strcmp(list[k].op, w.op) != 0)
                k++;
            BUG_ON(k == OPS_MAX);
            if (k == n)
                list[n++] = (struct work){.op = w.op};
            add_work(&list[k], &w);
        }
    qsort(list, n, sizeof *list, slowest_first);
    *out = list;
    return n;
}

/* The slowest steps of the plans. */
static uint32_t work_by_step(const struct profile *p, const struct machine *m, struct work **out)
{
    uint32_t n = 0, all = 0;
    for (uint32_t plan = 0; plan < p->count; plan++)
        all += p->plans[plan]->step_count;
    struct work *list = arena_new_array(p->arena, struct work, all + 1);
    for (uint32_t plan = 0; plan < p->count; plan++)
        for (uint32_t i = 0; i < p->plans[plan]->step_count; i++)
            list[n++] = work_of(p, m, plan, i);
    qsort(list, n, sizeof *list, slowest_first);
    *out = list;
    return n < SHOWN_STEPS ? n : SHOWN_STEPS;
}

double work_bytes(const struct profile *p)
{
    const struct machine none = {0};
    double sum = 0;
    for (uint32_t plan = 0; plan < p->count; plan++)
        for (uint32_t i = 0; i < p->plans[plan]->step_count; i++)
            sum += work_of(p, &none, plan, i).bytes;
    return sum;
}

/* --- printing ----------------------------------------------------------------------------- */

static const char *bounded_by(const struct work *w)
{
    return w->by_compute > w->by_memory ? "compute" : "memory";
}

static double rate(double amount, double seconds)
{
    return seconds > 0 ? amount / seconds : 0;
}

static double all_seconds(const struct work *ops, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += ops[i].seconds;
    return sum;
}

void work_print(const struct profile *p, const struct machine *m)
{
    struct work *ops, *steps;
    uint32_t n = work_by_op(p, m, &ops), shown = work_by_step(p, m, &steps);
    double total = all_seconds(ops, n);
    printf("%-26s %5s %-4s %7s %9s %8s  %-8s %8s\n", "op", "ms a", p->turn, "share", "GFLOP/s",
           "GB/s", "bound by", "reached");
    for (uint32_t i = 0; i < n && i < SHOWN_OPS; i++)
        printf("%-26s %10.3f %6.1f%% %9.1f %8.1f  %-8s %7.1f%%\n", ops[i].op, 1000 * ops[i].seconds,
               100 * rate(ops[i].seconds, total), rate(ops[i].flop, ops[i].seconds) / 1e9,
               rate(ops[i].bytes, ops[i].seconds) / 1e9, bounded_by(&ops[i]),
               100 * rate(ops[i].bound, ops[i].seconds));
    printf("\nslowest steps, by the line of YAML they come from\n");
    for (uint32_t i = 0; i < shown; i++) {
        const struct work *w = &steps[i];
        printf("%10.3f ms  %-8s %6.1f%%  %-22s %-30s ", 1000 * w->seconds, bounded_by(w),
               100 * rate(w->bound, w->seconds), w->op, w->name ? w->name : "(a gradient)");
        if (w->span.file)
            printf("%s:%u", diags_file_name(p->diags, w->span.file), w->span.line);
        printf("\n");
    }
}

static json_t *one_json(const struct profile *p, const struct work *w, double total)
{
    json_t *o = json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:s, s:f}", "op", w->op, "ms",
                          1000 * w->seconds, "share", rate(w->seconds, total), "flop", w->flop,
                          "bytes", w->bytes, "gflops", rate(w->flop, w->seconds) / 1e9, "gbs",
                          rate(w->bytes, w->seconds) / 1e9, "bound_by", bounded_by(w),
                          "share_of_bound", rate(w->bound, w->seconds));
    if (w->name)
        json_object_set_new(o, "name", json_string(w->name));
    if (w->span.file) {
        json_object_set_new(o, "file", json_string(diags_file_name(p->diags, w->span.file)));
        json_object_set_new(o, "line", json_integer(w->span.line));
    }
    return o;
}

void work_json(const struct profile *p, const struct machine *m, json_t *into)
{
    struct work *ops, *steps;
    uint32_t n = work_by_op(p, m, &ops), shown = work_by_step(p, m, &steps);
    double total = all_seconds(ops, n);
    json_t *by_op = json_array(), *by_step = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(by_op, one_json(p, &ops[i], total));
    for (uint32_t i = 0; i < shown; i++)
        json_array_append_new(by_step, one_json(p, &steps[i], total));
    json_object_set_new(into, "ops", by_op);
    json_object_set_new(into, "slowest", by_step);
}
