package portal

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"
)

// MaxUnion is how many strategies a combination may have: their ids fit into the fork's
// column.
const MaxUnion = 20

// Union is a combination: strategies of one template that make one alarm when all of them
// hold on one host. What says so stands in the strategies twice, in our form (is_multi,
// multi_serial, multi_count) and in the fork's (union_strategy_id and the row of
// union_strategy); both are always written together.
type Union struct {
	ID         int64   `json:"id"`
	Name       string  `json:"name"`
	CreateUser string  `json:"create_user"`
	Template   int64   `json:"tpl_id"`
	Strategies []int64 `json:"strategy_ids"` // ascending; of those that are there
	// Serial is what the events of the combination are known by.
	Serial string `json:"serial"`
	// Count is how many conditions have to hold. When it is more than there are strategies
	// the combination can not alarm.
	Count int `json:"count"`
}

// UnionSerial names a combination by its members: the MD5 of the ids in ascending order,
// with commas between.
func UnionSerial(strategies []int64) string {
	sum := md5.Sum([]byte(joinIDs(strategies)))
	return hex.EncodeToString(sum[:])
}

func joinIDs(ids []int64) string {
	ids = slices.Sorted(slices.Values(ids))
	text := make([]string, len(ids))
	for i, id := range ids {
		text[i] = strconv.FormatInt(id, 10)
	}
	return strings.Join(text, ",")
}

// unionMember is what a strategy knows of its combination.
type unionMember struct {
	ID       int64  `db:"id"`
	Template int64  `db:"tpl_id"`
	Union    int64  `db:"union_strategy_id"`
	Multi    int    `db:"is_multi"`
	Serial   string `db:"multi_serial"`
	Count    int    `db:"multi_count"`
}

const (
	unionColumns = "id, tpl_id, union_strategy_id, is_multi, multi_serial, multi_count"
	unionWhere   = "(union_strategy_id > 0 OR is_multi <> 0)"
)

// Unions returns the combinations of templates, ordered by the smallest strategy of each.
// A combination that has only our form, written by another program, has the id 0.
func (db *DB) Unions(ctx context.Context, templates ...int64) ([]Union, error) {
	var members []unionMember
	for chunk := range slices.Chunk(templates, maxMarks) {
		var rows []unionMember
		err := db.Portal.read.SelectContext(ctx, &rows,
			"SELECT "+unionColumns+" FROM strategy WHERE "+unionWhere+" AND tpl_id IN ("+marks(len(chunk))+") ORDER BY id", anys(chunk)...)
		if err != nil {
			return nil, err
		}
		members = append(members, rows...)
	}
	all, err := unionsOf(ctx, db.Portal.read, members)
	if all == nil {
		all = []Union{}
	}
	return all, err
}

// Union returns a combination, or ErrNotFound.
func (db *DB) Union(ctx context.Context, id int64) (*Union, error) {
	var members []unionMember
	err := db.Portal.read.SelectContext(ctx, &members, "SELECT "+unionColumns+" FROM strategy WHERE union_strategy_id = ? ORDER BY id", id)
	if err != nil {
		return nil, err
	}
	all, err := unionsOf(ctx, db.Portal.read, members)
	if err != nil {
		return nil, err
	}
	if id <= 0 || len(all) == 0 {
		return nil, ErrNotFound
	}
	return &all[0], nil
}

// unionsOf puts members together; what a row of union_strategy lacks is empty.
func unionsOf(ctx context.Context, q sqlx.QueryerContext, members []unionMember) (all []Union, err error) {
	at := map[string]int{}
	for _, m := range members {
		key := m.Serial
		if m.Multi == 0 || key == "" {
			key = "u_" + strconv.FormatInt(m.Union, 10)
		}
		i, ok := at[key]
		if !ok {
			i = len(all)
			at[key] = i
			all = append(all, Union{ID: m.Union, Template: m.Template, Serial: key, Strategies: []int64{}})
		}
		all[i].Strategies = append(all[i].Strategies, m.ID)
		if m.Multi != 0 {
			all[i].Count = max(all[i].Count, m.Count)
		}
	}
	var ids []int64
	for i, u := range all {
		if strings.HasPrefix(u.Serial, "u_") {
			all[i].Count = len(u.Strategies)
		}
		all[i].Count = max(all[i].Count, 2)
		if u.ID > 0 {
			ids = append(ids, u.ID)
		}
	}
	slices.SortFunc(all, func(a, b Union) int { return cmp.Compare(a.Strategies[0], b.Strategies[0]) })
	for chunk := range slices.Chunk(ids, maxMarks) {
		var rows []struct {
			ID         int64  `db:"id"`
			Name       string `db:"name"`
			CreateUser string `db:"create_user"`
		}
		err := sqlx.SelectContext(ctx, q, &rows, "SELECT id, name, create_user FROM union_strategy WHERE id IN ("+marks(len(chunk))+")", anys(chunk)...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			for i := range all {
				if all[i].ID == r.ID {
					all[i].Name, all[i].CreateUser = r.Name, r.CreateUser
				}
			}
		}
	}
	return all, nil
}

