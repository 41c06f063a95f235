#!/bin/sh
# Breaks each rule of tools/check-layers once, in a small tree of its own, and expects it to say so.
set -u
check=$(pwd)/tools/check-layers
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
bad=0

# A tree without a fault; what follows adds one to it.
fresh() {
    rm -rf "${top:?}"/*
    for folder in graph graph/base ops ops/kernels ops/kernels/cpu passes runtime tools tests; do
        mkdir -p "$top/$folder"
        echo "What lives here." >"$top/$folder/README.md"
    done
    echo '#include <yaml.h>' >"$top/graph/base/yaml.c"
    echo '#include <blis.h>' >"$top/ops/kernels/cpu/host_blas.c"
    for header in graph/base/a graph/graph ops/ops ops/kernels/attrs ops/kernels/kernel passes/plan \
        runtime/run tools/t; do
        echo 'int printf_me; /* printf(""), "stdout" */' >"$top/$header.h"
    done
    echo '#pragma omp parallel for' >"$top/runtime/executor.c"
    echo '#pragma omp simd' >"$top/ops/kernels/cpu/gelu.c"
    echo 'void f(void) { fprintf(stderr, "exit(1)"); exit(1); }' >"$top/graph/base/check.c"
    cp "$top/graph/base/check.c" "$top/tools/main.c"
    echo '#include "ops/kernels/attrs.h"' >"$top/ops/gelu.c"
    printf '%s\n' '#include "graph/base/a.h"' '#include "passes/plan.h"' >"$top/runtime/run.c"
}

# expect FILE LINE MESSAGE: with LINE at the end of FILE, MESSAGE is said and the check fails.
expect() {
    fresh
    printf '%s\n' "$2" >>"$top/$1"
    if output=$("$check" "$top"); then
        echo "accepted in $1: $2"
        bad=1
    fi
    case $output in
    *"$3"*) ;;
    *)
        echo "$1: $2: expected: $3; got: $output"
        bad=1
        ;;
    esac
}

fresh
echo "/* … $(seq -s ' ' 34) */" >>"$top/ops/ops.h" # 100 characters, 102 bytes
"$check" "$top" || bad=1

expect graph/base/a.h '#include "graph/graph.h"' 'graph/base/a.h:2: graph/base/ may not include graph/graph.h'
expect graph/graph.h '#include "ops/ops.h"' 'graph/ may not include ops/ops.h'
expect ops/ops.h '#include "passes/plan.h"' 'ops/ may not include passes/plan.h'
expect ops/ops.h '  #  include "ops/kernels/kernel.h"' 'ops/ may not include ops/kernels/kernel.h'
expect passes/plan.h '#include "ops/kernels/kernel.h"' 'passes/ may not include ops/kernels/kernel.h'
expect passes/plan.h '#include "runtime/run.h"' 'passes/ may not include runtime/run.h'
expect ops/kernels/attrs.h '#include "ops/kernels/kernel.h"' 'ops/kernels/ may not include ops/kernels/kernel.h'
expect ops/kernels/cpu/gelu.c '#include "ops/ops.h"' 'ops/kernels/cpu/ may not include ops/ops.h'
expect runtime/run.c '#include "tools/t.h"' 'runtime/ may not include tools/t.h'
expect runtime/run.c '#include "graph/graph.h"' 'runtime/ sees plans, never graphs'
expect runtime/run.c '#include "run.h"' 'there is no "run.h"'
expect runtime/run.c '#include "passes/none.h"' 'there is no "passes/none.h"'
expect runtime/run.c '#include <passes/plan.h>' 'write "passes/plan.h"'
expect graph/graph.h '#include <yaml.h>' 'libyaml (<yaml.h>) is included by more than one file'
expect ops/kernels/cpu/gelu.c '#include <blis.h>' 'BLIS (<blis.h>) is included by more than one file'
expect passes/plan.h '#pragma omp parallel' 'OpenMP belongs in'
expect runtime/run.c '_Pragma("omp critical")' 'OpenMP belongs in'
expect runtime/run.c '#include <omp.h>' 'OpenMP belongs in'
expect runtime/executor.c '#pragma omp simd' 'OpenMP simd belongs in'
expect graph/graph.h 'void f(void) { printf("x"); }' 'printf(): below tools/'
expect graph/graph.h '/* a */ void f(void) { exit (1); }' 'exit(): below tools/'
expect ops/ops.h 'void f(void) { sigaction(SIGINT, 0, 0); }' 'sigaction(): below tools/'
expect ops/ops.h 'void f(void) { fputs("x", stderr); }' 'stdout and stderr belong to tools/'
expect ops/util.c 'int x;' 'ops/util.c: call it after what it does'
expect ops/ops.h "$(seq 700)" 'ops/ops.h: 701 lines'
expect ops/ops.h "/* $(seq -s ' ' 35) */" '101 columns: wrap it at 100'

fresh
rm "$top/passes/README.md"
case $("$check" "$top") in
*'passes: has no README.md'*) ;;
*)
    echo "a folder without README.md was accepted"
    bad=1
    ;;
esac
exit "$bad"
