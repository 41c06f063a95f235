#!/bin/sh
# sedge judge: what is counted of samples, beside real text.
#   SEDGE=build/release/sedge sh tests/cli/test_judge.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"

here=$(pwd)
mkdir "$top/desk"
cd "$top/desk" || exit 1

# By hand: three lines of 8, 8 and 4 bytes; `abab` and `baba` stand twice in the first two each.
printf 'abababab\nabababab\ncdef\n' >lines
run 0 judge lines --json
holds 'three texts' test "$(number texts)" = 3
holds '20 symbols' test "$(number symbols)" = 20
# (2 log 2 + log 4) / 3
holds 'entropy' test "$(number entropy)" = 0.924196241
# 6 of 20, and of 4-grams: 3 of each eight are repeated, of 11.
holds 'repeated 4-grams' test "$(number repeated)" = 0.545454545
holds 'equal to an earlier one' test "$(number twice)" = 0.333333333
holds 'distinct' grep -q '^ *0.3,$' "$top/out"
run 0 judge lines
says 'repeated 4-grams                          0.5455'
quiet
# Real text is cut as long as samples are: here into 7 symbols.
printf 'a quick brown fox jumps over the lazy dog, and so does another one' >real
run 0 judge lines --real real
says 'real text: 9 pieces of 7 symbols, of which one in 3 is taken'
hints 'the samples vary less than real text (entropy 0.92, not 1.88 nats)'
sed 's/ /\n/g' real >words
run 0 judge real --real words --format lines
hides 'pieces of'
quiet
# What sedge sample prints: strings, and ids where they are no text.
printf '{"texts": ["abab", [255, 0, 97]], "seed": 1}' >samples.json
run 0 judge samples.json --json
holds 'two texts of 7 symbols' test "$(number texts) $(number symbols)" = '2 7'
holds 'one is malformed' test "$(number malformed)" = 0.5
printf '{"texts": ["abab", [256, 0, 97]]}' >more.json
run 0 judge more.json # the mask of 256 bytes
printf '{"texts": [[257]]}' >many.json
run 3 judge many.json
hints 'many.json: a text is no list of ids of 256 symbols'
printf '{"texts": ["abab", 7]}' >seven.json
run 3 judge seven.json
hints 'seven.json: a text is no list of ids of 256 symbols'
printf '{"texts": ["abab", ' >cut.json
run 3 judge cut.json
hints 'cut.json: line 1 is no JSON'
printf '{"texts": []}' >none.json
run 3 judge none.json
hints 'none.json: holds no texts'
printf 'ab\377\nab\n' >broken
run 0 judge broken --json
holds 'broken UTF-8 is malformed' test "$(number malformed)" = 0.5
# Molecules: one is not closed, one is real, one stands twice.
printf 'CCO\nC1CC\nCCO\nCC(=O)O\n' >drawn.smi
printf 'CCO ethanol\nc1ccccc1 benzene\n' >known.smi
run 0 judge drawn.smi --real known.smi --json
holds 'a molecule is closed' test "$(number malformed)" = 0.25
holds 'a molecule is new' test "$(number found)" = 0.333333333
printf '{"texts": ["CCO", "C(C"]}' >drawn.json
run 0 judge drawn.json --format smiles --real known.smi
says 'malformed                                 0.5000                0.0000'
says 'of different, also real                   0.5000'
# As a tokenizer reads them.
run 0 judge "$here/tests/golden/bpe/text.txt" --format text --tokenizer "gpt2:$here/tests/golden/bpe" --json
holds 'symbols are those of the tokenizer' test "$(number symbols)" = 2637
run 0 tokens "$here/tests/golden/bpe/text.txt" --tokenizer "gpt2:$here/tests/golden/bpe" -o ids.safetensors
run 0 judge ids.safetensors --tokenizer "gpt2:$here/tests/golden/bpe" --json
holds 'a file of ids' test "$(number symbols)" = 2637
holds 'one text has no error' grep -q '"entropy_error": null' "$top/out"
run 3 judge lines --real broken --format text --tokenizer "gpt2:$here/tests/golden/bpe/none"
run 3 judge absent
hints 'absent'
run 2 judge lines --format prose
hints 'there is no format `prose` of data'
printf 'ab' >short
run 3 judge lines --real short
hints 'short: is shorter than a sample'
# --- by a judge -----------------------------------------------------------------------------
text=$here/tests/golden/bpe/text.txt
cat >gpt.yaml <<EOF
sedge: 1
model: gpt2
params: {dim: 16, heads: 2, layers: 2, length: 16, positions: 16, dropout: 0}
data: {files: [$text], tokenizer: bytes, valid: 0.1}
train: {steps: 20, batch: 8, lr: 3.0e-3, eval_every: 0}
eval: {batch: 7}
EOF
run 0 train gpt.yaml -o gpt
# Forty windows of one text: `eval` reads the same ones.
head -c 640 "$text" >forty
run 0 eval gpt --data forty --json
eval_nats=$(number nats_per_symbol)
run 0 judge forty --format text --by gpt --json
holds "the nats of eval, $eval_nats" test "$(number nats | cut -c 1-9)" = "$(echo "$eval_nats" | cut -c 1-9)"
cp "$top/out" by7
run 0 judge forty --format text --by gpt --json eval.batch=1
holds 'the same in batches of one' cmp -s "$top/out" by7
# Lines one by one: all their nats over all their tokens but the first.
head -n 5 lines >five
run 0 judge five --by gpt --json
cp "$top/out" five.json
run 0 judge five --by gpt --json eval.batch=100
holds 'and of a hundred' cmp -s "$top/out" five.json
printf 'a\nb\n' >single # nothing is scored
run 0 judge single --by gpt
says 'texts                                          2'
run 2 judge lines eval.batch=3
hints '`eval.batch` is a key of a judge, and there is none'
run 2 judge lines --by gpt --tokenizer bytes
hints '--by and --tokenizer exclude each other'
run 3 judge more.json --by gpt
hints 'more.json: a text is no list of ids of 256 symbols'
run 2 judge lines --by absent
hints 'absent is no run'
sed 's/gpt2/radd/; s/positions: 16, //' gpt.yaml >radd-run.yaml
run 0 train radd-run.yaml -o radd
run 2 judge lines --by radd
hints 'radd is no judge: of its model only a bound of the likelihood is known'
count_up
