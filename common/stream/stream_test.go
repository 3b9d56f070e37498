package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

// A sink is a receiver that keeps what it gets. Its hooks change what it answers.
type sink struct {
	mu      sync.Mutex
	series  map[uint32]*model.Series
	defined []string // in order, repeated ones included
	forgot  []uint32
	got     []string // "metric@time=value" in order
	pushes  int      // empty ones included
	closed  int

	refuse func(*model.Series) string
	answer func(n int, p *Points, done func(*Ack, error)) // n counts pushes from 1; nil: all taken
}

func (k *sink) Define(ref uint32, s *model.Series) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.series == nil {
		k.series = map[uint32]*model.Series{}
	}
	k.series[ref] = s
	k.defined = append(k.defined, s.Metric)
	if k.refuse != nil {
		return k.refuse(s)
	}
	return ""
}

func (k *sink) Forget(ref uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forgot = append(k.forgot, ref)
}

func (k *sink) keep(p *Points) {
	for i, ref := range p.Refs {
		v := ""
		if i < len(p.Values) {
			v = fmt.Sprint(p.Values[i])
		} else {
			v = p.Texts[i-len(p.Values)]
		}
		k.got = append(k.got, fmt.Sprintf("%s@%d=%s", k.series[ref].Metric, p.Times[i], v))
	}
}

func (k *sink) Push(p *Points, done func(*Ack, error)) {
	k.mu.Lock()
	k.pushes++
	n, answer := k.pushes, k.answer
	if answer == nil {
		k.keep(p)
	}
	k.mu.Unlock()
	if answer != nil {
		answer(n, p, done)
		return
	}
	done(nil, nil)
}

func (k *sink) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed++
}

func (k *sink) points() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.got, " ")
}

func metric(name string) *model.Series {
	return &model.Series{Endpoint: "h", Metric: name, Type: model.Gauge, Step: 60, Heartbeat: 120}
}

// A bench is a Sender and a receiving server joined by in-memory connections, in a
// bubble.
type bench struct {
	t     *testing.T
	snd   *Sender
	sinks []*sink // one for each stream opened
	hello Hello
	stats ServeStats
	// prepare may change a sink before its stream begins.
	prepare func(*sink)
	// dialErr, when it answers, is what a dial comes to.
	dialErr func() error

	mu      sync.Mutex
	conns   []net.Conn
	results []Result
	order   []int
	sent    int
	cancel  context.CancelFunc
	ended   sync.WaitGroup
	srv     sync.WaitGroup
}

