package transfer

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	netrpc "net/rpc"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
	"falcon/common/testkit"
)

// text is an item with a value that may be a text.
func text(metric string, ts int64, value any) *item {
	return &item{Endpoint: "h", Metric: metric, Value: value, Step: 30, Type: model.Gauge, Timestamp: ts}
}

// A text goes to a judge and never to a graph; a number that is written as a text goes
// to both.
func TestTextsGoToJudgesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t, "graph:1")
		cfg.Judge.Enabled, cfg.Judge.Cluster = true, map[string]string{"judge-00": "judge:1"}
		w := newWorld(t, cfg)
		defer w.end()
		graph, judge := w.peers["graph:1"], w.peers["judge:1"]
		graph.start()
		judge.start()
		f := w.offer(text("state", t0, "down"), text("number", t0, "12.5"), text("long", t0, strings.Repeat("x", maxText+1)),
			text("longest", t0, strings.Repeat("x", maxText)), text("nothing", t0, ""))
		synctest.Wait()
		if !f.kept() {
			t.Errorf("%v", f)
		}
		for metric, n := range map[string]int{"state": 1, "number": 1, "longest": 1, "long": 0, "nothing": 0} {
			if got := len(judge.seen(metric)); got != n {
				t.Errorf("judge has %d points of %s, want %d", got, metric, n)
			}
		}
		if graph.wants("number", []int64{t0}); len(graph.seen("state"))+len(graph.seen("longest")) > 0 {
			t.Error("a text went to graph")
		}
		for _, reason := range []string{model.ReasonTooLong, model.ReasonNoValue} {
			if n := w.tr.refused.Get(reason); n != 1 {
				t.Errorf("%d were refused as %s, want 1", n, reason)
			}
		}
		w.books("graph:1")
		w.books("judge:1")
	})
}

// A judge that wants no texts of a series mutes it, as one of numbers.
func TestTextsAreMuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t, "graph:1")
		cfg.Judge.Enabled, cfg.Judge.Cluster = true, map[string]string{"judge-00": "judge:1"}
		w := newWorld(t, cfg)
		defer w.end()
		w.peers["graph:1"].start()
		judge := w.peers["judge:1"]
		judge.set(func(p *peer) { p.up, p.mute = true, true })
		for i := range int64(5) {
			w.offer(text("state", t0+30*i, "down"))
			after(time.Second)
		}
		if n := len(judge.seen("state")); n != 1 {
			t.Errorf("%d points went to a judge that had muted the first", n)
		}
		if b := w.books("judge:1"); b.Muted != 4 {
			t.Errorf("books %+v", b)
		}
	})
}

// A stockStringJudge takes texts with net/rpc and gob.
type stockStringJudge struct {
	mu    sync.Mutex
	items []*model.StringItem
}

func (s *stockStringJudge) Send(items []*model.StringItem, _ *model.SimpleRpcResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, items...)
	return nil
}

// With stringJudge.enabled texts go to its cluster, by StringJudge.Send where no streams
// are known, and the judges of numbers get none.
func TestStringJudgeOfItsOwn(t *testing.T) {
	p := &place{t: t}
	far := &stockStringJudge{}
	s := netrpc.NewServer()
	if err := s.RegisterName("StringJudge", far); err != nil {
		t.Fatal(err)
	}
	p.serve(func(c net.Conn) { s.ServeConn(c) })
	defer func() { p.stop() }()
	numbers, graph := &place{t: t}, &place{t: t}
	judge, ours := newPeer(t), newPeer(t)
	numbers.ours(judge)
	graph.ours(ours)
	defer numbers.stop()
	defer graph.stop()
	tr := runTransfer(t, graph.addr, nil, func(cfg *Config) {
		cfg.Judge.Enabled, cfg.Judge.Cluster = true, map[string]string{"judge-00": numbers.addr}
		cfg.StringJudge.Enabled, cfg.StringJudge.Cluster = true, map[string]string{"judge-00": p.addr}
	})
	it := text("state", t0+7, "down")
	it.Tags = "b=2,a=1"
	if _, err := tr.wait(t.Context(), update{it, text("number", t0, "12.5")}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		far.mu.Lock()
		defer far.mu.Unlock()
		want := []*model.StringItem{{Endpoint: "h", Metric: "state", Value: "down", Timestamp: t0 + 7 - (t0+7)%30, Tags: map[string]string{"a": "1", "b": "2"}}}
		if !reflect.DeepEqual(far.items, want) {
			return fmt.Errorf("the string judge has %+v", far.items)
		}
		return nil
	})
	if len(judge.seen("state")) != 0 || len(judge.seen("number")) != 1 || len(ours.seen("number")) != 1 || len(ours.seen("state")) != 0 {
		t.Errorf("judge has %v and %v, graph %v and %v", judge.seen("state"), judge.seen("number"), ours.seen("state"), ours.seen("number"))
	}
	for _, o := range tr.outlets {
		if o.kind == kindStringJudge && (o.snd.State() != stream.StockPeer || o.folder[:13] != "string_judge-") {
			t.Errorf("%s in %s", o.snd.State(), o.folder)
		}
	}
	if lines := tr.poolLines(kindStringJudge); len(lines) != 1 {
		t.Errorf("pools %q", lines)
	}
}

// A text that is too long is refused on a stream, too, and says so.
func TestLongTextsOfStreams(t *testing.T) {
	cfg := nowhere(t)
	cfg.Judge.Enabled, cfg.Judge.Cluster = true, map[string]string{"judge-00": "127.0.0.1:1"}
	tr, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	in := &inbound{t: tr, sp: tr.newSpread()}
	defer in.Close()
	if reason := in.Define(1, &model.Series{Endpoint: "h", Metric: "state", Type: model.Gauge, Step: 60, Text: true}); reason != "" {
		t.Fatal(reason)
	}
	if err := tr.openSpools(); err != nil {
		t.Fatal(err)
	}
	var ack *stream.Ack
	long := strings.Repeat("x", maxText+1)
	in.Push(&stream.Points{Refs: []uint32{1, 1}, Times: []int64{t0, t0 + 60}, Texts: []string{long, long}}, func(a *stream.Ack, _ error) { ack = a })
	if ack == nil || ack.Taken != 0 || len(ack.Refused) != 1 || ack.Refused[0] != (model.Refusal{Ref: 1, Reason: model.ReasonTooLong, N: 2}) {
		t.Errorf("ack %+v", ack)
	}
}

// Our judges know one kind of stream: that of texts says that it is for a judge.
func TestStringJudgeOfOurs(t *testing.T) {
	far := &place{t: t}
	ln := far.listen()
	hello := make(chan stream.Hello, 10)
	s := rpc.NewServer(rpc.ServerOptions{Drain: time.Millisecond})
	stream.Serve(s, stream.ServeOptions{}, func(_ *rpc.Conn, h stream.Hello) (stream.Receiver, error) {
		hello <- h
		return discard{}, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-ended })
	graph := &place{t: t}
	graph.ours(newPeer(t))
	defer graph.stop()
	tr := runTransfer(t, graph.addr, nil, func(cfg *Config) {
		cfg.StringJudge.Enabled, cfg.StringJudge.Cluster = true, map[string]string{"judge-00": far.addr}
	})
	if _, err := tr.wait(t.Context(), update{text("state", t0, "down")}); err != nil {
		t.Fatal(err)
	}
	if h := <-hello; h.Kind != stream.KindJudge {
		t.Errorf("the stream is for %q", h.Kind)
	}
	for _, o := range tr.outlets {
		if o.kind == kindStringJudge && !o.judges() {
			t.Error("its spool would turn new points away")
		}
	}
}
