#!/bin/sh
# Bounds of runs: estimators, given positions, orders, tables, and runs side by side.
#   SEDGE=build/release/sedge sh tests/cli/test_compare.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"

models=$(pwd)/models
cd "$top" || exit 1
small='preset=tiny dim=16 heads=2 layers=1 cond=8 length=8 train.minutes=0 train.eval_every=0 train.batch=8'
train() {
    name=$1
    shift
    # shellcheck disable=SC2086
    run 0 train quickstart $small "$@" -o "$name"
}
train a train.steps=3
train b train.steps=6
train uniform model=sedd-uniform train.steps=3
train long train.steps=1 length=9
train seed train.steps=1 train.seed=2
N=eval.sequences=20

# --- estimators -----------------------------------------------------------------------------
run 0 eval a $N
says 'stratified, 18 network calls a sequence'
says 'integral of the score entropy'
holds 'each term has an error' test "$(grep -c '±' "$top/out")" -ge 6
for name in quadrature random; do
    run 0 eval a $N --estimator $name
    says "$name, 18 network calls a sequence"
done
run 0 eval a $N --estimator published
says 'published - strict'
says 'published, 2 network calls a sequence'
run 0 eval a $N --estimator exact-k
says 'exact-k (sigma_k), 16 network calls a sequence'
run 0 bench a $N --estimators --json
says '"share_of_calls"'
says '"share_stderr"'
run 0 bench a $N --estimators
holds 'a share with its error, but for what it is a share of' [ "$(grep -c '% ± ' out)" -eq 3 ]
run 0 eval uniform $N
run 2 eval uniform $N --estimator exact-k
hints 'exact-k counts masked positions'
run 2 eval uniform $N --order left
hints '--order counts masked positions'
# Scores as the network gives them, of which no law of the clean token is taken.
run 0 eval a $N process.project=off
says 'each on its own, scores not projected; '
run 2 eval a $N process.project=off --estimator exact-k
hints 'exact-k asks for a law of the clean token'
run 2 eval a $N process.project=off --order left
hints '--order asks for a law of the clean token'
run 2 sample a process.project=off --sampler ancestral
hints 'set process.project=on, or sample by tweedie, euler, euler-linear, predictor-corrector'
run 0 sample a process.project=off --sampler euler
hints ', scores not projected'
run 0 sample uniform -n 2 process.project=off --sampler exact cap=1
hints 'times a rate was above its bound and was cut'
hints 'heuristic: sampler: rates that were above'
holds 'then it is not exact' [ "$(grep -c '^exact' "$top/err")" -eq 0 ]
run 2 eval a $N --estimator strat
hints 'is one of: stratified quadrature random exact-k published'
# The model tells these sequences hardly apart: of two draws each, noise is all that is seen for some seeds.
for seed in 1 2 3 4 5 6 7 8; do
    run 0 eval a $N eval.times=2 sample.seed=$seed
    grep -qF 'sequences not resolved)' "$top/out" && break
done
says 'sequences not resolved)'
hides 'sequences 0.0000'
run 0 eval a $N eval.times=2 sample.seed=$seed --json
says '"stderr_sequences": null'

# --- a part given the rest, and tables ------------------------------------------------------
run 0 eval a $N --given prefix:3 --json --per-position positions --per-sequence sequences
says '"symbols_per_sequence": 5'
says '"given": "prefix:3"'
says '"integral_stderr"'
total=$(awk 'NR > 1 {s += $2} END {printf "%.6f", s / 5}' positions)
holds 'the table of positions adds up to the bound' \
    awk "BEGIN {d = $total - $(number nats_per_symbol); exit !(d < 1e-5 && d > -1e-5)}"
total=$(awk 'NR > 1 {s += $2} END {printf "%.6f", s / 20 / 5}' sequences)
holds 'the table of sequences adds up to the bound' \
    awk "BEGIN {d = $total - $(number nats_per_symbol); exit !(d < 1e-5 && d > -1e-5)}"
echo 1010 0101 >mask
run 0 eval uniform $N --given mask --json
says '"symbols_per_sequence": 4'
run 0 eval a $N --given every:2 --json
says '"symbols_per_sequence": 4'
says '"truth"' # of the grammar: what is left given what is known has a law as well
run 0 eval a $N --given but-one --estimator exact-k --json
says '"symbols_per_sequence": 1'
says '"protocol": "20 held-out windows of 8, spread over all, each on its own, given all but one position;'
says '"integral_stderr_noise": 0.0' # one position is masked in every draw: the law itself
holds 'a missing word costs no less than by the true law' \
    awk "BEGIN {exit !($(number gap) > 0 && $(number truth) > 0)}"
