// Package df collects df.*: room and inodes of mounted filesystems, and which of them
// are read-only against the word of /etc/fstab. Each mount is asked on its own, so that
// one that hangs keeps no other back.
package df

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"falcon/modules/agent/collect"
)

// mountTimeout is how long one mount may take to answer.
const mountTimeout = 3 * time.Second

// Collector reads /proc/self/mountinfo and asks each mount.
type Collector struct {
	root   collect.Root
	only   []string
	statfs func(path string) (unix.Statfs_t, error)

	mu      sync.Mutex
	hanging map[string]bool // mounts that were asked and have not answered
}

// New returns a collector. With mount points given it reports these only.
func New(root collect.Root, only []string) *Collector {
	return &Collector{root: root, only: slices.Clone(only), hanging: map[string]bool{}, statfs: func(path string) (st unix.Statfs_t, err error) {
		err = unix.Statfs(path, &st)
		return st, err
	}}
}

type answer struct {
	mount *procfs.MountInfo
	st    unix.Statfs_t
	err   error
}

// Collect returns the values of all mounts that answer in time. Those that do not
// are named in the error, and are not asked again before they have answered.
func (c *Collector) Collect(ctx context.Context) ([]collect.Item, error) {
	all, err := c.Usage(ctx)
	ro, err2 := c.readOnly()
	return append(items(all), ro...), errors.Join(err, err2)
}

// readOnly returns df.mounts.ro for each mount of /etc/fstab that is to be writable: 1
// when it is not, as after an error of the disk.
func (c *Collector) readOnly() (out []collect.Item, err error) {
	text, err := c.root.Read("etc/fstab")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	writable := map[string]bool{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || strings.HasPrefix(f[0], "#") {
			continue
		}
		writable[unescape.Replace(f[1])] = !slices.Contains(strings.Split(f[3], ","), "ro")
	}
	mounts, err := c.table()
	if err != nil {
		return nil, err
	}
	now := map[string]*procfs.MountInfo{}
	for _, m := range mounts {
		now[m.MountPoint] = m // a later mount hides the earlier one there
	}
	for _, point := range slices.Sorted(maps.Keys(writable)) {
		m := now[point]
		if m == nil || !writable[point] {
			continue
		}
		v := 0.0
		_, ro1 := m.Options["ro"]
		_, ro2 := m.SuperOptions["ro"]
		if ro1 || ro2 {
			v = 1
		}
		out = append(out, collect.G("df.mounts.ro", v, "fstype", m.FSType, "mount", point))
	}
	return out, nil
}

// unescape reads what fstab and mountinfo write in place of white space.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// Usage is the room of a mounted filesystem, in bytes and inodes.
type Usage struct {
	Source, Mount, Type string
	Total, Used, Free   float64
	UsedPercent         float64
	Inodes, InodesFree  float64 // 0 for a filesystem that counts none
}

// InodesUsed returns how many inodes are in use.
func (u *Usage) InodesUsed() float64 { return u.Inodes - u.InodesFree }

// Usage is Collect for who wants the mounts themselves.
func (c *Collector) Usage(ctx context.Context) ([]Usage, error) {
	mounts, err := c.mounts()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, mountTimeout)
	defer cancel()
	answers := make(chan answer, len(mounts))
	asked := map[string]bool{}
	var errs []error
	for _, m := range mounts {
		if !c.ask(m, answers) {
			errs = append(errs, fmt.Errorf("mount %s still hangs", m.MountPoint))
			continue
		}
		asked[m.MountPoint] = true
	}
	got := map[string]answer{}
	for range len(asked) {
		select {
		case a := <-answers:
			got[a.mount.MountPoint] = a
			if a.err != nil {
				errs = append(errs, fmt.Errorf("mount %s: %w", a.mount.MountPoint, a.err))
			}
			continue
		case <-ctx.Done():
		}
		for _, m := range mounts {
			if _, ok := got[m.MountPoint]; asked[m.MountPoint] && !ok {
				errs = append(errs, fmt.Errorf("mount %s does not answer", m.MountPoint))
			}
		}
		break
	}
	return usages(mounts, got), errors.Join(errs...)
}

// ask starts the question to m, unless an earlier one still waits for its answer.
// The goroutine ends when the kernel answers, which nobody can hurry.
func (c *Collector) ask(m *procfs.MountInfo, answers chan<- answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hanging[m.MountPoint] {
		return false
	}
	c.hanging[m.MountPoint] = true
	go func() {
		st, err := c.statfs(c.root.Path(m.MountPoint))
		c.mu.Lock()
		delete(c.hanging, m.MountPoint)
		c.mu.Unlock()
		answers <- answer{m, st, err}
	}()
	return true
}

