package judge

import (
	"context"
	"net/http"
	"strings"
	"time"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/modules/judge/filter"
)

// What the filter says of an endpoint and a metric, in the words of the classic one.
const (
	inUse   = "INUSE"   // a rule watches series of them, or may
	filterd = "FILTER"  // none does: points are dropped, and muted at our transfers
	unknown = "UNKNOWN" // nobody knows yet: points wait
)

// interest is the answer of /filter/<endpoint>/<metric>.
type interest struct {
	Endpoint string `json:"endpoint"`
	Metric   string `json:"metric"`
	// Tags are those that were asked for; without them the state is that of all series of
	// the metric, and says INUSE when a rule may watch one of them.
	Tags        string              `json:"tags"`
	State       string              `json:"state"`
	Why         string              `json:"why"`
	Strategies  []*model.Strategy   `json:"strategies"`
	Expressions []*model.Expression `json:"expressions"`
	// Series is how many of them are kept.
	Series int `json:"series"`
}

// filterPage answers /filter/<endpoint>/<metric>[/k=v,k=v]. A name with slashes is given
// as ?endpoint=&metric=&tags=.
func (j *Judge) filterPage(w http.ResponseWriter, r *http.Request) {
	endpoint, metric, _ := strings.Cut(r.PathValue("key"), "/")
	metric, tags, _ := strings.Cut(metric, "/")
	if q := r.URL.Query(); q.Has("endpoint") {
		endpoint, metric, tags = q.Get("endpoint"), q.Get("metric"), q.Get("tags")
	}
	of, ok := model.ParseTagsStrict(tags)
	if endpoint == "" || metric == "" || !ok {
		http.Error(w, "write /filter/ENDPOINT/METRIC or /filter/ENDPOINT/METRIC/k=v,k=v", http.StatusBadRequest)
		return
	}
	daemon.WriteJSON(w, j.interest(endpoint, metric, tags, of))
}

func (j *Judge) interest(endpoint, metric, tags string, of map[string]string) interest {
	out := interest{Endpoint: endpoint, Metric: metric, Tags: tags, State: filterd, Strategies: []*model.Strategy{}, Expressions: []*model.Expression{}}
	j.table.names(func(e, m string) {
		if e == endpoint && m == metric {
			out.Series++
		}
	})
	f := j.inForce.Load()
	if f == nil {
		out.State, out.Why = unknown, "judge has no rules yet: points wait"
		return out
	}
	var rules []*filter.Rule
	if tags == "" {
		rules = f.index.Candidates(endpoint, metric)
	} else {
		rules = f.index.TextRules(f.index.Rules(nil, endpoint, metric, of), endpoint, metric, of)
	}
	for _, r := range rules {
		if r.Strategy != nil {
			out.Strategies = append(out.Strategies, r.Strategy)
		} else {
			out.Expressions = append(out.Expressions, r.Expression)
		}
	}
	switch {
	case len(rules) > 0:
		out.State, out.Why = inUse, "rules watch it"
	case f.asked && !j.follow.Has(endpoint, metric):
		out.State, out.Why = unknown, "hbs was not asked for it, or has not answered: points wait"
	case f.index.Disabled(endpoint):
		out.Why = "the host is in maintenance"
	case !f.index.Knows(endpoint):
		out.Why = "no strategy is in force on the host, and no expression matches"
	case tags != "":
		out.Why = "no rule of the host, and no expression, has these tags"
	default:
		out.Why = "no rule of the host, and no expression, has this metric"
	}
	return out
}

// silentAfter is how long a series may be silent before its open problem is shown as
// one of a series that has stopped; five steps, if those are longer.
const silentAfter = 10 * time.Minute

// An OpenEvent is the last event of a rule on a series, with what the judge knows of the
// series now.
type OpenEvent struct {
	*model.Event
	// LastPoint is when the judge took a point of the series last, Unix seconds; 0 when it
	// does not keep the series.
	LastPoint int64 `json:"last_point"`
	// Stopped says that the series is silent: nothing but time will end its problem, which
	// is closed at ClosesAt, Unix seconds, if no point comes.
	Stopped  bool  `json:"stopped"`
	ClosesAt int64 `json:"closes_at"`
	// Gone says that the host has no rules and is not in maintenance.
	Gone bool `json:"host_gone"`
	// AckedBy and AckedAt say who works on the problem, and since when, Unix seconds.
	Acked   bool   `json:"acked"`
	AckedBy string `json:"acked_by"`
	AckedAt int64  `json:"acked_at"`
}

// events returns the last event of each rule on each series, oldest first; all of them,
// or those of a status.
func (j *Judge) events(status string) []OpenEvent {
	out := []OpenEvent{}
	now := j.now().Unix()
	rules := j.inForce.Load()
	all, _ := j.out.state()
	last := map[string]int{} // where in all
	for i, t := range all {
		last[t.Key()] = i
	}
	for i, t := range all {
		ev := t.Event
		if last[t.Key()] != i || status != "" && ev.Status != status {
			continue
		}
		o := OpenEvent{Event: ev}
		if e := j.table.getKind(model.PK(ev.Endpoint, ev.Metric(), model.SortedTags(ev.PushedTags)), ev.Texts()); e != nil {
			e.shard.mu.Lock()
			o.LastPoint = e.seen
			closes := j.closes(e)
			e.shard.mu.Unlock()
			if o.Stopped = now-o.LastPoint > max(int64(silentAfter/time.Second), 5*int64(e.step.Load())); o.Stopped && ev.Status == model.StatusProblem {
				o.ClosesAt = max(closes, now)
			}
		} else {
			o.Stopped = true
		}
		o.Gone = ev.Strategy != nil && rules != nil && !rules.asked && !rules.index.Knows(ev.Endpoint)
		if a := t.Acked; a != nil {
			o.Acked, o.AckedBy, o.AckedAt = true, a.By, a.At
		}
		out = append(out, o)
	}
	return out
}

// eventsRequest asks Judge.Events for the events of a status, or all.
type eventsRequest struct {
	Status string `json:"status"`
}

type eventsReply struct {
	Events []OpenEvent `json:"events"`
}

func (j *Judge) eventsCall(_ context.Context, _ *rpc.Conn, r *eventsRequest) (*eventsReply, error) {
	return &eventsReply{j.events(r.Status)}, nil
}

// problemsCall is Judge.Problems: of each open problem what a page shows beside its case.
func (j *Judge) problemsCall(_ context.Context, _ *rpc.Conn, r *model.ProblemsRequest) (*model.ProblemsReply, error) {
	reply := &model.ProblemsReply{Problems: []model.Problem{}}
	for _, o := range j.events(model.StatusProblem) {
		if r.ID == "" || r.ID == o.Id {
			reply.Problems = append(reply.Problems, model.Problem{
				ID: o.Id, Endpoint: o.Endpoint, Metric: o.Metric(), Tags: o.PushedTags, LastPoint: o.LastPoint, Stopped: o.Stopped, ClosesAt: o.ClosesAt, Gone: o.Gone,
				Acked: o.Acked, AckedBy: o.AckedBy, AckedAt: o.AckedAt,
			})
		}
	}
	return reply, nil
}
