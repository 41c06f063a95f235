#!/bin/sh
# Runs sedge on every broken input of tests/bad and holds it to the message and the exit code in the
# .expect beside it (tests/bad/README.md says how a case is written).
#   SEDGE=build/release/sedge sh tests/bad.sh [--write] [PATTERN…]
# PATTERN: only the cases whose path contains one of them. --write saves what is said as the .expect,
# keeping its first lines: read it before you commit it. The last line counts.
set -u
: "${SEDGE:?the command to test}"
case $SEDGE in /*) ;; *) SEDGE=$(pwd)/$SEDGE ;; esac
write=no
if [ "${1-}" = --write ]; then
    write=yes
    shift
fi
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
passed=0 failed=0 skipped=0
# The same words on every machine.
NO_COLOR=1 LC_ALL=C OMP_NUM_THREADS=1 SEDGE_ISA=plain
export NO_COLOR LC_ALL OMP_NUM_THREADS SEDGE_ISA

# field NAME FILE: what a line `NAME: …` of a .tensors file says.
field() {
    sed -n "s/^$1: *//p" "$2"
}

# safetensors FILE: the bytes that a .tensors file describes: `header: JSON`, which its length is
# written before unless `length: N` claims another one, then `data: …` as printf writes it and
# `zeros: N` bytes.
safetensors() {
    text=$(field header "$1")
    length=$(field length "$1")
    length=${length:-${#text}}
    if [ -n "$text" ]; then
        for i in 1 2 3 4 5 6 7 8; do
            printf "\\$(printf %03o $((length % 256)))"
            length=$((length / 256))
        done
        printf %s "$text"
    fi
    printf "$(field data "$1")"
    zeros=$(field zeros "$1")
    [ -z "$zeros" ] || head -c "$zeros" /dev/zero
}

# A run of one step: what the cases about runs start from.
mkdir "$top/kept"
"$SEDGE" train tests/bad/base/recipe.yaml -o "$top/kept/run" >"$top/out" 2>&1 || {
    cat "$top/out"
    echo "tests/bad/base/recipe.yaml does not train: nothing can be tested"
    exit 1
}

for name in tokens times; do
    safetensors tests/bad/base/$name.tensors >"$top/kept/$name.safetensors"
done
cp -R tests/golden/bpe "$top/kept/gpt2"
cp -R tests/golden/wordpiece "$top/kept/bert"

# How the inputs of a folder are given, where the case does not say.
default_args() {
    case $1 in
    data) echo 'train tests/bad/base/recipe.yaml data.files=%s data.valid=0.1 params.length=16 -o @/new' ;;
    tokenizer) echo 'tokens tests/bad/base/text.txt --tokenizer gpt2:@/gpt2' ;;
    run | vocabulary) echo 'eval @/run' ;;
    weights) echo 'run tests/bad/base/model.yaml predict --weights %s --in @/tokens.safetensors' ;;
    tensors) echo 'run tests/bad/base/model.yaml predict --in %s' ;;
    import) echo 'import %s --as radd --tokenizer bytes -o @/new' ;;
    command) cat "$2" ;;
    *) echo 'check %s' ;;
    esac
}

# header NAME DEFAULT: what the line `# NAME: …` of the case says.
header() {
    value=$(sed -n "/^#/!q; s/^# $1: *//p" "$expect" 2>/dev/null | head -n 1)
    echo "${value:-$2}"
}

# Each case has a folder of its own, which is written @: a copy of the run lies in it.
try() {
    input=$1
    expect=${input%.*}.expect
    folder=$(basename "$(dirname "$input")")
    box=$top/box
    rm -rf "$box"
    cp -R "$top/kept" "$box"
    place=
    [ "$folder" != vocabulary ] || place=run/vocabulary.json
    place=$(header place "$place")
    remove=$(header remove '')
    given=$input
    case $input in
    *.tensors)
        given=$box/$(basename "$input" .tensors).safetensors
        safetensors "$input" >"$given"
        ;;
    esac
    [ -z "$place" ] || cp "$given" "$box/$place"
    for file in $remove; do rm -rf "${box:?}/$file"; done
    edit=$(header edit '')
    [ -z "$edit" ] || sed -i "${edit#* }" "$box/${edit%% *}"
    args=$(header args "$(default_args "$folder" "$input")")
    command=$(echo "env $(header env LC_ALL=C) \"\$SEDGE\" $args" | sed "s|%s|$given|g; s|@|$box|g")
    eval "$command" </dev/null >"$top/out" 2>"$top/err"
    code=$?
    {
        sed -n '/^# exit:/d; /^# [a-z]*:/!q; p' "$expect" 2>/dev/null
        [ "$code" -eq 2 ] || echo "# exit: $code"
        # Plans that sanitizers watch have gaps between their buffers.
        sed "s|$box|@|g; s|$(pwd)/||g
            s/this machine has [a-z0-9]* and/this machine has ISA and/
            s/no less than [0-9.]* [KMG]*i*B will/no less than SIZE will/
            s/the arena: [0-9.]* [KMG]*i*B in/the arena: SIZE in/" "$top/err"
    } >"$top/said"
    if [ "$write" = yes ]; then
        cp "$top/said" "$expect"
    elif [ "$code" -eq 0 ] && ! grep -q 'warning: ' "$top/err"; then
        echo "FAIL $input: sedge accepts it"
        failed=$((failed + 1))
        return
    elif ! cmp -s "$top/said" "$expect"; then
        echo "FAIL $input: $command"
        diff "$expect" "$top/said"
        failed=$((failed + 1))
        return
    fi
    passed=$((passed + 1))
}

for input in tests/bad/*/*; do
    case $input in
    *.expect | tests/bad/base/*) continue ;;
    *.part.*) continue ;; # read by the case that it belongs to
    esac
    chosen=no
    for pattern in "${@:-tests}"; do
        case $input in *"$pattern"*) chosen=yes ;; esac
    done
    [ "$chosen" = no ] || try "$input"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
