package v1

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/portal"
)

// A disable is made for one of nine durations, listed while it is in force, and ended by
// itself or by hand; each call leaves a line in the operation log, and hbs is told.
func TestDisable(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorld(t, options{db: db})
		told := 0
		w.changed = func() { told++ }
		w.serve(defaults(), w.client)
		x := w.things()
		now := w.now().Unix()

		// what a row says, beyond what was asked for
		type row struct {
			portal.NamedDisable
			Total    int
			Disables []portal.NamedDisable
		}
		ask := func(who, method, path string, body any) row {
			t.Helper()
			a := w.call(who, method, path, body)
			var r row
			if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status != 200 {
				t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
			}
			return r
		}
		list := func(query string) string {
			t.Helper()
			var out []string
			for _, d := range ask("bob", "GET", "/alarm/disable?"+query, nil).Disables {
				out = append(out, fmt.Sprintf("%d %s/%s/%s/%s %d", d.Type, d.Hostname, d.TemplateName, d.Metric, d.GroupName, d.End-now))
			}
			return strings.Join(out, ", ")
		}
		if err := db.CancelDisable(t.Context(), x.disable, "root", now); err != nil {
			t.Fatal(err)
		}

		tpl, group := fmt.Sprintf("tpl%d", x.n), fmt.Sprintf("group%d", x.n)
		for i, tc := range []struct {
			body map[string]any
			want portal.Disable
		}{
			{map[string]any{"type": 1, "hostname": "h1", "duration": "10m", "reason": "磁盘"}, portal.Disable{Type: 1, Host: x.host, End: 600, Reason: "磁盘"}},
			{map[string]any{"type": 2, "tpl_id": x.template, "duration": "30m"}, portal.Disable{Type: 2, Template: x.template, End: 1800}},
			{map[string]any{"type": 3, "strategy_id": x.strategy, "duration": "1h"}, portal.Disable{Type: 3, Strategy: x.strategy, End: 3600}},
			{map[string]any{"type": 4, "strategy_id": x.strategy, "host_id": x.host, "duration": "1d"}, portal.Disable{Type: 4, Strategy: x.strategy, Host: x.host, End: 86400}},
			{map[string]any{"type": 5, "grp_id": x.group, "tpl_id": x.template, "duration": "2w"}, portal.Disable{Type: 5, Group: x.group, Template: x.template, End: 14 * 86400}},
		} {
			told = 0
			got := ask("bob", "POST", "/alarm/disable", tc.body).Disable
			tc.want.ID, tc.want.Begin, tc.want.Duration, tc.want.Operator = got.ID, now, tc.body["duration"].(string), "bob"
			tc.want.End += now
			if got != tc.want || told != 1 {
				t.Errorf("%d\n got %+v\nwant %+v, hbs told %d times", i, got, tc.want, told)
			}
			log := must(db.OperLogs(t.Context(), 1))[0]
			if log.User != "bob" || log.Object != "disable" || log.Op != "create" || log.ObjectID != fmt.Sprint(got.ID) || !strings.Contains(*log.After, fmt.Sprintf(`"end_ts":%d`, got.End)) {
				t.Errorf("operation log %+v", log)
			}
		}
		all := []string{"5 /" + tpl + "//" + group + " 1209600", "4 h1/" + tpl + "/m/ 86400", "3 /" + tpl + "/m/ 3600", "2 /" + tpl + "// 1800", "1 h1/// 600"}
		for query, want := range map[string][]string{
			"active=1": all, "active=1&type=5": all[:1], fmt.Sprintf("host_id=%d", x.host): {all[1], all[4]}, "active=1&limit=2&page=2": all[2:4],
			fmt.Sprintf("active=1&tpl_id=%d", x.template): all[:4], "type=3": {all[2]},
		} {
			if got := list(query); got != strings.Join(want, ", ") {
				t.Errorf("%s\n got %s\nwant %s", query, got, strings.Join(want, ", "))
			}
		}
		if a := w.call("bob", "GET", "/hosts?q=h1", nil); !strings.Contains(a.body, fmt.Sprintf(`"disabled_until":%d`, now+600)) {
			t.Errorf("the list of hosts: %s", a.body)
		}
		var silences []portal.Silence
		if err := json.Unmarshal([]byte(w.call("tool:another token", "GET", "/alarm/disable/silences", nil).body), &silences); err != nil || len(silences) != 5 || silences[0].Hosts[0] != "h1" {
			t.Errorf("for alarm: %+v, %v", silences, err)
		}

		// By itself, and by hand.
		w.pass(1800 * time.Second)
		if got := list("active=1"); got != strings.Join(all[:3], ", ") {
			t.Errorf("half an hour later: %s", got)
		}
		told = 0
		third := ask("bob", "GET", "/alarm/disable?type=3", nil).Disables[0]
		path := fmt.Sprintf("/alarm/disable/%d", third.ID)
		if d := ask("ann", "DELETE", path, nil); d.CancelUser != "ann" || d.CancelTS != now+1800 || told != 1 {
			t.Errorf("ended %+v, hbs told %d times", d.Disable, told)
		}
		if log := must(db.OperLogs(t.Context(), 1))[0]; log.Op != "cancel" || log.ObjectID != fmt.Sprint(third.ID) || log.Before == nil || !strings.Contains(*log.After, `"cancel_user":"ann"`) {
			t.Errorf("operation log %+v", log)
		}
		if a := w.call("ann", "DELETE", path, nil); a.status != 400 || !strings.Contains(a.body, "it was ended at") || told != 1 {
			t.Errorf("ended twice: %d %s", a.status, a.body)
		}
		w.want("ann", "DELETE", "/alarm/disable/9999", nil, 400, `{"error":"record not found"}`)
		if got := list("active=1"); got != strings.Join(all[:2], ", ") {
			t.Errorf("afterwards: %s", got)
		}

		// Who began it may end it, though he may not begin it any more; and when what it was
		// about is gone, others than admins may not.
		w.addUser("cid", 0)
		mine := must(db.CreateDisable(t.Context(), portal.Disable{Type: 2, Template: x.template, Begin: now, End: now + 86400, Duration: "1d", Operator: "cid"}))
		if got := w.may("cid", "DELETE", fmt.Sprintf("/alarm/disable/%d", mine), nil); got != "yes" {
			t.Errorf("his own: %s", got)
		}
		gone := must(db.CreateDisable(t.Context(), portal.Disable{Type: 2, Template: 999, Begin: now, End: now + 86400, Duration: "1d", Operator: "x"}))
		for who, want := range map[string]string{"ann": "no", "admin": "yes"} {
			if got := w.may(who, "DELETE", fmt.Sprintf("/alarm/disable/%d", gone), nil); got != want {
				t.Errorf("of a template that is gone, %s: %s", who, got)
			}
		}
	})
}

