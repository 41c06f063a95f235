#!/bin/sh
# The commands that look before anything runs: new, check, config, explain, plan, ops. Each is run
# as a user would, in a folder of its own, and held to its exit code and to what it must say.
#   SEDGE=build/release/sedge sh tests/cli/test_commands.sh
# The last line counts.
# shellcheck disable=SC2016
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"

mkdir "$top/empty" "$top/desk"
cd "$top/empty" || exit 1 # nothing here: what is named must come from what is installed

# --- the command itself ---------------------------------------------------------------------
run 2
says 'usage: sedge COMMAND'
run 0 --help
for name in new check config explain plan ops; do
    says "  $name "
    run 0 "$name" --help
    says "usage: sedge $name"
    run 0 --help
done
sed -n 's/^  \([a-z]*\)  .*/\1/p' "$top/out" >"$top/listed"
printf '%s\n' new check config explain plan train sample eval compare run bench ops tokens import export judge >"$top/order"
grep -xF -f "$top/listed" "$top/order" >"$top/expected"
holds 'commands are listed in their order' cmp -s "$top/listed" "$top/expected"
run 2 chekc
hints 'did you mean `sedge check`?'
run 2 plan sedd-absorb --jsno
hints 'did you mean --json?'
run 2 plan
hints 'usage: sedge plan'
run 2 ops linear gelu
hints '`gelu` is one argument too many'

# --- ops ------------------------------------------------------------------------------------
run 0 ops
says 'linear maps and tables'
says 'Affine map of the last axis'
hides linear_weight_grad
sed -n 's/^  \([a-z_0-9]*\) .*/\1/p' "$top/out" >"$top/ops"
holds 'many ops are listed' test "$(wc -l <"$top/ops")" -ge 50
run 0 ops --all
says linear_weight_grad
run 0 ops linear
says 'y: {linear: x, out: …}'
says 'size of the last axis of the result [whole number, required]'
says 'one of fan_in, zeros, normal, default fan_in'
says 'parameters that it owns'
run 0 ops tweedie
says 'draws random numbers'
says 'keep'
run 0 ops random_uniform
says 'y: {random_uniform: {shape: […]}}'
run 0 ops split
says 'as many as its attributes say'
run 2 ops linaer
hints 'did you mean `linear`?'
run 2 ops adamx
hints 'sedge ops lists them'
while read -r name; do
    "$SEDGE" explain "$name" >"$top/out" 2>"$top/err" && "$SEDGE" ops "$name" >"$top/op" 2>&1
    holds "explain $name shows the op" grep -q '^results$' "$top/op" "$top/out"
done <"$top/ops"

# --- explain --------------------------------------------------------------------------------
run 0 explain
says 'train.lr'
sed -n 's/^  \([a-z_.]*\) .*/\1/p' "$top/out" >"$top/keys"
sed -n '/^words/,/^$/s/^ //p' "$top/out" | tr ' ' '\n' | sed '/^$/d' >"$top/words"
holds 'keys are listed' grep -qx 'sample.steps' "$top/keys"
holds 'words are listed' grep -qx 'minimize' "$top/words"
while read -r name; do
    run 0 explain "$name"
    says "$name"
done <"$top/keys"
while read -r name; do
    run 0 explain "$name"
    holds "explain $name has an example" grep -q '^  [^ ]' "$top/out"
done <"$top/words"
run 0 explain train.lr
says 'type     number'
says 'default  3.0e-4'
says 'range    0 to 10'
says 'train: {lr: 3.0e-4}'
run 0 explain sample.grid
says 'type     list of numbers, a file, or a spacing'
says 'sample: {grid: [1, 0.5, 0.1]}'
run 0 explain train
says 'train.weight_decay'
hides 'sample.steps'
run 0 explain process.noise
says 'geometric'
run 2 explain train.lrr
hints 'did you mean `train.lr`?'
run 2 explain lr
hints 'did you mean `train.lr`?'
run 2 explain minimise
hints 'did you mean `minimize`?'

