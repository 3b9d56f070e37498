package agent

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/modules/agent/ping"
	"falcon/modules/agent/scrape"
)

// Config is the configuration of an agent. Keys of stock and its fork keep their
// names and units.
type Config struct {
	daemon.Base
	// Hostname is the endpoint of everything the agent collects. Empty: see
	// hostname.go for where it then comes from.
	Hostname string `json:"hostname"`
	// HostnameFile is read when Hostname and FALCON_ENDPOINT are empty: a line
	// HOSTNAME=x, or the bare name. One that is not there or has no name is passed over.
	HostnameFile string `json:"hostname_file"`
	// HostnameRule is "" or "ip-n", which makes a name such as n3-021-225 of the address
	// 10.3.21.225 when the kernel's is not of that form.
	HostnameRule string `json:"hostname_rule"`
	// IP is the address that is reported; empty takes the one that leads to hbs.
	IP string `json:"ip"`

	Transfer  Transfer  `json:"transfer"`
	HTTP      HTTP      `json:"http"`
	Collector Collector `json:"collector"`
	// DefaultTags are added to the tags of every item that has not a tag of that
	// name itself.
	DefaultTags map[string]string `json:"default_tags"`
	// Ignore names metrics that are not collected: true drops the metric.
	Ignore map[string]bool `json:"ignore"`
	Queue  Queue           `json:"queue"`
	Spool  Spool           `json:"spool"`
	NTP    NTP             `json:"ntp"`
	// Scrape are exporters of Prometheus whose metrics become points of this host.
	Scrape []scrape.Target `json:"scrape"`
	// Ping makes this host a ping node.
	Ping ping.Config `json:"ping"`

	Heartbeat Heartbeat `json:"heartbeat"`
	Plugin    Plugin    `json:"plugin"`
	// Level gives the intervals in seconds of the four levels of importance, level_1 to
	// level_4: what is not named has 10, 30, 60 and 120. Without the key everything is
	// looked at each Transfer.Interval, as stock does.
	Level map[string]int `json:"metric_level_interval"`
	// NICTypeTag adds the tag nictype to net.if.*: 1g, 10g, 2x10g for a bond of two, …
	// It makes other series of them.
	NICTypeTag bool `json:"nic_type_tag"`
	// The fork's keys. In AppBaseDir the file service_pids says which processes each
	// measured service has; empty writes none.
	AppBaseDir  string `json:"app_base_dir"`
	SelfUpgrade bool   `json:"self_upgrade"`
	PerCore     bool   `json:"cpu_per_core_collect"`
	// Upgrade says how, when SelfUpgrade is on.
	Upgrade Upgrade `json:"upgrade"`
	// PerCorePad is how many digits the tag core of percore.* has at least: 2 makes
	// core01, 0 the fork's core1.
	PerCorePad int `json:"percore_pad"`
}

// Transfer says where points go.
type Transfer struct {
	Enabled bool     `json:"enabled"`
	Addrs   []string `json:"addrs"`
	// Interval is how often the host is looked at, and the step of what is found:
	// whole seconds.
	Interval conf.Seconds `json:"interval"`
	// Timeout bounds dialling a transfer.
	Timeout conf.Millis `json:"timeout"`
	// TLS makes the streams to the transfers speak TLS; stock's do not.
	TLS daemon.ClientTLS `json:"tls"`
}

// HTTP is the local interface that programs push to.
type HTTP struct {
	Enabled bool   `json:"enabled"`
	Listen  string `json:"listen"`
	// Backdoor lets trusted callers run commands by POST /run: those on this machine
	// and at the addresses that hbs trusts. Leave it off.
	Backdoor bool `json:"backdoor"`
}

// Collector picks what is looked at.
type Collector struct {
	// IfacePrefix picks network interfaces by the start of their name; an empty list
	// takes all.
	IfacePrefix []string `json:"ifacePrefix"`
	// MountPoint picks mounts; an empty list takes those of disks and networks.
	MountPoint []string `json:"mountPoint"`
	// Timeout is how long one collector may take.
	Timeout conf.Duration `json:"timeout"`
	// URLGet lets url.check.health ask by GET where a page does not know HEAD. Stock does
	// not: such a page is not healthy.
	URLGet bool `json:"urlGet"`
}

