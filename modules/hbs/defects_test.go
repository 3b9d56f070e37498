package hbs

import (
	"errors"
	"testing"

	"falcon/common/portal"
	"falcon/common/rpc"
)

// What a host is told by the fork's call is what the whole book says: hours, all
// ancestors, overrides, and each strategy once for each action.
func TestDefectF04OneMergeForAllAnswers(t *testing.T) {
	m := fleet(1)
	s := func(id, tpl int, metric, begin, end string) portal.RuleStrategy {
		return portal.RuleStrategy{ID: id, Metric: metric, Func: "all(#1)", Op: "<", RightValue: "5", MaxStep: 3, Template: tpl, RunBegin: begin, RunEnd: end}
	}
	now := "00:00"
	m.rows.Templates = []portal.RuleTemplate{{ID: 1, Name: "grandparent", Action: 9}, {ID: 2, Name: "parent", Parent: 1, Action: 9}, {ID: 3, Name: "leaf", Parent: 2, Action: 9}, {ID: 4, Name: "other", Parent: 1, Action: 9}}
	m.rows.Strategies = []portal.RuleStrategy{
		s(1, 1, "cpu.idle", "", ""),   // replaced by 3
		s(2, 1, "mem.free", "", ""),   // from the grandparent, by two ways
		s(3, 3, "cpu.idle", "", ""),   // the leaf's
		s(4, 2, "load", now, "23:59"), // always
		s(5, 2, "swap", "", ""),
	}
	m.rows.GroupTemplates = []portal.RulePair{{Group: 1, Other: 3}, {Group: 1, Other: 4}}
	h, addr := serving(t, m, nil)
	e, err := h.keeper.get()
	if err != nil {
		t.Fatal(err)
	}
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr})
	defer c.Close()
	var r endStrategies
	if err := c.Call(t.Context(), "Hbs.GetOneEndStrategies", &endpoint{"h0"}, &r); err != nil {
		t.Fatal(err)
	}
	if got, want := ids(r.Strategies), ids(e.Book.Of("h0")); got != want {
		t.Errorf("the call says %s, the book %s", got, want)
	}
	if got := ids(r.Strategies); got != "1 2 3 4 5" { // 1 by the template that nothing replaces it in
		t.Errorf("strategies %s", got)
	}
	m.change(func(m *memory) { m.rows.GroupTemplates = m.rows.GroupTemplates[:1] })
	_, addr = serving(t, m, nil)
	c2 := rpc.NewClient(rpc.ClientOptions{Addr: addr})
	defer c2.Close()
	if err := c2.Call(t.Context(), "Hbs.GetOneEndStrategies", &endpoint{"h0"}, &r); err != nil || ids(r.Strategies) != "2 3 4 5" {
		t.Errorf("by one way: %s, %v", ids(r.Strategies), err)
	}
}

// A name of a host is a value, whatever is in it, and a failed query is an error.
func TestDefectF05NamesAreValues(t *testing.T) {
	db, err := portal.Open(t.Context(), portal.Config{Dir: t.TempDir(), Only: []string{portal.Portal}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := []string{"db1", `x'; DROP TABLE host; --`, `" OR ""="`, `\`, "a' OR '1'='1"}
	var reports []portal.HostReport
	for _, n := range names {
		reports = append(reports, portal.HostReport{Hostname: n, IP: "10.0.0.1'--"})
	}
	if added, err := db.SaveHosts(t.Context(), reports, "", false); err != nil || len(added) != len(names) {
		t.Fatalf("added %q, %v", added, err)
	}
	rows, err := db.RuleRows(t.Context())
	if err != nil || len(rows.Hosts) != len(names) {
		t.Fatalf("rows %+v, %v", rows, err)
	}
	m := disks()
	for _, h := range rows.Hosts {
		h.ID += 100 // in no group
		m.rows.Hosts = append(m.rows.Hosts, h)
	}
	h, addr := serving(t, m, nil)
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr})
	defer c.Close()
	for _, n := range names {
		var r endStrategies
		if err := c.Call(t.Context(), "Hbs.GetOneEndStrategies", &endpoint{n}, &r); err != nil || len(r.Strategies) != 0 {
			t.Errorf("%q: %+v, %v", n, r, err)
		}
	}
	m.change(func(m *memory) { m.err = errors.New("no such table") })
	h.keeper.touch()
	var r endStrategies
	if err := c.Call(t.Context(), "Hbs.GetOneEndStrategies", &endpoint{"h0"}, &r); err != nil || ids(r.Strategies) != "1 2 3 4 5" {
		t.Errorf("after a query that fails: %s, %v", ids(r.Strategies), err)
	}
}
