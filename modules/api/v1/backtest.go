package v1

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/verdict"
	"falcon/modules/api/graphs"
)

// Bounds of a rule's trial on history.
const (
	trialRange    = 24 * time.Hour     // when the request names none
	maxTrialRange = 7 * 24 * time.Hour // of the request
	maxTrialLead  = 24 * time.Hour     // before the range, to fill the window
	maxTrialHosts = 100_000            // of whom series are searched
	maxTrialFound = 50_000             // series that are counted
	// maxTrialSeries and maxTrialPoints bound what is read of them.
	maxTrialSeries = 500
	maxTrialPoints = 3_000_000
	trialPart      = 200_000 // points that are asked for at a time
	maxTrialEvents = 2000    // in the answer
	maxTrialShown  = 6       // series with their points
	maxTrialLine   = 800     // points of such a series; more are thinned out
	maxTrials      = 2       // at the same time

	// judgeInterval is what a judge whose file says nothing waits between two messages of
	// a problem, in seconds.
	judgeInterval = 300
)

// noTrial is said of a rule about texts.
const noTrial = "a rule about texts can not be tried: graph stores no texts"

// trialInput is what the trials of strategies and expressions have in common. The times
// are Unix seconds; the end is now, and the start a day before the end, when they are
// missing.
type trialInput struct {
	Start int64 `json:"start" form:"start" xml:"start"`
	End   int64 `json:"end" form:"end" xml:"end"`
	// MinInterval is the judges' alarm.minInterval, in seconds; missing is 300.
	MinInterval *int64 `json:"min_interval" form:"min_interval" xml:"min_interval"`
	// ValueType is the fork's word for value_type: a rule about texts can not be tried.
	ValueType string `json:"valueType" form:"valueType" xml:"valueType"`
}

// check fills in what is missing.
func (in *trialInput) check(wrong *problems, now time.Time) {
	if in.End == 0 {
		in.End = now.Unix()
	}
	if in.Start == 0 {
		in.Start = in.End - int64(trialRange/time.Second)
	}
	if in.MinInterval == nil {
		in.MinInterval = new(int64)
		*in.MinInterval = judgeInterval
	}
	longest := int64(maxTrialRange / time.Second)
	switch {
	case in.End < 0 || in.End > now.Unix()+60:
		wrong.add("end", "end %d is not in the past: write Unix seconds, or leave it out for now", in.End)
	case in.Start < 0 || in.Start >= in.End:
		wrong.add("start", "start %d is not before end %d: write Unix seconds, or leave it out for a day before the end", in.Start, in.End)
	case in.End-in.Start > longest:
		wrong.add("start", "from start %d to end %d are %.1f days, %d at most", in.Start, in.End, float64(in.End-in.Start)/86400, longest/86400)
	}
	if *in.MinInterval < 0 || *in.MinInterval > 86400 {
		wrong.add("min_interval", "min_interval %d is not between 0 and 86400 seconds", *in.MinInterval)
	}
	if in.ValueType != "" && in.ValueType != "number" {
		wrong.add("valueType", noTrial)
	}
}

// backtestInput is a strategy as POST /strategy takes it, saved or not, with a range.
// With hosts or groups it is tried on these, else where its template holds.
type backtestInput struct {
	strategyInput
	trialInput
	Hosts  []string `json:"hosts" form:"hosts" xml:"hosts"`
	Groups []int64  `json:"groups" form:"groups" xml:"groups"`
}