func newBench(t *testing.T, opts SenderOptions, serve ServeOptions, accept func(Hello) error) *bench {
	b := &bench{t: t}
	serve.Stats = &b.stats
	s := rpc.NewServer(rpc.ServerOptions{})
	Serve(s, serve, func(_ *rpc.Conn, h Hello) (Receiver, error) {
		b.hello = h
		if accept != nil {
			if err := accept(h); err != nil {
				return nil, err
			}
		}
		k := &sink{}
		if b.prepare != nil {
			b.prepare(k)
		}
		b.mu.Lock()
		b.sinks = append(b.sinks, k)
		b.mu.Unlock()
		return k, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	opts.Addr = "peer"
	opts.Dial = func(context.Context, string) (net.Conn, error) {
		if b.dialErr != nil {
			if err := b.dialErr(); err != nil {
				return nil, err
			}
		}
		ours, theirs := net.Pipe()
		b.mu.Lock()
		b.conns = append(b.conns, theirs)
		b.mu.Unlock()
		s.ServeConn(context.Background(), theirs, &b.srv)
		return ours, nil
	}
	snd, err := NewSender(opts)
	if err != nil {
		t.Fatal(err)
	}
	b.snd = snd
	b.ended.Go(func() {
		if err := snd.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

// stop ends the sender and the server.
func (b *bench) stop() {
	b.cancel()
	b.ended.Wait()
	b.cut()
	b.srv.Wait()
	for i, n := range b.order {
		if i != n {
			b.t.Errorf("batches were finished in the order %v", b.order)
			break
		}
	}
	if len(b.results) != b.sent {
		b.t.Errorf("%d batches sent, %d finished", b.sent, len(b.results))
	}
	for i, k := range b.sinks {
		if k.closed != 1 {
			b.t.Errorf("receiver %d was closed %d times", i, k.closed)
		}
	}
}

// cut closes every connection from the server's side.
func (b *bench) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		_ = c.Close()
	}
	b.conns = nil
}

// start hands over a batch without waiting for its result.
func (b *bench) start(points ...Point) {
	b.t.Helper()
	n := b.sent
	b.sent++
	err := b.snd.Send(b.t.Context(), points, func(r Result) {
		b.mu.Lock()
		b.results = append(b.results, r)
		b.order = append(b.order, n)
		b.mu.Unlock()
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// send hands over a batch and returns its result.
func (b *bench) send(points ...Point) Result {
	b.t.Helper()
	b.start(points...)
	for n := 0; ; n++ {
		synctest.Wait()
		b.mu.Lock()
		if len(b.results) == b.sent {
			r := b.results[b.sent-1]
			b.mu.Unlock()
			return r
		}
		b.mu.Unlock()
		if n > 100 {
			b.t.Fatal("the batch is not finished")
		}
		<-time.After(time.Second) // the bubble's
	}
}

func inBubble(t *testing.T, fn func(t *testing.T)) { synctest.Test(t, fn) }

func TestSeriesAreNamedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{Kind: "graph", Sender: "transfer-1", Ring: "abc", Token: "t", Capabilities: []string{"new"}}, ServeOptions{}, nil)
		defer b.stop()
		text := metric("state")
		text.Text = true
		cpu, mem, state := b.snd.Define(metric("cpu")), b.snd.Define(metric("mem")), b.snd.Define(text)
		for i := range int64(3) {
			r := b.send(Point{Handle: state, Time: i, Text: "up"}, Point{Handle: cpu, Time: i, Value: 1}, Point{Handle: mem, Time: i, Value: 2.5})
			if r.Err != nil || r.Taken != 3 {
				t.Fatalf("round %d: %+v", i, r)
			}
		}
		k := b.sinks[0]
		if want := "[cpu mem state]"; fmt.Sprint(k.defined) != want {
			t.Errorf("defined %v, want %s", k.defined, want)
		}
		if want := "cpu@0=1 mem@0=2.5 state@0=up cpu@1=1 mem@1=2.5 state@1=up cpu@2=1 mem@2=2.5 state@2=up"; k.points() != want {
			t.Errorf("got %s\nwant %s", k.points(), want)
		}
		if h := b.hello; h.Version != 1 || h.Kind != "graph" || h.Sender != "transfer-1" || h.Ring != "abc" || h.Token != "t" || fmt.Sprint(h.Capabilities) != "[after new]" {
			t.Errorf("hello %+v", h)
		}
		if b.snd.State() != Streaming {
			t.Errorf("state %v", b.snd.State())
		}
	})
}

// A released series is forgotten on the wire, an idle one too, and its handle or
// ref never means another series.
func TestForget(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{IdleForget: 10 * time.Minute}, ServeOptions{}, nil)
		defer b.stop()
		cpu, mem := b.snd.Define(metric("cpu")), b.snd.Define(metric("mem"))
		b.send(Point{Handle: cpu, Time: 1}, Point{Handle: mem, Time: 1})
		b.snd.Release(mem)
		if r := b.send(Point{Handle: mem, Time: 2}, Point{Handle: cpu, Time: 2}); r.Unknown != 1 || r.Taken != 1 {
			t.Errorf("point of a released handle: %+v", r)
		}
		disk := b.snd.Define(metric("disk"))
		if disk != mem {
			t.Errorf("a released handle is not used again")
		}
		b.send(Point{Handle: disk, Time: 3}, Point{Handle: cpu, Time: 3})
		<-time.After(15 * time.Minute)
		synctest.Wait()
		if k := b.sinks[0]; fmt.Sprint(k.forgot) != "[2 1 3]" {
			t.Errorf("forgotten %v, want [2 1 3]", k.forgot)
		}
		b.send(Point{Handle: cpu, Time: 4})
		if k := b.sinks[0]; fmt.Sprint(k.defined) != "[cpu mem disk cpu]" || !strings.HasSuffix(k.points(), "disk@3=0 cpu@3=0 cpu@4=0") {
			t.Errorf("defined %v, points %s", k.defined, k.points())
		}
	})
}

// An idle stream shows that it lives.
func TestIdlePing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{}, ServeOptions{}, nil)
		defer b.stop()
		b.send(Point{Handle: b.snd.Define(metric("cpu")), Time: 1})
		<-time.After(20*time.Second + time.Millisecond)
		synctest.Wait()
		if n := b.sinks[0].pushes; n != 11 {
			t.Errorf("%d pushes after 20 s of silence, want 1 + 10", n)
		}
	})
}

