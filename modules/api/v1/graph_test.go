package v1

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/modules/api/graphs"
	"falcon/modules/api/graphs/graphtest"
)

// rows prints an answer of the searches: the named fields of each row, and the
// headers of ours.
func rows(t testing.TB, a answer, fields ...string) string {
	t.Helper()
	if a.status != 200 {
		return fmt.Sprintf("%d %s", a.status, a.body)
	}
	var out []string
	for _, r := range decode[[]map[string]any](t, a) {
		var f []string
		for _, name := range fields {
			v := r[name]
			if n, ok := v.(float64); ok && name == "ts" && n > 0 {
				v = n - t0
			}
			f = append(f, fmt.Sprint(v))
		}
		out = append(out, strings.Join(f, "/"))
	}
	s := strings.Join(out, " ")
	if total := a.header.Get("X-Falcon-Total"); total != "" {
		s += " of " + total
	}
	if partial := a.header.Get("X-Falcon-Partial"); partial != "" {
		s += " without " + partial
	}
	return s
}

// put lays series where the ring has them, on a node of ours or on a stock one,
// whose series are in the index in SQL.
func (w *world) put(all ...graphtest.Series) {
	w.t.Helper()
	for _, s := range all {
		node := w.ours
		if w.client.Node(s.Endpoint, s.Counter) == "graph-01" {
			node = w.stock
			_, tags := model.SplitCounter(s.Counter)
			row := portal.IndexRow{Endpoint: s.Endpoint, Counter: s.Counter, Tags: tags, Step: s.Step, Type: s.Type, Ts: s.Points[len(s.Points)-1].Timestamp}
			if refused, err := w.db.IndexWrite(w.t.Context(), nil, []portal.IndexRow{row}); err != nil || len(refused) > 0 {
				w.t.Fatal(refused, err)
			}
		}
		node.Put(s)
	}
}

func someSeries() []graphtest.Series {
	return []graphtest.Series{
		graphtest.Gauge("web-1", "cpu.idle", 60, t0, 1, 2),
		graphtest.Gauge("web-1", "df/mount=/", 60, t0, 1),
		graphtest.Gauge("web-2", "cpu.idle", 60, t0, 1),
		graphtest.Gauge("web-2", "net.in/if=eth0", 60, t0, 1),
		graphtest.Gauge("web-3", "net.in/if=eth0,vlan=7", 30, t0-86400, 1),
		graphtest.Gauge("db 1", "cpu.idle", 60, t0, 1),
		graphtest.Gauge(strings.Repeat("long", 64), "cpu.idle", 60, t0, 1), // 256 characters
	}
}

// The searches find the same whether the series are on nodes of ours, on stock
// nodes, or on both.
func TestSearchEndpoints(t *testing.T) {
	for name, o := range map[string]options{"ours": {}, "ours and stock": {stock: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, o)
			all := someSeries()
			w.put(all[:len(all)-1]...)
			if !o.stock { // a stock node could not index it
				w.put(all[len(all)-1])
			}
			for query, want := range map[string]string{
				"q=web":                      "web-1/60 web-2/0 web-3/-86400 of 3",
				"q=WEB+2":                    "web-2/0 of 1",
				"q=web&limit=2":              "web-1/60 web-2/0 of 3",
				"q=web&limit=2&page=2":       "web-3/-86400 of 3",
				"q=web&limit=2&page=9":       " of 3",
				"q=web&last=3600":            "web-1/60 web-2/0 of 2",
				"tags=if%3Deth0":             "web-2/0 web-3/-86400 of 2",
				"tags=if%3Deth0,vlan":        "web-3/-86400 of 1",
				"tags=if%3Deth0,+vlan&q=web": "web-3/-86400 of 1",
				"q=web&tags=nothing":         " of 0", // stock forgets the tags here
				"q=db":                       "db 1/0 of 1",
				"q=":                         `400 {"error":"q and labels are all missing"}`,
				"q=+&tags=,":                 `400 {"error":"q and labels are all missing"}`,
				"q=a(":                       `400 {"error":"regular expression \"a(\": error parsing regexp: missing closing ): ` + "`a(`" + `"}`,
				"q=web&limit=0":              `400 {"error":"limit \"0\" is not a number above 0"}`,
				"q=web&page=-1":              `400 {"error":"page \"-1\" is not a number above 0"}`,
				"q=web&limit=1000&page=101":  `400 {"error":"page 101 with limit 1000 reaches beyond 100000 rows: narrow the search"}`,
				"q=web&last=x":               `400 {"error":"last \"x\" is not a number above 0"}`,
			} {
				if got := rows(t, w.call("ann", "GET", "/graph/endpoint?"+query, nil), "endpoint", "ts"); got != want {
					t.Errorf("endpoint?%s\n got %s\nwant %s", query, got, want)
				}
			}
			if !o.stock {
				// Without an id a name is of no use to a stock client.
				if got := rows(t, w.call("ann", "GET", "/graph/endpoint?q=long", nil), "endpoint"); got != " of 1" {
					t.Errorf("an endpoint too long for the index: %s", got)
				}
			}
		})
	}
}

