package polymetric

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/portal"
	"falcon/common/redisx"
)

// Config is the configuration of a poly_metric. Keys of stock's aggregator keep their
// names and units (contract query 4.2).
type Config struct {
	daemon.Base
	HTTP     daemon.Listener `json:"http"`
	Database Database        `json:"database"`
	// FalconPortal is the database in a file of the fork's poly_metric; it counts when
	// database.addr is empty.
	FalconPortal FalconPortal `json:"falcon_portal"`
	API          API          `json:"api"`
	// Groups says who knows the hosts of a group: "api", as in stock, or "portal", the
	// database of the rows, which answers at once also for thousands of hosts. Empty is
	// the api where the database has a DSN, else the portal.
	Groups string `json:"groups"`
	Push   Push   `json:"push"`
	// Redis lets two instances with the same ids stand in for each other.
	Redis Redis `json:"redis"`
}

// Database is where the rows are.
type Database struct {
	Addr conf.DSN `json:"addr"` // of falcon_portal; empty: the SQLite file in Dir
	Dir  string   `json:"dir"`
	Idle int      `json:"idle"` // connections kept open unused
	// IDs are the first and the last id of the rows that this instance works; -1 leaves
	// an end open.
	IDs []int64 `json:"ids"`
	// Interval is how often rows are read. A change is in force after it at the latest.
	Interval conf.Seconds `json:"interval"`
}

// FalconPortal is a MySQL database, as the fork writes it.
type FalconPortal struct {
	Addr conf.DSN `json:"addr"`
	Idle int      `json:"idle"`
	Max  int      `json:"max"`
}

// API is who is asked, and where results go.
type API struct {
	ConnectTimeout conf.Millis `json:"connect_timeout"`
	// RequestTimeout bounds one request, of which a row may need several.
	RequestTimeout conf.Millis `json:"request_timeout"`
	// PlusAPI is the api. PlusAPIToken is its default_token, or the token of the name
	// aggregator in its service_tokens.
	PlusAPI      string      `json:"plus_api"`
	PlusAPIToken conf.Secret `json:"plus_api_token"`
	// PushAPI takes results: /v1/push of an agent or /api/push of a transfer.
	PushAPI string `json:"push_api"`
	// Batch is how many last points one request asks for. A stock api asks its graphs one
	// by one, about a thousand in two seconds.
	Batch int `json:"batch"`
	// Concurrency is how many such requests are under way at once, of all rows together.
	Concurrency int `json:"concurrency"`
}

// Push says how results are handed on.
type Push struct {
	// Queue is how many results wait at most; the oldest go when there are more.
	Queue int `json:"queue"`
	// MaxAge is how long a result is tried again before it is dropped.
	MaxAge conf.Duration `json:"max_age"`
}

// Redis is where Redis is.
type Redis struct {
	Enabled bool `json:"enabled"`
	redisx.Config
	// Lease is how long the rows may stand still when the instance that works them is
	// gone without a word.
	Lease conf.Duration `json:"lease"`
}

// DefaultConfig returns the configuration of a poly_metric whose file is empty.
func DefaultConfig() Config {
	return Config{
		Base: daemon.DefaultBase(), HTTP: daemon.Listener{Enabled: true, Listen: "0.0.0.0:6055"},
		Database: Database{Dir: "./data/portal", Idle: 10, IDs: []int64{1, -1}, Interval: conf.Seconds(55 * time.Second)},
		API: API{
			ConnectTimeout: conf.Millis(500 * time.Millisecond), RequestTimeout: conf.Millis(2 * time.Second), Batch: 500, Concurrency: 4,
			PlusAPI: "http://127.0.0.1:8080", PushAPI: "http://127.0.0.1:1988/v1/push",
		},
		Push:  Push{Queue: 100_000, MaxAge: conf.Duration(5 * time.Minute)},
		Redis: Redis{Config: redisx.DefaultConfig(), Lease: conf.Duration(10 * time.Second)},
	}
}

// Portal returns what the database is opened with.
func (c *Config) Portal() portal.Config {
	p := portal.Config{PortalDSN: c.Database.Addr.Reveal(), MaxIdle: c.Database.Idle, Only: []string{portal.Portal}}
	if p.PortalDSN == "" {
		p.PortalDSN, p.MaxConns = c.FalconPortal.Addr.Reveal(), c.FalconPortal.Max
		p.MaxIdle = max(p.MaxIdle, c.FalconPortal.Idle)
	}
	if p.PortalDSN == "" {
		p.Dir = c.Database.Dir
	}
	return p
}

