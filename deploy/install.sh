#!/usr/bin/env bash
# Lays the programs, configurations and units of Falcon below DESTDIR (/ when it is
# empty); make install has built the programs and calls this.
#
#   deploy/install.sh BIN CONFIG DAEMON...
#
# BIN has the programs. CONFIG is a folder of configurations, such as
# config/examples/three-nodes; what it lacks comes from config/. A configuration that
# is there already stays: the new one is put beside it as FILE.new when it differs. An
# agent that is newer than ours stays, too, since agents may have been upgraded
# where they are.
set -euo pipefail
cd "$(dirname "$0")/.."

root=${DESTDIR:-} bin=$1 from=$2
shift 2
etc=$root/etc/falcon agent=$root/opt/falcon/agent lib=$root/usr/lib

# installed SOURCE prints a configuration with the paths of an installation.
installed() {
	sed -e 's#"\./data/spool/\([a-z_]*\)"#"/var/lib/falcon/\1/spool"#' \
		-e 's#"\./data/\([a-z_]*\)"#"/var/lib/falcon/\1"#' \
		-e 's#"\./data"#"/var/lib/falcon/fleet"#' "$1"
}

config() { # config NAME TARGET
	local source=$from/$1
	[ -e "$source" ] || source=config/$1
	if [ -e "$2" ]; then
		if installed "$source" | cmp -s - "$2"; then
			rm -f "$2.new"
			return
		fi
		installed "$source" >"$2.new"
		chmod 640 "$2.new"
		echo "kept    $2; ours is beside it as ${2##*/}.new"
		return
	fi
	installed "$source" >"$2"
	chmod 640 "$2"
}

# newer A B says whether version A is later than B.
newer() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$1" ]; }

# as_agent runs a program that the agent's user may have written, not as root.
as_agent() {
	if [ "$(id -u)" = 0 ] && id falcon-agent >/dev/null 2>&1; then
		runuser -u falcon-agent -- "$@"
	else
		"$@"
	fi
}

[ -d "$from" ] || { echo "install: there is no folder $from; name one with CONFIG=" >&2; exit 2; }
install -d "$root/usr/bin" "$etc" "$agent" "$lib/systemd/system" "$lib/sysusers.d" "$lib/tmpfiles.d" "$root/usr/share/falcon/nginx"
install -m 755 "$bin/falcon" "$root/usr/bin/falcon"
install -m 644 deploy/systemd/falcon.service deploy/systemd/falcon.target "$lib/systemd/system/"
config fleet.json "$etc/fleet.json"
for d in "$@"; do
	case $d in
	agent)
		if [ -x "$agent/falcon-agent" ] && there=$(as_agent "$agent/falcon-agent" -v) && ours=$("$bin/falcon-agent" -v) && newer "$there" "$ours"; then
			echo "kept    ${agent}/falcon-agent: it is $there, newer than $ours"
		else
			# A running program can not be written, but its name can be taken.
			install -m 755 "$bin/falcon-agent" "$agent/falcon-agent.new"
			mv "$agent/falcon-agent.new" "$agent/falcon-agent"
		fi
		# What rolls a bad agent back is not the agent's to change.
		install -m 755 "$bin/falcon-agent-guard" "$root/usr/bin/falcon-agent-guard"
		config agent.json "$agent/agent.json"
		;;
	*)
		install -m 755 "$bin/falcon-$d" "$root/usr/bin/falcon-$d"
		config "$d.json" "$etc/$d.json"
		;;
	esac
	install -m 644 "deploy/systemd/falcon-$d.service" "$lib/systemd/system/"
done
install -m 644 deploy/systemd/sysusers.conf "$lib/sysusers.d/falcon.conf"
install -m 644 deploy/systemd/tmpfiles.conf "$lib/tmpfiles.d/falcon.conf"
if [ -d "$bin/download" ]; then # what hosts fetch that join
	install -d "$root/usr/share/falcon/download"
	install -m 755 "$bin"/download/* "$root/usr/share/falcon/download/"
fi
[ ! -e deploy/nginx/falcon.conf ] || install -m 644 deploy/nginx/*.conf "$root/usr/share/falcon/nginx/"

if [ -z "$root" ] && command -v systemctl >/dev/null; then
	systemd-sysusers falcon.conf
	systemd-tmpfiles --create falcon.conf
	[ ! -d /run/systemd/system ] || systemctl daemon-reload
fi
