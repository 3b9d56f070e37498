#!/usr/bin/env bash
# Checks what must hold at every commit. Prints what does not, and fails.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0

step() { # step NAME COMMAND...: runs quietly; on failure shows the output
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "ok    $name"
	else
		echo "FAIL  $name"
		printf '%s\n' "$out" | sed 's/^/      /'
		failed=1
	fi
}

formatted() {
	local bad
	bad=$(gofmt -l $(git ls-files '*.go'))
	[ -z "$bad" ] || { echo "not formatted, run gofmt -w on:"; echo "$bad"; return 1; }
}

tidy() { go mod tidy -diff; }

step "gofmt" formatted
step "go vet" go vet ./...
step "staticcheck" go tool staticcheck ./...
step "agent on arm64" env CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -o /dev/null ./cmd/agent
step "import rules" go test -count=1 ./common/archtest
step "go.mod is tidy" tidy
[ -x scripts/ui.sh ] && step "dist is what the page's sources build to" scripts/ui.sh check
exit $failed
