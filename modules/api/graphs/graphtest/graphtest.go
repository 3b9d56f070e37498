// Package graphtest has graph nodes for tests: their series are in memory, their
// listeners, codecs and clients are real. A node is one of ours, with the batch and
// search methods, or a stock one, which is a net/rpc server that speaks gob.
package graphtest

import (
	"context"
	"math"
	"net"
	netrpc "net/rpc"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"falcon/common/model"
	"falcon/common/rpc"
)

// A Series is one series of a node.
type Series struct {
	Endpoint, Counter, Type string
	Step                    int
	Points                  []model.RRDData // in order
	Received                []model.RRDData // what was received, in order; nil: Points but for what is null
	Last                    *model.RRDData  // answered for the newest point; nil: the newest of Points
}

// A Node holds series and counts the calls it got.
type Node struct {
	mu      sync.Mutex
	series  map[string]Series // by PK
	Deleted []model.GraphDeleteParam

	Batches, Singles atomic.Int64
	Addr             string
	// Old is a node of ours that does not know of received values.
	Old bool
}

// New returns a node that nobody serves yet.
func New() *Node { return &Node{series: map[string]Series{}} }

// Put adds series.
func (n *Node) Put(all ...Series) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range all {
		n.series[s.Endpoint+"/"+s.Counter] = s
	}
}

// Len returns how many series the node has.
func (n *Node) Len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.series)
}

// Has says whether the node has a series.
func (n *Node) Has(endpoint, counter string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.series[endpoint+"/"+counter]
	return ok
}

// Gauge returns a series of values one step apart.
func Gauge(endpoint, counter string, step int, start int64, values ...float64) Series {
	s := Series{Endpoint: endpoint, Counter: counter, Type: model.Gauge, Step: step}
	for i, v := range values {
		s.Points = append(s.Points, model.RRDData{Timestamp: start + int64(i*step), Value: model.JSONFloat(v)})
	}
	return s
}

// query answers one step more than asked on both sides, as stock may.
func (n *Node) query(p *model.GraphQueryParam) *model.GraphQueryResponse {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := &model.GraphQueryResponse{Endpoint: p.Endpoint, Counter: p.Counter}
	s, ok := n.series[p.Endpoint+"/"+p.Counter]
	if !ok {
		return resp
	}
	resp.DsType, resp.Step = s.Type, s.Step
	for _, pt := range s.Points {
		if pt.Timestamp >= p.Start-int64(s.Step) && pt.Timestamp <= p.End+int64(s.Step) {
			resp.Values = append(resp.Values, &pt)
		}
	}
	return resp
}

// received answers what was received from the start to the end.
func (n *Node) received(p *model.GraphQueryParam) *model.GraphQueryResponse {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := &model.GraphQueryResponse{Endpoint: p.Endpoint, Counter: p.Counter}
	s := n.series[p.Endpoint+"/"+p.Counter]
	resp.DsType, resp.Step = s.Type, s.Step
	points := s.Received
	if points == nil {
		points = s.Points
	}
	for _, pt := range points {
		if pt.Timestamp >= p.Start && pt.Timestamp <= p.End && !math.IsNaN(float64(pt.Value)) {
			resp.Values = append(resp.Values, &pt)
		}
	}
	return resp
}

func (n *Node) last(p *model.GraphLastParam) *model.GraphLastResp {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := &model.GraphLastResp{Endpoint: p.Endpoint, Counter: p.Counter, Value: &model.RRDData{}}
	if s := n.series[p.Endpoint+"/"+p.Counter]; s.Last != nil {
		resp.Value = s.Last
	} else {
		for _, pt := range slices.Backward(s.Points) {
			if !math.IsNaN(float64(pt.Value)) {
				resp.Value = &pt
				break
			}
		}
	}
	return resp
}

func (n *Node) info(p *model.GraphInfoParam) *model.GraphInfoResp {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, ok := n.series[p.Endpoint+"/"+p.Counter]
	if !ok {
		return &model.GraphInfoResp{}
	}
	return &model.GraphInfoResp{ConsolFun: s.Type, Step: s.Step, Filename: model.RRDPath("data", s.Endpoint+"/"+s.Counter, s.Type, s.Step)}
}

func (n *Node) delete(all []*model.GraphDeleteParam) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range all {
		n.Deleted = append(n.Deleted, *p)
		pk := model.PK(p.Endpoint, p.Metric, p.Tags)
		if s := n.series[pk]; s.Type == p.DsType && s.Step == p.Step {
			delete(n.series, pk)
		}
	}
}

