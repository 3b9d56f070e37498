package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"falcon/common/auth"
	"falcon/common/daemon"
	"falcon/common/httpx"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/modules/api/graphs"
	"falcon/modules/api/join"
	v1 "falcon/modules/api/v1"
)

// Deps are the neighbours of an api.
type Deps struct {
	Log    *slog.Logger // required
	Portal *portal.DB   // required; opened, migrated and closed by its owner
	// Graphs are the graph nodes; nil asks those of Config.Graphs.
	Graphs v1.Graphs
	// Redis tells hbs of changes of the rules; nil uses that of Config.Redis, if that
	// is enabled. The owner closes it.
	Redis *redisx.Pool
	// Hasher checks passwords; nil makes one of Config.Salt.
	Hasher *auth.Hasher
	// Listener takes requests; nil: Run listens on Config.Listen.
	Listener net.Listener
	// Dashboard is served at / and for every path that is no route of api; nil
	// leaves a greeting.
	Dashboard http.Handler
	// Now is the clock of sessions and of the login throttle; nil is time.Now.
	Now func() time.Time
	// Reload, when set, reads the configuration file again for /config/reload.
	Reload func() (string, error)
}

// An API answers HTTP.
type API struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	handler http.Handler
	stats   *stat.Set
	self    *daemon.Reporter // of its own counters, as points
	graphs  *graphs.Client   // nil when Deps brought another
	redis   *redisx.Pool     // likewise
	rules   *rulesNotice     // nil without Redis
	judges  *judges          // nil when none is configured
}

// New checks cfg and deps and builds the routes; it opens nothing.
func New(cfg Config, deps Deps) (*API, error) {
	if deps.Log == nil {
		return nil, errors.New("api: Deps.Log is required")
	}
	if deps.Portal == nil {
		return nil, errors.New("api: Deps.Portal is required")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Hasher == nil {
		deps.Hasher = cfg.Hasher()
	}
	a := &API{cfg: cfg, deps: deps, log: deps.Log, stats: stat.New("api")}
	if deps.Graphs == nil {
		client, err := cfg.Graphs.Client(deps.Log)
		if err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
		a.graphs, a.deps.Graphs = client, client
	}
	if deps.Redis == nil && cfg.Redis.Enabled {
		var err error
		if a.redis, err = redisx.New(cfg.Redis.Config); err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
		deps.Redis = a.redis
	}
	settings, warnings := a.settings()
	for _, w := range warnings {
		a.log.Warn(w)
	}
	routes := v1.Deps{
		Log: a.log, Portal: deps.Portal, Graphs: a.deps.Graphs, Hasher: deps.Hasher, Stats: a.stats, Now: deps.Now,
		Page: deps.Dashboard, Join: join.New(cfg.Join), HBS: newPeer(cfg.HBS.Addr, cfg.HBSAdminToken.Reveal()), Alarm: newPeer(cfg.Alarm.Addr, alarmToken(&cfg)),
		Admin: daemon.Admin{
			Stats: a.stats, Wrapped: true, Health: a.health, Reload: deps.Reload,
			Config: func() any { return a.cfg },
		}.Mux(),
	}
	routes.Fleet = cfg.Fleet.watched(a.health)
	var err error
	if a.judges, err = newJudges(&cfg, a.log); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if a.judges != nil {
		routes.Judges = a.judges
	}
	if deps.Redis != nil {
		a.rules = newRulesNotice(deps.Redis, a.log)
		routes.RulesChanged, routes.Liveness = a.rules.Changed, liveness{deps.Redis}
	}
	handler, err := v1.New(settings, routes)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	a.handler = handler
	a.self = daemon.NewReporter(daemon.ReporterOptions{Module: "api", Self: cfg.Self, Stats: a.stats, Health: a.health, Log: a.log, Now: deps.Now})
	return a, nil
}

// alarmToken is the token that alarm shows to api; alarm knows api by it, too.
func alarmToken(cfg *Config) string {
	if t, ok := cfg.ServiceTokens["alarm"]; ok {
		return t.Token.Reveal()
	}
	return cfg.DefaultToken.Reveal()
}

// settings turns the configuration into what the routes need, and says what an
// operator should know about it.
func (a *API) settings() (s v1.Settings, warnings []string) {
	c := &a.cfg
	s = v1.Settings{
		AccessControl: c.AccessControl, SkipAuth: c.SkipAuth, SignupDisable: c.SignupDisable, StrictPermission: c.StrictPermission,
		GrafanaAuth: c.GrafanaAuth, Maintainers: c.Maintainers, AllowLongMaintain: c.AllowLongMaintain, MetricListFile: c.MetricListFile,
		DefaultToken: c.DefaultToken.Reveal(), ServiceTokens: map[string]v1.ServiceToken{},
		PasswordHash: c.PasswordHash, SessionLife: c.SessionLife.D(), SessionCache: c.SessionCache.D(),
		MaxPairs: c.MaxPairs, MaxBody: int64(c.MaxBody), MaxAnswer: c.MaxAnswer,
		ReadTimeout: c.ReadTimeout.D(), WriteTimeout: c.WriteTimeout.D(), RequestTimeout: c.RequestTimeout.D(),
		TrustedProxies: c.TrustedProxies,
	}
	for name, t := range c.ServiceTokens {
		s.ServiceTokens[name] = v1.ServiceToken{Token: t.Token.Reveal(), Scope: t.Scope}
	}
	if s.DefaultToken == stockToken && !c.AllowStockDefaultToken {
		s.DefaultToken = ""
		warnings = append(warnings, "default_token is the one of stock's example, which everybody knows: it is not accepted; set another one here and in alarm, nodata and aggregator, or allow_stock_default_token")
	}
	if c.SkipAuth {
		warnings = append(warnings, "skip_auth is on: everybody is let in as whom he says he is")
	}
	if !c.AccessControl {
		warnings = append(warnings, "access_control is off: every user counts as an admin")
	}
	if a.deps.Portal.Alarms == nil {
		warnings = append(warnings, "db.alarms is not set: alarms, channels and the inbox are not shown")
	}
	for name := range c.Graphs.Cluster {
		if name != strings.ToLower(name) {
			warnings = append(warnings, fmt.Sprintf("graphs.cluster: the node %q has capitals: transfer and we keep them, a stock api lower-cases them and asks other nodes", name))
		}
	}
	return s, warnings
}

// Handler returns the HTTP handler, for whoever serves it elsewhere than Run does.
func (a *API) Handler() http.Handler { return a.handler }

// health says why the api can not work: its databases do not answer.
func (a *API) health() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return a.deps.Portal.Ping(ctx)
}

