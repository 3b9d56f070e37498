package upgrade

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aead.dev/minisign"

	"falcon/common/model"
)

// program is an agent as far as an upgrade can see: it says its version and takes
// configurations without the word bad.
func program(version string) string {
	return "#!/bin/sh\nfor a; do case $a in -v) echo " + version + "; exit 0;; esac; done\n" +
		"[ \"$1\" = -t ] || exit 3\nif [ \"$2\" = -c ] && grep -q bad \"$3\"; then echo 'key \"bad\" is unknown' >&2; exit 2; fi\n" + strings.Repeat("# it is long\n", 4000)
}

// A place has an installed agent and a server that hands out another one.
type place struct {
	t         *testing.T
	dir       string
	files     map[string]string // of the server, by path
	cut       atomic.Int64      // the next so many answers break off half way
	status    atomic.Int64
	requests  atomic.Int64
	fromStart atomic.Int64
	url       string
	now       time.Time
	key       *minisign.PublicKey
	require   bool
	max       int64
}

func newPlace(t *testing.T) *place {
	p := &place{t: t, dir: t.TempDir(), files: map[string]string{}, now: time.Unix(1_800_000_000, 0), max: 1 << 20}
	p.write("falcon-agent", program("7.0"), 0o755)
	p.write("agent.json", "{}", 0o640)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		if r.Header.Get("Range") == "" {
			p.fromStart.Add(1)
		}
		text, ok := p.files[strings.TrimPrefix(r.URL.Path, "/file/open-falcon/")]
		switch {
		case p.status.Load() != 0:
			w.WriteHeader(int(p.status.Load()))
		case !ok:
			http.NotFound(w, r)
		case p.cut.Add(-1) >= 0:
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			_, _ = w.Write([]byte(text[:len(text)/2]))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
		}
	}))
	t.Cleanup(srv.Close)
	p.url = srv.URL + "/file/open-falcon"
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) write(name, text string, mode os.FileMode) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), mode); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) read(name string) string {
	b, err := os.ReadFile(p.path(name))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (p *place) upgrader(version string) *Upgrader {
	u := New(Options{
		Program: p.path("falcon-agent"), Config: p.path("agent.json"), Version: version, Key: p.key, RequireSignature: p.require,
		MaxSize: p.max, Timeout: time.Minute, Backoff: time.Minute, Trial: DefaultTrial(), Log: slog.New(slog.DiscardHandler), News: func() {}, Now: func() time.Time { return p.now },
	})
	u.loads.pause = time.Millisecond
	return u
}

func (p *place) order(version string) *model.AgentUpgradeArgs {
	return &model.AgentUpgradeArgs{WgetURL: p.url, Version: version, BinFileMd5: md5Of(p.files["bin_"+version]), CfgFileMd5: md5Of(p.files["cfg_"+version])}
}

func md5Of(text string) string { sum := md5.Sum([]byte(text)); return hex.EncodeToString(sum[:]) }

func shaOf(text string) string { sum := sha256.Sum256([]byte(text)); return hex.EncodeToString(sum[:]) }

func newKey(t *testing.T) (*minisign.PublicKey, func(string) string) {
	t.Helper()
	pub, priv, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &pub, func(text string) string {
		r := minisign.NewReader(strings.NewReader(text))
		if _, err := new(bytes.Buffer).ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		return string(r.Sign(priv))
	}
}

// An order that is refused or goes wrong says why, and everything that ran before is as
// it was: the running files, and what the next start does.
func TestWhatGoesWrongChangesNothing(t *testing.T) {
	good := program("7.1")
	pub, sign := newKey(t)
	_, other := newKey(t)
	for _, tc := range []struct {
		name string
		set  func(p *place, a *model.AgentUpgradeArgs)
		err  string
	}{
		{"wrong MD5", func(_ *place, a *model.AgentUpgradeArgs) { a.BinFileMd5 = md5Of("x") }, "has the MD5"},
		{"wrong SHA-256", func(_ *place, a *model.AgentUpgradeArgs) { a.BinFileSHA256 = shaOf("x") }, "has the SHA-256"},
		{"signed, and no key here", func(_ *place, a *model.AgentUpgradeArgs) { a.BinFileSig = sign(good) }, "upgrade.public_key is missing"},
		{"signed by somebody else", func(p *place, a *model.AgentUpgradeArgs) { p.key, a.BinFileSig = pub, other(good) }, "the signature is by key"},
		{"the signature of another file", func(p *place, a *model.AgentUpgradeArgs) { p.key, a.BinFileSig = pub, sign(good+"x") }, "does not fit the file"},
		{"no signature where one is required", func(p *place, _ *model.AgentUpgradeArgs) { p.key, p.require = pub, true }, "has none: download"},
		{"no such file", func(_ *place, a *model.AgentUpgradeArgs) { a.Version = "7.2" }, "status 404"},
		{"nobody listens", func(_ *place, a *model.AgentUpgradeArgs) { a.WgetURL = "http://127.0.0.1:1" }, "connection refused"},
		{"the server is ill", func(p *place, _ *model.AgentUpgradeArgs) { p.status.Store(503) }, "status 503"},
		{"truncated each time", func(p *place, _ *model.AgentUpgradeArgs) { p.cut.Store(1000) }, "unexpected EOF"},
		{"too large", func(p *place, _ *model.AgentUpgradeArgs) { p.max = 100 }, "more than upgrade.max_size"},
		{"it is another version", func(p *place, a *model.AgentUpgradeArgs) {
			p.files["bin_7.1"] = program("7.0.9")
			a.BinFileMd5 = md5Of(p.files["bin_7.1"])
		}, `says that it is "7.0.9", not "7.1"`},
		{"it is no program", func(p *place, a *model.AgentUpgradeArgs) {
			p.files["bin_7.1"] = "<html>login</html>"
			a.BinFileMd5 = md5Of(p.files["bin_7.1"])
		}, "does not run"},
		{"the live configuration is not taken", func(p *place, _ *model.AgentUpgradeArgs) { p.write("agent.json", `{"bad":1}`, 0o640) }, `key "bad" is unknown`},
		{"the new configuration is not taken", func(p *place, a *model.AgentUpgradeArgs) {
			p.files["cfg_7.1"], a.Type = `{"bad":1}`, model.UpgradeBoth
			a.CfgFileMd5 = md5Of(`{"bad":1}`)
		}, `key "bad" is unknown`},
		{"an unknown type", func(_ *place, a *model.AgentUpgradeArgs) { a.Type = 7 }, "type 7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			p.files["bin_7.1"] = good
			a := p.order("7.1")
			tc.set(p, a)
			config := p.read("agent.json")
			u := p.upgrader("7.0")
			done, err := u.perform(t.Context(), a)
			if done || err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("done %v, %v; want %q", done, err, tc.err)
			}
			if p.read("falcon-agent") != program("7.0") || p.read("agent.json") != config {
				t.Error("what runs was touched")
			}
			if said, err := Guard(p.dir, DefaultTrial(), p.now); said != "" || err != nil {
				t.Errorf("the guard does something: %q, %v", said, err)
			}
			if busy, why := u.Report(); busy || !strings.HasPrefix(why, a.Version+": ") || !strings.Contains(why, tc.err) {
				t.Errorf("reported: %v, %q", busy, why)
			}
			if _, why := p.upgrader("7.0").Report(); !strings.Contains(why, tc.err) {
				t.Errorf("after a start it is reported as %q", why)
			}
			// At once it is not tried again, later it is, and more and more rarely.
			for _, step := range []struct {
				after time.Duration
				takes bool
			}{{59 * time.Second, false}, {2 * time.Second, true}} {
				p.now = p.now.Add(step.after)
				u.Take(a)
				if got := len(u.orders) == 1; got != step.takes {
					t.Errorf("after %v more it is taken: %v, want %v", step.after, got, step.takes)
				}
			}
		})
	}
}

