package fleet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/modules/agent"
	"falcon/modules/alarm"
	"falcon/modules/api"
	"falcon/modules/api/graphs"
	"falcon/modules/api/join"
	"falcon/modules/dashboard"
	"falcon/modules/graph"
	"falcon/modules/hbs"
	"falcon/modules/judge"
	"falcon/modules/nodata"
	plusjudge "falcon/modules/plus_judge"
	polymetric "falcon/modules/poly_metric"
	"falcon/modules/transfer"
)

// Deps are what a fleet needs from outside.
type Deps struct {
	Log *slog.Logger
	// Started is called once everything serves; may be nil.
	Started func(Started)
}

// Started tells what a person needs to know after a start.
type Started struct {
	// URL is the page.
	URL string
	// Push is the address that programs push points to; empty without an agent.
	Push string
	// Data is the data folder.
	Data string
	// Endpoints are the addresses in use, by the key that configures them.
	Endpoints map[string]string
	// Join is the line that makes another host report here; empty while this one listens
	// for itself only.
	Join string
	// Password is that of user root, when it was made at this start.
	Password string
	// PasswordFile holds it as well, until somebody removes the file.
	PasswordFile string
}

// A Fleet is ready to Run.
type Fleet struct {
	cfg  Config // wired
	deps Deps
	log  *slog.Logger
}

// New checks cfg. It opens nothing and starts nothing.
func New(cfg Config, deps Deps) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		return nil, errors.New("fleet: Deps.Log is required")
	}
	return &Fleet{cfg: cfg.Wired(), deps: deps, log: deps.Log}, nil
}

// Run is the life of the fleet: it returns when ctx has ended and every stage has
// drained into the next.
func (f *Fleet) Run(ctx context.Context) error {
	lock, err := f.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := f.secrets(); err != nil {
		return err
	}
	at, err := f.listen()
	if err != nil {
		return err
	}
	defer at.close()

	db, err := portal.Open(ctx, f.cfg.API.Portal(), f.log)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	hasher := f.cfg.API.Hasher()
	password, made, err := api.EnsureRoot(ctx, db, hasher, f.cfg.API.PasswordHash)
	if err != nil {
		return err
	}
	file := filepath.Join(f.cfg.Data, "root-password")
	if made {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			return fmt.Errorf("write the password of user root: %w", err)
		}
	}

	// Whoever has rules, or no user root, is served without the first ones.
	if _, err := api.EnsureBasics(ctx, db, GroupOfAll, time.Now()); err != nil {
		f.log.Warn("the first rules are not made: make templates, teams and channels on the page", "err", err)
	}
	// The team is that of the basics: without it somebody else decides who is told.
	if _, err := api.EnsureSelfRules(ctx, db, GroupOfAll, api.BasicTeam, false, time.Now()); err != nil && !errors.Is(err, portal.ErrNotFound) {
		f.log.Warn("the rules about the daemons are not made: falcon rules makes them", "err", err)
	}
	if made {
		if err := f.saveThisHost(ctx, db); err != nil {
			return err
		}
	}
	cfg := f.cfg
	var private *privateRedis
	for _, r := range cfg.redises() {
		if r.Addr != privateAddr {
			continue
		}
		if private == nil {
			if private, err = startRedis(ctx, filepath.Join(cfg.Data, "redis"), f.log.With("daemon", "redis")); err != nil {
				return err
			}
		}
		r.Addr = conf.DSN(private.addr())
	}
	stages, closeAll, err := f.build(cfg, at, db)
	if err != nil {
		if private != nil {
			err = errors.Join(err, private.stop())
		}
		return err
	}
	defer closeAll()
	if private != nil {
		stages = append(stages, stage{"redis": private.Run})
	}
	s := f.started(at, password, file)
	if err := s.write(f.cfg.Data); err != nil {
		return err
	}
	if f.deps.Started != nil {
		f.deps.Started(s)
	}
	return runStages(ctx, stages...)
}

// saveThisHost gives this host its row before its first heartbeat, so that the rules
// are there for the very first points; what it says is what that heartbeat will.
func (f *Fleet) saveThisHost(ctx context.Context, db *portal.DB) error {
	name, err := agent.Endpoint(f.cfg.Agent)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	_, err = db.SaveHosts(ctx, []portal.HostReport{{Hostname: name, IP: "127.0.0.1", AgentVersion: daemon.Version(), PluginVersion: "plugin not enabled"}}, GroupOfAll, f.cfg.HBS.Hosts != "")
	if err != nil {
		return fmt.Errorf("save this host: %w", err)
	}
	return nil
}

