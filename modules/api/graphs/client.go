package graphs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/model"
	"falcon/common/ring"
	"falcon/common/rpc"
)

// Options name the nodes of a cluster and bound the calls to them. Zero fields
// have the defaults given.
type Options struct {
	// Cluster maps the name of a node to its address, or to several with commas.
	Cluster map[string]string
	// Replicas is how many points a node has on the ring. Default 500.
	Replicas int
	// Hash is the ring's: crc32 (default) or murmur3.
	Hash string
	// MaxConns bounds the connections to each address. Default 100.
	MaxConns int
	// MaxIdle bounds those that are kept unused. Default 2.
	MaxIdle int
	// DialTimeout is how long a connection may take. Default 1 s.
	DialTimeout time.Duration
	// CallTimeout is how long a call may take. Default 5 s.
	CallTimeout time.Duration
	// TLS is spoken when set.
	TLS *tls.Config
	// Parallel bounds the calls in flight to each node. Default 16.
	Parallel int

	Log *slog.Logger
}

// A Client asks the nodes of one cluster. It is safe for concurrent use.
type Client struct {
	log   *slog.Logger
	ring  *ring.Ring
	nodes map[string]*node
}

// New returns a client; it opens nothing. It refuses a cluster without nodes, a
// node without an address, and an unknown hash.
func New(opts Options) (*Client, error) {
	opts.Parallel = cmp.Or(opts.Parallel, 16)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	names := slices.Sorted(maps.Keys(opts.Cluster))
	r, err := ring.New(opts.Hash, opts.Replicas, names)
	if err != nil {
		return nil, fmt.Errorf("graphs.cluster: %w", err)
	}
	c := &Client{log: opts.Log, ring: r, nodes: map[string]*node{}}
	for _, name := range names {
		n := &node{name: name, slots: make(chan struct{}, opts.Parallel)}
		for addr := range strings.SplitSeq(opts.Cluster[name], ",") {
			addr = strings.TrimSpace(addr)
			if addr == "" {
				return nil, fmt.Errorf("graphs.cluster.%s: an address is empty, write host:port", name)
			}
			n.addrs = append(n.addrs, rpc.NewClient(rpc.ClientOptions{
				Addr: addr, Log: opts.Log, StockCodec: rpc.Gob,
				MaxConns: opts.MaxConns, MaxIdle: opts.MaxIdle, DialTimeout: opts.DialTimeout, CallTimeout: opts.CallTimeout, TLS: opts.TLS,
			}))
		}
		c.nodes[name] = n
	}
	return c, nil
}

// Close ends all connections.
func (c *Client) Close() {
	for _, n := range c.nodes {
		for _, a := range n.addrs {
			a.Close()
		}
	}
}

// Fingerprint identifies the ring; transfer and graph must have the same.
func (c *Client) Fingerprint() string { return c.ring.Fingerprint() }

// Node returns the name of the node that holds a series.
func (c *Client) Node(endpoint, counter string) string {
	return c.ring.Node(endpoint + "/" + counter)
}

// A node is one place on the ring.
type node struct {
	name  string
	addrs []*rpc.Client
	good  atomic.Int32  // index of the address that answered last
	slots chan struct{} // one a call in flight
}

// call asks the node's addresses, the one that answered last first, until one has
// answered. An answer may be an error of the peer's method.
func (n *node) call(ctx context.Context, method string, arg, reply any) (addr string, err error) {
	select {
	case n.slots <- struct{}{}:
	case <-ctx.Done():
		return "", fmt.Errorf("call %s on %s: %w", method, n.name, ctx.Err())
	}
	defer func() { <-n.slots }()
	first := int(n.good.Load())
	for i := range n.addrs {
		k := (first + i) % len(n.addrs)
		err = call(ctx, n.addrs[k], method, arg, reply)
		var t *rpc.TransportError
		if err == nil || !errors.As(err, &t) {
			n.good.Store(int32(k))
			return n.addrs[k].Addr(), err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return "", err
}

// call asks one address, and again when the peer turns out to have restarted behind
// an idle connection: all that is called here may be called twice.
func call(ctx context.Context, c *rpc.Client, method string, arg, reply any) error {
	err := c.Call(ctx, method, arg, reply)
	if cutOff(err) && ctx.Err() == nil {
		err = c.Call(ctx, method, arg, reply)
	}
	return err
}

// cutOff says whether the connection broke under a call that had been sent.
func cutOff(err error) bool {
	var t *rpc.TransportError
	return errors.As(err, &t) && t.Sent && !errors.Is(err, context.DeadlineExceeded)
}

// failures collects the names of nodes that did not answer.
type failures struct {
	log *slog.Logger
	mu  sync.Mutex
	m   map[string]bool
}

// add notes that node failed; a nil error is none.
func (f *failures) add(node string, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.m[node] {
		return
	}
	if f.m == nil {
		f.m = map[string]bool{}
	}
	f.m[node] = true
	f.log.Warn("graph node did not answer, its part is missing", "node", node, "err", err)
}

// names returns the nodes that failed, in order; nil when none has.
func (f *failures) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.m))
}

// each runs fn for every node of work at the same time and waits for all.
func each[T any](c *Client, work map[string]T, fn func(n *node, w T)) {
	var wg sync.WaitGroup
	for name, w := range work {
		wg.Go(func() { fn(c.nodes[name], w) })
	}
	wg.Wait()
}

// all is the work of asking every node the same.
func (c *Client) all() map[string]struct{} {
	work := make(map[string]struct{}, len(c.nodes))
	for name := range c.nodes {
		work[name] = struct{}{}
	}
	return work
}

// Info returns type, step and file of a series and the address that holds it. An
// unknown series has an empty answer.
func (c *Client) Info(ctx context.Context, p model.GraphInfoParam) (resp model.GraphInfoResp, addr string, err error) {
	addr, err = c.nodes[c.Node(p.Endpoint, p.Counter)].call(ctx, "Graph.Info", &p, &resp)
	return resp, addr, err
}

// deleteBatch bounds the series of one Graph.Delete.
const deleteBatch = 500

// Delete deletes incarnations of series on every address of the nodes that hold
// them, and returns the nodes of which one address did not answer.
func (c *Client) Delete(ctx context.Context, params []*model.GraphDeleteParam) (failed []string) {
	work := map[string][]*model.GraphDeleteParam{}
	for _, p := range params {
		node := c.Node(p.Endpoint, model.CounterOf(p.Metric, p.Tags))
		work[node] = append(work[node], p)
	}
	f := failures{log: c.log}
	each(c, work, func(n *node, all []*model.GraphDeleteParam) {
		for batch := range slices.Chunk(all, deleteBatch) {
			for _, a := range n.addrs {
				f.add(n.name, call(ctx, a, "Graph.Delete", &batch, &model.GraphDeleteResp{}))
			}
		}
	})
	return f.names()
}
