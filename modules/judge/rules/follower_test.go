package rules

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	netrpc "net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/testkit"
)

func book(right float64, hosts ...string) *rulebook.Book {
	b := rulebook.New()
	s := &model.Strategy{Id: 1, Metric: "cpu.idle", Tags: map[string]string{}, Func: "all(#3)", Operator: "<", RightValue: right, Tpl: &model.Template{Id: 7, ActionId: 9}}
	for _, h := range hosts {
		b.Add(h, []*model.Strategy{s})
	}
	return b
}

// hbs is one of ours, that answers as it is told.
type hbs struct {
	answers chan func(*rulebook.Request) (*rulebook.Reply, error)
}

func (h *hbs) serve(t *testing.T) (addr string, stop func()) {
	h.answers = make(chan func(*rulebook.Request) (*rulebook.Reply, error), 8)
	s := rpc.NewServer(rpc.ServerOptions{Drain: time.Millisecond})
	rpc.Handle(s, rulebook.Method, func(ctx context.Context, _ *rpc.Conn, req *rulebook.Request) (*rulebook.Reply, error) {
		select {
		case a := <-h.answers:
			return a(req)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	return listen(t, s.Serve)
}

func listen(t *testing.T, serve func(context.Context, net.Listener) error) (addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func full(b *rulebook.Book) func(*rulebook.Request) (*rulebook.Reply, error) {
	return func(*rulebook.Request) (*rulebook.Reply, error) {
		return &rulebook.Reply{Kind: rulebook.Full, Version: b.Version().String(), Body: b.Encode()}, nil
	}
}

func follow(t *testing.T, dir string, addrs ...string) (f *Follower, got chan *rulebook.Book) {
	got = make(chan *rulebook.Book, 8)
	f = New(Options{
		Servers: addrs, Judge: "judge-00", Dir: dir, Interval: 10 * time.Millisecond, DialTimeout: time.Second, CallTimeout: 5 * time.Second,
		Log: slog.New(slog.DiscardHandler), Changed: func(b *rulebook.Book, _ By) { got <- b },
	})
	return start(t, f), got
}

func start(t *testing.T, f *Follower) *Follower {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	f.Load()
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

// The whole book, a change of it, a change of another book (the whole one is asked
// for), and a body that is not what it says (nothing changes).
func TestFollow(t *testing.T) {
	h := &hbs{}
	addr, _ := h.serve(t)
	one, two, three, four := book(1, "h1"), book(2, "h1"), book(3, "h1", "h2"), book(4, "h1")
	f, got := follow(t, "", addr)
	h.answers <- full(one)
	if b := <-got; b.Version() != one.Version() {
		t.Fatalf("got %v", b.Version())
	}
	h.answers <- func(req *rulebook.Request) (*rulebook.Reply, error) {
		if req.Version != one.Version().String() || req.Judge != "judge-00" || req.Wait != 15000 {
			t.Errorf("request %+v", req)
		}
		return &rulebook.Reply{Kind: rulebook.Changes, Version: two.Version().String(), Body: rulebook.Diff(one, two).Encode()}, nil
	}
	if b := <-got; b.Version() != two.Version() {
		t.Fatalf("got %v", b.Version())
	}
	h.answers <- func(*rulebook.Request) (*rulebook.Reply, error) {
		other := book(3, "h1", "h2", "h3")
		return &rulebook.Reply{Kind: rulebook.Changes, Version: other.Version().String(), Body: rulebook.Diff(three, other).Encode()}, nil
	}
	h.answers <- func(req *rulebook.Request) (*rulebook.Reply, error) {
		if req.Version != "" {
			t.Errorf("after a change that does not fit it asks for %+v", req)
		}
		return full(three)(req)
	}
	if b := <-got; b.Version() != three.Version() {
		t.Fatalf("got %v", b.Version())
	}
	h.answers <- func(*rulebook.Request) (*rulebook.Reply, error) {
		return &rulebook.Reply{Kind: rulebook.Full, Version: one.Version().String(), Body: four.Encode()}, nil
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if _, err := f.Heard(); !errors.Is(err, rulebook.ErrMismatch) {
			return errors.New("no complaint about the wrong body")
		}
		return nil
	})
	if f.Book().Version() != three.Version() {
		t.Error("a wrong body came into force")
	}
}

// The second hbs is asked when the first is away; the book is there after a restart
// while both are.
func TestAway(t *testing.T) {
	h := &hbs{}
	addr, stop := h.serve(t)
	dead, kill := listen(t, func(ctx context.Context, ln net.Listener) error { <-ctx.Done(); return ln.Close() })
	kill()
	dir := t.TempDir()
	_, got := follow(t, dir, dead, addr)
	want := book(1, "h1")
	h.answers <- full(want)
	<-got
	testkit.Eventually(t, 20*time.Second, func() error { _, err := os.Stat(filepath.Join(dir, file)); return err })
	stop()
	f, got := follow(t, dir, dead, addr)
	if b := <-got; b.Version() != want.Version() {
		t.Errorf("from disk %v", b.Version())
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if _, err := f.Heard(); err == nil {
			return errors.New("no complaint that no hbs answers")
		}
		return nil
	})
	if f.Book() == nil {
		t.Error("the book went with the hbs")
	}
}

func TestDamagedBookOnDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, file), []byte("not a book"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &hbs{}
	addr, _ := h.serve(t)
	h.answers <- full(book(1, "h1"))
	_, got := follow(t, dir, addr)
	if b := <-got; len(b.Hosts) != 1 {
		t.Errorf("%d hosts", len(b.Hosts))
	}
}

// Hbs is a stock one.
type Hbs struct {
	mu    sync.Mutex
	hosts []*model.HostStrategy
	asked int
}

func (h *Hbs) GetStrategies(_ model.NullRpcRequest, r *model.StrategiesResponse) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	r.HostStrategies = h.hosts
	return nil
}

func (h *Hbs) GetExpressions(_ model.NullRpcRequest, r *model.ExpressionResponse) error {
	r.Expressions = []*model.Expression{{Id: 3, Metric: "qps", Tags: map[string]string{"srv": "x"}, Func: "all(#1)", Operator: ">"}}
	return nil
}

func (h *Hbs) set(hosts ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hosts = nil
	for _, host := range hosts {
		h.hosts = append(h.hosts, &model.HostStrategy{Hostname: host, Strategies: []model.Strategy{{Id: 1, Metric: "cpu.idle", Func: "all(#3)", Operator: "<", Tpl: &model.Template{Id: 7}}}})
	}
}

// A stock hbs is asked for stock's lists; that it has none at all is not believed at
// once.
func TestStock(t *testing.T) {
	stock := &Hbs{}
	stock.set("h1", "h2")
	s := netrpc.NewServer()
	if err := s.Register(stock); err != nil {
		t.Fatal(err)
	}
	addr, _ := listen(t, func(ctx context.Context, ln net.Listener) error {
		context.AfterFunc(ctx, func() { ln.Close() })
		var wg sync.WaitGroup
		defer wg.Wait()
		for {
			c, err := ln.Accept()
			if err != nil {
				return nil
			}
			context.AfterFunc(ctx, func() { c.Close() })
			wg.Go(func() { s.ServeCodec(jsonrpc.NewServerCodec(c)) })
		}
	})
	f, got := follow(t, "", addr)
	b := <-got
	if len(b.Hosts) != 2 || len(b.Strategies) != 1 || len(b.Expressions) != 1 || b.Hosts["h1"] != b.Hosts["h2"] {
		t.Errorf("book %+v", b)
	}
	stock.set()
	testkit.Eventually(t, 20*time.Second, func() error {
		if _, err := f.Heard(); err == nil {
			return errors.New("an empty list was believed")
		}
		return nil
	})
	if len(f.Book().Hosts) != 2 {
		t.Error("the strategies are gone")
	}
	stock.set("h1", "h2", "h3")
	if b := <-got; len(b.Hosts) != 3 {
		t.Errorf("%d hosts", len(b.Hosts))
	}
}

// What is in force is on the disk already: a judge that is killed has not judged by
// newer rules than it judges by when it is back.
func TestOnTheDiskBeforeInForce(t *testing.T) {
	h := &hbs{}
	addr, _ := h.serve(t)
	dir := t.TempDir()
	kept := make(chan error, 8)
	start(t, New(Options{
		Servers: []string{addr}, Dir: dir, DialTimeout: time.Second, CallTimeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler),
		Changed: func(b *rulebook.Book, _ By) {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err == nil && !bytes.Equal(data, b.Encode()) {
				err = errors.New("the book on the disk is another one")
			}
			kept <- err
		},
	}))
	for right := range 3 {
		h.answers <- full(book(float64(right), "h1"))
		if err := <-kept; err != nil {
			t.Error(err)
		}
	}
}

