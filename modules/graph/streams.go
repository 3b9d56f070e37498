package graph

import (
	"fmt"
	"slices"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
	"falcon/modules/graph/tsdb"
)

// registerStreams takes points over streams, the way our own transfers send them.
func (g *Graph) registerStreams(s *rpc.Server) {
	stream.Serve(s, stream.ServeOptions{Log: g.log}, func(_ *rpc.Conn, h stream.Hello) (stream.Receiver, error) {
		if h.Kind != stream.KindGraph {
			return nil, fmt.Errorf("stream of %q refused: a graph takes streams of %q", h.Kind, stream.KindGraph)
		}
		g.streamsTotal.Add(1)
		return &inbound{g: g, refs: make([]tsdb.Ref, 1)}, nil
	})
}

// inbound is the receiving end of one stream. A ref of the stream leads straight to
// the engine's, so a known series is never looked up again.
type inbound struct {
	g     *Graph
	refs  []tsdb.Ref // by the stream's ref; 0 for one that could not be resolved
	batch []tsdb.Sample
}

// Define resolves a series. When the engine is read-only it can not create one, and
// no reason is given: the points then come back as undefined, and are sent again.
func (in *inbound) Define(ref uint32, s *model.Series) string {
	if s.Text {
		return model.ReasonValue
	}
	r, err := in.g.db.Resolve(&tsdb.Def{
		Endpoint: s.Endpoint, Counter: s.Counter(), Type: s.Type,
		Step: s.Step, Heartbeat: s.Heartbeat, Min: s.Min, Max: s.Max,
	})
	reason, err := asReason(err)
	if reason != "" {
		in.g.refused.Add(reason, 1)
		return reason
	}
	if err != nil {
		r = 0
	}
	if n := int(ref) + 1 - len(in.refs); n > 0 {
		in.refs = append(slices.Grow(in.refs, n), make([]tsdb.Ref, n)...)
	}
	in.refs[ref] = r
	return ""
}

// Forget says that ref is not used until it is defined again.
func (in *inbound) Forget(ref uint32) {
	if int(ref) < len(in.refs) {
		in.refs[ref] = 0
	}
}

// Push logs the points and acknowledges them.
func (in *inbound) Push(p *stream.Points, done func(*stream.Ack, error)) {
	in.batch = in.batch[:0]
	for i, ref := range p.Refs {
		in.batch = append(in.batch, tsdb.Sample{Ref: in.refs[ref], Ts: p.Times[i], Value: p.Values[i]})
	}
	in.g.received.Add(len(in.batch))
	var ack stream.Ack
	var t *tally
	err := in.g.append(in.batch, func(i int, reason string) {
		if t == nil {
			t = &tally{refused: map[refReason]int{}, redefine: map[uint32]struct{}{}}
		}
		t.add(p.Refs[i], reason)
	})
	if err != nil {
		done(nil, err)
		return
	}
	ack.Taken = len(in.batch)
	if t != nil {
		t.report(&ack)
	}
	done(&ack, nil)
}

// Close has nothing to do: everything was logged when it was acknowledged.
func (in *inbound) Close() {}

type refReason struct {
	ref    uint32
	reason string
}

// tally gathers what was not taken of one push.
type tally struct {
	n        int
	refused  map[refReason]int
	redefine map[uint32]struct{}
}

func (t *tally) add(ref uint32, reason string) {
	t.n++
	if reason == model.ReasonUnknown {
		// The series was deleted while the stream ran: it is defined again.
		t.redefine[ref] = struct{}{}
		return
	}
	t.refused[refReason{ref, reason}]++
}

func (t *tally) report(ack *stream.Ack) {
	ack.Taken -= t.n
	for ref := range t.redefine {
		ack.Redefine = append(ack.Redefine, ref)
	}
	for r, n := range t.refused {
		ack.Refused = append(ack.Refused, model.Refusal{Ref: r.ref, Reason: r.reason, N: n})
	}
}
