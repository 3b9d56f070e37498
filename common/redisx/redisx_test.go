package redisx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gomodule/redigo/redis"

	"falcon/common/conf"
	"falcon/common/testkit"
)

// each runs a test on a real redis-server, on the small one that a fleet falls back to,
// and on a cluster. after lets time pass.
func each(t *testing.T, test func(t *testing.T, p *Pool, after func(time.Duration))) {
	t.Parallel() // a cluster takes seconds to form
	t.Run("miniredis", func(t *testing.T) {
		m := miniredis.RunT(t)
		test(t, openPool(t, m.Addr()), m.FastForward)
	})
	t.Run("redis-server", func(t *testing.T) {
		p := openPool(t, testkit.Redis(t).Addr())
		test(t, p, func(d time.Duration) {
			keys, err := Strings(p.Do(t.Context(), "KEYS", "*"))
			if err != nil {
				t.Fatal(err)
			}
			expire(t, p, keys, d)
		})
	})
	t.Run("cluster", func(t *testing.T) {
		c := testkit.NewRedisCluster(t, 3, false)
		p := openPool(t, "", c.Seeds()...)
		test(t, p, func(d time.Duration) {
			expire(t, p, strings.Fields(strings.Join(c.Each("KEYS", "*"), "\n")), d)
		})
	})
}

// openPool opens a pool of a single Redis or of a cluster.
func openPool(t *testing.T, addr string, nodes ...string) *Pool {
	t.Helper()
	cfg := DefaultConfig()
	if addr != "" {
		cfg.Addr = conf.DSN(addr)
	}
	for _, n := range nodes {
		cfg.Nodes = append(cfg.Nodes, conf.DSN(n))
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// expire makes those keys that would expire within d do so now.
func expire(t *testing.T, p *Pool, keys []string, d time.Duration) {
	t.Helper()
	for _, k := range keys {
		ttl, err := Int64(p.Do(t.Context(), "PTTL", k))
		if err != nil {
			t.Fatal(err)
		}
		if ttl < 0 {
			continue
		}
		if ttl -= d.Milliseconds(); ttl <= 0 {
			_, err = p.Do(t.Context(), "DEL", k)
		} else {
			_, err = p.Do(t.Context(), "PEXPIRE", k, ttl)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, p *Pool, key string) []string {
	t.Helper()
	all, err := Strings(p.Do(t.Context(), "LRANGE", key, 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func push(t *testing.T, p *Pool, key string, values ...string) {
	t.Helper()
	for _, v := range values {
		if _, err := p.Do(t.Context(), "LPUSH", key, v); err != nil {
			t.Fatal(err)
		}
	}
}

func payloads(all []Element) []string {
	var out []string
	for _, e := range all {
		out = append(out, string(e.Payload))
	}
	return out
}

func TestPushOnce(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, after func(time.Duration)) {
		seen := EventSeen(Event(3), "s_1_x", "PROBLEM", 1500000000, 1, 9)
		for i, want := range []bool{true, false, false} {
			if did, err := p.PushOnce(t.Context(), Event(3), seen, "memory", time.Hour, []byte("e")); err != nil || did != want {
				t.Errorf("push %d: %v, %v", i, did, err)
			}
		}
		if got := list(t, p, "event:p3"); !slices.Equal(got, []string{"e"}) {
			t.Errorf("list %q", got)
		}
		after(time.Hour + time.Second)
		if did, err := p.PushOnce(t.Context(), Event(3), seen, "memory", time.Hour, []byte("e")); err != nil || !did {
			t.Errorf("push after an hour: %v, %v", did, err)
		}
	})
}

func TestMemory(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		first, err := p.Memory(t.Context())
		if err != nil || !first.New || first.Epoch == "" {
			t.Fatalf("%+v %v", first, err)
		}
		if again, err := p.Memory(t.Context()); err != nil || again.New || again.Epoch != first.Epoch || again.Life != first.Life {
			t.Errorf("%+v %v, want %+v", again, err, first)
		}
		if _, err := p.Do(t.Context(), "DEL", Epoch); err != nil {
			t.Fatal(err)
		}
		if other, err := p.Memory(t.Context()); err != nil || !other.New || other.Epoch == first.Epoch || other.Life != first.Life {
			t.Errorf("after a loss: %+v %v, it was %+v", other, err, first)
		}
	})
}

// A Redis that was started again has its memory from its file, and says that it is another
// one that has it.
func TestMemoryAfterARestart(t *testing.T) {
	t.Parallel()
	r := testkit.Redis(t, "--appendonly", "yes")
	p := openPool(t, r.Addr())
	first, err := p.Memory(t.Context())
	if err != nil || first.Life == "" {
		t.Fatalf("%+v %v", first, err)
	}
	r.Kill()
	r.Start()
	testkit.Eventually(t, 10*time.Second, func() error { // a connection may be of the Redis before
		again, err := p.Memory(t.Context())
		if err == nil && (again.New || again.Epoch != first.Epoch || again.Life == first.Life) {
			t.Errorf("%+v, it was %+v", again, first)
		}
		return err
	})
}

func TestLock(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, after func(time.Duration)) {
		a, err := p.TryLock(t.Context(), "l", time.Minute)
		if err != nil || a == nil {
			t.Fatal(a, err)
		}
		if b, err := p.TryLock(t.Context(), "l", time.Minute); err != nil || b != nil {
			t.Fatal("two hold it", b, err)
		}
		after(50 * time.Second)
		if ok, err := a.Renew(t.Context()); err != nil || !ok {
			t.Fatal("not renewed", err)
		}
		after(50 * time.Second)
		if b, err := p.TryLock(t.Context(), "l", time.Minute); err != nil || b != nil {
			t.Fatal("a renewed lock was taken", err)
		}
		after(11 * time.Second)
		b, err := p.TryLock(t.Context(), "l", time.Minute)
		if err != nil || b == nil {
			t.Fatal("an expired lock is not free", err)
		}
		if ok, err := a.Renew(t.Context()); err != nil || ok {
			t.Error("renewed what somebody else holds", err)
		}
		if err := a.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if ok, err := b.Renew(t.Context()); err != nil || !ok {
			t.Error("released what somebody else holds", err)
		}
		if err := b.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if c, err := p.TryLock(t.Context(), "l", time.Minute); err != nil || c == nil {
			t.Error("a released lock is not free", err)
		}
	})
}

// A holder is what a value of Redis says of a process, and whether that is known to be
// dead.
type holder struct {
	name, mine string
	dead       bool
}

func holders(t *testing.T) []holder {
	t.Helper()
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Skip("no process can be run: ", err)
	}
	gone, alive := fmt.Sprint("host-", ended.Process.Pid), fmt.Sprint("host-", os.Getpid())
	if home() == "" {
		t.Skip("this system does not say where its process ids hold")
	}
	return []holder{
		{"dead", gone + ":TOKEN@" + home(), true},
		{"alive", alive + ":TOKEN@" + home(), false},
		{"of another boot or container", gone + ":TOKEN@" + home() + "0", false},
		{"of a release that does not say", gone + ":TOKEN", false},
		{"no process", "host-x:TOKEN@" + home(), false},
		{"a group of processes", "host-0:TOKEN@" + home(), false},
		{"of the fork", "1", false},
	}
}

