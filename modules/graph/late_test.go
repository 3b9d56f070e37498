package graph

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
	"falcon/common/testkit"
)

// childDir makes the test binary a graph with its data there, whose clock is set by
// lines on stdin.
const childDir = "FALCON_GRAPH_CHILD"

// TestMain lets the test binary be a graph that can be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := childGraph(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// childGraph serves until it is killed. "clock N" sets its clock to second N, "seal"
// seals what is due now and writes late points to overlays; each line is answered by
// "done", the late points kept so far and the overlays.
func childGraph(dir string) error {
	in := bufio.NewScanner(os.Stdin)
	c := &clock{}
	set := func() error {
		var n int64
		_, err := fmt.Sscanf(in.Text(), "clock %d", &n)
		c.unix.Store(n)
		return err
	}
	if !in.Scan() {
		return io.ErrUnexpectedEOF
	}
	if err := set(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cfg := DefaultConfig()
	cfg.Data, cfg.HTTP.Enabled, cfg.Index.Enabled = dir, false, false
	g, err := New(cfg, Deps{Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), RPC: ln, Now: c.now, Ready: func() { fmt.Println("listens", ln.Addr()) }})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Run(context.Background()) }()
	go func() {
		for in.Scan() {
			if in.Text() == "seal" {
				err = errors.Join(g.db.Seal(c.now()), g.db.FlushLate(c.now()))
			} else {
				err = set()
			}
			if err != nil {
				ended <- err
				return
			}
			st := g.db.Stats()
			fmt.Println("done", st.Late, st.Overlays)
		}
		ended <- nil // the test is over
	}()
	return <-ended
}

// A child is a graph in a process of its own.
type child struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	addr string

	late, overlays int
}

func startChild(t *testing.T, dir string, now int64) *child {
	t.Helper()
	c := &child{t: t, dir: dir, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childDir+"="+dir)
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	c.out = bufio.NewScanner(out)
	c.tell("clock %d", now)
	c.hear("listens %s", &c.addr)
	return c
}

func (c *child) tell(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) hear(format string, args ...any) {
	c.t.Helper()
	if !c.out.Scan() {
		c.t.Fatal("the graph is gone")
	}
	if n, err := fmt.Sscanf(c.out.Text(), format, args...); n != len(args) || err != nil {
		c.t.Fatalf("the graph says %q", c.out.Text())
	}
}

// at sets its clock.
func (c *child) at(now int64) {
	c.t.Helper()
	c.tell("clock %d", now)
	c.hear("done %d %d", &c.late, &c.overlays)
}

func (c *child) seal() {
	c.t.Helper()
	c.tell("seal")
	c.hear("done %d %d", &c.late, &c.overlays)
}

// kill is kill -9.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// A spooling sends points of some series to a graph as a transfer does: in their
// order, again until they are acknowledged, and new ones behind those that wait.
type spooling struct {
	t       *testing.T
	defs    []model.Series
	handles []stream.Handle
	snd     *stream.Sender
	stop    func()
	wait    []stream.Point // Handle is an index of defs
}

func (s *spooling) connect(addr string) {
	s.t.Helper()
	var err error
	if s.snd, err = stream.NewSender(stream.SenderOptions{Addr: addr, Kind: stream.KindGraph, Sender: "test", RetryMax: 100 * time.Millisecond}); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = s.snd.Run(ctx); close(ended) }()
	s.stop = func() { cancel(); <-ended }
	s.handles = s.handles[:0]
	for i := range s.defs {
		s.handles = append(s.handles, s.snd.Define(&s.defs[i]))
	}
}

// begin sends the oldest n points that wait; the answer comes to done.
func (s *spooling) begin(n int, done func(stream.Result)) {
	s.t.Helper()
	pts := make([]stream.Point, min(n, len(s.wait)))
	for i := range pts {
		pts[i] = s.wait[i]
		pts[i].Handle = s.handles[pts[i].Handle]
	}
	if err := s.snd.Send(s.t.Context(), pts, done); err != nil {
		s.t.Fatal(err)
	}
}

// send sends the oldest n points that wait and returns when they are acknowledged.
func (s *spooling) send(n int) {
	s.t.Helper()
	n = min(n, len(s.wait))
	if n == 0 {
		return
	}
	answer := make(chan stream.Result, 1)
	s.begin(n, func(r stream.Result) { answer <- r })
	r := <-answer
	if r.Err != nil {
		s.t.Fatal(r.Err)
	}
	for _, x := range r.Refused {
		if x.Reason != model.ReasonDuplicate {
			s.t.Fatalf("%d points refused: %s", x.N, x.Reason)
		}
	}
	s.wait = s.wait[n:]
}