// An hbs that hangs, and closes nothing, keeps a change from the judges only for as long
// as a change may take.
func TestHangingHBS(t *testing.T) {
	if waitOfMany+hangs >= 15*time.Second {
		t.Errorf("a change would come after %v", waitOfMany+hangs)
	}
	hung, well := &hbs{}, &hbs{}
	first, _ := hung.serve(t) // it takes the question and says nothing
	second, _ := well.serve(t)
	got := make(chan *rulebook.Book, 8)
	f := New(Options{
		Servers: []string{first, second}, DialTimeout: time.Second, CallTimeout: 5 * time.Minute,
		Log: slog.New(slog.DiscardHandler), Changed: func(b *rulebook.Book, _ By) { got <- b },
	})
	f.wait, f.patience = f.wait/100, f.patience/100
	start(t, f)
	for right := range 2 {
		want := book(float64(right), "h1")
		well.answers <- full(want)
		if b := <-got; b.Version() != want.Version() {
			t.Errorf("got %v", b.Version())
		}
	}
}

// An hbs that was away, and comes back with rules which another has replaced meanwhile,
// is not believed, as long as another knows better, or for a moment when there is none.
func TestRulesDoNotGoBack(t *testing.T) {
	one, two := &hbs{}, &hbs{}
	first, _ := one.serve(t)
	second, _ := two.serve(t)
	older, newer := book(1, "h1"), book(2, "h1")
	fails := func(*rulebook.Request) (*rulebook.Reply, error) { return nil, errors.New("away") }
	f, got := follow(t, "", first, second)
	one.answers <- full(older)
	<-got
	one.answers <- fails
	two.answers <- full(newer)
	<-got
	one.answers <- full(older)
	two.answers <- func(req *rulebook.Request) (*rulebook.Reply, error) {
		return &rulebook.Reply{Kind: rulebook.NotModified, Version: req.Version}, nil
	}
	began := time.Now()
	for range 8 { // from here on nobody else says anything
		one.answers <- full(older)
		two.answers <- fails
	}
	b := <-got
	if took := time.Since(began); b.Version() != older.Version() || took < behind {
		t.Errorf("got %v after %v", b.Version(), took)
	}
	if _, err := f.Heard(); err != nil {
		t.Error(err)
	}
}
