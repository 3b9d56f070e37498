package graph

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/modules/graph/tsdb"
)

const (
	maxBatchQueries = 100_000
	maxBatchPoints  = 20_000_000
)

// register announces the methods of contract query 1.2 and ours.
func (g *Graph) register(s *rpc.Server) {
	rpc.Handle(s, "Graph.Ping", g.ping)
	rpc.Handle(s, "Graph.Send", g.send)
	rpc.HandleQuick(s, "Graph.Query", g.isQuick, g.query)
	rpc.Handle(s, "Graph.QueryBatch", g.queryBatch)
	rpc.Handle(s, "Graph.Info", g.info)
	rpc.Handle(s, "Graph.Last", g.last)
	rpc.Handle(s, "Graph.LastRaw", g.lastRaw)
	rpc.Handle(s, "Graph.LastBatch", g.lastBatch)
	rpc.Handle(s, "Graph.Delete", g.delete)
	rpc.Handle(s, "Graph.Search", g.search)
}

func (g *Graph) ping(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
	return &model.SimpleRpcResponse{}, nil
}

// send takes points from a stock transfer. It answers after the log has them, so
// that a success means durable; stock answers before it stores.
func (g *Graph) send(_ context.Context, _ *rpc.Conn, items *[]*model.GraphItem) (*model.SimpleRpcResponse, error) {
	now := g.now().Unix()
	g.received.Add(len(*items))
	batch := make([]tsdb.Sample, 0, len(*items))
	for _, it := range *items {
		s, reason, err := g.sample(it, now)
		if err != nil {
			return nil, err
		}
		if reason != "" {
			g.refused.Add(reason, 1)
			continue
		}
		batch = append(batch, s)
	}
	if err := g.append(batch, nil); err != nil {
		return nil, err
	}
	return &model.SimpleRpcResponse{}, nil
}

// sample turns an item into a sample of a known series, or says why it is refused.
// An error means that no series can be created now: nothing of the call is taken.
func (g *Graph) sample(it *model.GraphItem, now int64) (s tsdb.Sample, reason string, err error) {
	switch {
	case it == nil:
		return s, model.ReasonNull, nil
	case it.Endpoint == "" || it.Metric == "":
		return s, model.ReasonNoName, nil
	case it.Timestamp <= 0:
		return s, model.ReasonTimestamp, nil
	case it.Timestamp > now+max(300, 3*int64(it.Step)):
		// A stream keeps such a time as it is; a stock transfer let it through.
		return s, model.ReasonFuture, nil
	}
	lo, ok1 := parseBound(it.Min)
	hi, ok2 := parseBound(it.Max)
	if !ok1 || !ok2 {
		return s, model.ReasonValue, nil
	}
	s.Ref, err = g.db.Resolve(&tsdb.Def{
		Endpoint: it.Endpoint, Counter: model.CounterOf(it.Metric, model.SortedTags(it.Tags)),
		Type: it.DsType, Step: it.Step, Heartbeat: it.Heartbeat, Min: lo, Max: hi,
	})
	if reason, err := asReason(err); reason != "" || err != nil {
		return s, reason, err
	}
	s.Ts, s.Value = it.Timestamp, it.Value
	return s, "", nil
}

