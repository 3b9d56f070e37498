package v1

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"falcon/common/model"
)

// fakeJudges say what they are told to.
type fakeJudges struct {
	problems []model.Problem
	combined model.CombinationsReply
	failed   []string
	asked    model.CombinationsRequest
	acked    []model.AckRequest
	matched  int
	err      error
}

func (f *fakeJudges) Problems(context.Context) ([]model.Problem, []string) {
	return f.problems, f.failed
}

func (f *fakeJudges) Problem(_ context.Context, id string) (all []model.Problem, failed []string) {
	for _, p := range f.problems {
		if p.ID == id {
			all = append(all, p)
		}
	}
	return all, f.failed
}

func (f *fakeJudges) Combinations(_ context.Context, r model.CombinationsRequest) (model.CombinationsReply, []string) {
	f.asked = r
	return f.combined, f.failed
}

func (f *fakeJudges) Ack(_ context.Context, r model.AckRequest) (int, error) {
	f.acked = append(f.acked, r)
	return f.matched, f.err
}

// judged is a world with judges.
func judged(t *testing.T, j Judges) *world {
	w := newWorld(t, options{})
	w.judges = j
	w.serve(defaults(), w.client)
	return w
}

// Of open problems those are listed of which there is more to say than their case does;
// one that two judges or two rules tell stands there once; who did not answer is named.
func TestProblems(t *testing.T) {
	j := &fakeJudges{problems: []model.Problem{
		{ID: "s_1_quiet", LastPoint: 100},
		{ID: "s_2_stopped", LastPoint: 50, Stopped: true, ClosesAt: 900},
		{ID: "s_2_stopped", LastPoint: 40, Stopped: true, Gone: true, ClosesAt: 800, Acked: true, AckedBy: "ann", AckedAt: 60},
		{ID: "s_3_acked", LastPoint: 100, Acked: true, AckedBy: "bob", AckedAt: 70},
		{ID: "m_4", Acked: true},
	}}
	w := judged(t, j)
	want := `[{"event_id":"s_2_stopped","last_point":50,"stopped":true,"closes_at":900,"host_gone":false,"acked":true,"acked_by":"ann","acked_at":60},` +
		`{"event_id":"s_3_acked","last_point":100,"stopped":false,"closes_at":0,"host_gone":false,"acked":true,"acked_by":"bob","acked_at":70},` +
		`{"event_id":"m_4","last_point":0,"stopped":false,"closes_at":0,"host_gone":false,"acked":true,"acked_by":"","acked_at":0}]`
	if a := w.want("bob", "GET", "/alarm/problems", nil, 200, want); a.header.Get(headerPartial) != "" {
		t.Errorf("partial: %q", a.header.Get(headerPartial))
	}
	w.want("bob", "GET", "/alarm/problems?event_id=s_1_quiet", nil, 200,
		`[{"event_id":"s_1_quiet","last_point":100,"stopped":false,"closes_at":0,"host_gone":false,"acked":false,"acked_by":"","acked_at":0}]`)
	w.want("bob", "GET", "/alarm/problems?event_id=none", nil, 200, `[]`)
	j.failed = []string{"10.0.0.1:6080", "10.0.0.2:6080"}
	if a := w.call("bob", "GET", "/alarm/problems", nil); a.status != 200 || a.header.Get(headerPartial) != "10.0.0.1:6080,10.0.0.2:6080" {
		t.Errorf("%d, partial %q", a.status, a.header.Get(headerPartial))
	}
	w = judged(t, nil)
	for _, path := range []string{"/alarm/problems", "/alarm/combinations?endpoint=h1"} {
		if a := w.call("bob", "GET", path, nil); a.status != http.StatusBadGateway || !strings.Contains(a.body, "set judge.addrs") {
			t.Errorf("without judges: %d %s", a.status, a.body)
		}
	}
}

