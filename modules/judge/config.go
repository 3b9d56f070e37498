package judge

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/expr"
	"falcon/common/journal"
	"falcon/common/outbox"
)

// Config is the configuration of a judge (contract alerting 1.15). Keys of stock keep
// their names.
type Config struct {
	daemon.Base
	// LogLevel is a key of the fork: debug, info or warn.
	LogLevel string `json:"log_level"`
	// Remain is how many points a series keeps at least.
	Remain int             `json:"remain"`
	HTTP   daemon.Listener `json:"http"`
	RPC    daemon.Listener `json:"rpc"`
	HBS    HBS             `json:"hbs"`
	Alarm  Alarm           `json:"alarm"`
	// Config is where the journal and the rule book are, and when the journal turns.
	journal.Config
	// FleetKey is a secret that the daemons of a fleet share: who has it may acknowledge.
	// Without one only callers of the same machine may.
	FleetKey conf.Secret `json:"fleet_key"`
	// MaxFutureSec is how far in the future a stock transfer's point may be.
	MaxFutureSec int64 `json:"maxFutureSec"`
	// Union says who joins conditions to alarms.
	Union Union `json:"union_judge_s"`
	// IsUnion says that the file is that of a plus_judge: falcon-judge becomes one by it.
	IsUnion bool `json:"is_union,omitempty"`
	// RecoverMode is that of a plus_judge, for such a file.
	RecoverMode string `json:"recover_mode,omitempty"`
}

// HBS says where rules come from.
type HBS struct {
	Servers []string `json:"servers"` // tried in order
	// Timeout is that of dialing.
	Timeout conf.Millis `json:"timeout"`
	// Interval is how often a stock hbs is asked, in seconds.
	Interval int64 `json:"interval"`
	// FullTimeout is that of a call that brings rules.
	FullTimeout conf.Millis `json:"fullTimeout"`
	// MaxWaiting is how many series keep their points until an hbs has said what watches
	// them, about half a kilobyte each in memory, before nothing more is taken.
	MaxWaiting int              `json:"maxWaiting"`
	TLS        daemon.ClientTLS `json:"tls"`
}

// Alarm says where events go.
type Alarm struct {
	outbox.Config
	// CloseSilent is for how long a series may be silent before its open problem is closed,
	// with the reason stale and telling nobody; 0, the default, waits until the series
	// itself is forgotten, a week after its last point.
	CloseSilent conf.Duration `json:"closeSilent"`
}

const defaultData = "./data/judge"

// DefaultConfig returns the configuration of a judge whose file is empty.
func DefaultConfig() Config {
	return Config{
		Base: daemon.DefaultBase(), LogLevel: "info", Remain: 11,
		HTTP: daemon.Listener{Enabled: true, Listen: "0.0.0.0:6081"},
		RPC:  daemon.Listener{Enabled: true, Listen: "0.0.0.0:6080"},
		HBS: HBS{
			Servers: []string{"127.0.0.1:6030"}, Timeout: conf.Millis(300 * time.Millisecond),
			Interval: 60, FullTimeout: conf.Millis(300 * time.Second), MaxWaiting: 1_000_000,
		},
		Alarm:  Alarm{Config: outbox.DefaultConfig()},
		Config: journal.DefaultConfig(defaultData, 256<<20), MaxFutureSec: 300, Union: defaultUnion(),
	}
}

// Common returns the part that all daemons have; log_level counts in it.
func (c *Config) Common() *daemon.Base {
	if c.LogLevel == "debug" {
		c.Debug = true
	}
	return &c.Base
}

// Validate reports every setting that can not work.
func (c *Config) Validate() error {
	errs := []error{
		c.Base.Validate(), c.HTTP.Validate("http"), c.RPC.Validate("rpc"), c.Alarm.Validate(), c.Union.validate(), c.Config.Validate(defaultData),
	}
	if !slices.Contains([]string{"debug", "info", "warn"}, c.LogLevel) {
		errs = append(errs, fmt.Errorf(`log_level: %q is unknown, use "debug", "info" or "warn"`, c.LogLevel))
	}
	if !c.RPC.Enabled {
		errs = append(errs, errors.New("rpc.enabled: a judge without RPC takes no points, set it to true"))
	}
	if c.Remain < 1 || c.Remain > expr.MaxWindow {
		errs = append(errs, fmt.Errorf("remain: %d points can not be kept, use 1 to %d", c.Remain, expr.MaxWindow))
	}
	if len(c.HBS.Servers) == 0 || c.HBS.Timeout <= 0 || c.HBS.Interval <= 0 || c.HBS.FullTimeout <= 0 {
		errs = append(errs, errors.New("hbs: name at least one server; timeout, interval and fullTimeout must be greater than zero"))
	}
	if c.HBS.MaxWaiting < 1 {
		errs = append(errs, fmt.Errorf("hbs.maxWaiting: with %d a judge without rules takes nothing, use at least 1, such as 1000000", c.HBS.MaxWaiting))
	}
	if c.MaxFutureSec < 0 {
		errs = append(errs, errors.New("maxFutureSec must not be negative"))
	}
	if d := c.Alarm.CloseSilent.D(); d != 0 && d < silentAfter {
		errs = append(errs, fmt.Errorf("alarm.closeSilent: %v is shorter than pauses of a healthy series, use at least %v, or 0 for never", d, silentAfter))
	}
	return errors.Join(errs...)
}

// Retired lists keys of stock and its forks that we do not need.
func (c *Config) Retired() map[string]string {
	return map[string]string{
		"debugHost":       "ask /strategy/<endpoint>/<metric> for the rules of a host",
		"hbs.codec":       "what the hbs speaks is found out",
		"hbs.callTimeout": "each call ends with fullTimeout",
		"filter":          "the rule book says at once which series are watched",

		"union_judge_s.batch": "events of conditions go as they come",
	}
}
