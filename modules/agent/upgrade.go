package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/modules/agent/collect"
	"falcon/modules/agent/upgrade"
)

// Upgrade says how this agent upgrades itself when hbs orders it and self_upgrade is on.
type Upgrade struct {
	// PublicKey is a minisign key, the last line of a .pub file: signatures are checked
	// with it. RequireSignature refuses files that nobody signed with it.
	PublicKey        string `json:"public_key"`
	RequireSignature bool   `json:"require_signature"`
	// Rate bounds a download, in KB a second; 0 does not.
	Rate int `json:"rate"`
	// MaxSize bounds a file, in MB, and Timeout a download and its checks.
	MaxSize int           `json:"max_size"`
	Timeout conf.Duration `json:"timeout"`
	// Backoff is for how long an order that failed is not taken again, then twice as long.
	Backoff conf.Duration `json:"backoff"`
	// HealthyWithin is how long a new agent may take until hbs takes a heartbeat of it;
	// then it ends, and falcon-agent-guard puts the old one back. The guard's own -within
	// is the same.
	HealthyWithin conf.Duration `json:"healthy_within"`
}

func defaultUpgrade() Upgrade {
	return Upgrade{
		MaxSize: 256, Timeout: conf.Duration(10 * time.Minute), Backoff: conf.Duration(time.Minute),
		HealthyWithin: conf.Duration(upgrade.DefaultTrial().Within),
	}
}

func (u *Upgrade) validate() error {
	var errs []error
	if u.PublicKey != "" {
		if _, err := upgrade.ParseKey(u.PublicKey); err != nil {
			errs = append(errs, fmt.Errorf("upgrade.public_key: %w", err))
		}
	}
	if u.RequireSignature && u.PublicKey == "" {
		errs = append(errs, errors.New("upgrade.require_signature: there is nothing to check signatures with, write upgrade.public_key"))
	}
	if u.Rate < 0 || u.MaxSize < 1 {
		errs = append(errs, errors.New("upgrade: rate can not be negative, and max_size is 1 MB at least"))
	}
	if u.Timeout.D() < time.Second || u.Backoff.D() < time.Second || u.HealthyWithin.D() < time.Second {
		errs = append(errs, errors.New("upgrade: timeout, backoff and healthy_within are a second at least"))
	}
	return errors.Join(errs...)
}

// machineID and bootID tell this machine from another one of its name; empty when the
// kernel does not say.
func machineID(root collect.Root) string { return firstLine(root.Path("etc/machine-id")) }

func bootID(root collect.Root) string {
	return firstLine(root.Path("proc/sys/kernel/random/boot_id"))
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	line = strings.TrimSpace(line)
	return line[:min(len(line), 64)]
}

// upgrader makes what does the upgrades.
func (a *Agent) upgrader() (*upgrade.Upgrader, error) {
	program, err := upgrade.Own()
	if err != nil {
		return nil, fmt.Errorf("where this program is: %w", err)
	}
	config := a.deps.File
	// The fork says where they are; it counts where they are there.
	if dir := a.cfg.AppBaseDir; dir != "" {
		for path, name := range map[*string]string{&program: "falcon-agent", &config: "cfg.json"} {
			if there := filepath.Join(dir, name); isFile(there) {
				*path = there
			}
		}
	}
	if config != "" {
		if config, err = filepath.Abs(config); err != nil {
			return nil, err
		}
	}
	c := &a.cfg.Upgrade
	o := upgrade.Options{
		Program: program, Config: config, Version: agentVersion(), RequireSignature: c.RequireSignature,
		Rate: int64(c.Rate) << 10, MaxSize: int64(c.MaxSize) << 20, Timeout: c.Timeout.D(), Backoff: c.Backoff.D(),
		Trial: upgrade.Trial{Starts: upgrade.DefaultTrial().Starts, Within: c.HealthyWithin.D()}, Log: a.log, Now: a.now,
		News: func() {
			select {
			case a.beatNow <- struct{}{}:
			default:
			}
		},
	}
	o.Unguarded = upgrade.Supervised() && !upgrade.Guarded(filepath.Dir(program), a.now())
	if c.PublicKey != "" {
		key, err := upgrade.ParseKey(c.PublicKey)
		if err != nil {
			return nil, err
		}
		o.Key = &key
	}
	return upgrade.New(o), nil
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// willNot says why this agent does not upgrade itself; empty when it does.
func (a *Agent) willNot() string {
	switch {
	case !a.alone:
		return "it is part of a larger process, falcon up"
	case !a.cfg.SelfUpgrade:
		return "self_upgrade is false"
	}
	return a.up.Unable()
}

// upgrades does what hbs orders, and ends the agent when it has to be started again.
func (a *Agent) upgrades(ctx context.Context) error {
	again, err := a.up.Run(ctx)
	if again {
		a.again.Store(true)
		a.leaving.Do(func() { close(a.left) })
		<-ctx.Done()
	}
	return err
}

// StartAgain takes the place of this process with the new program, after a Run that
// ended for an upgrade, where nobody else would start it; else it does nothing.
func (a *Agent) StartAgain() error {
	if !a.again.Load() || upgrade.Supervised() {
		return nil
	}
	return a.up.Again()
}

// about completes a heartbeat with what is ours.
func (a *Agent) about(req *model.AgentReportRequest) {
	req.MachineID, req.BootID = a.machine, a.boot
	if a.up == nil {
		req.SelfUpgrade = "it is part of a larger process, falcon up"
		return
	}
	req.ConfigMd5 = a.up.ConfigMD5()
	req.InUpgrading, req.UpgradeError = a.up.Report()
	if why := a.willNot(); why != "" {
		req.SelfUpgrade, req.InUpgrading = why, false
		return
	}
	req.SelfUpgrade = model.SelfUpgradeOn
}

// ordered does what the answer to a heartbeat says.
func (a *Agent) ordered(r *model.AgentUpgradeRpcResponse) {
	if a.up == nil {
		return
	}
	a.up.Healthy()
	if r.Args == nil {
		return
	}
	if why := a.willNot(); why != "" {
		if !a.declined {
			a.declined = true
			a.log.Warn("hbs orders an upgrade, and there will be none", "version", r.Args.Version, "reason", why)
		}
		return
	}
	a.up.Take(r.Args)
}

// pause waits for the next heartbeat; false when ctx has ended.
func (a *Agent) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-a.beatNow:
	case <-t.C:
	}
	return true
}