// A lock of a process of this machine that is dead is free at once; that of one which
// lives, or of which nothing can be known from here, waits for its time.
func TestOrphanedLock(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		for _, tc := range holders(t) {
			if _, err := p.Do(t.Context(), "SET", "l", "1700000000:"+tc.mine, "PX", 60_000); err != nil {
				t.Fatal(err)
			}
			l, err := p.TryLock(t.Context(), "l", time.Minute)
			if err != nil || (l != nil) != tc.dead {
				t.Errorf("%s: %v, %v", tc.name, l, err)
			}
			if l == nil {
				continue
			}
			if other, err := p.TryLock(t.Context(), "l", time.Minute); err != nil || other != nil {
				t.Errorf("%s: the next one has it, too: %v", tc.name, err)
			}
		}
	})
}

// A fenced lock is freed likewise, and its generation goes on.
func TestOrphanedFencedLock(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		for _, tc := range holders(t) {
			if _, err := p.Do(t.Context(), "SET", HBSLock, "1700000000:"+tc.mine, "PX", 60_000); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Do(t.Context(), "SET", HBSGeneration, 41); err != nil {
				t.Fatal(err)
			}
			l, err := p.TryFenced(t.Context(), HBSLock, HBSGeneration, time.Minute)
			if err != nil || (l != nil) != tc.dead {
				t.Errorf("%s: %v, %v", tc.name, l, err)
			}
			if l == nil {
				continue
			}
			if l.Generation != 42 {
				t.Errorf("%s: generation %d, want 42", tc.name, l.Generation)
			}
			if ok, err := l.Renew(t.Context()); err != nil || !ok {
				t.Errorf("%s: not renewed: %v", tc.name, err)
			}
			if other, err := p.TryFenced(t.Context(), HBSLock, HBSGeneration, time.Minute); err != nil || other != nil {
				t.Errorf("%s: the next one has it, too: %v", tc.name, err)
			}
		}
	})
}

