package hbs

import (
	"errors"
	"fmt"
	"net"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/redisx"
)

// Config is the configuration of an hbs. Keys of stock keep their names.
type Config struct {
	daemon.Base
	// Listener is where RPC is served: stock has its key at the top of the file.
	daemon.Listener
	HTTP daemon.Listener `json:"http"`

	// Database is the DSN of falcon_portal; empty means the SQLite file in DBDir.
	Database conf.DSN `json:"database"`
	DBDir    string   `json:"db_dir"`
	MaxConns int      `json:"maxConns"`
	MaxIdle  int      `json:"maxIdle"`

	// Hosts, when not empty ("sync"), says that somebody else owns the table host:
	// heartbeats update rows and never add one.
	Hosts string `json:"hosts"`
	// AutoGroup is the group that a host joins when it reports for the first time;
	// empty for none.
	AutoGroup string `json:"auto_group"`
	// Trustable are the addresses that agents are told to trust.
	Trustable []string `json:"trustable"`

	// Redis holds the times of heartbeats and tells of changes. Without it (enabled
	// false) hbs looks for changes each Interval and nobody learns that an agent is
	// silent.
	Redis Redis `json:"redis"`
	// Nodes are nodes of a Redis Cluster: the fork has its key at the top of the file.
	Nodes []conf.DSN `json:"redis_cluster_nodes,omitempty"`
	// RedisCompat "fork" shares what is read from the database with hbs of the fork, by
	// their locks and keys. Empty: with hbs of ours alone.
	RedisCompat string `json:"redis_compat"`
	// Interval is how often the rules are compiled without being told of a change.
	Interval conf.Seconds `json:"interval"`
	// Timezone is where the hours of strategies are meant, such as Asia/Shanghai; empty
	// for the host's.
	Timezone string `json:"timezone"`
	// Upgrade says how agents are upgraded. UpgradeQueue and UpgradeExpire have the fork's
	// keys: how many agents upgrade at the same time, over all hbs, and after how long one
	// of which nothing is heard gives its place back.
	Upgrade       Upgrade      `json:"upgrade"`
	UpgradeQueue  int          `json:"agent_update_queue_length"`
	UpgradeExpire conf.Seconds `json:"redis_agent_upgrade_set_expire"`
	// RefuseUnsafe leaves agents out that are not ours: the fork's put a file in their own
	// place before they have looked at it.
	RefuseUnsafe bool `json:"refuse_unsafe"`
	// UpgradeRemote lets whoever has AdminToken order upgrades from other machines, in the
	// header Apitoken; api shows it as hbs_admin_token.
	UpgradeRemote bool        `json:"upgrade_remote"`
	AdminToken    conf.Secret `json:"admin_token"`
	// Liveness says who hears of silent agents.
	Liveness Liveness `json:"liveness"`
	// Guard is the number of hosts from which on a book of less than half of the last
	// one's is held back until a second look a minute later agrees. 0: never.
	Guard int `json:"guard_hosts"`
}

// forkCompat is the value of Config.RedisCompat.
const forkCompat = "fork"

// Redis is where Redis is.
type Redis struct {
	Enabled bool `json:"enabled"`
	redisx.Config
}

// Liveness turns heartbeats into the metric agent.heartbeat.alive.
type Liveness struct {
	Enabled bool `json:"enabled"`
	// Transfers take the points, the first that answers.
	Transfers []string         `json:"transfers"`
	TLS       daemon.ClientTLS `json:"tls"`
	// After is for how long an agent may be silent.
	After conf.Seconds `json:"after"`
}