// backtestStrategy says what a strategy would have told over the stored points.
func (s *server) backtestStrategy(c *Call) (any, error) {
	var in backtestInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := s.savedStrategy(c, &in.strategyInput); err != nil {
		return nil, err
	}
	wrong, warnings := in.strategyInput.check()
	in.trialInput.check(&wrong, s.Now())
	if in.texts() {
		wrong.add("value_type", noTrial)
	}
	if in.Template == 0 && len(in.Hosts) == 0 && len(in.Groups) == 0 {
		wrong.add("tpl_id", "say where it is tried: tpl_id, the id of a saved strategy, hosts or groups")
	}
	if len(in.Hosts) > maxTrialHosts || len(in.Groups) > 1000 {
		wrong.add("hosts", "%d hosts and %d groups are too many, %d and 1000 at most", len(in.Hosts), len(in.Groups), maxTrialHosts)
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	if in.Template > 0 {
		if err := s.ownStrategies(c, in.Template); err != nil {
			return nil, err
		}
	}
	p := model.ReachParam{
		Strategy: int(in.ID), Metric: in.Metric, Tags: in.Tags, RunBegin: in.RunBegin, RunEnd: in.RunEnd, Template: int(in.Template),
	}
	if len(in.Hosts)+len(in.Groups) > 0 {
		p.Template, p.Hosts = 0, in.Hosts
		for _, g := range in.Groups {
			p.Groups = append(p.Groups, int(g))
		}
	}
	tags := model.RuleTags(in.Tags)
	return s.backtest(c, &trial{
		trialInput: in.trialInput, metric: in.Metric, fn: in.Func, op: in.Op, right: in.RightValue, maxStep: *in.MaxStep, warnings: warnings, demands: tags,
		matches: func(_ string, of map[string]string) bool { return verdict.Match(tags, of) },
	}, &p)
}

// savedStrategy completes a strategy that is named by its id: one of which only the id
// is given is the saved one, and another one takes its place.
func (s *server) savedStrategy(c *Call, in *strategyInput) error {
	if in.ID <= 0 {
		return nil
	}
	old, err := s.Portal.Strategy(c.Ctx(), in.ID)
	if err != nil {
		return err
	}
	in.Template = old.Template
	in.keep(old)
	if in.Metric == "" && in.Func == "" {
		maxStep := old.MaxStep
		*in = strategyInput{
			ID: old.ID, Metric: old.Metric, Tags: old.Tags, MaxStep: &maxStep, Priority: old.Priority, Func: old.Func, Op: old.Op,
			RightValue: old.RightValue, Note: old.Note, RunBegin: old.RunBegin, RunEnd: old.RunEnd, Template: old.Template,
			Values: &old.ValueType, RightString: &old.RightString,
		}
	}
	return nil
}

// backtestExpression is backtestStrategy for an expression, which watches every
// endpoint. Of its body the action is not looked at.
func (s *server) backtestExpression(c *Call) (any, error) {
	var in struct {
		ID         int64  `json:"id" form:"id" xml:"id"`
		Expression string `json:"expression" form:"expression" xml:"expression"`
		Func       string `json:"func" form:"func" xml:"func"`
		Op         string `json:"op" form:"op" xml:"op"`
		RightValue string `json:"right_value" form:"right_value" xml:"right_value"`
		MaxStep    *int   `json:"max_step" form:"max_step" xml:"max_step"`
		Priority   int    `json:"priority" form:"priority" xml:"priority"`
		trialInput
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if in.ID > 0 {
		old, err := s.Portal.Expression(c.Ctx(), in.ID)
		if err == nil {
			err = s.needExpression(c, old)
		}
		if err != nil {
			return nil, err
		}
		if in.Expression == "" && in.Func == "" {
			in.Expression, in.Func, in.Op, in.RightValue, in.MaxStep, in.Priority = old.Expression, old.Func, old.Op, old.RightValue, &old.MaxStep, old.Priority
		}
	}
	for _, text := range []*string{&in.Func, &in.Op, &in.RightValue} {
		*text = strings.TrimSpace(*text)
	}
	var wrong problems
	if in.Expression == "" {
		wrong.add("expression", "expression is required")
	} else {
		in.Expression = wrong.expressionText(in.Expression)
	}
	warnings := wrong.condition(in.Func, in.Op, in.RightValue, in.MaxStep, in.Priority)
	in.trialInput.check(&wrong, s.Now())
	if err := wrong.err(); err != nil {
		return nil, err
	}
	metric, tags := watchedBy(in.Expression)
	demands := map[string]string{}
	for k, v := range tags {
		if k != "endpoint" { // no tag of the counter, or not only
			demands[k] = v
		}
	}
	return s.backtest(c, &trial{
		trialInput: in.trialInput, metric: metric, fn: in.Func, op: in.Op, right: in.RightValue, maxStep: *in.MaxStep, warnings: warnings, demands: demands,
		matches: func(endpoint string, of map[string]string) bool { return verdict.MatchExpression(tags, endpoint, of) },
	}, &model.ReachParam{Any: true})
}

// watchedBy reads an expression that expressionText has written. Of a repeated tag the
// last counts, but of one that excludes all do.
func watchedBy(text string) (metric string, tags map[string]string) {
	pairs := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(text, "each("), ")"))
	pairs = slices.DeleteFunc(pairs, func(p string) bool {
		m, ok := strings.CutPrefix(p, "metric=")
		if ok {
			metric = m
		}
		return ok
	})
	return metric, model.RuleTags(strings.Join(pairs, ","))
}

