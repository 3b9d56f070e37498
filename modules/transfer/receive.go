package transfer

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/model"
	"falcon/common/stream"
)

// place finds out where the points of a new series go.
func (t *Transfer) place(n rawName) *series {
	s := &series{
		def: model.Series{
			Endpoint: n.endpoint, Metric: n.metric, Tags: model.NormalTags(n.tags), Type: n.typ,
			Step: int(max(n.step, int64(t.cfg.MinStep))), Min: noBound, Max: noBound, Text: n.text,
		},
	}
	s.step = int64(s.def.Step)
	s.def.Heartbeat = 2 * s.def.Step
	if n.typ != model.Gauge {
		s.def.Min = 0 // a rate below it is a counter that began anew
	}
	s.pk = s.def.PK()
	if !n.text { // graph keeps numbers only
		s.targets = t.graph.targets(s.targets, s)
	}
	s.targets = t.judgeOf(n.text).targets(s.targets, s)
	if t.relay != nil { // as it came: the next transfer has its own shortest step
		def := s.def
		def.Step = int(n.step)
		def.Heartbeat = 2 * def.Step
		s.targets = append(s.targets, target{out: t.relay, handle: t.relay.snd.Define(&def), raw: true})
	}
	return s
}

// release gives back the handles that place took.
func (t *Transfer) release(s *series) {
	for _, to := range s.targets {
		to.out.release(to.handle)
	}
}

// fixTime returns the time of a point that claims ts: as it stands unless the
// policy replaces it by now (contract ingest 1.3, check 8). It stands, too, when it is
// right by steady: a clock that was put wrong puts no point of others wrong.
func (t *Transfer) fixTime(ts, now, steady, step int64) int64 {
	if ts > 0 && (t.timely(ts, now, step) || t.timely(ts, steady, step)) {
		return ts
	}
	return now
}

// timely says whether a time may stand at now.
func (t *Transfer) timely(ts, now, step int64) bool {
	switch t.cfg.TsPolicy {
	case "stock":
		return ts <= 2*now
	case "fork":
		return ts >= now-3*step && ts <= now+3*step
	}
	return ts <= now+max(300, 3*step)
}

// A spread is a batch on its way to the outlets. Its memory is used again for the
// next batch.
type spread struct {
	t     *Transfer
	parts []part // by outlet
	watch *watch
	last  *series // of the item before, of a pushed batch
	now   int64   // Unix seconds
	// steady is now, had nobody put the clock.
	steady int64
	texts  bool // some point has a text
}

// A part is what of a batch goes to one outlet.
type part struct {
	points []stream.Point
	muted  int // left out: the peer does not want them
}

// keepPoints is how many points of memory a spread keeps for each outlet.
const keepPoints = 2 * maxChunk

func (t *Transfer) newSpread() *spread { return &spread{t: t, parts: make([]part, len(t.outlets))} }

// begin makes sp ready for a batch that came now.
func (sp *spread) begin(now time.Time) {
	sp.now, sp.steady, sp.watch, sp.last = now.Unix(), sp.t.steady().Unix(), sp.t.watch.Load(), nil
}

// add puts a point into the part of each address that its series goes to.
func (sp *spread) add(s *series, ts int64, v float64, text string) {
	ts = sp.t.fixTime(ts, sp.now, sp.steady, s.step)
	if sp.watch != nil {
		sp.watch.see(s, ts, v)
	}
	aligned := ts - ts%s.step
	sp.texts = sp.texts || text != ""
	for _, to := range s.targets {
		p := &sp.parts[to.out.index]
		if to.out.snd.Muted(to.handle) {
			p.muted++
			continue
		}
		at := aligned
		if to.raw {
			at = ts
		}
		p.points = append(p.points, stream.Point{Handle: to.handle, Time: at, Value: v, Text: text})
	}
}

// send offers the parts and calls done once, when every outlet has answered for its
// points or has said why it can not. The spread is then empty.
func (sp *spread) send(done func(error)) {
	p := &pending{done: done}
	p.open.Store(1)
	for i := range sp.parts {
		part, out := &sp.parts[i], sp.t.outlets[i]
		rest := part.points
		for len(rest) > 0 || part.muted > 0 {
			n := min(len(rest), maxChunk)
			p.open.Add(1)
			out.offer(rest[:n], part.muted, p.end)
			rest, part.muted = rest[n:], 0
		}
		if cap(part.points) > keepPoints {
			part.points = nil
		} else if sp.texts {
			clear(part.points)
		}
		part.points = part.points[:0]
	}
	sp.texts = false
	p.end(nil)
}

// pending waits for the last of several answers and keeps the first error.
type pending struct {
	open atomic.Int64
	mu   sync.Mutex
	err  error
	done func(error)
}

