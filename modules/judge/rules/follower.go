package rules

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/run"
)

// Options say whom to follow.
type Options struct {
	Servers []string // hbs, tried in order
	Judge   string   // this judge, for hbs's log
	// Dir is where the last book is kept; empty: nowhere.
	Dir string
	// Interval is how often a stock hbs is asked.
	Interval    time.Duration
	DialTimeout time.Duration
	CallTimeout time.Duration // of a call that brings rules; a stock hbs may send 150 MB
	TLS         *tls.Config
	Log         *slog.Logger
	// Changed hears of every book that comes into force, also of Load's, and how it was
	// come by; calls do not overlap.
	Changed func(*rulebook.Book, By)
	// Answered hears that hbs was asked for keys that were not known before; may be nil.
	Answered func()
	// Seen calls yield with the endpoint and the metric of each series that is kept; may
	// be nil.
	Seen func(yield func(endpoint, metric string))
}

// By says how a book was come by.
type By struct {
	// Asked says that the hbs was asked for keys: of others it says nothing (Known).
	Asked bool
	// Grown says that the book differs from the one before in what was not known then.
	Grown bool
	// Anew says that what was known of others than the series that are kept is known no
	// more: keys of silent series were forgotten.
	Anew bool
}

const (
	// wait is how long an hbs may keep the question for the next change; where another
	// could be asked it is less, so that one that hangs delays no change for long.
	wait, waitOfMany = 15 * time.Second, 5 * time.Second
	// hangs is how much longer an hbs may take before another is asked.
	hangs = 5 * time.Second
	// behind is for how long an hbs is not believed that has rules which were replaced.
	behind = 5 * time.Second
	// pauseMin and pauseMax bound the pause after no hbs answered.
	pauseMin, pauseMax = time.Second, 10 * time.Second
	// file is the book on disk, in Dir.
	file = "rules.book"
	// confirm is for how long an hbs is not believed that sends no strategies, or lost
	// most of them.
	confirm = time.Minute
)

// A road is how an hbs is asked for rules.
type road int

// The roads, in the order in which they are tried.
const (
	byBook road = iota // ours: HbsNew.Book
	byKey              // HbsNew.GetFilteredStrategies, for what was seen
	byList             // stock's: Hbs.GetStrategies
	byHost             // a fork's, whose GetStrategies is always empty: Hbs.GetOneEndStrategies
)

// A Follower is ready to Run.
type Follower struct {
	opts    Options
	servers []*server

	mu      sync.Mutex
	book    *rulebook.Book // nil until there is one
	version rulebook.Version
	saved   rulebook.Version   // of the book on disk
	by      bool               // it is of an hbs that is asked for keys
	heard   time.Time          // when an hbs last said that the book is right
	problem error              // why none does
	from    string             // the hbs that the book is of
	old     []rulebook.Version // those that were in force before it, the last ones
	doubt   doubt              // touched by Run only

	wait, patience time.Duration // of a question for the book

	applying sync.Mutex // held while a book comes into force
	asked    asked

	// Of ask alone.
	doubtSince time.Time // since when the answers are not believed
	doubted    road
}

// A caller is a connection to an hbs; *rpc.Client is one.
type caller interface {
	Addr() string
	Call(ctx context.Context, method string, arg, reply any) error
	Close()
}

// doubt is of an hbs that has rules which were replaced here.
type doubt struct {
	version rulebook.Version
	since   time.Time
}

type server struct {
	caller
	road road
}

// New returns a follower. It opens nothing.
func New(opts Options) *Follower {
	f := &Follower{opts: opts, wait: wait, patience: opts.CallTimeout}
	if len(opts.Servers) > 1 {
		f.wait, f.patience = waitOfMany, min(hangs, opts.CallTimeout)
	}
	f.asked.start()
	for _, addr := range opts.Servers {
		f.servers = append(f.servers, &server{caller: rpc.NewClient(rpc.ClientOptions{
			Addr: addr, StockCodec: rpc.JSON, Log: opts.Log, DialTimeout: opts.DialTimeout, CallTimeout: -1, MaxConns: 1, TLS: opts.TLS,
		})})
	}
	return f
}