// A trial is a rule on its way over history.
type trial struct {
	trialInput
	metric, fn, op, right string
	maxStep               int
	warnings              []string
	demands               map[string]string // tags that the counters must have, and some that they must not
	matches               func(endpoint string, tags map[string]string) bool

	rule   verdict.Trial // but for its spans
	answer trialAnswer
	counts struct{ derived, away, silent int }
}

// A trialAnswer says what a rule would have told. Times are Unix seconds.
type trialAnswer struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// Hosts are those that have a series that the rule watches, and Matches these series.
	// With More there are others that were not counted.
	Hosts   int  `json:"hosts"`
	Matches int  `json:"matches"`
	More    bool `json:"more"`
	// LookedAt are the series whose points were read, Points how many of these lie in the
	// range.
	LookedAt int   `json:"looked_at"`
	Points   int   `json:"points"`
	Oldest   int64 `json:"oldest"` // of these points; 0 without any
	// Fired counts problems that begin, Told all messages but recoveries, Recovered these.
	Fired       int `json:"fired"`
	Told        int `json:"told"`
	Recovered   int `json:"recovered"`
	FiredSeries int `json:"fired_series"`
	FiredHosts  int `json:"fired_hosts"`
	Firing      int `json:"firing"` // series with a problem that is open at the end
	// Events are in the order of time, the first 2000.
	Events []trialEvent `json:"events"`
	// Series are the worst, with their points.
	Series   []trialSeries `json:"series"`
	Warnings []string      `json:"warnings"`
	// Notes say in words what was left out, and what history can not tell.
	Notes []trialNote `json:"notes"`
}

type trialEvent struct {
	Endpoint string            `json:"endpoint"`
	Counter  string            `json:"counter"`
	Tags     map[string]string `json:"tags"`
	Time     int64             `json:"time"`
	Value    float64           `json:"value"` // what the function made of the points
	Status   string            `json:"status"`
	Step     int               `json:"step"`
}

// A trialSeries is a series as the rule sees it: of a counter its rates.
type trialSeries struct {
	Endpoint string `json:"endpoint"`
	Counter  string `json:"counter"`
	Type     string `json:"type"` // as stored
	Step     int    `json:"step"`
	Fired    int    `json:"fired"`
	Told     int    `json:"told"`
	Firing   bool   `json:"firing"`
	// Points are [time, value]; a null value is a gap.
	Points []linePoint `json:"points"`

	near float64 // how far the worst value is from the threshold, less is worse
}

// A linePoint is a point of a chart; NaN is a gap.
type linePoint struct {
	ts int64
	v  float64
}

// MarshalJSON writes [time, value].
func (p linePoint) MarshalJSON() ([]byte, error) {
	b := strconv.AppendInt([]byte{'['}, p.ts, 10)
	return append(model.JSONFloat(p.v).AppendJSON(append(b, ',')), ']'), nil
}

// A trialNote has a code for programs, and what N counts.
type trialNote struct {
	Code string `json:"code"`
	N    int    `json:"n"`
	Text string `json:"text"`
}

func (t *trial) note(code string, n int, format string, args ...any) {
	t.answer.Notes = append(t.answer.Notes, trialNote{code, n, fmt.Sprintf(format, args...)})
}