// Queue is where points wait for a transfer.
type Queue struct {
	// Size bounds the points in memory; when it is full the oldest go, and are
	// counted.
	Size int `json:"size"`
}

// Spool keeps points on disk until a transfer has acknowledged them.
type Spool struct {
	// Dir is its folder; empty keeps points in memory only, and a kill loses those that
	// were not acknowledged.
	Dir string `json:"dir"`
	// MaxSize bounds it, in MB; when it is full the oldest points go, and are counted.
	MaxSize int `json:"maxSize"`
}

// NTP says whom the clock of this host is compared with.
type NTP struct {
	// Servers are asked in their order, host or host:port, until one answers; without
	// any the kernel is asked, which knows what its NTP daemon still has to correct.
	Servers []string `json:"servers"`
}

// Heartbeat says to whom this host reports. Addr may name several hbs, separated by
// commas; the first that answers gets the report.
type Heartbeat struct {
	Enabled  bool             `json:"enabled"`
	Addr     string           `json:"addr"`
	Interval conf.Seconds     `json:"interval"`
	Timeout  conf.Millis      `json:"timeout"` // for dialling
	TLS      daemon.ClientTLS `json:"tls"`
}

// Plugin says where the programs are that hbs binds to this host.
type Plugin struct {
	Enabled bool `json:"enabled"`
	// Dir is their folder; nothing outside of it is run.
	Dir string `json:"dir"`
	// Git is the repository that /plugin/update clones into Dir.
	Git string `json:"git"`
	// Logs is where their standard error goes, a file for each.
	Logs string `json:"logs"`
	// MaxOutput is what one run may print, in MB; one that prints more is killed.
	MaxOutput int `json:"maxOutput"`
}

// DefaultConfig returns the configuration of an agent whose file is empty.
func DefaultConfig() Config {
	return Config{
		Base:      daemon.DefaultBase(),
		Transfer:  Transfer{Enabled: true, Addrs: []string{"127.0.0.1:8433"}, Interval: conf.Seconds(time.Minute), Timeout: conf.Millis(time.Second)},
		HTTP:      HTTP{Enabled: true, Listen: ":1988"},
		Collector: Collector{IfacePrefix: []string{"eth", "em", "en", "wl", "bond"}, Timeout: conf.Duration(5 * time.Second)},
		// Stock's file, too, leaves out what can be computed from the rest.
		Ignore: map[string]bool{
			"cpu.busy":      true,
			"df.bytes.free": true, "df.bytes.total": true, "df.bytes.used": true, "df.bytes.used.percent": true,
			"df.inodes.total": true, "df.inodes.free": true, "df.inodes.used": true, "df.inodes.used.percent": true,
			"mem.memtotal": true, "mem.memused": true, "mem.memused.percent": true, "mem.memfree": true,
			"mem.swaptotal": true, "mem.swapused": true, "mem.swapfree": true,
		},
		Queue:      Queue{Size: 1_000_000},
		Spool:      Spool{MaxSize: 256},
		Heartbeat:  Heartbeat{Enabled: true, Addr: "127.0.0.1:6030", Interval: conf.Seconds(time.Minute), Timeout: conf.Millis(time.Second)},
		PerCorePad: 2,
		Upgrade:    defaultUpgrade(),
		Plugin:     Plugin{Dir: "./plugin", Logs: "./logs", MaxOutput: 4},
		Ping:       ping.DefaultConfig(),
	}
}

