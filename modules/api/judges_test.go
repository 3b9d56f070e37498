package api

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/rpc"
)

// A judgeWorld is two judges and a plus_judge with a fleet key, a judge of stock, and one
// that is away.
type judgeWorld struct {
	*judges
	away, stock string
	asked       atomic.Int64
	acked       chan string
}

const aKey = "a key of the fleet"

func newJudgeWorld(t *testing.T, key string) *judgeWorld {
	w := &judgeWorld{acked: make(chan string, 10)}
	serve := func(register func(s *rpc.Server, name string), name string) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := rpc.NewServer(rpc.ServerOptions{})
		register(s, name)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, ln) }()
		t.Cleanup(func() { cancel(); <-ended })
		return ln.Addr().String()
	}
	judge := func(s *rpc.Server, name string) {
		rpc.Handle(s, "Judge.Problems", func(_ context.Context, _ *rpc.Conn, r *model.ProblemsRequest) (*model.ProblemsReply, error) {
			w.asked.Add(1)
			p := model.Problem{ID: "s_1_" + name, Endpoint: "h1", Metric: "disk/free", Tags: map[string]string{"mount": "/"}, Stopped: true, ClosesAt: 900}
			if r.ID != "" && r.ID != p.ID {
				return &model.ProblemsReply{}, nil
			}
			return &model.ProblemsReply{Problems: []model.Problem{p}}, nil
		})
		rpc.Handle(s, "Judge.Ack", func(_ context.Context, _ *rpc.Conn, r *model.AckRequest) (*model.AckReply, error) {
			w.acked <- name + " " + r.EventId + " " + r.Endpoint + "/" + r.Metric + "/" + model.SortedTags(r.Tags) + " " + r.User
			return &model.AckReply{Matched: 1}, nil
		})
		rpc.Protect(s, aKey, "Judge.Ack")
	}
	plus := func(s *rpc.Server, name string) {
		rpc.Handle(s, "PlusJudge.Combinations", func(_ context.Context, _ *rpc.Conn, r *model.CombinationsRequest) (*model.CombinationsReply, error) {
			c := model.Combination{Serial: "s", Endpoint: "h1", Event: "m_1", Acked: true, AckedBy: "ann", AckedAt: 70, Heard: 77, Members: []model.Condition{{Metric: "cpu.idle", Series: []model.ConditionSeries{{Counter: "cpu.idle", Value: 3}}}}}
			if r.Event != "" && r.Event != c.Event {
				return &model.CombinationsReply{}, nil
			}
			return &model.CombinationsReply{Total: 1, Combinations: []model.Combination{c}}, nil
		})
		rpc.Handle(s, "Judge.Ack", func(_ context.Context, _ *rpc.Conn, r *model.AckRequest) (*model.AckReply, error) {
			w.acked <- name + " " + r.EventId
			return &model.AckReply{Matched: 1}, nil
		})
		rpc.Protect(s, aKey, "Judge.Ack")
	}
	stock := func(s *rpc.Server, _ string) {
		rpc.Handle(s, "Judge.Ping", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
			return &model.SimpleRpcResponse{}, nil
		})
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.away = gone.Addr().String()
	_ = gone.Close()
	w.stock = serve(stock, "")
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Judge.Addrs = []string{serve(judge, "a"), w.away, w.stock, serve(judge, "b")}
	cfg.PlusJudge.Addrs = []string{serve(plus, "plus")}
	cfg.FleetKey = conf.Secret(key)
	if w.judges, err = newJudges(&cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

// What judges know is put together; one that is away is named, and one of stock knows
// nothing.
func TestJudgesAreAsked(t *testing.T) {
	w := newJudgeWorld(t, aKey)
	all, failed := w.Problems(t.Context())
	var ids []string
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	if want := []string{"s_1_a", "s_1_b", "m_1"}; !slices.Equal(ids, want) || !slices.Equal(failed, []string{w.away}) {
		t.Fatalf("%q without %q", ids, failed)
	}
	if p := all[0]; p.ClosesAt != 900 || !p.Stopped || p.Tags["mount"] != "/" {
		t.Errorf("%+v", p)
	}
	if p := all[2]; !p.Acked || p.AckedBy != "ann" || p.AckedAt != 70 || p.LastPoint != 77 {
		t.Errorf("%+v", p)
	}
	for range 5 { // however many look
		w.Problems(t.Context())
	}
	if n := w.asked.Load(); n != 2 {
		t.Errorf("two judges were asked %d times", n)
	}
	if one, failed := w.Problem(t.Context(), "s_1_b"); len(one) != 1 || len(failed) != 1 || w.asked.Load() != 4 {
		t.Errorf("%+v without %q, asked %d times", one, failed, w.asked.Load())
	}
	c, failed := w.Combinations(t.Context(), model.CombinationsRequest{Event: "m_1"})
	if c.Total != 1 || len(failed) != 0 || c.Combinations[0].Members[0].Series[0].Value != 3 {
		t.Errorf("%+v without %q", c, failed)
	}
	if c, _ := w.Combinations(t.Context(), model.CombinationsRequest{Event: "m_2"}); c.Total != 0 || c.Combinations == nil {
		t.Errorf("%+v", c)
	}
}

// An acknowledgement goes to who has the problem, with the series as he knows it.
func TestAckGoesToItsJudge(t *testing.T) {
	w := newJudgeWorld(t, aKey)
	for id, want := range map[string]string{"s_1_b": "b s_1_b h1/disk/free/mount=/ ann", "m_1": "plus m_1"} {
		if n, err := w.Ack(t.Context(), model.AckRequest{EventId: id, User: "ann"}); n != 1 || err != nil {
			t.Fatalf("%s: %d, %v", id, n, err)
		}
		if got := <-w.acked; got != want {
			t.Errorf("acknowledged %q, want %q", got, want)
		}
	}
	// Nobody who answers has it: whoever does not may.
	if n, err := w.Ack(t.Context(), model.AckRequest{EventId: "s_1_c"}); n != 0 || err == nil || !strings.Contains(err.Error(), w.away) {
		t.Errorf("%d, %v", n, err)
	}
	w.Problems(t.Context())
	before := w.asked.Load()
	_, _ = w.Ack(t.Context(), model.AckRequest{EventId: "s_1_a"})
	w.Problems(t.Context())
	if n := w.asked.Load() - before; n != 4 { // who has it, and what it is by now
		t.Errorf("asked %d times after an acknowledgement, want 4", n)
	}
}

// Without the fleet's key nothing is acknowledged.
func TestAckNeedsTheKey(t *testing.T) {
	w := newJudgeWorld(t, "another key")
	n, err := w.Ack(t.Context(), model.AckRequest{EventId: "m_1"})
	if n != 0 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
	if len(w.acked) > 0 {
		t.Errorf("acknowledged %q", <-w.acked)
	}
}

// A judge that hangs is waited for as long as is configured.
func TestAJudgeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Self.Enabled = false // the agent of this machine is not asked
		cfg.Judge.Addrs, cfg.PlusJudge.Addrs = []string{"hangs:6080"}, nil
		j, err := newJudges(&cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		j.single[0].Close()
		j.single[0] = rpc.NewClient(rpc.ClientOptions{Addr: "hangs:6080", Codec: rpc.Msgpack, CallTimeout: cfg.Judge.Timeout.D(), Dial: func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				b := make([]byte, 1<<10)
				for {
					if _, err := far.Read(b); err != nil {
						return
					}
				}
			}()
			return near, nil
		}})
		began := time.Now()
		if _, failed := j.Problems(t.Context()); !slices.Equal(failed, []string{"hangs:6080"}) {
			t.Errorf("failed %q", failed)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		j.close()
	})
}

func TestJudgesConfig(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Judge.Addrs, cfg.PlusJudge.Timeout = []string{"http://127.0.0.1:6081/x"}, 0
	err := cfg.Validate()
	for _, want := range []string{`judge.addrs: "http://127.0.0.1:6081/x" is no address, write host:port of its RPC`, `plus_judge.timeout: nothing can be done in no time, write "3s"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	cfg.Judge.Addrs, cfg.PlusJudge.Addrs = nil, nil
	if j, err := newJudges(&cfg, nil); j != nil || err != nil || cfg.Validate() != nil {
		t.Errorf("%v, %v, %v", j, err, cfg.Validate())
	}
}