// build makes every daemon, in the stages in which they stop.
func (f *Fleet) build(cfg Config, at *endpoints, db *portal.DB) (stages []stage, closeAll func(), err error) {
	log := func(name string) *slog.Logger { return f.log.With("daemon", name) }
	// The addresses are known now, also where the configuration said port 0.
	cfg.Agent.Heartbeat.Addr = strings.Join(at.instead(strings.Split(cfg.Agent.Heartbeat.Addr, ","), f.cfg.HBS.Listen, "hbs.listen"), ",")
	cfg.HBS.Liveness.Transfers = at.instead(cfg.HBS.Liveness.Transfers, f.cfg.Transfer.RPC.Listen, "transfer.rpc.listen")
	cfg.Agent.Transfer.Addrs = at.instead(cfg.Agent.Transfer.Addrs, f.cfg.Transfer.RPC.Listen, "transfer.rpc.listen")
	cfg.Judge.HBS.Servers = at.instead(cfg.Judge.HBS.Servers, f.cfg.HBS.Listen, "hbs.listen")
	cfg.Transfer.Ack.PlusJudges = at.instead(cfg.Transfer.Ack.PlusJudges, f.cfg.PlusJudge.RPC.Listen, "plus_judge.rpc.listen")
	cfg.Alarm.Adopt.Transfers = at.instead(cfg.Alarm.Adopt.Transfers, f.cfg.Transfer.RPC.Listen, "transfer.rpc.listen")
	cfg.Transfer.Ack.Alarms = slices.Clone(cfg.Transfer.Ack.Alarms)
	for i := range cfg.Transfer.Ack.Alarms {
		at.insteadOf(&cfg.Transfer.Ack.Alarms[i], f.cfg.Alarm.HTTP.Listen, "alarm.http.listen")
	}
	cfg.API.Judge.Addrs = at.instead(cfg.API.Judge.Addrs, f.cfg.Judge.RPC.Listen, "judge.rpc.listen")
	cfg.API.PlusJudge.Addrs = at.instead(cfg.API.PlusJudge.Addrs, f.cfg.PlusJudge.RPC.Listen, "plus_judge.rpc.listen")
	cfg.PlusJudge.HBS.Servers = at.instead(cfg.PlusJudge.HBS.Servers, f.cfg.HBS.Listen, "hbs.listen")
	for _, c := range []struct {
		cluster         *map[string]string
		configured, key string
	}{
		{&cfg.Transfer.Graph.Cluster, f.cfg.Graph.RPC.Listen, "graph.rpc.listen"},
		{&cfg.API.Graphs.Cluster, f.cfg.Graph.RPC.Listen, "graph.rpc.listen"},
		{&cfg.Transfer.Judge.Cluster, f.cfg.Judge.RPC.Listen, "judge.rpc.listen"},
		{&cfg.Judge.Union.Cluster, f.cfg.PlusJudge.RPC.Listen, "plus_judge.rpc.listen"},
		{&cfg.Transfer.StringJudge.Cluster, f.cfg.Judge.RPC.Listen, "judge.rpc.listen"},
	} {
		wired := map[string]string{}
		for node, addrs := range *c.cluster {
			wired[node] = strings.Join(at.instead(strings.Split(addrs, ","), c.configured, c.key), ",")
		}
		*c.cluster = wired
	}

	cfg.API.Join = joinAt(cfg.API.Join, at, cfg.Transfer.RPC.Cert != "")

	for _, u := range []struct {
		addr            *string
		configured, key string
	}{
		{&cfg.Alarm.API.Dashboard, f.cfg.API.Listen, "api.web_port"},
		{&cfg.API.HBS.Addr, f.cfg.HBS.HTTP.Listen, "hbs.http.listen"},
		{&cfg.API.Alarm.Addr, f.cfg.Alarm.HTTP.Listen, "alarm.http.listen"},
		{&cfg.Alarm.Ack.Base, f.cfg.Transfer.HTTP.Listen, "transfer.http.listen"},
		{&cfg.PolyMetric.API.PlusAPI, f.cfg.API.Listen, "api.web_port"},
		{&cfg.PolyMetric.API.PushAPI, f.cfg.Transfer.HTTP.Listen, "transfer.http.listen"},
		{&cfg.PolyMetric.API.PushAPI, f.cfg.Agent.HTTP.Listen, "agent.http.listen"},
	} {
		at.insteadOf(u.addr, u.configured, u.key)
	}
	if cfg.PolyMetric.API.PlusAPIToken == "" {
		cfg.PolyMetric.API.PlusAPIToken = serviceToken(&cfg.API, "aggregator")
	}

	name, err := agent.Endpoint(cfg.Agent)
	if err != nil {
		return nil, func() {}, fmt.Errorf("agent: %w", err)
	}
	for _, s := range cfg.selves() {
		at.insteadOf(&s.PushAPI, f.cfg.Agent.HTTP.Listen, "agent.http.listen")
		if s.Hostname == "" {
			s.Hostname = name
		}
	}
	cfg.API.Fleet.Daemons = f.daemons(at)

	cfg.Nodata.Sender.TransferAddr = strings.Join(at.instead(strings.Split(cfg.Nodata.Sender.TransferAddr, ","), f.cfg.Transfer.HTTP.Listen, "transfer.http.listen"), ",")

	// One pool for each address: daemons that share a Redis share its connections.
	pools := map[string]*redisx.Pool{}
	var points *graphs.Client
	closeAll = func() {
		if points != nil {
			points.Close()
		}
		for _, p := range pools {
			_ = p.Close() // nobody uses it any more
		}
	}
	pool := func(c redisx.Config, enabled bool) *redisx.Pool {
		if !enabled || err != nil {
			return nil
		}
		at := c.Addr.Reveal()
		for _, n := range c.Nodes {
			at += " " + n.Reveal()
		}
		if pools[at] == nil {
			var p *redisx.Pool
			if p, err = redisx.New(c); err != nil {
				return nil
			}
			pools[at] = p
		}
		return pools[at]
	}
	forHBS, forAlarm, forAPI := pool(cfg.HBS.Redis.Config, cfg.HBS.Redis.Enabled), pool(cfg.Alarm.Redis.Config, true), pool(cfg.API.Redis.Config, cfg.API.Redis.Enabled)
	forNodata := pool(cfg.Nodata.Redis.Config, cfg.Nodata.Redis.Enabled)
	forPoly := pool(cfg.PolyMetric.Redis.Config, cfg.PolyMetric.Redis.Enabled)
	if err != nil {
		return nil, closeAll, err
	}
	// api and nodata ask the graphs with one client, and so by one ring.
	if points, err = cfg.API.Graphs.Client(log("api")); err != nil {
		return nil, closeAll, fmt.Errorf("api: %w", err)
	}
	a, err1 := agent.New(cfg.Agent, agent.Deps{Log: log("agent"), HTTP: at.take("agent.http.listen")})
	t, err2 := transfer.New(cfg.Transfer, transfer.Deps{Log: log("transfer"), RPC: at.take("transfer.rpc.listen"), HTTP: at.take("transfer.http.listen"), Socket: at.take("transfer.socket.listen")})
	g, err3 := graph.New(cfg.Graph, graph.Deps{Log: log("graph"), RPC: at.take("graph.rpc.listen"), HTTP: at.take("graph.http.listen"), Index: db})
	j, err7 := judge.New(cfg.Judge, judge.Deps{Log: log("judge"), RPC: at.take("judge.rpc.listen"), HTTP: at.take("judge.http.listen")})
	h, err6 := hbs.New(cfg.HBS, hbs.Deps{Log: log("hbs"), Portal: db, Redis: forHBS, RPC: at.take("hbs.listen"), HTTP: at.take("hbs.http.listen")})
	l, err8 := alarm.New(cfg.Alarm, alarm.Deps{Log: log("alarm"), DB: db, Redis: forAlarm, Listener: at.take("alarm.http.listen")})
	page, err4 := dashboard.Handler()
	p, err5 := api.New(cfg.API, api.Deps{Log: log("api"), Listener: at.take("api.web_port"), Portal: db, Graphs: points, Redis: forAPI, Dashboard: page})
	n, err9 := nodata.New(cfg.Nodata, nodata.Deps{Log: log("nodata"), Rows: db, Points: lastPoints{points}, Redis: forNodata, Listener: at.take("nodata.http.listen")})
	rows := polymetric.Portal(db)
	forRows := polymetric.Deps{Log: log("poly_metric"), Rows: rows, Groups: rows, Redis: forPoly, Listener: at.take("poly_metric.http.listen")}
	if cfg.PolyMetric.Groups == "api" {
		forRows.Groups = nil // asked over the wire, as somebody wants it
	}
	m, err10 := polymetric.New(cfg.PolyMetric, forRows)
	pj, err11 := plusjudge.New(cfg.PlusJudge, plusjudge.Deps{Log: log("plus_judge"), RPC: at.take("plus_judge.rpc.listen"), HTTP: at.take("plus_judge.http.listen")})
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9, err10, err11); err != nil {
		return nil, closeAll, err
	}
	return []stage{
		{"poly_metric": m.Run}, // its last results go to a transfer, or to the agent
		{"agent": a.Run, "nodata": n.Run},
		{"hbs": h.Run}, // it, too, sends points to transfer
		{"transfer": t.Run},
		{"graph": g.Run, "judge": j.Run},
		{"plus_judge": pj.Run},
		{"alarm": l.Run},
		{"api": p.Run},
	}, closeAll, nil
}

