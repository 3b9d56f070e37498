package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A zone is a DNS that tests change.
type zone struct {
	mu    sync.Mutex
	hosts map[string][]string
	err   error
}

func (z *zone) set(host string, ips ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.hosts[host] = ips
}

func (z *zone) lookup(_ context.Context, host string) ([]string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.err != nil {
		return nil, z.err
	}
	return slices.Clone(z.hosts[host]), nil
}

// An agent follows a name to its new address within five minutes, also while the old
// address goes on answering, and no batch is lost; a resolver that fails changes nothing.
func TestNamesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("transfer.idc:8433")
		z := &zone{hosts: map[string][]string{"transfer.idc": {"10.0.0.1"}}}
		at := map[string]*transfer{"10.0.0.1:8433": newTransfer("old"), "10.0.0.2:8433": newTransfer("new")}
		w := newWorldWith(t, cfg, Deps{
			Log: slog.New(slog.DiscardHandler), Lookup: z.lookup,
			Dial: func(_ context.Context, addr string) (net.Conn, error) { return at[addr].dial() },
		})
		defer func() {
			w.end()
			for _, tr := range at {
				tr.kill()
				tr.wg.Wait()
			}
		}()
		for _, tr := range at {
			tr.set(func(tr *transfer) { tr.up = true })
		}
		ts := int64(1000)
		run := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); ts++ {
				w.push("m", ts)
				after(time.Second)
			}
		}
		old, fresh := at["10.0.0.1:8433"], at["10.0.0.2:8433"]
		run(time.Minute)
		if n := len(old.seen()); n != 60 || len(fresh.seen()) != 0 {
			t.Fatalf("%d points at the old address, %d at the new one", n, len(fresh.seen()))
		}
		z.set("transfer.idc", "10.0.0.2")
		z.mu.Lock()
		z.err = errors.New("server misbehaving")
		z.mu.Unlock()
		run(10 * time.Minute)
		if len(fresh.seen()) != 0 || len(old.seen()) != 660 {
			t.Errorf("a resolver that fails moves %d points", len(fresh.seen()))
		}
		z.mu.Lock()
		z.err = nil
		z.mu.Unlock()
		run(5 * time.Minute)
		moved := ts
		run(time.Minute)
		if !slices.Contains(fresh.seen(), fmt.Sprintf("m@%d", moved)) || slices.Contains(old.seen(), fmt.Sprintf("m@%d", moved)) {
			t.Error("five minutes after the change points go to the old address")
		}
		got := append(old.seen(), fresh.seen()...)
		slices.Sort(got)
		if got = slices.Compact(got); len(got) != int(ts-1000) {
			t.Errorf("%d of %d points arrived", len(got), ts-1000)
		}
	})
}

// The address of this host is that of its end of a road that leaves it.
func TestAddressOfTheHost(t *testing.T) {
	local := "127.0.0.1"
	r := newRoads(Deps{Log: slog.New(slog.DiscardHandler), Dial: func(context.Context, string) (net.Conn, error) {
		return leaving{local: local}, nil
	}, Lookup: func(context.Context, string) ([]string, error) { return []string{"10.0.0.1"}, nil }})
	a := &Agent{roads: r}
	for _, step := range []struct{ local, to, want string }{
		{"127.0.0.1", "127.0.0.1:8433", ""},
		{"10.3.21.225", "transfer:8433", "10.3.21.225"},
		{"127.0.0.1", "127.0.0.1:6030", "10.3.21.225"},
		{"fd00::7", "10.0.0.1:6030", "fd00::7"},
	} {
		local = step.local
		if _, err := r.connect(t.Context(), step.to); err != nil {
			t.Fatal(err)
		}
		if got := a.address(); got != step.want {
			t.Errorf("after a road from %s the address is %q, want %q", step.local, got, step.want)
		}
	}
	a.cfg.IP = "192.0.2.1"
	if got := a.address(); got != "192.0.2.1" {
		t.Errorf("with ip configured the address is %q", got)
	}
}

// A leaving connection has an address of this host.
type leaving struct {
	net.Conn
	local string
}

func (l leaving) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(l.local), Port: 1} }

// Of several addresses of a name one that answers is taken, each having its share of the
// time; a name without any is an error in words.
func TestSeveralAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: map[string][]string{"t": {"10.0.0.1", "10.0.0.2", "fd00::3"}}}
		var asked []string
		r := newRoads(Deps{Log: slog.New(slog.DiscardHandler), Lookup: z.lookup, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			asked = append(asked, addr)
			switch addr {
			case "10.0.0.1:1":
				<-ctx.Done()
				return nil, ctx.Err()
			case "[fd00::3]:1":
				c, _ := net.Pipe()
				return c, nil
			}
			return nil, errors.New("connection refused")
		}})
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			c, err := r.connect(ctx, "t:1")
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		slices.Sort(asked)
		if asked = slices.Compact(asked); len(asked) != 3 {
			t.Errorf("asked %v, not all addresses in their turn", asked)
		}
		if len(r.open) != 0 {
			t.Errorf("%d closed connections are watched", len(r.open))
		}
		z.set("t")
		if _, err := r.connect(t.Context(), "t:1"); err == nil || err.Error() != "resolve t: the name has no address" {
			t.Errorf("a name without an address: %v", err)
		}
	})
}
