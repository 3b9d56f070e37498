package v1

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

// maxRows bounds how far into a search one may page.
const maxRows = 100_000

// A row of endpoints as stock answers it, with the time of the newest point.
type endpointRow struct {
	Endpoint string `json:"endpoint"`
	ID       int64  `json:"id"`
	Ts       int64  `json:"ts"`
}

// A row of counters, likewise.
type counterRow struct {
	Counter    string `json:"counter"`
	EndpointID int64  `json:"endpoint_id"`
	Step       int    `json:"step"`
	Type       string `json:"type"`
	Ts         int64  `json:"ts"`
}

// graphPage reads limit (500) and page (1) of the graph routes.
func (c *Call) graphPage() (limit, offset int, err error) {
	if limit, err = c.positive("limit", 500); err != nil {
		return 0, 0, err
	}
	page, err := c.positive("page", 1)
	if err != nil {
		return 0, 0, err
	}
	if limit > maxRows || page > maxRows/limit {
		return 0, 0, bad("page %d with limit %d reaches beyond %d rows: narrow the search", page, limit, maxRows)
	}
	return limit, (page - 1) * limit, nil
}

// endpointObjects answers those of the named endpoints that have reported since
// deadline.
func (s *server) endpointObjects(c *Call) (any, error) {
	names := slices.DeleteFunc(c.gin.QueryArray("endpoints"), func(s string) bool { return s == "" })
	if len(names) == 0 {
		return nil, bad("endpoints missing")
	}
	if len(names) > s.MaxPairs {
		return nil, bad("%d endpoints are more than %d: ask for fewer at a time", len(names), s.MaxPairs)
	}
	deadline := int64(0)
	if text := c.Query("deadline"); text != "" {
		var err error
		if deadline, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, bad("deadline %q is not a Unix time", text)
		}
	}
	rows, err := s.Portal.EndpointsByName(c.Ctx(), names, 0)
	if err != nil {
		return nil, err
	}
	// The index is refreshed once a day; graphs know the time of now.
	last := s.lastReports(c, names)
	answer := []endpointRow{}
	for _, r := range rows {
		ts := max(r.Ts, last[r.Endpoint])
		delete(last, r.Endpoint)
		if ts >= deadline {
			answer = append(answer, endpointRow{r.Endpoint, r.ID, ts})
		}
	}
	if len(last) > 0 { // too new for the index
		ids, err := s.Portal.EndpointIDs(c.Ctx(), keysOf(last))
		if err != nil {
			return nil, err
		}
		for name, id := range ids {
			if last[name] >= deadline {
				answer = append(answer, endpointRow{name, id, last[name]})
			}
		}
		slices.SortFunc(answer, func(a, b endpointRow) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	}
	return answer, nil
}

// lastReports asks the graphs when exactly these endpoints have reported last.
// Stock nodes know nothing, and a node that is away is not waited for.
func (s *server) lastReports(c *Call, names []string) map[string]int64 {
	last := map[string]int64{}
	for chunk := range slices.Chunk(names, 50) {
		want := map[string]bool{}
		quoted := make([]string, len(chunk))
		for i, name := range chunk {
			want[name] = true
			// A blank would end the expression.
			quoted[i] = strings.ReplaceAll(regexp.QuoteMeta(name), " ", `\x20`)
		}
		found := s.Graphs.SearchEndpoints(c.Ctx(), model.GraphSearchParam{Match: "^(?:" + strings.Join(quoted, "|") + ")$", Limit: 2 * len(chunk)})
		for _, e := range found.Rows {
			if want[e.Endpoint] {
				last[e.Endpoint] = e.Last
			}
		}
	}
	return last
}

