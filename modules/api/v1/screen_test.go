package v1

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"falcon/common/portal"
)

const formType = "application/x-www-form-urlencoded"

// A person builds a screen as stock's dashboard does, by forms and by JSON.
func TestScreensOverHTTP(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorldOf(t, db, false)
		form := func(method, path, body string, status int, text string) {
			t.Helper()
			w.want("root", method, path, body, status, text, "Content-Type", formType)
		}
		get := func(path, text string) {
			t.Helper()
			w.want("root", "GET", path, nil, 200, text)
		}
		form("POST", "/dashboard/screen", "pid=0&name=top", 200, `{"id":1,"pid":0,"name":"top"}`)
		form("POST", "/dashboard/screen", "name=top", 200, `{"id":1,"pid":0,"name":"top"}`) // it is there
		form("POST", "/dashboard/screen", "pid=1&name=pay", 200, `{"id":2,"pid":1,"name":"pay"}`)
		form("POST", "/dashboard/screen", "pid=1", 400, `{"error":"a screen needs a name","field":"name"}`)
		form("POST", "/dashboard/screen", "pid=77&name=x", 400, `{"error":"there is no screen with id 77","field":"pid"}`)
		form("POST", "/dashboard/screen", "pid=x&name=x", 400, `{"error":"strconv.ParseInt: parsing \"x\": invalid syntax"}`)
		get("/dashboard/screen/2", `{"id":2,"pid":1,"name":"pay"}`)
		get("/dashboard/screens/pid/0", `[{"id":1,"pid":0,"name":"top"}]`)
		get("/dashboard/screens/pid/1", `[{"id":2,"pid":1,"name":"pay"}]`)
		get("/dashboard/screens?limit=1", `[{"id":1,"pid":0,"name":"top"}]`)
		get("/dashboard/screensearch/PAY", `{"id":2,"pid":1,"name":"pay"}`)
		get("/dashboard/screensall?q=^p", `[{"id":2,"pid":1,"name":"pay"}]`)
		get("/dashboard/screensall?page=2&limit=1", `[{"id":2,"pid":1,"name":"pay"}]`)
		form("PUT", "/dashboard/screen/2", "name=shop&pid=", 200, `{"message":"ok"}`)
		get("/dashboard/screen/2", `{"id":2,"pid":1,"name":"shop"}`)
		form("PUT", "/dashboard/screen/1", "pid=2", 400, `{"error":"screen \"top\" can not be below itself","field":"pid"}`)
		form("PUT", "/dashboard/screen/2", "pid=0", 200, `{"message":"ok"}`)
		get("/dashboard/screen/2", `{"id":2,"pid":0,"name":"shop"}`)
		form("PUT", "/dashboard/screen/2", "name=top", 400, `{"error":"name is already existing"}`)

		graph := func(pairs ...any) map[string]any {
			m := map[string]any{"screen_id": 2, "title": "cpu", "endpoints": []string{"h2", "h1"}, "counters": []string{"cpu.idle"}}
			for i := 0; i+1 < len(pairs); i += 2 {
				m[pairs[i].(string)] = pairs[i+1]
			}
			return m
		}
		w.want("root", "POST", "/dashboard/graph", graph("falcon_tags", "srv=pay", "position", 4), 200, `{"id":1}`)
		const first = `{"graph_id":1,"title":"cpu","endpoints":["h1","h2"],"counters":["cpu.idle"],"screen_id":2,"graph_type":"h","timespan":3600,"method":"","position":4,"falcon_tags":"srv=pay"}`
		get("/dashboard/graph/1", first)
		for field, text := range map[string]string{"screen_id": "screen_id is required", "title": "title is required", "endpoints": "endpoints is required", "counters": "counters is required"} {
			body := graph()
			delete(body, field)
			w.want("root", "POST", "/dashboard/graph", body, 400, fmt.Sprintf(`{"error":%q,"field":%q}`, text, field))
		}
		w.want("root", "POST", "/dashboard/graph", graph("endpoints", []string{}, "counters", []string{}, "timespan", 60, "graph_type", "k", "method", "SUM"), 200, `{"id":2}`)
		const second = `{"graph_id":2,"title":"cpu","endpoints":[],"counters":[],"screen_id":2,"graph_type":"k","timespan":60,"method":"SUM","position":0,"falcon_tags":""}`
		get("/dashboard/graphs/screen/2", "["+second+","+first+"]")
		get("/dashboard/graphs/screen/2?limit=1", "["+second+"]")
		// What is not sent, or zero where zero makes no sense, stays; a position of 0 and
		// no method can be chosen.
		w.want("root", "PUT", "/dashboard/graph/1", map[string]any{"position": 0, "timespan": 0, "title": "", "endpoints": []string{}}, 200, `{"id":1}`)
		get("/dashboard/graph/1", strings.Replace(first, `"position":4`, `"position":0`, 1))
		w.want("root", "PUT", "/dashboard/graph/2", map[string]any{"method": ""}, 200, `{"id":2}`)
		get("/dashboard/graph/2", strings.Replace(second, "SUM", "", 1))
		w.want("root", "PUT", "/dashboard/graph/9", map[string]any{}, 400, `{"error":"record not found"}`)
		w.want("root", "DELETE", "/dashboard/graph/2", nil, 200, `{"id":2}`)
		w.want("root", "DELETE", "/dashboard/screen/2", nil, 200, `{"message":"ok"}`)
		get("/dashboard/graphs/screen/2", "["+strings.Replace(first, `"position":4`, `"position":0`, 1)+"]") // as in stock
		w.want("root", "GET", "/dashboard/screen/2", nil, 400, `{"error":"record not found"}`)
		w.want("root", "POST", "/dashboard/tmpgraph", map[string]any{"endpoints": []string{"a"}}, 400, `{"error":"counters is required","field":"counters"}`)

		// Changes are in the audit log, and what was there already is none.
		var n int
		for _, tc := range []struct{ op, object string }{{"create", "screen"}, {"update", "screen"}, {"delete", "screen"}, {"create", "screen_graph"}, {"update", "screen_graph"}, {"delete", "screen_graph"}} {
			lines := w.audited(tc.op, tc.object)
			if lines == 0 {
				t.Errorf("%s %s is not in the audit log", tc.op, tc.object)
			}
			n += lines
		}
		if n != 10 {
			t.Errorf("%d lines in the audit log, want 10", n)
		}
	})
}

