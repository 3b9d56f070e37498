package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/dialer"
	"falcon/common/run"
)

// Roads lead to transfers and hbs by their names. A name is resolved at each connect,
// and every five minutes for the connections that are open: one whose address the name
// no longer has is closed, so that an agent follows a change of the DNS. What was on its
// way is sent again, by another road.
type roads struct {
	log    *slog.Logger
	dial   func(ctx context.Context, addr string) (net.Conn, error)
	lookup func(ctx context.Context, host string) ([]string, error)

	local atomic.Pointer[string] // the address of this host on the last road that left it

	mu   sync.Mutex
	open map[*road]bool
}

// lookEvery is how often names of open connections are resolved again.
const lookEvery = 5 * time.Minute

// A road is an open connection to a name.
type road struct {
	net.Conn
	roads    *roads
	host, ip string
}

func (r *road) Close() error {
	r.roads.mu.Lock()
	delete(r.roads.open, r)
	r.roads.mu.Unlock()
	return r.Conn.Close()
}

func newRoads(deps Deps) *roads {
	r := &roads{log: deps.Log, dial: deps.Dial, lookup: deps.Lookup, open: map[*road]bool{}}
	if r.dial == nil {
		d := dialer.New(0)
		r.dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	if r.lookup == nil {
		r.lookup = net.DefaultResolver.LookupHost
	}
	return r
}

// connect dials host:port; of several addresses of the host a random one that answers.
func (r *roads) connect(ctx context.Context, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if host == "" || net.ParseIP(host) != nil {
		c, err := r.dial(ctx, addr)
		if err == nil {
			r.note(c)
		}
		return c, err
	}
	ips, err := r.lookup(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("resolve %s: the name has no address", host)
	}
	ips = slices.Clone(ips)
	rand.Shuffle(len(ips), func(i, j int) { ips[i], ips[j] = ips[j], ips[i] })
	var errs []error
	for i, ip := range ips {
		c, err := r.try(ctx, net.JoinHostPort(ip, port), len(ips)-i)
		if err == nil {
			r.note(c)
			way := &road{Conn: c, roads: r, host: host, ip: ip}
			r.mu.Lock()
			r.open[way] = true
			r.mu.Unlock()
			return way, nil
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// note remembers which address this host has on a connection that leaves it.
func (r *roads) note(c net.Conn) {
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		ip := a.IP.String()
		r.local.Store(&ip)
	}
}

// try dials one of several addresses that are left within its share of the time.
func (r *roads) try(ctx context.Context, addr string, left int) (net.Conn, error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	return r.dial(ctx, addr)
}

// watch resolves the names of open connections again until ctx ends.
func (r *roads) watch(ctx context.Context) error {
	return run.Every(ctx, lookEvery, r.look)
}

// look closes the connections that lead where their name no longer does. A name that
// can not be resolved now changes nothing.
func (r *roads) look(ctx context.Context) {
	r.mu.Lock()
	byHost := map[string][]*road{}
	for way := range r.open {
		byHost[way.host] = append(byHost[way.host], way)
	}
	r.mu.Unlock()
	for host, ways := range byHost {
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		ips, err := r.lookup(within, host)
		cancel()
		if err != nil || len(ips) == 0 {
			r.log.Debug("name can not be resolved; its connections stay", "host", host, "err", err)
			continue
		}
		for _, way := range ways {
			if !slices.Contains(ips, way.ip) {
				r.log.Info("name has another address; the connection is closed", "host", host, "was", way.ip, "is", ips)
				_ = way.Close() // its reader sees it
			}
		}
	}
}
