#!/bin/sh
# sedge import and export: weights under published names become a run and are written back. With
# torch (PYTHON, else python3) also those that PyTorch writes, at reduced size.
#   SEDGE=build/release/sedge sh tests/cli/test_import.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"

here=$(pwd)
text=$here/tests/golden/bpe/text.txt
python=${PYTHON-python3}
mkdir "$top/desk"
cd "$top/desk" || exit 1

# train NAME MODEL SETTINGS…: a run of a few steps on bytes.
train() {
    name=$1 model=$2
    shift 2
    cat >"my-$name.yaml" <<EOF
sedge: 1
model: $model
params: {dim: 16, heads: 2, layers: 2, length: 16, dropout: 0}
data: {files: [$text], tokenizer: bytes, valid: 0.1}
train: {steps: 3, batch: 4, eval_every: 0, checkpoint_every: 10}
EOF
    run 0 train "my-$name.yaml" -o "$name" "$@"
}

# --- there and back -------------------------------------------------------------------------
pairs='sedd-absorb:sedd sedd-uniform:sedd mdlm:mdlm radd:radd gpt2:gpt2'
sanitized && pairs='sedd-absorb:sedd gpt2:gpt2' # which take their time
for pair in $pairs; do
    model=${pair%:*} family=${pair#*:}
    case $model in gpt2) steps= ;; *) steps='--steps 8' ;; esac
    case $model in radd | gpt2) cond= ;; *) cond=params.cond=8 ;; esac
    # shellcheck disable=SC2086
    train "$model" "$model" train.ema=0.9 $cond
    run 0 export "$model" -o "$model.safetensors"
    says "names and shapes as published: $family"
    sets='heads=2 length=16'
    case $model in mdlm) sets="$sets conditioned=1" ;; esac
    # shellcheck disable=SC2086
    run 0 import "$model.safetensors" --as $family --tokenizer bytes -o "$model-back" $sets
    says "model  $model: dim=16"
    quiet
    run 0 export "$model-back" -o back.safetensors
    holds "$model: the file comes back" cmp -s "$model.safetensors" back.safetensors
    # The same weights have the same bound and draw the same tokens.
    for name in "$model" "$model-back"; do
        run 0 eval "$name" --data "$text" --json eval.sequences=32
        grep -v -e '"checkpoint"' -e '"weights"' -e seconds -e "$name" "$top/out" >"$name.eval"
        # shellcheck disable=SC2086
        run 0 sample "$name" --count 2 $steps
        cp "$top/out" "$name.sample"
    done
    holds "$model: the same bound" cmp -s "$model.eval" "$model-back.eval"
    holds "$model: the same samples" cmp -s "$model.sample" "$model-back.sample"
done
run 0 export sedd-absorb -o raw.safetensors --raw
if cmp -s raw.safetensors sedd-absorb.safetensors; then fail 'averages are no raw weights'; else pass; fi
run 2 import sedd-absorb.safetensors --as sedd --tokenizer bytes -o sedd-absorb
hints 'sedd-absorb holds a run or a part of one, and is left as it is'
# What is left of a run is not swept away with an import that fails.
mkdir part
cp sedd-absorb/run.json sedd-absorb/last.safetensors part
run 2 import sedd-absorb.safetensors --as radd --tokenizer bytes -o part
holds 'it is still there' test -f part/last.safetensors
mkdir empty
run 3 import sedd-absorb.safetensors --as radd --tokenizer bytes -o empty
holds 'nor is a folder that was there' test -d empty
run 2 export sedd-absorb -o sedd-absorb/last.safetensors
hints 'sedd-absorb/last.safetensors is the checkpoint itself'
run 2 export sedd-absorb -o x.safetensors --as gpt2
hints 'weights of `sedd-absorb` are not published as gpt2'
hints 'leave --as out: sedd'
run 3 import sedd-absorb.safetensors --as radd --tokenizer bytes -o wrong
hints 'does not fit this model'
holds 'nothing half-written' test ! -e wrong
run 2 import sedd-absorb.safetensors --as sedd --tokenizer bytes -o wrong heads=5
hints 'heads'
holds 'nothing half-written' test ! -e wrong
run 0 train my-sedd-absorb.yaml -o on --init-from sedd-absorb-back params.cond=8 train.ema=0.9
run 3 eval sedd-absorb-back
hints 'it names none'
(
    ulimit -f 8
    "$SEDGE" import sedd-absorb.safetensors --as sedd --tokenizer bytes -o full heads=2 >"$top/out" 2>"$top/err"
    echo $? >code
)
what='a disk that is full'
holds "$what" test "$(cat code)" -eq 1
hints 'full/last.safetensors: cannot'
holds 'nothing half-written' test ! -e full

# --- as PyTorch writes them -----------------------------------------------------------------
if ! "$python" -c 'import torch, safetensors' 2>/dev/null; then
    skip "checkpoints that PyTorch writes: no torch and safetensors for $python"
    count_up
    exit
fi
"$python" "$here/tests/support/published.py" make files >"$top/out" 2>"$top/err" || fail 'published.py'
# brought FILE FAMILY REFERENCE: it is read, and comes back as REFERENCE.
brought() {
    rm -rf run back.safetensors
    run 0 import "files/$1" --as "$2" --tokenizer bytes -o run
    run 0 export run -o back.safetensors
    holds "$1 comes back" "$python" "$here/tests/support/published.py" same back.safetensors "files/$3"
    run 0 sample run --count 1 --steps 4 length=16
}
brought sedd.safetensors sedd sedd-weights.safetensors
brought uniform.safetensors sedd uniform-weights.safetensors
brought training.pth sedd averages.safetensors
run 0 export run --raw -o back.safetensors
holds 'the parameters beside the averages' "$python" "$here/tests/support/published.py" same \
    back.safetensors files/sedd-weights.safetensors
brought mdlm.safetensors mdlm mdlm-bf16.safetensors
brought mdlm.bin mdlm mdlm-f16.safetensors
brought radd.bin radd radd-weights.safetensors
rm -rf run
run 3 import files/hostile.pth --as sedd --tokenizer bytes -o run
hints 'system`, which is nothing that tensors are made of'
holds 'nothing was run' test "$(grep -c '^run$' "$top/err")" -eq 0
run 3 import files/legacy.pth --as sedd --tokenizer bytes -o run
hints 'is a checkpoint from before PyTorch 1.6'
run 3 import files/sedd.safetensors --as mdlm --tokenizer "gpt2:$here/tests/golden/bpe" -o run
hints '`vocab_embed.embedding` has 257 rows, and the vocabulary 640 symbols'
printf '{"model": {"n_blocks": 3}}' >files/config.json
run 3 import files/sedd.safetensors --as sedd --tokenizer bytes -o run
hints 'its tensors say that layers is 2, and `n_blocks` of its config.json 3'
holds 'nothing half-written' test ! -e run
count_up