# --- config ---------------------------------------------------------------------------------
cd "$top/desk" || exit 1
cat >my.yaml <<'YAML'
sedge: 1
model: sedd-absorb
preset: tiny
params: {length: 16}
data: {files: [grammars/toy.yaml], valid: 0.01}
train: {steps: 100, lr: 1e-3}
process: {noise: {geometric: {max: 10}}}
YAML
run 0 config my.yaml train.batch=4 dropout=0
quiet
says '  lr: 0.001                                  # <- my.yaml:6'
says '  dim: 128                                   # <- preset tiny'
says '  vocab: 15                                  # <- the data'
says '  length: 16                                 # <- my.yaml:4'
says '  batch: 4                                   # <- command line'
says '  dropout: 0                                 # <- command line'
says '  eps: 1.0e-8                                # <- default'
says 'noise: {geometric: {max: 10}}'
says 'files: [grammars/toy.yaml]'
sed 's/ *# <- .*//' "$top/out" >"$top/once"
mkdir elsewhere
cp "$top/out" elsewhere/again.yaml
run 0 config elsewhere/again.yaml
says '# <- again.yaml:2'
sed 's/ *# <- .*//' "$top/out" >"$top/twice"
holds 'what config prints reads back the same' cmp -s "$top/once" "$top/twice"
mkdir held
cp my.yaml held/my.yaml
printf 'my sister keeps the map. my sister keeps the map.' >held/held.txt
run 0 config held/my.yaml data.valid=held.txt length=4
says "valid: \"$(pwd)/held/held.txt\""
run 0 config my.yaml --json
says '"params.length": {'
says '"value": 0.001'
says '"from": "my.yaml:6"'
run 0 config my.yaml train.minutes=5 data.files=gone.txt
hints 'warning: the data is not there'
says 'vocab: 50257'
run 2 config my.yaml train.lrr=1
hints 'did you mean `train.lr`?'
run 2 config my.yaml lenght=3
hints 'did you mean `length`?'
run 2 config my.yaml preset=tniy
hints 'there are: tiny, mini, small, medium'
run 2 config my.yaml train.schedule=cosin
hints 'constant cosine linear'
run 2 config nothing
hints 'there is no recipe `nothing`'

# --- check ----------------------------------------------------------------------------------
cd "$top/empty" || exit 1
run 0 check sedd-absorb preset=tiny vocab=20 length=16
quiet
# By hand: table 21 x 128; sigma_map 256 x 64 + 64 + 64 x 64 + 64; a block 64 x 768 + 768 + 2 x 128 +
# 128 x 384 + 128 x 128 + 128 x 512 + 512 + 512 x 128 + 128; output 64 x 256 + 256 + 128 + 128 x 21 + 21.
says 'parameters: 1032469'
says '  blocks                     989696   40 tensors'
says 'process main: absorb, 20 tokens and the mask, 21 states'
says 'at t = 0.5: sigma 0.6921, noised 0.4995; at t = 1: sigma 6.908, noised 0.999'
says 'base term: finite'
says 'train: minimises loss'
says 'MFLOP a token with gradients'
says 'x0: token [batch, 16]'
says 'optional weight'
says 'tweedie: 128 steps from t = 1 to 1e-05; calls step, denoise when grid.last'
run 0 check sedd-absorb preset=tiny vocab=20 length=16 'process.noise={sigma: "1000 * t"}'
# No more noise than leaves e^-64, and none that is infinite: the schedule is held just before t = 1.
says 'base term: finite, 1.6e-28 of the data is left at t = 1'
run 0 check sedd-absorb preset=tiny vocab=20 length=16 'process.noise={sigma: "-log1p(-t)"}'
says 'base term: finite, 1.11e-16 of the data is left at t = 1'
run 0 check sedd-network
says 'programs: none'
# Samplers stand beside what their headers name and nothing else: the score, a start, and at times each other.
stands() {
    cat >fragment.yaml <<END
sedge: 1
include: [base-mask.yaml, posterior.yaml, $1]
params: {vocab: 5, length: 4, dropout: 0}
process: {rate: absorb, noise: {loglinear: {eps: 1.0e-3}}}
blocks:
  log_posterior:
    in: {x: [token, rows, length], sigma: [f64, rows]}
    nodes: {y: {x0_output: [{embedding: x, out: states, as: law}, x, sigma]}}
    out: y
END
    run 0 check fragment.yaml
    says "$2"
}
stands samplers-tweedie.yaml tweedie
stands 'samplers-tweedie.yaml, samplers-euler.yaml' predictor-corrector
stands 'samplers-tweedie.yaml, samplers-thinning.yaml' exact
stands samplers-posterior.yaml ancestral
stands 'samplers-posterior.yaml, samplers-masked.yaml' remask
stands 'samplers-posterior.yaml, samplers-confidence.yaml' confidence-position
run 0 check toy
says 'grammar, 5 states, 10 arcs, 15 symbols'
run 2 check sedd-absrob
hints 'did you mean `sedd-absorb`?'
run 2 check sedd-absorb diim=3
hints 'diim'
run 2 check sedd-absorb 'process.rate=absrob'
hints 'sedge explain process.rate'
cd "$top/desk" || exit 1
run 0 check my.yaml
says 'data: known language, 15 symbols (words)'
run 3 check my.yaml data.files=gone.txt sample.sampler=twedie
hints 'gone.txt'
hints 'did you mean `tweedie`?'
cat >broken.yaml <<'YAML'
sedge: 1
params: {dim: 8}
blocks: {}
programs:
  train:
    in: {x: [f32, batch, dim]}
    nodes:
      a: {liner: x, out: dim}
      b: {linear: x, ouut: 4, out: dim, as: b}
      loss: {mean: c}
    minimize: loss
  other:
    in: {x: [f32, batch, dim]}
    nodes: {y: {gelu: z}}
    out: {y: y}
