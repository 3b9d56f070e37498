package redisx

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"falcon/common/run"
)

const (
	// redirections is how often a command is sent on, or again, before its refusal is
	// what the caller gets: about two seconds when each costs a pause.
	redirections = 8
	// firstPause and lastPause bound the wait before a command that the cluster can not
	// take just now is sent again.
	firstPause, lastPause = 20 * time.Millisecond, 500 * time.Millisecond
	// mapAge is how long a map that was found wrong is used before it is asked for again.
	mapAge = 200 * time.Millisecond
)

// A cluster is a Redis Cluster: masters that have a part of the slots each.
//
// It keeps a map of the slots, which it asks of whichever node answers and corrects by
// the redirections that it meets. A command is sent again only when it was refused, or
// when no connection was there to send it on: one that may have been done is the
// caller's to repeat.
type cluster struct {
	cfg      *Config
	seeds    []string
	password string

	slots [slots]atomic.Pointer[node]
	stale atomic.Bool // the map was found wrong

	loading sync.Mutex // held while the map is asked for; guards what follows
	loaded  time.Time  // when that was last tried
	failed  error      // and why it did not do
	good    *node      // who answered last

	mu      sync.Mutex // guards what follows
	nodes   map[string]*node
	masters []master // of the map
}

type master struct {
	*node
	id string
}

func newCluster(cfg *Config) *cluster {
	cl := &cluster{cfg: cfg, nodes: map[string]*node{}}
	cl.password, _, _ = cfg.where()
	for _, seed := range cfg.Nodes {
		password, addr, _ := split(seed.Reveal())
		cl.password = cmp.Or(password, cl.password)
		cl.seeds = append(cl.seeds, addr)
	}
	return cl
}

func (cl *cluster) close() error {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	var errs []error
	for _, n := range cl.nodes {
		errs = append(errs, n.pool.Close())
	}
	return errors.Join(errs...)
}

// at returns the node at addr.
func (cl *cluster) at(addr string) *node {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	n := cl.nodes[addr]
	if n == nil {
		n = newNode(cl.cfg, "tcp", addr, cl.password)
		cl.nodes[addr] = n
	}
	return n
}

func (cl *cluster) mastersNow() []master {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.masters
}

// owner returns the node that has key.
func (cl *cluster) owner(ctx context.Context, key string) (*node, error) {
	slot := slotOf(key)
	n := cl.slots[slot].Load()
	if n == nil || cl.stale.Load() {
		if err := cl.load(ctx, n == nil); err != nil && n == nil {
			return nil, err
		}
		n = cl.slots[slot].Load()
	}
	if n == nil {
		return nil, fmt.Errorf("no master of the cluster has slot %d, of key %q: look at CLUSTER SHARDS", slot, key)
	}
	return n, nil
}

