package hbs

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/modules/hbs/wave"
)

// Upgrade says how agents are upgraded (contract ingest 3.11).
type Upgrade struct {
	// Waves are the percentages of the fleet that get an upgrade one after the other,
	// unless the order has its own; [100] upgrades all at once.
	Waves []int `json:"waves"`
	// Soak is how long the hosts of a wave must be well before the next begins.
	Soak conf.Duration `json:"soak"`
	// Timeout is how long a host may take from the order to its report.
	Timeout conf.Duration `json:"timeout"`
	// MaxFailed is the percentage of failures above which an upgrade stops by itself.
	MaxFailed int `json:"max_failed"`
	// Tries is how often a host is ordered; it rests for Backoff after a failure, then for
	// twice as long.
	Tries   int           `json:"tries"`
	Backoff conf.Duration `json:"backoff"`
}

func defaultUpgrade() Upgrade {
	return Upgrade{
		Waves: []int{1, 10, 100}, Soak: conf.Duration(5 * time.Minute), Timeout: conf.Duration(15 * time.Minute), MaxFailed: 10,
		Tries: 3, Backoff: conf.Duration(10 * time.Minute),
	}
}

func (u *Upgrade) validate() error {
	errs := []error{}
	if err := wave.CheckLadder(u.Waves); err != nil {
		errs = append(errs, fmt.Errorf("upgrade.%w", err))
	}
	if u.Soak.D() < time.Second || u.Timeout.D() < time.Second || u.Backoff.D() < time.Second {
		errs = append(errs, errors.New("upgrade: soak, timeout and backoff are a second at least"))
	}
	if u.MaxFailed < 0 || u.MaxFailed > 100 || u.Tries < 1 {
		errs = append(errs, errors.New("upgrade: max_failed is a percentage, and tries 1 at least"))
	}
	return errors.Join(errs...)
}

const (
	// upgradeLook is how often each hbs looks what is ordered.
	upgradeLook = time.Second
	// upgradeSilent is how long a host may be silent after its upgrade.
	upgradeSilent = 150 * time.Second
	// upgradeIdle is how long nobody came before a step counts as full.
	upgradeIdle = 3 * time.Minute
	// upgradeCall bounds a question to Redis for a heartbeat.
	upgradeCall = 2 * time.Second
)

// An order is what stands in Redis.
type order struct {
	ID   string                 `json:"id"`
	Args model.AgentUpgradeArgs `json:"args"`
	At   int64                  `json:"at"` // Unix seconds
}

// upgrades orders agents to upgrade. All hbs share what is in Redis: one order, one set
// of places, one wave. Each heartbeat is answered from memory unless the host has news
// or it may be its turn.
type upgrades struct {
	pool   *redisx.Pool
	limit  redisx.UpgradeLimit
	policy wave.Policy
	unsafe bool // agents that are not ours are ordered, too
	log    *slog.Logger
	now    func() time.Time

	ordered *stat.Counter
	ended   *stat.Reasons

	current atomic.Pointer[standing] // nil while nothing is ordered

	mu   sync.Mutex
	id   string            // of the order that told is about
	lost string            // as standing has it
	told map[string]string // what was last written of a host by this hbs: state, and the reason of one that is left
}

// standing is an order and how far it is, as it was at the last look.
type standing struct {
	order
	wave wave.Wave
	lost string // how many hosts the leader has given up
}

func newUpgrades(cfg *Config, pool *redisx.Pool, s *stat.Set, log *slog.Logger, now func() time.Time) *upgrades {
	u := &upgrades{
		pool: pool, unsafe: !cfg.RefuseUnsafe, log: log, now: now, told: map[string]string{},
		limit: redisx.UpgradeLimit{Queue: cfg.UpgradeQueue, Expire: cfg.UpgradeExpire.D(), Tries: cfg.Upgrade.Tries, Backoff: cfg.Upgrade.Backoff.D()},
		policy: wave.Policy{
			Timeout: cfg.Upgrade.Timeout.D(), Soak: cfg.Upgrade.Soak.D(), Silent: min(upgradeSilent, cfg.Upgrade.Soak.D()/2), Idle: max(upgradeIdle, cfg.Upgrade.Soak.D()),
			MaxFailed: cfg.Upgrade.MaxFailed,
		},
	}
	u.ordered = s.Counter("upgrade.ordered", "upgrade_orders_total", "Orders to upgrade that were handed to agents.")
	u.ended = s.Reasons("upgrade.ended", "upgrade_ended_total", "Upgrades of agents that came to an end, by what became of them.")
	return u
}

