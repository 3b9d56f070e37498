package alarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"falcon/common/httpx"
	"falcon/common/portal"
	"falcon/modules/alarm/sender"
)

// People knows whom an action tells. What is not there is portal.ErrNotFound; any other
// error says that nobody knows at the moment.
type People interface {
	Action(ctx context.Context, id int) (portal.Action, error)
	// Users returns the members of teams, each once. Teams that are not there have none.
	Users(ctx context.Context, teams []string) ([]sender.Person, error)
	User(ctx context.Context, name string) (sender.Person, error)
}

// portalPeople asks the databases.
type portalPeople struct{ db *portal.DB }

func (p portalPeople) Action(ctx context.Context, id int) (portal.Action, error) {
	return p.db.Action(ctx, int64(id))
}

func (p portalPeople) Users(ctx context.Context, teams []string) ([]sender.Person, error) {
	users, err := p.db.UsersOfTeams(ctx, teams)
	if err != nil {
		return nil, err
	}
	return persons(users), nil
}

func (p portalPeople) User(ctx context.Context, name string) (sender.Person, error) {
	u, err := p.db.UserByName(ctx, name)
	if err != nil {
		return sender.Person{}, err
	}
	return person(u), nil
}

func person(u *portal.User) sender.Person {
	return sender.Person{Name: u.Name, Email: u.Email, Phone: u.Phone, IM: u.IM}
}

func persons(users []portal.User) []sender.Person {
	all := make([]sender.Person, 0, len(users))
	for i := range users {
		all = append(all, person(&users[i]))
	}
	return all
}

// apiPeople asks the api, of ours or of stock (contract alerting 4.5).
type apiPeople struct {
	base   string
	client *httpx.Client
}

func newAPIPeople(base, token string) apiPeople {
	sig, _ := json.Marshal(map[string]string{"name": "falcon-alarm", "sig": token}) // strings can be marshalled
	return apiPeople{strings.TrimRight(base, "/"), httpx.NewClient(httpx.Options{
		Tries: 1, ConnectTimeout: 3 * time.Second, Timeout: 10 * time.Second, MaxBody: 16 << 20, Header: http.Header{"Apitoken": {string(sig)}},
	})}
}

func (p apiPeople) get(ctx context.Context, path string, into any) error {
	address := p.base + "/api/v1/" + path
	b, err := p.client.Get(ctx, address)
	if se, ok := errors.AsType[*httpx.StatusError](err); ok && se.Code/100 == 4 {
		// Stock answers 400 to everything; the text tells what is gone from what is wrong. A
		// 404 of something before the api says nothing.
		var said struct{ Error string }
		if json.Unmarshal(se.Body, &said) == nil && said.Error != "" && (strings.Contains(said.Error, portal.ErrNotFound.Error()) || se.Code == http.StatusNotFound) {
			return fmt.Errorf("%s: %w", address, portal.ErrNotFound)
		}
	}
	if se, ok := errors.AsType[*httpx.StatusError](err); ok && se.Code != http.StatusBadGateway && se.Code != http.StatusServiceUnavailable && se.Code != http.StatusGatewayTimeout {
		return answered{err}
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return answered{fmt.Errorf("the answer of %s: %w", address, err)}
	}
	return nil
}

// answered is a failure of somebody who answers: it says nothing of other questions.
type answered struct{ error }

func (e answered) Unwrap() error { return e.error }

// noID says that an answer is not about what was asked for.
func noID(what string) error {
	return answered{fmt.Errorf("the api answers %s without an id: is api.plus_api an api?", what)}
}

func (p apiPeople) Action(ctx context.Context, id int) (portal.Action, error) {
	var a portal.Action
	if err := p.get(ctx, "action/"+strconv.Itoa(id), &a); err != nil {
		return a, err
	}
	if a.ID == 0 {
		return a, noID("an action")
	}
	return a, nil
}

func (p apiPeople) Users(ctx context.Context, teams []string) ([]sender.Person, error) {
	var all []sender.Person
	seen := map[string]bool{}
	for _, name := range teams {
		var t struct {
			ID    int64           `json:"id"`
			Users []sender.Person `json:"users"`
		}
		switch err := p.get(ctx, "team/name/"+url.PathEscape(name), &t); {
		case errors.Is(err, portal.ErrNotFound):
			continue
		case err != nil:
			return nil, err
		case t.ID == 0:
			return nil, noID("a team")
		}
		for _, u := range t.Users {
			if !seen[u.Name] {
				seen[u.Name] = true
				all = append(all, u)
			}
		}
	}
	return all, nil
}

