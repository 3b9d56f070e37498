package portal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// GroupHosts returns the hosts of a group, ordered by id.
func (db *DB) GroupHosts(ctx context.Context, group int64) ([]Host, error) {
	all := []Host{}
	err := db.Portal.read.SelectContext(ctx, &all,
		"SELECT "+hostColumns+" FROM host WHERE id IN (SELECT host_id FROM grp_host WHERE grp_id = ?) ORDER BY id", group)
	return all, err
}

// HostNamesOfGroups returns the names of the hosts of all groups whose names match, in
// order and each once, up to limit.
func (db *DB) HostNamesOfGroups(ctx context.Context, match []Pattern, limit int) ([]string, error) {
	var where conditions
	where.patterns("grp.grp_name", match)
	names := []string{}
	err := db.Portal.read.SelectContext(ctx, &names, db.Portal.limited(ctx, "SELECT DISTINCT host.hostname FROM grp JOIN grp_host ON grp_host.grp_id = grp.id"+
		" JOIN host ON host.id = grp_host.host_id"+where.sql()+" ORDER BY host.hostname LIMIT ?"), append(where.args, max(limit, 1))...)
	return names, err
}

// WorkingHosts returns the hosts of groups that are not in maintenance at the moment at,
// by the names of the groups as they are given and ordered by id. A group that has no
// such host, or is not there, has no entry.
func (db *DB) WorkingHosts(ctx context.Context, groups []string, at time.Time) (map[string][]RuleHost, error) {
	given := map[string][]string{} // spellings, by the folded name
	for _, g := range groups {
		if f := fold(g); !slices.Contains(given[f], g) {
			given[f] = append(given[f], g)
		}
	}
	hosts := map[string][]RuleHost{}
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(given)), maxMarks) {
		var rows []struct {
			Group string `db:"grp_name"`
			RuleHost
		}
		err := db.Portal.read.SelectContext(ctx, &rows, "SELECT DISTINCT grp.grp_name, host.id, host.hostname, host.maintain_begin, host.maintain_end"+
			" FROM grp JOIN grp_host ON grp_host.grp_id = grp.id JOIN host ON host.id = grp_host.host_id"+
			" WHERE grp.grp_name IN ("+marks(len(chunk))+") AND NOT (host.maintain_begin <= ? AND host.maintain_end >= ?) ORDER BY host.id",
			append(anys(chunk), at.Unix(), at.Unix())...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			for _, g := range given[fold(r.Group)] {
				hosts[g] = append(hosts[g], r.RuleHost)
			}
		}
	}
	return hosts, nil
}

// HostGroups returns the groups of a host, ordered by id.
func (db *DB) HostGroups(ctx context.Context, host int64) ([]Group, error) {
	all := []Group{}
	err := db.Portal.read.SelectContext(ctx, &all,
		"SELECT "+groupColumns+" FROM grp WHERE id IN (SELECT grp_id FROM grp_host WHERE host_id = ?) ORDER BY id", host)
	return all, err
}

// GroupsOfHosts returns the groups of hosts, by the host's id and ordered by name.
func (db *DB) GroupsOfHosts(ctx context.Context, hosts []int64) (map[int64][]Group, error) {
	groups := map[int64][]Group{}
	for chunk := range slices.Chunk(hosts, maxMarks) {
		var rows []struct {
			Host int64 `db:"host_id"`
			Group
		}
		err := db.Portal.read.SelectContext(ctx, &rows, "SELECT DISTINCT grp_host.host_id, "+groupColumns+
			" FROM grp_host JOIN grp ON grp.id = grp_host.grp_id WHERE grp_host.host_id IN ("+marks(len(chunk))+") ORDER BY grp.grp_name, grp.id", anys(chunk)...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			groups[r.Host] = append(groups[r.Host], r.Group)
		}
	}
	return groups, nil
}

// A BindMode says what SetGroupHosts does with the hosts it is given.
type BindMode string

const (
	BindAdd     BindMode = "add"
	BindRemove  BindMode = "remove"
	BindReplace BindMode = "replace" // the group has these and no others
)

// A HostChange is what SetGroupHosts did, or would do.
type HostChange struct {
	Added     []string // joined the group
	Removed   []string // left it
	Created   []string // of Added, those that had no row yet
	Unchanged int      // of the hosts given, those that were as wanted already
	Members   int      // of the group, afterwards
	IDs       []int64  // of the hosts given, in their order, without those that have no row
}

