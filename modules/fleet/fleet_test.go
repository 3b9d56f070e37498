package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/testkit"
)

func TestStopsInTheDirectionDataFlows(t *testing.T) {
	var mu sync.Mutex
	var order []string
	d := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return nil
		}
	}
	boom := errors.New("boom")
	err := runStages(t.Context(),
		stage{"agent": d("agent")},
		stage{"transfer": d("transfer")},
		stage{"graph": d("graph"), "judge": func(context.Context) error { return boom }},
		stage{"api": d("api")},
	)
	if !errors.Is(err, boom) || err.Error() != "judge: boom" {
		t.Fatalf("err = %v, want judge: boom", err)
	}
	if want := []string{"agent", "transfer", "graph", "api"}; !slices.Equal(order, want) {
		t.Errorf("stopped %v, want %v", order, want)
	}
}

func TestADaemonThatReturnsOrPanicsEndsTheFleet(t *testing.T) {
	idle := func(ctx context.Context) error { <-ctx.Done(); return nil }
	for _, tc := range []struct {
		name string
		run  func(context.Context) error
		want string
	}{
		{"returns", func(context.Context) error { return nil }, "graph: returned unasked"},
		{"panics", func(context.Context) error { panic("no shard") }, "graph: panic: no shard"},
	} {
		err := runStages(t.Context(), stage{"agent": idle}, stage{"graph": tc.run})
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
}

// quiet returns a fleet on free ports in a new folder, with changes.
func quiet(t *testing.T, change string) (*Fleet, Config) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Data = t.TempDir()
	if _, err := conf.Load(onAnyPort(t, t.TempDir()), &cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := conf.Parse([]byte(change), &cfg); err != nil {
		t.Fatal(err)
	}
	f, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return f, cfg
}

// Every taken port is named with its key and the way out, before anything starts.
func TestTakenPortsAreNamedBeforeAnythingStarts(t *testing.T) {
	taken := make([]string, 2)
	for i := range taken {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		taken[i] = ln.Addr().String()
	}
	f, cfg := quiet(t, `{"graph":{"rpc":{"enabled":true,"listen":"`+taken[0]+`"}},"api":{"web_port":"`+taken[1]+`"}}`)
	err := f.Run(t.Context())
	want := "graph.rpc.listen: " + taken[0] + " is taken by another process: stop that one, or write another address into graph.rpc.listen (port 0 takes any free one)\n" +
		"api.web_port: " + taken[1] + " is taken by another process: stop that one, or write another address into api.web_port (port 0 takes any free one)"
	if err == nil || err.Error() != want {
		t.Errorf("Run = %v\nwant %s", err, want)
	}
	for _, name := range []string{"graph", "portal", "spool", "root-password"} {
		if _, err := os.Stat(filepath.Join(cfg.Data, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there though nothing started: %v", name, err)
		}
	}
}

func TestOneFleetAFolder(t *testing.T) {
	f, _ := quiet(t, `{}`)
	lock, err := f.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := f.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another falcon uses the folder") {
		t.Errorf("Run = %v, want that the folder is in use", err)
	}
}

// A fleet that is stopped ends well, and keeps its password at the next start.
func TestFirstAndSecondStart(t *testing.T) {
	f, cfg := quiet(t, `{}`)
	var passwords []string
	for range 2 {
		ctx, stop := context.WithCancel(t.Context())
		f.deps.Started = func(s Started) {
			passwords = append(passwords, s.Password)
			stop()
		}
		if err := f.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	st, err := os.Stat(filepath.Join(cfg.Data, "root-password"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("root-password: %v, %v; want mode 0600", st, err)
	}
	if len(passwords) != 2 || len(passwords[0]) < 16 || passwords[1] != "" {
		t.Errorf("passwords told at the two starts: %q; want one, then none", passwords)
	}
}

// The links between the daemons speak TLS when the sections say so; points arrive.
func TestLinksSpeakTLS(t *testing.T) {
	cert, key := testkit.SelfSigned(t)
	client := fmt.Sprintf(`{"enabled":true,"ca":%q}`, cert)
	f, _ := quiet(t, fmt.Sprintf(`{
		"agent": {"transfer": {"tls": %[3]s, "interval": "1s"}},
		"transfer": {"rpc": {"enabled": true, "listen": ":0", "tls_cert": %[1]q, "tls_key": %[2]q}, "graph": {"tls": %[3]s}, "judge": {"tls": %[3]s}},
		"judge": {"rpc": {"enabled": true, "listen": ":0", "tls_cert": %[1]q, "tls_key": %[2]q}},
		"graph": {"rpc": {"enabled": true, "listen": ":0", "tls_cert": %[1]q, "tls_key": %[2]q}},
		"api": {"graphs": {"tls": %[3]s}}
	}`, cert, key, client))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	up := make(chan Started, 1)
	f.deps.Started = func(s Started) { up <- s }
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	var s Started
	select {
	case s = <-up:
	case err := <-ended:
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", s.Endpoints["graph.rpc.listen"]); err != nil {
		t.Fatal(err)
	} else {
		_, _ = io.WriteString(c, `{"method":"Graph.Ping","params":[{}],"id":1}`)
		if b, _ := io.ReadAll(c); bytes.Contains(b, []byte("result")) {
			t.Errorf("a caller without TLS is answered %q", b)
		}
		c.Close()
	}
	push(t, s.Push+"?wait=1", []values{item("demo", "hello", "GAUGE", "", time.Now().Unix(), 1)})
	root := login(t, strings.TrimSuffix(s.URL, "/"), "root", s.Password)
	testkit.Eventually(t, 20*time.Second, func() error {
		got, err := root.history("demo", "hello", time.Now().Unix()-120, time.Now().Unix()+60)
		if err == nil && len(got) == 0 {
			err = errors.New("the pushed point is not there")
		}
		return err
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
