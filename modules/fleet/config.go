package fleet

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/modules/agent"
	"falcon/modules/alarm"
	"falcon/modules/api"
	"falcon/modules/graph"
	"falcon/modules/hbs"
	"falcon/modules/judge"
	"falcon/modules/nodata"
	plusjudge "falcon/modules/plus_judge"
	polymetric "falcon/modules/poly_metric"
	"falcon/modules/transfer"
)

// Config is the configuration of a fleet in one process: a section for each daemon,
// with that daemon's own keys. What ties them together (who sends where, which
// folder belongs to whom) is wired and need not be written.
type Config struct {
	daemon.Base
	// Data is the folder that everything is kept in.
	Data string `json:"data"`
	// Listen is the address that daemons listen on whose section names only a port:
	// 127.0.0.1 for this machine alone, 0.0.0.0 for other hosts as well.
	Listen string `json:"listen"`
	// MySQL is the server that takes the place of SQLite, up to the slash before the
	// database's name: user:password@tcp(host:3306)/
	MySQL conf.DSN `json:"mysql"`
	// Redis is the server that takes the place of the private one: password@host:port,
	// or unix:/path.
	Redis conf.DSN `json:"redis"`
	// RedisNodes are nodes of a Redis Cluster that takes its place instead, host:port or
	// password@host:port each.
	RedisNodes []conf.DSN `json:"redis_cluster_nodes"`

	Agent    agent.Config    `json:"agent"`
	Transfer transfer.Config `json:"transfer"`
	Graph    graph.Config    `json:"graph"`
	Judge    judge.Config    `json:"judge"`
	HBS      hbs.Config      `json:"hbs"`
	Alarm    alarm.Config    `json:"alarm"`
	Nodata   nodata.Config   `json:"nodata"`
	API      api.Config      `json:"api"`

	PolyMetric polymetric.Config `json:"poly_metric"`
	PlusJudge  plusjudge.Config  `json:"plus_judge"`
}

// DefaultConfig returns the configuration of a fleet whose file is empty. It looks
// at this host every ten seconds and leaves nothing out.
func DefaultConfig() Config {
	c := Config{
		Base: daemon.DefaultBase(), Data: "./data", Listen: "127.0.0.1",
		Agent: agent.DefaultConfig(), Transfer: transfer.DefaultConfig(), Graph: graph.DefaultConfig(), Judge: judge.DefaultConfig(), HBS: hbs.DefaultConfig(), Alarm: alarm.DefaultConfig(), Nodata: nodata.DefaultConfig(), API: api.DefaultConfig(),
	}
	c.Agent.HTTP.Listen = ":1988"
	c.Agent.Transfer.Interval = conf.Seconds(10 * time.Second)
	c.Agent.Ignore = map[string]bool{}
	c.Transfer.HTTP.Listen, c.Transfer.RPC.Listen, c.Transfer.Socket.Listen = ":6060", ":8433", ":4444"
	c.Transfer.MinStep = 10
	c.Graph.HTTP.Listen, c.Graph.RPC.Listen = ":6071", ":6070"
	c.Judge.HTTP.Listen, c.Judge.RPC.Listen = ":6081", ":6080"
	c.Transfer.Judge.Enabled = true
	c.HBS.Listen, c.HBS.HTTP.Listen = ":6030", ":6031"
	c.HBS.AutoGroup = GroupOfAll
	c.Alarm.HTTP.Listen = ":9912"
	c.Nodata.HTTP.Listen = ":6090"
	c.API.Listen = ":8080"
	c.PolyMetric = polymetric.DefaultConfig()
	c.PolyMetric.HTTP.Listen = ":6055"
	c.PlusJudge = plusjudge.DefaultConfig()
	c.PlusJudge.RPC.Listen, c.PlusJudge.HTTP.Listen = ":6082", ":6083"
	c.PlusJudge.Data, c.PlusJudge.Alarm.Redis.Addr, c.PlusJudge.HBS.Servers, c.Judge.Union.Cluster = "", "", nil, nil
	c.PolyMetric.Database.Interval = conf.Seconds(10 * time.Second) // the database is at hand
	// Empty folders and addresses of neighbours are filled in by Wired.
	c.Agent.Transfer.Addrs, c.Agent.Heartbeat.Addr, c.HBS.Liveness.Transfers, c.HBS.Redis.Addr = nil, "", nil, ""
	c.Transfer.StringJudge.Cluster = nil
	c.Transfer.Graph.Cluster, c.API.Graphs.Cluster, c.Transfer.Judge.Cluster, c.Judge.HBS.Servers, c.Judge.Alarm.Redis.Addr = nil, nil, nil, nil, ""
	c.Alarm.Redis.Addr, c.Alarm.API.Dashboard, c.API.Redis.Addr, c.API.HBS.Addr, c.API.Alarm.Addr = "", "", "", "", ""
	c.API.Judge.Addrs, c.API.PlusJudge.Addrs, c.API.Fleet.Daemons = nil, nil, nil
	c.Nodata.Rows.Dir, c.Nodata.PlusAPI.Addr, c.Nodata.Sender.TransferAddr, c.Nodata.Redis.Addr = "", "", "", ""
	c.PolyMetric.API.PlusAPI, c.PolyMetric.API.PushAPI, c.PolyMetric.Redis.Addr, c.PolyMetric.Database.Dir = "", "", "", ""
	c.Transfer.Spool.Dir, c.Judge.Data, c.Graph.Data, c.Graph.DB.Dir, c.HBS.DBDir, c.Alarm.DB.Dir, c.API.DB.Dir = "", "", "", "", "", "", ""
	return c
}