// Run serves until ctx ends. Requests in flight are answered before it returns,
// within Config.Drain.
func (a *API) Run(ctx context.Context) error {
	if a.graphs != nil {
		defer a.graphs.Close()
	}
	if a.redis != nil {
		defer a.redis.Close()
	}
	if a.judges != nil {
		defer a.judges.close()
	}
	ln := a.deps.Listener
	if ln == nil {
		var err error
		if ln, err = daemon.Listen("web_port", a.cfg.Listen); err != nil {
			return err
		}
	}
	a.log.Info("api listens", "addr", ln.Addr().String())
	g := run.New(ctx)
	g.Go("http", func(ctx context.Context) error {
		return httpx.Serve(ctx, ln, a.handler, cmp.Or(a.cfg.Drain.D(), 10*time.Second), a.log)
	})
	g.Go("sessions", a.forgetSessions)
	g.Go("self", a.self.Run)
	if a.cfg.AlertLinkLife > 0 {
		g.Go("links", a.forgetLinks)
	}
	if a.rules != nil {
		g.Go("rules", a.rules.Run)
	}
	return g.Wait()
}

// forgetSessions removes sessions that have ended, once an hour.
func (a *API) forgetSessions(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			n, err := a.deps.Portal.DeleteEndedSessions(ctx, a.deps.Now())
			if err != nil && ctx.Err() == nil {
				a.log.Warn("ended sessions not removed", "err", err, "retry_in", time.Hour)
			} else if n > 0 {
				a.log.Debug("ended sessions removed", "n", n)
			}
		}
	}
}

// forgetLinks removes the texts behind links in alarms that nobody opens any more, once
// an hour.
func (a *API) forgetLinks(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		n, err := a.deleteLinks(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("old links of alarms not removed", "err", err, "retry_in", time.Hour)
		} else if n > 0 {
			a.log.Debug("old links of alarms removed", "n", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// deleteLinks removes all that are too old, a part at a time so that nobody waits for
// their locks.
func (a *API) deleteLinks(ctx context.Context) (n int, err error) {
	const part = 500
	for ctx.Err() == nil {
		k, err := a.deps.Portal.DeleteAlertLinks(ctx, a.deps.Now().Add(-a.cfg.AlertLinkLife.D()), part)
		n += k
		if err != nil || k < part {
			return n, err
		}
	}
	return n, ctx.Err()
}
