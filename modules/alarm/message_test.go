package alarm

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// The texts of every event that stock told at once are ours to the byte.
func TestComposeAsStock(t *testing.T) {
	raw, err := os.ReadFile("testdata/alarm-main.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Dashboard string `json:"dashboard"`
		Groups    []struct {
			Group string `json:"group"`
			Steps []struct {
				Entry  string `json:"entry"`
				Pushed []struct {
					List  string          `json:"list"`
					Entry json.RawMessage `json:"entry"`
				} `json:"pushed_to_redis"`
			} `json:"steps"`
		} `json:"groups"`
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, g := range golden.Groups {
		for _, s := range g.Steps {
			e, err := Decode([]byte(s.Entry))
			if err != nil {
				continue
			}
			got := Compose(e, golden.Dashboard, time.UTC)
			for _, p := range s.Pushed {
				var m struct{ Subject, Content string }
				if err := json.Unmarshal(p.Entry, &m); err != nil || strings.HasPrefix(m.Content, "curl ") ||
					strings.HasPrefix(m.Content, "callback url") || strings.HasPrefix(p.List, "/queue/") {
					continue
				}
				want := Message{Short: m.Content, Body: got.Body}
				if p.List == "/mail" {
					want = Message{Short: m.Subject, Body: m.Content}
				}
				if want.Short == "" {
					continue
				}
				compared++
				if got != want {
					t.Errorf("%s, %s\n got %q\nwant %q", g.Group, p.List, got, want)
				}
			}
		}
	}
	if compared < 10 {
		t.Errorf("compared %d messages only", compared)
	}
	t.Logf("compared %d messages", compared)
}

func TestReadable(t *testing.T) {
	for _, tc := range []struct {
		v    float64
		want string
	}{{0, "0"}, {100, "100"}, {1.5, "1.5"}, {1.0 / 3, "0.33333"}, {1.5e6, "1500000"}, {-2.50, "-2.5"}} {
		if got := readable(tc.v); got != tc.want {
			t.Errorf("readable(%v) = %q, want %q", tc.v, got, tc.want)
		}
	}
}

func TestDecodeSaysWhy(t *testing.T) {
	for _, tc := range []struct{ name, in, err string }{
		{"no JSON", `{`, "decode event: "},
		{"no id", `{}`, "event without an id"},
		{"no rule", `{"id":"s_1","status":"OK"}`, `event "s_1" without a strategy or an expression`},
		{"two rules", `{"id":"s_1","strategy":{},"expression":{}}`, `event "s_1" with a strategy and an expression`},
		{"no status", `{"id":"s_1","strategy":{}}`, `event "s_1" with status "": PROBLEM or OK`},
		{"no time", `{"id":"s_1","strategy":{},"status":"OK"}`, `event "s_1" of the time 0: from 1 to 2147483647`},
		{"giant", `"` + strings.Repeat("x", MaxEvent) + `"`, "event of 1048578 bytes: at most 1048576"},
	} {
		if _, err := Decode([]byte(tc.in)); err == nil || !strings.HasPrefix(err.Error(), tc.err) {
			t.Errorf("%s: Decode\n got %v\nwant %s", tc.name, err, tc.err)
		}
	}
}

// Whatever decodes can be told.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"s_1","strategy":{"metric":"m","tpl":null},"status":"OK","pushedTags":null}`))
	f.Add([]byte(`{"id":"e_1","expression":{"id":3},"status":"PROBLEM","eventTime":1,"leftValue":1e308}`))
	f.Add([]byte(`{"id":"m_1_x","strategy":{"id":1},"status":"OK","eventTime":1,"event_chain":[null,{},{"expression":{"id":2}},{"event_chain":[{}]}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := Decode(in)
		if (err == nil) != (e != nil) {
			t.Fatalf("Decode(%q) = %v, %v", in, e, err)
		}
		if e != nil {
			Compose(e, "", time.UTC)
		}
	})
}
