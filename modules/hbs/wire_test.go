package hbs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	netrpc "net/rpc"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/rpc"
)

// serving runs an hbs over m without Redis and returns it with the address of its RPC.
func serving(t *testing.T, m *memory, set func(*Config)) (*HBS, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.HTTP.Enabled, cfg.Redis.Enabled = false, false
	if set != nil {
		set(&cfg)
	}
	h, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Portal: m, RPC: ln})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if err := m.err; err == nil {
		wait, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		for {
			if _, err := h.keeper.get(); err == nil {
				break
			}
			h.keeper.mu.Lock()
			changed := h.keeper.changed
			h.keeper.mu.Unlock()
			select {
			case <-changed:
			case <-wait.Done():
				t.Fatal("no rules within 10 s")
			}
		}
	}
	return h, ln.Addr().String()
}

// captured is the portal behind the captured conversations, as far as they show it.
func captured() *memory {
	m := &memory{known: map[string]bool{}}
	m.rows = portal.RuleRows{
		Hosts: []portal.RuleHost{{ID: 1, Name: "it-agent"}, {ID: 2, Name: "it-h1"}}, Groups: []portal.RuleGroup{{ID: 1, Name: "it"}},
		GroupHosts: []portal.RulePair{{Group: 1, Other: 1}}, Plugins: []portal.RulePlugin{{Group: 1, Dir: "it/plug"}},
		Expressions: []portal.RuleExpression{{ID: 5, Expression: "each(metric=it.expr srv=interop)", Func: "all(#2)", Op: ">=", RightValue: "10", MaxStep: 2, Priority: 2, Note: "expr fired", Action: 2}},
	}
	return m
}