func TestLead(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		ctx, cancel := context.WithCancel(t.Context())
		leads, ended := make(chan struct{}), make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- p.Lead(ctx, "l", time.Second, func(ctx context.Context) error {
				close(leads)
				<-ctx.Done()
				close(ended)
				return nil
			})
		}()
		<-leads
		// Somebody who takes the lock away ends the work of who had it.
		if _, err := p.Do(t.Context(), "SET", "l", "robber"); err != nil {
			t.Fatal(err)
		}
		<-ended
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Who sees that the lock is another's waits for the next look, and not for as long as one
// that steps down.
func TestLeadIsLost(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		ctx, cancel := context.WithCancel(t.Context())
		turns := 0
		err := p.LeadFenced(ctx, HBSLock, HBSGeneration, time.Hour, func(context.Context, int64) error {
			if turns++; turns == 2 {
				cancel()
			}
			return ErrLost
		})
		if err != nil || turns != 2 {
			t.Errorf("%d turns, %v", turns, err)
		}
	})
}

func TestQueue(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, after func(time.Duration)) {
		q := p.NewQueue("a", "event:p0", "event:p1")
		if err := q.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := q.Pop(t.Context(), 10); err != nil || len(got) != 0 {
			t.Fatalf("%q %v from nothing", payloads(got), err)
		}
		push(t, p, "event:p1", "1a", "1b", "1c")
		push(t, p, "event:p0", "0a", "0b")
		got, err := q.Pop(t.Context(), 4)
		if err != nil || !slices.Equal(payloads(got), []string{"0a", "0b", "1a", "1b"}) {
			t.Fatalf("%q %v", payloads(got), err)
		}
		if err := q.Done(t.Context(), got[0], got[2]); err != nil {
			t.Fatal(err)
		}
		if got := list(t, p, Inflight("event:p0", "a")); !slices.Equal(got, []string{"0b"}) {
			t.Errorf("in flight %q", got)
		}
		if err := q.GiveBack(t.Context(), got[1], got[3]); err != nil {
			t.Fatal(err)
		}
		if got, err := q.Pop(t.Context(), 10); err != nil || !slices.Equal(payloads(got), []string{"0b", "1b", "1c"}) {
			t.Errorf("%q %v", payloads(got), err)
		}

		// a dies: b may not touch its work before its lease has run out.
		b := p.NewQueue("b", "event:p0", "event:p1")
		if err := b.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Sweep(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Pop(t.Context(), 10); err != nil || len(got) != 0 {
			t.Fatalf("took %q from a living one, %v", payloads(got), err)
		}
		after(leaseTTL + time.Second)
		swept := 0
		if err := b.Sweep(t.Context(), func(who string, n int) { swept += n }); err != nil || swept != 3 {
			t.Fatalf("swept %d, %v", swept, err)
		}
		got, err = b.Pop(t.Context(), 10)
		if err != nil || !slices.Equal(payloads(got), []string{"0b", "1b", "1c"}) {
			t.Errorf("%q %v", payloads(got), err)
		}
		// What a still believes to have is no longer its to finish.
		if err := q.Done(t.Context(), got...); err != nil {
			t.Error(err)
		}
		if err := b.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := list(t, p, "event:p1"); !slices.Equal(got, []string{"1c", "1b"}) {
			t.Errorf("after the resignation %q", got)
		}
	})
}

func TestSubscribe(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		ctx, cancel := context.WithCancel(t.Context())
		stands, got, done := make(chan struct{}, 1), make(chan string, 1), make(chan error, 1)
		go func() {
			done <- p.Subscribe(ctx, "c", func() { stands <- struct{}{} }, func(m []byte) { got <- string(m) })
		}()
		<-stands
		if _, err := p.Do(t.Context(), "PUBLISH", "c", "hello"); err != nil {
			t.Fatal(err)
		}
		if m := <-got; m != "hello" {
			t.Errorf("got %q", m)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestPipe(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		got, err := p.Pipe(t.Context(), C("SET", "a", "text"), C("INCR", "a"), C("GET", "a"))
		if err == nil || !strings.Contains(err.Error(), "INCR a") {
			t.Errorf("error %v does not name the command", err)
		}
		if s, err := String(got[2], nil); err != nil || s != "text" {
			t.Errorf("beside a refused command: %q %v", s, err)
		}
		if _, err := String(p.Do(t.Context(), "GET", "nothing")); !errors.Is(err, Nil) {
			t.Errorf("error %v", err)
		}
	})
}

