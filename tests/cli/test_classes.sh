#!/bin/sh
# Data in two classes, learned and told apart: samples of a label, by name and by number, by either kind
# of guidance; bounds given the label; what is said to be exact.
#   SEDGE=build/release/sedge sh tests/cli/test_classes.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"
export OMP_NUM_THREADS=1
cd "$top" || exit 1

# drawn MODEL PATTERN: of 40 sequences at least 34 are of the class. Without a label 20 are on average,
# and 34 or more once in 190,000 runs.
drawn() {
    holds "$what: $1" [ "$(grep -cE "^$2\$" out)" -ge 34 ]
}
# below A B: A is less.
below() {
    holds "$1 is not below $2" awk "BEGIN {exit !($1 < $2)}"
}

for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
    printf 'abbaabab' >>first.txt
    printf 'cddccdcd' >>second.txt
done
# A label that training told is met at gamma 1; a gradient at all masks falls short of it.
for model in labelled guided; do
    [ $model = labelled ] && gamma=1 || gamma=5
    cat >recipe.yaml <<END
sedge: 1
model: $model
preset: tiny
params: {length: 8, dim: 16, heads: 1, layers: 1, cond: 8, dropout: 0}
data: {files: [first.txt, second.txt], classes: [first, second], valid: 0.25}
train: {steps: 300, batch: 16, lr: 1.0e-2, ema: 0.98, eval_every: 150}
eval: {sequences: 8, times: 16}
sample: {batch: 40, count: 40, steps: 16, sampler: guided}
END
    run 0 train recipe.yaml -o $model
    run 0 sample $model --label first --gamma $gamma
    drawn $model '[ab]{8}'
    run 0 sample $model --label 1 --gamma $gamma
    drawn $model '[cd]{8}'
    run 0 sample $model --label second --gamma 0
    holds "$model: gamma 0 draws from all" [ "$(grep -cE '^[cd]{8}$' out)" -lt 34 ]
    # The start, too, is of all classes: most of it is still there with such a leak.
    for label in first second; do
        run 0 sample $model --label $label --gamma 0 'process.noise={loglinear: {eps: 0.6}}'
        cp out "$label"
    done
    holds "$model: gamma 0 uses no label" cmp -s first second
    run 0 sample $model --label first --prefix ab --json
    says '"label": "first"'
    says '"gamma": 1.0'
    says 'known positions: the share of masks'
done
# What is exact, and what is not: under the JSON and under the text alike.
hints 'heuristic: guidance: to first order, by the gradient'
run 0 sample labelled --label first --json
says '"label: the score is the one that was trained with it"'
hints 'exact: label: the score is the one'
run 0 sample labelled --label first --gamma 3
hints 'heuristic: guidance: scores are sharpened by gamma'
run 0 sample labelled --sampler tweedie
hints 'heuristic: steps: symbols that change'
holds 'nothing asked, nothing else said' [ "$(grep -c -e exact -e heuristic err)" -eq 1 ]

# Long guided steps under a chain of any rates: what is clamped is counted and told; the limit inserts steps.
cat >levels.yaml <<'END'
sedge: 1
include: [ordinal.yaml, guidance.yaml]
params: {classes: 2}
blocks:
  energy:
    in: {w: [f32, rows, length, states], sigma: [f64, rows], label: [i32, rows]}
    nodes: {y: {sum: {sum: w, axis: 2}, axis: 1}}
    out: y
END
sed -e 's/^model: .*/model: levels.yaml/' -e 's/steps: 300/steps: 1/' recipe.yaml >long.yaml
run 0 train long.yaml -o levels
run 0 sample levels --label first --steps 8 --json tweedie_limit=1e9
holds 'long guided steps: negative weights' [ "$(number clamped | cut -d. -f1)" -gt 0 ]
run 0 sample levels --label first --steps 8 --json
holds 'limited guided steps: nothing clamped' [ "$(number clamped)" = 0.0 ]
holds 'limited guided steps: some inserted' [ "$(number steps_inserted)" -ge 100 ]

# A label is worth log 2 a sequence where the classes share no symbol; half of that was learned.
run 0 eval labelled --json
says 'told the class of each'
own=$(number nats_per_symbol)
run 0 eval labelled --json --label none
hides 'told'
none=$(number nats_per_symbol)
below "$own + 0.5 * 0.693 / 8" "$none"
run 0 eval labelled --label second --json --data second.txt
says 'told the class second'
second=$(number nats_per_symbol)
run 0 eval labelled --label first --json --data second.txt
below "$second + 1" "$(number nats_per_symbol)"
run 0 eval labelled --given prefix:4
says 'given prefix:4, told the class of each'
run 0 eval labelled --json --order left
says 'told the class of each'
ordered=$(number nats_per_symbol)
run 0 eval labelled --json --order left --label none
below "$ordered" "$(number nats_per_symbol)"
run 0 eval guided
hides 'told'
run 0 compare labelled guided
says 'told the class of each'
holds 'only one is told' [ "$(grep -c '  told the class$' out)" -eq 1 ]
run 0 compare labelled guided --label none
hides 'told'

count_up