// A trialTarget is a series that the rule watches.
type trialTarget struct {
	endpoint, counter string
	step              int
	last              int64
	spans             []verdict.Span
}

// backtest runs a rule that is checked over what the graphs hold of the series that p
// reaches.
func (s *server) backtest(c *Call, t *trial, p *model.ReachParam) (any, error) {
	select {
	case s.trials <- struct{}{}:
		defer func() { <-s.trials }()
	case <-c.Ctx().Done():
		return nil, c.Ctx().Err()
	}
	fn, err := expr.ParseFunc(t.fn)
	if err != nil {
		return nil, err // condition has seen it
	}
	op, err := expr.ParseOp(t.op)
	if err != nil {
		return nil, err
	}
	right, err := strconv.ParseFloat(t.right, 64)
	if err != nil {
		return nil, err
	}
	t.rule = verdict.Trial{
		Condition: verdict.Condition{Func: fn, Op: op, Right: right}, Rule: verdict.Rule{MaxStep: t.maxStep, MinInterval: *t.MinInterval}, From: t.Start,
	}
	t.answer = trialAnswer{
		Start: t.Start, End: t.End, Events: []trialEvent{}, Series: []trialSeries{}, Notes: []trialNote{}, Warnings: append([]string{}, t.warnings...),
	}
	p.From, p.To = t.Start, t.End+1
	reach, err := s.reach(c, p)
	if err != nil {
		return nil, err
	}
	if n := len(reach.Unknown); n > 0 {
		t.note("unknown_hosts", n, "%d hosts have no row in table host, so no strategy reaches them: %s", n, strings.Join(reach.Unknown[:min(n, 5)], ", "))
	}
	if reach.Until > 0 {
		t.note("hours", 0, "hours change too often for all of the range: from %d on the rule is taken to hold where it did then", reach.Until)
	}
	if !reach.Any && len(reach.Sets) == 0 {
		t.note("no_hosts", 0, "the rule reaches no host: its template is bound to no group with hosts, or the strategies of other templates take its place")
		return &t.answer, nil
	}
	found, err := s.targets(c, t, reach)
	if err != nil {
		return nil, err
	}
	away, err := s.tryAll(c, t, found)
	if err != nil {
		return nil, err
	}
	s.partial(c, normal(away))
	t.finish()
	return &t.answer, nil
}

// reach asks hbs, which compiles the rules, whom the rule would watch.
func (s *server) reach(c *Call, p *model.ReachParam) (*model.Reach, error) {
	if s.HBS == nil {
		return nil, &Error{Status: http.StatusBadGateway, Text: "no hbs is configured that could say which hosts a rule reaches: set hbs.addr"}
	}
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	b, err := s.HBS.Post(c.Ctx(), "/strategy/reach", body)
	if _, err := s.relayed(c, "hbs", b, err); err != nil {
		return nil, err
	}
	var r model.Reach
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, &Error{Status: http.StatusBadGateway, Text: fmt.Sprintf("hbs answers what can not be read: %v", err)}
	}
	return &r, nil
}

