package agent

import (
	"fmt"
	"os"
	"strings"
)

// Endpoint returns the name under which an agent with cfg reports.
func Endpoint(cfg Config) (string, error) { return endpoint(&cfg, os.Getenv) }

// endpoint finds the name under which this host reports (contract ingest 3.3):
// the configuration, the variable FALCON_ENDPOINT, the file HostnameFile, and last
// the name the kernel has. It is asked once, so that a host that is renamed by a
// slip of the finger keeps its series.
func endpoint(cfg *Config, getenv func(string) string) (string, error) {
	if cfg.Hostname != "" {
		return cfg.Hostname, nil
	}
	if name := getenv("FALCON_ENDPOINT"); name != "" {
		return name, nil
	}
	if cfg.HostnameFile != "" {
		b, err := os.ReadFile(cfg.HostnameFile)
		if err != nil {
			return "", fmt.Errorf("hostname_file: %w", err)
		}
		name := parseHostnameFile(string(b))
		if name == "" {
			return "", fmt.Errorf("hostname_file: %s holds no name: write HOSTNAME=name or the bare name", cfg.HostnameFile)
		}
		return name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("hostname is not set in the configuration, and the kernel does not tell it: %w", err)
	}
	return name, nil
}

// parseHostnameFile reads /etc/sysconfig/network (HOSTNAME=x) or /etc/hostname (the
// bare name).
func parseHostnameFile(text string) string {
	bare := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, v, assigned := strings.Cut(line, "=")
		switch {
		case assigned && strings.TrimSpace(k) == "HOSTNAME":
			return strings.Trim(strings.TrimSpace(v), `"'`)
		case !assigned && bare == "":
			bare = line
		}
	}
	return bare
}