// SaveUnion makes a combination of strategies of one template, or with u.ID gives one
// other members and another name. It returns the combination as it is then. ErrNotFound
// says that there is no such combination, an *InvalidError that the strategies can not be
// one: fewer than two or too many, of several templates, or in another one.
func (db *DB) SaveUnion(ctx context.Context, u Union) (*Union, error) {
	ids := slices.Compact(slices.Sorted(slices.Values(u.Strategies)))
	if len(ids) < 2 || len(ids) > MaxUnion {
		return nil, invalidField("strategy_ids", "a combination has 2 to %d strategies, these are %d", MaxUnion, len(ids))
	}
	if err := fitAll(fit{"name", u.Name, 255}); err != nil {
		return nil, err
	}
	var saved int64
	err := db.Portal.Tx(ctx, func(tx *sqlx.Tx) (err error) {
		saved, err = saveUnion(ctx, tx, db.Portal.dialect.forUpdate(), u, ids)
		return err
	})
	if err != nil {
		return nil, err
	}
	return db.Union(ctx, saved)
}

func saveUnion(ctx context.Context, tx *sqlx.Tx, lock string, u Union, ids []int64) (int64, error) {
	if u.ID > 0 {
		var there []int64
		if err := tx.SelectContext(ctx, &there, "SELECT id FROM strategy WHERE union_strategy_id = ? ORDER BY id"+lock, u.ID); err != nil {
			return 0, err
		}
		if len(there) == 0 {
			return 0, ErrNotFound
		}
	}
	var members []unionMember
	if err := tx.SelectContext(ctx, &members, "SELECT "+unionColumns+" FROM strategy WHERE id IN ("+marks(len(ids))+") ORDER BY id"+lock, anys(ids)...); err != nil {
		return 0, err
	}
	foreign := "" // the serial of a combination that another program wrote in our form alone
	for _, id := range ids {
		i := slices.IndexFunc(members, func(m unionMember) bool { return m.ID == id })
		if i < 0 {
			return 0, invalidField("strategy_ids", "there is no strategy with id %d", id)
		}
		m := members[i]
		if m.Union == 0 && m.Multi != 0 && u.ID == 0 && (foreign == "" || foreign == m.Serial) {
			foreign = m.Serial
			m.Multi = 0 // it is taken over
		}
		switch {
		case m.Template != members[0].Template:
			return 0, invalidField("strategy_ids", "strategies %d and %d are of different templates: a combination tells the people of one", members[0].ID, id)
		case (m.Union > 0 || m.Multi != 0) && (u.ID == 0 || m.Union != u.ID):
			return 0, invalidField("strategy_ids", "strategy %d is a condition of another combination already", id)
		}
	}
	if foreign != "" {
		_, err := tx.ExecContext(ctx, "UPDATE strategy SET is_multi = 0, multi_serial = '', multi_count = 0 WHERE union_strategy_id = 0 AND multi_serial = ?", foreign)
		if err != nil {
			return 0, err
		}
	}
	list, id := joinIDs(ids), u.ID
	if id > 0 {
		if err := freeMembers(ctx, tx, id); err != nil {
			return 0, err
		}
		res, err := tx.ExecContext(ctx, "UPDATE union_strategy SET strategy_ids = ?, name = ? WHERE id = ?", list, u.Name, id)
		if err = one(res, err); errors.Is(err, ErrNotFound) { // its row was lost
			_, err = tx.ExecContext(ctx, "INSERT INTO union_strategy (id, strategy_ids, name, create_user) VALUES (?, ?, ?, ?)", id, list, u.Name, clip(u.CreateUser, 64))
		}
		if err != nil {
			return 0, err
		}
	} else {
		var err error
		id, err = insert(ctx, tx, "INSERT INTO union_strategy (strategy_ids, name, create_user) VALUES (?, ?, ?)", list, u.Name, clip(u.CreateUser, 64))
		if err != nil {
			return 0, err
		}
	}
	return id, writeMembers(ctx, tx, id, ids, len(ids))
}

