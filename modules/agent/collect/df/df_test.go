package df

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"falcon/modules/agent/collect"
)

var root = collect.At("../testdata/root")

func points(t *testing.T, c *Collector) (out []string) {
	t.Helper()
	mounts, err := c.mounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		out = append(out, m.MountPoint)
	}
	return out
}

func TestWhichMounts(t *testing.T) {
	want := []string{"/", "/d", "/library", "/srv"} // a device at its shortest path, no /net, no /lib, no tmpfs
	if got := points(t, New(root, nil)); !slices.Equal(got, want) {
		t.Errorf("mounts %v, want %v", got, want)
	}
	if got := points(t, New(root, []string{"/dev/shm"})); !slices.Equal(got, []string{"/dev/shm"}) {
		t.Errorf("with a list: %v", got)
	}
}

func TestValues(t *testing.T) {
	c := New(root, []string{"/", "/d"})
	c.statfs = func(path string) (unix.Statfs_t, error) {
		if strings.HasSuffix(path, "/d") {
			return unix.Statfs_t{Frsize: 4096, Blocks: 100, Bfree: 50, Bavail: 50}, nil // no inodes
		}
		return unix.Statfs_t{Frsize: 1024, Blocks: 1000, Bfree: 400, Bavail: 200, Files: 10, Ffree: 4}, nil
	}
	items, err := c.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, it := range items {
		got[it.Metric+"{"+it.Tags+"}"] = it.Value
	}
	want := map[string]float64{
		"df.bytes.total{fstype=ext4,mount=/}": 1024000, "df.bytes.used{fstype=ext4,mount=/}": 614400,
		"df.bytes.free{fstype=ext4,mount=/}": 204800, "df.bytes.used.percent{fstype=ext4,mount=/}": 75,
		"df.bytes.free.percent{fstype=ext4,mount=/}": 25,
		"df.inodes.total{fstype=ext4,mount=/}":       10, "df.inodes.used{fstype=ext4,mount=/}": 6, "df.inodes.free{fstype=ext4,mount=/}": 4,
		"df.inodes.used.percent{fstype=ext4,mount=/}": 60, "df.inodes.free.percent{fstype=ext4,mount=/}": 40,
		"df.bytes.total{fstype=xfs,mount=/d}": 409600, "df.bytes.used{fstype=xfs,mount=/d}": 204800,
		"df.bytes.free{fstype=xfs,mount=/d}": 204800, "df.bytes.used.percent{fstype=xfs,mount=/d}": 50,
		"df.bytes.free.percent{fstype=xfs,mount=/d}": 50,
		"df.statistics.total{}":                      1433600, "df.statistics.used{}": 819200, "df.statistics.used.percent{}": 819200 * 100 / 1433600.0,
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d values, want %d: %v", len(got), len(want), got)
	}
}

// A mount that hangs is named, keeps no other back, is not asked twice, and counts
// again once it has answered.
func TestAHangingMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		asked := 0
		c := New(root, []string{"/", "/srv"})
		c.statfs = func(path string) (unix.Statfs_t, error) {
			if strings.HasSuffix(path, "/srv") {
				asked++
				<-release
			}
			return unix.Statfs_t{Frsize: 1, Blocks: 10, Bfree: 5, Bavail: 5}, nil
		}
		mounts := func() string {
			items, err := c.Collect(t.Context())
			var got []string
			for _, it := range items {
				if it.Metric == "df.bytes.total" {
					got = append(got, it.Tags)
				}
			}
			if err != nil {
				got = append(got, err.Error())
			}
			return strings.Join(got, "; ")
		}
		if got, want := mounts(), "fstype=ext4,mount=/; mount /srv does not answer"; got != want {
			t.Errorf("first: %q, want %q", got, want)
		}
		if got, want := mounts(), "fstype=ext4,mount=/; mount /srv still hangs"; got != want {
			t.Errorf("second: %q, want %q", got, want)
		}
		close(release)
		synctest.Wait()
		if got, want := mounts(), "fstype=ext4,mount=/; fstype=nfs,mount=/srv"; got != want {
			t.Errorf("third: %q, want %q", got, want)
		}
		if asked != 2 {
			t.Errorf("the hanging mount was asked %d times, want 2", asked)
		}
	})
}

// What /etc/fstab wants writable and is not is told; what it wants read-only, what is not
// mounted and what it does not name is nobody's trouble.
func TestReadOnlyMounts(t *testing.T) {
	root := collect.At(t.TempDir())
	for file, text := range map[string]string{
		"proc/1/mountinfo": `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 254:1 / /data rw,relatime - ext4 /dev/vdb ro,errors=remount-ro
24 22 254:2 / /my\\040disk ro,relatime - xfs /dev/vdc rw
25 22 254:3 / /iso ro - iso9660 /dev/sr0 ro
26 22 254:4 / /other ro - ext4 /dev/vdd ro
`,
		"etc/fstab": `# <file system> <mount point> <type> <options>
UUID=1 / ext4 defaults 0 1
/dev/vdb /data ext4 rw,noatime 0 2
/dev/vdc /my\\040disk xfs defaults 0 2
/dev/sr0 /iso iso9660 ro,noauto 0 0
/dev/vde /gone ext4 defaults 0 2
/dev/vdf none swap sw 0 0
broken line
`,
	} {
		if err := os.MkdirAll(filepath.Dir(root.Path(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root.Path(file), []byte(strings.ReplaceAll(text, `\\`, `\`)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	items, err := New(root, nil).readOnly()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, it := range items {
		got = append(got, fmt.Sprintf("%s{%s} %v", it.Metric, it.Tags, it.Value))
	}
	want := []string{"df.mounts.ro{fstype=ext4,mount=/} 0", "df.mounts.ro{fstype=ext4,mount=/data} 1", "df.mounts.ro{fstype=xfs,mount=/my disk} 1"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