func TestSearchCounters(t *testing.T) {
	for name, o := range map[string]options{"ours": {}, "ours and stock": {stock: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, o)
			w.put(someSeries()[:6]...)
			id := map[string]string{}
			for _, r := range decode[[]endpointRow](t, w.call("ann", "GET", "/graph/endpoint?q=.", nil)) {
				id[r.Endpoint] = fmt.Sprint(r.ID)
			}
			for query, want := range map[string]string{
				"eid=web-1,web-2":                    "cpu.idle/web-1/60/GAUGE/60 df/mount=//web-1/60/GAUGE/0 cpu.idle/web-2/60/GAUGE/0 net.in/if=eth0/web-2/60/GAUGE/0 of 4",
				"eid=web-1,web-2&metricQuery=CPU":    "cpu.idle/web-1/60/GAUGE/60 cpu.idle/web-2/60/GAUGE/0 of 2",
				"eid=web-1,web-2&metricQuery=.+!cpu": "df/mount=//web-1/60/GAUGE/0 net.in/if=eth0/web-2/60/GAUGE/0 of 2",
				"eid=web-1,web-2&limit=3&page=2":     "net.in/if=eth0/web-2/60/GAUGE/0 of 4",
				"eid=db 1":                           "cpu.idle/db 1/60/GAUGE/0 of 1",
				"eid=999999":                         " of 0",
				"metricQuery=.":                      `400 {"error":"eid is missing"}`,
				"eid=x":                              `400 {"error":"eid \"x\" is not the id of an endpoint"}`,
				"eid=1," + manyIDs():                 `400 {"error":"1001 endpoints are more than 1000: ask for fewer at a time"}`,
			} {
				for name, n := range id {
					query = strings.ReplaceAll(query, name, n)
				}
				a := w.call("ann", "GET", "/graph/endpoint_counter?"+strings.ReplaceAll(query, " ", "%20"), nil)
				got := rows(t, a, "counter", "endpoint_id", "step", "type", "ts")
				for name, n := range id {
					got = strings.ReplaceAll(got, "/"+n+"/", "/"+name+"/")
				}
				if got != want {
					t.Errorf("endpoint_counter?%.80s\n got %s\nwant %s", query, got, want)
				}
			}
		})
	}
}

func manyIDs() string {
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprint(100_000 + i)
	}
	return strings.Join(ids, ",")
}

func TestEndpointObjects(t *testing.T) {
	w := newWorld(t, options{stock: true})
	w.put(someSeries()[:6]...)
	const names = "endpoints=web-1&endpoints=web-3&endpoints=db%201&endpoints=nobody"
	for query, want := range map[string]string{
		names:                                "db 1/0 web-1/60 web-3/-86400",
		names + fmt.Sprint("&deadline=", t0): "db 1/0 web-1/60",
		"endpoints=":                         `400 {"error":"endpoints missing"}`,
		"endpoints=a&deadline=x":             `400 {"error":"deadline \"x\" is not a Unix time"}`,
	} {
		if got := rows(t, w.call("ann", "GET", "/graph/endpointobj?"+query, nil), "endpoint", "ts"); got != want {
			t.Errorf("endpointobj?%s\n got %s\nwant %s", query, got, want)
		}
	}
}

