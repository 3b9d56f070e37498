package graph

import (
	"errors"
	"fmt"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/modules/graph/tsdb"
)

// Config is the configuration of a graph. Keys of stock keep their names.
type Config struct {
	daemon.Base
	HTTP daemon.Listener `json:"http"`
	RPC  daemon.Listener `json:"rpc"`

	// Data is the folder of the storage engine.
	Data string `json:"data"`
	// Retention is how long raw points are kept; at least an hour.
	Retention conf.Duration `json:"retention"`
	// Durability is interval (sync each second: a kill loses nothing, a power
	// failure at most a second), group (sync before each ack) or none.
	Durability string `json:"durability"`
	// MaxSeries bounds the series; 0 means no bound. Beyond it new ones are refused
	// with the reason series_limit, known ones go on.
	MaxSeries int `json:"maxSeries"`

	// DB is the database graph, which the index is written to.
	DB DB `json:"db"`
	// Index says how the SQL index follows the engine.
	Index Index `json:"index"`
	// Migrate is stock's way to move data to new nodes.
	Migrate Migrate `json:"migrate"`
}

// DB names a database.
type DB struct {
	// DSN is that of MySQL; empty means the SQLite file Dir/graph.db.
	DSN conf.DSN `json:"dsn"`
	// Dir is the folder of the SQLite file.
	Dir string `json:"dir"`
	// MaxIdle is how many connections are kept open unused.
	MaxIdle int `json:"maxIdle"`
}

// Index is the write-behind of the search index.
type Index struct {
	// Enabled writes the index to SQL, for stock's api and dashboard. Our own api
	// asks the graphs themselves.
	Enabled bool `json:"enabled"`
	// Warmup is the time after start over which all rows are written anew.
	Warmup conf.Duration `json:"warmup"`
	// Refresh is how often the time of each row is renewed after that.
	Refresh conf.Duration `json:"refresh"`
	// Queue bounds the rows that wait while the database is away; what does not fit
	// is written by the next refresh.
	Queue int `json:"queue"`
}

// Migrate has stock's keys.
type Migrate struct {
	Enabled     bool              `json:"enabled"`
	Concurrency int               `json:"concurrency"`
	Replicas    int               `json:"replicas"`
	Cluster     map[string]string `json:"cluster"`
}

// DefaultConfig returns the configuration of a graph whose file is empty.
func DefaultConfig() Config {
	return Config{
		Base:       daemon.DefaultBase(),
		HTTP:       daemon.Listener{Enabled: true, Listen: "0.0.0.0:6071"},
		RPC:        daemon.Listener{Enabled: true, Listen: "0.0.0.0:6070"},
		Data:       "./data/graph",
		Retention:  conf.Duration(tsdb.DefaultRetention),
		Durability: "interval",
		DB:         DB{Dir: "./data/portal", MaxIdle: 4},
		Index:      Index{Enabled: true, Warmup: conf.Duration(6 * time.Hour), Refresh: conf.Duration(24 * time.Hour), Queue: 1_000_000},
	}
}

// Validate reports every setting that can not work.
func (c *Config) Validate() error {
	errs := []error{c.Base.Validate(), c.HTTP.Validate("http"), c.RPC.Validate("rpc")}
	if !c.RPC.Enabled {
		errs = append(errs, errors.New("rpc.enabled: a graph without RPC takes no points, set it to true"))
	}
	if c.Data == "" {
		errs = append(errs, errors.New(`data: name the folder of the storage engine, such as "./data/graph"`))
	}
	if c.Retention.D() < time.Hour {
		errs = append(errs, fmt.Errorf("retention: %v is shorter than one window, use at least 1h", c.Retention.D()))
	}
	if _, err := c.durability(); err != nil {
		errs = append(errs, err)
	}
	if c.MaxSeries < 0 {
		errs = append(errs, errors.New("maxSeries: a bound can not be negative, 0 means none"))
	}
	if c.Index.Enabled && c.DB.DSN == "" && c.DB.Dir == "" {
		errs = append(errs, errors.New("db: give dsn (MySQL) or dir (SQLite), or set index.enabled to false"))
	}
	if c.Index.Warmup.D() <= 0 || c.Index.Refresh.D() <= 0 || c.Index.Queue <= 0 {
		errs = append(errs, errors.New("index: warmup, refresh and queue must be greater than zero"))
	}
	if c.Migrate.Enabled {
		errs = append(errs, errors.New("migrate.enabled: this release can not take data over from old nodes; keep them in the ring and set it to false"))
	}
	return errors.Join(errs...)
}

func (c *Config) durability() (tsdb.Durability, error) {
	switch c.Durability {
	case "interval":
		return tsdb.Interval, nil
	case "group":
		return tsdb.Group, nil
	case "none":
		return tsdb.None, nil
	}
	return 0, fmt.Errorf("durability: %q is unknown, use interval, group or none", c.Durability)
}

// Retired lists keys of stock that we do not need.
func (c *Config) Retired() map[string]string {
	return map[string]string{
		"rrd":         "points are kept by our own engine in the folder data; stock's archives stay where they are",
		"ioWorkerNum": "the engine shards by itself",
		"callTimeout": "graphs do not call each other",
	}
}
