package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/rpc"
)

// Judges are the daemons that hold open problems.
type Judges struct {
	// Addrs are host:port of each of them, standbys included; empty for none.
	Addrs []string `json:"addrs"`
	// Timeout bounds what one of them may take to answer: a person waits.
	Timeout conf.Duration `json:"timeout"`
	// TLS makes the connections to them speak TLS.
	TLS daemon.ClientTLS `json:"tls"`
}

func (j *Judges) validate(key string, wrong func(string, ...any)) {
	for _, addr := range j.Addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			wrong("%s.addrs: %q is no address, write host:port of its RPC", key, addr)
		}
	}
	if len(j.Addrs) > 0 && j.Timeout.D() <= 0 {
		wrong("%s.timeout: nothing can be done in no time, write %q", key, "3s")
	}
}

// problemsFresh is for how long open problems that were asked for are believed: however
// many people look, each judge is asked once in that time.
const problemsFresh = 3 * time.Second

// judges asks judges and plus_judges. Whoever does not answer in time is named, and what
// the others say is answered.
type judges struct {
	log          *slog.Logger
	single, plus asked

	mu     sync.Mutex
	at     time.Time
	all    []model.Problem
	failed []string
}

// asked are the daemons of one kind.
type asked []*rpc.Client

func newAsked(key string, cfg *Judges, fleetKey string, log *slog.Logger) (a asked, err error) {
	secure, err := cfg.TLS.Config(key)
	if err != nil {
		return nil, err
	}
	for _, addr := range cfg.Addrs {
		a = append(a, rpc.NewClient(rpc.ClientOptions{
			Addr: addr, StockCodec: rpc.Gob, Key: fleetKey, Log: log, TLS: secure, DialTimeout: cfg.Timeout.D(), CallTimeout: cfg.Timeout.D(), MaxConns: 2, MaxIdle: 1,
		}))
	}
	return a, nil
}

// newJudges returns what asks them, nil when none is configured.
func newJudges(cfg *Config, log *slog.Logger) (*judges, error) {
	if len(cfg.Judge.Addrs) == 0 && len(cfg.PlusJudge.Addrs) == 0 {
		return nil, nil
	}
	j := &judges{log: log}
	var err1, err2 error
	j.single, err1 = newAsked("judge", &cfg.Judge, cfg.FleetKey.Reveal(), log)
	j.plus, err2 = newAsked("plus_judge", &cfg.PlusJudge, cfg.FleetKey.Reveal(), log)
	return j, errors.Join(err1, err2)
}

func (j *judges) close() {
	for _, c := range slices.Concat(j.single, j.plus) {
		c.Close()
	}
}

// A told is what one daemon said.
type told[R any] struct {
	client *rpc.Client
	reply  R
	err    error
}

// askAll calls a method of all daemons of a kind at once.
func askAll[R any](ctx context.Context, a asked, method string, arg any) []told[R] {
	out := make([]told[R], len(a))
	var wg sync.WaitGroup
	for i, c := range a {
		wg.Go(func() {
			out[i].client = c
			out[i].err = c.Call(ctx, method, arg, &out[i].reply)
		})
	}
	wg.Wait()
	return out
}

// failure adds who did not answer. A judge of stock, or of an older release, has no such
// method, and knows no more than its events say.
func (j *judges) failure(failed []string, c *rpc.Client, err error) []string {
	if rpc.IsMethodMissing(err) {
		return failed
	}
	j.log.Warn("a judge could not be asked", "peer", c.Addr(), "err", err)
	return append(failed, c.Addr())
}

// Problems returns the open problems that are known, of combinations those that are
// acknowledged, and the addresses of those who did not answer.
func (j *judges) Problems(ctx context.Context) (all []model.Problem, failed []string) {
	j.mu.Lock() // others wait for the same answer
	defer j.mu.Unlock()
	if time.Since(j.at) < problemsFresh {
		return j.all, j.failed
	}
	// Whoever has asked first may leave: the answer is for all.
	all, failed = j.ask(context.WithoutCancel(ctx), "")
	j.at, j.all, j.failed = time.Now(), all, failed
	return all, failed
}