func TestHistory(t *testing.T) {
	w := newWorld(t, options{stock: true})
	w.put(someSeries()[:6]...)
	ask := func(more ...any) map[string]any {
		m := map[string]any{"hostnames": []string{"web-1", "web-2"}, "counters": []string{"cpu.idle", "df/mount=/"}, "consol_fun": "AVERAGE", "start_time": t0, "end_time": t0 + 60}
		for i := 0; i+1 < len(more); i += 2 {
			if m[more[i].(string)] = more[i+1]; more[i+1] == nil {
				delete(m, more[i].(string))
			}
		}
		return m
	}
	const one = `{"endpoint":"web-1","counter":"cpu.idle","dstype":"GAUGE","step":60,"Values":[{"timestamp":1795319760,"value":1},{"timestamp":1795319820,"value":2}]}`
	const two = `{"endpoint":"web-1","counter":"df/mount=/","dstype":"GAUGE","step":60,"Values":[{"timestamp":1795319760,"value":1}]}`
	const three = `{"endpoint":"web-2","counter":"cpu.idle","dstype":"GAUGE","step":60,"Values":[{"timestamp":1795319760,"value":1}]}`
	const unknown = `{"endpoint":"web-2","counter":"df/mount=/","dstype":"","step":0,"Values":[]}`
	for _, tc := range []struct {
		name string
		in   any
		want string
	}{
		{"hosts first, then counters; the unknown pair is left out", ask(), "[" + one + "," + two + "," + three + "]"},
		{"with a step it is there", ask("step", 60), "[" + one + "," + two + "," + three + "," + unknown + "]"},
		{"no points in the range", ask("start_time", t0+600, "end_time", t0+1200, "hostnames", []string{"web-1"}, "counters", []string{"cpu.idle"}),
			`[{"endpoint":"web-1","counter":"cpu.idle","dstype":"GAUGE","step":60,"Values":[]}]`},
		{"clipped", ask("start_time", t0+1, "hostnames", []string{"web-1"}, "counters", []string{"cpu.idle"}),
			`[{"endpoint":"web-1","counter":"cpu.idle","dstype":"GAUGE","step":60,"Values":[{"timestamp":1795319820,"value":2}]}]`},
		{"nothing asked", ask("hostnames", []string{}), "[]"},
		{"no hostnames", ask("hostnames", nil), `{"error":"hostnames is required"}`},
		{"no counters", ask("counters", nil), `{"error":"counters is required"}`},
		{"no function", ask("consol_fun", ""), `{"error":"consol_fun is required: AVERAGE, MAX or MIN"}`},
		{"no start", ask("start_time", 0), `{"error":"start_time is required, in Unix seconds"}`},
		{"no end", ask("end_time", nil), `{"error":"end_time is required, in Unix seconds"}`},
		{"backwards", ask("end_time", t0-1), `{"error":"end_time 1795319759 is before start_time 1795319760"}`},
		{"too many", ask("hostnames", make([]string, 51)), `{"error":"51 endpoints with 2 counters each are more than 100 series: ask for fewer at a time"}`},
		{"wrong type", ask("start_time", "x"), `{"error":"json: cannot unmarshal string into Go struct field historyInput.start_time of type int64"}`},
	} {
		a := w.call("ann", "POST", "/graph/history", tc.in)
		if status := map[bool]int{true: 200, false: 400}[strings.HasPrefix(tc.want, "[")]; a.status != status || a.body != tc.want {
			t.Errorf("%s:\n got %d %s\nwant %s", tc.name, a.status, a.body, tc.want)
		}
	}
	if a := w.call("ann", "POST", "/graph/history", "hostnames=web-1&counters=cpu.idle&consol_fun=MAX&start_time=1795319760&end_time=1795319820", "Content-Type", "application/x-www-form-urlencoded"); a.body != "["+one+"]" {
		t.Errorf("as a form: %d %s", a.status, a.body)
	}
}

// Many series are answered part by part, in order; an answer that would not fit in
// memory is refused.
func TestLargeHistory(t *testing.T) {
	w := newWorld(t, options{settings: func(s *Settings) { s.MaxPairs, s.MaxBody = 5000, 1<<20 }})
	var counters []string
	for i := range 2*historyPart + 1 {
		s := graphtest.Gauge("h", fmt.Sprintf("m%04d", i), 60, t0, float64(i))
		w.ours.Put(s)
		counters = append(counters, s.Counter)
	}
	in := map[string]any{"hostnames": []string{"h"}, "counters": counters, "consol_fun": "AVERAGE", "start_time": t0, "end_time": t0}
	all := decode[[]graphs.Series](t, w.call("ann", "POST", "/graph/history", in))
	if len(all) != len(counters) {
		t.Fatalf("%d series, want %d", len(all), len(counters))
	}
	for i, s := range all {
		if s.Counter != counters[i] || len(s.Values) != 1 || s.Values[0].Value != model.JSONFloat(i) {
			t.Fatalf("element %d is %+v", i, s)
		}
	}
	small := defaults()
	small.MaxPairs, small.MaxBody, small.MaxAnswer = 5000, 1<<20, 1<<16
	w.serve(small, w.client)
	w.want("ann", "POST", "/graph/history", in, 400, `{"error":"the answer is larger than 0 MiB: ask for fewer series, or a shorter time"}`)
}

