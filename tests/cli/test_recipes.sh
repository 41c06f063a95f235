#!/bin/sh
# Every recipe that ships, with a network of a few thousand parameters: it trains, what it learns shows in
# the bound, and each sampler of its model draws from it in a few steps.
#   SEDGE=build/release/sedge sh tests/cli/test_recipes.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"
export OMP_NUM_THREADS=1
models=$(pwd)/models
cd "$top" || exit 1
small='dim=16 heads=2 layers=1 length=8 train.minutes=0 train.eval_every=0 train.batch=16 train.warmup=5'
small="$small train.schedule=constant train.lr=0.01 eval.sequences=64 eval.times=4"

# bound RUN: of the weights themselves; nats a symbol, in $nats.
bound() {
    run 0 eval "$1" --raw --json
    nats=$(number nats_per_symbol)
}
# samplers RUN: each loop of its model draws two texts, those on a grid in few steps. A name that no model has is
# answered by those it has.
samplers() {
    run 2 sample "$1" --sampler qqqqqqqq
    loops=$(sed -n 's/^ *its loops: //p' "$top/err" | tr -d ,)
    holds "$1: has loops" test -n "$loops"
    for loop in $loops; do
        set -- "$1" --sampler "$loop" -n 2
        case $loop in
        left-to-right*) ;;
        exact*) set -- "$@" tweedie_limit=1e9 ;;
        *) set -- "$@" tweedie_limit=1e9 --steps 4 ;;
        esac
        case $loop in
        guided) set -- "$@" --label harbour ;;
        esac
        run 0 sample "$@"
        holds "$1: $loop draws two texts" test "$(wc -l <"$top/out")" -ge 2
    done
}
# learns NAME RECIPE SETTINGS…: the bound after 40 updates lies below that after one.
learns() {
    name=$1 recipe=$2
    shift 2
    # shellcheck disable=SC2086
    run 0 train "$recipe" $small "$@" train.steps=1 -o "$name-1"
    # shellcheck disable=SC2086
    run 0 train "$recipe" $small "$@" train.steps=40 -o "$name"
    bound "$name-1"
    untrained=$nats
    bound "$name"
    holds "$name: a bound of $nats after 40 updates, $untrained after one" \
        awk "BEGIN {exit !($nats > 0 && $nats < $untrained)}"
    given=but-one
    [ "$name" != quickstart-gpt2 ] || given=prefix:5 # the rest of a window: it has no other order
    run 0 eval "$name" --raw --given $given --json
    holds "$name: a missing word has a true law" awk "BEGIN {exit !($(number truth) > 0)}"
}

for recipe in "$models"/recipes/quickstart*.yaml; do
    name=$(basename "$recipe" .yaml)
    case $name in
    *-enumerated) learns "$name" "$name" length=3 train.accumulate=2 ;; # 27 sequences, not 6561
    *) learns "$name" "$name" ;;
    esac
    samplers "$name"
done
# The implicit loss is another number, and trains the same network.
run 0 eval quickstart-enumerated --raw --json
plain=$(number nats_per_symbol)
# shellcheck disable=SC2086
run 0 train quickstart-enumerated $small length=3 train.accumulate=2 implicit=1 train.steps=40 -o implicit
first_loss() {
    sed -n '1s/.*"loss": \([^,]*\),.*/\1/p' "$1/metrics.jsonl"
}
holds "implicit: a first loss of $(first_loss implicit), $(first_loss quickstart-enumerated) by the plain one" \
    awk "BEGIN {d = $(first_loss implicit) - $(first_loss quickstart-enumerated); exit !(d != 0)}"
run 0 eval implicit --raw --json
holds "implicit: a bound of $(number nats_per_symbol), $plain by the plain one" \
    awk "BEGIN {d = $(number nats_per_symbol) - $plain; exit !(d < 1e-3 && d > -1e-3)}"
# The language of the others, too, has an order in which neighbours can be jumped to.
learns words quickstart-ordinal data.files=grammars/quickstart.yaml
run 0 sample words -n 2 --steps 4 --sampler tweedie
holds 'words: draws two texts' test "$(wc -l <"$top/out")" -ge 2

# All 256 bytes in a row forget where they were only beyond sigma 46,000: exp(-1e5 (pi / 256)^2) of the slowest
# wave, 2 / pi of it in total variation, is 1.8e-7 at 1e5. `tweedie` goes there in steps below a limit.
far='process.noise={geometric: {min: 1.0e-4, max: 1.0e+5}}'
run 0 check ordinal preset=tiny vocab=256 "$far"
says 'at t = 1 the law is 1.83e-07 from the stationary one'
# shellcheck disable=SC2086
run 0 train quickstart-ordinal $small data.tokenizer=bytes "$far" train.batch=2 train.steps=1 -o wide
run 0 sample wide -n 2 --steps 4 --sampler ancestral
holds 'wide: draws two texts by ancestral' test "$(wc -l <"$top/out")" -ge 2
run 0 sample wide -n 2 --steps 4 --sampler tweedie tweedie_limit=40000
holds 'wide: draws two texts by tweedie' test "$(wc -l <"$top/out")" -ge 2
hints 'steps were inserted'

# Chains small enough are shown, by the names of the data. The numbers are those of the closed forms: three
# states with rates 1, (1 + 2 exp(-3 sigma)) / 3 stay and (1 - exp(-3 sigma)) / 3 go to either other; under
# masking exp(-sigma) stay.
run 0 check quickstart-three-states
says '                   a         b         c'
says '         b         1        -2         1'
says '         a    0.8272   0.08639   0.08639'
says '         c     0.259     0.259    0.4821'
run 0 check quickstart-four-states
says '                   a         b         c      mask'
says '         c         0         0        -1         0'
says '         c         0         0    0.9048         0'
says '      mask    0.3935    0.3935    0.3935         1'
run 0 check quickstart
hides 'exp(sigma Q)'
# Without data the states have numbers.
run 0 check mix preset=tiny vocab=2 length=8
says '                   0         1      mask'

count_up
