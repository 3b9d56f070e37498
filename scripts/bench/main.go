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
	"strings"
)

// A figure is one line of the output.
type figure struct {
	name   string
	unit   string
	target float64 // at most; at least when the unit is a rate, 1/s
	runs   int
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
		{"transfer.stream", "s/M", 0.30, 3, transferStream},
		{"transfer.jsonrpc", "s/M", 1.0, 3, transferJSON},
		{"graph.new_series", "µs", 5, 3, graphNewSeries},
		{"graph.stream", "s/M", 0.45, 3, graphStream},
		{"graph.raw_bytes", "B/point", 1.6, 1, graphRawBytes},
		{"graph.recovery", "s", 5, 1, graphRecovery},
		{"graph.query_1h", "µs", 20, 3, graphQuery},
		{"judge.tenth", "s/M", 0.15, 3, judgeTenth},
		{"judge.all", "s/M", 0.6, 3, judgeAll},
		{"judge.memory", "GB", 0.1, 1, judgeMemory},
		{"hbs.rules", "MB", 1, 1, hbsRulesSize},
		{"hbs.rules.fetch", "ms", 50, 3, hbsRulesTime},
		{"hbs.rules.unchanged", "KB", 1, 1, hbsRulesSame},
		{"hbs.memory", "GB", 0.1, 3, hbsMemory},
		{"alarm.events", "1/s", 5000, 3, alarmEvents},
		{"alarm.sqlite", "1/s", 2500, 1, alarmSQLite},
		{"api.history", "ms", 1.0, 3, apiHistory},
		{"up.first", "s", 6, 3, upFirst},
	}
}

// bench is where the programs are and how large the runs are.
type bench struct {
	bin    string
	dir    string // of one run
	series int
}

func main() {
	bin := flag.String("bin", "bin", "folder of the programs")
	series := flag.Int("series", 1_000_000, "series in the graph's runs")
	serve := flag.String("serve-hbs", "", "be the hbs that is measured, at this address")
	flag.Parse()
	if *serve != "" {
		if err := serveHBS(*serve); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	filter := flag.Arg(0)
	abs, err := filepath.Abs(*bin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	failed := false
	for _, f := range figures() {
		if !strings.Contains(f.name, filter) {
			continue
		}
		if err := run(f, &bench{bin: abs, series: *series}); err != nil {
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
	if said != "" {
		said = "  # " + said
	}
	fmt.Printf("%s %.3g %s %g %s%s\n", f.name, best, f.unit, f.target, verdict, said)
	return nil
}