YAML
run 2 check broken.yaml
hints 'did you mean `linear`?'
hints 'broken.yaml:9:'
hints 'broken.yaml:10:'
hints 'broken.yaml:14:'
holds 'nothing is said of a broken model' test ! -s "$top/out"

# --- plan -----------------------------------------------------------------------------------
small='preset=tiny vocab=20 length=16 batch=2'
# shellcheck disable=SC2086
{
    run 0 plan sedd-absorb $small
    quiet
    says 'program train (batch <= 2, '
    says 'checked: each read sees the value the graph names'
    says 'gradients included'
    says '  moments '
    says '  averages '
    hides 'program update'
    run 0 plan quickstart train.accumulate=2
    says 'program update:'
    says 'shared by both programs'
    says '  gradients '
    run 0 plan sedd-absorb step $small
    says 'program step (batch <= 2'
    hides 'program update'
    run 0 plan sedd-absorb $small --json
    for key in buffers first_step last_step offset block line peak_step peak_bytes bound_bytes program steps flop bytes_moved candidates state_bytes checked \
        compile_ms total_bytes frontier arena_bytes flop_added time_added; do
        says "\"$key\": "
    done
    says '"checked": true'
    # The frontier: ever less memory for ever more work; and a limit on it is kept to.
    sed -n '/"frontier"/,$p' "$top/out" >"$top/frontier"
    sed -n 's/.*"total_bytes": *\([0-9]*\).*/\1/p' "$top/frontier" >"$top/bytes"
    sed -n 's/.*"flop_added": *\([0-9.e-]*\).*/\1/p' "$top/frontier" >"$top/added"
    holds 'a frontier of five points' test "$(wc -l <"$top/bytes")" -eq 5
    holds 'of ever less memory' sort -c -r -n -u "$top/bytes"
    holds 'for ever more work' sort -c -g "$top/added"
    limit=$(sed -n 3p "$top/bytes")
    run 0 plan sedd-absorb $small --memory "$limit" --json
    holds 'a limit is kept to' test "$(sed -n 's/^  "total_bytes": \([0-9]*\).*/\1/p' "$top/out")" \
        -le "$limit"
    run 0 plan sedd-absorb $small --memory "$limit"
    says 'computed twice, as memory is short: '
    says 'memory against time'
    run 0 plan sedd-absorb $small --memory "$(sed -n 5p "$top/bytes")" --dump after:recompute
    says '= later '
    run 0 plan sedd-absorb $small --json
    # A buffer is an object of "buffers", and a row of the list.
    first=$(grep -c '"first_step": ' "$top/out")
    run 0 plan sedd-absorb $small --json --buffers
    holds 'JSON lists every buffer anyway' test "$(grep -c '"first_step": ' "$top/out")" -eq "$first"
    run 0 plan sedd-absorb $small
    says 'peak at step '
    holds 'the largest buffers only' test "$(grep -c ' [0-9]* to [0-9]* ' "$top/out")" -eq 12
    run 0 plan sedd-absorb $small step --buffers
    count=$(sed -n 's/^buffers of the arena, the largest \([0-9]*\) of \1;.*/\1/p' "$top/out")
    holds 'every buffer' test "$(grep -c ' [0-9]* to [0-9]* ' "$top/out")" -eq "${count:-0}"
    says 'scratch of attention'
    says 'sedd-network.yaml:'
    run 0 plan sedd-absorb $small --dump after:elaborate
    says 'graph train'
    hides gelu_backward
    cp "$top/out" "$top/elaborated"
    run 0 plan sedd-absorb $small --program
    holds '--program is what elaborate leaves' cmp -s "$top/out" "$top/elaborated"
    run 0 plan sedd-absorb $small --dump after:grad
    says 'gelu_backward'
    run 0 plan sedd-absorb $small --dump after:lower
    says 'plan train arena'
    run 2 plan sedd-absorb $small --dump after:lowre
    hints 'did you mean --dump after:lower?'
    hints 'elaborate, simplify, '
    run 2 plan sedd-absorb stpe $small
    hints 'did you mean `step`?'
    run 2 plan sedd-absorb $small bacth=3
    hints 'did you mean `batch`?'
    # More places than draws can be numbered: no matter where nothing is drawn.
    run 2 check sedd-absorb preset=tiny vocab=20 batch=1 dropout=0.1 length=40000000
    hints 'draws for each sequence are too many'
    run 0 check sedd-absorb preset=tiny vocab=20 batch=1 dropout=0 length=40000000
    run 0 plan sedd-absorb $small --map map.svg
    holds 'the map is SVG' grep -q '^<svg xmlns' map.svg
    holds 'the map has a rectangle for each buffer' test "$(grep -c '^<rect .*<title>' map.svg)" -ge 100
    holds 'the map has a peak' grep -q 'peak [0-9.]* MiB' map.svg
    holds 'the map has axes' grep -q 'address in the arena' map.svg
    holds 'the map has a legend' grep -q '^<rect.*log_score.raw.trunk.h.0</text>' map.svg
    holds 'the map tells what serves gradients' grep -q 'paler: of the backward pass' map.svg
    holds 'the map has the moment of the peak' grep -q ' at step [0-9]*, ' map.svg
    holds 'buffers say where they come from' grep -q '^made by linear_then at .*sedd-network.yaml:[0-9]*$' map.svg
    # A legend of 24 layers, each with a colour of its own.
    run 0 plan sedd-absorb $small layers=24 --map deep.svg
    colours=$(grep 'log_score.raw.trunk.h.[0-9]*</text>' deep.svg | sed "s/.* fill='\([^']*\)'.*/\1/" |
        sort -u | wc -l)
    holds 'as many colours as layers' test "$colours" -eq 24
    run 1 plan sedd-absorb $small --map none/map.svg
    hints 'cannot write `none/map.svg`'
    if command -v dot >/dev/null 2>&1; then
        run 0 plan sedd-absorb $small --svg graph.svg
        holds 'the graph is SVG' grep -q '<svg' graph.svg
    else
        skipped=$((skipped + 1))
        echo "SKIP plan --svg: dot is not installed"
    fi
    where=$PATH
    PATH=$top/empty
    "$SEDGE" plan sedd-absorb $small --svg nodot.svg >"$top/out" 2>"$top/err"
    code=$?
    PATH=$where
    what='sedge plan --svg without dot'
    holds "$what: exit 1" test "$code" -eq 1
    hints "Debian's graphviz"
    hints 'dot -Tsvg nodot.svg.dot -o nodot.svg'
    holds "$what keeps the text" grep -q '^digraph' nodot.svg.dot
}
run 0 plan my.yaml train.batch=3 train.accumulate=2
says 'program train (batch <= 3, '
run 0 plan my.yaml step sample.batch=5
says 'program step (batch <= 5'
run 0 plan my.yaml bound_integrand eval.batch=6
says 'program bound_integrand (batch <= 6, '

