package coredump

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"falcon/modules/agent/collect"
)

const boot = "0123456789abcdef0123456789abcdef"

// Each way of a kernel to put cores somewhere, and which file tells which process.
func TestPlace(t *testing.T) {
	for _, c := range []struct{ pattern, folder, file, process string }{
		{"/data/cores/core-%e-%p", "/data/cores", "core-nginx-4711", "nginx"},
		{"/data/cores/core-%e-%p", "/data/cores", "core-nginx-4711.4711", "nginx"}, // core_uses_pid
		{"/cores/%t.%h.%e", "/cores", "1700000000.web-1.my-app", "my-app"},
		{"/cores/100%%.%e", "/cores", "100%.x", "x"},
		{"/cores/core.%p", "/cores", "core.12", ""},
		{"/core", "/", "core", ""},
		{"|/usr/lib/systemd/systemd-coredump %P %u %g %s %t %c %h", "/var/lib/systemd/coredump", "core.java.0." + boot + ".4711.1700000000000000.zst", "java"},
		{"|/lib/systemd/systemd-coredump %P", "/var/lib/systemd/coredump", "core.a.b.1000." + boot + ".1.2", "a.b"},
		{"|/usr/share/apport/apport -p%p", "/var/crash", "_usr_sbin_nginx.0.crash", "nginx"},
	} {
		folder, file := place(c.pattern)
		if folder != c.folder {
			t.Errorf("%s: folder %q, want %q", c.pattern, folder, c.folder)
			continue
		}
		m := file.FindStringSubmatch(c.file)
		process := ""
		if len(m) > 1 {
			process = m[1]
		}
		if m == nil || process != c.process {
			t.Errorf("%s: %s is of %q, want %q", c.pattern, c.file, process, c.process)
		}
		if file.MatchString("notes.txt") {
			t.Errorf("%s: notes.txt is a core", c.pattern)
		}
	}
	for _, pattern := range []string{"core", "core.%p", "|/opt/crash/collect %p", "/cores/%e/core", "/cores/", ""} {
		if folder, _ := place(pattern); folder != "" {
			t.Errorf("%q is watched in %q", pattern, folder)
		}
	}
}

// A core is told once: by the look after it appeared, or after it replaced an older one
// of the same name.
func TestNewCores(t *testing.T) {
	root := collect.At(t.TempDir())
	at := time.Unix(1_700_000_000, 0)
	write := func(file, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(root.Path(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root.Path(file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(root.Path(file), at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/sys/kernel/core_pattern", "/cores/core-%e\n")
	c, w := New(root), Watch(root)
	wants := func(what string, value float64, processes ...string) {
		t.Helper()
		items, err := c.Collect(t.Context())
		if err != nil || len(items) != 1 || items[0].Metric != "kernel.coredump" || items[0].Value != value {
			t.Errorf("%s: %v, %v, want kernel.coredump %v", what, items, err, value)
		}
		got, _, err := w.New()
		slices.Sort(got)
		if err != nil || !slices.Equal(got, processes) {
			t.Errorf("%s: cores of %q, %v, want %q", what, got, err, processes)
		}
	}
	wants("no folder yet", 0)
	write("cores/core-a", "")
	write("cores/core-b", "")
	write("cores/readme", "")
	wants("two cores", 1, "a", "b")
	wants("nothing", 0)
	at = at.Add(3 * time.Second)
	write("cores/core-a", "still being written")
	wants("a core that is still written", 0)
	at = at.Add(time.Hour)
	write("cores/core-a", "")
	wants("another one in its place", 1, "a")
	if err := os.Remove(root.Path("cores/core-b")); err != nil {
		t.Fatal(err)
	}
	wants("one that was tidied away", 0)
	write("var/lib/systemd/coredump/core.old.0."+boot+".1.2", "")
	write("proc/sys/kernel/core_pattern", "|/lib/systemd/systemd-coredump %P\n")
	wants("another folder, whose cores are old", 0)
	write("var/lib/systemd/coredump/core.new.0."+boot+".1.2.zst", "")
	wants("a core there", 1, "new")
	write("proc/sys/kernel/core_pattern", "core\n")
	if items, err := c.Collect(t.Context()); err != nil || len(items) != 0 {
		t.Errorf("cores that go nowhere in particular: %v, %v", items, err)
	}
}
