// Command falcon runs the whole fleet in one process and has the operator's tools.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/modules/fleet"
)

// A command is what the first argument names.
type command struct {
	name, args, help string
	run              func(ctx context.Context, c *cli, args []string) error
}

func commands() []command {
	return []command{
		{"up", "[--data DIR] [--listen ADDR] [--config FILE]", "run the whole fleet in this process", up},
		{"check", "[--data DIR] [--listen ADDR] [--config FILE]", "check the configuration, and say of each daemon whether it answers", check},
		{"config", "[--data DIR] [--listen ADDR] [--config FILE]", "print the configuration whole, with defaults", printConfig},
		{"passwd", "[--data DIR] [--config FILE] NAME", "give a user a new password, read from standard input or made up", passwd},
		{"load", "[--rate N] [--verify GRAPHS] [--watch PROGRAMS] …", "send points, and look whether they arrive; falcon load --help", runLoad},
		{"rules", "[--data DIR] [--config FILE] GROUP TEAM", "make the rules by which the daemons on the hosts of a group are watched", rules},
		{"version", "", "print the version", version},
	}
}

// errUsage is for arguments that can not be understood; what is wrong is printed
// already.
var errUsage = errors.New("usage")

type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(run(ctx, &cli{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

// run returns the exit code: 0, 1 after a failure, 2 when the arguments or the
// configuration are wrong.
func run(ctx context.Context, c *cli, args []string) int {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
		usage(c.stdout)
		return 0
	}
	if slices.Contains([]string{"-v", "--version"}, args[0]) {
		args[0] = "version"
	}
	all := commands()
	i := slices.IndexFunc(all, func(cmd command) bool { return cmd.name == args[0] })
	if i < 0 {
		fmt.Fprintf(c.stderr, "falcon: there is no command %q\n\n", args[0])
		usage(c.stderr)
		return 2
	}
	err := all[i].run(ctx, c, args[1:])
	var wrong configError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.As(err, &wrong):
		fmt.Fprintf(c.stderr, "falcon: the configuration can not work:\n%s\n", indent(wrong.Error()))
		return 2
	}
	fmt.Fprintf(c.stderr, "falcon: %s\n", indent(err.Error())[2:])
	return 1
}

func usage(w io.Writer) {
	fmt.Fprintf(w, "falcon %s: monitoring for a host or a hundred thousand\n\n", daemon.Version())
	for _, cmd := range commands() {
		fmt.Fprintf(w, "  falcon %s %s\n        %s\n", cmd.name, cmd.args, cmd.help)
	}
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

// configError is an error that the configuration causes.
type configError struct{ error }

// configured reads the flags that choose a configuration, and the configuration. rest are
// the arguments behind the flags.
func configured(c *cli, name string, args []string) (cfg fleet.Config, rest []string, err error) {
	flags := flag.NewFlagSet("falcon "+name, flag.ContinueOnError)
	flags.SetOutput(c.stderr)
	file := flags.String("config", "", "configuration `file` (default: none, everything on this machine)")
	data := flags.String("data", "", "data `folder` (default ./data)")
	listen := flags.String("listen", "", "`address` that daemons listen on (default 127.0.0.1; 0.0.0.0 opens them for other hosts)")
	if err := flags.Parse(args); err != nil {
		return cfg, nil, errUsage
	}
	cfg = fleet.DefaultConfig()
	if *file != "" {
		warnings, err := conf.Load(*file, &cfg)
		if err != nil {
			return cfg, nil, configError{err}
		}
		for _, w := range warnings {
			fmt.Fprintf(c.stderr, "falcon: warning: %s\n", w)
		}
	}
	if *data != "" {
		cfg.Data = *data
	}
	if *listen != "" {
		cfg.Listen = *listen
	}
	if err := cfg.Validate(); err != nil {
		return cfg, nil, configError{err}
	}
	return cfg, flags.Args(), nil
}

// noMore refuses arguments that a command does not take.
func noMore(c *cli, name string, rest []string) error {
	if len(rest) > 0 {
		fmt.Fprintf(c.stderr, "falcon %s: unexpected argument %q\n", name, rest[0])
		return errUsage
	}
	return nil
}

func version(_ context.Context, c *cli, args []string) error {
	if err := noMore(c, "version", args); err != nil {
		return err
	}
	line := "falcon " + daemon.Version()
	if rev := daemon.Revision(); rev != "" {
		line += ", build " + rev[:min(12, len(rev))]
	}
	fmt.Fprintln(c.stdout, line)
	return nil
}