// What the receiver has lost is sent again with its definition, only that, and the
// batch is done when all is.
func TestRedefine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{}, ServeOptions{}, nil)
		b.prepare = func(k *sink) {
			k.answer = func(n int, p *Points, done func(*Ack, error)) {
				if n == 2 { // it has lost the first series of the push
					done(&Ack{Taken: p.Len() - 2, Redefine: []uint32{p.Refs[0]}}, nil)
					return
				}
				k.keep(p)
				done(&Ack{Taken: p.Len()}, nil)
			}
		}
		defer b.stop()
		cpu, mem := b.snd.Define(metric("cpu")), b.snd.Define(metric("mem"))
		b.send(Point{Handle: cpu, Time: 1}, Point{Handle: mem, Time: 1})
		r := b.send(Point{Handle: cpu, Time: 2}, Point{Handle: mem, Time: 2}, Point{Handle: cpu, Time: 3})
		if r.Err != nil || r.Taken != 3 {
			t.Errorf("result %+v", r)
		}
		k := b.sinks[0]
		if fmt.Sprint(k.defined) != "[cpu mem cpu]" || k.points() != "cpu@1=0 mem@1=0 cpu@2=0 cpu@3=0" {
			t.Errorf("defined %v, points %s", k.defined, k.points())
		}
	})
}

// A receiver that never knows a series has refused it: no endless exchange.
func TestRedefineEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{IdlePing: time.Hour}, ServeOptions{}, nil)
		b.prepare = func(k *sink) {
			k.answer = func(n int, p *Points, done func(*Ack, error)) { done(&Ack{Redefine: slices.Clone(p.Refs)}, nil) }
		}
		defer b.stop()
		r := b.send(Point{Handle: b.snd.Define(metric("cpu")), Time: 1})
		if r.Err != nil || len(r.Refused) != 1 || r.Refused[0].Reason != model.ReasonUnknown || b.sinks[0].pushes != 2 {
			t.Errorf("result %+v after %d pushes", r, b.sinks[0].pushes)
		}
	})
}

func TestRefusedSeries(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{}, ServeOptions{}, nil)
		b.prepare = func(k *sink) {
			k.refuse = func(s *model.Series) string {
				if s.Metric == "bad" {
					return model.ReasonLimit
				}
				return ""
			}
		}
		defer b.stop()
		cpu, bad := b.snd.Define(metric("cpu")), b.snd.Define(metric("bad"))
		for range 2 {
			r := b.send(Point{Handle: bad, Time: 1}, Point{Handle: cpu, Time: 1}, Point{Handle: bad, Time: 2})
			if r.Err != nil || r.Taken != 1 || len(r.Refused) != 1 || r.Refused[0] != (Refusal{Handle: bad, Reason: model.ReasonLimit, N: 2}) {
				t.Errorf("result %+v", r)
			}
		}
		if got := b.sinks[0].points(); got != "cpu@1=0 cpu@1=0" {
			t.Errorf("points %s", got)
		}
	})
}

