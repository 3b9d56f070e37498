package daemon

import (
	"errors"
	"fmt"
	"time"

	"falcon/common/conf"
)

// Base is the part of a configuration that all daemons have.
type Base struct {
	// Debug logs what explains rather than what changes.
	Debug bool `json:"debug"`
	// Log says where the log goes.
	Log LogConfig `json:"log"`
	// Drain is how long a daemon that is asked to stop may take to hand on what
	// it has accepted.
	Drain conf.Duration `json:"drain"`
	// Self makes points of the daemon's counters.
	Self Self `json:"self"`
}

// LogConfig says where the log goes and when a file of it is full.
type LogConfig struct {
	// File is the log's file; empty is standard error.
	File string `json:"file"`
	// Format is text or json.
	Format string `json:"format"`
	// MaxSize is how large the file may become, in MB, before the next is begun;
	// 0 means no bound.
	MaxSize int `json:"maxSize"`
	// Daily begins a new file at each midnight, local time.
	Daily bool `json:"daily"`
	// MaxFiles is how many full files are kept; 0 means all of them.
	MaxFiles int `json:"maxFiles"`
	// MaxAge is how old a full file may become; 0 means any age. It counts in
	// whole days, rounded up.
	MaxAge conf.Duration `json:"maxAge"`
}

// DefaultBase returns what all daemons start from.
func DefaultBase() Base {
	return Base{
		Log:   LogConfig{Format: "text", MaxSize: 100, MaxFiles: 10, MaxAge: conf.Duration(30 * 24 * time.Hour)},
		Drain: conf.Duration(10 * time.Second),
		Self:  DefaultSelf(),
	}
}

// Common returns b; embedding Base makes a struct a Config.
func (b *Base) Common() *Base { return b }

// Validate reports what can not work. A daemon's own Validate joins it.
func (b *Base) Validate() error {
	var errs []error
	if f := b.Log.Format; f != "text" && f != "json" {
		errs = append(errs, fmt.Errorf("log.format: %q is unknown, use \"text\" or \"json\"", f))
	}
	if b.Log.MaxSize < 0 || b.Log.MaxFiles < 0 {
		errs = append(errs, errors.New("log: maxSize and maxFiles can not be negative; 0 means no bound"))
	}
	if b.Drain.D() <= 0 {
		errs = append(errs, errors.New(`drain: a daemon needs time to hand on what it has, write "10s"`))
	}
	return errors.Join(append(errs, b.Self.validate())...)
}
