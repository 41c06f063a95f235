#!/bin/sh
# sedge tokens: ids of published texts, back again, vocabularies learned; and a run with such a
# vocabulary, which then needs nothing but its folder.
#   SEDGE=build/release/sedge sh tests/cli/test_tokens.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"

here=$(pwd)
small=gpt2:$here/tests/golden/bpe
text=$here/tests/golden/bpe/text.txt
data=$here/../shared/data
mkdir "$top/desk"
cd "$top/desk" || exit 1

# --- ids and back ---------------------------------------------------------------------------
run 0 tokens "$text" --tokenizer "$small"
says '2637 tokens of 6537 bytes: 2.479 bytes a token, of 640 symbols'
quiet
run 0 tokens "$text" --tokenizer "$small" --count
says 2637
run 0 tokens "$text" --tokenizer "$small" --ids
cp "$top/out" ids
holds 'as many ids as --count says' test "$(wc -l <ids)" -eq 2637
run 0 tokens ids --tokenizer "$small" --decode
holds 'ids decode to the text' cmp -s "$top/out" "$text"
run 0 tokens "$text" --tokenizer "$small" -o ids.safetensors
run 0 tokens ids.safetensors --tokenizer "$small" --decode -o back
holds 'a file of ids decodes to the text' cmp -s back "$text"
what='a file of ids on standard input'
"$SEDGE" tokens - --tokenizer "$small" --decode <ids.safetensors >"$top/out" 2>"$top/err"
holds 'a file of ids has a name' test $? -eq 2
hints 'a file of ids that -o wrote is mapped, and standard input cannot be'
run 0 tokens ids.safetensors --tokenizer "$small/tokenizer.json" --decode
holds 'the same vocabulary from another file' cmp -s "$top/out" "$text"
"$SEDGE" tokens - --tokenizer "$small" --ids <"$text" >"$top/out" 2>"$top/err"
holds 'standard input' cmp -s "$top/out" ids
# What is no text stays what it is; so do line ends.
printf 'a\000b\377\376 the\r\n\r\n\303(\n' >raw
run 0 tokens raw --tokenizer "$small" -o raw.safetensors
run 0 tokens raw.safetensors --tokenizer "$small" --decode
holds 'any bytes come back' cmp -s "$top/out" raw
run 0 tokens raw --tokenizer bytes --ids
holds 'bytes are ids' test "$(tail -n 1 "$top/out")" -eq 10

# --- one line of many bytes -------------------------------------------------------------------
# One piece from end to end, in memory that its ids do not exceed by much.
if sanitized; then
    skip 'a line of 40 MB in little memory: sanitizers map their own'
else
    head -c 40000000 /dev/zero | tr '\000' a >line
    (
        ulimit -v 1500000
        OMP_NUM_THREADS=1 "$SEDGE" tokens line --tokenizer "$small" --count
    ) >"$top/out" 2>"$top/err"
    what='a line of 40 MB'
    says 40000000
    rm -f line
fi

# --- learning -------------------------------------------------------------------------------
run 0 tokens --learn 640 -o learned "$text"
says '640 symbols, 383 merges in learned: data.tokenizer=gpt2:learned'
holds 'merges are those of the reference' cmp -s learned/vocab.bpe "$here/tests/golden/bpe/vocab.bpe"
# Megabytes, so that there is something to divide; and as several files, in another order.
for folder in graph passes runtime tools tests; do
    find "$here/$folder" -name '*.[ch]' | sort | xargs cat >"$folder.c"
done
cat graph.c passes.c runtime.c tools.c tests.c >code.c
OMP_NUM_THREADS=1 "$SEDGE" tokens --learn 2000 -o one code.c >"$top/out" 2>"$top/err"
OMP_NUM_THREADS=3 "$SEDGE" tokens --learn 2000 -o three code.c >"$top/out" 2>"$top/err"
OMP_NUM_THREADS=2 "$SEDGE" tokens --learn 2000 -o five tests.c tools.c runtime.c passes.c graph.c \
    >"$top/out" 2>"$top/err"
holds 'much to divide' test "$(wc -c <code.c)" -gt 2100000
holds 'as many merges as were asked for' test "$(wc -l <one/vocab.bpe)" -eq 1744
holds 'the same for any number of threads' cmp -s one/vocab.bpe three/vocab.bpe
holds 'the same for any order of texts' cmp -s one/vocab.bpe five/vocab.bpe
holds 'ids too' cmp -s one/encoder.json three/encoder.json
# A full disk leaves nothing: neither file, nor a part of one.
if mkdir full && mount -t tmpfs -o size=8k none full 2>/dev/null; then
    run 1 tokens --learn 640 -o full "$text"
    hints 'cannot make room for it: No space left on device'
    holds 'nothing half written' test -z "$(ls full)"
    run 1 tokens "$text" --tokenizer "$small" -o full/ids
    holds 'no ids half written' test -z "$(ls full)"
    umount full