# The least that a plan says is enough for the training, evaluation included.
wanted='dim=32 heads=2 layers=2 train.batch=4 eval.batch=8 eval.sequences=8 eval.times=2'
# shellcheck disable=SC2086
run 0 plan quickstart $wanted
least=$(sed -n 's/^ *\([0-9.]*\) MiB in all.*(the least)/\1/p' "$top/out")
all=$(sed -n 's/^ *\([0-9.]*\) MiB in all.*(all kept)/\1/p' "$top/out")
holds 'the total is that of all kept' test "$(sed -n 's/^training in all *\([0-9.]*\) MiB/\1/p' "$top/out")" = "$all"
# shellcheck disable=SC2086
run 0 train quickstart $wanted memory="${least}MiB" train.steps=1 train.minutes=0 -o little

# --- bench ----------------------------------------------------------------------------------
# shellcheck disable=SC2086
run 0 bench sedd-uniform $small --sampling --seconds 0.01
says 'in the network'
says 'euler_linear'
hides first_noise
# shellcheck disable=SC2086
run 0 bench sedd-uniform $small --sampling --seconds 0.01 --json
says '"share_of_network"'
# shellcheck disable=SC2086
run 0 bench sedd-absorb $small batch=2 --seconds 0.01 --scaling
says 'matrix products of these shapes'
says 'GB/s read'
says 'times the speed of one thread'
says 'bound by'
says 'sedd-network.yaml:'
# shellcheck disable=SC2086
run 0 bench sedd-absorb $small batch=2 --seconds 0.01 --scaling --json
for key in tokens_per_s peak_rss_mib planned_mib share_of_gemm gemm_gflops read_gbs update_gbs \
    products scaling ops slowest flop bytes gflops gbs bound_by share_of_bound line compile_ms; do
    says "\"$key\": "
