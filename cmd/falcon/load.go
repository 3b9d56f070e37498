package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"falcon/modules/load"
)

// runLoad sends points and says what became of them.
func runLoad(ctx context.Context, c *cli, args []string) error {
	cfg := load.DefaultConfig()
	flags := flag.NewFlagSet("falcon load", flag.ContinueOnError)
	flags.SetOutput(c.stderr)
	flags.StringVar(&cfg.To, "to", cfg.To, "`address` of a transfer (default 127.0.0.1:8433); with http the URL of a push page (default http://127.0.0.1:6060/api/push)")
	flags.StringVar(&cfg.Protocol, "protocol", cfg.Protocol, "how points are sent: "+strings.Join(load.Protocols, ", "))
	flags.IntVar(&cfg.Endpoints, "endpoints", cfg.Endpoints, "how many endpoints")
	flags.IntVar(&cfg.Metrics, "metrics", cfg.Metrics, "how many metrics each endpoint has")
	flags.Float64Var(&cfg.Counters, "counters", cfg.Counters, "share of the metrics that are COUNTER, 0 to 1; the others are GAUGE")
	flags.IntVar(&cfg.Step, "step", cfg.Step, "seconds between two points of a series; at least transfer's minStep")
	flags.StringVar(&cfg.Prefix, "prefix", cfg.Prefix, "of the names of endpoints; the same prefix sends the same values")
	flags.IntVar(&cfg.Rounds, "rounds", cfg.Rounds, "how many points each series gets")
	flags.Float64Var(&cfg.Speed, "speed", cfg.Speed, "how many times faster than the wall time passes")
	rate := flags.String("rate", "", "points a `second`, or max for as many as are acknowledged; takes the place of -speed")
	flags.IntVar(&cfg.Connections, "connections", cfg.Connections, "how many connections share the endpoints")
	flags.IntVar(&cfg.Batch, "batch", cfg.Batch, "points in a push")
	graphs := flags.String("verify", "", "ask these `graphs` for what was acknowledged: an address, or name=address,… as in transfer's graph.cluster")
	flags.IntVar(&cfg.Replicas, "replicas", cfg.Replicas, "of the ring of those graphs")
	flags.StringVar(&cfg.RingHash, "ring-hash", cfg.RingHash, "of that ring: crc32 or murmur3")
	flags.DurationVar(&cfg.Settle, "settle", cfg.Settle, "how long acknowledged points may take to arrive at the graphs")
	watch := flags.String("watch", "", "say what CPU and memory these processes take: `PIDs` or names of programs, with commas")
	asJSON := flags.Bool("json", false, "print the report as JSON")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	if err := noMore(c, "load", flags.Args()); err != nil {
		return err
	}
	switch {
	case *rate == "max":
		cfg.Flatout = true
	case *rate != "":
		v, err := strconv.ParseFloat(*rate, 64)
		if err != nil || !(v > 0) {
			return configError{fmt.Errorf("rate %q: points a second, or max", *rate)}
		}
		cfg.Rate = v
	}
	cfg.Watch = words(*watch)
	cfg.Graphs = map[string]string{}
	for i, word := range words(*graphs) {
		name, addr, ok := strings.Cut(word, "=")
		if !ok {
			name, addr = fmt.Sprintf("graph-%02d", i), word
			if len(words(*graphs)) > 1 {
				return configError{fmt.Errorf("verify %q: of several graphs each has its name on the ring: name=address", word)}
			}
		}
		cfg.Graphs[name] = addr
	}
	l, err := load.New(cfg, load.Deps{Log: slog.New(slog.NewTextHandler(c.stderr, nil))})
	if err != nil {
		return configError{err}
	}
	report, err := l.Run(ctx)
	if report != nil {
		if *asJSON {
			enc := json.NewEncoder(c.stdout)
			enc.SetIndent("", "  ")
			err = errors.Join(err, enc.Encode(report))
		} else {
			err = errors.Join(err, report.Write(c.stdout))
		}
	}
	return err
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}
