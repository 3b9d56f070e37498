package hbs

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/stat"
)

// Hosts keeps the table host; *portal.DB does.
type Hosts interface {
	SaveHosts(ctx context.Context, reports []portal.HostReport, join string, only bool) (added []string, err error)
	SaveHostAgents(ctx context.Context, agents []portal.HostAgent) error
	HostAgents(ctx context.Context, names []string) (map[string]portal.HostAgent, error)
}

// Beats keeps the times of heartbeats; see redis.go.
type Beats interface {
	SaveHeartbeats(ctx context.Context, beats map[string]int64) error
}

const (
	// saveEvery is how often heartbeats are written, all hosts in one go.
	saveEvery = time.Second
	// forgetAfter is for how long a silent host is remembered in memory.
	forgetAfter = 24 * time.Hour
)

// heartbeats takes what agents report and writes it behind: rows when something
// changed, times always.
type heartbeats struct {
	hosts Hosts
	beats Beats // nil without Redis
	join  string
	only  bool
	added func() // called when the table has new hosts
	log   *slog.Logger
	now   func() time.Time

	received, written, failed *stat.Counter

	mu    sync.Mutex
	known map[string]*beat
	rows  map[string]portal.HostReport // changed, not written yet
	times map[string]int64             // Unix seconds, not written yet

	agents map[string]portal.HostAgent // of table host_agent, changed, not written yet

	failing bool // touched by run only
}

type beat struct {
	report portal.HostReport
	agent  portal.HostAgent
	claims claims
	last   time.Time
}

// take notes a report.
func (h *heartbeats) take(req *model.AgentReportRequest) {
	now := h.now()
	r := portal.HostReport{Hostname: req.Hostname, IP: req.IP, AgentVersion: req.AgentVersion, PluginVersion: req.PluginVersion}
	h.received.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.known[r.Hostname]
	if b == nil {
		b = &beat{}
		h.known[r.Hostname] = b
	}
	if b.report != r {
		b.report = r
		h.rows[r.Hostname] = r
	}
	was := b.agent.AlsoClaimed
	a := portal.HostAgent{
		Hostname: req.Hostname, MachineID: req.MachineID, BootID: req.BootID, ConfigMd5: req.ConfigMd5, UpgradeError: req.UpgradeError,
		AlsoClaimed: b.claims.heard(req, now),
	}
	if b.agent != a && (b.agent.Hostname != "" || a != portal.HostAgent{Hostname: a.Hostname}) { // agents of stock have no row
		b.agent = a
		h.agents[r.Hostname] = a
	}
	if was == "" && a.AlsoClaimed != "" {
		h.log.Warn("two machines report under one name: give one of them another hostname", "endpoint", r.Hostname, "one", b.claims.all[0].String(), "other", a.AlsoClaimed)
	}
	b.last = now
	h.times[r.Hostname] = now.Unix()
}

// run writes until ctx ends, and then what is left.
func (h *heartbeats) run(ctx context.Context) error {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	look := time.NewTicker(claimLook)
	defer look.Stop()
	for {
		select {
		case <-tick.C:
			h.save(ctx)
		case <-look.C:
			h.compare(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			h.save(last)
			return nil
		}
	}
}

// save writes what has come since the last time. What can not be written waits for
// the next; a host takes one place, whatever it reports.
func (h *heartbeats) save(ctx context.Context) {
	h.mu.Lock()
	rows, times, agents := h.rows, h.times, h.agents
	h.rows, h.times, h.agents = map[string]portal.HostReport{}, map[string]int64{}, map[string]portal.HostAgent{}
	if now := h.now(); len(h.known) > 0 {
		maps.DeleteFunc(h.known, func(_ string, b *beat) bool { return now.Sub(b.last) > forgetAfter })
	}
	h.mu.Unlock()

	var err error
	if len(rows) > 0 {
		var added []string
		added, err = h.hosts.SaveHosts(ctx, slices.Collect(maps.Values(rows)), h.join, h.only)
		if len(added) > 0 {
			h.log.Info("hosts reported for the first time", "hosts", len(added), "first", added[0])
			h.added()
		}
		if err == nil {
			h.written.Add(len(rows))
		} else {
			h.failed.Add(1)
			h.mu.Lock()
			for name, r := range rows {
				if _, newer := h.rows[name]; !newer {
					h.rows[name] = r
				}
			}
			h.mu.Unlock()
		}
	}
	if len(agents) > 0 {
		if aerr := h.hosts.SaveHostAgents(ctx, slices.Collect(maps.Values(agents))); aerr != nil {
			h.failed.Add(1)
			err = aerr
			h.mu.Lock()
			for name, a := range agents {
				if _, newer := h.agents[name]; !newer {
					h.agents[name] = a
				}
			}
			h.mu.Unlock()
		}
	}
	if len(times) > 0 && h.beats != nil {
		if berr := h.beats.SaveHeartbeats(ctx, times); berr != nil {
			h.failed.Add(1)
			err = berr
			h.mu.Lock()
			for name, at := range times {
				if _, newer := h.times[name]; !newer {
					h.times[name] = at
				}
			}
			h.mu.Unlock()
		}
	}
	if failing := err != nil; failing != h.failing {
		h.failing = failing
		if failing {
			h.log.Error("heartbeats can not be written, they are tried again each second", "err", err)
		} else {
			h.log.Info("heartbeats are written again")
		}
	}
}

// names returns the hosts that have reported within the last day, sorted.
func (h *heartbeats) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := slices.AppendSeq(make([]string, 0, len(h.known)), maps.Keys(h.known))
	slices.Sort(names)
	return names
}

// compare looks whether another hbs has written another machine for a name that reports
// here. The next report of the host writes what comes of it.
func (h *heartbeats) compare(ctx context.Context) {
	h.mu.Lock()
	var names []string
	for name, b := range h.known {
		if b.agent.MachineID != "" || b.agent.BootID != "" {
			names = append(names, name)
		}
	}
	h.mu.Unlock()
	if len(names) == 0 {
		return
	}
	rows, err := h.hosts.HostAgents(ctx, names)
	if err != nil {
		if ctx.Err() == nil {
			h.log.Debug("it is not looked for machines with one name", "err", err)
		}
		return
	}
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, row := range rows {
		if b := h.known[name]; b != nil {
			b.claims.elsewhere(&row, now)
		}
	}
}

// versions returns the version of each agent that has reported within the last day.
func (h *heartbeats) versions() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[string]string, len(h.known))
	for name, b := range h.known {
		all[name] = b.report.AgentVersion
	}
	return all
}

// claimedTwice returns the names that two machines claim, each with the other one.
func (h *heartbeats) claimedTwice() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]string{}
	for name, b := range h.known {
		if b.agent.AlsoClaimed != "" {
			all[name] = b.agent.AlsoClaimed
		}
	}
	return all
}