// GroupOfAll is the group that every host joins with its first heartbeat; it is made
// at the first start.
const GroupOfAll = "all"

// A place is where a daemon listens: the key that says so and the address.
type place struct {
	key     string
	addr    *string
	enabled bool
	secure  *daemon.Listener // its TLS; nil for none
}

// places lists every listener of the fleet.
func (c *Config) places() []place {
	return []place{
		{"agent.http.listen", &c.Agent.HTTP.Listen, c.Agent.HTTP.Enabled, nil},
		{"transfer.rpc.listen", &c.Transfer.RPC.Listen, c.Transfer.RPC.Enabled, &c.Transfer.RPC},
		{"transfer.http.listen", &c.Transfer.HTTP.Listen, c.Transfer.HTTP.Enabled, &c.Transfer.HTTP},
		{"transfer.socket.listen", &c.Transfer.Socket.Listen, c.Transfer.Socket.Enabled, &c.Transfer.Socket.Listener},
		{"graph.rpc.listen", &c.Graph.RPC.Listen, c.Graph.RPC.Enabled, &c.Graph.RPC},
		{"graph.http.listen", &c.Graph.HTTP.Listen, c.Graph.HTTP.Enabled, &c.Graph.HTTP},
		{"judge.rpc.listen", &c.Judge.RPC.Listen, c.Judge.RPC.Enabled, &c.Judge.RPC},
		{"judge.http.listen", &c.Judge.HTTP.Listen, c.Judge.HTTP.Enabled, &c.Judge.HTTP},
		{"plus_judge.rpc.listen", &c.PlusJudge.RPC.Listen, c.PlusJudge.RPC.Enabled, &c.PlusJudge.RPC},
		{"plus_judge.http.listen", &c.PlusJudge.HTTP.Listen, c.PlusJudge.HTTP.Enabled, &c.PlusJudge.HTTP},
		{"hbs.listen", &c.HBS.Listen, true, &c.HBS.Listener},
		{"hbs.http.listen", &c.HBS.HTTP.Listen, c.HBS.HTTP.Enabled, &c.HBS.HTTP},
		{"alarm.http.listen", &c.Alarm.HTTP.Listen, c.Alarm.HTTP.Enabled, &c.Alarm.HTTP},
		{"nodata.http.listen", &c.Nodata.HTTP.Listen, c.Nodata.HTTP.Enabled, &c.Nodata.HTTP},
		{"api.web_port", &c.API.Listen, true, nil},
		{"poly_metric.http.listen", &c.PolyMetric.HTTP.Listen, c.PolyMetric.HTTP.Enabled, &c.PolyMetric.HTTP},
	}
}

