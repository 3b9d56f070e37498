package v1

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/modules/api/graphs/graphtest"
)

// made calls a route that makes something and returns its id.
func (w *world) made(who, method, path string, body any) int64 {
	w.t.Helper()
	a := w.call(who, method, path, body)
	var v struct{ ID int64 }
	if err := json.Unmarshal([]byte(a.body), &v); a.status != http.StatusOK || err != nil || v.ID == 0 {
		w.t.Fatalf("%s %s as %q: %d %s", method, path, who, a.status, a.body)
	}
	return v.ID
}

// may says whether a call is let in: yes, or no.
func (w *world) may(who, method, path string, body any) string {
	w.t.Helper()
	a := w.call(who, method, path, body)
	switch {
	case a.status == http.StatusOK:
		return "yes"
	case strings.Contains(a.body, textDenied):
		return "no"
	}
	return fmt.Sprintf("%d %s", a.status, a.body)
}

// strategyBody is a strategy that can be saved; pairs change it.
func strategyBody(pairs ...any) map[string]any {
	m := map[string]any{"metric": "cpu.idle", "max_step": 3, "priority": 1, "func": "all(#3)", "op": "<", "right_value": "5"}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

func expressionBody(teams []string, pairs ...any) map[string]any {
	m := map[string]any{"expression": "each(metric=qps srv=pay)", "max_step": 3, "priority": 1, "func": "all(#3)", "op": "<", "right_value": "5",
		"action": map[string]any{"uic": teams}}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// A rule belongs to who made it and to the teams it tells: the owner (ann), a team
// mate (bob), a stranger (cid), an admin, root, a maintainer (dan) and a daemon that
// may write. Each line is done to things of ann's made anew.
func TestRulesHaveOwners(t *testing.T) {
	const strict = `
                                             ann  bob  cid  admin root dan  plus
POST   /team/user                            yes  yes  no   yes   yes  no   no
PUT    /team                                 yes  yes  no   yes   yes  no   no
DELETE /team/{team}                          yes  no   no   yes   yes  no   no
PUT    /hostgroup                            yes  no   no   yes   yes  yes  no
POST   /hostgroup/host                       yes  no   no   yes   yes  yes  no
PUT    /hostgroup/host                       yes  no   no   yes   yes  yes  no
PATCH  /hostgroup/{group}/host               yes  no   no   yes   yes  yes  no
PUT    /hostgroup/{group}/hosts              yes  no   no   yes   yes  yes  no
DELETE /hostgroup/{group}                    yes  no   no   yes   yes  yes  no
POST   /plugin                               yes  no   no   yes   yes  yes  no
DELETE /plugin/{plugin}                      yes  no   no   yes   yes  yes  no
POST   /hostgroup/template                   yes  yes  no   yes   yes  yes  no
PUT    /hostgroup/template                   yes  yes  no   yes   yes  yes  no
PUT    /template                             yes  yes  no   yes   yes  yes  no
DELETE /template/{template}                  yes  yes  no   yes   yes  yes  no
POST   /template/action                      yes  yes  no   yes   yes  yes  no
PUT    /template/action                      yes  yes  no   yes   yes  yes  no
POST   /strategy                             yes  yes  no   yes   yes  yes  no
PUT    /strategy                             yes  yes  no   yes   yes  yes  no
DELETE /strategy/{strategy}                  yes  yes  no   yes   yes  yes  no
POST   /strategy/backtest                    yes  yes  no   yes   yes  yes  no
POST   /union                                yes  yes  no   yes   yes  yes  no
PUT    /union                                yes  yes  no   yes   yes  yes  no
DELETE /union/{union}                        yes  yes  no   yes   yes  yes  no
PUT    /expression                           yes  yes  no   yes   yes  yes  no
DELETE /expression/{expression}              yes  yes  no   yes   yes  yes  no
POST   /aggregator                           yes  no   no   yes   yes  yes  no
PUT    /aggregator                           yes  yes  no   yes   yes  yes  no
DELETE /aggregator/{aggregator}              yes  no   no   yes   yes  yes  no
POST   /nodata                               yes  yes  yes  yes   yes  yes  yes
PUT    /nodata                               yes  no   no   yes   yes  yes  no
DELETE /nodata/{nodata}                      yes  no   no   yes   yes  yes  no
POST   /template                             yes  yes  yes  yes   yes  yes  yes
POST   /expression                           yes  yes  yes  yes   yes  yes  yes
POST   /host/maintain                        yes  yes  yes  yes   yes  yes  yes
DELETE /host/maintain                        yes  yes  yes  yes   yes  yes  yes
PUT    /host/env                             yes  yes  no   yes   yes  yes  no
POST   /alarm/disable                        yes  yes  no   yes   yes  yes  no
DELETE /alarm/disable/{disable}              yes  yes  no   yes   yes  yes  no
`
	// Stock's holes, when permissions are not strict.
	const lenient = `
                                             ann  bob  cid  admin root dan  plus
PUT    /hostgroup                            yes  yes  yes  yes   yes  yes  yes
DELETE /hostgroup/{group}                    yes  no   no   yes   yes  yes  no
POST   /hostgroup/template                   yes  yes  yes  yes   yes  yes  yes
PUT    /hostgroup/template                   yes  no   no   yes   yes  yes  no
PUT    /template                             yes  yes  no   yes   yes  yes  no
DELETE /template/{template}                  yes  yes  yes  yes   yes  yes  yes
POST   /template/action                      yes  yes  yes  yes   yes  yes  yes
PUT    /template/action                      yes  yes  yes  yes   yes  yes  yes
POST   /strategy                             yes  yes  yes  yes   yes  yes  yes
PUT    /strategy                             yes  yes  yes  yes   yes  yes  yes
DELETE /strategy/{strategy}                  yes  yes  yes  yes   yes  yes  yes
POST   /strategy/backtest                    yes  yes  yes  yes   yes  yes  yes
POST   /union                                yes  yes  yes  yes   yes  yes  yes
PUT    /union                                yes  yes  yes  yes   yes  yes  yes
DELETE /union/{union}                        yes  yes  yes  yes   yes  yes  yes
DELETE /expression/{expression}              yes  yes  no   yes   yes  yes  no
POST   /aggregator                           yes  no   no   yes   yes  yes  no
PUT    /aggregator                           yes  yes  no   yes   yes  yes  no
DELETE /aggregator/{aggregator}              yes  no   no   yes   yes  yes  no
PUT    /nodata                               yes  yes  yes  yes   yes  yes  yes
DELETE /nodata/{nodata}                      yes  yes  yes  yes   yes  yes  yes
`
	for _, tc := range []struct {
		name, table string
		strict      bool
	}{{"strict", strict, true}, {"lenient", lenient, false}} {
		t.Run(tc.name, func(t *testing.T) {
			settings := defaults()
			settings.StrictPermission, settings.Maintainers = tc.strict, []string{"dan"}
			w := newWorld(t, options{})
			w.peers.hbs = &fakePeer{answer: `{"sets":[]}`}
			w.serve(settings, w.client)
			w.addUser("cid", 0)
			w.addUser("dan", 0)
			told := map[string]bool{}
			lines := strings.Split(strings.TrimSpace(tc.table), "\n")
			who := strings.Fields(lines[0])
			for _, line := range lines[1:] {
				f := strings.Fields(line)
				told[f[0]+" "+prefix+generic(f[1])] = true
				for i, name := range who {
					things := w.things()
					path, body := things.fill(f[0], f[1])
					caller := name
					if name == "plus" {
						caller = "plus:a token of its own"
					}
					if got := w.may(caller, f[0], path, body); got != f[2+i] {
						t.Errorf("%s %s as %s: %s, want %s", f[0], f[1], name, got, f[2+i])
					}
				}
			}
			for _, r := range (&server{}).routes() {
				if tc.strict && r.Who == Owner && !told[generic(r.key())] {
					t.Errorf("this test does not say whose %s is", r.key())
				}
			}
		})
	}
}

// generic writes a path with its parts alike: {x} and :x are *.
func generic(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, ":") || strings.HasPrefix(p, "{") {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

// things are what ann has made.
type things struct {
	w                                                           *world
	n                                                           int
	team, group, plugin, template, strategy, expression, action int64
	bare, host                                                  int64 // a group without the template; a host of the other
	aggregator, nodata                                          int64 // bob's, in ann's group; ann's
	disable                                                     int64 // root's, of ann's template
	union                                                       int64
	free                                                        []int64 // strategies that are in no combination
}

var thingNumber int

func (w *world) things() *things {
	w.t.Helper()
	thingNumber++
	x := &things{w: w, n: thingNumber}
	team, ctx := fmt.Sprintf("team%d", x.n), w.t.Context()
	x.team = must(w.db.CreateTeam(ctx, portal.Team{Name: team, Creator: w.users["ann"].ID}, []int64{w.users["bob"].ID}))
	x.group = must(w.db.CreateGroup(ctx, fmt.Sprintf("group%d", x.n), "ann"))
	x.bare = must(w.db.CreateGroup(ctx, fmt.Sprintf("bare%d", x.n), "ann"))
	x.host = must(w.db.SetGroupHosts(ctx, x.group, portal.BindAdd, []string{"h1"}, false)).IDs[0]
	x.plugin = must(w.db.CreatePlugin(ctx, portal.Plugin{Group: x.group, Dir: "sys", CreateUser: "ann"}))
	x.template = must(w.db.CreateTemplate(ctx, portal.Template{Name: fmt.Sprintf("tpl%d", x.n), CreateUser: "ann"}))
	x.action = must(w.db.SetTemplateAction(ctx, x.template, portal.Action{UIC: team}))
	x.strategy = must(w.db.CreateStrategy(ctx, portal.Strategy{Metric: "m", Func: "all(#1)", Op: "<", RightValue: "1", Template: x.template}))
	for range 4 {
		x.free = append(x.free, must(w.db.CreateStrategy(ctx, portal.Strategy{Metric: "m", Func: "all(#1)", Op: "<", RightValue: "1", Template: x.template})))
	}
	x.union = must(w.db.SaveUnion(ctx, portal.Union{Strategies: x.free[:2]})).ID
	x.free = x.free[2:]
	if err := w.db.BindTemplate(ctx, portal.Binding{Group: x.group, Template: x.template, BindUser: "ann"}); err != nil {
		w.t.Fatal(err)
	}
	var err error
	if x.expression, _, err = w.db.CreateExpression(ctx, portal.Expression{Expression: "each(metric=a b=c)", Func: "all(#1)", Op: "<", RightValue: "1", CreateUser: "ann"}, portal.Action{UIC: team}); err != nil {
		w.t.Fatal(err)
	}
	x.aggregator = must(w.db.CreateAggregator(ctx, portal.Aggregator{Group: x.group, Numerator: "$(a)", Denominator: "$#", Endpoint: "e", Metric: "m", Step: 60, Creator: "bob"}))
	x.nodata = must(w.db.CreateNodata(ctx, portal.Nodata{Name: fmt.Sprintf("nodata%d", x.n), Obj: "h1", ObjType: "host", Metric: "m", DsType: "GAUGE", Step: 60, Creator: "ann"}))
	x.disable = must(w.db.CreateDisable(ctx, portal.Disable{Type: portal.DisableTemplate, Template: x.template, Begin: t0, End: t0 + 86400, Duration: "1d", Operator: "root"}))
	return x
}

func aggregatorBody(pairs ...any) map[string]any {
	m := map[string]any{"numerator": "$(a)", "denominator": "$#", "endpoint": "e", "metric": "m", "step": 60}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

func nodataBody(pairs ...any) map[string]any {
	m := map[string]any{"obj": "h1", "obj_type": "host", "metric": "m", "dstype": "GAUGE", "step": 60}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// fill names the things in a path, and writes a body that asks for a change of them.
func (x *things) fill(method, path string) (string, any) {
	name := func(kind string) string { return fmt.Sprintf("%s of %d", kind, x.n) }
	bodies := map[string]any{
		"POST /team/user":               map[string]any{"team_id": x.team, "users": []string{"root"}},
		"PUT /team":                     map[string]any{"team_id": x.team, "resume": "new"},
		"PUT /hostgroup":                map[string]any{"id": x.group, "grp_name": name("renamed")},
		"POST /hostgroup/host":          map[string]any{"hostgroup_id": x.group, "hosts": []string{"h2"}},
		"PUT /hostgroup/host":           map[string]any{"hostgroup_id": x.group, "host_id": x.host},
		"PATCH /hostgroup/{group}/host": map[string]any{"action": "add", "hosts": []string{"h3"}},
		"PUT /hostgroup/{group}/hosts":  map[string]any{"mode": "add", "hosts": []string{"h3"}},
		"POST /plugin":                  map[string]any{"hostgroup_id": x.group, "dir_path": "a/b"},
		"POST /hostgroup/template":      map[string]any{"grp_id": x.bare, "tpl_id": x.template},
		"PUT /hostgroup/template":       map[string]any{"grp_id": x.group, "tpl_id": x.template},
		"PUT /template":                 map[string]any{"tpl_id": x.template, "name": name("changed")},
		"POST /template":                map[string]any{"name": name("another")},
		"POST /template/action":         map[string]any{"tpl_id": x.template, "uic": fmt.Sprintf("team%d", x.n)},
		"PUT /template/action":          map[string]any{"id": x.action, "uic": fmt.Sprintf("team%d", x.n)},
		"POST /strategy":                strategyBody("tpl_id", x.template),
		"POST /strategy/backtest":       strategyBody("tpl_id", x.template),
		"PUT /strategy":                 strategyBody("id", x.strategy),
		"POST /union":                   map[string]any{"strategy_ids": x.free},
		"PUT /union":                    map[string]any{"id": x.union, "strategy_ids": x.free},
		"PUT /expression":               expressionBody([]string{fmt.Sprintf("team%d", x.n)}, "id", x.expression),
		"POST /expression":              expressionBody([]string{fmt.Sprintf("team%d", x.n)}),
		"POST /aggregator":              aggregatorBody("hostgroup_id", x.group),
		"PUT /aggregator":               aggregatorBody("id", x.aggregator),
		"POST /nodata":                  nodataBody("name", name("another")),
		"PUT /nodata":                   nodataBody("id", x.nodata),
		"POST /host/maintain":           map[string]any{"hosts": []string{"h1"}, "maintain_begin": 1, "maintain_end": 2},
		"DELETE /host/maintain":         map[string]any{"ids": []int64{x.host}},
		"PUT /host/env":                 map[string]any{"ids": []int64{x.host}, "env": "prod"},
		"POST /alarm/disable":           map[string]any{"type": 3, "strategy_id": x.strategy, "duration": "10m"},
	}
	body := bodies[method+" "+path]
	ids := map[string]int64{"{team}": x.team, "{group}": x.group, "{plugin}": x.plugin, "{template}": x.template, "{strategy}": x.strategy, "{expression}": x.expression,
		"{aggregator}": x.aggregator, "{nodata}": x.nodata, "{disable}": x.disable, "{union}": x.union}
	for part, id := range ids {
		path = strings.ReplaceAll(path, part, strconv.FormatInt(id, 10))
	}
	return path, body
}

// An action that several rules share is not a way to change the rules of others.
func TestSharedActions(t *testing.T) {
	w := newWorld(t, options{})
	x := w.things()
	w.addUser("cid", 0)
	body := map[string]any{"name": "mine", "action_id": x.action}
	if got := w.may("cid", "POST", "/template", body); got != "no" {
		t.Errorf("a template of a stranger with the action: %s", got)
	}
	w.made("ann", "POST", "/template", body)
	if got := w.may("ann", "PUT", "/template/action", map[string]any{"id": x.action}); got != "yes" {
		t.Errorf("ann changes an action that both of her templates use: %s", got)
	}
}

// What can not be is refused with the field and the reason.
func TestStrategiesAreChecked(t *testing.T) {
	w := newWorld(t, options{})
	tpl := w.made("ann", "POST", "/template", map[string]any{"name": "t"})
	for _, tc := range []struct {
		change []any
		field  string
		err    string // empty: it is saved
	}{
		{nil, "", ""},
		{[]any{"max_step", 0, "priority", 0}, "", ""},
		{[]any{"max_step", nil}, "max_step", "max_step is required: how often one problem is told, 0 for never"},
		{[]any{"max_step", 101}, "max_step", "max_step 101 is not between 0 and 100"},
		{[]any{"priority", 9}, "", ""},
		{[]any{"priority", 10}, "priority", "priority 10 is not between 0 and 9"},
		{[]any{"metric", ""}, "metric", "metric is required"},
		{[]any{"metric", "cpu idle"}, "metric", `metric "cpu idle" has a blank in it, no series has`},
		{[]any{"metric", strings.Repeat("m", 129)}, "metric", "metric is longer than 128 characters"},
		{[]any{"tags", "mount=/, fstype=ext4,^iface=lo"}, "", ""},
		{[]any{"tags", "mount"}, "tags", `"mount" in the tags is not of the form key=value; pairs have commas between them`},
		{[]any{"tags", "=x"}, "tags", `"=x" in the tags has no key before the =`},
		{[]any{"tags", "^=x"}, "tags", `"^=x" in the tags has no key before the =`},
		{[]any{"tags", "a="}, "tags", `"a=" in the tags has no value`},
		{[]any{"tags", "a=b,"}, "tags", `"" in the tags is not of the form key=value; pairs have commas between them`},
		{[]any{"metric", "net.port.listen"}, "tags", "net.port.listen needs to know which port, write port=80"},
		{[]any{"metric", "net.port.listen", "tags", "port=80"}, "", ""},
		{[]any{"metric", "proc.coredump"}, "tags", "proc.coredump needs to know which processes, write name=crond"},
		{[]any{"func", "all(3)"}, "func", `function "all(3)": all is written all(#3)`},
		{[]any{"func", "some(#3)"}, "func", `function "some(#3)": "some" is unknown, use one of all, max, min, sum, avg, diff, pdiff, lookup, stddev, kdiff, kpdiff`},
		{[]any{"func", "all(#121)"}, "func", `function "all(#121)" looks at 121 points, 1 to 120 are possible`},
		{[]any{"func", "lookup(#2,3)"}, "", ""},
		{[]any{"op", "=>"}, "op", `operator "=>" is unknown, use one of = == != < <= > >=`},
		{[]any{"op", "!"}, "op", `operator "!" is unknown, use one of = == != < <= > >=`},
		{[]any{"op", "!="}, "", ""},
		{[]any{"right_value", ""}, "right_value", "right_value is required"},
		{[]any{"right_value", "1e3"}, "right_value", `right_value "1e3" is no number, write digits such as -5 or 99.9`},
		{[]any{"right_value", "-99.9"}, "", ""},
		{[]any{"run_begin", "08:00", "run_end", "24:00"}, "", ""},
		{[]any{"run_begin", "22:00", "run_end", "06:00"}, "", ""},
		{[]any{"run_begin", "8:00"}, "run_begin", `run_begin "8:00" is no time of day, write 08:00 or leave it empty`},
		{[]any{"run_begin", "24:00"}, "run_begin", `run_begin "24:00" is no time of day, write 08:00 or leave it empty`},
		{[]any{"run_end", "12:60"}, "run_end", `run_end "12:60" is no time of day, write 08:00 or leave it empty`},
		{[]any{"note", strings.Repeat("长", 129)}, "note", "note is longer than 128 characters"},
		{[]any{"tpl_id", 99}, "", "record not found"},
		{[]any{"tpl_id", 0}, "tpl_id", "tpl_id is required"},
	} {
		body := strategyBody(append([]any{"tpl_id", tpl}, tc.change...)...)
		a := w.call("ann", "POST", "/strategy", body)
		got := decode[struct {
			Error, Field string
			ID           int64
		}](t, a)
		if got.Error != tc.err || got.Field != tc.field || (tc.err == "") != (got.ID > 0) {
			t.Errorf("POST /strategy with %v\n got %d %s\nwant %q of %q", tc.change, a.status, a.body, tc.err, tc.field)
		}
		if got.ID > 0 { // and what may be saved may be saved again
			body["id"] = got.ID
			delete(body, "tpl_id")
			w.want("ann", "PUT", "/strategy", body, 200, fmt.Sprintf(`{"message":"strategy:%d has been updated"}`, got.ID))
		}
	}
}

func TestExpressionsAreChecked(t *testing.T) {
	w := newWorld(t, options{})
	must(w.db.CreateTeam(t.Context(), portal.Team{Name: "ops"}, nil))
	for _, tc := range []struct {
		change []any
		field  string
		err    string
	}{
		{nil, "", ""},
		{[]any{"expression", "each(metric=qps,srv=pay;idc=bj)"}, "", ""},
		{[]any{"expression", "each(metric=qps srv=pay ^idc=bj)", "priority", 0, "max_step", 0}, "", ""},
		{[]any{"expression", ""}, "expression", "expression is required"},
		{[]any{"expression", "metric=qps srv=pay"}, "expression", `expression "metric=qps srv=pay": write each(metric=qps srv=pay)`},
		{[]any{"expression", "each(srv=pay)"}, "expression", "the expression names no metric, write each(metric=qps srv=pay)"},
		{[]any{"expression", "each(metric=qps)"}, "expression", "the expression has no tag that must match, it would watch everything: write each(metric=qps srv=pay)"},
		{[]any{"expression", "each(metric=qps ^srv=pay)"}, "expression", "the expression has no tag that must match, it would watch everything: write each(metric=qps srv=pay)"},
		{[]any{"expression", "each(metric=qps srv)"}, "expression", `"srv" in the expression is not of the form key=value`},
		{[]any{"pause", 2}, "pause", "pause is 2, write 1 for yes or 0 for no"},
		{[]any{"right_value", "12345678901234567"}, "right_value", "right_value is longer than 16 characters"},
		{[]any{"action", map[string]any{}}, "action.uic", "action.uic is required: the teams that are told"},
		{[]any{"action", map[string]any{"uic": []string{"ops", "none", "nil"}}}, "uic", `there is no team "none", "nil"`},
		{[]any{"action", map[string]any{"uic": []string{"ops"}, "callback": 1}}, "url", `url "": a callback needs an address that begins with http:// or https://`},
		{[]any{"action", map[string]any{"uic": []string{"ops"}, "channels": "pager"}}, "channels", `there is no channel "pager"`},
	} {
		a := w.call("ann", "POST", "/expression", expressionBody([]string{"ops"}, tc.change...))
		got := decode[struct{ Error, Field, Message string }](t, a)
		if got.Error != tc.err || got.Field != tc.field || (tc.err == "") != (got.Message == "expression created") {
			t.Errorf("POST /expression with %v\n got %d %s\nwant %q of %q", tc.change, a.status, a.body, tc.err, tc.field)
		}
	}
	all := decode[[]portal.Expression](t, w.call("ann", "GET", "/expression", nil))
	if len(all) != 3 || all[1].Expression != "each(metric=qps srv=pay idc=bj)" {
		t.Fatalf("expressions %+v", all)
	}
	id := all[0].ID
	w.want("ann", "PUT", "/expression", expressionBody([]string{"ops"}, "id", id, "note", "new", "pause", 1), 200, fmt.Sprintf(`{"message":"expression:%d has been updated"}`, id))
	w.want("ann", "GET", fmt.Sprintf("/expression/%d", 1<<30), nil, 417, `{"error":"record not found"}`)
	w.want("ann", "DELETE", fmt.Sprintf("/expression/%d", id), nil, 200, fmt.Sprintf(`{"message":"expression:%d has been deleted"}`, id))
}

// The life of a template: it inherits, it is bound, its action tells, it goes.
func TestTheLifeOfATemplate(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorld(t, options{db: db})
		must(w.db.CreateTeam(t.Context(), portal.Team{Name: "ops"}, nil))
		base := w.made("ann", "POST", "/template", map[string]any{"name": "base"})
		child := w.made("ann", "POST", "/template", map[string]any{"name": "child", "parent_id": base})
		w.want("ann", "POST", "/template", map[string]any{"name": "Base"}, 400, `{"error":"name is already existing"}`)
		w.want("ann", "POST", "/template", map[string]any{"name": "<b>"}, 400, `{"error":"name must not contain \u003c \u003e \u0026 ' \"","field":"name"}`)
		w.want("ann", "PUT", "/template", map[string]any{"tpl_id": base, "name": "base", "parent_id": child}, 400,
			`{"error":"template \"base\" can not inherit from \"child\": that is a circle, \"child\" inherits from \"base\"","field":"parent_id"}`)
		w.want("ann", "POST", "/template/action", map[string]any{"tpl_id": child, "uic": " ops ,", "callback": 0}, 200, fmt.Sprintf(`{"message":"action is created and bind to template: %d"}`, child))
		w.want("ann", "POST", "/template/action", map[string]any{"tpl_id": child, "uic": "none"}, 400, `{"error":"there is no team \"none\"","field":"uic"}`)

		// A client of stock's does not know channels, and leaves them.
		action := must(w.db.Template(t.Context(), child)).ActionID
		must(w.db.CreateAlarmChannel(t.Context(), portal.AlarmChannel{Name: "log", Type: "log", Config: "{}", Created: w.now()}))
		for _, body := range []map[string]any{{"id": action, "uic": "ops", "channels": "log"}, {"id": action, "uic": "ops", "url": "http://x"}} {
			w.want("ann", "PUT", "/template/action", body, 200, fmt.Sprintf(`{"message":"action is updated, row affected: 1, id: %d"}`, action))
			if a := must(w.db.Action(t.Context(), action)); a.Channels != "log" {
				t.Errorf("after %v the channels are %q", body, a.Channels)
			}
		}
		w.want("ann", "PUT", "/template/action", map[string]any{"id": action, "uic": "ops", "channels": ""}, 200, fmt.Sprintf(`{"message":"action is updated, row affected: 1, id: %d"}`, action))

		over := w.made("ann", "POST", "/strategy", strategyBody("tpl_id", base, "tags", "b=2, a=1"))
		stays := w.made("ann", "POST", "/strategy", strategyBody("tpl_id", base, "metric", "load.1min"))
		own := w.made("ann", "POST", "/strategy", strategyBody("tpl_id", child, "tags", "a=1,b=2", "right_value", "1"))
		type inherited struct {
			Chain []struct {
				ID   int64  `json:"id"`
				Name string `json:"tpl_name"`
			}
			Strategies []inheritedRow
		}
		in := decode[inherited](t, w.call("bob", "GET", fmt.Sprintf("/template/%d/inherited", child), nil))
		if len(in.Chain) != 2 || in.Chain[0].Name != "base" || len(in.Strategies) != 3 {
			t.Fatalf("inherited %+v", in)
		}
		for i, want := range []inheritedRow{{Template: base, Name: "base", OverriddenBy: own}, {Template: base, Name: "base"}, {Template: child, Name: "child", Own: true}} {
			got := in.Strategies[i]
			if got.Strategy.ID != []int64{over, stays, own}[i] {
				t.Errorf("row %d is strategy %d", i, got.Strategy.ID)
			}
			got.Strategy = portal.Strategy{}
			if got != want {
				t.Errorf("row %d: %+v, want %+v", i, got, want)
			}
		}

		group := w.made("ann", "POST", "/hostgroup", map[string]any{"name": "web"})
		bind := map[string]any{"grp_id": group, "tpl_id": child}
		w.want("ann", "POST", "/hostgroup/template", bind, 200, fmt.Sprintf(`{"grp_id":%d,"tpl_id":%d,"bind_user":"ann"}`, group, child))
		w.want("ann", "POST", "/hostgroup/template", bind, 400, `{"error":"this template is bound to this group already"}`)
		if a := w.call("ann", "GET", fmt.Sprintf("/template/%d/hostgroup", child), nil); !strings.Contains(a.body, `"hostgroups":[{"id":`+fmt.Sprint(group)) {
			t.Errorf("groups of a template: %s", a.body)
		}
		w.want("ann", "PUT", "/hostgroup/template", bind, 200, fmt.Sprintf(`{"message":"template: %d is unbind of HostGroup: %d"}`, child, group))
		w.want("ann", "PUT", "/hostgroup/template", bind, 400, `{"error":"record not found"}`)

		odd := must(w.db.CreateTemplate(t.Context(), portal.Template{Name: "R&D", CreateUser: "ann"}))
		w.want("ann", "PUT", "/template", map[string]any{"tpl_id": odd, "name": "R&D", "parent_id": base}, 200, `{"message":"template updated"}`)
		w.want("ann", "DELETE", fmt.Sprintf("/template/%d", base), nil, 200, fmt.Sprintf(`{"message":"template %d has been deleted"}`, base))
		w.want("ann", "GET", fmt.Sprintf("/template/%d", base), nil, 400, `{"error":"record not found"}`)
		whole := decode[struct {
			Template portal.Template
			Stratges []portal.Strategy
			Action   portal.Action
		}](t, w.call("ann", "GET", fmt.Sprintf("/template/%d", child), nil))
		if whole.Template.ParentID != 0 || len(whole.Stratges) != 1 || whole.Action.UIC != "ops" {
			t.Errorf("the child afterwards: %+v", whole)
		}
		logs := must(w.db.OperLogs(t.Context(), 1))
		if l := logs[0]; l.Object != "template" || l.Op != "delete" || l.User != "ann" || l.Before == nil || !strings.Contains(*l.Before, "load.1min") {
			t.Errorf("audit line %+v", l)
		}
	})
}

// The life of a team; actions follow its name.
func TestTheLifeOfATeam(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorld(t, options{db: db})
		ann, bob := w.users["ann"].ID, w.users["bob"].ID
		w.want("ann", "POST", "/team", map[string]any{"team_name": "ops", "resume": "they watch", "users": []int64{bob}}, 200, `{"message":"team created! Affect row: 1, Affect refer: 1"}`)
		w.want("ann", "POST", "/team", map[string]any{"team_name": "OPS"}, 400, `{"error":"name is already existing"}`)
		w.want("ann", "POST", "/team", map[string]any{"resume": "x"}, 400, `{"error":"team_name is required"}`)
		w.want("ann", "POST", "/team", map[string]any{"team_name": "new", "users": []int64{1 << 30}}, 400, `{"error":"there is no user with id 1073741824","field":"users"}`)
		id := decode[teamAnswer](t, w.call("bob", "GET", "/team/name/ops", nil)).ID
		for who, want := range map[string]string{"ann": "ops: bob", "bob": "ops: bob", "admin": "ops: bob", "plus:a token of its own": "ops: bob"} {
			rows := decode[[]teamRow](t, w.call(who, "GET", "/team", nil))
			if len(rows) != 1 || rows[0].Team.Name+": "+rows[0].Users[0].Name != want || rows[0].Creator != "ann" || rows[0].Users[0].Email != "" {
				t.Errorf("teams of %s: %+v", who, rows)
			}
		}
		w.addUser("cid", 0)
		w.want("cid", "GET", "/team", nil, 200, `[]`)
		w.want("cid", "GET", "/team/dict", nil, 200, fmt.Sprintf(`[{"id":%d,"name":"ops","resume":"they watch","creator":%d}]`, id, ann))
		w.want("bob", "POST", "/team/user", map[string]any{"team_id": id, "users": []string{"CID", "none"}}, 400, `{"error":"there is no user \"none\"","field":"users"}`)
		w.want("bob", "POST", "/team/user", map[string]any{"team_id": id, "users": []string{"cid"}}, 200, `{"message":"add successful"}`)
		w.want("bob", "POST", "/team/user", map[string]any{"team_id": id}, 400, `{"error":"empty users","field":"users"}`)

		action := must(w.db.SetTemplateAction(t.Context(), must(w.db.CreateTemplate(t.Context(), portal.Template{Name: "t"})), portal.Action{UIC: "dba, Ops,opsy"}))
		full := must(w.db.SetTemplateAction(t.Context(), must(w.db.CreateTemplate(t.Context(), portal.Template{Name: "full"})), portal.Action{UIC: "ops," + strings.Repeat("x", 250)}))
		w.want("ann", "PUT", "/team", map[string]any{"team_id": id, "name": "operators"}, 400,
			fmt.Sprintf(`{"error":"action %d names \"ops,%s\", which is longer than 255 characters with the new name","field":"name"}`, full, strings.Repeat("x", 250)))
		w.want("ann", "PUT", "/team", map[string]any{"team_id": id, "name": "sre", "resume": ""}, 200, `{"message":"team updated!"}`)
		if a := must(w.db.Action(t.Context(), action)); a.UIC != "dba,sre,opsy" {
			t.Errorf("the action tells %q", a.UIC)
		}
		team := decode[teamAnswer](t, w.call("ann", "GET", fmt.Sprintf("/team/t/%d", id), nil))
		if team.Name != "sre" || team.Resume != "" || len(team.Users) != 2 || team.Users[0].Email != "bob@example.com" {
			t.Errorf("team %+v", team)
		}
		w.want("ann", "PUT", "/team", map[string]any{"team_id": id, "users": []int64{}}, 200, `{"message":"team updated!"}`)
		if n := len(decode[teamAnswer](t, w.call("ann", "GET", fmt.Sprintf("/team/t/%d", id), nil)).Users); n != 0 {
			t.Errorf("%d members of an emptied team", n)
		}
		w.want("bob", "DELETE", fmt.Sprintf("/team/%d", id), nil, 417, `{"error":"you don't have permission"}`)
		w.want("ann", "DELETE", fmt.Sprintf("/team/%d", id), nil, 200, `{"message":"team sre is deleted; 2 actions still name it and tell nobody through it"}`)
		w.want("ann", "GET", "/team/name/sre", nil, 400, `{"error":"record not found"}`)
	})
}

type fakeLiveness map[string]int64

func (f fakeLiveness) LastSeen(_ context.Context, _ []string) (map[string]int64, error) {
	if f == nil {
		return nil, fmt.Errorf("redis 127.0.0.1:1: connection refused")
	}
	return f, nil
}

// Groups and their hosts, in stock's ways and in ours.
func TestGroups(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorld(t, options{db: db})
		w.liveness = fakeLiveness{"h1": t0 + 990, "h2": t0 + 100}
		w.serve(defaults(), w.client)
		must(w.db.SaveHosts(t.Context(), []portal.HostReport{{Hostname: "h1", IP: "10.0.0.1", AgentVersion: "1.0"}, {Hostname: "h2"}}, "", false))
		g := w.made("ann", "POST", "/hostgroup", map[string]any{"name": "web"})
		w.want("ann", "POST", "/hostgroup", map[string]any{"name": "WEB"}, 400, `{"error":"name is already existing"}`)
		w.want("ann", "PUT", fmt.Sprintf("/hostgroup/%d/hosts", g), map[string]any{"mode": "add", "hosts": []string{"h1", "new"}, "dry_run": true}, 200,
			`{"added":["h1","new"],"removed":[],"created":["new"],"unchanged":0,"members":2}`)
		if n := len(must(w.db.OperLogs(t.Context(), 10))); n != 1 {
			t.Errorf("%d audit lines, want that of the group alone", n)
		}
		w.want("ann", "GET", fmt.Sprintf("/hostgroupsimple/%d", g), nil, 200, `{"hosts":null}`)
		w.want("ann", "PUT", fmt.Sprintf("/hostgroup/%d/hosts", g), map[string]any{"mode": "add", "hosts": []string{"h1", "new"}}, 200,
			`{"added":["h1","new"],"removed":[],"created":["new"],"unchanged":0,"members":2}`)
		w.want("ann", "PUT", fmt.Sprintf("/hostgroup/%d/hosts", g), map[string]any{"mode": "swap", "hosts": []string{}}, 400,
			`{"error":"\"swap\" is unknown, use \"add\", \"remove\" or \"replace\"","field":"mode"}`)
		w.want("ann", "PATCH", fmt.Sprintf("/hostgroup/%d/host", g), map[string]any{"action": "remove", "hosts": []string{"new"}}, 200, fmt.Sprintf(`{"message":"[3] remove hostgroup: %d"}`, g))
		w.want("ann", "POST", "/hostgroup/host", map[string]any{"hostgroup_id": g, "hosts": []string{"h2", "h1"}}, 200, fmt.Sprintf(`{"message":"[2 1] bind to hostgroup: %d"}`, g))
		w.want("ann", "POST", "/hostgroup/host", map[string]any{"hostgroup_id": g}, 400, `{"error":"hosts is required: an empty list empties the group","field":"hosts"}`)
		w.want("ann", "GET", "/hostgrouphosts/web", nil, 200, `{"hosts":["h1","h2"]}`)
		must(db.IndexWrite(t.Context(), nil, []portal.IndexRow{{Endpoint: "h2", Counter: "a", Step: 60, Type: "GAUGE", Ts: t0}, {Endpoint: "h3", Counter: "a", Step: 60, Type: "GAUGE", Ts: t0}}))
		w.want("ann", "GET", "/hostgroupstag?tag=web", nil, 200, `{"hosts":[{"ID":1,"endpoint":"h2","EndpointCounters":null}]}`)
		w.want("ann", "GET", "/hostgroupstag?tag=web&page=2", nil, 200, `{"hosts":[]}`)
		if a := w.call("ann", "GET", fmt.Sprintf("/hostgroup/%d?q=^h1$", g), nil); strings.Count(a.body, `"hostname"`) != 1 {
			t.Errorf("hosts by a regular expression: %s", a.body)
		}
		if a := w.call("ann", "GET", fmt.Sprintf("/hostgroup/%d?q=(", g), nil); a.status != 400 || !strings.Contains(a.body, "missing closing") {
			t.Errorf("a broken regular expression: %d %s", a.status, a.body)
		}
		w.want("ann", "POST", "/host/maintain", map[string]any{"hosts": []string{"h2"}, "maintain_begin": 5, "maintain_end": 4}, 400,
			`{"error":"the maintenance would end at 4, before it begins at 5","field":"maintain_end"}`)
		w.want("ann", "POST", "/host/maintain", map[string]any{"hosts": []string{"h2", "none"}, "maintain_begin": 5, "maintain_end": 9}, 200, `{"message":"Through: hosts, Affect row: 1"}`)

		w.want("bob", "GET", "/hosts?q=h", nil, 200, fmt.Sprintf(`{"hosts":[{"id":1,"hostname":"h1","ip":"10.0.0.1","agent_version":"1.0","plugin_version":"","maintain_begin":0,"maintain_end":0,"alive":true,"last_seen":%d,"groups":[{"id":%d,"grp_name":"web"}],"env":"","disabled_until":0},`+
			`{"id":2,"hostname":"h2","ip":"","agent_version":"","plugin_version":"","maintain_begin":5,"maintain_end":9,"alive":false,"last_seen":%d,"groups":[{"id":%d,"grp_name":"web"}],"env":"","disabled_until":0}],"total":2}`, t0+990, g, t0+100, g))
		w.want("bob", "DELETE", "/host/maintain", map[string]any{"ids": []int64{2}}, 200, `{"message":"Through: ids, Affect row: 1"}`)
		w.want("bob", "DELETE", "/host/maintain", map[string]any{}, 400, `{"error":"hosts or ids is required","field":"hosts"}`)

		w.liveness = fakeLiveness(nil)
		w.serve(defaults(), w.client)
		a := w.call("bob", "GET", "/hosts?limit=1&page=2", nil)
		if a.status != 200 || !strings.Contains(a.body, `"hostname":"h2"`) || !strings.Contains(a.body, `"total":3`) || a.header.Get(headerPartial) != "heartbeats" {
			t.Errorf("hosts without Redis: %d %s %v", a.status, a.body, a.header)
		}

		w.want("ann", "POST", "/plugin", map[string]any{"hostgroup_id": g, "dir_path": "../x"}, 400, `{"error":"\"../x\" is not below the folder of plugins","field":"dir_path"}`)
		p := w.made("ann", "POST", "/plugin", map[string]any{"hostgroup_id": g, "dir_path": "sys/ntp"})
		w.want("ann", "DELETE", fmt.Sprintf("/plugin/%d", p), nil, 200, fmt.Sprintf(`{"message":"plugin:%d is deleted"}`, p))
		w.want("ann", "PUT", "/hostgroup", map[string]any{"id": g, "grp_name": "webs"}, 200, `{"message":"hostgroup profile updated"}`)
		w.want("ann", "DELETE", fmt.Sprintf("/hostgroup/%d", g), nil, 200, fmt.Sprintf(`{"message":"hostgroup:%d has been deleted"}`, g))
		w.want("ann", "GET", fmt.Sprintf("/hostgroup/%d", g), nil, 400, `{"error":"record not found"}`)
		w.want("ann", "GET", "/host/1/hostgroup", nil, 200, `[]`)
		w.want("ann", "GET", "/host/99/template", nil, 417, `{"error":"record not found"}`)
	})
}