// audited counts the lines of the audit log.
func (w *world) audited(op, object string) (n int) {
	w.t.Helper()
	lines, err := w.db.OperLogs(w.t.Context(), 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range lines {
		if l.Op == op && l.Object == object {
			n++
		}
	}
	return n
}

// Without a database of screens its routes say so.
func TestScreensMayBeMissing(t *testing.T) {
	w := newWorld(t, options{})
	w.db.Dashboard = nil
	n := 0
	for _, r := range (&server{}).routes() {
		if !strings.HasPrefix(r.Path, prefix+"/dashboard/") {
			continue
		}
		n++
		a := w.call("ann", r.Method, strings.Replace(r.Path, ":id", "1", 1), map[string]any{})
		if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "set db.dashboard") {
			t.Errorf("%s: %d %s", r.key(), a.status, a.body)
		}
	}
	if n != 15 {
		t.Errorf("%d routes", n)
	}
}

// Aggregators and nodata are written by stock's forms of them, and what could not be
// computed is refused with the field.
func TestAggregatorsAndNodataOverHTTP(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorldOf(t, db, false)
		g := must(db.CreateGroup(t.Context(), "it-agg", "root"))
		aggregators := fmt.Sprintf("/hostgroup/%d/aggregators", g)
		w.want("root", "GET", aggregators, nil, 200, `{"aggregators":[],"hostgroup":""}`)
		body := aggregatorBody("hostgroup_id", g, "tags", "a=b")
		object := fmt.Sprintf(`{"id":1,"grp_id":%d,"numerator":"$(a)","denominator":"$#","endpoint":"e","metric":"m","tags":"a=b","ds_type":"GAUGE","step":60,"creator":"root"}`, g)
		w.want("root", "POST", "/aggregator", body, 200, object)
		w.want("root", "GET", aggregators, nil, 200, `{"aggregators":[`+object+`],"hostgroup":"it-agg"}`)
		changed := strings.NewReplacer(`"a=b"`, `""`, `"step":60`, `"step":30`).Replace(object)
		w.want("root", "PUT", "/aggregator", aggregatorBody("id", 1, "step", 30), 200, changed)
		w.want("root", "GET", "/aggregator/1", nil, 200, changed)
		w.want("root", "DELETE", "/aggregator/1", nil, 200, `{"message":"aggregator:1 is deleted"}`)
		w.want("root", "GET", "/aggregator/1", nil, 400, `{"error":"record not found"}`)
		w.want("root", "POST", "/aggregator", aggregatorBody(), 400, `{"error":"hostgroup_id is required","field":"hostgroup_id"}`)
		w.want("root", "POST", "/aggregator", aggregatorBody("hostgroup_id", g, "step", 0), 400, `{"error":"step 0 is not a number of seconds above 0","field":"step"}`)

		rule := `{"id":1,"name":"n","obj":"h1","obj_type":"host","metric":"m","tags":"","dstype":"GAUGE","step":60,"mock":-1.5,"creator":"root"}`
		w.want("root", "POST", "/nodata/", nodataBody("name", "n", "mock", -1.5), 200, rule)
		w.want("root", "POST", "/nodata", nodataBody("name", "n"), 400, `{"error":"name is already existing"}`)
		w.want("root", "GET", "/nodata", nil, 200, "["+rule+"]")
		w.want("root", "PUT", "/nodata/", nodataBody("id", 1, "name", "other"), 200, strings.Replace(rule, "-1.5", "0", 1))
		w.want("root", "POST", "/nodata", nodataBody("name", "x", "obj_type", "hosts"), 400, `{"error":"obj_type \"hosts\" is unknown, use \"group\", \"host\" or \"other\"","field":"obj_type"}`)
		w.want("root", "DELETE", "/nodata/1", nil, 200, `{"message":"mockcfg:1 is deleted"}`)
		w.want("root", "GET", "/nodata/1", nil, 417, `{"error":"record not found"}`)
	})
}