// lateSeries are what the story has: each type with each step, twice.
func lateSeries(transfer string) (defs []model.Series) {
	for _, kind := range []string{model.Gauge, model.Counter, model.Derive} {
		for _, step := range []int{10, 60, 300} {
			for i := range 2 {
				defs = append(defs, model.Series{Endpoint: fmt.Sprintf("host-%s-%d", transfer, i), Metric: fmt.Sprintf("m.%s.%d", kind, step), Type: kind,
					Step: step, Heartbeat: 2 * step, Min: math.NaN(), Max: math.NaN()})
			}
		}
	}
	return defs
}

// A transfer can not reach the graph for six hours, in which the points of another
// one go on and the hours are sealed. Then it replays its spool, three times as fast
// as points come. The answers are those of a graph that had no outage, also when it
// is killed in the middle of the replay.
func TestStorySixHoursOfASpool(t *testing.T) {
	for _, kills := range []int{0, 4} {
		t.Run(fmt.Sprintf("killed %d times", kills), func(t *testing.T) { sixHours(t, kills) })
	}
}

func sixHours(t *testing.T, kills int) {
	const (
		hour  = int64(3600)
		begin = captureTime - captureTime%hour
		away  = begin + 2*hour + 17*60 // the outage begins
		back  = away + 6*hour
		end   = begin + 13*hour
	)
	rnd := rand.New(rand.NewPCG(1, 2))
	calm, other := startChild(t, t.TempDir(), begin), startChild(t, t.TempDir(), begin)
	steady, spooled := lateSeries("a"), lateSeries("b")
	link := func(c *child, defs []model.Series) *spooling {
		s := &spooling{t: t, defs: defs}
		s.connect(c.addr)
		t.Cleanup(func() { s.stop() })
		return s
	}
	steadyCalm, spooledCalm := link(calm, steady), link(calm, spooled)
	steadyOther, spooledOther := link(other, steady), link(other, spooled)
	raw := make([]float64, 2*len(steady))
	killAt := map[int64]bool{}
	for k := range int64(kills) {
		killAt[back+60*(10+25*k+rnd.Int64N(15))] = true
	}
	queue := func(defs []model.Series, raw []float64, now int64, to ...*spooling) {
		for i := range defs {
			step := int64(defs[i].Step)
			for ts := now - 59; ts <= now; ts++ {
				if ts%step != 0 || rnd.IntN(50) == 0 { // one in fifty is lost on the way
					continue
				}
				switch {
				case defs[i].Type == model.Gauge:
					raw[i] = float64(rnd.IntN(100000)) / 8
				case rnd.IntN(200) == 0:
					raw[i] = 0 // began anew
				default:
					raw[i] += float64(rnd.IntN(5000))
				}
				for _, s := range to {
					s.wait = append(s.wait, stream.Point{Handle: stream.Handle(i), Time: ts, Value: raw[i]})
				}
			}
		}
	}
	killed, late, overlays := 0, 0, 0
	for now := begin + 60; now <= end; now += 60 {
		calm.at(now)
		other.at(now)
		queue(steady, raw[:len(steady)], now, steadyCalm, steadyOther)
		before := len(spooledOther.wait)
		queue(spooled, raw[len(steady):], now, spooledCalm, spooledOther)
		live := len(spooledOther.wait) - before
		steadyCalm.send(1 << 20)
		spooledCalm.send(1 << 20)
		steadyOther.send(1 << 20)
		if now >= back {
			overlays = max(overlays, other.overlays)
			if killAt[now] {
				late += other.late
				// It dies with some of the spool under way, and nobody knows what it has of it.
				answered := make(chan stream.Result, 1)
				spooledOther.begin(3*live, func(r stream.Result) { answered <- r })
				if rnd.IntN(2) == 0 {
					<-answered
				}
				other.kill()
				spooledOther.stop()
				steadyOther.stop()
				other = startChild(t, other.dir, now)
				spooledOther.connect(other.addr)
				steadyOther.connect(other.addr)
				killed++
			}
			spooledOther.send(4 * live)
		} else if now < away {
			spooledOther.send(1 << 20)
		}
		if now%600 == 0 {
			calm.seal()
			other.seal()
		}
	}
	if n := len(spooledOther.wait); n > 0 || killed != kills {
		t.Fatalf("%d points are still in the spool, %d of %d kills", n, killed, kills)
	}
	late += other.late
	testkit.Outcome(t, "%d points came late, up to %d overlays", late, overlays)
	if late < 10_000 || overlays < 10 || calm.late > 0 {
		t.Errorf("%d points came late, up to %d overlays; %d late ones without an outage", late, overlays, calm.late)
	}
	compare := func(when string) {
		t.Helper()
		a, b := rpc.NewClient(rpc.ClientOptions{Addr: calm.addr}), rpc.NewClient(rpc.ClientOptions{Addr: other.addr})
		defer a.Close()
		defer b.Close()
		points, known := 0, 0
		for _, d := range append(steady, spooled...) {
			ranges := [][2]int64{{begin, end}, {away - hour, back + hour}}
			for range 20 {
				from := begin + rnd.Int64N(end-begin)
				ranges = append(ranges, [2]int64{from, from + 600 + rnd.Int64N(2*hour)})
			}
			for _, q := range ranges {
				p := &model.GraphQueryParam{Endpoint: d.Endpoint, Counter: d.Metric, ConsolFun: "AVERAGE", Start: q[0], End: q[1]}
				var want, got model.GraphQueryResponse
				if err := errors.Join(a.Call(t.Context(), "Graph.Query", p, &want), b.Call(t.Context(), "Graph.Query", p, &got)); err != nil {
					t.Fatal(err)
				}
				if len(got.Values) != len(want.Values) || got.Step != want.Step || got.DsType != want.DsType {
					t.Fatalf("%s: %s %s: %d points, want %d", when, d.Endpoint, d.Metric, len(got.Values), len(want.Values))
				}
				for i, w := range want.Values {
					g := got.Values[i]
					if g.Timestamp != w.Timestamp || math.Float64bits(float64(g.Value)) != math.Float64bits(float64(w.Value)) {
						t.Fatalf("%s: %s %s in [%d, %d]: %v, want %v", when, d.Endpoint, d.Metric, q[0]-begin, q[1]-begin, *g, *w)
					}
					points++
					if !math.IsNaN(float64(w.Value)) {
						known++
					}
				}
			}
			for _, method := range []string{"Graph.Last", "Graph.LastRaw"} {
				p := &model.GraphLastParam{Endpoint: d.Endpoint, Counter: d.Metric}
				var want, got model.GraphLastResp
				if err := errors.Join(a.Call(t.Context(), method, p, &want), b.Call(t.Context(), method, p, &got)); err != nil {
					t.Fatal(err)
				}
				if got.Value == nil || want.Value == nil || *got.Value != *want.Value {
					t.Fatalf("%s: %s %s: %s says %v, want %v", when, d.Endpoint, d.Metric, method, got.Value, want.Value)
				}
			}
		}
		testkit.Outcome(t, "%s: %d points are equal, %d of them known", when, points, known)
		if known*10 < points*8 {
			t.Errorf("%s: only %d of %d points are known", when, known, points)
		}
	}
	compare("after the replay")
	calm.at(end + 2*hour)
	other.at(end + 2*hour)
	calm.seal()
	other.seal()
	compare("all sealed")
	other.kill()
	other = startChild(t, other.dir, end+2*hour)
	compare("after a kill at the end")
}