// run follows what is ordered, and moves the wave while this hbs is the one that does.
func (u *upgrades) run(ctx context.Context) error {
	g := run.New(ctx)
	g.Go("follow", func(ctx context.Context) error {
		failing := false
		return run.Every(ctx, upgradeLook, func(ctx context.Context) {
			err := u.follow(ctx)
			if now := err != nil && ctx.Err() == nil; now != failing {
				failing = now
				if failing {
					u.log.Error("no agent is told to upgrade: redis can not be asked", "err", err)
				} else {
					u.log.Info("agents can be told to upgrade again")
				}
			}
		})
	})
	g.Go("lead", func(ctx context.Context) error {
		return u.pool.Lead(ctx, redisx.UpgradeLead, leadTTL, func(ctx context.Context) error {
			return run.Every(ctx, upgradeLook, func(ctx context.Context) {
				if err := u.advance(ctx); err != nil && ctx.Err() == nil {
					u.log.Warn("the upgrade of agents is not looked after", "err", err)
				}
			})
		})
	})
	return g.Wait()
}

// follow looks what is ordered. While Redis is away nobody is ordered.
func (u *upgrades) follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upgradeCall)
	defer cancel()
	s, err := u.read(ctx)
	if err != nil {
		u.current.Store(nil)
		return err
	}
	u.current.Store(s)
	if s != nil {
		u.mu.Lock()
		if u.id != s.ID {
			u.id, u.told = s.ID, map[string]string{}
		}
		// A host that was given up in silence and reports again is news.
		if u.lost != s.lost {
			u.lost = s.lost
			maps.DeleteFunc(u.told, func(_, what string) bool { return what == wave.Done })
		}
		u.mu.Unlock()
	}
	return nil
}

// read returns what is ordered; nil for nothing.
func (u *upgrades) read(ctx context.Context) (*standing, error) {
	b, m, err := u.pool.Upgrade(ctx)
	if errors.Is(err, redisx.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &standing{}
	if err := json.Unmarshal(b, &s.order); err != nil {
		return nil, fmt.Errorf("%s: %w", redisx.UpgradeArgs, err)
	}
	if m["id"] != s.ID { // between the two writes of a new order
		return nil, nil
	}
	s.lost = m["lost"]
	if s.wave, err = wave.Parse(m); err != nil {
		return nil, fmt.Errorf("%s: %w", redisx.UpgradeWave, err)
	}
	return s, nil
}

// hasIt says whether an agent reports what is ordered.
func hasIt(a *model.AgentUpgradeArgs, r *model.AgentReportRequest) bool {
	if a.HasBinary() && r.AgentVersion != a.Version {
		return false
	}
	if a.HasConfig() && r.SelfUpgrade != "" && !strings.EqualFold(r.ConfigMd5, a.CfgFileMd5) {
		return false
	}
	return a.HasBinary() || r.SelfUpgrade != ""
}

// leftOut says why an agent is not told; empty when it is.
func (u *upgrades) leftOut(a *model.AgentUpgradeArgs, r *model.AgentReportRequest) string {
	switch {
	case !a.HasBinary() && !a.HasConfig():
		return fmt.Sprintf("nobody knows upgrades of type %d", a.Type)
	case r.SelfUpgrade == model.SelfUpgradeOn:
		return ""
	case r.SelfUpgrade != "":
		return r.SelfUpgrade
	case !u.unsafe:
		return "it is no agent of ours, and refuse_unsafe is on"
	case a.Type == model.UpgradeConfig:
		return "it does not report its configuration, so that it would be told for ever"
	}
	return ""
}

// quick says whether a heartbeat is answered without a question to Redis.
func (u *upgrades) quick(r *model.AgentReportRequest) bool {
	if u == nil {
		return true
	}
	s := u.current.Load()
	if s == nil {
		return true
	}
	u.mu.Lock()
	told := u.told[r.Hostname]
	u.mu.Unlock()
	if hasIt(&s.Args, r) {
		return told == wave.Done
	}
	if why := u.leftOut(&s.Args, r); why != "" {
		return told == wave.Left+why
	}
	if r.InUpgrading || r.UpgradeError != "" && under(told) {
		return false
	}
	return s.wave.State != wave.Running || told == "" && s.wave.Ordered >= s.wave.Limit && r.UpgradeError == ""
}

// heard answers a heartbeat: the order when it is this host's turn, else nil.
func (u *upgrades) heard(ctx context.Context, r *model.AgentReportRequest) *model.AgentUpgradeArgs {
	if u.quick(r) {
		return nil
	}
	s := u.current.Load()
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, upgradeCall)
	defer cancel()
	note := func(state, text, told string) {
		news, err := u.pool.NoteUpgrade(ctx, s.ID, r.Hostname, state, text, u.limit.Expire, u.now())
		if err != nil {
			u.log.Debug("what became of a host is not noted", "host", r.Hostname, "state", state, "err", err)
			return
		}
		u.tell(s.ID, r.Hostname, told)
		if news && (state == wave.Done || state == wave.Failed) {
			u.ended.Add(state, 1)
			u.log.Info("an agent has ended its upgrade", "host", r.Hostname, "version", s.Args.Version, "state", state, "reason", text)
		}
	}
	u.mu.Lock()
	told := u.told[r.Hostname]
	u.mu.Unlock()
	switch why := u.leftOut(&s.Args, r); {
	case hasIt(&s.Args, r):
		note(wave.Done, "", wave.Done)
		return nil
	case why != "":
		note(wave.Left, why, wave.Left+why)
		return nil
	case r.InUpgrading:
		note(wave.Upgrading, "", wave.Ordered)
		return nil
	case r.UpgradeError != "" && under(told):
		note(wave.Failed, clipText(r.UpgradeError), wave.Failed)
		return nil
	case s.wave.State != wave.Running:
		return nil
	}
	said, err := u.pool.TakeUpgrade(ctx, s.ID, r.Hostname, u.limit, u.now())
	if err != nil {
		u.log.Debug("a host is not told to upgrade", "host", r.Hostname, "err", err)
		return nil
	}
	if said != redisx.UpgradeGo {
		if said == redisx.UpgradeHas { // another hbs may have told it
			u.tell(s.ID, r.Hostname, wave.Ordered)
		}
		return nil
	}
	u.tell(s.ID, r.Hostname, wave.Ordered)
	u.ordered.Add(1)
	args := s.Args
	args.Waves = nil
	return &args
}

