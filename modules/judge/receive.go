package judge

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
	"falcon/modules/judge/core"
	"falcon/modules/judge/filter"
)

// send takes points from a stock transfer (contract alerting 1.2). It answers once the
// journal has them; what is wrong with an item is counted and keeps nobody back.
func (j *Judge) send(_ context.Context, _ *rpc.Conn, items *[]*model.JudgeItem) (*model.SimpleRpcResponse, error) {
	if err := j.busy(); err != nil {
		return nil, err
	}
	began := time.Now()
	now := j.now().Unix()
	j.received.Add(len(*items))
	b, committed := j.begin(), false
	defer b.abandon(&committed)
	filtered := 0
	for _, it := range *items {
		if reason := j.refuse(it, now); reason != "" {
			j.invalid.Add(reason, 1)
			continue
		}
		what := lost
		for what == lost { // between the finding and the adding it may be forgotten
			what = nobodys
			if e := j.table.findStock(it, j.inForce.Load(), now); e != nil {
				what = b.add(e, expr.Point{Ts: it.Timestamp, Value: it.Value}, it.JudgeType, now)
			}
		}
		if what == nobodys {
			filtered++
		}
	}
	committed = true
	err := b.commit()
	j.filtered.Add(filtered)
	j.took.Store(int64(time.Since(began)))
	if err != nil {
		return nil, err
	}
	return &model.SimpleRpcResponse{}, nil
}

// refuse says what is wrong with an item of a stock peer, "" for nothing.
func (j *Judge) refuse(it *model.JudgeItem, now int64) string {
	switch {
	case it == nil:
		return model.ReasonNull
	case it.Endpoint == "" || it.Metric == "":
		return model.ReasonNoName
	case len(it.Endpoint) > core.MaxName || len(it.Metric) > core.MaxName || tagsLength(it.Tags) > core.MaxName:
		return model.ReasonTooLong
	case it.JudgeType == "":
		return model.ReasonType
	case it.Timestamp <= 0:
		return model.ReasonTimestamp
	case it.Timestamp > now+j.cfg.MaxFutureSec:
		return model.ReasonFuture
	case math.IsNaN(it.Value) || math.IsInf(it.Value, 0):
		return model.ReasonValue
	}
	return ""
}

func tagsLength(tags map[string]string) (n int) {
	for k, v := range tags {
		n += len(k) + len(v) + 2
	}
	return n
}

func (j *Judge) registerStreams(s *rpc.Server) {
	stream.Serve(s, stream.ServeOptions{Log: j.log}, func(_ *rpc.Conn, h stream.Hello) (stream.Receiver, error) {
		if h.Kind != stream.KindJudge {
			return nil, fmt.Errorf("stream of %q refused: a judge takes streams of %q", h.Kind, stream.KindJudge)
		}
		return &inbound{j: j, rules: j.inForce.Load(), refs: newRefs()}, nil
	})
}

// What a stream's number stands for, when it is no series that is kept; nil is a number
// that was not defined.
var (
	unwatched = new(entry) // no rule watches it
	muted     = new(entry) // and the sender was told so
	outdated  = new(entry) // it was decided by rules that are not in force any more: to be defined again
)

// types are those that rules tell apart; any other stays what the series has.
var types = [...]string{"", model.Gauge, model.Counter, model.Derive}

// inbound is the receiving end of one stream.
type inbound struct {
	j     *Judge
	rules *inForce // those that the mutes so far went by
	refs  refs
	types []uint8 // which of types it was defined with
}

// Define resolves a series.
func (in *inbound) Define(n uint32, s *model.Series) string {
	tags := map[string]string{}
	if s.Tags != "" {
		var ok bool
		if tags, ok = model.ParseTagsStrict(s.Tags); !ok {
			return model.ReasonCharacter
		}
	}
	if len(s.Endpoint) > core.MaxName || len(s.Metric) > core.MaxName || len(s.Tags) > core.MaxName {
		return model.ReasonTooLong
	}
	in.refs.grow(int(n) + 1)
	if grow := int(n) + 1 - len(in.types); grow > 0 {
		in.types = append(slices.Grow(in.types, grow), make([]uint8, grow)...)
	}
	e := in.j.table.findKind(s.Endpoint, s.Metric, s.Tags, s.Type, tags, s.Text, in.j.inForce.Load())
	if e == nil {
		e = unwatched
	} else {
		e.step.Store(int32(min(s.Step, math.MaxInt32)))
	}
	in.refs.set(n, e)
	in.types[n] = uint8(max(0, slices.Index(types[:], s.Type)))
	return ""
}