// Book returns the book in force; nil while there is none.
func (f *Follower) Book() *rulebook.Book {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.book
}

// Heard returns when an hbs last confirmed the book, and why none does now.
func (f *Follower) Heard() (time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard, f.problem
}

// Run follows until ctx ends. Load comes before it.
func (f *Follower) Run(ctx context.Context) error {
	defer func() {
		for _, s := range f.servers {
			s.Close()
		}
	}()
	g := run.New(ctx)
	g.Go("follow", f.follow)
	g.Go("ask", f.askUnknown)
	return g.Wait()
}

func (f *Follower) follow(ctx context.Context) error {
	pause := pauseMin
	for ctx.Err() == nil {
		rest, err := f.ask(ctx)
		if err != nil {
			f.fail(ctx, err)
			rest, pause = pause, min(2*pause, pauseMax)
		} else {
			pause = pauseMin
		}
		run.Sleep(ctx, rest)
	}
	return nil
}

// ask asks the servers in order until one answers. rest says how long the answer is
// good for: after a change the next one may be there already.
func (f *Follower) ask(ctx context.Context) (rest time.Duration, err error) {
	var errs []error
	for _, s := range f.servers {
		rest, err := f.askOne(ctx, s)
		if err == nil {
			return rest, nil
		}
		errs = append(errs, fmt.Errorf("hbs %s: %w", s.Addr(), err))
		s.road = byBook // it may come back as ours
	}
	return 0, errors.Join(errs...)
}

// askOne asks one server by the road that it has.
func (f *Follower) askOne(ctx context.Context, s *server) (rest time.Duration, err error) {
	began := time.Now()
	if s.road == byBook {
		b, err := f.askBook(ctx, s)
		if err == nil {
			if f.asked.leave() && b == nil {
				b = f.Book() // what was said by keys is all there is
			}
			f.apply(b, s.Addr(), By{})
			if b == nil { // an hbs that does not wait is not hammered
				rest = time.Second - time.Since(began)
			}
		}
		if !lacks(err) {
			return rest, err
		}
		s.road = byKey
	}
	if s.road == byKey {
		if err := f.askKeys(ctx, s); !lacks(err) {
			return f.opts.Interval, err
		}
		s.road = byList
	}
	if s.road == byList {
		b, err := f.askStock(ctx, s)
		if err != nil {
			return 0, err
		}
		if len(b.Hosts) == 0 {
			has, err := f.hasHosts(ctx, s)
			if err != nil {
				return 0, err
			}
			if has {
				s.road = byHost
			}
		}
		if s.road == byList {
			if err := f.believe(byList, len(b.Hosts), len(b.Expressions)); err != nil {
				return 0, err
			}
			f.asked.leave()
			f.apply(b, s.Addr(), By{})
			return f.opts.Interval, nil
		}
	}
	// The fork asks its database for each host, and its judges remember an answer for
	// two minutes.
	return 2 * f.opts.Interval, f.askKeys(ctx, s)
}

// believe doubts an answer that has no strategies, no expressions where there were some,
// or less than half of the strategies of many: an hbs that has just started says such
// things. The same said for a minute is believed.
func (f *Follower) believe(r road, strategies, expressions int) error {
	have := f.Book()
	had := f.asked.inForce(r)
	if r == byList {
		if had = 0; have != nil {
			had = len(have.Hosts)
		}
	}
	lost := strategies == 0 || had >= enough && 2*strategies < had || have != nil && len(have.Expressions) > 0 && expressions == 0
	if !lost {
		f.doubtSince = time.Time{}
		return nil
	}
	if f.doubtSince.IsZero() || f.doubted != r {
		f.doubtSince, f.doubted = time.Now(), r
	}
	if time.Since(f.doubtSince) < confirm {
		return errors.New("it sends no strategies at all, or lost most of its rules, which is not believed at once")
	}
	return nil
}

