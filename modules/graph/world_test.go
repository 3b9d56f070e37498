package graph

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	netrpc "net/rpc"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/rpc"
	"falcon/common/stream"
	"falcon/modules/graph/tsdb/vfs"
)

// captureTime is when the bytes of testdata were captured from stock.
const captureTime = 1795320703

// A clock is set by hand.
type clock struct{ unix atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.unix.Load(), 0) }

// A world is a running graph.
type world struct {
	t     *testing.T
	g     *Graph
	addr  string
	clock *clock
	stop  func()
}

// start runs a graph at captureTime; change may alter what it is made of.
func start(t *testing.T, change func(*Config, *Deps)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}}
	w.clock.unix.Store(captureTime)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Data, cfg.HTTP.Enabled, cfg.Index.Enabled = t.TempDir(), false, false
	ready := make(chan struct{})
	deps := Deps{Log: slog.New(slog.DiscardHandler), RPC: ln, Now: w.clock.now, Ready: func() { close(ready) }}
	if change != nil {
		change(&cfg, &deps)
	}
	if w.g, err = New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.g.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("Run: %v", err)
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// gob is a client as stock's daemons have it.
func (w *world) gob() *netrpc.Client {
	w.t.Helper()
	c, err := netrpc.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// ours is a client as our daemons have it.
func (w *world) ours() *rpc.Client {
	c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr})
	w.t.Cleanup(c.Close)
	return c
}

// call calls a method as our daemons do, and fails the test on an error.
func (w *world) call(method string, arg, reply any) {
	w.t.Helper()
	if err := w.ours().Call(w.t.Context(), method, arg, reply); err != nil {
		w.t.Fatalf("%s: %v", method, err)
	}
}

func graphItem(endpoint, metric string, ts int64, v float64) *model.GraphItem {
	return &model.GraphItem{Endpoint: endpoint, Metric: metric, Value: v, Timestamp: ts, DsType: model.Gauge, Step: 60, Heartbeat: 120, Min: "U", Max: "U"}
}

func (w *world) send(items ...*model.GraphItem) {
	w.t.Helper()
	var resp model.SimpleRpcResponse
	w.call("Graph.Send", &items, &resp)
}

// A link is a stream to the graph.
type link struct {
	t   *testing.T
	snd *stream.Sender
}

func (w *world) link() *link {
	w.t.Helper()
	snd, err := stream.NewSender(stream.SenderOptions{Addr: w.addr, Kind: stream.KindGraph, Sender: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- snd.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-ended })
	return &link{w.t, snd}
}

func (l *link) define(metric, tags string) stream.Handle {
	return l.snd.Define(&model.Series{Endpoint: "h", Metric: metric, Tags: tags, Type: model.Gauge, Step: 60, Heartbeat: 120, Min: math.NaN(), Max: math.NaN()})
}

func (l *link) send(points ...stream.Point) stream.Result {
	l.t.Helper()
	done := make(chan stream.Result, 1)
	if err := l.snd.Send(l.t.Context(), points, func(r stream.Result) { done <- r }); err != nil {
		l.t.Fatal(err)
	}
	return <-done
}

// fullDisk is a file system whose log can not be written while it is full.
type fullDisk struct {
	vfs.OS
	full atomic.Bool
}

type fullFile struct {
	vfs.File
	d *fullDisk
}

func (f fullFile) Write(p []byte) (int, error) {
	if f.d.full.Load() {
		return 0, errors.New("no space left on device")
	}
	return f.File.Write(p)
}

// Create implements vfs.FS.
func (d *fullDisk) Create(path string) (vfs.File, error) {
	f, err := d.OS.Create(path)
	return fullFile{f, d}, err
}

// Append implements vfs.FS.
func (d *fullDisk) Append(path string) (vfs.File, error) {
	f, err := d.OS.Append(path)
	return fullFile{f, d}, err
}

// store is an IndexStore that may be away, before one that is there.
type store struct {
	IndexStore
	away   atomic.Bool
	failed chan struct{} // receives after a call that failed
}

var errAway = errors.New("connection refused")

func (s *store) fails() error {
	if !s.away.Load() {
		return nil
	}
	select {
	case s.failed <- struct{}{}:
	default:
	}
	return errAway
}

// IndexWrite implements IndexStore.
func (s *store) IndexWrite(ctx context.Context, cache *portal.EndpointCache, rows []portal.IndexRow) ([]portal.IndexRefusal, error) {
	if err := s.fails(); err != nil {
		return nil, err
	}
	return s.IndexStore.IndexWrite(ctx, cache, rows)
}

// IndexDelete implements IndexStore.
func (s *store) IndexDelete(ctx context.Context, keys []portal.IndexKey, before int64) (int, error) {
	if err := s.fails(); err != nil {
		return 0, err
	}
	return s.IndexStore.IndexDelete(ctx, keys, before)
}

func contains(s, part string) bool { return strings.Contains(s, part) }
