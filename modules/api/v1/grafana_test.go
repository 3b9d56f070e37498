package v1

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"falcon/common/portal"
	"falcon/modules/api/graphs/graphtest"
)

// grafanaWorld has endpoints with dots, tildes and tags; half of them are on a stock
// node when asked for.
func grafanaWorld(t *testing.T, db *portal.DB, stock bool) *world {
	w := newWorld(t, options{db: db, onlyStock: stock})
	node := w.ours
	if stock {
		node = w.stock
	}
	var rows []portal.IndexRow
	for _, name := range []string{
		"web01.bj cpu.idle", "web01.bj cpu.busy", "web01.bj cpu.idle.avg", "web01.bj df.bytes.free/fstype=ext4,mount=/a+b", "web01.bj qps/srv=pay",
		"web02.bj cpu.idle", "real~tilde cpu.idle", "10.0.0.7 ping/target=10.0.0.1", "h2 net.if.in/iface=eth0", "h2 net.if.out/iface=eth0",
	} {
		endpoint, counter, _ := strings.Cut(name, " ")
		node.Put(graphtest.Gauge(endpoint, counter, 60, t0, 1, 2))
		rows = append(rows, portal.IndexRow{Endpoint: endpoint, Counter: counter, Step: 60, Type: "GAUGE", Ts: t0 + 60})
	}
	if refused, err := w.db.IndexWrite(t.Context(), nil, rows); err != nil || len(refused) > 0 {
		t.Fatal(refused, err)
	}
	return w
}

// texts are the segments of an answer; + follows those that go on.
func texts(t *testing.T, a answer) string {
	t.Helper()
	var all []segment
	if err := json.Unmarshal([]byte(a.body), &all); a.status != 200 || err != nil {
		t.Fatalf("%d %s", a.status, a.body)
	}
	out := []string{}
	for _, s := range all {
		if s.Expandable {
			s.Text += "+"
		}
		out = append(out, s.Text)
	}
	return strings.Join(out, " ")
}

// What the plugin asks while somebody writes a target, against our nodes and against
// stock's, whose series are in the index alone.
func TestGrafanaFind(t *testing.T) {
	const all = "10~0~0~7+ h2+ real~tilde+ web01~bj+ web02~bj+"
	cases := []struct{ query, want string }{
		{"", all},
		{"!N!", all},
		{"web", "web01~bj+ web02~bj+"},
		{"WEB01", "web01~bj+"},
		{"!x", ""},
		{"nothing", ""},
		{"web01~bj#.*", "cpu+ df+ qps/srv=pay $ %"},
		{"web01~bj#", "cpu+ df+ qps/srv=pay $ %"},
		{"{web01~bj,web02~bj}#cpu#.*", "busy idle+ $ %"},
		{"web01~bj#cpu#idle", "idle+ $ %"},
		{"web01~bj#cpu#idle#.*", "avg $ %"},
		{"web01~bj#cpu#idle#avg#.*", "$"},
		{"web01~bj#%#.*", "busy bytes+ idle+ $ %"},
		{"web01~bj#cpu#i", "idle+ $ %"},
		{"real~tilde#.*", "cpu+ %"},
		{"10~0~0~7#.*", "ping/target=10+ %"},
		{"unknown#.*", ""},
		{"#.*", ""},
		{"web01~bj#select metric", ""},
		{"h2#net#if#.*", "in/iface=eth0 out/iface=eth0 $ %"},
	}
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		for _, stock := range []bool{false, true} {
			w := grafanaWorld(t, db, stock)
			for _, tc := range cases {
				a := w.call("", "GET", "/grafana/metrics/find?query="+url.QueryEscape(tc.query), nil)
				if got := texts(t, a); got != tc.want {
					t.Errorf("stock %v, find %q\n got %s\nwant %s", stock, tc.query, got, tc.want)
				}
			}
			if got := texts(t, w.call("", "GET", "/grafana?limit=2", nil)); got != "10~0~0~7+ h2+" {
				t.Errorf("two endpoints: %s", got)
			}
			for _, query := range []string{"(", "h2#(#x", "h2#net#("} {
				if a := w.call("", "GET", "/grafana/metrics/find?query="+url.QueryEscape(query), nil); a.status != 400 {
					t.Errorf("%q: %d %s", query, a.status, a.body)
				}
			}
			for _, table := range []string{"user", "session"} {
				sqlExec(t, db.UIC, "DELETE FROM "+table)
			}
		}
	})
}