# Which one moves from window to window: the mean of a position is over its own, and 0 to 3 have one more.
run 0 eval a $N --given but-one --estimator exact-k --json --per-position positions
total=$(awk 'NR > 1 {s += $2 * ($1 < 4 ? 3 : 2)} END {printf "%.6f", s / 20}' positions)
holds 'windows without each position add up to the bound' \
    awk "BEGIN {d = $total - $(number nats_per_symbol); exit !(d < 1e-5 && d > -1e-5)}"
run 0 eval a $N eval.sequences=3 --given but-one --estimator exact-k --per-position positions
holds 'a position that no window leaves out has no row' test "$(wc -l <positions)" -eq 4
run 0 eval uniform $N --given but-one
says 'bound - truth'
run 2 eval a $N --per-position --per-sequence
holds 'an option is no name of a file' [ ! -e --per-sequence ]
run 0 eval a $N --per-sequence ./--table
holds 'a name like an option: behind ./' [ -s ./--table ]
run 0 eval a $N --per-sequence -
says 'index	nats	stderr	truth'

# --- one free symbol of a known language ----------------------------------------------------
# A sister keeps with 2/3 and loses with 1/3. Of four draws X of the former E|X/4 - 2/3| is 16/81.
train toy data.files=grammars/toy.yaml train.steps=3
run 0 sample toy -n 4 --infill 'my sister {mask} the map. my brothers keep'
hints '1 text with one free symbol: total variation'
hints "from the grammar's law, by chance 0.198"
run 0 sample toy -n 600 --infill 'my sister {mask} the map. my brothers keep' --json
says '"one_free": {'
hides '"one_free_forced"'
grep '"my sister' out | awk '{ n[$3]++ } END {
    keeps = n["keeps"] / NR - 2 / 3; loses = n["loses"] / NR - 1 / 3; others = NR - n["keeps"] - n["loses"]
    print ((keeps < 0 ? -keeps : keeps) + (loses < 0 ? -loses : loses) + others / NR) / 2 }' >apart
holds 'total variation, counted again' awk "BEGIN { d = $(number total_variation) - $(cat apart); exit !(d < 1e-5 && d > -1e-5) }"
holds 'some of it is right' awk "BEGIN { exit !($(cat apart) < 0.99) }"
printf '%s\n' 'my sister {mask} the map. my brothers keep' 'my {mask} keep the map. my sister loses' \
    'my {mask} {mask} the map. my sister loses' 'my my {mask} my my my my my' >holes
run 0 sample toy -n 400 --template holes
hints '1 text with one free symbol: total'
hints '1 text with one free symbol, of which one is right: total'
hints 'by chance 0.000'
run 0 sample a -n 4
holds 'nothing free, nothing said' [ "$(grep -c 'one free' err)" -eq 0 ]

# --- orders ---------------------------------------------------------------------------------
run 0 eval a $N --order left --json
says '"estimator": "order left"'
says '"calls_per_sequence": 8'
left=$(number nats_per_symbol)
echo 0 1 2 3 4 5 6 7 >order
run 0 eval a $N --order order --json
holds 'the order of a file' test "$(number nats_per_symbol)" = "$left"
run 0 eval a $N --order random
says '-log p in this order, exact'

# --- side by side ---------------------------------------------------------------------------
run 0 compare a b $N
says 'the same noise for all'
says '| b | sedd-absorb |'
run 0 compare a a $N
says '+0.0000 ± 0.0000 |'
# A bound without `turn`: no draws share their noise then, so that the same weights come to the same.
sed 's/\[sedd-network/[turnless.yaml, sedd-network/; s/ bound.yaml,//' "$models/sedd-absorb.yaml" >still.yaml
sed 's/, turn: turn//; /^ *turn:/d' "$models/bound.yaml" >turnless.yaml
train still model="$top/still.yaml" train.steps=3
run 0 compare a still a $N
holds 'with a run that cannot share noise' test "$(grep -c '+0.0000 ± 0.0000 |' "$top/out")" -eq 2
run 0 compare still a $N
says '+0.0000 ± 0.0000 |'
run 0 compare a uniform b $N --json
holds 'three runs' test "$(grep -c '"run":' "$top/out")" -eq 3
alone=$("$SEDGE" eval a $N --json | sed -n 's/^ *"nats_per_symbol": \(.*\),$/\1/p')
holds 'the first is as eval has it' test "$(number nats_per_symbol)" = "$alone"
run 3 compare a long $N
hints 'a and long differ in length'
run 3 compare a seed $N
hints 'a and seed differ in their held-out data'
run 2 compare a
hints 'usage: sedge compare'

count_up