// freeMembers makes rules of their own of the members of a combination.
func freeMembers(ctx context.Context, tx *sqlx.Tx, union int64) error {
	_, err := tx.ExecContext(ctx, "UPDATE strategy SET union_strategy_id = 0, is_multi = 0, multi_serial = '', multi_count = 0 WHERE union_strategy_id = ?", union)
	return err
}

// writeMembers makes strategies the members of a combination, in both forms.
func writeMembers(ctx context.Context, tx *sqlx.Tx, union int64, ids []int64, count int) error {
	_, err := tx.ExecContext(ctx, "UPDATE strategy SET union_strategy_id = ?, is_multi = 1, multi_serial = ?, multi_count = ? WHERE id IN ("+marks(len(ids))+")",
		append([]any{union, UnionSerial(ids), count}, anys(ids)...)...)
	return err
}

// DissolveUnion makes rules of their own of the members of a combination; ErrNotFound
// when there is none.
func (db *DB) DissolveUnion(ctx context.Context, id int64) error {
	if id <= 0 {
		return ErrNotFound
	}
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM union_strategy WHERE id = ?", id)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		var members []int64
		if err := tx.SelectContext(ctx, &members, "SELECT id FROM strategy WHERE union_strategy_id = ?", id); err != nil {
			return err
		}
		if n == 0 && len(members) == 0 {
			return ErrNotFound
		}
		return freeMembers(ctx, tx, id)
	})
}

// leaveUnion takes a strategy that is about to go out of its combination. Those that stay
// are one as long as there are two; a single one can not alarm any more, and is left
// marked so that a person decides what it is to be.
func leaveUnion(ctx context.Context, tx *sqlx.Tx, strategy int64) error {
	var m unionMember
	if err := tx.GetContext(ctx, &m, "SELECT "+unionColumns+" FROM strategy WHERE id = ?", strategy); err != nil {
		return notFound(err)
	}
	if m.Union <= 0 {
		return nil
	}
	var rest []int64
	if err := tx.SelectContext(ctx, &rest, "SELECT id FROM strategy WHERE union_strategy_id = ? AND id <> ? ORDER BY id", m.Union, strategy); err != nil {
		return err
	}
	if len(rest) == 0 {
		_, err := tx.ExecContext(ctx, "DELETE FROM union_strategy WHERE id = ?", m.Union)
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE union_strategy SET strategy_ids = ? WHERE id = ?", joinIDs(rest), m.Union); err != nil {
		return err
	}
	return writeMembers(ctx, tx, m.Union, rest, max(2, len(rest)))
}

// dropUnions removes the combinations of a template that is about to go.
func dropUnions(ctx context.Context, tx *sqlx.Tx, template int64) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM union_strategy WHERE id IN (SELECT union_strategy_id FROM strategy WHERE tpl_id = ? AND union_strategy_id > 0)", template)
	return err
}

// RuleMember says that a strategy is a condition of a combination, in our form, the
// fork's, or both.
type RuleMember struct {
	Strategy int    `db:"id"`
	Union    int    `db:"union_strategy_id"`
	Multi    int    `db:"is_multi"`
	Serial   string `db:"multi_serial"`
	Count    int    `db:"multi_count"`
}

// RuleUnion is a row of the fork's table: the ids of its strategies, with commas.
type RuleUnion struct {
	ID         int    `db:"id"`
	Strategies string `db:"strategy_ids"`
}

const (
	ruleMembers = "id, union_strategy_id, is_multi, multi_serial, multi_count FROM strategy WHERE " + unionWhere + " ORDER BY id"
	ruleUnions  = "id, strategy_ids FROM union_strategy ORDER BY id"
)