// hbs is told of each change of a rule, and of no other.
func TestRulesChanged(t *testing.T) {
	w := newWorld(t, options{})
	told := 0
	w.changed = func() { told++ }
	w.serve(defaults(), w.client)
	x := w.things()
	for _, tc := range []struct {
		method, path string
		body         any
		want         int
	}{
		{"GET", "/template", nil, 0},
		{"POST", "/team", map[string]any{"team_name": "other"}, 0},
		{"PUT", fmt.Sprintf("/hostgroup/%d/hosts", x.group), map[string]any{"mode": "add", "hosts": []string{"x"}, "dry_run": true}, 0},
		{"POST", "/strategy", strategyBody("tpl_id", x.template, "op", "?"), 0},
		{"POST", "/strategy/check", strategyBody("tpl_id", x.template), 0},
		{"POST", "/strategy", strategyBody("tpl_id", x.template), 1},
		{"PUT", fmt.Sprintf("/hostgroup/%d/hosts", x.group), map[string]any{"mode": "add", "hosts": []string{"x"}}, 1},
		{"POST", "/host/maintain", map[string]any{"hosts": []string{"x"}, "maintain_begin": 1, "maintain_end": 2}, 1},
		{"DELETE", fmt.Sprintf("/expression/%d", x.expression), nil, 1},
		{"DELETE", fmt.Sprintf("/template/%d", x.template), nil, 1},
	} {
		told = 0
		if a := w.call("ann", tc.method, tc.path, tc.body); told != tc.want {
			t.Errorf("%s %s: hbs is told %d times, want %d (%d %s)", tc.method, tc.path, told, tc.want, a.status, a.body)
		}
	}
}

