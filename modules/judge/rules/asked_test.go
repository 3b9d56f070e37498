package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
)

// others is an hbs of others: it has the methods that are set, and says what they return.
type others struct {
	mu      sync.Mutex
	methods map[string]func(arg any) (any, error)
	calls   []string        // method, how many keys or which endpoint, and the deadline
	takes   time.Duration   // how long a call takes
	began   time.Time       // of the bubble
	keys    map[string]bool // that were ever asked for
}

func (o *others) Addr() string { return "others" }
func (o *others) Close()       {}

func (o *others) Call(ctx context.Context, method string, arg, reply any) error {
	o.mu.Lock()
	takes := o.takes
	o.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	o.mu.Lock()
	fn := o.methods[method]
	if fn == nil {
		o.mu.Unlock()
		return rpc.ServerError("rpc: can't find method " + method)
	}
	what := ""
	switch a := arg.(type) {
	case map[string]int:
		what = fmt.Sprint(len(a))
		for k := range a {
			o.keys[k] = true
		}
	case map[string]string:
		what = a["endpoint"]
		o.keys[what] = true
	}
	at, _ := ctx.Deadline()
	o.calls = append(o.calls, fmt.Sprintf("%v %s(%s) within %v", time.Since(o.began).Round(time.Second), method, what, time.Until(at).Round(time.Second)))
	o.mu.Unlock()
	r, err := fn(arg)
	if err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, reply)
}

// set changes what the hbs says of a method.
func (o *others) set(method string, fn func(arg any) (any, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.methods[method] = fn
}

// heard returns the calls since the last time.
func (o *others) heard() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	calls := o.calls
	o.calls = nil
	return calls
}

func idle(id int) model.Strategy {
	return model.Strategy{Id: id, Metric: "cpu.idle", Func: "all(#3)", Operator: "<", RightValue: float64(id), Tpl: &model.Template{Id: 7, ActionId: 9}}
}

// byKeys answers HbsNew.GetFilteredStrategies: strategy 1 for keys of cpu.idle that are on.
func byKeys(on ...string) func(any) (any, error) {
	return func(arg any) (any, error) {
		found := map[string][]model.Strategy{}
		for k := range arg.(map[string]int) {
			if slices.Contains(on, k) {
				found[k] = []model.Strategy{idle(1)}
			}
		}
		return map[string]any{"hostStrategies": found}, nil
	}
}

func fails(any) (any, error) { return nil, rpc.ServerError("database is away") }

// asking runs a follower of o in a bubble. seen are the keys of series that are kept.
type asking struct {
	*Follower
	books []By
	seen  []string
}

