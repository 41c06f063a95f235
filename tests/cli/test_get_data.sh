#!/bin/sh
# tools/get-data, with a curl of our own: what is kept, and what is not. Nothing is downloaded.
#   SEDGE=build/release/sedge sh tests/cli/test_get_data.sh
# The last line counts.
# shellcheck source=tests/cli/harness
. "$(dirname "$0")/harness"

get=$(pwd)/tools/get-data
listed=$(pwd)/tools/data-sets
mkdir "$top/desk" "$top/bin"
cd "$top/desk" || exit 1

# A curl that gives what a file beside it says, whole, half, or nothing.
cat >"$top/bin/curl" <<'END'
#!/bin/sh
while [ $# -gt 1 ]; do
    if [ "$1" = -o ]; then file=$2; fi
    shift
done
cat "$(dirname "$0")/$(basename "$1")" >"$file" 2>/dev/null || exit 22
[ ! -e "$(dirname "$0")/broken" ] || { echo half >"$file" && exit 18; }
END
chmod +x "$top/bin/curl"
PATH=$top/bin:$PATH
SEDGE_DATA_SETS=$top/desk/sets
export PATH SEDGE_DATA_SETS
printf 'one\n' >"$top/bin/one.txt"
printf 'two\n' >"$top/bin/two.txt"
one=$(sha256sum "$top/bin/one.txt" | cut -d ' ' -f 1)
two=$(sha256sum "$top/bin/two.txt" | cut -d ' ' -f 1)
cat >sets <<END
# sets
set both public domain (two files)
$one one.txt https://nowhere.example/one.txt
$two second.txt https://nowhere.example/two.txt
set other CC BY 4.0
$one other.txt https://nowhere.example/two.txt
set lost none
$one lost.txt https://nowhere.example/lost.txt
END
# get CODE ARGUMENTS…
get() {
    want=$1
    shift
    what="get-data $*"
    sh "$get" "$@" </dev/null >"$top/out" 2>"$top/err"
    code=$?
    if [ "$code" -eq "$want" ]; then pass; else fail "$what: exit $code, not $want"; fi
}

get 0
says 'both             public domain (two files)'
says 'other            CC BY 4.0'
get 0 both
says 'both: public domain (two files)'
says 'data/both/second.txt'
holds 'the first file' cmp -s data/both/one.txt "$top/bin/one.txt"
holds 'the second file' cmp -s data/both/second.txt "$top/bin/two.txt"
holds 'nothing else' test "$(ls -A data/both | wc -l)" -eq 2
echo three >"$top/bin/one.txt"
get 0 both
says 'data/both/one.txt is there'
# What is not what it was is not kept, and what is there of another kind stays.
get 1 other place
hints 'https://nowhere.example/two.txt is not what it was: its SHA-256 is'
holds 'nothing of it' test -z "$(ls -A place)"
echo mine >place/other.txt
get 1 other place
holds 'a file of before' test "$(cat place/other.txt)" = mine
get 1 lost place
hints 'cannot download https://nowhere.example/lost.txt'
touch "$top/bin/broken"
get 1 both broken
hints 'cannot download https://nowhere.example/one.txt'
holds 'nothing half-written' test -z "$(ls -A broken)"
get 2 none
hints 'there is no set `none`: both other lost'
get 2 both a b
hints 'one set, and one folder for it'

# The list that ships: each line is what it should be, and each name is there once.
what='tools/data-sets'
if grep -vE '^(#|set [a-z0-9-]+ .+|[0-9a-f]{64} [A-Za-z0-9._-]+ https://[^ ]+$)' "$listed" >"$top/out"; then
    fail 'tools/data-sets: lines of no known form'
else
    pass
fi
holds 'each set once' test -z "$(sed -n 's/^set \([^ ]*\).*/\1/p' "$listed" | sort | uniq -d)"
count_up