func TestGrafanaFindsGroups(t *testing.T) {
	w := newWorld(t, options{})
	for _, name := range []string{"pay", "payroll", "web"} {
		id := must(w.db.CreateGroup(t.Context(), name, "ann"))
		must(w.db.SetGroupHosts(t.Context(), id, portal.BindAdd, []string{name + ".h1", "shared"}, false))
	}
	for query, want := range map[string]string{"!HG!^pay": "pay payroll", "!HG!": "pay payroll web", "!HGH!^pay": "pay~h1+ payroll~h1+ shared+", "!HGH!none": ""} {
		if got := texts(t, w.call("", "GET", "/grafana/metrics/find?query="+url.QueryEscape(query), nil)); got != want {
			t.Errorf("find %q\n got %s\nwant %s", query, got, want)
		}
	}
}

func TestGrafanaRender(t *testing.T) {
	cases := []struct{ targets, want string }{
		{"web01~bj#cpu#busy", "web01.bj/cpu.busy*2"},
		{"web01~bj#cpu#idle", "web01.bj/cpu.idle*2 web01.bj/cpu.idle.avg*2"},
		{"web01~bj#cpu#idle#$", "web01.bj/cpu.idle*2"},
		{"web01~bj#df#bytes#free/fstype=ext4,mount=/a+b#$", "web01.bj/df.bytes.free/fstype=ext4,mount=/a+b*2"},
		{"h2#net#if#%#$", "h2/net.if.in/iface=eth0*2 h2/net.if.out/iface=eth0*2"},
		{"h2#net#if#in/.*", "h2/net.if.in/iface=eth0*2"},
		// Every endpoint with every counter of any: what is not there is empty.
		{"{web01~bj,web02~bj}#^cpu#(idle|busy)$", "web01.bj/cpu.busy*2 web01.bj/cpu.idle*2 web02.bj/cpu.busy*0 web02.bj/cpu.idle*2"},
		{"real~tilde#cpu#idle", "real~tilde/cpu.idle*2"},
		{"10~0~0~7#ping/target=10.0.0.1", "10.0.0.7/ping/target=10.0.0.1*2"},
		{"none#cpu#idle|h2#net#none|h2|web02~bj#cpu#idle", "web02.bj/cpu.idle*2"},
		{"none#cpu", ""},
		{"h2#select metric", ""},
		{"h2#", ""},
	}
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		for _, stock := range []bool{false, true} {
			w := grafanaWorld(t, db, stock)
			for _, tc := range cases {
				form := url.Values{"from": {fmt.Sprint(t0)}, "until": {fmt.Sprint(t0 + 60)}, "format": {"json"}, "maxDataPoints": {"900"}}
				form["target"] = []string{tc.targets}
				if strings.Contains(tc.targets, "|h2") {
					form["target"] = strings.Split(tc.targets, "|")
				}
				get := w.call("", "GET", "/grafana/render?"+form.Encode(), nil)
				post := w.call("", "POST", "/grafana/render", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
				if get.body != post.body {
					t.Errorf("%s: GET %s, POST %s", tc.targets, get.body, post.body)
				}
				var series []struct {
					Endpoint, Counter string
					Values            []any
				}
				if err := json.Unmarshal([]byte(post.body), &series); err != nil {
					t.Fatalf("%s: %v: %s", tc.targets, err, post.body)
				}
				got := []string{}
				for _, s := range series {
					got = append(got, fmt.Sprintf("%s/%s*%d", s.Endpoint, s.Counter, len(s.Values)))
				}
				if strings.Join(got, " ") != tc.want {
					t.Errorf("stock %v, render %s\n got %s\nwant %s", stock, tc.targets, strings.Join(got, " "), tc.want)
				}
			}
			for _, table := range []string{"user", "session"} {
				sqlExec(t, db.UIC, "DELETE FROM "+table)
			}
		}
	})
}

