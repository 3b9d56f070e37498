package rules

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/model"
	"falcon/common/rulebook"
	"falcon/common/run"
)

// asked is what an hbs said that has no whole set of rules to give and is asked for keys:
// each endpoint and metric that was seen (byKey), or each endpoint (byHost). What it
// said becomes a book like any other; a key that it was not asked for yet is unknown, and
// points of such series wait.
//
// A few new keys are asked for at once, and what is said of them is merged. All keys are
// asked for each interval, and what is said then replaces what was said before: so a
// deleted rule is noticed. Neither happens on the way of a point: Known looks into a map.
type asked struct {
	on   atomic.Bool   // keys are asked for
	wake chan struct{} // there are unknown keys

	mu      sync.Mutex
	road    road
	server  *server              // that answered last
	known   map[string]bool      // by key: whether hbs has answered for it
	unknown []string             // those that are to be asked for at once
	left    time.Time            // when keys of silent series were last forgotten
	empty   map[string]time.Time // byHost: since when an endpoint that had strategies is said to have none

	of          map[string][]rulebook.Key // of keys that have strategies
	strategies  map[rulebook.Key]*model.Strategy
	expressions []*model.Expression
}

const (
	// someTimeout bounds the question for new keys, of which there are someKeys at most.
	someTimeout = 5 * time.Second
	someKeys    = 5000
	// gather is for how long new keys are gathered before they are asked for.
	gather = 200 * time.Millisecond
	// manyKeys is how many keys are in one question for all.
	manyKeys = 200_000
	// hostsAtOnce is how many endpoints are asked for at the same time.
	hostsAtOnce = 8
	// maxKeys bounds the keys; series beyond it are taken for unwatched.
	maxKeys = 3_000_000
	// forgetKeys is how often the keys of series that are not kept are forgotten. Those
	// that are still there are seen again with their next point.
	forgetKeys = 24 * time.Hour
	// someRetry bounds the pause after a question for new keys had no answer.
	someRetry = 30 * time.Second
)

func (a *asked) start() { a.wake = make(chan struct{}, 1); a.reset(byBook) }

func (a *asked) reset(r road) {
	a.road, a.server, a.known, a.unknown, a.left = r, nil, map[string]bool{}, nil, time.Now()
	a.empty, a.of, a.strategies = map[string]time.Time{}, map[string][]rulebook.Key{}, map[rulebook.Key]*model.Strategy{}
	a.expressions = nil
}

// enter says that keys of the road are asked for from now on.
func (a *asked) enter(r road, s *server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.on.Load() || a.road != r {
		a.reset(r)
	}
	a.server = s
	a.on.Store(true)
}

// leave says that the whole set of rules is known, and whether keys were asked for before.
func (a *asked) leave() bool {
	if !a.on.Load() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on.Store(false)
	a.reset(byBook)
	return true
}

func keyOf(r road, endpoint, metric string) string {
	if r == byHost {
		return endpoint
	}
	return endpoint + "/" + metric
}

// Known says whether the book in force tells which strategies watch series of endpoint and
// metric; when it does not, hbs is asked soon. Who gets true and looks into the book
// after that sees what hbs has said: the book is in force before the key is known.
func (f *Follower) Known(endpoint, metric string) bool {
	a := &f.asked
	if !a.on.Load() {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := keyOf(a.road, endpoint, metric)
	answered, ok := a.known[key]
	switch {
	case answered:
		return true
	case ok:
		return false
	case len(a.known) >= maxKeys:
		return true
	}
	a.known[key] = false
	a.unknown = append(a.unknown, key)
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return false
}

// Has says whether hbs has answered for a series of endpoint and metric, without asking
// for it.
func (f *Follower) Has(endpoint, metric string) bool {
	a := &f.asked
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.on.Load() || a.known[keyOf(a.road, endpoint, metric)]
}

// Asked returns how many keys the hbs is asked for, and for how many of them it has not
// answered yet; 0 of a judge that has the whole set of rules.
func (f *Follower) Asked() (keys, unknown int) {
	a := &f.asked
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, answered := range a.known {
		if !answered {
			unknown++
		}
	}
	return len(a.known), unknown
}

// inForce returns how many keys have strategies, of a road that is asked by key.
func (a *asked) inForce(r road) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.road != r {
		return 0
	}
	return len(a.of)
}