// daemons are where the daemons of this process show how they are, by name.
func (f *Fleet) daemons(at *endpoints) map[string][]string {
	if len(f.cfg.API.Fleet.Daemons) > 0 {
		return f.cfg.API.Fleet.Daemons
	}
	all := map[string][]string{}
	for _, p := range f.cfg.places() {
		name, ok := strings.CutSuffix(p.key, ".http.listen")
		if addr := at.addrs[p.key]; ok && addr != "" {
			scheme := "http://"
			if p.secure != nil && p.secure.Cert != "" {
				scheme = "https://"
			}
			all[name] = []string{scheme + loopback(addr)}
		}
	}
	return all
}

// joinAt fills in where a host that joins sends to: nowhere while the fleet listens on
// this machine only.
func joinAt(c join.Config, at *endpoints, secure bool) join.Config {
	if c.Enabled() {
		return c
	}
	from := func(key string) []string {
		host, port, err := net.SplitHostPort(at.addrs[key])
		if err != nil {
			return nil // it is switched off
		}
		switch ip := net.ParseIP(host); {
		case ip == nil && host == "localhost", ip.IsLoopback():
			return nil
		case ip.IsUnspecified():
			host = "" // the one under which it was asked
		}
		return []string{net.JoinHostPort(host, port)}
	}
	c.Transfers, c.HBS, c.TLS = from("transfer.rpc.listen"), from("hbs.listen"), secure
	if !c.Enabled() {
		c.Transfers, c.HBS = nil, nil
	}
	return c
}

