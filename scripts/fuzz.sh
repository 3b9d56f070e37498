#!/usr/bin/env bash
# Fuzzes every fuzz test for so long each: scripts/fuzz.sh 10s
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
	sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$dir"/*_test.go | while read -r name; do
		echo "== $dir $name"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "${1:-10s}" "$dir"
	done
done
