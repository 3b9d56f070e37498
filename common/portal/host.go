package portal

import (
	"context"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Host is a row of host. Its JSON is stock's host object.
type Host struct {
	ID            int64  `db:"id" json:"id"`
	Hostname      string `db:"hostname" json:"hostname"`
	IP            string `db:"ip" json:"ip"` // the whole address, also where stock's column has no room for it
	AgentVersion  string `db:"agent_version" json:"agent_version"`
	PluginVersion string `db:"plugin_version" json:"plugin_version"`
	// A host is in maintenance from begin to end, both Unix seconds and included.
	MaintainBegin int64 `db:"maintain_begin" json:"maintain_begin"`
	MaintainEnd   int64 `db:"maintain_end" json:"maintain_end"`
}

const (
	hostColumns = "host.id, host.hostname, COALESCE(NULLIF(host.ip_full, ''), host.ip) AS ip, host.agent_version, host.plugin_version," +
		" host.maintain_begin, host.maintain_end"
	maxHostname = 255
)

// Host returns a host, or ErrNotFound.
func (db *DB) Host(ctx context.Context, id int64) (*Host, error) {
	var h Host
	if err := db.Portal.read.GetContext(ctx, &h, "SELECT "+hostColumns+" FROM host WHERE id = ?", id); err != nil {
		return nil, notFound(err)
	}
	return &h, nil
}

// HostByName returns a host, or ErrNotFound. Case matters: judges compare bytes.
func (db *DB) HostByName(ctx context.Context, name string) (*Host, error) {
	var h Host
	if err := db.Portal.read.GetContext(ctx, &h, "SELECT "+hostColumns+" FROM host WHERE hostname = ?", name); err != nil {
		return nil, notFound(err)
	}
	if h.Hostname != name {
		return nil, ErrNotFound
	}
	return &h, nil
}

// SearchHosts returns a page of the hosts whose name or address holds every one of
// words, without regard to case, ordered by name, and how many there are in all.
func (db *DB) SearchHosts(ctx context.Context, words []string, limit, offset int) (page []Host, total int, err error) {
	var where conditions
	for _, w := range words {
		w = strings.ToLower(w)
		where.add("(INSTR(LOWER(host.hostname), ?) > 0 OR INSTR(LOWER(host.ip), ?) > 0 OR INSTR(LOWER(host.ip_full), ?) > 0)", w, w, w)
	}
	page = []Host{}
	err = db.Portal.page(ctx, &page, &total, hostColumns, "host"+where.sql(), "host.hostname", where.args, limit, offset)
	return page, total, err
}

// SetMaintenance puts hosts into maintenance from begin to end, Unix seconds; both 0
// end it. Hosts are named by hostname or, when names is empty, by id. It returns how
// many there are.
func (db *DB) SetMaintenance(ctx context.Context, names []string, ids []int64, begin, end int64) (n int, err error) {
	const max = 1<<32 - 1 // of the columns
	for _, f := range []struct {
		name string
		at   int64
	}{{"maintain_begin", begin}, {"maintain_end", end}} {
		if f.at < 0 || f.at > max {
			return 0, invalidField(f.name, "%s %d is no Unix time in seconds", f.name, f.at)
		}
	}
	if begin > end {
		return 0, invalidField("maintain_end", "the maintenance would end at %d, before it begins at %d", end, begin)
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		n = 0
		set := func(column string, values []any) error {
			res, err := tx.ExecContext(ctx, "UPDATE host SET maintain_begin = ?, maintain_end = ? WHERE "+column+" IN ("+marks(len(values))+")",
				append([]any{begin, end}, values...)...)
			if err != nil {
				return err
			}
			some, err := res.RowsAffected()
			n += int(some)
			return err
		}
		if len(names) > 0 {
			for chunk := range slices.Chunk(slices.Sorted(slices.Values(names)), maxMarks) {
				if err := set("hostname", anys(chunk)); err != nil {
					return err
				}
			}
			return nil
		}
		for chunk := range slices.Chunk(slices.Sorted(slices.Values(ids)), maxMarks) {
			if err := set("id", anys(chunk)); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
