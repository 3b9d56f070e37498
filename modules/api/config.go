package api

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"falcon/common/auth"
	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/ring"
	"falcon/modules/api/graphs"
	"falcon/modules/api/join"
)

// Config is api's configuration. The keys of stock keep their names and units
// (contract query 2.7).
type Config struct {
	daemon.Base

	// LogLevel is stock's key: debug, info or warn.
	LogLevel string `json:"log_level"`
	// Listen is the address of HTTP.
	Listen string `json:"web_port"`
	// DB are the databases.
	DB DB `json:"db"`
	// Graphs are the graph nodes.
	Graphs Graphs `json:"graphs"`
	// Redis tells hbs of changes, and holds when hosts were heard of.
	Redis Redis `json:"redis"`
	// HBS explains the rules of a host.
	HBS Peer `json:"hbs"`
	// HBSAdminToken is admin_token of an hbs on another machine, which with upgrade_remote
	// lets api order upgrades of agents.
	HBSAdminToken conf.Secret `json:"hbs_admin_token"`
	// Alarm tries channels.
	Alarm Peer `json:"alarm"`
	// Judge and PlusJudge know how open problems stand, and are told who works on them.
	Judge     Judges `json:"judge"`
	PlusJudge Judges `json:"plus_judge"`
	// Fleet is where the daemons say how they are, for the page Home.
	Fleet Fleet `json:"fleet"`
	// FleetKey is shown to them: who has it may acknowledge. Empty is right while they run
	// on this machine.
	FleetKey conf.Secret `json:"fleet_key"`

	// Join is told to hosts that join by the script at /api/v1/join.
	Join join.Config `json:"join"`

	// AccessControl false makes everybody who is logged in an admin.
	AccessControl bool `json:"access_control"`
	// StrictPermission closes the holes of stock's permissions: what anybody may
	// change there, only admins (and owners) may.
	StrictPermission bool `json:"strict_permission"`
	// GrafanaAuth asks who calls at the routes of Grafana's data source, which are open
	// in stock: an Apitoken, or a service token as user and password.
	GrafanaAuth bool `json:"grafana_auth"`
	// Maintainers are users who may change everybody's rules and groups.
	Maintainers []string `json:"maintainers"`
	// AllowLongMaintain lets a host be in maintenance for more than two weeks, as in
	// stock: one that is forgotten there is never heard of again.
	AllowLongMaintain bool `json:"allow_long_maintain"`
	// SignupDisable leaves it to admins to create users.
	SignupDisable bool `json:"signup_disable"`
	// SkipAuth lets everybody in and believes the name he gives. It is meant for
	// the time of a migration behind a proxy that checks.
	SkipAuth bool `json:"skip_auth"`
	// DefaultToken is stock's token for its own daemons. Here it is good for
	// falcon-alarm, aggregator and nodata only.
	DefaultToken conf.Secret `json:"default_token"`
	// AllowStockDefaultToken accepts the token that stands in stock's example,
	// which the whole world knows.
	AllowStockDefaultToken bool `json:"allow_stock_default_token"`
	// ServiceTokens are those of our own daemons, by name.
	ServiceTokens map[string]ServiceToken `json:"service_tokens"`

	// Salt goes before every password in stock's hashes.
	Salt conf.Secret `json:"salt"`
	// PasswordHash is the form of new hashes: argon2id, or md5 as long as stock
	// daemons share the database. Empty decides by what is in the database.
	PasswordHash string `json:"password_hash"`
	// SessionLife is how long a login is good for.
	SessionLife conf.Duration `json:"session_life"`
	// SessionCache is for how long a session that was read from the database is
	// believed without reading it again; 0 means not at all.
	SessionCache conf.Duration `json:"session_cache"`

	// AlertLinkLife is how long a text behind the link of an alarm is kept; 0 for ever.
	AlertLinkLife conf.Duration `json:"alert_link_life"`

	// ReadTimeout bounds how long a request body may take to arrive.
	ReadTimeout conf.Seconds `json:"read_timeout"`
	// WriteTimeout bounds how long an answer may take to be read.
	WriteTimeout conf.Seconds `json:"write_timeout"`
	// RequestTimeout bounds what is done in between.
	RequestTimeout conf.Duration `json:"request_timeout"`
	// MaxPairs bounds endpoints x counters in one request.
	MaxPairs int `json:"max_pairs"`
	// MaxBody bounds a request body, in bytes.
	MaxBody int `json:"max_body"`
	// MaxAnswer bounds an answer of graph/history, in bytes; one point is some 40.
	MaxAnswer int `json:"max_answer"`
	// MetricListFile names metrics for forms, a line each; empty lists the agent's.
	MetricListFile string `json:"metric_list_file"`
	// TrustedProxies are addresses or networks in front of api whose
	// X-Forwarded-For names the caller.
	TrustedProxies []string `json:"trusted_proxies"`
}