// Wired returns c with everything filled in that follows from the rest.
func (c *Config) Wired() Config {
	w := *c
	// Who writes links and who takes them have one secret: either section's is both's.
	w.Alarm.Ack.Secret = cmp.Or(w.Alarm.Ack.Secret, w.Transfer.Ack.Secret)
	w.Transfer.Ack.Secret = cmp.Or(w.Transfer.Ack.Secret, w.Alarm.Ack.Secret)
	fill := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	fill(&w.Graph.Data, filepath.Join(w.Data, "graph"))
	if w.Judge.StateFile == "" {
		fill(&w.Judge.Data, filepath.Join(w.Data, "judge"))
	}
	if w.PlusJudge.StateFile == "" {
		fill(&w.PlusJudge.Data, filepath.Join(w.Data, "plus_judge"))
	}
	fill(&w.Agent.Spool.Dir, filepath.Join(w.Data, "spool", "agent"))
	fill(&w.Transfer.Spool.Dir, filepath.Join(w.Data, "spool", "transfer"))
	fill(&w.Graph.DB.Dir, filepath.Join(w.Data, "portal"))
	fill(&w.HBS.DBDir, filepath.Join(w.Data, "portal"))
	fill(&w.Alarm.DB.Dir, filepath.Join(w.Data, "portal"))
	fill(&w.Nodata.Rows.Dir, filepath.Join(w.Data, "portal"))
	fill(&w.API.DB.Dir, filepath.Join(w.Data, "portal"))
	fill(&w.PolyMetric.Database.Dir, filepath.Join(w.Data, "portal"))
	fill(&w.Log.File, filepath.Join(w.Data, "logs", "falcon.log"))
	if w.MySQL != "" {
		if w.HBS.Database == "" {
			w.HBS.Database = conf.DSN(w.MySQL.Reveal() + portal.Portal + "?loc=Local&parseTime=true")
		}
		for db, dsn := range map[string]*conf.DSN{
			portal.Graph: &w.API.DB.Graph, portal.UIC: &w.API.DB.UIC, portal.Portal: &w.API.DB.Portal,
			portal.Alarms: &w.API.DB.Alarms, portal.Dashboard: &w.API.DB.Dashboard,
		} {
			if *dsn == "" {
				*dsn = conf.DSN(w.MySQL.Reveal() + db + "?loc=Local&parseTime=true")
			}
		}
		w.Alarm.Alarms.Addr, w.Alarm.DB.Portal, w.Alarm.DB.UIC = w.API.DB.Alarms, w.API.DB.Portal, w.API.DB.UIC
		w.Nodata.Rows.DSN = w.API.DB.Portal
		w.PolyMetric.Database.Addr = w.API.DB.Portal
	}
	// What the fleet says of its own counters its daemons do, unless a section says
	// otherwise; they go to the agent of this process.
	for _, s := range w.selves() {
		if *s == daemon.DefaultSelf() {
			*s = w.Self
		}
	}
	for _, p := range w.places() {
		if host, port, err := net.SplitHostPort(*p.addr); err == nil && host == "" {
			*p.addr = net.JoinHostPort(w.Listen, port)
		}
	}
	if w.Agent.HTTP.Enabled {
		for _, s := range w.selves() {
			if s.PushAPI == daemon.DefaultSelf().PushAPI {
				s.PushAPI = "http://" + loopback(w.Agent.HTTP.Listen) + "/v1/push"
			}
		}
	}
	if len(w.HBS.Nodes) > 0 { // as its file says it elsewhere
		w.HBS.Redis.Nodes, w.HBS.Nodes = w.HBS.Nodes, nil
	}
	for _, r := range w.redises() {
		switch {
		case r.Addr != "" || r.DSN != "" || len(r.Nodes) > 0:
		case len(w.RedisNodes) > 0:
			r.Nodes = w.RedisNodes
		default:
			r.Addr = cmp.Or(w.Redis, privateAddr)
		}
	}
	fill(&w.Alarm.API.Dashboard, "http://"+loopback(w.API.Listen))
	fill(&w.PolyMetric.API.PlusAPI, "http://"+loopback(w.API.Listen))
	if w.Transfer.HTTP.Enabled && w.Transfer.HTTP.Cert == "" {
		fill(&w.PolyMetric.API.PushAPI, "http://"+loopback(w.Transfer.HTTP.Listen)+"/api/push")
	}
	if w.Transfer.HTTP.Enabled && w.Alarm.Ack.Secret != "" {
		scheme := "http://"
		if w.Transfer.HTTP.Cert != "" {
			scheme = "https://"
		}
		fill(&w.Alarm.Ack.Base, scheme+loopback(w.Transfer.HTTP.Listen))
	}
	fill(&w.PolyMetric.API.PushAPI, "http://"+loopback(w.Agent.HTTP.Listen)+"/v1/push")
	fill(&w.API.HBS.Addr, "http://"+loopback(w.HBS.HTTP.Listen))
	fill(&w.API.Alarm.Addr, "http://"+loopback(w.Alarm.HTTP.Listen))
	if len(w.API.Judge.Addrs) == 0 {
		w.API.Judge.Addrs = []string{loopback(w.Judge.RPC.Listen)}
	}
	if len(w.API.PlusJudge.Addrs) == 0 {
		w.API.PlusJudge.Addrs = []string{loopback(w.PlusJudge.RPC.Listen)}
	}
	fill(&w.Nodata.PlusAPI.Addr, "http://"+loopback(w.API.Listen))
	fill(&w.Nodata.Sender.TransferAddr, loopback(w.Transfer.HTTP.Listen))
	fill(&w.Agent.Heartbeat.Addr, loopback(w.HBS.Listen))
	if len(w.HBS.Liveness.Transfers) == 0 {
		w.HBS.Liveness.Transfers = []string{loopback(w.Transfer.RPC.Listen)}
	}
	if len(w.Judge.HBS.Servers) == 0 {
		w.Judge.HBS.Servers = []string{loopback(w.HBS.Listen)}
	}
	if len(w.PlusJudge.HBS.Servers) == 0 {
		w.PlusJudge.HBS.Servers = []string{loopback(w.HBS.Listen)}
	}
	if len(w.Judge.Union.Cluster) == 0 {
		w.Judge.Union.Cluster = map[string]string{"plus-00": loopback(w.PlusJudge.RPC.Listen)}
	}
	if len(w.Alarm.Adopt.Transfers) == 0 && w.Transfer.RPC.Enabled && w.Transfer.RPC.Cert == "" {
		w.Alarm.Adopt.Transfers = []string{loopback(w.Transfer.RPC.Listen)}
	}
	if len(w.Transfer.Ack.Alarms) == 0 && w.Alarm.HTTP.Enabled {
		scheme := "http://"
		if w.Alarm.HTTP.Cert != "" {
			scheme = "https://"
		}
		w.Transfer.Ack.Alarms = []string{scheme + loopback(w.Alarm.HTTP.Listen)}
	}
	if len(w.Transfer.Ack.PlusJudges) == 0 {
		w.Transfer.Ack.PlusJudges = []string{loopback(w.PlusJudge.RPC.Listen)}
	}
	if len(w.Transfer.StringJudge.Cluster) == 0 {
		w.Transfer.StringJudge.Cluster = map[string]string{"judge-00": loopback(w.Judge.RPC.Listen)}
	}
	if len(w.Transfer.Judge.Cluster) == 0 {
		w.Transfer.Judge.Cluster = map[string]string{"judge-00": loopback(w.Judge.RPC.Listen)}
	}
	// One graph and one transfer live here, unless the file names others.
	if len(w.Agent.Transfer.Addrs) == 0 {
		w.Agent.Transfer.Addrs = []string{loopback(w.Transfer.RPC.Listen)}
	}
	for _, cluster := range []*map[string]string{&w.Transfer.Graph.Cluster, &w.API.Graphs.Cluster} {
		if len(*cluster) == 0 {
			*cluster = map[string]string{"graph-00": loopback(w.Graph.RPC.Listen)}
		}
	}
	return w
}

