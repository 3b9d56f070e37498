package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/stream"
	"falcon/common/testkit"
	"falcon/modules/judge/journal"
)

// start runs a judge whose rules are on disk: cpu.idle of h1 below 5, once.
func start(t *testing.T, dir, redis string) (addr string, j *Judge, stop func()) {
	t.Helper()
	b := rulebook.New()
	b.Add("h1", []*model.Strategy{{
		Id: 1, Metric: "cpu.idle", Tags: map[string]string{}, Func: "all(#2)", Operator: "<", RightValue: 5, MaxStep: 3,
		Tpl: &model.Template{Id: 7, ActionId: 9},
	}})
	if err := os.WriteFile(filepath.Join(dir, "rules.book"), b.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Data = dir
	cfg.HBS.Servers = []string{testkit.FreeAddr(t)}
	cfg.Alarm.Redis.Addr = conf.DSN(redis)
	cfg.HTTP.Enabled = false
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if j, err = New(cfg, Deps{Log: slog.New(slog.DiscardHandler), RPC: ln}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}
	testkit.Eventually(t, 5*time.Second, j.health)
	return ln.Addr().String(), j, stop
}

func point(ts int64, value float64) *model.JudgeItem {
	return &model.JudgeItem{Endpoint: "h1", Metric: "cpu.idle", JudgeType: "GAUGE", Tags: map[string]string{}, Timestamp: ts, Value: value}
}

func send(t *testing.T, addr string, items ...*model.JudgeItem) {
	t.Helper()
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr})
	defer c.Close()
	if err := c.Call(context.Background(), "Judge.Send", items, &model.SimpleRpcResponse{}); err != nil {
		t.Fatal(err)
	}
}

// waitTold waits until the list has the events, oldest first.
func waitTold(t *testing.T, r *miniredis.Miniredis, want ...string) {
	t.Helper()
	testkit.Eventually(t, 5*time.Second, func() error {
		list, _ := r.List("event:p0") // an error: it is empty
		var got []string
		for _, raw := range list {
			var e model.Event
			if err := json.Unmarshal([]byte(raw), &e); err != nil {
				return err
			}
			got = append([]string{fmt.Sprintf("%s %d", e.Status, e.CurrentStep)}, got...)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("told %v, want %v", got, want)
		}
		return nil
	})
}

// A problem is told once, also by a judge that was restarted in the middle and whose
// Redis was away, and once Redis has lost everything again.
func TestRestart(t *testing.T) {
	dir, r := t.TempDir(), miniredis.RunT(t)
	now := time.Now().Unix()
	addr, _, stop := start(t, dir, r.Addr())
	send(t, addr, point(now-120, 1), nil, point(now-60, 1), point(now+9000, 1))
	waitTold(t, r, "PROBLEM 1")
	stop()

	addr, _, stop = start(t, dir, r.Addr())
	r.SetError("LOADING away") // before the next event
	send(t, addr, point(now-60, 1), point(now, 50))
	stop()

	rewrite(t, dir, r.Addr()) // keeps the event that waits, and the state
	r.SetError("")
	_, _, stop = start(t, dir, r.Addr())
	waitTold(t, r, "PROBLEM 1", "OK 1")
	stop()

	r.FlushAll()
	_, _, stop = start(t, dir, r.Addr())
	waitTold(t, r, "OK 1") // the problem is over: only its end matters
	stop()
}

// rewrite does what a judge does every ten minutes.
func rewrite(t *testing.T, dir, redis string) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Data = dir
	cfg.Alarm.Redis.Addr = conf.DSN(redis)
	j, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	jl, err := journal.Open(dir, j.replay)
	if err != nil {
		t.Fatal(err)
	}
	if len(j.outbox) != 1 || len(j.series) != 1 {
		t.Errorf("%d events wait, %d series, want 1 and 1", len(j.outbox), len(j.series))
	}
	if err := errors.Join(jl.Rewrite(j.snapshot), jl.Close(), j.redis.Close()); err != nil {
		t.Fatal(err)
	}
}

// Points of our own transfers come over a stream and are judged the same.
func TestStream(t *testing.T) {
	r := miniredis.RunT(t)
	addr, j, stop := start(t, t.TempDir(), r.Addr())
	defer stop()
	now := time.Now().Unix()
	snd, err := stream.NewSender(stream.SenderOptions{Addr: addr, Kind: stream.KindJudge, Sender: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- snd.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	h := snd.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	result := make(chan stream.Result, 1)
	if err := snd.Send(ctx, []stream.Point{{Handle: h, Time: now - 60, Value: 1}, {Handle: h, Time: now, Value: 2}}, func(r stream.Result) { result <- r }); err != nil {
		t.Fatal(err)
	}
	<-result
	waitTold(t, r, "PROBLEM 1")
	j.mu.Lock()
	n := len(j.last)
	j.mu.Unlock()
	if n != 1 {
		t.Errorf("%d last events, want 1", n)
	}
}

// The file that is shipped says the defaults.
func TestConfigFile(t *testing.T) {
	cfg := DefaultConfig()
	warnings, err := conf.Load(filepath.Join("..", "..", "config", "judge.json"), &cfg)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", warnings, err)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}