// parseBound reads Min and Max: a number, or U for none.
func parseBound(s string) (float64, bool) {
	if s == "" || s == "U" {
		return math.NaN(), true
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && !math.IsNaN(v)
}

// isQuick tells a query of the last hours: its points are in memory or were
// written a moment ago, so it takes microseconds, and no disk is waited for.
func (g *Graph) isQuick(q *model.GraphQueryParam) bool {
	const recent = 2 * 3600
	return q.Start >= g.now().Unix()-recent && q.End-q.Start <= recent
}

func (g *Graph) query(_ context.Context, c *rpc.Conn, q *model.GraphQueryParam) (*queryReply, error) {
	g.queries.Add(1)
	return g.answer(c, q, false)
}

func (g *Graph) answer(c *rpc.Conn, q *model.GraphQueryParam, raw bool) (*queryReply, error) {
	var in tsdb.Info
	var points []tsdb.Point
	var err error
	if raw {
		in, points, err = g.db.Received(q.Endpoint, q.Counter, q.Start, q.End, nil)
	} else {
		in, points, err = g.db.Query(q.Endpoint, q.Counter, q.ConsolFun, q.Start, q.End, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("query %s of %s: %w", q.Counter, q.Endpoint, err)
	}
	if step := int64(in.Step); step > 0 && q.Start/step >= q.End/step {
		points = nil // a range within one step gives nothing (contract query 1.6, step 2)
	}
	g.queryItems.Add(len(points))
	a := &queryReply{Endpoint: q.Endpoint, Counter: q.Counter, DsType: in.Type, Step: in.Step, points: points}
	if k := c.Codec(); k != rpc.Msgpack && k != rpc.GoRPC {
		a.Values = values(points)
	}
	return a, nil
}

// queryBatch answers many queries; a null one gets an empty answer.
func (g *Graph) queryBatch(ctx context.Context, c *rpc.Conn, p *model.GraphQueryBatchParam) (*batchReply, error) {
	if len(p.Queries) > maxBatchQueries {
		return nil, fmt.Errorf("%d queries in a batch are more than %d: ask in portions", len(p.Queries), maxBatchQueries)
	}
	g.queries.Add(len(p.Queries))
	resp := &batchReply{Answers: make([]*queryReply, len(p.Queries)), Raw: p.Raw}
	points := 0
	for i, q := range p.Queries {
		if err := ctx.Err(); err != nil {
			return nil, err // the caller is gone
		}
		if q == nil {
			q = &model.GraphQueryParam{}
		}
		a, err := g.answer(c, q, p.Raw)
		if err != nil {
			return nil, err
		}
		if points += len(a.points); points > maxBatchPoints {
			return nil, fmt.Errorf("the answer has more than %d points: ask for fewer series or a shorter time", maxBatchPoints)
		}
		resp.Answers[i] = a
	}
	return resp, nil
}

func (g *Graph) info(_ context.Context, _ *rpc.Conn, p *model.GraphInfoParam) (*model.GraphInfoResp, error) {
	g.infos.Add(1)
	in, ok := g.db.Lookup(p.Endpoint, p.Counter)
	if !ok {
		return &model.GraphInfoResp{}, nil
	}
	metric, tags := model.SplitCounter(p.Counter)
	return &model.GraphInfoResp{
		ConsolFun: in.Type, Step: in.Step,
		Filename: model.RRDPath(g.cfg.Data, model.PK(p.Endpoint, metric, tags), in.Type, in.Step),
	}, nil
}

func (g *Graph) last(_ context.Context, _ *rpc.Conn, p *model.GraphLastParam) (*model.GraphLastResp, error) {
	g.lasts.Add(1)
	return g.newest(p, false), nil
}

func (g *Graph) lastRaw(_ context.Context, _ *rpc.Conn, p *model.GraphLastParam) (*model.GraphLastResp, error) {
	g.lastRaws.Add(1)
	return g.newest(p, true), nil
}

// newest answers timestamp 0 when there is no point (contract query 1.7).
func (g *Graph) newest(p *model.GraphLastParam, raw bool) *model.GraphLastResp {
	find := g.db.Last
	if raw {
		find = g.db.LastRaw
	}
	_, pt := find(p.Endpoint, p.Counter)
	return &model.GraphLastResp{
		Endpoint: p.Endpoint, Counter: p.Counter,
		Value: &model.RRDData{Timestamp: pt.Ts, Value: model.JSONFloat(pt.Value)},
	}
}

func (g *Graph) lastBatch(_ context.Context, _ *rpc.Conn, p *model.GraphLastBatchParam) (*model.GraphLastBatchResp, error) {
	if len(p.Series) > maxBatchQueries {
		return nil, fmt.Errorf("%d series in a batch are more than %d: ask in portions", len(p.Series), maxBatchQueries)
	}
	g.lasts.Add(len(p.Series))
	resp := &model.GraphLastBatchResp{Answers: make([]*model.GraphLastResp, len(p.Series))}
	for i, s := range p.Series {
		if s == nil {
			s = &model.GraphLastParam{}
		}
		resp.Answers[i] = g.newest(s, p.Raw)
	}
	return resp, nil
}

// delete removes series; as in stock it reports no error for one that is unknown or
// whose tags can not be read.
func (g *Graph) delete(_ context.Context, _ *rpc.Conn, params *[]*model.GraphDeleteParam) (*model.GraphDeleteResp, error) {
	for _, p := range *params {
		if p == nil {
			continue
		}
		tags, ok := model.ParseTagsStrict(p.Tags)
		if !ok {
			g.log.Warn("series not deleted: its tags can not be read", "endpoint", p.Endpoint, "metric", p.Metric, "tags", p.Tags)
			continue
		}
		counter := model.CounterOf(p.Metric, model.SortedTags(tags))
		found, err := g.db.Delete(p.Endpoint, counter, model.StoredType(p.DsType), p.Step)
		if err != nil {
			return nil, fmt.Errorf("delete %s of %s: %w", counter, p.Endpoint, err)
		}
		if found {
			g.log.Info("series deleted", "endpoint", p.Endpoint, "counter", counter, "type", p.DsType, "step", p.Step)
		}
	}
	return &model.GraphDeleteResp{}, nil
}

func (g *Graph) search(_ context.Context, _ *rpc.Conn, p *model.GraphSearchParam) (*model.GraphSearchResp, error) {
	g.searches.Add(1)
	return g.index.search(p, g.db.Lookup)
}

// asReason tells a refusal of one series, which has a reason, from a failure.
func asReason(err error) (string, error) {
	if err == nil {
		return "", nil
	}
	if r, ok := errors.AsType[*tsdb.Refused](err); ok && r.Reason != model.ReasonReadOnly {
		return r.Reason, nil
	}
	return "", err
}
