#!/usr/bin/env bash
# Fuzzes every fuzz test for so long each: scripts/fuzz.sh 10s
set -euo pipefail
cd "$(dirname "$0")/.."
each=${1:-10s} n=0
while IFS=: read -r file name; do
	echo "== $(dirname "$file") $name"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$each" "$(dirname "$file")" </dev/null
	n=$((n + 1))
done < <(grep -r --include='*_test.go' '^func Fuzz' . | sed 's/:func \(Fuzz[A-Za-z0-9]*\)(.*/:\1/' | sort)
echo "$n fuzz tests, $each each"