func (p *pending) end(err error) {
	if err != nil {
		p.mu.Lock()
		if p.err == nil {
			p.err = err
		}
		p.mu.Unlock()
	}
	if p.open.Add(-1) == 0 {
		p.done(p.err)
	}
}

// take sends the good ones of items on and returns how many were refused. done is
// called once, when the rest is kept or can not be.
func (t *Transfer) take(items update, now time.Time, done func(error)) (invalid int) {
	sp, _ := t.spreads.Get().(*spread)
	if sp == nil {
		sp = t.newSpread()
	}
	defer t.spreads.Put(sp)
	sp.begin(now)
	for _, it := range items {
		if reason := t.takeOne(sp, it); reason != "" {
			t.refuse(reason, it)
			invalid++
		}
	}
	sp.send(done)
	return invalid
}

func (t *Transfer) takeOne(sp *spread, it *item) (reason string) {
	if it == nil {
		return model.ReasonNull
	}
	num, text, kind := it.number()
	n := rawName{it.Endpoint, it.Metric, it.Tags, it.Type, it.Step, kind == model.ValueText}
	s, reason := t.series.following(sp.last, n, sp.now)
	switch {
	case reason != "":
		return reason
	case kind == model.ValueEmpty:
		return model.ReasonNoValue
	case len(text) > maxText:
		return model.ReasonTooLong
	case kind == model.ValueBad, len(s.targets) == 0 && kind == model.ValueText:
		return model.ReasonValue // text is taken only where a judge wants it
	}
	sp.last = s
	sp.add(s, it.Timestamp, num, text)
	return ""
}

// inbound is the receiving end of a stream of an agent or another transfer. A ref
// leads straight to the series, which was checked and placed once.
type inbound struct {
	t    *Transfer
	sp   *spread
	refs []*series // by the stream's ref
}

// Define checks and places a series.
func (in *inbound) Define(ref uint32, s *model.Series) string {
	n := rawName{s.Endpoint, s.Metric, s.Tags, s.Type, int64(s.Step), s.Text}
	found, reason := in.t.series.hold(n, in.t.now().Unix())
	if reason == "" && s.Text && len(found.targets) == 0 {
		found.drop(in.t.now().Unix())
		reason = model.ReasonValue
	}
	if reason != "" {
		in.t.refuse(reason, &item{Endpoint: s.Endpoint, Metric: s.Metric, Tags: s.Tags, Type: s.Type, Step: int64(s.Step)})
		return reason
	}
	if n := int(ref) + 1 - len(in.refs); n > 0 {
		in.refs = append(slices.Grow(in.refs, n), make([]*series, n)...)
	}
	if old := in.refs[ref]; old != nil {
		old.drop(in.t.now().Unix())
	}
	in.refs[ref] = found
	return ""
}

// Forget lets go of a series.
func (in *inbound) Forget(ref uint32) {
	if int(ref) < len(in.refs) && in.refs[ref] != nil {
		in.refs[ref].drop(in.t.now().Unix())
		in.refs[ref] = nil
	}
}

// Push sends points on; they are acknowledged once they are kept.
func (in *inbound) Push(p *stream.Points, done func(*stream.Ack, error)) {
	t := in.t
	if p.Len() == 0 {
		done(nil, nil)
		return
	}
	sp := in.sp
	sp.begin(t.now())
	ack := &stream.Ack{}
	for i, ref := range p.Refs {
		v, text := 0.0, ""
		if i < len(p.Values) {
			v = p.Values[i]
		} else {
			text = p.Texts[i-len(p.Values)]
		}
		reason := ""
		switch {
		case v-v != 0: // NaN or infinite
			reason = model.ReasonValue
		case len(text) > maxText:
			reason = model.ReasonTooLong
		}
		if reason != "" {
			t.refused.Add(reason, 1)
			ack.Refused = refusal(ack.Refused, ref, reason)
			continue
		}
		ack.Taken++
		sp.add(in.refs[ref], p.Times[i], v, text)
	}
	t.streamRecv.Add(p.Len())
	sp.send(func(err error) {
		if err != nil {
			done(nil, err)
			return
		}
		t.recv.Add(ack.Taken)
		t.rpcRecv.Add(ack.Taken)
		done(ack, nil)
	})
}

func refusal(list []model.Refusal, ref uint32, reason string) []model.Refusal {
	if n := len(list); n > 0 && list[n-1].Ref == ref && list[n-1].Reason == reason {
		list[n-1].N++
		return list
	}
	return append(list, model.Refusal{Ref: ref, Reason: reason, N: 1})
}

// Close lets go of every series.
func (in *inbound) Close() {
	now := in.t.now().Unix()
	for _, s := range in.refs {
		if s != nil {
			s.drop(now)
		}
	}
	in.refs = nil
}
