#!/bin/sh
# Data of every kind, compressed or not, as `check` describes it and as a run reads it.
#   SEDGE=build/release/sedge sh tests/cli/test_data.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"
export OMP_NUM_THREADS=1
here=$(pwd)
data=$here/../shared/data
mkdir "$top/desk"
cd "$top/desk" || exit 1
recipe=$here/tests/bad/base/recipe.yaml

# data EXPECTED ARGUMENTS…: what is said of the data.
data() {
    expected=$1
    shift
    run 0 check "$recipe" "$@"
    says "data: $expected"
}

# --- each kind --------------------------------------------------------------------------------
i=0
while [ "$i" -lt 40 ]; do
    printf '{"id": %d, "text": "one %d\\ntwo"}\n' "$i" $((i % 10)) >>a.jsonl
    printf '>s%d\nACGTACGTACGTNACGTACGT\nACg\n' "$i" >>a.fa
    printf '@r%d\nACGTACGTAC\n+\nIIIIIIIIII\n' "$i" >>a.fq
    printf 'C(=O)N amide\n' >>a.smi
    printf 'a line\r\n\r\n' >>lines.txt
    i=$((i + 1))
done
{
    printf '\000\000\010\003\000\000\000\004\000\000\000\004\000\000\000\004'
    head -c 64 /dev/zero | tr '\000' '\377'
} >a.idx
# Documents of 9 symbols and one for the end; of 12 and 11; of 10; of 6 and one; of 16: a tenth is held
# out, and of the images a quarter. Molecules have a window each, sequences those that they fill.
kinds() {
    data 'jsonl, 17 symbols (chars), 360 training tokens, 5 held-out windows of 8' data.valid=0.1 "data.files=a.jsonl$1"
    data 'fasta, 4 symbols (chars), 828 training tokens, 8 held-out windows of 8' data.valid=0.1 "data.files=a.fa$1"
    data 'fastq, 4 symbols (chars), 360 training tokens, 4 held-out windows of 8' data.valid=0.1 "data.files=a.fq$1"
    data 'smiles, 7 symbols (chars), 252 training tokens, 4 held-out windows of 8' data.valid=0.1 "data.files=a.smi$1"
    data 'lines, 7 symbols (chars), 252 training tokens, 3 held-out windows of 8' data.valid=0.1 \
        "data.files=lines.txt$1" data.format=lines
    data 'idx, 16 symbols (chars), 48 training tokens, 2 held-out windows of 8' data.valid=0.25 "data.files=a.idx$1"
}
kinds ''
gzip -k a.* lines.txt
kinds .gz
data 'text, 8 symbols (chars)' data.files=lines.txt.gz
run 3 check "$recipe" data.files=a.jsonl data.field=id
hints 'a.jsonl:1:1: error: the field `id` is no text'

# --- one line of many bytes, and bytes that are no text ---------------------------------------
# A line of 200 MB that is broken at its end.
if sanitized; then
    skip 'a line of 200 MB: sanitizers need their own time'
else
    head -c 200000000 /dev/zero | tr '\000' a >long.txt
    printf '\377\n' >>long.txt
    run 3 train "$recipe" data.files=long.txt -o runs/long
    hints 'long.txt:1:200000001: error: not UTF-8: byte 0xff at offset 200000000'
    rm -f long.txt
fi
# At the level of bytes they are kept.
printf 'a\000b\377\376\r\n%064d' 0 >raw
run 3 check "$recipe" data.files=raw
hints 'raw:1:2: error: a NUL byte (0x00) at offset 1'
data 'text, 256 symbols (bytes), 36 training tokens' data.files=raw data.tokenizer=bytes vocab=256

# --- windows ----------------------------------------------------------------------------------
# Documents of 2 to 7 symbols and one for the end, in windows of 8: a row each.
i=0
while [ "$i" -lt 60 ]; do
    printf 'CCOCNCC\n' | cut -c "1-$((2 + i % 6))" >>b.smi
    i=$((i + 1))
done
small='dim=16 heads=2 layers=1 cond=8 length=8 dropout=0 train.minutes=0 train.eval_every=0 train.batch=4'
set -- data.files=b.smi data.valid=0.5 eval.sequences=30
data 'smiles, 4 symbols (chars), 165 training tokens, 30 held-out windows of 8' "$@"
digest() {
    sed -n 's/.*state digest //p' "$top/err"
}
run 0 train text $small "$@" data.windows=chunked train.steps=40 -o runs/whole
whole=$(digest)
run 0 train text $small "$@" data.windows=chunked train.steps=17 -o runs/parts
run 0 train text $small "$@" data.windows=chunked train.steps=40 -o runs/parts
holds 'a run that goes on sees the same windows' test "$(digest)" = "$whole"
run 0 train text $small "$@" data.windows=random train.steps=40 -o runs/random
holds 'drawn windows are others' test "$(digest)" != "$whole"
# What is drawn ends where a document does; asked to end elsewhere it goes on.
run 0 sample runs/whole -n 20 --json
hides '\n'
run 0 sample runs/whole -n 20 --json --stop N
says '\n'
run 0 train molecules ${small%% cond*} length=8 train.minutes=0 train.eval_every=0 train.batch=4 train.steps=3 \
    data.files=b.smi data.split=end data.valid=0.5 -o runs/molecules