func TestGoodUpgrade(t *testing.T) {
	pub, sign := newKey(t)
	for _, tc := range []struct {
		name            string
		set             func(p *place, a *model.AgentUpgradeArgs)
		program, config bool
	}{
		{"the program", func(*place, *model.AgentUpgradeArgs) {}, true, false},
		{"the configuration", func(_ *place, a *model.AgentUpgradeArgs) { a.Type = model.UpgradeConfig }, false, true},
		{"both", func(_ *place, a *model.AgentUpgradeArgs) { a.Type = model.UpgradeBoth }, true, true},
		{"with SHA-256 and signature", func(p *place, a *model.AgentUpgradeArgs) {
			p.key, a.BinFileSHA256, a.BinFileSig = pub, shaOf(p.files["bin_7.1"]), sign(p.files["bin_7.1"])
		}, true, false},
		{"the signature lies beside the file", func(p *place, _ *model.AgentUpgradeArgs) {
			p.key, p.require, p.files["bin_7.1.minisig"] = pub, true, sign(p.files["bin_7.1"])
		}, true, false},
		{"the connection breaks", func(p *place, _ *model.AgentUpgradeArgs) { p.cut.Store(2) }, true, false},
		{"something else lies there", func(p *place, _ *model.AgentUpgradeArgs) { p.write("falcon-agent.new", "of 6.9", 0o600) }, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			p.files["bin_7.1"], p.files["cfg_7.1"] = program("7.1"), `{"debug":true}`
			a := p.order("7.1")
			tc.set(p, a)
			u := p.upgrader("7.0")
			if done, err := u.perform(t.Context(), a); !done || err != nil {
				t.Fatalf("done %v, %v", done, err)
			}
			for _, f := range []struct {
				name, old, new string
				changed        bool
				mode           os.FileMode
			}{{"falcon-agent", program("7.0"), program("7.1"), tc.program, 0o755}, {"agent.json", "{}", `{"debug":true}`, tc.config, 0o640}} {
				want := f.old
				if f.changed {
					want = f.new
					if p.read(f.name+".bak") != f.old {
						t.Errorf("the backup of %s is another", f.name)
					}
				}
				st, err := os.Stat(p.path(f.name))
				if err != nil || p.read(f.name) != want || st.Mode().Perm() != f.mode {
					t.Errorf("%s: changed is wrong, want %v; %v", f.name, f.changed, err)
				}
			}
			// The old agent still reports while it ends: that is no proof of the new one.
			u.Healthy()
			// The guard lets it start; the first heartbeat ends the trial.
			if said, err := Guard(p.dir, DefaultTrial(), p.now); err != nil || !strings.Contains(said, "start 1 of 3") {
				t.Errorf("guard: %q, %v", said, err)
			}
			version := "7.0"
			if tc.program {
				version = "7.1"
			}
			next := p.upgrader(version)
			if again, err := next.resume(); again || err != nil {
				t.Errorf("resume: %v, %v", again, err)
			}
			if tc.config && next.ConfigMD5() != a.CfgFileMd5 {
				t.Errorf("the MD5 of the configuration is %s", next.ConfigMD5())
			}
			next.Healthy()
			if said, err := Guard(p.dir, DefaultTrial(), p.now.Add(time.Hour)); said != "" || err != nil {
				t.Errorf("after the trial the guard says %q, %v", said, err)
			}
			// The same order has nothing to do any more.
			if done, err := next.perform(t.Context(), a); done || err != nil {
				t.Errorf("once more: %v, %v", done, err)
			}
		})
	}
}

