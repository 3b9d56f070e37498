#!/usr/bin/env bash
# Measures the figures of docs/architecture.md and prints a line for each:
#
#	name value unit target pass|MISS  stock FIGURE  # remark
#
# where FIGURE is what Open-Falcon's own daemon took of the same on a machine like this.
# scripts/bench.sh [FILTER...]: only names that contain one of them. CPU is that of the
# daemon's process, the generator's is not in it; the best of three runs counts. It is
# no test: a MISS is a fact to report. Run it on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bin
for d in falcon agent transfer graph judge alarm hbs; do
	out=bin/falcon-$d
	[ "$d" = falcon ] && out=bin/falcon
	tags= # of the Makefile
	[ "$d" = agent ] && tags=codec.notfastpath
	CGO_ENABLED=0 go build -trimpath -tags "$tags" -ldflags '-s -w' -o "$out" "./cmd/$d"
done
# Rows are in a MariaDB of their own.
for filter in "${@:-}"; do
	for name in alarm.events hbs.heartbeat judge.keys.{send,hbs,resolved,memory}; do
		if [[ $name == *"$filter"* && -z "${FALCON_TEST_MYSQL:-}" ]]; then
			eval "$(scripts/services.sh up)"
			trap 'scripts/services.sh down "$FALCON_SERVICES_DIR"' EXIT
		fi
	done
done
go run ./scripts/bench -bin bin "$@"