// What a stock agent and judge said to a stock hbs, said to ours: the replies are the
// same but for the clock. Replies of one connection may come in another order.
func TestCaptured(t *testing.T) {
	_, addr := serving(t, stockPortal(t), func(c *Config) { c.Trustable = []string{"10.9.8.7", "10.9.8.8"} })
	for _, name := range []string{
		"reportstatus", "report_empty_hostname", "trustableips", "unknown_method", "builtin_unknown_host", "plugins_unknown_host",
		"missing_params", "empty_params", "string_id", "pipelined", "getexpressions",
		"builtinmetrics_new", "builtinmetrics_same", "mineplugins", "stream_start", "judge/stream_start",
	} {
		t.Run(name, func(t *testing.T) {
			say, err := os.ReadFile("testdata/" + name + ".c2s.bin")
			if err != nil {
				t.Fatal(err)
			}
			hear, err := os.ReadFile("testdata/" + name + ".s2c.bin")
			if err != nil {
				t.Fatal(err)
			}
			if name == "unknown_method" {
				// It is about the method of the fork that stock lacks and ours has.
				say, hear = bytes.ReplaceAll(say, []byte("SyncService"), []byte("SyncNoSuch")), bytes.ReplaceAll(hear, []byte("SyncService"), []byte("SyncNoSuch"))
			}
			want := replies(t, bytes.NewReader(hear), -1)
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(say); err != nil {
				t.Fatal(err)
			}
			if got := replies(t, c, len(want)); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// replies reads n JSON values, or all, and returns them as text in order, without
// their clocks and with lists of strategies sorted: their order is not fixed in stock.
func replies(t *testing.T, r io.Reader, n int) (out []string) {
	t.Helper()
	d := json.NewDecoder(r)
	for n < 0 || len(out) < n {
		var v map[string]any
		if err := d.Decode(&v); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if result, ok := v["result"].(map[string]any); ok && result["Timestamp"] != nil {
			result["Timestamp"] = 0
		}
		if result, ok := v["result"].(map[string]any); ok {
			hosts, _ := result["hostStrategies"].([]any)
			for _, h := range hosts {
				h, _ := h.(map[string]any)
				all, _ := h["strategies"].([]any)
				slices.SortFunc(all, func(a, b any) int {
					return cmp.Compare(a.(map[string]any)["id"].(float64), b.(map[string]any)["id"].(float64))
				})
			}
			slices.SortFunc(hosts, func(a, b any) int {
				return cmp.Compare(a.(map[string]any)["hostname"].(string), b.(map[string]any)["hostname"].(string))
			})
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
	}
	slices.Sort(out)
	return out
}

// The strategies that stock hands to its judges, in whatever codec they are asked for,
// are those of the book.
func TestGetStrategiesInEveryCodec(t *testing.T) {
	m := fleet(3)
	h, addr := serving(t, m, nil)
	e, err := h.keeper.get()
	if err != nil {
		t.Fatal(err)
	}
	want := model.StrategiesResponse{}
	for _, host := range []string{"h0", "h1", "h2"} {
		hs := &model.HostStrategy{Hostname: host}
		for _, s := range e.Book.Of(host) {
			hs.Strategies = append(hs.Strategies, *s)
		}
		want.HostStrategies = append(want.HostStrategies, hs)
	}
	for _, codec := range []rpc.Codec{rpc.JSON, rpc.Gob, rpc.Msgpack} {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: codec})
		var got model.StrategiesResponse
		if err := c.Call(t.Context(), "Hbs.GetStrategies", &model.NullRpcRequest{}, &got); err != nil {
			t.Errorf("%v: %v", codec, err)
		}
		c.Close()
		for _, hs := range got.HostStrategies {
			for i := range hs.Strategies {
				if hs.Strategies[i].Tags == nil {
					hs.Strategies[i].Tags = map[string]string{} // gob does not say empty
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %+v, want %+v", codec, got, want)
		}
	}
	// The standard library's client, as a stock judge has it.
	c, err := netrpc.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var ex model.ExpressionResponse
	if err := c.Call("Hbs.GetExpressions", model.NullRpcRequest{}, &ex); err != nil || len(ex.Expressions) != 0 {
		t.Errorf("expressions %+v, %v", ex, err)
	}
}

// Nobody is answered with an empty set by an hbs that has not read its rules.
func TestNotReady(t *testing.T) {
	m := fleet(3)
	m.err = io.ErrUnexpectedEOF
	_, addr := serving(t, m, nil)
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr})
	defer c.Close()
	for method, reply := range map[string]any{
		"Hbs.GetStrategies": &model.StrategiesResponse{}, "Hbs.GetExpressions": &model.ExpressionResponse{},
		"HbsNew.Book": &struct{}{},
	} {
		if err := c.Call(t.Context(), method, &struct{}{}, reply); err == nil || !strings.Contains(err.Error(), "not ready") {
			t.Errorf("%s: %v", method, err)
		}
	}
	for _, method := range []string{"Agent.BuiltinMetrics", "Agent.MinePlugins", "Agent.SyncServiceNames"} {
		if err := c.Call(t.Context(), method, &model.AgentHeartbeatRequest{Hostname: "h0"}, &struct{}{}); err == nil || !strings.Contains(err.Error(), "not ready") {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// What an agent of the fork asks, in every codec.
func TestServiceNames(t *testing.T) {
	m := captured()
	m.rows.Services = []portal.RuleService{{Group: 1, Name: "nginx"}, {Group: 1, Name: "crond"}}
	_, addr := serving(t, m, nil)
	for _, codec := range []rpc.Codec{rpc.JSON, rpc.Gob, rpc.GoRPC, rpc.Msgpack} {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: codec})
		defer c.Close()
		for host, want := range map[string]model.AgentServiceConfigRpcResponse{
			"it-agent": {Code: 0, Args: "crond,nginx"}, "it-h1": {Code: 2}, "nobody": {Code: 2}, "": {Code: 1},
		} {
			var got model.AgentServiceConfigRpcResponse
			if err := c.Call(t.Context(), "Agent.SyncServiceNames", &model.AgentReportRequest{Hostname: host}, &got); err != nil || got != want {
				t.Errorf("%v: host %q has %+v, %v; want %+v", codec, host, got, err, want)
			}
		}
	}
}

func TestPages(t *testing.T) {
	m := captured()
	m.rows.Strategies = []portal.RuleStrategy{{ID: 9, Metric: "x", Func: "#3)", Op: ">", RightValue: "1", Template: 1}}
	m.rows.Templates = []portal.RuleTemplate{{ID: 1, Name: "it-tpl", Action: 1, Creator: "root"}}
	h, _ := serving(t, m, nil)
	pages := httptest.NewServer(h.admin())
	defer pages.Close()
	for path, want := range map[string]string{
		"/health":                           "200 ok",
		"/hosts":                            `200 {"msg":"success","data":{"1":{"Id":1,"Name":"it-agent"},"2":{"Id":2,"Name":"it-h1"}}}`,
		"/templates":                        `200 {"msg":"success","data":{"1":{"id":1,"name":"it-tpl","parentId":0,"actionId":1,"creator":"root"}}}`,
		"/strategies":                       `200 {"msg":"success","data":{}}`,
		"/plugins/it-agent":                 `200 {"msg":"success","data":["it/plug"]}`,
		"/agents":                           `200 {"msg":"success","data":[]}`,
		"/expressions":                      `200 {"msg":"success","data":[{"id":5,"metric":"it.expr","tags":{"srv":"interop"},"func":"all(#2)","operator":">=","rightValue":10,"maxStep":2,"priority":2,"note":"expr fired","actionId":2}]}`,
		"/bad":                              `200 {"msg":"success","data":[{"what":"strategy","id":9,"reason":"func: function \"#3)\": write a name and its window, such as all(#3)"}]}`,
		"/host/strategies?hostname=nobody":  `404 {"error":"hbs knows no such host: it has no row in table host"}`,
		"/disable/preview?type=1&host_id=2": `200 {"hosts":["it-h1"],"host_count":1,"strategies":[],"strategy_count":0,"pair_count":0,"instead":[],"instead_count":0,"expression_count":0}`,
		"/disable/preview?type=6":           `400 {"error":"type 6 is unknown, use 1 to 5"}`,
		"/disable/preview?type=1&host_id=x": `400 {"error":"host_id \"x\" is no number"}`,
		"/host/strategies":                  `400 {"error":"name the host by id or by hostname"}`,
		"/host/strategies?id=x":             `400 {"error":"id \"x\" is no number"}`,
		"/host/strategies?id=2":             `200 {"host":{"id":2,"hostname":"it-h1","env":"","maintain":false,"disabled":null},"strategies":[],"expressions":[{"id":5,"metric":"it.expr","tags":{"srv":"interop"},"func":"all(#2)","operator":">=","rightValue":10,"maxStep":2,"priority":2,"note":"expr fired","actionId":2}]}`,
	} {
		resp, err := http.Get(pages.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(resp.Status[:4] + string(body)); got != want {
			t.Errorf("%s: %s\nwant %s", path, got, want)
		}
	}

	// Whom a rule would watch that is not saved.
	for question, want := range map[string]string{
		`{"metric":"m","hosts":["it-h1","nobody"],"from":100,"to":200}`: `200 {"any":false,"sets":[{"hosts":["it-h1"],"spans":[[100,200]]}],"unknown":["nobody"],"until":0}`,
		`{"any":true,"from":100,"to":200}`:                              `200 {"any":true,"sets":[],"unknown":[],"until":0}`,
		`{"metric":"m","tpl_id":99,"from":100,"to":200}`:                `404 {"error":"hbs knows no template 99"}`,
		`{"metric":"m","groups":[99],"from":100,"to":200}`:              `404 {"error":"hbs knows no group 99"}`,
		`{"from":200,"to":200}`:                                         `400 {"error":"from 200 to 200 is no range of 32 days at most"}`,
		`{"from":0,"to":9000000}`:                                       `400 {"error":"from 0 to 9000000 is no range of 32 days at most"}`,
		`[]`:                                                            `400 {"error":"the question can not be read: json: cannot unmarshal array into Go value of type model.ReachParam"}`,
	} {
		resp, err := http.Post(pages.URL+"/strategy/reach", "application/json", strings.NewReader(question))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(resp.Status[:4] + string(body)); got != want {
			t.Errorf("%s: %s\nwant %s", question, got, want)
		}
	}
}