// DB says where the databases are: DSNs of MySQL, or a folder for SQLite files.
type DB struct {
	Portal conf.DSN `json:"falcon_portal"`
	Graph  conf.DSN `json:"graph"`
	UIC    conf.DSN `json:"uic"`
	// Dashboard and Alarms may be left out: their routes say so then.
	Dashboard conf.DSN `json:"dashboard"`
	Alarms    conf.DSN `json:"alarms"`
	// Dir is the folder of the SQLite files; it counts when no DSN is given.
	Dir string `json:"dir"`
	// MaxConns bounds the connections to each MySQL database.
	MaxConns int `json:"max_conns"`
	// MaxIdle bounds those kept open unused.
	MaxIdle int `json:"max_idle"`
}

// Redis is where Redis is. Without it (enabled false) hbs sees a change within a
// minute, and hosts are shown without when they were heard of.
type Redis struct {
	Enabled bool `json:"enabled"`
	redisx.Config
}

// Peer is another daemon's HTTP.
type Peer struct {
	// Addr is http://host:port; empty for none.
	Addr string `json:"addr"`
}

// Fleet names the daemons that Home asks for /health and their counters.
type Fleet struct {
	// Daemons are addresses of admin pages, http://host:port, by the name of the daemon.
	Daemons map[string][]string `json:"daemons"`
	// Timeout is how long one may take; one that takes longer counts as away.
	Timeout conf.Duration `json:"timeout"`
}

// maxDaemons bounds how many are asked for one look at the page.
const maxDaemons = 500

func (f *Fleet) validate(wrong func(string, ...any)) {
	n := 0
	for _, name := range slices.Sorted(maps.Keys(f.Daemons)) {
		for _, addr := range f.Daemons[name] {
			n++
			if u, err := url.Parse(addr); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
				wrong("fleet.daemons.%s: %q is no address, write http://host:port", name, addr)
			}
		}
	}
	if n > maxDaemons {
		wrong("fleet.daemons: %d are too many for one page, name %d at most: those that all others need", n, maxDaemons)
	}
	if f.Timeout.D() < 100*time.Millisecond {
		wrong(`fleet.timeout: a daemon needs time to answer, write "2s"`)
	}
}

func (p *Peer) validate(key string, wrong func(string, ...any)) {
	if p.Addr == "" {
		return
	}
	if u, err := url.Parse(p.Addr); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		wrong("%s.addr: %q is no address, write http://host:port", key, p.Addr)
	}
}

// Graphs are the graph nodes of the ring and the bounds of calls to them.
type Graphs struct {
	// Cluster maps the names of nodes to host:port, or to several with commas.
	// Names are case-sensitive.
	Cluster map[string]string `json:"cluster"`
	// MaxConns bounds the connections to each address.
	MaxConns int `json:"max_conns"`
	// MaxIdle bounds those kept open unused.
	MaxIdle int `json:"max_idle"`
	// ConnTimeout is how long a connection may take.
	ConnTimeout conf.Millis `json:"conn_timeout"`
	// CallTimeout is how long a call may take.
	CallTimeout conf.Millis `json:"call_timeout"`
	// Replicas is how many points a node has on the ring.
	Replicas int `json:"numberOfReplicas"`
	// RingHash is crc32 (stock) or murmur3 (fork); transfer must have the same.
	RingHash string `json:"ringHash"`
	// TLS makes the connections to the nodes speak TLS.
	TLS daemon.ClientTLS `json:"tls"`
}

// ServiceToken lets a daemon call.
type ServiceToken struct {
	Token conf.Secret `json:"token"`
	// Scope is read, or write for everything any login may do.
	Scope string `json:"scope"`
}

// stockToken stands in stock's example configuration.
const stockToken = "default-token-used-in-server-side"

