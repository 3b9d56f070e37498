package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/modules/judge/core"
)

// entry is a series with what its points are written down with.
type entry struct {
	*core.Series
	typ string
}

// sample is a point to look at. now is the clock of its minInterval.
type sample struct {
	e   *entry
	p   expr.Point
	now int64
}

// job is work for the one goroutine that judges and writes the journal: points, or
// events that Redis has.
type job struct {
	points []sample
	pushed []uint64
	done   chan<- struct{} // closed once the journal has it; nil: nobody waits
}

// told is an event on its way out. It is not changed once it is made.
type told struct {
	Seq    uint64       `json:"seq"`
	At     int64        `json:"at"`
	Type   string       `json:"type"` // of the series, as pushed
	Event  *model.Event `json:"event"`
	Pushed bool         `json:"pushed,omitempty"`
}

func (t *told) key() string { return t.Event.Id + "|" + strconv.Itoa(t.Event.ActionId()) }

// record is one record of the journal. Points and the events that they led to are in
// one, so that a crash takes both or none.
type record struct {
	Points []*model.JudgeItem `json:"points,omitempty"`
	Told   []*told            `json:"told,omitempty"`
	Pushed []uint64           `json:"pushed,omitempty"`
}

const (
	rewriteEvery = 10 * time.Minute
	rewriteSize  = 256 << 20
	tick         = 10 * time.Second
	seenTTL      = 24 * time.Hour
)

// resolve finds or makes a series.
func (j *Judge) resolve(endpoint, metric, typ string, tags map[string]string) *entry {
	pk := model.PK(endpoint, metric, model.SortedTags(tags))
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.series[pk]
	if e == nil {
		e = &entry{Series: core.NewSeries(endpoint, metric, typ, tags), typ: typ}
		j.series[pk] = e
	}
	return e
}

// work does jobs until ctx ends, then those that are left.
func (j *Judge) work(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	rewritten := time.Now()
	for {
		select {
		case b := <-j.jobs:
			j.do(b)
		case <-ticker.C:
			j.close()
			if time.Since(rewritten) >= rewriteEvery || j.journal.Size() > rewriteSize {
				rewritten = time.Now()
				if err := j.journal.Rewrite(j.snapshot); err != nil {
					j.log.Error("the journal can not be rewritten and grows on", "err", err)
				}
			}
		case <-ctx.Done():
			for {
				select {
				case b := <-j.jobs:
					j.do(b)
				default:
					return nil
				}
			}
		}
	}
}

func (j *Judge) do(b job) {
	var r record
	r.Pushed = b.pushed
	j.mu.Lock()
	ix := j.index.Load()
	var room [expr.MaxWindow + 1]float64
	var events []*model.Event
	for _, s := range b.points {
		if ix != nil && !s.e.Watch(ix, j.set) {
			continue
		}
		outcome := s.e.Insert(s.p, j.set)
		if outcome == core.Skip {
			continue
		}
		r.Points = append(r.Points, &model.JudgeItem{
			Endpoint: s.e.Endpoint, Metric: s.e.Metric, Tags: s.e.Tags, JudgeType: s.e.typ, Timestamp: s.p.Ts, Value: s.p.Value,
		})
		if ix != nil && outcome == core.Judge {
			events = s.e.Judge(events[:0], s.now, j.set, room[:0])
			r.Told = j.tell(r.Told, s.e, events)
		}
	}
	j.mu.Unlock()
	j.commit(&r)
	if b.done != nil {
		close(b.done)
	}
}

// close ends the problems of rules that are gone.
func (j *Judge) close() {
	ix := j.index.Load()
	if ix == nil {
		return
	}
	heard, _ := j.follow.Heard()
	now := j.now().Unix()
	var r record
	j.mu.Lock()
	for _, e := range j.series {
		if events := e.Close(nil, ix, j.set, now, heard.Unix()); len(events) > 0 {
			r.Told = j.tell(r.Told, e, events)
		}
	}
	j.mu.Unlock()
	j.commit(&r)
}

// tell numbers events. The caller holds mu.
func (j *Judge) tell(dst []*told, e *entry, events []*model.Event) []*told {
	for _, ev := range events {
		j.seq++
		t := &told{Seq: j.seq, At: j.now().Unix(), Type: e.typ, Event: ev, Pushed: j.redis == nil}
		if ev.Status == model.StatusProblem {
			j.problems.Add(1)
		} else {
			j.oks.Add(1)
		}
		j.last[t.key()] = t
		dst = append(dst, t)
	}
	return dst
}

