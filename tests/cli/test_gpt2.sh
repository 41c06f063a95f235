#!/bin/sh
# The autoregressive model by the commands: its likelihood in windows side by side, its texts with a
# cache and without, and beside a diffusion model.
#   SEDGE=build/release/sedge sh tests/cli/test_gpt2.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"
export OMP_NUM_THREADS=1
cd "$top" || exit 1

for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    printf 'abcd efgh ijkl mnop qrst uvwx yz._ ' # one line: what is drawn holds no newline
done >text.txt
recipe() {
    printf 'sedge: 1\nmodel: %s\npreset: tiny\nparams: {length: 8, dim: 8, heads: 2, layers: 1, dropout: 0%s}\n' "$1" "$2"
    printf 'data: {files: [text.txt], valid: 0.5}\ntrain: {steps: 3, batch: 2, eval_every: 2}\n'
    printf 'eval: {batch: 7, sequences: 20}\nsample: {count: 5, batch: 2, sampler: %s}\n' "$3"
}
recipe gpt2 ', positions: 8' left-to-right >left.yaml
recipe sedd-absorb ', cond: 4' tweedie >sedd.yaml
run 0 train left.yaml -o run
hints 'held-out -log p'
hints 'lowest held-out -log p'
run 0 train sedd.yaml -o sedd

# measure ARGUMENTS…: the likelihood, in $nats.
measure() {
    run 0 eval run --json "$@"
    nats=$(number nats_per_symbol)
}
# near A B: the same to rounding.
near() {
    awk "BEGIN {d = $1 - $2; exit !(d < 1e-9 && d > -1e-9)}"
}
measure
by_seven=$nats
measure eval.batch=1
holds "batches of 1 and 7: $nats, $by_seven" near "$nats" "$by_seven"
measure --given prefix:1
holds "the first symbol is given: $nats, $by_seven" near "$nats" "$by_seven"
run 0 eval run
says 'given its first symbol; exact, each symbol given those before it'
says '-log p, exact'
says 'perplexity exactly'
run 0 eval run --per-position -
tab=$(printf '\t')
says "1$tab"
holds 'the first position has no likelihood' test "$(grep -c "^0$tab" out)" -eq 0

# Beside it, what counts of symbols and pairs come to: of the same symbols, those from place FROM on of each window.
anchors() {
    from=$1
    shift
    run 0 eval "$@" --json
    for name in unigram bigram; do
        counted=$(awk -v from="$from" -v name=$name '
            { text = $0 }
            END {
                n = length(text)
                cut = n - int(n * 0.5)
                for (i = 1; i <= n; i++)
                    symbols += !seen[substr(text, i, 1)]++
                for (i = 1; i <= cut; i++) {
                    count[substr(text, i, 1)]++
                    if (i < cut) {
                        first[substr(text, i, 1)]++
                        pair[substr(text, i, 2)]++
                    }
                }
                for (w = cut; w + 8 <= n; w += 8)
                    for (i = from; i < 8; i++) {
                        if (name == "unigram" || i == 0)
                            sum += log((cut + symbols) / (count[substr(text, w + i + 1, 1)] + 1))
                        else
                            sum += log((first[substr(text, w + i, 1)] + symbols) / (pair[substr(text, w + i, 2)] + 1))
                        scored++
                    }
                printf "%.12g", sum / scored
            }' text.txt)
        holds "$what: $name $(number $name), counted $counted" near "$(number $name)" "$counted"
    done
}
anchors 1 run
anchors 3 run --given prefix:3
anchors 0 sedd
anchors 2 sedd --given prefix:2
run 0 eval sedd --json --given but-one
hides '"unigram"'

run 0 compare run sedd eval.given=prefix:1
says 'exact'
run 0 compare run run eval.given=prefix:3
says '+0.0000 ± 0.0000'

# Sliding windows score each of the 210 held-out symbols once, but the first; and the first window as it is.
run 0 eval run --json --per-sequence side eval.sequences=1000
for stride in 1 3 7; do
    run 0 eval run --json --per-sequence slide eval.sequences=1000 data.windows=sliding data.stride=$stride
    holds "stride $stride: all but one of the symbols" \
        awk "BEGIN {n = $(number sequences) * $(number symbols_per_sequence); exit !(n > 208.99 && n < 209.01)}"
    holds "stride $stride: the first window" near "$(sed -n 2p slide | cut -f 2)" "$(sed -n 2p side | cut -f 2)"
done
run 0 compare run sedd eval.given=prefix:1 data.windows=sliding data.stride=2

# texts ARGUMENTS…: drawn with a cache and without, in $top/cached and $top/out.
texts() {
    run 0 sample run "$@"
    cp out cached
    run 0 sample run --sampler left-to-right-uncached "$@"
    holds "$what: the same with a cache" cmp -s out cached
}
texts
hints 'exact: sampler: each symbol is drawn by its law given those before it'
hints 'heuristic: first symbol'
texts --temperature 0.7 --top-k 5 --top-p 0.9
texts --prefix 'ab'
holds 'all begin so' test "$(grep -c '^ab.\{6\}$' out)" -eq 5
hints 'exact: known positions'
texts --length 3 --seed 2
holds 'three symbols each' test "$(grep -c '^...$' out)" -eq 5
texts --prefix 'ab' --length 21
holds 'longer than the model' test "$(grep -c '^ab.\{19\}$' out)" -eq 5
printf 'ab\nabc\nabcd\n' >prompts
texts --template prompts
holds 'prompts of their own lengths' test "$(grep -c '^ab' out)" -eq 3
run 0 sample run --top-k 1 --prefix a -n 2
holds 'the likeliest, each time' test "$(sort -u out | wc -l)" -eq 1
run 0 sample run --prefix abcdefgh -n 1
holds 'nothing is left to draw' grep -qx abcdefgh out
run 0 sample run sample.batch=5
cp out five
run 0 sample run sample.batch=1
holds 'batches draw the same' cmp -s out five

count_up
