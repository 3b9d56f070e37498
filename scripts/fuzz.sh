#!/usr/bin/env bash
# Fuzzes every fuzz test for so long each, one on each processor: scripts/fuzz.sh 10s
set -euo pipefail
cd "$(dirname "$0")/.."
export each=${1:-10s}
# Before Go 1.27 the end of -fuzztime itself may be called a failure (go.dev/issue/75804):
# then this line stands alone, and no input that fails comes with it.
in_time() {
	[[ $1 =~ "--- FAIL: $2 ("[0-9.]+"s)"$'\n    context deadline exceeded\nFAIL\n' && $1 != *"Failing input"* ]]
}
one() {
	local dir name=${1#*:} out
	dir=$(dirname "${1%%:*}")
	out=$(go test -run '^$' -fuzz "^$name\$" -fuzztime "$each" -parallel 1 "$dir" 2>&1) || in_time "$out" "$name" || {
		echo "== $dir $name"
		echo "$out"
		return 1
	}
	echo "== $dir $name: $(grep -o 'execs: [0-9]*' <<<"$out" | tail -n 1)"
}
export -f one in_time
all=$(grep -r --include='*_test.go' '^func Fuzz' . | sed 's/:func \(Fuzz[A-Za-z0-9]*\)(.*/:\1/' | sort)
xargs -P "$(nproc)" -I{} bash -c 'one {}' <<<"$all"
echo "$(wc -l <<<"$all") fuzz tests, $each each"
