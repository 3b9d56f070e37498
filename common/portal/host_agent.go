package portal

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// HostAgent is a row of host_agent: what an agent of ours reports beyond stock.
type HostAgent struct {
	Hostname     string `db:"hostname"`
	MachineID    string `db:"machine_id"`
	BootID       string `db:"boot_id"`
	ConfigMd5    string `db:"config_md5"`
	UpgradeError string `db:"upgrade_error"` // why the last upgrade came to nothing
	AlsoClaimed  string `db:"also_claimed"`  // another machine that reports under this name
}

// SaveHostAgents writes rows, cut to the width of their columns.
func (db *DB) SaveHostAgents(ctx context.Context, agents []HostAgent) error {
	agents = slices.Clone(agents)
	// In one order everywhere, so that two hbs do not wait for each other.
	slices.SortFunc(agents, func(a, b HostAgent) int { return strings.Compare(a.Hostname, b.Hostname) })
	for chunk := range slices.Chunk(agents, 100) {
		err := db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
			for _, a := range chunk {
				if err := saveHostAgent(ctx, tx, &a); err != nil {
					return fmt.Errorf("save the agent of host %q: %w", a.Hostname, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func saveHostAgent(ctx context.Context, tx *sqlx.Tx, a *HostAgent) error {
	name := clip(a.Hostname, 255)
	values := []any{clip(a.MachineID, 64), clip(a.BootID, 64), clip(a.ConfigMd5, 32), clip(a.UpgradeError, 1024), clip(a.AlsoClaimed, 255), name}
	update := func() (int64, error) {
		res, err := tx.ExecContext(ctx, "UPDATE host_agent SET machine_id = ?, boot_id = ?, config_md5 = ?, upgrade_error = ?, also_claimed = ? WHERE hostname = ?", values...)
		if err != nil {
			return 0, err
		}
		return res.RowsAffected()
	}
	if n, err := update(); err != nil || n > 0 {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO host_agent (machine_id, boot_id, config_md5, upgrade_error, also_claimed, hostname) VALUES (?, ?, ?, ?, ?, ?)", values...)
	if isDuplicate(err) { // it is there as it should be, or another hbs was faster
		_, err = update()
	}
	return err
}

// HostAgents returns the rows of hosts, by name; hosts without one are missing.
func (db *DB) HostAgents(ctx context.Context, names []string) (map[string]HostAgent, error) {
	all := map[string]HostAgent{}
	for chunk := range slices.Chunk(names, maxMarks) {
		var rows []HostAgent
		err := db.Portal.read.SelectContext(ctx, &rows,
			"SELECT hostname, machine_id, boot_id, config_md5, upgrade_error, also_claimed FROM host_agent WHERE hostname IN ("+marks(len(chunk))+")", anys(chunk)...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			all[r.Hostname] = r
		}
	}
	return all, nil
}

// ClaimedTwice returns the rows whose name another machine claims, too, by name.
func (db *DB) ClaimedTwice(ctx context.Context) ([]HostAgent, error) {
	rows := []HostAgent{}
	err := db.Portal.read.SelectContext(ctx, &rows,
		"SELECT hostname, machine_id, boot_id, config_md5, upgrade_error, also_claimed FROM host_agent WHERE also_claimed <> '' ORDER BY hostname LIMIT 1000")
	return rows, err
}

// AgentVersions counts the hosts by the version that their agent reported last.
func (db *DB) AgentVersions(ctx context.Context) (map[string]int, error) {
	var rows []struct {
		Version string `db:"agent_version"`
		N       int    `db:"n"`
	}
	if err := db.Portal.read.SelectContext(ctx, &rows, "SELECT agent_version, COUNT(*) AS n FROM host GROUP BY agent_version"); err != nil {
		return nil, err
	}
	all := map[string]int{}
	for _, r := range rows {
		all[r.Version] = r.N
	}
	return all, nil
}
