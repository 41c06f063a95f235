#!/bin/sh
# The life of a run: killed at any moment, stopped, resumed, on a full disk, damaged, evaluated and
# sampled. Each command is run as a user would, and held to its exit code, to what it says and to
# the bytes that it leaves.
#   SEDGE=build/release/sedge sh tests/lifecycle.sh
# The last line counts.
set -u
: "${SEDGE:?the command to test}"
case $SEDGE in /*) ;; *) SEDGE=$(pwd)/$SEDGE ;; esac
top=$(mktemp -d)
mounted=
trap '[ -z "$mounted" ] || umount "$mounted"; rm -rf "$top"' EXIT
passed=0 failed=0 skipped=0
NO_COLOR=1 LC_ALL=C OMP_NUM_THREADS=1
export NO_COLOR LC_ALL OMP_NUM_THREADS
unset SEDGE_ISA
cd "$top" || exit 1

pass() {
    passed=$((passed + 1))
}
fail() {
    failed=$((failed + 1))
    echo "FAIL $1"
    sed 's/^/    | /' "$top/out" "$top/err" | head -n 30
}
skip() {
    skipped=$((skipped + 1))
    echo "SKIP $1"
}
# holds LABEL CONDITION…: a condition of the shell.
holds() {
    label=$1
    shift
    if "$@"; then pass; else fail "$label"; fi
}
# ends WANTED WHAT: checks the exit code of the command before.
ends() {
    code=$?
    if [ "$code" -eq "$1" ]; then pass; else fail "$2: exit $code, not $1"; fi
}
# run CODE ARGUMENTS…
run() {
    want=$1
    shift
    what="sedge $*"
    "$SEDGE" "$@" </dev/null >"$top/out" 2>"$top/err"
    ends "$want" "$what"
}
says() {
    if grep -qF -e "$1" "$top/out"; then pass; else fail "$what: does not say: $1"; fi
}
hints() {
    if grep -qF -e "$1" "$top/err"; then pass; else fail "$what: does not tell: $1"; fi
}

model='params.dim=16 params.heads=2 params.layers=1 params.cond=8 params.length=8'
small="$model train.schedule=constant train.batch=8 train.minutes=0 train.lr=0.002 eval.sequences=32"
# In small batches: where memory is short, it is training that needs most.
small="$small eval.batch=4 eval.times=2"
# train CODE RUN SETTINGS…: the quickstart with a tiny network.
train() {
    want=$1 folder=$2
    shift 2
    # shellcheck disable=SC2086 # words
    run "$want" train quickstart $small -o "$folder" "$@"
}
digest() {
    sed -n 's/.*state digest //p' "$top/err"
}
# Every step once and in order, every validation once.
steps_are() {
    sed -n 's/^{"step": \([0-9]*\), "loss".*/\1/p' "$1/metrics.jsonl" >"$top/steps"
    awk -v n="$2" '$1 != NR { bad = 1 } END { exit bad || NR != n }' "$top/steps" &&
        [ -z "$(grep bound "$1/metrics.jsonl" | cut -d, -f1 | uniq -d)" ]
}
# same RUN RUN: the same state and the same validations.
same() {
    cmp -s "$1/last.safetensors" "$2/last.safetensors" &&
        cmp -s "$1/best.safetensors" "$2/best.safetensors" && grep bound "$1/metrics.jsonl" >a &&
        grep bound "$2/metrics.jsonl" >b && cmp -s a b
}
# until_there WORD FILE: waits for it to be there, ten seconds at most.
until_there() {
    tries=0
    while ! grep -qs -e "$1" "$2" && [ $tries -lt 200 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
}
# until_caught PID: waits until the process has its handler of SIGINT, ten seconds at most: what a shell
# starts behind it ignores Ctrl-C until then. Before it is sedge it is a copy of the shell, which has one too.
until_caught() {
    tries=0
    while [ $tries -lt 200 ]; do
        caught=$(sed -n '/^Name:/{/sedge$/!q;};s/^SigCgt:.*\(.\)$/\1/p' "/proc/$1/status" 2>/dev/null)
        case $caught in
        [2367abefABEF]) return ;; # bit 1
        esac
        sleep 0.05
        tries=$((tries + 1))
    done
}

