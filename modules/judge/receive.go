package judge

import (
	"context"
	"fmt"
	"slices"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
)

// send takes points from a stock transfer. It answers once the journal has them.
func (j *Judge) send(ctx context.Context, _ *rpc.Conn, items *[]*model.JudgeItem) (*model.SimpleRpcResponse, error) {
	now := j.now().Unix()
	j.received.Add(len(*items))
	points := make([]sample, 0, len(*items))
	for _, it := range *items {
		if it == nil || it.Endpoint == "" || it.Metric == "" || it.Timestamp <= 0 || it.Timestamp > now+j.cfg.MaxFutureSec {
			j.invalid.Add(1)
			continue
		}
		e := j.resolve(it.Endpoint, it.Metric, it.JudgeType, it.Tags)
		points = append(points, sample{e, expr.Point{Ts: it.Timestamp, Value: it.Value}, now})
	}
	if err := j.submit(ctx, points); err != nil {
		return nil, err
	}
	return &model.SimpleRpcResponse{}, nil
}

// submit returns once the points are judged and in the journal.
func (j *Judge) submit(ctx context.Context, points []sample) error {
	done := make(chan struct{})
	select {
	case j.jobs <- job{points: points, done: done}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *Judge) registerStreams(s *rpc.Server) {
	stream.Serve(s, stream.ServeOptions{Log: j.log}, func(_ *rpc.Conn, h stream.Hello) (stream.Receiver, error) {
		if h.Kind != stream.KindJudge {
			return nil, fmt.Errorf("stream of %q refused: a judge takes streams of %q", h.Kind, stream.KindJudge)
		}
		ctx, stop := context.WithCancel(context.Background())
		return &inbound{j: j, ctx: ctx, stop: stop, refs: make([]ref, 1)}, nil
	})
}

type ref struct {
	e    *entry
	step int64
}

// inbound is the receiving end of one stream.
type inbound struct {
	j     *Judge
	ctx   context.Context // ends with the stream
	stop  func()
	refs  []ref // by the stream's ref
	batch []sample
}

// Define resolves a series.
func (in *inbound) Define(n uint32, s *model.Series) string {
	if s.Text {
		return model.ReasonValue
	}
	tags, ok := model.ParseTagsStrict(s.Tags)
	if s.Tags == "" {
		tags, ok = map[string]string{}, true
	}
	if !ok {
		return model.ReasonValue
	}
	if grow := int(n) + 1 - len(in.refs); grow > 0 {
		in.refs = append(slices.Grow(in.refs, grow), make([]ref, grow)...)
	}
	in.refs[n] = ref{in.j.resolve(s.Endpoint, s.Metric, s.Type, tags), int64(s.Step)}
	return ""
}

// Forget says that n is not used until it is defined again.
func (in *inbound) Forget(n uint32) {
	if int(n) < len(in.refs) {
		in.refs[n] = ref{}
	}
}

// Push judges the points and acknowledges them. A point that waited in a spool is
// judged with the clock of its own time (design: minInterval on streams).
func (in *inbound) Push(p *stream.Points, done func(*stream.Ack, error)) {
	wall := in.j.now().Unix()
	in.batch = in.batch[:0]
	for i, n := range p.Refs {
		r := in.refs[n]
		ts := p.Times[i]
		in.batch = append(in.batch, sample{r.e, expr.Point{Ts: ts, Value: p.Values[i]}, min(wall, ts+2*r.step)})
	}
	in.j.received.Add(len(in.batch))
	done(nil, in.j.submit(in.ctx, in.batch))
}

// Close ends the stream.
func (in *inbound) Close() { in.stop() }