func TestCombinations(t *testing.T) {
	j := &fakeJudges{combined: model.CombinationsReply{Total: 2, Combinations: []model.Combination{{Serial: "s", Endpoint: "h1"}, {Serial: "s", Endpoint: "h2"}}}}
	w := judged(t, j)
	for _, tc := range []struct {
		query string
		want  model.CombinationsRequest
	}{
		{"endpoint=h1", model.CombinationsRequest{Endpoint: "h1", Limit: 100}},
		{"serial=s&limit=7", model.CombinationsRequest{Serial: "s", Limit: 7}},
		{"event_id=m_1&limit=5000", model.CombinationsRequest{Event: "m_1", Limit: 1000}},
	} {
		a := w.call("bob", "GET", "/alarm/combinations?"+tc.query, nil)
		if got := decode[model.CombinationsReply](t, a); got.Total != 2 || len(got.Combinations) != 2 || j.asked != tc.want {
			t.Errorf("%s: %s, asked for %+v", tc.query, a.body, j.asked)
		}
	}
	if got := decode[model.CombinationsReply](t, w.call("bob", "GET", "/alarm/combinations?serial=s&limit=1", nil)); got.Total != 2 || len(got.Combinations) != 1 {
		t.Errorf("%+v", got)
	}
	w.want("bob", "GET", "/alarm/combinations", nil, 400, `{"error":"endpoint, serial or event_id: one of them is required"}`)
}

// An acknowledgement carries the name of the caller and leaves a line; what it does not
// reach is said.
func TestAcknowledge(t *testing.T) {
	j := &fakeJudges{matched: 2}
	w := judged(t, j)
	w.want("bob", "POST", "/alarm/ack", map[string]any{"event_id": " s_5_a "}, 200, `{"event_id":"s_5_a","matched":2}`)
	w.want("ann", "DELETE", "/alarm/ack/s_5_a", nil, 200, `{"event_id":"s_5_a","matched":2}`)
	now := w.now().Unix()
	want := []model.AckRequest{{EventId: "s_5_a", User: "bob", At: now}, {EventId: "s_5_a", User: "ann", At: now, Undo: true}}
	if fmt.Sprint(j.acked) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", j.acked, want)
	}
	logs := must(w.db.OperLogs(t.Context(), 10))
	if len(logs) != 2 {
		t.Fatalf("%d lines in the log", len(logs))
	}
	for i, op := range []string{"unacknowledge", "acknowledge"} {
		if l := logs[i]; l.Op != op || l.Object != "event_case" || l.ObjectID != "s_5_a" {
			t.Errorf("logged %+v", l)
		}
	}
	j.matched = 0
	w.want("bob", "POST", "/alarm/ack", map[string]any{"event_id": "s_5_a"}, 404, `{"error":"there is nothing to acknowledge: the problem is over, or its rule is gone"}`)
	j.err = errors.New("judge 10.0.0.1:6080: connection refused")
	w.want("bob", "POST", "/alarm/ack", map[string]any{"event_id": "s_5_a"}, 502, `{"error":"the judge of this alarm can not be told: judge 10.0.0.1:6080: connection refused"}`)
	// A case that is open says who works on it, also while its judge is away.
	sqlExec(t, w.db.Alarms, "INSERT INTO event_cases (id, endpoint, metric, cond, priority, status, timestamp) VALUES ('s_6_b', 'h', 'm', '', 1, 'PROBLEM', ?)", w.now())
	row := func() string {
		rows := decode[[]struct {
			AckedBy string `json:"acked_by"`
		}](t, w.call("bob", "GET", "/alarm/eventcases?event_id=s_6_b", nil))
		if len(rows) != 1 {
			t.Fatalf("%d cases", len(rows))
		}
		return rows[0].AckedBy
	}
	a := w.call("bob", "POST", "/alarm/ack", map[string]any{"event_id": "s_6_b"})
	if a.status != 200 || a.body != `{"event_id":"s_6_b","matched":1}` || row() != "bob" || !strings.Contains(a.header.Get(headerPartial), "10.0.0.1") {
		t.Errorf("%d %s %q, the case says %q", a.status, a.body, a.header.Get(headerPartial), row())
	}
	j.err = nil
	w.want("bob", "DELETE", "/alarm/ack/s_6_b", nil, 200, `{"event_id":"s_6_b","matched":1}`)
	if row() != "" {
		t.Errorf("taken back, the case says %q", row())
	}
	if a := w.call("bob", "POST", "/alarm/ack", map[string]any{}); a.status != 400 || !strings.Contains(a.body, "event_id") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := len(must(w.db.OperLogs(t.Context(), 10))); n != 4 {
		t.Errorf("%d lines in the log: what did not happen is none", n)
	}
}
