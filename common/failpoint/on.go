//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Env names the variable that says at which step the process dies.
const Env = "FALCON_FAILPOINT"

var (
	deadly string
	left   atomic.Int64 // how often it is still survived, and once more
)

func init() {
	name, times, many := strings.Cut(os.Getenv(Env), ":")
	if name == "" {
		return
	}
	n := 1
	if many {
		n, _ = strconv.Atoi(times) // 0 is none, too
	}
	if n < 1 || !slices.ContainsFunc(Points, func(p Point) bool { return p.Name == name }) {
		fmt.Fprintf(os.Stderr, "%s=%s names no step: write one of failpoint.Points, or one with :N\n", Env, os.Getenv(Env))
		os.Exit(2)
	}
	deadly = name
	left.Store(int64(n))
}

// Reached is a step at which tests kill the process.
func Reached(name string) {
	if name == deadly && left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}