// After a restart of Redis a pool works on by itself.
func TestRestart(t *testing.T) {
	r := testkit.Redis(t)
	cfg := DefaultConfig()
	cfg.Addr = conf.DSN(r.Addr())
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Kill()
	if err := p.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), r.Socket) {
		t.Errorf("error %v does not name the Redis", err)
	}
	r.Start()
	testkit.Eventually(t, 20*time.Second, func() error { return p.Ping(t.Context()) })
}

func TestConfig(t *testing.T) {
	for _, tc := range []struct{ addr, password, host, network string }{
		{"127.0.0.1:6379", "", "127.0.0.1:6379", "tcp"},
		{"p@ss@h:1", "p@ss", "h:1", "tcp"},
		{"unix:/run/redis.sock", "", "/run/redis.sock", "unix"},
		{"secret@unix:/run/redis.sock", "secret", "/run/redis.sock", "unix"},
	} {
		c := DefaultConfig()
		c.Addr = conf.DSN(tc.addr)
		if p, h, n := c.where(); p != tc.password || h != tc.host || n != tc.network {
			t.Errorf("%s: %q %q %q", tc.addr, p, h, n)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", tc.addr, err)
		}
	}
	for _, tc := range []struct {
		addr  conf.DSN
		nodes []conf.DSN
		err   string
	}{
		{"localhost", nil, `addr: "localhost" is no address`},
		{"localhost", []conf.DSN{"a:1", "pass@b:2"}, ""}, // it is not asked
		{"", []conf.DSN{"secret@b"}, `redis_cluster_nodes: "b" is no address`},
		{"", []conf.DSN{"unix:/run/redis.sock"}, "write host:port"},
	} {
		c := DefaultConfig()
		c.Addr, c.Nodes = tc.addr, tc.nodes
		if err := c.Validate(); fmt.Sprint(err) == "<nil>" != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s %v: error %v, want %q", tc.addr, tc.nodes, err, tc.err)
		}
	}
}

// Keys that one script touches share a slot of a cluster.
func TestHashTags(t *testing.T) {
	for _, l := range []string{Event(0), Part(3, 1)} {
		for _, k := range []string{Inflight(l, "c"), Lease(l, "c"), Consumers(l)} {
			if slotOf(k) != slotOf(l) {
				t.Errorf("%s and %s are in different slots", l, k)
			}
		}
	}
	if k := EventSeen(Event(2), "s_1", "OK", 1, 1, 1); slotOf(k) != slotOf(Event(2)) {
		t.Error(k)
	}
	if a, b := slotOf(Part(1, 0)), slotOf(PartLock(1)); a != b {
		t.Error(fmt.Sprint(a, b))
	}
}

// A lock whose holder died is free when its time is over, not later, and then it is one's.
func TestDefectF11AnOrphanedLock(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, after func(time.Duration)) {
		if dead, err := p.TryLock(t.Context(), "l", time.Minute); err != nil || dead == nil {
			t.Fatal(dead, err)
		}
		after(61 * time.Second)
		holders := 0
		for range 5 {
			l, err := p.TryLock(t.Context(), "l", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if l != nil {
				holders++
			}
		}
		if holders != 1 {
			t.Errorf("%d hold the lock, want 1", holders)
		}
	})
}

// Redis is gone without a word, and its address leads to another one. The first connection
// that is tried finds out, and those that were unused as long are not tried.
func TestUnusedConnectionsDieTogether(t *testing.T) {
	t.Parallel()
	line := testkit.NewLine(t, "unix", testkit.Redis(t).Socket)
	n := openPool(t, line.Addr).single
	used := time.Now().Add(-time.Minute)
	var conns []redis.Conn
	for range 4 {
		c := n.pool.Get()
		defer c.Close()
		if err := n.test(c, used); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	line.Die()
	if err := n.test(conns[0], used); err == nil || errors.Is(err, errSilent) {
		t.Errorf("a dead connection is tried: %v", err)
	}
	for _, c := range conns[1:] {
		if err := n.test(c, used); !errors.Is(err, errSilent) {
			t.Errorf("the next one is tried: %v", err)
		}
	}
	if _, err := n.do(t.Context(), "PING"); err != nil {
		t.Error(err)
	}
}