// Muted series are not sent; unmuted ones come with their definition again.
func TestMute(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var say Ack
		b := newBench(t, SenderOptions{IdlePing: time.Hour}, ServeOptions{}, nil)
		b.prepare = func(k *sink) {
			k.answer = func(n int, p *Points, done func(*Ack, error)) {
				k.keep(p)
				a := say
				say = Ack{}
				a.Taken = p.Len()
				done(&a, nil)
			}
		}
		defer b.stop()
		cpu, mem, disk := b.snd.Define(metric("cpu")), b.snd.Define(metric("mem")), b.snd.Define(metric("disk"))
		all := func(at int64) Result {
			return b.send(Point{Handle: cpu, Time: at}, Point{Handle: mem, Time: at}, Point{Handle: disk, Time: at})
		}
		say.Mute = []uint32{1, 2}
		all(1)
		if !b.snd.Muted(cpu) || !b.snd.Muted(mem) || b.snd.Muted(disk) {
			t.Error("mute bits are wrong")
		}
		say.Unmute = &Unmute{Generation: 1, Metrics: []string{"mem", "other"}}
		if r := all(2); r.Taken != 1 || r.Muted != 2 {
			t.Errorf("muted: %+v", r)
		}
		if r := all(3); r.Taken != 2 || r.Muted != 1 {
			t.Errorf("one unmuted: %+v", r)
		}
		say.Unmute = &Unmute{Generation: 2, All: true}
		all(4)
		if r := all(5); r.Taken != 3 || r.Muted != 0 {
			t.Errorf("all unmuted: %+v", r)
		}
		k := b.sinks[0]
		if fmt.Sprint(k.defined) != "[cpu mem disk mem cpu]" || k.points() != "cpu@1=0 mem@1=0 disk@1=0 disk@2=0 mem@3=0 disk@3=0 mem@4=0 disk@4=0 cpu@5=0 mem@5=0 disk@5=0" {
			t.Errorf("defined %v, points %s", k.defined, k.points())
		}
		// A batch of which nobody wants anything is done without a push.
		say.Mute = []uint32{1}
		all(6)
		n := k.pushes
		if r := b.send(Point{Handle: cpu, Time: 7}); r.Err != nil || r.Muted != 1 || k.pushes != n {
			t.Errorf("only muted points: %+v, %d pushes", r, k.pushes-n)
		}
		// A new connection has muted nothing.
		b.cut()
		synctest.Wait()
		if r := b.send(Point{Handle: cpu, Time: 8}); r.Err != nil || r.Taken != 1 {
			t.Errorf("after a reconnect: %+v", r)
		}
	})
}

// The receiver may answer later and in any order; acks come in the order of the
// pushes, and no more pushes than the window are under way.
func TestLateAcksAndWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var waiting []func(*Ack, error)
		b := newBench(t, SenderOptions{Queue: 20, IdlePing: time.Hour}, ServeOptions{Window: 4}, nil)
		b.prepare = func(k *sink) {
			k.answer = func(n int, p *Points, done func(*Ack, error)) {
				mu.Lock()
				k.keep(p)
				taken := p.Len()
				waiting = append(waiting, func(*Ack, error) { done(&Ack{Taken: taken}, nil) })
				mu.Unlock()
			}
		}
		defer b.stop()
		cpu := b.snd.Define(metric("cpu"))
		for i := range int64(10) {
			b.start(Point{Handle: cpu, Time: i})
		}
		for left := 10; left > 0; {
			synctest.Wait()
			mu.Lock()
			if len(waiting) > 4 || len(waiting) == 0 {
				t.Fatalf("%d pushes are under way, want 1 to 4", len(waiting))
			}
			slices.Reverse(waiting)
			answer := waiting
			waiting = nil
			mu.Unlock()
			for i, done := range answer {
				done(nil, nil)
				synctest.Wait()
				if b.mu.Lock(); i < len(answer)-1 && len(b.results) > 10-left {
					t.Fatal("an ack overtook an older one")
				}
				b.mu.Unlock()
			}
			left -= len(answer)
		}
		synctest.Wait()
		want := ""
		for i := range 10 {
			want += fmt.Sprintf("cpu@%d=0 ", i)
		}
		if got := b.sinks[0].points(); got != strings.TrimSpace(want) {
			t.Errorf("points %s", got)
		}
	})
}

// A batch that the receiver could not take comes back with the reason; what it
// defined is defined again, and the stream goes on.
func TestBusy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{IdlePing: time.Hour}, ServeOptions{}, nil)
		b.prepare = func(k *sink) {
			k.answer = func(n int, p *Points, done func(*Ack, error)) {
				if n == 1 {
					done(nil, errors.New("busy: spool is full"))
					return
				}
				k.keep(p)
				done(nil, nil)
			}
		}
		defer b.stop()
		cpu := b.snd.Define(metric("cpu"))
		r := b.send(Point{Handle: cpu, Time: 1})
		if r.Err == nil || r.Sent || !strings.Contains(r.Err.Error(), "busy: spool is full") {
			t.Errorf("result %+v", r)
		}
		if r := b.send(Point{Handle: cpu, Time: 1}); r.Err != nil || r.Taken != 1 {
			t.Errorf("second try: %+v", r)
		}
		if k := b.sinks[0]; len(b.sinks) != 1 || fmt.Sprint(k.defined) != "[cpu cpu]" || k.points() != "cpu@1=0" {
			t.Errorf("%d streams, defined %v, points %s", len(b.sinks), k.defined, k.points())
		}
	})
}

