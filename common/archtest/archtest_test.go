package archtest

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "falcon/"

// homes lists, for each third-party library, the packages that may import it and
// why it lives there alone. A trailing slash covers what lies below.
var homes = []struct {
	library string
	in      []string
	why     string
}{
	{"github.com/go-sql-driver/mysql", []string{"common/portal"}, "all SQL is in portal"},
	{"modernc.org/sqlite", []string{"common/portal"}, "all SQL is in portal"},
	{"github.com/jmoiron/sqlx", []string{"common/portal"}, "all SQL is in portal"},
	{"github.com/pressly/goose", []string{"common/portal", "common/portal/schema"}, "migrations are part of portal"},
	{"github.com/ugorji/go", []string{"common/rpc"}, "rpc knows the codecs, nobody else"},
	{"github.com/gin-gonic/gin", []string{"modules/api", "modules/api/", "modules/apiproxy", "modules/dashboard"}, "a daemon without many routes uses net/http's mux and stays 8 MB lighter"},
	{"github.com/patrickmn/go-cache", []string{"common/httpx", "modules/hbs"}, "answers of peers are cached in one place"},
	{"github.com/prometheus/procfs", []string{"modules/agent/collect", "modules/agent/collect/", "modules/load"}, "only collectors read /proc, and who measures daemons"},
	{"github.com/beevik/ntp", []string{"modules/agent/collect/ntp"}, "one collector asks time servers"},
	{"github.com/prometheus/client_golang", []string{"common/stat"}, "stat shows every counter"},
	{"github.com/prometheus/common", []string{"modules/agent/scrape"}, "one place reads what exporters answer"},
	{"github.com/prometheus/client_model", []string{"modules/agent/scrape", "common/stat"}, "one place reads what exporters answer, stat shows counters"},
	{"github.com/twmb/murmur3", []string{"common/ring"}, "placement is the ring's"},
	{"github.com/tailscale/hujson", []string{"common/conf"}, "conf reads configuration"},
	{"gopkg.in/natefinch/lumberjack.v2", []string{"common/daemon"}, "the shell owns the log"},
	{"github.com/coreos/go-systemd", []string{"common/daemon"}, "the shell talks to the service manager"},
	{"github.com/gomodule/redigo", []string{"common/redisx"}, "redisx names every key and gives every call a deadline"},
	{"github.com/alicebob/miniredis", []string{"modules/fleet"}, "only a fleet in one process may do without a Redis"},
	{"github.com/wneessen/go-mail", []string{"modules/alarm/sender"}, "senders speak to providers, nobody else"},
	{"aead.dev/minisign", []string{"modules/agent/upgrade"}, "only what is put into an agent's place is signed"},
	{"golang.org/x/crypto", []string{"common/auth", "modules/api", "modules/api/"}, "passwords are hashed in one place"},
}

// mayDial lists the files outside httpx that may make an http.Client, and why.
var mayDial = map[string]string{
	"scripts/bench/api.go":              "a measured call must not be tried again",
	"modules/alarm/sender/http.go":      "a message's tries are counted in its notice",
	"modules/agent/collect/url/url.go":  "a page that a rule watches is asked once, and the first answer is the value",
	"modules/agent/scrape/scrape.go":    "an exporter that fails is up 0 for this moment, and asked at its next",
	"modules/agent/upgrade/download.go": "a download has a rate, goes on where it was, and is larger than an answer",
}

// forbidden says why from may not import to, or "".
func forbidden(from, to string) string {
	from = strings.TrimPrefix(from, root)
	if !strings.HasPrefix(to, root) {
		for _, h := range homes {
			if to != h.library && !strings.HasPrefix(to, h.library+"/") {
				continue
			}
			if !slices.ContainsFunc(h.in, func(p string) bool { return from == p || strings.HasSuffix(p, "/") && strings.HasPrefix(from, p) }) {
				return h.library + " is imported by " + strings.Join(h.in, ", ") + " only: " + h.why
			}
		}
		if from == "common/model" && strings.Contains(strings.SplitN(to, "/", 2)[0], ".") {
			return "the nouns need the standard library only"
		}
		return ""
	}
	to = strings.TrimPrefix(to, root)
	fl, fn, _ := strings.Cut(from, "/")
	tl, tn, _ := strings.Cut(to, "/")
	fn, _, _ = strings.Cut(fn, "/")
	tn, _, _ = strings.Cut(tn, "/")
	switch {
	case from == "common/model":
		return "the nouns stand alone"
	case fl == "common" && tl != "common":
		return "common never looks up"
	case tl == "cmd":
		return "nobody imports a program"
	case fl == "modules" && tl == "modules" && fn != tn && fn != "fleet":
		return "a module meets another over the wire or through an interface; only fleet composes them"
	}
	return ""
}