// under says whether what went wrong at a host is about this order: it was told, or had
// come to the version and was rolled back.
func under(told string) bool { return told == wave.Ordered || told == wave.Done }

// tell remembers what is known of a host.
func (u *upgrades) tell(id, host, what string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.id == id {
		u.told[host] = what
	}
}

// clipText keeps what fits a line of the page.
func clipText(s string) string {
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}

// advance moves the wave, for all hbs.
func (u *upgrades) advance(ctx context.Context) error {
	s, err := u.read(ctx)
	if err != nil || s == nil {
		return err
	}
	hosts, seen, err := u.hosts(ctx)
	if err != nil {
		return err
	}
	next, lost := wave.Next(s.wave, hosts, seen, u.policy, u.now())
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		h := lost[name]
		if _, err := u.pool.NoteUpgrade(ctx, s.ID, name, h.State, h.Text, u.limit.Expire, u.now()); err != nil {
			return err
		}
		u.ended.Add(h.State, 1)
	}
	if len(lost) > 0 {
		if _, err := u.pool.Do(ctx, "HINCRBY", redisx.UpgradeWave, "lost", len(lost)); err != nil {
			return err
		}
	}
	if next.State == s.wave.State && next.Step == s.wave.Step && next.Limit == s.wave.Limit && next.Fleet == s.wave.Fleet {
		return nil
	}
	ok, err := u.pool.ChangeWave(ctx, s.ID, s.wave.Rev, next.Fields())
	if err != nil || !ok {
		return err // somebody said stop or go; the next look sees it
	}
	switch {
	case next.State != s.wave.State:
		u.log.Warn("the upgrade of agents stops", "version", s.Args.Version, "reason", next.Reason)
	case next.Step != s.wave.Step:
		u.log.Info("the upgrade of agents goes on", "version", s.Args.Version, "percent", next.Ladder[next.Step])
	}
	return nil
}

// hosts reads what became of the hosts, and when which was heard of.
func (u *upgrades) hosts(ctx context.Context) (map[string]wave.Host, map[string]int64, error) {
	all, err := u.pool.UpgradeHostsOf(ctx)
	if err != nil {
		return nil, nil, err
	}
	hosts := make(map[string]wave.Host, len(all))
	for name, h := range all {
		hosts[name] = wave.Host{State: h.State, At: h.At, Text: h.Text}
	}
	seen, err := redisx.Int64Map(u.pool.Do(ctx, "HGETALL", redisx.Heartbeats))
	return hosts, seen, err
}

// begin puts an order in force.
func (u *upgrades) begin(ctx context.Context, args model.AgentUpgradeArgs, ladder []int) error {
	seen, err := redisx.Int64Map(u.pool.Do(ctx, "HGETALL", redisx.Heartbeats))
	if err != nil {
		return err
	}
	now := u.now()
	o := order{ID: rand.Text(), Args: args, At: now.Unix()}
	w, _ := wave.Next(wave.Begin(o.ID, ladder, 0, now), nil, seen, u.policy, now)
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	fields := w.Fields()
	fields["rev"] = w.Rev
	if err := u.pool.BeginUpgrade(ctx, string(b), fields); err != nil {
		return err
	}
	return u.follow(ctx)
}

