package journal

import (
	"fmt"
	"path/filepath"
)

// Config says where a journal stands; the configuration of a daemon embeds it.
type Config struct {
	// Data is the folder of the journal, and of what else a restart needs.
	Data string `json:"data"`
	// StateFile, when not empty, names a file whose folder takes the place of Data:
	// stock's forks have it.
	StateFile string `json:"stateFile"`
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
	if c.Dir() == "" {
		return fmt.Errorf("data: name the folder of the journal, such as %q", example)
	}
	return nil
}