// targets finds the series that the rule watches and picks those to be looked at.
func (s *server) targets(c *Call, t *trial, reach *model.Reach) ([]trialTarget, error) {
	spans := map[string][]verdict.Span{}
	var hosts []string
	for _, set := range reach.Sets {
		var of []verdict.Span
		for _, s := range set.Spans {
			if s[0] <= t.Start {
				s[0] = math.MinInt64 // and before, where points fill the window
			}
			of = append(of, verdict.Span{From: s[0], To: s[1]})
		}
		for _, h := range set.Hosts {
			spans[h] = of
			hosts = append(hosts, h)
		}
	}
	always := []verdict.Span{{From: math.MinInt64, To: math.MaxInt64}}
	slices.Sort(hosts)
	if len(hosts) > maxTrialHosts {
		t.answer.More = true
		t.note("hosts", len(hosts)-maxTrialHosts, "of %d hosts %d are looked at", len(hosts), maxTrialHosts)
		hosts = hosts[:maxTrialHosts]
	}
	if reach.Any {
		hosts = nil
	}
	rows, more, err := s.findSeries(c, t.metric, t.demands, hosts)
	if err != nil {
		return nil, err
	}
	t.answer.More = t.answer.More || more
	if more {
		t.note("more", len(rows), "there are more series than the %d that can be counted; those beyond are not looked at", len(rows))
	}
	var found []trialTarget
	with, points := map[string]bool{}, 0
	for _, r := range rows {
		metric, tags, _ := strings.Cut(r.Counter, "/")
		of, known := spans[r.Endpoint]
		if !known && reach.Any {
			of, known = always, true
		}
		if metric != t.metric || !known || !t.matches(r.Endpoint, model.ParseTags(tags)) {
			continue
		}
		t.answer.Matches++
		with[r.Endpoint] = true
		if r.Last > 0 && r.Last < t.Start {
			t.counts.silent++
			continue
		}
		x := trialTarget{r.Endpoint, r.Counter, r.Step, r.Last, of}
		found = append(found, x)
		points += t.estimate(&x)
	}
	t.answer.Hosts = len(with)
	if len(found) == 0 {
		return nil, nil
	}
	// Too many are thinned out evenly, so that every corner of the fleet is looked at.
	n := min(len(found), maxTrialSeries, max(1, maxTrialPoints/max(1, points/len(found))))
	picked, budget := make([]trialTarget, 0, n), maxTrialPoints
	for i := range n {
		x := found[i*len(found)/n]
		if budget -= t.estimate(&x); budget < 0 && len(picked) > 0 {
			break
		}
		picked = append(picked, x)
	}
	if left := len(found) - len(picked); left > 0 {
		t.note("series_left_out", left, "of %d series %d were looked at, spread evenly; the other %d are left out of every count", len(found), len(picked), left)
	}
	return picked, nil
}

// lead is how long before the range points are read to fill the window, in seconds.
// Twice as long as it needs, for some may be missing.
func (t *trial) lead(step int) int64 {
	return min(int64(t.rule.Keep(false)*max(step, 1)*2), int64(maxTrialLead/time.Second))
}

// estimate is how many points a series has in the range, at most.
func (t *trial) estimate(x *trialTarget) int {
	step := cmp.Or(x.step, 60)
	return int((t.End-t.Start+t.lead(step))/int64(max(step, 1))) + 1
}

// findSeries lists the series of a metric whose counters have what the tags demand, of
// hosts, which are in order, or of all endpoints when they are nil. more says that there
// are others.
func (s *server) findSeries(c *Call, metric string, tags map[string]string, hosts []string) (rows []model.GraphCounter, more bool, err error) {
	whole := true
	if hosts == nil {
		found := s.Graphs.SearchEndpoints(c.Ctx(), model.GraphSearchParam{Tags: []string{metric}, Limit: maxTrialFound})
		whole, more = found.Complete(), found.Total > len(found.Rows)
		for _, e := range found.Rows {
			hosts = append(hosts, e.Endpoint)
		}
	}
	for part := range slices.Chunk(hosts, 10_000) {
		if !whole || len(rows) >= maxTrialFound {
			more = more || len(rows) >= maxTrialFound
			break
		}
		found := s.Graphs.SearchCounters(c.Ctx(), model.GraphSearchParam{Endpoints: part, Match: counterPattern(metric, tags), Limit: maxTrialFound - len(rows)})
		whole = found.Complete()
		rows, more = append(rows, found.Rows...), more || found.Total > len(found.Rows)
	}
	if whole {
		return rows, more, c.Ctx().Err()
	}
	// A node is away or can not search: the index that all of them write has the rest.
	ctx, cancel := context.WithTimeout(c.Ctx(), s.searchTime())
	defer cancel()
	keys, err := s.Portal.SeriesOfMetric(ctx, metric, maxTrialFound)
	if err != nil {
		return nil, false, s.tooSlow(c, ctx, err)
	}
	rows = rows[:0]
	for _, k := range keys {
		rows = append(rows, model.GraphCounter{Endpoint: k.Endpoint, Counter: k.Counter})
	}
	slices.SortFunc(rows, func(a, b model.GraphCounter) int {
		return cmp.Or(strings.Compare(a.Endpoint, b.Endpoint), strings.Compare(a.Counter, b.Counter))
	})
	return rows, len(keys) == maxTrialFound, nil
}

