#!/usr/bin/env bash
# Boots systemd as process 1 of namespaces of its own, over a copy-on-write view of this
# machine onto which an installation is laid. Nothing outside is changed, and everything
# is gone when the process is killed. boot_test.go drives it.
#
#   boot.sh WORK INSTALLED DAEMON...
#
# WORK is an empty folder, INSTALLED what install.sh has laid below DESTDIR. With
# FALCON_BOOT_SQL there is a MariaDB, too, that runs these statements when it starts;
# FALCON_BOOT_REDIS are more arguments for Redis. The names of the example with three
# nodes lead to this one. Exit code 3 says that this machine does not let us, and why.
set -euo pipefail
work=$1 installed=$2
shift 2

# outside: a control group of its own, then the namespaces.
if [ -z "${FALCON_BOOT_INSIDE:-}" ]; then
	if ! unshare --mount --pid --fork --cgroup true 2>"$work/why"; then
		echo "no namespaces: $(tail -n 1 "$work/why")"
		exit 3
	fi
	echo $$ >"$FALCON_BOOT_CGROUP/cgroup.procs"
	FALCON_BOOT_INSIDE=1 exec unshare --kill-child --fork --pid --mount --uts --ipc --net --cgroup "$0" "$work" "$installed" "$@"
fi

can() { # can WHAT COMMAND...
	local what=$1
	shift
	if ! "$@" 2>"$work/why"; then
		echo "$what: $(tail -n 1 "$work/why")"
		exit 3
	fi
}
can "no private mounts" mount --make-rprivate /
can "no tmpfs" mount -t tmpfs tmpfs "$work"
mkdir "$work/upper" "$work/workdir" "$work/root"
can "no overlay of the root folder" mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/workdir" "$work/root"
root=$work/root
# Taken before the folder of tmp is hidden, which may be where it lies.
cp -a "$installed/." "$root/"
# What an operator carries to a node, for an upgrade.
mkdir -p "$root/release/bin"
cp -a "$(dirname "$0")/.." "$root/release/deploy"
cp -a "$(dirname "$0")/../../config" "$root/release/config"
cp -a "$installed"/usr/bin/* "$installed/opt/falcon/agent/falcon-agent" "$root/release/bin/"
can "no /proc" mount -t proc proc "$root/proc"
can "no read-only /proc/sys" mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
can "no /dev" mount --rbind /dev "$root/dev"
can "no /sys" mount -t sysfs -o ro sysfs "$root/sys"
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
	can "no control groups" mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
	can "no control groups" mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
	mkdir "$root/sys/fs/cgroup/systemd"
	can "no control groups" mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir "$root/run/lock"

units=$root/etc/systemd/system
mkdir -p "$units/falcon.target.wants"
for t in sysinit basic network-online; do
	printf '[Unit]\nDefaultDependencies=no\n' >"$units/$t.target"
done
cat >"$units/redis-server.service" <<-X
	[Service]
	Type=exec
	ExecStart=$(command -v redis-server) --port 6379 --bind 127.0.0.1 --save "" --dir /tmp ${FALCON_BOOT_REDIS:-}
X
if [ -n "${FALCON_BOOT_SQL:-}" ]; then
	echo "$FALCON_BOOT_SQL" >"$root/falcon.sql"
	cat >"$units/mariadb.service" <<-X
		[Service]
		Type=exec
		ExecStartPre=$(command -v mariadb-install-db) --no-defaults --user=root --datadir=/tmp/mariadb --skip-test-db --auth-root-authentication-method=normal
		ExecStart=$(command -v mariadbd) --no-defaults --user=root --datadir=/tmp/mariadb --socket=/tmp/mariadb/sock --bind-address=127.0.0.1 --port=3306 --init-file=/falcon.sql --innodb-buffer-pool-size=48M --innodb-flush-log-at-trx-commit=0 --performance-schema=OFF
	X
fi
printf '127.0.0.%d node-%d\n' 1 1 2 2 3 3 >>"$root/etc/hosts"
echo "127.0.0.1 falcon-mysql falcon-redis" >>"$root/etc/hosts"
cat >"$units/boot.target" <<-X
	[Unit]
	Wants=falcon.target redis-server.service ${FALCON_BOOT_SQL:+mariadb.service}
X
rm -f "$root/etc/machine-id"
echo 00112233445566778899aabbccddeeff >"$root/etc/machine-id"
cat >"$root/falcon-boot" <<-X
	#!/bin/sh -e
	umount -l /old-root
	systemd-sysusers falcon.conf
	systemd-tmpfiles --create falcon.conf
	for d in $*; do
	  ln -s /usr/lib/systemd/system/falcon-\$d.service /etc/systemd/system/falcon.target.wants/
	done
	echo booting
	exec /lib/systemd/systemd --system --unit=boot.target --log-target=console --log-level=info
X
chmod +x "$root/falcon-boot"
export container=docker
# Not chroot: who enters the namespace of a daemon would stand on the machine's own root.
cd "$root"
mkdir old-root
can "no pivot_root" pivot_root . old-root
exec chroot . /falcon-boot