// enough is from how many on half of them is a loss to be doubted: fewer come and go.
const enough = 100

// lacks says whether an hbs does not have the method it was asked.
func lacks(err error) bool {
	var e rpc.ServerError
	return errors.As(err, &e) && strings.Contains(e.Error(), "can't find")
}

// askBook returns the book that is in force, or nil when it is the one we have.
func (f *Follower) askBook(ctx context.Context, s *server) (*rulebook.Book, error) {
	f.mu.Lock()
	have := f.book
	req := rulebook.Request{Judge: f.opts.Judge, Wait: int(f.wait.Milliseconds())}
	if have != nil {
		req.Version = f.version.String()
	}
	f.mu.Unlock()
	for {
		var reply rulebook.Reply
		call, cancel := context.WithTimeout(ctx, f.wait+f.patience)
		err := s.Call(call, rulebook.Method, &req, &reply)
		cancel()
		if err != nil {
			return nil, err
		}
		switch reply.Kind {
		case rulebook.NotModified:
			return nil, nil
		case rulebook.Changes:
			d, err := rulebook.DecodeDelta(reply.Body)
			if err == nil && have != nil {
				var b *rulebook.Book
				if b, err = have.Apply(d); err == nil {
					return b, f.isBehind(s, b)
				}
			}
			// Whatever it was, the whole book is the way out.
			f.opts.Log.Warn("a change of the rules does not fit the rules here: asking for all", "hbs", s.Addr(), "err", err)
			req.Version, have = "", nil
		case rulebook.Full:
			b, err := rulebook.Decode(reply.Body)
			if err != nil {
				return nil, err
			}
			if v := b.Version().String(); v != reply.Version {
				return nil, fmt.Errorf("%w: version %s, not %s", rulebook.ErrMismatch, v, reply.Version)
			}
			return b, f.isBehind(s, b)
		default:
			return nil, fmt.Errorf("it answers %q, which this release does not know", reply.Kind)
		}
	}
}

// isBehind doubts an hbs that comes with rules which another has replaced: it may have
// hung, or be cut off, and rules that go back and forth are worse than rules that are a
// few seconds late. What nobody contradicts is believed soon: a change may have been
// taken back.
func (f *Follower) isBehind(s *server, b *rulebook.Book) error {
	v := b.Version()
	f.mu.Lock()
	from := f.from
	replaced := s.Addr() != from && slices.Contains(f.old, v)
	f.mu.Unlock()
	if !replaced {
		return nil
	}
	if f.doubt.version != v || time.Since(f.doubt.since) > 3*behind {
		f.doubt = doubt{v, time.Now()}
	}
	if time.Since(f.doubt.since) < behind {
		return fmt.Errorf("its rules, version %s, were replaced by those of %s", v, from)
	}
	return nil
}

// askStock makes a book of what a stock hbs says.
func (f *Follower) askStock(ctx context.Context, s *server) (*rulebook.Book, error) {
	var strategies model.StrategiesResponse
	var expressions model.ExpressionResponse
	ctx, cancel := context.WithTimeout(ctx, f.opts.CallTimeout)
	defer cancel()
	if err := s.Call(ctx, "Hbs.GetStrategies", &model.NullRpcRequest{}, &strategies); err != nil {
		return nil, err
	}
	if err := s.Call(ctx, "Hbs.GetExpressions", &model.NullRpcRequest{}, &expressions); err != nil {
		return nil, err
	}
	return FromStock(&strategies, &expressions), nil
}

