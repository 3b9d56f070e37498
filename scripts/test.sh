#!/usr/bin/env bash
# Runs every test, and installs and starts what they need. What can not be had makes
# its tests say SKIP with the reason; the last line counts them.
set -uo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
services=""
finish() {
	[ -n "$services" ] && scripts/services.sh down "$services" >/dev/null 2>&1
	rm -rf "$work"
}
trap finish EXIT

notes=()
# A private MariaDB. Exit code 3 says that it can not be installed here.
if out=$(scripts/services.sh up "$work/services" 2>"$work/services.err"); then
	services=$work/services
	eval "$out"
elif [ $? -eq 3 ]; then
	notes+=("MariaDB: $(tail -n 1 "$work/services.err")")
else
	cat "$work/services.err" >&2
	exit 1
fi

# need PROGRAM PACKAGE installs what the tests of deploy/ and of the agent ask, without starting it as a
# service of this machine. Those that can not be had make their tests skip.
need() {
	local policy=/usr/sbin/policy-rc.d made=
	[ -n "$(PATH=$PATH:/usr/sbin:/sbin command -v "$1")" ] && return
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		notes+=("$1: it is missing; install the package $2, or run this as root on Debian")
		return
	fi
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
		made=1
	fi
	{ DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 update &&
		DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends "$2"; } >"$work/$2.log" 2>&1 ||
		notes+=("$1: the package $2 could not be installed: $(tail -n 1 "$work/$2.log")")
	[ -z "$made" ] || rm -f "$policy"
}
need systemd-analyze systemd
need nginx nginx-light
need prometheus-node-exporter prometheus-node-exporter
need fping fping

# The race detector needs a C compiler.
race=(-race)
if ! command -v "$(go env CC)" >/dev/null; then
	race=()
	notes+=("race detector: there is no C compiler, tests run without it")
fi

# The long forms of the soaks are minutes each, one after the other; what they came to is
# printed at the end.
timeout=20m
if [ -n "${FALCON_SOAK:-}" ]; then
	timeout=90m
	export FALCON_OUTCOMES=$work/outcomes
fi

export FALCON_TEST_BIN=$PWD/bin
go tool gotestsum --format pkgname-and-test-fails --jsonfile "$work/go.json" -- "${race[@]}" -timeout "$timeout" ./...
status=$?
count() { grep -c "\"Action\":\"$1\",\"Package\":\"[^\"]*\",\"Test\"" "$work/go.json"; }
passed=$(count pass) failed=$(count fail) skipped=$(count skip)

if [ -x scripts/browser.sh ]; then
	scripts/browser.sh >"$work/browser.log" 2>&1
	code=$?
	cat "$work/browser.log"
	case $code in
	0 | 1)
		read -r p f s < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$work/browser.log" | tail -n 1)
		passed=$((passed + ${p:-0})) failed=$((failed + ${f:-1})) skipped=$((skipped + ${s:-0}))
		[ $code -eq 0 ] || status=1
		;;
	3)
		notes+=("browser tests: $(tail -n 1 "$work/browser.log")")
		skipped=$((skipped + 1))
		;;
	*)
		status=1 failed=$((failed + 1))
		;;
	esac
fi

[ -z "${FALCON_OUTCOMES:-}" ] || sort -s -t: -k1,1 "$FALCON_OUTCOMES"
for n in "${notes[@]}"; do echo "SKIP  $n"; done
echo "$passed passed, $failed failed, $skipped skipped"
exit $status
