package plusjudge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

// unions knows how many members the combinations of the fork have, whose judges do not
// say it with each event.
type unions struct {
	ask func(ctx context.Context, union int) (int, error)
	now func() time.Time

	clients []*rpc.Client

	mu    sync.Mutex
	known map[int]counted
}

type counted struct {
	n  int
	at time.Time
}

const (
	// fresh is how long an answer counts.
	fresh = time.Minute
	// maxKnown bounds what strangers may have remembered.
	maxKnown = 100_000
)

func newUnions(cfg HBS, deps Deps) *unions {
	u := &unions{ask: deps.Members, now: deps.Now, known: map[int]counted{}}
	if u.now == nil {
		u.now = time.Now
	}
	if u.ask == nil {
		for _, addr := range cfg.Servers {
			u.clients = append(u.clients, rpc.NewClient(rpc.ClientOptions{
				Addr: addr, Log: deps.Log, Codec: rpc.JSON, DialTimeout: time.Duration(cfg.Timeout), MaxConns: 2, MaxIdle: 1,
			}))
		}
		u.ask = u.fromHBS
	}
	return u
}

func (u *unions) close() {
	for _, c := range u.clients {
		c.Close()
	}
}

// members returns how many strategies the combination has. While nobody can say it, the
// last answer counts; without one it is an error.
func (u *unions) members(ctx context.Context, union int) (int, error) {
	u.mu.Lock()
	c, ok := u.known[union]
	u.mu.Unlock()
	if ok && u.now().Sub(c.at) < fresh {
		return c.n, nil
	}
	n, err := u.ask(ctx, union)
	if err != nil {
		if ok {
			return c.n, nil
		}
		return 0, fmt.Errorf("combination %d: how many strategies it has is not known: %w", union, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !ok && len(u.known) >= maxKnown {
		clear(u.known)
	}
	u.known[union] = counted{n, u.now()}
	return n, nil
}

// fromHBS asks the servers one after the other.
func (u *unions) fromHBS(ctx context.Context, union int) (int, error) {
	errs := []error{errors.New("no hbs answered (hbs.servers)")}
	for _, c := range u.clients {
		var reply struct {
			Strategies []*model.Strategy `json:"strategies"`
		}
		err := c.Call(ctx, "Hbs.GetOneUnionStrategies", struct {
			Id int `json:"id"`
		}{union}, &reply)
		if err == nil {
			return len(reply.Strategies), nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.Addr(), err))
	}
	return 0, errors.Join(errs...)
}