// When a node is away its series are there without points, and it is named.
func TestPartialAnswers(t *testing.T) {
	w := newWorld(t, options{})
	down := graphtest.New()
	stop := down.ServeOurs(t)
	var err error
	w.client, err = graphs.New(graphs.Options{Cluster: map[string]string{"up": w.ours.Addr, "down": down.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	w.serve(defaults(), w.client)
	var counters []string
	away := map[string]bool{}
	for i := range 8 {
		s := graphtest.Gauge("h", fmt.Sprint("m", i), 60, t0, 1)
		counters = append(counters, s.Counter)
		if w.client.Node(s.Endpoint, s.Counter) == "down" {
			down.Put(s)
			away[s.Counter] = true
			if _, err := w.db.IndexWrite(t.Context(), nil, []portal.IndexRow{{Endpoint: "h", Counter: s.Counter, Step: 60, Type: "GAUGE", Ts: t0}}); err != nil {
				t.Fatal(err)
			}
		} else {
			w.ours.Put(s)
		}
	}
	if len(away) == 0 || len(away) == 8 {
		t.Fatalf("the ring puts %d of 8 series on one node: other names are needed", len(away))
	}
	stop()
	a := w.call("ann", "POST", "/graph/history", map[string]any{"hostnames": []string{"h"}, "counters": counters, "consol_fun": "AVERAGE", "start_time": t0, "end_time": t0})
	if a.status != 200 || a.header.Get("X-Falcon-Partial") != "down" {
		t.Errorf("history: %d, partial %q", a.status, a.header.Get("X-Falcon-Partial"))
	}
	for _, s := range decode[[]graphs.Series](t, a) {
		if (len(s.Values) == 0) != away[s.Counter] || s.Values == nil || s.Endpoint != "h" {
			t.Errorf("%s: %+v, its node away: %v", s.Counter, s, away[s.Counter])
		}
	}
	var last []map[string]string
	for _, c := range counters {
		last = append(last, map[string]string{"endpoint": "h", "counter": c})
	}
	a = w.call("ann", "POST", "/graph/lastpoint", last)
	if got := decode[[]any](t, a); len(got) != 8-len(away) || a.header.Get("X-Falcon-Partial") != "down" {
		t.Errorf("lastpoint: %d elements, partial %q", len(got), a.header.Get("X-Falcon-Partial"))
	}
	// The search finds the rest in the index.
	if got := rows(t, w.call("ann", "GET", "/graph/endpoint?q=h", nil), "endpoint", "ts"); got != "h/0 of 1 without down" {
		t.Errorf("endpoint: %s", got)
	}
	id := must(w.db.EndpointIDs(t.Context(), []string{"h"}))["h"]
	if got := rows(t, w.call("ann", "GET", fmt.Sprint("/graph/endpoint_counter?eid=", id), nil), "counter"); got != strings.Join(counters, " ")+" of 8 without down" {
		t.Errorf("endpoint_counter: %s", got)
	}
}

func TestLastPoint(t *testing.T) {
	w := newWorld(t, options{stock: true})
	w.put(someSeries()[:6]...)
	in := `[{"endpoint":"web-1","counter":"cpu.idle"},{"endpoint":"nobody","counter":"x"},null,{"endpoint":"web-2","counter":"net.in/if=eth0"}]`
	w.want("ann", "POST", "/graph/lastpoint", in, 200, `[{"endpoint":"web-1","counter":"cpu.idle","value":{"timestamp":1795319820,"value":2}},`+
		`{"endpoint":"nobody","counter":"x","value":{"timestamp":0,"value":0}},{"endpoint":"web-2","counter":"net.in/if=eth0","value":{"timestamp":1795319760,"value":1}}]`)
	w.want("ann", "POST", "/graph/lastpoint", `[]`, 200, `[]`)
	w.want("ann", "POST", "/graph/lastpoint", "["+strings.Repeat(`{},`, 100)+"{}]", 400, `{"error":"101 series are more than 100: ask for fewer at a time"}`)
}

func TestGraphInfo(t *testing.T) {
	w := newWorld(t, options{})
	w.put(someSeries()[:1]...)
	w.want("ann", "POST", "/graph/info", `{"endpoint":"web-1","counter":"cpu.idle"}`, 200,
		`{"endpoint":"web-1","counter":"cpu.idle","consolFun":"GAUGE","step":60,"filename":"`+model.RRDPath("data", "web-1/cpu.idle", "GAUGE", 60)+`","addr":"`+w.ours.Addr+`"}`)
	w.want("ann", "POST", "/graph/info", `{"endpoint":"web-1","counter":"zz"}`, 200,
		`{"endpoint":"web-1","counter":"zz","consolFun":"","step":0,"filename":"","addr":"`+w.ours.Addr+`"}`)
	w.want("ann", "POST", "/graph/info", `{"endpoint":"web-1"}`, 400, `{"error":"counter is required"}`)
}

func TestDelete(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorld(t, options{db: db, stock: true})
		all := someSeries()[:6]
		w.put(all...)
		// One of ours is in the index too, one only there: its node forgot it.
		if _, err := db.IndexWrite(t.Context(), nil, []portal.IndexRow{
			{Endpoint: "web-1", Counter: "cpu.idle", Step: 60, Type: "GAUGE", Ts: t0},
			{Endpoint: "gone", Counter: "a", Step: 60, Type: "COUNTER", Ts: t0},
		}); err != nil {
			t.Fatal(err)
		}
		w.want("admin", "DELETE", "/graph/counter", map[string]any{"endpoints": []string{"web-1", "web-2", "nobody"}, "counters": []string{"cpu.idle", "nothing"}}, 200, `{"affected_counter":2}`)
		if got := w.everything(); got != "db 1/cpu.idle web-1/df/mount=/ web-2/net.in/if=eth0 web-3/net.in/if=eth0,vlan=7" {
			t.Errorf("left: %s", got)
		}
		w.want("admin", "DELETE", "/graph/endpoint", []string{"web-1", "web-2", "web-2", "gone", "nobody"}, 200, `{"affected_counter":3,"affected_endpoint":3}`)
		if got := w.everything(); got != "db 1/cpu.idle web-3/net.in/if=eth0,vlan=7" {
			t.Errorf("left: %s", got)
		}
		for _, name := range []string{"web-1", "web-2", "gone"} {
			if rows := must(db.EndpointsByName(t.Context(), []string{name}, 0)); len(rows) != 0 {
				t.Errorf("the index still has %s", name)
			}
		}
		w.want("admin", "DELETE", "/graph/endpoint", []string{}, 400, `{"error":"the body is no list of endpoints"}`)
		w.want("admin", "DELETE", "/graph/endpoint", `{}`, 400, `{"error":"json: cannot unmarshal object into Go value of type []string"}`)
		w.want("admin", "DELETE", "/graph/counter", map[string]any{"endpoints": []string{"web-3"}}, 400, `{"error":"endpoints and counters are required"}`)

		logs := must(db.OperLogs(t.Context(), 10))
		if len(logs) != 2 || logs[0].Object != "endpoint" || logs[0].User != "admin" || *logs[0].After != `["gone","nobody","web-1","web-2"]` || logs[1].ObjectID != "nobody and others" {
			t.Errorf("audit log: %+v", logs)
		}
	})
}

// everything lists the series of all nodes.
func (w *world) everything() string {
	var all []string
	for _, s := range someSeries() {
		for _, n := range []*graphtest.Node{w.ours, w.stock} {
			if n.Has(s.Endpoint, s.Counter) {
				all = append(all, s.Endpoint+"/"+s.Counter)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// An endpoint with more counters than one search returns is deleted whole.
func TestDeleteALargeEndpoint(t *testing.T) {
	w := newWorld(t, options{})
	for i := range searchBatch + 10 {
		w.ours.Put(graphtest.Gauge("h", fmt.Sprint("m", i), 60, t0, 1))
	}
	w.want("admin", "DELETE", "/graph/endpoint", []string{"h"}, 200, fmt.Sprintf(`{"affected_counter":%d,"affected_endpoint":1}`, searchBatch+10))
	if w.ours.Len() != 0 {
		t.Errorf("%d series left", w.ours.Len())
	}
}
