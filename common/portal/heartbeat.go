package portal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// HostReport is what an agent says of its host.
type HostReport struct {
	Hostname      string
	IP            string
	AgentVersion  string
	PluginVersion string
}

// SaveHosts writes what agents reported. A host that has no row gets one, and joins
// the group that join names (none when it is empty or does not exist); with only set
// unknown hosts are left out, for somebody else owns the table. It returns the hosts
// that are new. A host that an operator took out of the group stays out.
//
// Texts are cut to the width of their columns. An address that does not fit into
// ip, as most of IPv6, stands in ip_full alone.
func (db *DB) SaveHosts(ctx context.Context, reports []HostReport, join string, only bool) (added []string, err error) {
	reports = slices.Clone(reports)
	slices.SortFunc(reports, func(a, b HostReport) int { return strings.Compare(a.Hostname, b.Hostname) })
	for chunk := range slices.Chunk(reports, 100) {
		var made []string
		err := db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
			made = made[:0]
			for i := range chunk {
				isNew, err := db.saveHost(ctx, tx, &chunk[i], join, only)
				if err != nil {
					return fmt.Errorf("save host %q: %w", chunk[i].Hostname, err)
				}
				if isNew {
					made = append(made, chunk[i].Hostname)
				}
			}
			return nil
		})
		if err != nil {
			return added, err
		}
		added = append(added, made...)
	}
	return added, nil
}

func (db *DB) saveHost(ctx context.Context, tx *sqlx.Tx, r *HostReport, join string, only bool) (isNew bool, err error) {
	name, agent, plugin := clip(r.Hostname, 255), clip(r.AgentVersion, 16), clip(r.PluginVersion, 128)
	ip, full := clip(r.IP, 64), clip(r.IP, 64)
	if len(ip) > 16 {
		if _, err := netip.ParseAddr(ip); err == nil {
			ip = "" // half an address is none
		}
		ip = clip(ip, 16)
	}
	update := func() (int64, error) {
		res, err := tx.ExecContext(ctx, "UPDATE host SET ip = ?, ip_full = ?, agent_version = ?, plugin_version = ? WHERE hostname = ?", ip, full, agent, plugin, name)
		if err != nil {
			return 0, err
		}
		return res.RowsAffected()
	}
	if n, err := update(); err != nil || n > 0 || only {
		return false, err
	}
	res, err := tx.ExecContext(ctx, "INSERT INTO host (hostname, ip, ip_full, agent_version, plugin_version) VALUES (?, ?, ?, ?, ?)", name, ip, full, agent, plugin)
	if isDuplicate(err) {
		_, err = update() // another hbs was faster
		return false, err
	}
	if err != nil || join == "" {
		return err == nil, err
	}
	id, err := res.LastInsertId()
	if err != nil {
		return false, err
	}
	var group int64
	err = tx.GetContext(ctx, &group, "SELECT id FROM grp WHERE grp_name = ?", join)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO grp_host (grp_id, host_id) VALUES (?, ?)", group, id)
	}
	return err == nil, err
}
