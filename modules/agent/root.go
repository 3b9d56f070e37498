package agent

import (
	"cmp"

	"falcon/modules/agent/collect"
)

// hostRoot says where the files of the host are. dir is the caller's word; without it the
// environment has the last: FALCON_ROOTFS, or stock's NUX_ROOTFS, names where the host's
// root is mounted in a container, HOST_PROC and HOST_SYS where its /proc and /sys are when
// that is elsewhere.
func hostRoot(dir string, getenv func(string) string) collect.Root {
	if dir != "" {
		return collect.At(dir)
	}
	return collect.Root{
		Dir:  cmp.Or(getenv("FALCON_ROOTFS"), getenv("NUX_ROOTFS"), "/"),
		Proc: getenv("HOST_PROC"), Sys: getenv("HOST_SYS"),
	}
}
