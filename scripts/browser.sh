#!/usr/bin/env bash
# Tests the page: its units, and the whole of it in a browser against a fleet of its
# own on a temporary folder and free ports. Needs bin/falcon (make build).
#
# Exit status: 0 all passed, 1 some failed, 3 what it needs can not be had here: the
# last line says what. Otherwise the last line is "N passed, N failed, N skipped".
#
# FALCON_TEST_CHROMIUM names another browser than /usr/bin/chromium. Arguments go to
# the browser tests: scripts/browser.sh -t zoom
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
web=$root/modules/dashboard/web

skip() { echo "$*"; exit 3; }

# --- what it needs ---------------------------------------------------------------------

[ -x bin/falcon ] || skip "bin/falcon is missing: make build"
command -v npm >/dev/null || skip "npm is missing: install Node 20 or newer"

chromium=${FALCON_TEST_CHROMIUM:-/usr/bin/chromium}
if [ ! -x "$chromium" ]; then
	[ "$(id -u)" = 0 ] || skip "chromium is missing: install it (this user is not root and can not)"
	command -v apt-get >/dev/null || skip "chromium is missing and this machine has no apt-get: install it by hand"
	export DEBIAN_FRONTEND=noninteractive
	wait=(-q -o DPkg::Lock::Timeout=120)
	install=(apt-get "${wait[@]}" install -y --no-install-recommends chromium fonts-noto-cjk)
	"${install[@]}" >/dev/null 2>&1 || { apt-get "${wait[@]}" update && "${install[@]}"; } >&2 || skip "chromium can not be installed here"
	[ -x "$chromium" ] || skip "chromium was installed, but $chromium is not there"
fi
export FALCON_TEST_CHROMIUM=$chromium

work=$(mktemp -d)
fleet=
finish() {
	if [ -n "$fleet" ] && kill "$fleet" 2>/dev/null; then
		wait "$fleet" 2>/dev/null
	fi
	rm -rf "$work"
}
trap finish EXIT

if [ ! -e "$web/node_modules/.package-lock.json" ] || [ "$web/package-lock.json" -nt "$web/node_modules/.package-lock.json" ]; then
	(cd "$web" && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json) >"$work/npm.log" 2>&1 || {
		cat "$work/npm.log"
		skip "npm ci failed: the packages of the page can not be had here"
	}
fi

# --- a fleet ---------------------------------------------------------------------------

cat >"$work/fleet.json" <<-'JSON'
	{
	  "agent": {"http": {"enabled": true, "listen": ":0"}},
	  "transfer": {"http": {"enabled": true, "listen": ":0"}, "socket": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
	  "graph": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
	  "judge": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
	  "plus_judge": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
	  "hbs": {"listen": ":0", "http": {"enabled": true, "listen": ":0"}},
	  "alarm": {"http": {"enabled": true, "listen": ":0"}},
	  "nodata": {"http": {"enabled": true, "listen": ":0"}},
	  "api": {"web_port": ":0"},
	  "poly_metric": {"http": {"enabled": true, "listen": ":0"}}
	}
JSON
bin/falcon up --data "$work/data" --config "$work/fleet.json" >"$work/falcon.log" 2>&1 &
fleet=$!

# address KEY prints the address that the fleet uses for KEY.
address() { sed -n "s/^ *\"$1\": \"\([^\"]*\)\".*/\1/p" "$work/data/endpoints.json" 2>/dev/null; }

up=
for _ in $(seq 150); do
	api=$(address api.web_port)
	if [ -n "$api" ] && curl -fs "http://$api/health" >/dev/null; then
		up=1
		break
	fi
	kill -0 "$fleet" 2>/dev/null || break
	sleep 0.2
done
if [ -z "$up" ]; then
	cat "$work/falcon.log"
	echo "falcon up did not start"
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi
export FALCON_TEST_URL=http://$api FALCON_TEST_PUSH=http://$(address agent.http.listen)/v1/push
FALCON_TEST_PASSWORD=$(cat "$work/data/root-password")
export FALCON_TEST_PASSWORD

# --- the tests -------------------------------------------------------------------------

status=0
vitest() { # vitest NAME ARGUMENTS...: runs it and keeps its figures in NAME.json
	local name=$1
	shift
	(cd "$web" && NO_COLOR=1 npx --no-install vitest run --reporter=default --reporter=json --outputFile.json="$work/$name.json" "$@") || status=1
}
vitest unit
vitest browser --config vitest.e2e.config.ts "$@"

[ "$status" = 0 ] || tail -n 20 "$work/falcon.log"
# A run that left no figures counts as one failure.
node -e '
	const fs = require("node:fs");
	let passed = 0, failed = 0, skipped = 0;
	for (const file of process.argv.slice(1)) {
		try {
			const r = JSON.parse(fs.readFileSync(file, "utf8"));
			passed += r.numPassedTests;
			failed += Math.max(r.numFailedTests, r.success ? 0 : 1);
			skipped += r.numPendingTests + r.numTodoTests;
		} catch {
			failed++;
		}
	}
	console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
' "$work/unit.json" "$work/browser.json"
exit $status
