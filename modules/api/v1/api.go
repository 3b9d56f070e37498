package v1

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"falcon/common/auth"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/stat"
	"falcon/modules/api/graphs"
	"falcon/modules/api/join"
)

// Graphs is what the routes need of the graph nodes; *graphs.Client is one. What
// nodes that are away would have answered is missing, and they are named.
type Graphs interface {
	QueryBatch(ctx context.Context, queries []*model.GraphQueryParam) (answers []*graphs.Series, failed []string)
	Received(ctx context.Context, queries []*model.GraphQueryParam) (answers []*graphs.Series, failed []string)
	LastBatch(ctx context.Context, series []*model.GraphLastParam) (answers []*model.GraphLastResp, failed []string)
	SearchEndpoints(ctx context.Context, p model.GraphSearchParam) graphs.Found[model.GraphEndpoint]
	SearchCounters(ctx context.Context, p model.GraphSearchParam) graphs.Found[model.GraphCounter]
	Info(ctx context.Context, p model.GraphInfoParam) (resp model.GraphInfoResp, addr string, err error)
	Delete(ctx context.Context, params []*model.GraphDeleteParam) (failed []string)
}

// Settings are the choices of an operator.
type Settings struct {
	AccessControl    bool // false: everybody who is logged in counts as admin
	SkipAuth         bool // true: nobody has to be logged in
	SignupDisable    bool // true: only admins create users
	StrictPermission bool // true: the holes of stock's permissions are closed
	// GrafanaAuth asks who calls at Grafana's routes, which are open in stock.
	GrafanaAuth bool
	// Maintainers are users who may change everybody's rules and groups.
	Maintainers []string
	// AllowLongMaintain lets a maintenance last for more than two weeks.
	AllowLongMaintain bool

	// MetricListFile names a file of metrics for forms, a line each; empty lists those
	// of the agent.
	MetricListFile string

	// DefaultToken is stock's shared token; it is valid for the pseudo users
	// falcon-alarm, aggregator and nodata only. Empty: none.
	DefaultToken string
	// ServiceTokens are those of our own daemons, by the name they present.
	ServiceTokens map[string]ServiceToken

	// PasswordHash is argon2id or md5, for new passwords. Empty: md5 when the
	// database holds a hash of stock's, else argon2id.
	PasswordHash string
	// SessionLife is how long a login is valid.
	SessionLife time.Duration
	// SessionCache is for how long a session that was read is believed without
	// reading it again. 0: not at all.
	SessionCache time.Duration
	// MaxPairs bounds hostnames x counters of one request.
	MaxPairs int
	// MaxBody bounds a request body, in bytes.
	MaxBody int64
	// MaxAnswer bounds the answer of history, in bytes.
	MaxAnswer int
	// ReadTimeout and WriteTimeout bound reading a body and writing an answer.
	ReadTimeout, WriteTimeout time.Duration
	// RequestTimeout bounds what is done for a request in between.
	RequestTimeout time.Duration
	// TrustedProxies are addresses or networks whose X-Forwarded-For is believed.
	TrustedProxies []string
}

// ServiceToken lets a daemon call.
type ServiceToken struct {
	Token string
	// Scope is "read" (routes that change nothing) or "write" (everything any
	// login may do).
	Scope string
}

// Deps are the neighbours of the routes. Those without a remark are required.
type Deps struct {
	Log    *slog.Logger
	Portal *portal.DB
	Graphs Graphs
	Hasher *auth.Hasher
	Stats  *stat.Set
	Now    func() time.Time

	// Liveness, when set, knows when hosts were heard of.
	Liveness Liveness
	// HBS, when set, is hbs's HTTP, which explains the rules of a host and says whom a
	// rule would watch.
	HBS Peer
	// Alarm, when set, is alarm's HTTP, which tries channels.
	Alarm Peer
	// Fleet says whom Home asks how they are; nobody when it names none.
	Fleet Fleet
	// Judges, when set, know how open problems stand, and are told who works on them.
	Judges Judges
	// RulesChanged, when set, is called after each change of what hbs compiles. It
	// must not block.
	RulesChanged func()

	// Join, when set, has what another host needs to report here.
	Join *join.Server
	// Admin serves the paths that every daemon has, such as /health.
	Admin http.Handler
	// Page, when set, serves everything that is no route and not below /api/.
	Page http.Handler
}

// server holds what the handlers share.
type server struct {
	Settings
	Deps
	throttle *throttle
	callers  callerCache
	buffers  sync.Pool // of *[]byte, for answers of history
	counts   counts
	watch    *fleetWatch   // nil: nobody is asked
	trials   chan struct{} // one a rule that is tried on history

	hashKind atomic.Pointer[string] // decided once, see hash
	deciding sync.Mutex
}

type counts struct {
	requests, errors, partial    *stat.Counter
	logins, badLogins, throttled *stat.Counter
	points                       *stat.Counter
}

