package hbs

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/rpc"
)

// page reads a captured page of stock's: the request and the data of its answer.
func page(t *testing.T, name string, data any) (req *http.Request, resp *http.Response, body []byte) {
	t.Helper()
	read := func(ext string) *bufio.Reader {
		b, err := os.ReadFile(filepath.Join("testdata", "http-hbs", name+ext))
		if err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(bytes.NewReader(b))
	}
	req, err := http.ReadRequest(read(".c2s.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = http.ReadResponse(read(".s2c.bin"), req); err != nil {
		t.Fatal(err)
	}
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if data != nil {
		answer := struct{ Data any }{data}
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatal(err)
		}
	}
	return req, resp, body
}

// stockPortal is the portal behind stock's pages: its rows, put together from them. The
// bindings are those that its list of strategies shows.
func stockPortal(t *testing.T) *memory {
	t.Helper()
	var templates map[string]model.Template
	var strategies map[string]model.Strategy
	page(t, "templates", &templates)
	page(t, "strategies", &strategies)
	m := captured()
	m.rows.Hosts = append(m.rows.Hosts, portal.RuleHost{ID: 3, Name: "it-h2"})
	for _, x := range templates {
		m.rows.Templates = append(m.rows.Templates, portal.RuleTemplate{ID: x.Id, Name: x.Name, Parent: x.ParentId, Action: x.ActionId, Creator: x.Creator})
	}
	for _, s := range strategies {
		m.rows.Strategies = append(m.rows.Strategies, portal.RuleStrategy{
			ID: s.Id, Metric: s.Metric, Tags: model.SortedTags(s.Tags), MaxStep: s.MaxStep, Priority: s.Priority, Func: s.Func, Op: s.Operator,
			RightValue: strconv.FormatFloat(s.RightValue, 'f', -1, 64), Note: s.Note, Template: s.Tpl.Id,
		})
	}
	for i := range m.rows.Strategies {
		if s := &m.rows.Strategies[i]; s.Metric == "url.check.health" {
			s.Tags = "url=http://127.0.0.1:31019/probe,timeout=3" // agents are told the text as it was written
		}
	}
	slices.SortFunc(m.rows.Templates, func(a, b portal.RuleTemplate) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(m.rows.Strategies, func(a, b portal.RuleStrategy) int { return cmp.Compare(a.ID, b.ID) })
	m.rows.Groups = append(m.rows.Groups, portal.RuleGroup{ID: 2, Name: "child"})
	m.rows.GroupHosts = []portal.RulePair{{Group: 1, Other: 1}, {Group: 1, Other: 3}, {Group: 2, Other: 2}}
	m.rows.GroupTemplates = []portal.RulePair{{Group: 1, Other: 1}, {Group: 1, Other: 3}, {Group: 2, Other: 2}, {Group: 2, Other: 3}}
	return m
}

// The pages of a stock hbs, over the same rows, are ours: status, type and data.
func TestStockPages(t *testing.T) {
	h, addr := serving(t, stockPortal(t), nil)
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr})
	defer c.Close()
	if err := c.Call(t.Context(), "Agent.ReportStatus", &model.AgentReportRequest{Hostname: "it-agent", IP: "10.0.0.1"}, &model.SimpleRpcResponse{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"health", "agents", "expressions", "hosts", "plugins", "strategies", "templates"} {
		req, resp, body := page(t, name, nil)
		got := httptest.NewRecorder()
		h.admin().ServeHTTP(got, req)
		if got.Code != resp.StatusCode || got.Result().Header.Get("Content-Type") != resp.Header.Get("Content-Type") {
			t.Errorf("%s: %d %s, want %d %s", req.URL, got.Code, got.Result().Header.Get("Content-Type"), resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
			if got.Body.String() != string(body) {
				t.Errorf("%s: %q, want %q", req.URL, got.Body, body)
			}
			continue
		}
		var x, y any
		if err := json.Unmarshal(got.Body.Bytes(), &x); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(body, &y); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(x, y) {
			t.Errorf("%s\n got %s\nwant %s", req.URL, got.Body, body)
		}
	}
}

// The strategies of every host, inheritance and override included, are those that a
// stock hbs had of the same rows; their order is not fixed in stock.
func TestStockStrategies(t *testing.T) {
	_, addr := serving(t, stockPortal(t), nil)
	b, err := os.ReadFile("testdata/getstrategies.s2c.bin")
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Result model.StrategiesResponse }
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr})
	defer c.Close()
	var got model.StrategiesResponse
	if err := c.Call(t.Context(), "Hbs.GetStrategies", &model.NullRpcRequest{}, &got); err != nil {
		t.Fatal(err)
	}
	texts := func(r model.StrategiesResponse) (all []string) {
		for _, h := range r.HostStrategies {
			for _, s := range h.Strategies {
				text, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, h.Hostname+" "+string(text))
			}
		}
		slices.Sort(all)
		return all
	}
	if x, y := texts(got), texts(want.Result); !slices.Equal(x, y) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(x, "\n"), strings.Join(y, "\n"))
	}
}

// A stock judge is not told of what is disabled.
func TestStockStrategiesLeaveDisabledOut(t *testing.T) {
	m := fleet(2)
	m.rows.Strategies = append(m.rows.Strategies, portal.RuleStrategy{ID: 2, Metric: "load", Func: "all(#3)", Op: ">", RightValue: "5", Template: 1})
	at := time.Now().Unix()
	m.rows.Disables = []portal.RuleDisable{
		{Type: portal.DisableStrategy, Strategy: 1, Begin: at, End: at + 600}, {Type: portal.DisableHost, Host: 2, Begin: at, End: at + 600},
	}
	_, addr := serving(t, m, nil)
	for _, codec := range []rpc.Codec{rpc.JSON, rpc.Auto} {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: codec})
		defer c.Close()
		var got model.StrategiesResponse
		if err := c.Call(t.Context(), "Hbs.GetStrategies", &model.NullRpcRequest{}, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.HostStrategies) != 1 || got.HostStrategies[0].Hostname != "h0" || len(got.HostStrategies[0].Strategies) != 1 || got.HostStrategies[0].Strategies[0].Id != 2 {
			t.Errorf("%v: %+v", codec, got.HostStrategies)
		}
	}
}