// What is on its way behind a batch that the receiver could not take comes back with it, and
// all of it arrives in order when it is sent again.
func TestNothingOvertakesARefusal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{Queue: 8, IdlePing: time.Hour}, ServeOptions{}, nil)
		b.prepare = func(k *sink) {
			k.answer = func(n int, p *Points, done func(*Ack, error)) {
				if n == 2 {
					<-time.After(time.Second) // the others are on their way
					done(nil, errors.New("busy"))
					return
				}
				k.keep(p)
				done(nil, nil)
			}
		}
		defer b.stop()
		cpu := b.snd.Define(metric("cpu"))
		for i := range int64(6) {
			b.start(Point{Handle: cpu, Time: i})
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if len(b.results) != 6 {
			t.Fatalf("%d batches finished, want 6", len(b.results))
		}
		for i, r := range b.results {
			if (r.Err == nil) != (i == 0) || r.Sent {
				t.Errorf("batch %d: %+v", i, r)
			}
		}
		if err := b.results[5].Err; err == nil || !strings.Contains(err.Error(), "push 2, before this one, was refused: busy") {
			t.Errorf("the last one: %v", err)
		}
		for i := range int64(5) {
			if r := b.send(Point{Handle: cpu, Time: 1 + i}); r.Err != nil {
				t.Errorf("batch %d again: %+v", 1+i, r)
			}
		}
		if k := b.sinks[0]; len(b.sinks) != 1 || k.points() != "cpu@0=0 cpu@1=0 cpu@2=0 cpu@3=0 cpu@4=0 cpu@5=0" {
			t.Errorf("%d streams, points %s", len(b.sinks), k.points())
		}
	})
}

// Everything on a connection that ends, and all queued behind it, comes back in
// order; a later batch goes over a new connection with new definitions.
func TestConnectionEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		first := true
		b := newBench(t, SenderOptions{Queue: 20}, ServeOptions{Window: 2}, nil)
		b.prepare = func(k *sink) {
			if first {
				k.answer = func(n int, p *Points, done func(*Ack, error)) {
					if n == 1 {
						k.keep(p)
						done(nil, nil)
						return
					}
					go func() { // answers when it is too late
						<-time.After(time.Minute)
						done(nil, nil)
					}()
				}
			}
			first = false
		}
		defer b.stop()
		cpu := b.snd.Define(metric("cpu"))
		for i := range int64(6) {
			b.start(Point{Handle: cpu, Time: i})
		}
		synctest.Wait()
		if len(b.results) != 1 {
			t.Fatalf("%d batches finished, want 1", len(b.results))
		}
		b.cut()
		synctest.Wait()
		if len(b.results) != 6 {
			t.Fatalf("%d batches finished, want 6", len(b.results))
		}
		for i, r := range b.results[1:] {
			if r.Err == nil || r.Sent != (i < 2) {
				t.Errorf("batch %d: %+v", i+1, r)
			}
		}
		if r := b.send(Point{Handle: cpu, Time: 9}); r.Err != nil || len(b.sinks) != 2 || b.sinks[1].points() != "cpu@9=0" {
			t.Errorf("new connection: %+v, %d streams", r, len(b.sinks))
		}
	})
}

// What waits while a peer hangs does not overtake what comes back: its owner is asked
// before it leaves.
func TestUnwantedBatchesComeBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		deaf := true
		b := newBench(t, SenderOptions{Queue: 2, CallTimeout: 5 * time.Second}, ServeOptions{}, nil)
		var late []func(*Ack, error)
		b.prepare = func(k *sink) {
			if deaf {
				k.answer = func(_ int, _ *Points, done func(*Ack, error)) { late = append(late, done) }
			}
			deaf = false
		}
		defer b.stop()
		cpu := b.snd.Define(metric("cpu"))
		failed := false
		var came []string
		send := func(n int64) {
			err := b.snd.SendIf(t.Context(), []Point{{Handle: cpu, Time: n}}, func() bool { return !failed }, func(r Result) {
				failed = failed || r.Err != nil
				came = append(came, fmt.Sprint(n, " ", r.Sent, " ", errors.Is(r.Err, ErrUnwanted)))
			})
			if err != nil {
				t.Error(err)
			}
		}
		send(1)
		send(2)
		go send(3) // it waits until there is room
		<-time.After(6 * time.Second)
		synctest.Wait()
		if want := []string{"1 true false", "2 true false", "3 false true"}; !slices.Equal(came, want) {
			t.Errorf("came back %q, want %q", came, want)
		}
		if r := b.send(Point{Handle: cpu, Time: 1}); r.Err != nil {
			t.Errorf("the first one again: %+v", r)
		}
		if got := b.sinks[len(b.sinks)-1].points(); got != "cpu@1=0" {
			t.Errorf("the new stream has %q", got)
		}
		for _, done := range late {
			done(nil, nil)
		}
	})
}