func usages(mounts []*procfs.MountInfo, got map[string]answer) (all []Usage) {
	for _, m := range mounts {
		a, ok := got[m.MountPoint]
		if !ok || a.err != nil || a.st.Blocks == 0 {
			continue
		}
		size := float64(a.st.Frsize)
		u := Usage{
			Source: m.Source, Mount: m.MountPoint, Type: m.FSType,
			Total: size * float64(a.st.Blocks), Used: size * float64(a.st.Blocks-a.st.Bfree), Free: size * float64(a.st.Bavail),
			UsedPercent: 100, Inodes: float64(a.st.Files), InodesFree: float64(a.st.Ffree),
		}
		if u.Used+u.Free > 0 {
			u.UsedPercent = u.Used * 100 / (u.Used + u.Free)
		}
		all = append(all, u)
	}
	return all
}

func items(all []Usage) []collect.Item {
	var out []collect.Item
	var total, used float64
	for _, u := range all {
		total += u.Total
		used += u.Used
		gauge := func(metric string, v float64) collect.Item {
			return collect.G(metric, v, "fstype", u.Type, "mount", u.Mount)
		}
		out = append(out,
			gauge("df.bytes.total", u.Total),
			gauge("df.bytes.used", u.Used),
			gauge("df.bytes.free", u.Free),
			gauge("df.bytes.used.percent", u.UsedPercent),
			gauge("df.bytes.free.percent", 100-u.UsedPercent),
		)
		if u.Inodes > 0 {
			out = append(out,
				gauge("df.inodes.total", u.Inodes),
				gauge("df.inodes.used", u.InodesUsed()),
				gauge("df.inodes.free", u.InodesFree),
				gauge("df.inodes.used.percent", u.InodesUsed()*100/u.Inodes),
				gauge("df.inodes.free.percent", u.InodesFree*100/u.Inodes),
			)
		}
	}
	if total > 0 {
		out = append(out,
			collect.G("df.statistics.total", total),
			collect.G("df.statistics.used", used),
			collect.G("df.statistics.used.percent", used*100/total),
		)
	}
	return out
}

// mounts returns what is to be reported, ordered by mount point: the filters of
// stock, and a device that is mounted several times at its shortest path only.
func (c *Collector) mounts() ([]*procfs.MountInfo, error) {
	all, err := c.table()
	if err != nil {
		return nil, err
	}
	byPoint := map[string]*procfs.MountInfo{}
	byDevice := map[string]*procfs.MountInfo{}
	for _, m := range all {
		if c.skip(m) {
			continue
		}
		if strings.HasPrefix(m.Source, "/dev") {
			if other := byDevice[m.Source]; other != nil {
				if len(other.MountPoint) <= len(m.MountPoint) {
					continue
				}
				delete(byPoint, other.MountPoint)
			}
			byDevice[m.Source] = m
		}
		byPoint[m.MountPoint] = m // a later mount hides the earlier one there
	}
	out := make([]*procfs.MountInfo, 0, len(byPoint))
	for _, m := range byPoint {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *procfs.MountInfo) int { return strings.Compare(a.MountPoint, b.MountPoint) })
	return out, nil
}

// table returns every mount of the host. Those of process 1 are the host's, also when
// the agent is in a container.
func (c *Collector) table() ([]*procfs.MountInfo, error) {
	proc, err := procfs.NewFS(c.root.Path("proc"))
	if err != nil {
		return nil, err
	}
	all, err := collect.Parse("/proc/1/mountinfo", func() ([]*procfs.MountInfo, error) { return proc.GetProcMounts(1) })
	if err != nil {
		own, err2 := collect.Parse("/proc/self/mountinfo", proc.GetMounts)
		if err2 != nil {
			return nil, errors.Join(err, err2)
		}
		all = own
	}
	for _, m := range all {
		m.MountPoint = unescape.Replace(m.MountPoint)
	}
	return all, nil
}

var (
	skipSource = []string{"none", "nodev", "proc", "hugetlbfs", "mqueue"}
	skipType   = []string{"cgroup", "cgroup2", "debugfs", "devpts", "devtmpfs", "iso9660", "rpc_pipefs", "rootfs", "overlay", "tmpfs", "squashfs", "autofs"}
	skipBelow  = []string{"/sys", "/net", "/misc", "/proc", "/lib"}
)

func (c *Collector) skip(m *procfs.MountInfo) bool {
	if len(c.only) > 0 {
		return !slices.Contains(c.only, m.MountPoint)
	}
	if slices.Contains(skipSource, m.Source) || slices.Contains(skipType, m.FSType) || strings.HasPrefix(m.FSType, "fuse") {
		return true
	}
	return slices.ContainsFunc(skipBelow, func(p string) bool {
		return m.MountPoint == p || strings.HasPrefix(filepath.Clean(m.MountPoint)+"/", p+"/")
	})
}
