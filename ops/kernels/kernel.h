/* The contract of a kernel: the code that computes one op on one backend.
 *
 * Kernels see tensors of run-time size (short axes already cut), attributes and the chain as data;
 * they know nothing of graphs. They do not allocate, keep no globals, take no locks, and write
 * only their results and the workspace. Shapes decide what is summed in which order, threads never
 * do: the bits do not depend on the number of threads. */
#ifndef SEDGE_KERNEL_H
#define SEDGE_KERNEL_H

#include "graph/base/attr.h"
#include "graph/base/chain.h"
#include "graph/base/random.h"
#include "graph/base/tensor.h"

struct kernel_call {
    uint32_t in_count, out_count;
    const struct tensor *in; /* .data NULL: absent */
    struct tensor *out;
    const union attr *attr;
    const struct chain *chain; /* ops that name a process */
    void *workspace;           /* as many bytes as the op's workspace rule asked for, 64-aligned */
    int threads;               /* for num_threads() */
    /* Who draws and when (ops with OP_RANDOM); see graph/base/random.h. */
    struct random_key key;
    uint32_t iteration;
    uint32_t stream;
    uint32_t sequence;
    uint32_t sequences;
    int64_t *count; /* ops with OP_COUNTS: set to the filled rows of the result */
    /* A kernel that makes the numbers itself that it draws tokens by adds how many of them are NaN
     * or +infinity. NULL: nobody asks. */
    int64_t *lawless;
};

struct kernel {
    const char *op;
    /* Dtypes it is for, one letter per input then '>' and results: f = f32, d = f64, i = i32,
     * b = bool, t = token, _ = absent, * = any dtype or absent; the last letter of either side may
     * be followed by '+' to repeat it. "ff>f" */
    const char *types;
    void (*run)(const struct kernel_call *call);
};

/* Families end with such a list; {0} closes it. Each source in ops/kernels/cpu/ is compiled once
 * for every instruction set, and KERNEL_LIST gives the list a name of its own each time. */
#define KERNEL_PASTE_(a, b) a##_##b
#define KERNEL_PASTE(a, b) KERNEL_PASTE_(a, b)
#define KERNEL_LIST(family) const struct kernel KERNEL_PASTE(kernels_##family, SEDGE_ISA_NAME)[]

/* Finds the kernel for OP on these dtypes (DT_COUNT: absent), or NULL. */
const struct kernel *kernel_find(const char *isa, const char *op, const enum dtype *in,
                                 uint32_t in_count, const enum dtype *out, uint32_t out_count);

/* The best instruction set of this machine ("v4", "v3", "v2", "plain"), or what SEDGE_ISA asks
 * for (handed in as WANTED; NULL: none). NULL when WANTED is unknown or this machine lacks it. */
const char *kernel_isa(const char *wanted);

#endif
