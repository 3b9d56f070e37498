package polymetric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"falcon/common/httpx"
	"falcon/common/portal"
)

// Rows has the rows that are worked.
type Rows interface {
	// Rows returns the rows with ids from first to last; -1 is an open end.
	Rows(ctx context.Context, first, last int64) ([]portal.DatedAggregator, error)
}

// Groups knows the hosts of a group.
type Groups interface {
	// Hosts returns the hosts of a group. That there is no such group is
	// portal.ErrNotFound; any other error says that nobody knows at the moment.
	Hosts(ctx context.Context, group int64) ([]Host, error)
}

// Portal returns what a poly_metric needs of db, which must have falcon_portal open:
// the rows, and the hosts of groups. db is brought to its schema before the first
// statement, so that a poly_metric starts while its database is away.
func Portal(db *portal.DB) interface {
	Rows
	Groups
} {
	return &stored{db: db}
}

type stored struct {
	db       *portal.DB
	mu       sync.Mutex // guards migrated, and makes the second caller wait
	migrated bool
}

func (s *stored) Rows(ctx context.Context, first, last int64) ([]portal.DatedAggregator, error) {
	migrated := s.migrate(ctx)
	rows, err := s.db.AggregatorsBetween(ctx, first, last)
	if err != nil {
		// A user who may read and nothing else can work stock's table as it is.
		return nil, errors.Join(err, migrated)
	}
	return rows, nil
}

func (s *stored) migrate(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.migrated {
		return nil
	}
	err := s.db.Migrate(ctx)
	s.migrated = err == nil
	return err
}

func (s *stored) Hosts(ctx context.Context, group int64) ([]Host, error) {
	hosts, err := s.db.GroupHosts(ctx, group)
	if err != nil {
		return nil, err
	}
	if len(hosts) == 0 {
		if _, err := s.db.Group(ctx, group); err != nil {
			return nil, err
		}
	}
	return members(hosts), nil
}

func members(hosts []portal.Host) []Host {
	all := make([]Host, len(hosts))
	for i, h := range hosts {
		all[i] = Host{h.Hostname, h.MaintainBegin, h.MaintainEnd}
	}
	return all
}

// Hosts asks the api, ours or stock's.
func (a *api) Hosts(ctx context.Context, group int64) ([]Host, error) {
	path := "/api/v1/hostgroup/" + strconv.FormatInt(group, 10)
	var answer struct {
		Group struct {
			ID int64 `json:"id"`
		} `json:"hostgroup"`
		Hosts []portal.Host `json:"hosts"`
	}
	b, err := a.slow.Get(ctx, a.base+path)
	if se, ok := errors.AsType[*httpx.StatusError](err); ok && se.Code/100 == 4 {
		// Stock answers 400 or 417 to everything; the text tells what is gone from what is
		// wrong.
		var said struct{ Error string }
		if json.Unmarshal(se.Body, &said) == nil && said.Error == portal.ErrNotFound.Error() {
			return nil, fmt.Errorf("%s: %w", path, portal.ErrNotFound)
		}
	}
	if err != nil {
		return nil, withAdvice(err)
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, fmt.Errorf("the answer of %s: %w", path, err)
	}
	if answer.Group.ID != group {
		return nil, fmt.Errorf("%s answers a group with id %d: is api.plus_api an api?", path, answer.Group.ID)
	}
	return members(answer.Hosts), nil
}

const (
	freshFor = time.Minute // how long the hosts of a group are not asked again
	staleFor = time.Hour   // how long they are used while nobody answers
)

// remembered asks another Groups once for all rows of a group.
type remembered struct {
	from Groups
	now  func() time.Time
	mu   sync.Mutex
	m    map[int64]*remembrance
}

type remembrance struct {
	mu    sync.Mutex // held while somebody asks: the others wait for the answer
	hosts []Host
	at    time.Time // of hosts; zero: there are none
	used  time.Time // guarded by remembered.mu
}

func remember(g Groups, now func() time.Time) *remembered {
	return &remembered{from: g, now: now, m: map[int64]*remembrance{}}
}

// Hosts returns the hosts of a group; the slice is not the caller's. With an error it
// may return the hosts of an earlier answer.
func (r *remembered) Hosts(ctx context.Context, group int64) ([]Host, error) {
	now := r.now()
	r.mu.Lock()
	e := r.m[group]
	if e == nil {
		// Groups that no row has any more are let go.
		for id, old := range r.m {
			if now.Sub(old.used) > 2*staleFor {
				delete(r.m, id)
			}
		}
		e = &remembrance{}
		r.m[group] = e
	}
	e.used = now
	r.mu.Unlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.at.IsZero() && now.Sub(e.at) < freshFor {
		return e.hosts, nil
	}
	hosts, err := r.from.Hosts(ctx, group)
	switch {
	case err == nil:
		e.hosts, e.at = hosts, r.now()
		return hosts, nil
	case errors.Is(err, portal.ErrNotFound):
		e.hosts, e.at = nil, time.Time{} // what was there is gone
		return nil, err
	case !e.at.IsZero() && now.Sub(e.at) < staleFor:
		return e.hosts, err
	}
	return nil, err
}