func ask(t *testing.T, o *others, seen ...string) *asking {
	a := &asking{seen: seen}
	o.began, o.keys = time.Now(), map[string]bool{}
	if o.methods == nil {
		o.methods = map[string]func(any) (any, error){}
	}
	a.Follower = New(Options{
		Judge: "judge-00", Interval: time.Minute, CallTimeout: 300 * time.Second, Log: slog.New(slog.DiscardHandler),
		Changed: func(_ *rulebook.Book, by By) { a.books = append(a.books, by) },
		Seen: func(yield func(endpoint, metric string)) {
			for _, k := range a.seen {
				endpoint, metric, _ := strings.Cut(k, "/")
				yield(endpoint, metric)
			}
		},
	})
	a.servers = []*server{{caller: o}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return a
}

// hosts returns the hosts that have rules.
func (a *asking) hosts() string {
	b := a.Book()
	if b == nil {
		return "no book"
	}
	return strings.Join(slices.Sorted(maps.Keys(b.Hosts)), " ")
}

func (a *asking) want(t *testing.T, what, hosts string) {
	t.Helper()
	synctest.Wait()
	if got := a.hosts(); got != hosts {
		_, err := a.Heard()
		t.Errorf("%s: rules of %q, want %q (%v)", what, got, hosts, err)
	}
}

// pass lets time go by.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// The classic road: all keys each interval, new ones at once, what is said of all replaces
// and what is said of new ones is merged.
func TestHbsThatHasOnlyFilteredStrategies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &others{}
		ask := ask
		o.methods = map[string]func(any) (any, error){"HbsNew.GetFilteredStrategies": byKeys("h1/cpu.idle", "h2/cpu.idle")}
		a := ask(t, o, "h1/cpu.idle")
		a.want(t, "what is kept is asked for first", "h1")
		if got := fmt.Sprint(o.heard()); got != "[0s HbsNew.GetFilteredStrategies(1) within 5m0s]" {
			t.Errorf("calls %s", got)
		}
		pass(10 * time.Second)
		if a.Known("h2", "cpu.idle") || a.Known("h3", "cpu.idle") || !a.Known("h1", "cpu.idle") {
			t.Error("what was not asked for yet is known, or the other way round")
		}
		pass(time.Second)
		a.want(t, "new keys are asked for at once", "h1 h2")
		if got := fmt.Sprint(o.heard()); got != "[10s HbsNew.GetFilteredStrategies(2) within 5s]" {
			t.Errorf("calls %s", got)
		}
		if !a.Known("h2", "cpu.idle") || !a.Known("h3", "cpu.idle") {
			t.Error("what hbs has answered for is not known")
		}
		if by := a.books[len(a.books)-1]; !by.Asked || !by.Grown {
			t.Errorf("the merged book came %+v", by)
		}
		if heard, _ := a.Heard(); heard != o.began {
			t.Errorf("an answer for new keys confirms the others: heard after %v", heard.Sub(o.began))
		}
		o.set("HbsNew.GetFilteredStrategies", byKeys("h1/cpu.idle", "h3/cpu.idle"))
		pass(50 * time.Second)
		a.want(t, "a rule that is gone is noticed, and one that is new", "h1 h3")
		if got := fmt.Sprint(o.heard()); got != "[1m0s HbsNew.GetFilteredStrategies(3) within 5m0s]" {
			t.Errorf("calls %s", got)
		}
		if by := a.books[len(a.books)-1]; !by.Asked || by.Grown {
			t.Errorf("the book of all keys came %+v", by)
		}
	})
}

// An answer for all keys that has nothing is believed when it is the same a minute later,
// an error never; what few keys come and go is seen at once.
func TestAnEmptyAnswerForAllKeysIsNotBelievedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &others{}
		o.methods = map[string]func(any) (any, error){"HbsNew.GetFilteredStrategies": byKeys("h1/cpu.idle")}
		a := ask(t, o, "h1/cpu.idle")
		o.set("HbsNew.GetFilteredStrategies", fails)
		pass(10 * time.Minute)
		a.want(t, "after errors", "h1")
		o.set("HbsNew.GetFilteredStrategies", byKeys())
		pass(50 * time.Second)
		a.want(t, "at the first look", "h1")
		if _, err := a.Heard(); err == nil {
			t.Error("nobody hears that the answer is doubted")
		}
		o.set("HbsNew.GetFilteredStrategies", byKeys("h1/cpu.idle"))
		pass(70 * time.Second)
		o.set("HbsNew.GetFilteredStrategies", byKeys())
		pass(100 * time.Second) // at most 60 s later the question, and half a minute of doubt
		a.want(t, "at the first look of another time", "h1")
		pass(90 * time.Second)
		a.want(t, "at the second look", "")
	})
}

// So is one that lost more than half of many.
func TestAnAnswerThatLostMostIsNotBelievedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []string
		for i := range 200 {
			all = append(all, fmt.Sprintf("h%03d/cpu.idle", i))
		}
		o := &others{methods: map[string]func(any) (any, error){"HbsNew.GetFilteredStrategies": byKeys(all...)}}
		a := ask(t, o, all...)
		o.set("HbsNew.GetFilteredStrategies", byKeys(all[:99]...))
		pass(90 * time.Second)
		if n := len(a.Book().Hosts); n != 200 {
			t.Errorf("at the first look rules of %d hosts, want 200", n)
		}
		pass(60 * time.Second)
		if n := len(a.Book().Hosts); n != 99 {
			t.Errorf("at the second look rules of %d hosts, want 99", n)
		}
	})
}

