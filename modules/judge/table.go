package judge

import (
	"iter"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"falcon/common/model"
	"falcon/modules/judge/core"
	"falcon/modules/judge/filter"
)

// entry is a series in the table. Its shard's lock guards it.
type entry struct {
	core.Series
	shard *shard
	typ   string        // as pushed
	id    uint64        // names it in the journal
	last  chan struct{} // done of the last batch that wrote of it
	turn  uint32        // the turn of the journal that has its definition
	step  atomic.Int32  // seconds; 0 until a stream has said it
	seen  int64         // when a point was last taken, Unix seconds; not the point's time
	// rested is when a problem was last open whose rule was resting, and nobody looked.
	rested int64
	waits  bool // it has points that no rule has looked at; set by wait
	gone   bool // it was forgotten: whoever holds it looks it up again
}

const (
	shards = 64
	// maxUnwatched bounds what a shard remembers of series without a rule; a series
	// beyond it is decided anew for each point.
	maxUnwatched = 4_000_000 / shards
	// forgetAfter is how long a series may be silent (contract alerting 1.13).
	forgetAfter = 7 * 24 * 3600
	// unwatchedFor is how long the decision on a silent series is remembered.
	unwatchedFor = 2 * 3600
)

// table holds the series that rules watch and, for peers that name a series with each
// point, remembers which ones no rule watches.
type table struct {
	shards [shards]shard
	ids    atomic.Uint64
	// waiting counts the series whose points wait for rules.
	waiting atomic.Int64
	// decided counts how often it was looked up whether a rule watches a series.
	decided atomic.Int64

	// unknown says that the rules in force do not tell what watches series of endpoint and
	// metric: hbs has still to be asked. current are those rules, to be loaded after it.
	// nil in tests of the table alone.
	unknown func(endpoint, metric string) bool
	current func() *inForce
}

type shard struct {
	table  *table
	mu     sync.Mutex
	series map[string]*entry // of numbers, by PK
	// texts are those whose values are texts, by PK: a name may have one of each kind.
	texts map[string]*entry
	// unwatched leads from a PK's hash to the decision.
	unwatched map[uint64]decision
}

// decision says that no rule watched a series. Two series of one hash, one of them
// watched, are not mixed up: those that are watched are in the table.
type decision struct {
	generation uint32 // of the index
	seen       uint32 // Unix seconds
}

func newTable() *table {
	t := &table{}
	for i := range t.shards {
		t.shards[i].table, t.shards[i].series, t.shards[i].texts, t.shards[i].unwatched = t, map[string]*entry{}, map[string]*entry{}, map[uint64]decision{}
	}
	return t
}

// inForce is the rules that judge. It is not changed once it is made.
type inForce struct {
	index      *filter.Index
	generation uint32            // counts the books that took something back
	all        uint32            // the generation that concerned every series last
	since      map[string]uint32 // by metric: the one that concerned it last, if later
	at         time.Time         // since when
	asked      bool              // they are of an hbs that is asked for keys
	anew       uint32            // counts how often all decisions were taken back
}

// concerns notes that decisions on series of the metrics, or on all, are to be made again.
func (f *inForce) concerns(metrics []string, all bool) {
	switch {
	case all:
		f.all, f.since = f.generation, nil
	case len(metrics) > 0:
		since := make(map[string]uint32, len(f.since)+len(metrics))
		maps.Copy(since, f.since)
		for _, m := range metrics {
			since[m] = f.generation
		}
		f.since = since
	}
}

// holds says whether a decision on a series of metric holds that was made in a generation.
func (f *inForce) holds(generation uint32, metric string) bool {
	return generation >= max(f.all, f.since[metric])
}

// watched says whether a rule watches a series, or may: it is not known yet.
func (t *table) watched(endpoint, metric string, tags map[string]string, texts bool, rules *inForce) bool {
	t.decided.Add(1)
	if t.unknown != nil {
		if t.unknown(endpoint, metric) {
			return true
		}
		rules = t.current()
	}
	if texts {
		return rules.index.WatchedText(endpoint, metric, tags)
	}
	return rules.index.Watched(endpoint, metric, tags)
}

// names calls yield with the endpoint and metric of each series that is kept.
func (t *table) names(yield func(endpoint, metric string)) {
	var all []*entry
	for i := range t.shards {
		sh := &t.shards[i]
		all = all[:0]
		sh.mu.Lock()
		for e := range sh.all() {
			all = append(all, e)
		}
		sh.mu.Unlock()
		for _, e := range all { // whose names do not change
			yield(e.Endpoint(), e.Metric())
		}
	}
}

// find returns the series, made if need be; nil when no rule watches it. Without rules
// every series is kept: nobody knows yet. tags are as in sorted.
func (t *table) find(endpoint, metric, sorted, typ string, tags map[string]string, rules *inForce) *entry {
	return t.findKind(endpoint, metric, sorted, typ, tags, false, rules)
}

