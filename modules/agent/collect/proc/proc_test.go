package proc

import (
	"os"
	"path/filepath"
	"testing"

	"falcon/modules/agent/collect"
)

func write(t *testing.T, root collect.Root, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(root.Path(file)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root.Path(file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func process(t *testing.T, root collect.Root, pid, name, cmdline string) {
	write(t, root, "proc/"+pid+"/status", "Name:\t"+name+"\nUmask:\t0022\nState:\tS (sleeping)\n")
	write(t, root, "proc/"+pid+"/cmdline", cmdline)
}

// Contract ingest 3.8: which processes a rule's tags count.
func TestCount(t *testing.T) {
	root := collect.At(t.TempDir())
	process(t, root, "1", "systemd", "/sbin/init\x00splash\x00")
	process(t, root, "2", "kthreadd", "") // of the kernel
	process(t, root, "30", "java", "java\x00-jar\x00/srv/shop.jar\x00")
	process(t, root, "31", "java", "java\x00-jar\x00/srv/mail.jar\x00--name\x00shop\x00")
	process(t, root, "32", "very-long-name-", "./very-long-name-of-all\x00")
	process(t, root, "33", "a b", "a b")
	write(t, root, "proc/34/cmdline", "gone") // it ended meanwhile
	write(t, root, "proc/stat", "cpu 1 2 3\n")
	write(t, root, "proc/35/cmdline", "nameless")
	write(t, root, "proc/35/status", "State:\tS\n")
	for _, c := range []struct {
		tags string
		want float64
	}{
		{"name=java", 2},
		{"name=jav", 0},
		{"name=systemd", 1},
		{"name=kthreadd", 0},
		{"name=very-long-name-of-all", 1}, // the kernel keeps 15 bytes
		{"name=a b", 1},
		{"cmdline=shop", 2},
		{"cmdline=-jar/srv/shop.jar", 1}, // NULs are removed
		{"name=java,cmdline=mail", 1},
		{"cmdline=mail,name=java", 1},
		{"name=systemd,cmdline=mail", 0},
		{"name=java,host=x", 2},
		{"name=,cmdline=init", 1},
		{" name = java ", -1}, // the key is "name " and names nothing
		{"name= java", 2},
	} {
		p := New(root)
		refused := p.Want([]string{c.tags})
		if c.want < 0 {
			if len(refused) != 1 || refused[0].Tags != c.tags {
				t.Errorf("%q is not refused: %v", c.tags, refused)
			}
			continue
		}
		items, err := p.Collect(t.Context())
		if err != nil || len(items) != 1 || items[0] != (collect.Item{Metric: "proc.num", Type: "GAUGE", Tags: c.tags, Value: c.want}) {
			t.Errorf("%q: %v, %v, want %v", c.tags, items, err, c.want)
		}
	}
	// Neither name nor command line would be every process.
	for _, tags := range []string{"", "name=", "user=root", "cmdline="} {
		p := New(root)
		if refused := p.Want([]string{tags}); len(refused) != 1 {
			t.Errorf("%q is not refused", tags)
		}
		if items, err := p.Collect(t.Context()); items != nil || err != nil {
			t.Errorf("%q: %v, %v", tags, items, err)
		}
	}
	// Nothing to be seen is no answer of 0.
	p := New(collect.At(t.TempDir()))
	write(t, p.root, "proc/stat", "")
	p.Want([]string{"name=java"})
	if items, err := p.Collect(t.Context()); err == nil {
		t.Errorf("an empty /proc: %v", items)
	}
}

func TestHere(t *testing.T) {
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Skip("no /proc here")
	}
	p := New(collect.At("/"))
	p.Want([]string{"name=" + string(name)})
	if items, err := p.Collect(t.Context()); err != nil || len(items) != 1 || items[0].Value < 1 {
		t.Errorf("this process: %v, %v", items, err)
	}
}

func BenchmarkCollect(b *testing.B) {
	p := New(collect.At("/"))
	p.Want([]string{"name=crond", "cmdline=/usr/bin/java"})
	for b.Loop() {
		if _, err := p.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// A core is told to the rules about its process, once, also when its name is cut.
func TestDumps(t *testing.T) {
	root := collect.At(t.TempDir())
	d := NewDumps(root)
	if refused := d.Want([]string{"name=nginx", "name=very-long-name-of-all,x=y", "cmdline=x", ""}); len(refused) != 2 {
		t.Errorf("refused %v", refused)
	}
	write(t, root, "proc/sys/kernel/core_pattern", "core\n")
	if items, err := d.Collect(t.Context()); err == nil || items != nil {
		t.Errorf("cores that go nowhere in particular: %v, %v", items, err)
	}
	write(t, root, "proc/sys/kernel/core_pattern", "/cores/%e-%p\n")
	wants := func(what string, nginx, long float64) {
		t.Helper()
		items, err := d.Collect(t.Context())
		if err != nil || len(items) != 2 ||
			items[0] != (collect.Item{Metric: "proc.coredump", Type: "GAUGE", Tags: "name=nginx", Value: nginx}) ||
			items[1] != (collect.Item{Metric: "proc.coredump", Type: "GAUGE", Tags: "name=very-long-name-of-all,x=y", Value: long}) {
			t.Errorf("%s: %v, %v", what, items, err)
		}
	}
	write(t, root, "cores/nginx-1", "")
	wants("an old core", 0, 0)
	write(t, root, "cores/nginx-2", "")
	write(t, root, "cores/other-3", "")
	wants("a core", 1, 0)
	wants("no other", 0, 0)
	write(t, root, "cores/very-long-name--3", "")
	wants("a core of a long name", 0, 1)
	d.Want(nil)
	if items, err := d.Collect(t.Context()); err != nil || items != nil {
		t.Errorf("with nothing wanted: %v, %v", items, err)
	}
	write(t, root, "cores/nginx-4", "")
	d.Want([]string{"name=nginx", "name=very-long-name-of-all,x=y"})
	wants("a core of the time when nobody asked", 0, 0)
	write(t, root, "cores/nginx-5", "")
	wants("a core since", 1, 0)
}
