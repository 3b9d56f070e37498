package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// Hostname returns the name under which this host reports (contract ingest 3.3): the
// configured one, the variable FALCON_ENDPOINT, that of file when it is there and has one,
// and last the name that the kernel has. configured is false for the last. getenv and
// kernel are os.Getenv and os.Hostname but for tests. A file that can not be read is an
// error: another name than yesterday's would be worse than none.
func Hostname(name, file string, getenv func(string) string, kernel func() (string, error)) (_ string, configured bool, err error) {
	if name != "" {
		return name, true, nil
	}
	if name := getenv("FALCON_ENDPOINT"); name != "" {
		return name, true, nil
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", false, fmt.Errorf("hostname_file: %w", err)
		}
		if name := parseHostnameFile(string(b)); name != "" {
			return name, true, nil
		}
	}
	if name, err = kernel(); err != nil {
		return "", false, fmt.Errorf("hostname is not set in the configuration, and the kernel does not tell it: %w", err)
	}
	return name, false, nil
}

// bareName is what a file that holds nothing but the name may hold.
var bareName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// parseHostnameFile reads /etc/sysconfig/network (HOSTNAME=x) or /etc/hostname (the bare
// name); "" when neither is there.
func parseHostnameFile(text string) string {
	bare := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, v, assigned := strings.Cut(line, "=")
		switch k, _ = strings.CutPrefix(strings.TrimSpace(k), "export "); {
		case assigned && strings.TrimSpace(k) == "HOSTNAME":
			return strings.Trim(strings.TrimSpace(v), `"'`)
		case assigned || bare != "" || !bareName.MatchString(line):
			bare = "=" // it is no file of a bare name
		default:
			bare = line
		}
	}
	if bare == "=" {
		return ""
	}
	return bare
}
