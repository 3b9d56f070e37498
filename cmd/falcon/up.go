package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"falcon/common/daemon"
	"falcon/modules/fleet"
)

// up runs the fleet until a signal comes.
func up(ctx context.Context, c *cli, args []string) error {
	cfg, rest, err := configured(c, "up", args)
	if err != nil {
		return err
	}
	if err := noMore(c, "up", rest); err != nil {
		return err
	}
	cfg = cfg.Wired()
	log, err := daemon.NewLogger(cfg.Log, cfg.Debug, c.stderr)
	if err != nil {
		return err
	}
	defer log.Close()
	log.Info("starting", "version", daemon.Version())
	f, err := fleet.New(cfg, fleet.Deps{Log: log.Logger, Started: func(s fleet.Started) { greet(c, cfg, s) }})
	if err != nil {
		return configError{err}
	}
	if err = f.Run(ctx); ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // it was asked to stop while it started
	}
	log.Info("stopped", "err", err)
	if err == nil {
		fmt.Fprintln(c.stdout, "stopped")
	}
	return err
}

// greet says what a person needs to go on.
func greet(c *cli, cfg fleet.Config, s fleet.Started) {
	line := func(name, value string) { fmt.Fprintf(c.stdout, "  %-9s %s\n", name, value) }
	fmt.Fprintf(c.stdout, "\nFalcon %s is up.\n\n", daemon.Version())
	line("page", s.URL)
	if s.Password != "" {
		line("login", "root / "+s.Password)
		line("", "shown this once; also in "+s.PasswordFile)
	} else {
		line("login", "root; forgotten? falcon passwd --data "+cfg.Data+" root")
	}
	line("data", s.Data)
	line("log", cfg.Log.File)
	if s.Push != "" {
		fmt.Fprintf(c.stdout, "\nPush a point, and see it under endpoint demo:\n\n  curl -s -X POST -d '"+
			`[{"endpoint":"demo","metric":"hello","timestamp":'$(date +%%s)',"step":60,"value":1,"counterType":"GAUGE","tags":"a=b"}]`+
			"' %s\n", s.Push)
	}
	if s.Join != "" {
		fmt.Fprintf(c.stdout, "\nMake another Linux host report here; on it:\n\n  %s\n", s.Join)
	}
	fmt.Fprintf(c.stdout, "\nCtrl-C stops it. %s\n", time.Now().Format(time.DateTime))
}

// printConfig prints the configuration with everything that follows from it.
func printConfig(_ context.Context, c *cli, args []string) error {
	cfg, rest, err := configured(c, "config", args)
	if err != nil {
		return err
	}
	if err := noMore(c, "config", rest); err != nil {
		return err
	}
	enc := json.NewEncoder(c.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(cfg.Wired())
}