func keysOf[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// searchEndpoints finds endpoints by name (q), by tags, or both. Our own
// parameter last=SECONDS leaves out those that are silent for longer.
func (s *server) searchEndpoints(c *Call) (any, error) {
	q := c.Query("q")
	tags := slices.DeleteFunc(strings.Split(c.Query("tags"), ","), func(s string) bool { return strings.TrimSpace(s) == "" })
	for i := range tags {
		tags[i] = strings.TrimSpace(tags[i])
	}
	if strings.TrimSpace(q) == "" && len(tags) == 0 {
		return nil, bad("q and labels are all missing")
	}
	if len(tags) > 16 {
		return nil, bad("more than 16 tags")
	}
	// Beyond stock, a word that begins with "!" must not match.
	match, err := portal.ParsePatterns(q, true)
	if err != nil {
		return nil, err
	}
	limit, offset, err := c.graphPage()
	if err != nil {
		return nil, err
	}
	silent, err := c.positive("last", 0)
	if err != nil {
		return nil, err
	}
	since := int64(0)
	if silent > 0 {
		since = s.Now().Unix() - int64(silent)
	}

	ts, total, err := s.findEndpoints(c, match, tags, since, offset+limit)
	if err != nil {
		return nil, err
	}
	names := keysOf(ts)
	names = names[min(offset, len(names)):min(offset+limit, len(names))]
	ids, err := s.Portal.EndpointIDs(c.Ctx(), names)
	if err != nil {
		return nil, err
	}
	c.SetHeader(headerTotal, strconv.Itoa(total))
	answer := make([]endpointRow, 0, len(names))
	for _, name := range names {
		if id, ok := ids[name]; ok { // no id: the name is too long for the index
			answer = append(answer, endpointRow{name, id, ts[name]})
		}
	}
	return answer, nil
}

// findEndpoints returns the first endpoints, up to limit, with the times of their last
// reports, and how many there are in all.
func (s *server) findEndpoints(c *Call, match []portal.Pattern, tags []string, since int64, limit int) (ts map[string]int64, total int, err error) {
	found := s.Graphs.SearchEndpoints(c.Ctx(), model.GraphSearchParam{Match: plain(match), Tags: tags, Since: since, Limit: limit})
	s.partial(c, found.Failed)
	ts = map[string]int64{}
	for _, e := range found.Rows {
		ts[e.Endpoint] = e.Last
	}
	if found.Complete() {
		return ts, found.Total, nil
	}
	// The rest stands in the index that all graphs write.
	ctx, cancel := context.WithTimeout(c.Ctx(), s.searchTime())
	defer cancel()
	rows, n, err := s.Portal.SearchEndpoints(ctx, portal.EndpointSearch{Match: match, Tags: tags, Since: since, Limit: limit})
	if err != nil {
		return nil, 0, s.tooSlow(c, ctx, err)
	}
	for _, r := range rows {
		ts[r.Endpoint] = max(ts[r.Endpoint], r.Ts)
	}
	return ts, max(found.Total, n, len(ts)), nil
}

// searchCounters finds the counters of some endpoints.
func (s *server) searchCounters(c *Call) (any, error) {
	if c.Query("eid") == "" {
		return nil, bad("eid is missing")
	}
	var ids []int64
	for text := range strings.SplitSeq(c.Query("eid"), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, bad("eid %q is not the id of an endpoint", text)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > 1000 {
		return nil, bad("%d endpoints are more than 1000: ask for fewer at a time", len(ids))
	}
	match, err := portal.ParsePatterns(c.Query("metricQuery"), true)
	if err != nil {
		return nil, err
	}
	limit, offset, err := c.graphPage()
	if err != nil {
		return nil, err
	}
	byID, err := s.Portal.EndpointsByID(c.Ctx(), ids)
	if err != nil {
		return nil, err
	}
	idOf := map[string]int64{}
	for id, e := range byID {
		idOf[e.Endpoint] = id
	}

	found := s.Graphs.SearchCounters(c.Ctx(), model.GraphSearchParam{Endpoints: keysOf(idOf), Match: plain(match), Limit: offset + limit})
	s.partial(c, found.Failed)
	answer := make([]counterRow, 0, len(found.Rows))
	for _, r := range found.Rows {
		answer = append(answer, counterRow{r.Counter, idOf[r.Endpoint], r.Step, r.Type, r.Last})
	}
	total := found.Total
	if !found.Complete() {
		ctx, cancel := context.WithTimeout(c.Ctx(), s.searchTime())
		defer cancel()
		rows, n, err := s.Portal.SearchCounters(ctx, portal.CounterSearch{EndpointIDs: ids, Match: match, Limit: offset + limit})
		if err != nil {
			return nil, s.tooSlow(c, ctx, err)
		}
		type key struct {
			id      int64
			counter string
		}
		at := map[key]bool{}
		for _, r := range answer {
			at[key{r.EndpointID, r.Counter}] = true
		}
		for _, r := range rows {
			if !at[key{r.EndpointID, r.Counter}] {
				answer = append(answer, counterRow{r.Counter, r.EndpointID, r.Step, r.Type, r.Ts})
			}
		}
		total = max(total, n, len(answer))
		slices.SortFunc(answer, func(a, b counterRow) int {
			if d := strings.Compare(byID[a.EndpointID].Endpoint, byID[b.EndpointID].Endpoint); d != 0 {
				return d
			}
			return strings.Compare(a.Counter, b.Counter)
		})
	}
	c.SetHeader(headerTotal, strconv.Itoa(total))
	return answer[min(offset, len(answer)):min(offset+limit, len(answer))], nil
}

// plain writes patterns as Graph.Search takes them.
func plain(match []portal.Pattern) string {
	words := make([]string, len(match))
	for i, p := range match {
		words[i] = p.Expr
		if p.Not {
			words[i] = "!" + p.Expr
		}
	}
	return strings.Join(words, " ")
}

// searchTime bounds a search in SQL, which reads whole tables: half of the request.
func (s *server) searchTime() time.Duration { return s.RequestTimeout / 2 }

// tooSlow tells a search that was given up from other faults.
func (s *server) tooSlow(c *Call, ctx context.Context, err error) error {
	if ctx.Err() == nil || c.Ctx().Err() != nil {
		return err
	}
	return bad("the search took longer than %v: narrow it, or give a limit", s.searchTime())
}