done
# The shares of the ops are all of a step.
sum=$(sed -n '/"ops"/,/"slowest"/s/^ *"share": \([-0-9.e]*\),*$/\1/p' "$top/out" |
    awk '{s += $1} END {print (s > 0.999 && s < 1.001)}')
holds 'shares add up to 1' test "$sum" -eq 1
# What was planned is what is resident, but for the program itself and its libraries.
if sanitized; then
    skip 'memory planned and resident: sanitizers add their own'
else
    run 0 bench sedd-absorb layers=1 dim=64 heads=2 vocab=200000 batch=1 length=16 --seconds 0.01 --json
    planned=$(sed -n 's/.*"planned_mib": \([0-9.]*\).*/\1/p' "$top/out")
    resident=$(sed -n 's/.*"peak_rss_mib": \([0-9.]*\).*/\1/p' "$top/out")
    holds "at most 5% more is resident than planned, and no less: $resident, $planned" \
        awk "BEGIN {exit !($resident >= $planned && $resident <= 1.05 * $planned)}"
fi
# shellcheck disable=SC2086
run 0 bench gpt2 preset=tiny vocab=20 length=8 batch=2 --sampling --seconds 0.1
says 'next_uncached'
run 0 bench gpt2 preset=tiny vocab=20 length=8 batch=2 --sampling --sampler left-to-right --seconds 0.1
says 'gpt2.yaml, sampler left-to-right, 2 x 8'
says 'of the rate at which memory is read'
says 'attention_cached'
run 0 bench radd $small batch=2 --sampling --steps 4 --seconds 0.01
says 'radd.yaml, sampler tweedie, 2 x '
says 'tokens/s'
says 'GB/s read'
says 'ms a run'
says 'radd-network.yaml:'
# shellcheck disable=SC2086
run 0 bench radd $small batch=2 --sampling --sampler exact --seconds 0.01 --json
for key in tokens_per_s seconds calls runs peak_rss_mib gemm_gflops ops share_of_bound slowest; do
    says "\"$key\": "
done
# shellcheck disable=SC2086
run 0 bench sedd-uniform $small --chain dense --seconds 0.01
says 'a step with dense costs'
# shellcheck disable=SC2086
run 0 bench sedd-uniform $small --chain '{band: {width: 1}}' --seconds 0.01 --json
says '"ratio"'

# --- slower than need be --------------------------------------------------------------------
printf '%s\n' 'sedge: 1' 'programs:' '  p: {in: {x: {type: [f32, batch], default: 1}}, nodes: {y: {gelu: x}}, out: {y: y}}' >gelu.yaml
cpu=$(taskset -cp $$ 2>/dev/null | sed -n 's/.*: \([0-9]*\).*/\1/p')
if [ -n "$cpu" ]; then
    what='sedge run on 3 threads and 1 core'
    OMP_NUM_THREADS=3 taskset -c "$cpu" "$SEDGE" run gelu.yaml p batch=2 >"$top/out" 2>"$top/err"