// load asks for the map. One asks at a time: unless they must, others do not wait.
func (cl *cluster) load(ctx context.Context, must bool) (err error) {
	began := time.Now()
	if must {
		cl.loading.Lock()
	} else if !cl.loading.TryLock() {
		return nil
	}
	defer cl.loading.Unlock()
	if cl.loaded.After(began) || !must && time.Since(cl.loaded) < mapAge {
		return cl.failed // somebody else just did
	}
	defer func() { cl.loaded, cl.failed = time.Now(), err }()
	var errs []error
	for _, n := range cl.known() {
		reply, err := redis.Values(n.do(ctx, "CLUSTER", "SLOTS"))
		if err != nil && len(cl.seeds) == 1 && strings.Contains(err.Error(), "cluster support disabled") {
			// Who names one address may well mean a single Redis.
			reply, err = []any{[]any{int64(0), int64(slots - 1), []any{[]byte(""), port(n.addr), []byte("alone")}}}, nil
		}
		if err == nil {
			err = cl.learn(n, reply)
		}
		if err == nil {
			cl.good = n
			cl.stale.Store(false)
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", n.addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("no node tells which has which keys: %w", errors.Join(errs...))
}

// known are the nodes that may know the map, the likeliest first.
func (cl *cluster) known() (all []*node) {
	if cl.good != nil {
		all = append(all, cl.good)
	}
	for _, m := range cl.mastersNow() {
		all = append(all, m.node)
	}
	for _, seed := range cl.seeds {
		all = append(all, cl.at(seed))
	}
	seen := map[*node]bool{}
	return slices.DeleteFunc(all, func(n *node) bool { was := seen[n]; seen[n] = true; return was })
}

// learn takes the map that a node told: {first slot, last slot, {host, port, id, …} of
// the master, those of its replicas} each.
func (cl *cluster) learn(from *node, ranges []any) error {
	var owners [slots]*node
	var masters []master
	for _, r := range ranges {
		var first, last int
		var who []any
		fields, err := redis.Values(r, nil)
		if err == nil {
			_, err = redis.Scan(fields, &first, &last, &who)
		}
		var host, id string
		var port int
		if err == nil {
			_, err = redis.Scan(who, &host, &port, &id)
		}
		if err != nil || first < 0 || last >= slots {
			return fmt.Errorf("CLUSTER SLOTS is answered with %v: %w", r, errors.Join(err, errors.ErrUnsupported))
		}
		m := master{cl.at(beside(from.addr, host, port)), id}
		for slot := first; slot <= last; slot++ {
			owners[slot] = m.node
		}
		if !slices.Contains(masters, m) {
			masters = append(masters, m)
		}
	}
	if len(masters) == 0 {
		return errors.New("no master has any slot yet")
	}
	slices.SortFunc(masters, func(a, b master) int { return strings.Compare(a.id, b.id) })
	for slot, n := range owners {
		cl.slots[slot].Store(n)
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.masters = masters
	for addr, n := range cl.nodes {
		if n != from && !slices.Contains(cl.seeds, addr) && !slices.ContainsFunc(masters, func(m master) bool { return m.node == n }) {
			delete(cl.nodes, addr)
			_ = n.pool.Close() // whoever has a connection of it keeps that
		}
	}
	return nil
}

// beside returns host:port as told by the node at addr; one that does not know its own
// host means the one at which it was asked.
func beside(addr, host string, port int) string {
	if host == "" || host == "?" {
		host, _, _ = net.SplitHostPort(addr)
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func port(addr string) int64 {
	_, p, _ := net.SplitHostPort(addr)
	n, _ := strconv.ParseInt(p, 10, 64) // it was dialed
	return n
}

// A call speaks with a node on one connection. When asking is set, it says ASKING
// before its command.
type call func(c redis.Conn, asking bool) (any, error)

// on lets fn speak with the node that has key, and returns who that was.
func (cl *cluster) on(ctx context.Context, key string, fn call) (reply any, addr string, err error) {
	var to *node // where a redirection points
	asking, pause := false, firstPause
	for try := 0; ; try++ {
		n := to
		if n == nil {
			if n, err = cl.owner(ctx, key); err != nil {
				return nil, "cluster", err
			}
		}
		to = nil
		c, err := n.pool.GetContext(ctx)
		if err != nil {
			// Nothing was sent, and somebody else may have its slots by now.
			cl.stale.Store(true)
			if now, err2 := cl.owner(ctx, key); try < redirections && err2 == nil && now != n {
				continue
			}
			return nil, n.addr, err
		}
		reply, err := fn(c, asking)
		c.Close()
		asking = false
		refused, ok := errors.AsType[redis.Error](err)
		if err != nil && !ok {
			cl.stale.Store(true)
		}
		if !ok || try == redirections {
			return reply, n.addr, err
		}
		word, where, _ := strings.Cut(string(refused), " ")
		switch word {
		case "MOVED", "ASK":
			slot, addr, ok := redirected(where, n.addr)
			if !ok {
				return nil, n.addr, err
			}
			to, asking = cl.at(addr), word == "ASK"
			if word == "MOVED" {
				cl.slots[slot].Store(to)
				cl.stale.Store(true)
			}
		case "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN":
			cl.stale.Store(true)
			if !run.Sleep(ctx, pause) {
				return nil, n.addr, err
			}
			pause = min(2*pause, lastPause)
		default:
			return nil, n.addr, err
		}
	}
}

// redirected reads the "slot host:port" of a redirection.
func redirected(where, from string) (slot int, addr string, ok bool) {
	number, addr, _ := strings.Cut(where, " ")
	slot, err := strconv.Atoi(number)
	i := strings.LastIndexByte(addr, ':') // the host may be an IPv6 address without brackets
	if err != nil || slot < 0 || slot >= slots || i < 0 {
		return 0, "", false
	}
	port, err := strconv.Atoi(addr[i+1:])
	return slot, beside(from, addr[:i], port), err == nil
}

// later says whether err is a refusal after which a command may be sent again.
func later(err redis.Error) bool {
	word, _, _ := strings.Cut(string(err), " ")
	return slices.Contains([]string{"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN"}, word)
}

// pipe sends each command to its node, all of them before it waits for an answer.
func (cl *cluster) pipe(ctx context.Context, cmds []Cmd) ([]any, error) {
	parts := map[*node][]int{}
	for i, cmd := range cmds {
		n, err := cl.owner(ctx, keyOf(cmd.Args))
		if err != nil {
			return nil, named("cluster", cmd.Name, cmd.Args, err)
		}
		parts[n] = append(parts[n], i)
	}
	replies := make([]any, len(cmds))
	errs := make([]error, len(cmds))
	again := make([]bool, len(cmds))
	type part struct {
		*node
		c    redis.Conn
		cmds []int
	}
	var open []part
	defer func() {
		for _, p := range open {
			p.c.Close()
		}
	}()
	// In the order of their addresses, so that no two wait for each other's connections.
	order := slices.SortedFunc(func(yield func(*node) bool) {
		for n := range parts {
			if !yield(n) {
				return
			}
		}
	}, func(a, b *node) int { return strings.Compare(a.addr, b.addr) })
	for _, n := range order {
		c, err := n.pool.GetContext(ctx)
		if err != nil { // nothing was sent
			cl.stale.Store(true)
			for _, i := range parts[n] {
				again[i] = true
			}
			continue
		}
		open = append(open, part{n, c, parts[n]})
		if err := send(c, cmds, parts[n]); err != nil {
			cl.stale.Store(true)
			for _, i := range parts[n] {
				errs[i] = named(n.addr, cmds[i].Name, cmds[i].Args, err)
			}
		}
	}
	for _, p := range open {
		for _, i := range p.cmds {
			if errs[i] != nil {
				continue
			}
			reply, err := redis.ReceiveContext(p.c, ctx)
			if refused, ok := errors.AsType[redis.Error](err); ok {
				again[i] = later(refused)
				reply = refused
			} else if err != nil {
				cl.stale.Store(true)
			}
			if err != nil && !again[i] {
				errs[i] = named(p.addr, cmds[i].Name, cmds[i].Args, err)
			}
			replies[i] = reply
		}
	}
	away := map[*node]error{}
	for i, cmd := range cmds {
		if !again[i] {
			continue
		}
		n, err := cl.owner(ctx, keyOf(cmd.Args))
		if err == nil {
			err = away[n]
		}
		addr := "cluster"
		if err == nil {
			replies[i], addr, err = cl.on(ctx, keyOf(cmd.Args), doing(ctx, cmd.Name, cmd.Args))
			if refused, ok := errors.AsType[redis.Error](err); ok {
				replies[i] = refused
			} else if err != nil {
				away[n] = err // the others need not wait for it, too
			}
		}
		if err != nil {
			errs[i] = named(addr, cmd.Name, cmd.Args, err)
		}
	}
	return replies, errors.Join(errs...)
}

func send(c redis.Conn, cmds []Cmd, which []int) error {
	for _, i := range which {
		if err := c.Send(cmds[i].Name, cmds[i].Args...); err != nil {
			return err
		}
	}
	return c.Flush()
}

// ping asks every master.
func (cl *cluster) ping(ctx context.Context) error {
	if err := cl.load(ctx, cl.mastersNow() == nil); err != nil {
		return fmt.Errorf("redis cluster: %w", err)
	}
	var errs []error
	for _, m := range cl.mastersNow() {
		if _, err := m.do(ctx, "PING"); err != nil {
			cl.stale.Store(true)
			errs = append(errs, named(m.addr, "PING", nil, err))
		}
	}
	return errors.Join(errs...)
}

// life names the lives of all masters: another name when a master was started again, or
// has another node in its place, which may lack what was written last.
func (cl *cluster) life(ctx context.Context) (string, error) {
	if err := cl.load(ctx, cl.mastersNow() == nil); err != nil {
		return "", fmt.Errorf("redis cluster: %w", err)
	}
	h := sha256.New()
	for _, m := range cl.mastersNow() {
		id, err := m.life(ctx)
		if err != nil {
			cl.stale.Store(true)
			return "", err
		}
		fmt.Fprintf(h, "%s %s\n", m.id, id)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// dial opens a connection of its own to any node.
func (cl *cluster) dial(ctx context.Context, read time.Duration) (redis.Conn, error) {
	if err := cl.load(ctx, cl.mastersNow() == nil); err != nil {
		return nil, err
	}
	var errs []error
	for _, m := range cl.mastersNow() {
		c, err := m.node.dial(ctx, read)
		if err == nil {
			return c, nil
		}
		cl.stale.Store(true)
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
