#!/usr/bin/env bash
# services.sh starts the stores that tests talk to, private to one folder.
#
#   scripts/services.sh up [DIR]     start what is missing, print the environment
#   scripts/services.sh env DIR      print the environment of running services
#   scripts/services.sh down DIR     end them and remove DIR
#
# Only lines for the shell go to stdout, so a test run is
#
#   eval "$(scripts/services.sh up)" && go test ./... ; scripts/services.sh down "$FALCON_SERVICES_DIR"
#
# Everything listens on 127.0.0.1 only, on ports that were free, with small
# buffers, and keeps its data, log, pid and port below DIR/<service>. A service
# that runs on the machine already is neither used nor touched.
#
# Exit status: 0 done, 1 a service did not start (its log is named), 2 wrong use,
# 3 a program is missing and can not be installed: the caller may skip, with the
# reason that was printed.
#
# A service is three functions, NAME_up, NAME_env and NAME_down, and its name in
# SERVICES.

set -euo pipefail

SERVICES="mariadb redis"

say() { echo "services: $*" >&2; }

# free_port prints a loopback port that nobody listens on. Between this look and
# the service's bind another process may take it, so whoever starts a service
# tries again with another port.
free_port() {
	local port
	for _ in $(seq 100); do
		port=$((20000 + RANDOM % 12000))
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "$port"
			return 0
		fi
	done
	say "no free port between 20000 and 32000"
	return 1
}

