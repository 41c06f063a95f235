#!/bin/sh
# sedge sample with something given: a prefix, a suffix, holes, sets, other times, more text than the
# model is long. The run is barely trained: what is held against is what was given.
#   SEDGE=build/release/sedge sh tests/cli/test_sample.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"
export OMP_NUM_THREADS=1
cd "$top" || exit 1

# sample ARGUMENTS…: four sequences of the run, which must be drawn.
sample() {
    run 0 sample run -n 4 --steps 4 "$@"
}
# keeps_sets RUN ARGUMENTS…: forty sequences whose second place must be an o or an f.
keeps_sets() {
    folder=$1
    shift
    run 0 sample "$folder" -n 40 --infill '{mask}{set:of} {mask}' "$@"
    lines 40 '^.[of] '
}
# lines COUNT PATTERN: so many lines of the text match.
lines() {
    if [ "$(grep -cE -e "$2" out)" -eq "$1" ]; then pass; else fail "$what: not $1 lines of $2"; fi
}

for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    printf 'abcd efgh ijkl mnop qrst uvwx yz._ ' # one line: what is drawn holds no newline
done >text.txt
for model in sedd-absorb sedd-uniform; do
    printf 'sedge: 1\nmodel: %s\npreset: tiny\nparams: {length: 12, dim: 8, heads: 1, layers: 1, cond: 4}\n' "$model"
    printf 'data: {files: [text.txt]}\ntrain: {steps: 1, batch: 2, eval_every: 0}\n'
    printf 'sample: {batch: 3}\n'
done >all.yaml
for model in sedd-absorb sedd-uniform; do
    rm -rf run
    grep -A 4 "model: $model" all.yaml | sed '1i sedge: 1' | grep -v '^--' >recipe.yaml
    "$SEDGE" train recipe.yaml -o run >out 2>err || {
        cat err
        echo '0 passed, 1 failed, 0 skipped'
        exit 1
    }
    sample --prefix 'ab c'
    lines 4 '^ab c.{8}$'
    sample --suffix 'yz'
    lines 4 '^.{10}yz$'
    sample --prefix ab --suffix yz
    lines 4 '^ab.{8}yz$'
    sample --infill 'ab{mask:3}cd'
    lines 4 '^ab...cd$'
    hints 'the 5 after the text were left free'
    sample --grid '[1, 0.6, 0.2]' --prefix q
    hints '2 steps'
    sample --grid quadratic --sampler euler
    sample --length 5
    lines 4 '^.{5}$'
    printf 'a{mask}c\nx{mask:2}z\n' >forms
    sample --template forms
    lines 2 '^a.c'
    lines 2 '^x..z'
    if [ $model = sedd-absorb ]; then
        # First hitting: beside first_noise, base and the last step a call for each mask.
        run 0 sample run -n 3 --sampler exact --json
        holds 'first hitting: a call for each mask' [ "$(number program_calls)" -eq 15 ]
        run 0 sample run -n 3 --sampler exact --infill 'abcd{mask:3}efghi' --json
        holds 'first hitting: a call for each hole' [ "$(number program_calls)" -eq 6 ]
        sample --sampler remask
        sample --sampler confidence-position
        sample --sampler confidence-keep-best --prefix ab
        lines 4 '^ab'
    fi
    for sampler in tweedie euler euler-linear predictor-corrector exact; do
        case $sampler in exact) keeps_sets run --sampler exact ;; *) keeps_sets run --steps 2 --sampler $sampler ;; esac
    done
    sample --json --prefix ab
    lines 1 '"sampler": "tweedie"'
    lines 1 'known positions'
    holds 'no limit of a chain that is no table' [ "$(number steps_inserted)" -eq 0 ]
    lines 4 '^    "ab'
done

# What is typed twice over, and templates as other systems write their lines.
run 0 sample run --grid '[1, 0.6, 0.2]' --steps 4
hints 'warning: --steps 4 is not used: the times of the grid make 2'
printf 'a{mask}c\r\nx{mask:2}z\r\n' >forms
sample --template forms
lines 2 '^a.c'
lines 2 '^x..z'

