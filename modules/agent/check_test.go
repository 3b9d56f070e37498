package agent

import (
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"falcon/common/testkit"
)

// A line for each collector, also for those that fail.
func TestCheck(t *testing.T) {
	root := t.TempDir()
	writeRoot(t, root, 0)
	var out strings.Builder
	if err := Check(t.Context(), testConfig("t:1"), Deps{Log: slog.New(slog.DiscardHandler), Root: root}, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 14 {
		t.Errorf("%d collectors: %s", len(lines), &out)
	}
	for _, want := range []string{`(?m)^agent \.\.\. ok$`, `(?m)^cpu \.\.\. ok$`, `(?m)^coredump \.\.\. fail: open .*core_pattern: no such file or directory$`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no line %s in\n%s", want, &out)
		}
	}
	for _, l := range lines {
		if !regexp.MustCompile(`^[a-z.]+ \.\.\. (ok|fail: .+)$`).MatchString(l) {
			t.Errorf("line %q", l)
		}
	}
	cfg := testConfig("t:1")
	cfg.HostnameFile, cfg.Hostname = t.TempDir(), ""
	if err := Check(t.Context(), cfg, Deps{Log: slog.New(slog.DiscardHandler)}, &out); err == nil || !strings.Contains(err.Error(), "hostname_file") {
		t.Errorf("error %v", err)
	}
	out.Reset()
	if err := Check(t.Context(), testConfig("t:1"), Deps{Log: slog.New(slog.DiscardHandler), Root: root}, failing{}); err == nil {
		t.Error("nobody hears of a full disk")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// The flag of the program: as on a host, exit status 0.
func TestCheckFlag(t *testing.T) {
	p := testkit.Start(t, t.TempDir(), testkit.Program(t, "agent"), "-check")
	if err := p.Wait(t.Context()); err != nil {
		t.Errorf("%v: %s", err, p.Output())
	}
	if !regexp.MustCompile(`(?m)^mem \.\.\. ok$`).MatchString(p.Output()) {
		t.Errorf("output %s", p.Output())
	}
}