// DefaultConfig returns the configuration of an hbs whose file is empty.
func DefaultConfig() Config {
	return Config{
		Base: daemon.DefaultBase(), Listener: daemon.Listener{Enabled: true, Listen: ":6030"}, HTTP: daemon.Listener{Enabled: true, Listen: "0.0.0.0:6031"},
		DBDir: "./data/portal", MaxConns: 20, MaxIdle: 15, AutoGroup: "",
		Redis:    Redis{Enabled: true, Config: redisx.DefaultConfig()},
		Interval: conf.Seconds(time.Minute), Guard: 100,
		Upgrade: defaultUpgrade(), UpgradeQueue: 2000, UpgradeExpire: conf.Seconds(70 * time.Second),
		Liveness: Liveness{Enabled: true, Transfers: []string{"127.0.0.1:8433"}, After: conf.Seconds(5 * time.Minute)},
	}
}

// Validate reports every setting that can not work.
func (c *Config) Validate() error {
	errs := []error{c.Base.Validate(), c.HTTP.Validate("http"), c.Listener.Validate("")}
	if !c.Enabled {
		errs = append(errs, errors.New("enabled: an hbs without RPC serves nobody, set it to true"))
	}
	if c.Database == "" && c.DBDir == "" {
		errs = append(errs, errors.New("database: give a DSN (MySQL) or db_dir (SQLite)"))
	}
	if c.RedisCompat != "" && c.RedisCompat != forkCompat {
		errs = append(errs, fmt.Errorf("redis_compat: %q is not known, write \"fork\" to share with hbs of the fork, or nothing", c.RedisCompat))
	}
	if c.RedisCompat != "" && !c.Redis.Enabled {
		errs = append(errs, errors.New("redis_compat: there is nothing to share while redis.enabled is false"))
	}
	if c.Interval.D() < time.Second {
		errs = append(errs, fmt.Errorf("interval: %v is shorter than a second", c.Interval.D()))
	}
	if _, err := c.location(); err != nil {
		errs = append(errs, err)
	}
	if c.Redis.Enabled {
		where := c.RedisConfig()
		if err := where.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("redis.%w", err))
		}
	}
	if c.Liveness.Enabled && c.Redis.Enabled {
		for _, a := range c.Liveness.Transfers {
			if _, _, err := net.SplitHostPort(a); err != nil {
				errs = append(errs, fmt.Errorf("liveness.transfers: %q is no address, write host:port", a))
			}
		}
		if c.Liveness.After.D() < time.Minute {
			errs = append(errs, fmt.Errorf("liveness.after: agents report each minute, %v is too short", c.Liveness.After.D()))
		}
	}
	errs = append(errs, c.Upgrade.validate())
	if c.UpgradeQueue < 0 || c.UpgradeExpire.D() < time.Second {
		errs = append(errs, errors.New("agent_update_queue_length can not be negative, and redis_agent_upgrade_set_expire is a second at least"))
	}
	if c.UpgradeRemote && len(c.AdminToken) < 16 {
		errs = append(errs, errors.New("admin_token: with upgrade_remote it is all that keeps others from ordering upgrades, write 16 characters at least"))
	}
	if c.Guard < 0 {
		errs = append(errs, errors.New("guard_hosts: a number of hosts can not be negative, 0 switches the guard off"))
	}
	return errors.Join(errs...)
}

// RedisConfig says where Redis is, wherever the file says it.
func (c *Config) RedisConfig() redisx.Config {
	r := c.Redis.Config
	if len(r.Nodes) == 0 {
		r.Nodes = c.Nodes
	}
	return r
}

func (c *Config) location() (*time.Location, error) {
	if c.Timezone == "" {
		return time.Local, nil
	}
	loc, err := time.LoadLocation(c.Timezone)
	if err != nil {
		return nil, fmt.Errorf("timezone: %q is unknown here, write a name such as Asia/Shanghai", c.Timezone)
	}
	return loc, nil
}

// Retired lists keys of stock and fork that we do not need.
func (c *Config) Retired() map[string]string {
	return map[string]string{
		"database_ro":        "one database is asked, by one transaction a minute",
		"cache_ttl":          "agents are answered from the compiled rules",
		"map_clean_interval": "hosts that are silent for a day are forgotten",
	}
}
