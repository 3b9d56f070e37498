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
	// Changed hears of every book that comes into force, also of Load's;
	// calls do not overlap.
	Changed func(*rulebook.Book)
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
	// confirm is for how long a stock hbs that sends no strategies is not believed.
	confirm = time.Minute
)

// A Follower is ready to Run.
type Follower struct {
	opts    Options
	servers []*server

	mu      sync.Mutex
	book    *rulebook.Book // nil until there is one
	version rulebook.Version
	heard   time.Time          // when an hbs last said that the book is right
	problem error              // why none does
	from    string             // the hbs that the book is of
	old     []rulebook.Version // those that were in force before it, the last ones
	doubt   doubt              // touched by Run only

	wait, patience time.Duration // of a question for the book

	emptySince time.Time // since when a stock hbs sends nothing; touched by Run only
}

// doubt is of an hbs that has rules which were replaced here.
type doubt struct {
	version rulebook.Version
	since   time.Time
}

type server struct {
	*rpc.Client
	stock bool // it has no book
}

// New returns a follower. It opens nothing.
func New(opts Options) *Follower {
	f := &Follower{opts: opts, wait: wait, patience: opts.CallTimeout}
	if len(opts.Servers) > 1 {
		f.wait, f.patience = waitOfMany, min(hangs, opts.CallTimeout)
	}
	for _, addr := range opts.Servers {
		f.servers = append(f.servers, &server{Client: rpc.NewClient(rpc.ClientOptions{
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
		var b *rulebook.Book
		began := time.Now()
		if !s.stock {
			b, err = f.askBook(ctx, s)
			if lacksBook(err) {
				f.opts.Log.Info("hbs has no rule book: it is asked as stock judges do", "hbs", s.Addr())
				s.stock = true
			}
		}
		if s.stock {
			rest = f.opts.Interval
			b, err = f.askStock(ctx, s)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("hbs %s: %w", s.Addr(), err))
			s.stock = false // it may come back as ours
			continue
		}
		f.apply(b, s.Addr())
		if b == nil && !s.stock {
			// An hbs that does not wait is not hammered.
			rest = time.Second - time.Since(began)
		}
		return rest, nil
	}
	return 0, errors.Join(errs...)
}

// lacksBook says whether an hbs does not know what a rule book is.
func lacksBook(err error) bool {
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

// askStock makes a book of what a stock hbs says. That it has no strategies at all is
// believed after a minute: a stock hbs that has just started says so, too.
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
	b := FromStock(&strategies, &expressions)
	if have := f.Book(); have != nil && len(have.Hosts) > 0 && len(b.Hosts) == 0 {
		if f.emptySince.IsZero() {
			f.emptySince = time.Now()
		}
		if time.Since(f.emptySince) < confirm {
			return nil, errors.New("it sends no strategies at all, which is not believed at once")
		}
	}
	f.emptySince = time.Time{}
	return b, nil
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
			if s.Tpl == nil {
				s.Tpl = &model.Template{}
			}
			if s.Tags == nil {
				s.Tags = map[string]string{}
			}
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

// apply puts a book in force; nil confirms the one that is.
func (f *Follower) apply(b *rulebook.Book, from string) {
	f.mu.Lock()
	if f.problem != nil {
		f.opts.Log.Info("hbs answers again", "hbs", from)
	}
	f.heard, f.problem = time.Now(), nil
	if b == nil || f.book != nil && b.Version() == f.version {
		f.mu.Unlock()
		return
	}
	if f.old = append(f.old, f.version); len(f.old) > 16 {
		f.old = f.old[1:]
	}
	f.book, f.version, f.from = b, b.Version(), from
	f.mu.Unlock()
	// On the disk first: after a restart, no older rules judge again.
	if err := f.save(b); err != nil {
		f.opts.Log.Error("the rules can not be kept on disk: a judge that starts without an hbs would have none", "err", err)
	}
	f.opts.Log.Info("rules in force", "version", b.Version(), "hbs", from, "hosts", len(b.Hosts), "strategies", len(b.Strategies), "expressions", len(b.Expressions))
	f.opts.Changed(b)
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
	f.mu.Unlock()
	f.opts.Log.Info("rules of the last run in force", "version", b.Version(), "hosts", len(b.Hosts))
	f.opts.Changed(b)
}

func (f *Follower) save(b *rulebook.Book) error {
	if f.opts.Dir == "" {
		return nil
	}
	path := filepath.Join(f.opts.Dir, file)
	if err := os.WriteFile(path+".tmp", b.Encode(), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