# Long steps of Tweedie under a chain of any rates: what is clamped is counted and told; below the limit of
# the model nothing is.
sed 's/model: .*/model: ordinal/' recipe.yaml >levels.yaml
run 0 train levels.yaml -o levels
run 0 sample levels -n 4 --steps 64 --json tweedie_limit=1e9
holds 'long steps: negative weights' [ "$(number clamped | cut -d. -f1)" -gt 0 ]
holds 'long steps: none inserted' [ "$(number steps_inserted)" -eq 0 ]
run 0 sample levels -n 4 --steps 64 tweedie_limit=1e9
hints 'negative weights were set to zero'
run 0 sample levels -n 4 --steps 64 --json
holds 'limited steps: nothing clamped' [ "$(number clamped)" = 0.0 ]
holds 'limited steps: some inserted' [ "$(number steps_inserted)" -ge 100 ]
# So it is of every model under such a rate, without a word of its own.
sed 's/model: .*/model: udlm/' recipe.yaml >band.yaml
run 0 train band.yaml -o band 'process.rate={band: {width: 1}}'
run 0 sample band -n 4 --steps 16 --json
holds 'a rate of its own: nothing clamped' [ "$(number clamped)" = 0.0 ]
holds 'a rate of its own: some inserted' [ "$(number steps_inserted)" -ge 1 ]
run 0 sample band -n 4 --steps 16 --json tweedie_limit=1e9
holds 'a rate of its own: negative weights' [ "$(number clamped | cut -d. -f1)" -gt 0 ]
# A law that only some of the model's samplers draw from.
run 2 sample levels -n 4 --sampler tweedie --temperature 0.5
hints 'samplers of this model that do: ancestral'
for sampler in tweedie euler predictor-corrector ancestral; do
    keeps_sets levels --steps 1 --sampler $sampler tweedie_limit=1e9
done

# Beyond the model's length: the context is kept, whatever follows.
sample --length 40 --json
lines 1 'length: each block sees only'
hides 'known positions'
sample --length 40 sample.context=4 sample.block=3 --prefix 'abc'
hints '4 sequences of 40'
lines 4 '^abc.{37}$'
sample --length 12 --seed 5
mv out short
sample --length 30 --seed 5
if [ "$(cut -c 1-12 out)" = "$(cat short)" ]; then
    pass
else
    fail 'the first block is not what a shorter request draws'
fi
# Event by event: no grid, and no fewer candidates than the 12 tokens that are redrawn from t = 1 on.
run 0 sample run -n 1 --sampler exact --json
holds 'exact: a call for each event' [ "$(number program_calls)" -ge 12 ]
says 'sampler: each jump has its own time and law'
hides 'steps: '
run 2 sample run --sampler exact --steps 4
# A stop cuts before the symbol; with the whole text given, at a known place.
sample --infill 'abc.efgh' --stop .
lines 4 '^abc$'

# What is said of a request, by what the model is.
for model in udlm mdlm radd; do
    rm -rf run
    sed -i "s/^model: .*/model: $model/; s/, cond: 4//" recipe.yaml
    run 0 train recipe.yaml -o run
    sample --prefix ab
    case $model in
    mdlm) hints 'heuristic: known positions: the share of masks' ;;
    radd) hints 'exact: known positions: a time-free network' ;;
    esac
    sample --sampler ancestral --temperature 0.5
    hints 'heuristic: temperature'
    hints 'heuristic: steps: symbols that change'
    keeps_sets run --sampler ancestral --steps 2 --temperature 1e30
    if [ $model = udlm ]; then
        keeps_sets run --sampler predictor-corrector --steps 2
        continue
    fi
    keeps_sets run --sampler exact --temperature 1e30
    keeps_sets run --sampler remask --steps 2 --temperature 1e30
    run 0 sample run -n 4 --sampler exact
    hints 'exact: sampler: each jump'
    sample --sampler confidence-keep-best
    hints 'heuristic: confidence-keep-best'
    for sampler in confidence-position confidence-keep-best; do
        run 0 sample run -n 4 --sampler $sampler
        hints 'heuristic: order: symbols come where the network is surest first'
        holds "$sampler: another law than the model's" [ "$(grep -c '^exact' "$top/err")" -eq 0 ]
        run 0 sample run -n 4 --sampler $sampler confidence_by=3
        holds "$sampler: any order is the model's" [ "$(grep -c 'order:' "$top/err")" -eq 0 ]
    done
    # Orders by each measure, probability unless another is named; at random it is another order.
    for sampler in confidence-position confidence-keep-best; do
        for by in 0 1 2 3; do
            sample --sampler $sampler confidence_by=$by
            lines 4 '^.{12}$'
            mv out by-$by
        done
        sample --sampler $sampler
        holds "$sampler: by probability" cmp -s out by-0
        holds "$sampler: at random" [ "$(cat by-3)" != "$(cat by-0)" ]
    done
    run 2 sample run --sampler confidence-position confidence_by=4
done

count_up