// tryAll reads the points of targets, a part at a time, and runs the rule over them. It
// returns the nodes that did not answer.
func (s *server) tryAll(c *Call, t *trial, targets []trialTarget) (away []string, err error) {
	hosts := map[string]bool{}
	for len(targets) > 0 {
		n, points := 0, 0
		for n < len(targets) && (n == 0 || points+t.estimate(&targets[n]) <= trialPart) {
			points += t.estimate(&targets[n])
			n++
		}
		part := targets[:n]
		targets = targets[n:]
		queries := make([]*model.GraphQueryParam, n)
		for i, x := range part {
			queries[i] = &model.GraphQueryParam{
				Start: t.Start - t.lead(cmp.Or(x.step, 60)), End: t.End, ConsolFun: "AVERAGE", Endpoint: x.endpoint, Counter: x.counter,
			}
		}
		answers, failed := s.Graphs.Received(c.Ctx(), queries)
		if err := c.Ctx().Err(); err != nil {
			return nil, err
		}
		away = append(away, failed...)
		for i, a := range answers {
			if a == nil {
				t.counts.away++
				continue
			}
			if t.judge(&part[i], a) {
				hosts[part[i].endpoint] = true
			}
		}
	}
	t.answer.FiredHosts = len(hosts)
	return away, nil
}

// judge runs the rule over a series and says whether it fired.
func (t *trial) judge(x *trialTarget, a *graphs.Series) bool {
	// A graph that answers rates has taken them for us.
	gauge := a.DsType == model.Gauge || !a.Raw
	points := make([]expr.Point, 0, len(a.Values))
	inside := 0
	for _, p := range a.Values {
		if v := float64(p.Value); !math.IsNaN(v) && !math.IsInf(v, 0) && p.Timestamp <= t.End {
			points = append(points, expr.Point{Ts: p.Timestamp, Value: v})
			if p.Timestamp >= t.Start {
				inside++
			}
		}
	}
	t.answer.LookedAt++
	t.answer.Points += inside
	if inside == 0 {
		t.counts.silent++
		return false
	}
	if !a.Raw {
		t.counts.derived++
	}
	if first := points[len(points)-inside].Ts; t.answer.Oldest == 0 || first < t.answer.Oldest {
		t.answer.Oldest = first
	}
	rule := t.rule
	rule.Spans = x.spans
	told, state := rule.Run(nil, points, gauge)
	out := trialSeries{Endpoint: x.endpoint, Counter: x.counter, Type: a.DsType, Step: a.Step, Firing: state.Status == verdict.Problem}
	_, sorted, _ := strings.Cut(x.counter, "/")
	tags := model.ParseTags(sorted)
	for _, e := range told {
		// Written as a judge writes it: what JSON can not say is clamped.
		ev := verdict.Event("", x.endpoint, tags, e.State, e.Left)
		switch {
		case e.Emit == verdict.TellOK:
			t.answer.Recovered++
		case e.Step == 1:
			out.Fired++
			out.Told++
		default:
			out.Told++
		}
		t.answer.Events = append(t.answer.Events, trialEvent{
			Endpoint: x.endpoint, Counter: x.counter, Tags: tags, Time: ev.EventTime, Value: ev.LeftValue, Status: ev.Status, Step: ev.CurrentStep,
		})
	}
	t.answer.Fired += out.Fired
	t.answer.Told += out.Told
	if out.Firing {
		t.answer.Firing++
	}
	if out.Fired > 0 {
		t.answer.FiredSeries++
	}
	t.show(&out, points, gauge)
	return out.Fired > 0
}

