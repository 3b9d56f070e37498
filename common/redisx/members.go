package redisx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Members are the living instances of a daemon, who share work among them.
type Members struct {
	pool *Pool
	set  string
	key  func(name string) string
	name string
	ttl  time.Duration
}

// NewMembers returns the members that set lists, of whom the caller is one under a name
// of its own. Each has a key, which expires after ttl: its value is the time of the last
// beat and, as in a lock, the process. One of this machine that is gone is not waited for.
func (p *Pool) NewMembers(set string, key func(name string) string, name string, ttl time.Duration) *Members {
	return &Members{pool: p, set: set, key: key, name: name, ttl: ttl}
}

// Beat says that the caller lives and returns the names of all who do, in order. It is
// called several times within the ttl.
func (m *Members) Beat(ctx context.Context) ([]string, error) {
	_, err := m.pool.Pipe(ctx, C("SET", m.key(m.name), fmt.Sprint(time.Now().Unix(), mark("")), "PX", m.ttl.Milliseconds()), C("SADD", m.set, m.name))
	if err != nil {
		return nil, err
	}
	all, err := Strings(m.pool.Do(ctx, "SMEMBERS", m.set))
	if err != nil {
		return nil, err
	}
	cmds := make([]Cmd, len(all))
	for i, name := range all {
		cmds[i] = C("GET", m.key(name))
	}
	values, err := m.pool.Pipe(ctx, cmds...)
	if err != nil {
		return nil, err
	}
	var live []string
	for i, name := range all {
		value, err := String(values[i], nil)
		if err != nil && !errors.Is(err, Nil) {
			return nil, err
		}
		if _, process, _ := strings.Cut(value, ":"); err == nil && !dead(process) {
			live = append(live, name)
		} else if _, err := m.pool.Do(ctx, "SREM", m.set, name); err != nil {
			return nil, err
		}
	}
	slices.Sort(live)
	return live, nil
}

// Leave says that the caller ends.
func (m *Members) Leave(ctx context.Context) error {
	_, err := m.pool.Pipe(ctx, C("DEL", m.key(m.name)), C("SREM", m.set, m.name))
	return err
}