// DefaultConfig is an api for one box: SQLite below ./data, one graph node here.
func DefaultConfig() Config {
	return Config{
		Base:     daemon.DefaultBase(),
		LogLevel: "info",
		Listen:   ":8080",
		DB:       DB{Dir: "./data/portal", MaxConns: 32, MaxIdle: 8},
		Graphs: Graphs{
			Cluster:  map[string]string{"graph-00": "127.0.0.1:6070"},
			MaxConns: 100, MaxIdle: 2,
			ConnTimeout: conf.Millis(time.Second), CallTimeout: conf.Millis(5 * time.Second),
			Replicas: ring.DefaultReplicas, RingHash: ring.CRC32,
		},
		Redis: Redis{Enabled: true, Config: redisx.DefaultConfig()},
		HBS:   Peer{"http://127.0.0.1:6031"}, Alarm: Peer{"http://127.0.0.1:9912"},
		Judge:     Judges{Addrs: []string{"127.0.0.1:6080"}, Timeout: conf.Duration(3 * time.Second)},
		PlusJudge: Judges{Addrs: []string{"127.0.0.1:6082"}, Timeout: conf.Duration(3 * time.Second)},
		Fleet: Fleet{Daemons: map[string][]string{
			"agent": {"http://127.0.0.1:1988"}, "transfer": {"http://127.0.0.1:6060"}, "graph": {"http://127.0.0.1:6071"},
			"judge": {"http://127.0.0.1:6081"}, "plus_judge": {"http://127.0.0.1:6083"}, "hbs": {"http://127.0.0.1:6031"},
			"alarm": {"http://127.0.0.1:9912"}, "nodata": {"http://127.0.0.1:6090"}, "poly_metric": {"http://127.0.0.1:6055"},
		}, Timeout: conf.Duration(2 * time.Second)},
		AccessControl: true, StrictPermission: true, SignupDisable: true,
		SessionLife: conf.Duration(30 * 24 * time.Hour), SessionCache: conf.Duration(2 * time.Second),
		AlertLinkLife: conf.Duration(30 * 24 * time.Hour),
		ReadTimeout:   conf.Seconds(30 * time.Second), WriteTimeout: conf.Seconds(60 * time.Second),
		RequestTimeout: conf.Duration(30 * time.Second),
		MaxPairs:       20_000, MaxBody: 8 << 20, MaxAnswer: 256 << 20,
	}
}

// Common returns the part that all daemons have; stock's log_level counts in it.
func (c *Config) Common() *daemon.Base {
	if c.LogLevel == "debug" {
		c.Debug = true
	}
	return &c.Base
}

// Retired are keys of stock and its fork that have no use here.
func (c *Config) Retired() map[string]string {
	return map[string]string{
		"db.db_bug":        `statements are not logged; ask the database's own log`,
		"gen_doc":          `modules/api/v1/routes.go in the source lists the routes`,
		"gen_doc_path":     `modules/api/v1/routes.go in the source lists the routes`,
		"admin_salt":       `a login needs the password`,
		"sys_property_url": `there is nothing to ask elsewhere`,
		"sys_api_key":      `there is nothing to ask elsewhere`,
		"grafana_cn":       `Grafana is set up in Grafana`,
		"grafana_us":       `Grafana is set up in Grafana`,
	}
}

// Validate reports everything that can not work.
func (c *Config) Validate() error {
	errs := []error{c.Base.Validate()}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !slices.Contains([]string{"debug", "info", "warn"}, c.LogLevel) {
		wrong(`log_level: %q is unknown, use "debug", "info" or "warn"`, c.LogLevel)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		wrong(`web_port: %q is no address, write ":8080" or "host:8080"`, c.Listen)
	}
	c.DB.validate(wrong)
	c.Graphs.validate(wrong)
	if c.Redis.Enabled {
		if err := c.Redis.Validate(); err != nil {
			wrong("redis.%w", err)
		}
	}
	c.HBS.validate("hbs", wrong)
	c.Alarm.validate("alarm", wrong)
	if err := c.Join.Validate(); err != nil {
		wrong("join.%w", err)
	}
	c.Judge.validate("judge", wrong)
	c.PlusJudge.validate("plus_judge", wrong)
	c.Fleet.validate(wrong)
	if !slices.Contains([]string{"", auth.Argon2id, auth.MD5}, c.PasswordHash) {
		wrong(`password_hash: %q is unknown, use "argon2id", "md5" or leave it out`, c.PasswordHash)
	}
	for _, name := range slices.Sorted(maps.Keys(c.ServiceTokens)) {
		t := c.ServiceTokens[name]
		if len(t.Token) < 16 {
			wrong(`service_tokens.%s.token: fewer than 16 characters can be guessed`, name)
		}
		if t.Scope != "read" && t.Scope != "write" {
			wrong(`service_tokens.%s.scope: %q is unknown, use "read" or "write"`, name, t.Scope)
		}
	}
	for key, d := range map[string]time.Duration{
		"session_life": c.SessionLife.D(), "read_timeout": c.ReadTimeout.D(), "write_timeout": c.WriteTimeout.D(), "request_timeout": c.RequestTimeout.D(),
	} {
		if d <= 0 {
			wrong(`%s: nothing can be done in no time, write "30s"`, key)
		}
	}
	if c.AlertLinkLife < 0 {
		wrong("alert_link_life: %v is in the future, write 720h, or 0 for ever", c.AlertLinkLife.D())
	}
	if c.MaxPairs <= 0 || c.MaxBody <= 0 || c.MaxAnswer <= 0 {
		wrong("max_pairs, max_body and max_answer must be above 0")
	}
	for _, p := range c.TrustedProxies {
		if _, _, err := net.ParseCIDR(p); err != nil && net.ParseIP(p) == nil {
			wrong(`trusted_proxies: %q is neither an address nor a network such as 10.0.0.0/8`, p)
		}
	}
	return errors.Join(errs...)
}

