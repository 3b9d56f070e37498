package graph

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"unique"

	"falcon/common/model"
	"falcon/modules/graph/tsdb"
)

const (
	defaultSearchLimit = 500
	maxSearchLimit     = 100_000
	maxPatterns        = 32
	maxPatternBytes    = 4096
)

// index is what is searched: the endpoints, and the counters of each. It follows
// the engine's catalog and holds names only; times come from the engine. Hosts
// have the same counters, so each text is held once.
type index struct {
	mu        sync.RWMutex
	endpoints map[string][]text // counters, ascending
	names     []string          // endpoints, ascending
	stale     bool              // names lacks an endpoint or has one too many
	series    int
}

type text = unique.Handle[string]

func newIndex() *index { return &index{endpoints: map[string][]text{}} }

func find(list []text, counter string) (int, bool) {
	return slices.BinarySearchFunc(list, counter, func(t text, s string) int { return strings.Compare(t.Value(), s) })
}

func (x *index) add(endpoint, counter string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	list, known := x.endpoints[endpoint]
	i, found := find(list, counter)
	if found {
		return
	}
	if !known {
		endpoint = strings.Clone(endpoint)
		x.stale = true
	}
	x.endpoints[endpoint] = slices.Insert(list, i, unique.Make(counter))
	x.series++
}

func (x *index) remove(endpoint, counter string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := x.endpoints[endpoint]
	i, found := find(list, counter)
	if !found {
		return
	}
	x.series--
	if len(list) == 1 {
		delete(x.endpoints, endpoint)
		x.stale = true
		return
	}
	x.endpoints[endpoint] = slices.Delete(list, i, i+1)
}

// sorted returns the endpoints in ascending order; the slice is not to be changed.
func (x *index) sorted() []string {
	x.mu.RLock()
	names, stale := x.names, x.stale
	x.mu.RUnlock()
	if !stale {
		return names
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stale {
		x.names = make([]string, 0, len(x.endpoints))
		for name := range x.endpoints {
			x.names = append(x.names, name)
		}
		slices.Sort(x.names)
		x.stale = false
	}
	return x.names
}

// countersOf returns the counters of an endpoint; the slice is the caller's.
func (x *index) countersOf(endpoint string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	list := x.endpoints[endpoint]
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = t.Value()
	}
	return out
}

// hasTags reports whether each of tags occurs in some counter of the endpoint.
func (x *index) hasTags(endpoint string, tags []string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, tag := range tags {
		if !slices.ContainsFunc(x.endpoints[endpoint], func(t text) bool { return strings.Contains(t.Value(), tag) }) {
			return false
		}
	}
	return true
}

func (x *index) size() (endpoints, series int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.endpoints), x.series
}

// matcher is a parsed GraphSearchParam.Match.
type matcher []struct {
	re  *regexp.Regexp
	not bool
}

// parseMatch reads space-separated regular expressions, of which one that begins
// with "!" must not match.
func parseMatch(s string) (matcher, error) {
	if len(s) > maxPatternBytes {
		return nil, fmt.Errorf("search: the pattern is longer than %d bytes", maxPatternBytes)
	}
	words := strings.Fields(s)
	if len(words) > maxPatterns {
		return nil, fmt.Errorf("search: more than %d patterns", maxPatterns)
	}
	m := make(matcher, len(words))
	for i, w := range words {
		if rest, not := strings.CutPrefix(w, "!"); not && rest != "" {
			m[i].not, w = true, rest
		}
		re, err := regexp.Compile("(?i)" + w)
		if err != nil {
			return nil, fmt.Errorf("search: %q is no regular expression: %w", w, err)
		}
		m[i].re = re
	}
	return m, nil
}

func (m matcher) match(s string) bool {
	for _, p := range m {
		if p.re.MatchString(s) == p.not {
			return false
		}
	}
	return true
}

// lookup tells of a series; the engine's.
type lookup func(endpoint, counter string) (tsdb.Info, bool)

// search answers p from the index.
func (x *index) search(p *model.GraphSearchParam, info lookup) (*model.GraphSearchResp, error) {
	m, err := parseMatch(p.Match)
	if err != nil {
		return nil, err
	}
	limit := p.Limit
	if limit <= 0 {
		limit = defaultSearchLimit
	}
	limit = min(limit, maxSearchLimit)
	if len(p.Endpoints) == 0 {
		return x.searchEndpoints(p, m, limit, info), nil
	}
	return x.searchCounters(p, m, limit, info), nil
}

func (x *index) searchEndpoints(p *model.GraphSearchParam, m matcher, limit int, info lookup) *model.GraphSearchResp {
	resp := &model.GraphSearchResp{}
	for _, name := range x.sorted() {
		if !m.match(name) || len(p.Tags) > 0 && !x.hasTags(name, p.Tags) {
			continue
		}
		if name <= p.After || len(resp.Endpoints) == limit { // only counted
			if p.Since <= 0 || x.fresh(name, p.Since, info) {
				resp.Total++
			}
			continue
		}
		if e := x.describe(name, info); e.Counters > 0 && e.Last >= p.Since {
			resp.Total++
			resp.Endpoints = append(resp.Endpoints, e)
		}
	}
	return resp
}

// fresh reports whether some series of the endpoint has reported since. It mostly
// asks for one of them.
func (x *index) fresh(endpoint string, since int64, info lookup) bool {
	for i := 0; ; i++ {
		counter, ok := x.counterAt(endpoint, i)
		if !ok {
			return false
		}
		if in, ok := info(endpoint, counter); ok && in.Last >= since {
			return true
		}
	}
}

func (x *index) counterAt(endpoint string, i int) (counter string, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if list := x.endpoints[endpoint]; i < len(list) {
		return list[i].Value(), true
	}
	return "", false
}

func (x *index) describe(endpoint string, info lookup) model.GraphEndpoint {
	e := model.GraphEndpoint{Endpoint: endpoint}
	for _, c := range x.countersOf(endpoint) {
		if i, ok := info(endpoint, c); ok {
			e.Counters++
			e.Last = max(e.Last, i.Last)
		}
	}
	return e
}

func (x *index) searchCounters(p *model.GraphSearchParam, m matcher, limit int, info lookup) *model.GraphSearchResp {
	resp := &model.GraphSearchResp{}
	endpoints := slices.Clone(p.Endpoints)
	slices.Sort(endpoints)
	endpoints = slices.Compact(endpoints)
	afterEndpoint, afterCounter, _ := strings.Cut(p.After, "\x00")
	// Everything up to After is only counted.
	first := sort.SearchStrings(endpoints, afterEndpoint)
	for i, endpoint := range endpoints {
		for _, c := range x.countersOf(endpoint) {
			if !m.match(c) {
				continue
			}
			in, ok := info(endpoint, c)
			if !ok || in.Last < p.Since {
				continue
			}
			resp.Total++
			if i < first || p.After != "" && endpoint == afterEndpoint && c <= afterCounter || len(resp.Counters) == limit {
				continue
			}
			resp.Counters = append(resp.Counters, model.GraphCounter{Endpoint: endpoint, Counter: c, Type: in.Type, Step: in.Step, Last: in.Last})
		}
	}
	return resp
}