// all returns the keys that are to be asked for: those that were seen, and those of
// series that are kept. anew says that the others were forgotten.
func (f *Follower) all(r road) (keys []string, anew bool) {
	a := &f.asked
	set := map[string]bool{}
	if f.opts.Seen != nil {
		f.opts.Seen(func(endpoint, metric string) { set[keyOf(r, endpoint, metric)] = true })
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.road == r {
		if time.Since(a.left) >= forgetKeys {
			a.left, anew = time.Now(), true
			maps.DeleteFunc(a.known, func(key string, answered bool) bool { return answered && !set[key] })
		}
		for key := range a.known {
			set[key] = true
		}
	}
	return slices.Collect(maps.Keys(set)), anew
}

// askKeys asks an hbs for all keys and replaces what it said before.
func (f *Follower) askKeys(ctx context.Context, s *server) error {
	ctx, cancel := context.WithTimeout(ctx, f.opts.CallTimeout)
	defer cancel()
	a := &f.asked
	keys, anew := f.all(s.road)
	said, silent, err := askFor(ctx, s, keys)
	if err != nil {
		return err
	}
	var expressions model.ExpressionResponse
	if err := s.Call(ctx, "Hbs.GetExpressions", &model.NullRpcRequest{}, &expressions); err != nil && !lacks(err) {
		return err
	}
	if len(keys) > 0 {
		if err := f.believe(s.road, len(said), len(expressions.Expressions)); err != nil {
			return err
		}
	}
	a.enter(s.road, s)
	b := a.replace(keys, said, silent, expressions.Expressions)
	f.apply(b, s.Addr(), By{Asked: true, Anew: anew})
	f.answered(keys)
	return nil
}

// answered marks keys as known. The book that says what watches them is in force.
func (f *Follower) answered(keys []string) {
	a := &f.asked
	a.mu.Lock()
	for _, key := range keys {
		a.known[key] = true
	}
	a.mu.Unlock()
	if f.opts.Answered != nil {
		f.opts.Answered()
	}
}

// replace takes what was said of all keys. silent are those that had no answer: what was
// said before stays.
func (a *asked) replace(keys []string, said map[string][]model.Strategy, silent map[string]bool, expressions []*model.Expression) *rulebook.Book {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.strategies
	for _, key := range keys {
		if silent[key] {
			continue
		}
		if a.road == byHost && len(a.of[key]) > 0 && len(said[key]) == 0 {
			// It may be in maintenance, or its hbs could not read: a second look tells.
			since, ok := a.empty[key]
			if !ok {
				a.empty[key] = time.Now()
			}
			if !ok || time.Since(since) < confirm {
				continue
			}
		}
		delete(a.of, key)
		delete(a.empty, key)
	}
	a.strategies = map[rulebook.Key]*model.Strategy{}
	a.take(said)
	for _, of := range a.of { // of keys that nothing was said of now
		for _, k := range of {
			if a.strategies[k] == nil {
				a.strategies[k] = before[k]
			}
		}
	}
	a.expressions = expressions
	return a.book()
}

// merge adds what was said of new keys.
func (a *asked) merge(said map[string][]model.Strategy) *rulebook.Book {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.take(said)
	return a.book()
}

// take notes the strategies of keys. A strategy that reaches many is kept once, as it was
// said last.
func (a *asked) take(said map[string][]model.Strategy) {
	for key, all := range said {
		if len(all) == 0 {
			continue
		}
		var of []rulebook.Key
		for i := range all {
			s := &all[i]
			whole(s)
			k := rulebook.Key{Strategy: s.Id, Leaf: s.Tpl.Id}
			if known := a.strategies[k]; known == nil || !same(known, s) {
				a.strategies[k] = s
			}
			of = append(of, k)
		}
		a.of[key] = of
	}
}

func same(a, b *model.Strategy) bool {
	x, y := *a, *b
	if !maps.Equal(x.Tags, y.Tags) || *x.Tpl != *y.Tpl {
		return false
	}
	return x.Metric == y.Metric && x.Func == y.Func && x.Operator == y.Operator && x.RightValue == y.RightValue &&
		x.MaxStep == y.MaxStep && x.Priority == y.Priority && x.Note == y.Note && x.ValueType == y.ValueType &&
		x.UnionStrategyId == y.UnionStrategyId && x.MultiSerial == y.MultiSerial && x.MultiCount == y.MultiCount && x.RightString == y.RightString
}

// book makes a book of what was said; a.mu is held.
func (a *asked) book() *rulebook.Book {
	hosts := map[string][]*model.Strategy{}
	for key, of := range a.of {
		for _, k := range of {
			s := a.strategies[k]
			host, ok := key, true
			if a.road == byKey { // either name may hold slashes
				host, ok = strings.CutSuffix(key, "/"+s.Metric)
			}
			if ok { // else it is of another metric than was asked for
				hosts[host] = append(hosts[host], s)
			}
		}
	}
	b := rulebook.New()
	for host, all := range hosts {
		if host != "" {
			b.Add(host, all)
		}
	}
	for _, e := range a.expressions {
		if e != nil {
			b.Expressions = append(b.Expressions, e)
		}
	}
	slices.SortFunc(b.Expressions, func(x, y *model.Expression) int { return x.Id - y.Id })
	return b
}

// some takes unknown keys that are to be asked for, and says whom to ask.
func (a *asked) some() ([]string, *server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.on.Load() || a.server == nil {
		return nil, nil
	}
	n := min(someKeys, len(a.unknown))
	keys := a.unknown[:n:n]
	a.unknown = a.unknown[n:]
	keys = slices.DeleteFunc(keys, func(key string) bool { return a.known[key] })
	return keys, a.server
}

// again puts keys back that had no answer.
func (a *asked) again(keys []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.on.Load() {
		a.unknown = append(keys, a.unknown...)
	}
}

// askUnknown asks for new keys soon after they were seen, until ctx ends. An answer in
// which none of them has strategies settles nothing: an hbs that has just started says
// so, too. They wait for the next question for all keys.
func (f *Follower) askUnknown(ctx context.Context) error {
	pause := pauseMin
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.asked.wake:
		}
		run.Sleep(ctx, gather)
		for ctx.Err() == nil {
			keys, s := f.asked.some()
			if len(keys) == 0 {
				break
			}
			if err := f.askSome(ctx, s, keys); err != nil {
				f.opts.Log.Warn("hbs does not say which rules watch new series: their points wait", "hbs", s.Addr(), "n", len(keys), "retry_in", pause, "err", err)
				f.asked.again(keys)
				run.Sleep(ctx, pause)
				pause = min(2*pause, someRetry)
				continue
			}
			pause = pauseMin
		}
	}
}