// No ack within the call timeout: the batch comes back at that moment.
func TestAckTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{CallTimeout: 5 * time.Second}, ServeOptions{}, nil)
		b.prepare = func(k *sink) {
			k.answer = func(n int, p *Points, done func(*Ack, error)) {
				go func() { // answers when it is too late
					<-time.After(time.Minute)
					done(nil, nil)
				}()
			}
		}
		defer b.stop()
		began := time.Now()
		r := b.send(Point{Handle: b.snd.Define(metric("cpu")), Time: 1})
		if took := time.Since(began); !errors.Is(r.Err, context.DeadlineExceeded) || !r.Sent || took < 5*time.Second || took > 7*time.Second {
			t.Errorf("result %+v after %v", r, took)
		}
	})
}

// While the peer is away batches come back at once, and it is tried less and less.
func TestPeerAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dials := 0
		down := true
		b := newBench(t, SenderOptions{}, ServeOptions{}, nil)
		b.dialErr = func() error {
			if dials++; down {
				return errors.New("connection refused")
			}
			return nil
		}
		defer b.stop()
		cpu := b.snd.Define(metric("cpu"))
		began := time.Now()
		for n := range 100 {
			if r := b.send(Point{Handle: cpu, Time: int64(n)}); !errors.Is(r.Err, ErrAway) || r.Sent || !strings.Contains(r.Err.Error(), "connection refused") {
				t.Fatalf("result %+v", r)
			}
		}
		if dials != 1 || b.snd.State() != Away || time.Since(began) > 0 {
			t.Errorf("%d dials for 100 batches within %v, state %v", dials, time.Since(began), b.snd.State())
		}
		for range 20 {
			if err := b.snd.WaitRetry(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.send(Point{Handle: cpu})
		}
		if took := time.Since(began); dials != 21 || took < 50*time.Second || took > 100*time.Second {
			t.Errorf("%d dials in %v", dials, took)
		}
		down = false
		_ = b.snd.WaitRetry(t.Context())
		if r := b.send(Point{Handle: cpu, Time: 5}); r.Err != nil || b.snd.State() != Streaming {
			t.Errorf("came back: %+v, %v", r, b.snd.State())
		}
	})
}

func TestRefusedHello(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{Stock: func(context.Context, []Point) error { return errors.New("must not be called") }}, ServeOptions{}, func(h Hello) error {
			return fmt.Errorf("ring %q is not ours", h.Ring)
		})
		defer b.stop()
		r := b.send(Point{Handle: b.snd.Define(metric("cpu"))})
		if !errors.Is(r.Err, ErrAway) || !strings.Contains(r.Err.Error(), `ring "" is not ours`) {
			t.Errorf("result %+v", r)
		}
	})
}

// When it is told to stop, a Sender waits for the acks under way, sends what is
// queued, and hands back what does not finish in time.
func TestStop(t *testing.T) {
	for _, answers := range []bool{true, false} {
		inBubble(t, func(t *testing.T) {
			b := newBench(t, SenderOptions{Drain: 3 * time.Second}, ServeOptions{Window: 2}, nil)
			b.prepare = func(k *sink) {
				k.answer = func(n int, p *Points, done func(*Ack, error)) {
					k.keep(p)
					go func() {
						if answers {
							<-time.After(time.Second / 2)
						} else {
							<-time.After(time.Minute)
						}
						done(nil, nil)
					}()
				}
			}
			cpu := b.snd.Define(metric("cpu"))
			for i := range int64(6) {
				b.start(Point{Handle: cpu, Time: i})
			}
			synctest.Wait()
			began := time.Now()
			b.stop()
			took := time.Since(began)
			failed := 0
			for _, r := range b.results {
				if r.Err != nil {
					failed++
				}
			}
			if answers && (failed > 0 || took > 2*time.Second) {
				t.Errorf("%d of 6 batches came back after %v", failed, took)
			}
			if !answers && failed != 6 {
				t.Errorf("%d of 6 batches came back after %v", failed, took)
			}
			if err := b.snd.Send(t.Context(), nil, nil); !errors.Is(err, ErrStopped) {
				t.Errorf("Send after the end: %v", err)
			}
		})
	}
}

