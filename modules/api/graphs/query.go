package graphs

import (
	"context"
	"slices"
	"sync"

	"falcon/common/model"
	"falcon/common/rpc"
)

// Series is the answer to one query: model.GraphQueryResponse with its points side
// by side. The names of the fields are those of the wire.
type Series struct {
	Endpoint string          `json:"endpoint"`
	Counter  string          `json:"counter"`
	DsType   string          `json:"dstype"` // empty when the series is unknown
	Step     int             `json:"step"`
	Values   []model.RRDData `json:"Values"`

	// Raw says that Values are what was received: no rates of a DERIVE, no filled gaps.
	Raw bool `json:"-"`
}

type queryBatchResp struct {
	Answers []*Series `json:"answers"`
	Raw     bool      `json:"raw"`
}

// Bounds of one batch: a day of 300 series at 60 s is some 6 MB.
const (
	queryBatch = 100
	lastBatch  = 1000
)

// QueryBatch answers queries in their order. An answer is nil when its node
// failed, and the names of those nodes are in failed. A series that is unknown has
// an answer without a type.
func (c *Client) QueryBatch(ctx context.Context, queries []*model.GraphQueryParam) (answers []*Series, failed []string) {
	return c.query(ctx, queries, false)
}

// Received is QueryBatch for the values as they were received; a node that does not
// know these, a stock one or an older one of ours, answers as to QueryBatch, and its
// answers are not Raw.
func (c *Client) Received(ctx context.Context, queries []*model.GraphQueryParam) (answers []*Series, failed []string) {
	return c.query(ctx, queries, true)
}

func (c *Client) query(ctx context.Context, queries []*model.GraphQueryParam, raw bool) (answers []*Series, failed []string) {
	answers = make([]*Series, len(queries))
	f := failures{log: c.log}
	work := placed(c, len(queries), func(i int) (string, string) { return queries[i].Endpoint, queries[i].Counter })
	each(c, work, func(n *node, at []int) {
		batches(at, queryBatch, func(at []int) {
			arg := &model.GraphQueryBatchParam{Queries: pick(queries, at), Raw: raw}
			var resp queryBatchResp
			_, err := n.call(ctx, "Graph.QueryBatch", arg, &resp)
			switch {
			case err == nil && len(resp.Answers) == len(at):
				for k, i := range at {
					if answers[i] = resp.Answers[k]; answers[i] != nil {
						answers[i].Raw = resp.Raw
					}
				}
			case err == nil:
				f.add(n.name, errShort)
			case rpc.IsMethodMissing(err): // stock
				singly(at, func(i int) {
					var one Series
					_, err := n.call(ctx, "Graph.Query", queries[i], &one)
					f.add(n.name, err)
					if err == nil {
						answers[i] = &one
					}
				})
			default:
				f.add(n.name, err)
			}
		})
	})
	return answers, f.names()
}

// LastBatch returns the newest points of series, in their order. An answer is nil
// when its node failed, and the names of those nodes are in failed; a series
// without points has an answer with timestamp 0 or no value at all.
func (c *Client) LastBatch(ctx context.Context, series []*model.GraphLastParam) (answers []*model.GraphLastResp, failed []string) {
	answers = make([]*model.GraphLastResp, len(series))
	f := failures{log: c.log}
	work := placed(c, len(series), func(i int) (string, string) { return series[i].Endpoint, series[i].Counter })
	each(c, work, func(n *node, at []int) {
		batches(at, lastBatch, func(at []int) {
			arg := &model.GraphLastBatchParam{Series: pick(series, at)}
			var resp model.GraphLastBatchResp
			_, err := n.call(ctx, "Graph.LastBatch", arg, &resp)
			switch {
			case err == nil && len(resp.Answers) == len(at):
				for k, i := range at {
					answers[i] = resp.Answers[k]
				}
			case err == nil:
				f.add(n.name, errShort)
			case rpc.IsMethodMissing(err): // stock
				singly(at, func(i int) {
					var one model.GraphLastResp
					_, err := n.call(ctx, "Graph.Last", series[i], &one)
					f.add(n.name, err)
					if err == nil {
						answers[i] = &one
					}
				})
			default:
				f.add(n.name, err)
			}
		})
	})
	return answers, f.names()
}

// errShort is the answer of a node that did not answer every query in its place.
var errShort = rpc.ServerError("the answer has not one element for each query")

// placed groups the numbers 0 to n-1 by the node of their series.
func placed(c *Client, n int, series func(i int) (endpoint, counter string)) map[string][]int {
	work := map[string][]int{}
	for i := range n {
		name := c.Node(series(i))
		work[name] = append(work[name], i)
	}
	return work
}

// pick returns the elements of all that are at these places.
func pick[T any](all []T, at []int) []T {
	some := make([]T, len(at))
	for k, i := range at {
		some[k] = all[i]
	}
	return some
}

// batches runs fn for parts of at, all at once (a node bounds its calls itself),
// and waits for them.
func batches(at []int, size int, fn func(at []int)) {
	if len(at) <= size {
		fn(at)
		return
	}
	var wg sync.WaitGroup
	for part := range slices.Chunk(at, size) {
		wg.Go(func() { fn(part) })
	}
	wg.Wait()
}

// singly runs fn for each of at, a few at the same time.
func singly(at []int, fn func(i int)) {
	const workers = 16
	var wg sync.WaitGroup
	for w := range min(workers, len(at)) {
		wg.Go(func() {
			for k := w; k < len(at); k += workers {
				fn(at[k])
			}
		})
	}
	wg.Wait()
}
