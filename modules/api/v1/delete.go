package v1

import (
	"slices"

	"falcon/common/model"
	"falcon/common/portal"
)

// searchBatch is how many counters of an endpoint are read at a time.
const searchBatch = 5000

// deleteEndpoints deletes endpoints with all their series, on the graphs and in the
// index. A live one comes back with its next report.
func (s *server) deleteEndpoints(c *Call) (any, error) {
	var names []string
	if err := c.Bind(&names); err != nil {
		return nil, err
	}
	names = normal(names)
	if len(names) == 0 {
		return nil, bad("the body is no list of endpoints")
	}
	if len(names) > s.MaxPairs {
		return nil, bad("%d endpoints are more than %d: delete fewer at a time", len(names), s.MaxPairs)
	}
	series, known, failed, err := s.seriesOf(c, names, nil)
	if err != nil {
		return nil, err
	}
	s.partial(c, normal(append(failed, s.Graphs.Delete(c.Ctx(), series)...)))
	if _, _, err := s.Portal.DeleteEndpoints(c.Ctx(), names); err != nil {
		return nil, err
	}
	c.Audit(summary(names), names)
	return struct {
		Counters  int `json:"affected_counter"`
		Endpoints int `json:"affected_endpoint"`
	}{countSeries(series), known}, nil
}

// deleteCounters deletes every named counter of every named endpoint.
func (s *server) deleteCounters(c *Call) (any, error) {
	var in struct {
		Endpoints []string `json:"endpoints" form:"endpoints" xml:"endpoints"`
		Counters  []string `json:"counters" form:"counters" xml:"counters"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	in.Endpoints, in.Counters = normal(in.Endpoints), normal(in.Counters)
	if len(in.Endpoints) == 0 || len(in.Counters) == 0 {
		return nil, bad("endpoints and counters are required")
	}
	if err := pairs(len(in.Endpoints), len(in.Counters), s.MaxPairs); err != nil {
		return nil, err
	}
	series, _, failed, err := s.seriesOf(c, in.Endpoints, in.Counters)
	if err != nil {
		return nil, err
	}
	s.partial(c, normal(append(failed, s.Graphs.Delete(c.Ctx(), series)...)))
	keys := make([]portal.IndexKey, len(series))
	for i, d := range series {
		keys[i] = portal.IndexKey{Endpoint: d.Endpoint, Counter: model.CounterOf(d.Metric, d.Tags)}
	}
	if _, err := s.Portal.IndexDelete(c.Ctx(), keys, 0); err != nil {
		return nil, err
	}
	c.Audit(summary(in.Endpoints), in)
	return struct {
		Counters int `json:"affected_counter"`
	}{countSeries(series)}, nil
}

// seriesOf returns the series of these endpoints, or those of them with these
// counters, as both the graphs and the index know them, how many of the
// endpoints exist, and the nodes that could not be searched.
func (s *server) seriesOf(c *Call, endpoints, counters []string) (series []*model.GraphDeleteParam, known int, failed []string, err error) {
	only := map[string]bool{}
	for _, name := range counters {
		only[name] = true
	}
	seen := map[model.GraphDeleteParam]bool{}
	exists := map[string]bool{}
	add := func(endpoint, counter, dstype string, step int) {
		exists[endpoint] = true
		if len(only) > 0 && !only[counter] {
			return
		}
		metric, tags := model.SplitCounter(counter)
		p := model.GraphDeleteParam{Endpoint: endpoint, Metric: metric, Step: step, DsType: model.StoredType(dstype), Tags: tags}
		if !seen[p] {
			seen[p] = true
			series = append(series, &p)
		}
	}

	for chunk := range slices.Chunk(endpoints, 100) {
		q := model.GraphSearchParam{Endpoints: chunk, Limit: searchBatch}
		for {
			found := s.Graphs.SearchCounters(c.Ctx(), q)
			failed = append(failed, found.Failed...)
			for _, r := range found.Rows {
				add(r.Endpoint, r.Counter, r.Type, r.Step)
			}
			if len(found.Rows) < q.Limit {
				break
			}
			last := found.Rows[len(found.Rows)-1]
			q.After = last.Endpoint + "\x00" + last.Counter
			if err := c.Ctx().Err(); err != nil {
				return nil, 0, nil, err
			}
		}
	}

	rows, err := s.Portal.EndpointsByName(c.Ctx(), endpoints, 0)
	if err != nil {
		return nil, 0, nil, err
	}
	names := map[int64]string{}
	ids := make([]int64, len(rows))
	for i, r := range rows {
		ids[i], names[r.ID] = r.ID, r.Endpoint
		exists[r.Endpoint] = true
	}
	indexed, err := s.Portal.CountersByEndpointIDs(c.Ctx(), ids, counters...)
	if err != nil {
		return nil, 0, nil, err
	}
	for _, r := range indexed {
		add(names[r.EndpointID], r.Counter, r.Type, r.Step)
	}
	return series, len(exists), failed, nil
}

// countSeries counts series; a series that is known with two steps or types is
// one.
func countSeries(all []*model.GraphDeleteParam) int {
	seen := map[string]bool{}
	for _, p := range all {
		seen[model.PK(p.Endpoint, p.Metric, p.Tags)] = true
	}
	return len(seen)
}

// normal sorts names, drops doubles and the empty one.
func normal(names []string) []string {
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// summary names what was deleted in a few words, for the audit log.
func summary(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return names[0] + " and others"
}