// What can not be disabled is refused with the field and the reason, by the preview as
// well, and hbs is told nothing.
func TestDisableIsChecked(t *testing.T) {
	w := newWorld(t, options{})
	told := 0
	w.changed = func() { told++ }
	w.peers.hbs = &fakePeer{answer: `{"host_count":1}`}
	w.serve(defaults(), w.client)
	x := w.things()
	w.addUser("cid", 0)
	const durations = "10m 30m 1h 3h 6h 1d 3d 1w 2w"
	for _, tc := range []struct {
		body       map[string]any
		field, err string
		preview    bool // refuses it, too
	}{
		{map[string]any{"type": 0}, "type", "type 0 is unknown, use 1 for a host, 2 for a template, 3 for a strategy, 4 for a strategy on a host, 5 for a template on a group", true},
		{map[string]any{"type": 6}, "type", "type 6 is unknown, use 1 for a host, 2 for a template, 3 for a strategy, 4 for a strategy on a host, 5 for a template on a group", true},
		{map[string]any{"type": 1}, "host_id", "type 1 is the host: host_id is required", true},
		{map[string]any{"type": 4, "host_id": x.host}, "strategy_id", "type 4 is the strategy on this host: strategy_id is required", true},
		{map[string]any{"type": 1, "host_id": x.host, "tpl_id": x.template}, "tpl_id", "type 1 is the host: tpl_id does not belong to it", true},
		{map[string]any{"type": 1, "hostname": "H1"}, "hostname", `there is no host "H1"`, true},
		{map[string]any{"type": 1, "hostname": "h1", "host_id": x.host + 7}, "hostname", fmt.Sprintf(`host "h1" has id %d, not %d: name it by one of them`, x.host, x.host+7), true},
		{map[string]any{"type": 2, "tpl_id": 999}, "tpl_id", "there is no template with id 999", true},
		{map[string]any{"type": 3, "strategy_id": 999}, "strategy_id", "there is no strategy with id 999", true},
		{map[string]any{"type": 5, "grp_id": x.bare, "tpl_id": x.template}, "tpl_id", fmt.Sprintf("template %d is not bound to group %d", x.template, x.bare), true},
		{map[string]any{"type": 2, "tpl_id": x.template}, "duration", `duration "" is none of ` + durations, false},
		{map[string]any{"type": 2, "tpl_id": x.template, "duration": "2h"}, "duration", `duration "2h" is none of ` + durations, false},
		{map[string]any{"type": 2, "tpl_id": x.template, "duration": "4w"}, "duration", `duration "4w" is none of ` + durations, false},
		{map[string]any{"type": 2, "tpl_id": x.template, "duration": "1d", "reason": strings.Repeat("x", 256)}, "reason", "reason is longer than 255 characters", false},
	} {
		text, err := json.Marshal(map[string]string{"error": tc.err, "field": tc.field})
		if err != nil {
			t.Fatal(err)
		}
		w.want("ann", "POST", "/alarm/disable", tc.body, 400, string(text))
		want, status := string(text), 400
		if !tc.preview {
			want, status = `{"host_count":1}`, 200
		}
		w.want("cid", "POST", "/alarm/disable/preview", tc.body, status, want)
	}
	if told != 0 {
		t.Errorf("hbs is told %d times of nothing", told)
	}
	if len(must(w.db.OperLogs(t.Context(), 10))) != 0 {
		t.Error("what was refused is in the operation log")
	}
	w.want("ann", "GET", "/alarm/disable?active=maybe", nil, 400, `{"error":"active \"maybe\" is neither 1 nor 0","field":"active"}`)
	w.want("ann", "GET", "/alarm/disable?limit=2000", nil, 400, `{"error":"page 1 with limit 2000: a page has 1000 at most"}`)
}

