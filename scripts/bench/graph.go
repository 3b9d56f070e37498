package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
)

const (
	countersPerHost = 200
	pushPoints      = 5000
)

// workload is what is sent: hosts with the same counters, as agents have them.
type workload struct {
	series []model.Series
	rnd    uint64
}

func newWorkload(n int) *workload {
	f := &workload{series: make([]model.Series, n), rnd: 1}
	counters := make([]string, countersPerHost)
	for i := range counters {
		counters[i] = fmt.Sprintf("metric.group%02d.name%03d", i%20, i)
	}
	host := ""
	for i := range f.series {
		if i%countersPerHost == 0 {
			host = fmt.Sprintf("host-%06d.example", i/countersPerHost)
		}
		typ := model.Gauge
		if i%4 == 0 {
			typ = model.Counter
		}
		f.series[i] = model.Series{
			Endpoint: host, Metric: counters[i%countersPerHost], Type: typ, Step: 60, Heartbeat: 120, Min: math.NaN(), Max: math.NaN(),
		}
	}
	return f
}

// value returns the value of series i in a round: counters grow, a third of the
// gauges stand still, the others move.
func (f *workload) value(i, round int) float64 {
	f.rnd ^= f.rnd << 13
	f.rnd ^= f.rnd >> 7
	f.rnd ^= f.rnd << 17
	switch {
	case i%4 == 0:
		return float64(1000*i + round*60*(i%977) + int(f.rnd%60))
	case i%3 == 0:
		return float64(i % 100)
	}
	return float64(f.rnd%10000) / 100
}

// feeder streams points of a workload to one address.
type feeder struct {
	f       *workload
	snd     *stream.Sender
	handles []stream.Handle
	stop    context.CancelFunc
	ended   chan error
}

func newFeeder(ctx context.Context, f *workload, kind, addr string) (*feeder, error) {
	snd, err := stream.NewSender(stream.SenderOptions{Addr: addr, Kind: kind, Sender: "bench", CallTimeout: time.Minute})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	fd := &feeder{f: f, snd: snd, handles: make([]stream.Handle, len(f.series)), stop: stop, ended: make(chan error, 1)}
	for i := range f.series {
		fd.handles[i] = snd.Define(&f.series[i])
	}
	go func() { fd.ended <- snd.Run(ctx) }()
	return fd, nil
}

func (fd *feeder) close() error {
	fd.stop()
	return <-fd.ended
}

// round sends a point of every series and waits for the last ack.
func (fd *feeder) round(ctx context.Context, round int, ts int64) error {
	var wg sync.WaitGroup
	var lost atomic.Int64
	var first atomic.Pointer[error]
	for at := 0; at < len(fd.handles); at += pushPoints {
		n := min(pushPoints, len(fd.handles)-at)
		points := make([]stream.Point, n)
		for i := range points {
			points[i] = stream.Point{Handle: fd.handles[at+i], Time: ts, Value: fd.f.value(at+i, round)}
		}
		wg.Add(1)
		err := fd.snd.Send(ctx, points, func(r stream.Result) {
			defer wg.Done()
			if r.Err != nil {
				first.CompareAndSwap(nil, &r.Err)
			}
			lost.Add(int64(n - r.Taken - r.Muted))
		})
		if err != nil {
			return err
		}
	}
	wg.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	if n := lost.Load(); n > 0 {
		return fmt.Errorf("%d points of round %d were not taken", n, round)
	}
	return nil
}

// graphAt starts a graph, without the SQL index, which is behind.
func (b *bench) graphAt(ctx context.Context) (p *process, rpcAddr, httpAddr string, err error) {
	a, err := freeAddrs(2)
	if err != nil {
		return nil, "", "", err
	}
	p, err = b.graphOn(ctx, a[0], a[1])
	return p, a[0], a[1], err
}

func (b *bench) graphOn(ctx context.Context, rpcAddr, httpAddr string) (*process, error) {
	return b.daemon(ctx, "falcon-graph", map[string]any{
		"rpc": listen(rpcAddr), "http": listen(httpAddr), "data": "graph", "index": map[string]any{"enabled": false},
	}, httpAddr)
}

// start is the time of the first round of n, so that the last is now.
func start(n int) int64 {
	now := time.Now().Unix()
	return now - now%60 - int64(60*(n-1))
}

