/* All kernels of this machine: one list for each family and instruction set, gathered here. Called
 * when a plan is lowered, once for each step. */
#include "graph/base/check.h"
#include "ops/kernels/kernel.h"

#include <stdlib.h>
#include <string.h>

/* Every family of ops/kernels/cpu/, for one instruction set: adding a family adds a name here. */
/* clang-format off */
#define FAMILIES(isa)                                                                              \
    X(elementwise, isa) X(broadcast, isa) X(compare, isa) X(activation, isa) X(random, isa)        \
    X(reduce, isa) X(layout, isa) X(linear, isa) X(embedding, isa) X(norm, isa) X(softmax, isa)    \
    X(attention, isa) X(modulate, isa) X(features, isa) X(score, isa) X(perturb, isa)              \
    X(reverse, isa) X(bound, isa) X(optimizer, isa) X(ancestral, isa) X(event, isa)                \
    X(corrector, isa) X(reveal, isa) X(restrict, isa) X(draw, isa)                                 \
    X(head, isa) X(head_score, isa) X(enumerated, isa) X(perturb_exact, isa)                       \
    X(projection, isa) X(head_loss, isa) X(head_draw, isa) X(index, isa)                           \
    X(attention_cached, isa)
/* clang-format on */

#if defined(__x86_64__)
#define ALL_FAMILIES FAMILIES(plain) FAMILIES(v2) FAMILIES(v3) FAMILIES(v4)
#else
#define ALL_FAMILIES FAMILIES(plain)
#endif

#define X(family, isa) extern const struct kernel KERNEL_PASTE(kernels_##family, isa)[];
ALL_FAMILIES
#undef X

#define X(family, isa) {#isa, KERNEL_PASTE(kernels_##family, isa)},
static const struct {
    const char *isa;
    const struct kernel *list; /* ends with a NULL op */
} families[] = {ALL_FAMILIES};
#undef X

/* The letters of a kernel's types, see struct kernel. */
static bool letter_accepts(char letter, enum dtype dtype)
{
    switch (letter) {
    case '*':
        return true;
    case '_':
        return dtype == DT_COUNT;
    case 'f':
        return dtype == DT_F32;
    case 'd':
        return dtype == DT_F64;
    case 'i':
        return dtype == DT_I32;
    case 'b':
        return dtype == DT_BOOL;
    case 't':
        return dtype == DT_TOKEN;
    }
    return false;
}

/* Matches COUNT dtypes against the letters up to END; inputs that are not given count as absent. */
static bool letters_match(const char *letters, const char *end, const enum dtype *dtype,
                          uint32_t count)
{
    const char *at = letters;
    for (uint32_t i = 0; i < count; i++) {
        if (at < end && *at == '+')
            at--;
        if (at >= end || !letter_accepts(*at, dtype[i]))
            return false;
        at++;
    }
    for (; at < end; at++)
        if (*at != '+' && !letter_accepts(*at, DT_COUNT))
            return false;
    return true;
}

static bool types_match(const char *types, const enum dtype *in, uint32_t in_count,
                        const enum dtype *out, uint32_t out_count)
{
    const char *arrow = strchr(types, '>');
    BUG_ON(!arrow);
    return letters_match(types, arrow, in, in_count) &&
           letters_match(arrow + 1, arrow + strlen(arrow), out, out_count);
}

const struct kernel *kernel_find(const char *isa, const char *op, const enum dtype *in,
                                 uint32_t in_count, const enum dtype *out, uint32_t out_count)
{
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        if (strcmp(families[f].isa, isa) != 0)
            continue;
        for (const struct kernel *k = families[f].list; k->op; k++)
            if (strcmp(k->op, op) == 0 && types_match(k->types, in, in_count, out, out_count))
                return k;
    }
    return NULL;
}

#if defined(__x86_64__)
/* By features, not by level: compilers learnt the names of the levels late. What is not asked for
 * (such as F16C of v3) has been in every processor that has the rest. */
static bool machine_runs(const char *isa)
{
    bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return strcmp(isa, "v4") == 0 ? v4 : strcmp(isa, "v3") == 0 ? v3 : v2;
}
static const char *const isas[] = {"v4", "v3", "v2", "plain"};
#else
static bool machine_runs(const char *isa)
{
    (void)isa;
    return true;
}
static const char *const isas[] = {"plain"};
#endif

const char *kernel_isa(const char *wanted)
{
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        if (wanted && strcmp(wanted, isas[i]) != 0)
            continue;
        if (strcmp(isas[i], "plain") == 0 || machine_runs(isas[i]))
            return isas[i];
    }
    return NULL;
}