# alive DIR says whether the process of DIR/pid runs.
alive() { [ -s "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null; }

# install PROGRAM PACKAGE makes sure that PROGRAM exists. The package may not
# start its system service: policy-rc.d says so while it is being installed.
install() {
	local program=$1 package=$2 policy=/usr/sbin/policy-rc.d made= rc=0
	command -v "$program" >/dev/null && return 0
	if [ "$(id -u)" != 0 ]; then
		say "$program is missing: install the package $package (this user is not root and can not)"
		exit 3
	fi
	if ! command -v apt-get >/dev/null; then
		say "$program is missing and this machine has no apt-get: install it by hand (package $package)"
		exit 3
	fi
	say "installing $package"
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
		made=1
	fi
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get -q -o DPkg::Lock::Timeout=120 update &&
		apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends "$package"; } >&2 || rc=$?
	[ -z "$made" ] || rm -f "$policy"
	if [ "$rc" != 0 ] || ! command -v "$program" >/dev/null; then
		say "$program is missing and $package could not be installed"
		exit 3
	fi
}

# --- MariaDB ---------------------------------------------------------------------------

mariadb_up() {
	local dir=$1/mariadb user port
	alive "$dir" && return 0
	install mariadbd mariadb-server

	# As root the server runs as mysql when that user can reach the folder.
	user=$(id -un)
	mkdir -p "$dir"
	if [ "$user" = root ]; then
		if id mysql >/dev/null 2>&1 && runuser -u mysql -- test -x "$dir"; then
			user=mysql
			chown mysql "$dir"
		fi
	fi

	if [ ! -d "$dir/data/mysql" ]; then
		say "making an empty MariaDB below $dir"
		mariadb-install-db --no-defaults --user="$user" --datadir="$dir/data" --skip-test-db --skip-name-resolve \
			--auth-root-authentication-method=normal --innodb-log-file-size=8M \
			>"$dir/install.log" 2>&1 || { say "mariadb-install-db failed, see $dir/install.log"; return 1; }
	fi

	for _ in 1 2 3; do
		port=$(free_port)
		# Nothing is synced: these data need not outlive the machine.
		# SET GLOBAL general_log=ON writes every statement to DIR/mariadb/general.log.
		mariadbd --no-defaults --user="$user" --datadir="$dir/data" --bind-address=127.0.0.1 --port="$port" \
			--socket="$dir/sock" --pid-file="$dir/pid" --skip-name-resolve --skip-log-bin \
			--character-set-server=utf8mb4 --max-connections=300 \
			--innodb-buffer-pool-size=48M --innodb-log-file-size=8M --innodb-flush-log-at-trx-commit=0 \
			--innodb-flush-method=nosync --innodb-doublewrite=OFF --sync-frm=OFF \
			--key-buffer-size=1M --aria-pagecache-buffer-size=1M --performance-schema=OFF \
			--general-log=OFF --general-log-file="$dir/general.log" \
			>"$dir/log" 2>&1 </dev/null &
		local child=$!
		disown "$child"
		for _ in $(seq 300); do
			if mariadb-admin --no-defaults --host=127.0.0.1 --port="$port" --user=root --connect-timeout=2 ping >/dev/null 2>&1 && alive "$dir"; then
				echo "$port" >"$dir/port"
				return 0
			fi
			kill -0 "$child" 2>/dev/null || break
			sleep 0.1
		done
		kill "$child" 2>/dev/null || true
		if ! grep -q "Can't start server: Bind" "$dir/log"; then
			break
		fi
		say "port $port was taken meanwhile, trying another"
	done
	say "MariaDB did not start, see $dir/log:"
	tail -5 "$dir/log" >&2
	return 1
}

mariadb_env() {
	echo "export FALCON_TEST_MYSQL='root@tcp(127.0.0.1:$(cat "$1/mariadb/port"))/'"
}

mariadb_down() { end "$1/mariadb"; }

# --- Redis -----------------------------------------------------------------------------

# Tests that need a Redis of their own start one from the same program.
redis_up() {
	local dir=$1/redis
	alive "$dir" && return 0
	install redis-server redis-server
	mkdir -p "$dir"
	redis-server --port 0 --unixsocket "$dir/sock" --dir "$dir" --save "" --appendonly no \
		--pidfile "$dir/pid" --daemonize yes --logfile "$dir/log" >&2
	for _ in $(seq 100); do
		if [ -S "$dir/sock" ] && alive "$dir"; then
			return 0
		fi
		sleep 0.1
	done
	say "Redis did not start, see $dir/log"
	return 1
}

redis_env() { echo "export FALCON_TEST_REDIS='unix:$1/redis/sock'"; }

redis_down() { end "$1/redis"; }

# --- all of them -----------------------------------------------------------------------

# end DIR ends the process of DIR/pid and waits for it, 10 s at most.
end() {
	local pid
	alive "$1" || return 0
	pid=$(cat "$1/pid")
	kill "$pid" 2>/dev/null || return 0
	for _ in $(seq 100); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	say "process $pid did not end within 10 s: killing it"
	kill -9 "$pid" 2>/dev/null || true
}

up() {
	local dir=${1:-} s
	if [ -z "$dir" ]; then
		dir=$(mktemp -d "${TMPDIR:-/tmp}/falcon-services.XXXXXX")
		chmod 755 "$dir" # the services' own users must reach what is theirs
	fi
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	if [ ! -e "$dir/.falcon-services" ] && [ -n "$(ls -A "$dir")" ]; then
		say "$dir is not empty and was not made by this script: name another folder"
		exit 2
	fi
	: >"$dir/.falcon-services"
	for s in $SERVICES; do
		"${s}_up" "$dir" || { down "$dir"; exit 1; }
	done
	print_env "$dir"
}

print_env() {
	local dir=$1 s
	for s in $SERVICES; do
		if ! alive "$dir/$s"; then
			say "$s does not run below $dir: start it with $0 up $dir"
			exit 1
		fi
		"${s}_env" "$dir"
	done
	echo "export FALCON_SERVICES_DIR='$dir'"
}

# down removes a folder only when up made it.
down() {
	local dir=$1 s
	if [ ! -e "$dir/.falcon-services" ]; then
		say "$dir was not made by this script: nothing is removed"
		exit 2
	fi
	for s in $SERVICES; do
		"${s}_down" "$dir"
	done
	rm -rf "$dir"
}

case "${1:-} $#" in
"up 1" | "up 2") up "${2:-}" ;;
"env 2") print_env "$2" ;;
"down 2") down "$2" ;;
*)
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