// A preview is hbs's answer to the ids that a disable would have; without an hbs there is
// none.
func TestDisablePreview(t *testing.T) {
	w := newWorld(t, options{})
	x := w.things()
	w.want("ann", "POST", "/alarm/disable/preview", map[string]any{"type": 2, "tpl_id": x.template}, 502, `{"error":"no hbs is configured that could know what a disable would hide: set hbs.addr"}`)
	hbs := &fakePeer{answer: `{"host_count":1}`}
	w.peers.hbs = hbs
	w.serve(defaults(), w.client)
	for _, tc := range []struct {
		body map[string]any
		want string
	}{
		{map[string]any{"type": 4, "hostname": "h1", "strategy_id": x.strategy}, fmt.Sprintf("/disable/preview?host_id=%d&strategy_id=%d&type=4", x.host, x.strategy)},
		{map[string]any{"type": 5, "grp_id": x.group, "tpl_id": x.template}, fmt.Sprintf("/disable/preview?grp_id=%d&tpl_id=%d&type=5", x.group, x.template)},
	} {
		w.want("ann", "POST", "/alarm/disable/preview", tc.body, 200, `{"host_count":1}`)
		if hbs.path != tc.want {
			t.Errorf("asked for %s, want %s", hbs.path, tc.want)
		}
	}
}

// Who may disable what: the template's people, and of a binding and a host also those of
// the group.
func TestDisableHasOwners(t *testing.T) {
	w := newWorld(t, options{settings: func(s *Settings) { s.Maintainers = []string{"dan"} }})
	for _, name := range []string{"cid", "dan", "eve", "far"} {
		w.addUser(name, 0)
	}
	x := w.things()
	// The host is in a group of eve's, too, and she binds ann's template there.
	ctx := t.Context()
	eves := must(w.db.CreateGroup(ctx, "eves", "eve"))
	must(w.db.SetGroupHosts(ctx, eves, portal.BindAdd, []string{"h1"}, false))
	if err := w.db.BindTemplate(ctx, portal.Binding{Group: eves, Template: x.template, BindUser: "ann"}); err != nil {
		t.Fatal(err)
	}
	bodies := map[string]map[string]any{
		"host": {"type": 1, "host_id": x.host}, "template": {"type": 2, "tpl_id": x.template}, "strategy": {"type": 3, "strategy_id": x.strategy},
		"strategy on host": {"type": 4, "strategy_id": x.strategy, "host_id": x.host}, "binding": {"type": 5, "grp_id": eves, "tpl_id": x.template},
		"other binding": {"type": 5, "grp_id": x.group, "tpl_id": x.template},
	}
	for what, may := range map[string]string{
		"host": "ann bob eve dan admin root", "template": "ann bob dan admin root", "strategy": "ann bob dan admin root", "strategy on host": "ann bob dan admin root",
		"binding": "ann bob eve dan admin root", "other binding": "ann bob dan admin root",
	} {
		body := bodies[what]
		body["duration"] = "10m"
		for _, who := range []string{"ann", "bob", "cid", "dan", "eve", "far", "admin", "root"} {
			want := "no"
			if slices.Contains(strings.Fields(may), who) {
				want = "yes"
			}
			if got := w.may(who, "POST", "/alarm/disable", body); got != want {
				t.Errorf("%s by %s: %s, want %s", what, who, got, want)
			}
		}
	}
}