// lastPoints is what nodata needs of the graphs.
type lastPoints struct{ graphs *graphs.Client }

func (p lastPoints) LastPoints(ctx context.Context, series []*model.GraphLastParam) ([]*model.GraphLastResp, error) {
	answers, failed := p.graphs.LastBatch(ctx, series)
	known := answers[:0]
	for i, a := range answers {
		if a != nil {
			a.Endpoint, a.Counter = series[i].Endpoint, series[i].Counter
			if a.Value == nil {
				a.Value = &model.RRDData{} // no point
			}
			known = append(known, a)
		}
	}
	if len(failed) > 0 {
		return known, fmt.Errorf("graphs that did not answer: %s", strings.Join(failed, ", "))
	}
	return known, nil
}

// serviceToken returns the token by which a service of this process is known to its api:
// the one that api's section has for the name, or one that is made here and that nobody
// else is told.
func serviceToken(c *api.Config, name string) conf.Secret {
	if t, ok := c.ServiceTokens[name]; ok {
		return t.Token
	}
	tokens := maps.Clone(c.ServiceTokens)
	if tokens == nil {
		tokens = map[string]api.ServiceToken{}
	}
	tokens[name] = api.ServiceToken{Token: conf.Secret(rand.Text()), Scope: "read"}
	c.ServiceTokens = tokens
	return tokens[name].Token
}

