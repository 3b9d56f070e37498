package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"falcon/common/conf"
	"falcon/common/run"
)

// Config is the configuration of a daemon: it embeds Base.
type Config interface {
	conf.Config
	Common() *Base
}

// Env is what Main hands to a daemon.
type Env[C any] struct {
	Log *slog.Logger
	// File is the path of the configuration file; empty when there is none.
	File string
	// Reload reads the configuration file again, over the defaults. An error
	// says what is wrong with it; the caller then keeps what it has.
	Reload func() (C, error)
	// Ready tells the service manager that the daemon takes work.
	Ready func()
}

// Once is what a daemon can do besides and then end: a flag of its own, stock's -check of
// the agent for one.
type Once[C any] struct {
	Flag, Usage string
	// Run has the configuration, and a log on standard error; what it returns is the exit
	// status.
	Run func(ctx context.Context, log *slog.Logger, cfg C, stdout io.Writer) int
}

// Main runs a daemon until SIGINT or SIGTERM and exits. run is its whole life: it
// returns soon after its context ends, when everything accepted is handed on; it
// has Base.Drain for that, and a second signal ends it at once.
//
// Without -c the file cfg.json is used when there is one, else the defaults.
func Main[C any, P interface {
	*C
	Config
}](name string, defaults C, run func(ctx context.Context, env Env[C], cfg C) error, besides ...Once[C]) {
	m := shell[C, P]{name: name, defaults: defaults, run: run, besides: besides, stdout: os.Stdout, stderr: os.Stderr}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from then on a signal has its default effect
	os.Exit(m.main(ctx, os.Args[1:]))
}

type shell[C any, P interface {
	*C
	Config
}] struct {
	name           string
	defaults       C
	run            func(context.Context, Env[C], C) error
	besides        []Once[C]
	stdout, stderr io.Writer
}

func (m *shell[C, P]) main(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("falcon-"+m.name, flag.ContinueOnError)
	flags.SetOutput(m.stderr)
	file := flags.String("c", "", "configuration `file` (default: cfg.json if there is one)")
	check := flags.Bool("t", false, "check the configuration, print it whole and exit")
	version := flags.Bool("v", false, "print the version and exit")
	asked := make([]*bool, len(m.besides))
	for i, o := range m.besides {
		asked[i] = flags.Bool(o.Flag, false, o.Usage)
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(m.stderr, "falcon-%s: unexpected argument %q; see -h\n", m.name, flags.Arg(0))
		return 2
	}
	if *version {
		fmt.Fprintln(m.stdout, Version())
		return 0
	}
	path, named := *file, *file != ""
	if !named {
		path = "cfg.json"
	}
	load := func() (C, []string, error) {
		cfg := m.defaults
		warnings, err := conf.Load(path, P(&cfg))
		if !named && errors.Is(err, fs.ErrNotExist) {
			return cfg, nil, P(&cfg).Validate()
		}
		return cfg, warnings, err
	}
	cfg, warnings, err := load()
	if err != nil {
		fmt.Fprintf(m.stderr, "falcon-%s: %v\n", m.name, err)
		return 2
	}
	for _, w := range warnings {
		if *check {
			fmt.Fprintf(m.stderr, "falcon-%s: warning: %s\n", m.name, w)
		}
	}
	if *check {
		enc := json.NewEncoder(m.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		_ = enc.Encode(cfg)
		return 0
	}

	for i, o := range m.besides {
		if *asked[i] {
			log, _ := NewLogger(LogConfig{}, false, m.stderr) // without a file it can not fail
			return o.Run(ctx, log.Logger, cfg, m.stdout)
		}
	}

	base := P(&cfg).Common()
	log, err := NewLogger(base.Log, base.Debug, m.stderr)
	if err != nil {
		fmt.Fprintf(m.stderr, "falcon-%s: %v\n", m.name, err)
		return 2
	}
	defer log.Close()
	for _, w := range warnings {
		log.Warn(w)
	}
	there := path
	if _, err := os.Stat(path); err != nil {
		there = "" // the defaults do
	}
	return m.supervise(ctx, cfg, base.Drain.D(), log, there, func() (C, error) {
		next, _, err := load()
		if err == nil {
			log.SetDebug(P(&next).Common().Debug)
		}
		return next, err
	})
}

// supervise runs the daemon and, once ctx has ended, gives it no longer than drain.
func (m *shell[C, P]) supervise(ctx context.Context, cfg C, drain time.Duration, log *Logger, file string, reload func() (C, error)) int {
	done := make(chan error, 1)
	env := Env[C]{Log: log.Logger, File: file, Reload: reload, Ready: func() { notify(log, systemd.SdNotifyReady) }}
	log.Info("starting", "daemon", m.name, "version", Version(), "pid", os.Getpid())
	go func() { done <- run.Recovered(func() error { return m.run(ctx, env, cfg) }) }()
	watchdog, stop := watchdogTicks()
	defer stop()
	for {
		select {
		case err := <-done:
			return ended(ctx, err, log)
		case <-watchdog:
			notify(log, systemd.SdNotifyWatchdog)
		case <-ctx.Done():
			log.Info("stopping", "drain", drain)
			notify(log, systemd.SdNotifyStopping)
			select {
			case err := <-done:
				return ended(ctx, err, log)
			case <-time.After(drain):
				log.Error("stopped before everything was handed on: the drain time is over", "drain", drain)
				return 1
			}
		}
	}
}

func ended(ctx context.Context, err error, log *Logger) int {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		log.Info("stopped while it started", "at", err) // as asked
		return 0
	}
	if err != nil {
		log.Error("stopped", "err", err)
		return 1
	}
	log.Info("stopped")
	return 0
}

// watchdogTicks ticks at half the interval within which systemd wants a sign of
// life, or never when it wants none.
func watchdogTicks() (<-chan time.Time, func()) {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(interval / 2)
	return t.C, t.Stop
}

// notify tells systemd; outside of it this does nothing.
func notify(log *Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Warn("service manager not told", "state", state, "err", err)
	}
}
