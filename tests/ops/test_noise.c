/* The op `noise` of every schedule: sigma against the expression, its rate against finite
 * differences of the expression, and at t = 1, where a schedule is held, a finite sigma and a rate
 * of zero. What `mask_weight` says of masks, by finite differences of how many there are. */
#include "graph/process.h"
#include "ops/kernels/transition.h"
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#define TIMES 6

static const double times[TIMES] = {1e-3, 0.1, 0.37, 0.8, 0.99, 1};

/* A central difference of step H is off by H^2 sigma''' / 6, below 1e-6 of sigma' for all below. */
static double slope(const struct process *p, double t)
{
    const double h = 1e-4 * (1 - t < t ? 1 - t : t);
    double low, high;
    cr_assert(process_sigma(p, t - h, &low));
    cr_assert(process_sigma(p, t + h, &high));
    return (high - low) / (2 * h);
}

static void check_schedule(const char *noise, bool held)
{
    struct rig rig;
    char text[400];
    snprintf(text, sizeof text,
             "sedge: 1\nparams: {vocab: 3}\nprocess: {rate: absorb, noise: %s}\n"
             "programs:\n  p:\n    in: {t: [f64, %d]}\n    nodes:\n"
             "      sigma, dsigma: {noise: t}\n    out: {sigma: sigma, dsigma: dsigma}\n",
             noise, TIMES);
    rig_model_text(&rig, text);
    struct rig_program program = {.name = "p"};
    struct plan *plan = rig_compile(&rig, &program, NULL);
    rig_state(&rig, &rig.model->states, 1);
    struct loaded *loaded = rig_load(&rig, plan);
    struct rig_value value = {"t", times};
    struct run how = {.checked = true};
    rig_run(loaded, &value, 1, 0, &how);
    struct tensor sigma = rig_output(loaded, "sigma"), rate = rig_output(loaded, "dsigma");
    for (int i = 0; i < TIMES; i++) {
        const struct process *p = &rig.model->processes[0];
        double want, got = rig_element(&sigma, i), dsigma = rig_element(&rate, i);
        cr_assert(process_sigma(p, times[i], &want));
        /* Where cosine is held alpha, 1.5e-9, has seven digits, by a kernel or by the library. */
        cr_assert_float_eq(got / want, 1, times[i] < 1 ? 1e-12 : 1e-7, "%s at %g: %g", noise,
                           times[i], got);
        if (times[i] < 1)
            cr_assert_float_eq(dsigma / slope(p, times[i]), 1, 3e-6, "%s at %g: %g", noise,
                               times[i], dsigma);
        else if (held)
            cr_assert_eq(dsigma, 0, "%s: %g", noise, dsigma);
        else
            cr_assert(isfinite(dsigma) && dsigma > 0, "%s: %g", noise, dsigma);
    }
    rig_close(&rig);
}

Test(noise, schedules_that_are_finite)
{
    check_schedule("loglinear", false);
    check_schedule("{geometric: {min: 1.0e-4, max: 20}}", false);
    check_schedule("{linear: {max: 7}}", false);
    check_schedule("{sigma: \"5 * t ^ 2\"}", false);
}

Test(noise, schedules_that_are_held_at_the_end)
{
    check_schedule("{loglinear: {eps: 0}}", true);
    check_schedule("{polynomial: {power: 3}}", true);
    check_schedule("cosine", true);
    check_schedule("cosine_squared", true);
    check_schedule("{sigma: \"0.5 / (1 - t) - 0.5\"}", true);
}

/* --- mask_weight -------------------------------------------------------------------------- */

/* -alpha' / (1 - alpha) by differences of alpha = exp(-RATE sigma), what is left of the tokens. */
static void check_weight(const char *process, double rate)
{
    struct rig rig;
    char text[512];
    snprintf(text, sizeof text,
             "sedge: 1\nparams: {vocab: 3}\nprocess: {%s, noise: cosine}\n"
             "programs:\n  p:\n    in: {t: [f64, 6]}\n    nodes:\n"
             "      sigma, dsigma: {noise: t}\n"
             "      weight: {mask_weight: [sigma, dsigma]}\n    out: {weight: weight}\n",
             process);
    rig_model_text(&rig, text);
    struct process *p = &rig.model->processes[0];
    struct rig_program program = {.name = "p"};
    struct plan *plan = rig_compile(&rig, &program, NULL);
    rig_state(&rig, &rig.model->states, 1);
    struct loaded *loaded = rig_load(&rig, plan);
    struct rig_value value = {"t", times};
    rig_run(loaded, &value, 1, 0, NULL);
    struct tensor weight = rig_output(loaded, "weight");
    for (int i = 0; i < TIMES - 1; i++) { /* at 1 the schedule is held */
        double t = times[i], h = 1e-4 * (1 - t < t ? 1 - t : t), sigma[3];
        for (int k = 0; k < 3; k++)
            cr_assert(process_sigma(p, t + (k - 1) * h, &sigma[k]));
        double slope = exp(-rate * sigma[0]) - exp(-rate * sigma[2]);
        double want = slope / (2 * h) / -expm1(-rate * sigma[1]), got = rig_element(&weight, i);
        cr_assert_float_eq(got / want, 1, 3e-6, "rate %g at %g: %g, not %g", rate, t, got, want);
    }
    rig_close(&rig);
}

/* A matrix may mask at any rate. */
Test(noise, weight_of_masks)
{
    check_weight("rate: absorb", 1);
    check_weight("rate: {matrix: [[-0.7, 0, 0, 0], [0, -0.7, 0, 0], [0, 0, -0.7, 0], "
                 "[0.7, 0.7, 0.7, 0]]}, base: {mask: 0.99}",
                 0.7);
}