// SetGroupHosts changes which hosts are in a group, by name; a name that is new gets a
// row, but not to be removed. With dry nothing is written. ErrNotFound when there is
// no such group.
func (db *DB) SetGroupHosts(ctx context.Context, group int64, mode BindMode, names []string, dry bool) (c *HostChange, err error) {
	names, err = hostNames(names)
	if err != nil {
		return nil, err
	}
	if mode != BindAdd && mode != BindRemove && mode != BindReplace {
		return nil, invalidField("mode", "%q is unknown, use %q, %q or %q", mode, BindAdd, BindRemove, BindReplace)
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		c, err = rulesTx{ctx, tx, db.Portal.dialect}.setHosts(group, mode, names, dry)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// hostNames trims names, and leaves out those that are empty or there twice.
func hostNames(names []string) ([]string, error) {
	seen := map[string]bool{}
	out := make([]string, 0, len(names))
	for _, name := range names {
		name = strings.TrimSpace(name)
		if name == "" || seen[fold(name)] {
			continue
		}
		seen[fold(name)] = true
		if why := fits(name, maxHostname); why != "" {
			return nil, invalidField("hosts", "host name %q %s", clip(name, 80), why)
		}
		out = append(out, name)
	}
	return out, nil
}

// A rulesTx is a transaction over the rules.
type rulesTx struct {
	ctx context.Context
	*sqlx.Tx
	dialect dialect
}

type hostRef struct {
	ID   int64  `db:"id"`
	Name string `db:"hostname"`
}

func (tx rulesTx) setHosts(group int64, mode BindMode, names []string, dry bool) (*HostChange, error) {
	var id int64
	if err := tx.GetContext(tx.ctx, &id, "SELECT id FROM grp WHERE id = ?"+tx.dialect.forUpdate(), group); err != nil {
		return nil, notFound(err)
	}
	var members []hostRef
	if err := tx.SelectContext(tx.ctx, &members, "SELECT DISTINCT host.id, host.hostname FROM host JOIN grp_host ON grp_host.host_id = host.id"+
		" WHERE grp_host.grp_id = ? ORDER BY host.hostname", group); err != nil {
		return nil, err
	}
	in := make(map[int64]bool, len(members))
	for _, m := range members {
		in[m.ID] = true
	}
	known, err := tx.findHosts(names)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for _, name := range names {
		if _, ok := known[fold(name)]; !ok {
			unknown = append(unknown, name)
		}
	}
	made := map[string]hostRef{}
	if mode != BindRemove && !dry {
		if made, err = tx.createHosts(unknown); err != nil {
			return nil, err
		}
	}

	c := &HostChange{Added: []string{}, Removed: []string{}, Created: []string{}, IDs: []int64{}}
	given := make(map[int64]bool, len(names))
	var join, leave []int64
	for _, name := range names {
		h, ok := known[fold(name)]
		if !ok {
			if mode == BindRemove {
				c.Unchanged++ // it is in no group
				continue
			}
			c.Added, c.Created = append(c.Added, name), append(c.Created, name)
			if h, ok := made[fold(name)]; ok {
				if !in[h.ID] { // as far as the collation knows it by another spelling
					join = append(join, h.ID)
				}
				given[h.ID] = true
				c.IDs = append(c.IDs, h.ID)
			}
			continue
		}
		given[h.ID] = true
		c.IDs = append(c.IDs, h.ID)
		switch {
		case mode == BindRemove && in[h.ID]:
			c.Removed = append(c.Removed, h.Name)
			leave = append(leave, h.ID)
		case mode == BindRemove || in[h.ID]:
			c.Unchanged++
		default:
			c.Added = append(c.Added, h.Name)
			join = append(join, h.ID)
		}
	}
	if mode == BindReplace {
		for _, m := range members {
			if !given[m.ID] {
				c.Removed = append(c.Removed, m.Name)
				leave = append(leave, m.ID)
			}
		}
	}
	c.Members = len(members) + len(c.Added) - len(c.Removed)
	if dry {
		return c, nil
	}
	return c, tx.bind(group, join, leave)
}

// findHosts looks hosts up by name; the result is keyed by the folded name.
func (tx rulesTx) findHosts(names []string) (map[string]hostRef, error) {
	known := make(map[string]hostRef, len(names))
	for chunk := range slices.Chunk(names, maxMarks) {
		var rows []hostRef
		if err := tx.SelectContext(tx.ctx, &rows, "SELECT id, hostname FROM host WHERE hostname IN ("+marks(len(chunk))+")", anys(chunk)...); err != nil {
			return nil, err
		}
		for _, r := range rows {
			known[fold(r.Name)] = r
		}
	}
	return known, nil
}

// createHosts enters hosts that nobody has reported yet, many at a time, and returns
// them by their folded names.
func (tx rulesTx) createHosts(names []string) (map[string]hostRef, error) {
	for chunk := range slices.Chunk(names, maxMarks) {
		_, err := tx.ExecContext(tx.ctx, "INSERT INTO host (hostname) VALUES "+strings.Repeat("(?), ", len(chunk)-1)+"(?)", anys(chunk)...)
		if err == nil {
			continue
		}
		if !isDuplicate(err) {
			return nil, err
		}
		// An hbs was faster with one of them.
		for _, name := range chunk {
			if _, err := insert(tx.ctx, tx.Tx, "INSERT INTO host (hostname) VALUES (?)", name); err != nil && !errors.Is(err, ErrExists) {
				return nil, fmt.Errorf("host %q: %w", name, err)
			}
		}
	}
	made, err := tx.findHosts(names)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, ok := made[fold(name)]; ok {
			continue
		}
		// The collation knows the name by another spelling.
		var h hostRef
		if err := tx.GetContext(tx.ctx, &h, "SELECT id, hostname FROM host WHERE hostname = ?", name); err != nil {
			return nil, fmt.Errorf("host %q: %w", name, err)
		}
		made[fold(name)] = h
	}
	return made, nil
}

func (tx rulesTx) bind(group int64, join, leave []int64) error {
	for chunk := range slices.Chunk(leave, maxMarks) {
		if _, err := tx.ExecContext(tx.ctx, "DELETE FROM grp_host WHERE grp_id = ? AND host_id IN ("+marks(len(chunk))+")", append([]any{group}, anys(chunk)...)...); err != nil {
			return err
		}
	}
	slices.Sort(join)
	for chunk := range slices.Chunk(slices.Compact(join), maxMarks/2) {
		args := make([]any, 0, 2*len(chunk))
		for _, host := range chunk {
			args = append(args, group, host)
		}
		if _, err := tx.ExecContext(tx.ctx, "INSERT INTO grp_host (grp_id, host_id) VALUES "+strings.Repeat("(?, ?), ", len(chunk)-1)+"(?, ?)", args...); err != nil {
			return err
		}
	}
	return nil
}

// UnbindHost takes a host out of a group; ErrNotFound when it is not in it.
func (db *DB) UnbindHost(ctx context.Context, group, host int64) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM grp_host WHERE grp_id = ? AND host_id = ?", group, host)
		return one(res, err)
	})
}
