package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

const (
	beatHosts  = 4000
	beatPasses = 25 // of all hosts, measured
	beatGroups = 20
	// beatEvery paces the passes: hbs writes behind once a second, so a faster one would
	// find two heartbeats of a host in one write, which no real agent is so quick to send.
	beatEvery = 1100 * time.Millisecond
	// beatChanged is the one in so many reports that says something new.
	beatChanged = 200
)

// A beater is one agent: a connection, and what it was told last.
type beater struct {
	c        *rpc.Client
	report   model.AgentReportRequest
	checksum string
	plugins  int
}

// round is one heartbeat as an agent makes it: the report, the plugins, and what to
// collect on demand.
func (a *beater) round(ctx context.Context) error {
	var taken model.SimpleRpcResponse
	if err := a.c.Call(ctx, "Agent.ReportStatus", &a.report, &taken); err != nil || taken.Code != 0 {
		return errors.Join(err, fmt.Errorf("code %d", taken.Code))
	}
	ask := model.AgentHeartbeatRequest{Hostname: a.report.Hostname}
	var plugins model.AgentPluginsResponse
	if err := a.c.Call(ctx, "Agent.MinePlugins", &ask, &plugins); err != nil {
		return err
	}
	a.plugins = len(plugins.Plugins)
	ask.Checksum = a.checksum
	var builtin model.BuiltinMetricResponse
	if err := a.c.Call(ctx, "Agent.BuiltinMetrics", &ask, &builtin); err != nil {
		return err
	}
	a.checksum = builtin.Checksum
	return nil
}

