// Command agent-guard (falcon-agent-guard) is run before each start of falcon-agent and
// puts the old agent back when a new one does not prove itself. It is never upgraded by
// the agent.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"falcon/common/daemon"
	"falcon/modules/agent/upgrade"
)

func main() {
	t := upgrade.DefaultTrial()
	dir := flag.String("dir", "/opt/falcon/agent", "`folder` of the agent's program")
	flag.IntVar(&t.Starts, "starts", t.Starts, "starts without a heartbeat before the old agent is put back")
	flag.DurationVar(&t.Within, "within", t.Within, "time without a heartbeat before the old agent is put back")
	version := flag.Bool("v", false, "print the version and exit")
	flag.Parse()
	if *version {
		fmt.Println(daemon.Version())
		return
	}
	said, err := upgrade.Guard(*dir, t, time.Now())
	if err != nil {
		fmt.Fprintf(os.Stderr, "falcon-agent-guard: %v\n", err)
		os.Exit(1)
	}
	if said != "" {
		fmt.Println("falcon-agent-guard: " + said)
	}
}