// cancel forgets the order.
func (u *upgrades) cancel(ctx context.Context) error {
	u.current.Store(nil)
	if err := u.pool.CancelUpgrade(ctx); err != nil {
		return err
	}
	return u.follow(ctx)
}

// errNothing says that there is nothing to stop or go on with.
var errNothing = errors.New("no upgrade is ordered")

// change stops the wave or lets it go on.
func (u *upgrades) change(ctx context.Context, change func(wave.Wave) wave.Wave) error {
	for range 10 {
		s, err := u.read(ctx)
		if err != nil {
			return err
		}
		if s == nil {
			return errNothing
		}
		ok, err := u.pool.ChangeWave(ctx, s.ID, s.wave.Rev, change(s.wave).Fields())
		if err != nil {
			return err
		}
		if ok {
			return u.follow(ctx)
		}
	}
	return errors.New("others change the upgrade all the time, try again")
}

// resume lets hosts that failed be told again, and the wave go on.
func (u *upgrades) resume(ctx context.Context) error {
	s, err := u.read(ctx)
	if err != nil {
		return err
	}
	if s == nil {
		return errNothing
	}
	if _, err := u.pool.RetryUpgrades(ctx, s.ID); err != nil {
		return err
	}
	u.mu.Lock()
	maps.DeleteFunc(u.told, func(_, what string) bool { return what == wave.Failed })
	u.mu.Unlock()
	return u.change(ctx, func(w wave.Wave) wave.Wave { return wave.Go(w, u.now()) })
}

// An UpgradeStatus is how far an upgrade is, as GET /agent/upgrade/status has it.
type UpgradeStatus struct {
	State   string                  `json:"state"` // running, stopped, or none
	Reason  string                  `json:"reason,omitempty"`
	Args    *model.AgentUpgradeArgs `json:"args,omitempty"`
	Ordered int64                   `json:"ordered_at,omitempty"` // Unix seconds
	Waves   []int                   `json:"waves,omitempty"`      // percentages
	Wave    int                     `json:"wave"`                 // index in Waves
	Fleet   int                     `json:"fleet"`                // hosts that report and can be upgraded
	Places  int                     `json:"places"`               // hosts that may upgrade at the same time
	Taken   int64                   `json:"taken"`                // of those
	Counts  wave.Counts             `json:"counts"`
	// Hosts are those under way, failed or left out, by name; at most maxStatusHosts.
	Hosts []UpgradeHost `json:"hosts"`
	More  int           `json:"more,omitempty"` // hosts beyond those
}

// An UpgradeHost is a host of an UpgradeStatus.
type UpgradeHost struct {
	Hostname string `json:"hostname"`
	State    string `json:"state"`
	At       int64  `json:"at"`    // Unix seconds
	Tries    int    `json:"tries"` // orders
	Reason   string `json:"reason,omitempty"`
}

const maxStatusHosts = 1000

// status says how far the upgrade is.
func (u *upgrades) status(ctx context.Context) (*UpgradeStatus, error) {
	st := &UpgradeStatus{State: "none", Hosts: []UpgradeHost{}, Places: u.limit.Queue}
	s, err := u.read(ctx)
	if err != nil || s == nil {
		return st, err
	}
	all, err := u.pool.UpgradeHostsOf(ctx)
	if err != nil {
		return nil, err
	}
	if st.Taken, err = redisx.Int64(u.pool.Do(ctx, "SCARD", redisx.UpgradeSet)); err != nil {
		return nil, err
	}
	hosts := map[string]wave.Host{}
	for name, h := range all {
		hosts[name] = wave.Host{State: h.State, At: h.At, Text: h.Text}
		if h.State != wave.Done {
			st.Hosts = append(st.Hosts, UpgradeHost{name, h.State, h.At, h.Tries, h.Text})
		}
	}
	rank := map[string]int{wave.Failed: 0, wave.Left: 1, wave.Upgrading: 2}
	of := func(state string) int {
		if n, ok := rank[state]; ok {
			return n
		}
		return len(rank)
	}
	slices.SortFunc(st.Hosts, func(a, b UpgradeHost) int {
		return cmp.Or(cmp.Compare(of(a.State), of(b.State)), strings.Compare(a.Hostname, b.Hostname))
	})
	if n := len(st.Hosts) - maxStatusHosts; n > 0 {
		st.Hosts, st.More = st.Hosts[:maxStatusHosts], n
	}
	args := s.Args
	st.State, st.Reason, st.Args, st.Ordered = s.wave.State, s.wave.Reason, &args, s.At
	st.Waves, st.Wave, st.Fleet, st.Counts = s.wave.Ladder, s.wave.Step, s.wave.Fleet, wave.Count(s.wave.Fleet, hosts)
	return st, nil
}
