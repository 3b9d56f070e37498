#!/usr/bin/env bash
# Measures the figures of docs/architecture.md and prints a line for each:
#
#	name value unit target pass|MISS
#
# scripts/bench.sh [FILTER]: only names that contain FILTER. CPU is that of the
# daemon's process, the generator's is not in it; the best of three runs counts. It is
# no test: a MISS is a fact to report. Run it on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bin
for d in falcon transfer graph judge; do
	out=bin/falcon-$d
	[ "$d" = falcon ] && out=bin/falcon
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out" "./cmd/$d"
done
exec go run ./scripts/bench -bin bin "$@"