# --- killed at any moment -------------------------------------------------------------------
# A checkpoint after each step, so that most of the time is spent in writing one.
often='train.steps=120 train.eval_every=15 train.checkpoint_every=1 train.keep=2'
# shellcheck disable=SC2086
train 0 whole $often
whole=$(digest)
holds 'each step is in the metrics once' steps_are whole 120
kills=0 turn=0
while [ $turn -lt 10 ]; do
    turn=$((turn + 1))
    # shellcheck disable=SC2086
    "$SEDGE" train quickstart $small $often -o killed >"$top/out" 2>"$top/err" </dev/null &
    child=$!
    sleep "$(awk -v s="$$$turn" 'BEGIN { srand(s); printf "%.2f", 0.1 + 0.5 * rand() }')"
    kill -9 $child 2>/dev/null && kills=$((kills + 1))
    wait $child 2>/dev/null
done
# shellcheck disable=SC2086
train 0 killed $often
holds "$kills kills: the digest is that of a run never killed" [ "$(digest)" = "$whole" ]
holds "$kills kills: the files are those of a run never killed" same whole killed
holds "$kills kills: each step is in the metrics once" steps_are killed 120
holds 'nothing half-written stays' [ -z "$(find killed -name '*.part')" ]
set -- killed/step-*
holds 'train.keep=2 leaves two numbered checkpoints' [ $# -eq 2 ]

# While a run begins: what is left is no stranger's folder.
turn=0
while [ $turn -lt 20 ]; do
    turn=$((turn + 1))
    # shellcheck disable=SC2086
    "$SEDGE" train quickstart $small $often -o begun >"$top/out" 2>"$top/err" </dev/null &
    child=$!
    sleep "0.0$((turn % 10))"
    kill -9 $child 2>/dev/null
    wait $child 2>/dev/null
done
# shellcheck disable=SC2086
train 0 begun $often
holds 'killed as it begins: the digest is that of a run never killed' [ "$(digest)" = "$whole" ]

# A line of the metrics that was cut off, and files half-written.
cp -r whole torn
cp whole/step-00000119.safetensors torn/last.safetensors
printf '{"step": 120, "lo' >>torn/metrics.jsonl
echo half >torn/step-00000120.safetensors.1-0.part
ln torn/last.safetensors torn/last.safetensors.part
# shellcheck disable=SC2086
train 0 torn $often
hints 'resumed at step 119'
holds 'a torn line is dropped and written again' steps_are torn 120
holds 'a step done again is the same step' same whole torn
holds 'what was half-written is removed' [ -z "$(find torn -name '*.part')" ]

# --- a finished run, and one that is extended ------------------------------------------------
few='train.eval_every=20 train.checkpoint_every=20'
# shellcheck disable=SC2086
train 0 base $few train.steps=60
base=$(digest)
cp -r base before
# shellcheck disable=SC2086
train 0 base $few train.steps=60
hints 'nothing is left to do'
holds 'a finished run is left as it is' diff -r base before
# shellcheck disable=SC2086
train 0 base $few train.steps=80
hints 'resumed at step 60'
# shellcheck disable=SC2086
train 0 longer $few train.steps=80
holds 'a run extended is the longer run' cmp -s base/last.safetensors longer/last.safetensors
holds 'and its metrics go on' steps_are base 80
rm -rf base
cp -r before base

# --- in less memory ---------------------------------------------------------------------------
# A run goes on in less memory, and in more, and is the same run; one begun in little as well.
# shellcheck disable=SC2086
run 0 plan quickstart $small --json
little=$(sed -n 's/.*"total_bytes": *\([0-9]*\).*/\1/p' "$top/out" | sed -n 4p)
# shellcheck disable=SC2086
run 0 plan quickstart $small memory="$little"
says 'computed twice, as memory is short'
# shellcheck disable=SC2086
train 0 base $few train.steps=80 memory="$little"
hints 'resumed at step 60'
holds 'a run that goes on in less memory is the same run' cmp -s base/last.safetensors longer/last.safetensors
holds 'its configuration says the new limit' grep -q "^memory: $little" base/config.yaml
# shellcheck disable=SC2086
train 0 spare $few train.steps=60 memory="$little"
holds 'so is one that began in little' cmp -s spare/last.safetensors before/last.safetensors
# shellcheck disable=SC2086
train 0 spare $few train.steps=80
hints 'resumed at step 60'
holds 'and goes on in more' cmp -s spare/last.safetensors longer/last.safetensors
rm -rf base spare
cp -r before base

# --- Ctrl-C and SIGTERM ---------------------------------------------------------------------
# stop SIGNAL CODE RUN: a long run gets SIGNAL once it has begun.
long='train.steps=100000 train.eval_every=50 train.checkpoint_every=100000'
stop() {
    # shellcheck disable=SC2086
    "$SEDGE" train quickstart $small $long -o "$3" >"$top/out" 2>"$top/err" </dev/null &
    child=$!
    # Not before it has a step to save: then there is one more line than before.
    until_there "\"step\": $(($(grep -cs loss "$3/metrics.jsonl") + 1))," "$3/metrics.jsonl"
    kill "-$1" $child
    wait $child
    ends "$2" "train and SIG$1"
    what="train and SIG$1"
    hints 'stopped, with a checkpoint saved'
    hints "-o $3"
}
stop INT 130 ctrlc
stop TERM 75 ctrlc
at=$(sed -n 's/^step \([0-9]*\), state.*/\1/p' "$top/err")
# shellcheck disable=SC2086
train 0 ctrlc $few train.steps=$((at + 5)) train.eval_every=50
stopped=$(digest)
# shellcheck disable=SC2086
train 0 once $few train.steps=$((at + 5)) train.eval_every=50
holds 'a run that was stopped is the run that was not' [ "$(digest)" = "$stopped" ]
holds 'with the same checkpoint' cmp -s ctrlc/last.safetensors once/last.safetensors
holds 'and each step in the metrics once' steps_are ctrlc $((at + 5))

# During a validation of minutes: it is given up, and made up for when the run goes on.
slow='train.steps=10 train.eval_every=5 train.checkpoint_every=1000 eval.times=100000'
# shellcheck disable=SC2086
"$SEDGE" train quickstart $small $slow -o looked >"$top/out" 2>"$top/err" </dev/null &
child=$!
until_there '"step": 5,' looked/metrics.jsonl
sleep 0.3
kill -INT $child
wait $child
ends 130 'Ctrl-C during a validation'
holds 'no validation is written then' [ "$(grep -c bound looked/metrics.jsonl)" = 0 ]
# shellcheck disable=SC2086
train 0 looked $slow eval.times=2
# shellcheck disable=SC2086
train 0 looking $slow eval.times=2
holds 'the validation is made up for' same looked looking

# In eval and sample there is nothing to save. A second signal ends at once.
interrupt() {
    signal=$1 want=$2
    shift 2
    what="sedge $* and SIG$signal"
    "$SEDGE" "$@" >"$top/out" 2>"$top/err" </dev/null &
    child=$!
    until_caught $child
    sleep 0.5
    kill "-$signal" $child
    wait $child
    ends "$want" "$what"
}
interrupt INT 130 eval base eval.times=1000000
interrupt TERM 75 eval base eval.times=1000000
interrupt INT 130 sample base --steps 10000000
interrupt TERM 75 sample base --steps 10000000
# What was drawn is printed, in JSON as well.
interrupt INT 130 sample base -n 10000000 --steps 4 --json
holds 'texts drawn before Ctrl-C' [ "$(sed -n 's/.*"sequences": \([0-9]*\),.*/\1/p' "$top/out")" -ge 1 ]
holds 'as many as it says' \
    [ "$(sed -n 's/.*"sequences": \([0-9]*\),.*/\1/p' "$top/out")" = "$(sed -n '/"texts"/,$p' "$top/out" | grep -c '^    "')" ]
wide='vocab=64 dim=256 heads=4 layers=2 length=256 batch=32'
# shellcheck disable=SC2086
interrupt TERM 75 bench sedd-uniform $wide --seconds 3600
# Large steps for hours, and both signals: Ctrl-C is remembered, the second kills.
"$SEDGE" eval base eval.batch=1000000 eval.sequences=1000000 eval.times=1000000 >"$top/out" \
    2>"$top/err" </dev/null &
child=$!
until_caught $child
sleep 0.5
kill -INT $child 2>/dev/null
kill -INT $child 2>/dev/null
wait $child
code=$?
holds 'a second Ctrl-C ends at once' [ $code -eq 130 ]

# --- the same bits --------------------------------------------------------------------------
# Few steps: threads that outnumber the free cores wait long for each other.
brief='train.steps=3 train.eval_every=0'
# shellcheck disable=SC2086
train 0 threads1 $brief
one=$(digest)
for threads in 2 3 7; do
    OMP_NUM_THREADS=$threads
    # shellcheck disable=SC2086
    train 0 "threads$threads" $brief
    holds "$threads threads give the digest of one" [ "$(digest)" = "$one" ]
    OMP_NUM_THREADS=1
done
best=$(sed -n 's/.*parameters, \([a-z0-9]*\) on.*/\1/p' "$top/err")
for isa in plain v2 v3 v4; do
    SEDGE_ISA=$isa
    export SEDGE_ISA
    if ! "$SEDGE" eval base --sequences 2 >"$top/out" 2>"$top/err" </dev/null; then
        skip "SEDGE_ISA=$isa: not on this machine"
        continue
    fi
    # shellcheck disable=SC2086
    train 0 "isa-$isa" $brief
    one=$(digest)
    OMP_NUM_THREADS=2
    # shellcheck disable=SC2086
    train 0 "isa-$isa-again" $brief
    OMP_NUM_THREADS=1
    holds "SEDGE_ISA=$isa gives one digest" [ "$(digest)" = "$one" ]
done
if [ "$best" = plain ]; then
    skip 'another instruction set: this machine has one'
else
    SEDGE_ISA=plain
    # shellcheck disable=SC2086
    train 3 base $few train.steps=80
    hints 'the instruction set differs'
    hints "SEDGE_ISA=$best"
fi
unset SEDGE_ISA
# shellcheck disable=SC2086
train 0 seed2 $few train.steps=60 train.seed=2
holds 'another seed gives another digest' [ "$(digest)" != "$base" ]

# --- nowhere to write -----------------------------------------------------------------------
train 1 /dev/null/run train.steps=5
hints 'cannot make the folder'
train 1 base/config.yaml train.steps=5
hints 'Not a directory'
train 2 '' train.steps=5
hints 'not an empty name'
# shellcheck disable=SC2086
if [ "$(id -u)" -ne 0 ]; then
    mkdir closed && chmod 555 closed
    train 1 closed train.steps=5
    hints 'cannot write to closed'
else
    skip 'a folder without write permission: root may write anywhere'
fi
(
    ulimit -f 200 # of 512 bytes: the metrics fit, a checkpoint does not
    # shellcheck disable=SC2086
    "$SEDGE" train quickstart $small $few train.steps=60 -o limit >"$top/out" 2>"$top/err" </dev/null
)
ends 1 'a checkpoint past ulimit -f'
what='ulimit -f'
hints 'File too large'
# shellcheck disable=SC2086
train 0 limit $few train.steps=60
holds 'the run goes on once the limit is gone' same limit before
mkdir disk
if mount -t tmpfs -o size=1m none disk 2>/dev/null; then
    mounted=$top/disk
    # shellcheck disable=SC2086
    train 1 disk/run train.steps=100 train.eval_every=10 train.checkpoint_every=10 train.keep=9
    hints 'No space left on device'
    hints 'the checkpoint of step'
    holds 'one message' [ "$(grep -c 'error:' "$top/err")" -eq 1 ]
    run 0 eval disk/run
    # shellcheck disable=SC2086
    train 0 disk/run train.steps=100 train.eval_every=10 train.checkpoint_every=10 train.keep=1
    train 0 roomy train.steps=100 train.eval_every=10 train.checkpoint_every=10
    holds 'a run that met a full disk is the same run' same disk/run roomy
    umount disk
    mounted=
else
    skip 'a full disk: no tmpfs can be mounted here'
fi
if [ -w /dev/full ]; then
    for command in 'eval base' 'eval base --json' 'sample base'; do
        # shellcheck disable=SC2086
        "$SEDGE" $command >/dev/full 2>"$top/err" </dev/null
        ends 1 "$command to a full device"
        what=$command
        hints 'standard output could not be written'
        # shellcheck disable=SC2086
        "$SEDGE" $command >&- 2>"$top/err" </dev/null
        ends 1 "$command to a closed stdout"
    done
fi
# What is printed must not land in a file that took the number of a closed stream.
# shellcheck disable=SC2086
"$SEDGE" train quickstart $small $few train.steps=60 -o mute <&- >&- 2>&-
ends 0 'train with all streams closed'
holds 'it is the same run' same mute before
holds 'with clean metrics' steps_are mute 60
"$SEDGE" sample base --count 2000 --steps 2 2>"$top/err" </dev/null | head -n 1 >"$top/out"
holds 'a closed pipe is no error worth a word' [ ! -s "$top/err" ]

# --- an existing run ------------------------------------------------------------------------
# shellcheck disable=SC2086
train 2 base $few train.steps=60 train.lr=5.0e-3 params.dim=32
hints 'base is a run of another configuration'
hints 'train.lr: 0.002 there, 0.005 now'
hints 'params.dim: 16 there, 32 now'
hints '--overwrite'
holds 'nothing changed' diff -r base before
cp -r base new
# shellcheck disable=SC2086
train 0 new $few train.steps=20 train.lr=5.0e-3 --overwrite
holds 'nothing of the old run stays' steps_are new 20
set -- new/step-*
holds 'nor its checkpoints' [ $# -eq 1 ]
# shellcheck disable=SC2086
train 0 from-run $few train.steps=5 --init-from base
weights=$(digest)
# shellcheck disable=SC2086
train 0 from-file $few train.steps=5 --init-from base/last.safetensors
holds 'a run and its checkpoint are the same start' [ "$(digest)" = "$weights" ]
# shellcheck disable=SC2086
train 0 from-nothing $few train.steps=5
holds 'and not that of a fresh run' [ "$(digest)" != "$weights" ]
# shellcheck disable=SC2086
train 0 new $few train.steps=5 --overwrite --init-from new
hints 'state digest'
train 3 from-nowhere train.steps=5 --init-from nowhere
holds 'no folder is left by a start that failed' [ ! -e from-nowhere ]
train 3 from-text train.steps=5 --init-from base/config.yaml
mkdir mine && echo mine >mine/notes.txt
train 2 mine train.steps=5 --overwrite
hints 'is no run'
holds 'a folder of other things is left alone' [ "$(ls mine)" = notes.txt ]
# Two at once.
# shellcheck disable=SC2086
"$SEDGE" train quickstart $small $long -o shared >/dev/null 2>&1 </dev/null &
child=$!
until_there step shared/metrics.jsonl
# shellcheck disable=SC2086
train 1 shared $long
hints 'another process is training shared'
kill -9 $child
wait $child 2>/dev/null

# --- data -----------------------------------------------------------------------------------
awk 'BEGIN { srand(1); for (i = 0; i < 900; i++) {
    for (k = 0; k < 6; k++) printf "%s ", substr("theoldcatsawadog", 1 + int(rand() * 12), 4);
    print i % 7 ? "é" : "x" } }' >text.txt
head -n 100 text.txt >other.txt
# text CODE RUN SETTINGS…
text() {
    want=$1 folder=$2
    shift 2
    # shellcheck disable=SC2086
    run "$want" train text $small -o "$folder" $few "$@"
}
for tokenizer in chars bytes words; do
    text 0 "text-$tokenizer" data.files=text.txt data.tokenizer=$tokenizer train.steps=20
    run 0 eval "text-$tokenizer"
    says 'bound on -log p'
    run 0 sample "text-$tokenizer" --count 3
    holds "$tokenizer: text is printed" [ -s "$top/out" ]
done
run 0 eval text-chars --data other.txt
says 'bound on -log p'
run 3 eval text-chars --data nothing.txt
cp text.txt kept.txt
echo 'the cats saw' >>text.txt
text 3 text-chars data.files=text.txt data.tokenizer=chars train.steps=40
hints 'the data has changed'
hints '--init-from text-chars'
run 0 eval text-chars
hints 'the data has changed'
mv kept.txt moved.txt
text 0 text-chars data.files=moved.txt data.tokenizer=chars train.steps=25
text 0 held data.files=moved.txt data.valid=other.txt train.steps=20
run 0 eval held
rm other.txt
run 0 sample held --count 1
run 3 eval held
hints 'other.txt'

# --- not finite -----------------------------------------------------------------------------
train 1 nan train.lr=10 train.clip=0 train.warmup=0 train.steps=60 train.eval_every=0 \
    train.checkpoint_every=1
hints '.yaml:'
hints 'is not finite; the first bad value comes from the op'
hints 'the checkpoint of step'
run 0 eval nan
# The first weight becomes infinite; the digest in the header is renamed, or it would be found.
sed 's/"digest"/"xigest"/' before/last.safetensors >inf.safetensors
at=$((8 + $(od -An -tu8 -N8 inf.safetensors)))
i=0
while [ $i -lt 3000 ]; do printf '\000\000\200\177'; i=$((i + 1)); done |
    dd of=inf.safetensors bs=1 seek=$at conv=notrunc 2>/dev/null
train 1 inf train.steps=5 --init-from inf.safetensors
hints 'step 1: the loss is not finite'
hints '.yaml:'
holds 'nothing is saved of it' [ ! -e inf/last.safetensors ]

# --- damaged --------------------------------------------------------------------------------
# damage NAME: a copy of the run to break.
damage() {
    rm -rf broken
    cp -r before broken
}
damage
head -c 5000 before/last.safetensors >broken/last.safetensors
run 3 eval broken
# shellcheck disable=SC2086
train 3 broken $few train.steps=80
hints 'last.safetensors'
hints 'step-*.safetensors copied over it'
cp broken/step-00000040.safetensors broken/last.safetensors
# shellcheck disable=SC2086
train 0 broken $few train.steps=60
holds 'an older checkpoint goes on as it did' same broken before
damage
rm broken/last.safetensors # it is linked to others
cp before/last.safetensors broken/last.safetensors
printf 'xx' | dd of=broken/last.safetensors bs=1 seek=$((at + 99)) conv=notrunc 2>/dev/null
run 3 eval broken
hints 'is damaged'
run 3 sample broken
damage
rm broken/vocabulary.json
run 3 eval broken
hints 'vocabulary.json'
run 3 sample broken
hints 'vocabulary.json'
damage
head -c 100 before/run.json >broken/run.json
# shellcheck disable=SC2086
train 3 broken $few train.steps=80
hints 'run.json'
damage
echo 'train: [' >broken/config.yaml
run 2 eval broken
hints 'config.yaml'
run 2 eval nowhere
hints 'nowhere is no run'
rm -rf unsaved && mkdir unsaved && cp before/config.yaml before/vocabulary.json unsaved
run 3 eval unsaved
hints 'no last checkpoint'

# --- other ways to train --------------------------------------------------------------------
# shellcheck disable=SC2086
run 0 train quickstart $model train.batch=8 train.minutes=0.01 train.steps=0 train.eval_every=0 \
    train.checkpoint_every=1000 -o minutes
spent=$(sed -n 's/.*"seconds": \([0-9.]*\)}/\1/p' minutes/metrics.jsonl | tail -n 1)
holds 'train.minutes stops in time' awk -v s="$spent" 'BEGIN { exit !(s >= 0.6 && s < 5) }'
# shellcheck disable=SC2086
run 0 train quickstart $model train.batch=8 train.minutes=0.01 train.steps=0 train.eval_every=0 \
    train.checkpoint_every=1000 -o minutes
hints 'nothing is left to do'
# shellcheck disable=SC2086
run 0 train quickstart $model train.batch=8 train.minutes=0.015 train.steps=0 train.eval_every=0 \
    train.checkpoint_every=1000 -o minutes
first=$spent
spent=$(sed -n 's/.*"seconds": \([0-9.]*\)}/\1/p' minutes/metrics.jsonl | tail -n 1)
holds 'time goes on where it was' awk -v s="$spent" -v f="$first" 'BEGIN { exit !(s > f && s < 5) }'
# shellcheck disable=SC2086
train 0 whole-batch $few train.steps=5 train.batch=8 train.accumulate=1
# shellcheck disable=SC2086
train 0 halves $few train.steps=5 train.batch=4 train.accumulate=2
loss='s/.*"loss": \([0-9.]*\),.*/\1/p'
one=$(sed -n "$loss" whole-batch/metrics.jsonl | head -n 1)
two=$(sed -n "$loss" halves/metrics.jsonl | head -n 1)
holds 'two halves are the whole batch' awk -v a="$one" -v b="$two" \
    'BEGIN { d = a - b; exit !(d < 1e-5 * a && -d < 1e-5 * a) }' # sums in another order
# shellcheck disable=SC2086
train 0 blind train.steps=20 train.eval_every=0 train.checkpoint_every=20
holds 'train.eval_every=0 validates never' [ "$(grep -c bound blind/metrics.jsonl)" = 0 ]
run 3 eval blind --checkpoint best
train 0 plain train.steps=20 train.ema=0
run 0 eval plain
says 'raw weights'
run 0 sample plain --count 1
run 0 eval base
says 'averaged weights'
run 0 eval base --raw
says 'raw weights'

# --- what eval and sample print --------------------------------------------------------------
run 0 eval base --json
for field in nats_per_symbol stderr integral base reconstruction bits_per_symbol perplexity truth \
    gap sequences length checkpoint weights protocol data_hash; do
    says "\"$field\":"
done
cp "$top/out" a
run 0 eval base --json
holds 'eval is repeatable' cmp -s "$top/out" a
run 0 sample base --count 6 --steps 8 --seed 5 sample.batch=6
cp "$top/out" a
holds 'as many sequences as asked for' [ "$(wc -l <a)" -ge 6 ]
for batch in 1 4; do
    run 0 sample base --count 6 --steps 8 --seed 5 sample.batch=$batch
    holds "sample.batch=$batch changes nothing" cmp -s "$top/out" a
done
run 0 sample base --count 6 --steps 8 --seed 6
if cmp -s "$top/out" a; then fail 'another seed draws the same text'; else pass; fi
run 0 sample base --count 6 --steps 8 --seed 5 --sampler euler
cp "$top/out" b
if cmp -s a b; then fail 'another sampler draws the same text'; else pass; fi
run 0 sample base --count 6 --steps 8 --seed 5 --sampler euler sample.batch=2
holds 'euler: sample.batch changes nothing' cmp -s "$top/out" b
run 2 sample base --sampler nothing
escape=$(printf '\033')
run 0 sample base --watch --count 1
holds 'no escapes where stderr is no terminal' [ "$(grep -c "$escape" "$top/err")" = 0 ]
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    script -qec "'$SEDGE' sample base --watch --count 1 --steps 200" /dev/null >"$top/out" 2>&1 \
        </dev/null
    holds 'a terminal is drawn on in place' grep -q "${escape}\[[0-9]*A" "$top/out"
    script -qec "'$SEDGE' train quickstart $small train.steps=3000 train.eval_every=1500 -o live" \
        /dev/null >"$top/out" 2>&1 </dev/null
    what='train on a terminal'
    says 'left'
    says "${escape}[K"
    says 'state digest'
else
    skip 'a terminal: there is no script of util-linux'
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
