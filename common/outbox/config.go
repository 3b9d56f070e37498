package outbox

import (
	"errors"
	"fmt"
	"strings"

	"falcon/common/redisx"
)

// Config is the section alarm of those who tell events. Its keys are stock judge's
// (contract alerting 1.15).
type Config struct {
	// Enabled false discards events, and counts them.
	Enabled bool `json:"enabled"`
	// MinInterval is the least time between two messages of a problem, in seconds.
	MinInterval int64 `json:"minInterval"`
	// QueuePattern names the list of a priority.
	QueuePattern string `json:"queuePattern"`
	// MaxWaiting is how many events wait for Redis, half a kilobyte each in memory, before
	// nothing more is taken that may make some.
	MaxWaiting int           `json:"maxWaiting"`
	Redis      redisx.Config `json:"redis"`
}

// DefaultConfig returns the section of a file that has none.
func DefaultConfig() Config {
	return Config{Enabled: true, MinInterval: 300, QueuePattern: "event:p%v", MaxWaiting: 100_000, Redis: redisx.DefaultConfig()}
}

// Validate reports every setting that can not work, by its key.
func (c *Config) Validate() error {
	var errs []error
	if c.MinInterval < 0 {
		errs = append(errs, errors.New("alarm.minInterval must not be negative"))
	}
	if !c.Enabled {
		return errors.Join(errs...)
	}
	if strings.Count(c.QueuePattern, "%") != 1 || !strings.Contains(c.QueuePattern, "%v") && !strings.Contains(c.QueuePattern, "%d") {
		errs = append(errs, fmt.Errorf("alarm.queuePattern: %q has no place for the priority, write event:p%%v", c.QueuePattern))
	}
	if c.MaxWaiting < 1 {
		errs = append(errs, fmt.Errorf("alarm.maxWaiting: with %d nothing is ever taken, use at least 1, such as 100000", c.MaxWaiting))
	}
	if err := c.Redis.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("alarm.redis: %w", err))
	}
	return errors.Join(errs...)
}
