package nodata

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/portal"
	"falcon/common/redisx"
)

// Config is the configuration of a nodata (contract query 5.6). Keys of stock keep their
// names and units.
type Config struct {
	daemon.Base
	HTTP      daemon.Listener `json:"http"`
	PlusAPI   PlusAPI         `json:"plus_api"`
	Rows      Rows            `json:"config"`
	Collector Collector       `json:"collector"`
	Sender    Sender          `json:"sender"`
	// Grace is for how many steps the answer that a series has no point is no news of a
	// series that had some: a graph that was restarted says so of all its series. 0 takes
	// it for silence at once, as stock does.
	Grace int `json:"grace"`
	// Redis has the lock of several nodatas, of whom one sends.
	Redis Redis `json:"redis"`
}

// PlusAPI is the api that is asked for last points.
type PlusAPI struct {
	ConnectTimeout conf.Millis `json:"connectTimeout"`
	RequestTimeout conf.Millis `json:"requestTimeout"` // of a request as a whole
	Addr           string      `json:"addr"`
	// Token is the api's default_token, or that of nodata among its service_tokens.
	Token conf.Secret `json:"token"`
}

// Rows is the database falcon_portal.
type Rows struct {
	Enabled bool     `json:"enabled"`
	DSN     conf.DSN `json:"dsn"` // empty: the SQLite file in Dir
	MaxIdle int      `json:"maxIdle"`
	Dir     string   `json:"dir"`
}

// Collector asks for last points.
type Collector struct {
	Enabled bool `json:"enabled"`
	// Batch is how many series a request asks for, from 100 to 1000; other numbers are
	// 200, as in stock.
	Batch int `json:"batch"`
	// Concurrent is how many requests are on their way at once, from 1 to 50; other
	// numbers are 10.
	Concurrent int `json:"concurrent"`
}

// Sender posts mocks to transfer.
type Sender struct {
	Enabled        bool        `json:"enabled"`
	ConnectTimeout conf.Millis `json:"connectTimeout"`
	RequestTimeout conf.Millis `json:"requestTimeout"`
	// TransferAddr is host:port of transfer's HTTP, or several with commas: the next is
	// tried when one does not take a batch.
	TransferAddr string `json:"transferAddr"`
	Batch        int    `json:"batch"` // mocks in a request; 0 is 500
	// Queue is how many mocks may wait; the oldest go when there are more.
	Queue int   `json:"queue"`
	Block Block `json:"block"`
}

// Block holds mocks back when so many series are silent that something else is wrong.
type Block struct {
	Enabled bool `json:"enabled"`
	// Threshold is in percent of the series that are judged in a round.
	Threshold float64 `json:"threshold"`
}

// Redis is where the lock is. Without it (enabled false) nodata is alone.
type Redis struct {
	Enabled bool `json:"enabled"`
	redisx.Config
}

// DefaultConfig returns the configuration of a nodata whose file is empty.
func DefaultConfig() Config {
	connect, request := conf.Millis(500*time.Millisecond), conf.Millis(2*time.Second)
	return Config{
		Base: daemon.DefaultBase(), HTTP: daemon.Listener{Enabled: true, Listen: "0.0.0.0:6090"},
		PlusAPI:   PlusAPI{ConnectTimeout: connect, RequestTimeout: request, Addr: "http://127.0.0.1:8080"},
		Rows:      Rows{Enabled: true, MaxIdle: 4, Dir: "./data/portal"},
		Collector: Collector{Enabled: true, Batch: 200, Concurrent: 10},
		Sender: Sender{
			Enabled: true, ConnectTimeout: connect, RequestTimeout: request, TransferAddr: "127.0.0.1:6060", Batch: 500, Queue: 100_000,
			Block: Block{Threshold: 32},
		},
		Grace: 3,
		Redis: Redis{Config: redisx.DefaultConfig()},
	}
}

// Portal returns what the database is opened with: only that of the rows.
func (c *Config) Portal() portal.Config {
	p := portal.Config{PortalDSN: c.Rows.DSN.Reveal(), MaxIdle: c.Rows.MaxIdle, Only: []string{portal.Portal}}
	if c.Rows.DSN == "" {
		p.Dir = c.Rows.Dir
	}
	return p
}

// Validate reports every setting that can not work.
func (c *Config) Validate() error {
	errs := []error{c.Base.Validate(), c.HTTP.Validate("http")}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u, err := url.Parse(c.PlusAPI.Addr); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		wrong("plus_api.addr: %q is no address, write http://host:8080", c.PlusAPI.Addr)
	}
	if c.PlusAPI.ConnectTimeout <= 0 || c.PlusAPI.RequestTimeout <= 0 {
		wrong("plus_api: connectTimeout and requestTimeout must be above 0")
	}
	if c.Rows.DSN == "" && c.Rows.Dir == "" {
		wrong("config.dsn: give a DSN (MySQL) or config.dir (SQLite)")
	}
	if c.Rows.MaxIdle < 0 {
		wrong("config.maxIdle: %d is negative, 0 means the default", c.Rows.MaxIdle)
	}
	for _, addr := range c.transfers() {
		u, err := url.Parse(addr)
		if err != nil {
			wrong("sender.transferAddr: %w", err)
		} else if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Scheme != "http" && u.Scheme != "https" {
			wrong("sender.transferAddr: %q is no address, write host:6060, or several with commas", strings.TrimPrefix(addr, "http://"))
		}
	}
	if c.Sender.ConnectTimeout <= 0 || c.Sender.RequestTimeout <= 0 {
		wrong("sender: connectTimeout and requestTimeout must be above 0")
	}
	if c.Sender.Batch < 0 || c.Sender.Queue < 1 {
		wrong("sender: queue must be above 0, and batch not below; 0 is the default batch")
	}
	if t := c.Sender.Block.Threshold; !(t >= 0 && t <= 100) {
		wrong("sender.block.threshold: %v is no percentage", t)
	}
	if c.Grace < 0 {
		wrong("grace: %d is negative; it is a number of steps", c.Grace)
	}
	if c.Redis.Enabled {
		if err := c.Redis.Validate(); err != nil {
			wrong("redis.%w", err)
		}
	}
	return errors.Join(errs...)
}

// Retired lists keys of older releases of stock that we do not need.
func (c *Config) Retired() map[string]string {
	return map[string]string{"query": "the api at plus_api.addr is asked for last points"}
}

// transfers returns where transfers take HTTP, with the scheme.
func (c *Config) transfers() (all []string) {
	for addr := range strings.SplitSeq(c.Sender.TransferAddr, ",") {
		if addr = strings.TrimSpace(addr); !strings.Contains(addr, "://") {
			addr = "http://" + addr
		}
		all = append(all, strings.TrimRight(addr, "/"))
	}
	return all
}

// batch is how many series are asked for at once, by stock's rule.
func (c *Config) batch() int { return between(c.Collector.Batch, 100, 1000, 200) }

// concurrent is how many requests are on their way at once, by stock's rule.
func (c *Config) concurrent() int { return between(c.Collector.Concurrent, 1, 50, 10) }

func between(n, low, high, otherwise int) int {
	if n < low || n > high {
		return otherwise
	}
	return n
}

// sendBatch is how many mocks one request has.
func (c *Config) sendBatch() int { return cmp.Or(c.Sender.Batch, 500) }

// threshold is the rate above which mocks are held back; negative for never.
func (c *Config) threshold() float64 {
	if !c.Sender.Block.Enabled {
		return -1
	}
	return c.Sender.Block.Threshold
}
