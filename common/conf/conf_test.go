package conf

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

type hbs struct {
	Servers  []string `json:"servers"`
	Timeout  Millis   `json:"timeout"`
	Interval Seconds  `json:"interval"`
}

type base struct {
	Debug bool `json:"debug"`
}

type cfg struct {
	base
	Listen string         `json:"listen"`
	HBS    hbs            `json:"hbs"`
	Rings  map[string]hbs `json:"rings"`
	Keep   Duration       `json:"keep"`
	Token  Secret         `json:"token"`
	DB     DSN            `json:"db"`
}

func (c *cfg) Validate() error {
	if c.Listen == "" {
		return errors.New("listen: must be set")
	}
	return nil
}

func (c *cfg) Retired() map[string]string {
	return map[string]string{"rrd": "the engine keeps its files in data", "hbs.retries": "calls are tried until they succeed"}
}

func TestParse(t *testing.T) {
	for _, tc := range []struct{ name, in, err string }{
		{"complete", `{"listen":":6080","debug":true,"hbs":{"servers":["a"],"interval":"60s"}}`, ""},
		{"absent keys keep their defaults", `{}`, ""},
		{"comments and a trailing comma", "{ // ours\n \"listen\": \":1\", /* yes */ }", ""},
		{"misspelt", `{"lisen":":1"}`, `unknown key "lisen", did you mean "listen"?`},
		{"nested", `{"hbs":{"server":["a"]}}`, `unknown key "hbs.server", did you mean "servers"?`},
		{"in a map", `{"rings":{"bj":{"intervl":"1s"}}}`, `unknown key "rings.bj.intervl", did you mean "interval"?`},
		{"nothing near", `{"redis":1}`, `unknown key "redis"`},
		{"two at once", `{"lisen":"","hbs":{"server":[]}}`, "unknown key \"hbs.server\", did you mean \"servers\"?\nunknown key \"lisen\", did you mean \"listen\"?"},
		{"a bare number in stock's key has stock's unit", `{"hbs":{"timeout":300,"interval":60}}`, ""},
		{"a key of ours needs the unit", `{"keep":60}`, `keep: duration 60 needs a unit: write "60ms" or "60s"`},
		{"no duration", `{"keep":"soon"}`, `keep: "soon" is not a duration: write it as "300ms", "60s" or "72h"`},
		{"negative", `{"hbs":{"timeout":-1}}`, `hbs.timeout: duration -1 is negative`},
		{"a placeholder of packaging", `{"listen":"%%TRANSFER_RPC%%"}`, `listen: the placeholder %%TRANSFER_RPC%% was never filled in`},
		{"wrong type", `{"hbs":{"servers":"a"}}`, `hbs.servers: got a string, want a list`},
		{"no object", `[]`, `a configuration is an object: { … }`},
		{"refused by Validate", `{"listen":""}`, `listen: must be set`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := cfg{Listen: ":6080"}
			got := ""
			if _, err := Parse([]byte(tc.in), &c); err != nil {
				got = err.Error()
			}
			if got != tc.err {
				t.Errorf("Parse(%s)\n got %q\nwant %q", tc.in, got, tc.err)
			}
		})
	}
}

func TestRetiredKeysWarn(t *testing.T) {
	c := cfg{Listen: ":1"}
	got, err := Parse([]byte(`{"rrd":{"storage":"x"},"hbs":{"retries":3}}`), &c)
	want := []string{
		`"hbs.retries" is no longer needed: calls are tried until they succeed`,
		`"rrd" is no longer needed: the engine keeps its files in data`,
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("warnings %q, %v; want %q", got, err, want)
	}
}

func TestUnits(t *testing.T) {
	c := cfg{Listen: ":1"}
	if _, err := Parse([]byte(`{"hbs":{"timeout":300,"interval":60},"rings":{"a":{"timeout":"2s","interval":"90s"}},"keep":"72h"}`), &c); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		got, want time.Duration
	}{
		{"300 in a key of milliseconds", c.HBS.Timeout.D(), 300 * time.Millisecond},
		{"60 in a key of seconds", c.HBS.Interval.D(), time.Minute},
		{"2s in a key of milliseconds", c.Rings["a"].Timeout.D(), 2 * time.Second},
		{"90s in a key of seconds", c.Rings["a"].Interval.D(), 90 * time.Second},
		{"72h", c.Keep.D(), 72 * time.Hour},
	} {
		if tc.got != tc.want {
			t.Errorf("%s is %v, want %v", tc.name, tc.got, tc.want)
		}
	}
}

// A map or list in the file takes the place of the default one.
func TestMapsAndListsAreNotMerged(t *testing.T) {
	c := cfg{Listen: ":1", Rings: map[string]hbs{"default": {}}, HBS: hbs{Servers: []string{"a", "b"}, Interval: 5}}
	if _, err := Parse([]byte(`{"rings":{"bj":{}},"hbs":{"servers":["c"]}}`), &c); err != nil {
		t.Fatal(err)
	}
	if _, old := c.Rings["default"]; old || len(c.Rings) != 1 || !slices.Equal(c.HBS.Servers, []string{"c"}) || c.HBS.Interval != 5 {
		t.Errorf("read %+v: want only what the file names, and the default interval", c)
	}
}

func TestSecretsAreMaskedWhenWritten(t *testing.T) {
	for in, want := range map[string]string{
		`root:pa:ss@tcp(127.0.0.1:3306)/graph`:    `root:******@tcp(127.0.0.1:3306)/graph`,
		`root:@tcp(127.0.0.1:3306)/graph`:         `root:@tcp(127.0.0.1:3306)/graph`,
		`root@tcp(127.0.0.1:3306)/graph`:          `root@tcp(127.0.0.1:3306)/graph`,
		`root:pa:ss@unix(/run/mysqld.sock)/graph`: `root:******@unix(/run/mysqld.sock)/graph`,
		`root@/graph`:                 `root@/graph`,
		`./data/portal`:               `./data/portal`,
		`127.0.0.1:6379`:              `127.0.0.1:6379`,
		`pa@ss@127.0.0.1:6379`:        `******@127.0.0.1:6379`,
		`pa:ss@127.0.0.1:6379`:        `******@127.0.0.1:6379`,
		`secret@unix:/run/redis.sock`: `******@unix:/run/redis.sock`,
	} {
		if got := DSN(in).String(); got != want {
			t.Errorf("DSN(%q) prints %q, want %q", in, got, want)
		}
	}
	b, _ := json.Marshal(cfg{Token: "swordfish", DB: "u:swordfish@tcp(h)/d"})
	if s := string(b); strings.Contains(s, "swordfish") {
		t.Fatal(s)
	}
	var back map[string]any
	_ = json.Unmarshal(b, &back)
	if back["token"] != masked || back["db"] != "u:******@tcp(h)/d" {
		t.Errorf("written as %s", b)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"listen":":1","hbs":{"servers":["a"]}}`))
	f.Add([]byte(`{"keep":1e400}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c cfg
		_, _ = Parse(b, &c) // must not panic
	})
}