// An answer for new keys settles nothing when it fails, and when none of them has rules:
// their points wait for the next question.
func TestAnEmptyAnswerForNewKeysSettlesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &others{methods: map[string]func(any) (any, error){"HbsNew.GetFilteredStrategies": byKeys("h1/cpu.idle")}}
		a := ask(t, o, "h1/cpu.idle")
		o.set("HbsNew.GetFilteredStrategies", fails)
		a.Known("h2", "cpu.idle")
		pass(10 * time.Second)
		if a.Known("h2", "cpu.idle") {
			t.Error("an error was taken for an answer")
		}
		if n := len(o.heard()); n < 3 || n > 6 {
			t.Errorf("asked %d times within 10 s, want a few, further and further apart", n)
		}
		o.set("HbsNew.GetFilteredStrategies", byKeys()) // as just started
		pass(8 * time.Second)
		if a.Known("h2", "cpu.idle") {
			t.Error("an empty answer was taken for none")
		}
		o.set("HbsNew.GetFilteredStrategies", byKeys("h1/cpu.idle", "h2/cpu.idle"))
		pass(50 * time.Second)
		a.want(t, "after the next question for all", "h1 h2")
		if !a.Known("h2", "cpu.idle") {
			t.Error("h2 is not known")
		}
	})
}

// A question takes its time: nobody who looks at a point waits for it.
func TestNobodyWaitsForAnHbs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &others{methods: map[string]func(any) (any, error){"HbsNew.GetFilteredStrategies": byKeys("h1/cpu.idle")}}
		a := ask(t, o, "h1/cpu.idle")
		o.mu.Lock()
		o.takes = time.Hour
		o.mu.Unlock()
		began := time.Now()
		for i := range 1000 {
			if a.Known(fmt.Sprint("new", i), "cpu.idle") {
				t.Fatal("known without an answer")
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("1000 points waited %v", took)
		}
		pass(20 * time.Second)
		o.mu.Lock()
		o.takes = 0
		o.mu.Unlock()
		pass(2 * time.Minute)
		if !a.Known("new7", "cpu.idle") {
			t.Error("new7 is not known once hbs answers")
		}
	})
}

// Without that method stock's list is asked for; a fork's hbs, whose list is always empty,
// is asked for each endpoint that was seen, and remembers the answers.
func TestRoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &others{methods: map[string]func(any) (any, error){
			"Hbs.GetStrategies": func(any) (any, error) {
				return model.StrategiesResponse{HostStrategies: []*model.HostStrategy{{Hostname: "h9", Strategies: []model.Strategy{idle(1)}}}}, nil
			},
			"Hbs.GetExpressions": func(any) (any, error) { return model.ExpressionResponse{}, nil },
		}}
		a := ask(t, o, "h1/cpu.idle")
		a.want(t, "stock's list", "h9")
		if !a.Known("new", "cpu.idle") {
			t.Error("with stock's list something is unknown")
		}
		o.heard()
		// It becomes a fork's.
		on := []string{"h1", "h2"}
		o.set("Hbs.GetStrategies", func(any) (any, error) { return model.StrategiesResponse{HostStrategies: []*model.HostStrategy{}}, nil })
		o.set("Hbs.GetOneEndStrategies", func(arg any) (any, error) {
			if slices.Contains(on, arg.(map[string]string)["endpoint"]) {
				return map[string]any{"strategies": []model.Strategy{idle(1)}}, nil
			}
			return map[string]any{"strategies": nil}, nil
		})
		pass(time.Minute)
		a.want(t, "of the endpoint that is kept", "h1")
		if by := a.books[len(a.books)-1]; !by.Asked || by.Grown {
			t.Errorf("the book came %+v", by)
		}
		o.heard()
		if a.Known("h2", "a") || a.Known("h2", "b") || a.Known("h3", "a") {
			t.Error("endpoints are known that were not asked for")
		}
		pass(time.Second)
		a.want(t, "of endpoints that were seen", "h1 h2")
		if got := o.heard(); len(got) != 2 || !strings.Contains(got[0], "Hbs.GetOneEndStrategies") || !strings.Contains(got[0], "within 5s") {
			t.Errorf("calls %s, want one for each endpoint", got)
		}
		pass(58 * time.Second)
		if got := o.heard(); len(got) != 0 {
			t.Errorf("within a minute asked again: %s", got)
		}
		// An answer is remembered, an error is not: what was said stays.
		o.set("Hbs.GetOneEndStrategies", func(arg any) (any, error) {
			if arg.(map[string]string)["endpoint"] == "h2" {
				return nil, errors.New("nil pointer")
			}
			return map[string]any{"strategies": nil}, nil
		})
		pass(65 * time.Second)
		a.want(t, "h1 is said to have none, h2 says nothing", "h1 h2")
	})
}

