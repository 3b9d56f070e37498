package v1

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"falcon/common/model"
	"falcon/common/portal"
)

// The data source of stock's Grafana plugin (contract query 2.4.11). A target is
// "{endpoint,endpoint}#part#part": the endpoints by name with ~ for each dot, and a
// counter cut at its dots, each part a regular expression. Two parts are words of the
// plugin: % is anything, and a $ at the end says that the counter ends here.

const (
	grafanaEndpoints  = "!N!"   // all endpoints
	grafanaGroups     = "!HG!"  // the fork's: groups whose name matches what follows
	grafanaGroupHosts = "!HGH!" // and their hosts
	grafanaNothing    = "#select metric"
	grafanaAny        = "%"
	grafanaEnd        = "$"
)

// A segment is what the plugin offers as a next part of a target.
type segment struct {
	Expandable bool   `json:"expandable"` // something can follow
	Text       string `json:"text"`
}

// grafanaFind answers what can stand next in a target.
func (s *server) grafanaFind(c *Call) (any, error) {
	query := c.Query("query")
	limit, err := c.positive("limit", 1000)
	if err != nil {
		return nil, err
	}
	limit = min(limit, maxRows)
	if pattern, ok := strings.CutPrefix(query, grafanaGroupHosts); ok {
		return s.grafanaGroups(c, pattern, limit, true)
	}
	if pattern, ok := strings.CutPrefix(query, grafanaGroups); ok {
		return s.grafanaGroups(c, pattern, limit, false)
	}
	switch {
	case query == "", query == grafanaEndpoints, query == "*":
		return s.grafanaEndpoints(c, nil, limit)
	case !strings.Contains(query, "#"):
		match, err := oneGrafanaPattern(query)
		if err != nil {
			return nil, err
		}
		return s.grafanaEndpoints(c, match, limit)
	case strings.HasSuffix(query, grafanaNothing):
		return []segment{}, nil // the plugin's text for "nothing chosen yet"
	}
	return s.grafanaParts(c, query, limit)
}

func (s *server) grafanaEndpoints(c *Call, match []portal.Pattern, limit int) (any, error) {
	ts, _, err := s.findEndpoints(c, match, nil, 0, limit)
	if err != nil {
		return nil, err
	}
	all := []segment{}
	for _, name := range keysOf(ts) {
		if len(all) < limit {
			all = append(all, segment{true, strings.ReplaceAll(name, ".", "~")})
		}
	}
	return all, nil
}

func (s *server) grafanaGroups(c *Call, pattern string, limit int, hosts bool) (any, error) {
	match, err := oneGrafanaPattern(pattern)
	if err != nil {
		return nil, err
	}
	all := []segment{}
	if hosts {
		names, err := s.Portal.HostNamesOfGroups(c.Ctx(), match, limit)
		for _, name := range names {
			all = append(all, segment{true, strings.ReplaceAll(name, ".", "~")})
		}
		return all, err
	}
	groups, err := s.Portal.Groups(c.Ctx(), match, limit, 0)
	for _, g := range groups {
		all = append(all, segment{false, g.Name})
	}
	return all, err
}

// A target is a parsed query or target.
type target struct {
	endpoints []string // as written
	parts     []string // at least one
}

// parseTarget reads {a,b}#part#part; without a # or an endpoint it is none.
func parseTarget(text string) (target, bool) {
	head, rest, ok := strings.Cut(text, "#")
	head = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(head), "{"), "}")
	t := target{endpoints: splitList(head), parts: strings.Split(rest, "#")}
	return t, ok && len(t.endpoints) > 0
}