func (p apiPeople) User(ctx context.Context, name string) (sender.Person, error) {
	var u struct {
		ID int64 `json:"id"`
		sender.Person
	}
	if err := p.get(ctx, "user/name/"+url.PathEscape(name), &u); err != nil {
		return u.Person, err
	}
	if u.ID == 0 {
		return u.Person, noID("a user")
	}
	return u.Person, nil
}

const (
	staleFor = 24 * time.Hour  // how long the last good answer is used while there is no other
	askFor   = 5 * time.Second // how long an answer may take
	knownFor = time.Second     // the same, where there is an older one
	failFor  = 2 * time.Second // how long it is believed that nobody answers, and longer after one that took its time
	maxKept  = 50_000          // answers
)

// remembered asks another People once for many events.
type remembered struct {
	actions memory[int, portal.Action]
	users   memory[string, []sender.Person]
	from    People
}

// remember returns p with answers kept for fresh, and for a day when p knows nothing.
func remember(p People, fresh time.Duration, now func() time.Time) *remembered {
	down := &downtime{}
	return &remembered{from: p,
		actions: memory[int, portal.Action]{fresh: fresh, now: now, down: down}, users: memory[string, []sender.Person]{fresh: fresh, now: now, down: down}}
}

func (r *remembered) Action(ctx context.Context, id int) (portal.Action, error) {
	return r.actions.get(ctx, id, r.from.Action)
}

func (r *remembered) Users(ctx context.Context, teams []string) ([]sender.Person, error) {
	return r.users.get(ctx, strings.Join(teams, ","), func(ctx context.Context, _ string) ([]sender.Person, error) { return r.from.Users(ctx, teams) })
}

func (r *remembered) User(ctx context.Context, name string) (sender.Person, error) {
	return r.from.User(ctx, name)
}

// memory keeps answers by key.
type memory[K comparable, V any] struct {
	fresh time.Duration
	now   func() time.Time
	down  *downtime
	mu    sync.Mutex
	m     map[K]*kept[V]
}

// downtime is for how long nobody is asked, since nobody answered.
type downtime struct {
	mu    sync.Mutex
	err   error // nil while somebody does
	until time.Time
}

// begin notes that nobody answered for so long. Somebody who hangs is asked for a sixth of the
// time at most: workers wait for it.
func (d *downtime) begin(err error, now time.Time, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.until = err, now.Add(max(failFor, 5*took))
}

// now returns why nobody is asked, nil when somebody may be.
func (d *downtime) now(now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil && !now.Before(d.until) {
		d.err = nil
	}
	return d.err
}

type kept[V any] struct {
	mu       sync.Mutex // held while somebody asks: the others wait for the answer
	value    V
	at       time.Time // of the value; zero: none
	gone     error     // there is no such thing
	goneAt   time.Time
	failed   error // somebody answered, and not this
	failedAt time.Time
}

func (m *memory[K, V]) get(ctx context.Context, key K, ask func(context.Context, K) (V, error)) (none V, _ error) {
	m.mu.Lock()
	if m.m == nil || len(m.m) > maxKept {
		m.m = map[K]*kept[V]{}
	}
	e := m.m[key]
	if e == nil {
		e = &kept[V]{}
		m.m[key] = e
	}
	m.mu.Unlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	now := m.now()
	if !e.at.IsZero() && now.Sub(e.at) < m.fresh {
		return e.value, nil
	}
	err := m.down.now(now)
	known := !e.at.IsZero() && now.Sub(e.at) < staleFor
	if err == nil && e.gone != nil && now.Sub(e.goneAt) < failFor {
		return none, e.gone
	}
	if err == nil && e.failed != nil && now.Sub(e.failedAt) < failFor {
		err = e.failed
	} else if err == nil {
		var v V
		limit := askFor
		if known {
			limit = knownFor
		}
		c, cancel := context.WithTimeout(ctx, limit)
		v, err = ask(c, key)
		if cancel(); err == nil {
			e.value, e.at, e.gone, e.failed = v, now, nil, nil
			return v, nil
		}
		if errors.Is(err, portal.ErrNotFound) {
			e.at, e.gone, e.goneAt, e.failed = time.Time{}, err, now, nil // what was there is gone
			return none, err
		}
		if _, ok := errors.AsType[answered](err); ok {
			e.failed, e.failedAt = err, m.now()
		} else {
			m.down.begin(err, m.now(), m.now().Sub(now))
		}
	}
	if known {
		return e.value, nil
	}
	return none, err
}

// names splits a list with commas.
func names(list string) []string {
	var all []string
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
