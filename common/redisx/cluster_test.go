package redisx

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"falcon/common/conf"
	"falcon/common/run"
	"falcon/common/testkit"
)

// Redis itself says which slot a key has.
func TestSlots(t *testing.T) {
	t.Parallel()
	p := openPool(t, "", testkit.NewRedisCluster(t, 1, false).Seeds()...)
	keys := []string{"", "123456789", "foo", "{user1000}.following", "foo{}{bar}", "foo{{bar}}zap", "foo{bar}{zap}", "}{", "{", "a}b{c}",
		Epoch, Event(3), Part(15, 2), EventSeen(Event(1), "s_1_ab", "OK", 1500000000, 1, 2)}
	for range 200 {
		b := make([]byte, rand.IntN(20))
		for i := range b {
			b[i] = "{}abc\xff\x00"[rand.IntN(7)]
		}
		keys = append(keys, string(b))
	}
	for _, key := range keys {
		want, err := Int64(p.Do(t.Context(), "CLUSTER", "KEYSLOT", key))
		if err != nil {
			t.Fatal(err)
		}
		if got := slotOf(key); int64(got) != want {
			t.Errorf("slotOf(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestRedirected(t *testing.T) {
	for _, tc := range []struct {
		where, addr string
		slot        int
		ok          bool
	}{
		{"3999 127.0.0.1:6381", "127.0.0.1:6381", 3999, true},
		{"0 :6381", "10.0.0.7:6381", 0, true}, // it does not know its own host
		{"1 fe80::1:6381", "[fe80::1]:6381", 1, true},
		{"1 redis-2.example.com:7", "redis-2.example.com:7", 1, true},
		{"16384 a:1", "", 0, false},
		{"-1 a:1", "", 0, false},
		{"7", "", 0, false},
		{"7 host", "", 0, false},
		{"7 host:x", "", 0, false},
		{"", "", 0, false},
	} {
		slot, addr, ok := redirected(tc.where, "10.0.0.7:6379")
		if ok != tc.ok || ok && (slot != tc.slot || addr != tc.addr) {
			t.Errorf("redirected(%q) = %d, %q, %v", tc.where, slot, addr, ok)
		}
	}
}

// While a slot with all its keys moves to another node, and back, what is pushed is
// popped, once and in order.
func TestSlotMoves(t *testing.T) {
	t.Parallel()
	c := testkit.NewRedisCluster(t, 2, false)
	p, other := openPool(t, "", c.Seeds()[0]), openPool(t, "", c.Seeds()[1])
	list := Event(0)
	moved, pushed, one := make(chan struct{}), make(chan int, 1), make(chan struct{})
	var got []string
	g := run.New(t.Context())
	g.Go("push", func(ctx context.Context) error {
		n := 0
		for still := true; still; n++ {
			for { // as judge does: an event that was refused waits
				_, err := p.PushOnce(ctx, list, EventSeen(list, strconv.Itoa(n), "OK", 1, 1, 1), "memory", time.Minute, []byte(strconv.Itoa(n)))
				if err == nil {
					break
				}
				if refused, ok := errors.AsType[redis.Error](err); !ok || !later(refused) {
					return err
				}
			}
			select {
			case <-moved:
				still = false
			case one <- struct{}{}:
			default:
			}
		}
		pushed <- n
		<-ctx.Done()
		return nil
	})
	g.Go("pop", func(ctx context.Context) error {
		q := other.NewQueue("a", list, Event(1), Event(2))
		if err := q.Announce(ctx); err != nil {
			return err
		}
		for n := -1; n < 0 || len(got) < n; {
			some, err := q.Pop(ctx, 7)
			got = append(got, payloads(some)...)
			for _, e := range some {
				for q.Done(ctx, e) != nil {
					if ctx.Err() != nil {
						return ctx.Err()
					}
				}
			}
			if refused, ok := errors.AsType[redis.Error](err); err != nil && (!ok || !later(refused)) {
				return err
			}
			select {
			case n = <-pushed:
			default:
			}
		}
		return nil
	})
	g.Go("move", func(ctx context.Context) error {
		for i := range 3 { // the first has it
			for range 20 { // so many are pushed and known to be here
				select {
				case <-one:
				case <-ctx.Done():
					return nil
				}
			}
			if err := moveSlot(slotOf(list), c.Nodes[i%2], c.Nodes[(i+1)%2]); err != nil {
				return err
			}
		}
		close(moved)
		<-ctx.Done()
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, e := range got {
		if e != strconv.Itoa(i) {
			t.Fatalf("element %d is %s", i, e)
		}
	}
	if left, err := Strings(p.Do(t.Context(), "LRANGE", Inflight(list, "a"), 0, -1)); err != nil || len(left) > 0 {
		t.Errorf("%q are in flight, %v", left, err)
	}
}

// moveSlot moves a slot as an operator does, key by key.
func moveSlot(slot int, from, to *testkit.RedisNode) error {
	s := strconv.Itoa(slot)
	host, port, _ := net.SplitHostPort(to.Addr)
	_, err1 := to.Do("CLUSTER", "SETSLOT", s, "IMPORTING", from.ID)
	_, err2 := from.Do("CLUSTER", "SETSLOT", s, "MIGRATING", to.ID)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for {
		keys, err := from.Do("CLUSTER", "GETKEYSINSLOT", s, "10")
		if err != nil {
			return err
		}
		if keys == "" {
			break
		}
		if _, err := from.Do(append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, strings.Fields(keys)...)...); err != nil {
			return err
		}
	}
	_, err1 = to.Do("CLUSTER", "SETSLOT", s, "NODE", to.ID)
	_, err2 = from.Do("CLUSTER", "SETSLOT", s, "NODE", to.ID)
	return errors.Join(err1, err2)
}

// A master dies: until its replica has its place, what it had is refused with its name
// and the rest goes on; after that everything does, and the memory counts as another.
func TestMasterDies(t *testing.T) {
	t.Parallel()
	c := testkit.NewRedisCluster(t, 3, true)
	p := openPool(t, "", c.Seeds()[1])
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := p.Memory(t.Context())
	if err != nil || !before.New {
		t.Fatal(before, err)
	}
	if again, err := p.Memory(t.Context()); err != nil || again.New || again.Epoch != before.Epoch {
		t.Fatalf("%+v %v, want %+v", again, err, before)
	}
	keys := map[*testkit.RedisNode]string{} // one of each master
	for i := 0; len(keys) < 3; i++ {
		key := fmt.Sprintf("k%d", i)
		keys[c.Nodes[slotOf(key)*3/slots]] = key
		if _, err := p.Do(t.Context(), "SET", key, key); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stands, heard := make(chan struct{}, 100), make(chan string, 1)
	go func() {
		_ = p.Subscribe(ctx, "c", func() { stands <- struct{}{} }, func(m []byte) { heard <- string(m) })
	}()
	<-stands

	victim := c.Nodes[0] // subscriptions stand there, if they do where the map begins
	for _, m := range p.cluster.mastersNow()[:1] {
		victim = c.Nodes[slices.IndexFunc(c.Nodes, func(n *testkit.RedisNode) bool { return n.Addr == m.addr })]
	}
	victim.Replicated() // otherwise what the replica has not is lost, as it would be
	victim.Kill()
	if _, err := p.Do(t.Context(), "GET", keys[victim]); err == nil || !strings.Contains(err.Error(), victim.Addr) {
		t.Errorf("error %v does not name the node", err)
	}
	if err := p.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), victim.Addr) {
		t.Errorf("error of Ping %v does not name the node", err)
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		for _, key := range keys {
			if got, err := String(p.Do(t.Context(), "GET", key)); err != nil || got != key {
				return fmt.Errorf("%s is %q: %w", key, got, err)
			}
		}
		return p.Ping(t.Context())
	})
	after, err := p.Memory(t.Context())
	if err != nil || after.New || after.Epoch == before.Epoch {
		t.Errorf("the memory is %+v, was %+v, %v", after, before, err)
	}
	<-stands
	if _, err := p.Do(t.Context(), "PUBLISH", "c", "hello"); err != nil {
		t.Fatal(err)
	}
	if m := <-heard; m != "hello" {
		t.Errorf("heard %q", m)
	}

	// What was seen before counts no more: an element may be lost beside it.
	for epoch, want := range map[string]bool{before.Epoch: true, after.Epoch: true} {
		for i, want := range []bool{want, false} {
			if did, err := p.PushOnce(t.Context(), Event(1), EventSeen(Event(1), "s_1", "OK", 1, 1, 1), epoch, time.Minute, []byte("e")); err != nil || did != want {
				t.Errorf("push %d: %v, %v", i, did, err)
			}
		}
	}
}

// A node that hangs holds up what it has, and nothing else.
func TestNodeHangs(t *testing.T) {
	t.Parallel()
	c := testkit.NewRedisCluster(t, 2, false)
	cfg := DefaultConfig()
	cfg.Nodes, cfg.ReadTimeout = []conf.DSN{conf.DSN(c.Seeds()[0])}, conf.Millis(200*time.Millisecond)
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	cmds := make([]Cmd, 0, 40)
	for i := range 20 {
		cmds = append(cmds, C("SET", strconv.Itoa(i), i), C("GET", strconv.Itoa(i)))
	}
	if _, err := p.Pipe(t.Context(), cmds...); err != nil {
		t.Fatal(err)
	}
	resume := c.Nodes[1].Pause()
	defer resume()
	replies, err := p.Pipe(t.Context(), cmds...)
	if err == nil || !strings.Contains(err.Error(), c.Nodes[1].Addr) || strings.Contains(err.Error(), c.Nodes[0].Addr) {
		t.Errorf("error %v", err)
	}
	for i, r := range replies {
		here := slotOf(strconv.Itoa(i/2)) < slots/2
		if (r != nil) != here {
			t.Errorf("reply %d is %v, its node answers: %v", i, r, here)
		}
	}
	resume()
	testkit.Eventually(t, 10*time.Second, func() error { return p.Ping(t.Context()) })
}

// One address that is no cluster is meant as the single Redis; of several, somebody has
// to say what was meant.
func TestNoCluster(t *testing.T) {
	t.Parallel()
	serve := func() string {
		addr := testkit.FreeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		testkit.Start(t, t.TempDir(), "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "")
		testkit.Eventually(t, 10*time.Second, func() error { return openPool(t, addr).Ping(t.Context()) })
		return addr
	}
	a, b := serve(), serve()
	p := openPool(t, "", a)
	for _, key := range []string{"x", "y", "z"} {
		if _, err := p.Do(t.Context(), "SET", key, 1); err != nil {
			t.Error(err)
		}
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := openPool(t, "", a, b).Do(t.Context(), "GET", "x")
	if err == nil || !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), b) || !strings.Contains(err.Error(), "cluster support disabled") {
		t.Errorf("error %v", err)
	}
	nobody := testkit.FreeAddr(t)
	if err := openPool(t, "", nobody).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), nobody) {
		t.Errorf("error %v", err)
	}
}

// The password stands before any of the nodes, or before addr.
func TestClusterPassword(t *testing.T) {
	t.Parallel()
	c := testkit.NewRedisCluster(t, 1, false)
	c.Nodes[0].Must("CONFIG", "SET", "requirepass", "sec@ret")
	for _, cfg := range []Config{
		{Nodes: []conf.DSN{conf.DSN("sec@ret@" + c.Nodes[0].Addr)}},
		{DSN: "sec@ret@127.0.0.1:1", Nodes: []conf.DSN{conf.DSN(c.Nodes[0].Addr)}},
	} {
		d := DefaultConfig()
		d.DSN, d.Nodes = cfg.DSN, cfg.Nodes
		p, err := New(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if strings.Contains(p.Addr(), "ret") {
			t.Errorf("%s shows the password", p.Addr())
		}
		p.Close()
	}
	if err := openPool(t, "", c.Seeds()...).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without the password: %v", err)
	}
}