// Senders that break the protocol are told why and lose the connection; their
// claims cost no memory.
func TestProtocolErrors(t *testing.T) {
	one := columns{refs: appendZigzag(nil, 1), times: []byte{0}, values: make([]byte, 8)}
	def1 := []definition{{ref: 1, series: metric("cpu")}}
	huge := columns{refs: appendZigzag(nil, 1<<32-1), times: []byte{0}, values: make([]byte, 8)}
	for _, tc := range []struct {
		name   string
		pushes []push
		want   string // error of the last push, empty for none
		ack    string // of the last push, when there is no error
	}{
		{"a gap", []push{{seq: 2}}, "push 2 follows push 0", ""},
		{"a repetition", []push{{seq: 1, define: def1, cols: one}, {seq: 1, cols: one}}, "push 1 follows push 1", ""},
		{"a ref from nowhere", []push{{seq: 1, define: []definition{{ref: 1<<32 - 1, series: metric("cpu")}}}}, "ref 4294967295 is defined before ref 1", ""},
		{"points of a ref from nowhere", []push{{seq: 1, cols: huge}}, "", "taken 0 redefine [4294967295]"},
		{"points after forgetting", []push{{seq: 1, define: def1, cols: one, forget: []uint32{1, 7}}, {seq: 2, cols: one}}, "", "taken 0 redefine [1]"},
		{"broken columns", []push{{seq: 1, define: def1, cols: columns{refs: []byte{2}}}}, "broken column", ""},
		{"a text for a number", []push{{seq: 1, define: def1, cols: columns{refs: []byte{2}, times: []byte{0}, texts: []byte{1, 'x'}}}}, "", "taken 0 redefine [] bad_value"},
		{"too many series", []push{{seq: 1, define: append(slices.Clone(def1), definition{ref: 2, series: metric("b")}, definition{ref: 3, series: metric("c")})}}, "more than 2 series", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := newBench(t, SenderOptions{}, ServeOptions{MaxRefs: 2}, nil)
				defer b.stop()
				cc := b.raw()
				defer cc.Close()
				var ack Ack
				var err error
				for i := range tc.pushes {
					ack = Ack{}
					err = cc.Call(t.Context(), methodPush, &tc.pushes[i], &ack)
				}
				if tc.want == "" {
					got := fmt.Sprintf("taken %d redefine %v", ack.Taken, ack.Redefine)
					for _, r := range ack.Refused {
						got += " " + r.Reason
					}
					if err != nil || got != tc.ack {
						t.Errorf("got %s, %v, want %s", got, err, tc.ack)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want %s", err, tc.want)
				}
				<-cc.Done() // the connection ends
				if b.stats.Broken.Load() != 1 {
					t.Errorf("broken counted %d times", b.stats.Broken.Load())
				}
			})
		})
	}
}

// raw opens a stream by hand.
func (b *bench) raw() *rpc.ClientConn {
	b.t.Helper()
	cc, err := rpc.Dial(b.t.Context(), rpc.ClientOptions{Addr: "peer", Codec: rpc.Msgpack, Dial: b.snd.opts.Dial})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cc.Call(b.t.Context(), methodOpen, &Hello{Version: Version, Capabilities: []string{"of the future"}}, &welcome{}); err != nil {
		b.t.Fatal(err)
	}
	return cc
}

func TestVersionAndOrderOfCalls(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{}, ServeOptions{}, nil)
		defer b.stop()
		cc, err := rpc.Dial(t.Context(), rpc.ClientOptions{Addr: "peer", Codec: rpc.Msgpack, Dial: b.snd.opts.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer cc.Close()
		if err := cc.Call(t.Context(), methodOpen, &Hello{Version: 7}, &welcome{}); err == nil || err.Error() != "stream version 7 is not known here: this daemon speaks version 1" {
			t.Errorf("version 7: %v", err)
		}
		if err := cc.Call(t.Context(), methodPush, &push{seq: 1}, &Ack{}); err == nil || !strings.Contains(err.Error(), "not open") {
			t.Errorf("push before open: %v", err)
		}
		if err := cc.Call(t.Context(), methodOpen, &Hello{Version: 1}, &welcome{}); err != nil {
			t.Error(err)
		}
		if err := cc.Call(t.Context(), methodOpen, &Hello{Version: 1}, &welcome{}); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("second open: %v", err)
		}
	})
}