hints 'OMP_NUM_THREADS=3 is more than the 1 core here: threads that wait for one another make everything slower'
hints 'set OMP_NUM_THREADS=1, or leave it out'
else
    skipped=$((skipped + 1))
    echo "SKIP more threads than cores: there is no taskset"
fi
# The number of the portable kernels is the last that this BLIS has.
for number in $(seq 13 40); do
    what="sedge bench with BLIS_ARCH_TYPE=$number"
    # shellcheck disable=SC2086
    BLIS_ARCH_TYPE=$number "$SEDGE" bench sedd-uniform $small --seconds 0.01 >"$top/out" \
        2>"$top/err" || continue
    ! grep -q generic "$top/err" || break
done
hints 'BLIS, whose matrix products are what speed is held against, runs its `generic` kernels: about three times slower than those for a processor that it knows'
hints 'set BLIS_ARCH_TYPE'
for number in 99 -1 6x generic; do
    what="sedge bench with BLIS_ARCH_TYPE=$number"
    # shellcheck disable=SC2086
    BLIS_ARCH_TYPE=$number "$SEDGE" bench sedd-uniform $small --seconds 0.01 >"$top/out" 2>"$top/err"
    holds "$what ends with 2" [ $? -eq 2 ]
done
hints 'BLIS_ARCH_TYPE is `generic`: no number of kernels that this processor can run'
hints 'leave it out, and BLIS takes what suits the processor'

# --- new ------------------------------------------------------------------------------------
mkdir "$top/new"
cd "$top/new" || exit 1
for kind in text grammar model; do
    run 0 new "$kind" "$kind"
    quiet
    says "sedge check $kind/my.yaml"
    run 0 check "$kind/my.yaml"
    quiet
    says 'train: minimises loss'
    run 2 new "$kind" "$kind"
    hints "\`$kind/my.yaml\` is there already"
done
# What is written trains, and what a run keeps of its recipe is found from any folder.
run 0 train model/my.yaml -o run train.steps=2 train.minutes=0 train.batch=2 train.eval_every=0
sed 's/ *# <- .*//' run/config.yaml >"$top/once"
cd "$top/empty" || exit 1
run 0 config "$top/new/run/config.yaml"
sed 's/ *# <- .*//' "$top/out" >"$top/twice"
holds 'the configuration of a run reads back the same' cmp -s "$top/once" "$top/twice"
cd "$top/new/model" || exit 1
# A model that is typed beside an installed recipe is one of this folder, and its run is found from any other.
for model in ./my-model.yaml my-model.yaml my-model; do
    run 0 config quickstart model="$model" preset=small
    says "model: $(pwd)/my-model.yaml"
done
run 0 config quickstart model=udlm
says 'model: udlm '
run 0 train quickstart model=my-model.yaml preset=small -o run train.steps=1 train.minutes=0 train.batch=2 train.eval_every=0
cd "$top/empty" || exit 1
run 0 config "$top/new/model/run/config.yaml"
says "model: $top/new/model/my-model.yaml"
run 2 config quickstart model=./my-model.yaml
hints 'there is no model `./my-model.yaml`'
# What eval and sample would refuse is refused before the first update, also where nothing is evaluated on the way.
refused() {
    run 2 train "$1" "process.rate=$2" -o refused train.steps=1 train.minutes=0 train.batch=2 train.eval_every=0
    hints 'base-mask.yaml, not base-law.yaml'
    holds "$1 with $2: no run is begun" test ! -e refused
}
refused quickstart-udlm absorb
refused quickstart-uniform '{mix: {absorb: 0.9, uniform: 0.1, mask_leaves: false}}'
cd "$top/new" || exit 1
run 0 check grammar/my-grammar.yaml
run 0 check model/my-model.yaml
run 0 new text deep/er/mine.yaml
run 0 check deep/er/mine.yaml
run 0 new grammar
says 'wrote  my.yaml'
run 0 check my.yaml
echo 'a text of mine that stays' >"$top/desk/my.txt"
cd "$top/desk" || exit 1
rm my.yaml
run 0 new text
says 'found  my.txt'
holds 'a text that is there stays' grep -qx 'a text of mine that stays' my.txt
run 2 new grammr
hints 'did you mean `sedge new grammar`?'

count_up