type pkg struct {
	ImportPath, Dir                    string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", root+"...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, to := range p.Imports {
			if why := forbidden(p.ImportPath, to); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, to, why)
			}
		}
		// Tests may use a library away from its home, as the peer they speak to,
		// but the layers hold for them as well.
		for _, to := range slices.Concat(p.TestImports, p.XTestImports) {
			if why := forbidden(p.ImportPath, to); why != "" && strings.HasPrefix(to, root) && p.ImportPath != root+"common/archtest" {
				t.Errorf("a test of %s imports %s: %s", p.ImportPath, to, why)
			}
		}
	}
}

// Calls between daemons try again and remember; only httpx makes clients that do.
func TestOnlyHTTPXMakesClients(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath == root+"common/httpx" {
			continue
		}
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			rel := strings.TrimPrefix(p.ImportPath, root) + "/" + name
			if _, ok := mayDial[rel]; ok {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, ok := sel.X.(*ast.Ident)
				if ok && x.Name == "http" && x.Obj == nil && slices.Contains([]string{"Client", "DefaultClient", "Get", "Post", "PostForm", "Head", "DefaultTransport"}, sel.Sel.Name) {
					t.Errorf("%s uses http.%s: call other daemons through httpx, which tries again and keeps the last good answer", rel, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

// mayPush lists the packages that may push an event once, and why nobody else does: an
// event that stands in no journal is lost with a kill, and one that is not asked for again
// with a Redis that forgets.
var mayPush = []string{"common/outbox", "common/redisx"}

func TestOnlyTheOutboxPushesEvents(t *testing.T) {
	found := 0
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, root)
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || sel.Sel.Name != "PushOnce" && sel.Sel.Name != "EventSeen" {
					return true
				}
				if found++; !slices.Contains(mayPush, from) {
					t.Errorf("%s/%s uses %s: events go out through common/outbox, which has them in a journal and pushes again what Redis forgot", from, name, sel.Sel.Name)
				}
				return true
			})
		}
	}
	if found == 0 {
		t.Error("nobody pushes events: the rule looks for names that are gone")
	}
}

// Each rule is shown to bite.
func TestForbidden(t *testing.T) {
	for _, tc := range []struct{ from, to, why string }{
		{"falcon/common/model", "falcon/common/conf", "the nouns stand alone"},
		{"falcon/common/model", "github.com/google/uuid", "the nouns need the standard library only"},
		{"falcon/common/rpc", "falcon/modules/graph", "common never looks up"},
		{"falcon/modules/agent", "falcon/modules/graph", "a module meets another over the wire or through an interface; only fleet composes them"},
		{"falcon/modules/fleet", "falcon/modules/graph", ""},
		{"falcon/modules/graph", "falcon/modules/graph/tsdb", ""},
		{"falcon/cmd/graph", "falcon/modules/graph", ""},
		{"falcon/modules/fleet", "falcon/cmd/graph", "nobody imports a program"},
		{"falcon/modules/transfer", "github.com/gin-gonic/gin", "github.com/gin-gonic/gin is imported by modules/api, modules/api/, modules/apiproxy, modules/dashboard only: a daemon without many routes uses net/http's mux and stays 8 MB lighter"},
		{"falcon/modules/agent/collect/cpu", "github.com/prometheus/procfs/blockdevice", ""},
	} {
		if got := forbidden(tc.from, tc.to); got != tc.why {
			t.Errorf("%s -> %s: %q, want %q", tc.from, tc.to, got, tc.why)
		}
	}
}