func (f *Fleet) started(at *endpoints, password, file string) Started {
	s := Started{Data: f.cfg.Data, Endpoints: at.addrs, Password: password, PasswordFile: file}
	if abs, err := filepath.Abs(f.cfg.Data); err == nil {
		s.Data = abs
	}
	s.URL = "http://" + loopback(at.addrs["api.web_port"]) + "/"
	if addr := at.addrs["agent.http.listen"]; addr != "" {
		s.Push = "http://" + loopback(addr) + "/v1/push"
	}
	if c := joinAt(f.cfg.API.Join, at, false); c.Enabled() {
		if addr := reachable(at.addrs["api.web_port"]); addr != "" {
			s.Join = join.Command("http://" + addr)
		}
	}
	return s
}

// reachable returns an address under which other hosts reach a listener, "" for none.
func reachable(listens string) string {
	host, port, err := net.SplitHostPort(listens)
	if err != nil {
		return ""
	}
	switch ip := net.ParseIP(host); {
	case ip == nil || ip.IsLoopback():
		return ""
	case !ip.IsUnspecified():
		return listens
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	best := ""
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if best == "" || n.IP.To4() != nil {
			best = n.IP.String()
		}
		if n.IP.To4() != nil {
			break
		}
	}
	if best == "" {
		return ""
	}
	return net.JoinHostPort(best, port)
}

// endpointsFile is where the addresses in use stand while the fleet runs, and after
// it: tools find a fleet by it whose configuration says port 0.
const endpointsFile = "endpoints.json"

func (s *Started) write(dir string) error {
	b, err := json.MarshalIndent(s.Endpoints, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, endpointsFile+".tmp")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the addresses in use: %w", err)
	}
	return os.Rename(tmp, filepath.Join(dir, endpointsFile))
}

// Endpoints returns the addresses that the fleet in the data folder dir uses, or
// used last, by the key that configures each.
func Endpoints(dir string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, endpointsFile))
	if err != nil {
		return nil, err
	}
	var m map[string]string
	err = json.Unmarshal(b, &m)
	return m, err
}

// lock makes sure that one process at a time uses the data folder.
func (f *Fleet) lock() (*os.File, error) {
	if err := os.MkdirAll(f.cfg.Data, 0o755); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(f.cfg.Data, "LOCK"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("data: another falcon uses the folder %s: stop that one, or give this one its own with --data", f.cfg.Data)
	}
	return file, nil
}

// endpoints are the open listeners and their addresses, by key.
type endpoints struct {
	addrs map[string]string
	open  map[string]net.Listener
}

// listen opens every listener, and reports all that can not be opened together.
func (f *Fleet) listen() (*endpoints, error) {
	at := &endpoints{addrs: map[string]string{}, open: map[string]net.Listener{}}
	var errs []error
	for _, p := range f.cfg.places() {
		if !p.enabled {
			continue
		}
		ln, err := p.open()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		at.open[p.key], at.addrs[p.key] = ln, ln.Addr().String()
	}
	if err := errors.Join(errs...); err != nil {
		at.close()
		return nil, err
	}
	return at, nil
}

func (p *place) open() (net.Listener, error) {
	if p.secure != nil {
		return p.secure.Open(strings.TrimSuffix(p.key, ".listen"))
	}
	return daemon.Listen(p.key, *p.addr)
}

// take hands a listener over to the daemon that closes it.
func (at *endpoints) take(key string) net.Listener {
	ln, ok := at.open[key]
	if !ok {
		return nil // an interface without a value, not one that holds nil
	}
	delete(at.open, key)
	return ln
}

// close closes what nobody has taken.
func (at *endpoints) close() {
	for _, ln := range at.open {
		_ = ln.Close()
	}
}

// insteadOf puts the real address into a URL that names the configured one.
func (at *endpoints) insteadOf(url *string, configured, key string) {
	scheme, rest, ok := strings.Cut(*url, "://")
	if !ok {
		return
	}
	addr, path, slash := strings.Cut(rest, "/")
	*url = scheme + "://" + at.instead([]string{addr}, configured, key)[0]
	if slash {
		*url += "/" + path
	}
}

// instead returns addrs with the real address of key where they name the configured
// one, which may have port 0.
func (at *endpoints) instead(addrs []string, configured, key string) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		if out[i] = strings.TrimSpace(a); out[i] == loopback(configured) && at.addrs[key] != "" {
			out[i] = loopback(at.addrs[key])
		}
	}
	return out
}