// FromStock makes a book of a stock hbs's answers.
func FromStock(strategies *model.StrategiesResponse, expressions *model.ExpressionResponse) *rulebook.Book {
	b := rulebook.New()
	for _, hs := range strategies.HostStrategies {
		if hs == nil || hs.Hostname == "" {
			continue
		}
		var of []*model.Strategy
		for i := range hs.Strategies {
			s := &hs.Strategies[i]
			whole(s)
			// A strategy came once for each host; one copy does for all.
			if known := b.Strategies[rulebook.Key{Strategy: s.Id, Leaf: s.Tpl.Id}]; known != nil {
				s = known
			}
			of = append(of, s)
		}
		b.Add(hs.Hostname, of)
	}
	for _, e := range expressions.Expressions {
		if e != nil {
			b.Expressions = append(b.Expressions, e)
		}
	}
	return b
}

// whole makes what stock may leave out.
func whole(s *model.Strategy) {
	if s.Tpl == nil {
		s.Tpl = &model.Template{}
	}
	if s.Tags == nil {
		s.Tags = map[string]string{}
	}
}

// apply puts a book in force; nil confirms the one that is. What an hbs says of new keys
// confirms nothing of the others.
func (f *Follower) apply(b *rulebook.Book, from string, by By) {
	f.applying.Lock()
	defer f.applying.Unlock()
	f.mu.Lock()
	if f.problem != nil && !by.Grown {
		f.opts.Log.Info("hbs answers again", "hbs", from)
	}
	if !by.Grown {
		f.heard, f.problem = time.Now(), nil
	}
	if b == nil {
		f.mu.Unlock()
		return
	}
	version := b.Version()
	same := f.book != nil && version == f.version && f.by == by.Asked && !by.Anew
	if version != f.version {
		if f.old = append(f.old, f.version); len(f.old) > 16 {
			f.old = f.old[1:]
		}
	}
	f.book, f.version, f.by, f.from = b, version, by.Asked, from
	saved := f.saved
	f.mu.Unlock()
	// On the disk first: after a restart, no older rules judge again. What grew, the next
	// question for all keys brings there.
	if !by.Grown && saved != version {
		if err := f.save(b); err != nil {
			f.opts.Log.Error("the rules can not be kept on disk: a judge that starts without an hbs would have none", "err", err)
		} else {
			f.mu.Lock()
			f.saved = version
			f.mu.Unlock()
		}
	}
	if same {
		return
	}
	level := slog.LevelInfo
	if by.Grown {
		level = slog.LevelDebug // several times a second after a start
	}
	f.opts.Log.Log(context.Background(), level, "rules in force", "version", version, "hbs", from, "hosts", len(b.Hosts), "strategies", len(b.Strategies), "expressions", len(b.Expressions))
	f.opts.Changed(b, by)
}

// fail notes that no hbs answered. The book stays.
func (f *Follower) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.problem == nil {
		f.opts.Log.Warn("no hbs answers, the rules stay as they are", "err", err, "have_rules", f.book != nil)
	}
	f.problem = err
}

// Load takes the book of the last run, so that a judge has rules before anything else.
// A damaged one is as good as none.
func (f *Follower) Load() {
	if f.opts.Dir == "" {
		return
	}
	data, err := os.ReadFile(filepath.Join(f.opts.Dir, file))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var b *rulebook.Book
	if err == nil {
		b, err = rulebook.Decode(data)
	}
	if err != nil {
		f.opts.Log.Warn("the rules on disk can not be read; hbs is waited for", "err", err)
		return
	}
	f.mu.Lock()
	f.book, f.version = b, b.Version()
	f.saved = f.version
	f.mu.Unlock()
	f.opts.Log.Info("rules of the last run in force", "version", b.Version(), "hosts", len(b.Hosts))
	f.opts.Changed(b, By{})
}

func (f *Follower) save(b *rulebook.Book) error {
	if f.opts.Dir == "" {
		return nil
	}
	path := filepath.Join(f.opts.Dir, file)
	if err := os.WriteFile(path+".tmp", b.Encode(), 0o600); err != nil {
		return err
	}
	failpoint.Reached("judge.rules")
	err := os.Rename(path+".tmp", path)
	failpoint.Reached("judge.rules-named")
	return err
}