// New returns the handler of all routes. It fails when the table of routes is
// wrong: two lines alike, or one without a permission.
func New(settings Settings, deps Deps) (http.Handler, error) {
	s := &server{Settings: settings, Deps: deps, throttle: newThrottle(deps.Now), trials: make(chan struct{}, maxTrials)}
	s.callers = callerCache{life: settings.SessionCache, now: deps.Now}
	set := deps.Stats
	s.counts = counts{
		requests:  set.Counter("Requests", "requests_total", "requests below /api/v1"),
		errors:    set.Counter("Errors", "errors_total", "requests that were answered with an error"),
		partial:   set.Counter("PartialAnswers", "partial_answers_total", "answers that lack the part of a graph node or a judge"),
		logins:    set.Counter("Logins", "logins_total", "successful logins"),
		badLogins: set.Counter("BadLogins", "bad_logins_total", "logins with a wrong name or password"),
		throttled: set.Counter("ThrottledLogins", "throttled_logins_total", "logins refused because too many failed"),
		points:    set.Counter("HistoryPoints", "history_points_total", "points in answers of graph/history"),
	}
	s.watch = watchFleet(deps.Fleet, set, time.Now)
	return s.handler(s.routes())
}

// handler builds the router from the table.
func (s *server) handler(table []Route) (http.Handler, error) {
	if err := checkTable(table); err != nil {
		return nil, err
	}
	gin.SetMode(gin.ReleaseMode) // nothing is printed on standard output
	e := gin.New()
	e.RedirectTrailingSlash = false // canonical does better
	e.HandleMethodNotAllowed = false
	if err := e.SetTrustedProxies(s.TrustedProxies); err != nil {
		return nil, fmt.Errorf("trusted_proxies: %w", err)
	}
	for _, r := range table {
		e.Handle(r.Method, r.Path, s.serve(r))
	}
	if err := checkRouter(e, table); err != nil {
		return nil, err
	}
	e.NoRoute(func(c *gin.Context) {
		path := c.Request.URL.Path
		if s.Page != nil && !strings.HasPrefix(path, "/api/") {
			c.Status(http.StatusOK) // gin has put 404 there
			s.Page.ServeHTTP(c.Writer, c.Request)
			return
		}
		c.String(http.StatusNotFound, "404 page not found")
	})
	return s.canonical(e), nil
}

// canonical does what comes before routing: deadlines, CORS below /api/, and a path
// with a slash at its end is the same without one.
func (s *server) canonical(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// For every request, pages too: a deadline stays with the connection,
		// so one that nobody moves would end a later answer. A writer that
		// has none, as in tests, does without.
		rc, now := http.NewResponseController(w), time.Now()
		_ = rc.SetReadDeadline(now.Add(s.ReadTimeout))
		_ = rc.SetWriteDeadline(now.Add(s.ReadTimeout + s.RequestTimeout + s.WriteTimeout))
		if !strings.HasPrefix(r.URL.Path, "/api/") {
			next.ServeHTTP(w, r)
			return
		}
		allowOrigin(w.Header(), r)
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusOK)
			return
		}
		if p := r.URL.Path; strings.HasSuffix(p, "/") {
			u := *r.URL
			u.Path, u.RawPath = strings.TrimRight(p, "/"), ""
			r = r.WithContext(r.Context()) // a copy: the caller's request stays
			r.URL = &u
		}
		next.ServeHTTP(w, r)
	})
}

// allowOrigin writes stock's CORS headers (contract query 2.1). They let pages of
// any origin call with an Apitoken; the cookie is never accepted from another
// origin, see sameOrigin.
func allowOrigin(h http.Header, r *http.Request) {
	h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE, UPDATE, PATCH")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Content-Length, Apitoken")
	h.Set("Access-Control-Expose-Headers", "Content-Length, "+headerTotal+", "+headerPartial)
	h.Add("Vary", "Origin")
}

// hash makes the hash of a new password, of the kind that is in force.
func (s *server) hash(ctx context.Context, password string) (string, error) {
	kind, err := s.kind(ctx)
	if err != nil {
		return "", err
	}
	hash, err := s.Hasher.Hash(ctx, kind, password)
	if errors.Is(err, auth.ErrPassword) {
		return "", bad("%v", err)
	}
	return hash, err
}

// kind returns the kind of new hashes. When the operator leaves it open, the
// database decides at the first need, once for the life of the process: whoever
// shares it with stock has hashes of stock's in it.
func (s *server) kind(ctx context.Context) (string, error) {
	if s.PasswordHash != "" {
		return s.PasswordHash, nil
	}
	if k := s.hashKind.Load(); k != nil {
		return *k, nil
	}
	s.deciding.Lock()
	defer s.deciding.Unlock()
	kind, err := HashKind(ctx, s.Portal)
	if err != nil {
		return "", err
	}
	if s.hashKind.CompareAndSwap(nil, &kind) {
		s.Log.Info("kind of new password hashes chosen", "password_hash", kind)
	}
	return kind, nil
}

// HashKind returns the kind of password hash that suits a database: md5 when stock
// has written hashes into it, for a stock dashboard or api may still read them, else
// argon2id.
func HashKind(ctx context.Context, db *portal.DB) (string, error) {
	_, stock, err := db.UserCounts(ctx)
	if err != nil {
		return "", err
	}
	if stock > 0 {
		return auth.MD5, nil
	}
	return auth.Argon2id, nil
}