// Validate reports every setting that can not work.
func (c *Config) Validate() error {
	errs := []error{c.Base.Validate()}
	if c.Transfer.Enabled {
		if len(c.Transfer.Addrs) == 0 {
			errs = append(errs, errors.New(`transfer.addrs: name at least one transfer, such as "127.0.0.1:8433"`))
		}
		for _, a := range c.Transfer.Addrs {
			if _, _, err := net.SplitHostPort(a); err != nil {
				errs = append(errs, fmt.Errorf("transfer.addrs: %q is no address, write host:port", a))
			}
		}
	}
	if i := c.Transfer.Interval.D(); i < time.Second || i%time.Second != 0 {
		errs = append(errs, fmt.Errorf("transfer.interval: %v is not a whole number of seconds, at least 1", i))
	}
	if c.HostnameRule != "" && c.HostnameRule != ruleIPN {
		errs = append(errs, fmt.Errorf("hostname_rule: %q is unknown, use %q or leave it out", c.HostnameRule, ruleIPN))
	}
	errs = append(errs, c.checkLevels(), c.Upgrade.validate())
	if c.PerCorePad < 0 || c.PerCorePad > 4 {
		errs = append(errs, fmt.Errorf("percore_pad: %d is not between 0 and 4 digits", c.PerCorePad))
	}
	if c.Transfer.Timeout <= 0 || c.Collector.Timeout <= 0 {
		errs = append(errs, errors.New("transfer.timeout and collector.timeout must be greater than zero"))
	}
	if c.Queue.Size < 1 {
		errs = append(errs, errors.New("queue.size: a queue holds at least one point"))
	}
	if c.Spool.MaxSize < 1 {
		errs = append(errs, errors.New(`spool.maxSize: a spool holds at least one MB; leave "dir" empty to have none`))
	}
	errs = append(errs, c.Ping.Validate())
	if c.Ping.Enabled && c.Ping.HBS && !c.Heartbeat.Enabled {
		errs = append(errs, errors.New("ping.hbs: hbs is asked with the heartbeats, and heartbeat.enabled is false"))
	}
	for i := range c.Scrape {
		if err := c.Scrape[i].Check(); err != nil {
			errs = append(errs, fmt.Errorf("scrape[%d].%w", i, err))
		}
	}
	if c.Plugin.Enabled && (c.Plugin.Dir == "" || c.Plugin.Logs == "") {
		errs = append(errs, errors.New(`plugin.dir and plugin.logs: name a folder for each, such as "./plugin" and "./logs", or set plugin.enabled to false`))
	}
	if c.Plugin.Enabled && c.Plugin.MaxOutput < 1 || c.Plugin.MaxOutput > 1024 {
		errs = append(errs, fmt.Errorf("plugin.maxOutput: %d is not between 1 and 1024 MB", c.Plugin.MaxOutput))
	}
	if c.Heartbeat.Enabled {
		if len(c.Heartbeat.addrs()) == 0 {
			errs = append(errs, errors.New(`heartbeat.addr: name an hbs, such as "127.0.0.1:6030", or set heartbeat.enabled to false`))
		}
		for _, a := range c.Heartbeat.addrs() {
			if _, _, err := net.SplitHostPort(a); err != nil {
				errs = append(errs, fmt.Errorf("heartbeat.addr: %q is no address, write host:port", a))
			}
		}
		if c.Heartbeat.Interval.D() < time.Second || c.Heartbeat.Timeout <= 0 {
			errs = append(errs, errors.New("heartbeat.interval and heartbeat.timeout: at least a second, and more than zero"))
		}
	}
	return errors.Join(errs...)
}

// levels are the intervals of the levels of importance when metric_level_interval
// does not say otherwise (contract ingest 3.6).
var levels = map[string]time.Duration{"level_1": 10 * time.Second, "level_2": 30 * time.Second, "level_3": time.Minute, "level_4": 2 * time.Minute}

// every returns how often what is of a level of importance, 1 to 4, is looked at.
func (c *Config) every(level int) time.Duration {
	if c.Level == nil {
		return c.Transfer.Interval.D()
	}
	key := fmt.Sprintf("level_%d", level)
	if n := c.Level[key]; n > 0 {
		return time.Duration(n) * time.Second
	}
	return levels[key]
}

// checkLevels reports intervals that make no sense.
func (c *Config) checkLevels() error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(c.Level)) {
		n := c.Level[key]
		if _, ok := levels[key]; !ok {
			errs = append(errs, fmt.Errorf("metric_level_interval: there is no %q, only level_1 to level_4", key))
		} else if n < 1 || n > 3600 {
			errs = append(errs, fmt.Errorf("metric_level_interval.%s: %d is not between 1 and 3600 seconds", key, n))
		}
	}
	return errors.Join(errs...)
}

// Retired lists keys that we do not need.
func (c *Config) Retired() map[string]string { return nil }
