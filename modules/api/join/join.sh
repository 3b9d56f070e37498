#!/bin/sh
# Makes this Linux host report to the Falcon at {{.Falcon}}.
#
#   FALCON_DIR       where the agent is put; /opt/falcon/agent
#   FALCON_ENDPOINT  the name of this host in Falcon; the kernel's name
#
# As root on a host with systemd it installs a unit and starts it, else it runs the agent
# in the foreground.
set -eu

main() {
	[ "$(uname -s)" = Linux ] || fail "this host runs $(uname -s), the agent runs on Linux"
	machine=$(uname -m)
	case $machine in
{{- range .Programs}}
	{{.Machine}}) arch={{.Arch}} sum={{.Sum}} guard={{.Guard}} ;;
{{- end}}
	*) fail "there is no agent here for a $machine; there is one for{{range .Programs}} {{.Machine}}{{end}}" ;;
	esac
	dir=${FALCON_DIR:-/opt/falcon/agent}
	service=
	[ "$(id -u)" = 0 ] && [ -d /run/systemd/system ] && [ -z "${FALCON_DIR:-}" ] && service=1
	mkdir -p "$dir" || fail "$dir can not be made; run this as root, or say another folder with FALCON_DIR"

	if [ -x "$dir/falcon-agent" ]; then
		echo "keeping $dir/falcon-agent, version $("$dir/falcon-agent" -v)"
	else
		program falcon-agent "$sum" "$dir/falcon-agent"
	fi
	# Puts the old agent back when an upgrade goes wrong; the unit runs it before each start.
	[ -z "$service" ] || [ -z "$guard" ] || program falcon-agent-guard "$guard" /usr/bin/falcon-agent-guard
	if [ -e "$dir/agent.json" ]; then
		echo "keeping $dir/agent.json"
	else
		spool=$dir/spool
		[ -z "$service" ] || spool=/var/lib/falcon/agent/spool
		config | sed "s#@SPOOL@#$spool#" >"$dir/agent.json"
	fi
	if [ -n "${FALCON_ENDPOINT:-}" ] && [ -n "$service" ]; then
		mkdir -p /etc/systemd/system/falcon-agent.service.d
		printf '[Service]\nEnvironment="FALCON_ENDPOINT=%s"\n' "$FALCON_ENDPOINT" >/etc/systemd/system/falcon-agent.service.d/endpoint.conf
	fi
	if [ -z "$service" ]; then
		echo "this host reports to {{.Falcon}} while this runs; stop it with Ctrl-C"
		cd "$dir"
		exec ./falcon-agent -c agent.json
	fi

	id falcon-agent >/dev/null 2>&1 || useradd --system --user-group --home-dir "$dir" --shell /usr/sbin/nologin falcon-agent
	chown -R falcon-agent:falcon-agent "$dir"
	unit >/etc/systemd/system/falcon-agent.service
	target >/etc/systemd/system/falcon.target
	systemctl daemon-reload
	systemctl enable --now falcon.target falcon-agent.service
	echo "this host reports to {{.Falcon}}; look with: systemctl status falcon-agent"
}

fail() {
	echo "join: $*" >&2
	exit 1
}

program() { # program NAME SHA256 FILE
	fetch {{quote .URL}}/$1-linux-$arch "$3.new"
	echo "$2  $3.new" | sha256sum -c - >/dev/null 2>&1 || {
		rm -f "$3.new"
		fail "what was fetched is not $1: its SHA-256 differs"
	}
	chmod 755 "$3.new"
	mv "$3.new" "$3"
}

fetch() { # fetch URL FILE
	if command -v curl >/dev/null; then
		curl -fsSL --retry 3 -o "$2" "$1"
	elif command -v wget >/dev/null; then
		wget -q -O "$2" "$1"
	else
		fail "neither curl nor wget is here"
	fi || fail "$1 could not be fetched"
}

config() {
	cat <<'END'
{{.Config}}
END
}

unit() {
	cat <<'END'
{{.Unit}}
END
}

target() {
	cat <<'END'
{{.Target}}
END
}

# The last line, so that half a script does nothing.
main
