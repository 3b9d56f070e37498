package v1

import (
	"errors"
	"strings"
	"testing"

	"falcon/common/httpx"
	"falcon/common/portal"
)

// Everybody sees how far an upgrade is; only admins change it, each time with a line in
// the audit log; what hbs refuses is told in its words.
func TestUpgrade(t *testing.T) {
	w := newWorld(t, options{})
	hbs := &fakePeer{answer: `{"msg":"success","data":{"state":"running","wave":1}}`}
	w.peers.hbs = hbs
	w.serve(defaults(), w.client)
	if _, err := w.db.SaveHosts(t.Context(), []portal.HostReport{{Hostname: "h1", AgentVersion: "7.1"}, {Hostname: "h2", AgentVersion: "7.0"}}, "", false); err != nil {
		t.Fatal(err)
	}
	if err := w.db.SaveHostAgents(t.Context(), []portal.HostAgent{{Hostname: "h2", UpgradeError: "7.1: wrong MD5", AlsoClaimed: "machine m"}}); err != nil {
		t.Fatal(err)
	}
	w.want("bob", "GET", "/agent/upgrade", nil, 200, `{"upgrade":{"state":"running","wave":1},"versions":{"7.0":1,"7.1":1},"claimed_twice":[{"hostname":"h2","also":"machine m"}]}`)
	if a := w.call("bob", "GET", "/hosts?q=h2", nil); !strings.Contains(a.body, `"upgrade_error":"7.1: wrong MD5","also_claimed":"machine m"`) {
		t.Errorf("the host is %s", a.body)
	}

	hbs.answer = `{"msg":"success","data":"running"}`
	order := `{"wgeturl":"http://h/f","version":"7.1","binfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9e"}`
	for _, tc := range []struct{ method, path, body, asked, op string }{
		{"POST", "/agent/upgrade", order, "/agent/upgrade", "order"},
		{"POST", "/agent/upgrade/stop", "{}", "/agent/upgrade/stop", "stop"},
		{"POST", "/agent/upgrade/go", "{}", "/agent/upgrade/go", "resume"},
		{"DELETE", "/agent/upgrade", "", "DELETE /agent/upgrade", "cancel"},
	} {
		hbs.path = ""
		if a := w.call("bob", tc.method, tc.path, tc.body, "Content-Type", "application/json"); a.status < 400 || hbs.path != "" {
			t.Errorf("%s %s by somebody who is no admin: %d %s", tc.method, tc.path, a.status, a.body)
		}
		w.want("root", tc.method, tc.path, tc.body, 200, `"running"`, "Content-Type", "application/json")
		log, err := w.db.OperLogs(t.Context(), 1)
		if err != nil || hbs.path != tc.asked || log[0].Op != tc.op || log[0].Object != "upgrade" || log[0].User != "root" {
			t.Errorf("%s %s asks %s and leaves %+v, %v", tc.method, tc.path, hbs.path, log, err)
		}
		if tc.op == "order" && (hbs.body != order || log[0].After == nil || !strings.Contains(*log[0].After, "35ac8534")) {
			t.Errorf("hbs got %s, the line has %v", hbs.body, log[0].After)
		}
	}
	n, err := w.db.OperLogs(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	hbs.err = &httpx.StatusError{Code: 400, Body: []byte(`{"error":"version is required"}`)}
	if a := w.call("root", "POST", "/agent/upgrade", order, "Content-Type", "application/json"); a.status != 400 || !strings.Contains(a.body, "version is required") {
		t.Errorf("%d %s", a.status, a.body)
	}
	hbs.err = errors.New("away")
	if a := w.call("root", "POST", "/agent/upgrade/stop", "{}", "Content-Type", "application/json"); a.status != 502 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.call("bob", "GET", "/agent/upgrade", nil); a.status != 200 || !strings.Contains(a.body, `"upgrade":null`) {
		t.Errorf("without an hbs: %d %s", a.status, a.body)
	}
	if now, err := w.db.OperLogs(t.Context(), 100); err != nil || len(now) != len(n) {
		t.Errorf("what was refused has left a line: %v, %v", now, err)
	}
}