// names are the endpoints that may be meant: each ~ is a dot, unless such an endpoint
// is not there and one that really has a ~ is.
func (t *target) names() []string {
	names := slices.Clone(t.endpoints)
	for _, e := range t.endpoints {
		names = append(names, strings.ReplaceAll(e, "~", "."))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// meant chooses between them by who has counters.
func meant(endpoint string, counters map[string][]string) string {
	dotted := strings.ReplaceAll(endpoint, "~", ".")
	if len(counters[dotted]) == 0 && len(counters[endpoint]) > 0 {
		return endpoint
	}
	return dotted
}

// oneGrafanaPattern checks a regular expression that may have blanks in it and begin
// with "!", which patterns otherwise give a meaning.
func oneGrafanaPattern(expr string) ([]portal.Pattern, error) {
	if rest, ok := strings.CutPrefix(expr, "!"); ok {
		expr = "[!]" + rest
	}
	// Written so that every store's regular expressions know it.
	return portal.ParsePatterns(strings.NewReplacer(" ", "[[:space:]]", "\t", "[[:space:]]").Replace(expr), false)
}

// joinParts makes one regular expression of parts. Within one, anything ends at the
// next dot when the parts are counted off.
func joinParts(parts []string, counted bool) string {
	out := make([]string, len(parts))
	for i, p := range parts {
		switch {
		case counted && (p == "*" || p == ".*"):
			p = "[^.]*"
		case counted && (p == grafanaAny || p == ".+"):
			p = "[^.]+"
		case p == "*":
			p = ".*"
		case p == grafanaAny:
			p = ".+"
		}
		out[i] = p
	}
	return strings.Join(out, `\.`)
}

// grafanaParts answers the parts that can follow in a counter. The last part that is
// written chooses among them.
func (s *server) grafanaParts(c *Call, query string, limit int) (any, error) {
	t, ok := parseTarget(query)
	if !ok {
		return []segment{}, nil
	}
	prefix, last := t.parts[:len(t.parts)-1], t.parts[len(t.parts)-1]
	var match []portal.Pattern
	begin, chosen := regexp.MustCompile(""), regexp.MustCompile("")
	if len(prefix) > 0 {
		expr := "^(" + joinParts(prefix, true) + ")"
		var err error
		if match, err = oneGrafanaPattern(expr + `(\.|$)`); err != nil {
			return nil, err
		}
		if begin, err = regexp.Compile("(?i)" + expr); err != nil {
			return nil, bad("query %q: %v", query, err)
		}
	}
	if !slices.Contains([]string{"", grafanaAny, "*", ".*", ".+"}, last) {
		if _, err := oneGrafanaPattern(last); err != nil {
			return nil, err
		}
		var err error
		if chosen, err = regexp.Compile("(?i)" + last); err != nil {
			return nil, bad("query %q: %v", query, err)
		}
	}
	counters, err := s.countersOf(c, t.names(), match, s.MaxPairs)
	if err != nil {
		return nil, err
	}
	parts, ends := map[string]bool{}, false // part -> something follows
	for _, e := range t.endpoints {
		for _, counter := range counters[meant(e, counters)] {
			rest := counter
			if len(prefix) > 0 {
				at := begin.FindStringIndex(counter)
				if at == nil {
					continue
				}
				if rest = counter[at[1]:]; rest == "" {
					ends = true
					continue
				}
				if rest, ok = strings.CutPrefix(rest, "."); !ok {
					continue
				}
			}
			part, _, more := strings.Cut(rest, ".")
			if chosen.MatchString(part) {
				parts[part] = parts[part] || more
				ends = ends || !more
			}
		}
	}
	all := []segment{}
	add := func(part string) {
		if len(all) < limit {
			all = append(all, segment{parts[part], part})
		}
	}
	// The one that is written in full comes first: the plugin looks whether it goes on.
	if _, ok := parts[last]; ok {
		add(last)
	}
	for _, part := range keysOf(parts) {
		if part != last {
			add(part)
		}
	}
	if ends {
		all = append(all, segment{false, grafanaEnd})
	}
	if len(parts) > 0 {
		all = append(all, segment{false, grafanaAny})
	}
	return all, nil
}

// countersOf returns counters of exactly these endpoints, by endpoint and in order, and
// no more than limit of them.
func (s *server) countersOf(c *Call, names []string, match []portal.Pattern, limit int) (map[string][]string, error) {
	found := s.Graphs.SearchCounters(c.Ctx(), model.GraphSearchParam{Endpoints: names, Match: plain(match), Limit: limit})
	s.partial(c, found.Failed)
	all := map[string][]string{}
	for _, r := range found.Rows {
		all[r.Endpoint] = append(all[r.Endpoint], r.Counter)
	}
	if found.Complete() {
		return all, nil
	}
	// The rest stands in the index that all graphs write.
	ctx, cancel := context.WithTimeout(c.Ctx(), s.searchTime())
	defer cancel()
	endpoints, err := s.Portal.EndpointsByName(ctx, names, 0)
	if err != nil {
		return nil, s.tooSlow(c, ctx, err)
	}
	nameOf := map[int64]string{}
	for _, e := range endpoints {
		if slices.Contains(names, e.Endpoint) { // its row may be spelt in another case
			nameOf[e.ID] = e.Endpoint
		}
	}
	n, seen := len(found.Rows), map[model.GraphLastParam]bool{}
	for _, r := range found.Rows {
		seen[model.GraphLastParam{Endpoint: r.Endpoint, Counter: r.Counter}] = true
	}
	for ids := range slices.Chunk(keysOfIDs(nameOf), 1000) {
		rows, _, err := s.Portal.SearchCounters(ctx, portal.CounterSearch{EndpointIDs: ids, Match: match, Limit: limit})
		if err != nil {
			return nil, s.tooSlow(c, ctx, err)
		}
		for _, r := range rows {
			name := nameOf[r.EndpointID]
			if n < limit && !seen[model.GraphLastParam{Endpoint: name, Counter: r.Counter}] {
				all[name] = append(all[name], r.Counter)
				n++
			}
		}
	}
	for name := range all {
		slices.Sort(all[name])
	}
	return all, nil
}

func keysOfIDs[V any](m map[int64]V) []int64 {
	keys := make([]int64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// grafanaRender answers the points of targets: of each, every counter that some of its
// endpoints has, for all of them. A target that matches nothing is left out.
func (s *server) grafanaRender(c *Call) (any, error) {
	var in struct {
		Targets   []string `json:"target" form:"target" xml:"target"`
		From      int64    `json:"from" form:"from" xml:"from"`
		Until     int64    `json:"until" form:"until" xml:"until"`
		Step      int      `json:"step" form:"step" xml:"step"`
		ConsolFun string   `json:"consolFun" form:"consolFun" xml:"consolFun"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if len(in.Targets) == 0 {
		return nil, badField("target", "target is required")
	}
	if in.Step < 0 {
		return nil, badField("step", "step %d is not a number of seconds above 0", in.Step)
	}
	h := historyInput{Hostnames: []string{}, Counters: []string{}, ConsolFun: in.ConsolFun, Start: in.From, End: in.Until, Step: in.Step}
	if h.ConsolFun == "" {
		h.ConsolFun = "AVERAGE"
	}
	if h.Step == 0 {
		h.Step = 60
	}
	switch {
	case h.Start == 0:
		return nil, badField("from", "from is required, in Unix seconds")
	case h.End == 0:
		return nil, badField("until", "until is required, in Unix seconds")
	}
	if err := h.check(s.MaxPairs); err != nil {
		return nil, err
	}
	var queries []*model.GraphQueryParam
	for _, text := range in.Targets {
		endpoints, counters, err := s.expandTarget(c, text)
		if err != nil {
			return nil, err
		}
		if err := pairs(len(endpoints), len(counters), s.MaxPairs-len(queries)); err != nil {
			return nil, err
		}
		for _, endpoint := range endpoints {
			for _, counter := range counters {
				queries = append(queries, &model.GraphQueryParam{
					Start: h.Start, End: h.End, ConsolFun: h.ConsolFun, Endpoint: endpoint, Counter: counter, Step: h.Step,
				})
			}
		}
	}
	return s.answerHistory(c, &h, queries)
}

// expandTarget returns the endpoints of a target and the counters that it selects.
func (s *server) expandTarget(c *Call, text string) (endpoints, counters []string, err error) {
	t, ok := parseTarget(text)
	if !ok || len(t.parts) == 1 && t.parts[0] == "" || strings.HasSuffix(text, grafanaNothing) {
		return nil, nil, nil
	}
	var exact *regexp.Regexp
	expr := joinParts(t.parts, false)
	if n := len(t.parts) - 1; n > 0 && t.parts[n] == grafanaEnd {
		// As written, or as a regular expression: a tag may hold what looks like one.
		expr = "^(" + joinParts(t.parts[:n], false) + "|" + regexp.QuoteMeta(strings.Join(t.parts[:n], ".")) + ")$"
		if exact, err = regexp.Compile(expr); err != nil {
			return nil, nil, bad("target %q: %v", text, err)
		}
	}
	match, err := oneGrafanaPattern(expr)
	if err != nil {
		return nil, nil, err
	}
	found, err := s.countersOf(c, t.names(), match, s.MaxPairs+1)
	if err != nil {
		return nil, nil, err
	}
	set := map[string]bool{}
	for _, e := range t.endpoints {
		name := meant(e, found)
		endpoints = append(endpoints, name)
		for _, counter := range found[name] {
			if exact == nil || exact.MatchString(counter) {
				set[counter] = true
			}
		}
	}
	return endpoints, keysOf(set), nil
}
