package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/run"
	"falcon/common/stream"
)

// A batch is a run of series in one round.
type batch struct {
	round    int
	from, to int // series
}

func (b batch) points() int { return b.to - b.from }

// An outcome is what became of a batch.
type outcome struct {
	batch
	err     error // nobody vouches for it: it is sent again
	refused map[string]int
	// lost are the series of refused points; unknown says that they are not known, and then
	// no point of the batch counts as acknowledged.
	lost    []int
	unknown bool
	took    time.Duration
}

// A link is a connection to what is loaded. send hands over a batch; done is called once,
// from any goroutine.
type link interface {
	send(ctx context.Context, b batch, done func(outcome))
	// pause waits until it makes sense to try again.
	pause(ctx context.Context) error
	close()
}

// callTimeout is how long an acknowledgement may take.
const callTimeout = 30 * time.Second

// againAfter is the pause of what has none of its own.
const againAfter = 200 * time.Millisecond

// inFlight is how many batches of a stream are without an answer at most.
const inFlight = 8

// streamLink names each series once.
type streamLink struct {
	w       *workload
	snd     *stream.Sender
	from    int
	handles []stream.Handle
	series  map[stream.Handle]int
	stop    context.CancelFunc
	ended   chan struct{}
	free    chan []stream.Point
}

func newStreamLink(w *workload, addr string, from, n int) (*streamLink, error) {
	snd, err := stream.NewSender(stream.SenderOptions{Addr: addr, Kind: stream.KindPoints, Sender: w.cfg.Prefix, CallTimeout: callTimeout, Queue: inFlight, Drain: time.Second})
	if err != nil {
		return nil, err
	}
	l := &streamLink{w: w, snd: snd, from: from, handles: make([]stream.Handle, n), series: make(map[stream.Handle]int, n), ended: make(chan struct{}), free: make(chan []stream.Point, inFlight)}
	for i := range l.handles {
		s := w.series(from + i)
		l.handles[i] = snd.Define(&s)
		l.series[l.handles[i]] = from + i
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go func() {
		defer close(l.ended)
		_ = snd.Run(ctx) // it ends with stop, and its batches come back before
	}()
	return l, nil
}

func (l *streamLink) send(ctx context.Context, b batch, done func(outcome)) {
	var points []stream.Point
	select {
	case points = <-l.free:
	default:
	}
	points = points[:0]
	ts := l.w.time(b.round)
	for i := b.from; i < b.to; i++ {
		points = append(points, stream.Point{Handle: l.handles[i-l.from], Time: ts, Value: l.w.value(i, ts)})
	}
	began := time.Now()
	err := l.snd.Send(ctx, points, func(r stream.Result) {
		select {
		case l.free <- points:
		default:
		}
		o := outcome{batch: b, err: r.Err, took: time.Since(began), unknown: r.More > 0}
		refuse := func(reason string, n int) {
			if n > 0 {
				if o.refused == nil {
					o.refused = map[string]int{}
				}
				o.refused[reason] += n
			}
		}
		for _, one := range r.Refused {
			refuse(one.Reason, one.N)
			if i, ok := l.series[one.Handle]; ok {
				o.lost = append(o.lost, i)
			} else {
				o.unknown = true
			}
		}
		refuse("more", r.More)
		refuse("muted", r.Muted)
		o.unknown = o.unknown || r.Muted > 0
		done(o)
	})
	if err != nil {
		done(outcome{batch: b, err: err})
	}
}

func (l *streamLink) pause(ctx context.Context) error { return l.snd.WaitRetry(ctx) }

func (l *streamLink) close() {
	l.stop()
	<-l.ended
}

// rpcLink calls Transfer.Update, as stock's agents do.
type rpcLink struct {
	w *workload
	c *rpc.Client
}

func newRPCLink(w *workload, addr string, codec rpc.Codec) *rpcLink {
	return &rpcLink{w: w, c: rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: codec, CallTimeout: callTimeout, MaxConns: 1})}
}

// items are the points of a batch by name.
func (w *workload) items(b batch) []*model.MetricValue {
	items := make([]*model.MetricValue, 0, b.points())
	ts := w.time(b.round)
	for i := b.from; i < b.to; i++ {
		s := w.series(i)
		items = append(items, &model.MetricValue{Endpoint: s.Endpoint, Metric: s.Metric, Value: w.value(i, ts), Step: int64(s.Step), Type: s.Type, Timestamp: ts})
	}
	return items
}

func (l *rpcLink) send(ctx context.Context, b batch, done func(outcome)) {
	items := l.w.items(b)
	began := time.Now()
	var reply model.TransferResponse
	err := l.c.Call(ctx, "Transfer.Update", items, &reply)
	done(counted(b, reply, err, time.Since(began)))
}

// counted is the outcome of a call that answers with counts.
func counted(b batch, reply model.TransferResponse, err error, took time.Duration) outcome {
	o := outcome{batch: b, err: err, took: took}
	switch {
	case err != nil:
	case reply.Total != b.points():
		o.err = fmt.Errorf("of %d points it answers for %d", b.points(), reply.Total)
	case reply.Invalid > 0:
		o.refused, o.unknown = map[string]int{"invalid": reply.Invalid}, true
	}
	return o
}

func (l *rpcLink) pause(ctx context.Context) error { return rest(ctx) }

func (l *rpcLink) close() { l.c.Close() }

// httpLink posts JSON to transfer's or an agent's page.
type httpLink struct {
	w   *workload
	c   *httpx.Client
	url string
}

func newHTTPLink(w *workload, url string) *httpLink {
	return &httpLink{w: w, url: url, c: httpx.NewClient(httpx.Options{Tries: 1, Timeout: callTimeout})}
}

func (l *httpLink) send(ctx context.Context, b batch, done func(outcome)) {
	body, err := json.Marshal(l.w.items(b))
	if err != nil {
		done(outcome{batch: b, err: err})
		return
	}
	began := time.Now()
	answer, err := l.c.Post(ctx, l.url, body)
	took := time.Since(began)
	// Transfer answers with counts, an agent with a word.
	var reply struct{ Data model.TransferResponse }
	if err != nil || json.Unmarshal(answer, &reply) != nil {
		reply.Data = model.TransferResponse{Total: b.points()}
	}
	done(counted(b, reply.Data, err, took))
}

func (l *httpLink) pause(ctx context.Context) error { return rest(ctx) }

func (l *httpLink) close() {}

func rest(ctx context.Context) error {
	if !run.Sleep(ctx, againAfter) {
		return ctx.Err()
	}
	return nil
}

// dial makes the link of a connection that sends n series from one on.
func dial(w *workload, from, n int) (link, error) {
	switch w.cfg.Protocol {
	case Stream:
		return newStreamLink(w, w.cfg.to(), from, n)
	case JSONRPC:
		return newRPCLink(w, w.cfg.to(), rpc.JSON), nil
	case Gob:
		return newRPCLink(w, w.cfg.to(), rpc.Gob), nil
	case Msgpack:
		return newRPCLink(w, w.cfg.to(), rpc.Msgpack), nil
	case HTTP:
		return newHTTPLink(w, w.cfg.to()), nil
	}
	return nil, errors.New("no such protocol")
}
