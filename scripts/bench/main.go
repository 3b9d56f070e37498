// Command bench measures the daemons as processes: it starts them, loads them, and
// reads how much CPU they took. See scripts/bench.sh.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A figure is one line of the output.
type figure struct {
	name   string
	unit   string
	target float64 // at most; at least when the unit is a rate, 1/s
	runs   int
	stock  string // the same of Open-Falcon's daemon, measured on a machine like this one; empty when it has no such thing
	// measure returns the figure of one run, and remarks that belong beside it.
	measure func(ctx context.Context, b *bench) (value float64, remark string, err error)
}

// better says whether the value a is better than b: of a rate the larger one is.
func (f *figure) better(a, b float64) bool {
	if f.unit == "1/s" {
		return a > b
	}
	return a < b
}

func figures() []figure {
	return []figure{
		{"agent.idle", "MB", 16, 1, "14.9", agentMemory},
		{"agent.idle.cpu", "s/min", 0.024, 1, "0.024", agentCPU},
		{"agent.push", "1/s", 16_667, 3, "", agentPush},
		{"transfer.stream", "s/M", 0.30, 3, "10.6", transferStream},
		{"transfer.jsonrpc", "s/M", 1.0, 3, "10.6", transferJSON},
		{"graph.new_series", "µs", 5, 3, "1 500", graphNewSeries},
		{"graph.stream", "s/M", 0.45, 3, "15 to 20", graphStream},
		{"graph.gob", "s/M", 1.5, 3, "15 to 20", graphGob},
		{"graph.memory", "GB", 0.6, 1, "30 to 60", graphMemory},
		{"graph.raw_bytes", "B/point", 1.6, 1, "8", graphRawBytes},
		{"graph.recovery", "s", 5, 1, "minutes", graphRecovery},
		{"graph.query_1h", "µs", 20, 3, "115", graphQuery},
		{"chain", "s/M", 1.0, 3, "28", chain},
		{"judge.tenth", "s/M", 0.15, 3, "3.2", judgeTenth},
		{"judge.all", "s/M", 0.6, 3, "8.1", judgeAll},
		{"judge.memory", "GB", 0.1, 1, "1.95", judgeMemory},
		{"judge.new_series", "ms", 50, 3, "", judgeNewSeries},
		{"judge.keys.send", "ms", 50, 1, "", newKeysAre(func(s *keysSeen) float64 { return float64(s.p99.Microseconds()) / 1000 })},
		{"judge.keys.hbs", "cores", 1, 1, "", newKeysAre(func(s *keysSeen) float64 { return s.hbs })},
		{"judge.keys.resolved", "s", 120, 1, "", newKeysAre(func(s *keysSeen) float64 { return s.resolved.Seconds() })},
		{"judge.keys.memory", "GB", 0.1, 1, "", newKeysAre(func(s *keysSeen) float64 { return s.memory })},
		{"hbs.rules", "MB", 1, 1, "148", hbsRulesSize},
		{"hbs.rules.fetch", "ms", 50, 3, "1 500 to 3 400", hbsRulesTime},
		{"hbs.rules.unchanged", "KB", 1, 1, "148 000", hbsRulesSame},
		{"hbs.memory", "GB", 0.1, 3, "2.6", hbsMemory},
		{"hbs.shared.fetch", "ms", 50, 3, "1 500 to 3 400", hbsSharedTime},
		{"hbs.shared.memory", "GB", 0.1, 3, "2.6", hbsSharedMemory},
		{"hbs.heartbeat", "s/M", 50, 3, "280", hbsHeartbeat},
		{"alarm.events", "1/s", 5000, 3, "213", alarmEvents},
		{"alarm.sqlite", "1/s", 2500, 1, "", alarmSQLite},
		{"api.history", "ms", 1.0, 3, "9.3", apiHistory},
		{"up.first", "s", 6, 3, "25 commands", upFirst},
	}
}

// bench is where the programs are and how large the runs are.
type bench struct {
	bin    string
	dir    string // of one run
	series int

	idleCPU float64 // of the agent whose memory was measured last, seconds a minute
}

func main() {
	bin := flag.String("bin", "bin", "folder of the programs")
	series := flag.Int("series", 1_000_000, "series in the graph's runs")
	serve := flag.String("serve-hbs", "", "be the hbs that is measured, at this address")
	redis := flag.String("redis", "", "of the hbs that is measured; empty for none")
	flag.Parse()
	if *serve != "" {
		if err := serveHBS(*serve, *redis); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	abs, err := filepath.Abs(*bin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	b := &bench{bin: abs, series: *series}
	failed := false
	for _, f := range figures() {
		wanted := func(filter string) bool { return strings.Contains(f.name, filter) }
		if flag.NArg() > 0 && !slices.ContainsFunc(flag.Args(), wanted) {
			continue
		}
		if err := run(f, b); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", f.name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func run(f figure, b *bench) error {
	var best float64
	var said string
	for i := range f.runs {
		dir, err := os.MkdirTemp("", "falcon-bench-")
		if err != nil {
			return err
		}
		b.dir = dir
		v, remark, err := f.measure(context.Background(), b)
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
		if i == 0 || f.better(v, best) {
			best, said = v, remark
		}
	}
	verdict := "pass"
	if f.better(f.target, best) {
		verdict = "MISS"
	}
	line := fmt.Sprintf("%s %.3g %s %g %s", f.name, best, f.unit, f.target, verdict)
	if f.stock != "" {
		line += "  stock " + f.stock
	}
	if said != "" {
		line += "  # " + said
	}
	fmt.Println(line)
	return nil
}
