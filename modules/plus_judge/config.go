package plusjudge

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/journal"
	"falcon/common/outbox"
)

// Config is the configuration of a plus_judge. Its keys are those of a judge (contract
// alerting 1.15): the file of a fork's judge with is_union loads as it is.
type Config struct {
	daemon.Base
	// LogLevel is a key of the fork: debug, info or warn.
	LogLevel string          `json:"log_level"`
	HTTP     daemon.Listener `json:"http"`
	RPC      daemon.Listener `json:"rpc"`
	// FleetKey is a secret that the daemons of a fleet share: who has it may acknowledge.
	// Without one, only callers of the same machine may.
	FleetKey conf.Secret `json:"fleet_key"`
	// HBS is asked how many members a combination has when a judge of the fork sends its
	// events, which do not say it.
	HBS   HBS           `json:"hbs"`
	Alarm outbox.Config `json:"alarm"`
	// RecoverMode is when a problem is over: "any", as soon as one of its conditions does
	// not hold, or "all", when none does.
	RecoverMode string `json:"recover_mode"`
	// TTL is how long a condition counts that nobody refreshes, in seconds.
	TTL int64 `json:"ttl"`
	// Config is where the journal is, and when it turns.
	journal.Config
	// MaxFutureSec is how far in the future an event may be.
	MaxFutureSec int64 `json:"maxFutureSec"`
}

// HBS says who knows the combinations.
type HBS struct {
	Servers []string `json:"servers"` // tried in order
	// Timeout is that of dialing.
	Timeout conf.Millis `json:"timeout"`
}

const defaultData = "./data/plus_judge"

// DefaultConfig returns the configuration of a plus_judge whose file is empty.
func DefaultConfig() Config {
	return Config{
		Base: daemon.DefaultBase(), LogLevel: "info",
		HTTP:  daemon.Listener{Enabled: true, Listen: "0.0.0.0:6083"},
		RPC:   daemon.Listener{Enabled: true, Listen: "0.0.0.0:6082"},
		HBS:   HBS{Servers: []string{"127.0.0.1:6030"}, Timeout: conf.Millis(300 * time.Millisecond)},
		Alarm: outbox.DefaultConfig(), Config: journal.DefaultConfig(defaultData, 64<<20), RecoverMode: recoverAny, TTL: 300, MaxFutureSec: 300,
	}
}

const (
	recoverAny = "any"
	recoverAll = "all"
	// forget is how long a combination is kept that nobody refreshes, in seconds.
	forget = 3600
)

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
		c.Base.Validate(), c.HTTP.Validate("http"), c.RPC.Validate("rpc"), c.Alarm.Validate(), c.Config.Validate(defaultData),
	}
	if !slices.Contains([]string{"debug", "info", "warn"}, c.LogLevel) {
		errs = append(errs, fmt.Errorf(`log_level: %q is unknown, use "debug", "info" or "warn"`, c.LogLevel))
	}
	if !c.RPC.Enabled {
		errs = append(errs, errors.New("rpc.enabled: a plus_judge without RPC takes no events, set it to true"))
	}
	if c.HBS.Timeout <= 0 {
		errs = append(errs, errors.New("hbs.timeout must be greater than zero"))
	}
	if c.RecoverMode != recoverAny && c.RecoverMode != recoverAll {
		errs = append(errs, fmt.Errorf(`recover_mode: %q is unknown, use "any" (one condition less ends it) or "all" (none is left)`, c.RecoverMode))
	}
	if c.TTL < 120 || c.TTL > forget {
		errs = append(errs, fmt.Errorf("ttl: judges refresh once a minute, %d seconds can not be told from silence: use 120 to %d", c.TTL, forget))
	}
	if c.MaxFutureSec < 0 {
		errs = append(errs, errors.New("maxFutureSec must not be negative"))
	}
	return errors.Join(errs...)
}

// settings are those of the core.
func (c *Config) settings() Settings {
	return Settings{TTL: c.TTL, Forget: forget, MinInterval: c.Alarm.MinInterval, RecoverAll: c.RecoverMode == recoverAll}
}

// Retired lists keys of judges that a plus_judge does not need.
func (c *Config) Retired() map[string]string {
	return map[string]string{
		"is_union":        "this program is a plus_judge; falcon-judge becomes one by it",
		"union_judge_s":   "it says where judges send: a plus_judge sends to nobody",
		"remain":          "no points come here",
		"debugHost":       "ask /combinations/<endpoint>",
		"filter":          "no points come here",
		"hbs.interval":    "hbs is asked when something is not known",
		"hbs.codec":       "what the hbs speaks is found out",
		"hbs.callTimeout": "it is asked for little, in five seconds",
		"hbs.fullTimeout": "it is asked for little, in five seconds",
		"hbs.tls":         "hbs is asked by judges of the fork's kind only, which have none",
	}
}
