package dashboard

import (
	"reflect"
	"strings"
	"testing"

	"falcon/common/conf"
)

// The shipped file loads without a warning and says what the defaults are.
func TestShippedFile(t *testing.T) {
	got := DefaultConfig()
	warnings, err := conf.Load("../../config/dashboard.json", &got)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("config/dashboard.json: %v, %v", warnings, err)
	}
	if want := DefaultConfig(); !reflect.DeepEqual(got, want) {
		t.Errorf("config/dashboard.json says\n%+v, the defaults are\n%+v", got, want)
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"the defaults", func(*Config) {}, ""},
		{"https", func(c *Config) { c.API = "https://api.example.com" }, ""},
		{"a slash at the end", func(c *Config) { c.API = "http://h:8080/" }, ""},
		{"no port", func(c *Config) { c.Listen = "8082" }, `listen: "8082" is no address, write ":8082" or "host:8082"`},
		{"no scheme", func(c *Config) { c.API = "h:8080" }, `api: "h:8080" is no address of an api, write "http://host:8080"`},
		{"a path", func(c *Config) { c.API = "http://h/api/v1" }, `api: "http://h/api/v1" is no address of an api`},
		{"a password", func(c *Config) { c.API = "http://u:p@h" }, `is no address of an api`},
		{"no time", func(c *Config) { c.Timeout = 0 }, `timeout: nothing is answered in no time, write "70s"`},
	} {
		cfg := DefaultConfig()
		tc.change(&cfg)
		err := cfg.Validate()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}