// What a strategy would watch is counted over the graphs.
func TestCheckStrategy(t *testing.T) {
	w := newWorld(t, options{})
	w.put(graphtest.Gauge("h1", "df.bytes.free.percent/fstype=ext4,mount=/", 60, t0, 1), graphtest.Gauge("h1", "df.bytes.free.percent/fstype=ext4,mount=/home", 60, t0, 1), graphtest.Gauge("h2", "df.bytes.free.percent/fstype=xfs,mount=/", 60, t0, 1), graphtest.Gauge("h2", "df.bytes.free/mount=/", 60, t0, 1))
	const df = "df.bytes.free.percent"
	for _, tc := range []struct {
		change []any
		want   string
	}{
		{[]any{"metric", df}, `{"ok":true,"errors":[],"warnings":[],"matches":3,"more":false,"examples":["h1/df.bytes.free.percent/fstype=ext4,mount=/","h1/df.bytes.free.percent/fstype=ext4,mount=/home","h2/df.bytes.free.percent/fstype=xfs,mount=/"]}`},
		{[]any{"metric", df, "tags", "mount=/"}, `{"ok":true,"errors":[],"warnings":[],"matches":2,"more":false,"examples":["h1/df.bytes.free.percent/fstype=ext4,mount=/","h2/df.bytes.free.percent/fstype=xfs,mount=/"]}`},
		{[]any{"metric", df, "tags", "^mount=/,^mount=/x"}, `{"ok":true,"errors":[],"warnings":[],"matches":1,"more":false,"examples":["h1/df.bytes.free.percent/fstype=ext4,mount=/home"]}`},
		{[]any{"metric", "df.bytes"}, `{"ok":true,"errors":[],"warnings":[],"matches":0,"more":false,"examples":[]}`},
		{[]any{"metric", "", "func", "all", "op", ""}, `{"ok":false,"errors":[{"field":"metric","error":"metric is required"},{"field":"func","error":"function \"all\": write a name and its window, such as all(#3)"},{"field":"op","error":"op is required, one of = == != \u003c \u003c= \u003e \u003e="}],"warnings":[],"matches":0,"more":false,"examples":[]}`},
		{[]any{"metric", "x", "func", "all(#12)", "max_step", 0}, `{"ok":true,"errors":[],"warnings":["all(#12) looks at 12 points; stock judges keep 11 and would never fire","max_step 0: nobody is told, the rule is mute"],"matches":0,"more":false,"examples":[]}`},
	} {
		w.want("bob", "POST", "/strategy/check", strategyBody(tc.change...), 200, tc.want)
	}

	// With a node that can not search, the index has the rest.
	o := newWorld(t, options{db: w.db, noUsers: true, onlyStock: true})
	o.sigs = w.sigs
	must(o.db.IndexWrite(t.Context(), nil, []portal.IndexRow{
		{Endpoint: "h9", Counter: "a_b/k=v", Tags: "k=v", Step: 60, Type: "GAUGE", Ts: t0}, {Endpoint: "h9", Counter: "a_b", Step: 60, Type: "GAUGE", Ts: t0},
		{Endpoint: "h9", Counter: "axb/k=v", Tags: "k=v", Step: 60, Type: "GAUGE", Ts: t0},
	}))
	o.want("bob", "POST", "/strategy/check", strategyBody("metric", "a_b", "tags", "k=v"), 200, `{"ok":true,"errors":[],"warnings":[],"matches":1,"more":false,"examples":["h9/a_b/k=v"]}`)
}