// selves are the sections about the daemons' own counters.
func (c *Config) selves() []*daemon.Self {
	return []*daemon.Self{
		&c.Agent.Self, &c.Transfer.Self, &c.Graph.Self, &c.Judge.Self, &c.HBS.Self, &c.Alarm.Self, &c.Nodata.Self, &c.API.Self, &c.PolyMetric.Self, &c.PlusJudge.Self,
	}
}

// redises are the places that say where Redis is, of those daemons that use one.
func (c *Config) redises() (all []*redisx.Config) {
	if c.HBS.Redis.Enabled {
		all = append(all, &c.HBS.Redis.Config)
	}
	if c.API.Redis.Enabled {
		all = append(all, &c.API.Redis.Config)
	}
	all = append(all, &c.Alarm.Redis.Config)
	if c.PolyMetric.Redis.Enabled {
		all = append(all, &c.PolyMetric.Redis.Config)
	}
	if c.Nodata.Redis.Enabled {
		all = append(all, &c.Nodata.Redis.Config)
	}
	if c.Judge.Alarm.Enabled {
		all = append(all, &c.Judge.Alarm.Redis)
	}
	if c.PlusJudge.Alarm.Enabled {
		all = append(all, &c.PlusJudge.Alarm.Redis)
	}
	return all
}