// search is Graph.Search as model.GraphSearchParam describes it.
func (n *Node) search(p *model.GraphSearchParam) *model.GraphSearchResp {
	n.mu.Lock()
	defer n.mu.Unlock()
	limit := p.Limit
	if limit == 0 {
		limit = 500
	}
	matches := func(name string) bool {
		for _, word := range strings.Fields(p.Match) {
			expr, not := strings.CutPrefix(word, "!")
			if regexp.MustCompile("(?i)"+expr).MatchString(name) == not {
				return false
			}
		}
		return true
	}
	resp := &model.GraphSearchResp{}
	endpoints := map[string]*model.GraphEndpoint{}
	tags := map[string]map[string]bool{}
	for _, s := range n.series {
		last := int64(0)
		if len(s.Points) > 0 {
			last = s.Points[len(s.Points)-1].Timestamp
		}
		if last < p.Since {
			continue
		}
		if len(p.Endpoints) > 0 {
			if slices.Contains(p.Endpoints, s.Endpoint) && matches(s.Counter) && s.Endpoint+"\x00"+s.Counter > p.After {
				resp.Counters = append(resp.Counters, model.GraphCounter{Endpoint: s.Endpoint, Counter: s.Counter, Type: s.Type, Step: s.Step, Last: last})
			}
			continue
		}
		e := endpoints[s.Endpoint]
		if e == nil {
			e = &model.GraphEndpoint{Endpoint: s.Endpoint}
			endpoints[s.Endpoint], tags[s.Endpoint] = e, map[string]bool{}
		}
		e.Last = max(e.Last, last)
		e.Counters++
		for _, t := range p.Tags {
			if strings.Contains(strings.ToLower(s.Counter), strings.ToLower(t)) {
				tags[s.Endpoint][t] = true
			}
		}
	}
	for name, e := range endpoints {
		if matches(name) && len(tags[name]) == len(p.Tags) && name > p.After {
			resp.Endpoints = append(resp.Endpoints, *e)
		}
	}
	slices.SortFunc(resp.Endpoints, func(a, b model.GraphEndpoint) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	slices.SortFunc(resp.Counters, func(a, b model.GraphCounter) int {
		return strings.Compare(a.Endpoint+"\x00"+a.Counter, b.Endpoint+"\x00"+b.Counter)
	})
	resp.Total = len(resp.Endpoints) + len(resp.Counters)
	resp.Endpoints = resp.Endpoints[:min(limit, len(resp.Endpoints))]
	resp.Counters = resp.Counters[:min(limit, len(resp.Counters))]
	return resp
}

// ServeOurs serves the node as one of ours until the test ends, or until stop.
func (n *Node) ServeOurs(t testing.TB) (stop func()) {
	t.Helper()
	s := rpc.NewServer(rpc.ServerOptions{})
	rpc.Handle(s, "Graph.QueryBatch", func(_ context.Context, _ *rpc.Conn, arg *model.GraphQueryBatchParam) (*model.GraphQueryBatchResp, error) {
		n.Batches.Add(1)
		resp := &model.GraphQueryBatchResp{Raw: arg.Raw && !n.Old}
		for _, q := range arg.Queries {
			if resp.Raw {
				resp.Answers = append(resp.Answers, n.received(q))
				continue
			}
			resp.Answers = append(resp.Answers, n.query(q))
		}
		return resp, nil
	})
	rpc.Handle(s, "Graph.LastBatch", func(_ context.Context, _ *rpc.Conn, arg *model.GraphLastBatchParam) (*model.GraphLastBatchResp, error) {
		n.Batches.Add(1)
		resp := &model.GraphLastBatchResp{}
		for _, q := range arg.Series {
			resp.Answers = append(resp.Answers, n.last(q))
		}
		return resp, nil
	})
	rpc.Handle(s, "Graph.Search", func(_ context.Context, _ *rpc.Conn, arg *model.GraphSearchParam) (*model.GraphSearchResp, error) {
		return n.search(arg), nil
	})
	rpc.Handle(s, "Graph.Info", func(_ context.Context, _ *rpc.Conn, arg *model.GraphInfoParam) (*model.GraphInfoResp, error) {
		return n.info(arg), nil
	})
	rpc.Handle(s, "Graph.Delete", func(_ context.Context, _ *rpc.Conn, arg *[]*model.GraphDeleteParam) (*model.GraphDeleteResp, error) {
		n.delete(*arg)
		return nil, nil
	})
	ln := n.listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (n *Node) listen(t testing.TB) net.Listener {
	t.Helper()
	addr := n.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	n.Addr = ln.Addr().String()
	return ln
}

// Graph is the service of a stock node. Its methods have the form that net/rpc
// wants.
type Graph struct{ n *Node }

// Query is stock's.
func (g *Graph) Query(p model.GraphQueryParam, resp *model.GraphQueryResponse) error {
	g.n.Singles.Add(1)
	*resp = *g.n.query(&p)
	return nil
}

// Last is stock's.
func (g *Graph) Last(p model.GraphLastParam, resp *model.GraphLastResp) error {
	g.n.Singles.Add(1)
	*resp = *g.n.last(&p)
	return nil
}

// Info is stock's.
func (g *Graph) Info(p model.GraphInfoParam, resp *model.GraphInfoResp) error {
	*resp = *g.n.info(&p)
	return nil
}

// Delete is stock's.
func (g *Graph) Delete(all []*model.GraphDeleteParam, _ *model.GraphDeleteResp) error {
	g.n.delete(all)
	return nil
}

// ServeStock serves the node as stock does until the test ends.
func (n *Node) ServeStock(t testing.TB) {
	t.Helper()
	s := netrpc.NewServer()
	if err := s.RegisterName("Graph", &Graph{n}); err != nil {
		t.Fatal(err)
	}
	ln := n.listen(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() { s.ServeConn(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}