// A download that breaks off goes on where it was.
func TestDownloadGoesOn(t *testing.T) {
	p := newPlace(t)
	p.files["bin_7.1"] = program("7.1")
	p.cut.Store(1)
	if done, err := p.upgrader("7.0").perform(t.Context(), p.order("7.1")); !done || err != nil {
		t.Fatal(done, err)
	}
	if p.requests.Load() != 2 || p.fromStart.Load() != 1 {
		t.Errorf("%d requests, %d from the start; want 2 and 1", p.requests.Load(), p.fromStart.Load())
	}
}

// A download keeps to its rate: half a second's worth of bytes takes that long at least.
func TestRate(t *testing.T) {
	p := newPlace(t)
	p.files["bin_7.1"] = program("7.1")
	u := p.upgrader("7.0")
	u.loads.rate = int64(2 * len(p.files["bin_7.1"]))
	began := time.Now()
	if done, err := u.perform(t.Context(), p.order("7.1")); !done || err != nil {
		t.Fatal(done, err)
	}
	if took := time.Since(began); took < 450*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

// What a new agent has to do to stay, and what happens when it does not.
func TestGuard(t *testing.T) {
	swapped := func(t *testing.T) *place {
		p := newPlace(t)
		p.files["bin_7.1"], p.files["cfg_7.1"] = program("7.1"), `{"debug":true}`
		a := p.order("7.1")
		a.Type = model.UpgradeBoth
		if done, err := p.upgrader("7.0").perform(t.Context(), a); !done || err != nil {
			t.Fatal(done, err)
		}
		return p
	}
	old := func(t *testing.T, p *place, why string) {
		t.Helper()
		if p.read("falcon-agent") != program("7.0") || p.read("agent.json") != "{}" {
			t.Error("the old files are not back")
		}
		if _, got := p.upgrader("7.0").Report(); !strings.Contains(got, "7.1: rolled back to 7.0: "+why) {
			t.Errorf("reported is %q, want %q", got, why)
		}
		if said, err := Guard(p.dir, DefaultTrial(), p.now); said != "" || err != nil {
			t.Errorf("the guard goes on: %q, %v", said, err)
		}
	}
	t.Run("too many starts", func(t *testing.T) {
		p := swapped(t)
		for range 3 {
			if _, err := Guard(p.dir, DefaultTrial(), p.now); err != nil || p.read("falcon-agent") != program("7.1") {
				t.Fatal("rolled back too early", err)
			}
		}
		if _, err := Guard(p.dir, DefaultTrial(), p.now); err != nil {
			t.Fatal(err)
		}
		old(t, p, "no heartbeat was taken in 3 starts")
	})
	t.Run("too late", func(t *testing.T) {
		p := swapped(t)
		if _, err := Guard(p.dir, DefaultTrial(), p.now.Add(5*time.Minute+time.Second)); err != nil {
			t.Fatal(err)
		}
		old(t, p, "no heartbeat was taken within 5m0s")
	})
	t.Run("the agent ends itself when nobody takes its heartbeats", func(t *testing.T) {
		p := swapped(t)
		u := p.upgrader("7.1")
		p.now = p.now.Add(6 * time.Minute)
		if again, err := u.Run(t.Context()); again || err == nil || !strings.Contains(err.Error(), "no heartbeat was taken") {
			t.Errorf("Run: %v, %v", again, err)
		}
	})
	t.Run("nobody guards, and the swap is half done", func(t *testing.T) {
		p := swapped(t)
		s, err := load(p.dir)
		if err != nil {
			t.Fatal(err)
		}
		s.Phase = phaseSwap
		if err := s.save(p.dir); err != nil {
			t.Fatal(err)
		}
		p.write("agent.json.new", `{"debug":true}`, 0o640)
		p.write("agent.json", "{}", 0o640)
		if again, err := p.upgrader("7.0").Run(t.Context()); !again || err != nil || p.read("agent.json") != `{"debug":true}` {
			t.Errorf("again %v, %v", again, err)
		}
	})
	t.Run("somebody put another program there", func(t *testing.T) {
		p := swapped(t)
		u := p.upgrader("7.5")
		if again, err := u.resume(); again || err != nil {
			t.Error(again, err)
		}
		if busy, why := u.Report(); busy || !strings.Contains(why, "7.5 was started in its place") {
			t.Errorf("%v, %q", busy, why)
		}
	})
	t.Run("a state that nobody can read", func(t *testing.T) {
		p := newPlace(t)
		p.write(stateFile, "{", 0o644)
		if _, err := Guard(p.dir, DefaultTrial(), p.now); err == nil {
			t.Error("no error")
		}
		if busy, why := p.upgrader("7.0").Report(); busy || why != "" {
			t.Errorf("%v, %q", busy, why)
		}
	})
}

// An order that is given up for the end of the agent leaves what was downloaded, and no
// blame.
func TestStopInTheMiddle(t *testing.T) {
	p := newPlace(t)
	p.files["bin_7.1"] = program("7.1")
	u := p.upgrader("7.0")
	u.loads.rate = 10_000
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if done, err := u.perform(ctx, p.order("7.1")); done || err == nil {
		t.Fatal(done, err)
	}
	if busy, why := u.Report(); busy || why != "" {
		t.Errorf("%v, %q", busy, why)
	}
	if n := len(p.read("falcon-agent.new")); n == 0 || n == len(program("7.1")) {
		t.Errorf("%d bytes are there", n)
	}
}

// A server that takes its time does not hold an agent for longer than upgrade.timeout.
func TestTimeout(t *testing.T) {
	p := newPlace(t)
	p.files["bin_7.1"] = program("7.1")
	u := p.upgrader("7.0")
	u.loads.rate, u.o.Timeout = 1000, 200*time.Millisecond
	if done, err := u.perform(t.Context(), p.order("7.1")); done || err == nil || !strings.Contains(err.Error(), "longer than upgrade.timeout") {
		t.Errorf("%v, %v", done, err)
	}
	if busy, why := u.Report(); busy || !strings.Contains(why, "longer than upgrade.timeout") {
		t.Errorf("%v, %q", busy, why)
	}
}

// Where no guard runs before a start there is no upgrade, since nobody would undo it.
func TestUnguarded(t *testing.T) {
	p := newPlace(t)
	if Guarded(p.dir, p.now) {
		t.Error("guarded, and nobody ever was there")
	}
	if _, err := Guard(p.dir, DefaultTrial(), p.now); err != nil {
		t.Fatal(err)
	}
	if !Guarded(p.dir, p.now.Add(time.Second)) || Guarded(p.dir, p.now.Add(time.Hour)) {
		t.Error("the guard of this start counts, and no other")
	}
	p.files["bin_7.1"] = program("7.1")
	u := p.upgrader("7.0")
	u.o.Unguarded = true
	if done, err := u.perform(t.Context(), p.order("7.1")); done || err == nil || !strings.Contains(err.Error(), "falcon-agent-guard is not run") {
		t.Errorf("%v, %v", done, err)
	}
}

// Where the folder is somebody else's there is no upgrade, in words.
func TestUnable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	p := newPlace(t)
	if err := os.Chmod(p.dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if why := p.upgrader("7.0").Unable(); !strings.Contains(why, "not writable") {
		t.Errorf("%q", why)
	}
}