// Problem is Problems of one id, asked for now.
func (j *judges) Problem(ctx context.Context, id string) (all []model.Problem, failed []string) {
	return j.ask(ctx, id)
}

func (j *judges) ask(ctx context.Context, id string) (all []model.Problem, failed []string) {
	var wg sync.WaitGroup
	var combined []told[model.CombinationsReply]
	if id == "" || strings.HasPrefix(id, "m_") {
		wg.Go(func() {
			combined = askAll[model.CombinationsReply](ctx, j.plus, "PlusJudge.Combinations", &model.CombinationsRequest{Event: id, Problems: true})
		})
	}
	for _, a := range askAll[model.ProblemsReply](ctx, j.single, "Judge.Problems", &model.ProblemsRequest{ID: id}) {
		if a.err != nil {
			failed = j.failure(failed, a.client, a.err)
		}
		all = append(all, a.reply.Problems...)
	}
	wg.Wait()
	for _, a := range combined {
		if a.err != nil {
			failed = j.failure(failed, a.client, a.err)
		}
		for _, c := range a.reply.Combinations {
			all = append(all, model.Problem{ID: c.Event, Endpoint: c.Endpoint, LastPoint: c.Heard, Acked: c.Acked, AckedBy: c.AckedBy, AckedAt: c.AckedAt})
		}
	}
	return all, failed
}

// Combinations returns how the conditions of combined rules stand.
func (j *judges) Combinations(ctx context.Context, r model.CombinationsRequest) (all model.CombinationsReply, failed []string) {
	all.Combinations = []model.Combination{}
	for _, a := range askAll[model.CombinationsReply](ctx, j.plus, "PlusJudge.Combinations", &r) {
		if a.err != nil {
			failed = j.failure(failed, a.client, a.err)
		}
		all.Total += a.reply.Total
		all.Combinations = append(all.Combinations, a.reply.Combinations...)
	}
	slices.SortFunc(all.Combinations, func(a, b model.Combination) int {
		return cmp.Or(cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Serial, b.Serial), cmp.Compare(a.Action, b.Action))
	})
	return all, failed
}

// Ack acknowledges a problem at whoever has it, or takes that back, and says how many
// rules it was of. It is an error when it matched nothing while somebody did not answer.
func (j *judges) Ack(ctx context.Context, r model.AckRequest) (matched int, err error) {
	var answers []told[model.AckReply]
	var errs []error
	if strings.HasPrefix(r.EventId, "m_") {
		answers = askAll[model.AckReply](ctx, j.plus, "Judge.Ack", &r)
	} else {
		// Who has it knows its series, too: an id is no name of one.
		for _, a := range askAll[model.ProblemsReply](ctx, j.single, "Judge.Problems", &model.ProblemsRequest{ID: r.EventId}) {
			if a.err != nil {
				errs = append(errs, fmt.Errorf("judge %s: %w", a.client.Addr(), a.err))
			}
			for _, p := range a.reply.Problems {
				mine := r
				mine.Endpoint, mine.Metric, mine.Tags = p.Endpoint, p.Metric, p.Tags
				answers = append(answers, askAll[model.AckReply](ctx, asked{a.client}, "Judge.Ack", &mine)...)
			}
		}
	}
	for _, a := range answers {
		if a.err != nil {
			errs = append(errs, fmt.Errorf("judge %s: %w", a.client.Addr(), a.err))
		}
		matched = max(matched, a.reply.Matched)
	}
	j.mu.Lock()
	j.at = time.Time{} // what is known of open problems is another thing now
	j.mu.Unlock()
	if matched > 0 {
		return matched, nil
	}
	return 0, errors.Join(errs...)
}
