package agent

import "testing"

// Where the host's files are, on a host and in a container.
func TestHostRoot(t *testing.T) {
	for _, tc := range []struct {
		name, dir        string
		env              map[string]string
		proc, sys, fstab string
	}{
		{"a host", "", nil, "/proc/1", "/sys/class", "/etc/fstab"},
		{"its root is mounted", "", map[string]string{"FALCON_ROOTFS": "/host"}, "/host/proc/1", "/host/sys/class", "/host/etc/fstab"},
		{"by stock's name", "", map[string]string{"NUX_ROOTFS": "/host"}, "/host/proc/1", "/host/sys/class", "/host/etc/fstab"},
		{"ours first", "", map[string]string{"FALCON_ROOTFS": "/a", "NUX_ROOTFS": "/b"}, "/a/proc/1", "/a/sys/class", "/a/etc/fstab"},
		{"/proc and /sys elsewhere", "", map[string]string{"HOST_PROC": "/p", "HOST_SYS": "/s"}, "/p/1", "/s/class", "/etc/fstab"},
		{"all of it", "", map[string]string{"FALCON_ROOTFS": "/host", "HOST_PROC": "/p"}, "/p/1", "/host/sys/class", "/host/etc/fstab"},
		{"who says so", "/dir", map[string]string{"FALCON_ROOTFS": "/host", "HOST_PROC": "/p"}, "/dir/proc/1", "/dir/sys/class", "/dir/etc/fstab"},
	} {
		r := hostRoot(tc.dir, func(key string) string { return tc.env[key] })
		if p, s, e := r.Path("proc", "1"), r.Path("/sys/class"), r.Path("etc/fstab"); p != tc.proc || s != tc.sys || e != tc.fstab {
			t.Errorf("%s: %s %s %s, want %s %s %s", tc.name, p, s, e, tc.proc, tc.sys, tc.fstab)
		}
		if got := r.Path("process"); r.Proc != "" && got == r.Proc+"ess" {
			t.Errorf("%s: /process is %s", tc.name, got)
		}
	}
}
