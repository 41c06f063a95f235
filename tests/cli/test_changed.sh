#!/bin/sh
# Files that change behind a finished run: the matrix of its rates, the program `train` of its model. What is
# set in the command line is meant to differ, and no cause for a warning.
#   SEDGE=build/release/sedge sh tests/cli/test_changed.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"
export OMP_NUM_THREADS=1
models=$(pwd)/models
sed "s#../../../models/#$models/#g" tests/bad/base/model.yaml >"$top/model.yaml"
cp tests/bad/base/text.txt tests/bad/base/recipe.yaml "$top"
cd "$top" || exit 1

# ring FILE RATE: each of 28 symbols goes to the next one, the first of them at RATE.
ring() {
    awk -v first="$2" 'BEGIN {
        for (y = 0; y < 28; y++)
            for (x = 0; x < 28; x++) {
                rate = x == 0 ? first : 1
                printf "%s%s", y == x ? -rate : y == (x + 1) % 28 ? rate : 0, x < 27 ? "," : "\n"
            }
    }' >"$1"
}
ring q.csv 1
"$SEDGE" train recipe.yaml process.rate='{matrix: q.csv}' -o run >out 2>&1 || {
    cat out
    echo '0 passed, 1 failed, 0 skipped'
    exit 1
}
changed='the model has changed since run was trained'
unchanged() {
    if grep -qF "$changed" err; then fail "$what: complains of a change"; else pass; fi
}

run 0 eval run
quiet
run 0 sample run
unchanged
run 0 eval run process.rate=uniform
unchanged

ring q.csv 2
run 0 eval run
hints "$changed"
run 0 sample run
hints "$changed"
run 0 sample run --count 1
hints "$changed"
run 0 compare run run
hints "$changed"
run 3 train recipe.yaml process.rate='{matrix: q.csv}' train.steps=2 -o run
hints 'the program `train` of the model has changed'

ring q.csv 1
run 0 eval run
quiet
sed -i 's/^  log_score:/  other:/' model.yaml # no longer what the programs call
run 2 sample run
hints 'no op or block is called `log_score`'
count_up