// Keys of series that are gone are forgotten after a day, the others are not, and then
// everybody decides anew.
func TestKeysOfTheDeadAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &others{methods: map[string]func(any) (any, error){"HbsNew.GetFilteredStrategies": byKeys("h1/cpu.idle")}}
		a := ask(t, o, "h1/cpu.idle")
		for i := range 1000 {
			a.Known(fmt.Sprint("dead", i), "cpu.idle")
		}
		pass(2 * time.Minute)
		if keys, unknown := a.Asked(); keys != 1001 || unknown != 0 {
			t.Errorf("%d keys, %d of them unknown, want 1001 and 0", keys, unknown)
		}
		pass(24 * time.Hour)
		if keys, _ := a.Asked(); keys != 1 {
			t.Errorf("%d keys after a day, want 1", keys)
		}
		if by := a.books[len(a.books)-1]; !by.Anew {
			t.Error("nobody heard that what was muted is to be decided anew")
		}
		if a.Known("dead7", "cpu.idle") {
			t.Error("what was forgotten is known")
		}
		a.want(t, "what is kept", "h1")
	})
}

// An hbs that becomes ours brings the whole book: nothing is unknown any more.
func TestAnHbsThatBecomesOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &others{methods: map[string]func(any) (any, error){"HbsNew.GetFilteredStrategies": byKeys("h1/cpu.idle")}}
		a := ask(t, o, "h1/cpu.idle")
		a.Known("h2", "cpu.idle")
		o.set("HbsNew.GetFilteredStrategies", nil)
		full := book(5, "h1", "h2", "h3")
		o.set(rulebook.Method, func(any) (any, error) {
			time.Sleep(wait)
			return rulebook.Reply{Kind: rulebook.Full, Version: full.Version().String(), Body: full.Encode()}, nil
		})
		pass(2 * time.Minute)
		a.want(t, "the book", "h1 h2 h3")
		if !a.Known("new", "x") {
			t.Error("with a book something is unknown")
		}
		if keys, _ := a.Asked(); keys != 0 {
			t.Errorf("%d keys are remembered", keys)
		}
		if by := a.books[len(a.books)-1]; by.Asked {
			t.Error("the book is said to be of keys")
		}
	})
}

// Ours is asked for the book, whatever else it has.
func TestOurHbsIsAskedForTheBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := book(5, "h1", "h2")
		o := &others{methods: map[string]func(any) (any, error){
			"HbsNew.GetFilteredStrategies": byKeys("h1/cpu.idle"), "Hbs.GetOneEndStrategies": fails, "Hbs.GetStrategies": fails,
			rulebook.Method: func(any) (any, error) {
				time.Sleep(wait)
				return rulebook.Reply{Kind: rulebook.Full, Version: full.Version().String(), Body: full.Encode()}, nil
			},
		}}
		a := ask(t, o, "h1/cpu.idle")
		pass(10 * time.Minute)
		a.want(t, "the book", "h1 h2")
		for _, call := range o.heard() {
			if !strings.Contains(call, rulebook.Method) {
				t.Errorf("it is asked by %s", call)
			}
		}
	})
}

// What an hbs says of a key that is of another metric, or of a key that nobody asked for,
// is left out; names may hold slashes.
func TestAnswersThatWereNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other, slashes := idle(2), idle(3)
		other.Metric, slashes.Metric = "mem.free", "a/b"
		o := &others{methods: map[string]func(any) (any, error){"HbsNew.GetFilteredStrategies": func(any) (any, error) {
			return map[string]any{"hostStrategies": map[string][]model.Strategy{
				"h1/cpu.idle": {idle(1), other}, "h7/cpu.idle": {idle(1)}, "h/2/a/b": {slashes}, "": {idle(1)}, "/cpu.idle": {idle(1)},
			}}, nil
		}}}
		a := ask(t, o, "h1/cpu.idle", "h/2/a/b", "/cpu.idle")
		a.want(t, "of what was asked for", "h/2 h1")
		if of := a.Book().Of("h1"); len(of) != 1 || of[0].Id != 1 {
			t.Errorf("h1 has %+v", of)
		}
	})
}