// Who knows the hosts of a group.
const (
	fromAPI    = "api"
	fromPortal = "portal"
)

// GroupsFromPortal says whether the database knows the hosts of a group, and not the
// api.
func (c *Config) GroupsFromPortal() bool {
	return c.Groups == fromPortal || c.Groups == "" && c.Portal().PortalDSN == ""
}

// ids returns the range of the rows; -1 is an open end.
func (c *Config) ids() (first, last int64) { return c.Database.IDs[0], c.Database.IDs[1] }

// Validate reports every setting that can not work.
func (c *Config) Validate() error {
	errs := []error{c.Base.Validate(), c.HTTP.Validate("http")}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p := c.Portal(); p.PortalDSN == "" && p.Dir == "" {
		wrong("database.addr: give a DSN (MySQL) or database.dir (SQLite)")
	}
	if c.Database.Idle < 0 || c.FalconPortal.Idle < 0 || c.FalconPortal.Max < 0 {
		wrong("database.idle: a number of connections can not be negative, 0 means the default")
	}
	switch ids := c.Database.IDs; {
	case len(ids) != 2:
		wrong("database.ids: %d numbers are no range, write the first and the last id, [1, -1] for all", len(ids))
	case ids[0] < -1 || ids[1] < -1:
		wrong("database.ids: %v has a negative id, only -1 is one and leaves that end open", ids)
	case ids[1] >= 0 && ids[0] > ids[1]:
		wrong("database.ids: the first of %v is after the last, so there is no row between them", ids)
	}
	if c.Database.Interval.D() < time.Second {
		wrong("database.interval: %v is shorter than a second", c.Database.Interval.D())
	}
	if c.API.ConnectTimeout.D() <= 0 || c.API.RequestTimeout.D() <= 0 {
		wrong("api.connect_timeout, api.request_timeout: must be greater than zero, write 500 or \"500ms\"")
	}
	for _, u := range []struct{ key, value, example string }{
		{"api.plus_api", c.API.PlusAPI, "http://host:8080"}, {"api.push_api", c.API.PushAPI, "http://host:1988/v1/push"},
	} {
		if p, err := url.Parse(u.value); err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" {
			wrong("%s: %q is none that can be called, write %s", u.key, u.value, u.example)
		}
	}
	if c.API.Batch < 1 || c.API.Batch > 20_000 {
		wrong("api.batch: %d last points a request, use 1 to 20000", c.API.Batch)
	}
	if c.API.Concurrency < 1 || c.API.Concurrency > 1000 {
		wrong("api.concurrency: %d requests at once, use 1 to 1000", c.API.Concurrency)
	}
	if g := c.Groups; g != "" && g != fromAPI && g != fromPortal {
		wrong(`groups: %q is unknown, use "api" or "portal", or leave it out`, g)
	}
	if c.Push.Queue < pushBatch || c.Push.Queue > 10_000_000 {
		wrong("push.queue: %d results, use %d to 10000000", c.Push.Queue, pushBatch)
	}
	if c.Push.MaxAge.D() < time.Second {
		wrong("push.max_age: %v is too short for a second try, use 1s or more", c.Push.MaxAge.D())
	}
	if c.Redis.Enabled {
		if err := c.Redis.Validate(); err != nil {
			wrong("redis.%w", err)
		}
		if c.Redis.Lease.D() < 3*time.Second {
			wrong("redis.lease: %v leaves no time to renew it, use 3s or more", c.Redis.Lease.D())
		}
	}
	return errors.Join(errs...)
}

// Retired lists keys of the fork that we do not need, or not yet.
func (c *Config) Retired() map[string]string {
	streams := "this release works the rows of cluster; rules on streams (the table poly_metric) are not there yet"
	return map[string]string{
		"log_level":      "debug: true explains more",
		"rpc":            streams,
		"prome":          "results go to push_api alone; no Pushgateway is told",
		"kafka":          "results go to push_api alone; Kafka is not there yet",
		"nump_rpc":       streams,
		"gaussian_num":   "nothing of the fork reads it",
		"falcon_outlier": "nothing of the fork reads it",
		"api.group":      "nothing of the fork reads it",
	}
}
