package join

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// served is a Server with programs, and its routes.
func served(t *testing.T, cfg Config, programs map[string]string) (*Server, http.Handler) {
	t.Helper()
	cfg.Programs = t.TempDir()
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(cfg.Programs, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s := New(cfg)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, s.Script)
	mux.HandleFunc("GET "+Path+"/{file}", s.Download)
	return s, mux
}

func get(h http.Handler, host, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Host = host
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

var both = map[string]string{"falcon-agent-linux-amd64": "an agent", "falcon-agent-linux-arm64": "another", "falcon-agent-guard-linux-amd64": "a guard"}

// The script is one that a shell can read, holds the sums of what is there, and a
// configuration that leads back to the address under which it was asked.
func TestScript(t *testing.T) {
	_, h := served(t, Config{Transfers: []string{":8433", "transfer-2:18433"}, HBS: []string{":6030"}}, both)
	for _, c := range []struct{ host, proto, url, transfer string }{
		{"falcon.example:8080", "", "http://falcon.example:8080", "falcon.example:8433"},
		{"10.0.0.1", "", "http://10.0.0.1", "10.0.0.1:8433"},
		{"[fd00::1]:8080", "", "http://[fd00::1]:8080", "[fd00::1]:8433"},
		{"falcon.example", "https", "https://falcon.example", "falcon.example:8433"},
	} {
		rec := get(h, c.host, Path, "X-Forwarded-Proto", c.proto)
		script := rec.Body.String()
		if rec.Code != 200 || rec.Header().Get("Content-Type") != "text/x-shellscript; charset=utf-8" {
			t.Fatalf("%s: %d %s", c.host, rec.Code, script)
		}
		sum, guardian := sha256.Sum256([]byte("an agent")), sha256.Sum256([]byte("a guard"))
		for _, want := range []string{"report to the Falcon at " + c.url, "x86_64) arch=amd64 sum=" + hex.EncodeToString(sum[:]) + " guard=" + hex.EncodeToString(guardian[:]) + " ;;", "aarch64) arch=arm64 sum=", c.url + Path + "'/$1-linux-$arch", "ExecStart=/opt/falcon/agent/falcon-agent"} {
			if !strings.Contains(script, want) {
				t.Errorf("%s: %q is not in\n%s", c.host, want, script)
			}
		}
		sh := exec.Command("sh", "-n")
		sh.Stdin = strings.NewReader(script)
		if out, err := sh.CombinedOutput(); err != nil {
			t.Errorf("%s: the shell says %s", c.host, out)
		}
		_, rest, _ := strings.Cut(script, "config() {\n\tcat <<'END'\n")
		text, _, _ := strings.Cut(rest, "\nEND\n")
		var cfg struct {
			Transfer  struct{ Addrs []string }
			Heartbeat struct{ Addr string }
		}
		if err := json.Unmarshal([]byte(text), &cfg); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if strings.Join(cfg.Transfer.Addrs, " ") != c.transfer+" transfer-2:18433" || cfg.Heartbeat.Addr != strings.Replace(c.transfer, "8433", "6030", 1) {
			t.Errorf("%s: transfers %v, hbs %s", c.host, cfg.Transfer.Addrs, cfg.Heartbeat.Addr)
		}
	}
}

// Who can not join is told why, also by the shell that was given the answer; a Host that
// would be more than a name to a shell is refused.
func TestWhyNot(t *testing.T) {
	to := Config{Transfers: []string{":8433"}, HBS: []string{":6030"}}
	for _, c := range []struct {
		cfg      Config
		programs map[string]string
		host     string
		why      string
	}{
		{Config{}, both, "h", alone},
		{to, nil, "h", noProgram},
		{to, both, "h;rm -rf /", noHost},
		{to, both, "h$(id)", noHost},
		{to, both, "h:8080'", noHost},
		{to, both, "h\nid", noHost},
		{to, both, "", noHost},
	} {
		s, h := served(t, c.cfg, c.programs)
		r := httptest.NewRequest("GET", Path, nil)
		r.Host = c.host
		if line, why := s.Line(r); line != "" || why != c.why {
			t.Errorf("%q: line %q, %q, want %q", c.host, line, why, c.why)
		}
		rec := get(h, c.host, Path)
		if rec.Code != 404 {
			t.Errorf("%q: %d %s", c.host, rec.Code, rec.Body)
		}
		sh := exec.Command("sh")
		sh.Stdin = rec.Body
		if out, err := sh.CombinedOutput(); err == nil || strings.TrimSpace(string(out)) != "join: "+c.why {
			t.Errorf("%q: a shell says %q, %v", c.host, out, err)
		}
	}
	s, _ := served(t, to, both)
	r := httptest.NewRequest("GET", Path, nil)
	r.Host = "falcon:8080"
	if line, why := s.Line(r); line != "curl -fsS http://falcon:8080/api/v1/join | sudo sh" || why != "" {
		t.Errorf("line %q, %q", line, why)
	}
}

// Only agents are given, in parts too; a new one has another sum.
func TestDownload(t *testing.T) {
	s, h := served(t, Config{Transfers: []string{":8433"}, HBS: []string{":6030"}}, map[string]string{"falcon-agent-linux-amd64": "an agent", "secrets.json": "x"})
	if rec := get(h, "h", Path+"/falcon-agent-linux-amd64"); rec.Code != 200 || rec.Body.String() != "an agent" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := get(h, "h", Path+"/falcon-agent-guard-linux-amd64"); rec.Code != 404 {
		t.Errorf("a guard that is not there: %d %s", rec.Code, rec.Body)
	}
	if rec := get(h, "h", Path+"/falcon-agent-linux-amd64", "Range", "bytes=3-"); rec.Code != 206 || rec.Body.String() != "agent" {
		t.Errorf("a part: %d %s", rec.Code, rec.Body)
	}
	for _, file := range []string{"falcon-agent-linux-arm64", "secrets.json", "falcon-agent-linux-..%2Fsecrets.json", "falcon-hbs-linux-amd64", "falcon-agent-linux-mips"} {
		if rec := get(h, "h", Path+"/"+file); rec.Code != 404 {
			t.Errorf("%s: %d %s", file, rec.Code, rec.Body)
		}
	}
	before := s.programs()
	if err := os.WriteFile(filepath.Join(s.cfg.Programs, "falcon-agent-linux-amd64"), []byte("a newer agent"), 0o755); err != nil {
		t.Fatal(err)
	}
	if after := s.programs(); len(before) != 1 || len(after) != 1 || before[0].Sum == after[0].Sum {
		t.Errorf("programs %v, then %v", before, after)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Transfers: []string{"x"}, HBS: []string{":1"}}, `transfers: "x" is no address, write host:port or :port`},
		{Config{Transfers: []string{":1"}}, "transfers and hbs: a host that joins needs both"},
	} {
		if err := c.cfg.Validate(); err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v, want %s", c.cfg, err, c.want)
		}
	}
}