// A formula that can not be computed is refused with its field, the piece that is wrong
// and the way out; common/expr has a test of every form.
func TestFormulas(t *testing.T) {
	for _, tc := range []struct{ numerator, denominator, field, want string }{
		{"$(a) + $(b)\n- $(c)", "$#", "", ""},
		{"1210", "$(qps/module=judge,project=falcon)", "", ""},
		{"", "$#", "numerator", "numerator is required"},
		{"$(a)", "", "denominator", "denominator is required"},
		{"$((a)", "$#", "numerator", `numerator: "$((a)": a counter can not have a bracket in it`},
		{"$(a)", "$(a)+$(b)>40", "denominator", `denominator: ">40" compares a sum: put brackets around the sum, ($(a)+$(b))>80`},
		{"1", "$#", "numerator", "neither numerator nor denominator names a counter: write $(counter) in one of them"},
	} {
		err := (&aggregatorInput{Numerator: tc.numerator, Denominator: tc.denominator}).check()
		got, field := "", ""
		if e, ok := errors.AsType[*Error](err); ok {
			got, field = e.Text, e.Field
		} else if err != nil {
			t.Errorf("%s / %s: %T is no answer to a caller", tc.numerator, tc.denominator, err)
		}
		if got != tc.want || field != tc.field {
			t.Errorf("%s / %s: field %q, %s\nwant %q, %s", tc.numerator, tc.denominator, field, got, tc.field, tc.want)
		}
	}
}