func TestGrafanaRenderRefuses(t *testing.T) {
	w := grafanaWorld(t, nil, false)
	w.settingsOnly(func(s *Settings) { s.MaxPairs = 3 })
	for query, want := range map[string]string{
		"from=1&until=2":                             "target is required",
		"target=a%23b&until=2":                       "from is required, in Unix seconds",
		"target=a%23b&from=1":                        "until is required, in Unix seconds",
		"target=a%23b&from=2&until=1":                "end_time 1 is before start_time 2",
		"target=h2%23(&from=1&until=2":               "regular expression \"(\": error parsing regexp: missing closing ): `(`",
		"target=web01~bj%23.&from=1&until=2":         "1 endpoints with 4 counters each are more than 3 series: ask for fewer at a time",
		"target=h2%23.&target=h2%23.&from=1&until=2": "1 endpoints with 2 counters each are more than 1 series: ask for fewer at a time",
	} {
		a := w.call("", "GET", "/grafana/render?"+query, nil)
		var e struct{ Error string }
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != 400 || e.Error != want {
			t.Errorf("render?%s\n got %d %s\nwant %s", query, a.status, a.body, want)
		}
	}
}

// settingsOnly starts the api again with other settings.
func (w *world) settingsOnly(change func(*Settings)) {
	s := defaults()
	change(&s)
	w.serve(s, w.client)
}

// Grafana's routes are open as in stock unless the operator wants to know who calls;
// then a service's token is good in the two ways that Grafana can send it.
func TestGrafanaMayBeClosed(t *testing.T) {
	w := grafanaWorld(t, nil, false)
	w.settingsOnly(func(s *Settings) { s.GrafanaAuth = true })
	basic := func(name, token string) []string {
		return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+token))}
	}
	for _, tc := range []struct {
		who     string
		headers []string
		want    int
	}{
		{"", nil, 401},
		{"ann", nil, 200},
		{"tool:another token", nil, 200},
		{"", basic("tool", "another token"), 200},
		{"", basic("tool", "wrong"), 401},
		{"", basic("", ""), 401},
	} {
		if a := w.call(tc.who, "GET", "/grafana", nil, tc.headers...); a.status != tc.want {
			t.Errorf("as %q with %v: %d %s, want %d", tc.who, tc.headers, a.status, a.body, tc.want)
		}
	}
	// Nowhere else is a password in a header good for anything.
	if a := w.call("", "GET", "/hostgroup", nil, basic("tool", "another token")...); a.status != 401 {
		t.Errorf("another route: %d %s", a.status, a.body)
	}
}

// The fork's alarm asks through which groups an endpoint has a template, and keeps
// texts behind links.
func TestTheForksAlarm(t *testing.T) {
	w := newWorld(t, options{})
	x := w.things()
	const alarm = "falcon-alarm:a token of the daemons"
	path := fmt.Sprintf("/tplgrp?tpl_id=%d&endpoint=h1", x.template)
	w.want(alarm, "GET", path, nil, 200, fmt.Sprintf(`[{"grp_name":"group%d","grp_id":%d}]`, x.n, x.group))
	w.want(alarm, "GET", fmt.Sprintf("/tplgrp?tpl_id=%d&endpoint=h9", x.template), nil, 200, "[]")
	w.want(alarm, "GET", "/tplgrp?endpoint=h1", nil, 400, `{"error":"tpl_id is required","field":"tpl_id"}`)
	// Through a template that inherits from it.
	parent := must(w.db.CreateTemplate(t.Context(), portal.Template{Name: "parent"}))
	if err := w.db.UpdateTemplate(t.Context(), x.template, "child", parent); err != nil {
		t.Fatal(err)
	}
	w.want(alarm, "GET", fmt.Sprintf("/tplgrp?tpl_id=%d&endpoint=h1", parent), nil, 200, fmt.Sprintf(`[{"grp_name":"group%d","grp_id":%d}]`, x.n, x.group))

	a := w.call(alarm, "POST", "/alarm/link", map[string]string{"content": "a,,<b>"})
	var m message
	if err := json.Unmarshal([]byte(a.body), &m); err != nil || a.status != 200 || len(m.Message) != 9 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.want("", "GET", "/alarm/link/"+m.Message, nil, 200, `{"content":"a,,\u003cb\u003e"}`)
	w.want("", "GET", "/alarm/link/nothing", nil, 400, `{"error":"record not found"}`)
	w.want(alarm, "POST", "/alarm/link", map[string]string{}, 400, `{"error":"content is required","field":"content"}`)
}