func (f *Follower) askSome(ctx context.Context, s *server, keys []string) error {
	ctx, cancel := context.WithTimeout(ctx, someTimeout)
	defer cancel()
	said, silent, err := askFor(ctx, s, keys)
	if err != nil {
		return err
	}
	if len(said) == 0 {
		return nil
	}
	if len(silent) > 0 {
		keys = slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return silent[key] })
		f.asked.again(slices.Collect(maps.Keys(silent)))
	}
	f.apply(f.asked.merge(said), s.Addr(), By{Asked: true, Grown: true})
	f.answered(keys)
	return nil
}

// askFor asks an hbs for keys, by the road that it has. said has those that have
// strategies, silent those that had no answer.
func askFor(ctx context.Context, s *server, keys []string) (said map[string][]model.Strategy, silent map[string]bool, err error) {
	if s.road == byHost {
		return askHosts(ctx, s, keys)
	}
	said = map[string][]model.Strategy{}
	for first := true; first || len(keys) > 0; first = false {
		n := min(manyKeys, len(keys))
		some := make(map[string]int, n)
		for _, key := range keys[:n] {
			some[key] = 1
		}
		keys = keys[n:]
		var reply struct {
			HostStrategies map[string][]model.Strategy `json:"hostStrategies"`
		}
		if err := s.Call(ctx, "HbsNew.GetFilteredStrategies", some, &reply); err != nil {
			return nil, nil, err
		}
		for key, all := range reply.HostStrategies {
			if _, ok := some[key]; ok && len(all) > 0 {
				said[key] = all
			}
		}
	}
	return said, nil, nil
}

// endReply answers Hbs.GetOneEndStrategies.
type endReply struct {
	Strategies []model.Strategy `json:"strategies"`
}

func askHost(ctx context.Context, s *server, endpoint string) ([]model.Strategy, error) {
	var reply endReply
	ctx, cancel := context.WithTimeout(ctx, someTimeout)
	defer cancel()
	err := s.Call(ctx, "Hbs.GetOneEndStrategies", map[string]string{"endpoint": endpoint}, &reply)
	return reply.Strategies, err
}

// hasHosts says whether an hbs whose list is empty tells the strategies of an endpoint, as
// the fork's does. One that could and fails says nothing about its list.
func (f *Follower) hasHosts(ctx context.Context, s *server) (bool, error) {
	endpoint := f.opts.Judge
	if keys, _ := f.all(byHost); len(keys) > 0 {
		endpoint = keys[0]
	}
	_, err := askHost(ctx, s, endpoint)
	if lacks(err) {
		return false, nil
	}
	return err == nil, err
}

// askHosts asks for each endpoint by itself. It fails when none had an answer.
func askHosts(ctx context.Context, s *server, endpoints []string) (said map[string][]model.Strategy, silent map[string]bool, err error) {
	said, silent = map[string][]model.Strategy{}, map[string]bool{}
	var mu sync.Mutex
	var errs []error
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(hostsAtOnce, len(endpoints)) {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(endpoints) {
					return
				}
				of, err := askHost(ctx, s, endpoints[i])
				mu.Lock()
				switch {
				case err != nil:
					silent[endpoints[i]] = true
					errs = append(errs[:min(3, len(errs))], err)
				case len(of) > 0:
					said[endpoints[i]] = of
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(endpoints) > 0 && len(silent) == len(endpoints) {
		err = errors.Join(errs...)
	}
	return said, silent, err
}
