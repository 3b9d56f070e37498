package graphs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"falcon/common/model"
	"falcon/common/rpc"
)

// A Found is what a search over all nodes found.
type Found[T any] struct {
	// Rows are in ascending order of their names, each once.
	Rows []T
	// Total counts all matches, also those beyond the limit. It is exact when
	// it is len(Rows), else what the node with the most has: names that are on
	// several nodes can not be told apart without reading them.
	Total int
	// Stock says that some node can not search, so that its series are missing.
	Stock bool
	// Failed are the nodes that did not answer.
	Failed []string
}

// Complete says whether every node has been searched.
func (f *Found[T]) Complete() bool { return !f.Stock && len(f.Failed) == 0 }

// SearchEndpoints returns the first endpoints, up to p.Limit, that p selects on any
// node. p.Tags may match different counters on different nodes. p.Endpoints is
// ignored.
func (c *Client) SearchEndpoints(ctx context.Context, p model.GraphSearchParam) Found[model.GraphEndpoint] {
	p.Endpoints = nil
	if len(p.Tags) < 2 || len(c.nodes) == 1 {
		return merge(c.search(ctx, p), p.Limit, func(r *model.GraphSearchResp) []model.GraphEndpoint { return r.Endpoints }, mergeEndpoint, compareEndpoints)
	}
	// A node sees its own counters only, so several tags are searched one by one
	// and an endpoint must have been found for each.
	const everything = 100_000
	var found Found[model.GraphEndpoint]
	var both map[string]model.GraphEndpoint
	for i, tag := range p.Tags {
		q := p
		q.Tags, q.Limit, q.After = []string{tag}, everything, ""
		part := merge(c.search(ctx, q), everything, func(r *model.GraphSearchResp) []model.GraphEndpoint { return r.Endpoints }, mergeEndpoint, compareEndpoints)
		found.Stock = found.Stock || part.Stock
		found.Failed = slices.Compact(slices.Sorted(slices.Values(append(found.Failed, part.Failed...))))
		now := map[string]model.GraphEndpoint{}
		for _, e := range part.Rows {
			if _, ok := both[e.Endpoint]; ok || i == 0 {
				now[e.Endpoint] = e
			}
		}
		both = now
	}
	found.Rows = slices.SortedFunc(maps.Values(both), compareEndpoints)
	found.Total = len(found.Rows)
	found.Rows = found.Rows[:min(len(found.Rows), limitOf(p.Limit))]
	return found
}

// SearchCounters returns the first counters, up to p.Limit, of exactly the
// endpoints in p.Endpoints, ordered by endpoint and counter.
func (c *Client) SearchCounters(ctx context.Context, p model.GraphSearchParam) Found[model.GraphCounter] {
	if len(p.Endpoints) == 0 {
		return Found[model.GraphCounter]{}
	}
	return merge(c.search(ctx, p), p.Limit, func(r *model.GraphSearchResp) []model.GraphCounter { return r.Counters },
		func(a, b model.GraphCounter) model.GraphCounter { // on two nodes while data move: the live one
			if b.Last > a.Last {
				return b
			}
			return a
		},
		func(a, b model.GraphCounter) int {
			return cmp.Or(strings.Compare(a.Endpoint, b.Endpoint), strings.Compare(a.Counter, b.Counter))
		})
}

func compareEndpoints(a, b model.GraphEndpoint) int { return strings.Compare(a.Endpoint, b.Endpoint) }

func mergeEndpoint(a, b model.GraphEndpoint) model.GraphEndpoint {
	a.Last = max(a.Last, b.Last)
	a.Counters += b.Counters
	return a
}

func limitOf(limit int) int { return cmp.Or(limit, 500) }

// searched is the answers of all nodes.
type searched struct {
	answers []*model.GraphSearchResp
	stock   bool
	failed  []string
}

// search asks every node.
func (c *Client) search(ctx context.Context, p model.GraphSearchParam) searched {
	var s searched
	var mu sync.Mutex
	f := failures{log: c.log}
	each(c, c.all(), func(n *node, _ struct{}) {
		var resp model.GraphSearchResp
		_, err := n.call(ctx, "Graph.Search", &p, &resp)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			s.answers = append(s.answers, &resp)
		case rpc.IsMethodMissing(err):
			s.stock = true
		default:
			f.add(n.name, err)
		}
	})
	s.failed = f.names()
	return s
}

// merge puts the nodes' rows into one order and joins those that several have.
func merge[T any](s searched, limit int, rows func(*model.GraphSearchResp) []T, join func(a, b T) T, compare func(a, b T) int) Found[T] {
	found := Found[T]{Stock: s.stock, Failed: s.failed}
	var all []T
	cut := false
	for _, a := range s.answers {
		part := rows(a)
		all = append(all, part...)
		cut = cut || a.Total > len(part)
		found.Total = max(found.Total, a.Total)
	}
	slices.SortStableFunc(all, compare)
	found.Rows = all[:0]
	for _, row := range all {
		if n := len(found.Rows); n > 0 && compare(found.Rows[n-1], row) == 0 {
			found.Rows[n-1] = join(found.Rows[n-1], row)
		} else {
			found.Rows = append(found.Rows, row)
		}
	}
	if !cut {
		found.Total = len(found.Rows)
	}
	found.Total = max(found.Total, len(found.Rows))
	found.Rows = found.Rows[:min(len(found.Rows), limitOf(limit))]
	return found
}
