#!/usr/bin/env bash
# The page's assets.
#
#   scripts/ui.sh build   builds modules/dashboard/dist from modules/dashboard/web
#   scripts/ui.sh check   proves that dist is what the sources build to
#
# Both need Node 20 or newer with npm. The build is the same on every machine: the
# versions stand in package-lock.json and file names carry the hash of what is inside.
set -euo pipefail
cd "$(dirname "$0")/../modules/dashboard/web"

die() { echo "ui: $*" >&2; exit 1; }

command -v npm >/dev/null || die "npm is missing: install Node 20 or newer"
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' || die "Node $(node --version) is too old: install 20 or newer"

# npm leaves a copy of the lock file in node_modules; when that is as new as ours,
# what is installed is what is asked for.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	npm ci --no-audit --no-fund --loglevel=error || die "npm ci failed"
	touch node_modules/.package-lock.json
fi
npx --no-install tsc --noEmit || die "the types do not fit"

case "${1:-}" in
build)
	npx --no-install vite build --logLevel warn
	;;
check)
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
	FALCON_DIST=$out/dist npx --no-install vite build --logLevel warn
	diff -r "$out/dist" ../dist || die "dist is not what the sources build to: run make ui and commit what it writes"
	;;
*)
	sed -n '2,/^$/s/^# \{0,1\}//p' ../../../scripts/ui.sh >&2
	exit 2
	;;
esac