run 0 sample runs/molecules -n 4
# 165 symbols in 30 windows: 5.5 of each are counted, whatever the batch.
run 0 eval runs/whole eval.batch=1 --json
says '"symbols_per_sequence": 5.5'
one=$(number nats_per_symbol)
run 0 eval runs/whole eval.batch=7 --json
seven=$(number nats_per_symbol)
holds "batches of 1 and 7: $one and $seven" \
    awk "BEGIN { d = $one - $seven; exit !($one > 0 && d < 1e-6 * $one && -d < 1e-6 * $one) }"
run 0 eval runs/whole
says '30 held-out windows of 8, spread over all, each on its own, 5.5 symbols of each counted'
data 'smiles, 4 symbols (chars), 165 training tokens, 20 held-out windows of 8' "$@" data.documents=joined
# The autoregressive baseline counts the same symbols but the first of each.
run 0 train text-gpt2 ${small% cond*} length=8 dropout=0 train.minutes=0 train.steps=5 "$@" -o runs/gpt2
run 0 eval runs/gpt2 --json
says '"symbols_per_sequence": 4.5'
# It slides, too: what a window shows again is given to it.
run 0 eval runs/gpt2 data.windows=sliding data.documents=joined data.stride=4 --json
says '"symbols_per_sequence": 4.'
# Where every symbol is given nothing is left, whatever is measured.
printf 'CC\nCO\nOC\nNC\n' >short.smi
for how in '' '--estimator published' '--order left'; do
    # shellcheck disable=SC2086 # options and their words
    run 3 eval runs/whole --data short.smi --given prefix:3 $how
    hints 'every symbol of the 4 held-out windows is given: nothing is left to score'
done
# Sliding by 3: a window and what each later one adds.
data 'lines, 7 symbols (chars), 140 training tokens, 45 held-out windows of 8' data.files=lines.txt data.format=lines \
    data.valid=0.5 data.windows=sliding data.stride=3
data '2 files by weight, 10 symbols (chars)' 'data.files=[lines.txt, b.smi]' 'data.weights=[3, 1]' data.format=lines

# --- tokens that are kept ---------------------------------------------------------------------
set -- data.files=lines.txt data.cache=kept/here
run 0 train text $small "$@" train.steps=3 -o runs/encoded
encoded=$(digest)
run 0 train text $small "$@" train.steps=3 -o runs/mapped
holds 'tokens that were kept are the same' test "$(digest)" = "$encoded"
holds 'one file is kept' test "$(ls -A kept/here | wc -l)" -eq 1
printf x >>"$(ls kept/here/*)"
run 0 train text $small "$@" train.steps=3 -o runs/broken
holds 'a broken one is made anew' test "$(digest)" = "$encoded"
run 0 train text $small data.files=lines.txt data.cache=off train.steps=4 -o runs/mapped
hints 'resumed at step 3'
run 0 eval runs/encoded --json
# A run of before there were these keys goes on where they say what was.
sed -i '/^  \(format\|field\|letters\|levels\|documents\|windows\|stride\|split\|cache\):/d' runs/encoded/config.yaml
run 0 train text $small data.files=lines.txt train.steps=4 -o runs/encoded
hints 'resumed at step 3'
run 2 train text $small data.files=lines.txt train.steps=5 data.windows=chunked -o runs/encoded
hints 'data.windows: random there, chunked now'

# --- nothing half-written ---------------------------------------------------------------------
head -c 100 a.jsonl.gz >cut.jsonl.gz
run 3 train "$recipe" data.files=cut.jsonl.gz -o runs/new
hints 'cut.jsonl.gz: error: the gzip file ends in the middle, after 100 bytes'
holds 'a run on broken data leaves nothing' test ! -e runs/new

# --- files of ids, and published data ---------------------------------------------------------
run 0 tokens "$here/tests/golden/bpe/text.txt" --tokenizer "gpt2:$here/tests/golden/bpe" -o ids.safetensors
data 'tokens, 640 symbols (gpt2), 2374 training tokens, 32 held-out windows of 8' data.files=ids.safetensors \
    "data.tokenizer=gpt2:$here/tests/golden/bpe" data.valid=0.1 vocab=640
if [ -d "$data" ]; then
    data 'fasta, 4 symbols (chars), 4848 training tokens' "data.files=$data/dna/phix.fa" data.valid=0.1
    data 'jsonl, 115 symbols (chars), 1502111 training tokens' "data.files=$data/lambada/lambada_test.jsonl" \
        data.valid=0.1 vocab=115
    data 'idx, 16 symbols (chars), 7056000 training tokens, 1000 held-out windows of 784' \
        "data.files=$data/mnist/t10k-images-idx3-ubyte" data.valid=0.1 length=784
else
    skip 'published data: it is not there'
fi
count_up
