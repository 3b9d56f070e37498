package v1

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // test databases are dropped through it

	"falcon/common/auth"
	"falcon/common/portal"
	"falcon/common/stat"
	"falcon/modules/api/graphs"
	"falcon/modules/api/graphs/graphtest"
)

const t0 = 1_795_319_760

// A world is an api over a real portal and real graph nodes.
type world struct {
	t      testing.TB
	db     *portal.DB
	hasher *auth.Hasher
	url    string
	log    *bytes.Buffer
	ours   *graphtest.Node
	stock  *graphtest.Node // nil unless asked for
	client *graphs.Client
	page   http.Handler

	liveness Liveness
	changed  func() // hbs is told
	peers    struct{ hbs, alarm Peer }
	judges   Judges // default: some that know nothing

	handler http.Handler // what url serves

	mu    sync.Mutex
	clock time.Time

	users map[string]*portal.User
	sigs  map[string]string
}

// options of a world; the zero value is what an operator gets.
type options struct {
	settings func(*Settings)
	db       *portal.DB // default: a new one in SQLite
	noUsers  bool       // nobody but who is in db
	stock    bool       // a second graph node, a stock one
	// onlyStock has the stock one in place of ours.
	onlyStock bool
	page      http.Handler
}

func defaults() Settings {
	return Settings{
		AccessControl: true, SignupDisable: true, StrictPermission: true,
		DefaultToken:  "a token of the daemons",
		ServiceTokens: map[string]ServiceToken{"plus": {"a token of its own", "write"}, "tool": {"another token", "read"}},
		SessionLife:   time.Hour, SessionCache: 2 * time.Second, MaxPairs: 100, MaxBody: 4096, MaxAnswer: 64 << 20,
		ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, RequestTimeout: 10 * time.Second,
	}
}

// newWorld has the users root, admin, ann and bob, each with the password
// "<name>-pw" and a session.
func newWorld(t testing.TB, o options) *world {
	t.Helper()
	w := &world{
		t: t, db: o.db, clock: time.Unix(t0+1000, 0), log: &bytes.Buffer{},
		hasher: auth.NewHasher(auth.Options{Cost: auth.Cost{LogKiB: 3, Passes: 1, Lanes: 1}}),
		users:  map[string]*portal.User{}, sigs: map[string]string{}, judges: &fakeJudges{},
	}
	if w.db == nil {
		w.db = openPortal(t, portal.Config{Dir: t.TempDir()})
	}
	if !o.noUsers {
		for i, name := range []string{"root", "admin", "ann", "bob"} {
			w.addUser(name, max(2-i, 0))
		}
	}

	cluster := map[string]string{}
	if !o.onlyStock {
		w.ours = graphtest.New()
		w.ours.ServeOurs(t)
		cluster["graph-00"] = w.ours.Addr
	}
	if o.stock || o.onlyStock {
		w.stock = graphtest.New()
		w.stock.ServeStock(t)
		cluster["graph-01"] = w.stock.Addr
	}
	var err error
	if w.client, err = graphs.New(graphs.Options{Cluster: cluster}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)

	settings := defaults()
	if o.settings != nil {
		o.settings(&settings)
	}
	w.page = o.page
	w.serve(settings, w.client)
	return w
}

// serve starts an api with these settings over these nodes; calls go to the one
// that was started last.
func (w *world) serve(settings Settings, nodes Graphs) {
	w.t.Helper()
	h, err := New(settings, Deps{
		Log: slog.New(slog.NewTextHandler(&lockedWriter{w: w.log}, nil)), Portal: w.db, Graphs: nodes, Hasher: w.hasher, Stats: stat.New("api"), Now: w.now,
		Admin: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "admin page") }), Page: w.page,
		Liveness: w.liveness, RulesChanged: w.changed, HBS: w.peers.hbs, Alarm: w.peers.alarm, Judges: w.judges,
		Fleet: Fleet{Timeout: time.Second, Health: func() error { return nil }, Daemons: []Watched{{"transfer", "t:6060", &aDaemon{health: "200 ok"}}}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.handler = h
	srv := httptest.NewServer(h)
	w.t.Cleanup(srv.Close)
	w.url = srv.URL
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) addUser(name string, role int) *portal.User {
	w.t.Helper()
	hash, err := w.hasher.Hash(w.t.Context(), auth.Argon2id, name+"-pw")
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.db.CreateUser(w.t.Context(), portal.User{Name: name, Passwd: hash, CNName: name, Email: name + "@example.com", Role: role})
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := w.db.UserByID(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	w.users[name] = u
	if w.sigs[name], err = w.db.CreateSession(w.t.Context(), id, w.clock, w.clock.Add(time.Hour)); err != nil {
		w.t.Fatal(err)
	}
	return u
}

// token is the header that a user presents; names without a session are taken
// for name:sig.
func (w *world) token(who string) string {
	name, sig, ok := strings.Cut(who, ":")
	if !ok {
		sig = w.sigs[who]
	}
	b, _ := json.Marshal(map[string]string{"name": name, "sig": sig})
	return string(b)
}

// An answer is what came back.
type answer struct {
	status int
	body   string
	header http.Header
}

// call sends a request as who ("" for nobody) with a JSON body (nil for none).
// Further headers are pairs.
func (w *world) call(who, method, path string, body any, headers ...string) answer {
	w.t.Helper()
	var r io.Reader
	if s, ok := body.(string); ok {
		r = strings.NewReader(s)
	} else if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/api/") {
		path = prefix + path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, r)
	if err != nil {
		w.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if who != "" {
		req.Header.Set("Apitoken", w.token(who))
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, string(b), resp.Header}
}

// want calls and compares status and body.
func (w *world) want(who, method, path string, body any, status int, text string, headers ...string) answer {
	w.t.Helper()
	a := w.call(who, method, path, body, headers...)
	if a.status != status || a.body != text {
		w.t.Errorf("%s %s as %q\n got %d %s\nwant %d %s", method, path, who, a.status, a.body, status, text)
	}
	return a
}

// openPortal opens and migrates a portal for the time of a test.
func openPortal(t testing.TB, cfg portal.Config) *portal.DB {
	t.Helper()
	db, err := portal.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// eachPortal runs a test over SQLite, and over MariaDB when there is one.
func eachPortal(t *testing.T, test func(t *testing.T, db *portal.DB)) {
	t.Run("sqlite", func(t *testing.T) { test(t, openPortal(t, portal.Config{Dir: t.TempDir()})) })
	t.Run("mysql", func(t *testing.T) {
		dsn := os.Getenv("FALCON_TEST_MYSQL")
		if dsn == "" {
			t.Skip("FALCON_TEST_MYSQL is not set: run scripts/services.sh up")
		}
		name := fmt.Sprintf("falcon_test_%08x_", rand.Uint32())
		const params = "?loc=Local&parseTime=true"
		t.Cleanup(func() {
			db, err := sql.Open("mysql", dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, d := range []string{portal.Graph, portal.UIC, portal.Portal, portal.Alarms, portal.Dashboard} {
				if _, err := db.Exec("DROP DATABASE IF EXISTS " + name + d); err != nil {
					t.Error(err)
				}
			}
		})
		test(t, openPortal(t, portal.Config{
			GraphDSN: dsn + name + portal.Graph + params, UICDSN: dsn + name + portal.UIC + params, PortalDSN: dsn + name + portal.Portal + params,
			AlarmsDSN: dsn + name + portal.Alarms + params, DashboardDSN: dsn + name + portal.Dashboard + params,
		}))
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func readAll(r *http.Response) string { return string(must(io.ReadAll(r.Body))) }
