package daemon

import "runtime/debug"

// version is set by the linker: -X falcon/common/daemon.version=1.2.3. It must not
// be longer than 16 bytes, which is what the host table of stock has for it.
var version = "0.1.0"

// Version returns the version of this build, such as 0.1.0.
func Version() string { return version }

// Revision returns the commit this was built from, or "" when the build does not
// know it.
func Revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