// mysql says whether any database is in MySQL.
func (d *DB) mysql() bool {
	return d.Portal != "" || d.Graph != "" || d.UIC != "" || d.Alarms != "" || d.Dashboard != ""
}

func (d *DB) validate(wrong func(string, ...any)) {
	dsns := map[string]conf.DSN{"db.falcon_portal": d.Portal, "db.graph": d.Graph, "db.uic": d.UIC}
	mysql := d.mysql()
	missing := slices.DeleteFunc(slices.Sorted(maps.Keys(dsns)), func(k string) bool { return dsns[k] != "" })
	switch {
	case !mysql && d.Dir == "":
		wrong("db: neither DSNs nor dir: write where the databases are")
	case mysql && len(missing) > 0:
		// Falling back to a file would hide half of the data.
		wrong("%s: missing, while another database is in MySQL: give all of db.falcon_portal, db.graph and db.uic, or none", strings.Join(missing, ", "))
	}
	if d.MaxConns < 0 || d.MaxIdle < 0 {
		wrong("db.max_conns, db.max_idle: can not be negative; 0 means the default")
	}
}

func (g *Graphs) validate(wrong func(string, ...any)) {
	if len(g.Cluster) == 0 {
		wrong(`graphs.cluster: names no node, write {"graph-00": "host:6070"} as in transfer`)
	}
	for _, name := range slices.Sorted(maps.Keys(g.Cluster)) {
		for addr := range strings.SplitSeq(g.Cluster[name], ",") {
			if _, _, err := net.SplitHostPort(strings.TrimSpace(addr)); err != nil {
				wrong("graphs.cluster.%s: %q is no address, write host:6070", name, addr)
			}
		}
	}
	if g.RingHash != ring.CRC32 && g.RingHash != ring.Murmur3 {
		wrong("graphs.ringHash: %q is unknown, use %q (stock) or %q (fork)", g.RingHash, ring.CRC32, ring.Murmur3)
	}
	if g.MaxConns < 0 || g.MaxIdle < 0 || g.Replicas < 0 || g.ConnTimeout.D() <= 0 || g.CallTimeout.D() <= 0 {
		wrong("graphs: conn_timeout and call_timeout must be above 0, the other numbers not below")
	}
}

// Client returns a client of the nodes; it opens nothing, and its owner closes it.
func (g *Graphs) Client(log *slog.Logger) (*graphs.Client, error) {
	secure, err := g.TLS.Config("graphs")
	if err != nil {
		return nil, err
	}
	return graphs.New(graphs.Options{
		TLS: secure, Cluster: g.Cluster, Replicas: g.Replicas, Hash: g.RingHash, MaxConns: g.MaxConns, MaxIdle: g.MaxIdle,
		DialTimeout: g.ConnTimeout.D(), CallTimeout: g.CallTimeout.D(), Log: log,
	})
}

// Portal returns what the portal is opened with: all in MySQL or all in files. In
// MySQL, alarms and dashboard stay closed without a DSN; a file in their place would
// hide what is in the database that was forgotten.
func (c *Config) Portal() portal.Config {
	dir := c.DB.Dir
	if c.DB.mysql() {
		dir = ""
	}
	return portal.Config{
		GraphDSN: c.DB.Graph.Reveal(), UICDSN: c.DB.UIC.Reveal(), PortalDSN: c.DB.Portal.Reveal(),
		AlarmsDSN: c.DB.Alarms.Reveal(), DashboardDSN: c.DB.Dashboard.Reveal(),
		Dir: dir, MaxConns: cmp.Or(c.DB.MaxConns, 32), MaxIdle: cmp.Or(c.DB.MaxIdle, 8),
	}
}

// Hasher returns what makes and checks password hashes.
func (c *Config) Hasher() *auth.Hasher { return auth.NewHasher(auth.Options{Salt: c.Salt.Reveal()}) }