// graphNewSeries is the CPU of a series that was never seen: catalog and search
// index, with its first point.
func graphNewSeries(ctx context.Context, b *bench) (float64, string, error) {
	p, addr, _, err := b.graphAt(ctx)
	if err != nil {
		return 0, "", err
	}
	fd, err := newFeeder(ctx, newWorkload(b.series), stream.KindGraph, addr)
	if err != nil {
		return 0, "", err
	}
	cpu, err := p.measured(func() error { return fd.round(ctx, 0, start(1)) })
	remark := fmt.Sprintf("%d series, RSS %.0f MB", b.series, p.rss())
	return cpu / float64(b.series) * 1e6, remark, errors.Join(err, fd.close(), p.kill())
}

// graphStream is the CPU of known series, logged before the ack.
func graphStream(ctx context.Context, b *bench) (float64, string, error) {
	const rounds = 5
	p, addr, _, err := b.graphAt(ctx)
	if err != nil {
		return 0, "", err
	}
	fd, err := newFeeder(ctx, newWorkload(b.series), stream.KindGraph, addr)
	if err != nil {
		return 0, "", err
	}
	t0 := start(rounds + 1)
	if err := fd.round(ctx, 0, t0); err != nil {
		return 0, "", errors.Join(err, p.kill())
	}
	began := time.Now()
	cpu, err := p.measured(func() error {
		for r := 1; r <= rounds; r++ {
			if err := fd.round(ctx, r, t0+int64(60*r)); err != nil {
				return err
			}
		}
		return nil
	})
	points := float64(rounds * b.series)
	remark := fmt.Sprintf("%d series, %.2g M points/s with the generator on the same cores, RSS %.0f MB", b.series, points/1e6/time.Since(began).Seconds(), p.rss())
	return cpu / points * 1e6, remark, errors.Join(err, fd.close(), p.kill())
}

// graphGob is the CPU of known series that a stock transfer sends: gob, 200 items a call,
// a third of them with a tag.
func graphGob(ctx context.Context, b *bench) (float64, string, error) {
	const rounds, batch, senders = 3, 200, 4
	p, addr, _, err := b.graphAt(ctx)
	if err != nil {
		return 0, "", err
	}
	f := newWorkload(b.series)
	t0 := start(rounds + 1)
	var clients [senders]*rpc.Client
	for n := range clients {
		clients[n] = rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: rpc.Gob, CallTimeout: time.Minute})
		defer clients[n].Close()
	}
	round := func(r int) error {
		var wg sync.WaitGroup
		var errs [senders]error
		for n := range senders {
			wg.Go(func() {
				items := make([]*model.GraphItem, 0, batch)
				for at := n * batch; at < len(f.series); at += senders * batch {
					items = items[:0]
					for i := at; i < min(at+batch, len(f.series)); i++ {
						s := &f.series[i]
						it := &model.GraphItem{
							Endpoint: s.Endpoint, Metric: s.Metric, Value: float64(i + r), Timestamp: t0 + int64(60*r), DsType: s.Type, Step: 60, Heartbeat: 120, Min: "U", Max: "U",
						}
						if i%3 == 0 {
							it.Tags = map[string]string{"iface": "eth0"}
						}
						items = append(items, it)
					}
					if errs[n] = clients[n].Call(ctx, "Graph.Send", items, &model.SimpleRpcResponse{}); errs[n] != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		return errors.Join(errs[:]...)
	}
	if err := round(0); err != nil {
		return 0, "", errors.Join(err, p.kill())
	}
	cpu, err := p.measured(func() error {
		for r := 1; r <= rounds; r++ {
			if err := round(r); err != nil {
				return err
			}
		}
		return nil
	})
	return cpu / float64(rounds*b.series) * 1e6, fmt.Sprintf("%d series, %d items a call, RSS %.0f MB", b.series, batch, p.rss()), errors.Join(err, p.kill())
}

// graphMemory is what a graph holds with an hour of points in memory and the search index.
func graphMemory(ctx context.Context, b *bench) (float64, string, error) {
	const rounds = 60
	p, addr, _, err := b.graphAt(ctx)
	if err != nil {
		return 0, "", err
	}
	fd, err := newFeeder(ctx, newWorkload(b.series), stream.KindGraph, addr)
	if err != nil {
		return 0, "", errors.Join(err, p.kill())
	}
	t0 := start(rounds)
	for r := range rounds {
		if err := fd.round(ctx, r, t0+int64(60*r)); err != nil {
			return 0, "", errors.Join(err, fd.close(), p.kill())
		}
	}
	remark := fmt.Sprintf("RSS after an hour of points, %d series, Go's default GOGC; peak %.0f MB", b.series, p.peak())
	return p.rss() / 1024, remark, errors.Join(fd.close(), p.kill())
}

// graphRecovery is the CPU from the start after kill -9 until the graph serves, at
// the worst moment: 70 minutes of points, none of them sealed.
func graphRecovery(ctx context.Context, b *bench) (float64, string, error) {
	const rounds = 70
	p, addr, health, err := b.graphAt(ctx)
	if err != nil {
		return 0, "", err
	}
	f := newWorkload(b.series)
	fd, err := newFeeder(ctx, f, stream.KindGraph, addr)
	if err != nil {
		return 0, "", err
	}
	t0 := start(rounds)
	for r := range rounds {
		if err := fd.round(ctx, r, t0+int64(60*r)); err != nil {
			return 0, "", errors.Join(err, p.kill())
		}
	}
	rss := p.rss()
	if err := errors.Join(fd.close(), p.kill()); err != nil {
		return 0, "", err
	}
	began := time.Now()
	p, err = b.graphOn(ctx, addr, health)
	if err != nil {
		return 0, "", err
	}
	took := time.Since(began)
	cpu, err := p.cpu()
	if err != nil {
		return 0, "", err
	}
	lost, err := missingPoints(ctx, f, addr, t0, rounds)
	remark := fmt.Sprintf("%d series x %d min, wall %.1f s, RSS before %.0f MB and after %.0f MB; acked points lost in a sample of 1000 series: %d",
		b.series, rounds, took.Seconds(), rss, p.rss(), lost)
	if lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d acked points are gone", lost))
	}
	return cpu, remark, errors.Join(err, p.kill())
}

// missingPoints asks for every point of a thousand gauges.
func missingPoints(ctx context.Context, f *workload, addr string, t0 int64, rounds int) (lost int, err error) {
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: rpc.Msgpack, CallTimeout: time.Minute})
	defer c.Close()
	for i := 1; i < len(f.series); i += max(len(f.series)/1000, 1) {
		s := &f.series[i]
		if s.Type != model.Gauge {
			continue
		}
		var resp model.GraphQueryResponse
		q := &model.GraphQueryParam{Endpoint: s.Endpoint, Counter: s.Counter(), ConsolFun: "AVERAGE", Start: t0, End: t0 + int64(60*(rounds-1))}
		if err := c.Call(ctx, "Graph.Query", q, &resp); err != nil {
			return lost, err
		}
		have := 0
		for _, v := range resp.Values {
			if !math.IsNaN(float64(v.Value)) {
				have++
			}
		}
		lost += rounds - have
	}
	return lost, nil
}