// commit writes the record, and only then lets its events out. A disk that takes
// nothing does not keep people from being told: events go out, and /health says it.
func (j *Judge) commit(r *record) {
	if len(r.Points)+len(r.Told)+len(r.Pushed) == 0 {
		return
	}
	raw, err := json.Marshal(r)
	if err == nil {
		err = j.journal.Append(raw)
	}
	if err != nil {
		j.damage.Add(1)
		if j.diskFull == nil {
			j.log.Error("the journal takes nothing: a restart would forget what comes now", "err", err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.diskFull = err
	if j.redis == nil {
		j.gone.Add(len(r.Told))
		return
	}
	if len(r.Told) > 0 {
		j.outbox = append(j.outbox, r.Told...)
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
}

// replay takes a record of the last run.
func (j *Judge) replay(raw []byte) error {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		j.log.Warn("a record of the journal can not be read and is skipped", "err", err)
		return nil
	}
	wide := core.Settings{Remain: expr.MaxWindow + 1} // the rules are not there yet
	for _, it := range r.Points {
		if it != nil {
			e := j.resolve(it.Endpoint, it.Metric, it.JudgeType, it.Tags)
			e.Insert(expr.Point{Ts: it.Timestamp, Value: it.Value}, wide)
		}
	}
	for _, t := range r.Told {
		if t == nil || t.Event == nil || t.Event.Strategy == nil && t.Event.Expression == nil {
			continue
		}
		j.resolve(t.Event.Endpoint, t.Event.Metric(), t.Type, t.Event.PushedTags).Restore(t.Event)
		j.last[t.key()] = t
		j.seq = max(j.seq, t.Seq)
		if !t.Pushed && j.redis != nil {
			j.outbox = append(j.outbox, t)
		}
	}
	for _, seq := range r.Pushed {
		for i, t := range j.outbox { // pushed in order: it is at or near the front
			if t.Seq == seq {
				j.outbox = append(j.outbox[:i], j.outbox[i+1:]...)
				break
			}
		}
	}
	return nil
}

// snapshot emits what a restart needs.
func (j *Judge) snapshot(emit func([]byte) error) error {
	var all []record
	j.mu.Lock()
	waiting := map[uint64]bool{}
	for _, t := range j.outbox {
		waiting[t.Seq] = true
	}
	for _, e := range j.series {
		var r record
		for _, p := range e.History() {
			r.Points = append(r.Points, &model.JudgeItem{
				Endpoint: e.Endpoint, Metric: e.Metric, Tags: e.Tags, JudgeType: e.typ, Timestamp: p.Ts, Value: p.Value,
			})
		}
		if len(r.Points) > 0 {
			all = append(all, r)
		}
	}
	for _, t := range j.last {
		if !waiting[t.Seq] {
			pushed := *t
			pushed.Pushed = true
			all = append(all, record{Told: []*told{&pushed}})
		}
	}
	all = append(all, record{Told: append([]*told(nil), j.outbox...)})
	j.mu.Unlock()
	for i := range all {
		raw, err := json.Marshal(&all[i])
		if err != nil {
			return err
		}
		if err := emit(raw); err != nil {
			return err
		}
	}
	return nil
}

// push brings events to Redis in order. While Redis is away they wait.
func (j *Judge) push(ctx context.Context) error {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	away := true // at start, too, the memory of Redis is looked at
	for {
		if away {
			if _, fresh, err := j.redis.Epoch(ctx); err == nil {
				j.again(fresh)
				away = false
				j.log.Info("redis takes events", "new_memory", fresh)
			}
		}
		for !away {
			j.mu.Lock()
			var t *told
			if len(j.outbox) > 0 {
				t = j.outbox[0]
			}
			j.mu.Unlock()
			if t == nil {
				break
			}
			if err := j.pushOne(ctx, t); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				away = true
				j.log.Warn("redis takes no events, they wait in the journal", "err", err)
				break
			}
			j.mu.Lock()
			j.outbox = j.outbox[1:]
			j.mu.Unlock()
			select {
			case j.jobs <- job{pushed: []uint64{t.Seq}}:
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case <-j.wake:
		case <-retry.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (j *Judge) pushOne(ctx context.Context, t *told) error {
	raw, err := json.Marshal(t.Event)
	if err != nil {
		j.log.Error("an event can not be written and is dropped", "id", t.Event.Id, "err", err)
		return nil
	}
	list := fmt.Sprintf(j.cfg.Alarm.QueuePattern, t.Event.Priority())
	seen := redisx.EventSeen(list, t.Event.Id, t.Event.Status, t.Event.EventTime, t.Event.CurrentStep, t.Event.ActionId())
	_, err = j.redis.PushOnce(ctx, list, seen, seenTTL, raw)
	return err
}

// again puts events before the others that Redis may have lost: those of the last
// minute, and after a loss of its whole memory each open problem and what is younger
// than an hour. Redis drops those that it has.
func (j *Judge) again(fresh bool) {
	now := j.now().Unix()
	j.mu.Lock()
	defer j.mu.Unlock()
	waiting := map[uint64]bool{}
	for _, t := range j.outbox {
		waiting[t.Seq] = true
	}
	var first []*told
	for _, t := range j.last {
		lost := now-t.At <= 60 || fresh && (t.Event.Status == model.StatusProblem || now-t.At <= 3600)
		if lost && !waiting[t.Seq] {
			first = append(first, t)
		}
	}
	j.outbox = append(first, j.outbox...)
}