// A maintenance lasts two weeks at most, unless the operator wants it otherwise.
func TestLongMaintenance(t *testing.T) {
	w := newWorld(t, options{})
	w.things()
	now := w.now().Unix()
	body := func(end int64) map[string]any {
		return map[string]any{"hosts": []string{"h1"}, "maintain_begin": now, "maintain_end": now + end}
	}
	w.want("ann", "POST", "/host/maintain", body(14*86400), 200, `{"message":"Through: hosts, Affect row: 1"}`)
	w.want("ann", "POST", "/host/maintain", body(15*86400), 400,
		`{"error":"the maintenance would end in 15 days; 14 are possible, unless allow_long_maintain is set in the configuration of api","field":"maintain_end"}`)
	s := defaults()
	s.AllowLongMaintain = true
	w.serve(s, w.client)
	w.want("ann", "POST", "/host/maintain", body(400*86400), 200, `{"message":"Through: hosts, Affect row: 1"}`)
}

func TestEnvironments(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorld(t, options{db: db})
		x := w.things()
		told := 0
		w.changed = func() { told++ }
		w.serve(defaults(), w.client)
		w.want("ann", "PUT", "/host/env", map[string]any{"hosts": []string{"h1"}, "env": "prod"}, 200, `{"env":"prod","hosts":["h1"]}`)
		if a := w.call("ann", "GET", "/hosts?q=h1", nil); !strings.Contains(a.body, `"env":"prod"`) {
			t.Errorf("the list of hosts: %s", a.body)
		}
		log := must(db.OperLogs(t.Context(), 1))[0]
		if log.Object != "host" || log.ObjectID != "h1" || log.Op != "env" || told != 1 {
			t.Errorf("operation log %+v, hbs told %d times", log, told)
		}
		w.want("ann", "PUT", "/host/env", map[string]any{"ids": []int64{x.host}, "env": ""}, 200, `{"env":"","hosts":["h1"]}`)
		w.want("ann", "PUT", "/host/env", map[string]any{"ids": []int64{x.host}, "env": "lab"}, 400, `{"error":"env \"lab\" is none of prod staging test","field":"env"}`)
		w.want("ann", "PUT", "/host/env", map[string]any{"ids": []int64{x.host}}, 400, `{"error":"env is required: prod, staging, test, or \"\" for unknown","field":"env"}`)
		w.want("ann", "PUT", "/host/env", map[string]any{"env": "prod"}, 400, `{"error":"hosts or ids is required","field":"hosts"}`)
		w.want("ann", "PUT", "/host/env", map[string]any{"hosts": []string{"H1"}, "env": "prod"}, 400, `{"error":"there is no host \"H1\"","field":"hosts"}`)
		w.want("ann", "PUT", "/host/env", map[string]any{"ids": []int64{999}, "env": "prod"}, 400, `{"error":"there is no host with id 999","field":"ids"}`)

		bind := map[string]any{"grp_id": x.bare, "tpl_id": x.template, "env": "prod"}
		told = 0
		id := w.made("bob", "POST", "/hostgroup/template", bind)
		if told != 1 {
			t.Errorf("hbs is told %d times", told)
		}
		w.want("bob", "POST", "/hostgroup/template", bind, 400, `{"error":"this template is bound to this group in prod already"}`)
		w.want("bob", "POST", "/hostgroup/template", map[string]any{"grp_id": x.bare, "tpl_id": x.template, "env": "lab"}, 400, `{"error":"env \"lab\" is none of prod staging test","field":"env"}`)
		row := fmt.Sprintf(`"env_bindings":[{"id":%d,"grp_id":%d,"tpl_id":%d,"env":"prod","bind_user":"bob","grp_name":"bare%d","tpl_name":"tpl%d"}]`, id, x.bare, x.template, x.n, x.n)
		for _, path := range []string{fmt.Sprintf("/hostgroup/%d/template", x.bare), fmt.Sprintf("/template/%d/hostgroup", x.template)} {
			if a := w.call("ann", "GET", path, nil); !strings.Contains(a.body, row) {
				t.Errorf("%s: %s\nwant %s", path, a.body, row)
			}
		}
		if a := w.call("ann", "GET", fmt.Sprintf("/hostgroup/%d/template", x.group), nil); strings.Contains(a.body, "env") {
			t.Errorf("a group without such bindings: %s", a.body)
		}
		// It can be disabled like any other.
		if got := w.may("ann", "POST", "/alarm/disable", map[string]any{"type": 5, "grp_id": x.bare, "tpl_id": x.template, "duration": "1h"}); got != "yes" {
			t.Errorf("disable the binding: %s", got)
		}
		w.addUser("cid", 0)
		if got := w.may("cid", "PUT", "/hostgroup/template", bind); got != "no" {
			t.Errorf("a stranger unbinds: %s", got)
		}
		w.want("ann", "PUT", "/hostgroup/template", bind, 200, fmt.Sprintf(`{"message":"template: %d is unbind of HostGroup: %d in prod"}`, x.template, x.bare))
		w.want("ann", "PUT", "/hostgroup/template", bind, 400, `{"error":"record not found"}`)
	})
}
