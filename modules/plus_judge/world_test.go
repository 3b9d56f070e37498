package plusjudge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

// world is a plus_judge with its folder and Redis.
type world struct {
	*PlusJudge
	t    *testing.T
	dir  string
	addr string
	r    *miniredis.Miniredis
	stop func()

	members func(context.Context, int) (int, error)
	change  func(*Config) // of the configuration; nil for nothing
	skew    atomic.Int64  // of all clocks, in nanoseconds
	put     atomic.Int64  // what its own was put by
}

func (w *world) clock() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }

// later lets time pass.
func (w *world) later(d time.Duration) { w.skew.Add(int64(d)) }

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), r: miniredis.RunT(t), stop: func() {}}
	t.Cleanup(func() { w.stop() })
	w.start()
	return w
}

func (w *world) config() Config {
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Data = w.dir
	cfg.HBS.Servers = nil
	cfg.Alarm.Redis.Addr = conf.DSN(w.r.Addr())
	cfg.HTTP.Enabled = false
	if w.change != nil {
		w.change(&cfg)
	}
	return cfg
}

// start runs it again.
func (w *world) start() {
	w.t.Helper()
	w.stop()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ready := make(chan struct{})
	p, err := New(w.config(), Deps{Log: slog.New(slog.DiscardHandler), RPC: ln, Now: func() time.Time { return w.clock().Add(time.Duration(w.put.Load())) }, Members: w.members, Ready: func() { close(ready) }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.PlusJudge, w.addr = p, ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	w.stop = func() {
		w.stop = func() {}
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Errorf("Run: %v", err)
		}
	}
	<-ready
}

// send is what a judge does.
func (w *world) send(codec rpc.Codec, method string, e *model.Event) (*model.SimpleRpcResponse, error) {
	c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr, Codec: codec})
	defer c.Close()
	var reply model.SimpleRpcResponse
	return &reply, c.Call(context.Background(), method, e, &reply)
}

// now has a member say what it does, at the clock's time.
func (w *world) now(status string, ids ...int) {
	w.t.Helper()
	for _, id := range ids {
		if r, err := w.send(rpc.Msgpack, "Judge.UnionJudge", event(id, "h1", status, w.clock().Unix(), nil)); err != nil || r.Code != 0 {
			w.t.Fatal(r, err)
		}
	}
}

func (w *world) holds(ids ...int)  { w.t.Helper(); w.now(model.StatusProblem, ids...) }
func (w *world) ceases(ids ...int) { w.t.Helper(); w.now(model.StatusOK, ids...) }

// list returns the events that Redis has, oldest first.
func (w *world) list() (all []*model.Event) {
	list, _ := w.r.List("event:p2") // an error: it is empty
	for _, raw := range list {
		e := &model.Event{}
		if err := json.Unmarshal([]byte(raw), e); err != nil {
			w.t.Fatal(err)
		}
		all = append([]*model.Event{e}, all...)
	}
	return all
}

// waitTold waits until Redis has the events, oldest first.
func (w *world) waitTold(want ...string) {
	w.t.Helper()
	testkit.Eventually(w.t, 20*time.Second, func() error {
		var got []string
		for _, e := range w.list() {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %d %s", e.Status, e.CurrentStep, e.Closed)))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("told %v, want %v", got, want)
		}
		return nil
	})
}