// A Daemon is one of the daemons of a fleet.
type Daemon struct {
	Name string
	// Health is the address of its admin pages.
	Health string
}

// Daemons lists the daemons of cfg that have admin pages, at the addresses they use
// or, when they never ran, at those they are to have.
func Daemons(cfg Config) []Daemon {
	w := cfg.Wired()
	used, err := Endpoints(w.Data)
	if err != nil {
		used = map[string]string{}
	}
	var all []Daemon
	for _, p := range w.places() {
		name, what, _ := strings.Cut(p.key, ".")
		if !p.enabled || what == "rpc.listen" || what == "socket.listen" || what == "listen" {
			continue
		}
		addr := *p.addr
		if used[p.key] != "" {
			addr = used[p.key]
		}
		all = append(all, Daemon{name, loopback(addr)})
	}
	return all
}

// loopback returns the address at which this machine reaches addr.
func loopback(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// Validate reports every setting that can not work, with its section.
func (c *Config) Validate() error {
	w := c.Wired()
	errs := []error{w.Base.Validate()}
	if w.Data == "" {
		errs = append(errs, errors.New(`data: name the folder that everything is kept in, such as "./data"`))
	}
	if net.ParseIP(w.Listen) == nil && w.Listen != "localhost" {
		errs = append(errs, fmt.Errorf("listen: %q is no address, write 127.0.0.1 for this machine alone or 0.0.0.0 for all", w.Listen))
	}
	if w.MySQL != "" && !strings.HasSuffix(w.MySQL.Reveal(), "/") {
		errs = append(errs, errors.New(`mysql: write the address up to the slash before the database's name: user:password@tcp(host:3306)/`))
	}
	if w.Redis != "" && len(w.RedisNodes) > 0 {
		errs = append(errs, errors.New("redis, redis_cluster_nodes: there are two places for one Redis, write either"))
	}
	for _, s := range []struct {
		name string
		conf.Config
	}{{"agent", &w.Agent}, {"transfer", &w.Transfer}, {"graph", &w.Graph}, {"judge", &w.Judge}, {"hbs", &w.HBS}, {"alarm", &w.Alarm}, {"nodata", &w.Nodata}, {"api", &w.API}, {"poly_metric", &w.PolyMetric}, {"plus_judge", &w.PlusJudge}} {
		if err := s.Validate(); err != nil {
			errs = append(errs, prefixed(s.name, err)...)
		}
	}
	return errors.Join(errs...)
}

// prefixed puts the section's name before each of the errors joined in err.
func prefixed(section string, err error) (out []error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, prefixed(section, e)...)
		}
		return out
	}
	return []error{fmt.Errorf("%s.%w", section, err)}
}

// Retired lists the retired keys of all sections.
func (c *Config) Retired() map[string]string {
	all := map[string]string{}
	for section, keys := range map[string]map[string]string{
		"agent": c.Agent.Retired(), "transfer": c.Transfer.Retired(), "graph": c.Graph.Retired(), "judge": c.Judge.Retired(), "hbs": c.HBS.Retired(), "alarm": c.Alarm.Retired(), "nodata": c.Nodata.Retired(), "api": c.API.Retired(),
		"poly_metric": c.PolyMetric.Retired(), "plus_judge": c.PlusJudge.Retired(),
	} {
		for k, why := range keys {
			all[section+"."+k] = why
		}
	}
	return all
}
