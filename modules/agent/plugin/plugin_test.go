package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/stat"
	"falcon/common/testkit"
)

func TestArgs(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"a", []string{"a"}},
		{"a,b", []string{"a", "b"}},
		{` a , "b c" , 'd' `, []string{"a", "b c", "d"}},
		{`a\,b`, []string{"a,b"}}, // stock makes two of it
		{`a\,b,c`, []string{"a,b", "c"}},
		{`"a\,b"`, []string{"a,b"}},
		{`"a,b"`, []string{"a", "b"}}, // quotes do not join
		{`a,,b`, []string{"a", "", "b"}},
		{`,`, []string{"", ""}},
		{`'"a"'`, []string{`"a"`}}, // first ", then '
		{`"'a'"`, []string{"a"}},
		{`a\b`, []string{`a\b`}},
		{`a\`, []string{`a\`}},
		{`(x)`, []string{"(x)"}},
	} {
		if got := Args(c.in); !slices.Equal(got, c.want) {
			t.Errorf("Args(%q) is %q, want %q", c.in, got, c.want)
		}
	}
}

// write makes a program.
func write(t *testing.T, dir, file, text string) {
	t.Helper()
	name := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "plugin")
	for _, f := range []string{"sys/60_a.py", "sys/10_b", "sys/README", "sys/0_zero", "sys/-5_x", "sys/x_60", "sys/below/60_c", "sys/99999999999_y", "sys/60", "net/30_n(1).sh", "net/5_m", "../60_out"} {
		write(t, dir, f, "#!/bin/sh\n")
	}
	for link, to := range map[string]string{"sys/20_in": "../net/5_m", "sys/21_out": "../../60_out", "sys/22_abs": "/bin/true", "out": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "sys/60_pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		bindings, want, bad string
	}{
		{"sys", "sys/10_b sys/20_in sys/60_a.py", "sys/-5_x sys/0_zero sys/21_out sys/22_abs sys/60_pipe sys/99999999999_y"},
		{"sys/", "sys/10_b sys/20_in sys/60_a.py", "sys/-5_x sys/0_zero sys/21_out sys/22_abs sys/60_pipe sys/99999999999_y"},
		{"sys/60_a.py", "sys/60_a.py()", ""},
		{"sys/60_a.py(a,b)", "sys/60_a.py(a,b)", ""},
		{"sys/60_a.py(a) sys/60_a.py(b) sys", "sys/10_b sys/20_in sys/60_a.py(a) sys/60_a.py(b)", "sys/-5_x sys/0_zero sys/21_out sys/22_abs sys/60_pipe sys/99999999999_y"},
		{"net", "net/30_n(1).sh net/5_m", ""},
		{"net(arguments)", "net/30_n(1).sh net/5_m", ""}, // of a folder they count nothing
		{"net/5_m(a(b)(c)", "", "net/5_m(a(b)(c)"},       // greedy: the path is net/5_m(a(b)
		{"sys/below", "sys/below/60_c", ""},
		{"none sys/60_gone", "", "none sys/60_gone"},
		{"../60_out sys/../../60_out /bin/true out/60_out sys/21_out", "", "../60_out /bin/true out/60_out sys/../../60_out sys/21_out"},
		{"sys/README sys/0_zero sys/-5_x", "", "sys/-5_x sys/0_zero sys/README"},
		{"sys/60_pipe", "", "sys/60_pipe"},
		{".", "", ""},
	} {
		found, bad := Find(dir, strings.Fields(c.bindings))
		if got := strings.Join(slices.Sorted(maps.Keys(found)), " "); got != c.want {
			t.Errorf("%s: found %s, want %s", c.bindings, got, c.want)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(bad)), " "); got != c.bad {
			t.Errorf("%s: bad %v, want %s", c.bindings, bad, c.bad)
		}
	}
	found, _ := Find(dir, []string{`sys/60_a.py(x, "y")`})
	if p := found[`sys/60_a.py(x, "y")`]; p.Cycle != time.Minute || p.Path != "sys/60_a.py" || p.Args != `x, "y"` || p.MTime.IsZero() {
		t.Errorf("found %+v", found)
	}
	if _, bad := Find(filepath.Join(dir, "nowhere"), []string{"sys"}); bad["sys"] == nil {
		t.Error("a folder that is not there is no problem")
	}
	if _, bad := Find(dir, []string{""}); bad[""] == nil {
		t.Error("an empty binding is no problem")
	}
}

func FuzzFind(f *testing.F) {
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "60_a"), nil, 0o700); err != nil {
		f.Fatal(err)
	}
	f.Add("60_a(b)")
	f.Add("../60_a")
	f.Fuzz(func(t *testing.T, b string) {
		found, bad := Find(dir, []string{b})
		for key, p := range found {
			if p.Path != "60_a" || p.Cycle != time.Minute {
				t.Errorf("%q finds %q: %+v", b, key, p)
			}
			Args(p.Args)
		}
		if len(found)+len(bad) > 1 {
			t.Errorf("%q finds %v and complains of %v", b, found, bad)
		}
	})
}

// A runner with plugins in a folder; what it takes is kept.
type bench struct {
	*Runner
	t *testing.T

	mu    sync.Mutex
	items []string
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t}
	b.Runner = New(Options{
		Dir: t.TempDir(), Logs: filepath.Join(t.TempDir(), "logs"), MaxOutput: 1 << 20, Endpoint: "here", Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
		Take: func(items []*model.MetricValue) (n int, refused string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, it := range items {
				if it == nil {
					refused = "null"
					continue
				}
				n++
				b.items = append(b.items, fmt.Sprintf("%s %s{%s} %v %d %s %d", it.Endpoint, it.Metric, it.Tags, it.Value, it.Step, it.Type, it.Timestamp))
			}
			return n, refused
		},
	}, stat.New("test"))
	return b
}

// once runs a program a single time, with a cycle of ten seconds.
func (b *bench) once(ctx context.Context, file, args, text string) State {
	b.t.Helper()
	write(b.t, b.Dir, file, text)
	found, bad := Find(b.Dir, []string{file + "(" + args + ")"})
	for _, p := range found {
		j := &job{Plugin: p}
		b.Runner.once(ctx, j)
		return j.state
	}
	b.t.Fatal(bad)
	return State{}
}

// alive returns the processes that have this word in their command line, zombies not
// among them.
func alive(t *testing.T, word string) (pids []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Skip("no /proc here")
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err != nil || pid == os.Getpid() {
			continue
		}
		if b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline"); err == nil && strings.Contains(string(b), word) {
			pids = append(pids, e.Name())
		}
	}
	return pids
}

func (b *bench) gone(word string) {
	b.t.Helper()
	testkit.Eventually(b.t, 10*time.Second, func() error {
		if pids := alive(b.t, word); pids != nil {
			return fmt.Errorf("processes %v of %s are alive", pids, word)
		}
		return nil
	})
}

// What is done with what a program prints, and how it ends.
func TestOutput(t *testing.T) {
	full := `[{"endpoint":"h","metric":"m","value":1.5,"step":60,"counterType":"GAUGE","tags":"a=b","timestamp":5}]`
	for _, c := range []struct {
		name, text, items, err string
	}{
		{"an item", "echo '" + full + "'", "h m{a=b} 1.5 60 GAUGE 5", ""},
		{"endpoint and time are filled, step and type are not", `echo '[{"metric":"m","value":"x"}]'`, "here m{} x 0  1700000000", ""},
		{"null is passed over", `echo '[null,{"metric":"m","value":2,"step":10,"counterType":"COUNTER"}]'`, "here m{} 2 10 COUNTER 1700000000", "null"},
		{"nothing", "", "", ""},
		{"blanks", "echo; echo", "", ""},
		{"an empty array", "echo '[]'", "", ""},
		{"an object", `echo '{"metric":"m"}'`, "", "it does not print a JSON array of items: "},
		{"text", "echo hello", "", "it does not print a JSON array of items: "},
		{"half of it", "echo '[{\"metric\":'", "", "it does not print a JSON array of items: "},
		{"status 3", "echo '" + full + "'; exit 3", "", "exit status 3"},
		{"killed by itself", "echo '" + full + "'; kill -9 $$", "", "signal: killed"},
		{"too much, then an end", "head -c 1100000 /dev/zero | tr '\\0' ' '", "", "more than 1048576 bytes of output"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			st := b.once(t.Context(), "10_a.sh", "", "#!/bin/sh\n"+c.text+"\n")
			if got := strings.Join(b.items, "; "); got != c.items {
				t.Errorf("items %s, want %s", got, c.items)
			}
			if !strings.Contains(st.Error, c.err) || (c.err == "") != (st.Error == "") || st.Runs != 1 || st.Running || st.LastRun != 1_700_000_000 {
				t.Errorf("state %+v, want error %q", st, c.err)
			}
		})
	}
	b := newBench(t)
	if st := b.once(t.Context(), "10_a.sh", "", "no program at all"); st.Failures != 1 || st.Error == "" {
		t.Errorf("what is no program: %+v", st)
	}
	if n := b.failed.Get(ReasonStart); n != 1 {
		t.Errorf("not started: %d, want 1", n)
	}
}

// A program gets its arguments, this process's folder, and a file for its standard error
// that arguments can not put elsewhere.
func TestArgumentsAndStderr(t *testing.T) {
	b := newBench(t)
	script := "#!/bin/sh\npwd >&2\nfor a; do echo \"<$a>\" >&2; done\n"
	b.once(t.Context(), "sys/10_a.sh", `x, "y z",a\,b`, script)
	wd, _ := os.Getwd()
	got, err := os.ReadFile(filepath.Join(b.Logs, `sys/10_a.sh(x, "y z",a\,b).stderr.log`))
	if want := wd + "\n<x>\n<y z>\n<a,b>\n"; err != nil || string(got) != want {
		t.Errorf("stderr %q, %v, want %q", got, err, want)
	}
	b.once(t.Context(), "sys/10_a.sh", `/var/log`, script) // stock makes folders of it, and so do we
	if _, err := os.Stat(filepath.Join(b.Logs, "sys/10_a.sh(/var/log).stderr.log")); err != nil {
		t.Error(err)
	}
	b.once(t.Context(), "sys/10_a.sh", `/../../../../../tmp/x`, script)
	b.once(t.Context(), "sys/10_a.sh", strings.Repeat("x", 300), script) // no file has such a name
	b.once(t.Context(), "sys/10_b.sh", "", "#!/bin/sh\nhead -c 3000000 /dev/zero >&2\n")
	if info, err := os.Stat(filepath.Join(b.Logs, "sys/10_b.sh().stderr.log")); err != nil || info.Size() != maxStderr {
		t.Errorf("much stderr: %v, %v", info, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(b.Logs)); len(entries) != 1 {
		t.Errorf("beside the folder of the logs: %v", entries)
	}
}

// However a program resists, it and its children are gone when its time is up: some that
// fork and wait, that ignore SIGTERM, that start a session of their own, and that write
// without an end.
func TestKilled(t *testing.T) {
	for _, c := range []struct{ name, text, reason string }{
		{"children", "sleep 1000.WORD & sleep 1000.WORD & wait", ReasonTimeout},
		{"ignores signals", "trap '' TERM INT HUP; sleep 1000.WORD; sleep 1000.WORD", ReasonTimeout},
		{"ended, and a child holds its output", "sleep 1000.WORD &", ReasonTimeout},
		{"a session of its own", "setsid sleep 1000.WORD; sleep 1000.WORD", ReasonTimeout},
		{"a daemon that holds its output", "setsid sh -c 'sleep 1000.WORD & sleep 1000.WORD' &", ReasonTimeout},
		{"writes without an end", "sleep 1000.WORD & yes WORD", ReasonOutput},
		{"a child writes without an end", "setsid yes 1000.WORD", ReasonOutput},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			word := strconv.Itoa(os.Getpid()) + strconv.Itoa(int(time.Now().UnixNano()%1_000_000_000))
			write(t, dir, "10_a.sh", "#!/bin/bash\n"+strings.ReplaceAll(c.text, "WORD", word)+"\n")
			var err error
			for range 3 { // a child of another test may still have the file open
				if _, _, err = execute(t.Context(), time.Second, 1<<20, filepath.Join(dir, "10_a.sh"), nil); err == nil || !strings.Contains(err.Error(), "text file busy") {
					break
				}
			}
			f, ok := err.(*failure)
			if !ok || f.reason != c.reason {
				t.Errorf("ended with %v, want %s", err, c.reason)
			}
			(&bench{t: t}).gone(word)
		})
	}
}

// What has left the run on purpose and holds nothing of it goes on, as under stock.
func TestDaemonGoesOn(t *testing.T) {
	b := newBench(t)
	word := "1000." + strconv.Itoa(os.Getpid()) + "77"
	st := b.once(t.Context(), "10_a.sh", "", "#!/bin/sh\nsetsid sleep "+word+" >/dev/null 2>&1 </dev/null &\necho '[]'\n")
	if st.Error != "" {
		t.Errorf("state %+v", st)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if alive(t, word) == nil {
			return fmt.Errorf("the daemon is gone")
		}
		return nil
	})
	for _, pid := range alive(t, word) {
		n, _ := strconv.Atoi(pid)
		if p, err := os.FindProcess(n); err == nil {
			_ = p.Kill()
		}
	}
}

// An ended run leaves no zombie.
func TestReaped(t *testing.T) {
	b := newBench(t)
	b.once(t.Context(), "10_a.sh", "", "#!/bin/sh\nexit 1\n")
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", os.Getpid(), os.Getpid()))
	if err != nil {
		t.Skip("the kernel does not tell the children of a process")
	}
	for pid := range strings.FieldsSeq(string(children)) {
		if st, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && strings.Contains(string(st), ") Z ") {
			t.Errorf("a zombie: %s", st)
		}
	}
}

// Scheduled plugins run each in its cycle, never twice at once; a changed program starts
// anew; a plugin that is unbound, and all when the agent stops, end with their children.
func TestSchedule(t *testing.T) {
	b := newBench(t)
	trace := filepath.Join(t.TempDir(), "trace")
	word := "1000." + strconv.Itoa(os.Getpid()) + "88"
	write(t, b.Dir, "a/1_fast.sh", "#!/bin/sh\necho start >>"+trace+"\nsleep 0.2\necho end >>"+trace+"\necho '[{\"metric\":\"fast\",\"value\":1,\"step\":1,\"counterType\":\"GAUGE\"}]'\n")
	write(t, b.Dir, "a/2_hang.sh", "#!/bin/sh\nsleep "+word+"\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	began := time.Now()
	b.Apply([]string{"a"})
	until := func(what string, ok func() bool) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			if !ok() {
				return fmt.Errorf("not yet: %s; %+v", what, b.States())
			}
			return nil
		})
	}
	until("three runs", func() bool { return b.States()["a/1_fast.sh"].Runs >= 3 })
	if d := time.Since(began); d < 3*time.Second {
		t.Errorf("three runs of a cycle of a second within %v", d)
	}
	until("a timeout", func() bool { return b.States()["a/2_hang.sh"].Failures >= 1 })
	if st := b.States()["a/2_hang.sh"]; st.Error != "killed: not done after 1.5s" || b.timeouts.Get() < 1 {
		t.Errorf("state %+v, %d timeouts", st, b.timeouts.Get())
	}
	lines, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range strings.Fields(string(lines)) {
		// One that a busy machine made too slow was killed and has no end.
		if want := []string{"start", "end"}[i%2]; l != want && b.States()["a/1_fast.sh"].Failures == 0 {
			t.Fatalf("runs overlap: %s", lines)
		}
	}

	// A program that has changed is another plugin of the same name.
	write(t, b.Dir, "a/1_fast.sh", "#!/bin/sh\necho '[{\"metric\":\"changed\",\"value\":1,\"step\":1,\"counterType\":\"GAUGE\"}]'\n")
	if err := os.Chtimes(filepath.Join(b.Dir, "a/1_fast.sh"), time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	b.Rescan()
	until("the changed program's item", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.ContainsFunc(b.items, func(s string) bool { return strings.HasPrefix(s, "here changed{} 1 1 GAUGE ") })
	})
	if st := b.States()["a/1_fast.sh"]; st.MTime < time.Now().Unix()+3000 {
		t.Errorf("state %+v", st)
	}

	until("hanging again", func() bool { return alive(t, word) != nil })
	b.Apply([]string{"a/1_fast.sh"})
	until("only the bound file", func() bool {
		return slices.Equal(slices.Collect(maps.Keys(b.States())), []string{"a/1_fast.sh()"})
	})
	b.gone(word)
	b.Apply([]string{"a/2_hang.sh(x)"})
	until("hanging with an argument", func() bool { return alive(t, word) != nil })
	if st := b.States()["a/2_hang.sh(x)"]; !st.Running || st.FilePath != "a/2_hang.sh" || st.Args != "x" || st.Cycle != 2 {
		t.Errorf("state %+v", st)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if pids := alive(t, word); pids != nil {
		t.Errorf("processes %v outlive their agent", pids)
	}
}

// Lists that change all the time, while states are asked for, are no race.
func TestManyLists(t *testing.T) {
	b := newBench(t)
	for i := range 20 {
		write(t, b.Dir, fmt.Sprintf("a/1_%d.sh", i), "#!/bin/sh\nsleep 5\n")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 50 {
				b.Apply([][]string{{"a"}, nil, {"a/1_1.sh(x)"}, {"a/1_1.sh", "a"}}[i%4])
				b.States()
			}
		})
	}
	wg.Wait()
	b.Apply(nil)
	testkit.Eventually(t, 20*time.Second, func() error {
		if st := b.States(); len(st) != 0 {
			return fmt.Errorf("still scheduled: %v", st)
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"endpoint":"h","metric":"m","value":1},null]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if items, err := decode(b); err == nil && len(items) > model.MaxItems {
			t.Errorf("%q is %d items", b, len(items))
		}
	})
}