// findKind is find for series of numbers or of texts.
func (t *table) findKind(endpoint, metric, sorted, typ string, tags map[string]string, texts bool, rules *inForce) *entry {
	pk := model.PK(endpoint, metric, sorted)
	sh := &t.shards[xxhash.Sum64String(pk)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.of(texts)[pk]; e != nil {
		e.retype(typ)
		return e
	}
	if rules != nil && !t.watched(endpoint, metric, tags, texts, rules) {
		return nil
	}
	return t.addKind(sh, endpoint, metric, sorted, typ, texts)
}

// add makes a series; the caller holds the shard.
func (t *table) add(sh *shard, endpoint, metric, sorted, typ string) *entry {
	return t.addKind(sh, endpoint, metric, sorted, typ, false)
}

func (t *table) addKind(sh *shard, endpoint, metric, sorted, typ string, texts bool) *entry {
	e := &entry{shard: sh, typ: internType(typ), id: t.ids.Add(1), seen: time.Now().Unix()}
	if texts {
		e.Series = core.NewTextSeries(endpoint, metric, sorted)
	} else {
		e.Series = core.NewSeries(endpoint, metric, sorted, typ)
	}
	sh.of(texts)[e.PK()] = e
	return e
}

// retype follows a series that is pushed with another type than before, as stock's
// judge does: the type of the newest point counts.
func (e *entry) retype(typ string) {
	if e.typ != typ {
		e.typ, e.turn = internType(typ), 0
		e.SetType(typ)
	}
}

// internType returns the constant of a type that is known.
func internType(typ string) string {
	switch typ {
	case model.Gauge:
		return model.Gauge
	case model.Counter:
		return model.Counter
	case model.Derive:
		return model.Derive
	}
	return typ
}

// findStock is find for peers that name the series with each point: it remembers which
// ones no rule watches.
func (t *table) findStock(it *model.JudgeItem, rules *inForce, now int64) *entry {
	return t.findItem(it, false, rules, now)
}

func (t *table) findItem(it *model.JudgeItem, texts bool, rules *inForce, now int64) *entry {
	sorted := model.SortedTags(it.Tags)
	pk := model.PK(it.Endpoint, it.Metric, sorted)
	hash := xxhash.Sum64String(pk)
	sh := &t.shards[hash%shards]
	if texts {
		hash = ^hash // what was decided of numbers of that name says nothing of texts
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.of(texts)[pk]; e != nil {
		return e // whose type the point brings
	}
	if rules == nil {
		return t.addKind(sh, it.Endpoint, it.Metric, sorted, it.JudgeType, texts)
	}
	known, ok := sh.unwatched[hash]
	if (!ok || !rules.holds(known.generation, it.Metric)) && t.watched(it.Endpoint, it.Metric, it.Tags, texts, rules) {
		delete(sh.unwatched, hash)
		return t.addKind(sh, it.Endpoint, it.Metric, sorted, it.JudgeType, texts)
	}
	if ok || len(sh.unwatched) < maxUnwatched {
		sh.unwatched[hash] = decision{rules.generation, uint32(now)}
	}
	return nil
}

// of returns the series of a kind, by PK.
func (sh *shard) of(texts bool) map[string]*entry {
	if texts {
		return sh.texts
	}
	return sh.series
}

// all yields the series of both kinds. The caller holds the lock, and may forget them.
func (sh *shard) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, texts := range []bool{false, true} {
			for _, e := range sh.of(texts) {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// both returns what is kept under a PK: a series of numbers, one of texts, or both.
func (t *table) both(pk string) (all []*entry) {
	for _, texts := range []bool{false, true} {
		if e := t.getKind(pk, texts); e != nil {
			all = append(all, e)
		}
	}
	return all
}

// get returns a series of numbers that is kept, nil when it is not.
func (t *table) get(pk string) *entry { return t.getKind(pk, false) }

func (t *table) getKind(pk string, texts bool) *entry {
	sh := &t.shards[xxhash.Sum64String(pk)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.of(texts)[pk]
}

// wait says whether the points of a series wait for rules; the caller holds its shard.
func (e *entry) wait(waits bool) {
	switch {
	case waits && !e.waits:
		e.shard.table.waiting.Add(1)
	case !waits && e.waits:
		e.shard.table.waiting.Add(-1)
	}
	e.waits = waits
}

// forget drops a series; the caller holds its shard.
func (e *entry) forget() {
	e.wait(false)
	e.gone = true
	delete(e.shard.of(e.IsText()), e.PK())
}

// sizes counts the series that are kept and the decisions that are remembered.
func (t *table) sizes() (series, unwatched int) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		series += len(sh.series) + len(sh.texts)
		unwatched += len(sh.unwatched)
		sh.mu.Unlock()
	}
	return series, unwatched
}

// heard returns when the series was heard of last, or rested: a rule may rest for longer
// than a series may be silent.
func (e *entry) heard() int64 { return max(e.seen, e.rested) }

// expire forgets decisions on series that are silent.
func (t *table) expire(now int64) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for h, d := range sh.unwatched {
			if now-int64(d.seen) > unwatchedFor {
				delete(sh.unwatched, h)
			}
		}
		sh.mu.Unlock()
	}
}