// What is late is counted on both pages.
func TestLateCounters(t *testing.T) {
	w := start(t, nil)
	const now = captureTime - captureTime%60
	w.send(graphItem("h", "m", now, 1))
	w.send(graphItem("h", "m", now-20*3600, 2), graphItem("h", "m", now-20*3600, 3), graphItem("h", "m", now-100*3600, 4))
	rec := httptest.NewRecorder()
	w.g.admin().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		"falcon_graph_late_points_total 1", `falcon_graph_late_refused_points_total{reason="duplicate"} 1`, `falcon_graph_late_refused_points_total{reason="late"} 1`,
		"falcon_graph_engine_overlays 0", "falcon_graph_taken_points_total 2", `falcon_graph_refused_points_total{reason="late"} 1`,
	} {
		if !contains(rec.Body.String(), want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	rec = httptest.NewRecorder()
	w.g.admin().ServeHTTP(rec, httptest.NewRequest("GET", "/counter/all", nil))
	for _, want := range []string{`{"Name":"LateCnt","Cnt":1,`, `{"Name":"LateRefusedCnt","Cnt":2,`, `{"Name":"OverlayCnt","Cnt":0,`, `{"Name":"LateBufferBytes","Cnt":4`} {
		if !contains(rec.Body.String(), want) {
			t.Errorf("/counter/all lacks %s: %s", want, rec.Body)
		}
	}
	var last model.GraphQueryResponse
	w.call("Graph.Query", &model.GraphQueryParam{Endpoint: "h", Counter: "m", ConsolFun: "AVERAGE", Start: now - 20*3600, End: now - 20*3600 + 60}, &last)
	if len(last.Values) == 0 || last.Values[0].Value != 2 {
		t.Errorf("a late point is answered with %+v", last.Values)
	}
}