// hbsHeartbeat is the CPU that hbs and its MariaDB take for a million heartbeats of
// agents. Half of them are stock's, in JSON-RPC, half are ours, in msgpack, each on a
// connection of its own; Redis keeps the times and is not in the figure, for stock
// keeps none.
func hbsHeartbeat(ctx context.Context, b *bench) (_ float64, _ string, err error) {
	at, rows, err := freshPortal(ctx)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	mysqld, err := beatPortal(ctx, rows)
	if err != nil {
		return 0, "", err
	}
	_, stop, err := privateRedis(ctx, b)
	if err != nil {
		return 0, "", err
	}
	defer stop()

	own, err := freeAddrs(2)
	if err != nil {
		return 0, "", err
	}
	p, err := b.daemon(ctx, "falcon-hbs", map[string]any{
		"listen": own[0], "http": listen(own[1]), "database": at, "redis": map[string]any{"addr": "unix:" + filepath.Join(b.dir, "redis.sock")},
		"liveness": map[string]any{"enabled": false},
	}, own[1])
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, p.kill()) }()

	agents := make([]*beater, beatHosts)
	for i := range agents {
		codec := rpc.JSON
		if i%2 == 1 {
			codec = rpc.Msgpack
		}
		agents[i] = &beater{
			c: rpc.NewClient(rpc.ClientOptions{Addr: own[0], Codec: codec, MaxConns: 1, CallTimeout: 30 * time.Second}),
			report: model.AgentReportRequest{
				Hostname: ruleHost(i + 1), IP: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), AgentVersion: "5.1.2", PluginVersion: "plugin not enabled",
			},
		}
		if i%2 == 1 {
			a := &agents[i].report
			a.MachineID, a.BootID, a.ConfigMd5 = model.Checksum(fmt.Sprint("machine", i)), model.Checksum(fmt.Sprint("boot", i)), model.Checksum("config")
			a.SelfUpgrade = model.SelfUpgradeOn
		}
		defer agents[i].c.Close()
	}
	// What is heard for the first time is written, whatever it says: that is before.
	changed := 0
	pass := func(n int) error {
		for i, a := range agents {
			if n > 0 && (i+n)%beatChanged == 0 {
				a.report.AgentVersion = fmt.Sprintf("5.1.%d", 2+n)
				changed++
			}
		}
		return beatAll(ctx, agents)
	}
	if err := errors.Join(pass(0), paced(beatEvery, func() error { return pass(0) })); err != nil {
		return 0, "", err
	}
	for i, a := range agents {
		if a.plugins != 1 || a.checksum == "" {
			return 0, "", fmt.Errorf("host %d is told %d plugins, checksum %q", i, a.plugins, a.checksum)
		}
	}

	before, err := cpuOf(mysqld)
	if err != nil {
		return 0, "", err
	}
	began := time.Now()
	hbs, err := p.measured(func() error {
		for n := range beatPasses {
			if err := paced(beatEvery, func() error { return pass(n + 1) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, "", err
	}
	after, err := cpuOf(mysqld)
	if err != nil {
		return 0, "", err
	}
	took := time.Since(began)
	// The last thing that each host said is in its row.
	var written int
	if err := rows.QueryRowContext(ctx, "SELECT COUNT(*) FROM host WHERE agent_version NOT IN ('', '5.1.2')").Scan(&written); err != nil {
		return 0, "", err
	}
	if want := changedHosts(agents); written != want {
		return 0, "", fmt.Errorf("%d hosts have a new version in the table, %d reported one", written, want)
	}
	million := float64(beatHosts*beatPasses) / 1e6
	return (hbs + after - before) / million, fmt.Sprintf("hbs %.1f, MariaDB %.1f; %d hosts x %d rounds in %.0f s, half of them stock's in JSON-RPC, %d reports that change a row; RSS of hbs %.0f MB",
		hbs/million, (after-before)/million, beatHosts, beatPasses, took.Seconds(), changed, p.rss()), nil
}

func changedHosts(agents []*beater) (n int) {
	for _, a := range agents {
		if a.report.AgentVersion != "5.1.2" {
			n++
		}
	}
	return n
}

// paced calls fn and returns no sooner than after d.
func paced(d time.Duration, fn func() error) error {
	began := time.Now()
	err := fn()
	time.Sleep(d - time.Since(began))
	return err
}

// beatAll makes a round of all agents, 64 at a time.
func beatAll(ctx context.Context, agents []*beater) error {
	const workers = 64
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(agents) && errs[w] == nil; i += workers {
				if err := agents[i].round(ctx); err != nil {
					errs[w] = fmt.Errorf("%s: %w", agents[i].report.Hostname, err)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// beatPortal fills the database: groups of hosts with a folder of plugins and a template
// that inherits another, whose strategies want metrics to be collected on demand. It
// returns the process of the server.
func beatPortal(ctx context.Context, db *sql.DB) (pid int, err error) {
	strategy := func(tpl, i int) string {
		return fmt.Sprintf("'net.port.listen', 'port=%d', 3, 2, 'all(#3)', '==', '0', 'a port is closed', %d", 1000*tpl+i, tpl)
	}
	err = errors.Join(
		insert(ctx, db, "host (id, hostname)", beatHosts, func(i int) string { return fmt.Sprintf("%d, '%s'", i+1, ruleHost(i+1)) }),
		insert(ctx, db, "grp (id, grp_name)", beatGroups, func(i int) string { return fmt.Sprintf("%d, 'group%d'", i+1, i+1) }),
		insert(ctx, db, "grp_host (grp_id, host_id)", beatHosts, func(i int) string { return fmt.Sprintf("%d, %d", i%beatGroups+1, i+1) }),
		insert(ctx, db, "plugin_dir (grp_id, dir)", beatGroups, func(i int) string { return fmt.Sprintf("%d, 'group%d/plugins'", i+1, i+1) }),
		insert(ctx, db, "tpl (id, tpl_name, parent_id, action_id, create_user)", beatGroups+1, func(i int) string {
			return fmt.Sprintf("%d, 'template%d', %d, 0, 'root'", i+1, i+1, min(i, 1))
		}),
		insert(ctx, db, "grp_tpl (grp_id, tpl_id)", beatGroups, func(i int) string { return fmt.Sprintf("%d, %d", i+1, i+2) }),
		insert(ctx, db, "strategy (metric, tags, max_step, priority, func, op, right_value, note, tpl_id)", 10+20*beatGroups, func(i int) string {
			if i < 10 {
				return strategy(1, i)
			}
			return strategy(2+(i-10)/20, i)
		}),
	)
	if err != nil {
		return 0, err
	}
	return serverPID(ctx, db)
}