// A sender that ignores the window is cut off.
func TestWindowOverrun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{}, ServeOptions{Window: 2}, nil)
		b.prepare = func(k *sink) {
			k.answer = func(n int, p *Points, done func(*Ack, error)) {
				go func() { <-time.After(5 * time.Second); done(nil, nil) }()
			}
		}
		defer b.stop()
		cc := b.raw()
		defer cc.Close()
		errs := make(chan error, 3)
		for i := range 3 {
			if err := cc.Start(methodPush, &push{seq: uint64(i + 1)}, &Ack{}, func(err error) { errs <- err }); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-errs; err == nil || !strings.Contains(err.Error(), "window overrun") {
			t.Errorf("got %v", err)
		}
	})
}

// A receiver that panics costs its connection and nothing else.
func TestReceiverPanics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{}, ServeOptions{}, nil)
		b.prepare = func(k *sink) {
			if len(b.sinks) == 0 {
				k.answer = func(int, *Points, func(*Ack, error)) { panic("a bug") }
			}
		}
		defer b.stop()
		cpu := b.snd.Define(metric("cpu"))
		if r := b.send(Point{Handle: cpu, Time: 1}); r.Err == nil {
			t.Errorf("result %+v", r)
		}
		if r := b.send(Point{Handle: cpu, Time: 1}); r.Err != nil || r.Taken != 1 {
			t.Errorf("afterwards: %+v", r)
		}
	})
}

// A batch that no push can hold travels in several and is finished once.
func TestLargeBatches(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, SenderOptions{IdlePing: time.Hour}, ServeOptions{}, nil)
		var sizes []int
		b.prepare = func(k *sink) {
			k.answer = func(n int, p *Points, done func(*Ack, error)) {
				sizes = append(sizes, p.Len())
				done(nil, nil)
			}
		}
		defer b.stop()
		cpu := b.snd.Define(metric("cpu"))
		many := make([]Point, maxPushPoints+5)
		for i := range many {
			many[i].Handle = cpu
		}
		if r := b.send(many...); r.Err != nil || r.Taken != len(many) || fmt.Sprint(sizes) != fmt.Sprint([]int{maxPushPoints, 5}) {
			t.Errorf("many points: %+v in pushes of %v", r, sizes)
		}
		log := metric("log")
		log.Text = true
		h := b.snd.Define(log)
		sizes = nil
		long := strings.Repeat("x", maxPushTexts/2)
		r := b.send(Point{Handle: h, Text: long}, Point{Handle: h, Text: long}, Point{Handle: h, Text: long + long + "x"}, Point{Handle: h, Text: long}, Point{Handle: h, Text: "x" + long})
		if r.Err != nil || r.Taken != 4 || len(r.Refused) != 1 || r.Refused[0] != (Refusal{Handle: h, Reason: model.ReasonTooLong, N: 1}) || fmt.Sprint(sizes) != "[2 1 1]" {
			t.Errorf("long texts: %+v in pushes of %v", r, sizes)
		}
		if r := b.send(); r.Err != nil || r.Taken != 0 {
			t.Errorf("nothing at all: %+v", r)
		}
	})
}

func TestAddressIsRequired(t *testing.T) {
	if _, err := NewSender(SenderOptions{}); err == nil || !strings.Contains(err.Error(), "Addr is required") {
		t.Errorf("got %v", err)
	}
}

// Owners ask for mute bits while others define series and the peer mutes them.
func TestMuteBitsAreShared(t *testing.T) {
	var tab table
	tab.connect()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20_000 {
				h := tab.define(metric("cpu"))
				if tab.muted.get(h) {
					t.Error("a new series is muted")
				}
			}
		})
	}
	wg.Wait()
	last := Handle(len(tab.entries) - 1)
	var p push
	tab.fill(&p, []Point{{Handle: last}}, 0)
	tab.mute([]uint32{1, 99})
	if !tab.muted.get(last) || tab.muted.get(last-1) || tab.muted.count.Load() != 1 {
		t.Error("the wrong series is muted")
	}
	tab.release(last)
	if tab.muted.count.Load() != 0 {
		t.Error("a released series is still muted")
	}
}