// graphQuery is the CPU of a query of an hour of one series, 16 in flight.
func graphQuery(ctx context.Context, b *bench) (float64, string, error) {
	const rounds, hosts, queries = 61, 100, 100_000
	p, addr, _, err := b.graphAt(ctx)
	if err != nil {
		return 0, "", err
	}
	f := newWorkload(hosts * countersPerHost)
	fd, err := newFeeder(ctx, f, stream.KindGraph, addr)
	if err != nil {
		return 0, "", err
	}
	t0 := start(rounds)
	for r := range rounds {
		if err := fd.round(ctx, r, t0+int64(60*r)); err != nil {
			return 0, "", errors.Join(err, p.kill())
		}
	}
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: rpc.Msgpack, MaxConns: 1})
	defer c.Close()
	var points atomic.Int64
	cpu, err := p.measured(func() error {
		var wg sync.WaitGroup
		errs := make([]error, 16)
		for w := range errs {
			wg.Go(func() {
				for i := w; i < queries; i += len(errs) {
					s := &f.series[i*7919%len(f.series)]
					var resp model.GraphQueryResponse
					q := &model.GraphQueryParam{Endpoint: s.Endpoint, Counter: s.Counter(), ConsolFun: "AVERAGE", Start: t0, End: t0 + 60*(rounds-1)}
					if errs[w] = c.Call(ctx, "Graph.Query", q, &resp); errs[w] != nil {
						return
					}
					points.Add(int64(len(resp.Values)))
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	remark := fmt.Sprintf("%.1f points an answer", float64(points.Load())/queries)
	return cpu / queries * 1e6, remark, errors.Join(err, fd.close(), p.kill())
}

// graphRawBytes is the size of the sealed hours, index included, over the workload
// of the engine's own benchmark.
func graphRawBytes(ctx context.Context, _ *bench) (float64, string, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkRawBytes$", "-benchtime", "1x", "./modules/graph/tsdb").CombinedOutput()
	if err != nil {
		return 0, "", fmt.Errorf("%w\n%s", err, out)
	}
	m := regexp.MustCompile(`([\d.]+) B/pt`).FindSubmatch(out)
	if m == nil {
		return 0, "", fmt.Errorf("the benchmark prints no B/pt:\n%s", out)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	return v, "", err
}