// Forget says that n is not used until it is defined again.
func (in *inbound) Forget(n uint32) {
	if int(n) < in.refs.len() {
		in.refs.set(n, nil)
	}
}

// Push judges the points and acknowledges them once the journal has them. A point that
// waited in a spool is judged with the clock of its own time: minInterval then counts
// the same steps as on time.
func (in *inbound) Push(p *stream.Points, done func(*stream.Ack, error)) {
	j := in.j
	if err := j.busy(); err != nil {
		done(nil, err)
		return
	}
	began := time.Now()
	wall := j.now().Unix()
	var ack stream.Ack
	before := in.rules
	in.unmute(&ack)
	filtered, again := 0, 0 // again: they come once more
	b, committed := j.begin(), false
	defer b.abandon(&committed)
	for i, n := range p.Refs {
		e := in.refs.at(n)
		ts, v, text := p.Times[i], 0.0, ""
		if i < len(p.Values) {
			v = p.Values[i]
		} else {
			text = p.Texts[i-len(p.Values)]
		}
		switch {
		case i >= len(p.Values) && wrongText(text) != "":
			reason := wrongText(text)
			ack.Refused = append(ack.Refused, model.Refusal{Ref: n, Reason: reason, N: 1})
			j.invalid.Add(reason, 1)
			continue
		case math.IsNaN(v) || math.IsInf(v, 0):
			ack.Refused = append(ack.Refused, model.Refusal{Ref: n, Reason: model.ReasonValue, N: 1})
			j.invalid.Add(model.ReasonValue, 1)
			continue
		case ts <= 0:
			ack.Refused = append(ack.Refused, model.Refusal{Ref: n, Reason: model.ReasonTimestamp, N: 1})
			j.invalid.Add(model.ReasonTimestamp, 1)
			continue
		case ts > wall+j.cfg.MaxFutureSec:
			ack.Refused = append(ack.Refused, model.Refusal{Ref: n, Reason: model.ReasonFuture, N: 1})
			j.invalid.Add(model.ReasonFuture, 1)
			continue
		case e == nil || e == outdated:
			in.redefine(&ack, n)
			again++
			continue
		}
		what := nobodys
		if e != unwatched && e != muted {
			what = b.put(e, expr.Point{Ts: ts, Value: v}, text, types[in.types[n]], min(wall, ts+2*int64(e.step.Load())))
		}
		switch what {
		case lost:
			in.redefine(&ack, n)
			again++
			continue
		case nobodys:
			filtered++
			if e != muted {
				in.refs.set(n, muted)
				ack.Mute = append(ack.Mute, n)
			}
		case taken:
		}
		ack.Taken++
	}
	if j.inForce.Load() != in.rules {
		// Other rules came meanwhile: nobody knows by which these mutes are.
		for _, n := range ack.Mute {
			in.refs.set(n, outdated)
		}
		ack.Mute = nil
	}
	committed = true
	err := b.commit()
	j.received.Add(len(p.Refs) - again)
	j.filtered.Add(filtered)
	j.took.Store(int64(time.Since(began)))
	if err != nil {
		// The sender keeps the batch. Points that it sends once more are those that are
		// there already; mutes that it does not hear of are told again.
		for _, n := range ack.Mute {
			in.refs.set(n, unwatched)
		}
		in.rules = before // so is the unmute
		done(nil, err)
		return
	}
	done(&ack, nil)
}

// redefine asks for the definition of n with its points.
func (in *inbound) redefine(ack *stream.Ack, n uint32) {
	in.refs.set(n, nil)
	if !slices.Contains(ack.Redefine, n) {
		ack.Redefine = append(ack.Redefine, n)
	}
}

// unmute takes mutes back that other rules may see differently.
func (in *inbound) unmute(ack *stream.Ack) {
	now := in.j.inForce.Load()
	before := in.rules
	if now == before {
		return
	}
	in.rules = now
	if before != nil && before.generation == now.generation {
		return // they say more of what was not known, and so not muted
	}
	if before != nil { // without rules nothing was muted
		metrics, all := filter.Changed(before.index, now.index)
		if before.anew != now.anew {
			metrics, all = nil, true
		}
		if len(metrics) > 0 || all {
			ack.Unmute = &stream.Unmute{Generation: uint64(now.generation), Metrics: metrics, All: all}
		}
	}
	// What was decided by the rules before, and not told yet, is decided anew: the mute
	// must not overtake this unmute.
	in.refs.change(unwatched, outdated)
}

// Close ends the stream.
func (in *inbound) Close() {}