func TestDefaultMetrics(t *testing.T) {
	w := newWorld(t, options{})
	all := decode[[]string](t, w.call("bob", "GET", "/metric/default_list", nil))
	if len(all) < 90 || all[len(all)-1] == "" || !strings.Contains(strings.Join(all, " "), "df.inodes.free.percent") {
		t.Errorf("%d metrics: %v", len(all), all)
	}
}

// What the check accepts stays as it is when it is saved again, and names a metric.
func FuzzExpressionText(f *testing.F) {
	for _, text := range []string{"each(metric=qps srv=pay)", "each(metric=qps,srv=pay;^idc=bj)", "each()", "each(metric=a b=c)x", "each(=)", "each(metric=\xff b=c)"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var wrong problems
		once := wrong.expressionText(text)
		if len(wrong) > 0 {
			return
		}
		if twice := wrong.expressionText(once); twice != once || len(wrong) > 0 || !strings.Contains(once, "metric=") {
			t.Errorf("%q is written %q, then %q: %v", text, once, twice, wrong)
		}
	})
}

// Tags that the check accepts are all read.
func FuzzStrategyTags(f *testing.F) {
	for _, text := range []string{"", "a=b", "a=b, c=d", "^a=b,^a=c", "a", "=", "a=b,"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var wrong problems
		wrong.tags("cpu.idle", text)
		if len(wrong) > 0 {
			return
		}
		tags := model.RuleTags(text)
		for k, v := range tags {
			if strings.TrimPrefix(k, "^") == "" || v == "" {
				t.Errorf("%q is read as %q", text, tags)
			}
		}
		if (len(tags) == 0) != (strings.ReplaceAll(text, " ", "") == "") {
			t.Errorf("%q is read as %q", text, tags)
		}
	})
}