// show keeps a series with its points when it is among the worst so far.
func (t *trial) show(out *trialSeries, points []expr.Point, gauge bool) {
	seen := make([]expr.Point, 0, len(points))
	out.near = math.Inf(1)
	for i, p := range points {
		if !gauge {
			if i == 0 || p.Ts <= points[i-1].Ts {
				continue
			}
			p.Value = (p.Value - points[i-1].Value) / float64(p.Ts-points[i-1].Ts)
		}
		if p.Ts >= t.Start {
			seen = append(seen, p)
			out.near = min(out.near, t.distance(p.Value))
		}
	}
	all := append(t.answer.Series, *out)
	slices.SortStableFunc(all, func(a, b trialSeries) int {
		return cmp.Or(cmp.Compare(b.Fired, a.Fired), cmp.Compare(b.Told, a.Told), cmp.Compare(a.near, b.near),
			strings.Compare(a.Endpoint, b.Endpoint), strings.Compare(a.Counter, b.Counter))
	})
	t.answer.Series = all[:min(len(all), maxTrialShown)]
	for i := range t.answer.Series {
		if s := &t.answer.Series[i]; s.Points == nil {
			s.Points = line(seen, s.Step, t.Start, t.End)
		}
	}
}

// distance is how far a value is from making the condition hold; less is worse.
func (t *trial) distance(v float64) float64 {
	switch right := t.rule.Right; {
	case strings.HasPrefix(t.op, "<"):
		return v - right
	case strings.HasPrefix(t.op, ">"):
		return right - v
	default:
		return math.Abs(v - right)
	}
}

// line thins points out for a chart: the lowest and the highest of each stretch stay,
// and gaps become nulls.
func line(points []expr.Point, step int, start, end int64) []linePoint {
	gap := int64(3 * max(step, 1))
	width := int64(1)
	if len(points) > maxTrialLine {
		width = max(1, 2*(end-start+1)/maxTrialLine)
		gap = max(gap, 2*width)
	}
	out := make([]linePoint, 0, min(len(points), maxTrialLine)+8)
	add := func(p expr.Point) {
		if n := len(out); n > 0 {
			if last := out[n-1].ts; last == p.Ts {
				return
			} else if p.Ts-last > gap {
				out = append(out, linePoint{last + int64(max(step, 1)), math.NaN()})
			}
		}
		out = append(out, linePoint{p.Ts, p.Value})
	}
	for i := 0; i < len(points); {
		j, low, high := i+1, i, i
		for ; j < len(points) && width > 1 && (points[j].Ts-start)/width == (points[i].Ts-start)/width; j++ {
			if points[j].Value < points[low].Value {
				low = j
			}
			if points[j].Value > points[high].Value {
				high = j
			}
		}
		add(points[min(low, high)])
		add(points[max(low, high)])
		i = j
	}
	return out
}

// finish puts the answer in order and says what history can not tell.
func (t *trial) finish() {
	a := &t.answer
	slices.SortStableFunc(a.Events, func(x, y trialEvent) int {
		return cmp.Or(cmp.Compare(x.Time, y.Time), strings.Compare(x.Endpoint, y.Endpoint), strings.Compare(x.Counter, y.Counter))
	})
	if n := len(a.Events) - maxTrialEvents; n > 0 {
		t.note("events_left_out", n, "the first %d of %d events are listed; the counts are of all", maxTrialEvents, len(a.Events))
		a.Events = a.Events[:maxTrialEvents]
	}
	if a.Matches == 0 {
		t.note("no_series", 0, "no graph holds a series that the rule would watch")
	}
	if n := t.counts.silent; n > 0 {
		t.note("silent", n, "%d series have no point in the range", n)
	}
	if n := t.counts.away; n > 0 {
		t.note("away", n, "%d series are on graph nodes that did not answer, and are left out", n)
	}
	if n := t.counts.derived; n > 0 {
		t.note("consolidated", n, "%d series come from graph nodes that do not give out what they received: single missing points are filled there,"+
			" a counter is shown by its rate, and its restart, which a judge sees as a negative rate, is a gap", n)
	}
	if a.Oldest > 0 && a.Oldest-t.Start > max(600, (t.End-t.Start)/20) {
		t.note("short", int(a.Oldest-t.Start), "the oldest point that was found is of %d, %s after the start of the range", a.Oldest, time.Duration(a.Oldest-t.Start)*time.Second)
	}
}