else
    skipped=$((skipped + 1))
    echo 'SKIP a full disk: no right to mount one'
fi

# What ends it before the file is begun leaves none. (A script's background jobs do not hear Ctrl-C.)
head -c 60000000 /dev/zero | tr '\000' a >line
cat >stop.sh <<'END'
"$SEDGE" tokens line --tokenizer "$1" -o line.ids >said 2>&1 &
sleep 0.5
kill -TERM $!
wait $!
END
SEDGE=$SEDGE sh stop.sh "$small" 2>/dev/null
holds 'ended by a signal' test $? -eq 143
holds 'nothing half written' test ! -e line.ids
holds 'and nothing beside it' test -z "$(ls line.ids* 2>/dev/null)"
rm -f line

# --- a run ----------------------------------------------------------------------------------
cat >recipe.yaml <<END
sedge: 1
model: sedd-absorb
preset: tiny
params: {length: 16, dim: 32, layers: 1, heads: 2, cond: 16}
data: {files: [text.txt], tokenizer: gpt2:learned, valid: 0.2}
train: {batch: 4, steps: 6, checkpoint_every: 3, eval_every: 0}
eval: {batch: 4, sequences: 4, times: 2}
sample: {count: 2, steps: 4}
END
cp "$text" text.txt
run 0 train recipe.yaml -o runs/a
run 0 eval runs/a
sed 1d "$top/out" >bound
run 0 sample runs/a --prefix ' the training' --seed 3
holds 'the text given is kept' grep -q ' the training' "$top/out"
cp "$top/out" drawn
# The same recipe goes on from where the run is; another vocabulary of this size is other data.
run 0 train recipe.yaml train.steps=8 -o runs/a
run 0 train recipe.yaml -o runs/b
mv learned elsewhere
run 0 eval runs/b
sed 1d "$top/out" >again.bound
holds 'a run has its vocabulary' cmp -s again.bound bound
run 0 sample runs/b --prefix ' the training' --seed 3
holds 'and draws with it' cmp -s "$top/out" drawn
run 0 sample runs/b --infill ' the{set: the| of}{mask:2}' --stop '<|endoftext|>'
run 0 tokens text.txt --tokenizer runs/b/vocabulary.json --ids
holds 'ids by the vocabulary of a run' cmp -s "$top/out" ids
cp -R runs/b runs/moved
run 0 train recipe.yaml train.steps=7 data.tokenizer=gpt2:elsewhere -o runs/moved
head -c 4000 text.txt >part.txt
"$SEDGE" tokens --learn 640 -o learned part.txt text.txt >/dev/null
run 3 train recipe.yaml train.steps=9 -o runs/b
hints 'the data'

# --- WordPiece --------------------------------------------------------------------------------
bert=bert:$here/tests/golden/wordpiece
printf 'The  TRAINING,\r\ncaf\303\251' >words
run 0 tokens words --tokenizer "$bert" --ids
cp "$top/out" word.ids
run 0 tokens word.ids --tokenizer "$bert" --decode
says 'the training , cafe'
run 0 train recipe.yaml "data.tokenizer=$bert" -o runs/c
run 0 eval runs/c
run 0 sample runs/c --prefix 'The training'
says 'the training'

# --- published ids --------------------------------------------------------------------------
if [ -r "$data/gpt2-bpe/vocab.bpe" ] && command -v perl >/dev/null 2>&1; then
    sed 's/.*"file": "\([^"]*\)".*"tokens": \([0-9]*\), "sha256_of_u16le_ids": "\([0-9a-f]*\)".*/\1 \2 \3/' \
        "$data/gpt2-bpe/file_ids.jsonl" >published
    while read -r file count hash; do
        "$SEDGE" tokens "$data/$file" --tokenizer "gpt2:$data/gpt2-bpe" --ids 2>"$top/err" >ids
        holds "$file: $count tokens" test "$(wc -l <ids)" -eq "$count"
        got=$(perl -ne 'print pack("v", $_)' ids | sha256sum | cut -d ' ' -f 1)
        holds "$file: every id" test "$got" = "$hash"
    done <published
else
    skipped=$((skipped + 1))
    echo "SKIP published ids: no $data/gpt2-bpe"
fi

count_up
