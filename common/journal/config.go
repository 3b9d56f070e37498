package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"falcon/common/conf"
)

// Config says where a journal stands and when it turns; the configuration of a daemon
// embeds it.
type Config struct {
	// Data is the folder of the journal, and of what else a restart needs.
	Data string `json:"data"`
	// StateFile, when not empty, names a file whose folder takes the place of Data:
	// stock's forks have it.
	StateFile string `json:"stateFile"`
	// Turning says when a snapshot takes the place of what was written so far.
	Turning Turning `json:"journal"`
}

// Turning says when a journal begins its next file, under a snapshot: after so long, or
// when the present file is so large.
type Turning struct {
	Every conf.Duration `json:"every"`
	Size  int64         `json:"size"` // bytes
}

// DefaultConfig returns a journal in the folder dir that turns each ten minutes, and when
// its file has size bytes.
func DefaultConfig(dir string, size int64) Config {
	return Config{Data: dir, Turning: Turning{Every: conf.Duration(10 * time.Minute), Size: size}}
}

// Dir returns the folder.
func (c *Config) Dir() string {
	if c.StateFile != "" {
		return filepath.Dir(c.StateFile)
	}
	return c.Data
}

// Validate reports what can not work; example is a folder that would.
func (c *Config) Validate(example string) error {
	var errs []error
	if c.Dir() == "" {
		errs = append(errs, fmt.Errorf("data: name the folder of the journal, such as %q", example))
	}
	if c.Turning.Every.D() < time.Second {
		errs = append(errs, fmt.Errorf(`journal.every: a snapshot each %v is work without an end, use at least "1s"`, c.Turning.Every.D()))
	}
	if c.Turning.Size < 1<<20 {
		errs = append(errs, fmt.Errorf("journal.size: %d bytes are full at once, use at least %d", c.Turning.Size, 1<<20))
	}
	return errors.Join(errs...)
}
